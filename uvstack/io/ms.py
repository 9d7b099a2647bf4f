"""Reading a measurement set: its structure, which rows take part, and blocks of rows as arrays.

A set is read in blocks of consecutive rows, so memory is bounded by the block whatever the size of
the set; within a block rows are parted by field and data description, since only such rows have one
shape, one phase centre and one frequency axis. Opened for reading only, without a lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from uvstack.errors import ColumnError, MeasurementSetError, NoDataError
from uvstack.io.casa import Table, linked_path, open_table
from uvstack.io.unfinished_column import read_mark
from uvstack.records import (
    DataDescription,
    Field,
    Partition,
    RowBlock,
    Selection,
    SpectralWindow,
    Structure,
    has_baseline,
)

#: Rows of the scalar columns that are looked at together when rows are counted.
_SCAN_ROWS = 1_000_000
#: Columns that may hold weights, the best first.
WEIGHTS = ("WEIGHT_SPECTRUM", "WEIGHT", "SIGMA")
_REQUIRED = ("ANTENNA1", "ANTENNA2", "DATA_DESC_ID", "FIELD_ID", "TIME", "UVW")
_REQUIRED_SUBTABLES = ("ANTENNA", "FIELD", "SPECTRAL_WINDOW", "POLARIZATION", "DATA_DESCRIPTION")


def read_structure(path: str | Path) -> Structure:
    """Structure of a measurement set with the weight columns and telescope of all rows; errors as of `structure_at`."""
    return of_selection(structure_at(path))


def structure_at(path: str | Path) -> Structure:
    """Structure of a measurement set as of `structure_of`; what visibilities use of it is judged by `uvstack.io.selection.select`.

    Raises
    ------
    MeasurementSetError
        If there is nothing at path, or it is not a measurement set.
    """
    path = str(Path(path).absolute())
    if not Path(path).exists():
        raise MeasurementSetError(f"{path}: no such measurement set")
    if not (Path(path) / "table.dat").is_file():
        raise MeasurementSetError(f"{path}: not a measurement set (a folder with a file table.dat "
                                  "was wanted)")
    with open_table(path) as table:
        links = ((name, linked_path(value)) for name, value in table.keywords().items())
        subtables = {name: linked for name, linked in links if linked is not None}
    return structure_of(path, path, subtables)


def structure_of(path: str, main: str | Table, subtables: Mapping[str, str | Table]) -> Structure:
    """Structure of a main table and its subtables, each a path or a table that is open; of no rows yet, which `of_selection` looks at.

    Raises
    ------
    MeasurementSetError
        If a table or a column is missing.
    """
    with open_table(main) as table:
        columns = tuple(table.columns)
        missing = [name for name in _REQUIRED if name not in columns]
        missing += [name for name in _REQUIRED_SUBTABLES if name not in subtables]
        if missing:
            lazy = isinstance(main, Table)
            raise MeasurementSetError(
                f"{path}: {'datasets' if lazy else 'a casacore table'}, but no measurement set: it "
                f"has no {', '.join(missing)}"
                + ("; give subtables with uvstack.Datasets(…, subtables=…)" if lazy else ""))
        n_rows = table.n_rows
    names, diameters = _read_antennas(subtables["ANTENNA"])
    return Structure(
        path=path,
        n_rows=n_rows,
        columns=columns,
        fields=_read_fields(subtables["FIELD"]),
        data_descriptions=_read_data_descriptions(subtables),
        telescope="unknown",
        antenna_names=names,
        dish_diameters=diameters,
        subtables=dict(subtables),
        datasets=main if isinstance(main, Table) else None,
    )


def _read_antennas(path: str | Table) -> tuple[tuple[str, ...], np.ndarray]:
    with open_table(path) as table:
        names = tuple(str(table.read_cell("NAME", row)) for row in range(table.n_rows))
        diameters = np.array([float(table.read_cell("DISH_DIAMETER", row))
                              for row in range(table.n_rows)])
    return names, diameters


def _read_telescope(path: str | Table | None, main: Table,
                    selection: Selection | None = None) -> str:
    """Telescope of the first observation that has rows; where none has, of the first there is."""
    if path is None:
        return "unknown"
    with open_table(path) as table:
        names = [str(table.read_cell("TELESCOPE_NAME", row)) for row in range(table.n_rows)]
    if len(set(names)) > 1 and "OBSERVATION_ID" in main.columns:
        return next((name for i, name in enumerate(names)
                     if main.any_row("OBSERVATION_ID", i, selection)), names[0])
    return names[0] if names else "unknown"


def of_selection(structure: Structure, selection: Selection | None = None) -> Structure:
    """The structure with the weight columns and telescope of the selected rows, default all; what other rows hold does not matter."""
    with open_table(structure.main) as table:
        weights, partly = _find_weights(table, structure.columns, selection)
        telescope = _read_telescope(structure.subtables.get("OBSERVATION"), table, selection)
    return replace(structure, weight_columns=weights, partly_empty=partly, telescope=telescope)


def _read_fields(path: str | Table) -> tuple[Field, ...]:
    with open_table(path) as table:
        fields = []
        for row in range(table.n_rows):
            name = str(table.read_cell("NAME", row))
            direction, frame = read_direction(table, "PHASE_DIR", row)
            if direction is None:
                fields.append(Field(row, name, frame, float("nan"), float("nan"),
                                    defect="has no phase centre"))
                continue
            defect = ""
            if "EPHEMERIS_ID" in table.columns and int(table.read_cell("EPHEMERIS_ID", row)) >= 0:
                defect = "follows an ephemeris; only fixed phase centres can be used: fix it with CASA's phaseshift or fixvis"
            elif not np.isfinite(direction).all() or abs(direction[0, 1]) > np.pi / 2 + 1e-6:
                defect = f"has a phase centre that is no direction, {direction[0, 0]:g}, {direction[0, 1]:g} rad: set it with CASA's fixvis"
            elif np.any(direction[1:]):
                defect = ("has a phase centre that is a polynomial in time of order "
                          f"{direction.shape[0] - 1}; only order 0 is supported: "
                          "fix it with CASA's fixvis or split the field")
            fields.append(Field(row, name, frame, float(direction[0, 0]), float(direction[0, 1]),
                                defect=defect))
    return tuple(fields)


def read_direction(table: Table, column: str, row: int) -> tuple[np.ndarray | None, str]:
    """Direction of a row as a polynomial in time (term, 2) in rad, None where the cell is empty, and its frame."""
    info = table.keywords(column).get("MEASINFO", {})
    value = table.read_cell(column, row)
    return (None if value is None or np.size(value) < 2
            else np.atleast_2d(value)), _frame_of_row(table, info, row)


def _frame_of_row(table, info: dict, row: int) -> str:
    """Frame of a direction: fixed for the column, or a code of its own in each row."""
    if "VarRefCol" not in info:
        return str(info.get("Ref", "J2000"))
    value = table.read_cell(str(info["VarRefCol"]), row)
    if isinstance(value, str):
        return value
    codes = dict(zip((int(c) for c in info["TabRefCodes"]), info["TabRefTypes"], strict=True))
    return str(codes.get(int(value), f"number {value}"))


def _read_data_descriptions(subtables: Mapping[str, str | Table]) -> tuple[DataDescription, ...]:
    """All rows of DATA_DESCRIPTION; those that point nowhere have no channels or no correlations."""
    with open_table(subtables["SPECTRAL_WINDOW"]) as table:
        windows = [_read_window(table, row) for row in range(table.n_rows)]
    with open_table(subtables["POLARIZATION"]) as table:
        cells = [table.read_cell("CORR_TYPE", row) for row in range(table.n_rows)]
    products = [() if cell is None else tuple(int(c) for c in np.ravel(cell)) for cell in cells]
    with open_table(subtables["DATA_DESCRIPTION"]) as table:
        spw_ids, pol_ids = table.read("SPECTRAL_WINDOW_ID"), table.read("POLARIZATION_ID")
    nothing = np.zeros(0)
    return tuple(DataDescription(i,
                                 windows[spw] if 0 <= spw < len(windows) else SpectralWindow(
                                     int(spw), "", nothing, nothing),
                                 products[pol] if 0 <= pol < len(products) else ())
                 for i, (spw, pol) in enumerate(zip(spw_ids, pol_ids, strict=True)))


def _read_window(table: Table, row: int) -> SpectralWindow:
    """A spectral window; one without frequencies has no channels."""
    frequency, width = (table.read_cell(name, row) for name in ("CHAN_FREQ", "CHAN_WIDTH"))
    if frequency is None or width is None:
        frequency = width = np.zeros(0)
    return SpectralWindow(row, str(table.read_cell("NAME", row)),
                          np.asarray(frequency, np.float64).reshape(-1),
                          np.abs(np.asarray(width, np.float64)).reshape(-1))


def _find_weights(table: Table, columns: tuple[str, ...], selection: Selection | None = None,
                  ) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Weight columns that hold a positive number somewhere, and those of them in which some rows have no value.

    All rows are looked at where need be: a column whose first rows weigh nothing is not taken for
    an empty one.
    """
    there = [name for name in WEIGHTS if name in columns]
    filled = [name for name in there if table.any_row(name, "positive", selection)]
    partly = tuple(name for name in filled if table.any_row(name, "undefined", selection))
    return tuple(filled), partly


def parse_column(expression: str, structure: Structure, selection: Selection | None = None,
                 unfinished: bool = False) -> tuple[str, str | None]:
    """Names of a column, and of the column to subtract, from "DATA" or "DATA-MODEL_DATA".

    Parameters
    ----------
    expression : str
    structure : Structure
    selection : Selection, optional
        Rows in which the columns must have values; default all.
    unfinished : bool
        Take a column that a run which was stopped left half-written: for the run that goes on with
        it.

    Raises
    ------
    ColumnError
        If a column does not exist, holds no visibilities (the message lists those that do), has
        rows without any or is half-written.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:-\s*(\w+)\s*)?", expression)
    if match is None:
        raise ColumnError(f"column {expression!r} cannot be read; wanted a name such as DATA, or "
                          "DATA-MODEL_DATA")
    names = [name for name in match.groups() if name]
    if not structure.n_rows:
        raise MeasurementSetError(f"{structure.path}: the set has no rows; nothing can be read "
                                  "from it")
    with open_table(structure.main) as table:
        description = table.description()
        kinds = [name for name in structure.columns
                 if description[name]["valueType"] in ("complex", "dcomplex")]
        for name in names:
            if name not in kinds or not table.any_row(name, "defined"):
                available = [other for other in kinds if table.any_row(other, "defined")]
                state = "holds no visibilities" if name in structure.columns else "does not exist"
                raise ColumnError(f"{structure.path}: column {name} {state}; there are: "
                                  f"{', '.join(available) or 'none'}")
            is_set = (Path(structure.path) / "table.dat").is_file()
            if not unfinished and is_set and read_mark(structure.path, name) is not None:
                raise ColumnError(f"{structure.path}: column {name} is unfinished, since a run was "
                                  "stopped while writing it; run that again to finish it")
            if not unfinished and table.any_row(name, "undefined", selection):
                raise ColumnError(f"{structure.path}: column {name} has no value in some of the "
                                  "rows that are selected; choose another "
                                  "column, or the fields and windows that have it")
    return names[0], (names[1] if len(names) > 1 else None)


def pairs_with_rows(structure: Structure, selection: Selection) -> frozenset[tuple[int, int]]:
    """Fields and data descriptions that have selected rows together.

    Raises
    ------
    MeasurementSetError
        Rows name fields or data descriptions that the subtables do not have.
    """
    n_fields, n_descriptions = len(structure.fields), len(structure.data_descriptions)
    there = np.zeros(max(n_fields * n_descriptions, 1), np.bool_)
    with open_table(structure.main) as table:
        for name in ("UVW", "FLAG"):
            if name in structure.columns and table.any_row(name, "undefined", selection):
                raise MeasurementSetError(f"{structure.path}: column {name} has no value in some "
                                          "of the rows that are selected; it is "
                                          "damaged or half-written")
        for start in range(0, structure.n_rows, _SCAN_ROWS):
            ids = _read_ids(table, selection, start, min(_SCAN_ROWS, structure.n_rows - start))
            for name, n in (("FIELD_ID", n_fields), ("DATA_DESC_ID", n_descriptions)):
                if ids[name].min() < 0 or ids[name].max() >= n:
                    raise MeasurementSetError(f"{structure.path}: rows have {name} from "
                                              f"{ids[name].min()} to {ids[name].max()}, and its "
                                              f"subtable has {n} rows; the set is damaged: make "
                                              "it again")
            chosen = is_selected(ids, selection)
            there[ids["FIELD_ID"][chosen].astype(np.int64) * n_descriptions
                  + ids["DATA_DESC_ID"][chosen]] = True
    return frozenset(divmod(int(pair), n_descriptions) for pair in np.flatnonzero(there))


def weight_remark(structure: Structure, selection: Selection | None = None) -> str:
    """What is to be said of the weights of a set, `of_selection`, before they are used; empty where all is as it should be.

    Raises
    ------
    NoDataError
        Weight columns are there, and none has a weight above 0 in any row.
    """
    there = [name for name in WEIGHTS if name in structure.columns]
    if not there:
        return f"{structure.path}: has no column of weights; every visibility counts alike"
    empty = [name for name in there if name not in structure.weight_columns]
    if not structure.n_rows:
        return ""
    if not structure.weight_columns:
        raise NoDataError(f"{structure.path}: {' and '.join(there)} "
                          f"{'is' if len(there) == 1 else 'are'} 0 or empty in every row, so no "
                          "visibility has a weight; fill WEIGHT, for instance with CASA's "
                          "initweights")
    taken = structure.weight_columns[0]
    with open_table(structure.main) as table:
        # Cells that were never filled say nothing; zeros do.
        before = [name for name in empty if WEIGHTS.index(name) < WEIGHTS.index(taken)
                  and table.any_row(name, "defined", selection)]
    if not before:
        return ""
    verb = "is" if len(before) == 1 else "are"
    return f"{structure.path}: {' and '.join(before)} {verb} 0 in every row; {taken} is used instead"


def selected_rows(structure: Structure, selection: Selection,
                  columns: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Scalar columns of the selected rows, block by block, each (row,)."""
    with open_table(structure.main) as table:
        for start in range(0, structure.n_rows, _SCAN_ROWS):
            n = min(_SCAN_ROWS, structure.n_rows - start)
            ids = _read_ids(table, selection, start, n)
            chosen = is_selected(ids, selection)
            if chosen.any():
                yield {name: (ids[name] if name in ids else table.read(name, start, n))[chosen]
                       for name in columns}


def scan_rows(structure: Structure, selection: Selection, rows_per_block: dict[int, int],
              out_start: int = 0) -> list[RowBlock]:
    """Blocks of consecutive rows that hold selected ones.

    Parameters
    ----------
    structure : Structure
    selection : Selection
    rows_per_block : dict
        How many rows of a data description (its id) a block may hold; the smallest of those present
        counts.
    out_start : int
        First row of the output that the first block fills.
    """
    blocks = []
    with open_table(structure.main) as table:
        for start in range(0, structure.n_rows, _SCAN_ROWS):
            n = min(_SCAN_ROWS, structure.n_rows - start)
            ids = _read_ids(table, selection, start, n)
            chosen = is_selected(ids, selection)
            present = np.unique(ids["DATA_DESC_ID"][chosen])
            if not present.size:
                continue
            size = min(rows_per_block[int(i)] for i in present)
            for begin in range(0, n, size):
                count = int(np.count_nonzero(chosen[begin : begin + size]))
                if count:
                    blocks.append(RowBlock(start + begin, start + min(begin + size, n), count,
                                           out_start))
                    out_start += count
    return blocks


def _read_ids(table, selection: Selection, start: int, n: int) -> dict[str, np.ndarray]:
    """The columns that decide which of n rows take part."""
    names = ["ANTENNA1", "ANTENNA2", "FIELD_ID",
             "DATA_DESC_ID"] + (["TIME"] if selection.time_ranges else [])
    return {name: table.read(name, start, n) for name in names}


def is_selected(ids: dict[str, np.ndarray], selection: Selection) -> np.ndarray:
    """Which rows take part: selected, and not an autocorrelation."""
    chosen = ids["ANTENNA1"] != ids["ANTENNA2"]
    for name, wanted in (("FIELD_ID", selection.field_ids),
                         ("DATA_DESC_ID", selection.data_description_ids)):
        is_wanted = np.zeros(max(int(ids[name].max(initial=0)), *wanted, 0) + 1, np.bool_)
        is_wanted[list(wanted)] = True
        chosen &= is_wanted[ids[name]]
    if selection.time_ranges:
        chosen &= np.any([(ids["TIME"] >= low) & (ids["TIME"] <= high)
                          for low, high in selection.time_ranges], axis=0)
    return chosen


def read_block(structure: Structure, selection: Selection, block: RowBlock,
               column: tuple[str, str | None], as_stored: bool = False) -> Iterator[Partition]:
    """Partitions of a block, one for each field and data description in it, in order of their ids.

    Parameters
    ----------
    structure, selection, block
        As from `read_structure` and `scan_rows`.
    column : tuple of str
        As from `parse_column`.
    as_stored : bool
        Leave visibilities without a (u, v, w) as they are, where they are not to be used but
        written again; else they become NaN.
    """
    n = block.stop - block.start
    with open_table(structure.main) as table:
        ids = _read_ids(table, selection, block.start, n)
        chosen = is_selected(ids, selection)
        n_descriptions = len(structure.data_descriptions)
        pairs = ids["FIELD_ID"].astype(np.int64) * n_descriptions + ids["DATA_DESC_ID"]
        for pair in np.unique(pairs[chosen]):
            field, description = divmod(int(pair), n_descriptions)
            index = np.flatnonzero(chosen & (pairs == pair))
            antennas = ids["ANTENNA1"][index], ids["ANTENNA2"][index]
            yield _read_partition(structure, table, block.start + index, field, description,
                                  antennas, column, as_stored)


def _read_partition(structure, table, rows, field, description, antennas, column,
                    as_stored) -> Partition:
    vis = _read(table, column[0], rows).astype(np.complex64, copy=False)
    if column[1]:
        vis = vis - _read(table, column[1], rows).astype(np.complex64, copy=False)
    flag = _read(table, "FLAG", rows) if "FLAG" in structure.columns else np.zeros(
        vis.shape, np.bool_)
    flag_row = _read(table, "FLAG_ROW",
                     rows) if "FLAG_ROW" in structure.columns else np.zeros(rows.size, np.bool_)
    expected = (len(structure.data_descriptions[description].spw.frequency),
                len(structure.data_descriptions[description].correlations))
    if vis.shape[1:] != expected or flag.shape != vis.shape:
        raise MeasurementSetError(f"{structure.path}: data description {description} announces "
                                  f"{expected} channels and correlations, "
                                  f"but {column[0]} holds {vis.shape[1:]} and FLAG "
                                  f"{flag.shape[1:]}" + ("; cut the datasets of SPECTRAL_WINDOW "
                                                         "and POLARIZATION alike (subtables={…})"
                                                         if structure.datasets is not None else ""))
    weight = _read_weight(structure, table, rows, vis.shape)
    uvw = _read(table, "UVW", rows)
    # A visibility of no known baseline is as bad as one of no known value, and is counted with
    # those.
    if not as_stored:
        vis[~has_baseline(uvw)] = np.nan
    return Partition(
        structure.fields[field], structure.data_descriptions[description], rows,
        uvw, antennas[0], antennas[1], _read(table, "TIME", rows),
        vis, flag, flag_row, weight)


def _read(table, column: str, rows: np.ndarray) -> np.ndarray:
    """Values at sorted row numbers, as one range where they are consecutive."""
    if rows[-1] - rows[0] + 1 == rows.size:
        return table.read(column, int(rows[0]), rows.size)
    return table.read_rows(column, rows)


def _read_weight(structure: Structure, table: Table, rows: np.ndarray,
                 shape: tuple[int, ...]) -> np.ndarray:
    """Weights (row, chan, corr) float32: of each row from the first weight column in which it has a value."""
    if not structure.weight_columns:
        return np.ones(shape, np.float32)
    first, *later = structure.weight_columns
    if first not in structure.partly_empty:
        return _weights_of(structure, table, first, rows, shape)
    weight = np.empty(shape, np.float32)
    left = np.arange(rows.size)
    for name in (first, *later):
        filled = table.defined(name, rows[left]) if name in structure.partly_empty else np.ones(
            left.size, np.bool_)
        if filled.any():
            here = left[filled]
            weight[here] = _weights_of(structure, table, name, rows[here], (here.size, *shape[1:]))
        left = left[~filled]
    if left.size:
        raise MeasurementSetError(f"{structure.path}: row {int(rows[left[0]])} has no value in "
                                  f"{', '.join(structure.weight_columns)}; "
                                  "fill WEIGHT, or leave such rows out")
    return weight


def _weights_of(structure: Structure, table: Table, name: str, rows: np.ndarray,
                shape: tuple[int, ...]) -> np.ndarray:
    """Weights (row, chan, corr) float32 of rows that have a value in the column."""
    values = _read(table, name, rows).astype(np.float32, copy=False)
    wanted = shape if name == "WEIGHT_SPECTRUM" else (shape[0], shape[2])
    if values.shape != wanted:
        raise MeasurementSetError(f"{structure.path}: cells of {name} are {values.shape[1:]}, "
                                  f"those of the data {shape[1:]} (channels, correlations)")
    if name == "WEIGHT_SPECTRUM":
        return np.ascontiguousarray(values)
    if name == "SIGMA":
        with np.errstate(divide="ignore", over="ignore"):
            values = np.where(values > 0, values, np.inf).astype(np.float32) ** -2
    # A copy even where nothing is repeated: the flags are written into it.
    return np.broadcast_to(values[:, None, :], shape).copy()


def read_unflagged_uvw(structure: Structure, selection: Selection, block: RowBlock) -> np.ndarray:
    """(u, v, w) in m, (row, 3), of a block's selected rows with an unflagged visibility."""
    with open_table(structure.path) as table:
        ids = _read_ids(table, selection, block.start, block.stop - block.start)
        chosen = is_selected(ids, selection)
        found = [np.empty((0, 3))]
        for description in np.unique(ids["DATA_DESC_ID"][chosen]):
            rows = block.start + np.flatnonzero(chosen & (ids["DATA_DESC_ID"] == description))
            if "FLAG" in structure.columns:
                rows = rows[~_read(table, "FLAG", rows).all(axis=(1, 2))]
            if "FLAG_ROW" in structure.columns and rows.size:
                rows = rows[~_read(table, "FLAG_ROW", rows)]
            if rows.size:
                found.append(_read(table, "UVW", rows))
    return np.concatenate(found)


def read_rows(structure: Structure, column: str, rows: np.ndarray) -> np.ndarray:
    """Values of any column at sorted row numbers, (row, …)."""
    with open_table(structure.main) as table:
        return _read(table, column, rows)
