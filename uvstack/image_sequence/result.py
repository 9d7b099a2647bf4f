"""Light curves: tables of sources, of fluxes and of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable, Table
from numpy.typing import NDArray

from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.report.numbers import unit_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section


@dataclass(frozen=True, eq=False, repr=False)
class LightCurvesResult(Saved):
    """What `uvstack.light_curves` measured.

    Attributes
    ----------
    sources : QTable
        One row a source: source (from 1), name where a catalogue gave one, ra, dec (ICRS), n_epochs
        in which it was measured, flux and flux_error (mean weighted by 1/error²), η and V as
        columns eta and v (NaN of fewer than two epochs); of sources that were found also ra_error,
        dec_error and n_found, the images in which they were.
    curves : QTable
        One row a source and epoch: source, epoch, time (UTC) and mjd, flux, flux_error, rms, flags
        (`Flag`) and whether the source was found in that image by itself.
    epochs : QTable
        One row an image, in the order of their times: epoch (from 1), image, time, mjd, frequency,
        rms and n_found; where fluxes were scaled flux_scale, by which they were divided, its error
        and n_scale, the sources that it comes from.
    radius : float or None
        Of the association, rad; None where a catalogue was given.
    """

    REPORT = ("sources.ecsv", "curves.ecsv", "epochs.ecsv", "light_curves.png", "variability.png")

    sources: QTable
    curves: QTable
    epochs: QTable
    radius: float | None
    provenance: Provenance | None = None

    def most_variable(self, n: int) -> NDArray[np.int64]:
        """Rows of the n sources of largest η, which have one."""
        eta = np.asarray(self.sources["eta"], float)
        order = np.argsort(-np.nan_to_num(eta, nan=-np.inf), kind="stable")
        return order[np.isfinite(eta[order])][:n]

    def curve(self, row: int) -> QTable:
        """Rows of `curves` of a row of `sources`."""
        n = len(self.epochs)
        return self.curves[row * n:(row + 1) * n]

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return plain({"n_sources": len(self.sources), "n_images": len(self.epochs),
                      "radius_rad": self.radius, "unit": unit_text(self.sources["flux"].unit),
                      "epochs": [{name: getattr(row[name], "value", row[name])
                                  for name in self.epochs.colnames} for row in self.epochs],
                      "most_variable": [{name: self.sources[name][int(i)]
                                         for name in ("source", "eta", "v", "n_epochs")}
                                        for i in self.most_variable(10)],
                      "provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, Table]:
        """All three."""
        return {"sources": self.sources, "curves": self.curves, "epochs": self.epochs}

    def overview(self) -> Section:
        """What was measured, and what varies most."""
        from uvstack.image_sequence import report

        return report.overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, the most variable sources, indices, images."""
        from uvstack.image_sequence import report

        return report.sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Light curves of the most variable sources."""
        from uvstack.image_sequence import report

        return report.curves_figure(self)
