"""Sums over the pixels of islands, with errors from the noise's correlation.

The error of Σ I over N pixels is σ √(Σ_i Σ_j ρ_ij): for an island larger than the lags of the
correlation that is σ √(N N_dep), N_dep the sum of the correlations.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from uvstack.extraction.islands import Islands


@njit(nogil=True, cache=True, error_model="numpy")
def _sums(image, model, label, start, pixel, correlation, out):
    """Sum of each island, variance of it in units of σ², mean square of image − model: (n, 3)."""
    n_y, n_x = label.shape
    r = correlation.shape[0] // 2
    for k in range(start.size - 1):
        total = variance = squares = 0.0
        for p in range(start[k], start[k + 1]):
            y, x = pixel[p] // n_x, pixel[p] % n_x
            total += image[y, x]
            squares += (image[y, x] - model[y, x]) ** 2
            for j in range(max(y - r, 0), min(y + r + 1, n_y)):
                for i in range(max(x - r, 0), min(x + r + 1, n_x)):
                    if label[j, i] == k + 1:
                        variance += correlation[j - y + r, i - x + r]
        out[k, 0], out[k, 1] = total, variance
        out[k, 2] = squares / max(start[k + 1] - start[k], 1)


def sum_islands(image: NDArray, model: NDArray, islands: Islands, rms: NDArray,
                correlation: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Sums over islands, their errors, and the rms of image − model in them, (n,) each.

    Parameters
    ----------
    image, model : ndarray (m, l)
        Without background; what the sources add up to.
    islands : Islands
    rms : ndarray (n,)
        Noise at the islands.
    correlation : ndarray (2 r + 1, 2 r + 1)
    """
    out = np.zeros((len(islands), 3))
    _sums(image, model, islands.label, islands.start, islands.pixel, correlation, out)
    error = rms * np.sqrt(np.maximum(out[:, 1], 0.0))
    return out[:, 0], error, np.sqrt(out[:, 2])


@njit(nogil=True, cache=True, error_model="numpy")
def add_gaussians(peak, x, y, a, b, c, depth, out):
    """Add Gaussians, peak exp(−(a dx² + 2 b dx dy + c dy²)), to an image, as far as the exponent is below `depth`."""
    for k in range(peak.size):
        if not (a[k] > 0 and a[k] * c[k] > b[k] * b[k]):
            continue
        d = a[k] * c[k] - b[k] * b[k]
        reach_x, reach_y = np.sqrt(depth * c[k] / d), np.sqrt(depth * a[k] / d)
        for j in range(max(int(y[k] - reach_y), 0), min(int(y[k] + reach_y) + 2, out.shape[0])):
            for i in range(max(int(x[k] - reach_x), 0), min(int(x[k] + reach_x) + 2, out.shape[1])):
                dx, dy = i - x[k], j - y[k]
                form = a[k] * dx * dx + 2.0 * b[k] * dx * dy + c[k] * dy * dy
                if form < depth:
                    out[j, i] += peak[k] * np.exp(-form)
