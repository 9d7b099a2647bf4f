"""Lists of positions from files.

Tables (CSV, ECSV, FITS, VOTable), plain lists, and regions of DS9 and CASA.

The kind of a file is told by the ending of its name, and where that says nothing, by its first
bytes. Tables are read by `astropy.table` and regions by the package `regions`; only the plain list
has a reader of its own, because its lines may come in CASA's spellings and a bad line should be
named by its number. What columns mean is settled in `uvstack.sky.positions`. Files are read whole.
Sexagesimal texts cost about 0.1 ms each, numbers next to nothing.

A text file is a table if its first line, or the remark just above it, names columns; below them a
line of units and a line of dashes may stand, as VizieR writes them. The tables of the CDS and of
the journals with a byte-by-byte description (``ascii.cds``, ``ascii.mrt``), of IPAC, and those
drawn with bars are read too. All else is a plain list, of which a line is ``x,y`` or
``x,y,weight``, with commas or blanks between, ``#`` before remarks:

- numbers, in degrees or radians (see `read_positions`);
- texts such as ``03h49m10.99s,-30d00m03s``, ``03:49:10.99,-30:00:03`` or CASA's ``03h49m10.99s -30.00.03.0``;
- either after the name of a frame: ``J2000 03h49m10.99s -30d00m03s``.
"""

import bisect
import csv
import logging
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from uvstack.errors import CoordinateError, MissingDependencyError, PositionsError
from uvstack.sky.catalogue import is_measured, positions_of
from uvstack.sky.columns import find_direction_columns, is_angle_unit, unit_from_text
from uvstack.sky.coordinates import FRAME_NAMES, angle_from_text, parse_frame, to_frame
from uvstack.sky.positions import Positions, positions_from_coord, positions_from_table

_LOG = logging.getLogger(__name__)

_KIND_BY_ENDING = {
    ".fits": "fits",
    ".fit": "fits",
    ".fts": "fits",
    ".fits.gz": "fits",
    ".fit.gz": "fits",
    ".xml": "votable",
    ".vot": "votable",
    ".votable": "votable",
    ".ecsv": "ecsv",
    ".reg": "ds9",
    ".crtf": "crtf",
}


def read_positions(
    source: str | Path | SkyCoord | Table | Positions,
    *,
    columns: Mapping[str, str] | None = None,
    frame: str | None = None,
    unit: str = "auto",
) -> Positions:
    """Positions from a file or from what holds positions already.

    Parameters
    ----------
    source : str, Path, SkyCoord, astropy Table or Positions
        Path of a CSV, ECSV, FITS or VOTable table, a plain list, or a region file of DS9 (``.reg``)
        or CASA (``.crtf``), of whose regions the centres are taken; or positions in memory.
        `Positions` come back as they are.
    columns : mapping of str to str, optional
        Names of a table's columns in place of the guess, as `positions_from_table` takes them:
        ``{"ra": "MY_RA"}``.
    frame : str, optional
        Frame of a table or plain list, as `parse_frame` takes it; by default what the source says,
        else J2000.
    unit : {"auto", "deg", "rad"}
        Unit of numbers that say none. ``auto`` is degrees for tables. A plain list is taken to be
        in radians if each x lies within ±2π and each y within ±π/2, else in degrees. (The original
        STACKER read degrees unless told radians. The two differ only for lists in degrees wholly
        inside that box about right ascension 0, declination 0, which is a thousandth of the sky;
        give ``unit="deg"`` there.) The choice is logged and written in `Positions.source`.

    Returns
    -------
    Positions
        Checked by `validate_positions`. Weights are those of the source to the last bit.

    Raises
    ------
    PositionsError
        The file is missing, empty or unreadable; a line is malformed (the message gives file, line
        and content); a region is in pixels or has no centre; or as `positions_from_table`.
    CoordinateError
        `frame` is unknown.
    MissingDependencyError
        Region files need the package ``regions``.

    Warns
    -----
    DuplicatePositionsWarning
        Positions stand in the list more than once.
    """
    if frame is not None:
        parse_frame(frame)
    if isinstance(source, Positions | SkyCoord):
        if columns is not None or frame is not None:
            raise PositionsError(f"columns and frame are for files and tables; {type(source).__name__} has its own")
        return source if isinstance(source, Positions) else positions_from_coord(source)
    if isinstance(source, Table):
        return _positions(source, columns, frame, unit, "table")
    if not isinstance(source, str | Path):
        raise PositionsError(
            f"positions were given as {type(source).__name__}; a path, SkyCoord, astropy Table or Positions is needed"
        )
    path = Path(source)
    if _file_kind(path) != "text":
        table = read_table(path)
    else:
        lines = _text_of(path)
        if (found := _table_of_text(path, lines, columns or {})) is None:
            return _read_plain(path, _data_of(lines), frame, unit)
        table = found
    return _positions(table, columns, frame, unit, str(path))


def _positions(table: Table, columns: Mapping[str, str] | None, frame: str | None, unit: str, source: str) -> Positions:
    if columns is None and is_measured(table):
        return positions_of(table, frame=frame, unit=unit, source=source)
    return positions_from_table(table, columns, frame=frame, unit=unit, source=source)


def read_table(path: str | Path) -> Table:
    """Table of a file of any kind but a plain list, as it stands there.

    Raises
    ------
    PositionsError
        The file is missing, empty or unreadable, or its first line names no columns.
    """
    path = Path(path)
    kind = _file_kind(path)
    if kind != "text":
        return _TABLE_READERS[kind](path)
    table = _table_of_text(path, _text_of(path), {})
    if table is None:
        raise PositionsError(f"{path}: the first line names no columns; wanted are names such as "
                             "ra,dec,flux above the values")
    return table


def _file_kind(path: Path) -> str:
    """Kind of a file: a key of `_TABLE_READERS`, or ``text`` for a CSV table or plain list."""
    if not path.exists():
        raise PositionsError(f"{path}: there is no such file of positions")
    if path.is_dir():
        raise PositionsError(f"{path}: this is a folder; a file of positions is needed")
    try:
        with path.open("rb") as stream:
            head = stream.read(2000)
    except OSError as error:
        raise PositionsError(f"{path}: the file cannot be read: {error.strerror}") from error
    if not head.strip():
        raise PositionsError(f"{path}: the file is empty; at least one position is needed")
    name = path.name.lower()
    for ending, kind in _KIND_BY_ENDING.items():
        if name.endswith(ending):
            return kind
    marks = (
        (b"SIMPLE  =", "fits"),
        (b"# %ECSV", "ecsv"),
        (b"#CRTF", "crtf"),
        (b"# Region file format: DS9", "ds9"),
    )
    for mark, kind in marks:
        if head.startswith(mark):
            return kind
    return "votable" if b"<VOTABLE" in head else "text"


def _text_of(path: Path) -> list[str]:
    """Lines of a text file, without the mark that some spreadsheets put at its start."""
    try:
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise PositionsError(
            f"{path}: the file is neither text in UTF-8 nor FITS, VOTable or a region file (byte {error.start})"
        ) from error


# ---------------------------------------------------------------------------------------------------------------------
# Text: a table with a header, or a plain list


@dataclass(frozen=True)
class _Line:
    """A line that holds data: its number in the file from 1, its text, and its fields."""

    number: int
    text: str

    @property
    def fields(self) -> list[str]:
        if "," not in self.text:
            return self.text.split()
        fields = [field.strip() for field in self.text.split(",")]
        return fields if fields[-1] else fields[:-1]

    @property
    def first_word(self) -> str:
        return next(iter(self.text.replace(",", " ").split()), "")


def _table_of_text(path: Path, lines: list[str], columns: Mapping[str, str]) -> Table | None:
    """Table of a text, None of a plain list."""
    if formats := _standard_formats(lines):
        return _read_standard(path, lines, formats)
    # Tabs at the ends are empty cells.
    stripped = [_Line(number, line.strip(" ")) for number, line in enumerate(lines, 1)]
    data = [line for line in stripped if line.text.strip() and not line.text.lstrip().startswith("#")]
    if not data:
        raise PositionsError(f"{path}: the file holds only remarks; at least one position is needed")
    names = _header_in_remark(lines, data[0])
    if names is None and not _is_header(data[0], columns):
        return None
    return _read_delimited(path, data, names, columns)


def _data_of(lines: list[str]) -> list[_Line]:
    """Lines of a plain list without what stands behind #."""
    stripped = [_Line(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    return [line for line in stripped if line.text]


def _header_in_remark(lines: list[str], first: _Line) -> list[str] | None:
    """Names of columns in the remark just above the data (``# id ra dec``), which would else pass for a plain list."""
    above = lines[first.number - 2].strip() if first.number > 1 else ""
    fields = _Line(0, above.lstrip("# ")).fields if above.startswith("#") and above.lstrip("# ") else []
    same_width = len(fields) == len(_Line(0, first.text).fields)
    return fields if same_width and find_direction_columns(fields) is not None else None


def _is_header(first: _Line, columns: Mapping[str, str] | None) -> bool:
    """Whether the first line names columns.

    By known names, by the caller's, or by a first word that is no angle.
    """
    names = next(csv.reader([first.text], delimiter=_delimiter(first.text), skipinitialspace=True))
    if columns or find_direction_columns(names) is not None:
        return True
    word = first.first_word
    if word.upper() in FRAME_NAMES or word.lower() in ("nan", "inf"):
        return False
    return word[:1].isalpha() or word.startswith(('"', "'", "_"))


def _delimiter(header: str) -> str:
    """The mark that comes most often, of several the first of these; blanks where there is none."""
    return max((",", ";", "\t", "|", " "), key=lambda mark: 0 if mark == " " else header.count(mark)) if any(
        mark in header for mark in ",;\t|") else " "


def _standard_formats(lines: list[str]) -> list[str]:
    """Formats of astropy with marks of their own that a text may be in.

    Empty where it has none of their marks.
    """
    if any("byte-by-byte description" in line.lower() for line in lines[:500]):
        return ["ascii.mrt", "ascii.cds"]
    first = next((line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    if first.startswith("\\") or (first.startswith("|") and first.rstrip().endswith("|")) or _is_rule(first):
        return ["ascii.ipac", "ascii.fixed_width"]
    return []


def _read_standard(path: Path, lines: list[str], formats: list[str]) -> Table:
    errors = []
    for name in formats:
        # Of a drawn table only what stands between bars.
        given = lines if name != "ascii.fixed_width" else [line for line in lines if line.strip() and not _is_rule(line)]
        try:
            return Table.read(given, format=name)
        except Exception as error:  # the readers raise ValueError, IndexError and kinds of their own on what is not theirs
            errors.append(f"{name}: {_one_line(error)}")
    raise PositionsError(f"{path}: the table cannot be read ({'; '.join(errors)})")


def _is_rule(text: str) -> bool:
    """Whether a line is drawn: dashes with what stands between columns."""
    return "--" in text.replace("=", "-") and not set(text) - set("-=+|;, \t")


def _without_units(data: list[_Line], delimiter: str, names: list[str], columns: Mapping[str, str]) -> tuple[list[_Line], list[str]]:
    """Lines of a table below its header without those of units and of dashes, and the units."""
    if data and _is_rule(data[0].text):
        return data[1:], []
    if len(data) < 2:
        return data, []
    units = next(csv.reader([data[0].text], delimiter=delimiter, skipinitialspace=True))
    if len(units) == len(names):
        found = find_direction_columns(names) or ()
        wanted = {str(name).lower() for name in (*found[:2], *columns.values())}
        said = any(name.lower() in wanted and is_angle_unit(text) for name, text in zip(names, units, strict=True))
        if said or _is_rule(data[1].text):
            return data[2:] if _is_rule(data[1].text) else data[1:], units
    return data, []


def _read_delimited(path: Path, data: list[_Line], names: list[str] | None, columns: Mapping[str, str]) -> Table:
    """Table of lines with a header, which is the first line unless `names` are given."""
    delimiter = _delimiter(data[0].text)
    header = names or [name.strip() for name in next(csv.reader([data[0].text], delimiter=delimiter, skipinitialspace=True))]
    rows, units = _without_units(data if names else data[1:], delimiter, header, columns)
    table = _read_lines(path, rows if names else [data[0], *rows], names, delimiter)
    for name, text in zip(table.colnames, units, strict=False):
        table[name].unit = unit_from_text(text)
    return table


def _read_lines(path: Path, data: list[_Line], names: list[str] | None, delimiter: str) -> Table:
    from astropy.io import ascii as astropy_ascii

    texts = [line.text for line in data]
    options: dict[str, Any] = {"format": "basic"} if names is None else {"format": "no_header", "names": names}
    if delimiter == "\t":
        # Of tabs the basic reader loses empty cells at the ends of lines.
        texts = ["\t".join(cell.strip() for cell in row) for row in csv.reader(texts, delimiter="\t")]
        texts, options = ([] if names is None else ["\t".join(names)]) + texts, {"format": "tab"}
    try:
        return astropy_ascii.read(texts, delimiter=delimiter, guess=False, **options)
    except (astropy_ascii.InconsistentTableError, ValueError) as error:
        rows = csv.reader([line.text for line in data], delimiter=delimiter, skipinitialspace=True)
        widths = [len(row) for row in rows]
        width = len(names) if names is not None else widths[0]
        for line, found in zip(data, widths, strict=False):
            if found != width:
                raise PositionsError(
                    f"{path}, line {line.number}: {found} columns where the header has {width}: {line.text!r}"
                ) from error
        raise PositionsError(f"{path}: the table cannot be read: {_one_line(error)}") from error


def _read_plain(path: Path, data: list[_Line], frame: str | None, unit: str) -> Positions:
    """Positions of a plain list."""
    if unit not in ("auto", "deg", "rad"):
        raise PositionsError(f"{path}: unit={unit!r} is unknown; give 'auto', 'deg' or 'rad'")
    entries = [_plain_entry(path, line, frame) for line in data]
    first = entries[0]
    for line, entry in zip(data, entries, strict=True):
        if entry.frame != first.frame:
            raise _bad_line(path, line, f"the frame is {entry.frame} where line {data[0].number} has {first.frame}")
        if (entry.weight is None) != (first.weight is None):
            raise _bad_line(path, line, f"a weight must stand in every line or in none, line {data[0].number} differs")
    unit, note = _plain_unit(path, entries, unit)
    text_scale, scale = (1.0, 1.0) if unit == "rad" else (180.0 / math.pi, math.pi / 180.0)
    directions = np.array([(e.x * text_scale, e.y * text_scale) if e.is_text else (e.x, e.y) for e in entries])
    for line, (lon, lat) in zip(data, directions * scale, strict=True):
        _check_plain(path, line, lon, lat)
    table = Table(directions, names=("ra", "dec"), units=(unit, unit))
    if first.weight is not None:
        table["weight"] = [entry.weight for entry in entries]
    return positions_from_table(table, frame=first.frame or frame, source=f"{path}, plain list{note}")


def _plain_unit(path: Path, entries: list["_Entry"], unit: str) -> tuple[str, str]:
    """Unit of the numbers of a plain list, and how it was told, for `Positions.source`."""
    numbers = [entry for entry in entries if not entry.is_text]
    if unit != "auto" or not numbers:
        return unit.replace("auto", "deg"), ""
    in_box = all(abs(entry.x) <= 2 * math.pi and abs(entry.y) <= math.pi / 2 for entry in numbers)
    # A list that also holds texts was written by hand: its numbers are degrees.
    unit = "rad" if in_box and len(numbers) == len(entries) else "deg"
    _LOG.info("%s: numbers are taken to be in %s by their range; give unit= to say otherwise", path, unit)
    return unit, ", unit told by the range of its numbers"


@dataclass(frozen=True)
class _Entry:
    """What a line of a plain list says: rad where `is_text`, else numbers as they stand."""

    x: float
    y: float
    is_text: bool
    weight: float | None
    frame: str | None


def _plain_entry(path: Path, line: _Line, frame: str | None) -> _Entry:
    word = line.first_word.upper()
    said = word if word in FRAME_NAMES else None
    if said and frame and parse_frame(said).name != parse_frame(frame).name:
        raise _bad_line(path, line, f"the line says {said}, but frame={frame} was given")
    fields = _Line(line.number, line.text[len(word) :].lstrip(", \t")).fields if said else line.fields
    if len(fields) not in (2, 3):
        raise _bad_line(
            path,
            line,
            f"{len(fields)} fields where x,y or x,y,weight is wanted (a table needs a first line that names columns)",
        )
    galactic = (said or frame or "").upper() == "GALACTIC"
    try:
        x, x_is_text = _plain_angle(fields[0], hours=not galactic)
        y, y_is_text = _plain_angle(fields[1], hours=False)
    except CoordinateError as error:
        raise _bad_line(path, line, str(error)) from error
    if x_is_text != y_is_text:
        raise _bad_line(path, line, "one of x and y is a bare number and the other is not")
    weight = None
    if len(fields) == 3:
        try:
            weight = float(fields[2])
        except ValueError as error:
            raise _bad_line(path, line, f"the weight {fields[2]!r} is no number") from error
        if not (math.isfinite(weight) and weight >= 0.0):
            raise _bad_line(path, line, f"the weight is {weight:g}, it must be finite and not negative")
    return _Entry(x, y, x_is_text, weight, said)


def _plain_angle(text: str, *, hours: bool) -> tuple[float, bool]:
    """A number as it stands, or a text's angle in rad, and which of the two."""
    try:
        return float(text), False
    except ValueError:
        return angle_from_text(text, hours=hours), True


def _check_plain(path: Path, line: _Line, lon: float, lat: float) -> None:
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise _bad_line(path, line, "the position is NaN or infinite")
    if abs(lat) > math.pi / 2 * (1 + 1e-12):
        raise _bad_line(path, line, f"the declination {math.degrees(lat):.6g}° lies beyond ±90°")
    if abs(lon) > 2 * math.pi * (1 + 1e-12):
        raise _bad_line(path, line, f"the right ascension {math.degrees(lon):.6g}° lies beyond ±360°")


def _bad_line(path: Path, line: _Line, what: str) -> PositionsError:
    return PositionsError(f"{path}, line {line.number}: {what}: {line.text!r}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# ---------------------------------------------------------------------------------------------------------------------
# Tables that astropy reads


def _read_ecsv(path: Path) -> Table:
    lines = _text_of(path)
    try:
        return Table.read(lines, format="ascii.ecsv")
    except Exception as error:  # yaml, json, numpy and astropy each raise their own kinds on a broken file
        raise PositionsError(f"{path}: the ECSV table cannot be read: {_one_line(error)}") from error


def _read_fits(path: Path) -> Table:
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyError

    try:
        with warnings.catch_warnings(), fits.open(path, memmap=False) as hdus:
            # A unit that astropy does not know matters only if the column is used, and is refused
            # there.
            warnings.simplefilter("ignore", u.UnitsWarning)
            tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
            if not tables:
                raise PositionsError(f"{path}: the FITS file holds no table; give a table or a list of positions")
            named = (hdu for hdu in tables if find_direction_columns(hdu.columns.names) is not None)
            return Table.read(next(named, tables[0]), format="fits")
    except (OSError, ValueError, TypeError, KeyError, VerifyError) as error:
        raise PositionsError(f"{path}: the FITS file cannot be read: {_one_line(error)}") from error


def _read_votable(path: Path) -> Table:
    from astropy.io.votable import parse
    from astropy.io.votable.exceptions import VOWarning

    with warnings.catch_warnings():
        # Most published VOTables offend against the standard in ways that do not touch their
        # numbers.
        warnings.simplefilter("ignore", VOWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        try:
            document = parse(path)
            tables = list(document.iter_tables())
            votable = next((one for one in tables if len(one.array)), tables[0] if tables else None)
            table = None if votable is None else votable.to_table(use_names_over_ids=True)
        except Exception as error:  # the XML reader, numpy and astropy each raise their own kinds on a broken file
            raise PositionsError(f"{path}: the VOTable cannot be read: {_one_line(error)}") from error
    if votable is None or table is None:
        raise PositionsError(f"{path}: the VOTable holds no table")
    systems = {system.ID: system for system in document.iter_coosys()}
    # The system that a column points to, or the only one there is.
    used = [systems[column.ref] for column in votable.fields if column.ref in systems] or list(systems.values())
    if used and len({system.ID for system in used}) == 1:
        table.meta["RADESYS"] = used[0].system.removeprefix("eq_").upper()
        if used[0].equinox:
            table.meta["EQUINOX"] = used[0].equinox
    # The frame is said by the system alone.
    frames = ("frame", "radesys", "radecsys", "equinox")
    table.meta |= {one.name: one.value for one in votable.params if one.name.lower() not in frames}
    return table


# ---------------------------------------------------------------------------------------------------------------------
# Regions


def _read_ds9(path: Path) -> Table:
    return _read_regions(path, "ds9")


def _read_crtf(path: Path) -> Table:
    return _read_regions(path, "crtf")


def _read_regions(path: Path, language: str) -> Table:
    """Table of the centres of regions, their shapes and labels.

    Excluded ones, texts and annotations are left out.
    """
    lines = _text_of(path)
    regions = _parse_regions(path, lines, language)
    taken = [region for region in regions if _is_taken(region)]
    if len(taken) < len(regions):
        _LOG.info("%s: %d excluded regions, texts and annotations are left out", path, len(regions) - len(taken))
    centres = [_centre(path, region) for region in taken]
    if not centres:
        raise PositionsError(f"{path}: the file holds no regions; at least one is needed")
    coord = _in_one_frame(centres)
    labels = [str(region.meta.get("label") or region.meta.get("text") or "") for region in taken]
    return Table({"coord": coord, "shape": [_shape(region) for region in taken], "label": labels})


def _parse_regions(path: Path, lines: list[str], language: str) -> list:
    try:
        from regions import Regions
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading region files needs the package regions: pip install 'uvstack[regions]'"
        ) from error
    from astropy.utils.exceptions import AstropyUserWarning

    def parse(n_lines: int) -> list:
        with warnings.catch_warnings():
            # The reader of DS9 drops what it cannot read with a warning: a position would be lost.
            warnings.simplefilter("error", AstropyUserWarning)
            warnings.filterwarnings("ignore", "Found duplicate metadata|DS9 .* is invalid", AstropyUserWarning)
            return list(Regions.parse("\n".join(lines[:n_lines]), format=language))

    def fails(n_lines: int) -> bool:
        try:
            parse(n_lines)
        except Exception:
            return True
        return False

    try:
        return parse(len(lines))
    except Exception as error:  # regions raises its own kinds, ValueError, and those of astropy's angles
        number = bisect.bisect_left(range(len(lines)), True, key=lambda index: fails(index + 1)) + 1
        raise PositionsError(
            f"{path}, line {number}: {lines[number - 1].strip()!r} is no region with a known frame: {_one_line(error)}"
        ) from error


def _in_one_frame(centres: list[SkyCoord]) -> SkyCoord:
    """Directions (n,) in the frame of the first.

    The frame may change from line to line of a region file.
    """
    names = np.array([centre.frame.name for centre in centres])
    lon = np.array([centre.spherical.lon.rad for centre in centres])
    lat = np.array([centre.spherical.lat.rad for centre in centres])
    for name in set(names) - {names[0]}:
        other = names == name
        lon[other], lat[other] = to_frame(
            SkyCoord(lon[other], lat[other], unit="rad", frame=parse_frame(name)), names[0]
        )
    return SkyCoord(lon, lat, unit="rad", frame=parse_frame(names[0]))


def _shape(region: object) -> str:
    return type(region).__name__.removesuffix("SkyRegion").removesuffix("PixelRegion").lower()


def _is_taken(region: Any) -> bool:
    excluded = region.meta.get("include") in (0, False, "-")
    return not excluded and region.meta.get("type") != "ann" and _shape(region) != "text"


def _centre(path: Path, region: Any) -> SkyCoord:
    if type(region).__name__.endswith("PixelRegion"):
        raise PositionsError(
            f"{path}: a {_shape(region)} is in pixels of an image or names no frame; save the regions in coordinates of"
            " the sky (DS9: fk5, CASA: coord=J2000)"
        )
    centre = getattr(region, "center", None)
    if centre is None:
        raise PositionsError(f"{path}: a {_shape(region)} has no centre; use points, circles, ellipses or boxes")
    return centre


_TABLE_READERS: dict[str, Callable[[Path], Table]] = {
    "ecsv": _read_ecsv,
    "fits": _read_fits,
    "votable": _read_votable,
    "ds9": _read_ds9,
    "crtf": _read_crtf,
}
