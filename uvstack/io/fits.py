"""Reading and writing FITS images of the sky."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.io.output import written_whole


class Beam(NamedTuple):
    """A Gaussian beam: FWHM of its axes and position angle of the major one from north through east, rad."""

    fwhm_major: float
    fwhm_minor: float
    position_angle: float = 0.0

    @property
    def solid_angle(self) -> float:
        """Integral of the beam, sr: π/(4 ln 2) times both FWHM."""
        return float(np.pi / (4.0 * np.log(2.0)) * self.fwhm_major * self.fwhm_minor)


@dataclass(frozen=True)
class SkyImage:
    """A plane of a FITS image: data (m, l), its celestial WCS, and the beam's FWHM (rad) or None."""

    data: np.ndarray
    wcs: WCS
    beam_major: float | None
    beam_minor: float | None

    @property
    def cell(self) -> float:
        """Pixel size, rad: the geometric mean of both axes."""
        return float(np.deg2rad(np.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix)))))

    def pixels_of(self, coord: SkyCoord) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates x, y, from 0; NaN where the projection does not reach."""
        x, y = self.wcs.world_to_pixel(coord)
        return np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))


def read_image(path: str | Path) -> SkyImage:
    """First plane of the first image of a FITS file.

    Raises
    ------
    ImageError
        If there is no such file, it is no FITS file, or holds no image with celestial axes.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: no such image")
    try:
        with warnings.catch_warnings(), fits.open(path) as hdus:
            warnings.simplefilter("ignore", FITSFixedWarning)
            hdu = next((h for h in hdus if h.is_image and h.data is not None and h.data.ndim >= 2), None)
            if hdu is None:
                raise ImageError(f"{path}: holds no image")
            data = np.array(hdu.data.reshape((-1, *hdu.data.shape[-2:]))[0], dtype=np.float64)
            wcs = WCS(hdu.header).celestial
            major, minor = hdu.header.get("BMAJ"), hdu.header.get("BMIN")
    except OSError as error:
        raise ImageError(f"{path}: not a FITS file: {error}") from error
    if not wcs.has_celestial:
        raise ImageError(f"{path}: the image has no celestial coordinates")
    if not np.isfinite(data).any():
        raise ImageError(f"{path}: every pixel is blank")
    return SkyImage(data, wcs, *(None if b is None else float(np.deg2rad(b)) for b in (major, minor)))


def write_stamp(path: str | Path, brightness: np.ndarray, cell: float, ra: float, dec: float, cards: dict) -> None:
    """Write a stamp (m, l) in Jy/beam around ra, dec (rad) as a FITS image.

    Parameters
    ----------
    path : str or Path
    brightness : ndarray (m, l)
    cell : float
        Pixel, rad.
    ra, dec : float
        Direction of pixel (size/2, size/2).
    cards : dict
        More header cards.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [(ra * u.rad).to_value(u.deg), (dec * u.rad).to_value(u.deg)]
    wcs.wcs.crpix = [n // 2 + 1 for n in brightness.shape[::-1]]
    wcs.wcs.cdelt = [-np.rad2deg(cell), np.rad2deg(cell)]
    header = wcs.to_header()
    header["BUNIT"] = "Jy/beam"
    for name, value in cards.items():
        header[name] = value
    with written_whole(path) as partial:
        fits.PrimaryHDU(brightness.astype(np.float32), header).writeto(partial)


@dataclass(frozen=True, eq=False)
class SkyCube:
    """All channels of a FITS image of one Stokes parameter.

    Attributes
    ----------
    data : ndarray (chan, m, l)
        In `unit`; NaN is blank.
    wcs : WCS
        Celestial.
    frequency : ndarray (chan,) or None
        Hz; None where there is no such axis.
    beams : tuple of Beam
        One a channel, equal ones where the file has one for all; empty where it has none.
    unit : str
        BUNIT as it stands.
    """

    data: NDArray[np.float64]
    wcs: WCS
    frequency: NDArray[np.float64] | None
    beams: tuple[Beam, ...]
    unit: str

    @property
    def cell(self) -> float:
        """Pixel size, rad: the geometric mean of both axes."""
        return float(np.deg2rad(np.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix)))))


def read_cube(path: str | Path) -> SkyCube:
    """Cube of the first image of a FITS file: two axes of the sky, then FREQ and STOKES in any order, or neither.

    The beams are those of CASA's table BEAMS, one a channel, or else BMAJ, BMIN and BPA of the header.

    Raises
    ------
    ImageError
        There is no such file, it is no FITS file or holds no such image; another axis than FREQ has more than one pixel;
        the table of beams does not fit the channels.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: no such image")
    try:
        with warnings.catch_warnings(), fits.open(path, memmap=False) as hdus:
            warnings.simplefilter("ignore", FITSFixedWarning)
            hdu = next((h for h in hdus if h.is_image and h.data is not None and h.data.ndim >= 2), None)
            if hdu is None:
                raise ImageError(f"{path}: holds no image")
            wcs = WCS(hdu.header)
            wcs.wcs.set()
            data, frequency = _channels_first(np.asarray(hdu.data, np.float64), wcs, path)
            return SkyCube(data, wcs.celestial, frequency, _read_beams(hdus, hdu.header, len(data), path), str(hdu.header.get("BUNIT", "")))
    except OSError as error:
        raise ImageError(f"{path}: not a FITS file: {error}") from error


def _channels_first(data: NDArray, wcs: WCS, path: Path) -> tuple[NDArray, NDArray | None]:
    """Image as (chan, m, l), and the frequencies if there is such an axis."""
    if (wcs.wcs.lng, wcs.wcs.lat) != (0, 1):
        raise ImageError(f"{path}: has the axes {', '.join(wcs.wcs.ctype)}; wanted first are two of the sky, RA---SIN and DEC--SIN or such")
    spectral = wcs.wcs.spec if wcs.wcs.spec >= 0 and wcs.wcs.ctype[wcs.wcs.spec].upper().startswith("FREQ") else None
    shape = data.shape[::-1]  # numpy has the axes of FITS in reverse
    for axis in range(2, data.ndim):
        if axis != spectral and shape[axis] > 1:
            raise ImageError(f"{path}: has {shape[axis]} pixels along {wcs.wcs.ctype[axis] or 'an unnamed axis'}; wanted is a cube in FREQ"
                             " of one Stokes parameter: select one")
    planes = data.reshape(-1, *data.shape[-2:])  # every other axis has length one
    if not np.isfinite(planes).any():
        raise ImageError(f"{path}: every pixel is blank")
    if spectral is None:
        return planes, None
    pixel = np.arange(len(planes)) + 1.0 - wcs.wcs.crpix[spectral]
    return planes, wcs.wcs.crval[spectral] + pixel * wcs.pixel_scale_matrix[spectral, spectral]


def _read_beams(hdus: Sequence[Any], header: fits.Header, n_chan: int, path: Path) -> tuple[Beam, ...]:
    table = next((h for h in hdus if h.name == "BEAMS"), None)
    if table is not None:
        rows = np.sort(table.data[table.data["POL"] == 0], order="CHAN")
        if rows["CHAN"].tolist() != list(range(n_chan)):
            raise ImageError(f"{path}: its table BEAMS has channels {rows['CHAN'].tolist()} of {n_chan}; wanted is one beam a channel")
        columns = [(rows[name] * u.Unit(table.columns[name].unit)).to_value(u.rad) for name in ("BMAJ", "BMIN", "BPA")]
        return tuple(Beam(*map(float, values)) for values in zip(*columns, strict=True))
    if header.get("BMAJ") is None or header.get("BMIN") is None:
        return ()
    return (Beam(*(float(np.deg2rad(header.get(name, 0.0))) for name in ("BMAJ", "BMIN", "BPA"))),) * n_chan


def sin_wcs(ra: float, dec: float, shape: tuple[int, int], cell: float, centre: tuple[float, float] = (0.0, 0.0)) -> WCS:
    """Celestial WCS of an image in SIN projection, J2000 as FK5 has it, north up and east to the left.

    Parameters
    ----------
    ra, dec : float
        Where the projection touches the sky, rad.
    shape : (int, int)
        Pixels along m and l.
    cell : float
        Pixel, rad.
    centre : (float, float)
        l and m of pixel (shape[1] // 2, shape[0] // 2), counted from 0, rad.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [np.rad2deg(ra), np.rad2deg(dec)]
    wcs.wcs.crpix = [shape[1] // 2 + 1 + centre[0] / cell, shape[0] // 2 + 1 - centre[1] / cell]
    wcs.wcs.cdelt = [-np.rad2deg(cell), np.rad2deg(cell)]
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    wcs.wcs.set()
    return wcs


def write_image(
    path: str | Path, data: NDArray, wcs: WCS, *, unit: str = "Jy/beam", beams: Beam | Sequence[Beam] | None = None,
    frequency: float | NDArray | None = None, width: float | None = None, date: str | None = None, four_axes: bool = True,
    cards: Mapping[str, Any] | None = None, stokes: Sequence[int] = (1,), spectral_frame: str = "LSRK",
) -> None:
    """Write an image or a cube as FITS in float32, with the axes RA, DEC, FREQ and STOKES as CASA's exportfits has them.

    Parameters
    ----------
    path : str or Path
        Replaced if it exists.
    data : ndarray (m, l), (chan, m, l) or (stokes, chan, m, l)
    wcs : WCS
        Celestial.
    unit : str
    beams : Beam or sequence of Beam, optional
        Several, one a plane with the channel running fastest, become CASA's table BEAMS with CASAMBM = T in the header. None may
        be of size 0 or NaN: casacore (3.6) ends the process that reads such a table.
    frequency : float or ndarray (chan,), optional
        Hz, evenly spaced; wanted for a cube and for four axes.
    width : float, optional
        Of a single channel, Hz; default a thousandth of its frequency.
    date : str, optional
        DATE-OBS, UTC, as ISO 8601.
    four_axes : bool
        False writes a plane with the two axes of the sky alone.
    cards : mapping, optional
        More header cards.
    stokes : sequence of int
        FITS's codes along that axis, evenly spaced: 1 is I, −1 is RR.
    spectral_frame : str
        SPECSYS of FITS: "TOPOCENT", "LSRK" …; empty where it is not known.

    Raises
    ------
    ImageError
        The channels or Stokes parameters are not evenly spaced, or frequencies, beams and planes differ in number.
    """
    pixels: NDArray = data.reshape((1,) * (4 - data.ndim) + data.shape)
    if pixels.shape[0] != len(stokes) or (np.diff(stokes, 2) != 0).any():
        raise ImageError(f"an image of {pixels.shape[0]} Stokes parameters with the codes {list(stokes)}; wanted is one each, "
                         "evenly spaced")
    plane = not four_axes and pixels.shape[:2] == (1, 1)
    header = wcs.celestial.to_header()
    header["RADESYS"], header["EQUINOX"] = wcs.celestial.wcs.radesys, wcs.celestial.wcs.equinox
    if not plane:
        _add_axes(header, pixels[0], frequency, width)
        header["CRVAL4"], header["CDELT4"] = float(stokes[0]), float(stokes[1] - stokes[0] if len(stokes) > 1 else 1)
        if spectral_frame:
            header["SPECSYS"] = spectral_frame
    header["BTYPE"], header["BUNIT"] = "Intensity", unit
    if date is not None:
        header["DATE-OBS"], header["TIMESYS"] = date, "UTC"
    several = [] if beams is None else [beams] if isinstance(beams, Beam) else list(beams)
    n_planes = pixels.shape[0] * pixels.shape[1]
    if len(several) not in (0, 1, n_planes):
        raise ImageError(f"{len(several)} beams for {n_planes} planes; give one beam, or one a plane")
    extensions = []
    if len(several) == 1:
        for name, angle in zip(("BMAJ", "BMIN", "BPA"), several[0], strict=True):
            header[name] = float(np.rad2deg(angle))
    elif several:
        header["CASAMBM"] = (True, "CASA multiple BEAMS table present")
        extensions.append(_beams_table(several, pixels.shape[1]))
    header.update(cards or {})
    with written_whole(path) as partial:
        fits.HDUList([fits.PrimaryHDU((pixels[0, 0] if plane else pixels).astype(np.float32), header), *extensions]).writeto(partial)


def _add_axes(header: fits.Header, planes: NDArray, frequency: float | NDArray | None, width: float | None) -> None:
    """Cards of the axes FREQ and STOKES."""
    nu = np.atleast_1d(np.asarray([] if frequency is None else frequency, float))
    if nu.size != len(planes):
        raise ImageError(f"{nu.size} frequencies for {len(planes)} planes; give one a plane, in Hz")
    step = float(nu[-1] - nu[0]) / (nu.size - 1) if nu.size > 1 else float(width or 1e-3 * nu[0])
    off = np.abs(nu - (nu[0] + step * np.arange(nu.size))).max()
    if step == 0 or off > 1e-6 * abs(step):
        raise ImageError(f"channels are up to {off:g} Hz off an even spacing of {step:g} Hz; a FITS axis is even: regrid, or write"
                         " the channels one by one")
    header["WCSAXES"] = 4
    for axis, (kind, value, delta, kind_unit) in enumerate((("FREQ", nu[0], step, "Hz"), ("STOKES", 1.0, 1.0, "")), 3):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = kind, float(value), delta
        header[f"CRPIX{axis}"], header[f"CUNIT{axis}"] = 1.0, kind_unit
    header["RESTFRQ"] = float(nu[nu.size // 2])


def _beams_table(beams: Sequence[Beam], n_chan: int) -> fits.BinTableHDU:
    """CASA's table of beams: arcsec and degrees, a row a plane."""
    values = np.rad2deg(np.array(beams, float))
    columns = [fits.Column(name, "1E", unit, array=array) for name, unit, array in (
        ("BMAJ", "arcsec", 3600.0 * values[:, 0]), ("BMIN", "arcsec", 3600.0 * values[:, 1]), ("BPA", "deg", values[:, 2]))]
    index = np.arange(len(beams), dtype=np.int32)
    columns += [fits.Column("CHAN", "1J", array=index % n_chan), fits.Column("POL", "1J", array=index // n_chan)]
    table = fits.BinTableHDU.from_columns(columns, name="BEAMS")
    table.header["EXTVER"], table.header["NCHAN"], table.header["NPOL"] = 1, n_chan, len(beams) // n_chan
    return table
