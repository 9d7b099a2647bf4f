"""Figures of Lindroos et al. (2015) from realisations, numbered as there.

1 noise against the number of positions · 2 fluxes of type 1 · 3 stamps of type 1 · 4 profile of type 5 · 5 fluxes of
type 6 · 6 profile of random positions in one set of type 6 · 7 profile of type 6 without bright
sources · 8 profile of type 7 with the fitted Gaussian · 9 sizes of type 7 · 10 stamps of type 7 · 11 fluxes of type 6
through the filter. A figure whose type is missing is not made. Figures 5, 6 and 9 of random
positions with fake sources in one set come from `uvstack montecarlo`; `histograms` and
`profile_figure` draw its arrays too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simulate.experiment.collect import spread, values, views
from simulate.experiment.settings import ARCSEC
from simulate.experiment.uv_side import uv_cut, uv_edges
from uvstack.constants import SPEED_OF_LIGHT
from uvstack.sky.beam import Beam

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.figure import Figure

_COLOURS = {"uv": "C0", "image": "C1"}
_FREQUENCY = 1.4e9


def figures_of(found: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """All figures that the realisations allow, by their names in the paper.

    Histograms have a panel for the images of each weighting; all else is of the last one.
    """
    by_type: dict[int, list[dict[str, Any]]] = {}
    for one in views(found):
        by_type.setdefault(one["type"], []).append(one)
    # Without bright sources type 6 has no model: then its profile is Figure 7.
    has_bright = any(one["truth"]["bright_flux"] > 0 for one in by_type.get(6, []))
    sixth = ("figure6",
             lambda some: random_profile(_last(some)[0], 6)) if has_bright else (
        "figure7", lambda some: _profile(some, 6))
    made: dict[str, tuple[int, Callable[[list[dict[str, Any]]], Figure]]] = {
        "figure1": (6, noise_against_number),
        "figure2": (1, lambda some: _fluxes(some, 1, "type 1")),
        "figure4": (5, lambda some: _profile(some, 5)),
        "figure5": (6, lambda some: _fluxes(some, 6, "type 6")), sixth[0]: (6, sixth[1]),
        "figure3": (1, lambda some: stamps_figure(_last(some)[0])),
        "figure10": (7, lambda some: stamps_figure(_last(some)[0])),
        "figure8": (7, lambda some: _profile(some, 7)), "figure9": (7, _sizes),
        "figure11": (6, _filtered)}
    return {name: draw(by_type[number]) for name, (number, draw) in made.items()
            if number in by_type and (name not in ("figure3", "figure10")
                                      or "stamps" in by_type[number][0])}


def _by_weighting(some: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in some:
        found.setdefault(one["weighting"], []).append(one)
    return found


def _last(some: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the last weighting."""
    return list(_by_weighting(some).values())[-1]


def _panels(some: list[dict[str, Any]], number: int, uv: str | None, image: str,
            factor: float = 1.0) -> dict[str, np.ndarray]:
    """Values of the uv-stack and of the images of each weighting, for `histograms`."""
    of_uv = {} if uv is None else {"uv": values(_last(some), uv, number) * factor}
    return of_uv | {f"image, {name}": values(part, image, number) * factor
                    for name, part in _by_weighting(some).items()}


def fluxes_figure(table: QTable) -> Figure:
    """Stacked fluxes of all types over those of the paper, with the scatter of realisations, for the last weighting."""
    figure, axes = _figure(7.0, 3.8)
    table = table[table["weighting"] == table["weighting"][-1]]
    x = np.arange(len(table))
    for shift, name in ((-0.1, "uv"), (0.1, "image")):
        paper = table[f"paper_{name}"]
        axes.errorbar(x + shift, (table[name] / paper).value,
                      np.nan_to_num((table[f"{name}_scatter"] / paper).value), fmt="o", ms=4, lw=1,
                      color=_COLOURS[name], label=f"{name}-stacking")
        axes.errorbar(x + shift, np.ones(x.size), (table[f"paper_{name}_scatter"] / paper).value,
                      fmt="none", lw=5, alpha=0.2, color=_COLOURS[name])
    axes.axhline(1, color="k", lw=0.5)
    axes.set(xticks=x, xticklabels=[str(number) for number in table["type"]], xlabel="type",
             xlim=(-0.5, x.size - 0.5),
             ylabel="flux / that of the paper", title="bars: scatter; wide ones: the paper's")
    axes.legend(frameon=False)
    return figure


def _figure(width: float = 6.0, height: float = 4.0) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.25, lw=0.5)
    return figure, axes


def noise_against_number(some: list[dict[str, Any]]) -> Figure:
    """Figure 1: noise of stacks of random positions against their number, averaged over sets, with the line 1/√N."""
    some = _last(some)
    figure, axes = _figure()
    for name, marker in (("uv", "o"), ("image", "s")):
        sizes = np.array(some[0]["null"]["subset_sizes"], float)
        noise = np.sqrt(np.mean(np.array([one["null"]["subset_noise"][name] for one in some],
                                         float) ** 2, axis=0)) * 1e6
        axes.plot(sizes, noise, marker, color=_COLOURS[name], label=f"{name}-stacking")
        if name == "uv" and sizes.size:
            axes.plot(sizes, np.exp(np.mean(np.log(noise * np.sqrt(sizes)))) / np.sqrt(sizes), "r-",
                      lw=1, label="$1/\\sqrt{N}$")
    axes.set(xscale="log", yscale="log", xlabel="number of positions",
             ylabel="noise of the stacked flux (µJy)",
             title=f"type {some[0]['type']}, {len(some)} sets")
    axes.legend(frameon=False)
    return figure


def histograms(fluxes: Mapping[str, np.ndarray], truth: float | None, label: str, title: str,
               dashed: Mapping[str, np.ndarray] | None = None) -> Figure:
    """Distributions of one number by several methods, a panel each, with their Gaussians and the truth (Figures 2, 5, 9, 11).

    fluxes : name → (n,). dashed : name → values of which only the Gaussian is drawn, dashed, in the panel of that name.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(fluxes), 3.6), layout="constrained")
    panels = figure.subplots(1, len(fluxes), sharex=True, sharey=True, squeeze=False)[0]
    shown = [*fluxes.values(), *(dashed or {}).values(), np.array([] if truth is None else [truth])]
    everything = np.concatenate([x[np.isfinite(x)] for x in shown])
    edges = np.linspace(everything.min(), everything.max() or 1.0,
                        int(np.clip(2 * np.sqrt(everything.size / len(fluxes)), 5, 30)) + 1)
    if not edges[-1] > edges[0]:
        edges = edges[0] + np.linspace(-0.5, 0.5, 6)
    x = np.linspace(*(edges[0] - np.ptp(edges) / 5, edges[-1] + np.ptp(edges) / 5), 200)
    for axes, (name, sample) in zip(panels, fluxes.items(), strict=True):
        axes.hist(sample[np.isfinite(sample)], edges, color=_COLOURS[name.split(",")[0]], alpha=0.5)
        for data, style in ((sample, "r-"), ((dashed or {}).get(name), "k--")):
            mean, scatter, n = spread(np.array([]) if data is None else data)
            if np.isfinite(scatter) and scatter > 0:
                height = n * (edges[1] - edges[0]) / scatter / np.sqrt(2 * np.pi)
                axes.plot(x, height * np.exp(-0.5 * ((x - mean) / scatter) ** 2), style, lw=1.2)
        mean, scatter, n = spread(sample)
        axes.set(title=f"{name}: {mean:.3g} ± {scatter:.2g} (n = {n})", xlabel=label)
        if truth is not None:
            axes.axvline(truth, color="k", ls="--", lw=1)
    panels[0].set_ylabel("number of sets")
    figure.suptitle(title)
    return figure


def _fluxes(some: list[dict[str, Any]], number: int, title: str) -> Figure:
    truth = float(values(some, "truth", number).mean()) * 1e6
    return histograms(_panels(some, number, "uv", "image", 1e6), truth, "stacked flux (µJy)", title)


def _sizes(some: list[dict[str, Any]]) -> Figure:
    return histograms(_panels(some, 7, "uv_fwhm", "image_fwhm"), some[0]["truth"]["fwhm"],
                      "fitted FWHM (arcsec)", "type 7: sizes")


def _filtered(some: list[dict[str, Any]]) -> Figure:
    truth = float(values(some, "truth", 6).mean()) * 1e6
    return histograms(_panels(some, 6, None, "filter", 1e6), truth, "stacked flux (µJy)",
                      "type 6: filtered stamps", _panels(some, 6, None, "image", 1e6))


def profile_figure(edges: np.ndarray, re: np.ndarray, error: np.ndarray, cut: float, title: str,
                   model: float | Callable[[np.ndarray], np.ndarray] | None = None) -> Figure:
    """Mean real part in bins of uv distance, with a model beyond the cut (Figures 4, 6, 7, 8).

    edges (bin + 1,) m; re and error (bin,) Jy; model: a flux (Jy) or a function of uv distance (m)
    in Jy, default the mean of the bins. Bins much less certain than others do not set the range of
    the axis.
    """
    figure, axes = _figure(7.0, 3.8)
    middle, known = 0.5 * (edges[:-1]
                           + edges[1:]), np.isfinite(re) & np.isfinite(error) & (error > 0)
    axes.errorbar(middle[known] / 1e3, re[known] * 1e6, error[known] * 1e6, fmt="o", ms=3, lw=1,
                  color="C0")
    used = known & (edges[:-1] >= cut)
    x = np.linspace(cut, edges[1:][known].max(initial=cut), 200)
    if model is None and used.any():
        model = float(np.average(re[used], weights=error[used] ** -2.0))
    if model is not None:
        axes.plot(x / 1e3, (model(x) if callable(model) else np.full(x.size, model)) * 1e6, "r-",
                  lw=1.2)
    sure = known & (error <= 4 * np.median(error[known])) if known.any() else known
    if sure.any():
        low, high = min(float((re - error)[sure].min()),
                        0.0) * 1e6, float((re + error)[sure].max()) * 1e6
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    if cut > 0:
        axes.axvline(cut / 1e3, color="k", ls="--", lw=1)
    axes.axhline(0, color="k", lw=0.5)
    axes.set(xlabel="$\\sqrt{u^2+v^2}$ (km)", ylabel="mean real part (µJy)", title=title)
    return figure


def stamps_figure(one: dict[str, Any]) -> Figure:
    """Stamps of uv- and image-stack of one set (Figures 3 and 10).

    Whole, with the middle masked, and with it masked without short baselines.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    stamps, beam = one["stamps"], one["map"]
    rows = [("", False), ("middle masked", True), ("without short baselines", True)]
    cut = uv_cut(one["type"]) > 0
    figure = Figure(figsize=(6.4, 9.0 if cut else 6.2), layout="constrained")
    panels = figure.subplots(3 if cut else 2, 2, sharex=True, sharey=True)
    size = len(stamps["uv"])
    offset = (size // 2 - np.arange(size)) * stamps["cell"]
    half = 0.5 * stamps["cell"]
    extent = (offset[0] + half, offset[-1] - half, -offset[0] - half, -offset[-1] + half)
    angle = np.deg2rad(beam.get("position_angle") or 0.0)
    east, north = np.meshgrid(offset, -offset)
    along = east * np.sin(angle) + north * np.cos(angle)
    across = east * np.cos(angle) - north * np.sin(angle)
    middle = np.hypot(along / beam["fwhm_major"], across / beam["fwhm_minor"]) < 0.92
    for line, (text, masked) in zip(panels, rows, strict=False):
        suffix = "_cut" if text.startswith("without") else ""
        planes = {name: np.array(stamps[f"{name}{suffix}"], float) / 1e3
                  for name in ("uv", "image")}
        seen = [np.where(middle, np.nan, plane) if masked else plane for plane in planes.values()]
        low, high = (f([f(plane) for plane in seen]) for f in (np.nanmin, np.nanmax))
        for axes, name, plane in zip(line, planes, seen, strict=True):
            drawn = axes.imshow(plane, origin="lower", extent=extent, vmin=low, vmax=high,
                                cmap="viridis")
            axes.set_title(f"{name}-stack{', ' * bool(text)}{text}", fontsize=9)
            if masked:
                axes.add_patch(Ellipse((0, 0), 1.84 * beam["fwhm_minor"], 1.84 * beam["fwhm_major"],
                                       angle=-np.rad2deg(angle), fill=False, color="k", lw=0.7))
        figure.colorbar(drawn, ax=list(line), shrink=0.8, label="µJy/beam")
    for axes in panels[-1]:
        axes.set_xlabel("east (arcsec)")
    for axes in panels[:, 0]:
        axes.set_ylabel("north (arcsec)")
    figure.suptitle(f"type {one['type']}, one set, {one['weighting']} weights")
    return figure


def mean_profile(profiles: Sequence[Sequence[float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over sets and its error, (bin,) each: the scatter of the sets over √n; of one set no error (NaN)."""
    table = np.array(profiles, float)
    n = np.isfinite(table).sum(axis=0)
    mean = np.divide(np.nansum(table, axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    square = np.nansum((table - mean) ** 2, axis=0)
    variance = np.divide(square, n - 1, out=np.full(n.shape, np.nan), where=n > 1)
    return mean, np.sqrt(np.divide(variance, n, out=np.full(n.shape, np.nan), where=n > 0))


def _gaussian(flux: float, fwhm: float) -> Callable[[np.ndarray], np.ndarray]:
    """Visibility (Jy) of a circular Gaussian against uv distance (m) in the middle of the band."""
    return lambda q: flux * Beam(fwhm, fwhm).taper(q * _FREQUENCY / SPEED_OF_LIGHT, 0.0)


def _profile(some: list[dict[str, Any]], number: int) -> Figure:
    some = _last(some)
    re, error = mean_profile([one["uv"]["profile"]["re"] for one in some])
    if len(some) == 1:  # the first of its type, which alone has it
        error = np.array(some[0]["uv"]["profile"]["re_error"], float)
    bright = some[0]["truth"]["bright_flux"] > 0
    flux = float(np.nanmean(values(some, "uv", number)))
    model: float | Callable[[np.ndarray], np.ndarray] = flux
    if number == 7:
        model = _gaussian(flux, float(np.nanmean(values(some, "uv_fwhm", 7))) * ARCSEC)

    title = f"type {number}{'' if bright else ' without bright sources'}, {len(some)} sets"
    return profile_figure(uv_edges(number), re, error, uv_cut(number) if bright else 0.0, title,
                          model)


def random_profile(one: dict[str, Any], number: int) -> Figure:
    """Figure 6 of one set: stacks of random positions without sources, binned by uv distance."""
    n_lists = len(one["null"]["uv"])
    re, noise = np.array(one["null"]["profile"], float), np.array(one["null"]["bin_noise"],
                                                                  float) / np.sqrt(n_lists)
    return profile_figure(uv_edges(number), re, noise, uv_cut(number),
                          f"type {number}, {n_lists} lists of random positions in one set")
