"""Stokes parameters and correlations out of the hands of a measurement set, with their weights.

With the feeds as CASA takes them (Hamaker & Bregman 1996 without their ½; the inverse of
`uvstack.uv.predict.to_correlations`):

    linear     I = (XX + YY)/2   Q = (XX − YY)/2   U = (XY + YX)/2     V = (XY − YX)/2i
    circular   I = (RR + LL)/2   Q = (RL + LR)/2   U = (RL − LR)/2i    V = (RR − LL)/2

Data are taken as they stand: neither leakage nor the turn of linear feeds on the sky with
parallactic angle is put right; that is calibration's. These need all their hands: one that is
flagged makes the visibility unusable, and with weights w_i of the hands, 1/σ_i², the weight of
Σ a_i V_i is 1/Σ(|a_i|²/w_i). "PI" is another thing: the mean of those parallel hands that are
there, by their weights (CASA's "pseudo-I"), the best estimate of Stokes I of a sky whose V (or Q,
for linear feeds) is zero; where one hand is flagged, or the weights of both differ, such a V is
seen in it. With equal weights it is I where both hands are good.

A fit is of one of these; its I is the sum of both hands, PI has to be asked for. An image is of
several; its I is PI, and a cross hand is no image: its sky is complex (RL = Q + iU), and only half
of the (u, v) plane is measured by it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import CORRELATIONS, PARALLEL_HANDS
from uvstack.errors import SelectionError
from uvstack.uv.predict import to_correlations

#: Each parameter as a sum of hands, in the order in which one looks for them.
_SUMS: dict[str, tuple[dict[str, complex], ...]] = {
    "I": ({"I": 1}, {"RR": 0.5, "LL": 0.5}, {"XX": 0.5, "YY": 0.5}),
    "Q": ({"Q": 1}, {"XX": 0.5, "YY": -0.5}, {"RL": 0.5, "LR": 0.5}),
    "U": ({"U": 1}, {"XY": 0.5, "YX": 0.5}, {"RL": -0.5j, "LR": 0.5j}),
    "V": ({"V": 1}, {"RR": 0.5, "LL": -0.5}, {"XY": -0.5j, "YX": 0.5j}),
}
#: Cross hands, and what they are made of.
_CROSS = {"RL": "Q + iU", "LR": "Q − iU", "XY": "U + iV", "YX": "U − iV"}
#: What can be imaged, by its number along the axis STOKES of FITS (Greisen & Calabretta 2002).
FITS_CODES = {"I": 1, "Q": 2, "U": 3, "V": 4, "RR": -1, "LL": -2, "XX": -5, "YY": -6}
#: All that can be asked for.
STOKES = (*FITS_CODES, *_CROSS, "PI")
#: Visibilities and their weights, both (row, chan).
Combined = tuple[NDArray[np.complex64], NDArray[np.float32]]


@dataclass(frozen=True)
class Combination:
    """What the correlations of a data description are combined with.

    Attributes
    ----------
    index : tuple of int
        Correlations that are used.
    factor : tuple of complex
        Theirs in the sum; empty for their mean by weight.
    """

    index: tuple[int, ...]
    factor: tuple[complex, ...] = ()

    def __call__(self, vis: NDArray, weight: NDArray) -> Combined:
        """Visibilities and weights (row, chan) of (row, chan, corr); both are 0 where unusable."""
        if not self.factor:
            return mean_of_hands(vis, weight, self.index)
        total = np.zeros(vis.shape[:2], np.complex64)
        variance = np.zeros(vis.shape[:2], np.float32)
        with np.errstate(divide="ignore", over="ignore"):
            for i, a in zip(self.index, self.factor, strict=True):
                total += np.complex64(a) * vis[..., i]
                variance += np.float32(abs(a) ** 2) / weight[..., i]
            good = np.isfinite(variance)
            out = np.where(good, np.float32(1) / variance, np.float32(0))
        return np.where(good, total, np.complex64(0)), out


def mean_of_hands(vis: NDArray, weight: NDArray, hands: Iterable[int]) -> Combined:
    """Mean of some of the correlations, by weight, and its weight, as `Combination` gives them."""
    total = np.zeros(vis.shape[:2], np.complex64)
    sum_of_weights = np.zeros(vis.shape[:2], np.float32)
    for i in hands:
        total += weight[..., i] * vis[..., i]
        sum_of_weights += weight[..., i]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(sum_of_weights > 0, total / sum_of_weights, np.complex64(0))
    return mean, sum_of_weights


def parallel_hands(correlations: Sequence[int]) -> NDArray[np.bool_]:
    """Which correlations (codes of casacore) are parallel hands (or Stokes I), (corr,) bool."""
    return np.array([code in PARALLEL_HANDS for code in correlations], np.bool_)


def combination_of(stokes: str, correlations: Sequence[int]) -> Combination | None:
    """How one of `STOKES` comes from correlations (codes of casacore), None where it cannot."""
    if stokes == "PI":
        hands = np.flatnonzero(parallel_hands(correlations))
        return Combination(tuple(hands.tolist())) if hands.size else None
    there = [CORRELATIONS.get(code, "?") for code in correlations]
    for wanted in _sums_of(stokes):
        if all(hand in there for hand in wanted):
            return Combination(tuple(there.index(hand) for hand in wanted), tuple(wanted.values()))
    return None


def wanted_correlations(stokes: str) -> str:
    """In words, which correlations one of `STOKES` is made from."""
    if stokes == "PI":
        return "any parallel hand"
    return " or ".join(" and ".join(hands) for hands in _sums_of(stokes))


def _sums_of(stokes: str) -> tuple[dict[str, complex], ...]:
    return _SUMS.get(stokes, ({stokes: 1},))


def correlations_of(stokes: str, model: NDArray,
                    correlations: Sequence[int]) -> NDArray[np.complex64]:
    """What a model of one of `STOKES` puts into the correlations, (row, chan, corr).

    Parameters
    ----------
    stokes : str
        I and PI enter the parallel hands, Q, U and V as in `uvstack.uv.predict.to_correlations`, a
        correlation itself alone.
    model : ndarray (row, chan) complex
        Jy.
    correlations : sequence of int
    """
    if len(stokes) == 2 and stokes != "PI":
        touched = np.array([CORRELATIONS.get(code) == stokes for code in correlations])
        return np.where(touched, model[..., None], 0).astype(np.complex64)
    planes = np.zeros((4, 1, 1), np.complex64)
    planes["IQUV".index(stokes[-1])] = 1
    return (model[..., None] * to_correlations(planes, correlations)[0, 0]).astype(np.complex64)


def parse_stokes(text: str, lists: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of `STOKES` that a text names, each once and in their order: "I", "IQUV", "rr,ll".

    Parameters
    ----------
    text : str
    lists : sequence of str
        Names of several that a message may suggest.

    Raises
    ------
    SelectionError
        One is unknown; the message has the nearest.
    """
    names: list[str] = []
    for part in re.split(r"[,\s]+", str(text).strip().upper()):
        pairs = [part[i : i + 2] for i in range(0, len(part), 2)]
        for pieces in ([part], list(part), pairs):
            known = bool(pieces) and all(piece in STOKES for piece in pieces)
            if known and len(set(pieces)) == len(pieces):
                names += pieces
                break
        else:
            near = difflib.get_close_matches(part, [*STOKES, *lists], n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SelectionError(f"stokes={text!r}: {part!r} is unknown; wanted one of "
                                 f"{', '.join([*STOKES, *lists])}{hint}")
    return tuple(name for name in STOKES if name in names)


def parse_fit_stokes(text: str) -> str:
    """The one of `STOKES` that is fitted.

    Raises
    ------
    SelectionError
        It is unknown, or more than one.
    """
    names = parse_stokes(text)
    if len(names) > 1:
        raise SelectionError(f"stokes={text!r} are {len(names)}, {', '.join(names)}; a fit is of "
                             "one: fit them one by one")
    return names[0]


def parse_image_stokes(text: str) -> tuple[str, ...]:
    """What is imaged, of `FITS_CODES` and in their order.

    Raises
    ------
    SelectionError
        One is unknown or has no image of real numbers, or they do not stand evenly along an axis
        of FITS.
    """
    names = parse_stokes(text, ("IQUV", "IV", "RR,LL", "XX,YY"))
    for name in names:
        if name in _CROSS:
            raise SelectionError(f"stokes={text!r}: {name} = {_CROSS[name]} is no image of real "
                                 f"numbers; image {_CROSS[name][0]} and {_CROSS[name][-1]} instead")
        if name not in FITS_CODES:
            raise SelectionError(f"stokes={text!r}: {name} of a fit is the mean of the parallel "
                                 "hands that are there, as I of an image is; image I")
    steps = np.diff([FITS_CODES[name] for name in names])
    if (steps != steps[:1]).any():
        raise SelectionError(f"stokes={text!r}: {', '.join(names)} do not stand evenly along an "
                             "axis of FITS; image them one by one, or as IQUV")
    return names
