"""Which run a folder and the columns of a set are of, and what a run may replace.

A run has a number of its own, in run.json of its folder, and notes it in every column that it writes. So a
run that was ended knows its own columns again, those that another run has written since are not
taken for them, and a finished run knows whether what it wrote is still there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from peel.passes_files import column_note
from peel.recipe import ALONE, EACH_ROUND, ONCE, PEELED, PEELED_MODEL
from peel.result import PeelResult, finished_result
from peel.work_files import IMAGES, STEPS, peeled_note
from peel.working_set_files import COPYING, DIGEST, ROWS, WORKING_SET
from uvstack.errors import OutputError
from uvstack.imaging.product_files import product_paths
from uvstack.io.output import claimed, write_json
from uvstack.io.write_columns import check_column
from uvstack.records import Structure
from uvstack.report.files import files_of_report

#: What says which run a folder is of.
_RUN = "run.json"
#: Arguments that change no result.
_HOW = ("out", "workers", "scheduler", "threads", "overwrite", "quartical")
#: What else a run makes, by folder: only this is removed where another takes its place.
_MADE = {".": ("quartical-*.yaml", *(f"{name}-masked-model*.fits" for name in IMAGES)),
         STEPS: ("bright-*.json", "chi-squared-*.json", "seen.json", "sources.ecsv", "rows", "rough-[0-9]*",
                 "round-[0-9]*", "PEEL_*", WORKING_SET, ROWS, COPYING, DIGEST),
         "gains": ("*.png", *(f"{solve}*.{end}" for solve in (*ONCE, *EACH_ROUND, ALONE)
                              for end in ("npz", "qc"))),
         "logs": tuple(f"{solve}*" for solve in (*ONCE, *EACH_ROUND, ALONE))}


def settings_of(asked: Mapping[str, Any]) -> dict[str, str]:
    """What makes two runs the same: all that was asked for but where and how fast, and the files."""
    told = {name: str(value) for name, value in asked.items() if name not in _HOW}
    told["ms"] = os.path.abspath(str(asked["ms"]))
    for name in ("regions", "mask"):
        value = asked[name]
        if isinstance(value, np.ndarray):
            told[name] = f"{value.shape} {_digest(np.ascontiguousarray(value).tobytes())}"
        elif isinstance(value, str | Path) and Path(value).is_file():
            told[name] += f" {_digest(Path(value).read_bytes())}"
    return told


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def finished(folder: Path, settings: Mapping[str, str], ms: str) -> PeelResult | None:
    """The result of a run of these settings, if it is finished and the set still has what it wrote."""
    result = finished_result(folder, settings)
    if result is None:
        return None
    run, _ = _read_run(folder)
    is_there = all(column_note(ms, name) == peeled_note(run) for name in result.columns)
    return result if is_there else None


@contextlib.contextmanager
def run_in(folder: Path, settings: Mapping[str, str], structure: Structure, keep_model: bool,
           overwrite: bool) -> Iterator[str]:
    """The number of a run that may write to a folder and a set, both of which are its own meanwhile.

    A new run, or the one of the same settings that was ended there.

    Raises
    ------
    OutputError
        The folder or a column is of another, which may not be replaced, or cannot be written.
    """
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{folder.absolute().parent}: no such folder for the output "
                          f"{folder.name}; make it first")
    if Path(structure.path).absolute() in (folder.absolute(), *folder.absolute().parents):
        raise OutputError(f"{folder} is in the measurement set; choose another name for the output (out=, --out)")
    # Names beside them: the report claims the folder itself.
    with (claimed(folder.with_name(f"{folder.name}-run")),
          claimed(Path(structure.path) / "peel")):
        there, other = _read_run(folder)
        is_same = other == settings
        # Before anything was solved a run has no claim: its regions may have been wrong.
        if there and not is_same and not overwrite and (folder / "gains").exists():
            differ = sorted(name for name in {*other, *settings}
                            if other.get(name) != settings.get(name))
            raise OutputError(f"{folder} holds a run with other settings ({', '.join(differ)});"
                              " choose another name, or pass --overwrite (overwrite=True)")
        _check_columns(structure, keep_model, overwrite, there if is_same else "")
        goes_on = is_same and finished_result(folder, settings) is None
        if there and not goes_on:
            _remove(folder)
        (folder / STEPS).mkdir(parents=True, exist_ok=True)
        run = there if goes_on else uuid.uuid4().hex
        write_json(folder / _RUN, {"run": run, **settings})
        try:
            yield run
        finally:
            if [path.name for path in folder.rglob("*") if path.is_file()] == [_RUN]:
                _remove(folder)


def _read_run(folder: Path) -> tuple[str, dict[str, str]]:
    """Number and settings of the run of a folder; "" where there is none."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, and the results are a folder; choose another name "
                          "(out=, --out)")
    path = folder / _RUN
    if not path.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise OutputError(f"{folder} holds other files than those of a run; choose another "
                              "name (out=, --out)")
        return "", {}
    told = json.loads(path.read_text(encoding="utf-8"))
    return told.pop("run"), told


def _check_columns(structure: Structure, keep_model: bool, overwrite: bool, run: str) -> None:
    """Refuse a set that cannot be written, or has columns of these names that may not be replaced."""
    for name in (PEELED, *[PEELED_MODEL] * keep_model):
        is_ours = column_note(structure.path, name) == peeled_note(run)
        check_column(structure, name, overwrite or is_ours)


def _remove(folder: Path) -> None:
    """Remove what a run has made in its folder; other files stay."""
    made = [folder / name for name in (_RUN, *files_of_report(PeelResult))]
    made += [path for name in IMAGES for path in product_paths(folder / name, 2, True).values()]
    made += [path for below, patterns in _MADE.items() for pattern in patterns
             for path in (folder / below).glob(pattern)]
    for path in made:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for below in reversed(_MADE):
        with contextlib.suppress(OSError):
            (folder / below).rmdir()
