"""The main lobe of a psf, and the Gaussian beam that is nearest to it.

The beam is the elliptical Gaussian of peak 1, centred on the peak of the psf, that is nearest to
the main lobe in the least-squares sense (Högbom 1974 and all imagers since). A beam below two
pixels across is refused, because neither its fit nor the cleaning of such an image means much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import ImageError
from uvstack.sky.beam import FOUR_LN2, Beam, cell_sizes

#: Least FWHM of a beam, pixels.
SMALLEST_BEAM = 2.0


#: The main lobe is fitted down to this level of the peak, as CASA's `psfcutoff` has it.
LOBE_CUTOFF = 0.35


#: A fit of three numbers wants at least this many pixels; a small lobe is taken with its
#: surroundings.
_FEWEST_PIXELS = 12


def fit_beam(psf: NDArray, cell: float | tuple[float, float], cutoff: float = LOBE_CUTOFF) -> Beam:
    """Elliptical Gaussian fitted to the main lobe of a psf: FWHM along both axes, and position angle in [−π/2, π/2).

    Parameters
    ----------
    psf : ndarray (m, l)
        Any scale, l decreasing along the last axis; its peak is at pixel (rows // 2, columns // 2).
    cell : float or (float, float)
        Pixel size, rad, or the sizes along m and l, whose signs do not matter. With 1 the beam is
        in pixels.
    cutoff : float
        Part of the peak down to which the lobe is fitted, 0 … 1.

    Returns
    -------
    Beam

    Raises
    ------
    ImageError
        The psf is not an image with a positive peak in its centre, or the beam is less than 2
        pixels across.

    Notes
    -----
    Fitted are the pixels above the cutoff that hang together with the peak, so that no sidelobe
    takes part; height and centre are those of the peak, which a psf has by construction. A lobe of
    fewer than 12 such pixels is taken with the positive pixels around it. Exact for a Gaussian; for
    the psf of a uniformly filled aperture, 2 J1(x)/x, the FWHM comes out within 0.4 % of that of
    the function itself.
    """
    from scipy.optimize import least_squares

    cell_m, cell_l = cell_sizes(cell)
    rows, columns, value = _main_lobe(psf, cutoff)
    # In pixels, so that the numbers are near 1: north along m, east against the last axis.
    scale = np.sqrt(cell_m * cell_l)
    north, east = rows * cell_m / scale, -columns * cell_l / scale
    basis = np.stack([north**2, 2.0 * north * east, east**2])
    # ln psf is linear in the three numbers: a start, in which the faint pixels count less as their
    # logarithms err more.
    start = np.linalg.lstsq(basis.T * value[:, None], -np.log(value) * value, rcond=None)[0]
    fit = least_squares(lambda p: np.exp(-p @ basis) - value, start,
                        jac=lambda p: (-np.exp(-p @ basis) * basis).T, xtol=1e-12, ftol=1e-12,
                        gtol=1e-12)
    matrix = np.array([[fit.x[0], fit.x[1]], [fit.x[1], fit.x[2]]])
    curvature, axes = np.linalg.eigh(matrix)
    # Flat to rounding is flat: a lobe wider than the image is none.
    if not curvature[0] > FOUR_LN2 / max(psf.shape) ** 2:
        raise ImageError("the main lobe of the psf does not fall off in every direction, so no "
                         "beam fits; look at the psf: the uv coverage"
                         " may be a line, or the image too small for the beam")
    major, minor = np.sqrt(FOUR_LN2 / curvature)
    angle = float(np.arctan2(axes[1, 0], axes[0, 0]))
    _refuse_small(major * scale / max(cell_m, cell_l), minor * scale / max(cell_m, cell_l))
    # A circle has no position angle: what rounding gives is not told on.
    angle = 0.0 if major - minor < 1e-9 * major else (angle + np.pi / 2) % np.pi - np.pi / 2
    return Beam(float(major * scale), float(minor * scale), angle)


def _refuse_small(major: float, minor: float) -> None:
    if minor < SMALLEST_BEAM:
        raise ImageError(f"the beam is {major:.2f} by {minor:.2f} pixels (FWHM); wanted are at "
                         f"least {SMALLEST_BEAM:g} across, better 4:"
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
        raise ImageError(f"a psf of shape {psf.shape}; wanted are two axes (m, l): take the first "
                         "term")
    row, column = psf.shape[0] // 2, psf.shape[1] // 2
    peak = float(psf[row, column]) if psf.size else float("nan")
    # A psf of few baselines has peaks that are alike but for the error of the gridder.
    if not (np.isfinite(psf).all() and peak > 0 and psf.max() <= peak * (1 + 1e-4)):
        where = tuple(int(i)
                      for i in np.unravel_index(np.nanargmax(psf),
                                                psf.shape)) if np.isfinite(psf).any() else "nowhere"
        raise ImageError(f"the psf is {peak:g} in its centre ({row}, {column}) and has its peak at "
                         f"{where}; wanted is a finite image with"
                         " its peak in the centre: was it cut, or made of no visibilities?")
    lobe = np.zeros(psf.shape, bool)
    half = 64
    while True:
        # A window grows until the lobe fits in: to label a whole psf of 8000² takes a second.
        window = (slice(max(0, row - half), row + half),
                  slice(max(0, column - half), column + half))
        labels = label(psf[window] > level * peak, structure=np.ones((3, 3)))[0]
        found = labels == labels[min(row, half), min(column, half)]
        edges = found[0].any() or found[-1].any() or found[:, 0].any() or found[:, -1].any()
        if not edges or half >= max(psf.shape):
            lobe[window] = found
            return lobe, peak
        half *= 2
