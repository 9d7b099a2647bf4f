"""QuartiCal as a program: found, checked for its version, given recipes that it can read, run.

It is never imported: it may stand in another environment than this package, for instance where this
runs in CASA. Its standard output and error are read line by line while it runs; a run counts as
done only if it exits with 0. QuartiCal deletes the gains that a recipe names as soon as it reads
the recipe, so recipes are checked in an empty folder, where there are none.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peel.gains import Cell, Solution, Solved, solution
from peel.recipe import Recipe
from peel.visits import Visit
from uvstack.errors import MissingDependencyError, UvstackError, UvstackWarning

#: The version that recipes are written for, and those from which another is not known to read them.
OLDEST, TESTED_BELOW = (0, 2, 7), (0, 3)
_GET_IT = ("install it into an environment of its own, python -m venv quartical && "
           "quartical/bin/pip install quartical==0.2.7, and give its goquartical by quartical= "
           "(--quartical)")
_VERSION = "from importlib.metadata import version; print(version('quartical'))"
_CHECK = ("import sys\nfrom quartical.config.parser import parse_inputs\n"
          "for path in sys.argv[1:]:\n    print(path, flush=True)\n"
          "    parse_inputs(['goquartical', path])\n")
#: Reads a store of gains and writes what is needed of it in one file, by QuartiCal's own Python.
_READ = """
import sys
import numpy as np
import zarr
found = {}
for term, group in zarr.open_group(sys.argv[1], mode='r').groups():
    for _, one in group.groups():
        name = '|'.join([term, *(str(one.attrs.get(key, -1)) for key in
                                 ('FIELD_ID', 'DATA_DESC_ID', 'SCAN_NUMBER'))])
        for kind in ('gains', 'gain_flags', 'jhj', 'conv_perc'):
            found[name + '|' + kind] = one[kind][:]
np.savez(sys.argv[2], **found)
"""
#: Starts a program that ends with this process, also where this one is killed (Linux alone).
_WITH_US = ("import ctypes, os, sys\n"
            "if sys.platform == 'linux':\n    ctypes.CDLL(None).prctl(1, 9)\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n")
_running: set[subprocess.Popen] = set()
#: Variables that would bring this environment's packages into the other's Python.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class QuarticalError(UvstackError):
    """QuartiCal refuses a recipe, or a run of it did not end well."""


@dataclass(frozen=True)
class Quartical:
    """An installation of QuartiCal: path of goquartical, its Python, its version."""

    program: str
    python: str
    version: str

    def check(self, recipes: Sequence[Recipe]) -> None:
        """Refuse recipes that QuartiCal's own schema and checks refuse; nothing is solved.

        Raises
        ------
        QuarticalError
            Names the recipe, with what QuartiCal says of it.
        """
        with tempfile.TemporaryDirectory(prefix="uvstack-recipes-") as folder:
            names = [f"{recipe.name}.yaml" for recipe in recipes]
            for name, recipe in zip(names, recipes, strict=True):
                Path(folder, name).write_text(recipe.yaml, encoding="utf-8")
            done = subprocess.run([self.python, "-c", _CHECK, *names], cwd=folder,
                                  env=_environment(), capture_output=True, text=True,
                                  encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL)
        if done.returncode:
            begun = done.stdout.split()
            of = f"the recipe {begun[-1]}" if begun else "recipes"
            raise QuarticalError(f"QuartiCal {self.version} does not read {of}: "
                                 f"{_last_line(done.stderr.splitlines())}")

    def run(self, recipe: Recipe, folder: str | Path,
            told: Callable[[str], None] | None = None) -> Path:
        """Solve: write the recipe to a folder and run goquartical there.

        Gains and logs are written below the folder, columns into the measurement set of the recipe.

        Parameters
        ----------
        recipe : Recipe
        folder : path
            Made where it does not exist; gives relative paths of the recipe their place.
        told : callable, optional
            Called with each line that QuartiCal says, as it comes.

        Returns
        -------
        Path
            Of the log.

        Raises
        ------
        QuarticalError
            It exits with another status than 0, or a signal ends it: its last line, and where the
            log is.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name, log = f"quartical-{recipe.name}.yaml", folder / "logs" / f"{recipe.name}.log"
        log.parent.mkdir(exist_ok=True)
        (folder / name).write_text(recipe.yaml, encoding="utf-8")
        lines: list[str] = []
        with (log.open("w", encoding="utf-8") as file,
              subprocess.Popen([sys.executable, "-Sc", _WITH_US, self.program, name], cwd=folder,
                               env=_environment(), text=True, encoding="utf-8", errors="replace",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True) as process):
            _running.add(process)
            try:
                for line in process.stdout or ():
                    line = _COLOURS.sub("", line).rstrip()
                    file.write(line + "\n")
                    lines = [*lines[-_KEPT:], line]
                    if told is not None and line:
                        told(line)
            except BaseException:
                _end(process)
                raise
            finally:
                _running.discard(process)
        if process.returncode:
            how = (f"exit status {process.returncode}" if process.returncode > 0
                   else f"signal {-process.returncode}")
            raise QuarticalError(f"QuartiCal failed in {recipe.name} ({how}): {_last_line(lines)}; "
                                 f"its log is {log}")
        return log

    def solve(self, recipe: Recipe, folder: str | Path,
              told: Callable[[str], None] | None = None) -> Path:
        """Run a recipe and keep its gains: gains/NAME.npz, which appears when all is done.

        Where that file is there already, nothing is done.

        Parameters
        ----------
        recipe, folder, told
            As for `run`.

        Returns
        -------
        Path
            Of the gains, as `read_solutions` reads them.
        """
        kept = kept_gains(Path(folder).absolute(), recipe)
        if kept.exists():
            return kept
        log = self.run(recipe, folder, told)
        store, partial = kept.with_suffix(".qc"), kept.with_name(f"{kept.stem}.partial.npz")
        done = subprocess.run([self.python, "-c", _READ, str(store), str(partial)],
                              env=_environment(), capture_output=True, text=True,
                              encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL)
        if done.returncode:
            raise QuarticalError(f"the gains of {recipe.name} cannot be read: "
                                 f"{_last_line(done.stderr.splitlines())}; the log of the solve is "
                                 f"{log}")
        partial.replace(kept)
        shutil.rmtree(store)
        return kept


def end_running() -> None:
    """End all programs that this process has started and that are running: from another thread than theirs."""
    for process in list(_running):
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """End a program and what it has started, at once: while it compiles it hears nothing else."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def kept_gains(folder: Path, recipe: Recipe) -> Path:
    """Where gains of a recipe are kept in the folder of a run."""
    return folder / "gains" / f"{recipe.name}.npz"


def read_solutions(path: str | Path, recipe: Recipe) -> Solved:
    """What a recipe has found, from the file that `Quartical.solve` has kept."""
    cells: dict[Cell, dict[str, Solution]] = {}
    visits = {(visit.field.id, visit.window.id): visit for visit in recipe.visits}
    with np.load(path) as file:
        for name in file.files:
            term, *numbers, kind = name.split("|")
            if kind != "gains":
                continue
            field, window, scan = (int(number) for number in numbers)
            stem, integrations = name.rpartition("|")[0], recipe.integrations(term)
            gains, flags, power = (file[f"{stem}|{kind}"] for kind in ("gains", "gain_flags", "jhj"))
            converged = float(np.mean(file[f"{stem}|conv_perc"]))
            for one, rows in _of_scans(scan, visits[field, window], len(gains), integrations):
                cells.setdefault((field, window, one), {})[term] = solution(
                    term, (field, window, one), gains[rows], flags[rows], power[rows], converged,
                    integrations)
    return Solved(cells, dict.fromkeys(cells, recipe.directions))


def _of_scans(scan: int, visit: Visit, n: int, integrations: int) -> list[tuple[int, slice]]:
    """Scans, and which of `n` gains in the order of time are theirs; of all scans where none is named."""
    if scan >= 0:
        return [(scan, slice(None))]
    scans = sorted(visit.times, key=lambda one: visit.times[one][0])
    if n == 1:
        return [(one, slice(None)) for one in scans]
    ends = np.cumsum([-(-visit.times[one].size // integrations) if integrations else 1
                      for one in scans])
    if ends[-1] != n:
        raise QuarticalError(f"{n} gains of {visit.field.name} in spectral window {visit.window.spw.id}, "
                             f"and {ends[-1]} were asked for; are scans there mixed in time? Leave them "
                             "apart by --field or --spw")
    return [(one, slice(start, stop))
            for one, start, stop in zip(scans, [0, *ends[:-1]], ends, strict=True)]


#: Lines from whose end the reason of a failure is taken.
_KEPT = 200


def find_quartical(path: str | Path | None = None) -> Quartical:
    """QuartiCal of a path, of this environment, or of the PATH.

    Parameters
    ----------
    path : path, optional
        Of goquartical, or of the environment that it is in.

    Raises
    ------
    MissingDependencyError
        There is none, it does not start, or it is too old; it says how to get it.
    """
    program = _program(path)
    python = _python_of(program)
    try:
        done = subprocess.run([str(python), "-c", _VERSION], env=_environment(),
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise MissingDependencyError(f"{program}: its Python, {python}, does not start "
                                     f"({error.strerror}); {_GET_IT}") from error
    version = done.stdout.strip()
    if done.returncode or not version:
        raise MissingDependencyError(f"{program}: no package quartical in its Python, {python}; "
                                     f"{_GET_IT}")
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
    if numbers < OLDEST:
        raise MissingDependencyError(f"{program} is QuartiCal {version}, wanted is "
                                     f"{'.'.join(map(str, OLDEST))} or newer; {_GET_IT}")
    if numbers >= TESTED_BELOW:
        warnings.warn(UvstackWarning(f"{program} is QuartiCal {version}, newer than those that "
                                     "this was tested with (0.2.7)"), stacklevel=2)
    return Quartical(str(program), str(python), version)


def _program(path: str | Path | None) -> Path:
    if path is None:
        beside = Path(sys.executable).parent / "goquartical"
        found = str(beside) if beside.is_file() else shutil.which("goquartical")
        if found is None:
            raise MissingDependencyError(f"no goquartical beside {sys.executable} nor in the PATH; "
                                         f"{_GET_IT}")
        return Path(found)
    given = Path(path).expanduser().absolute()
    for one in (given, given / "bin" / "goquartical", given / "goquartical"):
        if one.is_file() and os.access(one, os.X_OK):
            return one
    raise MissingDependencyError(f"{path}: no program goquartical there; {_GET_IT}")


def _python_of(program: Path) -> Path:
    """The interpreter in the first line of a script of pip, else the Python beside it."""
    with program.open("rb") as file:
        first = file.readline(4096)
    named = Path(os.fsdecode(first[2:]).strip().partition(" ")[0])
    is_python = first.startswith(b"#!") and named.name.startswith("python")
    return named if is_python else program.parent / "python"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}


def _last_line(lines: Sequence[str]) -> str:
    """The last line that says something, without the frame that tracebacks are drawn in."""
    said = (_COLOURS.sub("", line).strip(" │└├─") for line in reversed(lines))
    return next((line for line in said if line), "it said nothing")
