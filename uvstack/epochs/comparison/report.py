"""What a person reads of a comparison: the table of the memo, fluxes, offsets, trends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.epochs.comparison import figures
from uvstack.report.numbers import with_error
from uvstack.report.page import Section

if TYPE_CHECKING:
    from uvstack.epochs.comparison.result import EpochComparison

_RATIO = ("R is the flux in the combined map over that in the epoch: below 1 the combined map is "
          "fainter. Differences are beyond their uncertainty σ, in per cent of the epoch's flux")
_SCALE = ("multiply an epoch with it to bring it to the combined map: the median of R of sources "
          "that are bright in the epoch")


def overview(result: EpochComparison) -> Section:
    """The table of the memo, and what was left out."""
    first = result.epochs
    rows: list[tuple[str, ...]] = [
        ("each", "median of R, combined map over epoch / MAD / mean difference, % / mean "
                 "uncertainty, %", _RATIO),
        ("combined map", f"{result.combined}, {first['n_combined'][0]} sources"),
        ("matches", f"within {result.radius / ARCSEC:.4g}″, one to one, the nearest first; "
                    f"calibration {100 * result.f_cal:.3g} %")]
    for row in first:
        rows.append((f"epoch {row['epoch']}",
                     f"flux scale {_value(row, 'flux_scale') or 'unknown'} ({row['measure']}, "
                     f"{row['n_flux_scale']} sources), offset {_value(row, 'offset_east')}″ east, "
                     f"{_value(row, 'offset_north')}″ north"))
    left = [(name, int(result.comparison[column].sum())) for column, name in
            (("n_not_positive", "not above 0 in the epoch"), ("n_not_finite", "not finite"))]
    told = ", ".join(f"{n} {name}" for name, n in left if n)
    if told:
        rows.append(("left out", told, "of all epochs and measures"))
    rows += [(f"no {measure}", reason) for measure, reason in result.lacking.items()]
    return Section("Epochs against the combined map", rows, grid=_grid(result))


def _grid(result: EpochComparison) -> list[tuple[str, ...]]:
    """Table 5 of the memo, with the mean uncertainty as well."""
    grid: list[tuple[str, ...]] = [("epoch", "found", "matched", *result.measures)]
    for first in result.epochs:
        cells = [name_of(first), str(first["n_epoch"]), str(first["n_matched"])]
        for name in result.measures:
            row = result.row(int(first["epoch"]), name)
            cells.append(" / ".join(
                _text(row[column], how) or "–" for column, how in
                (("median_ratio", ".3f"), ("mad", ".3f"), ("mean_percent_difference", ".2f"),
                 ("mean_percent_uncertainty", ".2f"))))
        grid.append(tuple(cells))
    return grid


def name_of(row: Any) -> str:
    """Number and file of an epoch."""
    return f"{row['epoch']} {Path(str(row['image'])).name}"


def _text(value: float, how: str) -> str:
    return format(float(value), how) if np.isfinite(value) else ""


def sections(result: EpochComparison) -> list[Section]:
    """Overview, fluxes, offsets, trends."""
    tables = result.tables()
    return [overview(result),
            Section("Fluxes", [("error bars", "calibration and noise in quadrature: σ of the "
                                              "appendix, equations 1 and 4"),
                               ("line", "1:1")],
                    {"fluxes": figures.fluxes_figure(result)},
                    {"comparison": tables["comparison"], "matches": tables["matches"]}),
            Section("Flux scales", [("flux scale", _SCALE)], grid=_scales(result)),
            Section("Places", [("offset", "epoch less combined map, to the east and north on the "
                                          "sky; errors are of the median")],
                    {"offsets": figures.offsets_figure(result)}, grid=_offsets(result)),
            Section("Trends of the flux scale",
                    [("points", "medians of R in bins of equal counts, with their errors; grey: "
                                "single sources")],
                    {"trends": figures.trends_figure(result)}, {"trends": tables["trends"]},
                    grid=_slopes(result))]


def _scales(result: EpochComparison) -> list[tuple[str, ...]]:
    grid = [("epoch", *(cell for name in result.measures for cell in (name, "sources")))]
    for first in result.epochs:
        cells = [name_of(first)]
        for name in result.measures:
            row = result.row(int(first["epoch"]), name)
            cells += [_value(row, "flux_scale"), str(row["n_flux_scale"])]
        grid.append(tuple(cells))
    return grid


def _value(row: Any, name: str) -> str:
    """A column with its error, empty where it is not known."""
    value, error = (float(getattr(row[one], "value", row[one])) for one in (name, f"{name}_error"))
    return with_error(value, error, 1.0) if np.isfinite(value) else ""


def _offsets(result: EpochComparison) -> list[tuple[str, ...]]:
    grid: list[tuple[str, ...]] = [("epoch", "matches", "east (″)", "scatter", "north (″)",
                                    "scatter")]
    for row in result.epochs:
        grid.append((name_of(row), str(row["n_matched"]), _value(row, "offset_east"),
                     _text(row["offset_east_scatter"].value, ".3f"), _value(row, "offset_north"),
                     _text(row["offset_north_scatter"].value, ".3f")))
    return grid


def _slopes(result: EpochComparison) -> list[tuple[str, ...]]:
    grid: list[tuple[str, ...]] = [("epoch", "measure", "R per ×10 in flux", "R per degree east",
                                    "R per degree north")]
    for row in result.comparison:
        grid.append((name_of(row), str(row["measure"]), *(
            _value(row, name) for name in ("flux_slope", "gradient_east", "gradient_north"))))
    return grid
