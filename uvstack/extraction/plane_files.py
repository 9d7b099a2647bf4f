"""The image that sources are sought in, read: one plane in float32, with what the header says of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from uvstack.checks import finite_number
from uvstack.errors import ImageError, UvstackWarning
from uvstack.io.image_file import SkyCube, check_beam, open_fits, prefix_of_jansky, read_cube
from uvstack.sky.beam import Beam, given_beam

#: How far the beams of channels may differ, as a part of their area.
_SAME_BEAM = 2e-3
#: A unit per beam, and what it is multiplied by.
_TIMES = re.compile(r"(.*/\s*beam)[\s.*]+(\S.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Plane:
    """A plane of an image.

    Attributes
    ----------
    data : ndarray (m, l) float32
        In `bright`; NaN is blank.
    image : SkyCube or None
        Its coordinates, without pixels; None where the file has none.
    beam : Beam or None
        rad; pixels without coordinates.
    bright : Unit
        Of the pixels.
    flux : Unit
        Of a sum over pixels in areas of the beam.
    frequency : float or None
        Hz.
    path : str
    """

    data: NDArray[np.float32]
    image: SkyCube | None
    beam: Beam | None
    bright: u.UnitBase
    flux: u.UnitBase
    frequency: float | None
    path: str

    @property
    def is_polarised(self) -> bool:
        """Whether it is of Stokes Q, U or V, where sources may be negative."""
        return self.image is not None and self.image.stokes in (2, 3, 4)

    @property
    def header(self) -> dict[str, float]:
        """What a catalogue of its sources says of it, degrees: beam (bmaj, bmin, bpa) and area of a pixel (pixel_area)."""
        told = {}
        if self.beam is not None and self.image is not None:
            told = dict(zip(("bmaj", "bmin", "bpa"), (float(v) for v in np.rad2deg(self.beam)),
                            strict=True))
        if self.image is not None:
            told["pixel_area"] = float(np.rad2deg(self.image.cell) ** 2)
        return told


def read_plane(path: str | Path, beam: Sequence[Any] | None = None,
               stokes: str | None = None) -> Plane:
    """A plane of a FITS image or an image of CASA.

    Parameters
    ----------
    path : path
    beam : Beam or sequence of float or Quantity, optional
        rad, of an image without coordinates pixels and rad, in place of what the header says.
    stokes : {"I", "Q", "U", "V"}, optional
        Default I of several, or else the only one.

    Raises
    ------
    ImageError
        As `read_image`; an image without coordinates is not refused, its units are pixels.
    """
    planes = read_planes(path, beam, stokes)
    if len(planes) > 1:
        raise ImageError(f"{path}: holds {len(planes)} channels; wanted is an image of one plane: "
                         "select or average them")
    return planes[0]


def read_planes(path: str | Path, beam: Sequence[Any] | None = None,
                stokes: str | None = None) -> list[Plane]:
    """All channels of an image or a cube; arguments and errors as of `read_plane`.

    Raises
    ------
    ImageError
        The channels of a cube have different beams.
    """
    try:
        cube = read_cube(path, np.float32, stokes, oriented=False)
    except ImageError as error:
        if "no celestial coordinates" not in str(error) or stokes not in (None, "I"):
            raise
        return [_without_coordinates(path, None if beam is None else given_beam(beam, "pix"))]
    bright, flux = units_of(cube.unit, path)
    beams: list[Beam | None]
    if beam is None:
        beams = [cube.beam(k) for k in range(len(cube.data)) if np.isfinite(cube.data[k]).any()]
    else:
        beams = [given_beam(beam)]
        check_beam(given_beam(beam), cube.cell, cube.data.shape[-2:], str(path))
    if beams[0] is not None and not np.allclose(np.array([one.covariance() for one in beams
                                                          if one]), beams[0].covariance(),
                                                rtol=_SAME_BEAM,
                                                atol=_SAME_BEAM * beams[0].fwhm_minor**2):
        sizes = np.rad2deg([one.fwhm_major for one in beams if one]) * 3600
        raise ImageError(f"{path}: its channels have different beams, major axes of "
                         f"{sizes.min():.4g}″ to {sizes.max():.4g}″; wanted is "
                         "one, so that fluxes can be compared: smooth all to a common beam")
    # Of the cube the coordinates alone are kept.
    coordinates = replace(cube, data=np.broadcast_to(0.0, cube.data.shape))
    frequency = [None] * len(cube.data) if cube.frequency is None else [float(one)
                                                                        for one in cube.frequency]
    return [Plane(np.asarray(data, np.float32), coordinates, beams[0], bright, flux, nu, str(path))
            for data, nu in zip(cube.data, frequency, strict=True)]


def _without_coordinates(path: str | Path, beam: Beam | None) -> Plane:
    with open_fits(path) as hdus:
        hdu = next(h for h in hdus if h.is_image and h.header.get("NAXIS", 0) >= 2)
        data = np.squeeze(np.asarray(hdu.data, np.float32))
        unit, told = str(hdu.header.get("BUNIT") or ""), "BMAJ" in hdu.header
    if data.ndim != 2:
        raise ImageError(f"{path}: has no celestial coordinates and {data.ndim} axes; wanted is "
                         "one plane")
    if told and beam is None:
        warnings.warn(f"{path}: has a beam in degrees (BMAJ, BMIN), and no coordinates that say "
                      "how large its pixels are: sources are measured as if no beam was known; "
                      "give it in pixels: --beam 5pix,4pix,30deg", UvstackWarning, stacklevel=2)
    bright, flux = units_of(unit, path)
    return Plane(data, None, beam, bright, flux, None, str(path))


def units_of(text: str, path: str | Path) -> tuple[u.UnitBase, u.UnitBase]:
    """Unit of pixels, and of a sum over pixels in areas of the beam: of Jy/beam (also mJy …) it is Jy (mJy …).

    Other units are carried: of K it is K beam, of nothing beam.
    """
    # CASA's images of moments: what stands after the beam is no part of the divisor.
    parts = _TIMES.fullmatch(text.strip())
    if parts:
        bright, flux = units_of(parts[1], path)
        factor, _ = units_of(parts[2], path)
        return bright * factor, flux * factor
    size = prefix_of_jansky(text)
    if size is not None:
        name = {1.0: "Jy", 1e-3: "mJy", 1e-6: "uJy", 1e-9: "nJy", 1e3: "kJy", 1e6: "MJy"}[size]
        return u.Unit(name) / u.beam, u.Unit(name)
    try:
        with warnings.catch_warnings():
            # Several slashes can be read in several ways.
            warnings.simplefilter("error", u.UnitsWarning)
            bright = u.Unit(text.strip())
    except (ValueError, u.UnitsWarning) as error:
        doubt = ": mega or milli?" if text.upper().startswith("MJY") else ""
        raise ImageError(f"{path}: is in {text}, no unit that is known for certain{doubt}; "
                         "wanted is Jy/beam, K or such in BUNIT") from error
    if not isinstance(bright, u.UnitBase) or bright.is_equivalent(u.dex):
        raise ImageError(f"{path}: is in {text}, a logarithm, of which there is no sum over a "
                         "source; wanted is Jy/beam, K or such in BUNIT")
    return bright, bright * u.beam


def read_psf_map(path: str | Path, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """FWHM of the axes and position angle of the beam at each pixel, rad, (3, m, l), of a FITS image of three planes in degrees.

    Raises
    ------
    ImageError
        It cannot be read, or is not of that shape; somewhere it is no beam.
    """
    with open_fits(path) as hdus:
        data = next((np.squeeze(np.asarray(h.data, float)) for h in hdus
                     if h.is_image and h.header.get("NAXIS", 0) >= 3), None)
    if data is None or data.shape != (3, *shape):
        found = "no image of three axes" if data is None else " × ".join(str(n) for n in data.shape[::-1]) + " pixels"
        raise ImageError(f"{path}: has {found}; wanted are {shape[1]} × {shape[0]} × 3: BMAJ, "
                         "BMIN and BPA in degrees")
    good = (data[1] > 0) & (data[0] >= data[1]) & np.isfinite(data[2])
    if not good.all():
        row, column = np.argwhere(~good)[0]
        raise ImageError(f"{path}: at pixel {column}, {row} its beam is {data[0, row, column]:g} "
                         f"by {data[1, row, column]:g} degrees; "
                         "wanted is BMAJ ≥ BMIN > 0 everywhere")
    return np.asarray(np.deg2rad(data))


def read_map(value: float | str | Path | None, plane: Plane,
             name: str) -> float | NDArray[np.float32]:
    """A background or noise that is given: the number, or the image of that shape in the unit of the plane.

    Raises
    ------
    ImageError
        It is neither, of another shape, or in another kind of unit.
    """
    try:
        number = float(str(value))
    except ValueError:
        number = None
    if number is None:
        other = read_plane(str(value))
        check_shape(other.data, plane, str(value))
        if not other.bright.is_equivalent(plane.bright):
            ours, theirs = (str(one) or "no unit" for one in (plane.bright, other.bright))
            raise ImageError(f"{value}: is in {theirs}, {plane.path} in {ours}; wanted are maps in "
                             "one kind of unit: correct BUNIT")
        return other.data * np.float32(other.bright.to(plane.bright))
    return finite_number(name, number, unit="in the unit of the image, or an image")


def check_shape(data: NDArray, plane: Plane, path: str | Path) -> None:
    """Raise ImageError where an image has not the shape of a plane."""
    if data.shape != plane.data.shape:
        raise ImageError(f"{path}: has {data.shape[1]} × {data.shape[0]} pixels, {plane.path} "
                         f"{plane.data.shape[1]} × "
                         f"{plane.data.shape[0]}; wanted are images of one shape")
