"""Where a fit of antenna phases may start.

Delay, rate and phase of each antenna from a fringe search.

The phases of a fit in delay and rate have a maximum every turn, so that it must start within about
half a fringe of the truth. For each baseline to a reference antenna the visibilities, divided by
the phase of a model where one is given, are transformed from (time, channel) to (rate, delay) with
zeros around them; the peak, refined by parabolas, is the fringe (Schwab & Cotton 1983). A search of
each baseline by itself wants a signal of about 6 σ on it; the fit that follows uses all. Antennas
without a baseline to the reference get NaN. Cost: one transform of 16 times the data for each
antenna.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len

from uvstack.errors import FitError

_PADDING = 4
#: Channels and times may be off an even grid by this share of its spacing; it may be so many times
#: longer than they are many.
_UNEVEN, _LONGEST = 0.02, 64


@dataclass(frozen=True, eq=False)
class Fringes:
    """Phase of antenna a: 2π (delay (ν − ν₀) + rate t) + phase, relative to the reference antenna.

    Attributes
    ----------
    delay : ndarray (ant,)
        Seconds.
    rate : ndarray (ant,)
        Hz.
    phase : ndarray (ant,)
        Radians, at ν₀ and the first time, within ±π.
    snr : ndarray (ant,)
        Height of the peak over the standard deviation that the weights imply.
    """

    delay: np.ndarray
    rate: np.ndarray
    phase: np.ndarray
    snr: np.ndarray


def fringe_start(
    vis: np.ndarray, weight: np.ndarray, frequency: np.ndarray, time: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray,
    reference: int, *, nu0: float | None = None, model: np.ndarray | None = None,
) -> Fringes:  # fmt: skip
    """Delay, rate and phase of each antenna relative to a reference, for the starting values of `fit_visibilities`.

    Parameters
    ----------
    vis : ndarray (row, chan) complex
        Jy; row (p, q) has the phase of antenna p minus that of q.
    weight : ndarray (row, chan)
        1/Jy² of a real part; 0 where flagged.
    frequency : ndarray (chan,)
        Hz, on an even grid, rising or falling; gaps may be.
    time : ndarray (row,)
        Seconds from any origin, on an even grid too; t is counted from the first, as in
        `fit_visibilities`.
    antenna1, antenna2 : ndarray (row,) int
    reference : int
        Antenna whose phase is 0.
    nu0 : float, optional
        Hz, for the phase; default the first channel, as in `fit_visibilities`.
    model : ndarray (row, chan) complex, optional
        Of the source; default a point at the phase centre.

    Raises
    ------
    FitError
        No baseline to the reference has a weight, or channels or times are not evenly spaced.
    """
    frequency, time = np.atleast_1d(np.asarray(frequency, np.float64)), np.asarray(time, np.float64)
    time = time - time.min() if time.size else time
    first, second = np.asarray(antenna1), np.asarray(antenna2)
    if np.shape(vis) != (time.size, frequency.size) or np.shape(weight) != np.shape(vis):
        raise FitError(f"vis {np.shape(vis)} and weight {np.shape(weight)}; wanted {time.size} "
                       f"rows and {frequency.size} channels")
    width, channel = _grid(frequency, "channels")
    times, index = np.unique(time, return_inverse=True)
    integration, place = _grid(times, "times")
    slot, shape = place[index], (int(place[-1]) + 1, int(channel[-1]) + 1)
    nu0 = frequency[0] if nu0 is None else nu0
    n_ant = int(max(first.max(initial=-1), second.max(initial=-1), reference)) + 1
    delay, rate, phase, snr = (np.full(n_ant, np.nan) for _ in range(4))
    delay[reference] = rate[reference] = phase[reference] = 0.0
    for antenna in range(n_ant):
        rows = np.flatnonzero(((first == antenna) & (second == reference))
                              | ((first == reference) & (second == antenna)))
        used = np.where(np.isfinite(vis[rows]), weight[rows], 0.0)
        if antenna == reference or not (used > 0).any():
            continue
        turned = np.where(used > 0, vis[rows], 0) if model is None else np.where(
            used > 0, vis[rows] * np.conj(model[rows]), 0)
        turned = used * np.where((first[rows] == antenna)[:, None], turned, np.conj(turned))
        grid = np.zeros(shape, complex)
        np.add.at(grid, (slot[rows, None], channel), turned)
        found = _peak(np.fft.fft2(grid, (_padded(shape[0]), _padded(shape[1]))))
        rate[antenna], delay[antenna] = found[0] / integration, found[1] / width
        turns = delay[antenna] * (frequency - nu0) + rate[antenna] * time[rows, None]
        total = (turned * np.exp(-2j * np.pi * turns)).sum()
        phase[antenna] = np.angle(total)
        power = used if model is None else used * np.abs(model[rows]) ** 2
        snr[antenna] = abs(total) / np.sqrt(power.sum())
    if np.isnan(np.delete(delay, reference)).all():
        raise FitError(f"antenna {reference} has no baseline with data; choose another reference")
    return Fringes(delay, rate, phase, snr)


def _padded(n: int) -> int:
    """Length of the transform; one channel or time has no slope to look for."""
    return 1 if n == 1 else next_fast_len(_PADDING * n)


def _grid(values: np.ndarray, what: str) -> tuple[float, np.ndarray]:
    """Spacing of values, which may leave gaps, and the place of each on the grid that starts at the first."""
    if values.size == 1:
        return 1.0, np.zeros(1, int)
    span, steps = values[-1] - values[0], np.diff(values)
    n = round(span / steps[np.abs(steps).argmin()]) if steps.all() else 0
    places = np.rint((values - values[0]) / span * n).astype(int)
    if n <= 0 or np.abs((values - values[0]) / span * n
                        - places).max() > _UNEVEN or n > _LONGEST * values.size:
        raise FitError(f"{what} are not evenly spaced, which a fringe search wants; give one "
                       "window, or one scan, at a time")
    return float(span / n), places


def _peak(transform: np.ndarray) -> list[float]:
    """Place of the highest point along each axis, in turns a sample within ±1/2, refined by a parabola."""
    height = np.abs(transform)
    top = np.unravel_index(height.argmax(), height.shape)
    found = []
    for axis, n in enumerate(height.shape):
        if n == 1:
            found.append(0.0)
            continue
        at = [list(top) for _ in range(3)]
        at[0][axis], at[2][axis] = (top[axis] - 1) % n, (top[axis] + 1) % n
        low, middle, high = (height[tuple(i)] for i in at)
        bend = low - 2 * middle + high
        place = top[axis] + (0.5 * (low - high) / bend if bend < 0 else 0.0)
        found.append(float((place / n + 0.5) % 1.0 - 0.5))
    return found
