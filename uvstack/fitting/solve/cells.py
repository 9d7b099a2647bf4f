"""Visibilities for a search.

All of few, or of many their means in cells of (u, v), as one channel of u ≥ 0.

A cell is so small that a source at the edge of the field of the search loses a third of its flux in
the mean, one in its middle nothing. For sources beyond the field the visibilities are turned to a
direction first. Cost: 10 ns a visibility, 30 where turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.fitting.data.preparation import Piece
from uvstack.fitting.model.data import FitData
from uvstack.fitting.solve import search_kernels

#: Visibilities up to which nothing is averaged.
_FEW = 12_000
#: Pixels of a map for each wavelength of the longest baseline across its field: a pixel is half a
#: resolution element.
SAMPLING = 2.1


@dataclass(frozen=True, eq=False)
class Layout:
    """Cells of a map.

    Attributes
    ----------
    q_max : float
        Longest baseline, wavelengths.
    n_pixels : int
        Of the map on a side, even.
    direction : tuple of float
        (l, m) to which visibilities are turned, rad.
    """

    q_max: float
    n_pixels: int
    direction: tuple[float, float] = (0.0, 0.0)

    @property
    def pixel(self) -> float:
        """rad."""
        return 1.0 / (SAMPLING * self.q_max)

    @property
    def cells_per_wavelength(self) -> float:
        """Cells a wavelength."""
        return self.n_pixels * self.pixel


def cell_sums(layout: Layout, pieces: Sequence[Piece]) -> np.ndarray:
    """Sums (cell of u, cell of v, 6) of `search_kernels.add_cells` over pieces, less what is fixed.

    Those of chunks add up.
    """
    half = layout.n_pixels // 2
    sums = np.zeros((half + 1, 2 * half + 1, search_kernels.N_SUMS))
    l, m = layout.direction
    n_minus_1 = np.sqrt(1.0 - l**2 - m**2) - 1.0
    for piece in pieces:
        data = piece.data
        vis = np.ascontiguousarray(data.vis if data.fixed is None else data.vis - data.fixed)
        search_kernels.add_cells(np.ascontiguousarray(data.uvw), data.frequency / SPEED_OF_LIGHT,
                                 vis, np.ascontiguousarray(data.weight),
                                 layout.cells_per_wavelength, half, l, m, n_minus_1, sums)
    return sums


def means_of(sums: np.ndarray, frequency: float) -> FitData:
    """Means of the cells that hold data as visibilities of one channel."""
    weight = sums[..., 0]
    filled = weight > 0
    w = weight[filled]
    u, v, z, real, imag = (sums[filled].T[1:] / w)
    uvw = np.stack([u, v, z], axis=1) * (SPEED_OF_LIGHT / frequency)
    return FitData(uvw, np.array([frequency]), (real + 1j * imag)[:, None], w[:, None])


def is_few(pieces: Sequence[Piece]) -> bool:
    """Whether these are to be taken as they are."""
    return sum(piece.data.vis.size for piece in pieces) <= _FEW


def as_one_channel(layout: Layout, pieces: Sequence[Piece], frequency: float) -> FitData:
    """All visibilities with a weight, less what is fixed, as those of one channel, turned as in `cell_sums`."""
    uvw, vis, weight = [], [], []
    for piece in pieces:
        data = piece.data
        used = data.weight > 0
        rest = data.vis if data.fixed is None else data.vis - data.fixed
        uvw.append((data.uvw[:, None, :] * (data.frequency / frequency)[None, :, None])[used])
        vis.append(rest[used])
        weight.append(data.weight[used])
    places, values = np.concatenate(uvw), np.concatenate(vis).astype(np.complex128)
    l, m = layout.direction
    if l or m:
        n = np.sqrt(1.0 - l**2 - m**2)
        values *= np.exp(-2j * np.pi * (places @ [l, m, n - 1.0]) * (frequency / SPEED_OF_LIGHT))
        places = places - places[:, 2:] * [l / n, m / n, 0.0]
    behind = places[:, 0] < 0
    return FitData(np.where(behind[:, None], -places, places), np.array([frequency]),
                   np.where(behind, values.conj(), values)[:, None],
                   np.concatenate(weight).astype(np.float64)[:, None])
