"""Numba kernels of averages that outliers do not move. Arrays and scalars in, results last; no checks."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _weighted_median(values, weight):
    """Value at which half of the weight is reached.

    The mean of two where it is reached between them.
    """
    order = np.argsort(values)
    half, running = 0.5 * weight.sum(), 0.0
    for n in range(order.size):
        running += weight[order[n]]
        if running > half * (1 + 1e-12):
            return values[order[n]]
        if running >= half * (1 - 1e-12) and n + 1 < order.size:
            return 0.5 * (values[order[n]] + values[order[n + 1]])
    return values[order[-1]]


@njit(nogil=True, cache=True)
def _clipped_mean(values, weight, clip):
    """Weighted mean without what lies more than clip standard deviations off, found again until it stays."""
    centre = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - centre))
    n_before = -1
    for _ in range(20):
        n, total, first, second, w_total = 0, 0.0, 0.0, 0.0, 0.0
        for k in range(values.size):
            off = values[k] - centre
            if abs(off) <= clip * spread:
                n += 1
                first += off
                second += off * off
                total += weight[k] * off
                w_total += weight[k]
        if n == 0 or n == n_before or w_total <= 0.0:
            break
        n_before = n
        centre += total / w_total
        spread = np.sqrt(max(second / n - (first / n) ** 2, 0.0))
    return centre


@njit(inline="always")
def _gather(column, weight, values, w):
    """Finite entries of column (pos,) and their weights, put into values and w; their number."""
    count = 0
    for k in range(column.size):
        if np.isfinite(column[k]):
            values[count], w[count] = column[k], weight[k]
            count += 1
    return count


@njit(nogil=True, cache=True)
def block_median(block, weight, equal, out):
    """Weighted median along the last axis of block (m', l', pos) without its NaN.

    Plain where `equal`. out (m', l').
    """
    n_m, n_l, n = block.shape
    values, w = np.empty(n), np.empty(n)
    for i in range(n_m):
        for j in range(n_l):
            count = _gather(block[i, j], weight, values, w)
            if count == 0:
                out[i, j] = np.nan
            elif equal:
                out[i, j] = np.median(values[:count])
            else:
                out[i, j] = _weighted_median(values[:count], w[:count])


@njit(nogil=True, cache=True)
def block_clipped_mean(block, weight, clip, out):
    """Weighted mean along the last axis of block (m', l', pos) without outliers and NaN.

    Out (m', l').
    """
    n_m, n_l, n = block.shape
    values, w = np.empty(n), np.empty(n)
    for i in range(n_m):
        for j in range(n_l):
            count = _gather(block[i, j], weight, values, w)
            out[i, j] = _clipped_mean(values[:count], w[:count], clip) if count else np.nan
