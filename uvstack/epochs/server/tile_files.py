"""Tiles opened: what their headers say, and the pixels of a section, of a local file or over HTTP.

Of a local file the pixels that are wanted are mapped into memory; of a remote one the ranges of
bytes with their rows are asked for. A server that knows no ranges sends the whole file, which is
kept in a temporary folder while it is read.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import BaseCoordinateFrame, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from uvstack.epochs.server.tile_name import Tile
from uvstack.errors import ArchiveError, CoordinateError
from uvstack.sky.beam import Beam
from uvstack.sky.projection import wcs_frame

#: Headers that are kept, of some 100 kB each.
_KEPT = 256
#: Bytes asked for at once of a remote file: a header is read whole, and so are the rows of a section.
_BLOCK = 1 << 18
_LARGEST_BLOCK = 1 << 24
#: Pixels of rows that are read as they are.
_WHOLE_ROWS = 8_000_000
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
        if not tile.path.startswith(("http://", "https://")):
            with fits.open(tile.path, memmap=True, lazy_load_hdus=True) as hdus:
                yield hdus
            return
        how = {"block_size": block, "cache_type": "readahead"}
        with fits.open(tile.path, use_fsspec=True, fsspec_kwargs=how) as hdus:
            yield hdus
    except ArchiveError:
        raise
    except (OSError, ValueError, TypeError, IndexError, KeyError, EOFError, TimeoutError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveError(f"{tile.path}: cannot be read as FITS: {text}") from error


def read_header(tile: Tile) -> TileHeader:
    """What is known of a tile.

    Raises
    ------
    ArchiveError
        It cannot be read, or holds no plane with RA and Dec along its first two axes.
    """
    with opened(tile) as hdus:
        for number, hdu in enumerate(hdus):
            if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2:
                beam = _beam_of(hdu.header, hdus)
                return _header_of(tile, hdu.header.copy(), number, beam)
    raise ArchiveError(f"{tile.path}: holds no image")


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
    return TileHeader(tile, header, sky, frame, (axes[1], axes[0]), number, beam)


def _beam_of(header: fits.Header, hdus: Any) -> Beam | None:
    """That of the header, or the first of CASA's table BEAMS."""
    values = [header.get(name) for name in ("BMAJ", "BMIN", "BPA")]
    if values[0] is not None and values[1] is not None:
        beam = Beam(*(float(np.deg2rad(float(value or 0.0))) for value in values))
        return beam if 0 < beam.fwhm_minor <= beam.fwhm_major < np.pi else None
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
    height, width = rows.stop - rows.start, columns.stop - columns.start
    row_bytes = abs(int(image.header.get("BITPIX", -32))) // 8 * image.shape[1]
    block = min(max(_BLOCK, row_bytes * height), _LARGEST_BLOCK)
    try:
        with opened(image.tile, block) as hdus:
            found = _section(hdus[image.hdu], rows, columns)
    except ArchiveError as error:
        if not isinstance(error.__cause__, ValueError) or not image.tile.path.startswith("http"):
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
