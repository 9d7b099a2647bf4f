"""Numba kernels on stamps of an image. Arrays and scalars in, results last; no checks.

A stamp is read through the same code whether it is aligned to the nearest pixel or below it: `taps`
are the weights of an interpolation along one axis, one tap of 1 for the nearest pixel. Pixel (i, j)
of a stamp is Σ_s Σ_t taps_m[s] taps_l[t] image[first_m + i + s, first_l + j + t]. It is blank where
any pixel it would need is off the image or not finite.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath={"contract"})
def _interpolate(source, row, col, taps_m, taps_l, work, out):
    """Stamp of `out`'s shape from the pixels of `source` from (row, col) on, all there and finite.

    One tap of 1, or 4 n taps.
    """
    n_m, n_l = out.shape
    if taps_m.size == 1:
        for i in range(n_m):
            out[i, :] = source[row + i, col:col + n_l]
        return
    for i in range(n_m + taps_m.size - 1):
        line, pixels = work[i], source[row + i]
        line[:] = 0.0
        # Four taps at a time: loads and stores of the line are what takes the time.
        for t in range(0, taps_l.size, 4):
            a, b, c, d = taps_l[t], taps_l[t + 1], taps_l[t + 2], taps_l[t + 3]
            start = pixels[col + t:col + t + n_l + 3]
            for j in range(n_l):
                line[j] += a * start[j] + b * start[j + 1] + c * start[j + 2] + d * start[j + 3]
    for i in range(n_m):
        line = out[i]
        line[:] = 0.0
        for s in range(0, taps_m.size, 4):
            a, b, c, d = taps_m[s], taps_m[s + 1], taps_m[s + 2], taps_m[s + 3]
            w0, w1, w2, w3 = work[i + s], work[i + s + 1], work[i + s + 2], work[i + s + 3]
            for j in range(n_l):
                line[j] += a * w0[j] + b * w1[j] + c * w2[j] + d * w3[j]


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def _all_there(image, row, col, n_rows, n_cols):
    """Whether that rectangle lies on the image and holds finite pixels alone."""
    if row < 0 or col < 0 or row + n_rows > image.shape[0] or col + n_cols > image.shape[1]:
        return False
    for i in range(row, row + n_rows):
        total = 0.0
        for j in range(col, col + n_cols):
            total += image[i, j] * 0.0
        if total != 0.0:  # 0 × NaN and 0 × ∞ are NaN, which differs from 0
            return False
    return True


@njit(nogil=True, cache=True)
def _copy_with_blanks(image, row, col, filled, blank):
    """Rectangle with 0 where there is no finite pixel, and which those are."""
    for i in range(filled.shape[0]):
        for j in range(filled.shape[1]):
            r, c = row + i, col + j
            good = 0 <= r < image.shape[0] and 0 <= c < image.shape[1] and np.isfinite(image[r, c])
            filled[i, j] = image[r, c] if good else 0.0
            blank[i, j] = not good


@njit(nogil=True, cache=True)
def _blank_out(blank, n_taps, out):
    """NaN wherever a blank pixel lies under the taps.

    Running counts along rows, then along columns.
    """
    n_rows = blank.shape[0]
    n_m, n_l = out.shape
    along = np.zeros((n_rows, n_l), np.int64)
    for i in range(n_rows):
        count = 0
        for j in range(n_taps - 1):
            count += blank[i, j]
        for j in range(n_l):
            count += blank[i, j + n_taps - 1]
            along[i, j] = count
            count -= blank[i, j]
    for j in range(n_l):
        count = 0
        for i in range(n_taps - 1):
            count += along[i, j]
        for i in range(n_m):
            count += along[i + n_taps - 1, j]
            if count > 0:
                out[i, j] = np.nan
            count -= along[i, j]


@njit(nogil=True, cache=True)
def _stamp(image, row, col, taps_m, taps_l, work, filled, blank, out):
    """Any stamp, NaN where it is blank; returns whether all of it is there."""
    n_rows, n_cols = out.shape[0] + taps_m.size - 1, out.shape[1] + taps_l.size - 1
    if _all_there(image, row, col, n_rows, n_cols):
        _interpolate(image, row, col, taps_m, taps_l, work, out)
        return True
    _copy_with_blanks(image, row, col, filled, blank)
    _interpolate(filled, 0, 0, taps_m, taps_l, work, out)
    _blank_out(blank, taps_m.size, out)
    return False


@njit(nogil=True, cache=True)
def add_stamps(image, first_m, first_l, taps_m, taps_l, weight, scale, total, weights):
    """Add Σ_k W_k scale_k stamp_k and Σ_k W_k of the pixels that are not blank.

    Returns how many stamps were partly blank.

    image (m, l); first_m, first_l (pos,) int64; taps (pos, tap); weight, scale (pos,); total,
    weights (m', l'), added to.
    """
    n_m, n_l = total.shape
    n_taps = taps_m.shape[1]
    work, out = np.empty((n_m + n_taps - 1, n_l)), np.empty((n_m, n_l))
    filled = np.empty((n_m + n_taps - 1, n_l + n_taps - 1))
    blank = np.empty(filled.shape, np.bool_)
    n_partial, whole = 0, 0.0
    for k in range(weight.size):
        factor = weight[k] * scale[k]
        if n_taps == 1 and _all_there(image, first_m[k], first_l[k], n_m, n_l):
            whole += weight[k]
            for i in range(n_m):
                pixels = image[first_m[k] + i, first_l[k]:first_l[k] + n_l]
                for j in range(n_l):
                    total[i, j] += factor * pixels[j]
            continue
        if _stamp(image, first_m[k], first_l[k], taps_m[k], taps_l[k], work, filled, blank, out):
            whole += weight[k]
            for i in range(n_m):
                for j in range(n_l):
                    total[i, j] += factor * out[i, j]
            continue
        n_partial += 1
        for i in range(n_m):
            for j in range(n_l):
                if np.isfinite(out[i, j]):
                    total[i, j] += factor * out[i, j]
                    weights[i, j] += weight[k]
    weights += whole
    return n_partial


@njit(nogil=True, cache=True)
def fill_block(image, first_m, first_l, taps_m, taps_l, scale, block, partial):
    """scale_k times rows of all stamps into block (m', l', pos) float32, NaN where blank.

    Marks stamps with blanks in partial (pos,).
    """
    n_m, n_l, n = block.shape
    n_taps = taps_m.shape[1]
    work, out = np.empty((n_m + n_taps - 1, n_l)), np.empty((n_m, n_l))
    filled = np.empty((n_m + n_taps - 1, n_l + n_taps - 1))
    blank = np.empty(filled.shape, np.bool_)
    for k in range(n):
        if not _stamp(image, first_m[k], first_l[k], taps_m[k], taps_l[k], work, filled, blank,
                      out):
            partial[k] = True
        for i in range(n_m):
            for j in range(n_l):
                block[i, j, k] = scale[k] * out[i, j]


@njit(nogil=True, cache=True)
def pixel_values(image, first_m, first_l, taps_m, taps_l, out):
    """Interpolated value of one pixel a position, (pos,); NaN where blank."""
    n_taps = taps_m.shape[1]
    for k in range(out.size):
        row, col = first_m[k], first_l[k]
        if not _all_there(image, row, col, n_taps, n_taps):
            out[k] = np.nan
            continue
        total = 0.0
        for s in range(n_taps):
            along = 0.0
            for t in range(n_taps):
                along += taps_l[k, t] * image[row + s, col + t]
            total += taps_m[k, s] * along
        out[k] = total
