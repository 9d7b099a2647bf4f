"""Errors of bins by the scatter of units, and the test of short baselines, over many sets."""

import numpy as np
import pytest

from uvstack.uv.trend import quiet_edge, trend_edge, unit_errors


def sums(rng, n_units=50, n_bins=30, rise=0.0, below=0, common=1.0, weights=0.5):
    """s and q (bin, unit) of units with fluxes of their own in all bins, noise in each, and a rise in the first bins."""
    weight = np.exp(weights * rng.standard_normal(n_units)) * np.linspace(0.3, 1, n_bins)[:, None]
    flux = 1 + common * rng.standard_normal(n_units) + rng.standard_normal((n_bins, n_units))
    flux[:below] += rise
    return flux * weight, weight


def test_false_alarms_are_five_per_cent():
    """However many edges are tried; units' own fluxes, which are five times the noise here, do not matter."""
    rng = np.random.default_rng(1)
    for n_units, common, weights in ((12, 1.0, 0.0), (60, 5.0, 0.5), (30, 1.0, 1.0)):
        alarms = [trend_edge(*sums(rng, n_units, common=common, weights=weights), rng) is not None
                  for _ in range(400)]
        assert np.mean(alarms) == pytest.approx(0.05, abs=0.033)


def test_a_weak_rise_is_found_where_no_bin_shows_it():
    """Of 1.3 errors of a bin in each of eight bins: 3.4 errors of their mean."""
    rng = np.random.default_rng(2)
    edges = [trend_edge(*sums(rng, 50, rise=1.3 / np.sqrt(50), below=8), rng) for _ in range(60)]
    found = [edge for edge in edges if edge is not None]
    assert len(found) > 30
    assert 6 <= np.median(found) <= 10
    strong = [trend_edge(*sums(rng, 50, rise=1.0, below=8), rng) for _ in range(20)]
    assert np.median(strong) == 8


def test_errors_are_those_of_means_over_units():
    rng, off = np.random.default_rng(3), []
    for _ in range(300):
        values, weights = sums(rng, 15, 4)
        off.append((values.sum(axis=1) / weights.sum(axis=1) - 1) / unit_errors(values, weights))
    # Of Student's t with 10 effective units: 1.1.
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(1.1, abs=0.1)
    assert np.isnan(unit_errors(np.ones((2, 1)), np.ones((2, 1)))).all()


def test_baselines_that_are_only_noisy_are_left_out():
    rng = np.random.default_rng(4)
    assert sum(quiet_edge(*sums(rng)) is not None for _ in range(100)) <= 2
    values, weights = sums(rng, common=0.2)
    values[:6] += 10 * weights[:6] * rng.standard_normal((6, 50))
    assert quiet_edge(values, weights) == 6


def test_a_unit_that_has_all_the_weight_of_a_side_is_no_trend():
    rng = np.random.default_rng(6)
    # The three shortest bins have the first alone, and it is bright.
    values, weights = sums(rng, 20, common=0.1)
    values[:3] = weights[:3] = 0
    weights[:3, 0], values[:3, 0] = 1.0, 50.0
    assert trend_edge(values, weights, rng) is None


def test_too_little_says_nothing():
    rng = np.random.default_rng(5)
    for n_units, n_bins in ((1, 30), (5, 30), (50, 2)):
        values, weights = sums(rng, n_units, n_bins, rise=50.0, below=1)
        assert trend_edge(values, weights, rng) is None
        assert quiet_edge(values, weights) is None
