"""Antenna positions of interferometers."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.coordinates import EarthLocation

#: Centre of the Very Large Array (casacore's Observatories table): longitude, latitude (deg), height (m).
VLA_CENTRE = (-107.618333, 34.078749, 2115.0)
#: Azimuths of the three arms, degrees (Thompson, Clark, Wade & Napier 1980).
_ARM_AZIMUTHS = (236.0, 114.995, 354.9976)
#: Length of an arm in the A configuration, m, and exponent of the power law of station distances (same source).
_ARM_LENGTH = 21_000.0
_STATION_EXPONENT = 1.716


def vla_like(scale: float = 1.0, stations: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a Y-shaped array laid out by the power law of the Very Large Array.

    Parameters
    ----------
    scale : float
        1 is the A configuration; B, C and D are 3.28 times smaller each.
    stations : int
        Antennas on each arm.

    Returns
    -------
    itrf : ndarray (ant, 3)
        Metres, geocentric.
    local : ndarray (ant, 3)
        Metres east, north and up of the centre.

    Notes
    -----
    Thompson, Clark, Wade & Napier (1980): station n of nine stands at L (n/9)^1.716 along arms at azimuths 236°, 115° and
    355°. Flat ground is assumed; the pads of the real array differ from this by some tens of metres.
    """
    distance = scale * _ARM_LENGTH * (np.arange(1, stations + 1) / stations) ** _STATION_EXPONENT
    azimuth = np.deg2rad(_ARM_AZIMUTHS)[:, None]
    local = np.stack([distance * np.sin(azimuth), distance * np.cos(azimuth), np.zeros((3, stations))], axis=-1).reshape(-1, 3)
    longitude, latitude, height = VLA_CENTRE
    centre = EarthLocation.from_geodetic(longitude * u.deg, latitude * u.deg, height * u.m)
    return np.array([x.to_value(u.m) for x in centre.to_geocentric()]) + local @ _axes(longitude, latitude), local


def _axes(longitude: float, latitude: float) -> np.ndarray:
    """Unit vectors east, north and up (rows) in geocentric coordinates; degrees in."""
    lon, lat = np.deg2rad([longitude, latitude])
    return np.array([
        [-np.sin(lon), np.cos(lon), 0.0],
        [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)],
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]])
