"""Least squares on normal equations that come from passes over the data.

Levenberg–Marquardt, within bounds where given.

A pass gives χ², gradient and Gauss–Newton matrix together, so an iteration is one pass and the data
need not fit memory. Steps are judged in units of the parameters' errors: the fit has converged when
the next step would move no combination of parameters by more than `tolerance` of its error (step' H
step < tolerance²). χ² itself decides nothing, so that with 10⁷ visibilities the optimum is met as
with 10³. Within bounds a step is the solution of the bounded linear problem
(scipy.optimize.lsq_linear) with the same matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model.normal import NormalEquations

#: Singular directions have less than this share of the curvature of a unit-scaled matrix.
SINGULAR = 1e-11
#: Share of a unit vector without curvature from which on a parameter takes part in the degeneracy.
_TAKES_PART = 1e-2
#: A parameter whose curvature has fallen to this share of that at the start has lost its effect.
_LOST = 1e-8
#: Steps that would lower χ² by less than this share of that at the start are rounding, as in data
#: without noise.
_ROUNDING = 1e-24
#: Steps after one that led up, as long as each brings χ² to this share of what it is too high.
_FALLS, _FALL = 3, 0.1
#: Such a detour that brings less than this share of what the linear model promised goes in circles.
_LITTLE = 0.1
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


def solve(passes: Passes, p_ini: Sequence[float] | np.ndarray, bounds: np.ndarray | None = None, *,
          tolerance: float = 1e-3, most_passes: int = 100,
          linear: np.ndarray | None = None) -> Solution:
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
    linear : ndarray (par,) bool, optional
        Parameters in which, together, the model is linear. If not all, the first step is by them alone; if all, it is exact.
    """
    start = np.array(p_ini, np.float64)
    is_linear = linear is not None and bool(linear.all())
    fluxes = linear if linear is not None and linear.any() and not is_linear else None
    if bounds is None or not np.isfinite(bounds).any():
        bounds = None
    first = passes(start)
    if not np.isfinite(first.chi_squared):
        raise FitError("χ² is not finite at the starting values; choose others")
    found = _descend(passes, start, first, bounds, fluxes, tolerance, most_passes, is_linear)
    lost = np.diag(found.normal.hessian) < _LOST * np.diag(first.hessian)
    if not lost.any() or found.n_passes + 1 >= most_passes:
        return found
    # Where the model is even in a parameter, as in the size of a hole, it has no slope at 0, and a
    # fit that came there stays.
    again, there = _attempt(passes, np.where(lost, start, found.p), np.zeros(start.size), None)
    if there is None:
        return found
    other = _descend(passes, again, there, bounds, None, tolerance, most_passes - found.n_passes,
                     is_linear)
    best = other if other.normal.chi_squared < found.normal.chi_squared else found
    return replace(best, n_passes=found.n_passes + other.n_passes)


def _descend(passes: Passes, p: np.ndarray, now: NormalEquations, bounds: np.ndarray | None,
             fluxes: np.ndarray | None, tolerance: float, most_passes: int,
             is_linear: bool) -> Solution:
    """The minimum that steps which lower χ² reach from p, where the normal equations are `now`.

    Arguments as in `solve`.
    """
    damping, n = 0.0, 1
    largest, rounding = np.diag(now.hessian), _ROUNDING * now.chi_squared
    while n < most_passes:
        room = None if bounds is None else bounds - p
        largest = np.maximum(largest, np.diag(now.hessian))
        # The undamped step decides: a damped one is short anywhere.
        step = full = _step(now, 0.0, room, _LOST * largest)
        # Errors are those of the weights or of the scatter, whichever are smaller: weights may be
        # only relative.
        scatter = min(now.chi_squared / max(2 * now.n - p.size, 1), 1.0)
        if full @ now.hessian @ full <= max(tolerance**2 * scatter, rounding):
            return Solution(p, now, "the next step is below the tolerance", n, True)
        if fluxes is not None:
            # Slopes by positions and sizes are proportional to fluxes, so these come first, alone.
            step = _step_of(now, fluxes, room)
        elif damping > 0.0:
            step = _step(now, damping, room, _LOST * largest)
        slope, curved = step @ now.gradient, step @ now.hessian @ step
        trial, there = _attempt(passes, p, step, bounds)
        n += 1
        if there is not None and there.chi_squared <= now.chi_squared + 1e-12 * abs(
            now.chi_squared):
            fell = now.chi_squared - there.chi_squared
            p, now = trial, there
            swings = 0.0 < curved < 1.0 and fell < 0.8 * (2.0 * slope - curved)
            damping = 0.0 if fell > 0.25 * (2.0 * slope - curved) and damping < 1.0 else damping / _DAMPING_FACTOR
            if swings:
                damping = _shortening(slope, curved, fell)
        elif fluxes is None:
            back, fallen, more = _fallen_back(passes, p, now, trial, there, bounds, damping,
                                              _LOST * largest)
            n += more
            if fallen is not None:
                assert there is not None
                fell = now.chi_squared - fallen.chi_squared
                if curved > 0.0 and fell < _LITTLE * (2.0 * slope - curved):
                    damping = _shortening(slope, curved, now.chi_squared - there.chi_squared)
                p, now = back, fallen
                continue
            damping = max(damping * _DAMPING_FACTOR, _FIRST_DAMPING)
            if damping > _LARGEST_DAMPING:
                return Solution(p, now, "no step lowers χ²", n, False)
        fluxes = None
        if is_linear and damping == 0.0 and bounds is None:
            return Solution(p, now, "linear model, solved exactly", n, True)
    return Solution(p, now, f"{most_passes} passes without convergence", n, False)


def _shortening(slope: float, curved: float, fell: float) -> float:
    """Damping that ends a step where it should have.

    Noise makes the curvature along a step larger than the linear model says, by 2 where undamped
    steps would for ever go from one side of the minimum to the other.
    """
    return max(0.0, min((2.0 * slope - fell) / curved - 1.0, 4.0))


def _fallen_back(
    passes: Passes, p: np.ndarray, now: NormalEquations, trial: np.ndarray, there: NormalEquations | None, bounds: np.ndarray | None,
    damping: float, least: np.ndarray,
) -> tuple[np.ndarray, NormalEquations | None, int]:  # fmt: skip
    """Where steps lead from a trial that is higher than p.

    Parameters and normal equations, None if not lower; passes made.

    A straight step along a curved valley ends above its floor, and the next ones fall back to it,
    further along. More damping instead takes many short steps (measured on two discs and a
    Gaussian: 12 passes and 73, 5 and over 100).
    """
    n = 0
    while there is not None and np.isfinite(there.chi_squared) and n < _FALLS:
        above = there.chi_squared - now.chi_squared
        step = _step(there, damping, None if bounds is None else bounds - trial, least)
        trial, there = _attempt(passes, trial, step, bounds)
        n += 1
        # Not onto a bound: such a long step would end where a parameter may have no slope at all,
        # and stay there.
        if bounds is not None and (((trial <= bounds[0]) | (trial >= bounds[1]))
                                   & (trial != p)).any():
            break
        if there is not None and there.chi_squared < now.chi_squared:
            return trial, there, n
        if there is not None and there.chi_squared - now.chi_squared > _FALL * above:
            break
    return trial, None, n


def _attempt(passes: Passes, p: np.ndarray, step: np.ndarray,
             bounds: np.ndarray | None) -> tuple[np.ndarray, NormalEquations | None]:
    """p + step, on a bound where the step reaches it, and the normal equations there.

    None where the model does not exist.
    """
    trial = p + step
    if bounds is not None:
        low, high = bounds - p
        trial = np.where(step <= low, bounds[0], np.where(step >= high, bounds[1], trial))
    try:
        return trial, passes(trial)
    except FitError:
        return trial, None


def _step_of(normal: NormalEquations, chosen: np.ndarray, room: np.ndarray | None) -> np.ndarray:
    """Undamped step of the chosen parameters (par,), the others held."""
    part = NormalEquations(normal.chi_squared, normal.gradient[chosen],
                           normal.hessian[np.ix_(chosen, chosen)], normal.n)
    out = np.zeros(chosen.size)
    out[chosen] = _step(part, 0.0, None if room is None else room[:, chosen])
    return out


def _step(normal: NormalEquations, damping: float, room: np.ndarray | None,
          least: np.ndarray | float = 0.0) -> np.ndarray:
    """Solution of (H + λ D) d = g, within room (2, par) where there are bounds.

    Directions without curvature stay.

    D is the diagonal of H, but at least `least`: a parameter that has all but lost its effect would
    take steps without end.
    """
    diagonal = np.maximum(np.diag(normal.hessian), least)
    scale = np.where(diagonal > 0, np.sqrt(np.maximum(diagonal, 1e-300)), 1.0)
    matrix = normal.hessian / np.outer(scale, scale) + damping * np.eye(scale.size)
    values, vectors = np.linalg.eigh(matrix)
    keep = values > SINGULAR * values.max(initial=1.0)
    root = np.sqrt(values[keep])
    projected = vectors[:, keep].T @ (normal.gradient / scale)
    if room is None:
        return (vectors[:, keep] @ (projected / values[keep])) / scale
    step = (vectors[:, keep] @ (projected / values[keep])) / scale
    if ((step >= room[0]) & (step <= room[1])).all():
        return step
    from scipy.optimize import lsq_linear

    # A parameter held between equal bounds does not move; lsq_linear wants room for all.
    free = room[1] > room[0]
    out = np.zeros(scale.size)
    if free.any():
        low, high = room[:, free] * scale[free]
        # Not the interior method, which only comes near a bound.
        found = lsq_linear(root[:, None] * vectors[:, keep].T[:, free], projected / root,
                           (low, high), tol=1e-14, method="bvls")
        inside = np.clip(found.x / scale[free], *room[:, free])
        # Its numbers at a bound may be off by rounding; its mask says which they are.
        out[free] = np.where(found.active_mask < 0, room[0, free],
                             np.where(found.active_mask > 0, room[1, free], inside))
    return out


def covariance_of(normal: NormalEquations, free: np.ndarray,
                  names: Sequence[str]) -> tuple[np.ndarray, str]:
    """H⁻¹ (par, par) over the free parameters, and what is degenerate, or "".

    Parameters held at a bound have a variance of 0; those of a degenerate combination of NaN.
    """
    covariance = np.zeros((free.size, free.size))
    index = np.flatnonzero(free)
    hessian = normal.hessian[np.ix_(index, index)]
    scale = np.sqrt(np.maximum(np.diag(hessian), 0.0))
    idle = scale == 0.0
    safe = np.where(idle, 1.0, scale)
    values, vectors = np.linalg.eigh(hessian / np.outer(safe, safe)
                                     + np.diag(np.where(idle, 1.0, 0.0)))
    keep = values > SINGULAR * values.max(initial=1.0)
    inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T / np.outer(safe, safe)
    message = [f"{names[i]} has no effect on the visibilities" for i in index[idle]]
    # What the directions without curvature have in common: parameters of different degeneracies
    # have no element together.
    shared = np.abs(vectors[:, ~keep] @ vectors[:, ~keep].T)
    bad = idle | (np.diag(shared) > _TAKES_PART**2)
    for group in _groups(shared > _TAKES_PART**2):
        message.append(f"{' and '.join(names[i] for i in index[group])} are degenerate: only a "
                       "combination of them is determined")
    inverse[bad] = np.nan
    inverse[:, bad] = np.nan
    covariance[np.ix_(index, index)] = inverse
    return covariance, "; ".join(message)


def _groups(connected: np.ndarray) -> list[np.ndarray]:
    """Indices of each set of parameters that are connected (par, par), directly or through others."""
    left, found = set(np.flatnonzero(np.diag(connected)).tolist()), []
    while left:
        group, before = {min(left)}, set[int]()
        while group != before:
            before = group
            group = group | (left
                             & set(np.flatnonzero(connected[sorted(group)].any(axis=0)).tolist()))
        found.append(np.array(sorted(group)))
        left -= group
    return found
