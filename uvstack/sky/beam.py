"""The Gaussian ellipse: a dirty or restoring beam, the kernel between two, the size of a source.

FWHM a and b along its axes, and the position angle of the major one from north through east: on the
sky `exp(−4 ln2 (x²/a² + y²/b²))`, of the uv plane `exp(−π²/(4 ln2) (a² u² + b² v²))` times its
integral, with u along the major axis.

All that two ellipses do with each other is written with their *covariance* in (east, north) = (l,
m), whose eigenvalues are the squares of the FWHM (8 ln 2 times those of σ). Gaussians that are
convolved add theirs (Wild 1970, Aust. J. Phys. 23, 113); P can be convolved to C where C − P has no
negative eigenvalue, and C has the area √det C. A common beam is so the matrix of least determinant
above several others: exact, from at most three of them (`common_beam`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import ImageError

#: exp(−FOUR_LN2 r²/θ²) has the FWHM θ.
FOUR_LN2 = 4.0 * math.log(2.0)
#: exp(−(TRANSFORM_SCALE θ q)²), at q wavelengths, transforms the Gaussian of FWHM θ, integral 1.
TRANSFORM_SCALE = math.pi / (2.0 * math.sqrt(math.log(2.0)))
#: FWHM of a Gaussian of σ = 1.
FWHM_OF_SIGMA = math.sqrt(8.0 * math.log(2.0))
#: Axes below this part of what they are the difference of are rounding.
_ROUNDING = 1e-6
#: How far below zero an eigenvalue, in squares of the major axis, counts as zero.
_SLACK = 1e-12
#: The same in the search for a common beam: one number for what is taken and for what is left,
#: or it goes round in circles.
_SOLVED = 1e-11


class Beam(NamedTuple):
    """An elliptical Gaussian: FWHM, position angle north through east; rad or pixels."""

    fwhm_major: float
    fwhm_minor: float
    position_angle: float = 0.0

    @property
    def solid_angle(self) -> float:
        """Integral of the Gaussian of peak 1, sr: π/(4 ln 2) times both FWHM."""
        return self.area()

    def area(self, cell: float | tuple[float, float] = 1.0) -> float:
        """Integral for peak 1 in pixels of that size: Jy/beam over this are Jy/pixel."""
        cell_m, cell_l = cell_sizes(cell)
        return float(np.pi / FOUR_LN2 * self.fwhm_major * self.fwhm_minor / (cell_m * cell_l))

    def covariance(self, cell: float | tuple[float, float] = 1.0) -> NDArray[np.float64]:
        """Matrix (2, 2) in (east, north), eigenvalues the squares of FWHM in pixels."""
        cell_m, cell_l = cell_sizes(cell)
        per_pixel = np.array([1.0 / cell_l, 1.0 / cell_m])
        return covariances(*self) * per_pixel[:, None] * per_pixel

    def profile(self, east: ArrayLike, north: ArrayLike) -> NDArray[np.float64]:
        """The Gaussian of peak 1 at offsets from its centre, in the unit of its FWHM."""
        east, north = np.asarray(east), np.asarray(north)
        major, minor, angle = self
        along = north * np.cos(angle) + east * np.sin(angle)
        across = east * np.cos(angle) - north * np.sin(angle)
        return np.asarray(np.exp(-FOUR_LN2 * ((along / major) ** 2 + (across / minor) ** 2)))

    def taper(self, u: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
        """Fourier transform of the Gaussian of integral 1 at (u, v), wavelengths for FWHM in rad.

        exp(−π²/(4 ln 2) (u, v) C (u, v)ᵀ) with the `covariance` C: real and positive, 1 at the
        origin.
        """
        (ee, en), (_, nn) = TRANSFORM_SCALE**2 * self.covariance()
        u, v = np.asarray(u), np.asarray(v)
        return np.asarray(np.exp(-(ee * u * u + 2.0 * en * u * v + nn * v * v)))

    def convolved(self, other: Beam) -> Beam:
        """The Gaussian that this one, convolved with another, becomes: covariances add."""
        return beam_of_covariance(self.covariance() + other.covariance())

    def contains(self, other: Beam) -> bool:
        """Whether another can be convolved to this one, to 1e-12 of the squares; equal ones can."""
        difference = self.covariance() - other.covariance()
        return bool(_smallest(difference) >= -_SLACK * max(self.fwhm_major, other.fwhm_major) ** 2)

    def deconvolved(self, other: Beam, *, exact: bool = False) -> Beam:
        """The Gaussian that becomes this one convolved with another: a source's size, a kernel.

        Parameters
        ----------
        other : Beam
        exact : bool
            Refuse where there is no such Gaussian. By default an axis whose square is negative
            counts 0, as `deconvolve` has it.

        Raises
        ------
        ImageError
            With `exact`, the other cannot be convolved to this one.
        """
        if exact and not self.contains(other):
            raise ImageError(
                f"no Gaussian convolves a beam of {_text(other)} to one of "
                f"{_text(self)}: narrower in some direction; take a larger beam (common_beam)"
            )
        return Beam(*(float(axis) for axis in deconvolve(*self, other)))


def given_beam(beam: Sequence[Any], unit: str = "rad") -> Beam:
    """A beam that a caller gives: FWHM of both axes and, third, the position angle, rad.

    Parameters
    ----------
    beam : sequence of float or Quantity
    unit : {"rad", "pix"}
        That of the axes; numbers are in it.

    Raises
    ------
    ImageError
        It is not two or three finite numbers, major ≥ minor > 0.
    """
    try:
        numbers = [_number(one, "rad" if k == 2 else unit) for k, one in enumerate(beam)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (2, 3) or not np.isfinite(numbers).all() or not (
            0 < numbers[1] <= numbers[0]):
        told = tuple(map(str, beam)) if isinstance(beam, list | tuple) else beam
        raise ImageError(f"the beam is {told!r}; wanted are its major and minor FWHM and, third, "
                         "the position angle: numbers, in "
                         + ("rad" if unit == "rad" else "pixels and rad, as the image has no "
                            "coordinates"))
    return Beam(*numbers)


def _number(value: Any, unit: str) -> float:
    """Number of a value in a unit; NaN of a text, or of a quantity of another kind."""
    if isinstance(value, str):
        return math.nan
    if not isinstance(value, u.Quantity):
        return float(value)
    return float(value.to_value(unit)) if value.unit.is_equivalent(unit) else math.nan


def cell_sizes(cell: float | tuple[float, float]) -> tuple[float, float]:
    """Sizes of a pixel along m and l, both positive."""
    cell_m, cell_l = (cell, cell) if isinstance(cell, int | float | np.number) else cell
    if not (abs(cell_m) > 0 and abs(cell_l) > 0 and np.isfinite(cell_m) and np.isfinite(cell_l)):
        raise ImageError(
            f"pixels of {cell_m} by {cell_l}; wanted are two finite sizes that are not 0"
        )
    return abs(float(cell_m)), abs(float(cell_l))


def covariances(
    fwhm_major: ArrayLike, fwhm_minor: ArrayLike, position_angle: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Matrices (…, 2, 2) in (east, north) of squares of FWHM, of axes and angles (rad).

    With the major axis along (sin p, cos p): C = a² (sin p, cos p)ᵀ(sin p, cos p) + b² (cos p, −sin
    p)ᵀ(cos p, −sin p).
    """
    major, minor, angle = np.broadcast_arrays(
        *(np.asarray(v, np.float64) for v in (fwhm_major, fwhm_minor, position_angle))
    )
    sin, cos, a, b = np.sin(angle), np.cos(angle), major**2, minor**2
    mixed = (a - b) * sin * cos
    return np.stack(
        [
            np.stack([a * sin**2 + b * cos**2, mixed], -1),
            np.stack([mixed, a * cos**2 + b * sin**2], -1),
        ],
        -2,
    )


def areas_of_covariances(covariance: ArrayLike) -> NDArray[np.float64]:
    """Integrals of Gaussians of peak 1 with such matrices (…, 2, 2), in the square of their unit: π/(4 ln 2) √det C."""
    return np.asarray(np.pi / FOUR_LN2 * np.sqrt(np.linalg.det(np.asarray(covariance, np.float64))))


def axes_of_covariances(
    covariance: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """FWHM of the axes and position angle in [0, π) of matrices (…, 2, 2): `covariances` back.

    A negative eigenvalue, and one below 1e-15 of the greatest entry, gives an axis of 0; a round or
    vanishing ellipse has the angle 0; of NaN comes NaN.
    """
    c = np.asarray(covariance, np.float64)
    ee, en, nn = c[..., 0, 0], 0.5 * (c[..., 0, 1] + c[..., 1, 0]), c[..., 1, 1]
    middle, half = 0.5 * (ee + nn), np.hypot(0.5 * (nn - ee), en)
    rounding = 1e-15 * (np.abs(middle) + half)
    angle = 0.5 * np.arctan2(2.0 * en, nn - ee) % np.pi
    squares = [
        np.where(square <= rounding, 0.0, square) for square in (middle + half, middle - half)
    ]
    # −1e-17 modulo π is π.
    flat = (half <= 2.0 * rounding) | (squares[0] == 0) | (angle >= np.pi)
    return (
        np.sqrt(squares[0]),
        np.sqrt(squares[1]),
        np.where(flat & np.isfinite(middle + half), 0.0, angle),
    )


def beam_of_covariance(covariance: ArrayLike) -> Beam:
    """The Gaussian of a matrix (2, 2) of squares of FWHM: `Beam.covariance` back.

    Raises
    ------
    ImageError
        It is not a symmetric matrix of finite numbers, or has an eigenvalue below 0, to 1e-12 of
        the other.
    """
    c = np.asarray(covariance, np.float64)
    if (
        c.shape != (2, 2)
        or not np.isfinite(c).all()
        or abs(c[0, 1] - c[1, 0]) > 1e-9 * np.abs(c).max()
    ):
        raise ImageError(
            f"{c.tolist()} is no covariance of a beam; wanted is a symmetric "
            "matrix (2, 2) of finite numbers"
        )
    if _smallest(c) < -_SLACK * np.abs(c).max():
        raise ImageError(
            f"{c.tolist()} is no covariance of a beam: its eigenvalues are "
            f"{np.linalg.eigvalsh(c).tolist()}, squares of FWHM"
        )
    return Beam(*(float(axis) for axis in axes_of_covariances(c)))


def deconvolve(
    fwhm_major: ArrayLike,
    fwhm_minor: ArrayLike,
    position_angle: ArrayLike,
    beam: Beam | tuple[ArrayLike, ArrayLike, ArrayLike],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Axes and position angle, in [0, π), of Gaussians before a beam was convolved with them (Wild
    1970).

    Parameters
    ----------
    fwhm_major, fwhm_minor, position_angle : array_like
        What was seen, in the unit of the beam, the angles in rad; shapes that broadcast.
    beam : Beam, or three array_like
        One for all or one for each.

    Returns
    -------
    fwhm_major, fwhm_minor, position_angle : ndarray
        An axis whose square would be negative, or less than 1e-12 of what it is the difference of,
        is 0: the source is not resolved along it. Where both are, the angle is 0 too. NaN where an
        input is.
    """
    seen, blur = covariances(fwhm_major, fwhm_minor, position_angle), covariances(*beam)
    rounding = _ROUNDING * np.sqrt(
        np.maximum(np.trace(seen, axis1=-2, axis2=-1), np.trace(blur, axis1=-2, axis2=-1))
    )
    major, minor, angle = axes_of_covariances(seen - blur)
    unresolved = major <= rounding
    return (
        np.where(unresolved, 0.0, major),
        np.where(minor <= rounding, 0.0, minor),
        np.where(unresolved, 0.0, angle),
    )


def common_beam(beams: Iterable[Beam | tuple[float, float, float]]) -> Beam:
    """The smallest Gaussian, by area, to which all of these can be convolved; one of them where
    that is enough.

    Parameters
    ----------
    beams : iterable of Beam
        One at least, in one unit; an axis may be 0. Their order does not matter.

    Returns
    -------
    Beam
        Of the least area to 1e-9; every one of `beams` can be convolved to it (`Beam.contains`).

    Raises
    ------
    ImageError
        There is none, or one is not finite or has a negative axis.

    Notes
    -----
    Sought is the matrix C of least determinant with C − Cᵢ ≥ 0 for all i. It is unique, and held by
    at most three of them (John 1948). One: it contains the others. Two, P and Q: in the frame where
    P + Q is 1 they have the same eigenvectors, and C takes the greater eigenvalue of each. Three:
    det (C − Cᵢ) = 0 for each, of which the differences are linear in C, so that a quadratic
    equation is left. The three are found as the simplex method does: what is worst off joins those
    that hold C, the best of the subsets with it is the next C, and the area grows until nothing
    sticks out. Cost: about as many solutions of four ellipses as there are corners, with one look
    at all beams each: 50 ms for 10 000 beams.
    """
    rows = np.array(sorted({tuple(float(v) for v in beam) for beam in beams}), np.float64)
    if rows.size == 0:
        raise ImageError("no beams were given; a common beam wants one at least")
    bad = ~(np.isfinite(rows).all(axis=1) & (rows[:, :2] >= 0).all(axis=1))
    if bad.any():
        raise ImageError(
            f"a beam of {_text(Beam(*rows[bad][0]))}; wanted are finite axes that are not negative"
        )
    given = covariances(*rows.T)
    total = given.mean(axis=0)
    if not _smallest(total) > _SLACK * np.trace(total):
        # All lie along one line, or are points.
        return Beam(*(float(v) for v in rows[np.argmax(rows[:, :2].max(axis=1))]))
    # In this frame the ellipses fill a circle, however long they are; areas keep their order.
    frame = np.linalg.cholesky(total)
    inverse = np.linalg.inv(frame)
    held_by, least = _least_above(inverse @ given @ inverse.T)
    if len(held_by) == 1:
        one = Beam(*(float(v) for v in rows[held_by[0]]))
        if _smallest(one.covariance() - given).min() >= -_SLACK * one.fwhm_major**2:
            return one
    return _grown(frame @ least @ frame.T, given)


def _least_above(given: NDArray[np.float64]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Which of the matrices (n, 2, 2), of mean 1, hold the least one above all; it."""
    held_by: tuple[int, ...] = (int(np.argmax(np.linalg.det(given))),)
    least = given[held_by[0]]
    for _ in range(10 * len(given) + 100):
        sticks_out = -_smallest(least - given)
        worst = int(np.argmax(sticks_out))
        if sticks_out[worst] <= _SOLVED * np.trace(least):
            return held_by, least
        found = []
        for size in range(3):
            for others in combinations([i for i in held_by if i != worst], size):
                subset = (*others, worst)
                for one in _held_by(given[list(subset)]):
                    if _smallest(one - given[[*held_by, worst]]).min() >= -_SOLVED * np.trace(one):
                        found.append((np.linalg.det(one), subset, one))
        if not found:
            break
        _, held_by, least = min(found, key=lambda entry: entry[0])
    raise ImageError(
        f"no common beam of {len(given)} beams was found to rounding; give one by hand"
    )


def _held_by(given: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Matrices that one, two or three others touch from below and no less than these hold."""
    if len(given) == 1:
        return [given[0]]
    if len(given) == 2:
        total = given[0] + given[1]
        if not _smallest(total) > _SLACK * np.trace(total):
            return []
        frame = np.linalg.cholesky(total)
        inverse = np.linalg.inv(frame)
        part, axes = np.linalg.eigh(inverse @ given[0] @ inverse.T)
        turned = frame @ axes
        return [turned * np.maximum(part, 1.0 - part) @ turned.T]
    # As (t, p, q) with t = (ee + nn)/2, p = (nn − ee)/2, q = en the determinant is t² − p² − q².
    points = np.stack(
        [
            0.5 * (given[:, 0, 0] + given[:, 1, 1]),
            0.5 * (given[:, 1, 1] - given[:, 0, 0]),
            given[:, 0, 1],
        ],
        axis=1,
    )
    apart = points[1:] - points[0]
    form = np.array([1.0, -1.0, -1.0])
    along = np.cross(apart[0] * form, apart[1] * form)
    if not np.linalg.norm(along) > 1e-15 * np.linalg.norm(apart[0]) * np.linalg.norm(apart[1]):
        return []
    along /= np.linalg.norm(along)
    base = np.linalg.lstsq(apart * form, 0.5 * (apart**2 @ form), rcond=None)[0]
    roots = np.roots([along**2 @ form, 2.0 * (base * along) @ form, base**2 @ form])
    found = []
    for root in roots[np.abs(roots.imag) <= 1e-9 * np.abs(roots)].real:
        t, p, q = points[0] + base + root * along
        found.append(np.array([[t - p, q], [q, t + p]]))
    return found


def _grown(covariance: NDArray[np.float64], given: NDArray[np.float64]) -> Beam:
    """The beam of a matrix, larger by what rounding wants to lie above all given."""
    growth = 1e-15
    while growth < 1e-9:
        beam = beam_of_covariance(covariance + growth * np.trace(covariance) * np.eye(2))
        if _smallest(beam.covariance() - given).min() >= 0:
            return beam
        growth *= 2.0
    raise ImageError(
        f"no common beam of {len(given)} beams was found to rounding; give one by hand"
    )


def _smallest(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lesser eigenvalue of symmetric matrices (…, 2, 2)."""
    ee, en, nn = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 1]
    return np.asarray(0.5 * (ee + nn) - np.hypot(0.5 * (nn - ee), en))


def _text(beam: Sequence[float]) -> str:
    return f"{beam[0]:.6g} by {beam[1]:.6g} at {np.degrees(beam[2]):.4g}°"
