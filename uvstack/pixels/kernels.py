"""Loops over the pixels around positions in an image."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def noise_around(image, row, col, size, radius, least, out):
    """Standard deviation of the finite pixels in a square of `size` around (row, col) outside a circle; NaN below `least` pixels."""
    half = size // 2
    for k in range(out.size):
        n, total, square, shift, started = 0, 0.0, 0.0, 0.0, False
        for i in range(max(-half, -row[k]), min(size - half, image.shape[0] - row[k])):
            inner = radius * radius - i * i
            for j in range(max(-half, -col[k]), min(size - half, image.shape[1] - col[k])):
                if j * j <= inner:
                    continue
                value = image[row[k] + i, col[k] + j]
                if np.isfinite(value):
                    if not started:
                        shift, started = value, True
                    n += 1
                    total += value - shift
                    square += (value - shift) ** 2
        out[k] = np.sqrt(max(square / n - (total / n) ** 2,
                             0.0)) if n >= least and n > 0 else np.nan
