"""Errors of fits: a thousand fits in correlated noise, Fisher's matrix in white noise."""

import numpy as np
import pytest

from uvstack.errors import ImageError
from uvstack.extraction.condon_errors import condon_errors, flux_of_fit, sky_errors, unbiased_peak
from uvstack.sky.beam import covariances

FOUR_LN2 = 4 * np.log(2)


def profile(parameters, dx, dy):
    """Value and derivatives of n Gaussians of (peak, x, y, major, minor, angle) at offsets.

    The angle runs from y towards x.
    """
    c, x, y, a, b, p = (v[:, None] for v in np.atleast_2d(parameters).T)
    dx, dy = dx - x, dy - y
    s, k = np.sin(p), np.cos(p)
    along, across = dx * s + dy * k, dx * k - dy * s
    e = c * np.exp(-FOUR_LN2 * ((along / a) ** 2 + (across / b) ** 2))
    u, v = 2 * FOUR_LN2 * along / a**2, 2 * FOUR_LN2 * across / b**2
    turn = -u * across + v * along
    return e, np.stack([e / c, e * (u * s + v * k), e * (u * k - v * s), e * u * along / a,
                        e * v * across / b, e * turn], -1)  # fmt: skip


def correlated_noise(n, beam, seed):
    dy, dx = ((np.mgrid[:n, :n] + n // 2) % n) - n // 2
    smooth = profile([1.0, 0, 0, *beam], dx.ravel(), dy.ravel())[0].reshape(n, n)
    white = np.random.default_rng(seed).standard_normal((n, n))
    spread = np.fft.irfft2(np.fft.rfft2(white) * np.fft.rfft2(smooth), s=(n, n))
    return spread / np.sqrt((smooth**2).sum())


def fits(source, beam, peak, seed=3, step=32):
    """Least-squares fits to 1024 sources in noise of rms 1 correlated by the beam, (1024, 6)."""
    n = 32 * step
    half = step // 2
    noise = correlated_noise(n, beam, seed).reshape(32, step, 32, step).swapaxes(1, 2)
    noise = noise.reshape(1024, step * step)
    dy, dx = np.mgrid[-half:half, -half:half].reshape(2, -1)
    rng = np.random.default_rng(seed + 1)
    truth = np.tile(np.array([peak, 0, 0, *source]), (1024, 1))
    truth[:, 1:3] = rng.uniform(-0.5, 0.5, (1024, 2))
    seen = profile(truth, dx, dy)[0] + noise
    fitted = truth.copy()
    for _ in range(3):
        model, slope = profile(fitted, dx, dy)
        normal = slope.swapaxes(1, 2) @ slope
        right = slope.swapaxes(1, 2) @ (seen - model)[..., None]
        fitted += np.linalg.solve(normal, right)[..., 0]
    return fitted, truth


def widths(source, beam, peak):
    """Standard deviation of the fits over the errors, along the source's own axes."""
    fitted, truth = fits(source, beam, peak)
    off = fitted - truth
    s, k = np.sin(source[2]), np.cos(source[2])
    errors = condon_errors(peak, source, 1.0, beam)
    flux = flux_of_fit(fitted[:, 0], (fitted[:, 3], fitted[:, 4], fitted[:, 5]), 1.0, beam)
    spread = {
        "peak": off[:, 0], "along_major": off[:, 1] * s + off[:, 2] * k, "flux": flux,
        "along_minor": off[:, 1] * k - off[:, 2] * s, "fwhm_major": off[:, 3],
        "fwhm_minor": off[:, 4], "angle": off[:, 5],
    }  # fmt: skip
    return {name: values.std() / getattr(errors, name) for name, values in spread.items()}


def test_a_point_source_in_the_noise_of_its_beam():
    # With b(k) the transform of the beam, least squares over all pixels have the variances of the
    # integrals of b⁴ over those of b² squared: for the position twice Condon's. 1024 fits tell
    # a width to 2.2 %, three of which are allowed.
    beam = (5.0, 4.0, 0.6)
    got = widths(beam, beam, 200.0)
    assert got["peak"] == pytest.approx(1, rel=0.07)
    assert got["angle"] == pytest.approx(1, rel=0.07)
    assert got["along_major"] == pytest.approx(np.sqrt(2), rel=0.07)
    assert got["along_minor"] == pytest.approx(np.sqrt(2), rel=0.07)
    assert got["fwhm_major"] == pytest.approx(1.27, rel=0.07)
    assert got["fwhm_minor"] == pytest.approx(1.27, rel=0.07)
    assert got["flux"] == pytest.approx(1.34, rel=0.07)


@pytest.mark.parametrize("angle", [0.6, 2.0])
def test_extended_sources_have_their_exponents_the_right_way_round(angle):
    # Exchanged, the errors along the axes were wrong by up to (1 + 5²/9²)²/(1 + 4²/5²)² = 0.64
    # more, in opposite directions.
    got = widths((12.0, 4.0, angle), (4.0, 4.0, 0.0), 200.0)
    assert got["along_major"] == pytest.approx(1.06, rel=0.08)
    assert got["fwhm_major"] == pytest.approx(1.0, rel=0.08)
    assert got["along_minor"] == pytest.approx(1.42, rel=0.08)
    assert got["fwhm_minor"] == pytest.approx(1.28, rel=0.08)
    assert got["peak"] == pytest.approx(1.05, rel=0.08)


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_white_noise_is_fisher_s_matrix(angle):
    source, peak = (12.0, 7.0, angle), 50.0
    dy, dx = np.mgrid[-40:41, -40:41].reshape(2, -1)
    slope = profile([peak, 0.2, -0.3, *source], dx, dy)[1][0]
    covariance = np.linalg.inv(slope.T @ slope) * 0.7**2
    got = condon_errors(peak, source, 0.7, source, noise_beam=(0.0, 0.0, 0.0))
    s, k = np.sin(angle), np.cos(angle)
    turned = np.array([[s, k], [k, -s]]) @ covariance[1:3, 1:3] @ [[s, k], [k, -s]]
    want = np.sqrt([covariance[0, 0], turned[0, 0], turned[1, 1], *np.diag(covariance)[3:]])
    have = [got.peak, got.along_major, got.along_minor, got.fwhm_major, got.fwhm_minor, got.angle]
    assert have == pytest.approx(want, rel=1e-6)
    east, north = sky_errors(got.along_major, got.along_minor, angle)
    assert (east, north) == (pytest.approx(np.sqrt(covariance[1, 1])),
                             pytest.approx(np.sqrt(covariance[2, 2])))  # fmt: skip


def test_exponents_and_frame_are_condons():
    # ρ² written out, the noise's beam along the source.
    big, small, b_major, b_minor, peak, rms = 10.0, 6.0, 5.0, 3.0, 40.0, 2.0

    def relative(on_major, on_minor):
        first, second = (b_major / big) ** 2, (b_minor / small) ** 2
        rho2 = big * small / (4 * b_major * b_minor) * (peak / rms) ** 2
        return np.sqrt(2 / (rho2 * (1 + first) ** on_major * (1 + second) ** on_minor))

    got = condon_errors([peak, -peak], (big, small, 0.3), rms, (b_major, b_minor, 0.3))
    sigma = np.sqrt(8 * np.log(2))
    assert got.peak == pytest.approx(np.full(2, peak * relative(1.5, 1.5)))
    assert got.fwhm_major[0] == pytest.approx(big * relative(2.5, 0.5))
    assert got.along_major[0] == pytest.approx(big * relative(2.5, 0.5) / sigma)
    assert got.fwhm_minor[0] == pytest.approx(small * relative(0.5, 2.5))
    assert got.along_minor[0] == pytest.approx(small * relative(0.5, 2.5) / sigma)
    assert got.angle[0] == pytest.approx(np.sqrt(2) * relative(0.5, 2.5) * 60 / 64)
    flux = (peak - rms**2 / peak) * big * small / 15
    assert flux_of_fit(peak, (big, small, 0.3), rms, (b_major, b_minor, 0.3)) == pytest.approx(flux)
    of_sizes = 15 / 60 * (relative(2.5, 0.5) ** 2 + relative(0.5, 2.5) ** 2)
    of_peak = relative(1.5, 1.5) ** 2 * (peak / (peak - rms**2 / peak)) ** 2
    assert got.flux == pytest.approx(np.full(2, flux * np.sqrt(of_peak + of_sizes)))
    # A quarter turn of the noise's beam exchanges its widths.
    turned = condon_errors(peak, (big, small, 0.3), rms, (b_major, b_minor, 0.3 + np.pi / 2))
    crossed = condon_errors(peak, (big, small, 0.3), rms, (b_minor, b_major, 0.3))
    assert turned.fwhm_major == pytest.approx(crossed.fwhm_major)
    assert turned.fwhm_minor == pytest.approx(crossed.fwhm_minor)


def test_round_sources_have_the_error_of_an_unknown_angle():
    got = condon_errors(50.0, (5.0, [5.0, 5.0 - 1e-9, 3.0], 0.0), 1.0, (5.0, 5.0, 0.0))
    assert got.angle[:2] == pytest.approx(np.pi / np.sqrt(12))
    assert got.angle[2] < 0.1


@pytest.mark.parametrize("degrees", [0, 30, 90, 150])
def test_sky_errors_are_the_rotated_covariance(degrees):
    p = np.deg2rad(degrees)
    east, north = sky_errors(3.0, 1.0, p)
    want = np.sqrt(np.diag(covariances(3.0, 1.0, p)))
    assert [east, north] == pytest.approx(want)
    # North up: a source that lies north to south is worst known in declination.
    assert degrees != 0 or north == pytest.approx(3.0)


def test_peaks_without_bias_and_shapes_that_do_not_fit():
    assert unbiased_peak([10.0, -10.0], 1.0) == pytest.approx([9.9, -9.9])
    with pytest.raises(ImageError, match="one length"):
        condon_errors([1.0, 2.0], ([1.0, 2.0, 3.0], 1.0, 0.0), 1.0, (1.0, 1.0, 0.0))
    empty = condon_errors([], ([], [], []), 1.0, (5.0, 4.0, 0.0))
    assert empty.flux.shape == (0,)


def test_what_is_no_fit_has_no_errors():
    peak = [0.0, np.inf, np.nan, 10.0, 10.0, 10.0, 1.0]
    major, rms = [5.0, 5.0, 5.0, 0.0, np.nan, 5.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    got = condon_errors(peak, (major, 4.0, 0.2), rms, (5.0, 4.0, 0.2))
    for error in (got.peak, got.flux, got.along_minor, got.fwhm_major, got.angle):
        # At 1 σ the unbiased flux is 0; its error is that of the peak.
        assert list(np.isfinite(error)) == [False] * 6 + [True]
    assert got.flux[6] == pytest.approx(got.peak[6])
