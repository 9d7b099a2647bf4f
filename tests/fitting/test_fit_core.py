"""Model, normal equations, solver and `fit_visibilities` against plain sums, finite differences, scipy and statistics."""

import importlib
import itertools

import numpy as np
import pytest
from scipy.optimize import least_squares

from oracles import LIGHT, fit_model, gaussian_beam, moved_axes, smeared
from uvstack.errors import FitError
from uvstack.fitting.model.data import Attenuation, checked_data
from uvstack.fitting.model.model import make_model
from uvstack.fitting.model.normal import NormalEquations, model_visibilities, normal_equations
from uvstack.fitting.model.shapes import SHAPES
from uvstack.fitting.solve.branch import Branch
from uvstack.fitting.solve.penalty import Penalty
from uvstack.fitting.solve.solver import solve
from uvstack.fitting.solve.visibilities import fit_passes, fit_visibilities
from uvstack.sky.primary_beam import Gaussian

ARCSEC = np.deg2rad(1 / 3600)
DEGREE = np.deg2rad(1)
FREQUENCY = np.array([1.4e9, 1.46e9, 1.5e9])  # unevenly spaced
NAMES = [name for name in SHAPES if name != "gaussian-ring"]
UNIT = (ARCSEC, ARCSEC, 1.0, ARCSEC, 1.0, DEGREE, ARCSEC)


def baselines(n, longest=30e3, seed=1):
    """(u, v, w) in metres, none of them short."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.05, 1.0, (n, 3)) * rng.choice([-1, 1], (n, 3)) * [longest, longest,
                                                                           longest / 2]


def text(source, flux):
    """var of a source of the oracle, its flux as given."""
    numbers = [repr(float(value / unit)) for value, unit in zip(source[1:], UNIT, strict=False)]
    return ",".join([*numbers[:2], flux, *numbers[3:]])


def source_of(name, seed=0):
    rng = np.random.default_rng(seed)
    full = (name, *rng.uniform(-60, 60, 2) * ARCSEC, rng.uniform(0.5, 2),
            rng.uniform(0.3, 1.5) * ARCSEC, rng.uniform(0.3, 0.9), rng.uniform(-180, 180) * DEGREE,
            0.1 * ARCSEC)
    return full[: 1 + SHAPES[name].n_parameters]


def modelled(uvw, frequency, sources, **others):
    """Our visibilities of sources of the oracle: the first parameter multiplies all fluxes."""
    model = make_model([s[0] for s in sources], [text(s, f"{float(s[3])!r}*p[0]") for s in sources],
                       frequency[0])
    data = checked_data(uvw, frequency, np.zeros((len(uvw), len(frequency)), complex), **others)
    return model_visibilities(data, model, np.array([1.0]))


def noise(rng, shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


# ---------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_equals_the_plain_sum(name):
    n = 5 if name == "gaussian-ring" else 40
    uvw, source = baselines(n), source_of(name, 3)
    # Both are good to 1e-12; a phase of 1e2 turns loses another 1e-13.
    assert np.abs(modelled(uvw, FREQUENCY, [source])
                  - fit_model(uvw, FREQUENCY, [source])).max() < 1e-11


@pytest.mark.parametrize("frequency", [FREQUENCY[:1], FREQUENCY[::-1], FREQUENCY[[1, 2, 0]]],
                         ids=["one", "descending", "any order"])
def test_components_of_several_shapes_add_up(frequency):
    sources = [source_of(name, seed) for seed, name in enumerate(NAMES)]
    sources[2] = ("disc", 0.0, 0.0, *sources[2][3:])  # at the centre, where the phase is left out
    wanted = fit_model(baselines(12), frequency, sources)
    assert np.abs(modelled(baselines(12), frequency, sources) - wanted).max() < 1e-10
    assert np.abs(modelled(baselines(12), frequency, sources[::-1]) - wanted).max() < 1e-10


def test_directions_and_signs_by_hand():
    """East is +l, a position angle grows from north to east, and the phase is that of the convention."""
    quarter = LIGHT / 1.4e9 / (4 * 30 * ARCSEC)
    uvw = np.array([[quarter, 0, 0], [0, quarter, 0]])
    vis = modelled(uvw, FREQUENCY[:1], [("delta", 30 * ARCSEC, 0.0, 1.0)])[:, 0]
    assert vis == pytest.approx([1j, 1], abs=1e-12)
    long = np.array([[20e3, 0, 0], [0, 20e3, 0], [14e3, 14e3, 0], [14e3, -14e3, 0]])
    east, north, between, across = modelled(long, FREQUENCY[:1],
                                            [("gaussian", 0, 0, 1.0, 2 * ARCSEC, 0.1,
                                              np.pi / 2)])[:, 0].real
    assert east < 0.1 < 0.9 < north
    east_of_north, _, between, across = modelled(long[[0, 1, 2, 3]], FREQUENCY[:1], [
        ("gaussian", 0, 0, 1.0, 2 * ARCSEC, 0.1, np.pi / 4)])[:, 0].real
    assert between < 0.1 < 0.9 < across


def test_w_turns_the_phase_of_a_far_source():
    """1.5 km of w at l = 0.01: −w l²/2 is −0.35 wavelengths."""
    vis = modelled(np.array([[0, 0, 1500.0]]), FREQUENCY[:1], [("delta", 0.01, 0.0, 1.0)])
    assert np.angle(vis[0, 0]) == pytest.approx(-2 * np.pi * 1500 * 1.4e9 / LIGHT * 5e-5 * (1 + 2.5e-5), rel=1e-6)


@pytest.mark.parametrize("name", ["gaussian", "disc"])
def test_an_extended_source_off_the_axis_is_the_sum_of_its_parts(name):
    """Parts are points on the sphere, so w is exact for each.

    At 1° the slope of w changes |V| by up to 0.01.
    """
    l0, m0, major, ratio, angle = 0.015, -0.01, 5 * ARCSEC, 0.6, 0.6
    east, north = moved_axes(l0, m0)
    x, y = np.meshgrid(*2 * [np.linspace(-2, 2, 401)])
    weight = np.exp(-4 * np.log(2)
                    * (x**2 + y**2)) if name == "gaussian" else 1.0 * (x**2 + y**2 <= 0.25)
    x, y, weight = x[weight > 0] * major, y[weight > 0] * major * ratio, weight[weight > 0]
    toward_north, toward_east = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    # From the tangent plane down to the sphere: w turns its curvature over some arcsec, 1e-10, into
    # 4e-5.
    centre = np.array([l0, m0, np.sqrt(1 - l0**2 - m0**2)])
    there = centre[:, None] + np.outer(east, toward_east) + np.outer(north, toward_north)
    there /= np.sqrt((there**2).sum(axis=0))
    uvw = baselines(40, 9e3) * [0.3, 0.3, 4.0]
    k = 2j * np.pi * 1.4e9 / LIGHT
    wanted = np.array([np.sum(weight * np.exp(k * (b @ there - b[2]))) for b in uvw]) / weight.sum()
    found = modelled(uvw, FREQUENCY[:1], [(name, l0, m0, 1.0, major, ratio, angle)])[:, 0]
    # The edge of a disc goes through pixels besides.
    assert np.abs(found - wanted).max() < (1e-4 if name == "gaussian" else 2e-3)
    flat = modelled(uvw * [1, 1, 0], FREQUENCY[:1],
                    [(name, l0, m0, 1.0, major, ratio, angle)])[:, 0]
    assert np.abs(np.abs(flat) - np.abs(wanted)).max() > 0.005


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 600])
def test_segments_of_rows_join(n):
    """Sums over rows do not depend on how many go through at once."""
    sources = [source_of("gaussian"), source_of("disc", 1)]
    uvw = baselines(600)[:n]
    model = make_model(["gaussian", "disc"], [text(s, "p[0]") for s in sources], 1.4e9)
    data = checked_data(baselines(600), FREQUENCY, np.ones((600, 3), complex)).rows(slice(n))
    found = model_visibilities(data, model, np.array([1.0]))
    assert found.shape == (n, 3)
    ours = fit_model(uvw[:9], FREQUENCY, [(*s[:3], 1.0, *s[4:]) for s in sources])
    assert np.abs(found[:9] - ours).max(initial=0.0) < 1e-11
    sums = normal_equations(data, model, np.array([1.0]))
    assert sums.n == 3 * n
    assert sums.chi_squared == pytest.approx(np.sum(np.abs(1 - found) ** 2), rel=1e-12)
    assert sums.gradient[0] == pytest.approx(np.sum((found.conj() * (1 - found)).real), rel=1e-10,
                                             abs=1e-12)
    assert sums.hessian[0, 0] == pytest.approx(np.sum(np.abs(found) ** 2), rel=1e-12)


def test_precisions_byte_orders_and_real_numbers_are_taken():
    uvw = baselines(50).astype(np.float32)
    vis = (2.0 * fit_model(uvw.astype(float), FREQUENCY, [("delta", 0.0, 0.0, 1.0)]))
    for given in (vis, vis.astype(np.complex64), vis.astype(">c8"), vis.real, vis.real.astype(int)):
        fit = fit_visibilities(uvw, FREQUENCY, given, model="delta", var="0,0,p[0]", p_ini=[1])
        assert fit.parameters[0] == pytest.approx(2.0, rel=1e-6)
        assert fit.errors[0] == pytest.approx(1 / np.sqrt(2 * 150 / 2), rel=1e-6)  # Re and Im of 150, flux in Re alone


def test_what_is_not_finite_or_has_no_weight_does_not_count():
    rng = np.random.default_rng(5)
    uvw, source = baselines(300), ("gaussian", 0.0, 0.0, 1.0, 1.0 * ARCSEC)
    vis = fit_model(uvw, FREQUENCY, [source]) + 0.1 * noise(rng, (300, 3))
    weight = np.full((300, 3), 100.0)
    chosen = {"model": "gaussian", "var": "0,0,p[0],p[1],1,0", "p_ini": [0.5, 2]}
    keep = np.ones(300, bool)
    keep[[3, 70, 200, 299]] = False
    wanted = fit_visibilities(uvw[keep], FREQUENCY, vis[keep], weight[keep], **chosen)
    vis[3], vis[70, :], weight[200], uvw[299] = np.nan, np.inf, 0.0, np.nan
    vis[200] = 1e6
    before = [x.copy() for x in (uvw, vis, weight)]
    found = fit_visibilities(uvw, FREQUENCY, vis, weight, **chosen)
    assert found.parameters == pytest.approx(wanted.parameters, rel=1e-9)
    assert found.n_visibilities == wanted.n_visibilities == 3 * 296
    for x, y in zip((uvw, vis, weight), before, strict=True):
        assert np.array_equal(x, y, equal_nan=True)


def test_a_zero_baseline_without_weight_does_no_harm_to_power_2():
    """Its transform is infinite there."""
    uvw = baselines(20)
    uvw[4] = 0.0
    source = ("power-2", 0.0, 0.0, 1.0, 1.0 * ARCSEC)
    with np.errstate(all="ignore"):
        vis = np.nan_to_num(fit_model(uvw, FREQUENCY, [source]), posinf=0.0)
    weight = np.full((20, 3), 1e9)
    chosen = {"model": "power-2", "var": "0,0,p[0],p[1],1,0", "p_ini": [0.5, 1.5]}
    weight[4] = 0.0
    assert fit_visibilities(uvw, FREQUENCY, vis, weight,
                            **chosen).parameters == pytest.approx([1, 1], rel=1e-6)
    weight[4, 1] = 1.0
    with pytest.raises(FitError, match=r"not finite at \(u, v, w\) = \(0, 0, 0\) m, 1.46 GHz"):
        fit_visibilities(uvw, FREQUENCY, vis, weight, **chosen)


@pytest.mark.parametrize("kind", ["channel", "integration", "both"])
def test_smearing_is_the_average_over_channel_and_integration(kind):
    """Losses of up to 10 %.

    For a point source sinc is the exact average; for both, the order of averaging is left out.
    """
    uvw = baselines(12, 5e3)
    rng = np.random.default_rng(2)
    width = np.array([4e6, 2e6, 8e6]) if kind != "integration" else None
    change = rng.normal(size=(12, 3)) * 20.0 if kind != "channel" else None
    source = ("delta", 400 * ARCSEC, -250 * ARCSEC, 1.0)
    others = {name: value for name, value in (("width", width), ("uvw_change", change))
              if value is not None}
    found = modelled(uvw, FREQUENCY, [source], **others)
    wanted = smeared(uvw, FREQUENCY, [source], width, change)
    # Together, the product leaves out that the uv track is longer at one end of the channel than at
    # the other.
    assert np.abs(found - wanted).max() < (1e-9 if kind != "both" else 2e-3)
    assert np.abs(wanted - fit_model(uvw, FREQUENCY, [source])).max() > 0.01


def test_the_primary_beam_multiplies_the_flux():
    beam = gaussian_beam(30 / 60 * DEGREE, 1.4e9)
    l, m = 500 * ARCSEC, -300 * ARCSEC
    source = ("gaussian", l, m, lambda nu: beam(l, m, nu), 1 * ARCSEC)
    plain = ("gaussian", l, m, 1.0, 1 * ARCSEC, 1.0, 0.0)
    found = modelled(baselines(10), FREQUENCY, [plain], attenuation=attenuation())
    assert np.abs(found - fit_model(baselines(10), FREQUENCY, [source])).max() < 1e-9


def attenuation():
    return Attenuation(Gaussian(30 / 60 * DEGREE, 1.4e9), np.eye(3))


# ---------------------------------------------------------------------------------------- gradients


def slope(function, x, step):
    """Derivative by central differences of sixth order."""
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    return sum(w * (function(x + k * step) - function(x - k * step))
               for k, w in weights.items()) / step


def check_slopes(data, model, p, step=1e-3):
    """g = −½ dχ²/dp, and with the model as data H = −dg/dp.

    Step is in units of p (of 1 where p is small).
    """
    p = np.asarray(p, float)
    here = normal_equations(data, model, p)
    scale = np.sqrt(np.diag(here.hessian))
    assert (scale > 0).all()
    exact = checked_data(data.uvw, data.frequency, model_visibilities(data, model, p), data.weight,
                         **{name: getattr(data, name)
                            for name in ("fixed", "time", "antenna1", "antenna2", "width",
                                         "uvw_change", "attenuation")
                            if getattr(data, name) is not None})
    at_truth = normal_equations(exact, model, p)
    assert at_truth.chi_squared < 1e-20 * here.chi_squared
    for i in range(p.size):
        at = lambda x, i=i: np.where(np.arange(p.size) == i, x, p)  # noqa: E731
        h = step * (abs(p[i]) if abs(p[i]) > 0.1 else 1.0)
        by_difference = -0.5 * slope(lambda x: normal_equations(data, model, at(x)).chi_squared, p[i], h)  # noqa: B023
        # Slopes by positions leave out 1e-5 of themselves, the slope of w across the source;
        # rounding is 1e-16 χ²/h.
        assert abs(by_difference
                   - here.gradient[i]) < 5e-6 * scale[i] * np.sqrt(here.chi_squared), model.names[i]
        assert abs(here.gradient[i]) > 1e-4 * scale[i] * np.sqrt(here.chi_squared), f"{model.names[i]}: nothing to compare"
        hessian = -slope(lambda x: normal_equations(exact, model, at(x)).gradient, p[i], h)  # noqa: B023
        assert (np.abs(hessian - at_truth.hessian[i]) < 1e-5 * scale[i]
                * scale).all(), model.names[i]


def random_data(n=60, seed=7, frequency=FREQUENCY, longest=15e3, **others):
    rng = np.random.default_rng(seed)
    return checked_data(baselines(n, longest), frequency, 1.0 + noise(rng, (n, frequency.size)),
                        rng.uniform(0.5, 2, (n, frequency.size)), **others)


@pytest.mark.parametrize("name", SHAPES)
def test_gradient_and_hessian_by_every_number(name):
    count = SHAPES[name].n_parameters
    # Offsets of 3″ with 0.07 rad·turns a step; the ring is thick enough for its width to matter.
    p = [3.0, -2.0, 1.3, 1.2, 0.6, 35.0, 0.3][:count]
    model = make_model(name, ",".join(f"p[{i}]" for i in range(count)), 1.4e9)
    check_slopes(random_data(), model, p)


def test_gradient_of_expressions_in_frequency():
    """A spectral index, a size that grows with it, a line, and a parameter that stands in two components."""
    model = make_model(["gaussian", "disc"],
                       ["p[0],p[1],p[2]*(nu/nu0)**p[3],p[4]*(1+p[5]*(nu-nu0)/1e8),0.7,20",
                        "p[0],2-p[1],GaussLine(1.45e9+1e7*p[6],p[7],8e7),p[4]*p[7],0.8,p[6]"],
                       1.4e9)
    check_slopes(random_data(), model, [0.4, 1.2, 1.5, -0.7, 1.0, 0.3, 1.0, 0.8])


def test_gradient_of_expressions_in_time_and_of_the_scale_of_fixed_visibilities():
    rng = np.random.default_rng(3)
    time = rng.permutation(np.repeat(np.arange(6) * 100.0, 10))  # rows of one time do not stand together
    data = random_data(time=time, fixed=noise(rng, (60, 3)))
    model = make_model("gaussian", "p[0]+0.002*t*p[1],0,p[2]*(1+p[3]*sin(t/200)),1,0.8,30", 1.4e9,
                       scale="p[4]*(nu/nu0)**p[5]+0.001*t")
    p = np.array([0.5, 0.3, 1.4, 0.4, 0.7, -0.5])
    check_slopes(data, model, p)
    # The model is that of each row's own time.
    wanted = np.zeros((60, 3), complex)
    for row in range(60):
        t = time[row]
        source = ("gaussian", (0.5 + 0.0006 * t) * ARCSEC, 0.0, 1.4 * (1 + 0.4 * np.sin(t / 200)),
                  ARCSEC, 0.8, 30 * DEGREE)
        wanted[row] = fit_model(data.uvw[row : row + 1], FREQUENCY, [source])[0]
        wanted[row] += (0.7 * (FREQUENCY / 1.4e9) ** -0.5 + 0.001 * t) * data.fixed[row]
    assert np.abs(model_visibilities(data, model, p) - wanted).max() < 1e-11


def test_blocks_of_times_add_up(monkeypatch):
    rng = np.random.default_rng(3)
    data = random_data(time=rng.permutation(np.repeat(np.arange(30) * 10.0, 2)))
    model = make_model("gaussian", "p[0]*t/100,0,p[1],1,0.8,30", 1.4e9)
    p = np.array([0.5, 0.3])
    whole, vis = normal_equations(data, model, p), model_visibilities(data, model, p)
    monkeypatch.setattr(importlib.import_module("uvstack.fitting.model.normal"), "_MOST_NUMBERS", 7 * 2 * 3 * 4)  # four times a block
    parts = normal_equations(data, model, p)
    assert parts.chi_squared == pytest.approx(whole.chi_squared, rel=1e-13)
    assert np.allclose(parts.gradient, whole.gradient, rtol=1e-12)
    assert np.allclose(parts.hessian, whole.hessian, rtol=1e-12)
    assert parts.n == whole.n == 180
    assert np.array_equal(model_visibilities(data, model, p), vis)


def test_gradient_with_smearing_and_primary_beam():
    rng = np.random.default_rng(4)
    data = random_data(longest=1e3, width=np.array([2e7, 3e7, 4e7]),
                       uvw_change=10 * rng.normal(size=(60, 3)), attenuation=attenuation())
    model = make_model(["gaussian", "delta"],
                       ["500+20*p[0],-300+20*p[1],p[2],20*p[3],p[4],p[5]",
                        "100*p[6],200*p[7],p[8]"], 1.4e9)
    # The slopes of the beam are differences over 0.2″: error 1e-7 of themselves.
    check_slopes(data, model, [1.0, 0.5, 1.5, 1.2, 0.7, 20.0, 0.5, 1.0, 0.7])


def test_multiplied_parameters_share_the_hessian():
    """H of p[0]·p[1] as a flux is the outer product of its slopes: of rank one."""
    model = make_model("delta", "0,0,p[0]*p[1]", 1.4e9)
    sums = normal_equations(random_data(), model, np.array([2.0, 3.0]))
    weights = random_data().weight.sum()
    assert np.allclose(sums.hessian, weights * np.outer([3, 2], [3, 2]), rtol=1e-6)


# ------------------------------------------------------------------------------------------- solver


def sky_of_two(uvw, p):
    """An elliptical Gaussian off the centre and a delta, in numpy, one channel of wavelengths."""
    u, v, w = uvw
    ra, dec, flux, major, ratio, angle, ra_2, flux_2 = p
    sin, cos = np.sin(angle * DEGREE), np.cos(angle * DEGREE)
    squared = (u * sin + v * cos) ** 2 + (ratio * (u * cos - v * sin)) ** 2
    l, m = ra * ARCSEC, dec * ARCSEC
    turn = lambda l, m: np.exp(2j * np.pi * (u * l + v * m + w * (np.sqrt(1 - l * l - m * m) - 1)))  # noqa: E731
    return flux * np.exp(-((np.pi * major * ARCSEC) ** 2) * squared
                         / (4 * np.log(2))) * turn(l, m) + flux_2 * turn(ra_2 * ARCSEC, 0.0)


TWO = {"model": ["gaussian", "delta"], "var": ["p[0],p[1],p[2],p[3],p[4],p[5]", "p[6],0,p[7]"]}
TRUTH_OF_TWO = np.array([0.3, -0.2, 1.0, 1.0, 0.6, 40.0, 5.0, 0.5])


@pytest.fixture(scope="module")
def large():
    """10⁵ visibilities, noise 3 a part: SNR 100; and their optimum by scipy."""
    rng = np.random.default_rng(11)
    uvw = baselines(100_000)
    wavelengths = uvw.T * 1.4e9 / LIGHT
    vis = sky_of_two(wavelengths, TRUTH_OF_TWO) + 3 * noise(rng, 100_000)
    weight = np.full(vis.shape, 1 / 9, np.float32)

    def residual(p):
        r = (sky_of_two(wavelengths, p) - vis) / 3
        return np.concatenate([r.real, r.imag])

    optimum = least_squares(residual, TRUTH_OF_TWO, x_scale="jac", ftol=1e-14, xtol=1e-14,
                            gtol=1e-14, method="lm").x
    return uvw, vis[:, None], weight[:, None], optimum


def as_found(p, found):
    """The same ellipse with its axes named as in what was found.

    a ratio above 1 makes major the shorter, 90° on.
    """
    p = p.copy()
    if found[4] > 1:
        p[3:6] = p[3] * p[4], 1 / p[4], p[5] + 90
    p[5] += 180 * np.round((found[5] - p[5]) / 180)
    return p


@pytest.mark.parametrize("p_ini",
                         [TRUTH_OF_TWO, [0.1, 0.1, 0.3, 2.0, 0.9, 0.0, 4.9, 0.1],
                          [0.5, 0.2, 3.0, 0.4, 0.4, 80.0, 5.1, 2.0]],
                         ids=["truth", "weak", "strong"])
def test_the_optimum_is_that_of_scipy_from_bad_starts(large, p_ini):
    uvw, vis, weight, optimum = large
    fit = fit_visibilities(uvw, [1.4e9], vis, weight, p_ini=p_ini, **TWO)
    assert fit.converged
    wanted, truth = (as_found(p, fit.parameters) for p in (optimum, TRUTH_OF_TWO))
    # What is promised: the next step is below 1e-3 of an error.
    assert np.abs((fit.parameters - wanted) / fit.errors).max() < 1e-3
    assert np.abs((fit.parameters - truth) / fit.errors).max() < 4
    assert fit.reduced_chi_squared == pytest.approx(1, abs=5 / np.sqrt(100_000))


def test_chi_squared_itself_decides_nothing(large):
    """A χ² of 10⁹ beneath, as of 10⁹ visibilities, does not stop it short (rounding: 1e-3 of an error)."""
    uvw, vis, weight, optimum = large
    model, data = make_model(TWO["model"], TWO["var"],
                             1.4e9), checked_data(uvw, [1.4e9], vis, weight)

    def passes(p):
        found = normal_equations(data, model, p)
        return NormalEquations(found.chi_squared + 1e9, found.gradient, found.hessian, found.n)

    found = solve(passes, [0.2, -0.1, 0.7, 1.3, 0.5, 20.0, 5.1, 0.8])
    assert found.converged
    assert np.abs((found.p - optimum) * np.sqrt(np.diag(found.normal.hessian))).max() < 1e-3


def test_the_sample_of_large_data_leads_to_the_same_optimum(large):
    uvw, vis, weight, optimum = large
    # Four times the same rows are 4·10⁵ visibilities, and the sample is a quarter of them.
    start = [0.1, 0.1, 0.3, 2.0, 0.9, 0.0, 4.9, 0.1]
    fit = fit_visibilities(*(np.vstack(4 * [x]) if len(x) > 1 else x
                             for x in (uvw, [1.4e9], vis, weight)), p_ini=start, **TWO)
    assert fit.converged
    assert fit.n_passes <= 4  # passes over all of them
    assert np.abs((fit.parameters - as_found(optimum, fit.parameters)) / fit.errors).max() < 1e-3


def test_a_sample_of_noise_does_not_lead_astray():
    """A faint source, whose sample is nothing but noise.

    The fit of the sample runs away, that of all data must not follow.
    """
    rng = np.random.default_rng(2)
    n, wavelengths = 20_000, baselines(20_000).T * 1.4e9 / LIGHT
    sigma = np.sqrt(n) / 15
    model = make_model("gaussian", "p[0],p[1],p[2],p[3],1,0", 1.4e9)
    strayed = 0
    for _ in range(8):
        vis = sky_of_two(wavelengths,
                         [0, 0, 1, 1, 1, 0, 0, 0])[:, None] + sigma * noise(rng, (n, 1))
        data = checked_data(baselines(n), [1.4e9], vis, np.full((n, 1), sigma**-2))
        sample = data.rows(slice(0, None, 400))
        passes = lambda p, data=data: normal_equations(data, model, p)  # noqa: E731
        start, bounds = [0.2, 0.2, 0.5, 1.5], [None, None, [0, None], [0, 5]]
        full = fit_passes(passes, model, start, bounds)
        found = fit_passes(passes, model, start, bounds, first=lambda p,
                           sample=sample: normal_equations(sample, model, p))
        assert found.chi_squared < full.chi_squared + 1e-4
        strayed += np.hypot(*solve(lambda p, s=sample: normal_equations(s, model, p),
                                   start).p[:2]) > 3
    assert strayed >= 3  # the danger was there


def test_a_sample_at_regular_steps_of_one_baseline_is_not_drawn():
    """Rows in the order of a measurement set: all baselines of a time, then the next.

    40 of 40 must be in the sample.
    """
    tracks = np.tile(baselines(40), (10_500, 1)) * np.linspace(1, 1.001, 10_500).repeat(40)[:, None]
    vis = np.ones((tracks.shape[0], 1), np.complex64) + 0.1
    fit = fit_visibilities(tracks, [1.4e9], vis, model="delta", var="p[0],p[1],p[2]",
                           p_ini=[0.01, 0.01, 0.5])
    assert fit.n_passes <= 3
    assert fit.parameters == pytest.approx([0, 0, 1.1], abs=1e-6)


def test_bounds_hold_also_at_the_solution():
    rng = np.random.default_rng(6)
    uvw = baselines(2000)
    vis = fit_model(uvw[:, :], FREQUENCY[:1],
                    [("gaussian", 0.2 * ARCSEC, 0, 1.0, ARCSEC, 0.7,
                      0.5)]) + 0.3 * noise(rng, (2000, 1))
    weight = np.full((2000, 1), 1 / 0.09)
    chosen = {"model": "gaussian", "var": "p[0],p[1],p[2],p[3],p[4],p[5]",
              "p_ini": [0.1, 0.1, 0.5, 0.8, 0.8, 20]}
    free = fit_visibilities(uvw, FREQUENCY[:1], vis, weight, **chosen)
    wide = fit_visibilities(uvw, FREQUENCY[:1], vis, weight,
                            bounds=[[-9, 9], None, [0, None], [0, 5], [0.1, 1], [-90, 90]],
                            **chosen)
    assert (np.abs(wide.parameters - free.parameters) < 2e-3 * free.errors).all()
    assert wide.errors == pytest.approx(free.errors, rel=1e-3)
    tight = fit_visibilities(uvw, FREQUENCY[:1], vis, weight,
                             bounds=[[-1, 0.15], None, None, [0, 0.9], [0.1, 1], None], **chosen)
    held = fit_visibilities(uvw, FREQUENCY[:1], vis, weight, model="gaussian",
                            var="0.15,p[0],p[1],0.9,p[2],p[3]", p_ini=[0.1, 0.5, 0.8, 20])
    assert tight.converged
    assert tight.parameters[[0, 3]].tolist() == [0.15, 0.9]
    assert tight.errors[[0, 3]].tolist() == [0, 0]
    assert np.abs((tight.parameters[[1, 2, 4, 5]] - held.parameters) / held.errors).max() < 2e-3
    assert tight.errors[[1, 2, 4, 5]] == pytest.approx(held.errors, rel=1e-3)
    equal = fit_visibilities(uvw, FREQUENCY[:1], vis, weight,
                             bounds=[[0.1, 0.1], None, None, None, None, None], **chosen)
    assert equal.parameters[0] == 0.1
    assert equal.errors[0] == 0


def test_bounded_linear_problems_end_on_the_right_bounds():
    """Against all 3⁴ choices of bounds.

    Solutions on a bound are the bound itself, to the last bit.
    """
    rng = np.random.default_rng(4)
    n_on_bounds = 0
    for _ in range(30):
        design, data = rng.normal(size=(9, 4)) * [1, 1e-6, 1e5, 1], rng.normal(size=9) * 3
        design[:, 3] = design[:, 0] + 0.1 * design[:, 3]
        size = 1 / np.sqrt((design**2).sum(axis=0))
        bounds = np.stack([-rng.uniform(0.01, 1, 4) * size, rng.uniform(0.01, 1, 4) * size])
        best = None
        for choice in itertools.product((None, 0, 1), repeat=4):
            p = np.array([0.0 if c is None else bounds[c, i] for i, c in enumerate(choice)])
            free = [i for i, c in enumerate(choice) if c is None]
            p[free] = np.linalg.lstsq(design[:, free], data - design @ p,
                                      rcond=None)[0] if free else []
            inside = ((p >= bounds[0]) & (p <= bounds[1])).all()
            if inside and (best is None
                           or np.sum((data - design @ p) ** 2)
                           < np.sum((data - design @ best) ** 2)):
                best = p
        passes = lambda p, d=design, y=data: NormalEquations(float(np.sum((y - d @ p) ** 2)), d.T @ (y - d @ p), d.T @ d, 9)  # noqa: E731
        found = solve(passes, 0.3 * bounds[0] + 0.1 * bounds[1], bounds, tolerance=1e-7)
        assert found.converged
        assert np.abs((found.p - best) / size).max() < 1e-6
        on_bound = (best == bounds).any(axis=0)
        assert np.array_equal(found.p[on_bound], best[on_bound])
        n_on_bounds += on_bound.sum()
    assert 30 < n_on_bounds < 110


def test_every_trial_keeps_to_the_bounds():
    """A solver that looks outside would meet the logarithm of a negative number."""
    seen = []

    def passes(p):
        seen.append(p.copy())
        r, slope = np.log(p) - np.log([1e-3, 3.0]), 1 / p
        return NormalEquations(float(r @ r) * 1e4, -r * slope * 1e4, np.diag(slope**2) * 1e4, 2)

    found = solve(passes, [1.0, 1.0], np.array([[1e-6, 0.5], [2.0, 2.5]]), tolerance=1e-8)
    assert found.p == pytest.approx([1e-3, 2.5], rel=1e-6)
    assert (np.array(seen) >= [1e-6, 0.5]).all()
    assert (np.array(seen) <= [2.0, 2.5]).all()


def test_damping_is_not_taken_for_convergence():
    """Far off the Gauss–Newton step overshoots (arctan), so steps are damped.

    Small steps are not the end.
    """

    def passes(p):
        r, slope = np.arctan(p), 1 / (1 + p**2)
        return NormalEquations(float(r @ r), -r * slope, np.diag(slope**2), 1)

    found = solve(passes, [30.0], tolerance=1e-6)
    assert found.converged
    assert abs(found.p[0]) < 1e-5


@pytest.mark.parametrize(("var", "more", "wanted"), [
    (["p[0],0,p[1]", "0,1,p[2]-p[1]"], {}, [0, 1, 1]),
    (["0,0,p[0]*nu", "0,1,p [1]"], {}, [1, 1]),
    (["0,0,p[0]*p[1]", "0,1,p[2]"], {}, [0, 0, 1]),
    (["p[0],0,p[0]", "0,1,p[1]"], {}, [0, 1]),
    (["0,0,p[0]*p[1]", "p[1],1,1"], {}, [1, 0]),
    (["0,0,sqrt(p[0])", "0,1,p[1]"], {"scale": "p[2]*(nu/nu0)**p[3]"}, [0, 1, 0, 0]),
    (["0,0,p[0]", "0,1,p[1]"], {"scale": "p[2]"}, [1, 1, 1]),
    (["0,0,p[0]", "0,1,p[1]"], {"amplitude_gains": {1: "p[1]"}}, [1, 0]),
    (["0,0,p[0]", "0,1,p[1]"], {"phase_gains": {1: "p[2]"}}, [1, 1, 0]),
    (["0,0,p[0]", "0,1,p[1]"], {"phase_gains": {1: "0.3"}}, [1, 1]),
])
def test_in_which_parameters_a_model_is_linear(var, more, wanted):
    model = make_model(["delta", "delta"], var, 1.4e9, **more)
    assert model.fluxes.tolist() == [bool(x) for x in wanted]
    assert model.is_linear == all(wanted)


def test_a_flux_that_starts_far_too_low_does_not_throw_the_position():
    """Slopes by the position are 100 times too small there.

    With the flux first it takes 6 passes, without 17.
    """
    vis = fit_model(baselines(400), FREQUENCY[:1],
                    [("delta", 0.0, 0.0, 1.0)]) + 0.3 * noise(np.random.default_rng(3), (400, 1))
    fit = fit_visibilities(baselines(400), FREQUENCY[:1], vis, np.full((400, 1), 1 / 0.09),
                           model="delta", var="p[0],p[1],p[2]", p_ini=[0.2, -0.2, 0.01])
    assert fit.n_passes <= 8
    assert np.abs((fit.parameters - [0, 0, 1]) / fit.errors).max() < 3.5


def test_linear_models_are_solved_in_one_step():
    rng = np.random.default_rng(9)
    uvw, fixed = baselines(500), noise(rng, (500, 3))
    vis, weight = noise(rng, (500, 3)), rng.uniform(0.1, 3, (500, 3)).astype(np.float32)
    fit = fit_visibilities(uvw, FREQUENCY, vis, weight, model=["delta", "disc"],
                           var=["1,2,p[0]", "-3,0.5,2*p[1]-p[0],0.8,1,0"],
                           p_ini=[100.0, -50.0, 7.0], fixed=fixed, scalefix="p[2]")
    a = fit_model(uvw, FREQUENCY, [("delta", ARCSEC, 2 * ARCSEC, 1.0)]).ravel()
    b = fit_model(uvw, FREQUENCY, [("disc", -3 * ARCSEC, 0.5 * ARCSEC, 1.0, 0.8 * ARCSEC)]).ravel()
    design = np.stack([a - b, 2 * b, fixed.ravel()], axis=1)
    w = weight.ravel().astype(float)
    normal = (design.conj().T * w @ design).real
    wanted = np.linalg.solve(normal, (design.conj().T * w @ vis.ravel()).real)
    assert fit.n_passes == 2
    assert fit.parameters == pytest.approx(wanted, rel=1e-11)
    assert fit.covariance == pytest.approx(np.linalg.inv(normal), rel=1e-10)


def test_pulls_have_width_one():
    """400 fits at SNR 45: real and imaginary part are two measurements.

    Width of the pulls 1 ± 0.1 (its own error 0.035).
    """
    rng = np.random.default_rng(1)
    uvw, truth = baselines(250), np.array([0.3, -0.2, 1.0, 1.2])
    model = make_model("gaussian", "p[0],p[1],p[2],p[3],1,0", 1.4e9)
    sigma = 0.5 * rng.uniform(0.5, 1.5, (250, 3))
    vis = fit_model(uvw, FREQUENCY, [("gaussian", 0.3 * ARCSEC, -0.2 * ARCSEC, 1.0, 1.2 * ARCSEC)])
    pulls, chi = [], []
    for _ in range(400):
        data = checked_data(uvw, FREQUENCY, vis + sigma * noise(rng, vis.shape), sigma**-2)
        fit = fit_passes(lambda p, data=data: normal_equations(data, model, p), model, truth * 1.1)
        pulls.append((fit.parameters - truth) / fit.errors)
        chi.append(fit.reduced_chi_squared)
    assert np.std(pulls, axis=0) == pytest.approx(np.ones(4), abs=0.1)
    assert np.mean(pulls, axis=0) == pytest.approx(np.zeros(4), abs=0.2)
    assert np.mean(chi) == pytest.approx(1, abs=5 * np.sqrt(2 / (2 * 750 * 400)))
    assert fit.correlation == pytest.approx(np.corrcoef(np.array(pulls).T), abs=0.2)


def test_errors_scaled_by_chi_squared():
    """Weights that are wrong by a factor give the same parameters, and the same errors once these are scaled."""
    rng = np.random.default_rng(1)
    uvw = baselines(400)
    vis = fit_model(uvw, FREQUENCY[:1],
                    [("gaussian", 0, 0, 1.0, ARCSEC)]) + 0.2 * noise(rng, (400, 1))
    chosen = {"model": "gaussian", "var": "0,0,p[0],p[1],1,0", "p_ini": [0.5, 2]}
    right = fit_visibilities(uvw, FREQUENCY[:1], vis, np.full((400, 1), 25.0), **chosen)
    wrong = fit_visibilities(uvw, FREQUENCY[:1], vis, np.full((400, 1), 0.01), scale_errors=True,
                             tolerance=1e-6, **chosen)
    assert wrong.errors == pytest.approx(right.errors * np.sqrt(right.reduced_chi_squared),
                                         rel=1e-4)
    assert wrong.errors_scaled
    assert wrong.reduced_chi_squared == pytest.approx(0.01 * 0.04, rel=0.2)


def test_a_penalty_does_not_exist_where_nothing_is_known_of_a_size():
    """Beyond a size of 2 the data know nothing: from its edge, where χ² still exists, there is no step."""
    def passes(p):
        known = float(p[1] < 2.0)
        return NormalEquations(4.0, known * np.ones(2), known * np.diag([1.0, 4.0 * p[1] ** 2]), 100)

    branch = Branch(np.zeros(2, bool), np.array([False, True]))
    objective = Penalty(passes, np.ones(2), (1,), (0,), branch, 1.0, np.zeros(1)).of(passes)
    for size in (1.99, 2.5):
        with pytest.raises(FitError, match="nothing of a source of such a size"):
            objective(np.array([1.0, size]))
    # ln √F is ln 2s, of slope 1/s.
    assert objective(np.array([1.0, 1.9])).gradient[1] == pytest.approx(1 + 1 / 1.9, rel=1e-3)
