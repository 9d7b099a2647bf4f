"""Cubes: one image of all channels to find sources in, and their spectra.

Sources are found in the mean of the channels, weighted by 1/rms² (best where spectra are flat), or
in the sum of squares of the channels over their noise, which takes any spectrum, also one that
changes its sign. That sum has the distribution of χ² with as many degrees of freedom as there are
channels; here it is turned into the deviation of a normal distribution of the same probability, so
that thresholds in σ mean what they mean elsewhere.

A spectral index is fitted to fluxes, not to their logarithms: channels that are faint or negative
count as what they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

#: A power law steeper than this is none.
_STEEPEST = 20.0
#: Probability below which that of χ² is worked out by its asymptotic form.
_LEAST = 1e-280
#: Standard deviations that no pixel lies deeper.
_DEEPEST = -8.0


def weighted_mean(planes: Sequence[NDArray[np.float32]],
                  rms: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean of images (m, l) with weights 1/rms²; blank pixels have none, and are blank where they are in all."""
    total = np.zeros(planes[0].shape, np.float32)
    weight = np.zeros_like(total)
    for plane, sigma in zip(planes, rms, strict=True):
        # Relative to the least noise: no square overflows.
        w = np.float32((rms.min() / sigma) ** 2)
        good = np.isfinite(plane)
        total += np.where(good, w * plane, 0)
        weight += w * good
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight > 0, total / weight, np.float32(np.nan))


def normal_deviation(chi_squared: NDArray, n: NDArray) -> NDArray[np.float64]:
    """σ of a normal distribution as rarely exceeded as a sum of n squares is, to below 1e-3; NaN where n is 0."""
    shape, half = 0.5 * np.asarray(n, float), 0.5 * np.asarray(chi_squared, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = special.gammaincc(shape, half)
        found = np.maximum(-special.ndtri(p), _DEEPEST)
        far = p < _LEAST
        # Γ(a, x) ~ x^(a−1) e^(−x) (1 + (a − 1)/x + (a − 1)(a − 2)/x²) / Γ(a).
        x, a = half[far], shape[far]
        log = (a - 1.0) * np.log(x) - x - special.gammaln(a) + np.log1p((a - 1.0) / x
                                                                        * (1.0 + (a - 2.0) / x))
        z = np.sqrt(-2.0 * log)
        for _ in range(4):
            z = np.sqrt(-2.0 * (log + np.log(z * np.sqrt(2.0 * np.pi)) + 1.0 / z**2))
        found[far] = z
    return np.where(shape > 0, found, np.nan)


def spectral_indices(
    frequency: NDArray, flux: NDArray, error: NDArray, reference: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """α of S = S₀ (ν/ν₀)^α of n sources and its error, by weighted least squares in S.

    Parameters
    ----------
    frequency : ndarray (chan,)
        Hz.
    flux, error : ndarray (n, chan)
        In one unit; channels that are not finite, or whose error is not above 0, are left out.
    reference : float
        ν₀, Hz.

    Returns
    -------
    index, index_error : ndarray (n,)
        NaN of fewer than two channels, and where no power law comes near: of sources that are not
        seen.
    """
    from scipy.optimize import least_squares

    index, spread = np.full(len(flux), np.nan), np.full(len(flux), np.nan)
    for i in range(len(flux)):
        good = np.isfinite(flux[i]) & np.isfinite(error[i]) & (error[i] > 0)
        if good.sum() < 2:
            continue
        x, s, e = np.log(frequency[good] / reference), flux[i][good], error[i][good]
        size = float(np.sum(s / e**2) / np.sum(1.0 / e**2))
        unit = float(1.0 / np.sqrt(np.sum(1.0 / e**2)))
        s, e, size = s / unit, e / unit, size / unit

        def misfit(p: NDArray, x: NDArray = x, s: NDArray = s, e: NDArray = e) -> NDArray:
            return (p[0] * np.exp(np.clip(p[1], -_STEEPEST, _STEEPEST) * x) - s) / e

        def slope(p: NDArray, x: NDArray = x, e: NDArray = e) -> NDArray:
            power = np.exp(np.clip(p[1], -_STEEPEST, _STEEPEST) * x) / e
            return np.stack([power, p[0] * x * power], axis=1)

        fit = least_squares(misfit, [size, 0.0], slope, method="trf", x_scale=[1.0, 0.1])
        try:
            covariance = np.linalg.inv(fit.jac.T @ fit.jac)
        except np.linalg.LinAlgError:
            continue
        if fit.success and abs(fit.x[1]) < _STEEPEST and 0 < covariance[1, 1] < _STEEPEST**2:
            index[i], spread[i] = fit.x[1], np.sqrt(covariance[1, 1])
    return index, spread
