"""Which positions each pointing contributes to, and with what weight W_k.

W_k belongs to a position in one pointing and spectral window, at its central frequency: equal; from the list; the square
of the primary beam (the recipe for ALMA in Lindroos et al. 2015, section 3.2, σ_k = 1/A); the local noise 1/σ_k²
(equation 4); or a product of these. A noise taken from an image that is corrected for the primary beam already holds
1/A: then A enters the weight no second time, and several pointings share 1/σ_k² in proportion to A². From an image of
flat noise, W_k = A_k²/σ_k².
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass, field

import numpy as np

from uvstack.errors import SelectionError
from uvstack.records import Field, Selection, SpectralWindow, Structure, UVRange
from uvstack.sky.coordinates import direction_cosines, rotation_between, to_frame
from uvstack.sky.positions import Positions
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.stack.uv_stack import PointingPlan, make_plan

WEIGHTS = ("equal", "list", "primary-beam", "local-noise")
#: A position is dropped from a pointing where the beam at any channel falls below this: 1/A would only add noise.
_SMALLEST_BEAM = 1e-3


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


@dataclass(frozen=True, eq=False)
class StackJob:
    """All that chunks share: the same on every thread, process or worker.

    Attributes
    ----------
    structures, selections, columns
        Of each measurement set.
    positions : Positions
    primary_beam : PrimaryBeam
    pb_cutoff : float
    weights : PositionWeights
    subset : ndarray (pos,) int
        Group or facet of each position.
    facets : tuple or None
        Centres of the facets, SkyCoord (subset,), where (u, v, w) are reprojected.
    products : list of list of int
        Subsets that make each stack; the first is the total.
    uv_range : UVRange
    bootstrap : bool
        Whether sums for each position are wanted.
    rows : bool
        Whether stacked rows are wanted (an output set or a stamp).
    stamp : tuple or None
        Size in pixels and cell in rad of the stamp made on the way, where no set is written.
    """

    structures: tuple[Structure, ...]
    selections: tuple[Selection, ...]
    columns: tuple[tuple[str, str | None], ...]
    positions: Positions
    primary_beam: PrimaryBeam
    pb_cutoff: float
    weights: PositionWeights
    subset: np.ndarray
    products: list[list[int]]
    uv_range: UVRange
    facets: object = None
    bootstrap: bool = False
    rows: bool = False
    stamp: tuple[int, float] | None = None
    weight_spectrum: bool = False
    beam_squares: dict[float, np.ndarray] = field(default_factory=dict)

    @property
    def n_subsets(self) -> int:
        """Number of groups or facets."""
        return len(self.products[0])


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
            raise SelectionError(f"weights={text!r}: {term!r} is unknown; wanted {', '.join(WEIGHTS)} or a product with *"
                                 + (f"; did you mean {close[0]}?" if close else ""))
    return terms


def position_weight(weights: PositionWeights, listed: np.ndarray | None, beam: np.ndarray, beam_squares: np.ndarray) -> np.ndarray:
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
    weight = np.ones(beam.size)
    for term in weights.terms:
        if term == "list":
            weight = weight * np.asarray(listed)
        elif term == "primary-beam":
            weight = weight * beam**2
        elif term == "local-noise":
            share = beam**2 / beam_squares if weights.noise_beam_corrected else beam**2
            weight = weight * share / np.asarray(weights.noise) ** 2
    return weight


def look_at(job_positions: Positions, beam: PrimaryBeam, pb_cutoff: float, pointing: Field,
            spw: SpectralWindow) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions inside the beam of a pointing: their numbers, l, m, n − 1 (3, pos) and A at the central frequency (pos,)."""
    ra, dec = to_frame(job_positions.coord, pointing.frame)
    lmn = np.stack(direction_cosines(ra, dec, pointing.ra, pointing.dec))
    edges = np.array([spw.frequency.min(), spw.central_frequency, spw.frequency.max()])
    ahead = np.flatnonzero(lmn[2] > -1.0)
    power = beam(lmn[0, ahead], lmn[1, ahead], edges)
    inside = (power[:, 1] >= pb_cutoff) & (power > max(_SMALLEST_BEAM, 0.1 * pb_cutoff)).all(axis=1)
    chosen = ahead[inside]
    return chosen, lmn[:, chosen], power[inside, 1]


@functools.lru_cache(maxsize=64)
def pointing_plan(job: StackJob, set_index: int, field_id: int, description_id: int) -> PointingPlan:
    """Plan of one pointing and data description, made where and when a chunk needs it."""
    structure = job.structures[set_index]
    pointing, spw = structure.fields[field_id], structure.data_descriptions[description_id].spw
    chosen, lmn, central = look_at(job.positions, job.primary_beam, job.pb_cutoff, pointing, spw)
    listed = None if job.positions.weight is None else job.positions.weight[chosen]
    weights = job.weights
    if weights.noise is not None:
        weights = PositionWeights(weights.terms, weights.noise[chosen], weights.noise_beam_corrected)
    squares = job.beam_squares.get(spw.central_frequency, np.ones(len(job.positions)))[chosen]
    weight = position_weight(weights, listed, central, squares)
    power = job.primary_beam(lmn[0], lmn[1], spw.frequency)
    used = weight > 0
    rotation = None
    if job.facets is not None:
        ra, dec = to_frame(job.facets, pointing.frame)
        rotation = np.stack([rotation_between(pointing.ra, pointing.dec, a, d) for a, d in zip(ra, dec, strict=True)])
    return make_plan(chosen[used], lmn[:, used], weight[used], power[used], job.subset[chosen[used]], job.n_subsets, rotation)
