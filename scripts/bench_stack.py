"""Time, accuracy and memory of a stack from measurement set to measurement set, beside a plain copy of the same set.

The set has the size of Lindroos et al. (2015): 27 antennas, 3384 times, 10 channels, 2
correlations. Three questions:

1. The factor alone, one thread: phases a second and error against a float64 sum, for our forms, a plain float64 numba
   loop and codex-africanus' `im_to_vis`, all on the same rows in the same run.
2. `uvstack.stack(…, out=…)` for 10 to 100 000 positions against a plain copy of all columns with python-casacore: seconds
   (median), ratio, peak memory of the process.
3. The form that each number of positions took.

Compilation is apart: every process runs once on a few rows before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from markdown import head, row
from numba import njit
from threadpoolctl import threadpool_limits

from simulate.arrays import vla_like
from simulate.task import observe
from simulate.tracks import antenna_uvw
from uvstack.sky.components import components

LIGHT = 299_792_458.0
RA, DEC = np.deg2rad([57.2957917, -30.0])
HALF_FIELD = np.deg2rad(15 / 60)
FREQUENCY = 1.4e9 + 25e6 * (np.arange(10) - 4.5)


@njit(nogil=True)
def naive(uvw, lmn, frequency, coefficient, factor):
    """The sum of equation 5 as one would write it down: float64, one sine and cosine a phase."""
    for i in range(uvw.shape[0]):
        for chan in range(frequency.size):
            scale = -2.0 * math.pi * frequency[chan] / LIGHT
            total = 0j
            for k in range(lmn.shape[1]):
                phase = scale * (uvw[i, 0] * lmn[0, k] + uvw[i, 1] * lmn[1, k]
                                 + uvw[i, 2] * lmn[2, k])
                total += complex(math.cos(phase), math.sin(phase)) * coefficient[chan, k]
            factor[i, chan] = total


def sky(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """n directions in a field of 30′."""
    rng = np.random.default_rng(seed)
    dec = DEC + rng.uniform(-HALF_FIELD, HALF_FIELD, n)
    return RA + rng.uniform(-HALF_FIELD, HALF_FIELD, n) / np.cos(dec), dec


def make_set(path: Path, n_times: int) -> None:
    """The set to stack: noise and 900 sources."""
    ra, dec = sky(900)
    observe(array="vla.a", pointings=(float(RA), float(DEC)), sky=components(ra, dec, np.full(900, 20e-6)), frequency=FREQUENCY,
            integration=10.0, duration=10.0 * n_times, noise=10e-3, primary_beam="vla", seed=1, out=path, overwrite=True,
            elevation_limit=np.deg2rad(-5.0))  # The paper's 9.4 h at −30° reach below the horizon; all 3384 times count.


def write_positions(path: Path, n: int) -> None:
    """A list of n positions; the first 900 are those of the sources."""
    ra, dec = np.concatenate([sky(900), sky(max(n - 900, 0), seed=2)], axis=1)[:, :n]
    np.savetxt(path, np.rad2deg(np.stack([ra, dec], axis=1)), fmt="%.10f", delimiter=",",
               header="ra,dec", comments="")


def copy_columns(source: str, target: str, rows: int = 100_000) -> None:
    """Every column of a set to a new set of the same structure, with python-casacore."""
    from casacore.tables import table

    with table(source, ack=False) as read:
        read.copy(target, deep=True, valuecopy=True, copynorows=True).close()
        with table(target, readonly=False, ack=False) as write:
            write.addrows(read.nrows())
            for start in range(0, read.nrows(), rows):
                n = min(rows, read.nrows() - start)
                for name in read.colnames():
                    if name != "FLAG_CATEGORY":
                        write.putcol(name, read.getcol(name, start, n), start, n)


def child(task: str, ms: str, positions: str, out: str, repeats: int, beam: str) -> None:
    """Run in a process of its own: seconds of each repeat, peak memory, flux; printed as JSON."""
    seconds = []
    flux = error = None
    if task == "copy":
        for _ in range(repeats + 1):
            shutil.rmtree(out, ignore_errors=True)
            begin = time.perf_counter()
            copy_columns(ms, out)
            seconds.append(time.perf_counter() - begin)
    else:
        import uvstack

        for i in range(repeats + 1):
            # The first run, on a set of few times, loads what is compiled.
            begin = time.perf_counter()
            result = uvstack.stack(str(Path(ms).with_name("warm.ms")) if i == 0 else ms, positions,
                                   primary_beam=beam,
                                   weights="equal" if beam == "constant" else "primary-beam",
                                   out=out, overwrite=True)
            seconds.append(time.perf_counter() - begin)
        flux, error = result.flux, result.flux_error
    print(json.dumps({"seconds": seconds[1:],
                      "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
                      "flux": flux, "error": error}))


def measure(task: str, ms: Path, positions: Path, out: Path, repeats: int, beam: str) -> dict:
    """What `child` prints, from a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--child", task, str(ms), str(positions),
                           str(out), str(repeats), beam], check=True, capture_output=True,
                          text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    return json.loads(done.stdout.strip().splitlines()[-1])


def best_of(run: Callable[[], np.ndarray], repeats: int = 3) -> tuple[float, np.ndarray]:
    """Shortest time and the result, after one run that compiles."""
    value = run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        value = run()
        times.append(time.perf_counter() - begin)
    return min(times), value


def bench_factor(n_positions: int = 900) -> float:
    """Print phases a second and errors of the factor, one thread; return the rate of the plain loop."""
    from africanus.dft import im_to_vis

    from uvstack.uv.phase import phase_factor

    itrf, _ = vla_like()
    x = antenna_uvw(itrf, np.linspace(-1.2, 1.2, 40) + 0.0, 0.0, DEC)
    first, second = np.triu_indices(27, 1)
    uvw = (x[:, second] - x[:, first]).reshape(-1, 3)
    ant1, ant2, when = np.tile(first, 40), np.tile(second, 40), np.repeat(np.arange(40.0),
                                                                          first.size)
    rng = np.random.default_rng(3)
    l, m = rng.uniform(-HALF_FIELD, HALF_FIELD, (2, n_positions))
    lmn = np.stack([l, m, -(l * l + m * m) / (1 + np.sqrt(1 - l * l - m * m))])
    coefficient = rng.uniform(1, 10, (10, n_positions))
    few = slice(0, 351)
    wanted = np.empty((351, 10), complex)
    naive(uvw[few], lmn, FREQUENCY, coefficient, wanted)
    scale = np.sqrt(np.mean(np.abs(wanted) ** 2))

    def ours(method):
        return lambda: phase_factor(uvw, ant1, ant2, when, FREQUENCY, lmn, coefficient,
                                    method=method)[0]

    def plain():
        factor = np.empty((351, 10), complex)
        naive(uvw[few], lmn, FREQUENCY, coefficient, factor)
        return factor

    def africanus():
        return im_to_vis(coefficient.T[:, :, None].copy(), uvw[few], lmn[:2].T.copy(),
                         FREQUENCY)[:, :, 0]

    head(f"The factor alone, one thread, {n_positions} positions, 10 channels", "code",
         "million phases a second", "ratio to plain loop", "rms error of the factor")
    base = 0.0
    for name, run, rows in (("plain float64 numba loop", plain, 351),
                            ("codex-africanus im_to_vis", africanus, 351),
                            ("ours, direct form", ours("direct"), uvw.shape[0]),
                            ("ours, antenna form", ours("antenna"), uvw.shape[0])):
        seconds, value = best_of(run)
        rate = rows * 10 * n_positions / seconds / 1e6
        base = base or rate
        error = np.sqrt(np.mean(np.abs(value[few] - wanted) ** 2)) / scale
        row(name, f"{rate:.0f}", f"{rate / base:.1f}", f"{error:.1e}")
    return base * 1e6


def form_used(n: int, beam: str, n_times: int) -> str:
    """Name of the form that `phase_factor` takes for n positions in the chunks of this set."""
    from uvstack.io.primary_beams import read_primary_beam
    from uvstack.stacking.task import visibilities_per_chunk
    from uvstack.uv import phase

    n_chunk = min(n_times, max(visibilities_per_chunk(n, None) // (351 * 20), 1))
    itrf, _ = vla_like()
    x = antenna_uvw(itrf, np.linspace(-1.2, 1.2, n_times)[:n_chunk], 0.0, DEC)
    first, second = np.triu_indices(27, 1)
    uvw = (x[:, second] - x[:, first]).reshape(-1, 3)
    rng = np.random.default_rng(3)
    l, m = rng.uniform(-HALF_FIELD, HALF_FIELD, (2, n))
    lmn = np.stack([l, m, -(l * l + m * m) / (1 + np.sqrt(1 - l * l - m * m))])
    power = read_primary_beam(beam)(l, m, FREQUENCY)
    inside = power.min(axis=1) > 0.1
    work = phase._share(uvw, np.tile(first, n_chunk), np.tile(second, n_chunk),
                        np.repeat(np.arange(n_chunk), 351), FREQUENCY, lmn[:, inside],
                        (1 / power[inside]).T.astype(np.float32), np.array([0, inside.sum()]), None,
                        "auto")
    return "antenna" if work.gridded is None else f"grid, {work.gridded[1].shape[0]} term(s)"


def bench_stack(folder: Path, n_times: int, numbers: list[int], repeats: int, rate: float) -> None:
    """Print the table of whole stacks against the copy; rate is that of the plain loop, phases a second."""
    ms = folder / "bench.ms"
    begin = time.perf_counter()
    make_set(ms, n_times)
    make_set(folder / "warm.ms", 2)
    size = sum(f.stat().st_size for f in ms.rglob("*") if f.is_file()) / 1e6
    n_visibilities = n_times * 351 * 20
    print(f"\n### Set to set: {n_times} times, {n_visibilities / 1e6:.1f} million visibilities, {size:.0f} MB "
          f"(simulated in {time.perf_counter() - begin:.1f} s)\n", flush=True)
    copy = measure("copy", ms, ms, folder / "copy.ms", max(repeats, 3), "constant")
    copy_seconds = float(np.median(copy["seconds"]))
    print(f"plain copy of all columns: {copy_seconds:.2f} s (median of {len(copy['seconds'])}), "
          f"peak {copy['peak_gb']:.2f} GB\n")
    head("Stacks", "beam", "positions", "seconds", "ratio to copy", "peak GB", "form",
         "plain loop on all processors", "flux ± error, µJy")
    for beam in ("vla", "constant"):
        for n in numbers:
            positions = folder / f"positions{n}.csv"
            write_positions(positions, n)
            found = measure("stack", ms, positions, folder / "out.ms",
                            repeats if n <= 10_000 else 1, beam)
            seconds = float(np.median(found["seconds"]))
            plain = n_visibilities / 2 * n / rate / (os.cpu_count() or 1)
            row(beam, n, f"{seconds:.2f}", f"{seconds / copy_seconds:.2f}",
                f"{found['peak_gb']:.2f}", form_used(n, beam, n_times),
                f"{plain:.0f} s, {plain / seconds:.0f} ×",
                f"{found['flux'] * 1e6:.3f} ± {found['error'] * 1e6:.3f}")


def main() -> None:
    """Run what the options ask for."""
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        task, ms, positions, out, repeats, beam = sys.argv[2:]
        child(task, ms, positions, out, int(repeats), beam)
        return
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3384, help="integrations of the set")
    parser.add_argument("--positions", default="10,100,900,10000,100000",
                        help="numbers of positions")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path,
                        help="where the sets go; default a temporary folder, removed at the end")
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}"
                         for name in ("uvstack", "numpy", "numba", "python-casacore", "ducc0",
                                      "codex-africanus"))
    print(f"{packages}; {os.cpu_count()} processors")
    with threadpool_limits(limits=1):
        rate = bench_factor()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        bench_stack(folder, options.times, [int(n) for n in options.positions.split(",")],
                    options.repeats, rate)


if __name__ == "__main__":
    main()
