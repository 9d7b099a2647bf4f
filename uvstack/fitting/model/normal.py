"""Normal equations of a chunk of visibilities.

χ², its gradient and the Gauss–Newton matrix in one pass.

With residuals r = V_obs − V_model and slopes D_i = dV_model/dp_i,

    χ² = Σ w |r|²,   g_i = Σ w Re(D_i* r),   H_ij = Σ w Re(D_i* D_j),

where w is the inverse variance of a real part, so that H⁻¹ is the covariance of p: real and
imaginary part are two measurements. The kernel sums over the numbers of the components, channel by
channel; the expressions enter afterwards by the chain rule. So a pass costs the same whatever is
written in them. Sums of chunks add up.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import FitError
from uvstack.fitting.model import kernels
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import DEC, PA, RA, Model, Numbers, gains_at, numbers_at

#: Slopes that are held at once where variables depend on time: 64 MB.
_MOST_NUMBERS = 8_000_000


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """χ², g (par,) and H (par, par) of the module, and the number of visibilities."""

    chi_squared: float
    gradient: np.ndarray
    hessian: np.ndarray
    n: int

    def __add__(self, other: NormalEquations) -> NormalEquations:
        return NormalEquations(self.chi_squared + other.chi_squared, self.gradient + other.gradient,
                               self.hessian + other.hessian, self.n + other.n)


@dataclass(frozen=True, eq=False)
class _Block:
    """Part of the data for one call of a kernel.

    Which rows they are, their times (time,), segments (segment, 3).
    """

    data: FitData
    rows: slice | np.ndarray
    times: np.ndarray
    segments: np.ndarray


def normal_equations(data: FitData, model: Model, p: np.ndarray) -> NormalEquations:
    """Normal equations of a chunk at parameters p (par,).

    Raises
    ------
    FitError
        A variable is not finite there, or the model of a visibility that has a weight.
    """
    total = NormalEquations(0.0, np.zeros(model.n_parameters),
                            np.zeros((model.n_parameters, model.n_parameters)), 0)
    for block in _blocks(data, model):
        found = _of_block(block, model, p)
        if not np.isfinite(found.chi_squared):
            found = _of_block(_finite_rows(block, model, p), model, p)
        total += found
    return total


def _of_block(block: _Block, model: Model, p: np.ndarray) -> NormalEquations:
    data, times, segments = block.data, block.times, block.segments
    numbers = numbers_at(model, p, data.frequency, times, data.attenuation)
    column, jacobian = _active(numbers)
    shared, totals = (*_arguments(data, model, numbers, segments, column), data.vis, data.weight,
                      column), np.zeros(2)
    if model.has_gains:
        first, second, gain, slope = _gains(data, model, p, times)
        hessian, gradient = np.zeros((model.n_parameters,
                                      model.n_parameters)), np.zeros(model.n_parameters)
        kernels.normal_sums_with_gains(*shared, jacobian, first, second, gain, slope, hessian,
                                       gradient, totals)
        return NormalEquations(float(totals[0]), gradient, hessian + np.triu(hessian, 1).T,
                               int(totals[1]))
    hessian = np.zeros((times.size, data.frequency.size, jacobian.shape[2], jacobian.shape[2]))
    gradient = np.zeros(hessian.shape[:3])
    kernels.normal_sums(*shared, hessian, gradient, totals)
    hessian += np.triu(hessian, 1).swapaxes(2, 3)
    # Products of flat matrices: finding the order of an einsum takes longer than a pass over binned
    # data.
    flat, right = jacobian.reshape(-1, model.n_parameters), (hessian @ jacobian).reshape(
        -1, model.n_parameters)
    return NormalEquations(float(totals[0]), gradient.reshape(-1) @ flat, flat.T @ right,
                           int(totals[1]))


def model_visibilities(data: FitData, model: Model, p: np.ndarray,
                       with_gains: bool = True) -> np.ndarray:
    """Model (row, chan) complex128 at parameters p, as it is compared with the data."""
    out = np.empty(data.vis.shape, np.complex128)
    for block in _blocks(data, model):
        out[block.rows] = _model_of_block(block, model, p, with_gains)
    return out


def _model_of_block(block: _Block, model: Model, p: np.ndarray, with_gains: bool) -> np.ndarray:
    data, times, segments = block.data, block.times, block.segments
    numbers = numbers_at(model, p, data.frequency, times, data.attenuation)
    column, _ = _active(numbers)
    found = np.empty(data.vis.shape, np.complex128)
    kernels.model_visibilities(*_arguments(data, model, numbers, segments, column), found)
    if model.has_gains and with_gains:
        first, second, gain, _ = _gains(data, model, p, times)
        index = np.repeat(segments[:, 2], segments[:, 1])
        found *= gain[index, first] * gain[index, second].conj()
    return found


def _finite_rows(block: _Block, model: Model, p: np.ndarray) -> _Block:
    """The block without rows that count for nothing and have no finite model.

    Power-2 on baselines of length 0.
    """
    bad = ~np.isfinite(_model_of_block(block, model, p, True))
    counted = np.argwhere(bad & (block.data.weight > 0))
    if counted.size or not bad.any():
        row, chan = counted[0] if counted.size else (0, 0)
        u, v, w = block.data.uvw[row]
        raise FitError(f"the model is not finite at (u, v, w) = ({u:g}, {v:g}, {w:g}) m, "
                       f"{block.data.frequency[chan] / 1e9:.6g} GHz and "
                       f"p = {np.asarray(p)}; leave such baselines out (uvmin), or start elsewhere")
    return next(_blocks(block.data.rows(~bad.any(axis=1)), model))


def _gains(data: FitData, model: Model, p: np.ndarray,
           times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Antennas of each row, gains and their slopes."""
    if data.antenna1 is None or data.antenna2 is None:
        raise FitError("gains of antennas want antenna1 and antenna2 of every row")
    first, second = np.asarray(data.antenna1, np.int64), np.asarray(data.antenna2, np.int64)
    return first, second, *gains_at(model, p, data.frequency, times,
                                    int(max(first.max(initial=-1), second.max(initial=-1))) + 1)


def _blocks(data: FitData, model: Model) -> Iterator[_Block]:
    """The data in parts whose numbers fit memory.

    Rows of one time stand together where an expression holds t.
    """
    n_rows = data.uvw.shape[0]
    if not model.depends_on_time:
        yield _Block(data, slice(None), np.zeros(1), _segments(np.array([0, n_rows])))
        return
    if data.time is None:
        raise FitError("an expression holds t, and the data have no times")
    order = None if (np.diff(data.time) >= 0).all() else np.argsort(data.time, kind="stable")
    times, first = np.unique(data.time if order is None else data.time[order], return_index=True)
    bounds = np.append(first, n_rows)
    per_time = (len(model.shapes) * kernels.N_NUMBERS + 2 * len(model.amplitude_gains)
                + 2 * len(model.phase_gains)) * model.n_parameters
    most = max(1, _MOST_NUMBERS // (per_time * data.frequency.size))
    for start in range(0, times.size, most):
        inside = bounds[start : start + most + 1]
        rows = slice(int(inside[0]),
                     int(inside[-1])) if order is None else order[inside[0] : inside[-1]]
        yield _Block(data.rows(rows), rows, times[start : start + most],
                     _segments(inside - inside[0]))


def _segments(bounds: np.ndarray) -> np.ndarray:
    """First row, number of rows and time of each segment (segment, 3), for times that begin and end at bounds (time + 1,)."""
    found = [(start, min(kernels.SEGMENT, stop - start), i)
             for i, (begin, stop) in enumerate(itertools.pairwise(bounds.tolist()))
             for start in range(begin, stop, kernels.SEGMENT)]
    return np.array(found, np.int64).reshape(-1, 3)


def _active(numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Which numbers depend on a parameter: column (comp + 1, 7), −1 where not.

    Their slopes (time, chan, active, par).
    """
    _, n_comp, n_numbers, _, _ = numbers.slopes.shape
    depends = numbers.slopes.any(axis=(0, 3, 4))
    column = np.full((n_comp + 1, n_numbers), -1, np.int64)
    column[:-1][depends] = np.arange(depends.sum())
    parts = [np.moveaxis(numbers.slopes[:, depends], -1, 1)]
    if numbers.scale_slopes.any():
        column[-1, 0] = depends.sum()
        parts.append(np.moveaxis(numbers.scale_slopes, -1, 1)[:, :, None])
    return column, np.ascontiguousarray(np.concatenate(parts, axis=2))


def _arguments(data: FitData, model: Model, numbers: Numbers, segments: np.ndarray,
               column: np.ndarray) -> tuple:
    """What the kernels share, in their order."""
    told = np.empty((*numbers.values.shape[:2], kernels.N_TOLD, data.frequency.size))
    told[:, :, : kernels.N_NUMBERS] = numbers.values
    l, m = told[:, :, RA], told[:, :, DEC]
    told[:, :, kernels.SIN], told[:, :,
                                  kernels.COS] = np.sin(told[:, :, PA]), np.cos(told[:, :, PA])
    told[:, :, kernels.N_MINUS_1] = -(l**2 + m**2) / (1.0 + np.sqrt(1.0 - l**2 - m**2))
    moving = (l != 0).any(axis=(0, 2)) | (m != 0).any(axis=(0, 2)) | (column[:-1, [RA, DEC]]
                                                                      >= 0).any(axis=1)
    smeared = data.width is not None or data.uvw_change is not None
    width = np.zeros(data.frequency.size) if data.width is None else np.abs(data.width) / SPEED_OF_LIGHT
    change = data.uvw_change if data.uvw_change is not None else np.zeros(
        (data.uvw.shape[0] if smeared else 0, 3))
    fixed = np.zeros((0, 1), np.complex128) if data.fixed is None else np.ascontiguousarray(
        data.fixed, np.complex128)
    return (data.uvw, segments, data.frequency / SPEED_OF_LIGHT, width,
            np.ascontiguousarray(change, np.float64), fixed, numbers.scale, model.codes, told,
            moving)
