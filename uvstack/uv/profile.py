"""Sums in bins of uv distance, and the table that every uv profile is.

What falls into a bin is summed with its weight, w x, chunk by chunk; the table has the means
Σ w x/Σ w. Stacks are summed in fine bins, logarithmic and 0.28 % wide, by the kernel that stacks
them (`uvstack.uv.kernels.apply_factor`), so that a profile in any bins can be made of them later;
everything else is summed in the bins of its table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray

from uvstack.checks import MOST_BINS, whole_number
from uvstack.errors import SelectionError
from uvstack.records import Shown
from uvstack.uv import kernels

#: Columns of the sums that come before those of the values.
COUNT, W, W_Q, N_FIXED = range(4)


@dataclass(eq=False, repr=False)
class UVSums(Shown):
    """Sums of weighted values in bins of uv distance; `+=` joins those of two chunks.

    Attributes
    ----------
    edges : ndarray (bin + 1,)
        Rising, metres or wavelengths; what lies beyond the ends counts in the first and last bin.
    names : tuple of str
        Of the values.
    sums : ndarray (bin, 3 + value) float64
        Number of visibilities, Σ w, Σ w q, and Σ w x of each value.
    """

    edges: NDArray[np.float64]
    names: tuple[str, ...]
    sums: NDArray[np.float64]

    @classmethod
    def empty(cls, edges: NDArray[np.float64], names: Sequence[str]) -> UVSums:
        """Sums of nothing."""
        return cls(edges, tuple(names), np.zeros((edges.size - 1, N_FIXED + len(names))))

    def add(self, distance: NDArray, count: NDArray, weight: NDArray,
            products: Sequence[NDArray]) -> None:
        """Add what is at some uv distances: numbers, Σ w, and Σ w x of each value, all (point,)."""
        index = bin_of(self.edges, distance)
        for i, column in enumerate((count, weight, weight * distance, *products)):
            self.sums[:, i] += np.bincount(index, column, self.edges.size - 1)

    def __iadd__(self, other: UVSums) -> UVSums:
        self.sums += other.sums
        return self

    def total(self, name: str) -> float:
        """Σ w x of a value over all bins."""
        return float(self.sums[:, N_FIXED + self.names.index(name)].sum())

    def table(self, unit: str, names: Sequence[str] | None = None,
              scale: float | None = None) -> QTable:
        """Table of the bins that hold data, see `profile_table`.

        Parameters
        ----------
        unit : {"m", "lambda"}
        names : sequence of str, optional
            Values to show; default all.
        scale : float, optional
            Variance over 1/w of a visibility's part: gives re_error and im_error.
        """
        some = self.sums[:, COUNT] > 0
        sums = self.sums[some]
        weight, q = sums[:, W], sums[:, W_Q] / sums[:, W]
        columns = {name: sums[:, N_FIXED + self.names.index(name)] / weight
                   for name in names or self.names}
        if scale is not None:
            columns["re_error"] = columns["im_error"] = np.sqrt(scale / weight)
        low, high = self.edges[:-1][some], self.edges[1:][some]
        return profile_table(low, high, unit, columns, sums[:, COUNT], q)


def profile_table(low: NDArray, high: NDArray, unit: str, columns: Mapping[str, NDArray],
                  count: NDArray, distance: NDArray | None = None) -> QTable:
    """Table of a uv profile: uv_min, uv_max, uv_distance, the columns (Jy) and count.

    The uv distance is a weighted mean, where it is known. Uv distances are in metres, or in
    wavelengths, which have no unit.
    """
    length = u.m if unit == "m" else u.dimensionless_unscaled
    table = QTable({"uv_min": low * length, "uv_max": high * length})
    if distance is not None:
        table["uv_distance"] = distance * length
    for name, values in columns.items():
        table[name] = values * u.Jy
    table["count"] = count.astype(np.int64)
    return table


def uv_edges(bins: int | Sequence[float] | NDArray, low: float,
             high: float) -> NDArray[np.float64]:
    """Edges of bins of uv distance, (bin + 1,): so many equal ones from low to high, or as given.

    Raises
    ------
    SelectionError
        The number is not from 1 to `MOST_BINS`, or the edges are not finite or do not rise from 0
        or more.
    """
    if np.ndim(bins) == 0:
        return np.linspace(low, high, whole_number("bins", bins, 1, MOST_BINS) + 1)
    edges = np.asarray(bins, dtype=float)
    rising = edges.ndim == 1 and edges.size > 1 and bool((np.diff(edges) > 0).all())
    if not rising or edges[0] < 0 or not np.isfinite(edges).all():
        raise SelectionError(f"bins of uv distance are {bins}; wanted a number, or finite edges "
                             "that rise from 0 or more")
    return edges


def bin_of(edges: NDArray[np.float64], distance: NDArray[np.float64]) -> NDArray[np.intp]:
    """Numbers of the bins that hold uv distances; beyond the ends the first and the last."""
    return np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, edges.size - 2)


def fine_bin_edges() -> NDArray[np.float64]:
    """Edges of the fine bins, (N_UV_BINS + 1,), metres or wavelengths; the first is 0."""
    edges = kernels.UV_BIN_LOW * np.exp(np.arange(kernels.N_UV_BINS + 1) * kernels.UV_BIN_LOG_WIDTH)
    edges[0] = 0.0
    return edges


def fine_bin_of(distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers of the fine bins that hold uv distances, as the kernel of stacks finds them."""
    ratio = np.maximum(distance, kernels.UV_BIN_LOW) / kernels.UV_BIN_LOW
    which = np.log(ratio) / kernels.UV_BIN_LOG_WIDTH
    return np.clip(which.astype(np.int64), 0, kernels.N_UV_BINS - 1)


def merged(fine: NDArray[np.float64],
           edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of fine bins (fine bin, k) in wider ones (bin, k), and the edges of these.

    They are the edges of fine bins that are nearest to those wanted.
    """
    fine_edges = fine_bin_edges()
    middles = np.sqrt(fine_edges[1:-1] * fine_edges[2:])
    cut = np.clip(np.searchsorted(middles, edges) + 1, 0, fine.shape[0])
    cut[edges <= fine_edges[1] / 2] = 0
    cumulative = np.vstack([np.zeros(fine.shape[1]), np.cumsum(fine, axis=0)])
    return np.diff(cumulative[cut], axis=0), fine_edges[cut]
