"""`uvstack simulate epochs` and `single-dish`, from the command line to the flux in the files."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from click.testing import CliRunner

from uvstack.cli.main import group
from uvstack.errors import ComponentError, UvstackError
from uvstack.io.image_file import read_cube
from uvstack.sky.components import components

CENTRE = SkyCoord("10h00m00s", "-30d00m00s", frame="fk5")
GRID = ["--centre", "10h00m00s -30d00m00s", "--size", "96", "--cell"]


@pytest.fixture
def truth(tmp_path):
    """Two points and a Gaussian within 40″, 1.6 Jy in all at 3 GHz."""
    dec = CENTRE.dec.rad + np.deg2rad(np.array([0, 20, -30]) / 3600)
    sky = components(CENTRE.ra.rad + np.deg2rad(np.array([0, 25, -10]) / 3600), dec,
                     [1.0, 0.5, 0.1], fwhm_major=[0, 0, np.deg2rad(8 / 3600)], spectral_index=-1.0,
                     reference_frequency=3e9)
    sky.to_table().write(tmp_path / "sky.ecsv", format="ascii.ecsv")
    return tmp_path / "sky.ecsv"


def run(*args):
    return CliRunner().invoke(group, ["simulate", *map(str, args)])


def flux_of(cube, plane=0):
    """Sum over pixels, Jy."""
    return cube.data[plane].sum() * cube.cell**2 / cube.beams[plane].solid_angle


def test_epochs_share_their_sources(truth, tmp_path):
    done = run("epochs", truth, "--out", tmp_path / "ep", *GRID, "2arcsec", "--frequency", "3GHz",
               "--beam", "9arcsec,6arcsec,30deg", "--beam", "12arcsec,7arcsec,-20deg", "--noise",
               "0Jy", "--flux-scale", 1, "--flux-scale", 1.1, "--date", "2018-01-01T00:00:00",
               "--date", "2020-08-01T12:00:00")
    assert done.exit_code == 0, done.output
    first, second = (read_cube(tmp_path / "ep" / f"epoch{i}.fits") for i in (1, 2))
    assert flux_of(first) == pytest.approx(1.6, rel=1e-4)
    assert flux_of(second) == pytest.approx(1.76, rel=1e-4)
    assert np.rad2deg(second.beams[0].fwhm_major) * 3600 == pytest.approx(12)
    assert (first.time, second.time) == (58119.0, 59062.5)
    assert (tmp_path / "ep" / "epochs.png").is_file()


def test_noise_and_offset_are_those_asked_for(truth, tmp_path):
    done = run("epochs", truth, "--out", tmp_path / "ep", *GRID, "3arcsec", "--frequency", "3GHz",
               "--beam", "9arcsec,9arcsec,0deg", "--noise", "10mJy", "--offset", "30arcsec,0arcsec",
               "--two-axes", "--seed", 4)
    assert done.exit_code == 0, done.output
    cube = read_cube(tmp_path / "ep" / "epoch1.fits")
    assert np.unravel_index(cube.data[0].argmax(), cube.data[0].shape) == (48, 38)  # 10 pixels to the east
    # 800 beams know their scatter to 2.5 %; 4 σ.
    assert cube.data[0][:30].std() == pytest.approx(0.01, rel=0.1 * np.sqrt(96 / 30))


def test_single_dish_keeps_flux_and_spectrum(truth, tmp_path):
    done = run("single-dish", truth, "--out", tmp_path / "sd.fits", "--frequency", "3GHz",
               "--bandwidth", "2GHz", "--channels", 2, "--dish", "100m", *GRID, "1arcmin")
    assert done.exit_code == 0, done.output
    cube = read_cube(tmp_path / "sd.fits")
    assert cube.frequency == pytest.approx([2.5e9, 3.5e9])
    assert [flux_of(cube, i) for i in (0, 1)] == pytest.approx([1.6 * 3 / 2.5, 1.6 * 3 / 3.5],
                                                               rel=1e-3)
    assert cube.beams[0].fwhm_major == pytest.approx(1.18 * (299792458 / 2.5e9 * u.m
                                                             / (100 * u.m)).value, rel=1e-6)


@pytest.mark.parametrize(("args", "match"),
                         [(["--beam", "9arcsec"], "is no beam; wanted"),
                          (["--beam", "9arcsec,9arcsec,0deg", "--noise", "0Jy", "--noise", "0Jy"],
                           "once an epoch"),
                          (["--beam", "9arcsec,9arcsec,0deg", "--noise", "loud"], "120uJy"),
                          (["--beam", "9arcsec,9arcsec,0deg", "--noise", "0Jy", "--centre",
                            "north"], "cannot be read; wanted a frame, RA and Dec"),
                          (["--beam", "9arcsec,9arcsec,0deg", "--noise", "0Jy", "--centre",
                            "10h00m00s 30d00m00s"], "none of the 3 components"),
                          (["--beam", "3arcsec,3arcsec,0deg", "--noise", "0Jy"], "pixels")])
def test_bad_input_is_one_line_and_leaves_nothing(truth, tmp_path, args, match):
    noise = [] if "--noise" in args else ["--noise", "0Jy"]
    done = run("epochs", truth, "--out", tmp_path / "ep", *GRID, "2arcsec", "--frequency", "3GHz",
               *noise, *args)
    assert done.exit_code != 0
    assert match in (str(done.exception) if isinstance(done.exception, UvstackError) else done.output)
    assert not (tmp_path / "ep").exists()


def test_missing_catalogue(tmp_path):
    done = run("single-dish", tmp_path / "no.ecsv", "--out", tmp_path / "a.fits", "--frequency",
               "1GHz", "--bandwidth", "1GHz")
    assert isinstance(done.exception, ComponentError)
    assert "no such catalogue" in str(done.exception)
