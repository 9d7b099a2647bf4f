"""`uvstack simulate`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uvstack.cli.main import progress_bar

if TYPE_CHECKING:
    from simulate.task import Simulation


class FileOrCommand(click.Group):
    """A group whose first argument may be a file, which goes to the command `survey`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in click, with `survey` put before a survey file, and before options in front of one."""
        first = args[0] if args else ""
        if first.startswith("-"):
            if not set(args) & {*ctx.help_option_names, *self.commands}:
                args = ["survey", *args]
        elif first and first not in self.commands:
            if not (first.endswith(".toml") or "/" in first or Path(first).is_file()):
                close = difflib.get_close_matches(first, self.commands, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"wanted is FILE.toml, {' or '.join(self.commands)}."
                ctx.fail(f"No such command or survey file {first!r}; {hint}")
            args = ["survey", *args]
        return super().parse_args(ctx, args)


@click.group(name="simulate", cls=FileOrCommand, subcommand_metavar="FILE.toml [OPTIONS] | COMMAND [ARGS]...")
def command() -> None:
    """Make measurement sets with a known truth.

    uvstack simulate FILE.toml --out sim.ms: what the survey file says, with telescope, pointings, sky, noise and errors of
    your own (all options: uvstack simulate survey --help; the same without the word survey). The file
    docs/survey_example.toml is a complete one.

    uvstack simulate COMMAND: one of the ready-made kinds below.
    """


def run_options(function: Any) -> Any:
    """The options that say where a set goes and how it is made, on a command."""
    for option in reversed((
        click.option("--out", type=click.Path(path_type=Path), required=True, help="Measurement set; truth and targets stand beside it."),
        click.option("--with-model", is_flag=True, help="Write MODEL_DATA, the sky without errors and noise."),
        click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
        click.option("--workers", type=int, help="Local processes instead of threads."),
        click.option("--scheduler", help="Address of a dask scheduler."))):
        function = option(function)
    return function


@command.command(name="survey")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), show_default="that of the file, or 0", help="Seed of sky, errors and noise.")
@run_options
def survey(file: Path, seed: int | None, **options) -> None:
    """What a survey file (TOML) says; the word survey may be left out."""
    from simulate.survey import read_survey
    from simulate.task import observe

    settings = read_survey(file).settings(seed)
    with progress_bar("simulating") as progress:
        made = observe(progress=progress, **settings, **options)
    pointings, array, kinds = settings["pointings"], settings["array"], [type(one).__name__ for one in settings["corruptions"]]
    click.echo(f"survey       {file}, seed {settings['seed']}")
    click.echo(f"array        {array.name}, {len(array.antenna_names)} antennas, {settings['frequency'].size} channels")
    click.echo(f"pointings    {len(pointings)}")
    click.echo(f"sky          {_sky_text(settings['sky'], len(settings['images']))}")
    click.echo(f"errors       {', '.join(kinds) or 'none'}")
    _echo_paths(made)


@command.command(name="lindroos", short_help="One of the eleven data sets of Lindroos and others (2015).")
@click.option("--type", "number", type=click.IntRange(1, 11), required=True, help="Data set type of Lindroos et al. (2015), Table 1.")
@click.option("--seed", default=0, help="Seed of sky and noise.")
@click.option("--scale", default=1.0, help="Fraction of the sources and of the integrations, with the same depth of the map.")
@run_options
def lindroos(number: int, seed: int, scale: float, **options) -> None:
    """One of the eleven data sets of Lindroos et al. (2015)."""
    from simulate.lindroos import recipe
    from simulate.task import observe

    chosen = recipe(number, seed, scale)
    with progress_bar("simulating") as progress:
        made = observe(seed=seed, progress=progress, **chosen.settings, **options)
    sky = chosen.settings["sky"]
    click.echo(f"type {number}       {chosen.studied}")
    click.echo(f"sky          {int(sky.target.sum())} targets of {sky.flux[sky.target].mean() * 1e6:.4g} µJy on average, "
               f"{int((~sky.target).sum())} brighter sources")
    _echo_paths(made)


def _sky_text(sky: Any, n_images: int) -> str:
    parts = []
    if sky is not None and sky.target.any():
        parts.append(f"{int(sky.target.sum())} targets of {sky.flux[sky.target].mean() * 1e6:.4g} µJy on average")
    if sky is not None:
        parts.append(f"{int((~sky.target).sum())} other sources")
    if n_images:
        parts.append(f"{n_images} image{'s' * (n_images > 1)}")
    return ", ".join(parts)


def _echo_paths(made: Simulation) -> None:
    """What was written, a line a file."""
    files = [("set", made.ms), ("truth", made.truth), ("targets", made.targets), ("provenance", made.provenance), ("picture", made.picture)]
    for what, path in [*files, *(("error truth", path) for path in made.corruptions)]:
        if path is not None:
            click.echo(f"{what:<13}{path}")
