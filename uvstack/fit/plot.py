"""Pictures of a fit: data and model against uv distance with residuals and correlations; parameters against frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from uvstack.errors import FitError
from uvstack.fit.result import FitResult
from uvstack.fit.variables import unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WORDS = {"position_angle": "PA", "fwhm": "FWHM"}


def fit_figure(result: FitResult) -> Figure:
    """Figure of the real part with the model, the residuals below it, and the correlations of the parameters.

    Raises
    ------
    FitError
        The result has no profile: it came from arrays.
    """
    from matplotlib.figure import Figure

    if result.profile is None:
        raise FitError("this result has no uv profile: only those of uvstack.fit, from measurement sets, can be plotted")
    figure = Figure(figsize=(9.5, 5.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1.3), width_ratios=(3, 1.25))
    upper = figure.add_subplot(grid[0, 0])
    lower = figure.add_subplot(grid[1, 0], sharex=upper)
    draw_profile(upper, lower, result)
    draw_correlation(figure.add_subplot(grid[0, 1]), result)
    words = figure.add_subplot(grid[1, 1])
    words.axis("off")
    words.text(0, 0.95, f"reduced χ² {result.reduced_chi_squared:.4g}\n{result.n_visibilities} visibilities\n"
               f"{result.method}, {result.n_passes} passes", va="top", fontsize="small", transform=words.transAxes)
    return figure


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
    names = [_WORDS.get(name, name) for name in result.names]
    axes.set_xticks(range(n), names, rotation=60, ha="right", rotation_mode="anchor", fontsize="small")
    axes.set_yticks(range(n), names, fontsize="small")
    if n <= 6:
        for i in range(n):
            for j in range(n):
                axes.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", fontsize="x-small",
                          color="w" if abs(matrix[i, j]) > 0.6 else "k")
    axes.set_title("correlation", fontsize="medium")


def spectrum_figure(results: Sequence[FitResult]) -> Figure:
    """Figure of the parameters of fits by channel against frequency."""
    from matplotlib.figure import Figure

    names = results[0].names
    figure = Figure(figsize=(7, 1.2 + 1.8 * len(names)), layout="constrained")
    frequency = np.array([result.frequency for result in results]) / 1e9
    for i, axes in enumerate(np.atleast_1d(figure.subplots(len(names), 1, sharex=True))):
        values, errors = (np.array([row[i] for row in rows]) for rows in ([r.parameters for r in results], [r.errors for r in results]))
        unit, size = unit_of(names[i]), 1.0
        if unit == "Jy":
            unit, size = flux_unit(float(np.nanmax(np.abs(values))))
        axes.errorbar(frequency, values / size, np.where(np.isfinite(errors), errors, 0.0) / size, fmt="o", ms=4, color="C0", lw=1)
        axes.set_ylabel(_WORDS.get(names[i], names[i]) + (f" ({unit})" if unit else ""))
    axes.set_xlabel("frequency (GHz)")
    return figure
