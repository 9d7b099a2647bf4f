"""A column that is written over a long time.

a mark says how far it is, so that a run that was killed can go on.

The mark is a keyword of the column itself, so it goes where the column goes. It is put there when
the column is made, before any value, follows the values (which are on the disk before the mark says
so) and is taken away at the end. A column with a mark is never complete. Rows of a new column that
are not written yet have no value at all, so that no program can take them for data: casacore
answers with an error, and casatools may end the process (measured).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from uvstack.errors import ColumnError
from uvstack.io.casa import LOCK, Table, open_table
from uvstack.records import Structure

_KEYWORD = "UVSTACK_UNFINISHED"


def read_mark(path: str, column: str) -> dict[str, Any] | None:
    """Mark of a column; None where it has none or does not exist.

    Raises
    ------
    ColumnError
        The mark cannot be read.
    """
    text = read_keyword(path, column, _KEYWORD)
    if text is None:
        return None
    try:
        mark = json.loads(text)
    except ValueError:
        mark = None
    if not isinstance(mark, dict):
        raise ColumnError(f"{path}: column {column} is marked as unfinished in a way that cannot "
                          f"be read: {str(text)[:60]!r}; remove it")
    return mark


def is_finished(path: str, column: str) -> bool:
    """Whether a column exists and has no mark."""
    with open_table(path) as table:
        return column in table.columns and _KEYWORD not in table.keywords(column)


def set_mark(path: str, column: str, mark: dict[str, Any] | None) -> None:
    """Put a mark on a column, or take it away with None.

    What was written before is on the disk first.
    """
    set_keyword(path, column, _KEYWORD, None if mark is None else json.dumps(mark))


def read_keyword(path: str, column: str, name: str) -> str | None:
    """Text of a keyword of a column; None where there is none."""
    with open_table(path) as table:
        text = table.keywords(column).get(name) if column in table.columns else None
    return None if text is None else str(text)


def set_keyword(path: str, column: str, name: str, text: str | None) -> None:
    """Give a column a keyword, or take it away with None; what was written before is on the disk first."""
    for part in _parts(path):
        with LOCK, open_table(part, readonly=False) as table:
            if text is not None:
                _raw(table).putcolkeyword(column, name, text)
            elif name in table.keywords(column):
                _raw(table).removecolkeyword(column, name)


def make_column(path: str, column: str, like: str, mark: dict[str, Any]) -> None:
    """Make a column without values, with the description of another one, marked from the beginning."""
    with LOCK, open_table(path, readonly=False) as table:
        description = table.description()[like]
        keywords = {name: value for name, value in description.get("keywords", {}).items()
                    if name != _KEYWORD}
        table.add_column(column,
                         description | {"keywords": keywords | {_KEYWORD: json.dumps(mark)}})


def remove_column(path: str, column: str) -> None:
    """Remove a column and what it holds."""
    for part in _parts(path):
        with LOCK, open_table(part, readonly=False) as table:
            table.remove_column(column)


def _parts(path: str) -> list[str]:
    """A multi-MS keeps no keywords and gives no column away: its parts do (measured)."""
    with open_table(path) as table:
        return table.parts()


def runs_of_one_shape(structure: Structure, start: int, stop: int) -> list[tuple[int, int]]:
    """Consecutive rows (start, stop) whose cells have one shape, of rows start … stop − 1."""
    shapes = [d.shape for d in structure.data_descriptions]
    if len(set(shapes)) == 1:
        return [(start, stop)]
    with open_table(structure.path) as table:
        ids = table.read("DATA_DESC_ID", start, stop - start)
    numbers = np.array([sorted(set(shapes)).index(shape) for shape in shapes])[ids]
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1), ids.size]
    return [(start + int(a), start + int(b)) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def count_bytes(structure: Structure) -> int:
    """What a column of complex64 takes on the disk, with the edges of tiles."""
    sizes = np.array([8 * d.shape[0] * d.shape[1] for d in structure.data_descriptions])
    total, step = 0, 1_000_000
    with open_table(structure.path) as table:
        for start in range(0, structure.n_rows, step):
            total += int(sizes[table.read("DATA_DESC_ID", start,
                                          min(step, structure.n_rows - start))].sum())
    return int(1.02 * total) + 4_000_000


def _raw(table: Table) -> Any:
    """The tool of either back end: both have the same names for keywords of columns."""
    return table._table
