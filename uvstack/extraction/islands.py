"""Islands of pixels above a threshold, and the threshold that keeps a false discovery rate.

An island is a set of pixels above the threshold of analysis that touch each other, one of them
above the threshold of detection. Pixels beside each other in a row are one run; runs of
neighbouring rows are joined by union-find (`island_kernels`). The image is read once, the
background taken off and compared with the noise on the way: no map of the significance is made.
Background and noise may be nodes, of which a few rows at a time are made maps. The label image
takes as much memory as an image of float32, and the rest as much as there are islands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.checks import BELOW_ONE, finite_number, one_of, whole_number
from uvstack.errors import ImageError
from uvstack.extraction import island_kernels as kernels
from uvstack.extraction.noise_map import NodeMap, check_map

#: What a background or a noise may be: a map (m, l), nodes of one, or a number.
Map = NDArray | NodeMap | float
#: Exact zeros in groups of at least so many are blank.
LEAST_ZEROS = 16
#: Pixels of an image that are worked on at a time where maps are made of nodes.
_BLOCK_PIXELS = 1 << 20


@dataclass(frozen=True)
class Islands:
    """n islands of an image; their pixels are pixel[start[k]:start[k + 1]].

    Attributes
    ----------
    label : ndarray (m, l) int32
        k + 1 in island k, 0 outside.
    start : ndarray (n + 1,) int64
    pixel : ndarray (n_pixels,) int64
        Flat indices, row · l + column, growing within an island.
    peak : ndarray (n,) int64
        Flat index of the brightest pixel above the background, the faintest of negative islands.
    box : ndarray (n, 4) int32
        First row, row after the last, first column, column after the last.
    touches_edge, touches_blank : ndarray (n,) bool
        A pixel at the edge of the image; a blank pixel beside it or at its corner.
    sign : ndarray (n,) int8
        1, or −1 of negative islands.
    level : ndarray (n,) float64
        How far above the background the (sub-)island was cut, unit of the image, positive: analysis
        times the noise at the peak, or the sub-threshold at which it was split off.
    parent : ndarray (n,) int64
        The island before deblending.
    connectivity : int
        4 or 8.
    """

    label: NDArray[np.int32]
    start: NDArray[np.int64]
    pixel: NDArray[np.int64]
    peak: NDArray[np.int64]
    box: NDArray[np.int32]
    touches_edge: NDArray[np.bool_]
    touches_blank: NDArray[np.bool_]
    sign: NDArray[np.int8]
    level: NDArray[np.float64]
    parent: NDArray[np.int64]
    connectivity: int

    def __len__(self) -> int:
        return self.sign.size

    @property
    def n_pixels(self) -> NDArray[np.int64]:
        """Pixels of each island, (n,)."""
        return np.diff(self.start)


def find_islands(
    image: NDArray,
    background: Map | None,
    rms: Map,
    detection: float,
    analysis: float,
    *,
    connectivity: int = 8,
    min_pixels: int = 1,
    negative: bool = False,
    between: bool = False,
) -> Islands:
    """Islands of pixels above `analysis` times the noise with one above `detection` times it.

    Parameters
    ----------
    image : ndarray (m, l)
        Blank where not finite.
    background, rms : ndarray (m, l), NodeMap or number
        Unit of the image; pixels are blank where they are not finite or the noise is not positive.
        No background is 0.
    detection, analysis : float
        Standard deviations, positive; pixels are above, not at them.
    connectivity : int
        8 where pixels at corners touch, else 4.
    min_pixels : int
        Islands of fewer are left out.
    negative : bool
        Islands below the background too, of sign −1; the two signs never join.
    between : bool
        Whether what must be above `detection` is the maximum of a parabola through a pixel and its
        eight neighbours, in place of the pixel: a source between pixels is brighter than they are.

    Returns
    -------
    Islands
        By row and column of their first pixels.

    Raises
    ------
    ImageError
        If maps do not fit the image.
    SelectionError
        If thresholds or other numbers cannot be.
    """
    image = _native("image", image)
    finite_number("detection", detection, 0, above=True)
    finite_number("analysis", analysis, 0, detection, above=True)
    one_of("connectivity", connectivity, (8, 4))
    whole_number("min_pixels", min_pixels, 1)
    maps = _checked(image, background, rms)
    runs, value = _runs(image, maps, detection, analysis, negative, between)
    island, count = _joined(runs, connectivity)
    n_pixels, seen = np.empty(count, np.int64), np.empty(count, np.bool_)
    brightest, peak = np.empty(count), np.empty(count, np.int64)
    kernels.measure_runs(runs, value, island, image.shape[1], n_pixels, seen, brightest, peak)
    keep = seen & (n_pixels >= min_pixels)
    n = int(keep.sum())
    number = np.where(keep, np.cumsum(keep) - 1, -1)
    start = np.concatenate(([0], np.cumsum(n_pixels[keep])))
    label, pixel = np.zeros(image.shape, np.int32), np.empty(start[-1], np.int64)
    box, sign = np.empty((n, 4), np.int32), np.empty(n, np.int8)
    kernels.fill_islands(
        runs, island, number, start, np.empty(n, np.int64), label, pixel, box, sign
    )
    edge, blank = _touching(image, maps, start, pixel)
    level = analysis * values_at(maps[1], peak[keep], image.shape[1])
    return Islands(
        label, start, pixel, peak[keep], box, edge, blank, sign, level, np.arange(n), connectivity
    )


def fdr_threshold(
    image: NDArray, background: Map | None, rms: Map, alpha: float, beam_area: float
) -> float:
    """The threshold above which at most a part `alpha` of pixels is expected to be noise, σ.

    Benjamini & Hochberg (1995) as in Miller et al. (2001), appendix B: of the N pixels that are not
    blank, in order of the probability p that noise alone is as bright (one-sided), the last with
    p_j ≤ j α / (c N), where c = Σ 1/i over the pixels of one beam. Where there is none, the
    threshold is that of j = 1, which no pixel passes.

    Parameters
    ----------
    image, background, rms
        As in `find_islands`.
    alpha : float
        Between 0 and 1.
    beam_area : float
        Pixels that one beam covers.
    """
    from scipy.special import ndtr, ndtri

    image = _native("image", image)
    finite_number("alpha", alpha, 0, BELOW_ONE, above=True)
    finite_number("beam_area", beam_area, 0, above=True, unit="pixels")
    maps = _checked(image, background, rms)
    correlated = float(np.sum(1.0 / np.arange(1, max(round(beam_area), 1) + 1)))
    # No pixel can pass whose p is above α/c, that of j = N.
    faintest = -float(ndtri(alpha / correlated))
    n, parts = 0, []
    height = max(1, _BLOCK_PIXELS // image.shape[1])
    for first in range(0, image.shape[0], height):
        stop = min(first + height, image.shape[0])
        back, noise = (rows_of(one, first, stop) for one in maps)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            above = (image[first:stop] - back) / np.where(noise > 0, noise, np.nan)
        n += int(np.isfinite(above).sum())
        parts.append(above[(above >= faintest - 1e-3) & (above < np.inf)])
    if n == 0:
        raise ImageError("the image is all blank; wanted are finite pixels with a positive noise")
    p = ndtr(-np.sort(np.concatenate(parts).astype(float))[::-1])
    passed = np.flatnonzero(p <= np.arange(1, p.size + 1) * (alpha / (correlated * n)))
    last = passed[-1] + 1 if passed.size else 1
    return -float(ndtri(last * alpha / (correlated * n)))


def blank_pixels(image: NDArray) -> NDArray[np.bool_]:
    """Pixels that say nothing, (m, l): not finite, or exact zeros of which 16 or more touch.

    Noise is hardly ever exactly zero, and never in such groups (4-connected); the rims and corners
    that programs fill with zeros are.
    """
    image = _native("image", image)
    blank = ~np.isfinite(image)
    if np.count_nonzero(image == 0) < LEAST_ZEROS:
        return blank
    zero = (image == 0).view(np.uint8)
    runs, _ = _runs(zero, (0.0, 1.0), 0.5, 0.5, False)
    island, count = _joined(runs, 4)
    size = np.bincount(island, runs[:, kernels.STOP] - runs[:, kernels.START], count)
    kernels.fill_runs(runs, island, size >= LEAST_ZEROS, blank)
    return blank


def values_at(one: Map, pixel: NDArray[np.int64], n_columns: int) -> NDArray[np.float64]:
    """Values of a background or noise at flat indices."""
    if isinstance(one, NodeMap):
        return one.at(pixel % n_columns, pixel // n_columns)
    if isinstance(one, np.ndarray):
        return one.ravel()[pixel].astype(float)
    return np.full(pixel.shape, float(one))


def peaks_at(
    image: NDArray, pixel: NDArray[np.int64], bright: NDArray[np.float64], sign: NDArray[np.int8]
) -> NDArray[np.float64]:
    """Maxima between pixels about pixels at flat indices, in the sense of `find_islands`, positive where `bright` is."""
    out = np.empty(pixel.shape)
    kernels.peaks_between(_native("image", image), pixel, bright, sign, out)
    return out


def _native(name: str, image: NDArray) -> NDArray:
    """The map as contiguous float32 or float64 of this machine; a copy only if it is not."""
    check_map(name, image)
    kind = np.float32 if image.dtype.kind == "f" and image.dtype.itemsize <= 4 else np.float64
    return np.ascontiguousarray(image, dtype=kind)


def _checked(image: NDArray, background: Map | None, rms: Map) -> tuple[Map, Map]:
    """Background and noise that fit the image."""
    checked: list[Map] = []
    for name, one in (("background", 0.0 if background is None else background), ("rms", rms)):
        if isinstance(one, np.ndarray) and one.ndim:
            one = _native(name, one)
        elif not isinstance(one, NodeMap):
            is_rms = name == "rms"
            one = finite_number(name, one, 0.0 if is_rms else -np.inf, above=is_rms)
        if not isinstance(one, float) and one.shape != image.shape:
            raise ImageError(
                f"{name} has shape {one.shape} and the image {image.shape}; wanted are the same"
            )
        checked.append(one)
    return checked[0], checked[1]


def rows_of(one: Map, first: int, stop: int) -> NDArray:
    """Rows of a map, or the number as (1, 1)."""
    if isinstance(one, NodeMap):
        return one.rows(first, stop)
    return one[first:stop] if isinstance(one, np.ndarray) else np.full((1, 1), one)


def _flat(maps: tuple[Map, Map], first: int, stop: int) -> tuple[NDArray, NDArray, tuple[int, int]]:
    """Rows of background and noise, flat, and the step from pixel to pixel, 0 of a number."""
    back, noise = (rows_of(one, first, stop).ravel() for one in maps)
    return back, noise, (int(not isinstance(maps[0], float)), int(not isinstance(maps[1], float)))


def _runs(
    image: NDArray, maps: tuple[Map, Map], detection: float, analysis: float, negative: bool,
    between: bool = False,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Runs of pixels above the threshold, (run, 6), and their largest brightness."""
    n_rows, n_columns = image.shape
    height = (
        max(1, _BLOCK_PIXELS // n_columns)
        if any(isinstance(one, NodeMap) for one in maps)
        else n_rows
    )
    room = 1024 + 2 * n_columns + image.size // 64
    runs, value, n = np.empty((room, 6), np.int32), np.empty(room), 0
    for first in range(0, n_rows, height):
        stop = min(first + height, n_rows)
        back, noise, steps = _flat(maps, first, stop)
        row = 0
        while True:
            row, n = kernels.find_runs(
                image,
                back,
                noise,
                steps,
                (first, stop),
                row,
                float(detection),
                float(analysis),
                negative,
                between,
                runs,
                value,
                n,
            )
            if row == stop - first:
                break
            runs, value = (np.concatenate((one, np.empty_like(one))) for one in (runs, value))
    return runs[:n], value[:n]


def _joined(runs: NDArray[np.int32], connectivity: int) -> tuple[NDArray[np.int64], int]:
    """The island of each run, and how many there are."""
    island = np.empty(runs.shape[0], np.int64)
    return island, kernels.join_runs(runs, int(connectivity == 8), island)


def _touching(
    image: NDArray, maps: tuple[Map, Map], start: NDArray[np.int64], pixel: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether islands touch the edge, and blank pixels; nodes are blank nowhere."""
    first, second = (1.0 if isinstance(one, NodeMap) else one for one in maps)
    back, noise, steps = _flat((first, second), 0, image.shape[0])
    bits = np.empty(start.size - 1, np.uint8)
    kernels.mark_islands(image, back, noise, steps, start, pixel, bits)
    return (bits & kernels.AT_EDGE) > 0, (bits & kernels.AT_BLANK) > 0


def islands_of(
    islands: Islands,
    start: NDArray[np.int64],
    pixel: NDArray[np.int64],
    brightness: NDArray[np.float64],
    parent: NDArray[np.int64],
    level: NDArray[np.float64],
) -> Islands:
    """Islands of parts of islands, whose lists of pixels are given with the brightness of each; they take the label image over."""
    label, shape, n = islands.label, islands.label.shape, parent.size
    label.ravel()[islands.pixel] = 0
    owner = np.repeat(np.arange(n), np.diff(start))
    order = np.lexsort((pixel, owner))
    pixel, brightness = pixel[order], brightness[order]
    label.ravel()[pixel] = owner + 1
    box, peak = np.empty((n, 4), np.int32), np.empty(n, np.int64)
    if n:
        rows, columns = np.divmod(pixel, shape[1])
        for k, one in enumerate((rows, columns)):
            box[:, 2 * k] = np.minimum.reduceat(one, start[:-1])
            box[:, 2 * k + 1] = np.maximum.reduceat(one, start[:-1]) + 1
        last = np.lexsort((-pixel, brightness, owner))[start[1:] - 1]
        peak = pixel[last]
    return Islands(
        label,
        start,
        pixel,
        peak,
        box,
        islands.touches_edge[parent],
        islands.touches_blank[parent],
        islands.sign[parent],
        level,
        parent,
        islands.connectivity,
    )


def map_of(one: Map, shape: tuple[int, ...], step: int = 1) -> NDArray[np.float32]:
    """A background or noise as a map (m, l) float32, of every so manieth row and column."""
    if isinstance(one, NodeMap) and step > 1:
        y, x = np.mgrid[: shape[0] : step, : shape[1] : step]
        return one.at(x, y).astype(np.float32)
    if isinstance(one, NodeMap):
        return one.rows(0, shape[0])
    return np.broadcast_to(np.asarray(one, np.float32), shape)[::step, ::step]
