"""Weights of the dish: the joint psf, the noise of the joint image, and the range in which both are good.

With psf and noise of the interferometer and of the dish in a channel the joint ones follow for every
sd-gain g, by the weights of equation 3 (`uvstack.joint.reconstruction.joint_plane`), before any data are deconvolved:

    psf = F⁻¹ [ g w Ω + (1 − w) F psf_int ],

Ω pixels of the interferometer's beam, w the transform of the dish's beam, 1 at the origin; and
likewise the power of the noise, with the squares of the weights. Everything is over the peak of
the joint psf. Channels are averaged by the interferometer's weights, as term 0 is (algorithm 2).

*The viable range* (Rau, Naik & Braun 2019, section 5.2). Its upper end is where the joint psf
becomes wider than the interferometer's, by 5 %. The lower end depends on the sky; told is where
the share of the dish at the interferometer's shortest spacing, g w/(g w + 1 − w), falls to 0.15: on
the paper's simulation intensity is off by 1 % there and the spectral index by 0.03, and at 0.05 by
1.8 % and 0.04 (docs/sdint.md).

*The rule of thumb* (section 6.3). The noise of the joint image at g = 1 is that of the interferometer and
that of the dish in quadrature; the largest g within the range with which the joint noise is at
most 1.1 of the interferometer's is advised, and 1 where that already is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray
from scipy import fft

from uvstack.errors import ImageError
from uvstack.pixels.psf import fit_beam
from uvstack.sky.beam import Beam

#: How much wider the joint psf may be, how small the dish's share at the shortest spacing, and how
#: much the noise may rise.
WIDEST, LEAST_SHARE, MOST_NOISE = 1.05, 0.15, 1.1
#: Gains that are looked at.
GAINS = tuple(float(g) for g in np.geomspace(0.01, 100.0, 33))


@dataclass(frozen=True)
class ChannelWeights:
    """What a channel brings to the joint image.

    Attributes
    ----------
    psf : ndarray (v, u) complex
        Transform of the interferometer's psf, peak 1 at pixel (0, 0), by a `UVPlane`.
    w : ndarray (v, u)
        Of the dish.
    noise_power : ndarray (v, u)
        Of the interferometer, on any scale.
    sigma_high, sigma_low : float
        Noise, Jy/beam of each; NaN where it cannot be measured.
    area_high, area_low : float
        Pixels of the beams.
    weight : float
        Of the channel in the mean.
    shortest : float
        w at the shortest spacing.
    """

    psf: NDArray[np.complex128]
    w: NDArray[np.float64]
    noise_power: NDArray[np.float64]
    sigma_high: float
    sigma_low: float
    area_high: float
    area_low: float
    weight: float
    shortest: float


@dataclass(frozen=True)
class Range:
    """Gains that are good, and the one that is advised.

    `lowest`, `highest` and `advised` are None where no gain that was looked at is good; `reason`
    says why the advised one is.
    """

    lowest: float | None
    highest: float | None
    advised: float | None
    reason: str


def gain_table(channels: Sequence[ChannelWeights], size: tuple[int, int], cell: float,
               gains: Sequence[float] = GAINS) -> QTable:
    """Joint psf and noise as functions of the gain.

    Parameters
    ----------
    channels : sequence of ChannelWeights
    size : (int, int)
        Of the `UVPlane`, pixels.
    cell : float
        rad.
    gains : sequence of float

    Returns
    -------
    QTable
        gain; width_ratio, FWHM over that of the interferometer (NaN where no beam fits); noise and
        dish_noise, Jy/beam, of the joint image and the dish's part of it; share, of the dish at
        the shortest spacing, the least of the channels.
    """
    total = sum(one.weight for one in channels)
    alone = mean_psf(channels, size, 0.0)
    own = fit_beam(fft.fftshift(alone), cell)
    rows = []
    for one_gain in gains:
        psf = mean_psf(channels, size, one_gain)
        peak = float(psf[0, 0])
        try:
            beam: Beam | None = fit_beam(fft.fftshift(psf), cell)
        except ImageError:
            beam = None
        width = np.nan if beam is None else np.sqrt(beam.fwhm_major * beam.fwhm_minor
                                                    / own.fwhm_major / own.fwhm_minor)
        parts = np.sum([(one.weight / total) ** 2 * np.array(_variances(one, one_gain))
                        for one in channels], axis=0) / peak**2
        rows.append((one_gain, width, np.sqrt(parts.sum()), np.sqrt(parts[1]),
                     min(_share(one.shortest, one_gain) for one in channels)))
    gain, width, noise, of_dish, share = np.array(rows, np.float64).T
    unit = u.Jy / u.beam
    return QTable({"gain": gain, "width_ratio": width, "noise": noise * unit,
                   "dish_noise": of_dish * unit, "share": share})


def mean_psf(channels: Sequence[ChannelWeights], size: tuple[int, int],
             gain: float) -> NDArray[np.float64]:
    """Mean of the joint psfs, its middle at pixel (0, 0), not normalised; of gain 0 the interferometer's, unfiltered."""
    total = sum(one.weight for one in channels)
    if gain == 0.0:
        mean = sum(one.weight / total * one.psf for one in channels)
    else:
        mean = sum(one.weight / total * (gain * one.area_high * one.w + (1.0 - one.w) * one.psf)
                   for one in channels)
    return np.asarray(fft.irfft2(mean, size))


def viable(table: QTable, noise_high: float) -> Range:
    """The viable range of a `gain_table`, and the advised gain.

    Parameters
    ----------
    table : QTable
    noise_high : float
        Of the interferometer alone, Jy/beam; NaN where it cannot be measured.
    """
    gain = np.asarray(table["gain"])
    good = (np.nan_to_num(table["width_ratio"], nan=np.inf) <= WIDEST) & (table["share"] >= LEAST_SHARE)
    if not good.any():
        return Range(None, None, None, "no gain keeps both the interferometer's resolution and the "
                                       "dish's share: their spacings hardly overlap")
    lowest, highest = float(gain[good].min()), float(gain[good].max())
    noise = table["noise"].to_value(u.Jy / u.beam)
    at_one = float(np.interp(0.0, np.log(gain), noise))
    quiet = good & (noise <= MOST_NOISE * noise_high)
    start = min(max(1.0, lowest), highest)
    if not np.isfinite([noise_high, at_one]).all():
        return Range(lowest, highest, start, "the noise is not measurable, and says nothing of it")
    if at_one <= MOST_NOISE * noise_high:
        return Range(lowest, highest, start, "the dish adds little noise")
    below = quiet & (gain <= start)
    if below.any():
        return Range(lowest, highest, float(gain[below].max()),
                     "the joint noise is then at most 1.1 of the interferometer's")
    return Range(lowest, highest, lowest, "the lower end of the range: the dish's noise stays above "
                                          "the interferometer's")


def _variances(one: ChannelWeights, gain: float) -> tuple[float, float]:
    """Of the joint image from the interferometer and from the dish, (Jy/beam)²; psfs not normalised."""
    of_dish = gain * one.sigma_low * one.area_high / one.area_low
    return one.sigma_high**2 * _mean_ratio(one.noise_power, (1.0 - one.w) ** 2), of_dish**2


def _mean_ratio(power: NDArray, factor: NDArray) -> float:
    """Σ factor power / Σ power over the whole plane, of its half."""
    twice = np.full(power.shape[1], 2.0)
    twice[0] = 1.0
    whole = float((power * twice).sum())
    return float((factor * power * twice).sum()) / whole if whole > 0 else 0.0


def _share(w: float, gain: float) -> float:
    return gain * w / (gain * w + 1.0 - w)

