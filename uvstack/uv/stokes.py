"""Stokes parameters and correlations out of the hands that a measurement set holds.

With the feeds as CASA takes them (Hamaker & Bregman 1996 without their ½; the transposed of `uvstack.uv.predict.to_correlations`):

    linear     Q = (XX − YY)/2     U = (XY + YX)/2     V = (XY − YX)/2i
    circular   Q = (RL + LR)/2     U = (RL − LR)/2i    V = (RR − LL)/2

Data are taken as they stand: neither leakage nor the turn of linear feeds on the sky with parallactic angle is put right; that
is calibration's. These three need all their hands: one that is flagged makes the visibility unusable, and with weights w_i of
the hands, 1/σ_i², the weight of Σ c_i V_i is 1/Σ(|c_i|²/w_i). Stokes I is another thing: the mean of those parallel hands
that are there, by their weights (CASA's "pseudo-I"), the best estimate of a sky whose V (or Q, for linear feeds) is zero;
where one hand is flagged, or the weights of both differ, such a V is seen in I.

A cross hand is no image: its sky is complex (RL = Q + iU), and only half of the (u, v) plane is measured by it.
"""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import CORRELATIONS
from uvstack.errors import SelectionError
from uvstack.uv.dirty import combine_hands
from uvstack.uv.weights import parallel_hands

#: What can be imaged, by its number along the axis STOKES of FITS (Greisen & Calabretta 2002).
FITS_CODES = {"I": 1, "Q": 2, "U": 3, "V": 4, "RR": -1, "LL": -2, "XX": -5, "YY": -6}
#: Cross hands, and what they are made of.
_CROSS = {"RL": "Q + iU", "LR": "Q − iU", "XY": "U + iV", "YX": "U − iV"}
#: Each parameter from one hand of the same name, or from two.
_SUMS: dict[str, tuple[dict[str, complex], ...]] = {
    "Q": ({"Q": 1}, {"XX": 0.5, "YY": -0.5}, {"RL": 0.5, "LR": 0.5}),
    "U": ({"U": 1}, {"XY": 0.5, "YX": 0.5}, {"RL": -0.5j, "LR": 0.5j}),
    "V": ({"V": 1}, {"XY": -0.5j, "YX": 0.5j}, {"RR": 0.5, "LL": -0.5}),
}


class Hands(NamedTuple):
    """What the correlations of a data description are combined with: a mean of some, or a sum of all with a factor."""

    factor: NDArray[np.complex64]
    is_mean: bool

    def __call__(self, vis: NDArray, weight: NDArray) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
        """Visibilities and their weights, both (row, chan), from (row, chan, corr); weight 0 is unusable."""
        used = self.factor != 0
        if self.is_mean:
            return combine_hands(vis, weight, used)
        total = np.zeros(vis.shape[:2], np.complex64)
        variance = np.zeros(vis.shape[:2], np.float32)
        with np.errstate(divide="ignore"):
            for i in np.flatnonzero(used):
                total += self.factor[i] * vis[..., i]
                variance += np.float32(abs(self.factor[i]) ** 2) / weight[..., i]
            good = np.isfinite(variance)
            out = np.where(good, 1 / variance, 0).astype(np.float32)
        return np.where(good, total, 0), out


def parse_stokes(text: str) -> tuple[str, ...]:
    """Names of what to image, each once and in the order of FITS, from "I", "IQUV", "RR,LL" or "I V".

    Raises
    ------
    SelectionError
        One is unknown (the message has the nearest), or a cross hand; or they do not stand evenly along an axis of FITS.
    """
    names: list[str] = []
    for part in re.split(r"[,\s]+", str(text).strip().upper()):
        names += _names_of(part, text)
    found = tuple(name for name in FITS_CODES if name in names)
    steps = np.diff([FITS_CODES[name] for name in found])
    if (steps != steps[:1]).any():
        raise SelectionError(f"stokes={text!r}: {', '.join(found)} do not stand evenly along an axis of FITS; image them one by one, or as "
                             "IQUV")
    return found


def _names_of(part: str, whole: str) -> list[str]:
    if part in FITS_CODES:
        return [part]
    pairs = [part[i : i + 2] for i in range(0, len(part), 2)]
    cross = next((pair for pair in pairs if pair in _CROSS), None)
    if cross is not None:
        raise SelectionError(f"stokes={whole!r}: {cross} = {_CROSS[cross]} is no image of real numbers; image {_CROSS[cross][0]} and "
                             f"{_CROSS[cross][-1]} instead")
    for pieces in (list(part), pairs):
        if part and all(piece in FITS_CODES for piece in pieces) and len(set(pieces)) == len(pieces):
            return pieces
    near = difflib.get_close_matches(part, [*FITS_CODES, "IQUV", "IV"], n=1, cutoff=0.0)[0]
    raise SelectionError(f"stokes={whole!r}: {part!r} is not known; did you mean {near!r}? There are: {', '.join(FITS_CODES)}, and lists "
                         "such as IQUV or RR,LL")


def hands_of(name: str, correlations: tuple[int, ...]) -> Hands | None:
    """How `name` comes from these correlations (casacore's codes), None where it cannot."""
    there = [CORRELATIONS.get(code, "?") for code in correlations]
    if name == "I":
        used = parallel_hands(correlations)
        return Hands(used.astype(np.complex64), True) if used.any() else None
    for factors in _SUMS.get(name, ({name: 1},)):
        if all(hand in there for hand in factors):
            return Hands(np.array([factors.get(hand, 0) for hand in there], np.complex64), False)
    return None
