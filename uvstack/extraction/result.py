"""An extraction: its catalogue, and the maps that pictures are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable, Table
from numpy.typing import NDArray

from uvstack.extraction.islands import Map, map_of
from uvstack.extraction.sky_frame import SkyFrame
from uvstack.extraction.source_model import SourceModel
from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.report.numbers import unit_text
from uvstack.sky.beam import Beam
from uvstack.sky.source_flags import Flag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section


@dataclass(frozen=True, eq=False, repr=False)
class ExtractResult(Saved):
    """What `uvstack.extract` found and measured.

    Attributes
    ----------
    catalogue : QTable
        As `uvstack.extract` returns it.
    image : str
    data : ndarray (m, l) float32
        The image without its background, in the unit of the catalogue's peaks.
    background, rms : Map
        Maps, their nodes, or numbers: see `map_of`.
    sources : SourceModel
        The Gaussians of the catalogue, of which `model` is the image.
    islands : ndarray (m, l) int32 or None
        Numbers of the sources' pixels; None where places were given.
    beam : Beam or None
        rad.
    frame : SkyFrame
    threshold, analysis : float or None
        Of the islands, in standard deviations.
    channels : QTable or None
        Of a cube: row of the catalogue (from 0), source, channel (from 0), frequency, flux,
        flux_error, rms and flags, one row a row of the catalogue and channel.
    """

    REPORT = ("catalogue.ecsv", "channels.ecsv", "image.png", "noise.png", "residual_image.png",
              "residuals.png", "spectra.png")

    catalogue: QTable
    image: str
    data: NDArray[np.float32]
    background: Map
    rms: Map
    sources: SourceModel
    islands: NDArray[np.int32] | None
    beam: Beam | None
    frame: SkyFrame
    threshold: float | None
    analysis: float | None
    provenance: Provenance | None = field(default=None)
    channels: QTable | None = None

    @property
    def model(self) -> NDArray[np.float32]:
        """The Gaussians of the catalogue, (m, l); made anew each time."""
        return self.sources.rows()

    @property
    def residual(self) -> NDArray[np.float32]:
        """The image without background and sources, (m, l)."""
        model = self.model
        return np.subtract(self.data, model, out=model)

    @property
    def median_rms(self) -> float:
        """Median noise over the image, unit of the image."""
        return float(np.nanmedian(map_of(self.rms, self.data.shape, 4)))

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        flags = np.asarray(self.catalogue["flags"])
        return plain({
            "image": self.image, "n_sources": len(self.catalogue),
            "flags": {str(one.name).lower(): int(((flags & one) != 0).sum()) for one in Flag},
            "threshold_sigma": self.threshold, "analysis_sigma": self.analysis,
            "beam_major_rad": None if self.beam is None else self.beam.fwhm_major,
            "beam_minor_rad": None if self.beam is None else self.beam.fwhm_minor,
            "beam_angle_rad": None if self.beam is None else self.beam.position_angle,
            "beam_frame": self.frame.beam_frame, "unit": unit_text(self.catalogue["peak"].unit),
            "median_rms": self.median_rms,
            "provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, Table]:
        """The catalogue, and of a cube the fluxes in its channels."""
        more = {} if self.channels is None else {"channels": self.channels}
        return {"catalogue": self.catalogue, **more}

    def overview(self) -> Section:
        """What was found."""
        from uvstack.extraction import report

        return report.overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, sources, noise and residuals."""
        from uvstack.extraction import report

        return report.sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """The image with its sources."""
        from uvstack.extraction import report

        return report.image_figure(self)
