"""How the pixels of an image lie on the sky.

The frame of its coordinates, and the directions and sizes of its steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.coordinates import BaseCoordinateFrame
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray

from uvstack.errors import CoordinateError
from uvstack.sky.coordinates import direction_cosines, parse_frame

#: Before this equinox coordinates are FK4's, unless they say otherwise (Calabretta & Greisen 2002,
#: section 3.1).
_FK5_SINCE = 1984.0
#: Projections that touch the sky at CRVAL: their axes are those of a plane there.
_ZENITHAL = ("SIN", "TAN", "ARC", "STG", "ZEA", "AZP", "SZP", "ZPN", "AIR")


def wcs_frame(wcs: WCS) -> BaseCoordinateFrame:
    """Frame of the longitude and latitude of a celestial WCS.

    B1950 has the epoch of `uvstack.sky.coordinates.parse_frame`.

    Raises
    ------
    CoordinateError
        Its RADESYS and EQUINOX contradict each other, or astropy knows no such frame.
    """
    system, equinox = str(wcs.wcs.radesys).strip().upper(), float(wcs.wcs.equinox)
    if str(wcs.wcs.lngtyp).strip().upper() == "RA" and np.isfinite(equinox):
        old = equinox < _FK5_SINCE
        if (system.startswith("FK4") and not old) or (system in ("FK5", "ICRS") and old):
            raise CoordinateError(f"RADESYS {system} with EQUINOX {equinox:g} contradict each "
                                  "other; wanted is FK4 with 1950, FK5 with "
                                  "2000, or ICRS: correct the header")
        if system in ("FK4", "") and abs(equinox - 1950.0) < 1e-6:
            return parse_frame("B1950")
    try:
        return wcs_to_celestial_frame(wcs)
    except ValueError as error:
        raise CoordinateError(f"RADESYS {system or 'unknown'} is no frame that is known "
                              f"({' '.join(str(error).split())}); wanted is FK4, "
                              "FK5, ICRS or galactic coordinates") from error


def pixel_steps(wcs: WCS, shape: Sequence[int]) -> NDArray[np.float64]:
    """Steps to the east and north (rows, rad) of a pixel along x and y (columns), (2, 2), of an image (m, l).

    A zenithal projection has them where it touches the sky, all others in the middle of the image,
    where they may be not at all what CDELT says. The axes of a zenithal projection are turned
    against north by LONPOLE − 180°: by default not at all, but by half a turn where it touches the
    north pole.
    """
    wcs.wcs.set()  # until then LONPOLE is not known
    if str(wcs.wcs.ctype[0])[-3:] not in _ZENITHAL:
        return _steps_in_the_middle(wcs, shape)
    turn = np.deg2rad(wcs.wcs.lonpole - 180.0)
    # Half a turn is exact.
    sin, cos = (0.0, np.sign(np.cos(turn))) if abs(np.sin(turn)) < 1e-12 else (
        np.sin(turn), np.cos(turn))
    return np.asarray(np.array([[cos, sin], [-sin, cos]]) @ np.deg2rad(wcs.pixel_scale_matrix))


def _steps_in_the_middle(wcs: WCS, shape: Sequence[int]) -> NDArray[np.float64]:
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    lon, lat = np.deg2rad(wcs.pixel_to_world_values([x, x + 0.5, x - 0.5, x, x],
                                                    [y, y, y, y + 0.5, y - 0.5]))
    l, m, _ = direction_cosines(lon[1:], lat[1:], lon[0], lat[0])
    return np.array([[l[0] - l[1], l[2] - l[3]], [m[0] - m[1], m[2] - m[3]]])
