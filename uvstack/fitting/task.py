"""The task: measurement sets in, parameters with errors out.

Data are read in chunks of rows. What a fit needs of them (one Stokes parameter, averaged) is kept
between passes where all of it fits `memory`; else each pass reads the chunks again, on threads or a
cluster, and memory is bounded by a few chunks. Sums of chunks are added in the order of the chunks
either way, so the result is the same to the last bit. A sample of the rows is fitted first, so that
few passes go over everything.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from astropy.coordinates import Angle, SkyCoord
from astropy.time import Time
from astropy.units import Quantity
from typing_extensions import Unpack

from uvstack.checks import chunk_size_or, finite_number, thread_count
from uvstack.chunks import cluster, map_chunks
from uvstack.errors import InvalidVisibilityWarning, NoDataError, SelectionError
from uvstack.fitting.data.preparation import FitJob, Piece, prepare, written
from uvstack.fitting.data.survey import SAMPLE, Survey, survey_pieces
from uvstack.fitting.estimation import estimate, sum_normal
from uvstack.fitting.model.model import Model, make_model
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.model.variables import (
    Variables,
    default_variables,
    fixed_components,
    with_proper_motion,
)
from uvstack.fitting.options import (
    Request,
    antenna_numbers,
    check_nu0,
    check_phase_centre,
    directions_of,
    gains_by_number,
    with_stokes,
)
from uvstack.fitting.result import FitResult, FitSpectrum
from uvstack.fitting.solve.visibilities import check_start
from uvstack.io.dataset import chunks_of, open_sets, warn_of_beam
from uvstack.io.ms import parse_column, read_block, read_rows
from uvstack.io.output import finish_with_outputs, together
from uvstack.io.pointing import pointings_text
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.io.selection import parse_distance, parse_uv_range
from uvstack.io.stacked_ms import append_history
from uvstack.io.write_columns import check_column, check_writable, column_writer, is_remains
from uvstack.options import (
    DataOptions,
    OverwriteOptions,
    ReportOptions,
    RunOptions,
    UVRangeOptions,
    takes,
)
from uvstack.records import MeasurementSets, Provenance, Structure
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.frequency import parse_frequency
from uvstack.sky.options import BeamOptions
from uvstack.uv.stokes import parse_fit_stokes, wanted_correlations

#: Visibilities (row × chan × corr) that a chunk holds: about 100 MB with all that belongs to them.
VISIBILITIES_PER_CHUNK = 2_000_000


class SharedOptions(BeamOptions, UVRangeOptions, DataOptions, ReportOptions, OverwriteOptions,
                    RunOptions, total=False):
    """The options that it shares with other functions."""


@together()
@takes
def fit(
    ms: MeasurementSets,
    *,
    model: str | Sequence[str] = "gaussian",
    circular: bool = True,
    var: str | Sequence[str] | None = None,
    p_ini: Sequence[float] | None = None,
    bounds: Sequence[Sequence[float | None] | None] | None = None,
    offset: bool = False,
    nu0: float | str | Quantity | None = None,
    stokes: str = "I",
    chanwidth: int = 1,
    timewidth: int = 1,
    per_channel: bool = False,
    phase_centre: str | tuple[float, float] | SkyCoord | None = None,
    fixed: str | Sequence[str] | None = None,
    fixedvar: str | Sequence[str] | None = None,
    scalefix: str | None = None,
    amp_gains: Mapping[int | str, str] | None = None,
    phase_gains: Mapping[int | str, str] | None = None,
    bandwidth_smearing: bool = False,
    time_smearing: bool = False,
    proper_motion: Sequence[Sequence[float]] | None = None,
    uvtaper: str | float | None = None,
    weight_power: float = 1.0,
    only_flux: bool = False,
    scale_errors: bool = True,
    bootstrap: int = 0,
    bayes: int = 0,
    seed: int | None = None,
    write: Literal["model", "residual", "calibrated"] | None = None,
    into: str | None = None,
    overwrite_column: bool = False,
    method: Literal["auto", "exact", "binned"] = "auto",
    estimator: Literal["jeffreys", "likelihood"] = "jeffreys",
    tolerance: float = 1e-3,
    most_passes: int = 100,
    memory: float = 1e9,
    **options: Unpack[SharedOptions],
) -> FitResult | FitSpectrum:
    """Result of fitting a model to the visibilities of measurement sets.

    Parameters
    ----------
    ms : path, glob, `uvstack.Datasets` or sequence of these
        Measurement sets; several are fitted together. Nothing in them is changed unless `write` is
        given.
    model : str or sequence of str
        Shape of each component: see `uvstack.fitting.model.shapes`.
    circular : bool
        Without `var`: ratio 1 and no position angle.
    var : str or sequence of str, optional
        Variables of each component in p[0], p[1] …, nu, nu0 and t: see
        `uvstack.fitting.model.expressions`. RA and Dec are in arcsec to the east and north of the
        phase centre (direction cosines over 1″), flux in Jy, sizes in arcsec, PA in degrees.
        Default: flux, size and, where not circular, ratio and position angle of each component at
        the phase centre.
    p_ini : sequence of float, optional
        Starting values; wanted with `var`. Default: from the data.
    bounds : sequence, optional
        (low, high) or None of each parameter; either may be None.
    offset : bool
        Without `var`: RA and Dec are fitted too.
    nu0 : float, str or Quantity, optional
        Frequency (a number is in Hz, "1.4GHz") of expressions, and at which flux and size are told;
        default the first channel, per channel that channel.
    stokes : str
        I, Q, U, V, PI or a correlation. I wants both parallel hands, PI takes what there is: see
        `uvstack.uv.stokes`.
    chanwidth, timewidth : int
        Channels and integrations that are averaged before the fit: see
        `uvstack.fitting.data.averaging`.
    per_channel : bool
        A fit for each (averaged) channel.
    phase_centre : str, (float, float) or SkyCoord, optional
        To which data are turned and from which RA and Dec count: "J2000 10h12m13s -30d00m01s", or
        RA and Dec in rad, J2000; default the first field. Several fields are brought to it.
    fixed : str or sequence of str, optional
        What belongs to the model and is not fitted: a column such as "MODEL_DATA", or shapes, or
        both.
    fixedvar : str or sequence of str, optional
        Numbers of each of these shapes, written as in `var` without parameters.
    scalefix : str, optional
        Expression by which all that is fixed is multiplied, e.g. "p[3]".
    amp_gains, phase_gains : mapping, optional
        Expressions of |g| and of the phase of g (rad) of antennas, by name or number (of the first
        set); V_pq is multiplied by g_p g_q*. t is in seconds since the first of the data.
    bandwidth_smearing, time_smearing : bool
        The model is averaged over the width of the (averaged) channels, or integrations.
    proper_motion : sequence of (float, float), optional
        arcsec a year to the east and north of each component, from the first of the data on.
    uvtaper : str or float, optional
        Weights are multiplied by exp(−q²/(2 uvtaper²)), q in metres. Errors allow for it.
    weight_power : float
        Weights are taken to this power. Errors allow for it.
    only_flux : bool
        Only parameters of fluxes are fitted, the others stay at `p_ini`. With fluxes that are
        linear in them one exact step.
    scale_errors : bool
        Errors are multiplied by the square root of the reduced χ², so that they follow from the
        scatter. The default, since weights of most sets, and of all stacked ones, are only
        relative. False where weights are 1/σ² in Jy⁻².
    bootstrap : int
        Resamplings of blocks of time: see `uvstack.fitting.data.inspection`.
    bayes : int
        Steps of emcee's walkers through the posterior, e.g. 2000; 0 for none: see
        `uvstack.fitting.solve.bayes`.
    seed : int, optional
        Of both.
    write : {"model", "residual", "calibrated"}, optional
        What is written to a column of the sets, for all selected rows in full resolution. The model
        includes what is fixed and the gains, as it is compared with the data; calibrated data are
        divided by the gains.
    into : str, optional
        The column; default MODEL_DATA, RESIDUAL_DATA or CALIBRATED_DATA. Made where it does not
        exist.
    overwrite_column : bool
        Whether `into` may exist, and what it holds be lost; DATA and the column that is fitted are
        no exceptions.
    method : {"auto", "exact", "binned"}
        "binned" sums centred circular models in bins of uv distance; "auto" where that is as good
        as exact.
    estimator : {"jeffreys", "likelihood"}
        Sizes at the maximum of likelihood × √F, which at low signal to noise
        is nearer to the truth, or of the likelihood: see `uvstack.fitting.solve.penalty`.
    tolerance : float
        Of parameters, in units of their errors.
    most_passes : int
    memory : float
        Bytes of visibilities that may be kept between passes.

    Returns
    -------
    FitResult, or FitSpectrum, a list of one for each channel in order of frequency

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> result = uvstack.fit("stacked.ms", model="gaussian", uvmin="5km")
    """
    nu0 = None if nu0 is None else parse_frequency(nu0, "nu0", lowest=0.0)
    asked = {**locals(), **options}
    check_asked(FitResult, options)
    request = Request(**{name: asked[name] for name in Request.names()})
    request.check()
    thread_count(options["threads"])
    finite_number("memory", memory, 0, unit="bytes")
    data = _Data(_job(ms, request), memory, options["threads"], options["progress"],
                 chunk_size_or(options["chunk_size"], VISIBILITIES_PER_CHUNK))
    variables, made = _model(request, data.job)
    data.job = replace(data.job, fixed_model=_fixed_model(request, data.job.structures, made.nu0))
    if made.depends_on_time or timewidth > 1:
        data.job = replace(data.job, reference_time=data.first_time())
    if write is not None:
        for structure, read in zip(data.job.structures, data.job.columns, strict=True):
            check_writable(structure, f"column {request.target}")
            request.check_target(structure, read, is_remains(structure, request.target))
            check_column(structure, request.target, overwrite_column, read)
    with cluster(options["workers"], options["scheduler"]) as client:
        data.client = client
        provenance = _provenance(data.job, asked)
        if per_channel:
            return write_asked(FitSpectrum(replace(one, provenance=provenance) for one
                                           in _fit_channels(request, variables, made, data)),
                               options)
        result = estimate(request, variables, made, data, data.survey())
    if write is not None:
        write_to_column(data.job, data.chunks, result, request, provenance, options["threads"])
    return write_asked(replace(result, provenance=provenance, stokes=data.job.stokes,
                               band=_band(data.job)), options)


def fit_stacked(ms: MeasurementSets, model: str, options: Mapping[str, Any],
                estimator: Literal["jeffreys", "likelihood"] = "jeffreys") -> FitResult:
    """Fit of one shape to a stacked set, within the uv range and on the machine of the stack's options."""
    given = {name: options[name] for name in ("uvmin", "uvmax", "workers", "scheduler", "threads")}
    # The parallel hands as the stack itself takes them; its weights are only relative, so errors
    # come from the scatter.
    found = fit(ms, model=model, stokes="PI", estimator=estimator, **given)
    assert isinstance(found, FitResult)
    return found


def _job(ms: MeasurementSets, request: Request) -> FitJob:
    """Everything that is checked and known before data are read."""
    structures, selections = open_sets(ms, request.field, request.spw, request.timerange,
                                       request.pointing)
    selections = tuple(with_stokes(*one, request.stokes)
                       for one in zip(structures, selections, strict=True))
    if not any(selection.data_description_ids for selection in selections):
        wanted = wanted_correlations(parse_fit_stokes(request.stokes))
        raise SelectionError(f"stokes={request.stokes} wants {wanted}, and no selected spectral "
                             f"window of {', '.join(s.path for s in structures)} has them; "
                             "`uvstack info` lists the correlations")
    directions, pointings, reference = directions_of(structures, selections, request.phase_centre)
    fixed_column = request.fixed_column(structures)
    if request.phase_centre is not None:
        check_phase_centre(structures, selections, directions, reference)
    taper, unit = parse_distance("uvtaper", request.uvtaper)
    if unit != "m":
        raise SelectionError(f"uvtaper={request.uvtaper!r} is in wavelengths; wanted a length, "
                             "e.g. 5km")
    beam = None if request.primary_beam is None else read_primary_beam(request.primary_beam)
    warn_of_beam(structures, selections, request.primary_beam, beam)
    sets = list(zip(structures, selections, strict=True))
    return FitJob(structures, selections, tuple(parse_column(request.column, *one) for one in sets),
                  None if fixed_column is None else tuple(parse_column(fixed_column, *one)[0]
                                                          for one in sets), directions, pointings,
                  reference, antenna_numbers(structures)[0], parse_fit_stokes(request.stokes),
                  parse_uv_range(request.uvmin, request.uvmax), request.chanwidth,
                  request.timewidth, taper, request.weight_power, request.bandwidth_smearing,
                  request.time_smearing, beam)


def _model(request: Request, job: FitJob) -> tuple[Variables, Model]:
    """Variables and the model of them, read and checked."""
    models = [request.model] if isinstance(request.model, str) else list(request.model)
    if request.var is None:
        variables = default_variables(models, request.circular, request.offset)
    else:
        variables = Variables(tuple([request.var] if isinstance(request.var, str) else request.var))
    texts = variables.var if request.proper_motion is None else with_proper_motion(
        variables.var, request.proper_motion)
    nu0 = request.nu0
    if nu0 is None:
        used = [(s, selection) for s, selection in zip(job.structures, job.selections, strict=True)
                if selection.data_description_ids]
        structure, selection = used[0]
        nu0 = float(structure.data_descriptions[min(selection.data_description_ids)].spw.frequency[0])
    else:
        check_nu0(nu0, *_band(job))
    names = antenna_numbers(job.structures)[1]
    made = make_model(models, texts, nu0, scale=request.scalefix, names=variables.names,
                      amplitude_gains=gains_by_number("amp_gains", request.amp_gains, names),
                      phase_gains=gains_by_number("phase_gains", request.phase_gains, names))
    if request.p_ini is not None:
        check_start(made, request.p_ini, request.bounds)
    return variables, made


def _band(job: FitJob) -> tuple[float, float]:
    """Lowest and highest frequency of the selected windows, Hz, to the edges of their channels."""
    windows = [structure.data_descriptions[d].spw
               for structure, selection in zip(job.structures, job.selections, strict=True)
               for d in selection.data_description_ids]
    return (min(float((w.frequency - np.abs(w.width) / 2).min()) for w in windows),
            max(float((w.frequency + np.abs(w.width) / 2).max()) for w in windows))


def _channel_band(job: FitJob, nominal: float) -> tuple[float, float]:
    """Lowest and highest frequency of the (averaged) channels with a nominal frequency, Hz."""
    low, high = [], []
    for structure, selection in zip(job.structures, job.selections, strict=True):
        for window in (structure.data_descriptions[d].spw for d in selection.data_description_ids):
            for first in range(0, window.frequency.size, job.chanwidth):
                nu, half = (a[first : first + job.chanwidth]
                            for a in (window.frequency, np.abs(window.width) / 2))
                if abs(nu.mean() - nominal) < 1e-6 * half[0]:
                    low.append(float((nu - half).min()))
                    high.append(float((nu + half).max()))
    return (min(low), max(high)) if low else (nominal, nominal)


def _fixed_model(request: Request, structures: Sequence[Structure], nu0: float) -> Model | None:
    """Fixed components, or None."""
    shapes, numbers = request.fixed_shapes(structures)
    return fixed_components(shapes, numbers, nu0) if shapes else None


def _provenance(job: FitJob, asked: dict[str, Any]) -> Provenance:
    more: dict[str, Any] = {"phase_centre": _readable(job), "phase_centre_rad": list(job.reference)}
    if job.reference_time:
        more |= {"reference_time": Time(job.reference_time / 86400.0, format="mjd",
                                        scale="utc").isot + " UTC",
                 "reference_time_mjd_s": job.reference_time}
    if job.primary_beam is not None:
        more |= {"primary_beam": job.primary_beam.describe(),
                 "pointing": pointings_text(job.structures, job.selections)}
    return provenance_of(asked, ms=[s.path for s in job.structures], seed=asked["seed"], **more)


def _readable(job: FitJob) -> str:
    """The phase centre as "J2000 10:00:00.0000 +30:00:00.000"."""
    first = next(iter(job.directions))
    frame = next(field.frame for field in job.structures[first[0]].fields if field.id == first[1])
    longitude, latitude = (Angle(value, "rad") for value in job.reference)
    hours = "deg" if frame.upper() == "GALACTIC" else "hourangle"
    return (f"{frame} "
            f"{longitude.wrap_at('360d').to_string(unit=hours, sep=':', precision=4, pad=True)} "
            f"{latitude.to_string(unit='deg', sep=':', precision=3, pad=True, alwayssign=True)}")


class _Data:
    """The data as chunks, kept or read in each pass."""

    def __init__(self, job: FitJob, memory: float, threads: int | None,
                 progress: Callable[[int, int], None] | None, chunk_size: int):
        self.job, self.memory, self.threads, self.progress = job, memory, threads, progress
        self.client: Any = None
        self.chunks = chunks_of(job.structures, job.selections, chunk_size)
        self.kept: list[list[Piece]] | None = None

    @property
    def n_visibilities(self) -> int:
        """Rows times averaged channels, at most."""
        return sum(block.n * self._channels(i) for i, block in self.chunks)

    @property
    def n_bytes(self) -> int:
        """Memory that all prepared data take, at most."""
        more = 16 * (self.job.fixed_columns is not None or self.job.fixed_model is not None)
        return self.n_visibilities * (16 + more) + 100 * sum(block.n for _, block in self.chunks)

    def _channels(self, set_index: int) -> int:
        structure, selection = self.job.structures[set_index], self.job.selections[set_index]
        return max(-(-structure.data_descriptions[d].spw.frequency.size // self.job.chanwidth)
                   for d in selection.data_description_ids)

    def first_time(self) -> float:
        """Earliest time of the selected rows, MJD s."""
        return min(float(read_rows(self.job.structures[i], "TIME",
                                   np.arange(block.start, block.stop)).min())
                   for i, block in self.chunks)

    def run(self, function: Callable, shared: Any, consume: Callable[[int, Any], None]) -> None:
        """Call function(shared, pieces of a chunk) for each chunk and consume(index, result) in order."""
        if self.kept is not None and len(self.kept) == 1:
            consume(0, function(shared, self.kept[0]))  # dask would take longer than small data
            return
        if self.kept is not None:
            map_chunks(_on_pieces, _Pass(function, shared, self.job), self.kept, consume, None,
                       self.threads)
            return

        def consumed(index: int, found: Any) -> None:
            consume(index, found)
            if self.progress is not None:
                self.progress(index + 1, len(self.chunks))

        map_chunks(_on_chunk, _Pass(function, shared, self.job), self.chunks, consumed, self.client,
                   self.threads)

    def passes(self, model: Model) -> Callable[[np.ndarray], NormalEquations]:
        """Normal equations of all data as a function of the parameters."""
        def normal(p: np.ndarray) -> NormalEquations:
            totals: list[NormalEquations] = []

            def add(_: int, found: NormalEquations | None) -> None:
                if found is not None:
                    totals[:] = [totals[0] + found] if totals else [found]

            self.run(sum_normal, (model, p), add)
            return totals[0]

        return normal

    def survey(self) -> Survey:
        """Read everything once; data that fit the memory are kept."""
        survey = Survey()
        keep = self.n_bytes <= self.memory
        share = self.n_visibilities / SAMPLE

        def add(index: int, found: Survey) -> None:
            survey.add(found)
            if self.progress is not None:
                self.progress(index + 1, len(self.chunks))

        numbered = [(i, *chunk) for i, chunk in enumerate(self.chunks)]
        map_chunks(_survey_chunk, (self.job, share if share >= 4 else 0.0, keep), numbered, add,
                   self.client, self.threads)
        if keep:
            self.kept = survey.pieces
        _check_any(survey, self.job)
        return survey


    def read_channels(self, nominal: tuple[float, ...]) -> list[list[Piece]]:
        """All data of some channels, by their nominal frequencies."""
        found: list[list[Piece]] = []
        job = replace(self.job, only=nominal)
        map_chunks(_pieces_of, job, self.chunks, lambda _, pieces: found.append(pieces),
                   self.client, self.threads)
        return found


def _check_any(survey: Survey, job: FitJob) -> None:
    if survey.n_not_finite:
        warnings.warn(InvalidVisibilityWarning(
            f"{survey.n_not_finite} {InvalidVisibilityWarning.what}"), stacklevel=7)
    if not survey.n_visibilities:
        where = "" if str(job.uv_range) == "all" else f" within the uv range {job.uv_range}"
        raise NoDataError(f"no unflagged visibility of Stokes {job.stokes} has a weight{where}; "
                          "look at the data with `uvstack info`")


def read_pieces(job: FitJob, chunk: tuple[int, Any]) -> tuple[list[Piece], int]:
    """Prepared visibilities of one block of rows, and how many unflagged ones were not finite."""
    set_index, block = chunk
    structure, selection = job.structures[set_index], job.selections[set_index]
    models = None if job.fixed_columns is None else read_block(structure, selection, block,
                                                               (job.fixed_columns[set_index], None))
    pieces, not_finite = [], 0
    for partition in read_block(structure, selection, block, job.columns[set_index]):
        fixed = None if models is None else next(models).vis
        found, bad = prepare(job, set_index, partition, fixed,
                             interval_of(job, structure, partition.rows))
        pieces += found
        not_finite += bad
    return pieces, not_finite


def interval_of(job: FitJob, structure: Structure, rows: np.ndarray) -> np.ndarray:
    """Length of the integrations of rows, s; 0 where the fit does not ask."""
    if (job.timewidth > 1 or job.time_smearing) and "INTERVAL" in structure.columns:
        return read_rows(structure, "INTERVAL", rows)
    return np.zeros(rows.size)


@dataclass(frozen=True, eq=False)
class _Pass:
    """What is done with the pieces of each chunk.

    No tuple: dask would take one that begins with a function for a task.
    """

    function: Callable
    argument: Any
    job: FitJob


def _on_pieces(step: _Pass, pieces: list[Piece]) -> Any:
    return step.function(step.argument, pieces)


def _on_chunk(step: _Pass, chunk: tuple[int, Any]) -> Any:
    return step.function(step.argument, read_pieces(step.job, chunk)[0])


def _survey_chunk(shared: tuple[FitJob, float, bool], numbered: tuple[int, int, Any]) -> Survey:
    job, share, keep = shared
    pieces, not_finite = read_pieces(job, numbered[1:])
    return survey_pieces(pieces, not_finite, share, keep, numbered[0])


def _fit_channels(request: Request, variables: Variables, model: Model,
                  data: _Data) -> list[FitResult]:
    """A fit for each channel: as many channels as fit the memory are read together."""
    survey = data.survey()
    n_groups = 1 if data.kept is not None else min(int(np.ceil(data.n_bytes
                                                               / max(data.memory, 1.0))),
                                                   survey.nominal.size)
    results = []
    for group in np.array_split(survey.nominal, n_groups):
        chunks = data.kept
        if chunks is None:
            chunks = data.read_channels(tuple(float(nu) for nu in group))
        for nominal in group:
            one = copy.copy(data)
            one.kept = [[p.channels(p.nominal == nominal) for p in pieces
                         if (p.nominal == nominal).any()] for pieces in chunks]
            there = model if request.nu0 is not None else replace(model, nu0=float(nominal))
            of_channel = Survey()
            for i, pieces in enumerate(one.kept):
                of_channel.add(survey_pieces(pieces, 0, 0.0, False, i))
            if of_channel.n_visibilities:
                found = estimate(request, variables, there, one, of_channel)
                results.append(replace(found, stokes=data.job.stokes,
                                       band=_channel_band(data.job, float(nominal))))
    return results


def _pieces_of(job: FitJob, chunk: tuple[int, Any]) -> list[Piece]:
    return read_pieces(job, chunk)[0]


def write_to_column(job: FitJob, chunks: list[tuple[int, Any]], result: FitResult, request: Request,
                    provenance: Provenance, threads: int | None = None) -> None:
    """Write model, residual or calibrated data of all selected rows to a column of each set, in full resolution.

    Threads of this process read and write, whatever made the fit: casacore's tables stand no second
    process that writes.
    """
    assert request.write is not None
    for i, structure in enumerate(job.structures):
        some = [chunk for chunk in chunks if chunk[0] == i]
        source = None if request.write == "model" else job.columns[i]
        with column_writer(structure.path, request.target, job.columns[i][0], source,
                           request.overwrite_column) as write:

            def consume(_: int, found: list[tuple[np.ndarray, np.ndarray]],
                        write: Callable = write) -> None:
                for rows, values in found:
                    write(rows, values)

            map_chunks(_written_chunk, (job, result.model, result.parameters, request.write), some,
                       consume, None, threads)
        said = replace(provenance, command=f"{provenance.command} ({request.write} written to {request.target})")
        finish_with_outputs(structure.path, request.target,
                            functools.partial(append_history, structure.path, said))


def _written_chunk(shared: tuple[FitJob, Model, np.ndarray, str],
                   chunk: tuple[int, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers and values of each partition of a chunk."""
    job, model, p, what = shared
    set_index, block = chunk
    structure, selection = job.structures[set_index], job.selections[set_index]
    models = None if job.fixed_columns is None else read_block(
        structure, selection, block, (job.fixed_columns[set_index], None), True)
    found = []
    for partition in read_block(structure, selection, block, job.columns[set_index],
                                as_stored=True):
        fixed = None if models is None else next(models).vis
        interval = interval_of(job, structure, partition.rows)
        found.append((partition.rows,
                      written(job, set_index, partition, fixed, interval, model, p, what)))
    return found
