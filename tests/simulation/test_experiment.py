"""The experiment: what a realisation measures, the table, runs that were killed or corrupted, bad input."""

import gzip
import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from factories import ARCMIN, CENTRE, made_up, make_ms, offset
from factories import read as column
from oracles import gaussian_beam, stack
from simulate.experiment import realisation, task
from simulate.experiment.collect import collect, jackknife, markdown
from simulate.experiment.figures import figures_of, mean_profile
from simulate.experiment.realisation import subset_noise
from simulate.experiment.results import read_finished, read_result, result_path, unpack
from simulate.experiment.settings import (
    ARCSEC,
    TYPES,
    Imaging,
    Settings,
    parse_scale,
    parse_types,
    seed_of,
    simulation,
    weighting_options,
)
from simulate.experiment.task import run
from simulate.experiment.uv_side import least_variance, null_sums, uv_edges
from simulate.lindroos import recipe
from uvstack.cli.experiment import command
from uvstack.cli.main import group
from uvstack.errors import OutputError, SchedulerError, SelectionError, UvstackWarning
from uvstack.sky.primary_beam import primary_beam

pytest.importorskip("casacore", reason="python-casacore is not installed")

#: Types 1 and 8 with few visibilities and pixels: a realisation of either takes some 2 s.
TINY = Settings(seed=3, scale=0.2, thin=100, null_lists=4, weightings=("natural",), imagings=(
    (1, Imaging(0.5 * ARCSEC, 640, 20e-6, 2)), (8, Imaging(0.4 * ARCSEC, 320, 2e-3, 1, 32))))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of an experiment done in a loop: two realisations of types 1 and 8."""
    folder = tmp_path_factory.mktemp("experiment") / "loop"
    return folder, run(folder, types=(1, 8), realisations=2, settings=TINY, threads=1)


def read(folder, number, index):
    return json.loads(result_path(folder, number, index).read_text())


# ---------------------------------------------------------------------- what a realisation measures


def test_fluxes_are_the_truth_within_their_errors_and_all_ways_agree(finished):
    _, result = finished
    for number in (1, 8):
        for one in (read(finished[0], number, index) for index in (0, 1)):
            truth, bright = one["truth"]["flux"], one["truth"]["bright_flux"]
            one = one["weightings"]["natural"]
            uv, image = one["uv"], one["image"]
            # Four flux estimates of two sets each: 4 σ is passed by chance once in 2000 runs.
            assert abs(uv["flux"] - truth) < 4 * uv["flux_error"]
            assert abs(uv["least_variance"]["flux"] - uv["flux"]) < 2 * uv["flux_error"]
            # The same data with the same weights: what differs is residuals of the bright source
            # alone.
            assert abs(image["subpixel"]["flux"] - uv["flux"]) < 0.3 * uv["flux_error"]
            assert image["subpixel"]["response"] == pytest.approx(1.0, abs=1e-3)
            # A pixel of a third of the beam smears by some per cent; what is left of the flux is
            # known.
            assert 0.9 < image["nearest"]["response"] < 0.999
            assert image["nearest"]["flux_corrected"] == pytest.approx(
                image["nearest"]["flux"] / image["nearest"]["response"], rel=1.2e-4)
            # Equation 7 from the map and from the weights of visibilities; the map of type 8 holds
            # what is left of bright sources after one cycle, and the targets.
            assert 0.8 < one["expected_error"] / uv["flux_error_expected"] < (
                1.2 if number == 1 else 2.0)
            # Nothing is at random positions; 4 lists.
            assert abs(np.mean(one["null"]["uv"])) < 4 * uv["flux_error"]
            assert one["map"]["model_flux"] == pytest.approx(bright, rel=0.2)
    assert result.table["n"].tolist() == [2, 2]


def test_stamps_of_the_first_set_have_the_stacked_flux_in_their_middle(finished):
    one, other = (read(finished[0], 1, index)["weightings"]["natural"] for index in (0, 1))
    middle = {name: 1e-9 * np.array(one["stamps"][name])[24, 24] for name in ("uv", "uv_cut",
                                                                              "image")}
    # Rounded to nJy of 6 µJy; type 1 has no cut.
    assert middle["uv"] == pytest.approx(one["uv"]["flux"], rel=2e-3)
    assert middle["uv_cut"] == pytest.approx(middle["uv"], rel=1e-3)
    assert middle["image"] == pytest.approx(one["image"]["nearest"]["flux"], rel=1e-3)
    assert "stamps" not in other
    assert "figure3" in figures_of(finished[1].realisations)


@pytest.mark.parametrize("beam", ["constant", "scaled"])
def test_bright_sources_of_a_wide_type_are_taken_off_with_either_beam(tmp_path, beam):
    settings = Settings(seed=6, thin=200, field=0.15, null_lists=2, beam=beam,
                        weightings=("robust0.5",),
                        imagings=((5, Imaging(0.5 * ARCSEC, 600, 10e-6, 6)),))
    one = realisation.realise(settings, 5, 0, tmp_path)["weightings"]["robust0.5"]
    # From some mJy down to the noise of 2.3 µJy and what stands below the threshold, in the image
    # and in the data that are stacked: the uv-stack of a dozen targets has a third of that noise.
    assert one["map"]["rms"] < 4e-6, one["map"]
    assert abs(one["uv"]["flux"]) < 6e-6
    assert one["map"]["components"] > 3


def test_the_profile_averages_to_the_flux(finished):
    one = read(finished[0], 1, 0)["weightings"]["natural"]
    profile = one["uv"]["profile"]
    weight = np.array([0.0 if e is None else e**-2.0 for e in profile["re_error"]])
    mean = np.average([x or 0.0 for x in profile["re"]], weights=weight)
    # Weights from the scatter in each bin, and not from the noise: 10 % of weights of bins that
    # differ by a few σ.
    assert mean == pytest.approx(one["uv"]["flux"], abs=0.3 * one["uv"]["flux_error"])


def test_sums_at_random_positions_are_those_of_plain_loops(tmp_path):
    places = [offset(x * ARCMIN, y * ARCMIN)
              for x, y in ((1, 2), (-3, 0.5), (2, -4), (0.3, 0.1), (-5, 2))]
    beam = gaussian_beam(np.deg2rad(0.5), 1.4e9)
    ms = make_ms(tmp_path / "a.ms",
                 sources=[(*offset(2 * ARCMIN, 1 * ARCMIN), 1.0), (*places[0], 0.5)], noise=0.3,
                 n_times=3, scale=0.3)
    first, weight = np.array([0, 2, 5]), np.array([1.0, 2.0, 0.5, 3.0, 1.5])
    ra, dec = np.array(places).T
    found = null_sums(ms, "DATA", "gaussian:30arcmin@1.4GHz", ra, dec, first, weight, 1)
    uvw, vis = column(ms, "UVW"), column(ms, "DATA").astype(complex)
    frequency = column(ms, "CHAN_FREQ", "SPECTRAL_WINDOW")[0]
    edges, distance = uv_edges(1), np.hypot(uvw[:, 0], uvw[:, 1])
    for i in range(2):
        which = slice(first[i], first[i + 1])
        turned, _ = stack(vis.mean(axis=2), uvw, frequency, places[which], *CENTRE, weight[which],
                          beam)
        for b in range(edges.size - 1):
            here = (distance >= edges[b]) & (distance < edges[b + 1])
            if here.any():
                # Phasors in single precision: 4e-7, sums of a hundred of them in double.
                mean = found.bins[i, b] / found.bin_weight[i, b]
                assert mean[0] + 1j * mean[1] == pytest.approx(turned[here].mean(), abs=2e-6)
        assert found.fluxes(first)[i] == pytest.approx(turned.real.mean(), abs=2e-6)


def test_weights_of_least_variance_pass_over_a_spoilt_bin():
    profile = {"re": [50.0, 1.0, 3.0, None], "re_error": [1.0, 1.0, 1.0, None]}
    found = least_variance(profile, np.array([1e3, 0.5, np.nan, np.nan]))
    # Bins of noise 1e3, 1 (no less than thermal) and 1 (thermal alone): (50e-6 + 1 + 3) / (1e-6 +
    # 2).
    assert found["flux"] == pytest.approx((50e-6 + 4) / (2 + 1e-6))
    assert found["flux_error"] == pytest.approx((2 + 1e-6) ** -0.5)


def test_noise_of_subsets_falls_with_the_root_of_their_number():
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 2.0, 4000)
    value = weight * (3.0 + rng.standard_normal(4000) / np.sqrt(weight))
    for size in (10, 100, 1000):
        # 1/√ΣW with a mean weight of 1.25, also where lists share a quarter; 200 draws know a
        # scatter to 5 %, 4 σ.
        assert subset_noise(value, weight, size, rng) == pytest.approx((1.25 * size) ** -0.5,
                                                                       rel=0.2)


# ---------------------------------------------------------------------------------- the simulations


def test_thinned_simulations_keep_sources_track_and_depth():
    for number in TYPES:
        full, thin = (simulation(Settings(thin=n), number, 5) for n in (1, 10))
        assert len(full["sky"]) == len(thin["sky"])
        assert thin["duration"] == full["duration"]
        if number in (8, 9, 10):
            width = full["frequency"][1] - full["frequency"][0]
            sigma = [one["noise"].sigma(one["frequency"], np.full(one["frequency"].size, w),
                                        6.0).mean() / np.sqrt(one["frequency"].size)
                     for one, w in ((full, width), (thin, 10 * width))]
            assert thin["width"] == pytest.approx(10 * width)
            # The noise is that of the middle of a channel, which is taken as even across it.
            assert sigma[0] == pytest.approx(sigma[1], rel=0.01)
        else:
            assert thin["noise"] * np.sqrt(10) == pytest.approx(full["noise"])
            assert thin["integration"] == 10 * full["integration"]


def test_noise_of_types_8_and_9_is_that_of_the_maps():
    """Not that of 2 mm of water, which type 10 has; a realisation with less is another one."""
    for number, factor in ((8, 4.5), (9, 4.5), (10, 1.0)):
        of_sky, given = recipe(number, 5).settings["noise"], simulation(Settings(), number, 5)
        ratio = given["noise"].sigma(given["frequency"][:1], np.full(1, 1e6), 6.0) / of_sky.sigma(
            given["frequency"][:1], np.full(1, 1e6), 6.0)
        assert ratio == pytest.approx(factor)


def test_narrow_fields_are_thinned_more_at_full_size():
    settings = Settings.asked("full")
    assert [simulation(settings, n, 1)["integration"] for n in (1, 5)] == [200.0, 50.0]
    assert simulation(settings, 8, 1)["frequency"].size == 5
    assert Settings.asked("full", thin=2) == Settings(thin=2)


def test_type_2_is_type_1_in_other_pixels_and_every_other_seed_is_its_own():
    settings = Settings(seed=4)
    seeds = {(number, index): seed_of(settings, number, index) for number in TYPES
             for index in range(50)}
    assert all(seeds[1, i] == seeds[2, i] for i in range(50))
    assert len(set(seeds.values())) == 10 * 50
    assert seed_of(Settings(seed=5), 1, 0) != seeds[1, 0]
    assert (simulation(settings, 1, 9)["sky"].ra == simulation(settings, 2, 9)["sky"].ra).all()


def test_without_bright_sources_the_noise_is_larger_and_a_cut_field_has_fewer_sources():
    full, empty, cut = (simulation(s, 6, 1)
                        for s in (Settings(), Settings(bright=False), Settings(field=0.5)))
    assert empty["sky"].target.all()
    assert len(empty["sky"]) == 900
    assert empty["noise"] == pytest.approx(np.sqrt(2) * full["noise"])
    # A quarter of 1317 sources, 4 σ.
    assert len(cut["sky"]) == pytest.approx(1317 / 4, abs=4 * np.sqrt(1317 * 0.25 * 0.75))
    assert Settings(field=0.5).imaging(6).size == 2000
    assert Settings(field=0.5).imaging(1).size == 1440


def test_weightings_share_sky_and_noise_and_beams_are_as_asked():
    given = {beam: simulation(Settings(beam=beam), 5, 1) for beam in ("constant", "scaled")}
    frequency = np.array([1.3e9, 1.4e9, 1.5e9])
    seen = {beam: primary_beam(one["primary_beam"])(np.array([4e-3]), np.array([0.0]), frequency)[0]
            for beam, one in given.items()}
    assert seen["constant"] == pytest.approx(np.full(3, seen["scaled"][1]))
    assert seen["scaled"][0] > 1.05 * seen["scaled"][2]
    assert Settings(beam="scaled").terms(5) == 2
    assert Settings(beam="scaled").terms(1) == Settings().terms(5) == 1
    # Sources above 10 µJy are deconvolved from type 5 on (section 2.2.5).
    assert [Settings().imaging(n).threshold for n in (3, 4, 5, 6, 7, 11)] == [2e-5, 5e-5] + 4 * [1e-5]
    assert weighting_options("robust-1.5") == {"weighting": "briggs", "robust": -1.5}
    for wrong in ("robust", "robust3", "uniform", "0.5"):
        with pytest.raises(SelectionError, match="wanted natural, or robust"):
            Settings(weightings=(wrong,))
    with pytest.raises(SelectionError, match="beam 'vla'"):
        Settings(beam="vla")


# ----------------------------------------------------------------------------------- table, figures


def test_differences_of_weightings_are_those_of_pairs():
    rng = np.random.default_rng(3)
    sets = 6.0 + 0.4 * rng.standard_normal(40)
    found = made_up(1, sets, weightings=("natural", "robust0.5"))
    lost = 0.95 + 0.01 * rng.standard_normal(40)
    for one, part in zip(found, lost, strict=True):
        robust = one["weightings"]["robust0.5"] = json.loads(
            json.dumps(one["weightings"]["robust0.5"]))
        robust["image"]["nearest"]["flux"] *= part
    natural, robust = collect(found)
    assert [natural["weighting"], robust["weighting"]] == ["natural", "robust0.5"]
    assert natural["image_less_uv"] == pytest.approx(0.0, abs=1e-12)
    wanted = sets * (lost - 1) / 6.0
    # Of 40 pairs: 1 % of each and 5 % of the scatter of the sets, not that scatter itself.
    assert robust["image_less_uv"] == pytest.approx(wanted.mean())
    assert robust["image_less_uv_error"] == pytest.approx(wanted.std(ddof=1) / np.sqrt(40))
    assert robust["image_less_uv_error"] < 0.003
    assert robust["image_less_first"] == pytest.approx(wanted.mean())
    assert robust["uv_less_first"] == pytest.approx(0.0)
    assert natural["gain"] == pytest.approx(1.0)


def test_left_out_sets_give_the_error_of_a_ratio_of_scatters():
    rng = np.random.default_rng(4)
    found = [jackknife(lambda a, b: float(b.std(ddof=1) / a.std(ddof=1)), *pair)
             for pair in rng.standard_normal((300, 2, 50)) * np.array([1.0, 2.0])[:, None]]
    ratio, error = np.transpose(found)
    # Scatter over 300 tries, known to 4 %; of 50 independent pairs √(1/49) of the ratio.
    assert ratio.mean() == pytest.approx(2.0, rel=0.03)
    assert error.mean() == pytest.approx(ratio.std(), rel=0.15)
    assert error.mean() == pytest.approx(2.0 / 7.0, rel=0.1)


def test_means_scatters_and_errors_are_those_of_the_realisations():
    row = collect(made_up(1, [5.5, 6.0, 6.5, 6.0], 0.5))[0]
    scatter = np.sqrt(0.5 / 3)
    assert row["uv"].value == pytest.approx(6.0)
    assert row["uv_scatter"].value == pytest.approx(scatter)
    assert row["uv_error"].value == pytest.approx(scatter / 2)
    assert row["uv_scatter_error"].value == pytest.approx(scatter / np.sqrt(6))
    assert row["image_bias"] == pytest.approx(-0.5)
    assert row["mc_noise"].value == pytest.approx(0.3 * np.sqrt(2))
    assert np.isnan(row["uv_fwhm"].value)


def test_what_differs_from_the_paper_is_named_and_what_does_not_is_not():
    rng = np.random.default_rng(2)
    like_the_paper = 6.02 + 0.38 * rng.standard_normal(100)
    like_the_paper = 6.02 + 0.38 * (like_the_paper
                                    - like_the_paper.mean()) / like_the_paper.std(ddof=1)
    assert "uv" not in collect(made_up(1, like_the_paper, 5.89 / 6.02))["differs"][0]
    # 4 × the paper's standard error of 0.038, ours beside it: 2.8 combined.
    assert "uv" in collect(made_up(1, like_the_paper + 4 * 0.038))["differs"][0].split(", ")
    assert "uv scatter" in collect(made_up(1, 6.02 + 2 * (like_the_paper - 6.02)))["differs"][0]
    # Of a quarter of the targets twice the scatter is the same.
    fewer = made_up(1, 6.02 + 2 * (like_the_paper - 6.02))
    for one in fewer:
        one["truth"]["n_targets"] = 25 / 4
        one["weightings"]["natural"]["expected_error"] = 2 * 0.47e-6
    assert not {"uv", "uv scatter", "expected"} & set(collect(fewer)["differs"][0].split(", "))
    # Four realisations say nothing yet.
    assert collect(made_up(1, [9.0, 9.1, 9.2, 9.3]))["differs"][0] == ""
    # Fluxes of type 8 are in mJy in the paper, in Jy here.
    text = markdown(collect(made_up(8, [0.98, 1.0, 0.96])))
    assert "| 0.980 ± 0.020 (49.0) |" in text
    assert "| 0.980 ± 0.120 (8.2) |" in text


def test_figures_are_made_of_what_is_there():
    found = [one for number in (1, 5, 6, 7) for one in made_up(number, [5.5, 6.0, 6.4])]
    assert set(figures_of(found)) == {"figure1", "figure2", "figure4", "figure5", "figure6",
                                      "figure8", "figure9", "figure11"}
    for one in found:
        one["truth"]["bright_flux"] = 0.0
    assert "figure7" in figures_of(found[6:9])


def test_a_mean_profile_has_the_error_of_the_mean():
    mean, error = mean_profile([[1.0, None, 2.0], [3.0, None, None], [2.0, 4.0, 2.0]])
    assert mean == pytest.approx([2.0, 4.0, 2.0])
    assert error[0] == pytest.approx(1 / np.sqrt(3))
    assert np.isnan(error[1])
    assert error[2] == 0


# -------------------------------------------------------------------------- killed and gone on with


def test_a_killed_worker_changes_nothing(finished, tmp_path):
    psutil = pytest.importorskip("psutil")
    killed = []

    def kill_one():
        while not list(tmp_path.glob("killed/data-*/type*/set.ms*")):
            time.sleep(0.02)
        workers = [p for p in psutil.Process().children(recursive=True)
                   if "spawn_main" in " ".join(p.cmdline())]
        killed.append(workers[0].pid)
        workers[0].kill()

    watcher = threading.Thread(target=kill_one, daemon=True)
    watcher.start()
    # What is there of type 8 is taken.
    shutil.copytree(finished[0], tmp_path / "killed")
    for index in (0, 1):
        result_path(tmp_path / "killed", 1, index).unlink()
    result = run(tmp_path / "killed", types=(1, 8), realisations=2, settings=TINY, workers=2,
                 threads=1)
    watcher.join(5)
    assert killed
    assert result.n_computed == 2
    for name in ("table", "markdown"):
        assert result.files[name].read_bytes() == finished[1].files[name].read_bytes()
    # Nor are the data of the worker that died left behind.
    assert not list((tmp_path / "killed").glob("data-*"))


def test_a_stopped_run_goes_on_and_corrupted_results_are_computed_again(finished, tmp_path,
                                                                        monkeypatch):
    shutil.copytree(finished[0], tmp_path / "again")
    result_path(tmp_path / "again", 1, 0).unlink()
    broken = result_path(tmp_path / "again", 1, 1)
    broken.write_text(broken.read_text()[:1000])
    calls = []

    def counted(settings, number, index, *args, real=realisation.realise):
        calls.append((number, index))
        return real(settings, number, index, *args)

    monkeypatch.setattr(task, "realise", counted)
    with pytest.warns(UvstackWarning, match=r"type01-0001.json: cannot be read .*computed again"):
        result = run(tmp_path / "again", types=(1, 8), realisations=2, settings=TINY, threads=1)
    assert calls == [(1, 0), (1, 1)]
    assert (result.n_taken, result.n_computed) == (2, 2)
    assert result.files["table"].read_bytes() == finished[1].files["table"].read_bytes()


def test_a_packed_run_is_taken_up_by_another_folder_and_a_table_needs_no_more(finished, tmp_path,
                                                                              monkeypatch):
    monkeypatch.setattr(task, "realise", None)  # nothing is computed
    packed = finished[1].files["realisations.json"]
    taken = run(tmp_path / "new", types=(1, 8), realisations={1: 2, 8: 2}, known=packed,
                settings=TINY, figures=False)
    assert (taken.n_taken, taken.n_computed) == (4, 0)
    for name in ("table", "markdown", "realisations.json"):
        assert taken.files[name].read_bytes() == finished[1].files[name].read_bytes()
    # Some kB for each, and the stamps of the first.
    assert packed.stat().st_size < 40_000
    # What is there is kept, of what is missing nothing is computed with --collect.
    result_path(tmp_path / "new", 1, 1).unlink()
    fewer = run(tmp_path / "new", types=(1, 8), realisations=50, compute=False, settings=TINY,
                figures=False)
    assert fewer.table["n"].tolist() == [1, 2]
    with pytest.raises(OutputError, match="has no realisation of these types and settings"):
        run(tmp_path / "empty", types=(1,), compute=False, settings=TINY)
    (tmp_path / "other").write_bytes(gzip.compress(b"[3]"))
    with pytest.raises(OutputError, match="cannot be read as realisations"):
        run(tmp_path / "empty", types=(1,), known=tmp_path / "other", settings=TINY)


def test_what_the_documentation_keeps_is_taken_up_by_the_command_that_it_gives(tmp_path):
    packed = Path(__file__).parents[2] / "docs" / "data" / "lindroos_realisations.json.gz"
    n = unpack(packed, tmp_path)
    jobs = [(number, index) for number in TYPES for index in range(100)]
    found, doubts = read_finished(tmp_path, Settings.asked("full"), jobs)
    # Not one would be computed again.
    assert not doubts
    assert len(found) == n > 0
    assert packed.stat().st_size < 2e6
    assert set(collect([found[job] for job in sorted(found)])["weighting"]) == {"natural",
                                                                                "robust0.5"}


def test_all_types_grow_in_proportion_to_what_they_are_to_have(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "map_chunks", lambda _, __, jobs, *rest: order.extend(jobs))
    order: list = []
    with pytest.raises(IndexError):  # a table of nothing
        run(tmp_path / "x", types=(1, 5), realisations={1: 4, 5: 2}, settings=TINY)
    assert order == [(1, 0), (1, 1), (5, 0), (1, 2), (1, 3), (5, 1)]


@pytest.mark.parametrize(("change", "said"), [
    (lambda one: one.pop("weightings"), "it has no weightings"),
    (lambda one: one.update(type=2), "is of type 2"),
    (lambda one: one.update(fingerprint="0"), "other settings")])
def test_a_file_of_something_else_is_not_taken(finished, tmp_path, change, said):
    one = read(finished[0], 8, 1)
    change(one)
    path = tmp_path / "one.json"
    path.write_text(json.dumps(one))
    found, doubt = read_result(path, TINY, 8, 1)
    assert found is None
    assert said in doubt
    path.write_text("[]")
    assert "is not a whole realisation" in read_result(path, TINY, 8, 1)[1]


def test_other_settings_have_another_fingerprint():
    assert len({s.fingerprint(1)
                for s in (TINY, replace(TINY, seed=4), replace(TINY, thin=50),
                          replace(TINY, imagings=()))}) == 4


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("options", "said"),
                         [({"realisations": 0}, "realisations is 0"),
                          ({"realisations": -3}, "realisations is -3"),
                          ({"types": (12,)}, "type 12"), ({"types": ()}, "type none")])
def test_what_cannot_be_is_refused_before_any_work(tmp_path, options, said):
    with pytest.raises(SelectionError, match=said):
        run(tmp_path / "x", settings=TINY, **options)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("text", ["0", "1-12", "a", "3-1", "1,,2", "-2"])
def test_types_that_cannot_be_read(text):
    with pytest.raises(SelectionError, match="types"):
        parse_types(text)


def test_types_and_scales_are_read():
    assert parse_types("1-3, 8,2") == (1, 2, 3, 8)
    assert parse_types("1-11") == TYPES
    assert parse_scale("full") == {"thin": 5, "thin_narrow": 20}
    assert parse_scale("0.1") == {"scale": 0.1}
    with pytest.raises(SelectionError, match="wanted full, small"):
        parse_scale("tiny")
    for bad in ({"scale": 0.0}, {"thin": 0}, {"field": 2.0}, {"noise_factor": float("nan")},
                {"null_lists": 1}):
        with pytest.raises(SelectionError):
            Settings(**bad)


def test_a_scheduler_that_does_not_answer_is_one_line_and_a_full_disk_too(tmp_path, monkeypatch):
    monkeypatch.setattr("distributed.Client", lambda *_,
                        **__: (_ for _ in ()).throw(OSError("timed out")))
    with pytest.raises(SchedulerError, match="no dask scheduler answers at tcp://127.0.0.1:1"):
        run(tmp_path / "x", types=(1,), realisations=1, settings=TINY,
            scheduler="tcp://127.0.0.1:1")
    with pytest.raises(SelectionError, match="workers is 0"):
        run(tmp_path / "x", types=(1,), realisations=1, settings=TINY, workers=0)
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(realisation.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**5))
    with pytest.raises(OutputError, match=r"[0-9.]+ [a-zA-Z]+ are needed for a realisation, [0-9.]+ [a-zA-Z]+ are free"):
        run(tmp_path / "x", types=(1,), realisations=1, settings=TINY)
    assert not list((tmp_path / "x").glob("data-*"))


def test_the_command_hands_its_options_on(tmp_path, monkeypatch, finished):
    given = {}

    def fake(out, **options):
        given.update(options, out=out)
        return finished[1]

    monkeypatch.setattr(task, "run", fake)
    options = ("--types 1,8 --realisations 2 --of 8 3 --scale small --thin 7 --no-bright "
               "--weighting robust1 --beam scaled --collect --seed 5 --out")
    result = CliRunner().invoke(group,
                                ["experiment", "lindroos", *options.split(), str(tmp_path / "o")],
                                catch_exceptions=False)
    assert result.exit_code == 0
    assert given["types"] == "1,8"
    assert given["realisations"] == {1: 2, 8: 3}
    assert not given["compute"]
    assert given["settings"] == Settings(seed=5, thin=7, field=parse_scale("small")["field"],
                                         bright=False, weightings=("robust1",), beam="scaled")
    assert "4 computed, 0 taken" in result.output
    assert "| 1 | natural | 2 | 5 |" in result.output
    monkeypatch.undo()
    assert isinstance(CliRunner().invoke(command,
                                         ["lindroos", "--types", "77", "--out", "x"]).exception,
                      SelectionError)
