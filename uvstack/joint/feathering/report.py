"""What a person reads of a feather."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from uvstack.constants import ARCSEC
from uvstack.joint.dish_beams import beam_rows
from uvstack.report.figure import beam_patch, new_figure
from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.joint.feathering.result import FeatherResult
    from uvstack.sky.beam import Beam

#: Errors, and part, by which a scale that was given may differ from the one that is seen.
_DIFFERS = (3.0, 0.05)
#: Pixels across a picture.
_MOST_PIXELS = 700


def overview(result: FeatherResult) -> Section:
    """What was made, and how good it is."""
    sums = {name: float(np.nansum(result.fluxes[name].to_value(u.Jy)))
            for name in ("flux_high", "flux_low", "flux")}
    name, size = flux_unit(max(abs(one) for one in sums.values()))
    n = len(result.beams)
    rows: list[tuple[str, ...]] = [
        ("images", f"{n} channel{'s' if n > 1 else ''}, beam {_beam_text(result.beam)}"),
        *beam_rows([result.dish_beam], [result.weight_beam], result.dish_beam_from,
                   result.weight_beam_from),
        ("flux", f"{sums['flux'] / size:.4g} {name}",
         "sum over the image; right where the dish's map holds all of the emission"),
        ("of the dish", f"{sums['flux_low'] / size:.4g} {name}", "times the scale"),
        ("before", f"{sums['flux_high'] / size:.4g} {name}", "of the interferometer alone"),
        ("scale", f"{result.sd_scale:.4g}" if result.sd_scale_error is None
         else with_error(result.sd_scale, result.sd_scale_error, 1.0),
         "given" if result.sd_scale_error is None else "from the overlap"),
        ("weight", f"{result.sd_gain:g}", "of the dish against the interferometer"),
        ("overlap", f"{result.annulus[0]:.4g} to {result.annulus[1]:.4g} wavelengths",
         result.refusal or "where the flux scales are compared")]
    return Section("Feathered image", rows, text=_doubts(result))


def _doubts(result: FeatherResult) -> list[tuple[str, str]]:
    found = result.measured
    if found is None and result.dish_beam_from == "dish_diameter":
        return [("warning", f"nothing confirms the beam of dish_diameter, which is taken for the map's: {result.refusal}")]
    if found is None or result.sd_scale_error is not None:
        return []
    off = abs(found.scale - result.sd_scale)
    if off <= max(_DIFFERS[0] * found.error, _DIFFERS[1] * result.sd_scale):
        return []
    return [("advice", f"the overlap says a flux scale of "
                       f"{with_error(found.scale, found.error, 1.0)}, and {result.sd_scale:g} was "
                       "taken: look at the ratio, or let it be found (sd_scale=\"auto\")")]


def sections(result: FeatherResult) -> list[Section]:
    """Overview, images, ratio in the overlap, power spectra."""
    tables = result.tables()
    channel = "" if len(result.beams) == 1 else f" of channel {result.channel}, the brightest"
    return [overview(result),
            Section("Images", [("shown", f"interferometer, dish and both{channel}")],
                    {"images": images_figure(result)}, {"fluxes": tables["fluxes"]}),
            Section("Ratio in the overlap",
                    [("shown", result.refusal or "interferometer in the dish's beam over dish")],
                    {"ratio": ratio_figure(result)}, {"ratios": tables["ratios"]}),
            Section("Power spectra", [("shown", f"mean power in rings{channel}")],
                    {"power_spectra": spectra_figure(result)},
                    {"power_spectra": tables["power_spectra"]})]


def images_figure(result: FeatherResult) -> Figure:
    """Images of the interferometer, the dish and both, with their beams, on one scale."""
    feathered = result.image[result.channel]
    name, size = flux_unit(float(np.nanmax(np.abs(feathered))))
    step = max(1, -(-max(feathered.shape) // _MOST_PIXELS))
    shape = feathered.shape
    cell = np.sqrt(abs(np.linalg.det(np.deg2rad(result.wcs.pixel_scale_matrix)))) / ARCSEC
    half = 0.5 * cell * np.array([shape[1], -shape[1], -shape[0], shape[0]])
    top = np.nanpercentile(feathered / size, 99.8)
    low = min(np.nanpercentile(one / size, 0.5) for one in (feathered, result.high))
    figure = new_figure((12.6, 4.2))
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    shown = [("interferometer", result.high, result.beam), ("dish", result.low, result.dish_beam),
             ("feathered", feathered, result.beam)]
    for ax, (title, image, beam) in zip(axes, shown, strict=True):
        own = image[::step, ::step] / size
        limits = (low, top) if title != "dish" else tuple(np.nanpercentile(own, [0.5, 99.8]))
        drawn = ax.imshow(own, origin="lower", cmap="viridis", vmin=limits[0], vmax=limits[1],
                          extent=tuple(half))
        ax.set(title=title, xlabel="x (arcsec)")
        ax.add_patch(beam_patch(beam.covariance(ARCSEC),
                                (half[0] - 0.08 * (half[0] - half[1]), half[2] * 0.84)))
        figure.colorbar(drawn, ax=ax, shrink=0.85, label=f"{name}/beam")
    axes[0].set_ylabel("y (arcsec)")
    return figure


def ratio_figure(result: FeatherResult) -> Figure:
    """Ratio of interferometer and dish over the uv distance."""
    figure = new_figure((6.4, 4.0))
    ax = figure.subplots()
    rings = result.ratios()
    ax.axvspan(*result.annulus, color="C0", alpha=0.12, lw=0)
    if len(rings):
        inner, outer = rings["inner_wavelengths"], rings["outer_wavelengths"]
        ax.errorbar(0.5 * (inner + outer), rings["ratio"], rings["ratio_error"],
                    0.5 * (outer - inner), fmt="o", ms=4)
    ax.axhline(result.sd_scale, color="C1", label=f"scale {result.sd_scale:.4g}")
    top = 2.0 * result.sd_scale
    ax.set(xlabel="uv distance (wavelengths)", ylabel="interferometer / dish", ylim=(0.0, top))
    ax.legend()
    return figure


def spectra_figure(result: FeatherResult) -> Figure:
    """Mean power over the uv distance."""
    figure = new_figure((6.4, 4.0))
    ax = figure.subplots()
    labels = {"power_high": "interferometer", "power_low_weighted": "dish, as it is weighted",
              "power_feathered": "feathered"}
    for (name, label), style in zip(labels.items(), ("--", ":", "-"), strict=True):
        ax.plot(result.spectra["wavelengths"], result.spectra[name].to_value(u.Jy**2), style,
                label=label)
    ax.axvspan(*result.annulus, color="C0", alpha=0.12, lw=0)
    powers = result.spectra["power_feathered"].to_value(u.Jy**2)
    ax.set(xlabel="uv distance (wavelengths)", ylabel="power (Jy²)", xscale="log", yscale="log",
           ylim=(max(powers.min(), 1e-12 * powers.max()) / 3, 3 * powers.max()))
    ax.legend()
    return figure


def _beam_text(beam: Beam) -> str:
    return (f"{beam.fwhm_major / ARCSEC:.4g}″ × {beam.fwhm_minor / ARCSEC:.4g}″ at "
            f"{np.rad2deg(beam.position_angle):.1f}°")
