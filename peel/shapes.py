"""Shapes of bright sources, fitted while each antenna has a gain of its own.

Phases that scatter look like a Gaussian, and gains that were found with the wrong shape hide the
right one. So gains and shape are found in turn until χ² stays: gains of each scan and receptor by
the alternating least squares of Mitchell et al. (2008) and Salvini & Wijnholds (2014), then the
shape from what they leave. The simplest shape that the data do not contradict is taken: a point, a
Gaussian, two points in its place, what the image shows in the region; and then points where the
residual shows one. A flank of the beam weighs the components of a source differently in each field
and window, so their fluxes are found anew in each, by the same turns.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.errors import FitError
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import Model, make_model
from uvstack.fitting.model.normal import model_visibilities, normal_equations
from uvstack.fitting.solve.visibilities import fit_passes
from uvstack.pixels.noise import robust_noise
from uvstack.uv.dirty import dirty_image

#: χ² that another parameter must gain, over the reduced one, for a model with more of them.
_GAIN = 30.0
#: Turns of gains and shape at most, and steps of the gains in each.
_TURNS, _STEPS = 40, 60
#: Components at most, and the part of the flux and the signal to noise from which a point is added.
_MOST, _LEAST_PART, _LEAST_SNR = 8, 0.002, 8.0
#: Pixels to a beam of the residual's image, and on a side at most.
_PIXELS, _SIDE = 5, 512
#: Part of the largest component below which the first says nothing of the others.
_LEAST_FIRST = 0.1


@dataclass(frozen=True)
class Shape:
    """Components of a bright source: the first at its place with its flux, others relative to it.

    Attributes
    ----------
    models : tuple of str
        Shape of each.
    offsets : tuple of (float, float)
        To the east and north, arcsec.
    fluxes : tuple of float
        Over that of the first.
    sizes : tuple of (float, float, float)
        FWHM (arcsec), ratio, position angle (degrees); not of points.
    """

    models: tuple[str, ...] = ("delta",)
    offsets: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    fluxes: tuple[float, ...] = (1.0,)
    sizes: tuple[tuple[float, float, float], ...] = ((0.0, 1.0, 0.0),)

    def variables(self, has_index: bool) -> tuple[str, ...]:
        """Of `uvstack.fit`: p is the place of the first, its flux, and the index."""
        spectrum = "*(nu/nu0)**p[3]" * has_index
        return tuple(
            f"p[0]+({x!r}),p[1]+({y!r}),{flux!r}*p[2]{spectrum}"
            + "".join(f",{value!r}" for value in size if model != "delta")
            for model, (x, y), flux, size in zip(self.models, self.offsets, self.fluxes, self.sizes,
                                                 strict=True))


@dataclass(frozen=True, eq=False)
class Seen:
    """Visibilities of a source about its place, over what a point of 1 Jy there would give.

    Attributes
    ----------
    uvw : ndarray (vis, 3)
        Wavelengths.
    vis, weight : ndarray (vis, receptor)
    antenna1, antenna2 : ndarray (vis,)
    cell : ndarray (vis,)
        That have gains in common, from 0.
    n_ant : int
    """

    uvw: NDArray[np.float64]
    vis: NDArray[np.complex128]
    weight: NDArray[np.float64]
    antenna1: NDArray[np.int64]
    antenna2: NDArray[np.int64]
    cell: NDArray[np.int64]
    n_ant: int

    @staticmethod
    def together(several: Sequence[Seen]) -> Seen:
        """All of them, with cells of their own."""
        first = np.cumsum([0, *(int(one.cell.max(initial=-1)) + 1 for one in several)])
        columns = ("uvw", "vis", "weight", "antenna1", "antenna2")
        cell = np.concatenate([one.cell + n for one, n in zip(several, first, strict=False)])
        return Seen(**{name: np.concatenate([getattr(one, name) for one in several])
                       for name in columns}, cell=cell, n_ant=several[0].n_ant)

    @property
    def degrees(self) -> float:
        """Numbers that have a weight."""
        return 2.0 * np.count_nonzero(self.weight > 0)

    def baselines(self, values: NDArray) -> NDArray:
        """Sums of values (vis, receptor) by cell, receptor and antennas, (cell, receptor, ant, ant)."""
        n_cells = int(self.cell.max(initial=-1)) + 1
        index = (self.cell * self.n_ant + self.antenna1) * self.n_ant + self.antenna2
        length = n_cells * self.n_ant**2

        def summed(column: NDArray) -> NDArray:
            if np.iscomplexobj(column):
                return summed(column.real) + 1j * summed(column.imag)
            return np.bincount(index, column, length)

        return np.stack([summed(values[:, at]).reshape(n_cells, self.n_ant, self.n_ant)
                         for at in range(values.shape[1])], axis=1)

    def fit_data(self, vis: NDArray, weight: NDArray) -> FitData:
        """What a fit sees; a wavelength is 1 m."""
        return FitData(self.uvw, np.array([SPEED_OF_LIGHT]), vis[:, None],
                       weight[:, None].astype(np.float32))

    def model(self, model: Model, parameters: NDArray) -> NDArray[np.complex128]:
        """Visibilities (vis,) of a model."""
        none = self.fit_data(np.zeros(len(self.uvw), np.complex128), np.ones(len(self.uvw)))
        return model_visibilities(none, model, parameters)[:, 0]


@dataclass(frozen=True, eq=False)
class Found:
    """A shape with gains.

    Attributes
    ----------
    models : tuple of str
    parameters : ndarray (par,)
        East, north (arcsec) and flux of each, and its size.
    gains : ndarray (cell, receptor, ant)
    chi_squared : float
    """

    models: tuple[str, ...]
    parameters: NDArray[np.float64]
    gains: NDArray[np.complex128]
    chi_squared: float

    @property
    def rows(self) -> list[list[float]]:
        """Parameters of each component."""
        found, at = [], 0
        for model in self.models:
            n = _numbers(model)
            found.append(self.parameters[at : at + n].tolist())
            at += n
        return found

    def shape(self) -> Shape:
        """Relative to the brightest, so that no flux is divided by next to nothing."""
        rows = self.rows
        order = sorted(range(len(rows)), key=lambda i: -abs(rows[i][2]))
        x0, y0, flux0 = rows[order[0]][:3]
        return Shape(tuple(self.models[i] for i in order),
                     tuple((rows[i][0] - x0, rows[i][1] - y0) for i in order),
                     tuple(rows[i][2] / flux0 for i in order),
                     tuple((rows[i][3], rows[i][4], rows[i][5]) if len(rows[i]) > 3
                           else (0.0, 1.0, 0.0) for i in order))


def best_shape(seen: Seen, sources: Sequence[tuple[float, float, float]], reach: float,
               radius: float | None) -> Shape:
    """The simplest shape that the data do not contradict.

    Parameters
    ----------
    seen : Seen
    sources : sequence of (float, float, float)
        What the image shows in the region: east, north (arcsec) and part of the flux.
    reach : float
        By which a component may lie beside where it starts, arcsec.
    radius : float or None
        Within which points are added where the residual shows one, arcsec; None for no more than
        the image shows.
    """
    point = fit_shape(seen, ("delta",), [(0.0, 0.0, 1.0)], reach)
    assert point is not None
    chosen = point
    gaussian = fit_shape(seen, ("gaussian",), [(0.0, 0.0, 1.0)], reach)
    tried = [gaussian]
    if gaussian is not None:
        tried.append(fit_shape(seen, ("delta", "delta"), _halves(gaussian.parameters), reach))
    if len(sources) > 1:
        tried += [fit_shape(seen, (model,) * len(sources), sources, reach)
                  for model in ("delta", "gaussian")]
    for one in tried:
        if one is not None and _is_better(seen, one, chosen):
            chosen = one
    while radius is not None and len(chosen.models) < _MOST:
        more = _with_point(seen, chosen, reach, radius)
        if more is None or not _is_better(seen, more, chosen):
            break
        chosen = more
    return Shape() if chosen is point else chosen.shape()


def _is_better(seen: Seen, one: Found, than: Found) -> bool:
    """Whether χ² falls by what more parameters must gain."""
    wanted = _GAIN * (len(one.parameters) - len(than.parameters)) * max(
        one.chi_squared / max(seen.degrees, 1.0), 1e-30)
    return than.chi_squared - one.chi_squared > wanted


def _numbers(model: str) -> int:
    return 3 if model == "delta" else 6


def _halves(parameters: NDArray) -> list[tuple[float, float, float]]:
    """Two points in place of a Gaussian: a double that the image does not resolve."""
    x, y, flux, fwhm, _, angle = parameters
    # Two points of equal flux, d apart, scatter by d/2 along their line, a Gaussian by 0.42 FWHM.
    east, north = 0.42 * fwhm * np.sin(np.deg2rad(angle)), 0.42 * fwhm * np.cos(np.deg2rad(angle))
    return [(x + side * east, y + side * north, flux / 2) for side in (1, -1)]


def _with_point(seen: Seen, found: Found, reach: float, radius: float) -> Found | None:
    """The shape, and a point where its residual is brightest; None where that is next to nothing."""
    product = _product(seen, found.gains)
    vis, weight = _corrected(seen, product)
    if not weight.any():
        return None
    model = seen.model(_model(found.models), found.parameters)
    cell = 1 / (_PIXELS * np.hypot(*seen.uvw[:, :2].T).max())
    size = int(2 * np.clip(np.ceil(2 * radius * ARCSEC / cell), 16, _SIDE // 2))
    image = dirty_image(seen.uvw, np.array([SPEED_OF_LIGHT]), (vis - model)[:, None],
                        weight[:, None].astype(np.float32), size, cell) / weight.sum()
    north, east = (np.arange(size)[:, None] - size // 2) * cell, (size // 2 - np.arange(size)) * cell
    inside = np.where(np.hypot(north, east) < radius * ARCSEC, image, -np.inf)
    m, l = np.unravel_index(inside.argmax(), image.shape)
    flux, rows = float(image[m, l]), found.rows
    # What is not known of the field is all over the image.
    if flux < max(_LEAST_SNR * robust_noise(image), _LEAST_PART * sum(row[2] for row in rows)):
        return None
    place = float(east[l] / ARCSEC), float(north[m, 0] / ARCSEC)
    return fit_shape(seen, (*found.models, "delta"), [*rows, (*place, flux)], reach)


def _model(models: Sequence[str]) -> Model:
    """With all numbers free."""
    variables, n = [], 0
    for model in models:
        last = n + _numbers(model)
        variables.append(",".join(f"p[{i}]" for i in range(n, last)))
        n = last
    return make_model(list(models), variables, SPEED_OF_LIGHT)


def fit_shape(seen: Seen, models: tuple[str, ...], starts: Sequence[Sequence[float]],
              reach: float) -> Found | None:
    """Gains and a shape in turn, until χ² falls by less than its own scatter; None if that fails.

    Parameters
    ----------
    seen : Seen
    models : tuple of str
    starts : sequence of (east, north, flux[, FWHM, ratio, angle])
        Arcsec and degrees.
    reach : float
        arcsec.
    """
    made = _model(models)
    begin: list[float] = []
    bounds: list[list[float | None] | None] = []
    for model, start in zip(models, starts, strict=True):
        x, y, flux, *size = start
        begin += [x, y, flux, *(size if size or model == "delta" else [1.0, 0.7, 0.0])]
        bounds += [[x - 2 * reach, x + 2 * reach], [y - 2 * reach, y + 2 * reach], None]
        bounds += [] if model == "delta" else [[0.0, None], [0.0, 1.0], None]
    p = np.array(begin)
    best: Found | None = None
    gains: NDArray[np.complex128] | None = None
    for _ in range(_TURNS):
        vis = seen.model(made, p)
        gains = _gains(seen.baselines(seen.weight * seen.vis * vis.conj()[:, None]),
                       seen.baselines(seen.weight * np.abs(vis[:, None]) ** 2), gains)
        product = _product(seen, gains)
        left = float((seen.weight * np.abs(seen.vis - product * vis[:, None]) ** 2).sum())
        done = best is not None and best.chi_squared - left < left / max(seen.degrees, 1.0)
        if best is None or left < best.chi_squared:
            best = Found(models, p, gains, left)
        if done:
            break
        data = seen.fit_data(*_corrected(seen, product))
        try:
            p = fit_passes(functools.partial(normal_equations, data, made), made, p, bounds,
                           estimator="likelihood").parameters
        except FitError:
            break
        if not np.isfinite(p).all():
            break
    return best


def _product(seen: Seen, gains: NDArray) -> NDArray[np.complex128]:
    """g_p g_q*, (vis, receptor)."""
    first, second = (gains[seen.cell, :, antenna] for antenna in (seen.antenna1, seen.antenna2))
    return np.asarray(first * second.conj())


def _corrected(seen: Seen, product: NDArray) -> tuple[NDArray, NDArray]:
    """Mean over receptors of what gains leave, and its weight, (vis,)."""
    weight = (seen.weight * np.abs(product) ** 2).sum(axis=1)
    total = (seen.weight * product.conj() * seen.vis).sum(axis=1)
    return total / np.where(weight > 0, weight, 1.0), weight


def _gains(cross: NDArray, own: NDArray, start: NDArray | None = None) -> NDArray[np.complex128]:
    """Gains g that lower Σ w |V − g_p M g_q*|² most, (cell, receptor, ant).

    Parameters
    ----------
    cross, own : ndarray (cell, receptor, ant, ant)
        Σ w V M* and Σ w |M|² of each baseline, in either order of its antennas.
    start : ndarray, optional
    """
    cross = cross + np.conj(np.swapaxes(cross, -1, -2))
    own = own + np.swapaxes(own, -1, -2)
    gain = np.ones(cross.shape[:-1], np.complex128) if start is None else start
    for number in range(_STEPS):
        norm = (own @ (np.abs(gain) ** 2)[..., None])[..., 0]
        new = np.where(norm > 0, (cross @ gain[..., None])[..., 0] / np.where(norm > 0, norm, 1.0), 1.0)
        gain = new if number % 2 == 0 else (new + gain) / 2
    return gain


def with_fluxes(seen: Seen, shape: Shape, place: tuple[float, float]) -> Shape:
    """The shape with the fluxes that its components have in these visibilities.

    Parameters
    ----------
    seen : Seen
        Of one field and window.
    shape : Shape
        As it was found; it stays where the data do not ask for another.
    place : (float, float)
        Of the first component, arcsec.
    """
    n = len(shape.models)
    made = make_model(list(shape.models), [
        f"{place[0] + x!r},{place[1] + y!r},p[{at}]" + "".join(f",{value!r}" for value in size if model != "delta")
        for at, (model, (x, y), size) in enumerate(zip(shape.models, shape.offsets, shape.sizes,
                                                       strict=True))], SPEED_OF_LIGHT)
    vis = np.stack([seen.model(made, one) for one in np.eye(n)])
    first = np.stack([seen.baselines(seen.weight * seen.vis * one.conj()[:, None]) for one in vis])
    second = np.stack([[seen.baselines(seen.weight * (a * b.conj()).real[:, None]) for b in vis]
                       for a in vis])
    power = float((seen.weight * np.abs(seen.vis) ** 2).sum())
    gains: NDArray[np.complex128] | None = None
    flux, left = np.array(shape.fluxes), [np.inf]
    for turn in range(_TURNS):
        cross = np.tensordot(flux, first, 1)
        own = np.einsum("i,j,ij...->...", flux, flux, second)
        gains = _gains(cross, own, gains)
        product = gains[..., :, None] * gains[..., None, :].conj()
        vector = (first * product.conj()).real.sum(axis=(1, 2, 3, 4))
        matrix = (second * np.abs(product) ** 2).sum(axis=(2, 3, 4, 5))
        left.append(power - 2 * flux @ vector + flux @ matrix @ flux)
        if left[-2] - left[-1] < left[-1] / max(seen.degrees, 1.0) and turn > 0:
            break
        try:
            flux = np.linalg.solve(matrix, vector)
        except np.linalg.LinAlgError:
            return shape
    gained = left[1] - left[-1] > _GAIN * (n - 1) * left[-1] / max(seen.degrees, 1.0)
    if not gained or not flux[0] > _LEAST_FIRST * np.abs(flux).max():
        return shape
    return replace(shape, fluxes=tuple((flux / flux[0]).tolist()))
