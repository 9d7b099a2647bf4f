"""Which detections of several images are one source.

Of pairs that lie within a given radius those with the least de Ruiter radius come first (de Ruiter,
Willis & Arp 1977, A&AS 28, 211; Swinbank et al. 2015, Astronomy and Computing 11, 25, section 4.4):
the distance in units of the errors of both positions,

    r² = Δα² cos²δ / (σ_α,1² + σ_α,2²) + Δδ² / (σ_δ,1² + σ_δ,2²) .

It chooses between candidates; the radius alone says what is none. Small errors of a bright source
do not make two of it where images are shifted by more than they are. Each detection of an image
belongs to one source, each source has one detection of an image at most. The place of a source is
the mean of its detections, weighted by their errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from uvstack.sky.coordinates import direction_cosines
from uvstack.sky.pairs import one_to_one, within


@dataclass(frozen=True)
class Places:
    """Places of n sources, arrays (n,).

    Attributes
    ----------
    ra, dec : ndarray
        rad, in one frame.
    ra_error, dec_error : ndarray
        Angles on the sky, rad, above 0.
    n_found : ndarray of int
        Images in which each was found.
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    ra_error: NDArray[np.float64]
    dec_error: NDArray[np.float64]
    n_found: NDArray[np.int64]

    @property
    def coord(self) -> SkyCoord:
        """Directions, in a frame that stands for theirs."""
        return SkyCoord(self.ra, self.dec, unit="rad", frame="icrs")


def associate(known: Places, found: Places, radius: float) -> tuple[Places, NDArray[np.int64]]:
    """Sources with the detections of one image more, and the source (from 0) of each detection.

    Parameters
    ----------
    known, found : Places
        Of n and m; detections without a counterpart become sources n, n + 1 …
    radius : float
        Largest distance of counterparts, rad.
    """
    n = len(known.ra)
    source = _counterparts(known, found, radius)
    old = source >= 0
    after = _moved(known, source[old], found, old)
    source[~old] = n + np.arange(np.count_nonzero(~old))
    whole = {name: np.concatenate([getattr(after, name), getattr(found, name)[~old]])
             for name in ("ra", "dec", "ra_error", "dec_error", "n_found")}
    return Places(**whole), source


def _counterparts(known: Places, found: Places, radius: float) -> NDArray[np.int64]:
    """Source of each detection, -1 for none."""
    of_found, of_known, east, north = within((found.ra, found.dec), (known.ra, known.dec), radius)
    ruiter = np.hypot(east / np.hypot(known.ra_error[of_known], found.ra_error[of_found]),
                      north / np.hypot(known.dec_error[of_known], found.dec_error[of_found]))
    source = np.full(len(found.ra), -1)
    kept = one_to_one(of_found, of_known, ruiter)
    source[of_found[kept]] = of_known[kept]
    return source


def _moved(known: Places, source: NDArray[np.int64], found: Places,
           which: NDArray[np.bool_]) -> Places:
    """Known sources, some of them with one detection more in their mean."""
    if source.size == 0:
        return known
    east, north, _ = direction_cosines(found.ra[which], found.dec[which], known.ra[source],
                                       known.dec[source])
    part_east = 1.0 / (1.0 + (found.ra_error[which] / known.ra_error[source]) ** 2)
    part_north = 1.0 / (1.0 + (found.dec_error[which] / known.dec_error[source]) ** 2)
    there = known.coord[source].spherical_offsets_by(part_east * east * u.rad,
                                                     part_north * north * u.rad)
    values = {name: getattr(known, name).copy()
              for name in ("ra", "dec", "ra_error", "dec_error", "n_found")}
    values["ra"][source], values["dec"][source] = there.ra.rad, there.dec.rad
    values["ra_error"][source] = found.ra_error[which] * np.sqrt(part_east)
    values["dec_error"][source] = found.dec_error[which] * np.sqrt(part_north)
    values["n_found"][source] += 1
    return replace(known, **values)
