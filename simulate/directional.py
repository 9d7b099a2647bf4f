"""Visibilities of sources that each antenna sees through a gain of its own: the measurement equation with Jones matrices.

    V_pq = Σ_s E_ps S_s E_qs* exp(+2πi ν/c (u_pq · l_s)),

with E_ps diagonal (Smirnov 2011a; ΔE of VLASS memo 23, equation 1). The phase splits into one of
each antenna, so with K_ps = E_ps exp(−2πi ν/c x_p · l_s) all baselines of a time and channel are
one product K S Kᴴ: the cost is that of the antennas' phasors, some 20 ns each, and of a matrix
product. Sources go through in batches, so memory does not grow with their number. Extended sources
go one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulate.corruption import apply_gains, receptors_of
from uvstack.constants import SPEED_OF_LIGHT
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.predict import predict_stokes, to_correlations

#: Complex numbers of the gains of a batch: 32 MB.
_GAINS_PER_BATCH = 4_000_000

#: Gains (time, ant, chan, receptor) of the component of that number.
GainsOf = Callable[[int], np.ndarray]


def predict_directional(
    coordinate: np.ndarray, uvw: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray, time: np.ndarray, frequency: np.ndarray,
    sky: Components, ra0: float, dec0: float, gains: GainsOf, correlations: tuple[int, ...],
    primary_beam: PrimaryBeam | None = None,
) -> np.ndarray:  # fmt: skip
    """Visibilities (row, chan, corr) complex64 of components with gains of their own.

    Parameters
    ----------
    coordinate : ndarray (time, ant, 3)
        Metres; (u, v, w) of a row is that of antenna 2 minus that of antenna 1.
    uvw : ndarray (row, 3)
        The same by rows, time after time; each time has all pairs of antennas.
    antenna1, antenna2, time : ndarray (row,)
    frequency : ndarray (chan,)
        Hz.
    sky : Components
    ra0, dec0 : float
        Phase centre and pointing, J2000, rad.
    gains : callable
        Of the number of a component; E (time, ant, chan, receptor) complex64.
    correlations : tuple of int
        casacore's codes.
    primary_beam : PrimaryBeam, optional
        A, where the gains do not hold it.
    """
    n_times, n_ant = coordinate.shape[:2]
    vis = np.zeros((uvw.shape[0], frequency.size, len(correlations)), np.complex64)
    extended = sky.fwhm_major > 0
    time_index = np.repeat(np.arange(n_times), uvw.shape[0] // max(n_times, 1))
    for i in np.flatnonzero(extended):
        stokes = predict_stokes(uvw, antenna1, antenna2, time, frequency, sky.subset([i]), ra0,
                                dec0, primary_beam)
        vis += apply_gains(to_correlations(stokes, correlations), gains(int(i)), antenna1, antenna2,
                           time_index, correlations)
    points = np.flatnonzero(~extended)
    per_batch = max(_GAINS_PER_BATCH // (n_times * n_ant * frequency.size * 2), 1)
    for start in range(0, points.size, per_batch):
        batch = points[start : start + per_batch]
        _add_points(coordinate, antenna1, antenna2, frequency, sky.subset(batch), ra0, dec0,
                    [gains(int(i)) for i in batch], correlations, primary_beam, vis)
    return vis


def _add_points(coordinate, antenna1, antenna2, frequency, sky, ra0, dec0, gains, correlations,
                primary_beam, vis) -> None:
    lmn = np.stack(direction_cosines(sky.ra, sky.dec, ra0, dec0))
    flux = sky.flux_at(frequency)
    if primary_beam is not None:
        flux = flux * primary_beam(lmn[0], lmn[1], frequency)
    stokes = np.stack([flux,
                       *(flux * fraction[:, None]
                         for fraction in (sky.q, sky.u, sky.v))]).astype(np.complex64)
    factor = to_correlations(stokes, correlations)  # (source, chan, corr)
    path = coordinate @ lmn  # (time, ant, source)
    n_times, n_baselines = coordinate.shape[0], antenna1.size // coordinate.shape[0]
    first, second = antenna1[:n_baselines], antenna2[:n_baselines]
    voltage = np.stack(gains, axis=-1)  # (time, ant, chan, receptor, source)
    for chan, nu in enumerate(frequency):
        turns = path * (nu / SPEED_OF_LIGHT)
        angle = (2.0 * np.pi * (turns - np.round(turns))).astype(np.float32)
        phasor = np.cos(angle) - 1j * np.sin(angle)
        seen = [phasor * voltage[:, :, chan, receptor] for receptor in (0, 1)]
        for corr, code in enumerate(correlations):
            r1, r2 = receptors_of(code)
            product = (seen[r1] * factor[:, chan, corr]) @ seen[r2].conj().swapaxes(1, 2)
            vis[:, chan, corr] += product[:, first, second].reshape(n_times * n_baselines)
