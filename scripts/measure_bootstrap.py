"""Errors of resampled lists against the true scatter of weighted means: a plain bootstrap, a Bayesian one, and the one of a stack.

    python scripts/measure_bootstrap.py

Fluxes are lognormal (σ = 1), Gaussian, or all one with noise ∝ 1/√W; weights equal, those of a
primary beam (A² out to A = 0.12), or lognormal (σ = 1). For each number of positions: effective
positions, then of each resampling the mean stated error over the true one, and the rms of the pulls.
"""

from __future__ import annotations

import numpy as np

from uvstack.stacking.by_position import PositionSums, bootstrap_fluxes

_LISTS, _RESAMPLED = 1500, 200


def _draw(fluxes: str, weights: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes of mean 1 and weights of one list, (pos,) each."""
    weight = np.ones(n)
    if weights == "beam":
        weight = np.exp(-8 * np.log(2) * 0.75 * rng.random(n))
    elif weights == "lognormal":
        weight = rng.lognormal(0, 1, n)
    if fluxes == "lognormal":
        return rng.lognormal(-0.5, 1, n), weight
    noise = rng.standard_normal(n)
    return 1 + (noise / np.sqrt(weight) if fluxes == "noise" else noise), weight


def _errors(flux: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Standard deviations of the plain and the Bayesian bootstrap and of that of a stack."""
    n = flux.size
    times = rng.multinomial(n, np.full(n, 1 / n), _RESAMPLED)
    shares = rng.standard_exponential((_RESAMPLED, n))
    nowhere = np.zeros(n)
    sums = PositionSums(np.arange(n), nowhere, nowhere, flux * weight, weight)
    return [*(float(((t @ (flux * weight)) / (t @ weight)).std(ddof=1)) for t in (times, shares)),
            float(bootstrap_fluxes(sums, _RESAMPLED, rng).std(ddof=1))]


def main() -> None:
    """Print the table."""
    print("| fluxes | weights | positions | effective | plain | Bayesian | here |")
    print("|---|---|---|---|---|---|---|")
    for fluxes, weights in (("lognormal", "equal"), ("lognormal", "beam"),
                            ("lognormal", "lognormal"), ("Gaussian", "equal"),
                            ("Gaussian", "lognormal"), ("noise", "lognormal")):
        for n in (10, 30, 100, 300):
            rng = np.random.default_rng([n, len(fluxes), len(weights)])
            lists = [_draw(fluxes, weights, n, rng) for _ in range(_LISTS)]
            means = np.array([np.average(*one[:1], weights=one[1]) for one in lists])
            errors = np.array([_errors(*one, rng) for one in lists])
            effective = np.mean([w.sum() ** 2 / (w**2).sum() for _, w in lists])
            stated = errors.mean(axis=0) / means.std()
            pulls = np.sqrt((((means - 1)[:, None] / errors) ** 2).mean(axis=0))
            cells = [f"{a:.2f}, {b:.2f}" for a, b in zip(stated, pulls, strict=True)]
            print("|", " | ".join([fluxes, weights, str(n), f"{effective:.0f}", *cells]), "|",
                  flush=True)


if __name__ == "__main__":
    main()
