"""An observation: array, pointings, sky, corruptions and noise in, a measurement set with its truth out.

Times are worked on in blocks (`simulate.block`), on threads, processes or a cluster. Everything
appears whole at the end or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.time import Time

from simulate.arrays import Array
from simulate.block import observe_block
from simulate.gain_tracks import save_truth
from simulate.image_model import ImageModel
from simulate.job import Corruption, Job, make_job
from simulate.lindroos import recipe
from simulate.plot import plot_observation
from simulate.pointings import Pointings
from simulate.survey import read_survey
from uvstack.checks import chunk_size_or
from uvstack.chunks import cluster, map_chunks
from uvstack.constants import CORRELATIONS
from uvstack.io.new_ms import Observation, create_measurement_set
from uvstack.io.output import check_output, json_text, together, written_whole
from uvstack.io.provenance import provenance_of
from uvstack.records import DataDescription, Field, Shown, SpectralWindow
from uvstack.sky.components import Components
from uvstack.sky.primary_beam import PrimaryBeam

#: Visibilities (row × chan × corr) of a block: about 50 MB with what belongs to them.
_VISIBILITIES_PER_BLOCK = 2_000_000


@dataclass(frozen=True, repr=False)
class Simulation(Shown):
    """What `observe` wrote; stands for the path of the set wherever a path is wanted.

    Attributes
    ----------
    ms, truth, provenance : Path
        Measurement set, catalogue (ECSV) and provenance (JSON).
    targets : Path or None
        List of the targets (CSV) for `uvstack.stack`, where the sky has any.
    corruptions : tuple of Path
        Truth (FITS) of each corruption, in their order; `simulate.read_truth` reads it.
    picture : Path
        uv coverage, sky and fluxes (PNG).
    told : tuple of (str, str)
        What was observed, in words: array, pointings, sky, errors.
    """

    ms: Path
    truth: Path
    targets: Path | None
    provenance: Path
    corruptions: tuple[Path, ...]
    picture: Path
    told: tuple[tuple[str, str], ...] = ()

    def __fspath__(self) -> str:
        return os.fspath(self.ms)

    def __str__(self) -> str:
        files = [("set", self.ms), ("truth", self.truth), ("targets", self.targets),
                 ("provenance", self.provenance), ("picture", self.picture),
                 *(("error truth", path) for path in self.corruptions)]
        return "\n".join(f"{what:<12} {text}" for what, text in [*self.told, *files]
                         if text is not None)


@together()
def observe(
    *,
    array: str | Path | Array,
    frequency: Any,
    integration: Any,
    duration: Any,
    out: str | Path,
    sky: Components | None = None,
    images: Sequence[ImageModel] = (),
    pointings: Pointings | tuple[float, float] | None = None,
    width: Any = None,
    start: str | Time | None = None,
    noise: Any = 0.0,
    primary_beam: str | PrimaryBeam = "constant",
    correlations: tuple[str, ...] = ("RR", "LL"),
    corruptions: Sequence[Corruption] = (),
    elevation_limit: Any = 8 * u.deg,
    with_model: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    chunk_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Paths of a new measurement set, its truth, its provenance and a picture.

    Parameters
    ----------
    array : str, path or Array
        As `simulate.arrays.read_array` takes it.
    frequency, width : Quantity or ndarray (chan,)
        Centres and widths of the channels; numbers are Hz. Default width: the spacing of the
        channels.
    integration, duration : Quantity or float
        Numbers are seconds.
    out : path
        The set; everything else stands beside it under names that begin alike.
    sky : Components, optional
    images : sequence of ImageModel, optional
        Seen through the nominal primary beam, and by all antennas alike.
    pointings : Pointings or (ra, dec), optional
        rad, J2000; default one pointing at the mean direction of the components, or at the centre
        of the first image.
    start : str or Time, optional
        UTC of the beginning; default such that the middle is the transit of the first pointing.
    noise : Noise, Quantity or float
        Or the standard deviation of the real and of the imaginary part of a visibility; numbers are
        Jy.
    primary_beam : str or PrimaryBeam
    correlations : tuple of str
    corruptions : sequence of corruptions of `simulate.corruption`
    elevation_limit : Quantity or float
        Integrations below it are left out; numbers are rad.
    with_model : bool
        Write MODEL_DATA: the sky without corruptions and noise.
    seed : int
        Of corruptions and noise.
    overwrite, workers, scheduler, chunk_size, progress
        As in `uvstack.stack`.

    Raises
    ------
    PointingError
        If no integration is above the elevation limit.
    UvstackError
        For anything else that cannot be: one line.
    """
    path = check_output(out, overwrite)
    made = _paths(path, corruptions, sky)
    for beside in (made.truth, made.targets, made.provenance, *made.corruptions, made.picture):
        if beside is not None:
            check_output(beside, overwrite)
    job = make_job(array=array, sky=sky, images=images, frequency=frequency, width=width,
                   integration=integration, duration=duration, start=start, pointings=pointings,
                   noise=noise, primary_beam=primary_beam, correlations=correlations,
                   corruptions=corruptions, elevation_limit=elevation_limit, with_model=with_model,
                   seed=seed)
    check_output(path, overwrite, _n_bytes(job))
    with cluster(workers, scheduler) as client, contextlib.ExitStack() as outputs:
        _write_truth(job, made, lambda name: outputs.enter_context(written_whole(name)))
        _write_set(job, outputs.enter_context(written_whole(path)), client, progress,
                   chunk_size_or(chunk_size, _VISIBILITIES_PER_BLOCK))
    return dataclasses.replace(made, told=_told(job))


def observe_survey(file: str | Path, *, out: str | Path, seed: int | None = None,
                   **options: Any) -> Simulation:
    """What a survey file (TOML) says, observed.

    Parameters
    ----------
    file : path
        As of `simulate.read_survey`.
    out : path
        The set; everything else stands beside it under names that begin alike.
    seed : int, optional
        Of sky, corruptions and noise; default that of the file.
    **options
        `with_model`, and how to run, as of `observe`.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.
    """
    settings = read_survey(file).settings(seed)
    made = observe(out=out, **settings, **options)
    return dataclasses.replace(made, told=(("survey", f"{file}, seed {settings['seed']}"),
                                           *made.told))


def observe_type(number: int, *, out: str | Path, seed: int = 0, scale: float = 1.0,
                 **options: Any) -> Simulation:
    """One of the eleven data sets of Lindroos et al. (2015), observed.

    Parameters
    ----------
    number : int
        1 … 11.
    out : path
        The set; everything else stands beside it under names that begin alike.
    seed : int
        Of sky and noise.
    scale : float
        Part of the sources and of the integrations, with the same depth of the map; above 0, at
        most 1.
    **options
        `with_model`, and how to run, as of `observe`.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.
    """
    chosen = recipe(number, seed, scale)
    made = observe(out=out, seed=seed, **chosen.settings, **options)
    return dataclasses.replace(made, told=((f"type {number}", chosen.studied), *made.told))


def _told(job: Job) -> tuple[tuple[str, str], ...]:
    """What was observed, in words."""
    targets = job.sky.target
    sky = []
    if targets.any():
        sky.append(f"{int(targets.sum())} targets of {job.sky.flux[targets].mean() * 1e6:.4g} µJy "
                   "on average")
    if len(job.sky):
        sky.append(f"{int((~targets).sum())} other sources")
    if job.images:
        sky.append(f"{len(job.images)} image{'s' * (len(job.images) > 1)}")
    return (("array", f"{job.array.name}, {len(job.array.antenna_names)} antennas, "
                      f"{job.frequency.size} channels"),
            ("pointings", str(len(job.pointings))), ("sky", ", ".join(sky)),
            ("errors", ", ".join(type(one).__name__ for one in job.corruptions) or "none"))


def _paths(path: Path, corruptions: Sequence[Corruption], sky: Components | None) -> Simulation:
    def beside(end: str) -> Path:
        return path.with_name(f"{path.stem}-{end}")

    kinds = [re.sub(r"(?<!^)(?=[A-Z])", "-", type(c).__name__).lower() for c in corruptions]
    return Simulation(path, beside("truth.ecsv"),
                      beside("targets.csv") if sky is not None and sky.target.any() else None,
                      beside("provenance.json"),
                      tuple(beside(f"corruption-{i}-{kind}.fits")
                            for i, kind in enumerate(kinds, 1)), beside("overview.png"))


def _n_bytes(job: Job) -> int:
    """What the set takes on the disk: data, flags, and about 200 bytes of a row besides."""
    n_rows = job.baselines[0].size * job.times.size
    return n_rows * (job.frequency.size * len(job.correlations) * (9 + 8 * job.with_model) + 200)


def _settings(job: Job) -> dict[str, Any]:
    corruptions = [{"kind": type(one).__name__} | vars(one) for one in job.corruptions]
    return {"array": job.array.name, "n_antennas": len(job.array.antenna_names),
            "pointings": len(job.pointings), "components": len(job.sky),
            "targets": int(job.sky.target.sum()), "images": [image.name for image in job.images],
            "frequency_hz": job.frequency.tolist(), "width_hz": job.width.tolist(),
            "integration_s": job.integration, "n_times": int(job.times.size),
            "first_time_mjd_s": float(job.times[0]), "noise": dataclasses.asdict(job.noise),
            "primary_beam": job.primary_beam.describe(),
            "correlations": [CORRELATIONS[c] for c in job.correlations], "corruptions": corruptions,
            "with_model": job.with_model}


def _write_truth(job: Job, made: Simulation, opened: Callable[[Path], Path]) -> None:
    """Catalogue, targets, provenance, corruptions and picture."""
    job.sky.to_table().write(opened(made.truth), format="ascii.ecsv")
    if made.targets is not None:
        chosen = job.sky.subset(job.sky.target)
        rows = zip(np.rad2deg(chosen.ra), np.rad2deg(chosen.dec), chosen.flux, strict=True)
        opened(made.targets).write_text("ra,dec,flux\n"
                                        + "".join(f"{ra:.10f},{dec:.10f},{flux:.6e}\n"
                                                  for ra, dec, flux in rows))
    provenance = provenance_of(_settings(job), seed=job.seed)
    opened(made.provenance).write_text(json_text(dataclasses.asdict(provenance)))
    for path, one, tracks in zip(made.corruptions, job.corruptions, job.tracks, strict=True):
        save_truth(opened(path), one, tracks, job.array.antenna_names)
    plot_observation(opened(made.picture), job.array, job.pointings, job.sky, job.times, job.field,
                     job.frequency, job.primary_beam)


def _write_set(job: Job, partial: Path, client: Any,
               progress: Callable[[int, int], None] | None, chunk_size: int) -> None:
    """Write the measurement set block by block."""
    n_baselines = job.baselines[0].size
    per_block = max(chunk_size // (n_baselines * job.frequency.size * len(job.correlations)), 1)
    blocks = [(start, min(start + per_block, job.times.size))
              for start in range(0, job.times.size, per_block)]
    fields = tuple(Field(i, name, "J2000", float(ra), float(dec))
                   for i, (name, ra, dec) in enumerate(zip(job.pointings.names, job.pointings.ra,
                                                           job.pointings.dec, strict=True)))
    description = DataDescription(0, SpectralWindow(0, "spw0", job.frequency, job.width),
                                  job.correlations)
    observation = Observation(job.array.telescope, job.array.antenna_names, job.array.positions,
                              job.array.dish_diameters, fields, (description,),
                              (float(job.times[0]), float(job.times[-1])))
    columns = ("DATA", "MODEL_DATA") if job.with_model else ("DATA",)
    table = create_measurement_set(partial, observation, n_baselines * job.times.size, columns)

    def consume(index: int, columns: dict[str, np.ndarray]) -> None:
        for name, values in columns.items():
            table.write(name, values, blocks[index][0] * n_baselines)
        if progress is not None:
            progress(index + 1, len(blocks))

    try:
        map_chunks(observe_block, job, blocks, consume, client)
    finally:
        table.close()
