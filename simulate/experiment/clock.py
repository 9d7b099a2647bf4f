"""Time and memory of the steps of a realisation."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds of each step, by the wall and of all processors; a name that comes again adds up."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done in the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            before = self.steps.get(name, {"wall": 0.0, "cpu": 0.0})
            self.steps[name] = {"wall": round(before["wall"] + time.perf_counter() - wall, 3),
                                "cpu": round(before["cpu"] + time.process_time() - cpu, 3)}


def peak_memory() -> int:
    """Most memory that this process has held so far, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
