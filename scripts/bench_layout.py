"""Processor time of stacking from set to set and of simulating, by how the columns of the written set are laid out in casacore.

Cells of fixed shape are written fastest, but CASA's concat cuts what does not fit them. For cells
of any shape casacore notes the shape of each row, once for all columns in one manager: DATA with
FLAG and WEIGHT with SIGMA are how sets are written. Data set type 6 of Lindroos et al. (2015) at
--scale; medians of repeats after one run that compiles; layouts take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markdown import head, row

import uvstack
from simulate.lindroos import recipe
from simulate.task import observe
from uvstack.io import ms_columns

SHAPE = (10, 2)
LAYOUTS: dict[str, dict[str, str]] = {"fixed": {}, "alone": {}, "in twos": ms_columns._SHARED}
made_columns = ms_columns.main_columns


def columns_of(layout: str) -> Callable[..., dict]:
    """What takes the place of `main_columns`."""
    def columns(*args: Any) -> dict:
        ms_columns._SHARED = LAYOUTS[layout]
        made = made_columns(*args)
        for column in made.values() if layout == "fixed" else ():
            if column["dataManagerType"] == "TiledShapeStMan" and column["ndim"] < 3:
                column |= {"dataManagerType": "TiledColumnStMan",
                           "shape": list(SHAPE[2 - column["ndim"]:]), "option": 5, "_c_order": True}
        return made
    return columns


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=0.2)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ms, targets, out = Path(name, "s.ms"), Path(name, "s-targets.csv"), Path(name, "out.ms")

        def simulated(path: Path = out) -> None:
            observe(out=path, overwrite=True, seed=1, **recipe(6, 1, given.scale).settings)

        def stacked() -> None:
            uvstack.stack(ms, targets, out=out, overwrite=True)

        simulated(ms)
        stacked()
        head("Processor time, s", "layout of the written set", "stack, set to set", "of fixed",
             "simulate", "of fixed")
        seconds: dict[tuple[str, Any], list[float]] = {}
        for _ in range(given.repeats):
            for layout in LAYOUTS:
                ms_columns.main_columns = columns_of(layout)
                for work in (stacked, simulated):
                    start = time.process_time()
                    work()
                    seconds.setdefault((layout, work), []).append(time.process_time() - start)
        found = {key: statistics.median(values) for key, values in seconds.items()}
        for layout in LAYOUTS:
            row(layout,
                *(text for work in (stacked, simulated)
                  for text in (f"{found[layout, work]:.2f}",
                               f"{found[layout, work] / found['fixed', work]:.2f}")))


if __name__ == "__main__":
    main()
