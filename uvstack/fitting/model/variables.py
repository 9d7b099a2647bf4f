"""The variables of a model where the user writes none, their names, units and starting values.

Proper motion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model.model import ARCSEC, Model
from uvstack.fitting.model.shapes import Shape, shape

_YEAR = 365.25 * 86400.0
_UNITS = {"flux": "Jy", "ra": "arcsec", "dec": "arcsec", "fwhm": "arcsec", "diameter": "arcsec",
          "ratio": "", "position_angle": "deg", "sigma": "arcsec"}
#: Where an elliptical source starts: at a ratio of 1 the position angle has no effect.
_RATIO = 0.7
Bounds = list[tuple[float | None, float | None] | None]


@dataclass(frozen=True)
class Variables:
    """Expressions of all components, and what their parameters are.

    Attributes
    ----------
    var : tuple of str
        One text for each component.
    names : tuple of str
        Of the parameters; empty where the user wrote the expressions.
    bounds : list or None
        Of each parameter; None where the user wrote the expressions.
    kinds : tuple of str
        What each parameter is: "flux", "fwhm" …
    """

    var: tuple[str, ...]
    names: tuple[str, ...] = ()
    bounds: Bounds | None = None
    kinds: tuple[str, ...] = field(default=())

    def start(self, flux: float, size: float) -> list[float]:
        """Starting values from a flux (Jy) and a size (rad).

        The flux is shared by the components, their sizes differ.
        """
        n = max(self.kinds.count("flux"), 1)
        values = {"flux": flux / n, "ratio": _RATIO, "position_angle": 30.0,
                  "sigma": 0.1 * size / ARCSEC}
        out, component = [], -1
        for kind in self.kinds:
            component += kind == self.kinds[0]
            out.append(values.get(kind,
                                  size / ARCSEC * 2.0**component if kind in ("fwhm", "diameter")
                                  else 0.0))
        return out


def default_variables(models: Sequence[str], circular: bool, offset: bool) -> Variables:
    """Variables of components that are fitted as they are.

    Centred, unless their positions are to be free.

    Parameters
    ----------
    models : sequence of str
    circular : bool
        Ratio 1.
    offset : bool
        RA and Dec are fitted.
    """
    shapes = [shape(name) for name in models]
    var: list[str] = []
    names: list[str] = []
    kinds: list[str] = []
    for i, one in enumerate(shapes):
        texts = []
        for kind, value in _described(one, circular, offset):
            if value is None:
                texts.append(f"p[{len(names)}]")
                names.append(kind + (f"_{i + 1}" if len(shapes) > 1 else ""))
                kinds.append(kind)
            else:
                texts.append(value)
        var.append(",".join(texts))
    bounds: Bounds = [(0.0, None) if kind in ("fwhm", "diameter", "ratio", "sigma") else None
                      for kind in kinds]
    return Variables(tuple(var), tuple(names), bounds, tuple(kinds))


def _described(one: Shape, circular: bool, offset: bool) -> list[tuple[str, str | None]]:
    """What each variable of a shape is called, and its fixed value, or None where it is fitted."""
    position = None if offset else "0"
    found: list[tuple[str, str | None]] = [("ra", position), ("dec", position), ("flux", None)]
    if one.extended:
        found += [(one.major.lower() or "diameter", None), ("ratio", "1" if circular else None),
                  ("position_angle", "0" if circular else None)]
    return found + ([("sigma", None)] if one.has_extra else [])


def kinds_of(model: Model) -> tuple[str, ...]:
    """What each parameter is, "flux", "ra" …, if it stands by itself, as "p[2]", wherever it stands, and always for the same; else ""."""
    found: list[set[str]] = [set() for _ in range(model.n_parameters)]
    for one, variables in zip(model.shapes, model.variables, strict=True):
        words = [kind for kind, _ in _described(one, False, True)]
        for k, (kind, part) in enumerate(zip(words, variables.parts, strict=True)):
            plain = re.fullmatch(r"p\s*\[\s*\d+\s*\]", part.strip()) is not None
            for i in variables.used_by(k):
                found[i].add(kind if plain else "")
    for expressions in model.all_expressions[len(model.variables) :]:
        for i in expressions.used:
            found[i].add("")
    return tuple(next(iter(kinds)) if len(kinds) == 1 else "" for kinds in found)


def unit_of(kind: str) -> str:
    """Unit of a parameter of this kind, "" where there is none or it is not known."""
    return _UNITS.get(kind, "")


def with_proper_motion(var: Sequence[str], motion: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """Expressions whose RA and Dec move.

    Parameters
    ----------
    var : sequence of str
        RA, Dec and more of each component.
    motion : sequence of (float, float)
        arcsec a year to the east and north, of each component.

    Raises
    ------
    FitError
        There is not one pair of finite numbers for each component.
    """
    from uvstack.fitting.model.expressions import parse_variables

    pairs = np.atleast_2d(np.asarray(motion, np.float64))
    if pairs.shape != (len(var), 2) or not np.isfinite(pairs).all():
        raise FitError(f"proper_motion has shape {pairs.shape} for {len(var)} components; wanted "
                       "RA and Dec (arcsec a year) of each")
    out = []
    for text, pair in zip(var, pairs, strict=True):
        parts = list(parse_variables(text, None, "var").parts)
        for k in range(2):
            if pair[k] != 0:
                parts[k] = f"({parts[k]})+{float(pair[k] / _YEAR)!r}*t"
        out.append(",".join(parts))
    return tuple(out)


def fixed_components(models: Sequence[str], var: Sequence[str], nu0: float) -> Model:
    """Model of components without parameters.

    Raises
    ------
    FitError
        A shape is unknown, the numbers do not fit it, or there is a parameter among them.
    """
    from uvstack.fitting.model.expressions import parse_variables

    if len(models) != len(var):
        raise FitError(f"{len(models)} fixed components ({', '.join(models)}) and {len(var)} "
                       "lists of numbers in fixedvar; wanted one each")
    shapes = tuple(shape(name) for name in models)
    variables = tuple(parse_variables(text, s.n_parameters, f"fixedvar of the {s.name}")
                      for s, text in zip(shapes, var, strict=True))
    for one in variables:
        if one.used:
            raise FitError(f"fixedvar holds the parameter p[{one.used[0]}]; fixed components have "
                           "numbers alone: put it into model and var")
    return Model(shapes, variables, 0, float(nu0))


def only_fluxes(model: Model, start: Sequence[float], bounds: Sequence | None) -> Bounds:
    """Bounds that hold every parameter at its start but those that fluxes alone depend on.

    Raises
    ------
    FitError
        There are none.
    """
    from uvstack.fitting.model.expressions import parse_variables
    from uvstack.fitting.model.model import FLUX

    in_flux: set[int] = set()
    elsewhere: set[int] = {i for gains in (model.amplitude_gains, model.phase_gains)
                           for e in gains.values() for i in e.used}
    for variables in model.variables:
        for k, part in enumerate(variables.parts):
            (in_flux if k == FLUX else elsewhere).update(parse_variables(part, 1, "var").used)
    if model.scale is not None:
        in_flux.update(model.scale.used)
    free = in_flux - elsewhere
    if not free:
        raise FitError("only_flux: no parameter occurs in fluxes alone; write one into var, or "
                       "leave only_flux out")
    given: Bounds = list(bounds) if bounds is not None else [None] * model.n_parameters
    return [given[i] if i in free else (float(start[i]), float(start[i]))
            for i in range(model.n_parameters)]
