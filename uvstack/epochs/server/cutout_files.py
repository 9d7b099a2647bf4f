"""Cutouts of an archive: the part of the sky asked for, of each epoch, on one grid.

The grid is that of the tile in which the place lies deepest, of the newest epoch. Where one tile of
an epoch has all of the cutout on this grid, its pixels are given as they stand. Elsewhere the tiles
are joined as `uvstack.epochs.server.mosaic` has it. Only the sections that are needed are read.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import BaseCoordinateFrame, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from uvstack._version import __version__
from uvstack.epochs.server.archive_files import Archive
from uvstack.epochs.server.mosaic import (
    MARGIN,
    blended,
    distance_to_edge,
    on_grid,
    placed,
    smoothed,
)
from uvstack.epochs.server.tile_files import TileHeader, known_header, read_section
from uvstack.epochs.server.tile_name import PRODUCTS
from uvstack.errors import ArchiveError, LimitError, OutsideArchiveError
from uvstack.sky.beam import Beam, common_beam

#: Grids whose pixels are nowhere farther apart than this part of a pixel are one.
_SAME = 1e-3
#: Beams that differ less count as equal.
_SAME_BEAM = 1e-3
#: Points along the sides of a box by which it is found in another tile.
_POINTS = 9
#: Degrees; no archive's tiles are searched for more.
_LARGEST_SIDE = 10.0
_CELESTIAL = ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT", "CROTA")
_WHOLE = ("RADESYS", "EQUINOX", "LONPOLE", "LATPOLE", "WCSAXES")


@dataclass(frozen=True)
class Region:
    """What is cut.

    Attributes
    ----------
    ra, dec : float
        Middle, ICRS, degrees.
    side : float
        Degrees, or with `pixels` a number of them.
    pixels : bool
    """

    ra: float
    dec: float
    side: float
    pixels: bool = False

    @property
    def coord(self) -> SkyCoord:
        """The middle."""
        return SkyCoord(self.ra, self.dec, unit="deg")


@dataclass(frozen=True, eq=False)
class Cutout:
    """One epoch of a cutout.

    Attributes
    ----------
    epoch, product, band, date, unit : str
    campaigns, versions, files : tuple of str
        Of the tiles that it is made of.
    data : ndarray (m, l)
        NaN is blank.
    header : Header
        As it is written.
    wcs : WCS
        Celestial.
    beam : Beam or None
        rad.
    covered : float
        Part of the pixels that is not blank.
    resampled : bool
        Whether any pixel is not as it stands in a tile.
    remarks : tuple of str
        What must be known of it.
    """

    epoch: str
    product: str
    band: str
    date: str
    unit: str
    campaigns: tuple[str, ...]
    versions: tuple[str, ...]
    files: tuple[str, ...]
    data: NDArray[np.float32]
    header: fits.Header
    wcs: WCS
    beam: Beam | None
    covered: float
    resampled: bool
    remarks: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.product}-{self.epoch}"

    def to_bytes(self) -> bytes:
        """As a FITS file, with the axes of its tile."""
        out = io.BytesIO()
        data = self.data.reshape((1,) * (int(self.header["NAXIS"]) - 2) + self.data.shape)
        fits.PrimaryHDU(data, self.header).writeto(out, output_verify="silentfix")
        return out.getvalue()


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Pixels of one epoch in a box, the tiles that they come from, their beam, and whether any was made anew."""

    used: list[TileHeader]
    data: NDArray[np.float32]
    beam: Beam | None
    resampled: bool


@dataclass(frozen=True, eq=False)
class _Box:
    """Pixels of a tile's grid, which need not lie within the tile."""

    base: TileHeader
    row: int
    column: int
    shape: tuple[int, int]

    @functools.cached_property
    def wcs(self) -> WCS:
        moved = self.base.wcs.deepcopy()
        moved.wcs.crpix = moved.wcs.crpix - np.array([self.column, self.row])
        moved.wcs.set()
        return moved

    @property
    def frame(self) -> BaseCoordinateFrame:
        return self.base.frame

    @property
    def cell(self) -> float:
        return self.base.cell

    @functools.cached_property
    def _known(self) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        return {}

    def within(self, image: TileHeader) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where points all over it lie in a tile, x and y from 0."""
        if id(image) not in self._known:
            rows, columns = (np.linspace(-0.5, n - 0.5, _POINTS) for n in self.shape)
            y, x = np.meshgrid(rows, columns, indexing="ij")
            lon, lat = self.wcs.wcs_pix2world(x.ravel(), y.ravel(), 0)
            self._known[id(image)] = image.pixels_of(SkyCoord(lon, lat, unit="deg", frame=self.base.frame))
        return self._known[id(image)]


def cutouts(archive: Archive, region: Region, product: str, *, epochs: Collection[str] | None = None,
            most_pixels: int = 2048) -> list[Cutout]:
    """A region of every epoch of a product, oldest first.

    Parameters
    ----------
    archive : Archive
    region : Region
    product : str
        Key of `PRODUCTS`.
    epochs : collection of str, optional
        Only these.
    most_pixels : int
        Along a side.

    Raises
    ------
    OutsideArchiveError
        There is nothing.
    LimitError
        There are more pixels.
    """
    _check_size(region, most_pixels)
    reach = _reach(region)
    tiles = [tile for tile in archive.near(region.ra, region.dec, reach, product)
             if epochs is None or tile.epoch in epochs]
    coord = region.coord
    images = sorted((known_header(tile) for tile in tiles), key=lambda one: -_depth(one, coord))
    by_epoch: dict[str, list[TileHeader]] = {}
    for image in images:
        by_epoch.setdefault(image.tile.epoch or image.date or "undated", []).append(image)
    found: list[Cutout] = []
    if images:
        box = _box_of(_base_of(by_epoch, coord), region, most_pixels)
        cut = (_cut(box, one, epoch, product) for epoch, one in by_epoch.items())
        found = [one for one in cut if one is not None]
    if not found:
        raise OutsideArchiveError(
            f"the archive has no {PRODUCTS[product]} image{_of(epochs)} at RA {region.ra:.5f}°, "
            f"Dec {region.dec:+.5f}°; is the position right?")
    return sorted(found, key=lambda one: _order(one.epoch))


def _check_size(region: Region, most: int) -> None:
    """Refuse what is too large whatever the pixels, before tiles are looked for."""
    if region.pixels and region.side > most:
        raise LimitError(f"a cutout of {region.side:g} pixels along a side was asked for; at most {most} are "
                         "given: take a smaller size")
    if not region.pixels and region.side > _LARGEST_SIDE:
        raise LimitError(f"a cutout of {region.side:g}° along a side was asked for; at most "
                         f"{_LARGEST_SIDE:g}° are given: take a smaller size")


def _order(epoch: str) -> list[tuple[int, int | str]]:
    """By which epochs are sorted: VLASS10 comes after VLASS9, a date after an earlier one."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", epoch) if part]


def _of(epochs: Collection[str] | None) -> str:
    return "" if epochs is None else f" of {', '.join(sorted(epochs))}"


def _reach(region: Region) -> float:
    """Degrees from the middle to a corner; of pixels it is known when a tile is, and a degree is far enough to find one."""
    return 1.0 if region.pixels else region.side * math.sqrt(0.5)


def _depth(image: TileHeader, coord: SkyCoord) -> float:
    """Degrees that a place lies within a tile; negative outside."""
    x, y = (float(one[0]) for one in image.pixels_of(coord))
    ny, nx = image.shape
    inside = min(x + 0.5, nx - 0.5 - x, y + 0.5, ny - 0.5 - y)
    return float(np.rad2deg(image.cell)) * inside if math.isfinite(inside) else -math.inf


def _base_of(by_epoch: dict[str, list[TileHeader]], coord: SkyCoord) -> TileHeader:
    """Deepest tile of the newest epoch that has the place, or else of any."""
    deepest = [images[0] for images in by_epoch.values()]
    holding = [image for image in deepest if _depth(image, coord) > 0]
    if holding:
        return max(holding, key=lambda one: _order(one.tile.epoch))
    return max(deepest, key=lambda one: _depth(one, coord))


def _box_of(base: TileHeader, region: Region, most: int) -> _Box:
    x, y = (float(one[0]) for one in base.pixels_of(region.coord))
    if not (math.isfinite(x) and math.isfinite(y)):
        raise OutsideArchiveError(f"RA {region.ra:.5f}°, Dec {region.dec:+.5f}° is beyond the projection of "
                                  "every image; is the position right?")
    if region.pixels:
        shape = (int(region.side),) * 2
        column, row = round(x) - shape[1] // 2, round(y) - shape[0] // 2
    else:
        dx, dy = 0.5 * region.side / proj_plane_pixel_scales(base.wcs)
        column, row = math.floor(x - dx), math.floor(y - dy)
        shape = (math.ceil(y + dy) + 1 - row, math.ceil(x + dx) + 1 - column)
    if max(shape) > most:
        raise LimitError(f"a cutout of {shape[1]} × {shape[0]} pixels was asked for; at most "
                         f"{most} × {most} are given: take a smaller size")
    return _Box(base, row, column, shape)


def _cut(box: _Box, images: Sequence[TileHeader], epoch: str, product: str) -> Cutout | None:
    """One epoch, of tiles with the deepest first; None where it has no pixel there."""
    images = [image for image in images if _section_of(box, image) is not None]
    pixels = None
    for image in images:
        shift = _shift_between(box, image)
        if shift is not None and (len(images) == 1 or _holds(image, shift, box.shape)):
            data = _piece(box, image, shift)[0]
            if len(images) == 1 or np.isfinite(data).all():
                pixels = _Pixels([image], data, image.beam, False)
                break
    pixels = pixels or _joined(box, images)
    covered = float(np.isfinite(pixels.data).mean())
    if covered == 0.0:
        return None
    main, tiles = pixels.used[0], [image.tile for image in pixels.used]
    remarks = _remarks(pixels, covered)
    header = _header_of(box, pixels, epoch, remarks)
    return Cutout(epoch, product, main.band, main.date, str(header.get("BUNIT") or ""),
                  _distinct(tile.campaign for tile in tiles),
                  _distinct(tile.version_text for tile in tiles),
                  _distinct(tile.path.rsplit("/", 1)[-1] for tile in tiles), pixels.data, header, box.wcs,
                  pixels.beam, covered, pixels.resampled, remarks)


def _distinct(words: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))


def _section_of(box: _Box, image: TileHeader) -> tuple[slice, slice] | None:
    """Rows and columns of a tile that the box lies on, with a margin for splines; None where it lies on none."""
    x, y = box.within(image)
    if not (np.isfinite(x).any() and np.isfinite(y).any()):
        return None
    spans = []
    for values, n in zip((y, x), image.shape, strict=True):
        low, high = math.floor(np.nanmin(values)), math.ceil(np.nanmax(values)) + 1
        if high <= 0 or low >= n:
            return None
        spans.append(slice(max(low - MARGIN, 0), min(high + MARGIN, n)))
    return spans[0], spans[1]


def _shift_between(box: _Box, image: TileHeader) -> tuple[int, int] | None:
    """Row and column of the box's first pixel in a tile whose pixels lie where those of the box do; else None."""
    if not image.frame.is_equivalent_frame(box.base.frame):
        return None
    x, y = box.within(image)
    rows, columns = (np.linspace(-0.5, n - 0.5, _POINTS) for n in box.shape)
    at_y, at_x = (one.ravel() for one in np.meshgrid(rows, columns, indexing="ij"))
    row, column = y - at_y, x - at_x
    if not (np.isfinite(row).all() and np.isfinite(column).all()):
        return None
    shift = round(float(row[0])), round(float(column[0]))
    off = max(np.abs(row - shift[0]).max(), np.abs(column - shift[1]).max())
    return shift if off < _SAME else None


def _holds(image: TileHeader, shift: tuple[int, int], shape: tuple[int, int]) -> bool:
    return all(first >= 0 and first + n <= there
               for first, n, there in zip(shift, shape, image.shape, strict=True))


def _piece(box: _Box, image: TileHeader, shift: tuple[int, int] | None,
           beam: Beam | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels of a tile on the box's grid, with another beam where one is given, and their weights."""
    section = _section_of(box, image)
    assert section is not None
    data = read_section(image, *section)
    corner = section[0].start, section[1].start
    weight = distance_to_edge(data, corner, image.shape)
    if beam is not None and image.beam is not None and not _same_beam(image.beam, beam):
        data = smoothed(data, image.wcs, image.beam, beam)
    if shift is None:
        return on_grid(data, weight, corner, image, box, box.shape)
    corner = corner[0] - shift[0], corner[1] - shift[1]
    return placed(data, corner, box.shape, np.nan), placed(weight, corner, box.shape, 0.0)


def _joined(box: _Box, images: Sequence[TileHeader]) -> _Pixels:
    """Mean of tiles in the box, with the smallest beam that all of them can be convolved to."""
    beams = [image.beam for image in images]
    known = [beam for beam in beams if beam is not None]
    beam = common_beam(known) if len(known) == len(beams) and known else None
    used, pieces, resampled = [], [], False
    for image in images:
        shift = _shift_between(box, image)
        piece = _piece(box, image, shift, beam)
        if piece[1].any():
            used.append(image)
            pieces.append(piece)
            resampled = resampled or shift is None
    if not used:
        return _Pixels([], np.full(box.shape, np.nan, np.float32), None, False)
    units = _distinct(str(image.header.get("BUNIT") or "").strip() for image in used)
    if len(units) > 1:
        raise ArchiveError(f"tiles that meet there are in different units ({', '.join(units)}); they cannot "
                           "be joined")
    return _Pixels(used, blended(pieces), beam if beam is not None else used[0].beam, resampled or len(used) > 1)


def _remarks(pixels: _Pixels, covered: float) -> tuple[str, ...]:
    found = []
    if covered < 1.0:
        found.append(f"{100 * (1 - covered):.3g} % of the pixels are blank: the archive has nothing there")
    beams = [image.beam for image in pixels.used]
    if any(not _same_beam(beams[0], beam) for beam in beams[1:]):
        texts = ", ".join(dict.fromkeys(_beam_text(beam) for beam in beams))
        found.append(f"tiles with different beams ({texts}) were brought to {_beam_text(pixels.beam)} and joined"
                     if None not in beams else
                     f"tiles with different beams ({texts}) are joined; the header has that of the middle")
    return tuple(found)


def _same_beam(one: Beam | None, other: Beam | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.abs(one.covariance() - other.covariance()).max() <= _SAME_BEAM * one.fwhm_major**2)


def _beam_text(beam: Beam | None) -> str:
    if beam is None:
        return "none"
    major, minor, angle = np.rad2deg(beam)
    return f"{3600 * major:.4g}″ × {3600 * minor:.4g}″ at {angle:.4g}°"


def _header_of(box: _Box, pixels: _Pixels, epoch: str, remarks: Sequence[str]) -> fits.Header:
    """That of the epoch's main tile, its pixels where the grid has them, and what is said of the cutout."""
    used, main, grid = pixels.used, pixels.used[0], box.base.header
    header = main.header.copy(strip=False)
    for name in ("CHECKSUM", "DATASUM", "BSCALE", "BZERO", "BLANK", "DATAMAX", "DATAMIN", "EXTEND",
                 "XTENSION", "PCOUNT", "GCOUNT", "EXTNAME"):
        header.remove(name, ignore_missing=True, remove_all=True)
    if box.base is not main:
        _replace_celestial(header, grid)
    for i, (first, n) in enumerate(((box.column, box.shape[1]), (box.row, box.shape[0])), 1):
        header[f"NAXIS{i}"] = n
        header[f"CRPIX{i}"] = float(grid.get(f"CRPIX{i}", 0.0)) - first
    header["BITPIX"] = -32
    if pixels.beam is not None:
        for name, angle in zip(("BMAJ", "BMIN", "BPA"), pixels.beam, strict=True):
            header[name] = float(np.rad2deg(angle))
        header.remove("CASAMBM", ignore_missing=True)
    tiles = [image.tile for image in used]
    header["PRODUCT"] = tiles[0].product, "kind of image"
    header["EPOCHNAM"] = epoch, "epoch of the survey"
    header["CAMPAIGN"] = "+".join(_distinct(tile.campaign for tile in tiles)), "campaigns of the survey"
    header["PRODVERS"] = "+".join(_distinct(tile.version_text for tile in tiles)), "versions of the tiles"
    header["BAND"] = main.band, "of the VLA"
    header["NTILES"] = len(used), "tiles joined"
    how = "joined, weighted by the distance from the edge" if len(used) > 1 else (
        "resampled" if pixels.resampled else "pixels as they stand in the tile")
    header.add_history(f"uvstack {__version__} cutout: {how}")
    for tile in tiles:
        header.add_history(f"tile {tile.path.rsplit('/', 1)[-1]}")
    for remark in remarks:
        header.add_history(remark.replace("″", '"').replace("×", "x").replace("°", " deg"))
    return header


def _replace_celestial(header: fits.Header, grid: fits.Header) -> None:
    """Put the cards that say where pixels are on the sky in place of a header's own."""
    names = [f"{name}{i}" for name in _CELESTIAL for i in (1, 2)] + [
        name for one in (header, grid) for name in one
        if name[:2] in ("PC", "CD", "PV") and name.lstrip("PCDV").count("_") == 1]
    for name in dict.fromkeys([*names, *_WHOLE]):
        header.remove(name, ignore_missing=True)
        if name in grid:
            header[name] = grid[name]
