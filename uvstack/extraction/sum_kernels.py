"""Numba kernels of sums over islands, and of the image that Gaussians add up to."""

import math

from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def sums(image, model, label, start, pixel, correlation, out):
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


@njit(nogil=True, cache=True, error_model="numpy")
def add_gaussians(peak, x, y, a, b, c, depth, out):
    """Add Gaussians, peak exp(−(a dx² + 2 b dx dy + c dy²)), to an image, as far as the exponent is below `depth`."""
    for k in range(peak.size):
        if not (a[k] > 0 and a[k] * c[k] > b[k] * b[k]):
            continue
        d = a[k] * c[k] - b[k] * b[k]
        reach_x, reach_y = math.sqrt(depth * c[k] / d), math.sqrt(depth * a[k] / d)
        for j in range(max(int(y[k] - reach_y), 0), min(int(y[k] + reach_y) + 2, out.shape[0])):
            for i in range(max(int(x[k] - reach_x), 0), min(int(x[k] + reach_x) + 2, out.shape[1])):
                dx, dy = i - x[k], j - y[k]
                form = a[k] * dx * dx + 2.0 * b[k] * dx * dy + c[k] * dy * dy
                if form < depth:
                    out[j, i] += peak[k] * math.exp(-form)
