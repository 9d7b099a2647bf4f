"""Image-stacking on arrays.

Alignment against the analytic beam, averages against plain loops, noise against many skies.
"""

import math

import numpy as np
import pytest

import oracles
from uvstack.errors import NoDataError, PositionsError, SelectionError
from uvstack.image_stacking.averaging import (
    HALF_WIDTH,
    Averaging,
    LowFilter,
    Weighting,
    align,
    average,
    average_stamps,
    bootstrap_fluxes,
    expected_error,
    filtered,
    random_fluxes,
    stacked_psf,
    values_at,
)
from uvstack.pixels.noise import noise_around, off_centre_rms

ARCSEC = math.pi / 180 / 3600


def beam_at(rows, cols, y, x, major, minor=None):
    """Gaussian beam of FWHM major along m, minor along l (pixels) at (y, x)."""
    minor = major if minor is None else minor
    return np.exp(-4 * np.log(2) * (((rows - y) / major) ** 2 + ((cols - x) / minor) ** 2))


def sky(x, y, shape, major, minor=None, flux=1.0):
    """Image of beams that do not touch: each only added within 60 pixels."""
    image = np.zeros(shape)
    for xk, yk, s in zip(x, y, np.broadcast_to(flux, x.shape), strict=True):
        r0, c0 = max(int(yk) - 60, 0), max(int(xk) - 60, 0)
        rows, cols = np.mgrid[r0:min(r0 + 120, shape[0]), c0:min(c0 + 120, shape[1])]
        image[rows, cols] += s * beam_at(rows, cols, yk, xk, major, minor)
    return image


def stack(image, x, y, weight=None, scale=None, **how):
    settings = Averaging(**{"stamp": 16, "threads": 2} | how)
    weight, scale = (np.ones(x.size) if given is None else given for given in (weight, scale))
    return average_stamps(image, align(x, y, settings.alignment), weight, scale, settings)


def pixel_loss(fwhm):
    """Mean of exp(−4 ln2 δ²/b²) over |δ| ≤ ½ pixel.

    sqrt(π)/(2c) erf(c) with c = sqrt(4 ln2)/(2b).
    """
    c = math.sqrt(4 * math.log(2)) / (2 * fwhm)
    return math.sqrt(math.pi) / (2 * c) * math.erf(c)


# The beam of the paper's types 1 and 2 is 3.2″ × 1.6″; the means over offsets are 0.993 and 0.973.
# (The paper prints 0.987 and 0.95 as expected, measures 0.982 ± 0.008 and 0.955 ± 0.008: a beam
# whose core is sharper than that Gaussian.)
@pytest.mark.parametrize(("cell", "loss"), [(0.25, 0.9930), (0.5, 0.9725)])
def test_the_nearest_pixel_loses_what_the_offsets_smear_and_subpixel_nothing(cell, loss):
    major, minor = 3.2 / cell, 1.6 / cell
    expected = pixel_loss(major) * pixel_loss(minor)
    assert expected == pytest.approx(loss, abs=2e-4)
    # Offsets evenly over the pixel, 20 × 20 of them, so that no scatter of a random draw is left:
    # the mean over midpoints of 1/20 pixel differs from the integral by (1/20)²/24 · 8 ln2 (1/a² +
    # 1/b²) < 7.1e-5.
    step = 80
    k = np.arange(400)
    offset = (np.arange(20) + 0.5) / 20 - 0.5
    x, y = 60 + step * (k % 20) + offset[k % 20], 60 + step * (k // 20) + offset[k // 20]
    image = sky(x, y, (1680, 1680), major, minor)
    nearest, _ = stack(image, x, y, alignment="nearest", stamp=32)
    assert nearest[16, 16] == pytest.approx(expected, abs=7.5e-5)
    exact, _ = stack(image, x, y, alignment="subpixel", stamp=32)
    # 1e-4 of the peak is the aim; 1.6″ over 0.5″ pixels is 3.2 pixels, where the mean over offsets
    # is 4e-5.
    assert exact[16, 16] == pytest.approx(1.0, abs=6e-5)
    rows, cols = np.mgrid[0:32, 0:32]
    np.testing.assert_allclose(exact, beam_at(rows, cols, 16, 16, major, minor), atol=6e-5)
    # The psf stacked with the same offsets knows the loss.
    rows, cols = np.mgrid[0:160, 0:160]
    psf = beam_at(rows, cols, 80, 80, major, minor)
    same = stacked_psf(psf, x, y, np.ones(400), Averaging(alignment="nearest"), 32)
    np.testing.assert_allclose(same, nearest, atol=1e-4)
    many = np.tile(np.arange(400), 6)
    np.testing.assert_allclose(stacked_psf(psf, x[many], y[many], np.ones(2400),
                                           Averaging(alignment="nearest"), 32), same, atol=1e-5)
    np.testing.assert_allclose(stacked_psf(psf, x, y, np.ones(400), Averaging(alignment="subpixel"),
                                           32), psf[64:96, 64:96], atol=1e-12)


# What sampling leaves of a Gaussian is its fraction beyond the Nyquist frequency, twice, along both
# axes: 4·erfc(πσ/√2)/2.
@pytest.mark.parametrize(("fwhm", "worst", "mean"),
                         [(3.0, 4e-4, 2e-4), (3.2, 1.6e-4, 8e-5), (4.0, 1.2e-5, 8e-6),
                          (6.0, 1.2e-5, 8e-6)])
def test_interpolation_errors_are_those_stated(fwhm, worst, mean):
    offset = np.linspace(0, 1, 21)
    rows, cols = np.mgrid[0:80, 0:80]
    errors = []
    for dy in offset:
        for dx in offset[::4]:
            image = beam_at(rows, cols, 40 + dy, 40 + dx, fwhm)
            errors.append(values_at(image, np.array([40 + dx]), np.array([40 + dy]), "subpixel")[0]
                          - 1)
    assert np.abs(errors).max() < worst
    assert abs(np.mean(errors)) < mean


def plain_mean(image, x, y, weight, size):
    """Weighted mean of stamps around the nearest pixels, pixel by pixel."""
    out = np.full((size, size), np.nan)
    for i in range(size):
        for j in range(size):
            total = norm = 0.0
            for xk, yk, w in zip(x, y, weight, strict=True):
                r, c = round(yk) + i - size // 2, round(xk) + j - size // 2
                if 0 <= r < image.shape[0] and 0 <= c < image.shape[1] and np.isfinite(image[r, c]):
                    total += w * image[r, c]
                    norm += w
            if norm > 0:
                out[i, j] = total / norm
    return out


@pytest.fixture
def noisy():
    """A non-square image with blank pixels, and positions of which some reach over its edges."""
    rng = np.random.default_rng(5)
    image = rng.standard_normal((70, 90))
    image[rng.uniform(size=image.shape) < 0.02] = np.nan
    x, y = rng.uniform(-0.4, 89.4, 25), rng.uniform(-0.4, 69.4, 25)
    return image, x, y, rng.uniform(0.1, 2.0, 25)


def test_mean_equals_plain_loops_at_edges_and_blanks(noisy):
    image, x, y, weight = noisy
    before = image.copy()
    found, n_partial = stack(image, x, y, weight, alignment="nearest")
    np.testing.assert_allclose(found, plain_mean(image, x, y, weight, 16), rtol=1e-12)
    assert n_partial == 25  # a stamp of 256 pixels of which 2 % are blank
    np.testing.assert_array_equal(image, before)
    one, _ = stack(image, x, y, weight, alignment="nearest", threads=1)
    np.testing.assert_allclose(found, one, rtol=1e-13)


@pytest.mark.parametrize("method", ["median", "clipped-mean"])
def test_median_and_clipping_equal_plain_loops(noisy, method):
    image, x, y, weight = noisy
    found, n_partial = stack(image, x, y, method=method, alignment="nearest", clip=2.0)
    assert n_partial == 25
    for i, j in ((8, 8), (0, 3), (15, 15)):
        values = []
        for xk, yk in zip(x, y, strict=True):
            r, c = round(yk) + i - 8, round(xk) + j - 8
            if 0 <= r < 70 and 0 <= c < 90 and np.isfinite(image[r, c]):
                values.append(image[r, c])
        values = np.array(values)
        expected = np.median(values)
        if method == "clipped-mean":
            spread = 1.4826 * np.median(np.abs(values - expected))
            for _ in range(20):
                kept = values[np.abs(values - expected) <= 2 * spread]
                expected, spread = kept.mean(), kept.std()
        # Stamps are kept in float32: 6e-8 of values up to 3.
        assert found[i, j] == pytest.approx(expected, abs=1e-6)


def test_a_weighted_median_is_that_of_repeated_values():
    rng = np.random.default_rng(2)
    for n in (1, 2, 7, 20):
        values, times = rng.standard_normal(n), rng.integers(1, 5, n)
        found = average(values, times.astype(float), Averaging("median"))
        assert found == pytest.approx(np.median(np.repeat(values, times)), abs=1e-12)
    assert np.isnan(average(np.full(3, np.nan), np.ones(3), Averaging()))


def test_clipping_takes_out_a_bright_neighbour_and_median_withstands_it():
    rng = np.random.default_rng(8)
    values = np.append(1.0 + 0.1 * rng.standard_normal(200), 50.0)
    weight = np.ones(201)
    assert average(values, weight, Averaging("mean")) > 1.2
    assert average(values, weight,
                   Averaging("clipped-mean")) == pytest.approx(values[:-1].mean(), abs=0.005)
    assert average(values, weight, Averaging("median")) == pytest.approx(1.0, abs=0.03)


def test_subpixel_blanks_what_would_need_a_blank_pixel():
    rows, cols = np.mgrid[0:120, 0:120]
    image = beam_at(rows, cols, 60.3, 60.6, 6.0)
    image[60, 92] = np.nan
    x, y = np.array([60.6]), np.array([60.3])
    found, n_partial = stack(image, x, y, stamp=64)
    assert n_partial == 1
    # Tap 16 − HALF_WIDTH … of pixel j reads columns 60 + j − 32 − 15 … + 16.
    needs = (np.arange(64) + 60 - 32 + 1
             - HALF_WIDTH <= 92) & (np.arange(64) + 60 - 32 + HALF_WIDTH >= 92)
    needs_row = (np.arange(64) + 60 - 32 + 1
                 - HALF_WIDTH <= 60) & (np.arange(64) + 60 - 32 + HALF_WIDTH >= 60)
    np.testing.assert_array_equal(~np.isfinite(found), needs_row[:, None] & needs[None, :])
    i, j = np.mgrid[0:64, 0:64]
    np.testing.assert_allclose(np.where(np.isfinite(found), found, beam_at(i, j, 32, 32, 6.0)),
                               beam_at(i, j, 32, 32, 6.0), atol=1.3e-5)
    # A second stamp without blanks fills them, alone.
    both, _ = stack(image, np.append(x, 40.0), np.append(y, 60.0), np.array([3.0, 1.0]), stamp=16)
    assert np.isfinite(both).all()
    # Off the image and NaN coordinates are blank, not an error.
    assert np.isnan(values_at(image, np.array([-3.0, np.nan, 1e300, 92.0]),
                              np.array([50.0, 5.0, 5.0, 60.0]), "subpixel")).all()


def test_no_position_and_one_position():
    image = np.random.default_rng(1).standard_normal((40, 50)).astype(np.float32)
    with pytest.raises(NoDataError, match="no stamp"):
        stack(image, np.empty(0), np.empty(0))
    found, n_partial = stack(image, np.array([25.0]), np.array([20.0]), alignment="nearest")
    np.testing.assert_array_equal(found, image[12:28, 17:33])
    assert n_partial == 0


@pytest.mark.parametrize("size", [16, 31])
def test_local_noise_equals_its_slow_version(noisy, size):
    image, x, y, _ = noisy
    x, y = np.append(x, [np.nan, 500.0]), np.append(y, [3.0, 10.0])
    np.testing.assert_allclose(noise_around(image, x, y, size, 5.0),
                               oracles.local_noise(image, x, y, size, 5.0), rtol=1e-10)
    # A large mean does not spoil it: float64 keeps 1e-16 of 1e3² against 1.
    np.testing.assert_allclose(noise_around(image + 1e3, x, y, size, 4.3),
                               oracles.local_noise(image, x, y, size, 4.3), rtol=1e-8)


def attenuation(x, y):
    return np.exp(-((np.asarray(x) - 150) ** 2 + (np.asarray(y) - 150) ** 2) / (2 * 90.0**2))


@pytest.mark.parametrize("terms",
                         [("equal",), ("primary-beam",), ("local-noise",), ("list", "local-noise")])
def test_flat_and_corrected_images_give_the_same_stack(terms):
    """Dividing the image or the stamps by A is the same where A hardly changes across what is compared, the centre."""
    rng = np.random.default_rng(3)
    x, y = rng.uniform(40, 260, 30).round(), rng.uniform(40, 260, 30).round()
    rows, cols = np.mgrid[0:300, 0:300]
    power = attenuation(cols, rows)
    flat = 0.01 * rng.standard_normal((300, 300)) + sky(x, y, (300, 300), 5.0) * power
    listed = rng.uniform(1, 2, 30)
    sigma = rng.uniform(0.01, 0.02, (300, 300))
    found = []
    for image, is_flat in ((flat, True), (flat / power, False)):
        rms = sigma if is_flat else sigma / power
        weighting = Weighting(terms, lambda px, py, rms=rms: rms[py.astype(int), px.astype(int)],
                              attenuation, is_flat, is_flat, 0.1)
        values = weighting(x, y, listed)
        stacked, _ = stack(image, x, y, values.weight, values.scale, alignment="nearest")
        at_sources = sigma[y.astype(int), x.astype(int)]
        expected = {"equal": 1.0, "primary-beam": values.power**2,
                    "local-noise": (at_sources / values.power) ** -2}[terms[-1]]
        np.testing.assert_allclose(values.weight, expected * (listed if "list" in terms else 1.0),
                                   rtol=1e-10)
        found.append((stacked[8, 8], expected_error(values.noise, values.weight, "mean")))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


def test_equation_7_and_8():
    assert expected_error(np.full(25, 2.0), np.ones(25), "mean") == pytest.approx(0.4)
    noise = np.array([1.0, 2.0, 4.0])
    assert expected_error(noise, noise**-2.0, "mean") == pytest.approx((noise**-2.0).sum() ** -0.5)
    assert np.isnan(expected_error(np.full(3, np.nan), np.ones(3), "mean"))


@pytest.mark.parametrize(("method", "alignment"),
                         [("mean", "nearest"), ("mean", "subpixel"), ("median", "subpixel")])
def test_errors_from_pixels_equation_7_and_random_positions_are_the_scatter_of_many_skies(
    method, alignment):
    """120 skies of correlated noise: their scatter is known to 6.5 %.

    So is its truth, 1/(2 sqrt(π) s sqrt(N)) for a mean.
    """
    from scipy.ndimage import gaussian_filter

    how = Averaging(method, alignment, stamp=32, threads=1)
    fluxes, errors, expected, monte_carlo = [], [], [], []
    weighting = Weighting(("equal",), None, lambda px, py: np.ones(np.size(px)))
    for seed in range(120):
        rng = np.random.default_rng(seed)
        image = gaussian_filter(rng.standard_normal((160, 160)), 1.7, mode="wrap")
        x, y = rng.uniform(34, 126, (2, 40))
        fluxes.append(average(values_at(image, x, y, alignment), np.ones(40), how))
        if seed < 12:
            errors.append(off_centre_rms(average_stamps(image, align(x, y, alignment), np.ones(40),
                                                        np.ones(40), how)[0], 5.0))
            expected.append(expected_error(noise_around(image, x, y, 60, 5.0), np.ones(40), method))
            monte_carlo.append(random_fluxes(image, x, y, None, weighting, how, 60, rng,
                                             0.0).std(ddof=1))
    # A median of 40 correlated values has 1.23 of a mean's scatter, where many independent ones
    # have 1.253.
    truth = 1 / (2 * math.sqrt(math.pi) * 1.7
                 * math.sqrt(40)) * (1.24 if method == "median" else 1.0)
    assert np.std(fluxes) == pytest.approx(truth, rel=0.2)
    assert np.mean(fluxes) == pytest.approx(0.0, abs=4 * truth / math.sqrt(120))
    # A stamp has 20 independent places and 40 positions overlap: 12 of them give 5 %, with 3 % from
    # the overlap.
    for estimate in (errors, expected, monte_carlo):
        assert np.mean(estimate) == pytest.approx(truth, rel=0.15)


def test_random_positions_reproduce_stay_off_the_list_and_say_when_there_is_no_room():
    rng = np.random.default_rng(4)
    image = 0.01 * rng.standard_normal((200, 200))
    x, y = rng.uniform(50, 150, 12), rng.uniform(50, 150, 12)
    image += sky(x, y, image.shape, 4.0)
    weighting = Weighting(("list",), None, lambda px, py: np.ones(np.size(px)))
    arguments = (image, x, y, np.ones(12), weighting, Averaging(stamp=16))
    found = random_fluxes(*arguments, 20, np.random.default_rng(1), 12.0)
    np.testing.assert_array_equal(found,
                                  random_fluxes(*arguments, 20, np.random.default_rng(1), 12.0))
    assert np.abs(found).max() < 0.02  # sources of 1 are out of reach
    assert random_fluxes(*arguments, 20, np.random.default_rng(1), 0.0).max() > 0.02
    with pytest.raises(PositionsError, match="hardly any"):
        random_fluxes(np.full((200, 200), np.nan), *arguments[1:], 2, np.random.default_rng(1), 0.0)


def test_bootstrap_has_the_error_of_a_mean():
    values = np.random.default_rng(6).standard_normal(400)
    found = bootstrap_fluxes(values, np.ones(400), Averaging(), 600, np.random.default_rng(7))
    assert found.std() == pytest.approx(values.std() / 20, rel=0.1)  # 600 lists give it to 3 %


def test_the_filter_takes_out_what_it_says():
    rows, cols = np.mgrid[0:64, 0:64]
    cell = 0.5 * ARCSEC
    slow, fast = 3.0 + np.cos(2 * np.pi * rows / 64), np.sin(2 * np.pi * (2 * rows + 3 * cols) / 64)
    np.testing.assert_allclose(filtered(slow + fast, cell, LowFilter(pixels=3)), fast, atol=1e-12)
    # The same by length: fast has a spatial frequency of sqrt(13) Fourier pixels, slow of 1.
    pixel = 1 / (64 * cell)
    np.testing.assert_allclose(filtered(slow + fast, cell, LowFilter(wavelengths=3.5 * pixel)),
                               fast, atol=1e-12)
    np.testing.assert_allclose(filtered(slow + fast, cell, LowFilter(wavelengths=3.7 * pixel)), 0.0,
                               atol=1e-12)
    blank = slow + fast
    blank[3, 4] = np.nan
    assert np.isnan(filtered(blank, cell, LowFilter(pixels=1))).sum() == 1
    # The paper's 3 × 3 pixels of a stamp of 64″ reach to 4834 wavelengths.
    mask = LowFilter(pixels=3).mask((256, 256), 0.25 * ARCSEC)
    assert mask.sum() == 9
    reach = 1.5 / (256 * 0.25 * ARCSEC)
    assert reach == pytest.approx(4834, abs=1)
    for low in (LowFilter(wavelengths=0.0), LowFilter(wavelengths=1e9), LowFilter(pixels=200)):
        with pytest.raises(SelectionError, match="everything|nothing"):
            filtered(slow, cell, low)


def test_the_psf_of_one_position_is_moved_as_its_source_is():
    rows, cols = np.mgrid[0:160, 0:160]
    x, y = np.array([80.3]), np.array([79.6])
    nearest, _ = stack(beam_at(rows, cols, y[0], x[0], 8.0, 5.0), x, y, alignment="nearest",
                       stamp=32)
    psf = stacked_psf(beam_at(rows, cols, 80, 80, 8.0, 5.0), x, y, np.ones(1),
                      Averaging(alignment="nearest"), 32)
    np.testing.assert_allclose(psf, nearest, atol=1.3e-5)


def test_words_and_numbers_are_checked():
    with pytest.raises(SelectionError, match="did you mean median"):
        Averaging(method="medain")
    with pytest.raises(SelectionError, match="did you mean nearest"):
        Averaging(alignment="nearset")
    for wrong in ({"stamp": 7}, {"stamp": 4}, {"clip": 0.0}):
        with pytest.raises(SelectionError):
            Averaging(**wrong)
