"""Pictures of a run: images on one scale, models, gains, fluxes of the other sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

from peel.directions import Direction
from uvstack.constants import ARCMIN, ARCSEC
from uvstack.pixels.noise import robust_noise
from uvstack.report.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from peel.known import Known

#: Half a side of the pictures around a direction, pixels.
_ZOOM = 150


def images_figure(planes: Mapping[str, NDArray], told: Mapping[str, str],
                  directions: Sequence[Direction], cell: float) -> Figure:
    """Images before and after on one scale, whole above, around the brightest direction below."""
    brightest = max(directions, key=lambda one: one.peak)
    row, column = (int(np.mean(index)) for index in np.nonzero(brightest.mask))
    figure = new_figure((4.2 * len(planes), 8.2))
    axes = figure.subplots(2, len(planes), squeeze=False)
    scale = 12 * robust_noise(planes["peeled"])
    for number, (name, data) in enumerate(planes.items()):
        near = slice(max(row - _ZOOM, 0), row + _ZOOM), slice(max(column - _ZOOM, 0), column + _ZOOM)
        for one, pixels, unit, size in ((axes[0, number], data, "′", ARCMIN),
                                        (axes[1, number], data[near], "″", ARCSEC)):
            half = np.array(pixels.shape)[::-1] * cell / size / 2
            shown = one.imshow(pixels * 1e6, origin="lower", cmap="gray_r", vmin=-0.3e6 * scale,
                               vmax=1e6 * scale, extent=(half[0], -half[0], -half[1], half[1]))
            one.set(xlabel=f"east ({unit})", ylabel=f"north ({unit})" if number == 0 else "")
        axes[0, number].set_title(told[name])
        axes[1, number].set_title(f"around {brightest.name}")
    figure.colorbar(shown, ax=axes, label="µJy/beam", shrink=0.6)
    return figure


def models_figure(models: Mapping[str, NDArray], cell: float) -> Figure:
    """Dirty images of the columns of models."""
    figure = new_figure((4.4 * len(models), 4.2))
    axes = figure.subplots(1, len(models), squeeze=False)[0]
    for one, (name, data) in zip(axes, models.items(), strict=True):
        half = np.array(data.shape)[::-1] * cell / ARCMIN / 2
        limit = np.nanpercentile(np.abs(data), 99.9)
        shown = one.imshow(data * 1e3, origin="lower", cmap="gray_r", vmin=-1e3 * limit,
                           vmax=1e3 * limit, extent=(half[0], -half[0], -half[1], half[1]))
        one.set(title=name, xlabel="east (′)", ylabel="north (′)")
        figure.colorbar(shown, ax=one, label="mJy/beam", shrink=0.8)
    return figure


def gains_figure(known: Known, antennas: Sequence[str]) -> Figure:
    """Phases of the field, amplitudes and phases of directions, against time: a line an antenna."""
    curves = _curves(known)
    figure = new_figure((9.0, 2.3 * len(curves)))
    axes = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
    for one, (label, values) in zip(axes, curves.items(), strict=True):
        one.plot(np.arange(len(values)), values, ".-", lw=0.6, ms=3)
        one.set(ylabel=label)
    axes[-1].set_xlabel("cells, in order of window, field and scan")
    figure.suptitle(f"a line for each of {len(antennas)} antennas, first receptor")
    return figure


def _curves(known: Known) -> dict[str, NDArray]:
    """Label → values (cell, ant)."""
    found: dict[str, list[NDArray]] = {}

    def add(label: str, values: Any) -> None:
        found.setdefault(label, []).extend(np.asarray(values))

    for solved in filter(None, [known.field, *known.joint]):
        for cell in sorted(solved.cells, key=lambda one: (one[1], one[0], one[2])):
            for term, one in solved.cells[cell].items():
                if term == "G" and solved is (known.field or known.joint[0]):
                    add("G, phase (rad)", np.angle(one.gains[:, 0, :, 0, 0]))
                if term == "dE":
                    for at, direction in enumerate(solved.directions[cell]):
                        gains = one.gains[:, 0, :, at + 1, 0]
                        add(f"|dE| {direction + 1}", np.abs(gains))
                        add(f"dE {direction + 1}, phase (rad)", np.angle(gains))
    return {label: np.array(values) for label, values in found.items()} or {
        "no gains": np.zeros((1, 1))}


def ratio_figure(fluxes: QTable) -> Figure:
    """Fluxes of the other sources after peeling against those before, with error bars."""
    figure = new_figure((6.0, 4.2))
    axes = figure.subplots()
    before, after = (fluxes[f"flux_{name}"].to_value("mJy") for name in ("selfcal", "peeled"))
    errors = [fluxes[f"flux_{name}_error"].to_value("mJy") for name in ("selfcal", "peeled")]
    axes.errorbar(before, after, xerr=errors[0], yerr=errors[1], fmt="o", ms=3, lw=0.8)
    limits = np.array([np.nanmin(after[after > 0], initial=1.0), np.nanmax(after, initial=2.0)])
    axes.plot(limits, limits, "k-", lw=0.6)
    axes.set(xscale="log", yscale="log", xlabel="flux after self-calibration (mJy)",
             ylabel="flux after peeling (mJy)")
    return figure
