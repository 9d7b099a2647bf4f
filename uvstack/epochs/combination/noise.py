"""Local noise of an epoch: what the weights of its pixels are made of.

The memo takes the standard deviation in a running square of 10 pixels about each pixel (VLASS memo
26, section 4). Such a square holds the source itself, and few independent pixels: it weighs the
epochs wrongly where it matters, and pulls the mean to the fainter epoch (constant sources −3 %,
variable ones −22 %). By default sources are masked, in all epochs what stands out in any, by more
than 4 σ and 6 pixels around, and squares are of 50 pixels. They overlap by half, and between their
centres the map is bilinear; where too little is left in one it takes its nearest neighbour's value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uvstack.epochs.combination import kernels
from uvstack.errors import ImageError
from uvstack.extraction.noise_map import NodeMap, measure_noise
from uvstack.pixels.noise import MAD_TO_SIGMA, robust_noise
from uvstack.pixels.resampling_kernels import mark_dead

#: How the noise is measured.
METHODS = ("masked", "clipped", "mad", "moments")
#: What stands out by so many σ is a source, and so many pixels around it are masked.
_LIMIT, _GROWN = 4.0, 6
#: A square counts with so many beams of good pixels: its rms is then good to 16 %.
_LEAST_BEAMS = 20.0
#: Samples of a box, far enough apart to be independent, from which a first noise is taken.
_SAMPLES = 170
Noise = NodeMap | NDArray[np.float32]


def noise_maps(planes: Sequence[NDArray[np.float32]], box: int, beam_area: float,
               method: str = "masked") -> list[Noise | None]:
    """Local noise of epochs on one grid; None of one that is all blank.

    Parameters
    ----------
    planes : sequence of ndarray (m, l) float32
        NaN where blank.
    box : int
        Side of the squares, pixels.
    beam_area : float
        Pixels that one beam covers.
    method : {"masked", "clipped", "mad", "moments"}
        Standard deviation without sources; clipped around the median (Spreeuw 2010); 1.4826 times
        the median absolute deviation; standard deviation of all (VLASS memo 26).

    Raises
    ------
    ImageError
        An epoch has pixels and no noise.
    """
    seen = [bool(np.isfinite(plane).any()) for plane in planes]
    if method == "moments":
        return [_running(plane, box) if some else None
                for plane, some in zip(planes, seen, strict=True)]
    if method == "clipped":
        return [measure_noise(plane, box, beam_area).rms_nodes if some else None
                for plane, some in zip(planes, seen, strict=True)]
    # Tiles of half a box, of which two by two make one; of medians there are no sums.
    rows, columns = planes[0].shape
    edges = _edges(rows, box), _edges(columns, box)
    whole = _edges(rows, 2 * box), _edges(columns, 2 * box)
    first = [_first_noise(plane, whole, all_samples=method == "mad") if some else None
             for plane, some in zip(planes, seen, strict=True)]
    if method == "mad":
        return [None if one is None else _nodes_of(
            np.where(one[2] >= _least(box, plane.size, beam_area), one[1], np.nan), whole,
            plane.shape) for plane, one in zip(planes, first, strict=True)]
    masked = np.zeros(planes[0].shape, np.bool_)
    for plane, one in zip(planes, first, strict=True):
        if one is not None:
            centre, sigma = (np.nan_to_num(v, nan=0.0) for v in one[:2])
            limit = np.where(np.isfinite(one[1]), _LIMIT * sigma, np.inf)
            kernels.mark_sources(plane, *whole, centre, limit, _GROWN, masked)
    return [None if one is None else
            _without_sources(plane, masked, box, float(np.nanmedian(one[0])), edges, beam_area)
            for plane, one in zip(planes, first, strict=True)]


def noise_without_sources(image: NDArray[np.float32], step: int = 1) -> float:
    """Noise of a whole image by the median absolute deviation, what stands out by 4 σ masked; NaN where all is blank.

    Parameters
    ----------
    image : ndarray (m, l) float32
    step : int
        Every how manieth pixel of the sky it has: as much less is masked around a source.
    """
    good = np.empty(image.shape, np.bool_)
    mark_dead(image, good)
    image = np.where(good, image, np.float32(np.nan))
    sigma = robust_noise(image)
    if not np.isfinite(sigma):
        return float("nan")
    middle = float(np.nanmedian(image[::2, ::2] if good[::2, ::2].any() else image))
    masked = np.zeros(image.shape, np.bool_)
    edges = (np.array([0, n]) for n in image.shape)
    kernels.mark_sources(image, *edges, np.full((1, 1), middle), np.full((1, 1), _LIMIT * sigma),
                         max(1, round(_GROWN / step)), masked)
    return robust_noise(image, exclude=masked)


def rows_of(noise: Noise, first: int, stop: int) -> NDArray[np.float32]:
    """Rows of a map of the noise, (stop − first, l)."""
    return noise.rows(first, stop) if isinstance(noise, NodeMap) else noise[first:stop]


def _running(plane: NDArray[np.float32], box: int) -> NDArray[np.float32]:
    out = np.empty(plane.shape, np.float32)
    kernels.running_rms(plane, box, out)
    return out


def _edges(size: int, box: int) -> NDArray[np.int64]:
    """Where tiles of half of `box` begin, and the end of the last; two at least."""
    n = max(2, round(2 * size / box))
    return np.linspace(0, size, n + 1).round().astype(np.int64)


def _first_noise(plane: NDArray[np.float32], edges: tuple[NDArray, NDArray], *,
                 all_samples: bool) -> tuple[NDArray[np.float64], ...]:
    """Median, noise by its absolute deviation (NaN where blank) and number of each tile's pixels.

    Of a sample of them, or of all.
    """
    y_edge, x_edge = edges
    height, width = int(np.diff(y_edge).max()), int(np.diff(x_edge).max())
    step = 1 if all_samples else max(1, int(np.sqrt(height * width / _SAMPLES)))
    samples = np.empty((x_edge.size - 1, -(-height // step) * -(-width // step)), np.float32)
    middle = np.empty((y_edge.size - 1, x_edge.size - 1))
    sigma, number = np.empty_like(middle), np.empty_like(middle)
    for j in range(middle.shape[0]):
        kernels.sample_boxes(plane, y_edge, x_edge, j, step, samples)
        number[j] = np.isfinite(samples).sum(axis=1)
        middle[j] = _medians(samples)
        samples -= middle[j].astype(np.float32)[:, None]
        np.abs(samples, out=samples)
        sigma[j] = MAD_TO_SIGMA * _medians(samples)
    return middle, sigma, number


def _least(box: int, size: int, beam_area: float) -> float:
    """Pixels that a square must have to count; of few beams, a quarter of its own."""
    return min(_LEAST_BEAMS * max(beam_area, 1.0), 0.25 * min(box**2, size))


def _medians(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Median of the finite values of each row, which it sorts; NaN where there is none."""
    rows.sort(axis=1)
    n = np.count_nonzero(~np.isnan(rows), axis=1)
    index, every = np.maximum(n, 1), np.arange(len(rows))
    found = 0.5 * (rows[every, (index - 1) // 2].astype(float) + rows[every, index // 2])
    return np.where(n > 0, found, np.nan)


def _without_sources(plane: NDArray[np.float32], masked: NDArray[np.bool_], box: int,
                     middle: float, edges: tuple[NDArray, NDArray],
                     beam_area: float) -> NodeMap:
    """Standard deviation of what is not masked, in squares of two by two tiles; sums are about `middle`."""
    tiles = np.empty((3, edges[0].size - 1, edges[1].size - 1))
    kernels.tile_moments(plane, masked, *edges, middle, tiles)
    n, total, square = (t[1:, 1:] + t[1:, :-1] + t[:-1, 1:] + t[:-1, :-1] for t in tiles)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = square / n - (total / n) ** 2
        # The mean is of the pixels too: noise of a Gaussian beam has Σρ of two beam areas.
        variance *= n / np.maximum(n - 2.0 * beam_area, 0.5 * n)
    least = _least(box, plane.size, beam_area)
    enough = (n >= least) & (variance > 0)
    sigma = np.where(enough, np.sqrt(np.maximum(variance, 0.0)), np.nan)
    if not enough.any() and tiles[0].sum() >= 0.25 * least:
        # Of an epoch that is hardly on the grid no square has enough, but all together.
        sigma[:] = robust_noise(plane, exclude=masked) or np.nan
    y, x = (edge[1:-1] - 0.5 for edge in edges)
    return NodeMap(_filled(sigma), y, x, plane.shape)


def _nodes_of(sigma: NDArray[np.float64], edges: tuple[NDArray, NDArray],
              shape: tuple[int, int]) -> NodeMap:
    y, x = (0.5 * (edge[:-1] + edge[1:] - 1) for edge in edges)
    return NodeMap(_filled(np.where(sigma > 0, sigma, np.nan)), y, x, shape)


def _filled(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nodes without a value have that of the nearest with one.

    Raises
    ------
    ImageError
        None has one.
    """
    from scipy.ndimage import distance_transform_edt

    missing = ~np.isfinite(nodes)
    if missing.all():
        raise ImageError("an epoch has no noise that could be measured: all its pixels are alike, "
                         "blank or part of sources; give larger boxes (rms_box, --rms-box)")
    if not missing.any():
        return nodes
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return nodes[tuple(nearest)]
