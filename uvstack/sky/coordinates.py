"""Directions on the sky.

Reference frames, direction cosines and the turn of (u, v, w) to another phase centre.

Phases need offsets from the phase centre to a small fraction of the fringe spacing, and offsets are
differences of nearly equal angles. Everything here is therefore written with the differences taken
first and with 1 − cos x = 2 sin²(x/2), so that an offset is right to a few units in its own last
place, not merely in that of the coordinates. The cost is a dozen trigonometric functions a
position. What is lost in rounding the right ascensions and declinations themselves, up to 4e-16 rad
(1e-10 arcsec), cannot be won back.

Frames go by the names of CASA and are converted by astropy. How well the two agree (largest
difference over the sky, measured against casacore 3.8): ``B1950_VLA`` 3 mas, ``ICRS`` to ``J2000``
30 mas, because casacore's J2000 is the mean equator of 2000 and astropy's FK5 is the catalogue of
that name; ``GALACTIC`` 0.5″, because the definition of 1958 is tied to B1950 and astropy uses its
J2000 rendering by Reid & Brunthaler (2004). B1950 is further discussed in `parse_frame`.
"""

import difflib
import re
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from astropy import units as u
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    Angle,
    BaseCoordinateFrame,
    ConvertError,
    Galactic,
    SkyCoord,
)
from numpy.typing import ArrayLike, NDArray

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import CoordinateError, UvstackWarning

#: Frames by name; an alias stands beside the name that CASA uses. The epoch of B1950 is discussed
#: in `parse_frame`.
_FRAMES: dict[str, BaseCoordinateFrame] = {
    "J2000": FK5(equinox="J2000"),
    "FK5": FK5(equinox="J2000"),
    "ICRS": ICRS(),
    "B1950": FK4(equinox="B1950", obstime="B1979.9"),
    "FK4": FK4(equinox="B1950", obstime="B1979.9"),
    "B1950_VLA": FK4(equinox="B1950", obstime="B1979.9"),
    "GALACTIC": Galactic(),
}

#: Names that `parse_frame` takes, in upper case.
FRAME_NAMES = tuple(_FRAMES)

#: CASA's way to write degrees, minutes and seconds: -30.00.01.25.
_DOTTED = re.compile(r"([+-]?\d+)\.(\d+)\.(\d+(?:\.\d*)?)")


def direction_cosines(
    ra: ArrayLike, dec: ArrayLike, ra0: ArrayLike, dec0: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Direction cosines (l, m, n − 1) of directions seen from a phase centre.

    With Δα and Δδ the differences from the centre they are (Thompson, Moran & Swenson 2017, chapter
    3)

        l = cos δ sin Δα,   m = sin δ cos δ₀ − cos δ sin δ₀ cos Δα,   n = sin δ sin δ₀ + cos δ cos δ₀ cos Δα,

    evaluated as m = sin Δδ + 2 sin δ₀ cos δ sin²(Δα/2) and n − 1 = −2 (sin²(Δδ/2) + cos δ cos δ₀
    sin²(Δα/2)), which lose nothing by cancellation. In front of the observer n − 1 equals −(l² +
    m²) / (1 + sqrt(1 − l² − m²)).

    Parameters
    ----------
    ra, dec : array_like, rad
        Directions. All four arguments broadcast; NaN gives NaN.
    ra0, dec0 : array_like, rad
        Phase centre, in the same frame.

    Returns
    -------
    l, m, n_minus_1 : ndarray of float64
        Cosines to the east and north, and n − 1, in the broadcast shape. Beyond 90° from the centre
        n is negative and n − 1 lies between −1 and −2, while (l, m) are those of the mirrored
        direction too: n − 1 tells them apart.
    """
    ra, dec, ra0, dec0 = (np.asarray(angle, dtype=np.float64) for angle in (ra, dec, ra0, dec0))
    east, north = ra - ra0, dec - dec0
    cos_dec, cos_dec0 = np.cos(dec), np.cos(dec0)
    versine = 2.0 * np.sin(0.5 * east) ** 2
    l = cos_dec * np.sin(east)
    m = np.sin(north) + np.sin(dec0) * cos_dec * versine
    n_minus_1 = -(2.0 * np.sin(0.5 * north) ** 2 + cos_dec * cos_dec0 * versine)
    return np.asarray(l), np.asarray(m), np.asarray(n_minus_1)


def local_axes(ra: ArrayLike, dec: ArrayLike, ra0: float,
               dec0: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors to the east and to the north at directions (pos,), as (l, m, n) of a phase centre, each (3, pos).

    Their products with (u, v, w) are u and v for a phase centre in that direction: the first two
    rows of `rotation_between`.
    """
    ra, dec = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
    sin_east, cos_east, sin_dec, cos_dec = np.sin(ra - ra0), np.cos(ra - ra0), np.sin(dec), np.cos(dec)
    sin_dec0, cos_dec0 = np.sin(dec0), np.cos(dec0)
    east = np.stack([cos_east, sin_dec0 * sin_east, -cos_dec0 * sin_east])
    north = np.stack([-sin_dec * sin_east, cos_dec * cos_dec0 + sin_dec * sin_dec0 * cos_east,
                      cos_dec * sin_dec0 - sin_dec * cos_dec0 * cos_east])
    return east, north


def rotation_between(ra0: float, dec0: float, ra: float, dec: float) -> NDArray[np.float64]:
    """Matrix that turns (u, v, w) given for one phase centre into those for another.

    It is the product of the matrix of Thompson, Moran & Swenson (2017) equation 4.1 for the new
    centre with the transpose of the one for the old, in which hour angles enter only through their
    difference; written out with half angles so that a small turn is exact to its own last place.
    Its third row is (l, m, n) of the new centre seen from the old.

    Parameters
    ----------
    ra0, dec0 : float, rad
        Phase centre that (u, v, w) are given for.
    ra, dec : float, rad
        Phase centre wanted, in the same frame.

    Returns
    -------
    ndarray of float64, (3, 3)
        Orthonormal, with determinant 1. Column vectors turn as ``uvw_new = R @ uvw``, rows (row, 3)
        as ``uvw @ R.T``.
    """
    east, north = float(ra) - float(ra0), float(dec) - float(dec0)
    sin_east, versine = np.sin(east), 2.0 * np.sin(0.5 * east) ** 2
    sin_dec, cos_dec, sin_dec0, cos_dec0 = np.sin(dec), np.cos(dec), np.sin(dec0), np.cos(dec0)
    sin_north, cos_north = np.sin(north), np.cos(north)
    return np.array(
        [
            [np.cos(east), sin_dec0 * sin_east, -cos_dec0 * sin_east],
            [
                -sin_dec * sin_east,
                cos_north - sin_dec * sin_dec0 * versine,
                -sin_north + sin_dec * cos_dec0 * versine,
            ],
            [
                cos_dec * sin_east,
                sin_north + cos_dec * sin_dec0 * versine,
                cos_north - cos_dec * cos_dec0 * versine,
            ],
        ]
    )


def parse_frame(name: str) -> BaseCoordinateFrame:
    """Astropy frame of a name that CASA uses.

    B1950 names a frame that turns slowly against the distant radio sky, by 5 mas a year, so that it
    needs an epoch as well. Here ``B1950``, ``FK4`` and ``B1950_VLA`` all have the epoch that CASA
    gives to ``B1950_VLA``, 1979.9, for which the lists of the VLA were made: the pairs of positions
    in the VLA calibrator manual are met to 3 mas, which is the accuracy of astropy's terms of
    aberration. CASA's ``B1950`` takes the time of observation, or 2000 where it knows none, and is
    then 0.1″ away; astropy's own default, 1950, is 0.15″ away.

    Parameters
    ----------
    name : str
        ``J2000`` or ``FK5``, ``ICRS``, ``B1950`` or ``FK4`` or ``B1950_VLA``, ``GALACTIC``; in any
        case.

    Returns
    -------
    astropy.coordinates.BaseCoordinateFrame
        The frame, without data.

    Raises
    ------
    CoordinateError
        The name is none of these; the message gives the closest.
    """
    key = str(name).strip().upper()
    if key in _FRAMES:
        return _FRAMES[key]
    close = difflib.get_close_matches(key, FRAME_NAMES, n=1, cutoff=0.0)[0]
    raise CoordinateError(f"the frame {name!r} is unknown: the closest is {close}; known are "
                          f"{', '.join(FRAME_NAMES)}")


def to_frame(coord: SkyCoord, frame: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of directions in a named frame.

    Nothing is taken over from the frame that the directions come in. (`SkyCoord.transform_to` by
    itself carries an equinox along, and so leaves directions of B1950 unconverted when asked for
    FK5.)

    Parameters
    ----------
    coord : SkyCoord, any shape
        Directions in any frame that astropy can relate to the one wanted.
    frame : str
        Name as `parse_frame` takes it, where the epoch of B1950 is given as well.

    Returns
    -------
    lon, lat : ndarray of float64, rad
        In the shape of `coord`; lon from 0 to 2π.

    Raises
    ------
    CoordinateError
        The frame is unknown, or the directions cannot be converted to it.
    """
    target = parse_frame(frame)
    try:
        converted = coord.transform_to(target, merge_attributes=False)
    except (ConvertError, u.UnitConversionError, AttributeError) as error:
        # AttributeError: what astropy raises for an observed frame without place and time.
        raise CoordinateError(f"directions in {coord.frame.name!r} cannot be converted to {frame}: "
                              f"{error}; give them in one of"
                              f" {', '.join(FRAME_NAMES)}") from error
    direction = converted.spherical
    return np.asarray(direction.lon.wrap_at(360 * u.deg).rad), np.asarray(direction.lat.rad)


def centre_of(frame: str, ra: float, dec: float) -> tuple[float, float, float]:
    """Phase centre in J2000 and the position angle there of the frame's north, rad.

    (u, v, w) are along the frame's axes.
    """
    return to_j2000_with_north(ra, dec, parse_frame(frame))


def to_j2000_with_north(lon: float, lat: float,
                        frame: BaseCoordinateFrame) -> tuple[float, float, float]:
    """A direction in J2000, and the position angle there of the north of its own frame, rad.

    a pole keeps its right ascension.
    """
    if frame.is_equivalent_frame(_FRAMES["J2000"]):
        return float(lon), float(lat), 0.0
    # Towards the equator, so that the step does not lead over a pole.
    step = -1e-3 if lat > 0 else 1e-3
    ra, dec = to_frame(SkyCoord([lon, lon], [lat, lat + step], unit="rad", frame=frame), "J2000")
    l, m, _ = direction_cosines(ra[1], dec[1], ra[0], dec[0])
    return float(ra[0]), float(dec[0]), float(np.arctan2(np.sign(step) * l, np.sign(step) * m))


def parse_direction(direction: str | Sequence[float] | SkyCoord, frame: str = "J2000",
                    name: str = "phase_centre") -> tuple[float, float]:
    """Longitude and latitude (rad) in a frame of a direction however it is given.

    Parameters
    ----------
    direction : str, (float, float) or SkyCoord
        "J2000 10h12m13s -30d00m01s", "B1950_VLA 10:12:13 -30.00.01", "GALACTIC 120deg -3deg": a
        text without a frame is in J2000. Two numbers are in rad, J2000.
    frame : str
        As `parse_frame` takes it.
    name : str
        What the direction is called in messages.

    Raises
    ------
    CoordinateError
        It cannot be read, or is none.
    """
    example = "wanted a frame, RA and Dec: 'J2000 10h12m13s -30d00m01s', or two numbers in rad"
    if isinstance(direction, SkyCoord):
        if direction.size != 1:
            raise CoordinateError(f"{name} holds {direction.size} directions; wanted one")
        lon, lat = to_frame(direction, frame)
        return float(lon.ravel()[0]), float(lat.ravel()[0])
    if not isinstance(direction, str):
        try:
            values = np.asarray(direction, np.float64)
        except (TypeError, ValueError):
            values = np.zeros(0)
        if values.shape != (2,) or not np.isfinite(values).all() or abs(values[1]) > np.pi / 2:
            raise CoordinateError(f"{name} is {direction!r}; {example}")
        return in_frame(float(values[0]), float(values[1]), "J2000", frame)
    words = direction.replace(",", " ").split()
    given = words.pop(0) if words and words[0].upper() in FRAME_NAMES else "J2000"
    if len(words) != 2:
        raise CoordinateError(f"{name}={direction!r} cannot be read; {example}; frames are "
                              f"{', '.join(FRAME_NAMES)}")
    try:
        first, second = angle_from_text(words[0], hours=given.upper() != "GALACTIC"), angle_from_text(words[1])
    except CoordinateError as error:
        raise CoordinateError(f"{name}={direction!r} cannot be read: {error}") from None
    if abs(second) > np.pi / 2:
        raise CoordinateError(f"{name}={direction!r} has a declination of "
                              f"{np.rad2deg(second):g}°; wanted -90° to 90°")
    return in_frame(first, second, given, frame)


def in_frame(lon: float, lat: float, given: str, wanted: str) -> tuple[float, float]:
    """Longitude and latitude (rad) in one named frame of those in another.

    The same numbers where the frames are one.
    """
    if parse_frame(given).is_equivalent_frame(parse_frame(wanted)):
        return float(lon), float(lat)
    new = to_frame(SkyCoord(lon, lat, unit="rad", frame=parse_frame(given)), wanted)
    return float(new[0]), float(new[1])


def check_centre(centre: tuple[float, float], fields: Mapping[str, tuple[float, float]],
                 reach: float, name: str = "phase_centre") -> None:
    """Refuse a centre beyond the horizon of a field, and warn of one farther than `reach` from every field.

    Parameters
    ----------
    centre : (float, float)
        rad.
    fields : mapping of str to (float, float)
        Phase centres by what they are called, rad, in the frame of the centre.
    reach : float, rad
        How far out antennas see anything.
    name : str
        What the centre is called in messages.

    Raises
    ------
    CoordinateError
        It is 90° or more from a field.

    Warns
    -----
    UvstackWarning
    """
    ra, dec = np.array(list(fields.values())).T
    # From the chord, as n loses small angles.
    apart = 2.0 * np.arcsin(np.sqrt(np.clip(-0.5 * direction_cosines(*centre, ra, dec)[2], 0.0,
                                            1.0)))
    nearest, farthest = int(apart.argmin()), int(apart.argmax())
    names = list(fields)
    if apart[farthest] >= np.pi / 2:
        raise CoordinateError(f"{name} is {np.rad2deg(apart[farthest]):.4g}° from "
                              f"{names[farthest]}: 90° or more, beyond its horizon "
                              f"(the nearest is {names[nearest]}, at "
                              f"{np.rad2deg(apart[nearest]):.4g}°); wanted a direction in the "
                              "field: are its frame and units right?")
    if apart[nearest] > reach:
        warnings.warn(UvstackWarning(f"{name} is {np.rad2deg(apart[nearest]):.4g}° from the "
                                     f"nearest field, {names[nearest]}, and its "
                                     f"antennas see some {np.rad2deg(reach):.2g}°: are its frame "
                                     "and units right?"), stacklevel=4)


def sight(diameters: ArrayLike, lowest_frequency: float) -> float:
    """How far from where they point antennas may see anything.

    10 λ/D of the smallest dish (m), or 10° where none is known; rad.
    """
    known = np.asarray(diameters, np.float64)
    known = known[np.isfinite(known) & (known > 0)]
    return float(np.deg2rad(10.0)) if known.size == 0 else min(
        10.0 * SPEED_OF_LIGHT / lowest_frequency / float(known.min()), np.pi / 2)


def angle_from_text(text: str, *, hours: bool = False) -> float:
    """Angle in radians of a text that says its own unit: sexagesimal, or a number with a unit.

    Read are ``03h49m10.99s``, ``03:49:10.99``, ``03 49 10.99``, ``-30d00m01s``, CASA's
    ``-30.00.01.0``, ``57.3deg`` and ``1.0rad``.

    Parameters
    ----------
    text : str
        The angle. A bare number is refused, since its unit is for the caller to know.
    hours : bool
        Whether sexagesimal numbers without letters count hours (a right ascension) instead of
        degrees. Full stops between the numbers always count degrees, as in CASA.

    Returns
    -------
    float
        Radians.

    Raises
    ------
    CoordinateError
        The text is no such angle.
    """
    stripped = text.strip()
    dotted = _DOTTED.fullmatch(stripped)
    if dotted:
        stripped = "{}:{}:{}".format(*dotted.groups())
    try:
        if not dotted and _is_number(stripped):
            raise ValueError("a bare number has no unit")
        return float(Angle(stripped, unit=u.hourangle if hours and not dotted else u.deg).rad)
    except (ValueError, TypeError, u.UnitsError) as error:
        raise CoordinateError(f"{text!r} is no angle ({error}); write it as "
                              "03h49m10.99s, -30d00m01.2s, 03:49:10.99 or 57.3deg") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
