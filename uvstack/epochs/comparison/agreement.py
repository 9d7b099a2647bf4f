"""How two sets of fluxes agree: equations 1 to 13 of the appendix of VLASS memo 26, as they stand.

S_a is the flux in an epoch, S_b that in the combined map, and R = S_b/S_a: below 1 the combined map
is fainter. Sources whose S_a is not above 0 have neither a ratio nor a percentage; they are left
out and counted, as are those without a flux or a noise.

The memo gives no error of the median ratio. Here it is half the distance of the quantiles 0.5 ±
0.5/√n, between which the median of n values lies in 68 % of cases whatever their distribution is:
of ratios and offsets, where faint sources scatter far and bright ones little, an error from MAD
would be a quarter too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: σ of a Gaussian over its median absolute deviation.
SIGMA_OF_MAD = 1.4826


@dataclass(frozen=True)
class Agreement:
    """Two measurements of matched sources against each other.

    Attributes
    ----------
    ratio : ndarray (n,)
        R of equation 11; NaN where it is left out.
    percent_difference, percent_uncertainty : ndarray (n,)
        δ of equation 8 and δσ of equation 10, likewise.
    n_not_positive, n_not_finite : int
        Left out because S_a ≤ 0, and because a flux or its noise is not finite.
    """

    ratio: NDArray[np.float64]
    percent_difference: NDArray[np.float64]
    percent_uncertainty: NDArray[np.float64]
    n_not_positive: int
    n_not_finite: int

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which sources count, (n,)."""
        return np.isfinite(self.ratio)

    def statistics(self) -> dict[str, float]:
        """Means and medians over the sources that count; NaN without any."""
        ratio = self.ratio[self.used]
        middle, error, spread = median_of(ratio)
        return {"n_used": ratio.size, "n_not_positive": self.n_not_positive,
                "n_not_finite": self.n_not_finite, "median_ratio": middle,
                "median_ratio_error": error, "mad": spread,
                "mean_percent_difference": _mean(self.percent_difference[self.used]),
                "mean_percent_uncertainty": _mean(self.percent_uncertainty[self.used])}


def total_uncertainty(flux: NDArray, noise: NDArray, f_cal: float) -> NDArray[np.float64]:
    """σ of equations 1 and 4: calibration and noise in quadrature, in the unit of both.

    Parameters
    ----------
    flux : ndarray (n,)
    noise : ndarray (n,)
        rms √N_beam, or rms of peaks.
    f_cal : float
        Fractional uncertainty of the calibration.
    """
    return np.asarray(np.sqrt((f_cal * flux) ** 2 + noise**2))


def agreement(flux_a: NDArray, sigma_a: NDArray, flux_b: NDArray,
              sigma_b: NDArray) -> Agreement:
    """Equations 5 to 8, 10 and 11, source by source.

    Parameters
    ----------
    flux_a, flux_b : ndarray (n,)
        Of the epoch and of the combined map, in one unit.
    sigma_a, sigma_b : ndarray (n,)
        Their total uncertainties.
    """
    known = np.all([np.isfinite(one) for one in (flux_a, sigma_a, flux_b, sigma_b)], axis=0)
    used = known & (np.nan_to_num(flux_a) > 0)
    s_a, s_b, a, b = (np.where(used, one, np.nan) for one in (flux_a, flux_b, sigma_a, sigma_b))
    sigma = np.sqrt(a**2 + b**2)
    net = np.maximum(np.abs(s_a - s_b) - sigma, 0.0)
    return Agreement(s_b / s_a, 100.0 * net / s_a, 100.0 * sigma / s_a,
                     int((known & ~used).sum()), int((~known).sum()))


def median_of(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Median (equation 12), its error, and the median absolute deviation (equation 13).

    All are NaN without values, the error of one value is; see the module.
    """
    n = values.size
    if n == 0:
        return np.nan, np.nan, np.nan
    middle = float(np.median(values))
    spread = float(np.median(np.abs(values - middle)))
    ends = np.quantile(values, 0.5 + np.array([-0.5, 0.5]) / np.sqrt(n), method="hazen")
    return middle, float(np.ptp(ends)) / 2.0 if n > 1 else np.nan, spread


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else np.nan
