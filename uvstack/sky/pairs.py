"""Which of two lists of sources belong together, one to one.

Of all pairs that may be one source the closest counts first; its members are then taken, and so on.
What comes out is the only pairing that no two members of different pairs, or without one, would
rather leave for each other: the nearest neighbours of each other, then those among the rest. The
pairing of least total distance (the assignment problem) is another: it parts nearest neighbours
where that finds a partner for a third source, which is how a chance neighbour within the radius
becomes a match.
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from uvstack.sky.coordinates import direction_cosines


def one_to_one(first: NDArray[np.int64], second: NDArray[np.int64],
               distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which of n pairs hold, the closest first, each member being in one pair at most.

    Parameters
    ----------
    first, second : ndarray of int (n,)
        Numbers of the members in their lists.
    distance : ndarray (n,)
        In any unit; of equal ones the first in the list counts.
    """
    kept = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for pair in np.argsort(distance, kind="stable"):
        i, k = int(first[pair]), int(second[pair])
        if i not in taken[0] and k not in taken[1]:
            taken[0].add(i)
            taken[1].add(k)
            kept.append(pair)
    return np.array(kept, np.int64)


def within(
    first: tuple[NDArray, NDArray], second: tuple[NDArray, NDArray], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """All pairs that lie within a radius: their numbers, and how far the first is from the second.

    Parameters
    ----------
    first, second : (ndarray, ndarray)
        Right ascensions and declinations, rad, in one frame.
    radius : float
        rad.

    Returns
    -------
    i, k : ndarray of int
    east, north : ndarray
        Direction cosines of the first about the second, which are rad for small radii.
    """
    none = np.zeros(0, np.int64)
    i, k = none, none
    if len(first[0]) and len(second[0]):
        # The frame stands for theirs, whichever it is.
        here, there = (SkyCoord(*place, unit="rad", frame="icrs") for place in (first, second))
        k, i, _, _ = here.search_around_sky(there, radius * u.rad)
    east, north, _ = direction_cosines(first[0][i], first[1][i], second[0][k], second[1][k])
    return i, k, east, north
