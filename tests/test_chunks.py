"""Threads, processes and a cluster give the same numbers to the last bit, also when a worker dies."""

import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

import uvstack
from factories import ARCMIN, at, make_ms, offset, read
from uvstack.chunks import cluster, map_batches, map_chunks
from uvstack.errors import MeasurementSetError, SchedulerError, SelectionError
from uvstack.sky.components import components

# dask.distributed leaves sockets to be collected when its processes end.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning",
                                        "ignore:.*port.*:UserWarning")


def total_plus(job, chunk):
    return job.sum() + chunk


def add_and_die_once(job, chunk):
    """job["add"] + chunk; the first process that gets chunk 3 is killed as the kernel would."""
    mark = Path(job["mark"])
    if chunk == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job["add"] + chunk


def always_fails(job, chunk):
    """An error of the function itself."""
    raise ValueError(f"chunk {chunk}")


def wait_at_first(folder, chunk):
    """The first chunk takes long, and says how many others were begun meanwhile."""
    (folder / str(chunk)).touch()
    if chunk:
        return chunk
    end = time.monotonic() + 60
    while len(list(folder.iterdir())) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    # Time for more to be begun than may be.
    time.sleep(0.3)
    return len(list(folder.iterdir()))


def test_results_arrive_in_order_on_threads():
    seen = []
    map_chunks(lambda job, chunk: chunk, None, list(range(50)), lambda i, r: seen.append((i, r)),
               threads=4)
    assert seen == [(i, i) for i in range(50)]


@pytest.mark.parametrize(("n", "workers"), [(0, None), (1, None), (7, None), (100, None), (23, 1)])
def test_batches_are_the_items_one_by_one(n, workers):
    got = []
    with cluster(workers) as client:
        map_batches(operator.mul, 3, range(n), lambda *one: got.append(one), client, threads=2)
    assert got == [(i, 3 * i) for i in range(n)]


def test_a_worker_that_dies_changes_nothing(tmp_path):
    for workers in (1, 2):
        mark, seen = tmp_path / f"died{workers}", []
        with cluster(workers=workers) as client:
            map_chunks(add_and_die_once, {"add": 10, "mark": str(mark)}, list(range(12)),
                       lambda i, r, seen=seen: seen.append((i, r)), client)
        assert mark.exists()
        assert seen == [(i, 10 + i) for i in range(12)]


def test_a_large_job_goes_to_the_workers_without_a_word():
    seen = []
    with cluster(workers=1) as client:
        map_chunks(total_plus, np.ones(11 * 2**17), [0, 1], lambda i, r: seen.append(r), client)  # dask warns from 10 MiB on
    assert seen == [11 * 2**17, 11 * 2**17 + 1]


def test_a_scheduler_that_is_lost_is_one_line(tmp_path):
    """Killed while a chunk is under way; nothing comes back then."""
    file = tmp_path / "scheduler.json"
    place = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    begun = [subprocess.Popen([sys.executable, "-m", "dask", *words, *place],
                              stderr=subprocess.DEVNULL, cwd=tmp_path)
             for words in (["scheduler", "--port", "0"],
                           ["worker", "--nthreads", "1", "--no-nanny"])]
    try:
        with Client(scheduler_file=str(file), timeout="30s") as client:
            address = client.scheduler.address
            with pytest.raises(SchedulerError,
                               match=f"the dask scheduler at {address} was lost") as caught:
                map_chunks(operator.add, 1, [1, 2, 3], lambda i,
                           r: begun[0].kill() if i == 0 else None, client)
        assert "\n" not in str(caught.value)
    finally:
        for process in begun:
            process.kill()
            process.wait()


def test_processes_and_a_scheduler_give_the_same_set(tmp_path):
    rng = np.random.default_rng(1)
    positions = at(*(offset(*rng.uniform(-5 * ARCMIN, 5 * ARCMIN, 2)) for _ in range(10)))
    ms = make_ms(tmp_path / "a.ms", sources=[(*offset(ARCMIN, 0), 1.0)], noise=1.0, n_ant=10,
                 n_times=10)
    options = {"bootstrap": 20, "seed": 2, "chunk_size": 700}
    threads = uvstack.stack(ms, positions, out=tmp_path / "t.ms", **options)
    processes = uvstack.stack(ms, positions, out=tmp_path / "p.ms", workers=2, **options)
    with cluster(workers=1) as client:
        address = client.scheduler.address
        connected = uvstack.stack(ms, positions, scheduler=address, **options)
    assert threads.flux == processes.flux == connected.flux
    assert threads.flux_error == processes.flux_error
    assert np.array_equal(threads.bootstrap, processes.bootstrap)
    for column in ("DATA", "WEIGHT", "UVW", "TIME", "ANTENNA1", "FLAG"):
        assert np.array_equal(read(tmp_path / "t.ms", column), read(tmp_path / "p.ms", column))


@pytest.mark.parametrize("workers", [None, 2])
def test_results_do_not_pile_up_behind_a_slow_chunk(tmp_path, workers):
    seen = []
    with cluster(workers=workers) as client:
        map_chunks(wait_at_first, tmp_path, list(range(100)), lambda i, r: seen.append(r), client,
                   threads=2)
    assert 4 <= seen[0] <= 8
    assert seen[1:] == list(range(1, 100))


def test_workers_in_another_folder(tmp_path, monkeypatch):
    ms = make_ms(tmp_path / "a.ms", sources=[(*offset(ARCMIN, 0), 1.0)], n_ant=10, n_times=10)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with cluster(workers=1) as client:
        client.run(os.chdir, str(tmp_path / "elsewhere"))
        there = uvstack.stack("a.ms", at(offset(ARCMIN, 0)), scheduler=client.scheduler.address,
                              chunk_size=700)
    assert there.flux == pytest.approx(1.0, abs=1e-5)
    assert there.provenance.inputs["ms"] == [str(ms)]


def test_a_worker_that_does_not_see_a_set_is_named(tmp_path):
    ms = make_ms(tmp_path / "a.ms", n_ant=10, n_times=40)

    def move(done, _):
        if done == 1:
            ms.rename(tmp_path / "moved.ms")

    with cluster(workers=1) as client:
        worker = next(iter(client.scheduler_info()["workers"]))
        with pytest.raises(MeasurementSetError,
                           match=rf"worker {worker}: {ms}: not there.*moved or removed"):
            uvstack.stack(ms, at(offset(ARCMIN, 0)), scheduler=client.scheduler.address,
                          chunk_size=700, progress=move)


def test_an_error_in_a_chunk_is_that_error(tmp_path):
    with pytest.raises(ValueError, match="chunk 0"):
        map_chunks(always_fails, None, [0], lambda i, r: None)
    with cluster(workers=1) as client, pytest.raises(ValueError, match="chunk 0"):
        map_chunks(always_fails, None, [0], lambda i, r: None, client)


@pytest.mark.parametrize(("options", "message"), [
    ({"workers": 0}, "wanted a whole number from 1"),
    ({"workers": 1, "scheduler": "tcp://127.0.0.1:1"}, "both given"),
    ({"scheduler": "tcp://127.0.0.1:1"}, "no dask scheduler answers"),
    ({"scheduler": "nonsense://x"}, "no dask scheduler answers")])
def test_bad_clusters(options, message):
    with pytest.raises((SchedulerError, SelectionError), match=message), cluster(**options):
        pass


@pytest.mark.parametrize("call",
                         [uvstack.stack, uvstack.montecarlo, uvstack.image, uvstack.fit,
                          uvstack.subtract], ids=lambda f: f.__name__)
def test_a_chunk_of_nothing_is_refused(tmp_path, call):
    ms = make_ms(tmp_path / "a.ms", n_ant=4, n_times=2)
    positional, options = {"stack": ([at(offset(ARCMIN, 0))], {}),
                           "image": ([], {"size": 16, "cell": 1e-5}), "fit": ([], {}),
                           "montecarlo": ([at(offset(ARCMIN, 0))],
                                          {"realisations": 2, "radius": ARCMIN}),
                           "subtract": ([components(0.0, 0.0, 1.0)], {})}[call.__name__]
    with pytest.raises(SelectionError, match="chunk_size is 0; wanted a whole number of 1 or more"):
        call(ms, *positional, chunk_size=0, **options)
