"""What a user asks of a fit, checked as far as that goes without reading visibilities."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.coordinates import SkyCoord

from uvstack.checks import (
    MOST_RESAMPLINGS,
    check_resamplings,
    check_seed,
    finite_number,
    one_of,
    whole_number,
)
from uvstack.errors import CoordinateError, FitError, OutputError, SelectionError
from uvstack.records import Selection, Structure
from uvstack.sky.coordinates import check_centre, in_frame, parse_direction, sight
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.stokes import combination_of, parse_fit_stokes

#: What can be written to a column, and its default.
COLUMNS = {"model": "MODEL_DATA", "residual": "RESIDUAL_DATA", "calibrated": "CALIBRATED_DATA"}
#: How far from the data nu0 may be: a power law over more means nothing.
_FAR = 10.0
METHODS = ("auto", "exact", "binned")
#: What is estimated of the likelihood.
ESTIMATORS = ("jeffreys", "likelihood")
#: Frames that differ by less than any fit can see.
_ALIKE = ({"J2000", "FK5", "ICRS"}, {"B1950", "FK4", "B1950_VLA"})


@dataclass(frozen=True, eq=False)
class Request:
    """Options of `uvstack.fitting.task.fit`, which explains them."""

    model: str | Sequence[str] = "gaussian"
    circular: bool = True
    var: str | Sequence[str] | None = None
    p_ini: Sequence[float] | None = None
    bounds: Sequence[Sequence[float | None] | None] | None = None
    offset: bool = False
    nu0: float | None = None
    column: str = "DATA"
    stokes: str = "I"
    uvmin: str | float | None = None
    uvmax: str | float | None = None
    field: str | int | None = None
    spw: str | int | None = None
    timerange: str | None = None
    chanwidth: int = 1
    timewidth: int = 1
    per_channel: bool = False
    phase_centre: str | tuple[float, float] | SkyCoord | None = None
    primary_beam: str | PrimaryBeam | None = None
    pointing: str = "auto"
    fixed: str | Sequence[str] | None = None
    fixedvar: str | Sequence[str] | None = None
    scalefix: str | None = None
    amp_gains: Mapping[int | str, str] | None = None
    phase_gains: Mapping[int | str, str] | None = None
    bandwidth_smearing: bool = False
    time_smearing: bool = False
    proper_motion: Sequence[Sequence[float]] | None = None
    uvtaper: str | float | None = None
    weight_power: float = 1.0
    only_flux: bool = False
    scale_errors: bool = True
    bootstrap: int = 0
    bayes: int = 0
    seed: int | None = None
    write: str | None = None
    into: str | None = None
    overwrite_column: bool = False
    method: str = "auto"
    estimator: str = "jeffreys"
    tolerance: float = 1e-3
    most_passes: int = 100

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(field.name for field in dataclasses.fields(cls))

    def check(self) -> None:
        """Raise SelectionError or FitError in one line where an option cannot be what it is."""
        for name in ("chanwidth", "timewidth", "most_passes"):
            whole_number(name, getattr(self, name), 1)
        check_resamplings("bootstrap", self.bootstrap)
        check_seed(self.seed)
        whole_number("bayes", self.bayes, 0, MOST_RESAMPLINGS)
        if self.bayes and (self.bayes < 100 or self.weight_power != 1.0
                           or self.uvtaper is not None):
            raise SelectionError(f"bayes is {self.bayes}; wanted 0, or at least 100 steps and no "
                                 "uvtaper nor weight_power")
        finite_number("tolerance", self.tolerance, 0, 1, above=True)
        finite_number("weight_power", self.weight_power, 0, 4, above=True)
        one_of("method", self.method, METHODS)
        one_of("estimator", self.estimator, ESTIMATORS)
        if self.write is not None:
            one_of("write", self.write, tuple(COLUMNS))
            if self.per_channel:
                raise SelectionError("write and per_channel cannot be combined: the channels have "
                                     "no common model")
        elif self.into is not None:
            raise SelectionError(f"into={self.into!r} says where to write and nothing is written; "
                                 f"give write: {', '.join(COLUMNS)}")
        if self.only_flux and self.p_ini is None and self.var is not None:
            raise FitError("only_flux holds sizes and positions at their starting values; give "
                           "them with p_ini (--p-ini)")
        if self.var is None and (self.amp_gains or self.phase_gains or self.scalefix):
            raise FitError("gains and scalefix want var to be written out, so that their "
                           "parameters are numbered beside those of the model")
        if self.scalefix is not None and self.fixed is None:
            raise FitError("scalefix without anything fixed; give fixed, or leave scalefix out")

    @property
    def target(self) -> str:
        """Column that is written."""
        return self.into or COLUMNS[self.write or "model"]

    def check_target(self, structure: Structure, read: Sequence[str | None],
                     is_remains: bool = False) -> None:
        """Raise OutputError where a column that exists would be replaced and that was not asked for; what a killed run left may be."""
        if self.target in structure.columns and not self.overwrite_column and not is_remains:
            what = "is what is fitted" if self.target in read else "holds what was observed" if self.target == "DATA" else "exists"
            raise OutputError(f"{structure.path}: column {self.target} {what}; choose another "
                              "(--into), or replace it with "
                              "--overwrite-column (overwrite_column=True)")

    def fixed_column(self, structures: Sequence[Structure]) -> str | None:
        """Column among what is fixed, or None: a name that no shape has."""
        names = self._fixed_columns(structures)
        if len(names) > 1:
            raise FitError(f"fixed names {len(names)} columns ({', '.join(names)}); wanted one, "
                           "besides shapes")
        return names[0] if names else None

    def _fixed_columns(self, structures: Sequence[Structure]) -> list[str]:
        columns = {name for structure in structures for name in structure.columns}
        return [name for name in _several(self.fixed) if name in columns or name.isupper()]

    def fixed_shapes(self, structures: Sequence[Structure]) -> tuple[list[str], list[str]]:
        """Shapes among what is fixed, and their numbers."""
        columns = self._fixed_columns(structures)
        shapes = [name for name in _several(self.fixed) if name not in columns]
        numbers = _several(self.fixedvar)
        if numbers and not shapes:
            raise FitError("fixedvar without shapes; give them in fixed, e.g. fixed='delta', "
                           "fixedvar='1.0,0,0.5'")
        return shapes, numbers


def _several(value: str | Sequence[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def directions_of(structures: Sequence[Structure], selections: Sequence[Selection],
                  phase_centre: str | Sequence[float] | SkyCoord | None) -> tuple[
    dict[tuple[int, int], tuple[float, float]], dict[tuple[int, int], tuple[float, float]],
    tuple[float, float]]:
    """Phase centre and pointing of each selected field, (set, field) → (ra, dec) in rad, and the fit's phase centre.

    All in the frame of the first field.

    Raises
    ------
    CoordinateError
        The phase centre cannot be read, or fields have frames that turn against each other.
    """
    fields = [(i, f)
              for i, (structure, selection) in enumerate(zip(structures, selections, strict=True))
              if selection.data_description_ids for f in structure.fields
              if f.id in selection.field_ids]
    frame = fields[0][1].frame
    directions: dict[tuple[int, int], tuple[float, float]] = {}
    pointings: dict[tuple[int, int], tuple[float, float]] = {}
    for i, one in fields:
        if one.frame != frame and not any({one.frame.upper(), frame.upper()} <= alike
                                          for alike in _ALIKE):
            raise CoordinateError(f"{structures[i].path}: field {one.name} is in {one.frame}, the "
                                  f"first in {frame}, whose (u, v, w) have "
                                  "other axes; fit them apart, or bring them to one frame")
        for found, direction in ((directions, (one.ra, one.dec)), (pointings, one.beam_centre)):
            found[i, one.id] = direction if one.frame == frame else in_frame(
                *direction, one.frame, frame)
    if phase_centre is None:
        return directions, pointings, next(iter(directions.values()))
    return directions, pointings, parse_direction(phase_centre, frame)


def check_phase_centre(structures: Sequence[Structure], selections: Sequence[Selection],
                       directions: Mapping[tuple[int, int], tuple[float, float]], reference: tuple[float, float]) -> None:  # fmt: skip
    """Refuse or doubt a phase centre that no antenna looks at."""
    names = {(i, field.id): f"field {field.name} of {one.path}" for i, one in enumerate(structures)
             for field in one.fields}
    lowest = min(float(one.data_descriptions[d].spw.frequency.min())
                 for one, selection in zip(structures, selections, strict=True)
                 for d in selection.data_description_ids)
    check_centre(reference, {names[key]: at for key, at in directions.items()},
                 sight(np.concatenate([structure.dish_diameters for structure in structures]),
                       lowest))


def with_stokes(structure: Structure, selection: Selection, stokes: str) -> Selection:
    """The selection without spectral windows whose correlations do not give this Stokes parameter."""
    name = parse_fit_stokes(stokes)
    able = frozenset(d.id for d in structure.used(selection)
                     if combination_of(name, d.correlations) is not None)
    return replace(selection, data_description_ids=able,
                   field_ids=frozenset(f for f, d in selection.visits if d in able))


def antenna_numbers(structures: Sequence[Structure]) -> tuple[tuple[np.ndarray, ...],
                                                              tuple[str, ...]]:
    """Numbers of each set's antennas among those of all sets, which go by their names, and these names."""
    names: dict[tuple[str, int], int] = {}
    numbers = []
    for structure in structures:
        seen: dict[str, int] = {}
        of_set = []
        for name in structure.antenna_names:
            seen[name] = seen.get(name, -1) + 1
            of_set.append(names.setdefault((name, seen[name]), len(names)))
        numbers.append(np.array(of_set, np.int64))
    return tuple(numbers), tuple(name for name, _ in names)


def shortened(names: Sequence[str], most: int = 30) -> str:
    """Names with commas; of very many the first and the last."""
    return ", ".join(names if len(names) <= most else [*names[: most - 5], "…", *names[-4:]])


def gains_by_number(what: str, gains: Mapping[int | str, str] | None,
                    names: Sequence[str]) -> dict[int, str] | None:
    """Gains by number of antenna from gains by name or number.

    Raises
    ------
    FitError
        There is no such antenna.
    """
    if gains is None:
        return None
    out = {}
    for key, text in gains.items():
        if str(key) in names:
            number = list(names).index(str(key))
        elif str(key).isdigit() and int(key) < len(names):
            number = int(key)
        else:
            close = difflib.get_close_matches(str(key), names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise FitError(f"{what}: there is no antenna {key}{hint}; there are {len(names)}: "
                           f"{shortened(names)}, or their numbers from 0")
        out[number] = str(text)
    return out


def check_nu0(nu0: float, low: float, high: float) -> None:
    """Raise FitError where a reference frequency is far from the data (Hz): it is in the wrong unit."""
    if not low / _FAR <= nu0 <= high * _FAR:
        raise FitError(f"nu0 is {nu0:g} Hz and the data are from {low / 1e9:.6g} to "
                       f"{high / 1e9:.6g} GHz; wanted a frequency near them: "
                       f"--nu0 {low / 1e9:.3g}GHz, or a number in Hz")
