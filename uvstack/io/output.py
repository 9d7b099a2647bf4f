"""Outputs that appear whole or not at all.

Written beside their place (see `uvstack.io.claim`), then renamed.

`together` makes all outputs of a run one: they become valid at its end, and nothing of them is left
where it fails, is interrupted, or was killed and is run again.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from astropy.table import Table

from uvstack.errors import OutputError
from uvstack.io.claim import Claim, Run
from uvstack.records import plain

_RUN: contextvars.ContextVar[Run | None] = contextvars.ContextVar("run", default=None)
#: What a report takes at most, or nearly.
_BYTES_OF_REPORT = 5_000_000
_left: list[Path] = []


@contextlib.contextmanager
def together() -> Iterator[Run]:
    """All outputs written within become valid at the end, or none does.

    Also as a decorator, and within another one.

    Steps within find finished outputs under their names.
    """
    outer = _RUN.get()
    if outer is not None:
        yield outer
        return
    run = Run()
    token = _RUN.set(run)
    try:
        yield run
        with _in_our_words("the outputs"):
            run.end()
    finally:
        _RUN.reset(token)
        try:
            run.close()
        finally:
            _left.extend(run.left())


def left_over() -> list[Path]:
    """What runs of this process could not remove, and the next run will."""
    return [path for path in _left if path.exists()]


def check_output(path: str | Path, overwrite: bool, n_bytes: int = 0,
                 inputs: tuple[str, ...] = ()) -> Path:
    """Path of an output that may be written, before any work is done.

    Within `together` it is claimed.

    Raises
    ------
    OutputError
        If it exists and may not be overwritten, is, holds or lies in one of the inputs, is a folder
        that is no table, is being written by another run, or if its own folder is missing, not
        writable or too full.
    """
    path = Path(str(path).rstrip("/"))
    _check_place(path, n_bytes, inputs)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; choose another name or pass --overwrite "
                          "(overwrite=True)")
    if path.is_dir() and not (path / "table.dat").is_file():
        raise OutputError(f"{path} is a folder, not a table, and is never overwritten: choose "
                          "another name or remove it yourself")
    return path


def check_report(folder: str | Path, overwrite: bool, names: Sequence[str],
                 inputs: tuple[str, ...] = ()) -> Path:
    """Folder that a report with files of these names may be written to, before any work is done.

    Errors as for `check_output`.
    """
    folder = Path(folder)
    _check_place(folder, _BYTES_OF_REPORT, inputs)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, and a report is a folder; choose another name")
    there = [name for name in names if os.path.lexists(folder / name)]
    if there and not overwrite:
        raise OutputError(f"{folder / there[0]} exists; choose another name or pass --overwrite "
                          "(overwrite=True)")
    return folder


def _check_place(path: Path, n_bytes: int, inputs: tuple[str, ...]) -> None:
    """Refuse a place that cannot be written; what killed runs have left there is taken back."""
    place = path.resolve()
    folder = place.parent
    for name in inputs:
        taken = Path(name).resolve()
        if place == taken:
            raise OutputError(f"{path} is an input; an output never replaces its input: choose "
                              "another name")
        if place in taken.parents or taken in place.parents:
            raise OutputError(f"{path} and the input {name} lie one inside the other: choose a "
                              "name outside it")
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder for the output {path.name}; make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: no permission to write the output {path.name} there")
    with together() as run:
        if not run.holds(_absolute(path)):
            _claim(run, path)
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OutputError(f"{folder}: {size_text(n_bytes)} are needed for {path.name}, "
                          f"{size_text(free)} are free")


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))


def _claim(run: Run, path: Path) -> Claim:
    try:
        return run.claim(_absolute(path))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def size_text(n_bytes: float) -> str:
    """A size with a unit that suits it: "1.25 MB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A name to write to; renamed to `path` at the end, removed if anything goes wrong.

    Within a folder that is itself being written whole it is `path`.
    """
    path = Path(path)
    with together() as run, _in_our_words(path):
        if run.holds(_absolute(path)):
            yield path
            return
        claim = _claim(run, path)
        yield claim.fresh()
        run.place(claim)


@contextlib.contextmanager
def report_folder(folder: str | Path, names: Sequence[str]) -> Iterator[Path]:
    """A new folder to write files of these names to, which then takes its place.

    Into a folder that exists the files are put together, and old ones of these names go; others
    stay. Within one that is itself being written whole it is `folder`.
    """
    folder = Path(folder)
    with together() as run, _in_our_words(folder):
        if run.holds(_absolute(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            yield folder
            return
        run.make_folder(_absolute(folder).parent)
        claim = _claim(run, folder)
        new = claim.fresh()
        new.mkdir()
        yield new
        unknown = {file.name for file in new.iterdir()} - set(names)
        assert not unknown, f"{folder}: files that no check knows of: {', '.join(sorted(unknown))}"
        run.place(claim, tuple(names) if folder.exists() else None)


@contextlib.contextmanager
def _in_our_words(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}; is "
                          "there space and permission?") from error


def finish_with_outputs(ms: str, column: str, finish: Callable[[], None],
                        undo: Callable[[], None] | None = None) -> None:
    """Call `finish`, which takes the mark off a column of a set, where all outputs of the run become valid; else `undo`."""
    with together() as run:
        run.end_with(ms, column, finish, undo)


@contextlib.contextmanager
def claimed(path: str | Path) -> Iterator[None]:
    """While this lasts no other run may have the path, such as a folder for files of a run's own."""
    with _in_our_words(path):
        claim = Claim(_absolute(path))
    try:
        yield
    finally:
        claim.release()


def scratch_beside(path: str | Path) -> Path:
    """Folder for files that are needed until an output is written, and go with the run, or with the next one."""
    with together() as run, _in_our_words(path):
        return _claim(run, Path(path)).fresh().parent


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def json_text(value: Any) -> str:
    """Strict JSON of a value, after `uvstack.records.plain`: every JSON of the project."""
    return json.dumps(plain(value), indent=1, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as strict JSON."""
    write_text(path, json_text(value))


def write_table(path: str | Path, table: Table) -> None:
    """Write a table as ECSV."""
    with written_whole(path) as partial:
        table.write(partial, format="ascii.ecsv")


def write_figure(path: str | Path, figure: Any) -> None:
    """Write a matplotlib figure; the ending of the path sets the format."""
    with written_whole(path) as partial:
        figure.savefig(partial, format=Path(path).suffix.lstrip(".") or "png", dpi=130)
