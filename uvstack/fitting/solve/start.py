"""Starting values: the best of a search over sizes and positions (`uvstack.fitting.solve.search`) on binned, averaged or few visibilities.

Models whose components are all round and at the phase centre are searched in bins of uv distance,
others in cells of (u, v). If nothing stands out of the noise within some 60 resolution elements,
places up to 490 away are looked at.

The straight line ln V = ln S − (π θ q)²/(4 ln 2) of Lindroos et al. 2015, section 5.7, is here for
comparison alone. Taken of single visibilities or narrow bins the logarithm is no estimator: it has
a bias of −σ²/2V² and negative values have to be left out, which keeps the high ones. For 1″ on VLA
A and 128 bins it misses the flux by 1.6 and the size by 6 of their errors at a signal-to-noise
ratio of 18, and with 512 bins the size by 1.7 even at 1000 (`scripts/measure_fit.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import FitError
from uvstack.fitting.data.preparation import Piece
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import ARCSEC, DEC, RA, Model
from uvstack.fitting.model.normal import normal_equations
from uvstack.fitting.solve.binned import Bins, pseudo_data
from uvstack.fitting.solve.cells import Layout, as_one_channel, cell_sums, is_few, means_of
from uvstack.fitting.solve.search import Part, Search, Start, parts_of
from uvstack.sky.beam import FOUR_LN2

#: −ln V falls as (π θ q)² times this.
_SLOPE = 1.0 / FOUR_LN2
#: Pixels of a map on a side, of a far one, and of a quick look.
_PIXELS, _FAR_PIXELS, _QUICK_PIXELS = 256, 2048, 128
#: Fall of χ² in units of the scatter from which on a source is clear.
_CLEAR = 36.0
#: Visibilities of a quick look, and what it must find: a χ² lower by this many units of the
#: scatter, by this share of itself, and of what it is without sources.
_QUICK, _MUCH, _SHARE, _OF_ALL = 6_000, 50.0, 0.02, 1e-3
Gather = Callable[[Layout], FitData]


@dataclass(frozen=True, eq=False)
class Starts:
    """What a search found.

    Attributes
    ----------
    found : list of Start
        Distinct minima, best first.
    n : int
        How many were refined.
    unit : float
        Scatter: χ² per degree of freedom of the best.
    empty : float
        χ² without sources.
    chi_squared : callable
        χ² of what was searched at parameters p (par,).
    """

    found: list[Start]
    n: int
    unit: float
    empty: float
    chi_squared: Callable[[np.ndarray], float]

    @property
    def best(self) -> Start:
        """The first.

        Raises
        ------
        FitError
            There is none.
        """
        if not self.found:
            raise FitError("the model is not finite anywhere near the data; give starting values "
                           "(p_ini, --p-ini) or bounds")
        return self.found[0]


def polynomial_fit(q: np.ndarray, value: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Flux (Jy) and FWHM (rad) of a Gaussian by the linear fit of section 5.7, as it stands there.

    Parameters
    ----------
    q : ndarray (n,)
        Wavelengths.
    value : ndarray (n,)
        Real parts, Jy; those that are not positive have no logarithm and are left out.
    weight : ndarray (n,)
        1/Jy². A logarithm weighs weight · value².

    Returns
    -------
    tuple of float
        FWHM 0 where the values rise; NaN for both where fewer than two are positive.
    """
    use = (value > 0) & (weight > 0)
    if use.sum() < 2:
        return math.nan, math.nan
    w, x, y = weight[use] * value[use] ** 2, q[use] ** 2, np.log(value[use])
    x_mean, y_mean = np.average(x, weights=w), np.average(y, weights=w)
    variance = np.average((x - x_mean) ** 2, weights=w)
    slope = np.average((x - x_mean) * (y - y_mean), weights=w) / variance if variance > 0 else 0.0
    if slope >= 0:
        return float(np.exp(y_mean)), 0.0
    return float(np.exp(y_mean - slope * x_mean)), math.sqrt(-slope / _SLOPE) / math.pi


def starting_values(model: Model, bins: Bins) -> np.ndarray:
    """Starting values (par,) of a model of round components at the phase centre.

    Raises
    ------
    FitError
        The model has expressions or gains: p_ini is wanted.
    """
    return starts_in_bins(model, bins, None).best.p


def starts_in_bins(model: Model, bins: Bins, limits: np.ndarray | None, quick: bool = False,
                   p: np.ndarray | None = None) -> Starts:  # fmt: skip
    """Starts of a model of round components at the phase centre within limits (2, par).

    A quick look has none if trials show at once that parameters p are as good.

    Raises
    ------
    FitError
        As `starting_values`.
    """
    search = Search(pseudo_data(bins, model.nu0), model, searchable(model, limits),
                    **_options(quick))
    if quick and p is not None and not search.may_beat(normal_equations(search.data, model,
                                                                        p).chi_squared
                                                       - _OF_ALL * search.empty):
        return Starts([], 0, 0.0, search.empty, lambda p: math.inf)
    return _starts(search, model, (0.0, 0.0))


def starts_in_data(model: Model, gather: Gather, q_max: float, limits: np.ndarray | None,
                   quick: bool = False) -> Starts:
    """Starts of any other model.

    Parameters
    ----------
    model : Model
    gather : callable
        Visibilities of one channel for a layout of cells: all or their means in cells.
    q_max : float
        Longest baseline, wavelengths.
    limits : ndarray (2, par), optional
    quick : bool
        One start alone, of a coarse grid.

    Raises
    ------
    FitError
        As `starting_values`.
    """
    parts, options = searchable(model, limits), _options(quick)
    search = Search(gather(Layout(q_max, options["n_pixels"])), model, parts, **options)
    near = _starts(search, model, (0.0, 0.0))
    clear = bool(near.found) and search.empty - near.found[0].chi_squared > (
        _CLEAR + near.found[0].penalty) * near.unit
    if clear or quick or not all(part.moves for part in parts):
        return near
    layout = Layout(q_max, _FAR_PIXELS)
    score, place = Search(gather(layout), model, parts, n_pixels=_FAR_PIXELS).peak()
    if score < _CLEAR or np.hypot(*place) * ARCSEC * 2.0 < _PIXELS * layout.pixel:
        return near
    there = gather(Layout(q_max, _PIXELS, (place[0] * ARCSEC, place[1] * ARCSEC)))
    return _starts(Search(there, model, [_moved(part, place) for part in parts], origin=place,
                          **options), model, place)


def gathered(pieces: Sequence[Piece], frequency: float) -> Gather:
    """Visibilities in memory as `starts_in_data` wants them."""
    few = is_few(pieces)
    return lambda layout: as_one_channel(layout, pieces, frequency) if few else means_of(
        cell_sums(layout, pieces), frequency)


def longest(pieces: Sequence[Piece]) -> float:
    """Longest baseline, wavelengths."""
    return max(float(np.hypot(*piece.data.uvw[:, :2].T).max(initial=0.0)
                     * piece.data.frequency.max()) for piece in pieces) / SPEED_OF_LIGHT


def thinned(pieces: Sequence[Piece]) -> list[Piece]:
    """Some rows, drawn once and for all, where there are more than a quick look takes."""
    share = sum(piece.data.vis.size for piece in pieces) / _QUICK
    rng = np.random.default_rng(0)
    return list(pieces) if share <= 1.0 else [piece.rows(np.flatnonzero(
                                                             rng.random(len(piece.data.uvw)) < 1.0
                                                             / share)) for piece in pieces]


def is_much_better(starts: Starts, p: np.ndarray) -> bool:
    """Whether the best start has a much lower χ² than parameters p."""
    if not starts.found:
        return False
    best, here = starts.found[0].chi_squared, starts.chi_squared(p)
    return here - best > _MUCH * starts.unit + _SHARE * best + _OF_ALL * starts.empty


def searchable(model: Model, limits: np.ndarray | None) -> list[Part]:
    """Parts of a model that can be searched.

    Raises
    ------
    FitError
        There are none such.
    """
    parts = parts_of(model, limits)
    if parts is None:
        raise FitError(f"no starting values for {', '.join(model.names)}: they are found where "
                       "each is one number of one component, "
                       "written p[0], and nothing depends on nu, t or gains; give p_ini (--p-ini)")
    return parts


def _options(quick: bool) -> dict:
    return {"n_pixels": _QUICK_PIXELS, "kept": 1, "coarse": 2.0} if quick else {"n_pixels": _PIXELS}


def _moved(part: Part, place: tuple[float, float]) -> Part:
    low, high = part.low.copy(), part.high.copy()
    low[[RA, DEC]] -= place
    high[[RA, DEC]] -= place
    return replace(part, low=low, high=high)


def _starts(search: Search, model: Model, place: tuple[float, float]) -> Starts:
    """What a search finds, with positions from the phase centre."""
    shift = np.zeros(model.n_parameters)
    for part in search.parts:
        for k, value in zip((RA, DEC), place, strict=True):
            if part.index[k] >= 0:
                shift[part.index[k]] = value
    found = search.starts()
    return Starts([replace(one, p=one.p + shift) for one in found], search.n_refined,
                  search.unit(found), search.empty,
                  lambda p: normal_equations(search.data, model, p - shift).chi_squared)
