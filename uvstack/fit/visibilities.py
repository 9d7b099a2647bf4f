"""Fit of a model to arrays of visibilities: what all other ways to fit come down to.

Large data are fitted on a sample of their rows first, so that only two or three passes go over all of them. The errors
are those of the inverse normal matrix, with real and imaginary part as two measurements of variance 1/weight each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uvstack.errors import FitError
from uvstack.fit.data import FitData, checked_data
from uvstack.fit.model import Model, make_model
from uvstack.fit.normal import NormalEquations, normal_equations
from uvstack.fit.result import FitResult
from uvstack.fit.solver import Passes, Solution, covariance_of, solve

#: Visibilities of the sample that large data are fitted on first.
_SAMPLE = 100_000


def fit_visibilities(
    uvw: np.ndarray, frequency: np.ndarray, vis: np.ndarray, weight: np.ndarray | None = None, *,
    model: str | Sequence[str] = ("Gaussian",), var: str | Sequence[str] = ("p[0],p[1],p[2],p[3],1,0",),
    p_ini: Sequence[float], bounds: Sequence[Sequence[float | None] | None] | None = None, nu0: float | None = None,
    fixed: np.ndarray | None = None, scalefix: str | None = None, time: np.ndarray | None = None, antenna1: np.ndarray | None = None,
    antenna2: np.ndarray | None = None, amp_gains: Mapping[int, str] | None = None, phase_gains: Mapping[int, str] | None = None,
    width: np.ndarray | None = None, names: Sequence[str] = (), tolerance: float = 1e-3, most_passes: int = 100,
    scale_errors: bool = False,
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
        Shapes: see `uvstack.fit.shapes`.
    var : sequence of str
        RA, Dec (arcsec east and north), flux (Jy), major (arcsec), ratio, PA (deg) and the extra number of each component
        as expressions in p[0], p[1], …, nu, nu0 and t: see `uvstack.fit.expressions`.
    p_ini : sequence of float
    bounds : sequence, optional
        (low, high) or None for each parameter; either may be None.
    nu0 : float, optional
        Hz; default the first channel.
    fixed : ndarray (row, chan) complex, optional
        Visibilities that are added to the model.
    scalefix : str, optional
        Expression they are multiplied with.
    time : ndarray (row,), optional
        s, the t of expressions.
    antenna1, antenna2 : ndarray (row,) int, optional
        For gains.
    amp_gains, phase_gains : mapping of int to str, optional
        Expressions of |g| and of the phase of g (rad) by antenna; V_pq is multiplied by g_p g_q*.
    width : ndarray (chan,), optional
        Hz; the model is averaged over the channels.
    names : sequence of str, optional
        Of the parameters, for messages and results.
    tolerance : float
        In units of the parameters' errors.
    most_passes : int
    scale_errors : bool
        Multiply errors by the square root of the reduced χ²: for weights that are only relative.

    Raises
    ------
    FitError
        In one line: a model that cannot be read, data without weight, fewer data than parameters, starting values outside
        the bounds, a model that is not finite.
    """
    others = {"fixed": fixed, "time": time, "antenna1": antenna1, "antenna2": antenna2, "width": width}
    data = checked_data(uvw, frequency, vis, weight, **{name: np.asarray(value) for name, value in others.items() if value is not None})
    if scalefix is not None and fixed is None:
        raise FitError("scalefix without fixed visibilities; give fixed, or leave scalefix out")
    made = make_model(model, var, float(data.frequency[0]) if nu0 is None else nu0, scale=scalefix, amplitude_gains=amp_gains,
                      phase_gains=phase_gains, names=names)
    sample = _sample(data)
    return fit_passes(lambda p: normal_equations(data, made, p), made, p_ini, bounds, tolerance=tolerance, most_passes=most_passes,
                      scale_errors=scale_errors, first=None if sample is None else lambda p: normal_equations(sample, made, p))


def fit_passes(
    passes: Passes, model: Model, p_ini: Sequence[float], bounds: Sequence[Sequence[float | None] | None] | None = None, *,
    tolerance: float = 1e-3, most_passes: int = 100, scale_errors: bool = False, first: Passes | None = None,
) -> FitResult:  # fmt: skip
    """Result of fitting a model to data that are seen through their normal equations alone.

    Parameters
    ----------
    passes : callable
        Normal equations of all data at p (par,).
    first : callable, optional
        Those of a sample of the data, fitted before.

    Other parameters as in `fit_visibilities`.
    """
    start, limits = check_start(model, p_ini, bounds)

    def solved(p: np.ndarray) -> Solution:
        return solve(passes, p, limits, tolerance=tolerance, most_passes=most_passes, is_linear=model.is_linear)

    if first is None or model.is_linear:
        found = solved(start)
    else:
        found = solved(solve(first, start, limits, tolerance=0.1, most_passes=most_passes).p)
        if not found.converged or _is_singular(found.normal, model):
            # The noise of the sample may have led into another valley.
            found = min(found, solved(start), key=lambda one: one.normal.chi_squared)
    if 2 * found.normal.n < model.n_parameters:
        raise FitError(f"{model.n_parameters} parameters and {found.normal.n} visibilities ({2 * found.normal.n} numbers); fit fewer")
    free = np.ones(start.size, np.bool_) if limits is None else (found.p > limits[0]) & (found.p < limits[1])
    covariance, degenerate = covariance_of(found.normal, free, model.names)
    dof = max(2 * found.normal.n - model.n_parameters, 1)
    if scale_errors:
        covariance = covariance * (found.normal.chi_squared / dof)
    return FitResult(found.p, np.sqrt(np.diag(covariance)), covariance, found.normal.chi_squared, found.normal.n, found.stop_reason,
                     found.converged, found.n_passes, model, errors_scaled=scale_errors, degenerate=degenerate)


def check_start(model: Model, p_ini: Sequence[float], bounds: Sequence[Sequence[float | None] | None] | None) -> tuple[
        np.ndarray, np.ndarray | None]:
    """Starting values (par,) and bounds (2, par) or None, checked."""
    start = np.atleast_1d(np.asarray(p_ini, np.float64))
    if start.shape != (model.n_parameters,):
        raise FitError(f"p_ini has {start.size} values; the variables hold p[0] … p[{model.n_parameters - 1}]: wanted {model.n_parameters}")
    if not np.isfinite(start).all():
        raise FitError(f"p_ini is {start}; wanted finite numbers")
    if bounds is None:
        return start, None
    if len(bounds) != start.size:
        raise FitError(f"bounds for {len(bounds)} parameters; wanted one entry (None or low, high) for each of {start.size}")
    limits = np.array([[-np.inf, np.inf] if b is None else [-np.inf if b[0] is None else b[0], np.inf if b[1] is None else b[1]]
                       for b in bounds], np.float64).T
    for i, (low, value, high) in enumerate(zip(limits[0], start, limits[1], strict=True)):
        if not low <= value <= high:
            raise FitError(f"{model.names[i]} starts at {value:g}, outside its bounds {low:g} to {high:g}")
    return start, limits


def _is_singular(normal: NormalEquations, model: Model) -> bool:
    return bool(covariance_of(normal, np.ones(model.n_parameters, np.bool_), model.names)[1])


def _sample(data: FitData) -> FitData | None:
    """Every so many-th row of large data."""
    step = data.vis.size // _SAMPLE
    return None if step < 4 else data.rows(slice(step // 2, None, step))


