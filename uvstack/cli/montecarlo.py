"""`uvstack montecarlo`."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.cli.main import (
    Angle,
    Baseline,
    Quantity,
    SetsAndPositions,
    example,
    progress_bar,
    show,
)
from uvstack.cli.options import data_options, list_options, report_options, run_options


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
@click.option("--mask", type=click.Path(path_type=Path),
              help="FITS image: positions lie where it is above 0.")
@click.option("--exact/--through-images", default=None, show_default="the cheaper",
              help="Stack each list directly, or look all up in images, which equals it to 1e-4 of the noise.")
@click.option("--bins", default=0, help="Bins of uv distance to stack the lists in as well: shows where a uv cut is needed.")
@click.option("--fit", type=click.Choice(["gaussian"]),
              help="Fit flux and size to the bins of each realisation.")
@click.option("--image", type=click.Path(path_type=Path),
              help="FITS image in Jy/beam, stacked at the same positions too.")
@click.option("--image-kind", type=click.Choice(["corrected", "flat"]), default="corrected",
              help="Of it: primary-beam corrected, or of flat noise.")
@click.option("--psf", type=click.Path(path_type=Path),
              help="Its dirty beam; else the Gaussian of its header.")
@click.option("--primary-beam", default="constant",
              help="Preset, text or file as in `uvstack stack`.")
@click.option("--pb-cutoff", default=0.1,
              help="Power of the primary beam below which a pointing leaves a position out.")
@click.option("--weights", default="equal",
              help="equal, list, primary-beam, local-noise, or a product: list*primary-beam.")
@click.option("--noise-image", help="FITS image for local-noise.")
@click.option("--noise-kind", type=click.Choice(["corrected", "flat", "rms-corrected", "rms-flat"]),
              default="corrected",
              help="The image: corrected for the primary beam or of flat noise; rms-: a map of the noise itself.")
@click.option("--uvmin", type=Baseline(),
              help="Shortest baseline for the flux: 300m, 5km, 20klambda.")
@click.option("--uvmax", type=Baseline(), help="Longest baseline for the flux.")
@data_options
@click.option("--seed", type=int, help="The same seed gives the same lists.")
@list_options
@report_options("JSON, realisations (ECSV), pictures and a page", "positions")
@click.option("--overwrite", is_flag=True, help="Replace a report that exists.")
@run_options
def command(ms, positions, report, overwrite, **options) -> None:
    """Noise and bias of the stack of MS... at the positions of a list.

    Stacks many lists of random positions, with or without fake sources added, and sets the stack of
    the list itself against their distribution. Best on data from which bright sources were
    subtracted. Costs a few stacks, however many lists.
    """
    from uvstack.io.output import check_report, together
    from uvstack.monte_carlo.result import MonteCarloResult
    from uvstack.monte_carlo.task import montecarlo
    from uvstack.report.files import files_of_report

    if options["size"] is not None and len(options["size"]) != 2:
        raise click.UsageError("--size wants width,height, e.g. --size 30arcmin,20arcmin")
    with together():
        if report is not None:
            check_report(report, overwrite, files_of_report(MonteCarloResult))
        with progress_bar("Monte Carlo") as progress:
            result = montecarlo(list(ms), positions, progress=progress,
                                **{name: value for name, value in options.items()
                                   if value is not None})
        if report is not None:
            result.report(report)
    show(result, report)
