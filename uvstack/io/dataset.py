"""Measurement sets and what of them takes part: opened in one way by every task."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import MeasurementSetError, NoDataError, WeightsWarning
from uvstack.io.ms import of_selection, paths_of, read_rows, read_structure, scan_rows, weight_remark
from uvstack.io.pointing import warn_of_pointings, with_pointings
from uvstack.io.primary_beams import warn_of_other_telescope
from uvstack.io.selection import select
from uvstack.records import RowBlock, Selection, Structure
from uvstack.sky.primary_beam import PrimaryBeam


def open_sets(ms: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], field: str | int | None = None,
              spw: str | int | None = None, timerange: str | None = None, pointing: str = "auto",
              ) -> tuple[tuple[Structure, ...], tuple[Selection, ...]]:
    """Structures of sets, whose selected fields say where the antennas point, and what is selected of each.

    Parameters
    ----------
    ms : path, glob or sequence of these
    field, spw, timerange
        As `uvstack.io.selection.select` takes them.
    pointing : {"auto", "phase", "reference", "table"}
        See `uvstack.io.pointing.with_pointings`.

    Raises
    ------
    UvstackError
        One of its subclasses: nothing there, a selection that cannot be, no row selected in any set, no weight that is not 0.
    """
    structures, selections = [], []
    for path in paths_of(ms):
        structure = read_structure(path)
        if not structure.n_rows:
            raise MeasurementSetError(f"{structure.path}: the set has no rows; nothing can be read from it")
        selection = select(structure, field, spw, timerange)
        if selection.pairs:
            structure = with_pointings(of_selection(structure, selection), selection, pointing)
            remark = weight_remark(structure, selection)
            if remark:
                warnings.warn(WeightsWarning(remark), stacklevel=3)
        structures.append(structure)
        selections.append(selection)
    if not any(selection.pairs for selection in selections):
        raise NoDataError(f"the selection leaves no cross-correlation of {', '.join(s.path for s in structures)}; look at the data with "
                          "`uvstack info`")
    return tuple(structures), tuple(selections)


def chunks_of(structures: Sequence[Structure], selections: Sequence[Selection], n_visibilities: int, more: int = 0,
              ) -> list[tuple[int, RowBlock]]:
    """Blocks of rows of all sets, each with the number of its set; the rows of a stacked set follow each other in this order.

    Parameters
    ----------
    structures, selections
        As from `open_sets`.
    n_visibilities : int
        That a block may hold (row × chan × corr).
    more : int
        Values that are held for each row and channel besides its correlations.

    Raises
    ------
    NoDataError
        No row is selected.
    """
    chunks: list[tuple[int, RowBlock]] = []
    out_start = 0
    for i, (structure, selection) in enumerate(zip(structures, selections, strict=True)):
        rows = {d.id: max(n_visibilities // (d.shape[0] * (d.shape[1] + more)), 1) for d in structure.used(selection)}
        if not (rows and selection.field_ids):
            continue
        for block in scan_rows(structure, selection, rows, out_start):
            chunks.append((i, block))
            out_start = block.out_start + block.n
    if not chunks:
        raise NoDataError("the selection leaves no cross-correlation; look at the data with `uvstack info`")
    return chunks


def default_cell(structures: tuple[Structure, ...], selections: tuple[Selection, ...]) -> float:
    """A fifth of λ/B for the longest baseline between the first and last rows looked at, rad."""
    longest = 0.0
    shortest_wavelength = np.inf
    for structure, selection in zip(structures, selections, strict=True):
        n = min(structure.n_rows, 20_000)
        for start in (0, max(structure.n_rows - n, 0)):
            uvw = read_rows(structure, "UVW", np.arange(start, start + n))
            finite = uvw[np.isfinite(uvw).all(axis=1)]
            longest = max(longest, float(np.hypot(finite[:, 0], finite[:, 1]).max(initial=0.0)))
        highest = max((float(d.spw.frequency.max()) for d in structure.used(selection)), default=0.0)
        shortest_wavelength = min(shortest_wavelength, SPEED_OF_LIGHT / highest if highest else np.inf)
    return 0.2 * shortest_wavelength / longest if longest > 0 else 1e-6


def warn_of_beam(structures: Sequence[Structure], selections: Sequence[Selection], asked: str | PrimaryBeam | None,
                 beam: PrimaryBeam | None) -> None:
    """Tell where a primary beam, as asked for and as read, may not be that of these data, or is not where the phase centre is."""
    for structure, selection in zip(structures, selections, strict=True):
        frequency = [float(nu) for d in structure.used(selection) for nu in d.spw.frequency]
        warn_of_other_telescope(asked, structure.telescope, frequency, structure.path)
    warn_of_pointings(structures, selections, beam)
