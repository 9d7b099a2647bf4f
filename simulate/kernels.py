"""Numba kernels of the simulator. Arrays and scalars in, results last; no checks, no allocation inside loops."""

import math

import numpy as np
from numba import njit

_STEP, _MIX1, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(
    0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@njit(nogil=True, cache=True)
def apply_gains(vis, gains, antenna1, antenna2, time_index, receptor1, receptor2, out):
    """out = g_p V g_q*: the gain of the first antenna's receptor and the conjugate of that of the second's.

    vis, out (row, chan, corr) complex64, which may be one array; gains (time, ant, chan, receptor)
    complex64; antenna1, antenna2, time_index (row,) indices into gains; receptor1, receptor2
    (corr,).
    """
    for row in range(vis.shape[0]):
        first = gains[time_index[row], antenna1[row]]
        second = gains[time_index[row], antenna2[row]]
        for chan in range(vis.shape[1]):
            for corr in range(vis.shape[2]):
                factor = first[chan, receptor1[corr]] * np.conj(second[chan, receptor2[corr]])
                out[row, chan, corr] = vis[row, chan, corr] * factor


@njit(nogil=True, cache=True, inline="always")
def _mixed(x):
    """A bijection of 64 bits whose results look random: the finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    x += _STEP
    x = (x ^ (x >> _S30)) * _MIX1
    x = (x ^ (x >> _S27)) * _MIX2
    return x ^ (x >> _S31)


@njit(nogil=True, cache=True)
def random_flags(key, time_bits, antenna1, antenna2, fraction, out):
    """True for a share of the visibilities, each decided by a hash of key, time, baseline and channel alone.

    key uint64; time_bits (row,) uint64; antenna1, antenna2 (row,) uint64; out (row, chan) bool.
    """
    for row in range(out.shape[0]):
        state = _mixed(_mixed(_mixed(key ^ time_bits[row]) ^ antenna1[row]) ^ antenna2[row])
        for chan in range(out.shape[1]):
            drawn = _mixed(state ^ np.uint64(chan)) >> _S11
            out[row, chan] = np.float64(drawn) * 2.0**-53 < fraction


@njit(nogil=True, cache=True)
def add_smoothed(x, y, amplitude, to_units, semi_axes, nodes, reach, limit, out):
    """out += components smoothed with a Gaussian, on the pixels where each exceeds exp(−limit/2) of its peak.

    x, y (pos,) centres in pixels; to_units (pos, 2, 2) from pixel offsets (x, y) to units in which
    the Gaussian is exp(−r²/2); amplitude (pos,); semi_axes (pos, 2) of a disc along these units;
    nodes (pos,) of its quadrature, 0 for a Gaussian; reach (pos, 2) half sides of the box in
    pixels; out (m, l) float64.

    The disc is ∫ exp(−(X−X')²/2) [erf((Y+b)/√2) − erf((Y−b)/√2)] dX' with X' = a sin t: periodic in
    t, so that equal steps converge faster than any power of their number.
    """
    radius = math.sqrt(limit)
    root = math.sqrt(0.5)
    for k in range(x.shape[0]):
        a, b = semi_axes[k, 0], semi_axes[k, 1]
        n = nodes[k]
        step = math.pi / max(n, 1)
        for j in range(max(math.ceil(y[k] - reach[k, 1]), 0),
                       min(math.floor(y[k] + reach[k, 1]), out.shape[0] - 1) + 1):
            for i in range(max(math.ceil(x[k] - reach[k, 0]), 0),
                           min(math.floor(x[k] + reach[k, 0]), out.shape[1] - 1) + 1):
                east, north = i - x[k], j - y[k]
                along = to_units[k, 0, 0] * east + to_units[k, 0, 1] * north
                across = to_units[k, 1, 0] * east + to_units[k, 1, 1] * north
                if n == 0:
                    r2 = along * along + across * across
                    if r2 <= limit:
                        out[j, i] += amplitude[k] * math.exp(-0.5 * r2)
                elif abs(along) <= a + radius and abs(across) <= b + radius:
                    total = 0.0
                    for q in range(n):
                        t = (q + 0.5) * step - 0.5 * math.pi
                        p, cos = along - a * math.sin(t), math.cos(t)
                        if abs(p) <= radius:
                            half = b * cos
                            total += cos * math.exp(-0.5 * p * p) * (
                                math.erf((across + half) * root) - math.erf((across - half) * root))
                    out[j, i] += amplitude[k] * total * math.sqrt(0.5 * math.pi) / (n * b)
