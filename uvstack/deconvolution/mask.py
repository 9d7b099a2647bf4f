"""Where CLEAN may put components.

The automatic mask, masks given as arrays, and the robust noise both rest on.

The automatic mask follows auto-multithresh (Kepley et al. 2020), the masking of CASA and of the
ALMA pipeline, in five steps that are repeated on the residual before every cycle of minor
iterations:

1. Two thresholds. High: the larger of `sigma` times the noise and `sidelobe_factor` times the psf's highest sidelobe times
   the peak of the residual, so that no sidelobe of what is still uncleaned is taken for a source.
   Low: the same with `grow_sigma` instead of `sigma`.
2. Pixels above the high threshold form regions; those smaller than `smallest` beams are dropped, for a noise spike is
   narrower than the beam only above a high level.
3. Growth: from these regions and from the mask so far, step by step into neighbours above the low threshold, so that the
   faint skirt of a source follows its core.
4. The result is convolved with the beam times `smooth` and cut at `cut` of its peak, which rounds and widens it by about
   one beam.
5. What was masked stays masked; nothing outside the mask that the user allows is ever added.

Differences from the paper: the sidelobe threshold is never above half the peak, or a psf with
sidelobes of a quarter would leave no source large enough; the noise is 1.4826 times the median
absolute deviation of the pixels that are not in the mask so far; growth begins in the first cycle,
from the new regions; regions are grown before both are smoothed together. Negative regions are
taken at `negative_sigma` and not grown, as in the paper, and neither smoothed; 0 leaves them out.

Cost: 1 to 3 s for 4000² a call, half of it the smoothing. Limits: one noise for the whole image, so
use it on flat-noise images, not on those corrected for the primary beam.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.pixels.noise import robust_noise
from uvstack.pixels.smooth import convolve_beam
from uvstack.sky.beam import Beam

#: Part of the residual's peak that the sidelobe threshold may reach.
HIGHEST_FLOOR = 0.5


@dataclass(frozen=True)
class AutoMask:
    """What the automatic mask does; the defaults are those of CASA's tclean.

    Attributes
    ----------
    sigma, grow_sigma : float
        Thresholds for new regions and for growth, in units of the noise.
    sidelobe_factor : float
        Both thresholds are at least this times the psf's highest sidelobe times the residual's
        peak. The ALMA pipeline takes less for its compact configurations, whose sidelobes are high.
    smallest : float
        Least size of a new region, beam areas.
    smooth : float
        FWHM of the smoothing, in beams; 0 for none.
    cut : float
        Part of its peak at which the smoothed mask is cut, 0 … 1.
    grow_steps : int
        Most steps of growth, pixels; 0 for none.
    negative_sigma : float
        Threshold for negative regions; 0 for none.
    """

    sigma: float = 5.0
    grow_sigma: float = 1.5
    sidelobe_factor: float = 3.0
    smallest: float = 0.3
    smooth: float = 1.0
    cut: float = 0.01
    grow_steps: int = 75
    negative_sigma: float = 0.0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ImageError(f"automatic mask: {name} is {value}; wanted is a number of 0 or "
                                 "more")
        if not (0 < self.grow_sigma <= self.sigma and self.cut < 1):
            raise ImageError(f"automatic mask: sigma {self.sigma:g}, grow_sigma "
                             f"{self.grow_sigma:g}, cut {self.cut:g}; wanted are"
                             " 0 < grow_sigma <= sigma and cut < 1")


def automatic_mask(residual: NDArray, sidelobe: float, beam: Beam, settings: AutoMask | None = None,
                   previous: NDArray[np.bool_] | None = None,
                   allowed: NDArray[np.bool_] | None = None, threads: int = 1) -> NDArray[np.bool_]:
    """Mask (m, l) for the next minor cycle: the previous one and what the residual shows by now.

    Parameters
    ----------
    residual : ndarray (m, l)
        Jy/beam with even noise; not finite is never masked.
    sidelobe : float
        Largest |psf| outside the main lobe, 0 … 1.
    beam : Beam
        In pixels.
    settings : AutoMask, optional
    previous : ndarray (m, l) bool, optional
        The mask so far.
    allowed : ndarray (m, l) bool, optional
        Outside it nothing is masked.
    threads : int

    Returns
    -------
    ndarray (m, l) bool
        May be empty.

    Raises
    ------
    ImageError
        A mask has another shape than the residual.
    """
    settings = settings or AutoMask()
    residual = np.asarray(residual)
    usable = np.isfinite(residual)
    if allowed is not None:
        usable &= checked_mask(allowed, residual.shape)
    mask = np.zeros(residual.shape, bool) if previous is None else checked_mask(
        previous, residual.shape) & usable
    if not usable.any():
        return mask
    image = np.where(usable, residual, 0.0)
    noise = robust_noise(residual, mask)
    floor = min(settings.sidelobe_factor * sidelobe, HIGHEST_FLOOR) * float(np.abs(image).max())
    new = _large_regions(image > max(settings.sigma * noise, floor),
                         settings.smallest * beam.area())
    new |= _grown(new | mask, image > max(settings.grow_sigma * noise, floor), settings.grow_steps)
    if settings.smooth > 0 and new.any():
        wider = Beam(beam.fwhm_major * settings.smooth, beam.fwhm_minor * settings.smooth,
                     beam.position_angle)
        smoothed = convolve_beam(new, wider, 1.0, threads)
        new |= smoothed > settings.cut * smoothed.max()
    if settings.negative_sigma > 0:
        new |= _large_regions(image < -max(settings.negative_sigma * noise, floor),
                              settings.smallest * beam.area())
    return mask | (new & usable)


def _large_regions(above: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Connected regions (over corners too) of at least so many pixels."""
    from scipy.ndimage import label

    labels, n = label(above, structure=np.ones((3, 3)))
    if n == 0:
        return above
    kept = np.bincount(labels.ravel(), minlength=n + 1) >= least
    kept[0] = False
    return kept[labels]


def _grown(seed: NDArray[np.bool_], above: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """What is reached from the seed in so many steps over sides of pixels without leaving `above`.

    The seed not included.
    """
    from scipy.ndimage import binary_dilation

    if steps < 1 or not seed.any():
        return np.zeros(seed.shape, bool)
    return binary_dilation(seed, iterations=int(steps), mask=above) & above


def checked_mask(mask: NDArray, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mask (m, l) bool from an array: true where it is finite and not 0.

    Axes of length 1 in front are dropped.

    Raises
    ------
    ImageError
        Its pixels are not those of the image.
    """
    mask = np.asarray(mask)
    while mask.ndim > 2 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.shape != tuple(shape):
        raise ImageError(f"a mask of {' × '.join(map(str, mask.shape))} pixels for an image of "
                         f"{' × '.join(map(str, shape))}; wanted is one"
                         " on the same grid: regrid it, or leave it out")
    return mask if mask.dtype == bool else np.isfinite(mask) & (mask != 0)
