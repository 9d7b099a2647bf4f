"""Pictures of a run: images on one scale, models, gains, fluxes of the other sources."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

from peel.directions import Direction
from peel.gains import Cell, Gain
from peel.visits import Visit
from uvstack.constants import ARCMIN, ARCSEC
from uvstack.pixels.noise import robust_noise
from uvstack.report.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from peel.known import Known

#: Windows whose gains are shown beside each other, and times of a scan, at most.
_WINDOWS, _PER_SCAN = 4, 16
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
    rows, columns = (np.arange(max(at - _ZOOM, 0), min(at + _ZOOM, n)) for at, n in zip(
        (row, column), brightest.mask.shape, strict=True))
    middle = (np.array(brightest.mask.shape) - 1) / 2
    every = [np.arange(n) for n in brightest.mask.shape]
    for number, (name, data) in enumerate(planes.items()):
        for one, (i, j), (y, x), unit, size in (
                (axes[0, number], every, middle, "′", ARCMIN),
                (axes[1, number], (rows, columns), (row, column), "″", ARCSEC)):
            extent = [at * cell / size for at in (x - j[0] + 0.5, x - j[-1] - 0.5, i[0] - y - 0.5,
                                                  i[-1] - y + 0.5)]
            cut = slice(i[0], i[-1] + 1), slice(j[0], j[-1] + 1)
            shown = one.imshow(data[cut] * 1e6, origin="lower", cmap="gray_r", vmin=-0.3e6 * scale,
                               vmax=1e6 * scale, extent=extent)
            for direction in directions:
                if direction.mask[cut].any():
                    one.contour(direction.mask[cut], [0.5], colors="tab:red", linewidths=0.7,
                                origin="lower", extent=extent)
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


def gain_figures(known: Known, visits: Sequence[Visit], n_ant: int,
                 directions: Sequence[str]) -> dict[str, Figure]:
    """Gains as they are applied, antenna by time: phases and delays of the field, gains of directions.

    Windows stand beside each other, at most `_WINDOWS` of them.
    """
    every = sorted({visit.window.id for visit in visits})
    shown = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, _WINDOWS).astype(int))]
    of_window = {window: sorted((visit for visit in visits if visit.window.id == window and visit.n_good),
                                key=lambda visit: visit.first) for window in shown}
    of_window = {window: found for window, found in of_window.items() if found}
    start = min(visit.first for found in of_window.values() for visit in found)
    field: dict[str, list[_Panel]] = {"phase (°)": [], "delay (ns)": []}
    own: dict[str, list[_Panel]] = {}
    for found in of_window.values():
        minutes = np.concatenate([(times[at] - start) / 60 for visit in found
                                  for times, at in map(_some_times, visit.times.values())])
        named = f"window {found[0].window.spw.id}"
        total = _gains(found, known.of_field, n_ant)
        frequency = found[0].window.spw.frequency
        wide = total if total.shape[1] > 1 else np.repeat(total, 2, axis=1)
        slope = np.angle(wide[:, -1] * wide[:, 0].conj()) / (2 * np.pi)
        width = frequency[-1] - frequency[0] if len(frequency) > 1 else np.inf
        field["phase (°)"].append((named, minutes, np.angle(total[:, total.shape[1] // 2], deg=True)))
        field["delay (ns)"].append((named, minutes, 1e9 * slope / width))
        for number, name in enumerate(directions):
            gains = _gains(found, functools.partial(known.of_bright, number, frame="field"), n_ant)
            gains = gains[:, gains.shape[1] // 2]
            own.setdefault(f"{name}: amplitude", []).append((named, minutes, np.abs(gains)))
            own.setdefault(f"{name}: phase (°)", []).append((named, minutes, np.angle(gains, deg=True)))
    return {"gains-field": _gains_figure(field), "gains-directions": _gains_figure(own)}


#: Title, minutes of the columns, and values (time, ant).
_Panel = tuple[str, NDArray[np.float64], NDArray[np.float64]]


def _gains(visits: Sequence[Visit], gain_of: Callable[[Cell, int], Gain],
           n_ant: int) -> NDArray[np.complex128]:
    """Gains of the first receptor, (time, chan, ant), at some times of each scan."""
    found = []
    for visit in visits:
        for scan, times in visit.times.items():
            values = gain_of((visit.field.id, visit.window.id, scan), times.size).values[..., 0]
            found.append(np.broadcast_to(values, (times.size, values.shape[1], n_ant))[
                _some_times(times)[1]])
    most = max(one.shape[1] for one in found)
    return np.concatenate([np.broadcast_to(one, (len(one), most, n_ant)) for one in found])


def _some_times(times: NDArray) -> tuple[NDArray, NDArray[np.int64]]:
    """Times of a scan, and numbers of at most `_PER_SCAN` of them."""
    return times, np.unique(np.linspace(0, times.size - 1, _PER_SCAN).astype(int))


def _gains_figure(rows: Mapping[str, Sequence[_Panel]]) -> Figure:
    """A picture of antennas against time for each row and window."""
    columns = max(len(panels) for panels in rows.values())
    figure = new_figure((2.0 + 3.2 * columns, 0.6 + 2.6 * len(rows)))
    for line, (label, panels) in zip(figure.subplots(len(rows), columns, squeeze=False), rows.items(),
                                     strict=True):
        values = np.concatenate([one.ravel() for _, _, one in panels])
        low, high = np.nanpercentile(values, [1, 99])
        for axes, (title, minutes, gains) in zip(line, panels, strict=True):
            shown = axes.imshow(gains.T, origin="lower", aspect="auto", interpolation="nearest",
                                vmin=low, vmax=max(high, low + 1e-9), cmap="viridis",
                                extent=(-0.5, len(gains) - 0.5, -0.5, gains.shape[1] - 0.5))
            ticks = np.unique(np.linspace(0, len(minutes) - 1, 4).astype(int))
            axes.set(xticks=ticks, title=title)
            axes.set_xticklabels([f"{minutes[at]:.3g}" for at in ticks])
        line[0].set_ylabel("antenna")
        figure.colorbar(shown, ax=line, label=label)
    for axes in figure.axes[(len(rows) - 1) * columns : len(rows) * columns]:
        axes.set_xlabel("min")
    return figure


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
