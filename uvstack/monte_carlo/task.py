"""The task of the Monte Carlo: sets and a list in, the stacks of random lists and what they say out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.coordinates import SkyCoord
from typing_extensions import Unpack

from uvstack.checks import (
    MOST_BINS,
    MOST_RESAMPLINGS,
    check_seed,
    chunk_size_or,
    finite_number,
    thread_count,
    whole_number,
)
from uvstack.chunks import cluster, map_chunks
from uvstack.errors import (
    DistantPositionsWarning,
    DroppedPositionsWarning,
    InvalidVisibilityWarning,
    NoDataError,
    PositionsError,
    SelectionError,
)
from uvstack.io.dataset import chunks_of, default_cell, open_sets, warn_of_beam
from uvstack.io.ms import parse_column, read_block, read_unflagged_uvw, scan_rows
from uvstack.io.output import together
from uvstack.io.pointing import pointings_text
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.io.selection import parse_uv_range
from uvstack.io.tables import read_positions
from uvstack.monte_carlo.cross_talk import CrossTalk
from uvstack.monte_carlo.image_samples import ImageSamples
from uvstack.monte_carlo.places_files import Places
from uvstack.monte_carlo.random_positions import middle_of
from uvstack.monte_carlo.result import BinnedFluxes, MonteCarloResult, Sample
from uvstack.monte_carlo.sums import (
    Fakes,
    Gathered,
    ListSums,
    MonteCarloJob,
    forget_plans,
    gather,
    sum_lists,
)
from uvstack.options import (
    DataOptions,
    ListOptions,
    OverwriteOptions,
    ReportOptions,
    RunOptions,
    UVRangeOptions,
    takes,
)
from uvstack.records import MeasurementSets, RowBlock, UVRange
from uvstack.report.files import check_asked, write_asked
from uvstack.report.numbers import flux_unit
from uvstack.sky.coordinates import direction_cosines, to_frame
from uvstack.sky.options import WeightOptions
from uvstack.sky.position_weights import PositionWeights, check_listed, check_weights, parse_weights
from uvstack.sky.positions import Positions
from uvstack.sky.primary_beam import Constant
from uvstack.stacking.plan import StackJob, find_pointings
from uvstack.uv.profile import uv_edges
from uvstack.uv.weights import apply_flags

logger = logging.getLogger(__name__)

#: Visibilities (row × chan × corr) of a chunk, and of one that a worker of a cluster sums by
#: itself.
_PER_CHUNK, _PER_WORKERS_CHUNK = 2_000_000, 16_000_000
#: Bytes of combined visibilities, with their (u, v, w), that are kept until they are gridded; three
#: times that while gridding.
_KEPT = 256_000_000
# Measured, ns of one thread: a visibility and position directly, a visibility of an image, a pixel
# of it.
_DIRECT_COST, _IMAGE_COST, _PIXEL_COST = 0.2, 400.0, 200.0
#: Realisations from which the mean cross-talk of fake sources is taken.
_EXACT_FAKES = 3


class SharedOptions(WeightOptions, UVRangeOptions, DataOptions, ListOptions, ReportOptions,
                    OverwriteOptions, RunOptions, total=False):
    """The options that it shares with other functions."""


@together()
@takes
def montecarlo(
    ms: MeasurementSets,
    positions: str | Path | SkyCoord | Positions | Any,
    *,
    realisations: int = 100,
    fake_flux: float | str | None = None,
    fake_size: float | str | None = None,
    fake_response: Literal["exact", "own"] = "exact",
    jitter: float | None = None,
    radius: float | None = None,
    size: tuple[float, float] | None = None,
    avoid: str | Path | SkyCoord | Positions | Any = None,
    avoid_radius: float | None = None,
    mask: str | Path | None = None,
    exact: bool | None = None,
    bins: int | Sequence[float] = 0,
    fit: Literal["gaussian"] | None = None,
    image: str | Path | None = None,
    image_kind: Literal["corrected", "flat"] = "corrected",
    psf: str | Path | None = None,
    seed: int | None = None,
    **options: Unpack[SharedOptions],
) -> MonteCarloResult:
    """Noise and bias of a stack, from stacks at random positions and of fake sources (Lindroos et al. 2015, section 3.5.2).

    Parameters
    ----------
    ms, positions
        As in `stack`; best of data from which bright sources were subtracted.
    realisations : int
        Lists of random positions, each as long as the list of targets; weights of the list are
        shuffled.
    fake_flux : float or "match", optional
        Add sources of this flux, Jy, at the random positions: "match" takes the fluxes of the list,
        shuffled, or the stacked flux where the list has none. Default: none are added.
    fake_size : float or "match", optional
        Their FWHM as circular Gaussians, rad, or those of the list; default points.
    fake_response : {"exact", "own"}
        "exact" costs one or two stacks a realisation. "own" takes the fake sources' sidelobes at
        each other as their mean over three realisations, and states the expected scatter that this
        leaves out.
    jitter : float, optional
        Displace the targets by this, rad, instead of drawing positions all over the field.
    radius, size : float or (float, float), optional
        Of the circle or the rectangle (east-west, north-south) around the middle of the targets
        that is drawn from, rad; default the rectangle that they span.
    avoid : path, SkyCoord, table or Positions, optional
        Sources that positions keep away from.
    avoid_radius : float, optional
        By this much, rad; required with `avoid`.
    mask : path, optional
        FITS image; positions lie where it is above 0.
    exact : bool, optional
        Stack each realisation directly, which takes as long as that many stacks, or never. By
        default where that is cheaper: for small sets and few realisations.
    bins : int or sequence of float
        Bins of uv distance in which the lists are stacked too, of equal width, or edges in m.
    fit : "gaussian", optional
        Fit flux and size to those bins of each list that lie between uvmin and uvmax.
    image : path, optional
        FITS image in Jy/beam, stacked at the same positions with the same weights.
    image_kind : {"corrected", "flat"}
        Whether that is corrected for the primary beam.
    psf : path, optional
        Its dirty beam, for the response to fake sources; default the Gaussian of its header.
    seed : int, optional
        The same seed gives the same lists; default one from the system, kept in the provenance.

    Returns
    -------
    MonteCarloResult

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> result = uvstack.montecarlo("survey.ms", "positions.csv", primary_beam="vla", realisations=1000, seed=1)
    """
    asked = {**locals(), **options}
    check_asked(MonteCarloResult, options)
    uv_range, terms = parse_uv_range(options["uvmin"], options["uvmax"]), parse_weights(options["weights"])
    realisations = _check_numbers(realisations, options["pb_cutoff"], bins)
    check_seed(seed)
    thread_count(options["threads"])
    if fit is not None and not np.any(bins):
        raise SelectionError("a size is fitted to bins of uv distance; give bins as well (--bins 20)")
    structures, selections = open_sets(ms, options["field"], options["spw"], options["timerange"], options["pointing"])
    targets = read_positions(positions, columns=options["columns"], frame=options["frame"], unit=options["unit"])
    check_listed(terms, targets)
    beam = read_primary_beam(options["primary_beam"])
    check_weights(terms, not isinstance(beam, Constant))
    warn_of_beam(structures, selections, options["primary_beam"], beam)
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng_places, rng_order, rng_pairs = np.random.default_rng(seed).spawn(3)
    places = Places.read("local-noise" in terms, options["noise_image"], options["noise_kind"] or "corrected",
                         avoid, avoid_radius, mask, targets.source)
    first = StackJob(
        structures=structures, selections=selections,
        columns=tuple(parse_column(options["column"], *one) for one in zip(structures, selections, strict=True)),
        positions=targets, primary_beam=beam, pb_cutoff=options["pb_cutoff"],
        weights=PositionWeights(terms, places.noise_at(targets.coord), places.noise_corrected), subset=np.zeros(len(targets), np.int64),
        products=[[0]], uv_range=uv_range)
    _, seen, _ = find_pointings(first)
    targets = targets.subset(seen)
    pixels = None if image is None else ImageSamples.read(image, image_kind, psf)
    ra, dec = places.draw(realisations, targets, first, pixels, (jitter, radius, size), rng_places)
    order = np.stack([rng_order.permutation(len(targets)) for _ in range(realisations)])
    stack_job = _all_lists(first, targets, ra, dec, order, places)
    fakes = _fakes(fake_flux, fake_size, targets, order)
    n_lists = realisations + 1
    exact = _cheaper_directly(stack_job) if exact is None else bool(exact)
    edges = _edges(bins, stack_job)
    _check_fit(fit, edges, uv_range)
    job = MonteCarloJob(stack_job, exact, edges, fakes,
                        0 if fakes is None else n_lists if fake_response == "exact" else min(1 + _EXACT_FAKES, n_lists))
    sums, left_out = _run(job, rng_pairs, options["workers"], options["scheduler"], options["threads"],
                          options["progress"], options["chunk_size"])
    # What matches the stacked flux is known only now; all is linear in it.
    scale = _matched(fake_flux, targets, sums)
    samples = _samples(job, sums, scale, left_out), *([] if pixels is None else pixels.samples(job, sums.position_weight, scale))
    provenance = provenance_of(
        asked, ms=[s.path for s in structures], positions=targets.source, seed=seed,
        primary_beam=beam.describe(), pointing=pointings_text(structures, selections))
    with np.errstate(invalid="ignore", divide="ignore"):
        binned = None if job.edges is None else BinnedFluxes(
            job.edges, ((sums.numerator + scale * sums.fake(job.n_exact_fakes)) / sums.denominator)[1:],
            np.sqrt(sums.moment / sums.denominator[:, 0])[1:], (sums.numerator / sums.denominator)[1:])
    return write_asked(MonteCarloResult(
        name=Path(structures[0].path).name, uv=samples[0], images=tuple(samples[1:]),
        flux_error_expected=float(np.sqrt(sums.variance) / sums.denominator[0, 0]), n_positions=len(targets), uv_range=uv_range,
        mode=places.describe(), method="exact" if exact else "images", fake=_fake_text(fakes, scale, fake_flux),
        cross_talk=None if left_out is None else left_out * scale, bins=binned, ra=ra, dec=dec,
        sizes=None if fit is None or binned is None else binned.sizes(uv_range),
        settings={"realisations": realisations, "weights": options["weights"], "column": options["column"],
                  "image": None if image is None else str(image),
                  "fake_response": fake_response if fakes is not None else None, "pb_cutoff": options["pb_cutoff"]}, provenance=provenance),
        options)


def _check_numbers(realisations: int, pb_cutoff: float, bins: int | Sequence[float]) -> int:
    realisations = whole_number("realisations", realisations, 2, MOST_RESAMPLINGS)
    finite_number("pb_cutoff", pb_cutoff, 0, 1)
    if np.ndim(bins) or whole_number("bins", bins, 0, MOST_BINS):
        uv_edges(bins, 0.0, 1.0)
    return realisations


def _all_lists(first: StackJob, targets: Positions, ra: np.ndarray, dec: np.ndarray, order: np.ndarray, places: Places) -> StackJob:
    """The job with the targets and all random lists, one after the other."""
    own = to_frame(targets.coord, "J2000")
    coord = SkyCoord(np.append(own[0], ra), np.append(own[1], dec), unit="rad", frame="fk5")
    weight = None if targets.weight is None else np.append(targets.weight, targets.weight[order])
    n_lists, n = ra.shape[0] + 1, len(targets)
    job = replace(
        first, positions=Positions(coord, weight=weight, source=targets.source), subset=np.repeat(np.arange(n_lists), n),
        weights=replace(first.weights, noise=places.noise_at(coord)), products=[list(range(n_lists))], beam_squares={})
    with warnings.catch_warnings():
        # Of the targets that was told already.
        for told in (DroppedPositionsWarning, DistantPositionsWarning):
            warnings.simplefilter("ignore", told)
        return find_pointings(job)[0]


def _cheaper_directly(job: StackJob) -> bool:
    """Whether stacking each list by itself takes less time than images, by measured costs."""
    n = 0
    for structure, selection in zip(job.structures, job.selections, strict=True):
        chosen = [d.spw.frequency.size for d in structure.used(selection)]
        n += structure.n_rows * max(chosen, default=0)
    ra, dec = to_frame(job.positions.coord, "J2000")
    l, m, _ = direction_cosines(ra, dec, *middle_of(ra, dec))
    # A pixel of the images is twice what a stamp has.
    n_pixels = float(np.ptp(l) * np.ptp(m)) / (2 * default_cell(job.structures, job.selections)) ** 2
    n_terms = 1 if isinstance(job.primary_beam, Constant) else 3
    return bool(_DIRECT_COST * n * len(job.positions) < n_terms * (_IMAGE_COST * n + _PIXEL_COST * n_pixels))


def _fakes(flux: float | str | None, size: float | str | None, targets: Positions, order: np.ndarray) -> Fakes | None:
    """Fluxes and sizes at all positions; where the stacked flux is to be matched, 1 Jy."""
    if flux is None:
        if size is not None:
            raise SelectionError("a size of fake sources is given and no flux; give fake_flux (--fake-flux), e.g. match")
        return None
    n = len(targets)

    def values(given: float | str | None, listed: np.ndarray | None, what: str) -> np.ndarray:
        if isinstance(given, str) and given != "match":
            raise SelectionError(f"{what} is {given!r}; wanted a number or match")
        if given == "match":
            if listed is None and what == "fake_flux":
                return np.ones(n)
            if listed is None or not np.isfinite(listed).all():
                found = "has no such column" if listed is None else "has rows without a value"
                raise PositionsError(f"{targets.source}: {what} is to match the list, which {found}; give a number instead")
            return listed
        return np.full(n, finite_number(what, given or 0.0, 0, unit="Jy" if what == "fake_flux" else "rad"))

    fluxes, sizes = values(flux, targets.flux, "fake_flux"), values(size, targets.size, "fake_size")
    # A source keeps its flux and size together.
    return Fakes(np.append(np.zeros(n), fluxes[order]), np.append(np.zeros(n), sizes[order]))


def _matched(flux: float | str | None, targets: Positions, sums: ListSums) -> float:
    """What the fake sources' fluxes are multiplied by."""
    return float(sums.numerator[0, 0] / sums.denominator[0, 0]) if flux == "match" and targets.flux is None else 1.0


def _fake_text(fakes: Fakes | None, scale: float, flux: float | str | None) -> str:
    if fakes is None:
        return ""
    fluxes = fakes.flux[fakes.flux != 0] * scale
    name, size = flux_unit(float(fluxes.mean()) if fluxes.size else 0.0)
    text = f"{fluxes.mean() / size if fluxes.size else 0:.4g} {name}{' on average' if fluxes.size and np.ptp(fluxes) > 0 else ''}"
    text += ", as the stack" if flux == "match" and scale != 1 else ""
    sizes = np.rad2deg(fakes.fwhm[fakes.fwhm > 0]) * 3600
    return text + (f", FWHM {sizes.mean():.3g}″{' on average' if np.ptp(sizes) > 0 else ''}" if sizes.size else ", points")


def _edges(bins: int | Sequence[float], job: StackJob) -> np.ndarray | None:
    """Edges of the uv bins in m: as given, or equal ones over the baselines that are used."""
    if np.ndim(bins):
        return uv_edges(bins, 0.0, np.inf)
    if not bins:
        return None
    low, high = np.inf, 0.0
    for structure, selection in zip(job.structures, job.selections, strict=True):
        for block in scan_rows(structure, selection, {d.id: 1_000_000 for d in structure.used(selection)}):
            uvw = read_unflagged_uvw(structure, selection, block)
            distance = np.hypot(uvw[:, 0], uvw[:, 1])
            distance = distance[np.isfinite(distance) & (distance > 0)]
            low, high = min(low, float(distance.min(initial=np.inf))), max(high, float(distance.max(initial=0.0)))
    if not high > low:
        raise NoDataError("there is no baseline to make uv bins of; look at the data with `uvstack info`")
    # The last edge is the first number beyond the longest baseline.
    return np.append(uv_edges(bins, low, high)[:-1], np.nextafter(high, np.inf) * (1 + 1e-12))


def _check_fit(fit: str | None, edges: np.ndarray | None, uv_range: UVRange) -> None:
    """Raise where fewer than two bins lie in the uv range; one in wavelengths is known only with the data."""
    if fit is None or edges is None or uv_range.unit != "m":
        return
    nothing = np.empty(0)
    if BinnedFluxes(edges, nothing, nothing, nothing).inside(uv_range).sum() < 2:
        raise SelectionError(f"a size is fitted to the uv bins within {uv_range}, and fewer than two are; give more bins (--bins)")


def gather_chunk(job: MonteCarloJob, chunk: tuple[int, RowBlock]) -> list[Gathered] | ListSums:
    """What one block of rows holds of each view, or the sums over it. The function that dask runs."""
    set_index, block = chunk
    stack = job.stack
    found = [gather(job, set_index, partition)
             for partition in read_block(stack.structures[set_index], stack.selections[set_index], block, stack.columns[set_index])]
    if not job.in_worker:
        return found
    sums = ListSums.empty(job)
    for one in found:
        sums += sum_lists(job, one, 1)
    return sums


def _run(job: MonteCarloJob, rng: np.random.Generator, workers: int | None, scheduler: str | None, threads: int | None,
         progress: Callable[[int, int], None] | None, chunk_size: int | None) -> tuple[ListSums, float | None]:
    """Sums of all lists, and the expected rms of the fake sources' cross-talk where it is left out."""
    with cluster(workers, scheduler) as client:
        job = replace(job, in_worker=client is not None)
        size = chunk_size_or(chunk_size, _PER_WORKERS_CHUNK if job.in_worker and not job.exact else _PER_CHUNK)
        chunks = chunks_of(job.stack.structures, job.stack.selections, size)
        left_out = None
        if job.fakes is not None and job.n_exact_fakes < job.n_lists:
            left_out = _left_out(job, chunks, rng)
        collected = _Collected(job, len(chunks), thread_count(threads), progress)
        map_chunks(gather_chunk, job, chunks, collected.add, client, threads)
        collected.finish()
    # Plans of a million positions are large, and of no use to any other job.
    forget_plans()
    sums = collected.sums
    if not sums.denominator[0, 0] > 0:
        raise NoDataError(f"no unflagged visibility with a weight lies within the uv range {job.stack.uv_range}; `uvstack info` shows the "
                          "range of the data")
    if sums.n_not_finite:
        warnings.warn(InvalidVisibilityWarning(
            f"{sums.n_not_finite} {InvalidVisibilityWarning.what}"), stacklevel=5)
    return sums, left_out


def _left_out(job: MonteCarloJob, chunks: list[tuple[int, RowBlock]], rng: np.random.Generator) -> float:
    """Rms of the cross-talk, from twelve spread blocks."""
    chosen = chunks[::max(len(chunks) // 12, 1)]
    found = CrossTalk(job, len(chosen) / len(chunks), rng)
    for set_index, block in chosen:
        stack = job.stack
        for partition in read_block(stack.structures[set_index], stack.selections[set_index], block, stack.columns[set_index]):
            apply_flags(partition.vis, partition.flag, partition.flag_row, partition.weight)
            found.add(set_index, partition)
    return found.rms()


class _Collected:
    """Receives what chunks hold in their order; grids what belongs together when enough is there."""

    def __init__(self, job: MonteCarloJob, n_chunks: int, threads: int, progress: Callable[[int, int], None] | None):
        self._job, self._n_chunks, self._threads, self._progress = job, n_chunks, threads, progress
        self._kept: dict[tuple[int, int, int], Gathered] = {}
        self._visibilities: dict[tuple[int, int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
        self.sums = ListSums.empty(job)

    def add(self, index: int, result: list[Gathered] | ListSums) -> None:
        """Take the result of one chunk."""
        if isinstance(result, ListSums):
            self.sums += result
        else:
            for one in result:
                self._keep(one)
            if sum(map(self._n_bytes, self._visibilities)) > _KEPT:
                self._grid(max(self._visibilities, key=self._n_bytes))
        if self._progress is not None:
            self._progress(index + 1, self._n_chunks + 1)

    def finish(self) -> None:
        """Grid what is left."""
        for view in list(self._kept):
            self._grid(view)
        if self._progress is not None:
            self._progress(self._n_chunks + 1, self._n_chunks + 1)

    def _keep(self, one: Gathered) -> None:
        """Add sums at once, so that one of each is held for a view however many chunks it has."""
        if one.view in self._kept:
            self._kept[one.view].add_sums(one)
        else:
            self._kept[one.view] = replace(one, uvw=one.uvw[:0].copy(), value=one.value[:0].copy())
        if one.value.size:
            self._visibilities.setdefault(one.view, []).append((one.uvw, one.value))

    def _n_bytes(self, view: tuple[int, int, int]) -> int:
        return sum(uvw.nbytes + value.nbytes for uvw, value in self._visibilities[view])

    def _grid(self, view: tuple[int, int, int]) -> None:
        whole, parts = self._kept.pop(view), self._visibilities.pop(view, [])
        if parts:
            whole = replace(whole, uvw=np.concatenate([uvw for uvw, _ in parts]), value=np.concatenate([value for _, value in parts]))
        del parts
        self.sums += sum_lists(self._job, whole, self._threads)


def _samples(job: MonteCarloJob, sums: ListSums, scale: float, left_out: float | None) -> Sample:
    with np.errstate(invalid="ignore", divide="ignore"):
        fluxes = (sums.numerator[0] + scale * sums.fake(job.n_exact_fakes)[0]) / sums.denominator[0]
        truths = scale * sums.true / sums.denominator[0]
        blanks = sums.numerator[0] / sums.denominator[0]
    return Sample("uv-stack", float(fluxes[0]), fluxes[1:], truths[1:], blanks[1:],
                  abs(scale) * left_out / np.sqrt(job.n_exact_fakes - 1) if left_out else 0.0)
