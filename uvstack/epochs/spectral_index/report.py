"""What a person reads of maps of the spectral index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from uvstack.epochs.combination.beams import beam_text
from uvstack.report.figure import new_figure
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.epochs.spectral_index.result import AlphaResult

#: Beams across the cutouts that are drawn, and maps of epochs among them.
_ACROSS, _MOST_EPOCHS = 24, 4


def overview(result: AlphaResult) -> Section:
    """What was made, and how good it is."""
    table = result.table()
    rows: list[tuple[str, ...]] = [
        ("epochs", str(len(result.epochs))), ("beam", beam_text(result.beam)),
        ("pixels", str(table["n_pixels"][0]), f"tt0 is {result.snr:g} σ or more there")]
    if table["n_pixels"][0]:
        rows += [("mean index", f"{table['mean_index'][0]:.3f}", "of those pixels, by 1/error²"),
                 ("median error", f"{table['median_error'][0]:.3g}",
                  f"noise of both terms correlated by {result.correlation:.2f}")]
    return Section("Spectral index", rows)


def sections(result: AlphaResult) -> list[Section]:
    """Overview, the maps about the brightest source, numbers of all maps."""
    grid: list[tuple[str, ...]] = [("map", "pixels", "mean index", "median error")]
    for row in result.table():
        grid.append((str(row["name"]), str(row["n_pixels"]), *(
            f"{row[name]:.3f}" if np.isfinite(row[name]) else ""
            for name in ("mean_index", "median_error"))))
    maps = Section("Maps", [("shown", "about the brightest pixel of tt0; the epochs' maps are in "
                                      "the common beam")],
                   {"alpha": alpha_figure(result)}, result.tables(), grid=grid)
    return [overview(result), maps]


def alpha_figure(result: AlphaResult) -> Figure:
    """The combined map, its error, and the epochs' maps about the brightest pixel of tt0."""
    shape = result.alpha.shape
    cell = np.deg2rad(np.sqrt(abs(np.linalg.det(result.wcs.pixel_scale_matrix))))
    half = int(min(max(shape) / 2, 0.5 * _ACROSS * result.beam.fwhm_major / cell))
    filled = np.where(np.isfinite(result.tt0), result.tt0, -np.inf)
    y, x = np.unravel_index(int(filled.argmax()), shape)
    rows, columns = (slice(max(0, int(at) - half), int(at) + half + 1) for at in (y, x))
    shown = [("combined", result.alpha), ("error", result.error),
             *((name, maps[0]) for name, maps in list(result.epochs.items())[:_MOST_EPOCHS])]
    n_columns = min(3, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = new_figure((4.0 * n_columns, 3.5 * n_rows))
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, (name, values) in zip(axes, shown, strict=False):
        cut = values[rows, columns]
        limits = (0.0, None) if name == "error" else (-2.0, 1.0)
        drawn = ax.imshow(cut, origin="lower", cmap="viridis", vmin=limits[0], vmax=limits[1],
                          interpolation="nearest",
                          extent=(columns.start - 0.5, columns.start + cut.shape[1] - 0.5,
                                  rows.start - 0.5, rows.start + cut.shape[0] - 0.5))
        ax.set_title(name, fontsize="small", wrap=True)
        ax.set(xlabel="x (pixel)", ylabel="y (pixel)")
        figure.colorbar(drawn, ax=ax, shrink=0.85)
    for ax in axes[len(shown):]:
        ax.set_visible(False)
    return figure
