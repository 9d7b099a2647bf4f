"""Where pixels lie on the sky: places, local steps, and the beam in the frame of the pixels.

A source has its shape in pixels; on the sky it is what the local steps make of it: the offsets to
the east and north, at the source, of a step along x and along y. So a position angle is north
through east at the source, whatever the axes' signs, their turn, and how close the pole is.

The restoring beam of a SIN image is one in (l, m), the plane of its pixels: far from where the
image touches the sky it is an ellipse drawn out on the sky, and an unresolved source keeps
flux = peak. Mosaics that were put together on the sky have one beam there instead. The wrong rule
is 1/n and more off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from uvstack.pixels.geometry import Coordinates
from uvstack.sky.beam import Beam, beam_of_covariance, covariances
from uvstack.sky.coordinates import direction_cosines, parse_frame
from uvstack.sky.projection import pixel_steps

#: Projections whose plane is that of (l, m).
_PLANE_OF_BASELINES = ("SIN", "NCP")


@dataclass(frozen=True)
class SkyFrame:
    """The frame of an image's pixels.

    Attributes
    ----------
    image : Coordinates or None
        None for an image without coordinates.
    shape : (int, int)
        Pixels along m and l.
    beam_frame : {"pixel", "sky"}
        Where the beam is the same everywhere.
    beams : ndarray (3, m, l), optional
        FWHM of the axes and position angle at each pixel, rad, where it is the same nowhere.
    """

    image: Coordinates | None
    shape: tuple[int, int]
    beam_frame: str
    beams: NDArray[np.float64] | None = None

    @property
    def frame_name(self) -> str:
        """Frame of `directions`: the image's if that is J2000, ICRS or B1950, else ICRS."""
        if self.image is None:
            return "ICRS"
        for name in ("J2000", "ICRS", "B1950"):
            if self.image.frame.is_equivalent_frame(parse_frame(name)):
                return name
        return "ICRS"

    def directions(self, x: NDArray, y: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Right ascension in [0, 2π) and declination of pixels, rad; NaN where there is no sky."""
        if self.image is None:
            return np.full(np.shape(x), np.nan), np.full(np.shape(x), np.nan)
        lon, lat = self.image.wcs.pixel_to_world_values(x, y)
        wanted = parse_frame(self.frame_name)
        if not self.image.frame.is_equivalent_frame(wanted):
            place = SkyCoord(lon, lat, unit="deg", frame=self.image.frame).transform_to(wanted)
            lon, lat = place.spherical.lon.deg, place.spherical.lat.deg
        return np.deg2rad(lon) % (2.0 * np.pi), np.deg2rad(lat)

    def steps(self, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """Offsets to the east and north (rows), rad, of a step along x and y (columns), (n, 2, 2).

        Of an image without coordinates a pixel is one unit, north up and east to the left.
        """
        if self.image is None:
            return np.broadcast_to(np.array([[-1.0, 0.0], [0.0, 1.0]]), (*np.shape(x), 2, 2))
        return _steps(self.directions, x, y)

    def _own_steps(self, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """Steps to the east and north of the image's own frame, from which its beam's angle counts."""
        assert self.image is not None
        wcs = self.image.wcs
        return _steps(lambda x, y: np.deg2rad(wcs.pixel_to_world_values(x, y)), x, y)

    def beam_in_pixels(self, beam: Beam) -> NDArray[np.float64]:
        """Matrix in (x, y) of squares of the FWHM, pixels², (2, 2): in the middle of a mosaic."""
        return seen_in_pixels(beam.covariance(), self._beam_steps())

    def beam_of_pixels(self, covariance: NDArray[np.float64]) -> Beam:
        """The beam that `beam_in_pixels` makes such a matrix of."""
        steps = self._beam_steps()
        return beam_of_covariance(steps @ covariance @ steps.T)

    def _beam_steps(self) -> NDArray[np.float64]:
        """Steps to the east and north of a pixel along x and y, where the beam is what it is said to be."""
        if self.image is None:
            return np.array([[-1.0, 0.0], [0.0, 1.0]])
        if self.beam_frame == "pixel":
            return pixel_steps(self.image.wcs, self.shape)
        middle = (np.array([(self.shape[1] - 1) / 2.0]), np.array([(self.shape[0] - 1) / 2.0]))
        return self._own_steps(*middle)[0]

    def beams_at(self, beam: Beam, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """The same at each of n places, (n, 2, 2)."""
        if self.beams is not None:
            row, column = (np.clip(np.rint(np.nan_to_num(v)), 0, n - 1).astype(int)
                           for v, n in zip((y, x), self.shape, strict=True))
            return seen_in_pixels(covariances(*self.beams[:, row, column]), self.steps(x, y))
        if self.beam_frame == "pixel" or self.image is None:
            return np.broadcast_to(self.beam_in_pixels(beam), (len(x), 2, 2))
        return seen_in_pixels(beam.covariance(), self._own_steps(x, y))


def _steps(directions: Callable[[NDArray, NDArray], Any], x: NDArray,
           y: NDArray) -> NDArray[np.float64]:
    """Steps (n, 2, 2) as in `SkyFrame.steps`, of what gives longitude and latitude of pixels, rad."""
    here = directions(x, y)
    columns = []
    for dx, dy in ((0.5, 0.0), (0.0, 0.5)):
        ahead = direction_cosines(*directions(x + dx, y + dy), *here)
        behind = direction_cosines(*directions(x - dx, y - dy), *here)
        columns.append(np.stack([ahead[0] - behind[0], ahead[1] - behind[1]], axis=-1))
    return np.stack(columns, axis=-1)


def seen_in_pixels(covariance: NDArray, steps: NDArray) -> NDArray[np.float64]:
    """A matrix in (east, north) in the frame of pixels with such steps."""
    back = np.linalg.inv(steps)
    return np.asarray(back @ covariance @ np.swapaxes(back, -1, -2))


def beam_frame_of(projection: str) -> str:
    """What `beam_frame="auto"` means for a projection of FITS: "pixel" for SIN, "sky" for others."""
    return "pixel" if projection.upper() in _PLANE_OF_BASELINES else "sky"
