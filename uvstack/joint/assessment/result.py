"""What is known of data of an interferometer and a dish, and of their joint image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable, Table
from astropy.wcs import WCS

from uvstack.joint.assessment.comparison import Comparison
from uvstack.joint.assessment.gains import Range
from uvstack.joint.assessment.spacings_files import Spacings
from uvstack.joint.flux_scale import FluxScale
from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.report.numbers import rows_of
from uvstack.sky.beam import Beam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section


@dataclass(frozen=True, eq=False)
class Against:
    """A joint image against a reference.

    Attributes
    ----------
    name : str
        "the dish" or "the truth".
    least : float
        Part of the reference's peak above which it is looked at.
    comparison : Comparison
        Of the channel that is shown, Jy/beam in the dish's beam, or the image's for the truth.
    numbers : QTable
        Those of `Comparison.numbers` of each channel.
    apertures, power_spectra : QTable
        Of the channel that is shown.
    wcs : WCS
    cell : float
        rad.
    """

    name: str
    least: float
    comparison: Comparison
    numbers: QTable
    apertures: QTable
    power_spectra: QTable
    wcs: WCS
    cell: float


@dataclass(frozen=True, eq=False, repr=False)
class AssessResult(Saved):
    """What `uvstack.joint.sdint_assess` found.

    Attributes
    ----------
    spacings : Spacings
        Of the interferometer.
    channels : QTable
        frequency; fwhm of the dish; noise of the interferometer and dish_noise, Jy/beam of each;
        scale and scale_error of each channel alone; dish_at_shortest, the transform of the dish's
        beam at the shortest spacing.
    scale : FluxScale or None
        Flux factor of the dish's map, of all channels; None where it is refused.
    refusal : str
        Why.
    annulus : (float, float)
        Overlap, wavelengths of the channel that is shown.
    gains : QTable
        gain; width_ratio, of the joint psf over the interferometer's; noise and dish_noise, Jy/beam;
        share, of the dish at the shortest spacing.
    range : Range
        Gains that are good.
    noise_alone : float
        Of the interferometer alone, all channels, Jy/beam; NaN where it is not measurable: hands that do not
        differ have none. Likewise in `channels` and `gains`.
    noise_measured : bool
        Whether the interferometer's noise is measured, not expected from the weights.
    shown : int
        The middle channel.
    size, cell, beam
        Pixels of the joint image (m, l), rad, and the interferometer's beam in that channel.
    against_dish, against_truth : Against or None
        Of a joint image.
    files : dict of str to Path
    """

    REPORT = ("overlap.png", "ratio.png", "gains.png", "against_dish.png", "against_truth.png",
              "scales_dish.png", "scales_truth.png", "channels.ecsv", "gains.ecsv", "ratios.ecsv",
              *(f"{kind}_{name}.ecsv" for name in ("dish", "truth")
                for kind in ("against", "apertures", "power_spectra")))

    spacings: Spacings
    channels: QTable
    scale: FluxScale | None
    refusal: str
    annulus: tuple[float, float]
    gains: QTable
    range: Range
    noise_alone: float
    noise_measured: bool
    shown: int
    size: tuple[int, int]
    cell: float
    beam: Beam
    files: dict[str, Path]
    against_dish: Against | None = None
    against_truth: Against | None = None
    provenance: Provenance | None = field(default=None)

    @property
    def against(self) -> dict[str, Against]:
        """Comparisons there are, by what with: dish, truth."""
        both = {"dish": self.against_dish, "truth": self.against_truth}
        return {name: one for name, one in both.items() if one is not None}

    def at_gain(self, column: str, gain: float = 1.0) -> float:
        """A column of `gains` at a gain."""
        values = self.gains[column]
        return float(np.interp(np.log(gain), np.log(self.gains["gain"]),
                               getattr(values, "value", values)))

    def ratios(self) -> QTable:
        """Ratio of interferometer and dish in rings of the uv plane; without rows where there is none."""
        rings = () if self.scale is None else self.scale.rings
        return QTable({"inner_wavelengths": [one.inner for one in rings],
                       "outer_wavelengths": [one.outer for one in rings],
                       "ratio": [one.ratio for one in rings],
                       "ratio_error": [one.error for one in rings]})

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return plain({
            "shortest_spacing_m": self.spacings.shortest,
            "longest_spacing_m": self.spacings.longest,
            "overlap_wavelengths": self.annulus,
            "sd_scale": None if self.scale is None else self.scale.scale,
            "sd_scale_error": None if self.scale is None else self.scale.error,
            "not_measured": self.refusal or None,
            "sd_gain": self.range.advised, "sd_gain_lowest": self.range.lowest,
            "sd_gain_highest": self.range.highest, "sd_gain_because": self.range.reason,
            "noise_alone_jy_per_beam": self.noise_alone, "noise_measured": self.noise_measured,
            "noise_joint_jy_per_beam": self.at_gain("noise"),
            "noise_of_dish_in_joint_jy_per_beam": self.at_gain("dish_noise"),
            "psf_width_ratio": self.at_gain("width_ratio"), "size": self.size, "cell_rad": self.cell,
            "beam_major_rad": self.beam.fwhm_major, "beam_minor_rad": self.beam.fwhm_minor,
            "beam_angle_rad": self.beam.position_angle,
            "channels": rows_of(self.channels), "gains": rows_of(self.gains),
            "ratios": rows_of(self.ratios()),
            "against": {name: rows_of(one.numbers) for name, one in self.against.items()},
            "files": {name: str(path) for name, path in self.files.items()},
            "provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, Table]:
        """Channels, gains, ratios in the uv plane, and of an image what was compared."""
        found: dict[str, Table] = {"channels": self.channels, "gains": self.gains,
                                   "ratios": self.ratios()}
        for name, one in self.against.items():
            found |= {f"against_{name}": one.numbers, f"apertures_{name}": one.apertures,
                      f"power_spectra_{name}": one.power_spectra}
        return found

    def overview(self) -> Section:
        """What is advised, and why."""
        from uvstack.joint.assessment import report

        return report.overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, overlap, weights, and of an image what it is worth."""
        from uvstack.joint.assessment import report

        return report.sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Spacings of both, and what hangs on the gain."""
        from uvstack.joint.assessment import report

        return report.overlap_figure(self)
