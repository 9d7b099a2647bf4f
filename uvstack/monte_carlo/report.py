"""What a person reads of a Monte Carlo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from uvstack.constants import ARCSEC
from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uvstack.monte_carlo.result import MonteCarloResult, Sample

#: A bias of fewer standard errors is called none.
_SIGNIFICANT = 3.0

def _unit(result: MonteCarloResult) -> tuple[str, float]:
    """Unit that suits the larger of flux and noise."""
    return flux_unit(max(abs(result.flux), result.noise if np.isfinite(result.noise) else 0.0))


def overview(result: MonteCarloResult) -> Section:
    """Flux, noise, bias and advice."""
    name, size = _unit(result)
    sample = result.uv
    low, high = np.nanpercentile(sample.errors, [16, 84]) / size
    rows = [("noise",
             f"{with_error(sample.noise, sample.noise_error, size)} {name}, the scatter of "
             f"{sample.n} random stacks"), ("bias", _bias_text(sample, name, size)),
            ("equation 7",
             f"{result.flux_error_expected / size:.3g} {name}; the noise is "
             f"{sample.noise / result.flux_error_expected:.3g} times this"),
            ("68 %", f"{low:.3g} to {high:.3g} {name} of error"),
            ("chance",
             f"{_count(sample)} of the {sample.n} random stacks "
             f"{'without fake sources ' if result.fake else ''}reach the real one"),
            ("positions", f"{result.n_positions} a list, {result.mode}"),
            ("uv range", str(result.uv_range))]
    if result.fake:
        left_out = ""
        if result.cross_talk is not None:
            left_out = ("; of their sidelobes at each other the scatter is left out: about "
                        f"{result.cross_talk / size:.2g} {name}, "
                        f"{100 * result.cross_talk / sample.noise:.2g} % of the noise")
        rows.append(("fake sources", result.fake + left_out))
    for image in result.images:
        rows.append((image.name, f"stack {image.flux / size:.3g} {name}, bias {_bias_text(image, name, size)}, "
                                 f"noise {with_error(image.noise, image.noise_error, size)} {name}, {image.significance:.1f} σ"))
    if result.sizes is not None and np.isfinite(result.sizes).any():
        sizes = result.sizes[np.isfinite(result.sizes)] / ARCSEC
        rows.append(("fitted size",
                     f"{sizes.mean():.3g}″ ± {sizes.std():.2g}″ (scatter of {sizes.size} fits)"))
    flux = f"{with_error(result.flux, result.noise, size)} {name}"
    return Section(f"Noise and bias of a stack: {result.name}", rows,
                   text=[("advice", text) for text in advice_of(result)],
                   lead=("flux", flux, f"{result.significance:.1f} σ above random positions"))


def sections(result: MonteCarloResult) -> list[Section]:
    """Overview, methods on the same positions, histograms, profile, scatter and sizes."""
    tables = result.tables()
    found = [overview(result)]
    if len(result.samples) > 1:
        found.append(Section("Methods on the same positions", grid=_methods(result)))
    found.append(Section("Stacks of the random lists",
                         figures={"histogram": histogram_figure(result)},
                         tables={"realisations": tables["realisations"]}))
    if result.bins is not None:
        found.append(Section("Random stacks against uv distance",
                             figures={"uv_profile": profile_figure(result)},
                             tables={"uv_profile": tables["uv_profile"]}))
    if result.images:
        found.append(Section("Image-stack against uv-stack",
                             figures={"scatter": scatter_figure(result)}))
    if result.sizes is not None and np.isfinite(result.sizes).any():
        found.append(Section("Fitted sizes", figures={"sizes": sizes_figure(result)}))
    return found


def _methods(result: MonteCarloResult) -> list[tuple[str, ...]]:
    name, size = _unit(result)
    return [("method", f"stack ({name})", "bias", "offset", "kept of the flux", "noise",
             "significance"),
            *((s.name, f"{s.flux / size:.4g}", with_error(s.bias, s.bias_error, size),
               with_error(s.offset, s.offset_error, size),
               "" if s.response is None else f"{s.response:.4f}",
               with_error(s.noise, s.noise_error, size), f"{s.significance:.1f}")
              for s in result.samples)]


def _count(sample: Sample) -> str:
    """How many random stacks reach the real one: of none, no probability is known."""
    number = round(sample.share_above * sample.n) if sample.n else 0
    return f"{number} ({100 * sample.share_above:.2g} %)" if number else "none"


def _bias_text(sample: Sample, name: str, size: float) -> str:
    """Bias, and with fake sources the two parts of it."""
    text = f"{with_error(sample.bias, sample.bias_error, size)} {name}"
    if sample.response is not None:
        text += f" (offset {with_error(sample.offset, sample.offset_error, size)} {name}, fake sources keep {100 * sample.response:.2f} %)"
    return text


def advice_of(result: MonteCarloResult) -> list[str]:
    """What deserves a look, in sentences."""
    name, size = _unit(result)
    found = []
    if abs(result.uv.offset) > _SIGNIFICANT * max(result.uv.offset_error, result.field_error):
        found.append("Random positions have "
                     f"{with_error(result.uv.offset, result.uv.offset_error, size)} {name}: "
                     "residuals of bright "
                     "sources do that. Look at the uv profile (--bins) and consider a uv cut.")
    suggestion = result.suggest_uvmin()
    if suggestion is not None and suggestion > (result.uv_range.minimum
                                                if result.uv_range.unit == "m" else 0):
        found.append(f"Random stacks on baselines below {suggestion / 1e3:.3g} km deviate from those on "
                     "longer ones by more than chance does in 5 % of sets: "
                     f"consider --uvmin {suggestion / 1e3:.2g}km. None was applied because of "
                     "this advice.")
    return found


def histogram_figure(result: MonteCarloResult) -> Figure:
    """Figure of the errors of the random stacks with their Gaussian, in the style of Lindroos et al. (2015), Figure 5."""
    # Panels side by side are shown as wide as one: smaller ones keep their letters readable.
    width, height = (5.2, 4.0) if len(result.samples) == 1 else (3.6, 3.4)
    figure = new_figure((width * len(result.samples), height))
    panels = figure.subplots(1, len(result.samples), squeeze=False, sharey=True, sharex=True)[0]
    name, size = _unit(result)
    for axes, sample in zip(panels, result.samples, strict=True):
        _draw_histogram(axes, sample, name, size)
    # Shared by all panels; above are the legends.
    panels[0].set_ylim(top=1.4 * panels[0].get_ylim()[1])
    panels[0].set_ylabel("random stacks")
    return figure


def _draw_histogram(axes: Axes, sample: Sample, name: str, size: float) -> None:
    truth = float(np.nanmean(sample.truths))
    values = (sample.errors[np.isfinite(sample.errors)] + truth) / size
    _, edges, _ = axes.hist(values, bins="auto", color="0.8", edgecolor="0.5")
    if sample.noise > 0 and values.size > 2:
        middle, sigma = (sample.bias + truth) / size, sample.noise / size
        x = np.linspace(middle - 4 * sigma, middle + 4 * sigma, 400)
        height = values.size * (edges[1] - edges[0]) / (sigma * np.sqrt(2 * np.pi))
        axes.plot(x, height * np.exp(-0.5 * ((x - middle) / sigma) ** 2), color="C3",
                  label=with_error(sample.bias + truth, sample.noise, size))
    axes.axvline(truth / size, color="k", ls="--", lw=1,
                 label="fake sources" if truth else "no source")
    axes.axvline(sample.flux / size, color="C0",
                 label=f"stack of the targets: {sample.flux / size:.3g}")
    axes.set(xlabel=f"stacked flux ({name})", title=sample.name)
    axes.legend(edgecolor="none", framealpha=0.9, borderpad=0.2, fontsize="small", loc="upper left")


def profile_figure(result: MonteCarloResult) -> Figure:
    """Figure of the random stacks in uv bins, in the style of Lindroos et al. (2015), Figure 6."""
    table = result.uv_profile()
    table = table[np.isfinite(table["re"].value)]
    name, size = flux_unit(float(np.nanmax(np.abs(table["re"].to_value(u.Jy)), initial=1e-9)))
    figure = new_figure((7, 4.5))
    axes = figure.add_subplot()
    low, high = table["uv_min"].to_value(u.km), table["uv_max"].to_value(u.km)
    x = (low + high) / 2
    mean, error = table["re"].to_value(u.Jy) / size, table["re_error"].to_value(u.Jy) / size
    axes.errorbar(x, mean, error, (high - low) / 2, fmt="o", ms=4, lw=1, color="C0",
                  label=f"mean of {result.uv.n} random stacks")
    which = "all baselines" if str(result.uv_range) == "all" else f"baselines {result.uv_range}"
    axes.axhline((float(np.nanmean(result.uv.fluxes))) / size, color="C3", lw=1.2,
                 label=f"mean of {which}")
    axes.axhline(float(np.nanmean(result.uv.truths)) / size, color="k", ls="--", lw=1,
                 label="expected of a point source")
    if result.uv_range.unit == "m":
        for limit in (result.uv_range.minimum, result.uv_range.maximum):
            if 0 < limit < np.inf:
                axes.axvline(limit / 1e3, color="0.4", ls=":", lw=1)
    axes.set(xlabel="$\\sqrt{u^2+v^2}$ (km)", ylabel=f"real part ({name})")
    axes.legend(frameon=False, fontsize="small", ncols=3, loc="lower center",
                bbox_to_anchor=(0.5, 1.0))
    return figure


def scatter_figure(result: MonteCarloResult) -> Figure:
    """Figure of image-stacks against uv-stacks of the same positions."""
    name, size = _unit(result)
    figure = new_figure((4.6 * len(result.images), 4.4))
    x = result.uv.fluxes / size
    for axes, image in zip(figure.subplots(1, len(result.images), squeeze=False)[0], result.images,
                           strict=True):
        y = image.fluxes / size
        both = np.isfinite(x) & np.isfinite(y)
        axes.plot(x, y, ".", ms=4, color="C0")
        axes.axline((float(np.nanmean(x)), float(np.nanmean(x))), slope=1, color="0.5", lw=0.8,
                    label="equal")
        axes.plot(result.flux / size, image.flux / size, "*", ms=11, color="C3",
                  label="the targets")
        r = np.corrcoef(x[both], y[both])[0, 1] if both.sum() > 2 else np.nan
        axes.set(xlabel=f"uv-stack ({name})", ylabel=f"{image.name} ({name})", title=f"r = {r:.3f}")
        axes.legend(frameon=False, fontsize="small")
    return figure


def sizes_figure(result: MonteCarloResult) -> Figure:
    """Figure of the fitted sizes, in the style of Lindroos et al. (2015), Figure 9."""
    assert result.sizes is not None
    sizes = result.sizes[np.isfinite(result.sizes)] / ARCSEC
    figure = new_figure((6, 4))
    axes = figure.add_subplot()
    axes.hist(sizes, bins="auto", color="0.8", edgecolor="0.5")
    axes.axvline(sizes.mean(), color="C3", label=f"{sizes.mean():.3g}″ ± {sizes.std():.2g}″")
    axes.set(xlabel="FWHM (arcsec)", ylabel="random stacks")
    axes.legend(frameon=False)
    return figure
