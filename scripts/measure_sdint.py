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
from sdint_cases import ITERATIONS, cpu_seconds, errors_of, files_of, mask_of, options_of

from simulate.rau import CASES, FREQUENCY

#: Methods with two Taylor terms, and cubes, in the order in which they need each other.
_TERMS = ("int", "sd", "feather", "startmodel", "joint")
CUBES = ("cube-int", "cube-sd", "cube-feather", "cube-joint")
METHODS = (*_TERMS, "joint-chosen", "joint-0.2", "joint-chosen-0.2", "joint-5000", "joint-nomask", *CUBES)
#: What they are called.
NAMES = {"int": "interferometer", "sd": "dish", "feather": "feather of terms",
         "startmodel": "startmodel", "joint": "joint", "joint-0.2": "joint, sd-gain 0.2",
         "joint-chosen": "joint, scales and end chosen", "joint-chosen-0.2": "the same, sd-gain 0.2",
         "joint-5000": "joint, 5000 iterations", "joint-nomask": "joint, no mask",
         "casa": "CASA, joint", "cube-int": "interferometer", "cube-sd": "dish",
         "cube-feather": "feather", "cube-joint": "joint"}
#: Methods that are looked at in each case.
OF_CASE = {"dense": (*_TERMS, "joint-chosen", "joint-5000", "joint-nomask", *CUBES), "sparse": (*_TERMS, "joint-chosen"),
           "mosaic": (*_TERMS, "joint-chosen", *CUBES), "noisy": (*_TERMS, "joint-chosen", "joint-0.2", "joint-chosen-0.2")}
#: What the defaults say where ours chooses.
_CHOSEN = ("iterations", "cycle_iterations", "most_cycles", "threshold")
#: Components in a cycle of a cube of the interferometer alone, as in the paper: else it diverges;
#: and the scales of its mosaics, which diverge with larger ones.
_SHALLOW, _SMALL = 20, (0, 12, 20, 40)


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
    import uvstack.deconvolution.kernels
    import uvstack.joint.feathering.task
    import uvstack.joint.reconstruction.task
    import uvstack.uv.weights  # noqa: F401

    begin = cpu_seconds()  # without the start of the program, as for CASA
    feathers = method.endswith("feather")
    made = _feathered(folder, name, method) if feathers else _sdint(folder, name, method)
    images = [images_with_beams(path) for path in made]
    found: dict[str, Any] = {"case": name, "method": method, "cpu_s": cpu_seconds() - begin,
                             "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    if method in CUBES:
        found["channels"] = [errors_of(image, None, beam, nu) for (image, beam), nu in zip(
            images[0], FREQUENCY, strict=True)]
    else:
        (intensity, beam), (slope, _) = images[0][0], images[1][0]
        found |= errors_of(intensity, slope, beam)
    _record(folder, name, method).write_text(json.dumps(found, indent=1))
    print(f"{name}-{method}", found, flush=True)


def images_with_beams(path: Path) -> list[tuple[np.ndarray, Any]]:
    """Planes (m, l) of a FITS file, and the beam of each, rad."""
    from uvstack.io.image_file import read_cube

    cube = read_cube(path, oriented=False)
    return [(plane.astype(float), cube.beam(k)) for k, plane in enumerate(cube.data)]


def _sdint(folder: Path, name: str, method: str) -> list[Path]:
    import uvstack

    ms, dish = files_of(folder, name)
    kind, _, more = method.partition("-")
    options = options_of(name, None if more == "nomask" else mask_of(folder, name))
    if kind == "cube":
        kind, more = more, ""
        options |= {"terms": 1, "reference_frequency": None}
        options["cycle_iterations"] = _SHALLOW if kind == "int" else options["cycle_iterations"]
    elif kind == "int" and CASES[name].primary_beam != "constant":
        options["scales"] = _SMALL
    if more == "5000":
        options["iterations"] = 5 * ITERATIONS
    if more.startswith("chosen"):
        options = {key: value for key, value in options.items() if key not in _CHOSEN} | {"scales": "auto"}
        more = more.removeprefix("chosen").removeprefix("-")
    if more and more[0].isdigit() and more != "5000":
        options["sd_gain"] = float(more)
    if kind == "startmodel":
        options["start_model"] = folder / f"{name}-sd"
    uvstack.sdint(ms, dish, out=folder / f"{name}-{method}", overwrite=True,
                  use={"startmodel": "int"}.get(kind, kind), **options)
    return images_of(folder / f"{name}-{method}")


def images_of(prefix: Path) -> list[Path]:
    """The cube or the terms 0 and 1 of a run, corrected for the primary beam where there is one."""
    kind = "pbcor" if Path(f"{prefix}-pbcor.fits").exists() else "image"
    first, second = Path(f"{prefix}-{kind}.fits"), Path(f"{prefix}-{kind}-tt1.fits")
    return [first, second] if second.exists() else [first]


def _feathered(folder: Path, name: str, method: str) -> list[Path]:
    import uvstack

    made = []
    for term, (high, low) in enumerate(zip(
            *(images_of(folder / f"{name}-{method.replace('feather', use)}")
              for use in ("int", "sd")), strict=True)):
        out = Path(f"{folder / name}-{method}-image{'-tt1' * term}.fits")
        uvstack.feather(high, low, out=out, overwrite=True)
        made.append(out)
    return made


def table(folder: Path) -> None:
    """What is there."""
    markdown.head("Joint deconvolution", "case", "method", "flux ratio", "intensity rms", "peak",
                  "alpha rms", "alpha, upper Gaussian", "points: flux", "points: alpha",
                  "noise, mJy/beam", "CPU s", "GB")
    for name, methods in OF_CASE.items():
        for method in (*methods, "casa"):
            path = _record(folder, name, method)
            if method in CUBES or not path.exists():
                continue
            one = json.loads(path.read_text())
            markdown.row(name, NAMES[method], f"{one['flux']:.4f}",
                         f"{one['rms']:.2%} ({one['rms_faint']:.2%})", f"{one['peak']:+.2%}",
                         f"{one['alpha']:.3f} ({_index(one['alpha_faint'])})",
                         f"{one['alpha_top']:+.3f}", f"{one['points']:+.1%}",
                         f"{one['alpha_points']:+.3f}", f"{one['noise'] * 1e3:.3g}",
                         f"{one['cpu_s']:.0f}", f"{one['gb']:.1f}")
    ghz = [f"{nu / 1e9:g} GHz" for nu in FREQUENCY]
    markdown.head("Cubes", "case", "method", *(f"{what}, {nu}" for what in ("flux ratio", "rms")
                                               for nu in ghz), "CPU s", "GB")
    for name, methods in OF_CASE.items():
        for method in methods:
            path = _record(folder, name, method)
            if method in CUBES and path.exists():
                one = json.loads(path.read_text())
                planes = one["channels"]
                markdown.row(name, NAMES[method], *(f"{plane['flux']:.4f}" for plane in planes),
                             *(f"{plane['rms']:.2%}" for plane in planes), f"{one['cpu_s']:.0f}",
                             f"{one['gb']:.1f}")


def _index(rms: float) -> str:
    """Of an image that goes through 0 it is any number."""
    return f"{rms:.3f}" if rms < 10 else "> 10"


if __name__ == "__main__":
    main()
