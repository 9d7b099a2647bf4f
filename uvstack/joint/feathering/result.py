"""What a feather made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable, Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from uvstack.joint.flux_scale import FluxScale
from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.report.numbers import rows_of
from uvstack.sky.beam import Beam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section


@dataclass(frozen=True, eq=False, repr=False)
class FeatherResult(Saved):
    """What `uvstack.joint.feather` made.

    Attributes
    ----------
    image : ndarray (chan, m, l) float32
        Jy/beam of the interferometer; NaN where that is blank.
    wcs : WCS
        Celestial.
    beams : tuple of Beam
        One a channel, rad.
    dish_beam : Beam
        Of the dish's map in the channel that is shown: that of its units.
    weight_beam : Beam
        Likewise the one that sets w, of a diameter or the same.
    dish_beam_from, weight_beam_from : {"header", "sd_psf", "dish_diameter"}
        What says them.
    frequency : ndarray (chan,) or None
        Hz.
    sd_scale : float
        What the dish's map was multiplied with.
    sd_scale_error : float or None
        Its standard deviation; None where it was given.
    sd_gain : float
    annulus : (float, float)
        Overlap, wavelengths.
    measured : FluxScale or None
        What the overlap says of the flux scale, also where one was given.
    refusal : str
        Why it says nothing.
    fluxes : QTable
        Sums over each channel, Jy: flux_high, flux_low (times `sd_scale`), flux.
    spectra : QTable
        Mean power in rings of the uv plane of the channel that is shown.
    channel : int
        The one that is shown.
    high, low : ndarray (m, l)
        Its images before, Jy/beam of the interferometer, the dish's times `sd_scale`.
    files : dict of str to Path
    """

    REPORT = ("images.png", "ratio.png", "power_spectra.png", "fluxes.ecsv", "ratios.ecsv",
              "power_spectra.ecsv")

    image: NDArray[np.float32]
    wcs: WCS
    beams: tuple[Beam, ...]
    dish_beam: Beam
    weight_beam: Beam
    dish_beam_from: str
    weight_beam_from: str
    frequency: NDArray[np.float64] | None
    sd_scale: float
    sd_scale_error: float | None
    sd_gain: float
    annulus: tuple[float, float]
    measured: FluxScale | None
    refusal: str
    fluxes: QTable
    spectra: QTable
    channel: int
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    files: dict[str, Path]
    provenance: Provenance | None = field(default=None)

    @property
    def beam(self) -> Beam:
        """Of the channel that is shown."""
        return self.beams[self.channel]

    def ratios(self) -> QTable:
        """Ratio of interferometer and dish in rings of the uv plane; without rows where there is none."""
        rings = () if self.measured is None else self.measured.rings
        return QTable({"inner_wavelengths": [one.inner for one in rings],
                       "outer_wavelengths": [one.outer for one in rings],
                       "ratio": [one.ratio for one in rings],
                       "ratio_error": [one.error for one in rings]})

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        found = self.measured
        return plain({
            "sd_scale": self.sd_scale, "sd_scale_error": self.sd_scale_error,
            "sd_gain": self.sd_gain, "overlap_wavelengths": self.annulus,
            "measured_scale": None if found is None else found.scale,
            "measured_scale_error": None if found is None else found.error,
            "not_measured": self.refusal or None,
            "beam_major_rad": self.beam.fwhm_major, "beam_minor_rad": self.beam.fwhm_minor,
            "beam_angle_rad": self.beam.position_angle,
            "dish_beam_major_rad": self.dish_beam.fwhm_major,
            "dish_beam_minor_rad": self.dish_beam.fwhm_minor,
            "dish_beam_angle_rad": self.dish_beam.position_angle,
            "dish_beam_from": self.dish_beam_from,
            "weight_beam_major_rad": self.weight_beam.fwhm_major,
            "weight_beam_minor_rad": self.weight_beam.fwhm_minor,
            "weight_beam_angle_rad": self.weight_beam.position_angle,
            "weight_beam_from": self.weight_beam_from,
            "channel": self.channel, "frequency_hz": self.frequency,
            "fluxes": rows_of(self.fluxes), "ratios": rows_of(self.ratios()),
            "files": {name: str(path) for name, path in self.files.items()},
            "provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, Table]:
        """Fluxes of the channels, ratios and power in rings of the uv plane."""
        return {"fluxes": self.fluxes, "ratios": self.ratios(), "power_spectra": self.spectra}

    def overview(self) -> Section:
        """What was made, and how good it is."""
        from uvstack.joint.feathering import report

        return report.overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, images, ratio, power spectra."""
        from uvstack.joint.feathering import report

        return report.sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Images of the interferometer, the dish and both."""
        from uvstack.joint.feathering import report

        return report.images_figure(self)
