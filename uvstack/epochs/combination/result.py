"""A combination of epochs: its maps, its table, its files."""

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

#: Maps of a combination, by the names of their files without the ending.
MAPS = ("mean", "median", "weight", "rms", "chi2", "chi2-calibrated", "coverage")


@dataclass(frozen=True, eq=False, repr=False)
class CombineResult(Saved):
    """What `uvstack.epochs.combine` made.

    Attributes
    ----------
    maps : mapping of str to ndarray (m, l)
        mean and median (Jy/beam), weight (beam²/Jy²: Σ 1/rms²), rms (Jy/beam: 1/√weight), chi2 and
        chi2-calibrated, coverage (epochs); NaN where blank. Read from their files where they stand
        in some.
    wcs : WCS
        Celestial, of the pixels.
    beam : Beam
        rad, north through east.
    table : QTable
        One row an epoch, then the mean and the median: name, the beam as observed, rms as observed
        and in the common beam (of pixels without sources), its ratio to that of the mean and of the
        median, peak, dynamic range (peak over rms; VLASS memo 26, tables 1 to 4), and whether the
        epoch was used.
    epochs : tuple of str
        Paths of the images.
    paths : dict of str to Path
        Files, by the names of `maps`; empty where none were written.
    rms_box : int
        Pixels.
    rms_method : str
    panels : tuple of (str, ndarray)
        Pictures of the epochs, mean and median: names and brightness (Jy/beam), thinned.
    pictures : mapping of str to ndarray
        `maps`, thinned.
    thinned : int
        Every how manieth pixel those have.
    """

    REPORT = ("table.ecsv", "epochs.png", "maps.png")

    maps: Mapping[str, NDArray[np.float32]]
    wcs: WCS
    beam: Beam
    table: QTable
    epochs: tuple[str, ...]
    paths: dict[str, Path]
    rms_box: int
    rms_method: str
    panels: tuple[tuple[str, NDArray[np.float32]], ...]
    pictures: Mapping[str, NDArray[np.float32]]
    thinned: int = 1
    provenance: Provenance | None = field(default=None)

    @property
    def mean(self) -> NDArray[np.float32]:
        """Weighted mean, (m, l), Jy/beam; NaN where blank."""
        return self.maps["mean"]

    @property
    def median(self) -> NDArray[np.float32]:
        """Weighted median, (m, l), Jy/beam; NaN where blank."""
        return self.maps["median"]

    @property
    def weight(self) -> NDArray[np.float32]:
        """Σ 1/rms² of the epochs, (m, l), beam²/Jy²; 0 where there is none."""
        return self.maps["weight"]

    @property
    def rms(self) -> NDArray[np.float32]:
        """Noise of the mean, 1/√weight, (m, l), Jy/beam; NaN where there is none."""
        return self.maps["rms"]

    @property
    def chi2(self) -> NDArray[np.float32]:
        """Σ (epoch − mean)²/rms², (m, l), of coverage − 1 degrees of freedom; NaN below two epochs."""
        return self.maps["chi2"]

    @property
    def chi2_calibrated(self) -> NDArray[np.float32]:
        """As `chi2`, with the uncertainty of the calibration in the denominator, (m, l)."""
        return self.maps["chi2-calibrated"]

    @property
    def coverage(self) -> NDArray[np.float32]:
        """Number of epochs, (m, l)."""
        return self.maps["coverage"]

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return plain({
            "epochs": list(self.epochs), "n_epochs": len(self.epochs),
            "beam_major_rad": self.beam.fwhm_major, "beam_minor_rad": self.beam.fwhm_minor,
            "beam_angle_rad": self.beam.position_angle, "rms_box_pixels": self.rms_box,
            "rms_method": self.rms_method, "table": rows_of(self.table),
            "files": {name: path.name for name, path in self.paths.items()},
            "provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, Table]:
        """The table of epochs."""
        return {"table": self.table}

    def overview(self) -> Section:
        """What was combined, and what it gained."""
        from uvstack.epochs.combination import report

        return report.overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, pictures, maps."""
        from uvstack.epochs.combination import report

        return report.sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Epochs, mean and median on one colour scale."""
        from uvstack.epochs.combination import report

        return report.panels_figure(self)
