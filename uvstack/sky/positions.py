"""Lists of positions on the sky, with what a catalogue says of each.

Weight, flux, size, redshift and all else.

`Positions` is what stacking, fitting and extraction are given; `uvstack.io.tables` reads it from
files. A table is understood by the names of its columns, in any case, unless a mapping names them:

============ =======================================================================================================
``ra dec``   a pair out of `uvstack.sky.columns.DIRECTION_COLUMNS`; a name such as ``RAJ2000`` or ``DE_ICRS`` also settles the frame
``glon``     and ``glat``, or ``l`` and ``b``: galactic longitude and latitude
``weight``   ``weight weights w wt``: any scale, not negative, never altered
``flux``     ``flux s total_flux flux_total int_flux integrated_flux peak_flux flux_density``: Jy unless it says so
``size``     ``size fwhm maj major major_axis``: a FWHM, arcsec unless it says so
``redshift`` ``redshift z photoz zphot z_phot zspec z_spec``
============ =======================================================================================================

A column says its unit by its own unit or by its name (``ra_deg``, ``RA(deg)``, ``ra_hours``,
``flux_mjy``; see `uvstack.sky.columns`); right ascensions are also taken from the columns ``RAh RAm
RAs DE- DEd DEm DEs`` of the CDS. The frame is, in this order: the caller's, that of the column's
name, that of the table's header (``frame``, ``RADESYS``, ``EQUINOX``), J2000. How a list was
understood is written in `Positions.source`.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, UnitSphericalRepresentation
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import DuplicatePositionsWarning, PositionsError
from uvstack.sky.columns import (
    PARTS,
    angles_of,
    angles_of_parts,
    base_name,
    check_ambiguous,
    find_column,
    find_direction_columns,
    numbers_of,
    plain_values,
)
from uvstack.sky.coordinates import FRAME_NAMES, parse_frame

_LOG = logging.getLogger(__name__)

#: Two positions closer than this are the same: 0.1 mas in radians.
DUPLICATE_TOLERANCE = 4.85e-10

_VALUE_COLUMNS: dict[str, tuple[str, ...]] = {"weight": ("weight", "weights", "w", "wt"),
                                              "flux": ("flux", "s", "total_flux", "flux_total",
                                                       "int_flux", "integrated_flux",
                                                       "flux_density", "peak_flux"),
                                              "size": ("size", "fwhm", "maj", "major",
                                                       "major_axis"),
                                              "redshift": ("redshift", "z", "photoz", "zphot",
                                                           "z_phot", "zspec", "z_spec")}
#: What a number is turned to, and taken to be in where nothing says so.
_VALUE_UNITS = {
    "weight": (u.dimensionless_unscaled, u.dimensionless_unscaled),
    "flux": (u.Jy, u.Jy),
    "size": (u.rad, u.arcsec),
    "redshift": (u.dimensionless_unscaled, u.dimensionless_unscaled),
}
_MAPPING_KEYS = ("coord", "ra", "dec", "glon", "glat", "weight", "flux", "size", "redshift")


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions and what is known of each.

    n may be anything from 0 on (`validate_positions` refuses 0).

    Attributes
    ----------
    coord : SkyCoord, (n,)
        Directions, in the frame of the source.
    weight : ndarray of float64, (n,), or None
        Weights as the source gives them, not negative; None if it gives none.
    flux : ndarray of float64, (n,), Jy, or None
        NaN where unknown.
    size : ndarray of float64, (n,), FWHM in rad, or None
        NaN where unknown.
    redshift : ndarray of float64, (n,), or None
        NaN where unknown.
    table : astropy.table.Table, n rows
        Every column of the source, under its name there.
    source : str
        Where the list is from and how it was understood.

    Raises
    ------
    PositionsError
        The lengths differ.
    """

    coord: SkyCoord
    weight: NDArray[np.float64] | None = None
    flux: NDArray[np.float64] | None = None
    size: NDArray[np.float64] | None = None
    redshift: NDArray[np.float64] | None = None
    table: Table = field(default_factory=Table)
    source: str = "memory"

    @property
    def names(self) -> NDArray[np.str_] | None:
        """What the source calls each position, (n,): its column name, id or source_id.

        None without one.
        """
        column = next((name for name in ("name", "id", "source_id") if name in self.table.colnames),
                      None)
        return None if column is None else np.asarray(self.table[column]).astype(str)

    def __post_init__(self) -> None:
        if self.coord.ndim != 1:
            raise PositionsError(f"{self.source}: positions of shape {self.coord.shape} were "
                                 "given, (n,) is needed")
        if not self.table.colnames:
            object.__setattr__(self, "table", Table({"coord": self.coord}))
        for name in (*_VALUE_COLUMNS, "table"):
            value = getattr(self, name)
            if value is None:
                continue
            if name != "table":
                value = np.asarray(value, dtype=np.float64)
                object.__setattr__(self, name, value)
            if len(value) != len(self.coord) or getattr(value, "ndim", 1) != 1:
                raise PositionsError(f"{self.source}: {len(self.coord)} positions came with {name} "
                                     f"of length {len(value)}; one each is needed")

    def __len__(self) -> int:
        """Count of positions."""
        return len(self.coord)

    def subset(self, which: ArrayLike | slice) -> "Positions":
        """Positions at the given places, in the order given.

        Parameters
        ----------
        which : array_like of bool (n,), array_like of int, or slice
            A mask, or indices; an index may come more than once, as a bootstrap needs. An empty
            choice gives an empty list.

        Returns
        -------
        Positions
            A copy; the source gets no new name.

        Raises
        ------
        PositionsError
            The mask has another length, or an index is out of range.
        """
        index = np.arange(len(self))
        try:
            if isinstance(which, slice):
                index = index[which]
            else:
                chosen = np.atleast_1d(np.asarray(which))
                index = index[chosen if chosen.size else chosen.astype(np.intp)]
        except IndexError as error:
            raise PositionsError(f"{self.source}: no such subset of {len(self)} "
                                 f"positions: {error}") from error
        values = {name: None if (v := getattr(self, name)) is None else v[index]
                  for name in _VALUE_COLUMNS}
        return Positions(coord=self.coord[index], table=self.table[index], source=self.source,
                         **values)

    def group_labels(self, column: str) -> tuple[list[str], NDArray[np.intp]]:
        """Groups of positions that share a value of a column.

        Parameters
        ----------
        column : str
            A column of `table`, in any case where that is unambiguous.

        Returns
        -------
        labels : list of str
            The different values in rising order; ``(none)`` last, where the table has no value.
        index : ndarray of int, (n,)
            Place in `labels` of each position.

        Raises
        ------
        PositionsError
            There is no such column, or it holds no plain values.
        """
        name = find_column(self.table, column, self.source)
        values, missing, _ = plain_values(self.table[name], name, self.source)
        if values.dtype.kind == "O":
            values = values.astype(str)
        if values.dtype.kind == "f":
            missing = missing | np.isnan(values)
        unique, inverse = np.unique(values[~missing], return_inverse=True)
        index = np.full(len(self), len(unique), dtype=np.intp)
        index[~missing] = inverse
        return [str(value) for value in unique] + (["(none)"] if missing.any() else []), index

    def n_duplicates(self, tolerance_rad: float = DUPLICATE_TOLERANCE) -> int:
        """Count of positions that repeat another to within `tolerance_rad` (rad).

        Of k equal ones, k − 1 count.
        """
        from scipy.spatial import cKDTree

        if len(self) < 2:
            return 0
        lon, lat = _lon_lat(self.coord)
        unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        # Equal rows are counted apart: the tree lists pairs, and k equal rows make k²/2 of them.
        distinct = np.unique(unit, axis=0)
        pairs = cKDTree(distinct).query_pairs(2.0 * np.sin(0.5 * tolerance_rad),
                                              output_type="ndarray")
        return len(unit) - len(distinct) + len(np.unique(pairs[:, 1]))


def validate_positions(positions: Positions) -> None:
    """Refuse a list that cannot be used, and warn of one that is doubtful; nothing is altered.

    Parameters
    ----------
    positions : Positions
        The list.

    Raises
    ------
    PositionsError
        The list is empty; a position is NaN or infinite; a weight is negative, NaN or infinite, or
        all are zero.

    Warns
    -----
    DuplicatePositionsWarning
        Positions stand in the list more than once, to 0.1 mas.
    """
    source = positions.source
    if len(positions) == 0:
        raise PositionsError(f"{source}: the list holds no positions; at least one is needed")
    _check_lon_lat(*_lon_lat(positions.coord), source)
    if positions.weight is not None:
        _check_weight(positions.weight, source)
    n_duplicates = positions.n_duplicates()
    if n_duplicates:
        warnings.warn(f"{source}: {n_duplicates} of {len(positions)} positions repeat another to "
                      "0.1 mas; each counts", DuplicatePositionsWarning, stacklevel=3,)


def positions_from_coord(coord: SkyCoord, weight: ArrayLike | None = None, *,
                         source: str = "SkyCoord") -> Positions:
    """Positions of a SkyCoord.

    Parameters
    ----------
    coord : SkyCoord, scalar or (n,)
        Directions; distances and motions are left out.
    weight : array_like, (n,) or scalar, optional
        Weight of each.
    source : str
        Where they are from, for messages.

    Returns
    -------
    Positions
        Checked by `validate_positions`.

    Raises
    ------
    PositionsError
        As `validate_positions`, or the shapes do not fit.
    """
    if coord.ndim > 1:
        raise PositionsError(f"{source}: positions of shape {coord.shape} were given, (n,) is "
                             "needed")
    directions = _directions(coord)
    table = Table({"coord": directions})
    if weight is not None:
        weight = np.asarray(weight, dtype=np.float64)
        weight = np.full(len(directions), weight) if weight.ndim == 0 else weight.copy()
        if weight.shape != (len(directions),):
            raise PositionsError(f"{source}: {len(directions)} positions came with weights of "
                                 f"shape {weight.shape}")
        table["weight"] = weight
    positions = Positions(directions, weight, table=table,
                          source=f"{source} (frame {directions.frame.name})")
    validate_positions(positions)
    return positions


def positions_from_table(
    table: Table,
    columns: Mapping[str, str] | None = None,
    *,
    frame: str | None = None,
    unit: str = "auto",
    source: str = "table",
) -> Positions:
    """Positions of a table, understood by the names of its columns (see the module).

    Parameters
    ----------
    table : astropy.table.Table or QTable
        One row a position: a SkyCoord column, or longitude and latitude as numbers or as
        sexagesimal texts (hours for a right ascension, else degrees).
    columns : mapping of str to str, optional
        Names to use in place of the guess: keys ``coord ra dec glon glat weight flux size
        redshift``, values columns.
    frame : str, optional
        Frame of the longitudes and latitudes, as `parse_frame` takes it; by default what the table
        says, else J2000.
    unit : {"auto", "deg", "rad"}
        Unit of longitudes and latitudes that say none; ``auto`` is degrees.
    source : str
        Where the table is from, for messages.

    Returns
    -------
    Positions
        Checked by `validate_positions`.

    Raises
    ------
    PositionsError
        No columns of positions are found or a named one is missing; a value is no angle, is NaN or
        infinite, or lies beyond ±90° (latitude) or ±360° (longitude); a weight is bad; a column
        that was named has a wrong unit or type.
    """
    columns = _check_mapping(table, columns, source)
    if unit not in ("auto", "deg", "rad"):
        raise PositionsError(f"{source}: unit={unit!r} is unknown; give 'auto', 'deg' or 'rad'")
    if len(table) == 0:
        raise PositionsError(f"{source}: the list holds no positions; at least one is needed")
    coord, how = _table_directions(table, columns, frame, unit, source)
    values = {what: _table_values(table, what, columns.get(what), source)
              for what in _VALUE_COLUMNS}
    positions = Positions(coord, table=Table(table, copy=True), source=f"{source} ({how})",
                          **values)
    validate_positions(positions)
    return positions


def _directions(coord: SkyCoord) -> SkyCoord:
    """Directions alone, as (n,).

    Distances and proper motions would follow into every conversion.
    """
    spherical = coord.spherical
    lon, lat = np.atleast_1d(spherical.lon), np.atleast_1d(spherical.lat)
    return SkyCoord(coord.frame.realize_frame(UnitSphericalRepresentation(lon, lat), copy=False))


def _lon_lat(coord: SkyCoord) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.asarray(coord.spherical.lon.rad), np.asarray(coord.spherical.lat.rad)


def _rows(bad: NDArray[np.bool_]) -> str:
    """The first few rows where `bad` holds, counted from 1."""
    rows = np.flatnonzero(bad) + 1
    text = ", ".join(str(row) for row in rows[:5]) + (", …" if len(rows) > 5 else "")
    return f"row{'s' if len(rows) > 1 else ''} {text}"


def _check_lon_lat(lon: NDArray[np.float64], lat: NDArray[np.float64], source: str) -> None:
    """Refuse angles (rad) that are no position.

    Before astropy does, whose message would name no row.
    """
    bad = ~(np.isfinite(lon) & np.isfinite(lat))
    if bad.any():
        raise PositionsError(f"{source}: {np.count_nonzero(bad)} of {len(lon)} positions are "
                             f"empty, NaN or infinite, in {_rows(bad)}; remove them")
    bad = np.abs(lat) > np.pi / 2 * (1 + 1e-12)
    if bad.any():
        worst = np.degrees(lat[np.argmax(bad)])
        raise PositionsError(f"{source}: latitudes (declinations) lie beyond ±90° in {_rows(bad)}, "
                             f"the first {worst:.6g}°; check the"
                             " unit and the order of the columns")
    bad = np.abs(lon) > 2 * np.pi * (1 + 1e-12)
    if bad.any():
        worst = np.degrees(lon[np.argmax(bad)])
        raise PositionsError(f"{source}: longitudes (right ascensions) lie beyond ±360° in "
                             f"{_rows(bad)}, the first {worst:.6g}°; check the unit")


def _check_weight(weight: NDArray[np.float64], source: str) -> None:
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        raise PositionsError(f"{source}: weights must be finite and not negative, but "
                             f"{_rows(bad)} says {weight[np.argmax(bad)]:g}")
    if not weight.any():
        raise PositionsError(f"{source}: all {len(weight)} weights are zero; leave the weights "
                             "out to weight evenly")


def _check_mapping(table: Table, columns: Mapping[str, str] | None, source: str) -> dict[str, str]:
    """The mapping with the names as the table writes them."""
    found = {}
    for key, name in (columns or {}).items():
        if key not in _MAPPING_KEYS:
            raise PositionsError(f"{source}: columns names {key!r}; it may name "
                                 f"{', '.join(_MAPPING_KEYS)}")
        found[key] = find_column(table, name, source)
    return found


def _table_directions(
    table: Table, columns: dict[str, str], frame: str | None, unit: str, source: str
) -> tuple[SkyCoord, str]:
    """Directions of a table and how they were found."""
    name = columns.get("coord")
    if name is None and not {"ra", "dec", "glon", "glat"} & columns.keys():
        names = [other for other in table.colnames if isinstance(table[other], SkyCoord)]
        name = names[0] if names else None
    if name is not None:
        return _mixin_directions(table, name, frame, source)
    lon_name, lat_name, name_frame = _direction_names(table, columns, source)
    frame_name = frame or name_frame or header_frame(table.meta, source)
    astropy_frame = parse_frame(frame_name)
    if lon_name == PARTS[0]:
        (lon, lat), lon_unit, lat_unit = angles_of_parts(table, source), "hours", "degrees"
    else:
        lon, lon_unit = angles_of(table, lon_name, unit, astropy_frame.name != "galactic", source)
        lat, lat_unit = angles_of(table, lat_name, unit, False, source)
    _check_lon_lat(lon, lat, source)
    directions = UnitSphericalRepresentation(lon * u.rad,
                                             np.clip(lat, -np.pi / 2, np.pi / 2) * u.rad)
    how = f"{lon_name!r} in {lon_unit}, {lat_name!r} in {lat_unit}, frame {frame_name}"
    return SkyCoord(astropy_frame.realize_frame(directions)), how


def _mixin_directions(table: Table, name: str, frame: str | None,
                      source: str) -> tuple[SkyCoord, str]:
    column = table[name]
    if not isinstance(column, SkyCoord):
        raise PositionsError(f"{source}: the column {name!r} named as coord holds no SkyCoord; "
                             "name ra and dec instead")
    if frame is not None and parse_frame(frame).name != column.frame.name:
        raise PositionsError(f"{source}: frame={frame} was given, but the column {name!r} says "
                             f"itself that it is {column.frame.name}; leave the frame out")
    return _directions(column), f"{name!r}, frame {column.frame.name}"


def _direction_names(table: Table, columns: dict[str, str],
                     source: str) -> tuple[str, str, str | None]:
    """Columns of longitude and latitude and the frame that they imply.

    Where one is named, the other may be guessed.
    """
    guess = find_direction_columns(table.colnames)
    if guess == PARTS and {"ra", "dec", "glon", "glat"} & columns.keys():
        guess = None
    for keys, name in zip(({"ra", "glon"}, {"dec", "glat"}), guess[:2] if guess else (),
                          strict=False):
        if not keys & columns.keys():
            check_ambiguous(table, name, source)
    for lon_key, lat_key, frame in (("ra", "dec", None), ("glon", "glat", "GALACTIC")):
        if lon_key not in columns and lat_key not in columns:
            continue
        lon = columns.get(lon_key) or (guess and guess[0])
        lat = columns.get(lat_key) or (guess and guess[1])
        if lon and lat:
            return (lon, lat, frame) if frame else (find_direction_columns((lon, lat))
                                                    or (lon, lat, None))
    if guess is not None and not {"ra", "dec", "glon", "glat"} & columns.keys():
        return guess
    raise PositionsError(f"{source}: no columns of positions were found among "
                         f"{', '.join(table.colnames) or '(none)'}; wanted are a pair"
                         " such as ra and dec, RAJ2000 and DEJ2000, glon and glat, or a mapping "
                         "such as columns={'ra': ..., 'dec': ...} (--columns ra=...,dec=...)")


def header_frame(header: Mapping[str, Any], source: str) -> str:
    """Frame of a table's header, one of `FRAME_NAMES`; J2000 if it says none.

    Raises
    ------
    PositionsError
        The frame is unknown, or its equinox is another than the one it is known with.
    """
    meta = {str(key).upper(): value for key, value in header.items()}
    names = (meta.get(key) for key in ("FRAME", "RADESYS", "RADECSYS"))
    name = next((value.strip().upper() for value in names
                 if isinstance(value, str) and value.strip()), None)
    equinox = str(meta.get("EQUINOX", "")).strip().upper().lstrip("JB")
    year = float(equinox) if equinox.replace(".", "", 1).isdigit() else None
    if name is None:
        # FITS paper II, section 3.1: without RADESYS, an equinox before 1984 means FK4.
        name = "FK4" if year is not None and year < 1984.0 else "J2000"
    if name not in FRAME_NAMES:
        raise PositionsError(f"{source}: the header gives the frame {name}; known are "
                             f"{', '.join(FRAME_NAMES)}, give frame=")
    wanted = {"FK5": 2000.0, "J2000": 2000.0, "FK4": 1950.0, "B1950": 1950.0,
              "B1950_VLA": 1950.0}.get(name, year)
    if year is not None and year != wanted:
        raise PositionsError(f"{source}: the header gives frame {name} with equinox {year:g}, but "
                             f"only {wanted:g} is known; precess the"
                             " positions, or give frame= if the header is wrong")
    return name


def _table_values(table: Table, what: str, name: str | None,
                  source: str) -> NDArray[np.float64] | None:
    """Weight, flux, size or redshift of a table, None if it has none.

    A guessed column that holds no such thing (a ``size`` in pixels, an ``s`` of texts) is passed
    over, but no weight.
    """
    strict = name is not None or what == "weight"
    if name is None:
        known: dict[str, str] = {}
        for column in table.colnames:
            known.setdefault(base_name(column)[0], column)
        name = next((known[base] for base in _VALUE_COLUMNS[what] if base in known), None)
    if name is None:
        return None
    try:
        return _numeric_values(table, what, name, source)
    except PositionsError as error:
        if strict:
            raise
        _LOG.info("not taken as %s: %s", what, error)
        return None


def _numeric_values(table: Table, what: str, name: str, source: str) -> NDArray[np.float64]:
    values, missing, unit = plain_values(table[name], name, source)
    numbers = numbers_of(np.where(missing, "nan", values) if values.dtype.kind in "OU" else values)
    if numbers is None:
        raise PositionsError(f"{source}: the column {name!r} for the {what} holds texts, numbers "
                             "are needed")
    target, default = _VALUE_UNITS[what]
    if what != "weight":
        unit = unit or base_name(name)[1] or default
        # The peak of a point source in Jy/beam is its flux in Jy.
        per_beam = unit * u.beam if what == "flux" and "beam" in str(unit).lower() else unit
        try:
            numbers = numbers * per_beam.to(target)
        except (ValueError, TypeError, AttributeError) as error:
            raise PositionsError(f"{source}: the column {name!r} for the {what} is in "
                                 f"{unit}, which is no {str(target) or 'number'}") from error
    return np.where(missing, np.nan, numbers)
