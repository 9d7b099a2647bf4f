"""What a person reads of a fit, or of those of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.errors import FitError
from uvstack.records import plain
from uvstack.report.numbers import flux_unit
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uvstack.fitting.result import FitResult

#: Correlations from which on they are told.
_STRONG = 0.5
#: Residuals of the uv profile from which on a model is wrong: some 60 bins reach 3.5 σ by noise.
_MISFIT = 6.0
_ERROR = "standard deviation; 0 if held, NaN if not determined; of an unresolved size the distance to the upper end of its 68 % interval"
_STOKES = ("I", "Q", "U", "V")
_COUNTED = "complex; real and imaginary parts count apart"
_WORDS = {"position_angle": "PA", "fwhm": "FWHM", "ra": "RA", "dec": "Dec"}
#: Parameters that are written out, and of which the correlations are.
_MOST_LINES, _MOST_NUMBERS = 12, 10


def with_error(value: float, error: float) -> str:
    """A value and its error, both to the second digit of the error: "26.7 ± 4.0"."""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.6g} (held)" if error == 0 else f"not determined, at {value:.6g}"
    decimals = 1 - int(np.floor(np.log10(error)))
    if decimals > 9:
        return f"{value:.8g} ± {error:.2g}"
    return f"{value:.{max(decimals, 0)}f} ± {error:.{max(decimals, 0)}f}"


def parameter_rows(result: FitResult) -> list[tuple[str, str, str]]:
    """Name, value with error or limit, and unit of each parameter."""
    rows = []
    for i, (value, error) in enumerate(zip(result.parameters, result.errors, strict=True)):
        unit, size = _scale(result, i, value)
        name, limit = label(result, i), result.upper_limits.get(result.names[i])
        if limit is None:
            rows.append((name, with_error(value / size, error / size), unit))
        elif not np.isfinite(limit):
            rows.append((name, f"not limited (95 %), best {value / size:.3g}", unit))
        else:
            of_limit = f"below {limit / size:.3g} {unit}".rstrip()
            rows.append((name, f"{of_limit} (95 %), best {value / size:.3g}", ""))
    return rows


def interval_texts(result: FitResult) -> list[str]:
    """Intervals of sizes: "fwhm 1.02 to 1.39 (68 %), 0.81 to 1.58 (95 %) arcsec"."""
    found = []
    for i, name in enumerate(result.names):
        if name in result.intervals_68:
            low, high = result.intervals_68[name]
            width = high - low if np.isfinite(high - low) and high > low else 1.0
            digits = max(2 - int(np.floor(np.log10(width))), 0)
            texts = [f"{low:.{digits}f} to {high:.{digits}f} ({share} %)"
                     for (low, high), share in ((result.intervals_68[name], 68),
                                                (result.intervals_95[name], 95))]
            found.append(f"{label(result, i)} {', '.join(texts)} {result.units[i]}".rstrip())
    return found


def label(result: FitResult, i: int) -> str:
    """What a parameter is called.

    Its name, and with names such as p[2] what it is where that can be told.
    """
    name, kind = result.names[i], result.kinds[i]
    return f"{name} ({kind})" if kind and name.startswith("p[") else name


def _scale(result: FitResult, i: int, value: float) -> tuple[str, float]:
    """Unit in which a parameter is told, and its size in that in which it is fitted."""
    unit = result.units[i]
    return flux_unit(value) if unit == "Jy" else (unit, 1.0)


def setting(result: FitResult) -> list[tuple[str, str]]:
    """What was fitted to what.

    The model with nu0, and Stokes parameter, frequencies and uv range of the data.
    """
    told = [("model", f"{_shapes(result)}, nu0 {result.frequency / 1e9:.6g} GHz")]
    data = [f"Stokes {result.stokes}"] if result.stokes in _STOKES else [result.stokes] if result.stokes else []
    if result.band is not None:
        data.append(" to ".join(f"{nu / 1e9:.6g}" for nu in result.band) + " GHz")
    if result.profile is not None:
        table = result.profile.table()
        data.append(f"uv {table['uv_min'][0] / 1e3:.3g} to {table['uv_max'][-1] / 1e3:.4g} kλ")
    return told + ([("data", ", ".join(data))] if data else [])


def goodness(result: FitResult) -> str:
    """χ², what it is over, and where the errors come from."""
    if result.weighted_degrees_of_freedom is None:
        found = f"{result.chi_squared:.6g} for {result.degrees_of_freedom} degrees of freedom, reduced {result.reduced_chi_squared:.3f}"
    else:
        found = (f"{result.chi_squared:.6g} with the weights as tapered, for which "
                 f"{result.weighted_degrees_of_freedom:.6g} are expected: "
                 f"reduced {result.reduced_chi_squared:.3f}")
    return f"{found}; errors from the {'scatter' if result.errors_scaled else 'weights'}"


def ending(result: FitResult) -> str:
    """How the fit ended, in how many passes, and by which method."""
    passes = f"{result.n_passes} pass" + ("es" if result.n_passes != 1 else "")
    if result.method == "binned":
        near = f"within {result.binning_error:.1g} errors of the exact fit" if result.binning_error > 0 else "as the exact fit"
        return f"{_ended(result)} after {passes} over the bins{_begun(result)}; {near}"
    return f"{_ended(result)} after {passes} over the data or a sample of them{_begun(result)}"


def _ended(result: FitResult) -> str:
    """The reason, with the word itself where it converged and no lower minimum is known."""
    if result.converged and result.elsewhere:
        return f"at a minimum near the starting values, which is not the lowest ({result.stop_reason})"
    return f"converged ({result.stop_reason})" if result.converged else f"not converged ({result.stop_reason})"


def _begun(result: FitResult) -> str:
    """From how many starts, and what the next best led to."""
    if not result.n_starts:
        return ""
    found = f", from the best of {result.n_starts} starts" if result.n_starts > 1 else ", from 1 start"
    return found + (f" (next minimum: χ² {result.next_chi_squared:.6g})"
                    if result.next_chi_squared is not None else "")


def correlation_texts(result: FitResult) -> list[str]:
    """The strong correlations, strongest first: "flux and fwhm +0.82"."""
    matrix = result.correlation
    pairs = [(matrix[i, j], label(result, i), label(result, j)) for i in range(len(matrix))
             for j in range(i) if np.isfinite(matrix[i, j]) and abs(matrix[i, j]) >= _STRONG]
    return [f"{b} and {a} {r:+.2f}"
            for r, a, b in sorted(pairs, key=lambda pair: -abs(pair[0]))[:6]]


def posterior_texts(result: FitResult) -> list[tuple[str, str]]:
    """Median and 68 per cent of each parameter's posterior: ("flux", "1.234 +0.012 −0.011 mJy")."""
    assert result.samples is not None
    found = []
    for i, percentiles in enumerate(np.percentile(result.samples, [15.87, 50, 84.13], axis=0).T):
        unit, size = _scale(result, i, percentiles[1])
        low, middle, high = percentiles / size
        decimals = max(1 - int(np.floor(np.log10(min(high - middle, middle - low)))),
                       0) if high > middle > low else 4
        name = label(result, i)
        found.append((name, f"{middle:.{decimals}f} +{high - middle:.{decimals}f} −{middle - low:.{decimals}f} {unit}".rstrip()))
    return found


def bootstrap_texts(result: FitResult) -> list[str]:
    """Errors by resampling: "flux 0.12 mJy"."""
    assert result.bootstrap_errors is not None
    found = []
    for i, (value, error) in enumerate(zip(result.parameters, result.bootstrap_errors,
                                           strict=True)):
        unit, size = _scale(result, i, value)
        if error != 0:  # held
            found.append(f"{label(result, i)} {error / size:.2g} {unit}".rstrip())
    return found


def overview(result: FitResult) -> Section:
    """What was fitted, parameters with errors, goodness of fit, how it ended."""
    rows: list[tuple[str, ...]] = [(name, f"{text} {unit}".rstrip())
                                   for name, text, unit in parameter_rows(result)]
    rows += [("interval", text) for text in interval_texts(result)]
    if result.estimator == "jeffreys":
        rows.append(("estimator", "likelihood × √F of the sizes (jeffreys)"))
    rows += [*setting(result), ("χ²", goodness(result)),
             ("visibilities", f"{result.n_visibilities} ({_COUNTED})")]
    if result.bootstrap_errors is not None and result.bootstrap is not None:
        errors = ", ".join(bootstrap_texts(result))
        rows.append(("bootstrap",
                     f"errors {errors} from {len(result.bootstrap)} resamplings of blocks of time"))
    if result.samples is not None:
        rows.append(("posterior",
                     ", ".join(f"{name} {text}" for name, text in posterior_texts(result)),
                     "median and 68 %"))
    correlations = correlation_texts(result)
    if correlations:
        rows.append(("correlation", ", ".join(correlations)))
    return Section(f"Fit of {_shapes(result)}", [*rows, ("stopped", ending(result))],
                   text=[("warning", text) for text in warnings_of(result)])


def sections(result: FitResult) -> list[Section]:
    """Overview, picture and model."""
    figures = {} if result.profile is None else {"fit": fit_figure(result)}
    return [overview(result), Section("Data and model", figures=figures, tables=result.tables()),
            _model(result)]


def overview_of_channels(results: Sequence[FitResult]) -> Section:
    """A line for each fit, and the warnings of all."""
    names = [label(results[0], i) for i in range(len(results[0].names))]
    grid = [("frequency", *names, "reduced χ²")]
    for result in results:
        cells = (f"{text} {unit}".rstrip() for _, text, unit in parameter_rows(result))
        grid.append((range_text(result), *cells, f"{result.reduced_chi_squared:.3f}"))
    return Section(f"Fits of {_shapes(results[0])}, channel by channel", setting(results[0])[:1],
                   grid=grid,
                   text=[("warning", f"{range_text(result)}: {text}") for result in results
                         for text in warnings_of(result)])


def sections_of_channels(results: Sequence[FitResult]) -> list[Section]:
    """Overview, spectrum and model."""
    return [overview_of_channels(results),
            Section("Spectrum", figures={"spectrum": spectrum_figure(results)},
                    tables={"parameters": parameter_table(results)}), _model(results[0])]


def _model(result: FitResult) -> Section:
    return Section("Model",
                   [("variables",
                     "   ".join(variables.text for variables in result.model.variables)),
                    ("reference frequency", f"{result.frequency / 1e9:.6g} GHz")])


def _shapes(result: FitResult) -> str:
    return " + ".join(shape.name for shape in result.model.shapes)


def warnings_of(result: FitResult) -> list[str]:
    """What a user must know before believing the numbers."""
    found = [] if result.converged else [f"the fit has not converged: {result.stop_reason}; other "
                                         "starting values or bounds may help"]
    found += [text for text in (result.elsewhere, result.degenerate) if text]
    return found + _misfit(result)


def _misfit(result: FitResult) -> list[str]:
    """A warning where bins of the uv profile are many standard deviations off the model."""
    if result.profile is None:
        return []
    table = result.profile.table()
    pulls = np.stack([np.abs((table[part] - table[f"model_{part}"]) / table[f"{part}_error"]).value
                      for part in ("re", "im")])
    pulls = np.where((table["count"] > 0)[None, :] & np.isfinite(pulls), pulls, 0.0)
    part, i = np.unravel_index(np.argmax(pulls), pulls.shape)
    if pulls[part, i] < _MISFIT:
        return []
    where = f"at {table['uv_distance'][i] / 1e3:.3g} kλ the mean {('real', 'imaginary')[part]} part is {pulls[part, i]:.0f} σ off"
    return [f"the model does not describe the data: {where}; look at the residuals, and at other "
            "models, starting values or uv limits"]


def summary(result: FitResult) -> dict[str, Any]:
    """Everything but the profile, as numbers and texts that JSON can hold; NaN as null."""
    out: dict[str, Any] = {"model": [shape.name for shape in result.model.shapes],
                           "var": [variables.text for variables in result.model.variables],
                           "parameters": [{"name": name, "kind": kind, "value": plain(value),
                                           "error": plain(error), "unit": unit,
                                           "interval_68": plain(result.intervals_68.get(name)),
                                           "interval_95": plain(result.intervals_95.get(name)),
                                           "upper_limit_95": plain(
                                               result.upper_limits.get(name, np.nan))}
                                          for name, kind, unit, value, error in zip(
                                              result.names, result.kinds, result.units,
                                              result.parameters, result.errors, strict=True)],
                           "stokes": result.stokes,
                           "band_hz": None if result.band is None else list(result.band),
                           "covariance": [[plain(x) for x in row] for row in result.covariance],
                           "correlation": [[plain(x) for x in row] for row in result.correlation],
                           "chi_squared": plain(result.chi_squared),
                           "reduced_chi_squared": plain(result.reduced_chi_squared),
                           "n_visibilities": result.n_visibilities,
                           "degrees_of_freedom": result.degrees_of_freedom,
                           "errors_scaled": result.errors_scaled,
                           "weighted_degrees_of_freedom": plain(result.weighted_degrees_of_freedom),
                           "frequency_hz": result.frequency, "stop_reason": result.stop_reason,
                           "converged": result.converged, "n_passes": result.n_passes,
                           "method": result.method, "estimator": result.estimator, "n_starts": result.n_starts,
                           "next_chi_squared": plain(result.next_chi_squared),
                           "elsewhere": result.elsewhere,
                           "binning_error": plain(result.binning_error),
                           "degenerate": result.degenerate}
    if result.bootstrap is not None and result.bootstrap_errors is not None:
        out["bootstrap"] = _percentiles(result.bootstrap) | {"errors": result.bootstrap_errors}
    if result.samples is not None:
        out["posterior"] = _percentiles(result.samples)
    return plain(out
                 | {"provenance": None if result.provenance is None else vars(result.provenance)})


def _percentiles(values: np.ndarray) -> dict[str, Any]:
    """Of parameters (n, par), in the units in which they are fitted.

    a list of all of them for each percentile.
    """
    percent = (2.5, 16, 50, 84, 95, 97.5)
    return {"n": len(values), "percentiles": percent,
            "at_percentiles": np.percentile(values, percent, axis=0)}


def parameter_table(results: Sequence[FitResult]) -> QTable:
    """Table of parameters, errors and 95 % limits (NaN where resolved).

    a row for each fit, with its frequencies, and how it went.
    """
    table = QTable({"frequency": [result.frequency for result in results] * u.Hz})
    if all(result.band is not None for result in results):
        for name, i in (("frequency_min", 0), ("frequency_max", 1)):
            table[name] = [result.band[i] for result in results if result.band is not None] * u.Hz
    for name in ("reduced_chi_squared", "n_visibilities", "converged"):
        table[name] = [getattr(result, name) for result in results]
    for i, name in enumerate(results[0].names if results else ()):
        limits = [result.upper_limits.get(name, np.nan) for result in results]
        columns = [("", [r.parameters[i] for r in results], results[0].kinds[i]),
                   ("_error", [r.errors[i] for r in results], _ERROR)]
        if name in {key for result in results for key in result.intervals_68}:
            none = (np.nan, np.nan)
            for share, intervals in ((68, [r.intervals_68 for r in results]),
                                     (95, [r.intervals_95 for r in results])):
                for end, which in enumerate(("low", "high")):
                    columns.append((f"_{which}_{share}", [one.get(name, none)[end]
                                                          for one in intervals],
                                    f"{('lower', 'upper')[end]} end of the interval of {share} %"))
        if name in {key for result in results for key in result.upper_limits}:
            columns.append(("_limit_95", limits,
                            "95 % upper limit of what is not resolved; NaN where it is"))
        for suffix, values, meaning in columns:
            table[name + suffix] = values
            table[name + suffix].info.unit = results[0].units[i] or None
            table[name + suffix].info.description = meaning
    return table


def range_text(result: FitResult) -> str:
    """Frequencies of a fit to a channel: "1.4 to 1.432 GHz"."""
    if result.band is None:
        return f"{result.frequency / 1e9:.6g} GHz"
    return " to ".join(f"{nu / 1e9:.6g}" for nu in result.band) + " GHz"


def fit_figure(result: FitResult) -> Figure:
    """Figure of the real part with the model, the residuals below it, the parameters and their correlations.

    Raises
    ------
    FitError
        The result has no profile: it came from arrays.
    """
    from matplotlib.figure import Figure

    if result.profile is None:
        raise FitError("this result has no uv profile: only those of uvstack.fit, from "
                       "measurement sets, can be plotted")
    figure = Figure(figsize=(10.5, 5.5), layout="constrained")
    several = len(result.names) > 1
    # Many parameters want more room than the residuals.
    share = min(1.3 + 0.25 * max(len(result.names) - 4, 0), 3.0)
    outer = figure.add_gridspec(1, 2, width_ratios=(3, 1.6 if several else 1.0))
    left, right = outer[0].subgridspec(2, 1, height_ratios=(3, 1.3)), outer[1].subgridspec(
        2 if several else 1, 1, height_ratios=(3, share) if several else None)
    upper = figure.add_subplot(left[0])
    lower = figure.add_subplot(left[1], sharex=upper)
    draw_profile(upper, lower, result)
    if several:
        draw_correlation(figure.add_subplot(right[0]), result)
    draw_numbers(figure.add_subplot(right[-1]), result)
    return figure


def draw_numbers(axes: Axes, result: FitResult) -> None:
    """Write the parameters with their errors, and how good the fit is."""
    axes.axis("off")
    lines = [f"{_named(name)}  {text} {unit}".rstrip()
             for name, text, unit in parameter_rows(result)[:_MOST_LINES]]
    more = len(result.names) - len(lines)
    lines += [f"… and {more} more"] if more else []
    lines += [f"reduced χ²  {result.reduced_chi_squared:.3f}",
              f"{result.n_visibilities} visibilities"]
    lines += [] if result.converged else ["not converged"]
    axes.text(0.0, 1.0, "\n".join(lines), va="top",
              fontsize="small" if len(lines) <= 8 else "x-small", transform=axes.transAxes)


def _named(name: str) -> str:
    """A parameter's name as people write it, with the number of its component: "FWHM 2"."""
    word, _, number = name.rpartition("_")
    word, number = (word, f" {number}") if number.isdigit() else (name, "")
    return _WORDS.get(word, word) + number


def draw_profile(upper: Axes, lower: Axes, result: FitResult) -> None:
    """Draw real part and model against uv distance, and the residuals of real and imaginary part below."""
    assert result.profile is not None
    table = result.profile.table()
    name, size = flux_unit(float(np.abs(table["model_re"].to_value(u.Jy)).max(initial=0.0)) or 1.0)
    x = np.asarray(table["uv_distance"]) / 1e3
    ends = np.asarray(table["uv_min"]) / 1e3, np.asarray(table["uv_max"]) / 1e3
    width = np.maximum(np.stack([x - ends[0], ends[1] - x]), 0.0)
    columns = ("re", "im", "model_re", "model_im", "re_error")
    re, im, model_re, model_im, error = (table[column].to_value(u.Jy) / size for column in columns)
    upper.axhline(0, color="0.6", lw=0.6)
    upper.errorbar(x, im, error, fmt="o", ms=3, color="0.7", lw=0.8, label="imaginary")
    upper.errorbar(x, re, error, width, fmt="o", ms=4, color="C0", lw=1, label="real")
    upper.plot(x, model_re, color="C3", lw=1.4, label="model", zorder=3)
    if np.abs(model_im).max(initial=0.0) > 1e-6 * np.abs(model_re).max(initial=0.0):
        upper.plot(x, model_im, color="C3", lw=0.9, ls=":", label="model, imaginary")
    upper.set(ylabel=f"visibility ({name})")
    upper.legend(frameon=False, fontsize="small", ncols=4, loc="lower left",
                 bbox_to_anchor=(0.0, 1.0))
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
    axes.set_xticks(range(n), names, rotation=60, ha="right", rotation_mode="anchor",
                    fontsize="small")
    axes.set_yticks(range(n), names, fontsize="small")
    digits = 2 if n <= 6 else 1
    if n <= _MOST_NUMBERS:
        for i in range(n):
            for j in range(n):
                axes.text(j, i, f"{round(matrix[i, j], digits) + 0.0:.{digits}f}", ha="center",
                          va="center", fontsize="x-small" if n <= 6 else 6,
                          color="w" if abs(matrix[i, j]) > 0.6 else "k")
    axes.set_title("correlation", fontsize="medium")


def spectrum_figure(results: Sequence[FitResult]) -> Figure:
    """Figure of the parameters of fits by channel against frequency; 95 % limits are arrows."""
    from matplotlib.figure import Figure

    names = results[0].names
    figure = Figure(figsize=(7, 1.2 + 1.8 * len(names)), layout="constrained")
    frequency = np.array([result.frequency if result.band is None else np.mean(result.band)
                          for result in results]) / 1e9
    half = np.array([0.0 if result.band is None else np.ptp(result.band) / 2
                     for result in results]) / 1e9
    for i, axes in enumerate(np.atleast_1d(figure.subplots(len(names), 1, sharex=True))):
        values, errors = (np.array([row[i] for row in rows])
                          for rows in ([r.parameters for r in results],
                                       [r.errors for r in results]))
        limits = np.array([result.upper_limits.get(names[i], np.nan) for result in results])
        unit, size = results[0].units[i], 1.0
        if unit == "Jy":
            unit, size = flux_unit(float(np.nanmax(np.abs(values))))
        found = np.isnan(limits) & (np.array([names[i] not in result.upper_limits
                                              for result in results]))
        shown = np.where(np.isfinite(errors), errors, 0.0)
        for known, colour in ((True, "C0"), (False, "0.7")):  # grey: not determined
            these = found & (np.isfinite(errors) == known)
            axes.errorbar(frequency[these], values[these] / size, shown[these] / size, half[these],
                          fmt="o", ms=4, color=colour, lw=1)
        below = np.isfinite(limits)
        if below.any():
            axes.errorbar(frequency[below], limits[below] / size, None, half[below], fmt="none",
                          color="C0", lw=1)
            for x, y in zip(frequency[below], limits[below] / size, strict=True):
                axes.annotate("", (x, 0.75 * y), (x, y),
                              arrowprops={"arrowstyle": "->", "color": "C0"})
            axes.set_ylim(0.0,
                          1.1 * max(limits[below].max(), (values + shown)[found].max(initial=0.0))
                          / size)
        axes.set_ylabel(_named(names[i]) + (f" ({unit})" if unit else ""))
    axes.set_xlabel("frequency (GHz)")
    return figure
