"""Figures of arrays: they know no result, and draw on axes of matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from uvstack.constants import ARCSEC
from uvstack.errors import ImageError
from uvstack.pixels.psf import fit_beam
from uvstack.report.numbers import flux_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse
    from numpy.typing import NDArray


def new_figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def beam_patch(covariance: NDArray, at: tuple[float, float]) -> Ellipse:
    """The ellipse at half power of a Gaussian, for axes to be added to.

    Parameters
    ----------
    covariance : ndarray (2, 2)
        Squares of FWHM in the coordinates that the axes show: `Beam.covariance` where those are
        offsets to the east and north.
    at : (float, float)
        Its middle.
    """
    from matplotlib.patches import Ellipse

    square, along = np.linalg.eigh(covariance)
    minor, major = np.sqrt(square)
    turn = np.rad2deg(np.arctan2(along[1, 1], along[0, 1]))
    return Ellipse(at, major, minor, angle=turn, facecolor="w", edgecolor="k", lw=0.8)


def mark_beam_and_rms(axes: Axes, brightness: np.ndarray, psf: np.ndarray, cell: float) -> None:
    """Put the beam into the lower left corner of a stamp that is drawn, and the rms of what lies beyond the middle into the upper one."""
    middle = np.hypot(*(np.indices(brightness.shape)
                        - np.reshape(brightness.shape, (2, 1, 1)) // 2))
    rms = float(np.sqrt(np.mean(brightness[middle > min(brightness.shape) / 4] ** 2)))
    name, size = flux_unit(rms)
    text: dict[str, Any] = {"transform": axes.transAxes, "color": "w", "fontsize": "small",
                            "bbox": {"color": "k", "alpha": 0.55, "lw": 0, "pad": 2}}
    axes.text(0.03, 0.97, f"rms {rms / size:.2g} {name}/beam", va="top", **text)
    try:
        beam = fit_beam(psf, cell)
    except ImageError:  # a psf without a main lobe, of a few baselines
        return
    major, minor = beam.fwhm_major / ARCSEC, beam.fwhm_minor / ARCSEC
    right, left, bottom, _ = *axes.get_xlim()[::-1], *axes.get_ylim()
    axes.add_patch(beam_patch(beam.covariance(ARCSEC), (left - 0.6 * major - 0.03 * (left - right),
                                                        bottom + 0.6 * major
                                                        + 0.03 * (left - right))))
    axes.text(0.97, 0.03, f"beam {major:.2g}″ × {minor:.2g}″", ha="right", **text)


def draw_stamp(axes: Axes, image: np.ndarray, cell: float, title: str, in_jansky: bool = True,
               unit: str | None = None) -> None:
    """Draw an image (m, l) with offsets in arcsec, east to the left; `unit` (Jy, mJy, µJy, nJy) is chosen where it is not given."""
    name, size = flux_unit(float(np.abs(image).max())) if in_jansky else ("", 1.0)
    if unit is not None:
        name, size = unit, u.Unit(unit).to(u.Jy)
    half = 0.5 * cell * image.shape[1] / ARCSEC
    shift = 0.5 * cell / ARCSEC
    shown = axes.imshow(image / size, origin="lower", cmap="viridis",
                        extent=(half + shift, -half + shift, -half - shift, half - shift))
    axes.set(xlabel="offset east (arcsec)", ylabel="offset north (arcsec)")
    axes.set_title(title, wrap=True)
    axes.figure.colorbar(shown, ax=axes, label=f"{name}/beam" if in_jansky else "of the peak")
