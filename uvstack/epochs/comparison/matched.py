"""Sources of an epoch that are those of the combined map: pairs, their fluxes, their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import ARCSEC
from uvstack.epochs.comparison.agreement import (
    SIGMA_OF_MAD,
    Agreement,
    agreement,
    median_of,
    total_uncertainty,
)
from uvstack.epochs.comparison.measured import Measured
from uvstack.errors import ImageError
from uvstack.sky.pairs import one_to_one, within


@dataclass(frozen=True)
class Side:
    """One measure of n matched sources in a map: flux, noise, total uncertainty (Jy), N_beam."""

    flux: NDArray[np.float64]
    noise: NDArray[np.float64]
    sigma: NDArray[np.float64]
    n_beams: NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """One measure of matched sources in both maps, and how they agree."""

    epoch: Side
    combined: Side
    agreement: Agreement


@dataclass(frozen=True, eq=False)
class Matched:
    """Sources of an epoch and the combined map that are one, arrays of n.

    Attributes
    ----------
    epoch, combined : Measured
        All sources of both.
    of_epoch, of_combined : ndarray of int
        Their numbers there, in the order of the combined map.
    east, north : ndarray
        Epoch less combined map, rad on the sky.
    pairs : dict of str to Pair
        By measure.
    """

    epoch: Measured
    combined: Measured
    of_epoch: NDArray[np.int64]
    of_combined: NDArray[np.int64]
    east: NDArray[np.float64]
    north: NDArray[np.float64]
    pairs: dict[str, Pair]

    def __len__(self) -> int:
        """Count of matches."""
        return len(self.east)

    @property
    def east_error(self) -> NDArray[np.float64]:
        """Of `east`, from both places, rad."""
        return np.hypot(self.epoch.ra_error[self.of_epoch],
                        self.combined.ra_error[self.of_combined])

    @property
    def north_error(self) -> NDArray[np.float64]:
        """Of `north`, rad."""
        return np.hypot(self.epoch.dec_error[self.of_epoch],
                        self.combined.dec_error[self.of_combined])

    @property
    def snr(self) -> NDArray[np.float64]:
        """Peak of the combined map over the noise of the epoch; without peaks, of what there is."""
        measure = "peak" if "peak" in self.pairs else next(iter(self.pairs))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.pairs[measure].combined.flux / self.pairs[measure].epoch.noise)

    def offset(self) -> dict[str, float]:
        """Median, its error and scatter (1.4826 MAD) of `east` and `north`, rad."""
        told: dict[str, float] = {}
        for name, values in (("east", self.east), ("north", self.north)):
            middle, error, spread = median_of(values)
            told |= {f"offset_{name}": middle, f"offset_{name}_error": error,
                     f"offset_{name}_scatter": SIGMA_OF_MAD * spread if len(self) > 1 else np.nan}
        return told

    def flux_scale(self, measure: str, least_snr: float) -> tuple[float, float, int]:
        """Combined map over epoch, to be multiplied with the epoch; its error; count of sources.

        The median of R over sources that the combined map makes `least_snr` σ or more in the
        epoch: chosen by the deeper of both, so that noise which lifts a source in the epoch does
        not choose it.
        """
        ratio = self.pairs[measure].agreement.ratio
        ratio = ratio[np.isfinite(ratio) & (np.nan_to_num(self.snr) >= least_snr)]
        middle, error, _ = median_of(ratio)
        return middle, error, ratio.size


def matched_of(epoch: Measured, combined: Measured, measures: Sequence[str], radius: float,
               f_cal: float) -> Matched:
    """Sources within a radius of each other, one to one, the nearest first.

    Parameters
    ----------
    epoch, combined : Measured
    measures : sequence of str
        That both have.
    radius : float
        rad.
    f_cal : float
        Fractional uncertainty of the calibration.

    Raises
    ------
    ImageError
        One of them has no sources, or no two match.
    """
    for one in (epoch, combined):
        if len(one) == 0:
            raise ImageError(f"{one.name}: no source was found or listed in it, so that there is "
                             "nothing to compare; lower the threshold, or leave it out")
    i, k, east, north = within((epoch.ra, epoch.dec), (combined.ra, combined.dec), radius)
    kept = one_to_one(i, k, np.hypot(east, north))
    if kept.size == 0:
        raise ImageError(
            f"{epoch.name}: none of its {len(epoch)} sources lies within {radius / ARCSEC:.3g}″ "
            f"of one of {len(combined)} in {combined.name}{_nearest(epoch, combined)}; match "
            "within a larger radius, or look at the frames of both")
    kept = kept[np.argsort(k[kept], kind="stable")]
    of_epoch, of_combined = i[kept], k[kept]
    pairs = {}
    for name in measures:
        sides = _side(epoch, name, of_epoch, f_cal), _side(combined, name, of_combined, f_cal)
        pairs[name] = Pair(*sides, agreement(sides[0].flux, sides[0].sigma, sides[1].flux,
                                             sides[1].sigma))
    return Matched(epoch, combined, of_epoch, of_combined, east[kept], north[kept], pairs)


def _side(found: Measured, measure: str, which: NDArray[np.int64], f_cal: float) -> Side:
    flux = found.fluxes[measure]
    value, noise = flux.value[which], flux.noise[which]
    return Side(value, noise, total_uncertainty(value, noise, f_cal), flux.n_beams[which])


def _nearest(epoch: Measured, combined: Measured) -> str:
    """How far the closest of all pairs are apart, in words."""
    from astropy.coordinates import SkyCoord

    here, there = (SkyCoord(one.ra, one.dec, unit="rad") for one in (epoch, combined))
    apart = here.match_to_catalog_sky(there)[1].rad.min()
    return f", the nearest two are {apart / ARCSEC:.3g}″ apart"
