"""The images of the epochs as files: what their headers say, brought to one unit, and their pixels by windows."""

from __future__ import annotations

import dataclasses
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uvstack.checks import finite_number
from uvstack.errors import ImageError, UvstackWarning
from uvstack.extraction.sky_frame import SkyFrame, beam_frame_of
from uvstack.io.image_file import STOKES, SkyCube, check_beam, read_coordinates, read_cube
from uvstack.pixels.pixel_map import local_matrix
from uvstack.sky.beam import Beam
from uvstack.sky.brightness import jansky_per_kelvin

#: How far frequencies may lie apart, as a part: 0.7 % of a flux that falls as ν^−0.7.
_SAME_FREQUENCY = 0.01
#: A beam narrower than this many pixels is undersampled.
_FEW_PIXELS = 1.9


@dataclass(frozen=True)
class PixelFile:
    """Pixels (m, l) that stay in a file until a window of them is read, in any process.

    Attributes
    ----------
    path, kind, offset, shape, strides
        Of the array in the bytes of the file.
    """

    path: str
    kind: str
    offset: int
    shape: tuple[int, int]
    strides: tuple[int, int]

    def window(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Float32 of a window within the image, or of every so manieth pixel of it."""
        held = np.memmap(self.path, np.uint8, "r")
        whole: NDArray = np.ndarray(self.shape, np.dtype(self.kind), held, self.offset,
                                    self.strides)
        return whole[rows, columns].astype(np.float32)


@dataclass(frozen=True)
class Grid:
    """Where pixels lie.

    Attributes
    ----------
    image : SkyCube
        Its coordinates and what else the header says; no pixels.
    shape : (int, int)
        Pixels (m, l).
    frame : SkyFrame
    """

    image: SkyCube
    shape: tuple[int, int]
    frame: SkyFrame

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y) of the middle, pixels from 0."""
        return (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes
    ----------
    name, path : str
    grid : Grid
    pixels : PixelFile or ndarray (m, l) float32
        In the unit of the file.
    beam : Beam
        rad, in the frame of its own coordinates.
    factor : float
        What pixels are multiplied with to be Jy/beam on the scale of the combination.
    offset : (float, float)
        By how much its sky stands too far east and north, rad.
    """

    name: str
    path: str
    grid: Grid
    pixels: PixelFile | NDArray[np.float32]
    beam: Beam
    factor: float
    offset: tuple[float, float]

    @property
    def image(self) -> SkyCube:
        """What its header says."""
        return self.grid.image

    @property
    def frequency(self) -> float | None:
        """Hz, of the axis, or else RESTFRQ; None where the file says neither."""
        if self.image.frequency is not None:
            return float(self.image.frequency[0])
        rest = float(self.image.wcs.wcs.restfrq)
        return rest if rest > 0 else None

    def window(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Jy/beam of a window, which may reach beyond the edges; NaN there."""
        inner = [slice(min(max(one.start, 0), n), min(max(one.stop, 0), n))
                 for one, n in zip((rows, columns), self.grid.shape, strict=True)]
        held = (self.pixels.window(*inner) if isinstance(self.pixels, PixelFile)
                else self.pixels[inner[0], inner[1]].astype(np.float32))
        if self.factor != 1.0:
            held *= np.float32(self.factor)
        if held.shape == (rows.stop - rows.start, columns.stop - columns.start):
            return held
        out = np.full((rows.stop - rows.start, columns.stop - columns.start), np.nan, np.float32)
        y, x = inner[0].start - rows.start, inner[1].start - columns.start
        out[y : y + held.shape[0], x : x + held.shape[1]] = held
        return out

    def sample(self, step: int) -> NDArray[np.float32]:
        """Jy/beam of every `step`th pixel."""
        every = slice(None, None, step)
        held = (self.pixels.window(every, every) if isinstance(self.pixels, PixelFile)
                else self.pixels[every, every].astype(np.float32))
        return held * np.float32(self.factor)

    def beam_matrix(self, x: float, y: float) -> NDArray[np.float64]:
        """Squares of the FWHM in (x, y) at a pixel, pixels², (2, 2)."""
        return self.grid.frame.beams_at(self.beam, np.array([x]), np.array([y]))[0]


def read_epoch(path: str | Path, name: str, beam: Beam | None = None,
               stokes: str | None = None) -> Epoch:
    """An epoch from FITS or an image of CASA.

    Parameters
    ----------
    path : path
    name : str
    beam : Beam, optional
        In place of the header's, rad.
    stokes : {"I", "Q", "U", "V"}, optional
        Of files of several planes; default I, or else the only one.

    Raises
    ------
    ImageError
        It cannot be read, is a cube, has no beam, or no unit of brightness.
    """
    cube = read_cube(path, np.float32, stokes, oriented=False, mapped=True)
    if len(cube.data) > 1:
        raise ImageError(f"{path}: holds {len(cube.data)} channels; wanted is an image of one "
                         "plane: select or average them")
    shape = cube.data.shape[-2:]
    own = cube.beam() if beam is None else beam
    if own is None:
        raise ImageError(f"{path}: has no beam (BMAJ, BMIN, BPA); give beam= (--beam), or write it "
                         "into the header")
    check_beam(own, cube.cell, shape, str(path))
    grid = grid_of(cube, shape)
    pixels = _in_file(cube.data[0], str(Path(path).resolve()))
    epoch = Epoch(name, str(path), grid, pixels, own, 1.0, (0.0, 0.0))
    narrow = float(np.sqrt(np.linalg.eigvalsh(epoch.beam_matrix(*grid.middle))[0]))
    if narrow < _FEW_PIXELS:
        warnings.warn(UvstackWarning(f"{path}: its beam is {narrow:.2g} pixels wide, too few to "
                                     "be brought to other pixels without loss; 2 or more are good"),
                      stacklevel=3)
    return dataclasses.replace(epoch, factor=_to_jansky(epoch))


def grid_of(cube: SkyCube, shape: tuple[int, int]) -> Grid:
    """Grid of an image (m, l)."""
    # As it comes to a worker, of 14 digits, so that threads count as workers do. Dates of products
    # are those of their epochs.
    wcs = pickle.loads(pickle.dumps(cube.wcs))
    wcs.wcs.dateobs, wcs.wcs.mjdobs = "", float("nan")
    wcs = pickle.loads(pickle.dumps(wcs))
    image = dataclasses.replace(cube, data=np.empty((1, 0, 0), np.float32), wcs=wcs)
    return Grid(image, shape, SkyFrame(image, shape, beam_frame_of(str(cube.wcs.wcs.ctype[0])[-3:])))


def read_grid(path: str | Path) -> Grid:
    """Grid of an image, or of a header that stands in a text file as FITS cards.

    Raises
    ------
    ImageError
        It is neither, or says no celestial coordinates, or no size.
    """
    cube = read_coordinates(path)
    return grid_of(cube, cube.data.shape[-2:])


def _in_file(data: NDArray, path: str) -> PixelFile | NDArray[np.float32]:
    base = data
    while isinstance(base, np.ndarray) and not (isinstance(base, np.memmap)
                                                and not isinstance(base.base, np.ndarray)):
        if base.base is None:
            return np.asarray(data, np.float32)
        base = base.base
    if not isinstance(base, np.memmap):
        return np.asarray(data, np.float32)
    offset = data.__array_interface__["data"][0] - base.__array_interface__["data"][0] + base.offset
    rows, columns = data.strides
    return PixelFile(path, data.dtype.str, offset, (data.shape[0], data.shape[1]), (rows, columns))


def _to_jansky(epoch: Epoch) -> float:
    """What turns its pixels into Jy/beam."""
    if epoch.image.unit.strip().lower() not in ("k", "kelvin"):
        return epoch.image.scale_to("beam")
    if epoch.frequency is None:
        raise ImageError(f"{epoch.path}: is in K and says no frequency; Jy/beam want one: add an "
                         "axis FREQ or RESTFRQ to its header")
    return float(jansky_per_kelvin(epoch.frequency) * epoch.beam.solid_angle)


def check_together(epochs: Sequence[Epoch], reference: int,
                   spectral_index: float | None) -> list[Epoch]:
    """Epochs on the scale of the reference.

    Raises
    ------
    ImageError
        They are of different Stokes parameters, or of frequencies that differ by more than 1 % and
        no spectral index is given.
    """
    codes = {epoch.image.stokes or 1 for epoch in epochs}
    if len(codes) > 1:
        told = ", ".join(f"{e.name} {stokes_text(e)}" for e in epochs)
        raise ImageError(f"epochs of different Stokes parameters: {told}; wanted is one for all "
                         "(stokes=, --stokes)")
    if spectral_index is not None:
        finite_number("spectral_index", spectral_index, -10.0, 10.0)
    silent = [epoch.name for epoch in epochs if epoch.frequency is None]
    if 0 < len(silent) < len(epochs):
        warnings.warn(UvstackWarning(f"{', '.join(silent)}: says no frequency; taken to be at that "
                                     "of the others"), stacklevel=5)
    at, out = epochs[reference].frequency, []
    for epoch in epochs:
        nu = epoch.frequency
        if at is None or nu is None:
            out.append(epoch)
            continue
        if spectral_index is None:
            if abs(nu / at - 1.0) <= _SAME_FREQUENCY:
                out.append(epoch)
                continue
            raise ImageError(f"{epoch.name} is at {nu / 1e9:.6g} GHz and the reference "
                             f"{epochs[reference].name} at {at / 1e9:.6g} GHz; wanted is one "
                             "frequency, or a spectral index by which fluxes are brought to that "
                             "of the reference (spectral_index, --spectral-index)")
        out.append(dataclasses.replace(epoch, factor=epoch.factor * (at / nu) ** spectral_index))
    return out


def stokes_text(epoch: Epoch) -> str:
    """Stokes parameter as a letter, I where nothing says it, or FITS's code."""
    code = epoch.image.stokes or 1
    return STOKES[code - 1] if 1 <= code <= len(STOKES) else str(code)


def beam_on(grid: Grid, epoch: Epoch) -> Beam:
    """Beam of an epoch in the frame of a grid, in the middle of that: rad, north through east there.

    Raises
    ------
    ImageError
        The epoch's projection does not reach there.
    """
    x, y = grid.middle
    there = local_matrix(grid.image, epoch.image, x, y)
    if not np.isfinite(there).all():
        raise ImageError(f"{epoch.path}: its projection does not reach the middle of the grid; "
                         "they do not overlap")
    back = np.linalg.inv(there)
    return grid.frame.beam_of_pixels(back @ epoch.beam_matrix(*place_on(grid, epoch, x, y)) @ back.T)


def place_on(grid: Grid, epoch: Epoch, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of a grid is in an epoch, pixels from 0."""
    found = epoch.image.pixels_of(grid.image.directions_of(np.array([x]), np.array([y])))
    return float(found[0][0]), float(found[1][0])
