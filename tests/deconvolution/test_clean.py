"""CLEAN against the textbook loop in plain numpy, against skies that are known, and at its edges.

The psfs are direct sums of cosines over a random uv coverage, so that nothing is gridded and
residual and model must agree.
"""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.signal import fftconvolve

from uvstack.deconvolution import scales as clean_scales
from uvstack.deconvolution.clean import MinorSettings, minor_cycle
from uvstack.deconvolution.scales import scale_kernel
from uvstack.errors import ImageError


def coverage(seed=3, n=400, longest=0.2):
    """(u, v) in cycles a pixel, dense towards the middle."""
    rng = np.random.default_rng(seed)
    radius, angle = longest * rng.random(n), rng.random(n) * 2 * np.pi
    return radius * np.cos(angle), radius * np.sin(angle)


def direct_psf(shape, u, v, weight=None):
    """Σ w cos 2π(ux + vy) / N, centre at n//2."""
    weight = np.ones(u.size) if weight is None else weight
    y, x = (np.arange(n) - n // 2 for n in shape)
    a, b = np.exp(2j * np.pi * np.outer(y, v)) * weight, np.exp(2j * np.pi * np.outer(u, x))
    return (a @ b).real / u.size


def convolved(model, psf):
    """psf ⋆ model on the model's pixels."""
    c = [n // 2 for n in psf.shape]
    return fftconvolve(model, psf)[c[0] : c[0] + model.shape[0], c[1] : c[1] + model.shape[1]]


def points(shape, n, seed=5, both_signs=False):
    rng = np.random.default_rng(seed)
    model = np.zeros(shape)
    for y, x in rng.integers(8, np.array(shape) - 8, (n, 2)):
        model[y, x] += rng.uniform(0.5, 3.0) * (rng.choice([-1, 1]) if both_signs else 1)
    return model


def textbook(dirty, psf, mask, gain, threshold, most):
    """Högbom (1974) as it stands: model, residual and the number of iterations."""
    residual, model = dirty.copy(), np.zeros_like(dirty)
    c_m, c_l = psf.shape[0] // 2, psf.shape[1] // 2
    for k in range(most):
        y, x = np.unravel_index(np.argmax(np.abs(residual) * mask), residual.shape)
        if abs(residual[y, x]) <= threshold:
            return model, residual, k
        flux = gain * residual[y, x]
        model[y, x] += flux
        for row in range(residual.shape[0]):
            a, b = max(0, x - c_l), min(residual.shape[1], x - c_l + psf.shape[1])
            if 0 <= row - y + c_m < psf.shape[0]:
                residual[row, a:b] -= flux * psf[row - y + c_m, a - x + c_l : b - x + c_l]
    return model, residual, most


@pytest.mark.parametrize(("shape", "psf_shape"),
                         [((150, 110), (300, 220)), ((100, 140), (100, 140)), ((70, 90), (33, 41)),
                          ((40, 40), (301, 301))])
@pytest.mark.parametrize("most", [0, 1, 7, 1500])
def test_hogbom_is_the_textbook_loop(shape, psf_shape, most):
    u, v = coverage()
    psf = direct_psf(psf_shape, u, v)
    dirty = convolved(points(shape, 12, both_signs=True),
                      direct_psf((2 * shape[0], 2 * shape[1]), u, v))
    mask = np.random.default_rng(1).random(shape) < 0.9
    model, residual, n = textbook(dirty, psf, mask, 0.15, 0.2, most)
    found = minor_cycle(dirty, psf, mask,
                        MinorSettings(gain=0.15, threshold=0.2, most_iterations=most,
                                      precision="float64"))
    assert found.n_iterations == n
    # 1500 sums of numbers of at most 6 lose 1500 · 6 · 1.1e-16 at worst; those at one pixel are
    # added first here.
    np.testing.assert_allclose(found.model[0], model, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.residual[0], residual, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.model[0] != 0, model != 0)


def test_tiles_that_lag_are_brought_up_to_date_by_fft(monkeypatch):
    # The work after which that is done is set so low that it happens many times: the same numbers
    # must come out.
    u, v = coverage()
    dirty, psf = convolved(points((150, 110), 12),
                           direct_psf((300, 220), u, v)), direct_psf((300, 220), u, v)
    settings = MinorSettings(threshold=0.1, most_iterations=3000, precision="float64")
    plain = minor_cycle(dirty, psf, None, settings)
    monkeypatch.setattr(clean_scales, "_FFT_PER_TILE", 0.0)
    often = minor_cycle(dirty, psf, None, settings)
    assert often.n_iterations == plain.n_iterations > 200
    np.testing.assert_allclose(often.model, plain.model, rtol=0, atol=1e-12)


EVERY = {
    "hogbom": MinorSettings("hogbom"), "hogbom patch": MinorSettings("hogbom", patch=40), "clark": MinorSettings("clark"),
    "clark patch": MinorSettings("clark", patch=40), "multiscale": MinorSettings("multiscale", scales=(0, 4, 9)),
    "multiscale patch": MinorSettings("multiscale", scales=(0, 4), patch=30), "mtmfs": MinorSettings("mtmfs")}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_residual_and_model_make_the_dirty_image(name, precision):
    u, v = coverage()
    shape = (120, 90)
    psf, truth = direct_psf((240, 180), u, v), points(shape, 8)
    dirty = convolved(truth, psf)
    kept = dirty.copy(), psf.copy()
    settings = dataclasses.replace(EVERY[name], precision=precision, threshold=0.02,
                                   most_iterations=8000)
    found = minor_cycle(dirty, psf, None, settings)
    assert found.stop_reason == "threshold"
    assert found.peak <= 0.02
    assert np.abs(found.residual).max() <= 0.0201  # of the image, whatever the loop left out
    tolerance = 6e-6 if precision == "float32" else 1e-11
    # float32: 6e-8 of a dirty peak of 6 in each of some hundred sums that scatter; what was
    # asked for is 1e-6 of the peak.
    np.testing.assert_allclose(found.residual[0] + convolved(found.model[0], psf), dirty, rtol=0,
                               atol=tolerance)
    np.testing.assert_array_equal(dirty, kept[0])
    np.testing.assert_array_equal(psf, kept[1])
    # Points: all of the flux within one psf (FWHM 3.5 pixels) of each, but what the threshold
    # leaves: 0.02 over four psfs.
    near = fftconvolve(found.model[0], np.ones((7, 7)), mode="same")
    for y, x in np.argwhere(truth > 0):
        if fftconvolve(truth, np.ones((15, 15)), mode="same")[y, x] == pytest.approx(truth[y, x]):
            assert near[y, x] == pytest.approx(truth[y, x], abs=0.08)
    again = minor_cycle(dirty, psf, None, settings)
    np.testing.assert_array_equal(found.model, again.model)
    np.testing.assert_array_equal(found.residual, again.residual)
    without = minor_cycle(dirty, psf, None, dataclasses.replace(settings, with_residual=False))
    assert without.residual is None
    assert without.model.sum() == pytest.approx(found.model.sum(),
                                                abs=0.02 * np.abs(found.model).sum())


def test_components_add_up_to_the_model():
    u, v = coverage()
    psf, dirty = direct_psf((200, 200), u, v), convolved(points((100, 100), 5),
                                                         direct_psf((200, 200), u, v))
    found = minor_cycle(dirty, psf, None,
                        MinorSettings("multiscale", scales=(0, 5), threshold=0.05))
    model = np.zeros((130, 130))
    parts = found.components
    for m, l, scale, flux in zip(parts.m, parts.l, parts.scale, parts.flux[:, 0], strict=True):
        kernel = scale_kernel(scale)
        half = kernel.shape[0] // 2
        model[m + 15 - half : m + 16 + half, l + 15 - half : l + 16 + half] += flux * kernel
    np.testing.assert_allclose(model[15:-15, 15:-15], found.model[0], rtol=0, atol=1e-13)


def test_multiscale_finds_a_gaussian_that_hogbom_does_not():
    # A Gaussian of FWHM 22 pixels is 6 psfs wide; no scale is a Gaussian. 5000 iterations each at
    # most.
    u, v = coverage(longest=0.15)
    y, x = np.mgrid[:128, :128] - 64
    truth = np.exp(-4 * np.log(2) * (x**2 + y**2) / 22.0**2)
    truth *= 10 / truth.sum()
    psf = direct_psf((256, 256), u, v)
    dirty = convolved(truth, psf)
    found = {}
    for settings in (MinorSettings("hogbom", most_iterations=5000, threshold=1e-3),
                     MinorSettings("multiscale", most_iterations=5000, threshold=1e-3,
                                   scales=(0, 6, 12, 24))):
        found[settings.algorithm] = minor_cycle(dirty, psf, None, settings)
    error = {k: np.sqrt(np.mean((f.model[0] - truth) ** 2)) / np.sqrt(np.mean(truth**2))
             for k, f in found.items()}
    assert error["multiscale"] < 0.1
    assert error["hogbom"] > 5 * error["multiscale"]
    assert found["multiscale"].model.sum() == pytest.approx(10, rel=0.02)


def test_a_point_is_a_point_at_any_scale_set():
    # By the inequality of Schwarz the matched filter prefers the true shape: one component of scale
    # 0, for gain 1.
    u, v = coverage()
    psf, truth = direct_psf((200, 200), u, v), np.zeros((100, 100))
    truth[40, 55] = 2.0
    found = minor_cycle(convolved(truth, psf), psf, None,
                        MinorSettings("multiscale", 1.0, 1e-4, scales=(0, 2, 5, 12)))
    assert found.n_iterations == 1
    assert (found.components.m[0], found.components.l[0], found.components.scale[0]) == (40, 55, 0)
    assert found.model[0, 40, 55] == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(("n_terms", "law", "tolerance"),
                         [(2, "taylor", 2e-3), (3, "taylor", 2e-3), (2, "power", 0.05),
                          (3, "power", 0.03)])
def test_mtmfs_finds_flux_and_spectral_index(n_terms, law, tolerance):
    # 1.2–1.8 about ν₀ = 1.5; S (ν/ν₀)^α, or its Taylor polynomial, which the terms can hold: to
    # what the threshold of 1e-4 leaves. Of the power law the next term is cut off: α(α−1)/2 · 0.2²
    # = 0.08 at an edge, α(α−1)(α−2)/6 · 0.2³ = 0.02.
    u, v = coverage(n=150)
    frequency = np.linspace(1.2, 1.8, 7) / 1.5
    uu, vv = np.outer(frequency, u).ravel(), np.outer(frequency, v).ravel()
    offset = np.repeat(frequency - 1, u.size)
    psf = np.stack([direct_psf((192, 192), uu, vv, offset**t) for t in range(2 * n_terms - 1)])
    sources = [(30, 40, 1.0, -0.7), (60, 25, 2.0, 0.5), (70, 75, 0.7, -1.5)]
    dirty = np.zeros((n_terms, 96, 96))
    for (m, l, flux, alpha), t in itertools.product(sources, range(n_terms)):
        taylor = (1.0, alpha, alpha * (alpha - 1) / 2)[:n_terms]
        spectrum = (1 + offset) ** alpha if law == "power" else np.polynomial.polynomial.polyval(
            offset, taylor)
        one = direct_psf((192, 192), uu, vv, flux * spectrum * offset**t)
        dirty[t] += one[96 - m : 192 - m, 96 - l : 192 - l]
    settings = MinorSettings("mtmfs", 0.2, 1e-4, 20_000, scales=(0, 5), n_terms=n_terms,
                             precision="float64")
    found = minor_cycle(dirty, psf, None, settings)
    assert found.stop_reason in ("threshold", "iterations")
    for m, l, flux, alpha in sources:
        terms = found.model[:, m - 3 : m + 4, l - 3 : l + 4].sum(axis=(1, 2))
        assert terms[0] == pytest.approx(flux, rel=tolerance)
        assert terms[1] / terms[0] == pytest.approx(alpha, abs=3 * tolerance)


def test_one_term_and_one_scale_are_hogbom():
    u, v = coverage()
    psf, dirty = direct_psf((120, 120), u, v), convolved(points((90, 90), 6),
                                                         direct_psf((180, 180), u, v))
    one, other = (minor_cycle(dirty, psf, None,
                              MinorSettings(a, threshold=0.1, precision="float64"))
                  for a in ("hogbom", "mtmfs"))
    np.testing.assert_array_equal(one.model, other.model)


@pytest.mark.parametrize("name", EVERY)
def test_the_model_stays_in_the_mask(name):
    u, v = coverage()
    truth = points((100, 100), 20)
    mask = np.zeros((100, 100), bool)
    mask[20:70, 30:90] = True
    found = minor_cycle(convolved(truth, direct_psf((200, 200), u, v)),
                        direct_psf((200, 200), u, v), mask,
                        dataclasses.replace(EVERY[name], most_iterations=500, threshold=0.3))
    assert found.n_iterations > 50
    assert not found.model[0, ~mask].any()


@pytest.mark.parametrize("algorithm", ["hogbom", "clark"])
def test_negative_peaks(algorithm):
    u, v = coverage()
    truth = np.zeros((90, 90))
    truth[30, 30], truth[60, 60] = 1.0, -2.0
    psf = direct_psf((180, 180), u, v)
    dirty = convolved(truth, psf)
    settings = MinorSettings(algorithm, threshold=0.05)
    allowed = minor_cycle(dirty, psf, None, settings)
    assert allowed.model[0, 60, 60] < -1.8
    stopped = minor_cycle(dirty, psf, None, dataclasses.replace(settings, negative="stop"))
    assert (stopped.stop_reason, stopped.n_iterations) == ("negative component", 0)
    skipped = minor_cycle(dirty, psf, None,
                          dataclasses.replace(settings, negative="skip", most_iterations=20))
    assert skipped.model.min() >= 0
    assert skipped.model[0, 30, 30] > 0.6
    assert skipped.residual.min() < -1.5


@pytest.mark.parametrize("name", EVERY)
def test_stop_reasons_are_named(name):
    u, v = coverage()
    psf, dirty = direct_psf((120, 120), u, v), convolved(points((60, 60), 3),
                                                         direct_psf((120, 120), u, v))

    def run(image=dirty, mask=None, kernel=psf, **changed):
        return minor_cycle(image, kernel, mask, dataclasses.replace(EVERY[name], **changed))

    assert run(most_iterations=5).stop_reason == "iterations"
    assert run(most_iterations=5).n_iterations == 5
    assert run(threshold=0.5).stop_reason == "threshold"
    assert run(threshold=99.0).n_iterations == 0
    zero = run(np.zeros((60, 60)))
    assert (zero.stop_reason, zero.n_iterations, zero.peak) == ("nothing left", 0, 0.0)
    assert not zero.model.any()
    empty = run(mask=np.zeros((60, 60), bool))
    assert (empty.stop_reason, empty.n_iterations) == ("empty mask", 0)
    np.testing.assert_array_equal(empty.residual[0], dirty)


def test_a_wrong_psf_ends_in_divergence():
    psf = direct_psf((120, 120), *coverage())
    # Sidelobes of −0.95 beside a peak of 1 are no psf of any array: each subtraction makes two new
    # sources.
    psf[60, 64] = psf[60, 56] = -0.95
    found = minor_cycle(points((60, 60), 3), psf, None,
                        MinorSettings(gain=0.9, threshold=1e-6, most_iterations=100_000))
    assert found.stop_reason == "divergence"
    assert found.n_iterations < 1000


def test_bad_input_is_refused():
    psf, image = direct_psf((64, 64), *coverage()), np.ones((32, 32))
    bad = image.copy()
    bad[3, 4] = np.nan
    for arguments, text in (
        ((bad, psf), "1 pixels that are not finite"), ((image, np.where(psf == psf[3, 4], np.inf, psf)), "the psf has"),
        ((image, psf, np.ones((31, 32), bool)), "mask has shape"), ((image, np.roll(psf, 3, 0)), r"lies at pixel \(35, 32\)"),
        ((np.ones((2, 32, 32)), psf), "n_terms = 1"), ((np.ones(32), psf), "wants"),
        ((np.ones((2, 32, 32)), psf, None, MinorSettings("mtmfs", n_terms=2)), "the psf has shape"),
        ((np.ones((2, 32, 32)), np.stack([psf] * 3), None, MinorSettings("mtmfs", n_terms=2)), "cannot be told apart"),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=text):
            minor_cycle(*arguments)
    for changed, text in (({"algorithm": "hogbon"}, "did you mean 'hogbom'"),
                          ({"gain": 0}, "gain is 0"), ({"scales": (0, 4)}, "multiscale"),
                          ({"n_terms": 2}, "mtmfs"), ({"scale_bias": 1.0}, "scale_bias"),
                          ({"threshold": np.nan}, "threshold")):
        with pytest.raises(ImageError, match=text):
            MinorSettings(**changed)


def test_smoothed_psfs_are_kept_as_far_as_pixels_of_the_image_lie_apart():
    """Of a narrow image with a psf of twice its size; beyond that nothing is left out."""
    y, x = np.indices((81, 41)) - np.array([40, 20])[:, None, None]
    psf = np.stack([np.exp(-(x**2 + y**2) / 18.0) * np.cos(0.3 * x + 0.1 * y) / (1 + t)
                    for t in range(3)])
    basis = clean_scales.make_basis(psf, (40, 20), (0.0, 7.0), 2, None, np.dtype(float), 1)
    assert basis.stack.shape == (3, 3, 79, 39)
    assert basis.outside == 0
    shape = scale_kernel(7.0)
    for term in range(3):
        whole = fftconvolve(fftconvolve(psf[term], shape), shape)
        m, l = whole.shape[0] // 2, whole.shape[1] // 2
        np.testing.assert_allclose(basis.stack[basis.pair[1, 1], term],
                                   whole[m - 39 : m + 40, l - 19 : l + 20], atol=1e-12)
