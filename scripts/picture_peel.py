"""Fluxes before and after peeling, of a run of bench_peel.py: in the manner of Figures 5 and 6 of VLASS memo 23.

    python scripts/picture_peel.py FOLDER CASE OUT.png [--array vla.b]

FOLDER and CASE are those of the run. Fluxes of the other sources after self-calibration over those of the first image,
after peeling over those after self-calibration, and after peeling over those of data that never had the bright source.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from bench_peel import ARRAYS, fluxes_of, in_percent, skies

IMAGES = {"first": "first image", "selfcal": "self-calibrated", "peeled": "peeled", "floor": "never there"}
PAIRS = (("first", "selfcal"), ("selfcal", "peeled"), ("floor", "peeled"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("case")
    parser.add_argument("out", type=Path)
    parser.add_argument("--array", choices=ARRAYS, default="vla.c")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    *_, others = skies(asked.case, asked.seed, asked.array)
    paths = {name: asked.folder / asked.case / f"{name}-image.fits" for name in IMAGES}
    paths["floor"] = asked.folder / "floor-image.fits"
    fluxes = {name: fluxes_of(path, asked.array, others) for name, path in paths.items()}
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), constrained_layout=True)
    for axis, (before, after) in zip(axes, PAIRS, strict=True):
        compare(axis, *fluxes[before], *fluxes[after])
        axis.set(xlabel=f"{IMAGES[before]}: flux (mJy)", ylabel=f"{IMAGES[after]}: flux (mJy)")
    figure.savefig(asked.out, dpi=90)


def compare(axis, before, before_error, after, after_error) -> None:
    """One against the other, by logarithms, with how far their ratio is from 1."""
    good = (before > 0) & (after > 0)
    axis.errorbar(1e3 * before[good], 1e3 * after[good], xerr=1e3 * before_error[good], yerr=1e3 * after_error[good],
                  fmt=".", lw=0.7)
    ends = 1e3 * np.array([before[good].min(), before[good].max()])
    axis.plot(ends, ends, color="black", lw=0.7)
    axis.set(xscale="log", yscale="log", title=f"ratio − 1: {in_percent(after[good] / before[good])} %")


if __name__ == "__main__":
    main()
