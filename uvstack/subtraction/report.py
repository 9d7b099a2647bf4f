"""What a person reads of a subtraction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.subtraction.result import SubtractResult

_AMPLITUDES = ("mean |V| of the unflagged parallel hands; noise alone has an amplitude too, so "
               "that what is left never comes to 0, "
               "and every visibility counts alike, whatever its weight")


def overview(result: SubtractResult) -> Section:
    """What was subtracted from what, and what is left."""
    before, after = result.rms
    of_it = "" if result.n_components is None else f" in {result.n_components} components or pixels"
    flux = f", {result.model_flux:.6g} Jy{of_it}" if np.isfinite(result.model_flux) else ""
    resumed = f", gone on from row {result.resumed_from}" if result.resumed_from else ""
    rows: list[tuple[str, ...]] = [("model", result.model + flux),
                                   ("written",
                                    f"{result.what} to column {result.column} of {result.ms}"),
                                   ("rows", f"{result.n_subtracted} of {result.n_rows}{resumed}",
                                    "with all their channels and correlations, flagged or not; "
                                    "others keep their data, and are 0 in a column of the model")]
    if result.n_without_uvw:
        rows.append(("without uvw", f"{result.n_without_uvw} rows, from which nothing was taken"))
    if np.isfinite(before):
        rows.append(("rms of |V|", f"{before:.6g} Jy, without the model {after:.6g} Jy",
                     "over the unflagged parallel hands"))
    rows.append(("weights",
                 "none in the set" if result.weights == "none"
                 else f"as they were, in {result.weights}"))
    if result.backup is not None:
        rows.append(("backup", f"the data as they were are kept in column {result.backup}"))
    return Section(f"{'Prediction' if result.what == 'model' else 'Subtraction'} of {result.model}",
                   rows)


def sections(result: SubtractResult) -> list[Section]:
    """Overview, and amplitudes before and after."""
    table, title = result.profile(), "Amplitudes before and after"
    if not len(table):
        nothing = [("warning", "no selected parallel hand is unflagged: there is nothing to show")]
        return [overview(result), Section(title, tables=result.tables(), text=nothing)]
    name, size = flux_unit(float(table["before"].to_value(u.Jy).max()))
    # Some bins, from short to long: the table on the disk holds all.
    chosen = np.unique(np.linspace(0, len(table) - 1, 8).round().astype(int))
    grid: list[tuple[str, ...]] = [("uv distance (km)", "visibilities", f"before ({name})", "after",
                                    "model", "after / before")]
    for row in table[chosen]:
        before, after, model = (row[key].to_value(u.Jy) for key in ("before", "after", "model"))
        grid.append((f"{row['uv_min'].to_value(u.km):.3g} to {row['uv_max'].to_value(u.km):.3g}",
                     str(row["count"]),
                     *(f"{value / size:.4g}" for value in (before, after, model)),
                     f"{after / before:.4f}" if before > 0 else ""))
    return [overview(result),
            Section(title, [("amplitude", f"in {name}", _AMPLITUDES)],
                    {"amplitudes": amplitude_figure(result)}, result.tables(), grid=grid)]


def amplitude_figure(result: SubtractResult) -> Figure:
    """Figure of mean amplitudes against uv distance.

    Before, after and model, and below them what is left of each bin.
    """
    table = result.profile()
    figure = new_figure((7, 5))
    axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    x = table["uv_distance"].to_value(u.km)
    for name, colour, style in (("before", "C0", "o-"), ("model", "C3", "-"),
                                ("after", "C2", "s-")):
        axes.plot(x, table[name].to_value(u.Jy), style, color=colour, ms=3.5, lw=1.2, label=name)
    if len(x) and all((table[name] > 0).all() for name in ("before", "after")):
        axes.set_yscale("log")
    axes.set(ylabel="mean amplitude (Jy)")
    axes.set_title(f"{Path(result.model).name} and {result.column}", fontsize="medium", wrap=True)
    axes.legend(frameon=False, ncols=3)
    with np.errstate(divide="ignore", invalid="ignore"):
        lower.plot(x, (table["after"] / table["before"]).value, "s-", color="C2", ms=3.5, lw=1.2)
    lower.axhline(1, color="0.6", lw=0.8)
    lower.set(xlabel="$\\sqrt{u^2+v^2}$ (km)", ylabel="after / before")
    lower.ticklabel_format(axis="y", useOffset=False)
    for one in (axes, lower):
        one.grid(alpha=0.3, lw=0.5)
    return figure
