"""QuartiCal's recipes for peeling.

Three solves, each from the uncorrected data: `bright`, gains J of the bright directions alone, from
which the first model of the field is made; `joint`, G and K of the field and dE of each bright
direction together, of which the bright directions alone are taken off; and `field`, G and K anew on
what is left, whose corrected data are the peeled data. The second and third are repeated with each
better model of the field. The corrected residual of the joint solve is not used: fluxes near the
bright source came out 9 % low in it, and 0.3 to 1.3 % low after the third (simulated mosaic of four
pointings).

Gains are one a scan, field and window. K is left out of windows of one channel, which cannot tell a
delay from a phase, so that such windows have recipes of their own; so have those with another
number of correlations, and fields of which other windows have good visibilities: QuartiCal takes
every window chosen of every field chosen, and where all is flagged its gains are NaN.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peel.visits import Visit
from uvstack.errors import MeasurementSetError
from uvstack.records import Structure

#: What is written in the end, and models and residual on the way.
PEELED, FIELD_MODEL, RESIDUAL = "PEELED_DATA", "PEEL_FIELD", "PEEL_RESIDUAL"
#: Solves of a run that are done once, and those of each round.
ONCE, EACH_ROUND = ("bright",), ("joint", "field")
_ITERATIONS = 25


def bright_columns(n_directions: int) -> list[str]:
    """Columns of the models of bright directions."""
    return [f"PEEL_BRIGHT_{number + 1}" for number in range(n_directions)]


@dataclass(frozen=True)
class Recipe:
    """A run of QuartiCal.

    Attributes
    ----------
    name : str
        Solve, and where there are several kinds of windows, which.
    options : dict
        Section → option → value.
    n_visibilities : int
        That it reads.
    """

    name: str
    options: dict[str, dict[str, Any]]
    n_visibilities: int

    @property
    def yaml(self) -> str:
        """As `goquartical` reads it; every value is JSON, which is YAML too."""
        return "".join(f"{section}:\n" + "".join(f"  {name}: {json.dumps(value)}\n"
                                                 for name, value in options.items())
                       for section, options in self.options.items())


def recipes_of(structure: Structure, visits: Sequence[Visit], column: str, n_directions: int,
               reference_antenna: int, threads: int = 1) -> list[Recipe]:
    """All recipes of a run, in the order of their solves.

    Parameters
    ----------
    structure : Structure
    visits : sequence of Visit
        To be peeled; those without good visibilities are left out.
    column : str
        Of the data.
    n_directions : int
    reference_antenna : int
        Whose phases are 0.
    threads : int
        Of each run.

    Raises
    ------
    MeasurementSetError
        Windows have neither two nor four correlations, or the weights cannot be given to QuartiCal.
    """
    weights = _weights(structure)
    for visit in visits:
        n_corr = visit.window.shape[1]
        if n_corr not in (2, 4):
            raise MeasurementSetError(f"{structure.path}: spectral window {visit.window.spw.id} "
                                      f"has {n_corr} correlation{'s' * (n_corr > 1)}; peeling "
                                      "wants two (RR and LL, or XX and YY) or four: leave the "
                                      "window out by spw= (--spw)")
    recipes = []
    for solve in (*ONCE, *EACH_ROUND):
        for kind, has_delay, of_kind in _kinds([visit for visit in visits if visit.n_good]):
            options = {"input_ms": {"path": structure.path, "data_column": column, **weights,
                                    **_selection(of_kind)},
                       **_solve(solve, n_directions, has_delay, f"{solve}{kind}")}
            if solve == "field":
                options["input_ms"]["data_column"] = RESIDUAL
            options["solver"] |= {"reference_antenna": reference_antenna, "threads": 1}
            options["dask"] = {"threads": threads}
            recipes.append(Recipe(f"{solve}{kind}", options,
                                  sum(visit.n_visibilities for visit in of_kind)))
    return recipes


def _kinds(visits: Sequence[Visit]) -> list[tuple[str, bool, list[Visit]]]:
    """What can be solved by one recipe: how its name ends, whether it has K, and the visits."""
    kinds: dict[tuple[bool, int], dict[int, list[Visit]]] = {}
    for visit in visits:
        n_chan, n_corr = visit.window.shape
        kinds.setdefault((n_chan > 1, n_corr), {}).setdefault(visit.field.id, []).append(visit)
    several = len({n_corr for _, n_corr in kinds}) > 1
    found = []
    for (has_delay, n_corr), fields in sorted(kinds.items(), reverse=True):
        groups: dict[frozenset[int], list[Visit]] = {}
        for of_field in fields.values():
            groups.setdefault(frozenset(v.window.id for v in of_field), []).extend(of_field)
        for number, group in enumerate(groups.values()):
            name = f"-{n_corr}-correlations" * several + "-one-channel" * (not has_delay)
            found.append((name + f"-{number + 1}" * (len(groups) > 1), has_delay, group))
    return found


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


def _selection(visits: Sequence[Visit]) -> dict[str, Any]:
    return {"group_by": ["SCAN_NUMBER", "FIELD_ID", "DATA_DESC_ID"],
            "select_fields": sorted({visit.field.id for visit in visits}),
            "select_ddids": sorted({visit.window.id for visit in visits}),
            "time_chunk": "0", "freq_chunk": "0"}


def _solve(solve: str, n_directions: int, has_delay: bool, name: str) -> dict[str, Any]:
    """Model, terms and outputs of a solve."""
    bright = bright_columns(n_directions)
    whole = {"time_interval": "0", "freq_interval": "0"}
    field: dict[str, dict[str, Any]] = {"G": {"type": "phase", **whole}}
    if has_delay:
        field["K"] = {"type": "delay", **whole}
    # Direction 0 is the field. Its part of a direction-dependent gain is 1.
    own = {"type": "diag_complex", "direction_dependent": True, "pinned_directions": [0], **whole}
    terms: dict[str, dict[str, Any]]
    if solve == "bright":
        # All directions are bright here, so none is pinned; a term of one direction needs no other.
        terms = {"J": {**own, "direction_dependent": n_directions > 1, "pinned_directions": []}}
        model = bright
        product, column, subtracted = "residual", RESIDUAL, list(range(n_directions))
    elif solve == "joint":
        terms, model = {**field, "dE": own}, [FIELD_MODEL, *bright]
        product, column, subtracted = "residual", RESIDUAL, list(range(1, n_directions + 1))
    else:
        terms, model = field, [FIELD_MODEL]
        # Nothing is taken off corrected data, and none at all would be read as all.
        product, column, subtracted = "corrected_data", PEELED, [0]
    return {"input_model": {"recipe": ":".join(model), "apply_p_jones": False},
            "solver": {"terms": list(terms), "iter_recipe": [_ITERATIONS] * 2 * len(terms),
                       "propagate_flags": False},
            "output": {"products": [product], "columns": [column],
                       "subtract_directions": subtracted, "flags": False, "overwrite": True,
                       "apply_p_jones_inv": False, "gain_directory": f"gains/{name}.qc",
                       "log_directory": f"logs/{name}", "log_to_terminal": True},
            "mad_flags": {"enable": False}, **terms}
