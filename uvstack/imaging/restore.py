"""From a model and a residual to maps: the restoring beam, the restored image, spectral indices, the component table.

The restoring beam is the elliptical Gaussian of peak 1, centred on the peak of the psf, that is
nearest to the main lobe in the least-squares sense (Högbom 1974 and all imagers since). The model,
in Jy/pixel, is convolved with it by a transform of the *sampled* Gaussian on a padded grid: that is
the plain sum over pixels to rounding, so that a component of S Jy peaks at S Jy/beam whatever the
pixel size and nothing wraps round the edges. The residual, in Jy per dirty beam, is added as it is;
where the deconvolution was shallow the two units differ and a flux summed over a source mixes them
(Jorsater & van Moorsel 1995).

With Taylor terms the residual of term t is Σ w x^t r, x = (ν − ν0)/ν0, and is no image of the
coefficient t. The principal solution of Rau & Cornwell (2011) turns it into one: the inverse of the
matrix of the psfs' centres. Only then may it be added to the model and its noise be used for a
spectral index.

Cost: two transforms of the padded image per term; about 1 s for 4000² on two cores. Limits: one
beam for the whole image; a beam below two pixels across is refused, because neither its fit nor the
cleaning of such an image means much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import ImageError
from uvstack.pixels.geometry import ImageGeometry
from uvstack.pixels.noise import robust_noise
from uvstack.pixels.smooth import convolve_beam
from uvstack.sky.beam import Beam

# -------------------------------------------------------------------------------------------------------------- the beam


# ------------------------------------------------------------------------------------------------------- the restored image


def restore(model: NDArray, residual: NDArray, beam: Beam | tuple[float, float, float],
            cell: float | tuple[float, float], psf: NDArray | None = None,
            threads: int = 1) -> NDArray[np.float64]:
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
        raise ImageError(f"a model of shape {model.shape} and a residual of {residual.shape}; "
                         "wanted are equal (term, m, l)")
    if model.ndim == 3 and model.shape[0] > 1:
        if psf is None:
            raise ImageError(f"{model.shape[0]} Taylor terms and no psf; give the psf of "
                             f"{2 * model.shape[0] - 1} terms: without"
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
        The psf has too few terms, or their matrix cannot be inverted: the band is too narrow for so
        many terms.

    Notes
    -----
    Rau & Cornwell (2011), the Hessian of which only the centres of the psfs are kept: H_ij =
    psf_(i+j)(0), H c = residual.
    """
    residual = np.asarray(residual, np.float64)
    n = residual.shape[0]
    if len(psf) < 2 * n - 1:
        raise ImageError(f"a psf of {len(psf)} terms for {n} of the residual; wanted are "
                         f"{2 * n - 1}")
    centre = np.asarray(psf)[:, psf.shape[1] // 2, psf.shape[2] // 2]
    hessian = np.array([[centre[i + j] for j in range(n)] for i in range(n)], np.float64)
    # Terms of a narrow band differ by orders of magnitude; judged is the matrix with a diagonal of
    # 1.
    diagonal = np.sqrt(np.abs(np.diag(hessian)))
    if not (diagonal > 0).all() or np.linalg.cond(hessian / np.outer(diagonal, diagonal)) > 1e8:
        raise ImageError(f"the band does not tell {n} Taylor terms apart; take fewer terms or "
                         "more bandwidth")
    return np.tensordot(np.linalg.inv(hessian), residual, axes=1)


# ------------------------------------------------------------------------------------------- primary beam and spectral index


def correct_primary_beam(image: NDArray, primary_beam: NDArray,
                         level: float = 0.2) -> NDArray[np.float64]:
    """Image over the primary beam, NaN where that is below `level` of 1; Taylor terms are divided as polynomials.

    Parameters
    ----------
    image : ndarray (m, l) or (term, m, l)
    primary_beam : ndarray (m, l) or (term, m, l)
        Power, 1 on axis; its Taylor coefficients in (ν − ν0)/ν0 if the image has terms (missing
        ones are 0).
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
        raise ImageError(f"an image of shape {image.shape} and a primary beam of {power.shape}; "
                         "wanted are equal pixels")
    terms = image[None] if image.ndim == 2 else image
    seen = power[0] >= level
    axis = np.where(seen, power[0], np.nan)
    out = np.empty_like(terms)
    for t in range(len(terms)):
        # (Σ I_j x^j)(Σ P_k x^k) = Σ D_t x^t, solved for I_t.
        known = sum((power[k] * out[t - k] for k in range(1, min(t, len(power) - 1) + 1)),
                    np.zeros(()))
        out[t] = (terms[t] - known) / axis
    return out.reshape(image.shape)


class SpectralIndex(NamedTuple):
    """Maps (m, l): α, its standard deviation, and where there are three terms the curvature β, and its (else None)."""

    alpha: NDArray[np.float64]
    error: NDArray[np.float64]
    beta: NDArray[np.float64] | None
    beta_error: NDArray[np.float64] | None = None


def spectral_index(terms: NDArray, noise: ArrayLike, threshold: float = 5.0,
                   covariance: ArrayLike = 0.0,
                   primary_beam: NDArray | None = None) -> SpectralIndex:
    """Spectral index of restored Taylor terms with its error; NaN where term 0 is below `threshold` times its noise.

    Parameters
    ----------
    terms : ndarray (term, m, l)
        Restored, at least two, with the residual's principal solution in them (`restore` with a
        psf); not corrected for the primary beam.
    noise : array_like (term,) or (term, m, l)
        Standard deviation of the terms: of the residual's principal solution.
    threshold : float
        In σ of term 0.
    covariance : array_like () or (m, l)
        Of the noises of terms 0 and 1; 0 where ν0 is the weighted mean frequency.
    primary_beam : ndarray (term, m, l), optional
        Taylor terms of the power, as many as those of the image; makes α and β those of the sky.
        The beam falls with frequency and steepens every source off axis: by −1.4 at half power of a
        Gaussian.

    Raises
    ------
    ImageError
        There are fewer than two terms, the noise has not one entry for each, or the beam has other
        terms or pixels.

    Notes
    -----
    I(ν) = I0 (ν/ν0)^(α + β ln(ν/ν0)) has the Taylor terms I0, α I0 and (α(α − 1)/2 + β) I0 (Rau &
    Cornwell 2011), so α = I1/I0 and σ_α² = (σ1² + α² σ0² − 2 α cov)/I0². Power laws multiply, so
    that α and β of the beam are subtracted from those seen, and no error comes with them. CASA
    prints |α| sqrt((r0/I0)² + (r1/I1)²), the same with the residual's pixels for σ and without
    covariance.
    """
    terms = np.asarray(terms, np.float64)
    sigma = np.asarray(noise, np.float64)
    if terms.ndim != 3 or terms.shape[0] < 2:
        raise ImageError(f"terms of shape {terms.shape}; a spectral index wants (term, m, l) of "
                         "two terms or more")
    if sigma.shape[:1] != terms.shape[:1]:
        raise ImageError(f"noise of shape {sigma.shape} for {terms.shape[0]} terms; wanted is one "
                         "for each")
    with np.errstate(invalid="ignore", divide="ignore"):
        bright = np.where(terms[0] > threshold * sigma[0], terms[0], np.nan)
        alpha, beta = _power_law(terms[1:] / bright)
        variance = sigma[1] ** 2 + alpha**2 * sigma[0] ** 2 - 2.0 * alpha * np.asarray(
            covariance, np.float64)
        error = np.sqrt(np.maximum(variance, 0.0)) / bright
        if primary_beam is not None:
            power = np.asarray(primary_beam, np.float64)
            if power.shape != terms.shape:
                raise ImageError(f"a primary beam of shape {power.shape} for terms of "
                                 f"{terms.shape}; wanted are equal ones")
            alpha_of_beam, beta_of_beam = _power_law(power[1:]
                                                     / np.where(power[0] > 0, power[0], np.nan))
            alpha = alpha - alpha_of_beam
            beta = None if beta is None or beta_of_beam is None else beta - beta_of_beam
    return SpectralIndex(alpha, error, beta)


def restored_index(restored: NDArray, residual: NDArray, psf: NDArray,
                   primary_beam: NDArray | None = None) -> SpectralIndex:
    """Spectral index of restored terms (term, m, l); noise and covariance are those of the residual's principal solution.

    Parameters
    ----------
    restored, residual : ndarray (term, m, l)
        Jy/beam.
    psf : ndarray (2 term − 1, m', l')
    primary_beam : ndarray (term, m, l), optional
        As in `spectral_index`.
    """
    rest = principal_solution(residual, psf)
    matrix = _noise_matrix(rest)
    found = spectral_index(restored, np.sqrt(np.diag(matrix)), covariance=matrix[0, 1],
                           primary_beam=primary_beam)
    return found if found.beta is None else found._replace(
        beta_error=_curvature_error(restored, np.isfinite(found.alpha), matrix))


def _noise_matrix(terms: NDArray) -> NDArray[np.float64]:
    """Robust variances and covariances of the noise of terms, (term, term)."""
    noise = np.array([robust_noise(plane) for plane in terms])
    matrix = np.diag(noise**2)
    for i in range(len(terms)):
        for j in range(i):
            a, b = terms[i] / noise[i], terms[j] / noise[j]
            # var(a + b) − var(a − b) = 4 cov(a, b), with robust variances.
            matrix[i, j] = matrix[j, i] = 0.25 * (
                robust_noise(a + b) ** 2 - robust_noise(a - b) ** 2) * noise[i] * noise[j]
    return matrix


def _curvature_error(terms: NDArray, known: NDArray[np.bool_],
                     matrix: NDArray) -> NDArray[np.float64]:
    """Standard deviation of β = I2/I0 − α (α − 1)/2, to the first order, (m, l)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        bright = np.where(known, terms[0], np.nan)
        alpha, second = terms[1] / bright, terms[2] / bright
        slope = np.stack([(alpha - 0.5) * alpha - second, 0.5 - alpha, np.ones(alpha.shape)])
        variance = np.einsum("iml,ij,jml->ml", slope, matrix, slope)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)) / bright)


def _power_law(ratios: NDArray) -> tuple[NDArray, NDArray | None]:
    """α and β of the Taylor terms from 1 on over term 0."""
    alpha = ratios[0]
    return alpha, ratios[1] - 0.5 * alpha * (alpha - 1.0) if len(ratios) > 1 else None


# ------------------------------------------------------------------------------------------------------------- components


def component_table(row: ArrayLike, column: ArrayLike, flux: ArrayLike, geometry: ImageGeometry,
                    shape: Sequence[int], scale: ArrayLike = 0.0,
                    reference_frequency: float | None = None) -> QTable:
    """Table of CLEAN components, the brightest first: ra, dec (deg), flux (Jy), scale (arcsec), pixel row and column.

    Parameters
    ----------
    row, column : array_like (component,) int
        Pixels from 0, along m and l.
    flux : array_like (component,) or (component, term)
        Jy, integrated over the component. A second term becomes the column spectral_index,
        flux_1/flux_0, where the flux is not 0; terms are kept as flux_1, flux_2 …
    geometry : ImageGeometry
    shape : (int, int)
        Pixels of the image along m and l.
    scale : array_like () or (component,)
        Size of the component, pixels; 0 is a point. The pixel is in the table's `meta`: with it the
        list says what the model image says.
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
        raise ImageError(f"{rows.size} rows, {columns.size} columns and {len(terms)} fluxes of "
                         "components; wanted are as many")
    if not (((rows >= 0) & (rows < shape[0])).all()
            and ((columns >= 0) & (columns < shape[1])).all()):
        raise ImageError(f"a component off the image of {shape[0]} by {shape[1]} pixels; is it of "
                         "another image?")
    order = np.argsort(-np.abs(terms[:, 0]), kind="stable")
    rows, columns, terms, sizes = rows[order], columns[order], terms[order], sizes[order]
    ra, dec = pixel_directions(rows, columns, geometry, shape)
    table = QTable({"ra": np.rad2deg(ra) * u.deg, "dec": np.rad2deg(dec) * u.deg,
                    "flux": terms[:, 0] * u.Jy})
    cell = float(np.sqrt(abs(geometry.cell_l * geometry.cell_m)))
    table["scale"] = np.rad2deg(sizes * cell) * 3600.0 * u.arcsec
    for t in range(1, terms.shape[1]):
        table[f"flux_{t}"] = terms[:, t] * u.Jy
    if terms.shape[1] > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            table["spectral_index"] = np.where(terms[:, 0] != 0, terms[:, 1] / terms[:, 0], np.nan)
    table["row"], table["column"] = rows, columns
    table.meta["frame"] = "J2000"
    table.meta["cell_rad"] = cell
    if reference_frequency is not None:
        table.meta["reference_frequency"] = float(reference_frequency)
    return table


def pixel_directions(row: ArrayLike, column: ArrayLike, geometry: ImageGeometry,
                     shape: Sequence[int]) -> tuple[NDArray, NDArray]:
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
        raise ImageError("a pixel beyond the horizon has no direction; wanted is l² + m² of at "
                         "most 1")
    n = np.sqrt(1.0 - r2)
    along = n * np.cos(geometry.dec) - m * np.sin(geometry.dec)
    dec = np.arctan2(m * np.cos(geometry.dec) + n * np.sin(geometry.dec), np.hypot(along, l))
    return np.mod(geometry.ra + np.arctan2(l, along), 2.0 * np.pi), dec
