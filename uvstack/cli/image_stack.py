"""`uvstack image-stack`."""

from __future__ import annotations

import click

from uvstack.cli.main import Baseline, BeamOption, Frequency, example, show
from uvstack.cli.options import (
    FILE,
    given,
    list_options,
    report_options,
    thread_option,
    weight_options,
)


@click.command(name="image-stack", epilog=example(
    "uvstack image-stack survey-pbcor.fits positions.csv --weights local-noise --out stack.fits"))
@click.argument("image", type=FILE)
@click.argument("positions")
@click.option("--method", type=click.Choice(["mean", "median", "clipped-mean"]), default="mean")
@weight_options()
@click.option("--stamp", default=64, help="Pixels across a stamp.")
@click.option("--alignment", type=click.Choice(["subpixel", "nearest"]), default="subpixel",
              help="nearest: the nearest pixel, which smears.")
@click.option("--clip", default=3.0, help="Standard deviations at which clipped-mean clips.")
@click.option("--psf", type=FILE,
              help="FITS image of the dirty beam; else the Gaussian of the header.")
@click.option("--filter", "low_filter", type=Baseline(pixels=True),
              help="Take out low spatial frequencies: 5km, 20klambda, or the central 3pixels of the transform.")
@click.option("--pointings", help="List of the pointing centres of a mosaic; default the reference direction of IMAGE.")
@click.option("--pb-image", type=FILE,
              help="FITS image of the primary beam's response, instead.")
@click.option("--image-kind", type=click.Choice(["corrected", "flat"]), default="corrected",
              help="Corrected for the primary beam, or of flat noise: then stamps are divided by the response.")
@click.option("--random", default=0,
              help="Stack this many lists of random positions too, for the noise.")
@click.option("--bootstrap", default=0,
              help="Resample the positions this often: an error with the variance of the sources.")
@click.option("--seed", type=int, help="Seed of both.")
@click.option("--fit", type=click.Choice(["point", "circular", "elliptical"]),
              help="Fit the psf convolved with a point, circular or elliptical Gaussian: flux and size.")
@click.option("--fit-radius", type=click.FloatRange(min=1),
              help="Pixels of the circle that is fitted; default the whole stamp.")
@click.option("--beam", type=BeamOption(), help="Where the header has none: 3.2arcsec,1.6arcsec,30deg.")
@click.option("--channel", type=int, help="Of a cube, from 0.")
@click.option("--frequency", type=Frequency(), help="Where the header has none.")
@list_options
@click.option("--out", type=FILE, help="FITS file of the stack.")
@report_options("JSON, FITS, pictures and a page", "out", "positions")
@thread_option
def command(image, positions, report, **options) -> None:
    """Stack stamps of IMAGE, a FITS image in Jy/beam, at the positions of a list.

    Prints the flux of the average source with its errors, and writes the stack (--out) and a
    report.
    """
    import uvstack

    show(uvstack.image_stack(image, positions, report=report, **given(options)), report)
