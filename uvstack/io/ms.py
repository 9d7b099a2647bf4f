"""Reading a measurement set: its structure, which rows take part, and blocks of rows as arrays.

A set is read in blocks of consecutive rows, so memory is bounded by the block whatever the size of the set; within a
block rows are parted by field and data description, since only such rows have one shape, one phase centre and one
frequency axis. Opened for reading only, without a lock.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from uvstack.errors import ColumnError, MeasurementSetError
from uvstack.io.casa import open_table
from uvstack.io.unfinished_column import read_mark
from uvstack.records import DataDescription, Field, Partition, RowBlock, Selection, SpectralWindow, Structure

#: Rows of the scalar columns that are looked at together when rows are counted.
_SCAN_ROWS = 1_000_000
#: Columns that may hold weights, the best first.
_WEIGHTS = ("WEIGHT_SPECTRUM", "WEIGHT", "SIGMA")
_REQUIRED = ("ANTENNA1", "ANTENNA2", "DATA_DESC_ID", "FIELD_ID", "TIME", "UVW")


def paths_of(ms: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Paths of all sets, globs expanded.

    Raises
    ------
    MeasurementSetError
        There is none, or a glob matches none.
    """
    paths: list[str] = []
    for item in [ms] if isinstance(ms, str | os.PathLike) else ms:
        text = os.fspath(item)
        found = sorted(glob.glob(text)) if glob.has_magic(text) and not Path(text).exists() else [text]
        if not found:
            raise MeasurementSetError(f"{text}: no measurement set matches")
        paths += found
    if not paths:
        raise MeasurementSetError("no measurement set is given")
    return paths


def read_structure(path: str | Path) -> Structure:
    """Structure of a measurement set.

    Raises
    ------
    MeasurementSetError
        If there is nothing at path, or it is not a measurement set, or a phase centre moves with time.
    """
    path = str(path).rstrip("/")
    if not Path(path).exists():
        raise MeasurementSetError(f"{path}: no such measurement set")
    if not (Path(path) / "table.dat").is_file():
        raise MeasurementSetError(f"{path}: not a measurement set (a folder with a file table.dat was wanted)")
    with open_table(path) as table:
        columns = tuple(table.columns)
        n_rows = table.n_rows
        subtables = set(table.keywords())
    missing = [name for name in _REQUIRED if name not in columns]
    missing += [name for name in ("ANTENNA", "FIELD", "SPECTRAL_WINDOW", "POLARIZATION") if name not in subtables]
    if missing:
        raise MeasurementSetError(f"{path}: a casacore table, but no measurement set: it has no {', '.join(missing)}")
    names, diameters = _read_antennas(path)
    return Structure(
        path=path,
        n_rows=n_rows,
        columns=columns,
        fields=_read_fields(path),
        data_descriptions=_read_data_descriptions(path),
        telescope=_read_telescope(path),
        antenna_names=names,
        dish_diameters=diameters,
        weight_source=_find_weight_source(path, columns, n_rows),
    )


def _read_antennas(path: str) -> tuple[tuple[str, ...], np.ndarray]:
    with open_table(f"{path}/ANTENNA") as table:
        names = tuple(str(table.read_cell("NAME", row)) for row in range(table.n_rows))
        diameters = np.array([float(table.read_cell("DISH_DIAMETER", row)) for row in range(table.n_rows)])
    return names, diameters


def _read_telescope(path: str) -> str:
    with open_table(f"{path}/OBSERVATION") as table:
        return str(table.read_cell("TELESCOPE_NAME", 0)) if table.n_rows else "unknown"


def _read_fields(path: str) -> tuple[Field, ...]:
    with open_table(f"{path}/FIELD") as table:
        info = table.keywords("PHASE_DIR").get("MEASINFO", {})
        fields = []
        for row in range(table.n_rows):
            name = str(table.read_cell("NAME", row))
            direction = np.atleast_2d(table.read_cell("PHASE_DIR", row))
            if "EPHEMERIS_ID" in table.columns and int(table.read_cell("EPHEMERIS_ID", row)) >= 0:
                raise MeasurementSetError(f"{path}: field {row} ({name}) follows an ephemeris; only fixed phase centres can be stacked")
            if direction.shape[0] > 1 and np.any(direction[1:]):
                raise MeasurementSetError(
                    f"{path}: the phase centre of field {row} ({name}) is a polynomial in time of order "
                    f"{direction.shape[0] - 1}; only order 0 is supported: fix it with CASA's fixvis or split the field")
            fields.append(Field(row, name, _frame_of_row(table, info, row), float(direction[0, 0]), float(direction[0, 1])))
    return tuple(fields)


def _frame_of_row(table, info: dict, row: int) -> str:
    """Frame of a phase centre: fixed for the column, or a code of its own in each row."""
    if "VarRefCol" not in info:
        return str(info.get("Ref", "J2000"))
    value = table.read_cell(str(info["VarRefCol"]), row)
    if isinstance(value, str):
        return value
    codes = dict(zip((int(c) for c in info["TabRefCodes"]), info["TabRefTypes"], strict=True))
    return str(codes[int(value)])


def _read_data_descriptions(path: str) -> tuple[DataDescription, ...]:
    with open_table(f"{path}/SPECTRAL_WINDOW") as table:
        windows = [
            SpectralWindow(
                row,
                str(table.read_cell("NAME", row)),
                np.asarray(table.read_cell("CHAN_FREQ", row), dtype=np.float64).reshape(-1),
                np.abs(np.asarray(table.read_cell("CHAN_WIDTH", row), dtype=np.float64)).reshape(-1),
            )
            for row in range(table.n_rows)
        ]
    with open_table(f"{path}/POLARIZATION") as table:
        products = [tuple(int(c) for c in table.read_cell("CORR_TYPE", row)) for row in range(table.n_rows)]
    with open_table(f"{path}/DATA_DESCRIPTION") as table:
        spw_ids, pol_ids = table.read("SPECTRAL_WINDOW_ID"), table.read("POLARIZATION_ID")
    for spw, pol in zip(spw_ids, pol_ids, strict=True):
        if not (0 <= spw < len(windows) and 0 <= pol < len(products)):
            raise MeasurementSetError(f"{path}: DATA_DESCRIPTION names spectral window {spw} and polarisation {pol}, which do not exist")
    return tuple(
        DataDescription(i, windows[spw], products[pol]) for i, (spw, pol) in enumerate(zip(spw_ids, pol_ids, strict=True)))


def _find_weight_source(path: str, columns: tuple[str, ...], n_rows: int) -> str:
    """The first of the weight columns that is there and not zero everywhere."""
    with open_table(path) as table:
        for name in (name for name in _WEIGHTS if name in columns):
            for start in range(0, n_rows, 10_000):
                for row in _sample(start, min(start + 10_000, n_rows)):
                    value = table.read_cell(name, row)
                    if value is not None and np.any((value > 0) & np.isfinite(value)):
                        return name
    return "none"


def _sample(start: int, stop: int) -> range:
    """Some rows of a block: a weight column that is zero in all of them is taken for an empty one."""
    return range(start, stop, max((stop - start) // 50, 1))


def parse_column(expression: str, structure: Structure, unfinished: bool = False) -> tuple[str, str | None]:
    """Names of a column, and of the column to subtract, from "DATA" or "DATA-MODEL_DATA".

    Parameters
    ----------
    expression : str
    structure : Structure
    unfinished : bool
        Take a column that a run which was stopped left half-written: for the run that goes on with it.

    Raises
    ------
    ColumnError
        If a column does not exist, holds no visibilities (the message lists those that do) or is half-written.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:-\s*(\w+)\s*)?", expression)
    if match is None:
        raise ColumnError(f"column {expression!r} cannot be read; wanted a name such as DATA, or DATA-MODEL_DATA")
    names = [name for name in match.groups() if name]
    if not structure.n_rows:
        raise MeasurementSetError(f"{structure.path}: the set has no rows; nothing can be read from it")
    with open_table(structure.path) as table:
        description = table.description()
        available = [
            name for name in structure.columns
            if description[name]["valueType"] in ("complex", "dcomplex")
            and table.read_cell(name, 0) is not None
        ]
    for name in names:
        if name not in available:
            state = "holds no visibilities" if name in structure.columns else "does not exist"
            raise ColumnError(f"{structure.path}: column {name} {state}; there are: {', '.join(available) or 'none'}")
        if not unfinished and read_mark(structure.path, name) is not None:
            raise ColumnError(f"{structure.path}: column {name} is unfinished, since `uvstack subtract` was stopped while writing it; run "
                              "that again to finish it")
    return names[0], (names[1] if len(names) > 1 else None)


def scan_rows(structure: Structure, selection: Selection, rows_per_block: dict[int, int], out_start: int = 0) -> list[RowBlock]:
    """Blocks of consecutive rows that hold selected ones.

    Parameters
    ----------
    structure : Structure
    selection : Selection
    rows_per_block : dict
        How many rows of a data description (its id) a block may hold; the smallest of those present counts.
    out_start : int
        First row of the output that the first block fills.
    """
    blocks = []
    with open_table(structure.path) as table:
        for start in range(0, structure.n_rows, _SCAN_ROWS):
            n = min(_SCAN_ROWS, structure.n_rows - start)
            ids = _read_ids(table, selection, start, n)
            chosen = _selected(ids, selection)
            present = np.unique(ids["DATA_DESC_ID"][chosen])
            if not present.size:
                continue
            size = min(rows_per_block[int(i)] for i in present)
            for begin in range(0, n, size):
                count = int(np.count_nonzero(chosen[begin : begin + size]))
                if count:
                    blocks.append(RowBlock(start + begin, start + min(begin + size, n), count, out_start))
                    out_start += count
    return blocks


def _read_ids(table, selection: Selection, start: int, n: int) -> dict[str, np.ndarray]:
    """The columns that decide which of n rows take part."""
    names = ["ANTENNA1", "ANTENNA2", "FIELD_ID", "DATA_DESC_ID"] + (["TIME"] if selection.time_ranges else [])
    return {name: table.read(name, start, n) for name in names}


def _selected(ids: dict[str, np.ndarray], selection: Selection) -> np.ndarray:
    """Which rows take part: selected, and not an autocorrelation."""
    chosen = ids["ANTENNA1"] != ids["ANTENNA2"]
    for name, wanted in (("FIELD_ID", selection.field_ids), ("DATA_DESC_ID", selection.data_description_ids)):
        for value in np.unique(ids[name]):
            if int(value) not in wanted:
                chosen &= ids[name] != value
    if selection.time_ranges:
        chosen &= np.any([(ids["TIME"] >= low) & (ids["TIME"] <= high) for low, high in selection.time_ranges], axis=0)
    return chosen


def read_block(structure: Structure, selection: Selection, block: RowBlock, column: tuple[str, str | None]) -> Iterator[Partition]:
    """Partitions of a block, one for each field and data description in it, in order of their ids.

    Parameters
    ----------
    structure, selection, block
        As from `read_structure` and `scan_rows`.
    column : tuple of str
        As from `parse_column`.
    """
    n = block.stop - block.start
    with open_table(structure.path) as table:
        ids = _read_ids(table, selection, block.start, n)
        chosen = _selected(ids, selection)
        n_descriptions = len(structure.data_descriptions)
        pairs = ids["FIELD_ID"].astype(np.int64) * n_descriptions + ids["DATA_DESC_ID"]
        for pair in np.unique(pairs[chosen]):
            field, description = divmod(int(pair), n_descriptions)
            index = np.flatnonzero(chosen & (pairs == pair))
            antennas = ids["ANTENNA1"][index], ids["ANTENNA2"][index]
            yield _read_partition(structure, table, block.start + index, field, description, antennas, column)


def _read_partition(structure, table, rows, field, description, antennas, column) -> Partition:
    vis = _read(table, column[0], rows).astype(np.complex64, copy=False)
    if column[1]:
        vis = vis - _read(table, column[1], rows).astype(np.complex64, copy=False)
    flag = _read(table, "FLAG", rows) if "FLAG" in structure.columns else np.zeros(vis.shape, np.bool_)
    flag_row = _read(table, "FLAG_ROW", rows) if "FLAG_ROW" in structure.columns else np.zeros(rows.size, np.bool_)
    expected = (len(structure.data_descriptions[description].spw.frequency), len(structure.data_descriptions[description].correlations))
    if vis.shape[1:] != expected or flag.shape != vis.shape:
        raise MeasurementSetError(
            f"{structure.path}: data description {description} announces {expected} channels and correlations, "
            f"but {column[0]} holds {vis.shape[1:]} and FLAG {flag.shape[1:]}")
    weight = _read_weight(structure, table, rows, vis.shape)
    uvw = _read(table, "UVW", rows)
    # A visibility of no known baseline is as bad as one of no known value, and is counted with those.
    vis[~np.isfinite(uvw).all(axis=1)] = np.nan
    return Partition(
        structure.fields[field], structure.data_descriptions[description], rows,
        uvw, antennas[0], antennas[1], _read(table, "TIME", rows),
        vis, flag, flag_row, weight)


def _read(table, column: str, rows: np.ndarray) -> np.ndarray:
    """Values at sorted row numbers, as one range where they are consecutive."""
    if rows[-1] - rows[0] + 1 == rows.size:
        return table.read(column, int(rows[0]), rows.size)
    return table.read_rows(column, rows)


def _read_weight(structure: Structure, table, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Weights (row, chan, corr) float32 from the set's weight source, or the next where these rows lack it."""
    source = structure.weight_source
    if source != "none":
        later = _WEIGHTS[_WEIGHTS.index(source):]
        source = next((name for name in later if name in structure.columns and table.read_cell(name, int(rows[0])) is not None), "none")
    if source == "none":
        return np.ones(shape, np.float32)
    values = _read(table, source, rows).astype(np.float32, copy=False)
    wanted = shape if source == "WEIGHT_SPECTRUM" else (shape[0], shape[2])
    if values.shape != wanted:
        raise MeasurementSetError(
            f"{structure.path}: cells of {source} are {values.shape[1:]}, those of the data {shape[1:]} (channels, correlations)")
    if source == "WEIGHT_SPECTRUM":
        return np.ascontiguousarray(values)
    if source == "SIGMA":
        with np.errstate(divide="ignore", over="ignore"):
            values = np.where(values > 0, values, np.inf).astype(np.float32) ** -2
    # A copy even where nothing is repeated: the flags are written into it.
    return np.broadcast_to(values[:, None, :], shape).copy()


def read_rows(structure: Structure, column: str, rows: np.ndarray) -> np.ndarray:
    """Values of any column at sorted row numbers, (row, …)."""
    with open_table(structure.path) as table:
        return _read(table, column, rows)
