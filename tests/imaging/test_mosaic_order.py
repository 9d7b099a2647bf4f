"""Mosaics whose pointings were observed in turns or one after the other: the model and what is stacked after it.

Observed one after the other, each pointing has a short arc of (u, v), whose sidelobes the psf of
all together does not have.
"""

from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from factories import ARCSEC
from simulate.lindroos import CENTRE, recipe
from simulate.pointings import hexagonal_mosaic
from simulate.task import observe
from uvstack.deconvolution.major_cycle import sidelobe_level
from uvstack.imaging.task import image
from uvstack.stacking.task import stack
from uvstack.subtraction.sky_model import ImageSky
from uvstack.subtraction.task import subtract

pytest.importorskip("casacore", reason="python-casacore is not installed")

#: Where the response is lower there may be no component.
CUTOFF = 0.2


@pytest.fixture(scope="module", params=["in turns", "one after the other"])
def mosaic(request, tmp_path_factory):
    """The paper's type 8 with 2 channels and 4 integrations of 90 s on each of 23 pointings, its sky and CLEAN.

    The noise is that of its maps, 0.4 mJy/beam.
    """
    settings = recipe(8, seed=2).settings
    dwell = 1 if request.param == "in turns" else 4
    pointings = hexagonal_mosaic(*CENTRE, 80 * ARCSEC, 80 * ARCSEC, 20 * ARCSEC, dwell=dwell)
    made = observe(**(settings | {"pointings": pointings, "integration": 90.0, "seed": 2,
                                  "duration": 90.0 * 4 * len(pointings),
                                  "frequency": 230e9 + 2e9 * (np.arange(2) - 0.5),
                                  "width": np.full(2, 2e9),
                                  "noise": replace(settings["noise"], factor=4.5)}),
                   out=tmp_path_factory.mktemp("mosaic") / "m.ms")
    cleaned = image(made.ms, size=400, cell=0.4 * ARCSEC, weighting="natural", threshold=2e-3,
                    most_cycles=8, primary_beam="alma", pb_cutoff=CUTOFF, phase_centre=CENTRE)
    return made.ms, settings["sky"], cleaned


def test_the_model_is_that_of_the_sources_whatever_the_order(mosaic):
    _, sky, cleaned = mosaic
    bright = sky.subset(~sky.target)
    row, column = np.nonzero(cleaned.model[0])
    assert cleaned.response[row, column].min() >= CUTOFF
    assert cleaned.model[0].sum() == pytest.approx(bright.flux.sum(), rel=0.05)
    assert cleaned.stop_reason == "threshold reached"


def test_targets_stack_to_their_flux_whatever_the_order(mosaic):
    ms, sky, cleaned = mosaic
    subtract(ms, ImageSky(cleaned.model, cleaned.grid.geometry), primary_beam="alma", into="REST")
    targets = sky.subset(sky.target)
    found = stack(ms, SkyCoord(targets.ra, targets.dec, unit="rad", frame="fk5"), column="REST",
                  primary_beam="alma", weights="primary-beam", pb_cutoff=CUTOFF)
    assert 0.04e-3 < found.flux_error_expected < 0.08e-3
    assert found.flux == pytest.approx(1e-3, abs=2 * found.flux_error_expected)


def test_the_worst_place_of_a_mosaic_sets_how_deep_a_cycle_goes(mosaic):
    *_, cleaned = mosaic
    first, second = cleaned.history[:2]
    depth = second.threshold / first.peak
    # Never below the sidelobes of the psf of all pointings; that of one alone has higher ones.
    assert depth > 0.99 * sidelobe_level(cleaned.psf)
