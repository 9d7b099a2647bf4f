"""Jobs in the background: a bounded pool, how far each is, and its files until they expire.

All files of a server lie in one temporary folder, which is made with the first job and goes with the
server; each job has a folder of its own in it. A job that is not asked for any more goes when its
time is over, or earlier, the oldest first, where the files of all take too much room.
"""

from __future__ import annotations

import logging
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uvstack.epochs.server.limits import Limits
from uvstack.errors import LimitError, UvstackError

_LOG = logging.getLogger(__name__)
#: Seconds between looks at what has expired, at most.
_LOOK = 15.0


class Stopped(Exception):
    """A job was removed while it ran."""


@dataclass(eq=False)
class Job:
    """One job.

    Attributes
    ----------
    id : str
        Not to be guessed.
    kind : str
        "position" or "batch".
    folder : Path
        Of its files.
    words : dict
        What was asked for, as fields of a form.
    state : str
        waiting, running, done or failed.
    step : str
        What is done now.
    done, total : int
        Steps.
    error : str
        Why it failed.
    warnings : list of str
    images : list of dict
        What is told of each image.
    lines : list of dict
        Of a list: what became of each line.
    files : dict of str to Path
        By the names under which they are asked for.
    ended : float or None
        `time.monotonic`.
    """

    id: str
    kind: str
    folder: Path
    words: dict[str, str]
    state: str = "waiting"
    step: str = "waiting for its turn"
    done: int = 0
    total: int = 1
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    ended: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def begin(self, step: str, done: int | None = None) -> None:
        """Say what is done now; ends the job if it was removed.

        Raises
        ------
        Stopped
        """
        if self.stop.is_set():
            raise Stopped
        self.step = step
        if done is not None:
            self.done = done

    def keep(self, name: str, data: bytes) -> None:
        """Write a file of this name, which is letters, digits, dots and lines."""
        assert re.fullmatch(r"[\w.+-]+", name)
        assert not name.startswith(".")
        path = self.folder / name
        path.write_bytes(data)
        self.files[name] = path


class Jobs:
    """All jobs of a server; a context in which they run."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._folder: tempfile.TemporaryDirectory | None = None
        self._pool = ThreadPoolExecutor(limits.jobs, thread_name_prefix="job")
        self._over = threading.Event()
        self._janitor = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Jobs:
        self._janitor.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all jobs and remove their files."""
        self._over.set()
        for job in list(self._jobs.values()):
            job.stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._janitor.join()
        if self._folder is not None:
            self._folder.cleanup()

    def start(self, kind: str, words: dict[str, str], work: Callable[[Job], None],
              lines: list[dict[str, Any]] | None = None) -> Job:
        """Let a job run when it is its turn; one for the same position that is there already is given instead.

        Raises
        ------
        LimitError
            Too many wait.
        """
        with self._lock:
            for job in self._jobs.values():
                if kind == job.kind == "position" and job.words == words and job.state != "failed":
                    return job
            unfinished = sum(job.ended is None for job in self._jobs.values())
            if unfinished >= self._limits.jobs + self._limits.waiting:
                raise LimitError(f"{self._limits.jobs} jobs run and {self._limits.waiting} wait, as many as may; "
                                 "try again in a minute", 429)
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="uvstack-serve-")
            name = secrets.token_hex(16)
            job = Job(name, kind, Path(self._folder.name, name), words, lines=lines or [])
            job.folder.mkdir()
            self._jobs[name] = job
        self._make_room()
        future = self._pool.submit(_run, job, work)
        future.add_done_callback(lambda ended: self._ended(job, ended))
        return job

    def get(self, name: str) -> Job | None:
        """A job by its id."""
        with self._lock:
            return self._jobs.get(name)

    def remove(self, name: str) -> bool:
        """Stop a job, and remove it and its files; False where there is none."""
        with self._lock:
            job = self._jobs.pop(name, None)
        if job is None:
            return False
        job.stop.set()
        if job.ended is not None:
            _remove_folder(job.folder)
        return True

    def _ended(self, job: Job, _: Future) -> None:
        job.ended = time.monotonic()
        with self._lock:
            removed = job.id not in self._jobs
        if removed:
            _remove_folder(job.folder)

    def _look(self) -> None:
        while not self._over.wait(min(_LOOK, self._limits.keep / 4)):
            self._make_room()

    def _make_room(self) -> None:
        """Remove what has expired, and the oldest where the disk is full."""
        now = time.monotonic()
        with self._lock:
            ended = sorted((job for job in self._jobs.values() if job.ended is not None),
                           key=lambda job: job.ended or 0.0)
        sizes = {job.id: _size_of(job) for job in ended}
        total = sum(sizes.values())
        for job in ended:
            expired = now - (job.ended or now) > self._limits.keep
            if expired or total > self._limits.disk:
                self.remove(job.id)
                total -= sizes[job.id]


def _size_of(job: Job) -> int:
    try:
        return sum(path.stat().st_size for path in job.folder.iterdir())
    except OSError:
        return 0


def _remove_folder(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _run(job: Job, work: Callable[[Job], None]) -> None:
    """Do the work and say how it ended."""
    try:
        job.state = "running"
        job.begin("begins")
        work(job)
        job.done, job.step, job.state = job.total, "", "done"
    except Stopped:
        job.error, job.state = "removed", "failed"
    except UvstackError as error:
        job.error, job.state = str(error), "failed"
    except Exception:
        _LOG.exception("job %s", job.id)
        job.error, job.state = "the server met an error of its own, and has written it down", "failed"
