"""Sizes and ratios near zero: solved for on their positive branch, without getting stuck.

The visibilities of a Gaussian, a disc, a ring, a sphere, a bubble or an exponential are even in
their size s and regular in s²; the gradient of χ² by s vanishes at s = 0, whatever the data say,
and so does its curvature. There a Gauss–Newton step in s never gets small and an error from the
curvature means nothing. So sizes are solved for in z = s² ≥ 0, in which χ² is close to a parabola,
and ratios alike; the positive branch is returned. Power laws and the Gaussian ring have a term in
|s|: for those z = s. Noise pushes the best z of an unresolved source below zero half of the time.
Then the most likely size is 0. Components whose size, ratio and position angle are all fitted are
solved for in the second moments of their brightness, which are regular for round sources, lines and
points as well: see `uvstack.fitting.solve.ellipses`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from uvstack.fitting.model.model import EXTRA, MAJOR, PA, RATIO, Model
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.solve.ellipses import Ellipses, solve_ellipses
from uvstack.fitting.solve.solver import Passes, Solution, solve

#: Sizes (arcsec) and ratios at or below which a solution stands for zero: there the slopes are
#: still exact.
ZERO = 1e-9
_SMOOTH = frozenset(("gaussian", "disc", "ring", "sphere", "bubble", "expo"))
#: Upper bound of a ratio that has none.
LARGEST_RATIO = 30.0
#: Passes after which another way to solve for ellipses has its turn.
_BEFORE_TURNING = 30
_IS_PLAIN = re.compile(r"p\s*\[\s*\d+\s*\]").fullmatch


@dataclass(frozen=True, eq=False)
class Branch:
    """Parameters of a model that are solved for on their positive branch, and how.

    Attributes
    ----------
    squared : ndarray (par,) bool
        Solved for as z = p².
    positive : ndarray (par,) bool
        Solved for as z = |p|.
    axes : tuple of (int, int, int)
        Major, ratio and position angle of components in which each is a parameter of its own.
    """

    squared: np.ndarray
    positive: np.ndarray
    axes: tuple[tuple[int, int, int], ...] = ()

    @property
    def any(self) -> np.ndarray:
        """Either, (par,)."""
        return self.squared | self.positive

    def inward(self, p: np.ndarray) -> np.ndarray:
        """z of p (par,)."""
        least = np.where(self.any, np.maximum(np.abs(p), ZERO), p)
        return np.where(self.squared, least**2, least)

    def outward(self, z: np.ndarray) -> np.ndarray:
        """p of z (par,)."""
        return np.where(self.squared, np.sqrt(np.maximum(z, ZERO**2)), z)

    def bounds(self, limits: np.ndarray | None) -> np.ndarray | None:
        """Bounds (2, par) of z."""
        if limits is None and not self.any.any():
            return None
        low, high = np.array([[-np.inf], [np.inf]]).repeat(self.squared.size,
                                                           axis=1) if limits is None else limits
        low, high = np.where(self.any, np.maximum(low, ZERO), low), high.copy()
        for _, ratio, angle in self.axes:  # these bounds are kept by giving the axes and the angle their names at the end
            high[ratio], low[angle], high[angle] = LARGEST_RATIO, -np.inf, np.inf
        return np.stack([np.where(self.squared, low**2, low),
                         np.where(self.squared, high**2, high)])

    def passes(self, passes: Passes) -> Passes:
        """Normal equations as functions of z."""

        def of_z(z: np.ndarray) -> NormalEquations:
            p = self.outward(z)
            return by_others(passes(p),
                           np.where(self.squared, 0.5 / np.where(self.squared, p, 1.0), 1.0))

        return of_z


def branch_of(model: Model, limits: np.ndarray | None = None) -> Branch:
    """Which parameters are a size or a ratio of components and nothing else, as the expression "p[i]"."""
    n = model.n_parameters
    squared, positive = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    if model.is_linear:
        return Branch(squared, positive)
    for i in range(n):
        kinds = kinds_at(model, i)
        if not kinds or (limits is not None and limits[1, i] <= ZERO):
            continue
        squared[i] = kinds <= {*((name, k) for name in _SMOOTH for k in (MAJOR, RATIO)),
                               ("gaussian-ring", EXTRA)}
        positive[i] = not squared[i] and all(k == MAJOR for _, k in kinds)
    axes = []
    for variables in model.variables:
        plain = [_used(part) if _IS_PLAIN(part.strip()) else []
                 for part in variables.parts[MAJOR : PA + 1]]
        if len(variables) > MAJOR and all(plain):
            major, ratio, angle = (one[0] for one in plain)
            places = sum(_used(part).count(i) for v in model.variables for part in v.parts
                         for i in (major, ratio, angle))
            if places == 3 and squared[major] and squared[ratio] and _any_ellipse(
                limits, major, ratio, angle):
                axes.append((major, ratio, angle))
    return Branch(squared, positive, tuple(axes))


def _any_ellipse(limits: np.ndarray | None, major: int, ratio: int, angle: int) -> bool:
    """Whether bounds (2, par) leave every ellipse possible, under one of its names."""
    if limits is None:
        return True
    low, high = limits
    return bool(low[major] <= 0 and high[major] == np.inf and low[ratio] <= 0 and high[ratio] >= 1
                and high[angle] - low[angle] >= 180)


def solve_branch(passes: Passes, p_ini: np.ndarray, limits: np.ndarray | None, branch: Branch, *, tolerance: float = 1e-3,
                 most_passes: int = 100, linear: np.ndarray | None = None) -> Solution:  # fmt: skip
    """As `solver.solve`, with sizes and ratios on their positive branch.

    Those at zero come back as exactly 0.
    """
    if not branch.any.any():
        return solve(passes, p_ini, limits, tolerance=tolerance, most_passes=most_passes,
                     linear=linear)
    start, edges, of_z = branch.inward(np.asarray(p_ini, np.float64)), branch.bounds(limits), branch.passes(passes)
    assert edges is not None
    start = np.clip(start, *edges)
    if branch.axes:
        found = _solve_ellipses(of_z, start, edges, branch, tolerance, most_passes, linear)
    else:
        found = solve(of_z, start, edges, tolerance=tolerance, most_passes=most_passes,
                      linear=linear)
    p = branch.outward(found.p)
    normal = by_others(found.normal, np.where(branch.squared, 2.0 * p, 1.0))
    in_axes = np.isin(np.arange(p.size), branch.axes)
    if limits is not None:  # the root of a square need not be the bound itself
        p = np.where(branch.any & ~in_axes & (found.p >= edges[1]), limits[1], p)
        p = np.where(branch.any & ~in_axes & (found.p <= edges[0]), np.maximum(limits[0], 0.0), p)
    for axes in branch.axes:
        p, normal = _with_usual_names(p, normal, axes, p_ini, limits)
    return Solution(np.where(branch.any & (p <= 1.001 * ZERO), 0.0, p), normal, found.stop_reason,
                    found.n_passes, found.converged)


def _with_usual_names(p: np.ndarray, normal: NormalEquations, axes: tuple[int, int, int], p_ini: np.ndarray,
                      limits: np.ndarray | None) -> tuple[np.ndarray, NormalEquations]:  # fmt: skip
    """The same ellipse with its longer axis called major and its angle within a half turn.

    That of a point stays as it was.
    """
    p = p.copy()
    index = list(axes)
    major, ratio, angle = p[index]
    if major <= 1.001 * ZERO:
        p[index[1:]] = np.asarray(p_ini)[index[1:]]
        return p, normal
    if ratio > 1.0:
        slopes = np.eye(p.size)  # of the old parameters by the new ones
        major, ratio, angle = major * ratio, 1.0 / ratio, angle + 90.0
        slopes[np.ix_(index, index)] = [[ratio, major, 0.0], [0.0, -1.0 / ratio**2, 0.0],
                                        [0.0, 0.0, 1.0]]
        normal = NormalEquations(normal.chi_squared, slopes.T @ normal.gradient,
                                 slopes.T @ normal.hessian @ slopes, normal.n)
    low, high = (-90.0, 90.0) if limits is None else limits[:, axes[2]]
    middle = 0.5 * (low + high) if np.isfinite([low, high]).all() else low + 90.0 if np.isfinite(low) else high - 90.0
    middle = middle if np.isfinite(middle) else 0.0
    p[index] = major, ratio, middle + 90.0 - (middle + 90.0 - angle) % 180.0
    return p, normal


def _solve_ellipses(of_z: Passes, start: np.ndarray, edges: np.ndarray, branch: Branch, tolerance: float, most_passes: int,
                    linear: np.ndarray | None) -> Solution:  # fmt: skip
    """As `solver.solve` in z (par,) with bounds (2, par), for components that may be round, a line or a point.

    By moments, and where these take many steps, as curved valleys want, by axes and angle from
    there on.
    """
    ellipses, passes_left = Ellipses(branch.axes), most_passes
    found = solve_ellipses(of_z, start, edges, ellipses, tolerance=tolerance,
                           most_passes=min(most_passes, _BEFORE_TURNING), linear=linear)
    n_passes = found.n_passes
    for by_moments in (False, True):
        passes_left = most_passes - n_passes
        if found.converged or passes_left < 2:
            break
        z = np.clip(found.p, *edges)
        if by_moments:
            there = solve_ellipses(of_z, z, edges, ellipses, tolerance=tolerance,
                                   most_passes=min(passes_left, _BEFORE_TURNING))
        else:
            there = solve(of_z, z, edges, tolerance=tolerance, most_passes=passes_left)
        n_passes += there.n_passes
        at_edge = any(there.p[i] <= edges[0, i] or there.p[i] >= edges[1, i] for axes in branch.axes
                      for i in axes[:2])
        # At an edge axes and angle may have no slope: only moments tell whether that is a minimum.
        found = replace(there, converged=there.converged and (by_moments or not at_edge))
    if not found.converged and "below" in found.stop_reason:
        found = replace(found, converged=True)
    return replace(found, n_passes=n_passes)


def without_effect(model: Model, at_zero: np.ndarray) -> np.ndarray:
    """Parameters (par,) that only turn or flatten components whose size is 0 (par,)."""
    out = np.zeros(model.n_parameters, np.bool_)
    if not at_zero.any():
        return out
    points = [c for c, v in enumerate(model.variables)
              if len(v) > MAJOR and at_zero[[i for i in _used(v.parts[MAJOR])]].any()]
    for i in range(model.n_parameters):
        places = {(c, k) for c, v in enumerate(model.variables) for k, part in enumerate(v.parts)
                  if i in _used(part)}
        out[i] = bool(places) and all(c in points and k in (RATIO, PA)
                                      for c, k in places) and not _used_elsewhere(model, i)
    return out


def by_others(normal: NormalEquations, factor: np.ndarray) -> NormalEquations:
    """With derivatives by other variables: factor (par,) is d old/d new."""
    return NormalEquations(normal.chi_squared, normal.gradient * factor,
                           normal.hessian * np.outer(factor, factor), normal.n)


def _used(part: str) -> list[int]:
    """Indices of the parameters in an expression."""
    return [int(i) for i in re.findall(r"\bp\s*\[\s*(\d+)\s*\]", part)]


def _used_elsewhere(model: Model, i: int) -> bool:
    """Whether gains or the scale hold the parameter."""
    return any(i in e.used for e in model.all_expressions[len(model.variables) :])


def majors_of(model: Model, ratio: int) -> set[int]:
    """Parameters in the major axes of the components that have this ratio."""
    return {j for v in model.variables if len(v) > RATIO and ratio in _used(v.parts[RATIO])
            for j in _used(v.parts[MAJOR])}


def kinds_at(model: Model, i: int) -> set[tuple[str, int]]:
    """(shape, number) of all places of a parameter if those are majors or ratios that are "p[i]" alone; else none."""
    found = set()
    for kind, variables in zip(model.shapes, model.variables, strict=True):
        for k, part in enumerate(variables.parts):
            if i in _used(part):
                if k not in (MAJOR, RATIO, EXTRA) or _IS_PLAIN(part.strip()) is None:
                    return set()
                found.add((kind.name, k))
    return set() if _used_elsewhere(model, i) else found
