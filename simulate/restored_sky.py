"""A sky seen with a Gaussian restoring beam, and noise with the scale of that beam: pixels of simulated images.

Every component is placed and convolved analytically: a point becomes the beam, a Gaussian a wider
one, a disc a one-dimensional integral of error functions by a quadrature that converges
exponentially. Each is evaluated where it exceeds 1e-6 of its peak, which leaves out 1e-6 of its
flux. As in `uvstack.uv.predict`, shapes lie on the plane of (l, m) that touches the image's centre,
where the beam is the same everywhere.

Noise is white noise convolved with the beam, so that its autocorrelation is that of the beam, a
Gaussian √2 wider than the beam itself. That is what a uniformly covered and tapered (u, v) plane
gives; under natural weights it would be the dirty beam. It is brought to unit variance in
expectation, not in the sample.

Cost on one core: 10 000 points and Gaussians in 3000² pixels take 0.4 s, the noise 1.3 s; a disc,
0.04 µs a pixel and σ of the beam in its radius.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from simulate.kernels import add_smoothed
from uvstack.checks import MOST_IMAGE_PIXELS
from uvstack.constants import ARCSEC
from uvstack.errors import ComponentError, ImageError
from uvstack.io.fits import sin_wcs
from uvstack.pixels.geometry import ImageGeometry
from uvstack.sky.beam import FWHM_OF_SIGMA, Beam, covariances
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines

#: A component is drawn where it exceeds exp(−_LIMIT/2) = 1e-6 of its peak.
_LIMIT = 2.0 * np.log(1e6)
#: Coarser, and pixels no longer sum to the flux.
_PIXELS_PER_BEAM = 2.0
#: A disc thinner than this many standard deviations of the beam is drawn with this half width: off
#: by 1e-7.
_THINNEST = 1e-3


def restored_image(sky: Components, flux: NDArray[np.float64], geometry: ImageGeometry,
                   shape: tuple[int, int], beam: Beam,
                   offset: tuple[float, float] = (0.0, 0.0)) -> tuple[NDArray[np.float64],
                                                                       NDArray[np.float64],
                                                                       NDArray[np.float64],
                                                                       NDArray[np.bool_]]:
    """Image (m, l) of components convolved with a beam, Jy/beam; their pixels x and y; which of them reach the image.

    Parameters
    ----------
    sky : Components
    flux : float64 array (pos,)
        Integrated, Jy; that of `sky` is not used.
    geometry : ImageGeometry
        Its cells are -cell and +cell.
    shape : (int, int)
        Pixels (m, l).
    beam : Beam
    offset : (float, float)
        Added to l and m, rad.

    Notes
    -----
    A component 90° or more from the centre has x and y NaN.
    """
    out = np.zeros(shape)
    l, m, n_minus_1 = direction_cosines(sky.ra, sky.dec, geometry.ra, geometry.dec)
    cell = geometry.cell_m
    x = shape[1] // 2 - (l + offset[0] - geometry.centre_l) / cell
    y = shape[0] // 2 + (m + offset[1] - geometry.centre_m) / cell
    behind = n_minus_1 <= -1.0
    x[behind], y[behind] = np.nan, np.nan
    amplitude, to_units, semi_axes, nodes, reach = _smoothed_shapes(sky, flux, beam, cell)
    seen = (x + reach[:, 0] >= 0) & (x - reach[:, 0] <= shape[1] - 1) & (y + reach[:, 1] >= 0) & (
        y - reach[:, 1] <= shape[0] - 1)
    add_smoothed(*(np.ascontiguousarray(a[seen])
                   for a in (x, y, amplitude, to_units, semi_axes, nodes, reach)), _LIMIT, out)
    return out, x, y, seen


def _smoothed_shapes(sky: Components, flux: NDArray, beam: Beam,
                     cell: float) -> tuple[NDArray, ...]:
    """What `add_smoothed` wants to know of each component besides its place."""
    beam_covariance = _beam_covariance(beam, cell)
    if (sky.shape == "clean-scale").any():
        raise ComponentError("scales of CLEAN have no smoothed form here; give points, Gaussians "
                             "and discs, or the model image")
    is_disc = sky.shape == "disc"
    size = np.where(is_disc, 0.0, 1.0)
    covariance = beam_covariance + _covariance(size * sky.fwhm_major, size * sky.fwhm_minor,
                                               sky.position_angle, cell)
    amplitude = np.where(is_disc, flux,
                         flux * np.sqrt(np.linalg.det(beam_covariance) / np.linalg.det(covariance)))
    to_units = np.linalg.inv(np.linalg.cholesky(covariance))
    # Vectors (pixels) along both semi-axes of a disc, then as seen in units of the beam.
    edges = 0.5 / cell * np.stack([sky.fwhm_major, sky.fwhm_minor],
                                  axis=1)[:, None, :] * _axes(sky.position_angle)
    edges = np.where(is_disc[:, None, None], edges, 0.0)
    turn, semi_axes, _ = np.linalg.svd(to_units @ edges)
    semi_axes = np.maximum(semi_axes, _THINNEST)
    # Steps of the quadrature against a 6 σ wide spectrum of the Gaussian; measured in
    # tests/simulation/test_epoch_images.py.
    nodes = np.where(is_disc, np.ceil(16.0 + 4.0 * semi_axes[:, 0]), 0.0).astype(np.int64)
    to_units = np.where(is_disc[:, None, None], np.swapaxes(turn, 1, 2) @ to_units, to_units)
    reach = np.sqrt((edges**2).sum(axis=2)) + np.sqrt(_LIMIT
                                                      * np.diagonal(covariance, axis1=1, axis2=2))
    return amplitude, to_units, semi_axes, nodes, reach


def _axes(position_angle: NDArray) -> NDArray[np.float64]:
    """Unit vectors (pixels x, y) of the major and the minor axis as columns, (pos, 2, 2); x runs to the west."""
    sin, cos = np.sin(position_angle), np.cos(position_angle)
    return np.stack([np.stack([-sin, cos], axis=-1), np.stack([cos, sin], axis=-1)], axis=-1)


def _covariance(major: NDArray, minor: NDArray, position_angle: NDArray,
                cell: float) -> NDArray[np.float64]:
    """Covariance (…, 2, 2) of Gaussians of that FWHM, in pixels x and y."""
    to_the_west = np.array([[1.0, -1.0], [-1.0, 1.0]])
    return covariances(major, minor, position_angle) * to_the_west / (FWHM_OF_SIGMA * cell) ** 2


def _beam_covariance(beam: Beam, cell: float) -> NDArray[np.float64]:
    major, minor, angle = (np.array(value) for value in beam)
    return _covariance(major, minor, angle, cell)


def correlated_noise(shape: tuple[int, int], beam: Beam, cell: float,
                     rng: np.random.Generator) -> NDArray[np.float64]:
    """White noise convolved with a beam, of variance 1 in expectation, (m, l).

    Parameters
    ----------
    shape : (int, int)
    beam : Beam
        At least two pixels wide.
    cell : float
        Pixel, rad.
    rng : Generator

    Notes
    -----
    The transform is periodic; the image is cut out of a larger one, so that opposite edges are
    independent.
    """
    import scipy.fft

    covariance = _beam_covariance(beam, cell)
    # Noise is correlated √2 times as far as the beam reaches.
    reach = np.ceil(np.sqrt(2.0 * _LIMIT * np.diagonal(covariance)))[::-1].astype(int)
    padded = [scipy.fft.next_fast_len(int(n + more), True)
              for n, more in zip(shape, reach, strict=True)]
    v, u = np.meshgrid(2 * np.pi * scipy.fft.fftfreq(padded[0]),
                       2 * np.pi * scipy.fft.rfftfreq(padded[1]), indexing="ij")
    transfer = np.exp(-0.5
                      * (covariance[0, 0] * u * u + 2 * covariance[0, 1] * u * v
                         + covariance[1, 1] * v * v))
    # Of the real transform's columns all but u = 0 and the highest stand for two.
    share = np.full(u.shape[1], 2.0)
    share[[0] if padded[1] % 2 else [0, -1]] = 1.0
    variance = float((share * (transfer**2).sum(axis=0)).sum()) / (padded[0] * padded[1])
    spectrum = scipy.fft.rfft2(rng.standard_normal(padded))
    spectrum *= transfer / np.sqrt(variance)
    return scipy.fft.irfft2(spectrum, padded)[: shape[0], : shape[1]]


def image_grid(centre: tuple[float, float], size: int | tuple[int, int],
               cell: float) -> tuple[tuple[int, int], ImageGeometry]:
    """Shape (m, l) and geometry of an image around a direction (rad); checks."""
    wanted = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    require(len(wanted) == 2 and all(int(n) == n and 1 <= n <= MOST_IMAGE_PIXELS for n in wanted),
            f"size is {size}; wanted are one or two numbers of pixels, from 1 to "
            f"{MOST_IMAGE_PIXELS}")
    require(bool(np.isfinite(cell)) and cell > 0,
            f"cell is {cell}; it must be a positive angle in rad")
    require(bool(np.isfinite(centre).all()) and abs(centre[1]) <= np.pi / 2,
            f"centre is {centre}; wanted are ra and dec in rad")
    return (int(wanted[0]), int(wanted[1])), ImageGeometry(float(centre[0]), float(centre[1]),
                                                           -float(cell), float(cell))


def wcs_of(geometry: ImageGeometry, shape: tuple[int, ...]) -> WCS:
    """Celestial WCS of a geometry with square pixels."""
    return sin_wcs(geometry.ra, geometry.dec, (shape[-2], shape[-1]), geometry.cell_m,
                   (geometry.centre_l, geometry.centre_m))


def grid_summary(geometry: ImageGeometry, shape: tuple[int, ...]) -> dict[str, Any]:
    """Shape, centre and pixel for a summary, under the names that it has of every image."""
    return {"shape": list(shape), "ra_rad": geometry.ra, "dec_rad": geometry.dec,
            "cell_rad": geometry.cell_m}


def beam_text(beam: Beam) -> str:
    """Axes and angle of a beam."""
    return (f"{beam.fwhm_major / ARCSEC:.4g}″ × {beam.fwhm_minor / ARCSEC:.4g}″, "
            f"{np.rad2deg(beam.position_angle):.4g}°")


def checked_beam(beam: Beam | Sequence[float], cell: float, what: str = "the beam") -> Beam:
    """The beam, if its axes are in order and two pixels wide or more."""
    parts = tuple(float(value) for value in beam)
    require(len(parts) in (2, 3) and bool(np.isfinite(parts).all()) and parts[0] >= parts[1] > 0,
            f"{what} is {parts}; wanted are fwhm_major, fwhm_minor (positive, not the larger) and "
            "position_angle, in rad")
    minor, pixel = parts[1] / ARCSEC, cell / ARCSEC
    require(minor >= _PIXELS_PER_BEAM * pixel * (1 - 1e-9),
            f"{what} has a minor axis of {minor:.4g} arcsec, {minor / pixel:.2f} pixels of {pixel:.4g} arcsec; wanted are"
            f" {_PIXELS_PER_BEAM:g} pixels or more: take a cell of {minor / _PIXELS_PER_BEAM:.4g} arcsec or less")
    return Beam(*parts)


def require(holds: bool, message: str) -> None:
    """Raise ImageError with the message unless a condition holds."""
    if not holds:
        raise ImageError(message)
