"""What an observation is made of, checked before any work is done: the job that all its blocks share."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.time import Time

from simulate.arrays import Array, read_array
from simulate.corruption import (
    AntennaFlags,
    DirectionDependentGains,
    GainCorruption,
    PointingErrors,
    RandomFlags,
)
from simulate.image_model import ImageModel
from simulate.noise import Noise
from simulate.pointings import Pointings, mean_direction, single
from simulate.tracks import elevation_of, hour_angle_times
from uvstack.checks import whole_number
from uvstack.constants import CORRELATIONS
from uvstack.errors import ComponentError, CorruptionError, PointingError, SelectionError
from uvstack.io.primary_beams import read_primary_beam
from uvstack.sky.components import Components, components
from uvstack.sky.coordinates import direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam

_CODES = {name: code for code, name in CORRELATIONS.items()}

Corruption = GainCorruption | DirectionDependentGains | PointingErrors | RandomFlags | AntennaFlags


@dataclass(frozen=True, eq=False)
class Job:
    """What all blocks share; attributes as the arguments of `simulate.observe`, in SI units.

    Attributes
    ----------
    times : ndarray (time,)
        Middles of the integrations, MJD UTC in s.
    field : ndarray (time,) int
        Number of the pointing.
    tracks : tuple
        Realisation of each corruption; None for flags, which are decided row by row.
    """

    array: Array
    pointings: Pointings
    sky: Components
    images: tuple[ImageModel, ...]
    times: np.ndarray
    field: np.ndarray
    frequency: np.ndarray
    width: np.ndarray
    integration: float
    noise: Noise
    primary_beam: PrimaryBeam
    correlations: tuple[int, ...]
    corruptions: tuple[Corruption, ...]
    tracks: tuple[Any, ...]
    with_model: bool
    seed: int

    @property
    def baselines(self) -> tuple[np.ndarray, np.ndarray]:
        """Antennas of each baseline, the rows of one time."""
        return np.triu_indices(len(self.array.antenna_names), 1)


def make_job(
    *, array: Any, sky: Components | None, images: Sequence[ImageModel], frequency: Any, width: Any, integration: Any, duration: Any,
    start: Any, pointings: Any, noise: Any, primary_beam: Any, correlations: Sequence[str], corruptions: Sequence[Corruption],
    elevation_limit: Any, with_model: bool, seed: int,
) -> Job:  # fmt: skip
    """Job of an observation, with its corruptions drawn; arguments and errors as in `simulate.observe`."""
    chosen = array if isinstance(array, Array) else read_array(array)
    sky = components([], [], []) if sky is None else sky
    centres, widths = _channels(frequency, width)
    seconds, lasts = (_positive(value, what)
                      for value, what in ((integration, "integration"), (duration, "duration")))
    if lasts < seconds:
        raise SelectionError(f"a duration of {lasts:g} s with integrations of {seconds:g} s; "
                             "wanted one integration or more")
    pointings = _pointings(pointings, sky, images)
    times, field = _schedule(chosen, pointings, seconds, lasts, start,
                             float(_number(elevation_limit, u.rad)))
    strange = [one for one in corruptions if not isinstance(one, Corruption)]
    if strange:
        raise CorruptionError(f"{strange[0]!r} is no corruption; wanted are those of "
                              "simulate.corruption")
    job = Job(chosen, pointings, sky, tuple(images), times, field, centres, widths, seconds,
              noise if isinstance(noise, Noise) else Noise.noise_per_visibility(
                  float(_number(noise, u.Jy))), read_primary_beam(primary_beam),
              _codes(correlations), tuple(corruptions), (), with_model,
              whole_number("seed", seed, 0))
    _check(job)
    return dataclasses.replace(job, tracks=tuple(_draw(job, i) for i in range(len(corruptions))))


def _channels(frequency: Any, width: Any) -> tuple[np.ndarray, np.ndarray]:
    centres = np.atleast_1d(_number(frequency, u.Hz)).astype(float)
    if centres.size == 0:
        raise SelectionError("an observation with zero channels; wanted one frequency or more")
    if width is None and centres.size < 2:
        raise SelectionError("one channel has no spacing to take for its width; give width")
    widths = np.abs(np.gradient(centres)) if width is None else np.broadcast_to(
        np.abs(_number(width, u.Hz)), centres.shape).astype(float)
    for what, values in (("frequencies", centres), ("channel widths", widths)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise SelectionError(f"{what} of {values[~(values > 0)][:1]} Hz; wanted are positive "
                                 "numbers")
    return centres, widths


def _pointings(pointings: Any, sky: Components, images: Sequence[ImageModel]) -> Pointings:
    if isinstance(pointings, Pointings):
        return pointings
    if pointings is not None:
        return single(*pointings)
    if len(sky):
        return single(*mean_direction(sky.ra, sky.dec))
    if images:
        return single(images[0].geometry.ra, images[0].geometry.dec)
    raise PointingError("neither pointings nor a sky; give pointings=(ra, dec) for an observation "
                        "of nothing but noise")


def _schedule(array: Array, pointings: Pointings, integration: float, duration: float, start: Any,
              limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the integrations above the elevation limit, MJD seconds, and the field of each."""
    begin = None
    if start is not None:
        try:
            begin = Time(start, scale="utc").mjd * 86400.0 if isinstance(start, str) else start.utc.mjd * 86400.0
        except ValueError as error:
            raise SelectionError(f"start {start!r} is no time: wanted UTC such as "
                                 f"2020-01-31T12:00:00 ({error})") from None
    ra, dec = float(pointings.ra[0]), float(pointings.dec[0])
    times = hour_angle_times(array, ra, duration, integration, begin, dec=dec)
    field = pointings.schedule(times.size)
    up = np.zeros(times.size, np.bool_)
    for i in np.unique(field[field >= 0]):
        here = field == i
        up[here] = elevation_of(array, times[here], float(pointings.ra[i]),
                                float(pointings.dec[i])) > limit
    if not up.any():
        raise PointingError(f"{array.name}: {pointings.names[0]} at declination "
                            f"{np.rad2deg(dec):.1f}° is never above "
                            f"{np.rad2deg(limit):.1f}° in these {times.size} integrations; choose "
                            "another array, direction or time")
    return times[up], field[up]


def _codes(correlations: Sequence[str]) -> tuple[int, ...]:
    if isinstance(correlations, str) or not correlations:
        raise SelectionError(f"correlations are {correlations!r}; wanted names such as ('RR', "
                             "'LL')")
    for name in correlations:
        if name not in _CODES:
            near = ", ".join(difflib.get_close_matches(str(name).upper(), _CODES, n=2, cutoff=0.0))
            raise SelectionError(f"unknown correlation {name!r}: the nearest are {near}; known "
                                 f"are {', '.join(_CODES)}")
    return tuple(_CODES[name] for name in correlations)


def _check(job: Job) -> None:
    """What would fail in the middle of the work, or mean nothing."""
    for name, ra, dec in zip(job.pointings.names, job.pointings.ra, job.pointings.dec, strict=True):
        behind = direction_cosines(job.sky.ra, job.sky.dec, float(ra), float(dec))[2] <= -1.0
        if behind.any():
            raise ComponentError(f"component {job.sky.names[behind][0]} is 90° or more from "
                                 f"{name}; leave it out, or move the pointing")
    kinds = [type(c) for c in job.corruptions]
    if kinds.count(PointingErrors) > 1:
        raise CorruptionError("pointing errors are given twice; give them once")
    if PointingErrors in kinds and job.images:
        raise CorruptionError("pointing errors act on components, and this sky has images; give "
                              "the image's sources as components")
    names = set(job.sky.names.tolist())
    for one in job.corruptions:
        if isinstance(one, DirectionDependentGains):
            for name in one.sources:
                if name not in names:
                    near = difflib.get_close_matches(name, names, n=3) or sorted(names)[:3]
                    raise CorruptionError(f"gains of the source {name!r}, which is not in the "
                                          f"sky; the nearest are {', '.join(near)}")
        if isinstance(one, AntennaFlags) and max(one.antennas, default=0) >= len(
            job.array.antenna_names):
            raise CorruptionError(f"flags on antenna {max(one.antennas)}; {job.array.name} has "
                                  f"{len(job.array.antenna_names)}, from 0")


def _draw(job: Job, number: int) -> Any:
    """Realisation of a corruption for all times; None for flags, which are decided row by row."""
    one, n_ant = job.corruptions[number], len(job.array.antenna_names)
    if isinstance(one, RandomFlags | AntennaFlags):
        return None
    rng = generator(job, number)
    if isinstance(one, PointingErrors):
        return one.draw(job.times, n_ant, rng)
    return one.draw(job.times, job.frequency, n_ant, rng)


def generator(job: Job, number: int) -> np.random.Generator:
    """Generator of a corruption; the 1 at the end tells it from those of the noise."""
    return np.random.default_rng([job.seed, number, 1])


def _number(value: Any, unit: u.UnitBase) -> Any:
    """A quantity in the given unit; plain numbers are taken to have it."""
    try:
        return value.to_value(unit) if isinstance(value,
                                                  u.Quantity) else np.asarray(value, float)[()]
    except u.UnitConversionError:
        raise SelectionError(f"{value} where something that converts to {unit} is wanted") from None


def _positive(value: Any, what: str) -> float:
    number = float(_number(value, u.s))
    if not 0 < number < np.inf:
        raise SelectionError(f"{what} of {number:g} s; it must be positive")
    return number
