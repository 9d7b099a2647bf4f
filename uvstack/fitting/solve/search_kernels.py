"""Numba kernels of the search for starting values.

Visibilities summed in cells of (u, v), and profiles of trial sources there.
"""

import math

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy",
            "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
#: Sums of a cell: w, w u, w v, w w, w Re V, w Im V.
N_SUMS = 6


@njit(**_options)
def add_cells(uvw, wavenumber, vis, weight, cells_per_wavelength, middle, l, m, n_minus_1, sums):
    """Add visibilities (row, chan), turned to the direction (l, m, n − 1), to sums (cell of u ≥ 0, cell of v, 6); (u, v, w) in m.

    Those with u < 0 count as their conjugates at (−u, −v, −w); those beyond the cells are left out.
    Where there is a turn, u and v are those that a phase centre there would have, to first order in
    the offset.
    """
    turned = l != 0.0 or m != 0.0
    l_0, m_0 = l / (1.0 + n_minus_1), m / (1.0 + n_minus_1)
    for row in range(uvw.shape[0]):
        for chan in range(wavenumber.size):
            weighs = np.float64(weight[row, chan])
            if not weighs > 0.0:
                continue
            k = wavenumber[chan]
            u, v, w = k * uvw[row, 0], k * uvw[row, 1], k * uvw[row, 2]
            real, imag = np.float64(vis[row, chan].real), np.float64(vis[row, chan].imag)
            if turned:
                turn = u * l + v * m + w * n_minus_1
                turn = 2.0 * math.pi * (turn - np.rint(turn))
                cos, sin = math.cos(turn), math.sin(turn)
                real, imag = real * cos + imag * sin, imag * cos - real * sin
                u, v = u - w * l_0, v - w * m_0
            if u < 0.0:
                u, v, w, imag = -u, -v, -w, -imag
            i, j = int(np.rint(u * cells_per_wavelength)), int(np.rint(v * cells_per_wavelength)) + middle
            if i >= sums.shape[0] or j < 0 or j >= sums.shape[1]:
                continue
            cell = sums[i, j]
            cell[0] += weighs
            cell[1] += weighs * u
            cell[2] += weighs * v
            cell[3] += weighs * w
            cell[4] += weighs * real
            cell[5] += weighs * imag


@njit(**_options)
def trial_profile(u, v, table, per_x, major, ratio, sin, cos, sigma, f):
    """Put in f (cell,) the profile of a source of unit flux, by straight lines in a table of f(x) with per_x entries a unit; 0 beyond.

    u, v (cell,) in wavelengths; major and sigma in rad, sine and cosine of the position angle. A
    sigma multiplies by the transform of a round Gaussian.
    """
    scale, last = math.pi * major * per_x, table.size - 1
    for c in range(u.size):
        along, across = u[c] * sin + v[c] * cos, ratio * (u[c] * cos - v[c] * sin)
        rho = math.sqrt(along * along + across * across)
        x = scale * rho
        if x < last:
            k = int(x)
            value = table[k] + (x - k) * (table[k + 1] - table[k])
        else:
            value = 0.0
        if sigma > 0.0:
            y = math.pi * sigma * rho
            value *= math.exp(-2.0 * y * y)
        f[c] = value


@njit(**_options)
def sums_of_trials(u, v, weighted, weight, table, per_x, trials, b, a):
    """Put Σ f weighted in b (trial,) and Σ weight f² in a (trial,), with f as in `trial_profile` of trials (trial, 5).

    These are major, ratio, sine, cosine and sigma; weighted and weight (cell,).
    """
    f = np.empty(u.size)
    for t in range(trials.shape[0]):
        major, ratio, sin, cos, sigma = trials[t]
        trial_profile(u, v, table, per_x, major, ratio, sin, cos, sigma, f)
        by_data, by_self = 0.0, 0.0
        for c in range(f.size):
            by_data += f[c] * weighted[c]
            by_self += weight[c] * f[c] * f[c]
        b[t], a[t] = by_data, by_self


@njit(**_options)
def put_in_plane(f, weighted, place, plane):
    """Add f (cell,) times weighted (cell,), complex, to plane (cell of v · cell of u,), which is set to 0 before."""
    for i in range(plane.size):
        plane[i] = 0.0
    for c in range(f.size):
        plane[place[c]] += f[c] * weighted[c]
