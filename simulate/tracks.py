"""Baselines as the Earth turns: (u, v, w) of an array that follows a direction, its elevation, times about transit.

`uvw_of_times` computes (u, v, w) as CASA does, so that a set made here and one made there have the
same coordinates. The direction is given for J2000 and the antennas for the rotating Earth; between
them lie, with their size on a baseline of 36 km: precession and nutation of IAU 1976/1980 (hundreds
of metres; the newer models differ by 70 mas, 13 mm), the Earth's rotation with UT1 − UTC (±0.9 s, 2
m), annual aberration and the Sun's bending of light, which turn the frame so that the apparent
direction falls on the one asked for (3.5 m and some mm), polar motion (0.5″, 80 mm) and diurnal
aberration (0.3″, 50 mm).

Four steps follow casacore where it departs from the textbook (casacore/measures/Measures:
MeasMath.cc, Nutation.cc, MCEpoch.cc). Polar motion is applied in the frame of the true equator, not
in that of the Earth, and diurnal aberration shifts the direction towards the zenith of a spherical
Earth, not towards the east: either turns (u, v, w) by up to 0.5″, 50 mm on 36 km for a diurnal
aberration of 0.3″. Sidereal time lacks the two terms that the IAU added to the equation of the
equinoxes in 1994 (2.64 mas sin Ω, 2.8 mm on 217 km). Annual aberration is undone as if the
direction were an apparent one (second order of the Earth's velocity, up to 1 mas or 1 mm there). To
a simulation all of these are nothing.

What is left against casatools is, with one table of the Earth's rotation for both, 0.02 mm on 36 km
(VLA A) and 0.35 mm on 217 km (e-MERLIN, most of it because the centre here is the antennas' mean, 7
km from the observatory of CASA, which diurnal aberration feels). The tables themselves differ: 1 µs
of UT1 is 3 µm on 36 km and 16 µm on 217 km, and casadata's measured values differ from astropy's by
63 µs (1 mm on 217 km) or more on 2 % of the days since 1997, by 0.8 ms on the worst. Dates that
casadata only predicts are worse: up to 26 ms, 0.4 m on 217 km. Within a run casacore also holds UT1
− UTC for up to 58 minutes, where here it follows each time: 1.4 mm on 217 km where the day is
longer by 2.2 ms, the most since 2016.

The sign is CASA's too, in its own simulator and in ALMA's sets: the row of antennas 1 and 2 holds
the position of antenna 1 minus that of antenna 2, which with V of `uvstack` is what a correlator
⟨E₁E₂*⟩ measures. One trap of casatools' simulator is not copied: it labels as UTC times that it
treats as UT1 in (u, v, w), and starts later by the leap seconds.
"""

from __future__ import annotations

import functools
import math

import erfa
import numpy as np
from astropy.time import Time
from astropy.utils import iers

from simulate.arrays import Array
from uvstack.errors import ArrayError, CoordinateError

#: Date of observations that state none: 2020 January 1, MJD. Measured Earth rotation in casadata
#: and astropy alike.
DEFAULT_DATE = 58_849.0
_DAY = 86_400.0
_LIGHT, _ASTRONOMICAL_UNIT = 299_792_458.0, 149_597_870_700.0
#: Sidereal day, s, and turns of the Earth towards the stars, rad/s.
_SIDEREAL_DAY = 86_164.0905
_SIDEREAL_RATE = 2 * math.pi / _SIDEREAL_DAY


def uvw_of_times(array: Array, times: np.ndarray, ra: float, dec: float,
                 frame: str = "J2000") -> np.ndarray:
    """Antenna coordinates along (u, v, w) at each time, (time, ant, 3), m, as CASA computes them.

    Parameters
    ----------
    array : Array
    times : ndarray (time,)
        MJD UTC in seconds, as in the column TIME.
    ra, dec : float
        Phase centre, rad.
    frame : {"J2000", "FK5", "ICRS"}
        Of the phase centre, to whose east and north u and v point.

    Returns
    -------
    ndarray (time, ant, 3)
        The UVW of a row is ``coordinate[ant2] − coordinate[ant1]``, see `baseline_uvw`: these are
        the antennas' positions about the mean of the array with the sign turned, since CASA's (u,
        v, w) run from antenna 2 to antenna 1.

    Raises
    ------
    CoordinateError
        The frame is none of these.
    """
    axes = _axes_in_j2000(ra, dec, frame)
    to_sky, _ = _orientation(array, np.atleast_1d(np.asarray(times, float)), axes[2])
    return -np.einsum("ij,tjk,ak->tai", axes, to_sky,
                      array.positions - array.positions.mean(axis=0), optimize=True)


def baseline_uvw(coordinate: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray) -> np.ndarray:
    """UVW of rows, (time, baseline, 3), m, from antenna coordinates (time, ant, 3) of `uvw_of_times`."""
    return coordinate[:, antenna2] - coordinate[:, antenna1]


def elevation_of(array: Array, times: np.ndarray, ra: float, dec: float,
                 frame: str = "J2000") -> np.ndarray:
    """Elevation of a direction above the ellipsoid's horizon at the centre of the array, (time,), rad; no refraction.

    Arguments are those of `uvw_of_times`.
    """
    _, direction = _orientation(array, np.atleast_1d(np.asarray(times, float)),
                                _axes_in_j2000(ra, dec, frame)[2])
    return np.arcsin(np.clip(direction @ array.zenith, -1.0, 1.0))


def hour_angle_times(array: Array, ra: float, duration: float, integration: float,
                     start: float | None = None, *, dec: float = 0.0,
                     date: float = DEFAULT_DATE) -> np.ndarray:
    """Middles of the integrations of a track, (time,), MJD UTC in seconds.

    Parameters
    ----------
    array : Array
    ra : float
        Direction, J2000, rad.
    duration, integration : float
        Seconds; the track has the nearest whole number of integrations, at least one.
    start : float, optional
        Beginning of the first integration, MJD UTC in seconds; by default such that the middle of
        the track is the first upper transit after `date`.
    dec : float
        Of the direction, J2000, rad: precession makes the transit depend on it, by tan(dec) · 9 s
        for every decade.
    date : float
        MJD UTC in days; fixed by default, so that a run can be repeated.
    """
    if not (0 < integration < math.inf and 0 < duration < math.inf):
        raise ArrayError(f"a track of {duration:g} s in integrations of {integration:g} s; wanted "
                         "both above 0")
    n = max(1, round(duration / integration))
    if start is None:
        start = _transit(array, ra, dec, date * _DAY) - 0.5 * n * integration
    return start + (np.arange(n) + 0.5) * integration


def _transit(array: Array, ra: float, dec: float, after: float) -> float:
    """First upper transit after a time, MJD UTC in seconds, to a microsecond."""
    direction = _axes_in_j2000(ra, dec, "J2000")[2]
    time = after
    for step in range(3):
        x, y, _ = _orientation(array, np.array([time]), direction)[1][0]
        east = math.remainder(math.atan2(y, x) - array.longitude, 2 * math.pi)
        time += (east % (2 * math.pi) if step == 0 else east) / _SIDEREAL_RATE
    return time


def _axes_in_j2000(ra: float, dec: float, frame: str) -> np.ndarray:
    """Unit vectors east, north and towards a direction (rows) of a frame, in J2000."""
    sin_a, cos_a, sin_d, cos_d = math.sin(ra), math.cos(ra), math.sin(dec), math.cos(dec)
    axes = np.array([[-sin_a, cos_a, 0.0], [-sin_d * cos_a, -sin_d * sin_a, cos_d],
                     [cos_d * cos_a, cos_d * sin_a, sin_d]])
    if frame.upper() in ("J2000", "FK5"):
        return axes
    if frame.upper() == "ICRS":
        # Frame bias of IAU 2000: the first matrix of bp00, whatever the date.
        return axes @ erfa.bp00(2_451_545.0, 0.0)[0].T
    raise CoordinateError(f"frame {frame!r}; (u, v, w) are computed for J2000 or ICRS: convert "
                          "the direction to one of them")


def _orientation(array: Array, times: np.ndarray,
                 direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (time, 3, 3) from ITRF to J2000 turned by aberration, and apparent directions (time, 3) in ITRF."""
    utc = Time(times / _DAY, format="mjd", scale="utc")
    ut1_minus_utc, pole_x, pole_y = _earth_rotation(utc)
    utc.delta_ut1_utc = ut1_minus_utc
    tt, ut1 = utc.tt, utc.ut1
    precession = erfa.pnm80(tt.jd1, tt.jd2)
    # Rotation of a vector from the Earth to the true equator, then casacore's polar motion.
    turn = erfa.ry(pole_x, erfa.rx(pole_y, np.eye(3))) @ _turn_about_pole(_sidereal_time(ut1))
    to_j2000 = np.swapaxes(precession, -1, -2) @ turn
    centre = array.centre
    zenith = to_j2000 @ (centre / np.linalg.norm(centre))
    diurnal = _SIDEREAL_RATE * np.linalg.norm(centre) / _LIGHT
    apparent, origin = _aberrated(tt, direction)
    apparent = _unit(apparent + diurnal * zenith)
    origin = _unit(origin - diurnal * zenith)
    return _shortest_rotation(direction, origin) @ to_j2000, np.einsum("tji,tj->ti", to_j2000,
                                                                       apparent)


def _sidereal_time(ut1: Time) -> np.ndarray:
    """Apparent sidereal time of Greenwich, (time,), rad, as before 1997: without the two terms that `erfa.gst94` adds."""
    in_longitude, in_obliquity = erfa.nut80(ut1.jd1, ut1.jd2)
    true_obliquity = erfa.obl80(ut1.jd1, ut1.jd2) + in_obliquity
    return erfa.gmst82(ut1.jd1, ut1.jd2) + in_longitude * np.cos(true_obliquity)


def _aberrated(tt: Time, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a source at `direction` appears, and where one must be to appear at `direction`, both (time, 3).

    The Sun's bending and the Earth's velocity are counted. Towards and from a direction they differ
    in the second order.
    """
    heliocentric, barycentric = erfa.epv00(tt.jd1, tt.jd2)
    distance = np.linalg.norm(heliocentric["p"], axis=-1)
    bent = erfa.ldsun(direction, heliocentric["p"] / distance[:, None], distance)
    velocity = barycentric["v"] * (_ASTRONOMICAL_UNIT / _DAY / _LIGHT)
    contraction = np.sqrt(1 - np.sum(velocity**2, axis=-1))
    apparent = erfa.ab(bent, velocity, distance, contraction)
    return apparent, erfa.ab(direction, -velocity, distance, contraction) - (bent - direction)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _turn_about_pole(angle: np.ndarray) -> np.ndarray:
    """Matrices (time, 3, 3) that turn vectors about the z axis."""
    return np.swapaxes(erfa.rz(angle, np.eye(3)), -1, -2)


def _shortest_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Matrices (time, 3, 3) that turn a unit vector `start` (3,) to `end` (time, 3), which are not opposite (Rodrigues)."""
    axis = np.cross(start, end)
    cross = np.zeros((*end.shape, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross[:, j, k], cross[:, k, j] = -axis[:, i], axis[:, i]
    return np.eye(3) + cross + cross @ cross / (1 + end @ start)[:, None, None]


def _earth_rotation(utc: Time) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """UT1 − UTC (s) and the pole's x and y (rad) by the tables that come with astropy; 0 outside of these."""
    table = _earth_rotation_table()
    ut1_minus_utc, _ = table.ut1_utc(utc, return_status=True)
    x, y, _ = table.pm_xy(utc, return_status=True)
    return ut1_minus_utc.to_value("s"), x.to_value("rad"), y.to_value("rad")


@functools.cache
def _earth_rotation_table() -> iers.IERS:
    """Measured and predicted values from the package astropy-iers-data; never from the network."""
    return iers.IERS_A.open(iers.IERS_A_FILE)


def antenna_uvw(itrf: np.ndarray, greenwich_sidereal_time: np.ndarray, ra: float,
                dec: float) -> np.ndarray:
    """Antenna coordinates along (u, v, w) at each time, (time, ant, 3), m.

    Parameters
    ----------
    itrf : ndarray (ant, 3)
        Geocentric, m.
    greenwich_sidereal_time : ndarray (time,)
        Radians.
    ra, dec : float
        Direction of the phase centre, rad.

    Notes
    -----
    Thompson, Moran & Swenson (2017), equation 4.1. Precession, nutation and aberration are left
    out: the sky is one of its own epoch, which nothing here can tell. Differences antenna 2 −
    antenna 1 of these have the opposite sign of CASA's (see `uvw_of_times`).
    """
    hour_angle = np.asarray(greenwich_sidereal_time) - ra
    sin_h, cos_h = np.sin(hour_angle), np.cos(hour_angle)
    sin_d, cos_d = np.sin(dec), np.cos(dec)
    zero = np.zeros_like(hour_angle)
    # Rows are u, v, w; the geocentric x axis points to Greenwich, so east is +y there and −y in
    # hour angle.
    rotation = np.array([
        [sin_h, cos_h, zero],
        [-sin_d * cos_h, sin_d * sin_h, cos_d + zero],
        [cos_d * cos_h, -cos_d * sin_h, sin_d + zero]])
    return np.einsum("ijt,aj->tai", rotation, itrf - itrf.mean(axis=0))
