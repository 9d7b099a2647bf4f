"""The stamp of a stack.

Its dirty image around the phase centre, and the dirty beam with the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from uvstack.checks import finite_number, stamp_size
from uvstack.errors import NoDataError, SelectionError
from uvstack.records import Field, Partition, Shown, UVRange
from uvstack.uv.dirty import dirty_image
from uvstack.uv.stokes import mean_of_hands, parallel_hands
from uvstack.uv.weights import inside_uv_range


@dataclass(frozen=True, repr=False)
class Stamp(Shown):
    """Image of a stack around the phase centre.

    Attributes
    ----------
    brightness : ndarray (m, l)
        Dirty image, Jy/beam; l decreases along the last axis, the phase centre is pixel (size/2,
        size/2).
    psf : ndarray (m, l)
        Dirty beam with the same weights, peak 1.
    cell : float
        Pixel, rad.
    ra, dec : float
        Direction of the phase centre, rad: nominal, since many positions were moved there.
    """

    brightness: np.ndarray
    psf: np.ndarray
    cell: float
    ra: float = 0.0
    dec: float = 0.0

    @property
    def peak(self) -> float:
        """Brightness at the phase centre, Jy/beam: the flux of a point source."""
        m, l = (n // 2 for n in self.brightness.shape)
        return float(self.brightness[m, l])


def check_stamp(size: int, cell: float | None = None) -> None:
    """Raise SelectionError where a stamp cannot have this many pixels, or pixels of this size (rad)."""
    stamp_size(size)
    if cell is not None:
        finite_number("stamp_cell", cell, 0, 1.0 / size, above=True,
                      unit="rad, so that the stamp lies within 45° of its middle")


def cut_stamp(stamp: Stamp | None, name: str, size: int, cell: float | None) -> Stamp:
    """The middle of a stamp that was made on the way, of so many pixels.

    Raises
    ------
    NoDataError, SelectionError
        There is none, or none so large or of this cell (rad).
    """
    if stamp is None:
        raise NoDataError(f"{name}: nothing was stacked")
    made = stamp.brightness.shape[0]
    if size > made or (cell is not None and not np.isclose(cell, stamp.cell)):
        raise SelectionError(f"without a stacked set there is a stamp of {made} pixels of "
                             f"{stamp.cell:.3g} rad alone; for another one give "
                             "out= (--out), or stamp_size= and stamp_cell= (--stamp, "
                             "--stamp-cell) when stacking")
    cut = slice(made // 2 - size // 2, made // 2 + size // 2)
    return replace(stamp, brightness=stamp.brightness[cut, cut], psf=stamp.psf[cut, cut])


def stamp_images(partition: Partition, uvw: np.ndarray, vis: np.ndarray, weight: np.ndarray,
                 uv_range: UVRange, size: int, cell: float) -> np.ndarray:
    """Σ w V and Σ w of the parallel hands within the uv limits as images, (2, m, l)."""
    frequency = partition.data_description.spw.frequency
    vis, weight = mean_of_hands(vis, weight, np.flatnonzero(parallel_hands(partition.data_description.correlations)))
    weight = np.where(inside_uv_range(uvw, frequency, uv_range), weight, np.float32(0))
    return np.stack([dirty_image(uvw, frequency, v, weight, size, cell)
                     for v in (vis, np.ones_like(vis))])


def normalised(images: np.ndarray, cell: float, pointing: Field) -> Stamp:
    """The stamp of Σ w V and Σ w as images, (2, m, l)."""
    peak = images[1, images.shape[1] // 2, images.shape[2] // 2]
    return Stamp(images[0] / peak, images[1] / peak, cell, pointing.ra, pointing.dec)
