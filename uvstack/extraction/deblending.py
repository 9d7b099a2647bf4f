"""Islands split where brighter parts stand apart at a higher level.

After Spreeuw (2010), section 2.7.4: levels spaced exponentially between that at which an island was
cut and its peak. On the way up, the parts of an island above a level are found; where at least two
of them have a flux above that level of at least a part of the island's whole flux, and peaks above
the threshold of detection, they are sub-islands of their own from there on, and what lies between
them is in none. Each goes on upwards, as deep as there are levels, until no part is bright enough.
Levels and fluxes are ratios, so that the unit of the image does not matter. The limit is the
method's: two equal round Gaussians have a saddle only where they are further apart than 0.85 FWHM,
and are not split below that. The cost is pixels times levels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.checks import BELOW_ONE, finite_number, whole_number
from uvstack.errors import ImageError
from uvstack.extraction import island_kernels as kernels
from uvstack.extraction.islands import Islands, Map, islands_of, peaks_at, values_at


def deblend(
    image: NDArray,
    background: Map | None,
    rms: Map,
    islands: Islands,
    n_levels: int,
    min_fraction: float,
    detection: float,
    *,
    min_pixels: int = 1,
    between: bool = False,
) -> Islands:
    """Islands and sub-islands, in the order of the islands they are parts of.

    Parameters
    ----------
    image, background, rms
        As `find_islands` was given them.
    islands : Islands
        As found. Their label image becomes that of what is returned: it is as large as the image.
    n_levels : int
        Sub-thresholds between the level of the cut and the peak; 0 splits nothing.
    min_fraction : float
        A part is split off if its flux above the sub-threshold is more than this part of the
        island's flux; from 0 to 1.
    detection : float
        σ; the peak of each part is above it.
    min_pixels : int
        Parts of fewer pixels above the sub-threshold are not split off.
    between : bool
        As of `find_islands`.

    Returns
    -------
    Islands
        `parent` is the island before, `level` where each was cut; edge and blank are the parent's.

    Raises
    ------
    ImageError
        If the maps are not those of the islands.
    SelectionError
        If the levels or the fraction cannot be.
    """
    n_levels = whole_number("n_levels", n_levels, 0)
    finite_number("min_fraction", min_fraction, 0, BELOW_ONE)
    if image.shape != islands.label.shape:
        raise ImageError(
            f"the image has shape {image.shape}; its islands have {islands.label.shape}"
        )
    if len(islands) == 0 or n_levels == 0:
        return islands
    pixel, n_columns = islands.pixel, image.shape[1]
    value = values_at(image, pixel, n_columns)
    if background is not None:
        value -= values_at(background, pixel, n_columns)
    sign = np.repeat(islands.sign, islands.n_pixels)
    value *= sign
    peak = peaks_at(image, pixel, value, sign) if between else value
    seen = peak > detection * values_at(rms, pixel, n_columns)
    rim = (islands.box[:, 1] - islands.box[:, 0] + 2).astype(np.int64)
    rim *= islands.box[:, 3] - islands.box[:, 2] + 2
    largest = int(islands.n_pixels.max())
    work = (
        np.empty(int(rim.max())),
        np.empty(int(rim.max()), np.uint8),
        np.empty(2 * largest + 2, np.int64),
        np.empty(largest, np.int64),
        np.empty((largest + 1, 3), np.int64),
    )
    out = np.empty(pixel.size + 1, np.int64), np.empty(pixel.size, np.int64), np.empty(pixel.size)
    out_pixel, out_value = np.empty_like(pixel), np.empty_like(value)
    n, used = kernels.split_islands(
        islands.start,
        pixel,
        value,
        seen,
        islands.level,
        n_columns,
        n_levels,
        min_fraction,
        islands.connectivity == 8,
        min_pixels,
        work,
        out_pixel,
        out_value,
        out,
    )
    start, parent, level = out
    return islands_of(
        islands,
        start[: n + 1].copy(),
        out_pixel[:used],
        out_value[:used],
        parent[:n].copy(),
        level[:n].copy(),
    )
