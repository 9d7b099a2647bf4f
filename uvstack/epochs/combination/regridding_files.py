"""Epochs brought to one grid and one beam, block by block: what a worker does, and the blocks.

A block is a square of the grid. Of each epoch a worker reads the window that the block needs,
smooths and reads it there (`uvstack.pixels.resampling`), and gives the block back. So memory is that of a few
blocks, however large the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.epochs.combination.epoch_files import Epoch, Grid, place_on
from uvstack.epochs.combination.memo import drawn_kernel, memo_block
from uvstack.pixels.pixel_map import local_matrix, pixel_map
from uvstack.pixels.resampling import kernel_between, smoothed_block, window_of
from uvstack.sky.beam import Beam

#: Side of a block, pixels: its transforms stay in the cache.
BLOCK = 1024


@dataclass(frozen=True)
class Regridding:
    """What all blocks share.

    Attributes
    ----------
    grid : Grid
    beam : Beam
        Target, rad, in the frame of the grid.
    epochs : sequence of Epoch
    chain : {"exact", "memo", "memo-direct"}
        How a block is made: see `uvstack.pixels.resampling` and `memo`.
    """

    grid: Grid
    beam: Beam
    epochs: Sequence[Epoch]
    chain: str = "exact"


@dataclass(frozen=True)
class Block:
    """A square of the grid, of one epoch."""

    epoch: int
    rows: slice
    columns: slice


def blocks_of(shape: tuple[int, int], epochs: Sequence[int], size: int) -> list[Block]:
    """Blocks of a grid, epoch by epoch."""
    sides = [[slice(i, min(i + size, n)) for i in range(0, n, size)] for n in shape]
    return [Block(k, rows, columns) for k in epochs for rows in sides[0] for columns in sides[1]]


def regridded(job: Regridding, block: Block) -> NDArray[np.float32] | None:
    """Brightness (m, l) of a block, Jy/beam of the target, NaN where blank; None where the epoch is not there."""
    epoch = job.epochs[block.epoch]
    x = 0.5 * (block.columns.start + block.columns.stop - 1)
    y = 0.5 * (block.rows.start + block.rows.stop - 1)
    there = local_matrix(job.grid.image, epoch.image, x, y)
    if not np.isfinite(there).all():
        return None
    target = job.grid.frame.beams_at(job.beam, np.array([x]), np.array([y]))[0]
    own = epoch.beam_matrix(*place_on(job.grid, epoch, x, y))
    rows, columns, drawn = block.rows, block.columns, None
    if job.chain != "exact":
        drawn = drawn_kernel(own, there, target, direct=job.chain == "memo-direct")
        rows, columns = (slice(one.start - n // 2, one.stop + n // 2)
                         for one, n in zip((rows, columns), drawn.shape, strict=True))
    places = pixel_map(job.grid.image, epoch.image, rows, columns, epoch.offset)
    kernel = kernel_between(own, there @ target @ there.T)
    window = window_of(places, kernel, epoch.grid.shape)
    if window is None:
        return None
    image = epoch.window(*window)
    places = places.from_corner(window[1].start, window[0].start)
    if drawn is not None:
        return memo_block(image, places, drawn)
    return smoothed_block(image, places, kernel)
