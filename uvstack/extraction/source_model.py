"""The Gaussians that were measured, as an image: whole, or some rows of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.extraction import sum_kernels as kernels
from uvstack.extraction.gaussian_fit import numbers_of
from uvstack.extraction.measure import Measured

#: Exponent at which a Gaussian ends: 8 × 10⁻⁷ of its peak.
_DEPTH = 14.0


@dataclass(frozen=True)
class SourceModel:
    """An image that is made when it is asked for.

    Attributes
    ----------
    numbers : ndarray (n, 6)
        Peak, x0, y0, a, b, c (`uvstack.extraction.fit_kernels`).
    shape : tuple of int
        (m, l) of the image.
    """

    numbers: NDArray[np.float64]
    shape: tuple[int, int]

    def rows(self, first: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows from `first` to `stop`, (stop − first, l), unit of the peaks; default all."""
        stop = self.shape[0] if stop is None else stop
        out = np.zeros((stop - first, self.shape[1]), np.float32)
        kernels.add_gaussians(self.numbers, first, _DEPTH, out)
        return out


def model_of(found: Measured, shape: tuple[int, int]) -> SourceModel:
    """The Gaussians of sources that have a peak and a size."""
    good = np.isfinite(found.peak + found.x + found.y + found.size[:, 0, 0])
    return SourceModel(numbers_of(found.peak[good], found.x[good], found.y[good],
                                  found.size[good]), shape)
