"""Errors of resampled lists against the true scatter of weighted means: six ways, and the intervals of a studentised bootstrap.

    python scripts/measure_bootstrap.py

Fluxes are lognormal (σ = 1), Gaussian, or all one with noise ∝ 1/√W; weights equal, those of a
primary beam (A² out to A = 0.12), or lognormal (σ = 1). For each number of positions: effective
positions, then of each way the mean stated error over the true one, the rms of the pulls, and how
often ± 1 and ± 1.96 of it hold the truth, per cent. The ways:

- plain: lists drawn with replacement;
- Bayesian: shares drawn from a Dirichlet distribution;
- others' mean: a position deviates from the mean of all others;
- here: the same, and the root of a variance that scatters is corrected (`uvstack.stacking.by_position`);
- one more: with one more source, twice as far from the mean as the farthest, in every other list;
- studentised: intervals alone, by quantiles of (mean of a list − mean)/its error.
"""

from __future__ import annotations

import numpy as np

from uvstack.stacking.by_position import PositionSums, bootstrap_fluxes

_LISTS, _RESAMPLED = 1500, 200
WAYS = ("plain", "Bayesian", "others' mean", "here", "one more")


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


def _deviations(flux: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of the weight times the distance from the mean of all others, (…, pos)."""
    share = weight / weight.sum(axis=-1, keepdims=True)
    mean = (share * flux).sum(axis=-1, keepdims=True)
    return share * (flux - mean) / np.maximum(1 - share, 1e-9)


def _errors(flux: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Stated by each of `WAYS`."""
    n = flux.size
    times = rng.multinomial(n, np.full(n, 1 / n), _RESAMPLED)
    shares = rng.standard_exponential((_RESAMPLED, n))
    deviations, farthest = _deviations(flux, weight), np.abs(flux - np.average(flux, weights=weight)).max()
    sums = PositionSums(np.arange(n), np.zeros(n), np.zeros(n), flux * weight, weight)
    return [*(float(((t @ (flux * weight)) / (t @ weight)).std(ddof=1)) for t in (times, shares)),
            float(np.sqrt((deviations**2).sum())),
            float(bootstrap_fluxes(sums, _RESAMPLED, rng).std(ddof=1)),
            float(np.sqrt((deviations**2).sum() + 0.5 * (2 * farthest / n) ** 2))]


def _studentised(flux: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> list[bool]:
    """Whether intervals of 68 and 95 % hold the truth."""
    drawn = rng.integers(flux.size, size=(2 * _RESAMPLED, flux.size))
    mean = np.average(flux, weights=weight)
    error, errors = (np.sqrt((_deviations(f, w)**2).sum(axis=-1))
                     for f, w in ((flux, weight), (flux[drawn], weight[drawn])))
    pulls = (np.average(flux[drawn], axis=1, weights=weight[drawn]) - mean) / np.maximum(errors, 1e-9)
    return [bool(mean - high * error < 1 < mean - low * error)
            for low, high in (np.quantile(pulls, (0.5 - p / 2, 0.5 + p / 2)) for p in (0.683, 0.95))]


def main() -> None:
    """Print the table."""
    columns = ["fluxes", "weights", "positions", "effective", *WAYS, "studentised"]
    print("|", " | ".join(columns), "|\n|", "---|" * len(columns), sep="")
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
            pulls = np.abs((means - 1)[:, None] / errors)
            cells = [f"{a:.2f}, {b:.2f}, {c:.0f} · {d:.0f}" for a, b, c, d in zip(
                stated, np.sqrt((pulls**2).mean(axis=0)), 100 * (pulls < 1).mean(axis=0),
                100 * (pulls < 1.96).mean(axis=0), strict=True)]
            held = 100 * np.mean([_studentised(*one, rng) for one in lists], axis=0)
            print("|", " | ".join([fluxes, weights, str(n), f"{effective:.0f}", *cells,
                                   f"{held[0]:.0f} · {held[1]:.0f}"]), "|", flush=True)


if __name__ == "__main__":
    main()
