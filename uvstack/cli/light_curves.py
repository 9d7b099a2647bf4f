"""`uvstack light-curves`."""

from __future__ import annotations

import click

from uvstack.cli.main import Angle, example, show
from uvstack.cli.options import FILE, detection_options, report_options, sign_option


@click.command(name="light-curves",
               epilog=example("uvstack light-curves e1.fits e2.fits e3.fits --out curves.ecsv"))
@click.argument("images", nargs=-1, required=True)
@click.option("--catalogue",
              help="Sources to be measured; default what is found in any of the images.")
@detection_options
@sign_option
@click.option("--radius", type=Angle(),
              help="How far detections of one source may lie apart; default the largest beam.")
@click.option("--times", metavar="FILE",
              help="When the images were taken, one a line in their order, in place of DATE-OBS.")
@click.option("--flux-scale", is_flag=True,
              help="Divide fluxes by a scale of each image, the median ratio of its sources to their means.")
@click.option("--out", type=FILE, help="Table of one row a source and epoch: .ecsv.")
@click.option("--sources-out", type=FILE,
              help="Catalogue of one row a source: .fits, .ecsv, .xml (VOTable) or .csv.")
@report_options("JSON, tables, pictures and a page", "out", "images")
def command(images, report, **options) -> None:
    """Measure the same sources in all IMAGES, of several times, and how much they vary.

    Each image is searched; what is found in any is measured in all.
    """
    from uvstack.image_sequence.task import light_curves

    show(light_curves(images, report=report, **options), report)
