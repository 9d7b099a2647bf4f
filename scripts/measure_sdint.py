"""Interferometer, dish, feather, startmodel and joint deconvolution of the simulations of Rau, Naik & Braun (2019).

    python scripts/measure_sdint.py FOLDER [--cases dense,sparse,mosaic,noisy] [--methods int,sd,…] [--table]

Each run is a process of its own, one thread; images stay in FOLDER/CASE-METHOD and are not made
again. The table is that of docs/sdint.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import markdown
import numpy as np
from astropy.io import fits
from sdint_cases import ITERATIONS, cpu_seconds, errors_of, files_of, mask_of, options_of

METHODS = ("int", "sd", "feather", "startmodel", "joint", "joint-0.2", "joint-5000", "joint-nomask")
#: Methods that are looked at in each case.
OF_CASE = {"dense": ("int", "sd", "feather", "startmodel", "joint", "joint-5000", "joint-nomask"),
           "sparse": ("int", "joint"), "mosaic": ("int", "sd", "feather", "startmodel", "joint"),
           "noisy": ("int", "sd", "feather", "startmodel", "joint", "joint-0.2")}


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", default=",".join(OF_CASE))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--table", action="store_true", help="of what is there, nothing is run")
    parser.add_argument("--one", nargs=2, help="a case and a method, in this process")
    asked = parser.parse_args()
    if asked.one:
        run(asked.folder, *asked.one)
        return
    if not asked.table:
        for method in asked.methods.split(","):
            for name in asked.cases.split(","):
                if method in OF_CASE[name] and not _record(asked.folder, name, method).exists():
                    subprocess.run([sys.executable, __file__, str(asked.folder), "--one", name,
                                    method], check=False)
    table(asked.folder)


def _record(folder: Path, name: str, method: str) -> Path:
    return folder / f"{name}-{method}-errors.json"


def run(folder: Path, name: str, method: str) -> None:
    """One method on one case; its errors as JSON."""
    begin = cpu_seconds()
    prefix = folder / f"{name}-{method}"
    made = _feathered(folder, name) if method == "feather" else _sdint(folder, name, method)
    images = [np.squeeze(fits.getdata(path)).astype(float) for path in made]
    header = fits.getheader(made[0])
    from uvstack.sky.beam import Beam

    beam = Beam(*np.deg2rad([header["BMAJ"], header["BMIN"], header["BPA"]]))
    found: dict[str, Any] = {"case": name, "method": method, "cpu_s": cpu_seconds() - begin,
                             "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
                             **errors_of(images[0], images[1], beam)}
    _record(folder, name, method).write_text(json.dumps(found, indent=1))
    print(prefix.name, {key: round(value, 4) for key, value in found.items()
                        if isinstance(value, float)}, flush=True)


def _sdint(folder: Path, name: str, method: str) -> tuple[Path, Path]:
    import uvstack

    ms, dish = files_of(folder, name)
    kind, _, more = method.partition("-")
    options = options_of(name, None if more == "nomask" else mask_of(folder, name))
    if more == "5000":
        options["iterations"] = 5 * ITERATIONS
    if more and more[0].isdigit() and more != "5000":
        options["sd_gain"] = float(more)
    if kind == "startmodel":
        options["start_model"] = folder / f"{name}-sd"
    uvstack.sdint(ms, dish, out=folder / f"{name}-{method}", overwrite=True,
                  use={"startmodel": "int"}.get(kind, kind), **options)
    return images_of(folder / f"{name}-{method}")


def images_of(prefix: Path) -> tuple[Path, Path]:
    """Terms 0 and 1 of a run, corrected for the primary beam where there is one."""
    kind = "pbcor" if Path(f"{prefix}-pbcor.fits").exists() else "image"
    return Path(f"{prefix}-{kind}.fits"), Path(f"{prefix}-{kind}-tt1.fits")


def _feathered(folder: Path, name: str) -> tuple[Path, Path]:
    import uvstack

    made = []
    for term, (high, low) in enumerate(zip(images_of(folder / f"{name}-int"),
                                           images_of(folder / f"{name}-sd"), strict=True)):
        out = Path(f"{folder / name}-feather-image{'-tt1' * term}.fits")
        uvstack.feather(high, low, out=out, overwrite=True)
        made.append(out)
    return made[0], made[1]


def table(folder: Path) -> None:
    """What is there."""
    markdown.head("Joint deconvolution", "case", "method", "flux ratio", "intensity rms", "peak",
                  "alpha rms", "alpha, top", "above a tenth: rms", "alpha rms", "points: flux",
                  "alpha", "noise, mJy/beam", "CPU s", "GB")
    for name, methods in OF_CASE.items():
        for method in methods:
            path = _record(folder, name, method)
            if not path.exists():
                continue
            one = json.loads(path.read_text())
            markdown.row(name, method, f"{one['flux']:.3f}", f"{one['rms']:.2%}",
                         f"{one['peak']:+.2%}", f"{one['alpha']:.3f}", f"{one['alpha_top']:+.3f}",
                         f"{one['rms_faint']:.2%}", f"{one['alpha_faint']:.3f}",
                         f"{one['points']:+.1%}", f"{one['alpha_points']:+.3f}",
                         f"{one['noise'] * 1e3:.3g}", f"{one['cpu_s']:.1f}", f"{one['gb']:.2f}")


if __name__ == "__main__":
    main()
