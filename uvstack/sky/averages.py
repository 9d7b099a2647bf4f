"""Averages over positions that a few outliers do not move: the weighted median, and the weighted mean of what lies near it.

The median is the value at which half of the weight is reached, the plain median where weights are
equal. The clipped mean is that of the values within so many standard deviations of it, found again
until it stays, beginning at the median. Both are biased where values are distributed unevenly about
their mean, as fluxes of sources are.
"""

from __future__ import annotations

import numpy as np

from uvstack.sky import average_kernels as kernels


def robust_averages(block: np.ndarray, weight: np.ndarray, method: str, clip: float,
                    out: np.ndarray) -> None:
    """Averages along the last axis of block (m, l, pos) into out (m, l); NaN values are left out.

    Parameters
    ----------
    block : ndarray (m, l, pos)
    weight : ndarray (pos,)
        Above 0.
    method : {"median", "clipped-mean"}
    clip : float
        Standard deviations.
    out : ndarray (m, l)
        Set.
    """
    if method == "median":
        kernels.block_median(block, weight, bool(np.ptp(weight) <= 1e-12 * weight.max()), out)
    else:
        kernels.block_clipped_mean(block, weight, clip, out)


def robust_average(values: np.ndarray, weight: np.ndarray, method: str, clip: float) -> float:
    """The average of values (pos,), as `robust_averages` takes it."""
    out = np.empty((1, 1))
    robust_averages(np.ascontiguousarray(values)[None, None], weight, method, clip, out)
    return float(out[0, 0])
