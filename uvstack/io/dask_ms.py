"""Datasets of dask-ms as the tables of a measurement set.

dask-ms gives the main table as one dataset for each field and data description (or as the user
groups it); the columns that it was grouped by stand in the attributes. Frequencies, fields and
antennas are in subtables, each opened by itself. Where nobody says which, the store that the arrays
come from has them: dask keeps in every array the object that reads it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uvstack.errors import MeasurementSetError, MissingDependencyError
from uvstack.io.casa import Table, linked_path, open_table
from uvstack.io.lazy_table import ArrayPart, LazyTable
from uvstack.io.ms import WEIGHTS, structure_of
from uvstack.io.ms_columns import SUBTABLES
from uvstack.records import Datasets, Structure
from uvstack.sky.coordinates import parse_frame

logger = logging.getLogger(__name__)

#: Columns of directions, and those that may hold a frame for each row; 0 is J2000.
_FRAMES = {"PHASE_DIR": "PhaseDir_Ref", "REFERENCE_DIR": "RefDir_Ref", "DELAY_DIR": "DelayDir_Ref"}
#: Columns whose arrays are asked where they come from: the first that is there.
_LOOKED_AT = ("ANTENNA1", "UVW", "TIME")
_MOST_LOOKED_AT = 10_000


def is_store(path: str) -> bool:
    """Whether a path holds a main table that dask-ms wrote as Zarr or Parquet."""
    return (Path(path) / "MAIN").is_dir()


def read_store(path: str) -> Datasets:
    """The datasets of a store that dask-ms wrote.

    Raises
    ------
    MissingDependencyError
        dask-ms is not installed.
    """
    path = str(Path(path).absolute())
    return Datasets(_from_store(path), path)


def dask_ms_structure(given: Datasets, main: Sequence[Any]) -> Structure:
    """Structure of datasets of a main table.

    Raises
    ------
    MeasurementSetError
        No subtables are given and none are found, or columns are missing.
    """
    origins = [_origin(dataset) for dataset in main]
    source = given.subtables
    if source is None:
        source = origins[0] if len(set(origins)) == 1 else None
    if source is None:
        raise MeasurementSetError(
            "datasets of a main table do not say what fields and frequencies their rows have, and "
            "it is not known what store they come from; give uvstack.Datasets(datasets, "
            'subtables="survey.ms"), a store of dask-ms, or a dict of name → datasets'
        )
    is_path = isinstance(source, str | Path)
    name = given.name or (str(Path(source).absolute()) if is_path else "datasets")
    keywords: dict[str, dict] = {}
    subtables: dict[str, str | Table]
    found: Mapping[str, Any]
    if is_path and (Path(source) / "table.dat").is_file():
        with open_table(source) as table:
            keywords = {"TIME": table.keywords("TIME")} if "TIME" in table.columns else {}
            links = ((key, linked_path(value)) for key, value in table.keywords().items())
            subtables = {key: path for key, path in links if path is not None}
        if given.frame is not None:
            raise MeasurementSetError(
                f"{name}: frame={given.frame!r}, and the measurement set with the subtables says "
                "its frame; leave frame out"
            )
    else:
        found = _of_store(source) if isinstance(source, str | Path) else source
        of_field = _directions_in(given.frame)
        subtables = {
            key: _table(f"{name}: {key}", datasets, of_field if key == "FIELD" else None)
            for key, datasets in found.items()
        }
        if given.frame is None:
            _check_frame(name, subtables.get("FIELD"))
    parts = [_part(name, one, origin) for one, origin in zip(main, origins, strict=True)]
    return structure_of(name, LazyTable(name, parts, keywords), subtables)


def _of_store(path: str | Path) -> dict[str, list[Any]]:
    """Subtables that dask-ms wrote beside the main table."""
    if not Path(path).is_dir():
        raise MeasurementSetError(
            f"{path}: neither a measurement set nor a store of dask-ms, where subtables were wanted"
        )
    return {
        table: _from_store(f"{path}::{table}")
        for table in SUBTABLES
        if (Path(path) / table).is_dir()
    }


def _directions_in(frame: str | None) -> dict[str, dict]:
    """Keywords of the columns of directions, which dask-ms does not keep."""
    if frame is None:
        return {}
    parse_frame(frame)
    return {name: {"MEASINFO": {"type": "direction", "Ref": frame.upper()}} for name in _FRAMES}


def _check_frame(name: str, field: str | Table | None) -> None:
    """Take J2000, which most sets have, unless a column says something else by its numbers."""
    if not isinstance(field, LazyTable):
        return
    if any(column in field.columns and field.read(column).any() for column in _FRAMES.values()):
        raise MeasurementSetError(
            f"{name}: the directions of FIELD have frames by number, and dask-ms does not keep "
            'their names; give uvstack.Datasets(…, frame="ICRS") or whichever it is, or '
            'subtables="survey.ms"'
        )
    logger.warning(
        "%s: dask-ms does not keep the frame of directions; J2000 is taken "
        "(uvstack.Datasets(…, frame=…) says another)",
        name,
    )


def _table(name: str, datasets: Any, keywords: Mapping[str, dict] | None) -> LazyTable:
    several = datasets if isinstance(datasets, Sequence) else [datasets]
    return LazyTable(name, [_part(name, dataset) for dataset in several], keywords)


def _part(name: str, dataset: Any, origin: str | None = None) -> ArrayPart:
    columns = {}
    for column, variable in dataset.data_vars.items():
        if not variable.dims or variable.dims[0] != "row":
            raise MeasurementSetError(
                f"{name}: {column} has the axes {', '.join(map(str, variable.dims)) or 'none'}; "
                "wanted is row first, as dask-ms gives it"
            )
        if (
            "chan" in variable.dims
            and "corr" in variable.dims
            and variable.dims != ("row", "chan", "corr")
        ):
            raise MeasurementSetError(
                f"{name}: {column} has the axes {', '.join(variable.dims)}; wanted row, chan, corr"
            )
        if np.isnan(np.array(variable.shape, float)).any():
            raise MeasurementSetError(
                f"{name}: {column} has an unknown number of rows; compute its chunk sizes first "
                "(dask: compute_chunk_sizes)"
            )
        data = variable.data if getattr(variable, "chunks", None) else variable
        columns[str(column)] = data if hasattr(data, "__getitem__") else data.data
    return ArrayPart(columns, _constants(dataset), _half_filled(origin, dataset))


def _constants(dataset: Any) -> dict[str, int]:
    """What a dataset was grouped by."""
    return {
        str(key): int(value)
        for key, value in dataset.attrs.items()
        if isinstance(value, int | np.integer) and not isinstance(value, bool)
    }


def _from_store(url: str) -> list[Any]:
    try:
        from daskms import xds_from_storage_table
    except ImportError as error:
        raise MissingDependencyError(
            f"{url}: a store of dask-ms; pip install 'dask-ms[xarray,zarr]'"
        ) from error
    try:
        return list(xds_from_storage_table(url))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MeasurementSetError(
            f"{url}: dask-ms cannot read it: {' '.join(str(error).split())}"
        ) from error


def _origin(dataset: Any) -> str | None:
    """Path of the set or store that a dataset comes from; None where that is not one."""
    data = next((dataset[name].data for name in _LOOKED_AT if name in dataset.data_vars), None)
    graph: Mapping[Any, Any] = getattr(data, "__dask_graph__", dict)()
    return next((path for task in graph.values() for path in _paths_in(task)), None)


def _half_filled(origin: str | None, dataset: Any) -> dict[str, str]:
    """Columns with values in some rows of a set only: to read an empty cell ends the process."""
    if origin is None or not (Path(origin) / "table.dat").is_file():
        return {}
    with open_table(origin) as table:
        names = {str(n) for n, v in dataset.data_vars.items() if len(v.dims) > 1}
        names = (names | {*WEIGHTS}) & {*table.columns}
        where = {n: int(v) for n, v in _constants(dataset).items() if n in table.columns}
        there = [
            n
            for n in sorted(names)
            if table.any_row(n, "undefined")
            and all(table.any_row(n, test, where=where) for test in ("undefined", "defined"))
        ]
    why = f"has values in some rows of {origin} only; dask-ms cannot read it: give the path itself"
    lost = [name for name in there if name not in dataset.data_vars]
    if lost:
        raise MeasurementSetError(f"{origin}: {lost[0]} {why}")
    return dict.fromkeys(there, why)


def _paths_in(task: Any) -> Iterator[str]:
    """Paths of stores whose readers stand in a task of dask."""
    waiting = [task]
    for _ in range(_MOST_LOOKED_AT):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, tuple | list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
        kind = type(one)
        with contextlib.suppress(AttributeError, IndexError, TypeError):
            if kind.__name__ == "TableProxy":
                table = next(arg for arg in one._args if isinstance(arg, str))
                if (Path(table) / "table.dat").is_file():
                    yield table
            elif kind.__name__ == "ParquetFileProxy":
                yield str(one.store.root)
            elif kind.__module__.startswith("zarr"):
                # STORE/MAIN/MAIN_0
                folder = Path(getattr(one.store, "store", one.store).path)
                if folder.parent.name == "MAIN":
                    yield str(folder.parent.parent)
