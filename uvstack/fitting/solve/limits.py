"""Sizes near zero: solved for without getting stuck, with limits from the profile of the likelihood.

The visibilities of a Gaussian, a disc, a ring, a sphere, a bubble or an exponential are even in
their size s and regular in s²; the gradient of χ² by s vanishes at s = 0, whatever the data say,
and so does its curvature. There a Gauss–Newton step in s never gets small and an error from the
curvature means nothing. So sizes are solved for in z = s² ≥ 0, in which χ² is close to a parabola,
and ratios alike; the positive branch is returned. Power laws and the Gaussian ring have a term in
|s|: for those z = s. Noise pushes the best z of an unresolved source below zero half of the time.
Then the size is 0, and the flux and its error are those of a point. Components whose size, ratio
and position angle are all fitted are solved for in the second moments of their brightness, which
are regular for round sources, lines and points as well: see `uvstack.fitting.solve.ellipses`.

Limits are where χ², minimised over all other parameters, lies Δχ² above its minimum over sizes ≥ 0
(Wilks 1938; Feldman & Cousins 1998 on the boundary): 2.71 for a one-sided limit of 95 % and 1 for
the 68 % bound. At the boundary they cover too often: 95 % is the least, 100 % for a true point. The
limit on the major axis of an ellipse is that on the size in any direction: ratio and angle are
fitted again for each held value. An ellipse has three parameters more than a point, and counts as
unresolved as long as a point is within 5.5 of the lowest χ² (95 % of points are: `DELTA_ELLIPSE`).
Cost: 10 to 40 passes over the data for a limit, for unresolved sizes alone.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model.model import EXTRA, MAJOR, PA, RATIO, Model
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.result import FitResult
from uvstack.fitting.solve.ellipses import Ellipses, solve_ellipses
from uvstack.fitting.solve.solver import Passes, Solution, solve

#: Sizes (arcsec) and ratios at or below which a solution stands for zero: there the slopes are
#: still exact.
ZERO = 1e-9
#: Rise of χ² at a one-sided limit of 95 %, and at the 68 % bound.
DELTA_95, DELTA_68 = 2.706, 1.0
#: The same for an ellipse against a point: the mixture of χ² of 1, 2 and 3 degrees of freedom
#: (weights √2/4, √2/4 and (2 − √2)/4) of moments that are measured alike and confined to a cone of
#: half-angle 45° (Shapiro 1988).
DELTA_ELLIPSE = 5.5
#: A size below that many of its errors may be unresolved; the profile decides.
_LOOKED_AT = 5.0
_SMOOTH = frozenset(("gaussian", "disc", "ring", "sphere", "bubble", "expo"))
#: Upper bound of a ratio that has none.
LARGEST_RATIO = 30.0
#: Passes after which another way to solve for ellipses has its turn.
_BEFORE_TURNING = 30
_MOST_STEPS = 40
#: Passes in which all other parameters are fitted to a held one.
_FOR_A_VALUE = 20
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
            return _scaled(passes(p),
                           np.where(self.squared, 0.5 / np.where(self.squared, p, 1.0), 1.0))

        return of_z


def branch_of(model: Model, limits: np.ndarray | None = None) -> Branch:
    """Which parameters are a size or a ratio of components and nothing else, as the expression "p[i]"."""
    n = model.n_parameters
    squared, positive = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    if model.is_linear:
        return Branch(squared, positive)
    for i in range(n):
        kinds = _kinds_of(model, i)
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
    normal = _scaled(found.normal, np.where(branch.squared, 2.0 * p, 1.0))
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


def with_limits(result: FitResult, passes: Passes, limits: np.ndarray | None = None,
                branch: Branch | None = None) -> FitResult:
    """The result with limits in place of the errors of unresolved sizes, and `upper_limits` of them.

    Parameters
    ----------
    result : FitResult
        Its errors are those of the normal matrix; sizes at zero are exactly 0 and have an error of
        0.
    passes : callable
        Normal equations at p (par,); called only where a size is within 5 of its errors of 0.
    limits : ndarray (2, par), optional
        Bounds of the parameters.
    branch : Branch, optional
        As `branch_of` makes it.
    """
    branch = branch_of(result.model, limits) if branch is None else branch
    errors, covariance, upper = result.errors.copy(), result.covariance.copy(), dict(
        result.upper_limits)
    unit = result.reduced_chi_squared if result.errors_scaled else 1.0
    n_passes = 0

    def counted(p: np.ndarray) -> NormalEquations:
        nonlocal n_passes
        n_passes += 1
        return passes(p)

    degenerate = result.degenerate
    ratios = {int(i) for i in np.flatnonzero(branch.any)
              if all(k == RATIO for _, k in _kinds_of(result.model, int(i)))}
    for i in sorted(np.flatnonzero(branch.any).tolist(), key=lambda i: i in ratios):
        value, at_zero, name = result.parameters[i], result.parameters[i] == 0.0, result.model.names[i]
        if not at_zero and (i in ratios or value > _LOOKED_AT * errors[i]):
            continue
        if i in ratios and any(result.model.names[j] in upper for j in _majors_of(result.model, i)):
            errors[i], covariance[i], covariance[:, i] = np.nan, np.nan, np.nan
            degenerate = "; ".join([*([degenerate] if degenerate else []),
                                    f"{name} means nothing for a source that is not resolved"])
            continue
        profile = _Profile(counted, result, i, limits, branch)
        if not at_zero and profile.rise(0.0) > (DELTA_95 if profile.component is None
                                                else DELTA_ELLIPSE) * unit:
            continue
        upper[name] = profile.crossing(DELTA_95 * unit, +1)
        error = profile.crossing(DELTA_68 * unit, +1) - value
        # Correlations stay as they were, where there were any.
        usable = np.isfinite(errors[i]) and errors[i] > 0 and np.isfinite(error)
        factor = np.where(np.arange(errors.size) == i, 1.0, error / errors[i] if usable else 0.0)
        covariance[i] = np.where(np.isfinite(covariance[i]) | (factor != 0), covariance[i],
                                 0.0) * factor
        covariance[:, i] = covariance[i]
        covariance[i, i], errors[i] = error**2, error
    return replace(result, errors=errors, covariance=covariance, upper_limits=upper,
                   degenerate=degenerate, n_passes=result.n_passes + n_passes)


def profile_likelihood(passes: Passes, model: Model, result: FitResult, index: int, delta_chi2: float = DELTA_68, *,
                       bounds: np.ndarray | None = None) -> tuple[float, float]:  # fmt: skip
    """Lower and upper value of a parameter at which χ² has risen by delta_chi2, all others fitted again.

    Parameters
    ----------
    passes : callable
        Normal equations at p (par,).
    model : Model
    result : FitResult
        The fit.
    index : int
        Of the parameter.
    delta_chi2 : float
        1 for 68 %, 2.71 for 90 % between both or a limit of 95 % on one side, 9 for 3 σ.
    bounds : ndarray (2, par), optional
        Of the parameters, as in the fit.

    Returns
    -------
    tuple of float
        The lower one of a size is 0 where χ² does not rise that much; a side on which it never does
        is ∓inf, or the bound.

    Raises
    ------
    FitError
        There is no such parameter or delta_chi2 is not positive.
    """
    if not 0 <= index < model.n_parameters:
        raise FitError(f"parameter {index} of {model.n_parameters}; wanted 0 to "
                       f"{model.n_parameters - 1}")
    if not delta_chi2 > 0:
        raise FitError(f"a rise of {delta_chi2} in χ²; wanted a positive one: 1 for 68 %")
    profile = _Profile(passes, result, index, bounds, branch_of(model, bounds))
    return profile.crossing(delta_chi2, -1), profile.crossing(delta_chi2, +1)


class _Profile:
    """Rise of χ² above its minimum with one parameter held and the others fitted.

    The last fit is the next one's start.
    """

    def __init__(self, passes: Passes, result: FitResult, index: int, limits: np.ndarray | None,
                 branch: Branch) -> None:
        self.index, self.branch, self.is_even = index, branch, bool(branch.any[index])
        self.component = next((i for i, axes in enumerate(branch.axes) if axes[0] == index), None)
        self.passes = branch.passes(passes)
        self.lowest = result.chi_squared
        self.best = branch.inward(np.asarray(result.parameters, np.float64))
        self.others = np.arange(self.best.size) != index
        self.edges = bounds = branch.bounds(limits)
        self.room = np.array([-np.inf, np.inf]) if bounds is None else bounds[:, index]
        self.bounds = None if bounds is None else bounds[:, self.others]
        self.known: dict[float, tuple[float, NormalEquations, np.ndarray]] = {}

    def rise(self, value: float) -> float:
        """At a value of the parameter."""
        whole = np.zeros(self.best.size)
        whole[self.index] = value
        return self._rise(float(self.branch.inward(whole)[self.index]))

    def _rise(self, z: float) -> float:
        if z not in self.known:
            near = min(self.known, key=lambda one: abs(one - z), default=None)
            start = (self.known[near][2] if near is not None else self.best).copy()
            start[self.index] = z
            if self.component is not None:
                assert self.edges is not None
                ellipses = Ellipses(self.branch.axes, (self.component, z))
                fitted = solve_ellipses(self.passes, start, self.edges, ellipses, tolerance=0.03,
                                        most_passes=_FOR_A_VALUE)
                start, chi_squared, normal = fitted.p, fitted.normal.chi_squared, fitted.normal
            elif self.others.any():
                found = solve(self._held(z), start[self.others], self.bounds, tolerance=0.03,
                              most_passes=_FOR_A_VALUE)
                start[self.others] = found.p
                chi_squared, normal = found.normal.chi_squared, found.normal
            else:
                normal = self.passes(start)
                chi_squared = normal.chi_squared
            self.known[z] = chi_squared - self.lowest, normal, start
        return self.known[z][0]

    def _held(self, z: float) -> Passes:
        others, index = self.others, self.index

        def reduced(rest: np.ndarray) -> NormalEquations:
            whole = np.empty(others.size)
            whole[others], whole[index] = rest, z
            found = self.passes(whole)
            return NormalEquations(found.chi_squared, found.gradient[others],
                                   found.hessian[np.ix_(others, others)], found.n)

        return reduced

    def crossing(self, delta: float, side: int) -> float:
        """Value on one side (±1) at which χ² has risen by delta."""
        best = self.best[self.index]
        end = self.room[0] if side < 0 else self.room[1]
        step = self._first_step(delta)

        def excess(z: float) -> float:
            return math.sqrt(max(self._rise(z), 0.0)) - math.sqrt(delta)

        inside, low = best, -math.sqrt(delta)
        for _ in range(_MOST_STEPS):
            outside = min(inside + step, end) if side > 0 else max(inside - step, end)
            high = excess(outside)
            if high >= 0 or outside == end:
                break
            # As far again as a straight line says, or twice as far.
            step = max(step, min(10.0, 1.2 * -high / max(high - low, 1e-9)) * step)
            inside, low = outside, high
        if high < 0:
            has_end = outside == end and not (side > 0
                                              and any(self.index == ratio
                                                      for _, ratio, _ in self.branch.axes))
            return self._value(end) if has_end else math.copysign(math.inf, side)
        return self._value(self._between(excess, inside, low, outside, high, math.sqrt(delta)))

    @staticmethod
    def _between(excess, inside: float, low: float, outside: float, high: float,
                 scale: float) -> float:
        """Root between two ends by false position, the idle end's weight halved (Illinois)."""
        last = 0
        z = outside
        for _ in range(_MOST_STEPS):
            if low == high:
                break
            z = inside + (outside - inside) * low / (low - high)
            now = excess(z)
            if abs(now) < 1e-3 * scale:
                break
            if now < 0:
                inside, low, high = z, now, high * (0.5 if last < 0 else 1.0)
                last = -1
            else:
                outside, high, low = z, now, low * (0.5 if last > 0 else 1.0)
                last = 1
        return z

    def _first_step(self, delta: float) -> float:
        """Where a parabola with the slope and curvature of the best point rises by delta."""
        normal = self.passes(self.best)
        i = self.index
        slope = max(-normal.gradient[i], 0.0)
        curvature = normal.hessian[i, i]
        if not (np.isfinite(curvature) and curvature > 0):
            return max(abs(self.best[i]), 1.0)
        return (-slope + math.sqrt(slope**2 + curvature * delta)) / curvature

    def _value(self, z: float) -> float:
        whole = self.best.copy()
        whole[self.index] = z
        value = float(self.branch.outward(whole)[self.index])
        return 0.0 if self.is_even and value <= 1.001 * ZERO else value


def _scaled(normal: NormalEquations, factor: np.ndarray) -> NormalEquations:
    """With derivatives by other variables: factor (par,) is d old/d new."""
    return NormalEquations(normal.chi_squared, normal.gradient * factor,
                           normal.hessian * np.outer(factor, factor), normal.n)


def _used(part: str) -> list[int]:
    """Indices of the parameters in an expression."""
    return [int(i) for i in re.findall(r"\bp\s*\[\s*(\d+)\s*\]", part)]


def _used_elsewhere(model: Model, i: int) -> bool:
    """Whether gains or the scale hold the parameter."""
    return any(i in e.used for e in model.all_expressions[len(model.variables) :])


def _majors_of(model: Model, ratio: int) -> set[int]:
    """Parameters in the major axes of the components that have this ratio."""
    return {j for v in model.variables if len(v) > RATIO and ratio in _used(v.parts[RATIO])
            for j in _used(v.parts[MAJOR])}


def _kinds_of(model: Model, i: int) -> set[tuple[str, int]]:
    """(shape, number) of all places of a parameter if those are majors or ratios that are "p[i]" alone; else none."""
    found = set()
    for kind, variables in zip(model.shapes, model.variables, strict=True):
        for k, part in enumerate(variables.parts):
            if i in _used(part):
                if k not in (MAJOR, RATIO, EXTRA) or _IS_PLAIN(part.strip()) is None:
                    return set()
                found.add((kind.name, k))
    return set() if _used_elsewhere(model, i) else found
