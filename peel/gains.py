"""Gains as they come from a solve, and what they do to visibilities.

A *cell* is what has one gain: a field, a window, a scan, and some of its integrations. A term of a
cell has a gain for each antenna and receptor, and for each direction if it depends on it. Gains
count only where they are significant: the error of a gain is 1/√JᴴJ, the inverse of the weighted
power of the model on the antenna's baselines, times the root of the reduced χ² where weights are
only relative; an antenna whose model is below `LEAST_SNR` of that keeps the gain 1. So does one
whose solution failed (not finite, or flagged by the solver); what its baselines hold is then not
known, and their data stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peel.kernels import corrupt
from peel.recipe import OF_DIRECTIONS
from uvstack.constants import CORRELATIONS

#: Signal of a model over the noise, for an antenna and cell, from which its gain counts.
LEAST_SNR = 3.0
#: A direction-dependent amplitude beyond this factor of 1 is no gain but a solver that ran away.
_MOST_GAIN = 100.0

#: Field and window (data description).
Key = tuple[int, int]
#: Field, window, scan.
Cell = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Solution:
    """Gains of one term in one scan of a field and window.

    Attributes
    ----------
    term : str
    cell : (int, int, int)
        Field, data description, scan.
    gains : ndarray (time, chan, ant, direction, receptor) complex128
        One channel where a term does not depend on it.
    good : ndarray (time, ant, direction) bool
        Solved for.
    error : ndarray (time, ant, direction) float64
        Of a gain, from the model's power and the weights as they are; its inverse is the signal to
        noise.
    converged : float
        Part of the gains that had converged.
    integrations : int
        That have one gain; 0 for all of the scan.
    """

    term: str
    cell: Cell
    gains: NDArray[np.complex128]
    good: NDArray[np.bool_]
    error: NDArray[np.float64]
    converged: float
    integrations: int

    def at(self, values: NDArray, n_times: int) -> NDArray:
        """Values (time, …) of the solution's intervals as those of integrations."""
        number = np.arange(n_times) // (self.integrations or n_times)
        return values[np.minimum(number, len(values) - 1)]


@dataclass(frozen=True, eq=False)
class Solved:
    """What one solve has found.

    Attributes
    ----------
    cells : mapping
        Cell → term → Solution.
    directions : mapping
        Cell → directions with gains of their own, in the order of the solutions', of which the
        field is the first.
    refused : frozenset
        Fields and windows whose χ² was not lower with these gains than without: they count as
        never solved.
    scales : mapping
        Field and window → by what errors are larger than the weights say, default 1. It belongs to the
        solve: what was taken for a gain once stays one, or data would be divided by others
        than they are multiplied by.
    """

    cells: Mapping[Cell, Mapping[str, Solution]]
    directions: Mapping[Cell, tuple[int, ...]]
    refused: frozenset[Key] = frozenset()
    scales: Mapping[Key, float] = dataclasses.field(default_factory=dict)

    def of_field(self, cell: Cell, n_times: int) -> Gain:
        """Product of G and K."""
        terms = self._terms(cell)
        if "G" not in terms:
            return Gain.none(n_times)
        phase = terms["G"]
        good, error = phase.good[..., 0], phase.error[..., 0]
        total = phase.at(phase.gains[:, :, :, 0], n_times)
        if "K" in terms:
            delay = terms["K"]
            total = total * delay.at(delay.gains[:, :, :, 0], n_times)
            good = phase.at(good, n_times) & delay.at(delay.good[..., 0], n_times)
        else:
            good = phase.at(good, n_times)
        error = phase.at(error, n_times)
        return Gain(total, ~good & np.isfinite(error), self._significant(cell, good, error))

    def of_direction(self, cell: Cell, direction: int, n_times: int) -> Gain:
        """J or dE of a direction."""
        terms = self._terms(cell)
        found = next((terms[name] for name in OF_DIRECTIONS if name in terms), None)
        if found is None or direction not in self.directions[cell]:
            return Gain.none(n_times)
        axis = self.directions[cell].index(direction) + 1
        good = found.at(found.good[..., axis], n_times)
        error = found.at(found.error[..., axis], n_times)
        return Gain(found.at(found.gains[:, :, :, axis], n_times), ~good & np.isfinite(error),
                    self._significant(cell, good, error))

    def _significant(self, cell: Cell, good: NDArray, error: NDArray) -> NDArray[np.bool_]:
        return np.asarray(good & (self.scales.get(cell[:2], 1.0) * error < 1 / LEAST_SNR))

    def _terms(self, cell: Cell) -> Mapping[str, Solution]:
        return {} if cell[:2] in self.refused else self.cells.get(cell, {})


@dataclass(frozen=True, eq=False)
class Gain:
    """Gains of one scan, (time, chan or 1, ant or 1, receptor), by integrations.

    Where they failed, (time, ant or 1), and where they stand out of the noise.
    """

    values: NDArray[np.complex128]
    failed: NDArray[np.bool_]
    significant: NDArray[np.bool_]

    @staticmethod
    def none(n_times: int) -> Gain:
        """That of what was not solved for: 1, neither failed nor significant."""
        no = np.zeros((n_times, 1), np.bool_)
        return Gain(np.ones((n_times, 1, 1, 1), np.complex128), no, no)

    def or_one(self) -> Gain:
        """The same, 1 where it is not significant."""
        return Gain(np.where(self.significant[:, None, :, None], self.values, 1.0), self.failed,
                    self.significant)

    def times(self, other: Gain) -> Gain:
        """Product of two; it fails where one does."""
        return Gain(self.values * other.values, self.failed | other.failed,
                    self.significant | other.significant)

    def inverse(self) -> Gain:
        """That which takes it off."""
        return Gain(1 / self.values, self.failed, self.significant)


def solution(term: str, cell: Cell, gains: NDArray, flags: NDArray, power: NDArray,
             converged: float, integrations: int) -> Solution:
    """A solution of what a solver has written.

    Parameters
    ----------
    term : str
    cell : (int, int, int)
    gains : ndarray (time, chan, ant, direction, corr)
        Diagonal; of four correlations the first and the last.
    flags : ndarray (time, chan, ant, direction)
    power : ndarray (time, chan, ant, direction, corr)
        JᴴJ of the diagonal: Σ w |M|² over the antenna's baselines and the cell.
    converged : float
    integrations : int
    """
    ends = [0, -1]
    gains = np.asarray(gains, np.complex128)[..., ends]
    size = np.abs(gains)
    finite = np.isfinite(gains).all(axis=-1) & (size < _MOST_GAIN).all(axis=-1)
    good = (finite & (flags == 0)).all(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.abs(np.asarray(power)[..., ends]).sum(axis=1).min(axis=-1)
        error = np.where(least > 0, 1 / np.sqrt(least), np.inf)
    error[~np.isfinite(error)] = np.inf
    return Solution(term, cell, np.where(np.isfinite(gains), gains, 1.0), good, error, converged,
                    integrations)


def receptors_of(correlations: Iterable[int]) -> NDArray[np.int64]:
    """Receptor of the first and second antenna in each product, (corr, 2), of casacore's codes."""
    names = [CORRELATIONS[code] for code in correlations]
    return np.array([["RXLY".index(letter) // 2 for letter in name] for name in names])


def seen_through(vis: NDArray, gains: NDArray, cell: NDArray, antenna1: NDArray, antenna2: NDArray,
                 correlations: Iterable[int]) -> NDArray[np.complex128]:
    """g_p V_pq g_q*, (row, chan, corr).

    Parameters
    ----------
    vis : ndarray (row, chan, corr)
    gains : ndarray (cell, chan or 1, ant, receptor)
        Of whatever: the inverse of gains takes them off.
    cell : ndarray (row,) int
        Along the first axis of the gains.
    antenna1, antenna2 : ndarray (row,)
    correlations : iterable of int
        casacore's codes.
    """
    out: NDArray[np.complex128] = np.zeros(vis.shape, np.complex128)
    corrupt(np.ascontiguousarray(vis, np.complex128), np.ascontiguousarray(gains),
            np.ascontiguousarray(cell, np.int64), np.ascontiguousarray(antenna1, np.int64),
            np.ascontiguousarray(antenna2, np.int64), receptors_of(correlations), out)
    return out


def chi_squared(vis: NDArray, weight: NDArray) -> float:
    """Σ w |V|² over what is finite."""
    power = weight * (vis.real ** 2 + vis.imag ** 2)
    return float(power[np.isfinite(power)].sum())
