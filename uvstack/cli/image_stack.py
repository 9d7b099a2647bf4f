"""`uvstack image-stack`."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.cli.main import Baseline, Frequency, Quantity, example
from uvstack.cli.options import list_options
from uvstack.cli.stack import mapping


@click.command(name="image-stack", epilog=example(
    "uvstack image-stack survey-pbcor.fits positions.csv --weights local-noise --out stack.fits"))
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("positions")
@click.option("--method", default="mean", help="mean, median or clipped-mean.")
@click.option("--weights", default="equal", help="equal, list, primary-beam, local-noise, or a product: list*primary-beam.")
@click.option("--stamp", default=64, help="Pixels across a stamp.")
@click.option("--alignment", default="subpixel", help="subpixel, or nearest: the nearest pixel, which smears.")
@click.option("--clip", default=3.0, help="Standard deviations at which clipped-mean clips.")
@click.option("--psf", type=click.Path(path_type=Path), help="FITS image of the dirty beam; else the Gaussian of the header.")
@click.option("--filter", "low_filter", type=Baseline(pixels=True),
              help="Take out low spatial frequencies: 5km, 20klambda, or the central 3pixels of the transform.")
@click.option("--primary-beam", default="constant", help="Preset, text or file as in `uvstack stack`, around the reference direction.")
@click.option("--pointings", help="List of the pointing centres of a mosaic.")
@click.option("--pb-image", type=click.Path(path_type=Path), help="FITS image of the primary beam's response, instead.")
@click.option("--pb-cutoff", default=0.1, help="Response below which a position is left out.")
@click.option("--image-kind", type=click.Choice(["corrected", "flat"]), default="corrected",
              help="Corrected for the primary beam, or of flat noise: then stamps are divided by the response.")
@click.option("--noise-image", type=click.Path(path_type=Path), help="FITS image for local-noise; default the image itself.")
@click.option("--noise-kind", type=click.Choice(["corrected", "flat", "rms-corrected", "rms-flat"]),
              help="Of that image: corrected or flat; rms-: a map of the noise itself. Default as --image-kind.")
@click.option("--random", default=0, help="Stack this many lists of random positions too, for the noise.")
@click.option("--bootstrap", default=0, help="Resample the positions this often: an error with the variance of the sources.")
@click.option("--seed", type=int, help="Seed of both.")
@click.option("--fit", "shape", help="Fit the psf convolved with a point, circular or elliptical Gaussian: flux and size.")
@click.option("--fit-radius", type=click.FloatRange(min=1), help="Pixels of the circle that is fitted; default the whole stamp.")
@click.option("--beam", type=Quantity("rad", "3.2arcsec,1.6arcsec,30deg", several=True), help="Where the header has none.")
@click.option("--channel", type=int, help="Of a cube, from 0.")
@click.option("--frequency", type=Frequency(), help="Where the header has none.")
@list_options
@click.option("--out", type=click.Path(path_type=Path), help="FITS file of the stack.")
@click.option("--report", type=click.Path(path_type=Path),
              help="Folder for JSON, FITS, pictures and a page; default named after --out, or after the list.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--threads", type=int, help="Default all processors.")
def command(image, positions, columns, shape, fit_radius, out, report, overwrite, **options) -> None:
    """Stack stamps of IMAGE, a FITS image in Jy/beam, at the positions of a list.

    Prints the flux of the average source with its errors, and writes the stack (--out) and a report.
    """
    names = mapping(columns)
    import uvstack
    from uvstack.image_stacking.report import print_summary
    from uvstack.image_stacking.task import REPORT, write_image_report
    from uvstack.io.output import check_report, report_folder, together

    if fit_radius is not None and shape is None:
        raise click.UsageError("--fit-radius says what --fit takes; give --fit too, or leave it out")
    folder = report or (out.parent / f"{out.stem}-report" if out is not None else Path(f"{Path(positions).stem}-image-stack-report"))
    if shape is not None:
        from uvstack.image_stacking.psf_fit import check_shape

        check_shape(shape)  # an unknown one is told before the work
    lines, additions = [], []
    with together():
        check_report(folder, overwrite, REPORT)
        result = uvstack.image_stack(image, positions, out=out, columns=names, overwrite=overwrite,
                                     **{name: value for name, value in options.items() if value is not None})
        with report_folder(folder, REPORT) as made:
            if shape is not None:
                lines, addition = _fitted(result, shape, fit_radius, made)
                additions.append(addition)
            write_image_report(result, made, additions)
    click.echo("\n".join([print_summary(result), *lines, f"report       {folder / 'index.html'}"]))


def _fitted(result, shape: str, radius: float | None, folder: Path):
    """Fit a shape to the stack and write the result to a folder: lines to print, and a section of the report."""
    from uvstack.errors import ImageError
    from uvstack.image_stacking.psf_fit import describe, fit_psf
    from uvstack.io.output import write_json
    from uvstack.report.numbers import flux_unit
    from uvstack.report.page import Addition

    if result.psf is None:
        raise ImageError("--fit wants the dirty beam: give --psf (a Gaussian of the header does only without --filter)")
    fitted = fit_psf(result.stamp, result.psf, result.cell, shape=shape, radius=radius)
    rows = describe(fitted, *flux_unit(fitted.flux))
    write_json(folder / "psf_fit.json", fitted.summary())
    lines = [f"psf fit of a {shape} Gaussian" if shape != "point" else "psf fit of a point",
             *(f"  {name:<12} {text}" for name, text in rows)]
    return lines, Addition(f"Fit of a {shape} source convolved with the psf", rows)
