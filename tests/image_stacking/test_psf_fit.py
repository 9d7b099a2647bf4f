"""PSF fitting: exact without noise, pulls of width 1 with the noise that interferometers have, sizes and their limits."""

import json
import math

import numpy as np
import pytest

from uvstack.errors import FitError
from uvstack.image_stacking.psf_fit import describe, fit_psf

N, STAMP, CELL = 128, 24, 0.5 * math.pi / 180 / 3600
FREQUENCY = np.fft.fftfreq(N)
FWHM = math.sqrt(8 * math.log(2))


def uv_density(seed=1):
    """Natural weights on the uv grid.

    Patchy, elongated, without short baselines, the same at −u; sum 1.
    """
    rng = np.random.default_rng(seed)
    distance = np.hypot(FREQUENCY[:, None], 1.4 * FREQUENCY[None, :])
    density = np.exp(-((distance
                        / 0.1) ** 2)) * (distance > 0.012) * (distance < 0.3) * rng.uniform(
        0.2, 1.8, (N, N))
    density = density + np.roll(density[::-1, ::-1], 1, axis=(0, 1))
    return density / density.sum()


DENSITY = uv_density()
PSF = np.fft.fftshift(np.fft.ifft2(DENSITY).real * N * N)


def visibility(v_mm, v_ml, v_ll, offset_m=0.0, offset_l=0.0):
    """Of a Gaussian of 1 Jy with second moments in pixels², at an offset in pixels, on the uv grid."""
    m, l = FREQUENCY[:, None], FREQUENCY[None, :]
    moment = v_mm * m**2 + 2 * v_ml * m * l + v_ll * l**2
    return np.exp(-2 * np.pi**2 * moment - 2j * np.pi * (m * offset_m + l * offset_l))


def stamp(source, flux=1.0, noise=0.0, level=0.0, rng=None, size=STAMP):
    """Dirty image of a source with noise of natural weights (its power is the psf's transform), cut from a larger one."""
    image = flux * np.fft.ifft2(DENSITY * source).real * N * N + level
    if rng is not None:
        image += noise * np.fft.ifft2(np.fft.fft2(rng.standard_normal((N, N)))
                                      * np.sqrt(DENSITY)).real * N
    cut = slice(N // 2 - size // 2, N // 2 + size // 2)
    return np.fft.fftshift(image)[cut, cut]


def psf(size=2 * STAMP):
    cut = slice(N // 2 - size // 2, N // 2 + size // 2)
    return PSF[cut, cut]


# A Gaussian of σ 2 pixels is exact; one of 0.55 pixels has not died out at the Nyquist frequency,
# so that as a kernel on pixels it has long tails, which meet the edge of the psf: 2e-5 Jy.
def test_a_circular_source_without_noise_is_exact():
    for moment in (0.0, 0.3, 4.0):
        found = fit_psf(stamp(visibility(moment, 0, moment), 2.5, level=0.1), psf(), CELL)
        assert found.flux == pytest.approx(2.5, rel=3e-6)
        assert found.constant == pytest.approx(0.1, abs=1e-6)
        assert found.moments[0] == pytest.approx(moment * CELL**2, abs=1e-5 * CELL**2)
        np.testing.assert_allclose(found.residual, 0.0, atol=2e-5 if moment == 0.3 else 1e-9)
    assert found.fwhm_major == pytest.approx(FWHM * 2 * CELL, rel=1e-6)


def test_an_ellipse_and_an_offset_without_noise_are_exact_and_north_through_east():
    # 3 × 1.5 pixels σ, major axis 30° from north to the east; along pixels l runs west.
    angle, major, minor = math.radians(30), 9.0, 2.25
    cos, sin = math.cos(angle), math.sin(angle)
    mm, ll = major * cos**2 + minor * sin**2, major * sin**2 + minor * cos**2
    ml = -(major - minor) * sin * cos
    found = fit_psf(stamp(visibility(mm, ml, ll, 0.7, -1.3), 3.0), psf(), CELL, shape="elliptical",
                    fit_position=True)
    assert found.flux == pytest.approx(3.0, rel=1e-6)
    assert found.fwhm_major == pytest.approx(FWHM * 3 * CELL, rel=1e-6)
    assert found.fwhm_minor == pytest.approx(FWHM * 1.5 * CELL, rel=1e-6)
    assert found.position_angle == pytest.approx(angle, abs=1e-6)
    # 0.7 pixels north, 1.3 east.
    assert (found.m, found.l) == pytest.approx((0.7 * CELL, 1.3 * CELL), abs=1e-6 * CELL)


@pytest.mark.parametrize("shape", ["point", "circular", "elliptical"])
def test_pulls_have_width_one_in_correlated_noise(shape):
    """300 stamps: widths are known to 4 %, means to 0.06."""
    rng = np.random.default_rng({"point": 1, "circular": 2, "elliptical": 3}[shape])
    moment = 0.0 if shape == "point" else 4.0
    source = visibility(moment, 0.0, moment)
    pulls = []
    naive = []
    for _ in range(300):
        found = fit_psf(stamp(source, 1.0, 0.01, 0.02, rng), psf(), CELL, shape=shape)
        pull = [(found.flux - 1.0) / found.flux_error,
                (found.constant - 0.02) / found.constant_error]
        truth = [] if shape == "point" else [moment] if shape == "circular" else [
            moment, 0.0, moment]
        errors = np.sqrt(np.diag(found.moments_covariance)) if truth else []
        pull += [(value / CELL**2 - t) / (e / CELL**2)
                 for value, t, e in zip(found.moments, truth, errors, strict=True)]
        pulls.append(pull)
        naive.append(found.noise)
    np.testing.assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.1)
    np.testing.assert_allclose(np.mean(pulls, axis=0), 0.0, atol=0.2)
    # The noise of a pixel comes from the residuals, with the degrees of freedom of correlated ones.
    assert np.mean(naive) == pytest.approx(0.01, rel=0.02)


def test_errors_of_independent_pixels_would_be_too_small():
    found = fit_psf(stamp(visibility(4, 0, 4), 1.0, 0.01, 0.0, np.random.default_rng(1)), psf(),
                    CELL)
    white = np.zeros((2 * STAMP, 2 * STAMP))
    white[STAMP, STAMP] = 1.0
    naive = fit_psf(stamp(visibility(4, 0, 4), 1.0, 0.01, 0.0, np.random.default_rng(1)), psf(),
                    CELL, correlation=white)
    assert naive.flux == pytest.approx(found.flux, rel=1e-12)
    assert naive.flux_error < 0.5 * found.flux_error


def plain_covariance(jacobian, places, correlation, noise):
    """The sandwich with the covariance of every pair of pixels written out."""
    n = len(places)
    covariance = np.empty((n, n))
    for a in range(n):
        for b in range(n):
            covariance[a, b] = correlation[places[a][0] - places[b][0] + 16,
                                           places[a][1] - places[b][1] + 16]
    bread = np.linalg.inv(jacobian.T @ jacobian)
    return noise**2 * bread @ jacobian.T @ covariance @ jacobian @ bread


def test_covariance_equals_the_one_with_every_pair_of_pixels():
    rng = np.random.default_rng(4)
    image = stamp(visibility(0, 0, 0), 1.0, 0.05, 0.0, rng, size=16)
    image[3, 4] = np.nan
    found = fit_psf(image, psf(32), CELL, shape="point", noise=0.05)
    places = [(i, j) for i in range(16) for j in range(16) if np.isfinite(image[i, j])]
    jacobian = np.array([[psf(32)[i + 8, j + 8], 1.0] for i, j in places])
    expected = plain_covariance(jacobian, places, psf(32), 0.05)
    assert found.flux_error == pytest.approx(math.sqrt(expected[0, 0]), rel=1e-9)
    assert found.constant_error == pytest.approx(math.sqrt(expected[1, 1]), rel=1e-9)
    assert found.n_pixels == 255


def test_unresolved_sources_get_limits_that_hold():
    rng = np.random.default_rng(6)
    inside, resolved, n = 0, 0, 150
    moment = 0.4
    truth = FWHM * math.sqrt(moment) * CELL
    for _ in range(n):
        found = fit_psf(stamp(visibility(moment, 0, moment), 1.0, 0.05, 0.0, rng), psf(), CELL)
        inside += found.fwhm_major_limit >= truth
        resolved += found.resolved
        if not found.resolved:
            assert np.isnan(found.fwhm_major_error)
        # A point of its own has the smaller error.
        assert found.point_flux_error < found.flux_error
    # 95 % of a true value that is positive; the cut at zero makes limits wider: at least 0.95 − 3 ·
    # 1.8 %.
    assert inside / n > 0.89
    assert resolved / n < 0.3
    found = fit_psf(stamp(visibility(4, 0, 4), 1.0, 0.005, 0.0, rng), psf(), CELL)
    assert found.resolved
    assert found.fwhm_major == pytest.approx(FWHM * 2 * CELL, abs=4 * found.fwhm_major_error)
    assert found.fwhm_major < found.fwhm_major_limit < 1.1 * found.fwhm_major


def test_a_fit_within_a_radius_and_blanks_and_float32():
    image = stamp(visibility(4, 0, 4), 2.0, level=0.1)
    image[:5, :7] = np.nan
    found = fit_psf(image.astype(np.float32), psf().astype(np.float32), CELL, radius=10.0)
    assert found.n_pixels == 316  # 317 within the circle, one of them blank
    assert found.flux == pytest.approx(2.0, rel=1e-5)
    assert np.isfinite(found.model).all()
    assert np.isnan(found.residual[0, 0])
    json.dumps(found.summary(), allow_nan=False)
    text = dict(describe(found, "Jy", 1.0))
    assert text["flux"].startswith("2 ±")
    assert "deconvolved" in text["FWHM"]


@pytest.mark.parametrize(("arguments", "fragment"), [
    ({"shape": "eliptical"}, "did you mean elliptical"),
    ({"stamp": np.zeros(5)}, "the stamp has the shape"),
    ({"stamp": np.full((24, 24), np.nan)}, "0 pixels"),
    ({"psf": np.zeros((48, 48))}, "psf with its peak"),
    ({"psf": np.full((48, 48), np.nan)}, "holds NaN"),
    ({"correlation": np.ones((8, 8))}, "one grid"),
    ({"radius": 1.0}, "larger stamp or radius"),
])
def test_what_cannot_be_fitted_is_told(arguments, fragment):
    given = {"stamp": stamp(visibility(0, 0, 0)), "psf": psf(), "cell": CELL} | arguments
    with pytest.raises(FitError, match=fragment):
        fit_psf(given.pop("stamp"), given.pop("psf"), given.pop("cell"), **given)


def test_a_stamp_of_zeros_has_no_flux():
    found = fit_psf(np.zeros((24, 24)), psf(), CELL)
    assert found.flux == pytest.approx(0.0, abs=1e-12)
    assert not found.resolved
