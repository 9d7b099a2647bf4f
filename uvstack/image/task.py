"""The task: measurement sets in, deconvolved images of the sky out.

The data are gone through once for what must be known first (the longest baseline, the weights of each pointing and channel,
and the density that uniform and Briggs weights rest on), once for the dirty image and the psf together, and once for every
major cycle, which predicts the model, takes it from the data and images the rest. Each pass reads the set anew, chunk by
chunk: memory is that of a few chunks and of the images, whatever the size of the set. Sums are taken in the order of the
chunks. One chunk at a time is gridded by all processors together, or, with `workers` or `scheduler`, several by one each.

One pointing, or several with a primary beam as a mosaic (see `uvstack.image.mosaic`): CLEAN then works on the image of even
noise. The psf is that at the middle of the image, the weighted mean of all pointings. It is twice the image's size up to
2048 pixels, beyond that the image's own: farther sidelobes are left to the major cycles.

One pointing is deconvolved as the antennas see it, and its image divided by the primary beam at the end. Its model is therefore
apparent; that of a mosaic is the sky.
"""

from __future__ import annotations

import datetime
import difflib
import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable
from astropy.time import Time
from numpy.typing import NDArray

from uvstack._version import __version__
from uvstack.chunks import cluster
from uvstack.constants import CORRELATIONS
from uvstack.errors import (
    ImageError,
    InvalidVisibilityWarning,
    NoDataError,
    SelectionError,
    UvstackWarning,
)
from uvstack.image.grid import Grid, centred_grid, check_cell, good_size
from uvstack.image.image_result import ImageResult, image_figure
from uvstack.image.major_cycle import CleanSettings, Deconvolved, deconvolve, merge_components
from uvstack.image.mask import AutoMask, checked_mask, robust_noise
from uvstack.image.mosaic import beam_patch
from uvstack.image.passes_task import Job, Passes, Sums, Survey, patches_of
from uvstack.image.restore import (
    SpectralIndex,
    component_table,
    correct_primary_beam,
    fit_beam,
    principal_solution,
    restore,
    spectral_index,
)
from uvstack.image.subtract_column_task import centre_of
from uvstack.image.weighting import Weighting
from uvstack.io import fits as fits_files
from uvstack.io.beams import read_primary_beam
from uvstack.io.ms import parse_column, paths_of, read_structure
from uvstack.io.output import check_output, command_line, write_text, written_whole
from uvstack.io.selection import parse_uv_range, select
from uvstack.records import Provenance, Selection, Structure
from uvstack.sky.coordinates import direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.predict import image_geometry
from uvstack.uv.weights import parallel_hands

logger = logging.getLogger(__name__)

_ARCSEC = np.pi / 180 / 3600
#: Without any threshold CLEAN ends at this many times the noise.
_DEFAULT_SIGMA = 4.0
#: Step of ν/ν₀ over which the Taylor terms of a primary beam are taken.
_BEAM_STEP = 0.02


def image(
    ms: str | Path | Sequence[str | Path],
    *,
    size: int | tuple[int, int],
    cell: float,
    out: str | Path | None = None,
    weighting: str = "briggs",
    robust: float = 0.0,
    uvtaper: float = 0.0,
    deconvolver: str | None = None,
    iterations: int = 100_000,
    threshold: float = 0.0,
    threshold_sigma: float | None = None,
    gain: float = 0.1,
    cycle_factor: float = 1.0,
    most_cycles: int = 20,
    terms: int = 1,
    scales: Sequence[float] = (0.0,),
    mask: str | Path | NDArray | None = None,
    auto_mask: bool = False,
    stokes: str = "I",
    column: str = "DATA",
    field: str | int | None = None,
    spw: str | int | None = None,
    timerange: str | None = None,
    uvmin: str | float | None = None,
    uvmax: str | float | None = None,
    phase_centre: tuple[float, float] | None = None,
    primary_beam: str | PrimaryBeam | None = None,
    pb_cutoff: float = 0.2,
    reference_frequency: float | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageResult:
    """Dirty, deconvolved and restored images of measurement sets by multi-frequency synthesis.

    Parameters
    ----------
    ms : path, glob or sequence of these
        Opened for reading only; several are imaged as one.
    size : int or (int, int)
        Pixels, (m, l); rounded up to sizes whose transforms are fast.
    cell : float
        Pixel, rad.
    out : path, optional
        Products are named `out`-image.fits and so on; without it none is written.
    weighting, robust, uvtaper
        See `uvstack.image.weighting.Weighting`.
    deconvolver : {"hogbom", "clark", "multiscale", "mtmfs"}, optional
        Default "mtmfs" with several terms, "multiscale" with scales, else "clark".
    iterations : int
        Components at most; 0 makes the dirty image alone.
    threshold, threshold_sigma : float
        Peak at which to stop, Jy/beam and times the noise, whichever is higher. Without either: 4 times the noise.
    gain, cycle_factor, most_cycles
        See `uvstack.image.major_cycle.CleanSettings`.
    terms : int
        Taylor terms of the spectrum, 1 to 3.
    scales : sequence of float
        Pixels; 0 is a point.
    mask : path or ndarray (m, l), optional
        FITS image on the grid of this one, or its pixels: components may be where it is not 0.
    auto_mask : bool
        Find a mask in every cycle, within the mask given.
    stokes : str
        "I", the weighted mean of the parallel hands, or one correlation such as "RR".
    column : str
        Data column, or a difference such as "DATA-MODEL_DATA".
    field, spw, timerange : optional
        As in CASA.
    uvmin, uvmax : optional
        As for `uvstack.stack`.
    phase_centre : (float, float), optional
        Middle of the image, J2000, rad; default that of the only field, or the middle of all.
    primary_beam : str or PrimaryBeam, optional
        As for `uvstack.stack`; needed for fields that point to different directions.
    pb_cutoff : float
        Corrected images are blank where the primary beam is below this, 0 … 1.
    reference_frequency : float, optional
        Hz; default the mean of the channels by their weights.
    overwrite : bool
    workers, scheduler, threads, progress
        As for `uvstack.stack`; progress counts the chunks of each pass.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.
    """
    options = {k: _plain(v) for k, v in locals().items() if v is not None and k not in ("ms", "progress")}
    settings = _clean_settings(deconvolver, iterations, threshold, threshold_sigma, gain, cycle_factor, most_cycles, terms, scales,
                               auto_mask)
    weights = Weighting(weighting, robust, uvtaper)
    if not 0 <= pb_cutoff <= 1:
        raise SelectionError(f"pb_cutoff is {pb_cutoff}; wanted a number from 0 to 1")
    if reference_frequency is not None and not (np.isfinite(reference_frequency) and reference_frequency > 0):
        raise ImageError(f"reference_frequency is {reference_frequency} Hz; wanted a positive frequency")
    uv_range, beam = parse_uv_range(uvmin, uvmax), None if primary_beam is None else read_primary_beam(primary_beam)
    structures = tuple(read_structure(path) for path in paths_of(ms))
    selections = tuple(select(s, field, spw, timerange) for s in structures)
    centres = _centres(structures, selections)
    grid = _grid(size, cell, phase_centre, centres)
    is_mosaic = _is_mosaic(centres, cell, beam)
    mask = _read_mask(mask, grid)
    names = _names(out, terms, beam is not None)
    _check_outputs(names, overwrite, grid, structures, options)
    job = Job(structures, selections, tuple(parse_column(column, s) for s in structures), uv_range,
               _hands(stokes, structures, selections), centres, grid, terms)
    with cluster(workers, scheduler) as client:
        n_threads = threads or os.cpu_count() or 1
        passes = Passes(job, client, n_threads, progress)
        survey = passes.survey(weights.needs_density)
        check_cell(grid, survey.extent)
        job = replace(
            job, imaging=weights.prepared(grid, survey.density), reference_frequency=reference_frequency or survey.mean_frequency(job),
            patches=patches_of(job, survey, beam if is_mosaic else None), threads=1 if client is not None else n_threads)
        passes.job = job
        sums = passes.dirty()
        found = deconvolve(passes.residual_of(sums), sums.psf, np.zeros((terms, *grid.shape)), settings, dirty=sums.flat(),
                           mask=mask, threads=n_threads, progress=_log_cycle)
    if survey.n_not_finite:
        warnings.warn(InvalidVisibilityWarning(
            f"{survey.n_not_finite} unflagged visibilities were NaN or infinite and were treated as flagged"), stacklevel=2)
    provenance = Provenance(__version__, command_line(), {
        "ms": [s.path for s in structures], "options": options, "primary_beam": None if beam is None else beam.describe()}, None,
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    result = _result(job, survey, sums, found, None if is_mosaic else beam, is_mosaic, pb_cutoff, provenance, n_threads)
    return result if out is None else _write(result, found, names, survey, survey.bandwidth(job))


# ------------------------------------------------------------------------------------------------- what is asked for


def _clean_settings(deconvolver, iterations, threshold, sigma, gain, cycle_factor, most_cycles, terms, scales, auto_mask) -> CleanSettings:
    if terms not in (1, 2, 3):
        raise ImageError(f"terms is {terms}; wanted 1, 2 or 3 Taylor terms")
    scales = tuple(float(s) for s in scales)
    if deconvolver is None:
        deconvolver = "mtmfs" if terms > 1 else "multiscale" if scales != (0.0,) else "clark"
    if terms > 1 and deconvolver != "mtmfs":
        raise ImageError(f"{terms} Taylor terms with the deconvolver {deconvolver!r}; wanted is 'mtmfs', or terms=1")
    if sigma is None:
        sigma = 0.0 if threshold > 0 else _DEFAULT_SIGMA
    return CleanSettings(
        threshold=threshold, threshold_sigma=sigma, gain=gain, cycle_factor=cycle_factor, most_cycles=most_cycles,
        most_iterations=iterations, algorithm=deconvolver, scales=scales, automask=AutoMask() if auto_mask else None)


def _centres(structures: tuple[Structure, ...], selections: tuple[Selection, ...]) -> dict[tuple[int, int], tuple[float, float, float]]:
    """(set, field) → phase centre in J2000 and the position angle there of the north of the field's own frame, rad."""
    found = {}
    for i, (structure, selection) in enumerate(zip(structures, selections, strict=True)):
        for field in structure.fields:
            if field.id in selection.field_ids:
                found[i, field.id] = centre_of(field.frame, field.ra, field.dec)
    if not found:
        raise NoDataError("the selection leaves no field to image; look at the data with `uvstack info`")
    return found


def _grid(size, cell: float, phase_centre, centres) -> Grid:
    asked = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    shape = tuple(good_size(int(n)) for n in asked)
    if shape != asked:
        warnings.warn(UvstackWarning(f"an image of {asked[1]} × {asked[0]} pixels is slow to transform; it is made with "
                                     f"{shape[1]} × {shape[0]}"), stacklevel=3)
    if phase_centre is None:
        ra, dec = np.array([c[:2] for c in centres.values()]).T
        x, y, z = (np.cos(dec) * np.cos(ra)).mean(), (np.cos(dec) * np.sin(ra)).mean(), np.sin(dec).mean()
        phase_centre = float(np.arctan2(y, x) % (2 * np.pi)), float(np.arctan2(z, np.hypot(x, y)))
        if len(centres) == 1:
            phase_centre = float(ra[0]), float(dec[0])  # to the last bit, so that nothing is turned
    return centred_grid(phase_centre[0], phase_centre[1], (shape[0], shape[1]), cell)


def _is_mosaic(centres, cell: float, beam: PrimaryBeam | None) -> bool:
    """Whether the fields point to different directions; then there must be a primary beam."""
    directions = [c[:2] for c in centres.values()]
    l, m, _ = direction_cosines(*np.array(directions).T, *directions[0])
    if np.hypot(l, m).max() <= cell:
        return False
    if beam is None:
        raise ImageError(f"{len(directions)} fields that point to different directions and no primary beam; give --primary-beam "
                         "(primary_beam=), e.g. vla, or one --field")
    return True


def _hands(stokes: str, structures, selections) -> dict[tuple[int, int], NDArray[np.bool_]]:
    """(set, data description) → which correlations are averaged, (corr,) bool."""
    name = str(stokes).strip().upper()
    known = ("I", "RR", "LL", "XX", "YY", "RL", "LR", "XY", "YX")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise SelectionError(f"stokes={stokes!r} is not known; did you mean {near!r}? There are: {', '.join(known)}")
    found = {}
    for i, (structure, selection) in enumerate(zip(structures, selections, strict=True)):
        for d in structure.data_descriptions:
            hands = parallel_hands(d.correlations) if name == "I" else np.array([CORRELATIONS.get(c) == name for c in d.correlations])
            if d.id in selection.data_description_ids:
                found[i, d.id] = hands
    if not any(hands.any() for hands in found.values()):
        raise SelectionError(f"stokes={stokes!r}: the data hold no such correlation; look at them with `uvstack info`")
    return found


def _read_mask(mask, grid: Grid) -> NDArray[np.bool_] | None:
    """Mask (m, l) of the image's grid, from an array or a FITS file."""
    if mask is None or isinstance(mask, np.ndarray):
        return None if mask is None else checked_mask(mask, grid.shape)
    found = fits_files.read_image(mask)
    where, wanted = image_geometry(found.wcs, found.data.shape), grid.geometry
    if found.data.shape == grid.shape:
        l, m, _ = direction_cosines(where.ra, where.dec, wanted.ra, wanted.dec)
        off = np.hypot(l + where.centre_l, m + where.centre_m) / wanted.cell_m
        scale = max(abs(where.cell_l / wanted.cell_l - 1), abs(where.cell_m / wanted.cell_m - 1)) * max(grid.shape)
        if off > 0.1 or scale > 0.1:
            raise ImageError(f"{mask}: a mask of another grid: its middle is {off:.3g} pixels off, its cell "
                             f"{abs(where.cell_m) / _ARCSEC:.4g} arcsec where {wanted.cell_m / _ARCSEC:.4g} is wanted; regrid it")
    try:
        return checked_mask(found.data, grid.shape)
    except ImageError as error:
        raise ImageError(f"{mask}: {error}") from error


def _names(out, terms: int, has_beam: bool) -> dict[str, Path]:
    """Product → path."""
    if out is None:
        return {}
    names = ["psf"]
    for kind in ("dirty", "model", "residual", "image", *(["pbcor"] if has_beam else [])):
        names += [kind, *(f"{kind}-tt{t}" for t in range(1, terms))]
    names += ["pb"] * has_beam + ["alpha", "alpha-error"] * (terms > 1)
    files = {name: f"{out}-{name}.fits" for name in names} | {
        "components": f"{out}-components.ecsv", "history": f"{out}-history.ecsv", "picture": f"{out}.png", "json": f"{out}.json"}
    return {name: Path(path) for name, path in files.items()}


def _check_outputs(names: dict[str, Path], overwrite: bool, grid: Grid, structures, options) -> None:
    n_bytes = 4 * grid.shape[0] * grid.shape[1] * len(names)
    inputs = (*(s.path for s in structures), *([options["mask"]] if isinstance(options.get("mask"), str) else []))
    for path in names.values():
        check_output(path, overwrite, n_bytes, inputs)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return f"array {value.shape}"
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float | str) else str(value)


def _log_cycle(cycle: Any) -> None:
    logger.info("cycle %d: %d iterations, peak %.4g, rms %.4g Jy/beam, model %.5g Jy", cycle.cycle, cycle.iterations, cycle.peak, cycle.rms,
                cycle.flux)


# ------------------------------------------------------------------------------------------------ images and products


def _result(job: Job, survey: Survey, sums: Sums, found: Deconvolved, beam: PrimaryBeam | None, is_mosaic: bool, pb_cutoff: float,
            provenance: Provenance, threads: int) -> ImageResult:
    """Restored, corrected and spectral images. `beam` is that of a single pointing."""
    cell = job.grid.geometry.cell_m
    fitted = fit_beam(sums.psf[0], cell)
    restored = restore(found.model, found.residual, fitted, cell, sums.psf, threads)
    powers = None if beam is None else _beam_terms(job, survey, beam)
    response = sums.mosaic.response() if is_mosaic else None if powers is None else powers[0]
    model, pbcor = found.model, None
    if is_mosaic:
        model = sums.mosaic.sky(found.model)
    if response is not None:
        pbcor = correct_primary_beam(restored, response if powers is None else powers, pb_cutoff)
        if is_mosaic:  # one response for all terms: each pointing's beam was taken at its own channels
            pbcor = np.stack([correct_primary_beam(plane, response, pb_cutoff) for plane in restored])
    noise = robust_noise(found.residual[0], found.mask if found.mask.mean() < 0.5 else None)
    index = _spectral_index(restored, found, sums, powers) if job.terms > 1 else None
    usable = np.isfinite(found.residual[0])
    return ImageResult(
        grid=job.grid, dirty=sums.flat(), residual=found.residual, image=restored, model=model, psf=_middle(sums.psf[0], job.grid.shape),
        pbcor=pbcor, response=response, alpha=None if index is None else index.alpha, alpha_error=None if index is None else index.error,
        beam=fitted, reference_frequency=job.reference_frequency, noise=noise,
        rms=float(np.sqrt(np.mean(found.residual[0][usable] ** 2))), noise_expected=sums.noise_expected(), n_visibilities=survey.n,
        n_not_finite=survey.n_not_finite, stop_reason=found.stop_reason, n_cycles=found.n_cycles, n_iterations=found.n_iterations,
        history=found.history, model_is="sky" if is_mosaic else "apparent", provenance=provenance)


def _beam_terms(job: Job, survey: Survey, beam: PrimaryBeam) -> NDArray:
    """Taylor terms of the power of a single pointing's beam about the reference frequency, (term, m, l), by finite differences."""
    key = next(iter(survey.weights))
    centre, nu0 = job.centres[key[:2]][:2], job.reference_frequency
    planes = []
    for x in (0.0, -_BEAM_STEP, _BEAM_STEP)[: 1 if job.terms == 1 else 3]:
        patch, plane = beam_patch(job.grid, beam, centre, np.array([nu0 * (1 + x)])), np.zeros(job.grid.shape)
        if patch is not None:
            plane[patch.rows, patch.columns] = patch.power
        planes.append(plane)
    if job.terms == 1:
        return planes[0][None]
    middle, below, above = planes
    return np.stack([middle, (above - below) / (2 * _BEAM_STEP), (above + below - 2 * middle) / (2 * _BEAM_STEP**2)][: job.terms])


def _spectral_index(restored: NDArray, found: Deconvolved, sums: Sums, powers: NDArray | None) -> SpectralIndex:
    """Maps of the spectral index; the noise of the terms and its covariance are those of the residual's principal solution."""
    rest = principal_solution(found.residual, sums.psf)
    noise = np.array([robust_noise(plane) for plane in rest])
    scaled = rest[:2] / noise[:2, None, None]
    # var(a + b) − var(a − b) = 4 cov(a, b), with robust variances.
    covariance = 0.25 * (robust_noise(scaled[0] + scaled[1]) ** 2 - robust_noise(scaled[0] - scaled[1]) ** 2) * noise[0] * noise[1]
    return spectral_index(restored, noise, covariance=covariance, primary_beam=powers)


def _middle(psf: NDArray, shape: tuple[int, int]) -> NDArray:
    """The middle of a psf, its peak at pixel (m // 2, l // 2)."""
    rows, columns = (slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(psf.shape, shape, strict=True))
    return psf[rows, columns]


def _write(result: ImageResult, found: Deconvolved, names: dict[str, Path], survey: Survey, width: float) -> ImageResult:
    """Write all products, and say where they are."""
    where = result.grid.geometry
    wcs = fits_files.sin_wcs(where.ra, where.dec, result.grid.shape, where.cell_m)
    date = Time(survey.first_time / 86400.0, format="mjd", scale="utc").isot
    planes: dict[str, NDArray] = {"psf": result.psf}
    for kind in ("dirty", "model", "residual", "image", "pbcor"):
        terms = getattr(result, kind)
        if terms is not None:
            planes |= {kind if t == 0 else f"{kind}-tt{t}": plane for t, plane in enumerate(terms)}
    planes |= {name: plane for name, plane in (("pb", result.response), ("alpha", result.alpha), ("alpha-error", result.alpha_error))
               if plane is not None}
    beam = fits_files.Beam(*result.beam)
    for name, data in planes.items():
        is_model, is_ratio = name.startswith("model"), name.startswith(("pb-", "alpha")) or name == "pb"
        fits_files.write_image(
            names[name], data, wcs, unit="Jy/pixel" if is_model else "" if is_ratio else "Jy/beam", beams=None if is_model else beam,
            frequency=result.reference_frequency, width=width, date=date,
            cards={"ORIGIN": f"uvstack {__version__}", **({"MODELIS": (result.model_is, "apparent, or the sky")} if is_model else {})})
    with written_whole(names["components"]) as partial:
        _components(result, found).write(partial, format="ascii.ecsv")
    with written_whole(names["history"]) as partial:
        found.table().write(partial, format="ascii.ecsv")
    with written_whole(names["picture"]) as partial:
        image_figure(result).savefig(partial, format="png", dpi=130)
    result = replace(result, files={name: str(path) for name, path in names.items()})
    write_text(names["json"], json.dumps(result.summary(), indent=1, default=str) + "\n")
    return result


def _components(result: ImageResult, found: Deconvolved) -> QTable:
    """Components of the model, in the sense of the model's image."""
    parts = merge_components(found.components)
    flux = parts.flux
    if result.model_is == "sky" and result.response is not None:
        flux = flux / result.response[parts.m, parts.l][:, None]
    table = component_table(parts.m, parts.l, flux, result.grid.geometry, result.grid.shape, parts.scale, result.reference_frequency)
    table.meta["model_is"] = result.model_is
    return table
