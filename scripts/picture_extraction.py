"""The picture of an extraction: a part of the image with what was found, what is left, and fluxes beside the truth.

    python scripts/picture_extraction.py docs/images/extract_example.png

The image is that of `bench_extract.py`, 2048² pixels.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
from bench_extract import SIGMA, make_image
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from scipy.spatial import KDTree

from uvstack.extraction.task import find

#: First column and row of the part, and its side.
CORNER, SIDE = (1080, 900), 300


def draw(folder: str, out: str) -> None:
    path = make_image(folder, 2048, 1)
    with np.load(path.with_suffix(".npz")) as truth:
        x, y, true = truth["x"], truth["y"], truth["flux"] / SIGMA
    found = find(path)
    table = found.catalogue
    places = np.stack([table[name].value for name in "xy"], 1)
    figure = Figure((11, 3.9), layout="constrained")
    panels = figure.subplots(1, 3)
    part = tuple(slice(first, first + SIDE) for first in CORNER[::-1])
    extent = (CORNER[0] - 0.5, CORNER[0] + SIDE - 0.5, CORNER[1] - 0.5, CORNER[1] + SIDE - 0.5)
    for axes, pixels, title in zip(panels, (found.data, found.residual),
                                   ("image", "without its sources"), strict=False):
        axes.imshow(pixels[part], origin="lower", cmap="gray", extent=extent, vmin=-3 * SIGMA,
                    vmax=10 * SIGMA)
        axes.set(title=title, xticks=[], yticks=[])
    sizes = [3 * table[name].to_value("arcsec") for name in ("fwhm_major", "fwhm_minor")]
    panels[0].add_collection(EllipseCollection(
        *sizes, 90 + table["position_angle"].value, units="xy", offsets=places,
        transOffset=panels[0].transData, facecolors="none", edgecolors="C1"))
    apart, which = KDTree(places).query(np.stack([x, y], 1))
    alone = KDTree(np.stack([x, y], 1)).query(np.stack([x, y], 1), k=2)[0][:, 1] > 30
    which, true = which[(apart < 3) & alone], true[(apart < 3) & alone]
    flux, error = (table[name].value[which] / SIGMA for name in ("flux", "flux_error"))
    panels[2].errorbar(true, flux / true, error / true, fmt=".", ms=3, lw=0.6)
    panels[2].axhline(1.0, color="0.4", lw=1)
    panels[2].set(xscale="log", ylim=(0.4, 1.6), title="fluxes, sources that stand alone",
                  xlabel="true flux (σ of the noise)", ylabel="measured / true")
    figure.savefig(out, dpi=90, pil_kwargs={"optimize": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw(folder, told.out)


if __name__ == "__main__":
    main()
