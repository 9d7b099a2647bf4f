"""What an experiment gives: the table beside the paper's, its figures, and the realisations behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy.table import QTable

from simulate.experiment.results import PACKED
from uvstack.records import Provenance, plain
from uvstack.report.files import Saved, files_of_report
from uvstack.report.numbers import rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section


@dataclass(frozen=True, eq=False, repr=False)
class ExperimentResult(Saved):
    """What `run` leaves in its folder.

    Attributes
    ----------
    table : QTable
        A line for each type and weighting: see `simulate.experiment.collect.collect`.
    realisations : tuple of dict
        As in their files, by type and number.
    n_taken, n_computed : int
        Realisations that were there already, and those that were computed.
    folder : Path
    provenance : Provenance
    with_figures : bool
        Whether its page has pictures.
    """

    REPORT = ("table.ecsv", "table.md", "provenance.json", PACKED, "fluxes.png",
              *(f"figure{n}.png" for n in range(1, 12)))

    table: QTable
    realisations: tuple[dict[str, Any], ...]
    n_taken: int
    n_computed: int
    folder: Path
    provenance: Provenance
    with_figures: bool = True

    @property
    def files(self) -> dict[str, Path]:
        """What stands in the folder beside the realisations, by name."""
        labels = {"index.html": "page", "result.json": "result", "table.ecsv": "table",
                  "table.md": "markdown"}
        return {labels.get(name, Path(name).stem): self.folder / name
                for name in files_of_report(type(self)) if (self.folder / name).exists()}

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them."""
        return plain({"n_realisations": len(self.realisations), "n_taken": self.n_taken,
                      "n_computed": self.n_computed, "types": rows_of(self.table),
                      "provenance": vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, QTable]:
        """A line for each type and weighting."""
        return {"table": self.table}

    def overview(self) -> Section:
        """Table 2 with the paper's lines."""
        from simulate.experiment.report import overview

        return overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Table 2, what goes beyond it, and the figures."""
        from simulate.experiment.report import sections

        return sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Fluxes of all types over those of the paper."""
        from simulate.experiment.figures import fluxes_figure

        return fluxes_figure(self.table)
