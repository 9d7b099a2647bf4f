"""The task: a measurement set and regions in, what is to be done out; the set is only read."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.wcs import WCS

from peel.directions import LEAST_SNR, Direction, directions_of
from peel.quartical import find_quartical
from peel.recipe import FIELD_MODEL, PEELED, RESIDUAL, bright_columns, recipes_of
from peel.region_files import places_of, region_masks, source_masks
from peel.result import PeelPlan
from peel.visits import scan_visits
from uvstack.checks import finite_number, whole_number
from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import (
    ColumnError,
    ImageError,
    MeasurementSetError,
    MissingDependencyError,
    UvstackWarning,
)
from uvstack.extraction.islands import map_of
from uvstack.extraction.plane_files import read_plane
from uvstack.extraction.result import ExtractResult
from uvstack.extraction.task import find
from uvstack.imaging.task import image as make_image
from uvstack.io.dataset import default_cell, open_sets
from uvstack.io.ms import parse_column
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.pixels.grid import good_size
from uvstack.records import Selection, Structure
from uvstack.report.numbers import unit_text
from uvstack.sky.catalogue import coord_of
from uvstack.sky.coordinates import centre_of, direction_cosines, to_frame
from uvstack.sky.primary_beam import PrimaryBeam

#: Sides of a first image at most; farther fields get coarser pixels and shorter baselines.
_MOST_PIXELS = 4096
#: Beams beyond the outermost region that a first image goes on.
_MARGIN = 20
#: Primary beams of mosaics, by the beginning of the telescope's name.
_BEAM_OF = {"EVLA": "evla", "VLA": "evla", "JVLA": "evla", "ALMA": "alma", "ATCA": "atca",
            "MEERKAT": "meerkat"}


def plan(ms: str | Path, *, regions: str | Path, column: str = "DATA",
         field: str | int | None = None, spw: str | int | None = None,
         image: str | Path | None = None, primary_beam: str | PrimaryBeam | None = None,
         flux_above: float | None = None, distance_above: float = 0.0, rounds: int = 2,
         quartical: str | Path | None = None, threads: int | None = None,
         progress: Callable[[int, int], None] | None = None) -> PeelPlan:
    """What is to be done to peel bright sources off a measurement set: nothing is written.

    Parameters
    ----------
    ms : path
    regions : path or "auto"
        Where the bright sources are, each whole in a region of its own: a file of DS9 (.reg) or
        CASA (.crtf; what names no frame is in J2000) with circles, ellipses, boxes or polygons, or
        a catalogue, whose sources get circles of three beams or 1.5 times their size. "auto" takes
        those of the image.
    column : str
        Data.
    field, spw : str or int, optional
        As `uvstack.image` takes them.
    image : path, optional
        Image of these data that the regions are checked on, in Jy/beam with a beam. Default: one is
        made, of 1000 components, that holds all regions and sees each pointing to about a
        twentieth of its beam.
    primary_beam : str or PrimaryBeam, optional
        As `uvstack.image` takes it. Default, of several pointings, the one of the telescope: evla,
        alma, atca or meerkat.
    flux_above : float, optional
        Of "auto": flux in the image from which a source is peeled, Jy.
    distance_above : float
        Of "auto": distance from the nearest pointing from which one is peeled, rad.
    rounds : int
        How often the field is modelled and solved for.
    quartical : path, optional
        goquartical, or its environment, by which recipes are checked. Default: that of this
        environment or of the PATH; without one they are not checked.
    threads : int, optional
        Local threads for the first image; default all processors.
    progress : callable, optional
        Called with the number of chunks done and in all, in each pass over the data.

    Returns
    -------
    PeelPlan

    Raises
    ------
    UvstackError
        One of its subclasses, in one line: a region without a peak, one that cuts a source,
        overlaps another or is off the image; everything flagged; no such column.

    Examples
    --------
    >>> peel.plan("survey.ms", regions="bright.crtf").directions[0].centre
    """
    asked = {**locals()}
    rounds = whole_number("rounds", rounds, 1)
    is_auto = str(regions) == "auto"
    if is_auto and flux_above is None:
        raise ImageError("regions auto and no flux; give the flux from which sources are peeled "
                         "(flux_above=, --flux-above)")
    if not is_auto and (flux_above is not None or distance_above):
        raise ImageError("flux_above and distance_above choose sources of the image; they want "
                         "regions='auto'")
    if flux_above is not None:
        finite_number("flux_above", flux_above, 0.0, above=True)
    finite_number("distance_above", distance_above, 0.0)
    structure, selection = _open(ms, field, spw, column)
    solver = _solver(quartical)
    visits, reference_antenna = scan_visits(structure, selection)
    beam = _primary_beam(structure, selection, primary_beam)
    if image is None:
        with tempfile.TemporaryDirectory(prefix="uvstack-peel-") as folder:
            path = _first_image(structure, selection, column, None if is_auto else regions,
                                primary_beam if beam is None else beam, Path(folder), threads,
                                progress)
            directions = _directions(path, "the first image", structure, selection, regions,
                                     flux_above, distance_above)
    else:
        directions = _directions(Path(image), str(image), structure, selection, regions,
                                 flux_above, distance_above)
    recipes = recipes_of(structure, visits, column, len(directions), reference_antenna)
    if solver is not None:
        solver.check(recipes)
    columns = (FIELD_MODEL, *bright_columns(len(directions)), RESIDUAL, PEELED)
    return PeelPlan(structure.path, column, directions, tuple(visits), tuple(recipes), rounds,
                    columns, tuple(name for name in columns if name in structure.columns),
                    8 * len(columns) * sum(visit.n_visibilities for visit in visits),
                    shutil.disk_usage(structure.path).free, beam,
                    None if solver is None else solver.version,
                    provenance_of(asked, ms=[structure.path]))


def _open(ms: str | Path, field: str | int | None, spw: str | int | None,
          column: str) -> tuple[Structure, Selection]:
    """The one set on the disk."""
    structures, selections = open_sets(ms, field, spw)
    structure, selection = structures[0], selections[0]
    if len(structures) > 1 or structure.datasets is not None:
        raise MeasurementSetError(f"{structure.path}: peeling is of one measurement set on the "
                                  "disk; join several by CASA's concat")
    first, second = parse_column(column, structure, selection)
    if second is not None:
        raise ColumnError(f"{structure.path}: {column} is a difference; QuartiCal reads one column:"
                          " write the difference into one first")
    if first in (FIELD_MODEL, RESIDUAL, PEELED):
        raise ColumnError(f"{structure.path}: {first} is what peeling writes; give the column of "
                          "the data")
    if "SCAN_NUMBER" not in structure.columns:
        raise MeasurementSetError(f"{structure.path}: has no column SCAN_NUMBER, by which gains "
                                  "are parted; add one")
    return structure, selection


def _solver(path: str | Path | None) -> Any:
    """QuartiCal, None where none was named and none is there."""
    try:
        return find_quartical(path)
    except MissingDependencyError as error:
        if path is not None:
            raise
        warnings.warn(UvstackWarning(f"the recipes are not checked: {error}"), stacklevel=3)
        return None


def _primary_beam(structure: Structure, selection: Selection,
                  asked: str | PrimaryBeam | None) -> PrimaryBeam | None:
    """The one that was asked for, or that of the telescope where there are several pointings."""
    if asked is None and len(selection.field_ids) > 1:
        name = structure.telescope.upper()
        asked = next((beam for start, beam in _BEAM_OF.items() if name.startswith(start)), None)
    return None if asked is None else read_primary_beam(asked)


def _pointings(structure: Structure, selection: Selection) -> list[tuple[float, float]]:
    """Where the antennas look, J2000, rad."""
    return [centre_of(f.frame, *f.beam_centre)[:2] for f in structure.fields
            if f.id in selection.field_ids]


def _first_image(structure: Structure, selection: Selection, column: str,
                 regions: str | Path | None, beam: Any, folder: Path, threads: int | None,
                 progress: Callable[[int, int], None] | None) -> Path:
    """Path of an image of the selected data that holds all pointings and regions."""
    pointings = _pointings(structure, selection)
    unit = np.mean([(np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec))
                    for ra, dec in pointings], axis=0)
    middle = float(np.arctan2(unit[1], unit[0]) % (2 * np.pi)), float(
        np.arctan2(unit[2], np.hypot(unit[0], unit[1])))
    frequency = np.concatenate([d.spw.frequency for d in structure.used(selection)])
    # The FWHM of a dish of diameter D is about 1.2 λ/D; the beam is 6 % that far out.
    reach = 1.2 * SPEED_OF_LIGHT / frequency.min() / structure.dish_diameters.min()
    cell = finest = default_cell((structure,), (selection,))
    half = max(_farthest(*np.array(pointings).T, middle=middle) + reach, 16 * cell)
    if regions is not None:
        half = max(half, _farthest(*places_of(regions), middle=middle) + _MARGIN * 5 * cell)
    if 2 * half / cell > _MOST_PIXELS:
        cell = 2 * half / _MOST_PIXELS
    shortened = {} if cell == finest else {
        "uvmax": SPEED_OF_LIGHT / frequency.max() / (5 * cell)}
    make_image(structure.path, size=good_size(int(np.ceil(2 * half / cell))), cell=cell,
               column=column, field=_ids(selection.field_ids),
               spw=_ids({d.spw.id for d in structure.used(selection)}), phase_centre=middle,
               primary_beam=beam, pb_cutoff=0.0, iterations=1000, most_cycles=3,
               threshold_sigma=LEAST_SNR, threads=threads, progress=progress,
               out=folder / "first", **shortened)
    return folder / "first-image.fits"


def _farthest(ra: Any, dec: Any, *, middle: tuple[float, float]) -> float:
    """Largest |l| or |m| of directions, rad."""
    l, m, below = direction_cosines(ra, dec, *middle)
    if below.min() <= -1.0:
        raise ImageError("a region is on the other half of the sky than the pointings; is it of "
                         "another field?")
    return float(np.maximum(np.abs(l), np.abs(m)).max())


def _ids(ids: Any) -> str:
    return ",".join(str(i) for i in sorted(ids))


def _directions(path: Path, told: str, structure: Structure, selection: Selection,
                regions: str | Path, flux_above: float | None,
                distance_above: float) -> tuple[Direction, ...]:
    """Directions on an image, checked."""
    plane = read_plane(path)
    if plane.image is None or plane.beam is None:
        lacking = "beam (BMAJ, BMIN)" if plane.image else "celestial coordinates"
        raise ImageError(f"{told}: has no {lacking}; wanted is an image such as uvstack image "
                         "makes")
    found: ExtractResult = find(path, detection=LEAST_SNR, analysis=5.0)
    catalogue, per_beam = found.catalogue, u.Jy / u.beam
    if not catalogue["peak"].unit.is_equivalent(per_beam):
        raise ImageError(f"{told}: is in {unit_text(catalogue['peak'].unit)}; wanted is Jy/beam")
    to_jansky = catalogue["peak"].unit.to(per_beam)
    ra, dec = to_frame(coord_of(catalogue), "J2000")
    catalogue["ra"], catalogue["dec"] = ra * u.rad, dec * u.rad
    wcs: WCS = plane.image.wcs
    if flux_above is None:
        masks = region_masks(regions, wcs, plane.data.shape, plane.image.cell, plane.beam)
        source = str(regions)
    else:
        masks = source_masks(catalogue, _pointings(structure, selection), plane.data.shape,
                             plane.image.cell, plane.beam, flux_above, distance_above)
        source = told
    return directions_of(masks, found.data * to_jansky,
                         map_of(found.rms, found.data.shape) * to_jansky, catalogue, source)
