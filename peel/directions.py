"""Bright directions on an image: what each holds, and whether it can be peeled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from scipy import ndimage

from uvstack.errors import ImageError
from uvstack.pixels.noise import robust_noise
from uvstack.records import Shown

#: A peak counts from this many times the noise around it, as in VLASS memo 23.
LEAST_SNR = 8.0
#: What belongs to a source: all that hangs together with its peak above this part of it, and above
#: so many times the noise. A Gaussian reaches 0.91 FWHM far then.
_EDGE, _EDGE_SNR = 0.1, 5.0
#: Pixels around a direction that are of neither it nor the field.
_NEXT = 6
#: Part of the flux of the brightest source of a direction from which another belongs to its model.
_PART = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class Direction(Shown):
    """A part of the sky with gains of its own.

    Attributes
    ----------
    name : str
        The label of its region, or its number from 1.
    centre : (float, float)
        RA and Dec of the brightest source in it, J2000, rad.
    peak, rms : float
        Of the image: highest pixel, and noise there, Jy/beam.
    n_sources : int
        That were found in it.
    mask : ndarray (m, l) bool
        Its pixels.
    sources : tuple of (float, float, float)
        RA and Dec (J2000, rad) and flux (Jy) of those in it that have a twentieth of the flux of
        the brightest: what is fainter may be its sidelobes.
    """

    name: str
    centre: tuple[float, float]
    peak: float
    rms: float
    n_sources: int
    mask: NDArray[np.bool_]
    sources: tuple[tuple[float, float, float], ...] = ()

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return {"name": self.name, "ra_rad": self.centre[0], "dec_rad": self.centre[1],
                "peak_jy_per_beam": self.peak, "rms_jy_per_beam": self.rms,
                "n_sources": self.n_sources, "n_pixels": int(self.mask.sum())}


def directions_of(masks: Sequence[tuple[str, NDArray[np.bool_]]], data: NDArray,
                  rms: NDArray, catalogue: QTable, source: str) -> tuple[Direction, ...]:
    """Directions of masks, each checked by itself and against the others.

    Parameters
    ----------
    masks : sequence of (str, ndarray (m, l) bool)
        Name and pixels of each.
    data, rms : ndarray (m, l)
        Image and its local noise, Jy/beam.
    catalogue : QTable
        The sources of the image, with x and y (pixels), ra and dec (J2000) and peak.
    source : str
        Where the regions are from, for errors.

    Raises
    ------
    ImageError
        One holds a blank pixel or no peak, cuts through a source, or overlaps another.
    """
    column, row = (np.rint(catalogue[name].value).astype(int) for name in ("x", "y"))
    good = (row >= 0) & (row < data.shape[0]) & (column >= 0) & (column < data.shape[1])
    found = []
    for number, (name, mask) in enumerate(masks):
        for other, taken in masks[:number]:
            if (mask & taken).any():
                raise ImageError(f"{source}: regions {other} and {name} overlap; draw one around "
                                 "both, or smaller ones")
        peak = _peak(name, mask, data, rms, source)
        inside = np.flatnonzero(good)[mask[row[good], column[good]]]
        if not inside.size:
            raise ImageError(f"{source}: region {name} has a peak of {data[peak]:.3g} Jy/beam, but "
                             "no source could be measured there; draw it around one source")
        brightest = catalogue[inside[np.argmax(catalogue["peak"][inside].value)]]
        centre = float(brightest["ra"].to_value("rad")), float(brightest["dec"].to_value("rad"))
        bright = catalogue[inside]
        bright = bright[bright["flux"].value >= _PART * bright["flux"].value.max()]
        sources = zip(bright["ra"].to_value("rad"), bright["dec"].to_value("rad"),
                      bright["flux"].value, strict=True)
        found.append(Direction(name, centre, float(data[peak]), float(rms[peak]), inside.size,
                               mask, tuple((float(r), float(d), float(f))
                                           for r, d, f in sources)))
    return tuple(found)


def surroundings(directions: Sequence[Direction], radius: float) -> list[NDArray[np.bool_]]:
    """Pixels (m, l) within a radius (pixels) of each direction, without all of them and what is next to them."""
    kept = pixels_of(directions)
    return [(ndimage.distance_transform_edt(~one.mask) < radius) & ~kept for one in directions]


def pixels_of(directions: Sequence[Direction]) -> NDArray[np.bool_]:
    """Pixels (m, l) of all directions and what is next to them."""
    return np.asarray(ndimage.binary_dilation(np.any([one.mask for one in directions], axis=0),
                                              iterations=_NEXT))


def noise_in(data: NDArray, around: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Noise of an image (m, l) within each of these masks."""
    return np.array([robust_noise(np.where(near, data, np.nan)) for near in around])


def _peak(name: str, mask: NDArray[np.bool_], data: NDArray, rms: NDArray,
          source: str) -> tuple[int, int]:
    """Pixel of the peak in a mask, which must hold the whole source around it."""
    if not np.isfinite(data[mask]).all():
        raise ImageError(f"{source}: region {name} reaches where the image is blank; take larger images "
                         "(size=, --size), or a smaller region")
    row, column = np.unravel_index(np.argmax(np.where(mask, data, -np.inf)), data.shape)
    peak, noise = data[row, column], rms[row, column]
    if not peak >= LEAST_SNR * noise:
        raise ImageError(f"{source}: no peak in region {name}: its highest pixel is {peak:.3g} "
                         f"Jy/beam, {peak / noise:.2g} times the noise, and {LEAST_SNR:g} are "
                         "wanted; draw it around the bright source")
    label, _ = ndimage.label(np.nan_to_num(data) > max(_EDGE * peak, _EDGE_SNR * noise),
                             np.ones((3, 3)))
    outside = (label == label[row, column]) & ~mask
    if outside.any():
        highest = float(data[outside].max())
        raise ImageError(f"{source}: region {name} cuts through a source: {highest:.3g} Jy/beam "
                         f"of it lie outside, {peak:.3g} inside; draw it larger, around all of the "
                         "source")
    return int(row), int(column)
