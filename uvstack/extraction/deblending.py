"""Islands that hold several sources, split by sub-thresholds (Spreeuw 2010, section 2.7.4).

Between the level at which an island was cut and its peak lie n levels, evenly in the logarithm and
in units of the noise, so that the unit of flux plays no part. At each, from below, the pixels above
it may fall apart. Parts count that have a fraction of the island's flux and a pixel above the
threshold of detection; where there are two or more, the island is split there, pixels below the
level are no one's, and each part goes on by itself. Two Gaussians of one height have a saddle from
a distance of 0.85 FWHM on (1.7 half-widths): nearer ones are one source here. Islands with one
local maximum are not looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.extraction.islands import Islands, described


def deblend(
    image: NDArray, rms: NDArray, islands: Islands, n_levels: int, fraction: float, detection: float,
    *, connectivity: int = 8,
) -> Islands:
    """The islands with those split that hold several sources.

    Parameters
    ----------
    image, rms : ndarray (m, l)
        Without background, and its noise.
    islands : Islands
        Not modified, but for `label`, which goes into the new ones.
    n_levels : int
        Sub-thresholds of an island; 0 splits none.
    fraction : float
        Of the island's flux, that a part must have.
    detection : float
        In units of the noise.
    connectivity : {8, 4}
    """
    several = np.flatnonzero(islands.maxima > 1) if n_levels else np.zeros(0, np.int64)
    parts = {int(k): split for k in several
             if len(split := _split(image, rms, islands, int(k), n_levels, fraction, detection, connectivity)) > 1}
    if not parts:
        return islands
    sign, level, parent, pixels = [], [], [], []
    label = islands.label.ravel()
    number = 0
    for k in range(len(islands)):
        mine = islands.pixel[islands.start[k]:islands.start[k + 1]]
        if k in parts:
            label[mine] = 0
        for flat, cut in parts.get(k, [(mine, islands.level[k])]):
            number += 1
            label[flat] = number
            sign.append(islands.sign[k])
            level.append(cut)
            parent.append(islands.parent[k])
            pixels.append(flat)
    return described(image, islands.label, np.concatenate(pixels), np.array(sign), np.array(level), np.array(parent))


def _split(image: NDArray, rms: NDArray, islands: Islands, k: int, n_levels: int, fraction: float, detection: float,
           connectivity: int) -> list[tuple[NDArray[np.int64], float]]:
    """Flat indices and level of each part of an island."""
    flat = islands.pixel[islands.start[k]:islands.start[k + 1]]
    y, x = np.divmod(flat, image.shape[1])
    values = islands.sign[k] * image.ravel()[flat].astype(float)
    y0, x0 = y.min(), x.min()
    box = np.zeros((y.max() - y0 + 1, x.max() - x0 + 1))
    box[y - y0, x - x0] = values / rms.ravel()[flat]
    flux = np.zeros_like(box)
    flux[y - y0, x - x0] = values
    structure = np.ones((3, 3)) if connectivity == 8 else None
    levels = islands.level[k] * (box.max() / islands.level[k]) ** (np.arange(1, n_levels + 1) / (n_levels + 1))
    found = _parts(box, flux, box > 0, islands.level[k], levels, fraction * values.sum(), detection, structure)
    return [(np.ravel_multi_index((rows + y0, columns + x0), image.shape), level) for (rows, columns), level in found]


def _parts(box: NDArray, flux: NDArray, mask: NDArray, level: float, levels: NDArray, least: float, detection: float,
           structure: NDArray | None) -> list[tuple[tuple[NDArray, ...], float]]:
    from scipy.ndimage import label, maximum, sum_labels

    for i, cut in enumerate(levels):
        labels, n = label(mask & (box > cut), structure)
        if n == 0:
            break
        index = np.arange(1, n + 1)
        good = index[(sum_labels(flux, labels, index) > least) & (maximum(box, labels, index) > detection)]
        if good.size > 1:
            rest = levels[i + 1:]
            return [part for j in good for part in _parts(box, flux, labels == j, float(cut), rest, least, detection, structure)]
        if good.size == 0:
            break
    return [(np.nonzero(mask), level)]
