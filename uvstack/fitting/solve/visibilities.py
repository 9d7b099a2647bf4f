"""Fit of a model to arrays of visibilities: what all other ways to fit come down to.

Large data are fitted on a sample of their rows first, so that only two or three passes go over all
of them, provided that all fluxes stand 8 errors out of the sample: a fit of fainter ones may have
settled on a peak of its noise. The errors are those of the inverse normal matrix, with real and
imaginary part as two measurements of variance 1/weight each.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.units import Quantity

from uvstack.checks import one_of
from uvstack.errors import FitError, UvstackWarning
from uvstack.fitting.data.preparation import Piece
from uvstack.fitting.model.data import FitData, checked_data
from uvstack.fitting.model.model import FLUX, Model, make_model, numbers_at
from uvstack.fitting.model.normal import NormalEquations, normal_equations
from uvstack.fitting.options import ESTIMATORS
from uvstack.fitting.result import FitResult
from uvstack.fitting.solve.binned import (
    LARGEST_ERROR,
    N_BINS,
    Bins,
    binning_error,
    bins_of,
    can_bin,
    is_binnable,
)
from uvstack.fitting.solve.binned import normal_equations as binned_normal_equations
from uvstack.fitting.solve.branch import Branch, branch_of, solve_branch, without_effect
from uvstack.fitting.solve.intervals import with_intervals
from uvstack.fitting.solve.penalty import penalised
from uvstack.fitting.solve.search import parts_of
from uvstack.fitting.solve.solver import Passes, Solution, covariance_of
from uvstack.fitting.solve.start import (
    Starts,
    gathered,
    is_much_better,
    longest,
    searchable,
    starts_in_bins,
    starts_in_data,
    thinned,
)
from uvstack.sky.frequency import parse_frequency

#: Visibilities of the sample that large data are fitted on first.
_SAMPLE = 100_000
#: Fluxes in units of their errors in the sample from which on its fit is a starting point.
_CLEAR = 8.0
#: Starts from which the data themselves are fitted: so many at most, if χ² is so near that of the
#: best, in units of the scatter and as a share of what the best takes off χ²; and from which
#: difference on another minimum is another one.
_MOST_FITS, _CLOSE, _CLOSE_SHARE, _APART = 4, 10.0, 0.003, 0.1
#: Visibilities a bin below which binning is not worth its while.
_FEW = 4


def fit_visibilities(
    uvw: np.ndarray, frequency: np.ndarray, vis: np.ndarray, weight: np.ndarray | None = None, *,
    model: str | Sequence[str] = ("Gaussian",), var: str | Sequence[str] = ("p[0],p[1],p[2],p[3],1,0",),
    p_ini: Sequence[float] | None = None, bounds: Sequence[Sequence[float | None] | None] | None = None,
    nu0: float | str | Quantity | None = None,
    fixed: np.ndarray | None = None, scalefix: str | None = None, time: np.ndarray | None = None, antenna1: np.ndarray | None = None,
    antenna2: np.ndarray | None = None, amp_gains: Mapping[int, str] | None = None, phase_gains: Mapping[int, str] | None = None,
    width: np.ndarray | None = None, names: Sequence[str] = (), tolerance: float = 1e-3, most_passes: int = 100,
    scale_errors: bool = False, method: str = "auto", estimator: str = "jeffreys",
) -> FitResult:  # fmt: skip
    """Result of fitting components to visibilities.

    Parameters
    ----------
    uvw : ndarray (row, 3)
        Metres, as in a measurement set.
    frequency : ndarray (chan,)
        Hz.
    vis : ndarray (row, chan) complex
        Jy, for example Stokes I.
    weight : ndarray (row, chan), optional
        1/Jy²: inverse variance of the real and of the imaginary part; 0 where flagged. Default 1.
    model : sequence of str
        Shapes: see `uvstack.fitting.model.shapes`.
    var : sequence of str
        RA, Dec (arcsec east and north), flux (Jy), major (arcsec), ratio, PA (deg) and the extra
        number of each component as expressions in p[0], p[1], …, nu, nu0 and t: see
        `uvstack.fitting.model.expressions`.
    p_ini : sequence of float, optional
        Default: the best of a search, where each number of a component is constant or a parameter
        of its own: see `uvstack.fitting.solve.search`. From given values alone the fit begins; if a
        quick look finds a much lower χ² elsewhere, a warning says so.
    bounds : sequence, optional
        (low, high) or None for each parameter; either may be None.
    nu0 : float, str or Quantity, optional
        A number is in Hz, "1.4GHz"; default the first channel.
    fixed : ndarray (row, chan) complex, optional
        Visibilities that are added to the model.
    scalefix : str, optional
        Expression they are multiplied with.
    time : ndarray (row,), optional
        s from any origin, such as MJD s; the t of expressions is counted from the first.
    antenna1, antenna2 : ndarray (row,) int, optional
        For gains.
    amp_gains, phase_gains : mapping of int to str, optional
        Expressions of |g| and of the phase of g (rad) by number of antenna; V_pq is multiplied by
        g_p g_q*.
    width : ndarray (chan,), optional
        Hz; the model is averaged over the channels.
    names : sequence of str, optional
        Of the parameters, for messages and results.
    tolerance : float
        In units of the parameters' errors.
    most_passes : int
    scale_errors : bool
        Multiply errors by the square root of the reduced χ²: for weights that are only relative.
    method : {"auto", "exact", "binned"}
        Whether centred, round models are fitted to sums in bins of uv distance (see
        `uvstack.fitting.solve.binned`): "auto" where that changes no parameter by more than 0.003
        of its error, "exact" never, "binned" whatever it changes.
    estimator : {"jeffreys", "likelihood"}
        Sizes at the maximum of likelihood × √F, which at low signal to noise
        is nearer to the truth (see `uvstack.fitting.solve.penalty`), or of the likelihood.

    Raises
    ------
    FitError
        In one line: a model that cannot be read, data without weight, fewer data than parameters,
        starting values outside the bounds, a model that is not finite.

    Examples
    --------
    >>> uvstack.fit_visibilities(uvw, frequency, vis, weight, model="gaussian")
    """
    if time is not None and np.size(time):
        time = np.asarray(time, np.float64) - np.min(time)
    others = {"fixed": fixed, "time": time, "antenna1": antenna1, "antenna2": antenna2,
              "width": width}
    data = checked_data(uvw, frequency, vis, weight,
                        **{name: np.asarray(value) for name, value in others.items()
                           if value is not None})
    if scalefix is not None and fixed is None:
        raise FitError("scalefix without fixed visibilities; give fixed, or leave scalefix out")
    _check_antennas(data, {"amp_gains": amp_gains, "phase_gains": phase_gains})
    made = make_model(model, var,
                      float(data.frequency[0]) if nu0 is None else parse_frequency(
                          nu0, "nu0", lowest=0.0), scale=scalefix, amplitude_gains=amp_gains,
                      phase_gains=phase_gains, names=names)
    bins = _bins(data, made, method)
    kept: dict[str, Any] = {"tolerance": tolerance, "most_passes": most_passes,
                            "scale_errors": scale_errors, "estimator": estimator}
    few = _sample(data)
    sample: Passes | None = None
    if few is not None:
        sample = lambda p: normal_equations(few, made, p)  # noqa: E731

    def exact(p: np.ndarray) -> NormalEquations:
        return normal_equations(data, made, p)

    def fitted(start: Sequence[float] | np.ndarray, final: bool = True) -> FitResult:
        if bins is not None:
            return fit_bins(bins, exact, made, start, bounds, method=method, final=final, **kept)
        return fit_passes(exact, made, start, bounds, **kept, final=final, sample=sample,
                          first=sample if p_ini is not None else None)

    if p_ini is None:
        return from_best(fitted, _searched(data, made, bins, limits_of(made, bounds)))
    result = fitted(p_ini)
    return looked_elsewhere(result,
                            _quickly(data, made, bins, bounds, result.parameters)
                            if most_passes > 1 else None)


def _check_antennas(data: FitData, given: Mapping[str, Mapping[int, str] | None]) -> None:
    """Raise FitError where gains belong to an antenna that is no number, or has no data."""
    seen = [numbers[(data.weight > 0).any(axis=1)] for numbers in (data.antenna1, data.antenna2)
            if numbers is not None]
    there = np.unique(np.concatenate(seen)) if len(seen) == 2 else None
    for what, gains in given.items():
        for antenna in gains or ():
            if re.fullmatch(r"-?\d+", str(antenna)) is None:
                raise FitError(f"{what}: the antenna {antenna!r} is no number; arrays know "
                               "antennas by the numbers in antenna1 and "
                               "antenna2, names are for `uvstack.fit`")
            if there is not None and int(antenna) >= 0 and int(antenna) not in there:
                some = ", ".join(str(number)
                                 for number in there[:12]) + (" …" if there.size > 12 else "")
                raise FitError(f"{what}: antenna {antenna} has no data with a weight; there are "
                               f"{some}: give gains to these alone")


def _searched(data: FitData, model: Model, bins: Bins | None, limits: np.ndarray | None, quick: bool = False,
              p: np.ndarray | None = None) -> Starts:  # fmt: skip
    """Starting values from a search over sizes and positions."""
    searchable(model, limits)
    if is_binnable(model) and (bins is not None or can_bin(data)):
        return starts_in_bins(model, bins or bins_of(data), limits, quick, p)
    pieces = [Piece(data, data.frequency)]
    pieces, reach = thinned(pieces) if quick else pieces, longest(pieces)
    return starts_in_data(model, gathered(pieces, model.nu0), reach, limits, quick)


def _quickly(data: FitData, model: Model, bins: Bins | None, bounds: Any,
             p: np.ndarray) -> Starts | None:
    """A quick look for other starts; None where a model cannot be searched."""
    limits = limits_of(model, bounds)
    return None if parts_of(model, limits) is None else _searched(data, model, bins, limits,
                                                                  quick=True, p=p)


def from_best(fit: Callable[[np.ndarray, bool], FitResult], starts: Starts,
              one: bool = False) -> FitResult:
    """The best of the fits from the best starts: fit(start, whether it is final).

    Those that are nearly as good as the first are all tried, unless `one`.

    Raises
    ------
    FitError
        There are no starts.
    """
    first = starts.best
    close = _CLOSE * starts.unit + _CLOSE_SHARE * (starts.empty
                                                   - min(found.chi_squared
                                                         for found in starts.found))
    tried = [first] + [other for other in ([] if one else starts.found[1:_MOST_FITS])
                       if other.chi_squared < first.chi_squared + close]
    results = [fit(start.p, len(tried) == 1) for start in tried]
    unit = results[0].chi_squared / max(results[0].degrees_of_freedom, 1)
    order = sorted(range(len(tried)),
                   key=lambda i: results[i].lowest_chi_squared + unit * tried[i].penalty)
    best = results[order[0]]
    if len(tried) > 1:
        best = fit(best.parameters, True)
        results.append(best)
    others = [results[i].lowest_chi_squared for i in order[1:]]
    others += [best.lowest_chi_squared + other.chi_squared - first.chi_squared for other in starts.found
               if other not in tried]
    apart = [other for other in others if abs(other - best.lowest_chi_squared) > _APART * unit]
    return replace(best, n_passes=sum(one.n_passes for one in results), n_starts=starts.n,
                   next_chi_squared=min(apart, default=None))


def looked_elsewhere(result: FitResult, starts: Starts | None) -> FitResult:
    """The result of a fit from given starting values, with a warning if a quick look found others that lead to a much lower χ²."""
    if starts is None or not is_much_better(starts, result.parameters):
        return result
    there = ", ".join(f"{value:.4g}" for value in starts.found[0].p)
    elsewhere = f"χ² is much lower from other starting values: p_ini = {there}; leave p_ini out to search, or give bounds"
    warnings.warn(UvstackWarning(elsewhere), stacklevel=3)
    return replace(result, elsewhere=elsewhere)


def fit_bins(
    bins: Bins, exact: Passes | None, model: Model, p_ini: Sequence[float] | np.ndarray,
    bounds: Sequence[Sequence[float | None] | None] | None = None, *, method: str = "auto", tolerance: float = 1e-3,
    most_passes: int = 100, scale_errors: bool = False, estimator: str = "jeffreys", final: bool = True,
) -> FitResult:  # fmt: skip
    """Result of fitting a centred, round model to binned data, and from there to the data themselves where wanted.

    Parameters
    ----------
    bins : Bins
    exact : callable or None
        Normal equations of the data at p (par,); None if they are gone.
    method : {"auto", "exact", "binned"}
        See `fit_visibilities`.
    final : bool
        False: the highest likelihood, whatever the estimator, and no intervals.

    Other parameters as in `fit_visibilities`.
    """
    kept: dict[str, Any] = {"tolerance": tolerance, "most_passes": most_passes,
                            "scale_errors": scale_errors, "estimator": estimator, "final": final}
    found = fit_passes(lambda p: binned_normal_equations(bins, model, p), model, p_ini, bounds,
                       **kept)
    error = binning_error(bins, model, found.parameters, found.covariance)
    if exact is None or method == "binned" or (method == "auto" and error <= LARGEST_ERROR):
        return replace(found, method="binned", binning_error=error)
    start = found.parameters if found.converged and not found.degenerate else p_ini
    return fit_passes(exact, model, start, bounds, **kept)


def fit_passes(
    passes: Passes, model: Model, p_ini: Sequence[float] | np.ndarray, bounds: Sequence[Sequence[float | None] | None] | None = None, *,
    tolerance: float = 1e-3, most_passes: int = 100, scale_errors: bool = False, first: Passes | None = None,
    sample: Passes | None = None, estimator: str = "jeffreys", final: bool = True,
) -> FitResult:  # fmt: skip
    """Result of fitting a model to data that are seen through their normal equations alone.

    Parameters
    ----------
    passes : callable
        Normal equations of all data at p (par,).
    first : callable, optional
        Those of a sample of the data, fitted before.
    sample : callable, optional
        The same, for what weights and (u, v, w) alone tell.
    final : bool
        As in `fit_bins`.

    Other parameters as in `fit_visibilities`.
    """
    start, limits = check_start(model, p_ini, bounds)

    branch = branch_of(model, limits)

    def solved(p: np.ndarray, linear: np.ndarray | None) -> Solution:
        return solve_branch(passes, p, limits, branch, tolerance=tolerance, most_passes=most_passes,
                            linear=linear)

    if first is None or model.is_linear:
        found = solved(start, model.fluxes)
    else:
        near = solve_branch(first, start, limits, branch, tolerance=0.1, most_passes=most_passes,
                            linear=model.fluxes)
        clear = near.converged and _is_clear(near, model, limits)
        found = solved(near.p, None) if clear else solved(start, model.fluxes)
        if clear and not found.converged:
            found = min(found, solved(start, model.fluxes), key=lambda one: one.normal.chi_squared)
    if 2 * found.normal.n < model.n_parameters:
        raise FitError(f"{model.n_parameters} parameters and {found.normal.n} visibilities "
                       f"({2 * found.normal.n} numbers); fit fewer")
    dof = max(2 * found.normal.n - model.n_parameters, 1)
    scatter = found.normal.chi_squared / dof
    unit = scatter if scale_errors else 1.0
    highest = found
    if one_of("estimator", estimator, ESTIMATORS) == "jeffreys" and final:
        # Weights may be only relative: noise that is not there moves nothing.
        found = penalised(passes, highest, model, min(unit, scatter), limits, branch, sample=sample,
                          tolerance=tolerance, most_passes=most_passes, linear=model.fluxes)
    covariance, degenerate = _covariance(found, model, branch, limits)
    result = FitResult(found.p, np.sqrt(np.diag(covariance * unit)), covariance * unit,
                       found.normal.chi_squared, found.normal.n, found.stop_reason,
                       found.converged, found.n_passes, model, errors_scaled=scale_errors,
                       degenerate=degenerate)
    if found is not highest:
        result = replace(result, estimator=estimator,
                         highest=(highest.p, highest.normal.chi_squared))
    return with_intervals(result, passes, limits, branch) if final else result


def _covariance(found: Solution, model: Model, branch: Branch,
                limits: np.ndarray | None) -> tuple[np.ndarray, str]:
    """H⁻¹ (par, par) over the parameters that are free and have an effect, and what is degenerate."""
    at_zero = branch.any & (found.p == 0.0)
    idle = without_effect(model, at_zero)
    covariance, degenerate = covariance_of(found.normal, _free(found.p, limits) & ~at_zero & ~idle,
                                           model.names)
    if idle.any():
        covariance[idle], covariance[:, idle] = np.nan, np.nan
        names = " and ".join(name for name, i in zip(model.names, idle, strict=True) if i)
        degenerate = "; ".join([*([degenerate] if degenerate else []),
                                f"{names}: no effect on a source of size 0"])
    return covariance, degenerate


def check_start(model: Model, p_ini: Sequence[float] | np.ndarray,
                bounds: Sequence[Sequence[float | None]
                                 | None] | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Starting values (par,) and bounds (2, par) or None, checked."""
    start = np.atleast_1d(np.asarray(p_ini, np.float64))
    if start.shape != (model.n_parameters,):
        raise FitError(f"p_ini has {start.size} values; the variables hold p[0] … "
                       f"p[{model.n_parameters - 1}]: wanted {model.n_parameters}")
    if not np.isfinite(start).all():
        raise FitError(f"p_ini is {start}; wanted finite numbers")
    limits = limits_of(model, bounds)
    for i, (low, value, high) in enumerate(zip(limits[0], start, limits[1], strict=True)
                                           if limits is not None else ()):
        if not low <= value <= high:
            raise FitError(f"{model.names[i]} starts at {value:g}, outside its bounds {low:g} to "
                           f"{high:g}")
    return start, limits


def limits_of(model: Model,
              bounds: Sequence[Sequence[float | None] | None] | None) -> np.ndarray | None:
    """Bounds (2, par) or None, checked."""
    if bounds is None:
        return None
    if len(bounds) != model.n_parameters:
        raise FitError(f"bounds for {len(bounds)} parameters; wanted one entry (None or low, "
                       f"high) for each of {model.n_parameters}")
    for name, entry in zip(model.names, bounds, strict=True):
        if entry is not None and np.asarray(entry, object).shape != (2,):
            raise FitError(f"the bounds of {name} are {entry!r}; wanted (low, high) or None")
    limits = np.array([[-np.inf, np.inf] if b is None
                       else [-np.inf if b[0] is None else b[0], np.inf if b[1] is None else b[1]]
                       for b in bounds], np.float64).T
    for name, low, high in zip(model.names, *limits, strict=True):
        if not low <= high:
            raise FitError(f"the bounds of {name} are {low:g} to {high:g}; wanted the lower one "
                           "first")
    return limits


def _free(p: np.ndarray, limits: np.ndarray | None) -> np.ndarray:
    """Which parameters (par,) are at no bound."""
    return np.ones(p.size, np.bool_) if limits is None else (p > limits[0]) & (p < limits[1])


def _bins(data: FitData, model: Model, method: str) -> Bins | None:
    """Sums in bins where they are of use."""
    if method not in ("auto", "exact", "binned"):
        raise FitError(f"method {method!r}; wanted auto, exact or binned")
    possible = is_binnable(model) and can_bin(data)
    if method == "binned" and not possible:
        raise FitError("method binned is for models that are round, at the phase centre (RA and "
                       "Dec 0, ratio 1) and the same in all "
                       "channels, without gains, fixed visibilities or primary beam; take method "
                       "auto")
    # Fewer visibilities are as soon summed one by one.
    return bins_of(data) if possible and (method == "binned"
                                          or data.vis.size > _FEW * N_BINS) else None


def _is_clear(sample: Solution, model: Model, limits: np.ndarray | None) -> bool:
    """Whether every flux stands clear of the noise of the sample.

    If not, its fit may have settled on a peak of noise.
    """
    covariance, degenerate = covariance_of(sample.normal, _free(sample.p, limits), model.names)
    if degenerate:
        return False
    numbers = numbers_at(model, sample.p, np.array([model.nu0]), np.zeros(1))
    flux, slope = numbers.values[0, :, FLUX, 0], numbers.slopes[0, :, FLUX, :, 0]
    return bool((flux**2 >= _CLEAR**2 * np.einsum("cp,pq,cq->c", slope, covariance, slope)).all())


def _sample(data: FitData) -> FitData | None:
    """Rows of large data, drawn once and for all."""
    n_rows, share = data.uvw.shape[0], data.vis.size // _SAMPLE
    if share < 4:
        return None
    # At regular steps it might be one baseline at all times.
    return data.rows(np.unique(np.random.default_rng(0).integers(0, n_rows,
                                                                 max(1, n_rows // share))))
