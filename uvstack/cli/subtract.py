"""`uvstack subtract`."""

from __future__ import annotations

import click

from uvstack.cli.main import Frequency, example, progress_bar, show
from uvstack.cli.options import beam_option, data_options, given, report_options, run_options


@click.command(name="subtract",
               epilog=example("uvstack subtract survey.ms --model survey-model.fits --into "
                              "RESIDUAL"))
@click.argument("ms")
@click.option("--model", required=True,
              help="FITS image or cube in Jy/pixel, catalogue of sources or components (ECSV, CSV, FITS "
                   "table, VOTable), or a column such as MODEL_DATA.")
@click.option("--model-tt1", help="Second Taylor term beside an image.")
@click.option("--nu0", type=Frequency(), help="Reference frequency of Taylor terms or of a catalogue: 1.4GHz; default what the file says.")
@click.option("--into",
              help="Column to write; default RESIDUAL_DATA, or MODEL_DATA with --predict-only.")
@beam_option("The model is the sky, seen through this beam; default it is apparent")
@data_options
@click.option("--predict-only", is_flag=True, help="Write the model itself.")
@click.option("--in-place", is_flag=True, help="Change the data column itself; wants --backup.")
@click.option("--backup", help="Column that keeps the data as they were: DATA_BACKUP.")
@report_options("JSON, uv profile, picture and a page", "ms")
@run_options
def command(ms, report, **options) -> None:
    """Subtract a model of the sky from the visibilities of MS.

    Writes the rest to a column of its own (--into), or the model to MODEL_DATA (--predict-only). A
    run that is killed leaves a column that is marked as unfinished; the same command goes on with
    it.
    """
    import uvstack

    with progress_bar("predicting" if options["predict_only"] else "subtracting") as progress:
        result = uvstack.subtract(ms, report=report, progress=progress, **given(options))
    show(result, report)
