"""Stacks of very many lists of positions at the cost of about one image: the Monte Carlo on one data set.

Stacking is linear. The flux of a list is (Lindroos et al. 2015, equations 5 and 6)

    F = Σ_vis w Re(V Σ_k c_k(ν) exp(−iφ_k)) / (Σ_vis w Σ_k W_k)   with   c_k(ν) = W_k / A_k(ν),

the dirty sky of the weighted visibilities, looked up at the positions. With c_k(ν) = Σ_t a_kt
b_t(ν), the singular value decomposition of the (position × channel) matrix of all lists together,
the sky of each b_t is made once, and

    Σ_vis w Re(V c_k(ν) exp(−iφ_k)) = Σ_t a_kt D_t(l_k, m_k),   D_t(l, m) = Σ_vis w b_t(ν) Re(V exp(−iφ(l, m)))

at any number of positions. One term without a primary beam, three for the VLA at 1.4 GHz with a
bandwidth of 18 %. D_t comes from ducc0's wgridder with pixels 1.2 times finer than the longest
baseline wants, w term exact, and is interpolated with a sinc in a Kaiser window (Kaiser & Schafer
1980), as in `uvstack.uv.many_positions`: flat over the passband, so that nothing is divided out and
the w term, which shifts the local spatial frequency by w l/n, does no harm. Later terms are small
and are made as much coarser.

Accuracy, in parts of the noise of a stack: 1e-5 to 3e-5 rms. The error of the wgridder is a tenth
of what it is asked for (measured), that of the kernel 1e-5 and what the decomposition leaves out
below 2e-5. Cost: for each term, transforms of some 10 planes and 0.3 µs a visibility; 1 µs for each
position and term. Memory: 4 planes of complex64 of the padded image; where the positions span more
than 8000 pixels, tiles are imaged one after the other.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.monte_carlo import kernels
from uvstack.uv.transform import vis2dirty

#: What the decomposition may leave out, relative to the rms coefficient.
TOLERANCE = 2e-5
#: Accuracy asked of the wgridder for a term of share 1, the coarsest for small ones, and where it
#: may be coarser: see `_epsilons`.
_EPSILON, _COARSEST, _SMALL = 2e-4, 5e-2, 0.6
#: The finest in single precision; the contrast from which it is made finer, see `_contrast`, and
#: how much more so, because then the error at the edges counts.
_FINEST, _MOST_CONTRAST, _MARGIN = 1e-5, 1.5, 4.0
#: Fewer visibilities (row × chan), such as those of a pointing of a mosaic, cost little: they are
#: gridded so much finer, because the wgridder's error gathers at the edges of an image, where 1/A
#: is largest (measured: 3 times its rms for ALMA down to A = 0.1).
_FEW, _FINER = 4_000_000, 8.0
#: Of the interpolation kernel.
_KERNEL_EPSILON = 1e-5
#: Pixels for each Nyquist pixel.
_OVERSAMPLING = 1.2
#: Pixels on a side of an image.
_LARGEST_IMAGE = 8192
#: Positions of a strip of this many pixels are looked up together.
_STRIP = 32


@dataclass(frozen=True)
class Lattice:
    """Pixels of an image in the plane of l and m: steps, sizes and (l, m) of pixel (n_l // 2, n_m // 2); taps of the kernel."""

    step: tuple[float, float]
    size: tuple[int, int]
    centre: tuple[float, float]
    taps: int


def frequency_terms(coefficient: np.ndarray,
                    tolerance: float = TOLERANCE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Terms (term, chan), factors (term, pos) and shares (term,) with Σ_t terms[t, chan] factors[t, pos] ≈ coefficient.

    Parameters
    ----------
    coefficient : ndarray (chan, pos)
    tolerance : float
        What may be left out, rms relative to the rms coefficient; the fewest terms that reach it.

    Returns
    -------
    terms : ndarray (term, chan)
        Orthonormal: the left singular vectors.
    factors : ndarray (term, pos)
    shares : ndarray (term,)
        The rms that each term adds, relative to the rms coefficient; falling.
    """
    values = np.asarray(coefficient, np.float64)
    # Of the small (chan, chan) product: its eigenvalues are exact to 1e-16, so singular values to
    # 1e-8.
    squares, vectors = np.linalg.eigh(values @ values.T)
    squares, vectors = np.clip(squares[::-1], 0.0, None), vectors[:, ::-1]
    left_out = np.sqrt(np.append(np.cumsum(squares[::-1])[::-1][1:], 0.0)
                       / max(squares.sum(), np.finfo(float).tiny))
    n_terms = int(np.argmax(left_out <= tolerance)) + 1
    terms = vectors[:, :n_terms].T
    return terms, terms @ values, np.sqrt(squares[:n_terms]
                                          / max(squares.sum(), np.finfo(float).tiny))


def position_sums(uvw: np.ndarray, frequency: np.ndarray, value: np.ndarray, lmn: np.ndarray,
                  coefficient: np.ndarray, *, tolerance: float = TOLERANCE,
                  threads: int = 1) -> np.ndarray:
    """Sums Σ_row,chan c_k(ν) Re(value exp(−2πi ν/c (u l_k + v m_k + w (n_k − 1)))) of every position, through images.

    Equals `uvstack.uv.phase.position_sums`, which is the slow version of it.

    Parameters
    ----------
    uvw : ndarray (row, 3) float64
        Metres; rows that are not finite must have value 0.
    frequency : ndarray (chan,)
        Hz.
    value : ndarray (row, chan) complex64
        Weighted visibilities, 0 where unused.
    lmn : ndarray (3, pos)
        l, m and n − 1 from the phase centre.
    coefficient : ndarray (chan, pos)
        c_k(ν).
    tolerance : float
        Relative to the rms of the sums; also the transforms are made coarser where it is larger
        than by default.
    threads : int

    Returns
    -------
    ndarray (pos,) float64
    """
    sums = np.zeros(lmn.shape[1])
    used = np.flatnonzero(np.isfinite(uvw).all(axis=1) & (value != 0).any(axis=1))
    if used.size == 0 or sums.size == 0:
        return sums
    if used.size < uvw.shape[0]:
        uvw, value = uvw[used], value[used]
    order = np.argsort(frequency)
    terms, factors, shares = frequency_terms(coefficient, tolerance)
    # ducc0 has exp(−2πi (ux + vy − w(n−1))) from images to visibilities: −u and −v give the
    # transpose in our sign.
    uvw = uvw * [-1.0, -1.0, 1.0]
    for which in _tiles(uvw, frequency, lmn):
        lattice = lattice_for(uvw, frequency, lmn[:, which])
        pixels = [(lmn[i, which] - lattice.centre[i]) / lattice.step[i] + lattice.size[i] // 2
                  for i in (0, 1)]
        contrast = 1.0
        for i, epsilon in enumerate(_epsilons(shares, tolerance)
                                    / (_FINER if value.size < _FEW else 1.0)):
            weighted = value * terms[i].astype(np.float32)
            if not (np.diff(order) == 1).all():
                weighted = weighted[:, order]
            for _ in range(2):
                image = _image(uvw, frequency[order], weighted, lattice,
                               max(epsilon / contrast, _FINEST), threads)
                found = _look_up(image, pixels[0], pixels[1], factors[i, which], lattice.taps,
                                 threads)
                if i or contrast > 1:
                    break
                contrast = _contrast(image, factors[i, which], found)
                if contrast < _MOST_CONTRAST:
                    contrast = 1.0
                    break
                contrast *= _MARGIN
            sums[which] += found
    return sums


def _contrast(image: np.ndarray, factor: np.ndarray, found: np.ndarray) -> float:
    """How much larger an error that is spread evenly over the image becomes relative to the sums than to the image.

    Where a bright source lies inside the primary beam and positions at its edge, with a large 1/A,
    do not.
    """
    even = float(np.sqrt(np.mean(np.square(factor)) * np.vdot(image, image) / image.size))
    here = float(np.sqrt(np.mean(np.square(found))))
    return even / here if here > 0 else 1.0


def lattice_for(uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray) -> Lattice:
    """The image on which these positions (3, pos) can be looked up, for these baselines (row, 3) m and channels (Hz)."""
    from ducc0.fft import good_size

    band = _bands(uvw, frequency, lmn)
    taps = kernel_taps()
    step, size, centre = [], [], []
    for i in (0, 1):
        low, high = float(lmn[i].min()), float(lmn[i].max())
        # Where an axis has no baselines any step serves.
        step.append(1.0 / (2 * _OVERSAMPLING * band[i]) if band[i] > 0 else max(high - low, 1e-6))
        pixels = int(np.ceil((high - low) / step[i])) + taps + 4
        size.append(2 * max(int(good_size((pixels + 1) // 2)), 16))
        centre.append((low + high) / 2)
    return Lattice((step[0], step[1]), (size[0], size[1]), (centre[0], centre[1]), taps)


def _bands(uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray) -> tuple[float, float]:
    """Largest spatial frequency along l and m: that of the baselines, widened by the slope of the w term, w l/n."""
    scale = frequency.max() / SPEED_OF_LIGHT
    longest = np.abs(uvw).max(axis=0) * scale
    n = max(1.0 + float(lmn[2].min()), 1e-3)
    return tuple(float(longest[i] + longest[2] * np.abs(lmn[i]).max() / n) for i in (0, 1))  # type: ignore[return-value]


def _tiles(uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray) -> list[np.ndarray]:
    """Numbers of the positions of each image, so that none is larger than _LARGEST_IMAGE."""
    band = _bands(uvw, frequency, lmn)
    label = np.zeros(lmn.shape[1], np.int64)
    for i in (0, 1):
        span = max(float(np.ptp(lmn[i])), 1e-12)
        n = int(np.ceil(span * 2 * _OVERSAMPLING * band[i]
                        / (_LARGEST_IMAGE - kernel_taps() - 100)))
        label = label * max(n, 1) + np.clip((lmn[i] - lmn[i].min()) / span * n, 0,
                                            max(n, 1) - 1).astype(np.int64)
    return [np.flatnonzero(label == i) for i in np.unique(label)]


def _epsilons(shares: np.ndarray, tolerance: float) -> np.ndarray:
    """Accuracy of the transform of each term, so that all add about the same error."""
    coarser = max(tolerance / TOLERANCE, 1.0)
    return np.clip(_EPSILON * coarser * np.where(shares > _SMALL, 1.0,
                                                 _SMALL / np.maximum(shares, 1e-9)), _EPSILON,
                   _COARSEST)


def _image(uvw: np.ndarray, frequency: np.ndarray, value: np.ndarray, lattice: Lattice,
           epsilon: float, threads: int) -> np.ndarray:
    """Dirty image (l, m) float32 of weighted visibilities, l rising along the first axis."""
    return vis2dirty(uvw=uvw, freq=frequency, vis=np.ascontiguousarray(value, np.complex64),
                     npix_x=lattice.size[0], npix_y=lattice.size[1], pixsize_x=lattice.step[0],
                     pixsize_y=lattice.step[1], center_x=lattice.centre[0],
                     center_y=lattice.centre[1], epsilon=float(epsilon), do_wgridding=True,
                     nthreads=threads, divide_by_n=False)


def kernel_taps() -> int:
    """Pixels across the interpolation kernel; passband and aliases are 1 − 1/oversampling of a pixel's band apart."""
    taps = int(np.ceil((_attenuation() - 8)
                       / (2.285 * 2 * np.pi * (1.0 - 1.0 / _OVERSAMPLING)))) + 1
    return taps + taps % 2


def _attenuation() -> float:
    return -20 * float(np.log10(_KERNEL_EPSILON))


def _kernel_table(taps: int) -> np.ndarray:
    """The kernel from 0 to taps/2 pixels, (SAMPLES taps/2 + 2,) float32."""
    half = taps // 2
    x = np.arange(kernels.SAMPLES * half + 1) / kernels.SAMPLES
    beta = 0.1102 * (_attenuation() - 8.7)
    return np.append(np.i0(beta * np.sqrt(1 - (x / half) ** 2)) / np.i0(beta) * np.sinc(x),
                     0.0).astype(np.float32)


def _look_up(image: np.ndarray, x: np.ndarray, y: np.ndarray, factor: np.ndarray, taps: int,
             threads: int) -> np.ndarray:
    """factor times the interpolated image at pixels x, y, (pos,)."""
    sums = np.zeros(x.size)
    # Neighbours after each other: their pixels are then in the cache.
    order = np.lexsort((y, np.floor(x / _STRIP)))
    table = _kernel_table(taps)
    parts = [part for part in np.array_split(order, max(threads, 1)) if part.size]
    factor = np.ascontiguousarray(factor)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        list(pool.map(lambda part: kernels.look_up(x, y, factor, part, taps, table, image, sums),
                      parts))
    return sums


def list_sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Sums over each list, (list,): values (pos,) of lists one after the other, first (list + 1,) where each begins."""
    return np.add.reduceat(np.append(values, 0.0), first[:-1]) * (np.diff(first) > 0)
