"""Numbers of the sources of islands: fits where they are sound, moments where they are not.

All in the frame of the pixels and in the unit of the image; `uvstack.extraction.rows` makes rows of
a catalogue of them. One path for both kinds: what is known of a source is its peak, its place, its
sum over all pixels and the matrix of its squares of the FWHM, with their covariances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from uvstack.extraction import fit_kernels
from uvstack.extraction.condon_errors import condon_errors, unbiased_peak
from uvstack.extraction.deconvolution import RESOLVED, deconvolve_sizes
from uvstack.extraction.derived import (
    axes_of,
    flux_gradient,
    fluxes_of,
    peaks_of,
    positions_of,
    sizes_of,
)
from uvstack.extraction.gaussian_fit import (
    LONGEST,
    GaussianFits,
    fit_gaussians,
    groups_of,
    numbers_of,
    quadratic_form,
    size_matrix,
)
from uvstack.extraction.moments import MomentErrors, Moments, MomentStatus
from uvstack.extraction.options import ExtractionOptions
from uvstack.sky.beam import FOUR_LN2, areas_of_covariances
from uvstack.sky.source_flags import Flag

#: A fit narrower than this part of the beam's area is no source.
_LEAST_AREA = 0.1
#: Nor is one whose error is a larger part of the peak: what was detected is known better.
_LEAST_CERTAIN = 0.5
_ENDS = {fit_kernels.CONVERGED: "converged", fit_kernels.MOST_STEPS: "most steps",
         fit_kernels.STUCK: "stuck", fit_kernels.TOO_FEW_PIXELS: "too few pixels",
         fit_kernels.SINGULAR: "singular"}


@dataclass(frozen=True)
class Measured:
    """Sources in the frame of the pixels, arrays of n.

    Attributes
    ----------
    peak, peak_error : ndarray (n,)
        Unit of the image.
    x, y : ndarray (n,)
    place : ndarray (n, 2, 2)
        Covariance of x and y, pixels².
    total, total_error : ndarray (n,)
        Sum over all pixels of the Gaussian, unit of the image.
    size : ndarray (n, 2, 2)
        Matrix in (x, y) of squares of the FWHM, pixels².
    spread : ndarray (n, 3, 3)
        Covariance of its xx, xy, yy.
    flags : ndarray (n,) int
        Bits of `Flag`.
    status : ndarray (n,) str
        "fit: converged" and the like.
    group : ndarray (n,) int
        Fitted together.
    source : ndarray (n,) int
        Components of one source have one number: fitted together, in one island.
    source_total, source_total_error : ndarray (n,)
        Sum over the source's components, with the covariance between them.
    """

    peak: NDArray[np.float64]
    peak_error: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    place: NDArray[np.float64]
    total: NDArray[np.float64]
    total_error: NDArray[np.float64]
    size: NDArray[np.float64]
    spread: NDArray[np.float64]
    flags: NDArray[np.int32]
    status: NDArray[np.str_]
    group: NDArray[np.int64]
    source: NDArray[np.int64]
    source_total: NDArray[np.float64]
    source_total_error: NDArray[np.float64]


def of_moments(moments: Moments, errors: MomentErrors) -> Measured:
    """What moments say of islands."""
    size = np.moveaxis(np.array([[moments.cxx, moments.cxy], [moments.cxy, moments.cyy]]), 2, 0)
    place = np.zeros((len(size), 2, 2))
    place[:, 0, 0], place[:, 1, 1] = errors.x**2, errors.y**2
    total = moments.peak * areas_of_covariances(size)
    # Angles of moments run from x towards y.
    spread = _spread(moments.fwhm_major, moments.fwhm_minor, np.pi / 2 - moments.angle,
                     errors.fwhm_major, errors.fwhm_minor, errors.angle)
    with np.errstate(divide="ignore", invalid="ignore"):
        total_error = np.abs(total) * errors.flux / np.abs(moments.flux)
    flags = int(Flag.MOMENTS) | np.where(shapeless(moments), int(Flag.FIXED), 0)
    return Measured(moments.peak, errors.peak, moments.x, moments.y, place, total, total_error,
                    size, spread, flags.astype(np.int32),
                    np.full(len(size), "moments", "U24"), np.arange(len(size)),
                    np.arange(len(size)), total, total_error)


def _spread(major: NDArray, minor: NDArray, angle: NDArray,
            *errors: NDArray) -> NDArray[np.float64]:
    """Covariance of xx, xy, yy of ellipses whose axes and angle, from y through x, have independent errors."""
    sin, cos = np.sin(angle), np.cos(angle)
    along, across = np.stack([sin, cos], -1), np.stack([cos, -sin], -1)

    def elements(p: NDArray, q: NDArray) -> NDArray:
        return np.stack([p[:, 0] * q[:, 0], 0.5 * (p[:, 0] * q[:, 1] + p[:, 1] * q[:, 0]),
                         p[:, 1] * q[:, 1]], -1)

    slopes = (2.0 * major[:, None] * elements(along, along),
              2.0 * minor[:, None] * elements(across, across),
              2.0 * (major**2 - minor**2)[:, None] * elements(along, across))
    total = np.zeros((len(major), 3, 3))
    for slope, error in zip(slopes, errors, strict=True):
        total += (np.nan_to_num(error) ** 2)[:, None, None] * slope[:, :, None] * slope[:, None, :]
    return total


def of_fits(fits: GaussianFits, flags: int, island: NDArray) -> Measured:
    """What fits say of components, of which each is in an island."""
    with np.errstate(divide="ignore", invalid="ignore"):
        peak, peak_error = peaks_of(fits)
        x, y, place = positions_of(fits)
        total, total_error = fluxes_of(fits)
        size, spread = sizes_of(fits)
    status = np.array(["fit: " + _ENDS[int(end)] for end in fits.status], "U24")
    return Measured(peak, peak_error, x, y, place, total, total_error, size, spread,
                    np.full(len(x), flags, np.int32), status if status.size else np.zeros(0, "U24"),
                    fits.group, *_sources(fits, island, total, total_error))


def _sources(fits: GaussianFits, island: NDArray, total: NDArray,
             error: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Source of each component, the sum over its components, and the error of that from the covariance of their numbers."""
    pairs = np.stack([fits.group, island], axis=1)
    _, first, source = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    source = source.reshape(-1)
    # In the order in which they come.
    source = np.argsort(np.argsort(first))[source] if len(first) else source
    whole = np.bincount(source, total)[source] if len(source) else total
    errors = error.copy()
    gradient = flux_gradient(fits.numbers)[1]
    for group, covariance in fits.joint.items():
        members = np.flatnonzero(fits.group == group)
        for k in np.unique(source[members]):
            mine = source[members] == k
            slope = np.where(mine[:, None], gradient[members], 0.0).ravel()
            errors[members[mine]] = np.sqrt(max(float(slope @ covariance @ slope), 0.0))
    return source, whole, errors


def with_condon_errors(found: Measured, fits: GaussianFits, rms: NDArray,
                       beam: NDArray) -> Measured:
    """The fits with the errors of Condon (1997), and peaks by equation 2.96, in place of those of the noise's correlation."""
    none = np.zeros((len(rms), 3, 3))
    axes, of_beam = axes_of(size_matrix(fits.numbers), none), axes_of(beam[None], none[:1])
    told = condon_errors(fits.numbers[:, 0], (axes.major, axes.minor, axes.angle), rms,
                         (of_beam.major[0], of_beam.minor[0], of_beam.angle[0]))
    peak = unbiased_peak(fits.numbers[:, 0], rms)
    total = flux_gradient(fits.numbers)[0] * peak / fits.numbers[:, 0]
    sin, cos = np.sin(axes.angle), np.cos(axes.angle)
    along, across = np.stack([sin, cos], -1), np.stack([cos, -sin], -1)
    place = (told.along_major**2)[:, None, None] * along[:, :, None] * along[:, None, :]
    place += (told.along_minor**2)[:, None, None] * across[:, :, None] * across[:, None, :]
    spread = _spread(axes.major, axes.minor, axes.angle, told.fwhm_major, told.fwhm_minor,
                     told.angle)
    errors = told.flux * areas_of_covariances(beam)
    variance = np.bincount(found.source, errors**2)[found.source]
    whole = np.asarray(np.bincount(found.source, total)[found.source], float)
    return replace(found, source_total=whole, source_total_error=np.sqrt(variance), peak=peak,
                   peak_error=told.peak, x=fits.numbers[:, 1], y=fits.numbers[:, 2], place=place,
                   total=total, total_error=errors, size=size_matrix(fits.numbers), spread=spread)


def measure_islands(image: NDArray, label: NDArray[np.int32], moments: Moments,
                    errors: MomentErrors, rms: NDArray, beam: NDArray, correlation: NDArray,
                    options: ExtractionOptions, parent: NDArray) -> Measured:
    """Sources of islands, one each, by fits that begin at their moments.

    Parameters
    ----------
    image : ndarray (m, l)
        Without its background.
    label : ndarray (m, l) int32
        k + 1 in island k.
    moments, errors : of the islands
    rms : ndarray (n,)
    beam : ndarray (2, 2)
        Matrix in (x, y) of squares of the FWHM, pixels².
    correlation : ndarray
        Of the noise, see `uvstack.extraction.noise_correlation`.
    options : ExtractionOptions
    parent : ndarray (n,) int
        Island that each was split off.
    """
    plain = of_moments(moments, errors)
    if options.method == "moments" or len(plain.x) == 0:
        return plain
    free = np.ones((len(plain.x), 6), bool)
    free[:, 1:3] = options.fixed not in ("position", "both")
    free[:, 3:] = options.fixed not in ("shape", "both")
    shape = beam if options.fixed in ("shape", "both") else _start_shape(moments, plain.size, beam)
    # In crowded islands the barycentre may be off every peak; a fit begins where moments are sound.
    start = numbers_of(plain.peak, plain.x, plain.y, shape)
    def fit(begin: NDArray, free: NDArray, group: NDArray | None = None) -> GaussianFits:
        return fit_gaussians(image, label, begin, np.arange(1, len(rms) + 1), rms, beam,
                             correlation, free=free, weighting=options.weighting, group=group)

    fits = fit(start, free)
    found = of_fits(fits, int(Flag.FIXED) if options.fixed != "none" else 0, parent)
    bad = unphysical(fits, found, plain, beam)
    if options.errors == "condon":
        found = with_condon_errors(found, fits, rms, beam)
    if options.unresolved == "point":
        found = _with_points(found, fits, fit, free, bad, parent, beam)
    return merged(found, plain, bad)


def _with_points(found: Measured, fits: GaussianFits, fit: Callable[..., GaussianFits],
                 free: NDArray, bad: NDArray, parent: NDArray, beam: NDArray) -> Measured:
    """Unresolved sources with the peak, place and flux of a fit with the beam's shape, as in the NVSS (Condon et al. 1998, section 5.2.5).

    Fewer numbers are free, so that their errors are smaller; sizes and limits stay those of the
    first fit.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        point = ~bad & ~(deconvolve_sizes(found.size, found.spread, beam).significance > RESOLVED)
    if not point.any():
        return found
    begin = np.where(point[:, None],
                     numbers_of(fits.numbers[:, 0], fits.numbers[:, 1], fits.numbers[:, 2], beam),
                     fits.numbers)
    less = free.copy()
    less[point, 3:] = False
    second = fit(begin, less, fits.group)
    point &= second.status == fit_kernels.CONVERGED
    points = of_fits(second, int(Flag.FIXED), parent)
    return merged(found,
                  replace(points, size=found.size, spread=found.spread,
                          status=np.full(len(point), "fit: point", "U24")), point, failed=False)


def shapeless(moments: Moments) -> NDArray[np.bool_]:
    """Islands that have the shape of the beam, for they have none of their own, (n,)."""
    return np.asarray((moments.status & MomentStatus.BEAM_SHAPE) != 0)


def _start_shape(moments: Moments, size: NDArray, beam: NDArray) -> NDArray[np.float64]:
    """Moments' shape, the beam's where that is narrower or not sound."""
    narrow = ~(np.linalg.det(size) > np.linalg.det(beam)) | shapeless(moments)
    return np.where(narrow[:, None, None], beam, size)


def unphysical(fits: GaussianFits, found: Measured, seen: Measured,
               beam: NDArray) -> NDArray[np.bool_]:
    """Fits that cannot be of what moments have seen, (n,).

    Not converged; no ellipse, or one much smaller than the beam or longer than what was seen; with
    its middle outside that, of the other sign, or of a peak that is not certain by a factor of two.
    """
    bad = np.asarray(fits.status != fit_kernels.CONVERGED)
    form = quadratic_form(fits.numbers)
    sound = np.asarray(np.isfinite(fits.numbers).all(axis=1)
                       & np.isfinite(found.size).all(axis=(1, 2)))
    form, size, whole = (np.where(sound[:, None, None], one, np.eye(2))
                         for one in (form, found.size, np.nan_to_num(seen.size)))
    bad |= ~sound | (np.linalg.eigvalsh(form)[:, 0] <= 0) | (np.linalg.eigvalsh(size)[:, 0] <= 0)
    form = np.where(bad[:, None, None], np.eye(2), form)
    fitted = FOUR_LN2 * np.linalg.inv(form)
    widest = np.maximum(np.linalg.eigvalsh(whole)[:, 1], np.linalg.eigvalsh(beam)[1])
    bad |= np.linalg.det(fitted) < _LEAST_AREA**2 * np.linalg.det(beam)
    bad |= np.linalg.eigvalsh(fitted)[:, 1] > LONGEST**2 * widest
    away = (fits.numbers[:, 1] - seen.x) ** 2 + (fits.numbers[:, 2] - seen.y) ** 2
    bad |= away > widest
    bad |= np.sign(found.peak) != np.sign(seen.peak)
    return np.asarray(bad | ~(found.peak_error < _LEAST_CERTAIN * np.abs(found.peak)))


def merged(first: Measured, second: Measured, where: NDArray[np.bool_],
           failed: bool = True) -> Measured:
    """The first, with the second in some places; the status keeps the reason where the first had failed there."""
    if not where.any():
        return first
    values = {}
    for one in fields(Measured):
        a, b = getattr(first, one.name), getattr(second, one.name)
        mask = where.reshape(-1, *[1] * (a.ndim - 1))
        values[one.name] = np.where(mask, b, a)
    if failed:
        values["flags"] = np.where(where, second.flags | int(Flag.NOT_CONVERGED), first.flags)
        values["status"] = np.where(where, np.char.add("moments, ", first.status), first.status)
    values["group"], values["source"] = first.group, first.source
    return Measured(**values)


def force(image: NDArray, x: NDArray, y: NDArray, rms: NDArray, beam: NDArray, correlation: NDArray,
          *, radius: float = 0.0) -> Measured:
    """Fluxes of the beam's shape at given places, (n,), off the image NaN; close pairs are fitted together.

    With a radius (pixels) places are free within it; where the fit leaves it, or does not converge,
    the place given counts.
    """
    label = np.zeros(image.shape, np.int32)
    n = len(x)
    near = np.isfinite(x) & np.isfinite(y) & (x > -0.5) & (y > -0.5) & (x < image.shape[1] - 0.5) & (y < image.shape[0] - 0.5)
    near[near] &= np.isfinite(image[np.rint(y[near]).astype(int), np.rint(x[near]).astype(int)])
    near &= np.isfinite(rms)
    here = np.flatnonzero(near)
    begin = np.where(rms[here] > 0, rms[here], 1.0)
    start = numbers_of(begin, x[here], y[here], beam)
    group = groups_of(x[here], y[here], beam)
    free = np.zeros((here.size, 6), bool)
    free[:, 0] = True

    def fit(begin: NDArray) -> GaussianFits:
        return fit_gaussians(image, label, begin, np.full(here.size, -1), rms[here], beam,
                             correlation, free=free, weighting="gls", group=group)

    fits = fit(start)
    # Places that stand in the list twice cannot be told apart: each is measured by itself.
    twice = np.isin(group, group[fits.status == fit_kernels.SINGULAR])
    if twice.any():
        group = np.where(twice, group.max() + 1 + np.arange(here.size), group)
        fits = fit(start)
    alone = np.arange(here.size)
    found = of_fits(fits, int(Flag.FIXED), alone)
    if radius > 0 and here.size:
        free[:, 1:3] = True
        moved = fit(np.where(fits.numbers[:, :1] != 0, fits.numbers, start))
        off = np.hypot(moved.numbers[:, 1] - x[here], moved.numbers[:, 2] - y[here]) > radius
        found = merged(of_fits(moved, int(Flag.FIXED), alone), found,
                       off | (moved.status != fit_kernels.CONVERGED))
    found = replace(found,
                    flags=found.flags
                    | np.where(twice, int(Flag.NOT_CONVERGED), 0).astype(np.int32))
    return _spread_over(found, here, n, x, y, fits.status)


def _spread_over(found: Measured, here: NDArray, n: int, x: NDArray, y: NDArray,
                 status: NDArray) -> Measured:
    """Rows for all places asked for: those without pixels have no numbers."""
    values = {}
    for one in fields(Measured):
        a = getattr(found, one.name)
        full = np.full((n, *a.shape[1:]), np.nan if a.dtype.kind == "f" else 0).astype(a.dtype)
        full[here] = a
        values[one.name] = full
    off = np.ones(n, bool)
    off[here[status <= fit_kernels.MOST_STEPS]] = False
    for name in ("peak", "peak_error", "total", "total_error", "source_total",
                 "source_total_error"):
        values[name] = np.where(off, np.nan, values[name])
    lost = np.ones(n, bool)
    lost[here[status != fit_kernels.TOO_FEW_PIXELS]] = False
    values["flags"] = np.where(lost, int(Flag.OFF_IMAGE | Flag.FIXED),
                               values["flags"] | np.where(off, int(Flag.NOT_CONVERGED), 0))
    values["status"] = np.where(lost, "no pixels", values["status"])
    values["x"], values["y"] = np.where(np.isnan(values["x"]), x, values["x"]), np.where(
        np.isnan(values["y"]), y, values["y"])
    values["group"], values["source"] = np.where(off, -1, values["group"]), np.arange(n)
    return Measured(**values)
