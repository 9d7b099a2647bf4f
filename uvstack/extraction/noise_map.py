"""Background and noise of an image by boxes, as nodes with bilinear maps between them.

After Spreeuw (2010), section 2.7.3: the pixels of each box are clipped around their median at n
standard deviations until none is left to clip. n is the limit that half an independent pixel of
noise would pass (equation 2.22), from the number of pixels that remain over those of one beam; the
standard deviation is that of the untruncated normal distribution (equation 2.25). The background is
2.5 median − 1.5 mean of what remains, or the median where they differ by more than 0.3 σ (equations
2.18, 2.19). Nodes go through a median filter. Each box is sorted once: what remains is a slice, and
its median and sums are known at once. The limits are those of clipping: where sources cover a large
part of a box, its noise is too high; and where less than about 20 beams are in a box, n is below
2.2 and the noise of one box is uncertain by a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.checks import finite_number, whole_number
from uvstack.errors import ImageError, SelectionError
from uvstack.extraction import noise_kernels as kernels

#: A box counts where so many beams of its pixels are good: below, n of equation 2.22 is under 1.6.
LEAST_BEAMS = 5.0


@dataclass(frozen=True)
class NodeMap:
    """A map given by its nodes; bilinear between them, beyond them the value of the outermost.

    Attributes
    ----------
    nodes : ndarray (n_y, n_x) float64
    y, x : ndarray (n_y,), (n_x,)
        Where they are, pixels from 0.
    shape : tuple of int
        (m, l) of the image.
    """

    nodes: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    shape: tuple[int, int]

    def rows(self, first: int, stop: int, image: NDArray | None = None) -> NDArray[np.float32]:
        """Rows from `first` to `stop`, (stop − first, l); NaN where the whole `image` is blank."""
        out = np.empty((stop - first, self.shape[1]), np.float32)
        masked = image is not None
        mask = np.empty((0, 0), np.float32) if image is None else image[first:stop]
        kernels.interpolate_rows(self.nodes, self.y, self.x, first, mask, masked, out)
        return out

    def at(self, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """Values at places in pixels, arrays of one shape."""
        j, v = _between(self.y, np.asarray(y, float))
        i, u = _between(self.x, np.asarray(x, float))
        below, right = np.minimum(j + 1, self.y.size - 1), np.minimum(i + 1, self.x.size - 1)
        above_row = (1 - u) * self.nodes[j, i] + u * self.nodes[j, right]
        below_row = (1 - u) * self.nodes[below, i] + u * self.nodes[below, right]
        return (1 - v) * above_row + v * below_row


def _between(nodes: NDArray, place: NDArray) -> tuple[NDArray, NDArray]:
    """The node at or before each place and the part of the way to the next, 0 to 1."""
    index = np.clip(np.searchsorted(nodes, place, side="right") - 1, 0, max(nodes.size - 2, 0))
    if nodes.size == 1:
        return index, np.where(np.isnan(place), np.nan, 0.0)
    return index, np.clip((place - nodes[index]) / (nodes[index + 1] - nodes[index]), 0.0, 1.0)


@dataclass(frozen=True)
class NoiseNodes:
    """Background and noise at the centres of boxes.

    Attributes
    ----------
    background, rms : ndarray (n_y, n_x) float64
        After the median filter, unit of the image; rms is positive.
    y, x : ndarray (n_y,), (n_x,)
        Centres of the boxes, pixels from 0.
    n_good : ndarray (n_y, n_x) int64
        Pixels of each box that are not blank.
    measured : ndarray (n_y, n_x) bool
        False where a box had too few of them, or all alike, and has its neighbours' value.
    shape : tuple of int
        (m, l) of the image.
    """

    background: NDArray[np.float64]
    rms: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    n_good: NDArray[np.int64]
    measured: NDArray[np.bool_]
    shape: tuple[int, int]

    @property
    def background_nodes(self) -> NodeMap:
        """The background as nodes, which `find_islands` takes in place of a map."""
        return NodeMap(self.background, self.y, self.x, self.shape)

    @property
    def rms_nodes(self) -> NodeMap:
        """The noise as nodes, which `find_islands` takes in place of a map."""
        return NodeMap(self.rms, self.y, self.x, self.shape)

    def background_map(self, image: NDArray | None = None) -> NDArray[np.float32]:
        """The background of each pixel, (m, l); NaN where `image`, if given, is blank."""
        return self.background_nodes.rows(0, self.shape[0], image)

    def rms_map(self, image: NDArray | None = None) -> NDArray[np.float32]:
        """The noise of each pixel, (m, l), never negative; NaN where `image` is blank."""
        return self.rms_nodes.rows(0, self.shape[0], image)

    def at(self, x: NDArray, y: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Background and noise at places in pixels."""
        return self.background_nodes.at(x, y), self.rms_nodes.at(x, y)


def measure_noise(
    image: NDArray,
    box: int | tuple[int, int],
    beam_area: float,
    *,
    filter_size: int = 3,
    least_share: float = 0.25,
) -> NoiseNodes:
    """Background and noise of the boxes of an image (Spreeuw 2010, equations 2.18 to 2.25).

    Parameters
    ----------
    image : ndarray (m, l)
        Blank where not finite; zeros that stand for blank are found by `blank_pixels`.
    box : int or (int, int)
        Side of a box, or (rows, columns), pixels. As many boxes of nearly this size as fit best;
        an image that is smaller is one box.
    beam_area : float
        Pixels that one beam covers; 1 for independent pixels.
    filter_size : int
        Side of the median filter of the nodes, an odd number of nodes; 1 for none.
    least_share : float
        A box counts where at least this share of its pixels and `LEAST_BEAMS` beams are good;
        otherwise it takes the median of its nearest neighbours.

    Raises
    ------
    ImageError
        If the image is no map, all blank or constant, or no box has enough good pixels.
    SelectionError
        If a number cannot be.
    """
    check_map("image", image)
    sides = (box, box) if np.isscalar(box) else tuple(box)  # type: ignore[arg-type]
    if len(sides) != 2:
        raise SelectionError(f"box={box!r}; wanted is one number of pixels, or (rows, columns)")
    rows, columns = (whole_number("box", side, 2) for side in sides)
    filter_size = whole_number("filter_size", filter_size, 1)
    if filter_size % 2 == 0:
        raise SelectionError(f"filter_size={filter_size}; wanted is an odd number of nodes, such "
                             "as 3")
    finite_number("beam_area", beam_area, 0, above=True, unit="pixels")
    finite_number("least_share", least_share, 0, 1)
    y_edge, x_edge = _edges(image.shape[0], rows), _edges(image.shape[1], columns)
    # A beam narrower than a pixel does not make more pixels independent than there are.
    background, rms, n_good = _clip(image, y_edge, x_edge, max(beam_area, 1.0))
    pixels = np.outer(np.diff(y_edge), np.diff(x_edge))
    enough = (n_good >= least_share * pixels) & (n_good >= LEAST_BEAMS * max(beam_area, 1.0))
    measured = enough & (rms > 0)
    if not measured.any():
        raise ImageError(_nothing(image, n_good, enough, pixels, max(beam_area, 1.0), least_share))
    centres = [(0.5 * (edge[:-1] + edge[1:] - 1)).astype(np.float64) for edge in (y_edge, x_edge)]
    filtered = [
        _filter(np.where(measured, nodes, np.nan), filter_size) for nodes in (background, rms)
    ]
    return NoiseNodes(
        filtered[0], filtered[1], centres[0], centres[1], n_good, measured, image.shape
    )


def check_map(name: str, image: NDArray) -> None:
    """An array (m, l) of real numbers with pixels.

    Raises
    ------
    ImageError
        If it is not.
    """
    if (
        not isinstance(image, np.ndarray)
        or image.ndim != 2
        or image.size == 0
        or image.dtype.kind not in "fiu"
    ):
        shape = (
            f"{image.dtype} of shape {image.shape}"
            if isinstance(image, np.ndarray)
            else type(image).__name__
        )
        raise ImageError(
            f"{name} is {shape}; wanted is an array (m, l) of real numbers with pixels: one plane"
        )


def _edges(size: int, side: int) -> NDArray[np.int64]:
    """Where boxes begin, and the end of the last: nearly equal, as near to `side` as can be."""
    n = max(1, round(size / side))
    return np.linspace(0, size, n + 1).round().astype(np.int64)


def _clip(
    image: NDArray, y_edge: NDArray, x_edge: NDArray, beam_area: float
) -> tuple[NDArray, NDArray, NDArray]:
    """Background, noise and number of good pixels of each box; a row of boxes at a time."""
    shape = y_edge.size - 1, x_edge.size - 1
    background, rms, n_good = np.empty(shape), np.empty(shape), np.empty(shape, np.int64)
    most = int(np.diff(y_edge).max() * np.diff(x_edge).max())
    kind = np.float32 if image.dtype in (np.float16, np.float32) else np.float64
    values = np.empty((shape[1], most), kind)
    total, square = np.zeros(most + 1), np.zeros(most + 1)
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    for j in range(shape[0]):
        kernels.gather_boxes(image, y_edge[j], y_edge[j + 1], x_edge, values)
        values.sort(axis=1)
        kernels.clip_boxes(values, beam_area, total, square, background[j], rms[j], n_good[j])
    return background, rms, n_good


def _nothing(
    image: NDArray,
    n_good: NDArray,
    enough: NDArray,
    pixels: NDArray,
    beam_area: float,
    least_share: float,
) -> str:
    """Why no box could be measured."""
    if not n_good.any():
        return f"the image of shape {image.shape} is all blank; wanted are finite pixels"
    if enough.any():
        return "the noise of the image is 0: most pixels are alike; wanted is noise, or its number"
    # Of one box that is the whole image.
    larger = n_good.sum() >= max(least_share * image.size, LEAST_BEAMS * beam_area)
    smaller = not larger and n_good.max() >= LEAST_BEAMS * beam_area
    remedy = ("take larger boxes (--rms-box), or " if larger else "") + (
        "give noise and background themselves: rms=, background= (--rms, --background)"
    ) + ("" if not smaller else "; or smaller boxes (--rms-box), where the good ones lie together")
    return (
        f"no box has enough good pixels: the best has {n_good.max()} of {pixels.max()}; wanted are "
        f"{least_share:.0%} of a box and {LEAST_BEAMS * beam_area:.0f} ({LEAST_BEAMS:g} beams); "
        + remedy
    )


def _filter(nodes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Median of the finite nodes in each window; where there are none, of the nearest that are."""
    nodes = np.where(np.isnan(nodes), np.nan, _window_medians(nodes, size))
    while np.isnan(nodes).any():
        nodes = np.where(np.isnan(nodes), _window_medians(nodes, 3), nodes)
    return nodes


def _window_medians(nodes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Median of the finite values in the window around each node; NaN where none is."""
    padded = np.pad(nodes, size // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size)).reshape(
        *nodes.shape, size * size
    )
    out = np.full(nodes.shape, np.nan)
    some = np.isfinite(windows).any(axis=-1)
    out[some] = np.nanmedian(windows[some], axis=-1)
    return out
