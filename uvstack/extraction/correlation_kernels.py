"""Numba kernel of the correlation of an image's noise."""

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def _is_free(label, y, x, margin):
    """Whether no pixel of an island is within a square about a pixel."""
    for v in range(max(y - margin, 0), min(y + margin + 1, label.shape[0])):
        for u in range(max(x - margin, 0), min(x + margin + 1, label.shape[1])):
            if label[v, u] != 0:
                return False
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def sum_of_products(image, rms, label, margin, step, total, count):
    """Add products of pixels outside islands with those at each lag, and their numbers.

    Both go to (r + 1, 2 r + 1): lags down, and to both sides. They are taken over the noise at the
    first of both. Pixels are taken at every `step` along both axes, in rows that are shifted
    against each other, those of them that are more than `margin` pixels from every island; NaN is
    left out. `rms` has those rows alone.
    """
    n_y, n_x = image.shape
    r = total.shape[0] - 1
    row = 0
    for y in range(0, n_y - r, step):
        first = r + (row * (step // 2 + 1)) % step
        for x in range(first, n_x - r, step):
            here = image[y, x] / (np.float64(rms[row, x]) * rms[row, x])
            if not math.isfinite(here) or not _is_free(label, y, x, margin):
                continue
            for j in range(r + 1):
                for i in range(2 * r + 1):
                    there = image[y + j, x + i - r]
                    if label[y + j, x + i - r] == 0 and math.isfinite(there):
                        total[j, i] += np.float64(here) * there
                        count[j, i] += 1
        row += 1
