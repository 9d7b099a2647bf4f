"""`uvstack epochs compare`."""

from __future__ import annotations

import click

from uvstack.cli.main import Angle, BeamOption, example, show
from uvstack.cli.options import FILE, detection_options, overwrite_option


@click.command(name="compare",
               epilog=example("uvstack epochs compare combined/mean.fits e1.fits e2.fits --match "
                              "1arcsec --out comparison/"))
@click.argument("combined")
@click.argument("epochs", nargs=-1, required=True)
@click.option("--match", type=Angle(), default="1arcsec",
              help="How far counterparts may lie apart; one to one, the nearest first.")
@click.option("--finder", type=click.Choice(["uvstack", "bdsf"]), default="uvstack",
              help="What finds the sources of images: uvstack extract, or PyBDSF.")
@click.option("--f-cal", default=0.05, help="Fractional uncertainty of the calibration.")
@click.option("--snr", default=10.0,
              help="Least peak in the combined map, σ of the epoch, of sources of the flux scale.")
@detection_options
@click.option("--beam", type=BeamOption(),
              help="Of catalogues that say none: 5arcsec,4arcsec,30deg.")
@click.option("--out", type=FILE, metavar="FOLDER",
              help="Folder for tables, summary.json, pictures and a page; default none.")
@overwrite_option()
def command(combined, epochs, out, **options) -> None:
    """Compare the sources of EPOCHS... with those of their COMBINED map.

    Each is an image, or a catalogue of its sources. Total, peak and island fluxes are matched and
    compared as in the appendix of VLASS memo 26: R is the combined map over the epoch.
    """
    from uvstack.epochs.comparison.task import compare

    show(compare(combined, list(epochs), out=out, **options), out)
