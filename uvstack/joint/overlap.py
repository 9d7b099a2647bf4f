"""What an interferometer and a dish both measure: their ratio in an annulus of the uv plane, and the dish's noise.

Visibilities cannot be compared with a map pixel by pixel, and an image of the interferometer alone lacks the
scales in question. So the map is taken to the data: divided by its beam's transform (linear
deconvolution, where w is above 1e-3), seen through the primary beam, predicted at every visibility
and imaged as the data are. With D and M the transforms of both dirty images, B = w D and L = w M
are what `uvstack.joint.flux_scale` compares; both have the same sidelobes, weights and noise of the
same shape.

*Noise.* That of the data comes from the dirty image of the difference of the parallel hands, in
which there is no sky but what is polarised: its power in rings is taken from |B|². What |B − s L|²
has above it is the dish's: as a part of |L|² it is one of the map's power there, and with w of the
noise in all of the map, if that is noise of the sky or otherwise smoothed by the beam. What else
is wrong (primary beams, the dish's beam, its pointing) counts as noise too, so it is an upper limit.

*Limits.* Through a primary beam scales within an antenna of the annulus mix; the map has nothing
beyond its diameter, and the annulus ends earlier there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.joint.flux_scale import Cells
from uvstack.joint.uv_plane import DishBeam, UVPlane

#: Over FWHM: where the deconvolved map ends, without and with a primary beam.
_ENDS = {False: (1.3, 1.5), True: (1.1, 1.3)}
#: Part of the outer end of the annulus to which it goes through a primary beam.
THROUGH_BEAM = 0.9
#: Rings of the noise of the data.
_RINGS = 60


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel of both on one grid.

    Attributes
    ----------
    plane : UVPlane
        Of the grid, without margins.
    beam : DishBeam
    fwhm : float
        Of the dish's beam, rad.
    observed, predicted : ndarray (m, l)
        Dirty images of the data and of the map; NaN where nothing is seen.
    noise : ndarray (m, l) or None
        Dirty image of the noise of the data.
    response : ndarray (m, l) or None
        Primary beam.
    map : ndarray (m, l)
        Of the dish, Jy in any unit of area.
    scale : float
        Frequency over that of the channel whose wavelengths count.
    """

    plane: UVPlane
    beam: DishBeam
    fwhm: float
    observed: NDArray[np.float64]
    predicted: NDArray[np.float64]
    noise: NDArray[np.float64] | None
    response: NDArray[np.float64] | None
    map: NDArray[np.float64]
    scale: float


def deconvolved(plane: UVPlane, dish_map: NDArray, beam: DishBeam, fwhm: float,
                through_beam: bool) -> NDArray[np.float64]:
    """Map (m, l) over its beam, per pixel, without what is beyond the dish's diameter.

    Parameters
    ----------
    plane : UVPlane
        With margins.
    dish_map : ndarray (m, l)
        Jy in a unit of area.
    beam : DishBeam
    fwhm : float
        rad.
    through_beam : bool
        Whether it is to be seen through a primary beam.
    """
    inner, outer = _ENDS[through_beam]
    x = (plane.uv_distance() * fwhm - inner) / (outer - inner)
    kept = np.cos(0.5 * np.pi * np.clip(x, 0.0, 1.0)) ** 2
    w = beam.transform(plane)
    back = np.where(kept > 0, kept / np.where(kept > 0, np.maximum(w, 1e-6), 1.0), 0.0)
    return plane.image(plane.transform(dish_map) * back)


def cells_of(one: Channel, outer: float) -> Cells:
    """Cells of a channel up to a distance, wavelengths of the channel that counts."""
    w = one.beam.transform(one.plane)
    high, low = (w * _transform(one.plane, image) for image in (one.observed, one.predicted))
    distance = one.plane.uv_distance() / one.scale
    noise = np.zeros(w.shape)
    if one.noise is not None:
        power = np.abs(_transform(one.plane, one.noise)) ** 2
        noise = w**2 * _ring_mean(distance, power)
    share = 1.0
    if one.response is not None:
        share = float(np.sum(one.response**2) ** 2 / np.sum(one.response**4) / one.response.size)
    count = np.full(w.shape, share)
    count[:, 0] *= 0.5  # of both halves
    kept = (distance > 0) & (distance < outer)
    return Cells(distance[kept], high[kept], low[kept], noise[kept], count[kept])


def dish_noise(one: Channel, cells: Cells, annulus: tuple[float, float], scale: float) -> float:
    """Upper limit of the noise of a dish's map, in its unit; NaN where there are no cells."""
    used = cells.within(*annulus)
    power = float(np.sum(used.count * np.abs(used.low) ** 2))
    if not power > 0:
        return float("nan")
    rest = np.abs(used.high - scale * used.low) ** 2 - used.noise
    # No less than what it is known to: of a cell of noise N, power has a scatter of N.
    least = float(np.sqrt(np.sum(used.count * used.noise**2)))
    part = max(float(np.sum(used.count * rest)), least) / (scale**2 * power)
    # The map's own power in the annulus, of which the noise is a part.
    finite = np.isfinite(one.map)
    of_map = np.abs(_transform(one.plane, one.map)) ** 2
    w = one.beam.transform(one.plane)
    distance = one.plane.uv_distance() / one.scale
    inside = (distance >= annulus[0]) & (distance < annulus[1])
    twice = np.full(w.shape[1], 2.0)
    twice[0] = 1.0
    density = part * float(of_map[inside].mean()) / float((w[inside] ** 2).mean())
    total = density * float((w**2 * twice).sum()) / np.prod(one.plane.size)
    return float(np.sqrt(total / finite.sum()))


def _transform(plane: UVPlane, image: NDArray) -> NDArray[np.complex128]:
    return plane.transform_of_model(np.nan_to_num(image))


def _ring_mean(distance: NDArray, power: NDArray) -> NDArray[np.float64]:
    """Mean power of the ring that each cell is in."""
    step = distance[0].max() / _RINGS
    ring = np.minimum((distance / step).astype(np.intp), _RINGS)
    n = np.bincount(ring.ravel(), minlength=_RINGS + 1)
    mean = np.bincount(ring.ravel(), power.ravel(), _RINGS + 1) / np.maximum(n, 1)
    return np.asarray(mean[ring])
