"""What each position of a list adds to a stack: lists drawn anew, robust averages, and which position carries the stack.

For each position k two sums over the visibilities are kept, s_k = Σ w W_k/A_k Re(V e^{−iφ_k}) and
q_k = Σ w W_k. The flux of any list is Σ s_k / Σ q_k, that of a position alone x_k = s_k/q_k, so
nothing here reads data again.

**Bootstrap.** Lists are drawn with replacement (Efron 1979), with one change. The deviation of a
position from the mean of a list that it is itself part of is too small, by its share h_k = q_k/Σ q
of the weight, so that a plain bootstrap is low where few positions have most of the weight. Here a
position deviates from the mean of all *others*, (x_k − F)/(1 − h_k), as in the jackknife (Miller
1974); what is drawn is moved so that its mean is the flux. Where h_k are all 1/N the error is larger
by N/(N − 1). The square of that error is right on average, and the root of what scatters is low: by
an eighth of its relative variance, Σ d_k⁴/(Σ d_k²)² − 1/N with d_k = h_k (x_k − F)/(1 − h_k), which
is given back. What stays low is the error of few sources of very uneven fluxes: a list without any
of the rare bright ones does not know of them, nor of that variance.

**Against uv distance.** The same sums are kept in bins of uv distance 2.3 % wide, so that a uv profile
has errors by the scatter of positions (`uvstack.uv.trend`).

**Effective number.** (Σ q_k)²/Σ q_k² positions of equal weight would do as much.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.records import Shown
from uvstack.sky.averages import robust_average
from uvstack.stacking.sums import BINS_MERGED
from uvstack.uv.profile import bin_of, fine_bin_edges
from uvstack.uv.trend import quiet_edge, trend_edge, unit_errors

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
    profile : dict
        Number of a bin of `BINS_MERGED` fine bins, rising → s_k and q_k of all data in it, (2, pos).
    """

    number: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    profile: dict[int, np.ndarray] = field(default_factory=dict)

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

    def profile_errors(self, edges: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Errors of means in bins between edges (bin + 1,) in m, by the scatter of positions, (bin,), Jy; NaN where there are no data.

        A bin is taken as the bins of `profile` of which the middles lie in it, or the nearest, and
        its error is scaled by the root of their weight over its own, weight (bin,).
        """
        middles = self._middles()
        errors = np.full(weight.size, np.nan)
        for i in np.flatnonzero(weight > 0):
            inside = np.flatnonzero((middles >= edges[i]) & (middles < edges[i + 1]))
            if not inside.size:
                inside = np.array([np.abs(np.log(middles / np.sqrt(edges[i] * edges[i + 1]
                                                                   + 1e-12))).argmin()])
            values, weights = self._merged(inside, np.zeros(inside.size, np.int64), 1)
            scale = np.sqrt(weights.sum() / weight[i])
            errors[i] = scale * unit_errors(values, weights)[0]
        return errors

    def deviant_below(self, edges: np.ndarray) -> float | None:
        """The edge (bin + 1,), m, below which baselines deviate or are too noisy (`uvstack.uv.trend`), or None."""
        middles = self._middles()
        which = bin_of(edges, middles)
        numbers, index = np.unique(which, return_inverse=True)
        values, weights = self._merged(np.arange(middles.size), index, numbers.size)
        # One and the same advice whenever it is asked for.
        found = (trend_edge(values, weights, np.random.default_rng(0)), quiet_edge(values, weights))
        edge = max(one or 0 for one in found)
        return float(edges[1:][numbers[edge - 1]]) if edge else None

    def _middles(self) -> np.ndarray:
        """Middles of the bins of `profile`, (bin,), m."""
        edges = fine_bin_edges()
        where = BINS_MERGED * np.fromiter(self.profile, np.int64)
        return np.sqrt(edges[where] * edges[where + BINS_MERGED])

    def _merged(self, chosen: np.ndarray, index: np.ndarray, n: int) -> np.ndarray:
        """s_k and q_k of the chosen bins of `profile`, added to those of n bins, (2, n, pos)."""
        kept = list(self.profile.values())
        out = np.zeros((2, n, self.number.size))
        for i, target in zip(chosen, index, strict=True):
            out[:, target] += kept[i]
        return out

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
    square, fourth = (deviation**2).sum(), (deviation**4).sum()
    if square > 0:
        deviation *= 1.0 + 0.125 * (fourth / square**2 - 1.0 / sums.number.size)
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
