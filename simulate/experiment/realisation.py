"""One realisation of a data set type: simulated, imaged, bright sources subtracted, stacked in every way, measured.

A function of the type, its number and the settings alone, so that a loop, a cluster and a test call
the same. What comes out is a dictionary of numbers that JSON can hold, to five digits; the data are
deleted. Angles are in arcsec there, fluxes in Jy. What differs between the weightings of the images
stands under "weightings" by their names.

Steps and what they are with: `simulate.observe`; `uvstack.image` with the paper's pixels;
`uvstack.subtract` of the CLEAN components; `uvstack.stack` and `uvstack.image_stack` with the same
weights; for type 7 `uvstack.fit` and `fit_psf`; and the same again at lists of random positions,
for the noise of this one set (section 3.5.2 without fake sources, since stacking is linear).
"""

from __future__ import annotations

import math
import platform
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from simulate.counts import positions_within, uniform_positions
from simulate.experiment.clock import Clock, peak_memory
from simulate.experiment.image_side import coordinates, image_stacks, values_of
from simulate.experiment.maps import PB_CUTOFF, Map, deconvolve_bright, model_is_sky
from simulate.experiment.settings import (
    ALMA,
    ARCSEC,
    WIDE,
    Settings,
    seed_of,
    simulation,
    weighting_options,
)
from simulate.experiment.uv_side import NullSums, least_variance, null_sums, summary, uv_cut
from simulate.lindroos import CENTRE
from simulate.task import Simulation, observe
from uvstack._version import __version__
from uvstack.errors import DroppedPositionsWarning, OutputError, UvstackWarning
from uvstack.fitting.task import fit
from uvstack.io.output import size_text
from uvstack.io.selection import parse_uv_range
from uvstack.sky.components import Components
from uvstack.sky.positions import positions_from_coord
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.stacking.result import StackResult
from uvstack.stacking.stamp_files import stamp_of
from uvstack.stacking.task import stack
from uvstack.subtraction.task import subtract

_COLUMN = "RESIDUAL_DATA"
#: Bytes that a visibility takes on disk: data, flag, residual; a row and a pixel besides.
_BYTES, _ROW_BYTES, _PIXEL_BYTES = 17, 250, 12
#: Types of whose first realisation stamps are kept, and their pixels.
STAMPS, _STAMP = (1, 7), 48
#: Sizes of the subsets whose noise Figure 1 shows, and how many of each.
SUBSETS, _N_SUBSETS = (10, 20, 50, 100, 200, 500), 200


@dataclass(frozen=True)
class ResidualSet:
    """A realisation at the point where it is stacked, for what else is to be done with it.

    Attributes
    ----------
    ms : Path
    column : str
        That without bright sources.
    primary_beam : PrimaryBeam
    targets : Components
    weight : ndarray (pos,) or None
        W_k of the targets; None where it is the square of the primary beam.
    maps : list of Map
    number : int
        Type.
    """

    ms: Path
    column: str
    primary_beam: PrimaryBeam
    targets: Components
    weight: np.ndarray | None
    maps: list[Map]
    number: int


def realise(settings: Settings, number: int, index: int, scratch: str | Path, threads: int = 1,
            keep: bool = False,
            further: Callable[[ResidualSet], dict[str, Any]] | None = None) -> dict[str, Any]:
    """Numbers of one realisation.

    Parameters
    ----------
    settings : Settings
    number : int
        Type, 1 … 11.
    index : int
        Of the realisation, from 0.
    scratch : path
        Folder that exists; data are written to a new one in it, which is removed.
    threads : int
    keep : bool
        Leave the data there.
    further : callable, optional
        Given the residual set before it is deleted; what it returns is kept under "further".

    Raises
    ------
    UvstackError
        Settings that cannot be, or no room on the disk.
    """
    seed, how, clock = seed_of(settings, number, index), settings.imaging(number), Clock()
    given = simulation(settings, number, seed)
    check_room(given, how.size, scratch)
    folder = Path(mkdtemp(prefix=f"type{number:02d}-{index:04d}-", dir=scratch))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UvstackWarning)
            found = _measure(settings, number, given, folder, threads, clock, further,
                             index == 0 and number in STAMPS)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    head = {"format": 2, "type": number, "realisation": index,
            "fingerprint": settings.fingerprint(number), "seed": seed}
    tail = {"steps": clock.steps, "peak_memory": peak_memory(), "versions": versions(),
            "kept": str(folder) if keep else None}
    return finite(head | found | tail)


def _measure(settings: Settings, number: int, given: dict[str, Any], folder: Path, threads: int,
             clock: Clock, further: Callable[[ResidualSet], dict[str, Any]] | None,
             with_stamps: bool) -> dict[str, Any]:
    with clock.step("simulate"):
        made = observe(out=folder / "set.ms", **given)
    parts = {}
    for weighting in settings.weightings:
        place = folder / weighting
        place.mkdir()
        parts[weighting] = _with_weighting(settings, number, weighting, given, made, place, threads,
                                           clock, further, with_stamps)
    targets, bright = (given["sky"].subset(given["sky"].target == one) for one in (True, False))
    return {"truth": {"n_targets": len(targets), "flux": float(targets.flux.mean()),
                      "fwhm": float(targets.fwhm_major.mean() / ARCSEC),
                      "bright_flux": float(bright.flux.sum())},
            "weightings": parts}


def _with_weighting(settings: Settings, number: int, weighting: str, given: dict[str, Any],
                    made: Simulation, folder: Path, threads: int, clock: Clock,
                    further: Callable[[ResidualSet], dict[str, Any]] | None,
                    with_stamps: bool) -> dict[str, Any]:
    """What is measured with one weighting of the images."""
    beam, how = given["primary_beam"], settings.imaging(number)
    targets = given["sky"].subset(given["sky"].target)
    with clock.step("image"):
        maps, model = deconvolve_bright(made.ms, folder, number, how, beam, threads,
                                        terms=settings.terms(number),
                                        **weighting_options(weighting))
    with clock.step("subtract"):
        taken = subtract(made.ms, model, into=_COLUMN, overwrite=True, threads=threads,
                         primary_beam=beam if model_is_sky(number) else None)
    with clock.step("image-stack"):
        images = image_stacks(maps, targets.ra, targets.dec, number, how, threads)
    with clock.step("uv-stack"):
        stacked = _uv_stack(made, targets, images["weight"], number, beam, threads,
                            folder / "stack.ms" if number == 7 or with_stamps else None)
    uv = summary(stacked, number)
    with clock.step("random positions"):
        null, nulls = _null(settings, number, given, made, maps, len(targets), threads)
    uv["least_variance"] = least_variance(uv["profile"], nulls.bin_noise)
    if number == 7:
        with clock.step("fit"):
            uv["fit"] = {name: _fitted(stacked, cut, threads)
                         for name, cut in (("cut", uv_cut(number)), ("uncut", 0.0))}
    one, more = maps[0], dict[str, Any]()
    if with_stamps:
        more = {"stamps": _stamps(stacked, images["stamps"], how.cell)}
    if further is not None:
        with clock.step("further"):
            more |= {"further": further(ResidualSet(made.ms, _COLUMN, beam, targets,
                                                   images["weight"], maps, number))}
    return more | {"expected_error": images["expected_error"], "uv": uv, "image": images["ways"],
                   "null": null,
                   "map": {"noise": float(np.mean([m.noise for m in maps])),
                           "rms": float(np.mean([m.rms for m in maps])), "cycles": one.cycles,
                           "iterations": one.iterations, "stopped": one.stopped,
                           "fwhm_major": one.beam[0] / ARCSEC, "fwhm_minor": one.beam[1] / ARCSEC,
                           "position_angle": float(np.rad2deg(one.beam[2])),
                           "components": taken.n_components, "model_flux": taken.model_flux}}


def _stamps(stacked: StackResult, stamps: dict[str, np.ndarray], cell: float) -> dict[str, Any]:
    """Stamps for Figures 3 and 10, with and without short baselines: pixel in arcsec, brightness in nJy/beam."""
    assert stacked.ms is not None
    every = stamp_of(stacked.ms, parse_uv_range(None, None), _STAMP, cell)
    planes = {"uv": every.brightness, "uv_cut": stacked.image(_STAMP, cell).brightness,
              "image": stamps["nearest"], "image_cut": stamps["filter"]}
    found: dict[str, Any] = {"cell": cell / ARCSEC}
    for name, plane in planes.items():
        middle = slice(plane.shape[0] // 2 - _STAMP // 2, plane.shape[0] // 2 + _STAMP // 2)
        found[name] = np.rint(plane[middle, middle] * 1e9).astype(int).tolist()
    return found


def _uv_stack(made: Simulation, targets: Components, weight: np.ndarray | None, number: int,
              beam: PrimaryBeam, threads: int, out: Path | None) -> StackResult:
    """The uv-stack with the weights of the image-stack (VLA) or the square of the primary beam (ALMA)."""
    listed = positions_from_coord(coordinates(targets.ra, targets.dec),
                                  None if number in ALMA else weight)
    return stack(made.ms, listed, column=_COLUMN, primary_beam=beam,
                 weights="primary-beam" if number in ALMA else "list", uvmin=uv_cut(number) or None,
                 pb_cutoff=PB_CUTOFF, out=out, stamp_size=8, threads=threads)


def _fitted(stacked: StackResult, cut: float, threads: int) -> dict[str, Any]:
    """Flux (Jy) and FWHM (arcsec) of a circular Gaussian fitted to the stacked visibilities."""
    assert stacked.ms is not None
    found = fit(stacked.ms, model="gaussian", uvmin=cut or None, threads=threads)
    assert not isinstance(found, list)
    return {"flux": found.flux, "flux_error": found.flux_error, "fwhm": found.fwhm / ARCSEC,
            "fwhm_error": found.fwhm_error / ARCSEC, "converged": found.converged}


def random_positions(settings: Settings, number: int, given: dict[str, Any], n: int,
                     rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Right ascensions and declinations (rad) of n places where targets might have been."""
    if number == 9:
        bright = given["sky"].subset(~given["sky"].target)
        return positions_within((bright.ra, bright.dec), 11.2 * ARCSEC, n, rng)
    width = 30 * 60 * ARCSEC * settings.field if number in WIDE else 100 * ARCSEC if number in ALMA else 300 * ARCSEC
    return uniform_positions(n, *CENTRE, width, width, rng)


def _null(settings: Settings, number: int, given: dict[str, Any], made: Simulation, maps: list[Map],
          n: int, threads: int) -> tuple[dict[str, Any], NullSums]:
    """Stacks at lists of random positions: noise and bias as one set shows them, and the noise of fewer positions."""
    rng = np.random.default_rng([given["seed"], 1])
    n = max(n, 2)
    ra, dec = random_positions(settings, number, given, n * settings.null_lists, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedPositionsWarning)
        total, weight, noise = values_of(maps, ra, dec, number, threads)
        listed = None if number in ALMA else np.where(weight > 0, weight, 0.0)
        first = np.arange(settings.null_lists + 1) * n
        sums = null_sums(made.ms, _COLUMN, given["primary_beam"], ra, dec, first, listed, number)
    image = np.add.reduceat(total, first[:-1]) / np.add.reduceat(weight, first[:-1])
    uv = sums.fluxes(first)
    sizes = [size for size in SUBSETS if size <= 0.5 * ra.size]
    curves = {name: [subset_noise(*pair, size, rng) for size in sizes]
              for name, pair in (("uv", (sums.values, sums.weights)), ("image", (total, weight)))}
    return {"uv": uv.tolist(), "image": image.tolist(), "subset_sizes": sizes,
            "subset_noise": curves, "bin_noise": sums.bin_noise.tolist(),
            "profile": (sums.bins.sum(axis=0)[:, 0]
                        / np.maximum(sums.bin_weight.sum(axis=0), 1e-300)).tolist()}, sums


def subset_noise(value: np.ndarray, weight: np.ndarray, size: int,
                 rng: np.random.Generator) -> float:
    """Standard deviation of the fluxes of random lists of `size` of the positions, Jy (Figure 1).

    value, weight : ndarray (pos,) as of `NullSums`. Lists are drawn without replacement; that they share positions with each
    other makes their scatter too small by √(1 − size/pos), which is put right.
    """
    fluxes = []
    for _ in range(_N_SUBSETS):
        which = rng.choice(value.size, size, replace=False)
        total = weight[which].sum()
        if total > 0:
            fluxes.append(value[which].sum() / total)
    return float(np.std(fluxes, ddof=1)
                 / np.sqrt(1 - size / value.size)) if len(fluxes) > 1 else float("nan")


def check_room(given: dict[str, Any], size: int, scratch: str | Path) -> None:
    """Raise OutputError where the disk has no room for the data of a realisation."""
    from simulate.arrays import read_array

    n = len(read_array(given["array"]).antenna_names)
    rows = n * (n - 1) // 2 * int(round(given["duration"] / given["integration"]))
    visibilities = rows * len(given["frequency"]) * len(given.get("correlations", ("RR", "LL")))
    wanted = visibilities * _BYTES + rows * _ROW_BYTES + size**2 * _PIXEL_BYTES
    free = shutil.disk_usage(scratch).free
    if wanted > free:
        raise OutputError(f"{scratch}: {size_text(wanted)} are needed for a realisation, "
                          f"{size_text(free)} are free; choose another "
                          "place with --scratch, or a larger --thin")


def versions() -> dict[str, str]:
    """Versions of what computed a realisation."""
    from importlib.metadata import version

    return {"uvstack": __version__, "python": platform.python_version(),
            **{n: version(n) for n in ("numpy", "ducc0", "numba")}}


def finite(value: Any) -> Any:
    """The same with None where a number is not finite, which JSON cannot hold, plain types for those of numpy, and five digits."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None
