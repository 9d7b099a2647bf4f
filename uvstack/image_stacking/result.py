"""What an image-stack gives.

Flux, errors, stamp, dirty beam of the stack, counts of what was left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from uvstack.records import Provenance, dropped_by_reason, plain
from uvstack.report.files import Saved, json_file
from uvstack.report.numbers import distribution, flux_unit
from uvstack.report.page import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.image_stacking.psf_fit import PsfFit


@dataclass(frozen=True, repr=False)
class ImageStackResult(Saved):
    """An image-stack of one list of positions.

    Attributes
    ----------
    name : str
    flux : float
        Brightness at the centre of the stack, Jy/beam: the flux of a point source, less what the
        alignment and the filter lose.
    flux_error : float
        Standard deviation of the stack outside a circle of the beam's major axis, Jy.
    flux_error_expected : float
        Equation 7 of Lindroos et al. (2015) from the noise around each position, Jy; NaN where no
        beam is known.
    stamp : ndarray (m, l)
        The stack, Jy/beam; NaN is blank; the positions are pixel (size/2, size/2).
    psf : ndarray (m', l') or None
        The dirty beam, stacked with the same weights and offsets, filtered alike; up to twice the
        stamp's size.
    psf_source : str
        A file, "Gaussian beam of the header", or "".
    cell : float
        Pixel, rad.
    beam : tuple of float or None
        FWHM of both axes and position angle, rad.
    ra, dec : float
        Mean direction of the positions, rad, J2000: nominal.
    values : ndarray (pos,)
        Brightness at each position, Jy; NaN where it was dropped.
    weights, noise : ndarray (pos,)
        W_k, 0 where dropped, and σ_k in Jy, NaN where not known.
    dropped : dict
        Reason → numbers (from 0) of the positions left out for it.
    n_partial : int
        Stamps of which part is off the image or blank.
    random, bootstrap : ndarray or None
        Fluxes of lists of random positions, and of resampled lists, Jy.
    settings : dict
        Method, weights, alignment, filter …, as texts and numbers.
    fits : str or None
        Where the stamp was written.
    fit : PsfFit or None
        Of a source convolved with the psf to the stamp, where it was asked for.
    provenance : Provenance or None
    """

    #: The last is of a fit.
    REPORT = ("stamp.fits", "psf.fits", "stamp.png", "fluxes.png", "psf_fit.json")

    name: str
    flux: float
    flux_error: float
    flux_error_expected: float
    stamp: np.ndarray
    psf: np.ndarray | None
    psf_source: str
    cell: float
    beam: tuple[float, float, float] | None
    ra: float
    dec: float
    values: np.ndarray
    weights: np.ndarray
    noise: np.ndarray
    dropped: dict[str, np.ndarray]
    n_partial: int
    random: np.ndarray | None = None
    bootstrap: np.ndarray | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    fits: str | None = None
    fit: PsfFit | None = None
    provenance: Provenance | None = None

    @property
    def n_positions_given(self) -> int:
        """Length of the list."""
        return int(self.values.size)

    @property
    def n_positions(self) -> int:
        """Positions that entered."""
        return int((self.weights > 0).sum())

    @property
    def snr(self) -> float:
        """Flux over its error from the off-centre pixels."""
        return self.flux / self.flux_error if self.flux_error > 0 else float("nan")

    @property
    def peak_response(self) -> float | None:
        """What a point source of 1 Jy has at the centre of the stack.

        None where the dirty beam is not known.

        Below 1 by what nearest-pixel alignment smears and the filter takes out.
        """
        if self.psf is None:
            return None
        m, l = (n // 2 for n in self.psf.shape)
        return float(self.psf[m, l])

    @property
    def flux_corrected(self) -> float | None:
        """Flux over `peak_response`, Jy: of the average point source."""
        response = self.peak_response
        return self.flux / response if response is not None and response > 0 else None

    @property
    def random_error(self) -> float | None:
        """Standard deviation of the stacks at random positions, Jy."""
        return None if self.random is None else float(np.nanstd(self.random, ddof=1))

    @property
    def random_bias(self) -> float | None:
        """Mean of the stacks at random positions, Jy."""
        return None if self.random is None else float(np.nanmean(self.random))

    @property
    def bootstrap_error(self) -> float | None:
        """Standard deviation of the bootstrap, Jy.

        Noise and the variance of the sources together.
        """
        return None if self.bootstrap is None else float(np.std(self.bootstrap, ddof=1))

    def overview(self) -> Section:
        """Flux, errors and counts."""
        from uvstack.image_stacking.report import overview

        return overview(self)

    def sections(self) -> list[Section]:
        """What the page of `report` shows."""
        from uvstack.image_stacking.report import sections

        return sections(self)

    def fit_sections(self) -> list[Section]:
        """What was fitted to the stamp."""
        if self.fit is None:
            return []
        from uvstack.image_stacking.psf_fit import describe

        kind = "point" if self.fit.shape == "point" else f"{self.fit.shape} Gaussian"
        return [Section(f"psf fit of a {kind}", describe(self.fit, *flux_unit(self.fit.flux)),
                        files={"psf_fit.json": json_file(self.fit.summary())})]

    def summary(self) -> dict[str, Any]:
        """Everything but the arrays of pixels and positions, as numbers and texts that JSON can hold."""
        beam = None if self.beam is None else dict(zip(("fwhm_major_rad", "fwhm_minor_rad",
                                                        "position_angle_rad"), self.beam,
                                                       strict=True))
        result: dict[str, Any] = {"name": self.name, "flux_jy": self.flux,
                                  "flux_error_jy": plain(self.flux_error),
                                  "flux_error_expected_jy": plain(self.flux_error_expected),
                                  "snr": plain(self.snr), "peak_response": self.peak_response,
                                  "flux_corrected_jy": self.flux_corrected,
                                  "n_positions": self.n_positions,
                                  "n_positions_given": self.n_positions_given,
                                  "dropped_positions": dropped_by_reason(self.dropped),
                                  "n_partial_stamps": self.n_partial, "cell_rad": self.cell,
                                  "beam": beam, "psf": self.psf_source or None,
                                  "settings": self.settings, "fits": self.fits}
        for name, fluxes in (("random_positions", self.random), ("bootstrap", self.bootstrap)):
            if fluxes is not None:
                result[name] = distribution(fluxes, "_jy")
        if self.fit is not None:
            result["fit"] = self.fit.summary()
        return plain(result
                     | {"provenance": None if self.provenance is None else vars(self.provenance)})

    def figure(self) -> Figure:
        """Picture of the stack and its dirty beam."""
        from uvstack.image_stacking.report import stack_figure

        return stack_figure(self)
