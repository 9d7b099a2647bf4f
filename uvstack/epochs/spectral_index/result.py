"""Maps of the spectral index: of the combination and of the epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable, Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.report.numbers import rows_of
from uvstack.sky.beam import Beam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section


@dataclass(frozen=True, eq=False, repr=False)
class AlphaResult(Saved):
    """What `uvstack.epochs.alpha` made.

    Attributes
    ----------
    alpha, error : ndarray (m, l) float32
        Spectral index of the combined terms, S ∝ ν^α, and its standard deviation; NaN below `snr`.
    epochs : mapping of str to (ndarray, ndarray)
        Likewise of each epoch, in the common beam.
    tt0, tt1 : ndarray (m, l) float32
        Combined terms, Jy/beam.
    wcs : WCS
    beam : Beam
        rad, north through east.
    snr : float
    correlation : float
        Of the noise of both terms, from pixels without sources.
    frequency : float or None
        Of the terms, Hz.
    paths : dict of str to Path
        Files: "alpha", and by the names of the epochs.
    """

    REPORT = ("spectral_indices.ecsv", "alpha.png")

    alpha: NDArray[np.float32]
    error: NDArray[np.float32]
    epochs: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
    tt0: NDArray[np.float32]
    tt1: NDArray[np.float32]
    wcs: WCS
    beam: Beam
    snr: float
    correlation: float
    frequency: float | None
    paths: dict[str, Path]
    provenance: Provenance | None = field(default=None)

    def table(self) -> QTable:
        """One row a map: pixels, weighted mean of α over them, median error."""
        rows = []
        for name, (index, error) in {"combined": (self.alpha, self.error), **self.epochs}.items():
            seen = np.isfinite(index) & (error > 0)
            weight = error[seen].astype(float) ** -2.0
            rows.append((name, int(seen.sum()),
                         float(np.average(index[seen], weights=weight)) if seen.any() else np.nan,
                         float(np.median(error[seen])) if seen.any() else np.nan))
        return QTable(rows=rows, names=("name", "n_pixels", "mean_index", "median_error"))

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return plain({
            "n_epochs": len(self.epochs), "snr": self.snr,
            "noise_correlation": self.correlation, "frequency_hz": self.frequency,
            "beam_major_rad": self.beam.fwhm_major, "beam_minor_rad": self.beam.fwhm_minor,
            "beam_angle_rad": self.beam.position_angle,
            "spectral_indices": rows_of(self.table()),
            "files": {name: str(path) for name, path in self.paths.items()},
            "provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, Table]:
        """The table of the maps."""
        return {"spectral_indices": self.table()}

    def overview(self) -> Section:
        """What was made, and how good it is."""
        from uvstack.epochs.spectral_index import report

        return report.overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, maps."""
        from uvstack.epochs.spectral_index import report

        return report.sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """The combined map, its error, and the epochs' maps about the brightest source."""
        from uvstack.epochs.spectral_index import report

        return report.alpha_figure(self)
