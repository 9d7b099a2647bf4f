"""Sizes and fluxes by the maximum of likelihood × √det F, F being Fisher's information on them.

At low signal to noise the maximum of the likelihood is no good estimate of a size: for many noises
the most likely size is 0, or several beams. The factor √det F (Jeffreys' prior; the correction of
Firth 1993) pulls both ends in, and falls behind the likelihood as 1/SNR², so that what is measured
well stays where it is: sizes of more than 20 errors are left alone.

F is the block of the normal matrix of all sizes (FWHM, diameters) that are parameters and of the
fluxes of their components. All else is flat: places, ratios, angles, spectra and gains have no
natural zero, and the F of a place would push up the flux (det F grows as its fourth power), which
the likelihood has too high as it is. Models with a component whose ratio or angle is fitted stay
with the likelihood: F by axes and angle vanishes where an ellipse is round, a line or a point.

−2 ln of the product is χ² − u ln det F, u being the variance over 1/w: normal equations of their
own, with slopes of ln det F by differences, that go to the same solver as those of the likelihood.
Cost: as many passes again for each parameter of these components, for sizes of few errors alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model.model import FLUX, MAJOR, PA, RATIO, Model
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.solve.branch import Branch, kinds_at, solve_branch
from uvstack.fitting.solve.profile import inverse_of
from uvstack.fitting.solve.solver import Passes, Solution

#: A size of more errors than that stays: it would move by less than a tenth of its error.
_WELL = 20.0
#: The likelihood has run away to a size without end where a flux is below that many of its errors:
#: smaller sizes are tried too, so many times by this factor.
_UNCLEAR, _TIMES, _SHRUNK = 2.0, 3, 1.0 / 3.0
#: Step of differences, of the parameter itself.
_STEP = 0.01


@dataclass(frozen=True, eq=False)
class Penalty:
    """What of a model √det F counts for.

    Attributes
    ----------
    sizes, fluxes : tuple of int
        The parameters of F.
    others : tuple of int
        Those that F depends on besides.
    branch : Branch
    unit : float
        Variance over 1/w.
    """

    sizes: tuple[int, ...]
    fluxes: tuple[int, ...]
    others: tuple[int, ...]
    branch: Branch
    unit: float

    def log_root(self, normal: NormalEquations) -> float:
        """½ ln det F; −inf where there is no information."""
        index = [*self.sizes, *self.fluxes]
        sign, found = np.linalg.slogdet(normal.hessian[np.ix_(index, index)])
        return 0.5 * float(found) if sign > 0 and np.isfinite(found) else -math.inf

    def passes(self, passes: Passes) -> Passes:
        """Normal equations of χ² − u ln det F."""

        def of_p(p: np.ndarray) -> NormalEquations:
            found = passes(p)
            root = self.log_root(found)
            gradient, hessian = found.gradient.copy(), found.hessian.copy()
            for j in (*self.sizes, *self.fluxes, *self.others):
                step = _STEP * (abs(p[j]) or 1.0)
                above, below = (self._aside(passes, p, j, d) for d in (step, -step))
                slope = 0.5 * (above - below) / step
                gradient[j] += self.unit * slope
                if j not in self.others:
                    bend = -(above - 2.0 * root + below) / step**2
                    # By the square, which sizes are solved for, there is more of it.
                    bend += slope / p[j] if j in self.sizes and self.branch.squared[j] else 0.0
                    hessian[j, j] += self.unit * max(bend, 0.0)
            if not (math.isfinite(root) and np.isfinite(gradient).all()):
                raise FitError("the visibilities say nothing of a source of such a size")
            return NormalEquations(found.chi_squared - 2.0 * self.unit * root, gradient,
                                   hessian, found.n)

        return of_p

    def _aside(self, passes: Passes, p: np.ndarray, j: int, step: float) -> float:
        """½ ln det F with parameter j a step from p."""
        there = p.copy()
        there[j] += step
        return self.log_root(passes(there))


def penalty_of(model: Model, branch: Branch, limits: np.ndarray | None,
               unit: float) -> Penalty | None:
    """What counts of a model; None where it has no sizes, or ratios, or nothing scatters."""
    free = np.ones(model.n_parameters, np.bool_) if limits is None else limits[0] < limits[1]
    sizes = [int(i) for i in np.flatnonzero(branch.any & free)
             if all(k == MAJOR for _, k in kinds_at(model, int(i)))]
    if not sizes or not unit > 0.0:
        return None
    if any(v.used_by(k) for v in model.variables for k in (RATIO, PA) if k < len(v)):
        return None
    theirs = [v for v in model.variables if len(v) > MAJOR and set(v.used_by(MAJOR)) & set(sizes)]
    fluxes = {i for v in theirs for i in v.used_by(FLUX) if free[i] and v.linear_in(FLUX, {i})}
    fluxes -= {i for v in model.variables for k in range(len(v)) if k != FLUX for i in v.used_by(k)}
    others = {i for v in theirs for k in range(FLUX, len(v)) for i in v.used_by(k) if free[i]}
    return Penalty(tuple(sizes), tuple(sorted(fluxes)), tuple(sorted(others - fluxes - {*sizes})),
                   branch, unit)


def penalised(passes: Passes, found: Solution, penalty: Penalty, limits: np.ndarray | None,
              branch: Branch, *, tolerance: float = 1e-3, most_passes: int = 100,
              linear: np.ndarray | None = None) -> Solution:
    """Maximum of likelihood × √det F near that of the likelihood.

    Parameters
    ----------
    passes : callable
        Normal equations at p (par,).
    found : Solution
        Maximum of the likelihood.
    penalty : Penalty
    limits : ndarray (2, par), optional
    branch : Branch
    tolerance : float
        In units of errors.
    most_passes : int
        Steps, for each of which some passes are made.
    linear : ndarray (par,) bool, optional
        As in `solver.solve`.

    Returns
    -------
    Solution
        With the normal equations of the data; `found` where all sizes are well measured.
    """
    sizes = list(penalty.sizes)
    fluxes = list(penalty.fluxes)
    variance = penalty.unit * np.diag(inverse_of(found.normal.hessian))
    if found.converged and (found.p[sizes] ** 2 > _WELL**2 * variance[sizes]).all():
        return found
    starts = [_off_zero(passes, found.p, penalty, branch)]
    if not found.converged or (found.p[fluxes] ** 2 < _UNCLEAR**2 * variance[fluxes]).any():
        for _ in range(_TIMES):
            starts.append(starts[-1].copy())
            starts[-1][sizes] *= _SHRUNK
    objective = penalty.passes(passes)
    best, n_passes = None, found.n_passes
    for start in starts:
        try:
            there = solve_branch(objective, start, limits, branch, tolerance=tolerance,
                                 most_passes=most_passes, linear=linear)
        except FitError:  # nothing is known of such a size
            continue
        n_passes += there.n_passes * (1 + 2 * len((*sizes, *penalty.fluxes, *penalty.others)))
        if best is None or there.normal.chi_squared < best.normal.chi_squared:
            best = there
    if best is None:
        return found
    return Solution(best.p, passes(best.p), best.stop_reason, n_passes + 1, best.converged)


def _off_zero(passes: Passes, p: np.ndarray, penalty: Penalty, branch: Branch) -> np.ndarray:
    """p with sizes of half an error at least: at 0 there is no slope."""
    curvature = np.diag(branch.passes(passes)(branch.inward(p)).hessian)
    out = p.copy()
    for i in penalty.sizes:
        if curvature[i] > 0:
            error = math.sqrt(penalty.unit / curvature[i])
            out[i] = max(abs(p[i]), 0.5 * (math.sqrt(error) if branch.squared[i] else error))
    return out
