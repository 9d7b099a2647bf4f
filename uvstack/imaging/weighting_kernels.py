"""Compiled loops of imaging weights.

Sums of weights on cells of the (u, v) plane, and what they make of each weight.
"""

import numpy as np
from numba import njit


@njit(inline="always")
def _cell(u, v, n_u):
    """Row and column of a point in cells.

    Of the half plane v ≥ 0, and u counts from the middle of n_u columns.
    """
    if v < 0.0 or (v == 0.0 and u < 0.0):
        u, v = -u, -v
    return int(np.floor(v)), int(np.floor(u)) + n_u // 2


@njit(nogil=True, cache=True)
def add_density(uvw, wavenumber, scale_u, scale_v, weight, out):
    """Add weight (row, chan) to the cells out (v, u) of the half plane.

    Points outside and weights ≤ 0 or NaN are left out.

    uvw (row, 3) m, wavenumber (chan,) = ν/c, scale = cells a wavelength.
    """
    n_v, n_u = out.shape
    for row in range(uvw.shape[0]):
        u, v = uvw[row, 0] * scale_u, uvw[row, 1] * scale_v
        if not (np.isfinite(u) and np.isfinite(v)):
            continue
        for chan in range(wavenumber.size):
            w = weight[row, chan]
            if not (w > 0.0 and np.isfinite(w)):
                continue
            i, j = _cell(u * wavenumber[chan], v * wavenumber[chan], n_u)
            if i < n_v and 0 <= j < n_u:
                out[i, j] += w


@njit(nogil=True, cache=True)
def imaging_weights(uvw, wavenumber, scale_u, scale_v, weight, density, constant, slope, taper,
                    out):
    """out (row, chan) = weight exp(−taper(u, v)) / (constant + slope × density of its cell), 0 where weight ≤ 0 or NaN.

    taper (3,): the exponent is taper[0] u² + taper[1] u v + taper[2] v² with u and v in
    wavelengths. With slope 0 the density is not looked at; otherwise points outside its cells get
    0. Other arguments as in `add_density`.
    """
    n_v, n_u = density.shape
    tapered = taper[0] != 0.0 or taper[2] != 0.0
    for row in range(uvw.shape[0]):
        u, v = uvw[row, 0], uvw[row, 1]
        known = np.isfinite(u) and np.isfinite(v)
        exponent = taper[0] * u * u + taper[1] * u * v + taper[2] * v * v
        for chan in range(wavenumber.size):
            w = float(weight[row, chan])
            if not (known and w > 0.0 and np.isfinite(w)):
                out[row, chan] = 0.0
                continue
            k = wavenumber[chan]
            if slope > 0.0:
                i, j = _cell(u * scale_u * k, v * scale_v * k, n_u)
                inside = i < n_v and 0 <= j < n_u
                factor = 1.0 / (constant + slope * density[i, j]) if inside else 0.0
            else:
                factor = 1.0 / constant
            if tapered:
                factor *= np.exp(-exponent * k * k)
            out[row, chan] = w * factor
