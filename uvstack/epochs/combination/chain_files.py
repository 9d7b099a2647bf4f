"""The steps of a combination: plan it, bring the epochs together, measure their noise, average them.

Maps of the spectral index go the same way twice, with one plan and, unless the memo is followed,
one set of weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from uvstack.checks import finite_number, whole_number
from uvstack.chunks import map_chunks
from uvstack.epochs.combination import kernels
from uvstack.epochs.combination.beams import Target, target_beam
from uvstack.epochs.combination.epoch_files import (
    Epoch,
    Grid,
    beam_on,
    check_together,
    read_epoch,
    read_grid,
)
from uvstack.epochs.combination.noise import Noise, noise_maps, rows_of
from uvstack.epochs.combination.regridding_files import BLOCK, Regridding, blocks_of, regridded
from uvstack.epochs.combination.result import MAPS
from uvstack.errors import ImageError, SelectionError, UvstackWarning
from uvstack.io.image_file import check_beam
from uvstack.io.output import scratch_beside
from uvstack.sky.beam import Beam, given_beam

#: Uncertainty of the calibration in χ², a part of the flux (VLASS memo 26, appendix A).
CALIBRATION = 0.05
#: Squares of the noise, pixels: where sources are masked, and in the memo.
DEFAULT_BOX, _MEMO_BOX = 50, 10
#: Bytes of planes that are held in memory; more go to a scratch file.
_IN_MEMORY = 1_200_000_000
#: Pixels of all epochs that are averaged at once.
_STRIP = 2_000_000


@dataclass(frozen=True)
class Plan:
    """What is combined, and how.

    Attributes
    ----------
    epochs : tuple of Epoch
        Those that are in the table.
    used : tuple of bool
        Whether each has a weight.
    beams : tuple of Beam
        Of the epochs, in the frame of the grid.
    reference : Epoch
    grid : Grid
    target : Target
    box : int
    noise : str
    minimum : int
    memo, direct : bool
    """

    epochs: tuple[Epoch, ...]
    used: tuple[bool, ...]
    beams: tuple[Beam, ...]
    reference: Epoch
    grid: Grid
    target: Target
    box: int
    noise: str
    minimum: int
    memo: bool
    direct: bool

    @property
    def beam_area(self) -> float:
        """Pixels that the target covers."""
        return float(self.target.beam.solid_angle / self.grid.image.cell**2)

    @property
    def four_axes(self) -> bool:
        """Whether products have the axes FREQ and STOKES: where the reference has one, if they can."""
        image = self.reference.image
        return image.frequency is not None or (image.stokes is not None
                                               and self.reference.frequency is not None)

    @property
    def chain(self) -> str:
        """As in `Regridding`."""
        return ("memo-direct" if self.direct else "memo") if self.memo else "exact"


def plan_of(images: Sequence[str | Path], options: Mapping[str, Any],
            target: Beam | None = None) -> Plan:
    """Epochs read as far as their headers go, with all that can be refused by then.

    Parameters
    ----------
    images : sequence of path
    options : mapping
        As `CombineOptions`.
    target : Beam, optional
        In place of that of the options: of another combination.

    Raises
    ------
    ImageError, SelectionError
    """
    paths = [Path(one) for one in images]
    if not paths:
        raise ImageError("no epochs; give the paths of two images or more")
    if len(paths) == 1:
        warnings.warn(UvstackWarning(f"{paths[0]} is the only epoch: it is smoothed and regridded "
                                     "where that is asked for, and combined with nothing"),
                      stacklevel=4)
    if options["direct"] and not options["memo"]:
        raise SelectionError("direct (--direct) says how the memo's chain convolves; give memo "
                             "(--memo) too: the exact kernel is the same in Jy/beam and in K")
    index = _index_of(options["reference"], paths)
    given = options["beams"]
    if given is not None and len(given) != len(paths):
        raise SelectionError(f"beams: {len(given)} for {len(paths)} epochs; wanted is one each, or "
                             "None where the header's is kept")
    names = names_of(paths)
    epochs = [read_epoch(path, name, None if given is None or given[i] is None
                         else given_beam(given[i]), options["stokes"])
              for i, (path, name) in enumerate(zip(paths, names, strict=True))]
    epochs = [dataclasses.replace(epoch, factor=epoch.factor * factor, offset=offset)
              for epoch, factor, offset in zip(epochs, *scales_of(paths, options).values(),
                                               strict=True)]
    epochs = check_together(epochs, index, options["spectral_index"])
    grid = epochs[index].grid if options["grid"] is None else read_grid(options["grid"])
    beams = [beam_on(grid, epoch) for epoch in epochs]
    wanted = options["beam"] if target is None else target
    if wanted is not None:
        wanted = given_beam(wanted)
        check_beam(wanted, grid.image.cell, grid.shape, "beam (--beam)")
    aim = target_beam(beams, names, given=wanted,
                      padding=0.0 if target is not None else
                      finite_number("padding", options["padding"], 0.0, 100.0),
                      round_beam=options["round_beam"] and target is None,
                      too_coarse=options["too_coarse"])
    keep = [i for i in range(len(epochs)) if aim.reached[i] or options["too_coarse"] == "blank"]
    left = [names[i] for i, good in enumerate(aim.reached) if not good]
    if left:
        warnings.warn(UvstackWarning(f"{', '.join(left)}: too coarse for the target beam, and "
                                     f"{'blank' if len(keep) == len(epochs) else 'left out'}"),
                      stacklevel=4)
    box = options["rms_box"]
    memo = bool(options["memo"])
    return Plan(tuple(epochs[i] for i in keep), tuple(aim.reached[i] for i in keep),
                tuple(beams[i] for i in keep), epochs[index], grid, aim,
                whole_number("rms_box", (_MEMO_BOX if memo else DEFAULT_BOX) if box is None else box, 3,
                             100_000),
                options["noise"] or ("moments" if memo else "masked"),
                whole_number("minimum_epochs", options["minimum_epochs"], 1, len(keep)),
                memo, bool(options["direct"]))


def names_of(paths: Sequence[Path]) -> list[str]:
    """Short names of files, or their paths where those are not all different, or numbered."""
    stems = [path.name.removesuffix(".gz").removesuffix(".fz").removesuffix(".fits")
             for path in paths]
    for names in (stems, [str(path) for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({i})" for i, name in enumerate(stems, 1)]


def _index_of(reference: int | str | Path, paths: Sequence[Path]) -> int:
    if isinstance(reference, str | Path):
        for i, path in enumerate(paths):
            if path == Path(reference) or path.resolve() == Path(reference).resolve():
                return i
        raise SelectionError(f"reference {reference} is none of the epochs "
                             f"{', '.join(map(str, paths))}; give one of them, or its number")
    if isinstance(reference, bool):
        raise SelectionError(f"reference={reference}; wanted is a number from 0, or a path")
    return whole_number("reference", reference, 0, len(paths) - 1)


def scales_of(paths: Sequence[Path], options: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Factor and offset (rad) of each epoch, as options: those that were given or stand in a comparison."""
    scale, align = options["flux_scale"], options["align"]
    factors = [finite_number("flux_scale", row[0], 0.0, above=True)
               for row in _column(scale, paths, "flux_scale", ("flux_scale",), 1.0)]
    offsets = [tuple(finite_number("align", v, -0.1, 0.1, unit="rad") for v in row)
               for row in _column(align, paths, "align", ("offset_east", "offset_north"), 0.0)]
    return {"flux_scale": factors, "align": offsets}


def _column(value: Any, paths: Sequence[Path], name: str, columns: tuple[str, ...],
            default: float) -> list[tuple[float, ...]]:
    """Numbers for each epoch, as they were given or from the table of a comparison."""
    if value is None:
        return [(default,) * len(columns)] * len(paths)
    if isinstance(value, str | Path):
        return _of_comparison(value, paths, name, columns)
    each = "a number" if len(columns) == 1 else "two angles (rad)"
    try:
        rows = np.asarray([np.atleast_1d(one) for one in value], float)
    except (ValueError, TypeError) as error:
        raise SelectionError(f"{name} is {value!r}; wanted is {each} for each of the {len(paths)} "
                             "epochs") from error
    if rows.shape != (len(paths), len(columns)):
        raise SelectionError(f"{name}: {len(rows)} for {len(paths)} epochs; wanted is {each} each")
    return [tuple(row) for row in rows.tolist()]


def _of_comparison(path: str | Path, paths: Sequence[Path], name: str,
                   columns: tuple[str, ...]) -> list[tuple[float, ...]]:
    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError) as error:
        raise SelectionError(f"{name}: {path} cannot be read as ECSV: "
                             f"{' '.join(str(error).split())}") from error
    missing = [column for column in ("image", "measure", *columns) if column not in table.colnames]
    if missing:
        raise SelectionError(f"{name}: {path} has no column {', '.join(missing)}; wanted is "
                             "comparison.ecsv, as `uvstack epochs compare` writes it")
    # Integrated fluxes are the same in all beams; offsets are those of all measures.
    told = [(Path(str(row["image"])), row) for row in table if row["measure"] == "total"]
    out = []
    for one in paths:
        # By its name alone where files were moved, unless several have that.
        rows = ([row for image, row in told if image.resolve() == one.resolve()]
                or [row for image, row in told if image.name == one.name])
        if len(rows) != 1:
            raise SelectionError(
                f"{name}: {path} has the total fluxes of {len(rows) or 'none'} that could be {one};"
                f" it has those of {', '.join(str(image) for image, _ in told) or 'none'}")
        row = rows[0]
        units = [table[column].unit for column in columns]
        out.append(tuple(float(row[column]) if unit is None else
                         float(u.Quantity(float(row[column]), unit).to_value(u.rad))
                         for column, unit in zip(columns, units, strict=True)))
    return out


# ---------------------------------------------------------------------------------------------------------------- the steps


@contextlib.contextmanager
def planes_for(n_planes: int, shape: tuple[int, int],
               out: Path | None) -> Iterator[NDArray[np.float32]]:
    """Room for planes (n, m, l): memory, or a scratch file beside the output for many."""
    if 4 * n_planes * shape[0] * shape[1] <= _IN_MEMORY:
        yield np.empty((n_planes, *shape), np.float32)
        return
    with contextlib.ExitStack() as stack:
        folder = (scratch_beside(out) if out is not None
                  else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uvstack-"))))
        file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        file.truncate(4 * n_planes * shape[0] * shape[1])
        yield np.memmap(file, np.float32, "r+", shape=(n_planes, *shape))


def let_go(planes: NDArray[np.float32]) -> None:
    """Of planes in a scratch file, take what was looked at out of this process; it stays in the file."""
    if isinstance(planes, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        planes._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class OneByOne(Sequence[NDArray[np.float32]]):
    """Planes of which one at a time is held."""

    def __init__(self, planes: NDArray[np.float32]) -> None:
        self._planes = planes

    def __getitem__(self, index: Any) -> Any:
        let_go(self._planes)
        return self._planes[index]

    def __len__(self) -> int:
        return len(self._planes)


def bring_together(plan: Plan, planes: NDArray[np.float32], *, client: Any, threads: int | None,
                   progress: Callable[[int, int], None] | None) -> None:
    """Fill planes (epoch, m, l) with the epochs on the grid, in the target beam, Jy/beam.

    Raises
    ------
    ImageError
        No epoch has a pixel on the grid.
    """
    used = [k for k, good in enumerate(plan.used) if good]
    for k in range(len(plan.epochs)):
        if k not in used:
            planes[k] = np.nan
    blocks = blocks_of(plan.grid.shape, used, BLOCK)
    job = Regridding(plan.grid, plan.target.beam, plan.epochs, plan.chain)
    seen = dict.fromkeys(used, False)

    def consume(index: int, made: NDArray[np.float32] | None) -> None:
        block = blocks[index]
        there = planes[block.epoch, block.rows, block.columns]
        there[...] = np.nan if made is None else made
        let_go(planes)
        seen[block.epoch] = seen[block.epoch] or made is not None and bool(np.isfinite(made).any())
        if progress is not None:
            progress(index + 1, len(blocks))

    map_chunks(regridded, job, blocks, consume, client, threads)
    empty = [plan.epochs[k].path for k in used if not seen[k]]
    if empty:
        raise ImageError(f"{empty[0]}: every pixel is blank, or none is on the grid of "
                         f"{plan.reference.path}; leave it out, or take another reference or grid")


def noise_of(plan: Plan, planes: NDArray[np.float32]) -> list[Noise | None]:
    """Local noise of each plane; None of one that is blank."""
    return noise_maps(OneByOne(planes), plan.box, plan.beam_area, plan.noise)


def average_all(plan: Plan, planes: NDArray[np.float32], noise: Sequence[Noise | None],
                consume: Callable[[int, dict[str, NDArray[np.float32]]], None], *,
                threads: int | None) -> None:
    """Averages of the planes, strip by strip from the first row: first row and maps, in order."""
    rows = max(1, _STRIP // (planes.shape[0] * planes.shape[2]))
    strips = [slice(i, min(i + rows, planes.shape[1])) for i in range(0, planes.shape[1], rows)]

    def take(index: int, made: dict[str, NDArray[np.float32]]) -> None:
        consume(strips[index].start, made)
        let_go(planes)

    map_chunks(_average, (plan, planes, noise), strips, take, None, threads)


def _average(job: tuple[Plan, NDArray[np.float32], Sequence[Noise | None]],
             strip: slice) -> dict[str, NDArray[np.float32]]:
    plan, planes, noise = job
    held = np.asarray(planes[:, strip])
    rms = np.full(held.shape, np.nan, np.float32)
    for k, one in enumerate(noise):
        if one is not None:
            rms[k] = rows_of(one, strip.start, strip.stop)
    made = {name: np.empty(held.shape[1:], np.float32) for name in MAPS}
    kernels.average(held, rms, plan.minimum, plan.memo, CALIBRATION, made["mean"], made["median"],
                    made["weight"], made["chi2"], made["chi2-calibrated"], made["coverage"])
    with np.errstate(divide="ignore", over="ignore"):
        made["rms"] = np.where(np.isfinite(made["mean"]), 1.0 / np.sqrt(made["weight"]),
                               np.float32(np.nan)).astype(np.float32)
    return made
