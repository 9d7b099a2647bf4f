"""Time, memory and accuracy of the simulator: data set type 6 at full size, and prediction beside that of other codes.

Type 6 of Lindroos et al. (2015) has 900 points and 417 Gaussians of different sizes, and 11.9
million visibilities (351 baselines × 3384 times × 10 channels; two correlations of each). Three
questions:

1. `simulate.observe` of the whole set, without and with corruptions: seconds (median), peak memory of a fresh process.
2. Prediction alone in ns a visibility and source, one thread and two, and its error: `uvstack.uv.predict.predict`, a plain
   float64 numba loop, codex-africanus' `im_to_vis`, `wsclean_predict` and fused RIME, casatools'
   simulator. All predict the same sources with flat spectra and no beam; a visibility is one of
   Stokes I at one row and channel. Slow codes do fewer times, evenly spread over the same track.
   Threads work on blocks of whole times; casatools has its own, by OpenMP.
3. The set as written, with the beam, against the float64 sum over its sources at the (u,v,w) that it holds.

Errors are relative to the sum of fluxes. A Gaussian l and m off the phase centre has its transform
at u − w l/n and v − w m/n; many codes take it at u and v, as equation 1 has it. So there is a
second error, against that form. Compilation is apart: everything runs once before the clock starts.
Peers that are not installed are named as such.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from markdown import head, row
from numba import njit
from threadpoolctl import threadpool_limits

from simulate import corruption
from simulate.arrays import read_array
from simulate.lindroos import CENTRE, recipe
from simulate.task import observe
from simulate.tracks import hour_angle_times, uvw_of_times
from uvstack.io.primary_beams import read_primary_beam
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines
from uvstack.uv.predict import predict

LIGHT = 299_792_458.0
ROOT = Path(__file__).resolve().parent.parent
#: exp(−(this θ q)²) is the transform of a Gaussian of FWHM θ at q wavelengths.
GAUSSIAN = math.pi / (2.0 * math.sqrt(math.log(2.0)))
AT_CENTRE = "largest error with transforms at u and v"
GOAL_SECONDS, GOAL_GB, GOAL_ERROR = 60.0, 2.0, 1e-5
CORRUPTIONS = {"none": [], "phases": [corruption.PhaseErrors(rms=0.3, timescale=60.0)],
               "phases, gains, bandpass": [corruption.PhaseErrors(rms=0.3, timescale=60.0),
                                           corruption.ComplexGains(0.1, 0.5, timescale=1800.0),
                                           corruption.Bandpass(0.05, 0.1)],
               "those, delays, flags": [corruption.PhaseErrors(rms=0.3, timescale=60.0),
                                        corruption.ComplexGains(0.1, 0.5, timescale=1800.0),
                                        corruption.Bandpass(0.05, 0.1), corruption.Delays(1e-10),
                                        corruption.RandomFlags(0.02)],
               "direction-dependent, of 3 sources": [corruption.DirectionDependentGains(
                                                         ("bright1", "bright2", "bright3"), 0.1,
                                                         0.5, 600.0)],
               "pointing errors": [corruption.PointingErrors(rms=float(np.deg2rad(10 / 3600)),
                                                             timescale=1800.0)]}


#: Every antenna has a beam of its own then, so that the antenna factorisation does not hold: a
#: twentieth of the times.
SHARE = {"pointing errors": 0.05}
#: ns and the three errors by number of threads, by name of the code.
Found = dict[str, dict[int, tuple[float, ...]]]


@dataclass(frozen=True)
class Problem:
    """Rows of whole times, and sources in the two forms that the codes take.

    Attributes
    ----------
    uvw : (row, 3) m; ant1, ant2, time : (row,); frequency : (chan,) Hz
    sky : Components
    lmn : (3, source); flux : (source, chan) Jy; fwhm : (source,) rad, of circular Gaussians, 0 for points
    """

    uvw: np.ndarray
    ant1: np.ndarray
    ant2: np.ndarray
    time: np.ndarray
    frequency: np.ndarray
    sky: Components
    lmn: np.ndarray
    flux: np.ndarray
    fwhm: np.ndarray

    def part(self, rows: slice) -> Problem:
        """The same sources at some of the rows."""
        return replace(self, uvw=self.uvw[rows], ant1=self.ant1[rows], ant2=self.ant2[rows],
                       time=self.time[rows])

    @property
    def terms(self) -> int:
        """Visibilities × sources."""
        return self.uvw.shape[0] * self.frequency.size * len(self.sky)


@njit(nogil=True, fastmath=False)
def direct(uvw, lmn, frequency, flux, fwhm, own_plane, vis):
    """Equation 1 as one would write it down: float64, one sine and cosine, and one exponential for a Gaussian, a term."""
    for i in range(uvw.shape[0]):
        for k in range(lmn.shape[1]):
            path = (uvw[i, 0] * lmn[0, k] + uvw[i, 1] * lmn[1, k] + uvw[i, 2] * lmn[2, k]) / LIGHT
            # w (n − 1) is not one number over an extended source: its slope there adds to u and v.
            slope = uvw[i, 2] / (1.0 + lmn[2, k]) if own_plane else 0.0
            u, v = uvw[i, 0] - slope * lmn[0, k], uvw[i, 1] - slope * lmn[1, k]
            size = (GAUSSIAN * fwhm[k] / LIGHT) ** 2 * (u * u + v * v)
            for chan in range(frequency.size):
                phase = 2.0 * math.pi * frequency[chan] * path
                value = flux[k, chan]
                if size > 0.0:
                    value *= math.exp(-size * frequency[chan] ** 2)
                vis[i, chan] += complex(math.cos(phase), math.sin(phase)) * value


def problem(sources: str, n_times: int, beam: bool = False) -> Problem:
    """Type 6 at n_times times spread over its track; sources are "points", "Gaussians" or "all"."""
    made = recipe(6).settings
    array, frequency = read_array(made["array"]), made["frequency"]
    whole = hour_angle_times(array, CENTRE[0], made["duration"], made["integration"], dec=CENTRE[1])
    times = whole[np.linspace(0, whole.size - 1, n_times).astype(int)]
    first, second = np.triu_indices(len(array.antenna_names), 1)
    x = uvw_of_times(array, times, *CENTRE)
    sky: Components = made["sky"]
    if sources != "all":
        sky = sky.subset(sky.target == (sources == "points"))
    lmn = np.stack(direction_cosines(sky.ra, sky.dec, *CENTRE))
    flux = sky.flux_at(frequency)
    if beam:
        flux = flux * read_primary_beam(made["primary_beam"])(lmn[0], lmn[1], frequency)
    return Problem((x[:, second] - x[:, first]).reshape(-1, 3), np.tile(first, times.size),
                   np.tile(second, times.size), np.repeat(times, first.size), frequency, sky, lmn,
                   np.ascontiguousarray(flux), sky.fwhm_major)


def plain(p: Problem, own_plane: bool = True) -> np.ndarray:
    """The numba loop; the truth of all errors. Gaussians lie on the tangent plane of the phase centre, or each on its own."""
    vis = np.zeros((p.uvw.shape[0], p.frequency.size), complex)
    direct(p.uvw, p.lmn, p.frequency, p.flux, p.fwhm, own_plane, vis)
    return vis


def ours(p: Problem) -> np.ndarray:
    """`uvstack`."""
    return predict(p.uvw, p.ant1, p.ant2, p.time, p.frequency, p.sky, *CENTRE)


def im_to_vis(p: Problem) -> np.ndarray:
    """codex-africanus, direct transform; knows points alone."""
    from africanus.dft import im_to_vis as theirs

    return theirs(p.flux[:, :, None], p.uvw, np.ascontiguousarray(p.lmn[:2].T), p.frequency,
                  convention="casa")[:, :, 0]


def wsclean_predict(p: Problem) -> np.ndarray:
    """codex-africanus, components as of a WSClean list."""
    from africanus.rime import wsclean_predict as theirs

    n = len(p.sky)
    kind = np.where(p.fwhm > 0, "GAUSSIAN", "POINT")
    shape = np.stack([p.fwhm, p.fwhm, np.zeros(n)], axis=1)
    return theirs(p.uvw, np.ascontiguousarray(p.lmn[:2].T), kind, p.flux[:, 0].copy(),
                  np.zeros((n, 1)), np.zeros(n, np.bool_), np.full(n, 1.4e9), shape,
                  p.frequency)[:, :, 0]


def fused_rime(p: Problem) -> np.ndarray:
    """codex-africanus, its experimental fused measurement equation, of points in the two correlations of the set."""
    from africanus.experimental.rime.fused.core import rime

    n, none = len(p.sky), np.zeros(p.uvw.shape[0], np.int32)
    inputs = {"time": p.time, "antenna1": p.ant1.astype(np.int32),
              "antenna2": p.ant2.astype(np.int32), "feed1": none, "feed2": none,
              "lm": np.ascontiguousarray(p.lmn[:2].T), "uvw": p.uvw, "chan_freq": p.frequency,
              "stokes": np.stack([p.flux[:, 0], 0 * p.flux[:, 0]], axis=1),
              "spi": np.zeros((n, 1, 2)), "ref_freq": np.full(n, 1.4e9)}
    return rime("(Kpq, Bpq): [I, V] -> [RR, LL]", inputs, convention="casa")[:, :, 0]


def in_blocks(code: Callable[[Problem], np.ndarray], p: Problem, threads: int,
              n_baselines: int = 351) -> np.ndarray:
    """Run a code on blocks of whole times, one or two a thread."""
    n_times = p.uvw.shape[0] // n_baselines
    edges = np.linspace(0, n_times, min(n_times, 2 * threads) + 1).astype(int) * n_baselines
    parts = [p.part(slice(a, b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    if threads == 1:
        return np.concatenate([code(part) for part in parts])
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(code, parts)))


def errors(value: np.ndarray, p: Problem) -> tuple[float, float, float]:
    """Largest and rms error, and the largest with the transforms of Gaussians at u and v, relative to the sum of fluxes."""
    difference, other = (np.abs(value - plain(p, own_plane)) / p.flux.sum(axis=0)
                         for own_plane in (True, False))
    return float(difference.max()), float(np.sqrt(np.mean(difference**2))), float(other.max())


def bench_code(code: Callable[[Problem], np.ndarray], p: Problem, threads: int,
               repeats: int) -> tuple[float, ...]:
    """Nanoseconds a visibility and source (median), largest and rms error over some 20 000 visibilities."""
    code(p.part(slice(0, 351)))
    seconds = []
    with threadpool_limits(limits=1):
        for _ in range(repeats):
            begin = time.perf_counter()
            value = in_blocks(code, p, threads)
            seconds.append(time.perf_counter() - begin)
    some = slice(0, None, max(p.uvw.shape[0] // 2000, 1))
    return float(np.median(seconds)) / p.terms * 1e9, *errors(value[some], p.part(some))


def casa_settings(simulator: Any, measures: Any, p: Problem, times: np.ndarray) -> None:
    """An empty set of casatools' simulator: array, band and field of p; integrations of 10 s, at once one after the other."""
    array = read_array(recipe(6).settings["array"])
    x, y, z = array.positions.T
    step = p.frequency[1] - p.frequency[0]
    simulator.setspwindow(spwname="L", freq=f"{p.frequency[0]}Hz", deltafreq=f"{step}Hz",
                          freqresolution=f"{step}Hz", nchannels=p.frequency.size, stokes="RR LL")
    simulator.setconfig(telescopename="VLA", x=list(x), y=list(y), z=list(z),
                        dishdiameter=list(array.dish_diameters), mount=["ALT-AZ"] * len(x),
                        antname=list(array.antenna_names), coordsystem="global",
                        referencelocation=measures.observatory("VLA"))
    simulator.setfeed("perfect R L")
    simulator.setfield(sourcename="field",
                       sourcedirection=measures.direction("J2000", *(f"{x}rad" for x in CENTRE)))
    simulator.setlimits(shadowlimit=0.0, elevationlimit="-90deg")
    simulator.setauto(0.0)
    simulator.settimes(integrationtime="10s", usehourangle=False,
                       referencetime=measures.epoch("UTC", f"{times[0]}s"))
    simulator.observe("field", "L", starttime="0s", stoptime=f"{10 * times.size}s")


def casa_list(name: str, sky: Components) -> None:
    """Write sources, points and circular Gaussians, as a component list."""
    from casatools import componentlist, measures

    tool, directions = componentlist(), measures()
    for ra, dec, flux, fwhm in zip(sky.ra, sky.dec, sky.flux, sky.fwhm_major, strict=True):
        where = directions.direction("J2000", f"{ra}rad", f"{dec}rad")
        shape = {"shape": "point"}
        if fwhm > 0:
            shape = {"shape": "Gaussian", "majoraxis": f"{fwhm}rad", "minoraxis": f"{fwhm}rad",
                     "positionangle": "0deg"}
        tool.addcomponent(flux=float(flux), fluxunit="Jy", dir=where, freq="1.4GHz", **shape)
    tool.rename(name)
    tool.close()


def child_casa(sources: str, n_times: int, repeats: int, folder: str) -> None:
    """Run in a process of its own, where OpenMP has its number of threads: ns a term and errors, printed as JSON."""
    from casatools import measures, simulator, table

    os.chdir(folder)
    p = problem(sources, n_times)
    tool = simulator()
    tool.open("casa.ms")
    casa_settings(tool, measures(), p,
                  np.unique(p.time)[n_times // 2 :][:1] + 10.0 * np.arange(n_times))
    casa_list("sky.cl", p.sky)
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        tool.predict(complist="sky.cl")
        seconds.append(time.perf_counter() - begin)
    tool.close()
    read = table()
    read.open("casa.ms")
    uvw, vis = read.getcol("UVW").T, read.getcol("DATA")[0].T
    read.close()
    p = replace(p, uvw=np.ascontiguousarray(uvw))
    few = slice(0, None, max(uvw.shape[0] // 2000, 1))
    ns = float(np.median(seconds[1:])) / p.terms * 1e9
    print(json.dumps({"figures": (ns, *errors(vis[few], p.part(few)))}))


def child_full(name: str, scale: float, repeats: int, out: str) -> None:
    """Run in a process of its own: seconds of each run after the first, if there are more, and peak memory, as JSON."""
    seconds = []
    if repeats > 1:
        simulate_type6(name, 0.005, out)
    for _ in range(repeats):
        begin = time.perf_counter()
        simulate_type6(name, scale, out)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds,
                      "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}))


def simulate_type6(name: str, scale: float, out: str) -> None:
    """Predict, corrupt and write type 6; of a smaller scale all sources are kept."""
    settings = recipe(6).settings
    settings["duration"] *= scale
    observe(out=out, seed=1, overwrite=True, corruptions=CORRUPTIONS[name], **settings)


def child(task: str, threads: int = 0, **arguments: Any) -> tuple[dict[str, Any], float]:
    """What a child prints, from a fresh process, and seconds of the whole process."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore",
                   "CASASITECONFIG": str(ROOT / "tests" / "casa_config.py")}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, "--child", task, json.dumps(arguments)],
                          capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{task} {arguments} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1]), time.perf_counter() - begin


def bench_full(folder: Path, scale: float, repeats: int, names: list[str]) -> None:
    """Print the table of whole simulations."""
    head(f"Type 6 predicted, corrupted, with noise and written: 1317 sources, two correlations (goal {GOAL_SECONDS:.0f} s, "
         f"{GOAL_GB:.0f} GB)", "corruptions", "million visibilities", "seconds", "whole process, first run", "peak GB")
    for name in names:
        share = SHARE.get(name, 1.0) * scale
        arguments = {"name": name, "scale": share, "out": str(folder / "type6.ms")}
        _, whole = child("full", repeats=1, **arguments)
        found, _ = child("full", repeats=max(repeats, 2), **arguments)
        row(name, f"{round(3384 * share) * 3510 / 1e6:.2f}",
            f"{np.median(found['seconds']):.1f}", f"{whole:.1f}", f"{found['peak_gb']:.2f}")


def bench_predict(folder: Path, quick: bool, repeats: int, peers: bool) -> None:
    """Print the tables of prediction by kind of source."""
    codes = [("ours", ours, 96 if quick else 564),
             ("plain float64 numba loop", plain, 4 if quick else 12)]
    if peers:
        codes += [("codex-africanus im_to_vis", im_to_vis, 4 if quick else 12),
                  ("codex-africanus wsclean_predict", wsclean_predict, 4 if quick else 12),
                  ("codex-africanus fused RIME", fused_rime, 4 if quick else 12)]
    for sources in ("points", "Gaussians", "all"):
        found: Found = {}
        for name, code, n_times in codes:
            if sources != "points" and code in (im_to_vis, fused_rime):  # know points alone
                continue
            p = problem(sources, n_times)
            try:
                found[name] = {threads: bench_code(code, p, threads, repeats) for threads in (1, 2)}
            except ImportError as error:
                print(f"{name}: not installed ({error})")
        if peers:
            found |= bench_casa(folder, sources, 2 if quick else 8, repeats)
        print_predict(sources, found)


def bench_casa(folder: Path, sources: str, n_times: int, repeats: int) -> Found:
    """Rows of casatools' simulator for the table, or nothing."""
    try:
        version("casatools")
    except PackageNotFoundError:
        print("casatools: not installed")
        return {}
    found = {}
    for threads in (1, 2):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            result, _ = child("casa", threads, sources=sources, n_times=n_times, repeats=repeats,
                              folder=scratch)
        found[threads] = result["figures"]
    return {"casatools simulator": found}


def print_predict(sources: str, found: Found) -> None:
    """One table."""
    n = len(problem(sources, 1).sky)
    head(f"Prediction, {sources}: {n} sources", "code", "ns a visibility and source, one thread",
         "two threads", "ours is faster by, one thread", "two threads",
         "11.9 million visibilities, two threads", "largest error / Σ flux", "rms error", AT_CENTRE)
    for name, by_threads in found.items():
        one, two = by_threads[1], by_threads[2]
        row(name, f"{one[0]:.3f}", f"{two[0]:.3f}", f"{one[0] / found['ours'][1][0]:.1f}",
            f"{two[0] / found['ours'][2][0]:.1f}", f"{two[0] * 1e-9 * 3384 * 3510 * n:.1f} s",
            *(f"{error:.1e}" for error in one[1:]))


def bench_accuracy(folder: Path, n_times: int) -> None:
    """Print errors of a noiseless type 6 as written, with its beam."""
    from casacore.tables import table

    settings = recipe(6).settings | {"noise": 0.0, "integration": 9.4 * 3600 / n_times}
    made = observe(out=folder / "exact.ms", seed=1, overwrite=True, **settings)
    with table(str(made.ms), ack=False) as read:
        uvw, vis = read.getcol("UVW"), read.getcol("DATA")
    p = replace(problem("all", 1, beam=True), uvw=uvw)
    head(f"Type 6 as written, with beam, no noise, against the float64 sum (goal {GOAL_ERROR:g})",
         "correlation", "visibilities", "largest error / Σ apparent flux", "rms error", AT_CENTRE)
    for i, name in enumerate(("RR", "LL")):
        row(name, vis[:, :, i].size, *(f"{error:.1e}" for error in errors(vis[:, :, i], p)))


def versions() -> str:
    """Names and versions of what is compared."""
    found = []
    for name in ("uvstack", "numpy", "numba", "python-casacore", "codex-africanus", "casatools"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def main() -> None:
    """Run what the options ask for."""
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        {"casa": child_casa, "full": child_full}[sys.argv[2]](**json.loads(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="small sizes, to see that all runs; about a minute")
    parser.add_argument("--only", choices=("full", "predict", "accuracy"),
                        help="one of the three questions")
    parser.add_argument("--skip-peers", action="store_true",
                        help="neither codex-africanus nor casatools")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--corruptions", default=",".join(f"{i}" for i in range(len(CORRUPTIONS))),
                        help="; ".join(f"{i} {name}" for i, name in enumerate(CORRUPTIONS)))
    parser.add_argument("--folder", type=Path,
                        help="where the sets go; default a temporary folder, removed at the end")
    options = parser.parse_args()
    print(f"{versions()}; {os.cpu_count()} processors")
    names = [list(CORRUPTIONS)[int(i)] for i in options.corruptions.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if options.only in (None, "full"):
            bench_full(folder, 0.05 if options.quick else 1.0, options.repeats, names)
        if options.only in (None, "predict"):
            bench_predict(folder, options.quick, 1 if options.quick else options.repeats,
                          not options.skip_peers)
        if options.only in (None, "accuracy"):
            bench_accuracy(folder, 6 if options.quick else 40)


if __name__ == "__main__":
    main()
