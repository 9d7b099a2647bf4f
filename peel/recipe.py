"""QuartiCal's recipes for peeling.

Four solves. `selfcal`: G and K of everything together, before any direction has gains of its own;
`bright`: gains J of the bright directions, beside what the image after self-calibration shows of
the field, from which the first model of the rest is made;
`joint`: G and K of the field and dE of each bright direction together; and `field`: G and K anew on
what is left without the bright directions. The last two are repeated with each better model of the field, since
G and dE of one solve part slowly, where the field is much fainter. QuartiCal writes gains alone; what
they do to visibilities is done here, so that a solution that failed does no harm. The residual that the
joint solve's own G and K correct is kept only as the memo's recipe: fluxes near the bright source came
out 9 % low in it.

Gains are one a scan, field and window, or one for so many integrations; those of directions that are
too faint for that are one a scan, or one for all scans of a field and window (`SPANS`). K is left out of windows of
one channel, which cannot tell a delay from a phase, so that such windows have recipes of their own;
so have those with another number of correlations, visits in which other directions are bright
enough, and fields of which other windows have good visibilities: QuartiCal takes every window
chosen of every field chosen, and where all is flagged its gains are NaN.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from peel.visits import Visit
from uvstack.errors import MeasurementSetError
from uvstack.records import Structure

#: What is written in the end.
PEELED, PEELED_MODEL = "PEELED_DATA", "PEELED_MODEL"
#: Columns on the way: the data after self-calibration, the model of the field, what is left.
CALIBRATED, FIELD_MODEL, RESIDUAL = "PEEL_CALIBRATED", "PEEL_FIELD", "PEEL_RESIDUAL"
#: Solves of a run that are done once, and those of each round.
ONCE, EACH_ROUND = ("selfcal", "bright"), ("joint", "field")
#: How names begin of what is solved for, as by `bright`, where a joint solve failed. Not as those of another
#: solve do: a solve of several recipes numbers them.
ALONE = "alone"
#: Rounds at least and at most, where their number is left to the noise.
ROUNDS = (2, 6)
_ITERATIONS = {"selfcal": 50, "bright": 50, "joint": 25, "field": 50}
#: How often the iterations of all terms are gone through.
_TURNS = {"selfcal": 2, "bright": 1, "joint": 4, "field": 2}
#: Terms that depend on the direction.
OF_DIRECTIONS = ("J", "dE")
#: What may have one gain of a direction in a field and window: the interval that was asked for, a scan, all
#: scans. QuartiCal solves for each window by itself, so gains of several windows are never one.
SPANS = ("interval", "scan", "all scans")


def bright_columns(n_directions: int) -> list[str]:
    """Columns of the models of bright directions."""
    return [f"PEEL_BRIGHT_{number + 1}" for number in range(n_directions)]


@dataclass(frozen=True)
class Recipe:
    """A run of QuartiCal.

    Attributes
    ----------
    name : str
        Solve, and where there are several recipes of it, which.
    options : dict
        Section → option → value.
    visits : tuple of Visit
        That it solves for.
    directions : tuple of int
        Those with gains of their own, in the order of the directions of the solutions, of which the
        field is the first.
    span : str
        What has one gain of them: see `SPANS`.
    """

    name: str
    options: dict[str, dict[str, Any]]
    visits: tuple[Visit, ...]
    directions: tuple[int, ...]
    span: str = SPANS[0]

    @property
    def yaml(self) -> str:
        """As `goquartical` reads it; every value is JSON, which is YAML too."""
        return "".join(f"{section}:\n" + "".join(f"  {name}: {json.dumps(value)}\n"
                                                 for name, value in options.items())
                       for section, options in self.options.items())

    @property
    def columns(self) -> list[str]:
        """That it reads."""
        model = self.options["input_model"]["recipe"].replace("+", ":").split(":")
        return [self.options["input_ms"]["data_column"], *model]

    @property
    def n_visibilities(self) -> int:
        """That it reads."""
        return sum(visit.n_visibilities for visit in self.visits)

    def integrations(self, term: str) -> int:
        """That have one gain of a term; 0 for all of a scan."""
        return int(self.options[term]["time_interval"])


@dataclass(frozen=True)
class Settings:
    """What recipes of a run share.

    Attributes
    ----------
    structure : Structure
    reference_antenna : int
        Whose phases are 0.
    n_directions : int
    interval, direction_interval : float
        That G and K, and J and dE, are solved for, s; 0 for a scan.
    most : int
        Visibilities of a recipe, about, or one field.
    """

    structure: Structure
    reference_antenna: int
    n_directions: int
    interval: float = 0.0
    direction_interval: float = 0.0
    most: int = 2**62


def recipes_of(solve: str, settings: Settings, visits: Sequence[Visit], column: str,
               bright_in: Callable[[Visit], tuple[int, ...]] | None = None,
               prefix: str | None = None, taken_off: tuple[int, ...] = (),
               span_in: Callable[[Visit], str] | None = None) -> list[Recipe]:
    """Recipes of a solve.

    Parameters
    ----------
    solve : {"selfcal", "bright", "joint", "field"}
    settings : Settings
    visits : sequence of Visit
        To be peeled; those without good visibilities are left out.
    column : str
        That is solved on.
    bright_in : callable, optional
        Directions (from 0) that get gains of their own in a visit; default all. In the joint solve
        the others belong to the field.
    prefix : str, optional
        How names begin; default the solve.
    taken_off : tuple of int
        Directions that the column does not hold any more.
    span_in : callable, optional
        What has one gain of a direction in a visit; default the interval of the settings.

    Raises
    ------
    MeasurementSetError
        Windows have neither two nor four correlations, or the weights cannot be given to QuartiCal.
    """
    structure = settings.structure
    weights = _weights(structure)
    check_correlations(structure, visits)
    every = tuple(range(settings.n_directions))
    parts = [(visit, every if bright_in is None else bright_in(visit),
              SPANS[0] if span_in is None else span_in(visit)) for visit in visits if visit.n_good]
    if solve in ("selfcal", "field"):
        parts = [(visit, (), SPANS[0]) for visit, _, _ in parts]
    elif solve == "bright":
        parts = [part for part in parts if part[1]]
    recipes = []
    for kind, has_delay, directions, span, group in _kinds(parts, settings):
        name = f"{prefix or solve}{kind}"
        options = {"input_ms": {"path": structure.path, "data_column": column, **weights,
                                **_selection(group, span)},
                   **_solve(solve, settings, directions, taken_off, has_delay, name, group)}
        for term in set(options) & set(OF_DIRECTIONS):
            if span != SPANS[0]:
                options[term]["time_interval"] = "0"
            options[term]["respect_scan_boundaries"] = span != SPANS[2]
        options["solver"] |= {"reference_antenna": settings.reference_antenna, "threads": 1}
        options["dask"] = {"threads": 1}
        recipes.append(Recipe(name, options, tuple(group), directions, span))
    return recipes


def recipes_in_turn(solve: str, settings: Settings, visits: Sequence[Visit], peaks: Sequence[float],
                    bright_in: Callable[[Visit], tuple[int, ...]] | None = None,
                    prefix: str | None = None, span_in: Callable[[Visit], str] | None = None,
                    ) -> Iterator[tuple[int, tuple[int, ...], list[Recipe]]]:
    """Of each direction, the strongest first: its number, those taken off before, its recipes.

    Their column is CALIBRATED, and RESIDUAL from the second on; other parameters as of `recipes_of`.
    """
    taken: tuple[int, ...] = ()
    for at in sorted(range(len(peaks)), key=lambda i: -peaks[i]):
        yield at, taken, recipes_of(
            solve, settings, visits, RESIDUAL if taken else CALIBRATED,
            functools.partial(_only, at, bright_in), f"{prefix or solve}-{at + 1}", taken, span_in)
        taken += (at,)


def _only(number: int, bright_in: Callable[[Visit], tuple[int, ...]] | None,
          visit: Visit) -> tuple[int, ...]:
    return (number,) if bright_in is None or number in bright_in(visit) else ()


def check_correlations(structure: Structure, visits: Sequence[Visit]) -> None:
    """Refuse windows that have neither two nor four correlations."""
    for visit in visits:
        n_corr = visit.window.shape[1]
        if n_corr not in (2, 4):
            raise MeasurementSetError(f"{structure.path}: spectral window {visit.window.spw.id} "
                                      f"has {n_corr} correlation{'s' * (n_corr > 1)}; peeling "
                                      "wants two (RR and LL, or XX and YY) or four: leave the "
                                      "window out by spw= (--spw)")


def _kinds(parts: Sequence[tuple[Visit, tuple[int, ...], str]], settings: Settings,
           ) -> list[tuple[str, bool, tuple[int, ...], str, list[Visit]]]:
    """What one recipe solves for: how its name ends, whether it has K, directions, span, visits."""
    kinds: dict[tuple[bool, int, tuple[int, ...], str], dict[int, list[Visit]]] = {}
    for visit, directions, span in parts:
        n_chan, n_corr = visit.window.shape
        kinds.setdefault((n_chan > 1, n_corr, directions, span), {}).setdefault(
            visit.field.id, []).append(visit)
    several = len({kind[1] for kind in kinds}) > 1
    found = []
    sets: dict[str, int] = {}
    for (has_delay, n_corr, directions, span), fields in sorted(kinds.items(), reverse=True):
        groups: dict[frozenset[int], list[list[Visit]]] = {}
        for of_field in fields.values():
            groups.setdefault(frozenset(v.window.id for v in of_field), []).append(of_field)
        for group in groups.values():
            for batch in _batches(group, settings.most):
                name = (f"-{n_corr}-correlations" * several + "-one-channel" * (not has_delay)
                        + f"-{span.replace(' ', '-')}" * (span != SPANS[0]))
                sets[name] = sets.get(name, 0) + 1
                found.append((name, sets[name], has_delay, directions, span, batch))
    return [(name + f"-{number}" * (sets[name] > 1), has_delay, directions, span, batch)
            for name, number, has_delay, directions, span, batch in found]


def _batches(fields: Sequence[list[Visit]], most: int) -> list[list[Visit]]:
    """Visits of whole fields, in as few parts as have about so many visibilities at most.

    Fields are dealt out in turn: neighbours see a source alike, and solves of those that see it best take longest.
    """
    sizes = [sum(visit.n_visibilities for visit in of_field) for of_field in fields]
    n = size = 0
    for one in sizes:
        if not n or size + one > most:
            n, size = n + 1, 0
        size += one
    batches: list[list[Visit]] = [[] for _ in range(n)]
    held = [0] * n
    for of_field, one in zip(fields, sizes, strict=True):
        least = held.index(min(held))
        batches[least] += of_field
        held[least] += one
    return batches


def _weights(structure: Structure) -> dict[str, Any]:
    """The weight column, said always: by itself QuartiCal counts all visibilities alike."""
    column = structure.weight_source
    if column in structure.partly_empty:
        raise MeasurementSetError(f"{structure.path}: {column} has no value in some rows, and "
                                  "QuartiCal takes weights from one column; fill it, for instance "
                                  "with CASA's initweights")
    if column == "none":
        return {"weight_column": None, "sigma_column": None}
    name = "sigma_column" if column == "SIGMA" else "weight_column"
    return {"weight_column": None, "sigma_column": None, name: column}


def _selection(visits: Sequence[Visit], span: str) -> dict[str, Any]:
    return {"group_by": ["SCAN_NUMBER"] * (span != SPANS[2]) + ["FIELD_ID", "DATA_DESC_ID"],
            "select_fields": sorted({visit.field.id for visit in visits}),
            "select_ddids": sorted({visit.window.id for visit in visits}),
            "time_chunk": "0", "freq_chunk": "0"}


def _solve(solve: str, settings: Settings, directions: tuple[int, ...],
           taken_off: tuple[int, ...], has_delay: bool, name: str,
           visits: Sequence[Visit]) -> dict[str, Any]:
    """Model, terms and outputs of a solve."""
    columns = bright_columns(settings.n_directions)
    own = [columns[number] for number in directions]
    with_field = "+".join([FIELD_MODEL, *(one for number, one in enumerate(columns)
                                          if number not in (*directions, *taken_off))])
    model = [FIELD_MODEL] if solve == "field" else [with_field, *own]
    terms: dict[str, dict[str, Any]] = {}
    if solve != "bright":
        each = {"time_interval": _integrations(visits, settings.interval), "freq_interval": "0"}
        terms["G"] = {"type": "phase", **each}
        if has_delay:
            terms["K"] = {"type": "delay", **each}
    if own:
        # Direction 0 is the field. Its part of a direction-dependent gain is 1.
        terms["J" if solve == "bright" else "dE"] = {
            "type": "diag_complex", "direction_dependent": True, "pinned_directions": [0],
            "freq_interval": "0",
            "time_interval": _integrations(visits, settings.direction_interval)}
    return {"input_model": {"recipe": ":".join(model), "apply_p_jones": False},
            "solver": {"terms": list(terms), "propagate_flags": False,
                       "iter_recipe": [_ITERATIONS[solve]] * _TURNS[solve] * len(terms)},
            "output": {"flags": False, "overwrite": True, "gain_directory": f"gains/{name}.qc",
                       "log_directory": f"logs/{name}", "log_to_terminal": True},
            "mad_flags": {"enable": False}, **terms}


def _integrations(visits: Sequence[Visit], interval: float) -> str:
    """Integrations of an interval (s), by the shortest of all visits; "0" for a scan."""
    if not interval:
        return "0"
    return str(max(round(interval / min(visit.integration for visit in visits)), 1))
