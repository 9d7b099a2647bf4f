"""Normal equations of a chunk of visibilities: χ², its gradient and the Gauss–Newton matrix in one pass.

With residuals r = V_obs − V_model and slopes D_i = dV_model/dp_i,

    χ² = Σ w |r|²,   g_i = Σ w Re(D_i* r),   H_ij = Σ w Re(D_i* D_j),

where w is the inverse variance of a real part, so that H⁻¹ is the covariance of p: real and imaginary part are two
measurements. The kernel sums over the numbers of the components, channel by channel; the expressions enter afterwards by
the chain rule. So a pass costs the same whatever is written in them. Sums of chunks add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import FitError
from uvstack.fit import kernels
from uvstack.fit.data import FitData
from uvstack.fit.model import DEC, PA, RA, Model, Numbers, gains_at, numbers_at


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """χ², g (par,) and H (par, par) of the module, and the number of visibilities."""

    chi_squared: float
    gradient: np.ndarray
    hessian: np.ndarray
    n: int

    def __add__(self, other: NormalEquations) -> NormalEquations:
        return NormalEquations(self.chi_squared + other.chi_squared, self.gradient + other.gradient, self.hessian + other.hessian,
                               self.n + other.n)


def normal_equations(data: FitData, model: Model, p: np.ndarray) -> NormalEquations:
    """Normal equations of a chunk at parameters p (par,).

    Raises
    ------
    FitError
        A variable is not finite there.
    """
    data, times, segments, _ = _segments(data, model)
    numbers = numbers_at(model, p, data.frequency, times, data.attenuation)
    column, jacobian = _active(numbers)
    shared, totals = (*_arguments(data, model, numbers, segments, column), data.vis, data.weight, column), np.zeros(2)
    if model.has_gains:
        first, second, gain, slope = _gains(data, model, p, times)
        hessian, gradient = np.zeros((model.n_parameters, model.n_parameters)), np.zeros(model.n_parameters)
        kernels.normal_sums_with_gains(*shared, jacobian, first, second, gain, slope, hessian, gradient, totals)
        return NormalEquations(float(totals[0]), gradient, hessian + np.triu(hessian, 1).T, int(totals[1]))
    hessian = np.zeros((times.size, data.frequency.size, jacobian.shape[2], jacobian.shape[2]))
    gradient = np.zeros(hessian.shape[:3])
    kernels.normal_sums(*shared, hessian, gradient, totals)
    hessian += np.triu(hessian, 1).swapaxes(2, 3)
    return NormalEquations(float(totals[0]), np.einsum("tca,tcap->p", gradient, jacobian),
                           np.einsum("tcap,tcab,tcbq->pq", jacobian, hessian, jacobian, optimize=True), int(totals[1]))


def model_visibilities(data: FitData, model: Model, p: np.ndarray, with_gains: bool = True) -> np.ndarray:
    """Model (row, chan) complex128 at parameters p, as it is compared with the data."""
    data, times, segments, order = _segments(data, model)
    numbers = numbers_at(model, p, data.frequency, times, data.attenuation)
    column, _ = _active(numbers)
    found = np.empty(data.vis.shape, np.complex128)
    kernels.model_visibilities(*_arguments(data, model, numbers, segments, column), found)
    if model.has_gains and with_gains:
        first, second, gain, _ = _gains(data, model, p, times)
        index = np.repeat(segments[:, 2], segments[:, 1])
        found *= gain[index, first] * gain[index, second].conj()
    out = np.empty_like(found)
    out[order] = found
    return out


def _gains(data: FitData, model: Model, p: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Antennas of each row, gains and their slopes."""
    if data.antenna1 is None or data.antenna2 is None:
        raise FitError("gains of antennas want antenna1 and antenna2 of every row")
    first, second = np.asarray(data.antenna1, np.int64), np.asarray(data.antenna2, np.int64)
    return first, second, *gains_at(model, p, data.frequency, times, int(max(first.max(initial=-1), second.max(initial=-1))) + 1)


def _segments(data: FitData, model: Model) -> tuple[FitData, np.ndarray, np.ndarray, np.ndarray | slice]:
    """Data with rows of one time together, the times (time,), segments of rows (segment, 3) for the kernels, the new order."""
    n_rows = data.uvw.shape[0]
    order: np.ndarray | slice = slice(None)
    if not model.depends_on_time:
        bounds, times = np.array([0, n_rows]), np.zeros(1)
    else:
        if data.time is None:
            raise FitError("an expression holds t, and the data have no times")
        order = np.argsort(data.time, kind="stable")
        times, first = np.unique(data.time[order], return_index=True)
        data = data.rows(order)
        bounds = np.append(first, n_rows)
    found = [(start, min(kernels.SEGMENT, stop - start), i)
             for i, (begin, stop) in enumerate(zip(bounds[:-1], bounds[1:], strict=True))
             for start in range(int(begin), int(stop), kernels.SEGMENT)]
    return data, times, np.array(found, np.int64).reshape(-1, 3), order


def _active(numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Which numbers depend on a parameter: column (comp + 1, 7), −1 where not; their slopes (time, chan, active, par)."""
    _, n_comp, n_numbers, _, _ = numbers.slopes.shape
    depends = numbers.slopes.any(axis=(0, 3, 4))
    column = np.full((n_comp + 1, n_numbers), -1, np.int64)
    column[:-1][depends] = np.arange(depends.sum())
    parts = [np.moveaxis(numbers.slopes[:, depends], -1, 1)]
    if numbers.scale_slopes.any():
        column[-1, 0] = depends.sum()
        parts.append(np.moveaxis(numbers.scale_slopes, -1, 1)[:, :, None])
    return column, np.ascontiguousarray(np.concatenate(parts, axis=2))


def _arguments(data: FitData, model: Model, numbers: Numbers, segments: np.ndarray, column: np.ndarray) -> tuple:
    """What the kernels share, in their order."""
    told = np.empty((*numbers.values.shape[:2], kernels.N_TOLD, data.frequency.size))
    told[:, :, : kernels.N_NUMBERS] = numbers.values
    l, m = told[:, :, RA], told[:, :, DEC]
    told[:, :, kernels.SIN], told[:, :, kernels.COS] = np.sin(told[:, :, PA]), np.cos(told[:, :, PA])
    told[:, :, kernels.N_MINUS_1] = -(l**2 + m**2) / (1.0 + np.sqrt(1.0 - l**2 - m**2))
    moving = (l != 0).any(axis=(0, 2)) | (m != 0).any(axis=(0, 2)) | (column[:-1, [RA, DEC]] >= 0).any(axis=1)
    smeared = data.width is not None or data.uvw_change is not None
    width = np.zeros(data.frequency.size) if data.width is None else np.abs(data.width) / SPEED_OF_LIGHT
    change = data.uvw_change if data.uvw_change is not None else np.zeros((data.uvw.shape[0] if smeared else 0, 3))
    fixed = np.zeros((0, 1), np.complex128) if data.fixed is None else np.ascontiguousarray(data.fixed, np.complex128)
    return (data.uvw, segments, data.frequency / SPEED_OF_LIGHT, width, np.ascontiguousarray(change, np.float64), fixed, numbers.scale,
            model.codes, told, moving)
