"""`uvstack.joint.sdint_assess`: what is to be known before data of a dish and an interferometer are joined, and of the image after."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from numpy.typing import NDArray
from scipy import fft
from typing_extensions import Unpack

from uvstack.checks import finite_number, thread_count
from uvstack.chunks import cluster
from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.errors import (
    ImageError,
    InvalidVisibilityWarning,
    NumericalError,
    SelectionError,
)
from uvstack.imaging.options import SeenOptions
from uvstack.imaging.plane import middle_of_psf
from uvstack.imaging.planes import plane_axis
from uvstack.imaging.setup_files import Setup, open_setup, plane_job
from uvstack.imaging.weighting import Weighting
from uvstack.io.image_file import SkyCube
from uvstack.io.output import check_output, together
from uvstack.io.provenance import provenance_of
from uvstack.joint.assessment.finished_files import assess_image, read_finished, write_maps
from uvstack.joint.assessment.gains import ChannelWeights, gain_table, viable
from uvstack.joint.assessment.result import AssessResult
from uvstack.joint.assessment.spacings_files import Spacings, spacings_of
from uvstack.joint.flux_scale import (
    Cells,
    FluxScale,
    Overlap,
    flux_scale,
    joined,
)
from uvstack.joint.overlap import Channel, dish_noise
from uvstack.joint.reconstruction.both_files import Both, both_on_grid, cells_of_both
from uvstack.joint.reconstruction.channels import joint_channels
from uvstack.joint.reconstruction.dish_files import DishSettings, read_dish
from uvstack.joint.reconstruction.options import DishOptions
from uvstack.joint.single_dish_files import parse_overlap
from uvstack.joint.uv_plane import UVPlane
from uvstack.options import takes
from uvstack.pixels.grid import good_size
from uvstack.pixels.noise import robust_noise
from uvstack.records import MeasurementSets
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.coordinates import direction_cosines, to_frame

#: Of grids that are chosen here: pixels of a wavelength of the longest spacing, the part of the
#: largest square within the dish's map, and pixels on a side at most.
_PIXELS_PER_FRINGE, _OF_MAP, _MOST_PIXELS = 4.0, 0.98, 4096
#: Pixels of the grid that is not used yet, and their size, rad.
_FEW_PIXELS, _ANY_CELL = 8, 1e-6
#: Beams of the dish across the middle of a psf that its width is taken of.
_BEAMS_OF_PSF = 10.0
#: Part of the peak of an image below which its noise is that of single precision.
_ROUNDING = float(np.finfo(np.float32).eps)


class AssessOptions(DishOptions, SeenOptions, total=False):
    """How the joint image is to be made, and what is written."""


@together()
@takes
def sdint_assess(ms: MeasurementSets, sd: str | Path | Sequence[str | Path], *,
                 size: int | tuple[int, int] | None = None, cell: float | None = None,
                 image: str | Path | None = None, truth: str | Path | None = None,
                 out: str | Path | None = None,
                 **options: Unpack[AssessOptions]) -> AssessResult:
    """What data of an interferometer and a dish have in common, how to weigh them, and how good their joint image is.

    Parameters
    ----------
    ms : path, glob, `uvstack.Datasets` or sequence of these
        Opened for reading only.
    sd : path, or sequence of paths
        Image or cube of the dish, or planes, as of `sdint`.
    size : int or (int, int), optional
        Pixels of the joint image, (m, l); default what the dish's map covers.
    cell : float, optional
        Pixel, rad; default a quarter of the finest fringe.
    image : path, optional
        A joint image or cube, FITS, corrected for the primary beam: it is compared with the dish.
    truth : path, optional
        What `image` should be, in Jy/beam of a beam that is not larger, or Jy/pixel on its pixels.
    out : path, optional
        Begin of the names of maps of `image` over the dish, accuracy and fidelity, FITS.

    Returns
    -------
    AssessResult
        `scale`, `gains`, `range`, noise of both; `against_dish` and `against_truth` of an image.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> a = uvstack.sdint_assess("vla.ms", "gbt_cube.fits", report="assess")
    """
    asked_for = {**locals(), **options}
    check_asked(AssessResult, options)
    if (size is None) != (cell is None):
        raise ImageError("one of size and cell is given; wanted are both (--size, --cell) or "
                         "neither")
    if image is None and not (truth is out is None):
        raise SelectionError("a truth or maps (out) without an image; give the joint image "
                             "(image, --image)")
    overlap = parse_overlap(options["overlap"])
    low = read_dish(sd)
    settings = DishSettings.asked(options, False)
    weighting = Weighting.asked(options["weighting"], options["robust"], options["uvtaper"])
    psf = None if options["sd_psf"] is None else read_dish(options["sd_psf"])
    finished = read_finished(image, truth, low, psf, settings.dish.beam)
    paths = {} if out is None else {name: Path(f"{out}-{name}.fits")
                                    for name in finished.maps()} if finished else {}
    for path in paths.values():
        check_output(path, options["overwrite"], inputs=(low.path,))
    threads = thread_count(options["threads"])
    with cluster(options["workers"], options["scheduler"]) as client:
        spacings, setup = _begin(ms, low, size, cell, client, threads, options)
        both = both_on_grid(
            setup, joint_channels(setup.windows, options["channels"], low.frequency, low.path), low, psf,
            settings, weighting, finite_number("pb_cutoff", options["pb_cutoff"], 0, 1), client, threads,
            options["progress"])
    bad = sum(one.survey.n_not_finite for one in both.seen)
    if bad:
        warnings.warn(InvalidVisibilityWarning(f"{bad} {InvalidVisibilityWarning.what}"),
                      stacklevel=3)
    made = _assessed(both, spacings, overlap)
    against: dict[str, Any] = {} if finished is None else {**assess_image(finished)}
    if finished is not None and paths:
        write_maps(finished, against, paths)
    asked_for |= {"threads": threads, "chunk_size": setup.job.chunk_size,
                  "robust": weighting.robust if weighting.kind == "briggs" else None}
    provenance = provenance_of({k: v for k, v in asked_for.items() if k != "sd"},
                               ms=[s.path for s in setup.structures], sd=low.path)
    return write_asked(AssessResult(**made, **against, spacings=spacings, files=paths,
                                    provenance=provenance), options)


# ------------------------------------------------------------------------------- both on one grid


def _begin(ms: MeasurementSets, low: SkyCube, size: int | tuple[int, int] | None,
           cell: float | None, client: Any, threads: int,
           options: AssessOptions) -> tuple[Spacings, Setup]:
    """Spacings of the data, and the sets opened for the grid."""
    setup = open_setup(ms, _FEW_PIXELS if size is None else size, _ANY_CELL if cell is None else cell,
                       ["I"], options)
    windows = {key: one for key, one in setup.windows.items() if key in setup.hands["I"]}
    every = {key: np.arange(one.frequency.size) for key, one in windows.items()}
    axis = plane_axis(windows.values(), 1)
    job = plane_job(replace(setup.job, hands=setup.hands["I"]), windows, every,
                    (float(axis.edges[0]), float(axis.edges[-1])), False)
    spacings = spacings_of(job, client, threads, options["progress"])
    if cell is None or size is None:
        cell = 1.0 / (_PIXELS_PER_FRINGE * spacings.most_wavelengths)
        where = setup.grid.geometry
        size = _size_within(low, where.ra, where.dec, cell)
        setup = open_setup(ms, size, cell, ["I"], options)
    return spacings, setup


def _size_within(low: SkyCube, ra: float, dec: float, cell: float) -> int:
    """Pixels of the largest square around a direction that the dish's map covers."""
    known = np.asarray(np.isfinite(low.data).all(axis=0))
    edge = np.pad(known, 1)
    edge = known & ~(edge[:-2, 1:-1] & edge[2:, 1:-1] & edge[1:-1, :-2] & edge[1:-1, 2:])
    y, x = np.nonzero(edge)
    if not y.size:
        raise ImageError(f"{low.path}: has no pixel that is good in all channels")
    l, m, _ = direction_cosines(*to_frame(low.directions_of(x, y), "J2000"), ra, dec)
    half = float(np.maximum(np.abs(l), np.abs(m)).min())
    n = int(2 * half * _OF_MAP / cell) // 2 * 2
    while n > 1 and good_size(n) != n:
        n -= 2
    if n < _FEW_PIXELS or not _covers(low, known, ra, dec):
        raise ImageError(f"{low.path}: does not cover the interferometer's field; wanted is a "
                         "dish's map of all of it")
    if n > _MOST_PIXELS:
        raise ImageError(f"an image of all of {low.path} with the interferometer's resolution has "
                         f"{n} × {n} pixels; give the size and cell of the joint image (--size, "
                         "--cell)")
    return n


def _covers(low: SkyCube, known: NDArray[np.bool_], ra: float, dec: float) -> bool:
    x, y = low.pixels_of(SkyCoord([ra] * u.rad, [dec] * u.rad, frame="fk5"))
    column, row = round(float(x[0])), round(float(y[0]))
    return (0 <= row < known.shape[0] and 0 <= column < known.shape[1]
            and bool(known[row, column]))


# ------------------------------------------------------------------------------------- the numbers


def _assessed(both: Both, spacings: Spacings,
              overlap: Overlap | None) -> dict[str, Any]:
    """Fields of the result."""
    frequency, shown, annulus, channels = both.frequency, both.shown, both.annulus(overlap), both.channels()
    cells = cells_of_both(channels, annulus)
    found, refusal = _scale(joined(cells), annulus)
    own = [_scale(one, annulus)[0] for one in cells]
    weights = [_weights(both, k, channels[k], cells[k], annulus, found, spacings)
               for k in range(len(frequency))]
    plane = _psf_plane(both)
    gains = gain_table(weights, plane.size, both.cell)
    total = sum(one.weight for one in weights)
    alone = float(np.sqrt(sum((one.weight / total * one.sigma_high) ** 2 for one in weights)))
    table = QTable({
        "frequency": frequency * u.Hz,
        "fwhm": np.array([both.fwhm(k) for k in range(len(frequency))]) / ARCSEC * u.arcsec,
        "noise": [one.sigma_high for one in weights] * u.Jy / u.beam,
        "dish_noise": [one.sigma_low for one in weights] * u.Jy / u.beam,
        "scale": [np.nan if one is None else one.scale for one in own],
        "scale_error": [np.nan if one is None else one.error for one in own],
        "dish_at_shortest": [one.shortest for one in weights]})
    return {"channels": table, "scale": found, "refusal": refusal, "annulus": annulus,
            "gains": gains, "range": viable(gains, alone), "noise_alone": alone, "shown": shown,
            "size": both.setup.grid.shape, "cell": both.cell, "beam": both.beams[shown],
            "noise_measured": both.quiet is not None and bool(np.isfinite(alone))}


def _scale(cells: Cells, annulus: tuple[float, float]) -> tuple[FluxScale | None, str]:
    try:
        return flux_scale(cells, annulus), ""
    except NumericalError as error:
        return None, str(error)


def _psf_plane(both: Both) -> UVPlane:
    """Of the middle of the psfs: width and noise need no more than some beams of the dish."""
    first = both.seen[0].plane
    assert first is not None
    n = good_size(2 * int(_BEAMS_OF_PSF / 2 * both.reach + 1))
    m, l = (min(n, shape) for shape in first.psf.shape)
    return UVPlane((m, l), both.steps, both.reach)


def _weights(both: Both, k: int, channel: Channel, cells: Cells, annulus: tuple[float, float],
             found: FluxScale | None, spacings: Spacings) -> ChannelWeights:
    seen, dish = both.seen[k], both.dishes[k]
    assert seen.plane is not None
    plane = _psf_plane(both)
    centred = np.roll(
        plane.continuation(np.ones(plane.shape, np.bool_))(
            middle_of_psf(seen.plane.psf, plane.shape)),
        [-(plane.margin + n // 2) for n in plane.shape], axis=(0, 1))
    transform = fft.rfft2(centred)
    w = dish.weight_beam.transform(plane)
    measured = seen.noise if channel.noise is None else _measurable(robust_noise(channel.noise), channel.observed)
    # Each of the two reads high: the map has emission, and what disagrees counts as noise.
    of_map = [robust_noise(dish.map)]
    if found is not None:
        of_map.append(dish_noise(channel, cells, annulus, found.scale))
    of_dish = _measurable(float(np.nanmin(of_map)), dish.map)
    area = both.beams[k].area(both.cell)
    shortest = float(np.interp(spacings.shortest * seen.frequency / SPEED_OF_LIGHT,
                               plane.uv_distance()[0], w[0]))
    return ChannelWeights(transform, w, np.maximum(transform.real, 0.0), measured,
                          of_dish * dish.beam.area / dish.unit_area, area, dish.beam.area, seen.weight,
                          shortest)


def _measurable(noise: float, image: NDArray[np.float64]) -> float:
    """The noise of an image, NaN where it is none but of rounding: of data that are simulated without."""
    return noise if noise > _ROUNDING * float(np.nanmax(np.abs(image))) else float("nan")
