"""How fast the Monte Carlo is: 100 and 1000 lists of 900 positions on data set type 6 of Lindroos et al. (2015), against one stack.

Prints a table, for no primary beam and that of the VLA, of seconds (median of repeats after one run
that compiles), in parts of one stack of the same data without an output set, with processor time
beside since other work on the machine lengthens the one and hardly the other, and of

- ours: `montecarlo` as it is, and with fake sources whose sidelobes at each other are left out;
- exact: each list stacked directly, in one pass (4 lists, scaled);
- peer: `stack` once a list, as in the paper (one stack, scaled).

A stack without an output set makes a stamp on the way, which takes longer than its sums: "without
stamp" is the time of a list in the exact way, reading included in a fifth. The last columns are the
largest and rms difference of single fluxes from the exact ones in parts of the noise, over 4 lists,
and the peak of memory so far. Full size by default (a set of 3 GB is made in --folder if it is not
there); --scale 0.02 takes a minute.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from markdown import head, row

import uvstack
from uvstack.monte_carlo.task import montecarlo

FEW = 4


def data(folder: Path, scale: float) -> tuple[Path, Path]:
    """The set and its targets, simulated where they are missing."""
    from simulate.lindroos import recipe
    from simulate.task import observe

    path = folder / f"t6-{scale:g}.ms"
    if not path.exists():
        observe(out=path, seed=1, **recipe(6, 1, scale).settings)
    return path, folder / f"t6-{scale:g}-targets.csv"


def seconds(call: Callable[[], Any], repeats: int) -> tuple[float, float, Any]:
    """Median wall and processor time, and the last result."""
    wall, processor, result = [], [], None
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        result = call()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_cpu)
    return statistics.median(wall), statistics.median(processor), result


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("."))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--ms", type=Path,
                        help="A set of type 6 that is there already, with --targets.")
    parser.add_argument("--targets", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--realisations", type=int, nargs="+", default=[100, 1000])
    given = parser.parse_args()
    ms, targets = (given.ms, given.targets) if given.ms else data(given.folder, given.scale)
    print(f"uvstack {uvstack.__version__}, ducc0 {version('ducc0')}, numba {version('numba')}, "
          f"numpy {np.__version__}, {os.cpu_count()} processors")
    for beam in ("constant", "vla"):
        options: dict[str, Any] = {"primary_beam": beam, "seed": 1}
        montecarlo(ms, targets, realisations=2, exact=False, **options)
        montecarlo(ms, targets, realisations=2, exact=True, **options)
        head(f"primary beam {beam}", "what", "lists", "wall, s", "processor, s", "stacks (wall)",
             "stacks (processor)", "stacks without stamp (wall)", "largest error", "rms error",
             "GB")
        wall, processor, _ = seconds(lambda beam=beam: uvstack.stack(ms, targets,
                                                                     primary_beam=beam),
                                     given.repeats)

        exact_wall, exact_processor, exact = seconds(lambda options=options: montecarlo(
                                                         ms, targets, realisations=FEW, exact=True,
                                                         **options), given.repeats)

        def line(what: str, lists: int, times: tuple[float, float],
                 errors: tuple[object, object] = ("", ""),
                 one: tuple[float, float, float] = (wall, processor,
                                                    exact_wall / (FEW + 1))) -> None:
            row(what, lists, f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[0] / one[0]:.2f}",
                f"{times[1] / one[1]:.2f}", f"{times[0] / one[2]:.2f}", *errors,
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}")

        line("stack", 1, (wall, processor))
        few = montecarlo(ms, targets, realisations=FEW, exact=False, **options)
        for n in given.realisations:
            *times, result = seconds(lambda n=n,
                                     options=options: montecarlo(ms, targets, realisations=n,
                                                                 **options), given.repeats)
            difference = (few.uv.fluxes - exact.uv.fluxes) / result.noise
            line("ours", n, (times[0], times[1]),
                 (f"{np.abs(difference).max():.1e}", f"{np.sqrt(np.mean(difference**2)):.1e}"))
        n = given.realisations[0]
        *times, _ = seconds(lambda n=n, options=options: montecarlo(
            ms, targets, realisations=n, fake_flux="match", fake_response="own", **options), 1)
        line("ours, fake sources, own response", n, (times[0], times[1]))
        line("exact, scaled", n, (exact_wall / (FEW + 1) * n, exact_processor / (FEW + 1) * n))
        line("peer: stack once a list, scaled", n, (wall * n, processor * n))


if __name__ == "__main__":
    main()
