"""Baselines as the Earth turns: (u, v, w) of an array that follows a direction."""

from __future__ import annotations

import numpy as np


def antenna_uvw(itrf: np.ndarray, greenwich_sidereal_time: np.ndarray, ra: float, dec: float) -> np.ndarray:
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
    Thompson, Moran & Swenson (2017), equation 4.1. Precession, nutation and aberration are left out: the sky is one of
    its own epoch, which nothing here can tell.
    """
    hour_angle = np.asarray(greenwich_sidereal_time) - ra
    sin_h, cos_h = np.sin(hour_angle), np.cos(hour_angle)
    sin_d, cos_d = np.sin(dec), np.cos(dec)
    zero = np.zeros_like(hour_angle)
    # Rows are u, v, w; the geocentric x axis points to Greenwich, so east is +y there and −y in hour angle.
    rotation = np.array([
        [sin_h, cos_h, zero],
        [-sin_d * cos_h, sin_d * sin_h, cos_d + zero],
        [cos_d * cos_h, -cos_d * sin_h, sin_d + zero]])
    return np.einsum("ijt,aj->tai", rotation, itrf - itrf.mean(axis=0))


def elevation(itrf: np.ndarray, greenwich_sidereal_time: np.ndarray, ra: float, dec: float) -> np.ndarray:
    """Elevation of a direction at the centre of the array, (time,), rad, on a spherical Earth."""
    up = itrf.mean(axis=0) / np.linalg.norm(itrf.mean(axis=0))
    angle = np.asarray(greenwich_sidereal_time) - ra
    direction = np.stack([np.cos(dec) * np.cos(angle), -np.cos(dec) * np.sin(angle), np.full_like(angle, np.sin(dec))], axis=-1)
    return np.arcsin(np.clip(direction @ up, -1.0, 1.0))
