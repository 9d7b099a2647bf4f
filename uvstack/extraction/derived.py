"""What follows from the six numbers of a Gaussian: its flux, and the ellipse it has on the sky, with errors and without bias.

A quantity f of numbers θ with covariance V and bias b is estimated as f(θ) − f′ b − ½ tr(f″ V), its
variance f′ V f′ᵀ. That correction is at most one error. Axes want more care: the difference of both
is the length of a vector (of the size matrix's trace-free part), and lengths of noisy vectors are
too large, by σ²/2r; with σ⊥ the error across the vector, √(r² − σ⊥²) is taken for it (Wardle &
Kronberg 1974, of polarisation, ApJ 194, 249).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.extraction.gaussian_fit import GaussianFits, quadratic_form
from uvstack.extraction.moments import UNKNOWN_ANGLE
from uvstack.sky.beam import FOUR_LN2

#: Elements of a symmetric matrix by the numbers a, b, c.
_BASIS = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])


@dataclass(frozen=True)
class Axes:
    """Axes of ellipses with their errors, (n,) each: FWHM in the unit of the matrices' root, angles in rad."""

    major: NDArray[np.float64]
    minor: NDArray[np.float64]
    angle: NDArray[np.float64]
    major_error: NDArray[np.float64]
    minor_error: NDArray[np.float64]
    angle_error: NDArray[np.float64]


def _at_most(correction: NDArray, variance: NDArray) -> NDArray[np.float64]:
    error = np.sqrt(np.maximum(variance, 0.0))
    return np.clip(correction, -error, error)


def peaks_of(fits: GaussianFits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Peaks without their bias, and their errors, (n,), unit of the image."""
    variance = fits.covariance[:, 0, 0]
    return fits.numbers[:, 0] - _at_most(fits.bias[:, 0], variance), np.sqrt(
        np.maximum(variance, 0.0))


def positions_of(fits: GaussianFits) -> tuple[NDArray[np.float64], NDArray[np.float64],
                                              NDArray[np.float64]]:
    """x, y without their bias, (n,), and their covariance (n, 2, 2), pixels."""
    variance = fits.covariance[:, [1, 2], [1, 2]]
    place = fits.numbers[:, 1:3] - _at_most(fits.bias[:, 1:3], variance)
    return place[:, 0], place[:, 1], fits.covariance[:, 1:3, 1:3]


def flux_gradient(numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of Gaussians over all pixels, π P/√(ac − b²), (n,), and their derivatives by the numbers, (n, 6)."""
    p, a, b, c = numbers[:, 0], numbers[:, 3], numbers[:, 4], numbers[:, 5]
    determinant = a * c - b * b
    total = np.pi * p / np.sqrt(determinant)
    zero = np.zeros_like(p)
    relative = np.stack([1.0 / p, zero, zero, -0.5 * c / determinant, b / determinant,
                         -0.5 * a / determinant], axis=1)
    return total, total[:, None] * relative


def fluxes_of(fits: GaussianFits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums over all pixels without their bias, and their errors, (n,), unit of the image times pixels."""
    total, gradient = flux_gradient(fits.numbers)
    p, a, b, c = fits.numbers[:, 0], fits.numbers[:, 3], fits.numbers[:, 4], fits.numbers[:, 5]
    d = a * c - b * b
    relative = gradient / total[:, None]
    # f″/f = r rᵀ + ∂r, r the relative derivatives.
    second = relative[:, :, None] * relative[:, None, :]
    second[:, 0, 0] -= 1.0 / p**2
    slope = np.stack([c, -2.0 * b, a], axis=1)
    second[:, 3:, 3:] += 0.5 * slope[:, :, None] * slope[:, None, :] / d[:, None, None] ** 2
    second[:, 3, 5] -= 0.5 / d
    second[:, 5, 3] -= 0.5 / d
    second[:, 4, 4] += 1.0 / d
    shift = np.einsum("ni,ni->n", gradient, fits.bias) + 0.5 * total * np.einsum(
        "nij,nij->n", second, fits.covariance)
    variance = np.einsum("ni,nij,nj->n", gradient, fits.covariance, gradient)
    return total - _at_most(shift, variance), np.sqrt(np.maximum(variance, 0.0))


def sizes_of(fits: GaussianFits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices in (x, y) of squares of the FWHM without their bias, (n, 2, 2), pixels², and the covariance of xx, xy, yy, (n, 3, 3).

    Where no ellipse would be left the bias stays in.
    """
    inverse = np.linalg.inv(quadratic_form(fits.numbers))
    size = FOUR_LN2 * inverse
    # d(A⁻¹) = −A⁻¹ E A⁻¹, and half the second derivative A⁻¹ E A⁻¹ E A⁻¹.
    first = np.einsum("nij,pjk->npik", inverse, _BASIS)
    slope = -FOUR_LN2 * np.einsum("npij,njk->npik", first, inverse)
    covariance = fits.covariance[:, 3:, 3:]
    half = FOUR_LN2 * np.einsum("npij,nqjk,nkl,npq->nil", first, first, inverse, covariance)
    shift = np.einsum("npij,np->nij", slope, fits.bias[:, 3:]) + half
    gradient = np.stack([slope[:, :, 0, 0], slope[:, :, 0, 1], slope[:, :, 1, 1]], axis=1)
    spread = np.einsum("nip,npq,njq->nij", gradient, covariance, gradient)
    limit = np.moveaxis(np.array([[spread[:, 0, 0], spread[:, 1, 1]],
                                  [spread[:, 1, 1], spread[:, 2, 2]]]), 2, 0)
    better = size - _at_most(shift, limit)
    ellipse = (better[:, 0, 0] > 0) & (np.linalg.det(better) > 0)
    return np.where(ellipse[:, None, None], better, size), spread


def turned(size: NDArray, spread: NDArray,
           steps: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices of ellipses and the covariance of their elements after a linear map, steps (n, 2, 2): (east, north) of (x, y)."""
    new = np.einsum("nij,njk,nlk->nil", steps, size, steps)
    parts = np.einsum("nij,pjk,nlk->npil", steps, _BASIS, steps)
    gradient = np.stack([parts[:, :, 0, 0], parts[:, :, 0, 1], parts[:, :, 1, 1]], axis=1)
    return new, np.einsum("nip,npq,njq->nij", gradient, spread, gradient)


def axes_of(size: NDArray, spread: NDArray) -> Axes:
    """Axes and angles, from the second coordinate (north) through the first (east), of matrices (n, 2, 2); errors from (n, 3, 3)."""
    middle, u, v = 0.5 * (size[:, 0, 0] + size[:, 1, 1]), 0.5 * (size[:, 1, 1]
                                                                 - size[:, 0, 0]), size[:, 0, 1]
    change = np.array([[0.5, 0.0, 0.5], [-0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    found = np.einsum("ip,npq,jq->nij", change, spread, change)
    r = np.hypot(u, v)
    unit = np.where(r > 0, r, 1.0)
    cos, sin = np.where(r > 0, u / unit, 1.0), np.where(r > 0, v / unit, 0.0)
    zero, one = np.zeros_like(r), np.ones_like(r)
    across = _variance(np.stack([zero, -sin, cos], axis=1), found)
    length = np.sqrt(np.maximum(r * r - across, 0.0))
    axes, errors = [], []
    for side in (1.0, -1.0):
        square = middle + side * length
        variance = _variance(np.stack([one, side * cos, side * sin], axis=1), found)
        safe = np.maximum(square, 1e-6 * middle)
        root = np.sqrt(safe)
        errors.append(0.5 * np.sqrt(variance) / root)
        axes.append(root + np.minimum(variance / (8.0 * safe * root), errors[-1]))
    # Of the angle: half that of the vector, whose length the noise makes no shorter than its error.
    angle_error = np.minimum(0.5 * np.sqrt(across) / np.maximum(length, 1e-12 * middle),
                             UNKNOWN_ANGLE)
    angle = 0.5 * np.arctan2(sin, cos) % np.pi
    return Axes(np.maximum(axes[0], axes[1]), np.minimum(axes[0], axes[1]),
                np.where(angle >= np.pi, 0.0, angle), errors[0], errors[1], angle_error)


def _variance(gradient: NDArray, covariance: NDArray) -> NDArray[np.float64]:
    return np.maximum(np.einsum("ni,nij,nj->n", gradient, covariance, gradient), 0.0)
