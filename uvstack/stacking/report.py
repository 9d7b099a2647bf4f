"""What a person reads of a stack: a few lines for the terminal, a page with pictures."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence

import numpy as np
from astropy import units as u

from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Addition, page, png
from uvstack.stacking.plot import bootstrap_figure, profile_figure, stamp_figure
from uvstack.stacking.result import StackResult, Stamp


def print_summary(result: StackResult) -> str:
    """Flux, errors and advice in a few lines."""
    name, size = flux_unit(result.flux)
    errors = f"{result.flux_error / size:.3g} {name} from the scatter, {result.flux_error_expected / size:.3g} {name} from equation 7"
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
    pictures = {"uv profile": profile_figure(result, bins), "stamp and dirty beam": stamp_figure(stamp)}
    if result.bootstrap is not None:
        pictures["bootstrap"] = bootstrap_figure(result)
    body = importlib.resources.files("uvstack.stacking").joinpath("report.html").read_text(encoding="utf-8")
    return page(body).render(
        title=result.name, result=result, flux=with_error(result.flux, result.flux_error, size), unit=name,
        size=size, truth=truth, peak=stamp.peak, fields=_rows(result), suggestion=result.suggest_uvmin(),
        pictures={title: png(figure) for title, figure in pictures.items()},
        additions=[(a.title, a.rows, [png(figure) for figure in a.figures]) for a in additions])


def _rows(result: StackResult) -> list[dict]:
    return [
        {"ms": row["ms"], "field": row["field"], "n_positions": int(row["n_positions"]), "flux": row["flux"].to_value(u.Jy),
         "error": row["flux_error"].to_value(u.Jy), "expected": row["flux_error_expected"].to_value(u.Jy)}
        for row in result.per_field if np.isfinite(row["flux"].value)]


