"""Noise of an image: robust of the whole, about a position, off the centre of a stamp, and by a map of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from uvstack.pixels import kernels


def interpolated(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear value of an image at pixel coordinates, (pos,); NaN outside."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(image, [y, x], order=1, mode="constant", cval=np.nan)


#: σ of a normal distribution over its median absolute deviation.
MAD_TO_SIGMA = 1.482602218505602


#: The median of more pixels than this is taken of every so manieth: it is then good to 0.1 %.
_ENOUGH_PIXELS = 2_000_000


def robust_noise(image: NDArray, exclude: NDArray[np.bool_] | None = None) -> float:
    """Standard deviation of the noise, 1.4826 times the median absolute deviation.

    NaN where no pixel is finite.

    Parameters
    ----------
    image : ndarray (m, l)
        Not finite is blank. Images of more than two million pixels are sampled evenly.
    exclude : ndarray (m, l) bool, optional
        Pixels left out, unless they are more than 9 in 10: then all are used.
    """
    image = np.asarray(image)
    step = max(1, int(np.sqrt(image.size / _ENOUGH_PIXELS)))
    sample = image[::step, ::step]
    usable = np.isfinite(sample)
    if exclude is not None:
        outside = usable & ~exclude[::step, ::step]
        if 10 * int(outside.sum()) >= int(usable.sum()):
            usable = outside
    values = sample[usable]
    if values.size == 0:
        return float("nan")
    # `values` is a copy of ours; the order of its numbers does not matter.
    values -= np.median(values, overwrite_input=True)
    return MAD_TO_SIGMA * float(np.median(np.abs(values, out=values), overwrite_input=True))


#: A stamp's noise needs this share of its pixels.
_LEAST_SHARE = 0.25


def noise_around(image: np.ndarray, x: np.ndarray, y: np.ndarray, size: int, radius: float,
                 threads: int = 1) -> np.ndarray:
    """Standard deviation around each position outside a central circle, (pos,); NaN off the image.

    Lindroos et al. (2015), section 3.2: a stamp of about 300 beams without a circle whose radius is
    the beam's major axis. Stamps that reach over the edge use what is there, if that is at least a
    quarter.

    Parameters
    ----------
    image : ndarray (m, l) float64
    x, y : ndarray (pos,)
        Pixel coordinates, from 0.
    size : int
        Side of the square, pixels.
    radius : float
        Of the circle left out, pixels.
    threads : int
    """
    offset = np.arange(-(size // 2), size - size // 2)
    least = _LEAST_SHARE * float((np.hypot(offset[:, None], offset[None, :]) > radius).sum())
    noise = np.full(x.size, np.nan)
    near = np.isfinite(x) & np.isfinite(y) & (np.abs(x) < 1e9) & (np.abs(y) < 1e9)
    row, col, found = np.rint(y[near]).astype(np.int64), np.rint(x[near]).astype(np.int64), np.empty(int(near.sum()))
    slices = [slice(a[0], a[-1] + 1) for a in np.array_split(np.arange(found.size), threads)
              if a.size]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda here: kernels.noise_around(image, row[here], col[here], size, radius,
                                                        least, found[here]), slices))
    noise[near] = found
    return noise


def off_centre_rms(stamp: np.ndarray, radius: float) -> float:
    """Standard deviation of the finite pixels of a stamp outside a circle (pixels) around its centre; NaN with fewer than 8."""
    m, l = (np.arange(n) - n // 2 for n in stamp.shape)
    values = stamp[np.hypot(m[:, None], l[None, :]) > radius]
    values = values[np.isfinite(values)]
    return float(values.std()) if values.size >= 8 else float("nan")
