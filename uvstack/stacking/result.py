"""What a stack gives: flux, errors, uv profile, stamp, bootstrap, groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.records import Provenance, UVRange, dropped_by_reason, plain
from uvstack.report.files import Saved
from uvstack.report.numbers import distribution, rows_of
from uvstack.stacking.by_position import PositionSums, RobustFlux
from uvstack.stacking.stamp import Stamp, check_stamp, cut_stamp
from uvstack.stacking.sums import COUNT, W_Q, StackSums, W, mean_and_error
from uvstack.uv.profile import fine_bin_edges, merged, profile_table, uv_edges
from uvstack.uv.trend import FEWEST

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section


@dataclass(frozen=True, repr=False)
class StackResult(Saved):
    """A stack of one list of positions.

    Attributes
    ----------
    name : str
    flux : float
        Weighted mean of the real part over parallel hands within the uv limits, Jy.
    flux_error : float
        From the scatter of the stacked visibilities, Jy.
    flux_error_expected : float
        Equation 7 of Lindroos et al. (2015), Jy: from the noise of the unstacked visibilities, as
        if positions were independent.
    n_positions : int
        Positions that entered, in at least one pointing.
    n_positions_given : int
    dropped : dict
        Reason → numbers (from 0) of the positions left out for it.
    uv_range : UVRange
    sums : StackSums
    fields : dict
        (set, field) → (set's path, field's name, positions in its beam).
    n_not_finite : int
        Unflagged NaN or infinite visibilities, treated as flagged.
    bootstrap : ndarray or None
        Fluxes of the resampled lists, Jy.
    positions : PositionSums or None
        What each position adds, where it was kept.
    robust : dict
        "median" and "clipped-mean" → RobustFlux, where there is a bootstrap.
    groups : dict
        Group → StackResult.
    ms : str or None
        The stacked measurement set.
    stamp : Stamp or None
        Made on the way where no set is written.
    fit : FitResult or None
        Of a shape to the stacked set, where it was asked for.
    provenance : Provenance
    """

    #: The last ones are of a fit, and of the demo.
    REPORT = ("uv_profile.ecsv", "positions.ecsv", "uv_profile.png", "stamp.png", "stamp.fits", "psf.fits",
              "bootstrap.png", "fit.json", "fit.png", "before_stacking.png", "empty_positions.png")

    name: str
    flux: float
    flux_error: float
    flux_error_expected: float
    n_positions: int
    n_positions_given: int
    dropped: dict[str, np.ndarray]
    uv_range: UVRange
    sums: StackSums
    fields: dict
    n_not_finite: int = 0
    bootstrap: np.ndarray | None = None
    positions: PositionSums | None = None
    robust: dict[str, RobustFlux] = field(default_factory=dict)
    groups: dict[str, StackResult] = field(default_factory=dict)
    ms: str | None = None
    stamp: Stamp | None = None
    fit: Any = None
    provenance: Provenance | None = None

    @property
    def snr(self) -> float:
        """Flux over its error from the scatter."""
        return self.flux / self.flux_error if self.flux_error > 0 else float("nan")

    @property
    def n_visibilities(self) -> int:
        """Visibilities within the uv limits that entered.

        (row, chan) of which a parallel hand is unflagged and has a weight.
        """
        return int(self.sums.total[COUNT])

    @property
    def bootstrap_error(self) -> float | None:
        """Standard deviation of the bootstrap, Jy.

        Noise and the variance of the sources together.
        """
        return None if self.bootstrap is None else float(np.std(self.bootstrap, ddof=1))

    @property
    def per_field(self) -> QTable:
        """Table of pointings: set, field, n_positions, flux, flux_error, flux_error_expected, n_visibilities."""
        rows: dict[str, list] = {name: []
                                 for name in ("ms", "field", "n_positions", "flux", "flux_error",
                                              "flux_error_expected", "n_visibilities")}
        for key, sums in self.sums.pointings.items():
            re, _, error, _ = mean_and_error(sums)
            path, name, n_positions = self.fields[key]
            expected = np.sqrt(self.sums.variance[key]) / sums[W] if sums[W] > 0 else np.nan
            values = (path, name, n_positions, float(re), float(error), float(expected),
                      int(sums[COUNT]))
            for column, value in zip(rows, values, strict=True):
                rows[column].append(value)
        table = QTable(rows)
        for column in ("flux", "flux_error", "flux_error_expected"):
            table[column] = table[column] * u.Jy
        return table

    def uv_profile(self, bins: int | np.ndarray | list[float] = 20, unit: str = "m") -> QTable:
        """Mean visibility against uv distance, over all unflagged data whatever the uv limits of the flux.

        Parameters
        ----------
        bins : int or sequence of float
            Number of bins of equal width from the shortest to the longest baseline, or their edges
            in `unit`. Edges move to the nearest of the fine bins, 0.28 % wide.
        unit : {"m", "lambda"}

        Returns
        -------
        QTable
            uv_min, uv_max, uv_distance (weighted mean), re, im, re_error, im_error (Jy), count;
            empty bins are NaN. Where the sums of several positions were kept, re_error is by their scatter,
            which sees what visibilities have in common, and re_scatter the error by the scatter
            of the visibilities, as re_error and im_error are otherwise. Bins of wavelengths are
            taken for those of metres at the mean frequency then.
        """
        if unit not in ("m", "lambda"):
            raise ValueError(f'unit is {unit!r}; wanted "m" or "lambda"')
        fine = self.sums.metres if unit == "m" else self.sums.wavelengths
        filled = np.flatnonzero(fine[:, COUNT])
        ends = fine_bin_edges()[[filled[0], filled[-1] + 1]] if filled.size else (0.0, 1.0)
        sums, edges = merged(fine, uv_edges(bins, *ends))
        re, im, re_error, im_error = mean_and_error(sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            # The fine bins keep Σ w q in metres or wavelengths as they are.
            distance = sums[:, W_Q] / sums[:, W]
        columns = {"re": re, "im": im, "re_error": re_error, "im_error": im_error}
        if self.positions is not None and self.positions.profile and self.positions.number.size > 1:
            in_metres = edges
            if unit == "lambda":
                in_metres = edges * (self.sums.metres[:, W_Q].sum()
                                     / self.sums.wavelengths[:, W_Q].sum())
            columns["re_error"] = self.positions.profile_errors(in_metres, sums[:, W])
            columns["re_scatter"] = re_error
        return profile_table(edges[:-1], edges[1:], unit, columns, sums[:, COUNT], distance)

    def suggest_uvmin(self, bins: int = 30) -> float | None:
        """Uv distance in metres below which baselines deviate from longer ones or are much noisier, or None.

        Advice only, never applied by itself (Lindroos et al. 2015, section 4.1.5: residuals of
        bright sources sit on short baselines). It wants the sums of each position (`bootstrap` or
        `by_position`): the mean below each edge of the shorter half of so many equal bins is
        compared with that above, by the scatter of the positions, with 5 % of alarms where there is
        nothing; and a cut is advised where the error is a fifth less with it (`uvstack.uv.trend`).
        A resolved source deviates too: look.
        """
        if not self.is_judged or self.positions is None:
            return None
        profile = self.uv_profile(bins)
        edges = [u.Quantity(profile[name]).to_value(u.m) for name in ("uv_min", "uv_max")]
        return self.positions.deviant_below(np.append(edges[0][:1], edges[1]))

    @property
    def is_judged(self) -> bool:
        """Whether the sums of enough positions were kept for advice on a cut."""
        return self.positions is not None and bool(
            self.positions.profile) and self.positions.number.size >= FEWEST

    def image(self, size: int = 64, cell: float | None = None) -> Stamp:
        """Dirty image of the stack around the phase centre, from the data within the uv limits of the flux.

        Parameters
        ----------
        size : int
            Pixels on a side, even.
        cell : float, optional
            Pixel in rad; default a fifth of the resolution λ/B of the longest baseline.
        """
        from uvstack.stacking.stamp_files import stamp_of

        check_stamp(size, cell)
        return cut_stamp(self.stamp, self.name, size, cell) if self.ms is None else stamp_of(
            self.ms, self.uv_range, size, cell)

    def figure(self, bins: int | np.ndarray = 20, unit: str = "m") -> Figure:
        """Picture of the uv profile with the mean and the uv cut, in the style of Lindroos et al. (2015), Figure 4."""
        from uvstack.stacking.report import profile_figure

        return profile_figure(self, bins, unit)

    def overview(self) -> Section:
        """Flux, errors, counts and advice."""
        from uvstack.stacking.report import overview

        return overview(self)

    def sections(self, *, bins: int = 20, stamp_size: int = 64, stamp_cell: float | None = None,
                 truth: float | None = None) -> list[Section]:
        """What the page of `report` shows.

        Parameters
        ----------
        bins : int
            Of the uv profile.
        stamp_size : int
            Pixels across the stamp.
        stamp_cell : float, optional
            Its pixel, rad.
        truth : float, optional
            True flux, Jy, where it is known.
        """
        from uvstack.stacking.report import sections

        return sections(self, bins, stamp_size, stamp_cell, truth)

    def fit_sections(self) -> list[Section]:
        """What was fitted to the stacked set."""
        return [] if self.fit is None else [self.fit.as_section()]

    def summary(self) -> dict[str, Any]:
        """Everything but the sums, as numbers and texts that JSON can hold."""
        result: dict[str, Any] = {"name": self.name, "flux_jy": self.flux,
                                  "flux_error_jy": self.flux_error,
                                  "flux_error_expected_jy": self.flux_error_expected,
                                  "snr": self.snr, "n_positions": self.n_positions,
                                  "n_positions_given": self.n_positions_given,
                                  "dropped_positions": dropped_by_reason(self.dropped),
                                  "uv_range": str(self.uv_range),
                                  "n_visibilities": self.n_visibilities,
                                  "n_not_finite": self.n_not_finite,
                                  "suggested_uvmin_m": self.suggest_uvmin(), "ms": self.ms}
        if self.bootstrap is not None:
            result["bootstrap"] = distribution(self.bootstrap, "_jy")
        if self.positions is not None:
            result["n_effective"] = self.positions.n_effective
            for name, robust in self.robust.items():
                result[name.replace("-", "_")] = {"flux_jy": robust.flux, "error_jy": robust.error}
            result["most_influential"] = rows_of(self.positions.table()[self.positions.order[:1]])
        result["per_field"] = rows_of(self.per_field)
        result["groups"] = {name: group.summary() for name, group in self.groups.items()}
        if self.fit is not None:
            result["fit"] = self.fit.summary()
        return plain(result
                     | {"provenance": vars(self.provenance) if self.provenance is not None
                        else None})

    def tables(self, bins: int = 20) -> dict[str, QTable]:
        """The uv profile, and with a bootstrap the positions."""
        profile = self.uv_profile(bins)
        profile.meta = {"name": self.name, "flux_jy": self.flux, "flux_error_jy": self.flux_error}
        return {"uv_profile": profile} | (
            {"positions": self.positions.table()} if self.positions is not None else {})
