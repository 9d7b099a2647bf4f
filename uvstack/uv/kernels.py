"""Numba kernels on visibilities.

Arrays and scalars in, results last; no checks, no allocation inside loops.

The factor of a visibility is F = Σ_k c_k exp(−2πi ν/c (u l_k + v m_k + w (n_k − 1))), the sum of
Lindroos et al. (2015), equation 5, in the sign of `uvstack`. Phases are kept in turns and reduced
to ±½ in float64; only then does the sine and cosine follow in float32, from polynomials with an
error of 1.0e-7 rms and no bias.
"""

import numpy as np
from numba import njit

from uvstack.constants import SPEED_OF_LIGHT

# Least-squares polynomials in t² (at Chebyshev nodes) of sin(πt)/t and cos(πt) on |t| ≤ ½.
# Coefficients are rounded to float32 one after the other and the later ones fitted anew each time:
# rounding them all at the end would leave cosines 8e-8 too small on average, which is what adds up
# over many positions, instead of 2e-9.
_S0, _S1, _S2, _S3, _S4 = (np.float32(x)
                           for x in (3.1415925, -5.16770411, 2.54999948, -0.597898185, 0.07698448))
_C0, _C1, _C2, _C3, _C4 = (np.float32(x)
                           for x in (0.99999994, -4.93479204, 4.0583992, -1.33180916, 0.219566688))
_ONE, _TWO = np.float32(1.0), np.float32(2.0)

#: Positions treated at once: the phasors of one block stay in the second-level cache.
POSITION_BLOCK = 1024
#: Channels reached by multiplying phasors before they are computed anew, so that their float32
#: error stays below 1e-6.
CHANNEL_RUN = 8
#: Logarithmic bins of uv distance: 0.28 % wide, from 0.1 to 1e9 (metres or wavelengths).
N_UV_BINS = 8192
UV_BIN_LOW = 0.1
UV_BIN_LOG_WIDTH = np.log(1e10) / N_UV_BINS
#: Columns of every table of sums: number of (row, chan) with a parallel hand, Σw, Σw·Re, Σw·Im,
#: Σw², Σw²·Re, Σw²·Re², Σw²·Im, Σw²·Im², Σw·q.
N_SUMS = 10


@njit(fastmath=True, inline="always")
def cos_sin_of_turns(t):
    """cos(2πt) and sin(2πt), float32, |t| ≤ ½, from the half angle."""
    z = t * t
    s = t * (_S0 + z * (_S1 + z * (_S2 + z * (_S3 + z * _S4))))
    c = _C0 + z * (_C1 + z * (_C2 + z * (_C3 + z * _C4)))
    return _ONE - _TWO * s * s, _TWO * s * c


@njit(nogil=True, cache=True, fastmath=True)
def antenna_phasors(coordinate, lmn, scale, out):
    """exp(−2πi scale x·(l, m, n−1)) of every antenna and position.

    coordinate (ant, 3) m; lmn (3, pos); scale = ν/c in 1/m; out (2 ant, pos) float32: real rows,
    then imaginary rows.
    """
    n_ant = coordinate.shape[0]
    l, m, n_minus_1 = lmn[0], lmn[1], lmn[2]
    for a in range(n_ant):
        x = coordinate[a, 0] * scale
        y = coordinate[a, 1] * scale
        z = coordinate[a, 2] * scale
        for k in range(l.size):
            turns = x * l[k] + y * m[k] + z * n_minus_1[k]
            turns -= np.floor(turns + 0.5)
            c, s = cos_sin_of_turns(np.float32(turns))
            out[a, k] = c
            out[a + n_ant, k] = -s


@njit(nogil=True, cache=True, fastmath=True)
def _multiply_phasors(phasor, step):
    n_ant = phasor.shape[0] // 2
    for a in range(n_ant):
        for k in range(phasor.shape[1]):
            re = phasor[a, k] * step[a, k] - phasor[a + n_ant, k] * step[a + n_ant, k]
            im = phasor[a + n_ant, k] * step[a, k] + phasor[a, k] * step[a + n_ant, k]
            phasor[a, k] = re
            phasor[a + n_ant, k] = im


@njit(nogil=True, cache=True, fastmath=True)
def _phasors_of_channel(chan, uniform, coordinate, lmn, frequency, phasor, step):
    """Phasors of the next channel.

    One multiplication where the channels are evenly spaced, else anew.
    """
    if not uniform or chan % CHANNEL_RUN == 0:
        antenna_phasors(coordinate, lmn, frequency[chan] / SPEED_OF_LIGHT, phasor)
        if uniform and chan == 0 and frequency.size > 1:
            antenna_phasors(coordinate, lmn, (frequency[1] - frequency[0]) / SPEED_OF_LIGHT, step)
    else:
        _multiply_phasors(phasor, step)


@njit(nogil=True, cache=True, fastmath=True)
def antenna_factor(bounds, rows, ant1, ant2, n_ants, coordinate, lmn, frequency, uniform,
                   coefficient, first, factor):
    """Factors of the rows of each time, from one Hermitian product F = K C Kᴴ a channel.

    bounds (time + 1,) where the rows of each time begin in rows, ant1, ant2 (n,): indices into
    factor and coordinate (time, ant, 3) m, of which n_ants (time,) are used; lmn (3, pos);
    frequency (chan,); coefficient (chan, pos) float32; first (subset + 1,) where each subset of
    positions begins; factor (subset, row, chan) complex64, added to. K is kept as (2 ant, pos),
    real parts above imaginary parts, with antennas filled up to a multiple of three.
    """
    size = 0
    n_ant = 0
    for subset in range(first.size - 1):
        for begin in range(first[subset], first[subset + 1], POSITION_BLOCK):
            n = min(POSITION_BLOCK, first[subset + 1] - begin)
            block = lmn[:, begin : begin + n].copy()
            for t in range(bounds.size - 1):
                filled = (n_ants[t] + 2) // 3 * 3
                if filled != n_ant or n != size:
                    n_ant, size = filled, n
                    k = np.empty((2 * n_ant, n), np.float32)
                    d = np.empty((2 * n_ant, n), np.float32)
                    scaled = np.empty((2 * n_ant, n), np.float32)
                    re = np.empty((n_ant, n_ant), np.float32)
                    im = np.empty((n_ant, n_ant), np.float32)
                    x = np.zeros((n_ant, 3))
                x[: n_ants[t]] = coordinate[t, : n_ants[t]]
                for chan in range(frequency.size):
                    _phasors_of_channel(chan, uniform, x, block, frequency, k, d)
                    c = coefficient[chan, begin : begin + n]
                    for a in range(2 * n_ant):
                        for j in range(n):
                            scaled[a, j] = k[a, j] * c[j]
                    _hermitian_product(scaled, k, re, im)
                    for i in range(bounds[t], bounds[t + 1]):
                        p, q = ant1[i], ant2[i]
                        # Only tiles on and above the diagonal are filled: below, the conjugate of
                        # the mirror image.
                        value = complex(re[p, q], im[p, q]) if p <= q else complex(
                            re[q, p], -im[q, p])
                        factor[subset, rows[i], chan] += np.complex64(value)


@njit(nogil=True, cache=True, fastmath=True)
def _hermitian_product(scaled, k, re, im):
    """re + i im = S Kᴴ for the tiles of 3 × 3 antennas on and above the diagonal, S = scaled, both as (2 ant, pos).

    Nine complex sums at a time stay in registers, and the half below the diagonal is left out: with
    27 antennas this is 2.4 times as fast as the product of real matrices in OpenBLAS.
    """
    n_ant = re.shape[0]
    zero = np.float32(0.0)
    for a in range(0, n_ant, 3):
        p0, p1, p2 = scaled[a], scaled[a + 1], scaled[a + 2]
        q0, q1, q2 = scaled[a + n_ant], scaled[a + n_ant + 1], scaled[a + n_ant + 2]
        for b in range(a, n_ant, 3):
            x0, x1, x2 = k[b], k[b + 1], k[b + 2]
            y0, y1, y2 = k[b + n_ant], k[b + n_ant + 1], k[b + n_ant + 2]
            r00 = r01 = r02 = r10 = r11 = r12 = r20 = r21 = r22 = zero
            i00 = i01 = i02 = i10 = i11 = i12 = i20 = i21 = i22 = zero
            for j in range(p0.size):
                r00 += p0[j] * x0[j] + q0[j] * y0[j]
                i00 += q0[j] * x0[j] - p0[j] * y0[j]
                r01 += p0[j] * x1[j] + q0[j] * y1[j]
                i01 += q0[j] * x1[j] - p0[j] * y1[j]
                r02 += p0[j] * x2[j] + q0[j] * y2[j]
                i02 += q0[j] * x2[j] - p0[j] * y2[j]
                r10 += p1[j] * x0[j] + q1[j] * y0[j]
                i10 += q1[j] * x0[j] - p1[j] * y0[j]
                r11 += p1[j] * x1[j] + q1[j] * y1[j]
                i11 += q1[j] * x1[j] - p1[j] * y1[j]
                r12 += p1[j] * x2[j] + q1[j] * y2[j]
                i12 += q1[j] * x2[j] - p1[j] * y2[j]
                r20 += p2[j] * x0[j] + q2[j] * y0[j]
                i20 += q2[j] * x0[j] - p2[j] * y0[j]
                r21 += p2[j] * x1[j] + q2[j] * y1[j]
                i21 += q2[j] * x1[j] - p2[j] * y1[j]
                r22 += p2[j] * x2[j] + q2[j] * y2[j]
                i22 += q2[j] * x2[j] - p2[j] * y2[j]
            re[a, b], re[a, b + 1], re[a, b + 2] = r00, r01, r02
            re[a + 1, b], re[a + 1, b + 1], re[a + 1, b + 2] = r10, r11, r12
            re[a + 2, b], re[a + 2, b + 1], re[a + 2, b + 2] = r20, r21, r22
            im[a, b], im[a, b + 1], im[a, b + 2] = i00, i01, i02
            im[a + 1, b], im[a + 1, b + 1], im[a + 1, b + 2] = i10, i11, i12
            im[a + 2, b], im[a + 2, b + 1], im[a + 2, b + 2] = i20, i21, i22


@njit(nogil=True, cache=True, fastmath=True)
def direct_factor(rows, uvw, lmn, frequency, coefficient, first, factor):
    """Factors of any rows, one phase at a time.

    Arguments as in `antenna_factor`, uvw (row, 3) m.
    """
    for row in rows:
        for chan in range(frequency.size):
            scale = frequency[chan] / SPEED_OF_LIGHT
            u, v, w = uvw[row, 0] * scale, uvw[row, 1] * scale, uvw[row, 2] * scale
            for subset in range(first.size - 1):
                re = 0.0
                im = 0.0
                for begin in range(first[subset], first[subset + 1], POSITION_BLOCK):
                    end = min(begin + POSITION_BLOCK, first[subset + 1])
                    l, m, n_minus_1 = lmn[0, begin:end], lmn[1, begin:end], lmn[2, begin:end]
                    scaling = coefficient[chan, begin:end]
                    block_re = np.float32(0.0)
                    block_im = np.float32(0.0)
                    for k in range(l.size):
                        turns = u * l[k] + v * m[k] + w * n_minus_1[k]
                        turns -= np.floor(turns + 0.5)
                        c, s = cos_sin_of_turns(np.float32(turns))
                        block_re += c * scaling[k]
                        block_im -= s * scaling[k]
                    re += block_re
                    im += block_im
                factor[subset, row, chan] = np.complex64(complex(re, im))


@njit(nogil=True, cache=True, fastmath=True)
def antenna_position_sums(bounds, rows, ant1, ant2, n_ants, coordinate, lmn, frequency, uniform,
                          coefficient, value, out):
    """Add Σ_rows,chan c_k Re(value exp(−2πi …)) of the rows of each time to out (pos,) float64.

    value (row, chan) complex64: weighted visibilities, zero where unused; other arguments as in
    `antenna_factor`, whose transpose this is: with the values of a channel in a real (2 ant, 2 ant)
    matrix M, each position adds kᵀ M k.
    """
    size = 0
    n_ant = 0
    for begin in range(0, lmn.shape[1], POSITION_BLOCK):
        n = min(POSITION_BLOCK, lmn.shape[1] - begin)
        block = lmn[:, begin : begin + n].copy()
        for t in range(bounds.size - 1):
            if n_ants[t] != n_ant or n != size:
                n_ant, size = n_ants[t], n
                matrix = np.empty((2 * n_ant, 2 * n_ant), np.float32)
                k = np.empty((2 * n_ant, n), np.float32)
                d = np.empty((2 * n_ant, n), np.float32)
                image = np.empty((2 * n_ant, n), np.float32)
                total = np.empty(n, np.float32)
            for chan in range(frequency.size):
                matrix[:] = 0.0
                for i in range(bounds[t], bounds[t + 1]):
                    p, q, v = ant1[i], ant2[i], value[rows[i], chan]
                    matrix[p, q] += v.real
                    matrix[p + n_ant, q + n_ant] += v.real
                    matrix[p + n_ant, q] -= v.imag
                    matrix[p, q + n_ant] += v.imag
                _phasors_of_channel(chan, uniform, coordinate[t, :n_ant], block, frequency, k, d)
                np.dot(matrix, k, image)
                total[:] = 0.0
                for a in range(2 * n_ant):
                    for j in range(n):
                        total[j] += k[a, j] * image[a, j]
                for j in range(n):
                    out[begin + j] += coefficient[chan, begin + j] * total[j]


@njit(nogil=True, cache=True, fastmath=True)
def direct_position_sums(rows, uvw, lmn, frequency, coefficient, value, out):
    """As `antenna_position_sums`, one phase at a time, from uvw (row, 3) m."""
    for row in rows:
        for chan in range(frequency.size):
            scale = frequency[chan] / SPEED_OF_LIGHT
            u, v, w = uvw[row, 0] * scale, uvw[row, 1] * scale, uvw[row, 2] * scale
            re, im = value[row, chan].real, value[row, chan].imag
            if re == 0.0 and im == 0.0:
                continue
            l, m, n_minus_1 = lmn[0], lmn[1], lmn[2]
            for k in range(l.size):
                turns = u * l[k] + v * m[k] + w * n_minus_1[k]
                turns -= np.floor(turns + 0.5)
                c, s = cos_sin_of_turns(np.float32(turns))
                out[k] += coefficient[chan, k] * (re * c + im * s)


@njit(nogil=True, cache=True, fastmath=True)
def direct_binned_sums(rows, uvw, lmn, frequency, coefficient, value, bins, out):
    """As `antenna_binned_sums`, one phase at a time, from uvw (row, 3) m."""
    for row in rows:
        one = np.array([row])
        direct_position_sums(one, uvw, lmn, frequency, coefficient, value, out[bins[row]])


@njit(nogil=True, cache=True, fastmath=True)
def antenna_binned_sums(bounds, rows, ant1, ant2, n_ants, coordinate, lmn, frequency, uniform,
                        coefficient, value, bins, out):
    """As `antenna_position_sums`, apart for the bins (row,) int of the rows: out (bin, pos) float64, added to."""
    size = 0
    n_ant = 0
    for begin in range(0, lmn.shape[1], POSITION_BLOCK):
        n = min(POSITION_BLOCK, lmn.shape[1] - begin)
        block = lmn[:, begin : begin + n].copy()
        for t in range(bounds.size - 1):
            if n_ants[t] != n_ant or n != size:
                n_ant, size = n_ants[t], n
                k = np.empty((2 * n_ant, n), np.float32)
                d = np.empty((2 * n_ant, n), np.float32)
            for chan in range(frequency.size):
                _phasors_of_channel(chan, uniform, coordinate[t, :n_ant], block, frequency, k, d)
                c = coefficient[chan, begin : begin + n]
                for i in range(bounds[t], bounds[t + 1]):
                    v = value[rows[i], chan]
                    p_re, p_im = k[ant1[i]], k[ant1[i] + n_ant]
                    q_re, q_im = k[ant2[i]], k[ant2[i] + n_ant]
                    line = out[bins[rows[i]], begin : begin + n]
                    for j in range(n):
                        re = p_re[j] * q_re[j] + p_im[j] * q_im[j]
                        im = p_im[j] * q_re[j] - p_re[j] * q_im[j]
                        line[j] += c[j] * (v.real * re - v.imag * im)


@njit(nogil=True, cache=True)
def solve_antennas(bounds, rows, uvw, antenna1, antenna2, label, ant1, ant2, n_ants, coordinate,
                   residual):
    """Solve uvw = x[ant1] − x[ant2] for the antennas of each time, along a tree of baselines.

    bounds (time + 1,), rows (n,) as in `antenna_factor`; uvw (row, 3) m; antenna1, antenna2 (row,)
    numbers below label.size; label is scratch. Set: ant1, ant2 (n,) indices into coordinate (time,
    ant, 3); n_ants (time,); residual (time,) the largest |uvw − (x₁ − x₂)|, m. Antennas that no row
    connects start a tree of their own: their difference is never needed.
    """
    known = np.zeros(coordinate.shape[1], np.bool_)
    for t in range(bounds.size - 1):
        label[:] = -1
        n_ant = 0
        for i in range(bounds[t], bounds[t + 1]):
            for number in (antenna1[rows[i]], antenna2[rows[i]]):
                if label[number] < 0:
                    label[number] = n_ant
                    n_ant += 1
            ant1[i] = label[antenna1[rows[i]]]
            ant2[i] = label[antenna2[rows[i]]]
        n_ants[t] = n_ant
        known[:] = False
        for root in range(n_ant):
            if not known[root]:
                known[root] = True
                coordinate[t, root] = 0.0
                _grow_tree(bounds[t], bounds[t + 1], rows, uvw, ant1, ant2, known, coordinate[t])
        worst = 0.0
        for i in range(bounds[t], bounds[t + 1]):
            for axis in range(3):
                error = abs(coordinate[t, ant1[i], axis] - coordinate[t, ant2[i], axis]
                            - uvw[rows[i], axis])
                worst = max(worst, error)
        residual[t] = worst


@njit(nogil=True, cache=True)
def _grow_tree(begin, end, rows, uvw, ant1, ant2, known, coordinate):
    grown = True
    while grown:
        grown = False
        for i in range(begin, end):
            p, q = ant1[i], ant2[i]
            if known[p] != known[q]:
                for axis in range(3):
                    if known[p]:
                        coordinate[q, axis] = coordinate[p, axis] - uvw[rows[i], axis]
                    else:
                        coordinate[p, axis] = coordinate[q, axis] + uvw[rows[i], axis]
                known[p] = True
                known[q] = True
                grown = True


@njit(nogil=True, cache=True)
def apply_factor(vis, weight, parallel, factor, norm, uv_distance, wavenumber, uv_range,
                 uv_range_in_metres, stacked, limited, bins_metres, bins_wavelengths):
    """Stacked visibilities of equation 5, and the sums for flux, error and uv profile in the same pass.

    vis (row, chan, corr) complex64; weight (row, chan, corr) float32, 0 where unused; parallel
    (corr,) bool; factor (row, chan) complex64; norm = Σ W_k; uv_distance (row,) m; wavenumber
    (chan,) = ν/c, 1/m; uv_range (2,) in metres or wavelengths. stacked (row, chan, corr) complex64
    is set; limited (N_SUMS,), bins_metres and bins_wavelengths (N_UV_BINS, N_SUMS) are added to:
    see N_SUMS. Weights inside are those of equation 6, norm × weight.
    """
    for row in range(vis.shape[0]):
        distance = uv_distance[row]
        log_distance = np.log(max(distance, UV_BIN_LOW) / UV_BIN_LOW)
        bin_metres = min(int(log_distance / UV_BIN_LOG_WIDTH), N_UV_BINS - 1)
        for chan in range(vis.shape[1]):
            gain = factor[row, chan] / norm
            in_wavelengths = distance * wavenumber[chan]
            q = distance if uv_range_in_metres else in_wavelengths
            inside = uv_range[0] <= q <= uv_range[1]
            log_wavelengths = log_distance + np.log(wavenumber[chan])
            bin_wavelengths = min(max(int(log_wavelengths / UV_BIN_LOG_WIDTH), 0), N_UV_BINS - 1)
            new = 1.0
            for corr in range(vis.shape[2]):
                v = vis[row, chan, corr] * gain
                stacked[row, chan, corr] = v
                w = weight[row, chan, corr] * norm
                if w > 0.0 and parallel[corr]:
                    _add(limited, bins_metres, bins_wavelengths, bin_metres, bin_wavelengths,
                         inside, new, w, np.float64(v.real), np.float64(v.imag), distance,
                         in_wavelengths)
                    new = 0.0


@njit(inline="always")
def _add(limited, bins_metres, bins_wavelengths, i, j, inside, new, w, re, im, metres, wavelengths):
    w2 = w * w
    _add_one(bins_metres[i], new, w, w2, re, im, metres)
    _add_one(bins_wavelengths[j], new, w, w2, re, im, wavelengths)
    if inside:
        _add_one(limited, new, w, w2, re, im, metres)


@njit(inline="always")
def _add_one(sums, new, w, w2, re, im, q):
    sums[0] += new
    sums[1] += w
    sums[2] += w * re
    sums[3] += w * im
    sums[4] += w2
    sums[5] += w2 * re
    sums[6] += w2 * re * re
    sums[7] += w2 * im
    sums[8] += w2 * im * im
    sums[9] += w * q


@njit(nogil=True, cache=True)
def combine_parallel(vis, weight, parallel, uv_distance, wavenumber, uv_range, uv_range_in_metres,
                     value):
    """Σ_corr w V of the parallel hands within uv_range into value (row, chan).

    Returns Σ w²|V|²/2 and Σ w there.

    Arguments as in `apply_factor`. The two sums give the variance of the real part of the plain
    weighted mean.
    """
    square = 0.0
    total = 0.0
    for row in range(vis.shape[0]):
        for chan in range(vis.shape[1]):
            q = uv_distance[row] if uv_range_in_metres else uv_distance[row] * wavenumber[chan]
            combined = np.complex64(0.0)
            if uv_range[0] <= q <= uv_range[1]:
                for corr in range(vis.shape[2]):
                    w = weight[row, chan, corr]
                    if w > 0.0 and parallel[corr]:
                        v = vis[row, chan, corr]
                        combined += np.complex64(w * v)
                        total += w
                        square += 0.5 * np.float64(w) ** 2 * (np.float64(v.real) ** 2
                                                              + np.float64(v.imag) ** 2)
            value[row, chan] = combined
    return square, total


@njit(nogil=True, cache=True)
def clean_visibilities(vis, flag, flag_row, weight, usable):
    """Set weight to 0 where a visibility is flagged or not finite, and such a visibility to 0.

    Count the bad unflagged.

    vis (row, chan, corr) complex64, flag likewise bool, weight likewise float32: modified. A bad
    value is also flagged. usable (row,) bool is set where any weight is left.
    """
    bad = 0
    for row in range(vis.shape[0]):
        usable[row] = False
        for chan in range(vis.shape[1]):
            for corr in range(vis.shape[2]):
                v = vis[row, chan, corr]
                finite = np.isfinite(v.real) and np.isfinite(v.imag)
                flagged = flag[row, chan, corr] or flag_row[row]
                w = weight[row, chan, corr]
                if not finite:
                    vis[row, chan, corr] = 0.0
                    if not flagged:
                        bad += 1
                        flag[row, chan, corr] = True
                if flagged or not finite or not (w > 0.0 and np.isfinite(w)):
                    weight[row, chan, corr] = 0.0
                else:
                    usable[row] = True
    return bad


@njit(nogil=True, cache=True)
def mean_over_channels(weight, norm, mean):
    """norm times the mean of the positive weights of each row and correlation into mean (row, corr), 0 where none is."""
    for row in range(weight.shape[0]):
        for corr in range(weight.shape[2]):
            total = 0.0
            n = 0
            for chan in range(weight.shape[1]):
                if weight[row, chan, corr] > 0.0:
                    total += weight[row, chan, corr]
                    n += 1
            mean[row, corr] = norm * total / n if n else 0.0


#: Samples of the spreading kernel from its centre to its edge, interpolated linearly: error 1e-8.
KERNEL_SAMPLES = 100_000


@njit(inline="always")
def _taps_along(x, taps, table, values):
    """Kernel values at the taps pixels around x; returns the first of them."""
    first = int(np.floor(x)) - taps // 2 + 1
    scale = KERNEL_SAMPLES / (taps / 2)
    for j in range(taps):
        distance = abs(x - (first + j)) * scale
        i = int(distance)
        part = distance - i
        values[j] = table[i] * (1.0 - part) + table[i + 1] * part
    return first


@njit(nogil=True, cache=True)
def spread(x, y, weight, taps, table, image):
    """Add each weight (pos,) to image (l, m) around pixel (x, y) (pos,), with the tabulated kernel."""
    along_x = np.empty(taps)
    along_y = np.empty(taps)
    for k in range(x.size):
        first_x = _taps_along(x[k], taps, table, along_x)
        first_y = _taps_along(y[k], taps, table, along_y)
        for i in range(taps):
            w = along_x[i] * weight[k]
            for j in range(taps):
                image[first_x + i, first_y + j] += w * along_y[j]


@njit(nogil=True, cache=True)
def look_up(x, y, weight, taps, table, image, sums):
    """Add weight times the image around pixel (x, y) to sums (pos,): the transpose of `spread`."""
    along_x = np.empty(taps)
    along_y = np.empty(taps)
    for k in range(x.size):
        first_x = _taps_along(x[k], taps, table, along_x)
        first_y = _taps_along(y[k], taps, table, along_y)
        total = 0.0
        for i in range(taps):
            line = 0.0
            for j in range(taps):
                line += image[first_x + i, first_y + j] * along_y[j]
            total += line * along_x[i]
        sums[k] += weight[k] * total
