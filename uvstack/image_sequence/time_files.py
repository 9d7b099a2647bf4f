"""Times of images, where their headers say none or wrong ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.time import Time

from uvstack.errors import SelectionError


def read_times(times: str | Path | Iterable[Any], n: int) -> list[float]:
    """MJD in UTC of n images.

    Parameters
    ----------
    times : path, Time, or sequence of text, number, datetime or Time
        As texts like 2011-05-28T03:00:00, or as MJD; in a file one a line, empty lines and those
        that begin with # left out.
    n : int

    Raises
    ------
    SelectionError
        The file cannot be read, a time is none, or there are not n.
    """
    where = "times"
    if isinstance(times, str | Path):
        where = str(times)
        try:
            lines = [line.strip() for line in Path(times).read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise SelectionError(f"{times}: cannot be read: {error}; wanted is a text of one time "
                                 "a line, such as 2011-05-28T03:00:00") from error
        times = [line for line in lines if line and not line.startswith("#")]
    if not isinstance(times, Iterable):
        times = [times]
    found = [_mjd(one, where) for one in times]
    if len(found) != n:
        raise SelectionError(f"{where}: {len(found)} times for {n} images; wanted is one for each, "
                             "in the order of the images")
    return found


def _mjd(value: Any, where: str) -> float:
    """MJD of a time, or of what is one."""
    try:
        mjd = float(value)
    except (TypeError, ValueError):
        try:
            mjd = float(Time(value, scale=None if isinstance(value, Time) else "utc").utc.mjd)
        except (TypeError, ValueError) as error:
            raise SelectionError(f"{where}: {value!r} is no time; wanted is one such as "
                                 "2011-05-28T03:00:00, or an MJD") from error
    if not np.isfinite(mjd) or not 0 < mjd < 1e6:
        raise SelectionError(f"{where}: {value!r} is no MJD; wanted are days such as 55709.125")
    return mjd
