"""`uvstack light-curves`."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.cli.main import Angle, example, show
from uvstack.cli.options import report_options

_FILE = click.Path(path_type=Path)


@click.command(name="light-curves",
               epilog=example("uvstack light-curves e1.fits e2.fits e3.fits --out curves.ecsv"))
@click.argument("images", nargs=-1, required=True)
@click.option("--catalogue",
              help="Sources to be measured; default what is found in any of the images.")
@click.option("--detection", default=5.0, help="Threshold of the brightest pixel of an island, σ.")
@click.option("--analysis", default=3.0, help="Threshold of all pixels of an island, σ.")
@click.option("--rms-box", "box", type=int,
              help="Side of the boxes of background and noise, pixels; default 16 beams.")
@click.option("--radius", type=Angle(),
              help="How far detections of one source may lie apart; default the largest beam.")
@click.option("--stokes", type=click.Choice(["I", "Q", "U", "V"]),
              help="Plane of files of several; default I, or else the only one.")
@click.option("--negative/--positive", default=None,
              help="Find sources below the background too; default in Stokes Q, U and V alone.")
@click.option("--out", type=_FILE, help="Table of one row a source and epoch: .ecsv.")
@click.option("--sources-out", type=_FILE,
              help="Catalogue of one row a source: .fits, .ecsv, .xml (VOTable) or .csv.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@report_options("JSON, tables, pictures and a page", "out", "images")
def command(images, report, **options) -> None:
    """Measure the same sources in all IMAGES, of several times, and how much they vary.

    Each image is searched; what is found in any is measured in all.
    """
    from uvstack.image_sequence.task import light_curves

    show(light_curves(images, report=report, **options), report)
