"""Options that several commands share, in groups: what they mean is said once."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from uvstack.checks import MOST_BINS
from uvstack.cli.main import Baseline, BeamOption

#: Of what commands make; another dot in a name belongs to it.
_ENDINGS = r"\.(ms|fits|ecsv|csv|xml|vot)$"
#: What `--primary-beam` may be.
_BEAMS = "preset (vla, evla, alma, alma-7m, meerkat, atca …), text (gaussian:30arcmin@1.4GHz, airy:25m,2.36m) or file"
#: Any file or folder.
FILE = click.Path(path_type=Path)


def group_of(*options: Callable) -> Callable:
    """One decorator of several; help shows them in this order."""

    def decorate(command: Callable) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def overwrite_option(replaces: str = "outputs") -> Callable:
    """`--overwrite`."""
    return click.option("--overwrite", is_flag=True, help=f"Replace {replaces} that exist.")


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Options without those that say nothing, for which the function has a default of its own."""
    return {name: value for name, value in options.items() if value is not None}


def report_options(holds: str, *after: str, replaces: str = "outputs") -> Callable:
    """`--report FOLDER`, `--no-report` and `--overwrite`, on a command that gets the folder, or None, as `report`.

    `holds` says what is in it, `replaces` what `--overwrite` does. Its default name is after the
    first of `after` (out, positions, ms) that is given.
    """
    called = {"out": "--out", "positions": "the list", "ms": "MS", "image": "IMAGE",
              "images": "the first of IMAGES"}
    names = ", or after ".join(called[name] for name in after)

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def command(*, report: Path | None, no_report: bool, **options: Any) -> Any:
            if no_report and report is not None:
                raise click.UsageError("--no-report and --report contradict each other: give one")
            folder = None if no_report else report or _report_folder(options, after)
            return function(report=folder, **options)

        return group_of(
            click.option("--report", type=FILE, metavar="FOLDER",
                         help=f"Folder for {holds}; default named after {names}."),
            click.option("--no-report", is_flag=True, help="Print the result alone."),
            overwrite_option(replaces),
        )(command)

    return decorate


def _report_folder(options: dict[str, Any], after: tuple[str, ...]) -> Path:
    """Folder named after an output, beside it, or after an input, here."""
    name = next(name for name in after if options.get(name))
    if name == "out":
        return Path(f"{re.sub(_ENDINGS, '', str(options['out']).rstrip('/'))}-report")
    given = options[name][0] if isinstance(options[name], tuple) else options[name]
    return Path(f"{Path(str(given).rstrip('/')).stem}-{click.get_current_context().command.name}-report")


class Columns(click.ParamType):
    """Columns of a list by name, such as ra=RA_X,dec=DEC_X."""

    name = "columns"

    def convert(self, value, param, ctx):
        """Dict of what and column."""
        if not isinstance(value, str):
            return value
        pairs = [part.split("=", 1) for part in value.split(",")]
        if any(len(pair) != 2 or not all(pair) for pair in pairs):
            self.fail(f"{value!r} cannot be read; wanted e.g. ra=RA_X,dec=DEC_X", param, ctx)
        return {key.strip(): column.strip() for key, column in pairs}


class Reference(click.ParamType):
    """One of the images: its number from 1, given on from 0, or its path."""

    name = "number|image"

    def convert(self, value, param, ctx):
        """A number from 0, or the text."""
        if not isinstance(value, str) or not value.lstrip("-").isdigit():
            return value
        if int(value) < 1:
            self.fail(f"{value} is none of the images; they count from 1", param, ctx)
        return int(value) - 1


class FactorsOption(click.ParamType):
    """Numbers with commas between them, or a file."""

    name = "numbers|file"

    def convert(self, value, param, ctx):
        """A tuple of floats, or the text."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            return value


#: Which data of a measurement set.
data_options = group_of(
    click.option("--column", default="DATA", help="Data column, or a difference such as DATA-MODEL_DATA."),
    click.option("--field", help="Fields as in CASA: 0,3~5,NGC*."),
    click.option("--spw", help="Spectral windows as in CASA: 0,2~3."),
    click.option("--timerange", help="Times as in CASA, UTC: 2011/05/28/03:00:00~04:00:00."),
    click.option("--pointing", type=click.Choice(["auto", "phase", "reference", "table"]), default="auto",
                 help="Centre of the primary beam: phase centre, REFERENCE_DIR or the POINTING table; auto: what there is, from the last."))

#: How a list of positions is read.
list_options = group_of(click.option("--columns", type=Columns(),
                                   help="Columns of the list by name: ra=RA_X,dec=DEC_X,weight=W."),
                      click.option("--frame",
                                   help="Frame of the list where it does not say: J2000, ICRS, B1950, GALACTIC …"),
                      click.option("--unit", type=click.Choice(["auto", "deg", "rad"]),
                                   default="auto", help="Unit of plain numbers in the list."))

#: How a report shows a stack over uv distance.
profile_option = click.option("--bins", type=click.IntRange(1, MOST_BINS), default=20,
                              help="Bins of the uv profile.")

#: Local threads of a command.
thread_option = click.option("--threads", type=int, help="Local threads; default all processors.")

#: What a command runs on.
cluster_options = (click.option("--workers", type=int, help="Local processes instead of threads."),
                   click.option("--scheduler", help="Address of a dask scheduler."))
run_options = group_of(*cluster_options, thread_option)

#: Which baselines.
uv_range_options = group_of(
    click.option("--uvmin", type=Baseline(), help="Shortest baseline: 300m, 5km, 20klambda."),
    click.option("--uvmax", type=Baseline(), help="Longest baseline."))


def beam_option(what: str) -> Callable:
    """`--primary-beam` of a command that goes without one unless told; `what` says what it is for."""
    return click.option("--primary-beam", help=f"{what}: {_BEAMS}.")


def weight_options(weights: str | None = "equal", otherwise: str = "") -> Callable:
    """Through which beam positions are seen and what they weigh; `otherwise` tells the default where it is no word."""
    return group_of(
        click.option("--primary-beam", default="constant", help=f"{_BEAMS[:1].upper()}{_BEAMS[1:]}."),
        click.option("--pb-cutoff", default=0.1,
                     help="Power of the primary beam below which a position is left out, of a pointing or of an image."),
        click.option("--weights", default=weights,
                     help="equal, list, primary-beam, local-noise, or a product: list*primary-beam"
                          + (f"; default {otherwise}." if otherwise else ".")),
        click.option("--noise-image", type=FILE,
                     help="FITS image for local-noise; an image-stack takes by default the image itself."),
        click.option("--noise-kind", type=click.Choice(["corrected", "flat", "rms-corrected", "rms-flat"]),
                     help="That image: corrected for the primary beam or of flat noise; rms-: a map of the noise itself. "
                          "Default corrected; of an image-stack as --image-kind."))


#: How sources of an image are found.
detection_options = group_of(
    click.option("--detection", default=5.0,
                 help="Threshold of the brightest pixel of an island, σ."),
    click.option("--analysis", default=3.0, help="Threshold of all pixels of an island, σ."),
    click.option("--rms-box", "box", type=int,
                 help="Side of the boxes of background and noise, pixels; default 16 beams."),
    click.option("--stokes", type=click.Choice(["I", "Q", "U", "V"]),
                 help="Plane of a file of several; default I, or else the only one."))

#: Which signs sources have.
sign_option = click.option("--negative/--positive", default=None,
                           help="Find sources below the background too; default in Stokes Q, U and V alone.")

#: How epochs are brought together.
combine_options = group_of(
    click.option("--reference", type=Reference(), default="1",
                 help="Epoch whose pixels are taken: its number from 1, or its path."),
    click.option("--grid", help="Image, or header as text, whose pixels are taken instead."),
    click.option("--beam", type=BeamOption(),
                 help="Target: 4arcsec,3arcsec,20deg; default the smallest common one."),
    click.option("--padding", default=0.0, help="Part by which the target is larger: 0.1."),
    click.option("--round", "round_beam", is_flag=True, help="Make the target round."),
    click.option("--too-coarse", type=click.Choice(["refuse", "leave-out", "blank"]),
                 default="refuse", help="What becomes of epochs too coarse for --beam."),
    click.option("--epoch-beam", "beams", type=BeamOption(), multiple=True,
                 help="Beam of an epoch in place of its header's; give one for each."),
    click.option("--stokes", type=click.Choice(["I", "Q", "U", "V"]),
                 help="Plane of files of several; default I, or else the only one."),
    click.option("--spectral-index", type=float,
                 help="Brings epochs at other frequencies to that of the reference: S ~ nu^a."),
    click.option("--flux-scale", type=FactorsOption(), metavar="NUMBERS|FILE",
                 help="Factors of the epochs: 1,1.03,0.98; or comparison.ecsv of a comparison."),
    click.option("--align", metavar="FILE",
                 help="Take out the offsets in comparison.ecsv of a comparison."),
    click.option("--rms-box", type=int,
                 help="Side of the squares of the local noise, pixels; default 50, 10 with --memo."),
    click.option("--noise", type=click.Choice(["masked", "clipped", "mad", "moments"]),
                 help="Local noise: without sources; clipped; by the median absolute deviation; of "
                      "all pixels. Default masked, moments with --memo."),
    click.option("--minimum-epochs", default=1, help="Pixels with fewer are blank."),
    click.option("--memo", is_flag=True, help="Do as VLASS memo 26 does, step by step."),
    click.option("--direct", is_flag=True,
                 help="With --memo: convolve in Jy/beam and not in K."))
