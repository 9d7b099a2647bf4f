"""Realisations collected: our Table 2 beside that of Lindroos et al. (2015), with what goes beyond it.

Means and standard deviations are taken over realisations; the standard error of a mean is
scatter/√n, that of a scatter scatter/√(2(n − 1)), for the paper's with its 100. An entry differs
where a mean, or a scatter, lies more than twice the combined standard error from the paper's (from
five realisations on), in whose numbers the rounding to two decimals is counted too (a uniform
error, 0.0029). Noise of equation 7 differs where it is more than 20 % off, twice what the paper
says of its accuracy. Where there are fewer targets than the paper has, its scatters are taken
larger by the root of the ratio for this judgement.

Every set has been imaged with each weighting, and differences are those of pairs: their error is
the scatter of the differences over √n, which is much less than that of either flux. Ratios of
scatters (gains in signal to noise, of sizes) have errors from leaving out one set at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
           "least variance", "uv uncut", "noise uv", "noise image", "map rms")
#: What is said of the tables.
MEANING = ("Mean ± scatter over realisations (signal to noise), a line for each weighting of the "
           "images; under them the paper's. Gain is the signal to noise of the uv-stack over that "
           "of the image-stack. Entries that differ from the paper by more than twice the "
           "combined standard error are named.")
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


def views(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Realisations as each weighting sees them: what stands under "weightings" is beside the rest."""
    return [{**{key: value for key, value in one.items() if key != "weightings"}, **part,
             "weighting": name}
            for one in found for name, part in one["weightings"].items()]


def _at(one: Any, place: tuple[str, ...]) -> float:
    for name in place:
        one = one.get(name) if isinstance(one, dict) else None
    return float("nan") if one is None else float(one)


def spread(x: np.ndarray) -> tuple[float, float, int]:
    """Mean, standard deviation (NaN of one) and number of what is finite."""
    x = x[np.isfinite(x)]
    return float(x.mean()) if x.size else float("nan"), float(x.std(ddof=1)) if x.size > 1 else float("nan"), int(x.size)


def jackknife(function: Callable[..., float], *samples: np.ndarray) -> tuple[float, float]:
    """A function of samples of the same sets, and its error from leaving out one set at a time; NaN of fewer than three."""
    whole = np.stack(samples)
    whole = whole[:, np.isfinite(whole).all(axis=0)]
    n = whole.shape[1]
    if n < 3:
        return float("nan"), float("nan")
    without = np.array([function(*np.delete(whole, i, axis=1)) for i in range(n)])
    return float(function(*whole)), float(np.sqrt((n - 1) * np.var(without)))


def _gain(uv: np.ndarray, image: np.ndarray) -> float:
    """Signal to noise of one over that of the other."""
    return float(uv.mean() / uv.std(ddof=1) / (image.mean() / image.std(ddof=1)))


def collect(found: Sequence[dict[str, Any]]) -> QTable:
    """Table with a line for each type and weighting: ours (mean, scatter, standard errors) and the paper's; fluxes in µJy.

    Columns NAME, NAME_scatter, NAME_error, NAME_scatter_error for each of `MEASURED`; of pairs and
    in parts of the truth, with errors: uv_bias, image_bias and others against the truth, image_less_uv
    and subpixel_less_uv against the uv-stack, uv_less_first and image_less_first against the same
    with the first weighting; gain; size_gain; mc_noise and image_mc_noise from random positions;
    map_rms; paper_…; differs.
    """
    rows: list[dict[str, Any]] = []
    seen = views(found)
    names = list(dict.fromkeys(one["weighting"] for one in seen))
    for number, weighting in ((n, name) for n in sorted({one["type"] for one in found})
                              for name in names):
        some = [one for one in seen if (one["type"], one["weighting"]) == (number, weighting)]
        if not some:
            continue
        truth, n = values(some, "truth", number), len(some)
        row: dict[str, Any] = {"type": number, "weighting": weighting, "n": n,
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
        uv, image = (values(some, name, number) for name in ("uv", "image"))
        first = [one for one in seen if (one["type"], one["weighting"]) == (number, names[0])]
        for name, pair in {"image_less_uv": (image, uv),
                           "subpixel_less_uv": (values(some, "subpixel", number), uv),
                           "uv_less_first": (uv, values(first, "uv", number)),
                           "image_less_first": (image, values(first, "image", number))}.items():
            mean, scatter, used = spread((pair[0] - pair[1]) / truth.mean())
            row |= {name: mean, f"{name}_error": scatter / np.sqrt(max(used, 1))}
        row["gain"], row["gain_error"] = jackknife(_gain, uv, image)
        row["size_gain"], row["size_gain_error"] = jackknife(
            lambda a, b: float(b.std(ddof=1) / a.std(ddof=1)),
            *(values(some, name, number) if number == 7 else np.full(n, np.nan)
              for name in _SIZES))
        row |= {"mc_noise": _null_noise(some, "uv"), "image_mc_noise": _null_noise(some, "image"),
                "map_rms": float(np.mean([one["map"]["rms"] for one in some])) * 1e6}
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
        elif not (name in ("type", "weighting", "n", "targets", "differs") or _is_part(name)):
            table[name] = table[name] * u.uJy
    table.meta = {"source": "Lindroos et al. (2015), Table 2",
                  "differs": "more than 2 combined standard errors from the paper"}
    return table


def _is_part(name: str) -> bool:
    """Whether a column is a part of something, without a unit."""
    return any(word in name for word in ("bias", "_less_", "gain"))


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
    grid: list[tuple[str, ...]] = [("type", "weights", "n", "targets", "expected", "uv", "image",
                                    "image − uv", "gain", "differs")]
    for i, row in enumerate(table):
        number, flux, name = _numbers(row)
        ours = [_entry(flux[c], flux[f"{c}_scatter"]) for c in ("uv", "image")]
        paper = [_entry(flux[f"paper_{c}"], flux[f"paper_{c}_scatter"]) for c in ("uv", "image")]
        expected = [_entry(flux[a], flux[b], False)
                    for a, b in (("truth", "expected_error"),
                                 ("paper_expected", "paper_expected_scatter"))]
        grid.append((str(number["type"]), number["weighting"], str(number["n"]),
                     f"{number['targets']:.0f}", f"{expected[0]} {name}", *ours,
                     _percent(number, "image_less_uv"), _ratio(number, "gain"),
                     number["differs"] or "–"))
        if i + 1 == len(table) or table["type"][i + 1] != number["type"]:
            uv, image = flux["paper_uv"], flux["paper_image"]
            gain = uv / flux["paper_uv_scatter"] / (image / flux["paper_image_scatter"])
            grid.append(("", "paper", str(N_REALISATIONS), "", f"{expected[1]} {name}", *paper,
                         f"{100 * (image - uv) / flux['paper_expected']:+.1f} %", f"{gain:.2f}",
                         ""))
    return grid


def beyond(table: QTable) -> list[tuple[str, ...]]:
    """Head and lines of what goes beyond the paper."""
    grid: list[tuple[str, ...]] = [("type", "weights", *_BEYOND)]
    for row in table:
        number, flux, _ = _numbers(row)
        grid.append((str(number["type"]), number["weighting"], _percent(number, "uv_bias"),
                     _percent(number, "image_bias"),
                     _entry(flux["subpixel"], flux["subpixel_scatter"]),
                     _percent(number, "subpixel_bias"),
                     *(_entry(flux[c], flux[f"{c}_scatter"])
                       for c in ("filter", "filter_uv", "median", "least_variance", "uv_uncut")),
                     *(f"{flux[c]:.3f}" for c in ("mc_noise", "image_mc_noise", "map_rms"))))
    return grid


def _numbers(row: Any) -> tuple[dict[str, Any], dict[str, float], str]:
    """A line's numbers without their units; fluxes in a unit that suits the type; that unit."""
    unit, name = (1e3, "mJy") if row["type"] in (8, 9, 10) else (1.0, "µJy")
    number = {column: getattr(row[column], "value", row[column]) for column in row.colnames}
    return number, {column: value / unit for column, value in number.items()
                    if isinstance(value, float) and not _is_part(column)}, name


def _sizes_text(table: QTable) -> list[str]:
    lines = []
    for row in table[table["type"] == 7]:
        cells = [f"{row[c].value:.2f} ± {row[f'{c}_scatter'].value:.2f}″ ({label}; paper "
                 f"{mean:.2f} ± {scatter:.2f}″)"
                 for (c, label), (mean, scatter) in zip(
                     (("uv_fwhm", "uv"), ("image_fwhm", "image")), SIZES, strict=True)]
        lines += ["", f"Sizes of type 7, {row['weighting']}: " + ", ".join(cells)
                  + f"; scatter of image over uv {_ratio(row, 'size_gain')} (paper "
                  f"{SIZES[1][1] / SIZES[0][1]:.2f})."]
    return lines


def _entry(value: float, scatter: float, with_snr: bool = True) -> str:
    if not np.isfinite(value):
        return "–"
    if not np.isfinite(scatter):
        return f"{value:.3f}"
    return f"{value:.3f} ± {scatter:.3f}" + (f" ({value / scatter:.1f})" if with_snr and scatter > 0
                                             else "")


def _percent(row: Any, name: str) -> str:
    """A part with its error, in per cent."""
    part, error = row[name], row[f"{name}_error"]
    if not np.isfinite(part):
        return "–"
    return f"{100 * part:+.1f}" + (f" ± {100 * error:.1f} %" if np.isfinite(error) else " %")


def _ratio(row: Any, name: str) -> str:
    """A ratio with its error."""
    value, error = row[name], row[f"{name}_error"]
    return f"{value:.2f} ± {error:.2f}" if np.isfinite(value) else "–"
