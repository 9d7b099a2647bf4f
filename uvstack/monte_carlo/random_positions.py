"""Lists of random positions: where nothing is known to be, or near where something is.

*Random* positions are drawn evenly in solid angle over a region: a rectangle or a circle on the
tangent plane around the middle of the targets. By default the rectangle is that which the targets
span, widened on each side by span/(N − 1), which is what N evenly drawn points leave of a rectangle
on average. Places that are not allowed (outside the primary beam, in a mask, near known sources)
are drawn again. *Jittered* positions are the targets, each moved by a fixed distance in a random
direction: the field is sampled where the targets are, off the targets themselves (Lindroos et al.
2015, section 3.5.2, have fake sources at random).

All lists are drawn before any data are read, so that a seed gives the same lists whatever the
chunks and threads. Cost: 0.1 µs a position and try. Limits: the regions lie within 90° of their
middle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import ARCMIN
from uvstack.errors import PositionsError
from uvstack.sky.coordinates import direction_cosines

#: A region of which less than this is allowed has no room.
_LEAST_SHARE = 1e-3
#: Drawn at once, at least, and at most.
_BATCH = 4096, 4_000_000
_DEG = np.pi / 180


@dataclass(frozen=True)
class Region:
    """Where random positions may fall.

    Attributes
    ----------
    ra, dec : float
        Middle, J2000, rad.
    width, height : float
        Of the rectangle, direction cosines; of a circle both diameters.
    circle : bool
    middle : tuple of float
        (l, m) of the middle of the rectangle.
    """

    ra: float
    dec: float
    width: float
    height: float
    circle: bool = False
    middle: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not (np.isfinite([self.width, self.height]).all() and min(self.width, self.height) > 0):
            raise PositionsError(f"a region of {self.width / ARCMIN:.4g}′ × "
                                 f"{self.height / ARCMIN:.4g}′ has no room for random "
                                 "positions; give a radius (--radius) or a size (--size)")
        if max(self.width, self.height) / 2 + max(map(abs, self.middle)) >= 0.7:
            raise PositionsError(f"a region of {self.width / _DEG:.4g}° × "
                                 f"{self.height / _DEG:.4g}°; wanted is one within 40° of its "
                                 "middle")

    @property
    def area(self) -> float:
        """On the tangent plane."""
        return self.width * self.height * (np.pi / 4 if self.circle else 1.0)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64],
                                                              NDArray[np.float64]]:
        """About n places, evenly in solid angle: ra and dec, rad, J2000."""
        x, y = rng.uniform(-0.5, 0.5, (2, n))
        # dΩ = dl dm / n: the part that is kept is n_min/n, next to 1 in any but the widest fields.
        keep = rng.uniform(0, 1, n)
        l, m = self.middle[0] + x * self.width, self.middle[1] + y * self.height
        cosine = np.sqrt(1 - l**2 - m**2)
        inside = keep * cosine <= cosine.min(initial=1.0)
        if self.circle:
            inside &= x**2 + y**2 <= 0.25
        return from_cosines(l[inside], m[inside], self.ra, self.dec)


def from_cosines(l: NDArray[np.float64], m: NDArray[np.float64], ra0: float, dec0: float,
                 ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension and declination, rad, of direction cosines to the east and north of (ra0, dec0)."""
    n = np.sqrt(np.clip(1 - l**2 - m**2, 0, None))
    dec = np.arcsin(np.clip(m * np.cos(dec0) + n * np.sin(dec0), -1, 1))
    return (ra0 + np.arctan2(l, n * np.cos(dec0) - m * np.sin(dec0))) % (2 * np.pi), dec


def middle_of(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> tuple[float, float]:
    """Direction of the mean of unit vectors, rad."""
    x, y, z = (float(a.mean())
               for a in (np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)))
    return float(np.arctan2(y, x) % (2 * np.pi)), float(np.arctan2(z, np.hypot(x, y)))


def region_of(ra: NDArray[np.float64], dec: NDArray[np.float64], radius: float | None = None,
              size: tuple[float, float] | None = None) -> Region:
    """The region around targets: the rectangle that they span, or a circle or rectangle around their middle.

    Parameters
    ----------
    ra, dec : ndarray (pos,)
        Of the targets, J2000, rad.
    radius : float, optional
        Of a circle, rad.
    size : (float, float), optional
        East-west and north-south extent of a rectangle, rad.

    Raises
    ------
    PositionsError
        Both are given, they are no sizes, or the targets span nothing and neither is given.
    """
    ra0, dec0 = middle_of(ra, dec)
    if radius is not None and size is not None:
        raise PositionsError("a radius and a size of the region are both given; wanted is one of "
                             "them")
    if radius is not None:
        return Region(ra0, dec0, 2 * radius, 2 * radius, circle=True)
    if size is not None:
        return Region(ra0, dec0, *size)
    if ra.size < 2:
        raise PositionsError("a list of one position spans no region to draw random positions in; "
                             "give a radius (--radius) or a size (--size)")
    l, m, n_minus_1 = direction_cosines(ra, dec, ra0, dec0)
    if n_minus_1.min() <= -1.0:
        raise PositionsError("the positions span more than a hemisphere; give a radius (--radius) "
                             "or a size (--size) for the random ones")
    widen = 1 + 2 / (ra.size - 1)
    span = np.ptp(l), np.ptp(m)
    return Region(ra0, dec0, float(span[0]) * widen, float(span[1]) * widen,
                  middle=(float(l.min() + l.max()) / 2, float(m.min() + m.max()) / 2))


def away_from(ra: NDArray[np.float64], dec: NDArray[np.float64],
              radius: float) -> Callable[[NDArray, NDArray], NDArray[np.bool_]]:
    """Function of ra, dec (pos,) that says which are farther than `radius` (rad) from all of these directions."""
    from scipy.spatial import cKDTree

    if not (np.isfinite(radius) and radius > 0):
        raise PositionsError(f"the radius to keep away is {radius} rad; wanted is a positive angle")
    tree = cKDTree(_unit_vectors(ra, dec))
    chord = 2 * np.sin(min(radius, np.pi) / 2)

    def allowed(ra: NDArray, dec: NDArray) -> NDArray[np.bool_]:
        return np.asarray(tree.query(_unit_vectors(ra, dec), distance_upper_bound=chord)[0]
                          == np.inf)

    return allowed


def _unit_vectors(ra: NDArray, dec: NDArray) -> NDArray:
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def draw_random(n_lists: int, n_positions: int, region: Region,
                allowed: Callable[[NDArray, NDArray], NDArray[np.bool_]],
                rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lists of random positions: ra and dec, each (n_lists, n_positions), rad, J2000.

    Parameters
    ----------
    n_lists, n_positions : int
    region : Region
    allowed : callable
        Of ra, dec (pos,): where a position may be, bool.
    rng : Generator

    Raises
    ------
    PositionsError
        Less than a thousandth of the region is allowed.
    """
    wanted = n_lists * n_positions
    found = np.empty((2, wanted))
    n_found, tried = 0, 0
    while n_found < wanted:
        share = max(n_found, 1) / max(tried, 1)
        n = int(np.clip(1.1 * (wanted - n_found) / max(share, _LEAST_SHARE), *_BATCH))
        drawn = np.stack(region.draw(n, rng))
        drawn = drawn[:, allowed(*drawn)]
        taken = min(drawn.shape[1], wanted - n_found)
        found[:, n_found:n_found + taken] = drawn[:, :taken]
        n_found, tried = n_found + taken, tried + n
        if n_found < _LEAST_SHARE * min(tried, 4 * wanted + _BATCH[0]) and tried >= 2 * _BATCH[0]:
            raise PositionsError(f"no room for random positions: of {tried} places drawn in the "
                                 f"region of {region.width / ARCMIN:.4g}′ × "
                                 f"{region.height / ARCMIN:.4g}′, {n_found} are inside the primary "
                                 "beam and the mask and away from what is to be avoided; "
                                 "widen the region, lessen --avoid-radius, or look at the mask")
    return found[0].reshape(n_lists, n_positions), found[1].reshape(n_lists, n_positions)


def draw_jittered(n_lists: int, ra: NDArray[np.float64], dec: NDArray[np.float64], distance: float,
                  allowed: Callable[[NDArray, NDArray], NDArray[np.bool_]],
                  rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The targets, each moved by `distance` (rad) in a random direction: ra and dec, each (n_lists, pos).

    Arguments as in `draw_random`. A place that is not allowed is drawn again, in other directions.

    Raises
    ------
    PositionsError
        The distance is not positive, or around a target no direction is allowed.
    """
    if not (np.isfinite(distance) and 0 < distance < 0.5):
        raise PositionsError(f"the jitter is {distance} rad; wanted is a positive angle below 0.5 "
                             "rad, of a few beams")
    out = np.empty((2, n_lists, ra.size))
    waiting = np.ones((n_lists, ra.size), np.bool_)
    for _ in range(200):
        which = np.nonzero(waiting)
        if which[0].size == 0:
            return out[0], out[1]
        moved = np.stack(_moved(ra[which[1]], dec[which[1]], distance,
                                rng.uniform(0, 2 * np.pi, which[0].size)))
        good = allowed(*moved)
        chosen = which[0][good], which[1][good]
        out[:, chosen[0], chosen[1]] = moved[:, good]
        waiting[chosen] = False
    stuck = int(waiting.any(axis=0).sum())
    raise PositionsError(f"no room for jittered positions: around {stuck} of {ra.size} targets no "
                         f"place {distance / ARCMIN * 60:.4g}″ "
                         "away is inside the primary beam and the mask and away from what is to be "
                         "avoided; change the jitter, or leave those targets out")


def _moved(ra: NDArray, dec: NDArray, distance: float, angle: NDArray) -> tuple[NDArray, NDArray]:
    """Directions at a distance and position angle (north through east)."""
    sin_dec = np.sin(dec) * np.cos(distance) + np.cos(dec) * np.sin(distance) * np.cos(angle)
    y, x = np.sin(angle) * np.sin(distance) * np.cos(dec), np.cos(distance) - np.sin(dec) * sin_dec
    return (ra + np.arctan2(y, x)) % (2 * np.pi), np.arcsin(np.clip(sin_dec, -1, 1))
