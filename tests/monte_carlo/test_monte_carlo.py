"""The method of the Monte Carlo on arrays.

Sums through images equal plain sums, lists are drawn evenly, sizes come back.

Budget of a sum through images, relative to the rms over positions: 2e-5 for the wgridder, 1e-5 for
the interpolation, 2e-5 for what the decomposition in frequency leaves out, 5e-6 for float32; the
largest of some hundred is four times the rms: 1e-4.
"""

import numpy as np
import pytest

from factories import ARCMIN, ARCSEC, CENTRE, offset
from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import PositionsError
from uvstack.monte_carlo import images as mc
from uvstack.monte_carlo import random_positions as rp
from uvstack.monte_carlo.report import advice_of
from uvstack.monte_carlo.result import BinnedFluxes, MonteCarloResult, Sample
from uvstack.records import UVRange
from uvstack.sky.coordinates import direction_cosines

TOLERANCE = 1e-4


def baselines(n=300, longest=4000.0, seed=1):
    return np.random.default_rng(seed).uniform(-longest, longest, (n, 3))


def lmn_of(l, m):
    return np.stack([l, m, np.sqrt(1 - l**2 - m**2) - 1])


def places(n=200, reach=15 * ARCMIN, seed=2, centre=(0.0, 0.0)):
    l, m = np.random.default_rng(seed).uniform(-reach, reach, (2, n))
    return lmn_of(l + centre[0], m + centre[1])


def values(shape, seed=3):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def plain_sums(uvw, frequency, value, lmn, coefficient):
    """Σ c_k(ν) Re(V exp(−2πi ν/c (u l + v m + w (n − 1)))), position by position, in float64."""
    sums = np.zeros(lmn.shape[1])
    for k in range(lmn.shape[1]):
        turns = np.outer(uvw @ lmn[:, k], frequency / SPEED_OF_LIGHT)
        sums[k] = (coefficient[:, k] * (value * np.exp(-2j * np.pi * turns)).real.sum(axis=0)).sum()
    return sums


def beam_coefficient(frequency, lmn, fwhm=25 * ARCMIN):
    """1/A of a Gaussian beam whose width goes as 1/ν: 1 to 8 over the field."""
    return np.exp(4 * np.log(2)
                  * np.outer((frequency / frequency.mean()) ** 2,
                             (lmn[0] ** 2 + lmn[1] ** 2) / fwhm**2))


@pytest.mark.parametrize("frequency",
                         [np.array([1.4e9]), np.linspace(1.3e9, 1.5e9, 6),
                          np.linspace(1.5e9, 1.3e9, 6)], ids=["one", "rising", "falling"])
@pytest.mark.parametrize("beam", [False, True])
def test_sums_through_images_equal_plain_sums(frequency, beam):
    uvw, lmn = baselines(), places()
    value = values((300, frequency.size))
    coefficient = beam_coefficient(frequency, lmn) if beam else np.ones((frequency.size, 200))
    truth = plain_sums(uvw, frequency, value, lmn, coefficient)
    found = mc.position_sums(uvw, frequency, value, lmn, coefficient)
    assert np.abs(found - truth).max() < TOLERANCE * truth.std()


def test_positions_far_from_the_phase_centre():
    """There the w term shifts the local spatial frequency by w l/n, here by 3 % of the band, which the kernel must not feel."""
    uvw, lmn, frequency = baselines(), places(reach=5 * ARCMIN,
                                              centre=(0.03, -0.02)), np.array([1.4e9])
    uvw[:, 2] *= 5
    value, coefficient = values((300, 1)), np.ones((1, 200))
    truth = plain_sums(uvw, frequency, value, lmn, coefficient)
    assert np.abs(mc.position_sums(uvw, frequency, value, lmn, coefficient)
                  - truth).max() < TOLERANCE * truth.std()


def test_bad_and_unused_rows_count_for_nothing():
    uvw, lmn, frequency = baselines(), places(50), np.array([1.4e9, 1.45e9])
    value, coefficient = values((300, 2)), np.ones((2, 50))
    value[::7] = 0
    truth = plain_sums(uvw, frequency, value, lmn, coefficient)
    uvw[::7] = np.nan
    before = value.copy()
    found = mc.position_sums(uvw, frequency, value, lmn, coefficient)
    assert np.abs(found - truth).max() < TOLERANCE * truth.std()
    assert np.array_equal(value, before)
    assert not mc.position_sums(uvw, frequency, 0 * value, lmn, coefficient).any()
    assert mc.position_sums(uvw, frequency, value, lmn[:, :0], coefficient[:, :0]).size == 0


def test_one_position_and_one_row():
    uvw, frequency = baselines(1), np.array([1.4e9])
    lmn, value = lmn_of(np.array([0.001]), np.array([-0.002])), np.array([[2 - 1j]], np.complex64)
    truth = plain_sums(uvw, frequency, value, lmn, np.ones((1, 1)))
    assert mc.position_sums(uvw, frequency, value, lmn,
                            np.ones((1, 1))) == pytest.approx(truth, abs=TOLERANCE * 2.2)


def test_tiles_give_what_one_image_gives(monkeypatch):
    uvw, lmn, frequency = baselines(), places(), np.linspace(1.3e9, 1.5e9, 3)
    value, coefficient = values((300, 3)), np.ones((3, 200))
    whole = mc.position_sums(uvw, frequency, value, lmn, coefficient)
    monkeypatch.setattr(mc, "_LARGEST_IMAGE", 300)
    assert len(mc._tiles(uvw, frequency, lmn)) > 4
    tiled = mc.position_sums(uvw, frequency, value, lmn, coefficient)
    assert np.abs(tiled - whole).max() < TOLERANCE * whole.std()


def test_a_bright_source_inside_the_beam_is_gridded_finer(monkeypatch):
    """All positions lie where the sky is faint, 20 times below the image's rms.

    Their accuracy counts, not that of the image.
    """
    monkeypatch.setattr(mc, "_FEW", 0)
    u, v = (a.ravel() for a in np.meshgrid(np.arange(-30, 31), np.arange(-30, 31)))
    # A tapered grid of baselines has no sidelobes within 1/(18 m/λ) = 40′.
    uvw, frequency = 18.0 * np.stack([u, v, 0 * u], axis=1), np.array([1.4e9])
    lmn = places(4000, reach=10 * ARCMIN)
    lmn = lmn[:, np.hypot(lmn[0], lmn[1]) > 6 * ARCMIN][:, :300]
    value = (40 * np.exp(-(u**2 + v**2) / 12**2)[:, None]
             + values((u.size, 1))).astype(np.complex64)
    coefficient = np.ones((1, lmn.shape[1]))
    truth = plain_sums(uvw, frequency, value, lmn, coefficient)
    found = mc.position_sums(uvw, frequency, value, lmn, coefficient)
    assert np.abs(found - truth).max() < TOLERANCE * truth.std()


def test_terms_in_frequency_reach_their_tolerance():
    lmn, frequency = places(500), np.linspace(1.3e9, 1.5e9, 12)
    coefficient = beam_coefficient(frequency, lmn)
    for tolerance in (1e-1, 1e-3, 2e-5):
        terms, factors, shares = mc.frequency_terms(coefficient, tolerance)
        left = np.sqrt(np.mean((terms.T @ factors - coefficient) ** 2) / np.mean(coefficient**2))
        assert left <= tolerance
        assert left**2 + (shares**2).sum() == pytest.approx(1, abs=1e-9)
        assert (np.diff(shares) < 0).all()
    assert mc.frequency_terms(np.outer(np.ones(12), lmn[0] + 1))[0].shape == (1, 12)


def test_lists_may_be_empty():
    assert mc.list_sums(np.array([1.0, 2.0, 4.0]),
                        np.array([0, 2, 2, 3])).tolist() == [3.0, 0.0, 4.0]


def everywhere(ra, dec):
    return np.ones(ra.size, np.bool_)


def nowhere(ra, dec):
    return np.zeros(ra.size, np.bool_)


def test_random_positions_are_even_over_the_region():
    """Each quarter of 40 000 positions holds 10 000 ± 87; five standard deviations."""
    ra, dec = rp.draw_random(40, 1000, rp.Region(*CENTRE, 20 * ARCMIN, 10 * ARCMIN), everywhere,
                             np.random.default_rng(1))
    l, m, _ = direction_cosines(ra.ravel(), dec.ravel(), *CENTRE)
    assert np.abs(l).max() <= 10 * ARCMIN
    assert np.abs(m).max() <= 5 * ARCMIN
    assert np.abs(np.histogram2d(l, m, 2)[0] - 10_000).max() < 5 * 87
    assert l.std() == pytest.approx(20 * ARCMIN / np.sqrt(12), rel=0.02)


def test_circles_wide_fields_and_the_pole():
    """Even in solid angle: in a cap of 30° the share within 15° is (1 − cos 15°)/(1 − cos 30°)."""
    region = rp.Region(1.0, np.pi / 2 - 0.05, 2 * np.sin(np.pi / 6), 2 * np.sin(np.pi / 6),
                       circle=True)
    ra, dec = rp.draw_random(1, 400_000, region, everywhere, np.random.default_rng(2))
    _, _, n_minus_1 = direction_cosines(ra[0], dec[0], region.ra, region.dec)
    share = np.mean(n_minus_1 + 1 > np.cos(np.pi / 12))
    truth = (1 - np.cos(np.pi / 12)) / (1 - np.cos(np.pi / 6))
    assert share == pytest.approx(truth, abs=5 * np.sqrt(truth * (1 - truth) / 400_000))


def test_the_region_of_targets_is_what_they_were_drawn_from():
    """Over 200 lists of 20 the mean width is the true one: 1 ± 0.005."""
    rng = np.random.default_rng(3)
    widths = []
    for _ in range(200):
        points = np.array([offset(*rng.uniform(-5, 5, 2) * ARCMIN) for _ in range(20)])
        widths.append(rp.region_of(points[:, 0], points[:, 1]).height / (10 * ARCMIN))
    assert np.mean(widths) == pytest.approx(1, abs=0.03)


def test_positions_keep_away_and_jitter_keeps_its_distance():
    rng = np.random.default_rng(4)
    known = np.array([offset(a * ARCMIN, b * ARCMIN) for a in (-2, 0, 2) for b in (-2, 0, 2)])
    allowed = rp.away_from(known[:, 0], known[:, 1], 50 * ARCSEC)
    ra, dec = rp.draw_random(3, 500, rp.Region(*CENTRE, 6 * ARCMIN, 6 * ARCMIN), allowed, rng)
    for a, d in known:
        l, m, _ = direction_cosines(ra, dec, a, d)
        assert np.hypot(l, m).min() > 49.9 * ARCSEC
    moved = rp.draw_jittered(50, known[:, 0], known[:, 1], 60 * ARCSEC, allowed, rng)
    l, m, _ = direction_cosines(*moved, known[:, 0], known[:, 1])
    assert np.allclose(np.hypot(l, m), 60 * ARCSEC, rtol=1e-6)
    assert abs(l.mean()) < 5 * 60 * ARCSEC / np.sqrt(2 * l.size)


@pytest.mark.parametrize(("call", "words"),
                         [(lambda r, g: rp.draw_random(1, 10, r, nowhere, g), "no room for random"),
                          (lambda r,
                           g: rp.draw_jittered(1, np.array([0.1]), np.array([0.1]), 1e-4, nowhere,
                                               g), "no room for jittered"),
                          (lambda r,
                           g: rp.draw_jittered(1, np.array([0.1]), np.array([0.1]), np.nan,
                                               everywhere, g), "jitter is nan"),
                          (lambda r, g: rp.region_of(np.array([0.1]), np.array([0.1])),
                           "one position"),
                          (lambda r,
                           g: rp.region_of(np.array([0.1, 0.1]), np.array([0.1, 0.2]), 1e-3,
                                           (1e-3, 1e-3)), "both given"),
                          (lambda r, g: rp.region_of(np.array([0.1]), np.array([0.1]), -1e-3),
                           "no room"),
                          (lambda r, g: rp.away_from(np.array([0.1]), np.array([0.1]), 0.0),
                           "positive angle")])
def test_bad_regions_are_told(call, words):
    with pytest.raises(PositionsError, match=words):
        call(rp.Region(*CENTRE, 1e-3, 1e-3), np.random.default_rng(1))


def test_sizes_of_binned_stacks_come_back():
    """400 lists of a Gaussian of 2″ at a signal of 50 a bin.

    The mean size is right within its error, 0.2 %.
    """
    rng = np.random.default_rng(6)
    q = np.linspace(2e3, 1.8e5, 12)
    truth = np.exp(-np.pi**2 / (4 * np.log(2)) * (2 * ARCSEC * q) ** 2)
    fluxes = 1e-6 * (truth[:, None] + 0.02 * rng.standard_normal((12, 401)))
    sizes = BinnedFluxes(np.arange(13.0), fluxes, q, fluxes).sizes()
    error = sizes.std() / np.sqrt(400)
    assert np.isfinite(sizes).all()
    assert abs(sizes.mean() - 2 * ARCSEC) < 4 * error
    assert error < 0.002 * 2 * ARCSEC
    # A point source has the size 0 as often as the noise makes it look sharper than that.
    points = BinnedFluxes(np.arange(13.0), 1e-6 * (1 + 0.02 * rng.standard_normal((12, 401))), q,
                          fluxes).sizes()
    assert 0.3 < np.mean(points == 0) < 0.7
    assert np.isnan(BinnedFluxes(np.arange(13.0), -fluxes, q, fluxes).sizes()).all()


def test_sizes_are_fitted_within_the_uv_range():
    """Bins outside of it, here spoilt, do not count; one that it cuts does not either."""
    q = np.linspace(2e3, 1.8e5, 12)
    truth = np.exp(-np.pi**2 / (4 * np.log(2)) * (2 * ARCSEC * q) ** 2)
    fluxes = truth[:, None] + 1e-4 * np.random.default_rng(7).standard_normal((12, 41))
    fluxes[:3] += 5.0
    binned = BinnedFluxes(np.arange(13.0), fluxes, q, fluxes)
    for uv_range in (UVRange(minimum=3.0), UVRange(minimum=2.5),
                     UVRange(minimum=q[3], unit="lambda"), UVRange(3.0, 12.0)):
        assert binned.sizes(uv_range) == pytest.approx(2 * ARCSEC, rel=0.01)
    assert abs(binned.sizes(UVRange(minimum=1.5)).mean() / (2 * ARCSEC) - 1) > 0.1


def test_statistics_of_a_sample():
    truths = np.array([1.0, 1.0, 2.0, 2.0, np.nan])
    blanks = np.array([0.0, 1.0, 2.0, 5.0, np.nan])
    sample = Sample("x", 4.0, truths + np.array([-1.0, 1.0, -1.0, 3.0, 0.0]), truths, blanks)
    assert (sample.n, sample.bias, sample.noise) == (4, 0.5, pytest.approx(np.sqrt(11 / 3)))
    assert sample.bias_error == pytest.approx(sample.noise / 2)
    assert sample.significance == pytest.approx((4 - 2) / sample.noise)
    assert sample.share_above == 0.25
    assert sample.response == pytest.approx((8 - 8) / 6)
    assert sample.offset_error == pytest.approx(np.sqrt(14 / 3) / 2)
    assert sample.summary()["errors"]["at_percentiles_jy"][2] == 0.0


@pytest.mark.parametrize(("shift", "advised"), [(0.0, False), (0.1, False), (0.5, True)])
def test_a_cut_is_advised_for_residuals_and_not_for_one_noise_map(shift, advised):
    """2500 lists: a shift of a tenth of their scatter is 5 errors of the mean, as their common noise map makes them; half is no noise."""
    rng = np.random.default_rng(8)
    fluxes = 1e-6 * rng.standard_normal((10, 2501))
    fluxes[0] += shift * 1e-6
    bins = BinnedFluxes(np.linspace(1e3, 3e4, 11), fluxes, np.linspace(5e3, 1.5e5, 10), fluxes)
    whole = fluxes[:, 1:].mean(axis=0) + shift * fluxes.std() / np.sqrt(10)
    uv = Sample("uv-stack", 1e-6, whole, np.zeros(2500), whole)
    nowhere = np.zeros((2500, 5))
    result = MonteCarloResult("x.ms", uv, (), 1e-6, 5, UVRange(), "random", "images", "", None,
                              bins, nowhere, nowhere)
    assert result.suggest_uvmin() == (pytest.approx(3900.0) if advised else None)
    assert len(advice_of(result)) == 2 * advised
