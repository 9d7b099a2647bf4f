"""Brightness as a temperature and as a flux density."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uvstack.constants import BOLTZMANN, JANSKY, SPEED_OF_LIGHT


def jansky_per_kelvin(frequency: ArrayLike) -> NDArray[np.float64]:
    """Jy/sr of a brightness temperature of 1 K, 2 k ν²/c² (Rayleigh–Jeans; VLASS memo 26, section 3.1).

    Parameters
    ----------
    frequency : array_like
        Hz.
    """
    nu = np.asarray(frequency, np.float64)
    return np.asarray(2.0 * BOLTZMANN * (nu / SPEED_OF_LIGHT) ** 2 / JANSKY)
