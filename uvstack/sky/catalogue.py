"""A catalogue: sources as they were measured, with units and errors, in a table for all commands.

`sky.components.Components` is a model of the sky; a catalogue is a measurement, of which a model
is made by `components_of` and a list of places by `positions_of`. A catalogue is an astropy QTable
whose columns `COLUMNS` describes; any of them may be missing, and others may stand beside them.
Sizes stand there twice: `fwhm_major` is what was seen, with the beam; `deconvolved_major` is the
source itself. In a table of components, which was never convolved with a beam, `fwhm_major` is the
source itself: `is_measured` tells the two apart.

A row that cannot be used is left out with a warning that names it: flagged with words, or with a
bit of `UNUSABLE` (other bits are remarks), not finite, or negative in flux. NaN stands for what is
not known.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from numpy.typing import NDArray

from uvstack.errors import CatalogueWarning, ComponentError, PositionsError
from uvstack.sky.columns import plain_values
from uvstack.sky.components import Components, components_from_table
from uvstack.sky.coordinates import parse_frame, to_frame
from uvstack.sky.positions import Positions, header_frame, positions_from_table
from uvstack.sky.source_flags import Flag


@dataclass(frozen=True)
class Column:
    """A column of a catalogue: what kind its values are, its unit, and what it means.

    Attributes
    ----------
    meaning : str
    unit : Unit or None
        What it is brought to; None where it has none.
    kind : {"number", "text", "count", "truth", "flags"}
        Floats, of which NaN is unknown; texts; whole numbers; true or false; bits or texts.
    ucd : str
        The word of the IVOA for it (UCD1+ 1.5); may be empty.
    error : bool
        Whether it is a standard deviation, or else cannot be negative.
    """

    meaning: str
    unit: u.UnitBase | None = None
    kind: str = "number"
    ucd: str = ""
    error: bool = False


def _with_error(name: str, meaning: str, unit: u.UnitBase | None, ucd: str,
                error: str = "") -> dict[str, Column]:
    of_error = error or f"Standard deviation of {name}"
    return {name: Column(meaning, unit, ucd=ucd),
            f"{name}_error": Column(of_error, unit, ucd=f"stat.error;{ucd}", error=True)}


_BEAM = u.Jy / u.beam

#: Columns in their order.
COLUMNS: dict[str, Column] = {"name": Column("Name of the source", kind="text", ucd="meta.id"),
                              "source": Column("Number of the source", kind="count", ucd="meta.id"),
                              "island": Column("Number of the island of pixels", kind="count",
                                               ucd="meta.id.parent"),
                              "ra": Column("Right ascension in the frame of the header", u.deg,
                                           ucd="pos.eq.ra;meta.main"),
                              "dec": Column("Declination in the frame of the header", u.deg,
                                            ucd="pos.eq.dec;meta.main"),
                              "ra_error": Column("Standard deviation to the east, an angle on the "
                                                 "sky (with cos dec)", u.arcsec,
                                                 ucd="stat.error;pos.eq.ra", error=True),
                              "dec_error": Column("Standard deviation towards the north", u.arcsec,
                                                  ucd="stat.error;pos.eq.dec", error=True),
                              **_with_error("x", "Pixel along the first axis, from 0", u.pix,
                                            "pos.cartesian.x;instr.det"),
                              **_with_error("y", "Pixel along the second axis, from 0", u.pix,
                                            "pos.cartesian.y;instr.det"),
                              **_with_error("peak", "Peak brightness", _BEAM,
                                            "phot.flux.density;stat.max"),
                              **_with_error("flux", "Flux density integrated over the source", u.Jy,
                                            "phot.flux.density"),
                              **_with_error("source_flux",
                                            "Flux density of all components of the source", u.Jy,
                                            "phot.flux.density"),
                              "expected_flux": Column("Mean true flux of sources measured so, for "
                                                      "given counts", u.Jy,
                                                      ucd="phot.flux.density;stat.mean"),
                              "position_systematic": Column("Systematic error of the position, "
                                                            "beside the others", u.arcsec,
                                                            ucd="stat.error.sys;pos.eq",
                                                            error=True),
                              "flux_systematic": Column("Systematic error of the flux, beside the "
                                                        "others", u.Jy,
                                                        ucd="stat.error.sys;phot.flux.density",
                                                        error=True),
                              **_with_error("fwhm_major",
                                            "FWHM of the major axis as observed, with the beam",
                                            u.arcsec, "phys.angSize.smajAxis"),
                              **_with_error("fwhm_minor",
                                            "FWHM of the minor axis as observed, with the beam",
                                            u.arcsec, "phys.angSize.sminAxis"),
                              **_with_error("position_angle",
                                            "Position angle of the observed major axis, north "
                                            "through east", u.deg, "pos.posAng"),
                              **_with_error("deconvolved_major",
                                            "FWHM of the major axis without the beam, 0 if "
                                            "unresolved", u.arcsec, "phys.angSize.smajAxis"),
                              **_with_error("deconvolved_minor",
                                            "FWHM of the minor axis without the beam, 0 if "
                                            "unresolved", u.arcsec, "phys.angSize.sminAxis"),
                              **_with_error("deconvolved_angle",
                                            "Position angle without the beam, north through east",
                                            u.deg, "pos.posAng"),
                              "deconvolved_major_limit": Column(
                                  "Upper limit of deconvolved_major where it is not resolved",
                                  u.arcsec, ucd="stat.max;phys.angSize.smajAxis", error=True),
                              "deconvolved_minor_limit": Column(
                                  "Upper limit of deconvolved_minor where it is not resolved",
                                  u.arcsec, ucd="stat.max;phys.angSize.sminAxis", error=True),
                              "shape": Column("Shape of the source: point, gaussian, disc",
                                              kind="text", ucd="meta.code"),
                              **_with_error("spectral_index",
                                            "α of S ~ ν^α at the reference frequency of the header",
                                            None, "spect.index"),
                              "curvature": Column("β of S ~ ν^(α + β ln(ν/ν0)), natural logarithm",
                                                  ucd="spect.index"),
                              "q": Column("Stokes Q over I", ucd="phys.polarization.stokes.Q"),
                              "u": Column("Stokes U over I", ucd="phys.polarization.stokes.U"),
                              "v": Column("Stokes V over I", ucd="phys.polarization.stokes.V"),
                              "rms": Column("Noise of the image at the source", _BEAM,
                                            ucd="instr.det.noise", error=True),
                              "background": Column("Level of the image at the source", _BEAM,
                                                   ucd="instr.background"),
                              "significance": Column("Peak over noise", ucd="stat.snr"),
                              "n_pixels": Column("Pixels of the source", kind="count",
                                                 ucd="meta.number"),
                              **_with_error("island_flux", "Flux density summed over the island",
                                            u.Jy, "phot.flux.density"),
                              "island_rms": Column("Residual rms in the island", _BEAM,
                                                   ucd="stat.stdev", error=True),
                              "weight": Column("Weight in a stack, any scale", ucd="stat.weight"),
                              "target": Column("Whether it is one of those to be stacked",
                                               kind="truth", ucd="meta.code"),
                              "fit_status": Column("How the fit ended; says nothing against the "
                                                   "source", kind="text", ucd="meta.code.status"),
                              "resolved_significance": Column("Growth of the area over the beam's "
                                                              "in units of its error",
                                                              ucd="stat.snr;phys.angSize"),
                              "flags": Column("Bits of uvstack.sky.source_flags.Flag, or reasons "
                                              "in words; empty or 0 for none", kind="flags",
                                              ucd="meta.code.qual")}
#: Bits of `flags` that speak against a row: there are no numbers, or no beam that flux is in.
UNUSABLE = Flag.OFF_IMAGE | Flag.NO_BEAM
#: Names of `Components.to_table` for what these hold, of a catalogue.
_SIZES = {"deconvolved_major": "fwhm_major", "deconvolved_minor": "fwhm_minor",
          "deconvolved_angle": "position_angle"}
#: Columns that `components_of` looks at.
MODEL_COLUMNS = ("name", "ra", "dec", "flux", "shape", *_SIZES, *_SIZES.values(),
                 "spectral_index", "curvature", "q", "u", "v", "target", "flags")
#: Columns that only a measurement has.
_MEASURED = ("peak", "significance", "rms", *_SIZES, *(n for n in COLUMNS if n.endswith("_error")))


def is_measured(table: Table) -> bool:
    """Whether a table is a measurement, whose `fwhm_major` has a beam in it, and no components."""
    return any(name in table.colnames for name in _MEASURED)


def normalised(table: Table, source: str = "catalogue") -> QTable:
    """The same catalogue in the units of `COLUMNS`, with their descriptions; nothing is modified.

    Parameters
    ----------
    table : Table or QTable
        Of `COLUMNS` any, in any unit that converts; others are kept as they are. Empty cells of
        numbers become NaN, of texts "". ``meta["frame"]``, ``meta["reference_frequency"]`` (Hz)
        and what else is there are kept, in lower case; so is a frame that stands in `meta` as in
        FITS (RADESYS, EQUINOX). A column reference_frequency that is the same in all rows goes
        to `meta`. With ``meta["brightness_unit"]`` (K …) brightnesses and fluxes keep
        their units, with ``meta["size_unit"]`` (pix) sizes.
    source : str
        Where the table is from, for messages.

    Raises
    ------
    ComponentError
        A column of `COLUMNS` lacks its unit or has one that does not convert, holds no such
        values, has an error or a limit that is negative, or a declination beyond ±90°; the frame
        or the reference frequency cannot be read.
    """
    found = QTable()
    own = (_BEAM, u.Jy) if table.meta.get("brightness_unit") is not None else ()
    own += (u.arcsec,) if table.meta.get("size_unit") is not None else ()
    for name in table.colnames:
        if name == "reference_frequency":
            continue
        if name in COLUMNS:
            column = COLUMNS[name]
            if column.unit in own:
                given = getattr(table[name], "unit", None)
                column = replace(column, unit=None if given == u.dimensionless_unscaled else given)
            found[name] = _values(table, name, column, source)
            found[name].info.description = COLUMNS[name].meaning
            found[name].info.meta = {"ucd": COLUMNS[name].ucd} if COLUMNS[name].ucd else None
        else:
            found[name] = _filled(table[name])
    found.meta.update({str(key).lower(): value for key, value in table.meta.items()})
    try:
        frame = header_frame(table.meta, source)
    except PositionsError as error:
        raise ComponentError(str(error)) from error
    for key in ("radesys", "radecsys", "equinox"):
        found.meta.pop(key, None)
    found.meta["frame"] = {"FK5": "J2000", "FK4": "B1950"}.get(frame, frame)
    _set_reference(found, table, source)
    dec = found["dec"].value if "dec" in found.colnames else np.zeros(len(found))
    bad = np.abs(dec) > 90 * (1 + 1e-12)
    if bad.any():
        raise ComponentError(f"{source}: {_rows(bad)} has a dec of {found['dec'][bad][0]:.6g}; it "
                             "must lie within ±90 deg")
    return found


def _values(table: Table, name: str, column: Column, source: str) -> NDArray | u.Quantity:
    """A column as its description has it."""
    try:
        values, missing, unit = plain_values(table[name], name, source)
    except PositionsError as error:
        raise ComponentError(str(error)) from error
    if column.kind == "flags" and values.dtype.kind in "iu" and not missing.any():
        return values
    if column.kind in ("text", "flags"):
        texts = np.where(missing, "", np.asarray(values).astype(str))
        return texts.astype(str) if texts.size else np.zeros(0, "U1")
    if column.kind != "number" and missing.any():
        raise ComponentError(f"{source}: the column {name!r} has empty cells; fill them")
    if column.kind == "truth":
        words = np.char.lower(values.astype(str))
        if not np.isin(words, ("true", "false", "0", "1", "0.0", "1.0")).all():
            raise ComponentError(f"{source}, column {name}: wanted are true and false")
        return np.isin(words, ("true", "1", "1.0"))
    try:
        numbers = np.where(missing, "nan", values).astype(float) if values.dtype.kind in "OUS" \
            else np.where(missing, np.nan, values).astype(float)
    except (TypeError, ValueError) as error:
        raise ComponentError(f"{source}, column {name}: {error}; wanted numbers") from error
    if column.kind == "count":
        if (numbers != np.rint(numbers)).any():
            raise ComponentError(f"{source}, column {name}: wanted whole numbers")
        return numbers.astype(np.int64)
    if column.error and (numbers < 0).any():
        raise ComponentError(f"{source}: {_rows(numbers < 0)} has {name} "
                             f"{numbers[numbers < 0][0]:g}; it must not be negative")
    return _in_unit(numbers, unit, name, column, source)


def _in_unit(numbers: NDArray[np.float64], unit: u.UnitBase | None, name: str, column: Column,
             source: str) -> NDArray | u.Quantity:
    wanted = column.unit
    if wanted is None:
        if unit is not None:
            raise ComponentError(f"{source}: column {name!r} is in {unit}; it is a plain number")
        return numbers
    if unit is None and wanted == u.pix:
        return numbers * u.pix
    if unit is None:
        raise ComponentError(f"{source}: column {name!r} has no unit; give it one that converts to "
                             f"{wanted}")
    try:
        return (numbers * unit).to(wanted)
    except (u.UnitConversionError, TypeError, AttributeError) as error:
        raise ComponentError(f"{source}: column {name!r} is in {unit}; wanted is a unit that "
                             f"converts to {wanted}") from error


def _filled(column: object) -> object:
    """A column of another maker without empty cells, where its kind has a word for them."""
    if not np.ma.isMaskedArray(column):
        return column
    if column.dtype.kind == "f":
        return column.filled(np.nan)
    return column.filled("") if column.dtype.kind in "US" else column


def _set_reference(found: QTable, table: Table, source: str) -> None:
    """The reference frequency in Hz in `meta`, from there or from a column that is constant."""
    given = found.meta.get("reference_frequency")
    try:
        if "reference_frequency" in table.colnames:
            column = u.Quantity(_filled(table["reference_frequency"])).to_value(u.Hz)
            different = np.unique(column if given is None else np.append(column, float(given)))
            if different.size > 1:
                raise ComponentError(
                    f"{source}: spectra are given at {different.size} frequencies, the first "
                    f"{different[0]:g} and {different[1]:g} Hz; wanted is one for all rows")
            given = different[0] if different.size else given
        if given is not None:
            found.meta["reference_frequency"] = float(given)
    except (u.UnitConversionError, TypeError, ValueError) as error:
        raise ComponentError(f"{source}: the reference frequency {given!r} cannot be read; wanted "
                             "are Hz") from error


def coord_of(catalogue: Table) -> SkyCoord:
    """Directions of the sources, in the frame that ``meta["frame"]`` names."""
    return SkyCoord(catalogue["ra"], catalogue["dec"], frame=parse_frame(catalogue.meta["frame"]))


def components_of(catalogue: Table, *, flagged: bool = False,
                  source: str = "catalogue") -> Components:
    """The sky that a catalogue describes: sizes without the beam, fluxes integrated.

    Parameters
    ----------
    catalogue : Table or QTable
        A measurement, or components as `Components.to_table` and CLEAN write them; in any frame.
        NaN in a spectral index is a flat spectrum.
    flagged : bool
        Use rows with `flags` too.
    source : str
        Where it is from, for messages.

    Returns
    -------
    Components
        In J2000. Rows of a measurement whose deconvolved_major is 0 are points.

    Raises
    ------
    ComponentError
        As `normalised` and `components_from_table`; a measurement has observed sizes alone.

    Warns
    -----
    CatalogueWarning
        Rows of a measurement are flagged, not finite or negative, and were left out.
    """
    table = normalised(catalogue, source)
    if table.meta["frame"] != "J2000" and {"ra", "dec"} <= set(table.colnames):
        ra, dec = to_frame(coord_of(table), "J2000")
        table["ra"], table["dec"] = np.rad2deg(ra) * u.deg, np.rad2deg(dec) * u.deg
        table.meta["frame"] = "J2000"
    if is_measured(table):
        table = _as_components(table, flagged, source)
    return components_from_table(table)


def _as_components(table: QTable, flagged: bool, source: str) -> QTable:
    """Rows of a measurement that can be used, under the names of components."""
    names = set(table.colnames)
    if "flux" not in names:
        raise ComponentError(f"{source}: the catalogue has no flux, the integrated one in Jy; it "
                             f"has {', '.join(table.colnames)}")
    if "deconvolved_major" not in names and "fwhm_major" in names and (
            np.nan_to_num(table["fwhm_major"].value) > 0).any():
        raise ComponentError(
            f"{source}: the catalogue has sizes as observed, with the beam (fwhm_major), and none "
            "without it; add deconvolved_major, deconvolved_minor and deconvolved_angle, or remove "
            "the columns fwhm_major and fwhm_minor to take all as points")
    numbers = [n for n in ("ra", "dec", "flux", "deconvolved_major", "curvature", "q", "u", "v")
               if n in names]
    unusable = {"not finite": ~np.all([np.isfinite(table[n]) for n in numbers], axis=0),
                "negative in flux": table["flux"].value < 0}
    table = table[_usable(table, unusable, flagged, source)]
    for ours, theirs in _SIZES.items():
        for old in {theirs, f"{theirs}_error"} & set(table.colnames):
            table.remove_column(old)
        if ours in table.colnames:
            table.rename_column(ours, theirs)
    if "fwhm_major" in table.colnames:
        _complete(table, source)
    if "spectral_index" in table.colnames:
        table["spectral_index"] = np.nan_to_num(table["spectral_index"], nan=0.0)
    return table


def _complete(table: QTable, source: str) -> None:
    """Minor axes and angles of points and round sources, which need none; shapes."""
    major = table["fwhm_major"].value
    minor = table["fwhm_minor"].value if "fwhm_minor" in table.colnames else major
    angle = table["position_angle"].value if "position_angle" in table.colnames else 0.0 * major
    extended = major > 0
    minor = np.where(extended, minor, 0.0)
    angle = np.where(np.isnan(angle) & ~(minor < major), 0.0, angle)
    lacking = ~(np.isfinite(minor) & np.isfinite(angle))
    if lacking.any():
        raise ComponentError(f"{source}: {_rows(lacking)} has a deconvolved_major and no "
                             "deconvolved_minor or deconvolved_angle; fill them, 0 if unresolved")
    table["fwhm_minor"], table["position_angle"] = minor * u.arcsec, angle * u.deg
    if "shape" in table.colnames:
        # What the fit took for extended and the beam explains is a point.
        shape = np.char.lower(np.asarray(table["shape"], "U11"))
        table["shape"] = np.where(extended, shape, "point").astype("U11")


def positions_of(catalogue: Table, *, flagged: bool = False, inverse_variance: bool = False,
                 frame: str | None = None, unit: str = "auto",
                 source: str = "catalogue") -> Positions:
    """The places of a catalogue's sources, with all its columns beside them.

    Parameters
    ----------
    catalogue : Table or QTable
    flagged : bool
        Use rows with `flags` too.
    inverse_variance : bool
        Weights 1/flux_error²; by default those of the column `weight`, if there is one.
    frame, unit : str
        As `positions_from_table` takes them.
    source : str
        Where it is from, for messages.

    Raises
    ------
    PositionsError
        As `positions_from_table`; weights by errors are asked for and an error is not positive.

    Warns
    -----
    CatalogueWarning
        Rows are flagged or have no place, and were left out; or have negative fluxes, and were not.
    """
    table = placed_rows(catalogue, flagged=flagged, source=source)
    negative = np.zeros(len(table), bool)
    if "flux" in table.colnames:
        negative = _numbers(table, "flux", source, 0.0) < 0
    if negative.any():
        warnings.warn(f"{source}: {negative.sum()} of {len(table)} sources have a negative flux "
                      f"({_rows(negative)}); their places are used", CatalogueWarning, stacklevel=2)
    if inverse_variance:
        error = _numbers(table, "flux_error", source, np.nan) if "flux_error" in table.colnames \
            else np.full(len(table), np.nan)
        bad = ~(np.isfinite(error) & (error > 0))
        if bad.any():
            raise PositionsError(f"{source}: {_rows(bad)} has no positive flux_error, of which a "
                                 "weight could be made; leave out the weights or the row")
        table["weight"] = error**-2.0
    return positions_from_table(table, frame=frame, unit=unit, source=source)


def placed_rows(catalogue: Table, *, flagged: bool = False, source: str = "catalogue") -> Table:
    """Rows that have a place, and no flag that speaks against them unless `flagged`.

    Raises
    ------
    ComponentError
        There are rows, and none can be used.

    Warns
    -----
    CatalogueWarning
        Rows were left out.
    """
    lost = np.zeros(len(catalogue), bool)
    for name in {"ra", "dec"} & set(catalogue.colnames):
        lost |= ~np.isfinite(_numbers(catalogue, name, source, 0.0))
    return catalogue[_usable(catalogue, {"without a place": lost}, flagged, source)]


def _numbers(table: Table, name: str, source: str, other: float) -> NDArray[np.float64]:
    """Values of a column, NaN where empty; `other` where it holds texts."""
    values, missing, _ = plain_values(table[name], name, source)
    numbers = values if values.dtype.kind in "iuf" else np.full(len(values), other)
    return np.where(missing, np.nan, numbers.astype(float))


def catalogue_of(components: Components) -> QTable:
    """Components as a catalogue: its true sizes without a beam; nothing has an error.

    `components_of` gives the same components back.
    """
    table = components.to_table()
    for ours, theirs in _SIZES.items():
        table.rename_column(theirs, ours)
    return normalised(table)


def _usable(table: Table, unusable: dict[str, NDArray[np.bool_]], flagged: bool,
            source: str) -> NDArray[np.bool_]:
    """Rows without a fault; a warning tells which have one."""
    if not flagged and "flags" in table.colnames:
        values, missing, _ = plain_values(table["flags"], "flags", source)
        if values.dtype.kind in "iu" and not missing.any():
            flagged_rows = (values & UNUSABLE) != 0
        else:
            words = np.char.strip(values.astype(str))
            flagged_rows = ~(missing | np.isin(words, ("", "0", "0.0", "False")))
        unusable = unusable | {"flagged": flagged_rows}
    usable = np.ones(len(table), bool)
    told = []
    for what, bad in unusable.items():
        bad = np.asarray(bad) & usable
        usable &= ~bad
        if bad.any():
            told.append(f"{bad.sum()} {what} ({_rows(bad)})")
    if told:
        warnings.warn(f"{source}: left out are, of {len(table)} rows, {', '.join(told)}",
                      CatalogueWarning, stacklevel=3)
    if len(table) and not usable.any():
        raise ComponentError(f"{source}: none of {len(table)} rows can be used: {', '.join(told)}")
    return usable


def _rows(bad: NDArray[np.bool_]) -> str:
    """The first few rows where `bad` holds, counted from 1."""
    rows = np.flatnonzero(bad) + 1
    text = ", ".join(str(row) for row in rows[:5]) + (", …" if len(rows) > 5 else "")
    return f"row{'s' if len(rows) > 1 else ''} {text}"
