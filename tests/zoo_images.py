"""One small image under some seventy headers and pixel types.

Legal but rare ones, and ones that cannot be meant.

The sky of an image is a function of direction; every specimen has the pixels that it has at the
places where astropy's WCS, in a frame named here, says that its pixels are. What a command makes of
a specimen is then what it makes of the plain image, or an error.
"""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.coordinates import FK4, FK5, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from factories import ARCSEC, CENTRE
from oracles import cosines

SHAPE = (40, 48)
CELL = 2 * ARCSEC
FREQUENCY = 1.4e9
BEAM = 9.0 * ARCSEC
#: Where the image has its source, and the model its fluxes: pixels (m, l) of the plain image.
SOURCE = (22.3, 20.6)
POINTS = {(22, 20): 1.0, (5, 40): 0.4, (33, 9): 0.2}
_B1950 = FK4(equinox="B1950", obstime="B1979.9")


def _offsets(row: float, column: float) -> tuple[float, float]:
    """East and north of a pixel of the plain image, direction cosines."""
    return -(column - SHAPE[1] // 2) * CELL, (row - SHAPE[0] // 2) * CELL


def direction(row: float, column: float) -> tuple[float, float]:
    """(ra, dec) of a pixel of the plain image, rad."""
    l, m = _offsets(row, column)
    n = np.sqrt(1 - l * l - m * m)
    return (CENTRE[0] + np.arctan2(l, n * np.cos(CENTRE[1]) - m * np.sin(CENTRE[1])),
            np.arcsin(m * np.cos(CENTRE[1]) + n * np.sin(CENTRE[1])))


def _source(l, m):
    east, north = _offsets(*SOURCE)
    return 1e-3 * np.exp(-4 * np.log(2) * ((l - east) ** 2 + (m - north) ** 2) / BEAM**2)


def _points(l, m):
    image = np.zeros(l.shape)
    for place, flux in POINTS.items():
        east, north = _offsets(*place)
        image[np.hypot(l - east, m - north) < 0.2 * CELL] = flux
    return image


#: Kind of image → its value at direction cosines l, m (rad), and its unit.
SKIES: dict[str, tuple[Callable, str]] = {"image": (_source, "Jy/beam"),
                                          "model": (_points, "Jy/pixel"),
                                          "mask": (lambda l,
                                                   m: 1.0 * ((l > -20.5 * ARCSEC)
                                                             & (l < 30.5 * ARCSEC)
                                                             & (m > 5.5 * ARCSEC)), ""),
                                          "rms": (lambda l,
                                                  m: 1e-4 * (2 + l / (60 * ARCSEC)
                                                             + 0.5 * m / (60 * ARCSEC)), "Jy/beam"),
                                          "power": (lambda l,
                                                    m: np.exp(-4 * np.log(2) * (l**2 + m**2)
                                                              / (60 * ARCSEC) ** 2), "")}


@dataclass(frozen=True)
class Specimen:
    """How an image is written, and what must come of it.

    Attributes
    ----------
    cards : dict
        Cards that differ from the plain header, {RA}, {DEC}, {FREQ} and {STOKES} being the numbers
        of axes; None takes one away.
    axes : str
        Their order in FITS.
    pixels : callable, optional
        What is done to the pixels, and may be to the header, before they are written.
    write : callable, optional
        write(path, pixels, header) where it is no plain FITS file.
    units : tuple of (str, float), optional
        BUNIT before "/beam" or "/pixel" or as a whole, and what the numbers are multiplied with.
    frame : frame
        Of the coordinates.
    suffix : str
    errors : dict
        Command → what the error must say, where there is one; "*" stands for all that are not
        named.
    without : tuple of str
        Commands whose image cannot be drawn with such pixels.
    warns : str
        What a warning says that commands may give.
    tolerance : float
        Of the numbers, relative to the largest.
    """

    cards: dict = field(default_factory=dict)
    axes: str = "RA DEC FREQ STOKES"
    pixels: Callable | None = None
    write: Callable | None = None
    unit: Callable | None = None
    frame: object = "fk5"
    suffix: str = ".fits"
    errors: dict = field(default_factory=dict)
    without: tuple = ()
    warns: str = "no warning"
    tolerance: float = 1e-6

    def make(self, folder: Path, kind: str) -> Path:
        """Path of the image of one kind, with this header."""
        sky, unit = SKIES[kind]
        axes = self.axes.split()
        header = self._header(axes, unit)
        values = sky(*self._places())
        if self.unit is not None and unit:
            header["BUNIT"], factor = self.unit(unit)
            values = values * factor
            if header["BUNIT"] == "":
                del header["BUNIT"]
        shape = [dict(RA=SHAPE[1], DEC=SHAPE[0]).get(name, 1) for name in axes][::-1]
        pixels = (values if axes.index("DEC") > axes.index("RA")
                  else values.T).reshape(shape).astype(np.float32)
        if self.pixels is not None:
            pixels = self.pixels(pixels, header)
        path = folder / f"{kind}{self.suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (self.write or fits.writeto)(path, pixels, header)
        return path

    def _header(self, axes: list[str], unit: str) -> fits.Header:
        plain = {"RA": ("RA---SIN", np.rad2deg(CENTRE[0]), -np.rad2deg(CELL), SHAPE[1] // 2 + 1.0,
                        "deg"),
                 "DEC": ("DEC--SIN", np.rad2deg(CENTRE[1]), np.rad2deg(CELL), SHAPE[0] // 2 + 1.0,
                         "deg"), "FREQ": ("FREQ", FREQUENCY, 1e7, 1.0, "Hz"),
                 "STOKES": ("STOKES", 1.0, 1.0, 1.0, "")}
        header = fits.Header({"BUNIT": unit, "RADESYS": "FK5", "EQUINOX": 2000.0} if unit
                             else {"RADESYS": "FK5", "EQUINOX": 2000.0})
        for name in ("BMAJ", "BMIN"):
            header[name] = np.rad2deg(BEAM)
        header["BPA"] = 0.0
        for number, axis in enumerate(axes, 1):
            for name, value in zip(("CTYPE", "CRVAL", "CDELT", "CRPIX", "CUNIT"), plain[axis],
                                   strict=True):
                header[f"{name}{number}"] = value
        numbers = {axis: axes.index(axis) + 1 if axis in axes else 9 for axis in plain}
        for name, value in self.cards.items():
            name = name.format(**numbers)
            if value is None:
                header.remove(name, ignore_missing=True)
            else:
                header[name] = value
        return header

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """l and m of all pixels (m, l) by astropy, in J2000.

        Where the header cannot be read those of the plain image.
        """
        for header in (self._header(["RA", "DEC"], ""), Specimen()._header(["RA", "DEC"], "")):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    lon, lat = WCS(header).celestial.pixel_to_world_values(*np.indices(SHAPE)[::-1])
                break
            except Exception:
                continue
        coord = SkyCoord(lon, lat, unit="deg", frame=self.frame).transform_to(FK5(equinox="J2000"))
        l, m, _ = cosines(coord.ra.rad, coord.dec.rad, *CENTRE)
        return np.nan_to_num(np.asarray(l), nan=1.0), np.nan_to_num(np.asarray(m), nan=1.0)


# ------------------------------------------------------------------------------------ ways to write


def _integers(kind, blank=None):
    def pixels(values, header):
        low, high = float(values.min()), float(values.max())
        header["BSCALE"], header["BZERO"] = (high - low) / 30000 or 1.0, low
        if blank is not None:
            header["BLANK"] = blank
        counts = np.rint((values - low) / header["BSCALE"]).astype(kind)
        if blank is not None:
            counts[..., 0, 0] = blank
        return counts

    return pixels


def _write_integers(path, counts, header):
    scale = {name: header.pop(name) for name in ("BSCALE", "BZERO", "BLANK") if name in header}
    fits.writeto(path, counts, header)
    # astropy takes the scale out of what it writes.
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header.update(scale)


def _extension(*before, primary=None, **cards):
    def write(path, pixels, header):
        first = fits.PrimaryHDU(header=primary(header) if primary else None)
        image = fits.ImageHDU(pixels, header)
        image.header.update(cards)
        fits.HDUList([first, *(make() for make in before), image]).writeto(path)

    return write


def _inherited(header):
    """What an extension leaves to the primary header."""
    out = fits.Header({name: header[name] for name in ("BMAJ", "BMIN", "BPA") if name in header})
    for name in out:
        del header[name]
    return out


def _table(n=3):
    return fits.BinTableHDU.from_columns([fits.Column("x", "1E", array=np.arange(float(n)))])


def _compressed(path, pixels, header):
    fits.HDUList([fits.PrimaryHDU(),
                  fits.CompImageHDU(pixels, header, compression_type="GZIP_2",
                                    quantize_level=0)]).writeto(path)


def _gzipped(path, pixels, header):
    fits.writeto(path.with_suffix(""), pixels, header)
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))


def _cut_short(path, pixels, header):
    fits.writeto(path, pixels, header)
    path.write_bytes(path.read_bytes()[:-4000])


def _gzip_cut_short(path, pixels, header):
    _gzipped(path, pixels, header)
    path.write_bytes(path.read_bytes()[:-400])


def _casa_beams(path, pixels, header):
    major = header["BMAJ"] * 3600
    for name in ("BMAJ", "BMIN", "BPA"):
        del header[name]
    header["CASAMBM"] = True
    columns = [fits.Column(name, "1E", unit, array=[value]) for name, unit, value in (
        ("BMAJ", "arcsec", major), ("BMIN", "arcsec", major), ("BPA", "deg", 0.0))]
    columns += [fits.Column(name, "1J", array=[0]) for name in ("CHAN", "POL")]
    fits.HDUList([fits.PrimaryHDU(pixels, header),
                  fits.BinTableHDU.from_columns(columns, name="BEAMS")]).writeto(path)


def _aips_beam(pixels, header):
    major = header["BMAJ"]
    for name in ("BMAJ", "BMIN", "BPA"):
        del header[name]
    header["HISTORY"] = "AIPS   CLEAN BMAJ=  9.9000E-01 BMIN=  9.9000E-01 BPA=  80.00"
    header["HISTORY"] = f"AIPS   CLEAN BMAJ={major:12.8E} BMIN={major:12.8E} BPA=   0.00"
    return pixels


def _casa_image(path, pixels, header):
    from casacore.images import image

    fits.writeto(path.with_suffix(".fits"), pixels, header)
    image(str(path.with_suffix(".fits"))).saveas(str(path))


def _all_stokes(pixels, header):
    """I in the third of four planes: V, U, Q… by a negative step."""
    header["CRVAL4"], header["CDELT4"] = 3.0, -1.0
    return np.concatenate([pixels + 7, pixels - 5, pixels])


def _named(prefix, factor, area=None):
    """A unit with a prefix or in other words."""
    return lambda unit: (prefix + unit if area is None else area[unit], factor)


def _spelled(beam, pixel, factor=1.0):
    return lambda unit: ({"Jy/beam": beam, "Jy/pixel": pixel}[unit], factor)


#: Commands that look at the beam of the image itself, at its unit, and those that take no
#: projection but SIN.
_BEAM_USERS = ("image-stack", "image-stack --psf")
_UNIT_USERS = (*_BEAM_USERS, "epochs compare", "subtract", "image-stack --noise-image")
_MANY = "epochs combine"
#: Commands that lay two images over each other as surface brightness.
_JOINT = ("feather", "sdint", "sdint-assess", "sdint-assess --truth")
_EXTRACTION = (*_BEAM_USERS, "extract", "epochs compare", "epochs serve", *_JOINT, _MANY)
_SIN_ONLY = ("subtract", "image --mask")


def _only(message, *commands):
    return {command: message for command in commands}


def _projection(name, **more):
    """Pixels of another projection: only commands that need the exact plane of SIN refuse."""
    cards = {"CTYPE{RA}": f"RA---{name}", "CTYPE{DEC}": f"DEC--{name}"} | more.pop("cards", {})
    errors = _only("wanted RA---SIN", *_SIN_ONLY) | more.pop("errors", {})
    return Specimen(cards=cards, errors=errors, tolerance=3e-4, **more)


#: The reference pixel that half a turn leaves on the grid of the plain image.
_OTHER_END = {"CRPIX{RA}": SHAPE[1] // 2, "CRPIX{DEC}": SHAPE[0] // 2}
_MATRIX = {"CDELT{RA}": None, "CDELT{DEC}": None, "CD1_1": -np.rad2deg(CELL), "CD1_2": 0.0,
           "CD2_1": 0.0, "CD2_2": np.rad2deg(CELL)}



def _in(frame):
    """Cards of the centre in another frame."""
    centre = SkyCoord(*CENTRE, unit="rad", frame="fk5").transform_to(frame).spherical
    return {"CRVAL{RA}": centre.lon.deg, "CRVAL{DEC}": centre.lat.deg}


_IN_B1950 = _in(_B1950) | {"RADESYS": "FK4", "EQUINOX": 1950.0}

SPECIMENS: dict[str, Specimen] = {
    "plain": Specimen(),
    # axes
    "two axes": Specimen(axes="RA DEC", errors=_only("no FREQ axis", "--primary-beam image")),
    "three axes": Specimen(axes="RA DEC FREQ"),
    "stokes before frequency": Specimen(axes="RA DEC STOKES FREQ"),
    "stokes first": Specimen(axes="STOKES RA DEC FREQ"),
    "frequency first": Specimen(axes="FREQ RA DEC"),
    "declination first": Specimen(axes="DEC RA FREQ"),
    "sky last": Specimen(axes="STOKES FREQ DEC RA"),
    "more coordinates than pixels": Specimen(
        axes="RA DEC", cards={"WCSAXES": 3, "CTYPE3": "FREQ", "CRVAL3": FREQUENCY, "CDELT3": 1e6, "CRPIX3": 1.0, "CUNIT3": "Hz"}),
    "of four Stokes parameters I": Specimen(pixels=_all_stokes),
    "Stokes Q": Specimen(cards={"CRVAL{STOKES}": 2.0}, errors=_only("holds Stokes 2", "subtract") | _only("different Stokes", _MANY)
                        | _only("is of Stokes Q", *_JOINT)),
    "RR and LL": Specimen(pixels=lambda p, h: (h.update(CRVAL4=-1.0, CDELT4=-1.0), np.concatenate([p, p]))[1],
                          errors={"*": r"Stokes parameters \[-1, -2\] .* not I"}),
    "an axis of something": Specimen(pixels=lambda p, h: (h.update(CTYPE4="TIME"), np.concatenate([p, p]))[1],
                                     errors={"*": "2 pixels along TIME"}),
    # pixels
    "float64": Specimen(pixels=lambda p, h: p.astype(np.float64)),
    "int16 scaled": Specimen(pixels=_integers(np.int16), write=_write_integers, tolerance=1e-4),
    "int32 with BLANK": Specimen(pixels=_integers(np.int32, -99), write=_write_integers, tolerance=1e-4),
    "minus zero": Specimen(pixels=lambda p, h: np.where(p == 0, np.float32(-0.0), p)),
    "compressed": Specimen(write=_compressed, suffix=".fits.fz"),
    "gzip": Specimen(write=_gzipped, suffix=".fits.gz"),
    "every pixel blank": Specimen(pixels=lambda p, h: p * np.nan, errors={"*": "every pixel is blank"}, without=("epochs serve",)),
    # files
    "in an extension": Specimen(write=_extension()),
    "behind a table": Specimen(write=_extension(_table)),
    "behind a picture without coordinates": Specimen(write=_extension(lambda: fits.ImageHDU(np.ones((9, 9))))),
    "inherits its beam": Specimen(write=_extension(primary=_inherited, INHERIT=True)),
    "CASA's image": Specimen(write=_casa_image, suffix=".im", without=("epochs serve",)),
    "cut short": Specimen(write=_cut_short, errors={"*": "cut short"}),
    "gzip cut short": Specimen(write=_gzip_cut_short, suffix=".fits.gz", errors={"*": "cut short|not a FITS"}),
    "empty file": Specimen(write=lambda path, p, h: path.write_bytes(b""), errors={"*": "is empty"}),
    "text": Specimen(write=lambda path, p, h: path.write_text("no image"), errors={"*": "not a FITS file"}),
    "table": Specimen(write=lambda path, p, h: _table().writeto(path),
                      errors={"subtract": "column 'ra' is missing", "epochs compare": "no column ra",
                              "*": "holds no image, but a table"}),
    "folder": Specimen(write=lambda path, p, h: path.mkdir(), errors={"*": "no image of CASA|no such mask"}),
    # coordinates
    "CD matrix": Specimen(cards=_MATRIX),
    "PC matrix": Specimen(cards={"PC1_1": 1.0, "PC1_2": 0.0, "PC2_1": 0.0, "PC2_2": 1.0}),
    "half a turn by CROTA": Specimen(cards={"CROTA{DEC}": 180.0} | _OTHER_END),
    "mirrored": Specimen(cards={"CDELT{RA}": np.rad2deg(CELL), "CRPIX{RA}": SHAPE[1] // 2}),
    "south up": Specimen(cards={"CDELT{DEC}": -np.rad2deg(CELL), "CRPIX{DEC}": SHAPE[0] // 2}),
    "LONPOLE 0": Specimen(cards={"LONPOLE": 0.0} | _OTHER_END),
    "quarter of a turn": Specimen(cards={"CROTA{DEC}": 90.0}, errors=_only("40 × 48|another grid|shape", "image --mask")),
    "turned by 20 degrees": Specimen(cards={"CROTA{DEC}": 20.0}, tolerance=5e-3, errors=_only(
        "turned against north|north along an axis", "image-stack", "image-stack --psf", "subtract", "image --mask")),
    "arcsec": Specimen(cards={f"{name}{{{axis}}}": value for axis, centre, step in (("RA", CENTRE[0], -2.0), ("DEC", CENTRE[1], 2.0))
                              for name, value in (("CUNIT", "arcsec"), ("CRVAL", np.rad2deg(centre) * 3600), ("CDELT", step))}),
    "equinox alone": Specimen(cards={"RADESYS": None}),
    "EPOCH for EQUINOX": Specimen(cards={"RADESYS": None, "EQUINOX": None, "EPOCH": 2000.0}),
    "neither RADESYS nor EQUINOX": Specimen(cards={"RADESYS": None, "EQUINOX": None}, frame="icrs", tolerance=0.02),
    "B1950": Specimen(cards=_IN_B1950, frame=_B1950, errors=_only("an image in fk4", *_SIN_ONLY), tolerance=3e-4),
    "B1950 of CASA": Specimen(cards=_IN_B1950 | {"EQUINOX": 1979.9}, frame=_B1950, errors=_only("an image in fk4", *_SIN_ONLY),
                              tolerance=3e-4, warns="CASA writes for B1950"),
    "of FK5 another equinox": Specimen(cards=_in(FK5(equinox="J2015.5")) | {"EQUINOX": 2015.5}, frame=FK5(equinox="J2015.5"),
                                       tolerance=3e-4, errors=_only("an image in fk5, equinox 2015.5", *_SIN_ONLY)),
    "galactic": Specimen(cards=_in(Galactic()) | {"CTYPE{RA}": "GLON-SIN", "CTYPE{DEC}": "GLAT-SIN", "RADESYS": None, "EQUINOX": None},
                         frame=Galactic(), tolerance=5e-3,
                         errors=_only("GLON-SIN and GLAT-SIN", *_SIN_ONLY) | _only("galactic coordinates", "--primary-beam image")),
    "TAN": _projection("TAN"), "ARC": _projection("ARC"), "ZEA": _projection("ZEA"), "STG": _projection("STG"),
    "NCP": _projection("NCP", errors=_only("slant", "subtract", "image --mask", "--primary-beam image")),
    "SFL": _projection("SFL", errors=_only("projection 'SFL'", "--primary-beam image")),
    "GLS": _projection("GLS", errors=_only("projection 'SFL'", "--primary-beam image")),
    "AIT": _projection("AIT", errors=_only("projection 'AIT'", "--primary-beam image")),
    "CAR": _projection("CAR", errors=_only("projection 'CAR'", "--primary-beam image")),
    "no CRVAL": Specimen(cards={"CRVAL{RA}": None}, errors={"*": "CRVAL1 is missing"}),
    "no CRPIX": Specimen(cards={"CRPIX{DEC}": None}, errors={"*": "CRPIX2 is missing"}),
    "no CDELT": Specimen(cards={"CDELT{RA}": None}, errors={"*": "CDELT1 is missing"}),
    "longitude that is no angle": Specimen(cards={"CRVAL{RA}": 1e30}, errors={"*": "longitude of 1e"}),
    "NaN for CRVAL": Specimen(cards={"CRVAL{DEC}": "NaN"}, errors={"*": "CRVAL2 is 'NaN'"}),
    "CDELT 0": Specimen(cards={"CDELT{DEC}": 0.0}, errors={"*": "coordinates cannot be read|no size"}),
    "no coordinates": Specimen(cards={"CTYPE{RA}": None, "CTYPE{DEC}": None}, errors={"*": "no celestial coordinates"},
                               warns="no coordinates that say how large"),
    "FK4 of 2000": Specimen(cards={"RADESYS": "FK4"}, errors={"*": "contradict each other"}),
    "FK5 of 1950": Specimen(cards={"EQUINOX": 1950.0}, errors={"*": "contradict each other"}),
    "oblong pixels": Specimen(cards={"CDELT{DEC}": np.rad2deg(CELL) * 1.5}, tolerance=1e-3, without=("subtract",), errors=_only(
        "square", *_BEAM_USERS) | _only("another grid", "image --mask")),
    # frequencies
    "GHz": Specimen(cards={"CUNIT{FREQ}": "GHz", "CRVAL{FREQ}": 1.4, "CDELT{FREQ}": 0.01}),
    "radio velocity": Specimen(cards={"CTYPE{FREQ}": "VRAD", "CUNIT{FREQ}": "m/s", "CRVAL{FREQ}": 299792458.0 * (1 - 1.4e9 / 1.42e9),
                                      "CDELT{FREQ}": 1e4, "RESTFRQ": 1.42e9}),
    "optical velocity of AIPS": Specimen(cards={"CTYPE{FREQ}": "FELO-LSR", "CUNIT{FREQ}": "m/s", "RESTFREQ": 1.42e9, "CDELT{FREQ}": 1e4,
                                                "CRVAL{FREQ}": 299792458.0 * (1.42e9 / 1.4e9 - 1)}),
    "wavelength": Specimen(cards={"CTYPE{FREQ}": "WAVE", "CUNIT{FREQ}": "m", "CRVAL{FREQ}": 299792458.0 / 1.4e9, "CDELT{FREQ}": 1e-3}),
    "velocity without rest frequency": Specimen(cards={"CTYPE{FREQ}": "VRAD", "CUNIT{FREQ}": "m/s", "CRVAL{FREQ}": 1e5, "CDELT{FREQ}": 1e4},
                                                errors=_only("no FREQ axis", "--primary-beam image")),
    # units
    "mJy": Specimen(unit=_named("m", 1e3)), "µJy": Specimen(unit=_named("u", 1e6)),
    "capitals": Specimen(unit=_spelled("JY/BEAM", "JY/PIXEL")), "words": Specimen(unit=_spelled("Jy per beam", "Jy per pixel")),
    "power of -1": Specimen(unit=_spelled("Jy beam-1", "Jy pix^-1")), "short": Specimen(unit=_spelled("jy/bm", "Jy/px")),
    "scaled unit": Specimen(unit=_spelled("10**-3 Jy/beam", "10**-3 Jy/pix", 1e3)),
    "no unit": Specimen(unit=_spelled("", ""), warns="says no unit", errors=_only("no unit", "subtract", "epochs compare", _MANY)
                        | _only("its unit .* is not said", *_JOINT)),
    "capital M": Specimen(unit=_spelled("MJY/BEAM", "MJY/PIXEL"), errors=_only("mega or milli", *_UNIT_USERS, "extract", *_JOINT, _MANY)),
    "kelvin": Specimen(unit=_spelled("K", "K"), errors=_only("is in K", *_UNIT_USERS), without=(_MANY, *_JOINT)),
    # beams
    "beam in the history": Specimen(pixels=_aips_beam), "beam in CASA's table": Specimen(write=_casa_beams),
    "beam in arcsec": Specimen(cards={"BMAJ": 9.0, "BMIN": 9.0}, errors=_only("larger than the image", *_EXTRACTION)),
    "BMIN above BMAJ": Specimen(cards={"BMIN": 1.0}, errors=_only("BMAJ ≥ BMIN", *_EXTRACTION)),
    "no BMIN": Specimen(cards={"BMIN": None}, errors=_only("BMAJ ≥ BMIN", *_EXTRACTION)),
    "negative beam": Specimen(cards={"BMAJ": -1e-3, "BMIN": -1e-3}, errors=_only("BMAJ ≥ BMIN", *_EXTRACTION)),
    "beam of 0": Specimen(cards={"BMAJ": 0.0, "BMIN": 0.0}, errors=_only("BMAJ ≥ BMIN", *_EXTRACTION)),
    "NaN for a beam": Specimen(cards={"BMAJ": "NaN"}, errors=_only("BMAJ ≥ BMIN", *_EXTRACTION)),
}
