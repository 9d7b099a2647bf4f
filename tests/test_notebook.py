"""The notebook of the documentation runs, and finds what is in its data."""

import json
import tempfile
from pathlib import Path

import matplotlib
import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents
            if (folder / "setup.cfg").is_file())


@pytest.fixture
def cells():
    """Code of the notebook, cell by cell, without lines for the notebook alone."""
    notebook = json.loads((ROOT / "docs/first_stack.ipynb").read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "outputs are made with the documentation, not kept"
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell.replace("%matplotlib inline\n", "") for cell in code]


def test_the_notebook_finds_the_flux_of_the_demo(cells, tmp_path, monkeypatch):
    pytest.importorskip("IPython")
    matplotlib.use("agg")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = {}
    for cell in cells:
        exec(compile(cell, "first_stack.ipynb", "exec"), names)
    result, fitted = names["result"], names["fitted"]
    assert abs(result.flux - 2.5e-6) < 4 * result.flux_error
    assert abs(fitted.flux - result.flux) < result.flux_error, "a free position moves the flux by less than its noise"
    assert names["brightness"].std() == pytest.approx(7.0, rel=0.1)
    assert sum(names["inside"]) > 30
