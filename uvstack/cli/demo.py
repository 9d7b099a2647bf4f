"""`uvstack demo`: a first stack on a small simulated set."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.cli.main import example, progress_bar, show


@click.command(name="demo", epilog=example("uvstack demo --out demo"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"),
              help="Folder for everything that is made.")
@click.option("--seed", default=1, help="Seed of sky and noise.")
@click.option("--overwrite", is_flag=True,
              help="Replace outputs that exist, such as those of an earlier demo.")
def command(out: Path, seed: int, overwrite: bool) -> None:
    """Simulate a small VLA-like set, stack sources hidden far below its noise, and show how well it went."""
    from simulate.demo import make_demo_field
    from simulate.demo_page import before_stacking, empty_positions
    from uvstack import StackResult, stack
    from uvstack.io.output import check_output, check_report, together
    from uvstack.report.files import files_of_report, write_report

    with together() as run:
        run.make_folder(out.absolute())
        stacked = check_output(out / "stacked.ms", overwrite)
        report = check_report(out / "report", overwrite, files_of_report(StackResult))
        with progress_bar("simulating") as progress:
            demo = make_demo_field(out, seed, progress, overwrite=overwrite)
        with progress_bar("stacking") as progress:
            result = stack(demo.ms, demo.positions, primary_beam="vla", weights="primary-beam",
                           out=stacked, bootstrap=500, seed=seed, overwrite=overwrite,
                           progress=progress)
        with progress_bar("stacking empty positions") as progress:
            before, empty = before_stacking(demo), empty_positions(demo, result, seed, progress)
        summary, *others = result.sections(truth=demo.flux)
        write_report(result, [summary, before, *others, empty], report)
    click.echo(f"simulated    {demo.ms}: {demo.n_positions} sources of {demo.flux * 1e6:g} µJy, "
               f"each {demo.flux / demo.image_noise:.2f} σ "
               f"of the map ({demo.image_noise * 1e6:.1f} µJy)")
    click.echo(f"true flux    {demo.flux * 1e6:.4g} µJy")
    show(result, report)
