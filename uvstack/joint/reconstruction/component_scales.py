"""Sizes of components for what an interferometer and a dish see together."""

from __future__ import annotations

import math

import numpy as np

#: Beams of the interferometer in the smallest size, beams of the dish in the largest: emission is found
#: that is wider than the dish resolves. Neighbours differ by no more than the ratio.
_SMALLEST, _LARGEST, _RATIO = 1.75, 1.5, 1.8


def scales_between(beam: float, dish: float, shape: tuple[int, int]) -> tuple[float, ...]:
    """0, a point, and sizes in even ratios, pixels.

    Parameters
    ----------
    beam, dish : float
        FWHM of the joint beam and of the dish's widest, pixels.
    shape : (int, int)
        Of the image, whose half is the largest size.

    Returns
    -------
    tuple of float
        Whole pixels, rising.
    """
    largest = min(_LARGEST * dish, min(shape) / 2)
    smallest = min(max(_SMALLEST * beam, 2.0), largest)
    n = 1 + math.ceil(math.log(largest / smallest) / math.log(_RATIO))
    sizes = np.floor(np.geomspace(smallest, largest, n) + 1e-9)
    return (0.0, *(float(one) for one in np.unique(sizes)))
