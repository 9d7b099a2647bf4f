"""Starting values of several sources with free positions: one after another at the highest peak of what the others leave.

A coarse dirty map of a sample of the residual visibilities (direct sums, w left out, 128 pixels of half a resolution element on
each side) tells where the next component begins; after each the components so far are fitted roughly. Components of different
shapes are tried in all their orders, up to three of them, and the lowest χ² wins. This finds sources of which the brighter ones
do not bury the fainter in their sidelobes, within 32 resolution elements of the phase centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.fit.limits import branch_of, solve_branch
from uvstack.fit.model import ARCSEC, Model, make_model
from uvstack.fit.normal import NormalEquations, model_visibilities, normal_equations
from uvstack.fit.preparation import Piece
from uvstack.fit.variables import default_variables

#: Visibilities of a map, pixels on a side, pixels in the reach of the sample, components whose orders are all tried.
_VISIBILITIES, _PIXELS, _OVERSAMPLED, _MOST_ORDERS = 20_000, 128, 2.0, 3
#: Height of a peak that is no noise, in standard deviations of the map, which follow from its median absolute deviation.
_CLEAR, _SIGMA_OF_MAD = 6.0, 1.4826
_ROUGHLY, _PASSES = 0.3, 20


def dirty_peak(pieces: Sequence[Piece], model: Model | None, p: np.ndarray) -> tuple[float, float, float]:
    """Direction cosines (rad) and height (Jy) of the highest peak of a coarse map of the data less the model.

    The phase centre and its height where no peak stands out of the noise.
    """
    u, v, vis, weight = _drawn(pieces, model, p)
    reach = float(np.sqrt(np.max(u**2 + v**2, initial=1.0)))
    cosines = (np.arange(_PIXELS) - _PIXELS // 2) / (_OVERSAMPLED * reach)
    along_u = np.exp(-2j * np.pi * np.outer(cosines, u)) * (weight * vis)
    image = (along_u @ np.exp(-2j * np.pi * np.outer(v, cosines))).real / weight.sum()
    i, j = np.unravel_index(np.argmax(image), image.shape)
    noise = _SIGMA_OF_MAD * float(np.median(np.abs(image - np.median(image))))
    if image[i, j] < _CLEAR * noise:
        i = j = np.intp(_PIXELS // 2)
    return float(cosines[i]), float(cosines[j]), float(image[i, j])


def _drawn(pieces: Sequence[Piece], model: Model | None, p: np.ndarray) -> tuple[np.ndarray, ...]:
    """u and v (wavelengths), residual and weight of a sample of visibilities."""
    parts = []
    share = max(sum(int((piece.data.weight > 0).sum()) for piece in pieces) / _VISIBILITIES, 1.0)
    rng = np.random.default_rng(0)
    for piece in pieces:
        data = piece.data
        rows = np.flatnonzero(rng.random(data.uvw.shape[0]) < 1.0 / share) if share > 1 else np.arange(data.uvw.shape[0])
        data = data.rows(rows)
        residual = data.vis - (model_visibilities(data, model, p) if model is not None else 0.0 if data.fixed is None else data.fixed)
        used = data.weight > 0
        u, v = (np.outer(data.uvw[:, k], data.frequency / SPEED_OF_LIGHT)[used] for k in range(2))
        parts.append((u, v, residual[used], data.weight[used].astype(np.float64)))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def starts_at_peaks(models: Sequence[str], circular: bool, nu0: float, pieces: Sequence[Piece], size: float) -> tuple[list[float], int]:
    """Starting values of the default variables of components with free positions, and how many passes over the sample they took.

    Parameters
    ----------
    models : sequence of str
    circular : bool
    nu0 : float
        Hz.
    pieces : sequence of Piece
        A sample of the data, or all.
    size : float
        What a size starts from, rad.
    """
    orders = sorted(set(permutations(models))) if len(models) <= _MOST_ORDERS else [tuple(models)]
    found = [_one_by_one(order, circular, nu0, pieces, size) for order in orders]
    best = min(range(len(orders)), key=lambda i: found[i][1])
    by_component, left = list(zip(orders[best], found[best][0], strict=True)), []
    for model in models:  # back in the order in which they were asked for
        k = next(k for k, (name, _) in enumerate(by_component) if name == model)
        left += by_component.pop(k)[1]
    return left, sum(one[2] for one in found)


def _one_by_one(models: Sequence[str], circular: bool, nu0: float, pieces: Sequence[Piece], size: float,
                ) -> tuple[list[list[float]], float, int]:
    """Parameters of each component, χ² and passes, of components set at the peaks in this order."""
    p, so_far, chi_squared, n_passes = np.zeros(0), None, np.inf, 0
    for k, one in enumerate(models):
        l, m, flux = dirty_peak(pieces, so_far, p)
        values = {"ra": l / ARCSEC, "dec": m / ARCSEC, "flux": flux, "ratio": 0.7, "position_angle": 30.0, "sigma": 0.1 * size / ARCSEC}
        kinds = default_variables([one], circular, True).kinds
        start = np.concatenate([p, [values.get(kind, size / ARCSEC) for kind in kinds]])
        variables = default_variables(models[: k + 1], circular, True)
        so_far = make_model(list(models[: k + 1]), variables.var, nu0, names=variables.names)

        def passes(p: np.ndarray, model: Model = so_far) -> NormalEquations:
            found = [normal_equations(piece.data, model, p) for piece in pieces]
            return sum(found[1:], found[0])

        solution = solve_branch(passes, start, None, branch_of(so_far), tolerance=_ROUGHLY, most_passes=_PASSES)
        p, chi_squared, n_passes = solution.p, solution.normal.chi_squared, n_passes + solution.n_passes
    ends = np.cumsum([len(default_variables([one], circular, True).kinds) for one in models])
    return [part.tolist() for part in np.split(p, ends[:-1])], chi_squared, n_passes
