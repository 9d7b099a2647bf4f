"""Mean true and mean detected fluxes against quadrature by scipy and against drawn sources."""

import time

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from uvstack.errors import ImageError, SelectionError
from uvstack.extraction.flux_bias import (
    expected_flux,
    mean_detected_flux,
    mean_detected_flux_of_counts,
    mean_detected_flux_of_many,
)


def by_scipy(r, q, low):
    """Equation 2.34 in s = S/σ, adaptive in ln s, split where it may be narrow."""

    def log_density(t):
        return -q * t - 0.5 * (np.exp(t) - r) ** 2

    top = max(r, low)
    far = max(r, low) + 12
    near = top + np.array(
        [-12, -8, -5, -3, -2, -1, -0.5, 0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1, 2, 3, 5, 8]
    )
    edges = np.r_[np.geomspace(low, far, 60), near[(near > low) & (near < far)]]
    edges = np.unique(np.log(edges))
    greatest = log_density(edges).max()
    sums = np.zeros(2)
    for a, b in zip(edges, edges[1:], strict=False):
        for i, power in enumerate((0, 1)):
            sums[i] += quad(lambda t, p=power: np.exp(log_density(t) - greatest + p * t), a, b,
                            epsabs=1e-14, epsrel=1e-11)[0]  # fmt: skip
    return sums[1] / sums[0]


@pytest.mark.parametrize("q", [-0.5, 0.0, 0.7, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("low", [1e-6, 0.01, 0.5, 3.0, 40.0])
def test_expected_fluxes_are_those_of_scipy(q, low):
    r = np.array([-5.0, 0.0, 1.0, 3.0, 4.0, 5.0, 6.5, 10.0, 30.0, 200.0, 1000.0])
    want = [by_scipy(one, q, low) for one in r]
    assert expected_flux(r, 1.0, q, low) == pytest.approx(want, rel=1e-9)
    # The unit does not matter.
    assert expected_flux(1e-5 * r, 1e-5, q, 1e-5 * low) == pytest.approx(1e-5 * np.array(want))


def test_bright_sources_keep_their_flux_less_the_slope():
    # At r ≫ 1 the mean of s^−(q+1) e^(−(s − r)²/2) is r − (q + 1)/r to order r^−3.
    r = np.array([100.0, 1000.0])
    assert expected_flux(r, 1.0, 1.5, 0.01) - r == pytest.approx(-2.5 / r, rel=1e-3)


def test_expected_fluxes_are_the_means_of_drawn_sources():
    rng = np.random.default_rng(4)
    true = 1.0 * rng.uniform(size=4_000_000) ** (-1 / 1.5)
    measured = true + rng.standard_normal(true.size)
    for r in (3.0, 5.0, 8.0):
        near = np.abs(measured - r) < 0.05
        error = true[near].std() / np.sqrt(near.sum())
        assert expected_flux(r, 1.0, 1.5, 1.0) == pytest.approx(
            true[near].mean(), abs=4 * error + 0.005
        )
    # Corrected fluxes have the mean of the true ones (equation 2.36).
    some = slice(0, 20000)
    mean = expected_flux(measured[some], 1.0, 1.5, 1.0).mean()
    error = np.std(measured[some] - true[some]) / np.sqrt(20000)
    assert mean == pytest.approx(true[some].mean(), abs=4 * error)


def test_rows_that_cannot_be_and_numbers_that_cannot_be():
    got = expected_flux([5.0, np.nan, 5.0, 5.0, np.inf], [1.0, 1.0, 0.0, np.nan, 1.0], 1.5, 0.1)
    assert list(np.isfinite(got)) == [True, False, False, False, False]
    assert expected_flux([], [], 1.5, 0.1).shape == (0,)
    for q, low in ((1.5, 0.0), (1.5, -1.0), (np.nan, 1.0), (1.5, np.inf)):
        with pytest.raises(SelectionError):
            expected_flux(5.0, 1.0, q, low)
    with pytest.raises(ImageError, match="one shape"):
        expected_flux([1.0, 2.0], [1.0, 2.0, 3.0], 1.5, 0.1)
    with pytest.raises(TypeError):
        expected_flux(5.0, 1.0, 1.5)


def test_the_mean_of_what_exceeds_a_threshold():
    rng = np.random.default_rng(9)
    for s in (2.0, 5.0, 9.0):
        drawn = s + 1.3 * rng.standard_normal(1_000_000)
        drawn = drawn[drawn > 5]
        error = drawn.std() / np.sqrt(drawn.size)
        assert mean_detected_flux(s, 1.3, 5.0) == pytest.approx(drawn.mean(), abs=4 * error)
    # Far above nothing is lost; at the threshold equation 2.44; far below all are just above it.
    assert mean_detected_flux([100.0], 1.0, 5.0) == pytest.approx([100.0], rel=1e-14)
    assert mean_detected_flux(5.0, 1.0, 5.0) == pytest.approx(5 + np.sqrt(2 / np.pi))
    assert mean_detected_flux(-1e6, 1.0, 5.0) == pytest.approx(5 + 1e-6, rel=1e-9)


def counts_by_scipy(sigma, level, q, low):
    """Equation 2.45 in t = ln S, the inner integral done by hand."""

    def number(t):
        return np.exp(-q * t) * norm.sf((level - np.exp(t)) / sigma)

    def light(t):
        part = sigma * norm.pdf((level - np.exp(t)) / sigma)
        return np.exp(t) * number(t) + np.exp(-q * t) * part

    ends, options = (np.log(low), np.log(1e25)), {"points": np.linspace(-3, 6, 20), "limit": 500}
    return quad(light, *ends, **options)[0] / quad(number, *ends, **options)[0]


def test_the_mean_of_many_and_of_counts():
    rng = np.random.default_rng(6)
    true = 0.5 * rng.uniform(size=2_000_000) ** (-1 / 2.5)
    measured = true + 0.8 * rng.standard_normal(true.size)
    seen = measured[measured > 3.0]
    error = seen.std() / np.sqrt(seen.size)
    many = mean_detected_flux_of_many(true, 0.8, 3.0)
    assert many == pytest.approx(seen.mean(), abs=4 * error)
    counts = mean_detected_flux_of_counts(0.8, 3.0, 2.5, 0.5)
    assert counts == pytest.approx(seen.mean(), abs=4 * error)
    faint = mean_detected_flux_of_counts(1.0, 4.0, 1.5, 1e-4)
    assert faint == pytest.approx(counts_by_scipy(1.0, 4.0, 1.5, 1e-4), rel=1e-8)
    # With no noise it is the mean of the counts above the threshold, T q/(q − 1).
    assert mean_detected_flux_of_counts(1e-4, 3.0, 2.5, 0.5) == pytest.approx(5.0, rel=1e-6)
    # All far below: the nearest to the threshold decides, without 0/0.
    assert mean_detected_flux_of_many([0.0, 1.0], 0.01, 5.0) == pytest.approx(5.0, abs=1e-3)
    assert np.isnan(mean_detected_flux_of_many([], 1.0, 5.0))
    with pytest.raises(SelectionError):
        mean_detected_flux_of_counts(1.0, 3.0, 1.0, 0.5)


def test_two_thousand_take_milliseconds():
    r = np.random.default_rng(1).uniform(3, 50, 2000)
    expected_flux(r, 1.0, 1.5, 0.01)
    start = time.process_time()
    expected_flux(r, 1.0, 1.5, 0.01)
    assert time.process_time() - start < 0.1
