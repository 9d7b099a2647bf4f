"""Where an array points and when: single fields, mosaics, lists of sources, on-the-fly scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uvstack.errors import PointingError


@dataclass(frozen=True)
class Pointings:
    """Phase centres and the order in which they are visited.

    Attributes
    ----------
    names : tuple of str
    ra, dec : ndarray (field,)
        J2000, rad; the primary beam is centred there too.
    dwell : int
        Integrations on a field before the next.
    repeat : bool
        Whether the round begins anew until the time is over; an on-the-fly scan is run once.
    """

    names: tuple[str, ...]
    ra: np.ndarray
    dec: np.ndarray
    dwell: int = 1
    repeat: bool = True

    def __len__(self) -> int:
        return len(self.names)

    def schedule(self, n_times: int) -> np.ndarray:
        """Field of each integration, (time,) int; −1 once a scan that is not repeated has ended."""
        turn = np.arange(n_times) // self.dwell
        return turn % len(self) if self.repeat else np.where(turn < len(self), turn, -1)


def mean_direction(ra: np.ndarray, dec: np.ndarray) -> tuple[float, float]:
    """ra and dec (rad) of the sum of the unit vectors towards directions (n,), rad."""
    x, y, z = np.mean([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    return float(np.arctan2(y, x)), float(np.arctan2(z, np.hypot(x, y)))


def single(ra: float, dec: float, name: str = "field") -> Pointings:
    """One pointing at ra, dec (rad)."""
    return _pointings([(ra, dec)], name, dwell=1)


def at_positions(ra: np.ndarray, dec: np.ndarray, name: str = "field", dwell: int = 6) -> Pointings:
    """A pointing on each source of a list, ra and dec (field,) in rad."""
    return _pointings(list(zip(np.atleast_1d(ra), np.atleast_1d(dec), strict=True)), name, dwell)


def rectangular_mosaic(ra: float, dec: float, width: float, height: float, spacing: float,
                       name: str = "mosaic", dwell: int = 6) -> Pointings:
    """Pointings on a square grid that covers width × height (rad) around ra, dec."""
    offsets = [(x, y) for y in _steps(height, spacing) for x in _steps(width, spacing)]
    return _at_offsets(ra, dec, offsets, name, dwell)


def hexagonal_mosaic(ra: float, dec: float, width: float, height: float, spacing: float,
                     name: str = "mosaic", dwell: int = 6) -> Pointings:
    """Pointings on a triangular grid that covers width × height (rad) around ra, dec.

    Rows are spacing √3/2 apart and every other row is shifted by half the spacing, so that each
    pointing has six neighbours at one distance; for a Gaussian beam, spacing = FWHM/√3 loses
    nothing (Condon et al. 1998, section 3.1).
    """
    offsets = []
    for i, y in enumerate(_steps(height, spacing * np.sqrt(0.75))):
        shift = 0.5 * spacing if i % 2 else 0.0
        offsets += [(x + shift, y) for x in _steps(width, spacing)
                    if x + shift <= width / 2 + 1e-12 or not shift]
    return _at_offsets(ra, dec, offsets, name, dwell)


def on_the_fly(ra: float, dec: float, width: float, height: float, row_spacing: float, speed: float,
               integration: float, phase_centre_every: int = 1, name: str = "otf") -> Pointings:
    """A boustrophedon scan at constant speed, as VLASS does it: rows along right ascension, every other one backwards.

    Parameters
    ----------
    ra, dec, width, height : float
        Area, rad.
    row_spacing : float
        rad.
    speed : float
        rad/s on the sky.
    integration : float
        Seconds.
    phase_centre_every : int
        Integrations that share a phase centre; the antennas are taken to point there meanwhile.
    """
    if not (speed > 0 and integration > 0 and phase_centre_every >= 1):
        raise PointingError("an on-the-fly scan wants a positive speed and integration and phase "
                            "centres every 1 or more integrations; "
                            f"found {speed}, {integration}, {phase_centre_every}")
    step = speed * integration * phase_centre_every
    offsets = []
    for i, y in enumerate(_steps(height, row_spacing)):
        along = [(x, y) for x in _steps(width, step)]
        offsets += along[::-1] if i % 2 else along
    made = _at_offsets(ra, dec, offsets, name, phase_centre_every)
    return Pointings(made.names, made.ra, made.dec, made.dwell, repeat=False)


def _steps(extent: float, spacing: float) -> np.ndarray:
    """Offsets symmetric about 0, at most `spacing` beyond the last of which the extent ends."""
    if not (spacing > 0 and extent >= 0):
        raise PointingError("a mosaic wants a positive spacing and an extent of 0 or more; found "
                            f"{spacing} and {extent} rad")
    n = int(np.floor(extent / spacing + 1e-9)) + 1
    return (np.arange(n) - (n - 1) / 2) * spacing


def _at_offsets(ra: float, dec: float, offsets: list[tuple[float, float]], name: str,
                dwell: int) -> Pointings:
    """Pointings at tangent-plane offsets (east, north) from a centre, by the gnomonic projection."""
    directions = []
    for east, north in offsets:
        cos_distance = np.cos(dec) - north * np.sin(dec)
        directions.append((ra + np.arctan2(east, cos_distance),
                           np.arctan2(np.sin(dec) + north * np.cos(dec),
                                      np.hypot(east, cos_distance))))
    return _pointings(directions, name, dwell)


def _pointings(directions: list[tuple[float, float]], name: str, dwell: int) -> Pointings:
    if not directions:
        raise PointingError("a list of pointings is empty; wanted one direction or more")
    if dwell < 1:
        raise PointingError(f"{dwell} integrations on a pointing; wanted 1 or more")
    names = (name,) if len(directions) == 1 else tuple(f"{name}{i}" for i in range(len(directions)))
    ra, dec = np.array(directions, dtype=float).T
    if not (np.isfinite(ra).all() and np.isfinite(dec).all() and (np.abs(dec) <= np.pi / 2).all()):
        raise PointingError("a pointing is no direction: ra and dec must be finite and |dec| at "
                            "most 90°")
    return Pointings(names, ra, dec, dwell)
