"""Images of the sky from files: FITS in all its forms, and the image folders of CASA.

What is read is put into one form: planes (chan, m, l) with north up and east to the left where the
axes lie along them, whatever the order, direction and number of the file's axes; their coordinates
in a frame that is named; frequencies in Hz, also of axes in velocity or wavelength; of several
Stokes parameters I, or the one asked for. A header that does not say where the pixels are, or says
what cannot be meant, is an `ImageError` in one line, and so is a file that is empty, cut short, no
image or of another kind. A beam is looked at where it is asked for: no mask is refused for it.

Two headers are read for what they must mean. EQUINOX 1979.9 with FK4 is how CASA writes B1950 as
the VLA used it: the mean equator of 1950 with the aberration of 1979.9, not an equator of 1979.9 to
which a position would be precessed (0.4°). NCP and GLS, the projections of AIPS, are translated by
wcslib into SIN with a slant and SFL.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import re
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import BaseCoordinateFrame, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, WCSSUB_LATITUDE, WCSSUB_LONGITUDE
from numpy.typing import DTypeLike, NDArray

from uvstack.checks import one_of
from uvstack.errors import CoordinateError, ImageError, UvstackWarning
from uvstack.sky.beam import Beam
from uvstack.sky.projection import pixel_steps, wcs_frame

#: The equinox that stands in CASA's headers of B1950.
_CASA_B1950 = 1979.9
#: Prefixes of a unit, and what follows Jy.
_PREFIXES = {"": 1.0, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6}
_AREAS = {"beam": ("beam", "bm", "psf"), "pixel": ("pixel", "pix", "px")}
_UNIT = re.compile(r"([a-zµμ]?)\s*jy\s*(?:(?:/|per\s)\s*([a-z]+)|[\s.*]*([a-z]+)\s*(?:\^|\*\*)?\s*\(?-1\)?)", re.IGNORECASE)
#: A beam in the history that AIPS writes.
_AIPS_BEAM = re.compile(r"CLEAN\s+BMAJ\s*=\s*(\S+)\s+BMIN\s*=\s*(\S+)\s+BPA\s*=\s*(\S+)")
#: How far from parallel to north axes may be, to be turned by quarters and mirrored.
_PARALLEL = 0.1
#: Stokes parameters by FITS's codes, from 1.
STOKES = ("I", "Q", "U", "V")


@dataclass(frozen=True, eq=False)
class SkyImage:
    """One plane (m, l) of a file, in its unit; NaN is blank. Further as in `SkyCube`."""

    data: NDArray[np.float64]
    cube: SkyCube

    @property
    def cell(self) -> float:
        """Pixel size, rad: the geometric mean of both axes."""
        return self.cube.cell

    @property
    def beam(self) -> Beam | None:
        """As `SkyCube.beam`, of this plane."""
        return self.cube.beam(0)

    def pixels_of(self, coord: SkyCoord) -> tuple[np.ndarray, np.ndarray]:
        """As `SkyCube.pixels_of`."""
        return self.cube.pixels_of(coord)


@dataclass(frozen=True, eq=False)
class SkyCube:
    """All channels of an image of one Stokes parameter.

    Attributes
    ----------
    data : ndarray (chan, m, l)
        In `unit`; NaN is blank.
    wcs : WCS
        Celestial, longitude first.
    frame : BaseCoordinateFrame
        Of its longitude and latitude.
    frequency : ndarray (chan,) or None
        Hz; None where it is not known.
    unit : str
        BUNIT as it stands.
    stokes : int or None
        FITS's code, 1 is I; None where nothing says it.
    path : str
    beams : tuple of Beam
        One a channel as the file says them, whatever they are, see `beam`; empty where it says
        none.
    telescope : str
        TELESCOP, empty where it is not said.
    time : float or None
        DATE-OBS as MJD, else MJD-OBS; None where neither is said or can be read.
    """

    data: NDArray[np.float64]
    wcs: WCS
    frame: BaseCoordinateFrame
    frequency: NDArray[np.float64] | None
    unit: str
    stokes: int | None = None
    path: str = ""
    beams: tuple[Beam, ...] = ()
    telescope: str = ""
    time: float | None = None

    @property
    def cell(self) -> float:
        """Pixel size, rad: the geometric mean of both axes."""
        return float(np.deg2rad(np.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix)))))

    def pixels_of(self, coord: SkyCoord) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates x, y, from 0; NaN where the projection does not reach."""
        seen = coord.transform_to(self.frame, merge_attributes=False).spherical
        x, y = self.wcs.world_to_pixel_values(np.atleast_1d(seen.lon.deg),
                                              np.atleast_1d(seen.lat.deg))
        return np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))

    def directions_of(self, x: np.ndarray, y: np.ndarray) -> SkyCoord:
        """Directions of pixel coordinates from 0; NaN where the projection does not reach."""
        lon, lat = self.wcs.pixel_to_world_values(x, y)
        return SkyCoord(lon, lat, unit="deg", frame=self.frame)

    def beam(self, channel: int = 0) -> Beam | None:
        """Beam of a channel; None where the file says none.

        Raises
        ------
        ImageError
            It cannot be one: not finite, not positive, its minor axis the longer, larger than the
            image.
        """
        if not self.beams:
            return None
        beam = self.beams[channel]
        check_beam(beam, self.cell, self.data.shape[-2:], self.path)
        return beam

    def scale_to(self, area: str) -> float:
        """Jy/beam or Jy/pixel (area "beam", "pixel") in the unit of the image.

        Raises
        ------
        ImageError
            It is in another unit, or none is said.
        """
        return _scale_to(self.unit, area, self.path)


def check_beam(beam: Beam, cell: float, shape: Sequence[int], path: str) -> None:
    """Raise ImageError where a beam (rad) cannot be that of an image (m, l) with such cells (rad)."""
    major, minor, angle = np.rad2deg(beam)
    if not np.isfinite(beam).all() or not 0 < minor <= major:
        raise ImageError(f"{path}: has a beam of {major:g} by {minor:g} degrees at {angle:g} "
                         "(BMAJ, BMIN, BPA); wanted are finite numbers "
                         "with BMAJ ≥ BMIN > 0: correct the header, or give beam= (--beam) where "
                         "the command has it")
    side = np.rad2deg(cell) * max(shape)
    if major > side:
        raise ImageError(f"{path}: its beam of {major:g} by {minor:g} degrees is larger than the "
                         f"image, {side:.4g} degrees; BMAJ and BMIN "
                         "are in degrees, beams that are given in rad: are these arcsec?")


# ------------------------------------------------------------------------------------------------------------------- reading


def read_image(path: str | Path, dtype: DTypeLike = np.float64, stokes: str | None = None, *,
               oriented: bool = True) -> SkyImage:
    """The plane of an image file; errors as from `read_cube`, and ImageError where there are several channels."""
    cube = read_cube(path, dtype, stokes, oriented=oriented)
    if len(cube.data) > 1:
        raise ImageError(f"{path}: holds {len(cube.data)} channels; wanted is an image of one "
                         "plane: select or average them")
    return SkyImage(cube.data[0], cube)


def read_model_image(path: str | Path) -> SkyCube:
    """Image or cube of Stokes I in Jy/pixel, blank pixels 0; errors as from `read_cube`, and ImageError for other units and Stokes."""
    cube = read_cube(path)
    factor = cube.scale_to("pixel")
    if cube.stokes not in (None, 1):
        raise ImageError(f"{path}: holds Stokes {cube.stokes} (FITS's code); wanted is a model of "
                         "Stokes I, code 1")
    if cube.frequency is None and len(cube.data) > 1:
        raise ImageError(f"{path}: {len(cube.data)} planes without frequencies; give a FREQ axis "
                         "in Hz, or RESTFRQ for one in velocity")
    object.__setattr__(cube, "data", np.where(np.isfinite(cube.data), cube.data, 0.0) * factor)
    return cube


def read_cube(path: str | Path, dtype: DTypeLike = np.float64, stokes: str | None = None, *,
              oriented: bool = True, mapped: bool = False) -> SkyCube:
    """First image of a file that has celestial axes, as the module describes it, in a kind of floats.

    Parameters
    ----------
    path : path
    dtype : dtype
    stokes : {"I", "Q", "U", "V"}, optional
        Default I of several, or else the only one.
    oriented : bool
        North up and east to the left; False leaves pixels where they are in the file.
    mapped : bool
        Pixels stay in the file, in its kind of floats, where they stand there as they are: of plain
        FITS. Whether all are blank is then not looked at.

    Raises
    ------
    ImageError
        There is no such file, or it cannot be read as one; its header cannot be meant; an axis that
        is neither sky nor frequency has several pixels, or Stokes parameters without the one wanted
        among them; every pixel is blank.
    """
    if stokes is not None:
        one_of("stokes", stokes, STOKES)
    with open_fits(path) as hdus:
        hdu, header = _first_image(hdus, path)
        data = _pixels_in_file(hdu, path) if mapped else None
        if data is None:
            data = _pixels(hdu, dtype)
        table = next((fits.BinTableHDU(h.data, h.header) for h in hdus if h.name == "BEAMS"), None)
    _check_cards(header, path)
    wcs, sky = _parse_wcs(header, path)
    if wcs.naxis > data.ndim:
        data = data.reshape((1,) * (wcs.naxis - data.ndim) + data.shape)
    elif wcs.naxis < data.ndim:
        data = _without_axes(data, wcs.naxis, path)
    data, frequency, code, plane = _channels_first(data, wcs, path, stokes)
    if not mapped and not np.isfinite(data).any():
        raise ImageError(f"{path}: every pixel is blank")
    frame = _frame_of(sky, path)
    beams = _read_beams(table, header, len(data), plane, path)
    if oriented:
        data, sky = _oriented(data, sky)
    return SkyCube(data if mapped else np.ascontiguousarray(data), sky, frame, frequency,
                   str(header.get("BUNIT") or ""), code, str(path), beams,
                   str(header.get("TELESCOP") or ""), _time_of(header))


def read_coordinates(path: str | Path) -> SkyCube:
    """Coordinates of an image, or of a header in a text file as FITS cards; its pixels are not there.

    Raises
    ------
    ImageError
        As from `read_cube`, or the text has no NAXIS1 and NAXIS2.
    """
    with open(path, "rb") if Path(path).is_file() else contextlib.nullcontext() as file:
        text = b"" if file is None else file.read(400)
    if file is None or text[:6] == b"SIMPLE" and b"\n" not in text or text[:1] < b" ":
        return read_cube(path, oriented=False, mapped=True)
    try:
        header = fits.Header.fromtextfile(path)
        shape = int(header["NAXIS2"]), int(header["NAXIS1"])
    except (ValueError, KeyError, UnicodeDecodeError, OSError, fits.VerifyError) as error:
        raise ImageError(f"{path}: neither an image nor a header as text with NAXIS1 and NAXIS2: "
                         f"{' '.join(str(error).split())}") from error
    _check_cards(header, path)
    _, sky = _parse_wcs(header, path)
    return SkyCube(np.broadcast_to(np.float32(np.nan), (1, *shape)), sky, _frame_of(sky, path),
                   None, str(header.get("BUNIT") or ""), None, str(path))


def _pixels_in_file(hdu: Any, path: str | Path) -> NDArray | None:
    """Pixels as they stand in a file, not read; None where it has none that are numbers as they are: packed, scaled, a folder."""
    if type(hdu) not in (fits.PrimaryHDU, fits.ImageHDU) or hdu.header.get("BITPIX", 0) > 0:
        return None
    if hdu.header.get("BSCALE", 1) != 1 or hdu.header.get("BZERO", 0) != 0:
        return None
    with open(path, "rb") if Path(path).is_file() else contextlib.nullcontext() as file:
        if file is None or file.read(6) != b"SIMPLE":
            return None
    return np.memmap(path, f">f{-hdu.header['BITPIX'] // 8}", "r",
                     hdu.fileinfo()["datLoc"], hdu.shape)


def _time_of(header: fits.Header) -> float | None:
    try:
        if header.get("DATE-OBS"):
            return float(Time(str(header["DATE-OBS"]).strip(), format="fits").mjd)
        return None if header.get("MJD-OBS") is None else float(header["MJD-OBS"])
    except (ValueError, TypeError):
        return None


def holds_image(path: str | Path) -> bool:
    """Whether a file or folder is an image rather than a table; ImageError where it cannot be read."""
    with open_fits(path) as hdus:
        return any(h.is_image and h.header.get("NAXIS", 0) >= 2 for h in hdus)


def is_casa_image(path: str | Path) -> bool:
    """Whether a folder is an image of CASA."""
    info = Path(path) / "table.info"
    return info.is_file() and info.read_text(encoding="utf-8", errors="replace").split("\n")[0].split("=")[-1].strip() == "Image"


@contextlib.contextmanager
def open_fits(path: str | Path) -> Iterator[Any]:
    """HDUs of a FITS file, or of an image folder of CASA; what goes wrong while they are read is an ImageError in one line."""
    path = Path(path)
    with contextlib.ExitStack() as stack:
        source = path
        if path.is_dir():
            source = _exported(path,
                               Path(stack.enter_context(tempfile.TemporaryDirectory(
                                                            prefix="uvstack-"))))
        elif not path.is_file():
            raise ImageError(f"{path}: no such image")
        elif path.stat().st_size == 0:
            raise ImageError(f"{path}: is empty; wanted is a FITS image")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.filterwarnings("error", "File may have been truncated", AstropyUserWarning)
                # Astropy leaves files open that it opened itself and could not read.
                file = stack.enter_context(source.open("rb"))
                yield stack.enter_context(fits.open(file, memmap=False))
        except ImageError:
            raise
        except AstropyUserWarning as error:
            raise ImageError(f"{path}: is cut short: {' '.join(str(error).split())}; "
                             "copy it again") from error
        except OSError as error:
            raise ImageError(f"{path}: not a FITS file: {' '.join(str(error).split())}") from error
        except (EOFError, zlib.error, ValueError, TypeError, IndexError, KeyError,
                fits.VerifyError) as error:
            raise ImageError(f"{path}: cannot be read as FITS: "
                             f"{' '.join(str(error).split())}; is it cut short?") from error


def _exported(path: Path, folder: Path) -> Path:
    """A FITS file of an image of CASA, in a folder that exists."""
    if not is_casa_image(path):
        raise ImageError(f"{path}: is a folder and no image of CASA; wanted is a FITS image")
    out = folder / "image.fits"
    try:
        if importlib.util.find_spec("casacore") is not None:
            from casacore.images import image

            image(str(path)).tofits(str(out))
        elif importlib.util.find_spec("casatools") is not None:
            import casatools

            tool = casatools.image()
            tool.open(str(path))
            tool.tofits(str(out))
            tool.close()
        else:
            raise ImageError(f"{path}: is an image of CASA, which needs casacore or casatools: pip "
                             "install 'uvstack[casacore]', or "
                             "write it as FITS with CASA's exportfits")
    except RuntimeError as error:
        raise ImageError(f"{path}: CASA's image cannot be read: {' '.join(str(error).split())}; "
                         "write it as FITS with exportfits") from error
    return out


def _first_image(hdus: Any, path: str | Path) -> tuple[Any, fits.Header]:
    """The first image with celestial axes, or else the first image, and its header."""
    images = [h for h in hdus if h.is_image and h.header.get("NAXIS", 0) >= 2]
    if not images:
        tables = any(isinstance(h, fits.BinTableHDU | fits.TableHDU) for h in hdus)
        raise ImageError(f"{path}: holds no image"
                         + (", but a table; wanted is a FITS image" if tables else ""))
    hdu = next((h for h in images
                if any(str(h.header.get(f"CTYPE{i}", "")).upper().startswith(
                           ("RA--", "DEC-", "GLON", "GLAT", "ELON")) for i in range(1, 8))),
               images[0])
    header = hdu.header.copy()
    if hdu is not hdus[0] and header.get("INHERIT") is True:
        header.extend(hdus[0].header, unique=True, strip=True)
    return hdu, header


def _pixels(hdu: Any, dtype: DTypeLike) -> NDArray:
    """Pixels of an image in a kind of floats of this machine."""
    data = hdu.data
    if data.dtype == np.dtype(dtype).newbyteorder() and data.flags.writeable:
        # Turned where they are: another image of 16384² pixels is a gigabyte.
        return data.byteswap(inplace=True).view(dtype)
    return np.asarray(data, dtype)


def _check_cards(header: fits.Header, path: str | Path) -> None:
    """Refuse a header that leaves out where the pixels are, for which FITS has defaults that nobody means, or has no numbers there."""
    has_cd = any(re.fullmatch(r"CD\d+_\d+", name) for name in header)
    for i in range(1, 10):
        kind = str(header.get(f"CTYPE{i}", "")).upper()
        if not kind.startswith(("RA", "DEC", "GLON", "GLAT", "ELON", "ELAT")):
            continue
        for name in (f"CRVAL{i}", f"CRPIX{i}", *([] if has_cd else [f"CDELT{i}"])):
            value = header.get(name)
            if isinstance(value, bool) or not isinstance(value,
                                                         int | float) or not np.isfinite(value):
                raise ImageError(f"{path}: its {name} is "
                                 f"{'missing' if value is None else repr(value)}; wanted is a "
                                 "number for the axis " f"{kind}: correct the header")


def _parse_wcs(header: fits.Header, path: str | Path) -> tuple[WCS, WCS]:
    """Coordinates of all axes, and those of the sky, longitude first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what wcslib translates
            wcs = WCS(header)
            wcs.wcs.set()
            sky = wcs.sub([WCSSUB_LONGITUDE, WCSSUB_LATITUDE])
            matrix = sky.pixel_scale_matrix
    except Exception as error:  # wcslib has a dozen kinds, some of them built on ValueError and MemoryError
        raise ImageError(f"{path}: its coordinates cannot be read: "
                         f"{' '.join(str(error).split())}; correct the header") from error
    if sky.naxis != 2:
        raise ImageError(f"{path}: the image has no celestial coordinates but the axes "
                         f"{', '.join(map(repr, wcs.wcs.ctype))}; wanted are "
                         "RA---SIN and DEC--SIN or such")
    longitude = float(sky.wcs.crval[0])
    if abs(longitude) > 720.0:
        raise ImageError(f"{path}: its middle is at a longitude of {longitude:g} degrees (CRVAL, "
                         "CUNIT); wanted is 0 to 360: correct the header")
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-30:
        raise ImageError(f"{path}: its pixels have no size: the matrix of CDELT, PC or CD is "
                         f"{matrix.ravel()} degrees; correct the header")
    return wcs, sky


def _without_axes(data: NDArray, n: int, path: str | Path) -> NDArray:
    """Pixels with n axes, where the coordinates have no more."""
    if any(size > 1 for size in data.shape[: data.ndim - n]):
        raise ImageError(f"{path}: has {data.ndim} axes of pixels, "
                         f"{' × '.join(map(str, data.shape[::-1]))}, and coordinates for {n}; "
                         "wanted is one plane, or coordinates for all")
    return data.reshape(data.shape[data.ndim - n :])


def _channels_first(data: NDArray, wcs: WCS, path: str | Path,
                    wanted: str | None) -> tuple[NDArray, NDArray | None, int | None, int]:
    """Image as (chan, m, l), the frequencies and the Stokes parameter, where they are known, and its plane in the file."""
    spectral, stokes, plane = wcs.wcs.spec, None, 0
    data = data.transpose()  # numpy has the axes of FITS in reverse
    keep = [wcs.wcs.lat, wcs.wcs.lng]
    for axis in range(wcs.naxis):
        if axis in keep or axis == spectral:
            continue
        kind, n, index = str(wcs.wcs.ctype[axis]).upper(), data.shape[axis], 0
        if kind.startswith("STOKES"):
            codes = np.rint(wcs.wcs.crval[axis]
                            + (np.arange(n) + 1 - wcs.wcs.crpix[axis])
                            * wcs.pixel_scale_matrix[axis, axis]).astype(int)
            index = plane = _stokes_plane(codes, wanted, path)
            stokes = int(codes[index]) or None
        elif n > 1:
            raise ImageError(f"{path}: has {n} pixels along {kind or 'an axis without a name'}; "
                             "wanted is an image, or a cube in frequency: select one")
        data = data[(slice(None),) * axis + (slice(index, index + 1),)]
    rest = [axis for axis in range(wcs.naxis) if axis not in (*keep, spectral)]
    data = np.transpose(data, [*([spectral] if spectral >= 0 else []), *keep, *rest])
    data = data.reshape(-1, data.shape[-2 - len(rest)], data.shape[-1 - len(rest)])
    if stokes is None and wanted not in (None, "I"):
        raise ImageError(f"{path}: does not say its Stokes parameter, so that it is not known to "
                         f"be {wanted}; give it an axis STOKES")
    return data, _frequencies(wcs, len(data), path) if spectral >= 0 else None, stokes, plane


def _stokes_plane(codes: NDArray, wanted: str | None, path: str | Path) -> int:
    """Plane of the Stokes parameter wanted; by default of I, or the only one."""
    if len(codes) == 1 and (wanted is None or codes[0] == 0):
        return 0
    code = STOKES.index(wanted or "I") + 1
    if code not in codes:
        raise ImageError(f"{path}: holds the Stokes parameters {codes.tolist()} (FITS's codes) "
                         f"and not {wanted or 'I'}, {code}; select one")
    return int(np.flatnonzero(codes == code)[0])


def _frequencies(wcs: WCS, n: int, path: str | Path) -> NDArray | None:
    """Hz of n channels; None for one that does not say."""
    axis = wcs.wcs.spec
    if str(wcs.wcs.ctype[axis]).upper() == "FREQ":
        found = wcs.wcs.crval[axis] + (np.arange(n) + 1.0
                                       - wcs.wcs.crpix[axis]) * wcs.pixel_scale_matrix[axis, axis]
    else:
        try:
            # Velocities along the line of sight by their own convention; RESTFRQ belongs to them.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that no observer is known
                values = wcs.spectral.pixel_to_world(np.arange(n)).to(u.Hz)
            found = np.atleast_1d(u.Quantity(values, copy=False).value)
        except Exception as error:  # astropy has its own kinds for a velocity without a rest frequency
            if n == 1:
                return None
            raise ImageError(f"{path}: its axis {wcs.wcs.ctype[axis]} cannot be turned into "
                             f"frequencies: {' '.join(str(error).split())}; "
                             "give RESTFRQ, or an axis FREQ in Hz") from error
    if np.isfinite(found).all() and (found > 0).all() and np.unique(found).size == n:
        return found
    if n == 1:
        return None
    raise ImageError(f"{path}: its {n} channels lie at {found[0]:g} to {found[-1]:g} Hz; wanted "
                     "are positive frequencies that differ")


def _frame_of(sky: WCS, path: str | Path) -> BaseCoordinateFrame:
    """Frame of a celestial WCS, whose equinox is changed where CASA's B1950 is meant."""
    if sky.wcs.radesys == "FK4" and abs(sky.wcs.equinox - _CASA_B1950) < 1e-6:
        sky.wcs.equinox = 1950.0
        warnings.warn(UvstackWarning(f"{path}: is in FK4 with EQUINOX 1979.9, which CASA writes "
                                     "for B1950; it is read as B1950"), stacklevel=4)
    try:
        return wcs_frame(sky)
    except CoordinateError as error:
        raise ImageError(f"{path}: {error}") from error


def _oriented(data: NDArray, sky: WCS) -> tuple[NDArray, WCS]:
    """Planes with east to the left and north up, where the axes lie along them, and their WCS."""
    matrix = pixel_steps(sky, data.shape[-2:])
    if not np.isfinite(matrix).all() or sky.sip is not None:
        return data, sky
    size = abs(matrix)
    straight, swapped = size[0, 0] + size[1, 1], size[0, 1] + size[1, 0]
    swap = swapped > straight
    if min(straight, swapped) > _PARALLEL * max(straight, swapped):
        return data, sky
    if swap:
        data, matrix = np.swapaxes(data, -1, -2), matrix[:, ::-1]
    flip = [bool(matrix[0, 0] > 0), bool(matrix[1, 1] < 0)]
    if not (swap or any(flip)):
        return data, sky
    turn = np.eye(2)[::-1] if swap else np.eye(2)
    crpix = np.array(sky.wcs.crpix)[::-1] if swap else np.array(sky.wcs.crpix)
    for axis in [axis for axis in (0, 1) if flip[axis]]:
        data = np.flip(data, -1 - axis)
        crpix[axis] = data.shape[-1 - axis] + 1 - crpix[axis]
        turn[:, axis] *= -1
    turned = copy.deepcopy(sky)
    turned.wcs.crpix = crpix
    if turned.wcs.has_cd():
        turned.wcs.cd = turned.wcs.cd @ turn
    else:
        turned.wcs.pc = turned.wcs.get_pc() @ turn
    turned.wcs.set()
    return data, turned


# ------------------------------------------------------------------------------------------------------------- beams and units


def _read_beams(table: fits.BinTableHDU | None, header: fits.Header, n_chan: int, plane: int,
                path: str | Path) -> tuple[Beam, ...]:
    """One a channel, as the file says them: CASA's table BEAMS, the header, or what AIPS writes into the history."""
    if table is not None:
        rows = np.sort(table.data[table.data["POL"] == plane], order="CHAN")
        if rows["CHAN"].tolist() != list(range(n_chan)):
            raise ImageError(f"{path}: its table BEAMS has channels {rows['CHAN'].tolist()} of "
                             f"{n_chan}; wanted is one beam a channel")
        columns = [(rows[name] * u.Unit(table.columns[name].unit)).to_value(u.rad)
                   for name in ("BMAJ", "BMIN", "BPA")]
        return tuple(Beam(*map(float, values)) for values in zip(*columns, strict=True))
    found: list[Any] = [header.get("BMAJ"), header.get("BMIN"), header.get("BPA", 0.0)]
    if found[0] is None and found[1] is None:
        told = _AIPS_BEAM.findall(" ".join(str(line) for line in header.get("HISTORY", [])))
        if not told:
            return ()
        found = list(told[-1])  # the last CLEAN is the one that made it
    try:
        values = [float(np.deg2rad(float("nan" if one is None else one))) for one in found]
    except ValueError:
        values = [float("nan")] * 3
    return (Beam(*values),) * n_chan


def prefix_of_jansky(unit: str) -> float | None:
    """Jy in the unit of an image in Jy, mJy … per beam, however it is written; None of another unit."""
    try:
        return _scale_to(unit, "beam", "")
    except ImageError:
        return None


def _scale_to(unit: str, area: str, path: str) -> float:
    text = unit.strip()
    found = _UNIT.fullmatch(text)
    if found:
        prefix, of = found[1], (found[2] or found[3]).lower()
        if prefix == "M" and text == text.upper():
            raise ImageError(f"{path}: is in {unit}, all in capitals: mega or milli? Write BUNIT "
                             f"as mJy/{area}")
        prefix = prefix if prefix == "M" else prefix.lower()
        if prefix in _PREFIXES and of in _AREAS[area]:
            return _PREFIXES[prefix]
    try:
        return float(u.Unit(text).to(u.Jy / {"beam": u.beam, "pixel": u.pix}[area]))
    except (ValueError, TypeError, u.UnitConversionError) as error:
        wanted = {"beam": "is Jy/beam, in which the peak of a point source is its flux",
                  "pixel": "a model in Jy/pixel, such as the components of a deconvolution"}[area]
        raise ImageError(f"{path}: is in {text or 'no unit (BUNIT)'}; wanted {wanted}") from error
