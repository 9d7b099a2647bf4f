"""Numba kernels that sum visibilities in bins of uv distance. Arrays and numbers in, sums added to; no checks."""

import math

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


@njit(**_options)
def longest(uvw: np.ndarray) -> float:
    """Largest u² + v² of uvw (row, 3), m²."""
    most = 0.0
    for r in range(uvw.shape[0]):
        most = max(most, uvw[r, 0] * uvw[r, 0] + uvw[r, 1] * uvw[r, 1])
    return most


@njit(inline="always", **_options)
def _put(sums, k, w0, w1, w2, w3, w4, r0, r1):
    sums[k, 0] += w0
    sums[k, 1] += w1
    sums[k, 2] += w2
    sums[k, 3] += w3
    sums[k, 4] += w4
    sums[k, 5] += r0
    sums[k, 6] += r1


@njit(**_options)
def bin_sums(uvw, wavenumber, bins_per_wavelength, vis, weight, sums, totals):
    """Add visibilities to the sums of their bins: one square root a row, none a visibility.

    uvw (row, 3) m; wavenumber (chan,) ν/c; vis, weight (row, chan). With t = q · bins_per_wavelength − bin, added to:
    sums (bin, 8): w, w t, w t², w t³, w t⁴, w Re V, w t Re V and one column that only fills the cache line; totals (2,):
    w |V|² and the number of visibilities.
    """
    last, now = sums.shape[0] - 1, 0
    # What falls in one bin after another stays in registers: neighbouring channels do.
    w0, w1, w2, w3, w4, r0, r1 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for r in range(uvw.shape[0]):
        rho = math.sqrt(uvw[r, 0] * uvw[r, 0] + uvw[r, 1] * uvw[r, 1]) * bins_per_wavelength
        power, count = 0.0, np.int64(0)
        for chan in range(wavenumber.size):
            x = rho * wavenumber[chan]
            k = min(int(x), last)
            t = x - k
            w = np.float64(weight[r, chan])
            re, im = vis[r, chan].real, vis[r, chan].imag
            power += w * (re * re + im * im)
            count += w > 0.0
            if k != now:
                _put(sums, now, w0, w1, w2, w3, w4, r0, r1)
                w0, w1, w2, w3, w4, r0, r1 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
                now = k
            wt = w * t
            wtt = wt * t
            w0 += w
            w1 += wt
            w2 += wtt
            w3 += wtt * t
            w4 += wtt * t * t
            r0 += w * re
            r1 += wt * re
        totals[0] += power
        totals[1] += count
    _put(sums, now, w0, w1, w2, w3, w4, r0, r1)
