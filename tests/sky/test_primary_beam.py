"""Primary beams against the physics of an aperture, published widths and coefficients, files, and CASA.

Constants are written out here and not imported from the package.
"""

import dataclasses
import importlib.util
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy import special

from uvstack.errors import PrimaryBeamError
from uvstack.io.primary_beams import read_primary_beam
from uvstack.sky.primary_beam import (
    Airy,
    Constant,
    CosineTaper,
    Gaussian,
    PrimaryBeam,
    RadialTable,
    fwhm,
    preset_names,
    primary_beam,
)
from uvstack.sky.primary_beam_image import BeamImage

C = 299_792_458.0
ARCMIN = math.pi / 180.0 / 60.0
ZERO = np.zeros(1)

#: A frequency inside the range of each preset, Hz.
PRESET_FREQUENCY = {
    "constant": 1.4e9,
    "evla": 1.424e9,
    "vla": 1.465e9,
    "atca": 2.1e9,
    "meerkat": 1.28e9,
    "alma": 230e9,
    "alma-7m": 230e9,
    "casa-alma": 100e9,
    "casa-alma-7m": 100e9,
    "casa-vla": 4.86e9,
}


def cut(beam, angle, frequency):
    """A along +l at the given angles (radians) and one frequency."""
    angle = np.atleast_1d(angle)
    return beam(np.sin(angle), np.zeros_like(angle), np.array([frequency]))[:, 0]


# Analytic truths
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("diameter", "blockage"),
                         [(25.0, 0.0), (25.0, 2.36), (10.7, 0.75), (12.0, 6.0)])
def test_airy_is_the_hankel_transform_of_its_annulus(diameter, blockage):
    """V(s) = ∫ J0(2π r s ν/c) r dr over blockage/2 < r < diameter/2, by Gauss-Legendre quadrature.

    Error budget: 200 nodes for at most 12 periods of J0, so rounding alone, 1e-13 of a peak of 1.
    """
    frequency = 1.4e9
    sine = np.linspace(0.0, 0.1, 301)
    node, weight = np.polynomial.legendre.leggauss(200)
    inner, outer = blockage / 2.0, diameter / 2.0
    r = 0.5 * (outer - inner) * node + 0.5 * (outer + inner)
    voltage = (special.j0(2.0 * np.pi * np.outer(sine, r) * frequency / C)
               * r) @ weight / (r @ weight)
    power = Airy(diameter, blockage)(sine, np.zeros_like(sine), np.array([frequency]))[:, 0]
    np.testing.assert_allclose(power, voltage**2, rtol=0, atol=1e-12)


def test_gaussian_is_half_at_half_its_width_and_a_sixteenth_at_its_width():
    beam = Gaussian(30 * ARCMIN, 1.4e9)
    np.testing.assert_allclose(cut(beam, [0.0, 15 * ARCMIN, 30 * ARCMIN], 1.4e9),
                               [1.0, 0.5, 1 / 16], rtol=1e-12)


def test_cosine_taper_is_finite_where_its_formula_is_zero_over_zero():
    """At s = 1/2 the limit of cos(πs)/(1 − 4s²) is π/4; at s = 1 the value is 1/3.

    The first null is at s = 3/2.
    """
    width = 57.5 * ARCMIN
    beam = CosineTaper(width, 1.5e9)
    s = np.array([0.5, 1.0, 1.4999, 1.5001, 2.0])
    expected = [(math.pi / 4) ** 2, 1 / 9, (math.cos(math.pi * 1.4999) / (1 - 4 * 1.4999**2)) ** 2,
                0.0, 0.0]
    np.testing.assert_allclose(cut(beam, s * width / 1.18896478, 1.5e9), expected, rtol=1e-9,
                               atol=1e-15)


# Published widths
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frequency", "arcmin", "tolerance"),
    [
        ("evla", 1.4e9, 42.0 / 1.4, 0.01),  # 42'/ν, VLA Observational Status Summary
        ("evla", 3.0e9, 42.0 / 3.0, 0.01),
        ("evla", 6.0e9, 42.0 / 6.0, 0.03),
        ("evla", 33.0e9, 42.0 / 33.0, 0.02),
        ("vla", 1.47e9, 29.4, 0.01),  # 29.4' at 1.47 GHz, AIPS
        ("casa-vla", 1.4e9, 42.95 / 1.4, 0.001),  # measured on an image that CASA 6.7 made
        ("alma", 300e9, 1.13 * C / 300e9 / 12.0 / ARCMIN, 0.02),  # 1.13 λ/D, ALMA help desk article 234
        ("alma-7m", 300e9, 1.13 * C / 300e9 / 7.0 / ARCMIN, 0.02),
        ("meerkat", 1.5e9, 57.5, 1e-7),  # Mauch et al. (2020), equation 4
        ("meerkat", 0.816e9, 57.5 * 1.5 / 0.816, 1e-7),
        ("atca", 1.4e9, 47.9 / 1.4, 0.02),  # widths at 1 GHz in MIRIAD's pb.for
        ("atca", 5.0e9, 48.3 / 5.0, 0.03),
        ("atca", 8.64e9, 50.6 / 8.64, 0.01),
    ],
)
def test_width_of_preset_is_the_published_one(name, frequency, arcmin, tolerance):
    assert fwhm(primary_beam(name), frequency) / ARCMIN == pytest.approx(arcmin, rel=tolerance)


def test_width_of_an_unblocked_airy_is_1p029_wavelengths_over_the_diameter():
    """J1(x)/x falls to 1/sqrt(8) at x = 1.61634."""
    assert math.sin(fwhm(Airy(25.0), 1.4e9) / 2) == pytest.approx(
        1.616340 * C / (math.pi * 25.0 * 1.4e9), rel=1e-6)


def test_width_of_no_beam_is_infinite():
    assert fwhm(Constant(), 1e9) == math.inf


# Published coefficients
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "megahertz", "arcmin", "coefficients", "reciprocal"),
    [
        ("evla", 328, 40.0, (-0.980e-3, 4.25e-7, -0.87e-10, 0.69e-14), False),
        ("evla", 1040, 15.0, (-1.529e-3, 8.69e-7, -1.88e-10), False),
        ("evla", 1424, 10.0, (-1.462e-3, 8.23e-7, -1.83e-10), False),
        ("evla", 2000, 8.0, (-1.508e-3, 8.31e-7, -1.68e-10), False),  # an edge belongs to the lower band
        ("evla", 3052, 7.0, (-1.467e-3, 8.05e-7, -1.70e-10), False),
        ("evla", 4948, 5.0, (-1.358e-3, 6.91e-7, -1.34e-10), False),
        ("evla", 10052, 2.0, (-1.421e-3, 7.46e-7, -1.45e-10), False),
        ("evla", 11052, 2.0, (-1.401e-3, 7.12e-7, -1.31e-10), False),
        ("evla", 43308, 0.5, (-1.433e-3, 7.49e-7, -1.43e-10), False),
        ("vla", 1400, 15.0, (-1.343e-3, 6.579e-7, -1.186e-10), False),
        ("vla", 22485, 1.0, (-1.417e-3, 7.332e-7, -1.352e-10), False),
        ("atca", 2100, 12.0, (9.78268e-4, 6.63231e-7, 4.18235e-11, 2.62297e-13), True),
        ("atca", 4800, 6.0, (1.08e-3, 1.31e-6, -1.17e-9, 1.07e-12), True),
        ("atca", 93000, 0.3, (1.271e-3, -3.040e-7, 1.410e-9), True),
    ],
)
def test_polynomial_by_hand(name, megahertz, arcmin, coefficients, reciprocal):
    x = (arcmin * megahertz / 1000.0) ** 2
    value = 1.0 + sum(c * x ** (i + 1) for i, c in enumerate(coefficients))
    expected = 1.0 / value if reciprocal else value
    assert 0.1 < expected < 0.95
    np.testing.assert_allclose(cut(primary_beam(name), arcmin * ARCMIN, megahertz * 1e6), expected,
                               rtol=1e-12)


def test_evla_between_two_fits_is_their_mean_at_the_same_scaled_angle():
    """Between 1360 and 1424 MHz A is linear in ν at fixed θν.

    a nearest-fit model would step by 2e-3 here.
    """
    beam = primary_beam("evla")
    scaled = 25.0 * ARCMIN * 1e9
    low, middle, high = (cut(beam, scaled / nu, nu)[0] for nu in (1.360e9, 1.392e9, 1.424e9))
    assert middle == pytest.approx((low + high) / 2, rel=1e-12)
    assert abs(high - low) > 1e-3


def test_evla_beyond_the_fits_of_a_band_scales_the_outermost():
    beam = primary_beam("evla")
    np.testing.assert_allclose(
        cut(beam, 0.4 * ARCMIN, 48e9), cut(beam, 0.4 * ARCMIN * 48 / 43.948, 43.948e9), rtol=1e-9
    )


@pytest.mark.parametrize("name", ["evla", "vla", "atca"])
def test_polynomials_never_turn_up_again(name):
    """Out to ten times the width, at frequencies in and between all fits.

    Falling, above the floor, then exactly 0.
    """
    beam = primary_beam(name)
    for band in beam.bands:
        for nu in np.linspace(band.low, band.high, 7):
            power = cut(beam, np.linspace(0.0, 500.0 * 1e9 / nu, 2001) * ARCMIN, nu)
            last = np.flatnonzero(power)[-1]
            assert (np.diff(power) <= 0.0).all()
            assert power[last] >= beam.floor - 1e-12
            assert (power[last + 1 :] == 0.0).all()


@pytest.mark.parametrize(
    ("name", "frequency", "text"),
    [
        ("evla", 0.7e9, "0.224 to 0.48 GHz, 1 to 50 GHz"),
        ("evla", 51e9, "at 51 GHz"),
        ("vla", 0.05e9, "0.07 to 50 GHz"),
        ("atca", 60e9, "80 to 120 GHz"),
        ("meerkat", 5e9, "0.544 to 3.5 GHz"),
    ],
)
def test_frequency_without_coefficients_is_an_error_that_names_the_range(name, frequency, text):
    with pytest.raises(PrimaryBeamError, match=text) as caught:
        primary_beam(name)(ZERO, ZERO, np.array([PRESET_FREQUENCY[name], frequency]))
    assert "select those channels" in str(caught.value)


# Contracts of every beam
# ---------------------------------------------------------------------------------------------


def example_beams():
    """One beam of every kind, with a frequency that it covers."""
    angle = np.linspace(0.0, 60.0, 241) * ARCMIN
    beams = [(primary_beam(name), nu) for name, nu in PRESET_FREQUENCY.items()]
    beams += [
        (Gaussian(30 * ARCMIN, 1.4e9), 1.2e9),
        (Airy(25.0, 2.36), 1.2e9),
        (RadialTable(angle, gaussian(angle, 30 * ARCMIN), 1.4e9), 1.2e9),
        (gaussian_image(), 1.5e9),
    ]
    return [pytest.param(beam, nu, id=beam.describe().split(",")[0][:30]) for beam, nu in beams]


def gaussian(angle, width):
    return np.exp(-4.0 * math.log(2.0) * (angle / width) ** 2)


def gaussian_image(frequency=(1.4e9,), size=65, cell=4.0 * ARCMIN, width=60 * ARCMIN):
    """A Gaussian in θ, SIN projection, its width scaling from 1.4 GHz, with the centre between pixels."""
    frequency = np.array(frequency)
    centre = (size - 1) / 2 + 0.25
    axis = (np.arange(size) - centre) * cell
    theta = np.arcsin(np.hypot(axis[None, :], axis[:, None]))
    power = np.stack([gaussian(theta, width * 1.4e9 / nu) for nu in frequency])
    return BeamImage(power, frequency, (centre, centre), np.diag([-cell, cell]))


@pytest.mark.parametrize(("beam", "nu"), example_beams())
def test_peak_is_one_and_the_main_lobe_never_rises(beam, nu):
    """The tolerances are of the spline of an image (1e-6) and of rounding."""
    assert cut(beam, 0.0, nu)[0] == pytest.approx(1.0, abs=1e-12)
    half = min(fwhm(beam, nu) / 2, 0.5)
    power = cut(beam, np.linspace(0.0, 1.1 * half, 500), nu)
    assert (np.diff(power) <= 1e-9).all()
    assert (power >= 0.0).all()
    assert (power <= 1.0 + 1e-12).all()


@pytest.mark.parametrize(("beam", "nu"), example_beams())
def test_array_contract(beam, nu):
    """Shape and dtype; empty; one position; inputs unchanged; NaN stays NaN.

    Nothing below the horizon.
    """
    rng = np.random.default_rng(7)
    l, m = rng.normal(scale=0.2 * min(fwhm(beam, nu), 1.0), size=(2, 5))
    frequency = np.array([nu, nu * 1.01, nu * 0.99])
    copies = l.copy(), m.copy(), frequency.copy()
    power = beam(l, m, frequency)
    assert power.shape == (5, 3)
    assert power.dtype == np.float64
    for array, copy in zip((l, m, frequency), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_array_equal(beam(l[2:3], m[2:3], frequency[1:2]), power[2:3, 1:2])
    np.testing.assert_allclose(beam(-l, m, frequency), power, atol=1e-5)  # all examples are circular
    np.testing.assert_allclose(beam(l.astype(np.float32), m.astype(np.float32), frequency), power,
                               atol=1e-6)
    assert beam(np.zeros(0), np.zeros(0), frequency).shape == (0, 3)
    assert beam(l, m, np.zeros(0)).shape == (5, 0)
    special_positions = beam(np.array([np.nan, 0.0, 0.9]), np.array([0.0, 0.0, 0.9]), frequency)
    assert np.isnan(special_positions[0]).all()
    np.testing.assert_allclose(special_positions[1], 1.0, atol=1e-12)
    assert (special_positions[2] == 0.0).all()


@pytest.mark.parametrize(("beam", "nu"), example_beams())
def test_bad_arrays_are_refused(beam, nu):
    with pytest.raises(ValueError, match="1-d"):
        beam(np.zeros((2, 2)), np.zeros((2, 2)), np.array([nu]))
    with pytest.raises(ValueError, match="one length"):
        beam(np.zeros(2), np.zeros(3), np.array([nu]))
    for frequency in (0.0, -nu, np.nan, np.inf):
        with pytest.raises(PrimaryBeamError, match="positive frequencies"):
            beam(ZERO, ZERO, np.array([nu, frequency]))


@pytest.mark.parametrize(("beam", "nu"), example_beams())
def test_beam_is_frozen_and_describes_itself(beam, nu):
    assert dataclasses.is_dataclass(beam)
    if dataclasses.fields(beam):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(beam, dataclasses.fields(beam)[0].name, 1.0)
    assert beam.describe() in repr(beam)
    assert "array" not in repr(beam)
    assert "\n" not in repr(beam)
    assert len(repr(beam)) < 250


@pytest.mark.parametrize(
    "beam",
    [
        Gaussian(30 * ARCMIN, 1.4e9),
        primary_beam("meerkat"),
        RadialTable(np.linspace(0, 60, 61) * ARCMIN, gaussian(np.linspace(0, 60, 61), 30), 1.4e9),
        gaussian_image(),
    ],
    ids=lambda beam: type(beam).__name__,
)
def test_scaling_beams_scale(beam):
    """A(θ, ν) = A(θν/ν0, ν0).

    For an image the two look-ups differ by rounding of the position alone.
    """
    angle = np.linspace(0.0, 20.0, 50) * ARCMIN
    np.testing.assert_allclose(cut(beam, angle, 1.7e9), cut(beam, angle * 1.7 / 1.4, 1.4e9),
                               rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["alma", "casa-vla"])
def test_airy_scales_in_the_sine_of_the_angle(name):
    beam, sine = primary_beam(name), np.linspace(0.0, 1e-4, 50)
    wide, narrow = (beam(s, np.zeros(50), np.array([nu]))[:, 0]
                    for s, nu in ((sine, 115e9), (sine / 2, 230e9)))
    np.testing.assert_allclose(wide, narrow, rtol=1e-12)


@pytest.mark.parametrize("name", ["alma", "alma-7m", "casa-vla"])
def test_preset_airy_ends_at_the_radius_of_casa(name):
    beam = primary_beam(name)
    inside, outside = cut(beam, np.array([0.999, 1.001]) * beam.max_radius / 100.0, 100e9)
    assert 0.0 < inside < 0.05
    assert outside == 0.0


# Tables
# --------------------------------------------------------------------------------------------------------------


def test_table_of_a_gaussian_is_the_gaussian_between_its_rows(tmp_path):
    """Rows every FWHM/12; a cubic spline of a Gaussian is then right to 5/384 of its fourth derivative, 6e-5."""
    angle = np.arange(0.0, 60.1, 2.5)
    Table({"angle": angle * u.arcmin, "power": 0.7 * gaussian(angle, 30.0)},
          meta={"reference_frequency": "1.4 GHz"}).write(tmp_path / "beam.ecsv")
    beam = read_primary_beam(f"table:{tmp_path}/beam.ecsv")
    test = np.linspace(0.0, 59.9, 777)
    np.testing.assert_allclose(cut(beam, test * ARCMIN, 1.4e9), gaussian(test, 30.0), atol=1e-4)
    assert (cut(beam, np.array([60.1, 90.0]) * ARCMIN, 1.4e9) == 0.0).all()
    assert fwhm(beam, 2.8e9) == pytest.approx(15 * ARCMIN, rel=1e-4)
    assert "beam.ecsv" in beam.describe()


def test_table_as_plain_text_with_the_unit_in_the_name(tmp_path):
    path = tmp_path / "beam@site.txt"
    path.write_text("angle_deg power\n"
                    + "".join(f"{a / 60} {gaussian(a, 30.0)}\n" for a in np.arange(0.0, 61.0)))
    for text in (f"table:{path}@1.4GHz", f"TABLE:{path}@1400 MHz"):
        assert fwhm(read_primary_beam(text), 1.4e9) == pytest.approx(30 * ARCMIN, rel=1e-5)


@pytest.mark.parametrize(
    ("content", "suffix", "text"),
    [
        ("angle_deg power\n0 1\n1 0.9\n2 0.5\n3 0.1\n", "", "does not say its frequency"),
        ("angle power\n0 1\n1 0.9\n2 0.5\n3 0.1\n", "@1GHz", "no unit of angle"),
        ("angle_m power\n0 1\n1 0.9\n2 0.5\n3 0.1\n", "@1GHz", "no unit of angle"),
        ("angle_deg response\n0 1\n1 0.9\n2 0.5\n3 0.1\n", "@1GHz", "angle_deg, response"),
        ("angle_deg power\n1 1\n2 0.9\n3 0.5\n4 0.1\n", "@1GHz", "begin at 0"),
        ("angle_deg power\n0 1\n2 0.9\n1 0.5\n4 0.1\n", "@1GHz", "increase"),
        ("angle_deg power\n0 0\n1 -1\n2 -3\n4 -10\n", "@1GHz", "decibel"),
        ("angle_deg power\n0 1\n1 0.9\n2 nan\n3 0.1\n", "@1GHz", "NaN"),
        ("angle_deg power\n0 1\n1 0.9\n2 high\n3 0.1\n", "@1GHz", "no numbers"),
        ("angle_deg power\n0 1\n1 0.9\n", "@1GHz", "4 rows"),
        ("angle_deg power\n0 1\n1 0.9\n2 0.5\n3 0.1\n", "@1.4", "'1.4' for the frequency"),
    ],
)
def test_bad_tables_are_refused(tmp_path, content, suffix, text):
    (tmp_path / "beam.txt").write_text(content)
    with pytest.raises(PrimaryBeamError, match=text):
        read_primary_beam(f"table:{tmp_path}/beam.txt{suffix}")


# Images
# --------------------------------------------------------------------------------------------------------------


def write_image(path, power, cell_deg, ctype="SIN", frequency=(1.4e9,), axes=4, rotation=0.0,
                centre=None):
    """Write power (plane, y, x) with the pointing centre at a pixel that is not the middle."""
    ny, nx = power.shape[-2:]
    centre = centre or (nx // 2 + 1, ny // 2 + 1)
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = f"RA---{ctype}", f"DEC--{ctype}"
    header["CRVAL1"], header["CRVAL2"] = 150.0, -30.0
    header["CRPIX1"], header["CRPIX2"] = centre
    header["CDELT1"], header["CDELT2"] = -cell_deg, cell_deg
    cos, sin = math.cos(rotation), math.sin(rotation)
    header["PC1_1"], header["PC1_2"], header["PC2_1"], header["PC2_2"] = cos, -sin, sin, cos
    if axes == 4:
        header["CTYPE3"], header["CRVAL3"], header["CRPIX3"], header["CDELT3"] = "STOKES", 1.0, 1.0, 1.0
        header["CTYPE4"], header["CRVAL4"], header["CRPIX4"], header["CUNIT4"] = "FREQ", frequency[0] / 1e9, 1.0, "GHz"
        header["CDELT4"] = (frequency[1] - frequency[0]) / 1e9 if len(frequency) > 1 else 1e-3
        power = power[:, None]
    else:
        power = power[0]
    fits.PrimaryHDU(power, header).writeto(path, overwrite=True)


@pytest.mark.parametrize("ctype", ["SIN", "TAN", "ARC", "STG", "ZEA"])
@pytest.mark.parametrize("rotation", [0.0, 0.5])
def test_image_of_an_ellipse_is_the_ellipse_off_the_pixel_grid(tmp_path, ctype, rotation):
    """A Gaussian of 60' by 48' at position angle 30°, painted with the sky positions that astropy gives the pixels.

    It also fixes east, north and the pixel order: a flip or a swap of axes errs by 0.3. Error
    budget: bicubic spline of a Gaussian σ = 5 pixels, 5/384 of its fourth derivative = 6e-5.
    """
    path, blank = tmp_path / "b.fits", np.ones((1, 80, 64))
    write_image(path, blank, 4.0 / 60.0, ctype, rotation=rotation, centre=(30, 38))
    wcs, centre = WCS(fits.getheader(path)).celestial, SkyCoord(150.0, -30.0, unit="deg")
    sky = wcs.pixel_to_world(*np.meshgrid(np.arange(64), np.arange(80)))
    power = ellipse(centre.separation(sky).rad, centre.position_angle(sky).rad)
    write_image(path, power[None], 4.0 / 60.0, ctype, rotation=rotation, centre=(30, 38))
    rng = np.random.default_rng(3)
    theta, angle = rng.uniform(0.0, 60 * ARCMIN, 400), rng.uniform(0.0, 2 * np.pi, 400)
    l, m = np.sin(theta) * np.sin(angle), np.sin(theta) * np.cos(angle)
    expected = ellipse(theta, angle)
    np.testing.assert_allclose(read_primary_beam(str(path))(l, m, np.array([1.4e9]))[:, 0],
                               expected, atol=1e-4)
    # What the fault this guards against, the value of the nearest pixel, looks like:
    x, y = wcs.world_to_pixel(centre.directional_offset_by(angle * u.rad, theta * u.rad))
    assert np.abs(power[np.rint(y).astype(int), np.rint(x).astype(int)] - expected).max() > 0.02


def ellipse(theta, position_angle):
    along, across = theta * np.cos(position_angle - np.pi / 6), theta * np.sin(
        position_angle - np.pi / 6)
    return gaussian(along, 60 * ARCMIN) * gaussian(across, 48 * ARCMIN)


def test_image_of_one_plane_scales_with_frequency(tmp_path):
    theta = np.arcsin(np.radians(0.05) * np.hypot(*np.mgrid[-40:41, -40:41]))
    write_image(tmp_path / "b.fits", gaussian(theta, 60 * ARCMIN)[None], 0.05)
    angle = np.linspace(0.0, 50.0, 333) * ARCMIN
    for nu in (1.4e9, 1.9e9):
        np.testing.assert_allclose(
            cut(read_primary_beam(f"image:{tmp_path}/b.fits"), angle, nu),
            gaussian(angle, 60 * ARCMIN * 1.4e9 / nu),
            atol=1e-4,
        )


def test_image_with_a_frequency_axis_is_interpolated_between_its_planes(tmp_path):
    """A width that does not scale as 1/ν.

    Planes are met, and between two A is the mean of their scaled profiles.
    """
    frequency, width = np.array([1.0e9, 1.2e9, 1.4e9]), np.array([80.0, 60.0, 57.0]) * ARCMIN
    theta = np.arcsin(np.radians(0.05) * np.hypot(*np.mgrid[-60:61, -60:61]))
    write_image(tmp_path / "cube.fits", np.stack([gaussian(theta, w) for w in width]), 0.05,
                frequency=frequency)
    beam = read_primary_beam(f"{tmp_path}/cube.fits")
    angle = np.linspace(0.0, 60.0, 333) * ARCMIN
    for nu, w in zip(frequency, width, strict=True):
        np.testing.assert_allclose(cut(beam, angle, nu), gaussian(angle, w), atol=1e-4)
    mean = 0.75 * gaussian(angle * 1.25 / 1.2, width[1]) + 0.25 * gaussian(angle * 1.25 / 1.4,
                                                                           width[2])
    np.testing.assert_allclose(cut(beam, angle, 1.25e9), mean, atol=1e-4)
    np.testing.assert_allclose(cut(beam, angle, 1.45e9), gaussian(angle * 1.45 / 1.4, width[2]),
                               atol=1e-4)
    with pytest.raises(PrimaryBeamError, match="0.9 to 1.5 GHz"):
        cut(beam, angle, 1.6e9)
    with pytest.raises(PrimaryBeamError, match="3 frequencies of its own"):
        read_primary_beam(f"image:{tmp_path}/cube.fits@1.4GHz")


def test_blank_pixels_and_the_world_outside_are_zero(tmp_path):
    """Blanks do not leak into the pixels next to them.

    The spline continues the beam beyond its blanked edge.
    """
    theta = np.arcsin(np.radians(0.05) * np.hypot(*np.mgrid[-40:41, -40:41]))
    power = gaussian(theta, 60 * ARCMIN)
    power[power < 0.2] = np.nan
    write_image(tmp_path / "b.fits", power[None], 0.05)
    beam = read_primary_beam(f"{tmp_path}/b.fits")
    edge = 30 * ARCMIN * math.sqrt(math.log2(5.0))
    angle = np.linspace(0.0, edge - 6 * ARCMIN, 100)
    np.testing.assert_allclose(cut(beam, angle, 1.4e9), gaussian(angle, 60 * ARCMIN), atol=3e-3)
    assert (cut(beam, np.linspace(edge + 4.5 * ARCMIN, 200 * ARCMIN, 50), 1.4e9) == 0.0).all()


def test_image_without_frequency_needs_one_in_the_text(tmp_path):
    theta = np.arcsin(np.radians(0.05) * np.hypot(*np.mgrid[-40:41, -40:41]))
    write_image(tmp_path / "b.fits", gaussian(theta, 60 * ARCMIN)[None], 0.05, axes=2)
    with pytest.raises(PrimaryBeamError, match="no FREQ axis"):
        read_primary_beam(f"{tmp_path}/b.fits")
    for text in (f"{tmp_path}/b.fits@1.4GHz", f"image:{tmp_path}/b.fits@1.4GHz"):
        assert fwhm(read_primary_beam(text), 2.8e9) == pytest.approx(30 * ARCMIN, rel=1e-4)


def test_bad_images_are_refused(tmp_path):
    theta = np.arcsin(np.radians(0.05) * np.hypot(*np.mgrid[-40:41, -40:41]))
    power = gaussian(theta, 60 * ARCMIN)[None]
    write_image(tmp_path / "shifted.fits", power, 0.05, centre=(5, 41))
    write_image(tmp_path / "decibel.fits", 10 * np.log10(power), 0.05)
    write_image(tmp_path / "aitoff.fits", power, 0.05, "AIT")
    write_image(tmp_path / "blank.fits", power * np.nan, 0.05)
    fits.PrimaryHDU(power[0]).writeto(tmp_path / "plain.fits")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    (tmp_path / "text.fits").write_text("no FITS file")
    for name, text in {
        "shifted": "reference pixel",
        "decibel": "decibel",
        "aitoff": "AIT|LONPOLE",
        "blank": "every pixel is blank",
        "plain": "RA---SIN",
        "empty": "no image",
        "text": "not a FITS file",
        "missing": "no such image",
    }.items():
        with pytest.raises(PrimaryBeamError, match=text):
            read_primary_beam(f"{tmp_path}/{name}.fits")


def test_width_of_an_image_that_ends_before_half_power_is_an_error():
    with pytest.raises(PrimaryBeamError, match="ends before"):
        fwhm(gaussian_image(size=9, cell=2 * ARCMIN), 1.4e9)


# Text
# ----------------------------------------------------------------------------------------------------------------


def test_texts_and_names():
    assert primary_beam("gaussian:30arcmin@1.4GHz") == Gaussian(30 * ARCMIN, 1.4e9)
    assert primary_beam(" Gaussian: 0.5 deg @ 1400 "
                        "MHz ").fwhm == pytest.approx(30 * ARCMIN, rel=1e-12)
    assert primary_beam("airy:25m,2.36m") == Airy(25.0, 2.36)
    assert primary_beam("airy:2500cm") == Airy(25.0)
    assert primary_beam("ACA") == primary_beam("alma-7m") == primary_beam("ALMA_7m")
    assert primary_beam("vla-airy") == primary_beam("casa-vla")
    assert primary_beam("jvla") is primary_beam("EVLA")
    beam = Airy(12.0)
    assert primary_beam(beam) is beam
    assert read_primary_beam(beam) is beam
    assert read_primary_beam("alma") == primary_beam("alma")
    assert {*PRESET_FREQUENCY} <= {*preset_names()}
    for name in preset_names():
        assert isinstance(primary_beam(name), PrimaryBeam)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vlaa", "did you mean vla "),
        ("meercat", "did you mean meerkat"),
        ("alma:12m", "unknown primary beam 'alma:12m'"),
        ("", "unknown primary beam ''"),
        ("gaussian:30", "no reference frequency"),
        ("gaussian:30@1.4GHz", "'30' for the FWHM"),
        ("gaussian:30arcmin@1.4", "'1.4' for the frequency"),
        ("gaussian:30arcmin@1.4m", "'1.4m' for the frequency"),
        ("gaussian:-30arcmin@1.4GHz", "must be positive"),
        ("airy:", "'' for the dish diameter"),
        ("airy:25", "'25' for the dish diameter"),
        ("airy:25m,", "'' for the blockage"),
        ("airy:25m,30m", "smaller than the dish"),
        ("airy:25m,2m,1m", "3 lengths"),
        ("airy:0m", "must be positive"),
        ("table:beam.txt@1GHz", "read_primary_beam"),
        ("beam.fits", "read_primary_beam"),
    ],
)
def test_bad_texts_say_what_is_wrong(text, message):
    with pytest.raises(PrimaryBeamError, match=message):
        primary_beam(text)


def test_something_else_is_no_beam():
    with pytest.raises(PrimaryBeamError, match="type int"):
        primary_beam(25)


# CASA
# ----------------------------------------------------------------------------------------------------------------

CASA_SCRIPT = """
import json, shutil, sys
import numpy as np
import casatools

ia, vp, im, me, sm = (getattr(casatools, t)() for t in ("image", "vpmanager", "imager", "measures", "simulator"))
cases = json.loads(sys.argv[1])
direction = me.direction("J2000", "10deg", "0deg")
sm.open("a.ms")
sm.setconfig(telescopename="ALMA", x=[0.0, 100.0], y=[0.0, 50.0], z=[0.0, 0.0], dishdiameter=[12.0, 12.0],
             mount=["alt-az"] * 2, antname=["a", "b"], coordsystem="local", referencelocation=me.observatory("ALMA"))
sm.setspwindow(spwname="x", freq="1GHz", deltafreq="1MHz", freqresolution="1MHz", nchannels=1, stokes="XX YY")
sm.setfeed("perfect X Y", pol=[""])
sm.setfield(sourcename="f", sourcedirection=direction)
sm.setlimits(shadowlimit=0.0, elevationlimit="-90deg")
sm.setauto(0.0)
sm.settimes(integrationtime="10s", usehourangle=True, referencetime=me.epoch("UTC", "2020/01/01"))
sm.observe("f", "x", starttime="0s", stoptime="10s")
sm.close()
im.open("a.ms")
im.defineimage(nx=64, ny=64, cellx="10arcsec", celly="10arcsec")
half, out = 100, []
for telescope, common, frequency, extent in cases:
    for name in ("one.im", "pb.im", "vp.tab"):
        shutil.rmtree(name, ignore_errors=True)
    ia.fromshape("one.im", [2 * half + 1, 2 * half + 1, 1, 1])
    cs = ia.coordsys()
    cs.setunits(["arcmin", "arcmin", "", "Hz"])
    cs.setreferencevalue([600.0, 0.0], type="direction")
    cs.setincrement([-extent / half, extent / half], type="direction")
    cs.setreferencepixel([half, half], type="direction")
    cs.setreferencevalue(frequency, type="spectral")
    cs.settelescope(telescope)
    ia.setcoordsys(cs.torecord())
    ia.set(1.0)
    ia.close()
    vp.reset()
    if common == "24.5 m":
        vp.setpbairy(telescope=telescope, dishdiam="24.5m", blockagediam="0m", maxrad="0.8564deg", reffreq="1GHz")
    else:
        vp.setcannedpb(telescope=telescope, commonpb=common)
    vp.saveastable("vp.tab")
    im.setvp(dovp=True, usedefaultvp=False, vptable="vp.tab")
    im.pb(inimage="one.im", outimage="pb.im", operation="apply", pointingcenter=direction)
    ia.open("pb.im")
    out.append(ia.getchunk()[half:, half, 0, 0])
    ia.close()
np.save("pb.npy", np.array(out))
"""

CASA_CASES = [
    # ours, telescope, CASA's beam, Hz
    ("airy:24.5m", "VLA", "24.5 m", 1.4e9),
    ("casa-vla", "VLA", "VLA_L", 1.4e9),
    ("casa-alma", "ALMA", "ALMA", 100e9),
    ("casa-alma-7m", "ALMA", "ACA", 100e9),
    ("evla", "EVLA", "EVLA", 0.328e9),
    ("evla", "EVLA", "EVLA", 1.424e9),
    ("evla", "EVLA", "EVLA", 3.052e9),
    ("evla", "EVLA", "EVLA", 5.052e9),
    ("evla", "EVLA", "EVLA", 9.052e9),
    ("evla", "EVLA", "EVLA", 15.052e9),
    ("evla", "EVLA", "EVLA", 34.564e9),
    ("evla", "EVLA", "EVLA", 43.308e9),
    ("atca", "ATCA", "ATCA_16", 1.332e9),
    ("atca", "ATCA", "ATCA_C", 4.8e9),
    ("atca", "ATCA", "ATCA_X", 8.64e9),
    ("atca", "ATCA", "ATCA_K", 22.0e9),
    ("atca", "ATCA", "ATCA_W", 90.0e9),
]


@pytest.fixture(scope="module")
def casa(tmp_path_factory):
    """Angles (case, point) in radians and A of CASA there, made in a process of its own."""
    if importlib.util.find_spec("casatools") is None or importlib.util.find_spec("casadata") is None:
        pytest.skip("casatools and casadata are not installed: primary beams not compared with "
                    "CASA")
    folder = tmp_path_factory.mktemp("casa")
    (folder / "config.py").write_text("import casadata\nmeasurespath = "
                                      "casadata.datapath\nmeasures_auto_update = data_auto_update "
                                      "= False\nlogfile = '/dev/null'\nnologger = True\n")
    (folder / "pb.py").write_text(CASA_SCRIPT)
    extent = [{"ALMA": 50.0, "ACA": 85.0}.get(common, 24.0) * 1e9 / nu
              for _, _, common, nu in CASA_CASES]
    cases = [[tel, common, nu, size]
             for (_, tel, common, nu), size in zip(CASA_CASES, extent, strict=True)]
    subprocess.run(
        [sys.executable, "pb.py", json.dumps(cases)],
        cwd=folder,
        env={**os.environ, "CASASITECONFIG": str(folder / "config.py")},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return np.outer(extent, np.linspace(0.0, 1.0, 101)) * ARCMIN, np.load(folder / "pb.npy")


def test_casa_agrees(casa):
    """To 4e-4: CASA truncates into 10⁴ samples of its last radius (2e-4), and its Airy is 1.7e-4 too wide (1.2e-4)."""
    for (text, _, _, nu), angle, power in zip(CASA_CASES, *casa, strict=True):
        np.testing.assert_allclose(cut(primary_beam(text), angle, nu), power, rtol=0, atol=4e-4,
                                   err_msg=f"{text} {nu}")


def test_blockage_term_of_casa_is_off_by_what_the_docstring_says(casa):
    """If this fails CASA has mended its Airy: then the casa-* presets go."""
    for text, case, error in (("alma", 2, 0.011), ("alma-7m", 3, 0.032),
                              ("airy:25m,2.36m", 1, 0.020)):
        angle, power = casa[0][case], casa[1][case]
        assert np.abs(cut(primary_beam(text), angle, CASA_CASES[case][3])
                      - power).max() == pytest.approx(error, abs=1e-3)
