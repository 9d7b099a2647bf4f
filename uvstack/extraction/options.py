"""What an extraction is asked to do, checked once."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from uvstack.errors import ImageError

METHODS = ("fit", "moments")
ERRORS = ("correlation", "condon")
FIXED = ("none", "shape", "position", "both")
BEAM_FRAMES = ("auto", "pixel", "sky")
UNRESOLVED = ("free", "point")
DETECTIONS = ("mean", "chi-squared")


@dataclass(frozen=True)
class ExtractionOptions:
    """How sources are found and measured; `uvstack.extract` says what each means and its unit."""

    detection: float = 5.0
    analysis: float = 3.0
    fdr: float | None = None
    box: int | None = None
    filter_size: int = 3
    connectivity: int = 8
    min_pixels: int = 1
    deblend: int = 32
    deblend_fraction: float = 0.005
    method: str = "fit"
    weighting: str = "plain"
    errors: str = "correlation"
    fixed: str = "none"
    beam_frame: str = "auto"
    unresolved: str = "free"
    negative: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("method", METHODS), ("errors", ERRORS), ("fixed", FIXED),
                              ("unresolved", UNRESOLVED), ("weighting", ("plain", "gls")),
                              ("beam_frame", BEAM_FRAMES), ("connectivity", (4, 8))):
            check_choice(name, getattr(self, name), choices)
        for name in ("detection", "analysis"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ImageError(f"{name}={value}; wanted is a positive number of standard "
                                 "deviations, such as 5")
        if self.fdr is None and self.analysis > self.detection:
            raise ImageError(f"analysis={self.analysis:g} is above detection={self.detection:g}; "
                             "pixels of an island reach from its peak down to the lower one")
        if self.fdr is not None and not 0 < self.fdr < 1:
            raise ImageError(f"fdr={self.fdr}; wanted is a part of the source pixels that may be "
                             "false, between 0 and 1, such as 0.01")
        for name, least in (("min_pixels", 1), ("deblend", 0), ("filter_size", 1)):
            if getattr(self, name) < least:
                raise ImageError(f"{name}={getattr(self, name)}; wanted is {least} or more")
        if self.box is not None and self.box < 4:
            raise ImageError(f"box={self.box}; wanted are at least 4 pixels")
        if not 0 <= self.deblend_fraction < 1:
            raise ImageError(f"deblend_fraction={self.deblend_fraction}; wanted is a part of the "
                             "island's flux, from 0 to below 1")


def check_choice(name: str, value: object, choices: tuple) -> None:
    """Raise ImageError where a value is none of the choices, with the nearest of them."""
    if value in choices:
        return
    near = difflib.get_close_matches(str(value), [str(c) for c in choices], n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ImageError(f"{name}={value!r} is unknown; wanted is one of "
                     f"{', '.join(map(str, choices))}{hint}")
