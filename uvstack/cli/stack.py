"""`uvstack stack`."""

from __future__ import annotations

import click

from uvstack.cli.main import Angle, SetsAndPositions, example, progress_bar, show
from uvstack.cli.options import (
    FILE,
    data_options,
    given,
    list_options,
    profile_option,
    report_options,
    run_options,
    uv_range_options,
    weight_options,
)


@click.command(name="stack", cls=SetsAndPositions,
               epilog=example("uvstack stack survey.ms positions.csv --primary-beam vla --uvmin "
                              "5km --out stacked.ms"))
@click.argument("ms", nargs=-1, required=True)
@click.argument("positions")
@weight_options()
@uv_range_options
@data_options
@click.option("--out", type=FILE, help="Stacked measurement set.")
@click.option("--no-ms", is_flag=True, help="Numbers, profile and stamp alone.")
@report_options("JSON, uv profile, stamp, pictures and a page", "out", "positions")
@profile_option
@click.option("--stamp", "stamp_size", default=64, help="Pixels across the stamp.")
@click.option("--stamp-cell", type=Angle(),
              help="Pixel of the stamp, e.g. 0.3arcsec; default a fifth of the resolution.")
@click.option("--bootstrap", default=0,
              help="Resample the positions this often: an error with the variance of the sources.")
@click.option("--by-position", is_flag=True,
              help="Judge the uv profile and a uv cut by the scatter of the positions, as --bootstrap does too.")
@click.option("--seed", type=int, help="Seed of the bootstrap.")
@click.option("--group-by", help="Column of the list: stack each of its values by itself as well.")
@click.option("--reproject", is_flag=True, help="Turn (u,v,w) to each facet's tangent plane, for resolved sources in wide fields.")
@click.option("--facet-size", type=Angle(), default="5arcmin",
              help="Side of a facet for --reproject.")
@list_options
@click.option("--fit", help="Fit this shape to the stacked set within the same uv limits: gaussian, disc …: flux and size.")
@click.option("--fit-estimator", type=click.Choice(["jeffreys", "likelihood"]), default="jeffreys",
              help="Of --fit: sizes at the maximum of likelihood × √F, or of the likelihood.")
@run_options
def command(ms, positions, out, no_ms, report, **options) -> None:
    """Stack the visibilities of MS... at the positions of a list.

    Prints the flux of the average source with its errors, and writes the stacked measurement set
    (--out), the uv profile, the stamp and a report.
    """
    if no_ms and out is not None:
        raise click.UsageError("--no-ms and --out contradict each other: give one")
    if not no_ms and out is None:
        raise click.UsageError("say where the stacked measurement set goes with --out, or --no-ms "
                               "for numbers alone")
    import uvstack

    with progress_bar("stacking") as progress:
        result = uvstack.stack(list(ms), positions, out=out, report=report, progress=progress,
                               **given(options))
    show(result, report)
