"""Islands against scipy, false discovery rates against noise, splits against a slow oracle."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import ndtr

from oracles import split_island
from uvstack.errors import ImageError, SelectionError
from uvstack.extraction.deblending import deblend
from uvstack.extraction.islands import blank_pixels, fdr_threshold, find_islands, peaks_at
from uvstack.extraction.noise_map import NodeMap


def labelled(significance, detection, analysis, connectivity, least):
    """Islands of scipy, in the order of their first pixels, as lists of flat indices."""
    mask = significance > analysis
    labels, n = ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
    found = [np.flatnonzero(labels == k) for k in range(1, n + 1)]
    return sorted(
        (
            one
            for one in found
            if one.size >= least and (significance.ravel()[one] > detection).any()
        ),
        key=lambda one: one[0],
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_islands_are_those_of_scipy(seed, connectivity, dtype):
    rng = np.random.default_rng(seed)
    shape = (1, 40) if seed == 0 else (40, 1) if seed == 1 else tuple(rng.integers(5, 60, 2))
    image = ndimage.gaussian_filter(rng.standard_normal(shape), seed % 3 * 0.6).astype(dtype)
    image[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    background = rng.normal(0, 0.1, shape).astype(np.float32)
    rms = rng.uniform(0.05, 0.3, shape).astype(np.float32)
    rms[rng.random(shape) < 0.02] = 0
    least = 1 + seed % 4
    found = find_islands(
        image, background, rms, 1.5, 0.7, connectivity=connectivity, min_pixels=least, negative=True
    )
    native = image.astype(image.dtype.newbyteorder("="))
    with np.errstate(all="ignore"):
        good = np.isfinite(native) & (rms > 0)
        significance = np.where(good, (native - background) / rms, np.nan)
    truth = [
        (one, sign)
        for sign in (1, -1)
        for one in labelled(sign * significance, 1.5, 0.7, connectivity, least)
    ]
    truth.sort(key=lambda pair: pair[0][0])
    assert len(found) == len(truth) > 0
    blank = ndimage.binary_dilation(~good, np.ones((3, 3)))
    expected = np.zeros(shape, np.int32)
    for k, (one, sign) in enumerate(truth):
        y, x = np.unravel_index(one, shape)
        expected[y, x] = k + 1
        assert (found.pixel[found.start[k] : found.start[k + 1]] == one).all()
        assert found.sign[k] == sign
        assert found.n_pixels[k] == one.size
        above = sign * (native - background)[y, x]
        assert found.peak[k] == one[np.argmax(above)]
        assert tuple(found.box[k]) == (y.min(), y.max() + 1, x.min(), x.max() + 1)
        at_edge = (y == 0) | (x == 0) | (y == shape[0] - 1) | (x == shape[1] - 1)
        assert found.touches_edge[k] == at_edge.any()
        assert found.touches_blank[k] == blank[y, x].any()
        assert found.level[k] == pytest.approx(0.7 * rms.ravel()[found.peak[k]])
    assert (found.label == expected).all()


def test_nodes_and_numbers_are_as_good_as_maps(monkeypatch):
    rng = np.random.default_rng(4)
    image = ndimage.gaussian_filter(rng.standard_normal((50, 37)), 1).astype(np.float32)
    y, x = np.array([8.0, 24, 40]), np.array([9.0, 28])
    background = NodeMap(rng.normal(0, 0.05, (3, 2)), y, x, image.shape)
    rms = NodeMap(rng.uniform(0.05, 0.2, (3, 2)), y, x, image.shape)
    whole = find_islands(image, background.rows(0, 50), rms.rows(0, 50), 3, 1)
    monkeypatch.setattr("uvstack.extraction.islands._BLOCK_PIXELS", 37 * 7)
    nodes = find_islands(image, background, rms, 3, 1)
    assert len(whole) > 5
    assert (nodes.label == whole.label).all()
    np.testing.assert_allclose(nodes.level, whole.level, rtol=1e-6)
    assert fdr_threshold(image, background, rms, 0.1, 5) == pytest.approx(
        fdr_threshold(image, background.rows(0, 50), rms.rows(0, 50), 0.1, 5), rel=1e-9
    )
    number = find_islands(image, None, 0.1, 3, 1)
    full = find_islands(image, np.zeros_like(image), np.full_like(image, 0.1), 3, 1)
    assert (number.label == full.label).all()


def test_a_checkerboard_has_room_for_its_runs():
    image = (np.indices((300, 301)).sum(0) % 2).astype(np.float32)
    assert len(find_islands(image, None, 0.1, 5, 3, connectivity=4)) == image.sum()
    assert len(find_islands(image, None, 0.1, 5, 3)) == 1
    assert (
        len(find_islands(2 * image - 1, None, 0.1, 5, 3, connectivity=4, negative=True))
        == image.size
    )
    assert len(find_islands(0 * image, None, 0.1, 5, 3)) == 0


def test_zeros_in_groups_are_blank_and_single_ones_are_not():
    image = np.random.default_rng(1).standard_normal((60, 70)).astype(np.float32)
    image[:2] = 0
    image[50:, 60:] = 0
    image[30, 10:25] = 0
    image[20, 20], image[25, 25] = 0, np.inf
    expected = np.zeros(image.shape, bool)
    expected[:2] = expected[50:, 60:] = True
    expected[25, 25] = True
    assert (blank_pixels(image) == expected).all()
    assert blank_pixels(np.zeros((5, 5), int)).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"detection": 2.0}, "analysis is 3.0; .* up to 2"),
        ({"analysis": 0.0}, "analysis is 0.0; .* above 0"),
        ({"analysis": -1.0}, "analysis is -1.0"),
        ({"detection": np.nan}, "detection is nan"),
        ({"rms": np.ones((3, 4))}, "the same"),
        ({"rms": 0.0}, "above 0"),
        ({"background": np.inf}, "background is inf; .* finite"),
        ({"connectivity": 6}, "one of 8, 4"),
        ({"min_pixels": 0}, "min_pixels is 0; .* 1 or more"),
        ({"image": np.ones((2, 3, 4))}, "one plane"),
        ({"image": np.ones((3, 3), complex)}, "real"),
    ],
)
def test_islands_that_cannot_be_asked_for(change, words):
    asked = {
        "image": np.ones((5, 5)),
        "background": None,
        "rms": 1.0,
        "detection": 5.0,
        "analysis": 3.0,
    } | change
    of_maps = "image" in change or words == "the same"
    with pytest.raises(ImageError if of_maps else SelectionError, match=words):
        find_islands(**asked)


def fdr_by_hand(significance, alpha, beam_area):
    """Every pixel's p in order; what passes."""
    values = np.sort(significance[np.isfinite(significance)])[::-1].astype(float)
    c = sum(1 / i for i in range(1, max(round(beam_area), 1) + 1))
    passed = 0
    for j, value in enumerate(values, 1):
        if ndtr(-value) <= j * alpha / (c * values.size):
            passed = j
    return passed


def test_the_rate_of_a_handful_of_pixels():
    # p = 0.001, 0.01, 0.02, 0.2, 0.9 of five pixels;
    # j α/5 with α = 0.05 is 0.01, 0.02, 0.03, …: three pass.
    z = np.array([[3.0902323, 2.3263479, np.nan], [2.0537489, 0.8416212, -1.2815516]])
    threshold = fdr_threshold(z, None, 1.0, 0.05, 1)
    assert threshold == pytest.approx(1.8807936, abs=1e-6)  # p = 3 · 0.05 / 5
    assert (z > threshold).sum() == 3
    # Two pixels a beam: c = 1.5; 0.00667, 0.0133, 0.02: the third fails by a hair of 1e-8 or so.
    assert (z > fdr_threshold(z, None, 1.0, 0.049, 2)).sum() == 2


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.6, 0.99])
@pytest.mark.parametrize("beam_area", [0.4, 1.0, 22.7])
def test_the_rate_is_that_of_all_pixels_in_order(alpha, beam_area):
    rng = np.random.default_rng(8)
    image = rng.standard_normal((70, 80)) + 8 * (rng.random((70, 80)) < 0.02)
    image[rng.random((70, 80)) < 0.1] = np.nan
    passed = (image > fdr_threshold(image, None, 1.0, alpha, beam_area)).sum()
    assert passed == fdr_by_hand(image, alpha, beam_area)


def test_noise_alone_is_seldom_discovered():
    # All discoveries are false: the rate is the part of images with one, at most α = 0.1 of 200.
    found = 0
    for seed in range(200):
        image = ndimage.gaussian_filter(
            np.random.default_rng(seed).standard_normal((64, 64)), 1.9, mode="wrap"
        )
        image *= 2 * np.sqrt(np.pi) * 1.9
        found += (image > fdr_threshold(image, None, 1.0, 0.1, 22.7)).any()
    assert found <= 0.1 * 200 + 2 * np.sqrt(200 * 0.1 * 0.9)


def test_false_pixels_among_sources_are_at_most_the_rate_asked_for():
    y, x = np.indices((64, 64))
    source = 30 * np.exp(-((y - 32.0) ** 2 + (x - 30.0) ** 2) / 20)
    false, alpha = [], 0.2
    for seed in range(100):
        image = np.random.default_rng(seed).standard_normal((64, 64)) + np.where(
            source > 0.01, source, 0
        )
        above = image > fdr_threshold(image, None, 1.0, alpha, 1)
        false.append((above & (source <= 0.01)).sum() / max(above.sum(), 1))
    assert 0.5 * alpha < np.mean(false) < alpha


def gaussians(shape, places, fwhm, peaks):
    y, x = np.indices(shape)
    return sum(
        p * np.exp(-4 * np.log(2) * ((y - v) ** 2 + (x - u) ** 2) / fwhm**2)
        for (v, u), p in zip(places, peaks, strict=True)
    )


@pytest.mark.parametrize(("separation", "n"), [(1.5, 1), (1.68, 1), (1.85, 2), (2.5, 2)])
def test_two_gaussians_are_split_where_they_have_a_saddle(separation, n):
    # FWHM 2 s with s = 12 pixels: the saddle begins at s √(2 / ln 2) = 1.70 s.
    half = 0.5 * separation * 12
    image = gaussians((121, 161), [(60, 80 - half), (60, 80 + half)], 24, [50, 50])
    islands = find_islands(image, None, 1.0, 5, 3)
    assert len(islands) == 1
    assert len(deblend(image, None, 1.0, islands, 2000, 0.0, 5)) == n


def test_splits_do_not_depend_on_the_unit_and_know_their_parents():
    image = gaussians((60, 90), [(30, 25), (30, 38), (30, 51), (8, 80)], 8, [100, 60, 40, 20.0])
    split = {}
    for unit in (1.0, 1e-6, 1e9):
        scaled = (-image * unit).astype(np.float32)
        islands = find_islands(scaled, np.full_like(scaled, 0), unit, 5, 3, negative=True)
        assert len(islands) == 2
        split[unit] = deblend(scaled, None, unit, islands, 32, 0.005, 5)
    for unit, found in split.items():
        assert len(found) == 4
        assert (found.label == split[1.0].label).all()
        np.testing.assert_allclose(found.level, unit * split[1.0].level, rtol=1e-5)
        assert (found.sign == -1).all()
    found = split[1.0]
    assert sorted(found.parent) == [0, 1, 1, 1]
    single = np.flatnonzero(found.parent == 0)[0]
    assert found.level[single] == pytest.approx(3)
    assert (found.level[found.parent == 1] > 3).all()
    for k in range(4):
        own = found.pixel[found.start[k] : found.start[k + 1]]
        assert (found.label.ravel()[own] == k + 1).all()
        assert image.ravel()[found.peak[k]] == image.ravel()[own].max()
        assert image.ravel()[own].min() > found.level[k] * (1 - 1e-6)


def test_a_long_chain_is_split_however_deep():
    # Each pair of the chain parts at a level of its own.
    x = np.arange(400.0)
    valley = np.abs(((x + 5) % 10) - 5) < 0.5
    image = np.tile(np.where(valley, 4.0 * 1.1 ** (x // 10), 1e3 * 1.1 ** (x // 10)), (3, 1))
    islands = find_islands(image, None, 1.0, 5, 3)
    assert len(islands) == 1
    found = deblend(image, None, 1.0, islands, 1000, 0.0, 5)
    assert len(found) == 40
    assert np.unique(found.level).size >= 30


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("where", [(0.0, 0.0), (0.5, 0.5), (0.2, -0.4), (0.5, 0.0)])
def test_the_maximum_between_pixels_is_found(where, sign):
    """Of a parabola exactly.

    Of a Gaussian of 5 by 4 pixels to 0.8 %, where its brightest pixel is up to 7 % low.
    """
    y, x = np.mgrid[:30, :40].astype(float)
    dy, dx = y - 15 - where[0], x - 20 - where[1]
    one = np.array([sign], np.int8)
    for image, error in ((7 - 0.3 * dx**2 - 0.2 * dx * dy - 0.25 * dy**2, 1e-12),
                         (7 * np.exp(-4 * np.log(2) * ((dx / 5) ** 2 + (dy / 4) ** 2)), 8e-3)):
        pixel = np.array([image.argmax()])
        told = peaks_at(sign * image, pixel, image.ravel()[pixel], one)
        assert told[0] == pytest.approx(7, rel=error)
        # Two pixels on there is no maximum.
        assert peaks_at(sign * image, pixel + 2, np.array([1.5]), one)[0] == 1.5


def test_sources_between_pixels_are_as_good_as_on_them(monkeypatch):
    """A source of 5.1 σ on the corner of four pixels, which have 4.7 σ.

    At the edge or beside blank pixels it stays what it is.
    """
    monkeypatch.setattr("uvstack.extraction.islands._BLOCK_PIXELS", 40 * 16)
    y, x = np.mgrid[:48, :40]

    def source(v, u):
        return 5.1 * np.exp(-4 * np.log(2) * ((x - u) ** 2 / 25 + (y - v) ** 2 / 16))
    nodes = NodeMap(np.full((2, 2), 1.0), np.array([10.0, 30.0]), np.array([10.0, 30.0]), x.shape)
    # Its brightest pixels lie on either side of where the rows that are worked on at a time end.
    image = source(15.5, 9.5) - source(30.5, 30.5)
    for rms in (1.0, nodes):
        assert len(find_islands(image, None, rms, 5, 3, negative=True)) == 0
        found = find_islands(image, None, rms, 5, 3, negative=True, between=True)
        assert list(found.sign) == [1, -1]
        assert len(deblend(image, None, rms, found, 32, 0.005, 5, between=True)) == 2
        assert len(find_islands(image, None, rms, 5.15, 3, between=True)) == 0
    assert len(find_islands(source(0.5, 9.5)[1:], None, 1.0, 5, 3, between=True)) == 0
    image[14:18, 10] = np.nan
    assert len(find_islands(image, None, 1.0, 5, 3, between=True)) == 0


def test_a_spike_of_noise_is_not_split_off():
    image = gaussians((60, 60), [(30, 30)], 12, [100])
    image[30, 42] += 12
    islands = find_islands(image, None, 1.0, 5, 3)
    assert len(deblend(image, None, 1.0, islands, 64, 0.005, 5)) == 1
    assert len(deblend(image, None, 1.0, islands, 64, 0.0, 5)) == 2
    assert len(deblend(image, None, 1.0, islands, 64, 0.0, 5, min_pixels=2)) == 1
    # The brighter of two peaks alone is above the threshold of detection.
    image = gaussians((60, 60), [(30, 20), (30, 40)], 9, [20, 4.5])
    islands = find_islands(image, None, 1.0, 5, 0.5)
    assert len(deblend(image, None, 1.0, islands, 64, 0.005, 5)) == 1
    assert len(deblend(image, None, 1.0, islands, 64, 0.005, 4)) == 2


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("connectivity", [4, 8])
def test_splits_are_those_of_the_slow_way(seed, connectivity):
    rng = np.random.default_rng(seed)
    image = 12 * ndimage.gaussian_filter(rng.standard_normal((70, 80)), 1.7) + 3
    islands = find_islands(image, None, 1.0, 4, 2, connectivity=connectivity)
    # The splits take the label image over.
    before = islands.label.copy()
    found = deblend(image, None, 1.0, islands, 20, 0.01, 4)
    shape = np.ones((3, 3)) if connectivity == 8 else None
    truth = [
        (k, level, pixels)
        for k in range(len(islands))
        for level, pixels in split_island(
            np.where(before == k + 1, image, 0), 2.0, 20, 0.01, 4.0, shape
        )
    ]
    assert len(truth) > len(islands)
    ours = {
        (
            int(found.parent[k]),
            round(found.level[k], 6),
            tuple(found.pixel[found.start[k] : found.start[k + 1]]),
        )
        for k in range(len(found))
    }
    assert ours == {(k, round(level, 6), tuple(pixels)) for k, level, pixels in truth}
    assert (np.diff(found.parent) >= 0).all()
