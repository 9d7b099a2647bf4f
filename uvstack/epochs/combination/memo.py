"""The chain of VLASS memo 26, step by step: regridded linearly, then convolved with a kernel drawn on pixels.

It is there to be compared with. A kernel that is nearly as narrow as a pixel, as at the limit of
what can be deconvolved, is not what it is drawn for: integrated fluxes are kept in K, peaks are off
by tens of per cent. Convolved directly in Jy/beam, fluxes are off as well, unless the target is
padded: by 10 per cent, the memo found (section 7).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.pixels import resampling_kernels as kernels
from uvstack.pixels.pixel_map import PixelMap
from uvstack.sky.beam import FOUR_LN2, areas_of_covariances

#: A drawn kernel ends where it is below this part of its peak.
_DRAWN_TO = 1e-6
#: Square of a kernel's width, pixels², below which it is a line and has no area to speak of.
_NARROW = 0.01


def drawn_kernel(beam: NDArray[np.float64], there: NDArray[np.float64],
                 target: NDArray[np.float64], *, direct: bool) -> NDArray[np.float64]:
    """Kernel on pixels of the grid (m, l), of odd sides, times what brightness in Jy/beam grows by.

    Parameters
    ----------
    beam : ndarray (2, 2)
        Squares of the epoch's FWHM in its pixels.
    there : ndarray (2, 2)
        Steps in the epoch's pixels of a pixel of the grid.
    target : ndarray (2, 2)
        Squares of the target's FWHM in pixels of the grid.
    direct : bool
        The kernel has the sum that it would have undrawn, in Jy/beam; else it sums to 1, in K.

    Raises
    ------
    ImageError
        With `direct`, the kernel is a line.
    """
    back = np.linalg.inv(there)
    on_grid = back @ beam @ back.T
    value, axes = np.linalg.eigh(target - on_grid)
    if direct and value[1] > _NARROW and value[0] < _NARROW:
        raise ImageError(f"the kernel of an epoch is {np.sqrt(max(value[0], 0.0)):.2g} pixels wide "
                         "in one direction, too narrow to be convolved with in Jy/beam (direct, "
                         "--direct); give a wider target: padding=0.1 (--padding 0.1)")
    drawn = _drawn(axes @ np.diag(np.maximum(value, 1e-6)) @ axes.T)
    ratio = float(np.sqrt(np.linalg.det(target) / np.linalg.det(on_grid)))
    area = float(areas_of_covariances(target - on_grid)) if direct and value[0] > _NARROW else None
    return drawn * ratio / (drawn.sum() if area is None else area)


def memo_block(image: NDArray[np.float32], places: PixelMap,
               drawn: NDArray[np.float64]) -> NDArray[np.float32]:
    """Brightness (m, l) of a block, Jy/beam of the target; blank pixels count 0, as CASA has them, and stay blank.

    Parameters
    ----------
    image : ndarray (m, l) float32
        Window of the epoch, Jy/beam; NaN is blank.
    places : PixelMap
        In pixels of the window, of the block and as much around it as the kernel reaches.
    drawn : ndarray
        As from `drawn_kernel`.
    """
    from scipy.signal import oaconvolve

    regridded = np.empty(places.shape, np.float32)
    kernels.linear_at(image, places.x, places.y, places.step, regridded)
    blank = ~np.isfinite(regridded)
    regridded[blank] = 0.0
    out = oaconvolve(regridded, drawn.astype(np.float32), "same")
    out[blank] = np.nan
    y, x = drawn.shape[0] // 2, drawn.shape[1] // 2
    return out[y : out.shape[0] - y, x : out.shape[1] - x].astype(np.float32)


def _drawn(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gaussian of peak 1 at the middles of pixels."""
    reach = np.sqrt(np.log(1.0 / _DRAWN_TO) / FOUR_LN2 * np.diag(covariance))
    nx, ny = (max(1, int(np.ceil(r))) for r in reach)
    y, x = np.mgrid[-ny : ny + 1, -nx : nx + 1]
    inverse = np.linalg.inv(covariance)
    return np.asarray(np.exp(-FOUR_LN2 * (inverse[0, 0] * x * x + 2 * inverse[0, 1] * x * y
                                          + inverse[1, 1] * y * y)))
