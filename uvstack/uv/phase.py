"""Sums of phasors over many sky positions.

The cost of stacking, done as cheaply as the geometry allows.

Two forms give the same factor. The direct form evaluates one phase a visibility and position. The
antenna form uses that (u, v, w) of a baseline is the difference of two antennas' coordinates: with
the phasors of the antennas of one time and channel in a matrix K (ant, pos), all its baselines
follow from one product K C Kᴴ. For 27 antennas that is six times cheaper than the direct form,
itself 25 times cheaper than a plain float64 loop. Antenna coordinates are solved from (u, v, w)
itself, time by time, never taken from the ANTENNA table; where a time does not decompose to
`TURN_TOLERANCE` at any position, or has too few baselines to profit (baseline-dependent averaging,
baseline order), the direct form is taken. For tens of thousands of positions a third form takes
over, in which they are put on a grid (`uvstack.uv.many_positions`). Which form is the cheapest
follows from measured costs. Memory is that of the result, and of the grid. Limits: float32 phasors,
relative error of the factor about 4e-7 rms, on a grid 2e-6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.uv import kernels
from uvstack.uv.many_positions import (
    Geometry,
    expansion,
    geometry,
    gridded_factor,
    gridded_position_sums,
)

#: Largest error of phase, in turns, that the antenna form may add.
TURN_TOLERANCE = 1e-6
# Measured, ns of one thread: a phase of the direct form, and an entry of the antennas' product.
_DIRECT_COST, _ANTENNA_COST = 0.82, 0.066
#: Channels are evenly spaced if each lies this close, in turns at the farthest position and longest
#: baseline.
_UNIFORM_TOLERANCE = 1e-6


def phase_factor(
    uvw: np.ndarray,
    antenna1: np.ndarray,
    antenna2: np.ndarray,
    time: np.ndarray,
    frequency: np.ndarray,
    lmn: np.ndarray,
    coefficient: np.ndarray,
    first: np.ndarray | None = None,
    *,
    usable: np.ndarray | None = None,
    method: str = "auto",
) -> np.ndarray:
    """Factors F = Σ_k c_k(ν) exp(−2πi ν/c (u l_k + v m_k + w (n_k − 1))) of every row and channel.

    Parameters
    ----------
    uvw : ndarray (row, 3) float64
        Metres, as in a measurement set.
    antenna1, antenna2 : ndarray (row,) int
    time : ndarray (row,)
        Rows of equal value share their antenna coordinates.
    frequency : ndarray (chan,)
        Hz.
    lmn : ndarray (3, pos) float64
        l, m and n − 1 of each position from the phase centre.
    coefficient : ndarray (chan, pos)
        Real c_k(ν), for a stack W_k / A_k(ν).
    first : ndarray (subset + 1,) int, optional
        Where each subset of consecutive positions begins, and the end of the last; default one
        subset.
    usable : ndarray (row,) bool, optional
        Rows whose uvw may be trusted; the factor of others is not defined. Default all.
    method : {"auto", "antenna", "direct", "grid"}

    Returns
    -------
    ndarray (subset, row, chan) complex64

    Notes
    -----
    Lindroos et al. (2015), equation 5. With c = A S, conj(F) is the model of point sources of
    equation 1.
    """
    lmn = np.ascontiguousarray(lmn, dtype=np.float64)
    coefficient = np.ascontiguousarray(coefficient, dtype=np.float32)
    first = np.array([0, lmn.shape[1]]) if first is None else np.asarray(first, dtype=np.int64)
    factor = np.zeros((first.size - 1, uvw.shape[0], frequency.size), np.complex64)
    work = _share(uvw, antenna1, antenna2, time, frequency, lmn, coefficient, first, usable, method)
    if work.gridded is not None:
        where, terms, factors = work.gridded
        for i, (begin, end) in enumerate(zip(first[:-1], first[1:], strict=True)):
            if end > begin:
                part = slice(begin, end)
                factor[i, work.direct] = gridded_factor(uvw[work.direct], frequency, lmn[:, part],
                                                        terms, factors[:, part], where)
        return factor
    kernels.direct_factor(work.direct, uvw, lmn, frequency, coefficient, first, factor)
    if work.antenna is not None:
        kernels.antenna_factor(*work.antenna, lmn, frequency, work.uniform, coefficient, first,
                               factor)
    return factor


def position_sums(
    uvw: np.ndarray,
    antenna1: np.ndarray,
    antenna2: np.ndarray,
    time: np.ndarray,
    frequency: np.ndarray,
    lmn: np.ndarray,
    coefficient: np.ndarray,
    value: np.ndarray,
    *,
    method: str = "auto",
) -> np.ndarray:
    """Sums Σ_row,chan c_k(ν) Re(value exp(−2πi ν/c (u l_k + …))) of every position.

    The transpose of `phase_factor`.

    Arguments as in `phase_factor`; value (row, chan) complex64 holds weighted visibilities, zero
    where unused.

    Returns
    -------
    ndarray (pos,) float64
        In the unit of value times coefficient.
    """
    lmn = np.ascontiguousarray(lmn, dtype=np.float64)
    coefficient = np.ascontiguousarray(coefficient, dtype=np.float32)
    sums = np.zeros(lmn.shape[1])
    usable = (value != 0).any(axis=1)
    work = _share(uvw, antenna1, antenna2, time, frequency, lmn, coefficient,
                  np.array([0, lmn.shape[1]]), usable, method)
    if work.gridded is not None:
        where, terms, factors = work.gridded
        return gridded_position_sums(uvw[work.direct], frequency, lmn, terms, factors,
                                     value[work.direct], where)
    kernels.direct_position_sums(work.direct, uvw, lmn, frequency, coefficient, value, sums)
    if work.antenna is not None:
        kernels.antenna_position_sums(*work.antenna, lmn, frequency, work.uniform, coefficient,
                                      value, sums)
    return sums


def binned_position_sums(
    uvw: np.ndarray,
    antenna1: np.ndarray,
    antenna2: np.ndarray,
    time: np.ndarray,
    frequency: np.ndarray,
    lmn: np.ndarray,
    coefficient: np.ndarray,
    value: np.ndarray,
    bins: np.ndarray,
    n_bins: int,
) -> np.ndarray:
    """Sums of `position_sums` apart for bins of rows, (bin, pos) float64.

    Arguments as there; bins (row,) int, from 0 to n_bins − 1. Cost: that of `position_sums`, but
    never on a grid, which would want a transform for each bin.
    """
    lmn = np.ascontiguousarray(lmn, dtype=np.float64)
    coefficient = np.ascontiguousarray(coefficient, dtype=np.float32)
    sums = np.zeros((n_bins, lmn.shape[1]))
    usable = (value != 0).any(axis=1)
    work = _share(uvw, antenna1, antenna2, time, frequency, lmn, coefficient,
                  np.array([0, lmn.shape[1]]), usable, "auto", may_grid=False)
    kernels.direct_binned_sums(work.direct, uvw, lmn, frequency, coefficient, value, bins, sums)
    if work.antenna is not None:
        kernels.antenna_binned_sums(*work.antenna, lmn, frequency, work.uniform, coefficient,
                                    value, bins, sums)
    return sums


class _Work(NamedTuple):
    """Who does what.

    Attributes
    ----------
    direct : ndarray (n,) int
        Rows for the direct form, or for the grid.
    antenna : tuple of arrays or None
        Rows for the antenna form: see `kernels.antenna_factor`.
    uniform : bool
        Whether the channels are evenly spaced.
    gridded : tuple or None
        Geometry of the grid, terms and factors of the expansion in frequency; then all rows are in
        `direct`.
    """

    direct: np.ndarray
    antenna: tuple[np.ndarray, ...] | None = None
    uniform: bool = False
    gridded: tuple[Geometry, np.ndarray, np.ndarray] | None = None


def _share(uvw, antenna1, antenna2, time, frequency, lmn, coefficient, first, usable,
           method, may_grid=True) -> _Work:
    """Share the usable rows out to the forms.

    The cheapest that is accurate enough, time by time.
    """
    if method not in ("auto", "antenna", "direct", "grid"):
        raise ValueError(f'method is {method!r}; wanted "auto", "antenna", "direct" or "grid"')
    good = np.isfinite(uvw).all(axis=1)
    rows = np.flatnonzero(good if usable is None else good & usable)
    n_positions = lmn.shape[1]
    if n_positions == 0 or rows.size == 0:
        return _Work(rows[:0])
    if method == "direct":
        return _Work(rows)
    rows = rows[np.argsort(time[rows], kind="stable")]
    bounds, n_ants, residual, arrays = _solve_times(uvw, antenna1, antenna2, time, rows)
    # A residual of the coordinates shifts the phase by this much at the farthest position and
    # highest frequency.
    fits = residual * np.abs(lmn).max() * frequency.max() / SPEED_OF_LIGHT <= TURN_TOLERANCE
    if method == "antenna" and not fits.all():
        raise ValueError("(u, v, w) are no differences of antenna coordinates: residual "
                         f"{residual.max():.3g} m")
    n_rows = np.diff(bounds)
    direct_cost, antenna_cost = n_rows * _DIRECT_COST, n_ants**2 * _ANTENNA_COST
    chosen = fits & ((antenna_cost <= direct_cost) | (method == "antenna"))
    cost = float(np.where(chosen, antenna_cost, direct_cost).sum()) * frequency.size * n_positions
    gridded = None if method == "antenna" or not may_grid else _grid_if_cheaper(
        uvw[rows], frequency, lmn, coefficient, first, np.inf if method == "grid" else cost)
    if gridded is not None:
        return _Work(np.sort(rows), gridded=gridded)
    if method == "grid":
        raise ValueError("these baselines and positions want a grid that is too large")
    ant1, ant2, coordinate = arrays
    taken = np.repeat(chosen, n_rows)
    antenna = (np.concatenate([[0], np.cumsum(n_rows[chosen])]), rows[taken], ant1[taken],
               ant2[taken], n_ants[chosen], coordinate[chosen])
    longest_path = np.abs(uvw[rows]).max() * np.abs(lmn).max()
    return _Work(np.sort(rows[~taken]), antenna if chosen.any() else None,
                 _uniform(frequency, longest_path))


def _solve_times(uvw, antenna1, antenna2, time, rows):
    """Antenna coordinates of the rows, sorted by time.

    Bounds of the times, antennas and residual of each, arrays.
    """
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(time[rows])) + 1, [rows.size]])
    label = np.empty(int(max(antenna1[rows].max(), antenna2[rows].max())) + 1, np.int64)
    ant1, ant2 = np.empty(rows.size, np.int64), np.empty(rows.size, np.int64)
    n_ants, residual = np.empty(bounds.size - 1, np.int64), np.empty(bounds.size - 1)
    coordinate = np.empty((bounds.size - 1, min(label.size, 2 * int(np.diff(bounds).max())), 3))
    kernels.solve_antennas(bounds, rows, uvw, antenna1, antenna2, label, ant1, ant2, n_ants,
                           coordinate, residual)
    return bounds, n_ants, residual, (ant1, ant2, coordinate)


def _grid_if_cheaper(uvw, frequency, lmn, coefficient, first, cost: float):
    """Geometry, terms and factors of the form on a grid, where it costs less than `cost` ns of one thread."""
    where = geometry(uvw, frequency, lmn)
    if where is None:
        return None
    transforms = cost / where.cost / np.count_nonzero(np.diff(first))
    if transforms < 1:
        return None
    found = expansion(frequency, coefficient, int(min(transforms, frequency.size)))
    return None if found is None else (where, *found)


def _uniform(frequency: np.ndarray, path: float) -> bool:
    """Whether phases of evenly spaced channels serve.

    Path is the longest baseline times the largest direction cosine.
    """
    even = frequency[0] + np.arange(frequency.size) * (frequency[1] - frequency[0]) if frequency.size > 1 else frequency
    return bool(np.abs(even - frequency).max() * path / SPEED_OF_LIGHT < _UNIFORM_TOLERANCE)
