"""Two images joined in the uv plane (Rau, Naik & Braun 2019, equations 3 and 4).

With V_int the transform of the interferometer's image and w that of the dish's beam, 1 at the
origin, the feathered image has the transform

    (g w V_sd + (1 − w) V_int) / (g w + 1 − w),

g the gain. Equation 3 is that for g = 1. What a dish observes is already w V_sd: its map is not
multiplied with w again. The denominator, which is not in the paper, makes g a weight: no g changes
a flux that both measure alike, nor the total flux, where 1 − w is 0. As g → 0 the
interferometer's image without its scales near zero spacing is left.

*A dish of another diameter.* Where w is that of a dish other than the one whose beam the map has,
w_map, the map's part is multiplied with min(1, w/w_map): brought to the smaller dish, never
sharpened, and the denominator has min(w, w_map). Weights add up to 1 at every scale.

*Edges.* Transforms are periodic; images are continued beyond their edges and into their blanks by
the nearest pixel, fading out over a beam of the dish, within a margin of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from uvstack.sky.beam import TRANSFORM_SCALE

#: Beams of the dish over which images fade out, and that are between an image and its repetition.
_FADE, _MARGIN = 1.0, 2.0


@dataclass(frozen=True)
class UVPlane:
    """Spatial frequencies of the pixels of an image with a margin.

    Attributes
    ----------
    shape : (int, int)
        Of the image (m, l).
    steps : ndarray (2, 2)
        To the east and north (rows), rad, of a pixel along x and y (columns).
    reach : float
        FWHM of the dish, pixels: edges fade out over it.
    """

    shape: tuple[int, int]
    steps: NDArray[np.float64]
    reach: float

    @property
    def margin(self) -> int:
        """Pixels before the first of the image, along both axes."""
        return math.ceil(_MARGIN * self.reach)

    @property
    def size(self) -> tuple[int, int]:
        """Pixels (m, l) with margins."""
        m, l = (fft.next_fast_len(n + 2 * self.margin, real=True) for n in self.shape)
        return m, l

    @property
    def inside(self) -> tuple[slice, slice]:
        """Where the image is in the plane with margins."""
        m, l = (slice(self.margin, self.margin + n) for n in self.shape)
        return m, l

    def taper(self, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform (v, u), 1 at the origin, of a Gaussian: squares of FWHM in (x, y), pixels².

        Of the difference of two such matrices it is the ratio of their transforms.
        """
        (xx, xy), (_, yy) = TRANSFORM_SCALE**2 * covariance
        x, y = fft.rfftfreq(self.size[1])[None, :], fft.fftfreq(self.size[0])[:, None]
        with np.errstate(over="ignore"):
            return np.exp(-(xx * x * x + 2.0 * xy * x * y + yy * y * y))

    def uv_distance(self) -> NDArray[np.float64]:
        """Wavelengths (v, u)."""
        back = np.linalg.inv(self.steps)  # pixels of a radian: q = steps⁻ᵀ k
        x, y = fft.rfftfreq(self.size[1])[None, :], fft.fftfreq(self.size[0])[:, None]
        return np.hypot(back[0, 0] * x + back[1, 0] * y, back[0, 1] * x + back[1, 1] * y)

    def continued(self, image: NDArray) -> NDArray[np.float64]:
        """The image with margins, without blanks: fading out from its edges."""
        held = np.zeros(self.size)
        known = np.zeros(self.size, np.bool_)
        known[self.inside] = np.isfinite(image)
        held[self.inside] = np.where(known[self.inside], image, 0.0)
        away, nearest = ndimage.distance_transform_edt(~known, return_indices=True)
        fade = 0.5 + 0.5 * np.cos(np.pi * np.minimum(away / (_FADE * self.reach), 1.0))
        return held[tuple(nearest)] * fade

    def transform(self, image: NDArray) -> NDArray[np.complex128]:
        """Of the continued image, (v, u)."""
        return np.asarray(fft.rfft2(self.continued(image)))

    def image(self, transform: NDArray) -> NDArray[np.float64]:
        """The image (m, l) of a transform, without margins."""
        return np.asarray(fft.irfft2(transform, self.size))[self.inside]


@dataclass(frozen=True)
class Weights:
    """What both transforms are multiplied with, (v, u); they add up to 1 for what both measure alike.

    Attributes
    ----------
    high : ndarray (v, u)
        Of the interferometer: (1 − w)/(g w + 1 − w).
    low : ndarray (v, u)
        Of the dish's map, which is w V_sd: g/(g w + 1 − w).
    """

    high: NDArray[np.float64]
    low: NDArray[np.float64]


def feather_weights(plane: UVPlane, beam: NDArray[np.float64], weight_beam: NDArray[np.float64],
                    gain: float, cut: float | None = None) -> Weights:
    """Weights of equation 3, normalised.

    Parameters
    ----------
    plane : UVPlane
    beam, weight_beam : ndarray (2, 2)
        Squares of FWHM in (x, y), pixels²: the beam of the dish's map, and the one that sets w.
    gain : float
    cut : float, optional
        Wavelengths beyond which the map counts nothing.
    """
    w = plane.taper(weight_beam)
    share = np.minimum(1.0, plane.taper(weight_beam - beam))
    in_map = np.minimum(w, plane.taper(beam))
    if cut is not None:
        beyond = plane.uv_distance() > cut
        for one in (w, share, in_map):
            one[beyond] = 0.0
    total = gain * in_map + (1.0 - w)
    return Weights((1.0 - w) / total, gain * share / total)
