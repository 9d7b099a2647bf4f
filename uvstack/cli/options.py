"""Options that several commands share, in groups: what they mean is said once."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

#: Of what commands make; another dot in a name belongs to it.
_ENDINGS = r"\.(ms|fits|ecsv|csv|xml|vot)$"


def _group(*options: Callable) -> Callable:
    """One decorator of several; help shows them in this order."""

    def decorate(command: Callable) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def report_options(holds: str, *after: str) -> Callable:
    """`--report FOLDER` and `--no-report`, on a command that gets the folder, or None, as `report`.

    `holds` says what is in it. Its default name is after the first of `after` (out, positions, ms)
    that is given.
    """
    called = {"out": "--out", "positions": "the list", "ms": "MS", "image": "IMAGE",
              "images": "the first of IMAGES"}
    names = ", or after ".join(called[name] for name in after)

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def command(*, report: Path | None, no_report: bool, **options: Any) -> Any:
            if no_report and report is not None:
                raise click.UsageError("--no-report and --report contradict each other: give one")
            folder = None if no_report else report or _report_folder(options, after)
            return function(report=folder, **options)

        return _group(
            click.option("--report", type=click.Path(path_type=Path), metavar="FOLDER",
                         help=f"Folder for {holds}; default named after {names}."),
            click.option("--no-report", is_flag=True, help="Print the result alone."))(command)

    return decorate


def _report_folder(options: dict[str, Any], after: tuple[str, ...]) -> Path:
    """Folder named after an output, beside it, or after an input, here."""
    name = next(name for name in after if options.get(name))
    if name == "out":
        return Path(f"{re.sub(_ENDINGS, '', str(options['out']))}-report")
    given = options[name][0] if isinstance(options[name], tuple) else options[name]
    return Path(f"{Path(str(given).rstrip('/')).stem}-{click.get_current_context().command.name}-report")


class Columns(click.ParamType):
    """Columns of a list by name, such as ra=RA_X,dec=DEC_X."""

    name = "columns"

    def convert(self, value, param, ctx):
        """Dict of what and column."""
        if not isinstance(value, str):
            return value
        pairs = [part.split("=", 1) for part in value.split(",")]
        if any(len(pair) != 2 or not all(pair) for pair in pairs):
            self.fail(f"{value!r} cannot be read; wanted e.g. ra=RA_X,dec=DEC_X", param, ctx)
        return {key.strip(): column.strip() for key, column in pairs}


#: Which data of a measurement set.
data_options = _group(
    click.option("--column", default="DATA", help="Data column, or a difference such as DATA-MODEL_DATA."),
    click.option("--field", help="Fields as in CASA: 0,3~5,NGC*."),
    click.option("--spw", help="Spectral windows as in CASA: 0,2~3."),
    click.option("--timerange", help="Times as in CASA, UTC: 2011/05/28/03:00:00~04:00:00."),
    click.option("--pointing", type=click.Choice(["auto", "phase", "reference", "table"]), default="auto",
                 help="Centre of the primary beam: phase centre, REFERENCE_DIR or the POINTING table; auto: what there is, from the last."))

#: How a list of positions is read.
list_options = _group(click.option("--columns", type=Columns(),
                                   help="Columns of the list by name: ra=RA_X,dec=DEC_X,weight=W."),
                      click.option("--frame",
                                   help="Frame of the list where it does not say: J2000, ICRS, B1950, GALACTIC …"),
                      click.option("--unit", type=click.Choice(["auto", "deg", "rad"]),
                                   default="auto", help="Unit of plain numbers in the list."))

#: What a command runs on.
run_options = _group(
    click.option("--workers", type=int, help="Local processes instead of threads."),
    click.option("--scheduler", help="Address of a dask scheduler."),
    click.option("--threads", type=int, help="Local threads; default all processors."))
