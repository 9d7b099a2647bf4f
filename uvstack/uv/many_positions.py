"""Factors of very many positions through a grid.

a non-uniform Fourier transform whose cost hardly knows their number.

The positions are spread onto an image with a band-limiting kernel, and ducc0's wgridder turns the
image into the factor at every visibility, w term included. A sinc in a Kaiser window (Kaiser &
Schafer 1980) is the kernel: its transform is 1 to within ε at every (u, v) of the data and 0 to
within ε at their aliases, so nothing is divided out afterwards. That matters with w: at a position
far from the centre the w term shifts the local spatial frequency by w l/n, which a kernel that is
flat in the passband does not feel. Coefficients that change with frequency are expanded in Legendre
polynomials of ν, one transform a term.

Cost: transforms of a few planes of some 10⁷ pixels and 0.8 µs a visibility, for each term;
independent of the number of positions up to 10⁷. All in float64: the factor of N positions
scattered at random is about √N where its value without baseline is N, so that float32 leaves errors
of 8e-8 N, too much beyond 10⁴ positions (measured). Memory: 0.9 GB of planes for a field of 30′ at
36 km and 1.4 GHz; one transform runs at a time, on all processors.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.uv import kernels
from uvstack.uv.transform import dirty2vis, vis2dirty

#: Accuracy of the kernel and of the wgridder.
_EPSILON = 5e-6
#: Image pixels for each Nyquist pixel: the wider the transition band, the shorter the kernel.
_OVERSAMPLING = 1.2
#: Residual of the expansion in frequency, relative to the rms coefficient.
_EXPANSION_TOLERANCE = 3e-6
#: A grid with more pixels on a side is never worth its memory.
_LARGEST_GRID = 12_000
# Measured, one thread: nanoseconds for each pixel of a plane, and for each visibility.
_PIXEL_COST, _VISIBILITY_COST = 16.0, 800.0
#: Planes are large: two transforms at once would double them.
_ONE_AT_A_TIME = threading.Lock()
#: The wgridder's own padding of its grid, and planes of w beyond the range of w.
_PADDING, _EXTRA_PLANES = 1.8, 7


@dataclass(frozen=True)
class Geometry:
    """The image that the positions are spread on.

    Attributes
    ----------
    pixel : float
        Direction cosine.
    size : int
        Pixels on a side.
    centre : tuple of float
        (l, m) of pixel (size/2, size/2).
    taps : int
        Pixels across the kernel.
    cost : float
        Of one transform, ns of one thread.
    """

    pixel: float
    size: int
    centre: tuple[float, float]
    taps: int
    cost: float


def geometry(uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray) -> Geometry | None:
    """Geometry for these baselines (row, 3) m, channels (Hz) and positions (3, pos).

    None where a grid is out of the question.
    """
    largest_wavenumber = frequency.max() / SPEED_OF_LIGHT
    w = np.abs(uvw[:, 2]).max() * largest_wavenumber
    slope = np.abs(lmn[:2]).max() / max(1.0 + lmn[2].min(), 1e-3)
    # The w term shifts the local frequency of a position: the passband holds that too.
    band = np.abs(uvw[:, :2]).max() * largest_wavenumber + w * slope
    extent = np.ptp(lmn[:2], axis=1).max()
    if not band > 0 or lmn[2].min() < -0.5:
        return None
    pixel = 1.0 / (2 * _OVERSAMPLING * band)
    taps = _taps()
    if extent / pixel + taps > _LARGEST_GRID:
        return None
    from ducc0.fft import good_size

    size = int(good_size(int(np.ceil(extent / pixel)) + taps + 4))
    while size % 2:
        size = int(good_size(size + 1))
    planes = w * np.ptp(lmn[2]) + _EXTRA_PLANES
    cost = _PIXEL_COST * planes * (_PADDING
                                   * size) ** 2 + _VISIBILITY_COST * uvw.shape[0] * frequency.size
    low, high = lmn[:2].min(axis=1), lmn[:2].max(axis=1)
    return Geometry(pixel, size, (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2), taps,
                    cost)


def _taps() -> int:
    """Length of a Kaiser-windowed sinc for _EPSILON.

    Passband and aliases are 1 − 1/oversampling of the band apart.
    """
    transition = 2 * np.pi * (1.0 - 1.0 / _OVERSAMPLING)
    taps = int(np.ceil((_attenuation() - 8) / (2.285 * transition))) + 1
    return taps + taps % 2


def _attenuation() -> float:
    """Decibels."""
    return -20 * np.log10(_EPSILON)


def _kernel_table(taps: int) -> np.ndarray:
    """The kernel from 0 to taps/2 pixels, finely sampled for linear interpolation."""
    half = taps / 2
    x = np.linspace(0.0, half, kernels.KERNEL_SAMPLES + 1)
    window = np.i0(0.1102 * (_attenuation() - 8.7)
                   * np.sqrt(1 - (x / half) ** 2)) / np.i0(0.1102 * (_attenuation() - 8.7))
    return np.append(window * np.sinc(x), 0.0)


def expansion(frequency: np.ndarray, coefficient: np.ndarray,
              most: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Legendre terms (term, chan) and their factors (term, pos) with Σ_j terms[j, chan] factors[j, pos] = coefficient.

    coefficient (chan, pos). The fewest terms that reach the tolerance, None where that takes more
    than `most`.
    """
    span = np.ptp(frequency)
    x = 2 * (frequency - frequency.min()) / span - 1 if span > 0 else np.zeros(frequency.size)
    limit = _EXPANSION_TOLERANCE * np.sqrt(np.mean(np.square(coefficient, dtype=np.float64)))
    for n_terms in range(1, min(most, frequency.size) + 1):
        terms = np.polynomial.legendre.legvander(x, n_terms - 1).T
        factors = np.linalg.lstsq(terms.T, coefficient.astype(np.float64), rcond=None)[0]
        # float32 coefficients are themselves good to 6e-8 of their own size.
        if np.sqrt(np.mean((terms.T @ factors - coefficient) ** 2, axis=1)).max() <= limit:
            return terms, factors
    return None


def gridded_factor(uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray, terms: np.ndarray,
                   factors: np.ndarray, where: Geometry) -> np.ndarray:
    """Σ_k c_k(ν) exp(−2πi ν/c (u l_k + v m_k + w (n_k − 1))), (row, chan) complex64.

    As `uvstack.uv.phase.phase_factor`.

    terms and factors as from `expansion`, where as from `geometry`.
    """
    table = _kernel_table(where.taps)
    total = np.zeros((uvw.shape[0], frequency.size), np.complex64)
    for term, weight in zip(terms, factors, strict=True):
        with _ONE_AT_A_TIME:
            image = np.zeros((where.size, where.size))
            kernels.spread(*_pixels(lmn, where), weight, where.taps, table, image)
            # ducc0's sign is −2πi (ul + vm − w(n−1)): flipping w alone gives the sign that moves
            # sources to the centre.
            total += dirty2vis(dirty=image, **_gridder_options(uvw, frequency, where)) * term
    return total


def gridded_position_sums(uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray,
                          terms: np.ndarray, factors: np.ndarray, value: np.ndarray,
                          where: Geometry) -> np.ndarray:
    """Σ_row,chan c_k(ν) Re(value exp(−2πi …)) of every position, (pos,).

    The transpose of `gridded_factor`.
    """
    table = _kernel_table(where.taps)
    sums = np.zeros(lmn.shape[1])
    for term, weight in zip(terms, factors, strict=True):
        # The transpose of exp(−2πi …) on real images is Re Σ conj(·): the values are conjugated.
        with _ONE_AT_A_TIME:
            image = vis2dirty(vis=(value * term).conj(), npix_x=where.size, npix_y=where.size,
                              **_gridder_options(uvw, frequency, where))
            kernels.look_up(*_pixels(lmn, where), weight, where.taps, table, image, sums)
    return sums


def _pixels(lmn: np.ndarray, where: Geometry) -> tuple[np.ndarray, np.ndarray]:
    return tuple((lmn[i] - where.centre[i]) / where.pixel + where.size // 2 for i in (0, 1))


def _gridder_options(uvw: np.ndarray, frequency: np.ndarray, where: Geometry) -> dict:
    return {"uvw": np.ascontiguousarray(uvw), "freq": np.ascontiguousarray(frequency),
            "pixsize_x": where.pixel, "pixsize_y": where.pixel, "center_x": where.centre[0],
            "center_y": where.centre[1], "epsilon": _EPSILON, "do_wgridding": True,
            "nthreads": os.cpu_count() or 1, "divide_by_n": False, "flip_u": False, "flip_v": False,
            "flip_w": True}
