"""An observation: array, pointings, sky and noise in, a measurement set with its truth out.

Times are worked on in blocks by one function of one block, on threads, processes or a cluster; memory is that of a block.
Every integration draws its noise from a generator of its own, so the bytes depend on the seed and on nothing else.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from simulate.arrays import Array, read_array
from simulate.noise import Noise, add_noise, weights
from simulate.pointings import Pointings, single
from simulate.tracks import elevation_of, hour_angle_times, uvw_of_times
from uvstack._version import __version__
from uvstack.chunks import cluster, map_chunks
from uvstack.constants import CORRELATIONS
from uvstack.errors import PointingError, SelectionError
from uvstack.io.beams import read_primary_beam
from uvstack.io.new_ms import Observation, create_measurement_set
from uvstack.io.output import check_output, write_text, written_whole
from uvstack.records import DataDescription, Field, Provenance, SpectralWindow
from uvstack.sky.components import Components
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.predict import predict_stokes, to_correlations

#: Visibilities (row × chan × corr) of a block: about 50 MB with what belongs to them.
_VISIBILITIES_PER_BLOCK = 2_000_000
_CODES = {name: code for code, name in CORRELATIONS.items()}


@dataclass(frozen=True)
class _Job:
    """What all blocks share."""

    array: Array
    pointings: Pointings
    sky: Components
    times: np.ndarray
    field: np.ndarray
    frequency: np.ndarray
    width: np.ndarray
    integration: float
    noise: Noise
    primary_beam: PrimaryBeam
    correlations: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Simulation:
    """Paths of what `observe` wrote: the set, the truth (ECSV), the list of targets (CSV) or None, the provenance (JSON)."""

    ms: Path
    truth: Path
    targets: Path | None
    provenance: Path


def observe(
    *,
    array: str | Path | Array,
    sky: Components,
    frequency: Any,
    integration: Any,
    duration: Any,
    out: str | Path,
    pointings: Pointings | tuple[float, float] | None = None,
    width: Any = None,
    noise: Any = 0.0,
    primary_beam: str | PrimaryBeam = "constant",
    correlations: tuple[str, ...] = ("RR", "LL"),
    elevation_limit: Any = 8 * u.deg,
    seed: int = 0,
    overwrite: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Paths of a new measurement set, its truth and its provenance.

    Parameters
    ----------
    array : str, path or Array
        As `simulate.arrays.read_array` takes it.
    sky : Components
    frequency, width : Quantity or ndarray (chan,)
        Centres and widths of the channels; numbers are Hz. Default width: the spacing of the channels.
    integration, duration : Quantity or float
        Numbers are seconds. Centred on transit of the first pointing.
    out : path
        The set; truth, targets and provenance stand beside it.
    pointings : Pointings or (ra, dec), optional
        rad, J2000; default one pointing at the mean direction of the sky.
    noise : Noise, Quantity or float
        Or the standard deviation of the real and of the imaginary part of a visibility; numbers are Jy.
    primary_beam : str or PrimaryBeam
    correlations : tuple of str
    elevation_limit : Quantity or float
        Integrations below it are left out; numbers are rad.
    seed : int
    overwrite, workers, scheduler, progress
        As in `uvstack.stack`.

    Raises
    ------
    PointingError
        If no integration is above the elevation limit.
    UvstackError
        For anything else that cannot be: one line.
    """
    path = check_output(out, overwrite)
    truth, targets, record = (path.with_name(path.stem + end) for end in ("-truth.ecsv", "-targets.csv", "-provenance.json"))
    for beside in (truth, targets, record):
        check_output(beside, overwrite)
    job = _job(array, sky, frequency, width, integration, duration, pointings, noise, primary_beam, correlations, elevation_limit, seed)
    with cluster(workers, scheduler) as client, written_whole(path) as partial:
        _write_set(job, partial, client, progress)
    table = sky.to_table()
    with written_whole(truth) as partial:
        table.write(partial, format="ascii.ecsv")
    if sky.target.any():
        chosen = sky.subset(sky.target)
        rows = zip(np.rad2deg(chosen.ra), np.rad2deg(chosen.dec), chosen.flux, strict=True)
        write_text(targets, "ra,dec,flux\n" + "".join(f"{ra:.10f},{dec:.10f},{flux:.6e}\n" for ra, dec, flux in rows))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    provenance = Provenance(__version__, "simulate.observe", _inputs(job), seed, now)
    write_text(record, json.dumps(dataclasses.asdict(provenance), indent=1) + "\n")
    return Simulation(path, truth, targets if sky.target.any() else None, record)


def _job(array, sky, frequency, width, integration, duration, pointings, noise, primary_beam, correlations, elevation_limit, seed) -> _Job:
    chosen = array if isinstance(array, Array) else read_array(array)
    centres = np.atleast_1d(_number(frequency, u.Hz)).astype(float)
    if centres.size == 0:
        raise SelectionError("an observation with zero channels; wanted one frequency or more")
    if width is None and centres.size < 2:
        raise SelectionError("one channel has no spacing to take for its width; give width")
    widths = np.abs(np.gradient(centres)) if width is None else np.broadcast_to(np.abs(_number(width, u.Hz)), centres.shape).astype(float)
    if pointings is None:
        mean = np.mean([np.cos(sky.dec) * np.cos(sky.ra), np.cos(sky.dec) * np.sin(sky.ra), np.sin(sky.dec)], axis=1)
        pointings = single(float(np.arctan2(mean[1], mean[0])), float(np.arctan2(mean[2], np.hypot(mean[0], mean[1]))))
    elif not isinstance(pointings, Pointings):
        pointings = single(*pointings)
    seconds = float(_number(integration, u.s))
    times = hour_angle_times(chosen, float(pointings.ra[0]), float(_number(duration, u.s)), seconds, dec=float(pointings.dec[0]))
    field = pointings.schedule(times.size)
    limit = float(_number(elevation_limit, u.rad))
    up = np.zeros(times.size, np.bool_)
    for i in np.unique(field[field >= 0]):
        here = field == i
        up[here] = elevation_of(chosen, times[here], float(pointings.ra[i]), float(pointings.dec[i])) > limit
    if not up.any():
        raise PointingError(f"{chosen.name}: {pointings.names[0]} at declination {np.rad2deg(pointings.dec[0]):.1f}° is never above "
                            f"{np.rad2deg(limit):.1f}° in these {times.size} integrations; choose another array, direction or duration")
    return _Job(chosen, pointings, sky, times[up], field[up], centres, widths, seconds,
                noise if isinstance(noise, Noise) else Noise.noise_per_visibility(float(_number(noise, u.Jy))),
                read_primary_beam(primary_beam), tuple(_CODES[c] for c in correlations), seed)


def _number(value: Any, unit: u.UnitBase) -> Any:
    """A quantity in the given unit; plain numbers are taken to have it."""
    return value.to_value(unit) if isinstance(value, u.Quantity) else np.asarray(value, float)[()]


def _inputs(job: _Job) -> dict[str, Any]:
    return {"array": job.array.name, "n_antennas": len(job.array.antenna_names), "pointings": len(job.pointings),
            "components": len(job.sky), "targets": int(job.sky.target.sum()), "frequency_hz": job.frequency.tolist(),
            "width_hz": job.width.tolist(), "integration_s": job.integration, "n_times": int(job.times.size),
            "noise": dataclasses.asdict(job.noise), "primary_beam": job.primary_beam.describe(),
            "correlations": [CORRELATIONS[c] for c in job.correlations]}


def _write_set(job: _Job, partial: Path, client: Any, progress: Callable[[int, int], None] | None) -> None:
    """Write the measurement set block by block."""
    n_ant = len(job.array.antenna_names)
    n_baselines = n_ant * (n_ant - 1) // 2
    per_block = max(_VISIBILITIES_PER_BLOCK // (n_baselines * job.frequency.size * len(job.correlations)), 1)
    blocks = [(start, min(start + per_block, job.times.size)) for start in range(0, job.times.size, per_block)]
    fields = tuple(Field(i, name, "J2000", float(ra), float(dec))
                   for i, (name, ra, dec) in enumerate(zip(job.pointings.names, job.pointings.ra, job.pointings.dec, strict=True)))
    description = DataDescription(0, SpectralWindow(0, "spw0", job.frequency, job.width), job.correlations)
    observation = Observation(job.array.telescope, job.array.antenna_names, job.array.positions, job.array.dish_diameters, fields,
                              (description,), (float(job.times[0]), float(job.times[-1])))
    table = create_measurement_set(partial, observation, n_baselines * job.times.size)

    def consume(index: int, columns: dict[str, np.ndarray]) -> None:
        for name, values in columns.items():
            table.write(name, values, blocks[index][0] * n_baselines)
        if progress is not None:
            progress(index + 1, len(blocks))

    try:
        map_chunks(observe_block, job, blocks, consume, client)
    finally:
        table.close()


def observe_block(job: _Job, block: tuple[int, int]) -> dict[str, np.ndarray]:
    """Columns of the rows of integrations start … stop − 1: the function that dask runs."""
    start, stop = block
    ant1, ant2 = np.triu_indices(len(job.array.antenna_names), 1)
    n_times, n_baselines = stop - start, ant1.size
    rows = _rows(job, start, stop, ant1, ant2)
    shape = (n_times * n_baselines, job.frequency.size, len(job.correlations))
    vis = np.empty(shape, np.complex64)
    elevation = np.empty(shape[0])
    for i in np.unique(job.field[start:stop]):
        ra, dec = float(job.pointings.ra[i]), float(job.pointings.dec[i])
        here = rows["FIELD_ID"] == i
        stokes = predict_stokes(rows["UVW"][here], rows["ANTENNA1"][here], rows["ANTENNA2"][here], rows["TIME"][here], job.frequency,
                                job.sky, ra, dec, job.primary_beam)
        vis[here] = to_correlations(stokes, job.correlations)
        times = job.times[start:stop][job.field[start:stop] == i]
        elevation[here] = np.repeat(elevation_of(job.array, times, ra, dec), n_baselines)
    sigma = job.noise.sigma(job.frequency, job.width, job.integration, elevation)
    for k in range(n_times):
        part = slice(k * n_baselines, (k + 1) * n_baselines)
        add_noise(vis[part].shape, sigma if sigma.shape[0] == 1 else sigma[part], np.random.default_rng([job.seed, start + k]), vis[part])
    weight = weights(np.sqrt(np.mean(sigma**2, axis=1)))
    weight = np.ascontiguousarray(np.broadcast_to(weight[:, None], (shape[0], shape[2])))
    return rows | {"DATA": vis, "FLAG": np.zeros(shape, np.bool_), "WEIGHT": weight, "SIGMA": weight**np.float32(-0.5)}


def _rows(job: _Job, start: int, stop: int, ant1: np.ndarray, ant2: np.ndarray) -> dict[str, np.ndarray]:
    """Columns that say where and when, time by time."""
    n_times, n_baselines = stop - start, ant1.size
    field = job.field[start:stop]
    coordinate = np.empty((n_times, len(job.array.antenna_names), 3))
    for i in np.unique(field):
        here = field == i
        coordinate[here] = uvw_of_times(job.array, job.times[start:stop][here], float(job.pointings.ra[i]), float(job.pointings.dec[i]))
    time = np.repeat(job.times[start:stop], n_baselines)
    ones = np.ones(time.size, np.int32)
    scan = np.concatenate([[1], 1 + np.cumsum(np.diff(job.field) != 0)])[start:stop]
    return {
        "UVW": (coordinate[:, ant2] - coordinate[:, ant1]).reshape(-1, 3),
        "ANTENNA1": np.tile(ant1, n_times).astype(np.int32), "ANTENNA2": np.tile(ant2, n_times).astype(np.int32),
        "TIME": time, "TIME_CENTROID": time, "INTERVAL": ones * job.integration, "EXPOSURE": ones * job.integration,
        "FIELD_ID": np.repeat(field, n_baselines).astype(np.int32), "SCAN_NUMBER": np.repeat(scan, n_baselines).astype(np.int32),
        "FLAG_ROW": np.zeros(time.size, np.bool_),
        **{name: 0 * ones for name in ("ARRAY_ID", "OBSERVATION_ID", "PROCESSOR_ID", "STATE_ID", "FEED1", "FEED2", "DATA_DESC_ID")}}
