"""Numba kernels of islands of pixels. Arrays and scalars in, results last; no checks.

Islands are made of runs: pixels beside each other in one row, of one sign. A run has its row, first
column, the column after its last, its sign, its brightest pixel and whether one is above the
threshold of detection; runs of neighbouring rows that touch are joined (union-find, the root is the
first), so that the image is read once and what follows costs only as much as there are runs.
"""

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy"}

# Columns of a run.
ROW, START, STOP, SIGN, PEAK, SEEN = range(6)
# Bits of an island.
AT_EDGE, AT_BLANK = 1, 2
# Bits of a pixel of an island that is split.
ABOVE, VISITED = 1, 2
#: Part of a maximum between pixels that the brightest of them has at least.
_LEAST_OF_PEAK = 0.5


@njit(**_options)
def peak_between(image, y, x, bright, sign):
    """Maximum of the parabola through a pixel, of `bright` above the background, and its eight neighbours.

    `bright` itself where one of them is brighter, blank or missing, and where the parabola has its
    maximum farther than a pixel away.
    """
    if not (0 < y < image.shape[0] - 1 and 0 < x < image.shape[1] - 1):
        return bright
    centre = sign * np.float64(image[y, x])
    for v in range(y - 1, y + 2):
        for u in range(x - 1, x + 2):
            if not sign * image[v, u] <= centre or not abs(image[v, u]) < np.inf:
                return bright
    left, right = sign * np.float64(image[y, x - 1]), sign * np.float64(image[y, x + 1])
    below, above = sign * np.float64(image[y - 1, x]), sign * np.float64(image[y + 1, x])
    along_x, along_y = 0.5 * (right - left), 0.5 * (above - below)
    xx, yy = right + left - 2.0 * centre, above + below - 2.0 * centre
    xy = 0.25 * sign * (np.float64(image[y + 1, x + 1]) - image[y + 1, x - 1]
                        - image[y - 1, x + 1] + image[y - 1, x - 1])
    determinant = xx * yy - xy * xy
    if not (xx < 0.0 and determinant > 0.0):
        return bright
    dx = -(yy * along_x - xy * along_y) / determinant
    dy = -(xx * along_y - xy * along_x) / determinant
    if max(abs(dx), abs(dy)) > 1.0:
        return bright
    return bright + 0.5 * (along_x * dx + along_y * dy)


@njit(**_options)
def peaks_between(image, pixel, bright, sign, out):
    """`peak_between` of pixels at flat indices, (n,) each."""
    for i in range(pixel.size):
        y, x = pixel[i] // image.shape[1], pixel[i] % image.shape[1]
        out[i] = peak_between(image, y, x, bright[i], sign[i])


@njit(**_options)
def find_runs(
    image, background, rms, steps, rows, row, detection, analysis, negative, between, runs, value, n
):
    """Runs of `rows`, first and last + 1, of an image, from `row` of them on; returns the row reached and the number of runs.

    `background` and `rms` are flat and of these rows, `steps` 1 or 0 for maps and single numbers.
    `value` (run,) is the brightness of the brightest pixel. `between`: a maximum between pixels
    may be what is above the threshold of detection. Stops before a row that might not have room.
    """
    first_row, n_rows, n_columns = rows[0], rows[1] - rows[0], image.shape[1]
    while row < n_rows:
        y = first_row + row
        if n + (n_columns + 1) // 2 + n_columns * negative > runs.shape[0]:
            break
        last = 0
        for x in range(n_columns):
            i = row * n_columns + x
            noise = rms[i * steps[1]]
            above = image[y, x] - background[i * steps[0]]
            limit = analysis * noise
            sign = 0
            if above > limit and above < np.inf and noise > 0:
                sign = 1
            elif negative and above < -limit and above > -np.inf and noise > 0:
                sign = -1
            if sign == 0:
                last = 0
                continue
            bright = sign * above
            if sign != last:
                n += 1
                runs[n - 1, ROW] = y
                runs[n - 1, START] = x
                runs[n - 1, SIGN] = sign
                runs[n - 1, SEEN] = 0
                value[n - 1] = -np.inf
            if bright > value[n - 1]:
                value[n - 1] = bright
                runs[n - 1, PEAK] = x
            if bright > detection * noise or (
                between
                and bright > _LEAST_OF_PEAK * detection * noise
                and peak_between(image, y, x, bright, sign) > detection * noise
            ):
                runs[n - 1, SEEN] = 1
            runs[n - 1, STOP] = x + 1
            last = sign
        row += 1
    return row, n


@njit(**_options)
def _root(parent, i):
    """The root of a run; the path is halved."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(**_options)
def join_runs(runs, reach, parent):
    """Join runs of one sign that touch, at corners too where `reach` is 1; returns how many.

    On return `parent` (run,) is the island of each run, numbered by their first runs.
    """
    n = runs.shape[0]
    above, above_end = 0, 0
    i = 0
    while i < n:
        begin = i
        row = runs[i, ROW]
        while i < n and runs[i, ROW] == row:
            parent[i] = i
            i += 1
        if above_end > above and runs[above, ROW] == row - 1:
            up = above
            for k in range(begin, i):
                while up < above_end and runs[up, STOP] + reach <= runs[k, START]:
                    up += 1
                other = up
                while other < above_end and runs[other, START] < runs[k, STOP] + reach:
                    if runs[other, SIGN] == runs[k, SIGN]:
                        a, b = _root(parent, other), _root(parent, k)
                        if a < b:
                            parent[b] = a
                        else:
                            parent[a] = b
                    other += 1
        above, above_end = begin, i
    count = 0
    for k in range(n):
        # Parents come first: that of any other is numbered already, as −1 − island.
        if parent[k] == k:
            parent[k] = -1 - count
            count += 1
        else:
            parent[k] = parent[parent[k]]
    for k in range(n):
        parent[k] = -1 - parent[k]
    return count


@njit(**_options)
def measure_runs(runs, value, island, n_columns, n_pixels, seen, brightest, peak):
    """Pixels, detection, largest brightness and its flat index, of each island."""
    n_pixels[:] = 0
    seen[:] = False
    brightest[:] = -np.inf
    for k in range(runs.shape[0]):
        i = island[k]
        n_pixels[i] += runs[k, STOP] - runs[k, START]
        seen[i] |= runs[k, SEEN] != 0
        if value[k] > brightest[i]:
            brightest[i] = value[k]
            peak[i] = np.int64(runs[k, ROW]) * n_columns + runs[k, PEAK]


@njit(**_options)
def fill_islands(runs, island, number, start, filled, label, pixel, box, sign):
    """Labels, lists of pixels, bounding boxes and signs of the islands that are kept.

    `number` (island,) is the new number or −1, `start` where the list of each begins in `pixel`;
    `filled` (new,) is a place for counting.
    """
    filled[:] = 0
    box[:, 0::2] = np.iinfo(np.int32).max
    box[:, 1::2] = 0
    n_columns = label.shape[1]
    for k in range(runs.shape[0]):
        i = number[island[k]]
        if i < 0:
            continue
        row, first, stop = runs[k, ROW], runs[k, START], runs[k, STOP]
        sign[i] = runs[k, SIGN]
        box[i, 0] = min(box[i, 0], row)
        box[i, 1] = max(box[i, 1], row + 1)
        box[i, 2] = min(box[i, 2], first)
        box[i, 3] = max(box[i, 3], stop)
        at = start[i] + filled[i]
        filled[i] += stop - first
        flat = np.int64(row) * n_columns
        for x in range(first, stop):
            label[row, x] = i + 1
            pixel[at] = flat + x
            at += 1


@njit(**_options)
def mark_islands(image, background, rms, steps, start, pixel, bits):
    """Whether each island has a pixel at the edge of the image or touching a blank one."""
    n_rows, n_columns = image.shape
    for i in range(bits.size):
        bits[i] = 0
        for k in range(start[i], start[i + 1]):
            y, x = pixel[k] // n_columns, pixel[k] % n_columns
            if y == 0 or x == 0 or y == n_rows - 1 or x == n_columns - 1:
                bits[i] |= AT_EDGE
            if bits[i] & AT_BLANK:
                continue
            for v in range(max(y - 1, 0), min(y + 2, n_rows)):
                for u in range(max(x - 1, 0), min(x + 2, n_columns)):
                    j = v * n_columns + u
                    above = abs(image[v, u] - background[j * steps[0]])
                    if not (above < np.inf and rms[j * steps[1]] > 0):
                        bits[i] |= AT_BLANK


@njit(**_options)
def fill_runs(runs, island, keep, out):
    """Set the pixels of the islands that are kept."""
    for k in range(runs.shape[0]):
        if keep[island[k]]:
            out[runs[k, ROW], runs[k, START] : runs[k, STOP]] = True


@njit(**_options)
def _branches(patch, state, own, begin, end, cut, width, corners, enough, least, queue):
    """Parts above a level that are good enough, in `queue`: length, pixels, and so on.

    Returns how many there are, and whether any part is bright enough. No part reaches pixels that
    are not in the list: what surrounds it lies below the level at which the list was cut.
    """
    found, any_left, at = 0, False, 0
    for q in range(begin, end):
        if not patch[own[q]] > cut or state[own[q]] & VISITED:
            continue
        state[own[q]] |= VISITED
        queue[at + 1] = own[q]
        head, tail = at + 1, at + 2
        flux, bright = 0.0, False
        while head < tail:
            here = queue[head]
            head += 1
            flux += patch[here] - cut
            bright |= state[here] & ABOVE != 0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    other = here + dy * width + dx
                    if (
                        (corners or dy == 0 or dx == 0)
                        and patch[other] > cut
                        and not state[other] & VISITED
                    ):
                        state[other] |= VISITED
                        queue[tail] = other
                        tail += 1
        any_left |= flux > enough
        if flux > enough and bright and tail - at - 1 >= least:
            queue[at] = tail - at - 1
            at = tail
            found += 1
    for q in range(begin, end):
        state[own[q]] &= ABOVE
    return found, any_left


@njit(**_options)
def _lay_out(pixel, value, seen, n_columns, patch, state, own):
    """One island in a patch with a rim of −∞, `own` (pixel,) the place of each pixel in it.

    Returns first row and column, width of the patch, largest value and sum.
    """
    y0, y1, x0, x1 = pixel[0] // n_columns, 0, n_columns, 0
    peak, total = 0.0, 0.0
    for k in range(pixel.size):
        y, x = pixel[k] // n_columns, pixel[k] % n_columns
        y0, y1, x0, x1 = min(y0, y), max(y1, y), min(x0, x), max(x1, x)
        peak = max(peak, value[k])
        total += value[k]
    width = x1 - x0 + 3
    size = width * (y1 - y0 + 3)
    patch[:size] = -np.inf
    state[:size] = 0
    for k in range(pixel.size):
        own[k] = (pixel[k] // n_columns - y0 + 1) * width + pixel[k] % n_columns - x0 + 1
        patch[own[k]] = value[k]
        state[own[k]] = seen[k]
    return y0, x0, width, peak, total


@njit(**_options)
def split_islands(
    start,
    pixel,
    value,
    seen,
    level,
    n_columns,
    n_levels,
    fraction,
    corners,
    least,
    work,
    out_pixel,
    out_value,
    out,
):
    """Sub-islands of all islands by levels on the way up; returns how many, of how many pixels.

    `value` and `seen` (listed pixel,) are the brightness above the background, positive, and
    whether it is above the threshold of detection. `work` holds a patch of float64 and one of uint8
    with room for the largest bounding box and a rim, a queue and a list with room for the largest
    island of int64, and a stack (island pixel + 1, 3). `out` holds first pixel in `out_pixel`,
    parent and level of each sub-island; lists are sorted by island, pixels in one are not.
    """
    patch, state, queue, own, stack = work
    out_start, out_parent, out_level = out
    n_out, n_pixel = 0, 0
    for i in range(start.size - 1):
        n = start[i + 1] - start[i]
        one = slice(start[i], start[i + 1])
        y0, x0, width, peak, total = _lay_out(
            pixel[one], value[one], seen[one], n_columns, patch, state, own
        )
        depth = 1
        stack[0, 0], stack[0, 1], stack[0, 2] = 0, n, 0
        while depth > 0:
            depth -= 1
            begin, end, k_cut = stack[depth]
            split = False
            for k in range(k_cut + 1, n_levels + 1):
                cut = level[i] * (peak / level[i]) ** (k / (n_levels + 1.0))
                found, any_left = _branches(
                    patch,
                    state,
                    own,
                    begin,
                    end,
                    cut,
                    width,
                    corners,
                    fraction * total,
                    least,
                    queue,
                )
                if found >= 2:
                    split = True
                    break
                if not any_left:
                    break
            if split:
                q, filled = 0, begin
                for _ in range(found):
                    length = queue[q]
                    own[filled : filled + length] = queue[q + 1 : q + 1 + length]
                    stack[depth, 0], stack[depth, 1], stack[depth, 2] = filled, filled + length, k
                    depth += 1
                    filled += length
                    q += 1 + length
                continue
            out_start[n_out] = n_pixel
            out_parent[n_out] = i
            out_level[n_out] = level[i] * (peak / level[i]) ** (k_cut / (n_levels + 1.0))
            n_out += 1
            for q in range(begin, end):
                out_pixel[n_pixel] = (
                    (own[q] // width - 1 + y0) * n_columns + own[q] % width - 1 + x0
                )
                out_value[n_pixel] = patch[own[q]]
                n_pixel += 1
    out_start[n_out] = n_pixel
    return n_out, n_pixel
