"""What a person reads of an image-stack."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.image_stacking.image_files import write_stack
from uvstack.report.figure import draw_stamp, new_figure
from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Section, setting_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.image_stacking.result import ImageStackResult

def overview(result: ImageStackResult) -> Section:
    """Flux, errors and counts."""
    name, size = flux_unit(result.flux)
    rows = [("error", f"{result.flux_error / size:.3g} {name} from the off-centre pixels")]
    if np.isfinite(result.flux_error_expected):
        rows.append(("equation 7",
                     f"{result.flux_error_expected / size:.3g} {name} from the noise around each "
                     "position"))
    if result.random is not None and result.random_error is not None and result.random_bias is not None:
        rows.append(("random", f"± {result.random_error / size:.3g} {name}, mean {result.random_bias / size:.2g} {name}, "
                               f"{result.random.size} lists of random positions"))
    if result.bootstrap is not None and result.bootstrap_error is not None:
        rows.append(("bootstrap",
                     f"± {result.bootstrap_error / size:.3g} {name} with the variance of the "
                     "sources, " f"{result.bootstrap.size} lists"))
    if result.peak_response is not None and result.flux_corrected is not None:
        corrected = with_error(result.flux_corrected, result.flux_error / result.peak_response,
                               size)
        rows.append(("corrected",
                     f"{corrected} {name}: a point source keeps {result.peak_response:.4f} of "
                     f"its flux ({result.psf_source})"))
    left_out = "".join(f", {which.size} {reason}" for reason, which in result.dropped.items()
                       if which.size)
    rows.append(("positions", f"{result.n_positions} of {result.n_positions_given}{left_out}"))
    if result.n_partial:
        rows.append(("stamps", f"{result.n_partial} are partly off the image or blank"))
    if result.fits is not None:
        rows.append(("stamp", result.fits))
    return Section(result.name, rows,
                   lead=("flux", f"{with_error(result.flux, result.flux_error, size)} {name}",
                         f"SNR {result.snr:.1f}"))


def sections(result: ImageStackResult) -> list[Section]:
    """Overview, stamp, fluxes of random positions and resampled lists, settings."""
    beam = "not known" if result.beam is None else (f"{result.beam[0] / ARCSEC:.3g}″ × "
                                                    f"{result.beam[1] / ARCSEC:.3g}″ at "
                                                    f"{np.rad2deg(result.beam[2]):.3g}°, "
                                                    f"pixel {result.cell / ARCSEC:.3g}″")
    writers = {f"{which}.fits": functools.partial(write_stack, result, which=which)
               for which in ("stamp", "psf") if which == "stamp" or result.psf is not None}
    found = [overview(result),
             Section("Stamp", figures={"stamp": stack_figure(result)}, files=writers)]
    if result.random is not None or result.bootstrap is not None:
        found.append(Section("Random positions and resampling",
                             figures={"fluxes": histogram_figure(result)}))
    return [*found, Section("How", [*setting_rows(result.settings), ("beam", beam)])]


def stack_figure(result: ImageStackResult) -> Figure:
    """Figure of the stack, of the stack with its centre masked, and of the dirty beam, as Figure 3 of Lindroos et al. (2015)."""
    panels = 2 if result.psf is None else 3
    figure = new_figure((4.4 * panels, 3.8))
    axes = figure.subplots(1, panels)
    draw_stamp(axes[0], np.ma.masked_invalid(result.stamp), result.cell, "stack")
    draw_stamp(axes[1], np.ma.masked_invalid(centre_masked(result)), result.cell, "centre masked")
    if result.psf is not None:
        half, middle = result.stamp.shape[0] // 2, result.psf.shape[0] // 2
        low = max(middle - half, 0)
        draw_stamp(axes[2], result.psf[low:middle + half, low:middle + half], result.cell,
                   f"psf: {Path(result.psf_source).name}", in_jansky=False)
    return figure


def centre_masked(result: ImageStackResult) -> np.ndarray:
    """The stack with NaN within an ellipse of the beam's FWHM as semi-axes.

    Of a sixteenth of the stamp without a beam.
    """
    m, l = (np.arange(n) - n // 2 for n in result.stamp.shape)
    north, east = m[:, None] * result.cell, -l[None, :] * result.cell
    major, minor, angle = result.beam or (result.stamp.shape[0] * result.cell / 16,) * 2 + (0.0,)
    along, across = north * np.cos(angle) + east * np.sin(angle), east * np.cos(angle) - north * np.sin(angle)
    return np.where((along / major) ** 2 + (across / minor) ** 2 <= 1, np.nan, result.stamp)


def histogram_figure(result: ImageStackResult) -> Figure:
    """Figure of the fluxes of random positions and of resampled lists, with the stack."""
    name, size = flux_unit(result.flux)
    figure = new_figure((6, 4))
    axes = figure.add_subplot()
    for fluxes, label, colour in ((result.random, "random positions", "C0"),
                                  (result.bootstrap, "resampled lists", "0.6")):
        if fluxes is not None:
            axes.hist(fluxes[np.isfinite(fluxes)] / size, bins="auto", histtype="step",
                      color=colour, label=label)
    axes.axvline(result.flux / size, color="C3", label=f"stack: {result.flux / size:.3g} {name}")
    axes.axvspan((result.flux - result.flux_error) / size, (result.flux + result.flux_error) / size,
                 color="C3", alpha=0.15, lw=0)
    axes.set(xlabel=f"flux ({name})", ylabel="lists")
    axes.legend(frameon=False)
    return figure
