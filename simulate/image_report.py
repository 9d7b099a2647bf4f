"""What a person reads of simulated images: epochs of a survey, cubes of a single dish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simulate.restored_sky import beam_text
from uvstack.constants import ARCSEC
from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulate.epoch_images import EpochImage
    from simulate.single_dish import SingleDishCube

#: Channels of a cube that are drawn.
_MOST_CHANNELS = 4


def _brightness_text(value: float, unit: str = "Jy/beam") -> str:
    """A brightness in a unit that suits it."""
    if unit != "Jy/beam":
        return f"{value:.4g} {unit}"
    name, size = flux_unit(value)
    return f"{value / size:.4g} {name}/beam"


def _grid_rows(brightness: np.ndarray, cell: float) -> list[tuple[str, ...]]:
    rows, columns = brightness.shape[-2:]
    return [("image", f"{rows} × {columns} pixels of {cell / ARCSEC:.4g}″")]


def _sky_text(n_components: int, n_outside: int) -> str:
    left_out = f", {n_outside} off the image" if n_outside else ""
    return f"{n_components} component{'' if n_components == 1 else 's'}{left_out}"


def epoch_overview(epoch: EpochImage) -> Section:
    """Frequency, beam, noise and sky of an epoch."""
    meta = epoch.truth.meta
    rows = [*_grid_rows(epoch.brightness, epoch.geometry.cell_m),
            ("frequency", f"{epoch.frequency / 1e9:.6g} GHz")]
    if epoch.date:
        rows.append(("date", f"{epoch.date} (UTC)"))
    rows += [("beam", beam_text(epoch.beam)),
             ("noise", f"{_brightness_text(epoch.median_rms)} (median of the true rms)"),
             ("peak", _brightness_text(float(np.nanmax(epoch.brightness)))),
             ("sky", _sky_text(len(epoch.truth), epoch.n_outside))]
    if meta["flux_scale"] != 1.0:
        rows.append(("flux scale", f"{meta['flux_scale']:.4g}"))
    if any(meta["offset_arcsec"]):
        east, north = meta["offset_arcsec"]
        rows.append(("offset", f"{east:.4g}″ to the east, {north:.4g}″ to the north"))
    return Section(f"Simulated image: {epoch.name}", rows)


def epoch_sections(epoch: EpochImage) -> list[Section]:
    """Overview, and the pictures with the truth."""
    return [epoch_overview(epoch),
            Section("Image and true noise", figures={"epochs": epochs_figure([epoch])},
                    tables=epoch.tables())]


def epochs_overview(made: Sequence[EpochImage]) -> Section:
    """A line for each epoch."""
    grid: list[tuple[str, ...]] = [("epoch", "date", "frequency (GHz)", "beam", "noise",
                                    "flux scale", "sky")]
    grid += [(one.name, (one.date or "–").removesuffix(".000"), f"{one.frequency / 1e9:.6g}", beam_text(one.beam),
              _brightness_text(one.median_rms), f"{one.truth.meta['flux_scale']:.4g}",
              _sky_text(len(one.truth), one.n_outside)) for one in made]
    return Section(f"Simulated images of {len(made)} epoch{'' if len(made) == 1 else 's'}",
                   grid=grid)


def epochs_sections(made: Sequence[EpochImage], tables: dict) -> list[Section]:
    """Overview, and the pictures with the truth."""
    return [epochs_overview(made),
            Section("Images and true noise", figures={"epochs": epochs_figure(made)},
                    tables=tables)]


def epochs_figure(made: Sequence[EpochImage]) -> Figure:
    """Figure of images (above) and true noise (below), each with its beam."""
    from matplotlib.patches import Ellipse

    figure = new_figure((3.6 * len(made) + 0.6, 6.6))
    axes = figure.subplots(2, len(made), squeeze=False)
    typical = float(np.median([np.nanmedian(e.rms)
                               for e in made])) or max(float(np.nanmax(e.brightness))
                                                       for e in made) / 50 or 1.0
    largest = max(float(np.nanmax(e.rms)) for e in made) or typical
    unit, scale = flux_unit(typical)
    for column, epoch in enumerate(made):
        half = [0.5 * n * epoch.geometry.cell_m / ARCSEC for n in epoch.brightness.shape]
        box = (half[1], -half[1], -half[0], half[0])
        for row, (data, low, high) in enumerate(((epoch.brightness, -3 * typical, 12 * typical),
                                                 (epoch.rms, 0.0, largest))):
            shown = axes[row, column].imshow(data / scale, origin="lower", extent=box,
                                             vmin=low / scale, vmax=high / scale,
                                             cmap=("gray_r", "viridis")[row])
            axes[row, column].set_facecolor("lightsteelblue")
            if column == len(made) - 1:
                figure.colorbar(shown, ax=axes[row, :],
                                label=f"{('image', 'true rms')[row]} ({unit}/beam)", shrink=0.9)
        major, minor, angle = epoch.beam
        # Matplotlib counts angles towards the axis that points up, on which east is to the left.
        axes[0, column].add_patch(Ellipse((0.88 * half[1], -0.88 * half[0]), minor / ARCSEC,
                                          major / ARCSEC, angle=-np.rad2deg(angle), color="C3"))
        axes[0, column].set_title(f"{epoch.name}: {beam_text(epoch.beam)}", fontsize="small")
        axes[1, column].set_xlabel("offset east (arcsec)")
    for row in (0, 1):
        axes[row, 0].set_ylabel("offset north (arcsec)")
    return figure


def cube_overview(cube: SingleDishCube) -> Section:
    """Channels, beams, noise and sky of a cube."""
    ghz, sizes = cube.frequency / 1e9, [beam.fwhm_major / ARCSEC for beam in cube.beams]
    low, high = float(cube.rms.min()), float(cube.rms.max())
    noise = _brightness_text(low, cube.unit)
    if high > low:
        noise += f" to {_brightness_text(high, cube.unit)}"
    rows = [*_grid_rows(cube.brightness, cube.geometry.cell_m),
            ("channels", f"{ghz.size}, {ghz.min():.6g} to {ghz.max():.6g} GHz"),
            ("beam", f"{min(sizes):.4g}″ to {max(sizes):.4g}″, round"),
            ("noise", noise),
            ("peak", _brightness_text(float(cube.brightness.max()), cube.unit)),
            ("sky", "an image" if cube.truth is None
             else _sky_text(len(cube.truth), cube.n_outside))]
    return Section("Simulated cube of a single dish", rows)


def cube_sections(cube: SingleDishCube) -> list[Section]:
    """Overview, and pictures of some channels with the tables."""
    return [cube_overview(cube),
            Section("Channels", figures={"cube": cube_figure(cube)}, tables=cube.tables())]


def cube_figure(cube: SingleDishCube) -> Figure:
    """Figure of some channels, evenly over the band, each with its beam."""
    from matplotlib.patches import Circle

    chosen = np.unique(np.linspace(0, cube.frequency.size - 1, _MOST_CHANNELS).astype(int))
    figure = new_figure((3.6 * chosen.size + 0.8, 3.8))
    axes = figure.subplots(1, chosen.size, squeeze=False)[0]
    half = [0.5 * n * cube.geometry.cell_m / ARCSEC for n in cube.brightness.shape[1:]]
    box = (half[1], -half[1], -half[0], half[0])
    low, high = float(cube.brightness[chosen].min()), float(cube.brightness[chosen].max())
    name, size = (flux_unit(high) if cube.unit == "Jy/beam" else (cube.unit, 1.0))
    for one, chan in zip(axes, chosen, strict=True):
        shown = one.imshow(cube.brightness[chan] / size, origin="lower", extent=box,
                           vmin=low / size, vmax=high / size, cmap="viridis")
        radius = 0.5 * cube.beams[chan].fwhm_major / ARCSEC
        one.add_patch(Circle((0.95 * half[1] - radius, -0.95 * half[0] + radius), radius,
                             fill=False, color="w"))
        one.set(title=f"{cube.frequency[chan] / 1e9:.6g} GHz", xlabel="offset east (arcsec)")
    axes[0].set_ylabel("offset north (arcsec)")
    figure.colorbar(shown, ax=axes,
                    label=f"{name}/beam" if cube.unit == "Jy/beam" else cube.unit, shrink=0.9)
    return figure
