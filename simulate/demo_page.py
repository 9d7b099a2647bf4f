"""What the page of `uvstack demo` shows beside the stack: the map in which nothing is to be seen, and a stack of empty positions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.coordinates import SkyCoord

from simulate.demo import DemoField, draw_places, make_demo_field
from uvstack import StackResult, image, stack
from uvstack.constants import ARCSEC
from uvstack.io.output import check_output, check_report, together
from uvstack.io.tables import read_positions
from uvstack.report.figure import draw_stamp, mark_beam_and_rms, new_figure
from uvstack.report.files import files_of_report, write_report
from uvstack.report.numbers import with_error
from uvstack.report.page import Section
from uvstack.sky.coordinates import direction_cosines, to_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of the map: the middle of the field, where there are some forty sources.
_PIXELS, _CELL = 800, 0.3 * ARCSEC
#: Farther than this from every source a place is empty: some six beams.
_EMPTY = 8 * ARCSEC


@together()
def show_stacking(out: str | Path, *, seed: int = 1, overwrite: bool = False,
                  progress: Callable[[int, int], None] | None = None,
                  ) -> tuple[DemoField, StackResult, Path]:
    """The demo field, its stack, and the folder of the report that shows how well the stack went.

    Parameters
    ----------
    out : path
        Folder for everything that is made.
    seed : int
        Of sky and noise.
    overwrite : bool
        Whether outputs may exist.
    progress : callable, optional
        Called with the number of chunks done and in all, in each pass.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.
    """
    out = Path(out)
    with together() as run:
        run.make_folder(out.absolute())
    stacked = check_output(out / "stacked.ms", overwrite)
    report = check_report(out / "report", overwrite, files_of_report(StackResult))
    demo = make_demo_field(out, seed, progress, overwrite=overwrite)
    result = stack(demo.ms, demo.positions, primary_beam="vla", weights="primary-beam", out=stacked,
                   bootstrap=500, seed=seed, overwrite=overwrite, progress=progress)
    before, empty = before_stacking(demo), empty_positions(demo, result, seed, progress)
    summary, *others = result.sections(truth=demo.flux)
    write_report(result, [summary, before, *others, empty], report)
    return demo, result, report


def before_stacking(demo: DemoField) -> Section:
    """The middle of the map, with the positions of the list marked."""
    made = image(demo.ms, size=_PIXELS, cell=_CELL, weighting="natural", iterations=0)
    dirty = made.dirty[0]
    centre = made.grid.geometry
    l, m, _ = direction_cosines(*to_frame(read_positions(demo.positions).coord, "J2000"), centre.ra,
                                centre.dec)
    half = 0.5 * _CELL * _PIXELS
    inside = (np.abs(l) < half - 2 * _CELL) & (np.abs(m) < half - 2 * _CELL)
    l, m = l[inside], m[inside]
    column, row = (np.rint(_PIXELS / 2 + np.array([-l, m]) / _CELL)).astype(int)
    rms = float(dirty.std())
    at_positions = dirty[row, column] / rms
    return Section("Before stacking: the map",
                   [("shown",
                     f"the middle of the field, {2 * half / ARCSEC / 60:.0f}′ across; {l.size} "
                     f"of {demo.n_positions} positions lie in it, each in a circle"),
                    ("noise of the map",
                     f"{rms * 1e6:.2g} µJy/beam; beam {made.beam.fwhm_major / ARCSEC:.2g}″ × "
                     f"{made.beam.fwhm_minor / ARCSEC:.2g}″"),
                    ("flux of each source",
                     f"{demo.flux * 1e6:g} µJy, {demo.flux / rms:.2f} of the noise: none is to "
                     "be seen"),
                    ("brightest at a position",
                     f"{at_positions.max():.1f} σ; brightest of the whole map "
                     f"{dirty.max() / rms:.1f} σ"),],
                   {"before_stacking": _map_figure(dirty * 1e6, rms * 1e6, l / ARCSEC, m / ARCSEC)})


def _map_figure(dirty: np.ndarray, rms: float, l: np.ndarray, m: np.ndarray) -> Figure:
    """Brightness in µJy/beam with a circle at each (l, m) in arcsec."""
    figure = new_figure((7.2, 6))
    axes = figure.add_subplot()
    half = 0.5 * _CELL * _PIXELS / ARCSEC
    shift = 0.5 * _CELL / ARCSEC
    shown = axes.imshow(dirty, origin="lower", cmap="gray_r", vmin=-4 * rms, vmax=5 * rms,
                        interpolation="nearest",
                        extent=(half + shift, -half + shift, -half - shift, half - shift))
    axes.scatter(l, m, s=90, facecolors="none", edgecolors="C3", linewidths=1.2,
                 label="a position of the list")
    axes.set(xlabel="offset east (arcsec)", ylabel="offset north (arcsec)",
             title="Dirty map: every source hidden in the noise")
    axes.legend(loc="upper right", fontsize="small")
    figure.colorbar(shown, ax=axes, label="µJy/beam", extend="both")
    return figure


def empty_positions(demo: DemoField, result: StackResult, seed: int,
                    progress: Callable[[int, int], None] | None = None) -> Section:
    """A stack of as many places without a source, beside that of the sources, in the same colours."""
    ra, dec = draw_places(4 * demo.n_positions, np.random.default_rng([seed, 1]))
    places = SkyCoord(ra, dec, unit="rad", frame="fk5")
    _, distance, _ = places.match_to_catalog_sky(read_positions(demo.positions).coord.fk5)
    places = places[distance.rad > _EMPTY][:demo.n_positions]
    empty = stack(demo.ms, places, primary_beam="vla", weights="primary-beam", progress=progress)
    return Section("The same number of empty positions", [
        ("stack of the sources", f"{with_error(result.flux, result.flux_error, 1e-6)} µJy: {result.snr:.1f} σ"),
        ("stack of empty positions", f"{with_error(empty.flux, empty.flux_error, 1e-6)} µJy: {empty.flux / empty.flux_error:+.1f} σ, "
                                     f"{len(places)} positions at least {_EMPTY / ARCSEC:.0f}″ from every source"),
    ], {"empty_positions": _beside(result, empty)})


def _beside(result: StackResult, empty: StackResult) -> Figure:
    """Stamps of both with one scale of colours."""
    figure = new_figure((9.5, 4.2))
    stamps = [result.image(), empty.image()]
    low, high = 1e6 * float(stamps[0].brightness.min()), 1e6 * float(stamps[0].brightness.max())
    for axes, stamp, title in zip(figure.subplots(1, 2), stamps, ("sources", "empty positions"),
                                  strict=True):
        draw_stamp(axes, stamp.brightness, stamp.cell, title, unit="µJy")
        axes.images[0].set_clim(low, high)
        mark_beam_and_rms(axes, stamp.brightness, stamp.psf, stamp.cell)
    return figure
