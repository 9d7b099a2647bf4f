"""`uvstack peel`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import click

from uvstack.cli.main import Angle, Quantity, console, example, show
from uvstack.cli.options import FILE, given, overwrite_option, run_options
from uvstack.errors import SelectionError

#: Options that only the work itself takes, not its plan.
_OF_WORK = ("correct", "workers", "scheduler", "overwrite", "out")


@contextlib.contextmanager
def _stages() -> Iterator[Callable[[str, float], None]]:
    """A line for each stage on standard error, with a bar where that is a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    if not console.is_terminal:
        begun = time.monotonic()
        told: set[str] = set()

        def line(stage: str, part: float) -> None:
            if stage not in told:
                told.add(stage)
                console.print(f"{time.monotonic() - begun:6.0f} s  {stage}", highlight=False)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
               TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, object] = {}

        def tell(stage: str, part: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=part)  # type: ignore[arg-type]

        yield tell


@click.command(name="peel", epilog=example(
    "uvstack peel survey.ms --regions bright.crtf --out peel"))
@click.argument("ms", type=FILE)
@click.option("--regions", required=True,
              help="Bright sources: DS9 or CASA regions, a catalogue, or auto with --flux-above "
                   "or --artefacts-above.")
@click.option("--out", type=FILE, default="peel",
              help="Folder for images, gains, recipes, logs, numbers and a page; a run that was "
                   "ended goes on from it.")
@click.option("--plan", "only_plan", is_flag=True,
              help="Say what would be done, with recipes and sizes, and write nothing.")
@click.option("--column", default="DATA", help="Data column.")
@click.option("--field", help="Fields as in CASA: 0,3~5,NGC*.")
@click.option("--spw", help="Spectral windows as in CASA: 0,2~3.")
@click.option("--flux-above", type=Quantity("Jy", "100mJy"),
              help="With --regions auto: flux in the image from which a source is peeled.")
@click.option("--distance-above", type=Angle(), default="0deg",
              help="With --regions auto: distance from the nearest pointing.")
@click.option("--artefacts-above", type=float,
              help="With --regions auto: noise around a source over that of the quietest part of the "
                   "image, from which it is peeled.")
@click.option("--rounds", type=int,
              help="How often the field is modelled and solved for; default twice, and while the noise "
                   "falls by a twentieth, up to six times.")
@click.option("--order", type=click.Choice(["together", "in-turn"]), default="together",
              help="All directions at once, or one after another.")
@click.option("--memo", is_flag=True,
              help="VLASS memo 23's single step, without the solve for the field alone.")
@click.option("--interval", type=Quantity("s", "30s"), default="0s",
              help="Time that gains of the field are solved for; 0s is each scan.")
@click.option("--direction-interval", type=Quantity("s", "60s"), default="0s",
              help="Time that gains of directions are solved for; 0s is each scan.")
@click.option("--correct", type=click.Choice(["field", "none"]), default="field",
              help="What the peeled data are corrected for.")
@click.option("--keep-source", is_flag=True, help="Put the sources back without their gains.")
@click.option("--keep-source-gains", is_flag=True, help="Put them back with their gains.")
@click.option("--keep-model", is_flag=True,
              help="Write PEELED_MODEL: the sources as they are in the data.")
@click.option("--primary-beam", help="Beam of the images; default, of several pointings, that of "
                                     "the telescope.")
@click.option("--mask", type=FILE, help="Where CLEAN looks for the field: FITS, regions, catalogue.")
@click.option("--size", type=int, help="Pixels of the images; default all pointings and regions.")
@click.option("--cell", type=Angle(), help="Their pixel; default a fifth of the beam.")
@click.option("--robust", default=0.5, help="Briggs' robustness of the images.")
@click.option("--quartical", type=FILE,
              help="goquartical, or its environment; default beside this Python, or in the PATH.")
@overwrite_option("columns and files of another run")
@run_options
def command(ms, only_plan, keep_source, keep_source_gains, **options) -> None:
    """Take bright sources off MS through gains of their own, by QuartiCal, into PEELED_DATA."""
    import peel

    if keep_source and keep_source_gains:
        raise SelectionError("--keep-source and --keep-source-gains contradict each other: give one")
    if only_plan:
        asked = {name: value for name, value in given(options).items() if name not in _OF_WORK}
        plan = peel.plan(ms, **asked)
        show(plan, None)
        for recipe in plan.recipes:
            click.echo(f"\n# {recipe.name}\n{recipe.yaml}", nl=False)
        return
    with _stages() as progress:
        result = peel.peel(ms, keep_source="gains" if keep_source_gains else keep_source,
                           progress=progress, **given(options))
    show(result, options["out"])
