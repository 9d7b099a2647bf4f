"""Visibilities of a model that is mostly empty.

Its pixels as point sources, one by one instead of by a transform.

    V(u, v, w; ν) = Σ_k Σ_t x^t I_tk exp(+2πi ν/c (u l_k + v m_k + w (n_k − n₀)))

in the sign of `uvstack`, the sum over the pixels that are not 0 in some Taylor term t, x = (ν −
ν₀)/ν₀: what `uvstack.uv.taylor.taylor_visibilities` gives by ducc0's transform. CLEAN of point
sources leaves hundreds or thousands of pixels, and `uvstack.uv.phase.phase_factor` sums them by
antennas at a seventh of a nanosecond each, so that a major cycle of 3000 components in 4000² pixels
saves most of its prediction, and has errors of 1e-6 of the sum of fluxes instead of the transform's
epsilon. `is_cheaper` compares the two. Memory is that of the result.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from uvstack.errors import ImageError
from uvstack.pixels.grid import Grid
from uvstack.sky.coordinates import rotation_between
from uvstack.uv.phase import phase_factor
from uvstack.uv.taylor import taylor_weights
from uvstack.uv.transform import all_finite

#: Measured, ns of one thread: a visibility of a point, of a transform, and a pixel of a transform; how
#: many times more a transform costs in double precision.
_POINT_COST, _VISIBILITY_COST, _PIXEL_COST, _IN_DOUBLE = 0.15, 300.0, 200.0, 2.0
#: Rows that are done at once: the same blocks for any number of threads, so that sums are the same
#: to the last bit.
_ROWS_PER_BLOCK = 16_384


def is_cheaper(n_points: int, n_visibilities: int, shape: tuple[int, ...],
               in_double: bool = False) -> bool:
    """Whether so many points cost less than a transform of an image of that shape (m, l), in single or double precision."""
    transform = n_visibilities * _VISIBILITY_COST + shape[0] * shape[1] * _PIXEL_COST
    return n_points * n_visibilities * _POINT_COST < transform * (_IN_DOUBLE if in_double else 1.0)


def point_visibilities(uvw: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray,
                       time: np.ndarray, frequency: np.ndarray, images: np.ndarray, grid: Grid,
                       reference_frequency: float, *,
                       phase_centre: tuple[float, float] | None = None,
                       threads: int = 1,
                       rows_per_block: int = _ROWS_PER_BLOCK) -> np.ndarray:
    """Visibilities Σ_t x^t V_t of a model (term, m, l) in Jy/pixel, (row, chan) complex64.

    Parameters
    ----------
    uvw : ndarray (row, 3)
        Metres; rows that are not finite get 0.
    antenna1, antenna2 : ndarray (row,) int
    time : ndarray (row,)
        Rows of equal value share their antennas' coordinates.
    frequency : ndarray (chan,)
        Hz.
    images : ndarray (term, m, l)
        Pixels that are not finite are taken as 0.
    grid, reference_frequency, phase_centre, threads
        As in `uvstack.uv.taylor.taylor_visibilities`.
    rows_per_block : int
        Rows, and those of the same time, that are worked on at once.

    Raises
    ------
    ImageError
        The images are not those of the grid.
    """
    images = np.asarray(images)
    if images.shape[1:] != grid.shape or images.ndim != 3:
        raise ImageError(f"a model of shape {images.shape} on a grid of {grid.shape}; wanted is "
                         "(term, m, l) of that grid")
    rows, columns = np.nonzero((images != 0).any(axis=0))
    flux = np.nan_to_num(images[:, rows, columns], nan=0.0, posinf=0.0, neginf=0.0)
    powers = np.stack([taylor_weights(frequency, reference_frequency, t)
                       for t in range(len(images))], axis=1)
    return visibilities_of_points(uvw, antenna1, antenna2, time, frequency,
                                  _directions(grid, rows, columns, phase_centre), powers @ flux,
                                  threads, rows_per_block)


def visibilities_of_points(uvw: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray,
                           time: np.ndarray, frequency: np.ndarray, lmn: np.ndarray,
                           flux: np.ndarray, threads: int = 1,
                           rows_per_block: int = _ROWS_PER_BLOCK) -> np.ndarray:
    """Visibilities of point sources, (row, chan) complex64.

    Parameters
    ----------
    uvw, antenna1, antenna2, time, frequency, threads, rows_per_block
        As in `point_visibilities`.
    lmn : ndarray (3, pos)
        l, m and n − 1 from the phase centre.
    flux : ndarray (chan, pos)
        Jy.
    """
    uvw, frequency = np.ascontiguousarray(uvw, np.float64), np.ascontiguousarray(
        frequency, np.float64)
    vis = np.zeros((uvw.shape[0], frequency.size), np.complex64)
    usable = np.isfinite(uvw).all(axis=1)
    if lmn.shape[1] == 0 or vis.size == 0 or not usable.any():
        return vis
    coefficient = np.ascontiguousarray(flux, np.float32)

    def part(where: slice) -> None:
        found = phase_factor(uvw[where], antenna1[where], antenna2[where], time[where], frequency,
                             lmn, coefficient, usable=usable[where])[0]
        np.conjugate(found, out=vis[where])

    blocks = list(_blocks(time, rows_per_block))
    if min(threads, len(blocks)) < 2:
        # To start a thread costs as much as a small model does.
        for block in blocks:
            part(block)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, blocks))
    vis[~usable] = 0
    return all_finite("visibilities of a model", vis)


def _directions(grid: Grid, rows: np.ndarray, columns: np.ndarray,
                phase_centre: tuple[float, float] | None) -> np.ndarray:
    """l, m and n − 1 of pixels from the phase centre, (3, pixel)."""
    where = grid.geometry
    l, m = grid.l[columns], grid.m[rows]
    if phase_centre is not None and tuple(phase_centre) != (where.ra, where.dec):
        # Unit vectors turn as (u, v, w) do.
        l, m, _ = rotation_between(where.ra, where.dec, *phase_centre) @ np.stack(
            [l, m, np.sqrt(1.0 - l**2 - m**2)])
    return np.stack([l, m, -(l**2 + m**2) / (1.0 + np.sqrt(1.0 - l**2 - m**2))])


def _blocks(time: np.ndarray, rows: int) -> list[slice]:
    """Slices of rows, cut where the time changes so that the coordinates of antennas are solved once."""
    changes = np.flatnonzero(np.diff(time)) + 1
    edges = [0]
    while changes.size and edges[-1] + rows < time.size:
        after = int(np.searchsorted(changes, edges[-1] + rows))
        if after == changes.size:
            break
        edges.append(int(changes[after]))
    return [slice(a, b) for a, b in zip(edges, [*edges[1:], time.size], strict=True)]
