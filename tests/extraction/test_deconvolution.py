"""Deconvolved sizes: errors, limits, significance, of drawn sizes and of fitted point sources."""

import numpy as np
import pytest
from test_gaussian_fit import BEAM, draw, fitted, smooth_noise

from uvstack.errors import ImageError, SelectionError
from uvstack.extraction.deconvolution import deconvolve_sizes
from uvstack.extraction.derived import sizes_of
from uvstack.extraction.gaussian_fit import numbers_of
from uvstack.sky.beam import covariances, deconvolve

LONG_BEAM = covariances(6.0, 3.0, 1.1)


def drawn(truth, beam, relative, n=20000, seed=1):
    """Sizes with normal errors about truth + beam, of a spread that is correlated; n of them."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(3, 3)) * relative * np.trace(truth + beam) / 2
    off = rng.standard_normal((n, 3)) @ mix.T
    size = truth + beam + off[:, [0, 1, 1, 2]].reshape(n, 2, 2)
    return size, np.broadcast_to(mix @ mix.T, (n, 3, 3))


@pytest.mark.parametrize(("axes", "beam"), [
    ((5.0, 2.0, 0.3), LONG_BEAM), ((4.0, 3.5, 3.0), BEAM), ((8.0, 3.0, 1.2), np.diag([16.0, 16.0])),
])  # fmt: skip
def test_errors_are_the_scatter_of_resolved_sources(axes, beam):
    size, spread = drawn(covariances(*axes), beam, 0.002)
    got = deconvolve_sizes(size, spread, beam)
    assert ((got.fwhm_major - axes[0]) / got.major_error).std() == pytest.approx(1, abs=0.04)
    assert ((got.fwhm_minor - axes[1]) / got.minor_error).std() == pytest.approx(1, abs=0.05)
    off = (got.position_angle - axes[2] + np.pi / 2) % np.pi - np.pi / 2
    assert (off / got.angle_error).std() == pytest.approx(1, abs=0.05)
    assert np.median(got.significance) > 10
    # The axes are the plain ones.
    major, minor, _ = deconvolve(*axes, (0.0, 0.0, 0.0))
    exact = deconvolve_sizes((covariances(*axes) + beam)[None], spread[:1], beam)
    assert (exact.fwhm_major[0], exact.fwhm_minor[0]) == (
        pytest.approx(major),
        pytest.approx(minor),
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beam", [LONG_BEAM, BEAM])
def test_point_sources_are_called_resolved_as_often_as_promised(beam, seed):
    size, spread = drawn(np.zeros((2, 2)), beam, 0.03, seed=seed)
    got = deconvolve_sizes(size, spread, beam)
    # Of 20 000: 5 % to 0.15 %, 0.135 % to 0.026 %; four of these.
    assert np.mean(got.significance > 1.645) == pytest.approx(0.05, abs=0.006)
    assert np.mean(got.significance > 3) == pytest.approx(0.00135, abs=0.00105)
    assert got.significance.mean() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("snr", [10.0, 40.0])
def test_fitted_point_sources_too(snr):
    n, step = 1200, 40
    centre = step / 2 + step * np.stack(np.meshgrid(np.arange(30), np.arange(30)), -1).reshape(
        -1, 2
    )
    truth = numbers_of(np.full(900, snr), centre[:, 0], centre[:, 1], BEAM)
    image = smooth_noise((n, n), 21)
    stamp = draw(
        (31, 31), [numbers_of(np.array([snr]), np.array([15.0]), np.array([15.0]), BEAM)[0]]
    )
    for x, y in centre.astype(int):
        image[y - 15 : y + 16, x - 15 : x + 16] += stamp
    got = deconvolve_sizes(*sizes_of(fitted(image, truth)), BEAM)
    # Of 900: 5 % to 0.73 %, a mean to 0.033 and a width to 0.024; three of these.
    assert np.mean(got.significance > 1.645) == pytest.approx(0.05, abs=0.022)
    assert got.significance.mean() == pytest.approx(0, abs=0.1)
    assert got.significance.std() == pytest.approx(1, abs=0.072)
    assert np.isfinite(got.major_limit).all()


@pytest.mark.parametrize(
    "axes", [(0.0, 0.0, 0.0), (1.5, 0.0, 0.4), (3.0, 0.5, 0.4), (6.0, 4.0, 2.0)]
)
def test_limits_hold(axes):
    size, spread = drawn(covariances(*axes), LONG_BEAM, 0.03, seed=5)
    got = deconvolve_sizes(size, spread, LONG_BEAM)
    # To first order, so 95 % to 1 %; all where the axis is 0, since a limit never is.
    assert np.mean(got.major_limit >= axes[0]) > 0.94
    assert np.mean(got.minor_limit >= axes[1]) > 0.93
    for error in (got.major_error, got.minor_error, got.angle_error):
        assert (np.isfinite(error) & (error > 0)).all()
    assert (got.angle_error <= np.pi / np.sqrt(12) + 1e-12).all()
    more = deconvolve_sizes(size[:100], spread[:100], LONG_BEAM, confidence=0.99)
    assert (more.major_limit > got.major_limit[:100]).all()


def test_a_turn_and_another_unit_change_nothing_else():
    truth = covariances(4.0, 2.0, 0.5)
    size, spread = drawn(truth, LONG_BEAM, 0.02, n=50)
    got = deconvolve_sizes(size, spread, LONG_BEAM)
    c, s = np.cos(0.7), np.sin(0.7)
    # From the second coordinate through the first.
    turn = np.array([[c, s], [-s, c]])
    of_elements = np.array(
        [[c * c, 2 * c * s, s * s], [-c * s, c * c - s * s, c * s], [s * s, -2 * c * s, c * c]]
    )
    turned = deconvolve_sizes(9 * turn @ size @ turn.T, 81 * of_elements @ spread @ of_elements.T,
                              9 * turn @ LONG_BEAM @ turn.T)  # fmt: skip
    for name in (
        "fwhm_major",
        "fwhm_minor",
        "major_error",
        "minor_error",
        "major_limit",
        "minor_limit",
    ):
        assert getattr(turned, name) == pytest.approx(3 * getattr(got, name), rel=1e-6, abs=1e-5)
    assert turned.significance == pytest.approx(got.significance)
    assert turned.angle_error == pytest.approx(got.angle_error)
    assert np.sin(turned.position_angle - got.position_angle - 0.7) == pytest.approx(
        np.zeros(50), abs=1e-6
    )


def test_rows_without_a_size_and_shapes_that_do_not_fit():
    size = np.array([BEAM, np.full((2, 2), np.nan), -BEAM, 2 * BEAM, BEAM])
    spread = np.array([np.eye(3), np.eye(3), np.eye(3), np.eye(3), np.zeros((3, 3))])
    got = deconvolve_sizes(size, spread, BEAM)
    assert list(np.isfinite(got.fwhm_major)) == [True, False, False, True, True]
    assert list(np.isfinite(got.significance)) == [True, False, False, True, False]
    assert list(np.isfinite(got.major_limit)) == [True, False, False, True, False]
    assert got.fwhm_major[[0, 3, 4]] == pytest.approx([0.0, 5.0, 0.0])
    assert got.fwhm_minor[3] == pytest.approx(4.0)
    assert deconvolve_sizes(np.empty((0, 2, 2)), np.empty((0, 3, 3)), BEAM).significance.shape == (
        0,
    )
    with pytest.raises(ImageError, match="wanted are"):
        deconvolve_sizes(BEAM, np.eye(3), BEAM)
    with pytest.raises(ImageError, match="positive axes"):
        deconvolve_sizes(size, spread, np.zeros((2, 2)))
    with pytest.raises(SelectionError, match="confidence"):
        deconvolve_sizes(size, spread, BEAM, confidence=95)
