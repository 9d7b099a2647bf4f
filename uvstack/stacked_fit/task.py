"""`uvstack.stack`: the stack of a list, and on request a fit to the stacked set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from astropy.coordinates import SkyCoord
from typing_extensions import Unpack

from uvstack.errors import SelectionError
from uvstack.io.output import together
from uvstack.options import ProfileOptions, ReportOptions, options_of, takes
from uvstack.records import MeasurementSets
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.positions import Positions
from uvstack.stacking.options import StackOptions
from uvstack.stacking.result import StackResult
from uvstack.stacking.task import stack as stack_alone


class SharedOptions(ReportOptions, ProfileOptions, StackOptions, total=False):
    """The options that it shares with other functions."""


@together()
@takes
def stack(ms: MeasurementSets, positions: str | Path | SkyCoord | Positions | Any, *,
          fit: str | None = None, fit_estimator: Literal["jeffreys", "likelihood"] = "jeffreys",
          **options: Unpack[SharedOptions]) -> StackResult:
    """Stack of the visibilities at many positions (Lindroos et al. 2015, section 3.3).

    Parameters
    ----------
    ms : path, glob, `uvstack.Datasets` or sequence of these
        Measurement sets; several are stacked as one. Opened for reading only.
    positions : path, SkyCoord, table or Positions
        See `uvstack.io.tables.read_positions`.
    fit : str, optional
        Shape ("gaussian", "disc" …, see `uvstack.fit`) that is fitted to the stacked set, `out`,
        within the same uv limits: `result.fit`.
    fit_estimator : {"jeffreys", "likelihood"}
        The `estimator` of that fit.

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
    given: dict[str, Any] = {**options}
    out = options["out"]
    if fit is not None:
        from uvstack.fitting.model.shapes import shape

        shape(fit)  # an unknown one is told before the work
        if out is None:
            raise SelectionError("a fit wants the stacked measurement set; give out (--out) too")
    check_asked(StackResult, options)
    result = stack_alone(ms, positions, **{name: given[name] for name in options_of(StackOptions)})
    if fit is not None and out is not None:
        # What fits need takes a third of a second to load.
        from uvstack.fitting.task import fit_stacked

        result = replace(result, fit=fit_stacked(out, fit, options, fit_estimator))
    return write_asked(result, options, "bins", "stamp_size", "stamp_cell")
