"""Work on chunks through dask: the same function on local threads, on local processes or on a cluster.

A chunk function takes (job, chunk) and returns its result; a consumer receives the results in the
order of the chunks, one at a time, in the calling process. Because order is kept, sums are the same
to the last bit wherever and however often a chunk was computed: a worker that dies is retried by
dask and changes nothing. Only a few results wait at once: no chunk is begun that is far ahead of
the first one missing.

Workers open the sets themselves, by absolute paths (`uvstack.io.ms.read_structure`): they may run
in another folder, but must see the files under the same path.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from uvstack.checks import MOST_WORKERS, thread_count, whole_number
from uvstack.errors import MissingDependencyError, SchedulerError, UvstackError

logger = logging.getLogger(__name__)
#: Chunks that may be under way for each worker of a cluster, and by how many for each worker or
#: thread the last may be ahead of the first one missing.
_AHEAD, _FAR_AHEAD = 2, 4
#: Batches of small items for each worker or thread.
_BATCHES = 4
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
        If both are given, or the scheduler does not answer.
    SelectionError
        If workers is not 1 or more.
    """
    if workers is None and scheduler is None:
        yield None
        return
    if workers is not None and scheduler is not None:
        raise SchedulerError("workers and scheduler are both given; wanted one: a number of local "
                             "processes or an address")
    if workers is not None:
        workers = whole_number("workers", workers, 1, MOST_WORKERS)
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingDependencyError("dask.distributed is needed: pip install "
                                     "'uvstack[cluster]'") from error
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


def map_chunks(function: Callable, job: Any, chunks: Sequence[Any],
               consume: Callable[[int, Any], None], client: Any = None,
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

    Raises
    ------
    SelectionError
        If threads is not 1 or more.
    SchedulerError
        If workers keep dying on a chunk, or the scheduler is lost.
    """
    n_threads = thread_count(threads)
    if client is None:
        _map_threads(function, job, chunks, consume, n_threads)
    else:
        _map_cluster(function, job, chunks, consume, client)


def map_batches(function: Callable, job: Any, items: Sequence[Any],
                consume: Callable[[int, Any], None], client: Any = None,
                threads: int | None = None) -> None:
    """`map_chunks` of items that take little: a worker is sent many at once.

    To hand one over takes some milliseconds of the calling process. Parameters as of `map_chunks`.
    """
    n = thread_count(threads) if client is None else max(len(client.nthreads()), 1)
    size = max(1, len(items) // (_BATCHES * n))

    def each(number: int, results: list[Any]) -> None:
        for place, result in enumerate(results):
            consume(number * size + place, result)

    map_chunks(_batch, _OfEach(function, job), [items[i : i + size] for i in range(0, len(items), size)],
               each, client, threads)


@dataclass(frozen=True, eq=False)
class _OfEach:
    """What is to be done with each item; no tuple, which dask would take for a task."""

    function: Callable
    job: Any


def _batch(each, batch):
    return [each.function(each.job, item) for item in batch]


def _map_threads(function, job, chunks, consume, n_threads):
    """dask's threaded scheduler; whatever order it picks, a task takes the next chunk, so few results wait."""
    import dask.threaded

    in_order = _InOrder(consume, _FAR_AHEAD * n_threads)
    lock = threading.Lock()
    waiting = iter(enumerate(chunks))

    def work():
        with lock:
            index, chunk = next(waiting)
        in_order.wait(index)
        in_order.put(index, function(job, chunk))

    graph = {("chunk", i): (work,) for i in range(len(chunks))}
    try:
        with _pools(len(sys.modules)).limit(limits=1):
            dask.threaded.get(graph, list(graph), num_workers=n_threads)
    finally:
        # After an error or an interrupt dask leaves running threads to themselves: they must not
        # reach a closed output.
        in_order.close()


@functools.lru_cache(maxsize=1)
def _pools(n_modules):
    """Threads of the libraries that are loaded: to look for them takes 4 ms, and only new modules bring new ones."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _map_cluster(function, job, chunks, consume, client):
    from concurrent.futures import CancelledError

    from distributed import as_completed
    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker

    n_workers = max(len(client.nthreads()), 1)
    in_order = _InOrder(consume, _FAR_AHEAD * n_workers)
    # A task, not scattered data: dask makes it again where the worker that held it died.
    with warnings.catch_warnings():
        # The job of an image holds a model and a psf: as large as it has to be, and sent once.
        warnings.filterwarnings("ignore", message="Sending large graph")
        shared = client.submit(_same, job, pure=False)
    index_of: dict[Any, int] = {}
    begun = 0

    def submit():
        """Begin as many chunks as may be under way."""
        nonlocal begun
        while begun < len(chunks) and len(index_of) < _AHEAD * n_workers and in_order.is_near(begun):
            future = client.submit(_in_worker, function, shared, chunks[begun], retries=_RETRIES,
                                   pure=False)
            index_of[future] = begun
            begun += 1
            yield future

    pool = as_completed(submit())
    try:
        for future in pool:
            in_order.put(index_of.pop(future), future.result())
            pool.update(submit())
    except KilledWorker as error:
        raise SchedulerError("workers died again and again on the same chunk; it may "
                             f"not fit their memory: {error}") from error
    except (CancelledError, CommClosedError) as error:
        raise SchedulerError(f"the dask scheduler at {client.scheduler.address} was lost before "
                             "the work was done; start it and its "
                             "workers again, then the same command") from error
    finally:
        # After an error or an interrupt: what waits is not begun, and what fails not tried again.
        with contextlib.suppress(CommClosedError):
            client.cancel(list(index_of))


def _same(job):
    return job


def _in_worker(function, job, chunk):
    """function(job, chunk); an error says which worker it comes from."""
    from distributed import get_worker

    try:
        return function(job, chunk)
    except UvstackError as error:
        raise type(error)(f"worker {get_worker().address}: {error}") from error


class _InOrder:
    """Hands results on in the order of their numbers; `most` is how far a number may be ahead of the first one missing."""

    def __init__(self, consume, most):
        self._consume, self._most, self._next, self._held, self._closed = consume, most, 0, {}, False
        self._lock = threading.Condition()

    def close(self):
        """Wait for a result that is being handed on; those that come later are dropped."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def is_near(self, index):
        """Whether a chunk may be begun."""
        return index < self._next + self._most

    def wait(self, index):
        """Return once a chunk may be begun; without the lock, which is held while a result is used, wherever that is so already."""
        if not self.is_near(index):
            with self._lock:
                self._lock.wait_for(lambda: self._closed or self.is_near(index))

    def put(self, index, result):
        with self._lock:
            if self._closed:
                return
            self._held[index] = result
            while self._next in self._held:
                self._consume(self._next, self._held.pop(self._next))
                self._next += 1
            self._lock.notify_all()
