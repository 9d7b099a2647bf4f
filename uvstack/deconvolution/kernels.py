"""Numba loops of CLEAN. Arrays and numbers in, results last; no checks.

Högbom, multiscale and multi-term CLEAN are one loop over tiles that are brought up to date only
when they can matter: each tile of each scale keeps an upper bound of its peak. A component raises
the bounds by its flux times the largest |psf| between its place and the tile (a table); the pixels
are left alone. Only if the largest bound belongs to a tile that lags behind are the components it
lacks subtracted there, those at the same place as one. The peak is so that of the whole image, to
rounding, and an iteration costs one pass over the bounds and a few tiles instead of the image.
Peaks are those of term 0: the other terms of a tile are brought up to date when a component is
taken from it.

What has been taken stands in `taken` (iteration,) the place of each, `flux` (iteration, term) and
`place` (3, place): scale, row and column; `place_of` (scale, m, l) holds the place of a pixel plus
one, or 0; `counts` how many there are.
"""

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy",
            "fastmath": {"contract", "reassoc", "nsz", "nnan"}}

#: Pixels on the side of a tile: it stays in the first-level cache.
TILE = 64
#: Component positions are told apart in steps of this many pixels for the bounds; divides TILE.
STEP = 8
#: Pixels of a Clark list whose largest value is kept.
RUN = 256

# Why a loop came back.
THRESHOLD, ITERATIONS, NEGATIVE, DIVERGING, NOTHING, STAGE, FULL, LAGGING = range(8)
# What is done with negative peaks.
ALLOW, SKIP, STOP = range(3)
# Places in counts.
N_TAKEN, N_PLACES = range(2)


@njit(**_options)
def block_peaks(kernel, centre_m, centre_l, out):
    """Largest |kernel| (m, l) in blocks of offsets (k−1)·STEP + 1 … k·STEP.

    Out (2h + 1, 2h' + 1), block k = 0 in the middle.
    """
    half_m, half_l = out.shape[0] // 2, out.shape[1] // 2
    for y in range(kernel.shape[0]):
        i = -((centre_m - y) // STEP) + half_m
        if 0 <= i < out.shape[0]:
            for x in range(kernel.shape[1]):
                j = -((centre_l - x) // STEP) + half_l
                if 0 <= j < out.shape[1]:
                    out[i, j] = max(out[i, j], abs(kernel[y, x]))


@njit(**_options)
def _largest(residual, mask, q, y0, y1, x0, x1, both_signs, columns):
    """Largest value, or |value|, of residual[q, 0] in a tile where mask is True.

    0 where nothing is above it.

    columns (TILE,): scratch; a maximum for each column is what the compiler can do with vectors.
    """
    zero = residual.dtype.type(0.0)
    columns[:] = zero
    for y in range(y0, y1):
        row, allowed = residual[q, 0, y, x0:x1], mask[q, y, x0:x1]
        for x in range(x1 - x0):
            value = abs(row[x]) if both_signs else row[x]
            value = value if allowed[x] else zero
            columns[x] = columns[x] if columns[x] > value else value
    top = zero
    for x in range(x1 - x0):
        top = columns[x] if columns[x] > top else top
    return top


@njit(**_options)
def _find(residual, mask, q, y0, y1, x0, x1, both_signs, value):
    """Row and column of the first pixel of a tile with this value, or |value|."""
    for y in range(y0, y1):
        for x in range(x0, x1):
            here = abs(residual[q, 0, y, x]) if both_signs else residual[q, 0, y, x]
            if here == value and mask[q, y, x]:
                return y, x
    return y0, x0


@njit(**_options)
def _subtract(residual, kernels, pair, q, terms, y0, y1, x0, x1, scale, cy, cx, flux):
    """Take one component (its flux by term) from terms of the tile of scale q, as far as the kernel reaches."""
    n_m, n_l = kernels.shape[2], kernels.shape[3]
    dy, dx = n_m // 2 - cy, n_l // 2 - cx
    y0, y1, x0, x1 = max(y0, -dy), min(y1, n_m - dy), max(x0, -dx), min(x1, n_l - dx)
    if x1 <= x0:
        return
    p = pair[scale, q]
    for t in range(terms[0], terms[1]):
        for term in range(flux.size):
            f = residual.dtype.type(flux[term])
            if f == 0.0:
                continue
            for y in range(y0, y1):
                row, kernel = residual[q, t, y, x0:x1], kernels[p, t + term, y + dy,
                                                                x0 + dx : x1 + dx]
                for x in range(x1 - x0):
                    row[x] -= f * kernel[x]


@njit(**_options)
def _settle(residual, kernels, pair, q, terms, y0, y1, x0, x1, first, last, taken, flux, place,
            waiting, listed, order):
    """Bring terms[0] … terms[1] − 1 of a tile up to date with iterations first … last − 1.

    The number of places that this took.

    waiting (place, term), listed (place,) bool all False, order (place,): scratch.
    """
    n = 0
    for k in range(first, last):
        i = taken[k]
        if not listed[i]:
            listed[i] = True
            order[n] = i
            n += 1
            waiting[i] = 0.0
        for t in range(flux.shape[1]):
            waiting[i, t] += flux[k, t]
    for j in range(n):
        i = order[j]
        listed[i] = False
        _subtract(residual, kernels, pair, q, terms, y0, y1, x0, x1, place[0, i], place[1, i], place[2, i],
                  waiting[i])
    return n


@njit(**_options)
def tile_bounds(residual, mask, select, both_signs, bound, row_bound):
    """Peak of every tile of every scale, times select (scale,), into bound (scale, tile, tile).

    −1 where all is masked.

    row_bound (scale, tile): the largest of each row of tiles.
    """
    columns = np.empty(TILE, residual.dtype)
    n_m, n_l = mask.shape[1], mask.shape[2]
    for q in range(bound.shape[0]):
        for i in range(bound.shape[1]):
            row_bound[q, i] = -1.0
            for j in range(bound.shape[2]):
                y0, x0 = i * TILE, j * TILE
                y1, x1 = min(y0 + TILE, n_m), min(x0 + TILE, n_l)
                bound[q, i, j] = -np.inf
                if mask[q, y0:y1, x0:x1].any():
                    top = _largest(residual, mask, q, y0, y1, x0, x1, both_signs, columns)
                    bound[q, i, j] = select[q] * np.float64(top)
                row_bound[q, i] = max(row_bound[q, i], bound[q, i, j])


@njit(**_options)
def settle_all(residual, kernels, pair, upto, taken, flux, place, counts):
    """Bring every tile up to date, of masked pixels too.

    Upto (2, scale, tile, tile): iterations that term 0 and the others of a tile have; becomes all.
    """
    waiting = np.zeros((counts[N_PLACES], flux.shape[1]))
    listed, order = np.zeros(counts[N_PLACES], np.bool_), np.zeros(counts[N_PLACES], np.int64)
    for q in range(upto.shape[1]):
        for i in range(upto.shape[2]):
            for j in range(upto.shape[3]):
                y0, x0 = i * TILE, j * TILE
                y1, x1 = min(y0 + TILE, residual.shape[2]), min(x0 + TILE, residual.shape[3])
                for part, terms in enumerate(((0, 1), (1, flux.shape[1]))):
                    _settle(residual, kernels, pair, q, terms, y0, y1, x0, x1, upto[part, q, i, j],
                            counts[N_TAKEN], taken, flux, place, waiting, listed, order)
                    upto[part, q, i, j] = counts[N_TAKEN]


@njit(**_options)
def _raise_bounds(bound, row_bound, reach, select, scale, y, x, flux):
    """Raise the bounds of all tiles by what a component may do there."""
    n_i, n_j = bound.shape[1], bound.shape[2]
    i0, j0 = n_i - 1 - y // TILE, n_j - 1 - x // TILE
    for q in range(bound.shape[0]):
        for i in range(n_i):
            top = -1.0
            row = bound[q, i]
            for term in range(flux.size):
                f = abs(flux[term]) * select[q]
                table = reach[scale, q, term, y % TILE // STEP, x % TILE // STEP, i0 + i,
                              j0 : j0 + n_j]
                for j in range(n_j):
                    row[j] += f * table[j]
            for j in range(n_j):
                top = row[j] if row[j] > top else top
            row_bound[q, i] = top


@njit(**_options)
def _highest(bound, row_bound):
    """Scale, row and column of the tile with the largest bound: the first, if several."""
    best, q, i = -np.inf, 0, 0
    for a in range(row_bound.shape[0]):
        for b in range(row_bound.shape[1]):
            if row_bound[a, b] > best:
                best, q, i = row_bound[a, b], a, b
    return q, i, np.argmax(bound[q, i])


@njit(**_options)
def enlist(scale, y, x, taken, place, place_of, counts):
    """Write down that this pixel has been taken; its place."""
    i = place_of[scale, y, x] - 1
    if i < 0:
        i = counts[N_PLACES]
        place_of[scale, y, x] = i + 1
        place[0, i], place[1, i], place[2, i] = scale, y, x
        counts[N_PLACES] += 1
    taken[counts[N_TAKEN]] = i
    return i


@njit(**_options)
def tile_loop(residual, kernels, pair, reach, solve, select, mask, bound, row_bound, upto, taken,
              flux, place, place_of, counts, limits, negative, most, most_work):
    """Take components until something stops it; (reason, selecting peak).

    residual (scale, term, m, l); kernels (pair, 2 term − 1, m', l') of which pair (scale, scale)
    says the first index; reach (scale, scale, term, step, step, tile offset, tile offset) float32;
    solve (scale, term, term): gain times the inverse Hessian; select (scale,); limits (6,):
    threshold, limit of the stage, the factor above the lowest peak that is divergence, the lowest
    peak so far, and, for a psf cut to a patch, c and the sum Σ of the peaks taken: the stage ends
    when peak² ≤ c Σ. Lowest peak and sum are kept up to date, as are the arrays from bound to
    counts.
    """
    both = negative != SKIP
    columns = np.empty(TILE, residual.dtype)
    waiting, listed = np.zeros((taken.size, flux.shape[1])), np.zeros(taken.size, np.bool_)
    order = np.zeros(taken.size, np.int64)
    n_terms, work = flux.shape[1], 0.0
    while True:
        q, i, j = _highest(bound, row_bound)
        peak = bound[q, i, j]
        if not peak > 0.0:
            return NOTHING, max(peak, 0.0)
        y0, x0 = i * TILE, j * TILE
        y1, x1 = min(y0 + TILE, residual.shape[2]), min(x0 + TILE, residual.shape[3])
        if upto[0, q, i, j] < counts[N_TAKEN]:
            work += _settle(residual, kernels, pair, q, (0, 1), y0, y1, x0, x1, upto[0, q, i, j],
                            counts[N_TAKEN], taken, flux, place, waiting, listed, order)
            upto[0, q, i, j] = counts[N_TAKEN]
            bound[q, i, j] = select[q] * np.float64(_largest(residual, mask, q, y0, y1, x0, x1,
                                                             both, columns))
            row_bound[q, i] = bound[q, i].max()
            if work > most_work:
                return LAGGING, peak
            continue
        if peak <= limits[0]:
            return THRESHOLD, peak
        if peak <= limits[1] or peak * peak <= limits[4] * limits[5]:
            return STAGE, peak
        if counts[N_TAKEN] >= most:
            return ITERATIONS, peak
        if peak > limits[2] * limits[3]:
            return DIVERGING, peak
        if counts[N_TAKEN] == taken.size:
            return FULL, peak
        y, x = _find(residual, mask, q, y0, y1, x0, x1, both,
                     _largest(residual, mask, q, y0, y1, x0, x1, both, columns))
        if negative == STOP and residual[q, 0, y, x] < 0:
            return NEGATIVE, peak
        if n_terms > 1:
            work += _settle(residual, kernels, pair, q, (1, n_terms), y0, y1, x0, x1,
                            upto[1, q, i, j], counts[N_TAKEN], taken, flux, place, waiting, listed,
                            order)
            upto[1, q, i, j] = counts[N_TAKEN]
        limits[3] = min(limits[3], peak)
        limits[5] += peak
        enlist(q, y, x, taken, place, place_of, counts)
        amount = flux[counts[N_TAKEN]]
        for t in range(amount.size):
            amount[t] = 0.0
            for term in range(amount.size):
                amount[t] += solve[q, t, term] * np.float64(residual[q, term, y, x])
        counts[N_TAKEN] += 1
        _raise_bounds(bound, row_bound, reach, select, q, y, x, amount)


@njit(**_options)
def gather(image, mask, limit, both_signs, rows, cols, values, row_start):
    """Pixels whose value, or |value|, exceeds limit, row by row; their number.

    With rows of size 0 they are only counted.
    """
    n = 0
    for y in range(image.shape[0]):
        if rows.size:
            row_start[y] = n
        for x in range(image.shape[1]):
            value = abs(image[y, x]) if both_signs else image[y, x]
            if mask[y, x] and value > limit:
                if rows.size:
                    rows[n], cols[n], values[n] = y, x, image[y, x]
                n += 1
    if rows.size:
        row_start[image.shape[0]] = n
    return n


@njit(**_options)
def run_peaks(values, begin, end, both_signs, peaks):
    """Largest value, or |value|, of each run that holds an entry of begin … end − 1."""
    for k in range(begin // RUN, (end + RUN - 1) // RUN):
        top = values[k * RUN]
        top = abs(top) if both_signs else top
        for i in range(k * RUN, min((k + 1) * RUN, values.size)):
            value = abs(values[i]) if both_signs else values[i]
            top = value if value > top else top
        peaks[k] = top


@njit(**_options)
def list_loop(values, rows, cols, row_start, psf, amplitude, peaks, taken, flux, place, place_of,
              counts, limits, negative, most):
    """Clark's loop: components from a list of pixels, each subtracted from the list alone.

    (reason, peak).

    values, rows, cols (entry,), row by row; row_start (m + 1,); psf (2 h + 1, 2 h' + 1); amplitude:
    gain over the psf's peak; peaks (run,); the rest as in `tile_loop`.
    """
    both = negative != SKIP
    half_m, half_l = psf.shape[0] // 2, psf.shape[1] // 2
    run_peaks(values, 0, values.size, both, peaks)
    while True:
        run = np.argmax(peaks)
        peak = np.float64(peaks[run])
        if not peak > 0.0:
            return NOTHING, max(peak, 0.0)
        if peak <= limits[0]:
            return THRESHOLD, peak
        if peak <= limits[1] or peak * peak <= limits[4] * limits[5]:
            return STAGE, peak
        if counts[N_TAKEN] >= most:
            return ITERATIONS, peak
        if peak > limits[2] * limits[3]:
            return DIVERGING, peak
        if counts[N_TAKEN] == taken.size:
            return FULL, peak
        best = run * RUN
        while (abs(values[best]) if both else values[best]) != peaks[run]:
            best += 1
        if negative == STOP and values[best] < 0:
            return NEGATIVE, peak
        limits[3] = min(limits[3], peak)
        limits[5] += peak
        y, x = rows[best], cols[best]
        enlist(0, y, x, taken, place, place_of, counts)
        f = values[best] * values.dtype.type(amplitude)
        flux[counts[N_TAKEN], 0] = f
        counts[N_TAKEN] += 1
        begin, end = row_start[max(y - half_m, 0)], row_start[min(y + half_m + 1,
                                                                  row_start.size - 1)]
        dy, dx = half_m - y, half_l - x
        for k in range(begin, end):
            column = cols[k] + dx
            if 0 <= column < psf.shape[1]:
                values[k] -= f * psf[rows[k] + dy, column]
        run_peaks(values, begin, end, both, peaks)


@njit(**_options)
def list_subtract(values, rows, cols, psf, place, total):
    """Take components, their places (3, place) and flux (place,), from a list of pixels, as far as the psf reaches."""
    half_m, half_l = psf.shape[0] // 2, psf.shape[1] // 2
    for i in range(total.size):
        f = values.dtype.type(total[i])
        dy, dx = half_m - place[1, i], half_l - place[2, i]
        for k in range(values.size):
            row, column = rows[k] + dy, cols[k] + dx
            if 0 <= row < psf.shape[0] and 0 <= column < psf.shape[1]:
                values[k] -= f * psf[row, column]


@njit(**_options)
def stamp(kernel, scale, place, total, out):
    """Add total (place, term) times kernel (n, n) at the places of one scale to out (term, m, l), as far as it lies on it."""
    half_m, half_l = kernel.shape[0] // 2, kernel.shape[1] // 2
    for i in range(total.shape[0]):
        if place[0, i] != scale:
            continue
        y0, x0 = place[1, i] - half_m, place[2, i] - half_l
        for t in range(out.shape[0]):
            for y in range(max(y0, 0), min(y0 + kernel.shape[0], out.shape[1])):
                for x in range(max(x0, 0), min(x0 + kernel.shape[1], out.shape[2])):
                    out[t, y, x] += total[i, t] * kernel[y - y0, x - x0]
