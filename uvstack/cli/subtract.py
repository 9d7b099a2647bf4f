"""`uvstack subtract`."""

from __future__ import annotations

import sys

import click
from rich.markup import escape

from uvstack.cli.main import Frequency, console, example, progress_bar, show
from uvstack.cli.options import data_options, report_options, run_options


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
@click.option("--primary-beam", help="The model is the sky, seen through this beam: preset, text or file as in `uvstack stack`. "
              "Default: the model is apparent.")
@data_options
@click.option("--predict-only", is_flag=True, help="Write the model itself.")
@click.option("--in-place", is_flag=True, help="Change the data column itself; wants --backup.")
@click.option("--backup", help="Column that keeps the data as they were: DATA_BACKUP.")
@click.option("--overwrite", is_flag=True, help="Replace a column, and a report, that exist.")
@report_options("JSON, uv profile, picture and a page", "ms")
@run_options
def command(ms, report, overwrite, **options) -> None:
    """Subtract a model of the sky from the visibilities of MS.

    Writes the rest to a column of its own (--into), or the model to MODEL_DATA (--predict-only). A
    run that is killed leaves a column that is marked as unfinished; the same command goes on with
    it.
    """
    import uvstack
    from uvstack.io.output import check_report, together
    from uvstack.report.files import files_of_report
    from uvstack.subtraction.task import unfinished

    given = {name: value for name, value in options.items() if value is not None}
    try:
        with together():
            if report is not None:
                check_report(report, overwrite, files_of_report(uvstack.SubtractResult))
            with progress_bar("predicting" if options["predict_only"]
                              else "subtracting") as progress:
                result = uvstack.subtract(ms, overwrite=overwrite, progress=progress, **given)
            if report is not None:
                result.report(report)
    except KeyboardInterrupt:
        default = "MODEL_DATA" if options["predict_only"] else "RESIDUAL_DATA"
        left = unfinished(ms,
                          options["column"] if options["in_place"] else options["into"] or default)
        if left is None:
            raise
        console.print("[red]interrupted[/]:", escape(left))
        sys.exit(130)
    show(result, report)
