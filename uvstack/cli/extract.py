"""`uvstack extract`."""

from __future__ import annotations

import click

from uvstack.cli.main import Angle, BeamOption, Quantity, example, show
from uvstack.cli.options import FILE, detection_options, report_options, sign_option


def _number(ctx, param, value):
    """A choice of numbers, which click has as texts."""
    return int(value)


@click.command(name="extract",
               epilog=example("uvstack extract image.fits --detection 5 --analysis 3 --out "
                              "catalogue.fits"))
@click.argument("image")
@detection_options
@sign_option
@click.option("--fdr", type=float, help="In place of --detection: largest part of source pixels that may be noise, e.g. 0.01.")
@click.option("--filter-size", default=3,
              help="Boxes of whose values the median is taken; 1 for none.")
@click.option("--peaks", type=click.Choice(["interpolated", "pixel"]), default="interpolated",
              help="What is above --detection: the maximum between pixels, or the brightest pixel.")
@click.option("--connectivity", type=click.Choice(["8", "4"]), default="8", callback=_number,
              help="Whether pixels hang together at their corners.")
@click.option("--min-pixels", default=1, help="Drop islands with fewer pixels.")
@click.option("--deblend", default=32,
              help="Sub-thresholds by which islands are split; 0 splits none.")
@click.option("--deblend-fraction", default=0.005,
              help="Part of an island's flux that each part must have.")
@click.option("--method", type=click.Choice(["fit", "moments"]), default="fit",
              help="How sources are measured.")
@click.option("--weighting", type=click.Choice(["plain", "gls"]), default="plain",
              help="Least squares: plain, or by the inverse of the noise's covariance.")
@click.option("--errors", type=click.Choice(["correlation", "condon"]), default="correlation",
              help="From the measured correlation of the noise, or by the equations of Condon (1997).")
@click.option("--fixed", type=click.Choice(["none", "shape", "position", "both"]), default="none",
              help="What fits leave: the shape that of the beam, the position that of the moments.")
@click.option("--unresolved", type=click.Choice(["free", "point"]), default="free",
              help="Fluxes of sources that are not resolved: of the free fit, or of a second one with the beam's shape.")
@click.option("--beam", type=BeamOption(pixels=True),
              help="In place of the header's: 5arcsec,4arcsec,30deg; without coordinates 5pix,4pix,30deg.")
@click.option("--beam-frame", type=click.Choice(["auto", "pixel", "sky"]), default="auto",
              help="Where the beam is constant: pixels (SIN images) or sky (mosaics).")
@click.option("--rms", metavar="NUMBER|IMAGE", help="Noise: a number in the unit of the image, or an image.")
@click.option("--background", metavar="NUMBER|IMAGE", help="Background: a number in the unit of the image, or an image.")
@click.option("--psf-map", metavar="IMAGE",
              help="Beam at each pixel: FITS image of three planes, BMAJ, BMIN and BPA in degrees.")
@click.option("--detection-image", metavar="IMAGE",
              help="Find sources in this image, of flat noise for instance, and measure them in IMAGE.")
@click.option("--forced", metavar="LIST",
              help="Measure at these positions, in their order: a list or region file as `uvstack stack` takes it.")
@click.option("--search-radius", type=Angle(), default="0arcsec",
              help="How far a forced position may move.")
@click.option("--counts-slope", type=float,
              help="q of counts N(>S) ~ S^-q: adds the expected true flux; wants --lowest-flux.")
@click.option("--lowest-flux", type=Quantity("Jy", "10uJy"),
              help="Flux below which there are no sources.")
@click.option("--position-systematic", type=Angle(), default="0arcsec",
              help="Systematic error of positions, a column of its own.")
@click.option("--flux-systematic", default=0.0,
              help="Systematic error of fluxes as a part of them, a column of its own.")
@click.option("--out", type=FILE, help="Catalogue: .fits, .ecsv, .xml (VOTable) or .csv.")
@click.option("--detect", type=click.Choice(["mean", "chi-squared"]), default="mean",
              help="Of a cube: find sources in the mean of its channels, or in the sum of their squares over the noise.")
@click.option("--channels-out", type=FILE,
              help="Of a cube: table of one row a source and channel.")
@click.option("--rms-out", type=FILE, help="Image of the noise.")
@click.option("--background-out", type=FILE, help="Image of the background.")
@click.option("--residual-out", type=FILE, help="Image without background and sources.")
@click.option("--model-out", type=FILE, help="Image of the sources' Gaussians.")
@click.option("--islands-out", type=FILE, help="Image of the numbers of the islands.")
@click.option("--regions-out", type=FILE, help="Regions: .reg (DS9) or .crtf (CASA, CARTA).")
@report_options("JSON, catalogue, pictures and a page", "out", "image")
def command(image, report, **options) -> None:
    """Find and measure the sources of IMAGE, FITS or of CASA."""
    from uvstack.extraction.task import find

    show(find(image, report=report, **options), report)
