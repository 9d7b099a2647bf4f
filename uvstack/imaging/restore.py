"""From a model and a residual to maps: the restoring beam, the restored image, spectral indices, the component table.

The restoring beam is the elliptical Gaussian of peak 1, centred on the peak of the psf, that is nearest to the main lobe in
the least-squares sense (Högbom 1974 and all imagers since). The model, in Jy/pixel, is convolved with it by a transform of
the *sampled* Gaussian on a padded grid: that is the plain sum over pixels to rounding, so that a component of S Jy peaks at
S Jy/beam whatever the pixel size and nothing wraps round the edges. The residual, in Jy per dirty beam, is added as it is;
where the deconvolution was shallow the two units differ and a flux summed over a source mixes them (Jorsater & van Moorsel
1995).

With Taylor terms the residual of term t is Σ w x^t r, x = (ν − ν0)/ν0, and is no image of the coefficient t. The principal
solution of Rau & Cornwell (2011) turns it into one: the inverse of the matrix of the psfs' centres. Only then may it be
added to the model and its noise be used for a spectral index.

Cost: two transforms of the padded image per term; about 1 s for 4000² on two cores. Limits: one beam for the whole image;
a beam below two pixels across is refused, because neither its fit nor the cleaning of such an image means much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import ImageError
from uvstack.uv.predict import ImageGeometry

#: exp(−_FOUR_LN2 r²/θ²) has the FWHM θ.
_FOUR_LN2 = 4.0 * np.log(2.0)
#: Least FWHM of a beam, pixels.
SMALLEST_BEAM = 2.0
#: The main lobe is fitted down to this level of the peak, as CASA's `psfcutoff` has it.
LOBE_CUTOFF = 0.35
#: A fit of three numbers wants at least this many pixels; a small lobe is taken with its surroundings.
_FEWEST_PIXELS = 12
#: The Gaussian is followed to this many FWHM, where it is 1e-12.
_KERNEL_REACH = 3.16


class Beam(NamedTuple):
    """An elliptical Gaussian: FWHM along its axes and position angle from north through east; rad (or pixels: see `cell`)."""

    fwhm_major: float
    fwhm_minor: float
    position_angle: float

    def area(self, cell: float | tuple[float, float] = 1.0) -> float:
        """Integral of the Gaussian of peak 1 in pixels of that size: Jy/beam over this are Jy/pixel."""
        cell_m, cell_l = _cells(cell)
        return float(np.pi / _FOUR_LN2 * self.fwhm_major * self.fwhm_minor / (cell_m * cell_l))


def _cells(cell: float | tuple[float, float]) -> tuple[float, float]:
    """Sizes of a pixel along m and l, both positive."""
    cell_m, cell_l = (cell, cell) if isinstance(cell, int | float | np.number) else cell
    if not (abs(cell_m) > 0 and abs(cell_l) > 0 and np.isfinite(cell_m) and np.isfinite(cell_l)):
        raise ImageError(f"pixels of {cell_m} by {cell_l}; wanted are two finite sizes that are not 0")
    return abs(float(cell_m)), abs(float(cell_l))


# -------------------------------------------------------------------------------------------------------------- the beam


def fit_beam(psf: NDArray, cell: float | tuple[float, float], cutoff: float = LOBE_CUTOFF) -> Beam:
    """Elliptical Gaussian fitted to the main lobe of a psf: FWHM along both axes, and position angle in [−π/2, π/2).

    Parameters
    ----------
    psf : ndarray (m, l)
        Any scale, l decreasing along the last axis; its peak is at pixel (rows // 2, columns // 2).
    cell : float or (float, float)
        Pixel size, rad, or the sizes along m and l, whose signs do not matter. With 1 the beam is in pixels.
    cutoff : float
        Part of the peak down to which the lobe is fitted, 0 … 1.

    Returns
    -------
    Beam

    Raises
    ------
    ImageError
        The psf is not an image with a positive peak in its centre, or the beam is less than 2 pixels across.

    Notes
    -----
    Fitted are the pixels above the cutoff that hang together with the peak, so that no sidelobe takes part; height and
    centre are those of the peak, which a psf has by construction. A lobe of fewer than 12 such pixels is taken with the
    positive pixels around it. Exact for a Gaussian; for the psf of a uniformly filled aperture, 2 J1(x)/x, the FWHM
    comes out within 0.4 % of that of the function itself.
    """
    from scipy.optimize import least_squares

    cell_m, cell_l = _cells(cell)
    rows, columns, value = _main_lobe(psf, cutoff)
    # In pixels, so that the numbers are near 1: north along m, east against the last axis.
    scale = np.sqrt(cell_m * cell_l)
    north, east = rows * cell_m / scale, -columns * cell_l / scale
    basis = np.stack([north**2, 2.0 * north * east, east**2])
    # ln psf is linear in the three numbers: a start, in which the faint pixels count less as their logarithms err more.
    start = np.linalg.lstsq(basis.T * value[:, None], -np.log(value) * value, rcond=None)[0]
    fit = least_squares(
        lambda p: np.exp(-p @ basis) - value, start, jac=lambda p: (-np.exp(-p @ basis) * basis).T, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    matrix = np.array([[fit.x[0], fit.x[1]], [fit.x[1], fit.x[2]]])
    curvature, axes = np.linalg.eigh(matrix)
    # Flat to rounding is flat: a lobe wider than the image is none.
    if not curvature[0] > _FOUR_LN2 / max(psf.shape) ** 2:
        raise ImageError(
            "the main lobe of the psf does not fall off in every direction, so no beam fits; look at the psf: the uv coverage"
            " may be a line, or the image too small for the beam")
    major, minor = np.sqrt(_FOUR_LN2 / curvature)
    angle = float(np.arctan2(axes[1, 0], axes[0, 0]))
    _refuse_small(major * scale / max(cell_m, cell_l), minor * scale / max(cell_m, cell_l))
    # A circle has no position angle: what rounding gives is not told on.
    angle = 0.0 if major - minor < 1e-9 * major else (angle + np.pi / 2) % np.pi - np.pi / 2
    return Beam(float(major * scale), float(minor * scale), angle)


def _refuse_small(major: float, minor: float) -> None:
    if minor < SMALLEST_BEAM:
        raise ImageError(
            f"the beam is {major:.2f} by {minor:.2f} pixels (FWHM); wanted are at least {SMALLEST_BEAM:g} across, better 4:"
            f" make the cell {3.0 / minor:.2g} times smaller or more")


def _main_lobe(psf: NDArray, cutoff: float) -> tuple[NDArray, NDArray, NDArray]:
    """Offsets in rows and columns of the main lobe's pixels from the peak, and their values over the peak's."""
    from scipy.ndimage import binary_dilation

    lobe, peak = half_power_lobe(psf, cutoff)
    while np.count_nonzero(lobe) < _FEWEST_PIXELS:
        wider = binary_dilation(lobe, np.ones((3, 3)), mask=psf > 0)
        if (wider == lobe).all():
            # A peak with nothing positive around it: the beam is a pixel or less.
            _refuse_small(1.0, 1.0)
        lobe = wider
    rows, columns = np.nonzero(lobe)
    return rows - psf.shape[0] // 2, columns - psf.shape[1] // 2, psf[lobe] / peak


def half_power_lobe(psf: NDArray, level: float = 0.5) -> tuple[NDArray[np.bool_], float]:
    """Pixels above that part of the central value that hang together with the centre, (m, l) bool, and that value.

    Raises
    ------
    ImageError
        The psf is not (m, l), or its centre is not its finite, positive peak.
    """
    from scipy.ndimage import label

    psf = np.asarray(psf)
    if psf.ndim != 2:
        raise ImageError(f"a psf of shape {psf.shape}; wanted are two axes (m, l): take the first term")
    row, column = psf.shape[0] // 2, psf.shape[1] // 2
    peak = float(psf[row, column]) if psf.size else float("nan")
    # A psf of few baselines has peaks that are alike but for the error of the gridder.
    if not (np.isfinite(psf).all() and peak > 0 and psf.max() <= peak * (1 + 1e-4)):
        where = tuple(int(i) for i in np.unravel_index(np.nanargmax(psf), psf.shape)) if np.isfinite(psf).any() else "nowhere"
        raise ImageError(
            f"the psf is {peak:g} in its centre ({row}, {column}) and has its peak at {where}; wanted is a finite image with"
            " its peak in the centre: was it cut, or made of no visibilities?")
    lobe = np.zeros(psf.shape, bool)
    half = 64
    while True:
        # A window grows until the lobe fits in: to label a whole psf of 8000² takes a second.
        window = (slice(max(0, row - half), row + half), slice(max(0, column - half), column + half))
        labels = label(psf[window] > level * peak, structure=np.ones((3, 3)))[0]
        found = labels == labels[min(row, half), min(column, half)]
        edges = found[0].any() or found[-1].any() or found[:, 0].any() or found[:, -1].any()
        if not edges or half >= max(psf.shape):
            lobe[window] = found
            return lobe, peak
        half *= 2


# ------------------------------------------------------------------------------------------------------- the restored image


def gaussian_kernel(beam: Beam | tuple[float, float, float], cell: float | tuple[float, float]) -> NDArray[np.float64]:
    """The Gaussian of peak 1 sampled on pixels, (m, l) of odd sides, l decreasing along the last axis, down to 1e-12."""
    cell_m, cell_l = _cells(cell)
    major, minor, angle = beam
    half = [int(np.ceil(_KERNEL_REACH * major / size)) for size in (cell_m, cell_l)]
    north = np.arange(-half[0], half[0] + 1)[:, None] * cell_m
    east = -np.arange(-half[1], half[1] + 1)[None, :] * cell_l
    along = north * np.cos(angle) + east * np.sin(angle)
    across = east * np.cos(angle) - north * np.sin(angle)
    return np.exp(-_FOUR_LN2 * ((along / major) ** 2 + (across / minor) ** 2))


def convolve_beam(image: NDArray, beam: Beam | tuple[float, float, float], cell: float | tuple[float, float],
                  threads: int = 1) -> NDArray[np.float64]:
    """Image in Jy/pixel convolved with a Gaussian of peak 1, in Jy/beam; nothing wraps round the edges.

    Parameters
    ----------
    image : ndarray (…, m, l)
        Not finite pixels count as 0.
    beam : Beam
        In the unit of `cell`.
    cell : float or (float, float)
        Pixel size, or the sizes along m and l.
    threads : int

    Returns
    -------
    ndarray (…, m, l) float64
        Its sum is that of the image times the sum of the sampled Gaussian, which is `Beam.area` to 1e-6 for beams of 2
        pixels and to rounding above 3.
    """
    from scipy import fft

    image = np.asarray(image, np.float64)
    kernel = gaussian_kernel(beam, cell)
    # Beyond the image's own width a kernel meets nothing.
    cut = [max(0, (k - 2 * n + 1) // 2) for k, n in zip(kernel.shape, image.shape[-2:], strict=True)]
    kernel = kernel[cut[0]: kernel.shape[0] - cut[0], cut[1]: kernel.shape[1] - cut[1]]
    half = [k // 2 for k in kernel.shape]
    size = [fft.next_fast_len(n + h, real=True) for n, h in zip(image.shape[-2:], half, strict=True)]
    wrapped = np.zeros(size)
    lines = [np.arange(-h, k - h) % n for h, k, n in zip(half, kernel.shape, size, strict=True)]
    np.add.at(wrapped, np.ix_(*lines), kernel)
    transform = fft.rfft2(wrapped, workers=threads)
    out = np.empty_like(image)
    for plane in np.ndindex(image.shape[:-2]):
        clean = np.where(np.isfinite(image[plane]), image[plane], 0.0)
        spectrum = fft.rfft2(clean, size, workers=threads)
        spectrum *= transform
        out[plane] = fft.irfft2(spectrum, size, workers=threads)[: image.shape[-2], : image.shape[-1]]
    return out


def restore(model: NDArray, residual: NDArray, beam: Beam | tuple[float, float, float], cell: float | tuple[float, float],
            psf: NDArray | None = None, threads: int = 1) -> NDArray[np.float64]:
    """Restored image, model ⋆ beam + residual, in Jy/beam, of the shape of the model.

    Parameters
    ----------
    model : ndarray (m, l) or (term, m, l)
        Jy/pixel.
    residual : ndarray, of the same shape
        Jy per dirty beam; blank pixels (NaN) stay blank.
    beam : Beam
        In the unit of `cell`.
    cell : float or (float, float)
        Pixel size, or the sizes along m and l.
    psf : ndarray (2·term − 1, m', l'), optional
        Needed for more than one term: the residual is then taken through `principal_solution`.
    threads : int

    Raises
    ------
    ImageError
        The shapes differ, or there are several terms and no psf.
    """
    model, residual = np.asarray(model), np.asarray(residual)
    if model.shape != residual.shape or model.ndim not in (2, 3):
        raise ImageError(f"a model of shape {model.shape} and a residual of {residual.shape}; wanted are equal (term, m, l)")
    if model.ndim == 3 and model.shape[0] > 1:
        if psf is None:
            raise ImageError(f"{model.shape[0]} Taylor terms and no psf; give the psf of {2 * model.shape[0] - 1} terms: without"
                             " it the residual is no image of the coefficients")
        residual = principal_solution(residual, psf)
    if not model.any():
        return np.array(residual, np.float64)
    return convolve_beam(model, beam, cell, threads) + residual


def principal_solution(residual: NDArray, psf: NDArray) -> NDArray[np.float64]:
    """Taylor coefficients that isolated points would have, (term, m, l), from residuals of Taylor-weighted visibilities.

    Parameters
    ----------
    residual : ndarray (term, m, l)
        Σ w x^t r over Σ w.
    psf : ndarray (2·term − 1, m', l')
        Of the weights w x^t, over the same Σ w.

    Raises
    ------
    ImageError
        The psf has too few terms, or their matrix cannot be inverted: the band is too narrow for so many terms.

    Notes
    -----
    Rau & Cornwell (2011), the Hessian of which only the centres of the psfs are kept: H_ij = psf_(i+j)(0), H c = residual.
    """
    residual = np.asarray(residual, np.float64)
    n = residual.shape[0]
    if len(psf) < 2 * n - 1:
        raise ImageError(f"a psf of {len(psf)} terms for {n} of the residual; wanted are {2 * n - 1}")
    centre = np.asarray(psf)[:, psf.shape[1] // 2, psf.shape[2] // 2]
    hessian = np.array([[centre[i + j] for j in range(n)] for i in range(n)], np.float64)
    # Terms of a narrow band differ by orders of magnitude; judged is the matrix with a diagonal of 1.
    diagonal = np.sqrt(np.abs(np.diag(hessian)))
    if not (diagonal > 0).all() or np.linalg.cond(hessian / np.outer(diagonal, diagonal)) > 1e8:
        raise ImageError(f"the band does not tell {n} Taylor terms apart; take fewer terms or more bandwidth")
    return np.tensordot(np.linalg.inv(hessian), residual, axes=1)


# ------------------------------------------------------------------------------------------- primary beam and spectral index


def correct_primary_beam(image: NDArray, primary_beam: NDArray, level: float = 0.2) -> NDArray[np.float64]:
    """Image over the primary beam, NaN where that is below `level` of 1; Taylor terms are divided as polynomials.

    Parameters
    ----------
    image : ndarray (m, l) or (term, m, l)
    primary_beam : ndarray (m, l) or (term, m, l)
        Power, 1 on axis; its Taylor coefficients in (ν − ν0)/ν0 if the image has terms (missing ones are 0).
    level : float
        0 … 1.

    Raises
    ------
    ImageError
        The shapes do not fit.
    """
    image, power = np.asarray(image, np.float64), np.asarray(primary_beam, np.float64)
    power = power[None] if power.ndim == 2 else power
    if image.ndim not in (2, 3) or image.shape[-2:] != power.shape[-2:]:
        raise ImageError(f"an image of shape {image.shape} and a primary beam of {power.shape}; wanted are equal pixels")
    terms = image[None] if image.ndim == 2 else image
    seen = power[0] >= level
    axis = np.where(seen, power[0], np.nan)
    out = np.empty_like(terms)
    for t in range(len(terms)):
        # (Σ I_j x^j)(Σ P_k x^k) = Σ D_t x^t, solved for I_t.
        known = sum((power[k] * out[t - k] for k in range(1, min(t, len(power) - 1) + 1)), np.zeros(()))
        out[t] = (terms[t] - known) / axis
    return out.reshape(image.shape)


class SpectralIndex(NamedTuple):
    """Maps (m, l): α, its standard deviation, and the curvature β where there are three terms (else None)."""

    alpha: NDArray[np.float64]
    error: NDArray[np.float64]
    beta: NDArray[np.float64] | None


def spectral_index(terms: NDArray, noise: ArrayLike, threshold: float = 5.0, covariance: ArrayLike = 0.0,
                   primary_beam: NDArray | None = None) -> SpectralIndex:
    """Spectral index of restored Taylor terms with its error; NaN where term 0 is below `threshold` times its noise.

    Parameters
    ----------
    terms : ndarray (term, m, l)
        Restored, at least two, with the residual's principal solution in them (`restore` with a psf); not corrected for the
        primary beam.
    noise : array_like (term,) or (term, m, l)
        Standard deviation of the terms: of the residual's principal solution.
    threshold : float
        In σ of term 0.
    covariance : array_like () or (m, l)
        Of the noises of terms 0 and 1; 0 where ν0 is the weighted mean frequency.
    primary_beam : ndarray (term, m, l), optional
        Taylor terms of the power, as many as those of the image; makes α and β those of the sky. The beam falls with
        frequency and steepens every source off axis: by −1.4 at half power of a Gaussian.

    Raises
    ------
    ImageError
        There are fewer than two terms, the noise has not one entry for each, or the beam has other terms or pixels.

    Notes
    -----
    I(ν) = I0 (ν/ν0)^(α + β ln(ν/ν0)) has the Taylor terms I0, α I0 and (α(α − 1)/2 + β) I0 (Rau & Cornwell 2011), so
    α = I1/I0 and σ_α² = (σ1² + α² σ0² − 2 α cov)/I0². Power laws multiply, so that α and β of the beam are subtracted from
    those seen, and no error comes with them. CASA prints |α| sqrt((r0/I0)² + (r1/I1)²), the same with the residual's
    pixels for σ and without covariance.
    """
    terms = np.asarray(terms, np.float64)
    sigma = np.asarray(noise, np.float64)
    if terms.ndim != 3 or terms.shape[0] < 2:
        raise ImageError(f"terms of shape {terms.shape}; a spectral index wants (term, m, l) of two terms or more")
    if sigma.shape[:1] != terms.shape[:1]:
        raise ImageError(f"noise of shape {sigma.shape} for {terms.shape[0]} terms; wanted is one for each")
    with np.errstate(invalid="ignore", divide="ignore"):
        bright = np.where(terms[0] > threshold * sigma[0], terms[0], np.nan)
        alpha, beta = _power_law(terms[1:] / bright)
        variance = sigma[1] ** 2 + alpha**2 * sigma[0] ** 2 - 2.0 * alpha * np.asarray(covariance, np.float64)
        error = np.sqrt(np.maximum(variance, 0.0)) / bright
        if primary_beam is not None:
            power = np.asarray(primary_beam, np.float64)
            if power.shape != terms.shape:
                raise ImageError(f"a primary beam of shape {power.shape} for terms of {terms.shape}; wanted are equal ones")
            alpha_of_beam, beta_of_beam = _power_law(power[1:] / np.where(power[0] > 0, power[0], np.nan))
            alpha = alpha - alpha_of_beam
            beta = None if beta is None or beta_of_beam is None else beta - beta_of_beam
    return SpectralIndex(alpha, error, beta)


def _power_law(ratios: NDArray) -> tuple[NDArray, NDArray | None]:
    """α and β of the Taylor terms from 1 on over term 0."""
    alpha = ratios[0]
    return alpha, ratios[1] - 0.5 * alpha * (alpha - 1.0) if len(ratios) > 1 else None


# ------------------------------------------------------------------------------------------------------------- components


def component_table(row: ArrayLike, column: ArrayLike, flux: ArrayLike, geometry: ImageGeometry, shape: Sequence[int],
                    scale: ArrayLike = 0.0, reference_frequency: float | None = None) -> QTable:
    """Table of CLEAN components, the brightest first: ra, dec (deg), flux (Jy), scale (arcsec), pixel row and column.

    Parameters
    ----------
    row, column : array_like (component,) int
        Pixels from 0, along m and l.
    flux : array_like (component,) or (component, term)
        Jy, integrated over the component. A second term becomes the column spectral_index, flux_1/flux_0, where the flux
        is not 0; terms are kept as flux_1, flux_2 …
    geometry : ImageGeometry
    shape : (int, int)
        Pixels of the image along m and l.
    scale : array_like () or (component,)
        Size of the component, pixels; 0 is a point. The pixel is in the table's `meta`: with it the list says what the model image says.
    reference_frequency : float, optional
        Hz, into the table's `meta`.

    Raises
    ------
    ImageError
        Lengths differ, or a pixel lies off the image or beyond the horizon.
    """
    rows, columns = (np.atleast_1d(np.asarray(a, np.intp)) for a in (row, column))
    terms = np.asarray(flux, np.float64)
    terms = np.atleast_1d(terms)[:, None] if terms.ndim < 2 else terms
    sizes = np.broadcast_to(np.asarray(scale, np.float64), rows.shape)
    if not (rows.shape == columns.shape == terms.shape[:1]):
        raise ImageError(f"{rows.size} rows, {columns.size} columns and {len(terms)} fluxes of components; wanted are as many")
    if not (((rows >= 0) & (rows < shape[0])).all() and ((columns >= 0) & (columns < shape[1])).all()):
        raise ImageError(f"a component off the image of {shape[0]} by {shape[1]} pixels; is it of another image?")
    order = np.argsort(-np.abs(terms[:, 0]), kind="stable")
    rows, columns, terms, sizes = rows[order], columns[order], terms[order], sizes[order]
    ra, dec = pixel_directions(rows, columns, geometry, shape)
    table = QTable({"ra": np.rad2deg(ra) * u.deg, "dec": np.rad2deg(dec) * u.deg, "flux": terms[:, 0] * u.Jy})
    table["scale"] = np.rad2deg(sizes * np.sqrt(abs(geometry.cell_l * geometry.cell_m))) * 3600.0 * u.arcsec
    for t in range(1, terms.shape[1]):
        table[f"flux_{t}"] = terms[:, t] * u.Jy
    if terms.shape[1] > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            table["spectral_index"] = np.where(terms[:, 0] != 0, terms[:, 1] / terms[:, 0], np.nan)
    table["row"], table["column"] = rows, columns
    table.meta["frame"] = "J2000"
    table.meta["cell_arcsec"] = float(np.rad2deg(np.sqrt(abs(geometry.cell_l * geometry.cell_m))) * 3600.0)
    if reference_frequency is not None:
        table.meta["reference_frequency"] = float(reference_frequency)
    return table


def pixel_directions(row: ArrayLike, column: ArrayLike, geometry: ImageGeometry, shape: Sequence[int]) -> tuple[NDArray, NDArray]:
    """Right ascension 0 … 2π and declination of pixels, J2000, rad: the SIN projection backwards.

    Raises
    ------
    ImageError
        A pixel lies beyond the horizon.
    """
    l = geometry.centre_l + (np.asarray(column, np.float64) - shape[1] // 2) * geometry.cell_l
    m = geometry.centre_m + (np.asarray(row, np.float64) - shape[0] // 2) * geometry.cell_m
    r2 = l * l + m * m
    if np.any(r2 > 1.0):
        raise ImageError("a pixel beyond the horizon has no direction; wanted is l² + m² of at most 1")
    n = np.sqrt(1.0 - r2)
    along = n * np.cos(geometry.dec) - m * np.sin(geometry.dec)
    dec = np.arctan2(m * np.cos(geometry.dec) + n * np.sin(geometry.dec), np.hypot(along, l))
    return np.mod(geometry.ra + np.arctan2(l, along), 2.0 * np.pi), dec
