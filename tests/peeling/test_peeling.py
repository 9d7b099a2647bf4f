"""Peeling as a whole, against gains that are known, by a program that says them."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import stand_in
from astropy.io import fits
from astropy.wcs import WCS
from known_gains import IMAGES, N_ANT, observe, through, truth_of

import peel
import uvstack
from factories import edit, read
from peel.passes_files import Passes
from peel.stages_files import is_enough
from uvstack.errors import OutputError, UvstackError, UvstackWarning
from uvstack.io.casa import open_table
from uvstack.io.unfinished_column import remove_column, set_keyword
from uvstack.io.write_columns import column_writer


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A set whose gains are known, its models, a region, and a program that says the gains."""
    return observe(tmp_path_factory.mktemp("peel"))


@pytest.fixture
def run(observed, tmp_path, monkeypatch):
    """Peels a copy of the set, by gains that are known; further options are those of `peel.peel`."""
    monkeypatch.setattr("peel.quartical._VERSION", "print('0.2.7')")
    monkeypatch.setattr("peel.quartical._python_of", lambda program: Path(sys.executable))
    shutil.copytree(observed[0] / "a.ms", tmp_path / "a.ms")
    env = stand_in.program(tmp_path / "env", observed[0] / "truth.npz")
    (env / "truth").write_text(f"{observed[0] / 'truth.npz'} ")

    def call(**options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UvstackWarning)
            return peel.peel(tmp_path / "a.ms", **{
                "regions": observed[0] / "bright.crtf", "out": tmp_path / "out", "rounds": 1,
                "quartical": env, "threads": 1, **IMAGES, **options})

    call.ms, call.env, call.out = tmp_path / "a.ms", env, tmp_path / "out"
    return call


@pytest.fixture
def quick(run, monkeypatch):
    """The same without a program and pictures."""
    monkeypatch.setattr("peel.quartical.Quartical.solve", stand_in.solve)
    monkeypatch.setattr("uvstack.report.files._png", lambda figure: b"")
    return run


def columns_of(path):
    with open_table(str(path)) as table:
        return set(table.columns)


def asked(env):
    return (env / "calls").read_text().split()


def test_the_field_is_left_and_nothing_else_changes(run, observed, fingerprint):
    """With gains that are right only the field is left.

    The bright model is fitted through gains of its own that scatter by 5 %: what it misses of 3 Jy
    is below 4 %. Without the gains 7 % are left.
    """
    _, field, bright = observed
    before, data = columns_of(run.ms), read(run.ms, "DATA")
    flags = read(run.ms, "FLAG")
    result = run(keep_model=True)
    assert columns_of(run.ms) == before | {"PEELED_DATA", "PEELED_MODEL"}
    np.testing.assert_array_equal(read(run.ms, "DATA"), data)
    np.testing.assert_array_equal(read(run.ms, "FLAG"), flags)
    left = read(run.ms, "PEELED_DATA") - field
    assert np.std(left) < 0.04 * np.std(bright)
    g, d = truth_of()
    one, two = read(run.ms, "ANTENNA1"), read(run.ms, "ANTENNA2")
    model = read(run.ms, "PEELED_MODEL")
    assert np.std(model - through(g * d, one, two) * bright) < 0.04 * np.std(bright)
    # What is not corrected and the model are the data, and the correction is g.
    np.testing.assert_allclose((data - model) / through(g, one, two),
                               read(run.ms, "PEELED_DATA"), atol=2e-6)
    told = json.loads((run.out / "peel.json").read_text())
    assert told["columns"] == ["PEELED_DATA", "PEELED_MODEL"] == list(result.columns)
    for name in ("index.html", "first-image.fits", "selfcal-image.fits", "peeled-image.fits",
                 "quartical-joint-1.yaml", "gains/joint-1.npz", "gains-field.png",
                 "gains/directions.png", "models.png", "images.png", "fields.ecsv"):
        assert (run.out / name).exists(), name
    assert str(result) == str(result.sections()[0])
    result.save(run.out.with_name("x.json"))
    assert json.loads(run.out.with_name("x.json").read_text()) == told
    rows = {row["image"]: row for row in result.table}
    assert rows["peeled"]["dynamic_range"] > 3 * rows["first image"]["dynamic_range"]


def test_the_joint_solve_starts_from_what_was_known(quick, observed):
    """Gains that err by 3 % leave 4 % of the source; the solve that sees models through them takes that back."""
    g, d = truth_of()
    error = 1 + 0.03 * np.random.default_rng(4).standard_normal(N_ANT)
    np.savez(quick.env / "errs.npz", g=g, d=d, e=error)
    (quick.env / "truth").write_text(f"{quick.env / 'errs.npz'} ")
    quick(correct="none", keep_model=True)
    one, two = read(quick.ms, "ANTENNA1"), read(quick.ms, "ANTENNA2")
    bright = through(g * d, one, two) * observed[2]
    through_model = read(quick.ms, "PEELED_MODEL") / bright
    # One flux for all, and a place that was fitted through phases that scatter: 0.017.
    ratio = through_model / np.mean(through_model)
    assert np.std(ratio) < 0.5 * np.std(through(error, one, two))


@pytest.mark.parametrize(("solve", "term", "said"), [
    ("joint", "dE", "of the last round did not lower χ²: those of the round before stand: "),
    ("field", "G", "of the field alone lowered χ² by no more than noise does, and are not used: ")])
def test_what_makes_it_worse_leaves_what_was_known(quick, observed, monkeypatch, solve, term, said):
    """A solve that errs by 0.6 in a set whose gains those before have found."""
    known, error = stand_in.gains_of, np.exp(0.6j * np.random.default_rng(4).standard_normal(N_ANT))

    def worse(options, *rest):
        found = known(options, *rest)
        if solve in options["output"]["gain_directory"]:
            for (name, _), arrays in found.items():
                if name == term:
                    arrays["gains"][..., -1, :] *= error[:, None]
        return found

    monkeypatch.setattr(stand_in, "gains_of", worse)
    result = quick()
    assert not result.fields["refused"].any()
    assert any(f"{said}{result.fields['field'][0]} in window" in text for _, text in result.notes)
    assert np.std(read(quick.ms, "PEELED_DATA") - observed[1]) < 0.04 * np.std(observed[2])


def test_the_field_has_nothing_of_the_source_whatever_the_mask(quick, observed):
    """A mask of everything, the bright source too, leaves its region out."""
    result = quick(mask=np.ones((IMAGES["size"],) * 2, bool))
    assert np.std(read(quick.ms, "PEELED_DATA") - observed[1]) < 0.06 * np.std(observed[2])
    model = fits.getdata(quick.out / "steps" / "round-1-model.fits").squeeze()
    with fits.open(quick.out / "first-image.fits") as file:
        at = WCS(file[0].header).celestial.all_world2pix(*np.rad2deg([result.directions[0][name] for name in (
            "ra_rad", "dec_rad")]), 0)
    x, y = np.rint(at).astype(int)
    assert not model[y - 5 : y + 6, x - 5 : x + 6].any()


def go_on_as(run, **options):
    """The last stage of a finished run once more, with other options of it: what was solved for stays."""
    told = json.loads((run.out / "run.json").read_text())
    (run.out / "run.json").write_text(json.dumps(told | {k: str(v) for k, v in options.items()}))
    for path in (run.out / "peel.json", run.out / "steps" / "seen.json", *run.out.glob("peeled-*")):
        path.unlink()
    remove_column(str(run.ms), "PEELED_DATA")
    n = len(asked(run.env))
    result = run(**options)
    assert len(asked(run.env)) == n
    return result, read(run.ms, "PEELED_DATA")


def test_what_is_left_or_put_back(quick, observed):
    """The source without its gains and with them, data that are not corrected, and the memo's single step."""
    _, field, bright = observed
    g, _ = truth_of()
    one, two = read(quick.ms, "ANTENNA1"), read(quick.ms, "ANTENNA2")
    quick()
    result, got = go_on_as(quick, keep_source=True)
    # What is measured is what is left without the source.
    assert result.table["dynamic_range"][-1] > 3 * result.table["dynamic_range"][0]
    # A point of the flux that was fitted.
    scale = np.vdot(bright, got - field).real / np.vdot(bright, bright).real
    assert 0.95 < scale < 1.01
    assert np.std(got - field - scale * bright) < 0.04 * np.std(bright)
    _, got = go_on_as(quick, keep_source="gains")
    np.testing.assert_allclose(got, read(quick.ms, "DATA") / through(g, one, two), atol=2e-6)
    _, got = go_on_as(quick, keep_source=False, correct="none", memo=True)
    assert np.std(got - through(g, one, two) * field) < 0.04 * np.std(bright)


def test_rounds_go_on_while_the_noise_falls(monkeypatch):
    """Of two directions one is enough: 8 % less around it want another round, 3 % less do not."""
    near = [np.arange(40_000).reshape(200, 200) % 2 == i for i in (0, 1)]
    unit = np.random.default_rng(1).standard_normal((200, 200))
    noise = {2: (1.0, 1.0), 3: (0.97, 0.92), 4: (0.95, 0.90)}
    monkeypatch.setattr("peel.stages_files.image_of_round", lambda work, number: number)
    monkeypatch.setattr("peel.stages_files.read_plane_of",
                        lambda number: unit * np.where(near[0], *noise[number]))
    work = SimpleNamespace(around=near)
    assert [is_enough(work, number) for number in (2, 3)] == [False, True]


def test_another_column_is_all_that_is_looked_at(quick, observed):
    """DATA is of something else; the column of the data is copied, and no other."""
    with column_writer(quick.ms, "RAW", "DATA", ("DATA", None)):
        pass
    edit(quick.ms, "DATA", lambda data: 1e3 * np.ones_like(data))
    quick(column="RAW")
    assert np.std(read(quick.ms, "PEELED_DATA") - observed[1]) < 0.04 * np.std(observed[2])


def test_rounds_are_counted(quick):
    """Gains that are right from the first solve on leave nothing for a third round."""
    result = quick(rounds=None)
    joint = [name for name in asked(quick.env) if name.startswith("joint")]
    assert result.rounds == len(joint) == 2
    assert json.loads((quick.out / "peel.json").read_text())["rounds"] == 2


def test_failed_gains_keep_their_data(quick, observed):
    (quick.env / "truth").write_text(f"{observed[0] / 'truth.npz'} 2 5")
    result = quick()
    one, two = read(quick.ms, "ANTENNA1"), read(quick.ms, "ANTENNA2")
    bad = np.isin(one, (2, 5)) | np.isin(two, (2, 5))
    np.testing.assert_array_equal(read(quick.ms, "PEELED_DATA")[bad], read(quick.ms, "DATA")[bad])
    assert np.abs(read(quick.ms, "PEELED_DATA") - read(quick.ms, "DATA"))[~bad].min() > 1e-3
    assert result.fields["n_left"][0] == bad.sum() * 4 * 2
    assert any(f"gains failed for {bad.sum() * 8} visibilities" in text for _, text in result.notes)
    # What is kept of a solve is known by its name: "bright-1" would be the first of several recipes of `bright`.
    names = asked(quick.env)
    assert len(set(names)) == len(names)
    assert names[-2:] == ["alone-1", "field-1"]


def test_a_finished_run_is_not_done_again(quick):
    first = quick()
    n = len(asked(quick.env))
    modified = os.stat(quick.out / "peel.json").st_mtime_ns
    told = json.loads((quick.out / "peel.json").read_text())["provenance"]
    assert told["version"] == uvstack.__version__
    assert told["inputs"]["ms"] == [str(quick.ms)]
    assert told["date"] == first.provenance.date
    again = quick()
    assert again.provenance.inputs == told["inputs"]
    assert len(asked(quick.env)) == n
    assert os.stat(quick.out / "peel.json").st_mtime_ns == modified
    assert again.columns == ("PEELED_DATA",)
    with pytest.raises(OutputError, match=r"other settings \(keep_model\)"):
        quick(keep_model=True)
    with pytest.raises(OutputError, match="PEELED_DATA exists"):
        quick(out=quick.out.with_name("out2"))
    assert not quick.out.with_name("out2").exists()
    note_column(quick.ms, "another: peeled")
    with pytest.raises(OutputError, match="PEELED_DATA exists"):
        quick()
    # Only what a run has made goes.
    for name in ("thesis.tex", "gains/thesis.tex", "steps/thesis.tex"):
        (quick.out / name).write_text("mine")
    (quick.out / "gains" / "joint-7.npz").write_text("of the last run")
    quick(keep_model=True, overwrite=True)
    assert len(asked(quick.env)) == 2 * n
    assert "PEELED_MODEL" in columns_of(quick.ms)
    for name in ("thesis.tex", "gains/thesis.tex", "steps/thesis.tex"):
        assert (quick.out / name).read_text() == "mine"
    assert not (quick.out / "gains" / "joint-7.npz").exists()


def note_column(path, text):
    """Note of another run in the peeled column."""
    set_keyword(str(path), "PEELED_DATA", "UVSTACK_PEEL", text)


def set_flags(path, flag):
    with open_table(str(path), readonly=False) as table:
        table.write("FLAG", flag)


def test_an_ended_run_knows_its_columns(quick, observed, monkeypatch, fingerprint):
    """It makes what is still to be read, and replaces no column of a run that came between."""
    written: list[str] = []
    write, solve = Passes.write_all, stand_in.solve

    def noted(self, columns, *rest):
        written.append("+".join(columns))
        return write(self, columns, *rest)

    def stopping(self, recipe, *rest):
        if recipe.name == "field-1":
            raise KeyboardInterrupt
        return solve(self, recipe, *rest)

    before = fingerprint(quick.ms)
    monkeypatch.setattr(Passes, "write_all", noted)
    monkeypatch.setattr("peel.quartical.Quartical.solve", stopping)
    with pytest.raises(KeyboardInterrupt):
        quick(keep_model=True)
    assert fingerprint(quick.ms) == before
    assert not list(quick.out.glob("steps/*.ms"))
    monkeypatch.setattr("peel.quartical.Quartical.solve", solve)
    flag = read(quick.ms, "FLAG")
    more = flag.copy()
    more[:40] = True
    set_flags(quick.ms, more)
    with pytest.raises(OutputError, match="flags or weights have changed since this run began"):
        quick(keep_model=True)
    set_flags(quick.ms, flag)
    with column_writer(quick.ms, "PEELED_DATA", "DATA", None):
        pass
    for text in ("another: peeled", "another"):
        note_column(quick.ms, text)
        with pytest.raises(OutputError, match="PEELED_DATA exists"):
            quick(keep_model=True)
    remove_column(str(quick.ms), "PEELED_DATA")
    solved = len(asked(quick.env))
    written.clear()
    quick(keep_model=True)
    assert asked(quick.env)[solved:] == ["field-1"]
    # The field's solve wants what is left.
    assert written == ["PEEL_CALIBRATED", "PEEL_BRIGHT_1", "PEEL_RESIDUAL", "PEELED_DATA+PEELED_MODEL"]
    left = read(quick.ms, "PEELED_DATA") - observed[1]
    assert np.std(left) < 0.04 * np.std(observed[2])


CHILD = """
import sys, warnings
import peel, peel.quartical
from pathlib import Path
warnings.simplefilter("ignore")
peel.quartical._VERSION = "print('0.2.7')"
peel.quartical._python_of = lambda program: Path(sys.executable)
ms, regions, out, env = sys.argv[1:]
peel.peel(ms, regions=regions, out=out, rounds=1, quartical=env, threads=1, size=384,
          cell=6 * 4.84813681109536e-06)
"""
KILLED = """
import os, signal
from peel.passes_files import Passes
write = Passes.write_all
def killed(self, columns, names, make, *rest):
    def part(one):
        if "PEELED_DATA" in columns:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(one)
    return write(self, columns, names, part, *rest)
Passes.write_all = killed
"""


def test_a_killed_run_goes_on(quick, observed, fingerprint):
    """Killed while a program solves, which leaves the set untouched, and while the last column is written.

    Of the copy that was worked on the first kill has damaged a column.
    """
    def killed(text):
        done = subprocess.run([sys.executable, "-c", text, *map(str, (
            quick.ms, observed[0] / "bright.crtf", quick.out, quick.env))], capture_output=True, text=True)
        assert done.returncode == -9, done.stderr
        return asked(quick.env)

    (quick.env / "stop").write_text("joint 9")
    untouched = fingerprint(quick.ms)
    before = killed(CHILD)
    # But for the claim of the run that was killed.
    assert {name: of for name, of in fingerprint(quick.ms).items()
            if name != "peel.partial/lock"} == untouched
    (quick.out / "steps" / "data.ms" / "table.dat").write_bytes(b"half")
    (quick.env / "stop").unlink()
    after = killed(KILLED + CHILD)
    assert before[-1] == after[len(before)] == "joint-1.qc"
    quick()
    assert asked(quick.env) == after
    assert not list(quick.out.glob("steps/*.ms"))
    left = read(quick.ms, "PEELED_DATA") - observed[1]
    assert np.std(left) < 0.04 * np.std(observed[2])


def test_a_crash_leaves_the_set_as_it_was(run):
    before = columns_of(run.ms)
    (run.env / "bin" / "goquartical").write_text("#!/bin/sh\necho 'no memory left'; exit 1\n")
    with pytest.raises(UvstackError, match=r"QuartiCal failed in selfcal .*: no memory left; its log"):
        run()
    assert columns_of(run.ms) == before


def test_bad_input(run, tmp_path):
    with pytest.raises(UvstackError, match="correct"):
        run(correct="all")
    with pytest.raises(UvstackError, match="no such folder"):
        run(out=tmp_path / "none" / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match="holds other files than those of a run"):
        run(out=tmp_path / "full", overwrite=True)
    assert (tmp_path / "full" / "thesis.tex").exists()
    with pytest.raises(UvstackError, match="NONE"):
        run(column="NONE")
    # A mistake in the regions leaves nothing and does not claim the folder.
    (tmp_path / "far.crtf").write_text("#CRTFv0\ncircle [[177deg, 51.5deg], 60arcsec]\n")
    (tmp_path / "broken.crtf").write_text("#CRTFv0\n\ncircle [[177deg, 31.5deg]\n")
    for name, message in (("far.crtf", "° from the nearest pointing"), (".", "is a folder; wanted"),
                          ("broken.crtf", r"line 3, 'circle \[\[177deg, 31.5deg\]', cannot be read"),
                          ("other.crtf", "no such file of regions")):
        with pytest.raises(UvstackError, match=message) as error:
            run(regions=tmp_path / name)
        assert "\n" not in str(error.value)
        assert not run.out.exists()
    (tmp_path / "nothing.crtf").write_text("#CRTFv0\ncircle [[177deg, 31.5deg], 60arcsec]\n")
    with pytest.raises(UvstackError, match="no peak in region|not wholly"):
        run(regions=tmp_path / "nothing.crtf")
    edit(run.ms, "FLAG", lambda flags: np.ones_like(flags))
    with pytest.raises(UvstackError, match="flagged"):
        run()
