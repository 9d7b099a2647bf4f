"""Fits to measurement sets.

Truth comes back through every option that changes what is read, turned, averaged or weighted.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable

import oracles
import uvstack
from factories import (
    ARCSEC,
    CENTRE,
    LL,
    LR,
    RL,
    RR,
    XX,
    XY,
    YX,
    YY,
    Spw,
    edit,
    make_ms,
    offset,
    read,
)
from uvstack.errors import FitError, InvalidVisibilityWarning, NoDataError, UvstackError
from uvstack.fitting.data.averaging import Rows, average
from uvstack.fitting.data.preparation import uvw_rate
from uvstack.io.ms import read_structure
from uvstack.io.write_columns import column_writer

DEGREE = np.pi / 180
#: DATA is complex64: a part in 1e7 of each visibility, far less of a fit to hundreds.
SINGLE = 1e-6
GAUSS = "p[0],p[1],p[2],p[3],1,0"


def observed(path, sources, *, noise=0.0, seed=3, columns=("DATA",), beam=None, weight=1.0,
             **recipe):
    """A set whose parallel hands hold components after `oracles.predict_components`, with noise."""
    recipe = {"n_ant": 7, "n_times": 4} | recipe
    ms = make_ms(path, data_columns=columns, weights={"WEIGHT": weight, "SIGMA": 1.0}, **recipe)
    centres = recipe.get("fields", (CENTRE,))
    uvw, field_id, description, frequency = (read(ms, "UVW"), read(ms, "FIELD_ID"),
                                             read(ms, "DATA_DESC_ID"),
                                             read(ms, "CHAN_FREQ", "SPECTRAL_WINDOW"))
    rng = np.random.default_rng(seed)

    def fill(vis):
        for f, centre in enumerate(centres):
            for d in np.unique(description):
                here = (field_id == f) & (description == d)
                vis[here] = oracles.predict_components(uvw[here], frequency[d], sources, *centre,
                                                       beam)[:, :, None]
        return vis + noise * (rng.standard_normal(vis.shape) + 1j * rng.standard_normal(vis.shape))

    for column in columns:
        edit(ms, column, fill)
    return ms


def source(east=0.0, north=0.0, flux=1.0, major=0.0, centre=CENTRE, **more):
    """A Gaussian at an offset in arcsec whose FWHM is in arcsec."""
    ra, dec = offset(east * ARCSEC, north * ARCSEC, centre)
    shape = "gaussian" if major else "point"
    return {"ra": ra, "dec": dec, "flux": flux, "shape": shape, "major": major * ARCSEC,
            "minor": major * ARCSEC} | more


def cosines(one, centre=CENTRE):
    """RA and Dec of a model, arcsec: direction cosines over 1″."""
    l, m, _ = oracles.cosines(one["ra"], one["dec"], *centre)
    return float(l / ARCSEC), float(m / ARCSEC)


TWO_FIELDS = {"fields": (CENTRE, offset(30 * ARCSEC, -20 * ARCSEC)),
              "spws": (Spw(1.4e9, 20e6, 3), Spw(1.9e9, -30e6, 3)), "shuffle": True}


def test_fields_and_windows_with_falling_frequencies_are_one_fit(tmp_path):
    truth = source(12.0, -7.0, 2.0, 4.0, alpha=-0.7, at=1.5e9)
    ms = observed(tmp_path / "a.ms", [truth], **TWO_FIELDS)
    found = uvstack.fit(ms, var="p[0],p[1],p[2]*(nu/1.5e9)**p[4],p[3],1,0", p_ini=(10, -5, 1, 3, 0),
                        column="DATA")
    assert found.parameters[:2] == pytest.approx(cosines(truth), abs=1e-5)
    assert found.parameters[2:] == pytest.approx([2.0, 4.0, -0.7], rel=1e-5)
    assert found.n_visibilities == read(ms, "DATA").shape[0] * 3
    # One field and window alone, and both sets given twice.
    one = uvstack.fit(ms, var="p[0],p[1],p[2]*(nu/1.5e9)**-0.7,p[3],1,0", p_ini=(-17, 12, 1, 3),
                      field="1", spw="1")
    assert one.n_visibilities == found.n_visibilities // 4
    assert one.parameters == pytest.approx([*(np.array(cosines(truth, TWO_FIELDS["fields"][1]))),
                                            2.0, 4.0], rel=1e-5)
    twice = uvstack.fit([ms, ms], var="p[0],p[1],p[2]*(nu/1.5e9)**p[4],p[3],1,0",
                        p_ini=(10, -5, 1, 3, 0))
    assert twice.n_visibilities == 2 * found.n_visibilities


def test_defaults_start_from_the_data_and_end_at_the_truth(tmp_path):
    truth = source(0, 0, 0.02, 6.0, angle=2.5) | {"minor": 3.0 * ARCSEC}
    ms = observed(tmp_path / "a.ms", [truth], n_ant=12, noise=1e-3, weight=1e6)
    found = uvstack.fit(ms, circular=False, offset=True)
    assert found.names == ("ra", "dec", "flux", "fwhm", "ratio", "position_angle")
    expected = [0, 0, 0.02, 6.0, 0.5, np.rad2deg(2.5) - 180]
    assert (np.abs(found.parameters - expected) < 4 * found.errors).all()
    assert found.converged
    # Weights are right here: the errors from the scatter are those from the weights, but for
    # 1/√(2n) of themselves.
    weighted = uvstack.fit(ms, circular=False, offset=True, scale_errors=False)
    assert found.errors == pytest.approx(weighted.errors, rel=4 / np.sqrt(4 * found.n_visibilities))
    # And stay so where weights are wrong by a factor.
    edit(ms, "WEIGHT", lambda w: w * 1e-4)
    again = uvstack.fit(ms, circular=False, offset=True)
    assert again.errors == pytest.approx(found.errors, rel=1e-3)


def test_flags_in_part_of_a_row_nan_and_zero_weights_leave_nothing_behind(tmp_path):
    truth = source(3.0, 2.0, 1.5, 5.0)
    ms = observed(tmp_path / "a.ms", [truth], n_times=6)
    rng = np.random.default_rng(1)
    bad = rng.random(read(ms, "DATA").shape) < 0.3
    edit(ms, "FLAG", lambda flag: bad)
    nan = np.zeros(bad.shape, bool)
    nan[5, 1, 0] = True
    nan &= ~bad

    def spoil(vis):
        vis[bad] = 1e6
        vis[5, 1, 0] = np.nan
        return vis

    edit(ms, "DATA", spoil)
    edit(ms, "WEIGHT", lambda w: np.where(np.arange(len(w))[:, None] < 4, 0, w).astype(np.float32))
    kwargs = {"var": GAUSS, "p_ini": (2, 2, 1, 4)}
    if nan.any():
        with pytest.warns(InvalidVisibilityWarning, match="1 unflagged"):
            found = uvstack.fit(ms, **kwargs)
    else:
        found = uvstack.fit(ms, **kwargs)
    assert found.parameters == pytest.approx([*cosines(truth), 1.5, 5.0], rel=1e-5)
    good = ~(bad | nan).any(axis=2)
    good[:4] = False
    assert found.n_visibilities == good.sum()


POLARISED = {"I": 1.0, "Q": 0.3, "U": -0.2, "V": 0.1}


@pytest.mark.parametrize("correlations",
                         [(RR, RL, LR, LL), (XX, XY, YX, YY), (YY, YX, XY, XX), (1, 2, 3, 4)])
def test_every_stokes_parameter_has_its_value_and_error(tmp_path, correlations):
    ms = make_ms(tmp_path / "a.ms", correlations=correlations, n_ant=5, n_times=2)
    names = {1: "I", 2: "Q", 3: "U", 4: "V", RR: "RR", RL: "RL", LR: "LR", LL: "LL", XX: "XX",
             XY: "XY", YX: "YX", YY: "YY"}
    i, q, u, v = POLARISED.values()
    # Hamaker & Bregman (1996), written out anew.
    value = POLARISED | {"RR": i + v, "LL": i - v, "RL": q + 1j * u, "LR": q - 1j * u, "XX": i + q,
                         "YY": i - q, "XY": u + 1j * v, "YX": u - 1j * v}
    edit(ms, "DATA",
         lambda vis: np.broadcast_to([value[names[c]] for c in correlations],
                                     vis.shape).astype(np.complex64))
    weight = np.array([1.0, 2.0, 4.0, 5.0])
    edit(ms, "WEIGHT", lambda w: np.broadcast_to(weight, w.shape).astype(np.float32))
    of = dict(zip((names[c] for c in correlations), weight, strict=True))
    pairs = {"I": ("RR", "LL") if RR in correlations else ("XX", "YY"),
             "Q": ("RL", "LR") if RR in correlations else ("XX", "YY"),
             "U": ("RL", "LR") if RR in correlations else ("XY", "YX"),
             "V": ("RR", "LL") if RR in correlations else ("XY", "YX")}
    for stokes, wanted in POLARISED.items():
        found = uvstack.fit(ms, model="delta", stokes=stokes, scale_errors=False)
        assert found.flux == pytest.approx(wanted, abs=SINGLE)
        one = of[stokes] if 1 in correlations else 4 / sum(1 / of[name] for name in pairs[stokes])
        assert found.flux_error == pytest.approx((found.n_visibilities * one) ** -0.5, rel=1e-5)
    for name in of.keys() & {"RR", "LL", "XX", "YY"}:
        assert uvstack.fit(ms, model="delta",
                           stokes=name.lower()).flux == pytest.approx(value[name].real, abs=SINGLE)


def test_one_hand_is_enough_for_pi_and_not_for_i(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0)])

    def flag(values):
        values[::2, :, 0] = True

    edit(ms, "FLAG", flag)
    both, any_hand = (uvstack.fit(ms, model="delta", stokes=s, scale_errors=False)
                      for s in ("I", "PI"))
    assert any_hand.n_visibilities == 2 * both.n_visibilities
    # Unit weights: 2 for each visibility of both hands, 1 for one hand.
    assert both.flux_error == pytest.approx((2 * both.n_visibilities) ** -0.5, rel=1e-5)
    assert any_hand.flux_error == pytest.approx((3 * both.n_visibilities) ** -0.5, rel=1e-5)
    single = observed(tmp_path / "b.ms", [source(flux=1.0)], correlations=(RR,))
    assert uvstack.fit(single, model="delta", stokes="PI").flux == pytest.approx(1.0, abs=SINGLE)
    with pytest.raises(UvstackError, match="I wants I or RR and LL or XX and YY"):
        uvstack.fit(single, model="delta")


def test_a_source_far_off_axis_is_found_with_w_wherever_the_phase_centre(tmp_path):
    far = 0.36 * 3600
    truth = source(0.8 * far, 0.6 * far, 1.0)
    ms = observed(tmp_path / "a.ms", [truth], scale=1.0, n_times=6)
    near = cosines(truth)
    # From the field's own centre: direction cosines, to a hundredth of what UVMultiFit misses.
    found = uvstack.fit(ms, model="delta", offset=True, p_ini=(near[0] + 0.05, near[1] - 0.05, 0.9))
    assert found.parameters[:2] == pytest.approx(near, abs=1e-3)
    # Turned there.
    centre = (truth["ra"] - 0.3 * ARCSEC / np.cos(truth["dec"]), truth["dec"])
    text = SkyCoord(*centre, unit="rad", frame="fk5").to_string("hmsdms", precision=9)
    for where in (centre, "J2000 " + text, SkyCoord(*centre, unit="rad", frame="fk5").icrs):
        found = uvstack.fit(ms, model="delta", offset=True, phase_centre=where)
        assert found.parameters == pytest.approx([0.3, 0.0, 1.0], abs=1e-4)


def test_the_primary_beam_of_each_field_gives_the_flux_of_the_sky(tmp_path):
    beam = oracles.gaussian_beam(4 * 60 * ARCSEC, 1.4e9)
    truth = source(60.0, 30.0, 1.0)
    fields = (CENTRE, offset(100 * ARCSEC, 0), offset(0, 100 * ARCSEC))
    ms = observed(tmp_path / "a.ms", [truth], beam=beam, fields=fields, spws=(Spw(1.4e9, 50e6, 4),))
    start = (60.1, 29.9, 0.5)
    found = uvstack.fit(ms, model="delta", offset=True, p_ini=start,
                        primary_beam="gaussian:4arcmin@1.4GHz")
    assert found.parameters == pytest.approx([*cosines(truth), 1.0], abs=1e-4)
    bare = uvstack.fit(ms, model="delta", offset=True, p_ini=start)
    assert bare.flux < 0.9


def test_written_columns_hold_model_and_residual_of_every_selected_row(tmp_path):
    truth = source(12.0, -7.0, 2.0, 4.0)
    ms = observed(tmp_path / "a.ms", [truth], **TWO_FIELDS)
    before = read(ms, "DATA")
    centre = (CENTRE[0] + 20 * ARCSEC, CENTRE[1])
    options = {"offset": True, "p_ini": (*cosines(truth, centre), 1.9, 3.9), "phase_centre": centre}
    uvstack.fit(ms, **options, write="residual")
    uvstack.fit(ms, **options, write="model", into="FITTED", chanwidth=3, timewidth=2,
                bandwidth_smearing=True)
    # Noiseless: what remains is the rounding of complex64, of values up to 2 Jy.
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < 1e-6
    # Fitted to averages, the model is off by what their curvature takes, not by a phase.
    assert np.abs(read(ms, "FITTED") - before).max() < 2e-3
    assert (read(ms, "DATA") == before).all()
    assert any("residual written to RESIDUAL_DATA" in message
               for message in read(ms, "MESSAGE", "HISTORY"))
    # Rows that are not selected keep the data in a residual, and are 0 in a model.
    for what in ("residual", "model"):
        uvstack.fit(ms, **options, field="0", spw="1", write=what, into=what.upper())
    others = (read(ms, "FIELD_ID") != 0) | (read(ms, "DATA_DESC_ID") != 1)
    assert (read(ms, "RESIDUAL")[others] == before[others]).all()
    assert (read(ms, "MODEL")[others] == 0).all()
    assert np.abs(read(ms, "MODEL")[~others] - before[~others]).max() < 1e-6


def test_a_column_that_exists_is_written_only_when_told(tmp_path, fingerprint):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0)])
    before = fingerprint(ms)
    with pytest.raises(UvstackError, match="column DATA is what is fitted; choose another .*overwrite_column=True"):
        uvstack.fit(ms, model="delta", write="residual", into="DATA")
    with pytest.raises(UvstackError, match="holds double values"):
        uvstack.fit(ms, model="delta", write="model", into="UVW", overwrite_column=True)
    with pytest.raises(UvstackError, match="write"):
        uvstack.fit(ms, model="delta", into="DATA")
    uvstack.fit(ms, model="delta")
    assert fingerprint(ms) == before
    uvstack.fit(ms, model="delta", write="residual", into="DATA", overwrite_column=True)
    assert np.abs(read(ms, "DATA")).max() < 1e-6


def test_columns_are_added_with_either_back_end(tmp_path, tables):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0)])
    uvstack.fit(ms, model="delta", write="model")
    assert read(ms, "MODEL_DATA") == pytest.approx(read(ms, "DATA"), abs=1e-6)


def test_a_new_column_is_removed_when_writing_fails(tmp_path, tables):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0)])
    values = read(ms, "DATA")[:3]

    def interrupted():
        with column_writer(ms, "HALF", "DATA", None) as write:
            write(np.arange(3), values)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "HALF" not in read_structure(ms).columns


def test_gains_are_solved_by_name_and_divided_out(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(2.0, 1.0, 1.0)], n_times=8)
    first, second = read(ms, "ANTENNA1"), read(ms, "ANTENNA2")
    time = read(ms, "TIME") - read(ms, "TIME").min()
    clean = read(ms, "DATA")
    amplitude, phase = np.where(np.arange(7) == 3, 1.2, 1.0), 0.4 + 0.01 * time
    gain = amplitude[first] * amplitude[second] * np.exp(1j * phase
                                                         * ((first == 5) * 1.0 - (second == 5)))
    edit(ms, "DATA", lambda vis: vis * gain[:, None, None])
    found = uvstack.fit(ms, model="delta", var="p[0],p[1],p[2]", p_ini=(2, 1, 1, 1, 0, 0),
                        amp_gains={"VA03": "p[3]"}, phase_gains={5: "p[4]+p[5]*t"},
                        write="calibrated")
    assert found.parameters[2:] == pytest.approx([1.0, 1.2, 0.4, 0.01], abs=1e-5)
    assert read(ms, "CALIBRATED_DATA") == pytest.approx(clean, abs=1e-5)


def test_averages_keep_their_true_frequencies_and_baselines(tmp_path):
    truth = source(4.0, 3.0, 1.0, alpha=-0.8, at=1.4e9)
    ms = observed(tmp_path / "a.ms", [truth], spws=(Spw(1.4e9, 10e6, 16),), n_times=6)
    rng = np.random.default_rng(0)
    n = read(ms, "DATA").shape[0]
    # Half of the rows have lost the upper half of each group of 8 channels; others bits at random.
    flag = np.zeros((n, 16, 2), bool)
    flag[np.ix_(np.arange(0, n, 2), [4, 5, 6, 7, 12, 13, 14, 15])] = True
    flag[np.arange(0, n, 3), rng.integers(0, 16, len(range(0, n, 3)))] = True
    edit(ms, "FLAG", lambda _: flag)
    options = {"model": "delta", "var": "p[0],p[1],p[2]*(nu/1.4e9)**p[3]", "p_ini": (4, 3, 1, 0)}
    found = uvstack.fit(ms, **options, chanwidth=8, timewidth=3)
    # Curvature of the spectrum over 80 MHz: α(α−1)/24 (Δν/ν)² = 2e-4 of the flux.
    assert found.parameters[:2] == pytest.approx(cosines(truth), abs=2e-3)
    assert found.parameters[2] == pytest.approx(1.0, abs=4e-4)
    assert found.parameters[3] == pytest.approx(-0.8, abs=4e-3)
    assert found.n_visibilities < read(ms, "DATA").shape[0] * 16 / 8


def test_average_is_the_weighted_mean_of_a_plain_loop():
    rng = np.random.default_rng(5)
    n, chan = 60, 7
    time = np.repeat(np.arange(12), 5) * 10.0
    vis = (rng.standard_normal((n, chan))
           + 1j * rng.standard_normal((n, chan))).astype(np.complex64)
    weight = (rng.random((n, chan)) * (rng.random((n, chan)) < 0.8)).astype(np.float32)
    antenna2 = np.tile(np.arange(1, 6), 12)
    rows = Rows(rng.standard_normal((n, 3)), 1e9 + 1e6 * np.arange(chan), np.full(chan, 1e6),
                1e9 + 1e6 * np.arange(chan), vis, weight, time, np.full(n, 10.0), np.zeros(n, int),
                antenna2)
    parts = average(rows, 3, 4)
    wanted = {}
    for group in range(3):
        for label in {(int(t // 40), int(a), tuple(w > 0))
                      for t, a, w in zip(time, antenna2, weight, strict=True)}:
            here = [i for i in range(n)
                    if (int(time[i] // 40), int(antenna2[i]), tuple(weight[i] > 0)) == label]
            cells = [(i, c) for i in here for c in range(3 * group, min(3 * group + 3, chan))
                     if weight[i, c] > 0]
            if cells:
                w = np.array([weight[cell] for cell in cells], float)
                mean = sum(weight[cell] * vis[cell] for cell in cells) / w.sum()
                wanted[group, label[:2], round(w.sum(), 6)] = mean, sum(
                    weight[i, c] * rows.frequency[c] for i, c in cells) / w.sum()
    found = 0
    for part in parts:
        for i, c in zip(*np.nonzero(part.weight > 0), strict=True):
            group = int(np.flatnonzero(np.isclose([1.001e9, 1.004e9, 1.006e9], part.nominal[c]))[0])
            label = (int(part.time[i] // 40), int(part.antenna2[i]))
            match = [v for k, v in wanted.items()
                     if k[:2] == (group, label) and abs(k[2] - part.weight[i, c]) < 1e-5]
            assert len(match) == 1
            assert part.vis[i, c] == pytest.approx(match[0][0], abs=1e-5)
            # Parted to 1/64 of the 3 MHz of a group.
            assert part.frequency[c] == pytest.approx(match[0][1], abs=3e6 / 64)
            found += 1
    assert found == len(wanted)


def test_what_averages_lose_is_predicted(tmp_path):
    truth = source(200.0, -150.0, 1.0)
    # 8 MHz channels of 0.5 MHz and 60 s of 10 s, summed by the average: both lose several per cent
    # there.
    ms = observed(tmp_path / "a.ms", [truth], scale=0.6, spws=(Spw(1.4e9, 0.5e6, 16),), n_times=6,
                  n_ant=7)
    options = {"model": "delta", "offset": True, "p_ini": (*cosines(truth), 1.0), "chanwidth": 16,
               "timewidth": 6}
    lossy = uvstack.fit(ms, **options)
    full = uvstack.fit(ms, **options, bandwidth_smearing=True, time_smearing=True)
    assert lossy.flux < 0.93
    # The sum of 16 channels (6 times) is a sinc to 1/16² (1/36) of what it loses; the oracle's
    # channels have no width.
    assert full.flux == pytest.approx(1.0, abs=0.3 * (1 - lossy.flux) / 6)


def test_channels_one_by_one_in_memory_or_not(tmp_path):
    truth = source(1.0, 1.0, 1.0, alpha=-1.0, at=1.4e9)
    ms = observed(tmp_path / "a.ms", [truth], **TWO_FIELDS)
    kept, read_anew = (uvstack.fit(ms, model="delta", offset=True, per_channel=True, memory=m)
                       for m in (1e9, 2e4))
    frequency = np.sort(np.concatenate([s.frequency for s in TWO_FIELDS["spws"]]))
    assert [r.frequency for r in kept] == pytest.approx(frequency)
    assert [r.flux for r in kept] == pytest.approx(1.4e9 / frequency, rel=1e-5)
    for a, b in zip(kept, read_anew, strict=True):
        assert (a.parameters == b.parameters).all()
    averaged = uvstack.fit(ms, model="delta", offset=True, per_channel=True, chanwidth=3)
    assert len(averaged) == 2


def test_threads_processes_and_memory_change_no_bit(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(2.0, 1.0, 1.0, 4.0)], noise=0.1, n_times=6,
                  **TWO_FIELDS)
    options = {"var": GAUSS, "p_ini": (1, 1, 1, 3), "bootstrap": 10, "seed": 1, "chunk_size": 700}
    first = uvstack.fit(ms, **options, threads=1)
    for other in ({"threads": 4}, {"memory": 0}, {"workers": 2, "memory": 0}):
        again = uvstack.fit(ms, **options, **other)
        assert (again.parameters == first.parameters).all()
        assert (again.errors == first.errors).all()
        assert (again.bootstrap == first.bootstrap).all()
        assert (again.profile.sums.sums == first.profile.sums.sums).all()


def test_binned_and_exact_agree(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(0, 0, 1.0, 5.0)], noise=0.05, n_ant=14, n_times=12,
                  spws=(Spw(1.4e9, 10e6, 4),))
    exact, binned = (uvstack.fit(ms, method=m) for m in ("exact", "auto"))
    assert binned.method == "binned"
    assert (np.abs(binned.parameters - exact.parameters) < 0.003 * exact.errors).all()
    # The profile made from sums is that made from the data, its bins being fine.
    a, b = (r.profile.table() for r in (exact, binned))
    assert (np.abs(a["re"] - a["model_re"]).mean()
            - np.abs(b["re"] - b["model_re"]).mean()).value == pytest.approx(0, abs=2e-3)
    assert a["count"].sum() == b["count"].sum() == exact.n_visibilities
    with pytest.raises(FitError, match="binned wants round"):
        uvstack.fit(ms, method="binned", circular=False)


def test_intervals_of_sizes_know_of_tapers(tmp_path):
    """Half the interval of a size of many errors is the error of H⁻¹ J H⁻¹; that of H⁻¹ is a tenth shorter or more."""
    ms = observed(tmp_path / "a.ms", [source(major=30.0)], noise=0.05, weight=1 / 0.05**2)
    for scale in (True, False):
        found = uvstack.fit(ms, uvtaper="0.3km", scale_errors=scale)
        error = found.errors[found.names.index("fwhm")]
        for share, (low, high) in ((1.0, found.intervals_68["fwhm"]),
                                   (1.96, found.intervals_95["fwhm"])):
            assert 0.5 * (high - low) == pytest.approx(share * error, rel=0.04)
        assert abs(found.parameters[1] - 30.0) < 4 * error < 10.0


def test_tapered_weights_have_right_errors(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0)], noise=0.5, weight=1 / 0.25)
    uvw = read(ms, "UVW")
    # Both hands together, three channels.
    w = np.full(len(uvw) * 3, 8.0)
    taper = np.repeat(np.exp(-(uvw[:, 0] ** 2 + uvw[:, 1] ** 2) / (2 * 800.0**2)), 3)
    found = uvstack.fit(ms, model="delta", uvtaper="0.8km", scale_errors=False)
    assert found.flux_error == pytest.approx(np.sqrt(np.sum(w * taper**2)) / np.sum(w * taper),
                                             rel=1e-5)
    vis = read(ms, "DATA").mean(axis=2).real.ravel()
    assert found.flux == pytest.approx(np.sum(taper * vis) / np.sum(taper), rel=1e-5)
    scaled = uvstack.fit(ms, model="delta", uvtaper="0.8km")
    assert scaled.flux_error == pytest.approx(found.flux_error, rel=0.2)
    edit(ms, "WEIGHT",
         lambda values: values * np.linspace(0.1, 1, len(values))[:, None].astype(np.float32))
    power = uvstack.fit(ms, model="delta", weight_power=0.5, scale_errors=False)
    w = np.repeat(8 * np.linspace(0.1, 1, len(uvw)), 3)
    assert power.flux_error == pytest.approx(np.sqrt(w.size) / np.sum(np.sqrt(w)), rel=1e-4)


def test_bootstrap_sees_noise_and_what_varies_with_time(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0)], noise=0.3, n_ant=10, n_times=40)
    quiet = uvstack.fit(ms, model="delta", bootstrap=400, seed=2)
    # 40 blocks: an error to 1/√80 = 11 %.
    assert quiet.bootstrap_errors[0] == pytest.approx(quiet.flux_error, rel=0.35)
    time = read(ms, "TIME")
    wobble = 1 + 0.2 * np.random.default_rng(0).standard_normal(40)[
        np.unique(time, return_inverse=True)[1]]
    edit(ms, "DATA", lambda vis: vis * wobble[:, None, None])
    restless = uvstack.fit(ms, model="delta", bootstrap=400, seed=2)
    # The mean of 40 fluxes that scatter by 0.2, noise beside it.
    expected = np.hypot(np.std(wobble[np.unique(time, return_index=True)[1]]) / np.sqrt(40),
                        quiet.flux_error)
    assert restless.bootstrap_errors[0] == pytest.approx(expected, rel=0.35)
    assert restless.bootstrap_errors[0] > 1.5 * restless.flux_error


@pytest.mark.filterwarnings("ignore:the chains of")
def test_the_posterior_is_that_of_the_normal_matrix_where_it_is_gaussian_and_stays_positive(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0, major=6.0)], noise=0.1, weight=100.0,
                  n_ant=10, n_times=10)
    found = uvstack.fit(ms, bayes=300, seed=4, scale_errors=False)
    # 12 walkers × 150 steps over some 15 of autocorrelation: 120 samples, 9 % of a standard
    # deviation.
    assert (np.abs(found.samples.mean(axis=0) - found.parameters) < 0.4 * found.errors).all()
    assert found.samples.std(axis=0) == pytest.approx(found.errors, rel=0.3)
    assert np.corrcoef(found.samples.T)[0, 1] == pytest.approx(found.correlation[0, 1], abs=0.2)
    assert "posterior" in str(found)
    # Of an unresolved size: the 95 % of posterior and likelihood differ by their definitions, not
    # by much.
    rng = np.random.default_rng(7)
    edit(ms, "DATA", lambda vis: (1 + 0.3 * rng.standard_normal((2, *vis.shape)).T @ [1, 1j]).T.reshape(vis.shape).astype(np.complex64))
    small = uvstack.fit(ms, bayes=300, seed=1)
    assert small.samples[:, 1].min() >= 0
    assert np.percentile(small.samples[:, 1], 95) == pytest.approx(small.upper_limits["fwhm"],
                                                                   rel=0.5)


def test_the_turn_of_the_earth_is_that_of_the_tracks(tmp_path):
    ms = make_ms(tmp_path / "a.ms", n_times=3)
    uvw = read(ms, "UVW").reshape(3, -1, 3)
    # A difference over 20 s: the third order is (ω 10 s)²/6 = 1e-7 of the change.
    assert uvw_rate(uvw[1], CENTRE[1]) == pytest.approx((uvw[2] - uvw[0]) / 20.0, abs=1e-6)


def test_fixed_columns_and_components_are_added_and_scaled(tmp_path):
    known, wanted = source(20.0, 5.0, 0.5, 3.0), source(-3.0, 2.0, 1.0)
    ms = observed(tmp_path / "a.ms", [known, wanted], columns=("DATA", "MODEL_DATA"))
    model = observed(tmp_path / "b.ms", [known])
    edit(ms, "MODEL_DATA", lambda _: 2 * read(model, "DATA"))
    options = {"model": "delta", "var": "p[0],p[1],p[2]", "p_ini": (-3, 2, 1)}
    l, m = cosines(known)
    column = uvstack.fit(ms, **options | {"p_ini": (-3, 2, 1, 0.3)}, fixed="MODEL_DATA",
                         scalefix="p[3]")
    assert column.parameters == pytest.approx([*cosines(wanted), 1.0, 0.5], abs=1e-5)
    shape = uvstack.fit(ms, **options, fixed="gaussian", fixedvar=f"{l!r},{m!r},0.5,3,1,0",
                        write="residual")
    assert shape.parameters == pytest.approx([*cosines(wanted), 1.0], abs=1e-5)
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < 2e-6
    without = uvstack.fit(ms, **options)
    assert abs(without.flux - 1.0) > 1e-3


def test_proper_motion_moves_the_model(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0)], n_times=10)
    uvw, time = read(ms, "UVW"), read(ms, "TIME")
    speed = np.array([0.05, -0.03])  # arcsec a second

    def fill(vis):
        l, m = (np.array([2.0, 1.0])[:, None] + speed[:, None] * (time - time.min())) * ARCSEC
        path = uvw[:, 0] * l + uvw[:, 1] * m + uvw[:, 2] * (np.sqrt(1 - l * l - m * m) - 1)
        turns = np.outer(path, Spw().frequency) / oracles.LIGHT
        return np.broadcast_to(np.exp(2j * np.pi * turns)[:, :, None],
                               vis.shape).astype(np.complex64)

    edit(ms, "DATA", fill)
    found = uvstack.fit(ms, model="delta", offset=True, p_ini=(2, 1, 1),
                        proper_motion=[speed * 365.25 * 86400])
    assert found.parameters == pytest.approx([2.0, 1.0, 1.0], abs=1e-5)


def test_only_fluxes_are_solved_in_one_step(tmp_path):
    one, two = source(5.0, 0.0, 1.0, 4.0), source(-6.0, 3.0, 0.4)
    ms = observed(tmp_path / "a.ms", [one, two], noise=0.02)
    var = ["p[0],p[1],p[2],p[3],1,0", "p[4],p[5],p[6]"]
    start = (*cosines(one), 0.1, 4.0, *cosines(two), 0.1)
    found = uvstack.fit(ms, model=["gaussian", "delta"], var=var, p_ini=start, only_flux=True)
    assert found.parameters[[0, 1, 3, 4, 5]] == pytest.approx(np.array(start)[[0, 1, 3, 4, 5]],
                                                              rel=1e-12)
    assert (np.abs(found.parameters[[2, 6]] - [1.0, 0.4]) < 4 * found.errors[[2, 6]]).all()
    # The same as the linear least squares of the two columns.
    l, m = cosines(one)
    numbers = [f"{l!r},{m!r},p[0],4,1,0", "{!r},{!r},p[1]".format(*cosines(two))]
    linear = uvstack.fit(ms, model=["gaussian", "delta"], var=numbers, p_ini=(0, 0))
    assert found.parameters[[2, 6]] == pytest.approx(linear.parameters,
                                                     abs=1e-3 * linear.errors.min())
    assert found.errors[[2, 6]] == pytest.approx(linear.errors, rel=1e-2)


@pytest.mark.drawn
def test_a_result_is_drawn_and_saved(tmp_path):
    ms = observed(tmp_path / "a.ms", [source(flux=1.0, major=4.0)], noise=0.1)
    found = uvstack.fit(ms)
    found.plot(tmp_path / "fit.png")
    found.save(tmp_path / "fit.json")
    assert json.loads((tmp_path
                       / "fit.json").read_text())["parameters"][1]["value"] == found.parameters[1]
    assert (QTable.read(tmp_path / "fit-uv_profile.ecsv")["count"]
            == found.profile.table()["count"]).all()
    assert repr(found).startswith("<FitResult: flux ")
    assert "\n" not in repr(found)
    assert (tmp_path / "fit.png").read_bytes()[:4] == b"\x89PNG"
    assert "fwhm" in str(found)
    assert found.provenance.inputs["ms"] == [str(ms)]
    # The weighted mean residual of the whole profile is no more than its error.
    table = found.profile.table()
    pulls = ((table["re"] - table["model_re"]) / table["re_error"]).value
    assert np.abs(pulls).max() < 5
    assert np.sqrt(np.mean(pulls**2)) == pytest.approx(1.0, abs=0.6)


@pytest.fixture(scope="module")
def plain_set(tmp_path_factory):
    return observed(tmp_path_factory.mktemp("bad") / "a.ms", [source(flux=1.0, major=5.0)],
                    noise=0.01)


@pytest.mark.parametrize(("options", "message"),
                         [({"model": "gausian"}, "nearest is gaussian"),
                          ({"var": "p[0],p[1]", "p_ini": (1, 1)}, "6"),
                          ({"var": GAUSS, "p_ini": (1, 1)}, "wanted 4"),
                          ({"p_ini": (1, 5), "bounds": [(0, 2), (0, 2)]},
                           "fwhm starts at 5, outside its bounds 0 to 2"),
                          ({"model": ["delta", "delta"], "var": ["0,0,p[0]*2", "p[1],0,p[2]"]},
                           "p_ini"),
                          ({"column": "CORRECTED_DATA"},
                           "CORRECTED_DATA does not exist; there are: DATA"),
                          ({"stokes": "W"}, "stokes='W': 'W' is unknown"),
                          ({"stokes": "IQUV"}, "a fit is of one"),
                          ({"stokes": "U"}, "no selected spectral window"),
                          ({"uvmin": "900km"}, "within the uv range above 900000 m"),
                          ({"uvmin": "fat"}, "uvmin"), ({"field": "7"}, "has no field"),
                          ({"var": GAUSS, "p_ini": (1, 1, 1, 1, 1), "amp_gains": {"VA99": "p[4]"}},
                           "no antenna VA99"),
                          ({"var": GAUSS, "p_ini": (1, 1, 1, 1), "nu0": 1.4},
                           "nu0 is 1.4 Hz and the data are from 1.395 to 1.425 GHz"),
                          ({"amp_gains": {3: "p[2]"}}, "gains and scalefix want var"),
                          ({"phase_centre": "somewhere"}, "phase_centre"),
                          ({"phase_centre": (CENTRE[0] + np.pi, -CENTRE[1])}, "90° or more"),
                          ({"chanwidth": 0}, "chanwidth is 0"),
                          ({"bootstrap": 1}, "bootstrap is 1"),
                          ({"method": "bined"}, "did you mean binned"),
                          ({"fixed": "delta", "fixedvar": "0,0,p[3]"}, "numbers alone"),
                          ({"fixed": "OTHER_DATA"}, "OTHER_DATA does not exist"),
                          ({"var": GAUSS, "scalefix": "p[4]"}, "scalefix without"),
                          ({"uvtaper": "5klambda"}, "in wavelengths"),
                          ({"proper_motion": [(1, 2), (3, 4)]}, "for 1 components"),
                          ({"write": "modl"}, "did you mean model"),
                          ({"write": "model", "per_channel": True}, "cannot be combined"),
                          ({"primary_beam": "vlaa"}, "did you mean"),
                          ({"bayes": 10}, "at least 100 steps"),
                          ({"only_flux": True, "var": GAUSS}, "p_ini"),
                          ({"bootstrap": 10}, "at least 5 times")])
def test_bad_input_is_one_clear_line(plain_set, options, message):
    with pytest.raises(UvstackError) as error:
        uvstack.fit(plain_set, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_everything_flagged_and_degenerate_parameters_are_told(tmp_path, plain_set):
    found = uvstack.fit(plain_set, model="delta", var="0,0,p[0]+p[1]", p_ini=(0.3, 0.3))
    assert "p[0] and p[1] are degenerate" in found.degenerate
    assert np.isnan(found.errors).all()
    assert "degenerate" in str(found)
    ms = observed(tmp_path / "a.ms", [source(flux=1.0)])
    edit(ms, "FLAG_ROW", lambda flag: ~flag)
    with pytest.raises(NoDataError, match="no unflagged visibility"):
        uvstack.fit(ms)


def test_the_published_stack_is_unresolved_with_its_published_flux(tmp_path, real_data):
    if not (real_data / "stacker_testdata.ms").is_dir():
        pytest.skip("real data: no stacker_testdata.ms")
    out = tmp_path / "s.ms"
    stacked = uvstack.stack(real_data / "stacker_testdata.ms",
                            real_data / "stacker_testdata_positions.csv", out=out, uvmin="9km")
    found = uvstack.fit(out, stokes="PI", uvmin="9km", bootstrap=50, seed=1,
                        estimator="likelihood")
    # The size is 0, so that the flux is the mean of the stack, by sums in another order of float32
    # weights.
    assert found.parameters[1] == 0
    assert found.flux == pytest.approx(stacked.flux, rel=1e-4)
    assert found.flux_error == pytest.approx(stacked.flux_error, rel=1e-2)
    assert 0.2 < found.upper_limits["fwhm"] < 2.0
    assert found.bootstrap_errors[0] == pytest.approx(found.flux_error, rel=0.4)
    # By default too, and the same intervals tell that it is not resolved.
    other = uvstack.fit(out, stokes="PI", uvmin="9km", bootstrap=50, seed=1)
    assert other.parameters[1] == 0
    assert other.intervals_95["fwhm"] == pytest.approx(found.intervals_95["fwhm"], rel=3e-3)
    assert other.flux == pytest.approx(found.flux, abs=0.01 * found.flux_error)
    assert other.bootstrap_errors[0] == pytest.approx(other.flux_error, rel=0.5)


def test_several_sources_are_found_from_nothing_in_either_order(tmp_path):
    """Two minima stand beside each other.

    The fainter, pointlike one 12″ off is no part of the Gaussian.
    """
    recipe = {"noise": 0.03, "weight": 0.03**-2, "n_ant": 12, "n_times": 8}
    ms = observed(tmp_path / "a.ms", [source(1.0, 2.0, 1.0, 5.0), source(12.0, -8.0, 0.5)],
                  **recipe)
    truth = {"gaussian": (*cosines(source(1.0, 2.0)), 1.0, 5.0),
             "delta": (*cosines(source(12.0, -8.0)), 0.5)}
    for order in (["gaussian", "delta"], ["delta", "gaussian"]):
        found = uvstack.fit(ms, model=order, offset=True)
        wanted = np.concatenate([truth[name] for name in order])
        assert (np.abs(found.parameters - wanted) < 4 * found.errors).all()
        assert found.reduced_chi_squared == pytest.approx(1.0, abs=0.1)
        assert "does not describe" not in str(found)
    # One shape too few is told.
    assert "the model does not describe the data" in str(uvstack.fit(ms, model="delta"))
    # A single source that is not at the phase centre.
    alone = observed(tmp_path / "b.ms", [source(12.0, -8.0, 0.5)], **recipe)
    assert uvstack.fit(alone, model="delta",
                       offset=True).parameters == pytest.approx(truth["delta"], abs=0.05)


def test_an_ellipse_bears_its_usual_names_whoever_wrote_the_variables(tmp_path):
    """Started as a line across, within bounds as well.

    The ratio is below 1 and the angle within a half turn.
    """
    uvw_ms = observed(tmp_path / "a.ms", [source(flux=1.0)], n_ant=12, n_times=8)
    uvw, nu = read(uvw_ms, "UVW"), Spw().frequency
    u, v = (np.outer(uvw[:, k], nu) / oracles.LIGHT * ARCSEC for k in range(2))
    rng = np.random.default_rng(3)

    def fill(vis):
        square = 36.0 * (u * np.sin(0.6) + v * np.cos(0.6)) ** 2 + 9.0 * (u * np.cos(0.6)
                                                                          - v * np.sin(0.6)) ** 2
        noise = 0.02 * (rng.standard_normal(vis.shape) + 1j * rng.standard_normal(vis.shape))
        return (np.exp(-(np.pi**2) * square / (4 * np.log(2)))[:, :, None]
                + noise).astype(np.complex64)

    edit(uvw_ms, "DATA", fill)
    for bounds in (None, [None, (0, None), (0, None), None], [None, (0, None), (0, 1), (0, 180)]):
        for start in ((1, 3, 1.0, 0.0), (1, 1, 0.9, 120.0)):
            found = uvstack.fit(uvw_ms, var="0,0,p[0],p[1],p[2],p[3]", p_ini=start, bounds=bounds)
            assert (np.abs(found.parameters - (1.0, 6.0, 0.5, np.rad2deg(0.6))) < 4
                    * found.errors).all()
    assert found.kinds == ("flux", "fwhm", "ratio", "position_angle")
    assert "p[1] (fwhm)" in str(found)
    assert "arcsec" in str(found)
    named = uvstack.fit(uvw_ms, circular=False)
    assert named.parameters == pytest.approx(found.parameters, rel=1e-3)
    assert named.errors == pytest.approx(found.errors, rel=1e-2)
