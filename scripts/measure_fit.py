"""The numbers of `docs/` on fits that are no times: efficiency and errors over many noises, limits, the bound of an array.

Prints, as tables:

1. The Cramér–Rao bound on the size of a Gaussian for VLA A, 1.4 GHz and a track of 8 h about transit, σ_size = e σ/(S √N), N
   visibilities with noise σ in the real and in the imaginary part, the flux being fitted too. The
   declination at which the published e hold is +40° (found by trying; +34°, overhead, is 0.5 % off
   and −30° 22 %).
2. Mean squared error over that bound, reported over actual error and bias of flux and FWHM, by the likelihood and by likelihood ×
   √F, at several signal-to-noise ratios S √N/σ; how often the intervals of the FWHM hold, of 68 and
   95 %, and how often a size is told as a limit. A noise is drawn at the nodes of the bins, which is what the noise of all visibilities
   comes to there. A size of few errors is no linear function of the data: the most likely one
   scatters by about 1 + 4 (σ/FWHM)² of the bound.
3. The same for the linear fit of section 5.7 of Lindroos et al. (2015) alone.
4. Ellipses: mean squared errors of flux and longer axis over the bound, and how often the intervals of the longer axis hold.
5. Weights that are no inverse variances (`uvtaper`): the same of round Gaussians in measurement sets.

    python scripts/measure_fit.py --results lines.jsonl

goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from markdown import head, row

import simulate
import uvstack
from simulate.arrays import read_array
from simulate.tracks import baseline_uvw, hour_angle_times, uvw_of_times
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import ARCSEC, make_model
from uvstack.fitting.model.normal import model_visibilities, normal_equations
from uvstack.fitting.result import FitResult
from uvstack.fitting.solve.binned import Bins, bins_of
from uvstack.fitting.solve.binned import normal_equations as binned_normal_equations
from uvstack.fitting.solve.start import polynomial_fit, starting_values
from uvstack.fitting.solve.visibilities import fit_bins, fit_visibilities
from uvstack.io.casa import open_table
from uvstack.sky.components import components

FREQUENCY = 1.4e9
MODEL = make_model("gaussian", "0,0,p[0],p[1],1,0", FREQUENCY, names=("flux", "FWHM"))
PUBLISHED = {0.1: 11.98, 0.2: 6.18, 0.5: 3.05, 1.0: 2.80, 2.0: 5.33, 5.0: 21.4}


def track(declination: float, integration: float = 60.0) -> FitData:
    """The track without noise or source, of weight 1; declination in degrees."""
    array, dec = read_array("vla.a"), np.deg2rad(declination)
    times = hour_angle_times(array, 1.0, 8 * 3600.0, integration, dec=dec)
    first, second = np.triu_indices(len(array.positions), 1)
    uvw = baseline_uvw(uvw_of_times(array, times, 1.0, dec), first, second).reshape(-1, 3)
    nothing = np.zeros((len(uvw), 1), np.complex64)
    return FitData(np.ascontiguousarray(uvw), np.array([FREQUENCY]), nothing,
                   np.ones(nothing.shape, np.float32))


def vla(declination: float, n_bins: int = 512, integration: float = 60.0) -> Bins:
    """Bins of the track."""
    return bins_of(track(declination, integration), n_bins)


class Kept:
    """Lines of tables that are measured once and kept in a file, if there is one."""

    def __init__(self, path: str | None) -> None:
        self._path, self._lines = path, {}
        if path is not None and Path(path).exists():
            lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
            self._lines = {json.dumps(key): value for key, value in lines}

    def __call__(self, key: tuple, measure: Callable[[], dict]) -> dict:
        """The line `key`, measured if it is not there."""
        name = json.dumps(key)
        if name not in self._lines:
            self._lines[name] = measure()
            if self._path is not None:
                with open(self._path, "a", encoding="utf-8") as file:
                    file.write(json.dumps([key, self._lines[name]]) + "\n")
        return self._lines[name]


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


def measure_sizes(empty: Bins, n_runs: int, kept: Kept) -> None:
    """Print table 2."""
    head(f"Sizes, {n_runs} noises: flux · FWHM, 68 % · 95 %", "FWHM", "flux √N/σ",
         "size over its bound", "likelihood", "bias (σ)", "√F", "bias (σ)",
         "reported over actual error", "intervals", "told as a limit", "not converged")
    for fwhm in (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0):
        for snr in (5, 10, 20, 50, 200):
            found = kept(("sizes", fwhm, snr, n_runs),
                         lambda fwhm=fwhm, snr=snr: _sizes(empty, fwhm, snr, n_runs))
            sigma = bound(empty, fwhm or 1e-3, snr) if fwhm else np.array(
                [bound(empty, 1e-3, snr)[0], 1.0])
            row(f"{fwhm:g}″", snr, f"{fwhm / sigma[1]:.1f}" if fwhm else "", *(
                pair(np.array(found[name]), form)
                for name, form in (("likelihood", ".2f"), ("likelihood_bias", "+.2f"),
                                   ("mse", ".2f"), ("bias", "+.2f"), ("reported", ".2f"),
                                   ("held", ".1f"))),
                f"{found['limits']:.1f} %", found["failed"])


def _sizes(empty: Bins, fwhm: float, snr: float, n_runs: int) -> dict:
    """A line of table 2."""
    truth, sigma = np.array([1.0, fwhm]), bound(empty, fwhm or 1e-3, snr)
    sigma[1] = sigma[1] if fwhm else 1.0
    rng = np.random.default_rng(round(1000 * fwhm + snr))
    results = []
    for _ in range(n_runs):
        bins = observed(empty, 1.0, fwhm, snr, rng)
        results.append(fit_bins(bins, None, MODEL, starting_values(MODEL, bins)))
    return {**_judged(results, truth, sigma, "FWHM", 1), "reported": [
        float(np.median([r.errors[i] for r in results]) / np.std([r.parameters[i] for r in results]))
        for i in (0, 1)]}


def _judged(results: list[FitResult], truth: np.ndarray, sigma: np.ndarray, name: str,
            index: int) -> dict:
    """Mean squares and biases in bounds sigma, and how often intervals of the size `name` hold, in per cent."""
    out: dict = {"failed": int(sum(not r.converged for r in results)),
                 "limits": 100 * float(np.mean([name in r.upper_limits for r in results])),
                 "held": [100 * float(np.mean([one[name][0] <= truth[index] <= one[name][1]
                                               for one in intervals]))
                          for intervals in ([r.intervals_68 for r in results],
                                            [r.intervals_95 for r in results])]}
    for before, values in (("", [r.parameters for r in results]),
                           ("likelihood", [r.most_likely for r in results])):
        miss = (np.array(values)[:, :2] - truth) / sigma
        out[before or "mse"] = np.mean(miss**2, axis=0).tolist()
        out[f"{before}_bias".lstrip("_")] = miss.mean(axis=0).tolist()
    return out


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


def measure_ellipses(n_runs: int, kept: Kept) -> None:
    """Print table 4."""
    empty = track(40.0, 1800.0)
    model = make_model("gaussian", "0,0,p[0],p[1],p[2],p[3]", FREQUENCY,
                       names=("flux", "major", "ratio", "angle"))
    head(f"Ellipses, {n_runs} noises: flux · longer axis, 68 % · 95 %", "longer axis", "ratio",
         "flux √N/σ", "mean squared error over bound", "bias (σ)", "intervals", "told as a limit",
         "not converged")

    def line(major: float, ratio: float, snr: float) -> dict:
        truth, rng = np.array([1.0, major, ratio, 30.0]), np.random.default_rng(3)
        noise = math.sqrt(len(empty.uvw)) / snr
        clean = model_visibilities(empty, model, truth)
        curvature = normal_equations(empty, model, truth).hessian
        sigma = noise * np.sqrt(np.diag(np.linalg.pinv(curvature)))[:2] if major else np.array(
            [1.0 / snr, 1.0])
        weight, results = np.full(clean.shape, noise**-2), []
        for _ in range(n_runs):
            vis = clean + noise * (rng.normal(size=clean.shape) + 1j * rng.normal(size=clean.shape))
            results.append(fit_visibilities(empty.uvw, empty.frequency, vis, weight,
                                            model="gaussian", var="0,0,p[0],p[1],p[2],p[3]",
                                            p_ini=[1.0, max(major, 0.5), ratio, 30.0],
                                            names=model.names))
        return _judged(results, truth[:2], sigma, "major", 1)

    for major, ratio, snr in ((0.0, 1.0, 10), (0.0, 1.0, 20), (0.0, 1.0, 50), (0.5, 0.5, 20),
                              (1.0, 0.5, 10), (1.0, 0.5, 20), (2.0, 0.5, 20), (1.0, 0.5, 100)):
        found = kept(("ellipses", major, ratio, snr, n_runs),
                     lambda major=major, ratio=ratio, snr=snr: line(major, ratio, snr))
        row(f"{major:g}″", ratio, snr, pair(np.array(found["mse"]), ".2f"),
            pair(np.array(found["bias"]), "+.2f"), pair(np.array(found["held"]), ".1f"),
            f"{found['limits']:.1f} %", found["failed"])


def measure_tapers(n_runs: int, kept: Kept) -> None:
    """Print table 5."""
    head(f"Tapers, {n_runs} noises: flux · FWHM, 68 % · 95 %", "FWHM", "taper", "flux √N/σ",
         "scatter over reported error", "bias (σ)", "intervals", "told as a limit", "not converged")
    for fwhm, taper, snr in ((0.0, "8km", 20), (1.0, None, 20), (1.0, "8km", 20), (1.0, "4km", 20),
                             (2.0, "8km", 20)):
        found = kept(("tapers", fwhm, taper, snr, n_runs),
                     lambda fwhm=fwhm, taper=taper, snr=snr: _tapered(fwhm, taper, snr, n_runs))
        row(f"{fwhm:g}″", taper or "none", snr, pair(np.array(found["scatter"]), ".2f"),
            pair(np.array(found["bias"]), "+.2f"), pair(np.array(found["held"]), ".1f"),
            f"{found['limits']:.1f} %", found["failed"])


def _tapered(fwhm: float, taper: str | None, snr: float, n_runs: int) -> dict:
    """A line of table 5: sets of one seed after the other."""
    rng, results = np.random.default_rng(5), []
    with tempfile.TemporaryDirectory() as folder:
        ms, sky = Path(folder) / "a.ms", components([1.0], [0.7], [1.0], fwhm_major=fwhm * ARCSEC)
        simulate.observe(sky=sky, out=ms, array="vla.a", pointings=(1.0, 0.7), frequency=FREQUENCY,
                         width=1e6, integration=1800.0, duration=8 * 3600.0, noise=0.0)
        with open_table(ms) as table:
            clean = table.read("DATA")
        # Stokes I is the mean of two hands.
        noise = math.sqrt(2.0 * len(clean)) / snr
        for _ in range(n_runs):
            with open_table(ms, readonly=False) as table:
                table.write("DATA", clean + noise * (rng.normal(size=clean.shape)
                                                     + 1j * rng.normal(size=clean.shape)))
            results.append(uvstack.fit(ms, model="gaussian", uvtaper=taper))
    errors = np.median([r.errors for r in results], axis=0)
    found = _judged(results, np.array([1.0, fwhm]), errors, "fwhm", 1)
    return {**found, "scatter": (np.std([r.parameters for r in results], axis=0) / errors).tolist()}


def pair(values: np.ndarray, form: str) -> str:
    """Two numbers in one cell."""
    return " · ".join(format(value, form) for value in values)


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="noises of each line of table 2")
    parser.add_argument("--others", type=int, default=300, help="noises of those of tables 3 to 5")
    parser.add_argument("--results", help="file of lines that are measured, to go on with")
    parser.add_argument("--quick", action="store_true", help="few noises: to see that it runs")
    options = parser.parse_args()
    n_runs, others = (20, 5) if options.quick else (options.runs, options.others)
    kept, empty = Kept(options.results), vla(40.0, 128)
    measure_bound()
    measure_sizes(empty, n_runs, kept)
    measure_ellipses(others, kept)
    measure_tapers(others, kept)
    measure_line(empty, others, 1.0)


if __name__ == "__main__":
    main()
