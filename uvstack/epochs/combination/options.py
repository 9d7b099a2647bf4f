"""What the combination of epochs and maps of their spectral index share, each option said once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from uvstack.options import ClusterOptions, OverwriteOptions, ReportOptions


class CombineOptions(ReportOptions, OverwriteOptions, ClusterOptions, total=False):
    """How epochs are brought together.

    reference : int or path
        The epoch whose pixels all are brought to: its number from 0, or its path.
    grid : path, optional
        Image, or header as text, whose pixels are taken in place of the reference's.
    beam : Beam or (major, minor, position angle), optional
        Target, rad, north through east; default the smallest that all can be convolved to.
    padding : float
        Part by which both axes of the target are larger: 0.1 for the memo's 10 per cent.
    round_beam : bool
        A round target, as wide as its major axis.
    too_coarse : {"refuse", "leave-out", "blank"}
        What becomes of an epoch that cannot be convolved to a target that is given: an error; it is
        left out; it stays in the table and weighs nothing.
    beams : sequence of Beam, optional
        Of the epochs, in place of their headers' (None keeps one).
    stokes : {"I", "Q", "U", "V"}, optional
        Of files of several planes; default I, or else the only one.
    spectral_index : float, optional
        Brings fluxes of epochs at other frequencies to that of the reference: S ∝ ν^α. Without it
        frequencies that differ by up to 1 % are taken as one, and others refused.
    flux_scale : sequence of float or path, optional
        Factors that the epochs are multiplied with; or comparison.ecsv of a comparison.
    align : sequence of (east, north) or path, optional
        By how much the epochs stand too far east and north, rad; or comparison.ecsv of a comparison.
    rms_box : int, optional
        Side of the squares that the local noise is taken from, pixels; default 50, the memo's 10
        with `memo`.
    noise : {"masked", "clipped", "mad", "moments"}, optional
        How: without sources; clipped around the median; by the median absolute deviation; the
        standard deviation of all pixels, as the memo has it and `memo` by default.
    minimum_epochs : int
        Pixels with fewer are blank.
    memo : bool
        Do as VLASS memo 26 does, step by step: regrid linearly, convolve with a kernel drawn on
        pixels, weigh by the rms of a running square, take the first sorted value whose cumulative
        weight reaches a half as the median, weigh tt1 by its own rms.
    direct : bool
        With `memo`: convolve in Jy/beam and not in K.
    """

    reference: Annotated[int | str | Path, 0]
    grid: Annotated[str | Path | None, None]
    beam: Annotated[Sequence[float] | None, None]
    padding: Annotated[float, 0.0]
    round_beam: Annotated[bool, False]
    too_coarse: Annotated[Literal["refuse", "leave-out", "blank"], "refuse"]
    beams: Annotated[Sequence[Sequence[float] | None] | None, None]
    stokes: Annotated[Literal["I", "Q", "U", "V"] | None, None]
    spectral_index: Annotated[float | None, None]
    flux_scale: Annotated[Sequence[float] | str | Path | None, None]
    align: Annotated[Sequence[Sequence[float]] | str | Path | None, None]
    rms_box: Annotated[int | None, None]
    noise: Annotated[Literal["masked", "clipped", "mad", "moments"] | None, None]
    minimum_epochs: Annotated[int, 1]
    memo: Annotated[bool, False]
    direct: Annotated[bool, False]


#: Options as they are passed between the files of this folder.
Options = dict[str, Any]
