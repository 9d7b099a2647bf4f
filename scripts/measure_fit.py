"""The numbers of `docs/` on fits that are no times: efficiency and errors over many noises, limits, the bound of an array.

Prints, as tables:

1. The Cramér–Rao bound on the size of a Gaussian for VLA A, 1.4 GHz and a track of 8 h about transit, σ_size = e σ/(S √N), N
   visibilities with noise σ in the real and in the imaginary part, the flux being fitted too. The
   declination at which the published e hold is +40° (found by trying; +34°, overhead, is 0.5 % off
   and −30° 22 %).
2. Mean squared error over that bound, reported over actual error and bias of flux and FWHM, by the likelihood and by likelihood ×
   √det F, at several signal-to-noise ratios S √N/σ. A noise is drawn at the nodes of the bins, which is what the noise of all visibilities
   comes to there. A size of few errors is no linear function of the data: the most likely one
   scatters by about 1 + 4 (σ/FWHM)² of the bound.
3. The same for the linear fit of section 5.7 of Lindroos et al. (2015) alone.
4. How often the intervals of a size hold, those where χ² has risen by 1 and 3.84, and the error or limit that alone is told.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from markdown import head, row

from simulate.arrays import read_array
from simulate.tracks import baseline_uvw, hour_angle_times, uvw_of_times
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import ARCSEC, make_model
from uvstack.fitting.options import ESTIMATORS
from uvstack.fitting.solve.binned import Bins, bins_of
from uvstack.fitting.solve.binned import normal_equations as binned_normal_equations
from uvstack.fitting.solve.profile import profile_likelihood
from uvstack.fitting.solve.start import polynomial_fit, starting_values
from uvstack.fitting.solve.visibilities import fit_bins

FREQUENCY = 1.4e9
MODEL = make_model("gaussian", "0,0,p[0],p[1],1,0", FREQUENCY, names=("flux", "FWHM"))
PUBLISHED = {0.1: 11.98, 0.2: 6.18, 0.5: 3.05, 1.0: 2.80, 2.0: 5.33, 5.0: 21.4}


def vla(declination: float, n_bins: int = 512, integration: float = 60.0) -> Bins:
    """Bins of the track without noise or source, of weight 1; declination in degrees."""
    array, dec = read_array("vla.a"), np.deg2rad(declination)
    times = hour_angle_times(array, 1.0, 8 * 3600.0, integration, dec=dec)
    first, second = np.triu_indices(len(array.positions), 1)
    uvw = baseline_uvw(uvw_of_times(array, times, 1.0, dec), first, second).reshape(-1, 3)
    nothing = np.zeros((len(uvw), 1), np.complex64)
    return bins_of(FitData(np.ascontiguousarray(uvw), np.array([FREQUENCY]), nothing,
                           np.ones(nothing.shape, np.float32)), n_bins)


def observed(empty: Bins, flux: float, fwhm: float, snr: float,
             rng: np.random.Generator | None) -> Bins:
    """Bins of a Gaussian (Jy, arcsec) with noise for a signal-to-noise ratio flux √N/σ; none without rng."""
    nodes, weight = empty.nodes, (snr / flux) ** 2 / empty.n
    value = flux * np.exp(-((math.pi * fwhm * ARCSEC * nodes.q) ** 2) / (4 * math.log(2)))
    if rng is not None:
        value = value + np.where(nodes.used,
                                 rng.normal(size=value.shape) / np.sqrt(
                                     weight * np.where(nodes.used, nodes.weight, 1.0)), 0.0)
    sums = empty.sums * weight
    amount = weight * nodes.weight * value
    sums[nodes.which, 5] = amount.sum(axis=0)
    sums[nodes.which, 6] = (amount * (nodes.q / empty.width - nodes.which)).sum(axis=0)
    # The scatter within bins and the imaginary parts, at their mean.
    power = float(np.sum(amount * value)) + 2 * empty.n - int(nodes.used.sum())
    return Bins(empty.q_max, sums, power, empty.n)


def bound(empty: Bins, fwhm: float, snr: float) -> np.ndarray:
    """Cramér–Rao errors of flux (of 1 Jy) and FWHM (arcsec)."""
    normal = binned_normal_equations(observed(empty, 1.0, fwhm, snr, None), MODEL,
                                     np.array([1.0, fwhm]))
    return np.sqrt(np.diag(np.linalg.inv(normal.hessian)))


def measure_bound() -> None:
    """Print table 1."""
    head("Cramér–Rao bound on the FWHM, VLA A, 1.4 GHz, 8 h: e in arcsec of σ_size = e σ/(S √N)",
         "FWHM", "published", *(f"declination {d:+d}°" for d in (-30, 0, 34, 40)))
    arrays = [vla(d) for d in (-30, 0, 34, 40)]
    for fwhm, published in PUBLISHED.items():
        row(f"{fwhm:g}″", published, *(f"{bound(one, fwhm, 1.0)[1]:.2f}" for one in arrays))


def measure_efficiency(empty: Bins, n_runs: int, sizes: tuple[float, ...],
                       ratios: tuple[float, ...]) -> None:
    """Print table 2."""
    head(f"Efficiency over {n_runs} noises: flux · FWHM", "FWHM", "flux √N/σ", "estimator",
         "size over its bound", "mean squared error over bound", "reported over actual error",
         "bias (σ)", "not converged")
    for fwhm in sizes:
        for snr in ratios:
            sigma = bound(empty, fwhm or 1e-3, snr)
            sigma[1] = sigma[1] if fwhm else 1.0
            for estimator in ESTIMATORS:
                rng = np.random.default_rng(round(1000 * fwhm + snr))
                found, errors, failed = np.empty((n_runs, 2)), np.empty((n_runs, 2)), 0
                for i in range(n_runs):
                    bins = observed(empty, 1.0, fwhm, snr, rng)
                    result = fit_bins(bins, None, MODEL, starting_values(MODEL, bins),
                                      estimator=estimator)
                    found[i], errors[i] = result.parameters, result.errors
                    failed += not result.converged
                miss = found - (1.0, fwhm)
                row(f"{fwhm:g}″", snr, estimator, f"{fwhm / sigma[1]:.1f}" if fwhm else "",
                    pair(np.mean(miss**2, axis=0) / sigma**2, ".3f"),
                    pair(np.median(errors, axis=0) / found.std(axis=0), ".3f"),
                    pair(miss.mean(axis=0) / sigma, "+.3f"), failed)


def measure_line(empty: Bins, n_runs: int, fwhm: float) -> None:
    """Print table 3."""
    head(f"The linear fit of section 5.7 alone, FWHM {fwhm:g}″, {n_runs} noises: flux · FWHM",
         "flux √N/σ", "taken of", "bias (σ)", "rms deviation (σ)")
    for snr in (18, 50, 200, 1000, 10000):
        sigma = bound(empty, fwhm, snr)
        for n_bins in (512, 256, 128, 64):
            bare = vla(40.0, n_bins)
            rng, found = np.random.default_rng(snr), []
            for _ in range(n_runs):
                bins = observed(bare, 1.0, fwhm, snr, rng)
                which = bins.sums[:, 0] > 0
                weight = bins.sums[which, 0]
                q = (np.flatnonzero(which) + bins.sums[which, 1] / weight) * bins.width
                flux, size = polynomial_fit(q, bins.sums[which, 5] / weight, weight)
                found.append((flux, size / ARCSEC))
            miss = (np.array(found) - (1.0, fwhm)) / sigma
            row(snr, f"{n_bins} bins", pair(miss.mean(axis=0), "+.2f"),
                pair(np.sqrt(np.mean(miss**2, axis=0)), ".2f"))


def measure_intervals(empty: Bins, n_runs: int, sizes: tuple[float, ...],
                      ratios: tuple[float, ...]) -> None:
    """Print table 4."""
    head(f"How often intervals of the FWHM hold, {n_runs} noises: 68 % · 95 %", "true FWHM",
         "flux √N/σ", "called unresolved", "intervals", "rise of 1 · 3.84",
         "value ± 1 and 1.96 σ of the resolved", "median interval of 95 %")
    for fwhm in sizes:
        for snr in ratios:
            rng, resolved = np.random.default_rng(7), []
            held, plain, ends = np.zeros(2), np.zeros(2), []
            for _ in range(n_runs):
                bins = observed(empty, 1.0, fwhm, snr, rng)

                def passes(p: np.ndarray, bins: Bins = bins):
                    return binned_normal_equations(bins, MODEL, p)

                result = fit_bins(bins, None, MODEL, starting_values(MODEL, bins))
                both = result.intervals_68["FWHM"], result.intervals_95["FWHM"]
                held += [low <= fwhm <= high for low, high in both]
                plain += [low <= fwhm <= high for low, high in (
                    profile_likelihood(passes, MODEL, result, 1, rise) for rise in (1.0, 3.84))]
                ends.append(both[1])
                if not result.upper_limits:
                    off = abs(result.most_likely[1] - fwhm) / np.sqrt(
                        np.linalg.inv(passes(result.most_likely).hessian)[1, 1])
                    resolved.append((off <= 1.0, off <= 1.96))
            row(f"{fwhm:g}″", snr, f"{100 * (1 - len(resolved) / n_runs):.1f} %",
                pair(100 * held / n_runs, ".1f"), pair(100 * plain / n_runs, ".1f"),
                pair(100 * np.mean(resolved, axis=0), ".1f") if resolved else "none",
                " to ".join(f"{end:.3f}″" for end in np.median(ends, axis=0)))


def pair(values: np.ndarray, form: str) -> str:
    """Two numbers in one cell."""
    return " · ".join(format(value, form) for value in values)


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000,
                        help="noises of each line of tables 2 to 4")
    parser.add_argument("--quick", action="store_true", help="few noises: to see that it runs")
    options = parser.parse_args()
    n_runs = 50 if options.quick else options.runs
    empty = vla(40.0, 128)
    measure_bound()
    measure_efficiency(empty, n_runs, (0.0, 0.5, 1.0, 2.0), (5, 10, 20, 50, 200))
    measure_line(empty, n_runs, 1.0)
    measure_intervals(empty, n_runs, (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0), (5, 10, 20, 50, 200))


if __name__ == "__main__":
    main()
