"""Where the pixels of an image lie, and which cells and sizes suit the data.

An image (m, l) lies in the plane that touches the sky at one point (SIN projection); its pixels
need not be centred on that point, so a part of a grid is a grid, pixel on pixel. Grids are light:
nothing of the size of the image is held.

Cells. The image of a baseline of u wavelengths is a wave of period 1/u, which two pixels a period
just describe: a cell wider than 1/(2u) is an error here, because such a wave comes back as another
one. Four pixels a period, as the message proposes, put some four of them on the synthesised beam.
Sizes. Transforms are fast where a size is a product of small primes, and pixel n/2 is the middle
where it is even: `good_size`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from uvstack.checks import MOST_IMAGE_PIXELS
from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.errors import ImageError
from uvstack.pixels.geometry import ImageGeometry
from uvstack.sky.coordinates import direction_cosines

#: Pixels for each period of the longest baseline: fewest, and those that the error proposes.
_FEWEST_PIXELS, _PROPOSED_PIXELS = 2.0, 4.0


@dataclass(frozen=True)
class Grid:
    """The pixels of an image.

    Attributes
    ----------
    geometry : ImageGeometry
        The point that the image touches, the cells, and the direction cosines of pixel (n_m // 2,
        n_l // 2).
    shape : (int, int)
        (n_m, n_l), any sizes from 1.

    Raises
    ------
    ImageError
        A size or a cell cannot be, or a corner lies beyond the horizon.
    """

    geometry: ImageGeometry
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or any(int(n) != n or n < 1 for n in self.shape):
            raise ImageError(f"an image of shape {self.shape}; wanted are two sizes (m, l) of one "
                             "pixel or more")
        object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        cells = (self.geometry.cell_l, self.geometry.cell_m)
        if not all(math.isfinite(cell) and cell != 0 for cell in cells):
            raise ImageError(f"an image with cells {cells[0]} and {cells[1]} rad; give a cell "
                             "that is not 0")
        if np.abs(self.l).max() ** 2 + np.abs(self.m).max() ** 2 >= 1.0:
            raise ImageError(f"an image of {self.shape[0]} × {self.shape[1]} pixels whose corners "
                             "lie beyond the horizon; give fewer pixels or a smaller cell")

    @property
    def l(self) -> np.ndarray:  # noqa: E743
        """Direction cosines to the east of the columns, (n_l,)."""
        return self.geometry.centre_l + (np.arange(self.shape[1])
                                         - self.shape[1] // 2) * self.geometry.cell_l

    @property
    def m(self) -> np.ndarray:
        """Direction cosines to the north of the rows, (n_m,)."""
        return self.geometry.centre_m + (np.arange(self.shape[0])
                                         - self.shape[0] // 2) * self.geometry.cell_m

    def part(self, rows: slice, columns: slice) -> Grid:
        """The grid of image[rows, columns].

        The slices have a begin and an end within the image and no step.
        """
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        inside = 0 <= rows.start <= rows.stop <= self.shape[0] and 0 <= columns.start <= columns.stop <= self.shape[1]
        if not inside or rows.step not in (None, 1) or columns.step not in (None, 1):
            raise ValueError(f"part {rows}, {columns} of an image {self.shape}; wanted are begin "
                             "and end within it, no step")
        steps_m = rows.start + shape[0] // 2 - self.shape[0] // 2
        steps_l = columns.start + shape[1] // 2 - self.shape[1] // 2
        where = self.geometry
        return Grid(replace(where, centre_l=where.centre_l + steps_l * where.cell_l,
                            centre_m=where.centre_m + steps_m * where.cell_m), shape)

    def pixel_of(self, ra: float, dec: float) -> tuple[float, float]:
        """(row, column), from 0 and with fractions, of a direction in J2000, rad."""
        l, m, _ = direction_cosines(ra, dec, self.geometry.ra, self.geometry.dec)
        where = self.geometry
        return (float((m - where.centre_m) / where.cell_m + self.shape[0] // 2),
                float((l - where.centre_l) / where.cell_l + self.shape[1] // 2))


def centred_grid(ra: float, dec: float, size: int | tuple[int, int], cell: float) -> Grid:
    """Grid of square cells (rad) that touches the sky at its own centre (J2000, rad).

    Size is one number or (n_m, n_l).

    Raises
    ------
    ImageError
        The cell is not a positive angle; further as for `Grid`.
    """
    if not (math.isfinite(cell) and cell > 0):
        raise ImageError(f"cell is {cell}; it must be a positive angle in rad")
    shape = (int(size), int(size)) if isinstance(size, int | np.integer) else (
        int(size[0]), int(size[1]))
    return Grid(ImageGeometry(float(ra), float(dec), -float(cell), float(cell)), shape)


def psf_grid(grid: Grid, phase_centre: tuple[float, float] | None = None, factor: int = 2) -> Grid:
    """The grid of a PSF for images on `grid`.

    `factor` times as many pixels, even, the middle one on the phase centre.

    A PSF twice as large as the image reaches from each of its corners to all others. phase_centre
    is in J2000, rad, by default the point that the image touches.
    """
    where = grid.geometry
    l, m = 0.0, 0.0
    if phase_centre is not None:
        l, m, _ = (float(x) for x in direction_cosines(*phase_centre, where.ra, where.dec))
    shape = tuple(factor * n + (factor * n) % 2 for n in grid.shape)
    return Grid(replace(where, centre_l=l, centre_m=m), (shape[0], shape[1]))


def good_size(n: int) -> int:
    """The next even size from n up without prime factors above 11.

    Raises
    ------
    ImageError
        n is not positive, or too large.
    """
    from ducc0.fft import good_size as smooth

    if not 1 <= n <= MOST_IMAGE_PIXELS:
        raise ImageError(f"an image of {n} pixels; wanted is a size from 1 to {MOST_IMAGE_PIXELS}")
    return 2 * int(smooth((int(n) + 1) // 2))


def uv_extent(uvw: np.ndarray, frequency: np.ndarray,
              weight: np.ndarray | None = None) -> tuple[float, float]:
    """Largest |u| and |v| in wavelengths; of chunks the larger.

    uvw (row, 3) m, frequency (chan,) Hz. With weight (row, chan), visibilities of weight 0 do not
    count.
    """
    known = np.isfinite(uvw).all(axis=1)
    frequency = np.asarray(frequency, np.float64)
    top = np.full(uvw.shape[0], frequency.max(initial=0.0))
    if weight is not None:
        top = np.where(np.asarray(weight) > 0, frequency, 0.0).max(axis=1, initial=0.0)
    scale = (top / SPEED_OF_LIGHT)[known]
    u, v = (float((np.abs(uvw[known, i]) * scale).max(initial=0.0)) for i in (0, 1))
    return u, v


def check_cell(grid: Grid, extent: tuple[float, float]) -> None:
    """Raise ImageError where the cells are too coarse for the largest |u| and |v| (wavelengths, from `uv_extent`)."""
    longest = max(extent)
    wide = max(abs(grid.geometry.cell_l) * extent[0], abs(grid.geometry.cell_m) * extent[1])
    if wide * _FEWEST_PIXELS > 1.0 + 1e-9:
        cell = max(abs(grid.geometry.cell_l), abs(grid.geometry.cell_m))
        raise ImageError(f"a cell of {cell / ARCSEC:.4g} arcsec is too coarse for baselines of "
                         f"{longest:.4g} wavelengths: they need "
                         f"{1 / (_FEWEST_PIXELS * longest * ARCSEC):.4g} arcsec or less; take "
                         f"{1 / (_PROPOSED_PIXELS * longest * ARCSEC):.3g} "
                         "arcsec, or give a uv range or channels without the longest baselines")
