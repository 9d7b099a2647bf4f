"""What goes wrong between sky and data: gains of antennas, of directions and of pointing, and flags; each with its truth.

A corruption is a frozen record of a few numbers. `draw` makes its realisation for a whole
observation, a *track*; the track is then a plain function of time and frequency, evaluated chunk by
chunk:

    track = PhaseErrors(rms=0.3, timescale=60.0).draw(time, frequency, n_ant, rng)      # whole observation, once
    gains = track.at(time[start:stop], frequency)                                       # any part, (time, ant, chan, 2)
    vis = apply_gains(vis, gains, antenna1, antenna2, time_index, correlations)

so that chunks show no seams and one seed gives one set of bytes however the work is cut. A gain is
g = a exp(iφ) for each antenna and receptor (0 for R or X, 1 for L or Y), and V_pq becomes g_p V_pq
g_q*: the measurement equation with diagonal Jones matrices (Hamaker, Bregman & Sault 1996; Smirnov
2011a; G and ΔE of VLASS memo 23, equation 1).

Quantities that change with time are stationary Gaussian processes with the power spectrum

    P(f) ∝ (1 + (2π f T)²)^(index/2),

flat below 1/(2πT) and a power law above. With T the timescale, index −2 has the autocorrelation
exp(−|τ|/T); index −8/3, the default, has the structure function ∝ τ^(5/3) of Kolmogorov turbulence
for τ ≪ T (Thompson, Moran & Swenson 2017, section 13.1). Knots lie one integration apart, or T/256
where that is longer. At the knots a process has exactly the autocorrelation of its spectrum, by
circulant embedding (Dietrich & Newsam 1997); between knots it is linear, so where integrations are
longer than T and unevenly spaced it scatters less there. T = inf stands for values that never
change.

Cost: one FFT for each antenna and receptor; memory 12 bytes a knot, antenna and receptor. Not
modelled: leakage between receptors, phases that depend on frequency otherwise than a delay,
atmospheres that neighbouring antennas share.
"""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulate import kernels
from simulate.gain_tracks import GainTrack, PointingTrack, gain_track, read_truth, save_truth
from uvstack.constants import CORRELATIONS
from uvstack.errors import UvstackError

__all__ = [
    "AntennaFlags", "Bandpass", "ComplexGains", "Delays", "DirectionDependentGains", "GainCorruption", "PhaseErrors",
    "PointingErrors", "RandomFlags", "apply_gains", "corrupt_sources", "read_truth", "save_truth"]  # fmt: skip

KOLMOGOROV = -8.0 / 3.0

#: Receptors of the first and second antenna in each product, by casacore's code.
_RECEPTORS = {5: (0, 0), 6: (0, 1), 7: (1, 0), 8: (1, 1), 9: (0, 0), 10: (0, 1), 11: (1, 0),
              12: (1, 1)}
_KNOTS_PER_TIMESCALE = 256
#: Knots from first to last time beyond which a timescale is too short for the length of the track.
_LONGEST_FFT = 50_000_000


class GainCorruption(ABC):
    """A corruption that multiplies each antenna's signal."""

    @abstractmethod
    def draw(self, time: ArrayLike, frequency: ArrayLike, n_ant: int,
             rng: np.random.Generator) -> GainTrack:
        """Realisation for a whole observation: all its times (s) and all the frequencies of a window (Hz)."""

    def gains(self, time: ArrayLike, frequency: ArrayLike, n_ant: int,
              rng: np.random.Generator) -> NDArray[np.complex64]:
        """Gains (time, ant, chan, receptor) complex64 of a whole observation; for parts of it use `draw` and `at`."""
        return self.draw(time, frequency, n_ant, rng).at(time, frequency)


@dataclass(frozen=True)
class PhaseErrors(GainCorruption):
    """Phases of antennas, both receptors alike and all frequencies alike: the path through the atmosphere.

    Attributes
    ----------
    rms : float
        Radians, of one antenna; a baseline has sqrt(2) times that.
    timescale : float
        T of the power spectrum, s.
    power_law_index : float
        Of the power spectrum, below −1.
    """

    rms: float
    timescale: float
    power_law_index: float = KOLMOGOROV

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, time: ArrayLike, frequency: ArrayLike, n_ant: int,
             rng: np.random.Generator) -> GainTrack:
        """As of `GainCorruption`."""
        knots, values = _process(time, self.timescale, self.power_law_index, (n_ant, 1), rng)
        return gain_track(knots, phase=np.repeat(self.rms * values, 2, axis=2))


@dataclass(frozen=True)
class Delays(GainCorruption):
    """Delays of antennas and receptors: phases 2π τ (ν − reference_frequency).

    Attributes
    ----------
    rms : float
        Seconds.
    timescale : float
        T of the power spectrum (index −8/3), s; constant by default.
    reference_frequency : float
        Hz, where the phase is 0. That is frequency 0 for the delay of a cable; a band's centre
        leaves its mean phase.
    """

    rms: float
    timescale: float = math.inf
    reference_frequency: float = 0.0

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, time: ArrayLike, frequency: ArrayLike, n_ant: int,
             rng: np.random.Generator) -> GainTrack:
        """As of `GainCorruption`."""
        knots, values = _process(time, self.timescale, KOLMOGOROV, (n_ant, 2), rng)
        return gain_track(knots, delay=self.rms * values,
                          reference_frequency=self.reference_frequency)


@dataclass(frozen=True)
class ComplexGains(GainCorruption):
    """Amplitudes and phases of antennas and receptors, independent of each other, all frequencies alike.

    Attributes
    ----------
    amplitude_rms : float
        Standard deviation of ln|g|. |g| is log-normal with mean 1, so that no gain is zero and all
        can be undone.
    phase_rms : float
        Radians.
    timescale, power_law_index : float
        As of `PhaseErrors`.
    """

    amplitude_rms: float
    phase_rms: float
    timescale: float = math.inf
    power_law_index: float = KOLMOGOROV

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, time: ArrayLike, frequency: ArrayLike, n_ant: int,
             rng: np.random.Generator) -> GainTrack:
        """As of `GainCorruption`."""
        knots, phase = _process(time, self.timescale, self.power_law_index, (n_ant, 2), rng)
        _, level = _process(time, self.timescale, self.power_law_index, (n_ant, 2), rng)
        amplitude = np.exp(self.amplitude_rms * level - 0.5 * self.amplitude_rms**2)
        return gain_track(knots, amplitude=amplitude, phase=self.phase_rms * phase)


@dataclass(frozen=True)
class Bandpass(GainCorruption):
    """Ripples in amplitude and phase across the band, constant in time; mean amplitude 1 and mean phase 0.

    Attributes
    ----------
    amplitude_rms, phase_rms : float
        Of the ripples over channels and antennas, 1 and rad.
    n_ripples : int
        Sine waves with 1 … n_ripples cycles across the band, all with the same expected power.
    """

    amplitude_rms: float
    phase_rms: float
    n_ripples: int = 3

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, time: ArrayLike, frequency: ArrayLike, n_ant: int,
             rng: np.random.Generator) -> GainTrack:
        """As of `GainCorruption`; `frequency` is the whole band."""
        frequency = np.sort(_axis(frequency, "frequency"))
        # x ends a channel before 1, so that whole cycles add up to nothing over the channels.
        x = np.arange(frequency.size) / frequency.size
        cycles = 2.0 * np.pi * np.outer(x, np.arange(1, self.n_ripples + 1))
        waves = np.concatenate([np.cos(cycles), np.sin(cycles)], axis=1)
        waves -= waves.mean(axis=0)
        level, phase = (np.einsum("cw,war->car", waves,
                                  rng.standard_normal((2 * self.n_ripples, n_ant,
                                                       2))) * (rms / math.sqrt(self.n_ripples))
                        for rms in (self.amplitude_rms, self.phase_rms))
        if (level <= -1.0).any():
            raise UvstackError(f"a bandpass with amplitude_rms {self.amplitude_rms:g} has fallen "
                               "to zero somewhere; give a smaller one, 0.2 at most")
        knots = np.array([_axis(time, "time").min()])
        return gain_track(knots, shape=(1, n_ant, 2), frequency=frequency,
                          band_amplitude=1.0 + level, band_phase=phase)


@dataclass(frozen=True)
class DirectionDependentGains:
    """Complex gains of their own for some sources: ΔE of VLASS memo 23, equation 1, which peeling must find.

    Attributes
    ----------
    sources : tuple of str
        Names of the sources they touch.
    amplitude_rms, phase_rms, timescale, power_law_index : float
        As of `ComplexGains`.
    """

    sources: tuple[str, ...]
    amplitude_rms: float
    phase_rms: float
    timescale: float = math.inf
    power_law_index: float = KOLMOGOROV

    def __post_init__(self) -> None:
        _check(self)
        if isinstance(self.sources, str) or not self.sources or len(set(self.sources)) < len(self.sources):
            raise UvstackError(f"direction-dependent gains of {self.sources!r}; give the names of "
                               "one source or more, each once")

    def draw(self, time: ArrayLike, frequency: ArrayLike, n_ant: int,
             rng: np.random.Generator) -> dict[str, GainTrack]:
        """A realisation for each source; arguments as of `GainCorruption`."""
        one = ComplexGains(self.amplitude_rms, self.phase_rms, self.timescale, self.power_law_index)
        return {name: one.draw(time, frequency, n_ant, rng) for name in self.sources}

    def gains(
        self, time: ArrayLike, frequency: ArrayLike, n_ant: int, rng: np.random.Generator
    ) -> dict[str, NDArray[np.complex64]]:
        """Gains (time, ant, chan, receptor) of each source for a whole observation."""
        return {name: track.at(time, frequency)
                for name, track in self.draw(time, frequency, n_ant, rng).items()}


@dataclass(frozen=True)
class PointingErrors:
    """Antennas that point beside the nominal centre, each by an offset of its own that drifts.

    Attributes
    ----------
    rms : float
        Radians, along l and along m alike.
    timescale, power_law_index : float
        As of `PhaseErrors`; constant by default.
    """

    rms: float
    timescale: float = math.inf
    power_law_index: float = KOLMOGOROV

    def __post_init__(self) -> None:
        _check(self)

    def draw(self, time: ArrayLike, n_ant: int, rng: np.random.Generator) -> PointingTrack:
        """Realisation for all times (s) of an observation."""
        knots, values = _process(time, self.timescale, self.power_law_index, (n_ant, 2), rng)
        return PointingTrack(knots, (self.rms * values).astype(np.float32))


@dataclass(frozen=True)
class RandomFlags:
    """Flags on a share of the visibilities, drawn anew for every time, baseline and channel; all correlations alike."""

    fraction: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.fraction <= 1.0:
            raise UvstackError(f"flags on a fraction {self.fraction} of the visibilities; it must "
                               "lie between 0 and 1")

    def flags(self, time: ArrayLike, antenna1: ArrayLike, antenna2: ArrayLike, n_chan: int,
              rng: np.random.Generator) -> NDArray[np.bool_]:
        """Flags (row, chan); true is flagged.

        Parameters
        ----------
        time : float array (row,)
            Seconds.
        antenna1, antenna2 : int arrays (row,)
        n_chan : int
        rng : numpy Generator
            One number is taken from it. Rows may come in any chunks and order: with a generator in
            the same state, each gets the same flags.
        """
        time, first, second = _rows(time, antenna1, antenna2)
        out = np.zeros((time.size, n_chan), np.bool_)
        key = np.uint64(rng.integers(2**63))
        # Adding 0 turns −0 into 0, the only two equal times of different bits.
        bits = np.ascontiguousarray(time + 0.0).view(np.uint64)
        kernels.random_flags(key, bits, first.astype(np.uint64), second.astype(np.uint64),
                             self.fraction, out)
        return out


@dataclass(frozen=True)
class AntennaFlags:
    """Flags on all that some antennas took part in.

    Attributes
    ----------
    antennas : tuple of int
    time_ranges : tuple of (float, float)
        First and last time (s) of each stretch; none for always.
    """

    antennas: tuple[int, ...]
    time_ranges: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        wrong = [r for r in self.time_ranges if len(r) != 2 or not r[0] <= r[1]]
        if wrong:
            raise UvstackError(f"flags on antennas from {wrong[0]}; a range of times is (first, "
                               "last) with first ≤ last")
        if any(a < 0 for a in self.antennas):
            raise UvstackError(f"flags on antennas {self.antennas}; they are counted from 0")

    def flags(self, time: ArrayLike, antenna1: ArrayLike, antenna2: ArrayLike, n_chan: int,
              rng: np.random.Generator | None = None) -> NDArray[np.bool_]:
        """Flags (row, chan) as of `RandomFlags`; nothing is random, `rng` is not touched."""
        time, first, second = _rows(time, antenna1, antenna2)
        row = np.isin(first, self.antennas) | np.isin(second, self.antennas)
        if self.time_ranges:
            row &= np.any([(time >= start) & (time <= stop) for start, stop in self.time_ranges],
                          axis=0)
        return np.repeat(row[:, None], n_chan, axis=1)


def apply_gains(
    vis: NDArray[np.complex64], gains: NDArray[np.complex64], antenna1: ArrayLike, antenna2: ArrayLike, time_index: ArrayLike,
    correlations: Sequence[int], out: NDArray[np.complex64] | None = None,
) -> NDArray[np.complex64]:  # fmt: skip
    """Visibilities with gains: V_pq → g_p V_pq g_q*, correlation by correlation.

    Parameters
    ----------
    vis : complex64 array (row, chan, corr)
    gains : complex64 array (time, ant, chan, receptor)
        As `GainTrack.at` gives them. 1/gains undoes what gains have done.
    antenna1, antenna2, time_index : int arrays (row,)
        Indices into gains.
    correlations : sequence of int
        casacore's codes (RR RL LR LL are 5 to 8, XX XY YX YY 9 to 12).
    out : complex64 array (row, chan, corr), optional
        Written and returned; may be `vis`.

    Raises
    ------
    UvstackError
        A Stokes parameter among the correlations: receptors have gains, Stokes parameters have not.
    ValueError
        Shapes that do not go together, or an index outside gains.
    """
    time_index, first, second = (np.asarray(a).astype(np.int64, copy=False)
                                 for a in (time_index, antenna1, antenna2))
    receptors = np.array([receptors_of(code) for code in correlations], np.int64).reshape(-1, 2)
    if vis.ndim != 3 or gains.ndim != 4 or gains.shape[2:] != (vis.shape[1],
                                                               2) or vis.shape[2] != len(receptors):
        raise ValueError(
            f"visibilities {vis.shape}, gains {gains.shape} and {len(receptors)} correlations; "
            "wanted (row, chan, corr), (time, ant, chan, 2) and corr"
        )
    for name, index, size in (("time_index", time_index, gains.shape[0]), ("antenna", first, gains.shape[1]),
                              ("antenna", second, gains.shape[1])):  # fmt: skip
        if index.shape != vis.shape[:1] or (index.size
                                            and not 0 <= index.min() <= index.max() < size):
            raise ValueError(f"{name} {index.shape} for {vis.shape[0]} rows; wanted one index a "
                             f"row, from 0 to {size - 1}")
    out = np.empty(vis.shape, np.complex64) if out is None else out
    if out.shape != vis.shape:
        raise ValueError(f"out {out.shape} for visibilities {vis.shape}; both must have one shape")
    kernels.apply_gains(vis, gains, first, second, time_index, receptors[:, 0].copy(),
                        receptors[:, 1].copy(), out)
    return out


def corrupt_sources(
    models: Mapping[str, NDArray[np.complex64]], gains: Mapping[str, NDArray[np.complex64]], antenna1: ArrayLike,
    antenna2: ArrayLike, time_index: ArrayLike, correlations: Sequence[int],
) -> NDArray[np.complex64]:  # fmt: skip
    """Sum (row, chan, corr) of models, those of the sources that have gains multiplied by them.

    Parameters
    ----------
    models : mapping of str to complex64 array (row, chan, corr)
        Visibilities of each source, or of all sources without gains of their own together, under
        any name.
    gains : mapping of str to complex64 array (time, ant, chan, receptor)
        Each name must be among the models.
    antenna1, antenna2, time_index, correlations
        As of `apply_gains`.
    """
    unknown = [name for name in gains if name not in models]
    if unknown or not models:
        close = difflib.get_close_matches(unknown[0], models, n=3) if unknown else []
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(models) or 'none'}"
        raise UvstackError(f"gains of the source {unknown[0] if unknown else ''!r}, which is not "
                           f"in the sky; {hint}")
    total = np.zeros(next(iter(models.values())).shape, np.complex64)
    for name, model in models.items():
        total += apply_gains(model, gains[name], antenna1, antenna2, time_index,
                             correlations) if name in gains else model
    return total


def _process(time: ArrayLike, timescale: float, index: float, shape: tuple[int, int],
             rng: np.random.Generator):
    """Knots (knot,) and processes (knot, *shape) of unit variance that cover all times."""
    time = np.unique(_axis(time, "time"))
    n_series = int(np.prod(shape))
    if time.size == 1 or not math.isfinite(timescale):
        return time[:1], rng.standard_normal((1, *shape))
    # Knots on the integrations unless that would be needlessly fine, and only those beside a time:
    # gaps cost nothing.
    spacing = max(timescale / _KNOTS_PER_TIMESCALE, float(np.median(np.diff(time))))
    below = np.floor((time - time[0]) / spacing)
    n = below[-1] + 2 + math.ceil(16.0 * timescale / spacing)
    if n > _LONGEST_FFT:
        raise UvstackError(f"a timescale of {timescale:g} s over {time[-1] - time[0]:g} s needs "
                           f"{n:.3g} knots, more than {_LONGEST_FFT:.0e}; "
                           "give a longer timescale, or draw each epoch by itself")
    used = np.unique(np.concatenate([below, below + 1])).astype(np.int64)
    from scipy.fft import irfft, next_fast_len, rfft

    # The FFT closes the process to a ring; what lies between its ends is thrown away, so that they
    # are independent.
    n = next_fast_len(int(n), real=True)
    lag = spacing * np.minimum(np.arange(n), n - np.arange(n))
    transfer = np.sqrt(np.maximum(rfft(_autocorrelation(lag / timescale, index)).real, 0.0))
    values = np.empty((n_series, used.size), np.float32)
    for series in range(n_series):
        values[series] = irfft(rfft(rng.standard_normal(n)) * transfer, n)[used]
    return time[0] + spacing * used, np.moveaxis(values.reshape(*shape, used.size), -1, 0)


def _autocorrelation(x: NDArray, index: float) -> NDArray[np.float64]:
    """Fourier transform of (1 + (2πf)²)^(index/2), 1 at x = 0: the Matérn function of order (−index − 1)/2."""
    from scipy.special import gamma, kv

    order = 0.5 * (-index - 1.0)
    safe = np.where(x > 0.0, x, 1.0)
    return np.where(x > 0.0, 2.0 ** (1.0 - order) / gamma(order) * safe**order * kv(order, safe),
                    1.0)


def receptors_of(code: int) -> tuple[int, int]:
    """Receptors (0 for R or X, 1 for L or Y) of the first and the second antenna in a product, by casacore's code."""
    if code not in _RECEPTORS:
        raise UvstackError(f"gains for the correlation {CORRELATIONS.get(code, code)}; antenna "
                           "gains act on RR RL LR LL or XX XY YX YY alone")
    return _RECEPTORS[code]


def _axis(values: ArrayLike, what: str) -> NDArray[np.float64]:
    values = np.atleast_1d(np.asarray(values, float))
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise UvstackError(f"a corruption for {what} of shape {values.shape}; wanted one value or "
                           "more, none of them NaN")
    return values


def _rows(time: ArrayLike, antenna1: ArrayLike,
          antenna2: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    time, first, second = np.asarray(time, float), np.asarray(antenna1), np.asarray(antenna2)
    if time.ndim != 1 or not time.shape == first.shape == second.shape:
        raise ValueError(f"time {time.shape}, antennas {first.shape} and {second.shape}; all must "
                         "be (row,)")
    return time, first, second


def _check(corruption: object) -> None:
    """Numbers of a corruption that make no sense."""
    name = type(corruption).__name__
    for key, value in vars(corruption).items():
        if key.endswith("rms") and not 0.0 <= value < math.inf:
            raise UvstackError(f"{name} with {key} = {value}; it must be a number of 0 or more")
        if key == "timescale" and not value > 0.0:
            raise UvstackError(f"{name} with a timescale of {value} s; it must be positive (inf: "
                               "constant)")
        if key == "power_law_index" and not -math.inf < value < -1.0:
            raise UvstackError(f"{name} with a power-law index of {value}; it must be below −1 "
                               "(Kolmogorov: −8/3)")
        if key == "n_ripples" and not (value == int(value) and value >= 1):
            raise UvstackError(f"{name} with {value} ripples; give a whole number of 1 or more")
