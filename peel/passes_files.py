"""Passes over the rows of a set: columns are read with their gains' cells, and columns are written.

Each pass reads the set anew in blocks of rows, so memory is that of a block whatever the size of the
set. Every column that is written is a function of others and of gains, never of itself: a pass that
was interrupted is simply made again.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peel.gains import Cell, Gain, Key, seen_through
from peel.visits import Visit
from uvstack.io.casa import open_table
from uvstack.io.ms import read_block, read_rows, scan_rows
from uvstack.io.unfinished_column import (
    is_finished,
    read_keyword,
    set_keyword,
)
from uvstack.io.write_columns import column_writer
from uvstack.records import Partition, Selection, Structure

#: Visibilities (row × chan × corr) of a block: 200 MB with models and gains.
_PER_BLOCK = 1_000_000
#: Rows whose field and window are read at once.
_IDS_AT_ONCE = 5_000_000
#: Keyword of a column: whose it is, and what it holds.
_NOTE = "UVSTACK_PEEL"


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one field and window in a block.

    Attributes
    ----------
    visit : Visit
    partition : Partition
        As it was read.
    scan : ndarray (row,)
    weight : ndarray (row, chan, corr)
        0 where flagged.
    values : mapping of str to ndarray (row, chan, corr)
        Of the columns that were asked for.
    n_ant : int
    """

    visit: Visit
    partition: Partition
    scan: NDArray
    weight: NDArray[np.float32]
    values: Mapping[str, NDArray]
    n_ant: int

    @property
    def key(self) -> Key:
        """Field and window."""
        return self.visit.field.id, self.visit.window.id

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the rows in the set."""
        return self.partition.rows

    def cells(self) -> Iterator[tuple[Cell, NDArray[np.int64], NDArray[np.int64], int]]:
        """Cell, its rows (of the part), their integrations, and how many the scan has."""
        for scan in np.unique(self.scan):
            index = np.flatnonzero(self.scan == scan)
            times = self.visit.times[int(scan)]
            yield ((*self.key, int(scan)), index, np.searchsorted(times, self.partition.time[index]),
                   times.size)

    def through(self, vis: NDArray, gain_of: Callable[[Cell, int], Gain],
                ) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
        """Visibilities through gains, and of which rows an antenna's gains failed.

        Parameters
        ----------
        vis : ndarray (row, chan, corr)
        gain_of : callable
            Of a cell and the number of integrations of its scan.
        """
        out: NDArray[np.complex128] = np.empty(vis.shape, np.complex128)
        failed = np.zeros(len(vis), np.bool_)
        for cell, index, number, n_times in self.cells():
            gain = gain_of(cell, n_times)
            values = np.broadcast_to(gain.values,
                                     (n_times, gain.values.shape[1], self.n_ant, 2))
            bad = np.broadcast_to(gain.failed, (n_times, self.n_ant))
            pair = self.partition.antenna1[index], self.partition.antenna2[index]
            out[index] = seen_through(vis[index], values, number, *pair,
                                      self.visit.window.correlations)
            failed[index] = bad[number, pair[0]] | bad[number, pair[1]]
        return out, failed


@dataclass(frozen=True, eq=False)
class Target:
    """Another set, whose rows those of the passes are.

    Attributes
    ----------
    structure : Structure
    rows : ndarray (row,)
        Of that set.
    """

    structure: Structure
    rows: NDArray[np.int64]


class Passes:
    """What reads and writes columns of the peeled part of a set."""

    def __init__(self, structure: Structure, selection: Selection, visits: Sequence[Visit],
                 like: str) -> None:
        self.structure, self.selection, self.visits = structure, selection, tuple(visits)
        self._like = like
        self._visits = {(visit.field.id, visit.window.id): visit for visit in visits}
        self._apart: Path | None = None
        self.tell: Callable[[float], None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What goes to workers."""
        return {**vars(self), "tell": None}

    def parts(self, names: Sequence[str]) -> Iterator[Part]:
        """Parts of all blocks, with the values of these columns."""
        structure = self.structure
        rows = {d.id: max(_PER_BLOCK // (d.shape[0] * d.shape[1]), 1)
                for d in structure.used(self.selection)}
        blocks = scan_rows(structure, self.selection, rows)
        for number, block in enumerate(blocks):
            for one in read_block(structure, self.selection, block, (names[0], None),
                                  as_stored=True):
                visit = self._visits[one.field.id, one.data_description.id]
                weight = np.where(one.flag | one.flag_row[:, None, None], 0, one.weight)
                values = {name: one.vis if name == names[0]
                          else read_rows(structure, name, one.rows) for name in names}
                yield Part(visit, one, read_rows(structure, "SCAN_NUMBER", one.rows), weight,
                           values, len(structure.antenna_names))
            if self.tell is not None:
                self.tell((number + 1) / len(blocks))

    def write(self, column: str, names: Sequence[str], make: Callable[[Part], NDArray]) -> None:
        """Set a column in all selected rows; arguments as of `write_all`."""
        self.write_all({column: None}, names, lambda part: [make(part)])

    def write_all(self, columns: Mapping[str, str | None], names: Sequence[str],
                  make: Callable[[Part], Sequence[NDArray]], note: str | None = None,
                  into: Target | None = None) -> None:
        """Set columns in all selected rows, in one pass.

        Parameters
        ----------
        columns : mapping of str to str or None
            Made where they do not exist; other rows then hold what this column does, or 0.
        names : sequence of str
            That are read.
        make : callable
            Of a part: values of each column.
        note : str, optional
            Whose they are and what they hold, once they do.
        into : Target, optional
            The set that gets them; default the one that is read.
        """
        path = self.structure.path if into is None else into.structure.path
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(column_writer(
                path, column, self._like, None if source is None else (source, None), True))
                for column, source in columns.items()]
            for part in self.parts(names):
                for write, values in zip(writers, make(part), strict=True):
                    write(part.rows if into is None else into.rows[part.rows],
                          np.asarray(values, np.complex64))
            if note is not None:
                for column in columns:
                    set_keyword(path, column, _NOTE, note)

    def note_of(self, column: str) -> str | None:
        """As `column_note`."""
        return column_note(self.structure.path, column)

    def begin(self, column: str, note: str) -> None:
        """Note whose a column is that is about to be written; it is made where it does not exist."""
        path = self.structure.path
        with open_table(path) as table:
            is_there = column in table.columns
        if is_there:
            set_keyword(path, column, _NOTE, note)
        else:
            with column_writer(path, column, self._like, None):
                set_keyword(path, column, _NOTE, note)

    def note(self, column: str, note: str) -> None:
        """Note whose a column is and what it holds."""
        set_keyword(self.structure.path, column, _NOTE, note)

    @contextlib.contextmanager
    def apart(self, folder: Path) -> Iterator[None]:
        """Meanwhile `of` gives passes that need not look at the rows of others.

        Tables that refer to the rows of each visit are made in the folder, which takes the place of one
        that a run left which was killed. Columns that are made meanwhile are not seen there.
        """
        path = self.structure.path
        with open_table(path) as table:
            if len(table.parts()) > 1:  # rows of a multi-MS are in its parts
                yield
                return
            rows: dict[Key, list[NDArray[np.int64]]] = {}
            for start in range(0, table.n_rows, _IDS_AT_ONCE):
                field, window = (table.read(name, start, min(_IDS_AT_ONCE, table.n_rows - start))
                                 for name in ("FIELD_ID", "DATA_DESC_ID"))
                order = np.lexsort((window, field))
                ids = np.column_stack([field, window])[order]
                ends = np.flatnonzero(np.any(np.diff(ids, axis=0), axis=1)) + 1
                for one in np.split(order, ends):
                    rows.setdefault((int(field[one[0]]), int(window[one[0]])), []).append(start + one)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                for key in self._visits:
                    if key in rows:
                        table.refer_to(np.concatenate(rows[key]), _view(folder, key))
                self._apart = folder
                yield
            finally:
                self._apart = None
                shutil.rmtree(folder)

    def of(self, visit: Visit) -> Passes:
        """Passes over the rows of one visit; they only read."""
        key = visit.field.id, visit.window.id
        selection = replace(self.selection, field_ids=frozenset([key[0]]),
                            data_description_ids=frozenset([key[1]]), pairs=None)
        structure = self.structure
        if self._apart is not None:
            path = _view(self._apart, key)
            with open_table(path) as table:
                structure = replace(structure, path=str(path), n_rows=table.n_rows)
        return Passes(structure, selection, [visit], self._like)


def _view(folder: Path, key: Key) -> Path:
    return folder / f"field-{key[0]}-window-{key[1]}"


def column_note(path: str, column: str) -> str | None:
    """What a run has noted of a column of a set; None where there is none, or it is not complete."""
    return read_keyword(path, column, _NOTE) if is_finished(path, column) else None
