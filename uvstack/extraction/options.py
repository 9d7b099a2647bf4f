"""What an extraction is asked to do, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from astropy.table import Table
from typing_extensions import TypedDict

from uvstack.checks import BELOW_ONE, finite_number, one_of, whole_number
from uvstack.errors import SelectionError
from uvstack.options import OverwriteOptions, ReportOptions, choices_of, options_of
from uvstack.sky.beam import Beam
from uvstack.sky.positions import Positions


class DetectionOptions(TypedDict, total=False):
    """How sources of an image are found.

    detection, analysis : float
        Thresholds in standard deviations of the noise: of the brightest pixel of an island, and of
        all its pixels.
    box : int, optional
        Side of the boxes of background and noise, pixels; default 16 FWHM, 32 at least.
    stokes : {"I", "Q", "U", "V"}, optional
        The plane of a file of several; default I, or else the only one.
    """

    detection: Annotated[float, 5.0]
    analysis: Annotated[float, 3.0]
    box: Annotated[int | None, None]
    stokes: Annotated[Literal["I", "Q", "U", "V"] | None, None]


class SignOptions(TypedDict, total=False):
    """Which signs sources have.

    negative : bool, optional
        Find sources below the background too; default in Stokes Q, U and V alone.
    """

    negative: Annotated[bool | None, None]


class ExtractOptions(DetectionOptions, SignOptions, ReportOptions, OverwriteOptions, total=False):
    """What is asked of an extraction, and what is written of it.

    peaks : {"interpolated", "pixel"}
        What `detection` is compared with: the maximum of a parabola through the brightest pixel and
        its eight neighbours, or that pixel, which is fainter where a source lies between pixels.
    fdr : float, optional
        In place of `detection`, the largest part of the source pixels that may be noise, 0 … 1.
    filter_size : int
        Boxes of whose values the median is taken; 1 for none.
    connectivity : {8, 4}
        Whether pixels hang together at their corners.
    min_pixels : int
        Islands with fewer are dropped.
    deblend : int
        Sub-thresholds by which islands are split; 0 splits none.
    deblend_fraction : float
        Part of the island's flux that each of the parts must have.
    method : {"fit", "moments"}
        How sources are measured.
    weighting : {"plain", "gls"}
        Least squares, plain or by the inverse of the noise's covariance.
    errors : {"correlation", "condon"}
        Errors from the measured correlation of the noise, with the bias of second order taken off;
        or by the equations of Condon (1997).
    fixed : {"none", "shape", "position", "both"}
        What a fit leaves as it is: the shape that of the beam, the position that of the moments.
    unresolved : {"free", "point"}
        Whether peak, place and flux of sources that are not resolved come from a second fit with
        the shape of the beam; sizes and their limits are those of the free fit.
    detect : {"mean", "chi-squared"}
        Of a cube: find sources in the weighted mean of the channels, or in the sum of their squares
        over the noise, which takes any spectrum.
    beam : Beam or (float, float, float), optional
        FWHM and position angle, rad, in place of the header's; of an image without coordinates
        the FWHM are in pixels, and the angle is from y towards −x. Quantities in such units do too.
    beam_frame : {"auto", "pixel", "sky"}
        Where the beam is constant: in pixels (images in SIN projection), or on the sky (mosaics).
    rms, background : float or path, optional
        In place of what is measured: a number in the unit of the image, or an image of the same
        shape.
    psf_map : path, optional
        FITS image of three planes (3, m, l), BMAJ, BMIN and BPA in degrees at each pixel: the beam
        that fluxes and sizes refer to at each source.
    detection_image : path, optional
        Image of the same shape in which sources are found, such as one of flat noise, with its own
        noise; they are measured in `image`.
    forced : path, Table or Positions, optional
        Measure at these places, in their order, in place of a search.
    search_radius : float
        How far a forced position may move, rad.
    counts_slope, lowest_flux : float, optional
        Counts N(>S) ∝ S^−q and the flux in Jy below which there are no sources: adds the column
        expected_flux, the mean true flux of what was measured so.
    position_systematic, flux_systematic : float
        rad, and part of the flux: columns of their own, which no other error contains.
    out : path, optional
        Catalogue: FITS, ECSV, VOTable (.xml) or CSV.
    rms_out, background_out, residual_out, model_out, islands_out : path, optional
        Images: noise, background, image without background and sources, the sources' Gaussians,
        numbers of the islands.
    regions_out : path, optional
        Regions of DS9 (.reg) or CASA and CARTA (.crtf).
    channels_out : path, optional
        Of a cube: table of one row a source and channel; FITS, ECSV, VOTable (.xml) or CSV.
    """

    peaks: Annotated[Literal["interpolated", "pixel"], "interpolated"]
    fdr: Annotated[float | None, None]
    filter_size: Annotated[int, 3]
    connectivity: Annotated[Literal[8, 4], 8]
    min_pixels: Annotated[int, 1]
    deblend: Annotated[int, 32]
    deblend_fraction: Annotated[float, 0.005]
    method: Annotated[Literal["fit", "moments"], "fit"]
    weighting: Annotated[Literal["plain", "gls"], "plain"]
    errors: Annotated[Literal["correlation", "condon"], "correlation"]
    fixed: Annotated[Literal["none", "shape", "position", "both"], "none"]
    unresolved: Annotated[Literal["free", "point"], "free"]
    detect: Annotated[Literal["mean", "chi-squared"], "mean"]
    beam: Annotated[Beam | Sequence[Any] | None, None]
    beam_frame: Annotated[Literal["auto", "pixel", "sky"], "auto"]
    rms: Annotated[float | str | Path | None, None]
    background: Annotated[float | str | Path | None, None]
    psf_map: Annotated[str | Path | None, None]
    detection_image: Annotated[str | Path | None, None]
    forced: Annotated[str | Path | Table | Positions | None, None]
    search_radius: Annotated[float, 0.0]
    counts_slope: Annotated[float | None, None]
    lowest_flux: Annotated[float | None, None]
    position_systematic: Annotated[float, 0.0]
    flux_systematic: Annotated[float, 0.0]
    out: Annotated[str | Path | None, None]
    rms_out: Annotated[str | Path | None, None]
    background_out: Annotated[str | Path | None, None]
    residual_out: Annotated[str | Path | None, None]
    model_out: Annotated[str | Path | None, None]
    islands_out: Annotated[str | Path | None, None]
    regions_out: Annotated[str | Path | None, None]
    channels_out: Annotated[str | Path | None, None]


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

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(field.name for field in fields(cls))

    def __post_init__(self) -> None:
        for name in self.names():
            words = choices_of(options_of(ExtractOptions)[name][0])
            if words:
                one_of(name, getattr(self, name), words)
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

    def check_forced(self, is_forced: bool, radius: float, **others: Any) -> None:
        """Raise SelectionError for what says nothing with places given, or without (the radius, rad)."""
        if not is_forced:
            if radius > 0:
                raise SelectionError("search_radius is for forced positions, of which none are "
                                     "given: give forced= (--forced)")
            return
        usual = ExtractionOptions()
        idle = [name for name in ("fdr", "method", "weighting", "errors", "fixed", "unresolved")
                if getattr(self, name) != getattr(usual, name)]
        idle += [name for name, value in others.items() if value is not None]
        if idle:
            raise SelectionError(f"{idle[0]} says nothing of forced positions, at which peaks are "
                                 "fitted with the beam's shape and nothing is searched: leave it "
                                 "out")
