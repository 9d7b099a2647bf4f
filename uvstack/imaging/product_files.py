"""Products of imaging on the disk.

FITS images and cubes, lists of components and cycles, a record of the run.

They come from `ImageResult` and `ImageCube` alone, whoever made their planes. Nothing stands under
its final name before all of it is written, and what fails or is killed leaves none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

from uvstack._version import __version__
from uvstack.errors import OutputError
from uvstack.imaging.result import ImageCube, ImageResult
from uvstack.io import fits as fits_files
from uvstack.io.casa import open_table
from uvstack.io.output import check_output, json_text, written_whole
from uvstack.records import Structure
from uvstack.sky.beam import Beam
from uvstack.uv.stokes import FITS_CODES

#: casacore's frames of frequency by their number in MEAS_FREQ_REF, as SPECSYS of FITS has them
#: (Greisen et al. 2006).
_SPECTRAL_FRAMES = dict(enumerate(("SOURCE", "LSRK", "LSRD", "BARYCENT", "GEOCENTR", "TOPOCENT",
                                   "GALACTOC", "LOCALGRP", "CMBDIPOL")))


Images = TypeVar("Images", bound="ImageResult | ImageCube")


def spectral_frame(structure: Structure, windows: Sequence[int]) -> str:
    """SPECSYS of spectral windows of a set, "" where it is not known or they differ."""
    with open_table(structure.subtables["SPECTRAL_WINDOW"]) as table:
        if "MEAS_FREQ_REF" not in table.columns:
            return ""
        found = {_SPECTRAL_FRAMES.get(int(table.read_cell("MEAS_FREQ_REF", row)), "")
                 for row in windows}
    return found.pop() if len(found) == 1 else ""


def product_paths(out: str | Path | None, terms: int, has_beam: bool,
                  is_ours: bool = True) -> dict[str, Path]:
    """Product → path; only our own imager (`is_ours`) gives a curvature."""
    if out is not None and Path(out).name in ("", ".."):
        raise OutputError(f"{str(out)!r} is no begin of names; wanted is one such as survey or "
                          "folder/survey")
    if out is None:
        return {}
    names = ["psf"]
    for kind in ("dirty", "model", "residual", "image", *(["pbcor"] if has_beam else [])):
        names += [kind, *(f"{kind}-tt{t}" for t in range(1, terms))]
    names += ["pb"] * has_beam + ["alpha", "alpha-error"] * (terms > 1)
    names += ["curvature", "curvature-error"] * (terms > 2 and is_ours)
    files = {name: f"{out}-{name}.fits" for name in names} | {
        "components": f"{out}-components.ecsv", "history": f"{out}-history.ecsv", "json": f"{out}.json"}
    return {name: Path(path) for name, path in files.items()}


def check_products(names: dict[str, Path], overwrite: bool, pixels: int,
                   inputs: Sequence[str]) -> None:
    """Raise OutputError where one of them may not be written, or the disk has no room for all, each image of so many pixels."""
    n_images = sum(path.suffix == ".fits" for path in names.values())
    for path in names.values():
        check_output(path, overwrite, 4 * pixels * n_images, tuple(inputs))


def write_products(result: Images, names: dict[str, Path]) -> Images:
    """Write all products, and say where they are.

    Raises
    ------
    OutputError
        One cannot be written; then none of them is left, and older ones stay.
    """
    result = replace(result, files={name: str(path) for name, path in names.items()})
    with contextlib.ExitStack() as outputs:
        partial = {name: outputs.enter_context(written_whole(path)) for name, path in names.items()}
        try:
            for name, data in _images(result):
                _write_fits(result, name, data, partial[name])
            for name in ("components", "history"):
                table = result.lists.get(name, QTable()) if isinstance(result, ImageResult) else result.list_of(name)
                table.write(partial[name], format="ascii.ecsv")
            partial["json"].write_text(json_text(result.summary()), encoding="utf-8")
        except (OSError, OutputError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            reason = getattr(cause, "strerror", None) or cause
            raise OutputError(f"{names['json'].with_suffix('')}: the products cannot "
                              f"be written: {reason}; is there space and permission?") from error
    return result


def _images(result: ImageResult | ImageCube) -> Iterator[tuple[str, NDArray]]:
    """Products and their pixels, (stokes, chan, m, l)."""
    shape = (len(result.stokes), len(result.frequency)) if isinstance(result, ImageCube) else (1, 1)
    planes = result.planes if isinstance(result, ImageCube) else (result,)
    example = next(plane for plane in planes if plane is not None)
    blank = np.full(result.grid.shape, np.nan, np.float32)

    def stacked(kind: str, term: int | None) -> NDArray:
        found = [blank if plane is None else getattr(plane, kind) if term is None
                 else getattr(plane, kind)[term] for plane in planes]
        return np.stack(found).astype(np.float32).reshape(*shape, *result.grid.shape)

    for name, kind in (("psf", "psf"), ("pb", "response"), ("alpha", "alpha"),
                       ("alpha-error", "alpha_error"), ("curvature", "curvature"),
                       ("curvature-error", "curvature_error")):
        if getattr(example, kind) is not None:
            yield name, stacked(kind, None)
    for kind in ("dirty", "model", "residual", "image", "pbcor"):
        if getattr(example, kind) is not None:
            for t in range(len(getattr(example, kind))):
                yield kind if t == 0 else f"{kind}-tt{t}", stacked(kind, t)


def _write_fits(result: ImageResult | ImageCube, name: str, data: NDArray, path: Path) -> None:
    where = result.grid.geometry
    is_model, is_ratio = name.startswith("model"), name.startswith(("alpha", "curvature")) or name == "pb"
    if isinstance(result, ImageCube):
        planes, stokes, frequency, width = result.planes, result.stokes, result.frequency, result.width
    else:
        planes, stokes = (result,), (result.stokes,)
        frequency, width = np.array([result.reference_frequency]), result.band[1] - result.band[0]
    made = {i: Beam(*plane.beam) for i, plane in enumerate(planes) if plane is not None}
    # A blank plane has the beam of the nearest: casacore does not live through a table with an
    # empty one.
    beams = [made[min(made, key=lambda n, i=i: abs(n - i))] for i in range(len(planes))]  # type: ignore[misc]
    beams = beams[:1] if len(set(beams)) == 1 else beams
    dates = [plane.date for plane in planes if plane is not None and plane.date]
    cards = {"ORIGIN": f"uvstack {__version__}",
             **({"MODELIS": (result.model_is, "apparent, or the sky")} if is_model else {})}
    fits_files.write_image(path, data,
                           fits_files.sin_wcs(where.ra, where.dec, result.grid.shape, where.cell_m),
                           unit="Jy/pixel" if is_model else "" if is_ratio else "Jy/beam",
                           beams=None if is_model else beams, frequency=frequency, width=width,
                           date=min(dates, default=None), cards=cards,
                           stokes=[FITS_CODES[s] for s in stokes],
                           spectral_frame=result.spectral_frame)
