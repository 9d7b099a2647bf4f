"""Planes of a cube, and bands of channels that are gridded together.

A cube of N planes parts the band, from the lower edge of the lowest to the upper edge of the
highest channel selected, into N equal steps, so that its axis of frequency is even as FITS has it;
a channel belongs to the step that holds its centre. All spectral windows and sets go by frequency
alone, as stored: nothing is regridded or turned into another frame. Where all channels are alike
and N divides them, a plane holds as many channels as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.records import SpectralWindow
from uvstack.uv.taylor import channel_groups

#: Through one primary beam go channels within this part of their frequency: at 0.2 of the power it
#: changes by 6 % to both sides, and what of this is not even in frequency is below 1e-3.
WIDEST_BAND = 0.04
#: With Taylor terms a band is at most this part of the whole one: the beam's slope that is lost
#: inside is 1/n² of it.
FEWEST_BANDS = 8


class PlaneAxis(NamedTuple):
    """Even steps of frequency: their centres (chan,) and width, Hz."""

    frequency: NDArray[np.float64]
    width: float

    @property
    def edges(self) -> NDArray[np.float64]:
        """(chan + 1,), Hz."""
        return np.append(self.frequency - self.width / 2, self.frequency[-1] + self.width / 2)


def plane_axis(windows: Iterable[SpectralWindow], n: int) -> PlaneAxis:
    """Axis of a cube of n planes over all channels of some spectral windows.

    Raises
    ------
    ImageError
        n is no number of planes, or larger than that of different channels.
    """
    windows = list(windows)
    if isinstance(n, bool) or int(n) != n or n < 1:
        raise ImageError(f"channels_out is {n}; wanted is a whole number of planes, 1 or more")
    low = min(float((w.frequency - w.width / 2).min()) for w in windows)
    high = max(float((w.frequency + w.width / 2).max()) for w in windows)
    different = np.unique(np.concatenate([w.frequency for w in windows])).size
    if n > different:
        raise ImageError(f"{n} planes of {different} channels; wanted are at most as many planes "
                         "as channels")
    width = (high - low) / n
    return PlaneAxis(np.asarray(low + width * (np.arange(n) + 0.5), np.float64), width)


def plane_channels(windows: Mapping[tuple[int, int], SpectralWindow],
                   axis: PlaneAxis) -> list[dict[tuple[int, int], NDArray[np.intp]]]:
    """Of each plane the channels of every (set, data description) that has some in it."""
    # A channel on an edge belongs above it, whatever rounding made of the edge.
    edges = axis.edges - 1e-6 * axis.width
    edges[-1] += axis.width
    return channels_within(windows, edges)


def channels_within(windows: Mapping[tuple[int, int], SpectralWindow], edges: NDArray[np.float64],
                    ) -> list[dict[tuple[int, int], NDArray[np.intp]]]:
    """Between every two edges, Hz, the channels of each (set, data description) that has some."""
    planes: list[dict[tuple[int, int], NDArray[np.intp]]] = [{} for _ in edges[:-1]]
    for key, window in windows.items():
        for plane, channels in zip(planes, channel_groups(window.frequency, edges), strict=True):
            if channels.size:
                plane[key] = channels
    return planes


def split_bands(channels: NDArray[np.intp], window: SpectralWindow,
                widest: float) -> tuple[NDArray[np.intp], ...]:
    """Channels in as few equal bands as have no more than `widest` Hz from end to end, each rising or falling as they are."""
    frequency = window.frequency[channels]
    span = float(np.ptp(frequency)) + float(window.width[channels].mean())
    n = min(max(int(np.ceil(span / widest - 1e-9)), 1), channels.size)
    return tuple(np.array_split(channels, n))
