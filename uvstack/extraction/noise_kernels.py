"""Numba kernels of noise by boxes. Arrays and scalars in, results last; no checks."""

import math

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy"}

#: Clippings of one box; each takes at least one pixel, and a handful is usual.
MOST_CLIPPINGS = 1000
_ROOT_HALF = math.sqrt(0.5)
_ROOT_TWO_OVER_PI = math.sqrt(2.0 / math.pi)


@njit(**_options)
def clipping_limit(n_independent):
    """The n beyond whose n σ lies half a value of so many (Spreeuw 2010, equation 2.22)."""
    wanted = -math.log(2.0 * max(n_independent, 1.0))
    n = math.sqrt(max(-2.0 * wanted - math.log(max(-2.0 * wanted, 1.0)), 0.25))
    for _ in range(50):
        tail = math.erfc(n * _ROOT_HALF)
        slope = -_ROOT_TWO_OVER_PI * math.exp(-0.5 * n * n) / tail
        step = (math.log(tail) - wanted) / slope
        n = max(n - step, 0.1)
        if abs(step) < 1e-12 * n:
            break
    return n


@njit(**_options)
def clipping_gain(n):
    """σ over the standard deviation of what lies within n σ (equation 2.25)."""
    inside = math.erf(n * _ROOT_HALF)
    return math.sqrt(inside / (inside - _ROOT_TWO_OVER_PI * n * math.exp(-0.5 * n * n)))


@njit(**_options)
def gather_boxes(image, top, bottom, x_edge, out):
    """Finite pixels of boxes beside each other, (box, pixel); the rest of each row is NaN."""
    for k in range(x_edge.size - 1):
        row = out[k]
        n = 0
        for y in range(top, bottom):
            for x in range(x_edge[k], x_edge[k + 1]):
                value = image[y, x]
                row[n] = value if abs(value) < np.inf else np.nan
                n += 1
        row[n:] = np.nan


@njit(**_options)
def _first_from(values, low, high, limit):
    """The first index in [low, high) whose value is at least the limit, else high."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < limit:
            low = middle + 1
        else:
            high = middle
    return low


@njit(**_options)
def _median(values, low, high):
    """Median of a slice of sorted values."""
    middle = (low + high) // 2
    upper = np.float64(values[middle])
    return upper if (high - low) % 2 else 0.5 * (upper + np.float64(values[middle - 1]))


@njit(**_options)
def clip_boxes(values, beam_area, total, square, background, rms, n_good):
    """κσ clipping around the median of each row of sorted values, NaN last.

    `total` and `square` (pixel + 1) are places for the sums of a row. Where no pixel is good, or
    all that remain are equal, background and rms are NaN and 0.
    """
    for k in range(values.shape[0]):
        row = values[k]
        # NaN compares as not less: a search for the first NaN.
        low, high = 0, row.size
        while low < high:
            middle = (low + high) // 2
            if row[middle] == row[middle]:
                low = middle + 1
            else:
                high = middle
        n_good[k] = low
        background[k] = np.nan
        rms[k] = 0.0
        if low == 0:
            continue
        first, last = 0, low
        # Sums about the median of all: no digits are lost where the background is high.
        centre = _median(row, first, last)
        total[0] = 0.0
        square[0] = 0.0
        for i in range(low):
            d = np.float64(row[i]) - centre
            total[i + 1] = total[i] + d
            square[i + 1] = square[i] + d * d
        gain = 1.0
        for _ in range(MOST_CLIPPINGS):
            n = last - first
            mean = (total[last] - total[first]) / n
            variance = (square[last] - square[first]) / n - mean * mean
            # The mean is of the pixels too: noise of a Gaussian beam has ∑ρ of two beam areas.
            variance *= n / max(n - 2.0 * beam_area, 0.5 * n)
            median = _median(row, first, last)
            sigma = gain * math.sqrt(max(variance, 0.0))
            if row[first] == row[last - 1]:
                sigma = 0.0
                break
            limit = clipping_limit(n / beam_area)
            reach = limit * sigma
            lower = _first_from(row, first, last, median - reach)
            upper = _first_from(row, lower, last, median + reach)
            if gain > 1.0 and lower == first and upper == last:
                break
            # A limit that leaves nothing: two far peaks about an empty median.
            if upper <= lower:
                break
            first, last = lower, upper
            gain = clipping_gain(limit)
        mean = mean + centre
        skewed = abs(mean - median) > 0.3 * sigma
        background[k] = median if skewed else 2.5 * median - 1.5 * mean
        rms[k] = sigma


@njit(**_options)
def interpolate_rows(nodes, y_node, x_node, first_row, image, masked, out):
    """Bilinear values of nodes at rows from `first_row` on, constant beyond the outermost nodes.

    `image` has the rows of `out` where `masked`; where it is not finite, so is `out`.
    """
    n_y, n_x = nodes.shape
    across = np.empty(n_x)
    j = 0
    for r in range(out.shape[0]):
        y = np.float64(first_row + r)
        while j < n_y - 2 and y >= y_node[j + 1]:
            j += 1
        below = min(j + 1, n_y - 1)
        part = 0.0
        if below > j:
            part = min(max((y - y_node[j]) / (y_node[below] - y_node[j]), 0.0), 1.0)
        for i in range(n_x):
            across[i] = (1.0 - part) * nodes[j, i] + part * nodes[below, i]
        row = out[r]
        x = 0
        for i in range(n_x + 1):
            # Left of the first node, between two, right of the last.
            stop = row.size if i == n_x else min(row.size, int(math.ceil(x_node[i])))
            start = across[max(i - 1, 0)]
            end = across[min(i, n_x - 1)]
            # Weights of 1 − t and t: between numbers that are not negative, no rounding is.
            width = x_node[i] - x_node[i - 1] if 0 < i < n_x else 1.0
            origin = x_node[max(i - 1, 0)]
            first, last = np.float32(start), np.float32(end)
            t0, step = np.float32((x - origin) / width), np.float32(1.0 / width)
            for c in range(x, stop):
                t = min(max(t0 + step * np.float32(c - x), np.float32(0.0)), np.float32(1.0))
                row[c] = (np.float32(1.0) - t) * first + t * last
            x = max(x, stop)
        if masked:
            for c in range(row.size):
                if not abs(image[r, c]) < np.inf:
                    row[c] = np.nan
