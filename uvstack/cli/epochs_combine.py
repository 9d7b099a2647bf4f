"""`uvstack epochs combine`."""

from __future__ import annotations

import click

from uvstack.cli.main import example, progress_bar, show
from uvstack.cli.options import combine_options, report_options, run_options


@click.command(name="combine",
               epilog=example("uvstack epochs combine e1.fits e2.fits --reference 2 --out "
                              "combined"))
@click.argument("images", nargs=-1, required=True)
@combine_options
@click.option("--out", help="Folder for the maps: mean, median, weight, rms, chi2, coverage.")
@report_options("JSON, table, pictures and a page", "out", "images")
@run_options
def command(images, beams, report, **options) -> None:
    """Combine IMAGES of one sky at several epochs: weighted mean and median.

    All are brought to one grid and one beam, and each pixel is weighed by the local noise.
    """
    from uvstack.epochs.combination.task import combine

    with progress_bar("combining") as progress:
        result = combine(images, beams=beams or None, report=report, progress=progress, **options)
    show(result, report)
