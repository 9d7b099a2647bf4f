"""What a user asks of an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from astropy.coordinates import SkyCoord
from astropy.units import Quantity
from numpy.typing import NDArray

from uvstack.options import (
    DataOptions,
    OverwriteOptions,
    ReportOptions,
    RunOptions,
    UVRangeOptions,
)
from uvstack.sky.options import BeamOptions

#: How visibilities are weighed in an image.
WeightingKind = Literal["natural", "uniform", "briggs"]


class SeenOptions(BeamOptions, UVRangeOptions, DataOptions, ReportOptions, OverwriteOptions,
                  RunOptions, total=False):
    """Which data an image is made of, how they are weighed, and where it is.

    weighting : {"natural", "uniform", "briggs"}
        See `uvstack.imaging.weighting.Weighting`.
    robust : float, optional
        Of Briggs alone, from −2 (nearly uniform) to 2 (nearly natural); default 0.
    uvtaper : float or (float, float, float)
        FWHM, rad, of the Gaussian on the sky that weights are tapered for, or its fwhm_major,
        fwhm_minor and position_angle; 0 is none.
    phase_centre : str, (float, float) or SkyCoord, optional
        Middle of the image: "J2000 10h12m13s -30d00m01s", or RA and Dec in rad, J2000; default that
        of the only field, or the middle of all.
    pb_cutoff : float
        Corrected images are blank where the primary beam, which fields that point to different
        directions need, is below this, 0 … 1; a mosaic has no components there.
    """

    weighting: Annotated[WeightingKind, "briggs"]
    robust: Annotated[float | None, None]
    uvtaper: Annotated[float | tuple[float, float, float], 0.0]
    phase_centre: Annotated[str | tuple[float, float] | SkyCoord | None, None]
    pb_cutoff: Annotated[float, 0.2]


class ImagingOptions(SeenOptions, total=False):
    """How visibilities are weighed and deconvolved, and what is written.

    out : path, optional
        Products are named `out`-image.fits and so on; without it none is written.
    deconvolver : {"hogbom", "clark", "multiscale", "mtmfs"}, optional
        Default "mtmfs" with several terms, "multiscale" with scales, else "clark".
    iterations : int
        Components at most; 0 makes the dirty image alone.
    threshold, threshold_sigma : float
        Peak at which to stop, Jy/beam and times the noise, whichever is higher. Without either:
        4 times the noise.
    cycle_iterations : int, optional
        Components in one major cycle at most; default no limit.
    flux_change : float
        Stop where a cycle changes the model's flux by less than this part; 0 is never.
    cycle_factor, most_cycles
        See `uvstack.deconvolution.major_cycle.CleanSettings`.
    terms : int
        Taylor terms of the spectrum, 1 to 3.
    scales : sequence of float or "auto"
        Sizes of components, pixels; 0 is a point. "auto", of `uvstack.sdint` alone: a point, and from 1.75 joint beams to
        1.5 of the dish's, in ratios of at most 1.8.
    mask : path or ndarray (m, l), optional
        Where components may be, in all planes: a FITS image on the grid of this one or its pixels,
        where they are not 0; or regions of DS9 (.reg) or CASA (.crtf), see
        `uvstack.imaging.mask_files`.
    auto_mask : bool
        Find a mask in every cycle, within the mask given.
    reference_frequency : float, str or Quantity, optional
        A number is in Hz, "1.4GHz"; default the mean of the channels by their weights.
    """

    out: Annotated[str | Path | None, None]
    deconvolver: Annotated[Literal["hogbom", "clark", "multiscale", "mtmfs"] | None, None]
    iterations: Annotated[int, 100_000]
    threshold: Annotated[float, 0.0]
    threshold_sigma: Annotated[float | None, None]
    cycle_iterations: Annotated[int | None, None]
    flux_change: Annotated[float, 0.0]
    cycle_factor: Annotated[float, 1.0]
    most_cycles: Annotated[int, 20]
    terms: Annotated[int, 1]
    scales: Annotated[Sequence[float] | Literal["auto"], (0.0,)]
    mask: Annotated[str | Path | NDArray | None, None]
    auto_mask: Annotated[bool, False]
    reference_frequency: Annotated[float | str | Quantity | None, None]


class ImageOptions(ImagingOptions, total=False):
    """How visibilities are weighed and deconvolved, by which imager, and what is written.

    gain : float
        Part of a peak that one iteration takes, above 0, at most 1.
    imager : {"uvstack", "wsclean", "casa"}
        Our own, or another that is installed: it makes the dirty image, psf, model, residual and
        restored image of one plane of one pointing, see `uvstack.imaging.external.task`.
    """

    gain: Annotated[float, 0.1]
    imager: Annotated[Literal["uvstack", "wsclean", "casa"], "uvstack"]
