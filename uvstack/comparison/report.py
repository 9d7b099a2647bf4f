"""What a person reads of a comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.image_stacking.report import centre_masked
from uvstack.image_stacking.result import ImageStackResult
from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit, with_error
from uvstack.report.page import Section, setting_rows
from uvstack.stacking.report import draw_profile
from uvstack.stacking.result import StackResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uvstack.comparison.result import CompareResult, Method

_HEADER = ("flux", "equation 7", "SNR", "stamp's rms", "point keeps", "corrected", "less uv-stack")

_ERRORS = ("of a uv-stack from the scatter of its visibilities, of an image-stack from the "
           "off-centre pixels of its stamp. Both methods "
           "hold the same noise: fluxes differ by far less than these errors")


def table_rows(result: CompareResult, unit: str, size: float) -> list[tuple[str, ...]]:
    """Name and texts of every method, as `_HEADER` has them; fluxes in a unit of `size` Jy."""
    rows: list[tuple[str, ...]] = []
    for method, row in zip(result.methods, result.table(), strict=True):
        corrected = "" if method.flux_corrected is None or method.flux_corrected_error is None else with_error(
            method.flux_corrected, method.flux_corrected_error, size)
        difference = row["difference"].value
        rows.append((method.name, with_error(method.flux, method.flux_error, size),
                     _text(method.flux_error_expected / size, ".3g"), _text(method.snr, ".1f"),
                     _text(method.stamp_rms / size, ".3g"), _text(method.peak_response, ".4f"),
                     corrected, "" if method.is_uv else _text(difference / size, "+.2g")))
    return rows


def _text(value: float | None, how: str) -> str:
    return "" if value is None or not np.isfinite(value) else format(value, how)


def overview(result: CompareResult) -> Section:
    """Table of the methods, positions, image, and advice on short baselines."""
    unit, size = flux_unit(result.flux)
    left_out = "".join(f", {which.size} {reason}" for reason, which in result.dropped.items())
    major, minor, angle = result.beam
    rows = [
        ("fluxes", f"in {unit}", _ERRORS),
        ("positions", f"{result.n_positions} of {result.n_positions_given} in every stack{left_out}"),
        ("image", f"{result.image['image']}, {' × '.join(str(n) for n in reversed(result.image['pixels']))} pixels of "
                  f"{result.cell / ARCSEC:.3g}″, beam {major / ARCSEC:.3g}″ × {minor / ARCSEC:.3g}″ at {np.rad2deg(angle):.3g}°")]
    suggestion, limits = _uv(result.uv_all).suggest_uvmin(), _uv(result.uv).uv_range
    text = []
    if suggestion is not None and suggestion > (limits.minimum if limits.unit == "m" else 0):
        text.append(("advice", f"baselines below {suggestion / 1e3:.3g} km deviate from longer ones or are much noisier, as residuals of "
                               f"bright sources and resolved sources do: look at the profile, consider --uvmin {suggestion / 1e3:.2g}km"))
    flux = f"{with_error(result.flux, result.uv.flux_error, size)} {unit}"
    return Section(result.name, rows, text=text,
                   grid=[("method", *_HEADER), *table_rows(result, unit, size)],
                   lead=("flux", flux, f"{result.uv.name}, SNR {result.snr:.1f}"))


def sections(result: CompareResult, bins: int) -> list[Section]:
    """Overview, stamps, profiles and settings."""
    tables = result.tables(bins)
    return [replace(overview(result), tables={"methods": tables.pop("methods")}),
            Section("Stamps",
                    [("colours", "one scale in the first row, one in those without centres"),
                     ("contours", "−3, 3 and 5 times the noise of the uv-stack's stamp")],
                    {"stamps": stamps_figure(result)}),
            Section("Profiles", figures={"profiles": profile_figure(result, bins)}, tables=tables),
            Section("How", [*setting_rows(result.settings), *setting_rows(result.image)])]


def _uv(method: Method) -> StackResult:
    assert isinstance(method.stack, StackResult)
    return method.stack


# ------------------------------------------------------------------------------------------------------ pictures


def _shown(result: CompareResult, filtered: bool) -> list[Method | None]:
    """The columns of the picture: uv-stack, image-stack at the nearest pixel and below it; None where there is none."""
    uv = (result.uv if result.uv is not result.uv_all else None) if filtered else result.uv_all
    average = next(m.average for m in result.methods if not m.is_uv)
    return [uv,
            *(result.find(alignment, average, filtered) for alignment in ("nearest", "subpixel"))]


def _masked(result: CompareResult, method: Method) -> np.ndarray:
    """Stamp with NaN within the beam's ellipse, as for an image-stack."""
    like = next(m.stack for m in result.methods if isinstance(m.stack, ImageStackResult))
    return centre_masked(replace(like, stamp=method.stamp, cell=result.cell, beam=result.beam))


def stamps_figure(result: CompareResult) -> Figure:
    """Stamps of the uv-stack and of the image-stacks; below them without their centres; below these without short baselines.

    After Lindroos et al. (2015), Figures 3 and 10. Stamps in a row share one scale of colours, and
    so do both rows without centres. Contours are at −3, 3 and 5 times the noise of the uv-stack's
    stamp.
    """
    filtered = any(m.baselines != "all" and not m.is_uv for m in result.methods)
    methods = [_shown(result, False), _shown(result, False),
               *([_shown(result, True)] if filtered else [])]
    images = [[None if m is None else (m.stamp if i == 0 else _masked(result, m)) for m in row]
              for i, row in enumerate(methods)]
    unit, size = flux_unit(float(np.nanmax(np.abs(result.uv_all.stamp))))
    figure = new_figure((11.4, 3.7 * len(methods) + 0.3))
    axes = figure.subplots(len(methods), 3, squeeze=False, sharex=True, sharey=True)
    levels = np.array([-3, 3, 5]) * result.uv_all.stamp_rms / size
    for rows in (slice(0, 1), slice(1, len(methods))):
        finite = np.concatenate([image[np.isfinite(image)] for row in images[rows] for image in row
                                 if image is not None]) / size
        limits = float(finite.min()), float(finite.max())
        for row, (line, drawn) in enumerate(zip(methods[rows], images[rows], strict=True),
                                            rows.start):
            for axis, method, image in zip(axes[row], line, drawn, strict=True):
                if method is None or image is None:
                    axis.set_axis_off()
                    continue
                shown = _draw(axis, image / size, result.cell, limits,
                              levels if row == 0 else levels[[0, 1]])
                axis.set_title(_title(method, row), fontsize="small")
            axes[row, 0].set_ylabel("offset north (arcsec)")
        figure.colorbar(shown, ax=axes[rows], label=f"{unit}/beam", shrink=0.9)
    for axis in axes[-1]:
        axis.set_xlabel("offset east (arcsec)")
    return figure


def _title(method: Method, row: int) -> str:
    unit, size = flux_unit(method.flux)
    if row == 0:
        return f"{method.name}\n{with_error(method.flux, method.flux_error, size)} {unit}"
    return "centre masked" if row == 1 else f"centre masked, {method.baselines}\n{with_error(method.flux, method.flux_error, size)} {unit}"


def _draw(axis: Axes, image: np.ndarray, cell: float, limits: tuple[float, float],
          levels: np.ndarray) -> Any:
    """An image (m, l) with east to the left and contours."""
    half, shift = 0.5 * cell * image.shape[1] / ARCSEC, 0.5 * cell / ARCSEC
    edges = (half + shift, -half + shift, -half - shift, half - shift)
    masked = np.ma.masked_invalid(image)
    axis.set_facecolor("0.8")
    shown = axis.imshow(masked, origin="lower", cmap="viridis", extent=edges, vmin=limits[0],
                        vmax=limits[1], interpolation="nearest")
    inside = [level for level in levels if masked.min() < level < masked.max()]
    if inside:
        offset = (np.arange(image.shape[1]) - image.shape[1] // 2) * cell / ARCSEC
        axis.contour(-offset, offset, masked, levels=inside, colors="white", linewidths=0.7)
    return shown


def profile_figure(result: CompareResult, bins: int = 20) -> Figure:
    """Profile of the uv-stack in uv distance, and of the stamps in radius."""
    figure = new_figure((11.4, 4.3))
    left, right = figure.subplots(1, 2)
    draw_profile(left, _uv(result.uv), bins, "m")
    unit, size = flux_unit(result.flux)
    filtered = any(m.baselines != "all" and not m.is_uv for m in result.methods)
    lines = [("-", m) for m in _shown(result, False)] + [("--", m)
                                                         for m in (_shown(result, True) if filtered
                                                                   else []) if m is not None]
    for number, (style, method) in enumerate(lines):
        assert method is not None
        radius, mean = radial_mean(method.stamp, result.cell)
        colour = "C3" if method.is_uv else "C0" if method.alignment == "nearest" else "C2"
        right.plot(radius / ARCSEC, mean / size, style, color=colour, lw=1.3 if number else 2,
                   label=method.name)
    psf = result.uv_all.psf
    if psf is not None:
        radius, mean = radial_mean(psf, result.cell)
        right.plot(radius / ARCSEC, mean * result.uv_all.flux / size, ":", color="k", lw=1,
                   label="uv-stack's flux times its psf")
    right.axhline(0, color="0.6", lw=0.6)
    right.set(xlabel="radius (arcsec)", ylabel=f"mean of the ring ({unit}/beam)")
    right.legend(frameon=False, fontsize="small")
    return figure


def radial_mean(image: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Radii (rad) and means of the finite pixels of rings one pixel wide around (m // 2, l // 2), up to the nearest edge."""
    m, l = (np.arange(n) - n // 2 for n in image.shape)
    ring = np.rint(np.hypot(m[:, None], l[None, :])).astype(int)
    used = np.isfinite(image) & (ring < min(image.shape) // 2)
    count = np.bincount(ring[used])
    with np.errstate(invalid="ignore"):
        radius, mean = (np.bincount(ring[used], v[used]) / count
                        for v in (np.hypot(m[:, None], l[None, :]), image))
    return radius * cell, mean
