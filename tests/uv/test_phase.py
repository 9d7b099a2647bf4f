"""Factors and sums by position against a float64 sum, at the size the project promises.

36 km, 1.4 GHz, 15′ off axis.
"""

import numpy as np
import pytest

from oracles import LIGHT
from simulate.arrays import vla_like
from simulate.tracks import antenna_uvw
from uvstack.uv.many_positions import expansion
from uvstack.uv.phase import binned_position_sums, phase_factor, position_sums

RNG = np.random.default_rng(5)
FREQUENCY = 1.4e9 + 25e6 * (np.arange(10) - 4.5)
# The project promises 1e-5 of the factor; 1e-6 rms is measured, on a grid 2e-6.
TOLERANCE = 1e-5


def vla_rows(n_times=3, n_stations=9, hours=2.0):
    """(uvw, antenna1, antenna2, time) of the VLA-like array in its largest configuration, 36 km."""
    itrf, _ = vla_like(stations=n_stations)
    sidereal = np.linspace(-hours, hours, n_times) * np.pi / 12
    x = antenna_uvw(itrf, sidereal - 1.878, 0.0, np.deg2rad(-30))
    first, second = np.triu_indices(itrf.shape[0], 1)
    uvw = (x[:, second] - x[:, first]).reshape(-1, 3)
    return uvw, np.tile(first, n_times), np.tile(second, n_times), np.repeat(
        np.arange(n_times) * 10.0, first.size)


def sky(n, radius=15 / 60 * np.pi / 180):
    """l, m, n − 1 (3, pos) uniform in a square of that half width."""
    l, m = RNG.uniform(-radius, radius, (2, n))
    return np.stack([l, m, -(l * l + m * m) / (1 + np.sqrt(1 - l * l - m * m))])


def beam_like(lmn):
    """1/A(ν) of a Gaussian beam of 20′ at 1.4 GHz, (chan, pos).

    What stacking asks for, from 1 to some 100.
    """
    return np.exp(4 * np.log(2) * (lmn[0] ** 2 + lmn[1] ** 2) / np.deg2rad(20 / 60) ** 2
                  * (FREQUENCY[:, None] / 1.4e9) ** 2)


def oracle(uvw, frequency, lmn, coefficient):
    """Σ_k c_k(ν) exp(−2πi ν/c x·(l, m, n−1)), (row, chan) complex128, channel by channel."""
    factor = np.empty((uvw.shape[0], len(frequency)), complex)
    for chan, nu in enumerate(frequency):
        factor[:, chan] = np.exp(-2j * np.pi * nu / LIGHT * (uvw @ lmn)) @ coefficient[chan]
    return factor


def relative_error(found, wanted):
    """rms error over rms value."""
    return np.sqrt(np.mean(np.abs(found - wanted) ** 2) / np.mean(np.abs(wanted) ** 2))


@pytest.mark.parametrize("method", ["antenna", "direct"])
def test_factor_equals_float64_sum(method):
    uvw, ant1, ant2, time = vla_rows()
    assert 30e3 < np.hypot(uvw[:, 0], uvw[:, 1]).max() < 40e3
    lmn = sky(900)
    coefficient = beam_like(lmn)
    found = phase_factor(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, method=method)
    wanted = oracle(uvw, FREQUENCY, lmn, coefficient)
    assert relative_error(found[0], wanted) < TOLERANCE / 5
    # No single baseline may be far off either: 1e-5 of the largest possible factor.
    assert np.abs(found[0] - wanted).max() < TOLERANCE * coefficient.sum(axis=1).max()


@pytest.mark.parametrize("method", ["antenna", "direct"])
def test_w_matters_and_is_right(method):
    uvw, ant1, ant2, time = vla_rows(n_times=1)
    lmn, coefficient = sky(50), np.ones((10, 50))
    flat = lmn * [[1], [1], [0]]
    found = phase_factor(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, method=method)[0]
    assert relative_error(found, oracle(uvw, FREQUENCY, flat, coefficient)) > 0.1
    assert relative_error(found, oracle(uvw, FREQUENCY, lmn, coefficient)) < TOLERANCE


@pytest.mark.parametrize("method", ["antenna", "direct"])
def test_error_does_not_grow_with_the_number_of_positions(method):
    """A bias of the cosine adds up as N where the factor grows as √N.

    8e-8 of it would make 1e-5 here.
    """
    uvw, ant1, ant2, time = (x[:351:5] for x in vla_rows(n_times=1))
    lmn, coefficient = sky(30_000), np.ones((2, 30_000))
    found = phase_factor(uvw, ant1, ant2, time, FREQUENCY[:2], lmn, coefficient, method=method)[0]
    assert relative_error(found, oracle(uvw, FREQUENCY[:2], lmn, coefficient)) < 2e-6


def test_many_uneven_and_falling_channels():
    uvw, ant1, ant2, time = vla_rows(n_times=1)
    lmn = sky(40)
    for frequency in (1e9 + 1e6 * np.arange(70.0), 2e9 - 1e6 * np.arange(70.0),
                      np.sort(RNG.uniform(1e9, 2e9, 20)), np.array([1.4e9])):
        coefficient = RNG.uniform(0.5, 2, (frequency.size, 40))
        found = phase_factor(uvw, ant1, ant2, time, frequency, lmn, coefficient,
                             method="antenna")[0]
        assert relative_error(found, oracle(uvw, frequency, lmn, coefficient)) < TOLERANCE


def test_subsets_add_up():
    uvw, ant1, ant2, time = vla_rows(n_times=1)
    lmn, coefficient = sky(2500), RNG.uniform(1, 2, (10, 2500))
    first = np.array([0, 7, 7, 1500, 2500])
    parts = phase_factor(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, first)
    assert not parts[1].any()
    for i, (begin, end) in enumerate(zip(first[:-1], first[1:], strict=True)):
        if end > begin:
            assert relative_error(parts[i],
                                  oracle(uvw, FREQUENCY, lmn[:, begin:end],
                                         coefficient[:, begin:end])) < TOLERANCE


def test_odd_sets_take_the_direct_form_by_themselves():
    uvw, ant1, ant2, time = vla_rows()
    lmn, coefficient = sky(30), np.ones((10, 30))
    wanted = oracle(uvw, FREQUENCY, lmn, coefficient)
    # (u, v, w) averaged over different times, as baseline-dependent averaging leaves them: no
    # antenna coordinates fit.
    odd = uvw + RNG.normal(0, 5.0, uvw.shape)
    with pytest.raises(ValueError, match="no differences of antenna coordinates"):
        phase_factor(odd, ant1, ant2, time, FREQUENCY, lmn, coefficient, method="antenna")
    found = phase_factor(odd, ant1, ant2, time, FREQUENCY, lmn, coefficient)[0]
    assert relative_error(found, oracle(odd, FREQUENCY, lmn, coefficient)) < TOLERANCE
    # One time of three is odd: the others keep the antenna form, and no row is lost.
    mixed = np.where((time == 10.0)[:, None], odd, uvw)
    found = phase_factor(mixed, ant1, ant2, time, FREQUENCY, lmn, coefficient)[0]
    assert relative_error(found, oracle(mixed, FREQUENCY, lmn, coefficient)) < TOLERANCE
    # Every time its own: few baselines each.
    alone = phase_factor(uvw, ant1, ant2, np.arange(time.size), FREQUENCY, lmn, coefficient)[0]
    assert relative_error(alone, wanted) < TOLERANCE
    # In an order that mixes times.
    order = RNG.permutation(time.size)
    shuffled = phase_factor(uvw[order], ant1[order], ant2[order], time[order], FREQUENCY, lmn,
                            coefficient)[0]
    assert relative_error(shuffled, wanted[order]) < TOLERANCE


def test_unconnected_antennas_large_numbers_and_swapped_baselines():
    uvw, ant1, ant2, time = vla_rows(n_times=1)
    ant1, ant2 = ant1 * 1000, ant2 * 1000
    # Two halves of the array without a baseline between them, each baseline counted from either
    # end.
    keep = (ant1 < 13_000) == (ant2 < 13_000)
    swap = RNG.random(time.size) < 0.5
    ant1, ant2, uvw = np.where(swap, ant2, ant1), np.where(swap, ant1, ant2), np.where(
        swap[:, None], -uvw, uvw)
    lmn, coefficient = sky(30), np.ones((10, 30))
    found = phase_factor(uvw[keep], ant1[keep], ant2[keep], time[keep], FREQUENCY, lmn, coefficient,
                         method="antenna")[0]
    assert relative_error(found, oracle(uvw[keep], FREQUENCY, lmn, coefficient)) < TOLERANCE


def test_unusable_rows_spoil_nothing():
    uvw, ant1, ant2, time = vla_rows(n_times=1)
    uvw = uvw.copy()
    usable = np.ones(time.size, bool)
    usable[[3, 50]] = False
    uvw[3], uvw[50] = 0.0, np.nan
    lmn, coefficient = sky(30), np.ones((10, 30))
    found = phase_factor(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, usable=usable)[0]
    assert relative_error(found[usable],
                          oracle(uvw[usable], FREQUENCY, lmn, coefficient)) < TOLERANCE
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("n_rows", "n_positions"), [(0, 5), (5, 0), (1, 1)])
def test_nothing_and_one(n_rows, n_positions):
    uvw, ant1, ant2, time = (x[:n_rows] for x in vla_rows(n_times=1))
    lmn, coefficient = sky(n_positions), np.ones((10, n_positions))
    found = phase_factor(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient)
    assert found.shape == (1, n_rows, 10)
    if n_rows and n_positions:
        assert relative_error(found[0], oracle(uvw, FREQUENCY, lmn, coefficient)) < TOLERANCE
    else:
        assert not found.any()


@pytest.mark.parametrize("method", ["antenna", "direct"])
def test_position_sums_are_the_transpose(method):
    uvw, ant1, ant2, time = vla_rows(n_times=2)
    lmn = sky(1500)
    coefficient = beam_like(lmn)
    value = (RNG.normal(size=(time.size, 10))
             + 1j * RNG.normal(size=(time.size, 10))).astype(np.complex64)
    value[RNG.random(value.shape) < 0.2] = 0
    found = position_sums(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, value, method=method)
    wanted = np.zeros(1500)
    for chan, nu in enumerate(FREQUENCY):
        wanted += coefficient[chan] * np.real(value[:, chan]
                                              @ np.exp(-2j * np.pi * nu / LIGHT * (uvw @ lmn)))
    # Random signs: the error is that of the phasors against the scatter of the sums.
    assert np.abs(found - wanted).std() < TOLERANCE * wanted.std()
    # <value, F> = Σ of the sums, whatever the values.
    factor = phase_factor(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, method=method)[0]
    assert np.sum(value * factor).real == pytest.approx(found.sum(),
                                                        abs=1e-4 * wanted.std() * np.sqrt(1500))


@pytest.mark.parametrize("one_time", [True, False])
def test_position_sums_in_bins_are_those_of_their_rows(one_time):
    """In the antenna form, and with each row at a time of its own in the direct form."""
    uvw, ant1, ant2, time = vla_rows(n_times=2)
    if not one_time:
        time = np.arange(time.size, dtype=float)
    lmn = sky(40)
    coefficient = beam_like(lmn)
    value = (RNG.normal(size=(time.size, 10))
             + 1j * RNG.normal(size=(time.size, 10))).astype(np.complex64)
    bins = RNG.integers(0, 3, time.size)
    found = binned_position_sums(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, value, bins, 4)
    for b in range(4):
        here = bins == b
        wanted = np.zeros(40)
        for chan, nu in enumerate(FREQUENCY):
            phasor = np.exp(-2j * np.pi * nu / LIGHT * (uvw[here] @ lmn))
            wanted += coefficient[chan] * np.real(value[here, chan] @ phasor)
        assert np.abs(found[b] - wanted).max() <= 5 * TOLERANCE * wanted.std()


def far_corner(n):
    """n positions in a box of 3′ whose centre is 15′ off axis.

    a small grid, but the full slope of the w term.
    """
    l, m = RNG.uniform(-1, 1, (2, n)) * np.deg2rad(1.5 / 60) + np.deg2rad([[12 / 60], [-9 / 60]])
    return np.stack([l, m, -(l * l + m * m) / (1 + np.sqrt(1 - l * l - m * m))])


def test_grid_gives_the_same_factor_and_sums():
    uvw, ant1, ant2, time = vla_rows()
    lmn = far_corner(3000)
    coefficient = beam_like(lmn)
    first = np.array([0, 1000, 3000])
    found = phase_factor(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, first, method="grid")
    for i in (0, 1):
        part = slice(first[i], first[i + 1])
        assert relative_error(found[i],
                              oracle(uvw, FREQUENCY, lmn[:, part],
                                     coefficient[:, part])) < TOLERANCE
    value = (RNG.normal(size=(time.size, 10))
             + 1j * RNG.normal(size=(time.size, 10))).astype(np.complex64)
    sums = position_sums(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, value, method="grid")
    wanted = position_sums(uvw, ant1, ant2, time, FREQUENCY, lmn, coefficient, value,
                           method="direct")
    assert np.abs(sums - wanted).std() < TOLERANCE * wanted.std()


def test_grid_is_chosen_for_many_positions_alone(monkeypatch):
    from uvstack.uv import phase

    used = []
    monkeypatch.setattr(phase, "gridded_factor", lambda uvw, frequency,
                        *rest: used.append(1) or np.zeros((uvw.shape[0], 10), np.complex64))
    uvw, ant1, ant2, time = vla_rows(n_times=40)
    for n, wanted in ((900, 0), (30_000, 1)):
        lmn = far_corner(n)
        phase_factor(uvw, ant1, ant2, time, FREQUENCY, lmn, np.ones((10, n)))
        assert len(used) == wanted


def test_expansion_in_frequency_needs_few_terms_and_gives_up_on_steps():
    coefficient = beam_like(sky(200))
    terms, factors = expansion(FREQUENCY, coefficient, 10)
    assert terms.shape[0] < 8
    assert terms.T @ factors == pytest.approx(coefficient, rel=1e-4)
    assert expansion(FREQUENCY, RNG.uniform(1, 2, (10, 50)), 5) is None
    assert expansion(FREQUENCY, np.ones((10, 50)), 1)[0].shape[0] == 1


def test_unknown_method():
    with pytest.raises(ValueError, match='wanted "auto", "antenna", "direct" or "grid"'):
        phase_factor(*(x[:1] for x in vla_rows(1)), FREQUENCY, sky(1), np.ones((10, 1)),
                     method="fast")
