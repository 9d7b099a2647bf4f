"""Numba kernels of the combination of epochs. Arrays and scalars in, results last; no checks."""

import math

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_options)
def sample_boxes(image, y_edge, x_edge, j, step, out):
    """Every `step`th pixel of the boxes of row j, (box, sample); NaN where blank and at the end."""
    for k in range(x_edge.size - 1):
        n = 0
        for y in range(y_edge[j], y_edge[j + 1], step):
            for x in range(x_edge[k], x_edge[k + 1], step):
                out[k, n] = image[y, x]
                n += 1
        out[k, n:] = np.nan


@njit(**_options)
def mark_sources(image, y_edge, x_edge, centre, limit, radius, masked):
    """Set `masked` within `radius` pixels of where |image − centre| is above the limit of its box."""
    squared = radius * radius
    for j in range(y_edge.size - 1):
        for y in range(y_edge[j], y_edge[j + 1]):
            for i in range(x_edge.size - 1):
                low = np.float32(centre[j, i] - limit[j, i])
                high = np.float32(centre[j, i] + limit[j, i])
                first = x_edge[i]
                line = image[y, first : x_edge[i + 1]]
                if not _any_beyond(line, low, high):
                    continue
                for x in range(line.size):
                    if line[x] > high or line[x] < low:
                        _mark_disc(masked, y, first + x, radius, squared)


@njit(**_options)
def _any_beyond(line, low, high):
    """Whether any value is below or above; looked at several at once."""
    found = 0
    for x in range(line.size):
        found += (line[x] > high) | (line[x] < low)
    return found > 0


@njit(**_options)
def _mark_disc(masked, y, x, radius, squared):
    n_rows, n_columns = masked.shape
    for dy in range(max(-radius, -y), min(radius, n_rows - 1 - y) + 1):
        for dx in range(max(-radius, -x), min(radius, n_columns - 1 - x) + 1):
            if dy * dy + dx * dx <= squared:
                masked[y + dy, x + dx] = True


@njit(**_options)
def tile_moments(image, masked, y_edge, x_edge, middle, out):
    """Number, sum and sum of squares about `middle` of the good pixels of each tile, (3, j, i)."""
    for j in range(y_edge.size - 1):
        for i in range(x_edge.size - 1):
            n, total, square = 0, 0.0, 0.0
            for y in range(y_edge[j], y_edge[j + 1]):
                for x in range(x_edge[i], x_edge[i + 1]):
                    value = np.float64(image[y, x])
                    if not masked[y, x] and abs(value) < np.inf:
                        n += 1
                        total += value - middle
                        square += (value - middle) ** 2
            out[0, j, i], out[1, j, i], out[2, j, i] = n, total, square


@njit(**_options)
def running_rms(image, box, out):
    """Standard deviation in a square around each pixel, √(⟨I²⟩ − ⟨I⟩²) of its finite pixels; NaN where blank.

    Sums of columns in double precision are carried along; those of a row start anew.
    """
    n_rows, n_columns = image.shape
    low, high = (box - 1) // 2, box // 2
    number = np.zeros(n_columns)
    total = np.zeros(n_columns)
    square = np.zeros(n_columns)
    for r in range(-high, n_rows):
        enter, leave = r + high, r - low - 1
        for c in range(n_columns):
            if enter < n_rows and abs(image[enter, c]) < np.inf:
                value = np.float64(image[enter, c])
                number[c] += 1.0
                total[c] += value
                square[c] += value * value
            if leave >= 0 and abs(image[leave, c]) < np.inf:
                value = np.float64(image[leave, c])
                number[c] -= 1.0
                total[c] -= value
                square[c] -= value * value
        if r < 0:
            continue
        n, s, q = 0.0, 0.0, 0.0
        for c in range(-high, n_columns):
            if c + high < n_columns:
                n += number[c + high]
                s += total[c + high]
                q += square[c + high]
            if c - low - 1 >= 0:
                n -= number[c - low - 1]
                s -= total[c - low - 1]
                q -= square[c - low - 1]
            if c >= 0:
                if abs(image[r, c]) < np.inf and n > 1.0:
                    out[r, c] = math.sqrt(max(q / n - (s / n) ** 2, 0.0))
                else:
                    out[r, c] = np.nan


@njit(**_options)
def average(planes, rms, minimum, first_half, calibration, mean, median, weight, chi2,
            chi2_calibrated, coverage):
    """Weighted mean and median of epochs, their weight, χ² and number, for each pixel (m, l).

    `planes` and `rms` are (epoch, m, l), the weight of a pixel is rms⁻², 0 where it or its rms is
    not finite or the rms is 0. χ² are about the mean, with (calibration × mean)² added to the
    squares of the rms in the second. `first_half` takes for the median the first sorted value at which
    the cumulative weight reaches a half of the total; else it is interpolated at a half between the
    middles of the weights. χ² are NaN below two epochs, mean and median below `minimum`.
    """
    n_epochs, n_rows, n_columns = planes.shape
    value = np.empty(n_epochs)
    share = np.empty(n_epochs)
    variance = np.empty(n_epochs)
    for r in range(n_rows):
        for c in range(n_columns):
            n = 0
            total = 0.0
            weighted = 0.0
            for k in range(n_epochs):
                one = np.float64(planes[k, r, c])
                sigma = np.float64(rms[k, r, c])
                if not (abs(one) < np.inf and sigma > 0.0 and sigma < np.inf):
                    continue
                square = sigma * sigma
                w = 1.0 / square
                total += w
                weighted += w * one
                # Sorted as they come.
                i = n
                while i > 0 and value[i - 1] > one:
                    value[i] = value[i - 1]
                    share[i] = share[i - 1]
                    variance[i] = variance[i - 1]
                    i -= 1
                value[i] = one
                share[i] = w
                variance[i] = square
                n += 1
            coverage[r, c] = n
            weight[r, c] = total
            mean[r, c] = np.nan
            median[r, c] = np.nan
            chi2[r, c] = np.nan
            chi2_calibrated[r, c] = np.nan
            if n == 0 or n < minimum:
                continue
            middle = weighted / total
            mean[r, c] = middle
            median[r, c] = _median(value, share, n, total, first_half)
            if n < 2:
                continue
            plain, calibrated = 0.0, 0.0
            systematic = (calibration * middle) ** 2
            for k in range(n):
                square = (value[k] - middle) ** 2
                plain += share[k] * square
                calibrated += square / (variance[k] + systematic)
            chi2[r, c] = plain
            chi2_calibrated[r, c] = calibrated


@njit(**_options)
def _median(value, share, n, total, first_half):
    """Weighted median of n sorted values."""
    half = 0.5 * total
    if first_half:
        reached = 0.0
        for k in range(n):
            reached += share[k]
            # Sums of equal weights miss their half by rounding.
            if reached >= half - 1e-6 * total:
                return value[k]
        return value[n - 1]
    before = 0.5 * share[0]
    if half <= before:
        return value[0]
    for k in range(1, n):
        now = before + 0.5 * (share[k - 1] + share[k])
        if now >= half:
            return value[k - 1] + (value[k] - value[k - 1]) * (half - before) / (now - before)
        before = now
    return value[n - 1]
