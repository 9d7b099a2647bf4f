"""A block of an image brought to another beam and to other pixels, in one pass.

The convolution kernel between two Gaussian beams is itself a Gaussian, whose transform is known
without drawing it: exp(−π²/(4 ln 2) (u, v) (C − B) (u, v)ᵀ), C and B the covariances of the target
and of the image's beam in the image's own pixels. It multiplies the transform of the pixels, so
that a kernel of 1.4 × 0.3 pixels, as at the limit of what can be deconvolved, is as good as any;
drawn on pixels it would be undersampled, and peaks are then off by tens of per cent. Brightness in
K is kept, in Jy/beam it grows by the ratio of the beams' areas (VLASS memo 26, section 3.1: Jy/beam
→ K → convolved → K → Jy/beam; the frequency cancels).

In the same transform stands the prefilter of a septic B-spline β, with which the smoothed image is
then read at the pixels of the reference. Least squares have the filter β̂/Σβ̂² (sums over aliases)
in place of the 1/Σβ̂ of an interpolation. Half a pixel off, where it is worst, the peak pixels of
beams of 1.9 to 2.2 pixels are so 0.07 to 0.09 % low on average and 0.19 % at worst; the quintic
spline as an interpolation leaves 0.24 and 0.37 %.

*Blanks.* What is blank, dead or beyond the edge counts nothing: the image with zeros there and the
map of what is good are convolved alike, and their quotient is taken (normalised convolution). A
plateau keeps its level up to the border. Before the spline is fitted the quotient is continued
outwards by means of neighbours, so that it has no step at which a spline would ring. A pixel is
blank where the nearest one of the epoch was, or where the kernel found less than 2 per cent good.

Cost: 20 ns a pixel, near blanks twice as much. Blocks overlap by the reach of the kernel and, where
pixels are not those of the grid, by forty pixels, over which the prefilter falls to 3e-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.pixels import resampling_kernels as kernels
from uvstack.pixels.pixel_map import PixelMap
from uvstack.sky.beam import TRANSFORM_SCALE

#: A kernel is followed to this many of its FWHM, where it is 1e-7, and a spline over so many
#: pixels, where its prefilter is.
_KERNEL_REACH, _SPLINE_REACH = 2.4, 40
#: Kernels below this part of the beam, in squares of FWHM, convolve nothing.
_NOTHING = 2e-5
#: Share of the kernel's weight that must be good, for the quotient to be known: a corner has a
#: quarter.
_LEAST_GOOD = 0.02


@dataclass(frozen=True)
class Kernel:
    """What an epoch's block is convolved with.

    Attributes
    ----------
    covariance : ndarray (2, 2) or None
        Squares of FWHM in (x, y), pixels of the epoch; None where nothing is to be done.
    ratio : float
        Of the area of the target beam over that of the epoch: Jy/beam grow so.
    """

    covariance: NDArray[np.float64] | None
    ratio: float

    @property
    def reach(self) -> int:
        """Pixels beyond which it is nothing."""
        if self.covariance is None:
            return 0
        return int(np.ceil(_KERNEL_REACH * np.sqrt(np.linalg.eigvalsh(self.covariance)[-1])))


def kernel_between(beam: NDArray[np.float64], target: NDArray[np.float64]) -> Kernel:
    """Kernel that brings one beam to another; both as squares of FWHM in (x, y), pixels.

    What the target is too narrow by, here and there in a wide field, counts as nothing.
    """
    difference = target - beam
    if np.abs(difference).max() <= _NOTHING * np.abs(beam).max():
        return Kernel(None, 1.0)
    value, axes = np.linalg.eigh(difference)
    return Kernel(axes @ np.diag(np.maximum(value, 0.0)) @ axes.T,
                  float(np.sqrt(np.linalg.det(target) / np.linalg.det(beam))))


def window_of(places: PixelMap, kernel: Kernel,
              shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Rows and columns of an epoch (m, l) that a block needs, also beyond its edges; None where it has none."""
    bounds = places.bounds
    if bounds is None:
        return None
    x0, x1, y0, y1 = (int(np.floor(v)) for v in bounds)
    if x1 < 0 or y1 < 0 or x0 >= shape[1] or y0 >= shape[0]:
        return None
    halo = max(kernel.reach, kernels.DEAD)
    if places.whole_shift is None:
        # Of a grid of coarse pixels a block may reach far beyond the epoch.
        halo += _SPLINE_REACH
        x0, y0 = max(x0, 0), max(y0, 0)
        x1, y1 = min(x1, shape[1] - 1), min(y1, shape[0] - 1)
    return slice(y0 - halo, y1 + halo + 2), slice(x0 - halo, x1 + halo + 2)


def smoothed_block(image: NDArray[np.float32], places: PixelMap, kernel: Kernel, *,
                   dead: bool = True) -> NDArray[np.float32]:
    """Brightness (m, l) at the pixels of a block, in the beam of the target; NaN where blank.

    Parameters
    ----------
    image : ndarray (m, l) float32
        The window of the epoch, Jy/beam; NaN is blank, and zero weight.
    places : PixelMap
        Of the block, in pixels of the window.
    kernel : Kernel
    dead : bool
        Whether squares of equal pixels are blank, too.
    """
    good = np.isfinite(image)
    if dead:
        kernels.mark_dead(image, good)
    out = np.empty(places.shape, np.float32)
    if not good.any():
        out[:] = np.nan
        return out
    shift = places.whole_shift
    if shift is not None and kernel.covariance is None:
        x, y = shift
        rows, columns = slice(y, y + out.shape[0]), slice(x, x + out.shape[1])
        return np.where(good[rows, columns], image[rows, columns], np.float32(np.nan))
    whole = bool(good.all())
    smooth = image if whole else _normalised(image, good, kernel)
    if shift is not None:
        x, y = shift
        if whole:
            smooth = _filtered(image, kernel.covariance, splined=False)
        rows, columns = slice(y, y + out.shape[0]), slice(x, x + out.shape[1])
        out[:] = smooth[rows, columns]
        if not whole:
            out[~good[rows, columns]] = np.nan
    else:
        coefficients = _filtered(smooth, kernel.covariance if whole else None, splined=True)
        kernels.spline_at(coefficients, places.x, places.y, places.step, out)
        if not whole or not np.isfinite(places.x).all():
            kernels.keep_good(good, places.x, places.y, places.step, out)
    if kernel.ratio != 1.0:
        out *= np.float32(kernel.ratio)
    return out


def _normalised(image: NDArray[np.float32], good: NDArray[np.bool_],
                kernel: Kernel) -> NDArray[np.float32]:
    """The image convolved with what is good of it alone, continued outwards.

    What has too little good around it to be known is no longer `good`.
    """
    known, smooth = good, np.where(good, image, np.float32(0.0))
    if kernel.covariance is not None:
        smooth = np.ascontiguousarray(_filtered(smooth, kernel.covariance, splined=False)[
            : image.shape[0], : image.shape[1]])
        part = _filtered(good.astype(np.float32), kernel.covariance, splined=False)[
            : image.shape[0], : image.shape[1]]
        known = part > _LEAST_GOOD
        np.divide(smooth, part, out=smooth, where=known)
        good &= known
    kernels.fill_outward(smooth, known.astype(np.uint8), _SPLINE_REACH,
                         np.empty((2, image.size), np.int32))
    return smooth


def _filtered(image: NDArray[np.float32], covariance: NDArray[np.float64] | None, *,
              splined: bool) -> NDArray[np.float32]:
    """The image, convolved with a Gaussian of integral 1, or the coefficients of its septic spline; padded by zeros."""
    import ducc0

    size = [ducc0.fft.good_size(n, True) for n in image.shape]
    padded = image
    if tuple(size) != image.shape:
        padded = np.zeros(size, np.float32)
        padded[: image.shape[0], : image.shape[1]] = image
    spectrum = ducc0.fft.r2c(padded, nthreads=1)
    v, u = np.fft.fftfreq(size[0]), np.fft.rfftfreq(size[1])
    (xx, xy), (_, yy) = TRANSFORM_SCALE**2 * (
        np.zeros((2, 2)) if covariance is None else covariance)
    gains = [_spline_gain(f) if splined else np.ones(f.size) for f in (v, u)]
    kernels.shape_spectrum(spectrum, xx / size[1] ** 2, xy / size[1], yy, v, gains[0],
                           gains[1] / (size[0] * size[1]))
    return ducc0.fft.c2r(spectrum, lastsize=size[1], forward=False, nthreads=1)


def _spline_gain(frequency: NDArray) -> NDArray[np.float64]:
    """β̂/Σβ̂² of the septic B-spline, β̂(f) = sinc⁸ f, at frequencies of up to ½ cycle a pixel.

    Aliases beyond three times the sampling frequency are nothing in single precision.
    """
    return np.sinc(frequency) ** 8 / sum(np.sinc(frequency + k) ** 16 for k in range(-3, 4))
