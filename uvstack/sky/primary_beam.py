"""Primary beams: the power response A(l, m, ν) of one antenna, 1 on axis.

Every model is a frozen dataclass that is called with direction cosines relative to the *pointing*
centre and with frequencies, and gives an array (pos, chan):

    beam = primary_beam("evla")
    A = beam(l, m, frequency)

With r = sqrt(l² + m²) and θ = arcsin r, most models are circular and depend on θν alone: A(θ, ν) =
A(θν/ν₀, ν₀). A is a power: a source seen at both antennas of a baseline through the same beam
appears A times as bright. Squint, polarisation, rotation with parallactic angle and differences
between antennas are not modelled.

Where a model says nothing, A is 0 and never extrapolated: beyond the last radius of a table, the
edge of an image, the first null of a formula that describes only the main lobe, the level to which
a polynomial was fitted (polynomials turn up again past their null), and below the horizon (r > 1).
NaN positions give NaN.

Cost: one evaluation of the profile for each (position, channel). Named beams come from
`primary_beam`; beams in files (tables, images) from `uvstack.io.primary_beams.read_primary_beam`;
`primary_beam_image` holds the model behind an image.
"""

import difflib
import functools
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from uvstack.constants import ARCMIN, SPEED_OF_LIGHT
from uvstack.errors import PrimaryBeamError
from uvstack.sky.beam import FOUR_LN2

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: cos(πs)/(1 − 4s²) is sqrt(1/2) at s = COSINE_TAPER_SCALE / 2; Mauch et al. (2020) print 1.189.
COSINE_TAPER_SCALE = 1.18896478



class PrimaryBeam(ABC):
    """Power response of one antenna.

    a model of your own subclasses this and defines `_power` and `describe`.
    """

    #: Whether the power depends on frequency and the distance from the axis alone, for those who
    #: make tables of it.
    is_radial: ClassVar[bool] = False

    def __call__(self, l: ArrayLike, m: ArrayLike, frequency: ArrayLike) -> NDArray[np.float64]:
        """Power response at every position and frequency.

        Parameters
        ----------
        l, m : float array (pos,)
            Direction cosines to the east and north of the pointing centre.
        frequency : float array (chan,)
            Hz, positive.

        Returns
        -------
        float64 array (pos, chan)
            1 on axis, 0 where the model says nothing.

        Raises
        ------
        PrimaryBeamError
            A frequency is not positive, or lies outside the range of the model.
        ValueError
            The arrays are not one-dimensional or `l` and `m` differ in length.
        """
        l, m, frequency = (np.asarray(a, dtype=np.float64) for a in (l, m, frequency))
        if l.ndim != 1 or l.shape != m.shape or frequency.ndim != 1:
            raise ValueError(
                f"found l {l.shape}, m {m.shape}, frequency {frequency.shape}; l and m must be 1-d and of one length, "
                "frequency 1-d: ravel the positions first"
            )
        bad = ~(np.isfinite(frequency) & (frequency > 0.0))
        if bad.any():
            raise PrimaryBeamError(f"frequency {frequency[bad][0]} Hz: a primary beam wants positive frequencies in Hz")
        return self._power(l, m, frequency)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}>"

    @abstractmethod
    def describe(self) -> str:
        """One line of text with the model, its parameters and its source, for provenance."""

    @abstractmethod
    def _power(self, l: NDArray, m: NDArray, frequency: NDArray) -> NDArray:
        """`__call__` after its checks."""


class _RadialBeam(PrimaryBeam):
    """A beam that depends on the angle from the pointing centre alone."""

    is_radial = True

    def _power(self, l: NDArray, m: NDArray, frequency: NDArray) -> NDArray:
        radius = np.hypot(l, m)
        power = self._profile(np.arcsin(np.minimum(radius, 1.0))[:, None], frequency[None, :])
        power[radius > 1.0] = 0.0
        return power

    @abstractmethod
    def _profile(self, theta: NDArray, frequency: NDArray) -> NDArray:
        """Power at angles (pos, 1) in radians and frequencies (1, chan) in Hz, as a new array."""


@dataclass(frozen=True, repr=False)
class Constant(_RadialBeam):
    """A = 1 everywhere above the horizon."""

    def describe(self) -> str:
        return "constant: no attenuation"

    def _profile(self, theta: NDArray, frequency: NDArray) -> NDArray:
        return 1.0 + 0.0 * theta * frequency


@dataclass(frozen=True, repr=False)
class Gaussian(_RadialBeam):
    """Gaussian A = exp(−4 ln2 (θ/θ_F)²), θ_F = fwhm · reference_frequency / ν, not truncated.

    Attributes
    ----------
    fwhm : float
        Full width at half power in radians at `reference_frequency`.
    reference_frequency : float
        Hz.
    """

    fwhm: float
    reference_frequency: float

    def __post_init__(self) -> None:
        _require_positive("a Gaussian beam", fwhm=self.fwhm, reference_frequency=self.reference_frequency)

    def describe(self) -> str:
        return f"gaussian: FWHM {_angle_text(self.fwhm)} at {frequency_text(self.reference_frequency)}, scaled as 1/ν"

    def _profile(self, theta: NDArray, frequency: NDArray) -> NDArray:
        return np.exp(-FOUR_LN2 * (theta * frequency / (self.fwhm * self.reference_frequency)) ** 2)


@dataclass(frozen=True, repr=False)
class Airy(_RadialBeam):
    """Uniformly illuminated circular aperture with a circular central blockage.

    With x = πDν sinθ/c, ε = blockage/diameter and jinc(x) = 2 J1(x)/x, the voltage is
    [jinc(x) − ε² jinc(εx)] / (1 − ε²) (Born & Wolf 1999, section 8.5.2, for a disc less a disc), A
    its square. Exact in sinθ, and so scaled in sinθ rather than θ.

    Attributes
    ----------
    diameter, blockage : float
        Metres; the blockage may be 0.
    max_radius : float
        Angle in radians at 1 GHz, scaled as 1/ν, beyond which A = 0. By default the side lobes are
        kept.
    casa_blockage : bool
        Take jinc(x/ε) where jinc(εx) belongs, which is what CASA computes (PBMath1DAiry.cc;
        measured with casatools 6.7, where it agrees to 4e-4). The slip raises A by up to 0.011 for
        ALMA's 12 m dishes, 0.032 for its 7 m dishes and 0.020 for the VLA. Use it to undo a
        correction that CASA has made, not to describe an antenna.
    """

    diameter: float
    blockage: float = 0.0
    max_radius: float = math.inf
    casa_blockage: bool = False

    def __post_init__(self) -> None:
        _require_positive("an Airy beam", diameter=self.diameter, max_radius=self.max_radius)
        if not 0.0 <= self.blockage < self.diameter:
            raise PrimaryBeamError(
                f"an Airy beam with a blockage of {self.blockage} m in a dish of {self.diameter} m; "
                "the blockage must be 0 or more and smaller than the dish"
            )

    def describe(self) -> str:
        text = f"airy: dish {self.diameter:g} m, blockage {self.blockage:g} m"
        if self.casa_blockage:
            text += ", blockage term as CASA computes it"
        if math.isfinite(self.max_radius):
            text += f", zero beyond {_angle_text(self.max_radius)} at 1 GHz"
        return text

    def _profile(self, theta: NDArray, frequency: NDArray) -> NDArray:
        x = np.sin(theta) * (math.pi * self.diameter / SPEED_OF_LIGHT * frequency)
        voltage = _jinc(x)
        if self.blockage > 0.0:
            ratio = self.blockage / self.diameter
            inner = _jinc(x / ratio if self.casa_blockage else x * ratio)
            voltage = (voltage - ratio**2 * inner) / (1.0 - ratio**2)
        power = voltage**2
        power[theta * frequency > self.max_radius * 1e9] = 0.0
        return power


@dataclass(frozen=True, repr=False)
class CosineTaper(_RadialBeam):
    """Cosine-tapered aperture, A = [cos(πs) / (1 − 4s²)]² with s = 1.189 θ/θ_F (Mauch et al. 2020, equation 3).

    θ_F = fwhm · reference_frequency / ν (their equation 4). The formula follows the measured main
    lobe; its side lobes are not those of the antenna, so A = 0 beyond the first null, s = 3/2.

    Attributes
    ----------
    fwhm : float
        Full width at half power in radians at `reference_frequency`.
    reference_frequency, low, high : float
        Hz; the beam answers from `low` to `high`.
    """

    fwhm: float
    reference_frequency: float
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        _require_positive("a cosine-tapered beam", fwhm=self.fwhm, reference_frequency=self.reference_frequency)

    def describe(self) -> str:
        width = f"FWHM {_angle_text(self.fwhm)} at {frequency_text(self.reference_frequency)}, scaled as 1/ν"
        return f"cosine-tapered aperture: {width}, zero beyond the first null; Mauch et al. (2020), eq. 3"

    def _profile(self, theta: NDArray, frequency: NDArray) -> NDArray:
        require_range("this cosine-tapered beam", frequency, [(self.low, self.high)])
        s = COSINE_TAPER_SCALE / (self.fwhm * self.reference_frequency) * theta * frequency
        # cos(πs)/(1 − 4s²) as a sum of two sincs, which is finite at s = 1/2.
        voltage = math.pi / 4.0 * (np.sinc(s - 0.5) + np.sinc(s + 0.5))
        return np.where(s > 1.5, 0.0, voltage**2)


@dataclass(frozen=True)
class PolynomialBand:
    """Polynomial fits P(x) = 1 + c1 x + c2 x² + ..., x = (θ/arcmin · ν/GHz)², at the frequencies of one band."""

    name: str
    low: float  # edges of the band, Hz
    high: float
    frequency: tuple[float, ...]  # of the fits, Hz, increasing
    coefficients: tuple[tuple[float, ...], ...]  # (fit, term): c1, c2, ...


@dataclass(frozen=True, repr=False)
class RadialPolynomial(_RadialBeam):
    """Published polynomial fits to the main lobe, one or several frequencies a band.

    Within a band the coefficients are interpolated linearly in frequency at fixed θν, so that A has
    no steps inside a spectral window (CASA takes the nearest fit: steps of several per cent in the
    wing). Beyond the first and the last fit of a band that fit is scaled with frequency. A
    frequency on the edge of two bands belongs to the lower one.

    A = 0 from the first radius at which A falls to `floor` or begins to rise again.

    Attributes
    ----------
    name, source : str
    bands : tuple of PolynomialBand
        Lowest first.
    floor : float
        Power, the level to which the fits are believed.
    reciprocal : bool
        A = 1/P rather than P.
    """

    name: str
    source: str
    bands: tuple[PolynomialBand, ...]
    floor: float
    reciprocal: bool = False

    def describe(self) -> str:
        kind = "reciprocal polynomial" if self.reciprocal else "polynomial"
        names = " ".join(band.name for band in self.bands)
        return f"{self.name}: {kind} in (θν)², bands {names}, zero below {self.floor:g}; {self.source}"

    def _profile(self, theta: NDArray, frequency: NDArray) -> NDArray:
        coefficients = self._coefficients(frequency[0])
        last = self._last_radius(coefficients)
        x = (theta / ARCMIN * (frequency / 1e9)) ** 2
        inside = np.minimum(x, last)  # keeps the powers of far positions from overflowing
        polynomial = np.zeros_like(x)
        for c in coefficients[::-1]:
            polynomial = polynomial * inside + c
        return np.where(x > last, 0.0, 1.0 / polynomial if self.reciprocal else polynomial)

    def _coefficients(self, frequency: NDArray) -> NDArray:
        """Coefficients of x⁰, x¹, ... for each channel, (term, chan)."""
        require_range(self.name, frequency, [(band.low, band.high) for band in self.bands])
        terms = max(len(row) for band in self.bands for row in band.coefficients)
        coefficients = np.zeros((terms + 1, frequency.size))
        coefficients[0] = 1.0
        todo = np.ones(frequency.shape, dtype=bool)
        for band in self.bands:
            here = todo & (frequency >= band.low) & (frequency <= band.high)
            todo &= ~here
            for i, column in enumerate(zip(*band.coefficients, strict=True), start=1):
                coefficients[i, here] = np.interp(frequency[here], band.frequency, column)
        return coefficients

    def _last_radius(self, coefficients: NDArray) -> NDArray:
        """Largest x at which the fit is believed, (chan,)."""
        level = coefficients.copy()
        level[0] -= 1.0 / self.floor if self.reciprocal else self.floor
        slope = coefficients[1:] * np.arange(1, len(coefficients))[:, None]
        return np.minimum(_first_positive_root(level), _first_positive_root(slope))


@dataclass(frozen=True, repr=False, eq=False)
class RadialTable(_RadialBeam):
    """A tabulated profile at one frequency, scaled as 1/ν and interpolated with a cubic spline.

    The spline is even about θ = 0 and is clipped at 0 (it can swing below between points near a
    null). A = 0 beyond the last angle. Powers are divided by the one on axis.

    Attributes
    ----------
    angle : float array (point,)
        Radians from the axis at `reference_frequency`, increasing, the first 0; at least 4.
    power : float array (point,)
        Power, not voltage or decibel.
    reference_frequency : float
        Hz.
    source : str
        Where the table comes from, for `describe`.
    """

    angle: NDArray[np.float64]
    power: NDArray[np.float64]
    reference_frequency: float
    source: str = "radial profile"
    _spline: Any = field(init=False)

    def __post_init__(self) -> None:
        _require_positive("a tabulated beam", reference_frequency=self.reference_frequency)
        angle, power = (np.array(a, dtype=np.float64) for a in (self.angle, self.power))
        if angle.ndim != 1 or angle.shape != power.shape or angle.size < 4:
            raise PrimaryBeamError(f"a tabulated beam with angles {angle.shape} and powers {power.shape}; give 4 rows or more of both")
        if not (np.isfinite(angle).all() and np.isfinite(power).all()):
            raise PrimaryBeamError("a tabulated beam holds NaN or infinite values; leave those rows out")
        if angle[0] != 0.0 or (np.diff(angle) <= 0.0).any():
            raise PrimaryBeamError(f"a tabulated beam whose angles begin with {angle[:3]} rad; they must begin at 0 and increase")
        require_peak_on_axis("a tabulated beam", power[0], power.max())
        power /= power[0]
        for name, array in (("angle", angle), ("power", power)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        from scipy.interpolate import CubicSpline

        object.__setattr__(self, "_spline", CubicSpline(angle, power, bc_type=((1, 0.0), "not-a-knot")))

    def describe(self) -> str:
        extent = f"{self.angle.size} angles to {_angle_text(self.angle[-1])}"
        return f"table: {self.source}, {extent} at {frequency_text(self.reference_frequency)}, scaled as 1/ν"

    def _profile(self, theta: NDArray, frequency: NDArray) -> NDArray:
        scaled = theta * (frequency / self.reference_frequency)
        power = np.maximum(self._spline(scaled), 0.0)
        # A table written in degrees and read in radians must not lose its last row to rounding.
        power[scaled > self.angle[-1] * (1.0 + 1e-12)] = 0.0
        return power


def fwhm(beam: PrimaryBeam, frequency: float) -> float:
    """Full width at half power of a beam, in radians.

    Twice the angle at which A first falls through 1/2, averaged over the four directions ±l and ±m.

    Parameters
    ----------
    beam : PrimaryBeam
    frequency : float
        Hz.

    Returns
    -------
    float
        Infinite for a beam that stays above 1/2 out to the horizon.

    Raises
    ------
    PrimaryBeamError
        The beam ends (edge of an image or table) before it falls to 1/2.
    """
    nu = np.array([frequency], dtype=np.float64)
    directions = [(1, 0)] if beam.is_radial else [(1, 0), (-1, 0), (0, 1), (0, -1)]
    return 2.0 * float(np.mean([_half_power_angle(beam, nu, *direction) for direction in directions]))


def primary_beam(beam: "str | PrimaryBeam") -> PrimaryBeam:
    """The primary beam of a name or a short text.

    Parameters
    ----------
    beam : str or PrimaryBeam
        A name of `preset_names` (upper and lower case are the same), `gaussian:30arcmin@1.4GHz`
        (FWHM at a frequency), `airy:25m` or `airy:25m,2.36m` (diameter, blockage), or a beam, which
        is returned as it is.

    Returns
    -------
    PrimaryBeam

    Raises
    ------
    PrimaryBeamError
        The text cannot be read, or names a file, which `uvstack.io.primary_beams.read_primary_beam`
        opens.
    """
    if isinstance(beam, PrimaryBeam):
        return beam
    if not isinstance(beam, str):
        raise PrimaryBeamError(f"a primary beam of type {type(beam).__name__}; give a name, a text or a PrimaryBeam")
    kind, colon, parameters = beam.strip().partition(":")
    kind = kind.strip().lower().replace("_", "-")
    if colon and kind == "gaussian":
        return _parse_gaussian(parameters)
    if colon and kind == "airy":
        return _parse_airy(parameters)
    if (colon and kind in ("table", "image")) or kind.endswith((".fits", ".fit", ".fits.gz")):
        raise PrimaryBeamError(f"{beam!r} is a file; open it with uvstack.io.primary_beams.read_primary_beam")
    name = _ALIASES.get(kind, kind)
    if colon or name not in _PRESETS:
        raise PrimaryBeamError(_unknown_text(beam))
    return _PRESETS[name]()


def preset_names() -> list[str]:
    """Names that `primary_beam` knows, aliases included, in alphabetical order."""
    return sorted([*_PRESETS, *_ALIASES])


def _unknown_text(beam: str) -> str:
    forms = "gaussian:30arcmin@1.4GHz, airy:25m,2.36m, table:PATH@1.4GHz, image:PATH"
    known = preset_names()
    close = difflib.get_close_matches(beam.strip().lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"unknown primary beam {beam!r}; {hint}Known are {', '.join(known)}; {forms}"


def _parse_gaussian(parameters: str) -> Gaussian:
    width, at, frequency = parameters.partition("@")
    if not at:
        raise PrimaryBeamError(
            f"'gaussian:{parameters}' has no reference frequency; write for example gaussian:30arcmin@1.4GHz"
        )
    return Gaussian(parse_quantity(width, u.rad, "the FWHM"), parse_quantity(frequency, u.Hz, "the frequency"))


def _parse_airy(parameters: str) -> Airy:
    lengths = parameters.split(",")
    if len(lengths) > 2:
        raise PrimaryBeamError(f"'airy:{parameters}' has {len(lengths)} lengths; write airy:DIAMETER,BLOCKAGE")
    diameter = parse_quantity(lengths[0], u.m, "the dish diameter")
    return Airy(diameter, parse_quantity(lengths[1], u.m, "the blockage") if len(lengths) == 2 else 0.0)


def parse_quantity(text: str, unit: u.UnitBase, what: str) -> float:
    """Number that a text such as "30arcmin" stands for, in `unit`.

    `what` names it in the PrimaryBeamError if none.
    """
    try:
        value = u.Quantity(text.strip()).to_value(unit)
    except (TypeError, ValueError, u.UnitsError) as error:
        raise PrimaryBeamError(
            f"{text.strip()!r} for {what} of a primary beam; write a number with a unit that converts to {unit}"
        ) from error
    return float(value)


def _half_power_angle(beam: PrimaryBeam, frequency: NDArray, east: int, north: int) -> float:
    def excess(radius: NDArray) -> NDArray:
        radius = np.atleast_1d(radius)
        return beam(east * radius, north * radius, frequency)[:, 0] - 0.5

    radius = np.geomspace(1e-8, 1.0, 400)  # steps of 5 per cent: finer than any main lobe
    below = np.flatnonzero(excess(radius) < 0.0)
    if not below.size:
        return math.inf
    if below[0] == 0:
        raise PrimaryBeamError(f"{beam.describe()}: the beam is below half power on its axis")
    outer = radius[below[0]]
    from scipy.optimize import brentq

    root = brentq(lambda r: excess(r)[0], radius[below[0] - 1], outer, xtol=1e-14, rtol=1e-12)
    if abs(excess(root)[0]) > 1e-6:  # the bracket has closed on a jump
        raise PrimaryBeamError(f"{beam.describe()}: the beam ends before it falls to half power; use a wider one")
    return math.asin(root)


def _jinc(x: NDArray) -> NDArray:
    """2 J1(x) / x, 1 at 0."""
    safe = np.where(x == 0.0, 1.0, x)
    from scipy.special import j1

    return np.where(x == 0.0, 1.0, 2.0 * j1(safe) / safe)


def _first_positive_root(coefficients: NDArray) -> NDArray:
    """Smallest positive x with Σ coefficients[i] xⁱ = 0 for each column, infinite where there is none."""
    # 1/x is an eigenvalue of the companion matrix of the reversed polynomial, whose leading term is
    # never 0 here; the zeros that pad short rows only add roots at infinity.
    scale = 1e3  # of the order of x at the null, so that the coefficients are of one order
    degree = len(coefficients) - 1
    scaled = coefficients * scale ** np.arange(degree + 1)[:, None]
    companion = np.zeros((coefficients.shape[1], degree, degree))
    companion[:, 0, :] = -(scaled[1:] / scaled[0]).T
    companion[:, np.arange(1, degree), np.arange(degree - 1)] = 1.0
    inverse = np.linalg.eigvals(companion)
    real = (np.abs(inverse.imag) <= 1e-7 * np.abs(inverse)) & (inverse.real > 1e-9)
    largest = np.max(np.where(real, inverse.real, 0.0), axis=1, initial=0.0)
    return np.divide(scale, largest, out=np.full(largest.shape, np.inf), where=largest > 0.0)


def _require_positive(what: str, **values: float) -> None:
    for name, value in values.items():
        if not value > 0.0:
            raise PrimaryBeamError(f"{what} with {name} {value}; it must be positive")


def require_peak_on_axis(what: str, centre: float, peak: float) -> None:
    if not (centre > 0.0 and peak <= 1.1 * centre):
        raise PrimaryBeamError(
            f"{what} with {centre:.4g} on axis and a largest value of {peak:.4g}; wanted is power (not voltage or "
            "decibel) that peaks on the axis, which for an image is its reference pixel"
        )


def require_range(what: str, frequency: NDArray, ranges: list[tuple[float, float]]) -> None:
    covered = np.zeros(frequency.shape, dtype=bool)
    merged: list[tuple[float, float]] = []
    for low, high in ranges:
        covered |= (frequency >= low) & (frequency <= high)
        if merged and merged[-1][1] == low:
            merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    if not covered.all():
        text = ", ".join(range_text(low, high) for low, high in merged)
        raise PrimaryBeamError(
            f"{what} at {frequency_text(frequency[~covered][0])}: it is known for {text} only; "
            "select those channels or give another beam, for example airy:DIAMETER,BLOCKAGE"
        )


def frequency_text(frequency: float) -> str:
    return f"{frequency / 1e9:.6g} GHz"


def range_text(low: float, high: float) -> str:
    return f"{low / 1e9:.6g} to {high / 1e9:.6g} GHz"


def _angle_text(angle: float) -> str:
    arcsec = math.degrees(angle) * 3600.0
    return f"{arcsec:.5g} arcsec" if arcsec < 120.0 else f"{arcsec / 60.0:.5g} arcmin"


@functools.cache
def _published(name: str) -> RadialPolynomial:
    """One entry of data/primary_beams.toml, where the coefficients and their sources stand."""
    text = resources.files("uvstack.sky").joinpath("data").joinpath("primary_beams.toml").read_text(encoding="utf-8")
    entry = tomllib.loads(text)[name]
    bands = tuple(
        PolynomialBand(
            name=band["name"], low=band["low"] * 1e6, high=band["high"] * 1e6, frequency=tuple(row[0] * 1e6 for row in band["fits"]),
            coefficients=tuple(tuple(c * unit for c, unit in zip(row[1:], entry["unit"], strict=False)) for row in band["fits"]),
        )
        for band in entry["bands"]
    )
    return RadialPolynomial(name, entry["source"], bands, entry["floor"], entry["form"] == "reciprocal")


def _meerkat() -> CosineTaper:
    # Fitted at L band; de Villiers (2023) finds the scaling to hold over most of UHF and S band.
    return CosineTaper(57.5 * ARCMIN, 1.5e9, low=0.544e9, high=3.5e9)


# Effective diameters, blockages and last radii at 1 GHz of CASA's PBMath.cc. The diameters of ALMA
# are those of Hunter and Brogan (2011), chosen for the width that a tapered 12 m or 7 m dish has.
# The radii lie inside the first null.
_ALMA = Airy(10.7, 0.75, max_radius=math.radians(1.784))
_ALMA_7M = Airy(6.25, 0.75, max_radius=math.radians(3.568))
_CASA_VLA = Airy(25.0, 2.36, max_radius=math.radians(0.8564), casa_blockage=True)

_PRESETS: dict[str, Callable[[], PrimaryBeam]] = {
    "constant": Constant,
    "evla": functools.partial(_published, "evla"),
    "vla": functools.partial(_published, "vla"),
    "atca": functools.partial(_published, "atca"),
    "meerkat": _meerkat,
    "alma": lambda: _ALMA,
    "alma-7m": lambda: _ALMA_7M,
    "casa-alma": lambda: replace(_ALMA, casa_blockage=True),
    "casa-alma-7m": lambda: replace(_ALMA_7M, casa_blockage=True),
    "casa-vla": lambda: _CASA_VLA,
}

_ALIASES = {"aca": "alma-7m", "casa-aca": "casa-alma-7m", "jvla": "evla", "none": "constant", "vla-airy": "casa-vla"}
