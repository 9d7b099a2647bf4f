"""The column that a subtraction writes.

Which rows are read, what is taken from them, how far it is.

Blocks of rows are read in the main process when a worker is to have them, and written by it in
their order. All that may not be written is refused first; then the column is made with its mark,
the backup is copied, and every block moves the mark on. Reading and writing hold the lock on
casacore from opening to closing, so the set is never open twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from uvstack._version import __version__
from uvstack.errors import MeasurementSetError, OutputError
from uvstack.io.casa import LOCK, Table, open_table
from uvstack.io.ms import is_selected
from uvstack.io.output import finish_with_outputs, size_text
from uvstack.io.stacked_ms import append_history
from uvstack.io.unfinished_column import (
    count_bytes,
    make_column,
    read_mark,
    remove_column,
    runs_of_one_shape,
    set_mark,
)
from uvstack.io.write_columns import check_column
from uvstack.records import DataDescription, Provenance, Selection, Structure, has_baseline
from uvstack.sky.coordinates import centre_of
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.subtraction.result import add_amplitudes, amplitude_sums
from uvstack.subtraction.sky_model import ImageSky, Part, SkyModel
from uvstack.uv.predict import to_correlations
from uvstack.uv.stokes import parallel_hands

logger = logging.getLogger(__name__)

#: Visibilities (row × chan × corr) of a block: 100 MB with all that belongs to them. An image,
#: whose transform costs the same for few rows and many, gets as many more as it has pixels, up to
#: the second number.
_PER_CHUNK, _MOST_PER_CHUNK = 2_000_000, 16_000_000
#: Visibilities that are subtracted and counted together.
_PER_PIECE = 1_000_000
#: Rows of (u, v, w) that are looked at together.
_SCAN_ROWS = 1_000_000


@dataclass(frozen=True, eq=False)
class Job:
    """What a subtraction works on.

    `source` are the data column and what is taken from it before, see `parse_column`.
    """

    structure: Structure
    selection: Selection
    source: tuple[str, str | None]
    target: str
    backup: str | None
    model: SkyModel | None
    model_column: str | None
    model_name: str
    primary_beam: PrimaryBeam | None
    predict_only: bool
    chunk_size: int = _PER_CHUNK

    @property
    def widest(self) -> int:
        """Most channels times correlations of any row."""
        return max(max((d.shape[0] * d.shape[1] for d in self.structure.data_descriptions),
                       default=1), 1)

    @property
    def rows_per_block(self) -> int:
        """Rows of a chunk."""
        return max(self.chunk_size // self.widest, 1)

    def settings(self) -> str:
        """The same text for the same work."""
        said = {"source": self.source, "backup": self.backup, "target": self.target,
                "predict_only": self.predict_only, "fields": sorted(self.selection.field_ids),
                "pointings": [self.structure.fields[f].beam_centre
                              for f in sorted(self.selection.field_ids)],
                "descriptions": sorted(self.selection.data_description_ids),
                "times": self.selection.time_ranges, "n_rows": self.structure.n_rows,
                "column": self.model_column,
                "model": None if self.model is None else self.model.fingerprint(),
                "primary_beam": None if self.primary_beam is None else self.primary_beam.describe()}
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=float).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Rows:
    """Selected rows of one field and data description, by their numbers, which rise."""

    number: np.ndarray
    description: DataDescription
    part: Part


class Blocks(Sequence):
    """Blocks of rows, read when they are asked for.

    No more of them are in memory than are worked on.
    """

    def __init__(self, job: Job, start: int, stop: int, size: int):
        self._job = job
        self._bounds = [(first, min(first + size, stop)) for first in range(start, stop, size)]
        self._waiting: dict[int, list[Rows]] = {}
        fields = [f for f in job.structure.fields if f.id in job.selection.field_ids]
        self._centres = {f.id: centre_of(f.frame, f.ra, f.dec) for f in fields}
        self._pointings = {f.id: centre_of(f.frame, *f.beam_centre)[:2] for f in fields}

    def __len__(self) -> int:
        return len(self._bounds)

    def __getitem__(self, index: Any) -> list[Part]:
        with LOCK:
            rows = self._read(*self._bounds[index])
        self._waiting[index] = rows
        return [one.part for one in rows]

    def taken(self, index: int) -> tuple[int, int, list[Rows]]:
        """First row, the one behind the last, and the selected ones of a block that has been read."""
        return *self._bounds[index], self._waiting.pop(index)

    def _read(self, start: int, stop: int) -> list[Rows]:
        job, structure = self._job, self._job.structure
        with open_table(structure.path) as table:
            columns = {name: table.read(name, start, stop - start) for name in
                       ("ANTENNA1", "ANTENNA2", "FIELD_ID", "DATA_DESC_ID", "TIME", "UVW")}
        chosen = is_selected(columns, job.selection)
        pairs = columns["FIELD_ID"].astype(np.int64) * len(structure.data_descriptions) + columns[
            "DATA_DESC_ID"]
        found = []
        for pair in np.unique(pairs[chosen]):
            field, description_id = divmod(int(pair), len(structure.data_descriptions))
            index = np.flatnonzero(chosen & (pairs == pair))
            ra, dec, turn = self._centres[field]
            description = structure.data_descriptions[description_id]
            uvw = columns["UVW"][index]
            if turn:
                sin, cos = np.sin(turn), np.cos(turn)
                uvw = uvw @ np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
            part = Part(uvw, columns["ANTENNA1"][index], columns["ANTENNA2"][index],
                        columns["TIME"][index], description.spw.frequency, ra, dec,
                        self._pointings[field])
            found.append(Rows(start + index, description, part))
        return found


class Target:
    """The column that is written, with its mark.

    a context manager that leaves nothing of a run that wrote no row.
    """

    def __init__(self, job: Job, overwrite: bool):
        self._job, self._overwrite, self._path, self._settings = job, overwrite, job.structure.path, job.settings()
        self._made: list[str] = []
        self._marked = False
        self.rows = self.resumed_from = self.n_selected = self.n_without_uvw = 0
        self.amplitudes = amplitude_sums(0.0)

    def __enter__(self) -> Target:
        mark = read_mark(self._path, self._job.target)
        self._check(mark)
        # Only a run of the same settings is gone on with; a mark of others is as good as a new one.
        same = mark is not None and mark.get("settings") == self._settings
        if mark is not None and same:
            self.rows = self.resumed_from = int(mark["rows"])
            self.n_selected, self.n_without_uvw = int(mark["selected"]), int(mark["without_uvw"])
            self.amplitudes = amplitude_sums(float(mark["longest"]))
            self.amplitudes.sums[:] = mark["sums"]
            logger.info("column %s: going on from row %d", self._job.target, self.rows)
        else:
            self.amplitudes = amplitude_sums(_longest_baseline(self._job.structure))
        try:
            self._begin(mark)
            self._keep_backup()
        except BaseException as error:
            self._undo(error)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if error is not None:
            self._undo(error)

    def _check(self, mark: dict[str, Any] | None) -> None:
        """Refuse what may not be written."""
        job = self._job
        check_column(job.structure, job.target,
                     self._overwrite or job.backup is not None or mark is not None)
        if mark is not None and mark.get("task") != "subtract":
            raise OutputError(f"{self._path}: column {job.target} is unfinished: another run was "
                              "stopped while writing it; finish that one, or remove the column")
        of_other = None if mark is None else mark.get("backup")
        if mark is not None and of_other != job.backup:
            raise OutputError(
                f"{self._path}: column {job.target} is unfinished: a run that was stopped had "
                + (f"its data as they were in {of_other}; finish it with --in-place --backup {of_other}" if of_other else
                   "written it, so that it holds no data that could be changed in place; finish that run"))
        if job.backup is not None:
            exists = job.backup in job.structure.columns
            if mark is None and exists:
                raise OutputError(f"{self._path}: column {job.backup} exists and may hold the only "
                                  "copy of the data as they were; "
                                  "it is never overwritten: choose another name for the backup")
            if not exists and mark is not None and int(mark["rows"]) > 0:
                raise OutputError(f"{self._path}: column {job.target} is half changed and its "
                                  f"backup {job.backup} is gone; "
                                  "restore the data from elsewhere")
            check_column(job.structure, job.backup, True)
        new = job.target if job.backup is None else job.backup
        free = shutil.disk_usage(self._path).free
        needed = 0 if new in job.structure.columns else count_bytes(job.structure)
        if needed > free:
            raise OutputError(f"{self._path}: {size_text(needed)} are needed for column {new}, "
                              f"{size_text(free)} are free")

    def _mark(self) -> dict[str, Any]:
        return {"task": "subtract", "version": __version__, "settings": self._settings,
                "rows": self.rows, "backup": self._job.backup, "selected": self.n_selected,
                "without_uvw": self.n_without_uvw, "longest": float(self.amplitudes.edges[-1]),
                "sums": self.amplitudes.sums.tolist()}

    def _begin(self, mark: dict[str, Any] | None) -> None:
        """Column and mark are there before the first value is."""
        if self._job.target not in self._job.structure.columns:
            self._made.append(self._job.target)
            make_column(self._path, self._job.target, self._like, self._mark())
        elif mark is None or mark.get("settings") != self._settings:
            self._marked = mark is None
            set_mark(self._path, self._job.target, self._mark())

    @property
    def _like(self) -> str:
        return self._job.target if self._job.backup is not None else self._job.source[0]

    def _keep_backup(self) -> None:
        """Copy the data column, or go on copying it."""
        backup = self._job.backup
        if backup is None:
            return
        if backup not in self._job.structure.columns:
            self._made.append(backup)
            make_column(self._path, backup, self._like, {"task": "backup", "rows": 0})
        mark = read_mark(self._path, backup)
        if mark is None:
            return
        size = self._job.rows_per_block
        for start in range(int(mark["rows"]), self._job.structure.n_rows, size):
            stop = min(start + size, self._job.structure.n_rows)
            with LOCK, open_table(self._path,
                                  readonly=False) as writing, open_table(self._path) as table:
                for a, b in runs_of_one_shape(self._job.structure, start, stop):
                    writing.write(backup, table.read(self._job.target, a, b - a), a)
            set_mark(self._path, backup, {"task": "backup", "rows": stop})
        set_mark(self._path, backup, None)

    def write(self, start: int, stop: int, selected: list[Rows], stokes: list[np.ndarray]) -> None:
        """Set rows start … stop − 1, and then say so."""
        with LOCK:
            # Read through a handle of its own: one that writes is given up by an error in reading
            # as well.
            with open_table(self._path, readonly=False) as writing, open_table(self._path) as table:
                kind = np.complex128 if table.description()[self._job.target]["valueType"] == "dcomplex" else np.complex64
                for a, b in self._pieces(start, stop):
                    writing.write(self._job.target,
                                  self._values(table, a, b, selected, stokes, kind), a)
            self.n_selected += sum(rows.number.size for rows in selected)
            if self._job.model_column is None:
                self.n_without_uvw += sum(int((~has_baseline(rows.part.uvw)).sum())
                                          for rows in selected)
            self.rows = stop
            set_mark(self._path, self._job.target, self._mark())

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        size = max(_PER_PIECE // self._job.widest, 1)
        for first, last in runs_of_one_shape(self._job.structure, start, stop):
            yield from ((a, min(a + size, last)) for a in range(first, last, size))

    def _values(self, table: Table, a: int, b: int, selected: list[Rows], stokes: list[np.ndarray],
                kind: type) -> np.ndarray:
        """What rows a … b − 1, of one shape, are to hold; they are counted."""
        job = self._job
        data = table.read(job.source[0], a, b - a)
        if job.source[1] is not None:
            data = data - table.read(job.source[1], a, b - a)
        given = None if job.model_column is None else table.read(job.model_column, a, b - a)
        flag = table.read("FLAG", a, b - a) if "FLAG" in job.structure.columns else np.zeros(
            data.shape, np.bool_)
        if "FLAG_ROW" in job.structure.columns:
            flag = flag | table.read("FLAG_ROW", a, b - a)[:, None, None]
        model: np.ndarray = np.zeros(data.shape, kind)
        for i, rows in enumerate(selected):
            first, last = np.searchsorted(rows.number, [a, b])
            here = rows.number[first:last] - a
            if here.size == 0:
                continue
            if data.shape[1:] != rows.description.shape:
                raise MeasurementSetError(f"{self._path}: data description {rows.description.id} "
                                          f"announces {rows.description.shape} channels and "
                                          "correlations, "
                                          f"but {job.source[0]} holds {data.shape[1:]}")
            if given is None:
                # Without a (u, v, w) nothing is known of what a model looks like there.
                known = has_baseline(rows.part.uvw[first:last])[:, None, None]
                model[here] = np.where(known,
                                       to_correlations(stokes[i][:, first:last],
                                                       rows.description.correlations), 0)
            else:
                model[here] = given[here]
            hands = np.flatnonzero(parallel_hands(rows.description.correlations))
            before, change, bad = (array[here][..., hands] for array in (data, model, flag))
            add_amplitudes(self.amplitudes, rows.part.uvw[first:last], before, before - change,
                           change, ~bad)
        return model if job.predict_only else (data - model).astype(kind)

    def finish(self, provenance: Provenance) -> None:
        """Note in HISTORY what was done, and take the mark away.

        With all other outputs of the run, such as a report.
        """
        job = self._job
        what = f"model {job.model_name} written to {job.target}" if job.predict_only else (
            f"{job.backup or '-'.join(name for name in job.source if name)} minus "
            f"{job.model_name} written to {job.target}")

        def end() -> None:
            append_history(self._path, replace(
                provenance, command=f"{provenance.command} ({what}; settings {self._settings[:12]})"))
            set_mark(self._path, job.target, None)

        finish_with_outputs(self._path, job.target, end)

    def _undo(self, error: BaseException) -> None:
        """Leave a set without any row written as it was.

        After an error in writing casacore is not asked for more.
        """
        if self.rows or isinstance(error, OutputError):
            return
        with contextlib.suppress(OutputError):
            if self._marked:
                set_mark(self._path, self._job.target, None)
            for name in reversed(self._made):
                with open_table(self._path) as table:
                    there = name in table.columns
                if there:
                    remove_column(self._path, name)


def _longest_baseline(structure: Structure) -> float:
    """Longest projected baseline, m."""
    longest = 0.0
    with open_table(structure.path) as table:
        for start in range(0, structure.n_rows, _SCAN_ROWS):
            uvw = table.read("UVW", start, min(_SCAN_ROWS, structure.n_rows - start))
            longest = max(longest,
                          float(np.hypot(*uvw[np.isfinite(uvw).all(axis=1),
                                              :2].T).max(initial=0.0)))
    return longest


def visibilities_per_chunk(model: SkyModel | None) -> int:
    """Visibilities (row × chan × corr) of a chunk with which a model is subtracted fastest."""
    if not isinstance(model, ImageSky):
        return _PER_CHUNK
    return int(np.clip(model.planes[0].size, _PER_CHUNK, _MOST_PER_CHUNK))
