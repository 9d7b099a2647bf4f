"""Gaussians fitted to the pixels of sources, with errors from the noise's correlation and without its bias of second order.

Which pixels take part is a matter of geometry: those within 0.8 FWHM of where the source seems to
be, of the beam or of the source where that is twice as large. Pixels above a threshold would be
those in which the noise is positive, which makes fluxes of 10 to 20 σ sources 2 % too high.
Components closer than 1.5 FWHM share their pixels and are fitted together.

Plain least squares is the default, the estimate that trusts the model least. Least squares by the
inverse of the noise's covariance (`weighting="gls"`) halves the scatter of positions where noise
and source really have the same Gaussian shape, but weights the highest spatial frequencies most,
where a restored image has its least certain information; the ridge keeps it in bounds. In both,
errors are those of the sandwich (`uvstack.extraction.fit_kernels`), so that they hold for whatever
noise was measured, and the second-order bias is taken off all that is derived: near 8 σ it is 12 %
of the error of a peak, the eq. 2.96 of Spreeuw (2010), and up to 40 % of that of a major axis.
Cost: 30 µs for each source of the size of a beam of 5 × 4 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.checks import one_of
from uvstack.extraction import fit_kernels as kernels
from uvstack.sky.beam import FOUR_LN2

#: Pixels within so many FWHM take part; components within so many of each other are one group.
RADIUS, LINK = 0.8, 1.5
#: A source is larger than the beam where its area is so many times the beam's.
_LARGER = 2.0
#: A fit whose major axis is more than so many times that of its pixels, or its start, is no source.
LONGEST = 4.0
#: Part of the noise's variance that is added to the diagonal of its correlation (GLS), at least.
RIDGE = 0.05
#: Most pixels of a group; with GLS, whose cost goes with the third power.
_MOST_PIXELS, _MOST_WHITENED = 3000, 400
WEIGHTINGS = ("plain", "gls")


@dataclass(frozen=True)
class GaussianFits:
    """What a fit found of n components, in the frame of the pixels (`uvstack.extraction.fit_kernels`).

    Attributes
    ----------
    numbers : ndarray (n, 6)
        Peak (unit of the image), x0, y0 (pixels) and a, b, c (pixels⁻²); of least squares, its bias
        not taken off.
    covariance : ndarray (n, 6, 6)
        Of the numbers; 0 where one was fixed.
    bias : ndarray (n, 6)
        Of second order, to be subtracted.
    status : ndarray (n,) int
        CONVERGED or another of `fit_kernels`.
    chi_squared : ndarray (n,)
        Sum of squares of the residuals of the group over the noise's variance.
    n_pixels : ndarray (n,) int
        Of the group.
    group : ndarray (n,) int
        Components with one number were fitted together.
    joint : dict of int to ndarray (6 n_g, 6 n_g)
        Covariance of all numbers of a group of several components, in the order of the components.
    """

    numbers: NDArray[np.float64]
    covariance: NDArray[np.float64]
    bias: NDArray[np.float64]
    status: NDArray[np.int32]
    chi_squared: NDArray[np.float64]
    n_pixels: NDArray[np.int32]
    group: NDArray[np.int64]
    joint: dict[int, NDArray[np.float64]]


def size_matrix(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices in (x, y) of squares of the FWHM, pixels², (n, 2, 2), of numbers (n, 6)."""
    return np.asarray(FOUR_LN2 * np.linalg.inv(quadratic_form(numbers)))


def quadratic_form(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices ((a, b), (b, c)), (n, 2, 2)."""
    return np.moveaxis(np.array([[numbers[:, 3], numbers[:, 4]], [numbers[:, 4], numbers[:, 5]]]),
                       2, 0)


def numbers_of(peak: NDArray, x: NDArray, y: NDArray, size: NDArray) -> NDArray[np.float64]:
    """Numbers (n, 6) of components with a matrix of squares of the FWHM (n, 2, 2), or one for all (2, 2)."""
    form = np.broadcast_to(FOUR_LN2 * np.linalg.inv(size), (np.size(peak), 2, 2))
    return np.stack([peak, x, y, form[:, 0, 0], form[:, 0, 1], form[:, 1, 1]], axis=1)


def groups_of(x: NDArray, y: NDArray, size: NDArray, link: float = LINK) -> NDArray[np.int64]:
    """Group of each component, (n,): those are linked whose distance is below `link` FWHM of an ellipse (2, 2), pixels²."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if len(x) == 0:
        return np.zeros(0, np.int64)
    # In FWHM: distances there are round.
    places = np.linalg.solve(np.linalg.cholesky(size), np.stack([x, y])).T
    pairs = KDTree(places).query_pairs(link, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(x), len(x)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def fit_gaussians(image: NDArray, label: NDArray[np.int32], start: NDArray[np.float64],
                  islands: NDArray, rms: NDArray, beam: NDArray, correlation: NDArray[np.float64],
                  *, free: NDArray[np.bool_] | None = None, weighting: str = "plain",
                  group: NDArray | None = None) -> GaussianFits:
    """Gaussians that are nearest to an image in the least-squares sense, one a component.

    Parameters
    ----------
    image : ndarray (m, l)
        Without its background; NaN is blank.
    label : ndarray (m, l) int32
        Island of each pixel, 0 for none: a pixel of a foreign island takes no part.
    start : ndarray (n, 6)
        Peak, of either sign, x0, y0, a, b, c.
    islands : ndarray (n,) int
        Label of the island of each, −1 for none.
    rms : ndarray (n,)
        Noise at each, unit of the image.
    beam : ndarray (2, 2)
        Matrix in (x, y) of squares of the FWHM, pixels².
    correlation : ndarray (2 r + 1, 2 r + 1)
        Of the noise by lags, see `uvstack.extraction.noise_correlation`.
    free : ndarray (n, 6) bool, optional
        Which numbers are fitted; default all.
    weighting : {"plain", "gls"}
    group : ndarray (n,) int, optional
        Components that are fitted together; default `groups_of`.

    Returns
    -------
    GaussianFits

    Raises
    ------
    SelectionError
        The weighting is unknown.
    """
    one_of("weighting", weighting, WEIGHTINGS)
    n = len(start)
    free = np.ones((n, 6), bool) if free is None else free
    group = groups_of(start[:, 1], start[:, 2], beam) if group is None else group
    region = _regions(size_matrix(start), beam)
    fits = _fit(image, label, start, islands, rms, region, correlation, free, weighting, group)
    # Pixels are chosen again about the fitted centre, and of a source that turned out larger, or
    # smaller, than they were chosen for: the bias of both kinds is known, that of the start is not.
    # Of what runs away they would be those of the whole image.
    sound = fits.status <= kernels.MOST_STEPS
    sound[sound] = _longest(size_matrix(fits.numbers[sound])) <= LONGEST**2 * _longest(region[sound])
    better = region.copy()
    better[sound] = _regions(size_matrix(fits.numbers[sound]), beam)
    change = np.sqrt(np.linalg.det(better) / np.linalg.det(region))
    again = np.isin(group, group[sound & ((change > 1.25) | (change < 0.8)
                                          | free[:, 1:3].any(axis=1))])
    if again.any():
        start = np.where(sound[:, None], fits.numbers, start)[again]
        second = _fit(image, label, start, islands[again], rms[again], better[again], correlation,
                      free[again], weighting, group[again])
        fits = _merged(fits, second, again)
    return fits


def _longest(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squares of the major axes of matrices (n, 2, 2)."""
    return np.asarray(np.linalg.eigvalsh(size)[:, 1]) if len(size) else np.zeros(0)


def _regions(size: NDArray, beam: NDArray) -> NDArray[np.float64]:
    """Ellipses whose pixels take part, as matrices of squares of the FWHM (n, 2, 2): the beam's, or that of a larger source."""
    large = np.linalg.det(size) > _LARGER**2 * np.linalg.det(beam)
    return np.where(large[:, None, None], size, beam)


def _fit(image: NDArray, label: NDArray, start: NDArray, islands: NDArray, rms: NDArray,
         region: NDArray, correlation: NDArray, free: NDArray, weighting: str,
         group: NDArray) -> GaussianFits:
    order = np.argsort(group, kind="stable")
    sizes = np.unique(group[order], return_counts=True)[1]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    places = np.concatenate([[0], np.cumsum((6 * sizes) ** 2)])
    n = len(start)
    form = np.linalg.inv(region[order]) / RADIUS**2
    ellipse = np.stack([form[:, 0, 0], form[:, 0, 1], form[:, 1, 1]], axis=1)
    reach = RADIUS * np.sqrt(np.linalg.eigvalsh(region[order])[:, 1]) if n else np.zeros(0)
    # A group has one sign and one noise: those of its brightest.
    numbers, bias, covariance = start[order].copy(), np.zeros((n, 6)), np.zeros(places[-1])
    status, n_pixels, chi = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n)
    ridge, most = (RIDGE, _MOST_WHITENED) if weighting == "gls" else (-1.0, _MOST_PIXELS)
    kernels.fit_groups(image, label, islands[order].astype(np.int32), rms[order].astype(float),
                       np.sign(numbers[:, 0]), ellipse, reach, free[order], bounds, places,
                       correlation, ridge, most, numbers, covariance, bias, status, chi, n_pixels)
    own = np.zeros((n, 6, 6))
    joint = {}
    for k, (first, size) in enumerate(zip(bounds[:-1], sizes, strict=True)):
        whole = covariance[places[k]:places[k + 1]].reshape(6 * size, 6 * size)
        for i in range(size):
            own[first + i] = whole[6 * i:6 * i + 6, 6 * i:6 * i + 6]
        if size > 1:
            joint[int(group[order[first]])] = whole
    back = np.argsort(order)
    return GaussianFits(numbers[back], own[back], bias[back], status[back], chi[back],
                        n_pixels[back], group, joint)


def _merged(first: GaussianFits, second: GaussianFits, where: NDArray[np.bool_]) -> GaussianFits:
    """The first fits with those of the second in their places, where these converged."""
    index = np.flatnonzero(where)
    good = np.isin(second.group, second.group[second.status > kernels.MOST_STEPS], invert=True)
    index = index[good]
    merged = {}
    for name in ("numbers", "covariance", "bias", "status", "chi_squared", "n_pixels"):
        values = getattr(first, name).copy()
        values[index] = getattr(second, name)[good]
        merged[name] = values
    kept = {g: whole for g, whole in second.joint.items() if g in set(second.group[good].tolist())}
    return GaussianFits(**merged, group=first.group, joint={**first.joint, **kept})
