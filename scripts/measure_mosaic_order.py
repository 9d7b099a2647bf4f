"""A mosaic observed in turns and one pointing after the other: model of CLEAN, and the stack that is left.

    python scripts/measure_mosaic_order.py --seeds 1,2,3

The paper's type 8 with 2 channels and 4 integrations of 90 s on each of 23 pointings, with the noise of
its maps (0.4 mJy/beam), cleaned to 2 mJy. Printed are the flux of the model over that of the bright
sources, the least response at a component, and the stack of the 50 targets of 1 mJy with its thermal
error.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

from simulate.lindroos import CENTRE, recipe
from simulate.pointings import hexagonal_mosaic
from simulate.task import observe
from uvstack.constants import ARCMIN
from uvstack.errors import UvstackWarning
from uvstack.imaging.task import image
from uvstack.stacking.task import stack
from uvstack.subtraction.sky_model import ImageSky
from uvstack.subtraction.task import subtract

_ARCSEC = ARCMIN / 60


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3")
    warnings.simplefilter("ignore", UvstackWarning)
    for seed in map(int, parser.parse_args().seeds.split(",")):
        for order, dwell in (("in turns", 1), ("one after the other", 4)):
            with tempfile.TemporaryDirectory() as folder:
                print(f"seed {seed}, {order}: {_measured(seed, dwell, Path(folder))}", flush=True)


def _measured(seed: int, dwell: int, folder: Path) -> str:
    settings = recipe(8, seed=seed).settings
    pointings = hexagonal_mosaic(*CENTRE, 80 * _ARCSEC, 80 * _ARCSEC, 20 * _ARCSEC, dwell=dwell)
    ms = observe(**(settings | {"pointings": pointings, "integration": 90.0, "seed": seed,
                                "duration": 90.0 * 4 * len(pointings),
                                "frequency": 230e9 + 2e9 * (np.arange(2) - 0.5),
                                "width": np.full(2, 2e9),
                                "noise": replace(settings["noise"], factor=4.5)}),
                 out=folder / "m.ms").ms
    made = image(ms, size=400, cell=0.4 * _ARCSEC, weighting="natural", threshold=2e-3,
                 most_cycles=8, primary_beam="alma", phase_centre=CENTRE)
    assert made.response is not None
    subtract(ms, ImageSky(made.model, made.grid.geometry), primary_beam="alma")
    bright, targets = (settings["sky"].subset(settings["sky"].target == one)
                       for one in (False, True))
    found = stack(ms, SkyCoord(targets.ra, targets.dec, unit="rad", frame="fk5"),
                  column="RESIDUAL_DATA", primary_beam="alma", weights="primary-beam",
                  pb_cutoff=0.2)
    return (f"model {made.model[0].sum() / bright.flux.sum():.3f}, least response "
            f"{made.response[made.model[0] != 0].min():.3f}, stack {1e3 * found.flux:.3f} ± "
            f"{1e3 * found.flux_error_expected:.3f} mJy, {made.n_cycles} cycles")


if __name__ == "__main__":
    main()
