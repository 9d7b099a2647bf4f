"""Noise by boxes against plain loops, the truth of correlated noise, and a fixed clip at 2 σ."""

import numpy as np
import pytest
from scipy import ndimage

from oracles import clipped_noise
from uvstack.errors import ImageError, SelectionError
from uvstack.extraction.noise_map import measure_noise

#: FWHM of the beam, pixels, and the area of the Gaussian.
MAJOR, MINOR = 5.0, 4.0
BEAM_AREA = np.pi * MAJOR * MINOR / (4 * np.log(2))
TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


def noise(n, seed):
    """White noise smoothed by the beam, of true rms 1: the kernel's squares sum to 1."""
    y, x = (((np.mgrid[:n, :n] + n // 2) % n) - n // 2) / np.array([MINOR, MAJOR])[:, None, None]
    kernel = np.exp(-4 * np.log(2) * (x**2 + y**2))
    kernel /= np.sqrt((kernel**2).sum())
    white = np.random.default_rng(seed).standard_normal((n, n))
    return np.fft.irfft2(np.fft.rfft2(white) * np.fft.rfft2(kernel), s=(n, n)).astype(np.float32)


def sources(n, count, seed):
    """Beams of 4 to 1000 σ, counts N(> S) ∝ 1 / S."""
    rng = np.random.default_rng(seed)
    sky = np.zeros((n, n))
    np.add.at(sky, tuple(rng.integers(0, n, (2, count))), np.minimum(4 / rng.random(count), 1000))
    smooth = ndimage.gaussian_filter(
        sky, [MINOR * TO_SIGMA, MAJOR * TO_SIGMA], mode="wrap", truncate=6
    )
    return (smooth * BEAM_AREA).astype(np.float32)


def fixed_clip(values, limit=2.0):
    """The standard deviation after clipping at 2 σ about the median to the end."""
    values = values.ravel()
    while True:
        kept = values[np.abs(values - np.median(values)) <= limit * values.std()]
        if kept.size == values.size:
            return values.std()
        values = kept


@pytest.mark.parametrize("beam_area", [1.0, BEAM_AREA])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boxes_are_those_of_plain_loops(beam_area, dtype):
    image = (noise(192, 2) + sources(192, 12, 3) + 100).astype(dtype)
    image[:20, 40:60] = np.nan
    image[100, 100] = np.inf
    found = measure_noise(image, (48, 64), beam_area, filter_size=1)
    assert found.rms.shape == (4, 3)
    for j in range(4):
        for i in range(3):
            background, rms = clipped_noise(
                image[48 * j : 48 * j + 48, 64 * i : 64 * i + 64], beam_area
            )
            assert found.rms[j, i] == pytest.approx(rms, rel=1e-6)
            assert found.background[j, i] == pytest.approx(background, rel=1e-7)


def test_the_noise_of_correlated_noise_is_not_biased():
    # 1024 boxes of 181 beams of scatter 0.054: the mean is known to 0.0017.
    found = np.concatenate(
        [measure_noise(noise(1024, seed), 64, BEAM_AREA, filter_size=1).rms for seed in range(4)]
    )
    assert found.mean() == pytest.approx(1, abs=0.005)
    # White noise: 1 / √(2 · 4096) and the 1 or 2 % that clipping costs.
    white = np.random.default_rng(1).standard_normal((1024, 1024)).astype(np.float32)
    found = measure_noise(white, 64, 1.0, filter_size=1)
    assert found.rms.mean() == pytest.approx(1, abs=0.002)
    assert found.rms.std() < 1.1 / np.sqrt(2 * 4096)
    assert abs(found.background.mean()) < 0.005


def test_nodes_scatter_less_than_those_of_a_fixed_clip():
    ours, fixed = [], []
    for seed in range(3):
        image = noise(1024, seed) + sources(1024, 100, seed)
        ours.append(measure_noise(image, 64, BEAM_AREA, filter_size=1).rms)
        boxes = image.reshape(16, 64, 16, 64).swapaxes(1, 2)
        fixed.append([[fixed_clip(boxes[j, i]) for i in range(16)] for j in range(16)])
    ours, fixed = np.array(ours), np.array(fixed)
    spread = [np.subtract(*np.percentile(one / np.median(one), [84, 16])) for one in (ours, fixed)]
    assert spread[0] < 0.85 * spread[1]
    assert np.median(ours) == pytest.approx(1, abs=0.02)
    assert np.median(fixed) < 0.95


def test_maps_are_bilinear_and_constant_outside():
    rng = np.random.default_rng(5)
    image = rng.standard_normal((101, 67)).astype(np.float32) * np.linspace(
        1e-6, 3, 67, dtype=np.float32
    )
    found = measure_noise(image, (20, 15), 1.0, filter_size=1)
    y, x = np.indices(image.shape)
    for nodes, whole in ((found.rms, found.rms_map()), (found.background, found.background_map())):
        row = np.interp(y, found.y, np.arange(found.y.size))
        column = np.interp(x, found.x, np.arange(found.x.size))
        expected = ndimage.map_coordinates(nodes, [row, column], order=1, mode="nearest")
        assert whole.dtype == np.float32
        np.testing.assert_allclose(whole, expected, atol=1e-6)
    np.testing.assert_allclose(found.at(x, y)[1], found.rms_map(), atol=1e-6)
    assert (found.rms_map() > 0).all()
    image[3:5, 6] = np.nan, np.inf
    assert (np.isnan(found.rms_map(image)) == ~np.isfinite(image)).all()


def test_boxes_without_enough_pixels_have_their_neighbours_value():
    image = np.random.default_rng(6).standard_normal((160, 160)).astype(np.float32)
    image[:, 80:] += 10
    image[0:32, 0:30] = np.nan
    image[64:128, 128:] = 7.0
    found = measure_noise(image, 32, 1.0, filter_size=1)
    assert not found.measured[0, 0]
    assert not found.measured[2:4, 4].any()
    assert found.measured.sum() == 22
    assert found.n_good[0, 0] == 64
    assert found.rms[0, 0] == pytest.approx(np.median(found.rms[[0, 1, 1], [1, 0, 1]]))
    assert found.background[2, 4] == pytest.approx(10, abs=0.2)


def test_a_bad_node_is_taken_out_by_the_median_filter():
    image = np.random.default_rng(7).standard_normal((160, 160))
    image[64:96, 64:96] *= 50
    assert measure_noise(image, 32, 1.0, filter_size=1).rms[2, 2] > 40
    assert measure_noise(image, 32, 1.0).rms[2, 2] < 1.1


def test_an_image_smaller_than_a_box_is_one_box():
    image = np.random.default_rng(8).standard_normal((30, 41)).astype(">f4")
    found = measure_noise(image, 64, 1.0)
    assert found.rms.shape == (1, 1)
    assert found.rms[0, 0] == pytest.approx(1, abs=0.1)
    assert (found.rms_map() == np.float32(found.rms[0, 0])).all()
    assert (found.x[0], found.y[0]) == (20, 14.5)
    counts = np.random.default_rng(8).poisson(50, (64, 64))
    assert measure_noise(counts, 32, 1.0).rms[0, 0] == pytest.approx(np.sqrt(50), rel=0.1)


@pytest.mark.parametrize(
    ("image", "change", "error", "words"),
    [
        (np.full((40, 40), np.nan), {}, ImageError, "all blank"),
        (np.full((40, 40), 3.0), {}, ImageError, "noise of the image is 0"),
        (np.zeros((0, 4)), {}, ImageError, "one plane"),
        (np.ones((1, 40, 40)), {}, ImageError, "one plane"),
        (np.eye(40), {"beam_area": 100.0}, ImageError, "take larger boxes"),
        (np.eye(40), {"beam_area": 1000.0}, ImageError, r"5 beams\); give noise .*--background\)$"),
        (np.eye(40), {"beam_area": np.nan}, SelectionError, "beam_area"),
        (np.eye(40), {"filter_size": 2}, SelectionError, "odd"),
        (np.eye(40), {"least_share": 2.0}, SelectionError, "least_share"),
        (np.eye(40), {"box": 1}, SelectionError, "box"),
        (np.eye(40), {"box": (3, 4, 5)}, SelectionError, "box"),
    ],
)
def test_what_has_no_noise_is_told(image, change, error, words):
    with pytest.raises(error, match=words):
        measure_noise(image, **({"box": 16, "beam_area": 1.0} | change))
