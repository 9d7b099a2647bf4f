"""Errors of bins of the uv profile, and the advice on a cut, in realisations of the paper's types of data.

    python scripts/measure_profile.py --types 1,8 --sets 6 --thin 10
    python scripts/measure_profile.py --types 8 --sets 6 --thin 10 --sequential
    python scripts/measure_profile.py --types 5 --sets 6 --thin 5 [--depth 10e-6]

Each set is simulated, cleaned and subtracted as by `uvstack experiment lindroos`, then stacked at its
targets without a uv cut. Printed are the rms over bins and sets of (bin − true flux)/error, with the
error by the scatter of positions and by that of the visibilities, and the cuts advised, in m.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from typing import Any

import numpy as np

from simulate.experiment import realisation
from simulate.experiment.image_side import coordinates
from simulate.experiment.maps import PB_CUTOFF
from simulate.experiment.settings import ALMA, Settings, simulation
from uvstack.sky.positions import positions_from_coord
from uvstack.stacking.task import stack


def _one_after_the_other(settings: Settings, number: int, seed: int) -> dict[str, Any]:
    """The simulation of a type with each pointing observed at once, not in turns."""
    given = simulation(settings, number, seed)
    times = round(given["duration"] / given["integration"])
    pointings = replace(given["pointings"], dwell=int(times) // len(given["pointings"]))
    return given | {"pointings": pointings}


def _judged(found: realisation.ResidualSet) -> dict[str, Any]:
    """Pulls of the bins by either error, and the advice."""
    targets, alma = found.targets, found.number in ALMA
    weight = None if alma else found.weight
    listed = positions_from_coord(coordinates(targets.ra, targets.dec), weight)
    result = stack(found.ms, listed, column=found.column, primary_beam=found.primary_beam,
                   weights="primary-beam" if alma else "list", pb_cutoff=PB_CUTOFF, stamp_size=8,
                   by_position=True)
    truth = np.average(targets.flux, weights=weight)
    profile = result.uv_profile(15 if alma else 30)
    off = profile["re"].value - truth
    return {"positions": (off / profile["re_error"].value).tolist(),
            "scatter": (off / profile["re_scatter"].value).tolist(), "cut": result.suggest_uvmin()}


def main() -> None:
    """Print a line for each type."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", default="1,8")
    parser.add_argument("--sets", type=int, default=6)
    parser.add_argument("--thin", type=int, default=10)
    parser.add_argument("--field", type=float, default=1.0)
    parser.add_argument("--depth", type=float, help="Threshold of CLEAN, Jy/beam.")
    parser.add_argument("--sequential", action="store_true")
    options = parser.parse_args()
    if options.sequential:
        realisation.simulation = _one_after_the_other
    for number in map(int, options.types.split(",")):
        settings = Settings(thin=options.thin, field=options.field, null_lists=2,
                            weightings=("natural",))
        if options.depth is not None:
            how = replace(settings.imaging(number), threshold=options.depth, cycles=6)
            settings = replace(settings, imagings=((number, how),))
        found = []
        for index in range(options.sets):
            with tempfile.TemporaryDirectory() as scratch:
                made = realisation.realise(settings, number, index, scratch, further=_judged)
            found.append(made["weightings"]["natural"]["further"])
        rms = [np.sqrt(np.nanmean(np.square(np.array([one[name] for one in found], float))))
               for name in ("positions", "scatter")]
        cuts = [None if one["cut"] is None else round(one["cut"]) for one in found]
        print(f"type {number}: pulls {rms[0]:.2f} by positions, {rms[1]:.2f} by scatter; cuts {cuts}",
              flush=True)


if __name__ == "__main__":
    main()
