"""`uvstack simulate`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uvstack.cli.main import BeamOption, Direction, Frequency, Quantity, example, progress_bar
from uvstack.cli.options import FILE, cluster_options, group_of, overwrite_option

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


@click.group(name="simulate", cls=FileOrCommand,
             subcommand_metavar="FILE.toml [OPTIONS] | COMMAND [ARGS]...",
             epilog=example("uvstack simulate survey.toml --out survey.ms"))
def command() -> None:
    """Make measurement sets with a known truth.

    uvstack simulate FILE.toml --out sim.ms: what the survey file says, with telescope, pointings,
    sky, noise and errors of your own (all options: uvstack simulate survey --help; the same without
    the word survey). The file docs/survey_example.toml is a complete one.

    uvstack simulate COMMAND: one of the ready-made kinds below.
    """


#: Where a set goes, and how it is made.
set_options = group_of(
    click.option("--out", type=FILE, required=True,
                 help="Measurement set; truth and targets stand beside it."),
    click.option("--with-model", is_flag=True,
                 help="Write MODEL_DATA, the sky without errors and noise."),
    overwrite_option(), *cluster_options)


@command.command(name="survey",
                 epilog=example("uvstack simulate survey survey.toml --out survey.ms --seed 7"))
@click.argument("file", type=FILE)
@click.option("--seed", type=click.IntRange(min=0), show_default="that of the file, or 0",
              help="Seed of sky, errors and noise.")
@set_options
def survey(file: Path, seed: int | None, **options) -> None:
    """What a survey file (TOML) says; the word survey may be left out."""
    from simulate import observe_survey

    with progress_bar("simulating") as progress:
        made = observe_survey(file, seed=seed, progress=progress, **options)
    click.echo(f"survey       {file}, seed {made.provenance.seed}")
    _echo(made)


@command.command(name="lindroos",
                 short_help="One of the eleven data sets of Lindroos and others (2015).",
                 epilog=example("uvstack simulate lindroos --type 5 --seed 7 --scale 0.1 --out "
                                "sim5.ms"))
@click.option("--type", "number", type=click.IntRange(1, 11), required=True,
              help="Data set type of Lindroos et al. (2015), Table 1.")
@click.option("--seed", default=0, help="Seed of sky and noise.")
@click.option("--scale", default=1.0, help="Fraction of the sources and of the integrations, with the same depth of the map.")
@set_options
def lindroos(number: int, seed: int, scale: float, **options) -> None:
    """One of the eleven data sets of Lindroos et al. (2015)."""
    from simulate import observe_type
    from simulate.lindroos import STUDIED

    with progress_bar("simulating") as progress:
        made = observe_type(number, seed=seed, scale=scale, progress=progress, **options)
    click.echo(f"type {number:<8}{STUDIED[number]}")
    _echo(made)


@command.command(name="epochs", short_help="Images of one sky at several epochs.",
                 epilog=example("uvstack simulate epochs sky.ecsv --centre '10h00m00s -30d00m00s' "
                                "--cell 1arcsec --frequency 3GHz --beam 2.9arcsec,2.2arcsec,30deg "
                                "--noise 120uJy --out epochs"))
@click.argument("sky", type=FILE)
@click.option("--out", type=FILE, required=True,
              help="New folder for images, noise maps, truth and a picture.")
@click.option("--centre", type=Direction(), required=True,
              help="Direction of the central pixel: 'J2000 10h00m00s -30d00m00s'.")
@click.option("--size", default=1024, help="Pixels across.")
@click.option("--cell", type=Quantity("rad", "1arcsec"), required=True, help="Pixel.")
@click.option("--frequency", type=Frequency(), required=True)
@click.option("--beam", "beams", type=BeamOption(),
              multiple=True, required=True, help="Beam of an epoch: 2.9arcsec,2.2arcsec,30deg.")
@click.option("--noise", multiple=True, required=True, type=Quantity("Jy", "120uJy"),
              help="rms per beam, of an epoch or of all.")
@click.option("--flux-scale", multiple=True, type=float,
              help="Error of the flux scale, of an epoch or of all.  [default: 1]")
@click.option("--offset", multiple=True, type=Quantity("rad", "0.2arcsec,-0.1arcsec", several=True),
              help="Astrometric error east,north, of an epoch or of all.  [default: none]")
@click.option("--date", multiple=True, metavar="2018-01-01T00:00:00",
              help="Of an epoch, UTC: `uvstack light-curves` wants it.  [default: none]")
@click.option("--primary-beam",
              help="Correct for this beam about the centre: the noise rises to the edge.")
@click.option("--blank", default=0, help="Pixels blanked along every edge.")
@click.option("--two-axes", is_flag=True, help="Write RA and DEC alone, without FREQ and STOKES.")
@click.option("--seed", default=0, help="Seed of the noise.")
def epoch_images(sky: Path, out: Path, centre: tuple[float, float],
                 beams: tuple[tuple[float, ...], ...], noise: tuple[float, ...],
                 flux_scale: tuple[float, ...], offset: tuple[Any, ...], date: tuple[str, ...],
                 two_axes: bool, seed: int, **shared) -> None:
    """Images of the sources of SKY (a truth, or any catalogue of components), one epoch for each --beam."""
    from simulate import each_epoch, epochs

    made = epochs(sky, each_epoch(beams, noise=noise, flux_scale=flux_scale, offset=offset,
                                  date=date),
                  seed=seed, out=out, four_axes=not two_axes, centre=centre, **shared)
    for i, epoch in enumerate(made, 1):
        click.echo(f"epoch{i:<8}{out / f'epoch{i}.fits'}: {epoch.truth['on_image'].sum()} "
                   f"sources, {epoch.n_outside} off the image")
    click.echo(f"{'picture':<13}{out / 'epochs.png'}\n{'provenance':<13}{out / 'provenance.json'}")


@command.command(name="single-dish", short_help="Cube of a sky as a single dish sees it.",
                 epilog=example("uvstack simulate single-dish sky.ecsv --frequency 1.5GHz "
                                "--bandwidth 1GHz --channels 8 --dish 100m --centre '10h00m00s "
                                "30d00m00s' --size 64 --cell 2arcmin --out cube.fits"))
@click.argument("sky", type=FILE)
@click.option("--out", type=FILE, required=True,
              help="FITS cube; truth and provenance stand beside it.")
@click.option("--frequency", type=Frequency(), required=True, help="Centre of the band.")
@click.option("--bandwidth", type=Quantity("Hz", "1GHz"), required=True)
@click.option("--channels", type=click.IntRange(1, 1_000_000), default=1)
@click.option("--dish", type=Quantity("m", "100m"),
              help="Diameter: the beam is --beam-factor λ/D wide.")
@click.option("--fwhm", type=Quantity("rad", "10arcmin"), help="The beam, in place of a dish.")
@click.option("--beam-factor", default=1.18, help="FWHM in λ/D.")
@click.option("--centre", type=Direction(),
              help="Direction of the central pixel, 'J2000 10h00m00s -30d00m00s'; for catalogues, as are --size and --cell.")
@click.option("--size", type=int, help="Pixels across.")
@click.option("--cell", type=Quantity("rad", "1arcmin"), help="Pixel.")
@click.option("--noise", type=Quantity("Jy", "1mJy"), default="0Jy",
              help="rms per beam of every channel.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the noise.")
@overwrite_option()
def single_dish(sky: Path, dish: float | None, **options) -> None:
    """Cube of SKY: a catalogue of components, or a FITS image or cube in Jy/pixel."""
    from simulate import write_single_dish

    for path in write_single_dish(sky, dish_diameter=dish, **options):
        click.echo(path)


def _echo(made: Simulation) -> None:
    """What was observed, and what was written, a line a file."""
    click.echo(made)
    for name, path in made.files.items():
        label = "error truth" if path in made.corruptions else name
        if name != "ms":
            click.echo(f"{label:<13}{path}")
