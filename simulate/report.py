"""What a person reads of an observation: its settings, and uv coverage, sky with pointings and fluxes as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulate.arrays import Array
from simulate.pointings import Pointings, mean_direction
from simulate.tracks import uvw_of_times
from uvstack.constants import SPEED_OF_LIGHT
from uvstack.report.figure import new_figure
from uvstack.report.numbers import flux_unit
from uvstack.report.page import Section
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam, fwhm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulate.job import Job
    from simulate.task import Simulation

#: More (u, v) points or pointings than this say no more to the eye.
_POINTS, _FIELDS = 40_000, 400
_TARGET, _OTHER = "#d95f02", "#1b6ca8"


def overview(made: Simulation) -> Section:
    """Array, pointings, band, sky and errors."""
    job, told = made.job, made.summary()
    low, high = (edge / 1e9 for edge in told["band_hz"])
    channels = "1 channel" if told["n_channels"] == 1 else f"{told['n_channels']} channels"
    rows = [("set", str(made.ms)),
            ("array", f"{job.array.telescope} ({job.array.name}), {told['n_antennas']} antennas"),
            ("pointings", str(told["n_pointings"])),
            ("band", f"{channels} from {low:.6g} to {high:.6g} GHz, "
                     f"{', '.join(told['correlations'])}"),
            ("time", f"{told['n_times']} integrations of {job.integration:g} s "
                     f"from {told['start']} (UTC)"),
            ("sky", _sky_text(job)),
            ("primary beam", told["primary_beam"]),
            ("errors", ", ".join(told["corruptions"]) or "none")]
    return Section(f"Simulated observation: {made.ms.name}", rows)


def _sky_text(job: Job) -> str:
    parts = []
    targets = job.sky.flux[job.sky.target]
    if targets.size:
        unit, size = flux_unit(float(targets.mean()))
        text = f"{targets.mean() / size:.4g} {unit}"
        parts.append(f"1 target of {text}" if targets.size == 1
                     else f"{targets.size} targets of {text} on average")
    n_other = len(job.sky) - targets.size
    parts.append(f"{n_other} other source{'' if n_other == 1 else 's'}")
    if job.images:
        parts.append(f"{len(job.images)} image{'' if len(job.images) == 1 else 's'}")
    return ", ".join(parts)


def sections(made: Simulation) -> list[Section]:
    """Overview, picture with the truth, and the files that were written."""
    written = [(name.replace("-", " "), str(path)) for name, path in made.files.items()]
    return [overview(made),
            Section("Observation and sky", figures={"observation": observation_figure(made.job)},
                    tables=made.tables()), Section("Files", written)]


def observation_figure(job: Job) -> Figure:
    """Figure of an observation: uv coverage, sky, fluxes."""
    figure = new_figure((14, 4.6))
    left, middle, right = figure.subplots(1, 3)
    draw_uv_coverage(left, job.array, job.pointings, job.times, job.field, job.frequency)
    draw_sky(middle, job.pointings, job.sky, job.primary_beam, float(np.mean(job.frequency)))
    draw_fluxes(right, job.sky)
    n_pointings = len(job.pointings)
    figure.suptitle(f"{job.array.telescope} ({job.array.name}), "
                    f"{len(job.array.antenna_names)} antennas, {job.times.size} integrations, "
                    f"{n_pointings} pointing{'s' if n_pointings > 1 else ''}, "
                    f"{np.mean(job.frequency) / 1e9:.4g} GHz")
    return figure


def draw_uv_coverage(axes: Axes, array: Array, pointings: Pointings, times: np.ndarray,
                     field: np.ndarray, frequency: np.ndarray) -> None:
    """(u, v) of some integrations and channels, both conjugates, in kilowavelengths."""
    ant1, ant2 = np.triu_indices(len(array.antenna_names), 1)
    channels = np.unique([frequency.min(), frequency.max()])
    few = np.unique(np.linspace(0, times.size - 1,
                                max(_POINTS // (ant1.size * channels.size), 2)).astype(int))
    tracks = np.concatenate([uvw_of_times(array, times[few][field[few] == i],
                                          float(pointings.ra[i]), float(pointings.dec[i]))
                             for i in np.unique(field[few])])
    baseline = (tracks[:, ant2] - tracks[:, ant1])[..., :2].reshape(-1, 2)
    uv = np.concatenate([baseline * nu / SPEED_OF_LIGHT / 1e3 for nu in channels])
    u, v = np.concatenate([uv, -uv]).T
    axes.scatter(u, v, s=0.4, lw=0, color="black", alpha=0.5, rasterized=True)
    axes.set(xlabel="u (kλ)", ylabel="v (kλ)", title="uv coverage", aspect="equal")
    # u grows to the left, as right ascension does.
    axes.invert_xaxis()


def draw_sky(axes: Axes, pointings: Pointings, sky: Components, primary_beam: PrimaryBeam,
             frequency: float) -> None:
    """Components and pointings about the mean direction of the pointings, with the half-power circles of the beam."""
    from matplotlib.collections import EllipseCollection

    ra0, dec0 = mean_direction(pointings.ra, pointings.dec)
    centres = np.stack(direction_cosines(pointings.ra, pointings.dec, ra0, dec0)[:2])
    l, m, n_minus_1 = direction_cosines(sky.ra, sky.dec, ra0, dec0)
    front = n_minus_1 > -1.0
    everything = np.concatenate([centres, np.stack([l, m])[:, front]], axis=1)
    largest = max(np.abs(everything).max(), 1e-9)
    scale, unit = next(((s, name) for s, name in ((180 / np.pi, "°"), (10800 / np.pi, "′"))
                        if largest * s >= 1.0), (648000 / np.pi, "″"))
    for target, colour, name in ((False, _OTHER, "sources"), (True, _TARGET, "targets")):
        some = front & (sky.target == target)
        if some.any():
            size = 2.0 + 10.0 * np.sqrt(sky.flux[some] / max(sky.flux.max(), 1e-30))
            axes.scatter(l[some] * scale, m[some] * scale, s=size, lw=0, color=colour,
                         label=f"{int(some.sum())} {name}")
    shown = centres[:, : _FIELDS]
    axes.plot(*(shown * scale), "+", color="0.3", ms=5,
              label=f"{len(pointings)} pointing{'s' if len(pointings) > 1 else ''}")
    width, half = fwhm(primary_beam, frequency), 1.05 * largest
    if np.isfinite(width):
        half = max(half, 1.05 * (np.abs(centres).max() + 0.5 * width))
        across = np.full(shown.shape[1], width * scale)
        axes.add_collection(EllipseCollection(across, across, np.zeros(across.size), units="xy",
                                              offsets=(shown * scale).T,
                                              offset_transform=axes.transData, facecolors="none",
                                              edgecolors="0.6", linewidths=0.7))
    axes.set(xlabel=f"east ({unit})", ylabel=f"north ({unit})", title="sky and half-power beams",
             aspect="equal", xlim=(half * scale, -half * scale), ylim=(-half * scale, half * scale))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)


def draw_fluxes(axes: Axes, sky: Components) -> None:
    """Histogram of the components' fluxes."""
    positive = sky.flux > 0
    if not positive.any():
        axes.text(0.5, 0.5, "no components", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    low, high = np.log10([sky.flux[positive].min(), sky.flux[positive].max()])
    edges = np.logspace(low - 0.1, high + 0.1, 40).tolist()
    for target, colour, name in ((False, _OTHER, "sources"), (True, _TARGET, "targets")):
        some = positive & (sky.target == target)
        if some.any():
            axes.hist(sky.flux[some], edges, color=colour, alpha=0.7, label=name)
    axes.set(xscale="log", yscale="log" if len(sky) > 100 else "linear", xlabel="flux density (Jy)",
             ylabel="number", title="fluxes")
    axes.legend(fontsize="small")
