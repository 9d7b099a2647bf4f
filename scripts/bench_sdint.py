"""Joint deconvolution by uvstack and by CASA's sdintimaging on the same files: errors, processor time, memory.

    python scripts/bench_sdint.py FOLDER [--cases dense,sparse,mosaic] [--ours | --casa]

The simulations of Rau, Naik & Braun (2019) with the settings of their section 6 (see
sdint_cases.py). Each run is a process of its own with one thread; what is in FOLDER is not made
again. CASA takes 190 s and more a run. It masks what is below its limit of the primary beam also
where there is none: pblimit is −0.1 for single pointings. The mosaic's primary beam is given to it
as a table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import markdown
import numpy as np
from sdint_cases import (
    CYCLE,
    ITERATIONS,
    SCALES,
    cpu_seconds,
    errors_of,
    files_of,
    mask_of,
)


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", default="dense,sparse,mosaic")
    parser.add_argument("--ours", action="store_true", help="run uvstack alone")
    parser.add_argument("--casa", action="store_true", help="run CASA alone")
    parser.add_argument("--table", action="store_true", help="of what is there, nothing is run")
    parser.add_argument("--one", help="a case, by CASA in this process")
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    if asked.one:
        casa(folder, asked.one)
        return
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name in () if asked.table else asked.cases.split(","):
        if not asked.casa:
            script = Path(__file__).with_name("measure_sdint.py")
            subprocess.run([sys.executable, script, folder, "--cases", name, "--methods", "joint,joint-chosen"],
                           check=False, env=environment)
        if not asked.ours and not (folder / f"{name}-casa-errors.json").exists():
            subprocess.run([sys.executable, __file__, folder, "--one", name], check=False,
                           env=environment)
    _table(folder, asked.cases.split(","))


def _table(folder: Path, cases: list[str]) -> None:
    markdown.head("uvstack and CASA", "case", "program", "flux ratio", "intensity rms",
                  "alpha rms", "above a tenth: rms", "alpha rms", "CPU s", "GB")
    for name in cases:
        for program, method in (("uvstack", "joint"), ("uvstack, scales and end chosen", "joint-chosen"), ("CASA", "casa")):
            path = folder / f"{name}-{method}-errors.json"
            if path.exists():
                one = json.loads(path.read_text())
                markdown.row(name, program, f"{one['flux']:.4f}", f"{one['rms']:.2%}",
                             f"{one['alpha']:.4f}", f"{one['rms_faint']:.2%}",
                             f"{one['alpha_faint']:.4f}", f"{one['cpu_s']:.0f}",
                             f"{one['gb']:.2f}")


def casa(folder: Path, name: str) -> None:
    """CASA's sdintimaging of a case; its errors as JSON."""
    from casatasks import importfits, imtrans, sdintimaging
    from casatools import image

    from simulate.rau import CASES
    from uvstack.sky.beam import Beam

    ms, dish = files_of(folder, name)
    mask = mask_of(folder, name)
    work = folder / f"{name}-casa"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    os.chdir(work)
    importfits(str(dish), "dish.image")
    imtrans("dish.image", "dish-last.image", order="0132")  # the channel last, as it wants
    importfits(str(mask), "mask.image")
    shutil.copytree(ms, "in.ms")
    begin = cpu_seconds()
    sdintimaging(usedata="sdint", sdimage="dish-last.image", sdpsf="", sdgain=1.0, dishdia=100.0,
                 vis="in.ms", datacolumn="data", imagename="joint", imsize=CASES[name].size,
                 cell="9arcsec", specmode="mfs", reffreq="1.5GHz", nchan=3, start="1.0GHz",
                 width="0.5GHz", interpolation="nearest", deconvolver="mtmfs", nterms=2,
                 scales=list(SCALES), niter=ITERATIONS, cycleniter=CYCLE, threshold=0.0,
                 usemask="user", mask="mask.image", weighting="natural", **_beam_of(name))
    cpu = cpu_seconds() - begin
    tool, terms = image(), []
    for term in (0, 1):
        tool.open(f"joint.joint.multiterm.image.tt{term}")
        terms.append(tool.getchunk(dropdeg=True).T)
        axes = tool.restoringbeam()
        tool.close()
    if CASES[name].primary_beam != "constant":
        tool.open("joint.joint.multiterm.pb.tt0")
        power = tool.getchunk(dropdeg=True).T
        tool.close()
        terms = [np.where(power > 0.2, one / np.maximum(power, 0.2), np.nan) for one in terms]
    beam = Beam(*np.deg2rad([axes["major"]["value"] / 3600, axes["minor"]["value"] / 3600,
                             axes["positionangle"]["value"]]))
    found: dict[str, Any] = {"case": name, "method": "casa", "cpu_s": cpu,
                             "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
                             **errors_of(terms[0], terms[1], beam)}
    (folder / f"{name}-casa-errors.json").write_text(json.dumps(found, indent=1))


def _beam_of(name: str) -> dict[str, Any]:
    from casatools import vpmanager

    from simulate.rau import CASES

    if CASES[name].primary_beam == "constant":
        return {"pblimit": -0.1}
    beams = vpmanager()
    beams.reset()
    beams.setpbairy(telescope="VLA", dishdiam="25m", blockagediam="0m", maxrad="3deg",
                    reffreq="1GHz")
    beams.saveastable("beams.table")
    return {"gridder": "mosaic", "vptable": "beams.table", "pblimit": 0.1,
            "phasecenter": "J2000 20h00m00s 40d30m00s"}


if __name__ == "__main__":
    main()
