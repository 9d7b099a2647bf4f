"""Numba kernels of the fit.

Visibilities of components with their derivatives, and sums of them over the data.

Sign of `uvstack`. A component has l, m (rad), flux (Jy), major (rad), ratio, position angle and the
width of a ring (rad); with (a, b) the baseline along the major and minor axis, in wavelengths,

    V = S f(x, y) exp(2πi (u l + v m + w (n − 1))),   x = π major ρ,   y = π width ρ,   ρ = sqrt(a² + ratio² b²).

Off axis the axes lie in the plane tangent to the sphere at the source, so that (a, b) hold w times
(l, m): the slope of the w term across the source. Position angles count from the meridian's
parallel there: what is north at the phase centre, moved along the great circle. Slopes by l and m
leave the change of (a, b) out, 1e-5 of themselves for a source of some arcsec.

Where asked for, V is multiplied by sinc(Δν τ) and sinc(ν Δt dτ/dt), τ = (u l + v m + w (n − 1))/c:
the loss within a channel and within an integration (Thompson, Moran & Swenson 2017, sections 6.3
and 6.4).

Rows go through in segments of at most `SEGMENT`, one channel at a time: all loops run along the
rows of a segment, so that the compiler makes vector instructions of them, and what depends on the
channel alone is outside.
"""

import math

import numpy as np
from numba import njit

from uvstack.fitting.model.shape_kernels import GAUSSIAN, profile

#: Rows that are worked on at once; their work space stays in the cache.
SEGMENT = 256
_TWO_PI = 2.0 * math.pi
_options = {"nogil": True, "cache": True, "error_model": "numpy",
            "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
#: What a kernel is told of a component: the seven numbers that the expressions give, then sine and
#: cosine of the position angle and n − 1.
N_NUMBERS, SIN, COS, N_MINUS_1, N_TOLD = 7, 7, 8, 9, 10
#: Work space of a segment: (u, v, w) in wavelengths, model, phasor, smearing, axes, profile,
#: residual and spare.
U, V, W, RE, IM, PHASOR_RE, PHASOR_IM, LOSS, LOSS_L, LOSS_M, A, B, RHO, F, F_X, F_Y, X, Y, N_WORK = range(19)
_GAUSSIAN_SCALE = 1.0 / (4.0 * math.log(2.0))
_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10


@njit(inline="always", **_options)
def _sinc(x):
    """sin(πx)/(πx) and its derivative."""
    y = math.pi * x
    if abs(y) < 1e-3:
        return 1.0 - y * y / 6.0, -math.pi * y / 3.0
    s = math.sin(y) / y
    return s, (math.cos(y) - s) / x


@njit(**_options)
def _smear(n, first, uvw, change, k, width, l, m, n_minus_1, work):
    """Product of the two sincs and its derivatives by l and m.

    change (row, 3) is d(u, v, w)/dt times the integration, m; k the wavenumber, width the channel's
    in 1/m.
    """
    n_0 = n_minus_1 + 1.0
    for b in range(n):
        u, v, w = uvw[first + b, 0], uvw[first + b, 1], uvw[first + b, 2]
        s, ds = _sinc(width * (u * l + v * m + w * n_minus_1))
        loss, loss_l, loss_m = s, ds * width * (u - w * l / n_0), ds * width * (v - w * m / n_0)
        u, v, w = change[first + b, 0], change[first + b, 1], change[first + b, 2]
        s, ds = _sinc(k * (u * l + v * m + w * n_minus_1))
        work[LOSS, b] = loss * s
        work[LOSS_L, b] = loss_l * s + loss * ds * k * (u - w * l / n_0)
        work[LOSS_M, b] = loss_m * s + loss * ds * k * (v - w * m / n_0)


@njit(**_options)
def _turn(n, l, m, n_minus_1, work):
    """exp(2πi (u l + v m + w (n − 1))) to 1e-13: series of sine and cosine after reduction to a quarter turn."""
    for b in range(n):
        t = work[U, b] * l + work[V, b] * m + work[W, b] * n_minus_1
        t -= np.rint(t)
        half = np.rint(2.0 * t)
        x = _TWO_PI * (t - 0.5 * half)
        y = x * x
        s = x * (1.0
                 + y * (-1 / 6
                        + y * (1 / 120
                               + y * (-1 / 5040
                                      + y * (1 / 362880
                                             + y * (-1 / 39916800
                                                    + y * (1 / 6227020800
                                                           + y * (
                                                               -1 / 1307674368000
                                                               + y * (1 / 355687428096000
                                                                      - y
                                                                      / 121645100408832000)))))))))
        c = 1.0 + y * (-1 / 2
                       + y * (1 / 24
                              + y * (-1 / 720
                                     + y * (1 / 40320
                                            + y * (-1 / 3628800
                                                   + y * (1 / 479001600
                                                          + y * (
                                                              -1 / 87178291200
                                                              + y * (1 / 20922789888000
                                                                     - y / 6402373705728000))))))))
        sign = 1.0 - 2.0 * abs(half)
        work[PHASOR_RE, b] = sign * c
        work[PHASOR_IM, b] = sign * s


@njit(**_options)
def _gaussian(n, major, work, power):
    """f = exp(−x²/(4 ln 2)) and df/dx, to 1e-15: series after reduction by powers of two, made as bits in power (SEGMENT,)."""
    bits = power.view(np.int64)
    for b in range(n):
        x = math.pi * major * work[RHO, b]
        t = min(_GAUSSIAN_SCALE * x * x, 700.0)
        whole = np.rint(t * _LOG2_E)
        r = -(t - whole * _LN2_HIGH - whole * _LN2_LOW)
        bits[b] = (1023 - np.int64(whole)) << 52
        work[F_X, b] = -2.0 * _GAUSSIAN_SCALE * x
        work[F, b] = 1.0 + r * (1.0
                                + r * (1 / 2
                                       + r * (1 / 6
                                              + r * (1 / 24
                                                     + r * (1 / 120
                                                            + r * (
                                                                1 / 720
                                                                + r * (
                                                                    1 / 5040
                                                                    + r * (
                                                                        1 / 40320
                                                                        + r * (
                                                                            1 / 362880
                                                                            + r * (
                                                                                1 / 3628800
                                                                                + r * (
                                                                                    1 / 39916800
                                                                                    + r / 479001600)))))))))))
    for b in range(n):
        work[F, b] *= power[b]
        work[F_X, b] *= work[F, b]
        work[F_Y, b] = 0.0


@njit(**_options)
def _add_component(code, time, c, chan, n, told, moving, smeared, column, work, every, power):
    """Add a component to the model of a segment, and write its derivatives by the active numbers into every (2, active, row)."""
    l, m, n_0 = told[time, c, 0, chan], told[time, c, 1, chan], told[time, c, N_MINUS_1, chan] + 1.0
    flux, major, ratio, width = told[time, c, 2, chan], told[time, c, 3, chan], told[
        time, c, 4, chan], told[time, c, 6, chan]
    sin, cos = told[time, c, SIN, chan], told[time, c, COS, chan]
    for b in range(n):
        tilt = (work[U, b] * l + work[V, b] * m) / (1.0 + n_0) + work[W, b]
        u, v = work[U, b] - l * tilt, work[V, b] - m * tilt
        along, across = u * sin + v * cos, u * cos - v * sin
        work[A, b], work[B, b] = along, across
        work[RHO, b] = math.sqrt(along * along + ratio * ratio * across * across)
    if code == GAUSSIAN:
        _gaussian(n, major, work, power)
    else:
        for b in range(n):
            work[F, b], work[F_X, b], work[F_Y, b] = profile(code, math.pi * major * work[RHO, b],
                                                             math.pi * width * work[RHO, b])
    if moving:
        _turn(n, l, m, n_0 - 1.0, work)
    else:
        for b in range(n):
            work[PHASOR_RE, b], work[PHASOR_IM, b] = 1.0, 0.0
    if not smeared:
        for b in range(n):
            work[LOSS, b], work[LOSS_L, b], work[LOSS_M, b] = 1.0, 0.0, 0.0
    for b in range(n):
        value = flux * work[F, b] * work[LOSS, b]
        work[RE, b] += value * work[PHASOR_RE, b]
        work[IM, b] += value * work[PHASOR_IM, b]
    for k in range(2):
        j = column[c, k]
        if j >= 0:
            first, loss, direction = (U, LOSS_L, l) if k == 0 else (V, LOSS_M, m)
            for b in range(n):
                x = flux * work[F, b] * work[loss, b]
                y = _TWO_PI * flux * work[F, b] * work[LOSS, b] * (work[first, b]
                                                                   - work[W, b] * direction / n_0)
                every[0, j, b] = x * work[PHASOR_RE, b] - y * work[PHASOR_IM, b]
                every[1, j, b] = x * work[PHASOR_IM, b] + y * work[PHASOR_RE, b]
    for k in range(2, N_NUMBERS):
        j = column[c, k]
        if j >= 0:
            _slope(k, n, flux, major, ratio, width, work)
            for b in range(n):
                every[0, j, b] = work[X, b] * work[PHASOR_RE, b]
                every[1, j, b] = work[X, b] * work[PHASOR_IM, b]


@njit(**_options)
def _slope(k, n, flux, major, ratio, width, work):
    """Derivative of S f by number k, for those that leave the phase alone, into work[X]."""
    scale = math.pi * flux
    if k == 2:
        for b in range(n):
            work[X, b] = work[F, b] * work[LOSS, b]
    elif k == 3:
        for b in range(n):
            work[X, b] = scale * work[LOSS, b] * work[F_X, b] * work[RHO, b]
    elif k == 6:
        for b in range(n):
            work[X, b] = scale * work[LOSS, b] * work[F_Y, b] * work[RHO, b]
    else:
        for b in range(n):
            rho = work[RHO, b] if work[RHO, b] > 0.0 else 1.0
            by_rho = scale * work[LOSS, b] * (work[F_X, b] * major + work[F_Y, b] * width) / rho
            across = ratio * work[B, b] if k == 4 else (1.0 - ratio * ratio) * work[A, b]
            work[X, b] = by_rho * across * work[B, b]


@njit(**_options)
def _fill(first, n, time, chan, uvw, wavenumber, width, change, fixed, scale, codes, told, moving,
          column, work, every, power):
    """Model (work RE and IM) and derivatives (every) of the rows first … first + n − 1 in one channel."""
    k = wavenumber[chan]
    for b in range(n):
        work[U, b], work[V, b], work[W, b] = k * uvw[first + b, 0], k * uvw[first + b, 1], k * uvw[first + b, 2]
        work[RE, b], work[IM, b] = 0.0, 0.0
    if fixed.shape[0] > 0:
        for b in range(n):
            work[RE, b], work[IM, b] = scale[time, chan] * fixed[first + b, chan].real, scale[time, chan] * fixed[first + b, chan].imag
        j = column[codes.size, 0]
        if j >= 0:
            for b in range(n):
                every[0, j, b], every[1, j, b] = fixed[first + b, chan].real, fixed[
                    first + b, chan].imag
    smeared = change.shape[0] > 0
    for c in range(codes.size):
        if smeared:
            l, m, n_minus_1 = told[time, c, 0, chan], told[time, c, 1, chan], told[
                time, c, N_MINUS_1, chan]
            _smear(n, first, uvw, change, k, width[chan], l, m, n_minus_1, work)
        _add_component(codes[c], time, c, chan, n, told, moving[c], smeared, column, work, every,
                       power)


@njit(**_options)
def normal_sums(uvw, segments, wavenumber, width, change, fixed, scale, codes, told, moving, vis,
                weight, column, hessian, gradient, totals):
    """Sums over the data of w Re(D_i* D_j), w Re(D_i* r) by time and channel, and of w |r|².

    uvw (row, 3) m; segments (segment, 3): first row, number of rows (at most SEGMENT), time;
    wavenumber (chan,) ν/c; width (chan,) Δν/c and change (row, 3) see `_smear`, the latter without
    rows where nothing is smeared; fixed (row, chan), without rows if there is none; scale (time,
    chan); codes, moving (comp,), the latter whether a component is off the phase centre or its
    position is fitted; told (time, comp, N_TOLD, chan); vis, weight (row, chan); column (comp + 1,
    7): the active number, or −1; the last row is that of `scale`. Added to: hessian (time, chan,
    active, active), upper triangle, gradient (time, chan, active), totals (2,): w |r|² and the
    number of visibilities.
    """
    n_active = gradient.shape[2]
    work, every, power = np.zeros((N_WORK, SEGMENT)), np.zeros((2, max(n_active, 1),
                                                                SEGMENT)), np.zeros(SEGMENT)
    for s in range(segments.shape[0]):
        first, n, time = segments[s, 0], segments[s, 1], segments[s, 2]
        for chan in range(wavenumber.size):
            _fill(first, n, time, chan, uvw, wavenumber, width, change, fixed, scale, codes, told,
                  moving, column, work, every, power)
            chi_squared, count = 0.0, 0
            for b in range(n):
                wt = np.float64(weight[first + b, chan])
                x, y = vis[first + b, chan].real - work[RE, b], vis[first + b,
                                                                    chan].imag - work[IM, b]
                chi_squared += wt * (x * x + y * y)
                count += wt > 0.0
                work[RE, b], work[IM, b], work[A, b] = x, y, wt
            totals[0] += chi_squared
            totals[1] += count
            for i in range(n_active):
                g = 0.0
                for b in range(n):
                    x, y = work[A, b] * every[0, i, b], work[A, b] * every[1, i, b]
                    work[X, b], work[Y, b] = x, y
                    g += x * work[RE, b] + y * work[IM, b]
                gradient[time, chan, i] += g
                for j in range(i, n_active):
                    h = 0.0
                    for b in range(n):
                        h += work[X, b] * every[0, j, b] + work[Y, b] * every[1, j, b]
                    hessian[time, chan, i, j] += h


@njit(**_options)
def normal_sums_with_gains(uvw, segments, wavenumber, width, change, fixed, scale, codes, told,
                           moving, vis, weight, column, jacobian, antenna1, antenna2, gain,
                           gain_slope, hessian, gradient, totals):
    """As `normal_sums`, with antenna gains and straight in the parameters.

    jacobian (time, chan, active, par); gain (time, ant, chan) complex; gain_slope (time, ant, chan,
    par) = d ln g / dp complex. Added to: hessian (par, par), upper triangle, gradient (par,),
    totals (2,).
    """
    n_par, n_active = gradient.size, jacobian.shape[2]
    work, every, power = np.zeros((N_WORK, SEGMENT)), np.zeros((2, max(n_active, 1),
                                                                SEGMENT)), np.zeros(SEGMENT)
    slope = np.zeros((2, n_par, SEGMENT))
    for s in range(segments.shape[0]):
        first, n, time = segments[s, 0], segments[s, 1], segments[s, 2]
        for chan in range(wavenumber.size):
            _fill(first, n, time, chan, uvw, wavenumber, width, change, fixed, scale, codes, told,
                  moving, column, work, every, power)
            for b in range(n):
                p, q = antenna1[first + b], antenna2[first + b]
                g = gain[time, p, chan] * np.conj(gain[time, q, chan])
                model = complex(work[RE, b], work[IM, b]) * g
                for i in range(n_par):
                    total = model * (gain_slope[time, p, chan, i]
                                     + np.conj(gain_slope[time, q, chan, i]))
                    for a in range(n_active):
                        total += g * complex(every[0, a, b],
                                             every[1, a, b]) * jacobian[time, chan, a, i]
                    slope[0, i, b], slope[1, i, b] = total.real, total.imag
                wt = np.float64(weight[first + b, chan])
                work[RE, b], work[IM, b], work[A, b] = vis[first + b, chan].real - model.real, vis[
                    first + b, chan].imag - model.imag, wt
                totals[0] += wt * (work[RE, b] ** 2 + work[IM, b] ** 2)
                totals[1] += wt > 0.0
            for i in range(n_par):
                for b in range(n):
                    work[X, b], work[Y, b] = work[A, b] * slope[0, i, b], work[A, b] * slope[1, i, b]
                    gradient[i] += work[X, b] * work[RE, b] + work[Y, b] * work[IM, b]
                for j in range(i, n_par):
                    h = 0.0
                    for b in range(n):
                        h += work[X, b] * slope[0, j, b] + work[Y, b] * slope[1, j, b]
                    hessian[i, j] += h


@njit(**_options)
def model_visibilities(uvw, segments, wavenumber, width, change, fixed, scale, codes, told, moving,
                       out):
    """Model (row, chan) complex without gains; arguments as in `normal_sums`."""
    column, every = np.full((codes.size + 1, N_NUMBERS), -1, np.int64), np.zeros((2, 1, SEGMENT))
    work, power = np.zeros((N_WORK, SEGMENT)), np.zeros(SEGMENT)
    for s in range(segments.shape[0]):
        first, n, time = segments[s, 0], segments[s, 1], segments[s, 2]
        for chan in range(wavenumber.size):
            _fill(first, n, time, chan, uvw, wavenumber, width, change, fixed, scale, codes, told,
                  moving, column, work, every, power)
            for b in range(n):
                out[first + b, chan] = complex(work[RE, b], work[IM, b])
