"""Sizes by the maximum of likelihood × what is known of them, √F.

At low signal to noise the maximum of the likelihood is no good estimate of a size: for many noises
the most likely size is 0, or several beams. A factor that is the root of Fisher's information pulls
both ends in (Jeffreys' prior; the correction of Firth 1993), and falls behind the likelihood as
1/SNR², so that what is measured well stays where it is: sizes of more than 20 errors are left alone.

**Of the sizes alone.** F is what the data say of the sizes (FWHM, diameters) with the fluxes of their
components fitted too, H_ss − H_sf H_ff⁻¹ H_fs of the blocks of the normal matrix, at the most likely
values of all else: the prior of Berger & Bernardo (1989) for sizes of interest beside fluxes that are
none. So a flux is the most likely one at its size. The determinant of both together grows with the
flux, and so does that with places, where the likelihood has it too high as it is.

**At a point.** √F by the size s itself vanishes at s = 0, for the visibilities are even in s: a point
would never be a point, and its flux, which rises with its size, 0.5 errors too high. √F by z = s² is
finite there, and √F by s is s times that. Here it is taken times √(z + σ₀/2), with σ₀ the standard
deviation of z at 0: by size where a source is resolved, by its square where it is not. (The half is
measured: with all of σ₀ the flux of a point is 0.05 errors better and the size of one of 3.5 errors
scatters by 6 % more, with nothing it is 0.15 worse and scatters by 6 % less.)

−2 ln of the product is χ² − 2 u ln √F, u being the variance over 1/w: normal equations of their own,
with slopes by differences, that go to the same solver as those of the likelihood. F holds no data
but weights and (u, v, w), so that of large data a sample does for it. Models with a component whose
ratio or angle is fitted stay with the likelihood: F by axes and angle vanishes where an ellipse is
round, a line or a point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model.model import FLUX, MAJOR, PA, RATIO, Model
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.solve.branch import ZERO, Branch, kinds_at, solve_branch
from uvstack.fitting.solve.profile import inverse_of
from uvstack.fitting.solve.solver import Passes, Solution

#: A size of more errors than that stays: it would move by less than a tenth of its error.
_WELL = 20.0
#: A flux of fewer errors than that is taken as so many.
_UNCLEAR = 2.0
#: From a size without end, to which the likelihood may run away, smaller ones are tried until one
#: leads to a maximum: so many times by this factor. Where a flux is below `_CLEAR` of its errors there
#: may be a higher one at a smaller size, so that two are wanted.
_TIMES, _SHRUNK, _CLEAR = 3, 0.2, 5.0
#: σ₀ counts by half.
_OF_A_POINT = 0.5
#: Step of differences, of the larger one of a size's square and its error at 0.
_STEP = 0.05


@dataclass(frozen=True, eq=False)
class Penalty:
    """ln √F as a function of the sizes, all else being held.

    Attributes
    ----------
    passes : callable
        Normal equations, of a sample of the data or of all, at p (par,).
    held : ndarray (par,)
        All other parameters.
    sizes, fluxes : tuple of int
        The parameters of F, and those that are fitted with them.
    branch : Branch
    unit : float
        Variance over 1/w.
    rounding : ndarray (size,)
        σ₀/2 of sizes that are solved for by their squares, 0 of the others.
    """

    passes: Passes
    held: np.ndarray
    sizes: tuple[int, ...]
    fluxes: tuple[int, ...]
    branch: Branch
    unit: float
    rounding: np.ndarray

    def log_root(self, z: np.ndarray) -> float:
        """ln √F for sizes whose variables on the branch are z (size,); −inf where nothing is known."""
        found = information(self._at(z), self.sizes, self.fluxes)
        sign, log = np.linalg.slogdet(found)
        squared = self.branch.squared[list(self.sizes)]
        more = np.log1p(z[squared] / self.rounding[squared]).sum()
        return 0.5 * float(log + more) if sign > 0 and np.isfinite(log) else -math.inf

    def _at(self, z: np.ndarray) -> NormalEquations:
        """Normal equations by the variables of the branch, the sizes being z (size,)."""
        whole = self.branch.inward(self.held)
        whole[list(self.sizes)] = z
        return self.branch.passes(self.passes)(whole)

    def of(self, passes: Passes) -> Passes:
        """Normal equations of χ² − 2 u ln √F, with `passes` those of χ², at p (par,)."""
        index = list(self.sizes)

        def of_p(p: np.ndarray) -> NormalEquations:
            found = passes(p)
            gradient, hessian = found.gradient.copy(), found.hessian.copy()
            z = self.branch.inward(p)[index]
            root = self.log_root(z)
            for k, j in enumerate(index):
                slope, bend = self._slopes(z, k, root)
                by_p = 2.0 * p[j] if self.branch.squared[j] else 1.0
                gradient[j] += self.unit * slope * by_p
                hessian[j, j] += self.unit * max(-bend, 0.0) * by_p**2
            return NormalEquations(found.chi_squared - 2.0 * self.unit * root, gradient, hessian,
                                   found.n)

        return of_p

    def _slopes(self, z: np.ndarray, k: int, root: float) -> tuple[float, float]:
        """First and second derivative of ln √F = root by one of z (size,), from a parabola."""
        step = _STEP * max(z[k], self.rounding[k], ZERO)
        at = np.array([-step, 0.0, step]) if z[k] > step else np.array([0.0, step, 2.0 * step])
        values = []
        for one in at:
            there = z.copy()
            there[k] += one
            values.append(root if one == 0.0 else self.log_root(there))
        if not np.isfinite(values).all():
            raise FitError("the visibilities say nothing of a source of such a size")
        bend = (values[0] - 2.0 * values[1] + values[2]) / step**2
        return (values[2] - values[0]) / (2.0 * step) - bend * at[1], bend


def information(normal: NormalEquations, sizes: Sequence[int],
                fluxes: Sequence[int]) -> np.ndarray:
    """What is known of the sizes with the fluxes fitted, (size, size): the inverse of their covariance."""
    sizes, fluxes = list(sizes), list(fluxes)
    mixed = normal.hessian[np.ix_(sizes, fluxes)]
    own = normal.hessian[np.ix_(sizes, sizes)]
    return np.asarray(own - mixed @ inverse_of(normal.hessian[np.ix_(fluxes, fluxes)]) @ mixed.T)


def sizes_and_fluxes(model: Model, branch: Branch,
                     limits: np.ndarray | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Parameters that are the sizes of F, and fluxes of their components; nothing where a ratio or an angle is fitted."""
    free = np.ones(model.n_parameters, np.bool_) if limits is None else limits[0] < limits[1]
    sizes = [int(i) for i in np.flatnonzero(branch.any & free)
             if all(k == MAJOR for _, k in kinds_at(model, int(i)))]
    if any(v.used_by(k) for v in model.variables for k in (RATIO, PA) if k < len(v)):
        return (), ()
    theirs = [v for v in model.variables if len(v) > MAJOR and set(v.used_by(MAJOR)) & set(sizes)]
    fluxes = {i for v in theirs for i in v.used_by(FLUX) if free[i] and v.linear_in(FLUX, {i})}
    fluxes -= {i for v in model.variables for k in range(len(v)) if k != FLUX for i in v.used_by(k)}
    return tuple(sizes), tuple(sorted(fluxes))


def penalised(passes: Passes, found: Solution, model: Model, unit: float,
              limits: np.ndarray | None, branch: Branch, *, sample: Passes | None = None,
              tolerance: float = 1e-3, most_passes: int = 100,
              linear: np.ndarray | None = None) -> Solution:
    """Maximum of likelihood × √F near that of the likelihood.

    Parameters
    ----------
    passes : callable
        Normal equations at p (par,).
    found : Solution
        Maximum of the likelihood.
    model : Model
    unit : float
        Variance over 1/w.
    limits : ndarray (2, par), optional
    branch : Branch
    sample : callable, optional
        As `passes`, of a sample of the data.
    tolerance : float
        In units of errors.
    most_passes : int
    linear : ndarray (par,) bool, optional
        As in `solver.solve`.

    Returns
    -------
    Solution
        With the normal equations of the data; `found` where there are no sizes, all are well
        measured, or nothing scatters.
    """
    sizes, fluxes = (list(one) for one in sizes_and_fluxes(model, branch, limits))
    if not sizes or not unit > 0.0:
        return found
    variance = unit * np.diag(inverse_of(found.normal.hessian))
    if found.converged and (found.p[sizes] ** 2 > _WELL**2 * variance[sizes]).all():
        return found
    try:
        penalty = _penalty(sample or passes, found, (sizes, fluxes), branch, unit)
    except FitError:
        return found
    objective, start = penalty.of(passes), found.p.copy()
    best, n_passes = None, found.n_passes
    wanted = 1 if (found.p[fluxes] ** 2 >= _CLEAR**2 * variance[fluxes]).all() else 2
    for _ in range(1 + _TIMES):
        try:
            there = solve_branch(objective, start, limits, branch, tolerance=tolerance,
                                 most_passes=most_passes, linear=linear)
        except FitError:  # nothing is known of such a size
            there = None
        start[sizes] *= _SHRUNK
        if there is None:
            continue
        n_passes += there.n_passes
        if best is None or there.normal.chi_squared < best.normal.chi_squared:
            best = there
        wanted -= there.converged
        if not wanted:
            break
    if best is None:
        return found
    return Solution(best.p, passes(best.p), best.stop_reason, n_passes + 1, best.converged)


def _penalty(passes: Passes, found: Solution, chosen: tuple[list[int], list[int]], branch: Branch,
             unit: float) -> Penalty:
    """ln √F about the highest likelihood, `chosen` being sizes and fluxes."""
    sizes, fluxes = chosen
    held = found.p.copy()
    # A flux of 0 would know nothing of its size.
    errors = np.sqrt(unit * np.diag(inverse_of(found.normal.hessian[np.ix_(fluxes, fluxes)])))
    held[fluxes] = np.copysign(np.maximum(np.abs(held[fluxes]), _UNCLEAR * errors), held[fluxes])
    rounding = np.zeros(len(sizes))
    for k, j in enumerate(sizes):
        if branch.squared[j]:
            z = branch.inward(held)
            z[j] = ZERO**2
            at_zero = branch.passes(passes)(z)
            known = information(at_zero, sizes, fluxes)[k, k] * found.normal.n / at_zero.n
            if not known > 0:
                raise FitError("nothing is known of a size of 0")
            rounding[k] = _OF_A_POINT * math.sqrt(unit / known)
    return Penalty(passes, held, tuple(sizes), tuple(fluxes), branch, unit, rounding)
