"""A table whose columns are arrays, lazy or in memory: what datasets are read through.

Rows stand in parts, one after another; within a part all cells of a column have one shape, and a
column that a part lacks has no value in its rows. Only what is asked for is computed, by the thread
that asks, with all channels: of a dask array the chunks that the rows touch, so that memory is
bounded by the block and the largest of them. Chunks may come from casacore, which is why the lock
on it is held meanwhile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from uvstack.errors import MeasurementSetError, OutputError, UvstackError
from uvstack.io.casa import LOCK, Table
from uvstack.io.ms import is_selected
from uvstack.records import Selection

#: Rows that are looked at together.
_ROWS = 100_000
#: Columns whose numbers selecting may have turned into floats.
_INTEGERS = (
    "ANTENNA1",
    "ANTENNA2",
    "DATA_DESC_ID",
    "FIELD_ID",
    "OBSERVATION_ID",
    "ARRAY_ID",
    "PROCESSOR_ID",
    "SCAN_NUMBER",
    "STATE_ID",
    "FEED1",
    "FEED2",
)
_FLAGS = ("FLAG", "FLAG_ROW")


class Part(ABC):
    """Rows of a table whose cells have one shape in every column; can be pickled."""

    #: Rows.
    n: int
    #: Column → kind of its values.
    kinds: Mapping[str, np.dtype]
    #: Column that must not be read → why.
    unreadable: Mapping[str, str] = {}

    @abstractmethod
    def read(self, column: str, rows: slice | np.ndarray) -> np.ndarray:
        """Values at a range of rows or at rising row numbers, (row, …)."""


class ArrayPart(Part):
    """Rows in arrays whose first axis is the row.

    Parameters
    ----------
    columns : mapping
        Name → array of numpy or dask, or variable of xarray.
    constants : mapping
        Name → value that all rows have.
    unreadable : mapping
        Column that must not be read → why.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        constants: Mapping[str, Any] | None = None,
        unreadable: Mapping[str, str] | None = None,
    ):
        self.unreadable = dict(unreadable or {})
        self._columns = dict(columns)
        self._constants = {
            name: np.asarray(value)
            for name, value in (constants or {}).items()
            if name not in self._columns
        }
        self.n = int(next(iter(self._columns.values())).shape[0]) if self._columns else 1
        self.kinds = {
            name: np.dtype(values.dtype)
            for name, values in (*self._columns.items(), *self._constants.items())
        }

    def read(self, column: str, rows: slice | np.ndarray) -> np.ndarray:
        if column in self._constants:
            n = len(range(*rows.indices(self.n))) if isinstance(rows, slice) else rows.size
            value = self._constants[column]
            return np.broadcast_to(value, (n, *value.shape)).copy()
        return values_of(self._columns[column][rows])


def values_of(array: Any) -> np.ndarray:
    """The values of an array of numpy or dask or a variable of xarray, computed by this thread."""
    array = getattr(array, "data", array) if getattr(array, "chunks", None) else array
    if hasattr(array, "compute"):
        return np.asarray(array.compute(scheduler="synchronous"))
    return np.asarray(array)


class LazyTable(Table):
    """A table of parts, read like any other and never written; can be sent to other processes.

    Parameters
    ----------
    name : str
        What messages call it.
    parts : sequence of Part
    keywords : mapping, optional
        Column → its keywords.
    """

    def __init__(
        self, name: str, parts: Sequence[Part], keywords: Mapping[str, dict] | None = None
    ):
        super().__init__(None, name, True)
        self._held, self._keywords = list(parts), dict(keywords or {})
        self._bounds = np.concatenate(
            [[0], np.cumsum([part.n for part in self._held], dtype=np.int64)]
        )
        self._columns = list(dict.fromkeys(name for part in self._held for name in part.kinds))

    def close(self) -> None:
        """Nothing: there is no file."""

    @property
    def n_rows(self) -> int:
        return int(self._bounds[-1])

    @property
    def columns(self) -> list[str]:
        return list(self._columns)

    def keywords(self, column: str | None = None) -> dict:
        return self._keywords.get(column, {}) if column else {}

    def description(self) -> dict:
        """What kinds of numbers the columns hold, in casacore's words."""
        words = {"c": "complex", "f": "double", "b": "boolean", "i": "int", "u": "int"}
        return {
            name: {"valueType": words.get(self._kind(name).kind, "string")}
            for name in self._columns
        }

    def _kind(self, column: str) -> np.dtype:
        return next(part.kinds[column] for part in self._held if column in part.kinds)

    def read(self, column: str, start: int = 0, n: int = -1) -> np.ndarray:
        stop = self.n_rows if n < 0 else start + n
        return self._joined(
            column,
            (
                (part, slice(max(start - low, 0), min(stop - low, part.n)))
                for part, low in self._touched(start, stop)
            ),
        )

    def read_rows(self, column: str, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, np.int64)
        if not rows.size:
            return self.read(column, 0, 0)
        return self._joined(
            column,
            (
                (part, rows[np.searchsorted(rows, low) : np.searchsorted(rows, low + part.n)] - low)
                for part, low in self._touched(int(rows[0]), int(rows[-1]) + 1)
            ),
        )

    def read_cell(self, column: str, row: int) -> Any:
        part, low = next(self._touched(row, row + 1))
        if column not in part.kinds:
            return None
        value = self._read(part, column, slice(row - low, row - low + 1))[0]
        if isinstance(value, np.ndarray) and value.dtype == object:
            return np.array(value, str)
        return value.item() if isinstance(value, np.generic) else value

    def _touched(self, start: int, stop: int) -> Iterator[tuple[Part, int]]:
        """Parts that hold any of rows start … stop − 1, and their first rows."""
        first = int(np.searchsorted(self._bounds, start, side="right")) - 1
        for part, low in zip(self._held[first:], self._bounds[first:-1], strict=True):
            if low >= stop:
                return
            if part.n:
                yield part, int(low)

    def _joined(self, column: str, wanted: Iterator[tuple[Part, slice | np.ndarray]]) -> np.ndarray:
        pieces = [
            self._read(part, column, rows)
            for part, rows in wanted
            if not isinstance(rows, np.ndarray) or rows.size
        ]
        if not pieces:
            return np.zeros(0, self._kind(column))
        shapes = sorted({piece.shape[1:] for piece in pieces})
        if len(shapes) > 1:
            raise MeasurementSetError(
                f"{self._path}: {column} has cells of {' and '.join(map(str, shapes))} in rows of "
                "one field and data description; select the same channels in all datasets"
            )
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _read(self, part: Part, column: str, rows: slice | np.ndarray) -> np.ndarray:
        if column not in part.kinds:
            raise MeasurementSetError(f"{self._path}: some of the datasets have no {column}")
        if column in part.unreadable:
            raise MeasurementSetError(f"{self._path}: {column} {part.unreadable[column]}")
        try:
            with LOCK:
                values = part.read(column, rows)
        except UvstackError:
            raise
        except (
            Exception
        ) as error:  # whatever the store, its codec or a function in the graph raises
            what = " ".join(str(error).split()) or type(error).__name__
            raise MeasurementSetError(
                f"{self._path}: {column} cannot be computed: {what}; compute it by itself"
            ) from error
        return self._as_stored(column, values)

    def _as_stored(self, column: str, values: np.ndarray) -> np.ndarray:
        """Values as a set has them: what `where` selected is floats, NaN what it left out."""
        if column in _FLAGS and values.dtype != np.bool_:
            numbers = values.astype(np.float64)
            return np.isnan(numbers) | (numbers != 0)
        if column in _INTEGERS and values.dtype.kind != "i":
            numbers = values.astype(np.float64)
            if not np.isfinite(numbers).all() or (numbers % 1).any():
                raise MeasurementSetError(
                    f"{self._path}: {column} has values that are no whole numbers; select rows "
                    "with isel(row=…), or "
                    "with where(…, drop=True)"
                )
            return numbers.astype(np.int32)
        return values

    def parts(self) -> list[str]:
        return []

    def defined(self, column: str, rows: np.ndarray) -> np.ndarray:
        has = np.array([column in part.kinds for part in self._held], np.bool_)
        return has[np.searchsorted(self._bounds, rows, side="right") - 1]

    def any_row(
        self, column: str, test: str | int, selection: Selection | None = None,
        where: Mapping[str, int] | None = None,
    ) -> bool:  # fmt: skip
        for part, low in self._touched(0, self.n_rows):
            if (column in part.kinds) == (test == "undefined"):
                continue
            for start in range(low, low + part.n, _ROWS):
                n = min(_ROWS, low + part.n - start)
                chosen = self._chosen(start, n, selection)
                for name, value in (where or {}).items():
                    chosen = chosen & (self.read(name, start, n) == value)
                if not chosen.any():
                    continue
                if test in ("defined", "undefined"):
                    return True
                values = self.read(column, start, n)[chosen]
                if (
                    np.any(values == test)
                    if isinstance(test, int)
                    else np.any((values > 0) & np.isfinite(values))
                ):
                    return True
        return False

    def _chosen(self, start: int, n: int, selection: Selection | None) -> np.ndarray:
        """Which of n rows count: those that casacore finds by the same selection."""
        if selection is None or not selection.field_ids or not selection.data_description_ids:
            return np.ones(n, np.bool_)
        ids = {
            name: self.read(name, start, n)
            for name in ("ANTENNA1", "ANTENNA2", "FIELD_ID", "DATA_DESC_ID")
        }
        return is_selected(ids, Selection(selection.field_ids, selection.data_description_ids))

    def _any_row(self, condition: str) -> bool:
        raise NotImplementedError("a table made of datasets knows no TaQL")

    def write(self, column: str, values: Any, start: int = 0) -> None:
        raise OutputError(f"{self._path}: {column} cannot be written: datasets are only read")

    def write_cell(self, column: str, row: int, value: Any) -> None:
        self.write(column, value, row)

    def copy_to(self, path: Any, with_rows: bool = True) -> None:
        raise OutputError(f"{self._path}: datasets are only read, and cannot be copied to {path}")

    def copy_selected(self, path: Any, selection: Selection, columns: Sequence[str]) -> np.ndarray:
        self.copy_to(path)
        return np.empty(0, np.int64)

    def refer_to(self, rows: np.ndarray, path: Any) -> None:
        raise OutputError(f"{self._path}: datasets are only read, and no table can refer to them")
