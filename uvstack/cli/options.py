"""Options that several commands share, in groups: what they mean is said once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def _group(*options: Callable) -> Callable:
    """One decorator of several; help shows them in this order."""

    def decorate(command: Callable) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


#: Which data of a measurement set.
data_options = _group(
    click.option("--column", default="DATA", help="Data column, or a difference such as DATA-MODEL_DATA."),
    click.option("--field", help="Fields as in CASA: 0,3~5,NGC*."),
    click.option("--spw", help="Spectral windows as in CASA: 0,2~3."),
    click.option("--timerange", help="Times as in CASA, UTC: 2011/05/28/03:00:00~04:00:00."),
    click.option("--pointing", type=click.Choice(["auto", "phase", "reference", "table"]), default="auto",
                 help="Centre of the primary beam: phase centre, REFERENCE_DIR or the POINTING table; auto: what there is, from the last."))

#: How a list of positions is read.
list_options = _group(
    click.option("--columns", help="Columns of the list by name: ra=RA_X,dec=DEC_X,weight=W."),
    click.option("--frame", help="Frame of the list where it does not say: J2000, ICRS, B1950, GALACTIC …"),
    click.option("--unit", type=click.Choice(["auto", "deg", "rad"]), default="auto", help="Unit of plain numbers in the list."))

#: What a command runs on.
run_options = _group(
    click.option("--workers", type=int, help="Local processes instead of threads."),
    click.option("--scheduler", help="Address of a dask scheduler."),
    click.option("--threads", type=int, help="Local threads; default all processors."))
