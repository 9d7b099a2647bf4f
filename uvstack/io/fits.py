"""Writing FITS images of the sky."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.io.output import written_whole
from uvstack.sky.beam import Beam


def write_stamp(path: str | Path, brightness: np.ndarray, cell: float, ra: float, dec: float,
                cards: dict) -> None:
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
    wcs = sin_wcs(ra, dec, (brightness.shape[0], brightness.shape[1]), cell)
    header = _sky_cards(wcs)
    header["BUNIT"] = "Jy/beam"
    for name, value in cards.items():
        header[name] = value
    with written_whole(path) as partial:
        fits.PrimaryHDU(brightness.astype(np.float32), header).writeto(partial)


def sin_wcs(ra: float, dec: float, shape: tuple[int, int], cell: float,
            centre: tuple[float, float] = (0.0, 0.0)) -> WCS:
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
    wcs.wcs.lonpole = 180.0  # on the pole itself FITS has another default, which turns the image round
    wcs.wcs.set()
    return wcs


def write_image(path: str | Path, data: NDArray, wcs: WCS, *, unit: str = "Jy/beam",
                beams: Beam | Sequence[Beam] | None = None,
                frequency: float | NDArray | None = None, width: float | None = None,
                date: str | None = None, four_axes: bool = True,
                cards: Mapping[str, Any] | None = None, stokes: Sequence[int] = (1,),
                spectral_frame: str = "LSRK",
                beside: Mapping[str, tuple[NDArray, str]] | None = None) -> None:
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
        Several, one a plane with the channel running fastest, become CASA's table BEAMS with
        CASAMBM = T in the header. None may be of size 0 or NaN: casacore (3.6) ends the process
        that reads such a table.
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
    beside : mapping of str to (ndarray, str), optional
        Extensions of the same pixels by their names, each with its unit.

    Raises
    ------
    ImageError
        The channels or Stokes parameters are not evenly spaced, or frequencies, beams and planes
        differ in number.
    """
    pixels: NDArray = data.reshape((1,) * (4 - data.ndim) + data.shape)
    header, extensions = _header_of(
        pixels.shape[:2], wcs, unit=unit, beams=beams, frequency=frequency, width=width, date=date,
        four_axes=four_axes, cards=cards, stokes=stokes, spectral_frame=spectral_frame)
    plane = not four_axes and pixels.shape[:2] == (1, 1)
    for name, (more, its_unit) in (beside or {}).items():
        own = header.copy()
        own["BUNIT"] = its_unit
        extensions.append(fits.ImageHDU(more.reshape(pixels.shape[2 * plane :]).astype(np.float32),
                                        own, name=name))
    with written_whole(path) as partial:
        fits.HDUList([fits.PrimaryHDU((pixels[0, 0] if plane else pixels).astype(np.float32),
                                      header), *extensions]).writeto(partial)


@contextlib.contextmanager
def image_by_rows(path: str | Path, shape: tuple[int, int], wcs: WCS, *, unit: str = "Jy/beam",
                  four_axes: bool = True,
                  **options: Any) -> Iterator[Callable[[NDArray], None]]:
    """What writes the rows of a plane (m, l), block after block from the first, as `write_image` would the whole; whole at the end.

    Parameters
    ----------
    path : str or Path
    shape : (int, int)
    wcs, unit, four_axes, **options
        As of `write_image`.
    """
    options = {"stokes": (1,), "spectral_frame": "LSRK", "beams": None, "frequency": None,
               "width": None, "date": None, "cards": None} | options
    header, _ = _header_of((1, 1), wcs, unit=unit, four_axes=four_axes, **options)
    sizes = (*shape[::-1], 1, 1) if four_axes else shape[::-1]
    size = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", len(sizes)),
                        *((f"NAXIS{i}", n) for i, n in enumerate(sizes, 1))])
    size.extend(header, unique=True)
    with written_whole(path) as partial:
        stream = fits.StreamingHDU(str(partial), size)
        try:
            yield lambda rows: stream.write(np.ascontiguousarray(rows, np.float32))
        finally:
            stream.close()


def _header_of(n_planes: tuple[int, int], wcs: WCS, *, unit: str,
               beams: Beam | Sequence[Beam] | None, frequency: float | NDArray | None,
               width: float | None, date: str | None, four_axes: bool,
               cards: Mapping[str, Any] | None, stokes: Sequence[int],
               spectral_frame: str) -> tuple[fits.Header, list[fits.BinTableHDU]]:
    """Header and extensions of an image of (stokes, chan) planes."""
    if n_planes[0] != len(stokes) or (np.diff(stokes, 2) != 0).any():
        raise ImageError(f"an image of {n_planes[0]} Stokes parameters with the codes "
                         f"{list(stokes)}; wanted is one each, evenly spaced")
    plane = not four_axes and n_planes == (1, 1)
    header = _sky_cards(wcs.celestial)
    header["RADESYS"] = wcs.celestial.wcs.radesys
    if np.isfinite(wcs.celestial.wcs.equinox):
        header["EQUINOX"] = wcs.celestial.wcs.equinox
    if not plane:
        _add_axes(header, n_planes[1], frequency, width)
        header["CRVAL4"], header["CDELT4"] = float(stokes[0]), float(stokes[1] - stokes[0]
                                                                     if len(stokes) > 1 else 1)
        if spectral_frame:
            header["SPECSYS"] = spectral_frame
    header["BTYPE"], header["BUNIT"] = "Intensity", unit
    if date is not None:
        header["DATE-OBS"], header["TIMESYS"] = date, "UTC"
    several = [] if beams is None else [beams] if isinstance(beams, Beam) else list(beams)
    n_beams = n_planes[0] * n_planes[1]
    if len(several) not in (0, 1, n_beams):
        raise ImageError(f"{len(several)} beams for {n_beams} planes; give one beam, or one a "
                         "plane")
    extensions = []
    if len(several) == 1:
        for name, angle in zip(("BMAJ", "BMIN", "BPA"), several[0], strict=True):
            header[name] = float(np.rad2deg(angle))
    elif several:
        header["CASAMBM"] = (True, "CASA multiple BEAMS table present")
        extensions.append(_beams_table(several, n_planes[1]))
    header.update(cards or {})
    return header, extensions


def _sky_cards(wcs: WCS) -> fits.Header:
    """Header of celestial coordinates. wcslib writes 14 digits, which are 0.02 µas of a right ascension; here stand all."""
    header = wcs.to_header()
    for axis, value in enumerate(wcs.wcs.crval, 1):
        header[f"CRVAL{axis}"] = float(value)
    return header


def _add_axes(header: fits.Header, n_chan: int, frequency: float | NDArray | None,
              width: float | None) -> None:
    """Cards of the axes FREQ and STOKES."""
    nu = np.atleast_1d(np.asarray([] if frequency is None else frequency, float))
    if nu.size != n_chan:
        raise ImageError(f"{nu.size} frequencies for {n_chan} planes; give one a plane, in Hz")
    step = float(nu[-1] - nu[0]) / (nu.size - 1) if nu.size > 1 else float(width or 1e-3 * nu[0])
    off = np.abs(nu - (nu[0] + step * np.arange(nu.size))).max()
    if step == 0 or off > 1e-6 * abs(step):
        raise ImageError(f"channels are up to {off:g} Hz off an even spacing of {step:g} Hz; a "
                         "FITS axis is even: regrid, or write the channels one by one")
    header["WCSAXES"] = 4
    for axis, (kind, value, delta, kind_unit) in enumerate((("FREQ", nu[0], step, "Hz"),
                                                            ("STOKES", 1.0, 1.0, "")), 3):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = kind, float(value), delta
        header[f"CRPIX{axis}"], header[f"CUNIT{axis}"] = 1.0, kind_unit
    header["RESTFRQ"] = float(nu[nu.size // 2])


def _beams_table(beams: Sequence[Beam], n_chan: int) -> fits.BinTableHDU:
    """CASA's table of beams: arcsec and degrees, a row a plane."""
    values = np.rad2deg(np.array(beams, float))
    columns = [fits.Column(name, "1E", unit, array=array)
               for name, unit, array in (("BMAJ", "arcsec", 3600.0 * values[:, 0]),
                                         ("BMIN", "arcsec", 3600.0 * values[:, 1]),
                                         ("BPA", "deg", values[:, 2]))]
    index = np.arange(len(beams), dtype=np.int32)
    columns += [fits.Column("CHAN", "1J", array=index % n_chan),
                fits.Column("POL", "1J", array=index // n_chan)]
    table = fits.BinTableHDU.from_columns(columns, name="BEAMS")
    table.header["EXTVER"], table.header["NCHAN"], table.header["NPOL"] = 1, n_chan, len(beams) // n_chan
    return table
