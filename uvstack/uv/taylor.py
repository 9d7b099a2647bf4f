"""Images of visibilities and visibilities of images.

One adjoint pair, through ducc0's wgridder (Arras et al. 2021).

    D(l, m) = Σ w Re(V exp(−2πi ν/c (u (l − l₀) + v (m − m₀) + w (n − n₀))))     `to_image`
    V(u, v, w; ν) = Σ_pixels I exp(+2πi ν/c (u (l − l₀) + v (m − m₀) + w (n − n₀)))     `to_visibilities`

in the sign of `uvstack`, with (l₀, m₀, n₀) the phase centre of the visibilities seen from the point
that the image touches, and (u, v, w) turned to that point: they are usually one and the same. With
all weights 1 each is the transpose of the other (real images; Re Σ V* V' as the product of
visibilities), which is what a gradient or a major cycle rests on. There is no 1/n: a pixel holds a
flux density in Jy, as in `uvstack.uv.predict`. w is exact, and all channels are gridded where they
belong.

Cost: within a tenth of ducc0 alone (measured: 8 % for 5.6e5 visibilities on 3000² pixels), mostly
planes of w for small chunks: give it as many visibilities at once as memory allows. A phase centre
off the image's own adds 15 ns a visibility. Memory: the planes of ducc0, about 2–4 images of
complex numbers, and copies of the chunk where its type or order of channels is not ducc0's.
Accuracy: `epsilon` relative to the rms over the image; from 1e-5 up in single precision
(accumulated in double), below in double.

Images of several chunks add up. Divide by Σ w for Jy/beam.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import ImageError
from uvstack.pixels.grid import Grid
from uvstack.sky.coordinates import direction_cosines, rotation_between
from uvstack.uv.transform import dirty2vis, vis2dirty

#: ducc0 wants even sizes from here up.
_FEWEST_PIXELS = 32
#: Below, ducc0 needs double precision.
_SINGLE = 1e-5
#: Visibilities a pixel up to which sums in single precision are off by less than the gridder at its
#: best in single precision.
_SUMMED_IN_SINGLE = 2
#: Below, complex64 would be the larger error of a visibility.
_COMPLEX64 = 1e-7


def to_image(
    uvw: np.ndarray, frequency: np.ndarray, vis: np.ndarray, weight: np.ndarray, grid: Grid, *,
    phase_centre: tuple[float, float] | None = None, threads: int = 1, epsilon: float = 1e-5,
) -> np.ndarray:
    """Weighted sum of visibilities at each pixel, Σ w Re(V exp(−2πi …)), (m, l).

    Parameters
    ----------
    uvw : ndarray (row, 3)
        Metres. Rows that are not finite count as weight 0.
    frequency : ndarray (chan,)
        Hz, in any order.
    vis : ndarray (row, chan) complex
        Jy. Values that are not finite count as weight 0.
    weight : ndarray (row, chan)
        What is not finite counts as 0. Of any sign, so that it may hold the powers of frequency of
        Taylor terms.
    grid : Grid
    phase_centre : (float, float), optional
        Of uvw, J2000, rad; default the point that the image touches.
    threads : int
    epsilon : float
        Accuracy relative to the image.

    Returns
    -------
    ndarray (m, l)
        float32, or float64 where epsilon is below 1e-5. Images of several chunks add up, in
        float64; divide by Σ w for Jy/beam.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    uvw, frequency = _checked(uvw, frequency, vis=vis, weight=weight)
    real, complex_ = _types(epsilon)
    usable = np.isfinite(uvw).all(axis=1)
    if not usable.all():
        uvw, vis, weight = uvw[usable], vis[usable], weight[usable]
    if vis.size == 0 or not np.any(weight):
        return np.zeros(grid.shape, real)
    layout, uvw, path = _layout(uvw, grid, phase_centre)
    order = _rising(frequency)
    vis = np.ascontiguousarray(vis[:, order], complex_)
    weight = np.ascontiguousarray(weight[:, order], real)
    finite = np.isfinite(vis) & np.isfinite(weight)
    if not finite.all():
        vis, weight = np.where(finite, vis, 0), np.where(finite, weight, 0)
    if path is not None:
        vis = vis * _turns(path, frequency[order], real, +1)
    image = vis2dirty(uvw=uvw, freq=np.ascontiguousarray(frequency[order]), vis=vis, wgt=weight,
                      npix_x=layout.padded[0], npix_y=layout.padded[1],
                      double_precision_accumulation=vis.size > _SUMMED_IN_SINGLE * grid.shape[0] * grid.shape[1],
                      **_options(layout, threads, epsilon))
    return image[: grid.shape[0], : grid.shape[1]]


def to_visibilities(
    uvw: np.ndarray, frequency: np.ndarray, image: np.ndarray, grid: Grid, *,
    phase_centre: tuple[float, float] | None = None, threads: int = 1, epsilon: float = 1e-6,
) -> np.ndarray:
    """Visibilities of an image in Jy/pixel, (row, chan): the transpose of `to_image` for weights 1.

    Parameters
    ----------
    image : ndarray (m, l)
        Jy/pixel, each a point source at the centre of its pixel; pixels that are not finite are
        taken as 0.
    uvw, frequency, grid, phase_centre, threads
        As in `to_image`; rows of uvw that are not finite get 0.
    epsilon : float
        Accuracy. Largest error of a visibility for 300 equal sources, as part of one of them
        (measured): 1e-4 at 1e-5, 1e-5 at 1e-6, 4e-6 at 1e-7, where complex64 ends. Major cycles are
        content with the first; to subtract for good take 1e-7.

    Returns
    -------
    ndarray (row, chan)
        complex64, or complex128 where epsilon is below 1e-7.

    Raises
    ------
    ImageError
        The image is not that of the grid.
    ValueError
        The shapes do not fit.
    """
    image = np.asarray(image)
    if image.shape != grid.shape:
        raise ImageError(f"an image of shape {image.shape} on a grid of {grid.shape}; wanted is "
                         "one plane (m, l) of that grid")
    uvw, frequency = _checked(uvw, frequency)
    real, complex_ = _types(epsilon)
    vis = np.zeros((uvw.shape[0], frequency.size),
                   np.complex64 if epsilon >= _COMPLEX64 else np.complex128)
    rows = np.flatnonzero(np.isfinite(uvw).all(axis=1))
    image = np.where(np.isfinite(image), image, 0).astype(real)
    if rows.size == 0 or frequency.size == 0 or not image.any():
        return vis
    whole = rows.size == uvw.shape[0]
    layout, turned, path = _layout(uvw if whole else uvw[rows], grid, phase_centre)
    order = _rising(frequency)
    pad = [(0, big - small) for big, small in zip(layout.padded, grid.shape, strict=True)]
    part = dirty2vis(uvw=turned, freq=np.ascontiguousarray(frequency[order]),
                     dirty=np.pad(image, pad) if np.any(pad) else image,
                     **_options(layout, threads, epsilon))
    if path is not None:
        part *= _turns(path, frequency[order], real, -1)
    if whole and isinstance(order, slice):
        return part.astype(vis.dtype, copy=False)
    vis[np.ix_(rows, np.arange(frequency.size)[order])] = part
    return vis


def to_psf(uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, grid: Grid, *,
           phase_centre: tuple[float, float] | None = None, threads: int = 1,
           epsilon: float = 1e-5) -> np.ndarray:
    """Image of a source of 1 Jy at the phase centre, unnormalised: `to_image` of ones, (m, l).

    Its value at the phase centre is Σ w, and its centre the middle pixel if grid is from
    `psf_grid`. Arguments as in `to_image`.
    """
    ones = np.ones(np.shape(weight), np.complex64)
    return to_image(uvw, frequency, ones, weight, grid, phase_centre=phase_centre, threads=threads,
                    epsilon=epsilon)


def taylor_weights(frequency: np.ndarray, reference_frequency: float, term: int) -> np.ndarray:
    """((ν − ν₀)/ν₀)^term, (chan,) float64: what Taylor term `term` multiplies the weights with.

    Rau & Cornwell (2011). A spectrum S₀ (ν/ν₀)^α is S₀ (1 + α x + ½ α (α − 1) x² + …) with x = (ν −
    ν₀)/ν₀.
    """
    return ((np.asarray(frequency, np.float64) - reference_frequency) / reference_frequency) ** term


def taylor_images(uvw: np.ndarray, frequency: np.ndarray, vis: np.ndarray, weight: np.ndarray,
                  grid: Grid, reference_frequency: float, n_terms: int, *,
                  phase_centre: tuple[float, float] | None = None, threads: int = 1,
                  epsilon: float = 1e-5) -> np.ndarray:
    """Images of V x^t for t = 0 … n_terms − 1, (term, m, l), with x of `taylor_weights`.

    Arguments as in `to_image`. Images of several chunks add up; divide all by Σ w (without x^t).
    """
    def of_term(t: int) -> np.ndarray:
        return to_image(uvw, frequency, vis, _of_term(weight, frequency, reference_frequency, t),
                        grid, phase_centre=phase_centre, threads=threads, epsilon=epsilon)

    if np.size(frequency) == 1:
        # x^t is one number: the terms are one image.
        image = of_term(0)
        return image * _powers(frequency, reference_frequency, n_terms).astype(image.dtype)
    images = [of_term(t) for t in range(n_terms)]
    return images[0][None] if n_terms == 1 else np.stack(images)


def _powers(frequency: np.ndarray, reference_frequency: float, n_terms: int) -> np.ndarray:
    """x^t of a single channel, (term, 1, 1)."""
    return np.array([taylor_weights(frequency, reference_frequency, t)
                     for t in range(n_terms)]).reshape(-1, 1, 1)


def _of_term(weight: np.ndarray, frequency: np.ndarray, reference_frequency: float,
             term: int) -> np.ndarray:
    return weight if term == 0 else weight * taylor_weights(frequency, reference_frequency,
                                                            term).astype(np.float32)


def taylor_psfs(uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, grid: Grid,
                reference_frequency: float, n_terms: int, *,
                phase_centre: tuple[float, float] | None = None, threads: int = 1,
                epsilon: float = 1e-5) -> np.ndarray:
    """PSFs of x^t for t = 0 … 2 (n_terms − 1), (2 n_terms − 1, m, l).

    All that a fit of n_terms needs.

    Images of terms t and s of a source respond to each other through PSF t + s (Rau & Cornwell
    2011: their Hessian).
    """
    ones = np.ones(np.shape(weight), np.complex64)
    return taylor_images(uvw, frequency, ones, weight, grid, reference_frequency, 2 * n_terms - 1,
                         phase_centre=phase_centre, threads=threads, epsilon=epsilon)


def taylor_visibilities(uvw: np.ndarray, frequency: np.ndarray, images: np.ndarray, grid: Grid,
                        reference_frequency: float, *,
                        phase_centre: tuple[float, float] | None = None, threads: int = 1,
                        epsilon: float = 1e-6) -> np.ndarray:
    """Visibilities Σ_t x^t V_t of a model (term, m, l) in Jy/pixel, (row, chan).

    The transpose of `taylor_images`.
    """
    if np.size(frequency) == 1:
        images = (images * _powers(frequency, reference_frequency, len(images))).sum(
            axis=0, keepdims=True, dtype=images.dtype)
    vis = to_visibilities(uvw, frequency, images[0], grid, phase_centre=phase_centre,
                          threads=threads, epsilon=epsilon)
    for term in range(1, len(images)):
        part = to_visibilities(uvw, frequency, images[term], grid, phase_centre=phase_centre,
                               threads=threads, epsilon=epsilon)
        vis += part * taylor_weights(frequency, reference_frequency, term).astype(vis.real.dtype)
    return vis


def channel_groups(frequency: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    """Indices of the channels of each plane of a cube.

    Those from edges[i] (Hz) up to below edges[i + 1].
    """
    plane = np.searchsorted(edges, frequency, side="right") - 1
    return [np.flatnonzero(plane == i) for i in range(len(edges) - 1)]


class _Layout(NamedTuple):
    """The grid in the terms of ducc0: even sizes, steps and offset of its middle pixel, m along x and l along y."""

    padded: tuple[int, int]
    step: tuple[float, float]
    offset: tuple[float, float]


def _layout(uvw, grid: Grid, phase_centre) -> tuple[_Layout, np.ndarray, np.ndarray | None]:
    """The grid and (u, v, w) in the terms of ducc0.

    And the path from image to phase centre (row,) m, None where 0.
    """
    where = grid.geometry
    path = None
    if phase_centre is not None and tuple(phase_centre) != (where.ra, where.dec):
        ra0, dec0 = phase_centre
        # In the frame of the image (u, v, w) turns, and the phase centre is where the phase is 0.
        uvw = uvw @ rotation_between(ra0, dec0, where.ra, where.dec).T
        path = uvw @ np.stack(direction_cosines(ra0, dec0, where.ra, where.dec))
    # ducc0 has exp(−2πi (ux + vy − w(n−1))) from an image to visibilities, with x along its first
    # axis. That axis is m here, so that nothing is transposed, and where a cell is negative x or y
    # runs against it: −v, −u and w give our sign. Its flip_u and flip_v would mirror the offset
    # too. Padding at the end moves the pixel it counts from by half of it.
    cells, centre = (where.cell_m, where.cell_l), (where.centre_m, where.centre_l)
    sign = [1.0 if cell > 0 else -1.0 for cell in cells]
    padded = [max(n + n % 2, _FEWEST_PIXELS) for n in grid.shape]
    offset = [sign[i] * (centre[i] + (padded[i] // 2 - grid.shape[i] // 2) * cells[i])
              for i in (0, 1)]
    turned = np.empty_like(uvw)
    turned[:, 0], turned[:, 1], turned[:, 2] = -sign[0] * uvw[:, 1], -sign[1] * uvw[:, 0], uvw[:, 2]
    return _Layout((padded[0], padded[1]), (abs(cells[0]), abs(cells[1])),
                   (offset[0], offset[1])), turned, path


def _options(layout: _Layout, threads: int, epsilon: float) -> dict:
    return {"pixsize_x": layout.step[0], "pixsize_y": layout.step[1], "center_x": layout.offset[0],
            "center_y": layout.offset[1], "epsilon": epsilon, "do_wgridding": True,
            "nthreads": threads, "divide_by_n": False}


def _turns(path: np.ndarray, frequency: np.ndarray, real: type, sign: int) -> np.ndarray:
    """exp(sign 2πi ν/c path), (row, chan)."""
    turns = np.outer(path, frequency / SPEED_OF_LIGHT)
    turns -= np.round(turns)
    phase: np.ndarray = (sign * 2 * np.pi * turns).astype(real)
    out = np.empty(phase.shape, np.complex64 if real is np.float32 else np.complex128)
    np.cos(phase, out=out.real)
    np.sin(phase, out=out.imag)
    return out


def _types(epsilon: float) -> tuple[type, type]:
    return (np.float32, np.complex64) if epsilon >= _SINGLE else (np.float64, np.complex128)


def _rising(frequency: np.ndarray) -> slice | np.ndarray:
    """What puts the channels into ducc0's order, rising."""
    return slice(None) if (np.diff(frequency) >= 0).all() else np.argsort(frequency)


def _checked(uvw, frequency, **planes) -> tuple[np.ndarray, np.ndarray]:
    uvw, frequency = np.ascontiguousarray(uvw, np.float64), np.asarray(frequency, np.float64)
    if uvw.ndim != 2 or uvw.shape[1] != 3 or frequency.ndim != 1:
        raise ValueError(f"found uvw {uvw.shape}, frequency {frequency.shape}; wanted (row, 3) "
                         "and (chan,)")
    wanted = (uvw.shape[0], frequency.size)
    for name, plane in planes.items():
        if np.shape(plane) != wanted:
            raise ValueError(f"found {name} {np.shape(plane)}; wanted (row, chan) = {wanted}")
    return uvw, frequency
