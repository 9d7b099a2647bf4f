"""`uvstack epochs alpha`."""

from __future__ import annotations

import click

from uvstack.cli.main import example, progress_bar, show
from uvstack.cli.options import FILE, combine_options, report_options, run_options


@click.command(name="alpha",
               epilog=example("uvstack epochs alpha e1.tt0.fits e2.tt0.fits e1.tt1.fits "
                              "e2.tt1.fits --snr 5 --out alpha.fits"))
@click.argument("images", nargs=-1, required=True)
@click.option("--snr", default=5.0, help="Pixels are blank where tt0 is fainter, σ.")
@combine_options
@click.option("--out", type=FILE,
              help="FITS image of the index and its error; those of the epochs stand beside it.")
@report_options("JSON, table, pictures and a page", "out", "images")
@run_options
def command(images, beams, report, **options) -> None:
    """Map the spectral index of IMAGES: first those of tt0, then as many of tt1, in one order."""
    from uvstack.epochs.spectral_index.task import alpha

    if len(images) % 2:
        raise click.UsageError(f"{len(images)} images; wanted are as many of tt1 as of tt0")
    half = len(images) // 2
    with progress_bar("combining") as progress:
        result = alpha(images[:half], images[half:], beams=beams or None, report=report,
                       progress=progress, **options)
    show(result, report)
