"""The model of an earlier run, to go on from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.io.image_file import read_model_image
from uvstack.joint.taylor_cube import taylor_to_cube
from uvstack.pixels.geometry import image_geometry
from uvstack.pixels.grid import Grid

#: Parts of a pixel by which grids may differ at the edges, and of a frequency by which channels may.
_SAME_PIXEL, _SAME_FREQUENCY = 0.01, 1e-4


def read_start(begin: str | Path, grid: Grid,
               frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Model of an earlier run at some frequencies, (chan, m, l) Jy/pixel: of its Taylor terms, or of its planes.

    Parameters
    ----------
    begin : path
        Of the names of its products: BEGIN-model.fits, BEGIN-model-tt1.fits …
    grid : Grid
        Wanted.
    frequencies : ndarray (chan,)
        Hz.

    Raises
    ------
    ImageError
        There is no such model, or it has other pixels or frequencies.
    """
    paths = [Path(f"{begin}-model.fits")]
    if not paths[0].is_file():
        raise ImageError(f"{begin}: no {paths[0].name} of an earlier run; wanted is the begin of "
                         "its names, as --out was")
    while (more := Path(f"{begin}-model-tt{len(paths)}.fits")).is_file():
        paths.append(more)
    cubes = [read_model_image(path) for path in paths]
    for one in cubes:
        _check_grid(one.data.shape[-2:], image_geometry(one.wcs, one.data.shape[-2:]), grid,
                    one.path)
    known = cubes[0].frequency
    if len(cubes) > 1 or len(cubes[0].data) == 1:
        terms = np.stack([one.data[0] for one in cubes])
        if known is None:
            raise ImageError(f"{paths[0]}: says no frequency; add an axis FREQ to its header")
        return taylor_to_cube(terms, frequencies, float(known[0]))
    assert known is not None
    nearest = np.array([int(np.argmin(np.abs(known - nu))) for nu in frequencies])
    off = np.abs(known[nearest] / frequencies - 1.0)
    # A plane stands at the middle of its step, its data at their own mean.
    if len(known) != len(frequencies) and (off > _SAME_FREQUENCY).any():
        raise ImageError(f"{paths[0]}: has no plane at {frequencies[off.argmax()] / 1e9:.6g} GHz; "
                         "wanted is a model with the channels of this run, or of Taylor terms")
    return np.asarray(cubes[0].data[nearest])


def _check_grid(shape: tuple[int, ...], found: object, grid: Grid, path: str) -> None:
    wanted = grid.geometry
    names = ("ra", "dec", "centre_l", "centre_m", "cell_l", "cell_m")
    reach = (1.0, 1.0, 1.0, 1.0, max(shape), max(shape))
    off = max(abs(getattr(found, name) - getattr(wanted, name)) * times
              for name, times in zip(names, reach, strict=True)) / wanted.cell_m
    if tuple(shape) != grid.shape or off > _SAME_PIXEL:
        raise ImageError(f"{path}: a model of {shape[1]} × {shape[0]} pixels"
                         f"{f' that lie {off:.3g} pixels off' if tuple(shape) == grid.shape else ''}; "
                         f"wanted is one on the grid of this image, {grid.shape[1]} × "
                         f"{grid.shape[0]}")
