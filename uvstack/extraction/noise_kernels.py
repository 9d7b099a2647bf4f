"""Numba kernels of background and noise: κσ clipping in boxes, and maps between their nodes."""

import math

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_options)
def _select(values, n, k):
    """The k-th smallest of the first n values, which are put in another order (Hoare 1961)."""
    low, high = 0, n - 1
    while low < high:
        middle = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < middle:
                i += 1
            while middle < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@njit(**_options)
def _median(values, n):
    upper = np.float64(_select(values, n, n // 2))
    if n % 2:
        return upper
    # What is left of the place is not larger.
    lower = values[0]
    for i in range(1, n // 2):
        lower = max(lower, values[i])
    return 0.5 * (upper + lower)


@njit(**_options)
def clip(values, n, limits, corrections):
    """Median, mean, σ and number of values within the limit, of n values that are put in another order.

    limits and corrections by the number of values left: that of equation 2.22, and the factor of equation 2.25 for σ. Ends when
    all values are within the limit of the median.
    """
    median = mean = sigma = 0.0
    while n > 1:
        median = _median(values, n)
        total = squares = 0.0
        for i in range(n):
            d = values[i] - median
            total += d
            squares += d * d
        mean = median + total / n
        sigma = corrections[n] * math.sqrt(max(squares / n - (total / n) ** 2, 0.0))
        reach, left = limits[n] * sigma, 0
        for i in range(n):
            if abs(values[i] - median) <= reach:
                values[left] = values[i]
                left += 1
        if left == n or left == 0:
            break
        n = left
    return median, mean, sigma, n


@njit(**_options)
def measure_boxes(image, edges_y, edges_x, limits, corrections, background, rms, good):
    """Mode (equations 2.18 and 2.19) and σ of the finite pixels of each box, and their number before and after clipping (…, 2)."""
    most = 0
    for j in range(edges_y.size - 1):
        for i in range(edges_x.size - 1):
            most = max(most, (edges_y[j + 1] - edges_y[j]) * (edges_x[i + 1] - edges_x[i]))
    values = np.empty(most, image.dtype)
    for j in range(edges_y.size - 1):
        for i in range(edges_x.size - 1):
            n = 0
            for y in range(edges_y[j], edges_y[j + 1]):
                for x in range(edges_x[i], edges_x[i + 1]):
                    if math.isfinite(image[y, x]):
                        values[n] = image[y, x]
                        n += 1
            good[j, i, 0] = n
            median, mean, sigma, n = clip(values, n, limits, corrections)
            good[j, i, 1] = n
            skewed = abs(mean - median) > 0.3 * sigma
            background[j, i] = median if skewed else 2.5 * median - 1.5 * mean
            rms[j, i] = sigma


@njit(**_options)
def interpolate(nodes, y, x, out):
    """Bilinear map (m, l) between nodes at y and x, constant beyond the outermost."""
    j = 0
    for row in range(out.shape[0]):
        while j < y.size - 2 and row > y[j + 1]:
            j += 1
        above = min(j + 1, y.size - 1)
        part = 0.0 if above == j else min(max((row - y[j]) / (y[above] - y[j]), 0.0), 1.0)
        i = 0
        for column in range(out.shape[1]):
            while i < x.size - 2 and column > x[i + 1]:
                i += 1
            right = min(i + 1, x.size - 1)
            along = 0.0 if right == i else min(max((column - x[i]) / (x[right] - x[i]), 0.0), 1.0)
            lower = nodes[j, i] * (1.0 - along) + nodes[j, right] * along
            upper = nodes[above, i] * (1.0 - along) + nodes[above, right] * along
            out[row, column] = lower * (1.0 - part) + upper * part


@njit(**_options)
def blank_zeros(image):
    """Put NaN where infinity is, and where zeros fill a square of 3 × 3 pixels or more; their number."""
    n_y, n_x = image.shape
    zeros = 0
    for y in range(n_y):
        for x in range(n_x):
            if math.isinf(image[y, x]):
                image[y, x] = math.nan
            zeros += image[y, x] == 0
    if zeros < 9:
        return 0
    blank = np.zeros(image.shape, np.bool_)
    for y in range(1, n_y - 1):
        for x in range(1, n_x - 1):
            if image[y, x] != 0:
                continue
            full = True
            for j in range(y - 1, y + 2):
                for i in range(x - 1, x + 2):
                    full &= image[j, i] == 0
            if full:
                blank[y - 1:y + 2, x - 1:x + 2] = True
    count = 0
    for y in range(n_y):
        for x in range(n_x):
            if blank[y, x]:
                image[y, x] = math.nan
                count += 1
    return count
