"""`uvstack demo`: a first stack on a small simulated set."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.cli.main import example, progress_bar


@click.command(name="demo", epilog=example("uvstack demo --out demo"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), help="Folder for everything that is made.")
@click.option("--seed", default=1, help="Seed of sky and noise.")
def command(out: Path, seed: int) -> None:
    """Simulate a small VLA-like set, stack sources hidden far below its noise, and show how well it went."""
    from simulate.demo import make_demo_field
    from uvstack import stack
    from uvstack.stack.report import print_summary
    from uvstack.stack.task import write_report

    with progress_bar("simulating") as progress:
        demo = make_demo_field(out, seed, progress)
    click.echo(f"simulated    {demo.ms}: {demo.n_positions} sources of {demo.flux * 1e6:g} µJy, each {demo.flux / demo.image_noise:.2f} σ "
               f"of the map ({demo.image_noise * 1e6:.1f} µJy)")
    with progress_bar("stacking") as progress:
        result = stack(demo.ms, demo.positions, primary_beam="vla", weights="primary-beam", out=out / "stacked.ms",
                       bootstrap=500, seed=seed, overwrite=True, progress=progress)
    click.echo(f"true flux    {demo.flux * 1e6:.4g} µJy")
    click.echo(print_summary(result))
    click.echo(f"report       {write_report(result, out / 'report', truth=demo.flux)}")
