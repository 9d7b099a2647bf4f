"""The task: paths in, chunks through, results out."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from typing_extensions import Unpack

from uvstack.checks import check_resamplings, check_seed, chunk_size_or, finite_number, thread_count
from uvstack.chunks import cluster, map_chunks
from uvstack.errors import (
    FewPositionsWarning,
    InvalidVisibilityWarning,
    NoDataError,
    PositionsError,
    SelectionError,
)
from uvstack.io.dataset import chunks_of, default_cell, open_sets, warn_of_beam
from uvstack.io.image_file import read_image
from uvstack.io.ms import parse_column, read_block, read_rows
from uvstack.io.ms_columns import PASSED_ON
from uvstack.io.output import check_output, together, written_whole
from uvstack.io.pointing import pointings_text
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.io.selection import parse_uv_range
from uvstack.io.stacked_ms import StackedMS, append_history
from uvstack.io.tables import read_positions
from uvstack.options import takes
from uvstack.pixels.noise import interpolated, noise_around
from uvstack.records import MeasurementSets, Structure
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import to_frame
from uvstack.sky.position_weights import PositionWeights, check_listed, check_weights, parse_weights
from uvstack.sky.positions import Positions
from uvstack.sky.primary_beam import Constant
from uvstack.stacking.by_position import (
    FEW,
    PositionSums,
    bootstrap_fluxes,
    robust_fluxes,
)
from uvstack.stacking.options import StackOptions
from uvstack.stacking.plan import StackJob, find_pointings, pointing_plan, subsets_of
from uvstack.stacking.result import StackResult
from uvstack.stacking.stamp import check_stamp, normalised, stamp_images
from uvstack.stacking.sums import PositionTotals, StackSums, W, mean_and_error
from uvstack.stacking.uv_stack import stack_partition
from uvstack.uv.weights import row_weight

logger = logging.getLogger(__name__)

#: Visibilities (row × chan × corr × stacks) that a chunk holds: about 100 MB with all that belongs
#: to them.
VISIBILITIES_PER_CHUNK = 2_000_000
#: Weights of a list below this would underflow in float32, where they are multiplied by those of
#: the visibilities.
_SMALLEST_WEIGHT = 1e-25
#: Rad, a mas: facets below it are only slips.
_SMALLEST_FACET = np.pi / 180 / 3600e3
#: Positions from which chunks grow, so that the transforms of the form on a grid pay; up to 700 MB
#: a chunk.
_MANY_POSITIONS, _LARGER = 5_000, 6


@together()
@takes
def stack(ms: MeasurementSets, positions: str | Path | SkyCoord | Positions | Any,
          **options: Unpack[StackOptions]) -> StackResult:
    """Stack of the visibilities at many positions (Lindroos et al. 2015, section 3.3).

    Parameters
    ----------
    ms : path, glob, `uvstack.Datasets` or sequence of these
        Measurement sets; several are stacked as one. Opened for reading only.
    positions : path, SkyCoord, table or Positions
        See `uvstack.io.tables.read_positions`.

    Returns
    -------
    StackResult

    Raises
    ------
    UvstackError
        One of its subclasses, in one line: bad input, no data, nothing to stack, output not
        writable.

    Examples
    --------
    >>> result = uvstack.stack("survey.ms", "positions.csv", primary_beam="vla", uvmin="5km", out="stacked.ms")
    """
    uv_range = parse_uv_range(options["uvmin"], options["uvmax"])
    terms = parse_weights(options["weights"])
    _check_numbers(options["pb_cutoff"], options["bootstrap"], options["facet_size"])
    check_seed(options["seed"])
    check_stamp(options["stamp_size"], options["stamp_cell"])
    thread_count(options["threads"])
    if options["group_by"] is not None and options["reproject"]:
        raise SelectionError("group_by and reproject cannot be combined: stack each group's list by itself with reproject")
    structures, selections = open_sets(ms, options["field"], options["spw"], options["timerange"], options["pointing"])
    out = options["out"]
    if out is not None:
        # Before the slow part; the size, and the names of groups, are checked once they are known.
        files_read = [str(path) for path in (positions, options["noise_image"]) if isinstance(path, str | Path)]
        check_output(out, options["overwrite"], inputs=(*(s.path for s in structures), *files_read))
    sources = read_positions(positions, columns=options["columns"], frame=options["frame"], unit=options["unit"])
    check_listed(terms, sources)
    if sources.weight is not None and "list" in terms and sources.weight.max() < _SMALLEST_WEIGHT:
        raise PositionsError(f"{sources.source}: the largest weight is {sources.weight.max():.3g}, too small for the float32 weights of a "
                             "measurement set; multiply all by one number, only their ratios matter")
    beam = read_primary_beam(options["primary_beam"])
    check_weights(terms, not isinstance(beam, Constant))
    warn_of_beam(structures, selections, options["primary_beam"], beam)
    noise, corrected = _read_noise(terms, options["noise_image"], options["noise_kind"] or "corrected", sources)
    subset, groups, facets = subsets_of(
        sources, options["group_by"], options["facet_size"] if options["reproject"] else None)
    n_subsets = len(facets) if facets is not None else len(groups) or 1
    products = [list(range(n_subsets))] + [[i] for i in range(len(groups))]
    job = StackJob(
        structures=structures, selections=selections,
        columns=tuple(parse_column(options["column"], *one) for one in zip(structures, selections, strict=True)),
        positions=sources, primary_beam=beam, pb_cutoff=options["pb_cutoff"],
        weights=PositionWeights(terms, noise, corrected), subset=subset, products=products, uv_range=uv_range, facets=facets,
        by_position=bool(options["bootstrap"]) or options["by_position"],
        rows=True, weight_spectrum=any(s.weight_source == "WEIGHT_SPECTRUM" for s in structures))
    job, seen, fields = find_pointings(job)
    chunks = chunks_of(structures, selections, visibilities_per_chunk(len(job.positions), options["chunk_size"]), max(job.n_subsets, 1) - 1)
    cell = options["stamp_cell"] or default_cell(structures, selections)
    if out is None:
        job = replace(job, stamp=(options["stamp_size"], cell))
    provenance = provenance_of(
        options, ms=[s.path for s in structures], positions=sources.source, seed=options["seed"],
        primary_beam=beam.describe(), pointing=pointings_text(structures, selections))
    with cluster(options["workers"], options["scheduler"]) as client, contextlib.ExitStack() as files:
        names = ["stack", *(f"{options['group_by']} = {g}" for g in groups)]
        outputs = _open_outputs(files, job, chunks, out, options["overwrite"], ["", *groups], fields)
        totals = _Totals(job, outputs, len(chunks), options["progress"])
        map_chunks(stack_chunk, job, chunks, totals.add, client, options["threads"])
        _check_any_data(totals.sums[0], uv_range)
        for output in outputs:
            output.close()
            append_history(output.path, provenance)
    if totals.n_not_finite:
        warnings.warn(InvalidVisibilityWarning(
            f"{totals.n_not_finite} {InvalidVisibilityWarning.what}"), stacklevel=7)
    results = [
        _result(name, job, totals, i, _members(job, i, seen), fields, provenance, options["bootstrap"], options["seed"],
                None if out is None else str(_output_path(out, suffix)))
        for i, (name, suffix) in enumerate(zip(names, ["", *groups], strict=True))]
    _warn_of_few(results)
    return replace(results[0], groups=dict(zip(groups, results[1:], strict=True)))


def _check_numbers(pb_cutoff: float, bootstrap: int, facet_size: float) -> None:
    finite_number("pb_cutoff", pb_cutoff, 0, 1)
    check_resamplings("bootstrap", bootstrap)
    finite_number("facet_size", facet_size, _SMALLEST_FACET, np.pi, unit="rad")


def _read_noise(terms, noise_image, noise_kind, sources: Positions) -> tuple[np.ndarray | None, bool]:
    """σ_k of each position, NaN where the image does not reach, and whether it holds 1/A already."""
    if "local-noise" not in terms:
        return None, True
    if noise_image is None:
        raise SelectionError("weights with local-noise want noise_image (--noise-image): a FITS image of the field")
    image = read_image(noise_image)
    x, y = image.pixels_of(sources.coord)
    if noise_kind.startswith("rms"):
        noise = interpolated(image.data, x, y)
    else:
        beam = image.beam or Beam(3 * image.cell, 3 * image.cell)
        stamp = int(round(np.sqrt(300 * beam.solid_angle) / image.cell))
        noise = noise_around(np.ascontiguousarray(image.data), x, y, max(stamp, 16), beam.fwhm_major / image.cell)
    noise[~(noise > 0)] = np.nan
    if not np.isfinite(noise).any():
        raise PositionsError(f"{noise_image}: no position of {sources.source} lies on this image")
    return noise, noise_kind.endswith("corrected")


def visibilities_per_chunk(n_positions: int, asked: int | None) -> int:
    """Visibilities of a chunk for that many positions, unless a number of them is asked for."""
    larger = _LARGER if n_positions >= _MANY_POSITIONS else 1
    return chunk_size_or(asked, VISIBILITIES_PER_CHUNK * larger)


def stack_chunk(job: StackJob, chunk: tuple[int, Any]) -> dict[str, Any]:
    """Stacks of one block of rows: rows to write, sums, sums by position, stamps. The function that dask runs."""
    set_index, block = chunk
    structure = job.structures[set_index]
    result: dict[str, Any] = {
        "set": set_index, "start": block.out_start, "rows": [[] for _ in job.products],
        "sums": [StackSums.empty() for _ in job.products], "stamp": None, "n_not_finite": 0,
        "by_position": PositionTotals.empty(len(job.positions) if job.by_position else 0)}
    for partition in read_block(structure, job.selections[set_index], block, job.columns[set_index]):
        plan = pointing_plan(job, set_index, partition.field.id, partition.data_description.id)
        stacked, sums, by_position, bad = stack_partition(
            partition, plan, (set_index, partition.field.id), job.uv_range, job.products, result["by_position"].within.shape[1])
        for i, product in enumerate(stacked):
            result["sums"][i] += sums[i]
            if job.stamp is None:
                result["rows"][i].append([_columns(structure, partition, s, job.weight_spectrum) for s in product])
        if job.stamp is not None:
            result["stamp"] = _add_stamps(result["stamp"], job, partition, stacked)
        result["by_position"] += by_position
        result["n_not_finite"] += bad
    return result


def _columns(structure: Structure, partition, stacked, weight_spectrum: bool) -> dict[str, np.ndarray]:
    """Columns of the stacked rows of a partition; rows with nothing to stack are flagged and weigh nothing."""
    nothing = stacked.norm <= 0
    mean_weight = row_weight(partition.weight, stacked.norm)
    with np.errstate(divide="ignore"):
        sigma = np.where(mean_weight > 0, mean_weight, np.inf) ** np.float32(-0.5)
    columns = {name: read_rows(structure, name, partition.rows) for name in PASSED_ON if name in structure.columns}
    n_rows = partition.rows.size
    columns |= {
        "TIME": partition.time, "ANTENNA1": partition.antenna1, "ANTENNA2": partition.antenna2,
        "FIELD_ID": np.zeros(n_rows, np.int32), "DATA_DESC_ID": np.full(n_rows, partition.data_description.id, np.int32),
        "UVW": stacked.uvw, "DATA": stacked.vis,
        "FLAG": np.ones_like(partition.flag) if nothing else partition.flag,
        "FLAG_ROW": np.ones_like(partition.flag_row) if nothing else partition.flag_row,
        "WEIGHT": mean_weight, "SIGMA": sigma.astype(np.float32)}
    if weight_spectrum:
        columns["WEIGHT_SPECTRUM"] = partition.weight * np.float32(stacked.norm)
    return columns


def _add_stamps(before, job: StackJob, partition, stacked) -> np.ndarray:
    """Σ w V and Σ w as images, (product, 2, m, l), with those of a partition added."""
    assert job.stamp is not None
    size, cell = job.stamp
    images = np.zeros((len(stacked), 2, size, size)) if before is None else before
    for i, product in enumerate(stacked):
        for one in product:
            if one.norm > 0:
                images[i] += stamp_images(partition, one.uvw, one.vis, partition.weight * np.float32(one.norm), job.uv_range, size, cell)
    return images


def _open_outputs(files: contextlib.ExitStack, job: StackJob, chunks, out, overwrite, suffixes, fields) -> list[StackedMS]:
    """One measurement set being written for each product, or none."""
    if out is None:
        return []
    copies = job.n_subsets if job.facets is not None else 1
    n_rows = sum(block.n for _, block in chunks)
    shapes = {d.shape for s, selection in zip(job.structures, job.selections, strict=True) for d in s.used(selection)}
    widest = max(n_chan * n_corr for n_chan, n_corr in shapes)
    n_bytes = n_rows * copies * (widest * (13 if job.weight_spectrum else 9) + 200) * len(suffixes)
    set_index, field_id = next(iter(fields))
    outputs = []
    for suffix in suffixes:
        path = check_output(_output_path(out, suffix), overwrite, n_bytes, tuple(s.path for s in job.structures))
        partial = files.enter_context(written_whole(path))
        outputs.append(files.enter_context(contextlib.closing(StackedMS(
            partial, job.structures, n_rows * copies, job.structures[set_index].fields[field_id],
            f"stack {suffix}".strip(), job.weight_spectrum, shapes))))
    return outputs


def _output_path(out: str | Path, suffix: str) -> Path:
    """Path of a group's set: the group's name before the ending."""
    path = Path(str(out).rstrip("/"))
    safe = "".join(c if c.isalnum() or c in "-+." else "_" for c in suffix)
    return path.with_name(f"{path.stem}-{safe}{path.suffix}") if suffix else path


class _Totals:
    """Receives the results of chunks in order: writes rows, adds up sums."""

    def __init__(self, job: StackJob, outputs: list[StackedMS], n_chunks: int, progress: Callable[[int, int], None] | None):
        self._outputs, self._n_chunks, self._progress = outputs, n_chunks, progress
        self.sums = [StackSums.empty() for _ in job.products]
        self.by_position = PositionTotals.empty(len(job.positions) if job.by_position else 0)
        self.stamps: np.ndarray | None = None
        self.n_not_finite = 0
        self._n_rows = 0

    def add(self, index: int, result: dict[str, Any]) -> None:
        """Take the result of one chunk."""
        for total, sums in zip(self.sums, result["sums"], strict=True):
            total += sums
        self.by_position += result["by_position"]
        self.n_not_finite += result["n_not_finite"]
        if result["stamp"] is not None:
            self.stamps = result["stamp"] if self.stamps is None else self.stamps + result["stamp"]
        for output, partitions in zip(self._outputs, result["rows"], strict=False):
            start = result["start"]
            for facets in partitions:
                for i, columns in enumerate(facets):
                    # Each facet fills a run of its own; without facets there is one.
                    output.write(start + i * output.n_rows // len(facets), result["set"], columns)
                start += facets[0]["UVW"].shape[0]
        if self._progress is not None:
            self._progress(index + 1, self._n_chunks)


def _check_any_data(sums: StackSums, uv_range) -> None:
    if not sums.total[W] > 0:
        if sums.metres[:, W].sum() > 0:
            raise NoDataError(f"no unflagged visibility lies within the uv range {uv_range}; `uvstack info` shows the range of the data")
        raise NoDataError("every visibility is flagged, has no weight or is no parallel hand: nothing to stack")


def _members(job: StackJob, product: int, seen: np.ndarray) -> np.ndarray:
    """Which positions belong to a product and were seen, (pos,) bool; those given but unseen are dropped."""
    return np.isin(job.subset, job.products[product]) & seen


def _result(name, job: StackJob, totals: _Totals, i: int, members, fields, provenance, bootstrap, seed, path) -> StackResult:
    sums = totals.sums[i]
    total = sums.total
    re, _, error, _ = mean_and_error(total)
    given = np.isin(job.subset, job.products[i])
    expected = np.sqrt(sum(sums.variance.values())) / total[W] if total[W] > 0 else np.nan
    positions, fluxes, robust = None, None, {}
    if job.by_position and total[W] > 0:
        positions = _position_sums(job, totals.by_position, members)
    if bootstrap and positions is not None:
        fluxes = bootstrap_fluxes(positions, bootstrap, np.random.default_rng(seed))
        robust = robust_fluxes(positions, bootstrap, np.random.default_rng(seed))
    stamp = None
    if job.stamp is not None and totals.stamps is not None and total[W] > 0:
        set_index, field_id = next(iter(fields))
        pointing = job.structures[set_index].fields[field_id]
        stamp = normalised(totals.stamps[i], job.stamp[1], pointing)
    return StackResult(
        name=name, flux=float(re), flux_error=float(error), flux_error_expected=float(expected), n_positions=int(members.sum()),
        n_positions_given=int(given.sum()), dropped=_dropped(job, given & ~members), uv_range=job.uv_range, sums=sums,
        fields=fields, n_not_finite=totals.n_not_finite, bootstrap=fluxes,
        positions=positions, robust=robust, ms=path, stamp=stamp, provenance=provenance)


def _position_sums(job: StackJob, by_position: PositionTotals, members: np.ndarray) -> PositionSums:
    """Sums of the members (pos,) bool that have data within the uv limits."""
    number = np.flatnonzero(members & (by_position.within[1] > 0))
    ra, dec = to_frame(job.positions.coord[number], "J2000")
    profile = {}
    for where, sums in sorted(by_position.bins.items()):
        if sums[1, number].any():
            profile[where] = sums[:, number]
    values, weights = by_position.within[:, number]
    return PositionSums(number, np.atleast_1d(ra), np.atleast_1d(dec), values, weights, profile)


def _warn_of_few(results: list[StackResult]) -> None:
    """Warn where an error of resampled lists is a rough number."""
    few = [f"{result.name}: {result.positions.n_effective:.3g} of {result.positions.number.size}" for result in results
           if result.bootstrap is not None and result.positions is not None and result.positions.n_effective < FEW]
    if few:
        warnings.warn(FewPositionsWarning(
            f"the error of resampled lists is rough with fewer than {FEW} effective positions, (ΣW)²/ΣW²; {'; '.join(few)}"), stacklevel=7)


def _dropped(job: StackJob, lost: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of the positions that are left out, (pos,) bool, by reason."""
    in_beam = np.any([power > 0 for power in job.beam_squares.values()], axis=0)
    return {"outside the primary beam of every pointing": np.flatnonzero(lost & ~in_beam), "without weight": np.flatnonzero(lost & in_beam)}
