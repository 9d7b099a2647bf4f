"""What a user asks of a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from uvstack.constants import ARCMIN
from uvstack.options import (
    DataOptions,
    ListOptions,
    OverwriteOptions,
    RunOptions,
    UVRangeOptions,
)
from uvstack.sky.options import WeightOptions


class StackOptions(WeightOptions, UVRangeOptions, DataOptions, ListOptions, OverwriteOptions,
                   RunOptions, total=False):
    """What a stack is made of, and what is made of it.

    out : path, optional
        Stacked measurement set; without it only numbers, profile and stamp are made.
    bootstrap : int
        Number of times the list is resampled.
    by_position : bool
        Keep the sums of each position, as a bootstrap does: errors of the uv profile and advice on
        a uv cut by the scatter of the positions.
    seed : int, optional
        Of the resampling.
    group_by : str, optional
        Column of the list; each of its values is also stacked by itself, in the same pass.
    reproject : bool
        Turn (u, v, w) to the tangent plane of facets of the sky, for resolved sources far from the
        phase centre. An output set then holds every row once for each facet.
    facet_size : float
        Side of a facet, rad.
    stamp_size : int
        Pixels across the stamp made without `out`, and that of a report, even.
    stamp_cell : float, optional
        Its pixel, rad; default a fifth of the resolution.
    """

    out: Annotated[str | Path | None, None]
    bootstrap: Annotated[int, 0]
    by_position: Annotated[bool, False]
    seed: Annotated[int | None, None]
    group_by: Annotated[str | None, None]
    reproject: Annotated[bool, False]
    facet_size: Annotated[float, 5 * ARCMIN]
    stamp_size: Annotated[int, 64]
    stamp_cell: Annotated[float | None, None]
