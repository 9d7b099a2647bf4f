"""What a subtraction leaves to look at: amplitudes against uv distance before and after it, as numbers and as a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.records import Provenance, Shown, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_BINS = 40
#: Lines of the sums in a bin: count, Σ|V| before, Σ|V| after, Σ|V|² before, Σ|V|² after, Σ|model|.
COUNT, BEFORE, AFTER, BEFORE_2, AFTER_2, MODEL = range(6)


@dataclass(repr=False)
class Amplitudes(Shown):
    """Sums over unflagged parallel hands in bins of uv distance.

    Attributes
    ----------
    longest : float
        Upper end of the last bin, m.
    sums : ndarray (6, bin) float64
        In the order of the names above.
    """

    longest: float
    sums: np.ndarray = field(default_factory=lambda: np.zeros((6, N_BINS)))

    def add(self, uvw: np.ndarray, before: np.ndarray, after: np.ndarray, model: np.ndarray, usable: np.ndarray) -> None:
        """Add visibilities (row, chan, corr) where `usable` (row, chan, corr) bool."""
        distance = np.hypot(uvw[:, 0], uvw[:, 1])
        known = np.isfinite(distance)
        bins = np.minimum(np.where(known, distance, 0.0) / (self.longest or 1.0) * N_BINS, N_BINS - 1).astype(int)
        good = usable & np.isfinite(before) & np.isfinite(after) & known[:, None, None]
        amplitudes = [np.where(good, np.abs(vis), 0.0) for vis in (before, after, model)]
        rows = [good, *amplitudes[:2], amplitudes[0] ** 2, amplitudes[1] ** 2, amplitudes[2]]
        for line, values in zip(self.sums, rows, strict=True):
            line += np.bincount(bins, values.sum(axis=(1, 2), dtype=np.float64), N_BINS)


@dataclass(frozen=True, eq=False, repr=False)
class SubtractResult(Shown):
    """What `subtract` did.

    Attributes
    ----------
    ms, column : str
        Set, and the column that was written.
    backup : str or None
        Column that holds the data as they were, where they were changed in place.
    what : str
        "residual" or "model".
    model : str
    model_flux : float
        Sum of the model at its reference frequency, Jy; NaN for a column.
    n_rows, n_subtracted : int
        Rows of the set, and those that the model was taken from or written for.
    resumed_from : int
        Row at which a run that was killed had stopped; 0 where this one did all.
    amplitudes : Amplitudes
    n_without_uvw : int
        Selected rows whose (u, v, w) are not finite: they keep their data.
    provenance : Provenance
    """

    ms: str
    column: str
    backup: str | None
    what: str
    model: str
    model_flux: float
    n_rows: int
    n_subtracted: int
    resumed_from: int
    amplitudes: Amplitudes
    n_without_uvw: int
    provenance: Provenance

    @property
    def rms(self) -> tuple[float, float]:
        """Root mean square of |V| over the unflagged parallel hands before and after, Jy; NaN where there are none."""
        sums = self.amplitudes.sums.sum(axis=1)
        if not sums[COUNT]:
            return float("nan"), float("nan")
        return float(np.sqrt(sums[BEFORE_2] / sums[COUNT])), float(np.sqrt(sums[AFTER_2] / sums[COUNT]))

    def profile(self) -> QTable:
        """Mean amplitudes in bins of uv distance that hold visibilities."""
        sums, width = self.amplitudes.sums, self.amplitudes.longest / N_BINS
        some = np.flatnonzero(sums[COUNT])
        table = QTable()
        table["uv_min"], table["uv_max"] = some * width * u.m, (some + 1) * width * u.m
        table["count"] = sums[COUNT, some].astype(np.int64)
        for name, line in (("before", BEFORE), ("after", AFTER), ("model", MODEL)):
            table[name] = sums[line, some] / sums[COUNT, some] * u.Jy
        return table

    def __str__(self) -> str:
        return print_summary(self)

    def summary(self) -> dict[str, Any]:
        """All of it but the profile, for JSON."""
        before, after = self.rms
        return {
            "ms": self.ms, "column": self.column, "backup": self.backup, "what": self.what, "model": self.model,
            "model_flux_jy": plain(self.model_flux), "n_rows": self.n_rows, "n_subtracted": self.n_subtracted,
            "rows_without_uvw": self.n_without_uvw, "resumed_from_row": self.resumed_from,
            "rms_before_jy": plain(before), "rms_after_jy": plain(after),
            "provenance": vars(self.provenance)}


def print_summary(result: SubtractResult) -> str:
    """A few lines for the terminal."""
    before, after = result.rms
    lines = [f"model        {result.model}" + (f", {result.model_flux:.6g} Jy" if np.isfinite(result.model_flux) else ""),
             f"written      {result.what} to column {result.column} of {result.ms}",
             f"rows         {result.n_subtracted} of {result.n_rows}"
             + (f", gone on from row {result.resumed_from}" if result.resumed_from else "")]
    if np.isfinite(before):
        lines.append(f"rms of |V|   {before:.6g} Jy, without the model {after:.6g} Jy")
    if result.backup is not None:
        lines.append(f"backup       the data as they were are kept in column {result.backup}")
    return "\n".join(lines)


def amplitude_figure(result: SubtractResult) -> Figure:
    """Figure of mean amplitudes against uv distance: before, after, model."""
    from matplotlib.figure import Figure

    table = result.profile()
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    x = 0.5 * (table["uv_min"] + table["uv_max"]).to_value(u.km)
    for name, colour, style in (("before", "C0", "o-"), ("model", "C3", "-"), ("after", "C2", "s-")):
        axes.plot(x, table[name].to_value(u.Jy), style, color=colour, ms=3.5, lw=1.2, label=name)
    if len(x) and all((table[name] > 0).all() for name in ("before", "after")):
        axes.set_yscale("log")
    axes.set(xlabel="$\\sqrt{u^2+v^2}$ (km)", ylabel="mean amplitude (Jy)")
    axes.set_title(f"{Path(result.model).name} and {result.column}", fontsize="medium", wrap=True)
    axes.legend(frameon=False, ncols=3)
    axes.grid(alpha=0.3, lw=0.5)
    return figure
