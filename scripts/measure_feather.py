"""Feathering beside CASA's: error against the closed form of Gaussians, and processor time.

    python scripts/measure_feather.py [--size 1024]

Prints a table. Each program runs once before it is timed; times are user + system, median of three.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "joint"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="pixels")
    size = parser.parse_args().size
    with tempfile.TemporaryDirectory() as folder:
        here = Path.cwd()
        os.chdir(folder)
        _measure(size)
        os.chdir(here)  # CASA ends in its folder


def _measure(size: int) -> None:
    import astropy
    import casatasks
    import gaussian_sky as sky
    import scipy

    import uvstack

    grid = sky.Grid((size, size), 1.0)
    at = grid.offsets()
    sky.write("high.fits", sky.high_plane(at), grid, sky.HIGH, frequency=sky.FREQUENCY)
    sky.write("low.fits", sky.low_plane(at), grid, sky.LOW, frequency=sky.FREQUENCY)
    coarse = sky.Grid((size // 6, size // 6), 8.0)
    sky.write("coarse.fits", sky.low_plane(coarse.offsets()), coarse, sky.LOW,
              frequency=sky.FREQUENCY)
    want = sky.feathered_plane(at)
    print(f"uvstack {uvstack.__version__}, casatasks {casatasks.version_string()}, scipy "
          f"{scipy.__version__}, astropy {astropy.__version__}; {size} × {size} pixels\n")
    print("| | largest error, of the peak | rms error | flux, of 24 Jy | CPU s |\n|---|---|---|---|---|")
    for name, low in (("one grid", "low.fits"), ("dish of 8″ pixels", "coarse.fits")):
        _row(f"uvstack, {name}", lambda low=low: uvstack.feather("high.fits", low).image[0], want)
        _row(f"CASA, {name}", lambda low=low: sky.feather_of_casa("high.fits", low), want)
    _row("uvstack, a smaller dish", lambda: uvstack.feather(
        "high.fits", "low.fits", dish_diameter=sky.diameter(80.0)).image[0], None)
    _row("CASA, a smaller dish", lambda: sky.feather_of_casa(
        "high.fits", "low.fits", effdishdiam=1.22 * sky.diameter(80.0)), None)


def _row(name: str, run, want) -> None:
    import gaussian_sky as sky

    image, times = run(), []
    for _ in range(3):
        begin = os.times()
        run()
        end = os.times()
        times.append(end.user - begin.user + end.system - begin.system)
    flux = image.sum() / sky.area(sky.matrix(*sky.HIGH))
    errors = ("", "") if want is None else tuple(
        f"{value:.1e}" for value in (np.abs(image - want).max() / want.max(),
                                     np.sqrt(np.mean((image - want) ** 2)) / want.max()))
    print(f"| {name} | {errors[0]} | {errors[1]} | {flux:.3f} | {np.median(times):.2f} |")


if __name__ == "__main__":
    main()
