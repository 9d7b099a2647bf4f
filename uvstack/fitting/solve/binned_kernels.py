"""Numba kernels that sum visibilities in bins of uv distance.

Arrays and numbers in, sums added to; no checks.

Eight sums a visibility, one after another, are eight loads and stores: 3 to 6 ns. Here four
visibilities are worked on together in vector registers; a 4 × 4 transposition makes of their eight
columns the eight sums of each, which lie together in memory and are added by two instructions. The
vectors are asked for by name, because numba leaves LLVM's search for them (SLP) out. Each of the
four has a table of its own: neighbouring channels mostly fall in one bin, and would wait for each
other's stores.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_options = {"nogil": True, "cache": True, "error_model": "numpy",
            "fastmath": {"contract", "reassoc", "nsz", "arcp"}}

#: Tables of sums side by side, and sums of a bin.
N_TABLES, N_SUMS = 4, 8
#: About as many visibilities are at work at a time: their places stay in the cache.
_BLOCK = 512
#: Share of the last bin's end by which a row may be beyond it: rounding.
_BEYOND = 1e-9


def _transposed(builder, rows):
    """Rows of a 4 × 4 matrix → its columns: blocks of 2 × 2 change places, then what is in them."""
    index = ir.VectorType(ir.IntType(32), 4)
    a, b, c, d = rows
    low, high = ir.Constant(index, [0, 1, 4, 5]), ir.Constant(index, [2, 3, 6, 7])
    even, odd = ir.Constant(index, [0, 4, 2, 6]), ir.Constant(index, [1, 5, 3, 7])
    pairs = [(builder.shuffle_vector(a, c, which), builder.shuffle_vector(b, d, which))
             for which in (low, high)]
    return [builder.shuffle_vector(*pair, which) for pair in pairs for which in (even, odd)]


@intrinsic
def _add_four(typing_context, sums, place, first, parts, weight, at):
    """Code that adds four visibilities, of places x[first:], parts[2 * at:] and weight[at:], to tables sums[bin, 0 … 3]."""
    real, four, index = ir.DoubleType(), ir.VectorType(ir.DoubleType(),
                                                       4), ir.VectorType(ir.IntType(32), 4)

    def generate(context, builder, signature, values):
        def load(pointer, n):
            """n numbers from there on, as doubles."""
            kind = ir.VectorType(pointer.type.pointee, n)
            got = builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)
            return got if pointer.type.pointee == real else builder.fpext(got,
                                                                          ir.VectorType(real, n))

        table, x, v, w = (context.make_array(signature.args[i])(context, builder, values[i]).data
                          for i in (0, 1, 3, 4))
        x = load(builder.gep(x, [values[2]]), 4)
        both = load(builder.gep(v, [builder.shl(values[5], values[5].type(1))]), 8)
        re, im = (builder.shuffle_vector(both, both, ir.Constant(index, [k, k + 2, k + 4, k + 6]))
                  for k in (0, 1))
        w = load(builder.gep(w, [values[5]]), 4)
        bins = builder.fptosi(x, index)
        t = builder.fsub(x, builder.sitofp(bins, four))
        columns = [w]
        for _ in range(4):
            columns.append(builder.fmul(columns[-1], t))
        power = builder.fadd(builder.fmul(re, re), builder.fmul(im, im), flags=("contract",))
        columns += [builder.fmul(w, re), builder.fmul(columns[1], re), builder.fmul(w, power)]
        halves = _transposed(builder, columns[:4]), _transposed(builder, columns[4:])
        for k in range(N_TABLES):
            row = builder.zext(builder.extract_element(bins, ir.IntType(32)(k)), ir.IntType(64))
            row = builder.mul(builder.add(builder.mul(row, row.type(N_TABLES)), row.type(k)),
                              row.type(N_SUMS))
            for j, half in enumerate(halves):
                there = builder.bitcast(builder.gep(table, [builder.add(row, row.type(4 * j))]),
                                        four.as_pointer())
                builder.store(builder.fadd(builder.load(there, align=8), half[k]), there, align=8)
        return context.get_dummy_value()

    return types.void(sums, place, types.intp, parts, weight, types.intp), generate


@njit(inline="always", **_options)
def _add_one(sums, x, re, im, w):
    """What `_add_four` does, for what is left of a block."""
    k = int(x)
    t = x - k
    found = sums[k, 0]
    moment = w
    for j in range(5):
        found[j] += moment
        moment *= t
    found[5] += w * re
    found[6] += w * t * re
    found[7] += w * (re * re + im * im)


@njit(**_options)
def _distances(uvw, scale, most, rho):
    """Put scale · √(u² + v²) of uvw (row, 3) in rho, at most `most`.

    False where one is clearly beyond, or not finite.
    """
    # Two loops: the first waits for memory, the second for square roots; fused they are half as
    # fast.
    for r in range(uvw.shape[0]):
        rho[r] = uvw[r, 0] * uvw[r, 0] + uvw[r, 1] * uvw[r, 1]
    beyond = 0
    for r in range(uvw.shape[0]):
        one = math.sqrt(rho[r]) * scale
        beyond += not one <= most * (1.0 + _BEYOND)
        rho[r] = one if one < most else most
    return beyond == 0


@njit(**_options)
def _places(rho, wavenumber, x):
    """Put rho (row,) times wavenumber (chan,) in x (row · chan,); the longer loop is inside."""
    n_chan = wavenumber.size
    if n_chan >= 8:
        for r in range(rho.size):
            row = x[r * n_chan : (r + 1) * n_chan]
            for chan in range(n_chan):
                row[chan] = rho[r] * wavenumber[chan]
    else:
        for chan in range(n_chan):
            for r in range(rho.size):
                x[r * n_chan + chan] = rho[r] * wavenumber[chan]


@njit(**_options)
def bin_sums(uvw, wavenumber, bins_per_wavelength, parts, weight, first, sums):
    """Add visibilities to the sums of their bins: one square root a row, none a visibility.

    uvw (row, 3) m; wavenumber (chan,) ν/c; parts (row · chan · 2,) real and imaginary parts in
    turn, weight (row · chan,): single or double precision; first: the row to begin with. With t = q
    · bins_per_wavelength − bin, added to sums (bin, 4, 8), of which the four tables are for the
    caller to add up: w, w t, w t², w t³, w t⁴, w Re V, w t Re V, w |V|².

    Returns the row before which it stopped, as bins end too early for one soon after, or are all that there are; the number of
    visibilities with a weight; and the number of rows among which that one is.
    """
    n_rows, n_chan = uvw.shape[0], wavenumber.size
    # A little less, so that no product rounds up to the number of bins.
    most = sums.shape[0] / wavenumber.max() * (1.0 - 1e-14)
    per_block = max(1, _BLOCK // n_chan)
    rho, x = np.empty(per_block), np.empty(per_block * n_chan)
    count = 0
    for start in range(first, n_rows, per_block):
        block = uvw[start : start + per_block]
        if not _distances(block, bins_per_wavelength, most, rho):
            return start, count, block.shape[0]
        _places(rho[: block.shape[0]], wavenumber, x)
        n, at = block.shape[0] * n_chan, start * n_chan
        fours = n // 4 * 4
        for i in range(0, fours, 4):
            _add_four(sums, x, i, parts, weight, at + i)
        for i in range(fours, n):
            _add_one(sums, x[i], np.float64(parts[2 * (at + i)]),
                     np.float64(parts[2 * (at + i) + 1]), np.float64(weight[at + i]))
        some = weight[at : at + n]
        for i in range(n):  # not "for w in some", which runs one by one
            count += some[i] > 0.0
    return n_rows, count, 0
