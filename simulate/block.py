"""The rows of some integrations, from sky to flags: a function of one block of times.

    V_pq = G_p [ Σ_s E_ps V_s E_qs* ] G_q* + noise

with V_s the visibilities of source s by equation 1 of Lindroos et al. (2015), E the gains of
antennas towards single sources and G those of the whole field (VLASS memo 23, equation 1). Noise
comes last: its σ, and with it WEIGHT and SIGMA, is that of the recorded data. Corruptions were
drawn once for all times; every integration draws its noise from a generator of its own. So the
bytes depend on the seed, not on where blocks begin. Memory is that of a block.
"""

from __future__ import annotations

import numpy as np

from simulate.corruption import (
    AntennaFlags,
    DirectionDependentGains,
    PointingErrors,
    RandomFlags,
    apply_gains,
)
from simulate.directional import predict_directional
from simulate.gain_tracks import GainTrack, PointingTrack
from simulate.job import Job, generator
from simulate.noise import add_noise, weights
from simulate.tracks import elevation_of, uvw_of_times
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines
from uvstack.uv.predict import predict_image, predict_stokes, to_correlations

#: (u, v, w), antennas and times of rows.
_Where = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def observe_block(job: Job, block: tuple[int, int]) -> dict[str, np.ndarray]:
    """Columns of the rows of integrations start … stop − 1: the function that dask runs."""
    start, stop = block
    ant1, ant2 = job.baselines
    n_times, n_baselines = stop - start, ant1.size
    rows, coordinate = _rows(job, start, stop)
    vis, model, elevation = _sky(job, rows, coordinate, start, stop)
    time_index = np.repeat(np.arange(n_times), n_baselines)
    flag: np.ndarray = np.zeros(vis.shape, np.bool_)
    for number, (one, track) in enumerate(zip(job.corruptions, job.tracks, strict=True)):
        if isinstance(track, GainTrack):
            gains = track.at(job.times[start:stop], job.frequency)
            apply_gains(vis, gains, rows["ANTENNA1"], rows["ANTENNA2"], time_index,
                        job.correlations, out=vis)
        elif isinstance(one, RandomFlags | AntennaFlags):
            chosen = one.flags(rows["TIME"], rows["ANTENNA1"], rows["ANTENNA2"], job.frequency.size,
                               generator(job, number))
            flag |= chosen[:, :, None]
    dishes = job.array.dish_diameters
    sigma = job.noise.sigma(job.frequency, job.width, job.integration, elevation,
                            (dishes[rows["ANTENNA1"]], dishes[rows["ANTENNA2"]]))
    for k in range(n_times):
        part = slice(k * n_baselines, (k + 1) * n_baselines)
        add_noise(vis[part].shape, sigma if sigma.shape[0] == 1 else sigma[part],
                  np.random.default_rng([job.seed, start + k]), vis[part])
    weight = weights(np.sqrt(np.mean(sigma**2, axis=1)))
    weight = np.ascontiguousarray(np.broadcast_to(weight[:, None], (vis.shape[0], vis.shape[2])))
    rows = rows | {"DATA": vis, "FLAG": flag, "FLAG_ROW": np.all(flag, axis=(1, 2)),
                   "WEIGHT": weight, "SIGMA": weight**np.float32(-0.5)}
    return rows | {"MODEL_DATA": model} if job.with_model else rows


def _sky(job: Job, rows: dict[str, np.ndarray], coordinate: np.ndarray, start: int,
         stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Visibilities with directional gains, those without any, (row, chan, corr), and elevations (row,)."""
    vis = np.empty((rows["TIME"].size, job.frequency.size, len(job.correlations)), np.complex64)
    model = np.empty_like(vis) if job.with_model else vis
    elevation = np.empty(vis.shape[0])
    own = _with_own_gains(job)
    field, times = job.field[start:stop], job.times[start:stop]
    for i in np.unique(field):
        here = rows["FIELD_ID"] == i
        centre = float(job.pointings.ra[i]), float(job.pointings.dec[i])
        where = (rows["UVW"][here], rows["ANTENNA1"][here], rows["ANTENNA2"][here],
                 rows["TIME"][here])
        elevation[here] = np.repeat(elevation_of(job.array, times[field == i], *centre),
                                    job.baselines[0].size)
        if job.with_model or not own.any():
            model[here] = _plain(job, where, centre, job.sky)
        if own.any():
            vis[here] = _plain(job, where, centre, job.sky.subset(~own)) + _directional(
                job, where, centre, own, coordinate[field == i])
        elif job.with_model:
            vis[here] = model[here]
    return vis, model, elevation


def _plain(job: Job, where: _Where, centre: tuple[float, float], sky: Components) -> np.ndarray:
    """Visibilities (row, chan, corr) of components and images through the nominal primary beam."""
    stokes = predict_stokes(*where, job.frequency, sky, *centre, job.primary_beam)
    for image in job.images:
        for plane, share in image.parts(job.frequency):
            stokes[0] += predict_image(where[0], job.frequency, plane, image.geometry, *centre,
                                       job.primary_beam) * share.astype(np.float32)
    return to_correlations(stokes, job.correlations)


def _with_own_gains(job: Job) -> np.ndarray:
    """Which components have gains of their own."""
    own = np.zeros(len(job.sky), np.bool_)
    for one in job.corruptions:
        if isinstance(one, PointingErrors):
            own[:] = True
        elif isinstance(one, DirectionDependentGains):
            own |= np.isin(job.sky.names, one.sources)
    return own


def _directional(job: Job, where: _Where, centre: tuple[float, float], own: np.ndarray,
                 coordinate: np.ndarray) -> np.ndarray:
    """Visibilities (row, chan, corr) of the components with gains of their own."""
    sky = job.sky.subset(own)
    l, m, _ = direction_cosines(sky.ra, sky.dec, *centre)
    times = np.unique(where[3])
    pointing = next((track for track in job.tracks if isinstance(track, PointingTrack)), None)
    named = [track for track in job.tracks if isinstance(track, dict)]

    def gains(i: int) -> np.ndarray:
        product = np.ones((times.size, len(job.array.antenna_names), job.frequency.size, 2),
                          np.complex64)
        for tracks in named:
            if str(sky.names[i]) in tracks:
                product *= tracks[str(sky.names[i])].at(times, job.frequency)
        if pointing is not None:
            product *= pointing.source_gains(job.primary_beam, float(l[i]), float(m[i]), times,
                                             job.frequency)
        return product

    beam = job.primary_beam if pointing is None else None
    uvw, ant1, ant2, time = where
    return predict_directional(coordinate, uvw, ant1, ant2, time, job.frequency, sky, *centre,
                               gains, job.correlations, beam)


def _rows(job: Job, start: int, stop: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns that say where and when, time by time, and the antennas' coordinates (time, ant, 3)."""
    ant1, ant2 = job.baselines
    n_times, n_baselines = stop - start, ant1.size
    field = job.field[start:stop]
    coordinate = np.empty((n_times, len(job.array.antenna_names), 3))
    for i in np.unique(field):
        here = field == i
        coordinate[here] = uvw_of_times(job.array, job.times[start:stop][here],
                                        float(job.pointings.ra[i]), float(job.pointings.dec[i]))
    time = np.repeat(job.times[start:stop], n_baselines)
    ones = np.ones(time.size, np.int32)
    scan = np.concatenate([[1], 1 + np.cumsum(np.diff(job.field) != 0)])[start:stop]
    return {"UVW": (coordinate[:, ant2] - coordinate[:, ant1]).reshape(-1, 3),
            "ANTENNA1": np.tile(ant1, n_times).astype(np.int32),
            "ANTENNA2": np.tile(ant2, n_times).astype(np.int32), "TIME": time,
            "TIME_CENTROID": time, "INTERVAL": ones * job.integration,
            "EXPOSURE": ones * job.integration,
            "FIELD_ID": np.repeat(field, n_baselines).astype(np.int32),
            "SCAN_NUMBER": np.repeat(scan, n_baselines).astype(np.int32),
            **{name: 0 * ones
               for name in ("ARRAY_ID", "OBSERVATION_ID", "PROCESSOR_ID", "STATE_ID", "FEED1",
                            "FEED2", "DATA_DESC_ID")},}, coordinate
