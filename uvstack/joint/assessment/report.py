"""What a person reads of an assessment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from uvstack.constants import ARCMIN, SPEED_OF_LIGHT
from uvstack.joint.assessment.gains import LEAST_SHARE, MOST_NOISE, WIDEST
from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.joint.assessment.result import Against, AssessResult

#: Where the transform of the dish's beam is lower at the shortest spacing there is a gap.
_GAP = 0.03
#: Errors, and part, by which a flux factor may be off 1.
_DIFFERS = (3.0, 0.05)
#: Pixels across a picture.
_MOST_PIXELS = 500


def overview(result: AssessResult) -> Section:
    """What is advised, and why."""
    good = result.range
    at = float(result.channels["dish_at_shortest"][result.shown])
    rows: list[tuple[str, ...]] = [
        ("spacings", f"{result.spacings.shortest:.4g} m to {result.spacings.longest:.4g} m",
         "projected baselines"),
        ("overlap", f"{at:.3g} at {result.spacings.shortest:.4g} m",
         "the dish's sensitivity at the shortest spacing, 1 at zero"),
        ("flux scale", f"not measured: {result.refusal}" if result.scale is None else
         with_error(result.scale.scale, result.scale.error, 1.0),
         f"from {result.annulus[0]:.4g} to {result.annulus[1]:.4g} wavelengths"),
        ("noise", _noise_text(result.noise_alone),
         "of the interferometer alone, " + (
             "from the difference of both hands" if result.noise_measured else "by its weights"
             if np.isfinite(result.noise_alone) else "whose hands do not differ")),
        ("joint noise", _noise_text(result.at_gain("noise")),
         f"at sd-gain 1; from the dish {_noise_text(result.at_gain('dish_noise'))}"),
        ("joint psf", f"{result.at_gain('width_ratio'):.3f}", "its width at sd-gain 1 over that of the "
                                                        "interferometer"),
        ("sd-gain", "none" if good.advised is None else f"{good.advised:.2g}", good.reason),
        ("viable", "none" if good.lowest is None else f"{good.lowest:.3g} to {good.highest:.3g}",
         f"joint psf at most {WIDEST:g} as wide, the dish's share at the shortest spacing at least "
         f"{LEAST_SHARE:g}"),
        ("image", f"{result.size[1]} × {result.size[0]} pixels of "
                  f"{result.cell / ARCMIN * 60:.3g}″", "for sdint")]
    for key, one in result.against.items():
        shown = one.numbers[0] if len(one.numbers) == 1 else None
        numbers = one.comparison.numbers() if shown is None else dict(shown)
        rows.append((f"against {key}", f"flux {numbers['flux_ratio']:.4f}, rms error "
                                       f"{numbers['rms_error']:.2%}",
                     f"where {one.name} is above {one.least:.0%} of its peak"))
    return Section("Joint imaging", rows, text=_advice(result))


def _noise_text(noise: float) -> str:
    if not np.isfinite(noise):
        return "not measurable"
    name, size = flux_unit(noise)
    return f"{noise / size:.3g} {name}/beam"


def _advice(result: AssessResult) -> list[tuple[str, str]]:
    found = []
    at = float(np.min(result.channels["dish_at_shortest"]))
    if at < _GAP:
        found.append(("warning", f"there is a gap between the dish and the shortest spacing, "
                                 f"{result.spacings.shortest:.4g} m, where the dish has {at:.2g} of "
                                 "its sensitivity: neither measures what lies between"))
    if result.scale is not None:
        off = abs(result.scale.scale - 1.0)
        if off > max(_DIFFERS[0] * result.scale.error, _DIFFERS[1]):
            found.append(("advice", f"the flux scales differ: take --sd-scale "
                                    f"{result.scale.scale:.4g}"))
    dish, alone = result.at_gain("dish_noise"), result.noise_alone
    if result.range.advised is not None and result.at_gain("noise") > MOST_NOISE * alone > 0:
        name, size = flux_unit(alone)
        found.append(("advice", f"the dish adds {dish / size:.3g} {name}/beam in quadrature to "
                                f"{alone / size:.3g}: take --sd-gain {result.range.advised:.2g} "
                                f"({result.range.reason}), and look at the spectral index of large "
                                "scales, which goes wrong first"))
    if result.at_gain("width_ratio") > WIDEST:
        found.append(("warning", f"at sd-gain 1 the joint psf is {result.at_gain('width_ratio'):.3f} "
                                 "times as wide as the interferometer's"))
    return found


def sections(result: AssessResult) -> list[Section]:
    """Overview, overlap, weights, and of an image what it is worth."""
    tables = result.tables()
    made = [overview(result),
            Section("Spacings", [("shown", "weight of the interferometer and sensitivity of the "
                                           "dish over the uv distance")],
                    {"overlap": overlap_figure(result)}, {"channels": tables["channels"]}),
            Section("Ratio in the overlap",
                    [("shown", result.refusal or "interferometer over dish, as predicted at the "
                                                 "visibilities")],
                    {"ratio": ratio_figure(result)}, {"ratios": tables["ratios"]}),
            Section("Weight of the dish",
                    [("shown", "width of the joint psf and noise over sd-gain; viable is white")],
                    {"gains": gains_figure(result)}, {"gains": tables["gains"]})]
    for key, one in result.against.items():
        maps = "ratio" if key == "dish" else "accuracy and fidelity"
        made += [Section(f"Against {one.name}", [("shown", f"image, {one.name}, {maps}")],
                         {f"against_{key}": against_figure(one, key)},
                         {f"against_{key}": tables[f"against_{key}"]}),
                 Section(f"Scales, against {one.name}",
                         [("shown", "sums in circles about the emission, and power in rings of the "
                                    "uv plane")],
                         {f"scales_{key}": scales_figure(one)},
                         {f"{kind}_{key}": tables[f"{kind}_{key}"]
                          for kind in ("apertures", "power_spectra")})]
    return made


def overlap_figure(result: AssessResult) -> Figure:
    """Weight of the interferometer and sensitivity of the dish over the uv distance, m."""
    figure = new_figure((6.4, 4.0))
    ax = figure.subplots()
    spacings = result.spacings
    # Of an area of the uv plane, over its largest.
    density = spacings.weight / np.diff(spacings.edges**2)
    ax.stairs(density / density.max(), spacings.edges, fill=True, alpha=0.4,
              label="interferometer, weight of an area")
    metres = np.geomspace(0.03 * spacings.shortest, spacings.longest, 300)
    for row in result.channels:
        x = metres * row["frequency"].to_value(u.Hz) / SPEED_OF_LIGHT * row["fwhm"].to_value(u.rad)
        ax.plot(metres, np.exp(-(np.pi**2 / (4 * np.log(2))) * x**2),
                label=f"dish, {row['frequency'].to_value(u.GHz):.4g} GHz")
    to_metres = SPEED_OF_LIGHT / result.channels["frequency"][result.shown].to_value(u.Hz)
    ax.axvspan(*(edge * to_metres for edge in result.annulus), color="C2", alpha=0.15, lw=0,
               label="overlap")
    ax.set(xscale="log", xlabel="uv distance (m)", ylabel="part of the largest", ylim=(0.0, 1.05))
    if len(result.channels) <= 5:
        ax.legend(fontsize="small")
    return figure


def ratio_figure(result: AssessResult) -> Figure:
    """Ratio of interferometer and dish over the uv distance."""
    figure = new_figure((6.4, 4.0))
    ax = figure.subplots()
    ax.axvspan(*result.annulus, color="C2", alpha=0.15, lw=0)
    rings = result.ratios()
    if len(rings):
        inner, outer = rings["inner_wavelengths"], rings["outer_wavelengths"]
        ax.errorbar(0.5 * (inner + outer), rings["ratio"], rings["ratio_error"],
                    0.5 * (outer - inner), fmt="o", ms=4)
    level = 1.0 if result.scale is None else result.scale.scale
    ax.axhline(level, color="C1")
    ax.set(xlabel="uv distance (wavelengths)", ylabel="interferometer / dish",
           ylim=(0.0, 2.0 * level))
    return figure


def gains_figure(result: AssessResult) -> Figure:
    """Width of the joint psf, and noise, over the gain."""
    figure = new_figure((9.6, 4.0))
    axes = figure.subplots(1, 2)
    gain, good = result.gains["gain"], result.range
    noise, of_dish = (result.gains[name].value for name in ("noise", "dish_noise"))
    name, size = flux_unit(max([*noise[np.isfinite(noise)], *of_dish[np.isfinite(of_dish)], 0.0]))
    axes[0].plot(gain, result.gains["width_ratio"], label="joint psf over interferometer's")
    axes[0].plot(gain, result.gains["share"], ":", label="dish's share at the shortest spacing")
    axes[0].axhline(WIDEST, color="0.5", lw=0.8)
    axes[0].set(ylabel="width and share", ylim=(0.0, 2.0))
    axes[1].plot(gain, noise / size, label="joint")
    axes[1].plot(gain, of_dish / size, ":", label="of the dish")
    axes[1].axhline(result.noise_alone / size, color="0.5", lw=0.8, label="interferometer alone")
    axes[1].set(ylabel=f"noise ({name}/beam)", ylim=(0.0, None))
    if not np.isfinite([*noise, *of_dish, result.noise_alone]).any():
        axes[1].set(title="the noise is not measurable", yticks=[])
    for ax in axes:
        ax.set(xscale="log", xlabel="sd-gain")
        if good.lowest is not None and good.highest is not None:
            ax.axvspan(gain[0], good.lowest, color="0.85", lw=0)
            ax.axvspan(good.highest, gain[-1], color="0.85", lw=0)
        if good.advised is not None:
            ax.axvline(good.advised, color="C3", lw=0.8, label=f"advised {good.advised:.2g}")
        ax.legend(fontsize="small")
    return figure


def against_figure(one: Against, key: str) -> Figure:
    """An image, its reference, and their ratio, or accuracy and fidelity."""
    compared = one.comparison
    step = max(1, -(-max(compared.image.shape) // _MOST_PIXELS))
    name, size = flux_unit(float(np.nanmax(compared.reference)))
    limits = tuple(np.nanpercentile(compared.reference / size, [0.5, 99.8]))
    m, l = (0.5 * n * one.cell / ARCMIN for n in compared.image.shape)
    shown = [("image", compared.image / size, limits, f"{name}/beam", "viridis"),
             (one.name, compared.reference / size, limits, f"{name}/beam", "viridis")]
    if key == "dish":
        shown.append(("image over dish", 1.0 + compared.accuracy, (0.9, 1.1), "ratio", "RdBu_r"))
    else:
        shown += [("accuracy", compared.accuracy, (-0.1, 0.1), "part", "RdBu_r"),
                  ("fidelity", np.log10(compared.fidelity), (0.0, 4.0), "log₁₀", "magma")]
    figure = new_figure((4.2 * len(shown), 4.0))
    axes = figure.subplots(1, len(shown), sharex=True, sharey=True)
    for ax, (title, image, (low, high), label, colours) in zip(axes, shown, strict=True):
        drawn = ax.imshow(image[::step, ::step], origin="lower", cmap=colours, vmin=low, vmax=high,
                          extent=(l, -l, -m, m))
        ax.set(title=title, xlabel="x (arcmin)")
        figure.colorbar(drawn, ax=ax, shrink=0.85, label=label)
    axes[0].set_ylabel("y (arcmin)")
    return figure


def scales_figure(one: Against) -> Figure:
    """Sums in circles about the emission, and power over the uv distance."""
    figure = new_figure((9.6, 4.0))
    left, right = figure.subplots(1, 2)
    radius = one.apertures["radius"].to_value(u.arcmin)
    left.plot(radius, one.apertures["flux"].to_value(u.Jy), label="image")
    left.plot(radius, one.apertures["flux_reference"].to_value(u.Jy), "--", label=one.name)
    left.plot(radius, one.apertures["residual"].to_value(u.Jy), ":", label="difference")
    left.set(xlabel="radius (arcmin)", ylabel="sum (Jy)")
    waves = one.power_spectra["wavelengths"]
    for column, label, style in (("power", "image", "-"), ("power_reference", one.name, "--"),
                                 ("power_residual", "difference", ":")):
        right.plot(waves, one.power_spectra[column].to_value(u.Jy**2), style, label=label)
    top = float(one.power_spectra["power_reference"].to_value(u.Jy**2).max())
    right.set(xscale="log", yscale="log", xlabel="uv distance (wavelengths)", ylabel="power (Jy²)",
              ylim=(1e-11 * top, 3 * top))
    for ax in (left, right):
        ax.legend(fontsize="small")
    return figure
