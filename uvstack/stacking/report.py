"""What a person reads of a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from uvstack.report.figure import draw_stamp, mark_beam_and_rms, new_figure
from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Section
from uvstack.stacking.by_position import CLIP, FEW, PositionSums
from uvstack.stacking.stamp_files import stamp_writers
from uvstack.stacking.uv_stack import MOST_BINNED
from uvstack.uv.trend import FEWEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uvstack.stacking.result import StackResult
    from uvstack.stacking.stamp import Stamp

#: Positions of most influence on the page.
_SHOWN = 5
_EQUATION_7 = ("Lindroos et al. (2015), equation 7: what the noise of the data before stacking "
               "leaves in the mean, were every position "
               "independent of the others. A scatter well above it says that the data hold more "
               "than noise, residuals of bright sources for instance.")


def overview(result: StackResult, truth: float | None = None) -> Section:
    """Flux, errors, counts and advice."""
    name, size = flux_unit(result.flux)
    rows: list[tuple[str, ...]] = []
    if truth is not None:
        rows.append(("true flux",
                     f"{truth / size:.4g} {name}: the stack is "
                     f"{(result.flux - truth) / result.flux_error:+.1f} σ away"))
    rows.append((
        "error", f"{result.flux_error / size:.3g} {name} from the scatter, {result.flux_error_expected / size:.3g} {name} expected from "
        "the noise (equation 7)", _EQUATION_7))
    rows += _bootstrap_rows(result, name, size)
    left_out = "".join(f", {which.size} {reason}" for reason, which in result.dropped.items()
                       if which.size)
    rows += [("positions",
              f"{result.n_positions} of {result.n_positions_given}, in {len(result.fields)} "
              f"pointing(s){left_out}"),
             ("visibilities", f"{result.n_visibilities} in uv range {result.uv_range}")]
    if result.n_not_finite:
        rows.append(("not finite",
                     f"{result.n_not_finite} visibilities are NaN or infinite and not flagged; "
                     "taken as flagged"))
    for label, group in result.groups.items():
        group_name, group_size = flux_unit(group.flux)
        rows.append((f"  {label}",
                     f"{with_error(group.flux, group.flux_error, group_size)} {group_name}, "
                     f"{group.n_positions} positions"))
    if not result.is_judged:
        rows.append(("uv cut", "not judged: --bootstrap or --by-position compares short baselines "
                     f"with long ones by the scatter of {FEWEST} to {MOST_BINNED} positions"))
    if result.ms is not None:
        rows.append(("stacked set", result.ms))
    suggestion = result.suggest_uvmin()
    text = []
    if suggestion is not None and suggestion > (result.uv_range.minimum
                                                if result.uv_range.unit == "m" else 0):
        text.append(("advice", f"baselines below {suggestion / 1e3:.3g} km deviate from the longer ones by more than chance does in 5 % of "
                               "stacks, or are so noisy that the mean is better without, as residuals of bright sources do, and "
                               "resolved sources too: look at the profile, consider "
                               f"--uvmin {suggestion / 1e3:.2g}km; no cut was made because of this advice"))
    return Section(result.name, rows, text=text,
                   lead=("flux", f"{with_error(result.flux, result.flux_error, size)} {name}",
                         f"SNR {result.snr:.1f}"))


def _bootstrap_rows(result: StackResult, name: str, size: float) -> list[tuple[str, ...]]:
    """Error of resampled lists, robust averages, and the position that carries most."""
    positions, error = result.positions, result.bootstrap_error
    if result.bootstrap is None or positions is None or error is None:
        return []
    rows: list[tuple[str, ...]] = [
        ("bootstrap", f"± {error / size:.3g} {name} with the variance of the sources, "
         f"{result.bootstrap.size} lists of {positions.n_effective:.3g} effective positions",
         f"(ΣW)²/ΣW² positions of equal weight would do as much; below {FEW} the error is rough.")]
    for method, robust in result.robust.items():
        note = f", without what lies beyond {CLIP:g} σ" if method == "clipped-mean" else ""
        rows.append((method.replace("-", " "),
                     f"{with_error(robust.flux, robust.error, size)} {name}{note}"))
    first = positions.order[0]
    if positions.number.size > 1:
        change = -positions.influence[first]
        rows.append(("carried by",
                     f"position {positions.number[first]}: without it "
                     f"{positions.flux_without[first] / size:.4g} {name}, "
                     f"{change / error:+.1f} of its bootstrap error"))
    return rows


def _influence_grid(positions: PositionSums, size: float, name: str) -> list[tuple[str, ...]]:
    """The positions that change the flux most, below a head."""
    head = ("position", "ra (°)", "dec (°)", f"flux ({name})", "share of the weight",
            f"stack without it ({name})")
    return [head, *((str(positions.number[k]), f"{np.rad2deg(positions.ra[k]):.5f}",
                     f"{np.rad2deg(positions.dec[k]):.5f}", f"{positions.fluxes[k] / size:.3g}",
                     f"{100 * positions.share[k]:.2g} %",
                     f"{positions.flux_without[k] / size:.4g}")
                    for k in positions.order[:_SHOWN])]


def sections(result: StackResult, bins: int, stamp_size: int, stamp_cell: float | None,
             truth: float | None) -> list[Section]:
    """Overview, profile, stamp, bootstrap and pointings."""
    stamp, tables = result.image(stamp_size, stamp_cell), result.tables(bins)
    name, size = flux_unit(result.flux)
    found = [overview(result, truth),
             Section("uv profile",
                     figures={"uv_profile": profile_figure(result, bins, truth=truth)},
                     tables={"uv_profile": tables["uv_profile"]}),
             Section("Stamp and dirty beam",
                     [("phase centre",
                       f"{stamp.peak / size:.4g} {name}/beam: the flux of a point source")],
                     {"stamp": stamp_figure(stamp)}, files=stamp_writers(stamp, result.name))]
    # One position alone cannot be resampled.
    if result.bootstrap is not None and np.isfinite(result.bootstrap).all():
        found.append(Section("Bootstrap", figures={"bootstrap": bootstrap_figure(result)}))
    if result.positions is not None:
        found.append(Section("Positions that the flux hangs on",
                             grid=_influence_grid(result.positions, size, name),
                             tables={"positions": tables.pop("positions")}))
    return [*found, Section("Pointings", grid=_pointings(result, name, size))]


def _pointings(result: StackResult, name: str, size: float) -> list[tuple[str, ...]]:
    """Flux of each pointing with its errors, below a head."""
    head = ("set", "field", "positions", f"flux ({name})", "error from the scatter",
            "error expected from the noise")
    return [head,
            *((row["ms"], row["field"], str(row["n_positions"]),
               f"{row['flux'].to_value(u.Jy) / size:.4g}",
               f"{row['flux_error'].to_value(u.Jy) / size:.2g}",
               f"{row['flux_error_expected'].to_value(u.Jy) / size:.2g}")
              for row in result.per_field if np.isfinite(row["flux"].value))]


def profile_figure(result: StackResult, bins: int | np.ndarray = 20, unit: str = "m",
                   truth: float | None = None) -> Figure:
    """Figure of the uv profile, in the style of Lindroos et al. (2015), Figure 4.

    a true flux (Jy) is a line of its own.
    """
    figure = new_figure((7, 4.5))
    axes = figure.add_subplot()
    draw_profile(axes, result, bins, unit)
    if truth is not None:
        name, size = flux_unit(result.flux)
        axes.axhline(truth / size, color="k", ls="-.", lw=1.4,
                     label=f"true flux {truth / size:.4g} {name}")
        axes.legend(frameon=False, fontsize="small", ncols=4, loc="lower center",
                    bbox_to_anchor=(0.5, 1.0))
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
    axes.axhspan((result.flux - result.flux_error) / size, (result.flux + result.flux_error) / size,
                 color="C3", alpha=0.15, lw=0)
    axes.axhline(result.flux / size, color="C3", lw=1.2,
                 label=f"mean {with_error(result.flux, result.flux_error, size)} {name}")
    axes.axhline(0, color="0.6", lw=0.6)
    axes.errorbar(x, table["im"].to_value(u.Jy) / size, table["im_error"].to_value(u.Jy) / size,
                  fmt="o", ms=3, color="0.7", lw=0.8, label="imaginary")
    axes.errorbar(x, table["re"].to_value(u.Jy) / size, table["re_error"].to_value(u.Jy) / size,
                  half_width, fmt="o", ms=4, color="C0", lw=1, label="real")
    if result.uv_range.unit == unit:
        for limit in (result.uv_range.minimum, result.uv_range.maximum):
            if 0 < limit < np.inf:
                axes.axvline(limit / scale, color="k", ls="--", lw=1)
    axes.set(xlabel=f"$\\sqrt{{u^2+v^2}}$ ({label})", ylabel=f"visibility ({name})")
    axes.legend(frameon=False, fontsize="small", ncols=3, loc="lower center",
                bbox_to_anchor=(0.5, 1.0))
