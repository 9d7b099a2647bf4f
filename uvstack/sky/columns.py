"""Columns of tables: which of them are directions, what unit their names and headers say, and their values as numbers.

The unit of a column stands in its own unit, or in its name: after an underscore (``ra_deg``,
``flux_mjy``, ``ra_hours``), in brackets (``RA(deg)``, ``dec [deg]``), or without either in
``RAdeg``, ``DEdeg``, ``RAh``. What stands in brackets and is no unit belongs to the name: ``RA
(J2000)`` is ``ra_j2000``. The ending ``_cont`` (of radio components) says nothing.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.typing import NDArray

from uvstack.errors import CoordinateError, PositionsError
from uvstack.sky.coordinates import angle_from_text

#: Names of longitude and latitude that belong together, the likeliest first, and the frame that
#: they imply.
DIRECTION_COLUMNS: tuple[tuple[str, str, str | None], ...] = (
    ("ra", "dec", None),
    ("ra", "de", None),
    ("raj2000", "dej2000", "J2000"),
    ("raj2000", "decj2000", "J2000"),
    ("_raj2000", "_dej2000", "J2000"),
    ("_raj2000", "_decj2000", "J2000"),
    ("ra_j2000", "dec_j2000", "J2000"),
    ("alpha_j2000", "delta_j2000", "J2000"),
    ("alphawin_j2000", "deltawin_j2000", "J2000"),
    ("ra_icrs", "de_icrs", "ICRS"),
    ("ra_icrs", "dec_icrs", "ICRS"),
    ("_ra.icrs", "_de.icrs", "ICRS"),
    ("_ra", "_de", None),
    ("pos_ra", "pos_dec", None),
    ("s_ra", "s_dec", None),
    ("ra_mean", "dec_mean", None),
    ("ramean", "decmean", None),
    ("right_ascension", "declination", None),
    ("alpha", "delta", None),
    ("rab1950", "deb1950", "B1950"),
    ("_rab1950", "_deb1950", "B1950"),
    ("ra_b1950", "dec_b1950", "B1950"),
    ("glon", "glat", "GALACTIC"),
    ("_glon", "_glat", "GALACTIC"),
    ("gal_lon", "gal_lat", "GALACTIC"),
    ("l", "b", "GALACTIC"),
    ("lon", "lat", None),
    ("x", "y", None),
)

_NAME_UNITS: dict[str, u.UnitBase] = {str(unit).lower(): unit
                                      for unit in (u.deg, u.rad, u.arcmin, u.arcsec, u.mas, u.Jy,
                                                   u.mJy, u.uJy)}
_NAME_UNITS |= dict.fromkeys(("degree", "degrees"), u.deg) | dict.fromkeys(("radian", "radians"),
                                                                           u.rad)
_NAME_UNITS |= dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "hourangle"), u.hourangle)
#: Names that say their unit without a mark between.
_JOINED = {
    "radeg": ("ra", u.deg), "dedeg": ("de", u.deg), "decdeg": ("dec", u.deg), "ded": ("de", u.deg), "decd": ("dec", u.deg),
    "rarad": ("ra", u.rad), "derad": ("de", u.rad), "decrad": ("dec", u.rad), "rah": ("ra", u.hourangle), "rahr": ("ra", u.hourangle),
    "rahours": ("ra", u.hourangle)}  # fmt: skip
#: Units of sexagesimal texts, as the CDS and SIMBAD write them, and whether they count hours.
_TEXT_UNITS = {"h:m:s": True, "hms": True, "hh:mm:ss": True, "d:m:s": False, "dms": False,
               "dd:mm:ss": False}
_LONGITUDES = {lon for lon, _, _ in DIRECTION_COLUMNS}
#: What stands for the columns of a direction in parts.
PARTS: tuple[str, str, None] = ("RAh RAm RAs", "DE- DEd DEm DEs", None)


def base_name(name: str) -> tuple[str, u.UnitBase | None]:
    """Name in lower case without the unit that it says, and that unit; see the module."""
    lower = name.strip().lower().removesuffix("_cont")
    if lower in _JOINED:
        return _JOINED[lower]
    bracket = re.fullmatch(r"(.+?)[\s_]*[(\[]\s*([^()\[\]]+?)\s*[)\]]", lower)
    base, ending = (bracket[1], bracket[2]) if bracket else lower.rpartition("_")[::2]
    unit = _NAME_UNITS.get(ending)
    # Hours are a right ascension's alone: what else ends in _h is no time.
    if base and unit is not None and (unit != u.hourangle or base in _LONGITUDES):
        return base, unit
    return (f"{base}_{ending}" if bracket else lower), None


def unit_from_text(text: str) -> u.UnitBase | None:
    """Unit of a text in a table's line of units, None of an empty one.

    One that astropy does not know keeps its name.
    """
    text = text.strip().strip('"')
    return _NAME_UNITS.get(text.lower()) or (u.Unit(text, parse_strict="silent") if text.strip("-")
                                             else None)


def is_angle_unit(text: str) -> bool:
    """Whether a text is a unit of angles, also of sexagesimal texts, and nothing else."""
    unit = unit_from_text(text)
    if unit is None:
        return False
    return str(unit).lower() in _TEXT_UNITS or unit.physical_type == "angle" or unit in (
        u.hour, u.hourangle)


def find_direction_columns(names: Sequence[str]) -> tuple[str, str, str | None] | None:
    """Longitude and latitude among the names of columns, and the frame that they imply.

    None if there are none.

    Where they stand in parts, which is looked at last, the names are those of `PARTS`.
    """
    whole = _without_parts(names)
    known: dict[str, str] = {}
    for name in whole:
        known.setdefault(base_name(name)[0], name)
    known |= {name.lower(): name for name in whole}
    for lon, lat, frame in DIRECTION_COLUMNS:
        if lon in known and lat in known:
            return known[lon], known[lat], frame
    return PARTS if len(whole) < len(names) else None


def _without_parts(names: Sequence[str]) -> list[str]:
    """Names without RAh and DEd where these are only the first parts of directions."""
    in_parts = {"rah", "ram", "ded", "dem"} <= {name.lower() for name in names}
    return [name for name in names if not (in_parts and name.lower() in ("rah", "ded"))]


def check_ambiguous(table: Table, name: str, source: str) -> None:
    """Raise PositionsError where another column claims to be the same as one that was guessed, in another unit."""
    base, unit = base_name(name)
    same = [other for other in _without_parts(table.colnames)
            if base_name(other)[0] == base and base_name(other)[1] != unit]
    if same and name.lower() != base:
        raise PositionsError(f"{source}: the columns {' and '.join([name, *same])} may each be the "
                             f"{base}; name those that are meant, e.g. "
                             "columns={'ra': ..., 'dec': ...} (--columns ra=...,dec=...)")


def find_column(table: Table, name: str, source: str) -> str:
    """Name of a column as the table writes it."""
    if name in table.colnames:
        return name
    lower = {other.lower(): other for other in table.colnames}
    same = [other for other in table.colnames if other.lower() == str(name).lower()]
    if len(same) == 1:
        return same[0]
    close = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.0)
    raise PositionsError(
        f"{source}: there is no column {name!r}"
        + (f"; the closest is {lower[close[0]]!r}" if close else "")
        + f"; the columns are {', '.join(table.colnames) or '(none)'}"
    )


def plain_values(column: Any, name: str, source: str) -> tuple[NDArray, NDArray[np.bool_],
                                                               u.UnitBase | None]:
    """Values, where they are missing, and the unit, of a column of any of astropy's kinds."""
    if isinstance(column, SkyCoord) or getattr(column, "ndim",
                                               1) != 1 or not hasattr(column, "dtype"):
        raise PositionsError(f"{source}: the column {name!r} does not hold one number or text a "
                             "row")
    missing = np.broadcast_to(np.asarray(getattr(column, "mask", False)), (len(column),))
    unit = getattr(column, "unit", None)
    values = getattr(column, "unmasked", column)
    values = np.asarray(getattr(values, "value", values) if isinstance(values, u.Quantity)
                        else np.ma.getdata(values))
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind in "OU":
        missing = missing | np.array([value is None or str(value).strip() == ""
                                      for value in values], dtype=bool)
    return values, missing, unit if unit is not None and unit != u.dimensionless_unscaled else None


def numbers_of(values: NDArray) -> NDArray[np.float64] | None:
    """Values as float64, None if they are no numbers."""
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        return None


def angles_of(table: Table, name: str, unit: str, hours: bool,
              source: str) -> tuple[NDArray[np.float64], str]:
    """Angles (n,) in rad, NaN where missing, and the unit that they were read in.

    Numbers without a unit are in `unit`, where "auto" is degrees; texts are sexagesimal, hours or
    degrees.
    """
    values, missing, column_unit = plain_values(table[name], name, source)
    numbers = numbers_of(np.where(missing, "nan", values) if values.dtype.kind in "OU" else values)
    said = column_unit or base_name(name)[1]
    as_text = _TEXT_UNITS.get(str(said).strip().strip('"').lower())
    if numbers is None:
        hours = hours and said != u.deg if as_text is None else as_text
        return _text_angles(values, missing, hours, name, source), "hours" if hours else "degrees"
    if as_text is not None and not missing.all():
        raise PositionsError(f"{source}: the column {name!r} is in {said} and holds plain "
                             "numbers; wanted are texts such as 03:49:10.99")
    said = said or (u.rad if unit == "rad" else u.deg)
    if said == u.hour:
        said = u.hourangle
    try:
        factor = said.to(u.rad)
    except (ValueError, TypeError, AttributeError) as error:
        raise PositionsError(f"{source}: the column {name!r} is in {said}, which is no "
                             "angle") from error
    if said == u.hourangle and not hours:
        raise PositionsError(f"{source}: the column {name!r} is in hours, and hours are for right "
                             "ascensions alone; wanted are degrees")
    return np.where(missing, np.nan, numbers * factor), str(said)


def _text_angles(
    values: NDArray, missing: NDArray[np.bool_], hours: bool, name: str, source: str
) -> NDArray[np.float64]:
    angles = np.full(len(values), np.nan)
    for row in np.flatnonzero(~missing):
        try:
            angles[row] = angle_from_text(str(values[row]), hours=hours)
        except CoordinateError as error:
            raise PositionsError(f"{source}: row {row + 1} of the column {name!r}: "
                                 f"{error}") from error
    return angles


def angles_of_parts(table: Table, source: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension and declination (n,) in rad of the columns RAh RAm RAs DE- DEd DEm DEs.

    Seconds that are missing count 0.

    Raises
    ------
    PositionsError
        The columns hold no numbers, or a declination below one degree has no sign: its -00 is no
        negative number.
    """
    lower = {name.lower(): name for name in table.colnames}

    def part(name: str) -> NDArray[np.float64]:
        if name not in lower:
            return np.zeros(len(table))
        values, missing, _ = plain_values(table[lower[name]], lower[name], source)
        numbers = numbers_of(np.where(missing, "nan", values) if values.dtype.kind in "OU"
                             else values)
        if numbers is None:
            raise PositionsError(f"{source}: the column {lower[name]!r} holds texts, numbers are "
                                 "needed")
        return np.where(missing, 0.0 if name in ("ras", "des") else np.nan, numbers)

    degrees = part("ded")
    if "de-" in lower:
        signs, missing, _ = plain_values(table[lower["de-"]], lower["de-"], source)
        minus = np.array([not gone and str(sign).strip() in ("-", "\N{MINUS SIGN}")
                          for sign, gone in zip(signs, missing, strict=True)])
    elif (degrees == 0).any():
        raise PositionsError(f"{source}: the columns DEd DEm DEs come without a column of signs "
                             f"(DE-), and {int((degrees == 0).sum())} "
                             "declinations have 0 degrees, whose sign is lost; add the column")
    else:
        minus = degrees < 0
    size = np.abs(degrees) + part("dem") / 60 + part("des") / 3600
    return np.deg2rad(15
                      * (part("rah") + part("ram") / 60
                         + part("ras") / 3600)), np.deg2rad(np.where(minus, -size, size))
