"""`uvstack image-stack`."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.cli.main import Baseline, Frequency, Quantity, example, show
from uvstack.cli.options import list_options, report_options


@click.command(name="image-stack", epilog=example(
    "uvstack image-stack survey-pbcor.fits positions.csv --weights local-noise --out stack.fits"))
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("positions")
@click.option("--method", type=click.Choice(["mean", "median", "clipped-mean"]), default="mean")
@click.option("--weights", default="equal",
              help="equal, list, primary-beam, local-noise, or a product: list*primary-beam.")
@click.option("--stamp", default=64, help="Pixels across a stamp.")
@click.option("--alignment", type=click.Choice(["subpixel", "nearest"]), default="subpixel",
              help="nearest: the nearest pixel, which smears.")
@click.option("--clip", default=3.0, help="Standard deviations at which clipped-mean clips.")
@click.option("--psf", type=click.Path(path_type=Path),
              help="FITS image of the dirty beam; else the Gaussian of the header.")
@click.option("--filter", "low_filter", type=Baseline(pixels=True),
              help="Take out low spatial frequencies: 5km, 20klambda, or the central 3pixels of the transform.")
@click.option("--primary-beam", default="constant",
              help="Preset, text or file as in `uvstack stack`, around the reference direction.")
@click.option("--pointings", help="List of the pointing centres of a mosaic.")
@click.option("--pb-image", type=click.Path(path_type=Path),
              help="FITS image of the primary beam's response, instead.")
@click.option("--pb-cutoff", default=0.1, help="Response below which a position is left out.")
@click.option("--image-kind", type=click.Choice(["corrected", "flat"]), default="corrected",
              help="Corrected for the primary beam, or of flat noise: then stamps are divided by the response.")
@click.option("--noise-image", type=click.Path(path_type=Path),
              help="FITS image for local-noise; default the image itself.")
@click.option("--noise-kind", type=click.Choice(["corrected", "flat", "rms-corrected", "rms-flat"]),
              help="Of that image: corrected or flat; rms-: a map of the noise itself. Default as --image-kind.")
@click.option("--random", default=0,
              help="Stack this many lists of random positions too, for the noise.")
@click.option("--bootstrap", default=0,
              help="Resample the positions this often: an error with the variance of the sources.")
@click.option("--seed", type=int, help="Seed of both.")
@click.option("--fit", type=click.Choice(["point", "circular", "elliptical"]),
              help="Fit the psf convolved with a point, circular or elliptical Gaussian: flux and size.")
@click.option("--fit-radius", type=click.FloatRange(min=1),
              help="Pixels of the circle that is fitted; default the whole stamp.")
@click.option("--beam", type=Quantity("rad", "3.2arcsec,1.6arcsec,30deg", several=True),
              help="Where the header has none.")
@click.option("--channel", type=int, help="Of a cube, from 0.")
@click.option("--frequency", type=Frequency(), help="Where the header has none.")
@list_options
@click.option("--out", type=click.Path(path_type=Path), help="FITS file of the stack.")
@report_options("JSON, FITS, pictures and a page", "out", "positions")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--threads", type=int, help="Default all processors.")
def command(image, positions, report, overwrite, **options) -> None:
    """Stack stamps of IMAGE, a FITS image in Jy/beam, at the positions of a list.

    Prints the flux of the average source with its errors, and writes the stack (--out) and a
    report.
    """
    import uvstack
    from uvstack.io.output import check_report, together
    from uvstack.report.files import files_of_report

    with together():
        if report is not None:
            check_report(report, overwrite, files_of_report(uvstack.ImageStackResult))
        result = uvstack.image_stack(image, positions, overwrite=overwrite,
                                     **{name: value for name, value in options.items()
                                        if value is not None})
        if report is not None:
            result.report(report)
    show(result, report)
