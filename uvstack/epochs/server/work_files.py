"""The work of jobs: cutouts written, combined, measured and drawn; a list worked through line by line."""

from __future__ import annotations

import io
import json
import logging
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from uvstack.epochs.server.answer_files import beam_words, description, json_bytes
from uvstack.epochs.server.cutout_files import Cutout
from uvstack.epochs.server.jobs import Job
from uvstack.epochs.server.picture import colour_scale, picture
from uvstack.epochs.server.position_text import Line
from uvstack.epochs.server.query import Query, Settings
from uvstack.epochs.server.service import Service
from uvstack.epochs.server.tile_name import PRODUCTS
from uvstack.errors import LimitError, OutsideArchiveError, UvstackError
from uvstack.io.output import size_text
from uvstack.pixels.noise import robust_noise
from uvstack.records import plain

_LOG = logging.getLogger(__name__)
#: Titles of what is made of several epochs.
_COMBINED = {"mean": "weighted mean", "median": "weighted median"}
#: What is written of the combination beside them.
_BESIDE = ("weight", "rms", "chi2", "chi2-calibrated", "coverage")
#: Steps of a job beside its epochs: looking, combining, drawing, packing.
_STEPS = 4


@dataclass(frozen=True, eq=False)
class _Image:
    """Pixels, where they are, and what is told of them."""

    data: NDArray
    wcs: WCS
    told: dict[str, Any]


def run_query(job: Job, service: Service, query: Query) -> None:
    """Cut a position of every epoch, combine the epochs, draw and pack all of it."""
    job.total = _STEPS
    job.begin(f"looking for {PRODUCTS[query.settings.product]} images")
    cut = service.cut(query.settings.region(query.ra, query.dec), query.settings.product)
    job.total = _STEPS + len(cut)
    images = []
    for number, one in enumerate(cut, 1):
        job.begin(f"cutting {one.epoch}", number)
        job.keep(f"{one.name}.fits", one.to_bytes())
        images.append(_image_of(one))
        job.warnings += [f"{one.epoch}: {remark}" for remark in one.remarks]
    job.begin("combining the epochs", len(cut) + 1)
    if query.settings.combine:
        images += _combined(job, service, cut, query.settings)
    job.begin("drawing", len(cut) + 2)
    _draw(job, images)
    job.images = [image.told for image in images]
    job.begin("packing", len(cut) + 3)
    job.keep("summary.json", json_bytes({"query": query.words(), "ra": query.ra, "dec": query.dec,
                                         "images": job.images, "warnings": job.warnings}))
    _pack(job, "all.zip")


def _image_of(cut: Cutout) -> _Image:
    told = {**description(cut), "title": f"{cut.epoch} {cut.date}".strip() if cut.date != cut.epoch else cut.epoch}
    return _Image(cut.data, cut.wcs, _measured(told, cut.data, cut.wcs))


def _measured(told: dict[str, Any], data: NDArray, wcs: WCS) -> dict[str, Any]:
    """With noise, peak, dynamic range, and where the pixels are on the sky."""
    seen = np.isfinite(data)
    rms = robust_noise(np.asarray(data, np.float64)) if seen.any() else float("nan")
    peak = float(data[seen].max()) if seen.any() else float("nan")
    return plain({**told, "rms": rms, "peak": peak, "dynamic_range": peak / rms if rms > 0 else None,
                  "sky": _sky_words(wcs)})


def _sky_words(wcs: WCS) -> dict[str, Any]:
    """What a program wants that turns pixels into directions: projection, matrix, reference."""
    return {"projection": str(wcs.wcs.ctype[0])[-3:], "frame": str(wcs.wcs.radesys) or "ICRS",
            "crval": list(map(float, wcs.wcs.crval)), "crpix": list(map(float, wcs.wcs.crpix)),
            "cd": np.asarray(wcs.pixel_scale_matrix).tolist(),
            "cell": float(3600 * np.sqrt(np.prod(proj_plane_pixel_scales(wcs))))}


def _combined(job: Job, service: Service, cut: Sequence[Cutout], settings: Settings) -> list[_Image]:
    """Mean and median, where there are several epochs that can be combined."""
    if len(cut) < 2:
        job.warnings.append("there is one epoch alone, so nothing is combined")
        return []
    if any(one.beam is None for one in cut):
        lacking = ", ".join(one.epoch for one in cut if one.beam is None)
        job.warnings.append(f"the epochs are not combined: {lacking} says no beam")
        return []
    out = job.folder / "combined"
    try:
        paths = service.combine([str(job.files[f"{one.name}.fits"]) for one in cut], rms_box=settings.rms_box,
                                out=out)
    except UvstackError as error:
        job.warnings.append(f"the epochs are not combined: {str(error).replace(str(job.folder) + '/', '')}")
        return []
    except Exception:  # the epochs are worth showing whatever happens to their mean
        _LOG.exception("job %s: combination", job.id)
        job.warnings.append("the epochs are not combined: the server met an error of its own, and has written it down")
        return []
    found = []
    for name in (*_COMBINED, *_BESIDE):
        if name not in paths or not Path(paths[name]).is_file():
            continue
        if name in _COMBINED:
            found.append(_read(Path(paths[name]), f"{cut[0].product}-{name}", _COMBINED[name], cut))
        job.files[f"{cut[0].product}-{name}.fits"] = Path(paths[name])
    # Where the server has its files is nobody's business.
    told = json.loads((out / "summary.json").read_text(encoding="utf-8").replace(f"{job.folder}/", ""))
    job.keep(f"{cut[0].product}-combination.json", json_bytes({**told, "provenance": None}))
    return found


def _read(path: Path, name: str, title: str, cut: Sequence[Cutout]) -> _Image:
    """A map that the combination wrote."""
    with fits.open(path, memmap=False) as hdus:
        header, data = hdus[0].header, np.array(hdus[0].data, np.float32)
    wcs = WCS(header, fix=False).celestial
    data = data.reshape(data.shape[-2:])
    beam = None if header.get("BMAJ") is None else beam_words(
        np.deg2rad([float(header[key]) for key in ("BMAJ", "BMIN", "BPA")]))
    told: dict[str, Any] = {"name": name, "title": title, "product": cut[0].product, "epoch": title, "band": cut[0].band,
            "campaigns": [], "versions": [], "date": "", "unit": str(header.get("BUNIT") or ""), "beam": beam,
            "shape": data.shape, "covered": float(np.isfinite(data).mean()), "resampled": True,
            "tiles": [], "remarks": []}
    return _Image(data, wcs, _measured(told, data, wcs))


def _draw(job: Job, images: Sequence[_Image]) -> None:
    """Pictures on one scale, which is told of each image."""
    names = [image.told["name"] for image in images]
    scale = colour_scale({name: image.data for name, image in zip(names, images, strict=True)},
                         {name: image.told["rms"] or np.nan for name, image in zip(names, images, strict=True)})
    for image in images:
        job.begin(f"drawing {image.told['title']}")
        image.told["scale"] = list(scale)
        job.keep(f"{image.told['name']}.png", picture(image.data, image.told, scale))


def _pack(job: Job, name: str) -> None:
    path = job.folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for file, source in job.files.items():
            archive.write(source, file)
    job.files[name] = path


def run_batch(job: Job, service: Service, lines: Sequence[Line], settings: Settings) -> None:
    """Every line of a list, its files put into one ZIP as they are made; what is wrong with a line is told with it."""
    job.total = max(len(lines), 1)
    path, used = job.folder / "all.zip", 0
    with zipfile.ZipFile(path, "w") as archive:
        for done, line in enumerate(lines):
            job.begin(f"line {line.number}: {line.text}", done)
            told = job.lines[done]
            if line.error:
                continue
            try:
                used += _one_line(job, service, line, settings, archive, told)
            except (OutsideArchiveError, UvstackError) as error:
                told["error"] = str(error)
            if used > service.limits.disk:
                raise LimitError(f"the files of the first {done + 1} lines take more than "
                                 f"{size_text(service.limits.disk)}; send the list in parts, or take a smaller size")
        archive.writestr("lines.json", json_bytes(job.lines))
    job.files["all.zip"] = path


def _one_line(job: Job, service: Service, line: Line, settings: Settings, archive: zipfile.ZipFile,
              told: dict[str, Any]) -> int:
    """Bytes that the cutouts of a line take."""
    cut = service.cut(settings.region(line.ra, line.dec), settings.product)
    folder = f"{line.number:05d}-{re.sub(r'[^A-Za-z0-9+-]+', '_', line.name or f'{line.ra:.5f}{line.dec:+.5f}')[:40]}"
    before = archive.fp.tell() if archive.fp else 0
    images = [_image_of(one) for one in cut]
    for one in cut:
        job.keep(f"{one.name}.fits", one.to_bytes())
    problems = len(job.warnings)
    if settings.combine:
        images += _combined(job, service, cut, settings)
    told["warnings"] = job.warnings[problems:]
    del job.warnings[problems:]
    for name, source in job.files.items():
        archive.write(source, f"{folder}/{name}")
    archive.writestr(f"{folder}/summary.json", json_bytes([image.told for image in images]))
    told["epochs"] = [one.epoch for one in cut]
    told["files"] = len(job.files) + 1
    _forget(job)
    return (archive.fp.tell() if archive.fp else 0) - before


def _forget(job: Job) -> None:
    """Remove the files of a line; the ZIP has them."""
    import shutil

    for path in job.files.values():
        path.unlink(missing_ok=True)
    shutil.rmtree(job.folder / "combined", ignore_errors=True)
    job.files.clear()


def read_pixels(job: Job, name: str) -> NDArray[np.float32]:
    """Pixels (m, l) of one of a job's FITS files."""
    with fits.open(io.BytesIO(job.files[f"{name}.fits"].read_bytes())) as hdus:
        data = np.array(hdus[0].data, "<f4")
    return data.reshape(data.shape[-2:])


def contour_lines(data: NDArray, levels: Sequence[float]) -> list[list[list[list[float]]]]:
    """Lines of equal brightness at each level, as pairs x, y of pixels from 0."""
    from contourpy import contour_generator

    lines = contour_generator(z=np.ma.masked_invalid(data))
    return [[np.round(np.asarray(line), 2).tolist() for line in lines.lines(level)] for level in levels]
