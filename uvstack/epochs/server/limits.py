"""What a server gives at most, and to one address in a minute."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from uvstack.checks import finite_number, whole_number


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes
    ----------
    upload : int
        Bytes of an upload.
    pixels : int
        Along a side of a cutout.
    rate : int
        Requests for work (cutouts, jobs, names) of one address a minute.
    jobs : int
        That run at once.
    waiting : int
        Jobs that wait for their turn.
    lines : int
        Of a list.
    keep : float
        Seconds that a job's files are kept after it ended.
    disk : int
        Bytes of the files of all jobs together.

    Raises
    ------
    SelectionError
        One is no number, or cannot be.
    """

    upload: int = 10_000_000
    pixels: int = 2048
    rate: int = 600
    jobs: int = 2
    waiting: int = 20
    lines: int = 10_000
    keep: float = 3600.0
    disk: int = 4_000_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "keep":
                finite_number("keep", value, 0.0, math.inf, above=True, unit="s")
            else:
                whole_number(field.name, value, 1, 64 if field.name == "jobs" else None)
