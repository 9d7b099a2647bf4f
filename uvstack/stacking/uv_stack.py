"""uv-stacking: the visibilities of all positions moved to the phase centre and averaged.

Lindroos et al. (2015), section 3.3. Within a pointing every visibility is multiplied by one factor
(equation 5),

    V_stack = V Σ_k W_k/A_k exp(−2πi ν/c (u l_k + v m_k + w (n_k − 1))) / Σ_k W_k ,

so the data keep their size however many positions there are. The sign is that of `uvstack`, which
moves a source to the phase centre; the one printed in the paper's text is opposite. Weights are
multiplied by Σ_k W_k (equation 6), which is what makes pointings with different positions add up
rightly. A is evaluated at every channel, W_k once for a pointing and spectral window at its central
frequency.

Everything here works on the arrays of one chunk. Cost: the factor, see `uvstack.uv.phase`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.records import Partition, UVRange
from uvstack.stacking.sums import BINS_MERGED, PositionTotals, StackSums
from uvstack.uv import kernels
from uvstack.uv.phase import binned_position_sums, phase_factor, position_sums
from uvstack.uv.profile import fine_bin_of
from uvstack.uv.stokes import parallel_hands
from uvstack.uv.transform import all_finite
from uvstack.uv.weights import apply_flags

#: Positions for which sums in bins of uv distance are kept: more would want much memory and time.
MOST_BINNED = 20_000


@dataclass(frozen=True)
class PointingPlan:
    """The positions that one pointing contributes to, in one spectral window, sorted by subset.

    Attributes
    ----------
    position : ndarray (pos,) int
        Numbers of the positions in the list.
    lmn : ndarray (3, pos)
        l, m, n − 1 from the phase centre.
    weight : ndarray (pos,)
        W_k.
    coefficient : ndarray (chan, pos) float32
        W_k / A_k(ν).
    first : ndarray (subset + 1,) int
        Where each subset begins.
    rotation : ndarray (subset, 3, 3) or None
        Turns (u, v, w) to the tangent plane of each subset; None leaves them as they are.
    """

    position: np.ndarray
    lmn: np.ndarray
    weight: np.ndarray
    coefficient: np.ndarray
    first: np.ndarray
    rotation: np.ndarray | None = None

    @property
    def norm(self) -> np.ndarray:
        """Σ W_k of each subset, (subset,)."""
        return np.add.reduceat(np.append(self.weight, 0.0),
                               self.first[:-1]) * (np.diff(self.first) > 0)


@dataclass(frozen=True)
class StackedPartition:
    """One stack of one partition: (u, v, w) (row, 3), vis (row, chan, corr) and Σ W_k.

    Norm 0 means nothing to stack.
    """

    uvw: np.ndarray
    vis: np.ndarray
    norm: float


def make_plan(position: np.ndarray, lmn: np.ndarray, weight: np.ndarray, primary_beam: np.ndarray,
              subset: np.ndarray, n_subsets: int,
              rotation: np.ndarray | None = None) -> PointingPlan:
    """Plan of one pointing and spectral window from per-position arrays.

    Parameters
    ----------
    position : ndarray (pos,) int
    lmn : ndarray (3, pos)
    weight : ndarray (pos,)
        W_k ≥ 0.
    primary_beam : ndarray (pos, chan)
        A_k(ν) > 0, power.
    subset : ndarray (pos,) int
        0 … n_subsets − 1.
    n_subsets : int
    rotation : ndarray (n_subsets, 3, 3), optional
    """
    order = np.argsort(subset, kind="stable")
    first = np.searchsorted(subset[order], np.arange(n_subsets + 1))
    coefficient = (weight[:, None] / primary_beam)[order].T.astype(np.float32)
    return PointingPlan(position[order], np.ascontiguousarray(lmn[:, order]), weight[order],
                        np.ascontiguousarray(coefficient), first, rotation)


def stack_partition(partition: Partition, plan: PointingPlan, key: tuple[int, int],
                    uv_range: UVRange, products: list[list[int]],
                    n_positions: int = 0) -> tuple[list[list[StackedPartition]], list[StackSums],
                                                    PositionTotals, int]:
    """Stacks of one partition, with their sums.

    Parameters
    ----------
    partition : Partition
        Its flags, weights and values are cleaned in place.
    plan : PointingPlan
    key : tuple of int
        Measurement set and field, under which the pointing's sums are kept.
    uv_range : UVRange
        Limits of the flux; the profile and the stacked data have none.
    products : list of list of int
        Subsets that belong to each stack. Without rotations a stack has one StackedPartition, else
        one for each subset.
    n_positions : int
        Length of the list of positions where sums for each of them are wanted (bootstrap), else 0.

    Returns
    -------
    stacked : list of list of StackedPartition
        One list for each product.
    sums : list of StackSums
        One for each product.
    by_position : PositionTotals
        Those of no position where n_positions is 0.
    n_not_finite : int

    Raises
    ------
    NumericalError
        A stacked visibility is not finite.
    """
    usable, n_not_finite = apply_flags(partition.vis, partition.flag, partition.flag_row,
                                       partition.weight)
    description = partition.data_description
    frequency = description.spw.frequency
    parallel = parallel_hands(description.correlations)
    wavenumber = frequency / SPEED_OF_LIGHT
    factor = phase_factor(partition.uvw, partition.antenna1, partition.antenna2, partition.time,
                          frequency, plan.lmn, plan.coefficient, plan.first, usable=usable)
    distance = _uv_distance(partition.uvw)
    value = np.empty(partition.vis.shape[:2], np.complex64)
    square, total = kernels.combine_parallel(partition.vis, partition.weight, parallel, distance,
                                             wavenumber, uv_range.limits, uv_range.unit == "m",
                                             value)
    squared_coefficients = np.add.reduceat(
        np.append((plan.coefficient.astype(np.float64) ** 2).mean(axis=0), 0.0), plan.first[:-1]) * (np.diff(plan.first) > 0)
    stacked, sums = [], []
    for subsets in products:
        product_sums = StackSums.empty()
        product_sums.pointings[key] = np.zeros(kernels.N_SUMS)
        product_sums.variance[key] = square * squared_coefficients[subsets].sum()
        stacked.append([_stack_one(partition, plan, factor, group, parallel, distance, wavenumber,
                                   uv_range, product_sums, key)
                        for group in ([[s] for s in subsets] if plan.rotation is not None
                                      else [subsets])])
        sums.append(product_sums)
    by_position = PositionTotals.empty(n_positions)
    if n_positions:
        rows = (partition.uvw, partition.antenna1, partition.antenna2, partition.time, frequency,
                plan.lmn, plan.coefficient)
        by_position.within[0, plan.position] = position_sums(*rows, value)
        by_position.within[1, plan.position] = total * plan.weight
        if n_positions <= MOST_BINNED:
            _add_bins(by_position.bins, n_positions, partition, plan, parallel, distance, rows)
    return stacked, sums, by_position, n_not_finite


def _add_bins(bins: dict[int, np.ndarray], n_positions: int, partition: Partition,
              plan: PointingPlan, parallel: np.ndarray, distance: np.ndarray,
              geometry: tuple[np.ndarray, ...]) -> None:
    """Set the sums of each position in bins of uv distance, of all unflagged data."""
    numbers, which = np.unique(fine_bin_of(distance) // BINS_MERGED, return_inverse=True)
    weight = partition.weight * parallel
    value = np.where(weight > 0, partition.vis * weight, 0).sum(axis=2, dtype=np.complex64)
    totals = np.bincount(which, weight.sum(axis=(1, 2), dtype=np.float64), numbers.size)
    uvw, antenna1, antenna2, time, frequency, lmn, coefficient = geometry
    found = binned_position_sums(uvw, antenna1, antenna2, time, frequency, lmn, coefficient, value,
                                 which, numbers.size)
    for i in np.flatnonzero(totals):
        bins[int(numbers[i])] = np.zeros((2, n_positions))
        bins[int(numbers[i])][:, plan.position] = found[i], totals[i] * plan.weight


def _stack_one(partition, plan, factor, subsets, parallel, distance, wavenumber, uv_range, sums,
               key) -> StackedPartition:
    """Stack the subsets into one, adding to sums."""
    norm = float(plan.norm[subsets].sum())
    uvw = partition.uvw
    if plan.rotation is not None:
        uvw = uvw @ plan.rotation[subsets[0]].T
        distance = _uv_distance(uvw)
    stacked = np.zeros_like(partition.vis)
    if norm > 0:
        combined = factor[0] if factor.shape[0] == 1 else factor[subsets].sum(axis=0)
        kernels.apply_factor(partition.vis, partition.weight, parallel, combined, norm, distance,
                             wavenumber, uv_range.limits, uv_range.unit == "m", stacked,
                             sums.pointings[key], sums.metres, sums.wavelengths)
        all_finite(f"stacked visibilities of measurement set {key[0]}, field {key[1]}", stacked)
    return StackedPartition(uvw, stacked, norm)


def _uv_distance(uvw: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(uvw[:, :2]).all(axis=1), np.hypot(uvw[:, 0], uvw[:, 1]), 0.0)
