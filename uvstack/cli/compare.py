"""`uvstack compare`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import click

from uvstack.checks import MOST_BINS
from uvstack.cli.image import Size
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


@click.command(name="compare", cls=SetsAndPositions,
               epilog=example("uvstack compare survey.ms positions.csv --column RESIDUAL "
                              "--primary-beam vla --uvmin 5km"))
@click.argument("ms", nargs=-1, required=True)
@click.argument("positions")
@click.option("--image", type=click.Path(path_type=Path),
              help="FITS image to stack; default the dirty image of MS, made here.")
@click.option("--psf", type=click.Path(path_type=Path), help="Dirty beam of --image.")
@click.option("--size", type=Size(),
              help="Pixels of the image made here: 1024, or columns,rows; default all positions.")
@click.option("--cell", type=Angle(),
              help="Its pixel, and that of the stamps; default a fifth of the resolution.")
@click.option("--weighting", type=click.Choice(["natural", "uniform", "briggs"]),
              default="natural", help="Of that image; natural: as the uv-stack.")
@click.option("--robust", type=float,
              help="Of Briggs, from -2 (uniform) to 2 (natural); default 0.")
@click.option("--method", "methods", default="mean,median",
              help="Averages of the stamps: mean, median, clipped-mean.")
@click.option("--uvmin", type=Baseline(), help="Shortest baseline for the flux: 300m, 5km, 20klambda; stacked with and without.")
@click.option("--uvmax", type=Baseline(), help="Longest baseline for the flux and the image.")
@click.option("--filter", "low_filter", type=Baseline(pixels=True),
              help="Low spatial frequencies taken out of image-stacks: 5km, 20klambda, 3pixels; default --uvmin.")
@click.option("--stamp", type=int,
              help="Pixels across a stamp; default 64, with a filter up to 256.")
@click.option("--weights", help="equal, list, primary-beam, local-noise, or a product; default primary-beam with --primary-beam.")
@click.option("--primary-beam", default="constant",
              help="Preset, text or file as in `uvstack stack`; needed for several pointings.")
@click.option("--pb-cutoff", default=0.1, help="Response below which a position is left out.")
@click.option("--image-kind", type=click.Choice(["corrected", "flat"]),
              help="Of --image: primary-beam corrected, or of flat noise.")
@click.option("--pb-image", type=click.Path(path_type=Path),
              help="FITS image of the primary beam of --image.")
@click.option("--noise-image", type=click.Path(path_type=Path),
              help="FITS image for local-noise; default the image itself.")
@click.option("--noise-kind", type=click.Choice(["corrected", "flat", "rms-corrected", "rms-flat"]),
              help="Of --noise-image.")
@click.option("--beam", type=Quantity("rad", "3.2arcsec,1.6arcsec,30deg", several=True),
              help="Where the header of --image has none.")
@data_options
@click.option("--fit", type=click.Choice(["gaussian", "point"]),
              help="Fit this to the stacked visibilities and, with the psf, to the stamps.")
@list_options
@click.option("--out", type=click.Path(path_type=Path),
              help="Stacked measurement set; default none is kept.")
@report_options("JSON, tables, pictures, images and a page", "positions")
@click.option("--bins", type=click.IntRange(1, MOST_BINS), default=20,
              help="Bins of the uv profile.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@run_options
def command(ms, positions, methods, out, report, bins, overwrite, **options) -> None:
    """Stack the visibilities of MS... and their image at the positions of a list, side by side.

    MS is taken as it is: subtract bright sources before (`uvstack subtract`). Nothing is
    deconvolved. Prints a table of all methods, and writes it with stamps, profiles and a page to
    --report.
    """
    import uvstack
    from uvstack.io.output import check_report, report_folder, together
    from uvstack.report.files import files_of_report

    if options["fit"] is not None and report is None and out is None:
        raise click.UsageError("--fit wants the stacked measurement set; give --out, or leave out "
                               "--no-report")
    given = {name: value for name, value in options.items() if value is not None}
    names_of_files = files_of_report(uvstack.CompareResult)
    with together(), contextlib.ExitStack() as folders:
        made: Path | None = None
        if report is not None:
            check_report(report, overwrite, names_of_files)
            made = folders.enter_context(report_folder(report, names_of_files))
        # The fit wants the stacked set, whether it is kept or not; then it goes with the folder
        # that `made` lies in.
        stacked = made.parent / "stack.ms" if out is None and options["fit"] is not None and made is not None else out
        with progress_bar("comparing") as progress:
            result = uvstack.compare(list(ms), positions,
                                     methods=[m.strip() for m in methods.split(",")], out=stacked,
                                     image_out=made / "image" if made is not None and options["image"] is None else None,
                                     overwrite=overwrite, progress=progress, **given)
        result = replace(result,
                         files={name: str(path).replace(str(made), str(report))
                                for name, path in result.files.items()
                                if name != "ms" or out is not None})
        if made is not None:
            result.report(made, bins=bins)
    show(result, report)
