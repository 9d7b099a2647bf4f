"""UVMultiFit's call on small sets of known truth.

Its keywords, its results, its faults that are not here, its test cases.
"""

import dataclasses
import inspect
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import factories
import oracles
from factories import ARCSEC, CENTRE, RR, XX, Spw, edit, make_ms, offset, read
from places import ROOT
from uvstack.errors import FitError, SelectionError, UvstackWarning
from uvstack.fitting.model.data import checked_data
from uvstack.fitting.model.model import make_model
from uvstack.fitting.model.normal import normal_equations
from uvstack.fitting.multifit.call import Keywords, timerange_of, uvmultifit, windows_of
from uvstack.fitting.multifit.fringe import fringe_start
from uvstack.fitting.solve.solver import solve

sys.path.insert(0, str(ROOT / "scripts"))

import uvmultifit_cases as cases

#: A point 6″ east and 4″ north, 0.5 Jy.
EAST, NORTH, FLUX = 6.0, 4.0, 0.5
POINT = (*offset(EAST * ARCSEC, NORTH * ARCSEC), FLUX)
ONE = {"OneFitPerChannel": False, "p_ini": [5.0, 5.0, 0.3]}
#: Single precision of visibilities of 1 Jy, and offsets in direction cosines over 1″, not angles:
#: 1e-6 of 10″.
EXACT = {"rtol": 2e-5}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """The default outfile falls into the working directory, as in UVMultiFit."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def point(tmp_path):
    return str(make_ms(tmp_path / "point.ms", sources=[POINT]))


@pytest.fixture
def noisy(tmp_path):
    return str(make_ms(tmp_path / "noisy.ms", sources=[POINT], noise=0.05,
                       weights={"WEIGHT": 400.0, "SIGMA": 0.05}))


def test_keywords_order_and_defaults_are_those_of_version_3():
    # Facts of the published call (NordicARC/uvmultifit.py, 3.0-p2).
    expected = dict(vis="", spw="0", column="data", field=0, scans=[], uniform=False, chanwidth=1,
                    timewidth=1, stokes="I", write="", MJDrange=[-1.0, -1.0], ldfac=1.22,
                    model=["delta"], var=["p[0], p[1], p[2]"], p_ini=[0.0, 0.0, 1.0],
                    phase_center="", fixed=[], fixedvar=[], scalefix="1.0", outfile="modelfit.dat",
                    NCPU=4, pbeam=False, dish_diameter=0.0, gridpix=0, OneFitPerChannel=True,
                    bounds=None, cov_return=False, finetune=False, uvtaper=0.0, method="levenberg",
                    wgt_power=1.0, LMtune=[1e-3, 10.0, 1e-5, 200, 1e-3], SMPtune=[1e-4, 1e-1, 200],
                    only_flux=False, proper_motion=0.0, HankelOrder=80, phase_gains={},
                    amp_gains={})
    assert dataclasses.asdict(Keywords()) == expected
    assert list(inspect.signature(uvmultifit).parameters) == list(expected)


def test_one_fit_of_a_point(point):
    found = uvmultifit(vis=point, cov_return=True, **ONE).result
    np.testing.assert_allclose(found["Parameters"], [EAST, NORTH, FLUX], **EXACT)
    assert set(found) == {"Frequency", "Parameters", "Uncertainties", "Reduced Chi squared", "Fit",
                          "Degrees of Freedom", "covariance"}
    assert found["Frequency"] == 1.4e9
    np.testing.assert_allclose(np.sqrt(np.diag(found["covariance"])), found["Uncertainties"],
                               rtol=1e-12)


def test_the_object_is_the_mapping_of_its_results(point):
    made = uvmultifit(vis=point, cov_return=True, **ONE)
    assert isinstance(made, Mapping)
    np.testing.assert_allclose(made["Parameters"], [EAST, NORTH, FLUX], **EXACT)
    assert all(made[key] is made.result[key] for key in made)
    assert list(made) == list(made.keys()) == list(made.result)
    assert "Reduced Chi squared" in made
    assert "Chi" not in made
    assert made.get("Chi", 3) == 3
    assert dict(**made).keys() == made.result.keys()
    assert len(made) == len(made.items()) == len(made.values()) == 7
    with pytest.raises(KeyError, match="there are Frequency, Parameters"):
        made["Chi"]
    later = uvmultifit(vis=point, finetune=True, **ONE)
    assert later
    assert "Parameters" not in later
    with pytest.raises(KeyError, match="call fit"):
        later["Parameters"]
    assert later.fit()
    assert later["Parameters"] == pytest.approx(made["Parameters"])
    assert made != later
    assert len({made, later}) == 2


def test_uncertainties_are_the_scatter_and_not_its_root_two(tmp_path):
    # Of 40 noises the rms of 120 pulls is 1 within 4/√240 = 0.26; UVMultiFit's √2 would make it
    # 0.71.
    ms = make_ms(tmp_path / "m.ms", sources=[POINT], n_times=1)
    sky, rng, pulls = read(ms, "DATA"), np.random.default_rng(7), []
    for _ in range(40):
        edit(ms, "DATA",
             lambda _: sky
             + 0.05 * (rng.standard_normal(sky.shape) + 1j * rng.standard_normal(sky.shape)))
        found = uvmultifit(str(ms), **ONE).result
        pulls.append((found["Parameters"] - [EAST, NORTH, FLUX]) / found["Uncertainties"])
    assert 0.74 < np.sqrt(np.mean(np.square(pulls))) < 1.26


def test_real_and_imaginary_parts_are_counted(noisy):
    # 21 baselines, 4 times, 3 channels; hands averaged have half the variance and twice the weight.
    found = uvmultifit(vis=noisy, **ONE).result
    assert found["Degrees of Freedom"] == 2 * 21 * 4 * 3 - 3
    assert found["Reduced Chi squared"] == pytest.approx(1.0, abs=4 * np.sqrt(2 / 501))


def test_a_fit_a_channel_is_listed_by_spectral_window(tmp_path):
    spws = (Spw(1.4e9, 10e6, 3), Spw(1.6e9, 20e6, 2))
    ms = str(make_ms(tmp_path / "two.ms", spws=spws, sources=[POINT]))
    found = uvmultifit(vis=ms, spw="0,1", p_ini=[5.0, 5.0, 0.3]).result
    assert [values.shape for values in found["Parameters"]] == [(3, 3), (2, 3)]
    np.testing.assert_allclose(found["Frequency"][0], spws[0].frequency)
    np.testing.assert_allclose(found["Frequency"][1], spws[1].frequency)
    np.testing.assert_allclose(np.concatenate(found["Parameters"]),
                               np.tile([EAST, NORTH, FLUX], (5, 1)), **EXACT)
    lines = [line for line in Path("modelfit.dat").read_text().splitlines()
             if not line.startswith("#")]
    np.testing.assert_allclose([float(line.split()[0]) for line in lines],
                               np.concatenate([s.frequency for s in spws]))


def test_each_spectral_window_keeps_its_frequencies(tmp_path):
    # A single averaged frequency would shift the point by the ratio of frequencies, 15 %.
    ms = str(make_ms(tmp_path / "two.ms", spws=(Spw(1.2e9, 10e6, 2), Spw(1.6e9, 10e6, 2)),
                     sources=[POINT]))
    np.testing.assert_allclose(uvmultifit(vis=ms, spw="0,1", **ONE).result["Parameters"],
                               [EAST, NORTH, FLUX], **EXACT)


def test_the_table_holds_the_result(point, tmp_path):
    made = uvmultifit(vis=point, outfile=str(tmp_path / "fit.txt"), **ONE)
    table = np.loadtxt(tmp_path / "fit.txt")
    np.testing.assert_allclose(table[1:-1:2], made.result["Parameters"], rtol=1e-9)
    np.testing.assert_allclose(table[2:-1:2], made.result["Uncertainties"], rtol=1e-9)
    assert not Path("modelfit.dat").exists()


def test_finetune_waits_and_attributes_count_at_the_fit(point):
    made = uvmultifit(vis=point, finetune=True, **ONE)
    assert made.result == {}
    assert not Path("modelfit.dat").exists()
    assert made.readData()
    assert made.initData()
    made.var, made.p_ini = "6.0, p[0], p[1]", [5.0, 0.3]
    made.initModel()
    assert made.fit(save_file=False)
    np.testing.assert_allclose(made.result["Parameters"], [NORTH, FLUX], **EXACT)
    assert not Path("modelfit.dat").exists()


def test_weights_that_are_only_relative_do_not_stop_the_fit_early(tmp_path):
    # Weights 10⁸ times too small, errors by them 10⁴ times too large: a step of 10⁻³ of these would
    # be 10 σ.
    ms = make_ms(tmp_path / "m.ms", sources=[POINT], noise=0.05,
                 weights={"WEIGHT": 400.0, "SIGMA": 0.05})
    right = uvmultifit(vis=str(ms), **ONE).result
    edit(ms, "WEIGHT", lambda weight: weight * 1e-8)
    relative = uvmultifit(vis=str(ms), **ONE).result
    np.testing.assert_allclose(relative["Parameters"], right["Parameters"],
                               atol=2e-3 * right["Uncertainties"].min())
    np.testing.assert_allclose(relative["Uncertainties"], right["Uncertainties"], rtol=1e-3)


def test_a_mosaic_is_one_sky(tmp_path):
    """Case 4 through the call: pointings turned to one phase centre with w, each with its beam.

    Truth in exact directions.
    """
    width = 1.0 * 299_792_458.0 / 1.5e9 / 25.0
    beam = oracles.gaussian_beam(width, 1.5e9)
    fields = [offset(east * 720 * ARCSEC, north * 720 * ARCSEC) for east in (-1, 1)
              for north in (-1, 1)]
    sky = [(*offset(900 * ARCSEC, -600 * ARCSEC), 1.0), (*offset(-300 * ARCSEC, 800 * ARCSEC), 2.0)]
    ms = make_ms(tmp_path / "mosaic.ms", fields=fields, sources=sky, beam=beam,
                 spws=(Spw(1.5e9, 50e6, 2),), scale=1 / 36, noise=1e-3,
                 weights={"WEIGHT": 1e6, "SIGMA": 1e-3})
    l, m, _ = np.array([oracles.cosines(ra, dec, *CENTRE) for ra, dec, _ in sky]).T
    ra, dec = np.rad2deg(CENTRE).tolist()
    found = uvmultifit(vis=str(ms), field="", model=["delta"] * 2,
                       var=["900+p[0], -600+p[1], p[2]", "-300+p[3], 800+p[4], p[5]"],
                       p_ini=[0, 0, 0.8] * 2, bounds=[[-5, 5], [-5, 5], [0, None]] * 2,
                       phase_center=f"J2000 {ra}deg {dec}deg", pbeam=True, dish_diameter=25.0,
                       ldfac=1.0, OneFitPerChannel=False).result
    truth = [l[0] / ARCSEC - 900, m[0] / ARCSEC + 600, 1.0, l[1] / ARCSEC + 300,
             m[1] / ARCSEC - 800, 2.0]
    pulls = (found["Parameters"] - truth) / found["Uncertainties"]
    assert np.abs(pulls).max() < 3.5, pulls
    assert found["Uncertainties"][2] < 2e-4
    assert found["Reduced Chi squared"] == pytest.approx(1.0, abs=0.1)


def test_chi_square_at_given_parameters(noisy):
    made = uvmultifit(vis=noisy, **ONE)
    best = made.result["Parameters"]
    at_best = made.chiSquare(best)
    assert at_best == pytest.approx(made.result["Reduced Chi "
                                                "squared"] * made.result["Degrees of Freedom"],
                                    rel=1e-6)
    # A step of one error along a parameter raises χ² by error² H_ii, here by the definition Σ w
    # |ΔV|² of a flux alone.
    step = 0.1
    n = 21 * 4 * 3
    assert made.chiSquare([*best[:2], best[2] + step]) - at_best == pytest.approx(
        n * 800.0 * step**2, rel=1e-4)


def test_two_objects_share_nothing(point):
    start = [5.0, 5.0, 0.3]
    first = uvmultifit(vis=point, finetune=True, OneFitPerChannel=False, p_ini=start)
    second = uvmultifit(vis=point, finetune=True)
    first.p_ini[0] = 7.0
    first.model.append("disc")
    first.LMtune[3] = 1
    first.phase_gains[0] = "p[0]"
    assert start == [5.0, 5.0, 0.3]
    assert dataclasses.asdict(second) == dataclasses.asdict(Keywords()) | {"vis": point,
                                                                           "finetune": True}
    assert uvmultifit(vis=point, finetune=True).model == ["delta"]


def test_fixed_components_count_without_gains(tmp_path):
    other = (*offset(-30 * ARCSEC, 20 * ARCSEC), 2.0)
    ms = str(make_ms(tmp_path / "two.ms", sources=[POINT, other]))
    found = uvmultifit(vis=ms, fixed=["delta"], fixedvar=["-30.0, 20.0, 2.0"], **ONE)
    # The fixed one stands where offsets are direction cosines: 30″ from the centre they differ from
    # angles by 1e-8.
    np.testing.assert_allclose(found.result["Parameters"], [EAST, NORTH, FLUX], rtol=1e-3)
    with_numbers = uvmultifit(vis=ms, fixed="delta", fixedvar=[-30, 20, 2], **ONE)
    np.testing.assert_array_equal(found.result["Parameters"], with_numbers.result["Parameters"])


def test_a_model_column_is_scaled(tmp_path):
    ms = make_ms(tmp_path / "m.ms", sources=[POINT], data_columns=("DATA", "MODEL_DATA"))
    edit(ms, "DATA", lambda v: v * 1.5 + 0.25)
    found = uvmultifit(vis=str(ms), fixed=["model_column"], scalefix="p[1]", var="0,0,p[0]",
                       p_ini=[0.0, 1.0], OneFitPerChannel=False)
    np.testing.assert_allclose(found.result["Parameters"], [0.25, 1.5], **EXACT)


def test_only_flux_is_exact_whatever_the_start(tmp_path):
    # Two fluxes in noise: the weighted least squares of plain numpy, not 9 σ from it.
    other = (*offset(-30 * ARCSEC, 20 * ARCSEC), 2.0)
    ms = make_ms(tmp_path / "two.ms", sources=[POINT, other], noise=0.3)
    found = uvmultifit(vis=str(ms), model=["delta"] * 2,
                       var=["6.0, 4.0, p[0]", "-30.0, 20.0, p[1]"], p_ini=[50.0, -3.0],
                       only_flux=True, OneFitPerChannel=False, stokes="RR").result
    uvw, vis, frequency = read(ms, "UVW"), read(ms, "DATA")[:, :, 0], Spw().frequency
    columns = []
    for east, north in ((6.0, 4.0), (-30.0, 20.0)):
        l, m = east * ARCSEC, north * ARCSEC
        path = uvw @ [l, m, np.sqrt(1 - l * l - m * m) - 1]
        columns.append(np.exp(2j * np.pi * np.outer(path, frequency) / 299_792_458.0).ravel())
    matrix = np.concatenate([np.array(columns).T.real, np.array(columns).T.imag])
    expected = np.linalg.lstsq(matrix, np.concatenate([vis.real.ravel(), vis.imag.ravel()]),
                               rcond=None)[0]
    np.testing.assert_allclose(found["Parameters"], expected,
                               atol=1e-4 * found["Uncertainties"].min())


def test_flagged_channels_of_rows_do_not_enter(point):
    def spoil(vis):
        vis[:30, 1] = 1e3

    def flag(flags):
        flags[:30, 1] = True

    edit(point, "DATA", spoil)
    edit(point, "FLAG", flag)
    np.testing.assert_allclose(uvmultifit(vis=point, **ONE).result["Parameters"],
                               [EAST, NORTH, FLUX], **EXACT)


def test_w_counts_far_from_the_centre(tmp_path):
    # 0.36° off axis UVMultiFit's term is 0.42″ off.
    east = 0.36 * 3600
    ms = make_ms(tmp_path / "far.ms", sources=[(*offset(east * ARCSEC, 0.0), 1.0)], scale=1.0)
    ra, dec = offset(east * ARCSEC, 0.0)
    l = np.cos(dec) * np.sin(ra - CENTRE[0])
    m = np.sin(dec) * np.cos(CENTRE[1]) - np.cos(dec) * np.sin(CENTRE[1]) * np.cos(ra - CENTRE[0])
    found = uvmultifit(vis=str(ms), p_ini=[l / ARCSEC + 0.2, m / ARCSEC - 0.2, 0.8],
                       OneFitPerChannel=False).result["Parameters"]
    np.testing.assert_allclose(found, [l / ARCSEC, m / ARCSEC, 1.0], atol=1e-3)


def test_stokes_column_phase_centre_and_averaging(tmp_path):
    ms = make_ms(tmp_path / "m.ms", sources=[POINT], correlations=(XX, 12),
                 data_columns=("DATA", "CORRECTED_DATA"))
    edit(ms, "CORRECTED_DATA", lambda v: v * 2)
    there = {"vis": str(ms), "column": "corrected", "stokes": "XX", "OneFitPerChannel": False}
    np.testing.assert_allclose(uvmultifit(p_ini=[5, 5, 0.3], **there).result["Parameters"],
                               [EAST, NORTH, 2 * FLUX], **EXACT)
    ra, dec = np.rad2deg(POINT[:2]).tolist()
    centred = uvmultifit(phase_center=f"J2000 {ra}deg {dec}deg", p_ini=[1, -1, 0.3], chanwidth=3,
                         timewidth=2, **there)
    # Averages over 30 MHz and 20 s lose nothing at the phase centre.
    np.testing.assert_allclose(centred.result["Parameters"], [0, 0, 2 * FLUX], atol=1e-4)
    assert centred.result["Degrees of Freedom"] < 2 * 21 * 2 + 21


def test_primary_beam_is_gaussian_of_ldfac(tmp_path):
    # 10′ off axis: A = exp(−4 ln 2 (θ/(ldfac λ/D))²).
    source = (*offset(600 * ARCSEC, 0.0), 1.0)
    ms = make_ms(tmp_path / "m.ms", sources=[source], spws=(Spw(1.4e9, 10e6, 1),))
    found = uvmultifit(vis=str(ms), pbeam=True, dish_diameter=25.0, ldfac=1.0,
                       p_ini=[600.0, 0.0, 1.0], OneFitPerChannel=False)
    width = 299_792_458.0 / 1.4e9 / 25.0
    assert found.result["Parameters"][2] == pytest.approx(np.exp(4 * np.log(2)
                                                                 * (600 * ARCSEC / width) ** 2),
                                                          rel=1e-4)


def test_uniform_weights(tmp_path):
    # Half the rows say 1 Jy, half 2 Jy with a hundred times the weight.
    ms = make_ms(tmp_path / "m.ms", sources=[(*CENTRE, 1.0)], n_times=2)
    half = read(ms, "ANTENNA1").size // 2

    def double(vis):
        vis[half:] *= 2

    def heavy(weight):
        weight[half:] *= 100

    edit(ms, "DATA", double)
    edit(ms, "WEIGHT", heavy)
    one = {"vis": str(ms), "var": "0,0,p[0]", "p_ini": [1.0], "OneFitPerChannel": False}
    assert uvmultifit(**one).result["Parameters"][0] == pytest.approx(201 / 101, rel=1e-5)
    assert uvmultifit(uniform=True, **one).result["Parameters"][0] == pytest.approx(1.5, rel=1e-5)
    assert uvmultifit(wgt_power=0.5,
                      **one).result["Parameters"][0] == pytest.approx(21 / 11, rel=1e-5)


def test_the_taper_is_a_half_width_at_half_maximum_of_weights(tmp_path):
    ms = make_ms(tmp_path / "m.ms", sources=[(*CENTRE, 1.0)])
    q = np.hypot(*read(ms, "UVW").T[:2])
    edit(ms, "DATA", lambda vis: vis * np.where(q > np.median(q), 2.0, 1.0)[:, None, None])
    width = float(np.median(q))
    found = uvmultifit(vis=str(ms), var="0,0,p[0]", p_ini=[1.0], uvtaper=width,
                       OneFitPerChannel=False).result["Parameters"][0]
    weight = 0.5 ** (q / width) ** 2
    assert found == pytest.approx(np.average(np.where(q > width, 2.0, 1.0), weights=weight),
                                  rel=1e-5)


def test_times_are_selected(tmp_path):
    # The third integration alone holds another flux; the range is in MJD.
    ms = make_ms(tmp_path / "m.ms", sources=[(*CENTRE, 1.0)])
    times = read(ms, "TIME")
    third = np.unique(times)[2]

    def brighter(vis):
        vis[times == third] = 3.0

    edit(ms, "DATA", brighter)
    days = [(third - 5) / 86400, (third + 5) / 86400]
    found = uvmultifit(vis=str(ms), MJDrange=days, var="0,0,p[0]", p_ini=[1.0],
                       OneFitPerChannel=False)
    assert found.result["Parameters"][0] == pytest.approx(3.0, rel=1e-5)


def test_gains_are_solved_with_the_source(tmp_path):
    ms = make_ms(tmp_path / "m.ms", sources=[(*CENTRE, 1.0)], n_times=6)
    ant1, ant2, time = read(ms, "ANTENNA1"), read(ms, "ANTENNA2"), read(ms, "TIME") - factories.FIRST_TIME

    def corrupt(vis):
        amplitude = np.where((ant1 == 2) | (ant2 == 2), 1.2 - 0.004 * time, 1.0)
        phase = 0.3 * ((ant1 == 1) * 1.0 - (ant2 == 1))
        return vis * (amplitude * np.exp(1j * phase))[:, None, None]

    edit(ms, "DATA", corrupt)
    # 1.2 falls to 1.0 over the 50 s: UVMultiFit's pieceWise would be 1.0 throughout.
    asked = {"vis": str(ms), "var": "0,0,p[0]", "p_ini": [0.8, 1.0, 1.1, 0.0],
             "OneFitPerChannel": False, "phase_gains": {1: "p[3]"}}
    found = uvmultifit(amp_gains={2: "pieceWise(p[1], p[2], 0, 50)"}, **asked)
    np.testing.assert_allclose(found.result["Parameters"], [1.0, 1.2, 1.0, 0.3], rtol=1e-5)
    split = uvmultifit(amp_gains={"tG": {2: "p[1] + p[2]*t/100"}, "nuG": {2: "1 + 0*np.sqrt(nu)"}},
                       **asked)
    np.testing.assert_allclose(split.result["Parameters"], [1.0, 1.2, -0.4, 0.3], rtol=1e-5)


def test_lorentzians_stand_in_variables(tmp_path):
    # There LorentzLine in var is an AttributeError.
    spw = Spw(1.4e9, 1e6, 40)
    ms = make_ms(tmp_path / "m.ms", sources=[(*CENTRE, 1.0)], spws=(spw,), n_times=1)
    line = 2.0 / (1 + (2 * (spw.frequency - 1.42e9) / 6e6) ** 2)
    edit(ms, "DATA", lambda vis: vis * line[:, None])
    found = uvmultifit(vis=str(ms), var="0,0,LorentzLine(p[0]*1e9, p[1], p[2]*1e6)",
                       p_ini=[1.418, 1.0, 4.0], OneFitPerChannel=False)
    np.testing.assert_allclose(found.result["Parameters"], [1.42, 2.0, 6.0], rtol=1e-4)


@pytest.mark.parametrize(("keyword", "fragment"),
                         [({"method": "simplex"}, "Levenberg"), ({"HankelOrder": 200}, "exact"),
                          ({"gridpix": 4}, "no effect"),
                          ({"LMtune": [1e-4, 10.0, 1e-6, 10, 1e-3]}, "χ² tolerance"),
                          ({"SMPtune": [1e-3, 0.1, 10]}, "simplex"),
                          ({"uniform": True, "wgt_power": 0.5}, "uniform")])
def test_options_that_mean_nothing_here_say_so(point, keyword, fragment):
    with pytest.warns(UvstackWarning, match=fragment) as told:
        found = uvmultifit(vis=point, **keyword, **ONE)
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    np.testing.assert_allclose(found.result["Parameters"], [EAST, NORTH, FLUX], **EXACT)


def test_a_nu0_that_changes_with_the_channel_is_told(point):
    with pytest.warns(UvstackWarning, match="nu0"):
        uvmultifit(vis=point, var="p[0],p[1],p[2]*(nu/nu0)", p_ini=[5, 5, 0.3])


@pytest.mark.parametrize(("keyword", "error", "fragment"),
                         [({"phase_centre": "x"}, FitError, "phase_center"),
                          ({"OnefitPerChannel": False}, FitError, "OneFitPerChannel"),
                          ({"method": "simpleks"}, FitError, "simplex"),
                          ({"write": "residual"}, FitError, "residuals"),
                          ({"scans": [1]}, SelectionError, "MJDrange"),
                          ({"spw": "0:5~20"}, SelectionError, "channel ranges"),
                          ({"spw": ["0", "1"]}, SelectionError, "set to set"),
                          ({"pbeam": True}, FitError, "dish_diameter"),
                          ({"pbeam": True, "dish_diameter": {"DA": 12.0, "CM": 7.0}}, FitError,
                           "7, 12 m"), ({"p_ini": [1.0]}, FitError, "wanted 3"),
                          ({"model": "gausian"}, FitError, "gaussian"),
                          ({"proper_motion": 1.0}, FitError, "RA, Dec"),
                          ({"amp_gains": {"nuG": {0: "p[3]"}, 1: "p[3]"}}, FitError, "beside"),
                          ({"MJDrange": [1.0]}, SelectionError, "two MJD"),
                          ({"vis": ""}, SelectionError, "vis is empty"),
                          ({"var": "p[0],p[1]"}, FitError, "flux")])
def test_what_cannot_be_is_one_clear_line(keyword, error, fragment):
    with pytest.raises(error, match=fragment) as told:
        uvmultifit(**({"vis": "some.ms", "finetune": True} | keyword))
    assert "\n" not in str(told.value)


def test_what_is_not_kept_says_where_it_is(point):
    made = uvmultifit(vis=point, finetune=True)
    with pytest.raises(AttributeError, match="not kept"):
        made.averdata  # noqa: B018
    with pytest.raises(FitError, match="fringe_start"):
        made.QuinnFF(0, 1, 1, 1)
    with pytest.raises(FitError, match="nuidx"):
        made.fit(nuidx=2)
    with pytest.raises(FitError, match="wanted 3"):
        made.chiSquare([1.0])


def test_windows_and_times_as_text():
    assert windows_of("0,2~4") == ["0", "2", "3", "4"]
    assert windows_of("") == [""]
    assert windows_of("0,wide*") == ["0,wide*"]
    assert timerange_of([-1.0, -1.0]) is None
    assert timerange_of([58849.5,
                         58849.75]) == "2020/01/01T12:00:00.000000~2020/01/01T18:00:00.000000"
    assert timerange_of([0, 58849.5]) == "<2020/01/01T12:00:00.000000"


def test_residuals_are_written(tmp_path):
    ms = make_ms(tmp_path / "m.ms", sources=[POINT], data_columns=("DATA", "CORRECTED_DATA"))
    uvmultifit(vis=str(ms), write="residuals", **ONE)
    assert np.abs(read(ms, "CORRECTED_DATA")).max() < 1e-5
    uvmultifit(vis=str(ms), write="model", **ONE)
    np.testing.assert_allclose(read(ms, "MODEL_DATA"), read(ms, "DATA"), atol=1e-5)


# The eight cases of UVMultiFit's own test suite, thinned; scripts/uvmultifit_cases.py runs them at
# full size.

@pytest.mark.parametrize("number", [1, 3, 4, 5, 6, 7, 8])
def test_case_of_the_suite_is_fitted_to_truth(number):
    make, thin = cases.CASES[number]
    (case,) = make(**thin)
    found = case.fitted(1)
    assert found.converged
    # 5 fits of up to 48 parameters: 4.2 σ is met once in 40 000.
    pulls = np.array([case.pulls(found), *cases.seeded_pulls(case, 4)])
    assert np.abs(pulls).max() < 4.2
    assert 0.6 < np.sqrt(np.mean(pulls**2)) < 1.5


def test_a_hole_is_found_from_afar_where_its_effect_may_vanish():
    # At low SNR the way from UVMultiFit's start leads over holes of size 0, where the model has no
    # slope by it; without a second try from there 26 of 60 fits end with χ² 20 above what a start
    # at the truth finds, and plain damped steps take 50 passes.
    (case,) = cases.case_3(n_chan=5, duration=60.0)
    rows = cases.track(cases.casa_array("alma.out10", "alma.cycle8.5"), cases.DEC_SOUTH, 60.0, 10.0)
    nu, sigma = 150e9 + 0.2e9 * np.arange(5), 12 * case.sigma
    model = make_model(["disc", "disc", "Gaussian"], cases.HOLE, nu[0])
    limits = np.array([[0, 0, 0, -15, 0, 0], [np.inf] * 3 + [15] + [np.inf] * 2])
    passes, worse = [], 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        vis = case.vis + sigma * (rng.standard_normal(case.vis.shape)
                                  + 1j * rng.standard_normal(case.vis.shape))
        data = checked_data(rows.uvw, nu, vis, np.full(vis.shape, sigma**-2))
        found, best = (solve(lambda p, data=data: normal_equations(data, model, p), start, limits)
                       for start in (case.start, case.truth))
        worse += found.normal.chi_squared > best.normal.chi_squared + 0.01
        passes.append(found.n_passes)
    assert worse == 0
    assert np.median(passes) <= 20


def test_seven_shapes_of_the_suite_are_fitted_to_truth():
    made = cases.case_2(n_chan=4, duration=60.0)
    assert len(made) == 28
    pulls = np.concatenate([case.pulls(case.fitted(seed)) for seed, case in enumerate(made)])
    assert np.abs(pulls).max() < 4.2
    assert 0.75 < np.sqrt(np.mean(pulls**2)) < 1.25


def test_a_case_of_the_suite_through_the_call(tmp_path):
    """Case 6 in a measurement set: arrays and sets agree to rounding."""
    (case,) = cases.case_6(n_chan=2, duration=20.0)
    rows = cases.track(cases.casa_array("alma.out10", "alma.cycle8.5"), cases.DEC_SOUTH, 20.0, 10.0)
    n_ant = int(rows.antenna2.max()) + 1
    ms = make_ms(tmp_path / "m.ms", n_ant=n_ant if n_ant <= 27 else 27, n_times=1,
                 spws=(Spw(150e9, 5e8, 2),), correlations=(RR, 8))
    uvw = read(ms, "UVW")
    here = cases.Track(uvw, np.zeros(len(uvw)), read(ms, "ANTENNA1"), read(ms, "ANTENNA2"))
    vis = cases.predict(here, Spw(150e9, 5e8, 2).frequency,
                        [{"shape": "Gaussian", "flux": 1.0, "major": 0.02},
                         {"shape": "Gaussian", "flux": 0.5, "major": 0.04, "dec": -0.15}])
    edit(ms, "DATA", lambda _: np.repeat(vis[:, :, None], 2, axis=2).astype(np.complex64))
    found = uvmultifit(vis=str(ms), model=["Gaussian"] * 2,
                       var=["0.,0.,p[0],p[1],1.,0.", "0.,p[2],p[3],p[4],1.,0."],
                       p_ini=[0.7, 0.026, -0.14, 0.6, 0.05],
                       bounds=[[0, None], [0, None], [-15, 15], [0, None], [0, None]],
                       OneFitPerChannel=False)
    np.testing.assert_allclose(found.result["Parameters"], [1.0, 0.02, -0.15, 0.5, 0.04], rtol=1e-4)
    assert case.title.startswith("6")


def _fringes(delay, rate, phase, nu, seconds):
    first, second = np.triu_indices(len(delay), 1)
    time = np.repeat(seconds, first.size)
    ant1, ant2 = np.tile(first, seconds.size), np.tile(second, seconds.size)
    angle = 2 * np.pi * (np.outer(nu - nu[0], delay) + time[:, None, None] * rate) + phase
    index = np.arange(time.size)
    return np.exp(1j * (angle[index, :, ant1] - angle[index, :, ant2])), time, ant1, ant2


def test_fringes_are_found_between_the_places_of_the_transform():
    nu, seconds = 1.4e9 + 4e6 * np.arange(64), 2.0 * np.arange(50)
    delay, rate, phase = np.array([0.0, 3.3e-9,
                                   -71.7e-9]), np.array([0.0, 0.0213,
                                                         -0.0337]), np.array([0.0, 1.0, -2.5])
    vis, time, ant1, ant2 = _fringes(delay, rate, phase, nu, seconds)
    found = fringe_start(vis, np.ones(vis.shape), nu, time, ant1, ant2, 0)
    # A parabola through places a quarter of the resolution (1/256 MHz, 1/100 s) apart is good to 2
    # % of the resolution.
    np.testing.assert_allclose(found.delay, delay, atol=0.02 / 256e6)
    np.testing.assert_allclose(found.rate, rate, atol=0.02 / 100)
    np.testing.assert_allclose(found.phase, phase, atol=0.15)
    assert found.snr[1] == pytest.approx(np.sqrt(64 * 50), rel=0.01)


def test_a_fringe_search_goes_by_model_weights_and_reference():
    nu, seconds = 1.4e9 + 4e6 * np.arange(32), 2.0 * np.arange(20)
    delay, rate, phase = np.array([2e-9, -9e-9, 30e-9,
                                   0.0]), np.array([0.01, -0.02, 0.0,
                                                    0.0]), np.array([0.3, -0.9, 2.0, 0.0])
    vis, time, ant1, ant2 = _fringes(delay, rate, phase, nu, seconds)
    model = np.exp(2j * np.pi * np.outer(time, nu) / 1e11)
    weight = np.ones(vis.shape)
    weight[(ant1 == 3) | (ant2 == 3)] = 0
    vis, vis[3, 4], weight[3, 4] = vis * model, np.nan, 0
    found = fringe_start(vis, weight, nu, time, ant1, ant2, 1, model=model)
    np.testing.assert_allclose(found.delay[:3], delay[:3] - delay[1], atol=0.02 / 128e6)
    np.testing.assert_allclose(found.rate[:3], rate[:3] - rate[1], atol=0.02 / 40)
    assert np.isnan(found.delay[3])
    gaps = np.setdiff1d(np.arange(32), [3, 4, 17])[::-1]
    falling = fringe_start(vis[:, gaps], weight[:, gaps], nu[gaps], time, ant1, ant2, 1,
                           model=model[:, gaps], nu0=nu[0])
    np.testing.assert_allclose(falling.delay[:3], found.delay[:3], atol=0.01 / 128e6)
    np.testing.assert_allclose(falling.phase[:3], found.phase[:3], atol=0.1)
    with pytest.raises(FitError, match="another reference"):
        fringe_start(vis, weight, nu, time, ant1, ant2, 3)
    with pytest.raises(FitError, match="evenly"):
        fringe_start(vis, weight, nu + 1e6 * (nu > nu[20]), time, ant1, ant2, 1)


def test_no_warning_by_default(point):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uvmultifit(vis=point, finetune=True)
