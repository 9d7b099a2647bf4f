"""What a comparison of uv- and image-stacking gives: every method's flux and errors in one table, and its stamp."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.fitting.result import FitResult
from uvstack.image_stacking.result import ImageStackResult
from uvstack.pixels.noise import off_centre_rms
from uvstack.records import Provenance, Shown, dropped_by_reason, plain
from uvstack.report.files import Saved, json_file
from uvstack.report.numbers import flux_unit, rows_of
from uvstack.report.page import Section
from uvstack.stacking.result import StackResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.image_stacking.psf_fit import PsfFit


@dataclass(frozen=True, eq=False, repr=False)
class Method(Shown):
    """One way of stacking the list.

    Attributes
    ----------
    name : str
        As in tables and pictures: "uv-stack", "image-stack, nearest pixel, median" …
    average : {"mean", "median", "clipped-mean"}
    alignment : {"exact", "nearest", "subpixel"}
        "exact" is the phase that moves visibilities.
    baselines : str
        "all", "uv range …" of the flux, or "filter …" of the stamp.
    stack : StackResult or ImageStackResult
    stamp : ndarray (m, l)
        Jy/beam, on the pixels of the image; the positions are pixel (size/2, size/2).
    psf : ndarray or None
        Response to a point source of 1 Jy; None where it is not known.
    beam_pixels : float
        Radius of the central circle that is left out of the noise of the stamp, pixels.
    fit : PsfFit or None
        To the stamp, where it was asked for.
    """

    name: str
    average: str
    alignment: str
    baselines: str
    stack: StackResult | ImageStackResult
    stamp: np.ndarray
    psf: np.ndarray | None
    beam_pixels: float
    fit: PsfFit | None = None

    @property
    def is_uv(self) -> bool:
        """Whether visibilities were stacked."""
        return isinstance(self.stack, StackResult)

    @property
    def flux(self) -> float:
        """Jy: mean of the visibilities, or brightness at the centre of the stamp."""
        return self.stack.flux

    @property
    def flux_error(self) -> float:
        """Jy: from the scatter of the stacked visibilities, or of the off-centre pixels of the stamp."""
        return self.stack.flux_error

    @property
    def flux_error_expected(self) -> float:
        """Equation 7 of Lindroos et al. (2015), Jy: from the noise of the visibilities, or around each position; NaN with a filter.

        The noise around positions is that before the filter.
        """
        return self.stack.flux_error_expected if self.is_uv or self.baselines == "all" else float("nan")

    @property
    def snr(self) -> float:
        """Flux over its error."""
        return self.stack.snr

    @property
    def stamp_rms(self) -> float:
        """Standard deviation of the off-centre pixels of the stamp, Jy/beam: the same measure for all methods."""
        return off_centre_rms(self.stamp, self.beam_pixels)

    @property
    def peak_response(self) -> float | None:
        """Part of its flux that a point source keeps; None where the psf is not known. A uv-stack keeps all."""
        return 1.0 if isinstance(self.stack, StackResult) else self.stack.peak_response

    @property
    def flux_corrected(self) -> float | None:
        """Flux over `peak_response`, Jy: of the average point source."""
        response = self.peak_response
        return self.flux / response if response is not None and response > 0 else None

    @property
    def flux_corrected_error(self) -> float | None:
        """Error over `peak_response`, Jy."""
        response = self.peak_response
        return self.flux_error / response if response is not None and response > 0 else None


@dataclass(frozen=True, eq=False, repr=False)
class CompareResult(Saved):
    """The same list stacked in several ways.

    Attributes
    ----------
    name : str
    methods : tuple of Method
        First the uv-stacks (of all baselines, then within the uv limits where there are any), then
        the image-stacks.
    cell : float
        Pixel of all stamps, rad.
    beam : tuple of float
        FWHM of both axes and position angle of the image, rad.
    n_positions, n_positions_given : int
        Stacked by every method, and in the list.
    dropped : dict
        Reason → numbers (from 0) of the positions that one of the methods could not use, and so
        none did.
    image : dict
        What the image is: its file, size, cell, weighting, frequency …
    settings : dict
        Of both methods.
    files : dict
        Product → path: the image, its psf and response where they were kept, the stacked
        measurement set.
    fit : FitResult or None
        To the stacked set, where it was asked for; fits to the stamps stand with their methods.
    provenance : Provenance or None
    """

    #: The last ones are the image that was made, and fits.
    REPORT = ("methods.ecsv", "uv_profile.ecsv", "stamps.png", "profiles.png", "image-dirty.fits",
              "image-psf.fits", "image-pb.fits", "fit.json", "fit.png", "psf_fit.json")

    name: str
    methods: tuple[Method, ...]
    cell: float
    beam: tuple[float, float, float]
    n_positions: int
    n_positions_given: int
    dropped: dict[str, np.ndarray]
    image: dict[str, Any]
    settings: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    fit: FitResult | None = None
    provenance: Provenance | None = None

    @property
    def uv(self) -> Method:
        """The uv-stack: within the uv limits where there are any."""
        return [method for method in self.methods if method.is_uv][-1]

    @property
    def uv_all(self) -> Method:
        """The uv-stack of all baselines."""
        return self.methods[0]

    @property
    def flux(self) -> float:
        """Of `uv`, Jy."""
        return self.uv.flux

    @property
    def snr(self) -> float:
        """Of `uv`."""
        return self.uv.snr

    def find(self, alignment: str = "subpixel", average: str = "mean",
             filtered: bool = False) -> Method:
        """One of the image-stacks.

        Raises
        ------
        KeyError
            It was not made.
        """
        for method in self.methods:
            if not method.is_uv and (method.alignment, method.average,
                                     method.baselines != "all") == (alignment, average, filtered):
                return method
        raise KeyError(f"no image-stack with alignment={alignment!r}, average={average!r}, "
                       f"filtered={filtered}; there are: "
                       + "; ".join(method.name for method in self.methods))

    def table(self) -> QTable:
        """One row for each method, in Jy; NaN is not known.

        `difference` is the corrected flux less that of the uv-stack that is cut likewise. Both come
        from the same visibilities: most of the noise is in both, and a difference is expected to be
        far smaller than the errors.
        """
        cut, whole = self.uv, self.uv_all
        rows = []
        for method in self.methods:
            corrected, error = (np.nan if value is None else value
                                for value in (method.flux_corrected, method.flux_corrected_error))
            like = whole if method.baselines == "all" else cut
            rows.append((method.name, "uv" if method.is_uv else "image", method.average,
                         method.alignment, method.baselines, method.flux, method.flux_error,
                         method.flux_error_expected, method.snr, method.stamp_rms,
                         np.nan if method.peak_response is None else method.peak_response,
                         corrected, error, corrected - like.flux))
        names = ("method", "domain", "average", "alignment", "baselines", "flux", "flux_error",
                 "flux_error_expected", "snr", "stamp_rms", "peak_response", "flux_corrected",
                 "flux_corrected_error", "difference")
        table = QTable(rows=rows, names=names)
        for name in ("flux", "flux_error", "flux_error_expected", "stamp_rms", "flux_corrected",
                     "flux_corrected_error", "difference"):
            table[name] = table[name] * u.Jy
        return table

    def overview(self) -> Section:
        """Table of the methods, positions, image, and advice on short baselines."""
        from uvstack.comparison.report import overview

        return overview(self)

    def sections(self, *, bins: int = 20) -> list[Section]:
        """What the page of `report` shows, with a uv profile of so many bins."""
        from uvstack.comparison.report import sections

        return sections(self, bins)

    def fit_sections(self) -> list[Section]:
        """What was fitted to the stacked set and to the stamps."""
        if self.fit is None:
            return []
        from uvstack.image_stacking.psf_fit import describe

        found = [self.fit.as_section()]
        for method in self.methods:
            if method.fit is not None:
                found.append(Section(f"psf fit of {method.name}",
                                     describe(method.fit, *flux_unit(method.fit.flux))))
        fits = [{"method": method.name} | method.fit.summary() for method in self.methods
                if method.fit is not None]
        if not fits:
            return [*found,
                    Section("psf fit",
                            text=[("warning", "not made: it wants the dirty beam (--psf)")])]
        return [*found[:-1], replace(found[-1], files={"psf_fit.json": json_file(fits)})]

    def summary(self) -> dict[str, Any]:
        """Everything but the stamps and sums, as numbers and texts that JSON can hold."""
        beam = dict(zip(("fwhm_major_rad", "fwhm_minor_rad", "position_angle_rad"), self.beam,
                        strict=True))
        uv = self.uv_all.stack
        assert isinstance(uv, StackResult)
        result: dict[str, Any] = {
            "name": self.name, "n_positions": self.n_positions, "n_positions_given": self.n_positions_given,
            "dropped_positions": dropped_by_reason(self.dropped), "methods": rows_of(self.table()),
            "cell_rad": self.cell, "beam": beam, "image": self.image, "settings": self.settings,
            "suggested_uvmin_m": uv.suggest_uvmin(), "n_visibilities": self.uv.stack.n_visibilities, "files": self.files}  # type: ignore[union-attr]
        if self.fit is not None:
            result["fit"] = self.fit.summary()
        return plain(result
                     | {"provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, bins: int = 20) -> dict[str, QTable]:
        """`table`, and the uv profile of all baselines."""
        table = self.table()
        table.meta = {"name": self.name, "n_positions": self.n_positions}
        uv = self.uv_all.stack
        assert isinstance(uv, StackResult)
        return {"methods": table, "uv_profile": uv.uv_profile(bins)}

    def figure(self) -> Figure:
        """Picture of the stamps in the style of Lindroos et al. (2015), Figures 3 and 10."""
        from uvstack.comparison.report import stamps_figure

        return stamps_figure(self)
