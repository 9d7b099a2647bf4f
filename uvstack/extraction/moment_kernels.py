"""Numba kernels of the moments of islands. Arrays and scalars in, results last; no checks.

With u = ln(C/T), the peak C over the level T at which an island was cut, a Gaussian keeps the part
g(u) = 1 − u/(e^u − 1) of its second moments. g is concave and grows from 0 to 1.
"""

import math

import numpy as np
from numba import njit

#: Bits of the status.
SINGLE_PIXEL = 1
BEAM_SHAPE = 2
NEAR_LEVEL = 4
LEVEL_NOT_POSITIVE = 8
OFF_CENTRE = 16
NOT_POSITIVE = 32
BLANK = 64

FOUR_LN2 = 4.0 * math.log(2.0)
#: Second moment of a pixel seen as a box: what is narrower than that has no shape of its own.
_LEAST_MOMENT = 1.0 / 12.0
#: ln(C/T) below which the correction for the level is larger than a factor of 20.
_NEAR = 0.1


@njit(cache=True)
def _kept_part(u):
    """g(u), to rounding at all u ≥ 0."""
    if u < 1e-2:
        return u * (0.5 - u / 12.0 + u**3 / 720.0)
    return 1.0 - u / math.expm1(u) if u < 700.0 else 1.0


@njit(cache=True)
def _slope_of_kept_part(u):
    """Derivative of g, from 1/2 at 0 to 0."""
    if u < 1e-2:
        return 0.5 - u / 6.0 + u**3 / 180.0
    rest = math.exp(-u)
    return rest * (u / (1.0 - rest) - 1.0) / (1.0 - rest)


@njit(cache=True)
def solve_peak(p, epsilon):
    """The u > p with u − p = ε g(u), for p = ln(P_max/T) > 0 and ε ≥ 0 (equation 2.67).

    h(u) = u − p − ε g(u) is convex, h(p) ≤ 0 and h(p + ε) ≥ 0: there is one root between, and
    Newton's steps from p + ε go down to it and never past it, whatever p and ε are.
    """
    u = p + epsilon
    for _ in range(200):
        step = (u - p - epsilon * _kept_part(u)) / (1.0 - epsilon * _slope_of_kept_part(u))
        if not step > 1e-16 * u:
            break
        u -= step
    return max(u, p)


@njit(cache=True)
def _solve_shape(sums, level, out):
    """Peak and squared FWHM from sums about the brightest pixel into `out`; the status.

    `sums` holds brightest, Σw, Σwx, Σwy, Σwxx, Σwxy, Σwyy; `out` gets peak, cxx, cxy, cyy. With
    BEAM_SHAPE in the status nothing was written.
    """
    top, total = sums[0], sums[1]
    dx, dy = sums[2] / total, sums[3] / total
    xx, xy, yy = sums[4] / total - dx * dx, sums[5] / total - dx * dy, sums[6] / total - dy * dy
    status = 0
    if level > 0.0:
        p = math.log(top / level)
        if p < _NEAR:
            status |= NEAR_LEVEL
        if p <= 0.0:
            return status | BEAM_SHAPE
    else:
        p = 1e3
        status |= LEVEL_NOT_POSITIVE
    if 0.5 * (xx + yy) - math.hypot(0.5 * (xx - yy), xy) < _LEAST_MOMENT:
        return status | BEAM_SHAPE
    epsilon = 0.5 * (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / (xx * yy - xy * xy)
    u = solve_peak(p, epsilon)
    if _is_off_centre(dx, dy, u - p):
        status |= OFF_CENTRE
        u = p
    scale = 2.0 * FOUR_LN2 / _kept_part(u)
    out[0] = top * math.exp(u - p)
    out[1], out[2], out[3] = scale * xx, scale * xy, scale * yy
    return status


@njit(cache=True)
def _is_off_centre(dx, dy, growth):
    """Whether the brightest pixel is no sample of the middle of one Gaussian."""
    return (abs(dx) > 1.0 or abs(dy) > 1.0) and growth > math.log(2.0)


@njit(cache=True)
def _add_up(image, background, pixels, sign, sums):
    """Sums of one island about its brightest pixel, as `_solve_shape` wants them.

    Returns where that is, the sum of all values, and whether all are finite.
    """
    n_l = image.shape[1]
    full = background.shape[0] > 1 or background.shape[1] > 1
    top, row, col, total = -np.inf, 0, 0, 0.0
    for i in range(pixels.size):
        m, l = pixels[i] // n_l, pixels[i] % n_l
        value = sign * (float(image[m, l]) - float(background[m if full else 0, l if full else 0]))
        total += value
        if value > top:
            top, row, col = value, m, l
    sums[:] = 0.0
    sums[0] = top
    for i in range(pixels.size):
        m, l = pixels[i] // n_l, pixels[i] % n_l
        value = sign * (float(image[m, l]) - float(background[m if full else 0, l if full else 0]))
        if value > 0.0:
            dx, dy = float(l - col), float(m - row)
            sums[1] += value
            sums[2] += value * dx
            sums[3] += value * dy
            sums[4] += value * dx * dx
            sums[5] += value * dx * dy
            sums[6] += value * dy * dy
    return row, col, total, math.isfinite(total)


@njit(nogil=True, cache=True)
def measure_islands(image, background, start, pixel, level, sign, beam, single, out, status):
    """Moments of all islands; rows of `out`: peak, flux, x, y, cxx, cxy, cyy, brightest, total.

    `background` (m, l) or (1, 1); `beam` (1 or n, 3) squared FWHM; `single` (1 or n,) the mean
    factor of a lone pixel.
    """
    sums = np.empty(7)
    shape = np.empty(4)
    for k in range(start.size - 1):
        row, col, total, finite = 0, 0, 0.0, False
        pixels = pixel[start[k] : start[k + 1]]
        if pixels.size > 0:
            row, col, total, finite = _add_up(image, background, pixels, sign[k], sums)
        b = k if beam.shape[0] > 1 else 0
        area = math.sqrt(beam[b, 0] * beam[b, 2] - beam[b, 1] ** 2)
        if not finite or not math.isfinite(level[k]) or not area > 0.0:
            out[k, :] = np.nan
            status[k] = BLANK
            continue
        shape[0] = sums[0]
        shape[1:] = beam[b]
        dx = dy = 0.0
        if sums[0] <= 0.0:
            bits = NOT_POSITIVE | BEAM_SHAPE
        elif pixels.size == 1:
            bits = SINGLE_PIXEL | BEAM_SHAPE
            shape[0] *= single[k if single.size > 1 else 0]
        else:
            dx, dy = sums[2] / sums[1], sums[3] / sums[1]
            bits = _solve_shape(sums, level[k], shape)
            if bits & BEAM_SHAPE:
                form = beam[b, 2] * dx * dx - 2.0 * beam[b, 1] * dx * dy + beam[b, 0] * dy * dy
                growth = FOUR_LN2 * form / area**2
                if _is_off_centre(dx, dy, growth):
                    bits |= OFF_CENTRE
                else:
                    shape[0] *= math.exp(growth)
        out[k, 0] = sign[k] * shape[0]
        out[k, 1] = sign[k] * shape[0] * math.sqrt(shape[1] * shape[3] - shape[2] ** 2) / area
        out[k, 2], out[k, 3] = col + dx, row + dy
        out[k, 4:7] = shape[1:]
        out[k, 7], out[k, 8] = sign[k] * sums[0], sign[k] * total
        status[k] = bits
