"""Tiles opened: what their headers say, and the pixels of a section, of a local file or over HTTP.

Of a local file the pixels that are wanted are mapped into memory; of a remote one the ranges of
bytes with their rows are asked for. A server that knows no ranges sends the whole file, which is
kept in a temporary folder while it is read.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import BaseCoordinateFrame, SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from numpy.typing import NDArray

from uvstack.epochs.server.tile_name import Tile
from uvstack.errors import ArchiveError, CoordinateError, ImageError
from uvstack.io.image_file import SkyCube, check_beam, read_cube
from uvstack.sky.beam import Beam
from uvstack.sky.projection import wcs_frame

#: Headers that are kept, of some 100 kB each.
_KEPT = 256
#: Bytes asked for at once of a remote file: a header is read whole, and so are the rows of a section.
_BLOCK = 1 << 18
_LARGEST_BLOCK = 1 << 24
#: Pixels of rows that are read as they are.
_WHOLE_ROWS = 8_000_000
#: In place of the number of an HDU: the pixels of what `uvstack.io.image_file` reads.
_BY_READER = -1
_SKY = ("RA--", "DEC-", "GLON", "GLAT", "ELON")
_NEEDED = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2")
#: Cards of axes, structure and scaling.
_OF_AXES = re.compile(r"(NAXIS|CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CNAME)\d*|(PC|CD|PV|PS)\d+_\d+|RADE(SYS|CSYS)|RADECSYS|EQUINOX|"
                      r"EPOCH|LONPOLE|LATPOLE|WCSAXES|SIMPLE|BITPIX|BSCALE|BZERO|BLANK|EXTEND|XTENSION|PCOUNT|GCOUNT|"
                      r"EXTNAME|Z\w+|CASAMBM|")
#: Letters of the bands of the VLA, GHz; https://science.nrao.edu/facilities/vla.
_BANDS = (("4", 0.054, 0.084), ("P", 0.2, 0.5), ("L", 1.0, 2.0), ("S", 2.0, 4.0), ("C", 4.0, 8.0),
          ("X", 8.0, 12.0), ("Ku", 12.0, 18.0), ("K", 18.0, 26.5), ("Ka", 26.5, 40.0), ("Q", 40.0, 50.0))


@dataclass(frozen=True, eq=False)
class TileHeader:
    """What is known of a tile once it was opened.

    Attributes
    ----------
    tile : Tile
    header : Header
        Of the image.
    wcs : WCS
        Celestial, longitude first, as the first two axes are.
    frame : BaseCoordinateFrame
        Of its longitude and latitude.
    shape : (int, int)
        Pixels along m and l.
    hdu : int
        Which of the file's has the image.
    beam : Beam or None
        rad.
    """

    tile: Tile
    header: fits.Header
    wcs: WCS
    frame: BaseCoordinateFrame
    shape: tuple[int, int]
    hdu: int
    beam: Beam | None

    @property
    def cell(self) -> float:
        """Pixel size, rad: the geometric mean of both axes."""
        return float(np.deg2rad(np.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix)))))

    @property
    def date(self) -> str:
        """Of observation, YYYY-MM-DD, or empty."""
        return str(self.header.get("DATE-OBS") or "")[:10]

    @property
    def band(self) -> str:
        """Letter of the VLA's band, or empty where no frequency is said."""
        frequency = next((float(self.header[f"CRVAL{i}"]) for i in (3, 4)
                          if str(self.header.get(f"CTYPE{i}", "")).strip() == "FREQ"),
                         self.header.get("RESTFRQ"))
        if frequency is None:
            return ""
        return next((name for name, low, high in _BANDS if low <= float(frequency) / 1e9 < high), "")

    def pixels_of(self, coord: SkyCoord) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel coordinates x, y from 0; NaN where the projection does not reach."""
        seen = coord.transform_to(self.frame, merge_attributes=False).spherical
        x, y = self.wcs.wcs_world2pix(np.atleast_1d(seen.lon.deg), np.atleast_1d(seen.lat.deg), 0)
        # wcslib gives far sides of the sky a place, too.
        back = self.wcs.wcs_pix2world(x, y, 0)
        apart = SkyCoord(*back, unit="deg", frame=self.frame).separation(
            SkyCoord(seen.lon, seen.lat, frame=self.frame)).deg
        lost = ~(apart < 1e-6)
        return np.where(lost, np.nan, x), np.where(lost, np.nan, y)

    def circle(self) -> tuple[float, float, float]:
        """RA, Dec (ICRS) of the middle and the radius that holds every corner, degrees."""
        ny, nx = self.shape
        x, y = np.array([(nx - 1) / 2, -0.5, nx - 0.5, -0.5, nx - 0.5]), np.array(
            [(ny - 1) / 2, -0.5, -0.5, ny - 0.5, ny - 0.5])
        places = SkyCoord(*self.wcs.wcs_pix2world(x, y, 0), unit="deg", frame=self.frame).icrs
        reach = places[1:].separation(places[0]).deg
        return float(places[0].ra.deg), float(places[0].dec.deg), float(
            np.where(np.isfinite(reach), reach, 180.0).max())


@contextlib.contextmanager
def opened(tile: Tile, block: int = _BLOCK) -> Iterator[Any]:
    """HDUs of a tile; what goes wrong while they are read is an ArchiveError in one line."""
    try:
        # Filters of warnings belong to all threads, so none is set here.
        if not _is_remote(tile):
            with fits.open(tile.path, memmap=True, lazy_load_hdus=True) as hdus:
                yield hdus
            return
        how = {"block_size": block, "cache_type": "readahead"}
        with fits.open(tile.path, use_fsspec=True, fsspec_kwargs=how) as hdus:
            yield hdus
    except ArchiveError:
        raise
    except (OSError, ValueError, TypeError, IndexError, KeyError, EOFError, TimeoutError, AstropyUserWarning) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveError(f"{tile.path}: cannot be read as FITS: {text}") from error


def read_header(tile: Tile) -> TileHeader:
    """What is known of a tile.

    Headers as the survey writes them are read here, quickly and from afar; all others of local files
    by `uvstack.io.image_file`.

    Raises
    ------
    ArchiveError
        It cannot be read or meant, or holds no plane of the sky.
    """
    found = None
    try:
        with opened(tile) as hdus:
            number, hdu = _image_of(hdus, tile)
            header = hdu.header.copy()
            if _is_remote(tile) or (_is_plain(header) and _end_of(hdu) <= os.path.getsize(tile.path)):
                found = _header_of(tile, header, number, _beam_of(header, hdus))
    except ArchiveError:
        if _is_remote(tile):
            raise
    return _read_otherwise(tile) if found is None else found


def _read_otherwise(tile: Tile) -> TileHeader:
    """What is known of a local tile with any header."""
    try:
        cube = _cube_of(tile)
        beam = cube.beam()
    except ImageError as error:
        raise ArchiveError(str(error)) from error
    with opened(tile) as hdus:
        header = _image_of(hdus, tile)[1].header.copy()
    shape = cube.data.shape[-2:]
    return TileHeader(tile, _flat_header(header, cube), cube.wcs, cube.frame, (shape[0], shape[1]), _BY_READER, beam)


def _end_of(hdu: Any) -> int:
    """Bytes of a file up to the end of an image's pixels."""
    return int(hdu.fileinfo()["datLoc"]) + abs(int(hdu.header["BITPIX"])) // 8 * int(np.prod(hdu.shape))


def _is_remote(tile: Tile) -> bool:
    return tile.path.startswith(("http://", "https://"))


def _image_of(hdus: Any, tile: Tile) -> tuple[int, Any]:
    """The first image with celestial axes, or else the first, and its number."""
    first = None
    for number, hdu in enumerate(hdus):
        if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2:
            first = first or (number, hdu)
            if any(str(hdu.header.get(f"CTYPE{i}", "")).upper().startswith(_SKY) for i in range(1, 8)):
                return number, hdu
    if first is None:
        raise ArchiveError(f"{tile.path}: holds no image")
    return first


def _is_plain(header: fits.Header) -> bool:
    """Whether a header is as the survey writes them: sky first, one plane of floats, all that is needed said."""
    try:
        axes = [int(header[f"NAXIS{i + 1}"]) for i in range(header["NAXIS"])]
        numbers = [float(header[name]) for name in _NEEDED]
        beam = float(header["BMAJ"]), float(header["BMIN"])
        return (str(header["CTYPE1"]).startswith("RA---") and str(header["CTYPE2"]).startswith("DEC--")
                and all(n == 1 for n in axes[2:]) and f"CTYPE{len(axes) + 1}" not in header
                and header["BITPIX"] < 0 and bool(np.isfinite(numbers).all()) and 0 not in numbers[4:]
                and abs(numbers[0]) <= 720.0 and abs(numbers[1]) <= 90.0
                and 0 < beam[1] <= beam[0] and float(header.get("EQUINOX", 2000.0)) >= 1984.0
                and not {"BSCALE", "BZERO", "BLANK", "ZIMAGE"} & {
                    name for name in header if header[name] not in (0, 1, 0.0, 1.0)})
    except (KeyError, TypeError, ValueError):
        return False


def _cube_of(tile: Tile) -> SkyCube:
    """A local image of one plane, whose pixels stay in the file where they stand there as they are."""
    cube = read_cube(tile.path, np.float32, oriented=False, mapped=True)
    if len(cube.data) != 1:
        raise ImageError(f"{tile.path}: holds {len(cube.data)} channels; wanted is one plane")
    return cube


def _flat_header(header: fits.Header, cube: SkyCube) -> fits.Header:
    """Cards of a header, with two axes that are those of the sky."""
    flat = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", cube.data.shape[-1]),
                        ("NAXIS2", cube.data.shape[-2])])
    for card in header.cards:
        if not _OF_AXES.fullmatch(card.keyword):
            flat.append(card, end=True)
    flat.update(cube.wcs.to_header())
    if cube.frequency is not None:
        flat["RESTFRQ"] = float(cube.frequency[0])
    return flat


def _header_of(tile: Tile, header: fits.Header, number: int, beam: Beam | None) -> TileHeader:
    axes = [int(header[f"NAXIS{i + 1}"]) for i in range(header["NAXIS"])]
    wcs = WCS(header, fix=False)
    wcs.wcs.fix()  # as WCS does, but without a warning for each date
    if wcs.wcs.lng != 0 or wcs.wcs.lat != 1:
        raise ArchiveError(f"{tile.path}: its first two axes are {header.get('CTYPE1', 'unknown')} "
                           f"and {header.get('CTYPE2', 'unknown')}; wanted are longitude and latitude")
    if any(n != 1 for n in axes[2:]):
        raise ArchiveError(f"{tile.path}: has axes of {axes} pixels; wanted is one plane")
    sky = wcs.celestial
    try:
        frame = wcs_frame(sky)
    except CoordinateError as error:
        raise ArchiveError(f"{tile.path}: {error}") from error
    found = TileHeader(tile, header, sky, frame, (axes[1], axes[0]), number, beam)
    if beam is not None:
        try:
            check_beam(beam, found.cell, found.shape, tile.path)
        except ImageError as error:
            raise ArchiveError(str(error)) from error
    return found


def _beam_of(header: fits.Header, hdus: Any) -> Beam | None:
    """That of the header, or the first of CASA's table BEAMS."""
    values = [header.get(name) for name in ("BMAJ", "BMIN", "BPA")]
    if values[0] is not None and values[1] is not None:
        return Beam(*(float(np.deg2rad(float(value or 0.0))) for value in values))
    if header.get("CASAMBM") and "BEAMS" in hdus:
        row, columns = hdus["BEAMS"].data[0], hdus["BEAMS"].columns
        units = {name: 3600.0 if str(columns[name].unit).startswith("arcsec") else 1.0
                 for name in ("BMAJ", "BMIN", "BPA")}
        return Beam(*(float(np.deg2rad(row[name] / unit)) for name, unit in units.items()))
    return None


#: `read_header`, of the tiles that were asked for last.
known_header = functools.lru_cache(maxsize=_KEPT)(read_header)


def read_section(image: TileHeader, rows: slice, columns: slice) -> NDArray[np.float32]:
    """Pixels (m, l) of a tile, in its unit; those that are not finite are NaN.

    Parameters
    ----------
    image : TileHeader
    rows, columns : slice
        Within the image.
    """
    if image.hdu == _BY_READER:
        found = np.array(_cube_of(image.tile).data[0][rows, columns], np.float32)
        return np.where(np.isfinite(found), found, np.float32(np.nan))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    row_bytes = abs(int(image.header.get("BITPIX", -32))) // 8 * image.shape[1]
    block = min(max(_BLOCK, row_bytes * height), _LARGEST_BLOCK)
    try:
        with opened(image.tile, block) as hdus:
            found = _section(hdus[image.hdu], rows, columns)
    except ArchiveError as error:
        if not isinstance(error.__cause__, ValueError) or not _is_remote(image.tile):
            raise
        found = _section_of_copy(image, rows, columns)
    if found.shape != (height, width):
        raise ArchiveError(f"{image.tile.path}: is cut short; copy it again")
    return np.where(np.isfinite(found), found, np.float32(np.nan))


def _section(hdu: Any, rows: slice, columns: slice) -> NDArray[np.float32]:
    # Whole rows are one piece of the file; parts of them are read one by one, which takes astropy longer.
    whole = hdu.header["NAXIS1"] * (rows.stop - rows.start) <= _WHOLE_ROWS
    where = (*(0,) * (hdu.header["NAXIS"] - 2), rows, slice(None) if whole else columns)
    found = hdu.section[where]
    return np.array(found[:, columns] if whole else found, np.float32)


def _section_of_copy(image: TileHeader, rows: slice, columns: slice) -> NDArray[np.float32]:
    """The same of a server that sends whole files alone."""
    with tempfile.TemporaryDirectory(prefix="uvstack-tile-") as folder:
        how = {"simplecache": {"cache_storage": folder}}
        try:
            with fits.open(f"simplecache::{image.tile.path}", use_fsspec=True, fsspec_kwargs=how) as hdus:
                return _section(hdus[image.hdu], rows, columns)
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{image.tile.path}: cannot be read: {' '.join(str(error).split())}") from error
