"""The command line as a stranger uses it: each option once, each error in one line."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from click.testing import CliRunner

from factories import ARCMIN, edit, make_ms, offset, read
from uvstack.cli.main import group
from uvstack.errors import DroppedPositionsWarning, OutputError

N = 6


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A set and a list with groups and weights."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(1)
    positions = [offset(*rng.uniform(-5 * ARCMIN, 5 * ARCMIN, 2)) for _ in range(N)]
    make_ms(folder / "survey.ms", sources=[(*p, 1.0) for p in positions], noise=0.5,
            data_columns=("DATA", "MODEL_DATA"), n_ant=10, n_times=10)
    rows = "".join(f"{np.rad2deg(a):.9f},{np.rad2deg(d):.9f},{k + 1},{'ab'[k % 2]}\n"
                   for k, (a, d) in enumerate(positions))
    (folder / "positions.csv").write_text("ra,dec,w,kind\n" + rows)
    return folder


def run(*args):
    """Exit status and output of a command in this process.

    Errors of uvstack come out as they are.
    """
    result = CliRunner().invoke(group, [str(a) for a in args], catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.drawn
def test_stack_writes_set_numbers_pictures_and_page(survey, tmp_path):
    code, output = run("stack", survey / "survey.ms", survey / "positions.csv", "--primary-beam",
                       "vla", "--weights", "primary-beam", "--uvmin", "300m", "--uvmax", "4km",
                       "--bootstrap", 50, "--seed", 4, "--group-by", "kind", "--columns",
                       "weight=w", "--bins", 8, "--stamp", 32, "--out", tmp_path / "s.ms")
    assert code == 0
    assert "SNR" in output
    report = tmp_path / "s-report"
    found = json.loads((report / "result.json").read_text())
    assert found["n_positions"] == N
    assert set(found["groups"]) == {"a", "b"}
    assert found["bootstrap"]["n"] == 50
    # Printed to the second digit of the error.
    printed = float(output.split("flux")[1].split("±")[0])
    assert printed * (1 if " Jy" in output else 1e-3) == pytest.approx(
        found["flux_jy"], abs=0.1 * found["flux_error_jy"])
    assert len(QTable.read(report / "uv_profile.ecsv")) == 8
    stamp = fits.getdata(report / "stamp.fits")
    assert stamp.shape == (32, 32)
    header = fits.getheader(report / "stamp.fits")
    assert header["BUNIT"] == "Jy/beam"
    assert header["CDELT1"] < 0 < header["CDELT2"]
    page = (report / "index.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    for name in ("uv_profile.png", "stamp.png", "bootstrap.png"):
        assert (report / name).read_bytes()[:4] == b"\x89PNG"
    assert read(tmp_path / "s.ms", "NAME", "FIELD").tolist() == ["stack"]
    assert (tmp_path / "s-a.ms").is_dir()
    assert any("uvstack" in message for message in read(tmp_path / "s.ms", "MESSAGE", "HISTORY"))


def test_fluxes_are_printed_to_the_second_digit_of_their_error():
    from uvstack.report.numbers import with_error

    assert with_error(26.7051e-6, 3.993e-6, 1e-6) == "26.7 ± 4.0"
    assert with_error(2.5234, 0.2184, 1.0) == "2.52 ± 0.22"
    assert with_error(1234.5, 123.4, 1.0) == "1234 ± 123"
    assert with_error(1.0, 0.0, 1.0) == "1 ± 0"


def test_every_other_option_changes_what_it_says(survey, tmp_path):
    args = ("stack", survey / "survey.ms", survey / "positions.csv", "--no-ms", "--report")

    def flux(name, *more):
        code, _ = run(*args, tmp_path / name, *more)
        assert code == 0
        return json.loads((tmp_path / name / "result.json").read_text())

    plain = flux("plain")
    assert flux("same", "--threads", 1)["flux_jy"] == plain["flux_jy"]
    assert flux("zero", "--column", "DATA-MODEL_DATA")["flux_jy"] == 0.0
    assert flux("list", "--weights", "list", "--columns", "weight=w")["flux_jy"] != plain["flux_jy"]
    assert flux("time", "--timerange",
                ">12:00:45")["n_visibilities"] == plain["n_visibilities"] // 2
    assert flux("field", "--field", "field0", "--spw", "0")["flux_jy"] == plain["flux_jy"]
    with pytest.warns(DroppedPositionsWarning):
        assert flux("cut", "--primary-beam", "gaussian:5arcmin@1.4GHz", "--pb-cutoff",
                    "0.5")["n_positions"] < N
    assert flux("facets", "--reproject", "--facet-size",
                "1arcmin")["flux_jy"] == pytest.approx(plain["flux_jy"], rel=1e-5)
    assert flux("galactic", "--frame", "J2000", "--unit", "deg")["flux_jy"] == plain["flux_jy"]
    flux("cell", "--stamp-cell", "2arcsec")
    assert fits.getheader(tmp_path / "cell" / "stamp.fits")["CDELT2"] == pytest.approx(2 / 3600)
    image = tmp_path / "noise.fits"
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": np.rad2deg(3.1),
                          "CRVAL2": np.rad2deg(0.55), "CRPIX1": 51, "CRPIX2": 51, "CDELT1": -0.005,
                          "CDELT2": 0.005})
    fits.writeto(image, np.tile(np.linspace(1, 3, 100), (100, 1)), header)
    noisy = flux("noise", "--weights", "local-noise", "--noise-image", image, "--noise-kind",
                 "rms-flat")
    assert noisy["flux_jy"] != plain["flux_jy"]


def test_overwrite_replaces_and_its_absence_refuses(survey, tmp_path):
    args = [str(a)
            for a in ("stack", survey / "survey.ms", survey / "positions.csv", "--out",
                      tmp_path / "s.ms")]
    assert run(*args)[0] == 0
    refused = subprocess.run([sys.executable, "-m", "uvstack", *args], capture_output=True,
                             text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.strip().count("\n") == 0
    assert "--overwrite" in refused.stderr
    assert run(*args, "--overwrite")[0] == 0
    # A report alone is an output too.
    again = [*args[:3], "--no-ms", "--report", str(tmp_path / "s-report")]
    with pytest.raises(OutputError, match="--overwrite"):
        run(*again)
    assert run(*again, "--overwrite")[0] == 0


@pytest.mark.parametrize(("args", "wanted"),
                         [(["stack", "nothing.ms", "p.csv", "--no-ms"],
                           "nothing.ms: no such measurement set"),
                          (["stack", "a.ms", "p.csv"], "--no-ms"),
                          (["stack", "a.ms", "p.csv", "--no-ms", "--out", "b.ms"], "contradict"),
                          (["stack", "a.ms", "p.csv", "--no-ms", "--facet-size", "5"],
                           "'5' cannot be read: has no unit; wanted e.g. 0.3arcsec"),
                          (["stack", "a.ms", "p.csv", "--no-ms", "--columns", "ra"],
                           "cannot be read"), (["stak"], "did you mean 'stack'"),
                          (["info", "nothing.ms"], "no such measurement set")])
def test_bad_calls_end_in_one_line_and_a_status(args, wanted, tmp_path):
    done = subprocess.run([sys.executable, "-m", "uvstack", *args], capture_output=True, text=True,
                          check=False, cwd=tmp_path)
    assert done.returncode != 0
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_info_tells_what_is_there(survey, tmp_path):
    ms = make_ms(tmp_path / "a.ms", autocorrelation=1.0, n_ant=5, n_times=2)

    def flag(values):
        values[:15] = True

    edit(ms, "FLAG", flag)
    code, output = run("info", ms, "--json")
    found = json.loads(output)
    assert code == 0
    assert found["n_rows"] == 30
    assert found["flagged_fraction"] == pytest.approx(0.5)
    assert found["autocorrelations"] == 10
    uvw = read(ms, "UVW")
    distance = np.hypot(uvw[:, 0], uvw[:, 1])
    assert found["longest_baseline_m"] == pytest.approx(distance.max())
    assert found["shortest_baseline_m"] == pytest.approx(distance[distance > 0].min())
    assert found["resolution_rad"] == pytest.approx(299_792_458.0 / 1.42e9 / distance.max())
    assert found["data_descriptions"][0]["correlations"] == ["RR", "LL"]
    code, text = run("info", ms)
    assert code == 0
    assert "50.0 %" in text
    # 3.1 and 0.55 rad.
    assert "11:50:28.060 +31:30:45.64 J2000" in text


def test_demo_finds_what_it_hid(tmp_path):
    code, output = run("demo", "--out", tmp_path / "demo", "--seed", 5)
    assert code == 0
    found = json.loads((tmp_path / "demo" / "report" / "result.json").read_text())
    assert abs(found["flux_jy"] - 2.5e-6) < 4 * found["flux_error_jy"]
    assert found["snr"] > 5
    assert "true flux    2.5 µJy" in output
    page = (tmp_path / "demo/report/index.html").read_text()
    sections = re.findall("<h2>(.*?)</h2>", page)
    assert sections[:2] == ["Before stacking: the map", "uv profile"]
    assert sections.count("The same number of empty positions") == 1
    empty, error = map(float,
                       re.search(r"stack of empty positions</th><td>(-?[\d.]+) ± ([\d.]+) µJy",
                                 page).groups())
    assert abs(empty) < 4 * error
    assert error == pytest.approx(found["flux_error_jy"] * 1e6, rel=0.2)


def test_stages_of_peeling_are_lines_where_there_is_no_terminal(capsys):
    from uvstack.cli.peel import _stages

    with _stages() as tell:
        for stage, part in (("first image", 0.0), ("first image", 0.5), ("joint 1", 0.0)):
            tell(stage, part)
    told = capsys.readouterr()
    assert [line.split(" s  ")[1] for line in told.err.splitlines()] == ["first image", "joint 1"]
    assert told.out == ""
