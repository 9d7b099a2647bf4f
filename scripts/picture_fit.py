"""The pictures of `docs/fitting.md`: `docs/images/fit_example.png`, a fit as `uvstack fit` draws it, and `fit_shapes.png`.

The fit is that of `stacked.ms` on that page: the same source, array, noise and seed, simulated here
in a temporary folder.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import simulate
import uvstack
from uvstack.fitting.model.shapes import SHAPES, profile_of
from uvstack.fitting.report import fit_figure
from uvstack.sky.components import components

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
ARCSEC = np.deg2rad(1 / 3600)
RA, DEC = np.deg2rad([150.0, 30.0])
#: Width of the drawn Gaussian ring over its diameter.
RING_WIDTH = 0.2


def example(folder: Path) -> uvstack.FitResult:
    """Fit of a circular Gaussian to one of 2 mJy and 1.2″."""
    made = simulate.observe(array="vla.a", pointings=(RA, DEC),
                            sky=components([RA], [DEC], [2e-3], fwhm_major=1.2 * ARCSEC),
                            frequency=1.4e9 + 32e6 * np.arange(8), integration=60.0,
                            duration=3600.0, noise=5e-3, seed=7, out=folder / "stacked.ms")
    result = uvstack.fit(made.ms, model="gaussian")
    assert isinstance(result, uvstack.FitResult)
    return result


def draw_shapes(axes: Axes, names: tuple[str, ...], end: float) -> None:
    """Draw profiles of unit flux against x from 0 to `end`."""
    x = np.linspace(1e-3, end, 800)
    axes.axhline(0.0, color="0.6", lw=0.6)
    for i, name in enumerate(names):
        extra = RING_WIDTH * x if SHAPES[name].has_extra else 0.0
        label = f"{name}, σ = {RING_WIDTH:g} major" if SHAPES[name].has_extra else name
        axes.plot(x, profile_of(name, x, extra)[0], lw=1.6, color=f"C{i}", label=label)
    axes.set(xlim=(0, end), xlabel="x = π · major · q")
    axes.legend(frameon=False, fontsize="small")


def main() -> None:
    """Draw both."""
    from matplotlib.figure import Figure

    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        result = example(Path(folder))
    print(result)
    fit_figure(result).savefig(IMAGES / "fit_example.png", dpi=100)
    figure = Figure(figsize=(9.5, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_shapes(left, ("delta", "gaussian", "expo", "power-3", "power-2"), 6.0)
    left.set(ylim=(-0.05, 1.5), title="major is the FWHM (delta: no size)", ylabel="f(x)")
    draw_shapes(right, ("disc", "sphere", "bubble", "ring", "gaussian-ring"), 14.0)
    right.set(ylim=(-0.45, 1.05), title="major is the diameter")
    figure.savefig(IMAGES / "fit_shapes.png", dpi=100)


if __name__ == "__main__":
    main()
