"""Least squares on normal equations that come from passes over the data: Levenberg–Marquardt, within bounds where given.

A pass gives χ², gradient and Gauss–Newton matrix together, so an iteration is one pass and the data need not fit memory.
Steps are judged in units of the parameters' errors: the fit has converged when the next step would move no combination of
parameters by more than `tolerance` of its error (step' H step < tolerance²). χ² itself decides nothing, so that with 10⁷
visibilities the optimum is met as with 10³. Within bounds a step is the solution of the bounded linear problem
(scipy.optimize.lsq_linear) with the same matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from uvstack.errors import FitError
from uvstack.fit.normal import NormalEquations

#: Singular directions have less than this share of the curvature of a unit-scaled matrix.
SINGULAR = 1e-11
_FIRST_DAMPING, _DAMPING_FACTOR, _LARGEST_DAMPING = 1e-3, 10.0, 1e12
Passes = Callable[[np.ndarray], NormalEquations]


@dataclass(frozen=True, eq=False)
class Solution:
    """Where a fit stopped and why.

    Attributes
    ----------
    p : ndarray (par,)
    normal : NormalEquations
        At p.
    stop_reason : str
    n_passes : int
    converged : bool
    """

    p: np.ndarray
    normal: NormalEquations
    stop_reason: str
    n_passes: int
    converged: bool


def solve(passes: Passes, p_ini: Sequence[float] | np.ndarray, bounds: np.ndarray | None = None, *, tolerance: float = 1e-3,
          most_passes: int = 100, is_linear: bool = False) -> Solution:
    """Minimum of χ².

    Parameters
    ----------
    passes : callable
        Normal equations at p (par,).
    p_ini : sequence of float
    bounds : ndarray (2, par), optional
        Lowest and highest values.
    tolerance : float
        In units of errors.
    most_passes : int
    is_linear : bool
        The model is linear in p: one step is exact.
    """
    p = np.array(p_ini, np.float64)
    if bounds is None or not np.isfinite(bounds).any():
        bounds = None
    now, damping, n = passes(p), 0.0, 1
    if not np.isfinite(now.chi_squared):
        raise FitError("χ² is not finite at the starting values; choose others")
    while n < most_passes:
        step = _step(now, damping, None if bounds is None else bounds - p)
        gain = 2.0 * step @ now.gradient - step @ now.hessian @ step
        if step @ now.hessian @ step < tolerance**2 and damping < 1e3:
            return Solution(p, now, "the next step is below the tolerance", n, True)
        try:
            there = passes(p + step)
        except FitError:
            there = None
        n += 1
        if there is not None and there.chi_squared <= now.chi_squared + 1e-12 * abs(now.chi_squared):
            fell = now.chi_squared - there.chi_squared
            p, now = p + step, there
            damping = 0.0 if fell > 0.25 * gain and damping < 1.0 else damping / _DAMPING_FACTOR
            if fell < tolerance**2 and gain > 0 and damping > 0:
                return Solution(p, now, "χ² no longer falls", n, True)
        else:
            damping = max(damping * _DAMPING_FACTOR, _FIRST_DAMPING)
            if damping > _LARGEST_DAMPING:
                return Solution(p, now, "no step lowers χ²", n, step @ now.hessian @ step < 1.0)
        if is_linear and damping == 0.0 and bounds is None:
            return Solution(p, now, "linear model, solved exactly", n, True)
    return Solution(p, now, f"{most_passes} passes without convergence", n, False)


def _step(normal: NormalEquations, damping: float, room: np.ndarray | None) -> np.ndarray:
    """Solution of (H + λ diag H) d = g, within room (2, par) where there are bounds; directions without curvature stay."""
    diagonal = np.diag(normal.hessian).copy()
    scale = np.where(diagonal > 0, np.sqrt(np.maximum(diagonal, 1e-300)), 1.0)
    matrix = normal.hessian / np.outer(scale, scale) + damping * np.eye(scale.size)
    values, vectors = np.linalg.eigh(matrix)
    keep = values > SINGULAR * values.max(initial=1.0)
    root = np.sqrt(values[keep])
    projected = vectors[:, keep].T @ (normal.gradient / scale)
    if room is None:
        return (vectors[:, keep] @ (projected / values[keep])) / scale
    from scipy.optimize import lsq_linear

    low, high = np.minimum(room[0], 0.0) * scale, np.maximum(room[1], 0.0) * scale
    # A parameter held between equal bounds does not move; lsq_linear wants room for all.
    free = high > low
    out = np.zeros(scale.size)
    if free.any():
        found = lsq_linear(root[:, None] * vectors[:, keep].T[:, free], projected / root, (low[free], high[free]), tol=1e-14)
        out[free] = np.clip(found.x, low[free], high[free])
    return out / scale


def covariance_of(normal: NormalEquations, free: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, str]:
    """H⁻¹ (par, par) over the free parameters, and what is degenerate, or "".

    Parameters held at a bound have a variance of 0; those of a degenerate combination of NaN.
    """
    covariance = np.zeros((free.size, free.size))
    index = np.flatnonzero(free)
    hessian = normal.hessian[np.ix_(index, index)]
    scale = np.sqrt(np.maximum(np.diag(hessian), 0.0))
    idle = scale == 0.0
    safe = np.where(idle, 1.0, scale)
    values, vectors = np.linalg.eigh(hessian / np.outer(safe, safe) + np.diag(np.where(idle, 1.0, 0.0)))
    keep = values > SINGULAR * values.max(initial=1.0)
    inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T / np.outer(safe, safe)
    message = [f"{names[i]} has no effect on the visibilities" for i in index[idle]]
    bad = idle.copy()
    for vector in vectors[:, ~keep].T:
        taking_part = np.abs(vector) > 0.1 * np.abs(vector).max()
        bad |= taking_part
        message.append(f"{' and '.join(names[i] for i in index[taking_part])} are degenerate: only a combination of them is determined")
    inverse[bad] = np.nan
    inverse[:, bad] = np.nan
    covariance[np.ix_(index, index)] = inverse
    return covariance, "; ".join(message)
