"""Visibilities as imaging wants them: pieces of one pointing, frequency axis and band of channels.

What all chunks of rows share is a job; a chunk of it is read into pieces, or kept as such between
passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uvstack.imaging.mosaic import BeamPatch
from uvstack.imaging.weighting import ImagingWeights
from uvstack.io.ms import read_block
from uvstack.pixels.grid import Grid, good_size, psf_grid
from uvstack.records import DataDescription, RowBlock, Selection, Structure, UVRange
from uvstack.uv.stokes import Combination
from uvstack.uv.weights import apply_flags, inside_uv_range

#: Visibilities (row × chan × corr) of a chunk, unless an image is large.
PER_CHUNK = 4_000_000
#: So many are read at once and their correlations combined: 30 bytes each, of which 12 for each
#: combined one are kept.
_READ_AT_ONCE = 1_000_000
#: Sizes up to this get a psf twice as large for CLEAN; beyond it costs more than the major cycles
#: that it spares.
_LARGE = 2048
#: Pixels on a side of the psfs of single pointings.
_LOBES = 256

#: A pointing and frequency axis: number of the set, field, data description, band of its channels.
Key = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Job:
    """What all chunks share.

    `hands` and `bands` are those of a set and data description that take part: how correlations are
    combined, and the channels that are gridded together. `with_clean` says that the psf is for
    CLEAN, `psf_reach` how many pixels from its middle it is wanted at least, `with_lobes` that the
    middles of the psfs of single pointings are wanted too. What a pointing sees
    of the model is larger than what is imaged of it (`patches`) where `seen` is given. `sky` is
    the model (term, m, l) in Jy/pixel, None for the data as they are.
    """

    structures: tuple[Structure, ...]
    selections: tuple[Selection, ...]
    columns: tuple[tuple[str, str | None], ...]
    uv_range: UVRange
    hands: dict[tuple[int, int], Combination]
    bands: dict[tuple[int, int], tuple[NDArray[np.intp], ...]]
    centres: dict[tuple[int, int], tuple[float, float, float]]
    pointings: dict[tuple[int, int], tuple[float, float]]
    grid: Grid
    terms: int
    with_density: bool = False
    with_clean: bool = False
    imaging: ImagingWeights | None = None
    reference_frequency: float = 1.0
    patches: dict[Key, BeamPatch] | None = None
    seen: dict[Key, BeamPatch] | None = None
    psf_reach: tuple[int, int] | None = None
    with_lobes: bool = False
    sky: NDArray | None = None
    threads: int = 1
    chunk_size: int = PER_CHUNK

    def description(self, key: Key) -> DataDescription:
        """Data description of a pointing and frequency axis."""
        return next(d for d in self.structures[key[0]].data_descriptions if d.id == key[2])

    def frequency(self, key: Key) -> NDArray[np.float64]:
        """Channels of a band, Hz."""
        return self.description(key).spw.frequency[self.bands[key[0], key[2]][key[3]]]

    def edges(self, key: Key) -> tuple[float, float]:
        """Lower edge of the lowest and upper edge of the highest channel of a band, Hz."""
        half = self.description(key).spw.width[self.bands[key[0], key[2]][key[3]]] / 2
        frequency = self.frequency(key)
        return float((frequency - half).min()), float((frequency + half).max())

    def psf_grid(self) -> Grid:
        """Grid of the psf: as wide as the image, or for the CLEAN of a small one twice as wide or as far as is wanted."""
        factor = 2 if self.with_clean and max(self.grid.shape) <= _LARGE else 1
        grid = psf_grid(self.grid, factor=factor)
        if self.psf_reach is None:
            return grid
        m, l = (max(good_size(n), min(n * factor, good_size(2 * reach)))
                for n, reach in zip(self.grid.shape, self.psf_reach, strict=True))
        return replace(grid, shape=(m, l))

    def lobe_grid(self) -> Grid:
        """Grid of the psf of one pointing: its middle, where its highest sidelobes are."""
        grid = psf_grid(self.grid)
        return replace(grid, shape=(min(grid.shape[0], _LOBES), min(grid.shape[1], _LOBES)))


class Piece(NamedTuple):
    """Visibilities (row, chan) of one field and data description with natural weights, and what became of the others."""

    key: Key
    uvw: NDArray
    frequency: NDArray
    vis: NDArray
    weight: NDArray
    antenna1: NDArray
    antenna2: NDArray
    time: NDArray
    n_outside: int
    n_not_finite: int


class Held(NamedTuple):
    """A chunk whose pieces are kept in memory."""

    pieces: tuple[Piece, ...]


def read_chunk(job: Job, chunk: tuple[int, Any]) -> tuple[Piece, ...]:
    """The pieces of a chunk.

    A function that dask runs.
    """
    return tuple(pieces_of(job, chunk))


def pieces_of(job: Job, chunk: tuple[int, Any] | Held) -> Iterator[Piece]:
    """A piece for each key in the chunk, in their order.

    What is read is dropped as soon as its correlations are combined.
    """
    if isinstance(chunk, Held):
        yield from chunk.pieces
        return
    i, block = chunk
    rows = max(_READ_AT_ONCE // max(d.shape[0] * d.shape[1]
                                    for d in job.structures[i].used(job.selections[i])), 1)
    found: dict[Key, list[Piece]] = {}
    for start in range(block.start, block.stop, rows):
        for piece in _read_pieces(job, i,
                                  replace(block, start=start, stop=min(start + rows, block.stop))):
            found.setdefault(piece.key, []).append(piece)
    for key in sorted(found):
        yield _joined(found.pop(key))


def _joined(pieces: list[Piece]) -> Piece:
    """One piece of those of one key, in their order."""
    if len(pieces) == 1:
        return pieces[0]
    rows: dict[str, Any] = {name: np.concatenate([getattr(piece, name) for piece in pieces])
                            for name in ("uvw", "vis", "weight", "antenna1", "antenna2", "time")}
    return pieces[0]._replace(**rows, n_outside=sum(piece.n_outside for piece in pieces),
                              n_not_finite=sum(piece.n_not_finite for piece in pieces))


def _read_pieces(job: Job, i: int, block: RowBlock) -> Iterator[Piece]:
    for part in read_block(job.structures[i], job.selections[i], block, job.columns[i]):
        description = part.data_description
        bands = job.bands.get((i, description.id), ())
        turn, uvw = job.centres[i, part.field.id][2], part.uvw
        if turn:
            sin, cos = np.sin(turn), np.cos(turn)
            uvw = uvw @ np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        for number, band in enumerate(bands):
            frequency = description.spw.frequency[band]
            raw, flag, natural = (_channels(values, band)
                                  for values in (part.vis, part.flag, part.weight))
            _, bad = apply_flags(raw, flag, part.flag_row, natural)
            vis, weight = job.hands[i, description.id](raw, natural)
            inside = inside_uv_range(uvw, frequency, job.uv_range)
            n_outside = int(np.count_nonzero((weight > 0) & ~inside))
            yield Piece((i, part.field.id, description.id, number), uvw, frequency, vis,
                        np.where(inside, weight, np.float32(0)), part.antenna1, part.antenna2,
                        part.time, n_outside, bad)


def _channels(values: NDArray, band: NDArray[np.intp]) -> NDArray:
    """Channels of (row, chan, corr); all of them without a copy."""
    whole = slice(int(band[0]), int(band[-1]) + 1) if (np.diff(band) == 1).all() else band
    return np.ascontiguousarray(values[:, whole])
