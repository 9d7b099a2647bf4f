"""`uvstack experiment`."""

from __future__ import annotations

from pathlib import Path

import click

from uvstack.cli.main import example, progress_bar


@click.group(name="experiment",
             epilog=example("uvstack experiment lindroos --types 5 --realisations 30 --scale "
                            "small --out small"))
def command() -> None:
    """Repeat published tests on many simulated surveys."""


@command.command(name="lindroos",
                 short_help="Table 2 of Lindroos and others (2015), beside theirs.",
                 epilog=example("uvstack experiment lindroos --realisations 100 --of 5-7 60 "
                                "--of 3,4,11 30 --out full"))
@click.option("--types", default="1-11", help="Data set types: 1-11, or 1,5,8.")
@click.option("--realisations", default=100, help="Of each type.")
@click.option("--of", "others", type=(str, int), multiple=True,
              metavar="TYPES N",
              help="Another number of realisations of some types, e.g. --of 3-7,11 30.")
@click.option("--weighting", "weightings", multiple=True, default=("natural", "robust0.5"),
              help="Of the images of each set, natural or e.g. robust0.5; may be given several times.")
@click.option("--beam", type=click.Choice(["constant", "scaled"]), default="constant",
              help="Whether the primary beam is the same at all frequencies, as in the paper, or "
                   "scales with them; wide fields are then imaged with two Taylor terms.")
@click.option("--scale", default="full",
              help="full, small (minutes), or the part of sources and integrations, e.g. 0.1.")
@click.option("--thin", type=int, help="Every so many integrations (VLA) or channels (ALMA), with the same depth of the map; "
                                         "default at full scale 5, and 20 in narrow fields.")
@click.option("--no-bright", is_flag=True,
              help="No bright sources, and noise √2 larger (Figure 7).")
@click.option("--noise-factor", default=1.0, help="All noise is multiplied by it.")
@click.option("--seed", default=0, help="Of the whole experiment.")
@click.option("--out", required=True, type=click.Path(path_type=Path),
              help="Folder; finished realisations in it are taken.")
@click.option("--scratch", type=click.Path(path_type=Path),
              help="Folder for data while they are needed; default --out.")
@click.option("--known", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="realisations.json.gz of another run: what is in it is not computed again.")
@click.option("--collect", is_flag=True, help="Compute nothing: the table of what is there.")
@click.option("--keep", is_flag=True, help="Keep the data of every realisation.")
@click.option("--no-figures", is_flag=True, help="The table alone.")
@click.option("--workers", type=int, help="Local processes instead of one realisation at a time.")
@click.option("--scheduler", help="Address of a dask scheduler.")
@click.option("--threads", type=int,
              help="Of each realisation; default all processors shared out to the workers.")
def lindroos(scale, thin, no_bright, noise_factor, seed, out, no_figures, weightings, beam, types,
             realisations, others, collect, **options) -> None:
    """Simulate, image, subtract, stack and fit many data sets of each type, and put the table beside the paper's.

    Every realisation is a file in OUT/realisations: a run that was stopped goes on with the same
    command, and more realisations are added to those that are there. OUT/realisations.json.gz holds
    all of them, for --known.
    """
    from simulate.experiment.collect import markdown
    from simulate.experiment.settings import Settings, parse_types
    from simulate.experiment.task import run

    settings = Settings.asked(scale, thin=thin, seed=seed, bright=not no_bright,
                              noise_factor=noise_factor, weightings=weightings, beam=beam)
    numbers = dict.fromkeys(parse_types(types), realisations)
    for some, n in others:
        numbers |= dict.fromkeys(parse_types(some), n)
    with progress_bar("realisations") as progress:
        result = run(out, types=types, realisations=numbers, compute=not collect,
                     settings=settings, figures=not no_figures, progress=progress, **options)
    click.echo(markdown(result.table))
    click.echo(f"{'realisations':<13}{result.n_computed} computed, {result.n_taken} taken from "
               f"{out}")
    for name, path in result.files.items():
        click.echo(f"{name:<13}{path}")
