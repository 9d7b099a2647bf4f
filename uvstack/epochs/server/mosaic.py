"""Sections of tiles on one grid, and their weighted mean.

A section is brought to the grid by splines of the fifth order, whose peaks are off by 0.2 % where a
beam has 2.5 pixels (third order: 0.9 %). What is blank is filled with its nearest
neighbour for that, and blank again afterwards together with the pixels a spline mixes it into. Each
pixel counts with its distance from where its tile ends or is blank, so that one tile fades into the
next and no seam is left.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from uvstack.pixels.geometry import Coordinates
from uvstack.pixels.pixel_map import PixelMap, pixel_map
from uvstack.sky.beam import Beam
from uvstack.sky.projection import pixel_steps

#: Order of the splines, and pixels beyond a section that they want.
SPLINE = 5
MARGIN = 12
#: Pixels beside a blank one whose values a spline takes from its neighbours' fill.
_BLEED = 2.0
#: Part of a smoothing kernel that has to lie on pixels that are not blank.
_LEAST_SHARE = 0.3
#: A pixel that is in no section.
_NOWHERE = -1e4


def distance_to_edge(data: NDArray, corner: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Pixels from each pixel of a section to the nearest that is blank or beyond its tile; 0 where it is blank itself.

    Parameters
    ----------
    data : ndarray (m, l)
        Section of the tile.
    corner : (int, int)
        Row and column of its first pixel in the tile.
    shape : (int, int)
        Of the tile.
    """
    from scipy.ndimage import distance_transform_edt

    rows, columns = (np.arange(n, dtype=np.float32) + first for n, first in zip(data.shape, corner, strict=True))
    down = np.minimum(rows + 1.0, shape[0] - rows)
    across = np.minimum(columns + 1.0, shape[1] - columns)
    distance = np.minimum(down[:, None], across[None, :]).astype(np.float32)
    blank = ~np.isfinite(data)
    if blank.any():
        distance = np.minimum(distance, distance_transform_edt(~blank).astype(np.float32))
    return distance


def smoothed(data: NDArray[np.float32], wcs: WCS, beam: Beam, wanted: Beam) -> NDArray[np.float32]:
    """A section in Jy/beam as it is with a larger beam (both rad): blank pixels count nothing, and stay blank.

    Multiplied in the uv plane with the transform of the Gaussian between the two beams, which keeps
    fluxes however narrow it is; a kernel drawn on pixels would not.
    """
    between = wanted.deconvolved(beam, exact=True)
    padded = np.pad(np.asarray(data, np.float64), MARGIN, mode="symmetric")
    seen = np.isfinite(padded)
    steps = np.linalg.inv(pixel_steps(wcs, data.shape)).T
    fx, fy = np.fft.rfftfreq(padded.shape[1])[None, :], np.fft.fftfreq(padded.shape[0])[:, None]
    taper = between.taper(steps[0, 0] * fx + steps[0, 1] * fy, steps[1, 0] * fx + steps[1, 1] * fy)
    values, share = (np.fft.irfft2(np.fft.rfft2(one) * taper, s=padded.shape)
                     for one in (np.where(seen, padded, 0.0), seen.astype(np.float64)))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(seen & (share > _LEAST_SHARE), values / share, np.nan) * (wanted.area() / beam.area())
    return values[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32)


def on_grid(data: NDArray[np.float32], weight: NDArray[np.float32], corner: tuple[int, int], image: Coordinates,
            grid: Coordinates, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A section and its weight at the pixels of a grid; NaN and 0 where it does not reach.

    Parameters
    ----------
    data, weight : ndarray (m, l)
    corner : (int, int)
        Row and column of the section's first pixel in its tile.
    image, grid : Coordinates
        Of the tile and of the grid.
    shape : (int, int)
        Of the grid.
    """
    from scipy.ndimage import distance_transform_edt, map_coordinates

    nothing = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
    blank = ~np.isfinite(data)
    if blank.all():
        return nothing
    if blank.any():
        nearest = distance_transform_edt(blank, return_distances=False, return_indices=True)
        data = data[tuple(nearest)]
    rows, columns = _reached(data.shape, corner, image, grid, shape)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return nothing
    y, x = _places(pixel_map(grid, image, rows, columns).from_corner(corner[1], corner[0]))
    values, faded = (map_coordinates(one, [y, x], order=order, mode="mirror", output=np.float32)
                     for one, order in ((data, SPLINE), (weight, 1)))
    inside = (y > -0.5) & (y < data.shape[0] - 0.5) & (x > -0.5) & (x < data.shape[1] - 0.5)
    lost = ~inside | (faded <= (_BLEED if blank.any() else 0.0))
    first = rows.start, columns.start
    return (placed(np.where(lost, np.float32(np.nan), values), first, shape, np.nan),
            placed(np.where(lost, np.float32(0.0), faded), first, shape, 0.0))


def _places(there: PixelMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns in the section of every pixel, between the nodes of a map."""
    from scipy.interpolate import RectBivariateSpline

    nodes = [there.step * np.arange(n, dtype=np.float64) for n in there.x.shape]
    pixels = [np.arange(n, dtype=np.float64) for n in there.shape]
    y, x = (RectBivariateSpline(*nodes, np.nan_to_num(one, nan=_NOWHERE), kx=1, ky=1)(*pixels)
            for one in (there.y, there.x))
    return y, x


def _reached(section: tuple[int, ...], corner: tuple[int, int], image: Coordinates, grid: Coordinates,
             shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a grid that a section may lie on."""
    rows, columns = (slice(first, first + n) for first, n in zip(corner, section, strict=True))
    bounds = pixel_map(image, grid, rows, columns).bounds
    if bounds is None:
        return slice(0, 0), slice(0, 0)
    spans = [slice(int(np.clip(np.floor(low), 0, n)), int(np.clip(np.ceil(high) + 1, 0, n)))
             for low, high, n in zip(bounds[2::-2], bounds[3::-2], shape, strict=True)]
    return spans[0], spans[1]


def placed(data: NDArray[np.float32], corner: tuple[int, int], shape: tuple[int, int],
           fill: float) -> NDArray[np.float32]:
    """A section whose first pixel lies at row and column `corner` of a grid, on that grid; elsewhere `fill`."""
    out = np.full(shape, fill, np.float32)
    row, column = corner
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + data.shape[0], shape[0]), min(column + data.shape[1], shape[1])
    if bottom > top and right > left:
        out[top:bottom, left:right] = data[top - row:bottom - row, left - column:right - column]
    return out


def blended(pieces: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Mean of pieces (values, weights) on one grid, blank where none of them is seen."""
    total: NDArray | None = None
    weights: NDArray | None = None
    for values, weight in pieces:
        seen = np.where(weight > 0, values, np.float32(0.0)) * weight
        total, weights = (seen, weight.copy()) if total is None or weights is None else (
            total + seen, weights + weight)
    assert total is not None
    assert weights is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 0, total / weights, np.float32(np.nan))
