"""Spacings of an interferometer: shortest, longest, and how much weight lies where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import NoDataError
from uvstack.imaging.passes_files import Passes
from uvstack.imaging.pieces_files import Job, read_chunk

#: Bins of a decade of spacings.
_PER_DECADE = 24
#: From the first to the last edge, m: what no array is beyond.
_DECADES = (-1.0, 7.5)


@dataclass(frozen=True)
class Spacings:
    """Where an interferometer measures.

    Attributes
    ----------
    shortest, longest : float
        Projected baselines, m.
    most_wavelengths : float
        The longest, wavelengths.
    edges, weight : ndarray (bin + 1,), (bin,)
        m; sum of natural weights.
    """

    shortest: float
    longest: float
    most_wavelengths: float
    edges: NDArray[np.float64]
    weight: NDArray[np.float64]


def spacings_of(job: Job, client: Any, threads: int,
                progress: Callable[[int, int], None] | None) -> Spacings:
    """Spacings of the data of a job.

    Raises
    ------
    NoDataError
        There are none.
    """
    edges = np.logspace(*_DECADES, 1 + round(_PER_DECADE * (_DECADES[1] - _DECADES[0])))
    found: list[tuple[float, float, float, NDArray]] = []
    Passes(job, client, threads, progress).go(
        spacings_chunk, job, lambda _, one: found.append(one), threads)
    shortest = min(one[0] for one in found)
    longest, most = (max(float(one[i]) for one in found) for i in (1, 2))
    if not longest > 0:
        raise NoDataError("every visibility is flagged, has no weight or lies outside the uv "
                          "range: nothing to assess")
    weight = np.sum([one[3] for one in found], axis=0)
    used = np.flatnonzero(weight)
    return Spacings(shortest, longest, most, edges[used[0] : used[-1] + 2],
                    weight[used[0] : used[-1] + 1])


def spacings_chunk(job: Job, chunk: Any) -> tuple[float, float, float, NDArray[np.float64]]:
    """Of a chunk: shortest and longest baseline, m, the longest in wavelengths, weights in bins.

    A function that dask runs.
    """
    edges = np.logspace(*_DECADES, 1 + round(_PER_DECADE * (_DECADES[1] - _DECADES[0])))
    shortest, longest, most = np.inf, 0.0, 0.0
    weight = np.zeros(edges.size - 1)
    for piece in read_chunk(job, chunk):
        length = np.hypot(piece.uvw[:, 0], piece.uvw[:, 1])
        used = piece.weight > 0
        rows = used.any(axis=1) & (length > 0)
        if not rows.any():
            continue
        shortest = min(shortest, float(length[rows].min()))
        longest = max(longest, float(length[rows].max()))
        in_waves = np.where(used, length[:, None] * piece.frequency / SPEED_OF_LIGHT, 0.0)
        most = max(most, float(in_waves.max()))
        weight += np.histogram(length[rows], edges,
                               weights=piece.weight[rows].sum(axis=1, dtype=np.float64))[0]
    return shortest, longest, most, weight
