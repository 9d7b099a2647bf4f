"""What a person reads of images: of one plane the numbers, the images and how they came about.

Of a cube a line for each plane.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import ARCSEC
from uvstack.pixels.grid import Grid
from uvstack.records import frequency_text
from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit
from uvstack.report.page import Section
from uvstack.sky.beam import Beam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.imaging.result import ImageCube, ImageResult

#: Lines of a table of cycles, at most: the file holds all.
_MOST_CYCLES = 24
#: Planes of a cube that a legend names, at most.
_MOST_NAMED = 8


def _brightness(value: float) -> str:
    name, size = flux_unit(value)
    return f"{value / size:.3g} {name}/beam"


def overview(result: ImageResult) -> Section:
    """Peak, beam, noise, model and how the deconvolution ended."""
    image, beam = result.image[0], result.beam
    peak = np.unravel_index(np.nanargmax(image), image.shape)
    name, size = flux_unit(float(image[peak]))
    expected = "" if np.isnan(result.noise_expected) else f", expected from the weights {_brightness(result.noise_expected)}"
    in_range = f"dynamic range {image[peak] / result.noise:.4g}" if result.noise > 0 else ""
    rows: list[tuple[str, ...]] = [
        ("at", f"pixel ({peak[0]}, {peak[1]})", "row and column of the peak, from 0; the dynamic range is the peak over the noise"),
        ("image", f"{result.grid.shape[1]} × {result.grid.shape[0]} pixels of {result.grid.geometry.cell_m / ARCSEC:.4g} arcsec"),
        ("beam", f"{beam.fwhm_major / ARCSEC:.4g} × {beam.fwhm_minor / ARCSEC:.4g} arcsec at {np.rad2deg(beam.position_angle):.1f}°"),
        ("frequency", f"{result.reference_frequency / 1e9:.6g} GHz, Stokes {result.stokes}, {result.n_visibilities} visibilities"),
        ("noise", f"{_brightness(result.noise)} (rms {_brightness(result.rms)}{expected})",
         "of the residual, by its median absolute deviation; a noise above that expected says that something of the sky is left in it"),
        ("model", f"{result.model[0].sum():.5g} Jy in {np.count_nonzero(result.model[0])} pixels ({result.model_is})",
         "as the antennas see it" if result.model_is == "apparent" else "corrected for the primary beam"),
        ("stopped", f"{result.stop_reason}, after {result.n_cycles} cycle{'s' if result.n_cycles != 1 else ''} "
                    f"and {result.n_iterations} iterations"),
        *([("imager", result.provenance.inputs["imager"])] if "imager" in result.provenance.inputs else [])]
    return Section(f"Image of {_sets(result)}", rows,
                   lead=("peak", f"{image[peak] / size:.4g} {name}/beam", in_range))


def sections(result: ImageResult) -> list[Section]:
    """Overview, images, spectrum and cycles."""
    found = [overview(result),
             Section("Restored image, residual and psf", _shown(result.mask),
                     {"image": image_figure(result)})]
    if result.alpha is not None:
        found.append(Section("Spectral index", _alpha_rows(result),
                             {"alpha": alpha_figure(result)}))
    if len(result.history) > 1:
        grid = [("cycle", "iterations", "peak in the mask (Jy/beam)", "rms", "noise", "model (Jy)",
                 "pixels in the mask"),
                *((str(one.cycle), str(one.iterations),
                   *(f"{value:.4g}" for value in (one.peak, one.rms, one.noise, one.flux)),
                   str(one.masked)) for one in result.history[:_MOST_CYCLES])]
        found.append(Section("Major cycles", figures={"convergence": convergence_figure(result)},
                             tables=result.tables(), grid=grid))
    return found


def overview_of_cube(cube: ImageCube) -> Section:
    """A line for each plane."""
    grid: list[tuple[str, ...]] = [("stokes", "GHz", "beam (arcsec)", "peak (Jy/beam)", "noise",
                                    "expected", "dynamic range", "model (Jy)", "stopped")]
    for i, plane in enumerate(cube.planes):
        stokes, channel = divmod(i, len(cube.frequency))
        start = cube.stokes[stokes], frequency_text(cube.frequency[channel], cube.width)
        if plane is None:
            grid.append((*start, *[""] * (len(grid[0]) - 3), "no data"))
            continue
        values = plane.image[0].ravel()
        peak = values[np.nanargmax(np.abs(values))]
        beam = f"{plane.beam.fwhm_major / ARCSEC:.3g} × {plane.beam.fwhm_minor / ARCSEC:.3g}"
        grid.append((*start, beam, f"{peak:.4g}", f"{plane.noise:.3g}",
                     f"{plane.noise_expected:.3g}",
                     f"{abs(peak) / plane.noise:.3g}" if plane.noise > 0 else "",
                     f"{plane.model[0].sum():.4g}", plane.stop_reason))
    size = f"{cube.grid.shape[1]} × {cube.grid.shape[0]} pixels of {cube.grid.geometry.cell_m / ARCSEC:.4g} arcsec"
    planes = f"{len(cube.stokes)} Stokes × {len(cube.frequency)} channels of {cube.width / 1e6:.6g} MHz"
    return Section(f"Cube of {_sets(cube)}", [("image", f"{size}, {planes}")], grid=grid)


def sections_of_cube(cube: ImageCube) -> list[Section]:
    """Overview and restored planes."""
    colours = ("colours",
               "from −4 to 20 times the noise of a plane, or as far as one pixel in a hundred is "
               "brighter; of Q, U and V from −10 to 10; at most 6 channels are shown")
    found = [overview_of_cube(cube),
             Section("Restored planes", [colours], {"image": cube_figure(cube)}, cube.tables())]
    if any(plane is not None and len(plane.history) > 1 for plane in cube.planes):
        found.append(Section("Major cycles", figures={"convergence": cube_convergence_figure(cube)}))
    return found


def _sets(result: ImageResult | ImageCube) -> str:
    return ", ".join(str(path) for path in result.provenance.inputs.get("ms", []))


def _shown(mask: NDArray | None) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("colours",
                                    "image from −4 to 20 times the noise, or as far as one pixel "
                                    "in a hundred is brighter, residual from −4 to 4; the ellipse "
                                    "is the beam")]
    if mask is not None and mask.mean() < 0.5:
        rows.append(("mask",
                     f"{np.count_nonzero(mask)} pixels, {100 * mask.mean():.2g} % of the image; "
                     "its outline is on the residual"))
    return rows


def _alpha_rows(result: ImageResult) -> list[tuple[str, ...]]:
    assert result.alpha is not None
    known = result.alpha[np.isfinite(result.alpha)]
    if not known.size:
        return [("known", "at no pixel: none stands out enough")]
    return [("known", f"at {known.size} pixels, median {np.median(known):.3g}")]


def alpha_figure(result: ImageResult) -> Figure:
    """Map of the spectral index, grey where it is not known."""
    assert result.alpha is not None
    figure = new_figure((6, 4.6))
    axes = figure.add_subplot()
    axes.set_facecolor("0.55")
    thin = max(1, max(result.grid.shape) // 500)
    shown = axes.imshow(result.alpha[::thin, ::thin], origin="lower", extent=_edges(result.grid),
                        cmap="coolwarm", vmin=-2, vmax=2, interpolation="nearest")
    figure.colorbar(shown, ax=axes, label="spectral index", extend="both")
    axes.set(xlabel="l (arcsec)", ylabel="m (arcsec)")
    return figure


def convergence_figure(result: ImageResult) -> Figure:
    """Peak, rms and noise of the residual, and flux of the model, after each major cycle."""
    from matplotlib.ticker import MaxNLocator

    history = result.history
    figure = new_figure((7, 3.4))
    axes = figure.add_subplot()
    cycles = [one.cycle for one in history]
    for name, style in (("peak", "o-"), ("rms", "s-"), ("noise", "^-")):
        axes.plot(cycles, [getattr(one, name) for one in history], style, ms=4, lw=1.2,
                  label=f"{name} of the residual")
    axes.set(xlabel="major cycle", ylabel="Jy/beam",
             yscale="log" if all(one.rms > 0 for one in history) else "linear")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    other = axes.twinx()
    other.plot(cycles, [one.flux for one in history], "k--", lw=1, label="model")
    other.set_ylabel("flux of the model (Jy)")
    lines = [line for one in (axes, other) for line in one.lines]
    axes.legend(lines, [str(line.get_label()) for line in lines], frameon=False, fontsize="small",
                ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def cube_convergence_figure(cube: ImageCube) -> Figure:
    """Peak of the residual and flux of the model after each major cycle, a line for each plane, coloured by its channel."""
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    figure = new_figure((9, 3.4))
    left, right = figure.subplots(1, 2)
    n = len(cube.frequency)
    named = len(cube.planes) <= _MOST_NAMED
    for i, plane in enumerate(cube.planes):
        if plane is None:
            continue
        stokes, channel = divmod(i, n)
        style = {"color": colormaps["viridis"](0.9 * channel / max(n - 1, 1)), "lw": 1.2,
                 "ls": ("-", "--", ":", "-.")[stokes % 4], "marker": "o", "ms": 3}
        cycles = [one.cycle for one in plane.history]
        left.plot(cycles, [one.peak for one in plane.history], **style)
        right.plot(cycles, [one.flux for one in plane.history], **style,
                   label=f"{cube.stokes[stokes]}, {frequency_text(cube.frequency[channel], cube.width)} GHz")
    for axis, label in ((left, "peak in the mask (Jy/beam)"), (right, "flux of the model (Jy)")):
        axis.set(xlabel="major cycle", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if all(line.get_ydata().min() > 0 for line in left.lines):
        left.set_yscale("log")
    if named:
        right.legend(frameon=False, fontsize="small")
    else:
        right.set_title("the lowest channel is darkest", fontsize="small")
    return figure


def cube_figure(cube: ImageCube) -> Figure:
    """Restored planes: a row for each Stokes parameter, up to 6 channels.

    −4 times their noise to `_brightest`, Q, U, V to 10 both ways.
    """
    channels = np.unique(np.linspace(0, len(cube.frequency) - 1,
                                     min(len(cube.frequency), 6)).round().astype(int))
    figure = new_figure((1.5 + 3.2 * len(channels), 0.6 + 3.1 * len(cube.stokes)))
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
                low, high, colours, line = (
                    -10 * noise, 10 * noise, "RdBu_r", "black") if stokes in ("Q", "U", "V") else (
                    -4 * noise, _brightest(plane.image[0], noise), "inferno", "white")
                axis.imshow(_thinned(plane.image[0], 700), origin="lower", extent=edges,
                            interpolation="nearest", vmin=low, vmax=high, cmap=colours)
                _draw_beam(axis, plane.beam, edges, line)
            axis.set_title(f"{stokes}, {frequency_text(cube.frequency[channel], cube.width)} GHz",
                           fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("l (arcsec)")
    for axis in axes[:, 0]:
        axis.set_ylabel("m (arcsec)")
    return figure


def image_figure(result: ImageResult) -> Figure:
    """Restored image from −4 times the noise to `_brightest`, residual to 4 with the mask, and the middle of the psf, beside each other.

    Large images are thinned to 500 pixels, about those of the picture: each is the value farthest
    from 0 of a block.
    """
    figure = new_figure((13.5, 4.6))
    axes = figure.subplots(1, 3)
    inner = _of_some_beams(result.grid, result.beam)
    noise = result.noise if result.noise > 0 else float(np.nanmax(np.abs(result.image[0]))) / 100 or 1.0
    brightest = _brightest(result.image[0], noise)
    (name, size), (fine_name, fine) = flux_unit(brightest), flux_unit(4 * noise)
    whole = slice(0, result.grid.shape[0]), slice(0, result.grid.shape[1])
    for axis, title, label, data, part, limits in (
            (axes[0], "image", f"{name}/beam", result.image[0] / size, whole, (-4 * noise / size, brightest / size)),
            (axes[1], "residual", f"{fine_name}/beam", result.residual[0] / fine, whole, (-4 * noise / fine, 4 * noise / fine)),
            (axes[2], "psf", "", result.psf, inner, (-0.1, 0.5))):
        edges = _edges(result.grid.part(*part))
        shown = axis.imshow(_thinned(data[part], 500), origin="lower", extent=edges,
                            cmap="inferno" if title != "residual" else "RdBu_r", vmin=limits[0],
                            vmax=limits[1], interpolation="nearest")
        axis.set_title(title)
        axis.set_xlabel("l (arcsec)")
        figure.colorbar(shown, ax=axis, label=label, shrink=0.85)
    axes[0].set_ylabel("m (arcsec)")
    _draw_beam(axes[0], result.beam, _edges(result.grid))
    if result.mask is not None and 0 < result.mask.mean() < 0.5:
        axes[1].contour(_thinned(result.mask.astype(np.float32), 500), [0.5], colors="k",
                        linewidths=0.6, extent=_edges(result.grid))
    return figure


def _brightest(image: NDArray, noise: float) -> float:
    """Upper end of the colours: 20 times the noise, and more where more than a hundredth of the image is brighter."""
    return max(20.0 * noise, float(np.nanpercentile(image, 99.0)))


def _thinned(data: NDArray, n: int) -> NDArray:
    """An image of about n pixels a side.

    Of each block the value farthest from 0, so that no source is left out.
    """
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


def _draw_beam(axis: Any, beam: Beam, edges: tuple[float, float, float, float],
               colour: str = "white") -> None:
    from matplotlib.patches import Ellipse

    left, right, bottom, top = edges
    centre = (left + 0.06 * (right - left), bottom + 0.06 * (top - bottom))
    # East is to the left: along the axis of data, which falls, an angle from north through east is
    # measured from +m to +l.
    axis.add_patch(Ellipse(centre, beam.fwhm_minor / ARCSEC, beam.fwhm_major / ARCSEC,
                           angle=-np.rad2deg(beam.position_angle), facecolor="none",
                           edgecolor=colour))
