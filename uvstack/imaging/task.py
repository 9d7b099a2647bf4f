"""The task: measurement sets in, deconvolved images of the sky out.

The data are gone through once for what must be known first (the longest baseline, the weights of
each pointing and channel, and the density that uniform and Briggs weights rest on), once for the
dirty image and the psf together, and once for every major cycle, which predicts the model, takes it
from the data and images the rest. Each pass reads the set anew, chunk by chunk, unless all of the
data take less than 0.5 GB: these are kept where no workers take part. Memory is that of a few
chunks and of the images, whatever the size of the set. Sums are taken in the order of the chunks.
One chunk at a time is gridded by all processors together, or, with `workers` or `scheduler`,
several by one each.

One pointing, or several with a primary beam as a mosaic (see `uvstack.imaging.mosaic`): CLEAN then
works on the image of even noise, where the response is at least `pb_cutoff`. The psf is that at the
middle of the image, the weighted mean of all pointings; cycles go as deep as the worst place
allows, where one pointing may be all there is (`Sums.sidelobe`). The psf is twice the image's size
up to 2048 pixels, beyond that the image's own: farther sidelobes are left to the major cycles.

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

from uvstack.checks import finite_number, thread_count
from uvstack.chunks import cluster
from uvstack.errors import ImageError, InvalidVisibilityWarning, NoDataError, UvstackWarning
from uvstack.imaging.external.request import ExternalRequest
from uvstack.imaging.external.task import check_external
from uvstack.imaging.mask_files import read_mask
from uvstack.imaging.options import ImageOptions
from uvstack.imaging.pieces_files import Job
from uvstack.imaging.plane import Request, image_plane
from uvstack.imaging.planes import PlaneAxis, plane_axis, plane_channels
from uvstack.imaging.product_files import (
    check_products,
    product_paths,
    spectral_frame,
    write_products,
)
from uvstack.imaging.result import IMAGES, ImageCube, ImageResult
from uvstack.imaging.setup_files import (
    check_scales,
    clean_settings,
    open_setup,
    plane_job,
)
from uvstack.imaging.weighting import Weighting
from uvstack.io.output import scratch_beside, together
from uvstack.io.pointing import pointings_text
from uvstack.io.provenance import provenance_of
from uvstack.options import takes
from uvstack.records import MeasurementSets, SpectralWindow
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.frequency import parse_frequency
from uvstack.uv.stokes import parse_image_stokes


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
    settings = clean_settings(options, options["gain"])
    terms, imager, out, mask = options["terms"], options["imager"], options["out"], options["mask"]
    weights = Weighting.asked(options["weighting"], options["robust"], options["uvtaper"])
    pb_cutoff = finite_number("pb_cutoff", options["pb_cutoff"], 0, 1)
    reference_frequency = options["reference_frequency"]
    if reference_frequency is not None:
        reference_frequency = parse_frequency(reference_frequency, "reference_frequency")
    asked = parse_image_stokes(stokes)
    setup = open_setup(ms, size, cell, asked, options)
    structures, beam, grid = setup.structures, setup.beam, setup.grid
    check_scales(settings, grid)
    axis = plane_axis(setup.windows.values(), channels_out)
    if terms > 1 and len(axis.frequency) > 1:
        raise ImageError(f"{terms} Taylor terms and {channels_out} planes; wanted is one of both: terms are the spectrum of one plane")
    threads = thread_count(options["threads"])
    allowed = read_mask(mask, grid)
    names = product_paths(out, terms, beam is not None, imager == "uvstack")
    check_products(names, options["overwrite"], grid.shape[0] * grid.shape[1] * len(asked) * len(axis.frequency),
                   [*(s.path for s in structures), *([str(mask)] if isinstance(mask, str | Path) else [])])
    job = replace(setup.job, terms=terms)
    provenance = provenance_of(
        asked_for, ms=[s.path for s in structures],
        primary_beam=None if beam is None else beam.describe(),
        pointing=None if beam is None else pointings_text(structures, setup.selections))
    external = None
    if imager != "uvstack":
        _check_one_plane(imager, asked, len(axis.frequency), options["workers"], options["scheduler"])
        external = ExternalRequest(structures, setup.selections, job.columns, job.centres, grid,
                                   weights, settings, job.uv_range, terms, allowed, asked[0],
                                   reference_frequency, threads)
        check_external(imager, external)
    request = Request(settings, weights, allowed, beam, setup.is_mosaic, pb_cutoff,
                      reference_frequency, threads, provenance, imager, external,
                      None if out is None or external is None else scratch_beside(names["json"]))
    jobs = {name: _jobs(replace(job, hands=setup.hands[name]), setup.windows, axis, setup.is_mosaic)
            for name in asked}
    with cluster(options["workers"], options["scheduler"]) as client:
        result = _planes(jobs, axis, lambda one, name: image_plane(one, request, name, client, options["progress"]))
    return write_asked(result if out is None else write_products(result, names), options)


# -------------------------------------------------------------------------------- what is asked for


def _check_one_plane(imager: str, stokes: Sequence[str], n_planes: int, workers: int | None, scheduler: str | None) -> None:
    """Refuse what only our own imager does."""
    if len(stokes) > 1:
        raise ImageError(f"--imager {imager} makes images of one Stokes parameter; found are {', '.join(stokes)}: run it for each, or use "
                         "our own imager")
    if n_planes > 1:
        raise ImageError(f"--imager {imager} makes one plane, not {n_planes}: make cubes by our own imager, or one --spw after the other")
    if workers is not None or scheduler is not None:
        raise ImageError(f"--imager {imager} is one program on this computer: leave out --workers and --scheduler, and give --threads")


# ------------------------------------------------------------------------------------------- planes


def _jobs(job: Job, windows: dict[tuple[int, int], SpectralWindow], axis: PlaneAxis,
          is_mosaic: bool) -> list[Job | None]:
    """The job of each plane, None where no channel is in it."""
    windows = {key: window for key, window in windows.items() if key in job.hands}
    return [plane_job(job, windows, channels, (low, high), is_mosaic) if channels else None
            for channels, low, high in zip(plane_channels(windows, axis), axis.edges[:-1],
                                           axis.edges[1:], strict=True)]


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
