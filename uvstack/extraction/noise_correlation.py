"""How the noise of an image is correlated from pixel to pixel, as a table by lags.

The noise of a synthesis image is white only in the uv plane: its autocorrelation is the transform
of the weights' square, for a Gaussian beam of FWHM θ a Gaussian of FWHM √2 θ. It is measured from
the pixels about a beam outside islands (Refregier & Brown 1998, section 3), some beams apart, or taken
from the beam where the image has too few. Errors of fits follow from it without any formula's
assumption on the shape of the noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.extraction.correlation_kernels import sum_of_products
from uvstack.extraction.islands import Map, rows_of
from uvstack.sky.beam import FOUR_LN2, areas_of_covariances

#: Lags reach so many FWHM of the beam's major axis: that of a Gaussian is 4 × 10⁻⁴ there.
_REACH = 2.4
#: Largest lag, pixels.
_LONGEST = 64
#: Places from which products are taken, and the fewest beams between them for a measurement.
_PLACES, _FEWEST_BEAMS = 60_000, 400


def beam_correlation(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of white noise smoothed with a Gaussian, (2 r + 1, 2 r + 1) by lags (y, x).

    Parameters
    ----------
    size : ndarray (2, 2)
        Matrix in (x, y) of squares of the FWHM in pixels (`uvstack.sky.beam`).
    """
    r = reach_of(size)
    lag = np.arange(-r, r + 1.0)
    # Of twice the covariance.
    (xx, xy), (_, yy) = 0.5 * FOUR_LN2 * np.linalg.inv(size)
    return np.asarray(np.exp(-(xx * lag**2 + 2.0 * xy * lag * lag[:, None]
                               + yy * lag[:, None] ** 2)))


def reach_of(size: NDArray[np.float64]) -> int:
    """Longest lag that matters for a beam with this matrix of squares of the FWHM, pixels."""
    return int(min(np.ceil(_REACH * np.sqrt(np.linalg.eigvalsh(size)[1])), _LONGEST))


def measure_correlation(
    image: NDArray, rms: Map, label: NDArray[np.int32], size: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """Correlation of an image's noise by lags (y, x), (2 r + 1, 2 r + 1), 1 in the middle; None where there are too few pixels.

    Parameters
    ----------
    image : ndarray (m, l)
        Without its background; NaN is blank.
    rms : ndarray (m, l), NodeMap or number
        Its noise.
    label : ndarray (m, l) int32
        0 outside islands, whose pixels do not count.
    size : ndarray (2, 2)
        Matrix in (x, y) of squares of the beam's FWHM, pixels: it says how far lags reach.
    """
    r = reach_of(size)
    area = areas_of_covariances(size)
    if min(image.shape) < 4 * r:
        return None
    step = max(1, int(np.sqrt(image.size / _PLACES)))
    # A map of the rows that are asked alone: the whole is as large as the image.
    noise = [np.broadcast_to(rows_of(rms, y, y + 1), (1, image.shape[1]))
             for y in range(0, image.shape[0] - r, step)]
    # Wings of sources below the level of their islands are no noise; in a crowd they cannot be shunned.
    for margin in (int(np.ceil(np.sqrt(np.linalg.eigvalsh(size)[1]))), 0):
        total, count = np.zeros((r + 1, 2 * r + 1)), np.zeros((r + 1, 2 * r + 1), np.int64)
        sum_of_products(image, np.concatenate(noise), label, margin, step, total, count)
        n_beams = count[0, r] * min(step**2 / area, 1.0)
        if n_beams >= _FEWEST_BEAMS and count.min() > 0 and total[0, r] > 0:
            break
    else:
        return None
    half = total / count
    half /= half[0, r]
    # C(−lag) = C(lag): of lag 0 down, both sides are the same products but for the edges.
    half[0] = 0.5 * (half[0] + half[0, ::-1])
    return np.concatenate([half[:0:-1, ::-1], half])
