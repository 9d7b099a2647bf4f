"""What public functions take: said once, shown, filled in, and told where it is none."""

import inspect
from pathlib import Path
from typing import Annotated, Literal

import click
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from click.testing import CliRunner
from typing_extensions import TypedDict, Unpack

import uvstack
from factories import CENTRE, edit, make_ms
from uvstack.cli.main import group
from uvstack.errors import InvalidVisibilityWarning, OutputError, SelectionError
from uvstack.options import RunOptions, choices_of, takes

FUNCTIONS = ["stack", "fit", "image", "image_stack", "compare", "montecarlo", "subtract", "extract",
             "light_curves"]


class Own(TypedDict, total=False):
    """Of a test.

    depth, width : float
        Metres.
    kind : {"a", "b"}, optional
        Which.
    """

    depth: Annotated[float, 2.0]
    width: Annotated[float, 3.0]
    kind: Annotated[Literal["a", "b"] | None, None]


class Both(Own, RunOptions, total=False):
    """Two groups."""


@takes
def volume(height: float, *, scale: Literal[1, 2] = 1, **options: Unpack[Both]) -> tuple:
    """A box.

    Parameters
    ----------
    height : float
        Metres.

    Returns
    -------
    tuple
    """
    return height, scale, options["depth"], options["width"], options["kind"], options["threads"]


def test_defaults_are_filled_in_and_given_values_win():
    assert volume(1.0) == (1.0, 1, 2.0, 3.0, None, None)
    assert volume(1.0, scale=2, width=5.0, kind="b", threads=4) == (1.0, 2, 2.0, 5.0, "b", 4)


def test_signature_and_docstring_show_everything():
    parameters = inspect.signature(volume).parameters
    assert set(parameters) == {"height", "scale", "depth", "width", "kind", "workers", "scheduler",
                               "threads", "chunk_size", "progress"}
    assert parameters["width"].default == 3.0
    assert parameters["width"].annotation is float
    lines = volume.__doc__.splitlines()
    assert lines.index("depth, width : float") > lines.index("height : float")
    assert lines.index("    Metres.",
                       lines.index("depth, width : float")) < lines.index("threads : int, optional")
    assert lines.index("threads : int, optional") < lines.index("Returns")


def test_what_is_no_option_is_told_with_the_nearest():
    with pytest.raises(TypeError,
                       match=r"^volume\(\) has no option 'widht'; did you mean width\?$"):
        volume(1.0, widht=2.0)
    with pytest.raises(SelectionError, match="^kind is 'c'; wanted one of a, b$"):
        volume(1.0, kind="c")
    with pytest.raises(TypeError, match="height"):
        volume()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_document_all_they_take(name):
    function = getattr(uvstack, name)
    text = function.__doc__.partition("Parameters\n")[2]
    parameters = inspect.signature(function).parameters
    assert not [one for one in parameters.values()
                if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    entries = [line.partition(" : ")[0].split(", ") for line in text.splitlines()
               if line and line[0] != " "]
    told = [one for entry in entries for one in entry]
    assert set(parameters) <= set(told)
    assert len(told) == len(set(told)), [one for one in told if told.count(one) > 1]
    with pytest.raises(TypeError,
                       match=rf"{name}\(\) has no option 'reports'; did you mean report\?"):
        function("a", "b", reports="r")


#: Options of commands whose text is read into another kind of value, or that are given several
#: times.
READ = {"facet_size", "threshold", "model", "methods", "memory", "beam", "scales", "connectivity",
        "search_radius", "position_systematic"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_and_choices_of_the_command_are_those_of_the_function(name):
    command = group.get_command(click.Context(group), name.replace("_", "-"))
    parameters = inspect.signature(getattr(uvstack, name)).parameters
    shared = [one for one in command.params
              if isinstance(one, click.Option) and one.name in parameters]
    assert len(shared) > 8
    for one in shared:
        default, wanted = one.get_default(click.Context(command)), parameters[one.name].default
        if one.name not in READ and isinstance(default, bool | int | float | str):
            assert default == wanted, one.name
        words = tuple(str(word) for word in choices_of(parameters[one.name].annotation))
        assert tuple(getattr(one.type, "choices", ())) == words, one.name


@pytest.mark.parametrize("call",
                         [lambda ms: uvstack.stack(ms, SkyCoord(*CENTRE, unit="rad"), stamp_size=8),
                          lambda ms: uvstack.fit(ms, model="delta"),
                          lambda ms: uvstack.image(ms, size=32, cell=5e-6, iterations=0),
                          lambda ms: uvstack.montecarlo(ms, SkyCoord(*CENTRE, unit="rad"),
                                                        realisations=2, radius=1e-3, seed=1)])
def test_a_warning_names_the_line_that_called(tmp_path, call):
    ms = make_ms(tmp_path / "a.ms", n_ant=4, n_times=2, sources=[(*CENTRE, 1.0)])
    edit(ms, "DATA", lambda data: data.__setitem__((0, 0), np.nan))
    with pytest.warns(InvalidVisibilityWarning) as told:
        call(ms)
    assert [one.filename for one in told] == [__file__]


def test_fits_of_commands_are_fits_of_functions(tmp_path, monkeypatch):
    """`fit=` gives what `uvstack.fit` gives of the stacked set, and the report of Python the files of the command's."""
    monkeypatch.chdir(tmp_path)
    make_ms("a.ms", n_ant=7, n_times=3, sources=[(*CENTRE, 1.0)], noise=0.05)
    ra, dec = np.rad2deg(CENTRE)
    Path("p.csv").write_text(f"ra,dec\n{ra:.9f},{dec:.9f}\n")
    result = uvstack.stack("a.ms", "p.csv", out="s.ms", stamp_size=8, fit="delta", report="python")
    alone = uvstack.fit("s.ms", model="delta", stokes="PI")
    assert result.fit.parameters == pytest.approx(alone.parameters, rel=1e-12)
    assert result.fit.parameters[0] == pytest.approx(1.0, abs=0.05)
    assert result.summary()["fit"]["n_visibilities"] == alone.n_visibilities
    args = ["stack", "a.ms", "p.csv", "--out", "t.ms", "--stamp", "8", "--fit", "delta", "--report",
            "command"]
    ended = CliRunner().invoke(group, args)
    assert ended.exit_code == 0, ended.output
    assert str(result.fit.overview().title) in ended.output
    assert {one.name for one in Path("python").iterdir()} == {one.name
                                                              for one in Path("command").iterdir()}
    assert Path("python/fit.json").is_file()
    with pytest.raises(SelectionError,
                       match=r"wants the stacked measurement set; give out \(--out\)"):
        uvstack.stack("a.ms", "p.csv", fit="delta")
    with pytest.raises(OutputError, match="python/index.html exists"):
        uvstack.stack("a.ms", "p.csv", report="python")
    both = uvstack.compare("a.ms", "p.csv", size=64, cell=5e-6, stamp=16, fit="point", report="c")
    assert both.files == {"dirty": "c/image-dirty.fits", "psf": "c/image-psf.fits"}
    assert {"result.json", "fit.json", "image-dirty.fits", "image-psf.fits"} <= {
        one.name for one in Path("c").iterdir()}
    # The set that was fitted was nobody's wish, and is gone.
    assert sorted(one.name for one in Path().glob("*.ms")) == ["a.ms", "s.ms", "t.ms"]
    with pytest.raises(SelectionError, match=r"give out \(--out\) or report"):
        uvstack.compare("a.ms", "p.csv", size=64, cell=5e-6, stamp=16, fit="point")
    assert both.fit.parameters == pytest.approx(alone.parameters, rel=1e-12)
    fitted = [method for method in both.methods if method.fit is not None]
    assert [method.alignment for method in fitted] == ["subpixel"]
    assert fitted[0].fit.flux == pytest.approx(1.0, abs=0.1)
