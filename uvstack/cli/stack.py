"""`uvstack stack`."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.checks import MOST_BINS
from uvstack.cli.main import Angle, Baseline, SetsAndPositions, example, progress_bar, show
from uvstack.cli.options import data_options, list_options, report_options, run_options


@click.command(name="stack", cls=SetsAndPositions,
               epilog=example("uvstack stack survey.ms positions.csv --primary-beam vla --uvmin "
                              "5km --out stacked.ms"))
@click.argument("ms", nargs=-1, required=True)
@click.argument("positions")
@click.option("--primary-beam", default="constant",
              help="Preset (vla, evla, alma, alma-7m, meerkat, atca …), text (gaussian:30arcmin@1.4GHz, airy:25m,2.36m) or file.")
@click.option("--pb-cutoff", default=0.1,
              help="Power of the primary beam below which a pointing leaves a position out.")
@click.option("--weights", default="equal",
              help="equal, list, primary-beam, local-noise, or a product: list*primary-beam.")
@click.option("--noise-image", help="FITS image for local-noise.")
@click.option("--noise-kind", type=click.Choice(["corrected", "flat", "rms-corrected", "rms-flat"]),
              default="corrected",
              help="The image: corrected for the primary beam or of flat noise; rms-: a map of the noise itself.")
@click.option("--uvmin", type=Baseline(),
              help="Shortest baseline for the flux: 300m, 5km, 20klambda.")
@click.option("--uvmax", type=Baseline(), help="Longest baseline for the flux.")
@data_options
@click.option("--out", type=click.Path(path_type=Path), help="Stacked measurement set.")
@click.option("--no-ms", is_flag=True, help="Numbers, profile and stamp alone.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@report_options("JSON, uv profile, stamp, pictures and a page", "out", "positions")
@click.option("--bins", type=click.IntRange(1, MOST_BINS), default=20,
              help="Bins of the uv profile.")
@click.option("--stamp", default=64, help="Pixels across the stamp.")
@click.option("--stamp-cell", type=Angle(),
              help="Pixel of the stamp, e.g. 0.3arcsec; default a fifth of the resolution.")
@click.option("--bootstrap", default=0,
              help="Resample the positions this often: an error with the variance of the sources.")
@click.option("--seed", type=int, help="Seed of the bootstrap.")
@click.option("--group-by", help="Column of the list: stack each of its values by itself as well.")
@click.option("--reproject", is_flag=True, help="Turn (u,v,w) to each facet's tangent plane, for resolved sources in wide fields.")
@click.option("--facet-size", type=Angle(), default="5arcmin",
              help="Side of a facet for --reproject.")
@list_options
@click.option("--fit", help="Fit this shape to the stacked set within the same uv limits: gaussian, disc …: flux and size.")
@run_options
def command(ms, positions, out, no_ms, report, bins, stamp, stamp_cell, overwrite,
            **options) -> None:
    """Stack the visibilities of MS... at the positions of a list.

    Prints the flux of the average source with its errors, and writes the stacked measurement set
    (--out), the uv profile, the stamp and a report.
    """
    if no_ms and out is not None:
        raise click.UsageError("--no-ms and --out contradict each other: give one")
    if not no_ms and out is None:
        raise click.UsageError("say where the stacked measurement set goes with --out, or --no-ms "
                               "for numbers alone")
    if options["fit"] is not None and no_ms:
        raise click.UsageError("--fit wants the stacked measurement set; give --out instead of "
                               "--no-ms")
    import uvstack
    from uvstack.io.output import check_report, together
    from uvstack.report.files import files_of_report

    with together():
        if report is not None:
            check_report(report, overwrite, files_of_report(uvstack.StackResult))
        with progress_bar("stacking") as progress:
            result = uvstack.stack(list(ms), positions, out=out, progress=progress,
                                   overwrite=overwrite, stamp_size=stamp, stamp_cell=stamp_cell,
                                   **{name: value for name, value in options.items()
                                      if value is not None})
        if report is not None:
            result.report(report, bins=bins, stamp_size=stamp, stamp_cell=stamp_cell)
    show(result, report)
