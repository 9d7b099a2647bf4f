"""Gaussian fits: derivatives against differences, noise-free truth, errors and bias against many realisations of noise."""

from __future__ import annotations

import numpy as np
import pytest

from uvstack.errors import SelectionError
from uvstack.extraction import fit_kernels
from uvstack.extraction.derived import axes_of, fluxes_of, peaks_of, positions_of, sizes_of, turned
from uvstack.extraction.gaussian_fit import fit_gaussians, groups_of, numbers_of, size_matrix
from uvstack.extraction.noise_correlation import beam_correlation, measure_correlation
from uvstack.extraction.noise_map import NodeMap
from uvstack.sky.beam import FOUR_LN2, covariances

#: In (x, y), of a beam of 5 by 4 pixels.
BEAM = covariances(5.0, 4.0, 0.6)


def draw(shape, numbers):
    y, x = np.mgrid[: shape[0], : shape[1]]
    total = np.zeros(shape)
    for p, x0, y0, a, b, c in numbers:
        dx, dy = x - x0, y - y0
        total += p * np.exp(-(a * dx**2 + 2 * b * dx * dy + c * dy**2))
    return total


def smooth_noise(shape, seed):
    """White noise smoothed with the beam, of unit variance; periodic."""
    form = FOUR_LN2 * np.linalg.inv(BEAM)
    y, x = (np.fft.fftfreq(n) * n for n in shape)
    kernel = np.exp(-(form[0, 0] * x**2 + 2 * form[0, 1] * x * y[:, None]
                      + form[1, 1] * y[:, None] ** 2))
    white = np.random.default_rng(seed).standard_normal(shape)
    smooth = np.fft.irfft2(np.fft.rfft2(white) * np.fft.rfft2(kernel), s=shape)
    return smooth / np.sqrt((kernel**2).sum())


def fitted(image, start, rms=1.0, **options):
    n = len(start)
    return fit_gaussians(image.astype(np.float32), np.zeros(image.shape, np.int32), start,
                         np.full(n, -1), np.full(n, rms), BEAM, beam_correlation(BEAM), **options)


def test_derivatives_of_both_orders():
    numbers = np.array([[2.0, 5.3, 4.8, 0.11, 0.03, 0.17]])
    x, y = (v.ravel().astype(float) for v in np.mgrid[:9, :11])
    model, first = np.empty(x.size), np.empty((x.size, 6))
    fit_kernels.evaluate(numbers, x, y, model, first)
    second = np.zeros((6, 6))
    for j in range(6):
        step = np.zeros((1, 6))
        step[0, j] = 1e-5
        sides = []
        for sign in (1, -1):
            value, slope = np.empty(x.size), np.empty((x.size, 6))
            fit_kernels.evaluate(numbers + sign * step, x, y, value, slope)
            sides.append((value, slope))
        assert np.allclose(first[:, j], (sides[0][0] - sides[1][0]) / 2e-5, atol=1e-8)
        for i in (12, 40, 57):
            fit_kernels._second(numbers[0], x[i], y[i], second)
            assert np.allclose(second[:, j], (sides[0][1][i] - sides[1][1][i]) / 2e-5, atol=1e-8)


@pytest.mark.parametrize("weighting", ["plain", "gls"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_noise_free_truth_comes_out(weighting, sign):
    sizes = np.array([BEAM, BEAM + covariances(9.0, 3.0, 2.0), BEAM * 1.2])
    truth = numbers_of(sign * np.array([3.0, 2.0, 5.0]), np.array([30.3, 80.6, 130.1]),
                       np.array([40.2, 60.7, 35.5]), sizes)
    image = draw((100, 170), truth)
    start = numbers_of(0.8 * truth[:, 0], np.round(truth[:, 1]), np.round(truth[:, 2]), BEAM)
    fits = fitted(image, start, rms=1e-3, weighting=weighting)
    assert (fits.status == fit_kernels.CONVERGED).all()
    # float32 of the image.
    assert np.allclose(fits.numbers, truth, rtol=2e-5, atol=1e-6)
    flux, _ = fluxes_of(fits)
    assert np.allclose(flux, np.pi / FOUR_LN2 * truth[:, 0] * np.sqrt(np.linalg.det(sizes)),
                       rtol=1e-4)
    assert np.allclose(size_matrix(fits.numbers), sizes, rtol=1e-4, atol=1e-3)


def test_a_close_pair_is_fitted_as_one_problem():
    truth = numbers_of(np.array([3.0, 2.0]), np.array([40.0, 45.5]), np.array([40.0, 42.0]), BEAM)
    image = draw((90, 90), truth)
    start = numbers_of(np.array([3.3, 2.5]), np.array([40.0, 46.0]), np.array([40.0, 42.0]), BEAM)
    assert len(set(groups_of(start[:, 1], start[:, 2], BEAM))) == 1
    fits = fitted(image, start, rms=1e-3)
    assert np.allclose(fits.numbers, truth, rtol=1e-4, atol=1e-5)
    (whole,) = fits.joint.values()
    assert np.allclose(whole, whole.T)
    assert (np.linalg.eigvalsh(whole) > -1e-12).all()
    assert np.allclose(whole[6:, 6:], fits.covariance[1])
    alone = fitted(image, start, rms=1e-3, group=np.array([0, 1]))
    assert abs(alone.numbers[0, 0] - 3.0) > 0.02


def test_fixed_numbers_stay_and_have_no_error():
    truth = numbers_of(np.array([4.0]), np.array([40.3]), np.array([39.8]), BEAM)
    free = np.array([[True, False, False, False, False, False]])
    fits = fitted(draw((80, 80), truth), truth * [0.5, 1, 1, 1, 1, 1], rms=0.01, free=free)
    assert np.allclose(fits.numbers, truth, rtol=1e-6)
    assert (fits.covariance[0, 1:] == 0).all()
    assert fits.covariance[0, 0, 0] > 0


@pytest.mark.parametrize("weighting", ["plain", "gls"])
@pytest.mark.parametrize("snr", [10.0, 40.0])
def test_errors_and_bias_hold_for_correlated_noise(weighting, snr):
    """(measured − true) / error of 900 sources; the standard error of its mean is 0.033, of its width 0.024."""
    n, step = 1200, 40
    rng = np.random.default_rng(5)
    centres = step / 2 + step * np.stack(np.meshgrid(np.arange(30), np.arange(30)),
                                         -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (900, 2))
    truth = numbers_of(np.full(900, snr), centres[:, 0], centres[:, 1], BEAM)
    image = smooth_noise((n, n), 11)
    for row in truth:
        x0, y0 = (int(v) - 15 for v in row[1:3])
        image[y0:y0 + 31, x0:x0 + 31] += draw((31, 31), [row - [0, x0, y0, 0, 0, 0]])
    start = truth.copy()
    start[:, 1:3] = np.round(start[:, 1:3])
    fits = fitted(image, start, weighting=weighting)
    peak, peak_error = peaks_of(fits)
    x, y, place = positions_of(fits)
    flux, flux_error = fluxes_of(fits)
    axes = axes_of(*sizes_of(fits))
    true_flux = np.pi * snr / np.sqrt(np.linalg.det(FOUR_LN2 * np.linalg.inv(BEAM)))
    pulls = {"peak": (peak - snr) / peak_error,
             "x": (x - truth[:, 1]) / np.sqrt(place[:, 0, 0]),
             "y": (y - truth[:, 2]) / np.sqrt(place[:, 1, 1]),
             "flux": (flux - true_flux) / flux_error,
             "major": (axes.major - 5) / axes.major_error,
             "minor": (axes.minor - 4) / axes.minor_error}
    for name, pull in pulls.items():
        assert abs(pull.mean()) < 0.05 + 3 * 0.033, name
        assert abs(pull.std() - 1) < 0.05 + 3 * 0.024, name
    # A source of 10 σ would be 3.4 % too bright without.
    assert abs(np.mean(flux) / true_flux - 1) < 0.005 + 3 * np.std(flux) / true_flux / 30


def test_pixels_about_the_measured_place_leave_no_bias():
    """Each noise is added and subtracted, so that what is linear in it is gone.

    Without the motion of the pixels the flux at 10 σ is 1.2 % too high, the peak 0.06 σ too low;
    third and higher orders remain, below 0.1 %, and the mean's standard error, 0.06 %.
    """
    snr, n, rng = 10.0, 1200, np.random.default_rng(6)
    along = np.arange(20.0, n - 20, 30)
    grid = np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)
    x, y = (grid + rng.uniform(-0.5, 0.5, grid.shape)).T
    truth = numbers_of(np.full(len(grid), snr), x, y, BEAM)
    signal, noise = np.zeros((n, n)), smooth_noise((n, n), 12)
    for row in truth:
        x0, y0 = (int(v) - 13 for v in row[1:3])
        signal[y0:y0 + 28, x0:x0 + 28] += draw((28, 28), [row - [0, x0, y0, 0, 0, 0]])
    fits = []
    for image in (signal + noise, signal - noise):
        fits.append(fitted(image, fitted(image, truth).numbers))
    flux = np.mean([fluxes_of(one)[0] for one in fits], axis=0)
    peak = np.mean([peaks_of(one)[0] for one in fits], axis=0)
    true_flux = np.pi * snr / np.sqrt(np.linalg.det(FOUR_LN2 * np.linalg.inv(BEAM)))
    assert abs(flux.mean() / true_flux - 1) < 0.003
    assert abs(peak.mean() - snr) < 0.03


def test_the_measured_correlation_is_that_of_the_beam():
    noise = smooth_noise((700, 700), 3).astype(np.float32)
    noise[:5] = np.nan
    label = np.zeros(noise.shape, np.int32)
    noise[300:320, 300:320], label[300:320, 300:320] = 1e4, 1
    found = measure_correlation(noise, np.ones_like(noise), label, BEAM)
    expected = beam_correlation(BEAM)
    assert found.shape == expected.shape
    assert np.allclose(found, found[::-1, ::-1], atol=0.02)
    # Some 8000 independent beams.
    assert np.abs(found - expected).max() < 5 / np.sqrt(8000)
    assert measure_correlation(noise[:60, :60], noise[:60, :60], label[:60, :60], BEAM) is None


def test_a_fit_that_runs_away_takes_no_more_pixels():
    """On a plain a Gaussian widens without end; the pixels of its next fit would be those of the image."""
    image = 5.0 + 0.2 * smooth_noise((400, 400), 5)
    start = numbers_of(np.array([5.0]), np.array([200.0]), np.array([200.0]), BEAM)
    fits = fitted(image, start)
    assert size_matrix(fits.numbers)[0].max() > 16 * BEAM.max()
    # Those of an ellipse of 0.8 FWHM.
    assert fits.n_pixels[0] == pytest.approx(np.pi * 0.64 * 5 * 4, rel=0.1)


def test_wings_of_sources_do_not_count_as_noise():
    """A source every 30 pixels, of which only what is above 3 σ is in its island: the correlation is that of the noise."""
    noise, rng = smooth_noise((600, 600), 11), np.random.default_rng(1)
    x, y = (v.ravel() + rng.uniform(-0.5, 0.5, v.size) for v in np.mgrid[20:580:30, 20:580:30])
    sources = draw(noise.shape, numbers_of(np.full(x.size, 15.0), x, y, BEAM))
    image = (noise + sources).astype(np.float32)
    found = measure_correlation(image, 1.0, (image > 3).astype(np.int32), BEAM)
    alone = measure_correlation(noise.astype(np.float32), 1.0, np.zeros(noise.shape, np.int32), BEAM)
    expected = beam_correlation(BEAM)
    middle = (slice(len(expected) // 2 - 4, len(expected) // 2 + 5),) * 2
    # Of noise alone 0.02: some 6000 beams.
    assert np.abs(alone - expected)[middle].max() < 0.03
    assert np.abs(found - alone)[middle].max() < 0.03
    # In a crowd without a free place the pixels outside islands are what there is.
    crowd = np.zeros(noise.shape, np.int32)
    crowd[::6, ::6] = 1
    assert np.abs(measure_correlation(noise, 1.0, crowd, BEAM) - alone)[middle].max() < 0.03


def test_noise_of_a_map_its_nodes_and_a_number_correlate_alike():
    noise = 3.0 * smooth_noise((500, 600), 8).astype(np.float32)
    label = np.zeros(noise.shape, np.int32)
    nodes = NodeMap(np.full((2, 2), 3.0), np.array([100.0, 400.0]), np.array([100.0, 500.0]),
                    noise.shape)
    found = [measure_correlation(noise, rms, label, BEAM)
             for rms in (np.full(noise.shape, 3.0, np.float32), nodes, 3.0)]
    assert np.allclose(found[0], found[1], rtol=1e-6, atol=1e-9)
    assert np.allclose(found[0], found[2], rtol=1e-6, atol=1e-9)
    # A map that grows along an axis, not to be taken for its rows alone.
    slope = np.linspace(1.0, 4.0, 500)[:, None] * np.linspace(1.0, 2.0, 600)
    grown = measure_correlation((noise * slope).astype(np.float32), 3.0 * slope, label, BEAM)
    assert np.abs(grown - found[0]).max() < 0.02


def test_an_ellipse_turns_with_its_frame():
    size = covariances(np.array([9.0]), np.array([4.0]), np.array([0.4]))
    spread = np.diag([0.3, 0.1, 0.2])[None]
    angle = 0.7
    steps = np.array([[[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]])
    before, after = axes_of(size, spread * 1e-12), axes_of(*turned(size, spread * 1e-12, steps))
    assert np.allclose(before.angle, 0.4)
    assert np.allclose((after.angle - before.angle) % np.pi, angle)
    assert np.allclose([after.major, after.minor], [[9.0], [4.0]])
    mirrored = axes_of(*turned(size, spread * 1e-12, np.array([[[-1.0, 0.0], [0.0, 1.0]]])))
    assert np.allclose(mirrored.angle, np.pi - 0.4)


def test_unusable_fits_say_so():
    image = np.full((60, 60), np.nan)
    image[30, 30] = 5.0
    fits = fitted(image, numbers_of(np.array([5.0]), np.array([30.0]), np.array([30.0]), BEAM))
    assert fits.status[0] == fit_kernels.TOO_FEW_PIXELS
    with pytest.raises(SelectionError, match="wanted one of plain, gls"):
        fitted(image, np.zeros((0, 6)), weighting="natural")
