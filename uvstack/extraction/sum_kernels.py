"""Numba kernels of sums over islands, and of the image that Gaussians add up to."""

import math

from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def sums(image, label, start, pixel, correlation, out):
    """Sum of each island and variance of it in units of σ², (n, 2)."""
    n_y, n_x = label.shape
    r = correlation.shape[0] // 2
    for k in range(start.size - 1):
        total = variance = 0.0
        for p in range(start[k], start[k + 1]):
            y, x = pixel[p] // n_x, pixel[p] % n_x
            total += image[y, x]
            for j in range(max(y - r, 0), min(y + r + 1, n_y)):
                for i in range(max(x - r, 0), min(x + r + 1, n_x)):
                    if label[j, i] == k + 1:
                        variance += correlation[j - y + r, i - x + r]
        out[k, 0], out[k, 1] = total, variance


@njit(nogil=True, cache=True, error_model="numpy")
def add_gaussians(numbers, first_row, depth, out):
    """Add Gaussians (n, 6), peak exp(−(a dx² + 2 b dx dy + c dy²)), to rows of an image, as far as the exponent is below `depth`."""
    for k in range(numbers.shape[0]):
        peak, x, y, a, b, c = numbers[k]
        if not (a > 0 and a * c > b * b):
            continue
        d = a * c - b * b
        reach_x, reach_y = math.sqrt(depth * c / d), math.sqrt(depth * a / d)
        y -= first_row
        for j in range(max(int(y - reach_y), 0), min(int(y + reach_y) + 2, out.shape[0])):
            for i in range(max(int(x - reach_x), 0), min(int(x + reach_x) + 2, out.shape[1])):
                dx, dy = i - x, j - y
                form = a * dx * dx + 2.0 * b * dx * dy + c * dy * dy
                if form < depth:
                    out[j, i] += peak * math.exp(-form)
