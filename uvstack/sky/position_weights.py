"""The weight W_k of a position.

Equal, of the list, of the primary beam, of the noise about it, or a product of these.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from uvstack.errors import PositionsError, SelectionError
from uvstack.sky.positions import Positions

WEIGHTS = ("equal", "list", "primary-beam", "local-noise")


@dataclass(frozen=True)
class PositionWeights:
    """How W_k is made.

    Attributes
    ----------
    terms : tuple of str
        Of `WEIGHTS`; their product is taken.
    noise : ndarray (pos,) or None
        σ_k, any unit, for "local-noise"; not finite where the image does not reach.
    noise_beam_corrected : bool
        Whether σ_k comes from an image corrected for the primary beam.
    """

    terms: tuple[str, ...]
    noise: np.ndarray | None = None
    noise_beam_corrected: bool = True


def parse_weights(text: str) -> tuple[str, ...]:
    """Terms of "equal", "list", "primary-beam", "local-noise", or a product such as "list*primary-beam".

    Raises
    ------
    SelectionError
        Naming the nearest word.
    """
    terms = tuple(term.strip().replace("_", "-") for term in text.split("*"))
    for term in terms:
        if term not in WEIGHTS:
            close = difflib.get_close_matches(term, WEIGHTS, n=1, cutoff=0.4)
            raise SelectionError(f"weights={text!r}: {term!r} is unknown; wanted "
                                 f"{', '.join(WEIGHTS)} or a product with *"
                                 + (f"; did you mean {close[0]}?" if close else ""))
    return terms


def position_weight(weights: PositionWeights, listed: np.ndarray | None, beam: np.ndarray,
                    beam_squares: np.ndarray) -> np.ndarray:
    """W_k of every position in one pointing and spectral window, (pos,).

    Parameters
    ----------
    weights : PositionWeights
    listed : ndarray (pos,) or None
        Weights of the list.
    beam : ndarray (pos,)
        A_k at the central frequency.
    beam_squares : ndarray (pos,)
        Σ A_k² over the pointings that see the position.
    """
    def local_noise() -> np.ndarray:
        return (beam**2 / beam_squares if weights.noise_beam_corrected
                else beam**2) / np.asarray(weights.noise) ** 2

    return product_of(weights.terms, beam.size,
                      {"list": lambda: np.asarray(listed), "primary-beam": lambda: beam**2,
                       "local-noise": local_noise})


def product_of(terms: Sequence[str], n: int,
               factors: Mapping[str, Callable[[], np.ndarray]]) -> np.ndarray:
    """Product of what each term stands for, (n,); "equal" is 1.

    Factors are computed where they are asked for.
    """
    weight = np.ones(n)
    for term in terms:
        if term != "equal":
            weight = weight * factors[term]()
    return weight


def check_weights(terms: tuple[str, ...], has_beam: bool) -> None:
    """Raise SelectionError where weights want a primary beam and none is given.

    A would be 1 everywhere.
    """
    if "primary-beam" in terms and not has_beam:
        raise SelectionError("weights with primary-beam want a primary beam; give one "
                             "(--primary-beam vla, primary_beam=\"vla\"), or other weights")


def check_listed(terms: tuple[str, ...], positions: Positions) -> None:
    """Raise PositionsError where weights want those of the list and it has none."""
    if "list" in terms and positions.weight is None:
        raise PositionsError(f"{positions.source}: weights={'*'.join(terms)!r} wants a column of "
                             "weights, and the list has none")
