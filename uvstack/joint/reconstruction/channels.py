"""Which channels of the visibilities make a channel of the reconstruction.

* "dish": those next to each channel of the dish, so that its map is taken as it is; the default.
  Visibilities farther from every one than half a step of the dish's are left out, with a warning.
* "all": every frequency of the visibilities.
* a number: as many equal steps over all of them, as `uvstack image --channels-out` makes.

Where the mean frequency of a channel is none of the dish's, its map is interpolated between two.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from uvstack.checks import whole_number
from uvstack.errors import ImageError, UvstackWarning
from uvstack.imaging.planes import channels_within, plane_axis, plane_channels
from uvstack.records import SpectralWindow

#: (set, data description) → its channels.
Channels = dict[tuple[int, int], NDArray[np.intp]]


def joint_channels(windows: Mapping[tuple[int, int], SpectralWindow], how: str | int,
                   dish: NDArray[np.float64] | None,
                   dish_name: str) -> list[tuple[Channels, tuple[float, float]]]:
    """Channels of each plane and the band (Hz) that they lie in, by rising frequency.

    Parameters
    ----------
    windows : mapping
        (set, data description) → its spectral window.
    how : {"dish", "all"} or int
    dish : ndarray (chan,) or None
        Frequencies of the dish, Hz, in any order; None where it says none.
    dish_name : str
        For errors.

    Raises
    ------
    ImageError
        There is no such choice, or the frequencies of both instruments do not overlap.
    """
    known = np.unique(np.concatenate([one.frequency for one in windows.values()]))
    if isinstance(how, str) and how not in ("dish", "all"):
        raise ImageError(f"channels is {how!r}; wanted is dish, all or a number of planes")
    if not isinstance(how, str):
        how = whole_number("channels", how, 1)
    if not isinstance(how, str):
        axis = plane_axis(windows.values(), how)
        edges, parts = axis.edges, plane_channels(windows, axis)
    elif how == "all":
        edges = _between(known)
    elif dish is None or dish.size == 1:
        edges = np.array([known[0] - _half_width(windows), known[-1] + _half_width(windows)])
    else:
        edges = _between(np.unique(dish))
    if isinstance(how, str):
        parts = channels_within(windows, edges)
    found = [(channels, (float(low), float(high))) for channels, low, high in zip(
        parts, edges[:-1], edges[1:], strict=True) if channels]
    if not found:
        raise ImageError(f"{dish_name} has frequencies around {edges[0] / 1e9:.6g} to "
                         f"{edges[-1] / 1e9:.6g} GHz and the visibilities {known[0] / 1e9:.6g} to "
                         f"{known[-1] / 1e9:.6g} GHz; wanted are frequencies that overlap")
    used = sum(len(part) for channels, _ in found for part in channels.values())
    there = sum(one.frequency.size for one in windows.values())
    if used < there:
        warnings.warn(UvstackWarning(
            f"{there - used} of {there} channels of the visibilities lie beyond those of "
            f"{dish_name}, {edges[0] / 1e9:.6g} to {edges[-1] / 1e9:.6g} GHz, and are left out"),
            stacklevel=2)
    return found


def _half_width(windows: Mapping[tuple[int, int], SpectralWindow]) -> float:
    return max(float(np.abs(one.width).max()) for one in windows.values()) / 2


def _between(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges half way between frequencies that rise, and as far beyond the first and the last."""
    if frequency.size == 1:
        return frequency[0] * np.array([1.0 - 1e-3, 1.0 + 1e-3])
    middle = (frequency[1:] + frequency[:-1]) / 2
    return np.concatenate([[2 * frequency[0] - middle[0]], middle,
                           [2 * frequency[-1] - middle[-1]]])
