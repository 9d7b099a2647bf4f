"""The task of image-stacking: an image and a list in, flux, stamp and report out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.units import Quantity
from typing_extensions import Unpack

from uvstack.checks import check_resamplings, check_seed, finite_number
from uvstack.errors import DroppedPositionsWarning, ImageError, PositionsError, SelectionError
from uvstack.image_stacking.averaging import (
    Averaging,
    LowFilter,
    PositionValues,
    Weighting,
    align,
    average_stamps,
    bootstrap_fluxes,
    expected_error,
    filtered,
    random_fluxes,
    stacked_psf,
    values_at,
)
from uvstack.image_stacking.image_files import (
    ImagePlane,
    in_jansky,
    parse_filter,
    read_plane,
    read_psf,
    write_stack,
)
from uvstack.image_stacking.result import ImageStackResult
from uvstack.io.image_file import read_image
from uvstack.io.output import check_output, together
from uvstack.io.primary_beams import read_primary_beam, warn_of_other_telescope
from uvstack.io.provenance import provenance_of
from uvstack.io.tables import read_positions
from uvstack.options import ListOptions, OverwriteOptions, ReportOptions, ThreadOptions, takes
from uvstack.pixels.noise import interpolated, noise_around, off_centre_rms
from uvstack.records import Provenance
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import direction_cosines, to_frame
from uvstack.sky.frequency import parse_frequency
from uvstack.sky.options import WeightOptions
from uvstack.sky.position_weights import check_listed, check_weights, parse_weights
from uvstack.sky.positions import Positions
from uvstack.sky.primary_beam import Constant, PrimaryBeam

logger = logging.getLogger(__name__)

#: Beam areas in the square that the local noise is taken from (section 3.2 of the paper).
_NOISE_BEAMS = 300


class SharedOptions(WeightOptions, ListOptions, ReportOptions, OverwriteOptions, ThreadOptions,
                    total=False):
    """The options that it shares with other functions."""


@together()
@takes
def image_stack(
    image: str | Path,
    positions: str | Path | SkyCoord | Positions | Any,
    *,
    method: Literal["mean", "median", "clipped-mean"] = "mean",
    stamp: int = 64,
    alignment: Literal["subpixel", "nearest"] = "subpixel",
    clip: float = 3.0,
    psf: str | Path | None = None,
    low_filter: str | None = None,
    pointings: str | Path | SkyCoord | Positions | Any = None,
    pb_image: str | Path | None = None,
    image_kind: Literal["corrected", "flat"] = "corrected",
    random: int = 0,
    bootstrap: int = 0,
    seed: int | None = None,
    fit: Literal["point", "circular", "elliptical"] | None = None,
    fit_radius: float | None = None,
    beam: tuple[float, ...] | None = None,
    channel: int | None = None,
    frequency: float | str | Quantity | None = None,
    out: str | Path | None = None,
    **options: Unpack[SharedOptions],
) -> ImageStackResult:
    """Stack of the stamps of an image at many positions (Lindroos et al. 2015, section 3.2).

    Parameters
    ----------
    image : path
        FITS image in Jy/beam, north up and east to the left, best one from which bright sources
        were subtracted.
    positions : path, SkyCoord, table or Positions
        See `uvstack.io.tables.read_positions`; any frame.
    method : {"mean", "median", "clipped-mean"}
    stamp : int
        Pixels across a stamp, even.
    alignment : {"subpixel", "nearest"}
        "nearest" is the paper's way, and smears.
    clip : float
        Standard deviations at which "clipped-mean" clips.
    psf : path, optional
        FITS image of the dirty beam: stacked alike, it says what alignment and filter lose. Else
        the Gaussian of the header.
    low_filter : str, optional
        Low spatial frequencies taken out of the stack: a baseline ("5km", "20klambda") or the
        central pixels of its Fourier transform ("3pixels").
    pointings : path, SkyCoord, table or Positions, optional
        Pointing centres of a mosaic, around each of which `primary_beam` lies, where A is
        sqrt(Σ A²); default the reference direction of the image.
    pb_image : path, optional
        FITS image of A, instead of the two.
    image_kind : {"corrected", "flat"}
        Whether the image is corrected for the primary beam, or A times the sky with flat noise:
        then stamps are divided by A.
    random : int
        Lists of random positions that are stacked too, for the noise.
    bootstrap : int
        Number of times the list is resampled.
    seed : int, optional
        Of both.
    fit : {"point", "circular", "elliptical"}, optional
        Fit the psf, convolved with a point or a Gaussian, to the stamp: flux and size.
    fit_radius : float, optional
        Pixels of the circle that is fitted; default the whole stamp.
    beam : tuple of float, optional
        FWHM of both axes and position angle, rad, where the header has none.
    channel : int, optional
        Of a cube, from 0.
    frequency : float, str or Quantity, optional
        A number is in Hz, "1.4GHz"; where the header has none.
    out : path, optional
        FITS file of the stack.

    Returns
    -------
    ImageStackResult

    Raises
    ------
    UvstackError
        One of its subclasses, in one line: bad input, nothing to stack, output not writable.

    Examples
    --------
    >>> result = uvstack.image_stack("survey-pbcor.fits", "positions.csv", weights="local-noise", out="stack.fits")
    """
    asked = {**locals(), **options}
    if fit_radius is not None and fit is None:
        raise SelectionError("fit_radius says what fit takes (--fit-radius, --fit); give fit too, "
                             "or leave it out")
    check_asked(ImageStackResult, options)
    how = Averaging(method, alignment, stamp, clip, options["threads"])
    weights, pb_cutoff, noise_image = options["weights"], options["pb_cutoff"], options["noise_image"]
    noise_kind = options["noise_kind"] or image_kind
    terms = parse_weights(weights)
    check_seed(seed)
    _check_numbers(pb_cutoff, random, bootstrap)
    if out is not None:
        files = (image, positions, psf, noise_image, pb_image, pointings)
        check_output(out, options["overwrite"],
                     inputs=tuple(str(path) for path in files if isinstance(path, str | Path)))
    plane = read_plane(image, channel, beam,
                       None if frequency is None else parse_frequency(frequency, "frequency"))
    if stamp > max(plane.data.shape):
        raise SelectionError(f"stamps of {stamp} pixels of {image}, which has "
                             f"{plane.data.shape[1]} × {plane.data.shape[0]}; give a stamp "
                             "that is smaller than the image")
    low = None if low_filter is None else parse_filter(low_filter, plane.frequency)
    sources = read_positions(positions, columns=options["columns"], frame=options["frame"],
                             unit=options["unit"])
    check_listed(terms, sources)
    response = read_primary_beam(options["primary_beam"])
    attenuated = pb_image is not None or not isinstance(response, Constant)
    check_weights(terms, attenuated)
    warn_of_other_telescope(options["primary_beam"], plane.cube.telescope,
                            [] if plane.frequency is None else [plane.frequency], str(image))
    power_of = _power(plane, response, pointings, pb_image,
                      weights if "primary-beam" in terms else image_kind)
    noise_of = _noise(plane, noise_image, noise_kind, "local-noise" in terms,
                      str(image), how.n_threads)
    weighting = Weighting(terms, noise_of, power_of, image_kind == "flat",
                          noise_kind.endswith("flat"), pb_cutoff if attenuated else 0.0)
    provenance = provenance_of(
        asked, positions=sources.source, seed=seed, image=str(image),
        primary_beam=response.describe() if pb_image is None else str(pb_image))
    settings = {"method": method, "weights": weights, "alignment": alignment, "stamp": stamp,
                "filter": low_filter, "clip": clip if method == "clipped-mean" else None,
                "image": str(image), "image_kind": image_kind,
                "noise_image": noise_image and str(noise_image),
                "noise_kind": noise_kind}
    result = _stack(plane, sources, weighting, how, low, psf, (random, bootstrap, seed), settings,
                    provenance, out)
    if fit is not None:
        if result.psf is None:
            raise ImageError("a fit wants the dirty beam: give --psf (a Gaussian of the header "
                             "does only without --filter)")
        # Scipy's minimisers take a quarter of a second to load.
        from uvstack.image_stacking.psf_fit import fit_psf

        found = fit_psf(result.stamp, result.psf, result.cell, shape=fit, radius=fit_radius)
        result = replace(result, fit=found)
    if out is not None:
        write_stack(result, out)
    return write_asked(result, options)


def _check_numbers(pb_cutoff: float, random: int, bootstrap: int) -> None:
    finite_number("pb_cutoff", pb_cutoff, 0, 1)
    for name, number in (("random", random), ("bootstrap", bootstrap)):
        check_resamplings(name, number)


def _power(plane: ImagePlane, response: PrimaryBeam, pointings: Any, pb_image: str | Path | None,
           wanted_by: str) -> Callable:
    """Function of pixel coordinates x, y that gives A, (pos,)."""
    cube = plane.cube
    if pb_image is not None:
        if pointings is not None or not isinstance(response, Constant):
            raise SelectionError("pb_image (--pb-image) says all of A: give it without "
                                 "primary_beam and pointings")
        attenuation = read_image(pb_image)
        return lambda x, y: np.nan_to_num(interpolated(attenuation.data,
                                                       *attenuation.pixels_of(
                                                           cube.directions_of(x, y))), nan=0.0)
    if isinstance(response, Constant):
        if wanted_by not in ("corrected", "equal"):
            logger.info("%s without a primary beam: A is 1 everywhere", wanted_by)
        return lambda x, y: np.ones(np.size(x))
    if plane.frequency is None:
        raise ImageError(f"{plane.cube.unit or 'the image'}: no frequency is known for the "
                         "primary beam; give frequency= (--frequency)")
    at = np.array([plane.frequency])
    centre = read_positions(pointings).coord if pointings is not None else cube.directions_of(
        *(cube.wcs.wcs.crpix - 1.0))
    centres = np.stack([np.atleast_1d(a) for a in to_frame(centre, "J2000")], axis=1)

    def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        ra, dec = to_frame(cube.directions_of(x, y), "J2000")
        square = np.zeros(np.size(x))
        for ra0, dec0 in centres:
            l, m, n_minus_1 = direction_cosines(ra, dec, ra0, dec0)
            square += np.where(n_minus_1 > -1.0, np.nan_to_num(response(l, m, at)[:, 0]), 0.0) ** 2
        return np.sqrt(square)

    return power


def _noise(plane: ImagePlane, path: str | Path | None, kind: str, wanted: bool, name: str,
           threads: int) -> Callable | None:
    """Function of pixel coordinates x, y of the image that gives the noise there, (pos,); None where no beam is known."""
    if path is None and kind.startswith("rms"):
        raise SelectionError(f"noise_kind is {kind!r}, a map of the noise: give it as noise_image "
                             "(--noise-image)")
    if kind.startswith("rms"):
        assert path is not None
        rms = read_image(path)
        return lambda x, y: in_jansky(rms.cube) * interpolated(
            rms.data, *rms.pixels_of(plane.cube.directions_of(x, y)))
    data, cell, beam, other = plane.data, plane.cube.cell, plane.beam, None
    if path is not None:
        other = read_image(path)
        data, cell, beam = other.data * in_jansky(other.cube), other.cell, other.beam or beam
    if beam is None:
        if wanted:
            raise ImageError(f"{path or name}: has no beam (BMAJ, BMIN), which the local noise "
                             "wants; give beam= (--beam 3.2arcsec,1.6arcsec)")
        return None
    size = max(round(float(np.sqrt(_NOISE_BEAMS * beam.solid_angle)) / cell), 16)
    radius = beam.fwhm_major / cell

    def noise(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if other is not None:
            x, y = other.pixels_of(plane.cube.directions_of(x, y))
        return noise_around(np.ascontiguousarray(data), x, y, size, radius, threads)

    return noise


def _stack(plane: ImagePlane, sources: Positions, weighting: Weighting, how: Averaging,
           low: LowFilter | None, psf: str | Path | None, resampling: tuple[int, int, int | None],
           settings: dict, provenance: Provenance, out: str | Path | None) -> ImageStackResult:
    """The stack of an image that was read."""
    x, y = plane.cube.pixels_of(sources.coord)
    values = values_at(plane.data, x, y, how.alignment)
    found, used, dropped = _used(plane, x, y, values, weighting, sources)
    stacked, n_partial = average_stamps(plane.data, align(x[used], y[used], how.alignment),
                                        found.weight[used], found.scale[used], how)
    response, source = _stacked_psf(plane, psf, x[used], y[used], found.weight[used], how, low)
    if low is not None:
        stacked = filtered(stacked, plane.cube.cell, low)
        response = None if response is None else filtered(response, plane.cube.cell, low)
    n_random, n_bootstrap, seed = resampling
    rng_random, rng_bootstrap = np.random.default_rng(seed).spawn(2)
    radius = (plane.beam.fwhm_major if plane.beam is not None
              else how.stamp * plane.cube.cell / 16) / plane.cube.cell
    values = np.where(used, values * found.scale, np.nan)
    listed = None if sources.weight is None else sources.weight[used]
    fluxes = None
    if n_random:
        fluxes = random_fluxes(plane.data, x[used], y[used], listed, weighting, how, n_random,
                               rng_random, radius)
    resampled = None
    if n_bootstrap:
        resampled = bootstrap_fluxes(values[used], found.weight[used], how, n_bootstrap,
                                     rng_bootstrap)
    middle = how.stamp // 2
    ra, dec = to_frame(SkyCoord(sources.coord[used].cartesian.mean(),
                                frame=sources.coord.frame.replicate_without_data()), "J2000")
    return ImageStackResult(name=settings["image"].rpartition("/")[2],
                            flux=float(stacked[middle, middle]),
                            flux_error=off_centre_rms(stacked, radius),
                            flux_error_expected=expected_error(found.noise[used],
                                                               found.weight[used], how.method),
                            stamp=stacked, psf=response, psf_source=source, cell=plane.cube.cell,
                            beam=plane.beam, ra=float(ra), dec=float(dec), values=values,
                            weights=np.where(used, found.weight, 0.0), noise=found.noise,
                            dropped=dropped, n_partial=n_partial, random=fluxes,
                            bootstrap=resampled, settings=settings,
                            fits=None if out is None else str(out), provenance=provenance)


def _used(plane: ImagePlane, x: np.ndarray, y: np.ndarray, values: np.ndarray, weighting: Weighting,
          sources: Positions) -> tuple[PositionValues, np.ndarray, dict[str, np.ndarray]]:
    """Weights, which positions enter, and the numbers of the others by reason; no weight is asked for off the image."""
    n_m, n_l = plane.data.shape
    on_image = (x > -0.5) & (x < n_l - 0.5) & (y > -0.5) & (y < n_m - 0.5)
    n = x.size
    found = PositionValues(np.zeros(n), np.zeros(n), np.full(n, np.nan), np.zeros(n),
                           np.zeros(n, np.bool_))
    if on_image.any():
        there = weighting(x[on_image], y[on_image],
                          None if sources.weight is None else sources.weight[on_image])
        for name, value in vars(there).items():
            getattr(found, name)[on_image] = value
    blank = on_image & ~np.isfinite(values)
    outside = on_image & ~blank & ~found.inside
    weightless = on_image & ~blank & found.inside & ~(found.weight > 0)
    dropped = {"off the image": np.flatnonzero(~on_image),
               "at or too near blank pixels or the edge": np.flatnonzero(blank),
               "outside the primary beam": np.flatnonzero(outside),
               "without weight": np.flatnonzero(weightless)}
    used = on_image & ~blank & ~outside & ~weightless
    reasons = ", ".join(f"{which.size} {reason}" for reason, which in dropped.items() if which.size)
    if not used.any():
        raise PositionsError(f"{sources.source}: no position can be stacked: {reasons}; are frame "
                             "and unit of the list right?")
    if reasons:
        warnings.warn(DroppedPositionsWarning(f"{int((~used).sum())} of {n} positions were left "
                                              f"out: {reasons}"), stacklevel=5)
    return found, used, dropped


def _stacked_psf(plane: ImagePlane, path: str | Path | None, x: np.ndarray, y: np.ndarray,
                 weight: np.ndarray, how: Averaging,
                 low: LowFilter | None) -> tuple[np.ndarray | None, str]:
    """Dirty beam of the stack and where it is from; from a Gaussian it is only made where nothing is filtered."""
    cell = plane.cube.cell
    size = how.stamp if low is not None else 2 * how.stamp
    if path is not None:
        psf = read_psf(path, cell)
        size = size if low is not None else min(size, 2 * (min(psf.shape) // 2))
        return stacked_psf(psf, x, y, weight, how, size), Path(path).name
    if plane.beam is None or low is not None:
        return None, ""
    return stacked_psf(gaussian_beam(plane.beam, cell, size + 128), x, y, weight, how,
                       size), "Gaussian beam of the header"


def gaussian_beam(beam: Beam, cell: float, size: int) -> np.ndarray:
    """Image (size, size) of a Gaussian beam of peak 1 at (size // 2, size // 2); its integral is not 0 as a dirty beam's is."""
    offset = (np.arange(size) - size // 2) * cell
    return beam.profile(-offset[None, :], offset[:, None])
