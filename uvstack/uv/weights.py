"""Visibility weights: what flags, zeros and bad values leave of them, and how stacking rescales them."""

from __future__ import annotations

import numpy as np

from uvstack.constants import PARALLEL_HANDS
from uvstack.uv import kernels


def apply_flags(vis: np.ndarray, flag: np.ndarray, flag_row: np.ndarray, weight: np.ndarray) -> int:
    """Number of unflagged visibilities that are NaN or infinite; the arrays are modified in place.

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
    return kernels.clean_visibilities(vis, flag, flag_row, weight)


def parallel_hands(correlations: tuple[int, ...]) -> np.ndarray:
    """Which correlations are parallel hands (or Stokes I), (corr,) bool."""
    return np.array([c in PARALLEL_HANDS for c in correlations], np.bool_)
