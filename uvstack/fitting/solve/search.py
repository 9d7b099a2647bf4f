"""Where a fit may begin: the lowest minima of χ² over a grid of sizes, axes, angles and, where they are free, positions.

For a source of given size, ratio and angle the visibilities are linear in its flux S, so that the best S and what it takes off χ²,
b²/a with a = Σ w f² and b = Σ w f Re(V e^(−iφ)), need no fit; and b for all positions at once is one Fourier transform of w f V (the
matched filter). So χ² is known on a grid of some dozens to hundreds of sizes × axes and 256² positions of half a resolution element in
some 50 ms. Components of several positions are set one after another, each with the fluxes of those before it free (orthogonal matching
pursuit), in each order of different shapes; those at one place by all pairs or triples of sizes. The best several of each step are
refined by some steps of the fit itself. All that is done on few visibilities, or means in cells (`uvstack.fitting.solve.cells`).

The best peak of noise among n places takes about 2 ln n off χ², so that the best of places farther out is preferred to a nearer one
only if it is lower by so much more: 2.5 ln(1 + r²) with r in resolution elements, in units of the scatter.

Profiles of trials come from tables, w is left out in maps, and a Gaussian ring is taken for a ring seen through a Gaussian. The fit that
follows is exact.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from scipy.fft import irfft2
from scipy.ndimage import maximum_filter

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import FitError
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.kernels import N_NUMBERS
from uvstack.fitting.model.model import (
    ARCSEC,
    DEC,
    EXTRA,
    FLUX,
    MAJOR,
    PA,
    RA,
    RATIO,
    UNITS,
    Model,
    make_model,
)
from uvstack.fitting.model.normal import model_visibilities, normal_equations
from uvstack.fitting.model.shapes import Shape, profile_of
from uvstack.fitting.solve import search_kernels
from uvstack.fitting.solve.branch import branch_of, solve_branch
from uvstack.fitting.solve.cells import SAMPLING

#: Profiles that never swing: a coarse grid of sizes does.
_SMOOTH = ("gaussian", "expo", "power-2", "power-3")
#: Entries a unit of x in tables of profiles, and their end.
_PER_X, _LARGEST_X = 20.0, 640.0
#: Smallest and largest size over 1/q at the longest baseline, and at one longer than 2 % of all by weight.
_SMALLEST, _LARGEST = 0.1, 2.5
#: Ratio of elongated trials, their angles, and σ of Gaussian rings over the diameter; ratios and angles of a finer grid at one place, the
#: largest size over the resolution on it, places that have one, and visibilities that it is made on.
_ELONGATED, _ANGLES, _WIDTHS = 0.35, (0.0, 45.0, 90.0, 135.0), (0.08, 0.25, 0.7)
_RATIOS, _FINE_ANGLES, _LARGEST_FINE, _PLACES, _ON_FEW = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.12), np.arange(0.0, 180.0, 15.0), 15.0, 2, 2000
#: Penalty of places farther out.
_FAR = 2.5
#: Where an ellipse starts whose best trial is round: at 1 its angle has no effect.
_NOT_ROUND = 0.8
#: Starts that are kept of a step, shapes whose orders are all tried, components of one place whose sizes are all combined.
_KEPT, _MOST_ORDERS, _MOST_TOGETHER = 6, 3, 3
#: Passes of a first and a second refinement, how many have the second, and visibilities up to which all these are twice as many.
_ROUGH, _FINE, _FINEST, _QUICK_ONES = 6, 25, 5, 1500
#: Difference of χ², in units of the scatter, below which two starts came to the same minimum.
_ALIKE = 0.05
#: Share of a new component that must be its own, and visibilities on which sizes are combined.
_OWN, _FEW = 0.02, 4096


@dataclass(frozen=True, eq=False)
class Part:
    """A component whose numbers are each a parameter of their own or constant.

    Attributes
    ----------
    shape : Shape
    index : ndarray (7,) int
        Parameter, or −1.
    low, high : ndarray (7,)
        Limits in the user's units; both are the value where constant.
    """

    shape: Shape
    index: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def moves(self) -> bool:
        """Whether its position is fitted."""
        return bool((self.index[[RA, DEC]] >= 0).any())

    def within(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers (7,) within the limits."""
        return np.clip(numbers, self.low, self.high)


@dataclass(frozen=True, eq=False)
class Start:
    """Where a fit may begin.

    Attributes
    ----------
    p : ndarray (par,)
    chi_squared : float
        Of the visibilities that were searched.
    penalty : float
        Of places far out, in units of the scatter.
    """

    p: np.ndarray
    chi_squared: float
    penalty: float = 0.0


def parts_of(model: Model, limits: np.ndarray | None) -> list[Part] | None:
    """Parts of a model that can be searched: no parameter stands in two places, in an expression, in gains or in the scale; or None."""
    if model.has_gains or model.scale is not None:
        return None
    parts, seen = [], list[int]()
    for kind, variables in zip(model.shapes, model.variables, strict=True):
        if variables.depends_on_time or variables.depends_on_frequency:
            return None
        index = np.full(N_NUMBERS, -1)
        low, high = np.zeros(N_NUMBERS), np.zeros(N_NUMBERS)
        low[RATIO] = high[RATIO] = 1.0
        for k, text in enumerate(variables.parts):
            plain = re.fullmatch(r"p\s*\[\s*(\d+)\s*\]", text.strip())
            if plain is None and variables.used_by(k):
                return None
            if plain is not None:
                index[k] = i = int(plain[1])
                seen.append(i)
                low[k], high[k] = (-np.inf, np.inf) if limits is None else limits[:, i]
                if k in (MAJOR, RATIO, EXTRA):
                    low[k] = max(low[k], 0.0)
        known = variables.values(np.zeros(model.n_parameters), np.array([model.nu0]), model.nu0)[:, 0]
        constant = index[: len(known)] < 0
        low[: len(known)][constant] = high[: len(known)][constant] = known[constant]
        parts.append(Part(kind, index, low, high))
    return parts if len(seen) == len(set(seen)) == model.n_parameters else None


@functools.lru_cache(maxsize=16)
def _table(name: str) -> np.ndarray:
    """Profile of a shape at x = 0, 1/_PER_X …; that of power-2 at 0 is the next one."""
    x = np.arange(int(_LARGEST_X * _PER_X) + 1) / _PER_X
    table = profile_of("ring" if name == "gaussian-ring" else name, np.maximum(x, 0.2 / _PER_X))[0]
    table[0] = table[1] if name == "power-2" else 1.0
    return table


class Search:
    """A search on one-channel visibilities of u ≥ 0.

    Parameters
    ----------
    data : FitData
        (row, 1).
    model : Model
    parts : list of Part
        As `parts_of` makes them.
    n_pixels : int
        Of maps on a side.
    kept : int
        Starts that are refined in each step.
    coarse : float
        Steps of sizes are wider by this.
    origin : (float, float)
        Direction from the phase centre to which the data are turned, arcsec; the parts count from there too.
    """

    def __init__(self, data: FitData, model: Model, parts: list[Part], *, n_pixels: int = 256, kept: int = _KEPT, coarse: float = 1.0,
                 origin: tuple[float, float] = (0.0, 0.0)):
        self.data, self.model, self.parts, self.n, self.coarse = data, model, parts, n_pixels, coarse
        self.origin = np.array(origin) * ARCSEC
        self.u, self.v, self.w = np.ascontiguousarray((data.uvw * (data.frequency[0] / SPEED_OF_LIGHT)).T)
        self.vis, self.weight = data.vis[:, 0], data.weight[:, 0].astype(np.float64)
        q = np.hypot(self.u, self.v)
        order = np.argsort(q)
        share = np.cumsum(self.weight[order]) / self.weight.sum()
        self.q_max = float(q[self.weight > 0].max(initial=0.0)) or 1.0
        self.q_low = max(float(q[order][np.searchsorted(share, 0.02)]), 1e-3 * self.q_max)
        self.beam = 1.0 / self.q_max
        self.pixel = 1.0 / (SAMPLING * self.q_max)
        cells = self.n * self.pixel
        self.place = (np.rint(self.v * cells).astype(np.int64) % self.n) * (self.n // 2 + 1) + np.rint(self.u * cells).astype(np.int64)
        # The transform counts columns of u > 0 twice.
        self.twice = np.where(np.rint(self.u * cells) == 0, 2.0, 1.0) * (0.5 * self.n**2)
        self.cosines = np.fft.fftfreq(self.n, 1.0 / self.n) * self.pixel
        self.distance = np.hypot(self.cosines[:, None] + self.origin[1], self.cosines[None, :] + self.origin[0]) / self.beam
        more = 2 if kept > 1 and self.u.size <= _QUICK_ONES else 1
        self.kept, self.finest, self.rough = kept * more, (_FINEST if kept > 1 else 1) * more, _ROUGH * more
        self.n_places = _PLACES * (more**3)
        self.n_refined = 0
        self.n_numbers = self.vis.size * (2 if self.vis.imag.any() else 1)
        self.empty = float(self.weight @ np.abs(self.vis) ** 2)
        self.scatter = self.empty / max(self.n_numbers, 1)

    def starts(self) -> list[Start]:
        """The best starts, best first; none where the model exists nowhere."""
        orders = [tuple(range(len(self.parts)))]
        if len(self.parts) <= _MOST_ORDERS:
            first = {tuple(self._alike(k) for k in order): order for order in reversed(list(permutations(orders[0])))}
            orders = list(first.values())
        found: list[Start] = []
        moves = any(part.moves for part in self.parts)
        if len(self.parts) > 1 and not moves:
            found += self._together([(0.0, 0.0)])
        places: list[tuple[float, float]] = []
        for order in orders if moves or len(self.parts) == 1 or len(self.parts) > _MOST_TOGETHER else ():
            found += self._one_by_one(order, places)
        if len(self.parts) > 1 and moves:
            found += self._together(places[: self.kept])
        return self._best_of(found)

    def _alike(self, k: int) -> tuple:
        """What makes a part differ from others in its place of an order."""
        part = self.parts[k]
        return part.shape.name, tuple(part.index >= 0), tuple(part.low), tuple(part.high)

    def _best_of(self, found: list[Start]) -> list[Start]:
        """The best of rough starts, refined, without those that came to the same."""
        found = self._sorted(found)
        refined = [fine for fine in (self._refined(self.parts, one.p, _FINE) for one in found[: self.finest]) if fine]
        out: list[Start] = []
        for one in self._sorted(refined or found):
            near = _ALIKE * self.unit(found) + 1e-9 * one.chi_squared
            if not any(abs(one.chi_squared - other.chi_squared) < near for other in out):
                out.append(one)
        return out

    def _sorted(self, found: list[Start]) -> list[Start]:
        unit = self.unit(found)
        return sorted(found, key=lambda one: one.chi_squared + unit * one.penalty)

    def unit(self, found: list[Start]) -> float:
        """Scatter of the visibilities about the best of these."""
        lowest = min((one.chi_squared for one in found), default=self.empty)
        return lowest / max(self.n_numbers - self.model.n_parameters, 1)

    def may_beat(self, chi_squared: float) -> bool:
        """Whether a trial of a single centred part, or something made of several, could have a lower χ²."""
        found = self._at_place(self.parts[0], self._shapes_of(self.parts[0]), self.vis, [])
        return len(self.parts) > 1 or self.empty - max(score for score, _ in found) < chi_squared

    def peak(self) -> tuple[float, tuple[float, float]]:
        """Score of the best place of the first part, in units of the scatter, and the place (arcsec); of three sizes alone."""
        part = self.parts[0]
        shapes = self._shapes_of(part, round_only=True)
        shapes = shapes[np.searchsorted(shapes[:, 0], np.clip(np.array([0.0, 1.0, 4.0]) * self.beam / ARCSEC, 0.0, shapes[-1, 0]))]
        score, numbers = max(self._in_map(part, shapes, self.vis, []), key=lambda one: one[0])
        return score / self.scatter, (float(numbers[RA]), float(numbers[DEC]))

    # ---------------------------------------------------------------------------------------------------------- one after another

    def _one_by_one(self, order: Sequence[int], places: list[tuple[float, float]]) -> list[Start]:
        """Rough starts of all parts, set in this order; places of the first are added to `places`."""
        states: list[tuple[np.ndarray, Start]] = [(np.zeros((0, N_NUMBERS)), Start(np.zeros(0), self.empty))]
        for k in range(len(order)):
            parts = [self.parts[i] for i in order[: k + 1]]
            nexts: list[tuple[np.ndarray, Start]] = []
            for numbers, _ in states:
                for trial in self._trials_for(parts, numbers):
                    refined = self._refined(parts, self._parameters(parts, np.vstack([numbers, trial])), self.rough, partial=True)
                    if refined is not None:
                        nexts.append((self._numbers(parts, refined.p), refined))
            unit = self.unit([one for _, one in nexts])
            nexts.sort(key=lambda one: one[1].chi_squared + unit * one[1].penalty)
            states = nexts[: self.kept if k + 1 == len(order) else max(self.kept // 2, 1)]
            if k == 0:
                places += [(float(numbers[0, RA]), float(numbers[0, DEC])) for numbers, _ in nexts]
        return [Start(self._in_order(order, numbers), one.chi_squared, one.penalty) for numbers, one in states]

    def _in_order(self, order: Sequence[int], numbers: np.ndarray) -> np.ndarray:
        """Parameters of the model of numbers (part, 7) in this order of parts."""
        p = np.zeros(self.model.n_parameters)
        for i, values in zip(order, numbers, strict=True):
            index = self.parts[i].index
            p[index[index >= 0]] = values[index >= 0]
        return p

    def _trials_for(self, parts: list[Part], numbers: np.ndarray) -> list[np.ndarray]:
        """Numbers (7,) of the best several trials of the last part beside the others, of numbers (part, 7)."""
        part, rest, beside = parts[-1], self.vis, []
        if len(numbers):
            model, p = self._submodel(parts[:-1]), self._parameters(parts[:-1], numbers)
            rest = self.vis - model_visibilities(self.data, model, p)[:, 0]
            beside = [self._unit_visibilities(one, values) for one, values in zip(parts, numbers, strict=False)]
        shapes = self._shapes_of(part)
        found = self._in_map(part, shapes, rest, beside) if part.moves else self._at_place(part, shapes, rest, beside)
        everywhere, found = sorted(found, key=lambda one: -one[0]), self._distinct(found)
        if part.index[RATIO] >= 0 and part.index[PA] >= 0 and self.kept > 1:
            places: list[np.ndarray] = []
            for _, trial in everywhere:
                if len(places) < self.n_places and all(self._apart(trial, other) for other in places):
                    places.append(trial)
            finer = [one for place in places for one in self._finer(part, place, rest)]
            # Half of the starts from each: scores of the finer grid are of some visibilities, and know nothing of the other parts.
            found = found[: -(-self.kept // 2)] + self._distinct(finer)[: -(-self.kept // 2)]
        return [trial for _, trial in found]

    def _distinct(self, found: list[tuple[float, np.ndarray]]) -> list[tuple[float, np.ndarray]]:
        """The best of scores and numbers, as many as are kept, that differ from each other."""
        out: list[tuple[float, np.ndarray]] = []
        for score, trial in sorted(found, key=lambda one: -one[0]):
            if len(out) < self.kept and all(self._differ(trial, other) for _, other in out):
                out.append((score, trial))
        return out

    def _apart(self, one: np.ndarray, other: np.ndarray) -> bool:
        return bool(np.hypot(one[RA] - other[RA], one[DEC] - other[DEC]) > self.beam / ARCSEC)

    def _differ(self, one: np.ndarray, other: np.ndarray) -> bool:
        size = abs(one[MAJOR] - other[MAJOR]) > 0.3 * self.beam / ARCSEC + 0.15 * other[MAJOR]
        turn = abs((one[PA] - other[PA] + 90.0) % 180.0 - 90.0) > 20.0 and min(one[RATIO], other[RATIO]) < 0.9
        return bool(self._apart(one, other) or size or turn or abs(one[RATIO] - other[RATIO]) > 0.2)

    def _finer(self, part: Part, place: np.ndarray, rest: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Scores and numbers of the best ellipses at a place (numbers of a trial there), of a fine grid of sizes, ratios and angles."""
        some = np.arange(self.u.size)
        if some.size > _ON_FEW:
            some = np.sort(np.random.default_rng(0).choice(some, _ON_FEW, replace=False))
        sizes = self._sizes(part, circular=True)
        sizes = sizes[sizes * ARCSEC < _LARGEST_FINE * self.beam]
        width = float(place[EXTRA] / place[MAJOR]) if place[MAJOR] > 0 else 0.0
        shapes = np.array([(size, ratio, angle, size * width) for size, ratio in product(sizes, _RATIOS)
                           for angle in (_FINE_ANGLES if ratio < 1.0 else (0.0,))]).reshape(-1, 4)
        shapes = np.clip(shapes, part.low[MAJOR:], part.high[MAJOR:])
        major, ratio, angle, sigma = (shapes * UNITS[MAJOR:]).T
        trials = np.stack([major, ratio, np.sin(angle), np.cos(angle), sigma], axis=1)
        weighted = self.weight[some] * (rest[some] * self._phasor(place[RA], place[DEC])[some].conj()).real
        b, a = np.empty(len(trials)), np.empty(len(trials))
        table = _table(part.shape.name)
        search_kernels.sums_of_trials(self.u[some], self.v[some], weighted, self.weight[some], table, _PER_X, trials, b, a)
        score = _fall(b, a, part) * (self.weight.sum() / self.weight[some].sum())
        best = np.argsort(-score)[:200]
        return [(float(score[t]), part.within(np.array([place[RA], place[DEC], self._flux(part), *shapes[t]]))) for t in best]

    def _in_map(self, part: Part, shapes: np.ndarray, rest: np.ndarray, beside: list[np.ndarray]) -> list[tuple[float, np.ndarray]]:
        """Score and numbers of peaks of χ²'s fall over positions, and over sizes."""
        allowed = self._allowed(part)
        penalty = (_FAR * self.scatter * np.log1p(self.distance**2)).astype(np.float32)
        penalty[~allowed] = np.inf
        best, which = np.full((self.n, self.n), -np.inf, np.float32), np.zeros((self.n, self.n), np.int32)
        highest, there = np.zeros(len(shapes)), np.zeros(len(shapes), np.int64)
        gram = np.linalg.pinv(np.array([[np.sum(self.weight * (a.conj() * b).real) for b in beside] for a in beside])) if beside else None
        weighted = [(self.weight * self.twice * one.conj()) for one in (rest, *beside)]
        for t, f in enumerate(self._profiles(part, shapes)):
            b, *shared = (self._map_of(f, one) for one in weighted)
            own = total = np.float32(self.weight @ f**2)
            if gram is not None:
                own = np.maximum(total - sum(gram[i, j] * shared[i] * shared[j] for i in range(len(beside)) for j in range(len(beside))),
                                 _OWN * total)
            score = _fall(b, own, part) - penalty
            there[t] = score.argmax()
            highest[t] = score.ravel()[there[t]]
            better = score > best
            best[better], which[better] = score[better], t
        peaks = np.argpartition(best.ravel(), -200)[-200:]
        peaks = peaks[np.argsort(-best.ravel()[peaks])]
        found = [(float(best.ravel()[i]), self._at_pixel(part, shapes[which.ravel()[i]], int(i))) for i in peaks]
        return found + [(float(highest[t]), self._at_pixel(part, shapes[t], int(there[t]))) for t in _peaks_in_size(shapes, highest)]

    def _at_place(self, part: Part, shapes: np.ndarray, rest: np.ndarray, beside: list[np.ndarray]) -> list[tuple[float, np.ndarray]]:
        """Score and numbers of peaks of χ²'s fall over sizes."""
        turn = self._phasor(part.low[RA], part.low[DEC])
        weighted = self.weight * (rest * turn.conj()).real
        others = [self.weight * (one * turn.conj()).real for one in beside]
        gram = np.linalg.pinv(np.array([[np.sum(self.weight * (a.conj() * b).real) for b in beside] for a in beside])) if beside else None
        scores = np.zeros(len(shapes))
        for t, f in enumerate(self._profiles(part, shapes)):
            total = own = float(self.weight @ f**2)
            if gram is not None:
                shared = np.array([one @ f for one in others])
                own = max(total - shared @ gram @ shared, _OWN * total)
            scores[t] = _fall(np.float64(weighted @ f), own, part)
        return [(float(scores[t]), part.within(np.array([part.low[RA], part.low[DEC], self._flux(part), *shapes[t]])))
                for t in _peaks_in_size(shapes, scores)]

    def _at_pixel(self, part: Part, shape: np.ndarray, pixel: int) -> np.ndarray:
        """Numbers (7,) of a trial at a pixel of the map."""
        m, l = divmod(pixel, self.n)
        return part.within(np.array([self.cosines[l] / ARCSEC, self.cosines[m] / ARCSEC, self._flux(part), *shape]))

    def _flux(self, part: Part) -> float:
        """A flux to begin with; the first step of a refinement finds it, as it is linear."""
        return 1.0 if part.low[FLUX] < 1.0 < part.high[FLUX] else float(np.clip(1.0, part.low[FLUX], part.high[FLUX]))

    def _map_of(self, f: np.ndarray, weighted: np.ndarray) -> np.ndarray:
        plane = np.empty(self.n * (self.n // 2 + 1), np.complex64)
        search_kernels.put_in_plane(f, weighted, self.place, plane)
        return irfft2(plane.reshape(self.n, -1), (self.n, self.n), overwrite_x=True)

    def _allowed(self, part: Part) -> np.ndarray:
        """Pixels (m, l) within the limits of the position; the nearest where there are none."""
        along = []
        for k in (RA, DEC):
            low, high = part.low[k] * ARCSEC, part.high[k] * ARCSEC
            inside = (self.cosines >= low) & (self.cosines <= high)
            if not inside.any():
                inside[np.argmin(np.abs(self.cosines - np.clip(0.0, low, high)))] = True
            along.append(inside)
        return along[1][:, None] & along[0][None, :]

    # ---------------------------------------------------------------------------------------------------------- at one place

    def _together(self, places: list[tuple[float, float]]) -> list[Start]:
        """Rough starts of all parts at one of these places (arcsec), or where they are held, by all combinations of sizes."""
        if len(self.parts) > _MOST_TOGETHER:
            return []
        out: list[Start] = []
        done: list[tuple[float, float]] = []
        for place in places:
            if any(np.hypot(place[0] - x, place[1] - y) < self.beam / ARCSEC for x, y in done):
                continue
            done.append(place)
            for numbers in self._combined(place):
                refined = self._refined(self.parts, self._in_order(range(len(self.parts)), numbers), self.rough)
                out += [refined] if refined is not None else []
        return out

    def _combined(self, place: tuple[float, float]) -> list[np.ndarray]:
        """Numbers (part, 7) of the best combinations of sizes."""
        some = np.arange(self.vis.size)
        if some.size > _FEW:
            some = np.sort(np.random.default_rng(0).choice(some, _FEW, replace=False))
        root = np.sqrt(self.weight[some])
        most = 64 if len(self.parts) == 2 else 20
        rows, trials = [], []
        for part in self.parts:
            shapes = self._shapes_of(part, round_only=True)
            shapes = shapes[:: -(-len(shapes) // most)]
            at = (place if part.moves else (part.low[RA], part.low[DEC]))
            turn = root * self._phasor(*at)[some]
            seen = np.stack([turn * f[some] for f in self._profiles(part, shapes)])
            rows.append(np.concatenate([seen.real, seen.imag], axis=1))
            trials.append(np.column_stack([np.full(len(shapes), at[0]), np.full(len(shapes), at[1]),
                                           np.full(len(shapes), self._flux(part)), shapes]))
        vis = root * self.vis[some]
        falls = _falls_together(rows, np.concatenate([vis.real, vis.imag]), self.parts)
        peaks = np.argwhere((falls == maximum_filter(falls, 3)) & (falls > 0))
        peaks = peaks[np.argsort(-falls[tuple(peaks.T)])][: self.kept]
        return [np.array([part.within(trials[k][i]) for k, (i, part) in enumerate(zip(peak, self.parts, strict=True))]) for peak in peaks]

    # ---------------------------------------------------------------------------------------------------------- trials

    def _shapes_of(self, part: Part, round_only: bool = False) -> np.ndarray:
        """Major (arcsec), ratio, angle (deg) and σ (arcsec) of trials, (trial, 4), sizes rising in equal groups."""
        sizes = self._sizes(part)
        axes = [(1.0, 0.0)]
        if part.index[RATIO] >= 0 and not round_only:
            axes += [(_ELONGATED, angle) for angle in _ANGLES] if part.index[PA] >= 0 else [(_ELONGATED, part.low[PA])]
        elif part.index[RATIO] < 0:
            turns = _ANGLES if part.index[PA] >= 0 and not round_only else (part.low[PA],)
            axes = [(float(part.low[RATIO]), float(angle)) for angle in turns]
        widths = _WIDTHS if part.index[EXTRA] >= 0 else (0.0,)
        widths = widths[1:2] if round_only and len(widths) > 1 else widths
        found = [(size, ratio, angle, size * width) for size in sizes for (ratio, angle), width in product(axes, widths)]
        return np.clip(np.array(found), part.low[MAJOR:], part.high[MAJOR:])

    def _sizes(self, part: Part, circular: bool = False) -> np.ndarray:
        """Sizes (arcsec) of trials: by a factor where the profile falls once, and in steps where it swings."""
        if not part.shape.extended or part.index[MAJOR] < 0:
            return np.array([part.low[MAJOR]])
        beam, largest = self.beam, min(_LARGEST / self.q_low, _LARGEST_X / np.pi * self.beam)
        swings = part.shape.name not in _SMOOTH
        sizes = [_SMALLEST * beam]
        while sizes[-1] < largest:
            size = sizes[-1]
            step = (0.35 * self.coarse) * size
            if swings and size > 0.5 * beam:
                shortest = (0.25 if part.index[RATIO] < 0 or circular else 0.4) * self.coarse * beam
                step = min(step, max(shortest, (size - 12.0 * beam) * 0.08))
            sizes.append(size + step)
        found = np.array(sizes) / ARCSEC
        inside = found[(found >= part.low[MAJOR]) & (found <= part.high[MAJOR])]
        return inside if inside.size else np.array([np.clip(found[len(found) // 3], part.low[MAJOR], part.high[MAJOR])])

    def _profiles(self, part: Part, shapes: np.ndarray) -> Iterator[np.ndarray]:
        """Profile (cell,) of each trial, (trial, 4); each in the place of the one before unless it is copied."""
        if not part.shape.extended:
            for _ in shapes:
                yield np.ones(self.u.size)
            return
        table = _table(part.shape.name)
        for major, ratio, angle, sigma in shapes * UNITS[MAJOR:]:
            f = np.empty(self.u.size)
            search_kernels.trial_profile(self.u, self.v, table, _PER_X, major, ratio, np.sin(angle), np.cos(angle), sigma, f)
            yield f

    def _phasor(self, ra: float, dec: float) -> np.ndarray:
        """exp(2πi (u l + v m + w (n − 1))) of a place (arcsec)."""
        l, m = ra * ARCSEC, dec * ARCSEC
        return np.exp(2j * np.pi * (self.u * l + self.v * m + self.w * (np.sqrt(max(1.0 - l**2 - m**2, 0.0)) - 1.0)))

    def _unit_visibilities(self, part: Part, numbers: np.ndarray) -> np.ndarray:
        """A part of flux 1."""
        return next(self._profiles(part, numbers[None, MAJOR:])) * self._phasor(numbers[RA], numbers[DEC])

    # ---------------------------------------------------------------------------------------------------------- refinement

    def _submodel(self, parts: list[Part]) -> Model:
        """Model of some parts, their parameters numbered in this order."""
        texts, n = [], 0
        for part in parts:
            words = []
            for k in range(part.shape.n_parameters):
                words.append(f"p[{n}]" if part.index[k] >= 0 else repr(float(part.low[k])))
                n += part.index[k] >= 0
            texts.append(",".join(words))
        return make_model([part.shape.name for part in parts], texts, self.model.nu0)

    @staticmethod
    def _parameters(parts: list[Part], numbers: np.ndarray) -> np.ndarray:
        """Parameters of `_submodel` of numbers (part, 7)."""
        return np.concatenate([values[part.index >= 0] for part, values in zip(parts, numbers, strict=True)])

    @staticmethod
    def _numbers(parts: list[Part], p: np.ndarray) -> np.ndarray:
        """Numbers (part, 7) of parameters of `_submodel`."""
        out, n = [], 0
        for part in parts:
            values, free = part.low.copy(), part.index >= 0
            values[free] = p[n : n + free.sum()]
            n += int(free.sum())
            out.append(values)
        return np.array(out)

    def _refined(self, parts: list[Part], p: np.ndarray, most_passes: int, partial: bool = False) -> Start | None:
        """A start after some steps of the fit; None where the model does not exist. `partial`: p is that of `_submodel`."""
        if partial:
            if not any((part.index >= 0).any() for part in parts):
                return Start(p, self.empty)
            model, index = self._submodel(parts), np.concatenate([part.index >= 0 for part in parts])
            limits = np.stack([np.concatenate([getattr(part, side) for part in parts])[index] for side in ("low", "high")])
        else:
            model, limits = self.model, np.full((2, self.model.n_parameters), np.nan)
            for part in parts:
                free = part.index >= 0
                limits[:, part.index[free]] = part.low[free], part.high[free]
        p = np.clip(self._not_round(parts, p, partial), *limits)
        try:
            found = solve_branch(lambda p: normal_equations(self.data, model, p), p, limits, branch_of(model, limits), tolerance=0.1,
                                 most_passes=most_passes, linear=model.fluxes)
        except FitError:
            return None
        self.n_refined += not partial
        numbers = self._numbers(parts, found.p) if partial else self._numbers_in_model(found.p)
        return Start(found.p, found.normal.chi_squared, self._penalty(numbers, parts))

    def _numbers_in_model(self, p: np.ndarray) -> np.ndarray:
        return np.array([np.where(part.index >= 0, p[np.maximum(part.index, 0)], part.low) for part in self.parts])

    def _not_round(self, parts: list[Part], p: np.ndarray, partial: bool) -> np.ndarray:
        """p with free ratios of 1 made a little less."""
        p, n = p.copy(), 0
        for part in parts:
            i = n + int((part.index[:RATIO] >= 0).sum()) if partial else int(part.index[RATIO])
            if part.index[RATIO] >= 0 and p[i] > _NOT_ROUND:
                p[i] = np.clip(_NOT_ROUND, part.low[RATIO], part.high[RATIO])
            n += int((part.index >= 0).sum())
        return p

    def _penalty(self, numbers: np.ndarray, parts: list[Part]) -> float:
        """Of free positions, in units of the scatter."""
        moved = [values[[RA, DEC]] * ARCSEC + self.origin for values, part in zip(numbers, parts, strict=True) if part.moves]
        away = [np.hypot(*place) / self.beam for place in moved]
        return float(sum(_FAR * np.log1p(r**2) for r in away))


def _fall(b: np.ndarray | np.float64, own: np.ndarray | np.floating | float, part: Part) -> np.ndarray:
    """What the best flux within the limits takes off χ²."""
    if part.low[FLUX] == -np.inf and part.high[FLUX] == np.inf:
        return np.asarray(b * b / np.maximum(own, 1e-30))
    flux = np.clip(b / np.maximum(own, 1e-30), part.low[FLUX], part.high[FLUX])
    return np.asarray(flux * (2.0 * b - flux * own))


def _falls_together(rows: list[np.ndarray], vis: np.ndarray, parts: list[Part]) -> np.ndarray:
    """What the best fluxes of each combination of rows (trial, number) take off χ², (trial, …)."""
    n, shape = len(rows), tuple(len(one) for one in rows)
    matrix, slope = np.zeros((*shape, n, n)), np.zeros((*shape, n))
    for i in range(n):
        along = tuple(slice(None) if k == i else None for k in range(n))
        slope[..., i] = (rows[i] @ vis)[along]
        for j in range(i, n):
            both = (rows[i] @ rows[j].T) if i != j else np.sum(rows[i] ** 2, axis=1)
            along = tuple(slice(None) if k in (i, j) else None for k in range(n))
            matrix[..., i, j] = matrix[..., j, i] = both[along]
    diagonal = np.einsum("...ii->...i", matrix)
    steady = matrix + np.eye(n) * (1e-4 * diagonal + 1e-300)[..., None, :]
    flux = np.linalg.solve(steady, slope[..., None])[..., 0]
    flux = np.clip(flux, [part.low[FLUX] for part in parts], [part.high[FLUX] for part in parts])
    return 2.0 * np.sum(flux * slope, axis=-1) - np.einsum("...i,...ij,...j->...", flux, matrix, flux)


def _peaks_in_size(shapes: np.ndarray, score: np.ndarray) -> list[int]:
    """Trials that are the best of their size, at sizes that are better than their neighbours, best first."""
    starts = np.flatnonzero(np.diff(shapes[:, 0], prepend=-1.0) != 0)
    ends = np.append(starts[1:], len(shapes))
    best = [int(a + np.argmax(score[a:b])) for a, b in zip(starts, ends, strict=True)]
    values = np.concatenate([[-np.inf], score[best], [-np.inf]])
    peaks = [t for k, t in enumerate(best) if values[k + 1] >= values[k] and values[k + 1] >= values[k + 2]]
    return sorted(peaks, key=lambda t: -score[t])
