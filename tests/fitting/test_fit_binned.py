"""Fits to bins of uv distance against fits to the visibilities, and limits of sizes near zero."""

import numpy as np
import pytest

from uvstack.errors import FitError
from uvstack.fitting.model.data import FitData, checked_data
from uvstack.fitting.model.model import make_model
from uvstack.fitting.model.normal import model_visibilities, normal_equations
from uvstack.fitting.solve import binned
from uvstack.fitting.solve.binned import binning_error, bins_of, is_binnable
from uvstack.fitting.solve.intervals import critical_rise
from uvstack.fitting.solve.profile import profile_likelihood
from uvstack.fitting.solve.solver import covariance_of, solve
from uvstack.fitting.solve.start import polynomial_fit, starting_values
from uvstack.fitting.solve.visibilities import fit_visibilities

LIGHT = 299_792_458.0
ARCSEC = np.pi / 180 / 3600
ROUND = "0,0,p[0],p[1],1,0"
FREQUENCY = 1.4e9 + 2e6 * np.arange(8)


def data_of(name="gaussian", var=ROUND, p=(1.0, 1.0), snr=50.0, n=1500, seed=1, scale=10e3):
    """Visibilities of a model with noise; snr is that of the flux of a point."""
    rng = np.random.default_rng(seed)
    uvw = rng.normal(0, scale, (n, 3))
    sigma = np.sqrt(n * FREQUENCY.size) / snr
    empty = checked_data(uvw, FREQUENCY, np.zeros((n, 8), complex), np.full((n, 8), sigma**-2))
    model = make_model(name, var, FREQUENCY[0])
    noise = rng.normal(size=(n, 8)) + 1j * rng.normal(size=(n, 8))
    # Weights that differ, as those of antennas do.
    share = rng.uniform(0.5, 1.5, (n, 1))
    return checked_data(uvw, FREQUENCY,
                        model_visibilities(empty, model,
                                           np.array(p)) + sigma / np.sqrt(share) * noise,
                        share / sigma**2 * np.ones(8)), model


def fit(data, model, p_ini):
    """Tight exact solution and its covariance."""
    found = solve(lambda p: normal_equations(data, model, p), p_ini, tolerance=1e-7)
    return found, covariance_of(found.normal, np.ones(len(p_ini), bool), model.names)[0]


def test_nodes_are_a_quadrature_for_the_weights_in_each_bin():
    data, _ = data_of(n=300)
    bins = bins_of(data, 16)
    q = np.hypot(data.uvw[:, 0], data.uvw[:, 1])[:, None] * FREQUENCY / LIGHT
    nodes = bins.nodes
    for i, k in enumerate(nodes.which):
        inside = (q >= k * bins.width) & (q < (k + 1) * bins.width)
        t, w, real = q[inside] / bins.width - k, data.weight[inside].astype(float), data.vis[inside].real
        place = nodes.q[:, i] / bins.width - k
        assert t.min() - 1e-9 <= place.min() <= place.max() <= t.max() + 1e-9
        for power in range(4):  # rounding of sums of some hundred numbers
            assert nodes.weight[:, i] @ place**power == pytest.approx(w @ t**power, rel=1e-10)
        for power in range(2):
            value = nodes.weight[:, i] * nodes.value[:, i] @ place**power
            assert value == pytest.approx((w * real) @ t**power, abs=1e-10 * np.abs(w * real).sum())
        if place[1] > place[0]:
            spread = w @ ((t - place[0]) ** 2 * (t - place[1]) ** 2)
            assert nodes.spread[i] == pytest.approx(spread, rel=1e-7, abs=1e-12 * w.sum())


def test_chi_squared_is_that_of_a_model_of_straight_lines():
    """In plain loops over the visibilities: Σ w |V − IM|² with IM straight in each bin."""
    data, model = data_of(n=60, p=(1.0, 3.0))
    bins = bins_of(data, 8)
    nodes = bins.nodes
    found = binned.normal_equations(bins, model, np.array([1.1, 2.5]))

    def profile(q):
        return 1.1 * np.exp(-((np.pi * 2.5 * ARCSEC * q) ** 2) / (4 * np.log(2)))

    total = 0.0
    for row in range(60):
        for chan in range(8):
            q = np.hypot(*data.uvw[row, :2]) * FREQUENCY[chan] / LIGHT
            low, high = nodes.q[:, list(nodes.which).index(int(q / bins.width))]
            line = profile(low)
            if high > low:
                line += (profile(high) - profile(low)) * (q - low) / (high - low)
            total += float(data.weight[row, chan]) * abs(data.vis[row, chan] - line) ** 2
    assert found.chi_squared == pytest.approx(total, rel=1e-10)
    assert found.n == 480


def test_chunks_add_up_and_bins_grow():
    data, model = data_of(n=900, scale=8e3)
    short = data.rows(np.hypot(data.uvw[:, 0], data.uvw[:, 1]) < 3e3)
    long = data.rows(np.hypot(data.uvw[:, 0], data.uvw[:, 1]) >= 3e3)
    parts = [bins_of(short), bins_of(long.rows(slice(None, None, 2))),
             bins_of(long.rows(slice(1, None, 2)))]
    assert parts[0].q_max < parts[1].q_max
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        together = parts[order[0]] + parts[order[1]] + parts[order[2]]
        whole = bins_of(data)
        assert together.q_max == whole.q_max
        assert together.n == whole.n
        np.testing.assert_allclose(together.sums, whole.sums, rtol=1e-9,
                                   atol=1e-12 * whole.sums.max())
        assert together.power == pytest.approx(whole.power, rel=1e-12)
    with pytest.raises(FitError, match="power of 2"):
        bins_of(short, q_max=2e5) + bins_of(long, q_max=3e5)
    with pytest.raises(FitError, match="larger q_max"):
        bins_of(long, q_max=1e3)


@pytest.mark.parametrize(("name", "p"), [("gaussian", (1.0, 1.0)), ("gaussian", (1.0, 5.0)), ("disc", (1.0, 4.0)), ("ring", (1.0, 4.0)),
                                         ("sphere", (1.0, 4.0)), ("bubble", (1.0, 3.0)), ("expo", (1.0, 1.0)), ("power-3", (1.0, 1.0)),
                                         ("gaussian-ring", (1.0, 2.0, 0.3))])  # fmt: skip
@pytest.mark.parametrize("snr", [30.0, 3000.0])
def test_binned_fit_equals_the_exact_one_within_the_bound(name, p, snr):
    data, model = data_of(name, ROUND + (",p[2]" if len(p) == 3 else ""), p, snr)
    # Few bins, so that there is something to see.
    bins = bins_of(data, 64)
    truth, covariance = fit(data, model, np.array(p))
    found = solve(lambda x: binned.normal_equations(bins, model, x), np.array(p), tolerance=1e-7)
    bound = binning_error(bins, model, found.p, covariance)
    moved = np.abs(found.p - truth.p) / np.sqrt(np.diag(covariance))
    # 2e-6: tolerances of the two solutions and rounding of χ².
    assert moved.max() <= bound + 2e-6
    assert bound < 0.3, "a bound that large says nothing"
    finer = binning_error(bins_of(data, 512), model, truth.p, covariance)
    # The noise goes with h², the model with h⁴.
    assert finer < bound / 20


def test_method_is_chosen_and_told():
    data, model = data_of(p=(1.0, 6.0), snr=90, n=3000)
    arrays = (data.uvw, FREQUENCY, data.vis, data.weight)
    asked = {"model": "gaussian", "var": ROUND, "p_ini": (1, 5), "estimator": "likelihood"}
    chosen = fit_visibilities(*arrays, **asked)
    exact = fit_visibilities(*arrays, **asked, method="exact")
    assert (chosen.method, exact.method) == ("binned", "exact")
    assert 0 < chosen.binning_error <= 0.003
    assert exact.n_passes <= 2, "the exact fit starts where the bins end"
    # 0.002: each stops within 0.001 of an error.
    assert (np.abs(chosen.parameters - exact.parameters)
            / exact.errors).max() < chosen.binning_error + 0.002
    assert chosen.chi_squared == pytest.approx(exact.chi_squared, rel=1e-6)
    # Millions of σ: the bound is too large, and the visibilities themselves are fitted.
    data, _ = data_of(p=(1.0, 60.0), snr=3e7, n=3000)
    sharp = fit_visibilities(data.uvw, FREQUENCY, data.vis, data.weight, model="gaussian",
                             var=ROUND, p_ini=(1, 50))
    assert sharp.method == "exact"
    with pytest.raises(FitError, match="method binned is for"):
        fit_visibilities(*arrays, model="gaussian", var="p[0],0,p[1],p[2],1,0", p_ini=(0, 1, 1),
                         method="binned")
    with pytest.raises(FitError, match="wanted auto, exact or binned"):
        fit_visibilities(*arrays, model="gaussian", var=ROUND, p_ini=(1, 5), method="fast")


def test_no_bound_where_a_model_is_infinite():
    """Power-2 has a logarithm at q = 0: the first bin has no bound, and the visibilities are fitted."""
    data, model = data_of("power-2")
    assert binning_error(bins_of(data, 16), model, np.array([1.0, 1.0]), np.eye(2)) == np.inf


@pytest.mark.parametrize(("var", "wanted"), [
    (ROUND, True), ("0,0,p[0]**2,abs(p[1]),1,0", True), ("0,0*3,p[0],p[1],2-1,30", True), ("p[2],0,p[0],p[1],1,0", False),
    ("0,0.1,p[0],p[1],1,0", False), ("0,0,p[0],p[1],p[2],0", False), ("0,0,p[0]*(nu/nu0)**p[1],1,1,0", False),
    ("0,0,p[0]+p[1]*t,1,1,0", False)])  # fmt: skip
def test_what_can_be_binned(var, wanted):
    assert is_binnable(make_model("gaussian", var, 1e9)) is wanted


def test_flagged_and_empty():
    data, model = data_of(n=500)
    weight = data.weight.copy()
    weight[::3] = 0
    vis = data.vis.copy()
    vis[::3] = 1e6
    flagged = bins_of(FitData(data.uvw, FREQUENCY, vis, weight))
    kept = data.rows(weight[:, 0] > 0)
    assert flagged.n == (weight > 0).sum()
    np.testing.assert_allclose(flagged.sums, bins_of(kept, q_max=flagged.q_max).sums, rtol=1e-12)
    none = bins_of(data.rows(slice(0)))
    assert none.n == 0
    assert none.nodes.weight.size == 0
    zero = bins_of(FitData(np.zeros((3, 3)), FREQUENCY, np.ones((3, 8), complex),
                           np.ones((3, 8), np.float32)))
    assert zero.nodes.value[zero.nodes.used] == pytest.approx([1.0])
    with pytest.raises(FitError, match="cannot be binned"):
        bins_of(FitData(data.uvw, FREQUENCY, data.vis, data.weight, fixed=data.vis))


def test_profile_of_a_flux_is_its_error():
    """For a point χ² is a parabola in the flux, and limits are σ √Δχ²."""
    data, _ = data_of(p=(1.0, 0.0))
    model = make_model("delta", "0,0,p[0]", 1e9)

    def passes(p):
        return normal_equations(data, model, p)

    result = fit_visibilities(data.uvw, FREQUENCY, data.vis, data.weight, model="delta",
                              var="0,0,p[0]", p_ini=(1.0,))
    sigma = data.weight.astype(float).sum() ** -0.5
    assert result.errors[0] == pytest.approx(sigma, rel=1e-9)
    for delta in (1.0, 4.0):
        low, high = profile_likelihood(passes, model, result, 0, delta)
        # The crossing is found to 1e-3 of √Δχ².
        assert high - result.parameters[0] == pytest.approx(sigma * delta**0.5, rel=2e-3)
        assert result.parameters[0] - low == pytest.approx(sigma * delta**0.5, rel=2e-3)
    with pytest.raises(FitError, match="wanted 0 to 0"):
        profile_likelihood(passes, model, result, 1)


def unresolved(sign):
    """A point to which a little is added that goes as q², so that the best size is 0 (sign 1) or just above (−1); no noise."""
    rng = np.random.default_rng(3)
    uvw = rng.normal(0, 8e3, (600, 3))
    q = np.hypot(uvw[:, 0], uvw[:, 1])[:, None] * FREQUENCY / LIGHT
    vis = 1.0 + sign * 0.02 * (q / q.max()) ** 2 + 0j
    return uvw, FREQUENCY, vis, np.full(vis.shape, (np.sqrt(vis.size) / 20.0) ** -2.0), q


def critical(share, mu):
    """Rise below which x ~ N(mu, 1), mu ≥ 0, stays with probability `share`: counted on a grid of x."""
    x = mu + np.linspace(-6, 6, 12001)
    density = np.exp(-((x - mu) ** 2) / 2)
    ratio = (x - mu) ** 2 - np.minimum(x, 0.0) ** 2
    order = np.argsort(ratio)
    return float(ratio[order][np.searchsorted(np.cumsum(density[order]), share * density.sum())])


@pytest.mark.parametrize(("share", "at_zero", "far"), [(0.6827, 0.2264, 1.0), (0.95, 2.7055, 3.8415)])
def test_the_critical_rise_is_that_of_a_count(share, at_zero, far):
    assert critical_rise(share, 0.0) == pytest.approx(at_zero, abs=1e-3)
    assert critical_rise(share, 9.0) == pytest.approx(far, abs=1e-3)
    for mu in (0.01, 0.2, 0.6, 0.95, 1.3, 1.9, 2.5):
        # The grid of x: 1e-3.
        assert critical_rise(share, mu) == pytest.approx(critical(share, mu), abs=3e-3), mu


@pytest.mark.parametrize("method", ["exact", "binned"])
@pytest.mark.parametrize("p_ini", [(1.0, 0.0), (0.5, 2.0), (1.0, -1.0)])
def test_best_size_of_zero(method, p_ini):
    *arrays, q = unresolved(+1)
    weight, vis = arrays[3], arrays[2]
    result = fit_visibilities(*arrays, model="gaussian", var=ROUND, p_ini=p_ini, method=method,
                              estimator="likelihood")
    point = fit_visibilities(*arrays, model="delta", var="0,0,p[0]", p_ini=(1,))
    assert result.parameters[1] == 0.0
    # Flux and error are those of a point; the solver stops within 0.001 of an error.
    assert result.parameters[0] == pytest.approx(point.parameters[0], abs=2e-3 * point.errors[0])
    assert result.errors[0] == pytest.approx(point.errors[0], rel=1e-6)

    k = (np.pi * ARCSEC * q) ** 2 / (4 * np.log(2))

    def excess(size, share):
        """χ² at a size, least over fluxes, above that of a point, less the critical rise there."""
        shape = np.exp(-k * size**2)
        a, b = np.sum(weight * shape**2), np.sum(weight * vis.real * shape)
        by_square, along = np.sum(weight * k**2 * shape**2), np.sum(weight * k * shape**2)
        mu = size**2 * abs(b / a) * np.sqrt(by_square - along**2 / a)
        rise = np.sum(weight * vis.real) ** 2 / np.sum(weight) - b**2 / a
        return rise - critical(share, mu) * (1 + 2 * a / b**2)

    for share, found in ((0.6827, result.intervals_68["p[1]"]), (0.95, result.intervals_95["p[1]"])):
        sizes = np.linspace(0.8 * found[1], 1.2 * found[1], 9)
        wanted = np.interp(0.0, [excess(s, share) for s in sizes], sizes)
        # 1e-3 of √Δχ² and the curve between sizes
        assert found == pytest.approx((0.0, wanted), rel=3e-3)
    assert result.upper_limits["p[1]"] == result.intervals_95["p[1]"][1]
    assert result.errors[1] == result.intervals_68["p[1]"][1]
    assert result.fwhm_error == pytest.approx(result.errors[1] * ARCSEC, rel=1e-9)


def test_size_that_is_just_not_resolved_and_one_that_is():
    *arrays, _ = unresolved(-1)
    result = fit_visibilities(*arrays, model="gaussian", var=ROUND, p_ini=(1, 1))
    assert result.parameters[1] > 0
    assert result.parameters[1] < result.upper_limits["p[1]"]
    assert 0 < result.errors[1] < result.upper_limits["p[1]"]
    sharp = fit_visibilities(*arrays[:3], arrays[3] * 1e6, model="gaussian", var=ROUND,
                             p_ini=(1, -1))
    assert not sharp.upper_limits
    # The solver may stop 0.001 of the error away.
    assert sharp.parameters[1] == pytest.approx(result.parameters[1], abs=2e-3 * result.errors[1])
    assert sharp.errors[1] == pytest.approx(np.sqrt(sharp.covariance[1, 1]), rel=1e-12)


def test_axes_change_their_names_where_the_major_one_vanishes():
    """The true ratio is 0.2; started at 90° to the truth the other axis is the long one."""
    data, _ = data_of(var="0,0,p[0],p[1],p[2],p[3]", p=(1.0, 3.0, 0.2, 30.0), snr=40)
    arrays = (data.uvw, FREQUENCY, data.vis, data.weight)
    results = [fit_visibilities(*arrays, model="gaussian", var="0,0,p[0],p[1],p[2],p[3]",
                                p_ini=(1, 0.5, 0.9, angle)) for angle in (30, 75, 120, 165)]
    for result in results:
        assert result.converged
        assert result.chi_squared == pytest.approx(min(r.chi_squared for r in results), abs=1e-4)
        assert result.parameters[1] * result.parameters[2] < result.parameters[1] or result.parameters[2] > 1


@pytest.mark.parametrize("seed", [3, 4, 5, 6, 7])
def test_unresolved_ellipse_says_what_is_not_determined(seed):
    data, _ = data_of(p=(1.0, 0.0), snr=30, seed=seed)
    arrays = (data.uvw, FREQUENCY, data.vis, data.weight)
    result = fit_visibilities(*arrays, model="gaussian", var="0,0,p[0],p[1],p[2],p[3]",
                              p_ini=(1, 1, 0.8, 0))
    point = fit_visibilities(*arrays, model="delta", var="0,0,p[0]", p_ini=(1,))
    assert result.converged
    assert result.upper_limits
    assert result.chi_squared <= point.chi_squared + 1e-6
    assert not (result.errors < 1e-3).any(), "an error that is none"
    if result.parameters[1] == 0:
        assert result.errors[0] == pytest.approx(point.errors[0], rel=1e-6)
        assert "size 0" in result.degenerate


def test_straight_line_in_the_logarithm():
    data, _ = data_of(p=(2.0, 1.5), snr=1e5)
    # Some steps of a fit in bins of uv distance: within a thousandth of this noise-free truth.
    assert starting_values(make_model("gaussian", ROUND, FREQUENCY[0]),
                           bins_of(data)) == pytest.approx((2.0, 1.5), rel=1e-3)
    q = np.linspace(1e3, 1e5, 30)
    value = 2.0 * np.exp(-((np.pi * 1.5 * ARCSEC * q) ** 2) / (4 * np.log(2)))
    assert polynomial_fit(q, value, np.ones(30)) == pytest.approx((2.0, 1.5 * ARCSEC), rel=1e-9)
    assert np.isnan(polynomial_fit(q, -value, np.ones(30))[0])


@pytest.mark.parametrize("name",
                         ["gaussian", "disc", "ring", "sphere", "bubble", "expo", "power-3"])
@pytest.mark.parametrize("size", [0.3, 3.0])
def test_start_that_is_found_leads_to_the_truth(name, size):
    data, _ = data_of(name, p=(1.0, size), snr=500)
    arrays = (data.uvw, FREQUENCY, data.vis, data.weight)
    found = fit_visibilities(*arrays, model=name, var=ROUND)
    wanted = fit_visibilities(*arrays, model=name, var=ROUND, p_ini=(1.0, size))
    assert found.converged
    assert found.chi_squared == pytest.approx(wanted.chi_squared, abs=1e-3)
    with pytest.raises(FitError, match="give p_ini"):
        fit_visibilities(*arrays, model=name, var="0,0,p[0]*2,p[1],1,0")


@pytest.mark.parametrize("n_chan", [1, 3, 7, 64, 700])
@pytest.mark.parametrize(("kind", "weights"),
                         [(np.complex64, np.float32), (np.complex128, np.float64)])
def test_sums_are_those_of_plain_loops(n_chan, kind, weights):
    """Blocks of the kernel that are full, cut short and longer than themselves.

    Bins that have to grow on the way.
    """
    rng = np.random.default_rng(n_chan)
    n = 2100 // n_chan + 2
    uvw = rng.normal(0, 3e3, (n, 3))
    # The last row is far beyond the others, and with few channels none of those that the length is
    # guessed from.
    uvw[-1] *= 40 / np.hypot(*(uvw[-1, :2] / 1e3))
    frequency = 1.4e9 + 1e6 * np.arange(n_chan)
    vis = (rng.normal(size=(n, n_chan)) + 1j * rng.normal(size=(n, n_chan))).astype(kind)
    weight = rng.uniform(0, 2, (n, n_chan)).astype(weights)
    weight[rng.random(weight.shape) < 0.1] = 0
    found = bins_of(FitData(uvw, frequency, vis, weight), 50)
    assert found.q_max == 2.0 ** np.ceil(np.log2(np.hypot(uvw[:, 0], uvw[:, 1]).max()
                                                 * frequency[-1] / LIGHT))
    wanted, power = np.zeros((50, 7)), 0.0
    for row in range(n):
        for chan in range(n_chan):
            x = np.hypot(*uvw[row, :2]) * frequency[chan] / LIGHT * 50 / found.q_max
            w, re, t = float(weight[row, chan]), float(vis[row, chan].real), x - int(x)
            wanted[int(x)] += np.array([w, w * t, w * t**2, w * t**3, w * t**4, w * re, w * t * re])
            power += w * abs(complex(vis[row, chan])) ** 2
    # Rounding of sums of at most some thousand numbers.
    np.testing.assert_allclose(found.sums, wanted, rtol=1e-10, atol=1e-11 * wanted.max())
    assert found.power == pytest.approx(power, rel=1e-12)
    assert found.n == (weight > 0).sum()


def test_baselines_beyond_the_bins():
    data, _ = data_of(n=600)
    longest = np.hypot(data.uvw[:, 0], data.uvw[:, 1]).max() * FREQUENCY[-1] / LIGHT
    edge = bins_of(data, 32, q_max=longest)
    assert edge.sums[:, 0].sum() == pytest.approx(float(data.weight.astype(float).sum()), rel=1e-12)
    assert edge.sums[-1, 0] > 0
    for bad in (np.nan, np.inf):
        uvw = data.uvw.copy()
        uvw[5, 0] = bad
        with pytest.raises(FitError, match="finite"):
            bins_of(FitData(uvw, FREQUENCY, data.vis, data.weight))
