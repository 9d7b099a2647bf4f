"""The model: shapes, their variables as expressions in the parameters, and gains.

Its numbers at given parameters.

A user writes RA and Dec in arcsec to the east and north of the phase centre (direction cosines over
1″), flux in Jy, major and sigma in arcsec, position angles in degrees; inside everything is in Jy
and rad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.errors import FitError
from uvstack.fitting.model.data import Attenuation
from uvstack.fitting.model.expressions import Expressions, parse_variables
from uvstack.fitting.model.kernels import N_NUMBERS
from uvstack.fitting.model.shapes import Shape, shape

#: What the numbers of a component are multiplied with: RA, Dec, flux, major, ratio, PA, extra.
UNITS = np.array([ARCSEC, ARCSEC, 1.0, ARCSEC, 1.0, np.pi / 180, ARCSEC])
RA, DEC, FLUX, MAJOR, RATIO, PA, EXTRA = range(N_NUMBERS)
#: Step of the derivative of a primary beam, rad: 0.2″.
_BEAM_STEP = 1e-6


@dataclass(frozen=True, eq=False)
class Model:
    """Components and gains as functions of the parameters p.

    Attributes
    ----------
    shapes : tuple of Shape
    variables : tuple of Expressions
        Of each component.
    n_parameters : int
    nu0 : float
        Hz, the nu0 of the expressions.
    scale : Expressions or None
        Factor of the fixed visibilities.
    amplitude_gains, phase_gains : mapping of antenna to Expressions
        |g| and the phase of g (rad) of antennas; the others have 1 and 0.
    names : tuple of str
        What the parameters are called.
    """

    shapes: tuple[Shape, ...]
    variables: tuple[Expressions, ...]
    n_parameters: int
    nu0: float
    scale: Expressions | None = None
    amplitude_gains: Mapping[int, Expressions] = field(default_factory=dict)
    phase_gains: Mapping[int, Expressions] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def codes(self) -> np.ndarray:
        """Code of each component's shape, (comp,)."""
        return np.array([s.code for s in self.shapes], np.int64)

    @property
    def has_gains(self) -> bool:
        """Whether antennas have gains."""
        return bool(self.amplitude_gains or self.phase_gains)

    @property
    def depends_on_time(self) -> bool:
        """Whether any expression holds t."""
        return any(e.depends_on_time for e in self.all_expressions)

    @property
    def all_expressions(self) -> list[Expressions]:
        """Variables, scale and gains."""
        gains = [*self.amplitude_gains.values(), *self.phase_gains.values()]
        return [*self.variables, *([self.scale] if self.scale else []), *gains]

    @property
    def fluxes(self) -> np.ndarray:
        """Which parameters (par,) stand in fluxes and the scale alone, and the visibilities are linear in them together."""
        out = np.zeros(self.n_parameters, np.bool_)
        numbers = [(variables, k) for variables in self.variables for k in range(len(variables))]
        amplitudes = [(variables, k) for variables, k in numbers
                      if k == FLUX] + ([(self.scale, 0)] if self.scale else [])
        for variables, k in amplitudes:
            out[list(variables.used_by(k))] = True
        for variables, k in numbers:
            if k != FLUX:
                out[list(variables.used_by(k))] = False
        for gain in (*self.amplitude_gains.values(), *self.phase_gains.values()):
            out[list(gain.used)] = False
        chosen = set(np.flatnonzero(out).tolist())
        for variables, k in amplitudes:
            if not variables.linear_in(k, chosen):
                out[list(variables.used_by(k))] = False
        return out

    @property
    def is_linear(self) -> bool:
        """Whether the visibilities are linear in all parameters together."""
        return bool(self.fluxes.all())


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers of the components in rad and Jy, and their slopes.

    Attributes
    ----------
    values : ndarray (time, comp, 7, chan)
    slopes : ndarray (time, comp, 7, par, chan)
        Derivatives by the parameters.
    scale : ndarray (time, chan)
    scale_slopes : ndarray (time, par, chan)
    """

    values: np.ndarray
    slopes: np.ndarray
    scale: np.ndarray
    scale_slopes: np.ndarray


def make_model(
    model: str | Sequence[str], var: str | Sequence[str], nu0: float, *, scale: str | None = None,
    amplitude_gains: Mapping[int, str] | None = None, phase_gains: Mapping[int, str] | None = None, names: Sequence[str] = (),
) -> Model:  # fmt: skip
    """Model of names and texts, read and checked.

    Parameters
    ----------
    model : str or sequence of str
        Shape of each component.
    var : str or sequence of str
        Its variables: "p[0],p[1],p[2],p[3],1,0" for RA, Dec, flux, major, ratio, PA; the first
        three for a delta.
    nu0 : float
        Hz.
    scale : str, optional
        Factor of the fixed visibilities.
    amplitude_gains, phase_gains : mapping of int to str, optional
        By antenna; phases in rad.
    names : sequence of str
        Of the parameters.

    Raises
    ------
    FitError
    """
    models = [model] if isinstance(model, str) else list(model)
    texts = [var] if isinstance(var, str) else list(var)
    if len(models) != len(texts):
        raise FitError(f"{len(models)} components ({', '.join(models)}) and {len(texts)} lists of "
                       "variables; wanted one for each")
    shapes = tuple(shape(name) for name in models)
    variables = tuple(parse_variables(text, s.n_parameters,
                                      f"var of the {s.name}"
                                      + (f" (component {i})" if len(shapes) > 1 else ""))
                      for i, (s, text) in enumerate(zip(shapes, texts, strict=True)))
    parsed_scale = parse_variables(scale, 1,
                                   "the scale of the fixed model") if scale is not None else None
    gains = [{int(a): parse_variables(text, 1, f"{kind} gain of antenna {a}")
              for a, text in (given or {}).items()}
             for kind, given in (("amplitude", amplitude_gains), ("phase", phase_gains))]
    if any(antenna < 0 for each in gains for antenna in each):
        raise FitError(f"gains of antennas {sorted({*gains[0], *gains[1]})}; wanted numbers of "
                       "antennas from 0")
    made = Model(shapes, variables, 0, float(nu0), parsed_scale, gains[0], gains[1], tuple(names))
    n = max((e.n_parameters for e in made.all_expressions), default=0)
    used = {i for e in made.all_expressions for i in e.used}
    if n == 0:
        raise FitError("nothing is to be fitted: no expression holds a parameter p[0], p[1] …")
    missing = sorted(set(range(n)) - used)
    if missing:
        raise FitError(f"p[{missing[0]}] occurs nowhere although p[{n - 1}] does; number the "
                       "parameters without gaps")
    if names and len(names) != n:
        raise FitError(f"{len(names)} names for {n} parameters; wanted one each, or none")
    return Model(shapes, variables, n, float(nu0), parsed_scale, gains[0], gains[1],
                 tuple(names) or tuple(f"p[{i}]" for i in range(n)))


def numbers_at(model: Model, p: np.ndarray, frequency: np.ndarray, time: np.ndarray,
               attenuation: Attenuation | None = None) -> Numbers:
    """Numbers of all components and their slopes at parameters p (par,), channels (chan,) in Hz and times (time,) in s.

    Raises
    ------
    FitError
        A number is not finite; the message names it.
    """
    values = np.zeros((time.size, len(model.shapes), N_NUMBERS, frequency.size))
    slopes = np.zeros((time.size, len(model.shapes), N_NUMBERS, model.n_parameters, frequency.size))
    values[:, :, RATIO] = 1.0
    for c, variables in enumerate(model.variables):
        found, gradient = _evaluated(variables, p, frequency, model.nu0, time)
        n = len(variables)
        values[:, c, :n] = np.moveaxis(found, 1, 0) * UNITS[:n, None]
        slopes[:, c, :n] = gradient.transpose(2, 0, 1, 3) * UNITS[:n, None, None]
    if (values[:, :, RA] ** 2 + values[:, :, DEC] ** 2 >= 1.0).any():
        raise FitError("a component has moved 90° or more from the phase centre; give bounds for "
                       "its position")
    if attenuation is not None:
        _attenuate(values, slopes, frequency, attenuation)
    scale, scale_slopes = np.ones((time.size, frequency.size)), np.zeros(
        (time.size, model.n_parameters, frequency.size))
    if model.scale is not None:
        found, gradient = _evaluated(model.scale, p, frequency, model.nu0, time)
        scale, scale_slopes = found[0], gradient[0].transpose(1, 0, 2)
    return Numbers(values, slopes, scale, np.ascontiguousarray(scale_slopes))


def gains_at(model: Model, p: np.ndarray, frequency: np.ndarray, time: np.ndarray,
             n_ant: int) -> tuple[np.ndarray, np.ndarray]:
    """Gains (time, ant, chan) and their logarithmic slopes (time, ant, chan, par), complex."""
    logarithm = np.zeros((time.size, n_ant, frequency.size), np.complex128)
    slope = np.zeros((time.size, n_ant, frequency.size, model.n_parameters), np.complex128)
    for gains, factor in ((model.amplitude_gains, 1.0), (model.phase_gains, 1j)):
        for antenna, expression in gains.items():
            if antenna >= n_ant:
                continue
            value, gradient = _evaluated(expression, p, frequency, model.nu0, time)
            value, gradient = value[0], gradient[0].transpose(1, 2, 0)
            if factor == 1.0:
                if not (value > 0).all():
                    raise FitError(f"the amplitude gain of antenna {antenna} is {value.min():g}; "
                                   "it must stay positive: give bounds")
                value, gradient = np.log(value), gradient / value[..., None]
            logarithm[:, antenna] += factor * value
            slope[:, antenna] += factor * gradient
    return np.exp(logarithm), slope


def _attenuate(values: np.ndarray, slopes: np.ndarray, frequency: np.ndarray,
               attenuation: Attenuation) -> None:
    """Multiply fluxes by the beam at their component, in place."""
    l, m = values[:, :, RA], values[:, :, DEC]
    power = attenuation(l, m, frequency)
    by_l = (attenuation(l + _BEAM_STEP, m, frequency)
            - attenuation(l - _BEAM_STEP, m, frequency)) / (2 * _BEAM_STEP)
    by_m = (attenuation(l, m + _BEAM_STEP, frequency)
            - attenuation(l, m - _BEAM_STEP, frequency)) / (2 * _BEAM_STEP)
    flux = values[:, :, FLUX]
    slopes[:, :, FLUX] = power[:, :, None] * slopes[:, :, FLUX] + flux[:, :, None] * (
        by_l[:, :, None] * slopes[:, :, RA] + by_m[:, :, None] * slopes[:, :, DEC])
    values[:, :, FLUX] = flux * power


def _evaluated(expressions: Expressions, p: np.ndarray, frequency: np.ndarray, nu0: float,
               time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (expr, time, chan) and slopes (expr, par, time, chan).

    a FitError names the first that is not finite.
    """
    values, slopes = expressions.values_and_gradients(p, frequency, nu0, time)
    for what, bad in (("", ~np.isfinite(values)),
                      (", or its derivative,", ~np.isfinite(slopes).all(axis=1))):
        if bad.any():
            k, t, chan = np.argwhere(bad)[0]
            at = np.array2string(np.asarray(p), precision=6, max_line_width=200)
            found = values[k, t, chan] if not what else "not finite"
            raise FitError(f"{expressions.describe(int(k))}{what} is {found} at "
                           f"{frequency[chan] / 1e9:.6g} GHz and p = {at}; "
                           "other starting values or bounds avoid that")
    return values, slopes
