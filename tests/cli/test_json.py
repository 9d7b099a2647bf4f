"""Every JSON that a command writes: strict, with units of SI in the keys, and the same words for the same things."""

import json
import re
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

from factories import ARCMIN, make_ms, offset, simulated_results
from uvstack.cli.main import group
from uvstack.errors import UvstackWarning

PLACES = [(1 * ARCMIN, 2 * ARCMIN), (-2 * ARCMIN, 1 * ARCMIN), (2 * ARCMIN, -1 * ARCMIN)]
IMAGE = ("--size", 128, "--cell", "3arcsec")
COMMANDS = {
    "stack": ("stack", "a.ms", "p.csv", "--out", "s.ms", "--bootstrap", 5, "--group-by", "kind",
              "--fit", "point", "--primary-beam", "gaussian:12arcmin@1.4GHz"),
    "fit": ("fit", "a.ms", "--model", "point", "--bootstrap", 5),
    "channels": ("fit", "a.ms", "--model", "gaussian", "--per-channel", "--report", "channels"),
    "image": ("image", "a.ms", *IMAGE, "--out", "i", "--terms", 2, "--auto-mask"),
    "cube": ("image", "a.ms", *IMAGE, "--out", "c", "--channels-out", 2, "--stokes", "IV"),
    "compare": ("compare", "a.ms", "p.csv", *IMAGE, "--stamp", 32, "--fit", "point"),
    "montecarlo": ("montecarlo", "a.ms", "p.csv", "--realisations", 5, "--seed", 1, "--radius",
                   "5arcmin", "--bins", 3, "--fit", "gaussian"),
    "image-stack": ("image-stack", "i-image.fits", "p.csv", "--stamp", 16, "--random", 5,
                    "--bootstrap", 5, "--fit", "circular", "--psf", "i-psf.fits"),
    "subtract": ("subtract", "a.ms", "--model", "i-model.fits"),
    "extract": ("extract", "i-image.fits"),
    "epochs": ("simulate", "epochs", "m.csv", "--out", "e", "--centre", "J2000 11h50m28s 31d30m46s",
               "--size", 64, "--cell", "10arcsec", "--frequency", "1.4GHz", "--beam",
               "30arcsec,30arcsec,0deg", "--noise", "1mJy"),
    "epochs combine": ("epochs", "combine", "i-image.fits", "e/epoch1.fits", "--out", "m",
                       "--rms-box", 20, "--spectral-index", 0),
    "epochs alpha": ("epochs", "alpha", "e/epoch1.fits", "e/epoch1.fits", "--out", "n.fits",
                     "--rms-box", 20),
    "epochs compare": ("epochs", "compare", "i-image.fits", "e/epoch1.fits", "--match",
                       "10arcsec", "--out", "k"),
    "single-dish": ("simulate", "single-dish", "m.csv", "--out", "d.fits", "--frequency", "1.4GHz",
                    "--bandwidth", "0.1GHz", "--dish", "100m", "--centre",
                    "J2000 11h50m28s 31d30m46s", "--size", 16, "--cell", "2arcmin"),
    "sdint": ("sdint", "a.ms", "d.fits", *IMAGE, "--out", "t", "--iterations", 20),
    "sdint-assess": ("sdint-assess", "a.ms", "d.fits", "--size", 128, "--cell", "3arcsec"),
    "feather": ("feather", "i-image.fits", "i-image.fits", "--dish-diameter", "1km", "--out",
                "f.fits")}
#: Below these stand names that a user gave: of options, products, groups, epochs, corruptions.
OF_USERS = {"options", "files", "groups", "epochs", "corruptions"}
#: What has a unit, by the begin of its name.
QUANTITIES = re.compile(
    r"^(flux|noise|rms|cell|fwhm|ra|dec|position_angle|frequency|band|uv_min|uv_max|re|im|bias|"
    r"offset|peak|threshold|width|longest_baseline|suggested_uvmin)(_error|_expected|_corrected|"
    r"_major|_minor|_limit|_anywhere|_before|_after)*$")
WRONG_UNIT = re.compile(r"_(arcsec|arcmin|deg|ghz|mhz|khz|km|mjy|ujy|min|h|day)$")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every JSON of all commands: name → value."""
    folder = tmp_path_factory.mktemp("json")
    places = [offset(*place) for place in PLACES]
    make_ms(folder / "a.ms", sources=[(*p, 1.0) for p in places], noise=0.05, n_ant=10, n_times=6)
    rows = [f"{np.rad2deg(ra):.9f},{np.rad2deg(dec):.9f}" for ra, dec in [*places, offset(0, 1.0)]]
    kinds = "".join(f"{row},{k % 2}\n" for k, row in enumerate(rows))
    (folder / "p.csv").write_text(f"ra,dec,kind\n{kinds}")
    (folder / "m.csv").write_text("ra,dec,flux\n" + "".join(f"{row},1.0\n" for row in rows[:3]))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UvstackWarning)  # each tells of the place that is far away
        patch.chdir(folder)
        for words in COMMANDS.values():
            done = CliRunner().invoke(group, [str(word) for word in words], catch_exceptions=False)
            assert done.exit_code == 0, done.output
        info = CliRunner().invoke(group, ["info", "a.ms", "--json"]).output
        for name, result in simulated_results(folder).items():
            result.save(folder / f"{name}.json")
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.json")}
    assert len(found) >= 14
    found["info"] = info
    return {name: json.loads(text, parse_constant=pytest.fail) for name, text in found.items()}


def pairs(value, under=""):
    """(key above, key, value) of all that is nested."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield under, key, one
            yield from pairs(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from pairs(one, under)


def test_keys_have_no_blanks_and_units_of_si(written):
    bad = []
    for name, value in written.items():
        for above, key, one in pairs(value):
            if above in OF_USERS:
                continue
            if not re.fullmatch(r"[a-z][a-z0-9_]*", key) and above != "dropped_positions":
                bad.append(f"{name}: {above}: {key!r}")
            if WRONG_UNIT.search(key) or " " in key:
                bad.append(f"{name}: {above}: {key}: not of SI")
            number = one[0] if isinstance(one, list) and one else one
            if QUANTITIES.match(key) and isinstance(number, float):
                bad.append(f"{name}: {above}: {key}: no unit")
    assert not bad, "\n".join(sorted(set(bad)))


def test_the_same_words_for_the_same_things(written):
    def all_of(name):
        return [one for value in written.values() for _, key, one in pairs(value) if key == name]

    assert len({tuple(sorted(one)) for one in all_of("provenance")
                if isinstance(one, dict)}) == 1
    assert len(all_of("dropped_positions")) >= 3
    for dropped in all_of("dropped_positions"):
        assert isinstance(dropped, dict)
        assert all(isinstance(which, list) for which in dropped.values())
    stack, fit = written["s-report/result.json"], written["a-fit-report/result.json"]
    assert stack["dropped_positions"] == {"outside_the_primary_beam_of_every_pointing": [3]}
    assert stack["n_visibilities"] == fit["n_visibilities"] == written["i.json"]["n_visibilities"]
