"""`uvstack subtract` as a stranger uses it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import uvstack
from factories import ARCMIN, make_ms, offset, read
from uvstack.cli.main import group
from uvstack.errors import OutputError
from uvstack.io.unfinished_column import read_mark
from uvstack.sky.components import components

SOURCES = [(*offset(3 * ARCMIN, -5 * ARCMIN), 1.0), (*offset(-7 * ARCMIN, 2 * ARCMIN), 0.4)]


@pytest.fixture
def survey(tmp_path, monkeypatch):
    """A set and the catalogue of what is in it."""
    monkeypatch.chdir(tmp_path)
    components(*np.array(SOURCES).T).to_table().write("model.ecsv")
    return make_ms(tmp_path / "survey.ms", sources=SOURCES)


def run(*args):
    result = CliRunner().invoke(group, [str(a) for a in args], catch_exceptions=False)
    return result.exit_code, result.output


def test_subtract_prints_writes_and_reports(survey):
    code, output = run("subtract", survey, "--model", "model.ecsv", "--into", "REST", "--threads",
                       1)
    assert code == 0
    assert np.abs(read(survey, "REST")).max() < 1e-5
    printed = {line.split()[0]: line for line in output.splitlines()}
    assert "REST" in printed["written"]
    assert "1.4 Jy" in printed["model"]
    found = json.loads(Path("survey-subtract-report/result.json").read_text())
    assert found["rms_after_jy"] < 1e-5 < 0.5 < found["rms_before_jy"]
    assert found["n_subtracted"] == found["n_rows"] == len(read(survey, "REST"))
    assert found["provenance"]["inputs"]["options"]["into"] == "REST"
    assert Path("survey-subtract-report/amplitudes.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(OutputError, match="survey-subtract-report"):
        run("subtract", survey, "--model", "model.ecsv", "--into", "MORE")
    assert "MORE" not in uvstack.io.ms.read_structure(survey).columns


def test_predict_only_in_place_and_frequency_in_ghz(survey):
    lines = [f"{np.rad2deg(r):.15g},{np.rad2deg(d):.15g},{f},-1\n" for r, d, f in SOURCES]
    Path("m.csv").write_text("ra,dec,flux,spectral_index\n" + "".join(lines))
    assert run("subtract", survey, "--model", "m.csv", "--nu0", "1.4GHz", "--predict-only",
               "--no-report")[0] == 0
    ratio = np.abs(read(survey, "MODEL_DATA") / read(survey, "DATA"))
    # All sources have the spectrum 1/ν, so it is that of every visibility.
    assert np.abs(ratio / (1.4e9 / (1.4e9 + 10e6 * np.arange(3)))[:, None] - 1).max() < 1e-4
    before = read(survey, "DATA")
    code, output = run("subtract", survey, "--model", "model.ecsv", "--in-place", "--backup",
                       "SAFE", "--no-report")
    assert code == 0
    assert "kept in column SAFE" in output
    assert np.array_equal(read(survey, "SAFE"), before)
    assert np.abs(read(survey, "DATA")).max() < 1e-5
    assert run("subtract", survey, "--model", "m.csv", "--report", "x", "--no-report")[0] == 2


def test_an_interrupt_says_what_is_left_and_the_same_command_goes_on(survey):
    script = """
import functools, sys, time
import uvstack
from uvstack.subtraction import column_files as subtract_column_task
from uvstack.cli.main import main
uvstack.subtract = functools.partial(uvstack.subtract, chunk_size=100)
write = subtract_column_task.Target.write
def slow(self, *args):
    write(self, *args)
    print("written", flush=True)
    time.sleep(0.3)
subtract_column_task.Target.write = slow
sys.argv = ["uvstack", *sys.argv[1:]]
main()
"""
    command = ["subtract", str(survey), "--model", "model.ecsv", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(uvstack.__file__).parent.parent)}
    process = subprocess.Popen([sys.executable, "-c", script, *command], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130, told
    assert "column RESIDUAL_DATA" in told
    assert "is unfinished" in told
    assert 0 < read_mark(str(survey), "RESIDUAL_DATA")["rows"] < len(read(survey, "TIME"))
    code, output = run(*command)
    assert code == 0
    assert "gone on from row" in output
    assert np.abs(read(survey, "RESIDUAL_DATA")).max() < 1e-5
