"""The task: a measurement set and regions in, what is to be done out; the set is only read."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from astropy import units as u
from astropy.wcs import WCS
from numpy.typing import NDArray

from peel.directions import LEAST_SNR, Direction, directions_of
from peel.field_files import Frame, frame_of, local_noise, make_image, pointings_of
from peel.quartical import Quartical, find_quartical
from peel.recipe import (
    CALIBRATED,
    EACH_ROUND,
    FIELD_MODEL,
    ONCE,
    PEELED,
    PEELED_MODEL,
    RESIDUAL,
    ROUNDS,
    Recipe,
    Settings,
    bright_columns,
    check_correlations,
    recipes_in_turn,
    recipes_of,
)
from peel.region_files import Limits, artefact_levels, places_of, region_masks, source_masks
from peel.result import PeelPlan
from peel.visits import Visit, scan_visits
from peel.working_set_files import bytes_of_copy
from uvstack.checks import finite_number, one_of, whole_number
from uvstack.errors import (
    ColumnError,
    ImageError,
    MeasurementSetError,
    MissingDependencyError,
    SelectionError,
    UvstackWarning,
)
from uvstack.extraction.islands import map_of
from uvstack.extraction.plane_files import read_plane
from uvstack.extraction.result import ExtractResult
from uvstack.extraction.task import find
from uvstack.imaging.mask_files import read_mask
from uvstack.io.dataset import open_sets
from uvstack.io.ms import parse_column
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.pixels.grid import centred_grid
from uvstack.records import Selection, Structure
from uvstack.report.numbers import unit_text
from uvstack.sky.catalogue import coord_of
from uvstack.sky.coordinates import to_frame
from uvstack.sky.primary_beam import PrimaryBeam

#: Primary beams of mosaics, by the beginning of the telescope's name.
_BEAM_OF = {"EVLA": "evla", "VLA": "evla", "JVLA": "evla", "ALMA": "alma", "ATCA": "atca",
            "MEERKAT": "meerkat"}


def plan(ms: str | Path, *, regions: str | Path, column: str = "DATA",
         field: str | int | None = None, spw: str | int | None = None,
         image: str | Path | None = None, primary_beam: str | PrimaryBeam | None = None,
         flux_above: float | None = None, distance_above: float = 0.0,
         artefacts_above: float | None = None, rounds: int | None = None,
         order: Literal["together", "in-turn"] = "together", memo: bool = False, interval: float = 0.0,
         direction_interval: float = 0.0, keep_model: bool = False,
         mask: str | Path | NDArray | None = None, size: int | None = None, cell: float | None = None,
         robust: float = 0.5, quartical: str | Path | None = None, threads: int | None = None,
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
    artefacts_above : float, optional
        Of "auto": noise around a source, over that of the quietest part of the image, from which it
        is peeled. With `flux_above` both must hold.
    rounds : int, optional
        How often the field is modelled and solved for; default as of `peel.peel`.
    order, memo, interval, direction_interval, keep_model, mask, size, cell, robust
        As of `peel.peel`.
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
    check_how(asked)
    if rounds is not None:
        rounds = whole_number("rounds", rounds, 1)
    solver = _solver(quartical)
    with tempfile.TemporaryDirectory(prefix="uvstack-peel-") as folder:
        prepared = prepare(ms, regions=regions, column=column, field=field, spw=spw,
                           primary_beam=primary_beam, flux_above=flux_above,
                           distance_above=distance_above, artefacts_above=artefacts_above,
                           size=size, cell=cell, robust=robust, threads=threads, progress=progress,
                           first=Path(folder, "first") if image is None else None, image=image)
    structure, frame = prepared.structure, prepared.frame
    read_mask(mask, centred_grid(*frame.phase_centre, frame.size, frame.cell))
    settings = Settings(structure, prepared.reference_antenna, len(prepared.directions), interval, direction_interval)
    recipes = _recipes(prepared, settings, in_turn=order == "in-turn", memo=memo)
    if solver is not None:
        solver.check(recipes)
    columns = (PEELED, *[PEELED_MODEL] * keep_model)
    scratch = (CALIBRATED, FIELD_MODEL, *bright_columns(len(prepared.directions)), RESIDUAL)
    return PeelPlan(structure.path, column, prepared.directions, prepared.visits, tuple(recipes),
                    ROUNDS if rounds is None else (rounds, rounds), columns, tuple(name for name in columns if name in structure.columns),
                    scratch, 8 * len(columns) * sum(visit.n_visibilities for visit in prepared.visits),
                    bytes_of_copy(structure, prepared.visits, len(scratch)),
                    shutil.disk_usage(structure.path).free, prepared.primary_beam,
                    None if solver is None else solver.version,
                    provenance_of(asked, ms=[structure.path]))


def check_how(asked: Mapping[str, Any]) -> None:
    """Refuse options of how gains are solved for that cannot be.

    Raises
    ------
    SelectionError
    """
    one_of("order", asked["order"], ("together", "in-turn"))
    for name in ("interval", "direction_interval"):
        finite_number(name, asked[name], 0.0)


def _recipes(prepared: Prepared, settings: Settings, *, in_turn: bool, memo: bool) -> list[Recipe]:
    """Of the solves that are done once, and of those of a round, in their order."""
    recipes = []
    for solve in (*ONCE, *EACH_ROUND):
        if in_turn and solve in ("bright", "joint"):
            for _, _, of_turn in recipes_in_turn(solve, settings, prepared.visits,
                                                 [one.peak for one in prepared.directions]):
                recipes += of_turn
        elif not (memo and solve == "field"):
            recipes += recipes_of(solve, settings, prepared.visits, RESIDUAL if solve == "field" else
                                  prepared.column if solve == "selfcal" else CALIBRATED)
    return recipes


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is known before anything is peeled.

    Attributes
    ----------
    structure, selection
    column : str
    visits : tuple of Visit
    reference_antenna : int
    primary_beam : PrimaryBeam or None
    frame : Frame
    directions : tuple of Direction
    beam : float
        FWHM of the image that the directions are from, rad.
    """

    structure: Structure
    selection: Selection
    column: str
    visits: tuple[Visit, ...]
    reference_antenna: int
    primary_beam: PrimaryBeam | None
    frame: Frame
    directions: tuple[Direction, ...]
    beam: float


def prepare(ms: str | Path, *, regions: str | Path, column: str, field: str | int | None,
            spw: str | int | None, primary_beam: str | PrimaryBeam | None,
            flux_above: float | None, distance_above: float,
            artefacts_above: float | None = None, size: int | None = None,
            cell: float | None = None, robust: float = 0.5, first: Path | None = None,
            threads: int | None = None, progress: Callable[[int, int], None] | None = None,
            image: str | Path | None = None) -> Prepared:
    """Data and directions, all checked; parameters as of `plan`, and

    Parameters
    ----------
    size, cell, robust
        As of `peel.field_files.frame_of`.
    first : Path or None
        Where the first image goes, unless it is there; None where `image` is given.
    """
    if not isinstance(regions, str | Path):
        raise SelectionError(f"regions is {regions!r}; wanted is a file of regions or sources, or \"auto\"")
    if cell is not None:
        finite_number("cell", cell, 0.0, above=True, unit="rad")
    if size is not None:
        whole_number("size", size, 1)
    is_auto = str(regions) == "auto"
    limits = Limits(flux_above, distance_above, artefacts_above)
    if is_auto and flux_above is None and artefacts_above is None:
        raise ImageError("regions auto and no limit; give the flux from which sources are peeled "
                         "(flux_above=, --flux-above), or how far artefacts around them stand above the "
                         "noise (artefacts_above=, --artefacts-above)")
    if not is_auto and limits != Limits():
        raise ImageError("flux_above, distance_above and artefacts_above choose sources of the image; "
                         "they want regions='auto'")
    selection, structure = open_set(ms, field, spw, column)
    visits, reference_antenna = scan_visits(structure, selection)
    check_correlations(structure, visits)
    beam = _primary_beam(structure, selection, primary_beam)
    frame = frame_of(structure, selection, None if is_auto else places_of(
        regions, pointings_of(structure, selection)), beam, size, cell, robust)
    if first is not None:
        path = make_image(frame, structure, selection, column, first, iterations=1000, cycles=6,
                          sigma=2.0, threads=threads, progress=progress)
    else:
        assert image is not None
        path = Path(image)
    directions, width = _directions(path, "the first image" if first is not None else str(image),
                                    structure, selection, None if is_auto else regions, limits)
    return Prepared(structure, selection, column, tuple(visits), reference_antenna, beam, frame,
                    directions, width)


def open_set(ms: str | Path, field: str | int | None, spw: str | int | None,
             column: str) -> tuple[Selection, Structure]:
    """The one set on the disk, and what of it is selected."""
    structures, selections = open_sets(ms, field, spw)
    structure, selection = structures[0], selections[0]
    if len(structures) > 1 or structure.datasets is not None:
        raise MeasurementSetError(f"{structure.path}: peeling is of one measurement set on the "
                                  "disk; join several by CASA's concat")
    first, second = parse_column(column, structure, selection)
    if second is not None:
        raise ColumnError(f"{structure.path}: {column} is a difference; QuartiCal reads one column:"
                          " write the difference into one first")
    if first in (CALIBRATED, FIELD_MODEL, RESIDUAL, PEELED, PEELED_MODEL):
        raise ColumnError(f"{structure.path}: {first} is what peeling writes; give the column of "
                          "the data")
    for name, what in (("SCAN_NUMBER", "by which gains are parted"),
                       ("FLAG", "which QuartiCal wants")):
        if name not in structure.columns:
            raise MeasurementSetError(f"{structure.path}: has no column {name}, {what}; add one")
    return selection, structure


def _solver(path: str | Path | None) -> Quartical | None:
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


def _directions(path: Path, told: str, structure: Structure, selection: Selection,
                regions: str | Path | None, limits: Limits,
                ) -> tuple[tuple[Direction, ...], float]:
    """Directions on an image, checked, and the width of its beam, rad."""
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
    data, noise = (one * to_jansky for one in (found.data, map_of(found.rms, found.data.shape)))
    if regions is not None:
        masks = region_masks(regions, wcs, plane.data.shape, plane.image.cell, plane.beam)
        source = str(regions)
    else:
        cell = plane.image.cell
        levels = artefact_levels(catalogue, data, local_noise(data), cell, plane.beam)
        masks = source_masks(catalogue, levels, pointings_of(structure, selection),
                             plane.data.shape, cell, plane.beam, limits)
        source = told
    if not masks:
        raise ImageError(f"{source}: holds no source that bright; nothing is to be peeled")
    return directions_of(masks, data, noise, catalogue, source), plane.beam.fwhm_major
