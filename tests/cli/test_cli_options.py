"""Every numeric option of every command, taken from the commands themselves, with values that make no sense.

What is asked of each is an end in one line: status 0, 1 or 2, and no exception but click's and our
own. An option that a command gets later joins by itself; a new command has to say its least
arguments in `LEAST`.
"""

import json
import shlex
import warnings
from pathlib import Path

import click
import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import uvstack
from factories import ARCMIN, CENTRE, RR, Spw, make_ms, offset
from places import ROOT
from simulate.task import observe
from uvstack.cli.main import Angle, Baseline, Quantity, group
from uvstack.errors import OutputError, UvstackError
from uvstack.imaging.task import image
from uvstack.io.output import check_report, write_json
from uvstack.monte_carlo.task import montecarlo

#: The least that each command is called with; files are those of the fixture.
LEAST = {
    "stack": "survey.ms p.csv --no-ms --stamp 8 --report OUT",
    "compare": "survey.ms p.csv --stamp 8 --size 64 --cell 4arcsec --report OUT",
    "montecarlo": "survey.ms p.csv --realisations 2 --radius 5arcmin --report OUT",
    "image": "survey.ms --size 32 --cell 4arcsec --iterations 0 --out OUT",
    "image-stack": "image.fits p.csv --stamp 8 --fit point --report OUT",
    "fit": "survey.ms --no-report",
    "subtract": "survey.ms --model truth.csv --no-report --overwrite",
    "extract": "image.fits --no-report --overwrite",
    "light-curves": "day1.fits day2.fits --detection 3 --report OUT",
    "feather": "image.fits dish.fits --overwrite --report OUT --out OUT.fits",
    "sdint": "survey.ms dish.fits --size 96 --cell 4arcsec --iterations 0 --out OUT",
    "sdint-assess": "survey.ms dish.fits --size 96 --cell 4arcsec --report OUT",
    "epochs combine": "day1.fits day2.fits --no-report --overwrite",
    "epochs alpha": "day1.fits day2.fits --no-report --overwrite",
    "epochs compare": "day1.fits day2.fits --match 5arcmin --detection 3 --out OUT",
    "simulate survey": "survey.toml --out OUT.ms",
    "simulate lindroos": "--type 1 --scale 0.001 --out OUT.ms",
    "simulate epochs": "truth.csv --centre '11h50m28s +31d30m45s' --cell 8arcsec --size 32 --frequency 1.4GHz "
                       "--beam 20arcsec,20arcsec,0deg --noise 1mJy --out OUT",
    "simulate single-dish": "truth.csv --centre '11h50m28s +31d30m45s' --cell 1arcmin --size 32 --frequency 1.4GHz --bandwidth 10MHz "
                            "--fwhm 10arcmin --out OUT.fits",
    "experiment lindroos": "--types 1 --realisations 1 --scale 0.001 --no-figures --out OUT",
    "epochs serve": "--archive .",
    "peel": "survey.ms --regions auto --flux-above 100mJy --out OUT",
    "demo": "--out OUT",
}
#: Commands without an option that takes a number.
WITHOUT = {"info"}
PLAIN = ["0", "-1", "1e30", "nan", "inf", "-inf", "", "x", "1m"]
#: Commands whose least work takes long, or never ends; they have tests of their own.
SLOW = {"demo", "epochs serve", "experiment lindroos", "peel", "simulate lindroos"}


def commands():
    """Name and click command of each, groups opened."""
    found = {}
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        found |= ({f"{name} {one}": command.get_command(None, one)
                   for one in command.list_commands(None)}
                  if isinstance(command, click.Group) else {name: command})
    return found


def is_number(option):
    kind = option.type
    return isinstance(option, click.Option) and not option.is_flag and (
        isinstance(kind,
                   Quantity | Angle | Baseline | click.types.IntParamType
                   | click.types.FloatParamType) or type(kind).__module__.startswith("uvstack.cli"))


def values_of(option):
    """Bare nonsense, and nonsense with the unit that is wanted."""
    unit = {"rad": "arcsec"}.get(getattr(option.type, "unit", None)
                                 or ("m" if isinstance(option.type, Baseline) else ""))
    unit = unit or getattr(getattr(option.type, "_quantity", option.type), "unit",
                           "m" if isinstance(option.type, Baseline) else "")
    with_unit = [f"{number}{unit}"
                 for number in ("0", "-1", "1e30", "nan", "inf")] if unit else ["1000000000000"]
    return PLAIN + with_unit


def options():
    return [(name, option.name) for name, command in commands().items() for option in command.params
            if is_number(option)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A set of a few rows, a list, an image, a catalogue and a survey file."""
    folder = tmp_path_factory.mktemp("options")
    places = [offset(east * ARCMIN, 1 * ARCMIN) for east in (-1, 0, 1)]
    make_ms(folder / "survey.ms", sources=[(*place, 1.0) for place in places], noise=0.1, n_ant=5,
            n_times=2)
    rows = np.rad2deg(places)
    (folder / "p.csv").write_text("ra,dec\n" + "".join(f"{ra:.9f},{dec:.9f}\n" for ra, dec in rows))
    (folder / "truth.csv").write_text("ra,dec,flux\n"
                                      + "".join(f"{ra:.9f},{dec:.9f},1.0\n" for ra, dec in rows))
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN",
                          "CRVAL1": np.rad2deg(CENTRE[0]), "CRVAL2": np.rad2deg(CENTRE[1]),
                          "CRPIX1": 33, "CRPIX2": 33, "CDELT1": -10 / 3600, "CDELT2": 10 / 3600,
                          "CUNIT1": "deg", "CUNIT2": "deg", "BUNIT": "Jy/beam", "BMAJ": 30 / 3600,
                          "BMIN": 30 / 3600, "BPA": 0.0})
    fits.writeto(folder / "image.fits", np.random.default_rng(1).normal(0, 1e-3, (64, 64)), header)
    wide = header.copy()
    wide["BMAJ"] = wide["BMIN"] = 100 / 3600
    fits.writeto(folder / "dish.fits", np.random.default_rng(3).normal(0, 1e-3, (64, 64)), wide)
    for day in (1, 2):
        header["DATE-OBS"] = f"2011-05-0{day}"
        fits.writeto(folder / f"day{day}.fits",
                     np.random.default_rng(day).normal(0, 1e-3, (64, 64)), header)
    (folder / "survey.toml").write_text('[observation]\narray = "vla.sparse"\nfrequency = "1.4 '
                                        'GHz"\nbandwidth = "10 MHz"\nchannels = 1\nintegration = '
                                        '"10 s"\n'
                                        'duration = "20 s"\n[pointing]\nkind = "single"\ncentre = '
                                        '"11h50m28s +31d30m45s"\n[[sky]]\nkind = '
                                        '"components"\nname = "b"\n'
                                        'position = "11h50m28s +31d30m45s"\nflux = "1 Jy"\n')
    return folder


def ending(inputs, monkeypatch, out, *args):
    """Status and exception of a command, run among the inputs; OUT is replaced."""
    monkeypatch.chdir(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CliRunner().invoke(group, [argument.replace("OUT", str(out)) for argument in args])


def test_every_command_is_looked_at():
    named = {name for name, _ in options()}
    assert named <= set(LEAST)
    assert set(commands()) - named == WITHOUT


def strict(path):
    """What a file of JSON holds; NaN and infinity, and keys with blanks, are errors."""
    def refuse(name):
        raise AssertionError(f"{path}: {name} is no JSON")

    def check(pairs):
        assert not [key for key, _ in pairs if " " in key], (path, pairs)
        return dict(pairs)

    return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse,
                      object_pairs_hook=check)


@pytest.mark.parametrize("name", sorted(set(LEAST) - SLOW))
def test_the_least_works_and_its_json_is_strict(inputs, monkeypatch, tmp_path, name):
    ended = ending(inputs, monkeypatch, tmp_path / "out", *name.split(), *shlex.split(LEAST[name]))
    assert ended.exit_code == 0, ended.output + repr(ended.exception)
    found = [strict(path) for path in tmp_path.rglob("*.json")]
    assert bool(found) == ("--no-report" not in LEAST[name])


def test_json_of_what_is_not_finite(inputs, tmp_path):
    # One visibility has no scatter, so there is no signal to noise.
    ms = make_ms(tmp_path / "one.ms", n_ant=2, n_times=1, spws=(Spw(n=1),), correlations=(RR,),
                 sources=[(*CENTRE, 1.0)])
    result = uvstack.stack(ms, inputs / "p.csv", stamp_size=8)
    assert np.isnan(result.snr)
    result.save(tmp_path / "result.json")
    found = strict(tmp_path / "result.json")
    assert found["snr"] is None
    assert found["flux_jy"] == result.flux
    write_json(tmp_path / "any.json",
               {"a": np.float32("inf"), 3: (np.nan, np.int64(7)), "b": np.array([[1.0, np.nan]]),
                "c": Path("x"), "d": np.ma.masked_array([1.5], [False]), "e": True,
                "f": np.bool_(False), "g": None})
    assert strict(tmp_path / "any.json") == {"a": None, "3": [None, 7], "b": [[1.0, None]],
                                             "c": "x", "d": [1.5], "e": True, "f": False, "g": None}


def test_info_is_strict(inputs, tmp_path):
    (tmp_path / "info.json").write_text(CliRunner().invoke(group,
                                                           ["info", str(inputs / "survey.ms"),
                                                            "--json"]).output)
    assert strict(tmp_path / "info.json")["n_rows"] == 20


def test_one_function_writes_all_json():
    found = {path.relative_to(ROOT).as_posix() for folder in ("uvstack", "simulate")
             for path in (ROOT / folder).rglob("*.py")
             if "json.dump" in path.read_text(encoding="utf-8")}
    # Besides: what goes to a program of CASA, marks of runs, in sets and headers, fingerprints of
    # settings, a catalogue's provenance.
    assert found == {"uvstack/io/output.py", "uvstack/io/claim.py",
                     "uvstack/imaging/external/casa_files.py",
                     "uvstack/imaging/external/casa_program.py", "uvstack/io/unfinished_column.py",
                     "uvstack/subtraction/column_files.py", "simulate/gain_tracks.py",
                     "simulate/experiment/settings.py", "uvstack/extraction/task.py"}


@pytest.mark.parametrize(("name", "option"), options(),
                         ids=lambda value: str(value).replace(" ", "-"))
def test_nonsense_ends_in_one_line(inputs, monkeypatch, tmp_path, name, option):
    param = next(one for one in commands()[name].params if one.name == option)
    bad = []
    if name in SLOW:
        # All that is checked before the work.
        def stop(*_, **__):
            raise UvstackError("enough")

        monkeypatch.setattr("simulate.task.map_chunks", stop)
        monkeypatch.setattr("uvstack.epochs.server.task.open_archive", stop)
        monkeypatch.setattr("peel.task.prepare", stop)
        monkeypatch.setattr("simulate.experiment.task.map_chunks", stop)
    for i, value in enumerate(values_of(param)):
        ended = ending(inputs, monkeypatch, tmp_path / f"out{i}", *name.split(),
                       *shlex.split(LEAST[name]), f"{param.opts[0]}={value}")
        if not isinstance(ended.exception,
                          (SystemExit, UvstackError,
                           type(None))) or ended.exit_code not in (0, 1, 2):
            bad.append(f"{name} {param.opts[0]}={value}: {ended.exception!r}")
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("args",
                         [["stack", "a.ms", "p.csv", "--no-ms", "--uvmin", "300"],
                          ["compare", "a.ms", "p.csv", "--uvmax", "5000"],
                          ["montecarlo", "a.ms", "p.csv", "--uvmin", "3e2"],
                          ["fit", "a.ms", "--uvmin", "300"], ["fit", "a.ms", "--uvtaper", "300"],
                          ["image", "a.ms", "--size", "8", "--out", "x", "--cell", "3"],
                          ["image", "a.ms", "--size", "8", "--out", "x", "--cell", "3arcsec",
                           "--uvmin", "1"],
                          ["image", "a.ms", "--size", "8", "--out", "x", "--cell", "3arcsec",
                           "--threshold", "0.1"],
                          ["image", "a.ms", "--size", "8", "--out", "x", "--cell", "3arcsec",
                           "--uvtaper", "1"], ["image-stack", "a.fits", "p.csv", "--filter", "5"],
                          ["image-stack", "a.fits", "p.csv", "--frequency", "1.4e9"],
                          ["subtract", "a.ms", "--model", "m.fits", "--nu0", "1.4"],
                          ["montecarlo", "a.ms", "p.csv", "--fake-flux", "1e-6"]])
def test_numbers_of_the_command_line_want_a_unit(args):
    ended = CliRunner().invoke(group, args)
    assert ended.exit_code == 2
    assert "wanted e.g. " in ended.output


def test_numbers_of_python_are_metres(inputs):
    assert uvstack.stack(inputs / "survey.ms", inputs / "p.csv", uvmin=300,
                         stamp_size=8).uv_range.minimum == 300.0


def test_no_memory_is_refused():
    # In Python 0 keeps nothing between passes; at the command line it is more likely a slip.
    assert CliRunner().invoke(group, ["fit", "a.ms", "--memory", "0"]).exit_code == 2


@pytest.mark.parametrize("command", ["stack", "compare", "montecarlo"])
def test_a_set_alone_lacks_positions(command):
    ended = CliRunner().invoke(group, [command, "survey.ms"])
    assert ended.exit_code == 2
    assert "Missing argument 'POSITIONS'" in ended.output
    assert "'survey.ms'" in ended.output
    assert "Missing argument 'MS...'" in CliRunner().invoke(group, [command]).output
    assert "Missing argument 'POSITIONS'" in CliRunner().invoke(group,
                                                                ["image-stack",
                                                                 "image.fits"]).output


@pytest.mark.parametrize(("call", "message"),
                         [(lambda ms, p: uvstack.stack(ms, p, seed=-1),
                           "seed is -1; wanted a whole number of 0 or more"),
                          (lambda ms, p: uvstack.stack(ms, p, threads=0),
                           "threads is 0; wanted a whole number from 1"),
                          (lambda ms, p: uvstack.stack(ms, p, stamp_cell=-5e-6),
                           "stamp_cell is -5e-06; wanted a finite number above 0"),
                          (lambda ms, p: uvstack.stack(ms, p).uv_profile(0),
                           "bins is 0; wanted a whole number from 1"),
                          (lambda ms, p: uvstack.stack(ms, p, bootstrap=float("nan")),
                           "bootstrap is nan; wanted a whole number"),
                          (lambda ms, p: uvstack.stack(ms, p, weights="primary-beam"),
                           "want a primary beam; give one"),
                          (lambda ms, p: uvstack.compare(ms, p, weights="primary-beam*local-noise"),
                           "want a primary beam; give one"),
                          (lambda ms, p: montecarlo(ms, p, weights="list*primary-beam"),
                           "no column|want a primary beam|has none"),
                          (lambda ms, p: montecarlo(ms, p, weights="primary-beam"),
                           "want a primary beam; give one"),
                          (lambda ms, p: montecarlo(ms, p, radius=1e-3, fake_flux=-1e-3),
                           "fake_flux is -0.001; wanted a finite number of 0 or more Jy"),
                          (lambda ms, p: montecarlo(ms, p, seed=-1), "seed is -1"),
                          (lambda ms, p: uvstack.fit(ms, threads=-2), "threads is -2"),
                          (lambda ms, p: uvstack.fit(ms, memory=-1),
                           "memory is -1; wanted a finite number of 0 or more bytes"),
                          (lambda ms, p: uvstack.subtract(ms, p.with_name("truth.csv"), threads=0),
                           "threads is 0"),
                          (lambda ms,
                           p: uvstack.image_stack(p.with_name("image.fits"), p, threads=0),
                           "threads is 0"),
                          (lambda ms,
                           p: uvstack.image_stack(p.with_name("image.fits"), p,
                                                  weights="primary-beam"),
                           "want a primary beam; give one"),
                          (lambda ms, p: uvstack.image_stack(p.with_name("image.fits"), p, seed=-1),
                           "seed is -1"),
                          (lambda ms, p: image(ms, size=32, cell=2e-5, iterations=0, threads=0),
                           "threads is 0"),
                          (lambda ms,
                           p: observe(array="vla.sparse", pointings=CENTRE, frequency=[1.4e9],
                                      width=1e6, integration=1.0, duration=1.0, seed=-1,
                                      out="x.ms"), "seed is -1")])
def test_python_functions_refuse_the_same(inputs, call, message):
    with pytest.raises(UvstackError, match=message):
        call(inputs / "survey.ms", inputs / "p.csv")


@pytest.mark.parametrize("out", [".", "..", "/", "", "/proc/x.fits"])
@pytest.mark.parametrize("command",
                         ["stack survey.ms p.csv",
                          "compare survey.ms p.csv --size 64 --cell 4arcsec",
                          "image-stack image.fits p.csv",
                          "image survey.ms --size 32 --cell 4arcsec --iterations 0"])
def test_a_place_that_cannot_be_an_output_is_one_line(inputs, tmp_path, monkeypatch, command, out):
    """A name that is none, or a folder in which nothing can be made."""
    before = sorted(inputs.iterdir())
    report = ["--report", str(tmp_path / "r")] if command.startswith("compare") else []
    done = ending(inputs, monkeypatch, "", *command.split(), *report, "--out", out)
    assert done.exit_code == 1
    assert isinstance(done.exception, UvstackError | SystemExit), done.exception
    assert sorted(inputs.iterdir()) == before


def test_a_report_has_a_name():
    with pytest.raises(OutputError):
        check_report(Path("/"), True, ("x",))
