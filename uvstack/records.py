"""Frozen records that pass between stages; no behaviour beyond what follows from their own fields."""

from __future__ import annotations

import html
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Datasets:
    """A measurement set as lazy arrays: goes wherever a path does, is read by chunks, not written.

    A list of such datasets alone does as well, where they know the store that they come from.

    Attributes
    ----------
    main : dataset, or sequence of these
        Of the main table as dask-ms gives it (`xds_from_ms`, `xds_from_zarr` …), or visibilities
        of MSv4 (a `DataTree`, or its `Dataset`).
    subtables : path or mapping, optional
        What the rows of a main table point into: a measurement set, a store that dask-ms has
        written, or a name (FIELD …) → its datasets. Default: the store that `main` comes from. Of
        MSv4, which brings them along in a tree, antenna_xds and field_and_source_base_xds where
        `main` are single datasets.
    frame : str, optional
        Of the directions in FIELD, such as "J2000" or "ICRS": dask-ms does not keep it. Default
        that of the measurement set, or J2000.
    name : str, optional
        What messages call the data.
    """

    main: Any = field(repr=False)
    subtables: Any = field(default=None, repr=False)
    frame: str | None = None
    name: str = ""


#: What stands for measurement sets: a path, a glob, datasets, or several of these.
MeasurementSets = str | os.PathLike[str] | Datasets | Sequence[Any]


@dataclass(frozen=True)
class Field:
    """A field of a measurement set: where its phases are 0, and where the antennas point.

    Attributes
    ----------
    id : int
        Row of the FIELD table.
    name : str
    frame : str
        CASA's name of the frame of ra and dec: J2000, ICRS, FK5, B1950, GALACTIC …
    ra, dec : float
        Phase centre in that frame, rad (longitude and latitude where the frame is galactic).
    pointing : (float, float), optional
        Where the primary beam is centred, in that frame, rad; None is the phase centre.
    pointing_source : str
        What the pointing was taken from: PHASE_DIR, REFERENCE_DIR, DELAY_DIR or POINTING.
    pointing_spread : float
        How far the antennas' pointings are from their mean at most, rad.
    defect : str
        Why the field cannot be used; empty where it can.
    """

    id: int
    name: str
    frame: str
    ra: float
    dec: float
    pointing: tuple[float, float] | None = None
    pointing_source: str = "PHASE_DIR"
    pointing_spread: float = 0.0
    defect: str = ""

    @property
    def beam_centre(self) -> tuple[float, float]:
        """Direction in which the primary beam is centred, in the field's frame, rad."""
        return (self.ra, self.dec) if self.pointing is None else self.pointing


@dataclass(frozen=True)
class SpectralWindow:
    """A spectral window: id, name, channel frequencies and widths (chan,) in Hz."""

    id: int
    name: str
    frequency: np.ndarray
    width: np.ndarray

    @property
    def central_frequency(self) -> float:
        """Mean of the first and last channel, Hz."""
        return 0.5 * float(self.frequency[0] + self.frequency[-1])


@dataclass(frozen=True)
class DataDescription:
    """A row of DATA_DESCRIPTION: which spectral window, which correlations (codes of casacore)."""

    id: int
    spw: SpectralWindow
    correlations: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and correlations of its visibilities."""
        return self.spw.frequency.size, len(self.correlations)


@dataclass(frozen=True)
class Structure:
    """What a measurement set holds, read once from its subtables.

    Attributes
    ----------
    path : str
    n_rows : int
    columns : tuple of str
        Columns of the main table.
    fields : tuple of Field
    data_descriptions : tuple of DataDescription
    telescope : str
    antenna_names : tuple of str
    dish_diameters : ndarray (ant,)
        Metres.
    weight_columns : tuple of str
        Those of WEIGHT_SPECTRUM, WEIGHT and SIGMA that say something: a row takes its weights from
        the first in which it has a value.
    subtables : dict
        Name → path, or table made of datasets.
    partly_empty : tuple of str
        Weight columns in which some rows have no value.
    datasets : uvstack.io.lazy_table.LazyTable, optional
        The main table, where it is made of `Datasets` and `path` is only what they are called;
        nothing can be written to it.
    """

    path: str
    n_rows: int
    columns: tuple[str, ...]
    fields: tuple[Field, ...]
    data_descriptions: tuple[DataDescription, ...]
    telescope: str
    antenna_names: tuple[str, ...]
    dish_diameters: np.ndarray
    weight_columns: tuple[str, ...] = ()
    subtables: dict[str, Any] = field(default_factory=dict)
    partly_empty: tuple[str, ...] = ()
    datasets: Any = None

    @property
    def main(self) -> Any:
        """The main table as `uvstack.io.casa.open_table` takes it."""
        return self.path if self.datasets is None else self.datasets

    @property
    def weight_source(self) -> str:
        """The weight column that comes first, or "none"."""
        return self.weight_columns[0] if self.weight_columns else "none"

    def used(self, selection: Selection) -> tuple[DataDescription, ...]:
        """Data descriptions that a selection touches."""
        return tuple(d for d in self.data_descriptions if d.id in selection.data_description_ids)


@dataclass(frozen=True)
class Selection:
    """Rows of a measurement set that take part: sets of ids, and time limits in MJD seconds.

    Attributes
    ----------
    field_ids, data_description_ids : frozenset of int
    time_ranges : tuple of (float, float)
        None given, all times.
    pairs : frozenset of (int, int), optional
        Fields and data descriptions that have rows together; None where that is not known.
    """

    field_ids: frozenset[int]
    data_description_ids: frozenset[int]
    time_ranges: tuple[tuple[float, float], ...] = ()
    pairs: frozenset[tuple[int, int]] | None = None

    @property
    def visits(self) -> list[tuple[int, int]]:
        """Which fields were observed with which data descriptions, in order of their ids."""
        pairs = self.pairs if self.pairs is not None else itertools.product(
            self.field_ids, self.data_description_ids)
        return sorted((f, d) for f, d in pairs
                      if f in self.field_ids and d in self.data_description_ids)


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows start … stop − 1 of a set, of which n are selected and become rows out_start … of an output."""

    start: int
    stop: int
    n: int
    out_start: int


def has_baseline(uvw: np.ndarray) -> np.ndarray:
    """Which rows (row, 3) have a (u, v, w): finite, and not the (0, 0, 0) of one that was never filled."""
    return np.isfinite(uvw).all(axis=1) & uvw.any(axis=1)


@dataclass
class Partition:
    """Visibilities of one field and data description within a block, with what belongs to their rows.

    Attributes
    ----------
    field : Field
    data_description : DataDescription
    rows : ndarray (row,)
        Row numbers in the set.
    uvw : ndarray (row, 3) float64
        Metres.
    antenna1, antenna2, time : ndarray (row,)
    vis : ndarray (row, chan, corr) complex64
        Jy.
    flag : ndarray (row, chan, corr) bool
    flag_row : ndarray (row,) bool
    weight : ndarray (row, chan, corr) float32
        1/Jy², as stored: flags are not yet applied.
    """

    field: Field
    data_description: DataDescription
    rows: np.ndarray
    uvw: np.ndarray
    antenna1: np.ndarray
    antenna2: np.ndarray
    time: np.ndarray
    vis: np.ndarray
    flag: np.ndarray
    flag_row: np.ndarray
    weight: np.ndarray


def frequency_text(frequency: float, width: float) -> str:
    """Frequency (Hz) in GHz, with so many digits that a tenth of a channel's width (Hz) shows."""
    digits = 6 if not width else int(np.clip(np.ceil(1 - np.log10(abs(width) / 1e9)), 3, 9))
    return f"{frequency / 1e9:.{digits}f}"


@dataclass(frozen=True)
class UVRange:
    """Limits of uv distance; unit is "m" or "lambda"."""

    minimum: float = 0.0
    maximum: float = float("inf")
    unit: str = "m"

    @property
    def limits(self) -> np.ndarray:
        """(2,) float64."""
        return np.array([self.minimum, self.maximum])

    def __str__(self) -> str:
        if self.minimum <= 0 and self.maximum == float("inf"):
            return "all"
        if self.maximum == float("inf"):
            return f"above {self.minimum:g} {self.unit}"
        return f"{self.minimum:g} to {self.maximum:g} {self.unit}"


@dataclass(frozen=True)
class Provenance:
    """Where a result came from: version, command, inputs, seed, time of the run."""

    version: str
    command: str
    inputs: dict = field(default_factory=dict)
    seed: int | None = None
    date: str = ""


class Shown:
    """A result that shows itself: at a prompt in some lines of `str(result)`, in a notebook in all of them.

    A subclass gives `__str__`: a name and what it is on each line; else these are its fields, of
    arrays their shape. A dataclass keeps this with `repr=False`.
    """

    #: Lines at a prompt.
    _MOST_LINES = 12

    def __str__(self) -> str:
        return "\n".join(f"{name:12s} {_brief(value)}" for name, value in vars(self).items())

    def __repr__(self) -> str:
        lines = str(self).splitlines()
        more = len(lines) - self._MOST_LINES
        shown = lines if more <= 0 else [*lines[: self._MOST_LINES],
                                         f"… {more} more lines: print(result)"]
        return "\n  ".join([f"<{type(self).__name__}>", *shown])

    def _repr_html_(self) -> str:
        return f"<div><b>{type(self).__name__}</b><pre>{html.escape(str(self))}</pre></div>"


def _brief(value: Any) -> str:
    """A value on a line."""
    if isinstance(value, np.ndarray):
        return f"{' × '.join(str(n) for n in value.shape)} {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def plain(value: Any) -> Any:
    """A value as strict JSON can hold it: numbers, texts, lists and dicts; NaN and infinity, which JSON does not know, are None."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str | None) else str(value)


def dropped_by_reason(dropped: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """Numbers (from 0) of the positions that were left out, for JSON: a reason, without blanks, and its list; none without positions."""
    return {reason.replace(" ", "_"): which.tolist() for reason, which in dropped.items()
            if which.size}
