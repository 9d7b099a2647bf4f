"""Outputs that appear whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import contextlib
import glob
import os
import shlex
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

from uvstack.errors import OutputError

_MARK, _OLD = ".partial-", "old-"


def check_output(path: str | Path, overwrite: bool, n_bytes: int = 0, inputs: tuple[str, ...] = ()) -> Path:
    """Path of an output that may be written, before any work is done.

    Raises
    ------
    OutputError
        If it exists and may not be overwritten, is, holds or lies in one of the inputs, is a folder that is no table, or
        if its own folder is missing, not writable or too full.
    """
    path = Path(str(path).rstrip("/"))
    place = path.resolve()
    folder = place.parent
    for name in inputs:
        taken = Path(name).resolve()
        if place == taken:
            raise OutputError(f"{path} is an input; an output never replaces its input: choose another name")
        if place in taken.parents or taken in place.parents:
            raise OutputError(f"{path} and the input {name} lie one inside the other: choose a name outside it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; choose another name or pass --overwrite (overwrite=True)")
    if path.is_dir() and not (path / "table.dat").is_file():
        raise OutputError(f"{path} is a folder, not a table, and is never overwritten: choose another name or remove it yourself")
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder for the output {path.name}; make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: no permission to write the output {path.name} there")
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OutputError(f"{folder}: {n_bytes / 1e9:.2f} GB are needed for {path.name}, {free / 1e9:.2f} GB are free")
    return path


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` at the end, removed if anything goes wrong.

    Remains of runs that were killed are removed first; an old output that such a run had moved aside and not yet
    replaced is put back.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}{_MARK}{uuid.uuid4().hex[:8]}")
    try:
        for remains in sorted(path.parent.glob(f"{glob.escape(path.name)}{_MARK}*")):
            if remains.name.startswith(f"{path.name}{_MARK}{_OLD}") and not path.exists():
                remains.rename(path)
            else:
                _remove(remains)
        yield partial
        if path.exists():
            old = path.with_name(f"{path.name}{_MARK}{_OLD}{uuid.uuid4().hex[:8]}")
            path.rename(old)
            partial.rename(path)
            _remove(old)
        else:
            partial.rename(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if partial.exists():
            _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def command_line() -> str:
    """The command that runs, as it would be typed: for provenance."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv and sys.argv[0] else "python"
