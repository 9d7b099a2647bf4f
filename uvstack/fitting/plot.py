"""Pictures of a fit: data and model against uv distance with residuals and correlations; parameters against frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from uvstack.errors import FitError
from uvstack.fitting.result import FitResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WORDS = {"position_angle": "PA", "fwhm": "FWHM", "ra": "RA", "dec": "Dec"}
#: Parameters that are written out, and of which the correlations are.
_MOST_LINES, _MOST_NUMBERS = 12, 10


def fit_figure(result: FitResult) -> Figure:
    """Figure of the real part with the model, the residuals below it, the parameters and their correlations.

    Raises
    ------
    FitError
        The result has no profile: it came from arrays.
    """
    from matplotlib.figure import Figure

    if result.profile is None:
        raise FitError("this result has no uv profile: only those of uvstack.fit, from measurement sets, can be plotted")
    figure = Figure(figsize=(10.5, 5.5), layout="constrained")
    several = len(result.names) > 1
    # Many parameters want more room than the residuals.
    share = min(1.3 + 0.25 * max(len(result.names) - 4, 0), 3.0)
    outer = figure.add_gridspec(1, 2, width_ratios=(3, 1.6 if several else 1.0))
    left, right = outer[0].subgridspec(2, 1, height_ratios=(3, 1.3)), outer[1].subgridspec(2 if several else 1, 1,
                                                                                          height_ratios=(3, share) if several else None)
    upper = figure.add_subplot(left[0])
    lower = figure.add_subplot(left[1], sharex=upper)
    draw_profile(upper, lower, result)
    if several:
        draw_correlation(figure.add_subplot(right[0]), result)
    draw_numbers(figure.add_subplot(right[-1]), result)
    return figure


def draw_numbers(axes: Axes, result: FitResult) -> None:
    """Write the parameters with their errors, and how good the fit is."""
    from uvstack.fitting.report import parameter_rows

    axes.axis("off")
    lines = [f"{_named(name)}  {text} {unit}".rstrip() for name, text, unit in parameter_rows(result)[:_MOST_LINES]]
    more = len(result.names) - len(lines)
    lines += [f"… and {more} more"] if more else []
    lines += [f"reduced χ²  {result.reduced_chi_squared:.3f}", f"{result.n_visibilities} visibilities"]
    lines += [] if result.converged else ["not converged"]
    axes.text(0.0, 1.0, "\n".join(lines), va="top", fontsize="small" if len(lines) <= 8 else "x-small", transform=axes.transAxes)


def _named(name: str) -> str:
    """A parameter's name as people write it, with the number of its component: "FWHM 2"."""
    word, _, number = name.rpartition("_")
    word, number = (word, f" {number}") if number.isdigit() else (name, "")
    return _WORDS.get(word, word) + number


def flux_unit(flux: float) -> tuple[str, float]:
    """Name and size in Jy of the unit that suits a flux."""
    return next(((name, size) for name, size in (("Jy", 1.0), ("mJy", 1e-3), ("µJy", 1e-6)) if abs(flux) >= 0.3 * size), ("nJy", 1e-9))


def draw_profile(upper: Axes, lower: Axes, result: FitResult) -> None:
    """Draw real part and model against uv distance, and the residuals of real and imaginary part below."""
    assert result.profile is not None
    table = result.profile.table()
    name, size = flux_unit(float(np.abs(table["model_re"].to_value(u.Jy)).max(initial=0.0)) or 1.0)
    x = np.asarray(table["uv_distance"]) / 1e3
    ends = np.asarray(table["uv_min"]) / 1e3, np.asarray(table["uv_max"]) / 1e3
    width = np.maximum(np.stack([x - ends[0], ends[1] - x]), 0.0)
    columns = ("re", "im", "model_re", "model_im", "error")
    re, im, model_re, model_im, error = (table[column].to_value(u.Jy) / size for column in columns)
    upper.axhline(0, color="0.6", lw=0.6)
    upper.errorbar(x, im, error, fmt="o", ms=3, color="0.7", lw=0.8, label="imaginary")
    upper.errorbar(x, re, error, width, fmt="o", ms=4, color="C0", lw=1, label="real")
    upper.plot(x, model_re, color="C3", lw=1.4, label="model", zorder=3)
    if np.abs(model_im).max(initial=0.0) > 1e-6 * np.abs(model_re).max(initial=0.0):
        upper.plot(x, model_im, color="C3", lw=0.9, ls=":", label="model, imaginary")
    upper.set(ylabel=f"visibility ({name})")
    upper.legend(frameon=False, fontsize="small", ncols=4, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    upper.tick_params(labelbottom=False)
    lower.axhline(0, color="C3", lw=1)
    lower.errorbar(x, im - model_im, error, fmt="o", ms=3, color="0.7", lw=0.8)
    lower.errorbar(x, re - model_re, error, fmt="o", ms=4, color="C0", lw=1)
    lower.set(xlabel="$\\sqrt{u^2+v^2}$ (kλ)", ylabel=f"residual ({name})")


def draw_correlation(axes: Axes, result: FitResult) -> None:
    """Draw the correlation matrix of the parameters."""
    matrix = np.where(np.isfinite(result.correlation), result.correlation, 0.0)
    n = len(matrix)
    axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    names = [_named(name) for name in result.names]
    axes.set_xticks(range(n), names, rotation=60, ha="right", rotation_mode="anchor", fontsize="small")
    axes.set_yticks(range(n), names, fontsize="small")
    digits = 2 if n <= 6 else 1
    if n <= _MOST_NUMBERS:
        for i in range(n):
            for j in range(n):
                axes.text(j, i, f"{round(matrix[i, j], digits) + 0.0:.{digits}f}", ha="center", va="center",
                          fontsize="x-small" if n <= 6 else 6,
                          color="w" if abs(matrix[i, j]) > 0.6 else "k")
    axes.set_title("correlation", fontsize="medium")


def spectrum_figure(results: Sequence[FitResult]) -> Figure:
    """Figure of the parameters of fits by channel against frequency; 95 % limits are arrows."""
    from matplotlib.figure import Figure

    names = results[0].names
    figure = Figure(figsize=(7, 1.2 + 1.8 * len(names)), layout="constrained")
    frequency = np.array([result.frequency if result.band is None else np.mean(result.band) for result in results]) / 1e9
    half = np.array([0.0 if result.band is None else np.ptp(result.band) / 2 for result in results]) / 1e9
    for i, axes in enumerate(np.atleast_1d(figure.subplots(len(names), 1, sharex=True))):
        values, errors = (np.array([row[i] for row in rows]) for rows in ([r.parameters for r in results], [r.errors for r in results]))
        limits = np.array([result.upper_limits.get(names[i], np.nan) for result in results])
        unit, size = results[0].units[i], 1.0
        if unit == "Jy":
            unit, size = flux_unit(float(np.nanmax(np.abs(values))))
        found = np.isnan(limits) & (np.array([names[i] not in result.upper_limits for result in results]))
        shown = np.where(np.isfinite(errors), errors, 0.0)
        for known, colour in ((True, "C0"), (False, "0.7")):  # grey: not determined
            these = found & (np.isfinite(errors) == known)
            axes.errorbar(frequency[these], values[these] / size, shown[these] / size, half[these], fmt="o", ms=4, color=colour, lw=1)
        below = np.isfinite(limits)
        if below.any():
            axes.errorbar(frequency[below], limits[below] / size, None, half[below], fmt="none", color="C0", lw=1)
            for x, y in zip(frequency[below], limits[below] / size, strict=True):
                axes.annotate("", (x, 0.75 * y), (x, y), arrowprops={"arrowstyle": "->", "color": "C0"})
            axes.set_ylim(0.0, 1.1 * max(limits[below].max(), (values + shown)[found].max(initial=0.0)) / size)
        axes.set_ylabel(_named(names[i]) + (f" ({unit})" if unit else ""))
    axes.set_xlabel("frequency (GHz)")
    return figure
