"""From the pixels of one image to those of another, exactly at nodes and bilinear between them.

Projections, tangent points, turns, pixel sizes and frames may all differ: places go over the sky.
Coordinates are taken at every sixteenth pixel, and nearer where that is not enough: the error of
the bilinear map is below a thousandth of a pixel, which moves no flux and a peak by 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from uvstack.pixels.geometry import Coordinates

#: Pixels between nodes, and by how much the map may be off between them.
_STEP, _MOST_ERROR = 16, 1e-3
#: Pixels by which a place may be off a pixel and still be it.
_SAME_PLACE = 1e-6


@dataclass(frozen=True)
class PixelMap:
    """Places, in pixels of a source from 0, of the pixels of a block.

    Attributes
    ----------
    x, y : ndarray (n_y, n_x)
        At pixels 0, step, 2 step … along both axes, to beyond the last; NaN where there is none.
    step : int
    shape : (int, int)
        Of the block.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    step: int
    shape: tuple[int, int]

    @property
    def whole_shift(self) -> tuple[int, int] | None:
        """(x, y) of the block's first pixel where its pixels are pixels of the source, else None."""
        rows, columns = np.indices(self.x.shape) * self.step
        dx, dy = self.x - columns, self.y - rows
        found = np.rint(dx[0, 0]), np.rint(dy[0, 0])
        if not np.isfinite(found).all():
            return None
        off = max(np.abs(dx - found[0]).max(), np.abs(dy - found[1]).max())
        return (int(found[0]), int(found[1])) if off < _SAME_PLACE else None

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """Least and greatest x, then y; None where no node has a place."""
        if not np.isfinite(self.x).any():
            return None
        return (float(np.nanmin(self.x)), float(np.nanmax(self.x)), float(np.nanmin(self.y)),
                float(np.nanmax(self.y)))

    def from_corner(self, x: int, y: int) -> PixelMap:
        """The same places, in pixels of the source from another first pixel on."""
        return PixelMap(self.x - x, self.y - y, self.step, self.shape)


def pixel_map(target: Coordinates, source: Coordinates, rows: slice, columns: slice,
              offset: tuple[float, float] = (0.0, 0.0)) -> PixelMap:
    """Where the pixels of a block of one image lie in another.

    Parameters
    ----------
    target, source : Coordinates
        Their coordinates alone are looked at.
    rows, columns : slice
        The block, in pixels of `target`.
    offset : (float, float)
        By how much the sky of `source` stands too far east and north, rad.
    """
    shape = rows.stop - rows.start, columns.stop - columns.start
    step = _STEP
    while True:
        # Of two nodes nobody could say how the map bends between them.
        y, x = (one.start + step * np.arange(max(2, -(-n // step)) + 1.0)
                for one, n in zip((rows, columns), shape, strict=True))
        grid_x, grid_y = np.meshgrid(x, y)
        found_x, found_y = _places(target, source, grid_x, grid_y, offset)
        if step == 1 or _is_even(found_x) and _is_even(found_y):
            return PixelMap(found_x, found_y, step, shape)
        step //= 2


def local_matrix(target: Coordinates, source: Coordinates, x: float, y: float) -> NDArray[np.float64]:
    """Steps along x and y (rows) in pixels of the source of a pixel along x and y (columns) of the target."""
    dx, dy = np.array([0.5, -0.5, 0.0, 0.0]), np.array([0.0, 0.0, 0.5, -0.5])
    found = np.stack(_places(target, source, x + dx, y + dy, (0.0, 0.0)))
    return np.stack([found[:, 0] - found[:, 1], found[:, 2] - found[:, 3]], axis=1)


def _places(target: Coordinates, source: Coordinates, x: NDArray, y: NDArray,
            offset: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lon, lat = target.wcs.pixel_to_world_values(x.ravel(), y.ravel())
    same = source.frame.is_equivalent_frame(target.frame)
    if not same or any(offset):
        place = SkyCoord(lon, lat, unit="deg", frame=target.frame)
        if not same:
            place = place.transform_to(source.frame, merge_attributes=False)
        if any(offset):
            place = place.spherical_offsets_by(offset[0] * u.rad, offset[1] * u.rad)
        lon, lat = place.spherical.lon.deg, place.spherical.lat.deg
    found = source.wcs.world_to_pixel_values(lon, lat)
    return np.reshape(found[0], x.shape), np.reshape(found[1], x.shape)


def _is_even(nodes: NDArray[np.float64]) -> bool:
    """Whether bilinear values between nodes are good: a quarter of what they are off at twice the distance."""
    # Between nodes the error is an eighth of the second differences along both axes.
    bends = (float(np.nan_to_num(np.abs(np.diff(nodes, 2, axis=axis)), nan=0.0).max())
             for axis in (0, 1))
    return sum(bends) / 8.0 < _MOST_ERROR
