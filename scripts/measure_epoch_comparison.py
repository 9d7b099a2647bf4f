"""Flux scales and offsets that `uvstack.epochs.compare` finds in simulated epochs, against the truth, over many seeds.

    python scripts/measure_epoch_comparison.py [--seeds 40]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from markdown import head, row

import uvstack
from simulate.epoch_images import epoch_image
from uvstack.sky.components import components

ARCSEC = np.pi / 648000
CENTRE, BEAM = (2.6, 0.3), (4.0 * ARCSEC, 2.6 * ARCSEC, 0.6)
SCALE, OFFSET = 1.06, (0.31, -0.18)


def epoch(folder, name, seed, noise, scale, offset):
    """An image of 200 sources on a grid, a third of them resolved."""
    rng = np.random.default_rng(seed)
    x, y = (one.ravel()[:200] * 30 * ARCSEC + rng.uniform(-5, 5, 200) * ARCSEC
            for one in np.meshgrid(*2 * (np.arange(15) - 7.0,)))
    size = np.where(rng.uniform(size=200) < 0.33, 3 * ARCSEC, 0.0)
    sky = components(CENTRE[0] + x / np.cos(CENTRE[1]), CENTRE[1] + y,
                     10 ** rng.uniform(-3.2, -1.5, 200), fwhm_major=size, fwhm_minor=size,
                     shape=np.where(size > 0, "gaussian", "point"))
    made = epoch_image(sky, frequency=3e9, beam=BEAM, centre=CENTRE, size=540, cell=ARCSEC,
                       noise=noise, rng=np.random.default_rng([seed, len(name)]),
                       flux_scale=scale, offset=tuple(one * ARCSEC for one in offset))
    return made.write(Path(folder) / f"{name}.fits", overwrite=True)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    found: dict[str, list[tuple[float, float]]] = {}
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            deep = epoch(folder, "deep", seed, 0.6e-4, 1.0, (0.0, 0.0))
            one = epoch(folder, "epoch", seed, 1.2e-4, SCALE, OFFSET)
            begin = time.process_time()
            result = uvstack.epochs.compare(deep, [one])
            seconds += time.process_time() - begin
            for measure in result.measures:
                one = result.row(1, measure)
                for name in ("flux_scale", "median_ratio"):
                    found.setdefault(f"{name}, {measure}", []).append(
                        (one[name] * SCALE - 1, one[f"{name}_error"] * SCALE))
            for axis, truth in zip(("east", "north"), OFFSET, strict=True):
                found.setdefault(f"offset {axis}, ″", []).append(
                    (one[f"offset_{axis}"].value - truth, one[f"offset_{axis}_error"].value))
    head("Flux scales and offsets of simulated epochs", "found less true", "mean", "scatter",
         "its error says", "pulls")
    for name, values in found.items():
        difference, error = np.array(values).T
        row(name, f"{difference.mean():+.4f} ± {difference.std() / np.sqrt(seeds):.4f}",
            f"{difference.std():.4f}", f"{np.median(error):.4f}",
            f"{np.std(difference / error):.2f}")
    print(f"\n{seeds} seeds, uvstack {uvstack.__version__}, numpy {np.__version__}; "
          f"{seconds / seeds:.2f} CPU s for both images of 540² pixels and 200 sources")


if __name__ == "__main__":
    main()
