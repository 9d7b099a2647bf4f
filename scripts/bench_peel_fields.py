"""Peeling of surveys on the fly: many fields, each with few integrations, in many windows.

The VLA's D array, rows of pointings 1.5′ apart, two integrations of 0.45 s each, windows of two channels
between 2 and 4 GHz, a source of 3 Jy beside the first row with gains of its own towards it, 20 others.
By default a stand-in says that all gains are 1, so that what is measured is this program and not
QuartiCal; `--real` runs QuartiCal. `--no-images` puts an image of the source alone in the place of all
images, so that what is measured is the rest. For each stage: wall and processor seconds, and the peak of memory
of this process until its end.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from markdown import head, row

import peel
import simulate
from peel import field_files, plan_files, work_files
from peel.quartical import Quartical, kept_gains
from simulate import corruption, pointings
from uvstack.io.casa import open_table
from uvstack.io.fits import sin_wcs, write_image
from uvstack.sky.beam import Beam
from uvstack.sky.components import components, concatenate

ARCMIN = np.pi / 180 / 60
RA, DEC = np.deg2rad([202.8, 30.5])
BEAM = "airy:24.5m"


def offset(east, north):
    """RA and Dec of offsets in arcmin."""
    return RA + np.asarray(east) * ARCMIN / np.cos(DEC), DEC + np.asarray(north) * ARCMIN


def observe(path: Path, n_fields: int, n_windows: int, rows: int) -> tuple[float, float]:
    """The set; RA and Dec of the bright source."""
    from casatasks import concat

    per_row = n_fields // rows
    east, north = (one.ravel() for one in np.meshgrid(1.5 * (np.arange(per_row) - per_row / 2),
                                                      7.2 * (np.arange(rows) - rows / 2)))
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-0.5, 0.5, (2, 20)) * np.array([[1.5 * per_row], [7.2 * rows]])
    bright = offset(0.0, 7.2 * (rows - 1 - rows / 2) + 8.0)
    sky = concatenate([components([bright[0]], [bright[1]], [3.0], spectral_index=-0.5,
                                  reference_frequency=3e9, names=["bright"]),
                       components(*offset(x, y), rng.uniform(0.02, 0.1, 20), spectral_index=-0.7,
                                  reference_frequency=3e9)])
    parts = []
    for number, frequency in enumerate(np.linspace(2e9, 4e9, n_windows)):
        parts.append(str(path.with_name(f"part-{number}.ms")))
        simulate.observe(
            array="vla.d", sky=sky, seed=1, out=parts[-1], overwrite=True, primary_beam=BEAM,
            pointings=pointings.at_positions(*offset(east, north), dwell=2),
            frequency=(frequency + 32e6 * np.array([-1, 1])) * u.Hz, integration=0.45 * u.s,
            duration=0.9 * len(east) * u.s, noise=0.05 * u.Jy,
            corruptions=[corruption.DirectionDependentGains(["bright"], 0.05, 0.17, np.inf)])
    shutil.rmtree(path, ignore_errors=True)
    concat(vis=parts, concatvis=str(path), copypointing=False)
    for part in parts:
        shutil.rmtree(part)
    return bright


def all_one(self, recipe, folder, told=None):
    """In the place of `Quartical.solve`: gains of 1."""
    kept = kept_gains(Path(folder), recipe)
    kept.parent.mkdir(exist_ok=True)
    found = {}
    for visit in recipe.visits:
        for scan in visit.scans:
            for term in recipe.options["solver"]["terms"]:
                depends = recipe.options[term].get("direction_dependent")
                shape = 1, 1, 27, len(recipe.directions) + 1 if depends else 1, 2
                for kind, values in (("gains", np.ones(shape, complex)),
                                     ("gain_flags", np.zeros(shape[:4], np.int8)),
                                     ("jhj", np.full(shape, 1e9)), ("conv_perc", np.ones((1, 1)))):
                    found[f"{term}|{visit.field.id}|{visit.window.id}|{scan}|{kind}"] = values
    np.savez(kept, **found)
    return kept


def source_alone(frame, structure, selection, column, out, **options):
    """In the place of `make_image`: noise and the bright source, and a model without anything."""
    path = out.with_name(f"{out.name}-image.fits")
    if field_files.is_made(out):
        return path
    shape = frame.size, frame.size
    wcs = sin_wcs(*frame.phase_centre, shape, frame.cell)
    # Its centre, as `observe` has it, from the region.
    at = np.array((out.parents[out.parent.name == "steps"].parent / "bright.crtf").read_text()
                  .split("[[")[1].split("]")[0].replace("deg", "").split(","), float)
    x, y = wcs.all_world2pix(*at, 0)
    rows, columns = np.indices(shape)
    image = np.random.default_rng(1).normal(0, 1e-3, shape)
    image += np.exp(-4 * np.log(2) * ((columns - x) ** 2 + (rows - y) ** 2) / 25)
    beam = Beam(5 * frame.cell, 5 * frame.cell, 0.0)
    for name, data in (("image", image), ("model", 0 * image), ("model-tt1", 0 * image)):
        write_image(out.with_name(f"{out.name}-{name}.fits"), data, wcs, beams=beam, frequency=3e9,
                    unit="Jy/beam" if name == "image" else "Jy/pixel")
    out.with_name(f"{out.name}.json").write_text("{}")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--size", type=int, default=896)
    parser.add_argument("--no-images", action="store_true")
    parser.add_argument("--real", action="store_true", help="run QuartiCal")
    parser.add_argument("--folder", type=Path, required=True, help="for the set and the run")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"{options.fields}-{options.windows}.ms"
    regions = options.folder / "bright.crtf"
    if not path.exists():
        bright = observe(path, options.fields, options.windows, options.rows)
        regions.write_text("#CRTFv0\ncircle [[{}deg, {}deg], 90arcsec]\n".format(*np.rad2deg(bright)))
    if not options.real:
        Quartical.solve = all_one  # type: ignore[method-assign]
    with open_table(str(path)) as table:
        print(f"{options.fields} fields, {options.windows} windows, {table.n_rows} rows, load "
              f"{os.getloadavg()[0]:.1f}\n")
    if options.no_images:
        for module in (field_files, plan_files, work_files):
            module.make_image = source_alone  # type: ignore[attr-defined]
    stages: dict[str, list[float]] = {}
    start = time.perf_counter()

    before = ["", start, sum(os.times()[:4])]

    def tell(stage: str, done: float) -> None:
        """What has passed since the last call belongs to the stage that was told then."""
        now, cpu = time.perf_counter(), sum(os.times()[:4])
        told = stages.setdefault(before[0] or stage, [0.0, 0.0, 0.0])
        told[0] += now - before[1]
        told[1] += cpu - before[2]
        told[2] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        if before[0] != stage:
            print(f"{before[0]}: {told[0]:.0f} s, {told[1]:.0f} CPU s, {told[2]:.2f} GB", file=sys.stderr)
        before[:] = [stage, now, cpu]

    shutil.rmtree(options.folder / "out", ignore_errors=True)
    result = peel.peel(path, regions=regions, out=options.folder / "out", primary_beam=BEAM,
                       size=options.size, cell=7 * ARCMIN / 60, rounds=options.rounds,
                       workers=options.workers, threads=options.threads, overwrite=True, progress=tell)
    tell("the end", 1.0)
    head("Peeling many fields", "stage", "wall s", "CPU s", "peak GB")
    for name, (wall, cpu, peak) in stages.items():
        row(name, f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.2f}")
    row("all", f"{time.perf_counter() - start:.0f}", f"{sum(os.times()[:4]):.0f}",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}")
    print(result.table, file=sys.stderr)
    n_recipes = len(list((options.folder / "out" / "gains").glob("*.npz")))
    print(f"\n{n_recipes} recipes, {len(result.fields)} rows of fields")


if __name__ == "__main__":
    main()
