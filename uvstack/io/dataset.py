"""Measurement sets and what of them takes part: opened in one way by every task."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import MeasurementSetError, NoDataError, WeightsWarning
from uvstack.io.dask_ms import dask_ms_structure, is_store, read_store
from uvstack.io.ms import of_selection, read_rows, scan_rows, structure_at, weight_remark
from uvstack.io.msv4 import is_msv4, msv4_structure, visibilities_in
from uvstack.io.pointing import warn_of_pointings, with_pointings
from uvstack.io.primary_beams import warn_of_other_telescope
from uvstack.io.selection import select
from uvstack.records import Datasets, MeasurementSets, RowBlock, Selection, Structure
from uvstack.sky.primary_beam import PrimaryBeam


def sources_of(ms: MeasurementSets) -> list[str | Datasets]:
    """What each set is read from: globs are expanded, and datasets given by themselves are one set.

    Raises
    ------
    MeasurementSetError
        There is none, a glob matches none, or paths and datasets by themselves are mixed.
    """
    is_one = isinstance(ms, str | os.PathLike | Datasets) or _is_dataset(ms)
    items: list[Any] = [ms] if is_one else list(cast(Sequence[Any], ms))
    if any(_is_dataset(item) for item in items):
        if not all(_is_dataset(item) for item in items):
            raise MeasurementSetError("datasets beside paths of sets; put those that make one set "
                                      "together: uvstack.Datasets([…])")
        return [Datasets(items)]
    sources: list[str | Datasets] = []
    for item in items:
        if isinstance(item, Datasets):
            sources.append(item)
            continue
        text = os.fspath(item)
        is_glob = glob.has_magic(text) and not Path(text).exists()
        found = sorted(glob.glob(text)) if is_glob else [text]
        if not found:
            raise MeasurementSetError(f"{text}: no measurement set matches")
        sources += found
    if not sources:
        raise MeasurementSetError("no measurement set is given")
    return sources


def _is_dataset(item: Any) -> bool:
    """Whether this is a dataset of xarray or dask-ms, or a tree of these."""
    return hasattr(item, "data_vars")


def structure_of_source(source: str | os.PathLike[str] | Datasets) -> Structure:
    """Structure of a set on the disk, of a store that dask-ms wrote, or of datasets; of no rows yet, which `of_selection` looks at.

    Raises
    ------
    MeasurementSetError
        It cannot be read, or is none of these.
    """
    if not isinstance(source, Datasets):
        if not is_store(str(source)):
            return structure_at(os.fspath(source))
        source = read_store(str(source))
    main = [source.main] if _is_dataset(source.main) else list(source.main)
    if not main:
        raise MeasurementSetError(f"{source.name or 'datasets'}: there are none")
    strange = [one for one in main if not _is_dataset(one)]
    if strange:
        raise MeasurementSetError(f"{source.name or 'datasets'}: a {type(strange[0]).__name__} "
                                  "among them; wanted are datasets of xarray or dask-ms")
    trees = any(hasattr(one, "subtree") or is_msv4(one) for one in main)
    if not trees:
        return dask_ms_structure(source, main)
    nodes = visibilities_in(main)
    if not nodes:
        raise MeasurementSetError(f"{source.name or 'datasets'}: no visibilities in the tree "
                                  "(time, baseline_id, frequency, polarization)")
    return msv4_structure(source, nodes)


def open_sets(ms: MeasurementSets, field: str | int | None = None, spw: str | int | None = None,
              timerange: str | None = None, pointing: str = "auto",
              ) -> tuple[tuple[Structure, ...], tuple[Selection, ...]]:
    """Structures of sets, whose selected fields say where the antennas point, and what is selected of each.

    Parameters
    ----------
    ms : path, glob, datasets or sequence of these
    field, spw, timerange
        As `uvstack.io.selection.select` takes them.
    pointing : {"auto", "phase", "reference", "table"}
        See `uvstack.io.pointing.with_pointings`.

    Raises
    ------
    UvstackError
        One of its subclasses: nothing there, a selection that cannot be, no row selected in any
        set, no weight that is not 0.
    """
    structures, selections = [], []
    for source in sources_of(ms):
        structure = structure_of_source(source)
        if not structure.n_rows:
            raise MeasurementSetError(f"{structure.path}: the set has no rows; nothing can be "
                                      "read from it")
        selection = select(structure, field, spw, timerange)
        # A set of which no row is selected is told of as a whole.
        structure = of_selection(structure, selection if selection.pairs else None)
        if selection.pairs:
            structure = with_pointings(structure, selection, pointing)
            remark = weight_remark(structure, selection)
            if remark:
                warnings.warn(WeightsWarning(remark), stacklevel=3)
        structures.append(structure)
        selections.append(selection)
    if not any(selection.pairs for selection in selections):
        raise NoDataError("the selection leaves no cross-correlation of "
                          f"{', '.join(s.path for s in structures)}; look at the data with "
                          "`uvstack info`")
    return tuple(structures), tuple(selections)


def chunks_of(structures: Sequence[Structure], selections: Sequence[Selection], n_visibilities: int,
              more: int = 0) -> list[tuple[int, RowBlock]]:
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
        rows = {d.id: max(n_visibilities // (d.shape[0] * (d.shape[1] + more)), 1)
                for d in structure.used(selection)}
        if not (rows and selection.field_ids):
            continue
        for block in scan_rows(structure, selection, rows, out_start):
            chunks.append((i, block))
            out_start = block.out_start + block.n
    if not chunks:
        raise NoDataError("the selection leaves no cross-correlation; look at the data with "
                          "`uvstack info`")
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
        highest = max((float(d.spw.frequency.max()) for d in structure.used(selection)),
                      default=0.0)
        shortest_wavelength = min(shortest_wavelength,
                                  SPEED_OF_LIGHT / highest if highest else np.inf)
    return 0.2 * shortest_wavelength / longest if longest > 0 else 1e-6


def warn_of_beam(structures: Sequence[Structure], selections: Sequence[Selection],
                 asked: str | PrimaryBeam | None, beam: PrimaryBeam | None) -> None:
    """Tell where a primary beam, as asked for and as read, may not be that of these data, or is not where the phase centre is."""
    for structure, selection in zip(structures, selections, strict=True):
        frequency = [float(nu) for d in structure.used(selection) for nu in d.spw.frequency]
        warn_of_other_telescope(asked, structure.telescope, frequency, structure.path)
    warn_of_pointings(structures, selections, beam)
