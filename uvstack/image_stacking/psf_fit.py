"""PSF fitting: flux and size of a source in an image that was not deconvolved (Lindroos et al. 2015, section 3.4).

The model is a Gaussian convolved with the dirty beam, plus a constant level that takes up residuals
of bright sources: S (G ∗ psf)(x − x₀) + c. The convolution is a product in Fourier space, where the
Gaussian is written down exactly, exp(−2π² uᵀ V u), with V the matrix of second moments of the
source (σ², not FWHM). The fit is one of ordinary least squares in S, c, V and, if asked, x₀: in V
the model is smooth through zero and beyond, so that noise may push the moments of a point source
below zero, errors near zero keep their meaning, and an ellipse has no angle that is undefined when
round.

Pixels of an image share their noise. Its autocorrelation is that of the psf where visibilities are
weighted with their inverse variances (the power spectrum of the noise is then the psf's transform),
and it follows the psf through stacking. With C that covariance and J the slopes, the errors are the
sandwich (JᵀJ)⁻¹ Jᵀ C J (JᵀJ)⁻¹, C J being a convolution; errors that take pixels as independent are
too small by about the square root of the pixels in a beam. The noise itself comes from the
residuals, N − tr(JᵀJ)⁻¹JᵀρJ being their degrees of freedom, unless it is given.

Cost: a few transforms of (psf + stamp)² pixels a step, 20 ms a fit of 64 pixels. Limits: the psf
has to reach twice as far as the stamp to be exact at its edges (it is taken as 0 beyond); other
image weights than natural ones give another autocorrelation, which the caller may pass.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from scipy.optimize import least_squares
from scipy.special import ndtr, ndtri

from uvstack.checks import finite_number
from uvstack.errors import FitError
from uvstack.records import plain
from uvstack.sky.beam import FOUR_LN2

SHAPES = ("circular", "elliptical", "point")
#: FWHM² = 8 ln 2 σ².
_FWHM2 = 2.0 * FOUR_LN2
#: Moments this many of their errors above zero count as resolved; else an upper limit of 95 % is
#: given.
_RESOLVED = 2.0
_LIMIT = 0.95


#: What keys of JSON end with, and of which numbers.
_UNITS = {"_jy": ("flux", "flux_error", "point_flux", "point_flux_error"),
          "_jy_per_beam": ("constant", "constant_error", "noise"),
          "_rad": ("fwhm_major", "fwhm_minor", "position_angle", "fwhm_major_error",
                   "fwhm_minor_error", "position_angle_error", "fwhm_major_limit", "l", "m",
                   "l_error", "m_error"), "_rad2": ("moments",), "_rad4": ("moments_covariance",)}


@dataclass(frozen=True)
class PsfFit:
    """A fit of flux and size.

    Attributes
    ----------
    shape : {"point", "circular", "elliptical"}
    flux, flux_error : float
        Jy, of the whole source.
    point_flux, point_flux_error : float
        Jy, of a source of no size, fitted by itself: the better number where the size is
        unresolved.
    constant, constant_error : float
        Level, Jy/beam; 0 where it was not fitted.
    moments : ndarray
        σ² of the circle (1,), or V_mm, V_ml, V_ll of the ellipse with m north and l east (3,),
        rad²; may be negative.
    moments_covariance : ndarray
    fwhm_major, fwhm_minor, position_angle : float
        Deconvolved, rad; 0 where not positive; the angle from north through east.
    fwhm_major_error, fwhm_minor_error, position_angle_error : float
        NaN where unresolved.
    fwhm_major_limit : float
        Upper limit of 95 % of the (major) FWHM, rad.
    resolved : bool
        Whether the (larger) moment is at least two of its errors.
    l, m, l_error, m_error : float
        Offset east and north of the centre, rad; 0 where not fitted.
    noise : float
        Standard deviation of a pixel, Jy/beam, given or from the residuals.
    model, residual : ndarray (m, l)
        Jy/beam.
    n_pixels : int
        That were fitted.
    stop_reason : str
    """

    shape: str
    flux: float
    flux_error: float
    point_flux: float
    point_flux_error: float
    constant: float
    constant_error: float
    moments: np.ndarray
    moments_covariance: np.ndarray
    fwhm_major: float
    fwhm_minor: float
    position_angle: float
    fwhm_major_error: float
    fwhm_minor_error: float
    position_angle_error: float
    fwhm_major_limit: float
    resolved: bool
    l: float
    m: float
    l_error: float
    m_error: float
    noise: float
    model: np.ndarray
    residual: np.ndarray
    n_pixels: int
    stop_reason: str

    def summary(self) -> dict[str, Any]:
        """All but the images, as JSON can hold it: Jy and rad."""
        return plain({name
                      + next((end for end, names in _UNITS.items() if name in names), ""): value
                      for name, value in vars(self).items() if name not in ("model", "residual")})


def fit_psf(stamp: np.ndarray, psf: np.ndarray, cell: float, *, shape: str = "circular",
            fit_constant: bool = True, fit_position: bool = False, noise: float | None = None,
            correlation: np.ndarray | None = None, radius: float | None = None) -> PsfFit:
    """Flux and deconvolved size of the source at the centre of a stamp.

    Parameters
    ----------
    stamp : ndarray (m, l)
        Jy/beam, the centre at pixel (m // 2, l // 2); NaN is left out.
    psf : ndarray (m', l')
        Response to a point source of 1 Jy, its centre at (m' // 2, l' // 2); twice the stamp's size
        to be exact.
    cell : float
        Pixel, rad.
    shape : {"circular", "elliptical", "point"}
    fit_constant, fit_position : bool
        Whether a level, and the place of the source, are free. The paper fits the level and not the
        place.
    noise : float, optional
        Standard deviation of a pixel, Jy/beam; default from the residuals.
    correlation : ndarray (m', l'), optional
        Autocorrelation of the noise, in the layout of the psf, 1 at its centre; default the psf.
    radius : float, optional
        Pixels of the circle that is fitted; default the whole stamp, which is best: within a FWHM
        of the beam the level can no longer be told from the size, errors triple and become too
        small by a fifth.

    Returns
    -------
    PsfFit

    Raises
    ------
    FitError
        The shape is unknown (the nearest is named), an array is no image, or there are too few
        pixels.
    SelectionError
        The radius is no number of pixels.
    """
    check_shape(shape)
    if radius is not None:
        finite_number("radius", radius, 1, unit="pixels")
    problem = _Problem(*_checked(stamp, psf, correlation), cell, shape, fit_constant, fit_position,
                       radius)
    start = problem.start()
    if start.size:
        bounds = problem.bounds()
        found = least_squares(lambda p: problem.residual(p), np.clip(start, *bounds),
                              lambda p: problem.slopes(p), bounds=bounds, x_scale=problem.scale,
                              method="trf", ftol=1e-10, xtol=1e-8, gtol=1e-10, max_nfev=200)
        solution, reason = found.x, str(found.message).strip()
    else:
        solution, reason = start, "linear"
    parameters, covariance, sigma, model = problem.solved(solution, noise)
    point = problem if shape == "point" else _Problem(problem.stamp, problem.psf,
                                                      problem.correlation, cell, "point",
                                                      fit_constant, False, radius)
    # A noise found with the size in the model stands for the point too.
    point_values, point_covariance, _, _ = point.solved(np.zeros(0), sigma)
    return _result(problem, parameters, covariance, sigma, model,
                   (point_values[0], point_covariance[0, 0]), reason)


def check_shape(shape: str) -> None:
    """Raise FitError, naming the nearest, where a shape is unknown."""
    if shape not in SHAPES:
        close = difflib.get_close_matches(str(shape), SHAPES, n=1, cutoff=0.3)
        raise FitError(f"shape={shape!r} is unknown; wanted {', '.join(SHAPES)}"
                       + (f"; did you mean {close[0]}?" if close else ""))


def describe(fitted: PsfFit, unit: str, size: float) -> list[tuple[str, str]]:
    """Name and text of the numbers of a fit, fluxes in a unit of `size` Jy, angles in arcsec."""
    arcsec = np.pi / 180 / 3600
    rows = [("flux", f"{fitted.flux / size:.4g} ± {fitted.flux_error / size:.2g} {unit}")]
    if fitted.shape != "point":
        if fitted.resolved:
            rows.append(("FWHM",
                         f"{fitted.fwhm_major / arcsec:.3g} ± "
                         f"{fitted.fwhm_major_error / arcsec:.2g}″ deconvolved"))
        else:
            rows.append(("FWHM",
                         f"below {fitted.fwhm_major_limit / arcsec:.3g}″ (95 %), unresolved"))
        if fitted.shape == "elliptical" and fitted.resolved:
            rows.append(("minor FWHM", f"{fitted.fwhm_minor / arcsec:.3g} ± {fitted.fwhm_minor_error / arcsec:.2g}″, position angle "
                                       f"{np.rad2deg(fitted.position_angle):.3g} ± {np.rad2deg(fitted.position_angle_error):.2g}°"))
        rows.append(("as a point",
                     f"{fitted.point_flux / size:.4g} ± {fitted.point_flux_error / size:.2g} "
                     f"{unit}"))
    rows.append(("level",
                 f"{fitted.constant / size:.3g} ± {fitted.constant_error / size:.2g} {unit}/beam"))
    rows.append(("noise",
                 f"{fitted.noise / size:.3g} {unit}/beam a pixel, {fitted.n_pixels} pixels; "
                 f"stopped: {fitted.stop_reason}"))
    return rows


def _checked(stamp: np.ndarray, psf: np.ndarray,
             correlation: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    arrays = [np.asarray(a, np.float64)
              for a in (stamp, psf, psf if correlation is None else correlation)]
    for name, array in zip(("stamp", "psf", "correlation"), arrays, strict=True):
        if array.ndim != 2 or min(array.shape) < 8:
            raise FitError(f"the {name} has the shape {array.shape}; wanted is an image of at "
                           "least 8 × 8 pixels")
    if arrays[1].shape != arrays[2].shape:
        raise FitError(f"the psf has the shape {arrays[1].shape} and the correlation "
                       f"{arrays[2].shape}; wanted is one grid")
    if not (np.isfinite(arrays[1]).all() and np.isfinite(arrays[2]).all()):
        raise FitError("the psf or the correlation holds NaN; set what is not known to 0")
    middle = tuple(n // 2 for n in arrays[1].shape)
    if not (arrays[1][middle] > 0 and arrays[2][middle] > 0):
        raise FitError(f"the psf is {arrays[1][middle]:.3g} at its centre, pixel {middle}; wanted "
                       "is a psf with its peak there")
    return arrays[0], arrays[1], arrays[2] / arrays[2][middle]


class _Problem:
    """Model, slopes and noise of one fit.

    Parameters: moments in pixels², then m and l in pixels; S and c are solved for.
    """

    def __init__(self, stamp: np.ndarray, psf: np.ndarray, correlation: np.ndarray, cell: float,
                 shape: str, fit_constant: bool, fit_position: bool, radius: float | None) -> None:
        self.stamp, self.psf, self.shape, self.correlation, self.cell = stamp, psf, shape, correlation, cell
        self.fit_constant, self.fit_position = fit_constant, fit_position
        self.n_moments = {"point": 0, "circular": 1, "elliptical": 3}[shape]
        m, l = (np.arange(n) - n // 2 for n in stamp.shape)
        inside = np.ones(stamp.shape, np.bool_) if radius is None else np.hypot(
            m[:, None], l[None, :]) <= radius
        self.used = inside & np.isfinite(stamp)
        n_free = 1 + fit_constant + self.n_moments + 2 * fit_position
        if self.used.sum() <= n_free + 4:
            raise FitError(f"{int(self.used.sum())} pixels are there to fit {n_free} parameters; "
                           "give a larger stamp or radius, or look at its blanks")
        self.data = stamp[self.used]
        self._unit = float(self.data.std()) or 1.0
        self._last: tuple[np.ndarray, Any] | None = None
        size = [scipy.fft.next_fast_len(a + b, real=True)
                for a, b in zip(psf.shape, stamp.shape, strict=True)]
        self.size = (size[0], size[1])
        self.f_m = np.fft.fftfreq(size[0])[:, None]
        self.f_l = np.fft.rfftfreq(size[1])[None, :]
        self.transform = self._transform(psf)
        self.beam_variance = self._beam_variance()
        self.scale = np.concatenate([np.full(self.n_moments, self.beam_variance),
                                     np.ones(2 * fit_position)])

    def _transform(self, image: np.ndarray) -> np.ndarray:
        """Transform of an image whose centre goes to pixel (0, 0) of the larger grid."""
        padded = np.zeros(self.size)
        padded[:image.shape[0], :image.shape[1]] = image
        return scipy.fft.rfft2(np.roll(padded, [-(n // 2) for n in image.shape], axis=(0, 1)))

    def _beam_variance(self) -> float:
        """σ² of the main lobe in pixels², from the area above half of the peak."""
        peak = self.psf[tuple(n // 2 for n in self.psf.shape)]
        m, l = (np.arange(n) - n // 2 for n in self.psf.shape)
        near = np.hypot(m[:, None], l[None, :]) < min(self.psf.shape) / 4
        return max(float(((self.psf > 0.5 * peak) & near).sum()) / (2 * np.pi * np.log(2)), 0.3)

    def start(self) -> np.ndarray:
        """Moments of half the beam's, no offset."""
        moments: list[float] = {0: [], 1: [0.5], 3: [0.5, 0.0, 0.5]}[self.n_moments]
        return np.array(moments + [0.0, 0.0] * self.fit_position) * self.scale

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Moments from minus half the beam's, where the model stays finite, to the stamp.

        Offsets within a quarter of the stamp.
        """
        low, high = -0.5 * self.beam_variance, float(max(self.stamp.shape)) ** 2
        lows = {0: [], 1: [low],
                3: [low, -high,
                    low]}[self.n_moments] + [-0.25 * n
                                             for n in self.stamp.shape] * self.fit_position
        highs = [high] * self.n_moments + [0.25 * n for n in self.stamp.shape] * self.fit_position
        return np.array(lows), np.array(highs)

    def _pixels(self, transform: np.ndarray) -> np.ndarray:
        """The pixels that are fitted, of an image whose centre is at pixel (0, 0)."""
        image = scipy.fft.irfft2(transform, s=self.size)
        return self._cut(image)[self.used]

    def _cut(self, image: np.ndarray) -> np.ndarray:
        n_m, n_l = self.stamp.shape
        return np.roll(image, (n_m // 2, n_l // 2), axis=(0, 1))[:n_m, :n_l]

    def _source(self, p: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Transform of the source of 1 Jy in the dirty image, and the factors that turn it into its slopes."""
        f_m, f_l = self.f_m, self.f_l
        squares = {0: [], 1: [f_m**2 + f_l**2],
                   3: [f_m**2 + 0 * f_l, 2 * f_m * f_l, f_l**2 + 0 * f_m]}[self.n_moments]
        exponent = np.zeros(self.transform.shape)
        for value, square in zip(p[:self.n_moments], squares, strict=True):
            exponent -= 2 * np.pi**2 * value * square
        # Beyond the bounds of a circle an ellipse may grow without limit at high frequencies; the
        # psf has nothing there.
        source = self.transform * np.exp(np.minimum(exponent, 20.0))
        factors: list[np.ndarray] = [-2 * np.pi**2 * square for square in squares]
        if self.fit_position:
            source = source * np.exp(-2j * np.pi * (f_m * p[-2] + f_l * p[-1]))
            factors += [-2j * np.pi * f_m, -2j * np.pi * f_l]
        return source, factors

    def _linear(self, p: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
        """`_source`, the columns (pix, 1 or 2) of the linear parameters, and their best values.

        Kept for the next call.
        """
        if self._last is None or not np.array_equal(self._last[0], p):
            source, factors = self._source(p)
            shape = self._pixels(source)
            columns = np.stack([shape, np.ones_like(shape)],
                               axis=1) if self.fit_constant else shape[:, None]
            values = np.linalg.lstsq(columns, self.data, rcond=None)[0]
            self._last = (p.copy(), (source, factors, columns, values))
        return self._last[1]

    def residual(self, p: np.ndarray) -> np.ndarray:
        """Model less data with the best S and c, (pix,), in units of the data's scatter."""
        _, _, columns, values = self._linear(p)
        return (columns @ values - self.data) / self._unit

    def slopes(self, p: np.ndarray) -> np.ndarray:
        """Slopes of `residual` (pix, free) after Kaufman (1975).

        Those at fixed S and c, projected off their columns.
        """
        source, factors, columns, values = self._linear(p)
        slopes = values[0] * np.stack([self._pixels(source * factor) for factor in factors], axis=1)
        q = np.linalg.qr(columns)[0]
        return (slopes - q @ (q.T @ slopes)) / self._unit

    def solved(self, p: np.ndarray, noise: float | None) -> tuple[np.ndarray, np.ndarray, float,
                                                                  np.ndarray]:
        """All parameters S, (c,) moments, offsets; their covariance; noise of a pixel.

        Model (m, l).
        """
        source, factors, columns, values = self._linear(p)
        jacobian = np.concatenate([columns,
                                   *(values[0] * self._pixels(source * f)[:, None]
                                     for f in factors)], axis=1)
        # Columns of norm 1: slopes of the size go with the flux in Jy, and those of µJy would be
        # taken for rounding.
        norm = np.sqrt((jacobian**2).sum(axis=0))
        norm[norm == 0] = 1.0
        scaled = jacobian / norm
        inverse = np.linalg.pinv(scaled.T @ scaled, rcond=1e-14,
                                 hermitian=True) / np.outer(norm, norm)
        spread = self._correlated(jacobian)
        middle = jacobian.T @ spread
        if noise is None:
            left = self.data - columns @ values
            degrees = max(self.data.size - float(np.trace(inverse @ middle)), 1.0)
            noise = float(np.sqrt(left @ left / degrees))
        covariance = noise**2 * inverse @ (0.5 * (middle + middle.T)) @ inverse
        model = values[0] * self._cut(scipy.fft.irfft2(source, s=self.size)) + (
            values[1] if self.fit_constant else 0.0)
        return np.concatenate([values, p]), covariance, noise, model

    def _correlated(self, jacobian: np.ndarray) -> np.ndarray:
        """ρ J: every column convolved with the autocorrelation of the noise, (pix, parameter)."""
        transform = self._transform(self.correlation)
        out = np.empty_like(jacobian)
        for i in range(jacobian.shape[1]):
            image = np.zeros(self.size)
            image[:self.stamp.shape[0], :self.stamp.shape[1]][self.used] = jacobian[:, i]
            convolved = scipy.fft.irfft2(scipy.fft.rfft2(image) * transform, s=self.size)
            out[:, i] = convolved[:self.stamp.shape[0], :self.stamp.shape[1]][self.used]
        return out


def _result(problem: _Problem, values: np.ndarray, covariance: np.ndarray, sigma: float,
            model: np.ndarray, point: tuple[float, float], reason: str) -> PsfFit:
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    first, n = 1 + problem.fit_constant, problem.n_moments
    cell2 = problem.cell**2
    moments, moments_covariance = values[first:first + n] * cell2, covariance[
        first:first + n, first:first + n] * cell2**2
    if problem.shape == "elliptical":
        # V_ml has l to the west, as pixels run; turned to the east.
        flip = np.array([1.0, -1.0, 1.0])
        moments, moments_covariance = moments * flip, moments_covariance * flip[:, None] * flip[None, :]
    size = _size(moments, moments_covariance)
    offset = values[-2:] * problem.cell if problem.fit_position else np.zeros(2)
    offset_error = errors[-2:] * problem.cell if problem.fit_position else np.zeros(2)
    return PsfFit(shape=problem.shape, flux=float(values[0]), flux_error=float(errors[0]),
                  point_flux=float(point[0]), point_flux_error=float(np.sqrt(max(point[1], 0.0))),
                  constant=float(values[1]) if problem.fit_constant else 0.0,
                  constant_error=float(errors[1]) if problem.fit_constant else 0.0, moments=moments,
                  moments_covariance=moments_covariance, **size, l=-float(offset[1]),
                  m=float(offset[0]), l_error=float(offset_error[1]),
                  m_error=float(offset_error[0]), noise=sigma, model=model,
                  residual=problem.stamp - model, n_pixels=int(problem.used.sum()),
                  stop_reason=reason)


def _size(moments: np.ndarray, covariance: np.ndarray) -> dict[str, Any]:
    """FWHM of both axes, position angle, their errors, the upper limit and whether the source is resolved."""
    if moments.size == 0:
        names = ("fwhm_major", "fwhm_minor", "position_angle", "fwhm_major_limit")
        return dict.fromkeys(names, 0.0) | dict.fromkeys(("fwhm_major_error", "fwhm_minor_error",
                                                          "position_angle_error"),
                                                         float("nan")) | {"resolved": False}
    if moments.size == 1:
        major = minor = float(moments[0])
        major_variance = minor_variance = float(covariance[0, 0])
        angle, angle_variance = 0.0, float("nan")
    else:
        mm, ml, ll = moments
        middle, half = 0.5 * (mm + ll), max(float(np.hypot(0.5 * (mm - ll), ml)), 1e-300)
        angle = float(0.5 * np.arctan2(2 * ml, mm - ll) % np.pi)
        cos, sin = np.cos(2 * angle), np.sin(2 * angle)
        slopes = np.array([[0.5 * (1 + cos), sin, 0.5 * (1 - cos)],
                           [0.5 * (1 - cos), -sin, 0.5 * (1 + cos)],
                           [-0.25 * sin / half, 0.5 * cos / half, 0.25 * sin / half]])
        major_variance, minor_variance, angle_variance = np.einsum("ij,jk,ik->i", slopes,
                                                                   covariance, slopes)
        major, minor = float(middle + half), float(middle - half)
    error = float(np.sqrt(max(major_variance, 0.0)))
    resolved = bool(error > 0 and major >= _RESOLVED * error)
    fwhm = [float(np.sqrt(_FWHM2 * max(v, 0.0))) for v in (major, minor)]
    fwhm_error = [float(0.5 * _FWHM2 * np.sqrt(max(v, 0.0)) / f) if f > 0 and resolved
                  else float("nan")
                  for v, f in zip((major_variance, minor_variance), fwhm, strict=True)]
    return {"fwhm_major": fwhm[0], "fwhm_minor": fwhm[1], "position_angle": angle,
            "fwhm_major_error": fwhm_error[0], "fwhm_minor_error": fwhm_error[1],
            "position_angle_error": float(np.sqrt(angle_variance)) if resolved else float("nan"),
            "fwhm_major_limit": float(np.sqrt(_FWHM2 * _upper_limit(major, error))),
            "resolved": resolved}


def _upper_limit(value: float, error: float) -> float:
    """Limit of 95 % of a quantity that cannot be negative, measured with a Gaussian error.

    The tail cut at zero.
    """
    if not error > 0:
        return max(value, 0.0)
    # Written with the upper tail, which keeps its digits where the value lies far below zero.
    return value - error * float(ndtri((1 - _LIMIT) * ndtr(value / error)))
