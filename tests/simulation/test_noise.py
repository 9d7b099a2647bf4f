"""Thermal noise against formulas worked out by hand, published numbers, and the model of the atmosphere in casatools."""

import math

import numpy as np
import pytest

from simulate.noise import Noise, add_noise, image_noise, weights, zenith_opacity
from uvstack.errors import UvstackError

GHZ = 1e9


def hand_system_temperature(ghz, opacity, receiver, airmass=1.0, sidebands=1.0):
    """The Technical Handbook's formula, in its own words."""
    hv_k = 0.0479924307 * ghz

    def planck(t):
        return hv_k / (math.exp(hv_k / t) - 1)

    loss = math.exp(opacity * airmass)
    sky = planck(260) * (1 - 1 / loss) + planck(2.725) / loss
    return sidebands * loss / 0.95 * (receiver + 0.95 * sky + 0.05 * planck(270))


def test_sigma_from_sefd_is_the_radiometer_equation():
    # VLA at L band: 420 Jy, 2 MHz, 10 s, efficiency 0.92. 420 / (0.92 sqrt(2 · 2e6 · 10)) = 72.18
    # mJy.
    sigma = Noise.from_sefd(420.0, 0.92).sigma([1.4e9], [2e6], 10.0)
    assert sigma.shape == (1, 1)
    assert sigma[0, 0] == pytest.approx(0.07218, rel=1e-4)


def test_sigma_from_a_temperature():
    # 2 · 1.380649e-23 · 30 / (0.6 · π/4 · 25²) = 2.81262e-24 W m⁻² Hz⁻¹ = 281.26 Jy; / sqrt(2 · 1e6
    # · 5) = 88.943 mJy.
    noise = Noise.from_system_temperature(30.0, 25.0, 0.6)
    assert noise.sefd([3e9])[0, 0] == pytest.approx(281.262, rel=1e-5)
    assert noise.sigma([3e9], [-1e6], 5.0)[0, 0] == pytest.approx(0.088943, rel=1e-4)


def test_sigma_scales_with_bandwidth_time_and_dishes():
    noise = Noise.from_system_temperature(100.0, 12.0, 0.7, 0.85)
    one = noise.sigma([1e11, 1e11], [1e6, 4e6], 1.0)
    assert one[0, 0] == pytest.approx(2 * one[0, 1], rel=1e-12)
    assert noise.sigma([1e11], [1e6], 9.0)[0, 0] == pytest.approx(one[0, 0] / 3, rel=1e-12)
    pairs = noise.sigma([1e11], [1e6], 1.0, diameters=([12.0, 12.0, 7.0], [12.0, 7.0, 7.0]))
    np.testing.assert_allclose(pairs[:, 0] / one[0, 0], [1.0, 12 / 7, (12 / 7) ** 2], rtol=1e-12)


def test_sum_of_the_noise_of_all_baselines_is_the_handbooks_array_sensitivity():
    # ALMA Technical Handbook: σ_S = 2 k T_sys / (η_q η_c A_eff sqrt(N (N−1) n_p Δν t)).
    n_ant, width, time = 43, 7.5e9, 3600.0
    noise = Noise.from_system_temperature(100.0, 12.0, 0.68, 0.845)
    sigma = noise.sigma([2.3e11], [width], 10.0)
    expected = 2 * 1.380649e-23 * 100 / (0.845 * 0.68 * math.pi * 36) / 1e-26 / math.sqrt(
        n_ant * (n_ant - 1) * 2 * width * time)
    assert image_noise(sigma,
                       n_ant * (n_ant - 1) / 2 * 2 * time / 10) == pytest.approx(expected, rel=1e-9)


def test_image_noise_of_the_papers_vla_observation():
    # Lindroos et al. (2015), section 2.2: 10 mJy a visibility, 9.4 h of 10 s, 10 channels: 2.1
    # µJy/beam, to two digits.
    found = image_noise(10e-3, 3384 * 351 * 10 * 2)
    assert found == pytest.approx(2.0518e-6, rel=1e-4)
    assert found == pytest.approx(2.1e-6, rel=0.03)


def test_image_noise_of_unequal_visibilities_adds_weights():
    assert image_noise([3.0, 4.0], 2) == pytest.approx(1 / math.sqrt(2 / 9 + 2 / 16))
    assert image_noise([0.0, 1.0]) == 0.0


# Zenith opacity of ATM in casatools 6.7 (5059 m, 560 mbar, 270 K): dry, and for each mm of water.
ATM = {100: (0.0112, 0.00764), 230: (0.0117, 0.04645), 345: (0.0208, 0.16146)}


@pytest.mark.parametrize(("ghz", "pwv", "receiver"),
                         [(100, 5.186, 40), (230, 1.262, 50), (345, 0.913, 72)])
@pytest.mark.parametrize("elevation", [90.0, 40.0])
def test_system_temperature_is_the_handbooks_at_standard_water_vapour(ghz, pwv, receiver,
                                                                      elevation):
    dry, wet = ATM[ghz]
    expected = hand_system_temperature(ghz, dry + wet * pwv, receiver,
                                       1 / math.sin(math.radians(elevation)))
    noise = Noise.from_water_vapour(pwv)
    found = noise.system_temperature([ghz * GHZ], [math.radians(elevation)])[0, 0]
    assert found == pytest.approx(expected, rel=0.02)
    assert noise.sigma([ghz * GHZ], [1e6], 6.0).shape == (1, 1)


def test_opacity_is_that_of_the_first_exposure_time_calculator():
    # NRAO wiki, ALMA ExposureTimeFormula (December 2009), 91 GHz; τ is printed to 0.001.
    for pwv, tau in ((5.186, 0.047), (2.738, 0.030), (0.4722, 0.016)):
        assert zenith_opacity([91 * GHZ], pwv)[0] == pytest.approx(tau, abs=0.003)


def test_opacity_follows_the_model_of_the_atmosphere():
    casatools = pytest.importorskip("casatools", reason="casatools is not installed")
    model, quantity = casatools.atmosphere(), casatools.quanta().quantity
    model.initAtmProfile(
        humidity=20.0, temperature=quantity(270.0, "K"), altitude=quantity(5059.0, "m"), pressure=quantity(560.0, "mbar"),
        atmType=2, h0=quantity(1.0, "km"))  # fmt: skip
    # Bands 3 to 9, away from lines of ozone.
    for ghz in (95, 140, 152, 220, 225, 245, 270, 340, 350, 410, 460, 660, 670):
        model.initSpectralWindow(1, quantity(ghz, "GHz"), quantity(2.0, "GHz"),
                                 quantity(0.5, "GHz"))
        model.setUserWH2O(quantity(1.0, "mm"))
        n = model.getNumChan(0)
        wet = np.mean([np.ravel(model.getWetOpacity(i, 0)["value"])[0] for i in range(n)])
        dry = np.mean([model.getDryOpacity(i, 0) for i in range(n)])
        ours_dry = zenith_opacity([ghz * GHZ], 0.0)[0]
        assert zenith_opacity([ghz * GHZ], 1.0)[0] - ours_dry == pytest.approx(wet, rel=0.13), ghz
        if ghz < 500:
            assert ours_dry == pytest.approx(dry, rel=0.25, abs=0.003), ghz
        assert zenith_opacity([ghz * GHZ], 1.0)[0] == pytest.approx(wet + dry, rel=0.13), ghz


def test_aperture_efficiency_is_the_handbooks():
    # Table of the Technical Handbook, 12 m: 0.71, 0.68, 0.63, 0.60, 0.43 in bands 3, 6, 7, 8, 9.
    noise = Noise.from_water_vapour(1.0)
    frequency = np.array([100.0, 230.0, 345.0, 405.0, 690.0]) * GHZ
    area = 2 * 1.380649e-23 * noise.system_temperature(frequency) / noise.sefd(frequency) / 1e-26
    np.testing.assert_allclose(area[0] / (36 * math.pi), [0.71, 0.68, 0.63, 0.60, 0.43], atol=0.012)


def test_double_sideband_receivers_count_twice_and_a_receiver_may_be_given():
    cold = Noise.from_water_vapour(0.5, t_receiver=0.0).system_temperature([700e9, 345e9])[0]
    warm = Noise.from_water_vapour(0.5, t_receiver=100.0).system_temperature([700e9, 345e9])[0]
    loss = np.exp(zenith_opacity([700e9, 345e9], 0.5)) / 0.95
    np.testing.assert_allclose(warm - cold, [200, 100] * loss, rtol=1e-9)


def test_low_elevation_is_noisier_row_by_row():
    noise = Noise.from_water_vapour(1.0, elevation=math.radians(60))
    sigma = noise.sigma([2.3e11, 3.45e11], [1e6, 1e6], 6.0, np.deg2rad([30.0, 60.0]))
    assert sigma.shape == (2, 2)
    assert (sigma[0] > sigma[1]).all()
    np.testing.assert_array_equal(sigma[1:], noise.sigma([2.3e11, 3.45e11], [1e6, 1e6], 6.0))


def test_drawn_noise_has_sigma_in_each_part_and_channel():
    rng = np.random.default_rng(5)
    sigma = np.array([[1.0, 3.0]])
    n = 200_000
    drawn = add_noise((n, 2, 2), sigma, rng)
    assert drawn.dtype == np.complex64
    # Standard error of a standard deviation: σ / sqrt(2 n); five of them.
    margin = 5 / math.sqrt(2 * n)
    for part in (drawn.real, drawn.imag):
        np.testing.assert_allclose(part.std(axis=0, dtype=float), np.repeat(sigma.T, 2, axis=1),
                                   rtol=margin)
        assert np.abs(part.mean(axis=0, dtype=float) / sigma.T).max() < 5 / math.sqrt(n)
    assert abs(np.mean(drawn[:, 0, 0].real * drawn[:, 0, 0].imag)) < margin * 2
    assert abs(np.mean(drawn[:, 0, 0] * drawn[:, 0, 1].conj())) < margin * 2


def test_noise_is_reproducible_and_added_in_place():
    a = add_noise((5, 3, 2), 0.5, np.random.default_rng([1, 2]))
    vis = np.ones((5, 3, 2), np.complex64)
    b = add_noise((5, 3, 2), np.full((5, 3), 0.5), np.random.default_rng([1, 2]), vis)
    assert b is vis
    np.testing.assert_array_equal(b, a + np.complex64(1))
    assert add_noise((0, 3, 2), 1.0, np.random.default_rng(0)).shape == (0, 3, 2)
    assert not add_noise((5, 3, 2), 0.0, np.random.default_rng(0)).any()


def test_mean_of_weighted_noise_has_the_image_noise():
    rng = np.random.default_rng(11)
    sigma = Noise.from_sefd(400.0).sigma([1e9, 2e9], [1e6, 4e6], 1.0)
    weight = weights(sigma)
    np.testing.assert_allclose(weight, sigma**-2, rtol=1e-6)
    means = []
    for _ in range(400):
        drawn = add_noise((50, 2, 2), sigma, rng)
        means.append(np.sum(drawn.real * weight[..., None]) / (np.sum(weight) * 50 * 2))
    # 400 means give their scatter to 3.5 per cent; three of that.
    assert np.std(means) == pytest.approx(image_noise(sigma, 50 * 2), rel=0.11)
    assert weights([0.0, 2.0]).tolist() == [1.0, 0.25]


@pytest.mark.parametrize(("make", "fragment"), [
    (lambda: Noise(), "nothing"),
    (lambda: Noise(sigma_jy=1.0, sefd_jy=2.0), "sigma_jy and sefd_jy"),
    (lambda: Noise.noise_per_visibility(-1.0), "sigma_jy = -1.0"),
    (lambda: Noise.noise_per_visibility(math.nan), "nan"),
    (lambda: Noise.from_sefd(400.0, 0.0), "efficiency = 0.0"),
    (lambda: Noise.from_system_temperature(50.0, -1.0, 0.7), "-1.0 m"),
    (lambda: Noise.from_sefd(400.0).sigma([], [], 1.0), "zero channels"),
    (lambda: Noise.from_sefd(400.0).sigma([1e9], [0.0], 1.0), "channel width"),
    (lambda: Noise.from_sefd(400.0).sigma([1e9], [1e6], 0.0), "integration time"),
    (lambda: Noise.from_sefd(400.0).sigma([math.nan], [1e6], 1.0), "frequency in Hz of nan"),
    (lambda: Noise.from_system_temperature(50.0, 12.0, 0.7).sigma([1e9], [1e6], 1.0, diameters=(12.0, 0.0)), "dish"),
    (lambda: Noise.from_water_vapour(1.0).sigma([1.4e9], [1e6], 1.0), "1.4 GHz"),
    (lambda: Noise.from_water_vapour(1.0).sigma([1e11], [1e6], 1.0, [-0.1]), "-5.7°"),
    (lambda: Noise.from_sefd(1.0).system_temperature([1e9]), "no system temperature"),
    (lambda: Noise.noise_per_visibility(1.0).sefd([1e9]), "no SEFD"),
    (lambda: image_noise([]), "0 visibilities"),
])  # fmt: skip
def test_bad_input_is_one_clear_line(make, fragment):
    with pytest.raises(UvstackError, match=".+") as caught:
        make()
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_fit():
    noise, rng = Noise.noise_per_visibility(1.0), np.random.default_rng(0)
    with pytest.raises(ValueError, match="must be"):
        noise.sigma([1e9, 2e9], [1e6], 1.0)
    for sigma in (np.ones(3), np.ones((4, 3)), np.ones((5, 2))):
        with pytest.raises(ValueError, match="sigma of shape"):
            add_noise((5, 3, 2), sigma, rng)
    with pytest.raises(ValueError, match="noise of shape"):
        add_noise((5, 3, 2), 1.0, rng, np.zeros((5, 3), np.complex64))
    assert noise.sigma(1e9, 1e6, 1.0).tolist() == [[1.0]]
