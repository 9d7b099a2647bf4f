"""`uvstack.joint.sdint`: measurement sets and a dish's cube in, one reconstruction of the sky out.

The joint deconvolution of Rau, Naik & Braun (2019), their SDINT. Here data become arrays: the
channels of the visibilities (`interferometer_files`), the dish's maps on their grid (`dish_files`),
and of both a `JointPlane` a channel, which `algorithms` deconvolves.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray
from typing_extensions import Unpack

from uvstack.checks import finite_number, thread_count
from uvstack.chunks import cluster
from uvstack.deconvolution.major_cycle import CleanSettings
from uvstack.errors import (
    ImageError,
    InvalidVisibilityWarning,
    NumericalError,
    SelectionError,
    UvstackWarning,
)
from uvstack.imaging.mask_files import read_mask
from uvstack.imaging.mosaic import box_of
from uvstack.imaging.plane import component_list, middle_of_psf
from uvstack.imaging.product_files import (
    check_products,
    product_paths,
    write_products,
)
from uvstack.imaging.restore import correct_primary_beam, restore, restored_index
from uvstack.imaging.setup_files import Setup, check_scales, clean_settings, open_setup
from uvstack.imaging.weighting import Weighting
from uvstack.io.image_file import SkyCube
from uvstack.io.output import together
from uvstack.io.pointing import pointings_text
from uvstack.io.provenance import provenance_of
from uvstack.joint.dish_beams import warn_of_diameter, warn_of_sharpening, width
from uvstack.joint.flux_scale import FluxScale, Overlap
from uvstack.joint.reconstruction.algorithms import (
    Reconstruction,
    deconvolve_channel,
    deconvolve_terms,
    log_line,
    sky_of,
)
from uvstack.joint.reconstruction.both_files import Both, both_on_grid, dish_scale
from uvstack.joint.reconstruction.channels import joint_channels
from uvstack.joint.reconstruction.component_scales import scales_between
from uvstack.joint.reconstruction.dish_files import (
    DishSettings,
    dish_planes,
    read_dish,
)
from uvstack.joint.reconstruction.interferometer_files import SeenChannel, Wanted, seen_channels
from uvstack.joint.reconstruction.joint_plane import (
    DishPlane,
    JointPlane,
    gains_by_noise,
    joint_psf,
    local_psfs,
)
from uvstack.joint.reconstruction.options import JointOptions
from uvstack.joint.reconstruction.result import JointCube, JointNumbers, JointResult
from uvstack.joint.reconstruction.start_files import read_start
from uvstack.joint.single_dish_files import beam_source, parse_overlap
from uvstack.joint.taylor_cube import cube_to_taylor, fit_taylor
from uvstack.joint.uv_plane import DishBeam, UVPlane, pixel_matrix
from uvstack.options import takes
from uvstack.pixels.grid import Grid, psf_grid
from uvstack.pixels.noise import robust_noise
from uvstack.pixels.psf import fit_beam
from uvstack.records import MeasurementSets, Provenance
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.beam import Beam, beam_of_covariance
from uvstack.sky.frequency import parse_frequency

logger = logging.getLogger(__name__)

#: Beams of the dish that the psf reaches beyond what CLEAN needs of it.
_PSF_EDGE = 2.0
#: Part of the cutoff of the primary beam down to which pointings are imaged.
_BEYOND = 0.9
#: The joint beam may be so much wider than the interferometer's before that is told.
_WIDER = 1.05
#: Part of the axis of a cube by which channels may be off an even spacing.
_EVEN = 1e-6


@dataclass(frozen=True, eq=False)
class _Asked:
    """What was asked for, checked."""

    settings: CleanSettings
    chooses_scales: bool
    weighting: Weighting
    use: str
    terms: int
    sd_scale: float | None
    overlap: Overlap | None
    sd_gain: float
    start: str | Path | None
    dish: DishSettings
    pb_cutoff: float
    reference: float | None
    threads: int

    def effective(self, setup: Setup) -> dict[str, Any]:
        """Values of options that are chosen where a user says nothing; those that want data are told by the result."""
        mask = self.settings.automask
        return {"deconvolver": self.settings.algorithm, "threads": self.threads,
                "threshold_sigma": self.settings.threshold_sigma,
                "auto_mask": False if mask is None else vars(mask),
                "chunk_size": setup.job.chunk_size,
                "robust": self.weighting.robust if self.weighting.kind == "briggs" else None}


@together()
@takes
def sdint(ms: MeasurementSets, sd: str | Path | Sequence[str | Path], *,
          size: int | tuple[int, int], cell: float,
          **options: Unpack[JointOptions]) -> JointResult | JointCube:
    """Joint deconvolution of interferometer and single dish: one model for both, in every cycle.

    After Rau, Naik & Braun (2019), algorithms 1 (one term: a cube, channel by channel) and 2
    (several Taylor terms).

    Parameters
    ----------
    ms : path, glob, `uvstack.Datasets` or sequence of these
        Opened for reading only; several are imaged as one.
    sd : path, or sequence of paths
        Image or cube of the dish, FITS or CASA, of the sky, in Jy/beam, K, MJy/sr or Jy/pixel; or
        planes, each with its frequency. On any grid that covers the image.
    size : int or (int, int)
        Pixels, (m, l); rounded up to sizes whose transforms are fast.
    cell : float
        Pixel, rad.

    Returns
    -------
    JointResult, or JointCube of several planes

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> r = uvstack.sdint("vla.ms", "gbt.fits", size=800, cell=4.4e-5, terms=2, scales=(0, 12, 40), out="joint")
    """
    asked_for = {**locals(), **options}
    check_asked(JointResult, options)
    asked = _checked(options)
    setup = open_setup(ms, size, cell, ["I"], options)
    check_scales(asked.settings, setup.grid)
    low = read_dish(sd)
    psf = None if options["sd_psf"] is None else read_dish(options["sd_psf"])
    channels = joint_channels(setup.windows, options["channels"], low.frequency, low.path)
    if 1 < len(channels) < asked.terms or asked.terms > 1 == len(channels):
        raise ImageError(f"{asked.terms} Taylor terms of {len(channels)} channels; wanted are at "
                         "least as many channels as terms (channels, --channels)")
    if asked.terms == 1 < len(channels):
        _axis([band for _, band in channels])
    out, mask = options["out"], options["mask"]
    allowed = read_mask(mask, setup.grid)
    names = product_paths(out, asked.terms, setup.beam is not None and asked.use != "sd")
    n_planes = len(channels) if asked.terms == 1 else 1
    check_products(names, options["overwrite"],
                   setup.grid.shape[0] * setup.grid.shape[1] * n_planes,
                   [*(s.path for s in setup.structures), low.path,
                    *([str(mask)] if isinstance(mask, str | Path) else [])])
    provenance = provenance_of(
        {k: v for k, v in (asked_for | asked.effective(setup)).items() if k != "sd"},
        ms=[s.path for s in setup.structures], sd=low.path,
        primary_beam=None if setup.beam is None else setup.beam.describe(),
        pointing=None if setup.beam is None else pointings_text(setup.structures, setup.selections))
    with cluster(options["workers"], options["scheduler"]) as client:
        scale = None if asked.sd_scale is not None else _measured_scale(
            both_on_grid(setup, channels, low, psf, asked.dish, asked.weighting, asked.pb_cutoff, client,
                         asked.threads, options["progress"]), asked.overlap, low.path)
        seen = seen_channels(setup, channels, asked.weighting, client, asked.threads,
                             options["progress"], _wanted(asked, low, psf, allowed, setup.grid,
                                                          channels[0][1][0]))
        result = _reconstructed(setup, seen, low, psf, asked, allowed, provenance, scale)
    bad = sum(one.survey.n_not_finite for one in seen)
    if bad:
        warnings.warn(InvalidVisibilityWarning(f"{bad} {InvalidVisibilityWarning.what}"),
                      stacklevel=3)
    return write_asked(result if out is None else write_products(result, names), options)


def _measured_scale(both: Both, overlap: Overlap | None, path: str) -> FluxScale:
    """Factor of the dish's map, or why there is none."""
    try:
        return dish_scale(both, overlap)
    except NumericalError as refused:
        raise NumericalError(f"{path}: {refused}") from refused


def _axis(bands: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """Middles of bands, Hz.

    Raises
    ------
    ImageError
        They are not evenly spaced.
    """
    middle = np.array([(low + high) / 2 for low, high in bands])
    off = np.abs(middle - np.linspace(middle[0], middle[-1], middle.size)).max()
    if off > _EVEN * np.ptp(middle):
        raise ImageError(f"{middle.size} channels from {middle[0] / 1e9:.6g} to "
                         f"{middle[-1] / 1e9:.6g} GHz are up to {off / 1e6:.4g} MHz off an even "
                         "spacing, which a cube wants; give a number of them (channels, "
                         "--channels), or several terms")
    return middle


def _checked(options: JointOptions) -> _Asked:
    scale = options["sd_scale"]
    reference = options["reference_frequency"]
    if scale == "auto" and options["use"] != "joint":
        raise SelectionError(f"sd_scale is auto and use is {options['use']}; wanted are both "
                             "instruments (use joint), whose overlap says the scale, or a number")
    chooses_scales = isinstance(options["scales"], str) and options["scales"] == "auto"
    if chooses_scales and options["use"] == "int":
        raise SelectionError("scales is auto and use is int; what the interferometer sees of large scales is not known, "
                             "so give sizes in pixels, e.g. 0,4,12")
    # In the place of those that are chosen when the beams are known.
    settings = clean_settings(options, options["gain"], (0.0, 2.0) if chooses_scales else None)
    return _Asked(
        settings, chooses_scales,
        Weighting.asked(options["weighting"], options["robust"], options["uvtaper"]),
        options["use"], options["terms"],
        None if scale == "auto" else finite_number("sd_scale", scale, 0.0, above=True),
        parse_overlap(options["overlap"]),
        finite_number("sd_gain", options["sd_gain"], 0.0, above=True), options["start_model"],
        DishSettings.asked(options, options["low_pass"], options["sd_noise"]),
        finite_number("pb_cutoff", options["pb_cutoff"], 0, 1),
        None if reference is None else parse_frequency(reference, "reference_frequency"),
        thread_count(options["threads"]))


def _wanted(asked: _Asked, low: SkyCube, psf: SkyCube | None, mask: NDArray[np.bool_] | None,
            grid: Grid, lowest: float) -> Wanted:
    """What is made of the channels of the interferometer, whose lowest frequency is so many Hz."""
    settings, reach = asked.settings, None
    beams = [one.fwhm_major for one in low.beams]
    given = asked.dish.dish.beam(lowest)
    if given is not None:
        beams.append(given.fwhm_major)
    if mask is not None and psf is None and beams and np.isfinite(beams).all():
        # What is within a beam of the dish of the psf's edges is not joined exactly.
        dish = max(beams) / grid.geometry.cell_m
        scales = scales_between(0.0, dish, grid.shape) if asked.chooses_scales else settings.scales
        more = max(scales) + _PSF_EDGE * dish
        reach = tuple(int(part.stop - part.start + more) for part in box_of(mask))
    return Wanted(asked.use != "sd", settings.most_iterations > 0 and settings.most_cycles > 0,
                  _BEYOND * asked.pb_cutoff, None if reach is None else (reach[0], reach[1]), mask)


def _reconstructed(setup: Setup, seen: Sequence[SeenChannel], low: Any, psf: Any, asked: _Asked,
                   mask: NDArray[np.bool_] | None, provenance: Provenance,
                   scale: FluxScale | None) -> JointResult | JointCube:
    options: dict[str, Any] = {"mask": mask, "threads": asked.threads,
                               "progress": lambda cycle: logger.info(log_line(cycle))}
    # As FITS has it: the middle of each step, whatever of its data is flagged.
    axis = _axis([one.band for one in seen]) if asked.terms == 1 else np.zeros(0)
    own = [None if one.plane is None else fit_beam(one.plane.psf, setup.grid.geometry.cell_m) for one in seen]
    planes = _joint_planes(setup, seen, own, low, psf, asked)
    numbers = _numbers(seen, planes, own, asked, setup.grid, beam_source(low, psf))
    asked = replace(asked, settings=replace(asked.settings, scales=numbers.scales))
    if scale is not None:
        numbers = replace(numbers, sd_scale=scale.scale, sd_scale_error=scale.error, annulus=scale.annulus)
        if numbers.dish_beam_from == "dish_diameter":
            warn_of_diameter(scale, 1.0, numbers.dish_beams[0])
    planes = [one.scaled(numbers.sd_scale) for one in planes]
    reference = asked.reference or float(numbers.weight @ numbers.frequency)
    start = np.zeros((len(planes), *setup.grid.shape)) if asked.start is None else read_start(
        asked.start, setup.grid, numbers.frequency)
    if asked.terms > 1:
        terms = fit_taylor(start, numbers.frequency, reference, asked.terms, numbers.weight)
        made = deconvolve_terms(planes, asked.terms, reference, terms, asked.settings, **options)
        return _result(setup, seen, planes, made, asked, numbers, provenance, reference)
    made_of = [deconvolve_channel(plane, start[k : k + 1], asked.settings, **options)
               for k, plane in enumerate(planes)]
    results = [_result(setup, [one], [plane], made, asked, numbers, provenance, plane.frequency)
               for one, plane, made in zip(seen, planes, made_of, strict=True)]
    if len(results) == 1:
        return results[0]
    return JointCube(setup.grid, ("I",), axis, float(axis[1] - axis[0]), tuple(results),
                     provenance, joint=numbers)


def _joint_planes(setup: Setup, seen: Sequence[SeenChannel], beams: Sequence[Beam | None], low: Any,
                  psf: Any, asked: _Asked) -> list[JointPlane]:
    """A plane a channel; `beams` are the interferometer's."""
    grid = setup.grid
    cell = grid.geometry.cell_m
    frequencies = np.array([one.frequency for one in seen])
    valid = [np.ones(grid.shape, np.bool_) if one.primary_beam is None or one.plane is None
             else one.primary_beam >= max(asked.pb_cutoff, 1e-3) for one in seen]
    if asked.terms > 1:
        valid = [np.logical_and.reduce(valid)] * len(seen)
    dishes: list[DishPlane | None] = [None] * len(seen)
    if asked.use != "int":
        dishes = [*dish_planes(low, psf, asked.dish, grid, frequencies, beams, valid)]
    reach = max((beam.reach for one in dishes if one is not None
                 for beam in (one.beam, one.weight_beam)), default=1.0)
    steps = np.array([[grid.geometry.cell_l, 0.0], [0.0, cell]])
    shape = psf_grid(grid, factor=2).shape if seen[0].plane is None else seen[0].plane.psf.shape
    weight = np.array([one.weight for one in seen])
    weight = weight / weight.sum()
    known = [one for one in dishes if one is not None and one.noise_power is not None]
    gains = np.full(len(seen), asked.sd_gain)
    if known and asked.use == "joint":
        gains = gains_by_noise(asked.sd_gain, weight, known)
    elif known:  # alone: what the dish sees of an average is weight times gain
        weight = weight * gains_by_noise(1.0, weight, known)
    image_plane, psf_plane = (UVPlane(one, steps, reach) for one in (grid.shape, shape))
    onward = image_plane.continuation(valid[0])
    beyond_psf = psf_plane.continuation(np.ones(shape, np.bool_))
    planes = []
    for k, (one, dish) in enumerate(zip(seen, dishes, strict=True)):
        if k and valid[k] is not valid[0] and (valid[k] != valid[0]).any():
            onward = image_plane.continuation(valid[k])
        made, factor = joint_psf(psf_plane, beyond_psf, one.plane, dish, gains[k])
        planes.append(JointPlane(one.frequency, float(weight[k]), one.plane, dish,
                                 one.primary_beam, valid[k], image_plane, onward,
                                 float(gains[k]), made, factor,
                                 local_psfs(steps, reach, one.plane, dish, float(gains[k]))))
    return planes


def _numbers(seen: Sequence[SeenChannel], planes: Sequence[JointPlane],
             interferometer: Sequence[Beam | None], asked: _Asked, grid: Grid, source: str) -> JointNumbers:
    """What is told of both instruments; of the dish's scale what was given."""
    cell = grid.geometry.cell_m
    frequency = np.array([one.frequency for one in planes])
    weight = np.array([one.weight for one in planes])
    beams = tuple(fit_beam(one.psf, cell) for one in planes)
    own = tuple(one for one in interferometer if one is not None)
    there = [one.dish for one in planes if one.dish is not None]
    dishes, weighing = (tuple(_on_sky(one.matrix, cell) for one in found) for found in (
        [one.beam for one in there],
        [one.weight_beam for one in there] if asked.use == "joint" else []))
    if weighing:
        warn_of_sharpening(dishes[0], weighing[0])
    scales = _scales(beams, (*dishes, *weighing), grid) if asked.chooses_scales else asked.settings.scales
    ratio = single = None
    if own:
        together_ = [cube_to_taylor(psfs, frequency, 1.0, 1, weight)[0] for psfs in (
            [one.psf for one in planes], [one.plane.psf for one in seen if one.plane is not None])]
        joint, single = (fit_beam(one, cell) for one in together_)
        ratio = width(joint) / width(single)
        if ratio > _WIDER:
            warnings.warn(UvstackWarning(
                f"the joint beam is {ratio:.3f} times as wide as the interferometer's: the dish "
                f"weighs too much; take a smaller sd_gain (--sd-gain) than {asked.sd_gain:g}"),
                stacklevel=2)
    return JointNumbers(
        use=asked.use, sd_scale=asked.sd_scale or 1.0, sd_scale_error=None, sd_gain=asked.sd_gain,
        frequency=frequency, weight=weight, gain=np.array([one.gain for one in planes]), beams=beams,
        interferometer_beams=own, dish_beams=dishes,
        weight_beams=weighing, dish_beam_from=source,
        weight_beam_from=source if asked.dish.dish.diameter is None else "dish_diameter",
        interferometer_beam=single, width=ratio, scales=scales)


def _scales(beams: Sequence[Beam], dishes: Sequence[Beam], grid: Grid) -> tuple[float, ...]:
    """Sizes of components, pixels, by the mean of the joint beams and the dish's widest: of its map or of w, which it is smoothed to."""
    cell = grid.geometry.cell_m
    return scales_between(float(np.mean([width(one) for one in beams])) / cell,
                          max(width(one) for one in dishes) / cell, grid.shape)


def _on_sky(matrix: NDArray[np.float64], cell: float) -> Beam:
    """The beam, rad, with squares of FWHM in (x, y), pixels²."""
    turn = np.diag([-cell, cell])
    return beam_of_covariance(turn @ matrix @ turn)


def _result(setup: Setup, seen: Sequence[SeenChannel], planes: Sequence[JointPlane],
            made: Reconstruction, asked: _Asked, numbers: JointNumbers, provenance: Provenance,
            reference: float) -> JointResult:
    """Restored, corrected and spectral images, and all numbers."""
    grid, found, response = setup.grid, made.found, made.response
    cell = grid.geometry.cell_m
    beam = fit_beam(made.psf[0], cell)
    rest = found.residual
    if asked.use == "joint":
        rest = made.residual_in(DishBeam(pixel_matrix(beam, cell)))
    restored = restore(found.model, rest, beam, cell, made.psf, asked.threads)
    valid = np.isfinite(found.residual[0])
    pbcor = None if response is None else np.stack(
        [correct_primary_beam(plane, response, asked.pb_cutoff) for plane in restored])
    index = restored_index(restored, found.residual, made.psf) if asked.terms > 1 else None
    usable = found.residual[0][valid]
    weight = np.array([one.weight for one in seen])
    noise = np.array([one.noise for one in seen])
    result = JointResult(
        grid=grid, dirty=made.dirty, residual=found.residual, image=restored,
        model=sky_of(found.model, response, valid), psf=middle_of_psf(made.psf[0], grid.shape),
        pbcor=pbcor, response=response, alpha=None if index is None else index.alpha,
        alpha_error=None if index is None else index.error,
        curvature=None if index is None else index.beta,
        curvature_error=None if index is None else index.beta_error, beam=beam,
        reference_frequency=reference,
        noise=robust_noise(found.residual[0], found.mask if found.mask.mean() < 0.5 else None),
        rms=float(np.sqrt(usable @ usable / usable.size)),
        noise_expected=float(np.sqrt(np.sum((weight * noise) ** 2)) / weight.sum()),
        n_visibilities=sum(one.survey.n for one in seen),
        n_not_finite=sum(one.survey.n_not_finite for one in seen), stop_reason=found.stop_reason,
        n_cycles=found.n_cycles, n_iterations=found.n_iterations, history=found.history,
        model_is="apparent" if response is None else "sky", provenance=provenance,
        band=(min(one.band[0] for one in seen), max(one.band[1] for one in seen)),
        mask=found.mask, joint=numbers,
        date=Time(min(one.survey.first_time for one in seen) / 86400.0, format="mjd",
                  scale="utc").isot)
    return replace(result, lists={"components": component_list(result, found),
                                  "history": found.table()})
