"""Maps of a combination in files: written row by row, read when they are looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvstack.epochs.combination.epoch_files import Grid
from uvstack.io.fits import image_by_rows
from uvstack.io.image_file import open_fits
from uvstack.sky.beam import Beam

#: BUNIT of maps that are not in Jy/beam.
_UNITS = {"weight": "beam2/Jy2", "chi2": "", "chi2-calibrated": "", "coverage": ""}


class MapWriters(contextlib.ExitStack):
    """Files that maps are written to, strip by strip from the first row.

    Parameters
    ----------
    paths : mapping of str to Path
    grid : Grid
    beam : Beam
    frequency : float or None
        Hz.
    four_axes : bool
        False writes the axes of the sky alone.
    cards : mapping
    date : str or None
    stokes : int or None
        FITS's code.
    """

    def __init__(self, paths: Mapping[str, Path], grid: Grid, *, beam: Beam,
                 frequency: float | None, four_axes: bool, cards: Mapping[str, Any], date: str | None,
                 stokes: int | None) -> None:
        super().__init__()
        self._write = {
            name: self.enter_context(image_by_rows(
                path, grid.shape, grid.image.wcs, unit=_UNITS.get(name, "Jy/beam"), beams=beam,
                frequency=frequency, date=date, four_axes=four_axes, cards=cards,
                stokes=(stokes or 1,), spectral_frame=""))
            for name, path in paths.items()}

    def write(self, name: str, rows: NDArray[np.float32]) -> None:
        """The next rows of a map."""
        self._write[name](rows)


class MapFiles(Mapping[str, NDArray[np.float32]]):
    """Maps (m, l) by name, each read from its file when it is first asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = {name: Path(path).resolve() for name, path in paths.items()}
        self._held: dict[str, NDArray[np.float32]] = {}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name not in self._held:
            with open_fits(self._paths[name]) as hdus:
                self._held[name] = np.asarray(hdus[0].data, np.float32).reshape(
                    hdus[0].data.shape[-2:])
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)
