"""QuartiCal as a program: found, refused, its failures told; its own schema reads our recipes."""

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from peel.bright_files import BrightFit, Shape
from peel.gains import Solved, solution
from peel.known import Known
from peel.quartical import QuarticalError, end_running, find_quartical, read_solutions
from peel.recipe import EACH_ROUND, ONCE, SPANS, Settings, recipes_of
from peel.stages_files import bright_in, span_in
from peel.visits import Visit
from uvstack.errors import MeasurementSetError, MissingDependencyError, UvstackWarning
from uvstack.records import DataDescription, Field, SpectralWindow, Structure


def program(folder, script, version="0.2.7"):
    """An environment with a goquartical of this script, beside a Python that says this version."""
    (folder / "bin").mkdir(parents=True)
    for name, text in (("goquartical", script), ("python", f"echo {version}")):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    return folder


def structure(**options):
    return Structure("/data/a.ms", 100, ("DATA",), (), (), "VLA", ("a",) * 7, np.full(7, 25.0),
                     **({"weight_columns": ("WEIGHT",)} | options))


def visit(window=0, field=0, n_chan=4, n_corr=2, n_good=100):
    spw = SpectralWindow(window, "", 1e9 + 1e6 * np.arange(n_chan), np.full(n_chan, 1e6))
    correlations = {1: (5,), 2: (5, 8), 4: (5, 6, 7, 8)}[n_corr]
    return Visit(Field(field, "f", "J2000", 1.0, 0.5), DataDescription(window, spw, correlations),
                 10, 2, (1,), 0.0, 10.0, 80, n_good, {1: np.array([0.0, 5.0])})


def recipes(*visits, n_directions=2, solve=None, most=2**62, interval=0.0, direction_interval=0.0,
            bright_in=None, span_in=None, **options):
    settings = Settings(structure(**options), 3, n_directions, interval, direction_interval, most)
    return [recipe for one in ([solve] if solve else [*ONCE, *EACH_ROUND])
            for recipe in recipes_of(one, settings, visits or [visit()], "DATA", bright_in,
                                     span_in=span_in)]


def test_it_is_found_where_it_is_told(tmp_path):
    folder = program(tmp_path / "env", "exit 0")
    for path in (folder, folder / "bin", folder / "bin" / "goquartical"):
        found = find_quartical(path)
        assert found.program == str(folder / "bin" / "goquartical")
        assert found.version == "0.2.7"


@pytest.mark.parametrize(("version", "message"),
                         [("0.2.6", "is QuartiCal 0.2.6, wanted is 0.2.7 or newer"),
                          ("", "no package quartical")])
def test_what_is_no_quartical_for_us(tmp_path, version, message):
    with pytest.raises(MissingDependencyError, match=message) as error:
        find_quartical(program(tmp_path / "env", "exit 0", version))
    assert "pip install quartical==0.2.7" in str(error.value)


def test_a_newer_one_is_told(tmp_path):
    with pytest.warns(UvstackWarning, match="newer than those"):
        find_quartical(program(tmp_path / "env", "exit 0", "0.3.1"))


def test_none_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingDependencyError, match="no goquartical beside"):
        find_quartical()
    with pytest.raises(MissingDependencyError, match="no program goquartical there"):
        find_quartical(tmp_path)


def test_a_run_gets_its_recipe_and_tells_its_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/of/this/environment")
    script = "cat $1; printf '\\033[32msolving\\033[0m\\n' >&2; echo path=$PYTHONPATH; touch here"
    heard: list[str] = []
    recipe = recipes()[0]
    log = find_quartical(program(tmp_path / "env", script)).run(recipe, tmp_path / "out",
                                                                heard.append)
    assert "\n".join(heard[:-2]) + "\n" == recipe.yaml
    assert heard[-2:] == ["solving", "path="]
    assert log.read_text().splitlines() == heard
    assert (tmp_path / "out" / "here").exists()
    assert (tmp_path / "out" / "quartical-selfcal.yaml").read_text() == recipe.yaml


@pytest.mark.parametrize(("script", "message"),
                         [("echo begun; echo 'ValueError: no such column'; echo; exit 1",
                           r"selfcal \(exit status 1\): ValueError: no such column; its log is "),
                          ("exit 3", r"selfcal \(exit status 3\): it said nothing"),
                          ("kill -9 $$", r"selfcal \(signal 9\)")])
def test_a_failed_run_is_told_in_one_line(tmp_path, script, message):
    found = find_quartical(program(tmp_path / "env", script))
    with pytest.raises(QuarticalError, match=message) as error:
        found.run(recipes()[0], tmp_path / "out")
    assert "\n" not in str(error.value)
    assert str(tmp_path / "out" / "logs" / "selfcal.log") in str(error.value)


def test_an_interrupted_run_is_ended(tmp_path):
    """At once, with what it has started, whatever it thinks of being terminated."""
    script = "trap '' TERM INT; sleep 60 & echo $$; echo $!; wait"
    pids: list[int] = []

    def stop(line):
        pids.append(int(line))
        if len(pids) == 2:
            raise KeyboardInterrupt

    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        find_quartical(program(tmp_path / "env", script)).run(recipes()[0], tmp_path / "out", stop)
    assert time.perf_counter() - start < 20
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    # Nobody waits for the other here: the signal may reach it a moment later, and it may still be
    # listed as dead. By itself it would sleep for a minute.
    while not is_gone(pids[1]) and time.perf_counter() - start < 20:
        time.sleep(0.01)
    assert is_gone(pids[1])


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_another_thread_ends_it(tmp_path):
    """As it must where a worker solves and its client is interrupted."""
    found = find_quartical(program(tmp_path / "env", "echo $$; exec sleep 60"))
    start = time.perf_counter()
    with pytest.raises(QuarticalError, match=r"selfcal \(signal 9\)"):
        found.run(recipes()[0], tmp_path / "out",
                  lambda line: threading.Thread(target=end_running).start())
    assert time.perf_counter() - start < 20


def test_its_own_schema_reads_our_recipes_and_no_others(tmp_path, monkeypatch):
    """The real one; gains of an earlier run are not deleted by the check."""
    pytest.importorskip("quartical")
    monkeypatch.chdir(tmp_path)
    gains = tmp_path / "gains" / "joint.qc"
    gains.mkdir(parents=True)
    (gains / "kept").write_text("")
    found = find_quartical()
    made = recipes(visit(), visit(1, n_chan=1), weight_columns=("SIGMA",))
    options = {**made[0].options, "solver": made[0].options["solver"] | {"itter_recipe": [3]}}
    wanted = r"does not read the recipe wrong.yaml: .*itter_recipe"
    with pytest.raises(QuarticalError, match=wanted) as error:
        found.check([*made, replace(made[0], name="wrong", options=options)])
    assert "\n" not in str(error.value)
    assert (gains / "kept").exists()


def test_weights_are_always_said():
    assert recipes(weight_columns=("WEIGHT_SPECTRUM", "WEIGHT"))[0].options["input_ms"][
        "weight_column"] == "WEIGHT_SPECTRUM"
    found = recipes(weight_columns=("SIGMA",))[0].options["input_ms"]
    assert (found["weight_column"], found["sigma_column"]) == (None, "SIGMA")
    with pytest.raises(MeasurementSetError, match="WEIGHT has no value in some rows"):
        recipes(partly_empty=("WEIGHT",))


def test_directions_and_kinds_of_windows():
    found = {r.name: r.options for r in recipes(visit(0), visit(1, n_chan=1), visit(2, n_corr=4),
                                                visit(3, n_good=0), visit(0, field=5))}
    assert list(found)[:3] == ["selfcal-4-correlations", "selfcal-2-correlations",
                               "selfcal-2-correlations-one-channel"]
    joint = found["joint-2-correlations"]
    assert joint["input_ms"]["select_fields"] == [0, 5]
    assert joint["input_ms"]["select_ddids"] == [0]
    assert joint["input_model"]["recipe"] == "PEEL_FIELD:PEEL_BRIGHT_1:PEEL_BRIGHT_2"
    assert found["bright-2-correlations"]["input_model"]["recipe"] == joint["input_model"]["recipe"]
    everything = "PEEL_FIELD+PEEL_BRIGHT_1+PEEL_BRIGHT_2"
    assert found["selfcal-2-correlations"]["input_model"]["recipe"] == everything
    assert "K" not in found["joint-2-correlations-one-channel"]
    assert not any("products" in options["output"] for options in found.values())
    assert not any(3 in options["input_ms"]["select_ddids"] for options in found.values())
    with pytest.raises(MeasurementSetError, match="has 1 correlation; peeling wants two"):
        recipes(visit(n_corr=1))


def test_no_recipe_reads_what_is_all_flagged():
    """QuartiCal takes every window chosen of every field chosen."""
    visits = [visit(d, f, n_good=100 * ((f, d) != (1, 0))) for f in (0, 1, 2) for d in (0, 1)]
    read_by = {r.name: tuple(r.options["input_ms"][f"select_{what}"] for what in ("fields", "ddids"))
               for r in recipes(*visits) if r.name.startswith("joint")}
    assert read_by == {"joint-1": ([0, 2], [0, 1]), "joint-2": ([1], [1])}


def test_faint_directions_belong_to_the_field():
    found = recipes(visit(0), visit(1), solve="joint",
                    bright_in=lambda one: (0, 1) if one.window.id else (1,))
    models = {recipe.name: (recipe.options["input_model"]["recipe"], recipe.directions)
              for recipe in found}
    assert models == {"joint-1": ("PEEL_FIELD+PEEL_BRIGHT_1:PEEL_BRIGHT_2", (1,)),
                      "joint-2": ("PEEL_FIELD:PEEL_BRIGHT_1:PEEL_BRIGHT_2", (0, 1))}
    assert recipes(visit(0), solve="bright", bright_in=lambda one: ()) == []


def test_faint_directions_have_longer_gains():
    """Of a scan where intervals are too short, of all scans where these are: those of a direction alone."""
    found = {recipe.name: recipe.options for recipe in recipes(
        visit(0), visit(0, field=1), visit(0, field=2), solve="joint", interval=10.0,
        direction_interval=10.0, span_in=lambda one: SPANS[one.field.id])}
    assert list(found) == ["joint-scan", "joint", "joint-all-scans"]
    told = {name: (options["dE"]["time_interval"], options["G"]["time_interval"],
                   options["dE"]["respect_scan_boundaries"], "SCAN_NUMBER" in options["input_ms"]["group_by"],
                   options["input_ms"]["select_fields"]) for name, options in found.items()}
    assert told == {"joint": ("2", "2", True, True, [0]), "joint-scan": ("0", "2", True, True, [1]),
                    "joint-all-scans": ("0", "2", False, False, [2])}


@pytest.mark.parametrize(("snr", "interval", "span", "own"),
                         [((9.0, 1.0), 0.0, "interval", (0,)), ((2.5, 1.0), 0.0, "all scans", (0,)),
                          ((1.5, 1.0), 0.0, "interval", ()), ((2.5, 2.2), 0.0, "all scans", (0, 1)),
                          ((5.0, 3.5), 10.0, "scan", (0, 1)), ((7.0, 3.5), 10.0, "interval", (0,)),
                          ((), 0.0, "interval", ())])
def test_gains_are_as_short_as_the_signal_allows(snr, interval, span, own):
    """Two scans of 40 s: over √4 in 10 s, times √2 in both; at least 3 is wanted."""
    one = replace(visit(), n_times=16, scans=(1, 2),
                  times={1: np.arange(0.0, 40.0, 5.0), 2: np.arange(100.0, 140.0, 5.0)})
    work = SimpleNamespace(directions=(None, None), settings=Settings(
        structure(), 3, 2, direction_interval=interval))
    known = Known(tuple(BrightFit(0, 0, number, Shape(), (0, 0, 1, 0), (0, 0, 1, 0), 1e9, 1.0, gain_snr=value)
                        for number, value in enumerate(snr)))
    assert span_in(work, known, one) == span
    assert bright_in(work, known, one) == own


def test_gains_of_all_scans_are_read_for_each(tmp_path):
    """Scan 2 comes first, with 5 integrations; three of G's intervals are its, the last is scan 1's."""
    one = replace(visit(), times={1: np.array([50.0, 55.0]), 2: np.arange(0.0, 25.0, 5.0)}, scans=(1, 2))
    (recipe,) = recipes(one, solve="joint", interval=10.0, n_directions=1, span_in=lambda _: SPANS[2])
    arrays = {}
    for term, n, n_directions in (("G", 4, 1), ("K", 4, 1), ("dE", 1, 2)):
        gains = np.ones((n, 1, 7, n_directions, 2), complex) * np.exp(
            1j * np.arange(n)[:, None, None, None, None])
        for kind, values in (("gains", gains), ("gain_flags", np.zeros(gains.shape[:4], np.int8)),
                             ("jhj", np.full(gains.shape, 100.0)), ("conv_perc", np.ones((1, 1)))):
            arrays[f"{term}|0|0|-1|{kind}"] = values
    np.savez(tmp_path / "g.npz", **arrays)
    found = read_solutions(tmp_path / "g.npz", recipe)
    phases = {scan: np.angle(found.of_field((0, 0, scan), one.times[scan].size).values[:, 0, 0, 0]) / 2
              for scan in (1, 2)}
    np.testing.assert_allclose(phases[2], [0, 0, 1, 1, 2 - np.pi], atol=1e-12)
    np.testing.assert_allclose(phases[1], [3 - np.pi, 3 - np.pi], atol=1e-12)
    for scan in (1, 2):
        own = found.of_direction((0, 0, scan), 0, one.times[scan].size)
        np.testing.assert_array_equal(own.values, 1.0)
        assert own.significant.all()
    arrays = {name: np.concatenate([values] * (1 + ("G" in name))) for name, values in arrays.items()}
    np.savez(tmp_path / "g.npz", **arrays)
    with pytest.raises(QuarticalError, match="8 gains of f in spectral window 0, and 4 were asked for"):
        read_solutions(tmp_path / "g.npz", recipe)


def test_a_recipe_holds_whole_fields_up_to_a_size():
    """Neighbours go apart: those near a source take longest."""
    visits = [visit(d, f) for f in range(5) for d in (0, 1)]
    found = recipes(*visits, solve="field", most=320)
    assert [sorted({one.field.id for one in recipe.visits}) for recipe in found] == [
        [0, 3], [1, 4], [2]]
    assert [recipe.name for recipe in found] == ["field-1", "field-2", "field-3"]


def test_intervals_are_counted_in_integrations():
    times = {1: np.arange(0, 40, 4.0), 2: np.arange(100, 140, 4.0)}
    one = replace(visit(), times=times)
    assert recipes(one, solve="field")[0].integrations("G") == 0
    assert recipes(one, solve="field", interval=13.0)[0].integrations("G") == 3
    assert recipes(one, solve="field", interval=1.0)[0].integrations("K") == 1


def test_what_counted_as_a_gain_stays_one():
    """A gain of 5 σ by the weights, at a reduced χ² of 1: a later χ² of 4 says nothing of it."""
    cell, gains = (0, 0, 1), np.full((1, 1, 7, 1, 2), np.exp(0.3j))
    own = solution("G", cell, gains, np.zeros(gains.shape[:4]), np.full(gains.shape, 25.0), 1.0, 0)
    solved = Solved({cell: {"G": own}}, {cell: ()})
    known = Known(selfcal=(replace(solved, scales={(0, 0): 1.0}),),
                  chi_squared={"joint-1": {(0, 0): (9.0, 4.0)}})
    np.testing.assert_allclose(known.of_selfcal(cell, 2).values, np.exp(0.3j))
    # One that is found now is of 2.5 σ.
    assert known.scales() == {(0, 0): 2.0}
    known = replace(known, selfcal=(replace(solved, scales=known.scales()),))
    np.testing.assert_array_equal(known.of_selfcal(cell, 2).values, 1.0)
