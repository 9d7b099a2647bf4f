"""The spectral index as the ratio of two Taylor terms, and its error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Pixels beyond so many σ of either map say nothing of how their noise goes together.
_QUIET = 3.0


def noise_correlation(tt0: NDArray, rms0: NDArray, tt1: NDArray, rms1: NDArray) -> float:
    """Correlation of the noise of two maps (m, l), from pixels without sources; 0 where there are too few."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = (tt0 / rms0).ravel(), (tt1 / rms1).ravel()
    quiet = (np.abs(x) < _QUIET) & (np.abs(y) < _QUIET)
    if np.count_nonzero(quiet) < 100:
        return 0.0
    return float(np.clip(np.corrcoef(x[quiet], y[quiet])[0, 1], -0.999, 0.999))


def spectral_index(tt0: NDArray, rms0: NDArray, tt1: NDArray, rms1: NDArray, correlation: float,
                   snr: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """α = tt1/tt0 and its standard deviation, (m, l); NaN where tt0 is below `snr` times its noise.

    With the noise σ₀, σ₁ of the terms, correlated by ρ, the ratio has to first order
    σ² = (σ₁² + α² σ₀² − 2 ρ α σ₀ σ₁)/tt0².
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = tt0 >= snr * rms0
        alpha = np.where(seen, tt1 / tt0, np.nan)
        square = rms1**2 + (alpha * rms0) ** 2 - 2.0 * correlation * alpha * rms0 * rms1
        error = np.sqrt(square) / np.abs(tt0)
    return alpha.astype(np.float32), error.astype(np.float32)
