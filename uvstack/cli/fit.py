"""`uvstack fit`."""

from __future__ import annotations

import click

from uvstack.cli.main import Baseline, Direction, Frequency, example, progress_bar, show
from uvstack.cli.options import (
    beam_option,
    data_options,
    given,
    report_options,
    run_options,
    uv_range_options,
)


class Bounds(click.ParamType):
    """Limits of parameters such as 0:2,:,-1:1; an empty side has none."""

    name = "bounds"

    def convert(self, value, param, ctx):
        """Pairs of numbers or None."""
        if not isinstance(value, str):
            return value
        pairs = []
        for part in value.split(","):
            sides = part.split(":")
            try:
                if len(sides) != 2:
                    raise ValueError
                pairs.append(tuple(float(side) if side.strip() else None for side in sides))
            except ValueError:
                self.fail(f"{part!r} is no pair of limits; wanted low:high for each parameter, "
                          "e.g. 0:2,:,-1:1", param, ctx)
        return pairs


class Numbers(click.ParamType):
    """Numbers such as 0,0,1,0.2."""

    name = "numbers"

    def convert(self, value, param, ctx):
        """List of float."""
        if not isinstance(value, str):
            return value
        try:
            return [float(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} cannot be read; wanted numbers with commas, e.g. 0,0,1,0.2",
                      param, ctx)


def _several(ctx, param, value):
    """What an option that may be repeated was given as; None where it was not."""
    return list(value) or None


def _by_antenna(ctx, param, value):
    """Expressions by antenna; None where there are none."""
    return dict(value) or None


class Gain(click.ParamType):
    """Antenna and expression, such as VA03=p[4]."""

    name = "gain"

    def convert(self, value, param, ctx):
        """(antenna, expression)."""
        if not isinstance(value, str):
            return value
        antenna, sign, expression = value.partition("=")
        if not (sign and antenna.strip() and expression.strip()):
            self.fail(f"{value!r} cannot be read; wanted ANTENNA=EXPRESSION, e.g. VA03=p[4]", param,
                      ctx)
        return antenna.strip(), expression.strip()


@click.command(name="fit", epilog=example("uvstack fit stacked.ms --model gaussian --uvmin 5km"))
@click.argument("ms", nargs=-1, required=True)
@click.option("--model", multiple=True, callback=_several, default=["gaussian"],
              help="Shape: delta, gaussian, disc, ring, sphere, bubble, expo, power-2, power-3, gaussian-ring; once for each component.")
@click.option("--circular/--elliptical", default=True,
              help="Without --var: ratio 1, or ratio and position angle fitted.")
@click.option("--offset", is_flag=True, help="Without --var: the position is fitted too.")
@click.option("--var", multiple=True, callback=_several,
              help='Variables of each component: "p[0],p[1],p[2]*(nu/nu0)**p[3],p[4],1,0".')
@click.option("--p-ini", type=Numbers(),
              help="Starting values of p[0], p[1] …: 0,0,1,-0.7,0.2; default from the data.")
@click.option("--bounds", type=Bounds(), help="Limits of the parameters: 0:2,:,-1:1.")
@click.option("--nu0", type=Frequency(),
              help="Reference frequency: 1.4GHz; default the first channel.")
@click.option("--stokes", default="I",
              help="I, Q, U, V, PI (I of what hands there are) or a correlation.")
@uv_range_options
@data_options
@click.option("--chanwidth", default=1, help="Channels averaged before the fit.")
@click.option("--timewidth", default=1, help="Integrations averaged before the fit.")
@click.option("--per-channel", is_flag=True, help="A fit for each (averaged) channel.")
@click.option("--phase-centre", type=Direction(),
              help='Where RA and Dec count from: "J2000 10h12m13s -30d00m01s"; default the first field.')
@beam_option("Fluxes are those of the sky, seen through this beam")
@click.option("--fixed", multiple=True, callback=_several,
              help="What belongs to the model and is not fitted: a column (MODEL_DATA) or shapes.")
@click.option("--fixedvar", multiple=True, callback=_several, help="Numbers of each fixed shape: 1.0,0,0.5.")
@click.option("--scalefix", help="Expression by which all that is fixed is multiplied: p[3].")
@click.option("--amp-gains", type=Gain(), multiple=True, callback=_by_antenna,
              help="Amplitude gain of an antenna: VA03=p[4]; may be repeated.")
@click.option("--phase-gains", type=Gain(), multiple=True, callback=_by_antenna,
              help="Phase gain (rad) of an antenna: VA03=p[5]+p[6]*t.")
@click.option("--bandwidth-smearing", is_flag=True, help="Average the model over channels.")
@click.option("--time-smearing", is_flag=True, help="Average the model over integrations.")
@click.option("--proper-motion", type=Numbers(), multiple=True, callback=_several,
              help="arcsec a year in RA,Dec of each component.")
@click.option("--uvtaper", type=Baseline(), help="Gaussian taper of the weights, 1 σ: 5km.")
@click.option("--weight-power", default=1.0, help="Weights are taken to this power.")
@click.option("--only-flux", is_flag=True, help="Fit fluxes alone; all else stays at --p-ini.")
@click.option("--scale-errors/--no-scale-errors", default=True,
              help="Errors from the scatter, or from the weights as they are (1/Jy²).")
@click.option("--bootstrap", default=0, help="Resample blocks of time this often.")
@click.option("--bayes", default=0,
              help="Steps of emcee through the posterior: 5000, and more for many parameters.")
@click.option("--seed", type=int, help="Seed of bootstrap and posterior.")
@click.option("--write", type=click.Choice(["model", "residual", "calibrated"]),
              help="Write this to a column of MS.")
@click.option("--into", help="Which column; default MODEL_DATA, RESIDUAL_DATA, CALIBRATED_DATA.")
@click.option("--method", type=click.Choice(["auto", "exact", "binned"]), default="auto",
              help="Bins of uv distance where that is as good.")
@click.option("--estimator", type=click.Choice(["jeffreys", "likelihood"]), default="jeffreys",
              help="Sizes at the maximum of likelihood × √F, nearer to the truth where they are "
                   "few errors, or of the likelihood.")
@click.option("--tolerance", default=1e-3, help="Of parameters, in their errors.")
@click.option("--most-passes", default=100, help="Passes after which a fit gives up.")
@click.option("--memory", type=click.FloatRange(min=0, min_open=True), default=1.0,
              help="GB of visibilities that may be kept between passes.")
@report_options("JSON, tables, pictures and a page", "ms", replaces="files of a report")
@click.option("--overwrite-column", is_flag=True,
              help="Replace the column that --write names if it exists, even DATA.")
@run_options
def command(ms, report, memory, **options) -> None:
    """Fit a model to the visibilities of MS... .

    Prints the parameters with their errors, and writes them with a picture of data and model to a
    report.
    """
    import uvstack
    from uvstack.fitting.options import COLUMNS

    with progress_bar("fitting") as progress:
        result = uvstack.fit(list(ms), report=report, progress=progress, memory=memory * 1e9,
                             **given(options))
    show(result, report)
    if options["write"]:
        click.echo(f"written      {options['write']} to column "
                   f"{options['into'] or COLUMNS[options['write']]} of {', '.join(ms)}")
