"""Pictures of cutouts: all of one scale, with the beam, a cross at the middle and what was measured."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uvstack.extraction.sky_frame import seen_in_pixels
from uvstack.report.figure import beam_patch, new_figure
from uvstack.report.numbers import flux_unit
from uvstack.sky.beam import covariances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: matplotlib's texts are not made for threads.
_ONE_AT_A_TIME = threading.Lock()
#: Noise below and above which the scale ends, and the part of the brightest at which it ends above.
_BELOW, _ABOVE, _BRIGHT = 3.0, 8.0, 0.5
#: Part of a pixel's step by which axes may be turned against north and still be called so.
_TURN = 0.02


def colour_scale(images: Mapping[str, NDArray], noise: Mapping[str, float]) -> tuple[float, float]:
    """Least and greatest brightness of a scale that all images share."""
    levels = [rms for rms in noise.values() if np.isfinite(rms) and rms > 0]
    peaks = [float(np.nanmax(data)) for data in images.values() if np.isfinite(data).any()]
    rms, peak = float(np.median(levels)) if levels else 0.0, max(peaks, default=1.0)
    low, high = -_BELOW * rms, max(_ABOVE * rms, min(_BRIGHT * peak, 40 * rms or peak))
    return (low, high) if high > low else (low, low + 1.0)


def picture(data: NDArray, told: Mapping[str, Any], scale: tuple[float, float]) -> bytes:
    """PNG of an image (m, l); `told` is what is said of it."""
    with _ONE_AT_A_TIME:
        out = io.BytesIO()
        _figure(data, told, scale).savefig(out, format="png", dpi=110)
    return out.getvalue()


def _figure(data: NDArray, told: Mapping[str, Any], scale: tuple[float, float]) -> Figure:
    name, size = flux_unit(max(abs(scale[0]), abs(scale[1])))
    figure = new_figure((5.6, 5.2))
    axes = figure.subplots()
    ny, nx = data.shape
    matrix = np.array(told["sky"]["cd"])
    # Where the axes are not along north and west, pixels are counted.
    upright = matrix[0, 0] < 0 < matrix[1, 1] and np.abs(matrix * (1 - np.eye(2))).max() < _TURN * matrix[1, 1]
    cells = 3600 * np.abs(np.diag(matrix)) if upright else np.ones(2)
    half = 0.5 * cells * (nx, ny)
    sides = (half[0], -half[0], -half[1], half[1]) if upright else (-0.5, nx - 0.5, -0.5, ny - 0.5)
    axes.set_facecolor("0.85")
    shown = axes.imshow(data / size, origin="lower", cmap="inferno", vmin=scale[0] / size, vmax=scale[1] / size,
                        extent=sides, interpolation="nearest")
    figure.colorbar(shown, ax=axes, label=f"{name}/beam")
    middle = (0.0, 0.0) if upright else ((nx - 1) / 2, (ny - 1) / 2)
    gap, arm = 0.04 * nx * cells[0], 0.09 * nx * cells[0]
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        axes.plot([middle[0] + x * gap, middle[0] + x * arm], [middle[1] + y * gap, middle[1] + y * arm], color="c", lw=1)
    if told.get("beam"):
        _mark_beam(axes, told["beam"], matrix, upright)
    axes.set(xlabel="offset east (arcsec)" if upright else "pixels", ylabel="offset north (arcsec)" if upright else "pixels",
             xlim=sides[:2], ylim=sides[2:])
    axes.set_title(f"{told['title']}\n{_measured_text(told)}", fontsize="medium")
    return figure


def _measured_text(told: Mapping[str, Any]) -> str:
    beam, rms = told.get("beam"), told.get("rms")
    words = [] if not beam else [f"beam {3600 * beam['bmaj']:.2f}″ × {3600 * beam['bmin']:.2f}″, {beam['bpa']:.1f}°"]
    if rms:
        name, size = flux_unit(rms)
        words.append(f"rms {rms / size:.3g} {name}/beam")
    return "   ".join(words)


def _mark_beam(axes: Axes, beam: Mapping[str, float], matrix: NDArray, upright: bool) -> None:
    """Put the beam into the lower left corner; `matrix` has the steps of pixels, degrees."""
    angle = np.deg2rad(beam["bpa"])
    shape = (covariances(3600 * beam["bmaj"], 3600 * beam["bmin"], angle) if upright else
             seen_in_pixels(covariances(beam["bmaj"], beam["bmin"], angle), matrix))
    major = np.sqrt(np.linalg.eigvalsh(shape)[-1])
    left, right, bottom, top = axes.get_images()[0].get_extent()
    out = np.sign(right - left)
    axes.add_patch(beam_patch(shape, (left + out * (0.6 * major + 0.03 * abs(right - left)),
                                      bottom + 0.6 * major + 0.03 * (top - bottom))))
