"""Numba kernels of images brought to other pixels. Arrays and scalars in, results last; no checks."""

import math

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy"}
#: Entries of a row of a spectrum between two exponentials that are taken anew.
_RESTART = 32
#: Pixels in a row from which they are taken at once.
_LEAST_RUN = 16
#: Sides of a square of equal pixels that counts as dead.
DEAD = 4


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
def _outer_weights(t, sign, base, w0, w1, w2):
    """B(3 + t), B(2 + t) and B(1 + t) of the septic B-spline, with s = base + sign t for 1 − t."""
    a, b, d, one, two = (np.float32(1.0 / 5040.0), np.float32(8.0), np.float32(28.0),
                         np.float32(1.0), np.float32(2.0))
    for c in range(t.size):
        s = base + sign * t[c]
        p, q = one + s, two + s
        s2, p2, q2 = s * s, p * p, q * q
        s7, p7, q7 = s2 * s2 * s2 * s, p2 * p2 * p2 * p, q2 * q2 * q2 * q
        w0[c] = a * s7
        w1[c] = a * (p7 - b * s7)
        w2[c] = a * (q7 - b * p7 + d * s7)


@njit(fastmath=True, **_options)
def _inner_weights(t, w3, w4):
    """B(t) and B(1 − t): 2416 − 1680 t² + 560 t⁴ − 140 t⁶ + 35 t⁷, over 5040."""
    a, e, f = np.float32(1.0 / 5040.0), np.float32(2416.0), np.float32(1680.0)
    g, h, i = np.float32(560.0), np.float32(140.0), np.float32(35.0)
    for c in range(t.size):
        u = t[c]
        s = np.float32(1.0) - u
        u2, s2 = u * u, s * s
        w3[c] = a * (e - u2 * (f - u2 * (g - u2 * (h - i * u))))
        w4[c] = a * (e - s2 * (f - s2 * (g - s2 * (h - i * s))))


@njit(fastmath=True, **_options)
def _spline_weights(t, w):
    """Values of the septic B-spline at t + 3, t + 2 … t − 4 from its middle, 0 ≤ t < 1, (8, pixel)."""
    one, zero = np.float32(1.0), np.float32(0.0)
    _outer_weights(t, -one, one, w[0], w[1], w[2])
    _outer_weights(t, one, zero, w[7], w[6], w[5])
    _inner_weights(t, w[3], w[4])


@njit(fastmath=True, **_options)
def _add_product(a, b, out):
    for c in range(out.size):
        out[c] += a[c] * b[c]


@njit(fastmath=True, **_options)
def _spline_run(coefficients, x, y, across, down, start, total, out):
    """Values at pixels that lie one after the other in one row of the coefficients, several at once.

    Slices of rows are without gaps, which a compiler wants to know.
    """
    n = out.size
    out[:] = np.float32(0.0)
    total = total[:n]
    for k in range(8):
        line = coefficients[y - 3 + k]
        total[:] = np.float32(0.0)
        for m in range(8):
            _add_product(across[m, start : start + n], line[x - 3 + m : x - 3 + m + n], total)
        _add_product(down[k, start : start + n], total, out)


@njit(fastmath=True, **_options)
def _spline_pixel(coefficients, x, y, across, down, c):
    """Value at one pixel, with weights in column c."""
    total = np.float32(0.0)
    for k in range(8):
        line = coefficients[y - 3 + k]
        part_sum = np.float32(0.0)
        for m in range(8):
            part_sum += across[m, c] * line[x - 3 + m]
        total += down[k, c] * part_sum
    return total


@njit(**_options)
def spline_at(coefficients, x_node, y_node, step, out):
    """Values of a septic spline at the pixels of a block, 0 where it reaches beyond its coefficients.

    `x_node` and `y_node` (n_y, n_x) are places, in pixels of `coefficients`, of every `step`th pixel
    of the block; between them they are bilinear.
    """
    n_rows, n_columns = coefficients.shape
    width = out.shape[1]
    ix, iy = np.empty(width, np.int64), np.empty(width, np.int64)
    fx, fy, total = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    across, down = np.empty((8, width), np.float32), np.empty((8, width), np.float32)
    for r in range(out.shape[0]):
        j = r // step
        part = (r - j * step) / step
        for i in range(x_node.shape[1] - 1):
            x0 = (1.0 - part) * x_node[j, i] + part * x_node[j + 1, i]
            y0 = (1.0 - part) * y_node[j, i] + part * y_node[j + 1, i]
            dx = ((1.0 - part) * x_node[j, i + 1] + part * x_node[j + 1, i + 1] - x0) / step
            dy = ((1.0 - part) * y_node[j, i + 1] + part * y_node[j + 1, i + 1] - y0) / step
            for c in range(i * step, min(i * step + step, width)):
                x, y = x0 + (c - i * step) * dx, y0 + (c - i * step) * dy
                # NaN fails these, too.
                if not (x >= 3.0 and x < n_columns - 4.0 and y >= 3.0 and y < n_rows - 4.0):
                    x, y = 0.0, 0.0
                ix[c], iy[c] = int(x), int(y)
                fx[c], fy[c] = np.float32(x - ix[c]), np.float32(y - iy[c])
        _spline_weights(fx, across)
        _spline_weights(fy, down)
        start = 0
        while start < width:
            if iy[start] == 0:
                out[r, start] = 0.0
                start += 1
                continue
            stop = start + 1
            while stop < width and iy[stop] == iy[start] and ix[stop] == ix[start] + stop - start:
                stop += 1
            if stop - start >= _LEAST_RUN:
                _spline_run(coefficients, ix[start], iy[start], across, down, start, total,
                            out[r, start:stop])
            else:
                for c in range(start, stop):
                    out[r, c] = _spline_pixel(coefficients, ix[c], iy[c], across, down, c)
            start = stop


@njit(**_options)
def fill_outward(image, known, reach, places):
    """Give pixels that are not known the mean of their neighbours, layer after layer, `reach` deep.

    What lies further becomes 0. `known` is 1 or 0, and is changed; `places` (2, pixels of the image)
    has room for the pixels of two layers.
    """
    n_rows, n_columns = image.shape
    n_now = 0
    for y in range(n_rows):
        for x in range(n_columns):
            if known[y, x] == 0:
                image[y, x] = 0.0
                if _knowns(image, known, y, x)[1] > 0:
                    places[0, n_now] = y * n_columns + x
                    n_now += 1
    for layer in range(reach):
        now, later = places[layer % 2], places[(layer + 1) % 2]
        for i in range(n_now):
            y, x = now[i] // n_columns, now[i] % n_columns
            total, n = _knowns(image, known, y, x)
            image[y, x] = total / n
        for i in range(n_now):
            known[now[i] // n_columns, now[i] % n_columns] = 1
        n_later = 0
        for i in range(n_now):
            y, x = now[i] // n_columns, now[i] % n_columns
            for v in range(max(y - 1, 0), min(y + 2, n_rows)):
                for u in range(max(x - 1, 0), min(x + 2, n_columns)):
                    if known[v, u] == 0:
                        known[v, u] = 2  # waits
                        later[n_later] = v * n_columns + u
                        n_later += 1
        n_now = n_later


@njit(**_options)
def _knowns(image, known, y, x):
    """Sum and number of the known pixels around one."""
    n_rows, n_columns = image.shape
    total, n = 0.0, 0
    for v in range(max(y - 1, 0), min(y + 2, n_rows)):
        for u in range(max(x - 1, 0), min(x + 2, n_columns)):
            if known[v, u] == 1:
                total += image[v, u]
                n += 1
    return total, n


@njit(**_options)
def _place(x_node, y_node, step, j, part, c):
    """Where column c lies, `part` of the way from the nodes of row j to the next, in a block of which every `step`th pixel is one."""
    i = c // step
    t = (c - i * step) / step
    return ((1.0 - part) * ((1.0 - t) * x_node[j, i] + t * x_node[j, i + 1])
            + part * ((1.0 - t) * x_node[j + 1, i] + t * x_node[j + 1, i + 1]),
            (1.0 - part) * ((1.0 - t) * y_node[j, i] + t * y_node[j, i + 1])
            + part * ((1.0 - t) * y_node[j + 1, i] + t * y_node[j + 1, i + 1]))


@njit(**_options)
def keep_good(good, x_node, y_node, step, out):
    """Set the pixels of a block NaN whose nearest pixel of `good` is not."""
    n_rows, n_columns = good.shape
    for r in range(out.shape[0]):
        j = r // step
        part = (r - j * step) / step
        for c in range(out.shape[1]):
            x, y = _place(x_node, y_node, step, j, part, c)
            # NaN fails these, too.
            if not (x >= -0.5 and x < n_columns - 0.5 and y >= -0.5 and y < n_rows - 0.5
                    and good[int(math.floor(y + 0.5)), int(math.floor(x + 0.5))]):
                out[r, c] = np.nan


@njit(**_options)
def linear_at(image, x_node, y_node, step, out):
    """Bilinear values of an image at the pixels of a block; NaN where a neighbour is, or off it."""
    n_rows, n_columns = image.shape
    for r in range(out.shape[0]):
        j = r // step
        part = (r - j * step) / step
        for c in range(out.shape[1]):
            x, y = _place(x_node, y_node, step, j, part, c)
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
            if across >= DEAD - 1 and run[c] >= DEAD - 1:
                full = True
                for k in range(1, DEAD):
                    if run[c - k] < DEAD - 1:
                        full = False
                        break
                if full:
                    for dr in range(DEAD):
                        for dc in range(DEAD):
                            good[r - dr, c - dc] = False
