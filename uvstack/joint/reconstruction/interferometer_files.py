"""The interferometer's channels: psfs, dirty images and residuals of measurement sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import NoDataError
from uvstack.imaging.mosaic import psf_taper
from uvstack.imaging.passes_files import Passes, Survey, hold
from uvstack.imaging.setup_files import Setup, plane_job
from uvstack.imaging.weighting import Weighting
from uvstack.joint.reconstruction.channels import Channels
from uvstack.joint.reconstruction.joint_plane import InterferometerPlane


@dataclass(frozen=True)
class Wanted:
    """What of each channel is made.

    Attributes
    ----------
    images : bool
        Dirty image, psf and residuals; weights and frequency alone without.
    clean : bool
        The psf is for CLEAN.
    floor : float
        Response of the primary beam below which no pixel is wanted.
    psf_reach : (int, int) or None
        How many pixels from its middle the psf is wanted at least; None for all of the image.
    mask : ndarray (m, l) bool or None
        Where components may be.
    """

    images: bool = True
    clean: bool = True
    floor: float = 0.0
    psf_reach: tuple[int, int] | None = None
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class SeenChannel:
    """A channel of the visibilities, before it is joined with a dish.

    Attributes
    ----------
    frequency : float
        Mean of its data by weight, Hz.
    weight : float
        Sum of imaging weights; of natural ones where no image is made.
    band : (float, float)
        Edges, Hz.
    plane : InterferometerPlane or None
        None where the dish alone is used.
    primary_beam : ndarray (m, l) or None
    noise : float
        Expected from the weights, Jy/beam; NaN where no image is made.
    survey : Survey
    """

    frequency: float
    weight: float
    band: tuple[float, float]
    plane: InterferometerPlane | None
    primary_beam: NDArray[np.float64] | None
    noise: float
    survey: Survey


def seen_channels(setup: Setup, channels: Sequence[tuple[Channels, tuple[float, float]]],
                  weighting: Weighting, client: Any, threads: int,
                  progress: Callable[[int, int], None] | None,
                  wanted: Wanted) -> list[SeenChannel]:
    """Dirty image, psf and residuals of each channel; those without data are left out.

    Raises
    ------
    NoDataError
        There is nothing to image in any of them.
    """
    job = setup.job
    hands = setup.hands["I"]
    passes = []
    for found, band in channels:
        own = {key: part for key, part in found.items() if key in hands}
        one = plane_job(job, setup.windows, own, band, setup.beam is not None)
        passes.append(Passes(replace(one, hands=hands), client, threads, progress))
    if client is None:
        hold(passes)
    seen = []
    for through, (_, band) in zip(passes, channels, strict=True):
        try:
            seen.append(_seen(through, band, setup, weighting, wanted))
        except NoDataError:
            if len(passes) == 1:
                raise
    if not seen:
        raise NoDataError("every visibility is flagged, has no weight or lies outside the uv "
                          "range: nothing to image")
    return seen


def _seen(passes: Passes, band: tuple[float, float], setup: Setup, weighting: Weighting,
          wanted: Wanted) -> SeenChannel:
    survey = passes.begin(weighting)
    nu = passes.job.reference_frequency
    if not wanted.images:
        weight = sum(float(w.sum()) for w in survey.weights.values())
        return SeenChannel(nu, weight, band, None, None, float("nan"), survey)
    passes.see(survey, setup.beam, wanted.clean, wanted.floor, wanted.psf_reach,
               wanted.clean and setup.is_mosaic)
    sums = passes.dirty()
    residual_of = passes.residual_of(sums)
    psf, patches = sums.psf[0], passes.job.patches
    if setup.is_mosaic and patches is not None:
        psf = psf * psf_taper(patches, {key: float(weight.sum()) for key, weight
                                        in sums.channel_weight.items()}, sums.mosaic,
                              wanted.floor, (psf.shape[0], psf.shape[1]))
    response = None if setup.beam is None else sums.mosaic.response()
    allowed = np.ones(setup.grid.shape, np.bool_) if response is None else response >= wanted.floor
    local = sums.local_psfs(allowed if wanted.mask is None else allowed & wanted.mask)
    plane = InterferometerPlane(sums.flat()[0], psf,
                                lambda model: residual_of(np.asarray(model)[None])[0], local)
    return SeenChannel(nu, sums.weight, band, plane, response, sums.noise_expected(), survey)
