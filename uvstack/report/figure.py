"""Figures of arrays: they know no result, and draw on axes of matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.report.numbers import flux_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

def new_figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def draw_stamp(axes: Axes, image: np.ndarray, cell: float, title: str, in_jansky: bool = True) -> None:
    """Draw an image (m, l) with offsets in arcsec, east to the left."""
    name, size = flux_unit(float(np.abs(image).max())) if in_jansky else ("", 1.0)
    half = 0.5 * cell * image.shape[1] / ARCSEC
    shift = 0.5 * cell / ARCSEC
    shown = axes.imshow(image / size, origin="lower", cmap="viridis",
                        extent=(half + shift, -half + shift, -half - shift, half - shift))
    axes.set(xlabel="offset east (arcsec)", ylabel="offset north (arcsec)")
    axes.set_title(title, wrap=True)
    axes.figure.colorbar(shown, ax=axes, label=f"{name}/beam" if in_jansky else "")
