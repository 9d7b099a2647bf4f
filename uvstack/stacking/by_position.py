"""What each position of a list adds to a stack: lists drawn anew, robust averages, and which position carries the stack.

For each position k two sums over the visibilities are kept, s_k = Σ w W_k/A_k Re(V e^{−iφ_k}) and
q_k = Σ w W_k. The flux of any list is Σ s_k / Σ q_k, that of a position alone x_k = s_k/q_k, so
nothing here reads data again.

**Bootstrap.** Lists are drawn with replacement (Efron 1979), with one change. The deviation of a
position from the mean of a list that it is itself part of is too small, by its share h_k = q_k/Σ q
of the weight, so that a plain bootstrap is low where few positions have most of the weight. Here a
position deviates from the mean of all *others*, (x_k − F)/(1 − h_k), as in the jackknife (Miller
1974); what is drawn is moved so that its mean is the flux. Where h_k are all 1/N the error is larger
by N/(N − 1). What stays low is the error of few sources of very uneven fluxes: a list without any of
the rare bright ones does not know of them.

**Effective number.** (Σ q_k)²/Σ q_k² positions of equal weight would do as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.records import Shown
from uvstack.sky.averages import robust_average

#: Effective positions below which an error of resampled lists is a rough number.
FEW = 20
#: Standard deviations of the clipped mean.
CLIP = 3.0


@dataclass(frozen=True, eq=False, repr=False)
class PositionSums(Shown):
    """Sums of the positions with data within the uv limits.

    Attributes
    ----------
    number : ndarray (pos,) int
        In the list, from 0.
    ra, dec : ndarray (pos,)
        J2000, rad.
    values, weights : ndarray (pos,)
        s_k (Jy) and q_k > 0, in the unit of the data's weights.
    """

    number: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    values: np.ndarray
    weights: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """h_k, (pos,)."""
        return np.asarray(self.weights / self.weights.sum())

    @property
    def n_effective(self) -> float:
        """(Σ q_k)²/Σ q_k²."""
        return float(1.0 / (self.share**2).sum())

    @property
    def fluxes(self) -> np.ndarray:
        """x_k, (pos,), Jy."""
        return np.asarray(self.values / self.weights)

    @property
    def flux_without(self) -> np.ndarray:
        """Flux of the list without each position, (pos,), Jy; NaN for the only one."""
        with np.errstate(invalid="ignore", divide="ignore"):
            others = self.weights.sum() - self.weights
            return np.asarray(np.where(others > 0, (self.values.sum() - self.values) / others,
                                       np.nan))

    @property
    def influence(self) -> np.ndarray:
        """Flux less that without each position, (pos,), Jy."""
        return np.asarray(self.values.sum() / self.weights.sum() - self.flux_without)

    @property
    def order(self) -> np.ndarray:
        """Indices from the position without which the flux changes most, (pos,)."""
        return np.argsort(-np.nan_to_num(np.abs(self.influence)), kind="stable")

    def table(self) -> QTable:
        """A row for each position: number, ra, dec, flux, share of the weight, flux without it and influence."""
        return QTable({"position": self.number, "ra": np.rad2deg(self.ra) * u.deg,
                       "dec": np.rad2deg(self.dec) * u.deg, "flux": self.fluxes * u.Jy,
                       "share": self.share, "flux_without": self.flux_without * u.Jy,
                       "influence": self.influence * u.Jy})


@dataclass(frozen=True, repr=False)
class RobustFlux(Shown):
    """An average that outliers do not move, Jy, with its standard deviation over resampled lists."""

    flux: float
    error: float


def bootstrap_fluxes(sums: PositionSums, n: int, rng: np.random.Generator) -> np.ndarray:
    """Fluxes of n lists drawn with replacement, (n,), Jy, as the module says; NaN of a single position."""
    deviation = sums.weights * (sums.fluxes - sums.flux_without)
    deviation -= sums.share * deviation.sum()
    flux, fluxes = sums.values.sum() / sums.weights.sum(), np.empty(n)
    for i, times in enumerate(_draws(sums.number.size, n, rng)):
        fluxes[i] = flux + (deviation @ times) / (sums.weights @ times)
    return fluxes


def robust_fluxes(sums: PositionSums, n: int, rng: np.random.Generator) -> dict[str, RobustFlux]:
    """Weighted median and clipped mean of the fluxes of the positions, each with its error from n resampled lists."""
    found = {}
    lists = [np.repeat(np.arange(sums.number.size), times)
             for times in _draws(sums.number.size, n, rng)]
    fluxes, weights = sums.fluxes, sums.weights
    for method in ("median", "clipped-mean"):
        drawn = [robust_average(fluxes[one], weights[one], method, CLIP) for one in lists]
        error = float(np.std(drawn, ddof=1)) if fluxes.size > 1 else float("nan")
        found[method] = RobustFlux(robust_average(fluxes, weights, method, CLIP), error)
    return found


def _draws(n_positions: int, n: int, rng: np.random.Generator):
    """How often each position stands in each of n lists, (pos,) int."""
    for _ in range(n):
        yield np.bincount(rng.integers(n_positions, size=n_positions), minlength=n_positions)
