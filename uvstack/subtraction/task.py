"""The task: a model of the sky is taken from the data of a measurement set, or written beside them.

The set is gone through in blocks of consecutive rows. The main process reads where and when the
rows were taken, workers (threads, processes, a cluster) predict the model, and the main process
alone subtracts and writes, in order: workers open no file, and memory is that of a few blocks
whatever the size of the set. After each block a mark on the column says how far it is, once the
values are on the disk. A run that is killed therefore leaves a column that says that it is
unfinished, and the same command goes on from there; with other settings it starts over. What makes
settings the same: data column, selection, primary beam and the *contents* of the model, not its
name.

The whole column is a function of the settings: rows that are not selected hold the data as they
are, or 0 for a model, and so do autocorrelations. Flagged visibilities are treated as all others.
The price is reading the data once and writing them once; the prediction is that of
`uvstack.subtraction.sky_model`, in single precision: 1e-6 of the sum of fluxes.
"""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.units import Quantity
from typing_extensions import Unpack

from uvstack.checks import chunk_size_or, thread_count
from uvstack.chunks import cluster, map_chunks
from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import (
    ColumnError,
    ImageError,
    InvalidVisibilityWarning,
    MeasurementSetError,
    OutputError,
    UvstackWarning,
)
from uvstack.io.dataset import open_sets, sources_of, warn_of_beam
from uvstack.io.image_file import is_casa_image
from uvstack.io.ms import parse_column
from uvstack.io.output import together
from uvstack.io.pointing import pointings_text
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.io.unfinished_column import read_mark
from uvstack.io.write_columns import check_filled, check_writable
from uvstack.options import DataOptions, OverwriteOptions, ReportOptions, RunOptions, takes
from uvstack.records import Datasets, Provenance
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.components import Components
from uvstack.sky.coordinates import centre_of
from uvstack.sky.options import BeamOptions
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.subtraction.column_files import Blocks, Job, Target, visibilities_per_chunk
from uvstack.subtraction.model_files import read_sky_model
from uvstack.subtraction.result import SubtractResult
from uvstack.subtraction.sky_model import ComponentSky, ImageSky, Part, SkyModel

#: Power below which a model counts as outside a primary beam.
_OUTSIDE = 1e-3
#: A frequency of the model further from the data than this fraction is told.
_OTHER_FREQUENCY = 0.2


class SharedOptions(BeamOptions, DataOptions, ReportOptions, OverwriteOptions, RunOptions,
                    total=False):
    """The options that it shares with other functions."""


@takes
def subtract(
    ms: str | Path | Datasets,
    model: str | Path | Components | SkyModel,
    *,
    into: str | None = None,
    model_tt1: str | Path | None = None,
    nu0: float | str | Quantity | None = None,
    predict_only: bool = False,
    in_place: bool = False,
    backup: str | None = None,
    **options: Unpack[SharedOptions],
) -> SubtractResult:
    """What was done to take a model of the sky from the data of a measurement set.

    Parameters
    ----------
    ms : path
        Gets a new column, and a line in its HISTORY. Rows that are not selected keep their data.
    model : path, column name, Components, ComponentSky or ImageSky
        FITS image or cube in Jy/pixel; catalogue (ECSV, CSV or FITS table, as `Components.to_table`
        writes it; fluxes may be negative); or a column such as MODEL_DATA. Stokes I goes into the
        parallel hands.
    into : str, optional
        Column to write; default RESIDUAL_DATA, or MODEL_DATA with `predict_only`.
    model_tt1 : path, optional
        Second Taylor term beside an image.
    nu0 : float, str or Quantity, optional
        Reference frequency (a number is in Hz, "1.4GHz") of the Taylor terms or of a catalogue that
        does not say; default the image's frequency axis.
    predict_only : bool
        Write the model itself.
    in_place : bool
        Change `column` itself; the data as they were go to the column `backup` first, which must
        not exist and is kept.
    backup : str, optional

    Raises
    ------
    UvstackError
        One of its subclasses, in one line, before anything is written wherever that can be known.
    KeyboardInterrupt
        Saying which column is left unfinished, if one is.

    Examples
    --------
    >>> result = uvstack.subtract("survey.ms", "survey-model.fits", into="RESIDUAL")
    """
    asked = {**locals(), **options}
    sources = sources_of(ms)
    if len(sources) != 1:
        raise MeasurementSetError(f"subtract takes one measurement set, and {len(sources)} are "
                                  "given: "
                                  f"{', '.join(map(str, sources[:3]))}; subtract from each by "
                                  "itself")
    job: Job | None = None
    try:
        with together():
            check_asked(SubtractResult, options)
            thread_count(options["threads"])
            (structure,), (selection,) = open_sets(sources, options["field"], options["spw"],
                                                   options["timerange"], options["pointing"])
            check_writable(structure, "a model or residual")
            job = _make_job(structure, model, into, options["column"], model_tt1, nu0,
                            options["primary_beam"], selection, predict_only, in_place, backup)
            warn_of_beam((structure,), (selection,), options["primary_beam"], job.primary_beam)
            job = replace(job, chunk_size=chunk_size_or(options["chunk_size"],
                                                        visibilities_per_chunk(job.model)))
            _check_marks(job)
            _check_model(job)
            beam = job.primary_beam
            provenance = provenance_of(
                asked, ms=[structure.path], model=job.model_name,
                primary_beam=None if beam is None else beam.describe(),
                pointing=None if beam is None else pointings_text((structure,), (selection,)))
            return write_asked(_subtracted(job, options, provenance), options)
    except KeyboardInterrupt:
        left = None if job is None else unfinished(job.structure.path, job.target)
        if left is None:
            raise
        raise KeyboardInterrupt(left) from None


def _subtracted(job: Job, options: SharedOptions, provenance: Provenance) -> SubtractResult:
    """The column written, and what was done."""
    structure = job.structure
    with cluster(options["workers"],
                 options["scheduler"]) as client, Target(job, options["overwrite"]) as target:
        blocks = Blocks(job, target.rows, structure.n_rows, job.rows_per_block)

        def consume(index: int, stokes: list[np.ndarray]) -> None:
            target.write(*blocks.taken(index), stokes)
            if options["progress"] is not None:
                options["progress"](index + 1, len(blocks))

        # An image is degridded by all processors together: one of its grids at a time is memory
        # enough.
        alone = client is None and isinstance(job.model, ImageSky)
        shared = _Prediction(job.model, job.primary_beam,
                             thread_count(options["threads"]) if alone else 1)
        map_chunks(predict_parts, shared, blocks, consume, client,
                   1 if alone else options["threads"])
        target.finish(provenance)
    if target.n_without_uvw:
        warnings.warn(InvalidVisibilityWarning(f"{target.n_without_uvw} selected rows have no "
                                               "(u, v, w); the model was not taken from them"),
                      stacklevel=4)
    return SubtractResult(structure.path, job.target, job.backup,
                          "model" if job.predict_only else "residual", job.model_name,
                          float("nan") if job.model is None else job.model.flux,
                          None if job.model is None else job.model.n_components, structure.n_rows,
                          target.n_selected, target.resumed_from, target.amplitudes,
                          target.n_without_uvw, structure.weight_source, provenance)


def _make_job(structure, model, into, column, model_tt1, nu0, primary_beam, selection, predict_only,
              in_place, backup) -> Job:
    """The job, with all that can be seen to be wrong without looking at rows."""
    source = parse_column(column, structure, selection, unfinished=True)
    target = into or ("MODEL_DATA" if predict_only else "RESIDUAL_DATA")
    if in_place:
        if predict_only or into is not None:
            raise OutputError("in_place changes the data column itself: it goes neither with "
                              "predict_only nor with into")
        if backup is None or source[1] is not None:
            raise OutputError(f"in_place changes {column} itself; wanted one column, and a name "
                              "for the copy of the data as they are: "
                              "--backup DATA_BACKUP (backup='DATA_BACKUP')")
        target, source = source[0], (backup, None)
        if backup == target:
            raise OutputError(f"the backup has the name of the data column {target}; choose "
                              f"another, e.g. {target}_BACKUP")
    elif backup is not None:
        raise OutputError("a backup is made where the data column itself is changed; give "
                          "--in-place (in_place=True), or leave it out")
    elif target in source or target == "DATA":
        raise OutputError(f"{target} holds data, which are not replaced by the way; choose another "
                          "column, or pass --in-place "
                          "with --backup NAME (in_place=True, backup=NAME)")
    sky, model_column, name = _find_model(model, structure, selection, model_tt1, nu0)
    if model_column in (target, source[0]):
        other = "the output" if model_column == target else "the data"
        raise OutputError(f"{model_column} is both the model and {other}; name two columns")
    beam = None if primary_beam is None else read_primary_beam(primary_beam)
    if beam is not None and sky is None:
        raise ImageError(f"the column {model_column} is what the antennas see already; leave the "
                         "primary beam out")
    return Job(structure, selection, source, target, backup, sky, model_column, name, beam,
               predict_only)


def _find_model(model, structure, selection, tt1, nu0) -> tuple[SkyModel | None, str | None, str]:
    """Model, or column that holds it, and its name."""
    if isinstance(model, Components):
        return ComponentSky(model), None, f"{len(model)} components"
    if isinstance(model, ComponentSky | ImageSky):
        return model, None, "components" if isinstance(model, ComponentSky) else "image"
    text = str(model)
    if Path(text).is_dir() and not is_casa_image(text):
        raise ImageError(f"{text}: is a folder and no image of CASA; wanted is a FITS image, an "
                         "image of CASA or a catalogue")
    if Path(text).exists():
        return read_sky_model(text, tt1, nu0), None, Path(text).name
    if text in structure.columns:
        if tt1 is not None or nu0 is not None:
            raise ImageError(f"the column {text} holds visibilities; Taylor terms and nu0 belong "
                             "to an image or a catalogue")
        return None, parse_column(text, structure, selection)[0], text
    folder = Path(text).parent
    names = [str(folder / one.name) if str(folder) != "." else one.name
             for one in folder.glob("*")] if folder.is_dir() else []
    near = difflib.get_close_matches(text, [*structure.columns, *names], n=1)
    raise ImageError(f"{text}: neither a file nor a column of {structure.path}"
                     + (f"; did you mean {near[0]}?" if near
                        else "; wanted a FITS image in Jy/pixel, a catalogue, or a column such as MODEL_DATA"))


def _check_marks(job: Job) -> None:
    """Refuse to read columns that are unfinished, or that lack values."""
    path = job.structure.path
    read = [name for name in (*job.source, job.model_column)
            if name is not None and name != job.backup]
    for name in read:
        if read_mark(path, name) is not None:
            raise ColumnError(f"{path}: column {name} is unfinished: a run that wrote it was "
                              "stopped; run that command again to finish it")
    check_filled(job.structure,
                 [*read, "FLAG"] if job.backup is None else [*read, "FLAG", job.target])


def _check_model(job: Job) -> None:
    """Refuse or tell what is wrong with a model before anything is written."""
    if job.model is None:
        return
    windows = [d.spw.frequency for d in job.structure.used(job.selection)]
    lowest, highest = min(float(f.min()) for f in windows), max(float(f.max()) for f in windows)
    if isinstance(job.model, ImageSky):
        for frequency in windows:
            job.model.shares(frequency)
        given = job.model.nu0 or (float(job.model.frequency[0])
                                  if job.model.frequency is not None and len(job.model.planes) == 1
                                  else None)
        if given is not None and not lowest * (1 - _OTHER_FREQUENCY) <= given <= highest * (
            1 + _OTHER_FREQUENCY):
            warnings.warn(UvstackWarning(f"{job.model_name} holds for {given / 1e9:.6g} GHz, the "
                                         f"data for {lowest / 1e9:.6g} to "
                                         f"{highest / 1e9:.6g} GHz; is it the model of these "
                                         "data?"), stacklevel=4)
    centres = [centre_of(job.structure.fields[i].frame, *job.structure.fields[i].beam_centre)[:2]
               for i in sorted(job.selection.field_ids)]
    dishes = job.structure.dish_diameters[job.structure.dish_diameters > 0]
    null = 1.22 * SPEED_OF_LIGHT / lowest / dishes.min() if dishes.size else np.pi
    seen = False
    for centre in centres:
        l, m, n = job.model.seen_from(*centre)
        if n.size == 0:
            warnings.warn(UvstackWarning(f"{job.model_name} is 0 everywhere; nothing is "
                                         "subtracted"), stacklevel=4)
            return
        if job.primary_beam is None and isinstance(job.model, ComponentSky) and (n <= 0).any():
            job.model.stokes([_nowhere(lowest, centre)])  # says which component it is
        front = n > 0
        if seen or not front.any():
            continue
        if job.primary_beam is None:
            seen = bool((l[front] ** 2 + m[front] ** 2).min() <= np.sin(min(null, np.pi / 2)) ** 2)
        else:
            seen = bool(job.primary_beam(l[front], m[front], np.array([lowest])).max() > _OUTSIDE)
    if not seen:
        warnings.warn(UvstackWarning(f"{job.model_name}: everything in it lies outside the primary "
                                     "beam of every field; is it the model of these data?"),
                      stacklevel=4)


def _nowhere(frequency: float, centre: tuple[float, float]) -> Part:
    """One row of no length."""
    none = np.zeros(1, np.intp)
    return Part(np.zeros((1, 3)), none, none, np.zeros(1), np.array([frequency]), *centre)


@dataclass(frozen=True, eq=False)
class _Prediction:
    """What workers need to know."""

    model: SkyModel | None
    primary_beam: PrimaryBeam | None
    threads: int


def predict_parts(shared: _Prediction, parts: list[Part]) -> list[np.ndarray]:
    """Stokes parameters of each part of a block: the function that dask runs."""
    return [] if shared.model is None or not parts else shared.model.stokes(
        parts, shared.primary_beam, shared.threads)


def unfinished(ms: str | Path, column: str) -> str | None:
    """What to say of a column that a run has left unfinished, in one line.

    None where it has not.
    """
    path = str(ms).rstrip("/")
    mark = read_mark(path, column)
    if mark is None:
        return None
    return (f"column {column} of {path} is unfinished, with {mark.get('rows', 0)} rows written, "
            "and marked so; the same command goes on"
            + (f"; the data as they were are in column {mark['backup']}" if mark.get("backup")
               else ""))
