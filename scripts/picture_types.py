"""Pictures of the data set types, `docs/images/type_*.png`: uv coverage, fluxes, dirty image, what lies beneath; and arrays.

    .venv/bin/python scripts/picture_types.py                       # all, two minutes
    .venv/bin/python scripts/picture_types.py --type 5 --scale 1    # one, every visibility of it

All sources and the whole track are there at any scale. What `--scale` takes away are integrations,
evenly, and the noise falls with the square root of their number, so that the image is as deep as
that of the full set; channels of ALMA are taken together ten by ten in the same way. Natural
weights, pixels as the paper has them (0.25″ for type 1, 0.5″ for the other types of the VLA).
Nothing is written but the pictures: the blocks of rows that `simulate.observe` would write are
imaged as they come.

A field of 30′ has more pixels than a page, so each that is shown is the brightest of a square of
them: points stay visible, and empty sky lies above zero. The last panel shows the middle at full
resolution from the same noise with the bright sources left out, which is what stacking is to work
on after a perfect subtraction.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from simulate.arrays import itrf_to_local, read_array
from simulate.block import observe_block
from simulate.counts import counts, lower_limit
from simulate.job import Job, make_job
from simulate.lindroos import CENTRE, recipe
from simulate.noise import Noise
from simulate.report import draw_uv_coverage
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines
from uvstack.uv.dirty import dirty_image
from uvstack.uv.stokes import mean_of_hands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
ARCSEC = np.pi / 180 / 3600
BLUE, ORANGE, RED = "#1b6ca8", "#d95f02", "#c00000"
#: Lines over the histograms of the targets and of the bright sources.
LINES = ("#8c3d00", "#0d3a5c")
#: ALMA's 100 channels are imaged as so many at a time.
CHANNELS_TOGETHER = 10
#: Arrays of fewer baselines keep all integrations: they are quick, and their coverage is the point.
FEW_BASELINES = 100
#: Ratio of the fluxes at both ends of a bin.
BIN = 10**0.125
ROWS_AT_ONCE = 60_000
#: Built-in arrays of the picture of arrays.
ARRAYS = ("vla.a", "vla.d", "vla.sparse", "alma.cycle1", "alma.cycle8.5", "meerkat", "atca.6a",
          "emerlin")
#: Of `simulate.observe`, for what a recipe leaves open.
DEFAULTS = {"images": (), "width": None, "start": None, "corruptions": (), "with_model": False,
            "correlations": ("RR", "LL"), "elevation_limit": np.deg2rad(8.0)}
#: Where the mosaic's sensitivity, √ΣA², falls below this it is blank.
LEAST_SENSITIVITY = 0.4


@dataclass(frozen=True)
class Frame:
    """Pixels of a picture, all in rad but the numbers: size of the field, its pixel, pixels pooled into one, size of the middle."""

    field: int
    cell: float
    pooled: int
    middle: int


def frame_of(number: int) -> Frame:
    """Frame of a type: the paper's pixels, and its field with a margin."""
    if number <= 2:
        cell = 0.25 if number == 1 else 0.5
        return Frame(round(360 / cell), cell * ARCSEC, round(0.75 / cell) if number == 1 else 1,
                     round(180 / cell))
    if number == 9:
        return Frame(1680, 0.2 * ARCSEC, 4, 160)
    if number in (8, 10):
        return Frame(640, 0.2 * ARCSEC, 1, 160)
    return Frame(3840, 0.5 * ARCSEC, 8, 360)


def thinned(number: int, seed: int, scale: float) -> tuple[Job, Job]:
    """A type's job with all its times, and the one that is simulated."""
    full = make_job(**(DEFAULTS | recipe(number, seed).settings), seed=seed)
    step = 1 if full.baselines[0].size < FEW_BASELINES else max(round(1 / scale), 1)
    some = np.sort(np.concatenate([np.flatnonzero(full.field == i)[step // 2 :: step]
                                   for i in range(len(full.pointings))]))
    job = replace(full, times=full.times[some], field=full.field[some],
                  integration=full.integration * step)
    if full.noise.sigma_jy is not None:
        return full, replace(job,
                             noise=Noise.noise_per_visibility(full.noise.sigma_jy / np.sqrt(step)))
    together = full.frequency.reshape(-1, CHANNELS_TOGETHER)
    return full, replace(job, frequency=together.mean(axis=1),
                         width=full.width.reshape(together.shape).sum(axis=1))


class Imager:
    """Sums of weighted visibilities at the pixels of each pointing.

    Attributes
    ----------
    brightness, psf : dict of int to ndarray (m, l)
        By the number of the pointing; divided by the sum of weights on reading.
    """

    def __init__(self, size: int, cell: float) -> None:
        self.size, self.cell = size, cell
        self._sum: dict[int, NDArray[np.float64]] = {}
        self._weight: dict[int, float] = {}

    def add(self, field: int, uvw: np.ndarray, frequency: np.ndarray, vis: np.ndarray,
            weight: np.ndarray) -> None:
        """Take in the visibilities (row, chan) of one pointing."""
        image = dirty_image(uvw, frequency, vis, weight, self.size, self.cell, threads=2)
        self._sum[field] = self._sum.get(field, 0.0) + image
        self._weight[field] = self._weight.get(field, 0.0) + float(weight.sum())

    def image(self, field: int) -> NDArray[np.float64]:
        """Dirty image of a pointing, Jy/beam."""
        return self._sum[field] / self._weight[field]


def images_of(job: Job, imagers: Sequence[Imager], psf: Imager | None = None) -> None:
    """Simulate a job block by block into imagers."""
    parallel = np.arange(len(job.correlations))
    per_block = max(ROWS_AT_ONCE // job.baselines[0].size, 1)
    for start in range(0, job.times.size, per_block):
        rows = observe_block(job, (start, min(start + per_block, job.times.size)))
        weight = np.broadcast_to(rows["WEIGHT"][:, None], rows["DATA"].shape)
        vis, weight = mean_of_hands(rows["DATA"], weight, parallel)
        for field in np.unique(rows["FIELD_ID"]):
            here = rows["FIELD_ID"] == field
            for imager in imagers:
                imager.add(int(field), rows["UVW"][here], job.frequency, vis[here], weight[here])
            if psf is not None:
                psf.add(0, rows["UVW"][here], job.frequency, np.ones_like(vis[here]), weight[here])


def mosaic(job: Job, imager: Imager, size: int) -> NDArray[np.float64]:
    """Linear mosaic Σ A D / Σ A² of the pointings on pixels around the common centre; NaN where it sees little."""
    offset = (np.arange(size) - size // 2) * imager.cell
    l, m = np.meshgrid(-offset, offset)
    east, north, _ = direction_cosines(job.pointings.ra, job.pointings.dec, *CENTRE)
    top, bottom = np.zeros((size, size)), np.zeros((size, size))
    for field in range(len(job.pointings)):
        x, y = imager.size // 2 - (l - east[field]) / imager.cell, imager.size // 2 + (
            m - north[field]) / imager.cell
        beam = job.primary_beam((l - east[field]).ravel(), (m - north[field]).ravel(),
                                job.frequency.mean(keepdims=True)).reshape(l.shape)
        beam[(x < 0) | (y < 0) | (x > imager.size - 1) | (y > imager.size - 1)] = 0.0
        top += beam * map_coordinates(imager.image(field), [y, x], order=3, mode="nearest")
        bottom += beam**2
    return np.where(np.sqrt(bottom) > LEAST_SENSITIVITY, top / np.maximum(bottom, 1e-9), np.nan)


def fitted_beam(psf: NDArray[np.float64], cell: float) -> tuple[float, float, float]:
    """FWHM (rad) along both axes and position angle (rad) of the Gaussian through the psf's main lobe."""
    m, l = np.indices(psf.shape) * 1.0
    l, m = -(l - psf.shape[1] // 2) * cell / ARCSEC, (m - psf.shape[0] // 2) * cell / ARCSEC
    near = np.hypot(l, m) < 6.0
    near &= psf > 0.5 * psf.max()
    terms = np.stack([l[near] ** 2, 2 * l[near] * m[near], m[near] ** 2], axis=1)
    xx, xy, yy = np.linalg.lstsq(terms, -np.log(psf[near] / psf.max()), rcond=None)[0]
    value, vector = np.linalg.eigh([[xx, xy], [xy, yy]])
    major, minor = 2 * np.sqrt(np.log(2) / value) * ARCSEC
    return float(major), float(minor), float(np.arctan2(vector[0, 0], vector[1, 0]))


def pool(image: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The largest of each n × n pixels."""
    return image.reshape(image.shape[0] // n, n, image.shape[1] // n, n).max(axis=(1, 3))


def draw_image(axes: Axes, image: NDArray[np.float64], cell: float, centre: tuple[float, float],
               beam: tuple[float, float, float], norm: Normalize, label: str) -> None:
    """An image (m, l) in the unit of the label, axes as offsets from CENTRE, the beam in a corner, and a colour bar."""
    from matplotlib.colors import AsinhNorm
    from matplotlib.patches import Ellipse, Rectangle

    unit, name = unit_of(image.shape[0] * cell)
    (x, y), half = np.array(centre) / unit, 0.5 * image.shape[0] * cell / unit
    shown = axes.imshow(image, origin="lower", cmap="Greys", norm=norm,
                        extent=(x + half, x - half, y - half, y + half), interpolation="nearest")
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.86, pad=0.02, extend="max")
    bar.set_label(label)
    if isinstance(norm, AsinhNorm):
        steps = np.outer(10.0 ** np.arange(-6, 6), (1, 2, 5)).ravel()
        bar.set_ticks([0.0, *steps[(steps > 0.7 * norm.linear_width) & (steps < norm.vmax)]])
        bar.minorticks_off()
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    major, minor, angle = beam
    # A beam of less than a dot is left to the title.
    if major / unit > 0.01 * half:
        box = max(0.07 * half, 0.8 * major / unit)
        corner = (x + half - box, y - half + box)
        axes.add_patch(Rectangle((corner[0] - box, corner[1] - box), 2 * box, 2 * box, fc="w",
                                 ec="k", lw=0.6, zorder=4))
        axes.add_patch(Ellipse(corner, minor / unit, major / unit, angle=-np.rad2deg(angle), fc=RED,
                               ec="none", zorder=5))
    axes.set(xlabel=f"east ({name})", ylabel=f"north ({name})", xlim=(x + half, x - half),
             ylim=(y - half, y + half))


def unit_of(width: float) -> tuple[float, str]:
    """Unit of the axes of a field so wide (rad), and its sign."""
    return (60 * ARCSEC, "′") if width > 200 * ARCSEC else (ARCSEC, "″")


def mark(axes: Axes, sky: Components, width: float, centre: tuple[float, float],
         target_size: float) -> None:
    """Rings around bright sources, wider for more flux, and rings or dots on the targets, within a square of a centre."""
    l, m, _ = direction_cosines(sky.ra, sky.dec, *CENTRE)
    inside = (np.abs(l - centre[0]) < width / 2) & (np.abs(m - centre[1]) < width / 2)
    unit, _ = unit_of(width)
    bright, targets = inside & ~sky.target, inside & sky.target
    if bright.any():
        size = 12 + 90 * np.clip(np.log10(sky.flux[bright] / sky.flux[~sky.target].max()) / 2.5 + 1,
                                 0, 1) ** 2
        # A single source has its image's black cross to itself: the ring goes around it.
        size = 4 * size if size.size == 1 else size
        axes.scatter(l[bright] / unit, m[bright] / unit, s=size, fc="none", ec=BLUE, lw=0.7)
    style = {"fc": "none", "ec": ORANGE,
             "lw": 0.9} if target_size > 5 else {"fc": ORANGE, "ec": "none"}
    axes.scatter(l[targets] / unit, m[targets] / unit, s=target_size, **style)


def expected(number: int) -> list[tuple[bool, str, tuple[float, float]]]:
    """Which population of a type (target or not) has a model with a spread, its name and its limits."""
    found: list[tuple[bool, str, tuple[float, float]]] = []
    if number in (4, 5, 6, 11):
        found.append((True, "schechter", (0.25 * 1.71e-6, 10 * 1.71e-6)))
    if number in (5, 6, 7, 11):
        found.append((False, "bondi2008",
                      (lower_limit("bondi2008", 417, (1800 * ARCSEC) ** 2), 1.0)))
    if number == 10:
        found.append((False, "bethermin2012",
                      (lower_limit("bethermin2012", 282, (100 * ARCSEC) ** 2, upper=10e-3), 10e-3)))
    return found


def draw_fluxes(axes: Axes, sky: Components, number: int) -> None:
    """Histogram of both populations in bins of equal ratio, and what the model expects in each bin."""
    models = {target: (model, limits) for target, model, limits in expected(number)}
    for target, colour, line, name in ((True, ORANGE, LINES[0], "target"),
                                       (False, BLUE, LINES[1], "bright")):
        flux = sky.flux[sky.target == target]
        label = f"{flux.size} {name}{'s' if target and flux.size > 1 else ''}" + (
            f" of {flux_text(flux[0])}" if np.ptp(flux) == 0 else "")
        model, limits = models.get(target, ("", (flux[0] * BIN**-0.5, flux[0] * BIN)))
        edges = limits[0] * BIN ** np.arange(np.ceil(np.log(limits[1] / limits[0]) / np.log(BIN))
                                             + 1)
        axes.hist(flux * 1e3, edges * 1e3, color=colour, alpha=0.6, label=label)
        if model:
            grid = np.geomspace(*limits, 400)
            shape = grid * counts(model, grid, limits,
                                  **({"density": 1.0} if model == "schechter" else {}))
            per_ln = flux.size * shape / np.trapezoid(shape, np.log(grid))
            axes.plot(grid * 1e3, per_ln * np.log(BIN), color=line, lw=1.4,
                      label=f"expected of {model}")
    # Room for the legend above the highest bar.
    axes.set(xscale="log", yscale="log", xlabel="flux density (mJy)", ylabel="sources per bin",
             title="fluxes")
    axes.set(ylim=(0.5, 10 ** (1.3 * np.log10(axes.get_ylim()[1]) + 0.7)),
             xlim=(sky.flux.min() * 0.5e3, sky.flux.max() * 2e3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.legend(fontsize="small", frameon=False, loc="upper right")


def flux_text(flux: float) -> str:
    """A flux density with a unit that fits."""
    return f"{flux * 1e6:.3g} µJy" if flux < 1e-4 else f"{flux * 1e3:.3g} mJy"


def middle_of(job: Job, frame: Frame,
              image: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Part of a mosaic around the pointing next to its middle, and its centre (l, m)."""
    east, north, _ = direction_cosines(job.pointings.ra, job.pointings.dec, *CENTRE)
    nearest = int(np.argmin(np.hypot(east, north)))
    x, y = round(-float(east[nearest]) / frame.cell), round(float(north[nearest]) / frame.cell)
    top, left = frame.field // 2 + y - frame.middle // 2, frame.field // 2 + x - frame.middle // 2
    return image[top : top + frame.middle,
                 left : left + frame.middle], (-x * frame.cell, y * frame.cell)


def picture(number: int, seed: int, scale: float, path: Path) -> str:
    """Draw a type and return a line about it."""
    from matplotlib.colors import AsinhNorm, Normalize
    from matplotlib.figure import Figure

    full, job = thinned(number, seed, scale)
    frame = frame_of(number)
    several = len(job.pointings) > 1
    size = round(64 * ARCSEC / frame.cell) if several else frame.field
    whole, below, psf = Imager(size, frame.cell), Imager(size if several else frame.middle,
                                                         frame.cell), Imager(48, 0.25 * frame.cell)
    images_of(job, [whole], psf)
    images_of(replace(job, sky=job.sky.subset(job.sky.target)), [below])
    image = mosaic(job, whole, frame.field) if several else whole.image(0)
    rest, centre = middle_of(job, frame,
                             mosaic(job, below,
                                    frame.field)) if several else (below.image(0), (0.0, 0.0))
    beam = fitted_beam(psf.image(0), psf.cell)
    rms = 1.4826 * float(np.nanmedian(np.abs(rest - np.nanmedian(rest))))

    figure = Figure(figsize=(9.6, 8.2), layout="constrained")
    axes = figure.subplots(2, 2, height_ratios=(0.82, 1))
    draw_uv_coverage(axes[0, 0], full.array, full.pointings, full.times, full.field, full.frequency)
    draw_fluxes(axes[0, 1], full.sky, number)
    shown, cell = pool(image, frame.pooled) * 1e3, frame.cell * frame.pooled
    low, middle, high = np.nanpercentile(shown, (1, 50, 99.95))
    draw_image(axes[1, 0], shown, cell, (0.0, 0.0), beam,
               AsinhNorm(linear_width=max(middle - low, 1e-4), vmin=low, vmax=high),
               "mJy/beam" + (f", brightest of {frame.pooled} × {frame.pooled} pixels"
                             if frame.pooled > 1 else ""))
    mark(axes[1, 0], job.sky, frame.field * frame.cell, (0.0, 0.0),
         10 if number in (9, 10) else 2.5 if len(job.sky) > 100 else 40)
    axes[1, 0].set_title("dirty image" + (f", {len(job.pointings)} pointings" if several else ""))
    draw_image(axes[1, 1], rest * 1e6, frame.cell, centre, beam, Normalize(-3e6 * rms, 6e6 * rms),
               "µJy/beam")
    mark(axes[1, 1], job.sky.subset(job.sky.target), rest.shape[0] * frame.cell, centre, 130)
    axes[1, 1].set_title("one pointing without bright sources" if several
                         else "the middle without bright sources")
    beam_text = f"{beam[0] / ARCSEC:.2f}″ × {beam[1] / ARCSEC:.2f}″"
    figure.suptitle(f"Type {number}: {recipe(number).studied}\n{full.array.name}, {full.frequency.mean() / 1e9:g} GHz, beam {beam_text}, "
                    f"rms of the last panel {flux_text(rms)}/beam", fontsize=11)
    save(figure, path)
    return f"type {number:2d}: beam {beam_text}, rms {rms * 1e6:.2f} µJy/beam, {job.times.size} of {full.times.size} integrations"


def picture_arrays(path: Path) -> None:
    """Draw the antennas of some built-in arrays, seen from above."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    for axes, name in zip(figure.subplots(2, 4).flat, ARRAYS, strict=True):
        array = read_array(name)
        east, north, _ = itrf_to_local(array.positions, array.longitude, array.latitude,
                                       array.height).T
        unit, text = (1e3, "km") if array.baseline_lengths.max() > 1500 else (1.0, "m")
        middle = [0.5 * (x.min() + x.max()) / unit for x in (east, north)]
        half = 0.58 * max(np.ptp(east), np.ptp(north)) / unit
        axes.plot(east / unit, north / unit, "o", ms=2.6, color=BLUE)
        axes.set(xlim=(middle[0] - half, middle[0] + half),
                 ylim=(middle[1] - half, middle[1] + half), aspect="equal", box_aspect=1)
        axes.set_title(f"{name}: {len(array.antenna_names)} antennas", fontsize=9)
        axes.set_xlabel(f"east ({text})", fontsize=8)
        axes.set_ylabel(f"north ({text})", fontsize=8)
        axes.tick_params(labelsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """PNG with a palette of greys and of the markers' colours: half the size, and nothing to be seen of it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgb
    from PIL import Image
    from scipy.spatial import cKDTree

    towards = np.linspace(0, 1, 12)[:, None]
    ramps = [(1 - towards) * to_rgb(colour) + towards * end
             for colour in (BLUE, ORANGE, RED, *LINES) for end in (0.0, 1.0)]
    palette = (255
               * np.concatenate([np.linspace(0, 1, 136)[:, None] * np.ones(3),
                                 *ramps])).round().astype(np.uint8)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(100)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    nearest = cKDTree(palette.astype(float)).query(pixels.reshape(-1, 3).astype(float))[1]
    image = Image.fromarray(nearest.astype(np.uint8).reshape(pixels.shape[:2]), mode="P")
    image.putpalette(palette.tobytes())
    image.save(path, optimize=True)


def main() -> None:
    """Draw the types asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--type", type=int, choices=range(1, 12), nargs="*",
                        default=list(range(1, 12)))
    parser.add_argument("--scale", type=float, default=0.1,
                        help="share of the integrations (default %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    picture_arrays(arguments.out / "arrays.png")
    for number in arguments.type:
        print(picture(number, arguments.seed, arguments.scale,
                      arguments.out / f"type_{number:02d}.png"), flush=True)


if __name__ == "__main__":
    main()
