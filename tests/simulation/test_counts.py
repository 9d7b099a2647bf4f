"""Counts: their moments, the distribution of draws, Poisson numbers.

Positions: uniform per solid angle.
"""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from simulate.counts import (
    counts,
    draw_fluxes,
    lower_limit,
    mean_flux,
    positions_within,
    source_density,
    uniform_positions,
)
from uvstack.errors import ComponentError

FIELD = np.deg2rad(0.5) ** 2
SQUARE_DEGREE = np.deg2rad(1.0) ** 2
#: Model, limits in Jy, parameters.
SHAPES = [
    ("schechter", (0.25 * 1.71e-6, 10 * 1.71e-6), {"density": 1e7}),
    ("schechter", (0.25 * 0.5e-3, 10 * 0.5e-3), {"s_star": 0.5e-3, "density": 1e7}),
    ("bondi2008", (60e-6, 1.0), {}),
    ("bethermin2012", (10e-6, 10e-3), {}),
    ("power-law", (1e-5, 1e-2), {"slope": -1.8, "amplitude": 100.0}),
]


def integral(model, low, high, parameters, power=0):
    """∫ S^power dN/dS dS by quadrature in ln S."""
    value = quad(lambda x: float(counts(model, np.exp(x), (low, high),
                                        **parameters)) * np.exp((power + 1) * x),
                 np.log(low) + 1e-12, np.log(high) - 1e-12, limit=200, epsrel=1e-9)
    return value[0]


def shape_only(model, parameters):
    """Parameters without a normalisation, for draws of a given number."""
    return {k: v for k, v in parameters.items() if k not in ("density", "amplitude")}


def test_schechter_mean_is_that_of_the_paper():
    x, alpha = 1.71e-6, -1.6
    top = quad(lambda t: t ** (alpha + 1) * np.exp(-t), 0.25, 10)[0]
    bottom = quad(lambda t: t**alpha * np.exp(-t), 0.25, 10)[0]
    assert mean_flux("schechter") == pytest.approx(x * top / bottom, rel=1e-6)
    assert mean_flux("schechter") == pytest.approx(0.988e-6, abs=0.0005e-6)


def test_bondi_coefficients_give_the_published_curve():
    """Equation 3 written out at 1 mJy, 0.1 mJy and 10 mJy."""
    a = (0.805, 0.493, 0.564, -0.129, -0.195, 0.110, -0.017)
    for log_mjy in (0.0, -1.0, 1.0):
        flux = 1e-3 * 10**log_mjy
        euclidean = 10 ** sum(c * log_mjy**i for i, c in enumerate(a))
        assert counts("bondi2008", flux) * flux**2.5 == pytest.approx(euclidean, rel=1e-12)


def test_417_bright_sources_are_those_above_71_microjansky():
    limit = lower_limit("bondi2008", 417, FIELD)
    assert limit == pytest.approx(71.4e-6, abs=0.1e-6)
    assert source_density("bondi2008", (limit, 1.0)) * FIELD == pytest.approx(417, rel=1e-4)
    assert source_density("bondi2008") * FIELD == pytest.approx(503.3, abs=0.2)
    with pytest.raises(ComponentError, match="1000 sources of bondi2008: on .* it has 829"):
        lower_limit("bondi2008", 1000, FIELD)


#: Flux density in Jy and dN/dS per sr and Jy in the authors' tabulation (band AzTEC), at points
#: that are not nodes of ours.
BETHERMIN = [(2.5119e-07, 4.537e14), (7.0795e-06, 1.2496e13), (7.9433e-05, 1.0756e12),
             (2.2387e-04, 2.7242e11), (7.9433e-04, 2.6328e10), (1.9953e-03, 2.5053e9),
             (7.9433e-03, 1.4538e7), (2.5119e-02, 1.1557e5)]


@pytest.mark.parametrize(("flux", "published"), BETHERMIN)
def test_bethermin_meets_the_tabulation_between_the_nodes(flux, published):
    # The spline is right to 0.02 % below 1 mJy and 0.4 % above; flux densities are given to 2e-5,
    # counts to 2e-5.
    assert counts("bethermin2012", flux, (1e-8, 0.05)) == pytest.approx(
        published, rel=4e-4 if flux < 1e-3 else 4.5e-3)


def test_bethermin_numbers():
    # Quadrature of the tabulation itself, by the trapezoidal rule in ln S at its 200 points (0.2
    # %).
    for low, wanted in ((1e-8, 344_370), (10e-6, 99_420), (100e-6, 37_210), (1e-3, 2_675)):
        assert source_density("bethermin2012",
                              (low, 0.05)) * SQUARE_DEGREE == pytest.approx(wanted, rel=0.005)
    assert lower_limit("bethermin2012", 282,
                       np.deg2rad(100 / 3600) ** 2) == pytest.approx(6.67e-9, rel=0.01)


@pytest.mark.parametrize(("model", "limits", "parameters"), SHAPES)
def test_density_and_mean_equal_quadrature(model, limits, parameters):
    number = integral(model, *limits, parameters)
    assert source_density(model, limits, **parameters) == pytest.approx(number, rel=1e-6)
    assert mean_flux(model, limits, **parameters) == pytest.approx(
        integral(model, *limits, parameters, 1) / number, rel=1e-6)


@pytest.mark.parametrize(("model", "limits", "parameters"), SHAPES)
def test_draws_follow_the_counts(model, limits, parameters):
    drawn = draw_fluxes(model, 20_000, flux_range=limits, rng=np.random.default_rng(11),
                        **shape_only(model, parameters))
    assert drawn.shape == (20_000,)
    assert drawn.min() >= limits[0] * (1 - 1e-12)
    assert drawn.max() <= limits[1] * (1 + 1e-12)
    # The distribution function by the trapezoidal rule on a grid of its own.
    x = np.linspace(*np.log(limits), 50_001)
    density = counts(model, np.clip(np.exp(x), *limits), limits, **parameters) * np.exp(x)
    cdf = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    assert kstest(np.log(drawn), lambda t: np.interp(t, x, cdf / cdf[-1])).pvalue > 0.01
    # Mean within 4 standard errors, the variance from the model.
    mean, square = (integral(model, *limits, parameters, p) / integral(model, *limits, parameters)
                    for p in (1, 2))
    assert abs(drawn.mean() - mean) < 4 * np.sqrt((square - mean**2) / drawn.size)


def test_a_wrong_slope_is_found_out():
    """What the test above would say of a count that is 0.1 too flat."""
    limits = (1e-5, 1e-2)
    drawn = draw_fluxes("power-law", 20_000, flux_range=limits, slope=-1.7,
                        rng=np.random.default_rng(11))
    cdf = (drawn**-0.8 - limits[0] ** -0.8) / (limits[1] ** -0.8 - limits[0] ** -0.8)
    assert kstest(cdf, "uniform").pvalue < 1e-6


def test_numbers_on_an_area_are_poisson():
    rng = np.random.default_rng(5)
    numbers = np.array([draw_fluxes("bondi2008", area=FIELD, rng=rng).size for _ in range(400)])
    expected = source_density("bondi2008") * FIELD
    assert abs(numbers.mean() - expected) < 4 * np.sqrt(expected / 400)
    assert numbers.var() == pytest.approx(expected, rel=0.3)  # 4 σ of a variance from 400: 28 %


def test_seed_decides():
    a, b, c = (draw_fluxes("schechter", 10, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).all()


def test_fixed_and_catalogue():
    rng = np.random.default_rng(1)
    assert draw_fluxes("fixed", 3, flux=1e-3, rng=rng) == pytest.approx([1e-3] * 3)
    fluxes = np.arange(1.0, 6.0)
    assert draw_fluxes("catalogue", fluxes=fluxes, rng=rng) == pytest.approx(fluxes)
    assert sorted(draw_fluxes("catalogue", 5, fluxes=fluxes, rng=rng)) == pytest.approx(fluxes)
    assert set(draw_fluxes("catalogue", 50, fluxes=fluxes, rng=rng)) <= set(fluxes)
    assert draw_fluxes("bondi2008", 0, rng=rng).size == 0


@pytest.mark.parametrize(("model", "given", "message"), [
    ("bondy2008", {"n": 1}, "'bondy2008' are unknown: the nearest are bondi2008"),
    ("bondi2008", {}, "give n, or a positive area"),
    ("bondi2008", {"n": -1}, "-1 sources"),
    ("bondi2008", {"n": 1, "alpha": 2.0}, "take no parameter 'alpha'; they take: none"),
    ("bondi2008", {"n": 1, "flux_range": (1e-3, 1e-4)}, "two positive limits"),
    ("bethermin2012", {"n": 1, "flux_range": (1e-12, 1e-4)}, "the table of bethermin2012 holds"),
    ("schechter", {"area": 1.0}, "give n, or density"),
    ("schechter", {"n": 1, "s_star": -1.0}, "s_star must be finite and positive"),
    ("power-law", {"n": 1}, "need flux_range"),
    ("power-law", {"area": 1.0, "flux_range": (1e-3, 1.0)}, "give n, or amplitude"),
    ("fixed", {"n": 1}, "the parameter flux is missing"),
    ("fixed", {"area": 1.0, "flux": 1.0}, "no density"),
    ("catalogue", {"fluxes": [1.0, np.nan]}, "must be finite and positive"),
])
def test_what_is_refused(model, given, message):
    with pytest.raises(ComponentError, match=message):
        draw_fluxes(model, rng=np.random.default_rng(0), **given)


def test_lists_have_no_counts():
    with pytest.raises(ComponentError, match="no dN/dS"):
        counts("catalogue", 1.0, (0.5, 2.0), fluxes=[1.0])
    with pytest.raises(ComponentError, match="no lower limit"):
        lower_limit("schechter", 10, 1.0)


def tangent(ra, dec, ra0, dec0):
    """Parts of the unit vector towards, east and north of a centre."""
    east = np.cos(dec) * np.sin(ra - ra0)
    north = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(ra - ra0)
    towards = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra - ra0)
    return towards, east, north


@pytest.mark.parametrize("dec0", [0.0, -0.52, 1.55, np.pi / 2])
@pytest.mark.parametrize("size", [(0.0087, 0.0087), (2.0, 1.0)])
def test_positions_fill_the_field_evenly(dec0, size):
    ra, dec = uniform_positions(5000, 6.28, dec0, *size, np.random.default_rng(3))
    assert ((ra >= 0) & (ra < 2 * np.pi)).all()
    towards, east, north = tangent(ra, dec, 6.28, dec0)
    x, y = np.arctan2(east, towards) / size[0] + 0.5, north / np.sin(size[1] / 2)
    assert kstest(x, "uniform").pvalue > 0.01
    assert kstest((y + 1) / 2, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(x, y)[0, 1]) < 4 / np.sqrt(5000)


@pytest.mark.parametrize("radius", [np.deg2rad(11.2 / 3600), 1.0])
def test_positions_within_circles(radius):
    centres = (np.array([0.0, 3.0]), np.array([-0.52, 1.2]))
    ra, dec = positions_within(centres, radius, 4000, np.random.default_rng(8))
    fraction = np.empty((2, 4000))
    for i, (ra0, dec0) in enumerate(zip(*centres, strict=True)):
        half = np.sin((dec - dec0)
                      / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
        fraction[i] = half / np.sin(radius / 2) ** 2
    nearest = fraction.min(axis=0)
    assert nearest.max() < 1 + 1e-6
    if radius < 0.1:
        # Uniform per solid angle, both circles as often, all directions alike.
        assert kstest(nearest, "uniform").pvalue > 0.01
        assert abs(np.sum(fraction[0] < fraction[1]) - 2000) < 4 * np.sqrt(1000)
        here = fraction[0] < fraction[1]
        _, east, north = tangent(ra[here], dec[here], 0.0, -0.52)
        assert kstest((np.arctan2(east, north) / (2 * np.pi)) % 1.0, "uniform").pvalue > 0.01


def test_positions_need_centres():
    with pytest.raises(ComponentError, match="wanted are two arrays"):
        positions_within(([], []), 1e-4, 3, np.random.default_rng(0))
