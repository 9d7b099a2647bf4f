"""Sizes of sources before the beam blurred them, with errors, upper limits and a significance.

Matrices of squared FWHM add in a convolution (`uvstack.sky.beam`), so that deconvolution takes the
beam's off the one that was fitted, D = C − B. The elements of D have the covariance of those of C;
its eigenvalues are the squares of the axes. First-order errors of these follow from the
covariance, with the angle between source and beam in it. An axis is known by its square: where
that is not well above its error the axis has the half width of the interval of one σ instead,
which stays finite, and the upper limit tells more.

Resolved or not is asked of one number, the mean relative growth t = ½ tr(B⁻¹ D), to first order
the excess of the source's area over the beam's. It is linear in C, and so as normal as C is: of
point sources a part 1 − Φ(z) lies above z, 5 % above 1.64 (axes are no such test: of point
sources the greater of two noisy eigenvalues is above 0 as a rule). A source that is drawn
out along one axis alone loses up to √2 against the best test. 2000 sources take 3 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from uvstack.checks import BELOW_ONE, finite_number
from uvstack.errors import ImageError
from uvstack.extraction.moments import UNKNOWN_ANGLE
from uvstack.sky.beam import axes_of_covariances, deconvolve

#: A source is resolved where its area is so many errors above the beam's: 1 % of points are by
#: chance.
RESOLVED = 2.33


@dataclass(frozen=True)
class Deconvolved:
    """Of n sources, arrays (n,); FWHM in the root of the matrices' unit.

    NaN where an input is or a size is no ellipse; all but the axes also where the spread is 0,
    since the shape was fixed then.

    Attributes
    ----------
    fwhm_major, fwhm_minor, position_angle : ndarray
        Axes, 0 where the square is not positive, and the angle from the second coordinate
        through the first, [0, π); 0 where no axis is resolved.
    major_error, minor_error, angle_error : ndarray
        Above 0; the angle's at most π/√12, that of an unknown one.
    major_limit, minor_limit : ndarray
        Upper limits: axes above them would have been seen larger, with that confidence.
    significance : ndarray
        Growth of the area over the beam's in units of its error; negative of what is smaller.
    """

    fwhm_major: NDArray[np.float64]
    fwhm_minor: NDArray[np.float64]
    position_angle: NDArray[np.float64]
    major_error: NDArray[np.float64]
    minor_error: NDArray[np.float64]
    angle_error: NDArray[np.float64]
    major_limit: NDArray[np.float64]
    minor_limit: NDArray[np.float64]
    significance: NDArray[np.float64]


def deconvolve_sizes(
    size: ArrayLike, spread: ArrayLike, beam: ArrayLike, *, confidence: float = 0.95
) -> Deconvolved:
    """Deconvolved axes and angles of sources, errors and limits, and whether they are resolved.

    Parameters
    ----------
    size : array_like
        (n, 2, 2): matrices of squared FWHM as fitted, in two coordinates (with east, north the
        angles are position angles).
    spread : array_like
        (n, 3, 3): covariance of their elements 11, 12 and 22.
    beam : array_like
        (2, 2) or (n, 2, 2): that of the beam, as `Beam.covariance` gives it.
    confidence : float
        Of the upper limits, one-sided, between 0.5 and 1.

    Raises
    ------
    ImageError
        Shapes that do not fit, or a beam that is none.
    SelectionError
        The confidence is no such number.
    """
    level = finite_number("confidence", confidence, 0.5, BELOW_ONE)
    seen, noise, blur = _matrices(size, spread, beam)
    left = seen - blur
    major, minor, angle = deconvolve(*axes_of_covariances(seen), axes_of_covariances(blur))
    along_second, along_first = 0.5 * (left[:, 1, 1] - left[:, 0, 0]), left[:, 0, 1]
    middle, length = 0.5 * (left[:, 0, 0] + left[:, 1, 1]), np.hypot(along_second, along_first)
    # Twice the angle; a round one has any, say 0.
    round_one = length == 0
    unit = np.where(round_one, 1.0, length)
    cos, sin = np.where(round_one, 1.0, along_second / unit), along_first / unit
    errors, limits = [], []
    for side in (1.0, -1.0):
        square = np.maximum(middle + side * length, 0.0)
        gradient = np.stack([0.5 * (1.0 - side * cos), side * sin, 0.5 * (1.0 + side * cos)], -1)
        error = _error(gradient, noise)
        low = np.maximum(square - error, 0.0)
        errors.append(0.5 * (np.sqrt(square + error) - np.sqrt(low)))
        limits.append(np.sqrt(square + ndtri(level) * error))
    # 2φ = atan2(first, second): half of what goes across the vector, over its length.
    across = _error(np.stack([0.5 * sin, cos, -0.5 * sin], -1), noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.where(major > 0, np.minimum(0.5 * across / length, UNKNOWN_ANGLE), UNKNOWN_ANGLE)
    inverse = np.linalg.inv(blur)
    growth = 0.5 * np.einsum("nij,nij->n", inverse, left)
    weights = np.stack([0.5 * inverse[:, 0, 0], inverse[:, 0, 1], 0.5 * inverse[:, 1, 1]], -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        significance = growth / _error(weights, noise)
    finite = np.asarray(np.isfinite(seen).all(axis=(1, 2)))
    determinant = np.linalg.det(np.where(finite[:, None, None], seen, 0.0))
    known = finite & (seen[:, 0, 0] > 0) & (determinant > 0)
    # Without a spread the shape was not measured: it was fixed.
    found = known & np.isfinite(noise).all(axis=(1, 2)) & (np.trace(noise, axis1=1, axis2=2) > 0)
    axes = (np.where(known, column, np.nan) for column in (major, minor, angle))
    rest = (*errors, turn, *limits, significance)
    return Deconvolved(*axes, *(np.where(found, column, np.nan) for column in rest))


def _error(gradient: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(np.einsum("ni,nij,nj->n", gradient, noise, gradient), 0.0))


def _matrices(
    size: ArrayLike, spread: ArrayLike, beam: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    seen, noise, blur = (np.asarray(v, np.float64) for v in (size, spread, beam))
    n = seen.shape[0] if seen.ndim else 0
    fits = seen.shape == (n, 2, 2) and noise.shape == (n, 3, 3)
    if not fits or blur.shape not in ((2, 2), (n, 2, 2)):
        raise ImageError(
            f"sizes, their covariance and the beam of shapes {seen.shape}, {noise.shape} and "
            f"{blur.shape}; wanted are (n, 2, 2), (n, 3, 3) and (2, 2) or (n, 2, 2)"
        )
    rows = blur.reshape(-1, 2, 2)
    if not ((rows[:, 0, 0] > 0) & (np.linalg.det(rows) > 0)).all():
        raise ImageError(
            "the beam is no matrix of squared FWHM; wanted is one that is finite, with two "
            "positive axes"
        )
    return seen, noise, np.broadcast_to(blur, (n, 2, 2))
