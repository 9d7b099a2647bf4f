"""Peeling as a whole: against gains that are known, by a program that says them, and by QuartiCal."""

import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import peel
from factories import ARCSEC, Spw, edit, make_ms, offset, read
from uvstack.errors import OutputError, UvstackError, UvstackWarning
from uvstack.io.casa import open_table

N_ANT = 16
FIELD, BRIGHT = (*offset(120 * ARCSEC, 180 * ARCSEC), 0.3), (*offset(240 * ARCSEC, 900 * ARCSEC), 3.0)
MAKE = {"spws": (Spw(n=4),), "n_ant": N_ANT, "n_times": 10, "scale": 0.05}
#: Images that are just fine enough for two sources.
IMAGES = {"size": 384, "cell": 6 * ARCSEC}

#: A program in QuartiCal's place: gains that were told, in stores as QuartiCal writes them.
PROGRAM = """#!{python}
import os, sys
import numpy as np
import yaml
import zarr
options = yaml.safe_load(open(sys.argv[1]))
name = os.path.basename(options["output"]["gain_directory"])
open("{calls}", "a").write(name + chr(10))
stop = "{stop}"
if os.path.exists(stop) and open(stop).read() in name:
    os.kill(os.getppid(), 9)
truth = np.load("{truth}")
store = zarr.open_group(options["output"]["gain_directory"], mode="w")
n_dir = options["input_model"]["recipe"].count(":") + 1
for term in options["solver"]["terms"]:
    gains = np.ones((1, 1, {n_ant}, n_dir if options[term].get("direction_dependent") else 1, 2), complex)
    if term == "G" and name.startswith("selfcal"):
        gains[:] = truth["g"][:, None, None]
    elif term in ("J", "dE"):
        gains[0, 0, :, -1] = truth["d"][:, None]
    group = store.require_group(term).require_group(term + "_0")
    group.attrs.update(FIELD_ID=0, DATA_DESC_ID=0, SCAN_NUMBER=1)
    group["gains"] = gains
    flags = np.zeros(gains.shape[:4], np.int8)
    flags[:, :, {bad}] = term in ("J", "dE")
    group["gain_flags"] = flags
    group["jhj"] = np.full(gains.shape, 1e9)
    group["conv_perc"] = np.ones((1, 1))
"""


def truth_of(seed=2):
    rng = np.random.default_rng(seed)
    g, d = (np.exp(1j * rms * rng.standard_normal(N_ANT)) for rms in (0.12, 0.03))
    return g, d * (1 + 0.05 * rng.standard_normal(N_ANT))


def through(gains, one, two):
    return (gains[one] * gains[two].conj())[:, None, None]


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A set whose gains are known, its models, a region, and a program that says the gains."""
    folder = tmp_path_factory.mktemp("peel")
    g, d = truth_of()
    np.savez(folder / "truth.npz", g=g, d=d)
    path = make_ms(folder / "a.ms", sources=[FIELD], **MAKE)
    field = read(path, "DATA")
    bright = read(make_ms(folder / "bright.ms", sources=[BRIGHT], **MAKE), "DATA")
    one, two = read(path, "ANTENNA1"), read(path, "ANTENNA2")
    edit(path, "DATA", lambda _: through(g, one, two) * field + through(g * d, one, two) * bright)
    at = np.rad2deg(BRIGHT[:2])
    (folder / "bright.crtf").write_text(f"#CRTFv0\ncircle [[{at[0]}deg, {at[1]}deg], 200arcsec]\n")
    return folder, field, bright


def program(folder, truth, bad="[]"):
    """An environment whose goquartical says gains of a file, and notes what it was asked."""
    (folder / "bin").mkdir(parents=True)
    text = PROGRAM.format(python=sys.executable, calls=folder / "calls", stop=folder / "stop",
                          truth=truth, n_ant=N_ANT, bad=bad)
    (folder / "bin" / "goquartical").write_text(text)
    (folder / "bin" / "goquartical").chmod(0o755)
    return folder


@pytest.fixture
def run(observed, tmp_path, monkeypatch):
    """Peels a copy of the set; further options are those of `peel.peel`."""
    monkeypatch.setattr("peel.quartical._VERSION", "print('0.2.7')")
    monkeypatch.setattr("peel.quartical._python_of", lambda program: Path(sys.executable))
    shutil.copytree(observed[0] / "a.ms", tmp_path / "a.ms")
    env = program(tmp_path / "env", observed[0] / "truth.npz")

    def call(**options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UvstackWarning)
            return peel.peel(tmp_path / "a.ms", **{
                "regions": observed[0] / "bright.crtf", "out": tmp_path / "out", "rounds": 1,
                "quartical": env, "threads": 1, **IMAGES, **options})

    call.ms, call.env, call.out = tmp_path / "a.ms", env, tmp_path / "out"
    return call


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
                 "quartical-joint-1.yaml", "gains/joint-1.npz", "gains/gains.png"):
        assert (run.out / name).exists(), name
    assert str(result) == str(result.sections()[0])
    result.save(run.out.with_name("x.json"))
    assert json.loads(run.out.with_name("x.json").read_text()) == told
    rows = {row["image"]: row for row in result.table}
    assert rows["peeled"]["dynamic_range"] > 3 * rows["first image"]["dynamic_range"]


@pytest.mark.parametrize(("keep", "wanted"), [(True, "model"), ("gains", "data")])
def test_the_source_is_put_back(run, observed, keep, wanted):
    _, field, bright = observed
    result = run(keep_source=keep)
    # What is measured is what is left without the source.
    assert result.table["dynamic_range"][-1] > 3 * result.table["dynamic_range"][0]
    g, _ = truth_of()
    got = read(run.ms, "PEELED_DATA")
    if wanted == "data":
        one, two = read(run.ms, "ANTENNA1"), read(run.ms, "ANTENNA2")
        np.testing.assert_allclose(got, read(run.ms, "DATA") / through(g, one, two), atol=2e-6)
    else:
        # The source without gains: a point of the flux that was fitted.
        scale = np.vdot(bright, got - field).real / np.vdot(bright, bright).real
        assert 0.95 < scale < 1.01
        assert np.std(got - field - scale * bright) < 0.04 * np.std(bright)


def test_uncorrected_data_and_the_memo_s_step(run, observed):
    g, _ = truth_of()
    run(correct="none", memo=True)
    assert not any(name.startswith("field") for name in asked(run.env))
    one, two = read(run.ms, "ANTENNA1"), read(run.ms, "ANTENNA2")
    left = read(run.ms, "PEELED_DATA") - through(g, one, two) * observed[1]
    assert np.std(left) < 0.04 * np.std(observed[2])


def test_failed_gains_keep_their_data(run, observed, tmp_path):
    env = program(tmp_path / "other", observed[0] / "truth.npz", bad="[2, 5]")
    result = run(quartical=env)
    one, two = read(run.ms, "ANTENNA1"), read(run.ms, "ANTENNA2")
    bad = np.isin(one, (2, 5)) | np.isin(two, (2, 5))
    np.testing.assert_array_equal(read(run.ms, "PEELED_DATA")[bad], read(run.ms, "DATA")[bad])
    assert np.abs(read(run.ms, "PEELED_DATA") - read(run.ms, "DATA"))[~bad].min() > 1e-3
    assert result.fields["n_left"][0] == bad.sum() * 4 * 2
    assert any(f"gains failed for {bad.sum() * 8} visibilities" in text for _, text in result.notes)


def test_a_finished_run_is_not_done_again(run):
    run()
    n = len(asked(run.env))
    modified = os.stat(run.out / "peel.json").st_mtime_ns
    again = run()
    assert len(asked(run.env)) == n
    assert os.stat(run.out / "peel.json").st_mtime_ns == modified
    assert again.columns == ("PEELED_DATA",)
    with pytest.raises(OutputError, match=r"other settings \(keep_model\)"):
        run(keep_model=True)
    with pytest.raises(OutputError, match="PEELED_DATA exists"):
        run(out=run.out.with_name("out2"))
    run(keep_model=True, overwrite=True)
    assert len(asked(run.env)) == 2 * n
    assert "PEELED_MODEL" in columns_of(run.ms)


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


@pytest.mark.parametrize("where", ["joint", "column"])
def test_a_killed_run_goes_on(run, observed, tmp_path, where):
    """Killed while a program solves, or while the last column is written."""
    import subprocess

    command = [sys.executable, "-c", CHILD, *map(str, (run.ms, observed[0] / "bright.crtf", run.out,
                                                       run.env))]
    if where == "joint":
        (run.env / "stop").write_text("joint")
        text = CHILD
    else:
        text = CHILD.replace("peel.peel(", """
import os, signal
import peel.passes_files as stages
write = stages.Passes.write
def killed(self, column, names, make, **options):
    def part(one):
        if column == "PEELED_DATA":
            os.kill(os.getpid(), signal.SIGKILL)
        return make(one)
    return write(self, column, names, part, **options)
stages.Passes.write = killed
peel.peel(""")
    command[2] = text
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    solved = len(asked(run.env))
    (run.env / "stop").unlink(missing_ok=True)
    run()
    assert len(asked(run.env)) == solved + (2 if where == "joint" else 0)
    assert not any(name.startswith("PEEL_") for name in columns_of(run.ms))
    left = read(run.ms, "PEELED_DATA") - observed[1]
    assert np.std(left) < 0.04 * np.std(observed[2])


def test_a_crash_leaves_the_set_as_it_was(run, observed, fingerprint):
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
    (tmp_path / "nothing.crtf").write_text("#CRTFv0\ncircle [[177deg, 31.5deg], 60arcsec]\n")
    with pytest.raises(UvstackError, match="no peak in region|not wholly|other half"):
        run(regions=tmp_path / "nothing.crtf")
    # A mistake in the regions does not claim the folder.
    with pytest.raises(UvstackError, match="no such file"):
        run(regions=tmp_path / "other.crtf")
    edit(run.ms, "FLAG", lambda flags: np.ones_like(flags))
    with pytest.raises(UvstackError, match="flagged"):
        run()


def test_quartical_finds_the_gains(observed, tmp_path):
    """The real one, with noise of 0.014 Jy: 3 Jy are gone to 1.5 %, of which the field is half.

    On 120 baselines gains of the bright source still take a fifth of a faint one after two rounds.
    """
    pytest.importorskip("quartical")
    _, field, bright = observed
    path = tmp_path / "a.ms"
    shutil.copytree(observed[0] / "a.ms", path)
    noise = 0.01 * np.random.default_rng(3).standard_normal((*field.shape, 2)) @ [1, 1j]
    edit(path, "DATA", lambda data: data + noise)
    edit(path, "WEIGHT", lambda weight: np.full_like(weight, 1e4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UvstackWarning)
        result = peel.peel(path, regions=observed[0] / "bright.crtf", out=tmp_path / "out",
                           rounds=2, threads=1, **IMAGES)
    left = read(path, "PEELED_DATA") - field
    assert np.std(left) < 0.015 * np.std(bright)
    flux = np.vdot(field, read(path, "PEELED_DATA")).real / np.vdot(field, field).real
    assert 0.75 < flux < 1.05
    row = result.fields[0]
    one, two = read(path, "ANTENNA1"), read(path, "ANTENNA2")
    amplitude = np.abs(through(truth_of()[1], one, two)).mean()
    assert row["flux_corrected"].value == pytest.approx(3.0 * amplitude, rel=0.015)
    assert row["chi_squared_after"] < 0.1 * row["chi_squared_before"]
    assert row["converged"] > 0.9
