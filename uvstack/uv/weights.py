"""Visibility weights: what flags, zeros and bad values leave of them, and how stacking rescales them."""

from __future__ import annotations

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.records import UVRange
from uvstack.uv import kernels


def apply_flags(vis: np.ndarray, flag: np.ndarray, flag_row: np.ndarray,
                weight: np.ndarray) -> tuple[np.ndarray, int]:
    """Which rows are usable, (row,) bool, and how many unflagged values are NaN or infinite.

    The arrays are modified.

    Parameters
    ----------
    vis : ndarray (row, chan, corr) complex64
        Not finite values become 0.
    flag : ndarray (row, chan, corr) bool
        Set where an unflagged visibility is not finite.
    flag_row : ndarray (row,) bool
    weight : ndarray (row, chan, corr) float32
        Becomes 0 where flagged, not finite or not positive.
    """
    usable = np.empty(vis.shape[0], np.bool_)
    return usable, kernels.clean_visibilities(vis, flag, flag_row, weight, usable)


def row_weight(weight: np.ndarray, norm: float) -> np.ndarray:
    """Equation 6 of Lindroos et al. (2015) for the column WEIGHT.

    Norm = Σ W_k times the mean weight, (row, corr).

    The mean is over the channels that have a weight; rows without any get 0.
    """
    mean = np.empty((weight.shape[0], weight.shape[2]), np.float32)
    kernels.mean_over_channels(weight, norm, mean)
    return mean


def inside_uv_range(uvw: np.ndarray, frequency: np.ndarray, uv_range: UVRange) -> np.ndarray:
    """Which visibilities lie within the limits of uv distance, (row, chan) bool, from uvw (row, 3) m and channels (Hz)."""
    distance = np.hypot(uvw[:, 0], uvw[:, 1])[:, None]
    scale = 1.0 if uv_range.unit == "m" else frequency / SPEED_OF_LIGHT
    distance = np.broadcast_to(distance * scale, (uvw.shape[0], frequency.size))
    return (distance >= uv_range.minimum) & (distance <= uv_range.maximum)
