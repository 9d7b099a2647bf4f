"""Measurement sets and what of them takes part: opened in one way by every task."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence

from uvstack.errors import MeasurementSetError, NoDataError, WeightsWarning
from uvstack.io.beams import warn_of_other_telescope
from uvstack.io.ms import of_selection, paths_of, read_structure, weight_remark
from uvstack.io.pointing import warn_of_pointings, with_pointings
from uvstack.io.selection import select
from uvstack.records import Selection, Structure
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
        structure = of_selection(structure, selection)
        remark = weight_remark(structure, selection)
        if remark:
            warnings.warn(WeightsWarning(remark), stacklevel=3)
        structures.append(with_pointings(structure, selection, pointing))
        selections.append(selection)
    if not any(selection.pairs for selection in selections):
        raise NoDataError(f"the selection leaves no cross-correlation of {', '.join(s.path for s in structures)}; look at the data with "
                          "`uvstack info`")
    return tuple(structures), tuple(selections)


def warn_of_beam(structures: Sequence[Structure], selections: Sequence[Selection], asked: str | PrimaryBeam | None,
                 beam: PrimaryBeam | None) -> None:
    """Tell where a primary beam, as asked for and as read, may not be that of these data, or is not where the phase centre is."""
    for structure, selection in zip(structures, selections, strict=True):
        frequency = [float(nu) for d in structure.used(selection) for nu in d.spw.frequency]
        warn_of_other_telescope(asked, structure.telescope, frequency, structure.path)
    warn_of_pointings(structures, selections, beam)
