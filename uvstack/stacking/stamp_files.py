"""The stamp of a stacked set, read from its rows."""

from __future__ import annotations

import numpy as np

from uvstack.io.dataset import chunks_of, default_cell
from uvstack.io.ms import read_block, read_structure
from uvstack.io.selection import select
from uvstack.records import UVRange
from uvstack.stacking.stamp import Stamp, normalised, stamp_images
from uvstack.uv.weights import apply_flags

#: Visibilities that are read together.
_VISIBILITIES = 2_000_000


def stamp_of(ms: str, uv_range: UVRange, size: int, cell: float | None) -> Stamp:
    """Dirty image and psf of a stacked set around its phase centre, from the data within a uv range.

    Parameters
    ----------
    ms : str
    uv_range : UVRange
    size : int
        Pixels on a side, even.
    cell : float, optional
        Pixel, rad; default a fifth of the resolution.
    """
    structure = read_structure(ms)
    sets = (structure,), (select(structure),)
    cell = cell or default_cell(*sets)
    images = np.zeros((2, size, size))
    for _, block in chunks_of(*sets, _VISIBILITIES):
        for partition in read_block(structure, sets[1][0], block, ("DATA", None)):
            apply_flags(partition.vis, partition.flag, partition.flag_row, partition.weight)
            images += stamp_images(partition, partition.uvw, partition.vis, partition.weight, uv_range, size, cell)
    return normalised(images, cell, structure.fields[0])
