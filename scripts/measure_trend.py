"""False alarms of the advice on a uv cut, the errors of its bins, and how often a rise is seen, on simulated visibilities.

    python scripts/measure_trend.py --sets 1000

Each set has a track of the VLA's A configuration (27 antennas, 24 times), targets at random places of
a square field, and thermal noise; 30 bins of uv distance. "alarms" is the share of sets for which a
cut is advised though there is nothing but targets and noise (the goal is 5 %), "pulls" the rms over
bins of (bin − truth)/error, with errors from the positions and, in brackets, from the scatter of the
visibilities. "seen": share of sets with a cut advised where unsubtracted sources outside the list
are added, and the median of the advised cut.
"""

from __future__ import annotations

import argparse

import numpy as np

from simulate.arrays import read_array
from uvstack.constants import ARCMIN, SPEED_OF_LIGHT
from uvstack.uv.profile import bin_of
from uvstack.uv.trend import trend_edge, unit_errors

_BINS, _TIMES, _FREQUENCY = 30, 24, 1.4e9


def _tracks() -> np.ndarray:
    """(u, v) of all baselines and times, (row, 2), m: a source at +34° from −4 to 4 h of hour angle."""
    xyz = read_array("vla.a").positions
    first, second = np.triu_indices(len(xyz), 1)
    x, y, z = (xyz[first] - xyz[second]).T
    hour, dec = np.linspace(-np.pi / 3, np.pi / 3, _TIMES)[:, None], np.deg2rad(34.0)
    u = np.sin(hour) * x + np.cos(hour) * y
    v = -np.sin(dec) * np.cos(hour) * x + np.sin(dec) * np.sin(hour) * y + np.cos(dec) * z
    return np.stack([u.ravel(), v.ravel()], axis=1)


def _set(uv: np.ndarray, n: int, noise: float, uneven: float, others: float,
         field: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Sums of each position in bins (bin, pos), the bins' errors by scatter, their ends, and the true mean flux.

    noise : float
        Of a visibility, in fluxes of a target.
    uneven : float
        σ of the lognormal fluxes and weights.
    others : float
        Flux of each of 30 sources in the field that are not in the list.
    """
    distance = np.hypot(*uv.T)
    edges = np.linspace(distance.min(), distance.max() * (1 + 1e-9), _BINS + 1)
    bins = bin_of(edges, distance)
    turns = uv * (_FREQUENCY / SPEED_OF_LIGHT)
    places = rng.uniform(-0.5, 0.5, (n + 30, 2)) * field
    flux = np.append(np.exp(uneven * rng.standard_normal(n)), np.full(30, others))
    weight = np.exp(uneven * rng.standard_normal(n))
    phasors = np.exp(2j * np.pi * (turns @ places.T)).astype(np.complex64)
    vis = phasors @ flux + noise * (rng.standard_normal(len(uv)) + 1j * rng.standard_normal(len(uv)))
    turned = (vis[:, None] * phasors[:, :n].conj()).real * weight
    order = np.argsort(bins, kind="stable")
    starts = np.searchsorted(bins[order], np.arange(_BINS))
    count = np.diff(np.append(starts, bins.size))
    some = count > 0
    values = np.add.reduceat(turned[order], starts[some], axis=0)
    stacked = turned.sum(axis=1) / weight.sum()
    scatter = np.array([stacked[bins == b].std() / np.sqrt(count[b]) for b in np.flatnonzero(some)])
    return values, count[some, None] * weight, scatter, edges[1:][some], float(np.average(flux[:n], weights=weight))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000)
    n_sets = parser.parse_args().sets
    uv = _tracks()
    print("| positions | field | noise | uneven | others | advised | median cut (km) | pulls |")
    print("|---|---|---|---|---|---|---|---|")
    for n, field, noise, uneven, others in (
            (10, 5, 100, 0, 0), (25, 5, 100, 0, 0), (50, 5, 100, 0.7, 0), (100, 5, 300, 0, 0),
            (200, 15, 300, 0.7, 0), (50, 5, 0.3, 0, 0),
            (100, 5, 300, 0, 30), (100, 5, 300, 0, 100), (100, 5, 300, 0, 300)):
        rng = np.random.default_rng([n, int(10 * noise), int(10 * uneven), int(others)])
        cuts, pulls = [], []
        for _ in range(n_sets):
            values, weights, scatter, ends, truth = _set(uv, n, noise, uneven, others,
                                                         field * ARCMIN, rng)
            edge = trend_edge(values, weights, rng)
            cuts.append(np.nan if edge is None else ends[edge - 1])
            off = values.sum(axis=1) / weights.sum(axis=1) - truth
            pulls.append([(off / error) ** 2 for error in (unit_errors(values, weights), scatter)])
        share = np.isfinite(cuts).mean()
        positions, by_scatter = np.sqrt(np.nanmean(pulls, axis=(0, 2)))
        cut = f"{np.nanmedian(cuts) / 1e3:.1f}" if share else "–"
        print(f"| {n} | {field}′ | {noise} | {uneven} | {others} | {100 * share:.1f} ± "
              f"{100 * np.sqrt(max(share, 1 / n_sets) / n_sets):.1f} % | {cut} | {positions:.2f} ({by_scatter:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
