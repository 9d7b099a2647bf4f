"""Peak, flux, position and shape of islands from moments, corrected for the level of the cut.

After Spreeuw (2010), equations 2.49 to 2.67: barycentre and second moments of the pixels of an
island, as arrays of all islands at once. A Gaussian of peak C that was cut at T keeps the part
g = 1 + ln(T/C)/(C/T − 1) of its second moments; the brightest pixel is below the peak by what the
shape says at its distance from the barycentre. Both together are one equation for C, the "tweaked
moments", which has one root and is solved to rounding (`moment_kernels.solve_peak`). One pass
over the pixels; 1 µs an island of 100. The limits are those of moments: neighbours count to the
island they are in; and sums over N pixels differ from integrals by about N^−0.75, at a beam of
5 by 4 pixels without noise and a cut at 3: 8, 3 and 0.7 % of one flux at peaks of 5, 10 and 100.

T is the level at which the (sub-)island was cut, not the threshold of detection. The frame is
that of pixels: x counts columns and y rows from 0, angles run from x towards y in [0, π), shapes
are matrices of squared FWHM (cxx, cxy, cyy).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import ImageError
from uvstack.extraction import moment_kernels as kernels
from uvstack.sky.beam import FOUR_LN2, axes_of_covariances

#: Standard deviation of an angle of which nothing is known: uniform over π.
UNKNOWN_ANGLE = math.pi / math.sqrt(12.0)


class MomentStatus(IntFlag):
    """What was special about an island; 0 is nothing."""

    #: One pixel: its value times the mean factor of equation 2.49, the beam's shape.
    SINGLE_PIXEL = kernels.SINGLE_PIXEL
    #: The island has no shape of its own (two pixels, a line, narrower than a pixel): the beam's.
    BEAM_SHAPE = kernels.BEAM_SHAPE
    #: The brightest pixel is less than 10 % above the level: the corrections are large.
    NEAR_LEVEL = kernels.NEAR_LEVEL
    #: The level is 0 or below: the moments are not corrected for it, and have no errors.
    LEVEL_NOT_POSITIVE = kernels.LEVEL_NOT_POSITIVE
    #: The barycentre is more than a pixel from the brightest, and there the Gaussian would be more
    #: than twice as bright: not one Gaussian. The peak is the brightest pixel.
    OFF_CENTRE = kernels.OFF_CENTRE
    #: No pixel is above the background: place and value of the brightest, the beam's shape.
    NOT_POSITIVE = kernels.NOT_POSITIVE
    #: No pixel, a blank one, or a level or beam that is not finite: all values are NaN.
    BLANK = kernels.BLANK


@dataclass(frozen=True)
class Moments:
    """Moments of n islands; arrays (n,).

    Attributes
    ----------
    peak, flux : ndarray
        Peak of the Gaussian, unit of the image; and its integral in areas of the beam
        (equation 2.63), so Jy where the image is in Jy/beam. Negative for negative islands.
    x, y : ndarray
        Barycentre, columns and rows from 0.
    cxx, cxy, cyy : ndarray
        Matrix of squared FWHM, px².
    fwhm_major, fwhm_minor, angle : ndarray
        Its axes, px; from x towards y, [0, π).
    brightest, total : ndarray
        Value of the brightest (of a negative island lowest) pixel, and the sum over the pixels
        alone, background taken off.
    n_pixels, status : ndarray of int
        Pixels, and bits of `MomentStatus`.
    """

    peak: NDArray[np.float64]
    flux: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    cxx: NDArray[np.float64]
    cxy: NDArray[np.float64]
    cyy: NDArray[np.float64]
    fwhm_major: NDArray[np.float64]
    fwhm_minor: NDArray[np.float64]
    angle: NDArray[np.float64]
    brightest: NDArray[np.float64]
    total: NDArray[np.float64]
    n_pixels: NDArray[np.int64]
    status: NDArray[np.int32]


@dataclass(frozen=True)
class MomentErrors:
    """Standard deviations of `Moments`, arrays (n,) in the same units; NaN where there is none."""

    peak: NDArray[np.float64]
    flux: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    fwhm_major: NDArray[np.float64]
    fwhm_minor: NDArray[np.float64]
    angle: NDArray[np.float64]


def measure_moments(
    image: ArrayLike,
    background: ArrayLike | None,
    start: ArrayLike,
    pixel: ArrayLike,
    level: ArrayLike,
    beam: ArrayLike,
    *,
    sign: ArrayLike = 1,
) -> Moments:
    """Tweaked moments of all islands (Spreeuw 2010, equations 2.49 to 2.67).

    Parameters
    ----------
    image : array_like
        (m, l); not copied if it is float32 or float64 of this machine's byte order.
    background : array_like, number or None
        (m, l), taken off on the fly; a number for all pixels, None for 0.
    start, pixel : array_like of int
        (n + 1,) and (start[n],): island k has the flat indices pixel[start[k]:start[k + 1]].
    level : array_like
        (n,) or a number: what sign × (image − background) exceeds in the island because it was
        cut there; positive for negative islands too.
    beam : array_like
        (3,) or (n, 3): cxx, cxy, cyy of the beam, px².
    sign : array_like
        (n,) or a number: −1 for negative islands.

    Raises
    ------
    ImageError
        Shapes that do not fit, pixels off the image, or a beam that is none.
    """
    pixels_of = _image(image)
    back = _background(background, pixels_of.shape)
    first, flat = _lists(start, pixel, pixels_of.size)
    n = first.size - 1
    levels, signs = _per_island("level", level, n), _per_island("sign", sign, n)
    if not np.isin(signs, (-1.0, 1.0)).all():
        raise ImageError("the sign of an island is neither 1 nor −1; wanted is one of them")
    beams = _beams(beam, n)
    lone = np.diff(first) == 1
    single = np.ones(len(beams))
    if lone.any():
        wanted = lone if len(beams) > 1 else np.ones(1, np.bool_)
        single[wanted] = mean_factor_of_brightest(beams[wanted])
    out, status = np.empty((n, 9)), np.zeros(n, np.int32)
    kernels.measure_islands(pixels_of, back, first, flat, levels, signs, beams, single, out, status)
    peak, flux, x, y, cxx, cxy, cyy, brightest, total = out.T.copy()
    major, minor, angle = axes_of_covariances(np.stack([cyy, cxy, cxy, cxx], -1).reshape(n, 2, 2))
    return Moments(
        peak,
        flux,
        x,
        y,
        cxx,
        cxy,
        cyy,
        major,
        minor,
        angle,
        brightest,
        total,
        np.diff(first),
        status,
    )


def mean_factor_of_brightest(beam: ArrayLike) -> NDArray[np.float64]:
    """Peak over brightest pixel, mean over where in the pixel the peak is (equation 2.49).

    Parameters
    ----------
    beam : array_like
        (n, 3): cxx, cxy, cyy, px².

    Returns
    -------
    factor : ndarray
        (n,), by Gauss-Legendre in 16 × 16 places: to 1e-12 for a FWHM of 1 pixel or more.
    """
    cxx, cxy, cyy = np.atleast_2d(np.asarray(beam, np.float64)).T[..., None, None]
    node, weight = np.polynomial.legendre.leggauss(16)
    dx, dy = 0.5 * node, 0.5 * node[:, None]
    form = (cyy * dx * dx - 2.0 * cxy * dx * dy + cxx * dy * dy) / (cxx * cyy - cxy**2)
    factor = np.einsum("kij,i,j->k", np.exp(FOUR_LN2 * form), 0.5 * weight, 0.5 * weight)
    return np.asarray(factor, np.float64)


def moment_errors(
    moments: Moments, level: ArrayLike, rms: ArrayLike, noise_beam: ArrayLike
) -> MomentErrors:
    """Errors of moments in noise that is correlated over a beam (equations 2.79 to 2.87).

    Parameters
    ----------
    moments : Moments
    level : array_like
        (n,) or a number: T, as in `measure_moments`.
    rms : array_like
        (n,) or a number: noise at the islands, unit of the image.
    noise_beam : array_like
        (3,) or (n, 3): cxx, cxy, cyy of the area over which the noise is correlated, as a rule
        the beam, px².

    Returns
    -------
    errors : MomentErrors
        An error of the angle is at most that of an unknown one, π/√12. Where the shape is the
        beam's its errors are NaN and the flux has the peak's. The error of a lone pixel is the
        rms times its factor: no moments were taken. All are NaN for a level or rms of 0 or below.

    Notes
    -----
    θ_b θ_B is the area alone; the text calls them exchanged below 2.80, which changes nothing.
    These are approximations that the source calls a try: the noise is taken as blocks of
    π θ_b θ_B/4 pixels. Measured widths of the pulls are in docs/measurements.md.
    """
    n = moments.peak.size
    levels, sigma = _per_island("level", level, n), _per_island("rms", rms, n)
    status = moments.status
    shape_is_beam = (status & MomentStatus.BEAM_SHAPE) != 0
    levels = np.where(levels > 0, levels, np.nan)
    peak, major, minor = np.abs(moments.peak), moments.fwhm_major, moments.fwhm_minor
    peak, sigma = np.where(peak > 0, peak, np.nan), np.where(sigma > 0, sigma, np.nan)
    over = np.maximum(np.log(np.maximum(peak, 1e-300) / levels), 1e-12)
    areas = np.sqrt(_determinant(_beams(noise_beam, n))) / (major * minor)
    # 2/ρ² of equation 2.81: (C − T)/(ln C − ln T) is C (1 − e^−u)/u.
    relative = np.sqrt(0.5 * math.log(2.0) * areas) * sigma * over / (-np.expm1(-over) * peak)
    along, across = (axis * relative / math.sqrt(8.0 * math.log(2.0)) for axis in (major, minor))
    cos2, sin2 = np.cos(moments.angle) ** 2, np.sin(moments.angle) ** 2
    lone = (status & MomentStatus.SINGLE_PIXEL) != 0
    of_brightest = np.divide(
        peak, np.abs(moments.brightest), out=np.full(n, np.nan), where=moments.brightest != 0
    )
    peak_error = np.where(lone, sigma * of_brightest, relative * peak)
    flux_part = np.where(shape_is_beam, 0.0, 2.0 * areas * relative**2)
    with np.errstate(divide="ignore"):
        angle = math.sqrt(2.0) * relative * major * minor / (major**2 - minor**2)
    return MomentErrors(
        peak=peak_error,
        flux=np.abs(moments.flux) * np.sqrt((peak_error / peak) ** 2 + flux_part),
        x=np.sqrt(along**2 * cos2 + across**2 * sin2),
        y=np.sqrt(along**2 * sin2 + across**2 * cos2),
        fwhm_major=np.where(shape_is_beam, np.nan, relative * major),
        fwhm_minor=np.where(shape_is_beam, np.nan, relative * minor),
        angle=np.where(shape_is_beam, np.nan, np.minimum(angle, UNKNOWN_ANGLE)),
    )


def _image(image: ArrayLike) -> NDArray[np.floating]:
    values = np.asarray(image)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ImageError(
            f"an image of shape {values.shape} and type {values.dtype}; "
            "wanted are real numbers (m, l)"
        )
    kind = np.float32 if values.dtype.kind == "f" and values.dtype.itemsize == 4 else np.float64
    return values.astype(kind, copy=False)


def _background(background: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.floating]:
    values = np.asarray(0.0 if background is None else background)
    if values.ndim == 0:
        return values.astype(np.float64).reshape(1, 1)
    if values.shape != shape:
        raise ImageError(
            f"a background of shape {values.shape}; wanted is the image's, {shape}, or a number"
        )
    return _image(values)


def _lists(
    start: ArrayLike, pixel: ArrayLike, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, flat = np.asarray(start), np.asarray(pixel)
    flat = flat.astype(np.int64) if flat.size == 0 else flat
    for name, values in (("start", first), ("pixel", flat)):
        if values.ndim != 1 or values.dtype.kind not in "iu":
            raise ImageError(
                f"{name} has shape {values.shape} and type {values.dtype}; "
                "wanted are whole numbers along one axis"
            )
    first, flat = first.astype(np.int64, copy=False), flat.astype(np.int64, copy=False)
    if first.size == 0 or first[0] < 0 or (np.diff(first) < 0).any() or first[-1] > flat.size:
        raise ImageError(
            f"start is no list of where islands begin among {flat.size} pixels; "
            "wanted are growing numbers, one more than islands"
        )
    if flat.size and not 0 <= flat.min() <= flat.max() < size:
        raise ImageError(
            f"pixels from {flat.min()} to {flat.max()} of an image of {size}; "
            "wanted are flat indices of it"
        )
    return first, flat


def _per_island(name: str, values: ArrayLike, n: int) -> NDArray[np.float64]:
    given = np.asarray(values, np.float64)
    if given.shape not in ((), (n,)):
        raise ImageError(
            f"{name} has shape {given.shape}; wanted is one number or one for each of {n} islands"
        )
    return np.array(np.broadcast_to(given, n))


def _determinant(beams: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(beams[:, 0] * beams[:, 2] - beams[:, 1] ** 2)


def _beams(beam: ArrayLike, n: int) -> NDArray[np.float64]:
    given = np.ascontiguousarray(beam, np.float64)
    if given.shape not in ((3,), (n, 3)):
        raise ImageError(
            f"a beam of shape {given.shape}; "
            f"wanted are (cxx, cxy, cyy), once or for each of {n} islands"
        )
    rows = given.reshape(-1, 3)
    good = (rows[:, 0] > 0) & (_determinant(rows) > 0)
    if not (good | np.isnan(rows).any(axis=1)).all() or (given.ndim == 1 and not good.all()):
        raise ImageError(
            f"{rows[~good][0].tolist()} are no squared FWHM of a beam; "
            "wanted is a matrix (cxx, cxy, cyy) with positive axes"
        )
    return rows
