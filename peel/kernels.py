"""Gains of antennas on visibilities: V_pq → g_p V_pq g_q* for each receptor (sign of `uvstack`)."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def corrupt(vis, gains, cell, antenna1, antenna2, receptors, out):
    """Add g_p V_pq g_q* to out.

    vis, out (row, chan, corr); gains (cell, chan, ant, receptor), of which one channel is all;
    cell (row,) of each row; receptors (corr, 2) of the first and the second antenna.
    """
    last = gains.shape[1] - 1
    for row in range(vis.shape[0]):
        here, p, q = cell[row], antenna1[row], antenna2[row]
        for chan in range(vis.shape[1]):
            at = min(chan, last)
            for corr in range(vis.shape[2]):
                out[row, chan, corr] += (gains[here, at, p, receptors[corr, 0]] * vis[row, chan, corr]
                                         * np.conj(gains[here, at, q, receptors[corr, 1]]))
