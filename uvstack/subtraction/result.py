"""What a subtraction leaves to look at: amplitudes against uv distance before and after it, as numbers and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.records import Provenance, Shown, plain
from uvstack.uv.profile import COUNT, UVSums, uv_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_BINS = 40
#: What is summed: amplitudes, and their squares.
_SHOWN, _SQUARES = ("before", "after", "model"), ("before_squared", "after_squared")


def amplitude_sums(longest: float) -> UVSums:
    """Sums of nothing, over unflagged parallel hands in bins up to the longest baseline (m)."""
    return UVSums.empty(uv_edges(_N_BINS, 0.0, longest or 1.0), _SHOWN + _SQUARES)


def add_amplitudes(sums: UVSums, uvw: np.ndarray, before: np.ndarray, after: np.ndarray,
                   model: np.ndarray, usable: np.ndarray) -> None:
    """Add visibilities where `usable` bool, all (row, chan, corr); each counts as one."""
    distance = np.hypot(uvw[:, 0], uvw[:, 1])
    known = np.isfinite(distance)
    good = usable & np.isfinite(before) & np.isfinite(after) & known[:, None, None]
    amplitudes = [np.where(good, np.abs(vis), 0.0) for vis in (before, after, model)]
    values = (good, *amplitudes, amplitudes[0] ** 2, amplitudes[1] ** 2)
    count, *products = (value.sum(axis=(1, 2), dtype=np.float64) for value in values)
    sums.add(np.where(known, distance, 0.0), count, count, products)


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
    amplitudes : UVSums
        Of |V| before, after, and of the model, Jy, and the squares of the first two; weights are 1.
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
    amplitudes: UVSums
    n_without_uvw: int
    provenance: Provenance

    @property
    def rms(self) -> tuple[float, float]:
        """Root mean square of |V| over the unflagged parallel hands before and after, Jy; NaN where there are none."""
        count = self.amplitudes.sums[:, COUNT].sum()
        if not count:
            return float("nan"), float("nan")
        before, after = (float(np.sqrt(self.amplitudes.total(name) / count)) for name in _SQUARES)
        return before, after

    def profile(self) -> QTable:
        """Mean amplitudes in bins of uv distance that hold visibilities.

        Returns
        -------
        QTable
            uv_min, uv_max, uv_distance (mean, m), before, after, model (Jy), count.
        """
        return self.amplitudes.table("m", _SHOWN)

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
