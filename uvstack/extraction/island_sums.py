"""Sums over the pixels of islands, with errors from the noise's correlation.

The error of Σ I over N pixels is σ √(Σ_i Σ_j ρ_ij): for an island larger than the lags of the
correlation that is σ √(N N_dep), N_dep the sum of the correlations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.extraction import sum_kernels as kernels
from uvstack.extraction.islands import Islands


def sum_islands(image: NDArray, model: NDArray, islands: Islands, rms: NDArray,
                correlation: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Sums over islands, their errors, and the rms of image − model in them, (n,) each.

    Parameters
    ----------
    image, model : ndarray (m, l)
        Without background; what the sources add up to.
    islands : Islands
    rms : ndarray (n,)
        Noise at the islands.
    correlation : ndarray (2 r + 1, 2 r + 1)
    """
    out = np.zeros((len(islands), 3))
    kernels.sums(image, model, islands.label, islands.start, islands.pixel, correlation, out)
    error = rms * np.sqrt(np.maximum(out[:, 1], 0.0))
    return out[:, 0], error, np.sqrt(out[:, 2])
