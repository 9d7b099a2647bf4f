"""Checks of numbers that a caller gives, with one message for all that are not what is wanted."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Sequence
from typing import Any

from uvstack.errors import SelectionError

#: More threads or workers than any one machine has: a slip of the fingers, that would bring the
#: machine down.
MOST_WORKERS = 1024
#: Resamplings beyond which only memory is used up: 1e6 give an error of the error of 0.07 %.
MOST_RESAMPLINGS = 1_000_000
#: Pixels across a stamp: beyond it is an image.
MOST_STAMP_PIXELS = 4096
#: Pixels across an image: 70 GB in float32.
MOST_IMAGE_PIXELS = 131_072
#: The upper limit of numbers that are below 1.
BELOW_ONE = 1.0 - 1e-12
#: Bins of uv distance: there are fewer fine bins to take them from.
MOST_BINS = 1000


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number within limits, both allowed.

    Raises
    ------
    SelectionError
        If it is none, or outside.
    """
    try:
        number = int(value)
        good = number == value and number >= least and (most is None or number <= most)
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        limits = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise SelectionError(f"{name} is {value!r}; wanted a whole number {limits}")
    return number


def finite_number(name: str, value: Any, least: float = -math.inf, most: float = math.inf, *,
                  above: bool = False, unit: str = "") -> float:
    """A finite number within limits, both allowed, or above the lower one.

    Raises
    ------
    SelectionError
        If it is none (NaN, infinity, a text), or outside.
    """
    try:
        number = float(value)
        good = math.isfinite(number) and least <= number <= most and not (above and number == least)
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        if most < math.inf:
            limits = f" above {least:g} and up to {most:g}" if above else f" from {least:g} to {most:g}"
        else:
            limits = f" above {least:g}" if above else f" of {least:g} or more" if least > -math.inf else ""
        raise SelectionError(f"{name} is {value!r}; wanted a finite "
                             f"number{limits}{unit and f' {unit}'}")
    return number


def one_of(name: str, value: Any, wanted: Sequence[Any]) -> Any:
    """A word, or a number, that is one of those wanted.

    Raises
    ------
    SelectionError
        If it is none of them; with the nearest.
    """
    if value not in wanted:
        words = [str(one) for one in wanted]
        close = difflib.get_close_matches(str(value), words, n=1, cutoff=0.3)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SelectionError(f"{name} is {value!r}; wanted one of {', '.join(words)}{hint}")
    return value


def stamp_size(size: Any) -> int:
    """Pixels across a stamp: an even number, so that its middle is a pixel.

    Raises
    ------
    SelectionError
        If it is odd, none, or too small or large.
    """
    number = whole_number("the stamp's size", size, 8, MOST_STAMP_PIXELS)
    if number % 2:
        raise SelectionError(f"the stamp's size is {size}; wanted an even number of at least 8 pixels")
    return number


def thread_count(threads: int | None) -> int:
    """Local threads: those asked for, or one for each processor.

    Raises
    ------
    SelectionError
        If they are not 1 or more, or more than `MOST_WORKERS`.
    """
    return (os.cpu_count() or 1) if threads is None else whole_number("threads", threads, 1,
                                                                      MOST_WORKERS)


def chunk_size_or(chunk_size: int | None, default: int) -> int:
    """Visibilities (row × chan × corr) of a chunk: those asked for, or as many as the caller takes.

    Raises
    ------
    SelectionError
        If they are not 1 or more.
    """
    return default if chunk_size is None else whole_number("chunk_size", chunk_size, 1)


def check_seed(seed: int | None) -> None:
    """Raise SelectionError where a seed is no whole number of 0 or more; None is one of the system's."""
    if seed is not None:
        whole_number("seed", seed, 0)


def check_resamplings(name: str, n: int) -> int:
    """How often a list is resampled: not at all, or at least twice.

    Raises
    ------
    SelectionError
    """
    if n == 1:
        raise SelectionError(f"{name} is 1; wanted 0 or at least 2, which have a scatter")
    return whole_number(name, n, 0, MOST_RESAMPLINGS)
