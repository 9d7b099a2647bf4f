"""Writing visibilities into a column of a measurement set that exists, which is changed only here and only on request.

A new column has the description of the data column. Rows that nobody writes hold what the source
column holds, or 0 for a model. Until all outputs of the run are valid, the column has a mark
(`uvstack.io.unfinished_column`). If anything goes wrong, a new column is removed again; one that
existed holds new and old values then, and keeps the mark, so that nothing reads it as data.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from uvstack.errors import ColumnError, OutputError
from uvstack.io.casa import Table, open_table, refers_to_another
from uvstack.io.output import finish_with_outputs
from uvstack.io.unfinished_column import make_column, read_mark, remove_column, set_mark
from uvstack.records import Structure

#: Rows that are filled together.
_ROWS = 20_000
#: What the mark of a column says.
_TASK = "fit"


def check_column(structure: Structure, column: str, overwrite: bool,
                 source: Iterable[str | None] = ()) -> None:
    """Raise OutputError where a column cannot be written, or filled from others, before any work is done."""
    if not column.isidentifier():
        raise OutputError(f"{column!r} is no name of a column; wanted letters, digits and "
                          "underscores, e.g. MODEL_DATA")
    if refers_to_another(structure.path):
        raise OutputError(f"{structure.path}: is a selection of rows of another set, which column "
                          f"{column} would change; copy it to a set "
                          "of its own first (casacore: deep copy; CASA: split)")
    if not os.access(structure.path, os.W_OK):
        raise OutputError(f"{structure.path}: no permission to write column {column}; copy the "
                          "set to a place of your own")
    check_filled(structure, source)
    if column not in structure.columns:
        return
    with open_table(structure.path) as table:
        kind = table.description()[column]["valueType"]
    if kind not in ("complex", "dcomplex"):
        raise OutputError(f"{structure.path}: column {column} holds {kind} values, no "
                          "visibilities, and is never overwritten")
    if not overwrite and not is_remains(structure, column):
        raise OutputError(f"{structure.path}: column {column} exists; choose another or pass "
                          "--overwrite (overwrite=True)")


def check_writable(structure: Structure, what: str) -> None:
    """Raise OutputError where a set is made of datasets, which are only read."""
    if structure.datasets is not None:
        raise OutputError(f"{structure.path}: {what} would be written into datasets, which are "
                          "only read; write them to a measurement set first, for instance with "
                          "daskms.xds_to_table")


def is_remains(structure: Structure, column: str) -> bool:
    """Whether a column is what a run left that was killed while it wrote it by `column_writer`."""
    mark = read_mark(structure.path, column)
    return mark is not None and mark.get("task") == _TASK


def check_filled(structure: Structure, columns: Iterable[str | None]) -> None:
    """Raise ColumnError where a column that fills all rows of another one lacks values.

    To read an empty cell may end the process.
    """
    with open_table(structure.path) as table:
        for column in columns:
            if column in structure.columns and table.any_row(column, "undefined"):
                raise ColumnError(f"{structure.path}: column {column} has no value in some rows, "
                                  "and a new column holds all of them; "
                                  "split the fields and windows that have values into a set of "
                                  "their own")


@contextlib.contextmanager
def column_writer(path: str | Path, column: str, like: str, source: tuple[str, str | None] | None,
                  overwrite: bool = False) -> Iterator[Callable[[np.ndarray, np.ndarray], None]]:
    """A function write(rows, values) for a column of a set.

    Rows are numbers, values (row, chan, corr).

    Parameters
    ----------
    path : str or Path
    column : str
        Made where it does not exist.
    like : str
        Data column whose description a new one takes over.
    source : tuple of str, or None
        Column, and the one subtracted from it, that fill a new column; None fills it with 0.
    overwrite : bool
        Whether the column may exist; the remains of a killed run may.
    """
    path = str(path)
    with open_table(path) as table:
        made = column not in table.columns
    mark = read_mark(path, column)
    if mark is not None and mark.get("made"):
        remove_column(path, column)
        made = True
    elif not made and mark is None and not overwrite:
        raise OutputError(f"{path}: column {column} exists; choose another or pass --overwrite "
                          "(overwrite=True)")

    touched = False

    def write(rows: np.ndarray, values: np.ndarray) -> None:
        nonlocal touched
        touched = True
        _write_rows(table, column, rows, values)

    def undo() -> None:
        if made:
            remove_column(path, column)
        elif not touched and mark is None:
            set_mark(path, column, None)

    try:
        if made:
            make_column(path, column, like, {"task": _TASK, "made": True})
        else:
            set_mark(path, column, {"task": _TASK, "made": False})
        with open_table(path, readonly=False) as table:
            if made:
                _fill(table, column, like, source)
            yield write
    except BaseException:
        undo()
        raise
    finish_with_outputs(path, column, lambda: set_mark(path, column, None), undo)


def _fill(table: Table, column: str, like: str, source: tuple[str, str | None] | None) -> None:
    """Give every row of a new column a value."""
    for start, stop in _runs_of_one_shape(table, like):
        values = table.read(like if source is None else source[0], start, stop - start)
        if source is None:
            values = np.zeros_like(values)
        elif source[1] is not None:
            values = values - table.read(source[1], start, stop - start)
        table.write(column, values.astype(np.complex64, copy=False), start)


def _runs_of_one_shape(table: Table, column: str) -> Iterator[tuple[int, int]]:
    """Consecutive rows (start, stop) whose data have one data description, so one shape."""
    for start in range(0, table.n_rows, _ROWS):
        ids = table.read("DATA_DESC_ID", start, min(_ROWS, table.n_rows - start))
        bounds = [0, *(np.flatnonzero(np.diff(ids)) + 1), ids.size]
        yield from ((start + int(a), start + int(b))
                    for a, b in zip(bounds[:-1], bounds[1:], strict=True))


def _write_rows(table: Table, column: str, rows: np.ndarray, values: np.ndarray) -> None:
    """Set rows (sorted numbers), run by run of consecutive ones."""
    bounds = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1), rows.size]
    for a, b in zip(bounds[:-1], bounds[1:], strict=True):
        table.write(column, np.ascontiguousarray(values[a:b]), int(rows[a]))
