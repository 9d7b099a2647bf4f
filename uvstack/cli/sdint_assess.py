"""`uvstack sdint-assess`."""

from __future__ import annotations

import click

from uvstack.cli.feather import AnnulusOption
from uvstack.cli.main import Angle, Direction, Quantity, Size, example, progress_bar, show
from uvstack.cli.options import (
    FILE,
    beam_option,
    data_options,
    given,
    report_options,
    run_options,
    uv_range_options,
)
from uvstack.cli.sdint import ChannelsOption, DishPlanes


@click.command(name="sdint-assess", epilog=example(
    "uvstack sdint-assess vla.ms gbt_cube.fits --image joint-image.fits"))
@click.argument("ms", nargs=-1, required=True)
@click.argument("sd", type=DishPlanes())
@click.option("--image", type=FILE,
              help="A joint image, corrected for the primary beam, to be compared with SD.")
@click.option("--truth", type=FILE,
              help="What --image should be: Jy/beam of a beam not larger, or Jy/pixel.")
@click.option("--out", type=FILE,
              help="Begin of the names of maps of --image: over SD, accuracy, fidelity; FITS.")
@click.option("--size", "--imsize", type=Size(),
              help="Pixels of the joint image; default what SD covers.")
@click.option("--cell", "--scale", type=Angle(),
              help="Pixel, e.g. 0.5arcsec; default a quarter of the finest fringe.")
@click.option("--weighting", type=click.Choice(["natural", "uniform", "briggs"]), default="briggs",
              help="Of the visibilities.")
@click.option("--robust", type=float,
              help="Of Briggs, from -2 (uniform) to 2 (natural); default 0.")
@click.option("--taper", "--uvtaper", "uvtaper", type=Angle(),
              help="FWHM of a Gaussian on the sky that the weights are tapered for.")
@click.option("--channels", type=ChannelsOption(), default="dish",
              help="Channels of the reconstruction, as of sdint.")
@click.option("--sd-psf", type=FILE, help="Beam of the dish as an image or cube.")
@click.option("--dish-diameter", type=Quantity("m", "100m"),
              help="Effective diameter that sets the weights; default from the beam of SD.")
@click.option("--beam-factor", default=1.0,
              help="k of FWHM = k λ/D; real dishes have 1.1 to 1.2, CASA takes 1.22.")
@click.option("--overlap", type=AnnulusOption(),
              help="Annulus of uv distances where flux scales are compared, e.g. 60m,100m or "
                   "2klambda,4klambda; default 0.6 to 1 over the dish's FWHM.")
@data_options
@uv_range_options
@click.option("--phase-centre", type=Direction(),
              help="Middle of the image: 'J2000 10h00m00s -30d00m00s'; default that of the field, or of all fields.")
@beam_option("What the pointings see of SD")
@click.option("--pb-cutoff", default=0.2,
              help="What the primary beam is below of does not count.")
@report_options("JSON, tables, pictures and a page", "ms")
@run_options
def command(ms, sd, report, **options) -> None:
    """Say what the visibilities of MS... and SD, a single dish's cube or planes, have in common.

    Where they overlap in uv, the flux factor of SD, noise of both, the joint psf and which --sd-gain
    is good for `uvstack sdint`; and how good a joint --image is, by SD and by its --truth.
    """
    import uvstack

    with progress_bar("assessing") as progress:
        result = uvstack.sdint_assess(list(ms), sd, report=report, progress=progress,
                                      **given(options))
    show(result, report)
