"""Run commands on a plain dask cluster of this machine and weigh what travels: python scripts/measure_cluster.py.

Scheduler and workers are started as `docs/cluster.md` tells, on the loopback interface. Each
command runs on local threads, on the cluster, and there again while a worker process is killed.
Sizes are those of what is pickled: the job, which goes to each worker once, one chunk, and the
result of one chunk.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
from markdown import head, row

import uvstack
from simulate import observe
from uvstack.io.casa import open_table
from uvstack.sky.components import components

N_WORKERS = 2
ARCSEC = np.pi / 180 / 3600


@contextlib.contextmanager
def plain_cluster(folder: Path) -> Iterator[str]:
    """Address of a scheduler with workers, started by the commands of the documentation."""
    file = folder / "scheduler.json"
    place = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    begun = [subprocess.Popen([sys.executable, "-m", "dask", "scheduler", "--port", "0", *place],
                              stderr=subprocess.DEVNULL)]
    try:
        begun.append(subprocess.Popen([sys.executable, "-m", "dask", "worker", "--nworkers",
                                       str(N_WORKERS), "--nthreads", "1", "--memory-limit", "2GiB",
                                       "--local-directory", str(folder / "local"), *place],
                                      stderr=subprocess.DEVNULL))
        while not file.exists() or not file.stat().st_size:
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(N_WORKERS, timeout=60)
            yield client.scheduler.address
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait()


@contextlib.contextmanager
def weighed() -> Iterator[dict[str, list[int]]]:
    """Bytes of what goes out and comes back while this lasts."""
    sizes: dict[str, list[int]] = {"job": [], "chunk": [], "result": []}
    submit, result = distributed.Client.submit, distributed.Future.result

    def submitted(self: Any, function: Any, *arguments: Any, **options: Any) -> Any:
        sent = [a for a in arguments if not callable(a) and not isinstance(a, distributed.Future)]
        sizes["job" if len(arguments) == 1 else "chunk"].append(len(pickle.dumps(sent)))
        return submit(self, function, *arguments, **options)

    def fetched(self: Any, *arguments: Any, **options: Any) -> Any:
        value = result(self, *arguments, **options)
        sizes["result"].append(len(pickle.dumps(value)))
        return value

    distributed.Client.submit, distributed.Future.result = submitted, fetched
    try:
        yield sizes
    finally:
        distributed.Client.submit, distributed.Future.result = submit, result


def killer(address: str) -> Callable[[int, int], None]:
    """A function for `progress` that kills one worker process at its first call."""
    killed: list[int] = []

    def kill(_done: int, _n: int) -> None:
        if not killed:
            with distributed.Client(address, set_as_default=False) as client:
                killed.append(min(client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    return kill


def column(ms: Path, name: str) -> np.ndarray:
    """A column of a set."""
    with open_table(ms) as table:
        return table.read(name)


def commands(folder: Path) -> dict[str, Callable[..., np.ndarray]]:
    """Each command as a function of scheduler and progress, returning the numbers that are compared."""
    rng = np.random.default_rng(1)
    ra, dec = np.deg2rad(150) + rng.uniform(-1, 1, 50) * 600 * ARCSEC, np.deg2rad(2.2) + rng.uniform(-1, 1, 50) * 600 * ARCSEC
    made = observe(array="vla.a", pointings=(np.deg2rad(150), np.deg2rad(2.2)), primary_beam="vla",
                   noise=10e-3, out=folder / "field.ms",
                   sky=components(ra, dec, np.full(50, 1e-3), target=True),
                   frequency=1.4e9 + 4e6 * np.arange(64.0), integration=10.0, duration=2400.0)

    def stack(**how: Any) -> np.ndarray:
        return np.array([uvstack.stack(made.ms, made.targets, primary_beam="vla", **how).flux])

    def stack_to_set(**how: Any) -> np.ndarray:
        out = folder / "stacked.ms"
        uvstack.stack(made.ms, made.targets, primary_beam="vla", out=out, overwrite=True, **how)
        return column(out, "DATA")

    def image(**how: Any) -> np.ndarray:
        return uvstack.image(made.ms, size=1024, cell=0.4 * ARCSEC, iterations=0, **how).dirty

    def fit(**how: Any) -> np.ndarray:
        return uvstack.fit(made.ms, model="delta", **how).parameters

    def subtract(**how: Any) -> np.ndarray:
        copy = folder / "copy.ms"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(made.ms, copy)
        uvstack.subtract(copy, made.truth, primary_beam="vla", **how)
        return column(copy, "RESIDUAL_DATA")

    return {"stack, numbers alone": stack, "stack": stack_to_set, "image": image, "fit": fit,
            "subtract": subtract}


def mebibytes(sizes: list[int]) -> str:
    """The largest."""
    largest = max(sizes, default=0)
    return f"{largest / 2**20:.3g} MiB" if largest > 2**16 else f"{largest / 2**10:.2g} KiB"


def difference(one: np.ndarray, other: np.ndarray) -> str:
    """The largest, relative to the rms of the first."""
    return "nothing" if np.array_equal(one, other) else f"{np.abs(one - other).max() / np.sqrt(np.mean(np.abs(one) ** 2)):.1g} of the rms"


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = commands(folder)
        head(f"On a plain dask cluster, {N_WORKERS} workers of one thread", "command", "chunks",
             "job", "a chunk", "a result", "differs from local threads by",
             "with a worker killed: differs from without by")
        with plain_cluster(folder) as address:
            for title, command in made.items():
                alone = command()
                with weighed() as sizes:
                    spread = command(scheduler=address)
                after = command(scheduler=address, progress=killer(address))
                row(title, len(sizes["chunk"]),
                    *(mebibytes(sizes[what]) for what in ("job", "chunk", "result")),
                    difference(alone, spread), difference(spread, after))


if __name__ == "__main__":
    main()
