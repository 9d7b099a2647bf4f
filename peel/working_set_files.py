"""The set that a run works on: the peeled rows with their data, copied beside the run's images.

Columns on the way are made there, so that a run that is killed, in the middle of whatever it writes, leaves
the user's set as it was. Data are those of the time when the copy was made: a run that goes on takes it up.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from peel.passes_files import Passes, Target
from peel.visits import Visit
from uvstack.errors import MeasurementSetError, OutputError
from uvstack.io.casa import open_table
from uvstack.io.ms import of_selection, structure_at
from uvstack.records import Selection, Structure

#: In the folder of what is needed on the way: the set, which rows of the user's it holds, and a copy
#: that is not complete.
WORKING_SET, ROWS, COPYING = "data.ms", "data-rows.npy", "copying.ms"
#: By what the data of a run are known again.
DIGEST = "data.digest"
#: Columns that hold visibilities or flags which a run does not look at, besides complex ones.
_NOT_COPIED = ("FLOAT_DATA", "FLAG_CATEGORY")
#: What a row has besides its visibilities, bytes.
_PER_ROW = 200


def working_set(structure: Structure, selection: Selection, column: str,
                folder: Path) -> tuple[Structure, Target]:
    """The copy of the selected rows, made unless it is there, and the set and rows that it is of.

    Parameters
    ----------
    structure, selection
        Of the user's set, which is only read.
    column : str
        The only one of visibilities that is copied.
    folder : Path
    """
    path, rows = folder / WORKING_SET, folder / ROWS
    try:
        found = structure_at(path)
    except MeasurementSetError:  # not there, or killed while something was written
        _copy(structure, selection, column, folder)
        found = structure_at(path)
    return of_selection(found, selection), Target(structure, np.load(rows))


def _copy(structure: Structure, selection: Selection, column: str, folder: Path) -> None:
    remove_working_set(folder)
    with open_table(structure.path) as table:
        told = table.description()
        columns = [name for name in table.columns if name == column or (
            name not in _NOT_COPIED and told[name]["valueType"] not in ("complex", "dcomplex"))]
        np.save(folder / ROWS, table.copy_selected(folder / COPYING, selection, columns))
    os.rename(folder / COPYING, folder / WORKING_SET)


def check_unchanged(passes: Passes, column: str, folder: Path) -> None:
    """Refuse to go on with other data, weights or flags than those that a run began with.

    Raises
    ------
    OutputError
        They have changed since.
    """
    found = hashlib.blake2b(digest_size=16)
    for part in passes.parts([column]):
        for values in (part.partition.rows, part.partition.uvw, part.values[column], part.weight):
            found.update(values.tobytes())
    path = folder / DIGEST
    if path.exists() and path.read_text(encoding="ascii") != found.hexdigest():
        remove_working_set(folder)
        raise OutputError(f"{folder.parent}: data, flags or weights have changed since this run began, and it "
                          "cannot go on; remove that folder, or choose another name (out=, --out)")
    path.write_text(found.hexdigest(), encoding="ascii")


def remove_working_set(folder: Path) -> None:
    """Remove what `working_set` has made."""
    for name in (WORKING_SET, COPYING):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / ROWS).unlink(missing_ok=True)


def bytes_of_copy(structure: Structure, visits: Sequence[Visit], n_columns: int) -> int:
    """What the copy takes on the disk, with its data and so many columns more."""
    each = 8 * (1 + n_columns) + 1 + 4 * (structure.weight_source == "WEIGHT_SPECTRUM")
    return sum(each * visit.n_visibilities + _PER_ROW * visit.n_rows for visit in visits)


def bytes_there(folder: Path) -> int:
    """What of the copy is there."""
    return sum(path.stat().st_size for path in (folder / WORKING_SET).rglob("*"))
