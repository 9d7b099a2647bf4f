"""What is looked at once, at the solution of a fit.

The uv profile of data and model, blocks of time, tapered weights.

**Bootstrap.** The data are cut into blocks of consecutive times. With g_b and H_b the gradient and
Gauss–Newton matrix of a block at the solution p̂, a resampled data set that holds block b c_b times
has its optimum, to first order, at p̂ + (Σ c_b H_b)⁻¹ Σ c_b g_b: one step instead of a new fit (the
one-step bootstrap of Shao & Tu 1995, section 5.4). It sees what varies from block to block, such as
calibration errors, which the inverse normal matrix does not know of. At fewer than about 20 blocks
its errors are themselves uncertain by 1/√(2 n), 16 per cent and more.

**Weights that are not inverse variances** (a taper, a power of the weights): with W the weight used
and w the inverse variance, the covariance is H⁻¹ J H⁻¹ where J = Σ (W²/w) Re(D* Dᵀ) (White 1980),
and the variance of unit weight is χ²/(2 Σ W/w − tr H⁻¹J), real and imaginary parts counted. Limits
of unresolved sizes do not allow for such weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import QTable

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import FitError
from uvstack.fitting.data.preparation import Piece
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import DEC, RA, Model, numbers_at
from uvstack.fitting.model.normal import NormalEquations, model_visibilities, normal_equations
from uvstack.fitting.result import FitResult
from uvstack.fitting.solve.solver import covariance_of
from uvstack.uv.profile import UVSums, uv_edges

#: Bins of the uv profile.
_BINS = 30
#: Blocks of the bootstrap: at most, and at least.
_MOST_BLOCKS, _FEWEST_BLOCKS = 100, 5
#: Values of the uv profile.
VALUES = ("re", "im", "model_re", "model_im")


@dataclass(frozen=True, eq=False)
class UVProfile:
    """Data and model against uv distance, seen from the position of the first component.

    Attributes
    ----------
    sums : UVSums
        Of `VALUES`; edges are wavelengths.
    scale : float
        Variance over 1/w: the reduced χ² where errors are scaled.
    """

    sums: UVSums
    scale: float = 1.0

    def table(self) -> QTable:
        """Table of bins that hold data.

        Returns
        -------
        QTable
            uv_min, uv_max, uv_distance (weighted mean) in wavelengths, re, im, model_re, model_im,
            re_error, im_error (Jy), count.
        """
        return self.sums.table("lambda", scale=self.scale)


@dataclass(eq=False)
class Look:
    """Sums over data at a solution; those of chunks add up.

    Attributes
    ----------
    profile : UVSums
    blocks : dict of int to NormalEquations
        By number of the block of time.
    spread : NormalEquations or None
        With weights W²/w.
    share : float
        Σ W/w over visibilities in use.
    """

    profile: UVSums
    blocks: dict[int, NormalEquations]
    spread: NormalEquations | None = None
    share: float = 0.0

    def add(self, other: Look) -> None:
        """Add the sums of another chunk."""
        self.profile += other.profile
        for i, normal in other.blocks.items():
            self.add_block(i, normal)
        if other.spread is not None:
            self.add_spread(other.spread, other.share)

    def add_block(self, number: int, normal: NormalEquations) -> None:
        """Add to a block of time."""
        self.blocks[number] = self.blocks[number] + normal if number in self.blocks else normal

    def add_spread(self, spread: NormalEquations, share: float) -> None:
        """Add those with weights W²/w, and Σ W/w."""
        self.spread = spread if self.spread is None else self.spread + spread
        self.share += share


@dataclass(frozen=True, eq=False)
class View:
    """What to look at.

    Attributes
    ----------
    model : Model
    p : ndarray (par,)
    edges : ndarray (bin + 1,)
        Of the profile, wavelengths.
    block_starts : ndarray (block,) or None
        s, where blocks of time begin.
    """

    model: Model
    p: np.ndarray
    edges: np.ndarray
    block_starts: np.ndarray | None = None


def look(view: View, pieces: list[Piece]) -> Look:
    """Sums over the pieces of a chunk."""
    found = Look(UVSums.empty(view.edges, VALUES), {})
    for piece in pieces:
        data = piece.data
        _add_profile(found.profile, view, data)
        if view.block_starts is not None and data.time is not None:
            number = np.maximum(np.searchsorted(view.block_starts, data.time, side="right") - 1, 0)
            for i in np.unique(number):
                rows = data.rows(number == i)
                found.add_block(int(i), normal_equations(rows, view.model, view.p))
        if piece.trust is not None:
            spread = normal_equations(replace(data, weight=data.weight * piece.trust), view.model,
                                      view.p)
            found.add_spread(spread, float(piece.trust[data.weight > 0].sum(dtype=np.float64)))
    return found


def _add_profile(sums: UVSums, view: View, data: FitData) -> None:
    """Add one piece to the uv profile."""
    vis, model = data.vis, model_visibilities(data, view.model, view.p)
    numbers = numbers_at(view.model, view.p, data.frequency, np.zeros(1)).values[0, 0]
    l, m = numbers[RA], numbers[DEC]
    per_metre = data.frequency / SPEED_OF_LIGHT
    if l.any() or m.any():
        n_minus_1 = -(l**2 + m**2) / (1.0 + np.sqrt(1.0 - l**2 - m**2))
        turns = (data.uvw @ np.stack([l, m, n_minus_1])) * per_metre
        factor = np.exp(-2j * np.pi * (turns - np.rint(turns)))
        vis, model = vis * factor, model * factor
    q = (np.hypot(data.uvw[:, 0], data.uvw[:, 1])[:, None] * per_metre).ravel()
    used = (data.weight > 0).ravel()
    weight = data.weight.ravel()[used].astype(np.float64)
    vis, model = vis.ravel()[used], model.ravel()[used]
    products = [weight * value for value in (vis.real, vis.imag, model.real, model.imag)]
    sums.add(q[used], np.ones(weight.size), weight, products)


def profile_edges(low: float, high: float) -> np.ndarray:
    """Edges (bin + 1,) of the uv profile between two uv distances, wavelengths."""
    return uv_edges(_BINS, low, high)


def block_starts(times: np.ndarray) -> np.ndarray:
    """Where blocks of consecutive times begin, (block,), of the times of all data.

    Raises
    ------
    FitError
        There are too few times.
    """
    distinct = np.unique(times)
    if distinct.size < _FEWEST_BLOCKS:
        raise FitError(f"bootstrap wants at least {_FEWEST_BLOCKS} times, and the data have "
                       f"{distinct.size}; leave it out")
    n = min(distinct.size, _MOST_BLOCKS)
    return distinct[np.arange(n) * distinct.size // n]


def resampled(result: FitResult, blocks: dict[int, NormalEquations], n: int,
              rng: np.random.Generator) -> np.ndarray:
    """Parameters of n resampled data sets, (n, par): see the module.

    Parameters that were held stay; degenerate ones are NaN.
    """
    # A size of 0 has no slope there, so that no step from it can be told.
    at_zero = [name in result.upper_limits and p == 0
               for name, p in zip(result.names, result.parameters, strict=True)]
    free = np.flatnonzero((result.errors != 0) & ~np.array(at_zero))
    out = np.tile(result.parameters, (n, 1))
    normals = [blocks[i] for i in sorted(blocks)]
    gradient = np.array([normal.gradient[free] for normal in normals])
    if result.highest is not None:
        # Such an estimate stays where all data together have a slope.
        gradient -= gradient.mean(axis=0)
    hessian = np.array([normal.hessian[np.ix_(free, free)] for normal in normals])
    counts = rng.multinomial(len(normals), np.full(len(normals), 1.0 / len(normals)), size=n)
    for i, count in enumerate(counts):
        total = NormalEquations(0.0, count @ gradient, np.tensordot(count, hessian, 1), 1)
        covariance, _ = covariance_of(total, np.ones(free.size, np.bool_),
                                      [result.names[k] for k in free])
        out[i, free] += covariance @ total.gradient
    return out


def covariance_with_spread(result: FitResult, seen: Look, scale_errors: bool) -> FitResult:
    """A result whose covariance allows for weights that are not inverse variances.

    Parameters
    ----------
    result : FitResult
    seen : Look
        With `spread`.
    scale_errors : bool
    """
    assert seen.spread is not None
    resolved = np.array([name not in result.upper_limits for name in result.names])
    known = np.flatnonzero((result.errors > 0) & np.isfinite(result.errors) & resolved)
    inverse = result.covariance[np.ix_(known, known)] / (result.reduced_chi_squared
                                                         if result.errors_scaled else 1.0)
    product = inverse @ seen.spread.hessian[np.ix_(known, known)]
    free = max(2.0 * seen.share - float(np.trace(product)), 1e-300)
    covariance = result.covariance.copy()
    covariance[np.ix_(known, known)] = product @ inverse
    if scale_errors:
        covariance[np.ix_(known, known)] *= result.chi_squared / free
    return replace(result, covariance=covariance, errors=np.sqrt(np.diag(covariance)),
                   errors_scaled=scale_errors, weighted_degrees_of_freedom=free)
