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
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray
from scipy import fft, ndimage

from uvstack.sky.beam import TRANSFORM_SCALE, Beam, areas_of_covariances

#: Beams of the dish over which images fade out, and that are between an image and its repetition.
_FADE, _MARGIN = 1.0, 2.0
#: Where the transform of a measured beam is lower, nothing is divided by it.
_LEAST_TRANSFORM = 1e-6


def pixel_matrix(beam: Beam, cell: float) -> NDArray[np.float64]:
    """Squares of FWHM in (x, y), pixels², of a beam (in the unit of `cell`) where east is to the left."""
    (east, cross), (_, north) = beam.covariance(cell)
    return np.array([[east, -cross], [-cross, north]])


@dataclass(frozen=True, eq=False)
class Continuation:
    """Images with margins, without blanks, that fade out from the pixels that are known.

    Attributes
    ----------
    nearest : (ndarray, ndarray)
        Row and column of the known pixel next to each of the plane with margins.
    fade : ndarray (m, l)
        1 at known pixels.
    """

    nearest: tuple[NDArray[np.intp], ...]
    fade: NDArray[np.float64]

    def __call__(self, image: NDArray) -> NDArray[np.float64]:
        """The image (m, l) with margins."""
        return np.asarray(image[self.nearest] * self.fade)


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

    def ring_means(self, columns: Mapping[str, NDArray], n: int, unit: u.UnitBase) -> QTable:
        """Means of quantities (v, u) in n rings of the uv plane, evenly in the logarithm: wavelengths and a column each."""
        distance = self.uv_distance()
        edges = np.geomspace(distance[distance > 0].min(), distance[0].max(), n + 1)
        ring = np.clip(np.digitize(distance.ravel(), edges) - 1, -1, n) % (n + 1)
        count = np.bincount(ring, minlength=n + 1)[:n]
        means = {name: np.bincount(ring, values.ravel(), n + 1)[:n] / np.maximum(count, 1) * unit
                 for name, values in columns.items()}
        return QTable({"wavelengths": np.sqrt(edges[1:] * edges[:-1]), **means})[count > 0]

    def continuation(self, known: NDArray[np.bool_]) -> Continuation:
        """How images that are known at some pixels (m, l) go on beyond them."""
        if known.all():
            rows, columns = (np.arange(size) - self.margin for size in self.size)
            inner = [np.clip(at, 0, n - 1)
                     for at, n in zip((rows, columns), self.shape, strict=True)]
            away = np.hypot((rows - inner[0])[:, None], (columns - inner[1])[None, :])
            place = np.ix_(*inner)
        else:
            whole = np.zeros(self.size, np.bool_)
            whole[self.inside] = known
            away, nearest = ndimage.distance_transform_edt(~whole, return_indices=True)
            place = tuple(index - self.margin for index in nearest)
        fade = 0.5 + 0.5 * np.cos(np.pi * np.minimum(away / (_FADE * self.reach), 1.0))
        return Continuation(place, fade)

    def transform(self, image: NDArray, onward: Continuation | None = None) -> NDArray[np.complex128]:
        """Of the image as it is continued, (v, u); `onward` is that of its known pixels, if at hand."""
        onward = self.continuation(np.isfinite(image)) if onward is None else onward
        return np.asarray(fft.rfft2(onward(image)))

    def transform_of_model(self, model: NDArray) -> NDArray[np.complex128]:
        """Of an image that is 0 beyond its edges, (v, u)."""
        held = np.zeros(self.size)
        held[self.inside] = model
        return np.asarray(fft.rfft2(held))

    def image(self, transform: NDArray) -> NDArray[np.float64]:
        """The image (m, l) of a transform, without margins."""
        return np.asarray(fft.irfft2(transform, self.size))[self.inside]


@dataclass(frozen=True, eq=False)
class DishBeam:
    """What a dish's map is convolved with.

    Attributes
    ----------
    matrix : ndarray (2, 2)
        Squares of FWHM in (x, y), pixels²: of the beam, or of the Gaussian nearest to it.
    psf : ndarray (m, l), optional
        Its pixels where it is no Gaussian: sum 1, peak at (m // 2, l // 2).
    """

    matrix: NDArray[np.float64]
    psf: NDArray[np.float64] | None = None

    @property
    def area(self) -> float:
        """Pixels of the beam: its integral over its peak."""
        return float(areas_of_covariances(self.matrix)) if self.psf is None else float(
            1.0 / self.psf.max())

    @property
    def reach(self) -> float:
        """Largest FWHM, pixels."""
        return float(np.sqrt(np.linalg.eigvalsh(self.matrix)[-1]))

    def transform(self, plane: UVPlane) -> NDArray[np.float64]:
        """Transform (v, u), 1 at the origin (equation 4)."""
        if self.psf is None:
            return plane.taper(self.matrix)
        held = np.zeros(plane.size)
        shape = [min(n, size) for n, size in zip(self.psf.shape, plane.size, strict=True)]
        m, l = (slice(n // 2 - kept // 2, n // 2 - kept // 2 + kept)
                for n, kept in zip(self.psf.shape, shape, strict=True))
        held[: shape[0], : shape[1]] = self.psf[m, l]
        held = np.roll(held, (-(shape[0] // 2), -(shape[1] // 2)), axis=(0, 1))
        found = fft.rfft2(held).real
        return np.asarray(np.clip(found / found[0, 0], 0.0, 1.0))

    def over(self, plane: UVPlane, inner: NDArray[np.float64]) -> NDArray[np.float64]:
        """What brings an image with a Gaussian beam (squares of FWHM, pixels²) to this one, (v, u)."""
        if self.psf is None:
            return plane.taper(self.matrix - inner)
        return self.transform(plane) / np.maximum(plane.taper(inner), _LEAST_TRANSFORM)


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


def feather_weights(plane: UVPlane, beam: DishBeam, weight_beam: DishBeam, gain: float,
                    cut: float | None = None) -> Weights:
    """Weights of equation 3, normalised.

    Parameters
    ----------
    plane : UVPlane
    beam, weight_beam : DishBeam
        That of the dish's map, and the one that sets w.
    gain : float
    cut : float, optional
        Wavelengths beyond which the map counts nothing.
    """
    w = weight_beam.transform(plane)
    if weight_beam is beam:
        in_map, share = w, np.ones_like(w)
    else:
        in_map = beam.transform(plane)
        is_gaussian = beam.psf is None and weight_beam.psf is None
        ratio = plane.taper(weight_beam.matrix - beam.matrix) if is_gaussian else w / np.maximum(
            in_map, _LEAST_TRANSFORM)
        in_map, share = np.minimum(w, in_map), np.minimum(1.0, ratio)
    if cut is not None:
        inside = plane.uv_distance() <= cut
        w, share, in_map = w * inside, share * inside, in_map * inside
    total = gain * in_map + (1.0 - w)
    return Weights((1.0 - w) / total, gain * share / total)
