"""Sums over stacked visibilities, from which flux, error and uv profile follow.

Sums are kept in 8192 logarithmic bins of uv distance (0.28 % wide), once in metres and once in
wavelengths, so that a profile in any bins is made later without a second pass; the flux itself is
summed apart with exact uv limits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uvstack.uv import kernels

COUNT, W, W_RE, W_IM, W2, W2_RE, W2_RE2, W2_IM, W2_IM2, W_Q = range(kernels.N_SUMS)


@dataclass
class StackSums:
    """Sums of one stack; `+=` joins those of two chunks.

    Attributes
    ----------
    pointings : dict
        (measurement set, field) → sums (N_SUMS,) within the uv limits.
    variance : dict
        (measurement set, field) → Σ w²|V|²/2 · Σ_k (W_k/A_k)², the variance that equation 7
        predicts for Σ w′ Re V.
    metres, wavelengths : ndarray (bin, N_SUMS)
        All unflagged parallel-hand data, whatever the uv limits.
    """

    pointings: dict
    variance: dict
    metres: np.ndarray
    wavelengths: np.ndarray

    @classmethod
    def empty(cls) -> StackSums:
        """Sums of nothing."""
        shape = (kernels.N_UV_BINS, kernels.N_SUMS)
        return cls({}, {}, np.zeros(shape), np.zeros(shape))

    def __iadd__(self, other: StackSums) -> StackSums:
        for key, value in other.pointings.items():
            self.pointings[key] = self.pointings.get(key, 0.0) + value
        for key, value in other.variance.items():
            self.variance[key] = self.variance.get(key, 0.0) + value
        self.metres += other.metres
        self.wavelengths += other.wavelengths
        return self

    @property
    def total(self) -> np.ndarray:
        """Sums over all pointings within the uv limits, (N_SUMS,)."""
        return np.sum(list(self.pointings.values()),
                      axis=0) if self.pointings else np.zeros(kernels.N_SUMS)


#: Fine bins of uv distance that are one bin of `PositionTotals`: 2.3 %.
BINS_MERGED = 8


@dataclass
class PositionTotals:
    """Sums for each position of the whole list; `+=` joins those of two chunks.

    Attributes
    ----------
    within : ndarray (2, pos)
        s_k = Σ w W_k/A_k Re(V e^{−iφ_k}) and q_k = Σ w W_k within the uv limits.
    bins : dict
        Number of a bin of uv distance in metres → the same of all data in it.
    """

    within: np.ndarray
    bins: dict[int, np.ndarray]

    @classmethod
    def empty(cls, n_positions: int) -> PositionTotals:
        """Sums of nothing."""
        return cls(np.zeros((2, n_positions)), {})

    def __iadd__(self, other: PositionTotals) -> PositionTotals:
        self.within += other.within
        for number, sums in other.bins.items():
            if number in self.bins:
                self.bins[number] += sums
            else:
                self.bins[number] = sums
        return self


def mean_and_error(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weighted means of real and imaginary parts and their errors, from sums (…, N_SUMS).

    The variance is Σ w′² (x − mean)² / (Σ w′)²: the scatter of the stacked visibilities themselves,
    right whatever the scale of the weights, since after stacking those are not the inverse
    variances. NaN where there is no data.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        re, im = sums[..., W_RE] / sums[..., W], sums[..., W_IM] / sums[..., W]
        re_variance = (sums[..., W2_RE2] - 2 * re * sums[..., W2_RE]
                       + re**2 * sums[..., W2]) / sums[..., W] ** 2
        im_variance = (sums[..., W2_IM2] - 2 * im * sums[..., W2_IM]
                       + im**2 * sums[..., W2]) / sums[..., W] ** 2
    return re, im, np.sqrt(np.maximum(re_variance, 0.0)), np.sqrt(np.maximum(im_variance, 0.0))
