"""Beams of pointings at the pixels of images."""

import math

from numba import njit


@njit(cache=True, nogil=True)
def look_up(l, m, turn, scale, cubic, good, out):
    """Sums of a radial beam at all pixels (m, l); NaN in the first where the table is not good.

    Parameters
    ----------
    l (column,), m (row,) : float64
        Direction cosines of the pixels from the middle of the image.
    turn (3, 3) : float64
        Unit vectors as seen from the image to those as seen from the pointing.
    scale : float
        Intervals for each unit of the squared distance from the axis.
    cubic (sum, interval, 4) : float64
        Of each interval, by rising powers of the place in it from 0 to 1.
    good (interval,) : bool
    out (sum, row, column) : float64
    """
    for i in range(m.size):
        for j in range(l.size):
            up = math.sqrt(1.0 - l[j] ** 2 - m[i] ** 2)
            east = turn[0, 0] * l[j] + turn[0, 1] * m[i] + turn[0, 2] * up
            north = turn[1, 0] * l[j] + turn[1, 1] * m[i] + turn[1, 2] * up
            front = turn[2, 0] * l[j] + turn[2, 1] * m[i] + turn[2, 2] * up
            if front <= 0:  # beyond the horizon a beam answers 0
                out[:, i, j] = 0.0
                continue
            place = (east * east + north * north) * scale
            k = min(int(place), good.size - 1)
            if not good[k]:
                out[0, i, j] = math.nan
                continue
            t = place - k
            for s in range(out.shape[0]):
                c = cubic[s, k]
                out[s, i, j] = c[0] + t * (c[1] + t * (c[2] + t * c[3]))
