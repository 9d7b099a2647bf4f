"""Sums of phasors over many sky positions: the cost of stacking, done as cheaply as the geometry allows.

Two forms give the same factor. The direct form evaluates one phase a visibility and position. The antenna form uses that
(u, v, w) of a baseline is the difference of two antennas' coordinates: with the phasors of the antennas of one time and
channel in a matrix K (ant, pos), all its baselines follow from one product K C Kᴴ. For 27 antennas that is four times
cheaper than the direct form, itself 25 times cheaper than a plain float64 loop. Antenna coordinates are solved from
(u, v, w) itself, time by time, never taken from the ANTENNA table; where a time does not decompose to `TURN_TOLERANCE`
at any position, or has too few baselines to profit (baseline-dependent averaging, baseline order), the direct form is
taken. Memory is that of the result. Limits: float32 phasors, relative error of the factor about 2e-6 rms.
"""

from __future__ import annotations

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.uv import kernels

#: Largest error of phase, in turns, that the antenna form may add.
TURN_TOLERANCE = 1e-6
#: Measured: a phase of the direct form costs about this many entries of the antennas' product.
_DIRECT_COST = 7.0
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
    Lindroos et al. (2015), equation 5. The sum over positions of conj(F) with c = A S / n is equation 1 for point sources.
    """
    lmn = np.ascontiguousarray(lmn, dtype=np.float64)
    coefficient = np.ascontiguousarray(coefficient, dtype=np.float32)
    first = np.array([0, lmn.shape[1]]) if first is None else np.asarray(first, dtype=np.int64)
    factor = np.zeros((first.size - 1, uvw.shape[0], frequency.size), np.complex64)
    for group in _groups(uvw, antenna1, antenna2, time, frequency, lmn, usable, method):
        if group.coordinate is None:
            kernels.direct_factor(group.rows, uvw, lmn, frequency, coefficient, first, factor)
        else:
            kernels.antenna_factor(
                group.rows, group.ant1, group.ant2, group.coordinate, lmn, frequency, group.uniform, coefficient,
                first, factor)
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
    for group in _groups(uvw, antenna1, antenna2, time, frequency, lmn, usable, method):
        if group.coordinate is None:
            kernels.direct_position_sums(group.rows, uvw, lmn, frequency, coefficient, value, sums)
        else:
            kernels.antenna_position_sums(
                group.rows, group.ant1, group.ant2, group.coordinate, lmn, frequency, group.uniform, coefficient,
                value, sums)
    return sums


class _Group:
    """Rows that are done together: those of one time in the antenna form, any in the direct form (no coordinate)."""

    __slots__ = ("rows", "ant1", "ant2", "coordinate", "uniform")

    def __init__(self, rows, ant1=None, ant2=None, coordinate=None, uniform=False):
        self.rows, self.ant1, self.ant2, self.coordinate, self.uniform = rows, ant1, ant2, coordinate, uniform


def _groups(uvw, antenna1, antenna2, time, frequency, lmn, usable, method):
    """Yield the groups of rows, each with the cheapest form that is accurate enough."""
    if method not in ("auto", "antenna", "direct"):
        raise ValueError(f'method is {method!r}; wanted "auto", "antenna" or "direct"')
    if usable is None:
        usable = np.ones(uvw.shape[0], np.bool_)
    usable = usable & np.isfinite(uvw).all(axis=1)
    if not usable.any() or lmn.shape[1] == 0:
        return
    if method == "direct":
        yield _Group(np.flatnonzero(usable))
        return
    largest_lmn = np.abs(lmn).max()
    tolerance = TURN_TOLERANCE * SPEED_OF_LIGHT / (frequency.max() * largest_lmn) if largest_lmn > 0 else np.inf
    uniform = _uniform(frequency, np.abs(uvw[usable]).max() * largest_lmn)
    rows = np.flatnonzero(usable)
    order = rows[np.argsort(time[rows], kind="stable")]
    direct = []
    for same_time in np.split(order, np.flatnonzero(np.diff(time[order])) + 1):
        present, index = np.unique(np.concatenate([antenna1[same_time], antenna2[same_time]]), return_inverse=True)
        if method == "auto" and same_time.size * _DIRECT_COST < present.size**2:
            direct.append(same_time)
            continue
        ant1, ant2 = index[: same_time.size], index[same_time.size :]
        coordinate = np.empty((present.size, 3))
        residual = kernels.antenna_coordinates(
            uvw[same_time], ant1, ant2, np.ones(same_time.size, np.bool_), coordinate)
        if not residual <= tolerance:
            if method == "antenna":
                raise ValueError(f"(u, v, w) are no differences of antenna coordinates: residual {residual:.3g} m")
            direct.append(same_time)
            continue
        yield _Group(same_time, ant1, ant2, coordinate, uniform)
    if direct:
        yield _Group(np.sort(np.concatenate(direct)))


def _uniform(frequency: np.ndarray, path: float) -> bool:
    """Whether phases of evenly spaced channels serve: path is the longest baseline times the largest direction cosine."""
    even = frequency[0] + np.arange(frequency.size) * (frequency[1] - frequency[0]) if frequency.size > 1 else frequency
    return bool(np.abs(even - frequency).max() * path / SPEED_OF_LIGHT < _UNIFORM_TOLERANCE)
