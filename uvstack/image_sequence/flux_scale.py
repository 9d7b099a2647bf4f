"""Flux scales of the images of a sequence, from the sources that most of them have in common.

A calibration that is a few per cent off in one image makes every bright source vary. If most
sources are constant, the median over sources of flux over mean flux is the scale of an image; the
means are those of scaled fluxes, so that both are found in turns. Only ratios of scales follow from
the images: their geometric mean is set to 1. Sources that vary count as long as they are few. The
median of n ratios with errors s has the error 1.25 √n/Σ(1/s), which no source's own noise contains;
it is added in squares to the errors of scaled fluxes, so that those of bright sources remain right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import NoDataError
from uvstack.extraction.variability import measure_variability

#: A source counts where its mean is so many times its error.
LEAST_SIGMA = 10.0
#: Fewest sources that make a scale.
LEAST_SOURCES = 5
_ROUNDS, _SAME = 50, 1e-7
#: √(π/2), and σ over the median deviation of a normal distribution.
_MEDIAN_ERROR, _SIGMA_OF_MAD = 1.2533, 1.4826


def measure_scales(
    flux: NDArray, error: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Scales of epochs, by which their fluxes are to be divided.

    Parameters
    ----------
    flux, error : ndarray (epoch, n)
        Of n sources; NaN where there is none.

    Returns
    -------
    scale, scale_error : ndarray (epoch,)
        The geometric mean of the scales is 1.
    n : ndarray (epoch,) int
        Sources that count in each.

    Raises
    ------
    NoDataError
        Fewer than 5 sources of 10 σ in an epoch.
    """
    scale = np.ones(len(flux))
    for _ in range(_ROUNDS):
        mean = measure_variability((flux / scale[:, None]).T, (error / scale[:, None]).T).mean
        counts = np.isfinite(flux) & (mean > LEAST_SIGMA * error)
        n = counts.sum(axis=1)
        if n.min(initial=LEAST_SOURCES) < LEAST_SOURCES:
            raise NoDataError(f"epoch {n.argmin() + 1} has {n.min()} sources of {LEAST_SIGMA:g} σ "
                              f"on average; wanted are {LEAST_SOURCES} or more for a flux scale: "
                              "leave flux_scale (--flux-scale) out")
        ratio = np.where(counts, flux / mean, np.nan)
        found = np.nanmedian(ratio, axis=1)
        if not (found > 0).all():
            raise NoDataError(f"the fluxes of epoch {found.argmin() + 1} are {found.min():.3g} of "
                              "their means; wanted is a flux scale above 0: look at that image")
        found /= np.exp(np.mean(np.log(found)))
        done = np.allclose(found, scale, rtol=_SAME, atol=0)
        scale = found
        if done:
            break
    spread = np.where(counts, error / mean, np.nan)
    pull = np.nanmedian(np.abs(ratio - np.nanmedian(ratio, axis=1)[:, None]) / spread, axis=1)
    # Where ratios scatter more than their errors say, so does the median.
    more = np.maximum(_SIGMA_OF_MAD * pull, 1.0)
    return scale, more * _MEDIAN_ERROR * np.sqrt(n) / np.nansum(1.0 / spread, axis=1), n


def scaled(flux: NDArray, error: NDArray, scale: NDArray,
           scale_error: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fluxes (epoch, n) over the scales of the epochs, and their errors with those of the scales."""
    by, spread = scale[:, None], (scale_error / scale)[:, None]
    return flux / by, np.hypot(error / by, flux / by * spread)
