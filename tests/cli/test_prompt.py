"""At a prompt: names complete, results show themselves in a few lines, the user's own modules stand in nobody's way."""

import ast
import html
import inspect
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import simulate
import uvstack
from factories import ARCMIN, ARCSEC, at, make_ms, offset, simulated_results
from simulate.experiment.result import ExperimentResult
from uvstack.cli.main import group
from uvstack.imaging.report import cube_figure
from uvstack.records import Shown, frequency_text, plain
from uvstack.report.files import Saved
from uvstack.sky.components import components
from uvstack.subtraction.report import amplitude_figure

SOURCES = [(*offset(1 * ARCMIN, 2 * ARCMIN), 1.0), (*offset(-2 * ARCMIN, 1 * ARCMIN), 0.5)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A result of every kind, by the name of its class."""
    folder = tmp_path_factory.mktemp("prompt")
    ms = make_ms(folder / "a.ms", sources=SOURCES, noise=0.05, n_ant=10, n_times=4)
    positions = at(*(source[:2] for source in SOURCES))
    image = {"size": 128, "cell": 3 * ARCSEC}
    made = uvstack.image(ms, **image, out=folder / "x")
    dish = uvstack.image(ms, **image, channels_out=2, uvtaper=30 * ARCSEC, iterations=0,
                         out=folder / "dish")
    found = [made, uvstack.image(ms, **image, channels_out=2), uvstack.stack(ms, positions),
             uvstack.fit(ms, model="delta"), uvstack.fit(ms, model="delta", per_channel=True),
             uvstack.subtract(ms, components(*np.array(SOURCES).T)),
             uvstack.image_stack(made.files["image"], positions, stamp=16),
             uvstack.compare(ms, positions, **image, stamp=16),
             uvstack.montecarlo(ms, positions, realisations=5, seed=1),
             uvstack.epochs.combine([made.files["image"], made.files["image"]], rms_box=20),
             uvstack.epochs.alpha([made.files["image"]] * 2, [made.files["image"]] * 2, rms_box=20),
             uvstack.feather(made.files["image"], made.files["image"]),
             uvstack.sdint_assess(ms, dish.files["image"], **image),
             uvstack.sdint(ms, dish.files["image"], **image, iterations=10),
             uvstack.sdint(ms, dish.files["image"], **image, iterations=10, channels=1),
             uvstack.epochs.compare(made.files["image"], [uvstack.extract(made.files["image"])])]
    return {type(result).__name__: result for result in found} | simulated_results(folder)


def test_names_complete_and_are_public():
    assert sorted(dir(uvstack)) == sorted(uvstack.__all__)
    for name in dir(uvstack):
        assert getattr(uvstack, name) is not None


def test_stacking_loads_nothing_that_fits_alone_need():
    # Scipy's minimisers take as long to load as all the rest.
    names = "import sys, uvstack; uvstack.stack, uvstack.montecarlo, uvstack.image_stack"
    done = subprocess.run([sys.executable, "-c", f"{names}; print('scipy.optimize' in sys.modules)"],
                          capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(Path(uvstack.__file__).parent.parent)})
    assert done.stdout.strip() == "False"


def test_public_names_stay_what_they_are_when_their_modules_are_loaded():
    for module in (uvstack, uvstack.epochs, uvstack.joint):
        for name in module.__all__:
            first = getattr(module, name)
            assert getattr(module, name) is first
            assert not inspect.ismodule(first) or name in ("epochs", "joint")


def test_every_result_shows_itself_in_a_few_lines(results):
    for name, result in results.items():
        assert isinstance(result, Shown)
        lines = repr(result).splitlines()
        assert lines[0].startswith(f"<{name}")
        assert len(lines) <= 14
        assert "array(" not in repr(result)
        assert str(result).splitlines()[0].strip() in f"{result!r}{result}"
        page = result._repr_html_()
        assert name in page
        assert "&lt;" not in page
    flux = results["StackResult"].flux
    assert f"{flux:.3g}"[:4] in repr(results["StackResult"])


@pytest.mark.drawn
def test_every_result_is_saved_drawn_and_reported(results, tmp_path):
    public = [getattr(module, name) for module in (uvstack, uvstack.epochs, simulate)
              for name in module.__all__]
    assert set(results) == {kind.__name__ for kind in [*public, ExperimentResult]
                            if isinstance(kind, type) and issubclass(kind, Saved)}
    for name, result in results.items():
        folder = tmp_path / name
        folder.mkdir()
        result.save(folder / "x.json")
        result.plot(folder / "x.png")
        assert {path.name for path in folder.iterdir()} == {
            "x.json", "x.png", *(f"x-{table}.ecsv" for table in result.tables())}
        assert json.loads((folder / "x.json").read_text()) == plain(result.summary())
        # The terminal has the first section of the page, and each file is told where it belongs.
        assert str(result) == str(result.sections()[0])
        index = result.report(folder / "report")
        page = html.unescape(index.read_text())
        assert "http" not in page
        written = {path.name for path in index.parent.iterdir()} - {"index.html", result.JSON}
        assert written == {file for section in result.sections() for file in section.names}
        assert written <= set(result.REPORT)
        assert all(f"<code>{file}</code>" in page for file in written)
        assert all(row[1] in page for row in result.overview().rows)
        assert page.count("<h1>") == 1
        assert "<h2>Provenance</h2>" in page


def test_what_hangs_on_a_result_shows_itself_in_a_few_lines(results):
    stamp = results["StackResult"].image(size=64)
    assert "64 × 64 float64" in repr(stamp)
    assert f"{stamp.cell!r}" in repr(stamp)
    for part in (stamp, results["CompareResult"].uv, results["MonteCarloResult"].samples[0],
                 results["SubtractResult"].amplitudes):
        assert len(repr(part).splitlines()) <= 14
        assert "array(" not in repr(part)


@pytest.mark.parametrize("module", ["simulate", "experiment"])
@pytest.mark.parametrize("path", ["-m", "PYTHONPATH"])
def test_a_module_of_the_user_with_the_name_of_ours_does_not_run(tmp_path, module, path):
    (tmp_path / f"{module}.py").write_text("raise SystemExit('the module of the user ran')\n")
    options, told = {"simulate": (["simulate", "no-such.toml"],
                                  "no-such.toml: no such survey file"),
                     "experiment": (["experiment", "lindroos", "--types", "99"], "99")}[module]
    command = ["-m", "uvstack"] if path == "-m" else ["-c",
                                                      "from uvstack.cli.main import main; main()"]
    root = str(Path(uvstack.__file__).parent.parent)
    done = subprocess.run([sys.executable, *command, *options, "--out", "x"], cwd=tmp_path,
                          capture_output=True, text=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{root}",
                               "HOME": str(tmp_path)})
    assert "the module of the user ran" not in done.stderr
    assert told in done.stderr
    assert done.returncode in (1, 2)


def commands(command=group, path=("uvstack",)):
    """Every command below a group, with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from commands(command.get_command(click.Context(command), name), (*path, name))


@pytest.mark.parametrize(("path", "command"),
                         [pytest.param(*found, id=" ".join(found[0])) for found in commands()])
def test_help_ends_with_an_example_that_can_be_parsed(path, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(group, [*path[1:], "--help"], terminal_width=200).output
    heading, example = (line.strip() for line in shown.rstrip().splitlines()[-2:])
    assert heading == "Example:"
    words = shlex.split(example)
    assert tuple(words[: len(path)]) == path
    ran = []
    for _, one in commands():
        if not isinstance(one, click.Group):
            monkeypatch.setattr(one, "callback", lambda **options: ran.append(options))
    done = CliRunner().invoke(group, words[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert len(ran) == 1


def functions():
    """Every public function by the name under which one calls it."""
    found = {}
    for module in (uvstack, uvstack.epochs):
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                found[f"{module.__name__}.{name}"] = getattr(module, name)
    return found


@pytest.mark.parametrize(("name", "function"), functions().items())
def test_docstrings_end_with_an_example_that_can_be_called(name, function):
    last = inspect.getdoc(function).rsplit("Examples\n--------\n", 1)[1].strip()
    assert last.startswith(">>> ")
    call = ast.parse(last.removeprefix(">>> ")).body[0].value
    assert ast.unparse(call.func) == name
    inspect.signature(function).bind(*call.args,
                                     **{keyword.arg: keyword.value for keyword in call.keywords})


def test_frequencies_of_close_channels_differ(results):
    assert [frequency_text(1420.4e6 + k * 7.8e3, 7.8e3)
            for k in (0, 1)] == ["1.4204000", "1.4204078"]
    assert frequency_text(345.796e9, 0.0) == "345.796000"
    cube = results["ImageCube"]
    titles = [axis.get_title() for axis in cube_figure(cube).axes]
    assert len(set(titles)) == len(titles) == 2
    # Rounded to a tenth of a channel, and written as they are.
    assert [float(title.split()[1]) for title in titles] == pytest.approx(
        cube.frequency / 1e9, abs=0.1 * cube.width / 1e9)


def test_titles_lie_within_their_pictures(results):
    long = replace(results["SubtractResult"],
                   model=f"/data/{'a-long-folder/' * 12}survey-model.fits")
    figure = amplitude_figure(long)
    figure.draw_without_rendering()
    box = figure.axes[0].title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert "survey-model.fits" in figure.axes[0].get_title()
