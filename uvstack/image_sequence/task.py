"""The task: images of several times in, the flux of each source in each of them out.

Every image is searched by itself; what is found anywhere is one list of sources (`association`),
which is measured in all images, before and after it was found: a source that is not seen has a flux
with its error, not a limit. Places are fixed at the mean over the images in which a source was
found, shapes at the beam, so that fluxes are those of points: of extended ones they are comparable
where beams are alike. Images may differ in size, pixels and centre; each is read twice and held
alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from astropy.time import Time
from numpy.typing import NDArray
from typing_extensions import Unpack

from uvstack.checks import finite_number
from uvstack.errors import ImageError, UvstackWarning
from uvstack.extraction.options import DetectionOptions, ExtractionOptions, SignOptions
from uvstack.extraction.plane_files import Plane, read_plane
from uvstack.extraction.result import ExtractResult
from uvstack.extraction.task import run
from uvstack.extraction.variability import measure_variability
from uvstack.image_sequence.association import Places, associate
from uvstack.image_sequence.flux_scale import measure_scales, scaled
from uvstack.image_sequence.result import LightCurvesResult
from uvstack.image_sequence.time_files import read_times
from uvstack.io.catalogues import write_catalogue
from uvstack.io.output import check_output, together, write_table
from uvstack.io.provenance import provenance_of
from uvstack.io.tables import read_positions
from uvstack.options import OverwriteOptions, ReportOptions, takes
from uvstack.records import Provenance
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.catalogue import coord_of
from uvstack.sky.coordinates import to_frame
from uvstack.sky.frequency import warn_of_different
from uvstack.sky.positions import Positions, positions_from_coord


@dataclass(frozen=True)
class _Epoch:
    """An image of the sequence: what its header says, and what was found in it."""

    path: str
    time: float
    frequency: float | None
    stokes: int | None
    unit: u.UnitBase
    beam: float
    found: Places


class SharedOptions(DetectionOptions, SignOptions, ReportOptions, OverwriteOptions, total=False):
    """The options that it shares with other functions."""


@together()
@takes
def light_curves(
    images: Sequence[str | Path],
    *,
    catalogue: str | Path | Table | Positions | None = None,
    radius: float | None = None,
    times: str | Path | Sequence[Any] | None = None,
    flux_scale: bool = False,
    out: str | Path | None = None,
    sources_out: str | Path | None = None,
    **options: Unpack[SharedOptions],
) -> LightCurvesResult:
    """Light curves of the sources of a sequence of images, with their indices of variability.

    Parameters
    ----------
    images : sequence of path
        FITS images, or images of CASA, of one plane, with times (DATE-OBS, or `times`) and beams;
        in any order.
    catalogue : path, Table or Positions, optional
        Sources to be measured, in their order; default what is found in any of the images.
    radius : float, optional
        How far detections of one source may lie apart, rad; default the largest beam's major axis.
        Among several the one that is nearest in units of the errors counts (de Ruiter et al. 1977).
    times : path, Time or sequence, optional
        When each image was taken, in the order of `images`, in place of what headers say: texts
        such as 2011-05-28T03:00:00 (UTC), MJD, or a file of them, one a line.
    flux_scale : bool
        Whether fluxes are divided by a scale of each image, the median ratio of its sources of 10 σ
        to their means, that most sources be constant; errors have that of the scale too.
    out : path, optional
        ECSV table of one row a source and epoch.
    sources_out : path, optional
        Catalogue of one row a source: FITS, ECSV, VOTable (.xml) or CSV.

    Returns
    -------
    LightCurvesResult
        `sources`, `curves` and `epochs` are tables.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> found = uvstack.light_curves(["e1.fits", "e2.fits"], detection=5, out="curves.ecsv")
    """
    asked = {**locals(), **options}
    stokes, negative = options["stokes"], options["negative"]
    paths = _paths_of(images)
    for path in (out, sources_out):
        if path is not None:
            check_output(path, options["overwrite"], inputs=tuple(paths))
    if out is not None and Path(out).suffix.lower() != ".ecsv":
        raise ImageError(f"{out}: the table of the light curves is written as ECSV; give a name "
                         "that ends in .ecsv")
    check_asked(LightCurvesResult, options)
    if radius is not None:
        finite_number("radius", radius, 0, np.pi, above=True, unit="rad")
    settings = ExtractionOptions(detection=options["detection"], analysis=options["analysis"],
                                 box=options["box"], negative=bool(negative))
    given = None if catalogue is None else read_positions(catalogue)
    when = [None] * len(paths) if times is None else read_times(times, len(paths))
    epochs = sorted((_searched(path, time, settings, stokes, negative, given is None)
                     for path, time in zip(paths, when, strict=True)), key=lambda one: one.time)
    _check_alike(epochs)
    if given is None:
        reach = max(one.beam for one in epochs) if radius is None else radius
        places, seen = _associated(epochs, reach)
        given = _positions(places)
    else:
        reach, places, seen = None, None, None
    result = _measured(epochs, given, places, seen, settings, stokes,
                       provenance_of(asked, images=paths), reach, flux_scale)
    if out is not None:
        write_table(out, result.curves)
    if sources_out is not None:
        write_catalogue(sources_out, result.sources)
    return write_asked(result, options)


def _paths_of(images: Sequence[str | Path]) -> list[str]:
    paths = [str(images)] if isinstance(images, str | Path) else [str(path) for path in images]
    if len(paths) < 2:
        raise ImageError(f"{len(paths)} image{'' if len(paths) == 1 else 's'} given; a light "
                         "curve wants two or more")
    twice = {path for path in paths if paths.count(path) > 1}
    if twice:
        raise ImageError(f"{sorted(twice)[0]} is given more than once; wanted are images of "
                         "several times")
    return paths


def _read(path: str, stokes: str | None) -> Plane:
    plane = read_plane(path, stokes=stokes)
    if plane.image is None or plane.beam is None:
        lacking = "coordinates of the sky" if plane.image is None else "beam (BMAJ, BMIN)"
        raise ImageError(f"{path}: has no {lacking}, without which fluxes of several images "
                         "cannot be compared; correct the header")
    return plane


def _searched(path: str, time: float | None, settings: ExtractionOptions, stokes: str | None,
              negative: bool | None, search: bool) -> _Epoch:
    """An image with its sources, in the frame ICRS; at the time of its header where none is given."""
    plane = _read(path, stokes)
    assert plane.image is not None
    assert plane.beam is not None
    time = plane.image.time if time is None else time
    if time is None:
        raise ImageError(f"{path}: does not say its time; wanted is DATE-OBS, such as "
                         "2011-05-28T03:00:00, or MJD-OBS in the header; or give times (--times)")
    found = _no_places()
    if search:
        chosen = replace(settings, negative=plane.is_polarised) if negative is None else settings
        found = _places_of(run(plane, chosen), plane.beam.fwhm_major)
    return _Epoch(path, time, plane.frequency, plane.image.stokes, plane.flux,
                  plane.beam.fwhm_major, found)


def _no_places() -> Places:
    none = np.zeros(0)
    return Places(none, none, none, none, np.zeros(0, np.int64))


def _places_of(result: ExtractResult, beam: float) -> Places:
    table = result.catalogue
    table = table[np.isfinite(table["ra"]) & np.isfinite(table["dec"])]
    if len(table) == 0:
        return _no_places()
    ra, dec = to_frame(coord_of(table), "ICRS")
    errors = [np.asarray(table[name].to_value(u.rad)) for name in ("ra_error", "dec_error")]
    # Of a place without an error no more is known than that it lies in the beam.
    errors = [np.where(np.isfinite(error) & (error > 0), error, beam) for error in errors]
    return Places(np.asarray(ra), np.asarray(dec), errors[0], errors[1],
                  np.ones(len(table), np.int64))


def _check_alike(epochs: Sequence[_Epoch]) -> None:
    first = epochs[0]
    for one in epochs:
        if not one.unit.is_equivalent(first.unit):
            raise ImageError(f"{one.path}: has fluxes in {one.unit or 'no unit'}, {first.path} in "
                             f"{first.unit or 'no unit'}; wanted are images in one kind of unit")
        if one.stokes not in (None, first.stokes) and first.stokes is not None:
            raise ImageError(f"{one.path}: holds Stokes {one.stokes} (FITS's code), {first.path} "
                             f"{first.stokes}; wanted are images of one: "
                             "give stokes= (--stokes)")
    warn_of_different([one.frequency for one in epochs])


def _associated(epochs: Sequence[_Epoch], radius: float) -> tuple[Places, list[NDArray[np.int64]]]:
    """Sources of all images, and of each image the sources that were found."""
    places, seen = _no_places(), []
    for one in epochs:
        places, source = associate(places, one.found, radius)
        seen.append(source)
    return places, seen


def _positions(places: Places) -> Positions | None:
    if len(places.ra) == 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UvstackWarning)
        return positions_from_coord(places.coord, source="detections")


def _measured(epochs: Sequence[_Epoch], given: Positions | None, places: Places | None,
              seen: list[NDArray[np.int64]] | None, settings: ExtractionOptions, stokes: str | None,
              provenance: Provenance, radius: float | None,
              flux_scale: bool) -> LightCurvesResult:
    """Fluxes of the sources in all images, in the unit of the first."""
    n, unit = 0 if given is None else len(given.coord), epochs[0].unit
    shape = (len(epochs), n)
    flux, error, noise = (np.full(shape, np.nan) for _ in range(3))
    flags, median = np.zeros(shape, np.int64), np.full(len(epochs), np.nan)
    for k, one in enumerate(epochs):
        if given is None:
            continue
        measured = run(_read(one.path, stokes), settings, places=given)
        table = measured.catalogue
        flux[k], error[k] = (table[name].to_value(unit) for name in ("flux", "flux_error"))
        noise[k] = (table["rms"] * u.beam).to_value(unit)
        flags[k], median[k] = np.asarray(table["flags"]), (measured.median_rms * table["peak"].unit
                                                           * u.beam).to_value(unit)
    detected = np.zeros(shape, bool)
    for k, source in enumerate(seen or []):
        detected[k, source] = True
    time = Time([one.time for one in epochs], format="mjd")
    made = QTable({"epoch": np.arange(1, len(epochs) + 1), "image": [one.path for one in epochs],
                   "time": time.isot, "mjd": time.mjd * u.day,
                   "frequency": np.array([np.nan if one.frequency is None else one.frequency
                                          for one in epochs]) * u.Hz, "rms": median * unit})
    if seen is not None:
        made["n_found"] = detected.sum(axis=1)
    if flux_scale:
        scale, scale_error, n_scale = measure_scales(flux, error)
        flux, error = scaled(flux, error, scale, scale_error)
        made["flux_scale"], made["flux_scale_error"], made["n_scale"] = scale, scale_error, n_scale
    curves = QTable({"source": np.repeat(np.arange(1, n + 1), len(epochs)),
                     "epoch": np.tile(made["epoch"], n), "time": np.tile(np.asarray(time.isot), n),
                     "mjd": np.tile(time.mjd, n) * u.day, "flux": flux.T.ravel() * unit,
                     "flux_error": error.T.ravel() * unit, "rms": noise.T.ravel() * unit,
                     "flags": flags.T.ravel()})
    if seen is not None:
        curves["found"] = detected.T.ravel()
    sources = _sources(given, places, flux.T, error.T, unit)
    return LightCurvesResult(sources, curves, made, radius, provenance)


def _sources(given: Positions | None, places: Places | None, flux: NDArray, error: NDArray,
             unit: u.UnitBase) -> QTable:
    """One row a source: its place, mean flux and indices."""
    n = len(flux)
    told = measure_variability(flux, error) if n else None
    table = QTable({"source": np.arange(1, n + 1)})
    if given is not None and given.names is not None:
        table["name"] = given.names
    ra, dec = (np.zeros(0), np.zeros(0)) if given is None else to_frame(given.coord, "ICRS")
    table["ra"], table["dec"] = (ra * u.rad).to(u.deg) % (360 * u.deg), (dec * u.rad).to(u.deg)
    if places is not None:
        table["ra_error"], table["dec_error"] = ((e * u.rad).to(u.arcsec)
                                                 for e in (places.ra_error, places.dec_error))
        table["n_found"] = places.n_found
    for name in ("flux", "flux_error"):
        values = np.zeros(0) if told is None else (told.mean if name == "flux" else told.mean_error)
        table[name] = values * unit
    table["n_epochs"] = np.zeros(0, np.int64) if told is None else told.n_epochs
    table["eta"], table["v"] = (np.zeros(0), np.zeros(0)) if told is None else (told.eta, told.v)
    table.meta["frame"] = "ICRS"
    if not unit.is_equivalent(u.Jy):
        table.meta["brightness_unit"] = str(unit / u.beam)
    return table
