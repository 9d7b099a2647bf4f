"""Pictures of docs/sdint.md, in the manner of figures 3 to 19 of Rau, Naik & Braun (2019).

    python scripts/picture_sdint.py FOLDER docs/images

Of what scripts/measure_sdint.py left in FOLDER; what is not there is left out. One PNG a case:
intensity and spectral index of each method in columns, beside the truth; and one of its cubes, with
the channels in rows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from measure_sdint import CUBES, OF_CASE, images_of, images_with_beams
from sdint_cases import files_of

from simulate.rau import CELL, FREQUENCY, true_images
from uvstack.constants import ARCMIN
from uvstack.joint.assessment.finished_files import assess_image, read_finished
from uvstack.joint.assessment.report import against_figure
from uvstack.joint.reconstruction.dish_files import read_dish
from uvstack.report.figure import new_figure
from uvstack.sky.beam import Beam

#: Titles, and what of the paper they are like.
TITLES = {"int": "interferometer", "sd": "dish", "feather": "feather", "startmodel": "startmodel",
          "joint": "joint", "joint-0.2": "joint, sd-gain 0.2"}
TITLES |= {name: TITLES[name.removeprefix("cube-")] for name in CUBES}
#: Half of the side that is shown, arcmin; where alpha is shown, of the peak.
_SIDE, _LEAST = 50.0, 0.02
#: mJy/beam.
INTENSITY = (-20.0, 450.0)


def main() -> None:
    """Write the pictures."""
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    for name in OF_CASE:
        there = [m for m in OF_CASE[name] if m in TITLES
                 and images_of(folder / f"{name}-{m}")[0].exists()]
        for kind, methods in (("", [m for m in there if m not in CUBES]),
                              ("-cubes", [m for m in there if m in CUBES])):
            if methods:
                draw = _cubes if kind else _terms
                draw(folder, name, methods).savefig(out / f"sdint-{name}{kind}.png", dpi=90)
        assessed = images_of(folder / f"{name}-joint")[0]
        if name == "dense" and assessed.exists():
            _assessed(folder, name, assessed).savefig(out / f"sdint-{name}-assessed.png", dpi=90)
    _truth().savefig(out / "sdint-truth.png", dpi=90)
    for path in out.glob("sdint-*.png"):
        _smaller(path)


def _terms(folder: Path, name: str, methods: list[str]):
    """Rows: intensity and spectral index; columns: the truth and each method."""
    figure = new_figure((2.3 * (len(methods) + 1), 4.4))
    axes = figure.subplots(2, len(methods) + 1, sharex=True, sharey=True)
    _, beam = images_with_beams(images_of(folder / f"{name}-{methods[-1]}")[0])[0]
    truth, index = true_images(beam, FREQUENCY[1], 800)
    columns = [("truth", truth, index, beam)]
    for method in methods:
        term, slope = (images_with_beams(path)[0] for path in images_of(folder / f"{name}-{method}"))
        with np.errstate(divide="ignore", invalid="ignore"):
            columns.append((TITLES[method], term[0], slope[0] / term[0], term[1]))
    for column, (title, intensity, alpha, own) in enumerate(columns):
        # In the beam of the truth, so that one scale holds.
        per = beam.solid_angle / own.solid_angle
        seen = intensity > _LEAST * np.nanmax(intensity)
        drawn = [_draw(axes[0, column], 1e3 * per * intensity, INTENSITY, "viridis"),
                 _draw(axes[1, column], np.where(seen, alpha, np.nan), (-2.0, 1.0), "turbo")]
        axes[0, column].set_title(title, fontsize=9)
    for row, label in enumerate(("mJy/beam", "spectral index")):
        figure.colorbar(drawn[row], ax=axes[row, :].tolist(), shrink=0.85, label=label)
    axes[1, 0].set(xlabel="arcmin", ylabel="arcmin")
    return figure


def _cubes(folder: Path, name: str, methods: list[str]):
    """Rows: channels; columns: the truth in the interferometer's beam and each method."""
    figure = new_figure((2.3 * (len(methods) + 1), 6.2))
    axes = figure.subplots(len(FREQUENCY), len(methods) + 1, sharex=True, sharey=True)
    cubes = [images_with_beams(images_of(folder / f"{name}-{method}")[0]) for method in methods]
    for row, nu in enumerate(FREQUENCY):
        beam = cubes[-1][row][1]
        truth = true_images(beam, nu, 800)[0]
        top = 1e3 * np.percentile(truth, 99.8)
        for column, (image, own) in enumerate([(truth, beam), *(cube[row] for cube in cubes)]):
            drawn = _draw(axes[row, column], 1e3 * beam.solid_angle / own.solid_angle * image,
                          (-0.1 * top, top), "viridis")
            if row == 0:
                axes[0, column].set_title(("truth", *(TITLES[m] for m in methods))[column],
                                          fontsize=9)
        axes[row, 0].set_ylabel(f"{nu / 1e9:g} GHz")
        figure.colorbar(drawn, ax=axes[row, :].tolist(), shrink=0.85, label="mJy/beam")
    axes[-1, 0].set_xlabel("arcmin")
    return figure


def _draw(ax, image: np.ndarray, limits: tuple[float, float], colours: str):
    """The middle of an image."""
    half = 0.5 * image.shape[0] * CELL / ARCMIN
    ax.set(xlim=(_SIDE, -_SIDE), ylim=(-_SIDE, _SIDE))
    return ax.imshow(image, origin="lower", cmap=colours, vmin=limits[0], vmax=limits[1],
                     extent=(half, -half, -half, half), interpolation="nearest")


def _assessed(folder: Path, name: str, path: Path):
    """The joint image smoothed to the dish over the dish's map."""
    low = read_dish(files_of(folder, name)[1])
    made = read_finished(path, None, low)
    assert made is not None
    return against_figure(assess_image(made)["against_dish"], "dish")


def _truth():
    """The sky at the three frequencies, as the dish and the interferometer resolve it."""
    figure = new_figure((8.0, 5.2))
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for column, nu in enumerate(FREQUENCY):
        for row, diameter in enumerate((1030.0, 100.0)):
            width = 299792458.0 / nu / diameter
            image, _ = true_images(Beam(width, width, 0.0), nu, 800)
            ax = axes[row, column]
            half = 400 * CELL / ARCMIN
            ax.imshow(image, origin="lower", cmap="viridis", vmax=np.percentile(image, 99.9),
                      extent=(half, -half, -half, half))
            ax.set(xlim=(_SIDE, -_SIDE), ylim=(-_SIDE, _SIDE))
            if row == 0:
                ax.set_title(f"{nu / 1e9:.1f} GHz", fontsize=9)
    axes[0, 0].set_ylabel("interferometer")
    axes[1, 0].set_ylabel("dish")
    return figure


def _smaller(path: Path) -> None:
    """Fewer colours: a quarter of the bytes."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
