"""What selection and source counts do to measured fluxes, on average.

After Spreeuw (2010), equations 2.33 to 2.48, for counts N(>S) ∝ S^−q of true fluxes and Gaussian
errors. There are more faint sources than bright ones, so that a flux that was measured is more
likely a fainter source on a peak of the noise: `expected_flux`, one source at a time (Eddington).
And of sources of one flux those that exceed a threshold are measured too bright on average:
`mean_detected_flux` (Malmquist). The most likely flux of Hogg & Turner (1998), equation 2.30, is
not here: applied to every source of an image it does not give the counts back.

The counts need a lower limit of flux, which only the user can know: below it there are no
sources. Without one the integrals diverge at 0, that of the norm for q ≥ 0 and that of the mean
for q ≥ 1 (the remark in the text has q > 0).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, log_ndtr

from uvstack.checks import finite_number
from uvstack.errors import ImageError
from uvstack.extraction import flux_bias_kernels as kernels

_NODES = 16


def expected_flux(
    flux: ArrayLike, error: ArrayLike, q: float, lowest_flux: float
) -> NDArray[np.float64]:
    """Mean true flux of sources that were measured at `flux` ± `error` (equation 2.34, normalised).

    Parameters
    ----------
    flux, error : array_like
        Measured, shapes that broadcast, one unit.
    q : float
        Counts above S go as S^−q: 1.5 in Euclid's space.
    lowest_flux : float
        Below it there are no sources; above 0, in the unit of the fluxes. At a low signal to
        noise the result hangs on it.

    Returns
    -------
    expected : ndarray
        To 1e-9, from the limit on. NaN where a flux is not finite or an error not above 0.

    Raises
    ------
    SelectionError
        `q` or the limit is no such number.

    Notes
    -----
    Gauss-Legendre of 16 nodes in panels of ln S, logarithms until the last step; 4 to 6 µs a
    source.
    """
    q = finite_number("q", q)
    lowest = finite_number("lowest_flux", lowest_flux, 0.0, above=True)
    measured, sigma = _pair(flux, error)
    good = np.isfinite(measured) & np.isfinite(sigma) & (sigma > 0)
    unit = np.where(good, sigma, 1.0)
    r = np.where(good, measured / unit, np.nan).ravel()
    low = np.broadcast_to(lowest / unit, measured.shape).ravel()
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    out = np.empty(r.size)
    kernels.mean_true_flux(r, low, q, 0.5 * (node + 1.0), 0.5 * weight, out)
    return np.asarray(out.reshape(measured.shape) * unit)


def mean_detected_flux(
    true_flux: ArrayLike, error: ArrayLike, threshold: float
) -> NDArray[np.float64]:
    """Mean measured flux of sources of one true flux that exceed a threshold (equation 2.43).

    Parameters
    ----------
    true_flux, error : array_like
        Shapes that broadcast; errors above 0.
    threshold : float
        In the unit of the fluxes, not of σ.

    Returns
    -------
    mean : ndarray
        S + σ √(2/π) e^−a²/erfc(a) with a = (T − S)/(√2 σ), right also where nearly none exceeds T.
        NaN where a flux is not finite or an error not above 0.
    """
    level = finite_number("threshold", threshold)
    true, sigma = _pair(true_flux, error)
    good = np.isfinite(true) & np.isfinite(sigma) & (sigma > 0)
    sigma = np.where(good, sigma, np.nan)
    a = (level - true) / (math.sqrt(2.0) * sigma)
    return np.asarray(true + sigma * math.sqrt(2.0 / math.pi) / erfcx(a))


def mean_detected_flux_of_many(true_flux: ArrayLike, error: ArrayLike, threshold: float) -> float:
    """Mean measured flux of all sources above a threshold, of known true ones (equation 2.47).

    Each counts with the probability that it does. Parameters are those of `mean_detected_flux`;
    NaN if there is no source or one is not finite.
    """
    means = mean_detected_flux(true_flux, error, threshold).ravel()
    true, sigma = (v.ravel() for v in _pair(true_flux, error))
    if means.size == 0 or not np.isfinite(means).all():
        return math.nan
    chance = log_ndtr((true - threshold) / sigma)
    return float(np.average(means, weights=np.exp(chance - chance.max())))


def mean_detected_flux_of_counts(
    error: float, threshold: float, q: float, lowest_flux: float
) -> float:
    """Mean measured flux of sources above a threshold, from counts S^−q (equation 2.45).

    Parameters
    ----------
    error, threshold, lowest_flux : float
        One unit; the error and the lower limit of the counts (the text integrates from −∞) above 0.
    q : float
        Above 1: otherwise the mean is that of the brightest.

    Raises
    ------
    SelectionError
        A number is not what is wanted.
    """
    sigma = finite_number("error", error, 0.0, above=True)
    level = finite_number("threshold", threshold)
    q = finite_number("q", q, 1.0, above=True)
    low = finite_number("lowest_flux", lowest_flux, 0.0, above=True)

    # Edges of panels of ln S: even ones, and one for each σ about the threshold.
    start = math.log(low)
    end = math.log(max(low, level + 10.0 * sigma)) + 40.0 / (q - 1.0)
    near = np.log(np.clip(level + sigma * np.arange(-10.0, 11.0), low, None))
    edges = np.unique(np.concatenate([np.linspace(start, end, 100), near]))
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    width = 0.5 * np.diff(edges)[:, None]
    t = edges[:-1, None] + width * (node + 1.0)
    log_number = -q * t + log_ndtr((np.exp(t) - level) / sigma)
    number = width * weight * np.exp(log_number - log_number.max())
    return float(np.average(mean_detected_flux(np.exp(t), sigma, level), weights=number))


def _pair(first: ArrayLike, second: ArrayLike) -> list[NDArray[np.float64]]:
    try:
        return [
            np.asarray(v)
            for v in np.broadcast_arrays(np.asarray(first, float), np.asarray(second, float))
        ]
    except ValueError:
        raise ImageError(
            f"fluxes of shape {np.shape(first)} with errors of shape {np.shape(second)}; "
            "wanted are two of one shape or numbers"
        ) from None
