"""Writing a stack as a measurement set: one field, the subtables of its inputs, rows in any order.

The subtables of several input sets are joined: a subtable equal to one already there is shared,
else its rows are appended and the ids that point into it are moved on.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from uvstack.io.casa import Table, open_table, subtable_path
from uvstack.io.ms_columns import SUBTABLES, create_main_table, create_subtable
from uvstack.records import Field, Provenance, Structure

#: Subtables that are joined, and the columns of the main table that point into them.
_POINTED_AT = {"ANTENNA": ("ANTENNA1", "ANTENNA2"), "DATA_DESCRIPTION": ("DATA_DESC_ID",),
               "OBSERVATION": ("OBSERVATION_ID",), "PROCESSOR": ("PROCESSOR_ID",),
               "STATE": ("STATE_ID",)}
#: Columns of subtables that point into other subtables.
_POINTERS = {"DATA_DESCRIPTION": {"SPECTRAL_WINDOW_ID": "SPECTRAL_WINDOW",
                                  "POLARIZATION_ID": "POLARIZATION"},
             "FEED": {"ANTENNA_ID": "ANTENNA", "SPECTRAL_WINDOW_ID": "SPECTRAL_WINDOW"}}
_JOINED = ("ANTENNA", "SPECTRAL_WINDOW", "POLARIZATION", "DATA_DESCRIPTION", "OBSERVATION",
           "PROCESSOR", "STATE", "FEED")
_EMPTY = ("FLAG_CMD", "POINTING")


class StackedMS:
    """A measurement set being written, at a path that must not exist.

    Parameters
    ----------
    path : str or Path
    structures : sequence of Structure
        The inputs, in the order in which `write` counts them.
    n_rows : int
    field : Field
        Becomes the one field; its name is replaced.
    name : str
        Name of the field.
    weight_spectrum : bool
    shapes : set of (int, int)
        Channels and correlations that the rows will have.
    """

    def __init__(self, path: str | Path, structures: tuple[Structure, ...], n_rows: int,
                 field: Field, name: str, weight_spectrum: bool, shapes: set[tuple[int, int]]):
        self.path = str(path)
        self.n_rows = n_rows
        self._closed = False
        weight_columns = ("WEIGHT", "SIGMA", *(["WEIGHT_SPECTRUM"] if weight_spectrum else []))
        self._table = create_main_table(self.path, n_rows, shapes, weight_columns=weight_columns)
        try:
            self._offsets = self._join_subtables(structures)
            self._write_field(field, name)
            for name in _EMPTY:
                create_subtable(self.path, name).close()
            for name in SUBTABLES:
                self._table.set_keyword(name, f"Table: {self.path}/{name}")
        except BaseException:
            self.close()
            raise

    def write(self, start: int, set_index: int, columns: dict[str, np.ndarray]) -> None:
        """Set rows from `start` on.

        Ids in the columns are those of the input numbered `set_index`.
        """
        for name, subtables in ((c, s) for s, names in _POINTED_AT.items() for c in names):
            offset = self._offsets[set_index][subtables]
            if offset and name in columns:
                columns[name] = np.where(columns[name] >= 0, columns[name] + offset, columns[name])
        for name, values in columns.items():
            self._table.write(name, values, start)

    def close(self) -> None:
        """Write what is buffered; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self._table.close()

    def _join_subtables(self, structures: tuple[Structure, ...]) -> list[dict[str, int]]:
        offsets = []
        for i, structure in enumerate(structures):
            offset = dict.fromkeys(_JOINED, 0)
            for name in _JOINED:
                source = structure.subtables.get(name)
                if i == 0:
                    _copy_subtable(source, self.path, name)
                if i > 0 or isinstance(source, Table):
                    offset[name] = _append_subtable(source, self.path, name, offset)
            offsets.append(offset)
        _copy_subtable(structures[0].subtables.get("HISTORY"), self.path, "HISTORY")
        self._make_legal(structures[0].telescope)
        return offsets

    def _make_legal(self, telescope: str) -> None:
        """Fill what CASA wants before it says anything of a set.

        An observation, and a channel in every window, used or not.
        """
        with open_table(f"{self.path}/OBSERVATION", readonly=False) as table:
            if not table.n_rows:
                table.add_rows(1)
                table.write_cell("TELESCOPE_NAME", 0, telescope)
        with open_table(f"{self.path}/SPECTRAL_WINDOW", readonly=False) as table:
            for row in range(table.n_rows):
                if table.read_cell("CHAN_FREQ", row) is None:
                    table.write_cell("NUM_CHAN", row, 1)
                    for column in ("CHAN_FREQ", "CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION"):
                        table.write_cell(column, row, np.zeros(1))

    def _write_field(self, field: Field, name: str) -> None:
        with create_subtable(self.path, "FIELD", 1) as table:
            if field.frame != "J2000":
                for column in ("DELAY_DIR", "PHASE_DIR", "REFERENCE_DIR"):
                    table.set_column_reference(column, field.frame)
            for column in ("DELAY_DIR", "PHASE_DIR", "REFERENCE_DIR"):
                table.write_cell(column, 0, np.array([[field.ra, field.dec]]))
            for column, value in {"NAME": name, "CODE": "", "TIME": 0.0, "NUM_POLY": 0,
                                  "SOURCE_ID": -1, "FLAG_ROW": False}.items():
                table.write_cell(column, 0, value)


def _copy_subtable(source: str | Table | None, target: str, name: str) -> None:
    """Copy a subtable whole; make an empty one where the input has none, or has it in datasets."""
    if isinstance(source, str):
        with open_table(source) as table:
            table.copy_to(f"{target}/{name}")
    else:
        create_subtable(target, name).close()


def _append_subtable(source: str | Table | None, target: str, name: str,
                     offset: dict[str, int]) -> int:
    """Append the rows of a subtable unless equal ones are there already.

    Return where they begin.
    """
    if source is None:
        return 0
    with open_table(source) as table, open_table(f"{target}/{name}", readonly=False) as joined:
        columns = [column for column in table.columns if column in joined.columns]
        rows = [[_moved(table.read_cell(c, row), offset.get(_POINTERS.get(name, {}).get(c, ""), 0))
                 for c in columns] for row in range(table.n_rows)]
        present = [[joined.read_cell(c, row) for c in columns] for row in range(joined.n_rows)]
        for begin in range(len(present) - len(rows) + 1):
            if all(_equal(a, b)
                   for a, b in zip(rows, present[begin : begin + len(rows)], strict=True)):
                return begin
        joined.add_rows(len(rows))
        for i, row in enumerate(rows):
            for column, value in zip(columns, row, strict=True):
                if value is not None:
                    joined.write_cell(column, len(present) + i, value)
    return len(present)


def _moved(value, offset: int):
    return value + offset if offset and value is not None and np.all(np.asarray(value)
                                                                     >= 0) else value


def _equal(row, other) -> bool:
    return all((a is None) == (b is None)
               and (a is None or np.array_equal(np.asarray(a), np.asarray(b)))
               for a, b in zip(row, other, strict=True))


def append_history(path: str | Path, provenance: Provenance) -> None:
    """Append one row to HISTORY, where the set has it: version and command."""
    history = subtable_path(path, "HISTORY")
    if history is None:
        return
    with open_table(history, readonly=False) as table:
        row = table.n_rows
        table.add_rows(1)
        values = {"TIME": time.time() + 3506716800.0, "OBSERVATION_ID": 0,
                  "MESSAGE": f"uvstack {provenance.version}: {provenance.command}",
                  "PRIORITY": "INFO", "ORIGIN": "uvstack", "OBJECT_ID": -1,
                  "APPLICATION": "uvstack", "CLI_COMMAND": np.array([provenance.command]),
                  "APP_PARAMS": np.array([""])}
        for column, value in values.items():
            if column in table.columns:
                table.write_cell(column, row, value)
