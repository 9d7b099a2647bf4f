"""One fit from start to finish.

Where it begins, binned or exact, and what is looked at when it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.data.inspection import (
    VALUES,
    Look,
    UVProfile,
    View,
    block_starts,
    covariance_with_spread,
    look,
    profile_edges,
    resampled,
)
from uvstack.fitting.data.preparation import FitJob, Piece
from uvstack.fitting.data.survey import Survey
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import Model, make_model
from uvstack.fitting.model.normal import NormalEquations, normal_equations
from uvstack.fitting.model.variables import Variables, only_fluxes
from uvstack.fitting.options import Request
from uvstack.fitting.result import FitResult
from uvstack.fitting.solve.bayes import posterior
from uvstack.fitting.solve.binned import Bins, is_binnable
from uvstack.fitting.solve.binned import normal_equations as bin_equations
from uvstack.fitting.solve.cells import Layout, cell_sums, is_few, means_of
from uvstack.fitting.solve.intervals import reweighted
from uvstack.fitting.solve.search import parts_of
from uvstack.fitting.solve.solver import Passes
from uvstack.fitting.solve.start import Starts, gathered, starts_in_bins, starts_in_data, thinned
from uvstack.fitting.solve.visibilities import (
    check_start,
    fit_bins,
    fit_passes,
    from_best,
    limits_of,
    looked_elsewhere,
)
from uvstack.uv.profile import UVSums

#: Visibilities below which "auto" does not bin: there is nothing to win.
_FEW = 2048
#: A size, arcsec, in place of 0, where visibilities have no slope.
_SIZE = 1e-3


class Chunks(Protocol):
    """Data that can be gone over chunk by chunk."""

    job: FitJob
    kept: list[list[Piece]] | None

    def run(self, function: Callable, shared: Any, consume: Callable[[int, Any], None]) -> None:
        """Call function(shared, pieces of a chunk) for each chunk and consume(index, result) in order."""

    def passes(self, model: Model) -> Passes:
        """Normal equations of all data as a function of the parameters."""


def sum_normal(shared: tuple[Model, np.ndarray], pieces: list[Piece]) -> NormalEquations:
    """Normal equations of a chunk for (model, parameters)."""
    n = shared[0].n_parameters
    total = NormalEquations(0.0, np.zeros(n), np.zeros((n, n)), 0)
    for piece in pieces:
        total += normal_equations(piece.data, *shared)
    return total


def estimate(request: Request, variables: Variables, model: Model, data: Chunks,
             survey: Survey) -> FitResult:
    """One fit to all data."""
    bounds = request.bounds if request.bounds is not None else variables.bounds
    weighted = data.job.uvtaper > 0.0 or data.job.weight_power != 1.0
    scale = request.scale_errors
    passes, bins = data.passes(model), _bins(request, model, survey)
    blocks = block_starts(survey.times) if request.bootstrap else None
    starts = None if request.p_ini is not None else _searched(variables, model, data, survey,
                                                              bounds)
    given = np.asarray(request.p_ini) if starts is None else starts.best.p
    if request.only_flux:
        bounds = only_fluxes(model, given.tolist(), bounds)
    sample: Passes | None = None
    if survey.sample:
        sample = lambda p: sum_normal((model, p), survey.sample)  # noqa: E731

    def fitted(start: np.ndarray, final: bool = True) -> FitResult:
        if bins is None:
            return _fit(passes, model, start, bounds, request, scale,
                        sample if starts is None else None, sample, final)
        return fit_bins(bins, passes, model, start, bounds, method=request.method,
                        tolerance=request.tolerance, most_passes=request.most_passes,
                        scale_errors=scale, estimator=request.estimator, final=final)

    if starts is not None:
        result = from_best(fitted, starts, one=request.only_flux)
    else:
        result = fitted(given)
        if not request.only_flux and request.most_passes > 1:
            result = looked_elsewhere(result,
                                      _quickly(model, data, survey, bounds, result.parameters))
    if variables.names and request.bounds is None:
        other = _along_major(variables, result)
        if other is not None:
            again = _fit(passes, model, other, bounds, request, scale)
            result = replace(again, n_passes=again.n_passes + result.n_passes,
                             n_starts=result.n_starts, next_chi_squared=result.next_chi_squared,
                             elsewhere=result.elsewhere)
        result = _turned_to_half(variables, result)
    if request.bayes:
        result = _with_posterior(request, result, bounds, survey, data)
    result = _looked_at(request, result, data, survey, weighted, blocks)
    return _with_taper(result, passes, data, bounds) if weighted and result.intervals_68 else result


def _with_taper(result: FitResult, passes: Passes, data: Chunks, bounds: Any) -> FitResult:
    """The result with intervals that know of the weights."""
    p = result.most_likely.copy()
    for i in (result.names.index(name) for name in result.intervals_68):
        p[i] = max(p[i], _SIZE)
    total = Look(UVSums.empty(np.array([0.0, np.inf]), VALUES), {})
    data.run(look, View(result.model, p, np.array([0.0, np.inf])), lambda _, found: total.add(found))
    if total.spread is None:
        return result
    return reweighted(result, passes, passes(p).hessian, total.spread.hessian,
                      limits_of(result.model, bounds))


def _fit(passes: Passes, model: Model, start: Sequence[float] | np.ndarray, bounds: Any,
         request: Request, scale: bool, first: Passes | None = None, sample: Passes | None = None,
         final: bool = True) -> FitResult:
    return fit_passes(passes, model, start, bounds, tolerance=request.tolerance,
                      most_passes=request.most_passes, scale_errors=scale, first=first,
                      sample=sample, estimator=request.estimator, final=final)


def _with_posterior(request: Request, result: FitResult, bounds: Any, survey: Survey,
                    data: Chunks) -> FitResult:
    """The result with samples of its posterior."""
    of_bins = survey.bins if request.method != "exact" and survey.binnable and is_binnable(result.model) else None
    passes = data.passes(result.model)
    if of_bins is None and data.kept is None:
        raise FitError("bayes evaluates the model thousands of times and wants the data in memory; "
                       "give more memory (--memory), average, or select")

    def chi_squared(p: np.ndarray) -> float:
        return passes(p).chi_squared if of_bins is None else bin_equations(of_bins, result.model,
                                                                           p).chi_squared

    _, limits = check_start(result.model, result.parameters, bounds)
    return replace(result,
                   samples=posterior(result, chi_squared, limits, request.bayes, request.seed))


def _bins(request: Request, model: Model, survey: Survey) -> Bins | None:
    """Sums in bins of uv distance, or None where the fit is to be exact."""
    if request.method == "exact":
        return None
    if survey.bins is None or not survey.binnable or not is_binnable(model):
        if request.method == "binned":
            raise FitError("method binned wants round components at the phase centre without nu, "
                           "t, gains, fixed visibilities or primary "
                           "beam; use method exact, or auto")
        return None
    return survey.bins if request.method == "binned" or survey.bins.n >= _FEW else None


def _searched(variables: Variables, model: Model, data: Chunks, survey: Survey,
              bounds: Any) -> Starts:
    """Starting values from a search over sizes and positions."""
    if variables.kinds:  # without proper motion
        model = replace(make_model([shape.name for shape in model.shapes], variables.var,
                                   model.nu0), names=model.names)
    limits = limits_of(model, bounds)
    if survey.bins is not None and is_binnable(model):
        return starts_in_bins(model, survey.bins, limits)
    pieces = None if data.kept is None else [piece for pieces in data.kept for piece in pieces]
    gather = gathered(pieces, model.nu0) if pieces is not None and is_few(pieces) else lambda layout: _cells(data, layout, model.nu0)
    return starts_in_data(model, gather, survey.reach[1], limits)


def _cells(data: Chunks, layout: Layout, frequency: float) -> FitData:
    """Means in cells of all data: one pass over them."""
    found: list[np.ndarray] = []

    def add(_: int, sums: np.ndarray) -> None:
        found[:] = [found[0] + sums] if found else [sums]

    data.run(cell_sums, layout, add)
    return means_of(found[0], frequency)


def _quickly(model: Model, data: Chunks, survey: Survey, bounds: Any,
             p: np.ndarray) -> Starts | None:
    """A quick look for other starts; None where a model cannot be searched."""
    limits = limits_of(model, bounds)
    if parts_of(model, limits) is None:
        return None
    if survey.bins is not None and is_binnable(model):
        return starts_in_bins(model, survey.bins, limits, quick=True, p=p)
    pieces = thinned(survey.sample or [piece for pieces in data.kept or [] for piece in pieces])
    if any(piece.data.attenuation is not None for piece in pieces):
        return None  # a search knows nothing of beams: it would compare what is not alike
    return starts_in_data(model, gathered(pieces, model.nu0), survey.reach[1], limits,
                          quick=True) if pieces else None


def _along_major(variables: Variables, result: FitResult) -> list[float] | None:
    """Parameters of the same sources with their longer axes called major, or None where that is so."""
    p = [float(value) for value in result.parameters]
    changed = False
    for i in [i for i, kind in enumerate(variables.kinds) if kind == "ratio" and p[i] > 1.0]:
        p[i - 1], p[i], p[i + 1] = p[i - 1] * p[i], 1.0 / p[i], p[i + 1] + 90.0
        changed = True
    return p if changed else None


def _turned_to_half(variables: Variables, result: FitResult) -> FitResult:
    """Position angles above −90° and up to 90°."""
    p = result.parameters.copy()
    for i, kind in enumerate(variables.kinds):
        if kind == "position_angle":
            p[i] = 90.0 - (90.0 - p[i]) % 180.0
    return replace(result, parameters=p)


def _looked_at(request: Request, result: FitResult, data: Chunks, survey: Survey, weighted: bool,
               blocks: np.ndarray | None) -> FitResult:
    """The result with its uv profile, bootstrap and, for tapered weights, covariance.

    One more pass where sums do not do.
    """
    if result.method == "binned" and blocks is None and not weighted:
        profile = survey.profile(result.model, result.parameters)
    else:
        edges = profile_edges(*survey.reach)
        view = View(result.model, result.parameters, edges, blocks)
        total = Look(UVSums.empty(edges, VALUES), {})
        data.run(look, view, lambda _, found: total.add(found))
        if total.spread is not None:
            result = covariance_with_spread(result, total, request.scale_errors)
        if blocks is not None:
            rng = np.random.default_rng(request.seed)
            result = replace(result,
                             bootstrap=resampled(result, total.blocks, request.bootstrap, rng))
        profile = UVProfile(total.profile)
    return replace(result,
                   profile=replace(profile,
                                   scale=result.reduced_chi_squared if request.scale_errors
                                   else 1.0))
