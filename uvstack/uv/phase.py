"""Sums of phasors over many sky positions: the cost of stacking, done as cheaply as the geometry allows.

Two forms give the same factor. The direct form evaluates one phase a visibility and position. The antenna form uses that
(u, v, w) of a baseline is the difference of two antennas' coordinates: with the phasors of the antennas of one time and
channel in a matrix K (ant, pos), all its baselines follow from one product K C Kᴴ. For 27 antennas that is six times
cheaper than the direct form, itself 25 times cheaper than a plain float64 loop. Antenna coordinates are solved from
(u, v, w) itself, time by time, never taken from the ANTENNA table; where a time does not decompose to `TURN_TOLERANCE`
at any position, or has too few baselines to profit (baseline-dependent averaging, baseline order), the direct form is
taken. Memory is that of the result. Limits: float32 phasors, relative error of the factor about 2e-6 rms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.uv import kernels

#: Largest error of phase, in turns, that the antenna form may add.
TURN_TOLERANCE = 1e-6
#: Measured: a phase of the direct form costs about this many entries of the antennas' product.
_DIRECT_COST = 12.0
#: Channels are evenly spaced if each lies this close, in turns at the farthest position and longest baseline.
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
        Where each subset of consecutive positions begins, and the end of the last; default one subset.
    usable : ndarray (row,) bool, optional
        Rows whose uvw may be trusted; the factor of others is not defined. Default all.
    method : {"auto", "antenna", "direct"}

    Returns
    -------
    ndarray (subset, row, chan) complex64

    Notes
    -----
    Lindroos et al. (2015), equation 5. With c = A S, conj(F) is the model of point sources of equation 1.
    """
    lmn = np.ascontiguousarray(lmn, dtype=np.float64)
    coefficient = np.ascontiguousarray(coefficient, dtype=np.float32)
    first = np.array([0, lmn.shape[1]]) if first is None else np.asarray(first, dtype=np.int64)
    factor = np.zeros((first.size - 1, uvw.shape[0], frequency.size), np.complex64)
    direct, times = _share(uvw, antenna1, antenna2, time, frequency, lmn, usable, method)
    kernels.direct_factor(direct, uvw, lmn, frequency, coefficient, first, factor)
    if times is not None:
        kernels.antenna_factor(*times.arrays, lmn, frequency, times.uniform, coefficient, first, factor)
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
    """Sums Σ_row,chan c_k(ν) Re(value exp(−2πi ν/c (u l_k + …))) of every position: the transpose of `phase_factor`.

    Arguments as in `phase_factor`; value (row, chan) complex64 holds weighted visibilities, zero where unused.

    Returns
    -------
    ndarray (pos,) float64
        In the unit of value times coefficient.
    """
    lmn = np.ascontiguousarray(lmn, dtype=np.float64)
    coefficient = np.ascontiguousarray(coefficient, dtype=np.float32)
    sums = np.zeros(lmn.shape[1])
    usable = (value != 0).any(axis=1)
    direct, times = _share(uvw, antenna1, antenna2, time, frequency, lmn, usable, method)
    kernels.direct_position_sums(direct, uvw, lmn, frequency, coefficient, value, sums)
    if times is not None:
        kernels.antenna_position_sums(*times.arrays, lmn, frequency, times.uniform, coefficient, value, sums)
    return sums


class _Times(NamedTuple):
    """Rows done in the antenna form: see `kernels.antenna_factor` for the arrays."""

    arrays: tuple[np.ndarray, ...]
    uniform: bool


def _share(uvw, antenna1, antenna2, time, frequency, lmn, usable, method) -> tuple[np.ndarray, _Times | None]:
    """Rows for the direct form, and those for the antenna form: the cheapest that is accurate enough, time by time."""
    if method not in ("auto", "antenna", "direct"):
        raise ValueError(f'method is {method!r}; wanted "auto", "antenna" or "direct"')
    good = np.isfinite(uvw).all(axis=1)
    rows = np.flatnonzero(good if usable is None else good & usable)
    if method == "direct" or rows.size == 0 or lmn.shape[1] == 0:
        return rows if lmn.shape[1] else rows[:0], None
    rows = rows[np.argsort(time[rows], kind="stable")]
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(time[rows])) + 1, [rows.size]])
    label = np.empty(int(max(antenna1[rows].max(), antenna2[rows].max())) + 1, np.int64)
    ant1, ant2 = np.empty(rows.size, np.int64), np.empty(rows.size, np.int64)
    n_ants, residual = np.empty(bounds.size - 1, np.int64), np.empty(bounds.size - 1)
    n_rows = np.diff(bounds)
    coordinate = np.empty((bounds.size - 1, min(label.size, 2 * int(n_rows.max())), 3))
    kernels.solve_antennas(bounds, rows, uvw, antenna1, antenna2, label, ant1, ant2, n_ants, coordinate, residual)
    longest_path = np.abs(uvw[rows]).max() * np.abs(lmn).max()
    # A residual of the coordinates shifts the phase by this much at the farthest position and highest frequency.
    fits = residual * np.abs(lmn).max() * frequency.max() / SPEED_OF_LIGHT <= TURN_TOLERANCE
    if method == "antenna" and not fits.all():
        raise ValueError(f"(u, v, w) are no differences of antenna coordinates: residual {residual.max():.3g} m")
    chosen = fits if method == "antenna" else fits & (n_rows * _DIRECT_COST >= n_ants**2)
    in_antenna_form = np.repeat(chosen, n_rows)
    arrays = (np.concatenate([[0], np.cumsum(n_rows[chosen])]), rows[in_antenna_form], ant1[in_antenna_form],
              ant2[in_antenna_form], n_ants[chosen], coordinate[chosen])
    return np.sort(rows[~in_antenna_form]), _Times(arrays, _uniform(frequency, longest_path)) if chosen.any() else None


def _uniform(frequency: np.ndarray, path: float) -> bool:
    """Whether phases of evenly spaced channels serve: path is the longest baseline times the largest direction cosine."""
    even = frequency[0] + np.arange(frequency.size) * (frequency[1] - frequency[0]) if frequency.size > 1 else frequency
    return bool(np.abs(even - frequency).max() * path / SPEED_OF_LIGHT < _UNIFORM_TOLERANCE)
