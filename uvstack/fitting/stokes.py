"""Stokes parameters and single correlations of visibilities, with the weights that belong to them.

A Stokes parameter is a combination Σ a_i V_i of correlations (Hamaker & Bregman 1996, without their ½, as CASA has it: the
inverse of `uvstack.uv.predict.to_correlations`). Its variance is Σ |a_i|²/w_i, so its weight is the inverse of that, and it
is 0 where any of the correlations is flagged. "PI" is Stokes I of a source that is taken to be unpolarised: the mean of the
parallel hands, weighted by their inverse variances, or the one hand that is there; with equal weights it is I where both
hands are good.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from uvstack.constants import CORRELATIONS, PARALLEL_HANDS
from uvstack.errors import SelectionError

#: Each Stokes parameter as a combination of correlations, in the order in which one looks for them.
_COMBINATIONS: dict[str, tuple[dict[str, complex], ...]] = {
    "I": ({"I": 1}, {"RR": 0.5, "LL": 0.5}, {"XX": 0.5, "YY": 0.5}),
    "Q": ({"Q": 1}, {"XX": 0.5, "YY": -0.5}, {"RL": 0.5, "LR": 0.5}),
    "U": ({"U": 1}, {"XY": 0.5, "YX": 0.5}, {"RL": -0.5j, "LR": 0.5j}),
    "V": ({"V": 1}, {"RR": 0.5, "LL": -0.5}, {"XY": -0.5j, "YX": 0.5j}),
}
_SINGLE = ("RR", "RL", "LR", "LL", "XX", "XY", "YX", "YY")
#: All that can be asked for.
STOKES = (*_COMBINATIONS, "PI", *_SINGLE)


@dataclass(frozen=True)
class Estimator:
    """How a Stokes parameter follows from the correlations of a data description.

    Attributes
    ----------
    stokes : str
    index : tuple of int
        Correlations that are used.
    factor : tuple of complex
        Theirs in the sum; empty for "PI", a weighted mean.
    """

    stokes: str
    index: tuple[int, ...]
    factor: tuple[complex, ...] = ()

    def __call__(self, vis: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Visibilities (row, chan) complex64 and their weights float32 from those (row, chan, corr) of the correlations."""
        if not self.factor:
            return _weighted_mean(vis, weight, self.index)
        total = np.zeros(vis.shape[:2], np.complex64)
        variance = np.zeros(vis.shape[:2], np.float32)
        with np.errstate(divide="ignore", over="ignore"):
            for i, a in zip(self.index, self.factor, strict=True):
                total += np.complex64(a) * vis[:, :, i]
                variance += np.float32(abs(a) ** 2) / weight[:, :, i]
            return total, np.float32(1) / variance


def _weighted_mean(vis: np.ndarray, weight: np.ndarray, index: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    total = np.zeros(vis.shape[:2], np.complex64)
    sum_of_weights = np.zeros(vis.shape[:2], np.float32)
    for i in index:
        total += weight[:, :, i] * vis[:, :, i]
        sum_of_weights += weight[:, :, i]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sum_of_weights > 0, total / sum_of_weights, np.complex64(0)), sum_of_weights


def parse_stokes(text: str) -> str:
    """Name of a Stokes parameter or correlation as this module knows it, from either case.

    Raises
    ------
    SelectionError
        Naming the nearest.
    """
    name = str(text).strip().upper()
    if name not in STOKES:
        close = difflib.get_close_matches(name, STOKES, n=1, cutoff=0.3)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SelectionError(f"stokes={text!r} is unknown; wanted one of {', '.join(STOKES)}{hint}")
    return name


def estimator(stokes: str, correlations: tuple[int, ...]) -> Estimator | None:
    """How to get a Stokes parameter from these correlations (codes of casacore), or None where they do not suffice."""
    names = [CORRELATIONS.get(code, "") for code in correlations]
    if stokes == "PI":
        index = tuple(i for i, code in enumerate(correlations) if code in PARALLEL_HANDS)
        return Estimator(stokes, index) if index else None
    for combination in _COMBINATIONS.get(stokes, ({stokes: 1},)):
        if all(name in names for name in combination):
            return Estimator(stokes, tuple(names.index(name) for name in combination), tuple(combination.values()))
    return None


def wanted_correlations(stokes: str) -> str:
    """In words, which correlations a Stokes parameter is made from."""
    if stokes == "PI":
        return "any parallel hand"
    return " or ".join(" and ".join(combination) for combination in _COMBINATIONS.get(stokes, ({stokes: 1},)))


def correlations_of(stokes: str, model: np.ndarray, correlations: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What a model of one Stokes parameter puts into the correlations, (row, chan, corr) complex64, and into which, (corr,) bool.

    Parameters
    ----------
    stokes : str
        I and PI enter the parallel hands, Q, U and V as in `uvstack.uv.predict.to_correlations`, a correlation itself alone.
    model : ndarray (row, chan) complex
        Jy.
    correlations : tuple of int
    """
    from uvstack.uv.predict import to_correlations

    if stokes in _SINGLE:
        touched = np.array([CORRELATIONS.get(code) == stokes for code in correlations])
        return np.where(touched, model[..., None], 0).astype(np.complex64), touched
    planes = np.zeros((4, 1, 1), np.complex64)
    planes["IQUV".index(stokes[-1])] = 1
    factor = to_correlations(planes, correlations)[0, 0]
    return (model[..., None] * factor).astype(np.complex64), factor != 0
