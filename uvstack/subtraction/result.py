"""What a subtraction leaves to look at: amplitudes against uv distance before and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable

from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.uv.profile import COUNT, UVSums, uv_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section

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
class SubtractResult(Saved):
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
    n_components : int or None
        Components, or pixels of an image, that are not 0; None for a column.
    n_rows, n_subtracted : int
        Rows of the set, and those that the model was taken from or written for.
    resumed_from : int
        Row at which a run that was killed had stopped; 0 where this one did all.
    amplitudes : UVSums
        Of |V| before, after, and of the model, Jy, and the squares of the first two; weights are 1.
    n_without_uvw : int
        Selected rows whose (u, v, w) are not finite: they keep their data.
    weights : str
        Column of the weights, which stay as they were, or "none".
    provenance : Provenance
    """

    REPORT = ("uv_profile.ecsv", "amplitudes.png")

    ms: str
    column: str
    backup: str | None
    what: str
    model: str
    model_flux: float
    n_components: int | None
    n_rows: int
    n_subtracted: int
    resumed_from: int
    amplitudes: UVSums
    n_without_uvw: int
    weights: str
    provenance: Provenance

    @property
    def rms(self) -> tuple[float, float]:
        """Root mean square of |V| over the unflagged parallel hands before and after, Jy.

        NaN where there are none.
        """
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

    def summary(self) -> dict[str, Any]:
        """All of it but the profile, for JSON."""
        before, after = self.rms
        return plain({"ms": self.ms, "column": self.column, "backup": self.backup,
                      "what": self.what, "model": self.model, "model_flux_jy": self.model_flux,
                      "n_components": self.n_components, "n_rows": self.n_rows,
                      "n_subtracted": self.n_subtracted, "n_rows_without_uvw": self.n_without_uvw,
                      "resumed_from_row": self.resumed_from, "weights": self.weights,
                      "rms_before_jy": before, "rms_after_jy": after,
                      "provenance": vars(self.provenance)})

    def overview(self) -> Section:
        """What was subtracted from what, and what is left."""
        from uvstack.subtraction.report import overview

        return overview(self)

    def sections(self) -> list[Section]:
        """What the page of `report` shows."""
        from uvstack.subtraction.report import sections

        return sections(self)

    def tables(self) -> dict[str, QTable]:
        """Mean amplitudes in bins of uv distance."""
        return {"uv_profile": self.profile()}

    def figure(self) -> Figure:
        """Picture of the mean amplitudes against uv distance before and after."""
        from uvstack.subtraction.report import amplitude_figure

        return amplitude_figure(self)
