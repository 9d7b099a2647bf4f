"""Sums over the pixels of islands, with errors from the noise's correlation.

The error of Σ I over N pixels is σ √(Σ_i Σ_j ρ_ij): for an island larger than the lags of the
correlation that is σ √(N N_dep), N_dep the sum of the correlations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.extraction import sum_kernels as kernels
from uvstack.extraction.islands import Islands
from uvstack.extraction.source_model import SourceModel

#: Rows of the model that are made at a time.
_ROWS = 512


def sum_islands(image: NDArray, model: SourceModel, islands: Islands, rms: NDArray,
                correlation: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Sums over islands, their errors, and the rms of image − model in them, (n,) each.

    Parameters
    ----------
    image : ndarray (m, l)
        Without background.
    model : SourceModel
    islands : Islands
    rms : ndarray (n,)
        Noise at the islands.
    correlation : ndarray (2 r + 1, 2 r + 1)
    """
    out = np.zeros((len(islands), 2))
    kernels.sums(image, islands.label, islands.start, islands.pixel, correlation, out)
    error = rms * np.sqrt(np.maximum(out[:, 1], 0.0))
    return out[:, 0], error, _rms_of_rest(image, model, islands)


def _rms_of_rest(image: NDArray, model: SourceModel, islands: Islands) -> NDArray[np.float64]:
    """What the model leaves; a few rows of it at a time."""
    n, width = len(islands), image.shape[1]
    order = np.argsort(islands.pixel)
    pixel, owner = islands.pixel[order], np.repeat(np.arange(n), islands.n_pixels)[order]
    squares = np.zeros(n)
    for first in range(0, image.shape[0], _ROWS):
        stop = min(first + _ROWS, image.shape[0])
        here = slice(*np.searchsorted(pixel, (first * width, stop * width)))
        rest = image.ravel()[pixel[here]] - model.rows(first, stop).ravel()[
            pixel[here] - first * width]
        squares += np.bincount(owner[here], rest.astype(float) ** 2, n)
    return np.sqrt(squares / np.maximum(islands.n_pixels, 1))
