"""What imaging gives back: the images with their beam and noise, a few lines for the terminal, a picture."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

from uvstack.constants import ARCSEC
from uvstack.deconvolution.major_cycle import Cycle
from uvstack.pixels.grid import Grid
from uvstack.records import Provenance, Shown, frequency_text, plain
from uvstack.sky.beam import Beam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Attributes of `ImageResult` that are images, or None.
IMAGES = ("dirty", "residual", "image", "model", "psf", "pbcor", "response", "alpha", "alpha_error")


@dataclass(frozen=True, eq=False, repr=False)
class ImageResult(Shown):
    """Images of one plane, all on one grid.

    Attributes
    ----------
    grid : Grid
    dirty, residual, image : ndarray (term, m, l)
        Jy/beam, of even noise in a mosaic; NaN where no pointing sees. `image` is restored, and its terms are Taylor
        coefficients; those of `dirty` and `residual` are sums with Taylor weights.
    model : ndarray (term, m, l)
        Jy/pixel: as seen through the primary beam for one pointing, the sky itself for a mosaic.
    psf : ndarray (m, l)
        Peak 1, of the size of the image.
    pbcor : ndarray (term, m, l) or None
        Corrected for the primary beam, Jy/beam.
    response : ndarray (m, l) or None
        Power of the primary beam, or of the mosaic.
    alpha, alpha_error : ndarray (m, l) or None
        Spectral index where there are two terms or more.
    beam : Beam
        Restoring beam, rad.
    reference_frequency : float
        Hz.
    noise, rms : float
        Of the residual's term 0, Jy/beam: 1.4826 times the median absolute deviation, and the root mean square.
    noise_expected : float
        From the weights, if they are 1/σ² in Jy, Jy/beam.
    n_visibilities, n_not_finite : int
        Used (hands that are averaged count once); unflagged and NaN or infinite.
    stop_reason : str
        A key of `uvstack.deconvolution.major_cycle.STOP_REASONS`.
    n_cycles, n_iterations : int
    history : tuple of Cycle
    model_is : {"apparent", "sky"}
    files : dict
        Product → path, empty where nothing was written.
    provenance : Provenance
    stokes : str
    band : (float, float)
        From the lower edge of the lowest to the upper edge of the highest channel, Hz.
    date : str
        UTC of the first visibility, ISO 8601.
    spectral_frame : str
        That of the frequencies, as SPECSYS of FITS has it; empty where it is not known.
    tables : dict
        "components", those of the model, and "history", a row for each cycle.
    """

    grid: Grid
    dirty: NDArray
    residual: NDArray
    image: NDArray
    model: NDArray
    psf: NDArray
    pbcor: NDArray | None
    response: NDArray | None
    alpha: NDArray | None
    alpha_error: NDArray | None
    beam: Beam
    reference_frequency: float
    noise: float
    rms: float
    noise_expected: float
    n_visibilities: int
    n_not_finite: int
    stop_reason: str
    n_cycles: int
    n_iterations: int
    history: tuple[Cycle, ...]
    model_is: str
    provenance: Provenance
    files: dict[str, str] = field(default_factory=dict)
    stokes: str = "I"
    band: tuple[float, float] = (0.0, 0.0)
    date: str = ""
    spectral_frame: str = ""
    tables: dict[str, QTable] = field(default_factory=dict)

    def __str__(self) -> str:
        return print_summary(self)

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them."""
        return _summary_of_grid(self.grid) | self.numbers() | {"files": self.files, "provenance": vars(self.provenance)}

    def numbers(self) -> dict[str, Any]:
        """What is this plane's own, as JSON takes it."""
        return plain({
            "stokes": self.stokes, "reference_frequency_hz": self.reference_frequency, "band_hz": list(self.band),
            "spectral_frame": self.spectral_frame,
            "beam": {"fwhm_major_arcsec": self.beam.fwhm_major / ARCSEC, "fwhm_minor_arcsec": self.beam.fwhm_minor / ARCSEC,
                     "position_angle_deg": float(np.rad2deg(self.beam.position_angle))},
            "noise_jy_per_beam": self.noise, "rms_jy_per_beam": self.rms, "noise_expected_jy_per_beam": self.noise_expected,
            "model_flux_jy": float(self.model[0].sum()), "model_is": self.model_is, "n_visibilities": self.n_visibilities,
            "n_not_finite": self.n_not_finite, "stop_reason": self.stop_reason, "n_cycles": self.n_cycles,
            "n_iterations": self.n_iterations, "history": [vars(row) for row in self.history]})


@dataclass(frozen=True, eq=False, repr=False)
class ImageCube(Shown):
    """Planes of several Stokes parameters or frequencies, all on one grid.

    Attributes
    ----------
    grid : Grid
    stokes : tuple of str
    frequency : ndarray (chan,)
        Centres of the steps of the axis, Hz; the mean of the data in a plane is its `reference_frequency`.
    width : float
        Of a step, Hz.
    planes : tuple of ImageResult or None
        The channel runs fastest: plane (stokes, chan) is planes[stokes × n_chan + chan]. None where there are no data. Images
        are in single precision.
    provenance : Provenance
    files : dict
        Product → path, empty where nothing was written.
    """

    grid: Grid
    stokes: tuple[str, ...]
    frequency: NDArray
    width: float
    planes: tuple[ImageResult | None, ...]
    provenance: Provenance
    files: dict[str, str] = field(default_factory=dict)

    @property
    def made(self) -> tuple[ImageResult, ...]:
        """The planes that there are data for."""
        return tuple(plane for plane in self.planes if plane is not None)

    @property
    def model_is(self) -> str:
        """As in `ImageResult`."""
        return self.made[0].model_is

    @property
    def spectral_frame(self) -> str:
        """As in `ImageResult`."""
        return self.made[0].spectral_frame

    def plane(self, stokes: str, channel: int = 0) -> ImageResult | None:
        """One plane, None where there are no data."""
        return self.planes[self.stokes.index(stokes) * len(self.frequency) + channel]

    def cube(self, name: str) -> NDArray[np.float32]:
        """Images of one kind, "image", "residual", "psf" …, (stokes, chan, m, l), NaN where there are no data; of terms the first."""
        blank = np.full(self.grid.shape, np.nan, np.float32)
        found = [blank if plane is None else _first(getattr(plane, name)) for plane in self.planes]
        return np.stack(found).astype(np.float32).reshape(len(self.stokes), len(self.frequency), *self.grid.shape)

    def __str__(self) -> str:
        return print_summary(self)

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them; "planes" is a list in the order of `planes`, null where there are no data."""
        return _summary_of_grid(self.grid) | {
            "stokes": list(self.stokes), "frequency_hz": self.frequency.tolist(), "width_hz": self.width,
            "planes": [None if plane is None else plane.numbers() for plane in self.planes], "files": self.files,
            "provenance": vars(self.provenance)}


def _first(images: NDArray) -> NDArray:
    return images[0] if images.ndim == 3 else images


def _summary_of_grid(grid: Grid) -> dict[str, Any]:
    where = grid.geometry
    return {"shape": list(grid.shape), "ra_deg": float(np.rad2deg(where.ra)), "dec_deg": float(np.rad2deg(where.dec)),
            "cell_arcsec": where.cell_m / ARCSEC}


def print_summary(result: ImageResult | ImageCube) -> str:
    """Beam, noise, model and how the deconvolution ended, in a few lines; of a cube a line for each plane."""
    if isinstance(result, ImageCube):
        return _print_cube(result)
    beam = result.beam
    major, minor = beam.fwhm_major / ARCSEC, beam.fwhm_minor / ARCSEC
    peak = np.unravel_index(np.nanargmax(result.image[0]), result.image[0].shape)
    lines = [
        ("image", f"{result.grid.shape[1]} × {result.grid.shape[0]} pixels of {result.grid.geometry.cell_m / ARCSEC:.4g} arcsec"),
        ("beam", f"{major:.4g} × {minor:.4g} arcsec at {np.rad2deg(beam.position_angle):.1f}°"),
        ("frequency", f"{result.reference_frequency / 1e9:.6g} GHz, Stokes {result.stokes}, {result.n_visibilities} visibilities"),
        ("peak", f"{result.image[0][peak]:.4g} Jy/beam at pixel ({peak[0]}, {peak[1]})"),
        ("noise", f"{result.noise:.3g} Jy/beam (rms {result.rms:.3g}, expected from the weights {result.noise_expected:.3g})"),
        ("model", f"{result.model[0].sum():.5g} Jy in {np.count_nonzero(result.model[0])} pixels ({result.model_is})"),
        ("stopped", f"{result.stop_reason}, after {result.n_cycles} cycles and {result.n_iterations} iterations"),
        *([("imager", result.provenance.inputs["imager"])] if "imager" in result.provenance.inputs else [])]
    return "\n".join(f"{name:<12} {text}" for name, text in lines)


def _print_cube(cube: ImageCube) -> str:
    lines = [f"{'image':<12} {cube.grid.shape[1]} × {cube.grid.shape[0]} pixels of {cube.grid.geometry.cell_m / ARCSEC:.4g} arcsec, "
             f"{len(cube.stokes)} Stokes × {len(cube.frequency)} channels of {cube.width / 1e6:.6g} MHz",
             f"{'stokes':<6} {'GHz':>11} {'beam (arcsec)':>17} {'peak':>10} {'noise':>9} {'expected':>9} {'model (Jy)':>10}  stopped"]
    for i, plane in enumerate(cube.planes):
        stokes, channel = divmod(i, len(cube.frequency))
        start = f"{cube.stokes[stokes]:<6} {frequency_text(cube.frequency[channel], cube.width):>11}"
        if plane is None:
            lines.append(f"{start} no data")
            continue
        values = plane.image[0].ravel()
        peak = values[np.nanargmax(np.abs(values))]
        beam = f"{plane.beam.fwhm_major / ARCSEC:.3g} × {plane.beam.fwhm_minor / ARCSEC:.3g}"
        lines.append(f"{start} {beam:>17} {peak:>10.4g} {plane.noise:>9.3g} {plane.noise_expected:>9.3g} {plane.model[0].sum():>10.4g}  "
                     f"{plane.stop_reason}")
    return "\n".join(lines)


def cube_figure(cube: ImageCube) -> Figure:
    """Restored planes: a row for each Stokes parameter, up to 6 channels; −4 to 20 times their noise, Q, U, V to 10 both ways."""
    from matplotlib.figure import Figure

    channels = np.unique(np.linspace(0, len(cube.frequency) - 1, min(len(cube.frequency), 6)).round().astype(int))
    figure = Figure(figsize=(1.5 + 3.2 * len(channels), 0.6 + 3.1 * len(cube.stokes)), layout="constrained")
    axes = figure.subplots(len(cube.stokes), len(channels), squeeze=False, sharex=True, sharey=True)
    edges = _edges(cube.grid)
    for row, stokes in enumerate(cube.stokes):
        for axis, channel in zip(axes[row], channels, strict=True):
            plane = cube.plane(stokes, int(channel))
            if plane is None:
                axis.text(0.5, 0.5, "no data", transform=axis.transAxes, ha="center", va="center")
                axis.set(xlim=edges[:2], ylim=edges[2:], aspect="equal")
            else:
                noise = plane.noise if plane.noise > 0 else float(np.nanmax(np.abs(plane.image[0]))) / 100 or 1.0
                low, high, colours, line = (-10, 10, "RdBu_r", "black") if stokes in ("Q", "U", "V") else (-4, 20, "inferno", "white")
                axis.imshow(_thinned(plane.image[0], 700), origin="lower", extent=edges, interpolation="nearest", vmin=low * noise,
                            vmax=high * noise, cmap=colours)
                _draw_beam(axis, plane.beam, edges, line)
            axis.set_title(f"{stokes}, {frequency_text(cube.frequency[channel], cube.width)} GHz", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("l (arcsec)")
    for axis in axes[:, 0]:
        axis.set_ylabel("m (arcsec)")
    return figure


def image_figure(result: ImageResult) -> Figure:
    """Restored image from −4 to 20 times the noise, residual from −4 to 4, and the middle of the psf, beside each other.

    Large images are thinned to 500 pixels, about those of the picture: each is the value farthest from 0 of a block.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.6), layout="constrained")
    axes = figure.subplots(1, 3)
    inner = _of_some_beams(result.grid, result.beam)
    noise = result.noise if result.noise > 0 else float(np.nanmax(np.abs(result.image[0]))) / 100 or 1.0
    scale, name = (1e6, "µJy") if noise < 1e-4 else (1e3, "mJy")
    whole = slice(0, result.grid.shape[0]), slice(0, result.grid.shape[1])
    for axis, title, data, part, limits in (
            (axes[0], "image", scale * result.image[0], whole, (-4 * scale * noise, 20 * scale * noise)),
            (axes[1], "residual", scale * result.residual[0], whole, (-4 * scale * noise, 4 * scale * noise)),
            (axes[2], "psf", result.psf, inner, (-0.1, 0.5))):
        edges = _edges(result.grid.part(*part))
        shown = axis.imshow(_thinned(data[part], 500), origin="lower", extent=edges, cmap="inferno" if title != "residual" else "RdBu_r",
                            vmin=limits[0], vmax=limits[1], interpolation="nearest")
        axis.set_title(title)
        axis.set_xlabel("l (arcsec)")
        figure.colorbar(shown, ax=axis, label="" if title == "psf" else f"{name}/beam", shrink=0.85)
    axes[0].set_ylabel("m (arcsec)")
    _draw_beam(axes[0], result.beam, _edges(result.grid))
    return figure


def _thinned(data: NDArray, n: int) -> NDArray:
    """An image of about n pixels a side: of each block the value farthest from 0, so that no source is left out."""
    step = max(1, max(data.shape) // n)
    if step == 1:
        return data
    rows, columns = (size // step for size in data.shape)
    blocks = data[: rows * step, : columns * step].reshape(rows, step, columns, step)
    # One pixel of all blocks after the other: to reduce along short axes takes four times as long.
    pixels = [blocks[:, i, :, j] for i in range(step) for j in range(step)]
    high, low = (functools.reduce(extreme, pixels) for extreme in (np.fmax, np.fmin))
    return np.where(high >= -low, high, low)


def _of_some_beams(grid: Grid, beam: Beam) -> tuple[slice, slice]:
    """Rows and columns in the middle of an image, 20 beams wide."""
    half = int(np.ceil(10 * beam.fwhm_major / grid.geometry.cell_m))
    return tuple(slice(max(0, n // 2 - half), min(n, n // 2 + half + 1)) for n in grid.shape)  # type: ignore[return-value]


def _edges(grid: Grid) -> tuple[float, float, float, float]:
    """Outer edges of the pixels, arcsec: left, right, bottom, top."""
    where = grid.geometry
    return tuple(float(x) / ARCSEC for x in (
        grid.l[0] - where.cell_l / 2, grid.l[-1] + where.cell_l / 2, grid.m[0] - where.cell_m / 2,
        grid.m[-1] + where.cell_m / 2))  # type: ignore[return-value]


def _draw_beam(axis: Any, beam: Beam, edges: tuple[float, float, float, float], colour: str = "white") -> None:
    from matplotlib.patches import Ellipse

    left, right, bottom, top = edges
    centre = (left + 0.06 * (right - left), bottom + 0.06 * (top - bottom))
    # East is to the left: along the axis of data, which falls, an angle from north through east is measured from +m to +l.
    axis.add_patch(Ellipse(centre, beam.fwhm_minor / ARCSEC, beam.fwhm_major / ARCSEC, angle=-np.rad2deg(beam.position_angle),
                           facecolor="none", edgecolor=colour))
