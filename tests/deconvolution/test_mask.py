"""Robust noise and the automatic mask against known statistics, plain flood fills and analytic shapes."""

import numpy as np
import pytest
from scipy.special import erfc

from uvstack.deconvolution.mask import AutoMask, automatic_mask, checked_mask
from uvstack.errors import ImageError
from uvstack.pixels.noise import robust_noise
from uvstack.pixels.smooth import convolve_beam
from uvstack.sky.beam import Beam

BEAM = Beam(5.0, 5.0, 0.0)  # area 28.3 pixels
PLAIN = {"smooth": 0.0, "smallest": 0.0, "sidelobe_factor": 0.0}


def noise(shape=(128, 128), seed=0):
    """Noise of σ = 1 with the beam's correlation, as in an image of visibilities."""
    image = convolve_beam(np.random.default_rng(seed).normal(size=shape), BEAM, 1.0)
    return image / image.std()


def spot(shape, row, column, peak, beam=BEAM):
    image = np.zeros(shape)
    image[row, column] = peak
    return convolve_beam(image, beam, 1.0)


def flood(seed, above, steps):
    """Step by step into neighbours over a side, pixel by pixel."""
    reached = seed.copy()
    for _ in range(steps):
        before = reached.copy()
        for i in range(seed.shape[0]):
            for j in range(seed.shape[1]):
                for k, n in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                    if above[i, j] and 0 <= k < seed.shape[0] and 0 <= n < seed.shape[1] and before[k, n]:
                        reached[i, j] = True
    return reached


# -------------------------------------------------------------------------------------------- noise


def test_robust_noise_of_normal_noise_with_sources_in_it():
    rng = np.random.default_rng(4)
    image = 3.0 + 0.2 * rng.normal(size=(300, 300))
    # 90 000 pixels: the MAD errs by 1.17/sqrt(90 000) = 0.4 %, three times of which is 1.2 %.
    assert robust_noise(image) == pytest.approx(0.2, rel=0.012)
    image[::10, ::5] += 50.0  # one pixel in 50: the MAD of the rest is at a quantile 1 % higher, that is 2 % more
    assert robust_noise(image) == pytest.approx(0.2, rel=0.04)
    sources = image > 20
    assert robust_noise(image, sources) == pytest.approx(0.2, rel=0.012)
    assert robust_noise(image, np.ones(image.shape, bool)) == robust_noise(image)  # a mask of everything leaves nothing else
    image[:, :100] = np.nan
    assert robust_noise(image, sources) == pytest.approx(0.2, rel=0.015)
    assert np.isnan(robust_noise(image * np.nan))
    assert np.isnan(robust_noise(np.zeros((0, 0))))


def test_robust_noise_of_a_large_image_is_sampled_evenly():
    image = np.random.default_rng(4).normal(size=(3000, 3100)).astype(np.float32)
    assert robust_noise(image) == pytest.approx(1.0, rel=0.003)


# --------------------------------------------------------------------------------------------- mask


def test_thresholds_are_in_units_of_the_noise():
    """Unconnected normal pixels: those above 2 σ are erfc(2/√2)/2 of all, whatever the scale."""
    image = 1e-5 * np.random.default_rng(2).normal(size=(400, 400))
    mask = automatic_mask(image, 0.1, BEAM,
                          AutoMask(sigma=2.0, grow_sigma=2.0, grow_steps=0, **PLAIN))
    part = 0.5 * erfc(2 / np.sqrt(2))
    # 160 000 pixels: 1.6 % from counting, 3 % from a noise that is wrong by 0.3 %; both once and a
    # half.
    assert mask.mean() == pytest.approx(part, rel=0.05)
    # 3 σ by default finds nothing but a source in the noise of a beam.
    field = noise((256, 256))
    assert automatic_mask(field, 0.0, BEAM).mean() < 2e-3
    mask = automatic_mask(field + spot(field.shape, 100, 140, 12.0), 0.0, BEAM)
    assert mask[100, 140]
    near = np.hypot(*np.ogrid[-100:156, -140:116]) < 15
    assert mask[~near].mean() < 2e-3


@pytest.mark.parametrize("steps", [0, 1, 4, 75])
def test_growth_is_the_plain_flood(steps):
    field = noise((40, 44), seed=3)
    mask = automatic_mask(field, 0.0, BEAM,
                          AutoMask(sigma=2.2, grow_sigma=0.5, grow_steps=steps, **PLAIN))
    sigma = robust_noise(field)
    wanted = flood(field > 2.2 * sigma, field > 0.5 * sigma, min(steps, 40))
    assert 0 < wanted.sum() < 0.5 * field.size
    assert np.array_equal(mask, wanted)


def test_the_skirt_of_a_source_is_taken_and_an_island_as_faint_is_not():
    field = noise((200, 200), seed=7) * 0.2
    skirt = spot(field.shape, 100, 60, 1.0, Beam(40.0, 20.0, 0.0)) * 1.5
    image = field + skirt + spot(field.shape, 100, 60, 3.0) + np.roll(skirt, 80, axis=1)
    settings = AutoMask(sigma=10.0, grow_sigma=3.0, smooth=0.0, sidelobe_factor=0.0)
    mask = automatic_mask(image, 0.0, BEAM, settings)
    assert mask[100, 60]
    assert mask[112, 60]  # a skirt of 5 σ, 12 pixels out
    assert not mask[:, 110:].any()
    # Growth goes on from the mask so far, too: the next residual has no core left.
    later = automatic_mask(image - spot(field.shape, 100, 60, 3.0), 0.0, BEAM, settings,
                           previous=spot(field.shape, 100, 60, 1.0) > 0.9)
    assert later[112, 60]
    assert not later[:, 110:].any()


def test_regions_smaller_than_a_part_of_the_beam_are_dropped():
    image = noise() * 0.1
    image[30, 30] += 10.0  # one pixel, 1/28 of the beam
    image += spot(image.shape, 90, 90, 10.0)
    mask = automatic_mask(image, 0.0, BEAM, AutoMask(grow_steps=0))
    assert mask[90, 90]
    assert not mask[20:40, 20:40].any()
    assert automatic_mask(image, 0.0, BEAM, AutoMask(smallest=1 / 29.0))[30, 30]
    assert not automatic_mask(image, 0.0, BEAM, AutoMask(smallest=20.0)).any()


def test_sidelobes_of_what_is_bright_are_left_out_until_it_is_gone():
    """A source of 100 σ with sidelobes of 10 %.

    At first these are under the floor, though 10 σ high.
    """
    image = noise() * 0.01
    source, sidelobe = spot(image.shape, 60, 60, 1.0), spot(image.shape, 60, 100, 0.1)
    first = automatic_mask(image + source + sidelobe, 0.1, BEAM, AutoMask(sidelobe_factor=3.0))
    assert first[60, 60]
    assert not first[60, 100]
    assert automatic_mask(image + source + sidelobe, 0.1, BEAM,
                          AutoMask(sidelobe_factor=0.5))[60, 100]
    second = automatic_mask(image + sidelobe, 0.1, BEAM, AutoMask(sidelobe_factor=3.0), first)
    assert second[60, 100]
    assert second[first].all()


def test_the_brightest_source_is_masked_whatever_the_sidelobes():
    """With sidelobes of 0.4, three times these exceed the source itself.

    And a sidelobe of half the peak stays out.
    """
    image = noise() + spot((128, 128), 60, 60, 200.0) + spot((128, 128), 60, 100, 80.0)
    mask = automatic_mask(image, 0.4, BEAM)
    assert mask[60, 60]
    assert not mask[60, 100]


def test_smoothing_makes_the_beam_of_a_pixel():
    """One pixel becomes the ellipse on which a Gaussian of the beam, twice as large, is at the cut."""
    image = 1e-3 * np.random.default_rng(1).normal(size=(64, 64))
    image[32, 30] = 1.0
    beam = Beam(6.0, 3.0, 0.5)
    mask = automatic_mask(image, 0.0, beam, AutoMask(
        sigma=100.0, grow_sigma=90.0, smooth=2.0, cut=0.02, smallest=0.0, sidelobe_factor=0.0))
    north, east = np.arange(64)[:, None] - 32, -(np.arange(64)[None, :] - 30)
    along, across = north * np.cos(0.5) + east * np.sin(0.5), east * np.cos(0.5) - north * np.sin(0.5)
    assert np.array_equal(mask,
                          4 * np.log(2) * ((along / 12) ** 2 + (across / 6) ** 2) < np.log(50))


def test_negative_regions_on_demand():
    image = noise() * 0.1 - spot((128, 128), 40, 40, 5.0) + spot((128, 128), 90, 90, 5.0)
    assert not automatic_mask(image, 0.0, BEAM)[40, 40]
    mask = automatic_mask(image, 0.0, BEAM, AutoMask(negative_sigma=8.0))
    assert mask[40, 40]
    assert mask[90, 90]


def test_what_is_not_allowed_or_blank_is_never_masked():
    image = noise() * 0.1 + spot((128, 128), 40, 40, 5.0) + spot((128, 128), 90, 90, 5.0)
    image[38:42, 38:42] = np.nan
    allowed = np.zeros(image.shape)
    allowed[:, :64] = 1
    kept = image.copy()
    mask = automatic_mask(image, 0.0, BEAM, allowed=allowed, previous=np.ones(image.shape, bool))
    assert np.array_equal(mask, (allowed > 0) & np.isfinite(image))
    assert np.array_equal(image, kept, equal_nan=True)
    mask = automatic_mask(image, 0.0, BEAM, allowed=allowed)
    assert mask[36, 40]
    assert not mask[38:42, 38:42].any()
    assert not mask[:, 64:].any()
    assert not automatic_mask(image * np.nan, 0.0, BEAM).any()
    assert not automatic_mask(np.zeros((20, 20)), 0.0, BEAM).any()


# ---------------------------------------------------------------------------------------- bad input


def test_masks_from_arrays():
    image = np.zeros((1, 1, 4, 5), np.float32)
    image[..., 1, 2], image[..., 0, 0], image[..., 3, 3] = 0.5, np.nan, -1.0
    assert np.argwhere(checked_mask(image, (4, 5))).tolist() == [[1, 2], [3, 3]]
    for bad in (image[..., :4], np.zeros((2, 4, 5)), np.zeros(5)):
        with pytest.raises(ImageError,
                           match="pixels for an image of 4 × 5; wanted is one on the same grid"):
            checked_mask(bad, (4, 5))
    with pytest.raises(ImageError, match="a mask of 4 × 4 pixels"):
        automatic_mask(np.zeros((4, 5)), 0.0, BEAM, allowed=np.ones((4, 4)))


@pytest.mark.parametrize(("change", "wanted"),
                         [({"sigma": -1.0}, "sigma is -1"),
                          ({"smooth": float("nan")}, "smooth is nan"),
                          ({"grow_sigma": 6.0}, "grow_sigma <= sigma"), ({"cut": 1.0}, "cut < 1"),
                          ({"grow_sigma": 0.0}, "0 < grow_sigma")])
def test_settings_that_cannot_be(change, wanted):
    with pytest.raises(ImageError, match=wanted):
        AutoMask(**change)
