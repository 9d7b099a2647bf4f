"""The factor between the flux scales of a dish and an interferometer, from scales that both measure.

As MIRIAD's immerge does it (Sault, Teuben & Wright 1995): the interferometer's image is brought
from its restoring beam to that of the dish, and the transforms of both are compared in an annulus of the uv plane, where the
dish is still sensitive and the interferometer has baselines. Here B is the transform of the former,
L of the dish's map; s L = B.

*Noise.* A regression of B on L reads low, as the noise of L adds to Σ|L|²; one of L on B reads
high. Here the noise power N of B alone is subtracted,

    s = Σ g (|B|² − N) / Σ g Re(L* B),

in which the noise of L stands nowhere squared. N is that of white noise in the interferometer's
beam, with the level of its image beyond the dish's scales (median absolute deviation of the image
of (1 − w) V_int). g is the inverse power of B − s L, in rings. The error is that of the scatter of
B − s L, with the number of cells that are independent under the window.

*Edges.* Both images are multiplied with one window, which falls to 0 at edges and blanks, after
they have been brought to one beam: there they are alike pixel by pixel, so no window makes a
difference.

*Refused.* A scale below five errors, or whose common signal may be chance (three); one that changes with
|u| over the annulus by a tenth and three errors, or a fifth and two; and one that a ring differs from by a fifth and four: the beam
is then not what the header says, or the interferometer has not these scales, or not rightly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import ImageError, NumericalError
from uvstack.joint.uv_plane import DishBeam, UVPlane
from uvstack.pixels.noise import robust_noise
from uvstack.sky.beam import areas_of_covariances

#: The annulus where none is given, in wavelengths over FWHM: w falls from 0.28 to 0.03.
DEFAULT_ANNULUS = (0.6, 1.0)
#: Errors that a scale must have, the common signal (a perfect one of n cells has √2n of its own
#: chance).
_LEAST_SIGNIFICANCE, _LEAST_COMMON = 5.0, 3.0
#: Errors and parts of the scale by both of which a slope must change the ratio to be refused: a small one with certainty, a large one
#: sooner; and those by which a ring may be off.
_SLOPES, _OF_A_RING = ((3.0, 0.1), (2.0, 0.2)), (4.0, 0.2)
#: Rings of the annulus, fewer where cells are few; and the least number of cells of a ring.
_RINGS, _LEAST_CELLS = 6, 12
#: Passes in which g is found; they change the scale by less than a tenth of its error after two.
_PASSES = 3


#: Two uv distances with their units, m or wavelengths.
Overlap = tuple[tuple[float, str], tuple[float, str]]


def annulus_of(overlap: Overlap | None, fwhm: float, frequency: float | None) -> tuple[float, float]:
    """The overlap in wavelengths: what is given, or what a dish's beam (rad) says; metres want a frequency, Hz.

    Raises
    ------
    ImageError
        The overlap is in metres, and there is no frequency.
    """
    if overlap is None:
        return DEFAULT_ANNULUS[0] / fwhm, DEFAULT_ANNULUS[1] / fwhm
    (inner, unit), (outer, _) = overlap
    if unit != "m":
        return inner, outer
    if frequency is None:
        raise ImageError("neither image says a frequency, at which the overlap in metres is one in "
                         "the uv plane; give it in wavelengths (2klambda)")
    return inner * frequency / SPEED_OF_LIGHT, outer * frequency / SPEED_OF_LIGHT


@dataclass(frozen=True)
class Cells:
    """Cells of the uv plane, (cell,), half of the plane.

    Attributes
    ----------
    distance : ndarray
        Wavelengths.
    high, low : ndarray complex
        B and L, Jy.
    noise : ndarray
        N, Jy².
    count : ndarray
        Independent cells that each stands for.
    """

    distance: NDArray[np.float64]
    high: NDArray[np.complex128]
    low: NDArray[np.complex128]
    noise: NDArray[np.float64]
    count: NDArray[np.float64]

    def within(self, inner: float, outer: float) -> Cells:
        """Those of an annulus, wavelengths."""
        kept = (self.distance >= inner) & (self.distance < outer)
        return Cells(*(one[kept] for one in vars(self).values()))


@dataclass(frozen=True)
class FluxScale:
    """A factor for the dish's map, and how well it is known.

    Attributes
    ----------
    scale, error : float
    annulus : (float, float)
        Wavelengths.
    rings : tuple of Ring
        Also beyond the annulus, for the eye.
    """

    scale: float
    error: float
    annulus: tuple[float, float]
    rings: tuple[Ring, ...]


@dataclass(frozen=True)
class Ring:
    """Ratio of interferometer and dish in a ring, wavelengths."""

    inner: float
    outer: float
    ratio: float
    error: float


def cells_of(plane: UVPlane, transform: NDArray, images: tuple[NDArray, NDArray],
             beam: DishBeam, high_beam: NDArray[np.float64], outer: float) -> Cells:
    """Cells up to a distance (wavelengths) of two images in Jy/beam of the interferometer.

    Parameters
    ----------
    plane : UVPlane
    transform : ndarray (v, u)
        Of the interferometer's image, by `plane`.
    images : (ndarray, ndarray)
        Of the interferometer and the dish, (m, l); NaN is blank.
    beam : DishBeam
        Of the dish.
    high_beam : ndarray (2, 2)
        Of the interferometer, squares of FWHM in (x, y), pixels².
    outer : float
    """
    high, low = images
    w, kernel = beam.transform(plane), beam.over(plane, high_beam)
    known = np.zeros(plane.size, np.bool_)
    known[plane.inside] = np.isfinite(high) & np.isfinite(low)
    # Half a beam from an edge the smoothed image is good.
    depth = ndimage.distance_transform_edt(known) / plane.reach - 0.5
    window = np.sin(0.5 * np.pi * np.clip(depth, 0.0, 1.0)) ** 2
    given = np.zeros(plane.size)
    given[plane.inside] = np.where(known[plane.inside], low, 0.0)
    b, a = (fft.rfft2(window * one) for one in (fft.irfft2(transform * kernel, plane.size), given))
    shape = plane.taper(high_beam) ** 2
    rms = robust_noise(np.where(np.isfinite(high), plane.image(transform * (1.0 - w)), np.nan))
    power = rms**2 * np.sum(window**2) / np.mean((1.0 - w) ** 2 * shape)
    independent = np.sum(window**2) ** 2 / max(np.sum(window**4), 1e-300) / window.size
    count = np.full(w.shape, independent)
    count[:, 0] *= 0.5  # of both halves
    distance = plane.uv_distance()
    kept = (distance < outer) & (distance > 0)
    area = float(areas_of_covariances(high_beam))
    return Cells(distance[kept], b[kept] / area, a[kept] / area,
                 (power * w**2)[kept] / area**2, count[kept])


def joined(cells: Sequence[Cells]) -> Cells:
    """Cells of several channels as those of one."""
    return Cells(*(np.concatenate([getattr(one, name) for one in cells])
                   for name in vars(cells[0])))


def flux_scale(cells: Cells, annulus: tuple[float, float]) -> FluxScale:
    """The factor that brings a dish's map to the interferometer's flux scale.

    Parameters
    ----------
    cells : Cells
    annulus : (float, float)
        Wavelengths.

    Raises
    ------
    NumericalError
        There are too few cells, the signal is poor, or the ratio changes with the distance.
    """
    used = cells.within(*annulus)
    where = f"in the overlap of {annulus[0]:.4g} to {annulus[1]:.4g} wavelengths"
    if used.count.sum() < _LEAST_CELLS:
        raise NumericalError(f"{where} there are {used.count.sum():.1f} independent cells of the uv "
                             "plane, too few for a flux scale; give a wider overlap, or the scale "
                             "(sd_scale, --sd-scale)")
    n_rings = int(np.clip(used.count.sum() // _LEAST_CELLS, 1, _RINGS))
    edges = np.linspace(*annulus, n_rings + 1)
    ring = np.clip(np.searchsorted(edges, used.distance, side="right") - 1, 0, n_rings - 1)
    # Images of zeros but for sources have a noise of 0.
    weight = 1.0 / np.maximum(used.noise, 1e-12 * used.noise.max() or 1.0)
    for _ in range(_PASSES):
        scale, error, significance = _estimate(used, weight)
        if not (significance > _LEAST_COMMON and scale > 0):
            raise NumericalError(f"{where} dish and interferometer have no common signal above the "
                                 f"noise (S/N {max(significance, 0.0):.1f}, wanted is "
                                 f"{_LEAST_COMMON:g}); give another overlap, or the scale "
                                 "(sd_scale, --sd-scale)")
        rest = np.abs(used.high - scale * used.low) ** 2
        mean = (np.bincount(ring, used.count * rest, n_rings)
                / np.maximum(np.bincount(ring, used.count, n_rings), 1e-300))
        weight = 1.0 / np.maximum(mean, 1e-12 * np.mean(np.abs(used.high) ** 2) + 1e-300)[ring]
    scale, error, significance = _estimate(used, weight)
    if scale < _LEAST_SIGNIFICANCE * error:
        raise NumericalError(f"{where} the flux scale is {scale:.3g} ± {error:.2g}: too noisy; "
                             "give another overlap, or the scale (sd_scale, --sd-scale)")
    _check_slope([_ring(used, a, b) for a, b in zip(edges, edges[1:], strict=False)], scale, where)
    step = edges[1] - edges[0]
    shown = np.concatenate([np.arange(edges[0] - step, 0.0, -step)[::-1], edges,
                            edges[-1] + step * np.arange(1, 1 + max(1, n_rings // 3))])
    rings = [_ring(cells, a, b) for a, b in zip(shown, shown[1:], strict=False)]
    return FluxScale(scale, error, annulus, tuple(one for one in rings if one is not None))


def _estimate(cells: Cells, weight: NDArray[np.float64]) -> tuple[float, float, float]:
    """Scale, its error, and how many errors the common signal has."""
    g, high, low = weight * cells.count, cells.high, cells.low
    common = float(np.sum(g * (low.conj() * high).real))
    if common == 0.0:
        return 0.0, float("inf"), 0.0
    scale = float(np.sum(g * (np.abs(high) ** 2 - cells.noise))) / common
    # Of n cells that stand for `count` each the sum has the variance of its terms over count.
    spread = np.sum(g**2 / cells.count * np.abs(high * (high - scale * low)) ** 2) / 2.0
    by_chance = np.sum(g**2 / cells.count * np.abs(high * low) ** 2) / 2.0
    return (scale, float(np.sqrt(spread)) / abs(common),
            common / float(np.sqrt(by_chance)) if by_chance > 0 else 0.0)


def _ring(cells: Cells, inner: float, outer: float) -> Ring | None:
    """Ratio in a ring; None where it has no cells."""
    kept = cells.within(inner, outer)
    if not kept.count.size or not np.any(kept.low):
        return None
    scale, error, _ = _estimate(kept, np.ones(kept.count.size))
    return Ring(float(inner), float(outer), scale, error)


def _check_slope(rings: Sequence[Ring | None], scale: float, where: str) -> None:
    """Raise NumericalError where the ratio changes along an annulus, or is another in a ring."""
    found = [one for one in rings if one is not None and one.error > 0]
    if len(found) < 3:
        return
    x = np.array([0.5 * (one.inner + one.outer) for one in found])
    y, sigma = (np.array([getattr(one, name) for one in found]) for name in ("ratio", "error"))
    # What is known beyond a thousandth says nothing of a slope.
    weight = np.hypot(sigma, 1e-3 * scale) ** -2
    x = (x - np.average(x, weights=weight)) / (found[-1].outer - found[0].inner)
    change = float(np.sum(weight * x * y) / np.sum(weight * x * x))
    error = float(np.sum(weight * x * x)) ** -0.5
    if any(abs(change) > max(errors * error, part * scale) for errors, part in _SLOPES):
        raise NumericalError(
            f"{where} the ratio of interferometer to dish changes by {change / scale:+.0%}: they do "
            "not overlap there, or the dish's beam is not what its header says or its diameter gives, or the interferometer's image "
            "is not deconvolved to the end; give the overlap (overlap, --overlap), or the scale (sd_scale, --sd-scale)")
    errors, part = _OF_A_RING
    off = np.abs(y - scale)
    if np.any((off > errors * np.hypot(sigma, 1e-3 * scale)) & (off > part * scale)):
        raise NumericalError(
            f"{where} the flux scale would be {scale:.3g}, and the ratio of interferometer to dish is {y.min():.3g} to {y.max():.3g} "
            "from ring to ring: the interferometer's image has there what the dish has not, as where it is not deconvolved to the end; "
            "give another overlap (overlap, --overlap), or the scale (sd_scale, --sd-scale)")
