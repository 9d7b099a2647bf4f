"""Model visibilities of components and of images: the measurement equation, forwards.

    V(u, v, w; ν) = Σ_k A(l_k, m_k, ν) S_k(ν) E_k(u, v) exp(+2πi ν/c (u l_k + v m_k + w (n_k − 1)))

is Lindroos et al. (2015), equation 1, in the sign of `uvstack`, with two differences. They print
S_k/n_k; a flux density is ∫ I dΩ and dΩ = dl dm/n, so that a source of flux S_k has no 1/n_k left.
And they print exp(−(π r (u+v)/λ)²) for an extended source, which is 1 along all of u = −v and
cannot be meant: here E is the Fourier transform of a Gaussian of FWHM θ, exp(−π²/(4 ln 2) (θ_maj²
u'² + θ_min² v'²)) with (u', v') in wavelengths along its axes, so a circle depends on u² + v². A
disc is 2 J1(x)/x with x = π sqrt(θ_maj² u'² + θ_min² v'²), θ its diameters. A scale of CLEAN is the
sum over the pixels of its kernel, since a small one differs from the smooth (1 − r²/α²)² by 3e-3 of
its flux (α of 3 pixels, four of them to a beam), and from 16 pixels on 48 J3(x)/x³ with x = 2π α
sqrt(u'² + v'²), within 2e-5 of that sum. A third difference is where E is taken: not at (u, v) of
the phase centre but at those that a phase centre on the source would have. The path w (n − 1) has a
slope across a source off axis, about (−w l, −w m), which belongs to its transform: for 5″ at 13′ in
the A configuration E is wrong by up to 0.02 without it. Position angles are then from north at the
source.

Cost. Points are the conjugate of `phase_factor`: 0.14 ns a visibility and source with 27 antennas.
The same form serves extended sources where many have one shape and are so near to each other that E
is a factor outside the sum. All others are summed one by one: 1.7 ns for a Gaussian, 8 ns for a
disc, and a nanosecond for each pixel of a quadrant of a scale of CLEAN. Gaussians go by size, and
those that a visibility resolves out below 1e-7 cost nothing. Images are one transform by ducc0.
Memory is that of the result. Error: 1e-6 of the sum of fluxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uvstack.constants import CORRELATIONS, SPEED_OF_LIGHT
from uvstack.errors import ComponentError, ImageError
from uvstack.pixels.geometry import ImageGeometry
from uvstack.sky.beam import TRANSFORM_SCALE
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines, local_axes, rotation_between
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv import predict_kernels
from uvstack.uv.phase import phase_factor
from uvstack.uv.transform import all_finite, dirty2vis

#: As many components of one shape are better taken out of the sum: the antennas' product costs a
#: tenth of a Gaussian each.
_SAME_SHAPE = 16
#: One E may serve all if it is wrong by less than this.
_SAME_ENVELOPE = 1e-6
#: Pixels from which a scale of CLEAN is taken as smooth.
_SMOOTH_SCALE = 16.0
#: Each correlation as a combination of I, Q, U and V.
_FEEDS: dict[str, tuple[complex, complex, complex, complex]] = {
    "I": (1, 0, 0, 0), "Q": (0, 1, 0, 0), "U": (0, 0, 1, 0), "V": (0, 0, 0, 1),
    "RR": (1, 0, 0, 1), "RL": (0, 1, 1j, 0), "LR": (0, 1, -1j, 0), "LL": (1, 0, 0, -1),
    "XX": (1, 1, 0, 0), "XY": (0, 0, 1, 1j), "YX": (0, 0, 1, -1j), "YY": (1, -1, 0, 0)}


def predict(uvw: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray, time: np.ndarray,
            frequency: np.ndarray, components: Components, ra0: float, dec0: float,
            primary_beam: PrimaryBeam | None = None,
            pointing: tuple[float, float] | None = None) -> np.ndarray:
    """Stokes I of components at every row and channel, (row, chan) complex64, Jy.

    Parameters
    ----------
    uvw : ndarray (row, 3) float64
        Metres, as in a measurement set. Rows that are not finite get 0.
    antenna1, antenna2 : ndarray (row,) int
    time : ndarray (row,)
        Rows of equal value share their antenna coordinates.
    frequency : ndarray (chan,)
        Hz.
    components : Components
    ra0, dec0 : float
        Phase centre, J2000, rad.
    primary_beam : PrimaryBeam, optional
        A(l, m, ν); default none.
    pointing : (float, float), optional
        Where the antennas point, J2000, rad; default the phase centre.

    Raises
    ------
    ComponentError
        A component is 90° or more from the phase centre.
    NumericalError
        A visibility is not finite, of fluxes beyond single precision.
    """
    _check(uvw, antenna1, antenna2, time)
    frequency = np.ascontiguousarray(frequency, np.float64)
    uvw = np.ascontiguousarray(uvw, np.float64)
    vis = np.zeros((uvw.shape[0], frequency.size), np.complex64)
    components = components.subset(components.shines)
    if vis.size == 0 or len(components) == 0:
        return vis
    lmn = _directions(components, ra0, dec0)
    apparent = _apparent(components, lmn, frequency, primary_beam, pointing or (ra0, dec0),
                         (ra0, dec0))
    return all_finite("visibilities of components",
                      _sum(uvw, antenna1, antenna2, time, frequency, components, lmn, apparent,
                           _axes(components, ra0, dec0)))


def predict_stokes(uvw: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray, time: np.ndarray,
                   frequency: np.ndarray, components: Components, ra0: float, dec0: float,
                   primary_beam: PrimaryBeam | None = None,
                   pointing: tuple[float, float] | None = None) -> np.ndarray:
    """Stokes parameters of components.

    (4, row, chan) complex64, or (1, row, chan), I alone, where nothing is polarised.

    Arguments as in `predict`. The primary beam is taken to be the same for all four. The cost is
    that of I and of the polarised components for each of Q, U and V that occurs.
    """
    rows = (uvw, antenna1, antenna2, time, frequency)
    options = (ra0, dec0, primary_beam, pointing)
    intensity = predict(*rows, components, *options)
    if not components.polarised:
        return intensity[None]
    stokes = np.zeros((4, *intensity.shape), np.complex64)
    stokes[0] = intensity
    for i, name in enumerate(("q", "u", "v"), start=1):
        some = getattr(components, name) != 0
        part = components.subset(some)
        if some.any():
            stokes[i] = predict(*rows, part.scaled(getattr(part, name)), *options)
    return stokes


def to_correlations(stokes: np.ndarray, correlations: Sequence[int]) -> np.ndarray:
    """Correlations (row, chan, corr) complex64 of Stokes parameters (4 or 1, row, chan), by casacore's code numbers.

    RR = I + V, LL = I − V, RL = Q + iU, LR = Q − iU and XX = I + Q, YY = I − Q, XY = U + iV, YX = U
    − iV (Hamaker & Bregman 1996, without their ½, as CASA has it). The feeds are ideal and X points
    north on the sky at all times: the turn with parallactic angle is a corruption, not part of
    this.

    Raises
    ------
    ValueError
        A code is not among 1 … 12.
    """
    out = np.zeros((*stokes.shape[1:], len(correlations)), np.complex64)
    for i, code in enumerate(correlations):
        if code not in CORRELATIONS:
            known = ", ".join(f"{number} {name}" for number, name in CORRELATIONS.items())
            raise ValueError(f"correlation code {code}; wanted are {known}")
        for factor, plane in zip(_FEEDS[CORRELATIONS[code]], stokes, strict=False):
            if factor:
                out[..., i] += np.complex64(factor) * plane
    return out


def _check(uvw, antenna1, antenna2, time) -> None:
    shapes = [np.shape(a) for a in (uvw, antenna1, antenna2, time)]
    if len(shapes[0]) != 2 or shapes[0][1] != 3 or any(shape != shapes[0][:1]
                                                       for shape in shapes[1:]):
        raise ValueError("found uvw {}, antenna1 {}, antenna2 {}, time {}; wanted (row, 3) and three of (row,)".format(*shapes))


def _directions(components: Components, ra0: float, dec0: float) -> np.ndarray:
    """l, m and n − 1, (3, pos)."""
    lmn = np.stack(direction_cosines(components.ra, components.dec, ra0, dec0))
    behind = lmn[2] <= -1.0
    if behind.any():
        raise ComponentError(f"component {components.names[behind][0]} is 90° or more from the "
                             "phase centre; leave it out, or move the centre")
    return lmn


def _apparent(components, lmn, frequency, primary_beam, pointing, centre) -> np.ndarray:
    """A S, (chan, pos) float32."""
    flux = components.flux_at(frequency)
    if primary_beam is not None:
        l, m = lmn[:2]
        if pointing != centre:
            l, m, n_minus_1 = direction_cosines(components.ra, components.dec, *pointing)
            l = np.where(n_minus_1 > -1.0, l, 2.0)  # beyond the horizon a beam answers 0
        flux = flux * primary_beam(l, m, frequency)
    return np.ascontiguousarray(flux.T, np.float32)


def _sum(uvw, antenna1, antenna2, time, frequency, components, lmn, apparent, axes) -> np.ndarray:
    """The sum over all components, by shape."""
    vis = np.zeros((uvw.shape[0], frequency.size), np.complex64)
    usable = np.isfinite(uvw).all(axis=1)
    extended = (components.shape != "point") & (components.fwhm_major > 0)
    # Extended sources of one shape share their E: label 0 is that of the points, whose E is 1.
    kind = np.select([components.shape == "disc", components.shape == "clean-scale"], [1.0, 2.0])
    described = np.stack([kind, components.fwhm_major, components.fwhm_minor,
                          components.position_angle])
    shapes, label = np.unique(described * extended, axis=1, return_inverse=True)
    label = label.reshape(-1)
    alone = extended.copy()
    longest = np.abs(uvw[usable]).max(initial=0.0) * frequency.max() / SPEED_OF_LIGHT
    for i in range(shapes.shape[1]):
        group = np.flatnonzero(label == i)
        if extended[group[0]]:
            mean = axes[:, group].mean(axis=1)
            spread = np.abs(axes[:, group] - mean[:, None]).sum(axis=0).max() * longest
            if components.shape[group[0]] == "clean-scale" or group.size < _SAME_SHAPE or spread > _SAME_ENVELOPE:
                continue
            alone[group] = False
        factor = phase_factor(uvw, antenna1, antenna2, time, frequency, lmn[:, group],
                              apparent[:, group])[0].conj()
        vis += factor * _envelope(uvw, frequency, shapes[0, i], mean,
                                  usable) if extended[group[0]] else factor
    _add_alone(uvw, frequency, components, lmn, apparent, axes, alone, np.flatnonzero(usable), vis)
    return vis


def _add_alone(uvw, frequency, components, lmn, apparent, axes, alone, rows, vis) -> None:
    """Add extended components one by one."""
    _add_clean_scales(uvw, frequency, components, lmn, apparent, axes, rows, vis)
    for kind in ("gaussian", "disc"):
        which = np.flatnonzero(alone & (components.shape == kind))
        # By width across, so that a visibility can stop at the first Gaussian that it resolves out.
        which = which[np.argsort(components.fwhm_minor[which], kind="stable")]
        if which.size == 0:
            continue
        chosen, flux, along = (np.ascontiguousarray(a[:, which]) for a in (lmn, apparent, axes))
        if kind == "disc":
            predict_kernels.add_discs(rows, uvw, chosen, along, frequency, flux, vis)
        else:
            width = np.maximum(components.fwhm_minor[which], 1e-30)
            limit = predict_kernels.LARGEST_EXPONENT / (TRANSFORM_SCALE * width) ** 2
            predict_kernels.add_gaussians(rows, uvw, chosen, along.astype(np.float32), limit,
                                          frequency, flux, vis)


def _add_clean_scales(uvw, frequency, components, lmn, apparent, axes, rows, vis) -> None:
    """Add scales of CLEAN, those of one size after the other.

    They share the pixels of their kernel.
    """
    scales = np.where((components.shape == "clean-scale") & (components.fwhm_major > 0),
                      components.fwhm_major, 0.0)
    for scale in np.unique(scales[scales > 0]):
        which = np.flatnonzero(scales == scale)
        pixels = scale / components.cell if components.cell else np.inf
        smooth = pixels > _SMOOTH_SCALE
        quadrant = np.zeros((0, 0)) if smooth else _quadrant(pixels)
        chosen, flux, along = (np.ascontiguousarray(a[:, which])
                               for a in (lmn, apparent, axes if smooth else axes / pixels))
        predict_kernels.add_clean_scales(rows, uvw, chosen, along, quadrant, frequency, flux, vis)


def _quadrant(scale: float) -> np.ndarray:
    """Kernel (1 − r²/α²)² of a scale of α pixels, sum 1, its quadrant (row, column) with what stands for all four."""
    offset = np.arange(max(int(np.ceil(scale)), 1))
    shape = np.clip(1 - (offset[:, None] ** 2 + offset[None, :] ** 2) / max(scale, 1.0) ** 2, 0,
                    None) ** 2
    times = np.where(offset > 0, 2.0, 1.0)
    shape *= times[:, None] * times[None, :]
    return np.asarray(shape / shape.sum())


def _axes(components: Components, ra0: float, dec0: float) -> np.ndarray:
    """Vectors (6, pos) that (u, v, w) in wavelengths is projected on, major axis first, in the scale of E's argument."""
    east, north = local_axes(components.ra, components.dec, ra0, dec0)
    is_scale = components.shape == "clean-scale"
    scale = np.select([components.shape == "disc", is_scale], [np.pi, 2.0 * np.pi], TRANSFORM_SCALE)
    angle = np.where(is_scale, 0.0, components.position_angle)  # along the pixels
    sin, cos = np.sin(angle), np.cos(angle)
    return np.concatenate([scale * components.fwhm_major * (sin * east + cos * north),
                           scale * components.fwhm_minor * (cos * east - sin * north)])


def _envelope(uvw: np.ndarray, frequency: np.ndarray, is_disc: float, axes: np.ndarray,
              usable: np.ndarray) -> np.ndarray:
    """E of one shape, (row, chan) float32; 1 where not usable."""
    known = np.where(usable[:, None], uvw, 0.0)
    t = np.outer((known @ axes[:3]) ** 2 + (known @ axes[3:]) ** 2,
                 (frequency / SPEED_OF_LIGHT) ** 2)
    if not is_disc:
        return np.exp(-t).astype(np.float32)
    from scipy.special import j1

    x = np.sqrt(t)
    return (2.0 * j1(x) / np.where(x > 0, x, 1.0) + (x == 0)).astype(np.float32)


def predict_image(uvw: np.ndarray, frequency: np.ndarray, image: np.ndarray,
                  geometry: ImageGeometry, ra0: float, dec0: float,
                  primary_beam: PrimaryBeam | None = None,
                  pointing: tuple[float, float] | None = None, threads: int = 1) -> np.ndarray:
    """Visibilities of an image in Jy/pixel, (row, chan) complex64, with the w term.

    Parameters
    ----------
    uvw : ndarray (row, 3)
        Metres. Rows that are not finite get 0.
    frequency : ndarray (chan,)
        Hz.
    image : ndarray (m, l)
        Jy/pixel, each a point source at the centre of its pixel; not finite pixels are taken as 0.
    geometry : ImageGeometry
        As `image_geometry` gives it.
    ra0, dec0 : float
        Phase centre of uvw, J2000, rad; it need not be the point that the image touches.
    primary_beam, pointing
        As in `predict`; costs one transform a channel instead of one for all.
    threads : int

    Raises
    ------
    ImageError
        The image is not (m, l), or reaches beyond the horizon.
    """
    image = np.asarray(image, np.float64)
    if image.ndim != 2:
        raise ImageError(f"an image of shape {image.shape}; wanted are two axes (m, l): take one "
                         "plane")
    uvw = np.asarray(uvw, np.float64)
    frequency = np.asarray(frequency, np.float64)
    vis = np.zeros((uvw.shape[0], frequency.size), np.complex64)
    rows = np.flatnonzero(np.isfinite(uvw).all(axis=1))
    image = np.where(np.isfinite(image), image, 0.0)
    if rows.size == 0 or frequency.size == 0 or not image.any():
        return vis
    l = geometry.centre_l + (np.arange(image.shape[1]) - image.shape[1] // 2) * geometry.cell_l
    m = geometry.centre_m + (np.arange(image.shape[0]) - image.shape[0] // 2) * geometry.cell_m
    if np.abs(l).max() ** 2 + np.abs(m).max() ** 2 >= 1.0:
        raise ImageError("an image whose corners lie beyond the horizon; cut it to the part that "
                         "holds the sky")
    # In the frame of the image (u, v, w) turns, and the phase centre is where the phase is 0.
    turned = uvw[rows] @ rotation_between(ra0, dec0, geometry.ra, geometry.dec).T
    path = turned @ np.stack(direction_cosines(ra0, dec0, geometry.ra, geometry.dec))
    for chans in [slice(None)] if primary_beam is None else [slice(i, i + 1)
                                                             for i in range(frequency.size)]:
        seen = image
        if primary_beam is not None:
            seen = image * _beam_of_pixels(l, m, geometry, primary_beam, pointing or (ra0, dec0),
                                           frequency[chans])
        part = _degrid(turned, frequency[chans], seen, geometry, threads)
        turns = np.outer(path, frequency[chans] / SPEED_OF_LIGHT)
        vis[rows, chans] = part * np.exp(-2j * np.pi * (turns - np.round(turns)))
    return vis


def _degrid(uvw, frequency, image, geometry: ImageGeometry, threads: int) -> np.ndarray:
    """Σ I exp(+2πi ν/c (ul + vm + w(n−1))) from the point that the image touches, (row, chan) complex128."""
    # ducc0 wants even sizes of some length and rising frequencies; it has x = −l on its first axis
    # and y = m with v turned round, as in `uvstack.uv.dirty`. Not by its flip_v: that mirrors
    # center_y as well (measured). Padding at the end moves the pixel that ducc0 counts from by half
    # of it.
    pad = [(0, size % 2 if size > 32 else 34 - size) for size in image.shape]
    padded = np.pad(image, pad)
    x0 = -(geometry.centre_l + (padded.shape[1] // 2 - image.shape[1] // 2) * geometry.cell_l)
    y0 = geometry.centre_m + (padded.shape[0] // 2 - image.shape[0] // 2) * geometry.cell_m
    step_x, step_y = -geometry.cell_l, geometry.cell_m
    if step_x < 0:
        padded, x0, step_x = padded[:, ::-1], x0 - step_x, -step_x
    if step_y < 0:
        padded, y0, step_y = padded[::-1], y0 - step_y, -step_y
    order = np.argsort(frequency)
    vis = dirty2vis(uvw=uvw * [1.0, -1.0, 1.0], freq=np.ascontiguousarray(frequency[order]),
                    dirty=np.ascontiguousarray(padded.T), pixsize_x=step_x, pixsize_y=step_y,
                    center_x=x0, center_y=y0, epsilon=1e-7, do_wgridding=True, nthreads=threads,
                    divide_by_n=False)
    out = np.empty_like(vis)
    out[:, order] = vis
    return out


def _beam_of_pixels(l, m, geometry, primary_beam, pointing, frequency) -> np.ndarray:
    """A of every pixel at one frequency, (m, l)."""
    east, north = (a.ravel() for a in np.meshgrid(l, m))
    if pointing != (geometry.ra, geometry.dec):
        n_minus_1 = -(east**2 + north**2) / (1.0 + np.sqrt(1.0 - east**2 - north**2))
        # Unit vectors turn as (u, v, w) do.
        turn = rotation_between(geometry.ra, geometry.dec, *pointing)
        east, north, n = turn @ np.stack([east, north, n_minus_1 + 1.0])
        east = np.where(n > 0, east, 2.0)
    return primary_beam(east, north, frequency)[:, 0].reshape(m.size, l.size)
