"""Where fits begin without starting values.

In the lowest minimum, found among many by plain trials from everywhere.
"""

import json

import numpy as np
import pytest

import uvstack
from factories import ARCSEC, make_ms, offset
from uvstack.errors import FitError, UvstackWarning
from uvstack.fitting.data.preparation import Piece
from uvstack.fitting.model.data import checked_data
from uvstack.fitting.model.model import make_model
from uvstack.fitting.model.normal import model_visibilities, normal_equations
from uvstack.fitting.model.shapes import SHAPES, shape
from uvstack.fitting.solve.cells import Layout, cell_sums, means_of
from uvstack.fitting.solve.search import Start, parts_of
from uvstack.fitting.solve.start import Starts
from uvstack.fitting.solve.visibilities import fit_passes, fit_visibilities, from_best

LIGHT = 299792458.0
MICRO = 1e-6  # µas in arcsec
FREQUENCY = np.array([230e9])


def tracks(n_ant=6, n_times=20, seed=3, longest=9e6):
    """(u, v, w) of a few antennas around the Earth (row, 3) m, with gaps."""
    rng = np.random.default_rng(seed)
    place, hour = rng.normal(size=(n_ant, 3)), np.linspace(-1.2, 1.2, n_times)
    first, second = np.triu_indices(n_ant, 1)
    x, y, z = (place[first] - place[second]).T[:, :, None]
    east, towards = np.sin(hour) * x + np.cos(hour) * y, np.cos(hour) * x - np.sin(hour) * y
    uvw = np.stack([east, np.cos(0.4) * z - np.sin(0.4) * towards,
                    np.sin(0.4) * z + np.cos(0.4) * towards], axis=-1)
    uvw = uvw[rng.random(uvw.shape[:2]) < 0.6]
    return uvw * longest / np.hypot(uvw[:, 0], uvw[:, 1]).max()


def seen(uvw, models, var, p, sigma, seed=1, frequency=FREQUENCY):
    """Visibilities with noise, and their weights."""
    rng = np.random.default_rng(seed)
    shape = (len(uvw), frequency.size)
    empty = checked_data(uvw, frequency, np.zeros(shape, complex))
    vis = model_visibilities(empty, make_model(models, var, frequency[0]), np.asarray(p, float))
    return vis + sigma * (rng.normal(size=shape)
                          + 1j * rng.normal(size=shape)), np.full(shape, sigma**-2)


def from_there(uvw, vis, weight, p):
    """Fit of a ring from one start alone."""
    data, model = checked_data(uvw, FREQUENCY, vis, weight), make_model(["ring"], plain(["ring"]),
                                                                        FREQUENCY[0])
    return fit_passes(lambda p: normal_equations(data, model, p), model, p)


def plain(models, free=True):
    """Variables of components that are round, each number a parameter of its own, and their names."""
    texts, n = [], 0
    for name in models:
        words = ["p[{}]"] * 3 if free else ["0", "0", "p[{}]"]
        words += ["p[{}]", "1", "0"] if shape(name).extended else []
        words += ["p[{}]"] if shape(name).has_extra else []
        made = []
        for word in words:
            made.append(word.format(n))
            n += "{}" in word
        texts.append(",".join(made))
    return texts


def test_a_ring_of_microarcseconds_is_found_among_many_minima():
    # A ring with more light on one side and a faint halo, as few antennas see it: from a point the
    # fit of a ring ends elsewhere.
    uvw = tracks()
    var = ["4e-6,-7e-6,0.6,46.9e-6,1,0", "1.7e-5,-1.5e-5,p[0]", "0,0,0.3,2e-4,1,0"]
    vis, weight = seen(uvw, ["ring", "delta", "gaussian"], var, [0.08], 0.02)
    fit = fit_visibilities(uvw, FREQUENCY, vis, weight, model="ring", var=plain(["ring"]))
    trials = []
    for diameter in np.arange(5.0, 200.0, 5.0):
        for place in (0.0, 1.5e-5):
            trials.append(from_there(uvw, vis, weight,
                                     (place, -place, 0.5, diameter * MICRO)).chi_squared)
    assert max(trials) > 2 * min(trials)
    assert fit.chi_squared <= min(trials) * (1 + 1e-6)
    assert fit.parameters[3] / MICRO == pytest.approx(46.9, abs=3)
    assert fit.n_starts > 1
    assert fit.next_chi_squared > fit.chi_squared
    assert f"from the best of {fit.n_starts} starts (next minimum: χ²" in str(fit)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_off_the_centre_at_several_sizes(name):
    uvw = tracks(seed=5)
    beam = LIGHT / FREQUENCY[0] / np.hypot(uvw[:, 0], uvw[:, 1]).max() / ARCSEC
    for i, (size, flux) in enumerate([(0.4, 1.0), (3.0, -1.0), (8.0, 1.0)]):
        truth = [2.3 * beam, -1.4 * beam, flux, size * beam,
                 0.2 * size * beam][: 5 if name == "gaussian-ring" else 4]
        truth = truth[:3] if name == "delta" else truth
        vis, weight = seen(uvw, [name], plain([name]), truth, 0.05, seed=i)
        found = fit_visibilities(uvw, FREQUENCY, vis, weight, model=name, var=plain([name]))
        known = fit_visibilities(uvw, FREQUENCY, vis, weight, model=name, var=plain([name]),
                                 p_ini=truth)
        assert found.chi_squared < known.chi_squared + 0.1, f"a {name} of {size} resolutions"
        assert found.converged


@pytest.mark.parametrize(("models", "truth"), [
    (("ring", "gaussian"), (1, 2, 0.6, 1.2, 0, 3, 1.0, 5.0)),
    (("disc", "delta"), (-2, 0.5, 1.0, 4.0, 3, 3, -0.2)),
    (("gaussian", "gaussian"), (0, 0, 1.0, 3.0, 0.2, 0.1, 0.5, 0.6)),
])  # fmt: skip
def test_two_components_beside_and_on_top_of_each_other(models, truth):
    uvw = tracks(n_times=12, seed=6)
    beam = LIGHT / FREQUENCY[0] / np.hypot(uvw[:, 0], uvw[:, 1]).max() / ARCSEC
    scale = {3: (beam, beam, 1.0), 4: (beam, beam, 1.0, beam)}
    unit = np.concatenate([scale[4 if shape(name).extended else 3] for name in models])
    vis, weight = seen(uvw, models, plain(models), truth * unit, 0.02)
    found = fit_visibilities(uvw, FREQUENCY, vis, weight, model=models, var=plain(models))
    known = fit_visibilities(uvw, FREQUENCY, vis, weight, model=models, var=plain(models),
                             p_ini=truth * unit)
    assert found.chi_squared < known.chi_squared + 0.1


def test_two_centred_rings_from_bins_of_many_visibilities():
    uvw = tracks(n_ant=10, n_times=60, seed=8)
    beam = LIGHT / FREQUENCY[0] / np.hypot(uvw[:, 0], uvw[:, 1]).max() / ARCSEC
    var, truth = plain(["ring", "ring"], free=False), (1.0, 2.0 * beam, 0.7, 5.5 * beam)
    nu = FREQUENCY[0] + 1e6 * np.arange(4)
    vis, weight = seen(uvw, ["ring", "ring"], var, truth, 0.3, frequency=nu)
    found = fit_visibilities(uvw, nu, vis, weight, model=["ring", "ring"], var=var, method="binned")
    known = fit_visibilities(uvw, nu, vis, weight, model=["ring", "ring"], var=var, method="binned",
                             p_ini=truth)
    assert found.chi_squared < known.chi_squared + 1e-3


def test_a_source_beyond_the_first_map_and_noise_alone():
    # 150 resolutions out and clear; nothing at all: the fit stays near the phase centre instead of
    # on a peak of noise.
    rng = np.random.default_rng(4)
    uvw = rng.normal(size=(1500, 3)) * [8e3, 8e3, 10.0]
    nu = np.array([1.4e9])
    beam = LIGHT / nu[0] / np.hypot(uvw[:, 0], uvw[:, 1]).max() / ARCSEC
    truth = (120 * beam, -90 * beam, 1.0)
    vis, weight = seen(uvw, ["delta"], plain(["delta"]), truth, 2.0, frequency=nu)
    found = fit_visibilities(uvw, nu, vis, weight, model="delta", var=plain(["delta"]))
    assert np.abs((found.parameters - truth) / found.errors).max() < 4
    vis, weight = seen(uvw, ["delta"], plain(["delta"]), (0, 0, 0.0), 2.0, frequency=nu)
    nothing = fit_visibilities(uvw, nu, vis, weight, model="delta", var=plain(["delta"]))
    assert np.hypot(*nothing.parameters[:2]) < 20 * beam


def test_bounds_hold_for_a_search():
    uvw = tracks(seed=7)
    beam = LIGHT / FREQUENCY[0] / np.hypot(uvw[:, 0], uvw[:, 1]).max() / ARCSEC
    vis, weight = seen(uvw, ["delta", "delta"], ["0,0,p[0]", "p[1],0,0.5"], (1.0, 6 * beam), 0.02)
    bounds = [(3 * beam, 9 * beam), (-beam, beam), (0, None)]
    found = fit_visibilities(uvw, FREQUENCY, vis, weight, model="delta", var=plain(["delta"]),
                             bounds=bounds)
    assert found.parameters[0] == pytest.approx(6 * beam, abs=beam)
    with pytest.raises(FitError, match=r"the bounds of p\[0\] are 2 to 1"):
        fit_visibilities(uvw, FREQUENCY, vis, weight, model="delta", var=plain(["delta"]),
                         bounds=[(2, 1), None, None])


def test_starting_values_of_a_user_are_kept_and_doubted():
    uvw = tracks()
    vis, weight = seen(uvw, ["ring"], plain(["ring"]), (0, 0, 0.6, 46.9 * MICRO), 0.02)
    with pytest.warns(UvstackWarning,
                      match="χ² is much lower from other starting values: p_ini = "):
        local = fit_visibilities(uvw, FREQUENCY, vis, weight, model="ring", var=plain(["ring"]),
                                 p_ini=(0, 0, 0.3, 150 * MICRO))
    best = fit_visibilities(uvw, FREQUENCY, vis, weight, model="ring", var=plain(["ring"]))
    assert local.chi_squared > 2 * best.chi_squared
    assert local.n_starts == 0
    assert "at a minimum near the starting values, which is not the lowest" in str(local)
    assert not best.elsewhere
    near = fit_visibilities(uvw, FREQUENCY, vis, weight, model="ring", var=plain(["ring"]),
                            p_ini=(0, 0, 0.5, 44 * MICRO))
    assert not near.elsewhere
    assert near.parameters == pytest.approx(best.parameters, abs=1e-2 * best.errors.max())


def test_sets_are_searched_in_memory_and_chunk_by_chunk(tmp_path):
    # 6″ east and 4″ north, with a faint disc beside: found without starting values, to the same
    # from disk as from memory.
    ms = make_ms(tmp_path / "a.ms", sources=[(*offset(6 * ARCSEC, 4 * ARCSEC), 1.0)], n_ant=12,
                 n_times=40, noise=0.3)
    kept = uvstack.fit(ms, model="gaussian", offset=True)
    read = uvstack.fit(ms, model="gaussian", offset=True, memory=0.0)
    assert kept.parameters[:3] == pytest.approx((6, 4, 1.0), abs=0.15)
    assert read.chi_squared == pytest.approx(kept.chi_squared, abs=1e-3)
    assert kept.summary()["n_starts"] == kept.n_starts > 0
    assert "NaN" not in json.dumps(kept.summary(), allow_nan=False)


def test_cells_hold_all_flux_of_a_source_and_turn_to_it():
    rng = np.random.default_rng(2)
    uvw, nu = rng.normal(size=(4000, 3)) * 1e4, np.array([1.4e9, 1.5e9])
    q_max = float(np.hypot(uvw[:, 0], uvw[:, 1]).max() * nu[1] / LIGHT)
    place = np.array([40.0, -25.0]) / q_max
    vis, weight = seen(uvw, ["delta"], ["p[0],p[1],1"], place / ARCSEC, 0.0 + 1e-6, frequency=nu)
    data = checked_data(uvw, nu, vis, np.ones_like(weight))
    layout = Layout(q_max, 256, tuple(place))
    means = means_of(cell_sums(layout, [Piece(data, nu)]), nu[0])
    assert means.weight.sum() == pytest.approx(8000)
    assert len(means.uvw) < 8000
    assert (means.uvw[:, 0] >= 0).all() or np.abs(means.uvw[means.uvw[:, 0] < 0, 0]).max() < 10
    assert np.abs(means.vis - 1.0).max() < 1e-4


def test_what_can_be_searched():
    def can(models, var):
        return parts_of(make_model(models, var, 1e9), None) is not None

    assert can(["gaussian"], ["0,0,p[0],p[1],1,0"])
    assert not can(["gaussian"], ["0,0,2*p[0],p[1],1,0"])
    assert not can(["delta", "delta"], ["p[0],p[1],p[2]", "0,0,p[2]"])
    assert not can(["delta"], ["0,0,p[0]*(nu/nu0)**p[1]"])
    assert not can(["delta"], ["p[0]*t,0,p[1]"])


def test_the_best_of_several_fits_is_taken():
    uvw = tracks()
    vis, weight = seen(uvw, ["ring"], plain(["ring"]), (0, 0, 0.6, 46.9 * MICRO), 0.02)

    # What was searched may rank starts wrongly where they are close: the data decide.
    starts = Starts([Start(np.array([0, 0, 0.3, 150 * MICRO]), 100.0),
                     Start(np.array([0, 0, 0.6, 45 * MICRO]), 101.0)], 2, 1.0, 1e3, lambda p: 0.0)
    found = from_best(lambda p, final: from_there(uvw, vis, weight, p), starts)
    assert found.parameters[3] / MICRO == pytest.approx(46.9, abs=1)
    assert found.next_chi_squared > found.chi_squared
    with pytest.raises(FitError, match="not finite anywhere"):
        from_best(lambda p, final: None, Starts([], 0, 1.0, 1.0, lambda p: 0.0))
