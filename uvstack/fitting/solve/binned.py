"""Fit of centred, axisymmetric models to sums in bins of uv distance.

One pass over the data, whatever the fit does then.

A model that is round, at the phase centre and the same in all channels is a real function M(q) of
the uv distance, so that

    χ² = Σ w |V|² − 2 Σ w Re V M(q) + Σ w M(q)².

In each bin are kept Σ w t^k for k = 0 … 4 and Σ w t^k Re V for k = 0, 1, t being the place in the
bin. The first four sums give the two nodes and weights of Gauss's quadrature for the weights as
they lie in that bin (Golub & Welsch 1969), the last two the projection of the data on a linear
function. At the nodes stand two pseudo-visibilities, and with the constant Σ w |V|² − Σ W V̄² they
give a χ² that is exactly

    Σ w |V − IM|²,

where IM is M replaced in each bin by the straight line through its values at the nodes: a product
of straight lines is a polynomial of degree 2, which Gauss's rule sums without error. So binning
changes nothing but M by I, and what that does to the result is bounded by derivatives of M: see
`binning_error`. Sums of chunks add up, and two bins merge into one without loss, so that nothing
need be known before of the longest baseline.

Cost: 2 ns a visibility with many channels, 4 with one (two thirds of what is read then are
coordinates), one thread; then 0.1 ms an iteration. Memory: 0.2 MB. Not for power-2, which is
infinite at q = 0, nor for fixed visibilities.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import FitError
from uvstack.fitting.model import normal, shape_kernels
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import DEC, EXTRA, FLUX, MAJOR, PA, RA, RATIO, Model, numbers_at
from uvstack.fitting.model.normal import NormalEquations
from uvstack.fitting.solve import binned_kernels

N_BINS = 512
#: Up to which `binning_error` a binned fit passes for an exact one.
LARGEST_ERROR = 0.003
_N_MOMENTS = 7
#: Rows that are looked at to guess how long baselines are.
_N_GUESS = 256
#: Below this variance of t a bin has one node: all its visibilities are at one distance but for
#: rounding.
_ONE_PLACE = 1e-11
#: The noise part of the bound is this many standard deviations.
_N_SIGMA = 3.0


@dataclass(frozen=True, eq=False)
class Bins:
    """Sums over visibilities in bins of uv distance.

    Attributes
    ----------
    q_max : float
        Wavelengths, upper end of the last bin; all bins are equally wide.
    sums : ndarray (bin, 7)
        Of w, w t, w t², w t³, w t⁴, w Re V, w t Re V with t = 0 … 1 in the bin.
    power : float
        Σ w |V|².
    n : int
        Number of visibilities with a weight.
    """

    q_max: float
    sums: np.ndarray
    power: float
    n: int

    def __add__(self, other: Bins) -> Bins:
        low, high = sorted((self, other), key=lambda one: one.q_max)
        while low.q_max < high.q_max * (1 - 1e-12):
            low = low.widened()
        if low.sums.shape != high.sums.shape or not math.isclose(low.q_max, high.q_max):
            raise FitError(f"bins up to {self.q_max:g} and {other.q_max:g} wavelengths do not add "
                           "up: one must be the other "
                           "times a power of 2, and their number the same; give both the same "
                           "q_max")
        return Bins(high.q_max, low.sums + high.sums, low.power + high.power, low.n + high.n)

    def widened(self) -> Bins:
        """The same sums in bins twice as wide, up to twice the distance."""
        s = np.concatenate([self.sums, np.zeros((len(self.sums) % 2, _N_MOMENTS))])
        merged = np.zeros_like(self.sums)
        half = merged[: len(s) // 2]
        half += _halved(s[::2])
        one = s[1::2].copy()
        for k in range(4, 0, -1):  # powers of t + 1
            one[:, k] = sum(math.comb(k, j) * one[:, j] for j in range(k + 1))
        one[:, 6] += one[:, 5]
        half += _halved(one)
        return Bins(2.0 * self.q_max, merged, self.power, self.n)

    @functools.cached_property
    def nodes(self) -> Nodes:
        """Pseudo-visibilities."""
        which = np.flatnonzero(self.sums[:, 0] > 0)
        w, w1, w2, w3, w4, r, r1 = self.sums[which].T
        mean = w1 / w
        second = w2 / w - mean**2
        third = w3 / w - mean * (3.0 * w2 / w - 2.0 * mean**2)
        fourth = w4 / w - mean * (4.0 * w3 / w - mean * (6.0 * w2 / w - 3.0 * mean**2))
        two = second > _ONE_PLACE
        safe = np.where(two, second, 1.0)
        # Roots of x² − (third/second) x − second, the larger first: it has no cancellation.
        centre = np.where(two, 0.5 * third / safe, 0.0)
        larger = np.where(centre < 0, -1.0, 1.0) * (np.abs(centre) + np.sqrt(centre**2 + safe))
        x = np.sort(np.stack([larger, -safe / larger]), axis=0)
        r1 = r1 - mean * r
        gap = x[1] - x[0]
        weight = np.stack([w * x[1], -w * x[0]]) / gap
        real = np.stack([r * x[1] - r1, r1 - r * x[0]]) / gap
        x, weight, real = (np.where(two, a, b)
                           for a, b in ((x, np.stack([0 * w, 0 * w])),
                                        (weight, np.stack([w, 0 * w])),
                                        (real, np.stack([r, 0 * r]))))
        spread = np.where(two, np.maximum(fourth - second**2 - third**2 / safe, 0.0), 0.0)
        value = np.where(weight > 0, real / np.where(weight > 0, weight, 1.0), 0.0)
        return Nodes(which, (which + mean + x) * self.width, weight, value, w * spread)

    @property
    def width(self) -> float:
        """Of a bin, wavelengths."""
        return self.q_max / len(self.sums)

    @functools.cached_property
    def unexplained(self) -> float:
        """Σ w |V|² less what the nodes hold: the scatter within bins and the imaginary parts."""
        return self.power - float(np.sum(self.nodes.weight * self.nodes.value**2))


@dataclass(frozen=True, eq=False)
class Nodes:
    """Pseudo-visibilities of bins that hold data.

    Attributes
    ----------
    which : ndarray (n,)
        Number of the bin.
    q : ndarray (2, n)
        Wavelengths.
    weight : ndarray (2, n)
        The second is 0 where one node is enough.
    value : ndarray (2, n)
        Jy.
    spread : ndarray (n,)
        Σ w (t − t₁)² (t − t₂)².
    """

    which: np.ndarray
    q: np.ndarray
    weight: np.ndarray
    value: np.ndarray
    spread: np.ndarray

    @functools.cached_property
    def used(self) -> np.ndarray:
        """Nodes with a weight, (2, n)."""
        return self.weight > 0

    @functools.cached_property
    def in_use(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """q, weight and value of the nodes with a weight, each (node,)."""
        return self.q[self.used], self.weight[self.used], self.value[self.used]


def is_binnable(model: Model) -> bool:
    """Whether M is a function of q alone.

    All components round, at the phase centre, without nu, t, gains or fixed model.
    """
    if model.has_gains or model.scale is not None or any(e.depends_on_time or e.depends_on_frequency
                                                         for e in model.variables):
        return False
    wanted = {RA: 0.0, DEC: 0.0, RATIO: 1.0, PA: None}
    for variables in model.variables:
        constant = variables.values(np.zeros(model.n_parameters), np.array([model.nu0]),
                                    model.nu0)[:, 0]
        for k, value in wanted.items():
            if k < len(variables) and ("p[" in variables.parts[k]
                                       or (value is not None and constant[k] != value)):
                return False
    return True


def can_bin(data: FitData) -> bool:
    """Whether nothing but weights belongs to the visibilities.

    Smearing leaves a source at the phase centre alone.
    """
    return data.fixed is None and data.attenuation is None


def bins_of(data: FitData, n_bins: int = N_BINS, q_max: float | None = None) -> Bins:
    """Sums over a chunk of data.

    Parameters
    ----------
    data : FitData
    n_bins : int
    q_max : float, optional
        Wavelengths; default the power of 2 that holds the longest baseline, so that any two chunks
        can be added.

    Raises
    ------
    FitError
        The data have fixed visibilities or a primary beam, n_bins is below 1, or a baseline is
        longer than q_max or infinite.
    """
    if not can_bin(data):
        raise FitError("data with fixed visibilities or a primary beam cannot be binned; fit them "
                       "with method exact")
    if n_bins < 1:
        raise FitError(f"{n_bins} bins; wanted 1 or more")
    wavenumber, n_rows = data.frequency / SPEED_OF_LIGHT, data.uvw.shape[0]
    parts, weight = _numbers(data)
    given, first, found = q_max is not None, 0, None
    if q_max is None:
        q_max = _power_of_2(_longest(data.uvw[:: n_rows // _N_GUESS + 1], wavenumber))
    while True:
        sums = _tables(n_bins)
        stop, n, beyond = binned_kernels.bin_sums(data.uvw, wavenumber, n_bins / q_max, parts,
                                                  weight, first, sums)
        one = sums.sum(axis=1)
        part = Bins(q_max, one[:, :_N_MOMENTS], float(one[:, _N_MOMENTS].sum()), n)
        found = part if found is None else found + part
        if stop == n_rows:
            return found
        most = _longest(data.uvw[stop : stop + beyond], wavenumber)
        if given or not math.isfinite(most):
            raise FitError(f"a baseline of {most:g} wavelengths, and bins to {q_max:g}; " +
                           ("give a larger q_max, or none" if given else "wanted finite (u, v, w)"))
        first, q_max = stop, _power_of_2(most)


def _longest(uvw: np.ndarray, wavenumber: np.ndarray) -> float:
    """Longest baseline of uvw (row, 3), wavelengths."""
    return float(np.hypot(uvw[:, 0], uvw[:, 1]).max(initial=0.0)) * float(wavenumber.max())


def _power_of_2(most: float) -> float:
    """The power of 2 that holds a baseline of so many wavelengths; 1 where there are none."""
    return 2.0 ** math.ceil(math.log2(most)) if most > 0 and math.isfinite(most) else 1.0


def _numbers(data: FitData) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts in turn (row · chan · 2,), weights (row · chan,).

    In place where they are as the kernel wants them.
    """
    vis = np.ascontiguousarray(data.vis,
                               None if data.vis.dtype in (np.complex64, np.complex128)
                               else np.complex128)
    weight = np.ascontiguousarray(data.weight,
                                  None if data.weight.dtype in (np.float32, np.float64)
                                  else np.float64)
    return vis.view(vis.real.dtype).reshape(-1), weight.reshape(-1)


def _tables(n_bins: int) -> np.ndarray:
    """Zeros (bin, table, sum) that begin with a cache line.

    What lies across two of them costs three times the time.
    """
    size = n_bins * binned_kernels.N_TABLES * binned_kernels.N_SUMS
    memory = np.zeros(size + 8)
    begin = -memory.ctypes.data // memory.itemsize % 8
    return memory[begin : begin + size].reshape(n_bins, binned_kernels.N_TABLES,
                                                binned_kernels.N_SUMS)


def normal_equations(bins: Bins, model: Model, p: np.ndarray) -> NormalEquations:
    """Normal equations of binned data at parameters p (par,)."""
    nodes = bins.nodes
    with np.errstate(all="ignore"):
        q, weight, value = nodes.in_use
        there, slopes = _radial(model, p, q)
        rest, weighted = value - there, weight * slopes
        equations = NormalEquations(float(weight @ rest**2) + bins.unexplained, weighted @ rest,
                                    weighted @ slopes.T, bins.n)
    if math.isfinite(equations.chi_squared):
        return equations
    # What is wrong is found and told as for visibilities.
    found = normal.normal_equations(pseudo_data(bins, model.nu0), model, p)
    return NormalEquations(found.chi_squared + bins.unexplained, found.gradient, found.hessian,
                           bins.n)


def binning_error(bins: Bins, model: Model, p: np.ndarray, covariance: np.ndarray) -> float:
    """Bound on the change of any parameter by binning, in its errors.

    Parameters
    ----------
    bins : Bins
    model : Model
    p : ndarray (par,)
        Solution.
    covariance : ndarray (par, par)
        There; parameters without a positive variance are left out.

    Notes
    -----
    To first order the parameter j moves by Σ w [(V − IM) If − (V − M) f] of its errors, where f =
    Σ_k C_jk ∂M/∂p_k/σ_j. With V = M + noise there are two parts. The model's: −Σ w (IM − M) If; the
    summand vanishes at the nodes, so that Gauss's remainder bounds it in each bin by max
    |d⁴/dt⁴|/24 · Σ w (t − t₁)² (t − t₂)², the last factor being known from the sums. And the
    noise's, Σ w n (If − f), with a variance of at most Σ (max |d²f/dt²|/2)² Σ w (t − t₁)² (t − t₂)²
    times that of the noise in the bins; three standard deviations are taken. Derivatives are
    differences over quarters of a bin.
    """
    nodes = bins.nodes
    sigma = np.sqrt(np.diag(covariance))
    good = np.isfinite(sigma) & (sigma > 0)
    if not good.any():
        return 0.0
    influence = np.where(np.isfinite(covariance), covariance, 0.0)[good] / sigma[good, None]
    t = np.linspace(0.0, 1.0, 5)[:, None]
    with np.errstate(all="ignore"):
        there, slopes = _radial(model, p, (nodes.which + t) * bins.width)
        at_nodes, node_slopes = _radial(model, p, nodes.q)
        f, f_nodes = (np.tensordot(influence, s, axes=1) for s in (slopes, node_slopes))
        place = nodes.q / bins.width - nodes.which
        gap = np.where(nodes.used[1], place[1] - place[0], 1.0)
        along = (t - place[0]) / gap
        line, line_f = at_nodes[0] + along * (at_nodes[1] - at_nodes[0]), f_nodes[:, :1] + along * (
            f_nodes[:, 1:] - f_nodes[:, :1])
        summand = (line - there) * line_f
        fourth = 256.0 * np.abs(summand[:, 0] - 4 * summand[:, 1] + 6 * summand[:, 2]
                                - 4 * summand[:, 3] + summand[:, 4])
        second = 16.0 * np.abs(np.diff(f, n=2, axis=1)).max(axis=1)
        of_model = np.sum(fourth / 24.0 * nodes.spread, axis=1)
        noise = max(bins.unexplained, 0.0) / max(2 * bins.n - int(nodes.used.sum()), 1)
        of_noise = np.sqrt(np.sum(0.25 * second**2 * nodes.spread, axis=1) * noise)
        bound = float(np.max(of_model + _N_SIGMA * of_noise))
    return bound if math.isfinite(bound) else math.inf


def _radial(model: Model, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """M and its derivatives (par, …) at uv distances q (…)."""
    numbers = numbers_at(model, p, np.array([model.nu0]), np.zeros(1))
    total, slopes = np.zeros(q.shape), np.zeros((model.n_parameters, *q.shape))
    for c, kind in enumerate(model.shapes):
        value, slope = numbers.values[0, c, :, 0], numbers.slopes[0, c, :, :, 0]
        x = math.pi * q.ravel()
        f, by_x, by_extra = np.empty(q.shape), np.empty(q.shape), np.empty(q.shape)
        shape_kernels.profiles(kind.code, value[MAJOR] * x, value[EXTRA] * x, f.reshape(-1),
                               by_x.reshape(-1), by_extra.reshape(-1))
        total += value[FLUX] * f
        scale = math.pi * value[FLUX] * q
        for k, derivative in ((FLUX, f), (MAJOR, scale * by_x), (EXTRA, scale * by_extra)):
            for i in np.flatnonzero(slope[k]):
                slopes[i] += slope[k, i] * derivative
    return total, slopes


def pseudo_data(bins: Bins, frequency: float) -> FitData:
    """Nodes as visibilities of one channel on the u axis."""
    nodes = bins.nodes
    cached = bins.__dict__.get("_pseudo")
    if cached is None or cached.frequency[0] != frequency:
        q, weight, value = nodes.in_use
        uvw = np.zeros((q.size, 3))
        uvw[:, 0] = q * (SPEED_OF_LIGHT / frequency)
        cached = FitData(uvw, np.array([frequency]), value[:, None].astype(np.complex128),
                         weight[:, None])
        bins.__dict__["_pseudo"] = cached
    return cached


def _halved(sums: np.ndarray) -> np.ndarray:
    """Sums (bin, 7) with t replaced by t/2."""
    return sums * np.array([1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1.0, 1 / 2])
