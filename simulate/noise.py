"""Thermal noise: the standard deviation of one visibility, and numbers drawn with it.

The real and the imaginary part of a visibility of one correlation each scatter by

    σ = sqrt(SEFD_p SEFD_q) / (η sqrt(2 Δν t)),        SEFD = 2 k T_sys / (η_A π D²/4),

with Δν the width of the channel and t the integration time (Wrobel & Walker 1999, equations 9-5 and
9-12; Thompson, Moran & Swenson 2017, section 6.2). The factor two stands for the Δν t independent
samples that a multiplier of two different antennas sees twice, and is what separates an
interferometer from a total-power receiver. σ is the scatter of either part, not of the modulus, and
that is also how WEIGHT = 1/σ² of a measurement set is meant. Noise that the source itself adds is
left out: the formulas hold for sources much weaker than the SEFD.

With precipitable water vapour given, T_sys follows the ALMA Technical Handbook, chapter
"Sensitivity calculator":

    T_sys = (1 + g) e^{τ X} / η_f · [T_rx + η_f T_sky + (1 − η_f) T_amb],   T_sky = T_atm (1 − e^{−τ X}) + T_cmb e^{−τ X},

X the airmass, g = 1 for the double-sideband bands 9 and 10 and 0 for the others. τ = dry(ν) + pwv ·
wet(ν) is a sum of Van Vleck–Weisskopf lines of oxygen and water and of a continuum in ν², fitted to
the model ATM (Pardo, Cernicharo & Serabyn 2001, as in casatools 6.7) for 5059 m, 560 mbar and 270
K. Against that model, band by band and with 1 mm of water, the zenith transmission is off by 0.012
or less (median; 0.033 in band 10), by 0.07 or less at nine frequencies of ten. Narrow lines of
ozone are not in it, nor anything above 950 GHz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uvstack.constants import BOLTZMANN, JANSKY, SPEED_OF_LIGHT
from uvstack.errors import UvstackError

#: Joule second (exact, CODATA 2018).
PLANCK = 6.62607015e-34
#: Antennas of ALMA: efficiency of a perfect surface, rms error of the surface in m, quantisation ×
#: correlator efficiency (Technical Handbook, chapter "Sensitivity calculator"; CASA's simobserve
#: has the same).
ALMA_APERTURE_EFFICIENCY, ALMA_SURFACE_RMS, ALMA_EFFICIENCY = 0.72, 25e-6, 0.96 * 0.88
#: Temperatures in K of the ground, of the air that emits (mean of ATM's layers, weighted with their
#: emission), and of the sky behind; share of the beam that does not see the ground.
T_AMBIENT, T_ATMOSPHERE, T_BACKGROUND, FORWARD_EFFICIENCY = 270.0, 260.0, 2.725, 0.95
#: Lowest and highest frequency (GHz), receiver temperature (K) and 1 + g of ALMA's bands as in the
#: sensitivity calculator of cycle 7 (they are also those of CASA 6.7). Between bands the next
#: higher one is taken.
_BANDS = (
    (30, 50, 28, 1), (67, 84, 30, 1), (84, 116, 40, 1), (125, 163, 42, 1), (163, 211, 50, 1), (211, 275, 50, 1),
    (275, 373, 72, 1), (385, 500, 135, 1), (602, 720, 105, 2), (787, 950, 230, 2))  # fmt: skip
#: Lines as (frequency in GHz, half width in GHz, strength), and the continuum in GHz⁻². Strengths
#: are per mm of water.
_WET_LINES = (
    (22.235, 2, 2.145e-5), (183.310, 2, 7.684e-5), (321.226, 2, 5.22e-7), (325.153, 2, 2.430e-5), (380.197, 2, 1.671e-4),
    (439.151, 2, 7.65e-6), (443.018, 2, 3.46e-6), (448.001, 2, 1.097e-4), (470.889, 2, 3.69e-6), (474.689, 2, 1.270e-5),
    (488.491, 2, 3.10e-6), (556.936, 2, 6.027e-3), (620.701, 2, 3.751e-5), (752.033, 2, 2.272e-3), (916.172, 2, 5.46e-5),
    (987.927, 2, 1.701e-3))  # fmt: skip
_WET_CONTINUUM = 6.155e-7
_DRY_LINES = (
    (54.0, 1, 7.729e-4), (63.0, 1, 1.241e-4), (66.0, 1, 2.476e-4), (118.750, 1, 8.576e-5), (368.498, 1, 2.13e-6),
    (424.763, 1, 2.153e-5), (487.249, 1, 5.48e-6), (715.393, 1, 1.31e-6), (773.840, 1, 9.01e-6), (834.146, 1, 2.67e-6))  # fmt: skip
_DRY_CONTINUUM = 1.3287e-7
#: Below this the airmass 1/sin(elevation) fails, and no telescope observes.
_LOWEST_ELEVATION = math.radians(3.0)


@dataclass(frozen=True)
class Noise:
    """How noisy a visibility is; made by one of the constructors below.

    Attributes
    ----------
    sigma_jy : float or None
        Standard deviation of a visibility whatever its channel and time, Jy. The other attributes
        are then idle.
    sefd_jy : float or None
        System equivalent flux density of an antenna, Jy.
    efficiency : float
        η of the digitisers and the correlator, above 0 and up to 1.
    t_sys, t_receiver : float or None
        K. Without t_receiver that of ALMA's band is taken.
    dish_diameter : float or None
        Metres.
    aperture_efficiency, surface_rms : float
        η_A of a perfect surface, and the rms error of the surface in m: η_A falls by exp(−(4π
        rms/λ)²) (Ruze 1966).
    pwv_mm : float or None
        Precipitable water vapour above the telescope, mm.
    elevation : float
        Radians; where `sigma` is not told one.
    factor : float
        What σ is multiplied with in the end, for an observation that stands for a longer or shorter
        one.
    """

    sigma_jy: float | None = None
    sefd_jy: float | None = None
    efficiency: float = 1.0
    t_sys: float | None = None
    t_receiver: float | None = None
    dish_diameter: float | None = None
    aperture_efficiency: float = 1.0
    surface_rms: float = 0.0
    pwv_mm: float | None = None
    elevation: float = math.pi / 2
    factor: float = 1.0

    def __post_init__(self) -> None:
        given = [n for n in ("sigma_jy", "sefd_jy", "t_sys", "pwv_mm")
                 if getattr(self, n) is not None]
        if len(given) != 1:
            raise UvstackError(f"noise from {' and '.join(given) or 'nothing'}; give one of "
                               "sigma_jy, sefd_jy, t_sys, pwv_mm")
        for name in ("sigma_jy", "sefd_jy", "t_sys", "pwv_mm", "t_receiver", "surface_rms",
                     "factor"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < math.inf:
                raise UvstackError(f"noise with {name} = {value}; it must be a number of 0 or more")
        for name in ("efficiency", "aperture_efficiency"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise UvstackError(f"noise with {name} = {getattr(self, name)}; it must be above "
                                   "0 and at most 1")
        if given[0] in ("t_sys", "pwv_mm") and not 0.0 < (self.dish_diameter or 0.0) < math.inf:
            raise UvstackError(f"noise from {given[0]} with a dish of {self.dish_diameter} m; the "
                               "diameter must be positive")

    @classmethod
    def noise_per_visibility(cls, sigma_jy: float) -> Noise:
        """The same σ (Jy) for every visibility, as in Lindroos et al. (2015), section 2.2; 0 for none."""
        return cls(sigma_jy=sigma_jy)

    @classmethod
    def from_sefd(cls, sefd_jy: float, efficiency: float = 1.0) -> Noise:
        """From the system equivalent flux density of every antenna (Jy)."""
        return cls(sefd_jy=sefd_jy, efficiency=efficiency)

    @classmethod
    def from_system_temperature(
        cls, t_sys: float, dish_diameter: float, aperture_efficiency: float, efficiency: float = 1.0
    ) -> Noise:
        """From a system temperature (K), the same at all frequencies and elevations; `efficiency` is the correlator's."""
        return cls(t_sys=t_sys, dish_diameter=dish_diameter,
                   aperture_efficiency=aperture_efficiency, efficiency=efficiency)

    @classmethod
    def from_water_vapour(
        cls, pwv_mm: float, elevation: float = math.pi / 2, t_receiver: float | None = None, dish_diameter: float = 12.0,
        aperture_efficiency: float = ALMA_APERTURE_EFFICIENCY, surface_rms: float = ALMA_SURFACE_RMS,
        efficiency: float = ALMA_EFFICIENCY,
    ) -> Noise:  # fmt: skip
        """As at ALMA's site under some precipitable water vapour (mm); everything else has ALMA's values."""
        return cls(
            pwv_mm=pwv_mm, elevation=elevation, t_receiver=t_receiver, dish_diameter=dish_diameter, efficiency=efficiency,
            aperture_efficiency=aperture_efficiency, surface_rms=surface_rms)  # fmt: skip

    def sigma(
        self, frequency: ArrayLike, width: ArrayLike, integration: float, elevation: ArrayLike | None = None,
        diameters: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Standard deviation of the real, and of the imaginary, part of one visibility of one correlation, Jy.

        Parameters
        ----------
        frequency, width : float arrays (chan,)
            Centres and widths of the channels, Hz; the sign of a width does not matter.
        integration : float
            Seconds.
        elevation : float array (row,), optional
            Radians, from 3° to 90°. By default that of the noise. Only water vapour asks for it.
        diameters : pair of floats or of float arrays (row,), optional
            Dishes of the first and second antenna of each row, m. By default that of the noise.
            Only noise from a temperature asks for it.

        Returns
        -------
        float64 array (row, chan), or (1, chan) where nothing depends on the row

        Raises
        ------
        UvstackError
            No channel, a frequency, width, time or dish that is not positive, an elevation below 3°
            or above 90°.
        """
        frequency, width = np.atleast_1d(np.asarray(frequency, float)), np.atleast_1d(
            np.abs(np.asarray(width, float)))
        if frequency.ndim != 1 or frequency.shape != width.shape:
            raise ValueError(f"frequency {frequency.shape} and width {width.shape}; both must be "
                             "(chan,)")
        if frequency.size == 0:
            raise UvstackError("noise for zero channels; give one frequency or more")
        _require_positive("a frequency in Hz", frequency)
        _require_positive("a channel width in Hz", width)
        _require_positive("an integration time in s", integration)
        if self.sigma_jy is not None:
            return np.full((1, frequency.size), self.factor * self.sigma_jy)
        return self.factor * self.sefd(frequency, elevation, diameters) / (
            self.efficiency * np.sqrt(2.0 * width * integration))

    def sefd(self, frequency: ArrayLike, elevation: ArrayLike | None = None,
             diameters: tuple[ArrayLike, ArrayLike] | None = None) -> NDArray[np.float64]:
        """System equivalent flux density of a pair of antennas, their geometric mean, (row or 1, chan) Jy."""
        frequency = np.atleast_1d(np.asarray(frequency, float))
        if self.sefd_jy is not None:
            return np.full((1, frequency.size), float(self.sefd_jy))
        if self.dish_diameter is None:
            raise UvstackError("noise stated as a σ per visibility has no SEFD; state it as a "
                               "SEFD or a temperature")
        first, second = (np.atleast_1d(np.asarray(d, float))
                         for d in diameters or (self.dish_diameter, self.dish_diameter))
        _require_positive("a dish diameter in m", first * second)
        ruze = np.exp(-((4.0 * math.pi * self.surface_rms / SPEED_OF_LIGHT * frequency) ** 2))
        area = math.pi / 4.0 * (first * second)[:, None] * self.aperture_efficiency * ruze
        return 2.0 * BOLTZMANN * self.system_temperature(frequency, elevation) / area / JANSKY

    def system_temperature(self, frequency: ArrayLike,
                           elevation: ArrayLike | None = None) -> NDArray[np.float64]:
        """T_sys referred to above the atmosphere, (row or 1, chan) K; arguments as of `sigma`.

        Radiation temperatures of sky and ground are those of Planck's law; T_rx is taken as it is
        quoted.
        """
        frequency = np.atleast_1d(np.asarray(frequency, float))
        if self.t_sys is not None:
            return np.full((1, frequency.size), float(self.t_sys))
        if self.pwv_mm is None:
            raise UvstackError("noise stated in Jy has no system temperature; state it as t_sys "
                               "or pwv_mm")
        angle = np.atleast_1d(np.asarray(self.elevation if elevation is None else elevation, float))
        bad = ~((angle >= _LOWEST_ELEVATION) & (angle <= math.pi / 2 + 1e-9))
        if bad.any():
            worst = math.degrees(angle[bad][0])
            raise UvstackError(f"an elevation of {worst:.1f}°; noise from water vapour is for 3° "
                               "to 90°: set an elevation limit")
        depth = zenith_opacity(frequency, self.pwv_mm) / np.sin(angle)[:, None]
        receiver, sidebands = _receiver(frequency)
        receiver = receiver if self.t_receiver is None else np.full_like(receiver, self.t_receiver)
        ambient, air, behind = (_radiation(t, frequency)
                                for t in (T_AMBIENT, T_ATMOSPHERE, T_BACKGROUND))
        passed = np.exp(-depth)
        sky = air * (1.0 - passed) + behind * passed
        collected = receiver + FORWARD_EFFICIENCY * sky + (1.0 - FORWARD_EFFICIENCY) * ambient
        return sidebands * collected / (FORWARD_EFFICIENCY * passed)


def zenith_opacity(frequency: ArrayLike, pwv_mm: float) -> NDArray[np.float64]:
    """Zenith opacity τ (chan,) above ALMA's site: the fit that the docstring of this file describes.

    Parameters
    ----------
    frequency : float array (chan,)
        Hz, 30 to 950 GHz.
    pwv_mm : float
        Precipitable water vapour, mm.
    """
    ghz = np.atleast_1d(np.asarray(frequency, float)) / 1e9
    outside = (ghz < _BANDS[0][0]) | (ghz > _BANDS[-1][1])
    if outside.any():
        raise UvstackError(f"{ghz[outside][0]:g} GHz: noise from water vapour is for 30 to 950 "
                           "GHz; give a SEFD or T_sys instead")
    return _absorption(ghz, _DRY_LINES, _DRY_CONTINUUM) + pwv_mm * _absorption(
        ghz, _WET_LINES, _WET_CONTINUUM)


def weights(sigma: ArrayLike) -> NDArray[np.float32]:
    """WEIGHT = 1/σ² of visibilities with σ in Jy; 1 where there is no noise."""
    sigma = np.asarray(sigma, float)
    return np.divide(1.0, sigma**2, out=np.ones_like(sigma), where=sigma > 0.0).astype(np.float32)


def image_noise(sigma: ArrayLike, n_visibilities: float = 1.0) -> float:
    """Noise of a naturally weighted image in Jy/beam: 1/sqrt(Σ n/σ²).

    Parameters
    ----------
    sigma : float or float array
        Standard deviation of the real part of a visibility, Jy.
    n_visibilities : float
        How many visibilities each value of sigma stands for: times × baselines × channels ×
        correlations. A baseline counts once; its conjugate holds no other noise.

    Notes
    -----
    Thompson, Moran & Swenson (2017), section 6.2. For Lindroos et al. (2015), σ = 10 mJy with 3384
    times, 351 baselines, 10 channels and 2 correlations this gives 2.05 µJy; the paper has 2.1.
    """
    sigma = np.asarray(sigma, float)
    if sigma.size == 0 or not n_visibilities > 0 or not (np.isfinite(sigma) & (sigma >= 0.0)).all():
        raise UvstackError(f"image noise of {sigma.size * n_visibilities:g} visibilities; wanted: "
                           "one or more, with σ of 0 or more")
    if (sigma == 0.0).any():
        return 0.0
    return float(1.0 / np.sqrt(n_visibilities * np.sum(sigma**-2.0)))


def add_noise(shape: tuple[int, int, int], sigma: ArrayLike, rng: np.random.Generator,
              vis: NDArray[np.complex64] | None = None) -> NDArray[np.complex64]:
    """Gaussian noise (row, chan, corr) complex64 with the given σ, alone or added to visibilities.

    Parameters
    ----------
    shape : tuple (row, chan, corr)
    sigma : float, or float array (row or 1, chan)
        Jy, of the real and of the imaginary part alike.
    rng : numpy Generator
        The same state gives the same bytes. Numbers go to the rows in order; with one generator a
        time, the noise does not depend on how times are gathered into chunks.
    vis : complex64 array (row, chan, corr), optional
        Modified in place and returned.
    """
    if len(shape) != 3 or (vis is not None and vis.shape != tuple(shape)):
        raise ValueError(f"noise of shape {shape} for visibilities "
                         f"{None if vis is None else vis.shape}; wanted (row, chan, corr)")
    scale = np.asarray(sigma, np.float32)
    if scale.ndim not in (0, 2):
        raise ValueError(f"sigma of shape {scale.shape}; wanted a number or (row or 1, chan)")
    scale = scale[..., None]  # of every correlation
    if scale.ndim == 3 and any(n not in (1, wanted)
                               for n, wanted in zip(scale.shape, shape, strict=True)):
        raise ValueError(f"sigma of shape {scale.shape[:2]} for visibilities {shape}; wanted a "
                         "number or (row or 1, chan)")
    noise = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise *= scale
    if vis is None:
        return noise
    vis += noise
    return vis


def _absorption(ghz: NDArray, lines: tuple[tuple[float, float, float], ...],
                continuum: float) -> NDArray:
    """Van Vleck & Weisskopf (1945) lines and a continuum, both rising as ν²."""
    shape = np.full_like(ghz, continuum)
    for centre, half_width, strength in lines:
        near = half_width / ((ghz - centre) ** 2 + half_width**2)
        shape += strength * (near + half_width / ((ghz + centre) ** 2 + half_width**2))
    return shape * ghz**2


def _receiver(frequency: NDArray) -> tuple[NDArray, NDArray]:
    """T_rx and 1 + g of ALMA's band at each frequency."""
    band = np.searchsorted([high for _, high, _, _ in _BANDS], frequency / 1e9)
    return np.array([b[2] for b in _BANDS], float)[band], np.array([b[3] for b in _BANDS],
                                                                   float)[band]


def _radiation(temperature: float, frequency: NDArray) -> NDArray:
    """Temperature that the Rayleigh–Jeans law would need for the brightness of a black body."""
    x = PLANCK / BOLTZMANN * frequency
    return x / np.expm1(x / temperature)


def _require_positive(what: str, value: ArrayLike) -> None:
    value = np.asarray(value, float)
    bad = ~(np.isfinite(value) & (value > 0.0))
    if bad.any():
        raise UvstackError(f"noise with {what} of {value[bad][0]:g}; it must be positive")
