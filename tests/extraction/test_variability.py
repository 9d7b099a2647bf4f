"""η and V of light curves against sums written out, and η of constant sources against χ²."""

import numpy as np
import pytest
from scipy.stats import kstest

from uvstack.errors import ImageError
from uvstack.extraction.variability import measure_variability


def test_indices_are_those_of_the_definition():
    flux, error = np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.2, 0.5])
    got = measure_variability(flux, error)
    mean = np.average(flux, weights=error**-2.0)
    assert got.mean == pytest.approx([mean])
    assert got.mean_error == pytest.approx([(error**-2.0).sum() ** -0.5])
    assert got.eta == pytest.approx([(((flux - mean) / error) ** 2).sum() / 2])
    assert got.v == pytest.approx([np.std(flux, ddof=1) / flux.mean()])
    # The form that the source prints: N/(N − 1) (mean of w I² − (mean of w I)²/mean of w).
    w = error**-2.0
    printed = 1.5 * (np.mean(w * flux**2) - np.mean(w * flux) ** 2 / np.mean(w))
    assert got.eta == pytest.approx([printed])


def test_epochs_without_a_flux_or_an_error_are_left_out_and_few_are_blank():
    nan = np.nan
    flux = [[1, nan, 2, 4, 9, 8], [nan, 3, nan, nan, 5, nan], [nan] * 6, [2, 2, 2, nan, nan, nan]]
    error = [[0.1, 0.1, 0.2, 0.5, nan, 0], [1, 2, 1, 1, -1, 1], [1] * 6, [1, 1, 1, 1, 1, 1]]
    got = measure_variability(flux, error)
    want = measure_variability([1, 2, 4], [0.1, 0.2, 0.5])
    assert list(got.n_epochs) == [3, 1, 0, 3]
    assert (got.eta[0], got.v[0]) == (pytest.approx(want.eta[0]), pytest.approx(want.v[0]))
    assert np.isnan(got.eta[1:3]).all()
    assert np.isnan(got.v[1:3]).all()
    assert (got.mean[1], got.mean_error[1]) == (3.0, 2.0)
    assert np.isnan(got.mean[2])
    assert (got.eta[3], got.v[3]) == (0.0, 0.0)


def test_constant_sources_have_the_chi_squared_of_noise():
    rng = np.random.default_rng(1)
    error = rng.uniform(0.1, 3, (3000, 8))
    flux = 5 + error * rng.standard_normal(error.shape)
    eta = measure_variability(flux, error).eta
    assert kstest(7 * eta, "chi2", args=(7,)).pvalue > 0.01
    assert eta.mean() == pytest.approx(1, abs=0.04)


def test_units_far_from_one_and_a_mean_of_zero():
    flux, error = np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.2, 0.5])
    want = measure_variability(flux, error)
    for unit in (1e-180, 1e150):
        got = measure_variability(unit * flux, unit * error)
        assert got.eta == pytest.approx(want.eta)
    assert measure_variability(-flux, error).v == pytest.approx(-want.v)
    assert np.isnan(measure_variability([1.0, -1.0], [1.0, 1.0]).v[0])
    assert measure_variability(np.empty((0, 3)), np.empty((0, 3))).eta.shape == (0,)
    assert np.isnan(measure_variability(np.empty((2, 0)), np.empty((2, 0))).eta).all()
    with pytest.raises(ImageError, match="one shape"):
        measure_variability([1.0], [1.0, 2.0])
