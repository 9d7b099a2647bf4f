"""Who writes an output, and the way back from a run that did not end.

While a run writes an output NAME, the folder NAME.partial stands beside it: `lock`, which the run
holds locked and which names it; `new/NAME`, what it writes; `old/NAME`, what stood there before. A
lock (flock) ends with its process, however that ends, so a claim without one is the remains of a
run that was killed. Whoever claims the name next takes them back, a run that is alive is left
alone.

Several outputs appear together: each is renamed into place when it is written, so that later steps
can read it, and is noted before that in the file `journal` of the first one's claim. Removing the
journal is the one step that makes all of them valid. Where it still stands, all renames are undone,
by the run itself or by the next one: a run that did not end leaves names as they were. A column of
a measurement set that belongs to them has a mark of its own (`uvstack.io.unfinished_column`); then
taking that mark away is the step, which the journal says.

Where the file system knows no locks, the process that a claim names tells whether it is alive, on
its own computer alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from uvstack.errors import OutputError, UvstackError
from uvstack.io.unfinished_column import is_finished

#: How often a folder is made that others remove.
_TRIES = 1000
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class _TakenError(OutputError):
    """A run that is alive has a claim."""


class Claim:
    """The claim on one output; claiming takes back what a killed run has left.

    Raises
    ------
    OutputError
        Another run that is alive has it, or the remains of a killed run cannot be taken back.
    """

    def __init__(self, path: Path):
        if not path.name:
            raise OutputError(f"{path} is no name for an output; choose a name in a folder")
        self.path = path
        self.folder = path.with_name(f"{path.name}.partial")
        self.new, self.old = self.folder / "new" / path.name, self.folder / "old" / path.name
        self._descriptor: int | None = None
        descriptor = self._descriptor = self._locked()
        try:
            self.take_back(own=False)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor,
                      json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode(),
                      0)
        except BaseException:
            self.unlock()
            raise

    def __contains__(self, path: Path) -> bool:
        """Whether a path lies in what is being written."""
        return self.folder in path.parents

    def _locked(self) -> int:
        """Descriptor of the lock, held."""
        if os.path.lexists(self.folder) and not (self.folder
                                                 / "lock").is_file() and not _is_empty(self.folder):
            raise OutputError(f"{self.folder} is in the way and no remains of a run: move it, or "
                              "choose another name for the output")
        tries = 0
        while True:
            tries += 1
            try:
                self.folder.mkdir(exist_ok=True)
                descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # removed in between by the run that had it, or a file system that makes no folders
                if tries < _TRIES and self.path.parent.is_dir():
                    continue
                raise
            try:
                if not _lock(descriptor):
                    raise _TakenError(f"another run, {_name(_said(descriptor))}, is writing "
                                      f"{self.path}: wait for its end, or choose another name")
                if os.path.exists(self.folder / "lock") and os.path.samestat(
                    os.fstat(descriptor), os.stat(self.folder / "lock")):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    @property
    def _journal(self) -> Path:
        return self.folder / "journal"

    def take_back(self, own: bool) -> None:
        """Undo what was renamed and is not valid, and forget all that was written.

        By the run itself, or after one that died.
        """
        first = self.folder / "first"
        if first.is_file():
            other = Path(first.read_text(encoding="utf-8"))
            if other != self.path and other.with_name(f"{other.name}.partial").is_dir() and not own:
                # A run that has it, perhaps this one, has taken back what was left before it began.
                with contextlib.suppress(_TakenError):
                    Claim(other).release()
            first.unlink(missing_ok=True)
        notes = _notes(self._journal)
        if notes and not _is_valid(notes):
            for note in reversed(notes):
                _undo(note, own)
        self._journal.unlink(missing_ok=True)
        for name in ("new", "old"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def fresh(self) -> Path:
        """Where to write; its folder exists."""
        shutil.rmtree(self.new.parent, ignore_errors=True)
        self.new.parent.mkdir()
        return self.new

    def follow(self, first: Claim) -> None:
        """Say that the journal of another claim is to be read after a kill."""
        if first is not self:
            (self.folder / "first").write_text(str(first.path), encoding="utf-8")

    def note(self, note: dict[str, Any]) -> None:
        """Add a line to the journal, in one piece."""
        descriptor = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, (json.dumps(note) + "\n").encode())
        finally:
            os.close(descriptor)

    def make_valid(self) -> None:
        """Take the journal away."""
        self._journal.unlink(missing_ok=True)

    def release(self) -> None:
        """Remove the claim; what cannot be removed is left to the next run."""
        try:
            for name in ("new", "old"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            with contextlib.suppress(OSError):
                (self.folder / "first").unlink(missing_ok=True)
                (self.folder / "lock").unlink(missing_ok=True)
                self.folder.rmdir()
        finally:
            self.unlock()

    def unlock(self) -> None:
        """Leave the claim as a killed run does."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def _rename_into_place(first: Claim, claim: Claim, path: Path, new: Path | None, old: Path) -> None:
    """Put what was written to `new` under its name, or nothing with None, and what stood there to `old`; noted before."""
    first.note({"claim": str(claim.folder), "path": str(path),
                "new": None if new is None else str(new), "old": str(old),
                "is": None if new is None else _identity(new)})
    if os.path.lexists(path):
        old.parent.mkdir(parents=True, exist_ok=True)
        path.rename(old)
    if new is not None:
        new.rename(path)


def _undo(note: dict[str, Any], own: bool) -> None:
    """Undo what a line of the journal says, as far as it was done."""
    if "path" not in note:
        return
    path, old = Path(note["path"]), Path(note["old"])
    new = None if note["new"] is None else Path(note["new"])
    (Path(note["claim"]) / "first").unlink(missing_ok=True)
    if new is not None and not os.path.lexists(new) and os.path.lexists(path):
        found = _identity(path)
        if found["inode"] == note["is"]["inode"]:
            if not own and found != note["is"]:
                raise OutputError(f"{path} is of a run that was killed before its end, and was "
                                  "changed since: move it away, or remove it")
            new.parent.mkdir(parents=True, exist_ok=True)
            path.rename(new)
    if os.path.lexists(old) and not os.path.lexists(path):
        old.rename(path)


def _identity(path: Path) -> dict[str, int]:
    """What tells whether a file or folder is the same and unchanged.

    Casacore touches its locks when it only reads.
    """
    state = path.lstat()
    times = [file.lstat().st_mtime_ns for file in path.rglob("*")
             if file.name != "table.lock"] if path.is_dir() else [state.st_mtime_ns]
    return {"inode": state.st_ino, "changed": max(times, default=0)}


def _notes(journal: Path) -> list[dict[str, Any]]:
    """Lines of a journal; the last one may have been cut off by a kill before it was acted on."""
    if not journal.is_file():
        return []
    whole = journal.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def _is_valid(notes: list[dict[str, Any]]) -> bool:
    """Whether the column that goes with outputs has been finished."""
    with contextlib.suppress(UvstackError):  # such as a set that is gone
        return any(is_finished(note["set"], note["column"]) for note in notes if "column" in note)
    return False


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _lock(descriptor: int) -> bool:
    """Lock a file, unless another process has it.

    Without locks, whether the process that it names is gone.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        said = _said(descriptor)
        return not said or (said["host"] == socket.gethostname()
                            and not Path(f"/proc/{said['process']}").exists())
    return True


def _said(descriptor: int) -> dict[str, Any]:
    """What a lock says of its process."""
    try:
        return json.loads(os.pread(descriptor, 1000, 0))
    except ValueError:
        return {}


def _name(said: dict[str, Any]) -> str:
    if not said:
        return "which begins just now"
    here = said["host"] == socket.gethostname()
    return f"process {said['process']}" + ("" if here else f" on {said['host']}")


class Run:
    """The outputs that appear together, or not at all."""

    def __init__(self) -> None:
        self._claims: dict[Path, Claim] = {}
        self._first: Claim | None = None
        self._placed: set[Path] = set()
        self._endings: list[tuple[str, str, Callable[[], None]]] = []
        self._made: list[Path] = []
        self._undo: list[Callable[[], None]] = []

    def claim(self, path: Path) -> Claim:
        """The claim on an output, made where there is none yet."""
        if path not in self._claims:
            self._claims[path] = Claim(path)
        return self._claims[path]

    def holds(self, path: Path) -> bool:
        """Whether a path lies in a folder that is being written, so that it needs no claim of its own."""
        return any(path in claim for claim in self._claims.values())

    def make_folder(self, path: Path) -> None:
        """Make a folder that is to go again, if empty, where nothing becomes of the run."""
        for one in (*reversed(path.parents), path):
            if not one.is_dir():
                one.mkdir()
                self._made.append(one)

    def place(self, claim: Claim, names: tuple[str, ...] | None = None) -> None:
        """Rename what was written into its place.

        As one, or with names the files of a folder into one that exists.
        """
        if claim.path in self._placed:
            raise OutputError(f"{claim.path} is written twice by one run; give two names")
        self._placed.add(claim.path)
        first = self._first = self._first or claim
        claim.follow(first)
        if names is None:
            _rename_into_place(first, claim, claim.path, claim.new, claim.old)
            return
        written = {file.name for file in claim.new.iterdir()}
        for name in sorted(written | {name for name in names if (claim.path / name).is_file()}):
            _rename_into_place(first, claim, claim.path / name,
                               claim.new / name if name in written else None, claim.old / name)

    def end_with(self, ms: str, column: str, finish: Callable[[], None],
                 undo: Callable[[], None] | None = None) -> None:
        """Finish a column of a set at the very end of the run.

        `undo` is what to do where it does not come to that.
        """
        self._endings.append((ms, column, finish))
        if undo is not None:
            self._undo.append(undo)

    def end(self) -> None:
        """Make all outputs valid."""
        if self._endings and self._first is not None:
            ms, column, _ = self._endings[0]
            self._first.note({"set": ms, "column": column})
        while self._endings:
            self._endings[0][2]()
            self._endings.pop(0)
            self._undo.clear()
        if self._first is not None:
            self._first.make_valid()
        self._made.clear()

    def close(self) -> None:
        """Take back what is not valid, and give all claims up."""
        try:
            undo, self._undo = self._undo, []
            for one in undo:
                with contextlib.suppress(OutputError):
                    one()
            for claim in sorted(self._claims.values(), key=lambda claim: claim is not self._first):
                claim.take_back(own=True)
            for claim in self._claims.values():
                claim.release()
            for folder in reversed(self._made):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        finally:
            # A second interrupt: the next run takes the rest back.
            for claim in self._claims.values():
                claim.unlock()

    def left(self) -> Iterator[Path]:
        """Claims that could not be removed."""
        return (claim.folder for claim in self._claims.values() if claim.folder.exists())
