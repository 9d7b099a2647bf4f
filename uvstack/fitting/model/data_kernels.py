"""Numba kernel that looks through visibilities once. Arrays in, flags out; no checks."""

from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def look(uvw, parts, weight):
    """Whether all numbers are finite, whether a weight is negative, whether one is positive.

    uvw (row · 3,), parts (row · chan · 2,) real and imaginary parts in turn, weight (row · chan,).
    """
    bad, negative, positive = 0, 0, 0
    # x − x is 0 for finite numbers alone; no branches, so that these loops run in vector registers.
    for i in range(uvw.size):
        bad |= uvw[i] - uvw[i] != 0.0
    for start in range(0, weight.size, 1024):
        w, p = weight[start : start + 1024], parts[2 * start : 2 * (start + 1024)]
        for i in range(p.size):
            bad |= p[i] - p[i] != 0.0
        for i in range(w.size):
            bad |= w[i] - w[i] != 0.0
            negative |= w[i] < 0.0
            positive |= w[i] > 0.0
    return bad == 0, negative != 0, positive != 0
