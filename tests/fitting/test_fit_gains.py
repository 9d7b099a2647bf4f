"""Antenna gains that are solved together with the source: V_pq is multiplied by g_p g_q*."""

import numpy as np
import pytest

from oracles import fit_model
from uvstack.errors import FitError
from uvstack.fitting.model.data import checked_data
from uvstack.fitting.model.model import make_model
from uvstack.fitting.model.normal import model_visibilities, normal_equations
from uvstack.fitting.solve.visibilities import fit_visibilities

ARCSEC = np.deg2rad(1 / 3600)
FREQUENCY = np.array([1.40e9, 1.45e9, 1.50e9])
N_ANT, N_TIMES = 7, 24
SPAN = 10.0 * (N_TIMES - 1)


@pytest.fixture(scope="module")
def track():
    """uvw, antenna1, antenna2, time of 7 antennas within 20 km that turn by 60°."""
    rng = np.random.default_rng(3)
    position = rng.uniform(-10e3, 10e3, (N_ANT, 3)) * [1, 1, 0.3]
    first, second = np.triu_indices(N_ANT, 1)
    base = position[second] - position[first]
    angle = np.linspace(-0.5, 0.5, N_TIMES)[:, None]
    uvw = np.stack([np.cos(angle) * base[:, 0] - np.sin(angle) * base[:, 1],
                    np.sin(angle) * base[:, 0] + np.cos(angle) * base[:, 1],
                    base[:, 2] + 0 * angle], axis=-1)
    return uvw.reshape(-1, 3), np.tile(first, N_TIMES), np.tile(second, N_TIMES), np.repeat(
        10.0 * np.arange(N_TIMES), first.size)


def corrupted(vis, track, gain):
    """Visibilities times g_p g_q*, row by row; gain(antenna, time, frequency) is complex."""
    _, first, second, time = track
    out = vis.copy()
    for row in range(vis.shape[0]):
        for chan, nu in enumerate(FREQUENCY):
            out[row, chan] *= gain(first[row], time[row], nu) * np.conj(
                gain(second[row], time[row], nu))
    return out


def fitted(track, vis, sigma, **chosen):
    uvw, first, second, time = track
    return fit_visibilities(uvw, FREQUENCY, vis, np.full(vis.shape, sigma**-2), antenna1=first,
                            antenna2=second, time=time, **chosen)


SOURCE = ("gaussian", 0.0, 0.0, 3.5, 1.5 * ARCSEC, 0.667, np.deg2rad(45))
ELLIPSE = {"model": "gaussian", "var": "0,0,p[0],p[1],p[2],p[3]"}
TRUTH = [3.5, 1.5, 0.667, 45.0]


def ramp(t, a, b, stop):
    return a + (b - a) * np.clip(t / stop, 0, 1)


# Expression of a gain with p[4], p[5], the same as a function, and the truth of the two.
CASES = {"constant": ("p[4]", lambda t, nu, a, b: a, (1.2,)),
         "linear in time": ("p[4]+p[5]*t/100", lambda t, nu, a, b: a + b * t / 100, (1.0, 0.2)),
         "piecewise": (f"pieceWise(p[4],p[5],0,{SPAN / 2})", lambda t, nu, a,
                       b: ramp(t, a, b, SPAN / 2), (1.0, 1.5)),
         "piecewise, falling": (f"pieceWise(p[4],p[5],0,{SPAN / 2})", lambda t, nu, a,
                                b: ramp(t, a, b, SPAN / 2), (1.5, 1.0)),
         "linear in frequency": ("p[4]+p[5]*(nu-nu0)/1e8", lambda t, nu, a,
                                 b: a + b * (nu - 1.4e9) / 1e8, (1.1, -0.3)),
         "both": ("p[4]+p[5]*t/100*(nu/nu0)", lambda t, nu, a, b: a + b * t / 100 * nu / 1.4e9,
                  (1.1, -0.2))}


@pytest.mark.parametrize("kind", ["amplitude", "phase"])
@pytest.mark.parametrize("name", CASES)
def test_a_gain_is_found_with_the_source(track, name, kind):
    expression, function, gain_truth = CASES[name]
    a, b = (*gain_truth, 0.0)[:2]

    def gain(antenna, t, nu):
        if antenna != 2:
            return 1.0
        value = function(t, nu, a, b)
        return value if kind == "amplitude" else np.exp(1j * value)

    rng = np.random.default_rng(5)
    vis = corrupted(fit_model(track[0], FREQUENCY, [SOURCE]), track, gain)
    vis += 0.2 * (rng.normal(size=vis.shape) + 1j * rng.normal(size=vis.shape))
    truth = np.array([*TRUTH, *gain_truth])
    key = "amp_gains" if kind == "amplitude" else "phase_gains"
    p_ini = truth * np.array([0.7, 1.3, 0.8, 0.75, 0.8, 0.8])[: truth.size]
    fit = fitted(track, vis, 0.2, p_ini=p_ini, **ELLIPSE, **{key: {2: expression}})
    assert fit.converged
    # 4.5 errors among 70 numbers; and an error is no excuse: each is below 5 % of the number.
    assert np.abs((fit.parameters - truth) / fit.errors).max() < 4.5
    assert (fit.errors < 0.05 * np.abs(truth)).all()
    assert fit.reduced_chi_squared == pytest.approx(1, abs=5 / np.sqrt(vis.size))


def test_pulls_of_gains_have_width_one(track):
    """60 fits of 5 numbers: width 1 ± 0.15 (3.7 of its own errors)."""
    rng = np.random.default_rng(8)
    vis = corrupted(fit_model(track[0], FREQUENCY, [("delta", 0.0, 0.0, 2.0)]), track,
                    lambda antenna, t, nu: {1: 1.3, 4: 0.8 * np.exp(0.5j)}.get(antenna, 1.0))
    pulls = []
    for _ in range(60):
        noisy = vis + 2.0 * (rng.normal(size=vis.shape) + 1j * rng.normal(size=vis.shape))
        fit = fitted(track, noisy, 2.0, model="delta", var="p[0],0,p[1]",
                     amp_gains={1: "p[2]", 4: "p[3]"}, phase_gains={4: "p[4]"},
                     p_ini=[0.0, 1.5, 1, 1, 0])
        pulls.append((fit.parameters - [0, 2, 1.3, 0.8, 0.5]) / fit.errors)
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1, abs=0.15)


def gains_of_three():
    return make_model("gaussian", "p[0],0.2,p[1],p[2],0.7,30", 1.4e9, scale="p[3]",
                      amplitude_gains={0: "p[4]+p[5]*t/200", 3: "0.9*p[4]*(nu/nu0)**p[6]"},
                      phase_gains={3: "p[7]*t/100", 5: "p[7]+p[2]"})


def test_the_gradient_by_gains_source_and_scale(track):
    uvw, first, second, time = track
    rng = np.random.default_rng(2)
    order = rng.permutation(len(uvw))  # times in any order
    some = lambda x: x[order[:200]]  # noqa: E731
    shape = (200, 3)
    data = checked_data(some(uvw), FREQUENCY,
                        2 + rng.normal(size=shape) + 1j * rng.normal(size=shape),
                        rng.uniform(0.5, 2, shape), fixed=rng.normal(size=shape) + 0.3j,
                        antenna1=some(first), antenna2=some(second), time=some(time))
    model, p = gains_of_three(), np.array([0.4, 1.3, 1.1, 0.5, 1.1, 0.2, 0.6, 0.4])
    here = normal_equations(data, model, p)
    exact = checked_data(data.uvw, FREQUENCY, model_visibilities(data, model, p), data.weight,
                         fixed=data.fixed, antenna1=data.antenna1, antenna2=data.antenna2,
                         time=data.time)
    hessian = normal_equations(exact, model, p).hessian
    scale = np.sqrt(np.diag(hessian))
    for i in range(p.size):
        step = 1e-4 * np.eye(p.size)[i]
        # Central differences: error of second order 1e-8 and of rounding 1e-12.
        by_difference = -(normal_equations(data, model, p + step).chi_squared
                          - normal_equations(data, model, p - step).chi_squared) / 4e-4
        assert here.gradient[i] == pytest.approx(by_difference,
                                                 abs=1e-6 * scale[i] * np.sqrt(here.chi_squared)), i
        assert abs(here.gradient[i]) > 1e-3 * scale[i] * np.sqrt(here.chi_squared)
        column = -(normal_equations(exact, model, p + step).gradient
                   - normal_equations(exact, model, p - step).gradient) / 2e-4
        assert np.abs(column - hessian[i]).max() < 1e-6 * scale[i] * scale.max()


def test_the_model_with_gains_is_the_plain_product(track):
    uvw, first, second, time = track
    model, p = gains_of_three(), np.array([0.4, 1.3, 1.1, 0.0, 1.1, 0.2, 0.6, 0.4])
    data = checked_data(uvw, FREQUENCY, np.ones((len(uvw), 3), complex),
                        fixed=np.zeros((len(uvw), 3)), antenna1=first, antenna2=second, time=time)

    def gain(antenna, t, nu):
        amplitude = {0: 1.1 + 0.2 * t / 200, 3: 0.99 * (nu / 1.4e9) ** 0.6}.get(antenna, 1.0)
        return amplitude * np.exp(1j * {3: 0.4 * t / 100, 5: 1.5}.get(antenna, 0.0))

    sky = fit_model(uvw, FREQUENCY,
                    [("gaussian", 0.4 * ARCSEC, 0.2 * ARCSEC, 1.3, 1.1 * ARCSEC, 0.7,
                      np.deg2rad(30))])
    wanted = corrupted(sky, track, gain)
    with_gains = model_visibilities(data, model, p)
    assert np.abs(with_gains - wanted).max() < 1e-11
    without = model_visibilities(data, model, p, with_gains=False)
    assert np.abs(without - sky).max() < 1e-11
    # What is written as calibrated data: data over gains.
    assert np.abs(wanted / (with_gains / without) - sky).max() < 1e-10
    sums = normal_equations(data, model, p)
    assert sums.chi_squared == pytest.approx(np.sum(np.abs(1 - wanted) ** 2), rel=1e-5)  # vis and weights of single precision


def test_times_count_from_the_first_whatever_their_origin(track):
    uvw, first, second, time = track
    sky = fit_model(uvw, FREQUENCY, [SOURCE])
    vis = corrupted(sky, track, lambda antenna, t, nu: 1.0 + 0.2 * t / 100 if antenna == 3 else 1.0)
    p_ini = [*TRUTH, 1.0, 0.1]
    chosen = {"amp_gains": {3: "p[4]+p[5]*t/100"}, "p_ini": p_ini, **ELLIPSE}
    seconds = fitted(track, vis, 0.01, **chosen)
    mjd = fitted((uvw, first, second, time + 5.0844e9), vis, 0.01, **chosen)  # MJD s, of which doubles hold microseconds
    assert mjd.parameters == pytest.approx([*TRUTH, 1.0, 0.2], abs=1e-5)
    assert mjd.parameters == pytest.approx(seconds.parameters, abs=1e-6)


def test_antennas_that_arrays_do_not_hold_are_refused(track):
    uvw, first, second, time = track
    vis = fit_model(uvw, FREQUENCY, [SOURCE])
    some = (first != 4) & (second != 4)
    left = (uvw[some], first[some], second[some], time[some])
    for key, wanted in (("VA03", "the antenna 'VA03' is no number; arrays know"),
                        (17, "antenna 17 has no data"),
                        (4, "antenna 4 has no data with a weight; there are 0, 1, 2, 3, 5, 6")):
        with pytest.raises(FitError, match=f"^phase_gains: {wanted}"):
            fitted(left, vis[some], 0.01, phase_gains={key: "p[4]"}, p_ini=[*TRUTH, 0.0], **ELLIPSE)


def test_gains_of_one_are_no_gains(track):
    rng = np.random.default_rng(5)
    vis = fit_model(track[0], FREQUENCY, [SOURCE]) + rng.normal(size=(len(track[0]), 3))
    p_ini = np.array(TRUTH) * 1.1
    plain = fitted(track, vis, 1.0, p_ini=p_ini, **ELLIPSE)
    with_ones = fitted(track, vis, 1.0, p_ini=p_ini, amp_gains={1: "1"}, phase_gains={2: "0*t"},
                       **ELLIPSE)
    assert with_ones.parameters == pytest.approx(plain.parameters, rel=1e-6)
    assert with_ones.covariance == pytest.approx(plain.covariance, rel=1e-6)


def test_a_phase_of_all_antennas_is_not_determined(track):
    """Only differences of phases can be seen; amplitudes and the source are not touched by that."""
    vis = np.ones((len(track[0]), 3), complex)
    fit = fitted(track, vis, 0.1, model="delta", var="0,0,p[0]", p_ini=[0.9, *np.zeros(N_ANT)],
                 phase_gains={i: f"p[{i + 1}]" for i in range(N_ANT)})
    assert "p[1] and p[2] and p[3] and p[4] and p[5] and p[6] and p[7] are degenerate" in fit.degenerate
    assert np.isnan(fit.errors[1:]).all()
    assert fit.errors[0] == pytest.approx(0.1 / np.sqrt(vis.size), rel=1e-4)


def test_gains_that_cannot_be_are_refused(track):
    vis = np.ones((len(track[0]), 3), complex)
    chosen = {"model": "delta", "var": "0,0,p[0]"}
    with pytest.raises(FitError,
                       match="amplitude gain of antenna 2 is -0.5; it must stay positive"):
        fitted(track, vis, 1.0, p_ini=[1, -0.5], amp_gains={2: "p[1]"}, **chosen)
    with pytest.raises(FitError, match=r"gains of antennas \[-1\]"):
        fitted(track, vis, 1.0, p_ini=[1, 1], amp_gains={-1: "p[1]"}, **chosen)
    with pytest.raises(FitError, match="antenna1 and antenna2"):
        fit_visibilities(track[0], FREQUENCY, vis, p_ini=[1, 1], amp_gains={1: "p[1]"}, **chosen)
    with pytest.raises(FitError, match="the data have no times"):
        fit_visibilities(track[0], FREQUENCY, vis, p_ini=[1, 1], amp_gains={1: "p[1]*t"},
                         antenna1=track[1], antenna2=track[2], **chosen)
    with pytest.raises(FitError, match=r"antenna1 has shape \(3,\)"):
        fit_visibilities(track[0], FREQUENCY, vis, p_ini=[1, 1], amp_gains={1: "p[1]"},
                         antenna1=track[1][:3], antenna2=track[2], **chosen)
    with pytest.raises(FitError, match="antenna2 holds -1"):
        fit_visibilities(track[0], FREQUENCY, vis, p_ini=[1, 1], amp_gains={1: "p[1]"},
                         antenna1=track[1], antenna2=track[2] - 2, **chosen)
    with pytest.raises(FitError, match="amp_gains: antenna 40 has no data"):
        fitted(track, vis, 1.0, p_ini=[1, 1], amp_gains={40: "p[1]"}, **chosen)
