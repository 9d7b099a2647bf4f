"""Frozen records that pass between stages; no behaviour beyond what follows from their own fields."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Field:
    """A pointing of a measurement set.

    Attributes
    ----------
    id : int
        Row of the FIELD table.
    name : str
    frame : str
        CASA's name of the frame of ra and dec: J2000, ICRS, FK5, B1950, GALACTIC …
    ra, dec : float
        Phase centre in that frame, rad (longitude and latitude where the frame is galactic).
    """

    id: int
    name: str
    frame: str
    ra: float
    dec: float


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
    weight_source : str
        "WEIGHT_SPECTRUM", "WEIGHT", "SIGMA" or "none": the first that exists and is not zero everywhere.
    """

    path: str
    n_rows: int
    columns: tuple[str, ...]
    fields: tuple[Field, ...]
    data_descriptions: tuple[DataDescription, ...]
    telescope: str
    antenna_names: tuple[str, ...]
    dish_diameters: np.ndarray
    weight_source: str


@dataclass(frozen=True)
class Selection:
    """Rows of a measurement set that take part: sets of ids, and time limits in MJD seconds."""

    field_ids: frozenset[int]
    data_description_ids: frozenset[int]
    time_ranges: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows start … stop − 1 of a set, of which n are selected and become rows out_start … of an output."""

    start: int
    stop: int
    n: int
    out_start: int


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
