"""Images convolved with a Gaussian beam.

The plain sum over pixels, by a transform of the sampled Gaussian on a padded grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.sky.beam import Beam, cell_sizes

#: The Gaussian is followed to this many FWHM, where it is 1e-12.
_KERNEL_REACH = 3.16


def gaussian_kernel(beam: Beam | tuple[float, float, float],
                    cell: float | tuple[float, float]) -> NDArray[np.float64]:
    """The Gaussian of peak 1 sampled on pixels, (m, l) of odd sides, l decreasing along the last axis, down to 1e-12."""
    cell_m, cell_l = cell_sizes(cell)
    half = [int(np.ceil(_KERNEL_REACH * beam[0] / size)) for size in (cell_m, cell_l)]
    north = np.arange(-half[0], half[0] + 1)[:, None] * cell_m
    east = -np.arange(-half[1], half[1] + 1)[None, :] * cell_l
    return Beam(*beam).profile(east, north)


def convolve_beam(image: NDArray, beam: Beam | tuple[float, float, float],
                  cell: float | tuple[float, float], threads: int = 1) -> NDArray[np.float64]:
    """Image in Jy/pixel convolved with a Gaussian of peak 1, in Jy/beam.

    Nothing wraps round the edges.

    Parameters
    ----------
    image : ndarray (…, m, l)
        Not finite pixels count as 0.
    beam : Beam
        In the unit of `cell`.
    cell : float or (float, float)
        Pixel size, or the sizes along m and l.
    threads : int

    Returns
    -------
    ndarray (…, m, l) float64
        Its sum is that of the image times the sum of the sampled Gaussian, which is `Beam.area` to
        1e-6 for beams of 2 pixels and to rounding above 3.
    """
    from scipy import fft

    image = np.asarray(image, np.float64)
    kernel = gaussian_kernel(beam, cell)
    # Beyond the image's own width a kernel meets nothing.
    cut = [max(0, (k - 2 * n + 1) // 2)
           for k, n in zip(kernel.shape, image.shape[-2:], strict=True)]
    kernel = kernel[cut[0]: kernel.shape[0] - cut[0], cut[1]: kernel.shape[1] - cut[1]]
    half = [k // 2 for k in kernel.shape]
    size = [fft.next_fast_len(n + h, real=True)
            for n, h in zip(image.shape[-2:], half, strict=True)]
    wrapped = np.zeros(size)
    lines = [np.arange(-h, k - h) % n for h, k, n in zip(half, kernel.shape, size, strict=True)]
    np.add.at(wrapped, np.ix_(*lines), kernel)
    transform = fft.rfft2(wrapped, workers=threads)
    out = np.empty_like(image)
    for plane in np.ndindex(image.shape[:-2]):
        clean = np.where(np.isfinite(image[plane]), image[plane], 0.0)
        spectrum = fft.rfft2(clean, size, workers=threads)
        spectrum *= transform
        out[plane] = fft.irfft2(spectrum, size, workers=threads)[: image.shape[-2],
                                                                 : image.shape[-1]]
    return out
