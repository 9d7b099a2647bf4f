"""The task: measurement sets in, deconvolved images of the sky out.

The data are gone through once for what must be known first (the longest baseline, the weights of
each pointing and channel, and the density that uniform and Briggs weights rest on), once for the
dirty image and the psf together, and once for every major cycle, which predicts the model, takes it
from the data and images the rest. Each pass reads the set anew, chunk by chunk: memory is that of a
few chunks and of the images, whatever the size of the set. Sums are taken in the order of the
chunks. One chunk at a time is gridded by all processors together, or, with `workers` or
`scheduler`, several by one each.

One pointing, or several with a primary beam as a mosaic (see `uvstack.imaging.mosaic`): CLEAN then
works on the image of even noise. The psf is that at the middle of the image, the weighted mean of
all pointings. It is twice the image's size up to 2048 pixels, beyond that the image's own: farther
sidelobes are left to the major cycles.

One pointing is deconvolved as the antennas see it, and its image divided by the primary beam at the
end. Its model is therefore apparent; that of a mosaic is the sky.

Fluxes, measured on noiseless sets (five sources, beam of 4 pixels and more, 80 minutes): on the
centre of a pixel right to 0.06 % in a mosaic, but for what stands below the threshold. Between
pixels the peak's pixel misses up to 8 %, a matter of reading: a fit of the restoring beam finds
0.04 % with natural weights or a taper, and 0.3 % with robust 0, whose narrow beam asks for more of
the (u, v) plane beyond the longest baselines, where a model on pixels is not the point; smaller
pixels do not help. The model's flux around such a source is off by 2 %. One pointing with a band as
wide as a quarter of its frequency wants two terms, and is then right to 0.13 %; with one, peaks off
axis are off by 0.2 % and fits by 1 %, since the beam gives every source a spectrum. In a mosaic
that is taken out.

Several Stokes parameters and planes of frequency (`uvstack.uv.stokes`, `uvstack.imaging.planes`)
are made one after the other, each from all rows of the spectral windows that it needs: time grows
with their number, and memory by 28 bytes a pixel and plane for what is given back. Making planes
(`uvstack.imaging.plane`) and writing them (`uvstack.imaging.product_files`) are apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from typing_extensions import Unpack

from uvstack.checks import chunk_size_or, finite_number, thread_count
from uvstack.chunks import cluster
from uvstack.constants import CORRELATIONS
from uvstack.deconvolution.major_cycle import CleanSettings
from uvstack.deconvolution.mask import AutoMask
from uvstack.errors import (
    ImageError,
    InvalidVisibilityWarning,
    NoDataError,
    SelectionError,
    UvstackWarning,
)
from uvstack.imaging.external.request import ExternalRequest
from uvstack.imaging.external.task import check_external
from uvstack.imaging.mask_files import read_mask
from uvstack.imaging.options import ImageOptions
from uvstack.imaging.passes_files import Job, visibilities_per_chunk
from uvstack.imaging.plane import Request, image_plane
from uvstack.imaging.planes import (
    FEWEST_BANDS,
    WIDEST_BAND,
    PlaneAxis,
    plane_axis,
    plane_channels,
    split_bands,
)
from uvstack.imaging.product_files import (
    check_products,
    product_paths,
    spectral_frame,
    write_products,
)
from uvstack.imaging.result import IMAGES, ImageCube, ImageResult
from uvstack.imaging.weighting import Weighting
from uvstack.io.dataset import open_sets, warn_of_beam
from uvstack.io.ms import parse_column
from uvstack.io.output import scratch_beside, together
from uvstack.io.pointing import pointings_text
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.io.selection import parse_uv_range
from uvstack.options import takes
from uvstack.pixels.grid import Grid, centred_grid, good_size
from uvstack.records import MeasurementSets, SpectralWindow, Structure
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.coordinates import (
    centre_of,
    check_centre,
    direction_cosines,
    parse_direction,
    sight,
)
from uvstack.sky.frequency import parse_frequency
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.stokes import Combination, combination_of, parse_image_stokes

#: Without any threshold CLEAN ends at this many times the noise.
_DEFAULT_SIGMA = 4.0


@overload
def image(ms: MeasurementSets, *, size: int | tuple[int, int], cell: float,
          stokes: Literal["I", "Q", "U", "V", "RR", "LL", "XX", "YY"] = "I",
          channels_out: Literal[1] = 1, **options: Unpack[ImageOptions]) -> ImageResult: ...
@overload
def image(ms: MeasurementSets, *, size: int | tuple[int, int], cell: float, stokes: str = "I",
          channels_out: int = 1, **options: Unpack[ImageOptions]) -> ImageResult | ImageCube: ...


@together()
@takes
def image(
    ms: MeasurementSets,
    *,
    size: int | tuple[int, int],
    cell: float,
    stokes: str = "I",
    channels_out: int = 1,
    **options: Unpack[ImageOptions],
) -> ImageResult | ImageCube:
    """Dirty, deconvolved and restored images of measurement sets by multi-frequency synthesis.

    Parameters
    ----------
    ms : path, glob, `uvstack.Datasets` or sequence of these
        Opened for reading only; several are imaged as one.
    size : int or (int, int)
        Pixels, (m, l); rounded up to sizes whose transforms are fast.
    cell : float
        Pixel, rad.
    stokes : str
        "I", the weighted mean of the parallel hands that are there; "Q", "U", "V", of which every
        hand must be; "RR", "LL", "XX", "YY"; or several such as "IQUV" or "RR,LL". See
        `uvstack.uv.stokes`.
    channels_out : int
        Planes of a cube: equal steps of frequency from end to end of the channels selected, each
        imaged by itself. 1 images all channels as one.

    Returns
    -------
    ImageResult, or ImageCube of several Stokes parameters or planes

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> result = uvstack.image("survey.ms", size=1280, cell=0.25 * np.pi / 648000, robust=0.5, auto_mask=True, out="survey")
    """
    asked_for = {**locals(), **options}
    check_asked(ImageResult, options)
    settings = _clean_settings(options)
    terms, imager, out = options["terms"], options["imager"], options["out"]
    mask, primary_beam = options["mask"], options["primary_beam"]
    weights = Weighting.asked(options["weighting"], options["robust"], options["uvtaper"])
    pb_cutoff = finite_number("pb_cutoff", options["pb_cutoff"], 0, 1)
    reference_frequency = options["reference_frequency"]
    if reference_frequency is not None:
        reference_frequency = parse_frequency(reference_frequency, "reference_frequency")
    phase_centre = options["phase_centre"]
    if phase_centre is not None:
        phase_centre = parse_direction(phase_centre)
    asked = parse_image_stokes(stokes)
    beam = None if primary_beam is None else read_primary_beam(primary_beam)
    structures, selections = open_sets(ms, options["field"], options["spw"], options["timerange"], options["pointing"])
    warn_of_beam(structures, selections, primary_beam, beam)
    windows = {(i, d.id): d.spw for i, s in enumerate(structures) for d in s.used(selections[i])}
    axis = plane_axis(windows.values(), channels_out)
    if terms > 1 and len(axis.frequency) > 1:
        raise ImageError(f"{terms} Taylor terms and {channels_out} planes; wanted is one of both: terms are the spectrum of one plane")
    hands = {name: _hands(name, structures, windows) for name in asked}
    fields = {(i, f): s.fields[f] for i, s in enumerate(structures) for f in sorted(selections[i].field_ids)}
    centres = {key: centre_of(f.frame, f.ra, f.dec) for key, f in fields.items()}
    pointings = {key: centre_of(f.frame, *f.beam_centre)[:2] for key, f in fields.items()}
    if phase_centre is not None:
        check_centre(phase_centre, {f"field {f.name} of {structures[i].path}": centres[i, n][:2] for (i, n), f in fields.items()},
                     sight(np.concatenate([s.dish_diameters for s in structures]), min(float(w.frequency.min()) for w in windows.values())))
    grid = _grid(size, cell, phase_centre, centres)
    is_mosaic = _is_mosaic(centres, pointings, cell, beam)
    threads = thread_count(options["threads"])
    allowed = read_mask(mask, grid)
    names = product_paths(out, terms, beam is not None)
    check_products(names, options["overwrite"], grid.shape[0] * grid.shape[1] * len(asked) * len(axis.frequency),
                   [*(s.path for s in structures), *([str(mask)] if isinstance(mask, str | Path) else [])])
    job = Job(structures, selections, tuple(parse_column(options["column"], *one) for one in zip(structures, selections, strict=True)),
              parse_uv_range(options["uvmin"], options["uvmax"]), {}, {}, centres, pointings, grid, terms,
              chunk_size=chunk_size_or(options["chunk_size"], visibilities_per_chunk(grid, len(centres))))
    provenance = provenance_of(
        asked_for, ms=[s.path for s in structures],
        primary_beam=None if beam is None else beam.describe(),
        pointing=None if beam is None else pointings_text(structures, selections))
    external = None
    if imager != "uvstack":
        _check_one_plane(imager, asked, len(axis.frequency), options["workers"], options["scheduler"])
        external = ExternalRequest(structures, selections, job.columns, centres, grid, weights, settings, job.uv_range, terms, allowed,
                                   asked[0], reference_frequency, threads)
        check_external(imager, external)
    request = Request(settings, weights, allowed, beam, is_mosaic, pb_cutoff, reference_frequency, threads, provenance, imager, external,
                      None if out is None or external is None else scratch_beside(names["json"]))
    jobs = {name: _jobs(replace(job, hands=hands[name]), windows, axis, is_mosaic) for name in asked}
    with cluster(options["workers"], options["scheduler"]) as client:
        result = _planes(jobs, axis, lambda one, name: image_plane(one, request, name, client, options["progress"]))
    return write_asked(result if out is None else write_products(result, names), options)


# -------------------------------------------------------------------------------- what is asked for


def _clean_settings(options: ImageOptions) -> CleanSettings:
    terms, deconvolver, sigma = options["terms"], options["deconvolver"], options["threshold_sigma"]
    if terms not in (1, 2, 3):
        raise ImageError(f"terms is {terms}; wanted 1, 2 or 3 Taylor terms")
    scales = tuple(float(s) for s in options["scales"])
    if deconvolver is None:
        deconvolver = "mtmfs" if terms > 1 else "multiscale" if scales != (0.0,) else "clark"
    if terms > 1 and deconvolver != "mtmfs":
        raise ImageError(f"{terms} Taylor terms with the deconvolver {deconvolver!r}; wanted is 'mtmfs', or terms=1")
    if sigma is None:
        sigma = 0.0 if options["threshold"] > 0 else _DEFAULT_SIGMA
    return CleanSettings(
        threshold=options["threshold"], threshold_sigma=sigma, gain=options["gain"],
        cycle_factor=options["cycle_factor"], most_cycles=options["most_cycles"],
        most_iterations=options["iterations"], algorithm=deconvolver, scales=scales,
        automask=AutoMask() if options["auto_mask"] else None)


def _check_one_plane(imager: str, stokes: Sequence[str], n_planes: int, workers: int | None, scheduler: str | None) -> None:
    """Refuse what only our own imager does."""
    if len(stokes) > 1:
        raise ImageError(f"--imager {imager} makes images of one Stokes parameter; found are {', '.join(stokes)}: run it for each, or use "
                         "our own imager")
    if n_planes > 1:
        raise ImageError(f"--imager {imager} makes one plane, not {n_planes}: make cubes by our own imager, or one --spw after the other")
    if workers is not None or scheduler is not None:
        raise ImageError(f"--imager {imager} is one program on this computer: leave out --workers and --scheduler, and give --threads")


def _grid(size, cell: float, phase_centre, centres) -> Grid:
    asked = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    shape = tuple(good_size(int(n)) for n in asked)
    if shape != asked:
        warnings.warn(UvstackWarning(f"an image of {asked[1]} × {asked[0]} pixels is slow to transform; it is made with "
                                     f"{shape[1]} × {shape[0]}"), stacklevel=5)
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
                                     f"lack correlations for it: {lacking[0]}"), stacklevel=5)
    return found


# ------------------------------------------------------------------------------------------- planes


def _jobs(job: Job, windows: dict[tuple[int, int], SpectralWindow], axis: PlaneAxis, is_mosaic: bool) -> list[Job | None]:
    """The job of each plane, None where no channel is in it."""
    windows = {key: window for key, window in windows.items() if key in job.hands}
    jobs: list[Job | None] = []
    for number, channels in enumerate(plane_channels(windows, axis)):
        low, high = axis.edges[number : number + 2]
        # A single pointing is seen through one beam, which is divided out at the end: one band
        # does.
        widest = WIDEST_BAND * (low + high) / 2 if is_mosaic else np.inf
        if job.terms > 1:
            widest = min(widest, (high - low) / FEWEST_BANDS) if is_mosaic else np.inf
        bands = {key: split_bands(found, windows[key], widest) for key, found in channels.items()}
        selections = tuple(replace(selection, data_description_ids=frozenset(d for s, d in bands if s == i))
                           for i, selection in enumerate(job.selections))
        jobs.append(replace(job, bands=bands, selections=selections) if bands else None)
    return jobs


def _planes(jobs: dict[str, list[Job | None]], axis: PlaneAxis, make: Callable[[Job, str], ImageResult]) -> ImageResult | ImageCube:
    """All planes, made one by one."""
    is_cube = len(jobs) * len(axis.frequency) > 1
    planes: dict[tuple[str, int], ImageResult | None] = {}
    for name, of_name in jobs.items():
        # The highest frequency first: if the cells are too coarse for any plane, they are for that
        # one.
        for number in reversed(range(len(of_name))):
            job = of_name[number]
            planes[name, number] = None if job is None else _made(job, name, make, is_cube)
    made = [plane for plane in planes.values() if plane is not None]
    if not made:
        raise NoDataError("every visibility is flagged, has no weight or lies outside the uv range: nothing to image")
    bad = sum(plane.n_not_finite for plane in made if plane.stokes == made[0].stokes)
    if bad:
        warnings.warn(InvalidVisibilityWarning(
            f"{bad} {InvalidVisibilityWarning.what}"), stacklevel=5)
    if not is_cube:
        return made[0]
    if len(made) < len(planes):
        empty = [f"{name} at {axis.frequency[n] / 1e9:.6g} GHz" for (name, n), plane in sorted(planes.items()) if plane is None]
        warnings.warn(UvstackWarning(f"{len(empty)} of {len(planes)} planes have no data and are blank: {', '.join(empty[:5])}"
                                     f"{' …' if len(empty) > 5 else ''}"), stacklevel=5)
    ordered = tuple(planes[name, number] for name in jobs for number in range(len(axis.frequency)))
    frequency = axis.frequency if len(axis.frequency) > 1 else np.array([made[0].reference_frequency])
    return ImageCube(made[0].grid, tuple(jobs), frequency, axis.width, ordered, made[0].provenance)


def _made(job: Job, name: str, make: Callable[[Job, str], ImageResult], is_cube: bool) -> ImageResult | None:
    """A plane; of a cube in single precision, and None where all is flagged."""
    try:
        plane = make(job, name)
    except NoDataError:
        if is_cube:
            return None
        raise
    frames = {spectral_frame(s, [d.spw.id for d in s.data_descriptions if (i, d.id) in job.bands])
              for i, s in enumerate(job.structures) if any(key[0] == i for key in job.bands)}
    plane = replace(plane, spectral_frame=frames.pop() if len(frames) == 1 else "")
    if not is_cube:
        return plane
    small: dict[str, Any] = {kind: None if getattr(plane, kind) is None else getattr(plane, kind).astype(np.float32) for kind in IMAGES}
    return replace(plane, **small)
