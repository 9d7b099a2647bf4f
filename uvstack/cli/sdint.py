"""`uvstack sdint`."""

from __future__ import annotations

import click

from uvstack.cli.feather import AnnulusOption, ScaleOption
from uvstack.cli.image import imaging_options
from uvstack.cli.main import Angle, Quantity, example, is_number, progress_bar, show
from uvstack.cli.options import FILE, given, group_of, report_options, run_options


class ChannelsOption(click.ParamType):
    """dish, all, or a number."""

    name = "dish|all|number"

    def convert(self, value, param, ctx):
        """A text, or an int."""
        if not isinstance(value, str) or value in ("dish", "all"):
            return value
        if not is_number(value) or not float(value).is_integer():
            self.fail(f"{value!r} is no choice of channels; wanted dish, all or a number", param, ctx)
        return int(float(value))


class DishPlanes(click.ParamType):
    """A cube, or several planes with commas between them."""

    name = "cube|plane,plane…"

    def convert(self, value, param, ctx):
        """A path, or a tuple of them."""
        if not isinstance(value, str):
            return value
        paths = tuple(part.strip() for part in value.split(",") if part.strip())
        return paths[0] if len(paths) == 1 else paths


#: What is said of the dish.
dish_options = group_of(
    click.option("--channels", type=ChannelsOption(), default="dish",
                 help="Channels of the reconstruction: of the dish, all of the visibilities, or a "
                      "number of equal steps. With one term a cube is made of them."),
    click.option("--sd-psf", type=FILE, help="Beam of the dish as an image or cube."),
    click.option("--dish-diameter", type=Quantity("m", "100m"),
                 help="Effective diameter that sets the weights; default from the beam of SD."),
    click.option("--beam-factor", default=1.0,
                 help="k of FWHM = k λ/D; real dishes have 1.1 to 1.2, CASA takes 1.22."),
    click.option("--gridding-kernel", type=Angle(), default="0arcsec",
                 help="FWHM of the kernel of the map's gridding, which widens the diameter's beam."),
    click.option("--overlap", type=AnnulusOption(),
                 help="Annulus of uv distances where flux scales are compared, e.g. 60m,100m or "
                      "2klambda,4klambda; default 0.6 to 1 over the dish's FWHM."))


@click.command(name="sdint", epilog=example(
    "uvstack sdint vla.ms gbt_cube.fits --size 800 --cell 9arcsec --terms 2 --scales 0,12,40,80 "
    "--out joint"))
@click.argument("ms", nargs=-1, required=True)
@click.argument("sd", type=DishPlanes())
@click.option("--use", type=click.Choice(["joint", "int", "sd"]), default="joint",
              help="Both instruments, the interferometer alone, or the dish alone.")
@click.option("--sd-scale", type=ScaleOption(), default=1.0,
              help="Flux factor of the dish's map; auto finds it in the overlap.")
@click.option("--sd-gain", default=1.0,
              help="Weight of the dish against the interferometer; changes no flux.")
@click.option("--sd-noise", type=Quantity("", "0.3,0.3,0.4", several=True),
              help="Noise of SD in its unit, of all channels or of each with commas between them: "
                   "by it they weigh; default by the visibilities' weights.")
@click.option("--low-pass", is_flag=True,
              help="Leave out scales of SD beyond the diameter of the dish.")
@click.option("--start-model", type=FILE,
              help="Begin of the names of an earlier run whose model is gone on from.")
@click.option("--gain", default=0.3, help="Part of a peak that one iteration takes.")
@dish_options
@imaging_options
@report_options("JSON, pictures and a page", "out")
@run_options
def command(ms, sd, report, **options) -> None:
    """Deconvolve the visibilities of MS... and SD, a single dish's cube or planes, together.

    Writes what `uvstack image` writes. With one of --terms a cube is made, channel by channel; with
    more one image, its Taylor terms and the spectral index.
    """
    import uvstack

    with progress_bar("reconstructing") as progress:
        result = uvstack.sdint(list(ms), sd, report=report, progress=progress, **given(options))
    show(result, report)
    click.echo(f"{'products':<12} {result.files['image']} and {len(result.files) - 1} more, "
               f"listed in {result.files['json']}")
