"""Passes over measurement sets for imaging.

What must be known first, dirty images with their psf, residuals of a model.

Every pass reads the sets anew in chunks of rows, or what is kept of small ones (`hold`), and sums what
the chunks give in their order. A
chunk is a function of the job and of its rows alone, for dask to run anywhere.

Channels are gridded in bands: all those of a data description together, those of one plane of a
cube, or, in a mosaic, so few that the primary beam hardly changes among them, since a band is seen
through one beam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uvstack.chunks import map_chunks
from uvstack.deconvolution.major_cycle import sidelobe_level
from uvstack.errors import NoDataError
from uvstack.imaging.mosaic import BeamPatch, Mosaic, beam_patch, box_of, needed_parts
from uvstack.imaging.pieces_files import PER_CHUNK, Held, Job, Key, Piece, pieces_of, read_chunk
from uvstack.imaging.restore import principal_solution
from uvstack.imaging.weighting import Weighting, density
from uvstack.io.dataset import chunks_of
from uvstack.pixels.grid import Grid, check_cell, uv_extent
from uvstack.sky.coordinates import rotation_between
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.point_model import is_cheaper, point_visibilities
from uvstack.uv.taylor import taylor_images, taylor_psfs, taylor_visibilities, to_psf

#: Visibilities (row × chan × corr) of a chunk. A transform costs the same for few visibilities and
#: many, so a large image gets twice as many as it has pixels, times the pointings, up to this number.
_MOST_PER_CHUNK = 32_000_000
#: Bytes of data that are kept in memory between passes; those of a row and of a visibility.
_MOST_HELD, _HELD_ROW, _HELD_VISIBILITY = 5e8, 48, 12
#: Bytes up to which the beams of all pointings are kept; beyond it each is worked out when it is wanted.
_MOST_KEPT = 5e8
#: Pixels of images of which several are made at a time.
_SMALL = 2**20
#: Accuracy relative to the rms of each: of a dirty image and psf that are all that is wanted, of those
#: that CLEAN begins with, and of residual images; that of a model's visibilities. The errors themselves
#: are a tenth of it (measured, rms).
_DIRTY, _BEGINNING, _RESIDUAL, _MODEL = 1e-5, 1e-4, 3e-4, 1e-5


def hold(passes: Sequence[Passes]) -> bool:
    """Read the data of passes that differ in their bands alone once, and keep them for all passes that follow.

    Where they would take more than `_MOST_HELD` bytes nothing is done: every pass reads the sets anew.
    """
    first = passes[0].job
    n_chan: dict[tuple[int, int], int] = {}
    bands: dict[tuple[int, int], list[NDArray[np.intp]]] = {}
    owners: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for n, one in enumerate(passes):
        for key, parts in one.job.bands.items():
            bands.setdefault(key, []).extend(parts)
            owners.setdefault(key, []).extend((n, i) for i in range(len(parts)))
            n_chan[key] = n_chan.get(key, 0) + sum(part.size for part in parts)
    size = sum(s.n_rows * max((_HELD_ROW * len(bands[key]) + _HELD_VISIBILITY * n
                               for key, n in n_chan.items() if key[0] == i), default=0)
               for i, s in enumerate(first.structures))
    if size > _MOST_HELD:
        return False
    selections = tuple(
        replace(selection, data_description_ids=frozenset(d for s, d in bands if s == i))
        for i, selection in enumerate(first.selections))
    union = replace(first, bands={key: tuple(parts) for key, parts in bands.items()},
                    selections=selections)
    kept: list[list[Held]] = [[] for _ in passes]

    def part(_: int, pieces: tuple[Piece, ...]) -> None:
        of_pass: list[list[Piece]] = [[] for _ in passes]
        for piece in pieces:
            n, band = owners[piece.key[0], piece.key[2]][piece.key[3]]
            of_pass[n].append(piece._replace(key=(*piece.key[:3], band)))
        for n, found in enumerate(of_pass):
            if found:
                kept[n].append(Held(tuple(found)))

    Passes(union, None, passes[0].threads, None).go(read_chunk, union, part, passes[0].threads)
    for one, chunks in zip(passes, kept, strict=True):
        one.chunks = chunks
    return True


def survey_chunk(job: Job, chunk: tuple[int, Any]) -> dict[str, Any]:
    """Of a chunk: longest baselines, weights of each pointing and channel, density, counts.

    A function that dask runs.
    """
    found: dict[str, Any] = {"extent": (0.0, 0.0), "weights": {}, "density": None, "n": 0,
                             "n_outside": 0, "n_not_finite": 0, "first_time": np.inf}
    for piece in pieces_of(job, chunk):
        extent = uv_extent(piece.uvw, piece.frequency, piece.weight)
        found["extent"] = (max(found["extent"][0], extent[0]), max(found["extent"][1], extent[1]))
        found["weights"][piece.key] = piece.weight.sum(axis=0, dtype=np.float64)
        found["n"] += int(np.count_nonzero(piece.weight > 0))
        found["n_outside"] += piece.n_outside
        found["n_not_finite"] += piece.n_not_finite
        found["first_time"] = min(found["first_time"], float(piece.time.min()))
        if job.with_density:
            here = density(piece.uvw, piece.frequency, piece.weight, job.grid)
            found["density"] = here if found["density"] is None else found["density"] + here
    return found


def image_chunk(job: Job, chunk: tuple[int, Any]) -> dict[str, Any]:
    """Unnormalised images of a chunk, with psf where there is no model yet.

    A function that dask runs. Images of pieces are added as they come: however many there are, a
    few are in memory.

    "weighted" is Σ A D (term, m, l), "weights" holds (key, Σ w of each channel, Σ w²/w_natural);
    "psf" is (2 term − 1, m', l') or None; "lobes" are the middles of the psfs, by pointing.
    """
    total = Mosaic(job.grid, job.terms, is_even=True, dtype=np.float32)
    weights, lobes = [], {}  # type: list[tuple[Key, NDArray, float]], dict[tuple[float, float], NDArray]
    towards_middle: dict[bytes, list[tuple[NDArray, NDArray, NDArray]]] = {}
    for one in _images_of_pieces(job, pieces_of(job, chunk)):
        total.add(one.patch, one.dirty, 0.0)
        weights.append((one.key, one.weight, one.variance))
        if one.towards_middle is not None:
            towards_middle.setdefault(one.towards_middle[1].tobytes(), []).append(one.towards_middle)
        if one.lobe is not None:
            pointing = job.pointings[one.key[:2]]
            lobes[pointing] = lobes.get(pointing, 0.0) + one.lobe
    return {"weighted": total.weighted, "weights": weights, "lobes": lobes,
            "psf": _psf(job, towards_middle) if towards_middle else None}


class _Imaged(NamedTuple):
    """Of a piece: what its pointing sees, its dirty image (term, m, l), Σ w of each channel and Σ w²/w_natural; where there is no model
    (u, v, w), frequency and weights for the psf, and the middle of its own.
    """

    key: Key
    patch: BeamPatch
    dirty: NDArray
    weight: NDArray
    variance: float
    towards_middle: tuple[NDArray, NDArray, NDArray] | None = None
    lobe: NDArray | None = None


def _images_of_pieces(job: Job, pieces: Iterable[Piece]) -> Iterator[_Imaged]:
    """Of the pieces that see something of the image, in their order."""
    assert job.patches is not None
    wanted = [piece for piece in pieces if piece.key in job.patches]
    box = None if job.sky is None else box_of((job.sky != 0).any(axis=0))
    most = max((math.prod(job.patches[piece.key].grid.shape) for piece in wanted), default=0)
    return _side_by_side(partial(_image_piece, box=box), job, wanted, most)


def _side_by_side(function: Callable[[Job, Any], Any], job: Job, items: Sequence[Any], n_pixels: int) -> Iterator[Any]:
    """function(job, item) of all items, in their order.

    Several at a time where their images are small: for these ducc0 is not much faster with several threads.
    """
    at_once = min(job.threads, len(items)) if n_pixels <= _SMALL else 1
    if at_once < 2:
        yield from (function(job, item) for item in items)
        return
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(partial(function, replace(job, threads=job.threads // at_once)), items)


def _image_piece(job: Job, piece: Piece, box: tuple[slice, slice] | None) -> _Imaged:
    """Of one piece; `box` holds all of the model."""
    assert job.patches is not None
    assert job.imaging is not None
    where, patch = job.grid.geometry, job.patches[piece.key].keeping()
    weight = job.imaging(piece.uvw, piece.frequency, piece.weight)
    centre = job.centres[piece.key[:2]][:2]
    shared: dict[str, Any] = {"phase_centre": centre, "threads": job.threads}
    vis = piece.vis
    lit = None if box is None else (patch if job.seen is None else job.seen[piece.key]).within(*box)
    if lit is not None and job.sky is not None:
        vis = vis - _model(piece, lit.seen(job.sky), lit.grid, job.reference_frequency, shared)
    dirty = taylor_images(piece.uvw, piece.frequency, vis, weight, patch.grid,
                          job.reference_frequency, job.terms,
                          epsilon=_accuracy(job), **shared)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(weight > 0, weight.astype(np.float64) ** 2 / piece.weight, 0.0).sum()
    image = piece.key, patch, dirty, weight.sum(axis=0, dtype=np.float64), float(variance)
    if job.sky is not None:
        return _Imaged(*image)
    # As a source at the middle of the image is seen: (u, v, w) are those towards it.
    uvw = piece.uvw @ rotation_between(*centre, where.ra, where.dec).T
    lobe = to_psf(uvw, piece.frequency, weight, job.lobe_grid(),
                  threads=job.threads) if job.with_lobes else None
    return _Imaged(*image, (uvw, piece.frequency, weight), lobe)


def _accuracy(job: Job) -> float:
    """Of images, relative to their rms."""
    if job.sky is not None:
        return _RESIDUAL
    return _BEGINNING if job.with_clean else _DIRTY


def _psf(job: Job, pieces: dict[bytes, list[tuple[NDArray, NDArray, NDArray]]]) -> NDArray:
    """Sum of the psfs of pieces (uvw, frequency, weight), (2 term − 1, m', l').

    Those of the same channels in one transform.
    """
    psfs = _side_by_side(_psf_of_channels, job, list(pieces.values()), math.prod(job.psf_grid().shape))
    total = next(psfs)
    for psf in psfs:
        total = total + psf
    return total


def _psf_of_channels(job: Job, group: list[tuple[NDArray, NDArray, NDArray]]) -> NDArray:
    uvw, weight = (np.concatenate([one[i] for one in group]) for i in (0, 2))
    return taylor_psfs(uvw, group[0][1], weight, job.psf_grid(), job.reference_frequency, job.terms,
                       epsilon=_accuracy(job), threads=job.threads)


def _model(piece: Piece, seen: NDArray, grid: Grid, reference_frequency: float,
           shared: dict[str, Any]) -> NDArray:
    """Visibilities of a model (term, m, l) as the pointing sees it.

    By points or by a transform, what costs less.
    """
    n_points = int(np.count_nonzero((seen != 0).any(axis=0)))
    if is_cheaper(n_points, piece.vis.size, grid.shape):
        return point_visibilities(piece.uvw, piece.antenna1, piece.antenna2, piece.time,
                                  piece.frequency, seen, grid, reference_frequency, **shared)
    return taylor_visibilities(piece.uvw, piece.frequency, seen, grid, reference_frequency,
                               epsilon=_MODEL, **shared)


class Survey:
    """What the first pass finds."""

    def __init__(self) -> None:
        self.extent, self.n, self.n_outside, self.n_not_finite, self.first_time = (0.0, 0.0), 0, 0, 0, np.inf
        self.weights: dict[Key, NDArray] = {}
        self.density: NDArray | None = None

    def add(self, _: int, one: dict[str, Any]) -> None:
        """Add what one chunk gave."""
        self.extent = (max(self.extent[0], one["extent"][0]), max(self.extent[1], one["extent"][1]))
        for name in ("n", "n_outside", "n_not_finite"):
            setattr(self, name, getattr(self, name) + one[name])
        self.first_time = min(self.first_time, one["first_time"])
        for key, weight in one["weights"].items():
            self.weights[key] = self.weights.get(key, 0.0) + weight
        if one["density"] is not None:
            self.density = one["density"] if self.density is None else self.density + one["density"]

    def mean_frequency(self, job: Job) -> float:
        """Mean of the channels by their weights, Hz."""
        total = sum(float(w.sum()) for w in self.weights.values())
        return sum(float((w * job.frequency(key)).sum()) for key, w in self.weights.items()) / total

    def edges(self, job: Job) -> tuple[float, float]:
        """Lower edge of the lowest and upper edge of the highest channel, Hz."""
        edges = [job.edges(key) for key in self.weights]
        return min(low for low, _ in edges), max(high for _, high in edges)


class Sums:
    """Dirty image and psf being summed."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.mosaic = Mosaic(job.grid, job.terms,
                             all(patch.is_even for patch in (job.patches or {}).values()))
        self.psf: NDArray = np.zeros((2 * job.terms - 1, *job.psf_grid().shape))
        self.weight, self.variance = 0.0, {}  # type: float, dict[Key, float]
        #: Middles of the psfs of pointings, unnormalised.
        self.lobes: dict[tuple[float, float], NDArray] = {}
        #: Imaging weights of each channel.
        self.channel_weight: dict[Key, NDArray] = {}

    def add(self, _: int, one: dict[str, Any]) -> None:
        """Add what one chunk gave."""
        self.mosaic.weighted += one["weighted"]
        for key, weight, variance in one["weights"]:
            self.weight += float(weight.sum())
            self.channel_weight[key] = self.channel_weight.get(key, 0.0) + weight
            self.variance[key] = self.variance.get(key, 0.0) + variance
        if one["psf"] is not None:
            self.psf += one["psf"]
        for pointing, lobe in one["lobes"].items():
            self.lobes[pointing] = self.lobes.get(pointing, 0.0) + lobe

    def finish(self) -> None:
        """The weights of the mosaic, and the psf normalised, in place."""
        assert self.job.patches is not None
        for key, weight in self.channel_weight.items():
            self.mosaic.add_weight(self.job.patches[key], float(weight.sum()))
        if not self.weight > 0:
            raise NoDataError("no pointing sees any pixel of the image, or no visibility with a "
                              "weight is left; give another centre or a larger image")
        self.psf /= self.psf[0, self.psf.shape[1] // 2, self.psf.shape[2] // 2]

    def flat(self, weighted: NDArray | None = None) -> NDArray:
        """Image of even noise (term, m, l), Jy/beam, NaN where nothing is seen."""
        image = self.mosaic.flat_noise(weighted)
        np.copyto(image, np.nan, where=~(self.mosaic.weight > 0))
        return image

    def sidelobe(self, allowed: NDArray[np.bool_]) -> float:
        """Highest sidelobe of what a source on an allowed pixel is seen as; 0 without lobes."""
        return max(map(sidelobe_level, self.local_psfs(allowed).values()), default=0.0)

    def local_psfs(self, allowed: NDArray[np.bool_]) -> dict[tuple[float, float], NDArray]:
        """Middles of what sources on allowed pixels are seen as, by pointing; none without lobes.

        Looked at is where each pointing counts most. There the psf is the mean of those of the
        pointings by their share of the weight, Σ A² W: of pointings that were observed one after
        the other it is nearly that of one alone.
        """
        assert self.job.patches is not None
        patches = self.job.patches
        keys: dict[tuple[float, float], list[Key]] = {}
        for key in self.channel_weight:
            keys.setdefault(self.job.pointings[key[:2]], []).append(key)
        weight = {key: float(w.sum()) for key, w in self.channel_weight.items()}
        found = {}
        for pointing in self.lobes:
            part = patches[max(keys[pointing], key=weight.__getitem__)]
            where = part.rows, part.columns
            share = np.where(allowed[where], part.power**2, 0.0) / np.maximum(
                self.mosaic.weight[where], 1e-300)
            row, column = np.unravel_index(share.argmax(), share.shape)
            if not share[row, column] > 0:
                continue
            at = part.rows.start + int(row), part.columns.start + int(column)
            local = np.zeros(self.job.lobe_grid().shape)
            for other, lobe in self.lobes.items():
                counts = sum(patches[key].at(*at) ** 2 * weight[key] for key in keys[other])
                if counts:
                    local += counts * lobe / lobe[lobe.shape[0] // 2, lobe.shape[1] // 2]
            found[pointing] = local / local[local.shape[0] // 2, local.shape[1] // 2]
        return found

    def noise_expected(self) -> float:
        """Noise of that image from the weights, Jy/beam."""
        assert self.job.patches is not None
        row, column = np.unravel_index(self.mosaic.weight.argmax(), self.mosaic.weight.shape)
        total = 0.0
        for key, variance in self.variance.items():
            total += self.job.patches[key].at(int(row), int(column)) ** 2 * variance
        return float(np.sqrt(total) / self.mosaic.weight[row, column])


class Passes:
    """Goes through all chunks, as often as is wanted."""

    def __init__(self, job: Job, client: Any, threads: int,
                 progress: Callable[[int, int], None] | None) -> None:
        self.job, self._client, self.threads, self._progress = job, client, threads, progress
        self.chunks: Sequence[Any] = chunks_of(job.structures, job.selections, job.chunk_size)

    def go(self, function: Callable, job: Job, add: Callable[[int, Any], None],
           threads: int) -> None:
        """Call function(job, chunk) for all chunks and add(number, result) in their order."""
        def consume(index: int, one: Any) -> None:
            add(index, one)
            if self._progress is not None:
                self._progress(index + 1, len(self.chunks))

        map_chunks(function, job, self.chunks, consume, self._client, threads)

    def survey(self, with_density: bool) -> Survey:
        """What must be known first."""
        survey, uv_range = Survey(), self.job.uv_range
        self.go(survey_chunk, replace(self.job, with_density=with_density), survey.add,
                 self.threads)
        if survey.n == 0:
            if survey.n_outside:
                raise NoDataError(f"no unflagged visibility lies within the uv range {uv_range}; "
                                  "`uvstack info` shows the range of the data")
            raise NoDataError("every visibility is flagged, has no weight or is not of the "
                              "correlation asked for: nothing to image")
        return survey

    def begin(self, weighting: Weighting, reference_frequency: float | None = None) -> Survey:
        """What the first pass finds; the job gets imaging weights and a reference frequency, Hz.

        Raises
        ------
        NoDataError
            There is nothing to image.
        ImageError
            The cells are too coarse.
        """
        survey = self.survey(weighting.needs_density)
        check_cell(self.job.grid, survey.extent)
        self.job = replace(
            self.job, imaging=weighting.prepared(self.job.grid, survey.density),
            reference_frequency=reference_frequency or survey.mean_frequency(self.job),
            threads=1 if self._client is not None else self.threads)
        return survey

    def see(self, survey: Survey, beam: PrimaryBeam | None, with_clean: bool, floor: float = 0.0,
            psf_reach: tuple[int, int] | None = None, with_lobes: bool = False) -> None:
        """The job gets what each pointing sees of the image through a beam, or alike, and the size of its psf.

        Where the response of a mosaic is below a floor nothing is imaged, and no model may be
        there; see `uvstack.imaging.mosaic.needed_parts`.
        """
        patches, seen = patches_of(self.job, survey, beam), None
        if beam is not None and floor > 0:
            seen, patches = needed_parts(self.job.grid, patches, {
                key: float(survey.weights[key].sum()) for key in patches}, floor)
        self.job = replace(self.job, patches=patches, seen=seen, with_clean=with_clean,
                           psf_reach=psf_reach, with_lobes=with_lobes)

    def dirty(self) -> Sums:
        """Sums of dirty image and psf."""
        sums = Sums(self.job)
        self.go(image_chunk, self.job, sums.add, 1)
        sums.finish()
        if self.job.terms > 1:
            principal_solution(np.zeros((self.job.terms, 1, 1)), sums.psf)  # a band too narrow is told before the work
        return sums

    def residual_of(self, sums: Sums) -> Callable[[NDArray], NDArray]:
        """The exact residual of a model (term, m, l) found in the image of even noise."""

        def residual(model: NDArray) -> NDArray:
            rest = np.zeros((self.job.terms, *self.job.grid.shape))

            def add(_: int, one: dict[str, Any]) -> None:
                np.add(rest, one["weighted"], out=rest)

            self.go(image_chunk, replace(self.job, sky=sums.mosaic.sky(model)), add, 1)
            return sums.flat(rest)

        return residual


def visibilities_per_chunk(grid: Grid, n_pointings: int) -> int:
    """Visibilities (row × chan × corr) of a chunk with which an image is made fastest."""
    return min(max(PER_CHUNK, 2 * grid.shape[0] * grid.shape[1] * n_pointings), _MOST_PER_CHUNK)


def patches_of(job: Job, survey: Survey, beam: PrimaryBeam | None) -> dict[Key, BeamPatch]:
    """What each pointing and frequency axis sees of the image."""
    seen = [key for key, weight in survey.weights.items() if weight.any()]
    if beam is None:
        if not seen:
            return {}
        whole = beam_patch(job.grid, None, job.pointings[seen[0][:2]], job.frequency(seen[0]))
        assert whole is not None
        return dict.fromkeys(seen, whole)

    def one(key: Key) -> BeamPatch | None:
        return beam_patch(job.grid, beam, job.pointings[key[:2]], job.frequency(key), survey.weights[key])

    with ThreadPoolExecutor(max(job.threads, 1)) as pool:
        patches = {key: patch for key, patch in zip(seen, pool.map(one, seen), strict=True) if patch is not None}
        if 4 * sum(math.prod(patch.grid.shape) for patch in patches.values()) <= _MOST_KEPT:
            patches = dict(zip(patches, pool.map(BeamPatch.keeping, patches.values()), strict=True))
    return patches
