"""CASA and WSClean open the stacked set and find the flux that we print at its phase centre."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits

import uvstack
from factories import ARCMIN, at, make_ms, offset

SIZE, CELL = 128, 0.5


@pytest.fixture(scope="module")
def stacked(tmp_path_factory):
    """A stacked set of 20 sources in noise, its result and its stamp."""
    folder = tmp_path_factory.mktemp("peers")
    rng = np.random.default_rng(8)
    positions = [offset(*rng.uniform(-6 * ARCMIN, 6 * ARCMIN, 2)) for _ in range(20)]
    ms = make_ms(folder / "a.ms", sources=[(*p, 1.0) for p in positions], noise=1.0, n_ant=20,
                 n_times=20, scale=1.0, weights={"WEIGHT": 1.0, "SIGMA": 1.0})
    return uvstack.stack(ms, at(*positions), out=folder / "stacked.ms")


def test_tclean_peaks_at_the_phase_centre_with_our_flux(stacked, tmp_path):
    casatasks = pytest.importorskip("casatasks", reason="casatasks is not installed")
    from casatools import image

    name = str(tmp_path / "dirty")
    casatasks.tclean(vis=stacked.ms, imagename=name, imsize=SIZE, cell=f"{CELL}arcsec", niter=0,
                     weighting="natural", stokes="I", specmode="mfs", gridder="standard")
    tool = image()
    tool.open(f"{name}.image" if (tmp_path / "dirty.image").exists() else f"{name}.residual")
    plane = tool.getchunk()[:, :, 0, 0].T
    tool.close()
    assert np.unravel_index(plane.argmax(), plane.shape) == (SIZE // 2, SIZE // 2)
    # CASA's convolutional gridder tapers by some 1e-4 on axis.
    assert plane.max() == pytest.approx(stacked.flux, rel=1e-3)


def test_listobs_and_metadata(stacked, tmp_path):
    casatasks = pytest.importorskip("casatasks", reason="casatasks is not installed")
    listing = tmp_path / "listobs.txt"
    casatasks.listobs(stacked.ms, listfile=str(listing))
    text = listing.read_text()
    assert "Fields: 1" in text
    assert "stack" in text


def test_wsclean_peaks_at_the_phase_centre_with_our_flux(stacked, tmp_path):
    if shutil.which("wsclean") is None:
        pytest.skip("wsclean is not installed")
    copy = tmp_path / "copy.ms"
    shutil.copytree(stacked.ms, copy)
    subprocess.run(["wsclean", "-quiet", "-size", str(SIZE), str(SIZE), "-scale", f"{CELL}asec",
                    "-weight", "natural", "-pol", "I", "-name", str(tmp_path / "ws"), str(copy)],
                   check=True, capture_output=True)
    plane = fits.getdata(tmp_path / "ws-dirty.fits")[0, 0]
    assert np.unravel_index(plane.argmax(), plane.shape) == (SIZE // 2, SIZE // 2)
    assert plane.max() == pytest.approx(stacked.flux, rel=1e-3)


def test_our_stamp_equals_theirs(stacked):
    assert stacked.image(SIZE,
                         np.deg2rad(CELL / 3600)).peak == pytest.approx(stacked.flux, rel=1e-4)
