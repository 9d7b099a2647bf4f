"""The restoring beam, restored images, spectral indices and component tables against plain sums and known functions."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import j1

from oracles import cosines
from uvstack.errors import ImageError
from uvstack.imaging.restore import (
    component_table,
    correct_primary_beam,
    pixel_directions,
    principal_solution,
    restore,
    spectral_index,
)
from uvstack.pixels.geometry import ImageGeometry
from uvstack.pixels.psf import fit_beam
from uvstack.pixels.smooth import convolve_beam
from uvstack.sky.beam import Beam

ARCSEC = np.deg2rad(1 / 3600)
DEGREE = np.deg2rad(1)
FOUR_LN2 = 4 * np.log(2)


def gaussian(shape, major, minor, angle, row=None, column=None, cell=(1.0, 1.0)):
    """Peak 1 at a pixel; the angle from north (up the rows) through east (down the columns)."""
    row, column = shape[0] // 2 if row is None else row, shape[1] // 2 if column is None else column
    out = np.zeros(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            north, east = (i - row) * cell[0], -(j - column) * cell[1]
            along, across = north * np.cos(angle) + east * np.sin(angle), -north * np.sin(angle) + east * np.cos(angle)
            out[i, j] = np.exp(-FOUR_LN2 * ((along / major) ** 2 + (across / minor) ** 2))
    return out


def turned(a, b):
    """Difference of two position angles, which have a period of π."""
    return abs((a - b + np.pi / 2) % np.pi - np.pi / 2)


# ----------------------------------------------------------------------------------------- the beam


@pytest.mark.parametrize("angle", [-90, -60, 0, 30, 89.9, 135])
@pytest.mark.parametrize(("major", "minor"),
                         [(2.6, 2.05), (4.0, 3.9), (5.0, 2.5), (30.0, 2.2), (18.0, 9.0)])
def test_a_gaussian_psf_is_found_exactly(major, minor, angle):
    psf = 7.0 * gaussian((128, 96), major, minor, angle * DEGREE)
    beam = fit_beam(psf, 0.5 * ARCSEC)
    # Asked for is 1e-3; a least-squares fit of noiseless data ends at rounding.
    assert beam.fwhm_major / (0.5 * ARCSEC) == pytest.approx(major, rel=1e-6)
    assert beam.fwhm_minor / (0.5 * ARCSEC) == pytest.approx(minor, rel=1e-6)
    assert turned(beam.position_angle, angle * DEGREE) < 1e-5
    assert -np.pi / 2 <= beam.position_angle < np.pi / 2


def test_position_angle_by_hand_pixels_that_are_not_square_and_a_circle():
    # A ridge to the north-east: up the rows and *down* the columns, for l decreases along the last
    # axis.
    up, right = np.mgrid[-16:16, -16:16]
    psf = np.exp(-((up + right) ** 2) / 6 - (up - right) ** 2 / 40)
    assert fit_beam(psf, 1.0).position_angle == pytest.approx(np.pi / 4, abs=1e-6)
    flat = fit_beam(gaussian((64, 64), 12.0, 5.0, 0.4, cell=(1.0, 1.5)), (1.0, -1.5))
    assert np.allclose(flat, (12.0, 5.0, 0.4), rtol=1e-6)
    circle = fit_beam(gaussian((64, 64), 6.0, 6.0, 0.0), 1.0)
    assert np.allclose(circle, (6.0, 6.0, 0.0), rtol=1e-6)


@pytest.mark.parametrize("scale", [0.4, 0.8, 1.3])
def test_filled_aperture_to_one_percent(scale):
    """2 J1(x)/x has its half power at x = 2.215; asked for is 1 %, measured 0.3 %."""
    at = np.arange(128) - 64
    x = np.hypot(at[:, None], at) * scale
    psf = np.where(x > 0, 2 * j1(x) / np.where(x > 0, x, 1), 1.0)
    truth = 2 * brentq(lambda t: 2 * j1(t) / t - 0.5, 1.0, 3.0) / scale
    beam = fit_beam(psf, 1.0)
    assert np.allclose(beam[:2], truth, rtol=0.005)


@pytest.mark.parametrize(("taper", "stretch"), [(0.10, 1.0), (0.06, 2.5), (0.05, 1.5)])
def test_sampled_aperture_with_sidelobes_to_one_percent(taper, stretch):
    """uv points drawn from a Gaussian density, whose psf is that of the density plus noise of 1/sqrt(2n)."""
    rng = np.random.default_rng(8)
    angle = 0.7
    along, across = taper * rng.normal(size=60_000), taper * stretch * rng.normal(size=60_000)
    # Long in the sky where short in uv: the major axis at the angle from v (north) to u (east).
    v, u = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    at = np.arange(64) - 32
    rows, columns = np.exp(2j * np.pi * np.outer(at, v)), np.exp(-2j * np.pi * np.outer(at, u))
    psf = (rows @ columns.T).real / u.size
    truth = np.sqrt(8 * np.log(2)) / (2 * np.pi * taper)
    beam = fit_beam(psf, 1.0)
    assert beam.fwhm_major == pytest.approx(truth, rel=0.01)
    assert beam.fwhm_minor == pytest.approx(truth / stretch, rel=0.01)
    if stretch > 1:
        assert turned(beam.position_angle, angle) < 0.02


def test_a_sidelobe_beside_the_lobe_takes_no_part():
    psf = gaussian((64, 64), 6.0, 4.0, 0.3) + 0.6 * gaussian((64, 64), 4.0, 4.0, 0.0, 32, 48)
    clean = fit_beam(gaussian((64, 64), 6.0, 4.0, 0.3), 1.0)
    assert np.allclose(fit_beam(psf, 1.0), clean, rtol=1e-3)


@pytest.mark.parametrize(("major", "minor"), [(1.5, 1.5), (6.0, 1.7), (0.3, 0.3)])
def test_a_beam_below_two_pixels_is_refused(major, minor):
    with pytest.raises(ImageError, match=r"pixels \(FWHM\); wanted are at least 2 across, better 4: make the cell"):
        fit_beam(gaussian((64, 64), major, minor, 0.5), ARCSEC)


def test_psfs_that_are_none():
    good = gaussian((32, 32), 4.0, 4.0, 0.0)
    line = np.tile(np.exp(-((np.arange(32) - 16) ** 2) / 8.0), (32, 1))
    for psf, wanted in ((good[None], "two axes"), (np.roll(good, 2, 0), r"its peak at"),
                        (good * np.nan, "nowhere"), (-good, "peak in"), (line, "every direction"),
                        (np.ones((32, 32)), "every direction"), (np.zeros((0, 0)), "psf is nan")):
        with pytest.raises(ImageError, match=wanted):
            fit_beam(psf, 1.0)
    for cell in (0.0, float("nan"), (1.0, 0.0)):
        with pytest.raises(ImageError, match="two finite sizes"):
            fit_beam(good, cell)


# ---------------------------------------------------------------------------------- restored images


@pytest.mark.parametrize("beam", [Beam(6.0, 2.5, 0.6), Beam(2.0, 2.0, 0.0), Beam(70.0, 20.0, -1.2)])
def test_restored_image_is_the_plain_sum(beam):
    rng = np.random.default_rng(1)
    shape = (45, 38)
    model, wanted = np.zeros(shape), rng.normal(size=shape)
    residual = wanted.copy()
    # The corners too: nothing may wrap round.
    for row, column in ((0, 0), (44, 37), (0, 37), (20, 11), (21, 12)):
        model[row, column] = flux = rng.normal()
        wanted += flux * gaussian(shape, *beam, row, column)
    assert np.abs(restore(model, residual, beam, 1.0) - wanted).max() < 1e-11  # rounding, and a kernel cut at 1e-12
    assert np.abs(restore(model, residual, Beam(beam[0] * ARCSEC, beam[1] * ARCSEC, beam[2]),
                          ARCSEC) - wanted).max() < 1e-11


@pytest.mark.parametrize(("beam", "error"),
                         [(Beam(2.0, 2.0, 0.0), 2e-6), (Beam(5.0, 3.0, 0.9), 1e-10)])
def test_flux_is_kept(beam, error):
    """The sum over the beam area is the flux.

    The aliasing of a Gaussian of 2 pixels is 4 exp(−(2π)²/(4 ln 2)) = 2.6e-6.
    """
    model = np.zeros((128, 120))
    model[60, 57], model[64, 60] = 2.0, -0.5
    image = convolve_beam(model, beam, 1.0)
    assert image.sum() / beam.area() == pytest.approx(1.5, rel=error * 1.5)
    assert convolve_beam(np.eye(1, 99)[:, ::-1] * 3.0, beam,
                         1.0).max() == pytest.approx(3.0, abs=1e-12)


def test_blank_pixels_stay_blank_and_inputs_unchanged():
    model, residual = np.zeros((1, 40, 40)), np.zeros((1, 40, 40))
    model[0, 20, 20], model[0, 1, 1], residual[0, 0] = 1.0, np.nan, np.nan
    copies = model.copy(), residual.copy()
    out = restore(model, residual, Beam(4.0, 3.0, 0.1), 1.0)
    assert np.isnan(out[0, 0]).all()
    assert np.isfinite(out[0, 1:]).all()
    assert out[0, 20, 20] == pytest.approx(1.0)
    assert np.array_equal(model, copies[0], equal_nan=True)
    assert np.array_equal(residual, copies[1], equal_nan=True)


def test_images_that_do_not_fit():
    with pytest.raises(ImageError, match="wanted are equal"):
        restore(np.zeros((4, 4)), np.zeros((4, 5)), Beam(3.0, 3.0, 0.0), 1.0)
    with pytest.raises(ImageError, match="give the psf of 3 terms"):
        restore(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), Beam(3.0, 3.0, 0.0), 1.0)
    with pytest.raises(ImageError, match="a psf of 2 terms for 2 of the residual; wanted are 3"):
        principal_solution(np.zeros((2, 4, 4)), np.ones((2, 4, 4)))
    with pytest.raises(ImageError, match="fewer terms"):
        principal_solution(np.zeros((2, 4, 4)), np.ones((3, 4, 4)))


# -------------------------------------------------------------------- terms, α and the primary beam


def test_principal_solution_gives_the_coefficients_of_a_point():
    """One point with spectrum c0 + c1 x + c2 x², not cleaned at all.

    residual_t = Σ w x^t (c0 + c1 x + c2 x²).
    """
    rng = np.random.default_rng(3)
    x, w = rng.uniform(-0.03, 0.05, 200), rng.uniform(0, 1, 200)
    coefficients = np.array([0.7, -0.5, 0.2])
    spectrum = sum(c * x**t for t, c in enumerate(coefficients))
    residual = np.array([np.average(x**t * spectrum, weights=w) for t in range(3)])[:, None, None]
    psf = np.array([np.average(x**t, weights=w) for t in range(5)])[:, None, None]
    got = principal_solution(residual, psf)[:, 0, 0]
    assert np.allclose(got, coefficients, atol=1e-7)  # the matrix of the 4th powers of 0.03 loses 8 digits
    whole = restore(np.zeros((3, 1, 1)), residual, Beam(3.0, 3.0, 0.0), 1.0, psf)
    assert np.allclose(whole[:, 0, 0], got)


def power_law(alpha, beta, flux=1.0):
    """Taylor terms in (ν − ν0)/ν0 by finite differences of flux x^(α + β ln x) at x = 1."""
    def spectrum(x):
        return flux * x ** (alpha + beta * np.log(x))

    h = 1e-3
    below, at, above = spectrum(1 - h), spectrum(1.0), spectrum(1 + h)
    return np.array([at, (above - below) / (2 * h), (above - 2 * at + below) / (2 * h * h)])


def test_spectral_index_and_curvature_of_a_power_law():
    terms = power_law(-0.7, 0.15, 2.0)[:, None, None] * np.ones((3, 2, 2))
    terms[:, 0, 0] = 1e-3
    result = spectral_index(terms, [0.01, 0.02, 0.02])
    # The differences are good to h² = 1e-6 times third derivatives of a few.
    assert np.allclose(result.alpha[1], -0.7, atol=1e-5)
    assert np.allclose(result.beta[1], 0.15, atol=1e-5)
    for value in (one for one in result if one is not None):
        assert np.isnan(value[0, 0])  # below 5 σ
    assert spectral_index(terms[:2], [0.01, 0.02]).beta is None


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_error_of_the_spectral_index_has_pulls_of_width_one(correlation):
    rng = np.random.default_rng(11)
    sigma = np.array([0.02, 0.05])
    draw = rng.normal(size=(2, 200, 200))
    draw[1] = correlation * draw[0] + np.sqrt(1 - correlation**2) * draw[1]
    terms = np.array([1.0, -0.8])[:, None, None] + sigma[:, None, None] * draw
    result = spectral_index(terms, sigma, covariance=correlation * sigma[0] * sigma[1])
    pull = (result.alpha + 0.8) / result.error
    # 40 000 draws: 0.005 for the mean, 0.0035 for the width; at 50 σ the ratio bends the mean by
    # 0.4 σ of 2 %.
    assert pull.mean() == pytest.approx(0.0, abs=0.03)
    assert pull.std() == pytest.approx(1.0, abs=0.02)


def test_primary_beam_correction_of_terms_gives_the_spectrum_of_the_sky():
    """A beam exp(−r² x²), x = ν/ν0, seen on a power law: its terms are divided out to the last."""
    r2 = np.array([[0.0, 0.3], [0.9, 4.0]])
    # exp(−r²(1 + y)²) = e^{−r²} (1 − 2 r² y + (2 r⁴ − r²) y² …)
    beam = np.exp(-r2) * np.stack([np.ones((2, 2)), -2 * r2, 2 * r2**2 - r2])
    truth = power_law(-0.7, 0.1)[:, None, None] * np.ones((3, 2, 2))
    seen = np.stack([sum(truth[t - k] * beam[k] for k in range(t + 1)) for t in range(3)])
    got = correct_primary_beam(seen, beam)
    assert np.allclose(got[:, r2 < 1], truth[:, r2 < 1], rtol=1e-12)
    assert np.isnan(got[:, 1, 1]).all()  # e⁻⁴ is below 0.2
    assert np.allclose(spectral_index(got, [0.01] * 3).alpha[r2 < 1], -0.7, atol=1e-5)
    # The other way: α and β of the beam subtracted; the error is that of what was seen.
    direct = spectral_index(seen, [0.001] * 3, primary_beam=beam)
    assert np.allclose(direct.alpha, -0.7, atol=1e-5)
    assert np.allclose(direct.beta, 0.1, atol=1e-5)
    assert np.allclose(direct.error, spectral_index(seen, [0.001] * 3).error)
    with pytest.raises(ImageError, match="wanted are equal ones"):
        spectral_index(seen, [0.001] * 3, primary_beam=beam[:2])
    # Not corrected, the source at r² = 0.3 is steeper by 2 r².
    assert spectral_index(seen, [0.01] * 3).alpha[0, 1] == pytest.approx(-1.3, abs=1e-5)
    flat = correct_primary_beam(seen[0], beam[0], level=0.0)
    assert np.allclose(flat, 1.0)
    with pytest.raises(ImageError, match="wanted are equal pixels"):
        correct_primary_beam(seen, beam[0, :1])


def test_terms_and_noise_that_do_not_fit():
    with pytest.raises(ImageError, match="two terms or more"):
        spectral_index(np.ones((1, 4, 4)), [0.1])
    with pytest.raises(ImageError, match="one for each"):
        spectral_index(np.ones((2, 4, 4)), [0.1])


# --------------------------------------------------------------------------------------- components


def test_pixels_and_directions_agree_with_the_projection():
    geometry = ImageGeometry(1.2, -0.6, -8 * ARCSEC, 6 * ARCSEC, 0.001, -0.002)
    rows, columns = np.array([0, 50, 99, 31]), np.array([0, 40, 79, 66])
    for row, column, ra, dec in zip(rows, columns,
                                    *pixel_directions(rows, columns, geometry, (100, 80)),
                                    strict=True):
        l, m, _ = cosines(ra, dec, 1.2, -0.6)
        assert l == pytest.approx(0.001 - (column - 40) * 8 * ARCSEC, abs=1e-14)
        assert m == pytest.approx(-0.002 + (row - 50) * 6 * ARCSEC, abs=1e-14)
    ra, _ = pixel_directions(5, 79, ImageGeometry(0.0, 0.0, -1e-4, 1e-4), (10, 80))
    assert 2 * np.pi - 0.01 < ra < 2 * np.pi  # west of 0 is below 360°
    _, pole = pixel_directions([5, 6], [40, 40], ImageGeometry(0.3, np.pi / 2, -1e-4, 1e-4),
                               (10, 80))
    assert np.allclose(pole, [np.pi / 2, np.pi / 2 - 1e-4], atol=1e-12)


def test_component_table():
    geometry = ImageGeometry(0.5, 0.3, -2 * ARCSEC, 2 * ARCSEC)
    table = component_table([10, 8], [10, 8], [[1.0, -0.7], [-3.0, 1.5]], geometry, (20, 20),
                            [0, 3.0], 1.4e9)
    assert table["flux"].to_value("Jy").tolist() == [-3.0, 1.0]
    assert table["scale"].to_value("arcsec") == pytest.approx([6.0, 0.0])
    assert table["spectral_index"] == pytest.approx([-0.5, -0.7])
    assert table["ra"].to_value("rad")[1] == pytest.approx(0.5, abs=1e-15)
    assert table["dec"].to_value("rad")[1] == pytest.approx(0.3, abs=1e-15)
    assert table["ra"][0] > table["ra"][1]  # two columns down is to the east
    assert table.meta["reference_frequency"] == 1.4e9
    assert len(component_table([], [], [], geometry, (20, 20))) == 0
    assert "spectral_index" not in component_table([1], [1], [1.0], geometry, (20, 20)).colnames
    with pytest.raises(ImageError, match="off the image of 20 by 20"):
        component_table([20], [3], [1.0], geometry, (20, 20))
    with pytest.raises(ImageError, match="wanted are as many"):
        component_table([2], [3], [1.0, 2.0], geometry, (20, 20))
    with pytest.raises(ImageError, match="beyond the horizon"):
        pixel_directions(0, 0, ImageGeometry(0.0, 0.0, -0.1, 0.1), (20, 20))
