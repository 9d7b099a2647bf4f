"""Profile of the likelihood: χ² with one parameter held and the others fitted again.

The last fit is the next one's start, so that a held value costs one to three passes over the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model.model import Model
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.result import FitResult
from uvstack.fitting.solve.branch import ZERO, Branch, branch_of, by_others
from uvstack.fitting.solve.ellipses import Ellipses, solve_ellipses
from uvstack.fitting.solve.solver import Passes, solve

_MOST_STEPS = 40
#: Passes in which all other parameters are fitted to a held one.
_FOR_A_VALUE = 20
#: Precision of a crossing, as a share of √Δχ².
_NEAR = 5e-3
#: Curvature that is none.
_NOTHING = 1e-150


def profile_likelihood(passes: Passes, model: Model, result: FitResult, index: int, delta_chi2: float = 1.0, *,
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
    profile = Profile(passes, result, index, bounds, branch_of(model, bounds))
    return (profile.crossing(lambda z: delta_chi2, delta_chi2, -1),
            profile.crossing(lambda z: delta_chi2, delta_chi2, +1))


class Profile:
    """Rise of χ² above its minimum with one parameter held, at z, its coordinate on the branch.

    Parameters
    ----------
    passes : callable
        Normal equations at p (par,).
    result : FitResult
    index : int
        Of the parameter.
    limits : ndarray (2, par), optional
        Bounds of the parameters.
    branch : Branch
        As `branch_of` makes it.
    """

    def __init__(self, passes: Passes, result: FitResult, index: int, limits: np.ndarray | None,
                 branch: Branch) -> None:
        self.index, self.branch, self.is_even = index, branch, bool(branch.any[index])
        self.component = next((i for i, axes in enumerate(branch.axes) if axes[0] == index), None)
        self.model, self.passes = result.model, branch.passes(passes)
        self.lowest = result.lowest_chi_squared
        self.best = branch.inward(np.asarray(result.most_likely, np.float64))
        self.others = np.arange(self.best.size) != index
        self.edges = bounds = branch.bounds(limits)
        self.room = np.array([-np.inf, np.inf]) if bounds is None else bounds[:, index]
        self.bounds = None if bounds is None else bounds[:, self.others]
        self.known: dict[float, tuple[float, NormalEquations, np.ndarray]] = {}
        self._first: NormalEquations | None = None

    def rise(self, z: float) -> float:
        """Of χ² at z."""
        return self._at(z)[0]

    def at(self, z: float) -> tuple[np.ndarray, NormalEquations]:
        """Parameters p (par,) and their normal equations where z is held and the others fitted."""
        _, normal, fitted = self._at(z)
        p = self.branch.outward(fitted)
        return p, by_others(normal, np.where(self.branch.squared, 2.0 * p, 1.0))

    def curvature(self, z: float) -> float:
        """Of half the rise by z there, the others being fitted: 1/σ_z²."""
        variance = inverse_of(self._at(z)[1].hessian)[self.index, self.index]
        return 1.0 / variance if variance > 0 else 0.0

    def _at(self, z: float) -> tuple[float, NormalEquations, np.ndarray]:
        """Rise, normal equations by z and z (par,)."""
        if z not in self.known:
            start = self._start(z)
            if self.component is not None:
                assert self.edges is not None
                ellipses = Ellipses(self.branch.axes, (self.component, z))
                found = solve_ellipses(self.passes, start, self.edges, ellipses, tolerance=0.03,
                                       most_passes=_FOR_A_VALUE)
                self.known[z] = found.normal.chi_squared - self.lowest, found.normal, found.p
            else:
                seen: dict[bytes, NormalEquations] = {}
                if self.others.any():
                    held = self._held(z, seen)
                    start[self.others] = solve(held, start[self.others], self.bounds,
                                               tolerance=0.03, most_passes=_FOR_A_VALUE).p
                    normal = seen[start[self.others].tobytes()]
                else:
                    normal = self.passes(start)
                self.known[z] = normal.chi_squared - self.lowest, normal, start
        return self.known[z]

    def _start(self, z: float) -> np.ndarray:
        """z (par,) to begin with: from the nearest point that is known along its parabola."""
        near = min(self.known, key=lambda one: abs(one - z), default=None)
        if near is None:
            start, normal = self.best.copy(), self._first_normal()
        else:
            start, normal = self.known[near][2].copy(), self.known[near][1]
        if self.component is None and self.others.any():
            others, step = self.others, z - start[self.index]
            follow = -inverse_of(normal.hessian[np.ix_(others, others)]) @ normal.hessian[others,
                                                                                   self.index]
            start[others] += np.where(np.isfinite(follow), follow, 0.0) * step
            if self.bounds is not None:
                start[others] = np.clip(start[others], *self.bounds)
        start[self.index] = z
        return start

    def _held(self, z: float, seen: dict[bytes, NormalEquations]) -> Passes:
        """Normal equations of the others; those of all parameters are put into `seen`."""
        others, index = self.others, self.index

        def reduced(rest: np.ndarray) -> NormalEquations:
            whole = np.empty(others.size)
            whole[others], whole[index] = rest, z
            found = seen[rest.tobytes()] = self.passes(whole)
            return NormalEquations(found.chi_squared, found.gradient[others],
                                   found.hessian[np.ix_(others, others)], found.n)

        return reduced

    def crossing(self, wanted: Callable[[float], float], about: float, side: int) -> float:
        """Value of the parameter on one side (±1) at which χ² has risen by wanted(z), some `about`.

        That is infinite where all farther values are possible too.
        """
        best = self.best[self.index]
        end = self.room[0] if side < 0 else self.room[1]
        step = self._first_step(about)

        def excess(z: float) -> float:
            return math.sqrt(max(self.rise(z), 0.0)) - math.sqrt(wanted(z))

        inside, low = best, -math.sqrt(about)
        for _ in range(_MOST_STEPS):
            outside = min(inside + step, end) if side > 0 else max(inside - step, end)
            high = excess(outside)
            if high == -math.inf:
                outside = end
            if high >= 0 or outside == end:
                break
            # As far again as a straight line says, or twice as far.
            step = max(step, min(10.0, 1.2 * -high / max(high - low, 1e-9)) * step)
            inside, low = outside, high
        if high < 0:
            has_end = outside == end and not (side > 0
                                              and any(self.index == ratio
                                                      for _, ratio, _ in self.branch.axes))
            return self.value(end) if has_end else math.copysign(math.inf, side)
        return self.value(_between(excess, inside, low, outside, high, math.sqrt(about)))

    def _first_step(self, delta: float) -> float:
        """Where a parabola with the slope and curvature of the best point rises by delta."""
        normal, i = self._first_normal(), self.index
        slope = max(-normal.gradient[i], 0.0)
        curvature = normal.hessian[i, i]
        if self.component is None:
            variance = inverse_of(normal.hessian)[i, i]
            curvature = 1.0 / variance if variance > 0 else curvature
        if not (np.isfinite(curvature) and curvature > 0):
            return max(abs(self.best[i]), 1.0)
        return (-slope + math.sqrt(slope**2 + curvature * delta)) / curvature

    def _first_normal(self) -> NormalEquations:
        """At the best point."""
        self._first = self._first or self.passes(self.best)
        return self._first

    def value(self, z: float) -> float:
        """Of the parameter at z."""
        whole = self.best.copy()
        whole[self.index] = z
        value = float(self.branch.outward(whole)[self.index])
        return 0.0 if self.is_even and value <= 1.001 * ZERO else value


def _between(excess: Callable[[float], float], inside: float, low: float, outside: float,
             high: float, scale: float) -> float:
    """Root between two ends by false position, the idle end's weight halved (Illinois)."""
    last = 0
    z = outside
    for _ in range(_MOST_STEPS):
        if low == high:
            break
        z = inside + (outside - inside) * low / (low - high)
        now = max(excess(z), -10.0 * scale)
        if abs(now) < _NEAR * scale:
            break
        if now < 0:
            inside, low, high = z, now, high * (0.5 if last < 0 else 1.0)
            last = -1
        else:
            outside, high, low = z, now, low * (0.5 if last > 0 else 1.0)
            last = 1
    return z


def inverse_of(hessian: np.ndarray) -> np.ndarray:
    """Of a matrix of curvatures of any units; directions without curvature have none."""
    diagonal = np.diag(hessian)
    size = np.where(diagonal > _NOTHING, np.sqrt(np.maximum(diagonal, _NOTHING)), np.inf)
    return np.linalg.pinv(hessian / np.outer(size, size), rcond=1e-11,
                          hermitian=True) / np.outer(size, size)
