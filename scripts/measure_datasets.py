"""Time and memory of stacking a measurement set and its copy in Zarr, read as datasets of dask-ms.

Each runs in a process of its own: processor time of its user and system parts, and peak resident
memory. The flux must be the same. The set is noise on 351 baselines, 64 channels and 2
correlations.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from markdown import head, row

from simulate.arrays import vla_like
from simulate.tracks import antenna_uvw
from uvstack.io.new_ms import Observation, create_measurement_set
from uvstack.records import DataDescription, Field, SpectralWindow

CENTRE = (3.1, 0.55)
#: Stacks what a line of Python opens, and prints seconds of processor, MB at the peak, and Jy.
MEASURE = """
import resource, sys, uvstack
from astropy.coordinates import SkyCoord
from daskms import xds_from_ms
from daskms.experimental.zarr import xds_from_zarr
if __name__ == "__main__":
    given = eval(sys.argv[1])
    where = SkyCoord([3.1001], [0.5501], unit="rad", frame="fk5")
    uvstack.stack(given, where, timerange="<2020/01/01/12:01:00")
    before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    flux = uvstack.stack(given, where).flux
    used = resource.getrusage(resource.RUSAGE_SELF)
    # ru_maxrss would be that of the process which started this one.
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(used.ru_utime + used.ru_stime - before, float(peak.split()[1]) / 1024, repr(flux))
"""


def make(path: Path, n_times: int) -> None:
    """A set of noise, written time by time."""
    itrf = vla_like(1.0)[0]
    first, second = np.triu_indices(len(itrf), 1)
    window = SpectralWindow(0, "w", 1.4e9 + 1e6 * np.arange(64), np.full(64, 1e6))
    field, begin = Field(0, "f", "J2000", *CENTRE), 58849.5 * 86400.0
    names = tuple(f"A{i:02d}" for i in range(len(itrf)))
    made = Observation("VLA", names, itrf, np.full(len(itrf), 25.0), (field,),
                       (DataDescription(0, window, (5, 8)),), (begin, begin + 10.0 * n_times))
    n, rng = first.size, np.random.default_rng(1)
    with create_measurement_set(path, made, n * n_times) as table:
        for t in range(n_times):
            uvw = antenna_uvw(itrf, np.array([1.0 + 7.3e-4 * t]), *CENTRE)[0]
            vis = rng.standard_normal((n, 64, 2)) + 1j * rng.standard_normal((n, 64, 2))
            values = {"DATA": vis.astype(np.complex64), "FLAG": np.zeros(vis.shape, bool),
                      "WEIGHT": np.ones((n, 2), np.float32), "SIGMA": np.ones((n, 2), np.float32),
                      "UVW": uvw[second] - uvw[first], "TIME": np.full(n, begin + 10.0 * t),
                      "ANTENNA1": first.astype(np.int32), "ANTENNA2": second.astype(np.int32)}
            for name, column in values.items():
                table.write(name, column, t * n)
            for name in ("FIELD_ID", "DATA_DESC_ID", "OBSERVATION_ID"):
                table.write(name, np.zeros(n, np.int32), t * n)
            table.write("FLAG_ROW", np.zeros(n, bool), t * n)


def to_zarr(ms: Path, out: Path, rows: int) -> None:
    """Copy a set by dask-ms."""
    import dask
    from daskms import xds_from_ms, xds_from_table
    from daskms.experimental.zarr import xds_to_zarr

    dask.compute(xds_to_zarr(xds_from_ms(str(ms), chunks={"row": rows}), str(out)))
    for name in ("ANTENNA", "DATA_DESCRIPTION", "FIELD", "OBSERVATION", "POLARIZATION",
                 "SPECTRAL_WINDOW"):
        dask.compute(xds_to_zarr(xds_from_table(f"{ms}::{name}"), f"{out}::{name}"))


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, nargs="+", default=[300, 1200])
    given = parser.parse_args()
    head("Datasets", "read from", "rows", "processor (s)", "peak memory (MB)", "flux (Jy)")
    with tempfile.TemporaryDirectory() as scratch:
        for n_times in given.times:
            ms = Path(scratch) / f"{n_times}.ms"
            make(ms, n_times)
            sources = {"the set": f"{str(ms)!r}",
                       "datasets of the set": f"xds_from_ms({str(ms)!r}, chunks={{'row': 10_000}})"}
            for rows in (10_000, 100_000):
                out = Path(scratch) / f"{n_times}-{rows}.zarr"
                to_zarr(ms, out, rows)
                sources[f"Zarr, chunks of {rows} rows"] = f"xds_from_zarr({str(out)!r})"
            for name, source in sources.items():
                done = subprocess.run([sys.executable, "-c", MEASURE, source], capture_output=True,
                                      text=True, check=True)
                seconds, memory, flux = done.stdout.split()[-3:]
                row(name, 351 * n_times, f"{float(seconds):.1f}", f"{float(memory):.0f}", flux)


if __name__ == "__main__":
    main()
