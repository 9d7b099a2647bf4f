"""The dish's channels: its maps on the grid of the reconstruction, with their beams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uvstack.checks import finite_number
from uvstack.errors import ImageError
from uvstack.io.image_file import STOKES, SkyCube, read_cube
from uvstack.joint.reconstruction.joint_plane import DishPlane
from uvstack.joint.single_dish_files import (
    DishOnGrid,
    EffectiveDish,
    beam_matrix,
    check_cover,
    check_dish,
    matched_channels,
    pixels_of_grid,
    same_pixels,
)
from uvstack.joint.uv_plane import DishBeam
from uvstack.pixels.grid import Grid
from uvstack.sky.beam import Beam

#: Parts of a frequency by which planes of two channels must lie apart.
_SAME_FREQUENCY = 1e-9


@dataclass(frozen=True)
class DishSettings:
    """What is said of a dish.

    Attributes
    ----------
    dish : EffectiveDish
    low_pass : bool
        Leave out what its map has beyond D/λ.
    noise : tuple of float
        Of its channels, in the unit of the map; or one for all, or empty where it is not said.
    """

    dish: EffectiveDish
    low_pass: bool
    noise: tuple[float, ...] = ()

    @classmethod
    def asked(cls, options: Mapping[str, Any], low_pass: bool,
              noise: float | Sequence[float] | None = None) -> DishSettings:
        """Of what a user gives, checked.

        Raises
        ------
        SelectionError
            A number is not above 0.
        """
        dish = EffectiveDish.asked(options["dish_diameter"], options["beam_factor"], options["gridding_kernel"], low_pass)
        return cls(dish, bool(low_pass),
                   () if noise is None else tuple(
                       finite_number("sd_noise", one, 0.0, above=True)
                       for one in np.atleast_1d(np.asarray(noise, object))))


def read_dish(dish: str | Path | Sequence[str | Path]) -> SkyCube:
    """A dish's cube, or single planes as one, of Stokes I.

    Raises
    ------
    ImageError
        One cannot be read, or is of another Stokes parameter, or planes do not belong together.
    """
    paths = [dish] if isinstance(dish, str | Path) else list(dish)
    if not paths:
        raise ImageError("no image of a dish; wanted is a FITS cube, or planes")
    cubes = [read_cube(path, oriented=False) for path in paths]
    for one in cubes:
        if (one.stokes or 1) != 1:
            raise ImageError(f"{one.path} is of Stokes {_stokes(one.stokes)}; wanted is I, which "
                             "is made of the visibilities")
    made = cubes[0] if len(cubes) == 1 else _one_cube(cubes)
    known = np.zeros(0) if made.frequency is None else np.sort(made.frequency)
    twice = known[1:][np.diff(known) <= _SAME_FREQUENCY * known[1:]]
    if twice.size:
        raise ImageError(f"{', '.join(dict.fromkeys(one.path for one in cubes))}: has two planes at "
                         f"{twice[0] / 1e9:.6g} GHz; wanted is one for each frequency")
    return made


def _stokes(code: int | None) -> str:
    return STOKES[code - 1] if code and code <= len(STOKES) else str(code)


def _one_cube(cubes: Sequence[SkyCube]) -> SkyCube:
    first = cubes[0]
    for one in cubes:
        if one.frequency is None:
            raise ImageError(f"{one.path}: says no frequency, so that it is no plane of a cube; "
                             "add an axis FREQ to its header")
        same = one.unit == first.unit and bool(one.beams) == bool(first.beams)
        if not (same and same_pixels(one, first)):
            raise ImageError(f"{one.path} has other pixels, another unit or no beam where "
                             f"{first.path} has one; wanted are planes on one grid, alike")
    return replace(first, data=np.concatenate([one.data for one in cubes]),
                   frequency=np.concatenate([one.frequency for one in cubes
                                             if one.frequency is not None]),
                   beams=tuple(beam for one in cubes for beam in one.beams))


def dish_planes(low: SkyCube, psf: SkyCube | None, settings: DishSettings, grid: Grid,
                frequencies: NDArray[np.float64], beams: Sequence[Beam | None],
                valid: Sequence[NDArray[np.bool_]]) -> list[DishPlane]:
    """A dish's map in the channels of the reconstruction.

    Parameters
    ----------
    low : SkyCube
    psf : SkyCube or None
        Its beam as an image.
    settings : DishSettings
    grid : Grid
    frequencies : ndarray (chan,)
        Hz.
    beams : sequence of Beam or None
        Of the interferometer, rad: maps are in Jy in it, or in the dish's own where it is None.
    valid : sequence of ndarray (m, l) bool
        What the map must cover.

    Raises
    ------
    UvstackError
        The map does not cover the image or its frequencies, has no beam or unit, or one that cannot
        be.
    """
    here = pixels_of_grid(grid, frequencies)
    if len(settings.noise) not in (0, 1, len(low.data)):
        raise ImageError(f"{low.path}: has {len(low.data)} channels, and {len(settings.noise)} "
                         "numbers for their noise are given; wanted is one for all, or one for "
                         "each (sd_noise, --sd-noise)")
    dish = DishOnGrid(here, low, psf)
    shares = matched_channels(here, low)
    return [_plane(low, dish, here, settings, float(nu), part, beam, inside)
            for nu, part, beam, inside in zip(frequencies, shares, beams, valid, strict=True)]


def _plane(low: SkyCube, dish: DishOnGrid, here: SkyCube, settings: DishSettings, nu: float,
           shares: Sequence[tuple[int, float]], beam: Beam | None,
           valid: NDArray[np.bool_]) -> DishPlane:
    given = settings.dish.beam(nu)
    brightness, own = dish.channel(shares, given)
    weight = own if given is None else DishBeam(beam_matrix(here, given))
    if given is not None:
        check_dish(given, beam or Beam(0.0, 0.0, 0.0), here.cell * max(valid.shape))
    reach = max(one.reach for one in (own, weight))
    check_cover(brightness, valid, reach, low.path, f"the image at {nu / 1e9:.6g} GHz",
                "make the image smaller (size, --size), or leave that frequency out (spw, --spw)")
    if beam is not None and np.linalg.det(own.matrix) < np.linalg.det(beam_matrix(here, beam)):
        raise ImageError(f"{low.path}: its beam is narrower than that of the visibilities; wanted "
                         "is a dish's map")
    area = own.area if beam is None else beam.area(here.cell)
    fwhm = float(np.linalg.det(weight.matrix)) ** 0.25 * here.cell
    noise = settings.noise * (len(low.data) if len(settings.noise) == 1 else 1)
    power = dish.noise_power(shares, given, noise) if noise else None
    return DishPlane(_without_rim(brightness, valid) * (here.cell**2 * area), own, weight, area,
                     settings.dish.largest_baseline(fwhm) if settings.low_pass else None, power)


def _without_rim(image: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Blank pixels that are wanted get the value of the nearest."""
    blank = ~np.isfinite(image)
    if not (blank & valid).any():
        return image
    _, nearest = ndimage.distance_transform_edt(blank, return_indices=True)
    return np.asarray(image[tuple(nearest)])
