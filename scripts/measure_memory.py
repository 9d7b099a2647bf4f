"""Peak memory of each command against the number of rows: a set, and the same set 10 and 30 times over at later times.

Memory is to be bounded by the chunks, never by the set. Every command runs in a process of its own,
whose peak resident memory the kernel reports; the last column is the peak of the longest set over
that of the shortest. `fit` keeps data of up to 1 GB by its option `--memory`, and is measured with
100 MB. A set of 50 MB and its copies, of 2 GB, are made in --folder.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown import head, row

import uvstack
from uvstack.io.casa import open_table

DAY = 86164.0
UVSTACK = [sys.executable, "-m", "uvstack"]
#: Runs a command and prints its peak memory in MB, in a process whose only child it is.
MEASURE = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
           "stdout=subprocess.DEVNULL); "
           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)")


def commands(ms: str) -> dict[str, list[str]]:
    """Command lines on a set, by what they measure."""
    return {"stack": ["stack", ms, "s-targets.csv", "--primary-beam", "vla", "--no-ms"],
            "stack to a set": ["stack", ms, "s-targets.csv", "--primary-beam", "vla", "--out",
                               "stacked.ms"], "fit": ["fit", ms, "--memory", "0.1"],
            "image, dirty": ["image", ms, "--out", "image", "--size", "1024", "--cell",
                             "0.25arcsec", "--niter", "0"],
            "subtract": ["subtract", ms, "--model", "s-truth.ecsv"],
            "montecarlo, direct": ["montecarlo", ms, "few.csv", "--realisations", "20", "--seed",
                                   "1", "--exact"],
            "montecarlo, through images": ["montecarlo", ms, "s-targets.csv", "--realisations",
                                           "20", "--seed", "1", "--through-images"],
            "compare": ["compare", ms, "few.csv", "--uvmax", "8km"]}


def longer(path: Path, times: int) -> Path:
    """The set several times over, each a sidereal day later."""
    made = path.with_name(f"s{times}.ms")
    if made.exists():
        return made
    shutil.copytree(path, made)
    with open_table(made, readonly=False) as table:
        n = table.n_rows
        columns = {name: table.read(name) for name in table.columns
                   if table.read_cell(name, 0) is not None}
        table.add_rows((times - 1) * n)
        for i in range(1, times):
            for name, values in columns.items():
                table.write(name, values + i * DAY if name in ("TIME", "TIME_CENTROID") else values,
                            i * n)
    return made


def peak(command: list[str], folder: Path) -> float:
    """Peak resident memory of a command, MB."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *UVSTACK, *command, "--overwrite"],
                          cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return float(done.stdout.split()[-1])


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="default a temporary one")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument("--only", nargs="+", help="begins of the names of what is measured")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        path = folder / "s.ms"
        if not path.exists():
            subprocess.run([*UVSTACK, "simulate", "lindroos", "--type", "6", "--scale", "0.2",
                            "--seed", "1", "--out", str(path)], check=True,
                           stdout=subprocess.DEVNULL)
        few = folder / "few.csv"
        few.write_text("".join((folder
                                / "s-targets.csv").read_text().splitlines(keepends=True)[:6]))
        sets = [longer(path, n) if n > 1 else path for n in given.times]
        with open_table(path) as table:
            print(f"uvstack {uvstack.__version__}, {table.n_rows} rows of 10 channels and 2 "
                  "correlations, and as often as stated")
        head("Peak memory, MB", "command", *(f"{n} ×" for n in given.times), "last over first")
        for name in commands(""):
            if given.only and not name.startswith(tuple(given.only)):
                continue
            found = [peak(commands(ms.name)[name], folder) for ms in sets]
            row(name, *(f"{mb:.0f}" for mb in found), f"{found[-1] / found[0]:.2f}")


if __name__ == "__main__":
    main()
