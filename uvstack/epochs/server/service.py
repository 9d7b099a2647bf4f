"""What the pages and the interface of a server share: its archive, its limits, and who may ask now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from uvstack.epochs.server import names
from uvstack.epochs.server.archive_files import Archive
from uvstack.epochs.server.cutout_files import Cutout, Region, cutouts
from uvstack.epochs.server.jobs import Jobs
from uvstack.epochs.server.limits import Limits
from uvstack.errors import LimitError

#: Regions that are cut at once: each may take 30 bytes a pixel.
_CUT_AT_ONCE = 2


class Service:
    """A server without its addresses.

    Attributes
    ----------
    archive : Archive
    limits : Limits
    resolve : callable
        Name of an object → RA, Dec in degrees.
    jobs : Jobs
    turn : semaphore
        Held by whoever has the pixels of a region in memory.
    """

    def __init__(self, archive: Archive, limits: Limits,
                 resolve: Callable[[str], tuple[float, float]] = names.resolve) -> None:
        from limits import RateLimitItemPerMinute
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self.archive, self.limits, self.resolve = archive, limits, resolve
        self.jobs = Jobs(limits)
        self._combining = threading.Lock()
        self.turn = threading.BoundedSemaphore(_CUT_AT_ONCE)
        self._rate = RateLimitItemPerMinute(limits.rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def __enter__(self) -> Service:
        self.jobs.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        self.jobs.__exit__()

    def count(self, address: str) -> None:
        """Count a request for work of an address.

        Raises
        ------
        LimitError
            They were too many in the last minute.
        """
        if not self._limiter.hit(self._rate, address):
            raise LimitError(f"more than {self.limits.rate} requests a minute came from your address; wait a "
                             "minute, or upload a list", 429)

    def cut(self, region: Region, product: str, epochs: Collection[str] | None = None) -> list[Cutout]:
        """Cutouts of a region, as many regions at once as memory allows; as `cutout_files.cutouts`."""
        with self.turn:
            return cutouts(self.archive, region, product, epochs=epochs, most_pixels=self.limits.pixels)

    def combine(self, paths: Sequence[str], rms_box: int, out: Path) -> Mapping[str, Path]:
        """Epochs combined, one set at a time: it takes all processors and most of the memory; names of maps and their files."""
        from uvstack.epochs.combination.task import combine

        with self._combining:
            return combine(paths, reference=0, rms_box=rms_box, out=out).paths
