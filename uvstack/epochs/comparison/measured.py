"""What is compared of the sources of an image: places, and three fluxes, each with its noise.

A catalogue becomes arrays in Jy and rad, in ICRS. The noise σ of a flux is that of the appendix
without the calibration: rms √N_beam of total and island fluxes, rms of peaks. N_beam of a source is
the area of its ellipse over that of the beam (equation 2), of an island the area of its pixels over
the beam's; neither is below 1 (equation 3). Where a catalogue says no area of its islands, N_beam
is that of the source's ellipse, as the memo has it. The parts into which extraction splits an
island (rows of one `island`, each with its own `n_pixels`) are put together again: the flux of an
island is that of all its pixels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray

from uvstack.errors import CatalogueWarning, ComponentError
from uvstack.sky.beam import Beam
from uvstack.sky.catalogue import coord_of, placed_rows
from uvstack.sky.coordinates import to_frame

#: Measures in the order of the memo's tables, and the columns of a catalogue that hold them.
MEASURES = {"total": "flux", "peak": "peak", "island": "island_flux"}
#: A beam so many times the size of the usual source is one in another unit.
_TOO_WIDE = 2.0


@dataclass(frozen=True)
class Flux:
    """One measure of n sources: fluxes and their noise without calibration, Jy; Jy/beam of peaks.

    `n_beams` are the beams that each covers, 1 of peaks.
    """

    value: NDArray[np.float64]
    noise: NDArray[np.float64]
    n_beams: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """The sources of an image or a catalogue, arrays of n.

    Attributes
    ----------
    name : str
        Where they are from.
    label : ndarray of str
        What each source is called there.
    ra, dec : ndarray
        ICRS, rad.
    ra_error, dec_error : ndarray
        Angles on the sky, rad; NaN where unknown.
    fluxes : dict of str to Flux
        By the names of `MEASURES`.
    lacking : dict of str to str
        Why a measure is not there.
    beam : Beam or None
        rad.
    frequency : float or None
        Hz.
    time : float or None
        MJD.
    stokes : int or None
        FITS's code.
    """

    name: str
    label: NDArray[np.str_]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    ra_error: NDArray[np.float64]
    dec_error: NDArray[np.float64]
    fluxes: dict[str, Flux]
    lacking: dict[str, str] = field(default_factory=dict)
    beam: Beam | None = None
    frequency: float | None = None
    time: float | None = None
    stokes: int | None = None

    def __len__(self) -> int:
        """Count of sources."""
        return len(self.ra)


def measured_of(table: QTable, name: str, beam: Beam | None = None) -> Measured:
    """The sources of a catalogue.

    Parameters
    ----------
    table : QTable
        As `uvstack.sky.catalogue.normalised` gives it. Of the image say ``meta["bmaj"]``, "bmin"
        and "bpa" (degrees) the beam and ``meta["pixel_area"]`` the area of a pixel (square
        degrees). A column `island_beams` is taken for N_beam of the islands.
    name : str
        Where it is from, for messages.
    beam : Beam, optional
        Where the catalogue says none, rad.

    Raises
    ------
    ComponentError
        It has no places, is in another unit than Jy, or its beam cannot be one.

    Warns
    -----
    CatalogueWarning
        Rows have no place or are flagged, and were left out; N_beam of islands is that of the sources.
    """
    lacking = [column for column in ("ra", "dec") if column not in table.colnames]
    if lacking:
        raise ComponentError(f"{name}: has no column {lacking[0]}; wanted are ra and dec with "
                             f"their unit, it has {', '.join(table.colnames) or 'none'}")
    if table.meta.get("brightness_unit") is not None:
        raise ComponentError(f"{name}: is in {table.meta['brightness_unit'] or 'no unit'}; wanted "
                             "are fluxes in Jy and peaks in Jy/beam: convert it")
    table = placed_rows(table, source=name)
    ra, dec = to_frame(coord_of(table), "ICRS") if len(table) else (np.zeros(0), np.zeros(0))
    rows = _Rows(table, name, _beam_of(table, name) or beam)
    fluxes, reasons = {}, {}
    for measure, column in MEASURES.items():
        try:
            fluxes[measure] = rows.flux(measure, column)
        except LookupError as error:
            reasons[measure] = str(error.args[0])
    labels = next((np.asarray(table[one]).astype(str) for one in ("name", "source")
                   if one in table.colnames), np.arange(1, len(table) + 1).astype(str))
    east, north = (rows.values(column, u.rad) if column in table.colnames
                   else np.full(len(table), np.nan) for column in ("ra_error", "dec_error"))
    return Measured(name, labels, np.asarray(ra), np.asarray(dec), east, north, fluxes,
                    reasons, rows.beam, table.meta.get("reference_frequency"))


@dataclass(frozen=True)
class _Rows:
    """Rows of a catalogue, of which fluxes are taken; LookupError with what is missing."""

    table: QTable
    name: str
    beam: Beam | None

    def values(self, column: str, unit: u.UnitBase) -> NDArray[np.float64]:
        if column not in self.table.colnames:
            raise LookupError(f"no column {column}")
        return np.asarray(self.table[column].to_value(unit), float)

    def flux(self, measure: str, column: str) -> Flux:
        if measure == "peak":
            value, rms = (self.values(one, u.Jy / u.beam) for one in (column, "rms"))
            return Flux(value, rms, np.ones(len(value)))
        value = self.values(column, u.Jy)
        beams = self._of_ellipses() if measure == "total" else self._of_islands()
        if measure == "island":
            value = self._together(value)
        beams = np.maximum(beams, 1.0)
        return Flux(value, self.values("rms", u.Jy / u.beam) * np.sqrt(beams), beams)

    def _of_ellipses(self) -> NDArray[np.float64]:
        major, minor = (self.values(f"fwhm_{axis}", u.rad) for axis in ("major", "minor"))
        if self.beam is None:
            raise LookupError("no beam (BMAJ, BMIN in its header)")
        usual = np.nanmedian(major) if np.isfinite(major).any() else np.nan
        if self.beam.fwhm_major > _TOO_WIDE * usual > 0:
            raise ComponentError(
                f"{self.name}: half of its sources are below {np.rad2deg(usual) * 3600:.3g}″, and "
                f"its beam is {np.rad2deg(self.beam.fwhm_major) * 3600:.3g}″; wanted are sizes as "
                "observed, with the beam, and BMAJ in degrees")
        return major * minor / (self.beam.fwhm_major * self.beam.fwhm_minor)

    def _of_islands(self) -> NDArray[np.float64]:
        if "island_beams" in self.table.colnames:
            return np.asarray(self.table["island_beams"], float)
        if "n_pixels" in self.table.colnames and self.beam and "pixel_area" in self.table.meta:
            pixel = np.deg2rad(1.0) ** 2 * float(self.table.meta["pixel_area"])
            n_pixels = self._together(np.asarray(self.table["n_pixels"], float))
            return n_pixels * pixel / self.beam.solid_angle
        beams = self._of_ellipses()
        warnings.warn(f"{self.name}: says no area of its islands (n_pixels, and pixel_area and "
                      "BMAJ in its header): N_beam of island fluxes is that of the sources",
                      CatalogueWarning, stacklevel=6)
        return beams

    def _together(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over all parts of the island that each source is one of."""
        if not {"island", "n_pixels"} <= set(self.table.colnames):
            return values
        island, row = np.unique(np.asarray(self.table["island"]), return_inverse=True)
        return np.asarray(np.bincount(row, values, len(island))[row], float)


def _beam_of(table: QTable, name: str) -> Beam | None:
    """Beam of a catalogue's header, rad; None where it says none."""
    given = [table.meta.get(key) for key in ("bmaj", "bmin", "bpa")]
    if given[0] is None or given[1] is None:
        return None
    try:
        beam = Beam(*(float(np.deg2rad(float(value or 0.0))) for value in given))
    except (TypeError, ValueError):
        beam = Beam(np.nan, np.nan)
    if not (np.isfinite(beam).all() and beam.fwhm_major >= beam.fwhm_minor > 0):
        raise ComponentError(f"{name}: its header has a beam of BMAJ {given[0]}, BMIN {given[1]}; "
                             "wanted are degrees, BMAJ ≥ BMIN > 0")
    return beam
