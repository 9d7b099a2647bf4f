"""Realisations collected: our Table 2 beside that of Lindroos et al. (2015), with what goes beyond it.

Means and standard deviations are taken over realisations; the standard error of a mean is
scatter/√n, that of a scatter scatter/√(2(n − 1)), for the paper's with its 100. An entry differs
where a mean, or a scatter, lies more than twice the combined standard error from the paper's (from
five realisations on), in whose numbers the rounding to two decimals is counted too (a uniform
error, 0.0029). Noise of equation 7 differs where it is more than 20 % off, twice what the paper
says of its accuracy. Where there are fewer targets than the paper has, its scatters are taken
larger by the root of the ratio for this judgement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from simulate.experiment.paper import N_REALISATIONS, N_TARGETS, SIZES, TABLE_2

#: Fewer realisations know their own scatter too badly to differ from anything.
_FEWEST = 5
#: Standard deviation of what rounding to two decimals does.
_ROUNDING = 0.01 / np.sqrt(12)
#: Column → where its number is in a realisation.
_PLACES: dict[str, tuple[str, ...]] = {"truth": ("truth", "flux"),
                                       "expected_error": ("expected_error",), "uv": ("uv", "flux"),
                                       "image": ("image", "nearest", "flux"),
                                       "uv_uncut": ("uv", "flux_uncut"),
                                       "least_variance": ("uv", "least_variance", "flux"),
                                       "subpixel": ("image", "subpixel", "flux"),
                                       "median": ("image", "median", "flux"),
                                       "filter": ("image", "filter", "flux"),
                                       "filter_uv": ("image", "filter_uv", "flux"),
                                       "filter_corrected": ("image", "filter", "flux_corrected"),
                                       "image_corrected": ("image", "nearest", "flux_corrected")}
#: For type 7 fluxes are those of the fits.
_FITTED = {"uv": ("uv", "fit", "cut", "flux"), "uv_uncut": ("uv", "fit", "uncut", "flux"),
           "image": ("image", "nearest", "fit", "flux"),
           "subpixel": ("image", "subpixel", "fit", "flux")}
_SIZES = {"uv_fwhm": ("uv", "fit", "cut", "fwhm"),
          "image_fwhm": ("image", "nearest", "fit", "fwhm")}
_POINTS_ONLY = {"least_variance", "median", "filter", "filter_uv", "filter_corrected",
                "image_corrected"}
_BEYOND = ("uv bias", "image bias", "sub-pixel", "its bias", "filter", "filter 5 km", "median",
           "least variance", "uv uncut", "noise uv", "noise image")
#: What is said of the tables.
MEANING = ("Mean ± scatter over realisations (signal to noise); under each line the paper's. "
           "Entries that differ from it by more than twice the combined standard error are named.")
MEANING_BEYOND = ("Fluxes with scatter; noise from random positions of single sets; biases against "
                  "the truth of the same sets.")
#: Columns that get mean, scatter and their errors.
MEASURED = tuple(name for name in _PLACES if name not in ("truth", "expected_error"))


def values(found: list[dict[str, Any]], name: str, number: int) -> np.ndarray:
    """One number of all realisations of a type, (n,), Jy or arcsec; NaN where a realisation has none."""
    if number == 7 and name in _POINTS_ONLY:
        return np.full(len(found), np.nan)
    places = _PLACES | _SIZES | (_FITTED if number == 7 else {})
    return np.array([_at(one, places[name]) for one in found], float)


def _at(one: Any, place: tuple[str, ...]) -> float:
    for name in place:
        one = one.get(name) if isinstance(one, dict) else None
    return float("nan") if one is None else float(one)


def spread(x: np.ndarray) -> tuple[float, float, int]:
    """Mean, standard deviation (NaN of one) and number of what is finite."""
    x = x[np.isfinite(x)]
    return float(x.mean()) if x.size else float("nan"), float(x.std(ddof=1)) if x.size > 1 else float("nan"), int(x.size)


def collect(found: Sequence[dict[str, Any]]) -> QTable:
    """Table with a line for each type: ours (mean, scatter, standard errors) and the paper's; fluxes in µJy.

    Columns NAME, NAME_scatter, NAME_error, NAME_scatter_error for each of `MEASURED`; uv_bias and
    image_bias against the truth of the same realisations, in parts of it, with errors; mc_noise and
    image_mc_noise from random positions; paper_…; differs.
    """
    rows: list[dict[str, Any]] = []
    for number in sorted({one["type"] for one in found}):
        some = [one for one in found if one["type"] == number]
        truth, n = values(some, "truth", number), len(some)
        row: dict[str, Any] = {"type": number, "n": n,
                               "targets": float(np.mean([one["truth"]["n_targets"]
                                                         for one in some])),
                               "truth": truth.mean() * 1e6,
                               "expected_error": spread(values(some, "expected_error", number))[0]
                               * 1e6}
        for name in MEASURED:
            x = values(some, name, number)
            row |= _measured(name, x * 1e6)
            if name in ("uv", "image", "subpixel", "least_variance"):
                mean, scatter, used = spread((x - truth) / truth.mean())
                row |= {f"{name}_bias": mean, f"{name}_bias_error": scatter / np.sqrt(max(used, 1))}
        row |= {"mc_noise": _null_noise(some, "uv"), "image_mc_noise": _null_noise(some, "image")}
        row |= {f"paper_{name}": value for name, value in _paper(number).items()}
        for name in _SIZES:
            row |= _measured(name,
                             values(some, name, number) if number == 7 else np.full(n, np.nan))
        row["differs"] = ", ".join(_differences(row, number))
        rows.append(row)
    table = QTable({name: [row[name] for row in rows] for name in rows[0]})
    for name in table.colnames:
        if "fwhm" in name:
            table[name] = table[name] * u.arcsec
        elif name not in ("type", "n", "targets", "differs") and "bias" not in name:
            table[name] = table[name] * u.uJy
    table.meta = {"source": "Lindroos et al. (2015), Table 2",
                  "differs": "more than 2 combined standard errors from the paper"}
    return table


def _measured(name: str, x: np.ndarray) -> dict[str, float]:
    mean, scatter, n = spread(x)
    return {name: mean, f"{name}_scatter": scatter, f"{name}_error": scatter / np.sqrt(max(n, 1)),
            f"{name}_scatter_error": scatter / np.sqrt(2 * max(n - 1, 1))}


def _null_noise(some: list[dict[str, Any]], name: str) -> float:
    """Noise that single sets show at random positions, root mean square over the sets, µJy."""
    variances = [np.var(np.array(one["null"][name], float), ddof=1) for one in some]
    return float(np.sqrt(np.nanmean(variances))) * 1e6


def _paper(number: int) -> dict[str, float]:
    entry = TABLE_2[number]
    scale = entry.unit * 1e6
    names = ("expected", "uv", "image")
    return {key: value * scale
            for name, pair in zip(names, (entry.expected, entry.uv, entry.image), strict=True)
            for key, value in zip((name, f"{name}_scatter"), pair, strict=True)}


def _differences(row: dict[str, Any], number: int) -> list[str]:
    """What of a line differs from the paper's, whose scatter is that of as many targets as there are here."""
    if row["n"] < _FEWEST:
        return []
    rounding, fewer = _ROUNDING * TABLE_2[number].unit * 1e6, np.sqrt(N_TARGETS[number]
                                                                      / row["targets"])
    pairs = [(name, row[f"paper_{name}"], row[f"paper_{name}_scatter"], rounding)
             for name in ("uv", "image")]
    if number == 7:
        pairs += [(name, *size, _ROUNDING) for name, size in zip(_SIZES, SIZES, strict=True)]
    found = []
    for name, value, as_published, rounded in pairs:
        scatter = as_published * fewer
        tried = ((name, "", value, N_REALISATIONS),
                 (f"{name} scatter", "_scatter", scatter, 2 * (N_REALISATIONS - 1)))
        for what, suffix, theirs, n in tried:
            error = np.sqrt(row[f"{name}{suffix}_error"] ** 2 + scatter**2 / n + rounded**2)
            if abs(row[f"{name}{suffix}"] - theirs) > 2 * error:
                found.append(what)
    expected = row["paper_expected_scatter"] * fewer
    if number != 7 and abs(row["expected_error"]
                           - expected) > 2 * np.hypot(rounding, 0.1 * expected):
        found.append("expected")
    return found


def markdown(table: QTable) -> str:
    """The table as two markdown tables: Table 2 with the paper's lines, and what goes beyond it."""
    return "\n".join(["# Table 2 of Lindroos et al. (2015), computed anew", "", MEANING, "",
                      *_markdown_lines(table_2(table)), *_sizes_text(table), "",
                      "## Beyond the paper", "", MEANING_BEYOND, "",
                      *_markdown_lines(beyond(table)), ""])


def _markdown_lines(grid: Sequence[tuple[str, ...]]) -> list[str]:
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in cells) for cells in grid]
    return [lines[0], "|---" * len(grid[0]) + "|", *lines[1:]]


def table_2(table: QTable) -> list[tuple[str, ...]]:
    """Head and lines of Table 2, under each of ours the paper's."""
    grid: list[tuple[str, ...]] = [("type", "n", "targets", "expected", "uv", "image", "differs")]
    for row in table:
        number, flux, name = _numbers(row)
        ours = [_entry(flux[c], flux[f"{c}_scatter"]) for c in ("uv", "image")]
        paper = [_entry(flux[f"paper_{c}"], flux[f"paper_{c}_scatter"]) for c in ("uv", "image")]
        expected = [_entry(flux[a], flux[b], False)
                    for a, b in (("truth", "expected_error"),
                                 ("paper_expected", "paper_expected_scatter"))]
        grid.append((str(number["type"]), str(number["n"]), f"{number['targets']:.0f}",
                     f"{expected[0]} {name}", *ours, number["differs"] or "–"))
        grid.append(("", str(N_REALISATIONS), "", f"{expected[1]} {name}", *paper, ""))
    return grid


def beyond(table: QTable) -> list[tuple[str, ...]]:
    """Head and lines of what goes beyond the paper."""
    grid: list[tuple[str, ...]] = [("type", *_BEYOND)]
    for row in table:
        number, flux, _ = _numbers(row)
        grid.append((str(number["type"]), _bias(number, "uv"), _bias(number, "image"),
                     _entry(flux["subpixel"], flux["subpixel_scatter"]), _bias(number, "subpixel"),
                     *(_entry(flux[c], flux[f"{c}_scatter"])
                       for c in ("filter", "filter_uv", "median", "least_variance", "uv_uncut")),
                     *(f"{flux[c]:.3f}" for c in ("mc_noise", "image_mc_noise"))))
    return grid


def _numbers(row: Any) -> tuple[dict[str, Any], dict[str, float], str]:
    """A line's numbers without their units; fluxes in a unit that suits the type; that unit."""
    unit, name = (1e3, "mJy") if row["type"] in (8, 9, 10) else (1.0, "µJy")
    number = {column: getattr(row[column], "value", row[column]) for column in row.colnames}
    return number, {column: value / unit for column, value in number.items()
                    if isinstance(value, float) and "bias" not in column}, name


def _sizes_text(table: QTable) -> list[str]:
    seven = table[table["type"] == 7]
    if not len(seven):
        return []
    cells = [f"{seven[c][0].value:.2f} ± {seven[f'{c}_scatter'][0].value:.2f}″ ({label}; paper "
             f"{mean:.2f} ± {scatter:.2f}″)"
             for (c, label), (mean, scatter) in zip((("uv_fwhm", "uv"), ("image_fwhm", "image")),
                                                    SIZES, strict=True)]
    return ["", "Sizes of type 7: " + ", ".join(cells) + "."]


def _entry(value: float, scatter: float, with_snr: bool = True) -> str:
    if not np.isfinite(value):
        return "–"
    if not np.isfinite(scatter):
        return f"{value:.3f}"
    return f"{value:.3f} ± {scatter:.3f}" + (f" ({value / scatter:.1f})" if with_snr and scatter > 0
                                             else "")


def _bias(row: dict[str, Any], name: str) -> str:
    bias, error = row[f"{name}_bias"], row[f"{name}_bias_error"]
    if not np.isfinite(bias):
        return "–"
    return f"{100 * bias:+.1f}" + (f" ± {100 * error:.1f} %" if np.isfinite(error) else " %")
