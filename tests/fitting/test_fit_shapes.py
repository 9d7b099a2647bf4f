"""Profiles of model sources against numerical Hankel transforms of their brightness.

Bessel functions against scipy.
"""

import re

import numpy as np
import pytest
from numba import njit
from scipy import special

from uvstack.errors import FitError
from uvstack.fitting.model import shape_kernels
from uvstack.fitting.model.shapes import SHAPES, profile_of, shape

LN2 = np.log(2.0)
NODE, WEIGHT = np.polynomial.legendre.leggauss(40)
# Brightness with the half of `major` as unit of radius, as UVMultiFit's manual prints it, and where
# it ends. sphere and bubble are projected onto the sky here: a ball and a shell of r = 1 seen
# through.
BRIGHTNESS = {
    "gaussian": (lambda r: 2.0 ** -(r**2), 8.0),
    "disc": (np.ones_like, 1.0),
    "sphere": (lambda r: 2.0 * np.sqrt(1.0 - r**2), 1.0),
    "bubble": (lambda r: 2.0 / np.sqrt(1.0 - r**2), 1.0),
    "expo": (lambda r: 2.0**-r, 60.0),
    "power-2": (lambda r: 1.0 / (r**2 + 1.0), np.inf),
    "power-3": (lambda r: (1.0 + (2.0 ** (2.0 / 3.0) - 1.0) * r**2) ** -1.5, np.inf),
}
SMOOTH = [name for name in SHAPES if name not in ("delta", "power-2", "gaussian-ring")]
# f = 1 − c x² + …, c = ⟨r²⟩/4 in units of r0.
CURVATURE = {"gaussian": 0.25 / LN2, "disc": 1 / 8, "ring": 1 / 4, "sphere": 1 / 10,
             "bubble": 1 / 6, "expo": 1.5 / LN2**2}


def integral(function, edges):
    """∫ over the panels between edges, each with 40 Gauss–Legendre nodes."""
    low, half = edges[:-1, None], np.diff(edges)[:, None] / 2
    return (half * WEIGHT * function(low + half * (1.0 + NODE))).sum(axis=1)


def hankel(brightness, end, x):
    """∫ r I(r) J0(x r) dr up to end."""
    if np.isfinite(end):
        # r = end · sin t takes the root away that ends a sphere and a bubble.
        panels = np.linspace(0.0, np.pi / 2, 12 + int(x * end / 10))
        return integral(
            lambda t: brightness(end * np.sin(t)) * end**2 * np.sin(t) * np.cos(t) * special.j0(x * end * np.sin(t)), panels).sum()
    # From zero to zero of J0: a series of alternating sign, whose partial sums are averaged again
    # and again.
    zeros = special.jn_zeros(0, 60) / x
    first = np.concatenate([[0.0], np.geomspace(min(0.5, zeros[0] / 2), zeros[0], 12)])
    sums = np.concatenate([[0.0],
                           np.cumsum(integral(lambda r: r * brightness(r) * special.j0(x * r),
                                              zeros))])
    sums = integral(lambda r: r * brightness(r) * special.j0(x * r), first).sum() + sums[10:]
    while sums.size > 1:
        sums = (sums[1:] + sums[:-1]) / 2
    return sums[0]


def flux(name):
    """∫ r I dr; for power-2 within half of major, for power-3 with r = t/(1 − t)."""
    brightness, end = BRIGHTNESS[name]
    if name == "power-3":
        return integral(lambda t: t / (1 - t) ** 3 * brightness(t / (1 - t)),
                        np.linspace(0.0, 1.0, 20)).sum()
    return hankel(brightness, 1.0 if name == "power-2" else end, 0.0)


def ring_oracle(x, y):
    """Transform of exp(−(r−x)²/(2 (2y)²)) at 2πq = 1, by Gauss–Legendre panels of two radians."""
    sigma = 2 * y
    low, high = max(0.0, x - 9 * sigma), x + 9 * sigma
    edges = np.linspace(low, high, 20 + int((high - low) / 2))
    envelope = lambda r: r * np.exp(-0.5 * ((r - x) / sigma) ** 2)  # noqa: E731
    return integral(lambda r: envelope(r) * special.j0(r),
                    edges).sum() / integral(envelope, edges).sum()


def slope(function, x, step):
    """Derivative by central differences of sixth order.

    Error step⁶ f⁽⁷⁾/140 and 2e-16/step of rounding.
    """
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    return sum(w * (function(x + k * step) - function(x - k * step))
               for k, w in weights.items()) / step


@pytest.mark.parametrize("name", BRIGHTNESS)
def test_each_profile_is_the_hankel_transform_of_its_brightness(name):
    brightness, end = BRIGHTNESS[name]
    for x in (0.03, 0.7, 1.9, 2.1, 3.9, 4.5, 7.9, 8.1, 20.0, 150.0):
        if not np.isfinite(end) and x > 20:
            continue  # below 1e-60
        expected = hankel(brightness, end, x) / flux(name)
        # Quadrature and averaging are good to 1e-11 of the flux.
        assert profile_of(name, np.array([x]))[0][0] == pytest.approx(expected, abs=1e-11), x


def test_a_ring_is_the_mean_of_a_wave_around_a_circle():
    x = np.linspace(0.0, 300.0, 41)
    phi = np.arange(1024) * (np.pi / 512)  # the trapezoidal rule on a circle errs by J_1024(300)
    assert profile_of("ring", x)[0] == pytest.approx(np.cos(np.outer(x, np.cos(phi))).mean(axis=1),
                                                     abs=1e-13)


def test_a_delta_is_one():
    x = np.array([0.0, 3.0, 1e5])
    f, df_dx, _ = profile_of("delta", x)
    assert (f == 1).all()
    assert (df_dx == 0).all()


def test_major_is_the_width_at_half_maximum_where_it_says_so():
    for name, (brightness, _) in BRIGHTNESS.items():
        if SHAPES[name].major == "FWHM":
            assert brightness(np.array(1.0)) == pytest.approx(0.5 * brightness(np.array(0.0))), name


def test_power_2_is_two_pi_above_uvmultifit():
    # UVMultiFit 3.0 has 0.459224094 K0 where its manual says that the flux is that within half of
    # major.
    x = np.geomspace(1e-6, 30, 50)
    assert profile_of("power-2", x)[0] / (0.459224094
                                          * special.k0(x)) == pytest.approx(2 * np.pi, rel=1e-8)
    f, df_dx, _ = profile_of("power-2", np.array([0.0]))
    assert f[0] == np.inf
    assert df_dx[0] == -np.inf


# a = R/σ on both sides of 8 and b = 2πσq on both sides of 8.2, where methods change, and x up to
# 1e4.
@pytest.mark.parametrize("a", [0.0, 0.02, 0.5, 1.0, 2.5, 5.0, 7.99, 8.01, 15.0, 120.0, 3000.0])
def test_a_gaussian_ring_holds_at_all_baselines(a):
    b = np.array([1e-6, 1e-3, 0.05, 0.4, 1.0, 2.3, 3.3, 5.0, 7.0, 8.19, 8.21, 12.0, 60.0,
                  1e4 / max(a, 1.0)])
    b = b[(a * b <= 1e4) & (b <= 2000)]
    got = profile_of("GaussianRing", a * b, b / 2)[0]
    # Rounding of the oracle's phase at x = 1e4 is 1e-12 times an amplitude of 0.01; elsewhere both
    # are good to 2e-13.
    assert got == pytest.approx([ring_oracle(a * t, t / 2) for t in b], abs=3e-13)


@pytest.mark.parametrize("a", [0.3, 2.0, 6.0, 7.9, 8.1, 30.0, 400.0])
def test_derivatives_of_a_gaussian_ring(a):
    for b in (0.003, 0.3, 1.4, 3.0, 6.5, 8.0, 8.4, 20.0):
        x, y = a * b, b / 2
        _, df_dx, df_dy = (v[0] for v in profile_of("gaussian-ring", np.array([x]), y))
        # In units of a radian of f's fastest change, or of the argument where that is smaller.
        step_x, step_y = 0.02 * min(1.0, x, b), 0.02 * min(1.0, y, 3 / (1 + a))
        # Rounding in f of 1e-14, over the step, and twenty units of sixth order.
        assert df_dx == pytest.approx(slope(lambda t, y=y: profile_of("gaussian-ring", t, y)[0], x,
                                            step_x), abs=1e-10 + 1e-14 / step_x)
        assert df_dy == pytest.approx(slope(lambda t, x=x: profile_of("gaussian-ring", x, t)[0], y,
                                            step_y), abs=1e-9 + 1e-14 / step_y)


def test_a_gaussian_ring_between_ring_and_gaussian():
    x = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 200)])
    f, df_dx, df_dy = profile_of("gaussian-ring", x, 0.0)
    ring = profile_of("ring", x)
    assert (f == ring[0]).all()
    assert (df_dx == ring[1]).all()
    assert (df_dy == 0).all()
    assert profile_of("gaussian-ring", x, 1e-9)[0] == pytest.approx(ring[0], abs=1e-13)
    # A ring of no radius is a Gaussian of FWHM √(8 ln 2) σ.
    y = np.linspace(0.0, 10.0, 101)
    f, df_dx, df_dy = profile_of("gaussian-ring", np.zeros_like(y), y)
    gaussian = profile_of("gaussian", np.sqrt(8 * LN2) * y)
    assert f == pytest.approx(gaussian[0], abs=1e-13)
    assert df_dy == pytest.approx(np.sqrt(8 * LN2) * gaussian[1], abs=1e-12)


@pytest.mark.parametrize("name", [*SMOOTH, "power-2"])
def test_derivatives(name):
    x = np.concatenate([np.linspace(1.0, 12.0, 70), [50.3, 777.7]])
    f, df_dx, df_dextra = profile_of(name, x)
    # expo and power-2 have singular points at a distance of 0.7 and 1; then the error of sixth
    # order is 1e-11.
    assert df_dx == pytest.approx(slope(lambda t: profile_of(name, t)[0], x, 0.01), abs=1e-10)
    assert (df_dextra == 0).all()


@pytest.mark.parametrize("name", CURVATURE)
def test_small_arguments(name):
    x = np.array([1e-8, 1e-6, 1e-4])
    f, df_dx, _ = profile_of(name, x)
    assert f == pytest.approx(1 - CURVATURE[name] * x**2, abs=1e-15)
    # Relative, so that nothing cancels; the next term is below x² = 1e-8 times 6.
    assert df_dx[:2] == pytest.approx(-2 * CURVATURE[name] * x[:2], rel=2e-11)
    assert profile_of(name, np.zeros(1))[0][0] == 1
    assert profile_of(name, np.zeros(1))[1][0] == 0


def test_small_arguments_of_a_gaussian_ring():
    for a in (0.5, 4.0, 20.0):
        t = np.linspace(0.0, a + 12.0, 200)
        moment = [integral(lambda r, n=n, a=a: r**n * np.exp(-0.5 * (r - a) ** 2), t).sum()
                  for n in (1, 3)]
        c = moment[1] / moment[0] / 4  # f = 1 − ⟨r²⟩ (2πq)²/4
        b = np.array([1e-9, 1e-7, 1e-5])
        f, df_dx, df_dy = profile_of("gaussian-ring", a * b, b / 2)
        assert f == pytest.approx(1 - c * b**2, abs=1e-13)
        # Along q, where both arguments grow: df/db = a df/dx + df/dy/2.
        assert a * df_dx + df_dy / 2 == pytest.approx(-2 * c * b, rel=1e-7)
    f, df_dx, df_dy = profile_of("gaussian-ring", np.zeros(1), 0.0)
    assert (f[0], df_dx[0], df_dy[0]) == (1, 0, 0)


def test_large_arguments():
    x = np.geomspace(1e3, 1e5, 500)
    assert profile_of("disc", x)[0] == pytest.approx(2 * special.j1(x) / x, abs=1e-15)
    assert profile_of("bubble", x)[0] == pytest.approx(np.sin(x) / x, abs=1e-16)
    assert profile_of("sphere", x)[0] == pytest.approx(3 * (np.sin(x) / x - np.cos(x)) / x**2,
                                                       abs=1e-16)
    for name in SHAPES:
        for value in (1e6, 1e8, 1e200):
            for result in profile_of(name, np.array([value])):
                assert np.isfinite(result[0]), (name, value)
    assert profile_of("ring", np.array([1e8]))[0][0] == pytest.approx(special.j0(1e8), abs=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_nan_gives_nan_and_nothing_else_does(name):
    x = np.array([1.0, np.nan, 9.0, 2.5])
    clean = profile_of(name, np.array([1.0, 1.0, 9.0, 2.5]))
    for got, want in zip(profile_of(name, x)[:2], clean[:2], strict=True):
        assert np.isnan(got[1])
        assert (got[[0, 2, 3]] == want[[0, 2, 3]]).all()
    if SHAPES[name].has_extra:
        assert np.isnan(profile_of(name, np.ones(1), np.nan)[0][0])


@pytest.mark.parametrize("name", SHAPES)
def test_profiles_are_even(name):
    x = np.array([0.3, 2.0, 9.0, 40.0])
    extra = 0.7 if SHAPES[name].has_extra else 0.0
    plus, minus = profile_of(name, x, extra), profile_of(name, -x, -extra)
    assert (plus[0] == minus[0]).all()
    assert (plus[1] == -minus[1]).all()
    assert (plus[2] == -minus[2]).all()


@njit
def _loop(function, x, a, b):
    for i in range(x.size):
        a[i], b[i] = function(x[i])


def test_bessel_functions_are_those_of_scipy():
    x = np.concatenate([np.linspace(0.0, 100.0, 100_001), np.geomspace(100.0, 1e5, 100_000)])
    a, b = np.empty_like(x), np.empty_like(x)
    _loop(shape_kernels.bessel_j01, x, a, b)
    # scipy loses 1e-14 in the phase of its own asymptotic form at 1e5.
    assert np.abs(a - special.j0(x)).max() < 3e-14
    assert np.abs(b - special.j1(x)).max() < 3e-14
    x = np.geomspace(1e-8, 700.0, 100_000)
    a, b = np.empty_like(x), np.empty_like(x)
    _loop(shape_kernels.bessel_k01, x, a, b)
    assert np.abs(a / special.k0(x) - 1).max() < 5e-15
    assert np.abs(b / special.k1(x) - 1).max() < 5e-15


def test_arrays_of_any_shape_and_kind():
    x = np.linspace(0.1, 5.0, 12).reshape(3, 4)
    before = x.copy()
    f, df_dx, df_dextra = profile_of("gaussian-ring", x.T, 0.2)
    assert f.shape == df_dx.shape == df_dextra.shape == (4, 3)
    assert f[2, 1] == profile_of("gaussian-ring", x[1, 2], 0.2)[0]
    assert (x == before).all()
    assert profile_of("gaussian-ring", 1.0, np.array([0.1, 0.2]))[0].shape == (2,)
    assert all(out.shape == (0,) for out in profile_of("disc", np.zeros(0)))
    assert profile_of("disc", np.float32([1.5]))[0].dtype == np.float64


def test_names_as_users_of_uvmultifit_write_them():
    written = ["delta", "Gaussian", "disc", "ring", "sphere", "bubble", "expo", "power-2",
               "power-3", "GaussianRing"]
    assert [shape(name).code for name in written] == list(range(10))
    assert [shape(name).name for name in written] == list(SHAPES)
    assert [shape(name).n_parameters for name in written] == [3, *[6] * 8, 7]
    assert [shape(name.upper()) for name in written] == list(SHAPES.values())
    assert shape("gaussian_ring").parameters == ("ra", "dec", "flux", "major", "ratio",
                                                 "position_angle", "sigma")
    assert shape("disk") is shape("disc")
    assert shape("point") is shape("delta")
    assert not shape("delta").extended
    assert not shape("delta").has_extra


def test_what_is_wrong_is_said():
    with pytest.raises(FitError, match="'Gausian' is unknown: the nearest is gaussian; known are delta, gaussian"):
        shape("Gausian")
    with pytest.raises(FitError, match="the nearest is power-2"):
        profile_of("power2d", np.ones(1))
    with pytest.raises(FitError, match=re.escape("a shape given as 3; wanted is a name")):
        shape(3)
    with pytest.raises(FitError, match="an extra argument for a disc, which has none"):
        profile_of("disc", np.ones(2), 0.1)
    with pytest.raises(FitError, match=re.escape("x of shape (2,) and extra of shape (3,)")):
        profile_of("gaussian-ring", np.ones(2), np.ones(3))
