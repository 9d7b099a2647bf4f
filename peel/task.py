"""The task: a measurement set and regions in, the set with peeled data and what was done out.

The set gets PEELED_DATA, and PEELED_MODEL where it is asked for, when all is solved. Nothing else of it
changes, flags neither: columns on the way are those of a copy in the folder, which goes at the end and where
the run fails. What takes long is kept there: a run that was ended goes on by the same command.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from peel.directions import Direction, pixels_of
from peel.known import Known
from peel.passes_files import Passes
from peel.plan_files import Prepared, check_how, open_set, prepare
from peel.quartical import Quartical, find_quartical
from peel.recipe import CALIBRATED, PEELED, PEELED_MODEL, RESIDUAL, ROUNDS, Settings
from peel.result import PeelResult
from peel.results_files import measure
from peel.run_files import finished, run_in, settings_of
from peel.stages_files import (
    fit_bright,
    is_enough,
    keep_field,
    mask_of,
    model_field,
    self_calibrate,
    solve_round,
    take_bright_off,
    write_peeled,
)
from peel.work_files import STEPS, Tell, Work
from peel.working_set_files import (
    bytes_of_copy,
    bytes_there,
    check_unchanged,
    remove_working_set,
    working_set,
)
from uvstack.checks import one_of, whole_number
from uvstack.chunks import cluster
from uvstack.errors import OutputError, UvstackWarning
from uvstack.imaging.mask_files import read_mask
from uvstack.io.output import size_text
from uvstack.io.provenance import provenance_of
from uvstack.io.stacked_ms import append_history
from uvstack.io.unfinished_column import count_bytes
from uvstack.pixels.grid import centred_grid
from uvstack.sky.primary_beam import PrimaryBeam

#: Arguments of `prepare`.
PREPARED = ("ms", "regions", "column", "field", "spw", "primary_beam", "flux_above",
            "distance_above", "artefacts_above", "size", "cell", "robust", "threads")
#: Visibilities of a recipe at most, or one field: QuartiCal then takes about as long as its start.
_PER_RECIPE = 4_000_000


def peel(ms: str | Path, *, regions: str | Path, out: str | Path = "peel", column: str = "DATA",
         field: str | int | None = None, spw: str | int | None = None,
         correct: Literal["field", "none"] = "field",
         keep_source: bool | Literal["gains"] = False, keep_model: bool = False,
         rounds: int | None = None,
         order: Literal["together", "in-turn"] = "together", memo: bool = False,
         interval: float = 0.0, direction_interval: float = 0.0, mask: str | Path | None = None,
         flux_above: float | None = None, distance_above: float = 0.0,
         artefacts_above: float | None = None, primary_beam: str | PrimaryBeam | None = None,
         size: int | None = None, cell: float | None = None, robust: float = 0.5,
         quartical: str | Path | None = None,
         workers: int | None = None, scheduler: str | None = None, threads: int | None = None,
         overwrite: bool = False, progress: Tell | None = None) -> PeelResult:
    """What was done to take bright sources off a measurement set through gains of their own.

    Parameters
    ----------
    ms : path
        Gets the column PEELED_DATA (and PEELED_MODEL), and a line in its HISTORY.
    regions : path or "auto"
        Where the bright sources are: see `peel.plan`.
    out : path
        Folder for images, gains, recipes, logs, peel.json and index.html. Where a run was ended it
        goes on from what is there; where it was finished nothing is done again.
    column : str
        Data.
    field, spw : str or int, optional
        As `uvstack.image` takes them.
    correct : {"field", "none"}
        Whether the peeled data are corrected by the gains of the field.
    keep_source : bool or "gains"
        True puts the sources back without their gains, "gains" with them.
    keep_model : bool
        Write PEELED_MODEL, the sources as they are in the data: DATA = uncorrected peeled data +
        PEELED_MODEL.
    rounds : int, optional
        How often the field is modelled and solved for. Default: twice, and while the noise around a
        direction falls by a twentieth, up to six times.
    order : {"together", "in-turn"}
        Whether all directions are solved for at once, or one after another, the brightest first.
    memo : bool
        VLASS memo 23's single step: data are corrected by the field's gains of the joint solve.
    interval, direction_interval : float
        Time that gains of the field, and of directions, are solved for, s; 0 for each scan.
    mask : path, optional
        Where CLEAN looks for the field: FITS, region file or catalogue. Default: where images stand
        above the noise around.
    flux_above, distance_above, artefacts_above : float
        Of regions="auto": see `peel.plan`.
    primary_beam : str or PrimaryBeam, optional
        As `uvstack.image` takes it. Default, of several pointings, the one of the telescope.
    size, cell, robust : int, float (rad), float
        Of the images. Default: all pointings and regions, five pixels a beam.
    quartical : path, optional
        goquartical, or its environment. Default: that of this environment or of the PATH.
    workers, scheduler, threads
        As for `uvstack.stack`: recipes and fits of fields run side by side.
    overwrite : bool
        Whether columns and files of another run may be replaced.
    progress : callable, optional
        Called with the name of a stage and how much of it is done, 0 to 1.

    Returns
    -------
    PeelResult

    Raises
    ------
    UvstackError
        One of its subclasses, in one line; the set then is as it was.

    Examples
    --------
    >>> result = peel.peel("survey.ms", regions="bright.crtf", out="peel")
    """
    asked = {name: value for name, value in locals().items() if name != "progress"}
    one_of("correct", correct, ("field", "none"))
    one_of("keep_source", keep_source, (False, True, "gains"))
    if rounds is not None:
        rounds = whole_number("rounds", rounds, 1)
    check_how(asked)
    tell: Tell = (lambda stage, done: None) if progress is None else progress
    folder, settings = Path(out), settings_of(asked)
    _, structure = open_set(ms, field, spw, column)
    done = finished(folder, settings, structure.path)
    if done is not None and not overwrite:
        return done
    solver = find_quartical(quartical)
    with (run_in(folder, settings, structure, keep_model, overwrite) as run,
          cluster(workers, scheduler) as client, warnings.catch_warnings()):
        return _peeled(asked, folder, settings, solver, client, tell, run)


def _peeled(asked: dict[str, Any], folder: Path, settings: dict[str, str], solver: Quartical,
            client: Any, tell: Tell, run: str) -> PeelResult:
    """All stages, the columns and the report."""
    # Each stage opens the set anew, and would say the same again.
    warnings.filterwarnings("once", category=UvstackWarning)
    prepared = prepare(**{name: asked[name] for name in PREPARED}, first=folder / "first",
                       progress=lambda done, n: tell("first image", done / n))
    _check_room(prepared, folder, asked["keep_model"])
    try:
        work = _work(prepared, solver, folder, asked, client, tell, run)
        known, rounds = _stages(work, asked["rounds"], asked["order"] == "in-turn", asked["memo"])
        seen = write_peeled(work, known, correct=asked["correct"],
                            keep_source=asked["keep_source"], keep_model=asked["keep_model"])
        # Where the sources are put back the image is of what is left without them.
        shown = RESIDUAL if asked["keep_source"] else PEELED
        work.image("peeled image", shown, "peeled",
                   mask=mask_of(work, shown, rounds + 1))
        provenance = provenance_of(asked, ms=[prepared.structure.path])
        result = measure(work, known, seen, settings, rounds, asked["keep_model"], provenance)
        append_history(prepared.structure.path, provenance)
        result.report(folder)
        for name in ("field", "directions"):
            shutil.copyfile(folder / f"gains-{name}.png", folder / "gains" / f"{name}.png")
    finally:
        remove_working_set(folder / STEPS)
    return result


def _stages(work: Work, rounds: int | None, in_turn: bool, memo: bool) -> tuple[Known, int]:
    """All that leads to the gains, and in how many rounds."""
    masks = [one.mask for one in work.directions]
    mask = keep_field(work, "first")
    known = fit_bright(work, Known(), "data")
    known = self_calibrate(work, known)
    everything = mask.copy()
    for one in masks:
        everything |= one
    work.image("image after self-calibration", CALIBRATED, "selfcal", mask=everything,
               sigma=5.0)
    keep_field(work, "selfcal")
    known = fit_bright(work, known, "calibrated")
    known = take_bright_off(work, known)
    least, most = ROUNDS if rounds is None else (rounds, rounds)
    for number in range(1, most + 1):
        model_field(work, number)
        known = solve_round(work, known, number, in_turn=in_turn, memo=memo)
        if number == most or (number >= least and is_enough(work, number)):
            break
    return known, number


def _most_visibilities(prepared: Prepared, client: Any) -> int:
    """Of a recipe: all workers get one where there are fields enough."""
    if client is None:
        return _PER_RECIPE
    total = sum(visit.n_visibilities for visit in prepared.visits)
    return min(_PER_RECIPE, -(-total // len(client.ncores())))


def _work(prepared: Prepared, solver: Quartical, folder: Path, asked: dict[str, Any], client: Any,
          tell: Tell, run: str) -> Work:
    frame = prepared.frame
    grid = centred_grid(*frame.phase_centre, frame.size, frame.cell)
    tell("copy of the data", 0.0)
    structure, target = working_set(prepared.structure, prepared.selection, prepared.column,
                                    folder / STEPS)
    passes = Passes(structure, prepared.selection, prepared.visits, prepared.column)
    check_unchanged(passes, prepared.column, folder / STEPS)
    return Work(passes, target, prepared.column, frame,
                Settings(structure, prepared.reference_antenna, len(prepared.directions),
                         asked["interval"], asked["direction_interval"],
                         _most_visibilities(prepared, client)), solver,
                folder, prepared.directions, prepared.beam, client, asked["threads"], tell, run,
                _without(read_mask(asked["mask"], grid), prepared.directions))


def _without(mask: NDArray[np.bool_] | None, directions: Sequence[Direction]) -> NDArray[np.bool_] | None:
    """A mask that was given, without the regions of the bright sources: CLEAN's model is of the rest."""
    return None if mask is None else mask & ~pixels_of(directions)


def _check_room(prepared: Prepared, folder: Path, keep_model: bool) -> None:
    """Refuse disks that have no room for the copy of the data and for the new columns."""
    structure = prepared.structure
    # Calibrated data, the field's model, what is left, and the models of the directions.
    n_scratch = 3 + len(prepared.directions)
    columns = [name for name in (PEELED, *[PEELED_MODEL] * keep_model)
               if name not in structure.columns]
    needed = [(folder, bytes_of_copy(structure, prepared.visits, n_scratch)
               - bytes_there(folder / STEPS), "a copy of the data"),
              (Path(structure.path), len(columns) * count_bytes(structure), ", ".join(columns))]
    if os.stat(folder).st_dev == os.stat(structure.path).st_dev:
        needed = [(folder, needed[0][1] + needed[1][1], f"{needed[0][2]} and {needed[1][2]}")]
    for path, n_bytes, what in needed:
        free = shutil.disk_usage(path).free
        if n_bytes > free:
            raise OutputError(f"{path}: {size_text(n_bytes)} are needed for {what}, "
                              f"{size_text(free)} are free")
