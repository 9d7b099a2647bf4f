"""Images of the interferometer and of the dish as files: units, beams, channels, and the dish's on the interferometer's pixels.

Units go over the surface brightness in Jy/sr, so that Jy/beam, K, MJy/sr and Jy/pixel are one thing.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy import units as u
from numpy.typing import NDArray
from scipy import ndimage

from uvstack.checks import finite_number
from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.errors import ImageError, SelectionError, UvstackWarning
from uvstack.io.fits import sin_wcs
from uvstack.io.image_file import STOKES, SkyCube, read_cube
from uvstack.io.selection import parse_distance
from uvstack.joint.flux_scale import Overlap
from uvstack.joint.uv_plane import DishBeam, pixel_matrix
from uvstack.pixels.grid import Grid, centred_grid
from uvstack.pixels.pixel_map import local_matrix, pixel_map
from uvstack.pixels.psf import fit_beam
from uvstack.pixels.resampling import Kernel, smoothed_block, window_of
from uvstack.sky.beam import Beam
from uvstack.sky.brightness import jansky_per_kelvin
from uvstack.sky.coordinates import to_frame
from uvstack.sky.projection import pixel_steps, wcs_frame

#: How far frequencies of single planes may lie apart, as a part: 0.7 % of a flux that falls as ν^−0.7.
_SAME_FREQUENCY = 0.01
#: Parts of a channel by which a frequency may be off and still be that of the channel.
_SAME_CHANNEL = 1e-3
#: Pixels by which pixels of two images may lie apart and be the same.
_SAME_PIXEL = 1e-3
#: Beams of the dish by which the interferometer's image may reach beyond its map.
_RIM = 0.1
#: Part of its peak above which a beam may not be cut at the edge of its image, and the factor by
#: which its width may differ from that of the map's header.
_PSF_EDGE, _PSF_WIDTH = 0.02, 1.25
#: What to do about a dish's map without a beam.
_DISH = (", or give the beam as an image (sd_psf, --sd-psf) or by the dish (dish_diameter, "
         "--dish-diameter)")


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


def beam_of(cube: SkyCube, channel: int, otherwise: str = "") -> Beam:
    """Beam of a channel, rad.

    Raises
    ------
    ImageError
        The header says none; `otherwise` is what else can be done about it.
    """
    beam = cube.beam(channel)
    if beam is None:
        raise ImageError(f"{cube.path}: has no beam (BMAJ, BMIN, BPA); write it into the "
                         f"header{otherwise}")
    return beam


def per_steradian(cube: SkyCube, channel: int, beam_steradian: float) -> float:
    """What turns the pixels of a channel into Jy/sr, with the solid angle of its beam.

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
    for area, steradian in (("beam", beam_steradian), ("pixel", cube.cell**2)):
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


def same_pixels(one: SkyCube, other: SkyCube) -> bool:
    """Whether two images have the same pixels on the sky."""
    shape = one.data.shape[-2:]
    corners = np.array([0.0, shape[1] - 1.0]), np.array([0.0, shape[0] - 1.0])
    there = other.pixels_of(one.directions_of(*corners))
    return (other.data.shape[-2:] == shape
            and bool(np.abs(np.subtract(there, corners)).max() < _SAME_PIXEL))


def beam_source(low: SkyCube, psf: SkyCube | None) -> str:
    """What says the beam of a dish's map: its image, the header, or else the diameter."""
    return "sd_psf" if psf is not None else "header" if low.beams else "dish_diameter"


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


@dataclass(frozen=True)
class EffectiveDish:
    """The dish that sets the weights, if one is given.

    Attributes
    ----------
    diameter : float or None
        m.
    beam_factor : float
        k of FWHM = k λ/D.
    gridding_kernel : float
        FWHM of what its map was gridded with, rad; 0 where that does not count.
    """

    diameter: float | None
    beam_factor: float
    gridding_kernel: float = 0.0

    @classmethod
    def asked(cls, diameter: float | None, beam_factor: float, gridding_kernel: float,
              low_pass: bool = False) -> EffectiveDish:
        """Of what a user gives, checked; `low_pass` says that D/λ is asked for.

        Raises
        ------
        SelectionError
            A number is not above 0, or one is given that needs a diameter.
        """
        if diameter is None and beam_factor != 1.0 and not low_pass:
            raise SelectionError(f"beam_factor is {beam_factor} and no dish_diameter is given, whose beam it would be of; the "
                                 "map's own beam sets the weights")
        kernel = finite_number("gridding_kernel", gridding_kernel)
        if kernel < 0:
            raise SelectionError(f"gridding_kernel is {kernel / ARCSEC:.4g}″; wanted is a FWHM of 0″ or more")
        if kernel and diameter is None:
            raise SelectionError("gridding_kernel goes with a dish_diameter, and none is given; the beam of a "
                                 "header, or an image of it, holds the kernel already")
        return cls(None if diameter is None else finite_number("dish_diameter", diameter, 0.0, above=True, unit="m"),
                   finite_number("beam_factor", beam_factor, 0.0, above=True), kernel)

    def beam(self, frequency: float) -> Beam | None:
        """θ = √(θ_PB² + θ_grid²) with θ_PB = k λ/D at a frequency in Hz, rad (Rau et al. 2019, section 2); None without a diameter."""
        if self.diameter is None:
            return None
        fwhm = float(np.hypot(self.beam_factor * SPEED_OF_LIGHT / frequency / self.diameter,
                              self.gridding_kernel))
        return Beam(fwhm, fwhm, 0.0)

    def largest_baseline(self, fwhm: float) -> float:
        """D/λ of a dish whose beam, with the kernel, has a FWHM (rad)."""
        return self.beam_factor / float(np.sqrt(fwhm**2 - self.gridding_kernel**2))


def parse_overlap(overlap: Sequence[str | float] | None) -> Overlap | None:
    """Two uv distances with their units, of texts such as "60m" or numbers in metres.

    Raises
    ------
    SelectionError
        They are no two distances of one unit, the smaller first.
    """
    if overlap is None:
        return None
    if isinstance(overlap, str) or len(overlap) != 2:
        raise SelectionError(f"overlap is {overlap!r}; wanted are two uv distances, such as "
                             "60m and 100m")
    (inner, unit), (outer, other) = (parse_distance("overlap", one) for one in overlap)
    if unit != other or not inner < outer:
        raise SelectionError(f"overlap is {overlap[0]} to {overlap[1]}; wanted are two uv "
                             "distances, the smaller first, both in metres or wavelengths")
    return (inner, unit), (outer, other)


def check_dish(dish: Beam, beam: Beam, side: float) -> None:
    """Raise SelectionError where a dish's beam, rad, is below the interferometer's or above its image."""
    if not beam.fwhm_major <= dish.fwhm_major <= side:
        raise SelectionError(f"dish_diameter gives a beam of {dish.fwhm_major / ARCSEC:.4g}″, and the "
                             f"interferometer has one of {beam.fwhm_major / ARCSEC:.4g}″ and an image "
                             f"of {side / ARCSEC:.4g}″; wanted is a diameter, in m, whose beam lies "
                             "between (beam_factor λ/D)")


def check_cover(found: NDArray[np.float64], wanted: NDArray[np.bool_], reach: float, low: str,
                high: str, remedy: str) -> None:
    """Raise ImageError where pixels are wanted farther from a map's than a tenth of its beam (`reach`, pixels)."""
    known = np.isfinite(found)
    near = known if known.all() or not known.any() else (
        ndimage.distance_transform_edt(~known) <= _RIM * reach)
    lacking = wanted & ~near
    if lacking.any():
        raise ImageError(f"{low}: lacks {100 * lacking.sum() / wanted.sum():.3g} % of {high}; wanted "
                         f"is a dish's map of all of it: {remedy}")


class DishOnGrid:
    """Planes of the dish's image at the pixels of the interferometer's.

    Parameters
    ----------
    high, low : SkyCube
    psf : SkyCube, optional
        Its beam as an image, with channels at the frequencies of `low`; else it is in the header.
    """

    def __init__(self, high: SkyCube, low: SkyCube, psf: SkyCube | None = None) -> None:
        shape = high.data.shape[-2:]
        self._high, self._low = high, low
        self._shape = shape
        self._places = pixel_map(high, low, slice(0, shape[0]), slice(0, shape[1]))
        self._psfs = [] if psf is None else _psfs_on(high, low, psf)
        if psf is not None:
            self._compare_widths(psf.path)

    def channel(self, shares: Sequence[tuple[int, float]],
                default: Beam | None) -> tuple[NDArray[np.float64], DishBeam]:
        """Brightness (m, l) in Jy/sr of channels with shares, and its beam in pixels of the interferometer.

        `default` is the beam of a map that has none.
        """
        if self._psfs:
            psf = np.sum([share * self._psfs[k] for k, share in shares], axis=0)
            own = DishBeam(pixel_matrix(fit_beam(psf / psf.max(), 1.0), 1.0), psf)
        else:
            own = DishBeam(np.sum([share * matrix_on(self._high, self._low, self._beam(k, default))
                                   for k, share in shares], axis=0))
        brightness = sum(
            share * per_steradian(self._low, k, self._steradian(k, default)) * self.plane(k)
            for k, share in shares)
        return np.asarray(brightness), own

    def noise_power(self, shares: Sequence[tuple[int, float]], default: Beam | None,
                    noise: Sequence[float]) -> float:
        """Power of the noise of channels with shares, (Jy/sr)² sr.

        `noise` is that of each channel in the unit of the dish's file, of pixels within a beam
        alike; `default` as in `channel`.
        """
        power = 0.0
        for k, share in shares:
            area = self._steradian(k, default)
            power += (share * per_steradian(self._low, k, area) * noise[k]) ** 2 * area
        return power

    def _beam(self, channel: int, default: Beam | None) -> Beam:
        return self._low.beam(channel) or default or beam_of(self._low, channel, _DISH)

    def _steradian(self, channel: int, default: Beam | None) -> float:
        """Solid angle of the beam of a channel."""
        if self._psfs:
            return float(self._high.cell**2 / self._psfs[channel].max())
        return self._beam(channel, default).solid_angle

    def _compare_widths(self, path: str) -> None:
        """Warn where the beam that is given is not nearly that of the map's header."""
        for k, psf in enumerate(self._psfs):
            said = self._low.beam(k)
            if said is None:
                continue
            given = np.sqrt(fit_beam(psf / psf.max(), self._high.cell).area(1.0))
            if not 1 / _PSF_WIDTH < given / np.sqrt(said.area(1.0)) < _PSF_WIDTH:
                warnings.warn(UvstackWarning(
                    f"{path}: is {given / np.sqrt(said.area(1.0)):.3g} times as wide as the beam in "
                    f"the header of {self._low.path} (BMAJ, BMIN, BPA), and is taken for it: is it "
                    "an image of the beam?"), stacklevel=2)
                return

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


def _psfs_on(high: SkyCube, low: SkyCube, psf: SkyCube) -> list[NDArray[np.float64]]:
    """Beams of the channels of the dish in the pixels of the interferometer: sum 1, peak in the middle.

    Raises
    ------
    ImageError
        A plane is no beam, or ends within it.
    """
    shares = matched_channels(low, psf)
    made: dict[int, NDArray[np.float64]] = {}
    for k in sorted({k for one in shares for k, _ in one}):
        plane = np.nan_to_num(psf.data[k])
        row, column = np.unravel_index(int(np.argmax(plane)), plane.shape)
        peak = plane[row, column]
        edge = max(float(np.abs(part).max()) for part in (plane[0], plane[-1], plane[:, 0],
                                                          plane[:, -1]))
        if not peak > 0 or edge > _PSF_EDGE * peak:
            raise ImageError(f"{psf.path}: channel {k} is {edge / peak if peak > 0 else 0:.2g} of its "
                             f"peak at the edge; wanted is a beam that falls below {_PSF_EDGE:g} "
                             "within its image")
        there = psf.directions_of(np.array([float(column)]), np.array([float(row)]))
        ra, dec = to_frame(there, "J2000")
        half = int(np.ceil(psf.cell * (max(plane.shape) // 2) / high.cell)) + 1
        seen = pixels_of_grid(centred_grid(float(ra[0]), float(dec[0]), 2 * half + 1, high.cell))
        image = np.nan_to_num(DishOnGrid(seen, replace(psf, data=psf.data[k : k + 1])).plane(0))
        made[k] = image / image.sum()
    return [np.sum([share * made[k] for k, share in one], axis=0) for one in shares]


def pixels_of_grid(grid: Grid, frequency: NDArray[np.float64] | None = None) -> SkyCube:
    """A grid as an image without pixels, with channels at some frequencies, Hz."""
    where = grid.geometry
    wcs = sin_wcs(where.ra, where.dec, grid.shape, where.cell_m, (where.centre_l, where.centre_m))
    nothing = np.broadcast_to(np.float32(np.nan), (1 if frequency is None else len(frequency),
                                                   *grid.shape))
    return SkyCube(nothing, wcs, wcs_frame(wcs), frequency, "Jy/beam", 1, "the image")
