"""What an extraction is asked to do, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from uvstack.checks import BELOW_ONE, finite_number, one_of, whole_number
from uvstack.errors import SelectionError
from uvstack.extraction.gaussian_fit import WEIGHTINGS

METHODS = ("fit", "moments")
ERRORS = ("correlation", "condon")
FIXED = ("none", "shape", "position", "both")
BEAM_FRAMES = ("auto", "pixel", "sky")
UNRESOLVED = ("free", "point")
DETECTIONS = ("mean", "chi-squared")
PEAKS = ("interpolated", "pixel")
CONNECTIVITIES = (8, 4)


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
    peaks: str = "interpolated"

    def __post_init__(self) -> None:
        for name, choices in (("method", METHODS), ("errors", ERRORS), ("fixed", FIXED),
                              ("unresolved", UNRESOLVED), ("peaks", PEAKS), ("weighting", WEIGHTINGS),
                              ("beam_frame", BEAM_FRAMES), ("connectivity", CONNECTIVITIES)):
            one_of(name, getattr(self, name), choices)
        for name in ("detection", "analysis"):
            finite_number(name, getattr(self, name), 0, above=True, unit="σ")
        if self.fdr is None and self.analysis > self.detection:
            raise SelectionError(f"analysis={self.analysis:g} is above detection="
                                 f"{self.detection:g}; pixels of an island reach from its peak "
                                 "down to the lower one")
        if self.fdr is not None:
            finite_number("fdr", self.fdr, 0, BELOW_ONE, above=True)
        for name, least in (("min_pixels", 1), ("deblend", 0), ("filter_size", 1), ("box", 4)):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), least)
        finite_number("deblend_fraction", self.deblend_fraction, 0, BELOW_ONE)
