"""`uvstack feather`."""

from __future__ import annotations

import click

from uvstack.cli.main import Angle, Baseline, Quantity, example, is_number, show
from uvstack.cli.options import FILE, report_options


class ScaleOption(click.ParamType):
    """A factor, or auto."""

    name = "factor|auto"

    def convert(self, value, param, ctx):
        """A float, or "auto"."""
        if not isinstance(value, str) or value == "auto":
            return value
        if not is_number(value):
            self.fail(f"{value!r} is no factor; wanted a number, or auto", param, ctx)
        return float(value)


class AnnulusOption(click.ParamType):
    """Two uv distances, such as 60m,100m."""

    name = "inner,outer"

    def convert(self, value, param, ctx):
        """Their texts."""
        if not isinstance(value, str):
            return value
        parts = value.split(",")
        if len(parts) != 2:
            self.fail(f"{value!r} is no annulus; wanted two uv distances, e.g. 60m,100m", param, ctx)
        return tuple(Baseline().convert(part.strip(), param, ctx) for part in parts)


@click.command(name="feather", epilog=example(
    "uvstack feather vla.fits gbt.fits --sd-scale auto --overlap 35m,90m --out feathered.fits"))
@click.argument("high", type=FILE)
@click.argument("low", type=FILE)
@click.option("--sd-scale", type=ScaleOption(), default=1.0,
              help="Flux factor of the dish's map; auto finds it in the overlap.")
@click.option("--sd-gain", default=1.0,
              help="Weight of the dish against the interferometer; changes no flux.")
@click.option("--overlap", type=AnnulusOption(),
              help="Annulus of uv distances where flux scales are compared, e.g. 60m,100m or "
                   "2klambda,4klambda; default 0.6 to 1 over the dish's FWHM.")
@click.option("--sd-psf", type=FILE,
              help="Beam of LOW as an image or cube, before that of its header.")
@click.option("--dish-diameter", type=Quantity("m", "100m"),
              help="Effective diameter that sets the weights; default from the beam of LOW.")
@click.option("--beam-factor", default=1.0,
              help="k of FWHM = k λ/D; real dishes have 1.1 to 1.2, CASA takes 1.22.")
@click.option("--gridding-kernel", type=Angle(), default="0arcsec",
              help="FWHM of the kernel of the map's gridding, which widens the diameter's beam.")
@click.option("--low-pass", is_flag=True,
              help="Leave out scales of LOW beyond the diameter of the dish.")
@click.option("--out", type=FILE, required=True,
              help="FITS image; its numbers stand beside it as JSON.")
@report_options("JSON, tables, pictures and a page", "out")
def command(high, low, report, **options) -> None:
    """Join HIGH, an interferometer's image or cube, with LOW, a single dish's, in the uv plane."""
    import uvstack

    show(uvstack.feather(high, low, report=report, **options), report)
