"""Which positions each pointing contributes to, and with what weight W_k.

W_k belongs to a position in one pointing and spectral window, at its central frequency: equal; from
the list; the square of the primary beam (the recipe for ALMA in Lindroos et al. 2015, section 3.2,
σ_k = 1/A); the local noise 1/σ_k² (equation 4); or a product of these. A noise taken from an image
that is corrected for the primary beam already holds 1/A: then A enters the weight no second time,
and several pointings share 1/σ_k² in proportion to A². From an image of flat noise, W_k =
A_k²/σ_k².
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.coordinates import SkyCoord

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import DistantPositionsWarning, DroppedPositionsWarning, PositionsError
from uvstack.records import Field, Selection, SpectralWindow, Structure, UVRange
from uvstack.sky.coordinates import direction_cosines, rotation_between, to_frame
from uvstack.sky.position_weights import PositionWeights, position_weight
from uvstack.sky.positions import Positions
from uvstack.sky.primary_beam import Constant, PrimaryBeam
from uvstack.stacking.uv_stack import PointingPlan, make_plan

#: A position is dropped from a pointing where the beam at any channel falls below this: 1/A would
#: only add noise.
_SMALLEST_BEAM = 1e-3
#: Farther than as many λ/D from a pointing no dish sees anything; a list that is there is one of
#: another frame or unit.
_BLIND = 10.0
#: Where the dishes are not known, rad.
_FARTHEST = np.deg2rad(10.0)


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
    by_position : bool
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
    by_position: bool = False
    rows: bool = False
    stamp: tuple[int, float] | None = None
    weight_spectrum: bool = False
    beam_squares: dict[float, np.ndarray] = field(default_factory=dict)

    def views(self) -> list[tuple[int, Field, SpectralWindow]]:
        """Set, field and spectral window of all rows that are selected, each once."""
        return [(i, structure.fields[f], spw)
                for i, (structure, selection) in enumerate(zip(self.structures, self.selections,
                                                               strict=True))
                for (f, _), spw in {(f,
                                     structure.data_descriptions[d].spw.id): structure.data_descriptions[d].spw
                                    for f, d in selection.visits}.items()]

    @property
    def n_subsets(self) -> int:
        """Number of groups or facets."""
        return len(self.products[0])


def _weight_in_beam(job: StackJob, chosen: np.ndarray, beam: np.ndarray,
                    beam_squares: np.ndarray) -> np.ndarray:
    """W_k of the chosen positions, whose A is given; beam_squares is Σ A_k² of all positions."""
    weights = job.weights
    if weights.noise is not None:
        weights = replace(weights, noise=weights.noise[chosen])
    listed = None if job.positions.weight is None else job.positions.weight[chosen]
    return position_weight(weights, listed, beam, beam_squares[chosen])


@dataclass(frozen=True, eq=False)
class View:
    """Positions inside the beam of a field: their numbers (pos,), and of each what is seen there.

    Attributes
    ----------
    chosen : ndarray (pos,) int
    lmn : ndarray (3, pos)
        l, m and n − 1 from the phase centre.
    from_beam : ndarray (2, pos)
        l and m from the centre of the primary beam.
    power : ndarray (pos,)
        A at the central frequency.
    """

    chosen: np.ndarray
    lmn: np.ndarray
    from_beam: np.ndarray
    power: np.ndarray


def seen_from(coord: SkyCoord, field: Field) -> tuple[np.ndarray, np.ndarray]:
    """l, m, n − 1 (3, pos) from a field's phase centre, and l, m (2, pos) from its pointing, 2 where that is 90° away or more."""
    ra, dec = to_frame(coord, field.frame)
    lmn = np.stack(direction_cosines(ra, dec, field.ra, field.dec))
    beam = lmn if field.pointing is None else np.stack(direction_cosines(ra, dec, *field.pointing))
    return lmn, np.where(beam[2] > -1.0, beam[:2], 2.0)


def look_at(positions: Positions, beam: PrimaryBeam, pb_cutoff: float, pointing: Field,
            spw: SpectralWindow) -> View:
    """Positions inside the beam of a field."""
    lmn, from_beam = seen_from(positions.coord, pointing)
    edges = np.array([spw.frequency.min(), spw.central_frequency, spw.frequency.max()])
    ahead = np.flatnonzero(lmn[2] > -1.0)
    power = beam(from_beam[0, ahead], from_beam[1, ahead], edges)
    inside = (power[:, 1] >= pb_cutoff) & (power > max(_SMALLEST_BEAM, 0.1 * pb_cutoff)).all(axis=1)
    chosen = ahead[inside]
    return View(chosen, lmn[:, chosen], from_beam[:, chosen], power[inside, 1])


@functools.lru_cache(maxsize=64)
def pointing_plan(job: StackJob, set_index: int, field_id: int,
                  description_id: int) -> PointingPlan:
    """Plan of one pointing and data description, made where and when a chunk needs it."""
    structure = job.structures[set_index]
    pointing, spw = structure.fields[field_id], structure.data_descriptions[description_id].spw
    view = look_at(job.positions, job.primary_beam, job.pb_cutoff, pointing, spw)
    chosen, lmn = view.chosen, view.lmn
    squares = job.beam_squares.get(spw.central_frequency, np.ones(len(job.positions)))
    weight = _weight_in_beam(job, chosen, view.power, squares)
    power = job.primary_beam(view.from_beam[0], view.from_beam[1], spw.frequency)
    used = weight > 0
    rotation = None
    if job.facets is not None:
        ra, dec = to_frame(job.facets, pointing.frame)
        rotation = np.stack([rotation_between(pointing.ra, pointing.dec, a, d)
                             for a, d in zip(ra, dec, strict=True)])
    return make_plan(chosen[used], lmn[:, used], weight[used], power[used],
                     job.subset[chosen[used]], job.n_subsets, rotation)


def subsets_of(sources: Positions, group_by: str | None,
               facet_size: float | None) -> tuple[np.ndarray, list[str], SkyCoord | None]:
    """Subset of each position, names of the groups, centres of the facets."""
    if group_by is not None:
        labels, index = sources.group_labels(group_by)
        return index, [str(label) for label in labels], None
    if facet_size is None:
        return np.zeros(len(sources), np.int64), [], None
    centre = SkyCoord(sources.coord.cartesian.mean(),
                      frame=sources.coord.frame.replicate_without_data())
    east, north = centre.spherical_offsets_to(sources.coord)
    cells = np.stack([np.round(east.rad / facet_size),
                      np.round(north.rad / facet_size)]).astype(np.int64)
    _, subset = np.unique(cells, axis=1, return_inverse=True)
    subset = np.asarray(subset).reshape(-1)
    means = [sources.coord[subset == i].cartesian.mean() for i in range(subset.max() + 1)]
    unit = [SkyCoord(m / m.norm(), frame=sources.coord.frame.replicate_without_data()).icrs
            for m in means]
    return subset, [], SkyCoord([c.ra.rad for c in unit], [c.dec.rad for c in unit], unit="rad")


def find_pointings(job: StackJob) -> tuple[StackJob, np.ndarray, dict]:
    """The job with only the pointings that see positions, which positions are seen, and what is known of the pointings."""
    check_distances(job.positions, job.primary_beam, _pointings(job),
                    farthest_view(job.structures, job.selections))
    n = len(job.positions)
    seen = np.zeros(n, np.bool_)
    fields: dict[tuple[int, int], tuple[str, str, int]] = {}
    squares: dict[float, np.ndarray] = {}
    views = []
    for i, pointing, spw in job.views():
        view = look_at(job.positions, job.primary_beam, job.pb_cutoff, pointing, spw)
        squares.setdefault(spw.central_frequency, np.zeros(n))[view.chosen] += view.power**2
        views.append((i, pointing, spw, view))
    for i, pointing, spw, view in views:
        used = view.chosen[_weight_in_beam(job, view.chosen, view.power,
                                           squares[spw.central_frequency]) > 0]
        if used.size:
            seen[used] = True
            before = fields.get((i, pointing.id), ("", "", 0))[2]
            fields[i, pointing.id] = (job.structures[i].path, pointing.name, max(before, used.size))
    if not fields:
        if any(view.chosen.size for *_, view in views):
            raise PositionsError(f"{job.positions.source}: no position inside a primary beam has a "
                                 "weight: those of the list are 0 "
                                 "there, or the noise image does not reach")
        raise PositionsError(_nothing_inside(job))
    if not seen.all():
        warnings.warn(DroppedPositionsWarning(f"{int((~seen).sum())} of {n} positions have no "
                                              "weight in any pointing (primary beam below "
                                              f"{job.pb_cutoff:g}, "
                                              "or no noise or weight known) and were left out"),
                      stacklevel=3)
    selections = tuple(replace(selection, field_ids=frozenset(f for s, f in fields if s == i))
                       for i, selection in enumerate(job.selections))
    return replace(job, selections=selections, beam_squares=squares), seen, fields


def _nothing_inside(job: StackJob) -> str:
    pointings = _pointings(job)
    distance, name = _distances(job.positions.coord, pointings)
    nearest = int(np.argmin(distance))
    hours = _if_hours(job.positions, pointings, farthest_view(job.structures, job.selections))
    return (f"{job.positions.source}: none of its {len(job.positions)} positions lies inside a "
            "primary beam "
            f"({job.primary_beam.describe()}, cut-off {job.pb_cutoff:g}); the nearest is "
            f"{np.rad2deg(distance[nearest]):.3g}° from field "
            f"{name[nearest]}: are frame and unit of the list right?{hours}")


def _pointings(job: StackJob) -> list[Field]:
    return list({(i, pointing.id): pointing for i, pointing, _ in job.views()}.values())


def _distances(coord: SkyCoord, pointings: Sequence[Field]) -> tuple[np.ndarray, np.ndarray]:
    """Distance (rad) of each position to the nearest pointing, and the name of that, (pos,)."""
    distance, name = np.full(len(coord), np.inf), np.full(len(coord), "", object)
    for pointing in pointings:
        l, m, n_minus_1 = direction_cosines(*to_frame(coord, pointing.frame), *pointing.beam_centre)
        this = np.arctan2(np.hypot(l, m), 1.0 + n_minus_1)
        name[this < distance] = pointing.name
        distance = np.minimum(this, distance)
    return distance, name


def farthest_view(structures: Sequence[Structure], selections: Sequence[Selection]) -> float:
    """Distance from a pointing beyond which no antenna of these sees, rad.

    10 λ/D of the smallest at the lowest frequency.

    10° where their size is not known; never more than the horizon.
    """
    diameters = np.concatenate([s.dish_diameters for s in structures])
    known = diameters[diameters > 0]
    if not known.size:
        return _FARTHEST
    lowest = min(float(d.spw.frequency.min())
                 for s, chosen in zip(structures, selections, strict=True) for d in s.used(chosen))
    return min(_BLIND * SPEED_OF_LIGHT / lowest / float(known.min()), np.pi / 2)


def check_distances(positions: Positions, beam: PrimaryBeam, pointings: Sequence[Field],
                    farthest: float) -> None:
    """Warn of positions where no antenna looks, and refuse those beyond the horizon.

    a primary beam leaves both out by itself.

    Parameters
    ----------
    positions : Positions
    beam : PrimaryBeam
        Nothing is done where it attenuates.
    pointings : sequence of Field
    farthest : float
        Of `farthest_view`, rad.

    Raises
    ------
    PositionsError
        Without a primary beam, positions lie 90° or more from every pointing.

    Warns
    -----
    DistantPositionsWarning
        Without a primary beam, positions lie farther from every pointing than `farthest`.
    """
    if not isinstance(beam, Constant) or not pointings:
        return
    distance, name = _distances(positions.coord, pointings)
    far = distance > farthest
    if not far.any():
        return
    worst = int(np.argmax(distance))
    said = (f"{positions.source}: {int(far.sum())} of {far.size} positions lie more than "
            f"{np.rad2deg(farthest):.3g}° from every field, "
            f"where no antenna looks, up to {np.rad2deg(distance[worst]):.3g}° from field "
            f"{name[worst]}: are frame and unit of the list "
            f"right?{_if_hours(positions, pointings, farthest)}")
    if distance[worst] >= np.pi / 2:
        raise PositionsError(f"{said} Beyond 90° nothing can be stacked; a primary beam "
                             "(--primary-beam) leaves out what it does not see")
    warnings.warn(DistantPositionsWarning(f"{said} A primary beam (--primary-beam) leaves them "
                                          "out"), stacklevel=4)


def _if_hours(positions: Positions, pointings: Sequence[Field], farthest: float) -> str:
    """A hint where most right ascensions that were read as degrees fit the fields as hours."""
    ra, dec = to_frame(positions.coord, "J2000")
    inside = _distances(SkyCoord(15 * ra, dec, unit="rad", frame="fk5"), pointings)[0] < farthest
    fits = inside.mean() > 0.5 and not (ra > 2 * np.pi / 15).any()
    return " As hours its right ascensions would lie in the fields: name the column ra_hours." if fits else ""


