"""Posterior of the parameters by emcee.

For errors that are no Gaussians, such as sizes near zero and nearly degenerate models.

ln P = −χ²/2s² within the bounds, with priors that are flat there (sizes and ratios of default
variables are positive), and s² the reduced χ² where errors are scaled by it, else 1. The
affine-invariant walkers (Goodman & Weare 2010; Foreman-Mackey et al. 2013) start in a ball of the
size of the errors; the first half of their steps is dropped. Cost: steps × walkers evaluations of
χ², some 0.1 ms each where the fit is binned, else a pass over data in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from uvstack.errors import FitError, MissingDependencyError, UvstackWarning
from uvstack.fitting.result import FitResult

#: Walkers for each parameter, and at least.
_WALKERS, _FEWEST = 4, 12
#: Steps in units of the autocorrelation time from which on a chain is long enough.
_LONG = 50.0


def posterior(result: FitResult, chi_squared: Callable[[np.ndarray], float],
              limits: np.ndarray | None, steps: int, seed: int | None = None) -> np.ndarray:
    """Samples (n, par) of the posterior; parameters that were held keep their value.

    Parameters
    ----------
    result : FitResult
        Where walkers start.
    chi_squared : callable
        χ² at p (par,).
    limits : ndarray (2, par), optional
        Bounds.
    steps : int
        Of each walker; half of them are dropped.
    seed : int, optional

    Raises
    ------
    MissingDependencyError
        emcee is not installed.
    FitError
        Nothing was fitted.
    """
    try:
        import emcee
    except ImportError as error:
        raise MissingDependencyError("emcee is needed for bayes: pip install "
                                     "'uvstack[bayes]'") from error
    low, high = np.array([[-np.inf], [np.inf]]).repeat(result.parameters.size,
                                                       axis=1) if limits is None else limits
    free = np.flatnonzero((result.errors != 0) & (low < high))
    if not free.size:
        raise FitError("bayes: no parameter is free")
    variance = result.reduced_chi_squared if result.errors_scaled else 1.0

    def log_probability(values: np.ndarray) -> float:
        p = result.parameters.copy()
        p[free] = values
        if (p < low).any() or (p > high).any():
            return -np.inf
        try:
            found = chi_squared(p)
        except FitError:
            return -np.inf
        return -0.5 * (found - result.chi_squared) / variance if np.isfinite(found) else -np.inf

    start = _ball(result, free, low, high, np.random.default_rng(seed))
    sampler = emcee.EnsembleSampler(start.shape[0], free.size, log_probability)
    sampler.random_state = np.random.RandomState(seed).get_state()
    sampler.run_mcmc(start, steps)
    time = float(np.max(sampler.get_autocorr_time(discard=steps // 2, quiet=True, tol=0)))
    if not steps / 2 > _LONG * time:
        warnings.warn(UvstackWarning(f"the chains of {steps} steps are {steps / 2 / time:.0f} "
                                     "autocorrelation times long after their first "
                                     f"half; {_LONG:.0f} are wanted: about "
                                     f"{2 * _LONG * time:.0f} steps"), stacklevel=6)
    samples = np.tile(result.parameters, (start.shape[0] * (steps - steps // 2), 1))
    samples[:, free] = sampler.get_chain(discard=steps // 2, flat=True)
    return samples


def _ball(result: FitResult, free: np.ndarray, low: np.ndarray, high: np.ndarray,
          rng: np.random.Generator) -> np.ndarray:
    """Where walkers start, (walker, free): normal about the solution, turned back at the bounds."""
    p, error = result.parameters[free], result.errors[free]
    error = np.where(np.isfinite(error), error, 0.01 * np.maximum(np.abs(p), 1e-3))
    values = p + 0.5 * error * rng.standard_normal((max(_WALKERS * free.size, _FEWEST), free.size))
    values = np.where(values < low[free],
                      2 * np.where(np.isfinite(low[free]), low[free], 0) - values, values)
    values = np.where(values > high[free],
                      2 * np.where(np.isfinite(high[free]), high[free], 0) - values, values)
    return np.clip(values, low[free], high[free])
