"""casacore tables through python-casacore, or at a CASA prompt through casatools.

One small interface, two back ends.

`open_table` and `create_table` are the two functions that everything else uses. Both back ends give
arrays with the row first, (row, chan, corr). Only names used by this project are offered. Set the
environment variable `UVSTACK_TABLES` to "casacore" or "casatools" to force one; otherwise
python-casacore is taken where it is installed.

casacore keeps one copy of an open table in a process and is not safe with threads: every access
goes through one lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import platform
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvstack.errors import MeasurementSetError, MissingDependencyError, OutputError, UvstackError
from uvstack.io.casa_import import casatools
from uvstack.records import Selection

#: What the value of a keyword that links a subtable begins with.
_LINK = "Table: "
#: Held during every call into casacore.
LOCK = threading.RLock()


def backend() -> str:
    """Name of the back end in use: "casacore" or "casatools".

    Raises
    ------
    MissingDependencyError
        Where neither package is installed, or the one asked for is not.
    """
    wanted = os.environ.get("UVSTACK_TABLES", "")
    if wanted not in ("", "casacore", "casatools"):
        raise MissingDependencyError(f'UVSTACK_TABLES is {wanted!r}; wanted "casacore" or '
                                     '"casatools"')
    for name in [wanted] if wanted else ["casacore", "casatools"]:
        if importlib.util.find_spec(name) is not None:
            return name
    if wanted:
        raise MissingDependencyError(f"UVSTACK_TABLES asks for {wanted}, which is not installed; "
                                     "install it or unset the variable")
    raise MissingDependencyError("neither python-casacore nor casatools is installed; pip install "
                                 "'uvstack[casacore]', or run inside CASA")


def open_table(path: str | Path | Table, readonly: bool = True) -> Table:
    """Open table, for reading unless told otherwise; a context manager that closes it.

    Parameters
    ----------
    path : str, Path or Table
        A table or subtable, e.g. `survey.ms/FIELD`; a table made of datasets is always open.
    readonly : bool
        A table opened for reading is not even locked, so its files stay untouched.
    """
    if isinstance(path, Table):
        return path
    with LOCK:
        try:
            return _table_class().open(str(path), readonly)
        except RuntimeError as error:
            raise _in_our_words(error, str(path), readonly) from error


def create_table(path: str | Path, description: dict, data_managers: dict, n_rows: int) -> Table:
    """New table, open for writing, with `n_rows` rows.

    Parameters
    ----------
    path : str or Path
    description : dict
        Column descriptions as `Table.description` gives them.
    data_managers : dict
        casacore's dminfo: how columns are stored.
    n_rows : int
    """
    with LOCK:
        try:
            return _table_class().create(str(path), description, data_managers, n_rows)
        except RuntimeError as error:
            raise _in_our_words(error, str(path), readonly=False) from error


def subtable_path(path: str | Path, name: str) -> str | None:
    """Path of a subtable by the table's keyword.

    a reference table or a multi-MS has those of other tables. None where there is none.

    Parameters
    ----------
    path : str or Path
        Of the main table.
    name : str
        Such as FIELD.
    """
    with open_table(path) as table:
        return linked_path(table.keywords().get(name))


def refers_to_another(path: str | Path) -> bool:
    """Whether a table is rows of another one, so that to write into it changes that.

    Casacore names the kind at its beginning.
    """
    with open(Path(path) / "table.dat", "rb") as file:
        return b"RefTable" in file.read(64)


def linked_path(keyword: Any) -> str | None:
    """Path that a keyword "Table: PATH" stands for; None where it links no table."""
    return keyword[len(_LINK):] if isinstance(keyword, str) and keyword.startswith(_LINK) else None


def _table_class():
    return CasacoreTable if backend() == "casacore" else CasatoolsTable


def _in_our_words(error: RuntimeError, path: str, readonly: bool) -> UvstackError:
    """The error to raise for one of casacore's, in one line."""
    what = " ".join(str(error).split()) or type(error).__name__
    # A subtable alone that is missing is damage.
    if not Path(path).exists() and not Path(path).with_name("table.dat").exists():
        return MeasurementSetError(f"{path}: not there, from {platform.node()}; wanted under this "
                                   "path wherever the work is done: was it "
                                   "moved or removed, or is its disk not mounted?")
    if readonly:
        return MeasurementSetError(f"{path}: casacore cannot read it: {what}; it may be damaged: "
                                   "copy or make it again")
    return OutputError(f"{path}: casacore cannot write it: {what}; is there space and permission?")


def locked(method: Callable) -> Callable:
    """Run a method while holding the lock on casacore, whose errors become ours."""

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        with LOCK:
            try:
                return method(self, *args, **kwargs)
            except RuntimeError as error:
                if not self._readonly:
                    self._abandon()
                raise _in_our_words(error, self._path, self._readonly) from error

    return run


class Table(ABC):
    """An open table: what both back ends share, their tools having the same names for it.

    a context manager.
    """

    def __init__(self, table: Any, path: str, readonly: bool):
        self._table, self._path, self._readonly = table, path, readonly
        self._abandoned = self._closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self) -> None:
        # What an error elsewhere left open is closed here, or casacore does it without a way to
        # report a full disk.
        if not (self._abandoned or self._closed or self._readonly):
            with contextlib.suppress(UvstackError):
                self.close()

    def _abandon(self) -> None:
        """Never close nor destroy the table.

        Casacore would write once more, fail again and abort the process.
        """
        if not self._abandoned:
            self._abandoned = True
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._table))

    @locked
    def close(self) -> None:
        """Write what is buffered and close; nothing where writing has failed before."""
        if self._abandoned:
            return
        if not self._readonly:
            # An error here is reported, one in closing is not.
            self._table.flush()
        self._closed = True
        self._table.close()

    @property
    @locked
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self._table.nrows())

    @property
    @locked
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._table.colnames())

    @locked
    def add_rows(self, n: int) -> None:
        """Append rows."""
        self._table.addrows(n)

    @locked
    def add_column(self, name: str, like: dict) -> None:
        """Add a column with the description of another one (as `description` gives it), stored by a manager of its own."""
        column = {k: v for k, v in like.items() if k != "shape"}
        option = 0 if "shape" in like else int(like.get("option", 0))
        column |= {"dataManagerType": "TiledShapeStMan", "dataManagerGroup": f"tiled_{name}",
                   "option": option, "ndim": 2}
        self._table.addcols({name: column},
                            {"*1": {"TYPE": "TiledShapeStMan", "NAME": f"tiled_{name}",
                                    "COLUMNS": [name], "SEQNR": 0,
                                    "SPEC": {"DEFAULTTILESHAPE": [4, 64, 512]}}})

    @locked
    def remove_column(self, name: str) -> None:
        """Remove a column and what it holds."""
        self._table.removecols(name)

    @locked
    def keywords(self, column: str | None = None) -> dict:
        """Keywords of the table or of a column."""
        return self._table.getcolkeywords(column) if column else self._table.getkeywords()

    @locked
    def set_keyword(self, name: str, value: Any) -> None:
        """Set a keyword of the table; "Table: PATH" links a subtable."""
        self._table.putkeyword(name, value)

    @locked
    def set_column_reference(self, column: str, frame: str) -> None:
        """Set the reference frame of a column of directions."""
        measure = self._table.getcolkeyword(column, "MEASINFO")
        self._table.putcolkeyword(column, "MEASINFO", measure | {"Ref": frame})

    @locked
    def set_info(self, info: dict) -> None:
        """Set type, subType and readme of the table."""
        self._table.putinfo(info)

    @locked
    def description(self) -> dict:
        """Descriptions of the columns, as `create_table` takes them."""
        return self._table.getdesc()

    @abstractmethod
    def read(self, column: str, start: int = 0, n: int = -1) -> np.ndarray:
        """Rows start … start + n − 1 of a column, (row, …); n = −1 is to the end.

        Cells must have one shape.
        """

    @abstractmethod
    def read_rows(self, column: str, rows: np.ndarray) -> np.ndarray:
        """Values of a column at the given rows, (row, …)."""

    @abstractmethod
    def read_cell(self, column: str, row: int) -> Any:
        """Value of one cell; None where the cell of an array column is empty."""

    @abstractmethod
    def parts(self) -> list[str]:
        """Paths of the tables that hold the rows.

        Those that a multi-MS is made of, else its own.
        """

    def any_row(
        self, column: str, test: str | int, selection: Selection | None = None,
        where: Mapping[str, int] | None = None,
    ) -> bool:  # fmt: skip
        """Whether the cell of any row meets a test; stops at the first.

        Parameters
        ----------
        column : str
        test : {"defined", "undefined", "positive"} or int
            There is a value, there is none, one of its values is finite and above 0; or the value
            is this number.
        selection : Selection, optional
            Rows that count, whatever their time; default all.
        where : mapping, optional
            Column → the number that it holds in the rows that count.
        """
        equal = "".join(f" && {name} == {value}" for name, value in (where or {}).items())
        of_rows = _in_words(selection) + equal
        return self._any_row({
            "defined": f"isdefined({column}){of_rows}",
            "undefined": f"not isdefined({column}){of_rows}",
            "positive": f"isdefined({column}){of_rows} && any({column} > 0 && isfinite({column}))",
        }.get(str(test), f"{column} == {test}{of_rows}"))

    @abstractmethod
    def _any_row(self, condition: str) -> bool:
        """Whether any row meets a condition of TaQL."""

    @locked
    def defined(self, column: str, rows: np.ndarray) -> np.ndarray:
        """Which of these rows have a value in the column, (row,) bool.

        To read an empty cell ends the process (measured).
        """
        return np.array([self._table.iscelldefined(column, int(row)) for row in rows], np.bool_)

    @abstractmethod
    def write(self, column: str, values: Any, start: int = 0) -> None:
        """Set the cells of a column from row `start` on, (row, …)."""

    @abstractmethod
    def write_cell(self, column: str, row: int, value: Any) -> None:
        """Set one cell."""

    @abstractmethod
    def copy_to(self, path: str | Path, with_rows: bool = True) -> None:
        """Copy the table to a new one, deep, with its rows or empty."""

    @abstractmethod
    def copy_selected(self, path: str | Path, selection: Selection,
                      columns: Sequence[str]) -> np.ndarray:
        """Copy rows of a selection (its times not looked at) to a new table, deep; their numbers."""

    @abstractmethod
    def refer_to(self, rows: np.ndarray, path: str | Path) -> None:
        """Make a table that refers to some rows of this one, and holds nothing itself."""


class CasacoreTable(Table):
    """A table opened with python-casacore."""

    @classmethod
    def open(cls, path: str, readonly: bool) -> CasacoreTable:
        from casacore.tables import table

        return cls(table(path, readonly=readonly, ack=False, lockoptions="autonoread"), path,
                   readonly)

    @classmethod
    def create(cls, path: str, description: dict, data_managers: dict,
               n_rows: int) -> CasacoreTable:
        from casacore.tables import table

        return cls(table(path, description, nrow=n_rows, dminfo=data_managers, readonly=False,
                         ack=False), path, False)

    @locked
    def read(self, column: str, start: int = 0, n: int = -1) -> np.ndarray:
        values = self._table.getcol(column, start, n)
        return values if isinstance(values, np.ndarray) else np.array(values["array"]
                                                                      if isinstance(values, dict)
                                                                      else values)

    @locked
    def read_rows(self, column: str, rows: np.ndarray) -> np.ndarray:
        return self._table.selectrows(rows).getcol(column)

    @locked
    def read_cell(self, column: str, row: int) -> Any:
        return self._table.getcell(column, row) if self._table.iscelldefined(column, row) else None

    @locked
    def parts(self) -> list[str]:
        return list(self._table.partnames())

    @locked
    def _any_row(self, condition: str) -> bool:
        return self._table.query(condition, limit=1).nrows() > 0

    @locked
    def write(self, column: str, values: Any, start: int = 0) -> None:
        self._table.putcol(column, values, start, len(values))

    @locked
    def write_cell(self, column: str, row: int, value: Any) -> None:
        self._table.putcell(column, row, value)

    @locked
    def copy_to(self, path: str | Path, with_rows: bool = True) -> None:
        self._table.copy(str(path), deep=True, valuecopy=True, copynorows=not with_rows).close()

    @locked
    def copy_selected(self, path: str | Path, selection: Selection,
                      columns: Sequence[str]) -> np.ndarray:
        found = self._table.query(_condition(selection), columns=",".join(columns))
        found.copy(str(path), deep=True, valuecopy=True).close()
        return np.asarray(found.rownumbers(), np.int64)

    @locked
    def refer_to(self, rows: np.ndarray, path: str | Path) -> None:
        self._table.selectrows(rows.tolist()).copy(str(path)).close()


class CasatoolsTable(Table):
    """A table opened with the table tool of casatools, whose arrays have the row last."""

    @classmethod
    def open(cls, path: str, readonly: bool) -> CasatoolsTable:
        tool = casatools().table()
        tool.open(path, lockoptions={"option": "autonoread"}, nomodify=readonly)
        return cls(tool, path, readonly)

    @classmethod
    def create(cls, path: str, description: dict, data_managers: dict,
               n_rows: int) -> CasatoolsTable:
        tool = casatools().table()
        tool.create(path, {name: _axes_reversed(c) for name, c in description.items()},
                    dminfo=data_managers, nrow=n_rows)
        return cls(tool, path, False)

    @locked
    def read(self, column: str, start: int = 0, n: int = -1) -> np.ndarray:
        return _row_first(self._table.getcol(column, start, n))

    @locked
    def read_rows(self, column: str, rows: np.ndarray) -> np.ndarray:
        selected = self._table.selectrows([int(row) for row in rows])
        try:
            return _row_first(selected.getcol(column))
        finally:
            selected.close()

    @locked
    def read_cell(self, column: str, row: int) -> Any:
        if not self._table.iscelldefined(column, row):
            return None
        value = self._table.getcell(column, row)
        return np.ascontiguousarray(value.T) if isinstance(value, np.ndarray) else value

    @locked
    def parts(self) -> list[str]:
        # The tool does not tell; CASA keeps them in this folder.
        return sorted(str(part) for part in Path(self._path, "SUBMSS").glob("*")
                      if part.is_dir()) or [self._path]

    @locked
    def _any_row(self, condition: str) -> bool:
        quote = "'" if "'" not in self._path else '"'
        found = self._table.taql(f"select from {quote}{self._path}{quote} where {condition} limit "
                                 "1")
        try:
            return found.nrows() > 0
        finally:
            found.close()

    @locked
    def write(self, column: str, values: Any, start: int = 0) -> None:
        values = np.asarray(values)
        self._table.putcol(column, np.asfortranarray(values.T), start, values.shape[0])

    @locked
    def write_cell(self, column: str, row: int, value: Any) -> None:
        self._table.putcell(column, row, value.T if isinstance(value, np.ndarray) else value)

    @locked
    def copy_to(self, path: str | Path, with_rows: bool = True) -> None:
        copied = self._table.copy(str(path), deep=True, valuecopy=True, norows=not with_rows,
                                  returnobject=True)
        copied.close()

    @locked
    def copy_selected(self, path: str | Path, selection: Selection,
                      columns: Sequence[str]) -> np.ndarray:
        found = self._table.query(_condition(selection), columns=",".join(columns))
        try:
            found.copy(str(path), deep=True, valuecopy=True, returnobject=True).close()
            return np.asarray(found.rownumbers(), np.int64)
        finally:
            found.close()

    @locked
    def refer_to(self, rows: np.ndarray, path: str | Path) -> None:
        self._table.selectrows(rownrs=rows.tolist(), name=str(path)).close()


def _condition(selection: Selection) -> str:
    """The selected rows as a condition of TaQL."""
    return _in_words(selection).removeprefix(" && ") or "ANTENNA1 != ANTENNA2"


def _in_words(selection: Selection | None) -> str:
    """Further conditions of TaQL for the selected rows."""
    if selection is None or not selection.field_ids or not selection.data_description_ids:
        return ""
    sets = (("FIELD_ID", selection.field_ids), ("DATA_DESC_ID", selection.data_description_ids))
    return " && ANTENNA1 != ANTENNA2" + "".join(
        f" && {name} in [{','.join(str(i) for i in sorted(ids))}]" for name, ids in sets)


def _axes_reversed(column: dict) -> dict:
    """A column description whose fixed shape is in casacore's own order, the fastest axis first."""
    if "shape" not in column:
        return column
    shape = list(column["shape"])
    return {k: v for k, v in column.items() if k != "_c_order"} | {"shape": shape[::-1]
                                                                   if column.get("_c_order")
                                                                   else shape}


def _row_first(values: Any) -> np.ndarray:
    array = np.ascontiguousarray(np.asarray(values).T)
    # The table tool widens the integers of measurement sets, which are all of 32 bits.
    return array.astype(np.int32) if array.dtype == np.int64 else array
