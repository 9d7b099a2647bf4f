"""The stages of a run, in order; each leaves a file, and is not done again where it is there.

    first image → directions → bright models → self-calibration → its image → bright models anew
    → gains of the bright directions alone → rounds of (rough image, mask, CLEAN, model of the field,
    bright models anew, joint solve, what is left, field solve) → peeled data → peeled image

What takes long is kept: images, and the gains of each recipe. Columns are made of these and of the
data, by passes; a note says which column holds what, so that a run that was killed goes on where it
was. All gains act on the data as they are:

    peeled = T⁻¹ (V − Σ_d B_d X_d B_d^H) T^−H,   B_d = S G K dE_d J₀_d,   T = S G′ K′,

with S of the self-calibration and of the rounds before, G K dE of the last joint solve, G′ K′ of the
field solve that follows it, and J₀ = T⁻¹ B of the round before, through which its solve has seen the
models. So what is taken off is known exactly, and nothing of a joint solve's G K is left in the peeled
data.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peel.bright_files import (
    BrightFit,
    fit_direction,
    model_of,
    read_fit,
    with_amplitudes,
)
from peel.directions import noise_in
from peel.field_files import field_mask, predict_field, read_plane_of
from peel.field_gains_files import that_matters
from peel.gains import LEAST_SNR, Cell, Gain, Key, Solved, chi_squared
from peel.known import Known
from peel.passes_files import Part, column_note
from peel.quartical import Quartical, end_running, kept_gains, read_solutions
from peel.recipe import (
    ALONE,
    CALIBRATED,
    FIELD_MODEL,
    PEELED,
    PEELED_MODEL,
    RESIDUAL,
    SPANS,
    Recipe,
    recipes_in_turn,
    recipes_of,
)
from peel.visits import Visit
from peel.work_files import STEPS, Work, peeled_note
from uvstack.chunks import map_chunks
from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.io.output import write_json

#: Noise above which the mask of the first image, and those of rounds, begin.
FIRST_SIGMA, ROUND_SIGMA = 8.0, (7.0, 6.0)
#: Beams around a bright direction in which nothing is believed before it is taken off.
_KEPT_OFF = 15
#: By how much the noise around a direction may fall in a round before another is worth while.
FALLING = 0.05
#: χ² may rise by this much before a solution counts as worse than none.
_WORSE = 1.001


def solve(work: Work, known: Known, stage: str, recipes: Sequence[Recipe]) -> Solved:
    """What QuartiCal finds by these recipes, side by side; gains that are kept are read."""
    # The longest first: the last ones to end are short.
    recipes = sorted(recipes, key=lambda one: -one.n_visibilities * (1 + len(one.directions)))
    total = sum(visit.n_rows > 0 for recipe in recipes for visit in recipe.visits)
    done = [0]
    work.tell(stage, 0.0)

    def take(index: int, path: Path) -> None:
        done[0] += len(recipes[index].visits)
        work.tell(stage, done[0] / max(total, 1))
        paths[index] = path

    paths: dict[int, Path] = {}
    if not all(kept_gains(work.folder, recipe).exists() for recipe in recipes):
        work.need(*sorted({column for recipe in recipes for column in recipe.columns}))
    job = work.solver, str(work.folder.absolute())
    if work.client is None:
        # Not on a thread: an interrupt would not come to the program.
        for index, recipe in enumerate(recipes):
            take(index, _solve_one(job, recipe))
    else:
        try:
            map_chunks(_solve_one, job, recipes, take, work.client)
        except BaseException:
            work.client.run(end_running)
            raise
    found = [read_solutions(paths[i], recipe) for i, recipe in enumerate(recipes)]
    return Solved({cell: terms for one in found for cell, terms in one.cells.items()},
                  {cell: order for one in found for cell, order in one.directions.items()},
                  scales=known.scales())


def _solve_one(job: tuple[Quartical, str], recipe: Recipe) -> Path:
    solver, folder = job
    return solver.solve(recipe, folder)


def fit_bright(work: Work, known: Known, stage: str, gains: Known | None = None) -> Known:
    """The bright models, fitted to what the last gains leave, and written to their columns.

    Several directions are fitted in turn, each without the last models of the others: through their
    `gains` where these are known, else as they are, twice.
    """
    path = work.folder / STEPS / f"bright-{stage.replace(' ', '-')}.json"
    data = CALIBRATED if known.selfcal else work.column
    order = sorted(range(len(work.directions)), key=lambda i: -work.directions[i].peak)
    if path.exists():
        fits = tuple(read_fit(one) for one in json.loads(path.read_text(encoding="utf-8")))
        for number in order:
            _hold_bright(work, stage, number, fits)
        return replace(known, fits=fits)
    current: dict[int, list[BrightFit]] = {}
    n_fits = len(work.passes.visits) * len(order)
    last = 0 if len(order) == 1 or gains is not None else 1
    for turn in range(last + 1):
        for place, number in enumerate(order):
            what = f"fit of {number} in turn {turn}, {stage}"
            if gains is None:
                names = [data, FIELD_MODEL, *(work.bright[i] for i in current if i != number)]
                _hold(work, RESIDUAL, what, f"bright models, {stage}", names,
                      functools.partial(_less, names))
            else:
                _hold_without_others(work, gains, number, what)
            work.need(RESIDUAL)
            count = [place * len(work.passes.visits)]

            def fitted(count: list[int] = count) -> None:
                count[0] += 1
                work.tell(f"bright models, {stage}", count[0] / n_fits)

            with work.passes.apart(work.folder / STEPS / "rows"):
                current[number] = fit_direction(
                    work.passes, RESIDUAL, number, work.directions[number], work.beam, work.client,
                    work.threads, fitted, _radius(work, number) if known.selfcal else None)
            held = stage if turn == last else f"{stage}, turn {turn}"
            _hold_bright(work, f"{held}, as fitted", number, current[number])
            with work.passing(f"bright models, {stage}"):
                work.need(work.bright[number])
                current[number] = with_amplitudes(
                    work.passes, RESIDUAL, work.bright[number], current[number],
                    replace_flux=bool(known.selfcal))
            _hold_bright(work, held, number, current[number])
    fits = tuple(one for number in sorted(current) for one in current[number])
    write_json(path, [one.summary() for one in fits])
    return replace(known, fits=fits)


def _hold_without_others(work: Work, gains: Known, number: int, what: str) -> None:
    """RESIDUAL: the calibrated data without the field, and without the other directions as they are seen."""
    others = [model_of(work.passes, work.column, [fit for fit in gains.fits if fit.direction == at],
                       direction, functools.partial(gains.of_bright, at, frame=gains.next_frame))
              for at, direction in enumerate(work.directions) if at != number]
    _hold(work, RESIDUAL, what, "without the other directions", [CALIBRATED, FIELD_MODEL],
          lambda part: functools.reduce(np.subtract, (model(part) for model in others),
                                        part.values[CALIBRATED] - part.values[FIELD_MODEL]))


def _radius(work: Work, number: int) -> float:
    """Of a circle as large as a direction's region, arcsec."""
    return float(np.sqrt(work.directions[number].mask.sum() / np.pi) * work.frame.cell / ARCSEC)


def _hold_bright(work: Work, stage: str, number: int, fits: Sequence[BrightFit],
                 through: Callable[[Cell, int], Gain] | None = None) -> None:
    """A direction's column: its model, as it is or seen through gains."""
    own = [one for one in fits if one.direction == number]
    column = work.bright[number]
    work.will_hold(column, stage, [], lambda: work.passes.write(
        column, [work.column],
        model_of(work.passes, work.column, own, work.directions[number], through)))


def _hold_models(work: Work, known: Known, what: str, *, seen: bool = False) -> None:
    """All directions' columns: their models, as they are or as calibrated data see them through the gains that are known."""
    for at in range(len(work.bright)):
        _hold_bright(work, what, at, known.fits, functools.partial(
            known.of_bright, at, frame="calibrated") if seen else None)


def _less(names: Sequence[str], part: Part) -> NDArray:
    """The first column without the others."""
    return functools.reduce(np.subtract, (part.values[name] for name in names))


def bright_in(work: Work, known: Known, visit: Visit) -> tuple[int, ...]:
    """Directions that a visit sees well enough for gains of their own, antenna by antenna.

    By what its baselines see, not by the flux: see `with_amplitudes`.
    """
    of_visit = _gain_snrs(work, known, visit, span_in(work, known, visit))
    return tuple(number for number in range(len(work.directions))
                 if of_visit.get(number, 0.0) >= LEAST_SNR)


def span_in(work: Work, known: Known, visit: Visit) -> str:
    """The shortest of `SPANS` in which a visit sees a direction well enough; the first where none is."""
    return next((span for span in SPANS
                 if max(_gain_snrs(work, known, visit, span).values(), default=0.0) >= LEAST_SNR),
                SPANS[0])


def _gain_snrs(work: Work, known: Known, visit: Visit, span: str) -> dict[int, float]:
    return {one.direction: gain_snr(work, one, visit, span) for one in known.fits
            if (one.field, one.window) == (visit.field.id, visit.window.id)}


def gain_snr(work: Work, fit: BrightFit, visit: Visit, span: str) -> float:
    """Signal to noise of a fitted source for an antenna, receptor and cell, of one of `SPANS`."""
    interval, n_cells = work.settings.direction_interval, 1.0
    if span == SPANS[0] and interval:
        n_cells = max(visit.n_times * visit.integration / interval / max(len(visit.times), 1), 1.0)
    elif span == SPANS[2]:
        n_cells = 1 / max(len(visit.times), 1)
    return float(fit.gain_snr / np.sqrt(n_cells))


def judged(work: Work, known: Known, solve_name: str, candidate: Known, names: Sequence[str],
           predicted: Callable[[Known, Part], tuple[NDArray, NDArray[np.bool_]]]) -> Known:
    """The candidate, without the fields and windows whose χ² its gains do not lower.

    Parameters
    ----------
    work, known
    solve_name : str
    candidate : Known
        With the new gains, in `known`'s place where they are good.
    names : sequence of str
        Columns that are read: the data first.
    predicted : callable
        Of what is known and a part: all that the data are compared with, and rows that failed.
    """
    path = work.folder / STEPS / f"chi-squared-{solve_name}.json"
    if not path.exists():
        with work.passing(f"χ² of {solve_name}"):
            write_json(path, _chi_squared(work, known, candidate, names, predicted))
    told = {(field, window): (before, after) for field, window, before, after
            in json.loads(path.read_text(encoding="utf-8"))}
    refused = frozenset(key for key, (a, b) in told.items() if not b <= _WORSE * a)
    which = "selfcal" if solve_name == "selfcal" else "joint"
    kept = {key: (a, a if key in refused else b) for key, (a, b) in told.items()}
    state = replace(candidate, chi_squared={**known.chi_squared, solve_name: kept})

    solved = tuple(replace(one, refused=refused, scales=state.scales()) for one in getattr(candidate, which))
    changed: dict[str, Any] = {which: solved}
    return replace(state, **changed)


def _chi_squared(work: Work, known: Known, candidate: Known, names: Sequence[str],
                 predicted: Callable[[Known, Part], tuple[NDArray, NDArray[np.bool_]]],
                 ) -> list[tuple[int, int, float, float]]:
    """Field, window, reduced χ² before and after."""
    work.need(*names)
    sums: dict[Key, NDArray] = {}
    for part in work.passes.parts(names):
        one = sums.setdefault(part.key, np.zeros(3))
        after, failed = predicted(candidate, part)
        before, _ = predicted(known, part)
        weight = np.where(failed[:, None, None], 0, part.weight)
        data = part.values[names[0]]
        one += (chi_squared(data - before, weight), chi_squared(data - after, weight),
                2.0 * np.count_nonzero(weight > 0))
    return [(*key, float(a / max(n, 1)), float(b / max(n, 1))) for key, (a, b, n) in sums.items()]


def self_calibrate(work: Work, known: Known) -> Known:
    """G K of everything together, where they lower χ²; CALIBRATED is the data without them."""
    recipes = recipes_of("selfcal", work.settings, work.passes.visits, work.column)
    solved = solve(work, known, "self-calibration", recipes)
    names = [work.column, FIELD_MODEL, *work.bright]

    def predicted(state: Known, part: Part) -> tuple[NDArray, NDArray[np.bool_]]:
        total = functools.reduce(np.add, (part.values[name] for name in names[1:]))
        values, _ = part.through(total, state.of_selfcal)
        return values, np.zeros(len(values), np.bool_)

    found = judged(work, known, "selfcal", replace(known, selfcal=(solved,)), names, predicted)
    _hold_calibrated(work, found)
    return found


def _hold_calibrated(work: Work, known: Known) -> None:
    """CALIBRATED: the data without S, and without what the field solve found since."""
    gains = known.of_selfcal if known.field is None else known.of_field
    times = len(known.selfcal) + (known.field is not None)
    _hold(work, CALIBRATED, f"selfcal, {times} times", "calibrated data", [work.column],
          lambda part: part.through(part.values[work.column],
                                    lambda *of: gains(*of).inverse())[0])


def _hold(work: Work, column: str, what: str, stage: str, names: Sequence[str],
          make: Callable[[Part], NDArray]) -> None:
    """Say what a column is to hold, of others part by part."""
    def write() -> None:
        with work.passing(stage):
            work.passes.write(column, names, make)

    work.will_hold(column, what, names, write)


def take_bright_off(work: Work, known: Known) -> Known:
    """RESIDUAL: the calibrated data without the bright directions through gains J of their own."""
    # J stands where dE does: its G K are 1.
    found = replace(known, joint=_directions_solved(work, known, "bright", "bright", in_turn=False))
    found = judged(work, known, "bright", found, [CALIBRATED, FIELD_MODEL, *work.bright],
                   functools.partial(_all_seen, work))
    _hold_left(work, found, "bright", "calibrated")
    return found


def _hold_left(work: Work, known: Known, what: str, frame: str) -> None:
    """RESIDUAL: the calibrated data without the bright directions."""
    _hold(work, RESIDUAL, what, "without bright directions", [CALIBRATED, *work.bright],
          lambda part: part.values[CALIBRATED] - _bright_seen(work, known, part, frame)[0])


def _bright_seen(work: Work, known: Known, part: Part, frame: str,
                 ) -> tuple[NDArray, NDArray[np.bool_]]:
    """Σ B X B^H, (row, chan, corr), and rows of which a gain failed; in a frame of `Known.of_bright`."""
    total: NDArray = np.zeros(part.weight.shape, np.complex128)
    bad = np.zeros(len(total), np.bool_)
    for number, column in enumerate(work.bright):
        values, failed = part.through(part.values[column], functools.partial(
            known.of_bright, number, frame=frame))
        total += values
        bad |= failed
    bad |= known.refused(part.key)
    # Where a gain failed nothing is known to be taken off.
    total[bad] = 0
    return total, bad


def keep_field(work: Work, name: str) -> NDArray[np.bool_]:
    """The field's column: what CLEAN found in an image of all, where that stands out; the mask."""
    mask = work.mask if work.mask is not None else field_mask(
        read_plane_of(work.folder / f"{name}-image.fits"), FIRST_SIGMA,
        [one.mask for one in work.directions], round(_KEPT_OFF * work.beam / work.frame.cell))
    work.will_hold(FIELD_MODEL, name, [], lambda: predict_field(
        work.frame, work.passes.structure, work.passes.selection,
        work.folder / f"{name}-model.fits", FIELD_MODEL, work.column, mask, work.threads))
    return mask


def mask_of(work: Work, column: str, number: int) -> NDArray[np.bool_]:
    """Where CLEAN may look for the field in a round: what stands out of a rough image of the data.

    That image is cleaned wherever there is something, so that sidelobes of sources do not hide
    others; it serves for nothing else, since what it finds may be artefacts.
    """
    if work.mask is not None:
        return work.mask
    path = work.image(f"rough image, round {number}", column, f"{STEPS}/rough-{number}",
                      iterations=600, sigma=2.0)
    return field_mask(read_plane_of(path), ROUND_SIGMA[min(number, len(ROUND_SIGMA)) - 1],
                      [one.mask for one in work.directions])


def image_of_round(work: Work, number: int) -> Path:
    """CLEAN of what is left, within a mask."""
    return work.image(f"image of round {number}", RESIDUAL, f"{STEPS}/round-{number}",
                      mask=mask_of(work, RESIDUAL, number))


def is_enough(work: Work, number: int) -> bool:
    """Whether a round has lowered the noise around no direction by much, so that another would not."""
    before, after = (noise_in(read_plane_of(image_of_round(work, one)), work.around)
                     for one in (number, number + 1))
    return bool((after > (1 - FALLING) * before).all())


def model_field(work: Work, number: int) -> None:
    """The field's column: what CLEAN finds in what is left."""
    name = f"{STEPS}/round-{number}"
    image_of_round(work, number)

    def predict() -> None:
        work.tell(f"model of the field, round {number}", 0.0)
        predict_field(work.frame, work.passes.structure, work.passes.selection,
                      work.folder / f"{name}-model.fits", FIELD_MODEL, work.column,
                      threads=work.threads)

    work.will_hold(FIELD_MODEL, name, [], predict)


def solve_round(work: Work, known: Known, number: int, *, in_turn: bool = False,
                memo: bool = False) -> Known:
    """Joint solve and field solve; RESIDUAL is what is left, corrected.

    Gains of the field of a round are the start of the next: G and dE of one solve part slowly, since
    a field much fainter than the source says little of G beside it.
    """
    last = known
    if known.field is not None:
        known = replace(known, selfcal=(*known.selfcal, known.field), field=None)
        _hold_calibrated(work, known)
    # With a better model of the field around them, and better gains.
    known = fit_bright(work, replace(known, joint=(), alone=None, start=last),
                       f"round {number}", last)
    _hold_models(work, known, f"joint-{number}, seen", seen=True)
    found = replace(known, joint=_directions_solved(work, known, "joint", f"joint-{number}", in_turn))
    again = [visit for visit in work.passes.visits if found.failed(visit)]
    if again:
        recipes = recipes_of(
            "bright", work.settings, again, CALIBRATED, functools.partial(bright_in, work, known),
            f"{ALONE}-{number}", span_in=functools.partial(span_in, work, known))
        found = replace(found, alone=solve(
            work, known, f"bright directions alone, round {number}", recipes))
    _hold_models(work, known, f"round {number}")
    found = judged(work, known, f"joint-{number}", found, [CALIBRATED, FIELD_MODEL, *work.bright],
                   functools.partial(_all_seen, work))
    _hold_left(work, found, f"joint-{number}", "calibrated")
    if memo:
        _hold(work, RESIDUAL, f"joint-{number}, corrected", "corrected data",
              [CALIBRATED, *work.bright], functools.partial(_corrected, work, found))
        return found
    recipes = recipes_of("field", work.settings, work.passes.visits, RESIDUAL,
                         prefix=f"field-{number}")
    solved = solve(work, found, f"field solve, round {number}", recipes)
    found = replace(found, field=that_matters(work, solved, number))
    _hold_calibrated(work, found)
    _hold_left(work, found, f"field-{number}", "field")
    return found


def _all_seen(work: Work, state: Known, part: Part) -> tuple[NDArray, NDArray[np.bool_]]:
    """What is known to be in the calibrated data, and rows of which a gain failed."""
    bright, failed = _bright_seen(work, state, part, "calibrated")
    field, _ = part.through(part.values[FIELD_MODEL], state.of_joint)
    return field + bright, failed


def _corrected(work: Work, known: Known, part: Part) -> NDArray:
    """What the bright directions leave of the calibrated data, without the joint solve's G K."""
    left = part.values[CALIBRATED] - _bright_seen(work, known, part, "calibrated")[0]
    return part.through(left, lambda *of: known.of_joint(*of).inverse())[0]


def _directions_solved(work: Work, known: Known, kind: str, prefix: str,
                       in_turn: bool) -> tuple[Solved, ...]:
    """Gains of the bright directions in CALIBRATED: of all at once, or one after another."""
    chosen = functools.partial(bright_in, work, known)
    span = functools.partial(span_in, work, known)
    stage = prefix.replace("-", " ")
    if not in_turn:
        return (solve(work, known, stage, recipes_of(
            kind, work.settings, work.passes.visits, CALIBRATED, chosen, prefix, span_in=span)),)
    found = [Solved({}, {}) for _ in work.directions]
    for at, taken, recipes in recipes_in_turn(kind, work.settings, work.passes.visits,
                                              [one.peak for one in work.directions], chosen, prefix, span):
        if taken:
            _hold_without_taken(work, known, found, list(taken), prefix)
        found[at] = solve(work, known, stage, recipes)
    return tuple(found)


def _hold_without_taken(work: Work, known: Known, found: Sequence[Solved], taken: list[int],
                        prefix: str) -> None:
    """RESIDUAL: the calibrated data without the directions that had their turn."""
    # The models are seen through what was known before.
    state = replace(known, selfcal=(), joint=tuple(found), start=None)

    def left(part: Part) -> NDArray:
        values = part.values[CALIBRATED].astype(np.complex128)
        for one in taken:
            seen, failed = part.through(part.values[work.bright[one]],
                                        functools.partial(state.of_bright, one))
            values[~failed] -= seen[~failed]
        return values

    _hold(work, RESIDUAL, f"{prefix} without {taken}", "without bright directions",
          [CALIBRATED, *(work.bright[one] for one in taken)], left)


@dataclass(eq=False)
class Seen:
    """What the last pass has learnt of a field and window.

    Attributes
    ----------
    n_left : int
        Visibilities that stay as they were, where a gain failed.
    ratio : ndarray (direction, 2)
        Σ w |B X B^H| |X| and Σ w |X|².
    slope : ndarray (direction, 5)
        Normal equations of the phases that gains of a direction have beyond those of the field:
        Σ w |X|² (2πu)², the same of uv and v², and Σ w |X|² 2πu φ, 2πv φ, with u and v in
        wavelengths.
    """

    n_left: int
    ratio: NDArray[np.float64]
    slope: NDArray[np.float64]

    def add(self, part: Part, number: int, model: NDArray, seen: NDArray) -> None:
        """Add what a direction's own gains (already without those of the field) do to its model."""
        weight = np.where(np.isfinite(seen), part.weight, 0) * np.abs(model) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(weight > 0, seen / model, 1.0)
        self.ratio[number] += (float((weight * np.abs(own)).sum()), float(weight.sum()))
        wave = 2 * np.pi * part.visit.window.spw.frequency / SPEED_OF_LIGHT
        u, v = (part.partition.uvw[:, i, None, None] * wave[None, :, None] for i in (0, 1))
        phase = np.angle(own)
        self.slope[number] += [float((weight * one).sum()) for one in (
            u * u, u * v, v * v, u * phase, v * phase)]

    def shift(self, number: int) -> float:
        """By how far the phases of a direction's gains move it, rad."""
        uu, uv, vv, up, vp = self.slope[number]
        matrix = np.array([[uu, uv], [uv, vv]])
        if not np.linalg.det(matrix) > 0:
            return 0.0
        return float(np.hypot(*np.linalg.solve(matrix, [up, vp])))

    def kept(self, number: int) -> float:
        """Flux through a direction's gains over that of its model."""
        return float(self.ratio[number, 0] / self.ratio[number, 1]) if self.ratio[number, 1] else 1.0


def write_peeled(work: Work, known: Known, *, correct: str, keep_source: bool | str,
                 keep_model: bool) -> dict[Key, Seen]:
    """PEELED_DATA, and PEELED_MODEL; what was learnt on the way, by field and window."""
    path = work.folder / STEPS / "seen.json"
    columns: dict[str, str | None] = {PEELED: work.column}
    if keep_model:
        columns[PEELED_MODEL] = None
    note = peeled_note(work.run)
    if path.exists() and all(
            column_note(work.target.structure.path, name) == note for name in columns):
        return {(field, window): Seen(n_left, np.array(ratio, float), np.array(slope, float)) for
                field, window, n_left, ratio, slope in json.loads(path.read_text(encoding="utf-8"))}
    found: dict[Key, Seen] = {}
    n = len(work.directions)

    def peeled(part: Part) -> list[NDArray]:
        data = part.values[work.column]
        bright, failed = _bright_seen(work, known, part, "data")
        values = data - bright
        # In single precision, so that data = what is left + model, bit by bit.
        model = data - values.astype(np.complex64)
        if keep_source == "gains":
            values = data.astype(np.complex128)
        if correct == "field":
            values, _ = part.through(values, lambda *of: known.of_field(*of).inverse())
        if keep_source is True:
            values = values + functools.reduce(np.add, (part.values[name] for name in work.bright))
        values[failed] = data[failed]
        learnt = found.setdefault(part.key, Seen(0, np.zeros((n, 2)), np.zeros((n, 5))))
        learnt.n_left += int(np.count_nonzero(part.weight[failed] > 0))
        for number, column in enumerate(work.bright):
            own, _ = part.through(part.values[column], functools.partial(
                known.of_bright, number, frame="field"))
            learnt.add(part, number, part.values[column], own)
        return [values, model][: len(columns)]

    work.need(*work.bright)
    with work.passing("peeled data"):
        work.passes.write_all(columns, [work.column, *work.bright], peeled, note,
                              work.target)
    write_json(path, [(*key, one.n_left, one.ratio, one.slope) for key, one in found.items()])
    return found
