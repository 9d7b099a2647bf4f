"""Numba kernels of the combination of epochs. Arrays and scalars in, results last; no checks."""

import math

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy"}
#: Entries of a row of a spectrum between two exponentials that are taken anew.
_RESTART = 32
#: Sides of a square of equal pixels that counts as dead.
_DEAD = 4


@njit(**_options)
def shape_spectrum(spectrum, uu, uv, vv, v, row_gain, column_gain):
    """Multiply a real transform (v, j) with exp(−(uu j² + 2 uv j v + vv v²)) and gains (v,), (j,).

    The exponential of a quadratic is carried along a row by two products, and taken anew now and
    then, so that no number underflows on the way to one that does not.
    """
    n_v, n_u = spectrum.shape
    for i in range(n_v):
        y = v[i]
        step = math.exp(-2.0 * uu)
        value = 0.0
        ratio = 0.0
        for j in range(n_u):
            if j % _RESTART == 0:
                value = math.exp(-(uu * j * j + 2.0 * uv * j * y + vv * y * y))
                ratio = math.exp(-(uu * (2.0 * j + 1.0) + 2.0 * uv * y))
            gain = np.float32(value * row_gain[i] * column_gain[j])
            spectrum[i, j] = spectrum[i, j] * gain
            value *= ratio
            ratio *= step


@njit(fastmath=True, **_options)
def _weights(t, w):
    """The six values of the quintic B-spline at t − 2 … t + 3 from its middle, 0 ≤ t < 1."""
    s = np.float32(1.0) - t
    t2, s2 = t * t, s * s
    t3, s3 = t2 * t, s2 * s
    t5, s5 = t3 * t2, s3 * s2
    a, b = np.float32(1.0 / 120.0), np.float32(1.0 / 60.0)
    w[0] = a * s5
    w[5] = a * t5
    # Of 1 + s and 1 + t from the outermost knot: ((1 + s)^5 − 6 s^5) / 120.
    p, q = np.float32(1.0) + s, np.float32(1.0) + t
    p2, q2 = p * p, q * q
    w[1] = a * (p2 * p2 * p - np.float32(6.0) * s5)
    w[4] = a * (q2 * q2 * q - np.float32(6.0) * t5)
    # 66 − 60 t² + 30 t⁴ − 10 t⁵, over 120.
    w[2] = b * (np.float32(33.0) - np.float32(30.0) * t2 + np.float32(15.0) * t2 * t2
                - np.float32(5.0) * t5)
    w[3] = b * (np.float32(33.0) - np.float32(30.0) * s2 + np.float32(15.0) * s2 * s2
                - np.float32(5.0) * s5)


@njit(fastmath=True, **_options)
def spline_at(coefficients, x_node, y_node, step, first, last, out):
    """Values of a quintic spline at the pixels of a block, 0 where it reaches beyond its coefficients.

    `x_node` and `y_node` (n_y, n_x) are places, in pixels of `coefficients`, of every `step`th pixel
    of the block; between them they are bilinear. Rows from `first` to before `last` are made.
    """
    n_rows, n_columns = coefficients.shape
    across = np.empty(6, np.float32)
    down = np.empty(6, np.float32)
    for r in range(first, last):
        j = r // step
        part = (r - j * step) / step
        row = out[r]
        for i in range(x_node.shape[1] - 1):
            start = i * step
            stop = min(start + step, row.size)
            x0 = (1.0 - part) * x_node[j, i] + part * x_node[j + 1, i]
            x1 = (1.0 - part) * x_node[j, i + 1] + part * x_node[j + 1, i + 1]
            y0 = (1.0 - part) * y_node[j, i] + part * y_node[j + 1, i]
            y1 = (1.0 - part) * y_node[j, i + 1] + part * y_node[j + 1, i + 1]
            for c in range(start, stop):
                t = (c - start) / step
                x = x0 + t * (x1 - x0)
                y = y0 + t * (y1 - y0)
                # NaN fails these, too.
                if not (x >= 2.0 and x < n_columns - 3.0 and y >= 2.0 and y < n_rows - 3.0):
                    row[c] = 0.0
                    continue
                ix, iy = int(x), int(y)
                _weights(np.float32(x - ix), across)
                _weights(np.float32(y - iy), down)
                total = np.float32(0.0)
                for k in range(6):
                    line = coefficients[iy - 2 + k]
                    part_sum = np.float32(0.0)
                    for m in range(6):
                        part_sum += across[m] * line[ix - 2 + m]
                    total += down[k] * part_sum
                row[c] = total


@njit(**_options)
def good_at(good, x_node, y_node, step, out):
    """Whether the pixel of `good` (m, l) nearest to each pixel of a block is good."""
    n_rows, n_columns = good.shape
    for r in range(out.shape[0]):
        j = r // step
        part = (r - j * step) / step
        for c in range(out.shape[1]):
            i = c // step
            t = (c - i * step) / step
            x = ((1.0 - part) * ((1.0 - t) * x_node[j, i] + t * x_node[j, i + 1])
                 + part * ((1.0 - t) * x_node[j + 1, i] + t * x_node[j + 1, i + 1]))
            y = ((1.0 - part) * ((1.0 - t) * y_node[j, i] + t * y_node[j, i + 1])
                 + part * ((1.0 - t) * y_node[j + 1, i] + t * y_node[j + 1, i + 1]))
            if x >= -0.5 and x < n_columns - 0.5 and y >= -0.5 and y < n_rows - 0.5:
                out[r, c] = good[int(math.floor(y + 0.5)), int(math.floor(x + 0.5))]
            else:
                out[r, c] = False


@njit(**_options)
def linear_at(image, x_node, y_node, step, out):
    """Bilinear values of an image at the pixels of a block; NaN where a neighbour is, or off it."""
    n_rows, n_columns = image.shape
    for r in range(out.shape[0]):
        j = r // step
        part = (r - j * step) / step
        for c in range(out.shape[1]):
            i = c // step
            t = (c - i * step) / step
            x = ((1.0 - part) * ((1.0 - t) * x_node[j, i] + t * x_node[j, i + 1])
                 + part * ((1.0 - t) * x_node[j + 1, i] + t * x_node[j + 1, i + 1]))
            y = ((1.0 - part) * ((1.0 - t) * y_node[j, i] + t * y_node[j, i + 1])
                 + part * ((1.0 - t) * y_node[j + 1, i] + t * y_node[j + 1, i + 1]))
            x, y = _whole_if_near(x), _whole_if_near(y)
            if not (x >= 0.0 and x <= n_columns - 1.0 and y >= 0.0 and y <= n_rows - 1.0):
                out[r, c] = np.nan
                continue
            ix, iy = min(int(x), max(n_columns - 2, 0)), min(int(y), max(n_rows - 2, 0))
            fx, fy = x - ix, y - iy
            total = 0.0
            for dy in range(2):
                for dx in range(2):
                    weight = (fx if dx else 1.0 - fx) * (fy if dy else 1.0 - fy)
                    if weight > 0.0:
                        total += weight * image[iy + dy, ix + dx]
            out[r, c] = total


@njit(**_options)
def _whole_if_near(x):
    """A place, or the whole number that rounding has moved it from."""
    whole = math.floor(x + 0.5)
    return whole if abs(x - whole) < 1e-6 else x


@njit(**_options)
def mark_dead(image, good):
    """Set `good` False where a pixel is not finite, or in a square of equal pixels."""
    n_rows, n_columns = image.shape
    for r in range(n_rows):
        for c in range(n_columns):
            good[r, c] = abs(image[r, c]) < np.inf
    run = np.zeros(n_columns, np.int64)
    for r in range(1, n_rows):
        # `run[c]`: how many rows up to this one pixel c has been equal to the one above it and to
        # the one on its left.
        across = 0
        for c in range(n_columns):
            value = image[r, c]
            same = value == image[r - 1, c]
            run[c] = run[c] + 1 if same else 0
            across = across + 1 if (c > 0 and same and value == image[r, c - 1]) else 0
            if across >= _DEAD - 1 and run[c] >= _DEAD - 1:
                full = True
                for k in range(1, _DEAD):
                    if run[c - k] < _DEAD - 1:
                        full = False
                        break
                if full:
                    for dr in range(_DEAD):
                        for dc in range(_DEAD):
                            good[r - dr, c - dc] = False


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
    n_rows, n_columns = image.shape
    squared = radius * radius
    for j in range(y_edge.size - 1):
        for i in range(x_edge.size - 1):
            for y in range(y_edge[j], y_edge[j + 1]):
                for x in range(x_edge[i], x_edge[i + 1]):
                    if abs(image[y, x] - centre[j, i]) > limit[j, i]:
                        for dy in range(-radius, radius + 1):
                            if y + dy < 0 or y + dy >= n_rows:
                                continue
                            for dx in range(-radius, radius + 1):
                                if (dy * dy + dx * dx <= squared and x + dx >= 0
                                        and x + dx < n_columns):
                                    masked[y + dy, x + dx] = True


@njit(**_options)
def tile_moments(image, masked, y_edge, x_edge, centre, out):
    """Number, sum and sum of squares about `centre` of the good pixels of each tile, (3, j, i)."""
    for j in range(y_edge.size - 1):
        for i in range(x_edge.size - 1):
            n, total, square, middle = 0, 0.0, 0.0, centre[j, i]
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
                w = 1.0 / (sigma * sigma)
                total += w
                weighted += w * one
                # Sorted as they come.
                i = n
                while i > 0 and value[i - 1] > one:
                    value[i] = value[i - 1]
                    share[i] = share[i - 1]
                    i -= 1
                value[i] = one
                share[i] = w
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
                calibrated += square / (1.0 / share[k] + systematic)
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
