"""Primary beams given as an image, by convention of the field a FITS image of the power response.

The image is numbers here; `uvstack.io.primary_beams.read_beam_image` reads the file. Looking up the
nearest pixel would make A a staircase, wrong by up to 2 per cent at the half-power point of a beam
30 pixels wide; a bicubic spline through the pixels is smooth and, for a Gaussian 8 pixels wide or
more, right to 1e-4.

Cost: one spline filter a plane when the beam is made, then 16 products for each (position,
channel).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import PrimaryBeamError
from uvstack.sky.primary_beam import (
    PrimaryBeam,
    frequency_text,
    range_text,
    require_peak_on_axis,
    require_range,
)

#: Radius in an image plane of each zenithal projection as a function of the angle from its
#: reference point (Calabretta & Greisen 2002, section 5.1).
PROJECTIONS: dict[str, Callable[[NDArray], NDArray]] = {
    "SIN": np.sin,
    "TAN": np.tan,
    "ARC": np.asarray,
    "STG": lambda theta: 2.0 * np.tan(theta / 2.0),
    "ZEA": lambda theta: 2.0 * np.sin(theta / 2.0),
}


@dataclass(frozen=True, repr=False, eq=False)
class BeamImage(PrimaryBeam):
    """An image of the beam, interpolated with a bicubic spline between pixels.

    The pointing centre is the reference position of the image, and A is divided by the value there.
    One plane is scaled in angle as 1/ν from its frequency. Of several, the two neighbours in
    frequency are each scaled to ν and averaged with linear weights, which is exact for a beam that
    scales and passes through every plane.

    A = 0 beyond the outermost pixel centres and on blank (NaN) pixels. An image that has been cut
    off at some level by zeros rather than blanks has a step, near which a spline overshoots by some
    per cent of the step.

    Attributes
    ----------
    power : float array (plane, y, x)
        Power, not voltage. NaN is blank.
    frequency : float array (plane,)
        Hz, increasing.
    reference_pixel : (float, float)
        (x, y) of the pointing centre, the first pixel being (0, 0).
    pixel_matrix : float array (2, 2)
        Plane coordinates in radians to the (east, north) from an offset (x, y) in pixels.
    projection : str
        One of `PROJECTIONS`.
    source : str
        Where the image comes from, for `describe`.
    """

    power: NDArray[np.float64]
    frequency: NDArray[np.float64]
    reference_pixel: tuple[float, float]
    pixel_matrix: NDArray[np.float64]
    projection: str = "SIN"
    source: str = "beam"
    _spline: NDArray[np.float64] = field(init=False)
    _blank: NDArray[np.bool_] = field(init=False)
    _to_pixel: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        power, frequency, matrix = (np.array(a, float)
                                    for a in (self.power, self.frequency, self.pixel_matrix))
        if power.ndim != 3 or min(power.shape[1:]) < 4 or frequency.shape != power.shape[:1] or matrix.shape != (2, 2):
            raise PrimaryBeamError(f"a beam image {power.shape} with frequencies {frequency.shape} "
                                   f"and pixel matrix {matrix.shape}; "
                                   "wanted (plane, y, x) of 4 pixels or more a side, (plane,) and "
                                   "(2, 2)")
        if not (frequency > 0.0).all() or (np.diff(frequency) <= 0.0).any():
            raise PrimaryBeamError(f"a beam image at {frequency} Hz; frequencies must be positive "
                                   "and increase")
        if self.projection not in PROJECTIONS:
            raise PrimaryBeamError(f"a beam image in the projection {self.projection!r}; "
                                   f"reproject it to one of {', '.join(PROJECTIONS)}")
        blank = ~np.isfinite(power)
        spline = np.stack([_spline_coefficients(p, b) for p, b in zip(power, blank, strict=True)])
        on_axis = np.array([self._look_up(p, np.array(self.reference_pixel)[::-1, None])[0]
                            for p in spline])
        for centre, plane in zip(on_axis, power, strict=True):
            require_peak_on_axis("a beam image", centre, np.nanmax(plane))
        for name, value in (
            ("power", power / on_axis[:, None, None]),
            ("frequency", frequency),
            ("pixel_matrix", matrix),
            ("_spline", spline / on_axis[:, None, None]),
            ("_blank", blank),
            ("_to_pixel", np.linalg.inv(matrix)),
        ):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def describe(self) -> str:
        planes, ny, nx = self.power.shape
        if planes == 1:
            spectrum = f"at {frequency_text(self.frequency[0])}, scaled as 1/ν"
        else:
            spectrum = f"{planes} planes, {range_text(self.frequency[0], self.frequency[-1])}"
        return f"image: {self.source}, {nx} x {ny} pixels, {spectrum}, bicubic spline"

    def _power(self, l: NDArray, m: NDArray, frequency: NDArray) -> NDArray:
        power = np.zeros((l.size, frequency.size))
        for chan, nu in enumerate(frequency):
            for plane, weight in self._planes(nu):
                power[:, chan] += weight * self._sample(plane, l, m, nu / self.frequency[plane])
        return power

    def _planes(self, nu: float) -> list[tuple[int, float]]:
        """Planes that answer for one frequency, with their weights."""
        planes = self.frequency
        if planes.size == 1:
            return [(0, 1.0)]
        # Half a plane beyond the centres of the outer planes still belongs to them.
        low, high = 1.5 * planes[0] - 0.5 * planes[1], 1.5 * planes[-1] - 0.5 * planes[-2]
        require_range(f"the image {self.source}", np.array([nu]), [(low, high)])
        position = np.interp(nu, planes, np.arange(planes.size))
        lower = min(int(position), planes.size - 2)
        weights = ((lower, 1.0 - (position - lower)), (lower + 1, position - lower))
        return [(plane, weight) for plane, weight in weights if weight > 0.0]

    def _sample(self, plane: int, l: NDArray, m: NDArray, scale: float) -> NDArray:
        """One plane at positions whose angles are first stretched by `scale`."""
        radius = np.hypot(l, m)
        theta = np.arcsin(np.minimum(radius, 1.0)) * scale
        seen = (radius <= 1.0) & (theta < math.pi / 2.0)
        with np.errstate(invalid="ignore"):
            stretch = np.where(radius > 0.0,
                               PROJECTIONS[self.projection](np.where(seen, theta, 0.0)) / radius,
                               scale)
        x, y = self._to_pixel @ np.stack([stretch * l,
                                          stretch * m]) + np.array(self.reference_pixel)[:, None]
        ny, nx = self.power.shape[1:]
        inside = seen & (x >= -1e-6) & (x <= nx - 1 + 1e-6) & (y >= -1e-6) & (y <= ny - 1 + 1e-6)
        power = np.zeros(l.shape)
        pixel = np.stack([y[inside], x[inside]])
        nearest = np.clip(np.rint(pixel).astype(int), 0, np.array([[ny - 1], [nx - 1]]))
        value = np.maximum(self._look_up(self._spline[plane], pixel), 0.0)
        power[inside] = np.where(self._blank[plane][tuple(nearest)], 0.0, value)
        power[np.isnan(radius)] = np.nan
        return power

    @staticmethod
    def _look_up(spline: NDArray, pixel: NDArray) -> NDArray:
        """Value of a spline at pixels (2, pos), in the order (y, x)."""
        from scipy.ndimage import map_coordinates

        return map_coordinates(spline, pixel, order=3, mode="mirror", prefilter=False)


def _spline_coefficients(plane: NDArray, blank: NDArray) -> NDArray:
    from scipy import ndimage

    if blank.all():
        raise PrimaryBeamError("a beam image holds a plane without a single finite pixel; leave "
                               "it out")
    if blank.any():
        # A step at the edge of the blanks would ring inside; the nearest value continues the beam
        # instead.
        nearest = ndimage.distance_transform_edt(blank, return_distances=False, return_indices=True)
        plane = plane[tuple(nearest)]
    return ndimage.spline_filter(plane, order=3, output=np.float64, mode="mirror")
