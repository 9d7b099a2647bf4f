"""What a result says of where it came from: the same keys for every task."""

import json
import sys

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

import uvstack
from factories import ARCMIN, CENTRE, make_ms, offset
from simulate import epochs, single_dish_cube
from uvstack.io.provenance import provenance_of
from uvstack.records import plain
from uvstack.sky.components import components


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A small set, a list and a catalogue."""
    folder = tmp_path_factory.mktemp("provenance")
    place = offset(1 * ARCMIN, 0.0)
    make_ms(folder / "a.ms", sources=[(*place, 1.0)], noise=0.1, n_ant=5, n_times=2)
    row = f"{np.rad2deg(place[0]):.9f},{np.rad2deg(place[1]):.9f}"
    (folder / "p.csv").write_text(f"ra,dec\n{row}\n")
    (folder / "m.csv").write_text(f"ra,dec,flux\n{row},1.0\n")
    return folder


CALLS = {
    "stack": lambda f: uvstack.stack(f / "a.ms", f / "p.csv", stamp_size=8, bootstrap=4, seed=3),
    "montecarlo": lambda f: uvstack.montecarlo(f / "a.ms", f / "p.csv", realisations=2, seed=3,
                                               radius=5 * ARCMIN),
    "compare": lambda f: uvstack.compare(f / "a.ms", f / "p.csv", stamp=8, size=64, cell=2e-5),
    "image": lambda f: uvstack.image(f / "a.ms", size=32, cell=2e-5, iterations=0),
    "fit": lambda f: uvstack.fit(f / "a.ms", model="delta", offset=True, seed=3),
    "subtract": lambda f: uvstack.subtract(f / "a.ms", f / "m.csv", nu0=1.4e9, overwrite=True),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_result_has_the_same_keys(inputs, monkeypatch, name):
    monkeypatch.setattr(sys, "argv", ["/somewhere/survey.py", "a b"])
    result = CALLS[name](inputs)
    record = json.loads(json.dumps(plain(result.summary())))["provenance"]
    assert list(record) == ["version", "command", "inputs", "seed", "date"]
    assert record["version"] == uvstack.__version__
    assert record["command"] == "survey.py 'a b'"
    assert record["date"][-6:] == "+00:00"
    assert record["seed"] == (3 if name in ("stack", "montecarlo", "fit") else None)
    assert record["inputs"]["ms"] == [str(inputs / "a.ms")]
    listed = name in ("stack", "montecarlo", "compare")
    assert (record["inputs"]["positions"] or "").startswith(str(inputs / "p.csv")) == listed
    options = record["inputs"]["options"]
    # Defaults too; what was not asked for and has none is left out.
    assert options["column"] == "DATA"
    assert not {"ms", "positions", "progress", "timerange"} & set(options)


def test_simulated_images_have_them_too(tmp_path):
    sky = components([CENTRE[0]], [CENTRE[1]], [1.0], reference_frequency=1.4e9)
    epochs(sky, [{"beam": (1e-5, 1e-5, 0.0)}], seed=5, out=tmp_path / "epochs", noise=1e-3,
           centre=CENTRE, cell=2e-6, size=64, frequency=1.4e9)
    cube = single_dish_cube(sky, frequency=[1.4e9], fwhm=1e-3, centre=CENTRE, size=32, cell=2e-4)
    cube.write(tmp_path / "cube.fits")
    for path, seed in ((tmp_path / "epochs/provenance.json", 5),
                       (tmp_path / "cube-provenance.json", None)):
        record = json.loads(path.read_text())
        assert list(record) == ["version", "command", "inputs", "seed", "date"]
        assert record["seed"] == seed
        assert record["inputs"]["ms"] == []
        assert record["inputs"]["options"]["components"] == 1


def test_objects_are_told_by_kind_and_size():
    where = SkyCoord([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], unit="deg")
    told = provenance_of({"avoid": where, "phase_centre": where[0], "mask": np.zeros((20, 30)),
                          "bins": np.arange(3.0), "columns": {"ra": "X"},
                          "model": components([1.0, 2.0], [0.1, 0.2], [1.0, 2.0]),
                          "clip": float("nan"), "seed": None}).inputs["options"]
    assert told["avoid"] == "SkyCoord of 3"
    assert "\n" not in told["phase_centre"]
    assert told["mask"] == "array of 20 × 30"
    assert told["bins"] == [0.0, 1.0, 2.0]
    assert told["columns"] == {"ra": "X"}
    assert told["clip"] is None
    assert told["model"] == "Components of 2"
    assert "seed" not in told
