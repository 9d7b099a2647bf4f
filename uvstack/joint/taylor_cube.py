"""Cubes and Taylor terms of a spectrum: there, back, and the averages that multi-term CLEAN works on.

With x = (ν − ν₀)/ν₀ a spectrum has the Taylor terms I(ν) = Σ_t I_t x^t (Rau & Cornwell 2011). Two
ways lead from a cube to terms, and they are not the same:

* `fit_taylor`, by least squares: what a cube of images means as terms. Cube → terms → cube is the
  identity for polynomials of so many terms.
* `cube_to_taylor`, the averages Σ w x^t I (Rau, Naik & Braun 2019, algorithm 2): what residuals and
  psfs are averaged by for multi-term CLEAN, whose Hessian has the moments of w; they are not
  divided by them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import ImageError


def taylor_to_cube(terms: ArrayLike, frequencies: ArrayLike,
                   reference: float) -> NDArray[np.float64]:
    """Cube Σ_t I_t x^t at some frequencies, (chan, m, l).

    Parameters
    ----------
    terms : array (term, m, l)
    frequencies : array (chan,)
        Hz.
    reference : float
        ν₀, Hz.

    Raises
    ------
    ImageError
        A shape or a frequency cannot be.
    """
    images = _images("terms", terms)
    return np.tensordot(_powers(frequencies, reference, len(images)), images, axes=1)


def cube_to_taylor(cube: ArrayLike, frequencies: ArrayLike, reference: float, n_terms: int,
                   weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Averages Σ w x^t I of a cube with weights whose sum is 1, (term, m, l): of residuals and psfs.

    Parameters
    ----------
    cube : array (chan, m, l)
    frequencies : array (chan,)
        Hz.
    reference : float
        ν₀, Hz.
    n_terms : int
        Of psfs 2 n − 1 for a fit of n terms.
    weights : array (chan,), optional
        0 or more; default all alike.

    Raises
    ------
    ImageError
        A shape, a frequency or a weight cannot be.
    """
    images = _images("cube", cube)
    return np.tensordot(taylor_shares(frequencies, reference, n_terms, weights, len(images)),
                        images, axes=1)


def fit_taylor(cube: ArrayLike, frequencies: ArrayLike, reference: float, n_terms: int,
               weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Terms of the polynomial in x that is nearest to a cube by weighted least squares, (term, m, l).

    Arguments as in `cube_to_taylor`.

    Raises
    ------
    ImageError
        A shape, a frequency or a weight cannot be, or fewer channels than terms have a weight.
    """
    images = _images("cube", cube)
    w = _weights(weights, frequencies, len(images))
    powers = _powers(frequencies, reference, n_terms)
    n_different = np.unique(np.asarray(frequencies, np.float64)[w > 0]).size
    if n_different < n_terms:
        raise ImageError(f"{n_terms} Taylor terms of {n_different} frequencies with a weight; "
                         "wanted are at least as many frequencies as terms")
    root = np.sqrt(w)[:, None]
    return np.tensordot(np.linalg.pinv(root * powers) * root.T, images, axes=1)


def taylor_shares(frequencies: ArrayLike, reference: float, n_terms: int,
                  weights: ArrayLike | None, n_chan: int) -> NDArray[np.float64]:
    """w x^t of each channel, Σ w = 1, (term, chan)."""
    w = _weights(weights, frequencies, n_chan)
    return (_powers(frequencies, reference, n_terms) * w[:, None]).T


def _images(name: str, images: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(images, np.float64)
    if found.ndim != 3 or not len(found):
        raise ImageError(f"{name} of shape {found.shape}; wanted is an array "
                         f"({'term' if name == 'terms' else 'chan'}, m, l)")
    return found


def _powers(frequencies: ArrayLike, reference: float, n_terms: int) -> NDArray[np.float64]:
    """x^t, (chan, term)."""
    nu = np.asarray(frequencies, np.float64)
    if nu.ndim != 1 or not (np.isfinite(nu) & (nu > 0)).all():
        raise ImageError(f"frequencies {frequencies!r}; wanted are positive numbers (chan,), in Hz")
    if not (np.isfinite(reference) and reference > 0):
        raise ImageError(f"a reference frequency of {reference} Hz; wanted is a positive number")
    if isinstance(n_terms, bool) or int(n_terms) != n_terms or n_terms < 1:
        raise ImageError(f"{n_terms} Taylor terms; wanted is a whole number, 1 or more")
    return ((nu - reference) / reference)[:, None] ** np.arange(int(n_terms))


def _weights(weights: ArrayLike | None, frequencies: ArrayLike,
             n_chan: int) -> NDArray[np.float64]:
    """Their sum is 1."""
    w = np.ones(n_chan) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (n_chan,) or np.shape(frequencies) != (n_chan,):
        raise ImageError(f"weights of shape {w.shape} and frequencies of {np.shape(frequencies)} "
                         f"for {n_chan} channels; wanted is one of each a channel")
    if not (np.isfinite(w) & (w >= 0)).all() or not w.any():
        raise ImageError("weights of channels that are negative, not finite or all 0; wanted are "
                         "numbers of 0 or more")
    return w / w.sum()
