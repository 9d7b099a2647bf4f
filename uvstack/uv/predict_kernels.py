"""Numba kernels for the visibilities of extended components. Arrays in, results last; no checks.

Both add V = Σ_k c_k(ν) E(t_k) exp(+2πi ν/c (u l_k + v m_k + w (n_k − 1))), in the sign of
`uvstack`. With (u, v, w) in wavelengths, t = (u a₀ + v a₁ + w a₂)² + (u a₃ + v a₄ + w a₅)² for the
six `axes` of a component. Two squares, and not the three terms of the quadratic form: those cancel
for a long thin source. Phases are reduced to ±½ turn in float64 and all else is float32.
"""

import numpy as np
from numba import njit

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.uv.kernels import cos_sin_of_turns

#: Gaussian factors below 1e-7 are left out: −ln 1e-7.
LARGEST_EXPONENT = 16.11809565
#: Components treated at once, in float32 sums.
COMPONENT_BLOCK = 1024

# e^(−y) = 1 − y P(y) on 0 ≤ y ≤ 1.02, coefficients rounded to float32 one after the other; e^(−t)
# is its 16th power at t/16. Largest error 8e-7 of 1, bias 1e-9.
_E0, _E1, _E2, _E3, _E4, _E5 = (np.float32(x)
                                for x in (0.99999994, -0.499995053, 0.166607603, -0.0414106473,
                                          0.00782585517, -0.00090713281))
_ONE, _SIXTEENTH, _LIMIT = np.float32(1.0), np.float32(1.0 / 16.0), np.float32(LARGEST_EXPONENT)
_ZERO = np.float32(0.0)
# 2 J1(x)/x: below x = 8 a polynomial in (x/8)², beyond it the asymptotic form sqrt(2/πx) (P cos χ −
# Q/x sin χ) with χ = x − 3π/4 and P, Q polynomials in (8/x)²; both fitted to Bessel functions in
# float64, error 4e-9.
_J = (0.999999999994, -7.99999999813, 21.3333332438, -28.4444427628, 22.755539225, -12.1362025694,
      4.62300911328, -1.32013351903, 0.292213358868, -0.0507466957786, 0.00658379115259,
      -0.000494100205262)
_P = (1.000000002, 0.001830989859, -3.486342821e-05, 1.976779725e-06)
_Q = (0.374999993, -0.001601940918, 6.653530093e-05, -5.36547959e-06)


@njit(fastmath=True, inline="always")
def _exp_of_minus(t):
    """e^(−t), float32, for t ≥ 0; 0 beyond LARGEST_EXPONENT."""
    y = min(t, _LIMIT) * _SIXTEENTH
    e = _ONE - y * (_E0 + y * (_E1 + y * (_E2 + y * (_E3 + y * (_E4 + y * _E5)))))
    e *= e
    e *= e
    e *= e
    e *= e
    return e if t < _LIMIT else _ZERO


@njit(nogil=True, cache=True, fastmath=True)
def jinc(x: float) -> float:
    """2 J1(x)/x for x ≥ 0, float64."""
    if x < 8.0:
        s = x * x / 64.0
        total = 0.0
        for i in range(len(_J) - 1, -1, -1):
            total = total * s + _J[i]
        return total
    s = 64.0 / (x * x)
    p = _P[0] + s * (_P[1] + s * (_P[2] + s * _P[3]))
    q = _Q[0] + s * (_Q[1] + s * (_Q[2] + s * _Q[3]))
    chi = x - 0.75 * np.pi
    return 2.0 / x * np.sqrt(2.0 / (np.pi * x)) * (p * np.cos(chi) - q / x * np.sin(chi))


@njit(nogil=True, cache=True, fastmath=True)
def _reached(distance2, limit):
    """How many components are seen at a squared uv distance: limit (pos,) falls."""
    low = 0
    high = limit.size
    while low < high:
        middle = (low + high) // 2
        if limit[middle] > distance2:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True, fastmath=True)
def add_gaussians(rows: np.ndarray, uvw: np.ndarray, lmn: np.ndarray, axes: np.ndarray,
                  limit: np.ndarray, frequency: np.ndarray, coefficient: np.ndarray,
                  vis: np.ndarray) -> None:
    """Add Gaussians to vis (row, chan) complex64, E(t) = e^(−t).

    rows (n,) to treat; uvw (row, 3) m; lmn (3, pos); axes (6, pos) float32 rad; limit (pos,)
    float64, falling: the squared uv distance in wavelengths² from which a component on axis is
    below 1e-7 at any angle; frequency (chan,) Hz; coefficient (chan, pos) float32 Jy.
    """
    farthest = 0.0
    for k in range(lmn.shape[1]):
        farthest = max(farthest, lmn[0, k] ** 2 + lmn[1, k] ** 2)
    # Seen from a component off axis a baseline is shorter by at most this.
    cos, sin = np.sqrt(1.0 - farthest), np.sqrt(farthest)
    for row in rows:
        for chan in range(frequency.size):
            scale = frequency[chan] / SPEED_OF_LIGHT
            u, v, w = uvw[row, 0] * scale, uvw[row, 1] * scale, uvw[row, 2] * scale
            u32, v32, w32 = np.float32(u), np.float32(v), np.float32(w)
            shortest = max(cos * np.sqrt(u * u + v * v) - sin * abs(w), 0.0)
            n = _reached(shortest * shortest, limit)
            re = 0.0
            im = 0.0
            for begin in range(0, n, COMPONENT_BLOCK):
                end = min(begin + COMPONENT_BLOCK, n)
                l, m, n_minus_1 = lmn[0, begin:end], lmn[1, begin:end], lmn[2, begin:end]
                a0, a1, a2 = axes[0, begin:end], axes[1, begin:end], axes[2, begin:end]
                a3, a4, a5 = axes[3, begin:end], axes[4, begin:end], axes[5, begin:end]
                scaling = coefficient[chan, begin:end]
                block_re = _ZERO
                block_im = _ZERO
                for k in range(l.size):
                    turns = u * l[k] + v * m[k] + w * n_minus_1[k]
                    turns -= np.floor(turns + 0.5)
                    c, s = cos_sin_of_turns(np.float32(turns))
                    x = u32 * a0[k] + v32 * a1[k] + w32 * a2[k]
                    y = u32 * a3[k] + v32 * a4[k] + w32 * a5[k]
                    envelope = scaling[k] * _exp_of_minus(x * x + y * y)
                    block_re += c * envelope
                    block_im += s * envelope
                re += float(block_re)
                im += float(block_im)
            vis[row, chan] += np.complex64(complex(re, im))


@njit(nogil=True, cache=True, fastmath=True)
def add_discs(rows: np.ndarray, uvw: np.ndarray, lmn: np.ndarray, axes: np.ndarray,
              frequency: np.ndarray, coefficient: np.ndarray, vis: np.ndarray) -> None:
    """Add discs to vis, E(t) = 2 J1(x)/x with x = sqrt(t); arguments as in `add_gaussians`."""
    for row in rows:
        for chan in range(frequency.size):
            scale = frequency[chan] / SPEED_OF_LIGHT
            u, v, w = uvw[row, 0] * scale, uvw[row, 1] * scale, uvw[row, 2] * scale
            re = 0.0
            im = 0.0
            for k in range(lmn.shape[1]):
                turns = u * lmn[0, k] + v * lmn[1, k] + w * lmn[2, k]
                turns -= np.floor(turns + 0.5)
                c, s = cos_sin_of_turns(np.float32(turns))
                x = u * axes[0, k] + v * axes[1, k] + w * axes[2, k]
                y = u * axes[3, k] + v * axes[4, k] + w * axes[5, k]
                envelope = coefficient[chan, k] * jinc(np.sqrt(x * x + y * y))
                re += c * envelope
                im += s * envelope
            vis[row, chan] += np.complex64(complex(re, im))


@njit(nogil=True, cache=True)
def tapered_quadratic(x: float) -> float:
    """48 J3(x)/x³ for x ≥ 0: the transform of (1 − r²/α²)² at x = 2π α q, 1 at 0, error 1e-9."""
    if x < 16.0:
        square = 0.25 * x * x
        term = 1.0
        total = 1.0
        k = 1
        while abs(term) > 1e-13:
            term *= -square / (k * (k + 3.0))
            total += term
            k += 1
        return total
    # The asymptotic form of Bessel functions (Abramowitz & Stegun 1964, 9.2.5) for order 3.
    s = 1.0 / (64.0 * x * x)
    p = 1.0 - s * 35.0 * 27.0 / 2.0 * (1.0
                                       - s * 11.0 * -13.0 / 12.0 * (1.0 - s * 45.0 * 85.0 / 30.0))
    q = 35.0 / (8.0 * x) * (1.0 - s * 27.0 * 11.0 / 6.0 * (1.0 - s * 13.0 * 45.0 / 20.0))
    chi = x - 1.75 * np.pi
    return 48.0 / x**3 * np.sqrt(2.0 / (np.pi * x)) * (p * np.cos(chi) - q * np.sin(chi))


@njit(nogil=True, cache=True)
def add_clean_scales(rows: np.ndarray, uvw: np.ndarray, lmn: np.ndarray, axes: np.ndarray,
                     quadrant: np.ndarray, frequency: np.ndarray, coefficient: np.ndarray,
                     vis: np.ndarray) -> None:
    """Add scales of CLEAN of one size to vis.

    quadrant (n, n) is the kernel's, north and east from its middle, with the weights of all four;
    axes are then radians of phase from pixel to pixel to the north and to the east. Of no pixels:
    smooth, and axes are 2π α. Further as in `add_gaussians`.
    """
    n = quadrant.shape[0]
    cosines = np.empty(n)
    for row in rows:
        for chan in range(frequency.size):
            scale = frequency[chan] / SPEED_OF_LIGHT
            u, v, w = uvw[row, 0] * scale, uvw[row, 1] * scale, uvw[row, 2] * scale
            re = 0.0
            im = 0.0
            for k in range(lmn.shape[1]):
                turns = u * lmn[0, k] + v * lmn[1, k] + w * lmn[2, k]
                turns -= np.floor(turns + 0.5)
                north = u * axes[0, k] + v * axes[1, k] + w * axes[2, k]
                east = u * axes[3, k] + v * axes[4, k] + w * axes[5, k]
                if n == 0:
                    envelope = tapered_quadratic(np.sqrt(north * north + east * east))
                else:
                    envelope = 0.0
                    for j in range(n):
                        cosines[j] = np.cos(j * east)
                    for i in range(n):
                        along = 0.0
                        for j in range(n):
                            along += quadrant[i, j] * cosines[j]
                        envelope += np.cos(i * north) * along
                envelope *= coefficient[chan, k]
                re += np.cos(2.0 * np.pi * turns) * envelope
                im += np.sin(2.0 * np.pi * turns) * envelope
            vis[row, chan] += np.complex64(complex(re, im))
