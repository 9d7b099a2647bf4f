"""Corruptions: their statistics against analytic ones, their effect against plain loops, their independence of chunks."""

import json
import math

import numpy as np
import pytest
from astropy.io import fits
from scipy.special import gamma, kv

from simulate.corruption import (
    AntennaFlags,
    Bandpass,
    ComplexGains,
    Delays,
    DirectionDependentGains,
    PhaseErrors,
    PointingErrors,
    RandomFlags,
    apply_gains,
    corrupt_sources,
    read_truth,
    save_truth,
)
from uvstack.errors import OutputError, UvstackError
from uvstack.records import plain
from uvstack.sky.primary_beam import Gaussian

TIME = 5.0e9 + 10.0 * np.arange(300)
FREQUENCY = 1.4e9 + 4e6 * np.arange(8)
N_ANT = 5
GAINS = [
    PhaseErrors(0.4, 60.0), PhaseErrors(0.4, 5.0), Delays(1e-9), Delays(2e-9, 300.0, 1.4e9), ComplexGains(0.1, 0.3, 120.0),
    ComplexGains(0.1, 0.3), Bandpass(0.05, 0.1, 3)]  # fmt: skip
CIRCULAR = (5, 6, 7, 8)


def rows(n_times=4, n_ant=N_ANT):
    """antenna1, antenna2, time_index of all baselines at some times."""
    first, second = np.triu_indices(n_ant, 1)
    index = np.repeat(np.arange(n_times), first.size)
    return np.tile(first, n_times), np.tile(second, n_times), index


def some_vis(n_rows, n_corr=4, seed=1):
    rng = np.random.default_rng(seed)
    shape = (n_rows, FREQUENCY.size, n_corr)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def loop_apply(vis, gains, antenna1, antenna2, time_index, correlations):
    """V_pq → g_p V g_q* in float64, one number at a time."""
    letters = {5: "RR", 6: "RL", 7: "LR", 8: "LL", 9: "XX", 10: "XY", 11: "YX", 12: "YY"}
    out = np.zeros(vis.shape, complex)
    for row, chan, corr in np.ndindex(vis.shape):
        a, b = ("RX".find(x) < 0 for x in letters[correlations[corr]])
        g = gains[time_index[row], antenna1[row], chan, int(a)].astype(complex)
        h = gains[time_index[row], antenna2[row], chan, int(b)].astype(complex)
        out[row, chan, corr] = g * vis[row, chan, corr] * h.conjugate()
    return out


@pytest.mark.parametrize("corruption", GAINS, ids=repr)
def test_the_same_seed_gives_the_same_bytes_in_any_chunks(corruption):
    whole = corruption.gains(TIME, FREQUENCY, N_ANT, np.random.default_rng(3))
    assert whole.shape == (TIME.size, N_ANT, FREQUENCY.size, 2)
    assert whole.dtype == np.complex64
    track = corruption.draw(TIME, FREQUENCY, N_ANT, np.random.default_rng(3))
    for size in (1, 7, 64):
        parts = [track.at(TIME[i : i + size], FREQUENCY) for i in range(0, TIME.size, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
    by_channel = np.concatenate([track.at(TIME, FREQUENCY[i : i + 3]) for i in range(0, 8, 3)],
                                axis=2)
    assert by_channel.tobytes() == whole.tobytes()
    other = corruption.gains(TIME, FREQUENCY, N_ANT, np.random.default_rng(4))
    assert not np.array_equal(other, whole)


def correlation(lag, timescale, index):
    """Autocorrelation of P(f) ∝ (1 + (2πfT)²)^(index/2).

    The Matérn function of order (−index − 1)/2.
    """
    order, x = (-index - 1) / 2, lag / timescale
    return 2 ** (1 - order) / gamma(order) * x**order * kv(order, x)


@pytest.mark.parametrize("index", [-8 / 3, -2.0, -3.0])
@pytest.mark.parametrize("timescale", [40.0, 400.0])
def test_phase_errors_have_the_stated_rms_and_structure_function(index, timescale):
    # Knots on the integrations, 10 s apart, whatever the timescale here.
    time = 10.0 * np.arange(4000)
    track = PhaseErrors(0.5, timescale, index).draw(time, FREQUENCY, 60, np.random.default_rng(8))
    phase = np.angle(track.at(time, FREQUENCY[:1])[:, :, 0, 0]).astype(float)
    # 60 antennas × 40 000 s hold 3000 independent stretches of 2T or more: the rms is known to 1.3
    # per cent.
    assert np.sqrt(np.mean(phase**2)) == pytest.approx(0.5, rel=0.04)
    for lag in (1, 2, 4, 8, 40):
        measured = np.mean((phase[lag:] - phase[:-lag]) ** 2)
        expected = 2 * 0.25 * (1 - correlation(10.0 * lag, timescale, index))
        assert measured == pytest.approx(expected, rel=0.05), lag


def test_kolmogorov_phases_have_slopes_of_five_thirds_and_minus_eight_thirds():
    time = 1.0 * np.arange(20_000)
    track = PhaseErrors(0.3, 640.0).draw(time, FREQUENCY, 40, np.random.default_rng(2))
    phase = np.angle(track.at(time, FREQUENCY[:1])[:, :, 0, 0]).astype(float)
    lags = np.array([20, 40])
    structure = [np.mean((phase[k:] - phase[:-k]) ** 2) for k in lags]
    # 5/3 is the limit at lag 0; knots are 2.5 s apart.
    exact = np.diff(np.log(1 - correlation(lags, 640.0, -8 / 3)))[0] / math.log(2)
    assert np.diff(np.log(structure))[0] / math.log(2) == pytest.approx(exact, abs=0.03)
    assert exact == pytest.approx(5 / 3, abs=0.15)
    frequency = np.fft.rfftfreq(time.size)
    power = np.mean(np.abs(np.fft.rfft(phase * np.hanning(time.size)[:, None], axis=0)) ** 2,
                    axis=1)
    inside = (frequency > 5 / (2 * np.pi * 640)) & (frequency < 0.01)
    slope = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]
    assert slope == pytest.approx(-8 / 3, abs=0.15)


def test_phase_errors_touch_phases_alone_and_both_receptors_alike():
    gains = PhaseErrors(0.4, 60.0).gains(TIME, FREQUENCY, N_ANT, np.random.default_rng(0))
    np.testing.assert_allclose(np.abs(gains), 1.0, atol=2e-7)
    np.testing.assert_array_equal(gains[..., 0], gains[..., 1])
    np.testing.assert_array_equal(gains, np.repeat(gains[:, :, :1], FREQUENCY.size, axis=2))
    assert np.abs(np.diff(np.angle(gains[:, 0, 0, 0]))).max() > 0.01


def test_a_process_is_stationary_to_its_ends_and_they_are_independent():
    time = 10.0 * np.arange(50)
    track = PhaseErrors(0.3, 200.0).draw(time, FREQUENCY, 4000, np.random.default_rng(1))
    phase = np.angle(track.at(time, FREQUENCY[:1])[:, :, 0, 0])
    for t in (0, 25, 49):
        assert phase[:, :][t].std() == pytest.approx(0.3, rel=0.05)
    expected = correlation(490.0, 200.0, -8 / 3)
    assert np.corrcoef(phase[0], phase[-1])[0, 1] == pytest.approx(expected,
                                                                   abs=5 / math.sqrt(4000))


def test_complex_gains_have_mean_one_and_the_stated_scatter():
    gains = ComplexGains(0.1, 0.3).gains(TIME[:1], FREQUENCY[:1], 20_000,
                                         np.random.default_rng(6)).ravel()
    # 40 000 gains: the scatter is known to 0.35 per cent, the mean amplitude to 0.0005.
    assert np.log(np.abs(gains)).std() == pytest.approx(0.1, rel=0.02)
    assert np.abs(gains).mean() == pytest.approx(1.0, abs=0.0025)
    assert np.angle(gains).std() == pytest.approx(0.3, rel=0.02)
    assert abs(np.corrcoef(np.abs(gains), np.angle(gains))[0, 1]) < 0.025
    pairs = gains.reshape(-1, 2)
    assert abs(np.corrcoef(np.angle(pairs).T)[0, 1]) < 0.035


def test_constant_gains_are_constant_and_slow_ones_are_slow():
    constant = ComplexGains(0.1, 0.3).gains(TIME, FREQUENCY, N_ANT, np.random.default_rng(0))
    np.testing.assert_array_equal(constant, np.repeat(constant[:1], TIME.size, axis=0))
    slow, fast = (ComplexGains(0.1, 0.3, t).gains(TIME, FREQUENCY, N_ANT, np.random.default_rng(0))
                  for t in (2000.0, 20.0))
    assert np.abs(np.diff(slow, axis=0)).mean() < 0.1 * np.abs(np.diff(fast, axis=0)).mean()


def test_delays_give_phases_linear_in_frequency():
    delays = Delays(2e-9, reference_frequency=1.4e9)
    track = delays.draw(TIME, FREQUENCY, 3000, np.random.default_rng(1))
    gains = track.at(TIME[:1], FREQUENCY)[0].astype(complex)
    np.testing.assert_allclose(gains[:, 0], 1.0, atol=1e-7)
    phase = np.unwrap(np.angle(gains), axis=1)
    expected = 2 * np.pi * track.delay[0].astype(float)[:, None, :] * (FREQUENCY
                                                                       - 1.4e9)[None, :, None]
    np.testing.assert_allclose(phase, expected, atol=1e-6)
    assert track.delay.std() == pytest.approx(2e-9, rel=0.05)
    zero = Delays(2e-9).gains(TIME[:1], [0.0, 1e6], 10, np.random.default_rng(1))
    np.testing.assert_array_equal(zero[:, :, 0], 1.0)


@pytest.mark.parametrize("n_chan", [1, 2, 8, 64])
def test_a_bandpass_has_mean_one_and_the_stated_ripples(n_chan):
    frequency = 1.4e9 + 4e6 * np.arange(n_chan)
    gains = Bandpass(0.05, 0.1, 3).gains(TIME[:2], frequency, 2000,
                                         np.random.default_rng(9)).astype(complex)
    np.testing.assert_array_equal(gains[0], gains[1])
    amplitude, phase = np.abs(gains[0]), np.angle(gains[0])
    np.testing.assert_allclose(amplitude.mean(axis=1), 1.0, atol=3e-7)
    np.testing.assert_allclose(phase.mean(axis=1), 0.0, atol=3e-7)
    if n_chan > 6:
        assert amplitude.std() == pytest.approx(0.05, rel=0.03)
        assert phase.std() == pytest.approx(0.1, rel=0.03)
        spectrum = np.abs(np.fft.rfft(amplitude, axis=1)).max(axis=(0, 2))
        assert spectrum[4:].max(initial=0.0) < 1e-3 < spectrum[3]


def test_closure_phases_and_amplitudes_survive_antenna_gains():
    antenna1, antenna2, index = rows()
    vis = some_vis(antenna1.size)[:, :, [0, 3]]
    gains = ComplexGains(0.3, 2.0, 20.0).gains(TIME[:4], FREQUENCY, N_ANT, np.random.default_rng(5))
    gains *= Bandpass(0.05, 0.5).gains(TIME[:4], FREQUENCY, N_ANT, np.random.default_rng(6))
    bad = apply_gains(vis, gains, antenna1, antenna2, index, (5, 8))
    at = {(p, q): k for k, (p, q) in enumerate(zip(antenna1[:10], antenna2[:10], strict=True))}

    def closures(v):
        v = v.astype(complex)
        triple = v[at[0, 1]] * v[at[1, 2]] * v[at[0, 2]].conj()
        quadruple = np.abs(v[at[0, 1]] * v[at[2, 3]] / (v[at[0, 2]] * v[at[1, 3]]))
        return triple / np.abs(triple), quadruple

    np.testing.assert_allclose(closures(bad)[0], closures(vis)[0], atol=2e-6)
    np.testing.assert_allclose(closures(bad)[1], closures(vis)[1], rtol=2e-6)
    assert np.abs(bad / vis - 1).max() > 0.5


@pytest.mark.parametrize("correlations", [CIRCULAR, (9, 10, 11, 12), (5, 8), (12,), (8, 5)])
def test_apply_gains_is_a_plain_loop(correlations):
    antenna1, antenna2, index = rows()
    antenna1, antenna2 = antenna1.astype(np.int32), antenna2.astype(np.int32)
    vis = some_vis(antenna1.size, len(correlations))
    before = vis.copy()
    gains = ComplexGains(0.2, 1.0, 30.0).gains(TIME[:4], FREQUENCY, N_ANT, np.random.default_rng(5))
    expected = loop_apply(vis, gains, antenna1, antenna2, index, correlations)
    found = apply_gains(vis, gains, antenna1, antenna2, index, correlations)
    assert found.dtype == np.complex64
    # Two products of complex64: four roundings of 6e-8.
    np.testing.assert_allclose(found, expected, rtol=4e-7)
    np.testing.assert_array_equal(vis, before)
    assert apply_gains(vis, gains, antenna1, antenna2, index, correlations, out=vis) is vis
    np.testing.assert_array_equal(vis, found)


def test_the_gain_of_the_first_antenna_is_not_conjugated():
    gains = np.ones((1, 2, 8, 2), np.complex64)
    gains[0, 0] = 1j
    vis = np.ones((1, 8, 2), np.complex64)
    np.testing.assert_array_equal(apply_gains(vis, gains, [0], [1], [0], (5, 8)), 1j)
    np.testing.assert_array_equal(apply_gains(vis, gains, [1], [0], [0], (5, 8)), -1j)


def test_inverse_gains_restore_the_data():
    antenna1, antenna2, index = rows()
    vis = some_vis(antenna1.size)
    gains = ComplexGains(0.2, 1.0, 30.0).gains(TIME[:4], FREQUENCY, N_ANT, np.random.default_rng(5))
    there = apply_gains(vis, gains, antenna1, antenna2, index, CIRCULAR)
    back = apply_gains(there, 1 / gains, antenna1, antenna2, index, CIRCULAR)
    np.testing.assert_allclose(back, vis, rtol=1e-6)


def test_apply_gains_of_nothing_and_of_nan():
    gains = np.ones((1, N_ANT, FREQUENCY.size, 2), np.complex64)
    none = np.zeros(0, int)
    assert apply_gains(some_vis(0), gains, none, none, none, CIRCULAR).shape == (0, 8, 4)
    vis = some_vis(2)
    vis[0] = np.nan
    out = apply_gains(vis, gains, [0, 0], [1, 2], [0, 0], CIRCULAR)
    assert np.isnan(out[0]).all()
    np.testing.assert_array_equal(out[1], vis[1])


def test_direction_dependent_gains_touch_their_source_alone():
    antenna1, antenna2, index = rows()
    models = {"3C286": some_vis(antenna1.size, 2, 1), "rest": some_vis(antenna1.size, 2, 2),
              "B": some_vis(antenna1.size, 2, 3)}
    before = {name: model.copy() for name, model in models.items()}
    corruption = DirectionDependentGains(("3C286",), 0.2, 0.5, 30.0)
    gains = corruption.gains(TIME[:4], FREQUENCY, N_ANT, np.random.default_rng(5))
    assert list(gains) == ["3C286"]
    total = corrupt_sources(models, gains, antenna1, antenna2, index, (5, 8))
    expected = loop_apply(models["3C286"], gains["3C286"], antenna1, antenna2, index,
                          (5, 8)) + models["rest"] + models["B"]
    np.testing.assert_allclose(total, expected, atol=2e-6)
    for name, model in models.items():
        np.testing.assert_array_equal(model, before[name])
    two = DirectionDependentGains(("A", "B"), 0.2, 0.5, 30.0).gains(TIME[:4], FREQUENCY, N_ANT,
                                                                    np.random.default_rng(5))
    assert not np.allclose(two["A"], two["B"])
    with pytest.raises(UvstackError, match="'3C268', which is not in the sky; did you mean 3C286"):
        corrupt_sources(models, {"3C268": gains["3C286"]}, antenna1, antenna2, index, (5, 8))


def test_pointing_errors_are_shifted_voltage_beams():
    beam = Gaussian(0.01, 1.4e9)
    corruption = PointingErrors(1e-3, 600.0)
    track = corruption.draw(TIME, 3000, np.random.default_rng(4))
    assert track.at(TIME).std() == pytest.approx(1e-3, rel=0.05)
    l, m, times = 3e-3, -2e-3, TIME[5:9]
    gains = track.source_gains(beam, l, m, times, FREQUENCY)
    assert gains.shape == (4, 3000, 8, 2)
    offset = track.at(times)
    for t, p, q, c in ((0, 1, 2, 0), (3, 7, 4, 5)):
        power = [
            math.exp(-4 * math.log(2) * math.asin(math.hypot(l - offset[t, a, 0], m - offset[t, a, 1])) ** 2
                     * (FREQUENCY[c] / (0.01 * 1.4e9)) ** 2) for a in (p, q)]  # fmt: skip
        vis = np.ones((1, 8, 1), np.complex64)
        found = apply_gains(vis, gains, [p], [q], [t], (5,))[0, c, 0]
        assert found == pytest.approx(math.sqrt(power[0] * power[1]), rel=1e-6)
    # An antenna that points towards the source sees it brighter.
    towards = np.argmax(offset[0, :, 0] - offset[0, :, 1])
    assert gains[0, towards, 0, 0].real > math.sqrt(beam([l], [m], FREQUENCY[:1])[0, 0])
    still = PointingErrors(0.0).draw(TIME, 2,
                                     np.random.default_rng(4)).source_gains(
        beam, l, m, times, FREQUENCY)
    np.testing.assert_allclose(still[0, 0, :, 0], np.sqrt(beam([l], [m], FREQUENCY)[0]), rtol=1e-6)


def test_pointing_tracks_do_not_depend_on_chunks():
    track = PointingErrors(1e-3, 600.0).draw(TIME, 3, np.random.default_rng(4))
    parts = np.concatenate([track.at(TIME[i : i + 7]) for i in range(0, TIME.size, 7)])
    assert parts.tobytes() == track.at(TIME).tobytes()


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 1.0])
def test_random_flags_have_the_stated_fraction_whatever_the_chunks(fraction):
    antenna1, antenna2, index = rows(300)
    time = TIME[index]
    flags = RandomFlags(fraction).flags(time, antenna1, antenna2, 64, np.random.default_rng(2))
    assert flags.shape == (3000, 64)
    error = math.sqrt(fraction * (1 - fraction) / flags.size)
    assert abs(flags.mean() - fraction) <= 5 * error
    for axis in (0, 1):
        n = flags.shape[axis]
        assert flags.mean(axis=axis).std() == pytest.approx(math.sqrt(fraction * (1 - fraction)
                                                                      / n), rel=0.4)
    order = np.random.default_rng(1).permutation(time.size)
    parts = [
        RandomFlags(fraction).flags(time[o], antenna1[o], antenna2[o], 64, np.random.default_rng(2))
        for o in np.array_split(order, 7)]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate(parts), flags[order])
    if 0 < fraction < 1:
        other = RandomFlags(fraction).flags(time, antenna1, antenna2, 64, np.random.default_rng(3))
        assert np.mean(other & flags) == pytest.approx(fraction**2,
                                                       abs=5 * fraction / math.sqrt(flags.size))
        swapped = RandomFlags(fraction).flags(time, antenna2, antenna1, 64,
                                              np.random.default_rng(2))
        assert np.mean(swapped & flags) == pytest.approx(fraction**2,
                                                         abs=5 * fraction / math.sqrt(flags.size))


def test_antenna_flags():
    antenna1, antenna2, index = rows(300)
    time = TIME[index]
    always = AntennaFlags((2,)).flags(time, antenna1, antenna2, 3)
    np.testing.assert_array_equal(always,
                                  np.repeat(((antenna1 == 2) | (antenna2 == 2))[:, None], 3,
                                            axis=1))
    ranges = ((TIME[0], TIME[9]), (TIME[50], TIME[50]))
    some = AntennaFlags((2, 4), ranges).flags(time, antenna1, antenna2, 3)
    assert set(index[some[:, 0]]) == {*range(10), 50}
    assert some.sum() == 11 * (4 + 4 - 1) * 3
    assert not AntennaFlags(()).flags(time, antenna1, antenna2, 3).any()
    assert AntennaFlags((1,)).flags([], np.zeros(0, int), np.zeros(0, int), 3).shape == (0, 3)


@pytest.mark.parametrize("corruption", GAINS, ids=repr)
def test_the_truth_read_back_gives_the_very_gains(corruption, tmp_path):
    track = corruption.draw(TIME, FREQUENCY, N_ANT, np.random.default_rng(3))
    path = save_truth(tmp_path / "truth.fits", corruption, track,
                      [f"ea{i:02d}" for i in range(N_ANT)])
    back = read_truth(path)
    assert back.at(TIME, FREQUENCY).tobytes() == track.at(TIME, FREQUENCY).tobytes()
    with fits.open(path) as hdus:
        assert hdus[0].header["CORRUPT"] == type(corruption).__name__
        # JSON knows no infinity: a time scale without end is null.
        assert json.loads(hdus[0].header["PARAMS"]) == plain(vars(corruption))
        assert list(hdus["ANTENNA"].data["NAME"]) == ["ea00", "ea01", "ea02", "ea03", "ea04"]
        assert hdus["TRACK"].data["PHASE"].shape[1:] == (N_ANT, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["truth.fits"]
    with pytest.raises(OutputError, match="exists"):
        save_truth(path, corruption, track)
    first = path.read_bytes()
    assert save_truth(path, corruption, track, [f"ea{i:02d}" for i in range(N_ANT)],
                      overwrite=True).read_bytes() == first


def test_the_truth_of_directions_pointing_and_flags(tmp_path):
    directions = DirectionDependentGains(("3C286", "Süd", "a source with quite a long name " * 4),
                                         0.1, 0.2, 60.0)
    tracks = directions.draw(TIME, FREQUENCY, N_ANT, np.random.default_rng(3))
    back = read_truth(save_truth(tmp_path / "d.fits", directions, tracks))
    assert list(back) == list(directions.sources)
    for name, track in tracks.items():
        np.testing.assert_array_equal(back[name].at(TIME, FREQUENCY), track.at(TIME, FREQUENCY))
    pointing = PointingErrors(1e-3, 600.0)
    track = pointing.draw(TIME, N_ANT, np.random.default_rng(3))
    back = read_truth(save_truth(tmp_path / "p.fits", pointing, track))
    np.testing.assert_array_equal(back.at(TIME), track.at(TIME))
    assert read_truth(save_truth(tmp_path / "f.fits", RandomFlags(0.1))) is None
    save_truth(tmp_path / "a.fits", AntennaFlags((1, 2), ((0.0, 1.0),)))
    (tmp_path / "text").write_text("no truth in here")
    for name in ("absent.fits", "text"):
        with pytest.raises(UvstackError, match=f"{name}: not a truth"):
            read_truth(tmp_path / name)


@pytest.mark.parametrize(("make", "fragment"), [
    (lambda: PhaseErrors(-1.0, 60.0), "rms = -1.0"),
    (lambda: PhaseErrors(math.nan, 60.0), "rms = nan"),
    (lambda: PhaseErrors(1.0, 0.0), "timescale of 0.0"),
    (lambda: PhaseErrors(1.0, 60.0, -0.5), "index of -0.5"),
    (lambda: Delays(math.inf), "rms = inf"),
    (lambda: ComplexGains(0.1, -0.1), "phase_rms = -0.1"),
    (lambda: Bandpass(0.1, 0.1, 0), "0 ripples"),
    (lambda: Bandpass(2.0, 0.1).gains(TIME, FREQUENCY, 20, np.random.default_rng(0)), "fallen to zero"),
    (lambda: DirectionDependentGains("3C286", 0.1, 0.1), "'3C286'"),
    (lambda: DirectionDependentGains((), 0.1, 0.1), "()"),
    (lambda: PointingErrors(-1e-3), "rms = -0.001"),
    (lambda: RandomFlags(1.5), "1.5"),
    (lambda: RandomFlags(math.nan), "nan"),
    (lambda: AntennaFlags((0,), ((2.0, 1.0),)), "(2.0, 1.0)"),
    (lambda: AntennaFlags((-1,)), "counted from 0"),
    (lambda: PhaseErrors(1.0, 60.0).gains([], FREQUENCY, 2, np.random.default_rng(0)), "time of shape (0,)"),
    (lambda: PhaseErrors(1.0, 1e-3).draw([0.0, 1.0, 2.0, 1e8], FREQUENCY, 2, np.random.default_rng(0)), "longer timescale"),
    (lambda: apply_gains(some_vis(1, 1), np.ones((1, 2, 8, 2), np.complex64), [0], [1], [0], (1,)), "correlation I"),
])  # fmt: skip
def test_bad_input_is_one_clear_line(make, fragment):
    with pytest.raises(UvstackError, match=".+") as caught:
        make()
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_fit():
    gains = np.ones((1, N_ANT, FREQUENCY.size, 2), np.complex64)
    for vis, first, index, correlations in (
        (some_vis(1)[:, :3], [0], [0], CIRCULAR), (some_vis(1), [0], [0], (5, 8)), (some_vis(1), [9], [0], CIRCULAR),
        (some_vis(1), [-1], [0], CIRCULAR), (some_vis(1), [0], [1], CIRCULAR), (some_vis(1), [0, 0], [0], CIRCULAR)):  # fmt: skip
        with pytest.raises(ValueError, match="wanted"):
            apply_gains(vis, gains, first, [1], index, correlations)
    with pytest.raises(ValueError, match="must have one shape"):
        apply_gains(some_vis(1), gains, [0], [1], [0], CIRCULAR, out=some_vis(2))
    with pytest.raises(ValueError, match=r"\(row,\)"):
        RandomFlags(0.1).flags(TIME, [0], [1], 3, np.random.default_rng(0))


def test_scans_far_apart_and_one_time():
    time = np.concatenate([TIME[:20], TIME[:20] + 3601.7])
    gains = PhaseErrors(0.4, 60.0).gains(time, FREQUENCY, N_ANT, np.random.default_rng(0))
    assert np.isfinite(gains).all()
    # Two nights a month apart: knots lie beside the data alone, and the nights have nothing in
    # common.
    nights = np.concatenate([TIME, TIME + 30 * 86400.0 + 3.0])
    track = PhaseErrors(0.4, 60.0).draw(nights, FREQUENCY, 200, np.random.default_rng(0))
    assert track.time.size <= 2 * TIME.size + 4
    phase = np.angle(track.at(nights, FREQUENCY[:1])[:, :, 0, 0])
    assert phase[:300].std() == pytest.approx(0.4, rel=0.03)
    assert phase[300:].std() == pytest.approx(0.4, rel=0.03)
    assert abs(np.corrcoef(phase[0], phase[300])[0, 1]) < 5 / math.sqrt(200)
    assert PhaseErrors(0.4, 60.0).gains(TIME[:1], FREQUENCY[:1], 1,
                                        np.random.default_rng(0)).shape == (1, 1, 1, 2)
