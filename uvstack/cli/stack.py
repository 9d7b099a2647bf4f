"""`uvstack stack`."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.checks import MOST_BINS
from uvstack.cli.main import Angle, Baseline, SetsAndPositions, example, progress_bar
from uvstack.cli.options import data_options, list_options, run_options


@click.command(name="stack", cls=SetsAndPositions,
               epilog=example("uvstack stack survey.ms positions.csv --primary-beam vla --uvmin 5km --out stacked.ms"))
@click.argument("ms", nargs=-1, required=True)
@click.argument("positions")
@click.option("--primary-beam", default="constant",
              help="Preset (vla, evla, alma, alma-7m, meerkat, atca …), text (gaussian:30arcmin@1.4GHz, airy:25m,2.36m) or file.")
@click.option("--pb-cutoff", default=0.1, help="Power of the primary beam below which a pointing leaves a position out.")
@click.option("--weights", default="equal", help="equal, list, primary-beam, local-noise, or a product: list*primary-beam.")
@click.option("--noise-image", help="FITS image for local-noise.")
@click.option("--noise-kind", type=click.Choice(["corrected", "flat", "rms-corrected", "rms-flat"]), default="corrected",
              help="The image: corrected for the primary beam or of flat noise; rms-: a map of the noise itself.")
@click.option("--uvmin", type=Baseline(), help="Shortest baseline for the flux: 300m, 5km, 20klambda.")
@click.option("--uvmax", type=Baseline(), help="Longest baseline for the flux.")
@data_options
@click.option("--out", type=click.Path(path_type=Path), help="Stacked measurement set.")
@click.option("--no-ms", is_flag=True, help="Numbers, profile and stamp alone.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--report", type=click.Path(path_type=Path),
              help="Folder for JSON, uv profile, pictures and a page; default named after --out, or after the list.")
@click.option("--bins", type=click.IntRange(1, MOST_BINS), default=20, help="Bins of the uv profile.")
@click.option("--stamp", default=64, help="Pixels across the stamp.")
@click.option("--stamp-cell", type=Angle(), help="Pixel of the stamp, e.g. 0.3arcsec; default a fifth of the resolution.")
@click.option("--bootstrap", default=0, help="Resample the positions this often: an error with the variance of the sources.")
@click.option("--seed", type=int, help="Seed of the bootstrap.")
@click.option("--group-by", help="Column of the list: stack each of its values by itself as well.")
@click.option("--reproject", is_flag=True, help="Turn (u,v,w) to each facet's tangent plane, for resolved sources in wide fields.")
@click.option("--facet-size", type=Angle(), default="5arcmin", help="Side of a facet for --reproject.")
@list_options
@click.option("--fit", "fit_model", help="Fit this shape to the stacked set within the same uv limits: gaussian, disc …: flux and size.")
@run_options
def command(ms, positions, out, no_ms, report, bins, stamp, stamp_cell, columns, overwrite, fit_model, **options) -> None:
    """Stack the visibilities of MS... at the positions of a list.

    Prints the flux of the average source with its errors, and writes the stacked measurement set (--out), the uv profile,
    the stamp and a report.
    """
    if no_ms and out is not None:
        raise click.UsageError("--no-ms and --out contradict each other: give one")
    if not no_ms and out is None:
        raise click.UsageError("say where the stacked measurement set goes with --out, or --no-ms for numbers alone")
    if fit_model is not None and no_ms:
        raise click.UsageError("--fit wants the stacked measurement set; give --out instead of --no-ms")
    names = mapping(columns)
    import uvstack
    from uvstack.fitting.model.shapes import shape
    from uvstack.io.output import check_report, report_folder, together
    from uvstack.stacking.report import print_summary
    from uvstack.stacking.task import REPORT, write_report

    folder = report or (out.parent / f"{out.stem}-report" if out is not None else Path(f"{Path(positions).stem}-stack-report"))
    if fit_model is not None:
        shape(fit_model)  # an unknown one is told before the work
    lines, additions = [], []
    with together():
        check_report(folder, overwrite, REPORT)
        with progress_bar("stacking") as progress:
            result = uvstack.stack(list(ms), positions, out=out, columns=names, progress=progress, overwrite=overwrite,
                                   stamp_size=stamp, stamp_cell=stamp_cell,
                                   **{name: value for name, value in options.items() if value is not None})
        with report_folder(folder, REPORT) as made:
            if fit_model is not None:
                lines, addition = fitted(out, fit_model, made, options)
                additions.append(addition)
            write_report(result, made, bins=bins, stamp_size=stamp, stamp_cell=stamp_cell, additions=additions)
    click.echo("\n".join([print_summary(result), *lines, f"report       {folder / 'index.html'}"]))


def fitted(stacked: Path, model: str, folder: Path, options: dict):
    """Fit a shape to a stacked set and write the result to a folder: lines to print, and a section of the report."""
    import uvstack
    from uvstack.fitting import report
    from uvstack.fitting.report import fit_figure
    from uvstack.io.output import write_json
    from uvstack.report.page import Addition

    # The parallel hands as the stack itself takes them; its weights are only relative, so errors come from the scatter.
    given = {name: options[name] for name in ("uvmin", "uvmax", "threads", "workers", "scheduler") if options[name] is not None}
    found = uvstack.fit(stacked, model=model, stokes="PI", **given)
    assert not isinstance(found, list)
    title = f"fit of a {found.model.shapes[0].name}"
    write_json(folder / "fit.json", found.summary())
    rows = [(name, f"{text} {unit}") for name, text, unit in report.parameter_rows(found)]
    rows += [("reduced χ²", f"{found.reduced_chi_squared:.4g}"), *(("warning", text) for text in report.warnings_of(found))]
    lines = [title, *(f"  {line}" for line in report.print_summary(found).splitlines())]
    return lines, Addition(title.capitalize(), rows, [fit_figure(found)])


def mapping(text: str | None) -> dict[str, str] | None:
    if not text:
        return None
    pairs = [part.split("=", 1) for part in text.split(",")]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise click.UsageError(f"--columns {text!r} cannot be read; wanted e.g. ra=RA_X,dec=DEC_X")
    return {key.strip(): value.strip() for key, value in pairs}
