"""How fast fits are, and whether they end at the same place: circular Gaussian and two elliptical ones.

Prints, as tables, CPU seconds of one thread (median of repeats after one run that compiles),
seconds for 10⁶ visibilities, peak memory of a process of its own, and how far from the minimum the
result is, in errors:

1. Flux and FWHM of a Gaussian at the phase centre on 10⁶ and 10⁷ visibilities in memory: sums in bins (`method="binned"`), all
   visibilities (`method="exact"`), both also as whole calls of `fit_visibilities` with the checks
   of arrays, scipy's `least_squares` with the analytic Jacobian, and a plain numba loop of Gauss
   and Newton as one would write it down. UVMultiFit's times are quoted: version 3.0 on the same
   class of machine, 0.42 s for 10⁶ and 4.2 s for 10⁷, with the tolerances it comes with.
2. 10⁸ visibilities that are made chunk by chunk; making them is not counted.
3. Two elliptical Gaussians, 12 parameters: all visibilities, and scipy.

With --uvmultifit FOLDER, tables 1 and 3 also hold UVMultiFit (Martí-Vidal et al. 2014) measured on
the same arrays from the same starting values: its C++ engine, which takes derivatives from
differences, and its own Levenberg–Marquardt loop, with the tolerances it comes with and with ours:
it stops where a step changes χ² by less than 10⁻⁶, which is 0.001 σ, or by 10⁻¹² of χ², as below
its rounding (measured: 2 × 10⁻¹³ at 10⁷) the loop goes on to its last iteration. Its data are
handed over, as complex128 with square roots of weights, before the clock starts. FOLDER holds
`uvmultimodel*.so`, built for this Python from `uvmultimodel.cpp` of its branch `develop` with -O3,
and `NordicARC/modeler.py` of that branch; neither needs CASA.

Visibilities have 64 channels a row. --quick takes 10⁵ and 10⁶ and leaves out the chunks.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from markdown import head, row
from numba import njit

from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import ARCSEC, Model, make_model
from uvstack.fitting.model.normal import NormalEquations, model_visibilities, normal_equations
from uvstack.fitting.solve.binned import Bins, bins_of
from uvstack.fitting.solve.solver import solve
from uvstack.fitting.solve.visibilities import fit_bins, fit_passes, fit_visibilities

N_CHAN, N_CHUNK = 64, 1_000_000
Run = Callable[[], tuple[np.ndarray, int | None]]  # gives parameters and, where counted, passes over all visibilities
FREQUENCY = 1.4e9 + 1e6 * np.arange(N_CHAN)
LIGHT = 299_792_458.0
SNR = 100.0
VAR = {"round": ["0,0,p[0],p[1],1,0"],
       "two": ["p[0],p[1],p[2],p[3],p[4],p[5]", "p[6],p[7],p[8],p[9],p[10],p[11]"]}
ROUND, TWO = (make_model(["Gaussian"] * len(var), var, 1.4e9) for var in VAR.values())
TRUTH = {"round": (ROUND, np.array([1.0, 1.0]), np.array([0.8, 1.3])),
         "two": (TWO, np.array([0.0, 0.0, 1.0, 1.0, 0.6, 30.0, 3.0, -2.0, 0.7, 2.0, 0.5, -40.0]),
                 np.array([0.1, 0.1, 0.8, 1.3, 0.7, 20.0, 2.9, -2.1, 0.8, 1.8, 0.6, -30.0]))}  # fmt: skip
QUOTED = {1_000_000: "0.42", 10_000_000: "4.2"}
TOLERANCE = 1e-3  # of `fit_passes`, in errors


def chunk(kind: str, n: int, total: int, seed: int) -> FitData:
    """n visibilities of a set of `total`, with noise for a signal-to-noise ratio of 100 on the flux of a point."""
    model, truth, _ = TRUTH[kind]
    rng, sigma = np.random.default_rng(seed), math.sqrt(total) / SNR
    uvw = rng.normal(0, 8e3, (n // N_CHAN, 3))
    shape = (len(uvw), N_CHAN)
    empty = FitData(uvw, FREQUENCY, np.zeros(shape, np.complex64),
                    np.full(shape, sigma**-2, np.float32))
    noise = rng.standard_normal((*shape, 2),
                                np.float32).view(np.complex64)[..., 0] * np.float32(sigma)
    return FitData(uvw, FREQUENCY,
                   (model_visibilities(empty, model, truth) + noise).astype(np.complex64),
                   empty.weight)


@njit(nogil=True)
def plain_sums(uvw, wavenumber, vis, weight, flux, fwhm, h, g):
    """Normal equations of a round Gaussian, written down straight."""
    for r in range(uvw.shape[0]):
        for c in range(wavenumber.size):
            square = (uvw[r, 0] ** 2 + uvw[r, 1] ** 2) * wavenumber[c] ** 2
            a = math.pi**2 / (4 * math.log(2)) * square
            by_flux = math.exp(-a * fwhm**2)
            by_fwhm = -2 * a * fwhm * flux * by_flux
            w, rest = weight[r, c], vis[r, c].real - flux * by_flux
            g[0] += w * rest * by_flux
            g[1] += w * rest * by_fwhm
            h[0, 0] += w * by_flux * by_flux
            h[0, 1] += w * by_flux * by_fwhm
            h[1, 1] += w * by_fwhm * by_fwhm
    h[1, 0] = h[0, 1]


def plain(data: FitData, start: np.ndarray) -> np.ndarray:
    """Gauss–Newton to a thousandth of an error."""
    p = start * (1.0, ARCSEC)
    for _ in range(30):
        h, g = np.zeros((2, 2)), np.zeros(2)
        plain_sums(data.uvw, FREQUENCY / LIGHT, data.vis, data.weight, p[0], p[1], h, g)
        step = np.linalg.solve(h, g)
        p = p + step
        if step @ h @ step < 1e-6:
            break
    return p / (1.0, ARCSEC)


def with_scipy(data: FitData, model: Model, start: np.ndarray) -> np.ndarray:
    """`least_squares` on real and imaginary parts; the Jacobian of round Gaussians by formula, of others from differences."""
    from scipy.optimize import least_squares

    root = np.sqrt(data.weight.astype(np.float64))
    square = (data.uvw[:, 0] ** 2 + data.uvw[:, 1] ** 2)[:, None] * (FREQUENCY / LIGHT) ** 2
    a = (math.pi * ARCSEC) ** 2 / (4 * math.log(2)) * square

    def residual(p: np.ndarray) -> np.ndarray:
        model_vis = p[0] * np.exp(-a * p[1] ** 2) if model is ROUND else model_visibilities(
            data, model, p)
        rest = root * (model_vis - data.vis)
        return np.concatenate([rest.real.ravel(), rest.imag.ravel()])

    def jacobian(p: np.ndarray) -> np.ndarray:
        out = np.zeros((2 * a.size, 2))
        f = root * np.exp(-a * p[1] ** 2)
        out[: a.size, 0], out[: a.size, 1] = f.ravel(), (-2 * p[0] * p[1] * a * f).ravel()
        return out

    jac: str | Callable = jacobian if model is ROUND else "2-point"
    return least_squares(residual, start, jac, x_scale="jac").x


def with_uvmultifit(folder: str, data: FitData, kind: str, start: np.ndarray, tight: bool) -> Run:
    """What fits by UVMultiFit's engine and loop, one thread; its arrays are made here, outside of what is timed."""
    sys.path.insert(0, folder)
    from NordicARC.modeler import Modeler

    rows, zeros = len(data.uvw), lambda: [np.zeros(len(data.uvw))]
    # What its measurement set class would have read; one spectral window, two antennas without
    # beams, phase centre at (0, 0).
    ms = SimpleNamespace(
        averfreqs=[FREQUENCY.copy()], u=[data.uvw[:, 0].copy()], v=[data.uvw[:, 1].copy()], w=[data.uvw[:, 2].copy()],
        averdata=[data.vis.astype(np.complex128)], averweights=[np.sqrt(data.weight.astype(np.float64))],
        RAshift=zeros(), Decshift=zeros(), Stretch=[np.ones(rows)], ant1=[np.zeros(rows, np.int32)], ant2=[np.ones(rows, np.int32)],
        t=zeros(), tArr=[np.zeros(1)], tIdx=[np.zeros(rows, np.int32)], t0=0.0, KfacWgt=np.zeros(2), Nants=2, iscancoords=[],
        spwlist=[[0, 0, [0], 0]], MJDrange=[-1.0, -1.0], refpos=np.zeros(2))  # fmt: skip
    # First damping, its factor, tolerance of χ² (relative), most iterations a parameter, tolerance
    # of parameters (relative).
    tune = [1e-3, 10.0, max(TOLERANCE**2 / (2 * data.vis.size), 1e-12), 20,
            1e-9] if tight else [1e-3, 10.0, 1e-5, 200, 1e-3]
    modeler = Modeler(["Gaussian"] * len(VAR[kind]), list(VAR[kind]), list(start), NCPU=1,
                      LMtune=tune)
    if not (modeler.init_data(1, ms) and modeler.init_model(1, ms.tArr, ms.averfreqs, ms.refpos)):
        raise RuntimeError("UVMultiFit's engine did not take the data")

    def run() -> tuple[np.ndarray, int]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = modeler.fit(ms, 0, False)
        return found["Parameters"], modeler.calls

    return run


def chunked(total: int, start: np.ndarray, method: str) -> tuple[np.ndarray, float]:
    """Parameters and CPU seconds of a fit to chunks that are made anew for each pass."""
    spent = 0.0

    def summed(of: Callable[[FitData], Bins | NormalEquations]):
        nonlocal spent
        found = None
        for i in range(total // N_CHUNK):
            data = chunk("round", N_CHUNK, total, i)
            begin = time.process_time()
            part = of(data)
            found = part if found is None else found + part
            spent += time.process_time() - begin
        return found

    bins = summed(bins_of)
    begin = time.process_time()
    result = fit_bins(bins, None, ROUND, start)
    spent += time.process_time() - begin
    if method == "exact":
        result = fit_passes(lambda p: summed(lambda data: normal_equations(data, ROUND, p)), ROUND,
                            result.parameters)
    return result.parameters, spent


def runs(data: FitData, kind: str, method: str, start: np.ndarray, folder: str) -> Run:
    """What makes one fit by a method."""
    model = TRUTH[kind][0]
    arrays = {"model": "gaussian", "var": VAR["round"], "p_ini": start}
    exact = lambda p: normal_equations(data, model, p)  # noqa: E731
    if method.startswith("uvmultifit"):
        return with_uvmultifit(folder, data, kind, start, tight=method == "uvmultifit tight")

    def called(how: str) -> np.ndarray:
        return fit_visibilities(data.uvw, FREQUENCY, data.vis, data.weight, **arrays,
                                method=how).parameters

    def passes() -> tuple[np.ndarray, int]:
        found = fit_passes(exact, model, start, tolerance=TOLERANCE)
        return found.parameters, found.n_passes

    return {
        "binned": lambda: (fit_bins(bins_of(data), None, model, start).parameters, None),
        "exact": passes if kind == "two" else
                 lambda: (fit_bins(bins_of(data), exact, model, start, method="exact").parameters, None),
        "call binned": lambda: (called("auto"), None),
        "call exact": lambda: (called("exact"), None),
        "scipy": lambda: (with_scipy(data, model, start), None),
        "plain": lambda: (plain(data, start), None),
    }[method]  # fmt: skip


def child(kind: str, method: str, n: int, repeats: int, folder: str) -> None:
    """Run in a process of its own; what `row` wants is printed as JSON."""
    model, _, start = TRUTH[kind]
    if n > 20_000_000:
        chunked(N_CHUNK, start, method)
        found, seconds = chunked(n, start, method)
        print(json.dumps({"seconds": seconds, "off": None, "p": list(found), "peak": peak()}))
        return
    data = chunk(kind, n, n, 0)
    few = chunk(kind, 6400, 6400, 1)
    before = peak()
    runs(few, kind, method, start, folder)()
    seconds = []
    for _ in range(repeats):
        run = runs(data, kind, method, start, folder)
        begin = time.process_time()
        found, passes = run()
        seconds.append(time.process_time() - begin)
    used = peak() - before
    best = solve(lambda p: normal_equations(data, model, p), found, tolerance=1e-6)
    miss = best.p - found
    off = float(np.sqrt(miss @ best.normal.hessian @ miss))
    print(json.dumps({"seconds": float(np.median(seconds)), "off": off, "p": list(found),
                      "passes": passes, "peak": peak(), "used": used}))


def peak() -> float:
    """Largest memory of the process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(kind: str, method: str, n: int, repeats: int, folder: str = "") -> dict:
    """What `child` prints, from a fresh process of one thread."""
    threads = {name: "1"
               for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
    done = subprocess.run([sys.executable, __file__, "--child", kind, method, str(n), str(repeats),
                           folder], check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **threads})
    return json.loads(done.stdout.strip().splitlines()[-1])


NAMES = {"binned": "ours, bins", "exact": "ours, all visibilities", "call binned": "ours, bins: `fit_visibilities` with checks",
         "call exact": "ours, all visibilities: `fit_visibilities` with checks", "scipy": "scipy `least_squares` with Jacobian",
         "plain": "plain numba Gauss–Newton"}  # fmt: skip
PEER = {"uvmultifit": "UVMultiFit, the tolerances it comes with",
        "uvmultifit tight": "UVMultiFit, tolerance as ours"}


def table(title: str, kind: str, methods: tuple[str, ...], n: int, repeats: int,
          folder: str) -> None:
    """Print the table of one size."""
    n -= n % N_CHAN
    peers = tuple(PEER) if folder else ()
    ratios = ("ratio to scipy", *(["ratio to UVMultiFit, tolerance as ours"] if peers else []))
    head(title, "code", "CPU seconds", "for 10⁶ visibilities", *ratios,
         "passes over the data, where counted", "memory beyond that of making the data (GB)",
         "from the minimum (σ)")
    slow = ("scipy", *PEER) if n > 2_000_000 else ()
    found = {method: measure(kind, method, n, 1 if method in slow else repeats, folder)
             for method in (*methods, *peers)}
    bases = [found[name]["seconds"] for name in ("scipy", *peers[-1:])]
    names = {**NAMES, **PEER}
    if kind == "two":
        names["scipy"] = "scipy `least_squares`, Jacobian from differences"
    for method, one in found.items():
        seconds = one["seconds"]
        row(names[method], f"{seconds:.4f}", f"{seconds / n * 1e6:.4f}",
            *(f"{seconds / base:.4f}" for base in bases), one["passes"] or "", f"{one['used']:.2f}",
            f"{one['off']:.1e}")
    if kind == "round" and n in QUOTED:
        seconds = float(QUOTED[n])
        row("UVMultiFit 3.0 (quoted)", QUOTED[n], f"{seconds / n * 1e6:.2f}", *("" for _ in bases),
            "", "", "up to 2.2 at 10⁷")


def checked_folder(folder: str) -> str:
    """The folder with UVMultiFit, or "" after a line that says why it is left out."""
    why = "no --uvmultifit FOLDER was given"
    if folder:
        path = str(Path(folder).resolve())
        sys.path.insert(0, path)
        try:
            importlib.import_module("NordicARC.modeler")
        except ImportError as error:
            why = f"{folder}: {error}"
        else:
            return path
    print(f"UVMultiFit SKIPPED: {why}; its times are quoted, not measured")
    return ""


def main() -> None:
    """Run what the options ask for."""
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        kind, method, n, repeats, folder = sys.argv[2:]
        child(kind, method, int(n), int(repeats), folder)
        return
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--uvmultifit", metavar="FOLDER", default="",
                        help="also measure UVMultiFit, built in this folder")
    options = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}"
                         for name in ("uvstack", "numpy", "numba", "scipy"))
    print(f"{versions}; one thread, {N_CHAN} channels")
    folder = checked_folder(options.uvmultifit)
    for n in (100_000, 1_000_000) if options.quick else (1_000_000, 10_000_000):
        table(f"Round Gaussian, flux and FWHM, {n:,} visibilities", "round", tuple(NAMES), n,
              options.repeats, folder)
    for n in (100_000,) if options.quick else (100_000, 1_000_000):
        table(f"Two elliptical Gaussians, 12 parameters, {n:,} visibilities", "two",
              ("exact", "scipy"), n, options.repeats, folder)
    if not options.quick:
        head("Round Gaussian, 10⁸ visibilities in chunks of 10⁶", "code", "CPU seconds",
             "for 10⁶ visibilities", "peak memory (GB)", "flux, FWHM")
        for method in ("binned", "exact"):
            one = measure("round", method, 100_000_000, 1)
            row(NAMES[method], f"{one['seconds']:.3f}", f"{one['seconds'] / 100:.4f}",
                f"{one['peak']:.2f}", ", ".join(f"{value:.6f}" for value in one["p"]))


if __name__ == "__main__":
    main()
