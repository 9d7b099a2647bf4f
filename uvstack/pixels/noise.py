"""Values of a map of noise at given positions."""

from __future__ import annotations

import numpy as np


def interpolated(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear value of an image at pixel coordinates, (pos,); NaN outside."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(image, [y, x], order=1, mode="constant", cval=np.nan)
