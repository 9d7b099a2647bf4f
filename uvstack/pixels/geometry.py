"""Where the pixels of an image are on the sky.

The plane that they lie in, and how a FITS header says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from astropy.time import Time
from astropy.wcs import WCS

from uvstack.errors import ImageError
from uvstack.sky.coordinates import to_j2000_with_north
from uvstack.sky.projection import pixel_steps, wcs_frame

_J2000 = Time("J2000")
#: PV of a slant projection below which it is none: that of NCP at the pole is a rounding error.
_NO_SLANT = 1e-12
#: Pixels by which a corner of an image may be turned away.
_TURNED = 0.1


class Coordinates(Protocol):
    """What is asked of an image that was read: `uvstack.io.image_file.SkyCube` is one."""

    @property
    def wcs(self) -> Any:
        """Celestial WCS, longitude first."""

    @property
    def frame(self) -> Any:
        """Of its longitude and latitude."""

    @property
    def cell(self) -> float:
        """Pixel size, rad."""


@dataclass(frozen=True)
class ImageGeometry:
    """Where the pixels of an image (m, l) in the SIN projection lie.

    Attributes
    ----------
    ra, dec : float
        The point that the projection touches, J2000, rad.
    cell_l, cell_m : float
        Steps of l and m from pixel to pixel, rad; cell_l is negative in a FITS image.
    centre_l, centre_m : float
        Direction cosines from that point of pixel (rows // 2, columns // 2), counted from 0.
    """

    ra: float
    dec: float
    cell_l: float
    cell_m: float
    centre_l: float = 0.0
    centre_m: float = 0.0


def image_geometry(wcs: WCS, shape: tuple[int, int]) -> ImageGeometry:
    """Geometry of an image (m, l) of that shape with a celestial WCS.

    a centre in ICRS is taken to J2000.

    Raises
    ------
    ImageError
        The projection is not SIN (NCP and other slants included), the axes are turned, or the frame
        is neither FK5 of J2000 nor ICRS.
    """
    sky = wcs.celestial.wcs
    kinds = tuple(str(kind) for kind in sky.ctype)
    if kinds != ("RA---SIN", "DEC--SIN") or any(abs(value) > _NO_SLANT
                                                for _, _, value in sky.get_pv()):
        raise ImageError(f"an image with axes {kinds[0]} and {kinds[1]}{' of a slant projection (PV)' if kinds[0] == 'RA---SIN' else ''}; "
                         "wanted RA---SIN and DEC--SIN: reproject it first")
    matrix = pixel_steps(wcs, shape)
    if not abs(matrix[0, 1]) + abs(matrix[1, 0]) <= 1e-9 * abs(matrix).max():
        raise ImageError("an image whose axes are turned against north; reproject it to north up "
                         "first")
    cell_l, cell_m = np.diag(matrix)
    frame = wcs_frame(wcs)
    if frame.name not in ("icrs", "fk5") or getattr(frame, "equinox", _J2000) != _J2000:
        raise ImageError(f"an image in {frame.name}, equinox {sky.equinox:g}; reproject it to "
                         "J2000 or ICRS first")
    ra, dec, turn = to_j2000_with_north(float(np.deg2rad(sky.crval[0])),
                                        float(np.deg2rad(sky.crval[1])), frame)
    if abs(turn) * max(shape) / 2 > _TURNED:  # near a pole alone
        raise ImageError(f"an image in {frame.name} near a pole, where the north of J2000 is "
                         f"turned by {np.rad2deg(turn):.3g}° against it; "
                         "reproject it to J2000 (FK5) first")
    return ImageGeometry(ra, dec, float(cell_l), float(cell_m),
                         float((shape[1] // 2 + 1 - sky.crpix[0]) * cell_l),
                         float((shape[0] // 2 + 1 - sky.crpix[1]) * cell_m))
