"""How much light curves vary: the indices η and V of transient surveys.

After Swinbank et al. (2015, Astronomy and Computing 11, 25): η is the reduced χ² of the
fluxes about their weighted mean, V their standard deviation over their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import ImageError


@dataclass(frozen=True)
class Variability:
    """Of n light curves; arrays (n,), NaN where there are too few epochs.

    Attributes
    ----------
    n_epochs : ndarray of int
        Epochs that count.
    mean, mean_error : ndarray
        Mean weighted by 1/error², and its error by these; from one epoch on.
    eta : ndarray
        Σ (flux − mean)²/error² over n_epochs − 1; 1 on average for a constant source.
    v : ndarray
        Standard deviation (with n_epochs − 1) over the plain mean; negative where that is.
    """

    n_epochs: NDArray[np.int64]
    mean: NDArray[np.float64]
    mean_error: NDArray[np.float64]
    eta: NDArray[np.float64]
    v: NDArray[np.float64]


def measure_variability(flux: ArrayLike, error: ArrayLike) -> Variability:
    """Indices η and V of light curves.

    Parameters
    ----------
    flux, error : array_like
        (n, epochs), or (epochs,) of one source. Epochs whose flux or error is not finite, or whose
        error is not above 0, are left out.

    Returns
    -------
    indices : Variability
        η and V are NaN of fewer than two epochs, not 0.

    Raises
    ------
    ImageError
        Shapes that differ, or of more than two axes.
    """
    values, sigma = np.asarray(flux, np.float64), np.asarray(error, np.float64)
    if values.shape != sigma.shape or values.ndim not in (1, 2):
        raise ImageError(
            f"fluxes of shape {values.shape} with errors of shape {sigma.shape}; "
            "wanted are two of one shape, (source, epoch)"
        )
    values, sigma = np.atleast_2d(values), np.atleast_2d(sigma)
    good = np.isfinite(values) & np.isfinite(sigma) & (sigma > 0)
    n = good.sum(axis=1)
    values = np.where(good, values, 0.0)
    # Relative to the smallest error of a source, whose weight is 1: no square overflows.
    least = np.where(good, sigma, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    least = np.where(np.isfinite(least), least, 1.0)
    weight = np.where(good, least / np.where(good, sigma, 1.0), 0.0) ** 2
    total = weight.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (weight * values).sum(axis=1) / total
        plain = values.sum(axis=1) / n
        away = np.where(good, values - mean[:, None], 0.0) / least
        spread = np.where(good, values - plain[:, None], 0.0)
        eta = (weight * away**2).sum(axis=1) / (n - 1)
        v = np.sqrt((spread**2).sum(axis=1) / (n - 1)) / plain
        mean_error = least[:, 0] / np.sqrt(total)
    enough = n >= 2
    return Variability(
        n_epochs=n,
        mean=np.where(n > 0, mean, np.nan),
        mean_error=np.where(n > 0, mean_error, np.nan),
        eta=np.where(enough, eta, np.nan),
        v=np.where(enough & (plain != 0), v, np.nan),
    )
