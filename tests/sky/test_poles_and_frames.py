"""Images at a pole and in other frames.

Pixels lie where the headers say, for astropy as for every command of ours.
"""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

import uvstack
from factories import ARCSEC, make_ms, read
from oracles import cosines
from uvstack.errors import CoordinateError, ImageError, SelectionError, UvstackWarning
from uvstack.imaging.mask_files import read_mask
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.image_file import read_cube
from uvstack.io.primary_beams import read_beam_image, warn_of_other_telescope
from uvstack.pixels.geometry import image_geometry
from uvstack.pixels.grid import centred_grid
from uvstack.sky.primary_beam import preset_names
from uvstack.sky.projection import pixel_steps, wcs_frame
from uvstack.subtraction.task import subtract

CELL = 2 * ARCSEC
POLES = {"north": (0.3, np.pi / 2), "south": (2.0, -np.pi / 2),
         "next to it": (0.3, np.pi / 2 - 1e-6)}


def seen(l, m, ra0, dec0):
    """(ra, dec) of direction cosines from (ra0, dec0)."""
    n = np.sqrt(1 - l * l - m * m)
    along = n * np.cos(dec0) - m * np.sin(dec0)
    return (ra0 + np.arctan2(l, along)) % (2 * np.pi), np.arctan2(
        m * np.cos(dec0) + n * np.sin(dec0), np.hypot(l, along))


@pytest.mark.parametrize("name", POLES)
def test_an_image_at_a_pole(name, tmp_path):
    """A source is found where it is, by astropy, image-stack, and a mask.

    a model of it leaves nothing.
    """
    centre = POLES[name]
    l, m = -8 * CELL, 13 * CELL  # 8 pixels to the right of the middle, 13 above it
    place = seen(l, m, *centre)
    assert cosines(*place, *centre)[:2] == pytest.approx((l, m), abs=1e-13)
    path = make_ms(tmp_path / "pole.ms", fields=[centre], sources=[(*place, 1.0)], scale=0.05)
    made = uvstack.image(path, size=64, cell=CELL, weighting="natural", iterations=0,
                         out=tmp_path / "x")
    row, column = np.unravel_index(made.dirty[0].argmax(), made.dirty[0].shape)
    assert (row, column) == (32 + 13, 32 + 8)
    with fits.open(made.files["image"]) as hdus:
        there = WCS(hdus[0].header).celestial.pixel_to_world(column, row)
    where = SkyCoord(*place, unit="rad", frame="fk5")
    assert there.separation(where).arcsec < 1e-3
    found = uvstack.image_stack(made.files["image"], SkyCoord([where]), stamp=16,
                                alignment="nearest")
    assert found.flux == pytest.approx(1.0, abs=1e-4)
    model = np.zeros((64, 64))
    model[row, column] = 1.0
    write_image(tmp_path / "model.fits", model, sin_wcs(*centre, (64, 64), CELL), unit="Jy/pixel",
                frequency=1.4e9)
    subtract(path, tmp_path / "model.fits")
    assert np.abs(read(path, "RESIDUAL_DATA")).max() < 1e-5
    assert np.argwhere(read_mask(tmp_path / "model.fits",
                                 centred_grid(*centre, 64, CELL))).tolist() == [[row, column]]


@pytest.mark.parametrize("lonpole", [0.0, 180.0])
@pytest.mark.parametrize("dec", [np.pi / 2, -np.pi / 2, 0.7])
def test_lonpole_of_a_model(dec, lonpole, tmp_path):
    """Of the pixels of any LONPOLE astropy says where they are.

    Turned by half, east is to the left and north up all the same.
    """
    wcs = sin_wcs(0.3, dec, (24, 32), CELL)
    wcs.wcs.lonpole = lonpole
    wcs.wcs.set()
    pixels = np.zeros((24, 32))
    pixels[5, 20] = 1.0
    header = wcs.to_header()
    header["BUNIT"] = "Jy/pixel"
    fits.writeto(tmp_path / "m.fits", pixels, header)
    cube = read_cube(tmp_path / "m.fits")
    geometry = image_geometry(cube.wcs, (24, 32))
    assert geometry.cell_l < 0 < geometry.cell_m
    row, column = np.argwhere(cube.data[0])[0]
    found = seen(geometry.centre_l + (column - 16) * geometry.cell_l,
                 geometry.centre_m + (row - 12) * geometry.cell_m, 0.3, dec)
    right = wcs.pixel_to_world(20, 5)
    assert SkyCoord(*found, unit="rad", frame="fk5").separation(right).arcsec < 1e-6


def test_a_beam_with_a_turned_plane(tmp_path):
    """LONPOLE of 90 degrees turns the axes of the plane.

    An oblong beam is looked up where astropy has its pixels.
    """
    wcs = sin_wcs(0.3, 0.7, (61, 61), 60 * ARCSEC)
    wcs.wcs.lonpole = 90.0
    wcs.wcs.set()
    y, x = np.mgrid[:61, :61] - 30.0
    write_image(tmp_path / "b.fits", np.exp(-(x**2) / 200 - y**2 / 50), wcs, frequency=1.4e9)
    beam = read_beam_image(tmp_path / "b.fits")
    at = wcs.pixel_to_world([40.0, 30.0, 37.0], [30.0, 41.0, 35.0])
    l, m, _ = cosines(at.ra.rad, at.dec.rad, 0.3, 0.7)
    assert beam(l, m, np.array([1.4e9]))[:, 0] == pytest.approx(
        np.exp([-100 / 200, -121 / 50, -49 / 200 - 25 / 50]), abs=1e-4)


def test_b1950_of_casa_is_b1950(tmp_path):
    """EQUINOX 1979.9 is where the VLA's B1950 has its aberration, and no equator to precess to: 0.4 degrees away."""
    centre = SkyCoord(150.0, 30.0, unit="deg", frame="fk4")
    header = sin_wcs(centre.ra.rad, centre.dec.rad, (64, 64), CELL).to_header()
    header.update({"RADESYS": "FK4", "EQUINOX": 1979.9, "BUNIT": "Jy/beam", "BMAJ": 8 / 3600,
                   "BMIN": 8 / 3600})
    image = np.zeros((64, 64), np.float32)
    image[40, 20] = 1.0
    fits.writeto(tmp_path / "a.fits", image, header)
    header["EQUINOX"] = 1950.0
    source = WCS(header).pixel_to_world(20, 40).fk5
    with pytest.warns(UvstackWarning, match="it is read as B1950"):
        found = uvstack.image_stack(tmp_path / "a.fits", SkyCoord([source]), stamp=16,
                                    alignment="nearest")
    assert found.flux == 1.0


def test_an_icrs_image_at_the_pole_is_refused_as_a_model(tmp_path):
    """The poles of ICRS and J2000 are 20 mas apart.

    There the one's north is anywhere for the other.
    """
    wcs = sin_wcs(0.3, np.pi / 2, (64, 64), CELL)
    wcs.wcs.radesys, wcs.wcs.equinox = "ICRS", np.nan
    with pytest.raises(ImageError, match="in icrs near a pole"):
        image_geometry(wcs, (64, 64))
    near = sin_wcs(0.3, 1.5, (64, 64), CELL)
    near.wcs.radesys, near.wcs.equinox = "ICRS", np.nan
    assert image_geometry(near, (64, 64)).dec == pytest.approx(1.5, abs=1e-6)


def test_a_wcs_that_was_not_set_and_frames_that_are_none():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---SIN",
                                                   "DEC--SIN"], [10.0, 90.0], [-1e-3, 1e-3]
    assert np.allclose(np.rad2deg(pixel_steps(wcs, (8, 8))), [[1e-3, 0], [0, -1e-3]], atol=1e-15)  # the pole's default
    wcs.wcs.radesys = "XYZ"
    with pytest.raises(CoordinateError, match="XYZ is no frame"):
        wcs_frame(wcs)


def test_stamps_and_beams_larger_than_the_image(tmp_path):
    write_image(tmp_path / "a.fits", np.ones((40, 48)), sin_wcs(0.3, 0.7, (40, 48), CELL),
                four_axes=False)
    here = SkyCoord([0.3], [0.7], unit="rad", frame="fk5")
    with pytest.raises(SelectionError, match=r"stamps of 500 pixels of .*, which has 48 × 40"):
        uvstack.image_stack(tmp_path / "a.fits", here, stamp=500)
    with pytest.raises(ImageError, match="larger than the image"):
        uvstack.image_stack(tmp_path / "a.fits", here, stamp=16, beam=(0.1, 0.1))


def test_robust_belongs_to_briggs(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(3.1, 0.55, 1.0)], n_ant=4, n_times=1, scale=0.05)
    options = {"size": 32, "cell": CELL, "iterations": 0}
    for kind in ("natural", "uniform"):
        with pytest.raises(ImageError, match=f"robust 0.5 with {kind} weights"):
            uvstack.image(path, weighting=kind, robust=0.5, **options)
    with pytest.raises(ImageError, match="robust is 9; give a number from −2"):
        uvstack.image(path, weighting="briggs", robust=9, **options)


@pytest.mark.parametrize(("beam", "telescope", "frequency", "said"),
                         [("alma", "EVLA", 1.4e9, "is that of ALMA, x.ms is of EVLA"),
                          ("alma", "ALMA", 1.4e9,
                           "of ALMA is known for 30 to 1000 GHz, x.ms has 1.4"),
                          ("evla", "VLA", 1.4e9, None), ("vla-airy", "EVLA", 43e9, None),
                          ("ALMA_7m", "ALMA", 345e9, None), ("meerkat", "MeerKAT", 1.3e9, None),
                          ("meerkat", "MeerKAT", 5e9, "0.5 to 3.6 GHz"),
                          ("atca", "VLA", 2e9, "is that of ATCA"),
                          ("airy:25m", "ALMA", 1.4e9, None), ("vla", "", 1.4e9, None),
                          ("constant", "ALMA", 1.4e9, None)])
def test_a_beam_of_another_telescope_is_told(beam, telescope, frequency, said, recwarn):
    warn_of_other_telescope(beam, telescope, [frequency], "x.ms")
    told = [str(one.message) for one in recwarn]
    assert (not told) if said is None else any(said in one for one in told), told


def test_every_preset_has_its_telescope(recwarn):
    for name in preset_names():
        warn_of_other_telescope(name, "WSRT", [1.4e9], "x.ms")
    named = {str(one.message).split("'")[1] for one in recwarn}
    assert named == set(preset_names()) - {"constant", "none"}


def test_image_and_image_stack_tell_of_the_beam(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(3.1, 0.55, 1.0)], n_ant=5, n_times=2, scale=0.05)
    with pytest.warns(UvstackWarning) as told:
        made = uvstack.image(path, size=32, cell=CELL, iterations=0, weighting="natural",
                             primary_beam="alma", out=tmp_path / "x")
    assert any("is that of ALMA" in str(one.message) for one in told)
    with pytest.warns(UvstackWarning, match="of ALMA is known for 30 to 1000 GHz"):
        uvstack.image_stack(made.files["image"], SkyCoord([3.1], [0.55], unit="rad", frame="fk5"),
                            stamp=16, primary_beam="alma", weights="primary-beam",
                            alignment="nearest")
