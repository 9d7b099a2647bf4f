"""The experiment: types and numbers of realisations in, one file for each, a table and figures out.

Each realisation is a task of its own, with its seed from the experiment's seed, its type and
number, and its result a file written whole. So a run may be killed anywhere and goes on where it
was; a worker that dies has its task repeated by dask; and the table is the same whoever computed
what, and however often. All types grow evenly, each in proportion to the number that it is to have,
so that a table of fewer realisations can be made of a run that was stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simulate.experiment.collect import collect
from simulate.experiment.paper import N_REALISATIONS
from simulate.experiment.realisation import realise, versions
from simulate.experiment.result import ExperimentResult
from simulate.experiment.results import read_finished, unpack, write_result
from simulate.experiment.settings import TYPES, Settings, parse_types
from uvstack.checks import thread_count, whole_number
from uvstack.chunks import cluster, map_chunks
from uvstack.errors import OutputError, SelectionError, UvstackWarning
from uvstack.io.output import claimed, json_text
from uvstack.io.provenance import provenance_of

#: Realisations of each type: 30 to 100 are wanted for a scatter, and each is a file.
_MOST_REALISATIONS = 100_000


@dataclass(frozen=True)
class _Shared:
    """What workers need to know."""

    settings: Settings
    folder: str
    scratch: str
    threads: int
    keep: bool


def run(out: str | Path, *, types: str | Sequence[int] = TYPES,
        realisations: int | Mapping[int, int] = 100, known: str | Path | None = None,
        compute: bool = True,
        settings: Settings | None = None, workers: int | None = None, scheduler: str | None = None,
        threads: int | None = None, scratch: str | Path | None = None, keep: bool = False,
        figures: bool = True,
        progress: Callable[[int, int], None] | None = None) -> ExperimentResult:
    """Table and figures of an experiment, of as many realisations of each type as asked for.

    Parameters
    ----------
    out : path
        Folder, made where it is missing; finished realisations in it that fit the settings are
        taken.
    types : str or sequence of int
        1 … 11, or a text such as "1-4,8".
    realisations : int or mapping
        Of each type, 1 or more, or by type; 100 of those that it does not name.
    known : path, optional
        The file `simulate.experiment.results.PACKED` of another run: its realisations are taken
        where the folder has none.
    compute : bool
        Or make the table of what is there alone.
    settings : Settings, optional
        Default those of the paper at full size, seed 0.
    workers, scheduler : optional
        Local processes, or the address of a dask scheduler whose workers see `out` under the same
        name.
    threads : int, optional
        Of each realisation; default all processors shared out to the workers.
    scratch : path, optional
        Folder for the data of a realisation while it is computed; default `out`.
    keep : bool
        Keep those data, until the next run into the same folder.
    figures : bool
    progress : callable, optional
        Called with the number of realisations done and in all.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.
    """
    settings = settings or Settings()
    jobs = _jobs(parse_types(types) if isinstance(types, str) else types, realisations)
    folder = Path(out)
    _make_folders(folder, scratch)
    if known is not None:
        unpack(known, folder)
    found, doubts = read_finished(folder, settings, jobs)
    for doubt in doubts:
        warnings.warn(UvstackWarning(doubt), stacklevel=2)
    missing = [job for job in jobs if job not in found] if compute else []
    n_taken = len(found)
    if not found and not missing:
        raise OutputError(f"{folder}: has no realisation of these types and settings; compute some "
                          "first, without --collect")
    if missing:
        n_threads = max(thread_count(None) // (workers or 1),
                        1) if threads is None else thread_count(threads)
        place = _scratch(folder, scratch)
        shared = _Shared(settings, str(folder.resolve()), str(place), n_threads, keep)

        def consume(index: int, one: dict[str, Any]) -> None:
            found[missing[index]] = one
            if progress is not None:
                progress(n_taken + index + 1, len(jobs))

        with claimed(place):
            # What a run that was killed has left there, or one that kept its data.
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            try:
                with cluster(workers, scheduler) as client:
                    # Without a cluster one realisation at a time has all threads.
                    map_chunks(realise_to_file, shared, missing, consume, client, 1)
            finally:
                if not keep:
                    shutil.rmtree(place, ignore_errors=True)
    realisations_found = tuple(found[job] for job in sorted(found))
    result = ExperimentResult(
        collect(realisations_found), realisations_found, n_taken, len(missing), folder,
        provenance_of(asdict(settings), seed=settings.seed, versions=versions()), figures)
    result.report(folder)
    return result


def realise_to_file(shared: _Shared, job: tuple[int, int]) -> dict[str, Any]:
    """One realisation, also written to its file: the function that dask runs."""
    found = realise(shared.settings, *job, shared.scratch, shared.threads, shared.keep)
    write_result(shared.folder, found)
    # As it is read from the file, so that a table does not depend on who computed what.
    return json.loads(json_text(found))


def _jobs(types: Sequence[int],
          realisations: int | Mapping[int, int]) -> list[tuple[int, int]]:
    """Type and number of all realisations, in the order in which they are computed."""
    unknown = [number for number in types if number not in TYPES]
    if unknown or not types:
        raise SelectionError(f"type {unknown[0] if unknown else 'none'}: the paper has data set "
                             "types 1 to 11")
    wanted = {number: realisations if isinstance(realisations, int)
              else realisations.get(number, N_REALISATIONS) for number in set(types)}
    for n in wanted.values():
        whole_number("realisations", n, 1, _MOST_REALISATIONS)
    jobs = [(number, index) for number, n in wanted.items() for index in range(n)]
    return sorted(jobs, key=lambda job: ((job[1] + 1) / wanted[job[0]], job))


def _make_folders(folder: Path, scratch: str | Path | None) -> None:
    """Make what is missing, and see that it can be written to."""
    for one in (folder / "realisations", folder if scratch is None else Path(scratch)):
        try:
            one.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{one}: cannot be made: {error.strerror or error}") from error
        if not os.access(one, os.W_OK):
            raise OutputError(f"{one}: no permission to write there")


def _scratch(folder: Path, scratch: str | Path | None) -> Path:
    """A folder for data that is this experiment's own."""
    own = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    return (folder if scratch is None else Path(scratch)).resolve() / f"data-{own}"
