"""Images of the interferometer and of the dish as files: units, beams, channels, and the dish's on the interferometer's pixels.

Units go over the surface brightness in Jy/sr, so that Jy/beam, K, MJy/sr and Jy/pixel are one thing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.io.image_file import STOKES, SkyCube, read_cube
from uvstack.pixels.pixel_map import local_matrix, pixel_map
from uvstack.pixels.resampling import Kernel, smoothed_block, window_of
from uvstack.sky.beam import Beam
from uvstack.sky.brightness import jansky_per_kelvin
from uvstack.sky.projection import pixel_steps

#: How far frequencies of single planes may lie apart, as a part: 0.7 % of a flux that falls as ν^−0.7.
_SAME_FREQUENCY = 0.01
#: Parts of a channel by which a frequency may be off and still be that of the channel.
_SAME_CHANNEL = 1e-3


def read_both(high: str | Path, low: str | Path) -> tuple[SkyCube, SkyCube]:
    """Images of the interferometer and the dish, pixels as they stand in the files.

    Raises
    ------
    ImageError
        One cannot be read, or they are of different Stokes parameters.
    """
    both = read_cube(high, oriented=False), read_cube(low, oriented=False)
    codes = [one.stokes or 1 for one in both]
    if codes[0] != codes[1]:
        told = " and ".join(f"{one.path} is of Stokes {_stokes(code)}"
                            for one, code in zip(both, codes, strict=True))
        raise ImageError(f"{told}; wanted is one for both")
    return both


def _stokes(code: int) -> str:
    return STOKES[code - 1] if 1 <= code <= len(STOKES) else str(code)


def frequency_of(cube: SkyCube, channel: int) -> float | None:
    """Hz; None where it is not known."""
    return None if cube.frequency is None else float(cube.frequency[channel])


def beam_of(cube: SkyCube, channel: int) -> Beam:
    """Beam of a channel, rad.

    Raises
    ------
    ImageError
        The header says none.
    """
    beam = cube.beam(channel)
    if beam is None:
        raise ImageError(f"{cube.path}: has no beam (BMAJ, BMIN, BPA); write it into the header")
    return beam


def per_steradian(cube: SkyCube, channel: int, beam: Beam) -> float:
    """What turns the pixels of a channel into Jy/sr.

    Raises
    ------
    ImageError
        The unit is none of brightness, or is K and there is no frequency.
    """
    kelvin = _in_unit(cube.unit, u.K)
    if kelvin is not None:
        nu = frequency_of(cube, channel)
        if nu is None:
            raise ImageError(f"{cube.path}: is in {cube.unit.strip()} and says no frequency, which "
                             "Jy want; add an axis FREQ to its header")
        return float(kelvin * jansky_per_kelvin(nu))
    brightness = _in_unit(cube.unit, u.Jy / u.sr)
    if brightness is not None:
        return brightness
    for area, steradian in (("beam", beam.solid_angle), ("pixel", cube.cell**2)):
        try:
            return cube.scale_to(area) / steradian
        except ImageError as error:
            if "mega or milli" in str(error):
                raise
    raise ImageError(f"{cube.path}: its unit (BUNIT) is {cube.unit.strip() or 'not said'}; wanted "
                     "is Jy/beam, K, MJy/sr or Jy/pixel, with any prefix")


def _in_unit(text: str, unit: u.UnitBase) -> float | None:
    try:
        return float(u.Unit("K" if text.strip().lower() == "kelvin" else text.strip()).to(unit))
    except (ValueError, TypeError):  # UnitConversionError is one
        return None


def matched_channels(high: SkyCube, low: SkyCube) -> list[tuple[tuple[int, float], ...]]:
    """Channels of the dish, each with its share, for every channel of the interferometer.

    The nearest channel where it is at the same frequency, else both neighbours.

    Raises
    ------
    ImageError
        Frequencies are not known, or the dish has not all of them.
    """
    n_high, n_low = len(high.data), len(low.data)
    if n_high == n_low == 1:
        nus = frequency_of(high, 0), frequency_of(low, 0)
        if None not in nus and abs(nus[1] / nus[0] - 1.0) > _SAME_FREQUENCY:  # type: ignore[operator]
            raise ImageError(f"{low.path} is at {_ghz(nus[1])} GHz and {high.path} at "
                             f"{_ghz(nus[0])} GHz; wanted is one frequency: scale the dish's map to "
                             "it and write it into its header")
        return [((0, 1.0),)]
    if high.frequency is None or low.frequency is None:
        lacking = high if high.frequency is None else low
        raise ImageError(f"{lacking.path}: says no frequency, so that its channels cannot be "
                         "matched; add an axis FREQ to its header")
    order = np.argsort(low.frequency)
    known = low.frequency[order]
    width = float(np.min(np.diff(known))) if n_low > 1 else _SAME_FREQUENCY * known[0]
    found: list[tuple[tuple[int, float], ...]] = []
    for nu in high.frequency:
        if not known[0] - 0.5 * width <= nu <= known[-1] + 0.5 * width:
            raise ImageError(f"{low.path}: has {_ghz(known[0])} to {_ghz(known[-1])} GHz, and "
                             f"{high.path} a channel at {_ghz(nu)} GHz; wanted are frequencies of "
                             "the dish for all of its channels: cut the cube to those")
        nearest = int(np.argmin(abs(known - nu)))
        if abs(known[nearest] - nu) <= _SAME_CHANNEL * width or not known[0] < nu < known[-1]:
            found.append(((int(order[nearest]), 1.0),))
            continue
        after = int(np.searchsorted(known, nu))
        share = float((nu - known[after - 1]) / (known[after] - known[after - 1]))
        found.append(((int(order[after - 1]), 1.0 - share), (int(order[after]), share)))
    return found


def _ghz(nu: float | None) -> str:
    return f"{(nu or 0.0) / 1e9:.7g}"


def steps_of(cube: SkyCube) -> NDArray[np.float64]:
    """To the east and north (rows), rad, of a pixel along x and y (columns)."""
    return pixel_steps(cube.wcs, cube.data.shape[-2:])


def beam_matrix(cube: SkyCube, beam: Beam) -> NDArray[np.float64]:
    """Squares of the FWHM in (x, y), pixels² of the image."""
    back = np.linalg.inv(steps_of(cube))
    return np.asarray(back @ beam.covariance() @ back.T)


def matrix_on(high: SkyCube, low: SkyCube, beam: Beam) -> NDArray[np.float64]:
    """The same of a beam of the dish, in pixels of the interferometer, in the middle of its image."""
    m, l = high.data.shape[-2:]
    there = local_matrix(high, low, (l - 1) / 2, (m - 1) / 2)
    if not np.isfinite(there).all():
        raise ImageError(f"{low.path}: does not reach the middle of {high.path}: they show "
                         "different parts of the sky")
    back = np.linalg.inv(there)
    return np.asarray(back @ beam_matrix(low, beam) @ back.T)


class DishOnGrid:
    """Planes of the dish's image at the pixels of the interferometer's.

    Parameters
    ----------
    high, low : SkyCube
    """

    def __init__(self, high: SkyCube, low: SkyCube) -> None:
        shape = high.data.shape[-2:]
        self._low = low
        self._shape = shape
        self._places = pixel_map(high, low, slice(0, shape[0]), slice(0, shape[1]))

    def plane(self, channel: int) -> NDArray[np.float64]:
        """Pixels (m, l) in the unit of the dish's file; NaN where it has none."""
        plane = self._low.data[channel]
        if self._places.whole_shift == (0, 0) and plane.shape == self._shape:
            return np.asarray(plane, np.float64)
        nothing = Kernel(None, 1.0)
        window = window_of(self._places, nothing, plane.shape)
        if window is None:
            return np.full(self._shape, np.nan)
        cut = _windowed(plane, *window)
        places = self._places.from_corner(window[1].start, window[0].start)
        # Squares of equal pixels are no dead ones here: a map without noise has them.
        return smoothed_block(cut, places, nothing, dead=False).astype(np.float64)


def _windowed(plane: NDArray, rows: slice, columns: slice) -> NDArray[np.float32]:
    """Pixels of a window that may reach beyond the edges; NaN there."""
    out = np.full((rows.stop - rows.start, columns.stop - columns.start), np.nan, np.float32)
    inner = [slice(min(max(one.start, 0), n), min(max(one.stop, 0), n))
             for one, n in zip((rows, columns), plane.shape, strict=True)]
    out[inner[0].start - rows.start : inner[0].stop - rows.start,
        inner[1].start - columns.start : inner[1].stop - columns.start] = plane[inner[0], inner[1]]
    return out
