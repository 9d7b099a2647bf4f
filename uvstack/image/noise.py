"""Local noise of an image at given positions."""

from __future__ import annotations

import numpy as np


def local_noise(image: np.ndarray, x: np.ndarray, y: np.ndarray, stamp: int, mask_radius: float) -> np.ndarray:
    """Standard deviation of the pixels around each position outside a central circle, (pos,); NaN off the image.

    Parameters
    ----------
    image : ndarray (m, l)
        Any unit; NaN is blank.
    x, y : ndarray (pos,)
        Pixel coordinates, from 0, along the last and the first axis.
    stamp : int
        Side of the square looked at, pixels.
    mask_radius : float
        Radius of the circle left out, pixels.

    Notes
    -----
    Lindroos et al. (2015), section 3.2: a stamp of about 300 beams without a circle whose radius is the beam's major
    axis. Stamps that reach over the edge use what is there, if that is at least a quarter.
    """
    half = stamp // 2
    offset = np.arange(-half, stamp - half)
    noise = np.full(x.size, np.nan)
    outside = np.hypot(offset[:, None], offset[None, :]) > mask_radius
    for k in range(x.size):
        if not (np.isfinite(x[k]) and np.isfinite(y[k])):
            continue
        rows, cols = offset + int(round(float(y[k]))), offset + int(round(float(x[k])))
        row_ok, col_ok = (rows >= 0) & (rows < image.shape[0]), (cols >= 0) & (cols < image.shape[1])
        values = image[np.ix_(rows[row_ok], cols[col_ok])][outside[np.ix_(row_ok, col_ok)]]
        values = values[np.isfinite(values)]
        if values.size >= 0.25 * outside.sum():
            noise[k] = values.std()
    return noise


def interpolated(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear value of an image at pixel coordinates, (pos,); NaN outside."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(image, [y, x], order=1, mode="constant", cval=np.nan)
