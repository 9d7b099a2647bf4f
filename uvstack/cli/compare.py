"""`uvstack compare`."""

from __future__ import annotations

import click

from uvstack.cli.main import (
    Angle,
    Baseline,
    BeamOption,
    SetsAndPositions,
    Size,
    example,
    progress_bar,
    show,
)
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


def _words(ctx, param, value):
    """Words with commas between them."""
    return [word.strip() for word in value.split(",")]


@click.command(name="compare", cls=SetsAndPositions,
               epilog=example("uvstack compare survey.ms positions.csv --column RESIDUAL "
                              "--primary-beam vla --uvmin 5km"))
@click.argument("ms", nargs=-1, required=True)
@click.argument("positions")
@click.option("--image", type=FILE,
              help="FITS image to stack; default the dirty image of MS, made here.")
@click.option("--psf", type=FILE, help="Dirty beam of --image.")
@click.option("--size", type=Size(),
              help="Pixels of the image made here: 1024, or columns,rows; default all positions.")
@click.option("--cell", type=Angle(),
              help="Its pixel, and that of the stamps; default a fifth of the resolution.")
@click.option("--weighting", type=click.Choice(["natural", "uniform", "briggs"]),
              default="natural", help="Of that image; natural: as the uv-stack.")
@click.option("--robust", type=float,
              help="Of Briggs, from -2 (uniform) to 2 (natural); default 0.")
@click.option("--method", "methods", default="mean,median", callback=_words,
              help="Averages of the stamps: mean, median, clipped-mean.")
@uv_range_options
@click.option("--filter", "low_filter", type=Baseline(pixels=True),
              help="Low spatial frequencies taken out of image-stacks: 5km, 20klambda, 3pixels; default --uvmin.")
@click.option("--stamp", type=int,
              help="Pixels across a stamp; default 64, with a filter up to 256.")
@weight_options(None, "primary-beam with --primary-beam, else equal")
@click.option("--image-kind", type=click.Choice(["corrected", "flat"]),
              help="Of --image: primary-beam corrected, or of flat noise.")
@click.option("--pb-image", type=FILE,
              help="FITS image of the primary beam of --image.")
@click.option("--beam", type=BeamOption(),
              help="Where the header of --image has none: 3.2arcsec,1.6arcsec,30deg.")
@data_options
@click.option("--fit", type=click.Choice(["gaussian", "point"]),
              help="Fit this to the stacked visibilities and, with the psf, to the stamps.")
@list_options
@click.option("--out", type=FILE,
              help="Stacked measurement set; default none is kept.")
@report_options("JSON, tables, pictures, images and a page", "positions")
@profile_option
@run_options
def command(ms, positions, report, **options) -> None:
    """Stack the visibilities of MS... and their image at the positions of a list, side by side.

    The image has all baselines up to --uvmax; the visibilities are stacked with and without
    --uvmin. Several pointings need --primary-beam. MS is taken as it is: subtract bright sources
    before (`uvstack subtract`). Nothing is deconvolved. Prints a table of all methods, and writes
    it with stamps, profiles and a page to --report.
    """
    import uvstack

    with progress_bar("comparing") as progress:
        result = uvstack.compare(list(ms), positions, report=report, progress=progress,
                                 **given(options))
    show(result, report)
