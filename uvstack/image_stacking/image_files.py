"""Images that are stacked, and what belongs to them.

The plane, its beam and unit, the psf, the filter of short baselines; the stack.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uvstack._version import __version__
from uvstack.checks import finite_number
from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import ImageError, SelectionError, UvstackWarning
from uvstack.image_stacking.averaging import LowFilter
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.image_file import SkyCube, check_beam, read_cube
from uvstack.io.selection import parse_distance
from uvstack.sky.beam import Beam, given_beam
from uvstack.sky.projection import pixel_steps

if TYPE_CHECKING:
    from uvstack.image_stacking.result import ImageStackResult

#: How far pixels may be from square, turned, or of another size than those of the psf.
_SAME_CELL = 2e-3


@dataclass(frozen=True)
class ImagePlane:
    """One plane of the image and what its header says.

    Beam in rad or None, frequency in Hz or None.
    """

    data: np.ndarray
    cube: SkyCube
    beam: Beam | None
    frequency: float | None


def parse_filter(text: str, frequency: float | None) -> LowFilter:
    """Filter of "3pixels" (or "3px"), or of a baseline such as "5km" or "20klambda".

    Metres want the frequency in Hz.

    Raises
    ------
    SelectionError
        The text cannot be read, or metres come without a frequency.
    """
    found = re.fullmatch(r"\s*(\d+)\s*(px|pix|pixels?)\s*", text)
    if found:
        if int(found[1]) < 1:
            raise SelectionError(f"filter {text!r}: wanted at least 1 pixel")
        return LowFilter(pixels=int(found[1]))
    length, unit = parse_distance("filter", text)
    if unit == "lambda":
        return LowFilter(wavelengths=length)
    if frequency is None:
        raise SelectionError(f"filter {text!r}: the image says no frequency, so metres mean "
                             "nothing; give frequency= (--frequency), or the "
                             "filter in klambda or pixels")
    return LowFilter(wavelengths=length * frequency / SPEED_OF_LIGHT)


def read_plane(path: str | Path, channel: int | None, beam: tuple[float, ...] | None,
               frequency: float | None) -> ImagePlane:
    """One plane in Jy/beam, checked to have square pixels along north and east."""
    cube = read_cube(path)
    n_chan = cube.data.shape[0]
    if channel is None and n_chan > 1:
        raise ImageError(f"{path}: holds {n_chan} channels; give the one to stack, channel= "
                         f"(--channel), from 0 to {n_chan - 1}")
    channel = channel or 0
    if not 0 <= channel < n_chan:
        raise ImageError(f"{path}: channel {channel} is wanted and there are {n_chan}, from 0 to "
                         f"{n_chan - 1}")
    data = cube.data[channel] * in_jansky(cube)
    if not np.isfinite(data).any():
        raise ImageError(f"{path}: every pixel of channel {channel} is blank")
    steps = pixel_steps(cube.wcs, data.shape)
    if not np.allclose(steps / cube.cell, [[-1, 0], [0, 1]], atol=_SAME_CELL):
        text = ", ".join(f"{step:.4g}" for step in 3600 * np.rad2deg(steps.ravel()))
        raise ImageError(f"{path}: the matrix of its pixels is {text} arcsec; wanted are square "
                         "ones, north along an axis: regrid the image")
    known = cube.beam(channel) if beam is None else given_beam(beam)
    if known is not None:
        check_beam(known, cube.cell, data.shape, str(path))
    if frequency is not None:
        finite_number("frequency", frequency, 0, above=True, unit="Hz")
    elif cube.frequency is not None:
        frequency = float(cube.frequency[channel])
    return ImagePlane(np.ascontiguousarray(data), cube, known, frequency)


def in_jansky(cube: SkyCube) -> float:
    """Jy/beam in the unit of an image; none is taken as Jy/beam, with a warning."""
    if cube.unit.strip():
        return cube.scale_to("beam")
    warnings.warn(UvstackWarning(f"{cube.path}: says no unit (BUNIT); it is taken to be in "
                                 "Jy/beam"), stacklevel=5)
    return 1.0


def read_psf(path: str | Path, cell: float) -> np.ndarray:
    """Dirty beam of peak 1 with the peak at pixel (m // 2, l // 2)."""
    cube = read_cube(path)
    if abs(cube.cell / cell - 1) > _SAME_CELL:
        raise ImageError(f"{path}: has pixels of {np.rad2deg(cube.cell) * 3600:.5g}″ and the image "
                         f"has {np.rad2deg(cell) * 3600:.5g}″; "
                         "make the psf with the pixels of the image")
    psf = np.nan_to_num(cube.data[0])
    peak = float(psf.max())
    if not peak > 0:
        raise ImageError(f"{path}: the psf has no positive peak; is it a psf?")
    row, col = np.unravel_index(int(np.argmax(psf)), psf.shape)
    half = min(row, col, psf.shape[0] - row, psf.shape[1] - col)
    if half < 8:
        raise ImageError(f"{path}: the peak of the psf lies at pixel ({col}, {row}), at the edge; "
                         "wanted is one around its peak")
    return psf[row - half:row + half, col - half:col + half] / peak


def write_stack(result: ImageStackResult, path: str | Path, which: str = "stamp") -> None:
    """Write the stamp or the psf of a result as FITS with WCS, beam and how it was made."""
    data = result.stamp if which == "stamp" else result.psf
    assert data is not None
    cards: dict[str, Any] = {"OBJECT": result.name[:60].encode("ascii", "replace").decode(),
                             "ORIGIN": f"uvstack {__version__}", "NSTACK": result.n_positions,
                             "METHOD": result.settings["method"],
                             "WEIGHTS": result.settings["weights"],
                             "ALIGN": result.settings["alignment"]}
    if which == "stamp":
        cards |= {"FLUX": (result.flux, "[Jy] at the centre"),
                  "FLUXERR": (result.flux_error, "[Jy] off-centre rms")}
    beam = None if result.beam is None else Beam(*result.beam)
    shape = (data.shape[0], data.shape[1])
    write_image(path, data, sin_wcs(result.ra, result.dec, shape, result.cell), beams=beam,
                four_axes=False, cards=cards)
