"""One plane of an image: a Stokes parameter and a band of frequencies, from the visibilities to all its images.

A plane is gone through alone: its own weights and density, psf, restoring beam, deconvolution and reference frequency.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.table import QTable
from astropy.time import Time
from numpy.typing import NDArray

from uvstack.image.grid import check_cell
from uvstack.image.image_result import ImageResult
from uvstack.image.major_cycle import CleanSettings, Deconvolved, deconvolve, merge_components
from uvstack.image.mask import robust_noise
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
from uvstack.image.weighting import Weighting
from uvstack.records import Provenance
from uvstack.sky.primary_beam import PrimaryBeam

logger = logging.getLogger(__name__)

#: Step of ν/ν₀ over which the Taylor terms of a primary beam are taken.
_BEAM_STEP = 0.02


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked for, the same for all planes.

    Attributes
    ----------
    settings : CleanSettings
    weighting : Weighting
    mask : ndarray (m, l) bool or None
    beam : PrimaryBeam or None
    is_mosaic : bool
    pb_cutoff : float
    reference_frequency : float or None
        Hz.
    threads : int
    provenance : Provenance
    """

    settings: CleanSettings
    weighting: Weighting
    mask: NDArray[np.bool_] | None
    beam: PrimaryBeam | None
    is_mosaic: bool
    pb_cutoff: float
    reference_frequency: float | None
    threads: int
    provenance: Provenance


def image_plane(job: Job, request: Request, stokes: str, client: Any, progress: Callable[[int, int], None] | None) -> ImageResult:
    """Images of the hands and bands of a job.

    Raises
    ------
    NoDataError
        There are no visibilities for it.
    ImageError
        The cells are too coarse, or no beam fits the psf.
    """
    passes = Passes(job, client, request.threads, progress)
    survey = passes.survey(request.weighting.needs_density)
    check_cell(job.grid, survey.extent)
    job = replace(
        job, imaging=request.weighting.prepared(job.grid, survey.density),
        reference_frequency=request.reference_frequency or survey.mean_frequency(job),
        patches=patches_of(job, survey, request.beam if request.is_mosaic else None), threads=1 if client is not None else request.threads)
    passes.job = job
    sums = passes.dirty()
    settings = request.settings
    if stokes in ("Q", "U", "V") and settings.automask is not None:
        # They are of either sign.
        settings = replace(settings, automask=replace(settings.automask, negative_sigma=settings.automask.sigma))
    found = deconvolve(passes.residual_of(sums), sums.psf, np.zeros((job.terms, *job.grid.shape)), settings, dirty=sums.flat(),
                       mask=request.mask, threads=request.threads, progress=_log_cycle)
    return _result(job, request, survey, sums, found, stokes)


def _log_cycle(cycle: Any) -> None:
    logger.info("cycle %d: %d iterations, peak %.4g, rms %.4g Jy/beam, model %.5g Jy", cycle.cycle, cycle.iterations, cycle.peak, cycle.rms,
                cycle.flux)


def _result(job: Job, request: Request, survey: Survey, sums: Sums, found: Deconvolved, stokes: str) -> ImageResult:
    """Restored, corrected and spectral images."""
    cell = job.grid.geometry.cell_m
    fitted = fit_beam(sums.psf[0], cell)
    restored = restore(found.model, found.residual, fitted, cell, sums.psf, request.threads)
    powers = None if request.beam is None or request.is_mosaic else _beam_terms(job, sums, request.beam)
    response = sums.mosaic.response() if request.is_mosaic else None if powers is None else powers[0]
    model, pbcor = found.model, None
    if request.is_mosaic:
        model = sums.mosaic.sky(found.model)
    if response is not None:
        pbcor = correct_primary_beam(restored, response if powers is None else powers, request.pb_cutoff)
        if request.is_mosaic:  # one response for all terms: each pointing's beam was taken at its own channels
            pbcor = np.stack([correct_primary_beam(plane, response, request.pb_cutoff) for plane in restored])
    noise = robust_noise(found.residual[0], found.mask if found.mask.mean() < 0.5 else None)
    index = _spectral_index(restored, found, sums, powers) if job.terms > 1 else None
    usable = np.isfinite(found.residual[0])
    result = ImageResult(
        grid=job.grid, dirty=sums.flat(), residual=found.residual, image=restored, model=model, psf=_middle(sums.psf[0], job.grid.shape),
        pbcor=pbcor, response=response, alpha=None if index is None else index.alpha, alpha_error=None if index is None else index.error,
        beam=fitted, reference_frequency=job.reference_frequency, noise=noise,
        rms=float(np.sqrt(np.mean(found.residual[0][usable] ** 2))), noise_expected=sums.noise_expected(), n_visibilities=survey.n,
        n_not_finite=survey.n_not_finite, stop_reason=found.stop_reason, n_cycles=found.n_cycles, n_iterations=found.n_iterations,
        history=found.history, model_is="sky" if request.is_mosaic else "apparent", provenance=request.provenance, stokes=stokes,
        band=survey.edges(job), date=Time(survey.first_time / 86400.0, format="mjd", scale="utc").isot)
    return replace(result, tables={"components": _components(result, found), "history": found.table()})


def _beam_terms(job: Job, sums: Sums, beam: PrimaryBeam) -> NDArray:
    """Power of a single pointing's beam, (term, m, l).

    Of one term the mean over all channels by their imaging weights, since that is how a flat spectrum is seen; of several the
    Taylor coefficients about the reference frequency by finite differences.
    """
    centre, nu0 = job.centres[next(iter(sums.channel_weight))[:2]][:2], job.reference_frequency
    if job.terms == 1:
        frequency = np.concatenate([job.frequency(key) for key in sums.channel_weight])
        return _power(job, beam, centre, frequency, np.concatenate(list(sums.channel_weight.values())))[None]
    middle, below, above = (_power(job, beam, centre, np.array([nu0 * (1 + x)])) for x in (0.0, -_BEAM_STEP, _BEAM_STEP))
    return np.stack([middle, (above - below) / (2 * _BEAM_STEP), (above + below - 2 * middle) / (2 * _BEAM_STEP**2)][: job.terms])


def _power(job: Job, beam: PrimaryBeam, centre: tuple[float, float], frequency: NDArray, weight: NDArray | None = None) -> NDArray:
    patch, plane = beam_patch(job.grid, beam, centre, frequency, weight), np.zeros(job.grid.shape)
    if patch is not None:
        plane[patch.rows, patch.columns] = patch.power
    return plane


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


def _components(result: ImageResult, found: Deconvolved) -> QTable:
    """Components of the model, in the sense of the model's image."""
    parts = merge_components(found.components)
    flux = parts.flux
    if result.model_is == "sky" and result.response is not None:
        flux = flux / result.response[parts.m, parts.l][:, None]
    table = component_table(parts.m, parts.l, flux, result.grid.geometry, result.grid.shape, parts.scale, result.reference_frequency)
    table.meta["model_is"] = result.model_is
    return table
