"""One plane of an image.

a Stokes parameter and a band of frequencies, from the visibilities to all its images.

A plane is gone through alone: its own weights and density, psf, restoring beam, deconvolution and
reference frequency. Where another imager makes it (`uvstack.imaging.external.task`), what it gives
back takes the place of our deconvolution; noise, correction for the primary beam and lists are made
as ours.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import QTable
from astropy.time import Time
from numpy.typing import NDArray

from uvstack.deconvolution.major_cycle import (
    CleanSettings,
    Deconvolved,
    deconvolve,
    merge_components,
    warn_of_divergence,
)
from uvstack.deconvolution.mask import checked_mask
from uvstack.errors import UvstackWarning
from uvstack.imaging.external.request import ExternalImages, ExternalRequest
from uvstack.imaging.external.task import external_images
from uvstack.imaging.mosaic import beam_terms
from uvstack.imaging.passes_files import Passes, Sums, Survey, hold, patches_of
from uvstack.imaging.pieces_files import Job
from uvstack.imaging.restore import (
    SpectralIndex,
    component_table,
    correct_primary_beam,
    restore,
    restored_index,
)
from uvstack.imaging.result import ImageResult
from uvstack.imaging.weighting import Weighting
from uvstack.pixels.grid import centred_grid
from uvstack.pixels.noise import robust_noise
from uvstack.pixels.psf import fit_beam
from uvstack.records import Provenance
from uvstack.sky.beam import Beam
from uvstack.sky.primary_beam import PrimaryBeam

logger = logging.getLogger(__name__)

#: Pixels on a side of the image that weights alone are summed with.
_FEW_PIXELS = 8


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
    imager : str
        "uvstack", our own, or the name of another.
    external : ExternalRequest or None
        What another imager is asked for.
    folder : path or None
        Where its temporary files go; None is that of the system.
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
    imager: str = "uvstack"
    external: ExternalRequest | None = None
    folder: Path | None = None


class _Made(NamedTuple):
    """What an imager gives.

    (term, m, l), psf (2 term − 1, m', l') with its peak in the middle, and the spectral index if it
    has one.
    """

    dirty: NDArray
    psf: NDArray
    restored: NDArray
    beam: Beam
    found: Deconvolved
    alpha: NDArray | None = None
    alpha_error: NDArray | None = None


def image_plane(job: Job, request: Request, stokes: str, client: Any,
                progress: Callable[[int, int], None] | None) -> ImageResult:
    """Images of the hands and bands of a job.

    Raises
    ------
    NoDataError
        There are no visibilities for it.
    ImageError
        The cells are too coarse, no beam fits the psf, or another imager fails.
    """
    passes = Passes(job, client, request.threads, progress)
    if client is None:  # chunks that are kept would be sent to workers again for each pass
        hold([passes])
    survey = passes.begin(request.weighting, request.reference_frequency)
    job = passes.job
    if request.external is not None:
        passes.job = _of_few_pixels(job, survey)
        sums = passes.dirty()
        got = external_images(request.imager,
                              replace(request.external,
                                      reference_frequency=job.reference_frequency), request.folder)
        if got.stop_reason == "diverged":
            warnings.warn(UvstackWarning(f"{got.version} diverged: its image is not to be trusted; "
                                         "give a mask or a higher threshold, or "
                                         "use our own imager"), stacklevel=2)
        request = replace(request, provenance=_provenance(request.provenance, got))
        return _result(job, request, survey, sums,
                       _Made(got.dirty, got.psf, got.image, got.beam, got.deconvolved(request.mask),
                             got.alpha, got.alpha_error), stokes)
    with_clean = request.settings.most_iterations > 0 and request.settings.most_cycles > 0
    passes.see(survey, request.beam if request.is_mosaic else None, with_clean=with_clean,
               with_lobes=with_clean and request.is_mosaic)
    sums = passes.dirty()
    return _result(passes.job, request, survey, sums,
                   _deconvolved(passes, sums, request, stokes), stokes)


def _of_few_pixels(job: Job, survey: Survey) -> Job:
    """The same job for a few pixels in the middle.

    a pass with it sums the imaging weights of the whole image, and costs little more.
    """
    where = job.grid.geometry
    small = replace(job, grid=centred_grid(where.ra, where.dec, _FEW_PIXELS, where.cell_m))
    return replace(small, patches=patches_of(small, survey, None))


def _provenance(ours: Provenance, got: ExternalImages) -> Provenance:
    return replace(ours,
                   inputs=ours.inputs | {"imager": got.version, "imager_command": got.command})


def _deconvolved(passes: Passes, sums: Sums, request: Request, stokes: str) -> _Made:
    """By our own imager."""
    job, settings = passes.job, request.settings
    if stokes in ("Q", "U", "V") and settings.automask is not None:
        # They are of either sign.
        settings = replace(settings,
                           automask=replace(settings.automask,
                                            negative_sigma=settings.automask.sigma))
    dirty, mask, sidelobe = sums.flat(), request.mask, 0.0
    if request.is_mosaic:
        seen = sums.mosaic.response() >= request.pb_cutoff
        mask = seen if mask is None else seen & checked_mask(mask, seen.shape)
        sidelobe = sums.sidelobe(mask)
    found = deconvolve(passes.residual_of(sums), sums.psf, np.zeros((job.terms, *job.grid.shape)),
                       settings, dirty=dirty, mask=mask, sidelobe=sidelobe,
                       threads=request.threads, progress=_log_cycle)
    warn_of_divergence(
        found, f"the image of Stokes {stokes} at {job.reference_frequency / 1e9:.6g} GHz")
    cell = job.grid.geometry.cell_m
    beam = fit_beam(sums.psf[0], cell)
    return _Made(dirty, sums.psf,
                 restore(found.model, found.residual, beam, cell, sums.psf, request.threads), beam,
                 found)


def _log_cycle(cycle: Any) -> None:
    logger.info("cycle %d: %d iterations, peak %.4g, rms %.4g Jy/beam, model %.5g Jy", cycle.cycle,
                cycle.iterations, cycle.peak, cycle.rms, cycle.flux)


def _result(job: Job, request: Request, survey: Survey, sums: Sums, made: _Made,
            stokes: str) -> ImageResult:
    """Corrected and spectral images, and all numbers."""
    found, restored = made.found, made.restored
    powers = None if request.beam is None or request.is_mosaic else _beam_terms(
        job, sums, request.beam)
    response = sums.mosaic.response() if request.is_mosaic else None if powers is None else powers[0]
    model, pbcor = found.model, None
    if request.is_mosaic:
        model = sums.mosaic.sky(found.model)
    if response is not None:
        pbcor = correct_primary_beam(restored, response if powers is None else powers,
                                     request.pb_cutoff)
        if request.is_mosaic:  # one response for all terms: each pointing's beam was taken at its own channels
            pbcor = np.stack([correct_primary_beam(plane, response, request.pb_cutoff)
                              for plane in restored])
    noise = robust_noise(found.residual[0], found.mask if found.mask.mean() < 0.5 else None)
    index = _spectral_index(made, powers) if job.terms > 1 else None
    usable = found.residual[0][np.isfinite(found.residual[0])]
    result = ImageResult(grid=job.grid, dirty=made.dirty, residual=found.residual, image=restored,
                         model=model, psf=middle_of_psf(made.psf[0], job.grid.shape), pbcor=pbcor,
                         response=response, alpha=None if index is None else index.alpha,
                         alpha_error=None if index is None else index.error,
                         curvature=None if index is None else index.beta,
                         curvature_error=None if index is None else index.beta_error,
                         beam=made.beam,
                         reference_frequency=job.reference_frequency, noise=noise,
                         rms=float(np.sqrt(usable @ usable / usable.size)),
                         noise_expected=sums.noise_expected(), n_visibilities=survey.n,
                         n_not_finite=survey.n_not_finite, stop_reason=found.stop_reason,
                         n_cycles=found.n_cycles, n_iterations=found.n_iterations,
                         history=found.history, model_is="sky" if request.is_mosaic else "apparent",
                         provenance=request.provenance, stokes=stokes, band=survey.edges(job),
                         mask=found.mask,
                         date=Time(survey.first_time / 86400.0, format="mjd", scale="utc").isot)
    return replace(result,
                   lists={"components": component_list(result, found), "history": found.table()})


def _beam_terms(job: Job, sums: Sums, beam: PrimaryBeam) -> NDArray:
    """Power of a single pointing's beam as the terms of its image see it, (term, m, l)."""
    centre = job.pointings[next(iter(sums.channel_weight))[:2]]
    frequency = np.concatenate([job.frequency(key) for key in sums.channel_weight])
    weight = np.concatenate(list(sums.channel_weight.values()))
    return beam_terms(job.grid, beam, centre, frequency, weight, job.reference_frequency, job.terms)


def _spectral_index(made: _Made, powers: NDArray | None) -> SpectralIndex:
    """Maps of the spectral index of the sky: the imager's own less the beam's, or ours.

    In ours the noise of the terms and its covariance are those of the residual's principal
    solution.
    """
    if made.alpha is not None and made.alpha_error is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            of_beam = 0.0 if powers is None else powers[1] / np.where(powers[0] > 0, powers[0],
                                                                      np.nan)
        return SpectralIndex(made.alpha - of_beam, made.alpha_error, None)
    return restored_index(made.restored, made.found.residual, made.psf, powers)


def middle_of_psf(psf: NDArray, shape: tuple[int, int]) -> NDArray:
    """The middle of a psf, its peak at pixel (m // 2, l // 2)."""
    rows, columns = (slice(n // 2 - m // 2, n // 2 - m // 2 + m)
                     for n, m in zip(psf.shape, shape, strict=True))
    return psf[rows, columns]


def component_list(result: ImageResult, found: Deconvolved) -> QTable:
    """Components of the model, in the sense of the model's image."""
    parts = merge_components(found.components)
    flux = parts.flux
    if result.model_is == "sky" and result.response is not None:
        flux = flux / result.response[parts.m, parts.l][:, None]
    table = component_table(parts.m, parts.l, flux, result.grid.geometry, result.grid.shape,
                            parts.scale, result.reference_frequency)
    table.meta["model_is"] = result.model_is
    return table
