"""`uvstack.epochs.combine`: images of several epochs in, one deep image out.

After VLASS memo 26: bring all to one grid and one beam, weigh each pixel by the inverse square of
the local noise, average. Blocks of the grid are smoothed and regridded by workers; strips of all
epochs are averaged and written as they come.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.time import Time
from numpy.typing import NDArray
from typing_extensions import Unpack

from uvstack._version import __version__
from uvstack.checks import thread_count
from uvstack.chunks import cluster
from uvstack.epochs.combination.chain_files import (
    OneByOne,
    Plan,
    average_all,
    bring_together,
    names_of,
    noise_of,
    plan_of,
    planes_for,
)
from uvstack.epochs.combination.epoch_files import stokes_text
from uvstack.epochs.combination.maps_files import MapFiles, MapWriters
from uvstack.epochs.combination.noise import Noise, noise_without_sources
from uvstack.epochs.combination.options import CombineOptions
from uvstack.epochs.combination.result import MAPS, CombineResult
from uvstack.errors import ImageError
from uvstack.extraction.noise_map import NodeMap
from uvstack.io.output import check_report, report_folder, together, write_json
from uvstack.io.provenance import provenance_of
from uvstack.options import takes
from uvstack.records import Provenance
from uvstack.report.files import check_asked, write_asked

#: Files of `out`.
FILES = (*(f"{name}.fits" for name in MAPS), "summary.json")
#: Pixels across a picture.
_MOST_PIXELS = 900
#: Pixels, far enough apart to be independent, of which a noise is good to 0.25 %.
_ENOUGH_PIXELS = 250_000
_BRIGHT = u.Jy / u.beam


@together()
@takes
def combine(images: Sequence[str | Path], *, out: str | Path | None = None,
            **options: Unpack[CombineOptions]) -> CombineResult:
    """Weighted mean and median of images of one sky at several epochs (VLASS memo 26).

    Parameters
    ----------
    images : sequence of path
        FITS images, or images of CASA, of one plane, in Jy/beam (mJy/beam, K …), with beams; any
        celestial coordinates.
    out : path, optional
        Folder for mean.fits, median.fits, weight.fits, rms.fits, chi2.fits, chi2-calibrated.fits,
        coverage.fits and summary.json.

    Returns
    -------
    CombineResult
        `mean`, `median`, `rms`, `weight`, `chi2`, `coverage` are arrays (m, l), `beam`, `wcs` and
        `table` go with them, `paths` has the files.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> c = uvstack.epochs.combine(["e1.fits", "e2.fits"], reference=0, out="combined")
    """
    asked = {**locals(), **options}
    thread_count(options["threads"])
    paths = [images] if isinstance(images, str | Path) else list(images)
    if out is not None:
        check_report(out, options["overwrite"], FILES, tuple(map(str, paths)))
    check_asked(CombineResult, options)
    plan = plan_of(paths, options)
    provenance = provenance_of({k: v for k, v in asked.items() if k not in ("images", "report")},
                               images=[str(path) for path in paths])
    folder = None if out is None else Path(out)
    with planes_for(len(plan.epochs), plan.grid.shape, folder) as planes:
        with cluster(options["workers"], options["scheduler"]) as client:
            bring_together(plan, planes, client=client, threads=options["threads"],
                           progress=options["progress"])
        result = averaged(plan, planes, noise_of(plan, planes), folder, provenance,
                          threads=options["threads"])
    return write_asked(result, options)


def averaged(plan: Plan, planes: NDArray[np.float32], noise: Sequence[Noise | None],
             out: Path | None, provenance: Provenance, *, threads: int | None) -> CombineResult:
    """Result of epochs that were brought together, written to a folder where one is given."""
    shape = plan.grid.shape
    thin = max(1, -(-max(shape) // _MOST_PIXELS))
    step = max(1, int(np.sqrt(shape[0] * shape[1] / _ENOUGH_PIXELS)))
    samples: dict[str, list[NDArray]] = {name: [] for name in MAPS}
    peaks = dict.fromkeys(("mean", "median"), float("nan"))
    with contextlib.ExitStack() as stack:
        if out is None:
            maps: dict[str, NDArray] = {name: np.empty(shape, np.float32) for name in MAPS}
        else:
            folder = stack.enter_context(report_folder(out, FILES))
            writers = stack.enter_context(MapWriters(
                {name: folder / f"{name}.fits" for name in MAPS}, plan.grid,
                beam=plan.target.beam, frequency=plan.reference.frequency,
                four_axes=plan.four_axes,
                cards=cards_of(plan, noise), date=dates_of(plan)[0],
                stokes=plan.reference.image.stokes))

        def consume(first: int, made: dict[str, NDArray[np.float32]]) -> None:
            n = made["mean"].shape[0]
            for name, values in made.items():
                if out is None:
                    maps[name][first : first + n] = values
                else:
                    writers.write(name, values)
            for name, values in made.items():
                samples[name].append(values[-first % step :: step, ::step].copy())
            for name in peaks:
                highest = np.fmax.reduce(made[name], axis=None)
                peaks[name] = float(np.fmax(peaks[name], highest))

        average_all(plan, planes, noise, consume, threads=threads)
        if not np.isfinite(peaks["mean"]):
            raise ImageError(f"no pixel has the {plan.minimum} epochs that are asked for "
                             "(minimum_epochs, --minimum-epochs); give fewer")
        thinned = {name: np.concatenate(rows) for name, rows in samples.items()}
        table = _table(plan, planes, {name: (noise_without_sources(thinned[name], step), peaks[name])
                                      for name in peaks})
        every = max(1, round(thin / step))
        panels = _panels(plan, planes, thinned, step, every)
        pictures = {name: rows[::every, ::every] for name, rows in thinned.items()}
        held: Mapping[str, NDArray] = maps if out is None else MapFiles(
            {name: out / f"{name}.fits" for name in MAPS})
        result = CombineResult(
            held, plan.grid.image.wcs, plan.target.beam, table,
            tuple(epoch.path for epoch in plan.epochs),
            {} if out is None else {name: out / f"{name}.fits" for name in MAPS}, plan.box,
            plan.noise, panels, pictures, step * every, provenance)
        if out is not None:
            writers.close()
            write_json(folder / "summary.json", result.summary())
    return result


def _panels(plan: Plan, planes: NDArray[np.float32], thinned: Mapping[str, NDArray], step: int,
            every: int) -> tuple[tuple[str, NDArray[np.float32]], ...]:
    """Pictures of the epochs and of both averages; `thinned` has every `step`th pixel."""
    thin = step * every
    names = names_of([Path(epoch.path) for epoch in plan.epochs])
    return (*((name, np.array(plane[::thin, ::thin]))
              for name, plane in zip(names, OneByOne(planes), strict=True)),
            *((name, thinned[name][::every, ::every]) for name in ("mean", "median")))


def _table(plan: Plan, planes: NDArray[np.float32],
           combined: Mapping[str, tuple[float, float]]) -> QTable:
    """Beams, noise, gain and dynamic range, as in tables 1 to 4 of the memo."""
    rows: list[dict[str, Any]] = []
    for epoch, beam, used, plane in zip(plan.epochs, plan.beams, plan.used, OneByOne(planes),
                                        strict=True):
        rows.append({"name": epoch.name, "used": used, "beam": beam,
                     "peak": float(np.fmax.reduce(plane, axis=None)),
                     "rms_observed": _noise_of(epoch.sample, epoch.grid.shape),
                     "rms": _noise_of(functools.partial(_every, plane), plane.shape)
                     if used else np.nan})
    rows += [{"name": name, "used": True, "beam": plan.target.beam, "rms_observed": np.nan,
              "rms": rms, "peak": peak} for name, (rms, peak) in combined.items()]
    rms = np.array([row["rms"] for row in rows])
    peak = np.array([row["peak"] for row in rows])
    axes = np.array([row["beam"] for row in rows])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return QTable({
            "name": [row["name"] for row in rows],
            "used": [row["used"] for row in rows],
            "beam_major": np.rad2deg(axes[:, 0]) * 3600 * u.arcsec,
            "beam_minor": np.rad2deg(axes[:, 1]) * 3600 * u.arcsec,
            "beam_angle": np.rad2deg(axes[:, 2]) * u.deg,
            "rms_observed": np.array([row["rms_observed"] for row in rows]) * _BRIGHT,
            "rms": rms * _BRIGHT,
            "ratio_to_mean": rms / combined["mean"][0],
            "ratio_to_median": rms / combined["median"][0],
            "peak": peak * _BRIGHT,
            "dynamic_range": peak / rms})


def _every(plane: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(plane[::step, ::step])


def _noise_of(sample: Callable[[int], NDArray[np.float32]], shape: tuple[int, ...]) -> float:
    """Noise of an image of which `sample` gives every so manieth pixel."""
    step = max(1, int(np.sqrt(shape[0] * shape[1] / _ENOUGH_PIXELS)))
    return noise_without_sources(sample(step), step)


def dates_of(plan: Plan) -> tuple[str | None, dict[str, str]]:
    """DATE-OBS of the combination, the first, and cards of first, mean and last."""
    times = sorted(e.image.time for e, used in zip(plan.epochs, plan.used, strict=True)
                   if used and e.image.time is not None)
    if not times:
        return None, {}
    first, mean, last = (str(Time(t, format="mjd").isot)
                         for t in (times[0], float(np.mean(times)), times[-1]))
    return first, {"DATE-BEG": first, "DATE-AVG": mean, "DATE-END": last}


def cards_of(plan: Plan, noise: Sequence[Noise | None]) -> dict[str, Any]:
    """Header cards that say what a combination is made of: inputs, beams, weights, times."""
    typical = [0.0 if one is None else _typical_weight(one) for one in noise]
    total = sum(typical)
    cards: dict[str, Any] = {"ORIGIN": f"uvstack {__version__}", "NEPOCHS": len(plan.epochs),
                             **dates_of(plan)[1], "RMSBOX": plan.box, "RMSMETH": plan.noise}
    if not plan.four_axes:
        # What has no axis is said by a card.
        told = {"RESTFRQ": plan.reference.frequency, "STOKES": stokes_text(plan.reference)}
        cards |= {name: value for name, value in told.items() if value is not None}
    for i, (epoch, weight) in enumerate(zip(plan.epochs, typical, strict=True), 1):
        major, minor, angle = (float(np.rad2deg(v)) for v in epoch.beam)
        cards |= {f"EPOCH{i}": (Path(epoch.path).name, "image of an epoch"),
                  f"BMAJ{i}": (major, "deg, its beam"), f"BMIN{i}": minor, f"BPA{i}": angle,
                  f"WGT{i}": (weight / total if total > 0 else 0.0, "typical share of the weight")}
        if epoch.factor != 1.0:
            cards[f"FACTOR{i}"] = (epoch.factor, "its pixels were multiplied with")
        if epoch.image.time is not None:
            cards[f"DATE{i}"] = str(Time(epoch.image.time, format="mjd").isot)
    return cards


def _typical_weight(noise: Noise) -> float:
    sigma = noise.nodes if isinstance(noise, NodeMap) else noise[::7, ::7]
    sigma = np.asarray(sigma, float)
    sigma = sigma[np.isfinite(sigma) & (sigma > 0)]
    return float(np.median(sigma) ** -2) if sigma.size else 0.0
