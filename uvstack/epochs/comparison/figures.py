"""Pictures of a comparison: fluxes against each other, offsets, the ratio along flux and place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uvstack.epochs.comparison.result import EpochComparison

#: Epochs that are drawn; the tables have all.
_DRAWN = 12


def _drawn(result: EpochComparison) -> list[tuple[str, QTable]]:
    """Name and matches of the epochs that are drawn."""
    return [(f"epoch {row['epoch']}: {Path(str(row['image'])).name}",
             result.matches[result.matches["epoch"] == row["epoch"]])
            for row in result.epochs[:_DRAWN]]


def fluxes_figure(result: EpochComparison) -> Figure:
    """Flux in the combined map against that in the epoch, with the 1:1 line.

    A row an epoch, a column a measure, after Figures 14 to 43 of the memo.
    """
    drawn, measures = _drawn(result), result.measures
    figure = new_figure((3.9 * len(measures) + 0.3, 3.5 * len(drawn) + 0.2))
    panels = figure.subplots(len(drawn), len(measures), squeeze=False)
    for line, (name, matches) in zip(panels, drawn, strict=True):
        for axes, measure in zip(line, measures, strict=True):
            _draw_fluxes(axes, matches, measure)
        line[0].set_title(name, loc="left", fontsize="medium")
    return figure


def _draw_fluxes(axes: Axes, matches: QTable, measure: str) -> None:
    values = {end: matches[f"{measure}_{end}"].value
              for end in ("epoch", "epoch_sigma", "combined", "combined_sigma")}
    good = np.all([np.isfinite(one) for one in values.values()], axis=0) & (
        values["epoch"] > 0) & (values["combined"] > 0)
    beam = "/beam" if measure == "peak" else ""
    if not good.any():
        axes.text(0.5, 0.5, "none", ha="center", transform=axes.transAxes)
        return
    unit, size = flux_unit(float(np.median(values["combined"][good])))
    x, x_error, y, y_error = (values[end][good] / size for end in
                              ("epoch", "epoch_sigma", "combined", "combined_sigma"))
    # On a logarithmic axis an error as large as the flux has no lower end.
    bars: dict[str, Any] = {f"{axis}err": [np.minimum(error, 0.95 * value), error]
                            for axis, value, error in (("x", x, x_error), ("y", y, y_error))}
    axes.errorbar(x, y, fmt="o", ms=3, color="C0", ecolor="0.65", elinewidth=0.7, zorder=2, **bars)
    ends = np.array([min(x.min(), y.min()) / 1.5, max(x.max(), y.max()) * 1.5])
    axes.plot(ends, ends, "-", color="k", lw=0.9, zorder=3)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal",
             xlabel=f"{measure} flux in the epoch ({unit}{beam})",
             ylabel=f"in the combined map ({unit}{beam})")
    for axis in (axes.xaxis, axes.yaxis):
        _plain_numbers(axis, ends[1] / ends[0])
    axes.grid(alpha=0.3, lw=0.5)


def _plain_numbers(axis: Any, span: float) -> None:
    """Ticks of a logarithmic axis as 0.5, 1, 2, 5; powers of ten alone where it spans many."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if span < 300 else (1.0,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def offsets_figure(result: EpochComparison) -> Figure:
    """Offsets of the matches of each epoch, and their median."""
    drawn = _drawn(result)
    n_columns = min(4, len(drawn))
    n_lines = -(-len(drawn) // n_columns)
    figure = new_figure((3.5 * n_columns + 0.6, 3.7 * n_lines + 0.4))
    panels = figure.subplots(n_lines, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    reach = 1.05 * float(np.max(result.matches["separation"].to_value("arcsec")))
    reach = reach or result.radius / ARCSEC
    for axes, (name, matches), row in zip(panels, drawn, result.epochs, strict=False):
        east, north = (matches[f"offset_{axis}"].to_value("arcsec") for axis in ("east", "north"))
        axes.plot(east, north, ".", ms=4, color="C0")
        axes.axhline(0, color="0.6", lw=0.8)
        axes.axvline(0, color="0.6", lw=0.8)
        middle, error = ([row[f"offset_{axis}{end}"].value for axis in ("east", "north")]
                         for end in ("", "_error"))
        axes.errorbar(middle[0], middle[1], xerr=np.nan_to_num(error[0]),
                      yerr=np.nan_to_num(error[1]), fmt="+", ms=12, mew=1.6, color="C3")
        axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")
        axes.set_title(name, fontsize="small")
        axes.grid(alpha=0.3, lw=0.5)
    for axes in panels[len(drawn):]:
        axes.set_axis_off()
    figure.supxlabel("epoch less combined map, east (″)", fontsize="medium")
    figure.supylabel("north (″)", fontsize="medium")
    return figure


def trends_figure(result: EpochComparison) -> Figure:
    """R of the first measure of each epoch along flux, east and north, and on the field."""
    drawn = _drawn(result)
    figure = new_figure((13.0, 2.9 * len(drawn) + 0.4))
    panels = figure.subplots(len(drawn), 4, squeeze=False)
    for line, (name, matches), row in zip(panels, drawn, result.epochs, strict=False):
        bins = result.trends[(result.trends["epoch"] == row["epoch"])
                             & (result.trends["measure"] == row["measure"])]
        _draw_trends(line, matches, bins, str(row["measure"]))
        line[0].set_title(name, loc="left", fontsize="medium")
    return figure


def _draw_trends(line: Any, matches: QTable, bins: QTable, measure: str) -> None:
    matches = matches[np.isfinite(matches[f"{measure}_ratio"])]
    ratio, flux = np.asarray(matches[f"{measure}_ratio"]), matches[f"{measure}_combined"].value
    unit, size = flux_unit(float(np.median(np.abs(flux))) if flux.size else 1.0)
    places = [matches[f"field_{axis}"].to_value("arcmin") for axis in ("east", "north")]
    low, high = _range(ratio)
    labels = f"flux in the combined map ({unit})", "east (′)", "north (′)"
    for axes, axis, values, label in zip(line, ("flux", "east", "north"), (flux / size, *places),
                                         labels, strict=False):
        axes.plot(values, ratio, ".", ms=3, color="0.7")
        of_axis = bins[bins["axis"] == axis]
        axes.errorbar(of_axis["middle"] / (size if axis == "flux" else 1.0),
                      of_axis["median_ratio"], np.nan_to_num(of_axis["median_ratio_error"]),
                      fmt="o-", ms=4, lw=1, color="C0")
        axes.axhline(1.0, color="k", lw=0.8)
        axes.set(xlabel=label, ylim=(low, high))
        axes.grid(alpha=0.3, lw=0.5)
    if flux.size and (flux > 0).all():
        line[0].set_xscale("log")
        ends = line[0].get_xlim()
        _plain_numbers(line[0].xaxis, ends[1] / ends[0])
    line[0].set(ylabel=f"R, {measure}")
    points = line[3].scatter(*places, c=ratio, s=14, cmap="coolwarm", vmin=low, vmax=high)
    line[3].set(xlabel="east (′)", ylabel="north (′)", aspect="equal")
    for axes in (line[1], line[3]):
        axes.invert_xaxis()
    line[3].figure.colorbar(points, ax=line[3], label="R")


def _range(ratio: np.ndarray) -> tuple[float, float]:
    """Limits about 1 that hold nine tenths of the ratios."""
    finite = ratio[np.isfinite(ratio)]
    wide = float(np.quantile(np.abs(finite - 1.0), 0.9)) if finite.size else 0.0
    wide = 1.3 * max(wide, 0.05)
    return 1.0 - wide, 1.0 + wide
