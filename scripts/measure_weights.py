"""How far Briggs weights of ours lie from tclean's of a mosaic and from WSClean's: fitted beam, and noise over that of natural weights.

    .venv/bin/python scripts/measure_weights.py [FOLDER of the data]

Mosaic: one density for all pointings, as here, and one for each (tclean's mosweight=True). One
pointing: cells of the image, as here, and of an image 1.2 times as wide (WSClean's padding).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from uvstack.imaging.weighting import Weighting, density
from uvstack.io.casa import open_table
from uvstack.pixels.grid import centred_grid
from uvstack.pixels.psf import fit_beam
from uvstack.uv.dirty import dirty_image

ARCSEC = np.pi / 648000
DATA = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def read(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(u, v, w), frequency, weight (row, chan) and field of the cross-correlations of the first data description."""
    with open_table(DATA / name) as table:
        uvw, weight, field, flag, description, one, other = (table.read(column) for column in (
            "UVW", "WEIGHT", "FIELD_ID", "FLAG", "DATA_DESC_ID", "ANTENNA1", "ANTENNA2"))
    with open_table(DATA / name / "SPECTRAL_WINDOW") as table:
        frequency = table.read("CHAN_FREQ")[0]
    good = (one != other) & (description == description[0]) & ~flag.all(axis=(1, 2))
    return uvw[good], frequency, np.repeat(weight[good].mean(axis=1)[:, None], frequency.size,
                                           1).astype(np.float32), field[good]


def quality(uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, imaging: np.ndarray,
            cell: float) -> str:
    """Beam and noise of an image with weights `imaging` of data whose 1/σ² is `weight`."""
    psf = dirty_image(uvw, frequency, np.ones(imaging.shape, np.complex64), imaging, 512, cell)
    beam = fit_beam(psf / psf.max(), cell)
    used, sums = weight > 0, imaging.astype(np.float64)
    noise = np.sqrt((sums[used] ** 2 / weight[used]).sum()
                    * weight.sum(dtype=np.float64)) / sums.sum()
    return f"{beam.fwhm_major / ARCSEC:.4f}″ × {beam.fwhm_minor / ARCSEC:.4f}″, {noise:.3f}"


def main() -> None:
    """Print both tables."""
    for robust in (-2.0, 0.0, 0.5):
        kind, cell = Weighting("briggs", robust), 0.18 * ARCSEC
        uvw, frequency, weight, field = read("antennae_north_co32.ms")
        grid = centred_grid(0.0, 0.0, 512, cell)
        one = kind.prepared(grid, density(uvw, frequency, weight, grid))(uvw, frequency, weight)
        each = np.zeros_like(one)
        for number in np.unique(field):
            here = field == number
            own = density(uvw[here], frequency, weight[here], grid)
            each[here] = kind.prepared(grid, own)(uvw[here], frequency, weight[here])
        found = [quality(uvw, frequency, weight, imaging, cell) for imaging in (one, each)]
        uvw, frequency, weight, _ = read("stacker_testdata.ms")
        cell = 0.25 * ARCSEC
        for size in (1000, 1200):
            grid = centred_grid(0.0, 0.0, size, cell)
            imaging = kind.prepared(grid,
                                    density(uvw, frequency, weight, grid))(uvw, frequency, weight)
            found.append(quality(uvw, frequency, weight, imaging, cell))
        print(f"| {robust:g} | " + " | ".join(found) + " |")


if __name__ == "__main__":
    main()
