"""What a person reads of an image-stack: a few lines for the terminal, pictures, a page like that of the uv-stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.report.figure import draw_stamp
from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Addition, page, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.image_stacking.result import ImageStackResult

#: Body of a page, with sections of rows and figures.
PAGE = """<h1>{{ result.name }}</h1>
<p class="flux">{{ flux }} {{ unit }} <small>(SNR {{ "%.1f"|format(result.snr) }})</small></p>
{% for title, lines, figures in sections %}{% if title %}<h2>{{ title }}</h2>
{% endif %}{% if lines %}<table class="number">{% for name, text in lines %}<tr><th>{{ name }}</th><td>{{ text }}</td></tr>
{% endfor %}</table>
{% endif %}{% for figure in figures %}<img alt="{{ title }}" src="data:image/png;base64,{{ figure }}">
{% endfor %}{% endfor %}
{% if result.provenance %}<h2>Provenance</h2>
<table><tr><th>version</th><td>{{ result.provenance.version }}</td></tr>
<tr><th>command</th><td><code>{{ result.provenance.command }}</code></td></tr>
<tr><th>date</th><td>{{ result.provenance.date }}</td></tr>
{% for key, value in result.provenance.inputs.items() %}<tr><th>{{ key }}</th><td>{{ value }}</td></tr>
{% endfor %}</table>{% endif %}
</body>
</html>
"""


def rows_of(result: ImageStackResult) -> list[tuple[str, str]]:
    """Name and text of every number worth reading."""
    name, size = flux_unit(result.flux)
    rows = [("error", f"{result.flux_error / size:.3g} {name} from the off-centre pixels")]
    if np.isfinite(result.flux_error_expected):
        rows.append(("equation 7", f"{result.flux_error_expected / size:.3g} {name} from the noise around each position"))
    if result.random is not None and result.random_error is not None and result.random_bias is not None:
        rows.append(("random", f"± {result.random_error / size:.3g} {name}, mean {result.random_bias / size:.2g} {name}, "
                               f"{result.random.size} lists of random positions"))
    if result.bootstrap is not None and result.bootstrap_error is not None:
        rows.append(("bootstrap", f"± {result.bootstrap_error / size:.3g} {name} with the variance of the sources, "
                                  f"{result.bootstrap.size} lists"))
    if result.peak_response is not None and result.flux_corrected is not None:
        corrected = with_error(result.flux_corrected, result.flux_error / result.peak_response, size)
        rows.append(("corrected", f"{corrected} {name}: a point source keeps {result.peak_response:.4f} of its flux ({result.psf_source})"))
    left_out = "".join(f", {which.size} {reason}" for reason, which in result.dropped.items() if which.size)
    rows.append(("positions", f"{result.n_positions} of {result.n_positions_given}{left_out}"))
    if result.n_partial:
        rows.append(("stamps", f"{result.n_partial} are partly off the image or blank"))
    return rows


def print_summary(result: ImageStackResult) -> str:
    """Flux, errors and counts in a few lines."""
    name, size = flux_unit(result.flux)
    lines = [("flux", f"{with_error(result.flux, result.flux_error, size)} {name}   (SNR {result.snr:.1f})"), *rows_of(result)]
    if result.fits is not None:
        lines.append(("stamp", result.fits))
    return "\n".join(f"{title:<12} {text}" for title, text in lines)


def stack_figure(result: ImageStackResult) -> Figure:
    """Figure of the stack, of the stack with its centre masked, and of the dirty beam, as Figure 3 of Lindroos et al. (2015)."""
    from matplotlib.figure import Figure

    panels = 2 if result.psf is None else 3
    figure = Figure(figsize=(4.4 * panels, 3.8), layout="constrained")
    axes = figure.subplots(1, panels)
    draw_stamp(axes[0], np.ma.masked_invalid(result.stamp), result.cell, "stack")
    draw_stamp(axes[1], np.ma.masked_invalid(centre_masked(result)), result.cell, "centre masked")
    if result.psf is not None:
        half, middle = result.stamp.shape[0] // 2, result.psf.shape[0] // 2
        low = max(middle - half, 0)
        draw_stamp(axes[2], result.psf[low:middle + half, low:middle + half], result.cell, f"psf: {Path(result.psf_source).name}",
                   in_jansky=False)
    return figure


def centre_masked(result: ImageStackResult) -> np.ndarray:
    """The stack with NaN within an ellipse of the beam's FWHM as semi-axes; of a sixteenth of the stamp without a beam."""
    m, l = (np.arange(n) - n // 2 for n in result.stamp.shape)
    north, east = m[:, None] * result.cell, -l[None, :] * result.cell
    major, minor, angle = result.beam or (result.stamp.shape[0] * result.cell / 16,) * 2 + (0.0,)
    along, across = north * np.cos(angle) + east * np.sin(angle), east * np.cos(angle) - north * np.sin(angle)
    return np.where((along / major) ** 2 + (across / minor) ** 2 <= 1, np.nan, result.stamp)


def histogram_figure(result: ImageStackResult) -> Figure:
    """Figure of the fluxes of random positions and of resampled lists, with the stack."""
    from matplotlib.figure import Figure

    name, size = flux_unit(result.flux)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for fluxes, label, colour in ((result.random, "random positions", "C0"), (result.bootstrap, "resampled lists", "0.6")):
        if fluxes is not None:
            axes.hist(fluxes[np.isfinite(fluxes)] / size, bins="auto", histtype="step", color=colour, label=label)
    axes.axvline(result.flux / size, color="C3", label=f"stack: {result.flux / size:.3g} {name}")
    axes.axvspan((result.flux - result.flux_error) / size, (result.flux + result.flux_error) / size, color="C3", alpha=0.15, lw=0)
    axes.set(xlabel=f"flux ({name})", ylabel="lists")
    axes.legend(frameon=False)
    return figure


def render_page(result: ImageStackResult, additions: Sequence[Addition] = ()) -> str:
    """The report as one HTML page without links to anything outside itself."""
    name, size = flux_unit(result.flux)
    beam = "" if result.beam is None else (f"{result.beam[0] / ARCSEC:.3g}″ × {result.beam[1] / ARCSEC:.3g}″ at "
                                           f"{np.rad2deg(result.beam[2]):.3g}°, pixel {result.cell / ARCSEC:.3g}″")
    sections: list[tuple[str, list[tuple[str, str]], list[Any]]] = [
        ("", rows_of(result), []),
        ("How", [*((key.replace("_", " "), str(value)) for key, value in result.settings.items() if value is not None),
                 ("beam", beam or "not known")], []),
        ("Stamp", [], [stack_figure(result)])]
    if result.random is not None or result.bootstrap is not None:
        sections.append(("Random positions and resampling", [], [histogram_figure(result)]))
    sections += [(a.title, list(a.rows), list(a.figures)) for a in additions]
    return page(PAGE).render(title=result.name, result=result, flux=with_error(result.flux, result.flux_error, size), unit=name,
                             sections=[(title, rows, [png(figure) for figure in figures]) for title, rows, figures in sections])
