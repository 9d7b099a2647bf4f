"""Measurement sets opened for imaging, with all that their images share: grid, pointings, hands, channels.

Families that make images of visibilities begin with `open_setup`, part the channels into planes
(`uvstack.imaging.planes`) and make a job of each (`plane_job`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from uvstack.checks import chunk_size_or
from uvstack.constants import CORRELATIONS
from uvstack.deconvolution.major_cycle import CleanSettings
from uvstack.deconvolution.mask import AutoMask
from uvstack.errors import ImageError, SelectionError, UvstackWarning
from uvstack.imaging.options import ImagingOptions, SeenOptions
from uvstack.imaging.passes_files import visibilities_per_chunk
from uvstack.imaging.pieces_files import Job
from uvstack.imaging.planes import FEWEST_BANDS, WIDEST_BAND, split_bands
from uvstack.io.dataset import open_sets, warn_of_beam
from uvstack.io.ms import parse_column
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.selection import parse_uv_range
from uvstack.pixels.grid import Grid, centred_grid, good_size
from uvstack.records import MeasurementSets, Selection, SpectralWindow, Structure
from uvstack.sky.coordinates import (
    centre_of,
    check_centre,
    direction_cosines,
    parse_direction,
    sight,
)
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.stokes import Combination, combination_of

#: Without any threshold CLEAN ends at this many times the noise.
_DEFAULT_SIGMA = 4.0


@dataclass(frozen=True, eq=False)
class Setup:
    """Sets that are opened, and what all images of them share.

    Attributes
    ----------
    structures : tuple of Structure
    selections : tuple of Selection
    windows : dict
        (set, data description) → its spectral window.
    hands : dict
        Stokes parameter → (set, data description) → how its correlations are combined.
    beam : PrimaryBeam or None
    grid : Grid
    is_mosaic : bool
        Fields point to different directions.
    job : Job
        Without hands and bands, of one term.
    """

    structures: tuple[Structure, ...]
    selections: tuple[Selection, ...]
    windows: dict[tuple[int, int], SpectralWindow]
    hands: dict[str, dict[tuple[int, int], Combination]]
    beam: PrimaryBeam | None
    grid: Grid
    is_mosaic: bool
    job: Job


def open_setup(ms: MeasurementSets, size: int | tuple[int, int], cell: float,
               stokes: Sequence[str], options: SeenOptions) -> Setup:
    """Sets opened for images of some Stokes parameters, with `SeenOptions`.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.
    """
    phase_centre = options["phase_centre"]
    if phase_centre is not None:
        phase_centre = parse_direction(phase_centre)
    primary_beam = options["primary_beam"]
    beam = None if primary_beam is None else read_primary_beam(primary_beam)
    structures, selections = open_sets(ms, options["field"], options["spw"], options["timerange"],
                                       options["pointing"])
    warn_of_beam(structures, selections, primary_beam, beam)
    windows = {(i, d.id): d.spw for i, s in enumerate(structures) for d in s.used(selections[i])}
    hands = {name: _hands(name, structures, windows) for name in stokes}
    fields = {(i, f): s.fields[f]
              for i, s in enumerate(structures) for f in sorted(selections[i].field_ids)}
    centres = {key: centre_of(f.frame, f.ra, f.dec) for key, f in fields.items()}
    pointings = {key: centre_of(f.frame, *f.beam_centre)[:2] for key, f in fields.items()}
    if phase_centre is not None:
        check_centre(phase_centre, {f"field {f.name} of {structures[i].path}": centres[i, n][:2]
                                    for (i, n), f in fields.items()},
                     sight(np.concatenate([s.dish_diameters for s in structures]),
                           min(float(w.frequency.min()) for w in windows.values())))
    grid = _grid(size, cell, phase_centre, centres)
    is_mosaic = _is_mosaic(centres, pointings, cell, beam)
    job = Job(structures, selections, tuple(parse_column(options["column"], *one)
                                            for one in zip(structures, selections, strict=True)),
              parse_uv_range(options["uvmin"], options["uvmax"]), {}, {}, centres, pointings, grid,
              1, chunk_size=chunk_size_or(options["chunk_size"],
                                          visibilities_per_chunk(grid, len(centres))))
    return Setup(structures, selections, windows, hands, beam, grid, is_mosaic, job)


def plane_job(job: Job, windows: Mapping[tuple[int, int], SpectralWindow],
              channels: Mapping[tuple[int, int], NDArray[np.intp]], band: tuple[float, float],
              through_beams: bool) -> Job:
    """The job of one plane, whose channels of each (set, data description) lie in a band, Hz.

    Where pointings are seen through their beams (`through_beams`) the channels are parted into
    bands in which the beam hardly changes; else one band does.
    """
    widest = WIDEST_BAND * (band[0] + band[1]) / 2 if through_beams else np.inf
    if job.terms > 1:
        widest = min(widest, (band[1] - band[0]) / FEWEST_BANDS) if through_beams else np.inf
    bands = {key: split_bands(found, windows[key], widest) for key, found in channels.items()}
    selections = tuple(
        replace(selection, data_description_ids=frozenset(d for s, d in bands if s == i))
        for i, selection in enumerate(job.selections))
    return replace(job, bands=bands, selections=selections)


def clean_settings(options: ImagingOptions, gain: float,
                   scales: Sequence[float] | None = None) -> CleanSettings:
    """How deep to clean and how, of `ImagingOptions`; with other scales where these are given.

    Raises
    ------
    ImageError
        Options that cannot be, or not together.
    """
    terms, deconvolver, sigma = options["terms"], options["deconvolver"], options["threshold_sigma"]
    if terms not in (1, 2, 3):
        raise ImageError(f"terms is {terms}; wanted 1, 2 or 3 Taylor terms")
    asked = options["scales"] if scales is None else scales
    if isinstance(asked, str):
        raise ImageError(f"scales is {asked!r}; wanted are sizes in pixels, e.g. 0,4,12. They are chosen (auto) where a "
                         "dish says the largest: uvstack sdint")
    scales = tuple(float(s) for s in asked)
    if deconvolver is None:
        deconvolver = "mtmfs" if terms > 1 else "multiscale" if scales != (0.0,) else "clark"
    if terms > 1 and deconvolver != "mtmfs":
        raise ImageError(f"{terms} Taylor terms with the deconvolver {deconvolver!r}; wanted is 'mtmfs', or terms=1")
    if sigma is None:
        sigma = 0.0 if options["threshold"] > 0 else _DEFAULT_SIGMA
    return CleanSettings(
        threshold=options["threshold"], threshold_sigma=sigma, gain=gain,
        cycle_factor=options["cycle_factor"], most_cycles=options["most_cycles"],
        most_iterations=options["iterations"],
        iterations_per_cycle=options["cycle_iterations"], flux_change=options["flux_change"],
        algorithm=deconvolver, scales=scales,
        automask=AutoMask() if options["auto_mask"] else None)


def check_scales(settings: CleanSettings, grid: Grid) -> None:
    """Raise ImageError where a component of some scale would reach beyond the image wherever it is."""
    too_large = [one for one in settings.scales if 2 * one > min(grid.shape)]
    if too_large:
        raise ImageError(
            f"scales holds {', '.join(f'{one:g}' for one in too_large)}: components of a scale are "
            f"twice as many pixels wide, and the image has {grid.shape[1]} × {grid.shape[0]}; wanted "
            f"are scales of at most {min(grid.shape) // 2} pixels (scales, --scales)")


def _grid(size, cell: float, phase_centre, centres) -> Grid:
    asked = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    shape = tuple(good_size(int(n)) for n in asked)
    if shape != asked:
        warnings.warn(UvstackWarning(f"an image of {asked[1]} × {asked[0]} pixels is slow to transform; it is made with "
                                     f"{shape[1]} × {shape[0]}"), stacklevel=6)
    if phase_centre is None:
        ra, dec = np.array([c[:2] for c in centres.values()]).T
        x, y, z = (np.cos(dec) * np.cos(ra)).mean(), (np.cos(dec) * np.sin(ra)).mean(), np.sin(dec).mean()
        phase_centre = float(np.arctan2(y, x) % (2 * np.pi)), float(np.arctan2(z, np.hypot(x, y)))
        if len(centres) == 1:
            phase_centre = float(ra[0]), float(dec[0])  # to the last bit, so that nothing is turned
    return centred_grid(phase_centre[0], phase_centre[1], (shape[0], shape[1]), cell)


def _is_mosaic(centres, pointings, cell: float, beam: PrimaryBeam | None) -> bool:
    """Whether the fields have different phase centres or pointings.

    Then there must be a primary beam.
    """
    apart = 0.0
    for directions in ([c[:2] for c in centres.values()], list(pointings.values())):
        l, m, _ = direction_cosines(*np.array(directions).T, *directions[0])
        apart = max(apart, float(np.hypot(l, m).max()))
    if apart <= cell:
        return False
    if beam is None:
        raise ImageError(f"{len(centres)} fields that point to different directions and no primary beam; give --primary-beam "
                         "(primary_beam=), e.g. vla, or one --field")
    return True


def _hands(name: str, structures: tuple[Structure, ...],
           windows: dict[tuple[int, int], SpectralWindow]) -> dict[tuple[int, int], Combination]:
    """(set, data description) → how correlations are combined, of those that can give this Stokes parameter or correlation."""
    found, lacking = {}, []
    for i, structure in enumerate(structures):
        for d in (d for d in structure.data_descriptions if (i, d.id) in windows):
            hands = combination_of("PI" if name == "I" else name, d.correlations)
            there = ", ".join(CORRELATIONS.get(c, str(c)) for c in d.correlations)
            if hands is None:
                lacking.append(f"{structure.path} has {there} in spectral window {d.spw.id}")
            else:
                found[i, d.id] = hands
    if not found:
        raise SelectionError(f"stokes: {name} cannot be made of the correlations there are: "
                             f"{lacking[0] if lacking else 'none is selected'}")
    if lacking:
        warnings.warn(UvstackWarning(f"stokes: {name} is made without {len(lacking)} of {len(lacking) + len(found)} spectral windows that "
                                     f"lack correlations for it: {lacking[0]}"), stacklevel=6)
    return found
