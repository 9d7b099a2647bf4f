"""What one part of the data adds to the stacks of all lists: gathered from chunks, then summed through images or directly.

A *view* is one pointing in one spectral window of one measurement set: its rows share positions and
weights. From each chunk a view's combined visibilities are kept (8 bytes a visibility), and gridded
once enough are together, so that the transforms are paid as rarely as memory allows. The *exact*
way stacks each list by itself (`uvstack.uv.phase.phase_factor`), chunk by chunk; the fast one
equals it to 3e-5 of the noise.

Fake sources need no data: they are added in the uv-plane by linearity. The response of a stack to
them is either exact,

    Σ_vis w Re(V_fake Σ_k c_k exp(−iφ_k)) / Σ_vis w Σ_k W_k,

two factors a list, or each source's own part of it, Σ W_k S_k E / Σ W_k with E the mean of its
envelope over the weights, and the mean of the rest over a few lists that are done exactly. The rest
are the sidelobes of all other sources of the list. Their mean is no small matter, N S times the
mean of the psf over the field: 1.4 % of the flux for 900 sources in 30′ (type 6 of the paper,
natural weights). Their scatter about it is, √2 S times the rms of the psf, a thousandth of the flux
there: see `uvstack.monte_carlo.cross_talk`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.monte_carlo import images as monte_carlo
from uvstack.monte_carlo.images import list_sums
from uvstack.records import Partition, UVRange
from uvstack.sky.beam import TRANSFORM_SCALE
from uvstack.sky.components import Components
from uvstack.sky.coordinates import to_frame
from uvstack.stacking.plan import StackJob, pointing_plan, seen_from
from uvstack.stacking.uv_stack import PointingPlan
from uvstack.uv import kernels
from uvstack.uv.phase import phase_factor
from uvstack.uv.predict import predict
from uvstack.uv.profile import fine_bin_edges, fine_bin_of
from uvstack.uv.stokes import parallel_hands
from uvstack.uv.weights import apply_flags, inside_uv_range

#: Lists whose factors are held at once.
_LISTS_AT_ONCE = 8
#: What a uv bin may be wrong by, in parts of the noise of that bin.
_BIN_TOLERANCE = 2e-2


@dataclass(frozen=True, eq=False)
class Fakes:
    """Fake sources at the drawn positions: flux (pos,) in Jy, 0 for the real list, and FWHM (pos,) in rad, 0 for points."""

    flux: np.ndarray
    fwhm: np.ndarray

    @property
    def extended(self) -> bool:
        """Whether any is no point."""
        return bool((self.fwhm > 0).any())


@dataclass(frozen=True, eq=False)
class MonteCarloJob:
    """All that chunks share.

    Attributes
    ----------
    stack : StackJob
        Its positions are those of all lists, one list after the other; its subsets are the lists,
        the first the real one.
    exact : bool
        Stack each list directly.
    edges : ndarray (bin + 1,) or None
        Of the uv bins, m.
    fakes : Fakes or None
    n_exact_fakes : int
        Lists, counted from the real one, whose response to fake sources is exact.
    in_worker : bool
        Whether a chunk is summed where it is read, because sending visibilities would cost more.
    """

    stack: StackJob
    exact: bool = False
    edges: np.ndarray | None = None
    fakes: Fakes | None = None
    n_exact_fakes: int = 0
    in_worker: bool = False

    @property
    def n_lists(self) -> int:
        """The real list and all others."""
        return self.stack.n_subsets

    @property
    def ranges(self) -> list[UVRange]:
        """The uv range of the flux, then those of the bins."""
        edges = self.edges if self.edges is not None else np.empty(0)
        below = np.nextafter(edges, 0.0)
        return [self.stack.uv_range,
                *(UVRange(float(low), float(high))
                  for low, high in zip(edges[:-1], below[1:], strict=True))]


@dataclass
class Gathered:
    """What a chunk holds of one view.

    Attributes
    ----------
    view : (int, int, int)
        Measurement set, field, data description.
    uvw : ndarray (row, 3)
    value : ndarray (row, chan) complex64
        Σ_corr w V of the parallel hands, at all uv distances that the flux or a bin wants; no rows
        in the exact way, which needs them no more.
    weight : ndarray (range,)
        Σ w in the range of the flux and in each bin.
    square : float
        Σ w²|V|²/2 in the range of the flux.
    moment : ndarray (range,) or None
        Σ w q² with q in wavelengths, where there are bins.
    histogram : ndarray (range, N_UV_BINS) or None
        Σ w against uv distance in wavelengths, where fake sources are extended.
    direct, response : ndarray (range, list) or None
        Sums of the exact way, and of the exact response to fake sources.
    n_not_finite : int
    """

    view: tuple[int, int, int]
    uvw: np.ndarray
    value: np.ndarray
    weight: np.ndarray
    square: float
    moment: np.ndarray | None = None
    histogram: np.ndarray | None = None
    direct: np.ndarray | None = None
    response: np.ndarray | None = None
    n_not_finite: int = 0

    def add_sums(self, other: Gathered) -> None:
        """Add the sums of another part of the same view; visibilities stay apart."""
        for name in ("weight", "square", "moment", "histogram", "direct", "response",
                     "n_not_finite"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class ListSums:
    """Sums over everything, (range, list) unless said otherwise; a flux is numerator / denominator.

    Attributes
    ----------
    numerator, denominator : ndarray
        Σ w Re(V Σ c_k e^{−iφ_k}) and Σ w Σ W_k.
    own, response : ndarray
        Σ w Re(V_fake Σ c_k e^{−iφ_k}) without the cross-talk, and exactly, 0 for lists for which
        that is not done.
    true : ndarray (list,)
        Σ w Σ W_k S_k: over the denominator the weighted mean flux of the fake sources.
    variance : float
        Of the real list's numerator after equation 7.
    position_weight : ndarray (pos,)
        Σ w W_k of each position.
    moment : ndarray (range,)
        Σ w q² Σ W_k of the real list, q in wavelengths.
    """

    numerator: np.ndarray
    denominator: np.ndarray
    own: np.ndarray
    response: np.ndarray
    true: np.ndarray
    position_weight: np.ndarray
    moment: np.ndarray
    variance: float = 0.0
    n_not_finite: int = 0
    views: set = field(default_factory=set)

    @classmethod
    def empty(cls, job: MonteCarloJob) -> ListSums:
        """Sums of nothing."""
        shape = (len(job.ranges), job.n_lists)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape),
                   np.zeros(job.n_lists), np.zeros(len(job.stack.positions)), np.zeros(shape[0]))

    def __iadd__(self, other: ListSums) -> ListSums:
        for name in ("numerator", "denominator", "own", "response", "true", "position_weight",
                     "moment", "variance", "n_not_finite"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.views |= other.views
        return self

    def fake(self, n_exact: int) -> np.ndarray:
        """What fake sources add to the numerator, (range, list): exactly for n_exact lists, with the mean cross-talk for others."""
        if n_exact <= 1:
            return self.own
        with np.errstate(invalid="ignore", divide="ignore"):
            # Cross-talk of a list with a weighted mean flux of 1.
            unit = self.true / self.denominator[0] * self.denominator
            known = ((self.response - self.own) / unit)[:, 1:n_exact]
        mean = np.nan_to_num(known.mean(axis=1))
        return np.where(np.arange(self.true.size) < n_exact, self.response,
                        self.own + np.nan_to_num(mean[:, None] * unit))


def gather(job: MonteCarloJob, set_index: int, partition: Partition) -> Gathered:
    """What one partition holds; its flags, weights and values are cleaned in place."""
    usable, n_not_finite = apply_flags(partition.vis, partition.flag, partition.flag_row,
                                       partition.weight)
    description = partition.data_description
    frequency, parallel = description.spw.frequency, parallel_hands(description.correlations)
    distance = np.where(np.isfinite(partition.uvw[:, :2]).all(axis=1),
                        np.hypot(partition.uvw[:, 0], partition.uvw[:, 1]), 0.0)
    value = np.empty(partition.vis.shape[:2], np.complex64)
    ranges = job.ranges
    squares, weights = np.empty(len(ranges)), np.empty(len(ranges))
    # With bins the first range is not all that is wanted: that of everything comes last and stays
    # in `value`.
    for i, uv_range in [*enumerate(ranges), *([(-1, UVRange())] if len(ranges) > 1 else [])]:
        square, weight = kernels.combine_parallel(partition.vis, partition.weight, parallel,
                                                  distance, frequency / SPEED_OF_LIGHT,
                                                  uv_range.limits, uv_range.unit == "m", value)
        if i >= 0:
            squares[i], weights[i] = square, weight
    out = Gathered((set_index, partition.field.id, description.id), partition.uvw, value, weights,
                   float(squares[0]), n_not_finite=n_not_finite)
    if len(ranges) > 1:
        out.moment = _moments(partition, parallel, ranges)
    if job.fakes is not None and job.fakes.extended:
        out.histogram = np.stack([_histogram(partition, sum_weight(partition, parallel, r))
                                  for r in ranges])
    if job.exact or job.n_exact_fakes:
        _sum_directly(job, partition, out, usable,
                      sum_weight(partition, parallel, UVRange()) if job.n_exact_fakes else None)
        if job.exact:
            # No views: these would keep the whole arrays of every chunk.
            out.uvw, out.value = np.empty((0, 3)), np.empty((0, frequency.size), np.complex64)
    return out


def sum_weight(partition: Partition, parallel: np.ndarray, uv_range: UVRange) -> np.ndarray:
    """Σ_corr w within a uv range, (row, chan) float32."""
    weight = partition.weight[..., parallel].sum(axis=2)
    return np.where(inside_uv_range(partition.uvw, partition.data_description.spw.frequency,
                                    uv_range), weight, np.float32(0))


def _moments(partition: Partition, parallel: np.ndarray, ranges: list[UVRange]) -> np.ndarray:
    """Σ w q² of each range, q in wavelengths."""
    frequency = partition.data_description.spw.frequency
    everything = sum_weight(partition, parallel, UVRange())
    square = np.hypot(partition.uvw[:, 0],
                      partition.uvw[:, 1])[:, None] ** 2 * (frequency / SPEED_OF_LIGHT) ** 2
    product = np.where(everything > 0, everything * square, 0.0)
    return np.array([np.sum(product, where=inside_uv_range(partition.uvw, frequency, r))
                     for r in ranges])


def _histogram(partition: Partition, weight: np.ndarray) -> np.ndarray:
    """Σ w in the fine bins of uv distance in wavelengths."""
    distance = np.hypot(partition.uvw[:, 0], partition.uvw[:, 1])[:, None] * partition.data_description.spw.frequency / SPEED_OF_LIGHT
    used = weight > 0
    return np.bincount(fine_bin_of(distance[used]), weight[used], kernels.N_UV_BINS)


def _sum_directly(job: MonteCarloJob, partition: Partition, out: Gathered, usable: np.ndarray,
                  weight: np.ndarray | None) -> None:
    """The exact sums of every list over one partition: of the data, and of fake sources where their weight is given."""
    plan = pointing_plan(job.stack, *out.view)
    frequency = partition.data_description.spw.frequency
    rows = (partition.uvw, partition.antenna1, partition.antenna2, partition.time)
    inside = [inside_uv_range(partition.uvw, frequency, r) for r in job.ranges]
    direct, response = np.zeros((2, len(inside), job.n_lists))
    n_lists = job.n_lists if job.exact else job.n_exact_fakes
    for begin in range(0, n_lists, _LISTS_AT_ONCE):
        first = plan.first[begin:min(begin + _LISTS_AT_ONCE, n_lists) + 1]
        some = slice(first[0], first[-1])
        factors = phase_factor(*rows, frequency, plan.lmn[:, some], plan.coefficient[:, some],
                               first - first[0], usable=usable)
        models = None if weight is None or begin >= job.n_exact_fakes else _models(
            job, plan, out.view, partition, begin, factors)
        for i, factor in enumerate(factors, start=begin):
            if job.exact:
                product = out.value.real * factor.real - out.value.imag * factor.imag
                direct[:, i] = [np.sum(product, where=here, dtype=np.float64) for here in inside]
            if models is not None and 0 < i < job.n_exact_fakes:
                fake = models[i - begin]
                product = (fake.real * factor.real + fake.imag * factor.imag) * weight
                response[:, i] = [np.sum(product, where=here, dtype=np.float64) for here in inside]
    out.direct = direct if job.exact else None
    out.response = response if weight is not None else None


def _models(job: MonteCarloJob, plan: PointingPlan, view: tuple[int, int, int],
            partition: Partition, begin: int, factors: np.ndarray) -> np.ndarray:
    """Conjugate visibilities of the fake sources of the lists from `begin` on, (list, row, chan), for as many as `factors` has."""
    assert job.fakes is not None
    frequency = partition.data_description.spw.frequency
    rows = (partition.uvw, partition.antenna1, partition.antenna2, partition.time)
    if job.fakes.extended:
        where = partition.field.ra, partition.field.dec, job.stack.primary_beam, partition.field.beam_centre
        return np.stack([predict(*rows, frequency,
                                 _components(job, begin + i, partition.field.frame), *where).conj()
                         for i in range(len(factors))])
    lmn, apparent, first = _points(job, *view)
    first = first[begin:begin + len(factors) + 1]
    some = slice(first[0], first[-1])
    if np.array_equal(plan.first[begin:begin + len(factors) + 1], first):
        # Without a beam all sources of a flux are c_k times one number, and so are the visibilities
        # the factor.
        ratio = apparent[:, some] / plan.coefficient[:, some]
        if np.ptp(ratio[:,
                        int(plan.first[1]) - first[0] if begin == 0
                        else 0:]) <= 1e-6 * np.abs(ratio).max():
            return factors * np.complex64(ratio[0, -1])
    return phase_factor(*rows, frequency, lmn[:, some], apparent[:, some], first - first[0])


@functools.lru_cache(maxsize=64)
def _points(job: MonteCarloJob, set_index: int, field_id: int,
            description_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """l, m, n − 1 (3, pos) and A S (chan, pos) float32 of all fake sources from a pointing, and where each list begins."""
    assert job.fakes is not None
    structure = job.stack.structures[set_index]
    pointing, spw = structure.fields[field_id], structure.data_descriptions[description_id].spw
    lmn, from_beam = seen_from(job.stack.positions.coord, pointing)
    # Beyond the horizon a beam answers 0.
    power = job.stack.primary_beam(np.where(lmn[2] > -1.0, from_beam[0], 2.0), from_beam[1],
                                   spw.frequency)
    first = np.searchsorted(job.stack.subset, np.arange(job.n_lists + 1))
    return lmn, np.ascontiguousarray((power * job.fakes.flux[:, None]).T, np.float32), first


def forget_plans() -> None:
    """Free the memory of what was kept of each view."""
    pointing_plan.cache_clear()
    _points.cache_clear()


def _components(job: MonteCarloJob, which: int, frame: str) -> Components:
    """The fake sources of one list in the frame of a pointing."""
    assert job.fakes is not None
    here = np.flatnonzero(job.stack.subset == which)
    ra, dec = to_frame(job.stack.positions.coord[here], frame)
    fwhm, none = job.fakes.fwhm[here], np.zeros(here.size)
    return Components(names=np.full(here.size, "fake"), ra=ra, dec=dec, flux=job.fakes.flux[here],
                      reference_frequency=1.4e9, shape=np.where(fwhm > 0, "gaussian", "point"),
                      fwhm_major=fwhm, fwhm_minor=fwhm, position_angle=none, spectral_index=none,
                      curvature=none, q=none, u=none, v=none, target=np.zeros(here.size, np.bool_))


def sum_lists(job: MonteCarloJob, gathered: Gathered, threads: int) -> ListSums:
    """What a view adds to the sums of all lists."""
    plan = pointing_plan(job.stack, *gathered.view)
    sums = ListSums.empty(job)
    sums.denominator[:] = gathered.weight[:, None] * plan.norm
    sums.position_weight[plan.position] = gathered.weight[0] * plan.weight
    real = slice(plan.first[0], plan.first[1])
    if gathered.moment is not None:
        sums.moment[:] = gathered.moment * plan.norm[0]
    sums.variance = gathered.square * float((plan.coefficient[:, real].astype(np.float64) ** 2).mean(axis=0).sum())
    sums.n_not_finite = gathered.n_not_finite
    sums.views.add(gathered.view)
    if gathered.direct is not None:
        sums.numerator[:] = gathered.direct
    else:
        sums.numerator[:] = _through_images(job, gathered, plan, threads)
    if job.fakes is not None:
        flux = plan.weight * job.fakes.flux[plan.position]
        sums.true[:] = gathered.weight[0] * list_sums(flux, plan.first)
        sums.own[:] = _own_response(job.fakes, gathered, plan, flux)
        if gathered.response is not None:
            sums.response[:] = gathered.response
    return sums


def _through_images(job: MonteCarloJob, gathered: Gathered, plan: PointingPlan,
                    threads: int) -> np.ndarray:
    """Σ w Re(V Σ c_k e^{−iφ_k}) of each range and list, (range, list)."""
    description = job.stack.structures[gathered.view[0]].data_descriptions[gathered.view[2]]
    frequency = description.spw.frequency
    out = np.zeros((gathered.weight.size, job.n_lists))
    for i, uv_range in enumerate(job.ranges):
        if not gathered.weight[i] > 0:
            continue
        uvw, value = gathered.uvw, gathered.value
        if gathered.weight.size > 1:
            inside = inside_uv_range(uvw, frequency, uv_range)
            rows = np.flatnonzero(inside.any(axis=1))
            uvw, value = uvw[rows], np.where(inside[rows], value[rows], np.complex64(0))
        found = monte_carlo.position_sums(uvw, frequency, value, plan.lmn, plan.coefficient,
                                          threads=threads,
                                          tolerance=monte_carlo.TOLERANCE if i == 0
                                          else _BIN_TOLERANCE)
        out[i] = list_sums(found, plan.first)
    return out


def _own_response(fakes: Fakes, gathered: Gathered, plan: PointingPlan,
                  flux: np.ndarray) -> np.ndarray:
    """Σ w Σ W_k S_k E_k of each range and list, (range, list), with E_k the mean envelope of a source in the range."""
    if gathered.histogram is None:
        return gathered.weight[:, None] * list_sums(flux, plan.first)
    edges = fine_bin_edges()
    distance = np.sqrt(np.maximum(edges[:-1], kernels.UV_BIN_LOW) * edges[1:])
    sizes, which = np.unique(fakes.fwhm[plan.position], return_inverse=True)
    # (size, range): Σ w E over the bins of uv distance.
    seen = np.exp(-(TRANSFORM_SCALE * np.outer(sizes, distance)) ** 2) @ gathered.histogram.T
    return np.stack([list_sums(flux * seen[which, i], plan.first) for i in range(seen.shape[1])])
