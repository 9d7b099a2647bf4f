"""An observation: array, pointings, sky, corruptions and noise in, a measurement set with its truth out.

Times are worked on in blocks (`simulate.block`), on threads, processes or a cluster. Everything
appears whole at the end or not at all.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.time import Time

from simulate.arrays import Array
from simulate.block import observe_block
from simulate.gain_tracks import save_truth
from simulate.image_model import ImageModel
from simulate.job import Corruption, Job, make_job
from simulate.lindroos import recipe
from simulate.pointings import Pointings
from simulate.survey import read_survey
from uvstack.checks import chunk_size_or
from uvstack.chunks import cluster, map_chunks
from uvstack.constants import CORRELATIONS
from uvstack.io.new_ms import Observation, create_measurement_set
from uvstack.io.output import (
    check_output,
    together,
    write_json,
    write_table,
    write_text,
    written_whole,
)
from uvstack.io.provenance import provenance_of
from uvstack.records import DataDescription, Field, Provenance, SpectralWindow, plain
from uvstack.report.files import Saved
from uvstack.sky.components import Components
from uvstack.sky.primary_beam import PrimaryBeam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section

#: Visibilities (row × chan × corr) of a block: about 50 MB with what belongs to them.
_VISIBILITIES_PER_BLOCK = 2_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Simulation(Saved):
    """What `observe` wrote; stands for the path of the set wherever a path is wanted.

    Attributes
    ----------
    files : dict of str to Path
        "ms", "truth" (ECSV), "targets" (CSV for `uvstack.stack`, where the sky has any),
        "provenance" (JSON), "picture" (PNG) and the truth of each corruption (FITS), in their
        order.
    job : Job
        What was observed.
    provenance : Provenance
    """

    REPORT = ("observation.png", "truth.ecsv")

    files: dict[str, Path]
    job: Job
    provenance: Provenance

    def __fspath__(self) -> str:
        return os.fspath(self.ms)

    @property
    def ms(self) -> Path:
        """The measurement set."""
        return self.files["ms"]

    @property
    def truth(self) -> Path:
        """Catalogue of all components."""
        return self.files["truth"]

    @property
    def targets(self) -> Path | None:
        """List of the targets, where the sky has any."""
        return self.files.get("targets")

    @property
    def corruptions(self) -> tuple[Path, ...]:
        """Truth of each corruption, in their order; `simulate.read_truth` reads it."""
        return tuple(path for name, path in self.files.items() if name.startswith("corruption-"))

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them."""
        job = self.job
        target = job.sky.target
        edges = np.concatenate([job.frequency - 0.5 * job.width, job.frequency + 0.5 * job.width])
        return plain({
            "telescope": job.array.telescope, "n_antennas": len(job.array.antenna_names),
            "n_pointings": len(job.pointings), "n_components": len(job.sky),
            "n_targets": int(target.sum()),
            "target_flux_jy": float(job.sky.flux[target].mean()) if target.any() else None,
            "n_images": len(job.images), "n_channels": job.frequency.size,
            "band_hz": [edges.min(), edges.max()], "start": Time(
                job.times[0] / 86400, format="mjd", scale="utc").isot,
            "integration_s": job.integration, "n_times": job.times.size,
            "n_rows": job.baselines[0].size * job.times.size,
            "correlations": [CORRELATIONS[c] for c in job.correlations],
            "primary_beam": job.primary_beam.describe(),
            "corruptions": [type(one).__name__ for one in job.corruptions],
            "files": self.files, "provenance": vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, QTable]:
        """All components."""
        return {"truth": self.job.sky.to_table()}

    def overview(self) -> Section:
        """Array, pointings, band, sky and errors."""
        from simulate.report import overview

        return overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, picture and files."""
        from simulate.report import sections

        return sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """uv coverage, sky and fluxes."""
        from simulate.report import observation_figure

        return observation_figure(self.job)


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
    files = _paths(path, corruptions, sky)
    for beside in files.values():
        check_output(beside, overwrite)
    job = make_job(array=array, sky=sky, images=images, frequency=frequency, width=width,
                   integration=integration, duration=duration, start=start, pointings=pointings,
                   noise=noise, primary_beam=primary_beam, correlations=correlations,
                   corruptions=corruptions, elevation_limit=elevation_limit, with_model=with_model,
                   seed=seed)
    check_output(path, overwrite, _n_bytes(job))
    made = Simulation(files, job, provenance_of(_settings(job), seed=job.seed))
    _write_truth(made)
    with cluster(workers, scheduler) as client, written_whole(path) as partial:
        _write_set(job, partial, client, progress,
                   chunk_size_or(chunk_size, _VISIBILITIES_PER_BLOCK))
    return made


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
    return observe(out=out, **read_survey(file).settings(seed), **options)


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
    return observe(out=out, seed=seed, **recipe(number, seed, scale).settings, **options)


def _paths(path: Path, corruptions: Sequence[Corruption],
           sky: Components | None) -> dict[str, Path]:
    def beside(end: str) -> Path:
        return path.with_name(f"{path.stem}-{end}")

    kinds = [re.sub(r"(?<!^)(?=[A-Z])", "-", type(c).__name__).lower() for c in corruptions]
    targets = {"targets": beside("targets.csv")} if sky is not None and sky.target.any() else {}
    return {"ms": path, "truth": beside("truth.ecsv"), **targets,
            "provenance": beside("provenance.json"), "picture": beside("overview.png"),
            **{f"corruption-{i}-{kind}": beside(f"corruption-{i}-{kind}.fits")
               for i, kind in enumerate(kinds, 1)}}


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


def _write_truth(made: Simulation) -> None:
    """Catalogue, targets, provenance, corruptions and picture."""
    job = made.job
    write_table(made.truth, made.tables()["truth"])
    if made.targets is not None:
        chosen = job.sky.subset(job.sky.target)
        rows = zip(np.rad2deg(chosen.ra), np.rad2deg(chosen.dec), chosen.flux, strict=True)
        write_text(made.targets, "ra,dec,flux\n" + "".join(f"{ra:.10f},{dec:.10f},{flux:.6e}\n"
                                                           for ra, dec, flux in rows))
    write_json(made.files["provenance"], vars(made.provenance))
    for path, one, tracks in zip(made.corruptions, job.corruptions, job.tracks, strict=True):
        with written_whole(path) as partial:
            save_truth(partial, one, tracks, job.array.antenna_names)
    made.plot(made.files["picture"])


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
