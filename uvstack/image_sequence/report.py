"""What a person reads of light curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.report.figure import new_figure
from uvstack.report.numbers import unit_text
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.image_sequence.result import LightCurvesResult

#: Light curves that are drawn, and rows that are listed.
_DRAWN, _LISTED = 9, 20


def overview(result: LightCurvesResult) -> Section:
    """What was measured, and what varies most."""
    mjd, sources = result.epochs["mjd"].value, result.sources
    rows: list[tuple[str, ...]] = [
        ("images", str(len(result.epochs)), f"{result.epochs['time'][0]} to {result.epochs['time'][-1]}, {np.ptp(mjd):.4g} days"),
        ("sources", str(len(sources)), "as the catalogue has them" if result.radius is None else
         f"found in any image, detections within {result.radius / ARCSEC:.3g}″ are one")]
    if "flux_scale" in result.epochs.colnames:
        scale, n = result.epochs["flux_scale"], result.epochs["n_scale"]
        rows.append(("flux scales", f"{scale.min():.4g} to {scale.max():.4g}",
                     f"fluxes were divided by them; medians of {n.min()} sources or more"))
    few = int((np.asarray(sources["n_epochs"]) < 2).sum())
    if few:
        rows.append(("no curve", f"{few} measured in fewer than two images"))
    best = result.most_variable(1)
    if best.size:
        row = sources[int(best[0])]
        rows.append(("most variable",
                     f"source {row['source']}: η = {row['eta']:.4g}, V = {row['v']:.3g}",
                     "η is the reduced χ² about the weighted mean, V the standard deviation over "
                     "the mean"))
    return Section("Light curves", rows)


def sections(result: LightCurvesResult) -> list[Section]:
    """Overview, the most variable sources, indices, images."""
    unit = unit_text(result.sources["flux"].unit)
    head = ("source", "ra (deg)", "dec (deg)", "epochs", f"flux ({unit})", "η", "V")
    grid: list[tuple[str, ...]] = [head]
    for i in result.most_variable(_LISTED):
        row = result.sources[int(i)]
        grid.append((str(row["source"]), f"{row['ra'].value:.6f}", f"{row['dec'].value:.6f}",
                     str(row["n_epochs"]),
                     f"{row['flux'].value:.4g} ± {row['flux_error'].value:.2g}",
                     f"{row['eta']:.4g}", f"{row['v']:.3g}"))
    images: list[tuple[str, ...]] = [("epoch", "image", "time", f"noise ({unit})", "found")]
    for row in result.epochs:
        images.append((str(row["epoch"]), str(row["image"]), str(row["time"]),
                       f"{row['rms'].value:.3g}",
                       str(row["n_found"]) if "n_found" in result.epochs.colnames else ""))
    tables = result.tables()
    varied = Section("Most variable sources",
                     figures={"light_curves": curves_figure(result)} if len(grid) > 1 else {},
                     tables={"sources": tables["sources"], "curves": tables["curves"]}, grid=grid)
    indices = Section("Variability",
                      [("variability",
                        "constant sources lie about η = 1, at a V that is one over their "
                        "significance")],
                      {"variability": indices_figure(result)} if len(grid) > 1 else {})
    return [overview(result), varied, indices,
            Section("Images", tables={"epochs": tables["epochs"]}, grid=images)]


def curves_figure(result: LightCurvesResult) -> Figure:
    """Fluxes with errors of the sources of largest η; open where the source was not found in that image by itself."""
    rows = result.most_variable(_DRAWN)
    n_columns = min(3, max(len(rows), 1))
    n_lines = max(-(-len(rows) // n_columns), 1)
    figure = new_figure((3.8 * n_columns, 2.7 * n_lines))
    panels = figure.subplots(n_lines, n_columns, squeeze=False, sharex=True).ravel()
    unit = unit_text(result.sources["flux"].unit)
    begin = np.floor(result.epochs["mjd"].value.min())
    for axes, i in zip(panels, rows, strict=False):
        curve, row = result.curve(int(i)), result.sources[int(i)]
        days, found = curve["mjd"].value - begin, np.asarray(curve["found"]) if "found" in curve.colnames else np.ones(len(curve), bool)
        for which, face in ((found, "C0"), (~found, "white")):
            axes.errorbar(days[which], curve["flux"].value[which], curve["flux_error"].value[which],
                          fmt="o", ms=4, color="C0", markerfacecolor=face, lw=1)
        axes.axhline(row["flux"].value, color="0.6", lw=0.8)
        axes.set_title(f"source {row['source']}: η = {row['eta']:.3g}, V = {row['v']:.2g}",
                       fontsize="small")
        axes.grid(alpha=0.3, lw=0.5)
    for axes in panels[len(rows):]:
        axes.set_axis_off()
    figure.supxlabel(f"MJD − {begin:.0f} (days)", fontsize="medium")
    figure.supylabel(f"flux ({unit})", fontsize="medium")
    return figure


def indices_figure(result: LightCurvesResult) -> Figure:
    """V against η of all sources."""
    figure = new_figure((6, 4.5))
    axes = figure.subplots()
    eta, v = np.asarray(result.sources["eta"], float), np.asarray(result.sources["v"], float)
    good = (eta > 0) & (v > 0)
    axes.loglog(eta[good], v[good], ".", color="C0")
    for i in result.most_variable(3):
        if good[i]:
            axes.annotate(str(result.sources["source"][i]), (eta[i], v[i]), xytext=(4, 4),
                          textcoords="offset points", fontsize="small")
    axes.axvline(1.0, color="0.6", lw=0.8)
    axes.set(xlabel="η (reduced χ²)", ylabel="V (standard deviation over mean)")
    axes.grid(alpha=0.3, lw=0.5, which="both")
    return figure
