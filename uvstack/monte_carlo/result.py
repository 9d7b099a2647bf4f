"""What a Monte Carlo gives: the fluxes of random lists, and what they say of the real stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.records import Provenance, Shown, UVRange, plain
from uvstack.report.files import Saved
from uvstack.report.numbers import distribution, rows_of
from uvstack.sky.beam import TRANSFORM_SCALE
from uvstack.uv.profile import profile_table
from uvstack.uv.trend import trend_edge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section

#: Least error of a mean over lists, in parts of their scatter, where residuals are inferred from
#: it: very many lists know the mean of this noise map over the region, which is
#: sqrt(positions/beams) of that for a single list and no sign of residuals.
FIELD = 0.05


@dataclass(frozen=True, repr=False)
class Sample(Shown):
    """Fluxes of the random lists by one method.

    Attributes
    ----------
    name : str
        "uv-stack", "image, nearest pixel" …
    flux : float
        Of the real list, Jy.
    fluxes : ndarray (realisation,)
        Of the random lists, fake sources included, Jy.
    truths : ndarray (realisation,)
        Weighted mean flux of the fake sources, Jy; 0 without.
    blanks : ndarray (realisation,)
        Fluxes of the same lists without fake sources, Jy.
    unseen : float
        Standard error that all lists have in common, Jy: that of the fake sources' mean cross-talk
        where it is taken from a few.
    """

    name: str
    flux: float
    fluxes: np.ndarray
    truths: np.ndarray
    blanks: np.ndarray
    unseen: float = 0.0

    @property
    def errors(self) -> np.ndarray:
        """Flux less truth of each realisation, Jy."""
        return np.asarray(self.fluxes - self.truths)

    @property
    def n(self) -> int:
        """Realisations with a flux."""
        return int(np.isfinite(self.errors).sum())

    @property
    def bias(self) -> float:
        """Mean error, Jy."""
        return float(np.nanmean(self.errors)) if self.n else float("nan")

    @property
    def noise(self) -> float:
        """Standard deviation of the errors, Jy: the noise of one stack."""
        return float(np.nanstd(self.errors, ddof=1)) if self.n > 1 else float("nan")

    @property
    def bias_error(self) -> float:
        """Standard error of the bias, Jy."""
        return float(np.hypot(self.noise / np.sqrt(self.n),
                              self.unseen)) if self.n else float("nan")

    @property
    def noise_error(self) -> float:
        """Standard error of the noise, Jy, for a normal distribution."""
        return self.noise / np.sqrt(2 * (self.n - 1)) if self.n > 1 else float("nan")

    @property
    def offset(self) -> float:
        """Mean of the stacks without fake sources, Jy: the part of the bias that does not scale with flux."""
        return float(np.nanmean(self.blanks)) if self.n else float("nan")

    @property
    def offset_error(self) -> float:
        """Standard error of the offset, Jy."""
        return float(np.nanstd(self.blanks,
                               ddof=1)) / np.sqrt(self.n) if self.n > 1 else float("nan")

    @property
    def response(self) -> float | None:
        """Share of their flux that fake sources keep, on average: the part of the bias that scales; None without them."""
        used = np.isfinite(self.errors) & (self.truths != 0)
        return float(np.mean((self.fluxes - self.blanks)[used])
                     / np.mean(self.truths[used])) if used.any() else None

    @property
    def significance(self) -> float:
        """(Real flux − offset) / noise. The scatter of the targets' own fluxes is not in it."""
        return (self.flux - self.offset) / self.noise if self.noise > 0 else float("nan")

    @property
    def share_above(self) -> float:
        """Share of the stacks without fake sources that reach the real flux: a probability without any distribution assumed."""
        return float(np.mean(self.blanks[np.isfinite(self.blanks)]
                             >= self.flux)) if self.n else float("nan")

    def summary(self) -> dict[str, Any]:
        """Numbers that JSON can hold."""
        names = ("bias", "bias_error", "noise", "noise_error", "offset", "offset_error")
        values = {f"{name}_jy": plain(getattr(self, name)) for name in names}
        return {"name": self.name, "flux_jy": plain(self.flux), "n": self.n, **values,
                "mean_flux_jy": plain(float(np.nanmean(self.fluxes))) if self.n else None,
                "mean_truth_jy": plain(float(np.nanmean(self.truths))) if self.n else None,
                "response": self.response, "significance": plain(self.significance),
                "share_above": plain(self.share_above), "errors": distribution(self.errors, "_jy")}


@dataclass(frozen=True, repr=False)
class BinnedFluxes(Shown):
    """Stacks in bins of uv distance; NaN where a bin is empty.

    Attributes
    ----------
    edges : ndarray (bin + 1,)
        Metres.
    fluxes : ndarray (bin, list)
        Jy; the real list comes first.
    distance : ndarray (bin,)
        Rms uv distance, wavelengths.
    blanks : ndarray (bin, list)
        Without fake sources, Jy.
    """

    edges: np.ndarray
    fluxes: np.ndarray
    distance: np.ndarray
    blanks: np.ndarray

    def sizes(self, uv_range: UVRange | None = None) -> np.ndarray:
        """FWHM of the Gaussian that fits the bins of each random list best, rad, (list,), by least squares of flux and size.

        Bins that lie wholly in the uv range count, weighted by their scatter over the lists. For
        each size the best flux is known, so that one number is searched for: on a grid from what
        the longest to what the shortest baseline resolves, then by a parabola. 0 where a point fits
        best, NaN where the flux is negative.
        """
        scatter = self.fluxes[:, 1:].std(axis=1, ddof=1)
        good = np.isfinite(scatter) & (scatter > 0) & np.isfinite(self.distance) & self.inside(
            uv_range or UVRange())
        if good.sum() < 2:
            return np.full(self.fluxes.shape[1] - 1, np.nan)
        q, weight, fluxes = self.distance[good], scatter[good] ** -2, self.fluxes[good, 1:]
        grid = np.append(0.0, np.geomspace(0.02 / q.max(), 2.0 / q.min(), 1000) / TRANSFORM_SCALE)
        envelope = np.exp(-(TRANSFORM_SCALE * np.outer(grid, q)) ** 2)
        product = envelope @ (weight[:, None] * fluxes)
        gain = product * np.abs(product) / (envelope**2 @ weight)[:, None]
        best = gain.argmax(axis=0)
        lists = np.arange(best.size)
        inner = np.clip(best, 2, grid.size - 2)
        below, at, above = (gain[inner + i, lists] for i in (-1, 0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            shift = np.clip(np.nan_to_num(0.5 * (below - above) / (below - 2 * at + above)), -1, 1)
        size = np.where(best == inner, grid[inner] * (grid[2] / grid[1]) ** shift, grid[best])
        return np.where(gain[best, lists] > 0, size, np.nan)

    def inside(self, uv_range: UVRange) -> np.ndarray:
        """Which bins lie in a uv range, (bin,) bool: both edges where it is in metres, else the rms distance."""
        low, high = (self.edges[:-1],
                     self.edges[1:]) if uv_range.unit == "m" else (self.distance, self.distance)
        # The last edge lies just beyond the longest baseline.
        return np.asarray((low >= uv_range.minimum) & (high <= uv_range.maximum * (1 + 1e-9)))


@dataclass(frozen=True, repr=False)
class MonteCarloResult(Saved):
    """Noise and bias of a stack from random positions and fake sources.

    Attributes
    ----------
    name : str
    uv : Sample
        The uv-stacks.
    images : tuple of Sample
        Image-stacks of the same positions.
    flux_error_expected : float
        Equation 7 of Lindroos et al. (2015) for the real stack, Jy.
    n_positions : int
        Of each list.
    uv_range : UVRange
    mode : str
        How positions were drawn, in words.
    method : str
        "images" or "exact".
    fake : str
        What was added, in words; "" for nothing.
    cross_talk : float or None
        Expected scatter of the fake sources' sidelobes at each other where that was left out, Jy.
    bins : BinnedFluxes or None
    sizes : ndarray (realisation,) or None
        Fitted FWHM of each realisation, rad.
    ra, dec : ndarray (realisation, pos)
        The positions, J2000, rad.
    fields : dict
        (set, field) → (set's path, field's name).
    settings : dict
    provenance : Provenance or None
    """

    REPORT = ("realisations.ecsv", "uv_profile.ecsv", "histogram.png", "uv_profile.png",
              "scatter.png", "sizes.png")

    name: str
    uv: Sample
    images: tuple[Sample, ...]
    flux_error_expected: float
    n_positions: int
    uv_range: UVRange
    mode: str
    method: str
    fake: str
    cross_talk: float | None
    bins: BinnedFluxes | None
    ra: np.ndarray
    dec: np.ndarray
    sizes: np.ndarray | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: Provenance | None = None

    @property
    def flux(self) -> float:
        """Of the real stack, Jy."""
        return self.uv.flux

    @property
    def noise(self) -> float:
        """Of the uv-stack, Jy."""
        return self.uv.noise

    @property
    def bias(self) -> float:
        """Of the uv-stack, Jy."""
        return self.uv.bias

    @property
    def significance(self) -> float:
        """Of the real uv-stack."""
        return self.uv.significance

    @property
    def samples(self) -> tuple[Sample, ...]:
        """That of the uv-stack and those of image-stacks."""
        return (self.uv, *self.images)

    def table(self) -> QTable:
        """A row for each realisation: flux, truth and flux without fake sources by each method, Jy, and the fitted size."""
        table = QTable({"realisation": np.arange(self.uv.fluxes.size)})
        for sample, name in zip(self.samples,
                                ("uv",
                                 *(s.name.replace(",", "").replace(" ", "_") for s in self.images)),
                                strict=True):
            for what, values in (("flux", sample.fluxes), ("truth", sample.truths),
                                 ("blank", sample.blanks)):
                table[f"{name}_{what}"] = values * u.Jy
        if self.sizes is not None:
            table["size"] = (self.sizes * u.rad).to(u.arcsec)
        return table

    def uv_profile(self) -> QTable:
        """Mean over the random stacks in bins of uv distance (Lindroos et al. 2015, Figure 6).

        Returns
        -------
        QTable
            uv_min, uv_max (m), re: mean of the random stacks, scatter: their standard deviation,
            re_error: that of the mean, real: the real stack, blank: the mean without fake sources
            (Jy), count: lists; empty bins are NaN.

        Raises
        ------
        ValueError
            The Monte Carlo was made without bins.
        """
        if self.bins is None:
            raise ValueError("the Monte Carlo was made without uv bins; give bins= (--bins)")
        random = self.bins.fluxes[:, 1:]
        scatter = random.std(axis=1, ddof=1) if random.shape[1] > 1 else np.full(
            random.shape[0], np.nan)
        columns = {"re": random.mean(axis=1), "scatter": scatter,
                   "re_error": scatter / np.sqrt(random.shape[1]),
                   "real": self.bins.fluxes[:, 0], "blank": self.bins.blanks[:, 1:].mean(axis=1)}
        count = np.where(np.isfinite(random).all(axis=1), random.shape[1], 0)
        return profile_table(self.bins.edges[:-1], self.bins.edges[1:], "m", columns, count)

    @property
    def field_error(self) -> float:
        """What the offset of one field may be by the sources in it, Jy: `FIELD` times the noise."""
        return FIELD * self.noise

    def suggest_uvmin(self) -> float | None:
        """Uv distance in metres below which the random stacks deviate from the longer baselines, or None.

        The test of `StackResult.suggest_uvmin` (`uvstack.uv.trend`) on the random stacks without
        fake sources: no source that is resolved disturbs it, and its errors are smaller by the root
        of the number of lists, up to 400. Bins weigh with the inverse variance of the lists. Only
        advice.
        """
        if self.bins is None:
            return None
        blanks = self.bins.blanks[:, 1:]
        used = np.flatnonzero(np.isfinite(blanks).all(axis=1) & (np.ptp(blanks, axis=1) > 0))
        if used.size == 0:
            return None
        weight = np.repeat(blanks[used].var(axis=1, keepdims=True) ** -1.0, blanks.shape[1], axis=1)
        # One and the same advice whenever it is asked for.
        found = trend_edge(blanks[used] * weight, weight, np.random.default_rng(0), FIELD)
        return None if found is None else float(self.bins.edges[used[found - 1] + 1])

    def overview(self) -> Section:
        """Flux, noise, bias and advice."""
        from uvstack.monte_carlo.report import overview

        return overview(self)

    def sections(self) -> list[Section]:
        """What the page of `report` shows."""
        from uvstack.monte_carlo.report import sections

        return sections(self)

    def summary(self) -> dict[str, Any]:
        """Everything but the positions, as numbers and texts that JSON can hold."""
        result: dict[str, Any] = {"name": self.name, "flux_jy": self.flux,
                                  "noise_jy": plain(self.noise), "bias_jy": plain(self.bias),
                                  "bias_error_jy": plain(self.uv.bias_error),
                                  "offset_jy": plain(self.uv.offset),
                                  "significance": plain(self.significance),
                                  "flux_error_expected_jy": plain(self.flux_error_expected),
                                  "realisations": int(self.uv.fluxes.size),
                                  "n_positions": self.n_positions, "uv_range": str(self.uv_range),
                                  "positions": self.mode, "method": self.method,
                                  "fake_sources": self.fake or None,
                                  "cross_talk_left_out_jy": self.cross_talk,
                                  "suggested_uvmin_m": self.suggest_uvmin(),
                                  "samples": [sample.summary() for sample in self.samples],
                                  "settings": self.settings}
        if self.bins is not None:
            result["uv_profile"] = rows_of(self.uv_profile())
        if self.sizes is not None:
            result["sizes"] = distribution(self.sizes, "_rad")
        return plain(result
                     | {"provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self) -> dict[str, QTable]:
        """The realisations, and the uv profile where there are bins."""
        table = self.table()
        table.meta = {"name": self.name,
                      "seed": None if self.provenance is None else self.provenance.seed}
        return {"realisations": table} | ({} if self.bins is None
                                          else {"uv_profile": self.uv_profile()})

    def figure(self) -> Figure:
        """Picture of the histogram with its Gaussian, in the style of Lindroos et al. (2015), Figure 5."""
        from uvstack.monte_carlo.report import histogram_figure

        return histogram_figure(self)
