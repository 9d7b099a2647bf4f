"""Rows of a catalogue: what was measured in pixels, on the sky and in units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray

from uvstack.extraction.deconvolution import RESOLVED, deconvolve_sizes
from uvstack.extraction.derived import axes_of, turned
from uvstack.extraction.measure import Measured
from uvstack.extraction.sky_frame import SkyFrame
from uvstack.sky.beam import Beam, areas_of_covariances
from uvstack.sky.source_flags import Flag


@dataclass(frozen=True)
class Surroundings:
    """What belongs to the places of sources, arrays of n.

    Attributes
    ----------
    rms, background : ndarray (n,)
        Unit of the image.
    island : ndarray (n,) int
        Number of the island, from 1; 0 for none.
    n_pixels : ndarray (n,) int
    brightest : ndarray (n,)
        Value of the maximum, between pixels or of the brightest.
    island_sum, island_sum_error, island_rms : ndarray (n,)
        Sum over the island's pixels with its error, and rms of what a fit left of them.
    flags : ndarray (n,) int
    """

    rms: NDArray[np.float64]
    background: NDArray[np.float64]
    island: NDArray[np.int64]
    n_pixels: NDArray[np.int64]
    brightest: NDArray[np.float64]
    island_sum: NDArray[np.float64]
    island_sum_error: NDArray[np.float64]
    island_rms: NDArray[np.float64]
    flags: NDArray[np.int32]


def catalogue_rows(found: Measured, around: Surroundings, frame: SkyFrame, beam: Beam | None,
                   unit: tuple[u.UnitBase, u.UnitBase]) -> QTable:
    """Catalogue of sources: one row each, in their order.

    Parameters
    ----------
    found : Measured
    around : Surroundings
    frame : SkyFrame
    beam : Beam, optional
        rad; without one there are neither fluxes nor sizes without the beam.
    unit : (Unit, Unit)
        Of the image's pixels (Jy/beam), and of a flux: the sum over a source times a beam's area is
        in the first times beam.
    """
    n = len(found.x)
    steps = frame.steps(found.x, found.y)
    on_sky, spread = turned(found.size, found.spread, steps)
    place = np.einsum("nij,njk,nlk->nil", steps, found.place, steps)
    axes = axes_of(on_sky, spread)
    ra, dec = frame.directions(found.x, found.y)
    flags = found.flags | around.flags
    area, beams = np.full(n, np.nan), None
    if beam is not None:
        beams = frame.beams_at(beam, found.x, found.y)
        area = areas_of_covariances(beams)
    bright, whole = unit
    to_sky = u.rad if frame.image is not None else u.pix
    columns: dict[str, Any] = {"source": found.source + 1, "island": around.island,
                               "ra": (ra * u.rad).to(u.deg), "dec": (dec * u.rad).to(u.deg),
                               "ra_error": _angle(_root(place[:, 0, 0]), to_sky),
                               "dec_error": _angle(_root(place[:, 1, 1]), to_sky),
                               "x": found.x * u.pix, "y": found.y * u.pix,
                               "x_error": _root(found.place[:, 0, 0]) * u.pix,
                               "y_error": _root(found.place[:, 1, 1]) * u.pix,
                               "peak": found.peak * bright, "peak_error": found.peak_error * bright,
                               "flux": found.total / area * whole,
                               "flux_error": found.total_error / area * whole,
                               "source_flux": found.source_total / area * whole,
                               "source_flux_error": found.source_total_error / area * whole,
                               "fwhm_major": _angle(axes.major, to_sky),
                               "fwhm_minor": _angle(axes.minor, to_sky),
                               "fwhm_major_error": _angle(axes.major_error, to_sky),
                               "fwhm_minor_error": _angle(axes.minor_error, to_sky),
                               "position_angle": (axes.angle * u.rad).to(u.deg),
                               "position_angle_error": (axes.angle_error * u.rad).to(u.deg)}
    columns |= _without_beam(on_sky, spread, steps, beams, to_sky)
    columns |= {"rms": around.rms * bright, "background": around.background * bright,
                "significance": around.brightest / around.rms, "n_pixels": around.n_pixels,
                "island_flux": around.island_sum / area * whole,
                "island_flux_error": around.island_sum_error / area * whole,
                "island_rms": around.island_rms * bright, "fit_status": found.status}
    if beam is None:
        flags = flags | int(Flag.NO_BEAM)
    # A limit stands for the error of a size without the beam, and a forced place has no island.
    wanted = [name for name in columns
              if name.endswith("_error") and not name.startswith(("deconvolved", "island"))
              and not (beam is None and "flux" in name)]
    bad = ~np.all([np.isfinite(_number(columns[name])) & (_number(columns[name]) > 0)
                   for name in wanted], axis=0)
    fixed = (found.flags & int(Flag.FIXED)) != 0
    columns["flags"] = np.where(bad & ~fixed, flags | int(Flag.NO_ERROR), flags)
    return QTable(columns)


def _root(variance: NDArray) -> NDArray[np.float64]:
    """Standard deviations; 0, which is flagged, where an uncertain correlation of the noise gives less."""
    return np.sqrt(np.maximum(variance, 0.0))


def _number(column: Any) -> NDArray:
    return np.asarray(getattr(column, "value", column), float)


def _angle(values: NDArray, unit: u.UnitBase) -> u.Quantity:
    """Lengths on the sky in arcsec; of an image without coordinates in pixels."""
    quantity = values * unit
    return quantity.to(u.arcsec) if unit == u.rad else quantity


def _without_beam(on_sky: NDArray, spread: NDArray, steps: NDArray, beams: NDArray | None,
                  unit: u.UnitBase) -> dict[str, Any]:
    """Sizes of the sources themselves; 0 with a limit where a source is not significantly larger than the beam."""
    n = len(on_sky)
    if beams is None:
        blur = np.broadcast_to(np.eye(2), (n, 2, 2))
        on_sky, spread = np.full((n, 2, 2), np.nan), np.full((n, 3, 3), np.nan)
    else:
        blur = turned(beams, np.zeros((n, 3, 3)), steps)[0]
    sound = np.asarray(np.isfinite(blur).all(axis=(1, 2)))
    alone = deconvolve_sizes(on_sky, spread, np.where(sound[:, None, None], blur, np.eye(2)))
    point = ~(alone.significance > RESOLVED)
    columns: dict[str, Any] = {}
    for name, axis, error, limit in (("major", alone.fwhm_major, alone.major_error,
                                      alone.major_limit),
                                     ("minor", alone.fwhm_minor, alone.minor_error,
                                      alone.minor_limit)):
        columns[f"deconvolved_{name}"] = _angle(np.where(point & np.isfinite(axis), 0.0, axis),
                                                unit)
        columns[f"deconvolved_{name}_error"] = _angle(error, unit)
        columns[f"deconvolved_{name}_limit"] = _angle(limit, unit)
    angle = np.where(point & np.isfinite(alone.position_angle), 0.0, alone.position_angle)
    columns["deconvolved_angle"] = (angle * u.rad).to(u.deg)
    columns["deconvolved_angle_error"] = (alone.angle_error * u.rad).to(u.deg)
    columns["resolved_significance"] = alone.significance
    return columns
