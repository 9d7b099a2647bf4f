"""Work on chunks through dask: the same function on local threads, on local processes or on a cluster.

A chunk function takes (job, chunk) and returns its result; a consumer receives the results in the order of the chunks,
one at a time, in the calling process. Because order is kept, sums are the same to the last bit wherever and however
often a chunk was computed: a worker that dies is retried by dask and changes nothing. Only a few results wait at once.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from uvstack.errors import MissingDependencyError, SchedulerError

logger = logging.getLogger(__name__)
#: Results that may be under way for each worker.
_AHEAD = 2
#: How often a chunk whose worker died is tried again.
_RETRIES = 3


@contextlib.contextmanager
def cluster(workers: int | None = None, scheduler: str | None = None) -> Iterator[Any]:
    """Client of dask.distributed, or None where local threads do.

    Parameters
    ----------
    workers : int, optional
        Start this many local processes.
    scheduler : str, optional
        Connect to a scheduler that runs at this address.

    Raises
    ------
    SchedulerError
        If both are given, workers is not positive or the scheduler does not answer.
    """
    if workers is None and scheduler is None:
        yield None
        return
    if workers is not None and scheduler is not None:
        raise SchedulerError("workers and scheduler are both given; wanted one: a number of local processes or an address")
    if workers is not None and workers < 1:
        raise SchedulerError(f"workers is {workers}; wanted 1 or more")
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingDependencyError("dask.distributed is needed: pip install 'uvstack[cluster]'") from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, TimeoutError, ValueError) as error:
            raise SchedulerError(f"no dask scheduler answers at {scheduler}: {error}") from error
        with client:
            yield client
        return
    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR) as local, \
            Client(local) as client:
        yield client


def map_chunks(function: Callable, job: Any, chunks: Sequence[Any], consume: Callable[[int, Any], None], client: Any = None,
               threads: int | None = None) -> None:
    """Call function(job, chunk) for every chunk and consume(index, result) in the order of the chunks.

    Parameters
    ----------
    function : callable
        At module level, so that it can be sent to other processes.
    job : object
        What all chunks share; sent to the workers once, not with every chunk.
    chunks : sequence
    consume : callable
        Runs in this process, never twice at once.
    client : distributed.Client, optional
        As from `cluster`; default local threads.
    threads : int, optional
        Local threads; default one for each processor.
    """
    if client is None:
        _map_threads(function, job, chunks, consume, threads)
    else:
        _map_cluster(function, job, chunks, consume, client)


def _map_threads(function, job, chunks, consume, threads):
    """dask's threaded scheduler; whatever order it picks, a task takes the next chunk, so few results wait."""
    import dask.threaded
    from dask.system import CPU_COUNT
    from threadpoolctl import threadpool_limits

    in_order = _InOrder(consume)
    lock = threading.Lock()
    waiting = iter(enumerate(chunks))

    def work():
        with lock:
            index, chunk = next(waiting)
        in_order.put(index, function(job, chunk))

    graph = {("chunk", i): (work,) for i in range(len(chunks))}
    try:
        with threadpool_limits(limits=1):
            dask.threaded.get(graph, list(graph), num_workers=threads or CPU_COUNT)
    finally:
        # After an error or an interrupt dask leaves running threads to themselves: they must not reach a closed output.
        in_order.close()


def _map_cluster(function, job, chunks, consume, client):
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    in_order = _InOrder(consume)
    # A task, not scattered data: dask makes it again where the worker that held it died.
    shared = client.submit(_same, job, pure=False)
    waiting = iter(enumerate(chunks))
    ahead = max(len(client.nthreads()), 1) * _AHEAD
    index_of: dict[Any, int] = {}

    def submit():
        for index, chunk in waiting:
            future = client.submit(function, shared, chunk, retries=_RETRIES, pure=False)
            index_of[future] = index
            return future
        return None

    pool = as_completed([future for _ in range(ahead) if (future := submit()) is not None])
    try:
        for future in pool:
            in_order.put(index_of.pop(future), future.result())
            following = submit()
            if following is not None:
                pool.add(following)
    except KilledWorker as error:
        raise SchedulerError(f"workers died {_RETRIES} times on the same chunk; it may not fit their memory: {error}") from error


def _same(job):
    return job


class _InOrder:
    """Hands results on in the order of their numbers."""

    def __init__(self, consume):
        self._consume, self._next, self._held, self._lock, self._closed = consume, 0, {}, threading.Lock(), False

    def close(self):
        """Wait for a result that is being handed on; those that come later are dropped."""
        with self._lock:
            self._closed = True

    def put(self, index, result):
        with self._lock:
            if self._closed:
                return
            self._held[index] = result
            while self._next in self._held:
                self._consume(self._next, self._held.pop(self._next))
                self._next += 1
