"""`uvstack fit` and `uvstack stack --fit` as a stranger uses them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import QTable
from click.testing import CliRunner

from factories import ARCMIN, ARCSEC, Spw, edit, make_ms, offset, read
from uvstack.cli.main import group
from uvstack.errors import UvstackError

FLUX, FWHM = 0.8, 6.0


def gaussian(uvw, frequency, flux=FLUX, fwhm=FWHM):
    q = np.hypot(uvw[:, 0], uvw[:, 1])[:, None] * frequency / 299_792_458.0
    return flux * np.exp(-((np.pi * fwhm * ARCSEC * q) ** 2) / (4 * np.log(2)))


@pytest.fixture(scope="module")
def ms(tmp_path_factory):
    """A circular Gaussian at the phase centre with noise of 0.05 Jy."""
    made = make_ms(tmp_path_factory.mktemp("fit") / "source.ms", n_ant=10, n_times=8, noise=0.05)
    uvw = read(made, "UVW")
    edit(made, "DATA", lambda vis: vis + gaussian(uvw, Spw().frequency)[:, :, None])
    return made


def run(*args):
    result = CliRunner().invoke(group, [str(a) for a in args], catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.drawn
def test_fit_prints_and_writes_what_it_found(ms, tmp_path):
    code, output = run("fit", ms, "--model", "gaussian", "--circular", "--uvmin", "100m",
                       "--bootstrap", 20, "--seed", 1, "--report", tmp_path / "r", "--write",
                       "model", "--into", "FITTED", "--threads", 1)
    assert code == 0
    found = json.loads((tmp_path / "r" / "result.json").read_text())
    flux, fwhm = found["parameters"]
    assert (flux["name"], flux["unit"], fwhm["name"],
            fwhm["unit"]) == ("flux", "Jy", "fwhm", "arcsec")
    assert abs(flux["value"] - FLUX) < 4 * flux["error"] < 0.1
    assert abs(fwhm["value"] - FWHM) < 4 * fwhm["error"] < 1.0
    printed = {line.split()[0]: line.split() for line in output.splitlines() if line.strip()}
    assert float(printed["fwhm"][1]) == pytest.approx(fwhm["value"], abs=0.1 * fwhm["error"])
    assert printed["fwhm"][4] == "arcsec"
    assert {"model", "data", "χ²", "stopped", "bootstrap", "written", "report"} <= printed.keys()
    assert printed["stopped"][1] == "converged"
    assert printed["data"][1:6] == ["Stokes", "I,", "1.395", "to", "1.425"]
    assert "reduced 1." in output or "reduced 0." in output
    assert "  " not in " ".join(line[15:] for line in output.splitlines())
    table = QTable.read(tmp_path / "r" / "parameters.ecsv")
    assert table["fwhm"][0].to_value("arcsec") == pytest.approx(fwhm["value"])
    profile = QTable.read(tmp_path / "r" / "uv_profile.ecsv")
    assert profile["count"].sum() == found["n_visibilities"]
    assert (tmp_path / "r" / "fit.png").read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "r" / "index.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "Fit of gaussian" in page
    assert np.abs(read(ms, "FITTED")[:, :, 0]
                  - gaussian(read(ms, "UVW"), Spw().frequency)).max() < 4 * flux["error"]


def test_components_and_expressions_reach_the_fit(ms, tmp_path):
    args = ("fit", ms, "--report", tmp_path / "r", "--overwrite")
    code, _ = run(*args, "--model", "disc", "--model", "delta", "--var", "0,0,p[0],p[1],1,0",
                  "--var", "p[2],0,p[3]", "--p-ini", "0.7,9,1,0.01", "--bounds", "0:2,1:20,-5:5,:",
                  "--nu0", "1.41GHz", "--stokes", "PI", "--no-scale-errors")
    assert code == 0
    found = json.loads((tmp_path / "r" / "result.json").read_text())
    assert found["model"] == ["disc", "delta"]
    assert found["frequency_hz"] == 1.41e9
    assert found["errors_scaled"] is False
    code, output = run(*args, "--per-channel", "--model", "delta", "--fixed", "gaussian",
                       "--fixedvar", f"0,0,{FLUX},{FWHM},1,0")
    assert code == 0
    ends = [line.split("  ")[0] for line in output.splitlines() if line[0].isdigit()]
    assert ends == ["1.395 to 1.405 GHz", "1.405 to 1.415 GHz", "1.415 to 1.425 GHz"]
    table = QTable.read(tmp_path / "r" / "parameters.ecsv")
    assert table["frequency_min"].to_value("GHz") == pytest.approx([1.395, 1.405, 1.415])
    found = json.loads((tmp_path / "r" / "result.json").read_text())
    assert all(abs(one["parameters"][0]["value"]) < 4 * one["parameters"][0]["error"]
               for one in found)
    assert (tmp_path / "r" / "spectrum.png").is_file()
    code, _ = run(*args, "--var", "0,0,p[0],p[1],1,0", "--p-ini", "1,5,1,0", "--amp-gains",
                  "VA01=p[2]", "--phase-gains", "2=p[3]")
    found = json.loads((tmp_path / "r" / "result.json").read_text())
    assert found["parameters"][2]["value"] == pytest.approx(1.0,
                                                            abs=4 * found["parameters"][2]["error"])


def test_a_column_wants_an_option_of_its_own(ms, tmp_path):
    args = ("fit", ms, "--model", "delta", "--no-report", "--overwrite", "--write", "residual")
    before = read(ms, "DATA")
    with pytest.raises(UvstackError, match="column DATA is what is fitted.*--overwrite-column"):
        run(*args, "--into", "DATA")
    assert run(*args, "--into", "LEFT")[0] == 0
    with pytest.raises(UvstackError, match="column DATA holds what was observed"):
        run(*args, "--column", "LEFT", "--into", "DATA")
    with pytest.raises(UvstackError, match="column LEFT exists"):
        run(*args, "--into", "LEFT")
    assert run(*args, "--into", "LEFT", "--overwrite-column")[0] == 0
    assert (read(ms, "DATA") == before).all()


def test_antennas_go_by_their_names_which_info_lists(ms):
    assert "antennas     VA00 VA01 VA02" in run("info", ms)[1]
    gains = ("fit", ms, "--no-report", "--var", "0,0,p[0],p[1],1,0", "--p-ini", "1,5,1",
             "--amp-gains")
    with pytest.raises(UvstackError, match="no antenna VA1; did you mean VA01.*VA00, VA01, .*VA09"):
        run(*gains, "VA1=p[2]")


def test_limits_stand_in_the_tables_and_pictures(tmp_path):
    ms = make_ms(tmp_path / "p.ms", n_ant=10, n_times=8, noise=0.2)
    edit(ms, "DATA", lambda vis: vis + 1.0)
    assert run("fit", ms, "--report", tmp_path / "r", "--per-channel")[0] == 0
    found = json.loads((tmp_path / "r" / "result.json").read_text())
    table = QTable.read(tmp_path / "r" / "parameters.ecsv")
    limits = [one["parameters"][1]["upper_limit_95"] for one in found]
    assert None not in limits
    assert table["fwhm_limit_95"].to_value("arcsec") == pytest.approx(limits)
    assert "68 %" in table["fwhm_error"].info.description
    page = (tmp_path / "r" / "index.html").read_text()
    assert "phase centre rad" in page
    assert "J2000 " in page


def test_a_report_is_replaced_only_when_told(ms, tmp_path):
    assert run("fit", ms, "--model", "delta", "--report", tmp_path / "r")[0] == 0
    with pytest.raises(UvstackError, match="--overwrite"):
        run("fit", ms, "--model", "delta", "--report", tmp_path / "r")
    assert run("fit", ms, "--model", "delta", "--report", tmp_path / "r", "--overwrite")[0] == 0
    assert run("fit", ms, "--model", "delta", "--no-report")[0] == 0


@pytest.mark.parametrize(("args", "status", "wanted"), [
    (["nothing.ms"], 1, "nothing.ms: no such measurement set"),
    (["MS", "--model", "gausian", "--no-report"], 1, "nearest is gaussian"),
    (["MS", "--nu0", "1.4", "--no-report"], 2, "has no unit; wanted e.g. 1.4GHz"),
    (["MS", "--nu0", "1.4parsec"], 2, "wanted e.g. 1.4GHz"),
    (["MS", "--bounds", "0-2"], 2, "low:high"),
    (["MS", "--p-ini", "a"], 2, "wanted numbers"),
    (["MS", "--phase-gains", "p[1]"], 2, "ANTENNA=EXPRESSION"),
    (["MS", "--no-report", "--report", "r"], 2, "contradict")])
def test_bad_calls_end_in_one_line_and_a_status(ms, tmp_path, args, status, wanted):
    args = [str(ms) if a == "MS" else a for a in args]
    done = subprocess.run([sys.executable, "-m", "uvstack", "fit", *args], capture_output=True,
                          text=True, check=False, cwd=tmp_path)
    assert done.returncode == status
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    # No empty line from a progress bar either.
    assert done.stderr.startswith(("error:", "Usage:"))
    assert not list(tmp_path.iterdir())


def test_a_stack_is_fitted_in_the_same_run(tmp_path):
    positions = [offset(2 * ARCMIN, -1 * ARCMIN)]
    ms = make_ms(tmp_path / "survey.ms", n_ant=10, n_times=8, noise=0.02,
                 sources=[(*p, 0.25) for p in positions])
    uvw = read(ms, "UVW")
    edit(ms, "DATA", lambda vis: vis * gaussian(uvw, Spw().frequency, 1.0)[:, :, None])
    rows = "".join(f"{np.rad2deg(a):.9f},{np.rad2deg(d):.9f}\n" for a, d in positions)
    (tmp_path / "p.csv").write_text("ra,dec\n" + rows)
    args = ("stack", ms, tmp_path / "p.csv", "--out", tmp_path / "s.ms", "--uvmin", "300m")
    code, output = run(*args, "--fit", "Gaussian")
    assert code == 0
    found = json.loads((tmp_path / "s-report" / "fit.json").read_text())
    flux, fwhm = found["parameters"]
    assert abs(flux["value"] - 0.25) < 4 * flux["error"] < 0.1
    assert abs(fwhm["value"] - FWHM) < 4 * fwhm["error"] < 2
    assert "Fit of gaussian" in output
    assert "\n  fwhm         6.0" in output or "\n  fwhm         5.9" in output
    assert "Fit of gaussian" in (tmp_path / "s-report" / "index.html").read_text()
    with pytest.raises(UvstackError, match="nearest is gaussian"):
        run(*args, "--overwrite", "--fit", "gausian")
    with pytest.raises(UvstackError, match=r"wants the stacked measurement set; give out \(--out\)"):
        run("stack", ms, tmp_path / "p.csv", "--no-ms", "--fit", "disc")


def test_uvmultifit_is_the_class_in_a_fresh_process():
    """No module may hide the class, whatever is imported first."""
    module, public = "import uvstack.fitting.multifit.call\n", "from uvstack.fitting import uvmultifit"
    for before in ("", module, "import uvstack\nuvstack.fit\n",
                   "from uvstack.fitting import fit_visibilities\n"):
        code = f"{before}{public}\n{module}{public} as again\nimport uvstack\n"
        code += "assert isinstance(uvmultifit, type) and again is uvmultifit and uvstack.uvmultifit is uvmultifit, uvmultifit"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr
