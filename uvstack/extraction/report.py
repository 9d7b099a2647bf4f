"""What a person reads of an extraction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import ARCSEC
from uvstack.extraction.islands import map_of
from uvstack.report.figure import new_figure
from uvstack.report.numbers import unit_text
from uvstack.report.page import Section
from uvstack.sky.source_flags import Flag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uvstack.extraction.result import ExtractResult

#: Pixels across a picture, and sources marked, listed, or with a spectrum.
_MOST_PIXELS, _MOST_MARKED, _MOST_LISTED, _MOST_SPECTRA = 1000, 3000, 20, 9


def overview(result: ExtractResult) -> Section:
    """What was found, in what noise."""
    table = result.catalogue
    unit = unit_text(table["peak"].unit)
    rows: list[tuple[str, ...]] = [("image", result.image), ("sources", str(len(table)))]
    if result.threshold is not None:
        rows.append(("thresholds", f"{result.threshold:.3g} σ, pixels {result.analysis:.3g} σ"))
    rows.append(("noise", f"{result.median_rms:.4g} {unit} (median)"))
    if result.beam is not None and result.frame.image is not None:
        major, minor = result.beam.fwhm_major / ARCSEC, result.beam.fwhm_minor / ARCSEC
        rows.append(("beam",
                     f"{major:.4g}″ × {minor:.4g}″ at "
                     f"{np.rad2deg(result.beam.position_angle):.1f}°",
                     f"the same everywhere in {result.frame.beam_frame} coordinates"))
    flags = np.asarray(table["flags"])
    told = [f"{int(((flags & one) != 0).sum())} {str(one.name).lower().replace('_', ' ')}"
            for one in Flag if (flags & one).any()]
    if told:
        rows.append(("flags", ", ".join(told)))
    return Section(f"Sources of {result.image}", rows)


def sections(result: ExtractResult) -> list[Section]:
    """Overview with the image, the brightest sources, noise, residuals."""
    first = overview(result)
    some = len(result.catalogue) > 0
    told = "ellipses have the shapes that were measured" if some else "no source was found"
    found = Section("Sources", [("marked", told)], {"image": image_figure(result)},
                    result.tables(), grid=_brightest(result) if some else ())
    noise = Section("Background and noise", figures={"noise": noise_figure(result)})
    left = Section("Residuals",
                   [("residuals", "of pure noise the histogram follows the line, which is no fit")],
                   {"residual_image": residual_image(result), "residuals": residual_figure(result)})
    spectra = []
    if result.channels is not None and some:
        spectra = [Section("Spectra", [("spectra", "of the brightest sources, with the power law "
                                        "that was fitted to them")],
                           {"spectra": spectra_figure(result)})]
    return [first, found, *spectra, noise, left]


def _brightest(result: ExtractResult) -> list[tuple[str, ...]]:
    table = result.catalogue
    unit, flux = unit_text(table["peak"].unit), unit_text(table["flux"].unit)
    peaks = np.nan_to_num(np.asarray(table["peak"].value), nan=-np.inf)
    grid: list[tuple[str, ...]] = [("source", "ra (deg)", "dec (deg)", f"peak ({unit})",
                                    f"flux ({flux})", "σ", "size (″)", "flags")]
    for i in np.argsort(-peaks)[:_MOST_LISTED]:
        row = table[int(i)]
        grid.append((str(row["source"]), f"{row['ra'].value:.6f}", f"{row['dec'].value:.6f}",
                     f"{row['peak'].value:.4g} ± {row['peak_error'].value:.2g}",
                     f"{row['flux'].value:.4g} ± {row['flux_error'].value:.2g}",
                     f"{row['significance']:.1f}",
                     f"{row['fwhm_major'].value:.3g} × {row['fwhm_minor'].value:.3g}",
                     str(row["flags"])))
    return grid


def _thinned(image: NDArray) -> tuple[NDArray, int]:
    """Pixels for a picture, of the largest in each block, and the side of a block."""
    step = -(-max(image.shape) // _MOST_PIXELS)
    if step == 1:
        return image, 1
    n_y, n_x = (n - n % step for n in image.shape)
    blocks = image[:n_y, :n_x].reshape(n_y // step, step, n_x // step, step)
    # NaN where all of a block is blank; no copy of the image.
    return np.fmax.reduce(np.fmax.reduce(blocks, axis=3), axis=1), step


def image_figure(result: ExtractResult) -> Figure:
    """The image from −2 to 10 times its noise, with an ellipse a source."""
    from matplotlib.collections import EllipseCollection

    figure = new_figure((8, 7.5))
    axes = figure.subplots()
    pixels, step = _thinned(result.data)
    rms = result.median_rms
    pixels = np.where(np.isfinite(pixels), pixels, np.nan)
    shown = axes.imshow(pixels, origin="lower", cmap="gray", vmin=-2 * rms, vmax=10 * rms,
                        interpolation="nearest", extent=_extent(pixels.shape, step))
    found = result.catalogue[:_MOST_MARKED]
    if len(found):
        x, y = found["x"].value, found["y"].value
        cell = _cell(result)
        factor = 2.0 if max(result.data.shape) < 400 else max(2.0, max(result.data.shape) / 200.0)
        major, minor = (np.nan_to_num(found[name].value) / cell
                        for name in ("fwhm_major", "fwhm_minor"))
        # From the first axis, east against it.
        angle = 90.0 + np.nan_to_num(found["position_angle"].value)
        axes.add_collection(EllipseCollection(factor * major, factor * minor, angle, units="xy",
                                              offsets=np.stack([x, y], 1),
                                              transOffset=axes.transData, facecolors="none",
                                              edgecolors="C1", linewidths=0.8))
        if factor > 2:
            axes.set_title(f"ellipses are {factor:.3g} FWHM wide", fontsize="small")
    axes.set(xlabel="x (pixels)", ylabel="y (pixels)")
    figure.colorbar(shown, ax=axes, label=unit_text(result.catalogue["peak"].unit), shrink=0.8)
    return figure


def _cell(result: ExtractResult) -> float:
    """Arcsec of a pixel; 1 where sizes are in pixels."""
    return 1.0 if result.frame.image is None else result.frame.image.cell / ARCSEC


def _extent(shape: tuple[int, ...], step: int) -> tuple[float, float, float, float]:
    return (-0.5, shape[1] * step - 0.5, -0.5, shape[0] * step - 0.5)


def noise_figure(result: ExtractResult) -> Figure:
    """Maps of background and noise."""
    figure = new_figure((11, 5))
    unit = unit_text(result.catalogue["peak"].unit)
    for axes, image, title in zip(figure.subplots(1, 2), (result.background, result.rms),
                                  ("background", "noise"), strict=True):
        step = -(-max(result.data.shape) // _MOST_PIXELS)
        _map(axes, map_of(image, result.data.shape, step), step, title, unit)
    return figure


def _map(axes: Axes, image: NDArray, step: int, title: str, unit: str) -> None:
    low, high = np.nanmin(image), np.nanmax(image)
    # What is the same everywhere is one colour, and not its rounding.
    room = max(1e-3 * max(abs(low), abs(high)) - (high - low), 0.0)
    shown = axes.imshow(image, origin="lower", cmap="viridis", extent=_extent(image.shape, step),
                        interpolation="nearest", vmin=low - room, vmax=high + room)
    axes.set(title=title, xlabel="x (pixels)", ylabel="y (pixels)")
    axes.figure.colorbar(shown, ax=axes, label=unit, shrink=0.8)


def residual_image(result: ExtractResult) -> Figure:
    """What is left of the image, from −5 to 5 times its noise."""
    figure = new_figure((8, 7.5))
    axes = figure.subplots()
    step = -(-max(result.data.shape) // _MOST_PIXELS)
    left, rms = result.residual[::step, ::step], map_of(result.rms, result.data.shape, step)
    shown = axes.imshow(left / rms, origin="lower", cmap="RdBu_r", vmin=-5, vmax=5,
                        extent=_extent(left.shape, step), interpolation="nearest")
    axes.set(xlabel="x (pixels)", ylabel="y (pixels)", title="image without its sources")
    figure.colorbar(shown, ax=axes, label="pixel / noise", shrink=0.8)
    return figure


def spectra_figure(result: ExtractResult) -> Figure:
    """Fluxes of the brightest sources in the channels of a cube, with the power law through each."""
    table, channels = result.catalogue, result.channels
    assert channels is not None
    rows = np.argsort(-np.nan_to_num(np.abs(table["flux"].value)))[:_MOST_SPECTRA]
    n_columns = min(3, len(rows))
    n_lines = -(-len(rows) // n_columns)
    figure = new_figure((3.8 * n_columns, 2.7 * n_lines))
    panels = figure.subplots(n_lines, n_columns, squeeze=False, sharex=True).ravel()
    for axes, i in zip(panels, rows, strict=False):
        mine = channels[np.asarray(channels["row"]) == i]
        ghz, flux, error = (mine["frequency"].value / 1e9, mine["flux"].value,
                            mine["flux_error"].value)
        axes.errorbar(ghz, flux, error, fmt="o", ms=4, color="C0", lw=1)
        index, its_error = table["spectral_index"][i], table["spectral_index_error"][i]
        title = f"source {table['source'][i]}: no power law"
        if np.isfinite(index):
            curve = ghz**index
            # The power law of that index that is nearest to the fluxes.
            good = np.isfinite(flux) & (error > 0)
            size = np.sum((flux * curve / error**2)[good]) / np.sum((curve / error)[good] ** 2)
            grid = np.linspace(ghz.min(), ghz.max(), 100)
            axes.plot(grid, size * grid**index, color="0.5", lw=1)
            title = f"source {table['source'][i]}: α = {index:.2f} ± {its_error:.2f}"
        axes.set_title(title, fontsize="small")
        axes.grid(alpha=0.3, lw=0.5)
    for axes in panels[len(rows):]:
        axes.set_axis_off()
    figure.supxlabel("frequency (GHz)", fontsize="medium")
    figure.supylabel(f"flux ({unit_text(channels['flux'].unit)})", fontsize="medium")
    return figure


def residual_figure(result: ExtractResult) -> Figure:
    """Histogram of the pixels over their noise, before and after the sources, and the normal distribution."""
    figure = new_figure((7, 4.5))
    axes = figure.subplots()
    step = max(1, max(result.data.shape) // 2000)
    part = (slice(None, None, step),) * 2
    rms = map_of(result.rms, result.data.shape, step)
    edges = np.linspace(-8, 8, 161)
    for values, label, colour in ((result.data[part] / rms, "image", "0.6"),
                                  (result.residual[part] / rms, "without sources", "C0")):
        good = values[np.isfinite(values)]
        counts, _ = np.histogram(good, edges)
        axes.stairs(counts, edges, label=label, color=colour)
    middle = 0.5 * (edges[1:] + edges[:-1])
    normal = good.size * (edges[1] - edges[0]) * np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi)
    axes.plot(middle, normal, "k:", lw=1, label="normal")
    axes.set(yscale="log", ylim=(0.5, None), xlabel="pixel / noise", ylabel="pixels")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3, lw=0.5)
    return figure
