"""A measurement set of point sources in noise: one pointing, one spectral window.

V = Σ_k A(l_k, m_k, ν) S_k exp(+2πi ν/c (u l_k + v m_k + w (n_k − 1))) plus Gaussian noise: Lindroos et al. (2015),
equation 1 with r_k = 0 and without its 1/n_k, since a flux density is ∫ I dΩ and dΩ = dl dm / n. The sum is the conjugate
of the stack factor, so it is computed by the same code, and costs the same. Times are written in blocks: memory does not
grow with the length of the observation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulate.arrays import vla_like
from simulate.tracks import antenna_uvw
from uvstack.chunks import map_chunks
from uvstack.io.beams import read_primary_beam
from uvstack.io.new_ms import Observation, create_measurement_set
from uvstack.io.output import check_output, written_whole
from uvstack.records import DataDescription, Field, SpectralWindow
from uvstack.sky.coordinates import direction_cosines
from uvstack.uv.phase import phase_factor

#: Visibilities (row × chan) that a block holds.
_VISIBILITIES_PER_BLOCK = 1_000_000
#: Sidereal over solar rate, and Greenwich sidereal time at MJD 0 in rad (close enough for a sky of its own).
_SIDEREAL_RATE = 2 * np.pi * 1.00273790935 / 86400.0
_CIRCULAR = (5, 8)


@dataclass(frozen=True)
class PointSourceField:
    """What is observed.

    Attributes
    ----------
    ra, dec : float
        Phase centre, J2000, rad.
    source_ra, source_dec, flux : ndarray (source,)
        rad, rad, Jy.
    frequency, width : ndarray (chan,)
        Hz.
    integration : float
        Seconds.
    n_times : int
        Centred on transit.
    noise : float
        Standard deviation of the real and of the imaginary part of a visibility, Jy.
    primary_beam : str
        As `uvstack.io.beams.read_primary_beam` takes it.
    scale : float
        Size of the array; 1 is the A configuration.
    seed : int
    """

    ra: float
    dec: float
    source_ra: np.ndarray
    source_dec: np.ndarray
    flux: np.ndarray
    frequency: np.ndarray
    width: np.ndarray
    integration: float
    n_times: int
    noise: float
    primary_beam: str = "constant"
    scale: float = 1.0
    seed: int = 0


def observe_point_sources(sky: PointSourceField, out: str | Path, overwrite: bool = False,
                          progress: Callable[[int, int], None] | None = None) -> Path:
    """Path of a new measurement set: 27 antennas in a Y, RR and LL, WEIGHT = 1/noise²."""
    path = check_output(out, overwrite)
    itrf, _ = vla_like(sky.scale)
    n_ant = itrf.shape[0]
    first = 58_849.0 * 86400.0
    # Sidereal time such that the middle of the observation is at transit of the centre.
    elapsed = (np.arange(sky.n_times) + 0.5) * sky.integration
    longitude = np.arctan2(*itrf.mean(axis=0)[[1, 0]])
    sidereal = sky.ra - longitude + (elapsed - elapsed.mean()) * _SIDEREAL_RATE
    description = DataDescription(0, SpectralWindow(0, "spw0", sky.frequency, sky.width), _CIRCULAR)
    observation = Observation(
        "VLA", tuple(f"VA{i:02d}" for i in range(n_ant)), itrf, np.full(n_ant, 25.0), (Field(0, "field", "J2000", sky.ra, sky.dec),),
        (description,), (first, first + float(elapsed[-1])))
    n_baselines = n_ant * (n_ant - 1) // 2
    per_block = max(_VISIBILITIES_PER_BLOCK // (n_baselines * sky.frequency.size), 1)
    blocks = [(start, min(start + per_block, sky.n_times)) for start in range(0, sky.n_times, per_block)]
    with written_whole(path) as partial:
        table = create_measurement_set(partial, observation, n_baselines * sky.n_times)
        job = (sky, itrf, sidereal, first + elapsed)

        def consume(index: int, columns: dict[str, np.ndarray]) -> None:
            for name, values in columns.items():
                table.write(name, values, blocks[index][0] * n_baselines)
            if progress is not None:
                progress(index + 1, len(blocks))

        map_chunks(_observe_block, job, blocks, consume)
        table.close()
    return path


def _observe_block(job, block: tuple[int, int]) -> dict[str, np.ndarray]:
    """Columns of the rows of some times."""
    sky, itrf, sidereal, time = job
    start, stop = block
    ant1, ant2 = np.triu_indices(itrf.shape[0], 1)
    coordinate = antenna_uvw(itrf, sidereal[start:stop], sky.ra, sky.dec)
    uvw = (coordinate[:, ant2] - coordinate[:, ant1]).reshape(-1, 3)
    n_times = stop - start
    antenna1, antenna2 = np.tile(ant1, n_times).astype(np.int32), np.tile(ant2, n_times).astype(np.int32)
    times = np.repeat(time[start:stop], ant1.size)
    l, m, n_minus_1 = direction_cosines(sky.source_ra, sky.source_dec, sky.ra, sky.dec)
    beam = read_primary_beam(sky.primary_beam)(l, m, sky.frequency)
    apparent = (beam * sky.flux[:, None]).T
    model = phase_factor(uvw, antenna1, antenna2, times, sky.frequency, np.stack([l, m, n_minus_1]), apparent)[0].conj()
    rng = np.random.default_rng([sky.seed, start])
    shape = (uvw.shape[0], sky.frequency.size, 2)
    noise = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0] * np.float32(sky.noise)
    ones = np.ones(uvw.shape[0], np.int32)
    weight = np.full((uvw.shape[0], 2), sky.noise**-2 if sky.noise > 0 else 1.0, np.float32)
    return {
        "UVW": uvw, "ANTENNA1": antenna1, "ANTENNA2": antenna2, "TIME": times, "TIME_CENTROID": times,
        "DATA": model[:, :, None] + noise, "FLAG": np.zeros(shape, np.bool_), "FLAG_ROW": np.zeros(uvw.shape[0], np.bool_),
        "WEIGHT": weight, "SIGMA": weight**-0.5, "INTERVAL": ones * sky.integration, "EXPOSURE": ones * sky.integration,
        "SCAN_NUMBER": ones, **{name: 0 * ones for name in (
            "ARRAY_ID", "OBSERVATION_ID", "PROCESSOR_ID", "STATE_ID", "FEED1", "FEED2", "DATA_DESC_ID", "FIELD_ID")}}
