"""Islands: pixels above a threshold that hang together, and the threshold that keeps false ones few.

An island is made of pixels above `analysis` times their noise and has one above `detection` times
it. Labels come from one pass over the image with union-find. Where islands are sought below the
background too (Stokes Q, U and V), they come after the positive ones.

The threshold of a false discovery rate α (Benjamini & Hochberg 1995; Miller et al. 2001, appendix
B) is that of the largest j for which the j-th smallest of N p-values is at most α j/(c N); c is
Σ 1/i over the pixels of a beam, which are correlated. A p-value is one-sided: the part of pure
noise that is as bright. So on average at most a part α of the source *pixels* is noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.extraction import island_kernels as kernels


@dataclass(frozen=True)
class Islands:
    """n islands of an image.

    Attributes
    ----------
    label : ndarray (m, l) int32
        k + 1 in island k, 0 outside.
    start, pixel : ndarray (n + 1,), (start[n],) int64
        Flat indices of island k are pixel[start[k]:start[k + 1]].
    sign : ndarray (n,)
        −1 for an island below the background.
    level : ndarray (n,)
        What its pixels were above, in units of the noise.
    parent : ndarray (n,) int
        Number of the island that it was part of before it was split, from 0.
    brightest : ndarray (n,) int64
        Flat index of the pixel furthest from 0.
    maxima : ndarray (n,) int
        Local maxima.
    edge, blank : ndarray (n,) bool
        Whether it reaches the edge, and pixels that are blank.
    """

    label: NDArray[np.int32]
    start: NDArray[np.int64]
    pixel: NDArray[np.int64]
    sign: NDArray[np.float64]
    level: NDArray[np.float64]
    parent: NDArray[np.int64]
    brightest: NDArray[np.int64]
    maxima: NDArray[np.int64]
    edge: NDArray[np.bool_]
    blank: NDArray[np.bool_]

    def __len__(self) -> int:
        return self.sign.size

    @property
    def n_pixels(self) -> NDArray[np.int64]:
        """Number of pixels of each, (n,)."""
        return np.diff(self.start)


def find_islands(
    image: NDArray, rms: NDArray, detection: float, analysis: float, *, connectivity: int = 8,
    min_pixels: int = 1, negative: bool = False,
) -> Islands:
    """Islands of an image.

    Parameters
    ----------
    image : ndarray (m, l)
        Without its background; NaN is blank.
    rms : ndarray (m, l)
        Its noise, positive; where it is not, nothing is found.
    detection, analysis : float
        Thresholds, times the noise, of the brightest and of all pixels.
    connectivity : {8, 4}
        Whether pixels hang together at their corners.
    min_pixels : int
        Smaller islands are dropped.
    negative : bool
        Find islands below the background too.

    Raises
    ------
    ImageError
        Shapes differ.
    """
    if image.ndim != 2 or image.shape != rms.shape:
        raise ImageError(f"an image of shape {image.shape} with a noise of {rms.shape}; wanted are "
                         "two of the same shape (m, l)")
    label = np.zeros(image.shape, np.int32)
    lists, signs, last = [], [], 0
    for sign in (1.0, -1.0) if negative else (1.0,):
        pixel = np.empty(kernels.count_above(image, rms, analysis, sign), np.int64)
        parent = np.zeros(pixel.size + 1, np.int64)
        n = kernels.find(image, rms, analysis, sign, connectivity == 8, label, pixel, parent)
        new, count = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
        before, last = last, int(kernels.number(image, rms, detection, sign, min_pixels, last + 1,
                                                label, pixel, parent[:n + 1], new, count))
        lists.append(pixel)
        signs.append(np.full(last - before, sign))
    sign = np.concatenate(signs)
    return described(image, label, np.concatenate(lists), sign, np.full(last, float(analysis)),
                     np.arange(last))


def described(image: NDArray, label: NDArray[np.int32], pixel: NDArray, sign: NDArray,
              level: NDArray, parent: NDArray) -> Islands:
    """Islands of labels 1 … n, whose pixels are among the flat indices given."""
    n = len(sign)
    start = np.zeros(n + 1, np.int64)
    flat = label.ravel()
    ordered = np.empty(int(np.count_nonzero(flat[pixel])), np.int64)
    kernels.gather(label, pixel, start, ordered)
    brightest, maxima = np.zeros(n, np.int64), np.zeros(n, np.int64)
    edge, blank = np.zeros(n, bool), np.zeros(n, bool)
    kernels.describe(image, label, sign, start, ordered, brightest, maxima, edge, blank)
    return Islands(label, start, ordered, sign, level, parent, brightest, maxima, edge, blank)


def fdr_threshold(image: NDArray, rms: NDArray, alpha: float, beam_area: float) -> float:
    """Threshold in units of the noise for a false discovery rate; infinite where nothing is found.

    Parameters
    ----------
    image, rms : ndarray (m, l)
        Without background, and its noise; blank pixels do not count.
    alpha : float
        Largest part of the source pixels that may be noise, 0 … 1.
    beam_area : float
        Pixels of a beam.
    """
    from scipy.stats import norm

    c = float(np.sum(1.0 / np.arange(1, max(int(round(beam_area)), 1) + 1)))
    # A p-value above α/c fulfils it for no j up to N.
    least = float(norm.isf(min(alpha / c, 1.0 - 1e-16)))
    n, good = kernels.values_above(image, rms, least, np.empty(0))
    values = np.empty(n)
    kernels.values_above(image, rms, least, values)
    values = np.sort(values)[::-1]
    kept = np.flatnonzero(norm.sf(values) <= alpha * np.arange(1, n + 1) / (c * good))
    return float(values[kept[-1]]) if kept.size else float("inf")
