"""An image against what it should be: accuracy, fidelity, power of both, sums in apertures.

The reference is the truth, or the map of a dish, in the beam of the image. As the community of
those who combine interferometers and dishes has it (Plunkett et al. 2023, section 4),

    accuracy = (image − reference) / |reference|,

which is 0 where all is right, −1 where flux is missing; and (Pety, Gueth & Guilloteau 2001,
equation 5)

    fidelity = |reference| / max(|image − reference|, 0.7 rms(image − reference)).

Both where the reference is above a part of its peak. Sums in growing circles about the middle of
the emission tell on which scale flux is missing, mean power in rings of the uv plane does so too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray

from uvstack.errors import NumericalError
from uvstack.joint.uv_plane import UVPlane

#: Of the rms of the difference: errors below count as that (Pety et al. 2001).
_FLOOR = 0.7
#: Circles of the sums, and rings of the uv plane.
_CIRCLES, _RINGS = 25, 40


@dataclass(frozen=True)
class Comparison:
    """An image against its reference, in one beam.

    Attributes
    ----------
    image, reference : ndarray (m, l)
        Jy/beam.
    looked_at : ndarray (m, l) bool
        Where the reference is above a part of its peak.
    area : float
        Pixels of the beam.
    """

    image: NDArray[np.float64]
    reference: NDArray[np.float64]
    looked_at: NDArray[np.bool_]
    area: float

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Accuracy (m, l), NaN where it is not looked at."""
        return self._where(self.image - self.reference)

    @property
    def fidelity(self) -> NDArray[np.float64]:
        """Fidelity (m, l), NaN where it is not looked at."""
        error = np.abs(self.image - self.reference)
        inside = error[self.looked_at]
        floor = _FLOOR * float(np.sqrt(np.mean(inside**2)))
        with np.errstate(divide="ignore"):
            found = np.abs(self.reference) / np.maximum(error, floor)
        return np.where(self.looked_at, found, np.nan)

    def _where(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.looked_at, error / np.abs(self.reference), np.nan)

    def numbers(self) -> dict[str, float]:
        """Flux ratio, rms, mean and peak error, median accuracy and fidelity, over what is looked at.

        Errors are parts: the rms that of the accuracy, the peak error that of the brightest pixel.
        """
        image, reference = self.image[self.looked_at], self.reference[self.looked_at]
        accuracy, brightest = (image - reference) / np.abs(reference), int(np.argmax(reference))
        return {"flux_ratio": float(image.sum() / reference.sum()),
                "rms_error": float(np.sqrt(np.mean(accuracy**2))),
                "median_accuracy": float(np.median(accuracy)),
                "peak_error": float(accuracy[brightest]),
                "median_fidelity": float(np.nanmedian(self.fidelity))}

    def apertures(self, cell: float) -> QTable:
        """Sums in circles about the middle of the emission: radius, both sums and the rest, Jy.

        Parameters
        ----------
        cell : float
            Pixel, rad.
        """
        known = np.isfinite(self.image) & np.isfinite(self.reference)
        weight = np.where(self.looked_at, self.reference, 0.0)
        y, x = np.indices(weight.shape)
        y0, x0 = (float((weight * one).sum() / weight.sum()) for one in (y, x))
        distance = np.hypot(y - y0, x - x0)
        # To the nearest edge, beyond which circles are cut.
        most = min(x0, y0, weight.shape[1] - 1 - x0, weight.shape[0] - 1 - y0)
        radii = np.linspace(0.0, most, _CIRCLES + 1)[1:]
        place = np.searchsorted(radii, distance[known])
        sums = [np.cumsum(np.bincount(place, one[known], _CIRCLES + 1))[:_CIRCLES] / self.area
                for one in (self.image, self.reference)]
        return QTable({"radius": (radii * cell * u.rad).to(u.arcsec), "flux": sums[0] * u.Jy,
                       "flux_reference": sums[1] * u.Jy, "residual": (sums[0] - sums[1]) * u.Jy})

    def power_spectra(self, plane: UVPlane) -> QTable:
        """Mean power of the image, the reference and their difference in rings of the uv plane."""
        blank = ~(np.isfinite(self.image) & np.isfinite(self.reference))
        both = [plane.transform(np.where(blank, np.nan, one)) / self.area
                for one in (self.image, self.reference)]
        return plane.ring_means({"power": np.abs(both[0]) ** 2,
                                 "power_reference": np.abs(both[1]) ** 2,
                                 "power_residual": np.abs(both[0] - both[1]) ** 2}, _RINGS, u.Jy**2)


def compare(image: NDArray, reference: NDArray, area: float, least: float,
            what: str = "the reference") -> Comparison:
    """An image and its reference, both (m, l) Jy/beam in one beam.

    Parameters
    ----------
    image, reference : ndarray (m, l)
        NaN is blank.
    area : float
        Pixels of the beam.
    least : float
        Part of the reference's peak above which it is looked at.
    what : str
        Of the reference, for messages.

    Raises
    ------
    NumericalError
        The reference has nothing above 0 where the image is.
    """
    known = np.isfinite(image) & np.isfinite(reference)
    top = float(reference[known].max()) if known.any() else 0.0
    if not top > 0:
        raise NumericalError(f"{what} has no emission where the image is; wanted is one of the "
                             "same part of the sky")
    return Comparison(np.asarray(image, np.float64), np.asarray(reference, np.float64),
                      known & (np.where(known, reference, 0.0) >= least * top), area)
