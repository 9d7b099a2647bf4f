"""`uvstack sdint-assess`."""

from __future__ import annotations

import click

from uvstack.cli.image import weighting_options
from uvstack.cli.main import Angle, Direction, Size, example, progress_bar, show
from uvstack.cli.options import (
    FILE,
    beam_option,
    data_options,
    given,
    report_options,
    run_options,
    uv_range_options,
)
from uvstack.cli.sdint import DishPlanes, dish_options


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
@weighting_options
@dish_options
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
