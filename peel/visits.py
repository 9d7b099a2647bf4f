"""What a set holds of each field and window: rows, times, flags, which antennas work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import NoDataError
from uvstack.io.casa import open_table
from uvstack.io.ms import is_selected, scan_rows
from uvstack.records import DataDescription, Field, Selection, Structure

#: Flags that are read at once.
_FLAGS_PER_BLOCK = 20_000_000


@dataclass(frozen=True)
class Visit:
    """Rows of one field and data description.

    Attributes
    ----------
    field : Field
    window : DataDescription
    n_rows, n_times : int
    scans : tuple of int
    first, last : float
        Times, MJD seconds.
    n_visibilities, n_good : int
        Row × chan × corr, and those of them that are not flagged.
    times : mapping of int to ndarray
        Times of the integrations of each scan, MJD seconds, rising.
    """

    field: Field
    window: DataDescription
    n_rows: int
    n_times: int
    scans: tuple[int, ...]
    first: float
    last: float
    n_visibilities: int
    n_good: int
    times: Mapping[int, NDArray[np.float64]] = dataclasses.field(default_factory=dict)

    @property
    def integration(self) -> float:
        """Time between two integrations, s; infinite where no scan has two."""
        steps = [np.diff(times).min() for times in self.times.values() if times.size > 1]
        return float(min(steps, default=np.inf))


class _Count:
    """What is known of a visit on the way."""

    def __init__(self, n_ant: int) -> None:
        self.n_rows = self.n_visibilities = 0
        self.times: dict[int, set[float]] = {}
        self.good = np.zeros(n_ant, np.int64)


def scan_visits(structure: Structure, selection: Selection) -> tuple[list[Visit], int]:
    """Visits in order of fields and data descriptions, and the best reference antenna.

    One pass over flags and what stands beside them, in blocks of rows. The antenna is the one that
    has the most good visibilities where it has the fewest of all visits, so that it is there in
    every one if any is.

    Raises
    ------
    NoDataError
        All visibilities are flagged.
    """
    counts = {visit: _Count(len(structure.antenna_names)) for visit in selection.visits}
    rows_per_block = {d.id: max(_FLAGS_PER_BLOCK // (d.shape[0] * d.shape[1]), 1)
                      for d in structure.used(selection)}
    names = ("ANTENNA1", "ANTENNA2", "FIELD_ID", "DATA_DESC_ID", "TIME", "SCAN_NUMBER")
    with open_table(structure.main) as table:
        for block in scan_rows(structure, selection, rows_per_block):
            n = block.stop - block.start
            ids = {name: table.read(name, block.start, n) for name in names
                   if name in table.columns}
            chosen = is_selected(ids, selection)
            for field_id, description in selection.visits:
                rows = np.flatnonzero(chosen & (ids["FIELD_ID"] == field_id)
                                      & (ids["DATA_DESC_ID"] == description))
                if rows.size:
                    good = ~table.read_rows("FLAG", block.start + rows)
                    if "FLAG_ROW" in table.columns:
                        good &= ~table.read_rows("FLAG_ROW", block.start + rows)[:, None, None]
                    _add(counts[field_id, description],
                         {name: values[rows] for name, values in ids.items()}, good)
    found = {d.id: d for d in structure.data_descriptions}
    visits = []
    for (f, d), one in counts.items():
        times = {scan: np.array(sorted(one.times[scan])) for scan in sorted(one.times)}
        if times:
            every = np.concatenate(list(times.values()))
            visits.append(Visit(structure.fields[f], found[d], one.n_rows, np.unique(every).size,
                                tuple(times), float(every.min()), float(every.max()),
                                one.n_visibilities, int(one.good.sum()) // 2, times))
    of_good = [one.good for one in counts.values() if one.good.any()]
    if not of_good:
        raise NoDataError(f"{structure.path}: every visibility of the selection is flagged; choose "
                          "other fields or windows")
    fewest = np.min(of_good, axis=0)
    return visits, int(np.lexsort((np.sum(of_good, axis=0), fewest))[-1])


def _add(count: _Count, ids: dict[str, NDArray], good: NDArray[np.bool_]) -> None:
    count.n_rows += len(good)
    count.n_visibilities += good.size
    for scan in np.unique(ids["SCAN_NUMBER"]):
        count.times.setdefault(int(scan), set()).update(
            np.unique(ids["TIME"][ids["SCAN_NUMBER"] == scan]).tolist())
    n_good = good.sum(axis=(1, 2))
    for name in ("ANTENNA1", "ANTENNA2"):
        np.add.at(count.good, ids[name], n_good)
