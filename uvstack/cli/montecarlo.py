"""`uvstack montecarlo`."""

from __future__ import annotations

import click

from uvstack.cli.main import Angle, Quantity, SetsAndPositions, example, progress_bar, show
from uvstack.cli.options import (
    FILE,
    data_options,
    given,
    list_options,
    report_options,
    run_options,
    uv_range_options,
    weight_options,
)


class NumberOrMatch(click.ParamType):
    """A quantity, or the word match."""

    def __init__(self, unit: str, example: str) -> None:
        self.name, self._quantity = f"{example}|match", Quantity(unit, example)

    def convert(self, value, param, ctx):
        """A float in a unit of SI, or "match"."""
        return value if value == "match" else self._quantity.convert(value, param, ctx)


@click.command(name="montecarlo", cls=SetsAndPositions,
               short_help="Noise and bias of a stack from random positions and fake sources.",
               epilog=example("uvstack montecarlo survey.ms positions.csv --primary-beam vla "
                              "--realisations 1000 --report mc"))
@click.argument("ms", nargs=-1, required=True)
@click.argument("positions")
@click.option("--realisations", default=100,
              help="Lists of random positions, each as long as the list.")
@click.option("--fake-flux", type=NumberOrMatch("Jy", "2uJy"),
              help="Add sources of this flux at the random positions; match: those of the list.")
@click.option("--fake-size", type=NumberOrMatch("rad", "1.5arcsec"),
              help="Their FWHM; default points.")
@click.option("--fake-response", type=click.Choice(["exact", "own"]), default="exact",
              help="own: their sidelobes at each other are taken as their mean over three realisations; exact costs a stack or "
                   "two a realisation.")
@click.option("--jitter", type=Angle(), help="Displace the listed positions by this much instead of drawing all over the field.")
@click.option("--radius", type=Angle(), help="Draw in a circle around the middle of the list; default the rectangle it spans.")
@click.option("--size", type=Quantity("rad", "30arcmin,20arcmin", several=True),
              help="Draw in a rectangle: width,height.")
@click.option("--avoid", help="List of sources to keep away from.")
@click.option("--avoid-radius", type=Angle(), help="By this much, e.g. 10arcsec.")
@click.option("--mask", type=FILE,
              help="FITS image: positions lie where it is above 0.")
@click.option("--exact/--through-images", default=None, show_default="the cheaper",
              help="Stack each list directly, or look all up in images, which equals it to 1e-4 of the noise.")
@click.option("--bins", default=0, help="Bins of uv distance to stack the lists in as well: shows where a uv cut is needed.")
@click.option("--fit", type=click.Choice(["gaussian"]),
              help="Fit flux and size to the bins of each realisation.")
@click.option("--image", type=FILE,
              help="FITS image in Jy/beam, stacked at the same positions too.")
@click.option("--image-kind", type=click.Choice(["corrected", "flat"]), default="corrected",
              help="Of it: primary-beam corrected, or of flat noise.")
@click.option("--psf", type=FILE,
              help="Its dirty beam; else the Gaussian of its header.")
@weight_options()
@uv_range_options
@data_options
@click.option("--seed", type=int, help="The same seed gives the same lists.")
@list_options
@report_options("JSON, realisations (ECSV), pictures and a page", "positions",
                replaces="files of a report")
@run_options
def command(ms, positions, report, **options) -> None:
    """Noise and bias of the stack of MS... at the positions of a list.

    Stacks many lists of random positions, with or without fake sources added, and sets the stack of
    the list itself against their distribution. Best on data from which bright sources were
    subtracted. Costs a few stacks, however many lists.
    """
    import uvstack

    with progress_bar("Monte Carlo") as progress:
        result = uvstack.montecarlo(list(ms), positions, report=report, progress=progress,
                                    **given(options))
    show(result, report)
