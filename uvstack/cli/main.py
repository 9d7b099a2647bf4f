"""The command `uvstack`: its group, and what all commands share: errors in one line, warnings, logs, progress."""

from __future__ import annotations

import ctypes
import logging
import math
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from uvstack._version import __version__
from uvstack.errors import UvstackError, UvstackWarning

#: Of malloc.h.
_M_ARENA_MAX = -8
#: Progress, warnings and errors; results go to standard output.
console = Console(stderr=True, highlight=False, soft_wrap=True)


class Quantity(click.ParamType):
    """A finite number with a unit, given on in a unit of SI; several with commas between them where asked for.

    A bare number is refused: at the command line every length, angle, flux and frequency says its
    unit.
    """

    def __init__(self, unit: str, example: str, several: bool = False) -> None:
        self.name, self.unit, self.example, self.several = example, unit, example, several

    def convert(self, value, param, ctx):
        """A float, or a tuple of floats."""
        if not isinstance(value, str):
            return value
        numbers = tuple(self._number(part, value, param, ctx) for part in value.split(","))
        if not self.several and len(numbers) > 1:
            self.fail(f"{value!r} holds {len(numbers)} values; wanted one, e.g. {self.example}",
                      param, ctx)
        return numbers if self.several else numbers[0]

    def _number(self, text: str, whole: str, param, ctx) -> float:
        from astropy import units as u

        try:
            number = float(u.Quantity(text).to_value(u.Unit(self.unit)))
        except u.UnitConversionError:
            found = "has no unit" if is_number(text) else f"{text.strip()!r} is in another kind of unit"
            self.fail(f"{whole!r} cannot be read: {found}; wanted e.g. {self.example}", param, ctx)
        except (TypeError, ValueError):
            self.fail(f"{whole!r} cannot be read; wanted e.g. {self.example}", param, ctx)
        if not math.isfinite(number):
            self.fail(f"{whole!r} is no finite number; wanted e.g. {self.example}", param, ctx)
        return number


class Angle(Quantity):
    """An angle with a unit, such as 5arcmin; given on in rad."""

    def __init__(self) -> None:
        super().__init__("rad", "0.3arcsec")
        self.name = "angle"


class BeamOption(click.ParamType):
    """A beam such as 5arcsec,4arcsec,30deg; given on as FWHM and position angle, rad.

    Of 5pix,4pix,30deg, where `pixels` allows it, the FWHM are quantities in pixels.
    """

    name = "major,minor,angle"

    def __init__(self, pixels: bool = False) -> None:
        self._pixels = pixels

    def convert(self, value, param, ctx):
        """(major, minor, position angle)."""
        if not isinstance(value, str):
            return value
        parts = value.split(",")
        if len(parts) not in (2, 3):
            self.fail(f"{value!r} is no beam; wanted e.g. 5arcsec,4arcsec,30deg", param, ctx)
        if self._pixels and all(re.search(r"pix\s*$", part) for part in parts[:2]):
            from astropy import units as u

            sizes = [Quantity("pix", "5pix").convert(part, param, ctx) * u.pix for part in parts[:2]]
        else:
            sizes = [Angle().convert(part, param, ctx) for part in parts[:2]]
        return (*sizes, *(Angle().convert(part, param, ctx) for part in parts[2:]), 0.0)[:3]


class Baseline(click.ParamType):
    """A baseline in metres or wavelengths with its unit, such as 5km or 20klambda, or 3pixels where allowed; given on as it is."""

    def __init__(self, pixels: bool = False) -> None:
        self.name, self._pixels = "baseline", pixels

    def convert(self, value, param, ctx):
        """The text."""
        from uvstack.errors import SelectionError
        from uvstack.io.selection import parse_uv_range

        example = "300m, 5km, 20klambda" + (" or 3pixels" if self._pixels else "")
        if not isinstance(value, str) or (self._pixels
                                          and re.fullmatch(r"\s*\d+\s*(px|pix|pixels?)\s*", value)):
            return value
        if is_number(value):
            self.fail(f"{value!r} has no unit; wanted e.g. {example}", param, ctx)
        try:
            parse_uv_range(value, None)
        except SelectionError:
            self.fail(f"{value!r} is no baseline; wanted e.g. {example}", param, ctx)
        return value


class Size(click.ParamType):
    """Pixels of an image: 1024, or columns and rows as 1024,512; given on as (m, l)."""

    name = "pixels"

    def convert(self, value, param, ctx):
        """(rows, columns)."""
        if not isinstance(value, str):
            return value
        parts = value.replace("x", ",").split(",")
        if len(parts) > 2 or not all(part.strip().isdigit() for part in parts):
            self.fail(f"{value!r} is no size; wanted pixels, e.g. 1024, or columns,rows: 1024,512",
                      param, ctx)
        return int(parts[-1]), int(parts[0])


class SetsAndPositions(click.Command):
    """A command on MS... POSITIONS. Given one path click takes it for the positions and misses the sets; it is more likely a set."""

    def parse_args(self, ctx, args):
        """As in click."""
        whole = list(args)  # click uses up the list
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter:
            given = self.make_parser(ctx).parse_args(args=whole)[0]
            only = given.get("positions")
            if isinstance(only, str) and not isinstance(given.get("ms"), tuple):
                ctx.fail("Missing argument 'POSITIONS': after the measurement sets a list of "
                         f"positions is wanted; found is only {only!r}")
            raise


def is_number(text: str) -> bool:
    """Whether a text is a number without a unit."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def example(command: str) -> str:
    """What `--help` ends with: a command that can be run as it stands."""
    return f"\b\nExample:\n  {command}"


class Frequency(click.ParamType):
    """A frequency with a unit; given on in Hz."""

    name = "frequency"

    def convert(self, value, param, ctx):
        """Hz."""
        from uvstack.sky.frequency import parse_frequency

        if isinstance(value, str) and is_number(value):
            self.fail(f"{value!r} has no unit; wanted e.g. 1.4GHz", param, ctx)
        try:
            return parse_frequency(value, param.opts[-1] if param is not None else self.name,
                                   lowest=0.0)
        except UvstackError as error:
            self.fail(str(error), param, ctx)


class Direction(click.ParamType):
    """A direction such as "J2000 10h12m13s -30d00m01s"; given on as RA and Dec in J2000, rad."""

    name = "direction"

    def convert(self, value, param, ctx):
        """(ra, dec)."""
        from uvstack.sky.coordinates import parse_direction

        try:
            return parse_direction(value, name=param.opts[-1] if param is not None else self.name)
        except UvstackError as error:
            self.fail(str(error), param, ctx)


class Commands(click.Group):
    """A group whose commands are imported when they are called, in the order in which one uses them.

    `modules` has the file in `uvstack.cli` of each.
    """

    def __init__(self, *args, modules: dict[str, str], **options) -> None:
        super().__init__(*args, **options)
        self.modules = modules

    def list_commands(self, ctx):
        """Names of the commands."""
        return list(self.modules)

    def get_command(self, ctx, cmd_name):
        """The command of that name."""
        import importlib

        if cmd_name not in self.modules:
            return None
        return importlib.import_module(f"uvstack.cli.{self.modules[cmd_name]}").command

    def resolve_command(self, ctx, args):
        """As in click, with the nearest names where there is no such command."""
        import difflib

        close = difflib.get_close_matches(args[0], self.modules, n=1) if args else []
        if args and args[0] not in self.modules and close:
            ctx.fail(f"No such command {args[0]!r}; did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands,
             modules={"info": "info", "image": "image", "stack": "stack",
                      "image-stack": "image_stack", "compare": "compare",
                      "montecarlo": "montecarlo", "fit": "fit", "subtract": "subtract",
                      "extract": "extract", "light-curves": "light_curves", "epochs": "epochs",
                      "feather": "feather", "sdint": "sdint", "sdint-assess": "sdint_assess",
                      "peel": "peel",
                      "simulate": "simulate", "experiment": "experiment", "demo": "demo"},
             context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
             epilog=example("uvstack stack survey.ms positions.csv --primary-beam vla --uvmin "
                            "5km --out stacked.ms"))
@click.version_option(__version__, prog_name="uvstack")
@click.option("-v", "--verbose", is_flag=True, help="Log what is decided on the way.")
def group(verbose: bool) -> None:
    """Stack, fit, image and subtract interferometric data."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING,
                        format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # dask.distributed sets the level of its own loggers; the handler has the last word.
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.INFO if verbose else logging.WARNING)


def _one_heap() -> None:
    """Tell glibc to keep one heap for all threads, before there are any: what one frees others use (a sixth of the memory of an image)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def main() -> None:
    """Run the command line; an error of `uvstack` is one line and exit status 1."""
    _one_heap()
    _our_packages_first()
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", UvstackWarning)
    try:
        group.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        # What a task says of itself; click's own has it as its cause.
        said = str(error.__cause__ or error) or _what_is_left()
        console.print(f"[red]interrupted[/]: {_escape(said)}")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except UvstackError as error:
        console.print(f"[red]error[/]: {_escape(error)}")
        sys.exit(1)
    except MemoryError:
        console.print("[red]error[/]: out of memory: fewer --threads or --workers hold fewer "
                      "chunks at once")
        sys.exit(1)
    except OSError as error:
        console.print(f"[red]error[/]: {_escape(error)}")
        sys.exit(1)


def _our_packages_first() -> None:
    """Let Python look for the packages beside `uvstack` there, before a user's own simulate.py; worker processes inherit the path.

    `python -m` and PYTHONPATH put the user's folders first, and an editable installation comes last
    of all.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def _terminate(*_) -> None:
    raise KeyboardInterrupt


def _what_is_left() -> str:
    from uvstack.io.output import left_over

    left = ", ".join(str(path) for path in left_over())
    return f"{left} could not be removed, and the next run with the same outputs does it" if left else "nothing half-written is left"


def _escape(text) -> str:
    from rich.markup import escape

    return escape(str(text))


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if issubclass(category, UvstackWarning):
        console.print(f"[yellow]warning[/]: {_escape(message)}")
    else:
        logging.getLogger("py.warnings").info("%s", message)


def show(result, report: Path | None, additions=()) -> None:
    """Print what is read of a result, of fits to it and of sections that were added, and where the report is (None: there is none)."""
    lines = [str(result)]
    for section in [*result.fit_sections(), *additions]:
        lines += [section.title, *(f"  {line}" for line in str(section).splitlines())]
    click.echo("\n".join([*lines,
                          *([] if report is None
                            else [f"{'report':<12} {report / 'index.html'}"])]))


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while it is a terminal; yields a function of (done, in all). Elsewhere nothing, not even a line's end."""
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
