"""Realisations of corruptions as functions of time and frequency, and the files that keep them as the truth.

A track holds values at knots and is linear between them. It knows nothing of how it was drawn
(`simulate.corruption` does that), so that a truth read back from its file gives the very gains that
were applied.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import UvstackError
from uvstack.io.output import check_output, written_whole
from uvstack.records import plain
from uvstack.sky.primary_beam import PrimaryBeam


@dataclass(frozen=True, eq=False)
class GainTrack:
    """Gains of all antennas as a function of time and frequency; the truth of a corruption.

    g = amplitude · exp(i [phase + 2π delay (ν − reference_frequency)]) · band, each linear between
    its knots and constant beyond the outermost.

    Attributes
    ----------
    time : float64 array (knot,)
        Seconds, increasing.
    amplitude, phase, delay : float32 arrays (knot, ant, receptor)
        1, rad and s.
    reference_frequency : float
        Hz.
    frequency : float64 array (chan,)
        Hz, increasing, of the band's shape; empty where there is none.
    band_amplitude, band_phase : float32 arrays (chan, ant, receptor)
    """

    time: NDArray[np.float64]
    amplitude: NDArray[np.float32]
    phase: NDArray[np.float32]
    delay: NDArray[np.float32]
    reference_frequency: float
    frequency: NDArray[np.float64]
    band_amplitude: NDArray[np.float32]
    band_phase: NDArray[np.float32]

    def at(self, time: ArrayLike, frequency: ArrayLike) -> NDArray[np.complex64]:
        """Gains (time, ant, chan, receptor) complex64 at times (time,) in s and frequencies (chan,) in Hz.

        Every value depends on its own time and frequency alone.
        """
        time, frequency = np.atleast_1d(np.asarray(time, float)), np.atleast_1d(
            np.asarray(frequency, float))
        amplitude, phase, delay = (_interpolate(self.time, y, time)[:, :, None, :]
                                   for y in (self.amplitude, self.phase, self.delay))
        turns = (frequency - self.reference_frequency)[None, None, :, None]
        phase = phase + 2.0 * np.pi * delay * turns
        if self.frequency.size:
            modulus, angle = (_interpolate(self.frequency, y, frequency).transpose(1, 0, 2)[None]
                              for y in (self.band_amplitude, self.band_phase))
            amplitude, phase = amplitude * modulus, phase + angle
        out = np.empty(phase.shape, np.complex64)
        np.multiply(amplitude, np.cos(phase), out=out.real, casting="same_kind")
        np.multiply(amplitude, np.sin(phase), out=out.imag, casting="same_kind")
        return out


@dataclass(frozen=True, eq=False)
class PointingTrack:
    """Where each antenna really points, as a function of time; the truth of `PointingErrors`.

    Attributes
    ----------
    time : float64 array (knot,)
        Seconds, increasing.
    offset : float32 array (knot, ant, 2)
        True minus nominal pointing along l and m, rad.
    """

    time: NDArray[np.float64]
    offset: NDArray[np.float32]

    def at(self, time: ArrayLike) -> NDArray[np.float64]:
        """Offsets (time, ant, 2) in rad at times (time,) in s."""
        return _interpolate(self.time, self.offset, np.atleast_1d(np.asarray(time, float)))

    def source_gains(
        self, beam: PrimaryBeam, l: float, m: float, time: ArrayLike, frequency: ArrayLike
    ) -> NDArray[np.complex64]:
        """Voltage beams of all antennas towards one source, (time, ant, chan, receptor) complex64, real.

        Used as gains of this source, in place of its primary-beam attenuation, they multiply it by
        sqrt(A_p A_q), each A shifted by the offset of its antenna.

        Parameters
        ----------
        beam : PrimaryBeam
            Power beam.
        l, m : float
            Direction cosines of the source from the nominal pointing centre.
        time, frequency : float arrays (time,), (chan,)
            s, Hz.

        Notes
        -----
        The voltage is sqrt(A): side lobes that are negative in voltage come out positive. Cost: one
        evaluation of the beam a time, antenna and channel.
        """
        time, frequency = np.atleast_1d(np.asarray(time, float)), np.atleast_1d(
            np.asarray(frequency, float))
        # A constant offset is looked at once.
        offset = self.at(time[:1] if self.time.size == 1 else time)
        power = beam(l - offset[..., 0].ravel(), m - offset[..., 1].ravel(), frequency)
        voltage = np.sqrt(power).astype(np.complex64).reshape(*offset.shape[:2], frequency.size, 1)
        return np.broadcast_to(voltage, (time.size, offset.shape[1], frequency.size, 2))


Track = GainTrack | PointingTrack


def save_truth(
    path: str | Path, corruption: Any, tracks: Track | Mapping[str, Track] | None = None,
    antenna_names: Sequence[str] = (), overwrite: bool = False,
) -> Path:  # fmt: skip
    """Path of a FITS file with the truth of one corruption.

    Parameters
    ----------
    path : str or Path
    corruption : a corruption of `simulate.corruption`
        Its class and numbers go to CORRUPT and PARAMS (as JSON) of the primary header.
    tracks : track, or mapping of source to track, optional
        Each becomes a table TRACK with a row a knot: TIME and AMPLITUDE, PHASE and DELAY, or
        OFFSET; and a table BAND with a row a channel where there is a bandpass. SOURCE names the
        source. None for flags, which the set holds.
    antenna_names : sequence of str, optional
        For a table ANTENNA.
    overwrite : bool
    """
    from astropy.io import fits
    from astropy.table import Table

    path = check_output(path, overwrite)
    primary = fits.PrimaryHDU()
    primary.header["CORRUPT"] = type(corruption).__name__
    primary.header["PARAMS"] = json.dumps(plain(dataclasses.asdict(corruption)), allow_nan=False)
    hdus = [primary]
    if len(antenna_names):
        hdus.append(fits.table_to_hdu(Table({"NAME": np.array(antenna_names, dtype=np.bytes_)})))
        hdus[-1].name = "ANTENNA"
    named = tracks if isinstance(tracks, Mapping) else {} if tracks is None else {None: tracks}
    for source, track in named.items():
        for table, columns in _columns(track).items():
            hdu = fits.table_to_hdu(Table(columns))
            hdu.name = table
            if source is not None:
                hdu.header["SOURCE"] = json.dumps(source)
            hdu.header["UNITS"] = "s, Hz and rad"
            hdu.header["REFFREQ"] = (getattr(track, "reference_frequency", 0.0),
                                     "[Hz] where a delay gives no phase")
            hdus.append(hdu)
    with written_whole(path) as partial:
        fits.HDUList(hdus).writeto(partial)
    return path


def read_truth(path: str | Path) -> Track | dict[str, Track] | None:
    """What `save_truth` was given as `tracks`, value for value."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            found = _tables(hdus)
    except (OSError, KeyError) as error:
        raise UvstackError(f"{path}: not a truth that save_truth has written: {error}") from error
    tracks: dict[str | None, Track] = {}
    for source, data in found.items():
        reference = data.pop("reference_frequency")
        if "offset" in data:
            tracks[source] = PointingTrack(**data)
        else:
            knots = data.pop("time")
            tracks[source] = gain_track(knots, reference_frequency=reference, **data)
    if None in tracks:
        return tracks[None]
    return {name: track for name, track in tracks.items() if name is not None} or None


def _tables(hdus: Any) -> dict[str | None, dict[str, Any]]:
    """Columns of TRACK and BAND, and the reference frequency, of each source; None for the track without one."""
    found: dict[str | None, dict[str, Any]] = {}
    for hdu in hdus[1:]:
        if hdu.name in ("TRACK", "BAND"):
            source = json.loads(hdu.header["SOURCE"]) if "SOURCE" in hdu.header else None
            data = found.setdefault(source, {"reference_frequency": hdu.header["REFFREQ"]})
            for name in hdu.columns.names:
                values = np.asarray(hdu.data[name])
                data[name.lower()] = values.astype(values.dtype.newbyteorder("="))
    return found


def _columns(track: Track) -> dict[str, dict[str, NDArray[Any]]]:
    """Tables of a track by name."""
    if isinstance(track, PointingTrack):
        return {"TRACK": {"TIME": track.time, "OFFSET": track.offset}}
    columns: dict[str, NDArray[Any]] = {"TIME": track.time, "AMPLITUDE": track.amplitude,
                                        "PHASE": track.phase, "DELAY": track.delay}
    band: dict[str, NDArray[Any]] = {"FREQUENCY": track.frequency,
                                     "BAND_AMPLITUDE": track.band_amplitude,
                                     "BAND_PHASE": track.band_phase}
    return {"TRACK": columns} | ({"BAND": band} if track.frequency.size else {})


def gain_track(
    knots: NDArray[np.float64], shape: tuple[int, int, int] | None = None, reference_frequency: float = 0.0,
    frequency: NDArray[np.float64] | None = None, **values: NDArray[Any],
) -> GainTrack:  # fmt: skip
    """A track of some quantities by their names in `GainTrack`; the others have no effect.

    `shape` (knot, ant, receptor) is wanted where none of amplitude, phase and delay is given.
    """
    shape = shape or next(iter(values.values())).shape
    flat = {"amplitude": 1.0, "phase": 0.0, "delay": 0.0}
    parts = {name: np.asarray(values.get(name, np.full(shape, value)), np.float32)
             for name, value in flat.items()}
    none = np.zeros((0, *shape[1:]))
    band = {name: np.asarray(values.get(name, none), np.float32)
            for name in ("band_amplitude", "band_phase")}
    frequency = np.zeros(0) if frequency is None else frequency
    return GainTrack(time=knots, reference_frequency=float(reference_frequency),
                     frequency=frequency, **parts, **band)


def _interpolate(knots: NDArray, values: NDArray, x: NDArray) -> NDArray[np.float64]:
    """values (knot, …) at x (n,), linear between knots and constant beyond."""
    if knots.size == 1:
        return np.broadcast_to(values.astype(np.float64), (x.size, *values.shape[1:]))
    lower = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
    share = np.clip((x - knots[lower]) / (knots[lower + 1] - knots[lower]), 0.0, 1.0)
    share = share.reshape(-1, *(1,) * (values.ndim - 1))
    return (1.0 - share) * values[lower] + share * values[lower + 1]
