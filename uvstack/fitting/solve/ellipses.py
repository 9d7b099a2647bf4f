"""Elliptical components that may be round, a line or a point.

Solved for by the second moments of their brightness.

Axes and angle lose their meaning where a source is round or has no size: there χ² has no slope by
some of them, and fits crawl. But with A and B the squares of the two axes, the visibilities of all
shapes that are even in their size are regular functions of

    t = (A + B)/2        d = (A − B)/2 · (cos 2PA, sin 2PA)        t ≥ |d|

everywhere, and χ² is close to a parabola in them. So each step minimises the parabola of the normal
equations over that cone, which is convex: inside it in closed form, on its surface (B = 0) by a
search over position angles that costs no pass over the data. Other parameters are eliminated, and
held where they meet a bound. Steps that do not lower χ² are damped (Levenberg–Marquardt). With the
major axis held, as for its profile, the same search runs over A = held and 0 ≤ B ≤ A. Cost: 5 to 10
passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.solve.solver import Passes, Solution

#: Squares of sizes (arcsec²) and of ratios that stand for zero, and the largest square of a ratio
#: that is not round.
_POINT, _NOT_ROUND = 1e-18, 1.0 - 1e-6
#: Squares of ratios that are rounding.
_LINE = 1e-12
#: Angles of a search, how often it is refined, and by how much.
_ANGLES, _REFINED, _FINER = 180, 4, 20
#: Rounds over several ellipses, and over bounds that are met.
_ROUNDS = 30
_FIRST_DAMPING, _DAMPING_FACTOR, _LARGEST_DAMPING = 1e-3, 10.0, 1e8


@dataclass(frozen=True, eq=False)
class Ellipses:
    """Which parameters z (par,) are A, (B/A) and PA (deg) of components.

    Attributes
    ----------
    axes : tuple of (int, int, int)
    held : tuple of (int, float), optional
        Number of a component and its A, which is to stay.
    """

    axes: tuple[tuple[int, int, int], ...]
    held: tuple[int, float] | None = None

    def moments(self, z: np.ndarray) -> np.ndarray:
        """z with t, d₁ and d₂ in place of A, B/A and PA."""
        y = z.copy()
        for index in self.axes:
            square, ratio, angle = z[list(index)]
            half, turn = 0.5 * square * (1.0 - ratio), np.deg2rad(2.0 * angle)
            y[list(index)] = 0.5 * square * (1.0 + ratio), half * np.cos(turn), half * np.sin(turn)
        return y

    def axes_of(self, y: np.ndarray) -> np.ndarray:
        """z of moments y; points and round sources a trifle beside, where all slopes exist."""
        z = y.copy()
        for index in self.axes:
            t, d1, d2 = y[list(index)]
            half = np.hypot(d1, d2)
            square = max(t + half, _POINT)
            ratio = (t - half) / square
            ratio = np.clip(ratio if ratio > _LINE else 0.0, _POINT, _NOT_ROUND)
            z[list(index)] = square, ratio, 0.5 * np.rad2deg(np.arctan2(d2, d1))
        return z

    def slopes(self, z: np.ndarray) -> np.ndarray:
        """Matrix (par, par) of the derivatives of z by the moments."""
        out = np.eye(z.size)
        for index in self.axes:
            square, ratio, angle = z[list(index)]
            turn, half = np.deg2rad(2.0 * angle), 0.5 * square * (1.0 - ratio)
            by_half = np.array([0.0, np.cos(turn), np.sin(turn)])
            by_square = np.array([1.0, 0.0, 0.0]) + by_half
            by_ratio = (np.array([1.0, 0.0, 0.0]) - by_half - ratio * by_square) / square
            by_angle = np.rad2deg(np.array([0.0, -np.sin(turn), np.cos(turn)]) / (2.0 * half))
            out[np.ix_(index, index)] = [by_square, by_ratio, by_angle]
        return out

    def at(self, of_z: Passes, z: np.ndarray) -> tuple[NormalEquations, NormalEquations]:
        """Normal equations by the moments and by z."""
        found, slopes = of_z(z), self.slopes(z)
        return NormalEquations(found.chi_squared, slopes.T @ found.gradient,
                               slopes.T @ found.hessian @ slopes, found.n), found


def solve_ellipses(of_z: Passes, start: np.ndarray, bounds: np.ndarray, ellipses: Ellipses, *, tolerance: float = 1e-3,
                   most_passes: int = 30, linear: np.ndarray | None = None) -> Solution:  # fmt: skip
    """Minimum of χ² over parameters z, as `solver.solve` gives it.

    Parameters
    ----------
    of_z : callable
        Normal equations at z (par,).
    start : ndarray (par,)
    bounds : ndarray (2, par)
        Of z; those of the ellipses are not looked at.
    ellipses : Ellipses
    tolerance : float
        In units of errors.
    most_passes : int
    linear : ndarray (par,) bool, optional
        Fluxes: the first step is by them alone.
    """
    z = ellipses.axes_of(_step_to(ellipses, ellipses.moments(start)))
    y = ellipses.moments(z)
    now, by_axes = ellipses.at(of_z, z)
    damping, n = 0.0, 1
    first = linear if linear is not None and linear.any() and not linear.all() else None
    while n < most_passes:
        full = best_step(now, y, bounds, ellipses)
        scatter = min(now.chi_squared / max(2 * now.n - y.size, 1), 1.0)
        if full @ now.hessian @ full <= max(tolerance**2 * scatter, 1e-24 * now.chi_squared):
            return Solution(z, by_axes, "the next step is below the tolerance", n, True)
        step = best_step(now, y, bounds, ellipses, damping,
                         first) if damping or first is not None else full
        trial = ellipses.axes_of(y + step)
        n += 1
        try:
            there, there_by_axes = ellipses.at(of_z, trial)
            fell = now.chi_squared - there.chi_squared
        except FitError:
            fell = -np.inf
        if fell >= -1e-12 * abs(now.chi_squared):
            expected = 2.0 * step @ now.gradient - step @ now.hessian @ step
            damping = 0.0 if fell > 0.25 * expected and damping < 1.0 else damping / _DAMPING_FACTOR
            z, now, by_axes = trial, there, there_by_axes
            y = ellipses.moments(z)
        elif first is None:
            damping = max(damping * _DAMPING_FACTOR, _FIRST_DAMPING)
            if damping > _LARGEST_DAMPING:
                return Solution(z, by_axes, "no step lowers χ²", n, False)
        first = None
    return Solution(z, by_axes, f"{most_passes} passes without convergence", n, False)


def _step_to(ellipses: Ellipses, y: np.ndarray) -> np.ndarray:
    """y with the axis that is held at its value."""
    if ellipses.held is not None:
        which, square = ellipses.held
        index = list(ellipses.axes[which])
        t, d1, d2 = y[index]
        half = np.hypot(d1, d2)
        direction = np.array([d1, d2]) / half if half > 0 else np.array([1.0, 0.0])
        other = np.clip(t - half, 0.0, square)
        y[index] = [0.5 * (square + other), *(0.5 * (square - other) * direction)]
    return y


def best_step(normal: NormalEquations, y: np.ndarray, bounds: np.ndarray, ellipses: Ellipses, damping: float = 0.0,
              only: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """Step (par,) to the lowest point of the parabola over the cones of all ellipses and the bounds of all else.

    Several ellipses are gone through in turn until none moves; the problem is convex, so that this
    ends at its minimum.
    """
    hessian = normal.hessian + damping * np.diag(np.diag(normal.hessian))
    size = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    hessian, gradient = hessian / np.outer(size, size), normal.gradient / size
    inside = np.zeros(y.size, np.bool_)
    for index in ellipses.axes:
        inside[list(index)] = True
    step, stays = np.zeros(y.size), ~inside & (bounds[1] <= bounds[0])
    if only is not None:
        stays, inside = ~only, inside & False
    for _ in range(_ROUNDS):
        others = np.flatnonzero(~inside & ~stays)
        back = np.linalg.pinv(hessian[np.ix_(others, others)], rcond=1e-11, hermitian=True)
        for _ in range(_ROUNDS if len(ellipses.axes) > 1 and only is None else 1):
            before = step.copy()
            for number, index in enumerate(ellipses.axes if only is None else ()):
                _move(hessian, gradient, step, y, size, np.array(index), others, back, ellipses,
                      number)
            if np.abs(step - before).max(initial=0.0) < 1e-9 * max(np.abs(step).max(initial=0.0),
                                                                   1e-300):
                break
        known = np.setdiff1d(np.arange(y.size), others)
        step[others] = back @ (gradient[others] - hessian[np.ix_(others, known)] @ step[known])
        low, high = (bounds - y) * size
        beyond = ~inside & ~stays & ((step < low) | (step > high))
        if not beyond.any():
            break
        step[beyond] = np.clip(step, low, high)[beyond]
        stays |= beyond
    return step / size


def _move(hessian: np.ndarray, gradient: np.ndarray, step: np.ndarray, y: np.ndarray,
          size: np.ndarray, index: np.ndarray, others: np.ndarray, back: np.ndarray,
          ellipses: Ellipses, number: int) -> None:
    """Set the step of one ellipse to its best, with all that is free following and the rest where it is."""
    rest = np.setdiff1d(np.arange(y.size), [*others, *index])
    follow = hessian[np.ix_(index, others)] @ back
    matrix = hessian[np.ix_(index, index)] - follow @ hessian[np.ix_(others, index)]
    slope = gradient[index] - hessian[np.ix_(index, rest)] @ step[rest]
    slope -= follow @ (gradient[others] - hessian[np.ix_(others, rest)] @ step[rest])
    scale = size[index]
    matrix, slope = matrix * np.outer(scale, scale), slope * scale
    square = ellipses.held[1] if ellipses.held is not None and ellipses.held[0] == number else None
    step[index] = (lowest_in_cone(matrix, slope + matrix @ y[index], square) - y[index]) * scale


def lowest_in_cone(matrix: np.ndarray, slope: np.ndarray, held: float | None = None) -> np.ndarray:
    """Minimum (3,) of m'Mm/2 − s'm over moments m = (t, d₁, d₂) with t ≥ |d|, or with t + |d| held.

    Parameters
    ----------
    matrix : ndarray (3, 3)
    slope : ndarray (3,)
    held : float, optional
        Square of the major axis.
    """
    if held is None:
        free = np.linalg.pinv(matrix, rcond=1e-11, hermitian=True) @ slope
        if free[0] >= np.hypot(free[1], free[2]):
            return free
    angles = np.pi * np.arange(_ANGLES) / _ANGLES
    spacing = np.pi / _ANGLES
    best = np.zeros(3)
    for _ in range(_REFINED):
        along = 0.5 * np.stack([np.ones(angles.size), np.cos(2 * angles), np.sin(2 * angles)],
                               axis=1)
        if held is None:
            found = _share(matrix, slope, along, np.inf)[:, None] * along
        else:
            across = along * (1.0, -1.0, -1.0)
            whole = held * along
            found = whole + _share(matrix, slope - whole @ matrix, across, held)[:, None] * across
        value = 0.5 * np.einsum("ki,ij,kj->k", found, matrix, found) - found @ slope
        lowest = int(np.argmin(value))
        best = found[lowest]
        angles = angles[lowest] + spacing * np.linspace(-1.0, 1.0, 2 * _FINER + 1)
        spacing /= _FINER
    return best


def _share(matrix: np.ndarray, slope: np.ndarray, along: np.ndarray, most: float) -> np.ndarray:
    """How far (k,) to go along each direction (k, 3), from 0 to most, for the lowest parabola."""
    curvature = np.einsum("ki,ij,kj->k", along, matrix, along)
    fall = np.sum(along * slope, axis=1)
    safe = np.where(curvature > 0, curvature, 1.0)
    return np.clip(np.where(curvature > 0, fall / safe, 0.0), 0.0, most)
