"""The short subset that `make test-pythons` runs on every Python: stack, fit, image and subtract against plain sums, with both
back ends for tables; the command line; files in TOML."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import oracles
import uvstack
from factories import ARCSEC, CENTRE, Spw, at, make_ms, offset
from simulate import read_survey
from uvstack.io.casa import open_table
from uvstack.sky.components import components

CELL = 5 * ARCSEC
#: On pixels of the image.
SOURCES = [(*offset(16 * CELL, -24 * CELL), 1.0), (*offset(-12 * CELL, 10 * CELL), 0.4)]
NOISE = 0.05
# Visibilities and phasors are float32.
PRECISION = 1e-5


@pytest.fixture
def example(tables, tmp_path):
    """A set with two point sources in noise."""
    return make_ms(tmp_path / "a.ms", sources=SOURCES, noise=NOISE, n_ant=12, n_times=6, scale=0.05)


def column(ms, name):
    """A column by the back end in force."""
    with open_table(ms) as table:
        return table.read(name)


def test_stack(example, tmp_path):
    positions = [source[:2] for source in SOURCES]
    result = uvstack.stack(example, at(*positions), out=tmp_path / "stacked.ms")
    uvw, vis = column(example, "UVW"), column(example, "DATA")
    stacks = [(*oracles.stack(vis[:, :, c], uvw, Spw().frequency, positions, *CENTRE), 1.0)
              for c in (0, 1)]
    assert result.flux == pytest.approx(oracles.weighted_mean(stacks), rel=PRECISION)
    found = column(tmp_path / "stacked.ms", "DATA")
    assert np.abs(found[:, :, 0] - stacks[0][0]).max() < PRECISION * np.abs(vis).max()


def test_fit(example):
    result = uvstack.fit(example, model=["delta", "delta"],
                         var=["p[0],p[1],p[2]", "p[3],p[4],p[5]"],
                         p_ini=[81.0, -119.0, 0.9, -61.0, 51.0, 0.5])
    truth = np.array([80.0, -120.0, 1.0, -60.0, 50.0, 0.4])
    assert (np.abs(result.parameters - truth) < 4 * result.errors).all()
    assert result.errors[2] < 0.01


def test_image(example):
    result = uvstack.image(example, size=96, cell=CELL)
    for ra, dec, flux in SOURCES:
        i, j = (round(x) for x in result.grid.pixel_of(ra, dec))
        assert result.image[0, i, j] == pytest.approx(flux, abs=4 * result.noise_expected)


def test_subtract(example):
    ra, dec, flux = np.array(SOURCES).T
    uvstack.subtract(example, components(ra, dec, flux))
    model = oracles.predict(column(example, "UVW"), Spw().frequency, SOURCES, *CENTRE)
    rest = column(example, "DATA") - model[:, :, None]
    assert np.abs(column(example, "RESIDUAL_DATA") - rest).max() < PRECISION


def test_the_command_line(example, tmp_path):
    rows = "".join(f"{np.rad2deg(ra):.9f},{np.rad2deg(dec):.9f}\n" for ra, dec, _ in SOURCES)
    (tmp_path / "list.csv").write_text(f"ra,dec\n{rows}")
    done = subprocess.run([sys.executable, "-m", "uvstack", "stack", "a.ms", "list.csv",
                           "--primary-beam", "vla", "--no-ms"], cwd=tmp_path, capture_output=True,
                          text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "flux" in done.stdout
    assert "warning" not in done.stderr


def test_files_in_toml():
    assert read_survey(Path(__file__).parent.parent / "docs"
                       / "survey_example.toml").settings(seed=1)


@pytest.mark.parametrize("what", ["tables", "tclean"])
def test_casa_without_its_tables_is_one_line(tmp_path, what):
    """A user for whom CASA was never set up, and no casadata.

    Nothing but the error, with the remedy.
    """
    pytest.importorskip("casatasks", exc_type=ImportError)
    ms = make_ms(tmp_path / "a.ms", sources=SOURCES)
    (tmp_path / "no_casadata.py").write_text("import importlib.util, sys\nfind = "
                                             "importlib.util.find_spec\n"
                                             "importlib.util.find_spec = lambda name, *a: None if "
                                             "name == 'casadata' else find(name, *a)\n"
                                             "from uvstack.cli.main import main\nmain()\n")
    options = ["info"] if what == "tables" else ["image", "--size", "64", "--cell", "5arcsec",
                                                 "--imager", "casa", "--out", "x"]
    environment = {name: value for name, value in os.environ.items() if name != "CASASITECONFIG"}
    done = subprocess.run([sys.executable, "no_casadata.py", *options, str(ms)], cwd=tmp_path,
                          capture_output=True, text=True, check=False,
                          env=environment | {"HOME": str(tmp_path)}
                          | ({"UVSTACK_TABLES": "casatools"} if what == "tables" else {}))
    assert done.returncode == 1
    assert not done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "python -m casaconfig --update-all" in done.stderr
