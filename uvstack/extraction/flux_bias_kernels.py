"""Numba kernel of the mean true flux of a source, given what was measured. No checks."""

import math

import numpy as np
from numba import njit

#: Panels of equal length in ln s, and those that a peak or an exponential at the limit get.
_PANELS = 24
_AROUND = 6
#: Panels whose greatest value is e^−_FAR of the greatest of all hold nothing.
_FAR = 45.0


@njit(cache=True)
def _log_density(t, r, q):
    """ln of s^−(q+1) e^(−(s − r)²/2) ds for s = e^t, dt instead of ds."""
    return -q * t - 0.5 * (math.exp(t) - r) ** 2


@njit(nogil=True, cache=True)
def mean_true_flux(r, low, q, node, weight, out):
    """∫ s^−q e^(−(s − r)²/2) ds over ∫ s^−(q+1) e^(−(s − r)²/2) ds, both from `low` to infinity.

    In t = ln s the integrand falls to its least value, rises to a maximum at
    s = (r + √(r² − 4q))/2 and falls; where that root is there is an edge of panels, so that the
    greatest value in each panel is at one of its edges. `node`, `weight`: Gauss-Legendre on (0, 1).
    """
    edges = np.empty(_PANELS + 2 * _AROUND + 4)
    for k in range(r.size):
        if not (math.isfinite(r[k]) and low[k] > 0.0 and math.isfinite(low[k])):
            out[k] = np.nan
            continue
        square = 0.25 * r[k] ** 2 - q
        top = 0.5 * r[k] + math.sqrt(square) if square > 0.0 else 0.0
        top = max(top, low[k])
        start, end = math.log(low[k]), math.log(top + 12.0)
        for i in range(_PANELS + 1):
            edges[i] = start + (end - start) * i / _PANELS
        n = _PANELS + 1
        # Widths in s: of the peak, and of what falls from the limit on.
        narrow = 1.0 / max(1.0, top - r[k] + q / top)
        for i in range(-_AROUND, _AROUND + 1):
            s = top + i * (2.0 if i < 0 else 2.0 * narrow)
            if low[k] < s < top + 12.0:
                edges[n] = math.log(s)
                n += 1
        ordered = np.sort(edges[:n])
        greatest = max(_log_density(start, r[k], q), _log_density(math.log(top), r[k], q))
        total = above = 0.0
        for i in range(n - 1):
            a, b = ordered[i], ordered[i + 1]
            if max(_log_density(a, r[k], q), _log_density(b, r[k], q)) < greatest - _FAR:
                continue
            for j in range(node.size):
                t = a + (b - a) * node[j]
                s = math.exp(t)
                value = math.exp(-q * t - 0.5 * (s - r[k]) ** 2 - greatest) * weight[j] * (b - a)
                total += value
                above += value * (s - low[k])
        out[k] = low[k] + above / total
