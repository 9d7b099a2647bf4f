"""Joint deconvolution through primary beams: a single pointing, a mosaic, and what is adjoint."""

import json
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from test_sdint import CELL, CENTRE, CLEAN, EXTENDED, NU, SIZE, called, sky, truth

import uvstack
from simulate.image_model import ImageModel
from simulate.pointings import rectangular_mosaic
from simulate.restored_sky import image_grid
from simulate.single_dish import write_single_dish
from simulate.task import observe
from uvstack.deconvolution.major_cycle import sidelobe_level
from uvstack.errors import UvstackWarning
from uvstack.imaging.setup_files import open_setup
from uvstack.imaging.weighting import Weighting
from uvstack.joint.reconstruction.channels import joint_channels
from uvstack.joint.reconstruction.interferometer_files import Wanted, seen_channels
from uvstack.joint.reconstruction.options import JointOptions
from uvstack.options import options_of
from uvstack.sky.beam import Beam

ARCMIN = np.pi / 180 / 60
#: FWHM of 36′ at 1 GHz and 18′ at 2 GHz, of an image of 30′.
BEAM = "gaussian:24arcmin@1.5GHz"
KINDS = {"single": tuple(CENTRE),
         "mosaic": rectangular_mosaic(*CENTRE, 12 * ARCMIN, 12 * ARCMIN, 12 * ARCMIN, dwell=1)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Measurement sets by kind, and the dish's cube."""
    folder = tmp_path_factory.mktemp("sdint")
    found = {}
    for kind, pointings in KINDS.items():
        # A component is seen through the beam at its centre; pixels are through that of their own.
        observe(array="vla.d", frequency=NU, integration=300 if kind == "single" else 150,
                duration=6 * 3600, sky=sky().subset(np.array([False, True])),
                images=[extended_pixels()], pointings=pointings, primary_beam=BEAM,
                out=folder / f"{kind}.ms")
        found[kind] = folder / f"{kind}.ms"
    write_single_dish(sky(), out=folder / "dish.fits", frequency=1.5e9, bandwidth=1.5e9, channels=3,
                      dish_diameter=100.0, beam_factor=1.0, centre=tuple(CENTRE), size=160, cell=CELL)
    return found | {"dish": folder / "dish.fits"}


def extended_pixels():
    """The extended source in Jy/pixel."""
    shape, geometry = image_grid(tuple(CENTRE), 200, CELL)
    flux, fwhm, east, north, _ = EXTENDED
    l, m = ((np.arange(n) - n // 2) * cell for n, cell in zip(
        reversed(shape), (geometry.cell_l, geometry.cell_m), strict=True))
    profile = Beam(fwhm * ARCMIN, fwhm * ARCMIN, 0.0).profile(
        l[None, :] - east * ARCMIN, m[:, None] - north * ARCMIN)
    return ImageModel("extended", flux * profile[None] / profile.sum(), np.array([1.5e9]), geometry)


@pytest.mark.parametrize("kind", KINDS)
def test_terms_through_primary_beams(data, kind):
    """Intensity to 1 % of the peak and spectral index to 0.06, where the beam's own is −1 at half power."""
    made = uvstack.sdint(data[kind], data["dish"], terms=2, primary_beam=BEAM, **CLEAN)
    want, bright = truth(made.grid, made.beam)
    bright &= np.isfinite(made.pbcor[0])
    assert bright.mean() > 0.05
    image = made.pbcor[0]
    assert np.sqrt(np.mean((image - want)[bright] ** 2)) < 0.01 * want.max()
    assert image[bright].sum() == pytest.approx(want[bright].sum(), rel=0.005)
    assert np.sqrt(np.mean((made.pbcor[1] / image)[bright] ** 2)) < 0.06
    assert made.model_is == "sky"
    # A place is seen by few pointings: its psf is worse than the mean.
    mean = sidelobe_level(np.asarray(made.psf))
    told = made.lists["history"].meta["sidelobe"]
    assert told > 1.05 * mean if kind == "mosaic" else told == pytest.approx(mean, rel=0.05)


def test_a_cube_through_primary_beams(data):
    made = uvstack.sdint(data["mosaic"], data["dish"], primary_beam=BEAM, **CLEAN)
    for plane in made.planes:
        want, bright = truth(plane.grid, plane.beam)
        bright &= np.isfinite(plane.pbcor[0])
        assert np.sqrt(np.mean((plane.pbcor[0] - want)[bright] ** 2)) < 0.01 * want.max()
        # Of even noise: the image is the corrected one times the beam.
        np.testing.assert_allclose(plane.image[0][bright],
                                   (plane.pbcor[0] * plane.response)[bright], rtol=1e-5)


def test_gridding_through_primary_beams_is_symmetric(data):
    """⟨a, H b⟩ = ⟨b, H a⟩ for what takes a model of even noise to its image: both halves are transposes."""
    options = {name: default for name, (_, default) in options_of(JointOptions).items()}
    setup = open_setup(data["mosaic"], SIZE, CELL, ["I"], options | {"primary_beam": BEAM})
    channels = joint_channels(setup.windows, 3, None, "dish")
    rng = np.random.default_rng(2)
    for seen in seen_channels(setup, channels, Weighting("natural"), None, 1, None, Wanted()):
        inside = seen.primary_beam > 0.2
        a, b = (np.where(inside, rng.normal(size=inside.shape), 0.0) for _ in range(2))
        image_of_a, image_of_b = (np.nan_to_num(seen.plane.dirty - seen.plane.residual_of(one))
                                  for one in (a, b))
        scale = np.linalg.norm(a) * np.linalg.norm(image_of_b)
        assert abs(np.vdot(a, image_of_b) - np.vdot(b, image_of_a)) < 2e-5 * scale


def test_products_stand_where_they_are_said_to(data, tmp_path):
    """With three terms a curvature; of the dish alone nothing that is corrected for a beam."""
    few = CLEAN | {"iterations": 20}
    for use, absent in (("joint", ()), ("sd", ("pbcor", "pb"))):
        made = uvstack.sdint(data["single"], data["dish"], use=use, terms=3, primary_beam=BEAM,
                             out=tmp_path / use, **few)
        names = {"dirty", "psf", "model", "residual", "image", "image-tt1", "image-tt2", "alpha",
                 "alpha-error", "curvature", "curvature-error", "pbcor", "pb"} - set(absent)
        assert names <= set(made.files)
        assert not set(absent) & set(made.files)
        assert all((tmp_path / f"{use}-{name}.fits").is_file() for name in names)
        told = json.loads((tmp_path / f"{use}.json").read_text())
        assert told["use"] == use
        assert told["stop_reason"] == "iterations used up"
        known = np.isfinite(made.alpha)
        assert (np.isfinite(made.curvature_error) == known).all()


def test_a_run_that_diverges_keeps_its_best_model(data, tmp_path):
    """The interferometer alone with scales that it does not see: a line names the reason, and the model is that of the cycle before."""
    options = ["--use", "int", "--terms", 2, "--scales", "0,20,40,60", "--gain", 1, "--threshold-sigma", 0,
               "--iterations", 1500, "--primary-beam", BEAM]
    both = data["mosaic"], data["dish"]
    with pytest.warns(UvstackWarning, match="the image at 1 to 2 GHz diverged in cycle") as warned:
        ended = called("sdint", *both, *options, "--out", tmp_path / "bad")
    assert ended.exit_code == 0, ended.output
    assert re.search("stopped +diverged", ended.output)
    assert json.loads((tmp_path / "bad.json").read_text())["stop_reason"] == "diverged"
    rms = Table.read(tmp_path / "bad-history.ecsv")["rms"]
    best = int(np.argmin(rms))
    assert rms[-1] > 1.5 * rms[best]
    assert re.search(rf"in cycle {len(rms) - 1}: .*the model of cycle {best} is kept", str(warned[0].message))
    # The same run that ends in time.
    assert called("sdint", *both, *options, "--most-cycles", best, "--out", tmp_path / "good").exit_code == 0
    for name in ("model", "model-tt1", "image", "residual"):
        bad, good = (fits.getdata(tmp_path / f"{run}-{name}.fits") for run in ("bad", "good"))
        # Sums of single precision, in the order in which threads end.
        np.testing.assert_allclose(bad, good, atol=1e-4 * np.nanmax(np.abs(good)))
