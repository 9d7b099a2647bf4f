"""What a comparison of epochs with their combined map gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from astropy.table import QTable, Table

from uvstack.epochs.comparison.measured import MEASURES
from uvstack.records import Provenance, plain
from uvstack.report.files import Saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section

#: Of a row of the comparison, in this order in JSON.
_STATISTICS = ("n_used", "n_not_positive", "n_not_finite", "median_ratio", "median_ratio_error",
               "mad", "mean_percent_difference", "mean_percent_uncertainty", "flux_scale",
               "flux_scale_error", "n_flux_scale", "flux_slope", "flux_slope_error")


@dataclass(frozen=True, eq=False, repr=False)
class EpochComparison(Saved):
    """What `uvstack.epochs.compare` measured. S_a is the epoch, S_b the combined map, R = S_b/S_a.

    Attributes
    ----------
    comparison : QTable
        One row an epoch and measure (total, peak, island), as Tables 5 and 6 of the memo: numbers
        of matches, median_ratio and mad of R, mean_percent_difference and _uncertainty; flux_scale,
        which brings the epoch to the combined map, and its trends with flux and place; offsets.
    matches : QTable
        One row a match: both names, place, offset, and of each measure both fluxes with their
        total uncertainties, R and the percentages.
    trends : QTable
        Medians of R in bins along flux, east and north.
    combined : str
    radius : float
        Of the matches, rad.
    f_cal : float
    least_snr : float
        From which sources count for flux scales.
    lacking : dict of str to str
        Measures that are not compared, and why.
    """

    JSON: ClassVar[str] = "summary.json"
    REPORT: ClassVar[tuple[str, ...]] = ("comparison.ecsv", "matches.ecsv", "trends.ecsv",
                                         "fluxes.png", "offsets.png", "trends.png")

    comparison: QTable
    matches: QTable
    trends: QTable
    combined: str
    radius: float
    f_cal: float
    least_snr: float
    lacking: Mapping[str, str]
    provenance: Provenance | None = None

    @property
    def measures(self) -> list[str]:
        """What is compared, in the order of the memo."""
        there = set(self.comparison["measure"])
        return [name for name in MEASURES if name in there]

    @property
    def epochs(self) -> QTable:
        """One row an epoch: of its measures the first."""
        _, first = np.unique(self.comparison["epoch"], return_index=True)
        return self.comparison[first]

    def row(self, epoch: int, measure: str) -> Any:
        """Row of `comparison` of an epoch (from 1) and measure."""
        which = (self.comparison["epoch"] == epoch) & (self.comparison["measure"] == measure)
        return self.comparison[int(np.flatnonzero(which)[0])]

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        epochs = []
        for first in self.epochs:
            number = int(first["epoch"])
            told = {name: first[name] for name in ("epoch", "image", "time", "n_epoch",
                                                   "n_matched")}
            for axis in ("east", "north"):
                for end in ("", "_error", "_scatter"):
                    told[f"offset_{axis}{end}_rad"] = first[f"offset_{axis}{end}"].to_value("rad")
            told["measures"] = {one: self._statistics(number, one) for one in self.measures}
            epochs.append(told)
        return plain({"combined": self.combined, "n_combined": self.epochs["n_combined"][0],
                      "match_rad": self.radius, "f_cal": self.f_cal, "least_snr": self.least_snr,
                      "ratio": "combined map over epoch", "not_compared": dict(self.lacking),
                      "epochs": epochs,
                      "provenance": None if self.provenance is None else vars(self.provenance)})

    def _statistics(self, epoch: int, measure: str) -> dict[str, Any]:
        row = self.row(epoch, measure)
        told = {name: row[name] for name in _STATISTICS}
        for axis in ("east", "north"):
            for end in ("", "_error"):
                told[f"gradient_{axis}{end}_per_rad"] = row[f"gradient_{axis}{end}"].to_value(
                    "1/rad")
        return told

    def tables(self, *args: Any, **options: Any) -> dict[str, Table]:
        """All three."""
        return {"comparison": self.comparison, "matches": self.matches, "trends": self.trends}

    def overview(self) -> Section:
        """The table of the memo, with flux scales and offsets."""
        from uvstack.epochs.comparison import report

        return report.overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, fluxes, offsets, trends."""
        from uvstack.epochs.comparison import report

        return report.sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Fluxes of epochs and combined map against each other."""
        from uvstack.epochs.comparison import figures

        return figures.fluxes_figure(self)
