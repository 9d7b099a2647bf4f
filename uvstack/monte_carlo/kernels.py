"""Numba kernels of the Monte Carlo: images looked up between their pixels. Arrays and scalars in, results last; no checks."""

import numpy as np
from numba import njit

#: Samples of the kernel for each pixel, between which it is interpolated linearly: error 1e-7.
SAMPLES = 4096


@njit(inline="always")
def _along(x, taps, table, values):
    """Kernel values at the taps pixels around x; returns the first of them."""
    first = int(np.floor(x)) - taps // 2 + 1
    for j in range(taps):
        distance = abs(x - (first + j)) * SAMPLES
        i = int(distance)
        part = np.float32(distance - i)
        values[j] = table[i] + part * (table[i + 1] - table[i])
    return first


@njit(nogil=True, cache=True, fastmath=True)
def look_up(x, y, factor, order, taps, table, image, sums):
    """Add factor times the image around pixel (x, y) to sums (pos,) for the positions in `order`.

    x, y, factor (pos,) float64; order (n,) int, best so that neighbours follow each other; table
    (SAMPLES taps/2 + 2,) float32, the kernel from its centre outwards; image (x, y) float32; sums
    (pos,) float64.
    """
    along_x = np.empty(taps, np.float32)
    along_y = np.empty(taps, np.float32)
    for k in order:
        first_x = _along(x[k], taps, table, along_x)
        first_y = _along(y[k], taps, table, along_y)
        total = 0.0
        for i in range(taps):
            row = image[first_x + i, first_y : first_y + taps]
            line = np.float32(0.0)
            for j in range(taps):
                line += row[j] * along_y[j]
            total += line * along_x[i]
        sums[k] += factor[k] * total
