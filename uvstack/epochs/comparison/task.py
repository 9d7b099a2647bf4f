"""The task: a combined map and its epochs in, how their sources agree out.

Each image is searched by itself; catalogues stand in the place of images. Images are read one after
the other, and of each the catalogue alone is kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from typing_extensions import Unpack

from uvstack.checks import finite_number
from uvstack.epochs.comparison.matched import Matched, matched_of
from uvstack.epochs.comparison.measured import MEASURES, Measured, measured_of
from uvstack.epochs.comparison.pybdsf_files import from_pybdsf, is_pybdsf, search
from uvstack.epochs.comparison.result import EpochComparison
from uvstack.epochs.comparison.rows import comparison_table, match_table, trend_table
from uvstack.errors import (
    ComponentError,
    ImageError,
    PositionsError,
    SelectionError,
    UvstackWarning,
)
from uvstack.extraction.options import DetectionOptions, ExtractionOptions
from uvstack.extraction.plane_files import Plane, read_plane
from uvstack.extraction.task import run
from uvstack.io.catalogues import KINDS, read_catalogue
from uvstack.io.image_file import holds_image
from uvstack.io.output import check_report, together
from uvstack.io.provenance import provenance_of
from uvstack.io.tables import read_table
from uvstack.options import OverwriteOptions, takes
from uvstack.report.files import files_of_report
from uvstack.sky.beam import Beam
from uvstack.sky.catalogue import normalised
from uvstack.sky.coordinates import to_frame
from uvstack.sky.frequency import warn_of_different

#: Beams whose squares differ by more than this part are told: peaks then differ.
_SAME_BEAM = 0.02
_LARGEST_RADIUS = np.deg2rad(1.0)


class SharedOptions(DetectionOptions, OverwriteOptions, total=False):
    """The options that it shares with other functions."""


@together()
@takes
def compare(
    combined: str | Path | Table,
    epochs: Sequence[str | Path | Table],
    *,
    match: u.Quantity | float | str = 1 * u.arcsec,
    finder: Literal["uvstack", "bdsf"] = "uvstack",
    f_cal: float = 0.05,
    snr: float = 10.0,
    beam: Beam | Sequence[float] | None = None,
    out: str | Path | None = None,
    **options: Unpack[SharedOptions],
) -> EpochComparison:
    """How the sources of epochs agree with those of their combined map (appendix of VLASS memo 26).

    S_a is the flux in the epoch, S_b that in the combined map, and R = S_b/S_a.

    Parameters
    ----------
    combined : path or Table
        FITS image or image of CASA, in Jy/beam (mJy/beam …), with its beam; or a catalogue of its
        sources: ECSV, FITS, VOTable or CSV as `uvstack.extract` writes it, or a list of PyBDSF. Its
        header says the beam (BMAJ, BMIN in degrees).
    epochs : sequence of path or Table
        Likewise, one or more.
    match : Quantity, float or str
        How far counterparts may lie apart; a number is in rad. One to one, the nearest first.
    finder : {"uvstack", "bdsf"}
        What finds the sources of images: `uvstack.extract`, or PyBDSF.
    f_cal : float
        Fractional uncertainty of the calibration, in equations 1 and 4.
    snr : float
        Sources whose peak in the combined map is so many σ of the epoch, or more, count for
        its flux scale and trends.
    beam : Beam or (float, float, float), optional
        FWHM and position angle, rad, of catalogues that say none.
    out : path, optional
        Folder for comparison.ecsv (one row an epoch and measure), matches.ecsv, trends.ecsv,
        summary.json, pictures and a page; default none.

    Returns
    -------
    EpochComparison
        `comparison`, `matches` and `trends` are tables.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line: an input cannot be read or holds no source, an epoch has
        no match, no measure is in all inputs.

    Warns
    -----
    UvstackWarning
        A measure is not in all inputs and is left out; frequencies or beams differ; offsets reach
        the radius of the matches.

    Examples
    --------
    >>> uvstack.epochs.compare("mean.fits", ["e1.fits", "e2.fits"], match=1 * u.arcsec, out="new")
    """
    asked = {**locals(), **options}
    given = [epochs] if isinstance(epochs, str | Path | Table) else list(epochs)
    paths = _paths_of(combined, given)
    if out is not None:
        check_report(out, options["overwrite"], files_of_report(EpochComparison), tuple(paths))
    radius = _radius_of(match)
    finite_number("f_cal", f_cal, 0.0)
    finite_number("snr", snr, 0.0)
    settings = ExtractionOptions(detection=options["detection"], analysis=options["analysis"],
                                 box=options["box"])
    shared = None if beam is None else Beam(*beam)
    read = [_measured(one, name, settings, finder, options["stokes"], shared)
            for one, name in zip([combined, *given], _names_of(combined, given), strict=True)]
    lacking = _check_alike(read)
    measures = [one for one in MEASURES if one not in lacking]
    found = [_matched(one, read[0], measures, radius, f_cal) for one in read[1:]]
    result = EpochComparison(comparison_table(found, snr), match_table(found), trend_table(found),
                             read[0].name, radius, f_cal, snr, lacking,
                             provenance_of(asked, images=[one.name for one in read]))
    if out is not None:
        result.report(out)
    return result


def _paths_of(combined: Any, epochs: list[Any]) -> list[str]:
    """Paths among the inputs, each once."""
    if not epochs:
        raise ImageError("no epoch is given beside the combined map; wanted are one or more")
    paths = [str(one) for one in (combined, *epochs) if not isinstance(one, Table)]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise ImageError(f"{twice[0]} is given more than once; wanted are the combined map, and "
                         "each epoch once")
    return paths


def _names_of(combined: Any, epochs: list[Any]) -> list[str]:
    return [str(one) if not isinstance(one, Table) else f"table of epoch {number}" if number
            else "table of the combined map" for number, one in enumerate([combined, *epochs])]


def _radius_of(match: u.Quantity | float | str) -> float:
    try:
        radius = float(u.Quantity(match, u.rad).to_value(u.rad))
    except (TypeError, ValueError) as error:
        raise SelectionError(f"match={match!s} is no angle; wanted is one such as 1 * u.arcsec "
                         "(1arcsec)") from error
    if not 0 < radius <= _LARGEST_RADIUS:
        raise SelectionError(f"match={match!s} is {np.rad2deg(radius) * 3600:.3g}″; wanted is an angle "
                         "above 0, up to 1°, such as 1 * u.arcsec (1arcsec)")
    return radius


# ---------------------------------------------------------------------------------------- inputs


def _measured(source: str | Path | Table, name: str, settings: ExtractionOptions, finder: str,
              stokes: str | None, beam: Beam | None) -> Measured:
    """Sources of an image or catalogue."""
    if isinstance(source, Table):
        return measured_of(_catalogue(source, name), name, beam)
    path = Path(source)
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    if path.is_file() and kind in KINDS and (KINDS[kind] != "fits" or not holds_image(path)):
        return measured_of(_read_catalogue(path), name, beam)
    plane = read_plane(path, stokes=stokes)
    table = _searched(plane, settings, finder)
    assert plane.image is not None
    return replace(measured_of(table, name), time=plane.image.time, stokes=plane.image.stokes)


def _read_catalogue(path: Path) -> QTable:
    try:
        table = read_table(path)
    except PositionsError as error:
        raise ComponentError(str(error)) from error
    return from_pybdsf(table, str(path)) if is_pybdsf(table) else read_catalogue(path)


def _catalogue(table: Table, name: str) -> QTable:
    return from_pybdsf(table, name) if is_pybdsf(table) else normalised(table, name)


def _searched(plane: Plane, settings: ExtractionOptions, finder: str) -> QTable:
    """Catalogue of a plane, whose header is in its `meta`."""
    if plane.image is None or plane.beam is None:
        lacking = "celestial coordinates" if plane.image is None else "beam (BMAJ, BMIN)"
        raise ImageError(f"{plane.path}: has no {lacking}, without which fluxes of several images "
                         "cannot be compared; correct the header")
    if not plane.flux.is_equivalent(u.Jy):
        raise ImageError(f"{plane.path}: is in {str(plane.bright) or 'no unit'}; wanted is Jy/beam, or "
                         "mJy/beam and such, in BUNIT")
    if finder == "uvstack":
        return run(plane, replace(settings, negative=plane.is_polarised)).catalogue
    if not np.isfinite(plane.data).any():
        raise ImageError(f"{plane.path}: every pixel is blank")
    options: dict[str, Any] = {"thresh_pix": settings.detection, "thresh_isl": settings.analysis}
    if settings.box is not None:
        options |= {"rms_box": (settings.box, max(settings.box // 4, 1))}
    table = search(plane.data * (1 * plane.flux).to_value(u.Jy), plane.image.wcs, plane.beam,
                   plane.frequency, options, plane.path)
    ra, dec = to_frame(SkyCoord(table["ra"], table["dec"], frame=plane.image.frame), "ICRS")
    table["ra"], table["dec"] = np.rad2deg(ra) * u.deg, np.rad2deg(dec) * u.deg
    table.meta = {"frame": "ICRS", "reference_frequency": plane.frequency, **plane.header}
    return table


# ---------------------------------------------------------------------------------------- checks


def _check_alike(read: Sequence[Measured]) -> dict[str, str]:
    """Measures that cannot be compared and why; refuses inputs of which nothing can."""
    combined = read[0]
    warn_of_different([one.frequency for one in read])
    for one in read[1:]:
        if None not in (one.stokes, combined.stokes) and one.stokes != combined.stokes:
            raise ImageError(f"{one.name}: holds Stokes {one.stokes} (FITS's code), "
                             f"{combined.name} {combined.stokes}; wanted are images of one: give "
                             "stokes= (--stokes)")
        if one.beam is not None and combined.beam is not None and not np.allclose(
                one.beam.covariance(), combined.beam.covariance(), rtol=0.0,
                atol=_SAME_BEAM * combined.beam.fwhm_major**2):
            warnings.warn(UvstackWarning(
                f"{one.name} has a beam of {_beam_text(one.beam)}, {combined.name} of "
                f"{_beam_text(combined.beam)}: peaks of what is resolved differ, and islands "
                "have other pixels; convolve all to one beam to compare these"), stacklevel=5)
    lacking = {measure: f"{one.name} has {one.lacking[measure]}" for measure in MEASURES
               for one in read if measure in one.lacking}
    if len(lacking) == len(MEASURES):
        raise ComponentError("no flux can be compared: " + "; ".join(
            f"{measure}, {reason}" for measure, reason in lacking.items()) + "; add the columns")
    for measure, reason in lacking.items():
        warnings.warn(UvstackWarning(f"{measure} fluxes are not compared: {reason}"), stacklevel=5)
    return lacking


def _beam_text(beam: Beam) -> str:
    major, minor, angle = np.rad2deg(beam)
    return f"{major * 3600:.3g}″ × {minor * 3600:.3g}″ at {angle:.3g}°"


def _matched(epoch: Measured, combined: Measured, measures: Sequence[str], radius: float,
             f_cal: float) -> Matched:
    found = matched_of(epoch, combined, measures, radius, f_cal)
    offset = found.offset()
    reach = max(abs(offset[f"offset_{axis}"]) + 2 * np.nan_to_num(offset[f"offset_{axis}_scatter"])
                for axis in ("east", "north"))
    if reach > radius:
        warnings.warn(UvstackWarning(
            f"{epoch.name}: its matches lie {np.rad2deg(reach) * 3600:.2g}″ and more from the "
            f"combined map, and the radius is {np.rad2deg(radius) * 3600:.2g}″: others are lost "
            "and the offset is too small; match within a larger radius"), stacklevel=5)
    return found
