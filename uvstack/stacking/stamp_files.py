"""The stamp of a stacked set, read from its rows, and written as FITS."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from uvstack._version import __version__
from uvstack.io.dataset import chunks_of, default_cell
from uvstack.io.fits import write_stamp
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
            images += stamp_images(partition, partition.uvw, partition.vis, partition.weight,
                                   uv_range, size, cell)
    return normalised(images, cell, structure.fields[0])


def stamp_writers(stamp: Stamp, name: str) -> dict[str, Callable[[Path], Any]]:
    """What writes the stamp and its psf, by the names of their files."""
    cards = {"OBJECT": name, "ORIGIN": f"uvstack {__version__}"}
    return {f"{what}.fits": functools.partial(write_stamp, brightness=image, cell=stamp.cell,
                                              ra=stamp.ra, dec=stamp.dec, cards=cards)
            for what, image in (("stamp", stamp.brightness), ("psf", stamp.psf))}
