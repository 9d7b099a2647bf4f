"""Numba kernels of islands: pixels that hang together, in one pass and with union-find (Galler & Fisher 1964)."""

import math

import numpy as np
from numba import njit

_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_options)
def count_above(image, rms, threshold, sign):
    """Number of pixels above threshold × rms."""
    n = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            n += sign * image[y, x] > threshold * rms[y, x]
    return n


@njit(**_options)
def _root(parent, k):
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@njit(**_options)
def _join(parent, a, b):
    a, b = _root(parent, a), _root(parent, b)
    # The smaller is the root, so that roots come in the order of the pixels.
    if a < b:
        parent[b] = a
    else:
        parent[a] = b


@njit(**_options)
def find(image, rms, threshold, sign, eight, label, pixel, parent):
    """Provisional labels 1, 2 … of pixels above threshold × rms, written over `label`'s zeros; joined ones in `parent`.

    pixel (n,) are the flat indices. Returns the number of labels. Where `label` is not 0 before, a pixel is left alone.
    """
    n_y, n_x = image.shape
    n, labels = 0, 0
    for y in range(n_y):
        for x in range(n_x):
            if not sign * image[y, x] > threshold * rms[y, x]:
                continue
            mine = 0
            for k in range(4 if eight else 2):
                # West, north, north-west, north-east: those that came before.
                j, i = (y, x - 1) if k == 0 else (y - 1, x + (0, 0, -1, 1)[k])
                if j < 0 or i < 0 or i >= n_x or label[j, i] >= 0:
                    continue
                if mine == 0:
                    mine = -label[j, i]
                else:
                    _join(parent, mine, -label[j, i])
            if mine == 0:
                labels += 1
                mine = labels
                parent[mine] = mine
            label[y, x] = -mine
            pixel[n] = y * n_x + x
            n += 1
    return labels


@njit(**_options)
def number(image, rms, detection, sign, least, first, label, pixel, parent, new, count):
    """Numbers first, first + 1 … for islands with `least` pixels and one above detection × rms; `new` by provisional label.

    Writes the labels, 0 where an island is dropped; count (labels + 1,) are the pixels of provisional ones. Returns the last number.
    """
    n_x = image.shape[1]
    peak = np.zeros(count.size, np.bool_)
    for k in range(pixel.size):
        y, x = pixel[k] // n_x, pixel[k] % n_x
        root = _root(parent, -label[y, x])
        count[root] += 1
        peak[root] |= sign * image[y, x] > detection * rms[y, x]
    last = first - 1
    for root in range(1, count.size):
        if parent[root] == root and peak[root] and count[root] >= least:
            last += 1
            new[root] = last
    for k in range(pixel.size):
        y, x = pixel[k] // n_x, pixel[k] % n_x
        label[y, x] = new[_root(parent, -label[y, x])]
    return last


@njit(**_options)
def gather(label, pixel, start, sorted_pixel):
    """Flat indices by label: those of label k + 1 in sorted_pixel[start[k]:start[k + 1]]; start comes in as zeros."""
    n_x = label.shape[1]
    for k in range(pixel.size):
        mine = label[pixel[k] // n_x, pixel[k] % n_x]
        if mine > 0:
            start[mine] += 1
    for k in range(1, start.size):
        start[k] += start[k - 1]
    place = start[:-1].copy()
    for k in range(pixel.size):
        mine = label[pixel[k] // n_x, pixel[k] % n_x]
        if mine > 0:
            sorted_pixel[place[mine - 1]] = pixel[k]
            place[mine - 1] += 1


@njit(**_options)
def describe(image, label, sign, start, pixel, brightest, maxima, edge, blank):
    """Flat index of the brightest pixel of each island, its number of local maxima, whether it reaches the edge or blank pixels."""
    n_y, n_x = image.shape
    for k in range(start.size - 1):
        best = pixel[start[k]]
        for p in range(start[k], start[k + 1]):
            y, x = pixel[p] // n_x, pixel[p] % n_x
            value = sign[k] * image[y, x]
            if value > sign[k] * image[best // n_x, best % n_x]:
                best = pixel[p]
            top = True
            for j in range(y - 1, y + 2):
                for i in range(x - 1, x + 2):
                    if j < 0 or i < 0 or j >= n_y or i >= n_x:
                        edge[k] = True
                    elif not math.isfinite(image[j, i]):
                        blank[k] = True
                    elif sign[k] * image[j, i] > value or (sign[k] * image[j, i] == value and j * n_x + i < pixel[p]):
                        top = False
            maxima[k] += top
        brightest[k] = best


@njit(**_options)
def values_above(image, rms, threshold, out):
    """Pixels over their noise that are above a threshold, into out; their number, and that of pixels that are not blank."""
    n, good = 0, 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = image[y, x] / rms[y, x]
            good += math.isfinite(value)
            if value > threshold:
                if n < out.size:
                    out[n] = value
                n += 1
    return n, good
