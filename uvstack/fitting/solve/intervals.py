"""Intervals of sizes that cover as stated, from points to sources of several beams.

The interval holds those sizes s at which χ², minimised over all other parameters, lies less than a
critical rise above its minimum over sizes ≥ 0. The rise is that of the unified approach (Feldman &
Cousins 1998), so that nobody has to choose between a value and a limit: with z = s² (or s where
visibilities have a term in |s|), which is close to normal with a standard deviation σ_z and confined
to z ≥ 0, and μ = z/σ_z, the ratio of likelihoods stays below c with the probability

    P(c)  =  2 Φ(√c) − 1                       for √c ≤ μ,
    P(c)  =  Φ(√c) + Φ((c + μ²)/(2μ)) − 1      for √c > μ;

so c is 1 and 3.84 for 68.3 and 95 % where a size is resolved, and falls to 0.23 and 2.71 at 0. An
interval that begins with 0 is a limit. What is not linear is allowed for by a factor 1 + 2/η², η
being the flux over its error at that size: as a flux gets lost in the noise so does what is known of
the size. (The 2 is measured, on Gaussians of 0 to 4″ in the beam of the VLA's A array: without it an
interval of 68 % covers 50 % at η = 1.8. `scripts/measure_fit.py` measures what they cover.)

An ellipse has three parameters more than a point. The interval of its longer axis ends where χ² has
risen by 1 and 3.84, times the same factor. It leaves out 0 only where the rise there exceeds 5.48 (95
% of points are below: the mixture of χ² of 1, 2 and 3 degrees of freedom with the weights √2/4, √2/4
and (2 − √2)/4 of moments that are measured alike and confined to a cone of half-angle 45°, Shapiro
1988).

Sizes of more than `WELL` errors are taken to be normal in z, and cost nothing. Others take some 10
to 40 passes over the data.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from uvstack.fitting.model.model import FLUX, MAJOR, RATIO, Model, numbers_at
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.result import FitResult
from uvstack.fitting.solve.branch import ZERO, Branch, branch_of, kinds_at, majors_of
from uvstack.fitting.solve.profile import Profile, inverse_of
from uvstack.fitting.solve.solver import Passes

#: What intervals cover.
SHARES = (0.6827, 0.95)
#: Critical rises of a point against an ellipse for each of them.
_OF_ELLIPSE = (1.67, 5.48)
#: A size of more than so many errors is normal in z.
WELL = 10.0
#: How much a flux in the noise widens an interval; at an η² below the other nothing is known.
_LOST, _LEAST = 2.0, 0.1


def critical_rise(share: float, mu: float) -> float:
    """Rise of χ² below which the size stays with probability `share`, for a true z/σ_z of mu.

    Parameters
    ----------
    share : float
        0 to 1.
    mu : float
        At least 0.
    """
    from scipy.special import ndtr, ndtri

    root = float(ndtri(0.5 * (1.0 + share)))
    if mu >= root:
        return root**2
    low, high = float(ndtri(share)) ** 2, root**2
    if mu <= 1e-6:
        return low
    for _ in range(30):
        c = 0.5 * (low + high)
        inside = float(ndtr(math.sqrt(c)) + ndtr((c + mu**2) / (2.0 * mu))) - 1.0
        low, high = (c, high) if c <= mu**2 or inside < share else (low, c)
    return 0.5 * (low + high)


def with_intervals(result: FitResult, passes: Passes, limits: np.ndarray | None = None,
                   branch: Branch | None = None) -> FitResult:
    """The result with intervals of its sizes, and limits in place of the errors of unresolved ones.

    Parameters
    ----------
    result : FitResult
        Its errors are those of the normal matrix; sizes at zero are exactly 0 and have an error of
        0.
    passes : callable
        Normal equations at p (par,); called only where a size is within `WELL` of its errors of 0.
    limits : ndarray (2, par), optional
        Bounds of the parameters.
    branch : Branch, optional
        As `branch_of` makes it.

    Returns
    -------
    FitResult
        The error of a size that was looked at is half the length of its interval of 68 %; of an
        unresolved one the distance to the upper end.
    """
    branch = branch_of(result.model, limits) if branch is None else branch
    errors, covariance = result.errors.copy(), result.covariance.copy()
    inner, outer, upper = {}, {}, {}
    unit = result.reduced_chi_squared if result.errors_scaled else 1.0
    n_passes, degenerate = 0, result.degenerate

    def counted(p: np.ndarray) -> NormalEquations:
        nonlocal n_passes
        n_passes += 1
        return passes(p)

    ratios = {int(i) for i in np.flatnonzero(branch.any)
              if all(k == RATIO for _, k in kinds_at(result.model, int(i)))}
    for i in sorted(np.flatnonzero(branch.any).tolist(), key=lambda i: i in ratios):
        value, name = float(result.parameters[i]), result.model.names[i]
        at_zero = 0.0 in (value, result.most_likely[i])
        if i in ratios:
            points = any(result.model.names[j] in upper for j in majors_of(result.model, i))
            if points and (at_zero or errors[i] != 0):
                errors[i], covariance[i], covariance[:, i] = np.nan, np.nan, np.nan
                degenerate = "; ".join([*([degenerate] if degenerate else []), f"{name} means "
                                        "nothing for a source that is not resolved"])
            if points or not at_zero:
                continue
        if errors[i] == 0.0 and not at_zero:
            continue  # at a bound
        if errors[i] > 0.0 and result.most_likely[i] > WELL * errors[i]:
            inner[name], outer[name] = (_normal(value, k * errors[i], bool(branch.squared[i]),
                                                limits, i) for k in (1.0, 1.96))
            continue
        inner[name], outer[name] = _intervals(Profile(counted, result, i, limits, branch), unit)
        low, high = inner[name]
        error = 0.5 * (high - low)
        if outer[name][0] <= (0.0 if limits is None else max(limits[0, i], 0.0)):
            upper[name], error = outer[name][1], max(error, high - value)
        # Correlations stay as they were, where there were any.
        usable = np.isfinite(errors[i]) and errors[i] > 0 and np.isfinite(error)
        factor = np.where(np.arange(errors.size) == i, 1.0, error / errors[i] if usable else 0.0)
        covariance[i] = np.where(np.isfinite(covariance[i]) | (factor != 0), covariance[i],
                                 0.0) * factor
        covariance[:, i] = covariance[i]
        covariance[i, i], errors[i] = error**2, error
    return replace(result, errors=errors, covariance=covariance, upper_limits=upper,
                   intervals_68=inner, intervals_95=outer, degenerate=degenerate,
                   n_passes=result.n_passes + n_passes)


def reweighted(result: FitResult, passes: Passes, hessian: np.ndarray, spread: np.ndarray,
               limits: np.ndarray | None = None) -> FitResult:
    """The result with intervals for weights that are no inverse variances.

    Their variance over 1/w is for each size what makes the variance of H⁻¹ that of H⁻¹ J H⁻¹.

    Parameters
    ----------
    result : FitResult
        Of such weights.
    passes : callable
        Normal equations at p (par,).
    hessian, spread : ndarray (par, par)
        H and J, with weights W²/w, where no size is 0.
    limits : ndarray (2, par), optional
        Bounds of the parameters.
    """
    branch, inverse = branch_of(result.model, limits), inverse_of(hessian)
    with np.errstate(invalid="ignore", divide="ignore"):
        units = np.diag(inverse @ spread @ inverse) / np.diag(inverse)
    units = units * (result.reduced_chi_squared if result.errors_scaled else 1.0)
    inner, outer, upper = dict(result.intervals_68), dict(result.intervals_95), {}
    errors, covariance = result.errors.copy(), result.covariance.copy()
    for i, name in enumerate(result.names):
        if name in inner and np.isfinite(units[i]) and units[i] > 0:
            inner[name], outer[name] = _intervals(Profile(passes, result, i, limits, branch),
                                                  float(units[i]))
            if outer[name][0] <= (0.0 if limits is None else max(limits[0, i], 0.0)):
                upper[name] = outer[name][1]
                errors[i] = max(0.5 * (inner[name][1] - inner[name][0]),
                                inner[name][1] - result.parameters[i])
                covariance[i, i] = errors[i] ** 2
    return replace(result, errors=errors, covariance=covariance, upper_limits=upper,
                   intervals_68=inner, intervals_95=outer)


def _normal(value: float, width: float, squared: bool, limits: np.ndarray | None,
            i: int) -> tuple[float, float]:
    """Interval of a size that is normal in its square, or in itself, within its bounds."""
    ends = (value - width, value + width) if not squared else (
        math.sqrt(max(value**2 - 2.0 * value * width, 0.0)), math.sqrt(value**2
                                                                      + 2.0 * value * width))
    if limits is None:
        return ends
    return max(ends[0], float(limits[0, i])), min(ends[1], float(limits[1, i]))


def _intervals(profile: Profile, unit: float) -> list[tuple[float, float]]:
    """Interval of a size (lower and upper end) for each share, unit being the variance over 1/w."""
    model = profile.model
    components = [c for c, v in enumerate(model.variables)
                  if len(v) > MAJOR and profile.index in v.used_by(MAJOR)]
    found = []
    for share, of_ellipse in zip(SHARES, _OF_ELLIPSE, strict=True):

        def wanted(z: float, share: float = share, of_ellipse: float = of_ellipse) -> float:
            p, normal = profile.at(z)
            if profile.component is None:
                rise = critical_rise(share, z * math.sqrt(profile.curvature(z) / unit))
            else:
                rise = critical_rise(share, math.inf) if z > ZERO else of_ellipse
            least = min((_significance(model, p, normal, c, profile.index) / unit
                         for c in components), default=math.inf)
            return unit * rise * (1.0 + _LOST / least) if least > _LEAST else math.inf

        about = unit * critical_rise(share, math.inf)
        end = float(profile.room[0])
        best = float(profile.best[profile.index])
        at_end = np.isfinite(end) and (best <= end or profile.rise(end) <= wanted(end))
        low = profile.value(end) if at_end else profile.crossing(wanted, about, -1)
        found.append((low, profile.crossing(wanted, about, +1)))
    return found


def _significance(model: Model, p: np.ndarray, normal: NormalEquations, component: int,
                  held: int) -> float:
    """Square of the flux of a component over its error of unit weight, one parameter being held."""
    numbers = numbers_at(model, p, np.array([model.nu0]), np.zeros(1))
    flux, slope = numbers.values[0, component, FLUX, 0], numbers.slopes[0, component, FLUX, :, 0]
    others = np.arange(p.size) != held
    slope, hessian = slope[others], normal.hessian[np.ix_(others, others)]
    variance = float(slope @ inverse_of(hessian) @ slope)
    return flux**2 / variance if variance > 0 else math.inf
