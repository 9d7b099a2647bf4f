"""`uvstack simulate`."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.cli.main import progress_bar


@click.group(name="simulate")
def command() -> None:
    """Make measurement sets with a known truth."""


@command.command(name="lindroos")
@click.option("--type", "number", type=click.IntRange(1, 11), required=True, help="Data set type of Lindroos et al. (2015), Table 1.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Measurement set; truth and targets stand beside it.")
@click.option("--seed", default=0, help="Seed of sky and noise.")
@click.option("--scale", default=1.0, help="Fraction of the sources and of the integrations, with the same depth of the map.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--workers", type=int, help="Local processes instead of threads.")
@click.option("--scheduler", help="Address of a dask scheduler.")
def lindroos(number: int, out: Path, seed: int, scale: float, **options) -> None:
    """One of the eleven data sets of Lindroos et al. (2015)."""
    from simulate.lindroos import recipe
    from simulate.task import observe

    chosen = recipe(number, seed, scale)
    with progress_bar("simulating") as progress:
        made = observe(out=out, seed=seed, progress=progress, **chosen.settings, **options)
    sky = chosen.settings["sky"]
    click.echo(f"type {number}       {chosen.studied}")
    click.echo(f"sky          {int(sky.target.sum())} targets of {sky.flux[sky.target].mean() * 1e6:.4g} µJy on average, "
               f"{int((~sky.target).sum())} brighter sources")
    click.echo(f"set          {made.ms}\ntruth        {made.truth}\ntargets      {made.targets}\nprovenance   {made.provenance}")
