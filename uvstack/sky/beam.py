"""The Gaussian ellipse of an image's resolution: a dirty or restoring beam, of peak 1.

FWHM along its axes, and the position angle of the major one from north through east. `exp(−4 ln2 (x²/a² + y²/b²))` has the FWHM a and b.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uvstack.errors import ImageError

#: exp(−FOUR_LN2 r²/θ²) has the FWHM θ.
FOUR_LN2 = 4.0 * np.log(2.0)


class Beam(NamedTuple):
    """An elliptical Gaussian: FWHM along its axes and position angle from north through east; rad (or pixels: see `cell`)."""

    fwhm_major: float
    fwhm_minor: float
    position_angle: float = 0.0

    @property
    def solid_angle(self) -> float:
        """Integral of the Gaussian of peak 1, sr: π/(4 ln 2) times both FWHM."""
        return self.area()

    def area(self, cell: float | tuple[float, float] = 1.0) -> float:
        """Integral of the Gaussian of peak 1 in pixels of that size: Jy/beam over this are Jy/pixel."""
        cell_m, cell_l = cell_sizes(cell)
        return float(np.pi / FOUR_LN2 * self.fwhm_major * self.fwhm_minor / (cell_m * cell_l))


def cell_sizes(cell: float | tuple[float, float]) -> tuple[float, float]:
    """Sizes of a pixel along m and l, both positive."""
    cell_m, cell_l = (cell, cell) if isinstance(cell, int | float | np.number) else cell
    if not (abs(cell_m) > 0 and abs(cell_l) > 0 and np.isfinite(cell_m) and np.isfinite(cell_l)):
        raise ImageError(f"pixels of {cell_m} by {cell_l}; wanted are two finite sizes that are not 0")
    return abs(float(cell_m)), abs(float(cell_l))
