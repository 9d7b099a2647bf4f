"""Whether the ratio R depends on flux or on the place in the field.

Of each epoch and measure: medians of R in bins of equal counts along the combined map's flux and
along the offsets to the east and north of the middle of the sources; and straight lines, R = R_0 +
s log10(S_b) and R = R_0 + g_E east + g_N north. Lines are fitted to sources that are bright in the
epoch, by least squares with weights 1/(σ² + s²): σ is the noise alone, and s what sources scatter
beyond it, as variable ones do. What lies beyond 4 robust standard deviations is left out, and the
errors are scaled with the scatter that is found. Along the flux of the epoch itself R would always
fall: noise that lifts S_a lowers R.
"""

from __future__ import annotations

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

from uvstack.epochs.comparison.agreement import SIGMA_OF_MAD, median_of
from uvstack.epochs.comparison.matched import Matched
from uvstack.sky.coordinates import direction_cosines

#: Bins at most, and sources of each at least.
_BINS, _LEAST = 6, 5
#: Where residuals of a line are left out, in robust standard deviations.
_CLIP = 4.0


def field_offsets(found: Matched) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the matches lie, east and north of the middle of the combined map's sources, rad."""
    ra, dec = found.combined.ra, found.combined.dec
    x, y, z = (one.mean() for one in (np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra),
                                      np.sin(dec)))
    east, north, _ = direction_cosines(ra[found.of_combined], dec[found.of_combined],
                                       np.arctan2(y, x), np.arctan2(z, np.hypot(x, y)))
    return east, north


def lines(found: Matched, measure: str, least_snr: float) -> dict[str, float]:
    """Slope of R with log10 of the flux, gradients to the east and north (1/rad), and errors.

    All are NaN where there are too few sources of `least_snr` σ and more.
    """
    pair = found.pairs[measure]
    ratio, flux = pair.agreement.ratio, pair.combined.flux
    with np.errstate(all="ignore"):
        error = np.hypot(pair.combined.noise, ratio * pair.epoch.noise) / pair.epoch.flux
        bright = np.isfinite(ratio) & (flux > 0) & (error > 0) & (
            error < np.inf) & (np.nan_to_num(found.snr) >= least_snr)
        along = np.log10(flux)
    east, north = field_offsets(found)
    told: dict[str, float] = {}
    places = ("gradient_east", "gradient_north"), (east, north)
    for names, axes in ((("flux_slope",), (along,)), places):
        values, errors = _line([axis[bright] for axis in axes], ratio[bright], error[bright])
        for name, value, one in zip(names, values, errors, strict=True):
            told |= {name: value, f"{name}_error": one}
    return told


def _line(axes: list[NDArray[np.float64]], ratio: NDArray[np.float64],
          error: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes along the axes, and their errors; NaN where they are not settled."""
    n = len(axes)
    none = np.full(n, np.nan)
    # Lengths of the axes are brought to one, so that the rank is that of the places.
    size = np.array([np.ptp(axis) if axis.size else 0.0 for axis in axes])
    if ratio.size < 2 * (n + 1) + 1 or (size == 0).any():
        return none, none
    spread = SIGMA_OF_MAD * median_of(ratio)[2]
    error = np.sqrt(error**2 + max(spread**2 - float(np.median(error**2)), 0.0))
    matrix = np.stack([np.ones(ratio.size), *(a / s for a, s in zip(axes, size, strict=True))],
                      axis=1) / error[:, None]
    kept = np.ones(ratio.size, bool)
    for _ in range(10):
        solved, _, rank, _ = np.linalg.lstsq(matrix[kept], (ratio / error)[kept], rcond=1e-9)
        left = ratio / error - matrix @ solved
        scatter = SIGMA_OF_MAD * float(np.median(np.abs(left[kept])))
        now = np.abs(left) <= _CLIP * scatter
        if rank < n + 1 or now.sum() <= n + 1:
            return none, none
        if (now == kept).all():
            break
        kept = now
    degrees = kept.sum() - n - 1
    covariance = np.linalg.inv(matrix[kept].T @ matrix[kept]) * (left[kept] ** 2).sum() / degrees
    return solved[1:] / size, np.sqrt(np.diagonal(covariance))[1:] / size


def binned(found: Matched, epoch: int) -> QTable:
    """Medians of R in bins along each axis, one row a measure, axis and bin.

    Columns: epoch, measure, axis ("flux", "east", "north"), unit of the next three (Jy, or
    arcmin), low, high and middle (the median of the sources), n, median_ratio and its error.
    """
    east, north = (np.rad2deg(one) * 60.0 for one in field_offsets(found))
    rows = []
    for measure, pair in found.pairs.items():
        for axis, values, unit in (("flux", pair.combined.flux, "Jy"), ("east", east, "arcmin"),
                                   ("north", north, "arcmin")):
            used = pair.agreement.used
            for which in _bins(values[used]):
                there, ratio = values[used][which], pair.agreement.ratio[used][which]
                middle, error, _ = median_of(ratio)
                rows.append((epoch, measure, axis, unit, there.min(), there.max(),
                             np.median(there), there.size, middle, error))
    names = ("epoch", "measure", "axis", "unit", "low", "high", "middle", "n", "median_ratio",
             "median_ratio_error")
    kinds = (int, "U6", "U5", "U6", float, float, float, int, float, float)
    return QTable(rows=rows or None, names=names, dtype=kinds)


def _bins(values: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Numbers of the values of each bin, in rising order, bins of like counts."""
    n = min(_BINS, values.size // _LEAST)
    return np.array_split(np.argsort(values, kind="stable"), n) if n else []
