"""One fit from start to finish: where it begins, binned or exact, and what is looked at when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from uvstack.errors import FitError
from uvstack.fit.bayes import posterior
from uvstack.fit.binned import Bins, is_binnable
from uvstack.fit.binned import normal_equations as bin_equations
from uvstack.fit.inspection import (
    N_SUMS,
    Look,
    UVProfile,
    View,
    block_starts,
    covariance_with_spread,
    look,
    profile_edges,
    resampled,
)
from uvstack.fit.limits import branch_of
from uvstack.fit.model import ARCSEC, Model
from uvstack.fit.normal import NormalEquations, normal_equations
from uvstack.fit.peaks import dirty_peak, starts_at_peaks
from uvstack.fit.preparation import FitJob, Piece
from uvstack.fit.request import Request
from uvstack.fit.result import FitResult
from uvstack.fit.solver import Passes, solve
from uvstack.fit.start import starting_values
from uvstack.fit.survey import Survey
from uvstack.fit.variables import Variables, only_fluxes
from uvstack.fit.visibilities import check_start, fit_bins, fit_passes

#: Visibilities below which "auto" does not bin: there is nothing to win.
_FEW = 2048


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


def estimate(request: Request, variables: Variables, model: Model, data: Chunks, survey: Survey) -> FitResult:
    """One fit to all data."""
    bounds = request.bounds if request.bounds is not None else variables.bounds
    weighted = data.job.uvtaper > 0.0 or data.job.weight_power != 1.0
    scale = request.scale_errors
    passes, bins = data.passes(model), _bins(request, model, survey)
    blocks = block_starts(survey.times) if request.bootstrap else None
    sample: Passes | None = None
    if survey.sample:
        sample = lambda p: sum_normal((model, p), survey.sample)  # noqa: E731
    start, tried = request.p_ini, 0
    if start is None:
        pieces = survey.sample or [piece for pieces in data.kept or [] for piece in pieces]
        start, tried = _start(request, variables, model, survey, sample or passes, bounds, pieces)
    if request.only_flux:
        bounds = only_fluxes(model, start, bounds)
    if bins is not None:
        result = fit_bins(bins, passes, model, start, bounds, method=request.method, tolerance=request.tolerance,
                          most_passes=request.most_passes, scale_errors=scale)
    else:
        result = _fit(passes, model, start, bounds, request, scale, sample)
    if variables.names and request.bounds is None:
        other = _along_major(variables, result)
        if other is not None:
            again = _fit(passes, model, other, bounds, request, scale)
            result = replace(again, n_passes=again.n_passes + result.n_passes)
        result = _turned_to_half(variables, result)
    result = replace(result, n_passes=result.n_passes + tried)
    if request.bayes:
        result = _with_posterior(request, result, bounds, survey, data)
    return _looked_at(request, result, data, survey, weighted, blocks)


def _fit(passes: Passes, model: Model, start: Sequence[float], bounds: Any, request: Request, scale: bool,
         sample: Passes | None = None) -> FitResult:
    return fit_passes(passes, model, start, bounds, tolerance=request.tolerance, most_passes=request.most_passes, scale_errors=scale,
                      first=sample)


def _with_posterior(request: Request, result: FitResult, bounds: Any, survey: Survey, data: Chunks) -> FitResult:
    """The result with samples of its posterior."""
    of_bins = survey.bins if request.method != "exact" and survey.binnable and is_binnable(result.model) else None
    passes = data.passes(result.model)
    if of_bins is None and data.kept is None:
        raise FitError("bayes evaluates the model thousands of times and wants the data in memory; give more memory (--memory), average, "
                       "or select")

    def chi_squared(p: np.ndarray) -> float:
        return passes(p).chi_squared if of_bins is None else bin_equations(of_bins, result.model, p).chi_squared

    _, limits = check_start(result.model, result.parameters, bounds)
    return replace(result, samples=posterior(result, chi_squared, limits, request.bayes, request.seed))


def _bins(request: Request, model: Model, survey: Survey) -> Bins | None:
    """Sums in bins of uv distance, or None where the fit is to be exact."""
    if request.method == "exact":
        return None
    if survey.bins is None or not survey.binnable or not is_binnable(model):
        if request.method == "binned":
            raise FitError("method binned wants round components at the phase centre without nu, t, gains, fixed visibilities or primary "
                           "beam; use method exact, or auto")
        return None
    return survey.bins if request.method == "binned" or survey.bins.n >= _FEW else None


def _start(request: Request, variables: Variables, model: Model, survey: Survey, passes: Passes, bounds: Any,
           pieces: Sequence[Piece]) -> tuple[Sequence[float], int]:  # fmt: skip
    """Starting values, and passes that finding them took."""
    flux, size = survey.guess()
    if len(model.shapes) == 1 and survey.bins is not None and not model.has_gains and model.scale is None:
        start = list(starting_values(model, survey.bins))
        if variables.kinds[:3] == ("ra", "dec", "flux") and pieces and request.bounds is None:
            l, m, peak = dirty_peak(pieces, None, np.zeros(0))
            start[:3] = (l / ARCSEC, m / ARCSEC, peak) if l or m else start[:3]
    elif "ra" in variables.kinds and pieces and request.bounds is None:
        shapes = [shape.name for shape in model.shapes]
        return starts_at_peaks(shapes, request.circular, model.nu0, pieces, size)
    elif variables.kinds:
        start = variables.start(flux, size)
    else:
        raise FitError(f"var holds p[0] … p[{model.n_parameters - 1}] and there are no starting values; give p_ini (--p-ini)")
    if "position_angle" not in variables.kinds or branch_of(model, check_start(model, start, bounds)[1]).axes:
        return start, 0
    # Of several position angles the one that leads to the lowest χ².
    found = []
    for angle in (0.0, 45.0, 90.0, 135.0):
        trial = [angle if kind == "position_angle" else value for kind, value in zip(variables.kinds, start, strict=True)]
        checked, limits = check_start(model, trial, bounds)
        found.append(solve(passes, checked, limits, tolerance=0.1, most_passes=30))
    return list(min(found, key=lambda one: one.normal.chi_squared).p), sum(one.n_passes for one in found)


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


def _looked_at(request: Request, result: FitResult, data: Chunks, survey: Survey, weighted: bool, blocks: np.ndarray | None) -> FitResult:
    """The result with its uv profile, bootstrap and, for tapered weights, covariance: one more pass where sums do not do."""
    if result.method == "binned" and blocks is None and not weighted:
        profile = survey.profile(result.model, result.parameters)
    else:
        edges = profile_edges(*survey.reach)
        view = View(result.model, result.parameters, edges, blocks)
        total = Look(np.zeros((edges.size - 1, N_SUMS)), {})
        data.run(look, view, lambda _, found: total.add(found))
        if total.spread is not None:
            result = covariance_with_spread(result, total, request.scale_errors)
        if blocks is not None:
            rng = np.random.default_rng(request.seed)
            result = replace(result, bootstrap=resampled(result, total.blocks, request.bootstrap, rng))
        profile = UVProfile(edges, total.profile)
    return replace(result, profile=replace(profile, scale=result.reduced_chi_squared if request.scale_errors else 1.0))
