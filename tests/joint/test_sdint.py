"""Joint deconvolution on small simulated sets: sums of Gaussians that an interferometer resolves out."""

import numpy as np
import pytest

import uvstack
from simulate.single_dish import write_single_dish
from simulate.task import observe
from uvstack.sky.beam import Beam
from uvstack.sky.components import components

ARCMIN = np.pi / 180 / 60
CENTRE = np.deg2rad([300.0, 40.0])
NU = np.array([1.0e9, 1.5e9, 2.0e9])
#: 160 pixels of 15″ are 40′; the dish's beam is 10′ to 5′ wide.
CELL, SIZE = ARCMIN / 4, 160
#: Flux, FWHM (Jy, arcmin), offsets to the east and north (arcmin) and spectral index.
EXTENDED, POINT = (30.0, 10.0, 3.0, 2.0, 0.0), (1.0, 0.0, -7.0, -5.0, -1.0)
CLEAN = {"size": SIZE, "cell": CELL, "weighting": "natural", "scales": (0, 6, 12, 20, 30),
         "iterations": 500, "cycle_iterations": 100, "threshold_sigma": 0.0, "gain": 0.2}


def sky():
    flux, fwhm, east, north, index = np.array([EXTENDED, POINT]).T
    ra, dec = direction(east, north)
    return components(ra, dec, flux, reference_frequency=1.5e9, shape=["gaussian", "point"],
                      fwhm_major=fwhm * ARCMIN, spectral_index=index)


def direction(east, north):
    dec = CENTRE[1] + north * ARCMIN
    return CENTRE[0] + east * ARCMIN / np.cos(dec), dec


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Measurement set and dish's cube."""
    folder = tmp_path_factory.mktemp("sdint")
    observe(array="vla.d", frequency=NU, integration=300, duration=6 * 3600, sky=sky(),
            pointings=tuple(CENTRE), out=folder / "vla.ms")
    write_single_dish(sky(), out=folder / "dish.fits", frequency=1.5e9, bandwidth=1.5e9, channels=3,
                      dish_diameter=100.0, beam_factor=1.0, centre=tuple(CENTRE), size=200, cell=CELL)
    return folder / "vla.ms", folder / "dish.fits"


def truth(grid, beam):
    """The extended source in a beam, Jy/beam, and where it is bright and the point is not."""
    flux, fwhm, east, north, _ = EXTENDED
    l, m = np.meshgrid(grid.l - east * ARCMIN, grid.m - north * ARCMIN)
    wide = Beam(fwhm * ARCMIN, fwhm * ARCMIN, 0.0).convolved(beam)
    image = flux * beam.area(CELL) / wide.area(CELL) * wide.profile(l, m)
    far = np.hypot(*np.meshgrid(grid.l - POINT[2] * ARCMIN, grid.m - POINT[3] * ARCMIN)) > 2 * ARCMIN
    return image, (image > 0.2 * image.max()) & far


def test_extended_emission_has_its_flux_and_spectrum(data):
    """Intensity to 1 % of its peak and spectral index to 0.05, where the interferometer alone sees half."""
    joint = uvstack.sdint(*data, terms=2, **CLEAN)
    want, bright = truth(joint.grid, joint.beam)
    assert np.sqrt(np.mean((joint.image[0] - want)[bright] ** 2)) < 0.01 * want.max()
    assert joint.image[0][bright].sum() == pytest.approx(want[bright].sum(), rel=0.01)
    alpha = (joint.image[1] / joint.image[0])[bright]
    assert np.sqrt(np.mean(alpha**2)) < 0.05
    assert joint.model[0].sum() == pytest.approx(31.0, rel=0.02)
    alone = uvstack.sdint(*data, terms=2, use="int", **CLEAN)
    assert alone.image[0][bright].sum() < 0.8 * want[bright].sum()


def test_the_joint_psf_has_its_peak_at_one(data):
    for use in ("joint", "int", "sd"):
        made = uvstack.sdint(*data, use=use, **CLEAN | {"iterations": 0})
        assert len(made.planes) == 3
        for plane in made.planes:
            assert plane.psf[SIZE // 2, SIZE // 2] == pytest.approx(1.0, abs=1e-6)
    assert made.joint.dish_beams[0].fwhm_major == pytest.approx(
        299792458.0 / 1e9 / 100.0, rel=1e-3)
