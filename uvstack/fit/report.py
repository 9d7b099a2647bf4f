"""What a person reads of a fit: a few lines for the terminal, a table, a page with pictures."""

from __future__ import annotations

import base64
import importlib.resources
import io
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
from astropy.table import QTable

from uvstack.fit.plot import fit_figure, flux_unit, spectrum_figure
from uvstack.fit.request import plain
from uvstack.fit.result import FitResult
from uvstack.fit.variables import unit_of

#: Correlations from which on they are told.
_STRONG = 0.5
_COLUMN = 15


def with_error(value: float, error: float) -> str:
    """A value and its error, both to the second digit of the error: "26.7 ± 4.0"."""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.6g} ({'held' if error == 0 else 'error not determined'})"
    decimals = 1 - int(np.floor(np.log10(error)))
    if decimals > 9:
        return f"{value:.8g} ± {error:.2g}"
    return f"{value:.{max(decimals, 0)}f} ± {error:.{max(decimals, 0)}f}"


def parameter_rows(result: FitResult) -> list[tuple[str, str, str]]:
    """Name, value with error or limit, and unit of each parameter."""
    rows = []
    for name, value, error in zip(result.names, result.parameters, result.errors, strict=True):
        unit, size = _scale(name, value)
        limit = result.upper_limits.get(name)
        if limit is None:
            rows.append((name, with_error(value / size, error / size), unit))
        elif not np.isfinite(limit):
            rows.append((name, f"not limited (95 %), best {value / size:.3g}", unit))
        else:
            rows.append((name, f"below {limit / size:.3g} {unit} (95 %), best {value / size:.3g}", ""))
    return rows


def _scale(name: str, value: float) -> tuple[str, float]:
    """Unit in which a parameter is told, and its size in that in which it is fitted."""
    unit = unit_of(name)
    return flux_unit(value) if unit == "Jy" else (unit, 1.0)


def correlation_texts(result: FitResult) -> list[str]:
    """The strong correlations, strongest first: "flux and fwhm +0.82"."""
    matrix = result.correlation
    pairs = [(matrix[i, j], result.names[i], result.names[j]) for i in range(len(matrix)) for j in range(i)
             if np.isfinite(matrix[i, j]) and abs(matrix[i, j]) >= _STRONG]
    return [f"{b} and {a} {r:+.2f}" for r, a, b in sorted(pairs, key=lambda pair: -abs(pair[0]))[:6]]


def posterior_texts(result: FitResult) -> list[tuple[str, str]]:
    """Median and 68 per cent of each parameter's posterior: ("flux", "1.234 +0.012 −0.011 mJy")."""
    assert result.samples is not None
    found = []
    for name, percentiles in zip(result.names, np.percentile(result.samples, [15.87, 50, 84.13], axis=0).T, strict=True):
        unit, size = _scale(name, percentiles[1])
        low, middle, high = percentiles / size
        decimals = max(1 - int(np.floor(np.log10(min(high - middle, middle - low)))), 0) if high > middle > low else 4
        found.append((name, f"{middle:.{decimals}f} +{high - middle:.{decimals}f} −{middle - low:.{decimals}f} {unit}".rstrip()))
    return found


def bootstrap_texts(result: FitResult) -> list[str]:
    """Errors by resampling: "flux 0.12 mJy"."""
    assert result.bootstrap_errors is not None
    found = []
    for name, value, error in zip(result.names, result.parameters, result.bootstrap_errors, strict=True):
        unit, size = _scale(name, value)
        if error != 0:  # held
            found.append(f"{name} {error / size:.2g} {unit}".rstrip())
    return found


def print_summary(result: FitResult) -> str:
    """Parameters with errors, goodness of fit, how it ended."""
    lines = [f"{name:<{_COLUMN}}{text} {unit}".rstrip() for name, text, unit in parameter_rows(result)]

    def told(name: str, text: str) -> None:
        lines.append(f"{name:<{_COLUMN}}{text}")

    scaled = "errors from the scatter" if result.errors_scaled else "errors from the weights"
    goodness = f"{result.chi_squared:.6g} for {result.degrees_of_freedom} degrees of freedom, reduced {result.reduced_chi_squared:.4g}"
    told("χ²", f"{goodness}; {scaled}")
    told("visibilities", f"{result.n_visibilities}, real and imaginary parts counted apart")
    if result.bootstrap_errors is not None and result.bootstrap is not None:
        told("bootstrap", f"errors {', '.join(bootstrap_texts(result))} from {len(result.bootstrap)} resamplings of blocks of time")
    if result.samples is not None:
        told("posterior", ", ".join(f"{name} {text}" for name, text in posterior_texts(result)))
    correlations = correlation_texts(result)
    if correlations:
        told("correlation", ", ".join(correlations))
    binned = f", binned: within {result.binning_error:.1g} errors of the exact fit" if result.method == "binned" else ""
    passes = f"{result.n_passes} pass" + ("es" if result.n_passes != 1 else "")
    told("stopped", f"{result.stop_reason} ({passes}{binned})")
    for text in warnings_of(result):
        told("warning", text)
    return "\n".join(lines)


def warnings_of(result: FitResult) -> list[str]:
    """What a user must know before believing the numbers."""
    found = [] if result.converged else [f"the fit has not converged: {result.stop_reason}; other starting values or bounds may help"]
    return found + ([result.degenerate] if result.degenerate else [])


def summary(result: FitResult) -> dict[str, Any]:
    """Everything but the profile, as numbers and texts that JSON can hold; NaN as null."""
    out: dict[str, Any] = {
        "model": [shape.name for shape in result.model.shapes], "var": [variables.text for variables in result.model.variables],
        "parameters": [
            {"name": name, "value": float(value), "error": _number(error), "unit": unit_of(name),
             "upper_limit_95": _number(result.upper_limits.get(name, np.nan))}
            for name, value, error in zip(result.names, result.parameters, result.errors, strict=True)],
        "covariance": [[_number(x) for x in row] for row in result.covariance],
        "correlation": [[_number(x) for x in row] for row in result.correlation],
        "chi_squared": result.chi_squared, "reduced_chi_squared": result.reduced_chi_squared, "n_visibilities": result.n_visibilities,
        "degrees_of_freedom": result.degrees_of_freedom, "errors_scaled": result.errors_scaled, "frequency_hz": result.frequency,
        "stop_reason": result.stop_reason, "converged": result.converged, "n_passes": result.n_passes, "method": result.method,
        "binning_error": _number(result.binning_error), "degenerate": result.degenerate}
    if result.bootstrap is not None and result.bootstrap_errors is not None:
        percentiles = np.percentile(result.bootstrap, [16, 50, 84], axis=0)
        out["bootstrap"] = {"n": len(result.bootstrap), "errors": [_number(e) for e in result.bootstrap_errors],
                            "percentiles_16_50_84": [[_number(x) for x in row] for row in percentiles]}
    if result.samples is not None:
        percentiles = np.percentile(result.samples, [2.5, 16, 50, 84, 95, 97.5], axis=0)
        out["posterior"] = {"n": len(result.samples), "percentiles_2.5_16_50_84_95_97.5": percentiles.tolist()}
    if result.provenance is not None:
        out["provenance"] = plain(vars(result.provenance))
    return out


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def parameter_table(results: Sequence[FitResult]) -> QTable:
    """Table of parameters and errors: a row for each fit, with frequency (Hz), reduced χ², and whether it converged."""
    columns: dict[str, list] = {"frequency": [], "reduced_chi_squared": [], "n_visibilities": [], "converged": []}
    for result in results:
        for name in columns:
            columns[name].append(getattr(result, name))
    names = results[0].names if results else ()
    table = QTable(columns)
    if results:
        table["frequency"].unit = "Hz"
    for i, name in enumerate(names):
        for suffix, values in (("", [r.parameters[i] for r in results]), ("_error", [r.errors[i] for r in results])):
            table[name + suffix] = values
            table[name + suffix].unit = unit_of(name) or None
    return table


def render_page(results: Sequence[FitResult]) -> str:
    """The report as one HTML page without links to anything outside itself."""
    result = results[0]
    pictures = {"data and model": fit_figure(result)} if len(results) == 1 else {"spectrum": spectrum_figure(results)}
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        importlib.resources.files("uvstack.fit").joinpath("report.html").read_text(encoding="utf-8"))
    rows = [(f"{one.frequency / 1e9:.6g} GHz" if len(results) > 1 else "", parameter_rows(one), one.reduced_chi_squared) for one in results]
    return template.render(
        result=result, rows=rows, posterior=[] if result.samples is None else posterior_texts(result),
        bootstrap=[] if result.bootstrap is None else bootstrap_texts(result), correlations=correlation_texts(result),
        n_results=len(results), warnings=warnings_of(result),
        shapes=" + ".join(shape.name for shape in result.model.shapes),
        expressions=[variables.text for variables in result.model.variables],
        pictures={title: png(figure) for title, figure in pictures.items()})


def png(figure: Any) -> str:
    """A figure as base64 for a page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
