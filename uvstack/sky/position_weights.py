"""The weight W_k of a position: equal, of the list, of the primary beam, of the noise about it, or a product of these."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from typing_extensions import TypedDict

from uvstack.errors import SelectionError
from uvstack.sky.primary_beam import PrimaryBeam

#: What an image is from which noise is taken.
NoiseKind = Literal["corrected", "flat", "rms-corrected", "rms-flat"]
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


class WeightOptions(TypedDict, total=False):
    """Through which beam positions are seen, and what they weigh.

    primary_beam : str or PrimaryBeam
        Preset ("vla", "alma", "meerkat" …), text ("gaussian:30arcmin@1.4GHz"), file or object.
        Power, unit peak.
    weights : str
        "equal", "list", "primary-beam", "local-noise", or a product such as "list*primary-beam".
    pb_cutoff : float
        Power below which a position is left out of a pointing, 0 … 1.
    noise_image : path, optional
        FITS image for weights "local-noise".
    noise_kind : {"corrected", "flat", "rms-corrected", "rms-flat"}
        Whether that image is corrected for the primary beam, and whether it is a sky from which
        the noise is measured or already a map of the noise (rms-).
    """

    primary_beam: Annotated[str | PrimaryBeam, "constant"]
    weights: Annotated[str, "equal"]
    pb_cutoff: Annotated[float, 0.1]
    noise_image: Annotated[str | Path | None, None]
    noise_kind: Annotated[NoiseKind, "corrected"]


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
    """Product of what each term stands for, (n,); "equal" is 1. Factors are computed where they are asked for."""
    weight = np.ones(n)
    for term in terms:
        if term != "equal":
            weight = weight * factors[term]()
    return weight


def check_weights(terms: tuple[str, ...], has_beam: bool) -> None:
    """Raise SelectionError where weights want a primary beam and none is given: A would be 1 everywhere."""
    if "primary-beam" in terms and not has_beam:
        raise SelectionError("weights with primary-beam want a primary beam; give one "
                             "(--primary-beam vla, primary_beam=\"vla\"), or other weights")
