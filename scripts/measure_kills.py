"""Kill commands at random instants, run them again, and compare: python scripts/measure_kills.py [--kills N] [--seed S] [--only COMMAND].

Each command is run undisturbed, on a small set, then N times with SIGINT, SIGTERM or SIGKILL in
turn. The instants cover the whole run in strata that are denser towards its end, where outputs are
renamed and reports written. After each, the same command line is run once more, and is to succeed;
nothing but its products may be left, they are to equal those of the undisturbed run (files byte for
byte; FITS pixels, columns of sets, JSON and pages without dates and folders), and the inputs are to
be as they were. Where the command had ended before the signal arrived, or all its outputs were
valid already, the second run is to be refused, since they exist.

Runs are children of a process that has imported everything, so that a second goes to the work and
not to imports.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
#: Dates, and from which row a subtraction went on.
_DATE = re.compile(r"\"resumed_from[a-z_]*\": \d+|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(\+00:00)?")
COMMANDS = {
    "stack": "stack a.ms p.csv --out o.ms --group-by kind --fit gaussian",
    "stack --no-ms": "stack a.ms p.csv --no-ms --bootstrap 100 --seed 1",
    "image": "image a.ms --size 64 --cell 4arcsec --iterations 50 --threads 1 --out i",
    "image-stack": "image-stack image.fits p.csv --stamp 16 --random 20 --seed 1 --out k.fits",
    "compare": "compare a.ms p.csv --size 160 --cell 4arcsec --fit gaussian --threads 1 --out o.ms",
    "montecarlo": "montecarlo a.ms p.csv --realisations 20 --radius 2arcmin --bins 8 --seed 1",
    "fit": "fit a.ms --model point --write residual",
    "subtract": "subtract a.ms --model m.csv",
    "simulate": "simulate lindroos --type 1 --scale 0.002 --out s.ms",
    "demo": "demo"}
#: What may come into a set that is an input, too.
_WRITTEN = {"RESIDUAL_DATA"}


def preload() -> None:
    """Import what commands import, and make the demo small."""
    import matplotlib.backends.backend_agg  # noqa: F401

    import simulate.demo
    from uvstack.cli.main import group

    for module in group.modules.values():
        importlib.import_module(f"uvstack.cli.{module}")
    for module in ("simulate.task", "simulate.lindroos", "uvstack.stacking.task",
                   "uvstack.comparison.task", "uvstack.monte_carlo.task",
                   "uvstack.monte_carlo.report", "uvstack.fitting.task", "uvstack.fitting.report",
                   "uvstack.fitting.report", "uvstack.image_stacking.psf_fit",
                   "uvstack.imaging.task", "uvstack.subtraction.task",
                   "uvstack.image_stacking.task", "dask.threaded", "casacore.tables",
                   "astropy.io.fits", "astropy.table", "matplotlib.figure"):
        importlib.import_module(module)
    simulate.demo._N_SOURCES, simulate.demo._N_TIMES = 20, 4


def start(folder: Path, line: str) -> int:
    """Process that runs a command in a folder."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.chdir(folder)
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["uvstack", *line.split()]
        from uvstack.cli.main import main

        main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except KeyboardInterrupt:
        status = 130  # before or after all that `main` guards
    finally:
        sys.stdout.flush()
        os._exit(status)


def finish(child: int) -> int:
    """Its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def make_inputs(folder: Path) -> None:
    """A set, a list with groups, a catalogue and an image."""
    folder.mkdir()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            from simulate.task import observe
            from uvstack.imaging.task import image
            from uvstack.sky.components import components

            rng = np.random.default_rng(1)
            ra, dec = 2.6 + 4e-4 * rng.uniform(-1, 1, 12), 0.6 + 3e-4 * rng.uniform(-1, 1, 12)
            made = observe(array="vla.d", frequency=1.4e9 + 2e7 * np.arange(4), integration=20.0,
                           duration=200.0, noise=0.02, out="a.ms",
                           sky=components(ra, dec, np.full(12, 0.05)))
            rows = [f"{np.rad2deg(r):.10f},{np.rad2deg(d):.10f}"
                    for r, d in zip(ra, dec, strict=True)]
            Path("p.csv").write_text("ra,dec,kind\n"
                                     + "".join(f"{row},{'xy'[i % 2]}\n"
                                               for i, row in enumerate(rows)))
            Path("m.csv").write_text("ra,dec,flux\n" + "".join(f"{row},0.05\n" for row in rows))
            image(made.ms, size=128, cell=4 * np.pi / 180 / 3600, iterations=0, out="j")
            Path("j-dirty.fits").rename("image.fits")
            for file in (*Path().glob("a-*"), *Path().glob("j*")):
                file.unlink()
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if finish(child) != 0:
        raise SystemExit("the inputs could not be made")


def content(path: Path, root: Path):
    """What two files that are to be equal have in common."""
    if path.suffix == ".fits":
        from astropy.io import fits

        with fits.open(path) as hdus:
            return [hashlib.sha256(np.ascontiguousarray(hdu.data).tobytes()).hexdigest()
                    for hdu in hdus if hdu.data is not None]
    if path.suffix in (".json", ".html"):
        return _DATE.sub("DATE", path.read_text().replace(str(root), "HERE"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def columns(path: Path) -> dict[str, str]:
    """Checksum of each column of a table."""
    from uvstack.errors import UvstackError
    from uvstack.io.casa import open_table

    found = {}
    with open_table(path) as table:
        for name in table.columns:
            try:
                found[name] = hashlib.sha256(np.ascontiguousarray(table.read(name)).tobytes()).hexdigest()
            except UvstackError:
                found[name] = "without values"
    return found


def snapshot(folder: Path, root: Path | None = None) -> dict[str, object]:
    """Path → content of all in a folder; sets by their columns."""
    found: dict[str, object] = {}
    for path in sorted(folder.iterdir()):
        if (path / "table.dat").is_file():
            found[path.name] = columns(path)
        elif path.is_dir():
            found |= {f"{path.name}/{name}": value
                      for name, value in snapshot(path, root or folder).items()}
            found[path.name] = "folder"
        else:
            found[path.name] = content(path, root or folder)
    return found


def inputs_of(now: dict[str, object], before: dict[str, object]) -> dict[str, object]:
    """The inputs among what there is now, without a column that was written."""
    found = {name: now.get(name) for name in before}
    found["a.ms"] = {name: value for name, value in (found["a.ms"] or {}).items()
                     if name not in _WRITTEN}
    return found


def measure(name: str, line: str, place: Path, kills: int,
            rng: np.random.Generator) -> dict[str, object]:
    """Numbers of one command."""
    before = snapshot(place / "inputs")
    for trial in ("warm", "reference"):  # the first fills caches
        folder = place / f"{trial}-{name.replace(' ', '')}"
        shutil.copytree(place / "inputs", folder)
        begin = time.monotonic()
        if finish(start(folder, line)) != 0:
            raise SystemExit(f"{name}: the undisturbed run "
                             f"failed:\n{folder.with_suffix('.log').read_text()}")
        seconds = time.monotonic() - begin
    wanted = snapshot(folder)
    counts = dict.fromkeys(("killed", "ended", "remains", "rerun", "equal", "left", "inputs"), 0)
    for k in range(kills):
        folder = place / f"kill-{name.replace(' ', '')}-{k}"
        shutil.copytree(place / "inputs", folder)
        child = start(folder, line)
        time.sleep(seconds * ((k + rng.random()) / kills) ** 0.6)
        os.kill(child, SIGNALS[k % 3])
        status = finish(child)
        now = snapshot(folder)
        if now == wanted:
            # The run, or all of its outputs, had ended: they are whole, and refused without
            # --overwrite.
            counts["ended"] += 1
            counts["left"] += any(path.suffix == ".partial" for path in folder.rglob("*"))
            if finish(start(folder, line)) == 1 and snapshot(folder) == wanted:
                shutil.rmtree(folder)
                continue
            print(f"{name}, kill {k}: complete, and the second run changed something: {folder}",
                  file=sys.stderr)
            continue
        counts["killed"] += 1
        counts["remains"] += now != before
        counts["inputs"] += inputs_of(now, before) == before
        succeeded = finish(start(folder, line)) == 0
        now = snapshot(folder)
        counts["rerun"] += succeeded
        counts["equal"] += now == wanted
        counts["left"] += any(path.suffix == ".partial" for path in folder.rglob("*"))
        if succeeded and now == wanted:
            shutil.rmtree(folder)
        else:
            differing = [key for key in {*now, *wanted} if now.get(key) != wanted.get(key)]
            print(f"{name}, kill {k} ({SIGNALS[k % 3].name}, status {status}): {differing}, see "
                  f"{folder}", file=sys.stderr)
    return {"seconds": seconds, **counts}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=9, help="of each command")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(COMMANDS), help="one command")
    parser.add_argument("--json", help="write the numbers to this file as well")
    options = parser.parse_args()
    preload()
    place = Path(tempfile.mkdtemp(prefix="kills-"))
    make_inputs(place / "inputs")
    rng, results = np.random.default_rng(options.seed), {}
    print("| command | killed in the run | ended before | something was there | inputs as before | second run succeeds | products equal "
          "| remains after |\n|---|---|---|---|---|---|---|---|", flush=True)
    for name, line in COMMANDS.items():
        if options.only in (None, name):
            found = results[name] = measure(name, line, place, options.kills, rng)
            print(f"| {name} | " + " | ".join(str(found[key])
                                              for key in ("killed", "ended", "remains", "inputs",
                                                          "rerun", "equal", "left")) + " |",
                  flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    if all(found["rerun"] == found["equal"] == found["inputs"] == found["killed"]
           and not found["left"] for found in results.values()):
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
