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
    from simulate.demo_page import show_stacking

    with progress_bar("simulating and stacking") as progress:
        field, result, report = show_stacking(out, seed=seed, overwrite=overwrite,
                                              progress=progress)
    click.echo(field)
    show(result, report)
