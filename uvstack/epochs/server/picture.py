"""Pictures of cutouts: all of one scale, with the beam, a cross at the middle and what was measured."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: matplotlib's texts are not made for threads.
_ONE_AT_A_TIME = threading.Lock()
#: Noise below and above which the scale ends, and the part of the brightest at which it ends above.
_BELOW, _ABOVE, _BRIGHT = 3.0, 8.0, 0.5


def colour_scale(images: Mapping[str, NDArray], noise: Mapping[str, float]) -> tuple[float, float]:
    """Least and greatest brightness of a scale that all images share."""
    levels = [rms for rms in noise.values() if np.isfinite(rms) and rms > 0]
    peaks = [float(np.nanmax(data)) for data in images.values() if np.isfinite(data).any()]
    rms, peak = float(np.median(levels)) if levels else 0.0, max(peaks, default=1.0)
    low, high = -_BELOW * rms, max(_ABOVE * rms, min(_BRIGHT * peak, 40 * rms or peak))
    return (low, high) if high > low else (low, low + 1.0)


def picture(data: NDArray, told: Mapping[str, Any], scale: tuple[float, float], cell: float) -> bytes:
    """PNG of an image (m, l); `told` is what is said of it, `cell` its pixels in arcsec."""
    with _ONE_AT_A_TIME:
        out = io.BytesIO()
        _figure(data, told, scale, cell).savefig(out, format="png", dpi=110)
    return out.getvalue()


def _figure(data: NDArray, told: Mapping[str, Any], scale: tuple[float, float], cell: float) -> Figure:
    from matplotlib.patches import Ellipse

    name, size = flux_unit(max(abs(scale[0]), abs(scale[1])))
    figure = new_figure((5.6, 5.0))
    axes = figure.subplots()
    ny, nx = data.shape
    sides = (nx / 2 * cell, -nx / 2 * cell, -ny / 2 * cell, ny / 2 * cell)
    axes.set_facecolor("0.85")
    shown = axes.imshow(data / size, origin="lower", cmap="inferno", vmin=scale[0] / size, vmax=scale[1] / size,
                        extent=sides, interpolation="nearest")
    figure.colorbar(shown, ax=axes, label=f"{name}/beam")
    gap, arm = 0.04 * nx * cell, 0.09 * nx * cell
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        axes.plot([x * gap, x * arm], [y * gap, y * arm], color="c", lw=1)
    beam = told.get("beam")
    if beam:
        major, minor = 3600 * beam["bmaj"], 3600 * beam["bmin"]
        axes.add_patch(Ellipse((sides[0] - 0.8 * major - 0.02 * nx * cell, sides[2] + 0.8 * major + 0.02 * ny * cell),
                               minor, major, angle=-beam["bpa"], facecolor="w", edgecolor="k", lw=0.8))
    axes.set(xlabel="offset east (arcsec)", ylabel="offset north (arcsec)", xlim=sides[:2], ylim=sides[2:])
    axes.set_title(str(told["title"]), fontsize="medium")
    return figure
