"""What a person reads of a combination."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.epochs.combination.beams import beam_text
from uvstack.extraction.sky_frame import seen_in_pixels
from uvstack.report.figure import beam_patch, new_figure
from uvstack.report.numbers import flux_unit
from uvstack.report.page import Section
from uvstack.sky.projection import pixel_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uvstack.epochs.combination.result import CombineResult

_NOISE = {"masked": "standard deviation without sources", "clipped": "clipped around the median",
          "mad": "median absolute deviation", "moments": "standard deviation of all pixels"}


def overview(result: CombineResult) -> Section:
    """What was combined, and what it gained."""
    rms = result.table["rms"].value
    name, size = flux_unit(float(rms[-2]))
    used = np.asarray(result.table["used"])[:-2]
    mean = float(np.mean(rms[:-2][used]))
    gains = tuple(mean / rms[k] for k in (-2, -1))
    rows: list[tuple[str, ...]] = [
        ("epochs", f"{int(used.sum())} of {used.size}" if not used.all() else str(used.size)),
        ("beam", beam_text(result.beam), "that of all maps"),
        ("noise", f"{rms[-2] / size:.4g} {name}/beam, median {rms[-1] / size:.4g} {name}/beam",
         f"the epochs have {mean / size:.4g} {name}/beam on average"),
        ("gain", f"{gains[0]:.3g}, median {gains[1]:.3g}",
         "noise of an average epoch over that of the combination"),
        ("local noise", f"{_NOISE[result.rms_method]}, squares of {result.rms_box} pixels")]
    return Section("Combination of epochs", rows)


def sections(result: CombineResult) -> list[Section]:
    """Overview with the table, pictures of the epochs, maps."""
    first = overview(result)
    name, size = flux_unit(float(result.table["rms"].value[-2]))
    bright, much = flux_unit(float(result.table["peak"].value[-2]))
    grid: list[tuple[str, ...]] = [("image", "beam", f"rms ({name}/beam)", "as observed",
                                    "over mean", "over median", f"peak ({bright}/beam)",
                                    "dynamic range")]
    for row in result.table:
        beam = (f"{row['beam_major'].value:.3f}″ × {row['beam_minor'].value:.3f}″, "
                f"{row['beam_angle'].value:.2f}°")
        grid.append((str(row["name"]), beam, *(_number(v) for v in (
            row["rms"].value / size, row["rms_observed"].value / size, row["ratio_to_mean"],
            row["ratio_to_median"], row["peak"].value / much, row["dynamic_range"]))))
    table = Section("Epochs", [("table", "as tables 1 to 4 of VLASS memo 26")],
                    tables=result.tables(), grid=grid)
    pictures = Section("Pictures", [("scale", "one for all; the beam is in the corner")],
                       {"epochs": panels_figure(result)})
    maps = Section("Maps", [
        ("χ²", "of the epochs about their mean over the degrees of freedom: 1 where nothing varies; "
               "with 5 % for the calibration of fluxes beside it")],
        {"maps": maps_figure(result)})
    return [first, table, pictures, maps]


def _number(value: float) -> str:
    return "" if not np.isfinite(value) else f"{value:.4g}"


def panels_figure(result: CombineResult) -> Figure:
    """Epochs, mean and median side by side, one colour scale, the beams drawn (figure 3 of the memo)."""
    n = len(result.panels)
    columns = min(n, 3)
    rows = -(-n // columns)
    figure = new_figure((4.2 * columns, 3.9 * rows))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    rms = float(result.table["rms"].value[-2])
    name, size = flux_unit(5 * rms)
    for ax, (title, brightness), row in zip(axes.flat, result.panels, result.table, strict=False):
        shown = ax.imshow(brightness / size, origin="lower", cmap="viridis",
                          vmin=-3 * rms / size, vmax=15 * rms / size, interpolation="nearest",
                          extent=_extent(result, brightness.shape))
        noise = row["rms"].value / size
        ax.set_title(title if not np.isfinite(noise)
                     else f"{title}: {noise:.3g} {name}/beam", fontsize="small", wrap=True)
        _draw_beam(ax, result)
    for ax in axes.flat[n:]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("pixel")
    figure.colorbar(shown, ax=list(axes.flat[:n]), label=f"{name}/beam", shrink=0.8)
    return figure


def _extent(result: CombineResult, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    columns, rows = result.wcs.pixel_shape or (shape[1] * result.thinned,
                                               shape[0] * result.thinned)
    return (-0.5, columns - 0.5, -0.5, rows - 0.5)


def _draw_beam(axes: Axes, result: CombineResult) -> None:
    """The common beam in the lower left corner; on large images it is a point."""
    left, right = sorted(axes.get_xlim())
    bottom, top = sorted(axes.get_ylim())
    steps = pixel_steps(result.wcs, (int(top - bottom), int(right - left)))
    covariance = seen_in_pixels(result.beam.covariance(), steps)
    major = np.sqrt(np.linalg.eigvalsh(covariance)[-1])
    at = left + 0.03 * (right - left) + 0.6 * major, bottom + 0.03 * (top - bottom) + 0.6 * major
    axes.add_patch(beam_patch(covariance, at))
    axes.text(0.97, 0.03, f"{result.beam.fwhm_major / ARCSEC:.3g}″ × "
              f"{result.beam.fwhm_minor / ARCSEC:.3g}″", ha="right", transform=axes.transAxes,
              color="w", fontsize="x-small")


def maps_figure(result: CombineResult) -> Figure:
    """Noise, coverage and χ² over its degrees of freedom, plain and with the calibration."""
    figure = new_figure((9.4, 7.6))
    axes = figure.subplots(2, 2, sharex=True, sharey=True).flat
    rms = result.pictures["rms"]
    name, size = flux_unit(float(np.nanmedian(rms)))
    coverage = result.pictures["coverage"]
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(coverage > 1, coverage - 1, np.nan)
    extent = _extent(result, rms.shape)
    for ax, title, values, limits in (
            (axes[0], f"noise of the mean ({name}/beam)", rms / size, (None, None)),
            (axes[1], "epochs", coverage, (0, None)),
            (axes[2], "χ² / freedom", result.pictures["chi2"] / freedom, (0, 5)),
            (axes[3], "χ² / freedom, 5 % calibration",
             result.pictures["chi2-calibrated"] / freedom, (0, 5))):
        shown = ax.imshow(values, origin="lower", cmap="viridis", vmin=limits[0], vmax=limits[1],
                          interpolation="nearest", extent=extent)
        ax.set_title(title, fontsize="small")
        figure.colorbar(shown, ax=ax, shrink=0.85)
    return figure
