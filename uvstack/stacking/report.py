"""What a person reads of a stack: a few lines for the terminal, a page with pictures."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from uvstack.report.figure import draw_stamp, mark_beam_and_rms, new_figure
from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Addition, page, png, provenance_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uvstack.stacking.result import StackResult
    from uvstack.stacking.stamp import Stamp


def print_summary(result: StackResult) -> str:
    """Flux, errors and advice in a few lines."""
    name, size = flux_unit(result.flux)
    errors = (f"{result.flux_error / size:.3g} {name} from the scatter, {result.flux_error_expected / size:.3g} {name} expected from "
              "the noise (equation 7)")
    lines = [
        f"flux         {with_error(result.flux, result.flux_error, size)} {name}   (SNR {result.snr:.1f})",
        f"error        {errors}"]
    if result.bootstrap is not None and result.bootstrap_error is not None:
        lines.append(f"bootstrap    ± {result.bootstrap_error / size:.3g} {name} with the variance of the sources, "
                     f"{result.bootstrap.size} lists")
    lines.append(f"positions    {result.n_positions} of {result.n_positions_given}, in {len(result.fields)} pointing(s)")
    lines.append(f"visibilities {result.n_visibilities} in uv range {result.uv_range}")
    suggestion = result.suggest_uvmin()
    if suggestion is not None and suggestion > (result.uv_range.minimum if result.uv_range.unit == "m" else 0):
        lines.append(f"advice       baselines below {suggestion / 1e3:.3g} km deviate from the longer ones: look at the profile, "
                     f"consider --uvmin {suggestion / 1e3:.2g}km")
    for label, group in result.groups.items():
        group_name, group_size = flux_unit(group.flux)
        lines.append(f"  {label}: {with_error(group.flux, group.flux_error, group_size)} {group_name}, "
                     f"{group.n_positions} positions")
    if result.ms is not None:
        lines.append(f"stacked set  {result.ms}")
    return "\n".join(lines)


def render_page(result: StackResult, stamp: Stamp, bins: int, truth: float | None = None, additions: Sequence[Addition] = ()) -> str:
    """The report as one HTML page without links to anything outside itself.

    Parameters
    ----------
    result : StackResult
    stamp : Stamp
    bins : int
        Of the uv profile.
    truth : float, optional
        True flux, Jy, where it is known.
    additions : sequence of Addition
        Further sections.
    """
    name, size = flux_unit(result.flux)
    pictures = {"uv profile": profile_figure(result, bins, truth=truth), "stamp and dirty beam": stamp_figure(stamp)}
    if result.bootstrap is not None:
        pictures["bootstrap"] = bootstrap_figure(result)
    body = importlib.resources.files("uvstack.stacking").joinpath("report.html").read_text(encoding="utf-8")
    return page(body).render(
        title=result.name, result=result, flux=with_error(result.flux, result.flux_error, size), unit=name,
        size=size, truth=truth, peak=stamp.peak, fields=_rows(result), suggestion=result.suggest_uvmin(),
        pictures={title: png(figure) for title, figure in pictures.items()},
        provenance=provenance_rows(result.provenance),
        first=_sections(a for a in additions if a.first), additions=_sections(a for a in additions if not a.first))


def _sections(additions: Iterable[Addition]) -> list[tuple[str, Sequence[tuple[str, str]], list[str]]]:
    return [(a.title, a.rows, [png(figure) for figure in a.figures]) for a in additions]


def _rows(result: StackResult) -> list[dict]:
    return [
        {"ms": row["ms"], "field": row["field"], "n_positions": int(row["n_positions"]), "flux": row["flux"].to_value(u.Jy),
         "error": row["flux_error"].to_value(u.Jy), "expected": row["flux_error_expected"].to_value(u.Jy)}
        for row in result.per_field if np.isfinite(row["flux"].value)]


def profile_figure(result: StackResult, bins: int | np.ndarray = 20, unit: str = "m", truth: float | None = None) -> Figure:
    """Figure of the uv profile, in the style of Lindroos et al. (2015), Figure 4; a true flux (Jy) is a line of its own."""
    figure = new_figure((7, 4.5))
    axes = figure.add_subplot()
    draw_profile(axes, result, bins, unit)
    if truth is not None:
        name, size = flux_unit(result.flux)
        axes.axhline(truth / size, color="k", ls="-.", lw=1.4, label=f"true flux {truth / size:.4g} {name}")
        axes.legend(frameon=False, fontsize="small", ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def stamp_figure(stamp: Stamp) -> Figure:
    """Figure of the stamp and its dirty beam."""
    figure = new_figure((9, 4))
    left, right = figure.subplots(1, 2)
    draw_stamp(left, stamp.brightness, stamp.cell, "stack")
    mark_beam_and_rms(left, stamp.brightness, stamp.psf, stamp.cell)
    draw_stamp(right, stamp.psf, stamp.cell, "dirty beam", in_jansky=False)
    return figure


def bootstrap_figure(result: StackResult) -> Figure:
    """Figure of the bootstrap fluxes."""
    if result.bootstrap is None:
        raise ValueError("the stack was made without bootstrap")
    name, size = flux_unit(result.flux)
    figure = new_figure((6, 4))
    axes = figure.add_subplot()
    axes.hist(result.bootstrap / size, bins="auto", color="0.75", edgecolor="0.4")
    axes.axvline(result.flux / size, color="C3", label=f"stack: {result.flux / size:.3g} {name}")
    for side in (-1, 1):
        axes.axvline((result.flux + side * result.flux_error) / size, color="C3", linestyle=":",
                     label="± error from scatter" if side < 0 else None)
    axes.set(xlabel=f"flux of resampled list ({name})", ylabel="resamplings")
    axes.legend(frameon=False)
    return figure


def draw_profile(axes: Axes, result: StackResult, bins: int | np.ndarray, unit: str) -> None:
    """Draw real and imaginary part against uv distance, the mean, its error and the uv limits."""
    table = result.uv_profile(bins, unit)
    table = table[table["count"] > 0]
    scale, label = (1e3, "km") if unit == "m" else (1e3, "kλ")
    name, size = flux_unit(result.flux)
    x = table["uv_distance"].value / scale
    half_width = np.stack([x - table["uv_min"].value / scale, table["uv_max"].value / scale - x])
    axes.axhspan((result.flux - result.flux_error) / size, (result.flux + result.flux_error) / size, color="C3", alpha=0.15, lw=0)
    axes.axhline(result.flux / size, color="C3", lw=1.2,
                 label=f"mean {with_error(result.flux, result.flux_error, size)} {name}")
    axes.axhline(0, color="0.6", lw=0.6)
    axes.errorbar(x, table["im"].to_value(u.Jy) / size, table["im_error"].to_value(u.Jy) / size, fmt="o", ms=3, color="0.7",
                  lw=0.8, label="imaginary")
    axes.errorbar(x, table["re"].to_value(u.Jy) / size, table["re_error"].to_value(u.Jy) / size, half_width, fmt="o", ms=4,
                  color="C0", lw=1, label="real")
    if result.uv_range.unit == unit:
        for limit in (result.uv_range.minimum, result.uv_range.maximum):
            if 0 < limit < np.inf:
                axes.axvline(limit / scale, color="k", ls="--", lw=1)
    axes.set(xlabel=f"$\\sqrt{{u^2+v^2}}$ ({label})", ylabel=f"visibility ({name})")
    axes.legend(frameon=False, fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
