"""Frequencies as users give them, and those of several images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u

from uvstack.errors import SelectionError, UvstackWarning

#: Below this a number is no frequency of an interferometer in Hz, but one in MHz or GHz.
LOWEST = 1e5
#: Frequencies of images that differ by more than this part are told.
_SAME = 0.02


def parse_frequency(value: Any, name: str, lowest: float = LOWEST) -> float:
    """Frequency in Hz of a number in Hz, a text such as "1.4GHz", or a `Quantity`.

    Parameters
    ----------
    value : float, str or Quantity
    name : str
        What the frequency is called in messages.
    lowest : float
        Hz, below which the unit was forgotten; 0 where the caller knows better.

    Raises
    ------
    SelectionError
        It cannot be read, is not positive and finite, or so low that its unit was forgotten.
    """
    try:
        try:
            found = float(value)  # of a Quantity this asks for none of a unit
        except (TypeError, ValueError):
            found = float(u.Quantity(value).to_value(u.Hz))
    except (TypeError, ValueError):  # astropy's errors of units are ValueErrors or TypeErrors
        raise SelectionError(f"{name}={str(value)!r} is no frequency; wanted e.g. "
                             "1.4GHz, or a number in Hz") from None
    if not (np.isfinite(found) and found > 0):
        raise SelectionError(f"{name} is {value}; wanted a positive frequency, e.g. 1.4GHz, or a "
                             "number in Hz")
    if found < lowest:
        raise SelectionError(f"{name} is {found:g} Hz, which no interferometer observes; numbers "
                             "are in Hz: write the unit, e.g. 1.4GHz")
    return found


def warn_of_different(frequencies: Sequence[float | None]) -> None:
    """UvstackWarning where images that are to be compared have different frequencies, Hz.

    None is unknown.
    """
    known = [one for one in frequencies if one is not None]
    if known and max(known) > min(known) * (1.0 + _SAME):
        warnings.warn(UvstackWarning(f"the images lie between {min(known) / 1e9:.6g} and "
                                     f"{max(known) / 1e9:.6g} GHz: what varies may "
                                     "be a spectrum that is not flat"), stacklevel=6)
