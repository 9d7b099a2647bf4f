"""Joint images of many pointings.

Primary-beam weighted sums, as a linear mosaic before deconvolution.

Pointing p gives the dirty image D_p = Σ w Re(V exp(…)), which holds W_p A_p I convolved with its
PSF (A_p its primary beam, W_p = Σ w). All pointings are imaged onto one common grid and summed with
the weights of least squares (Cornwell 1988; Sault, Staveley-Smith & Brouw 1996):

    weight     M = Σ_p A_p² W_p
    corrected  I = Σ_p A_p D_p / M                     Jy/beam, true fluxes, noise rising outwards as 1/√M
    response   P = √(M / max M)                        the primary beam of the mosaic, 1 where it is most sensitive
    flat noise F = P I = Σ_p A_p D_p / √(M max M)      fluxes times P, the noise that of the best pixel everywhere

For one pointing P = A, F = D/W and I = F/A. The noise of F is uniform to the extent that the noise
for each imaging weight is the same for all pointings: exactly for natural weights, and for any
weighting where the pointings were observed alike. CLEAN works on F; a model found there is P times
the sky (`Mosaic.sky`), and a pointing sees A_p of that (`BeamPatch.seen`). Σ_p A_p D_p and `seen`
with `to_visibilities` are transposes of each other.

A beam is taken once for all channels given to `beam_patch`, as their weighted mean: right for
fluxes at the first order of the bandwidth; give a patch to each band of channels
(`uvstack.imaging.planes.split_bands`). The task does, with bands of 4 %. Measured on three
pointings with two windows of 160 MHz at 1.4 GHz, no noise: fluxes of five sources at P of 0.5 to 1
are right to 0.06 %, spectral indices with two Taylor terms to 0.02; with a beam for each window
they were wrong by up to 0.4 % and 0.3, and CLEAN needed twenty times the components to fit what no
sky explains. A pointing is imaged only where A_p exceeds a level: cost and memory are those of its
patch, not of the mosaic, and each band has its own.

Where only what the mosaic sees well is wanted (`needed_parts`), a pointing is imaged where it
weighs something beside the others: its main lobe. A model is looked at through all of it, sidelobes
too, so that the residual of the true sky is 0 as before; what is left out of M is below 1 % of the
heaviest pointing, for each of the others.

A beam that depends on the distance from its axis alone is taken from a table of cubics over the
square of that distance where many pixels are asked for: right to 5e-7, since where the table is not
(at the steps where models end) the model itself is asked. 16 million pixels take 0.2 s instead of 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import fft
from scipy.interpolate import RectBivariateSpline

from uvstack.errors import ImageError
from uvstack.imaging.mosaic_kernels import look_up
from uvstack.pixels.grid import Grid
from uvstack.sky.coordinates import rotation_between
from uvstack.sky.primary_beam import PrimaryBeam

#: The mean of a beam over many channels is taken over as many groups of them; for a whole band, of
#: which the beam costs little where it is radial, over more.
_MOST_FREQUENCIES, _MOST_OF_A_BAND, _MOST_OF_A_RADIAL_BAND = 5, 8, 48
#: Of this part of their frequency each: by what the mean is off the beam at a group's middle, 4e-5
#: where it is 0.2.
_GROUP = 0.01
#: Where a beam is lower it is not looked at.
LEVEL = 1e-3
#: Part of the weight of the pointing that weighs most at a pixel below which others are left out.
SHARE = 1e-2
#: Steps of a patch between which a taper of the psf is interpolated.
_LAGS = 48
#: Points of the net on a side that the extent of a beam is found on.
_NET = 128
#: Directions times frequencies that are looked at together.
_AT_ONCE = 1_000_000
#: Intervals of a table, and what it may be off in the middle of one.
_INTERVALS, _TABLE_ERROR = 4096, 5e-7
#: Values at four neighbours to the powers of the cubic through them, of the interval that begins at the first, and at the second.
_THROUGH = tuple(np.linalg.inv(np.vander(np.arange(4.0) - first, increasing=True)).T for first in (0, 1))


@dataclass(frozen=True)
class BeamPatch:
    """The part of a grid that one pointing sees, and how it sees it.

    Attributes
    ----------
    grid : Grid
        Of the part; image with it.
    rows, columns : slice
        Where the part lies in the whole.
    kept : ndarray (m, l) or None
        A of its pixels, 0 below the level; None where it is worked out whenever it is wanted.
    looked_through : BeamOfBand or None
        What it is worked out from; None sees all alike.
    """

    grid: Grid
    rows: slice
    columns: slice
    kept: np.ndarray | None
    looked_through: BeamOfBand | None = None

    @property
    def is_even(self) -> bool:
        """Whether all is seen alike, without a beam."""
        return self.looked_through is None

    @property
    def power(self) -> np.ndarray:
        """A of its pixels (m, l), 0 below the level."""
        if self.kept is not None:
            return self.kept
        assert self.looked_through is not None
        return self.looked_through.of_pixels(self.grid, *map(np.arange, self.grid.shape))

    def keeping(self) -> BeamPatch:
        """The same with A of its pixels in memory, 4 bytes each."""
        return self if self.kept is not None else replace(self, kept=self.power.astype(np.float32))

    def at(self, row: int, column: int) -> float:
        """A of a pixel of the whole grid, 0 beyond the part."""
        row, column = row - self.rows.start, column - self.columns.start
        if not (0 <= row < self.grid.shape[0] and 0 <= column < self.grid.shape[1]):
            return 0.0
        if self.kept is not None:
            return float(self.kept[row, column])
        assert self.looked_through is not None
        return float(self.looked_through.of_pixels(self.grid, np.array([row]), np.array([column]))[0, 0])

    def seen(self, sky: np.ndarray) -> np.ndarray:
        """A times the part of a sky (…, m, l) of the whole grid."""
        part = sky[..., self.rows, self.columns]
        return part if self.is_even else part * self.power

    def within(self, rows: slice, columns: slice) -> BeamPatch | None:
        """What of it lies in these rows and columns of the whole; None where that is nothing."""
        rows, columns = (slice(max(own.start, wanted.start), min(own.stop, wanted.stop))
                         for own, wanted in ((self.rows, rows), (self.columns, columns)))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        m, l = (slice(part.start - own.start, part.stop - own.start)
                for part, own in ((rows, self.rows), (columns, self.columns)))
        return BeamPatch(self.grid.part(m, l), rows, columns,
                         None if self.kept is None else self.kept[m, l], self.looked_through)


def beam_patch(grid: Grid, primary_beam: PrimaryBeam | None, pointing: tuple[float, float],
               frequency: np.ndarray, weight: np.ndarray | None = None,
               level: float = LEVEL) -> BeamPatch | None:
    """What of a grid one pointing sees; None where that is nothing.

    Parameters
    ----------
    grid : Grid
        Of the mosaic.
    primary_beam : PrimaryBeam or None
        None sees all alike.
    pointing : (float, float)
        J2000, rad.
    frequency : ndarray (chan,)
        Hz.
    weight : ndarray (chan,), optional
        Sum of weights of each channel; default all alike.
    level : float
        Where A is lower it counts as 0.
    """
    whole = slice(0, grid.shape[0]), slice(0, grid.shape[1])
    if primary_beam is None:
        return BeamPatch(grid, *whole, np.broadcast_to(1.0, grid.shape))
    nodes, shares = _nodes(np.asarray(frequency, np.float64), weight)
    looked_through = BeamOfBand(primary_beam, (float(pointing[0]), float(pointing[1])), nodes,
                                (shares / shares.sum())[:, None], level)
    # Where to look is found on a net first: a mosaic may be a hundred times its patches.
    centre = [np.nan_to_num(x) for x in grid.pixel_of(*pointing)]
    net = [_net(n, x) for n, x in zip(grid.shape, centre, strict=True)]
    inside = looked_through.of_pixels(grid, net[0], net[1]) > 0
    if not inside.any():
        return None
    rows, columns = (_reach(points, np.asarray(inside.any(axis=axis)))
                     for points, axis in zip(net, (1, 0), strict=True))
    return BeamPatch(grid.part(rows, columns), rows, columns, None, looked_through)


def beam_terms(grid: Grid, primary_beam: PrimaryBeam, pointing: tuple[float, float],
               frequency: np.ndarray, weight: np.ndarray, reference_frequency: float, n_terms: int,
               level: float = LEVEL) -> np.ndarray:
    """Taylor terms of a beam as a fit of so many terms sees it, (term, m, l).

    At each pixel the polynomial in (ν − ν0)/ν0 of degree n_terms − 1 that is nearest to A(ν) by
    weighted least squares: of one term the weighted mean. That is what Taylor terms of an image
    make of a source with a flat spectrum, for they are fitted to the same channels with the same
    weights; a Taylor series about ν0 leaves out what they take up of the beam's curvature.

    Parameters
    ----------
    grid : Grid
    primary_beam : PrimaryBeam
    pointing : (float, float)
        J2000, rad.
    frequency, weight : ndarray (chan,)
        Hz, in any order; sum of imaging weights.
    reference_frequency : float
        ν0, Hz.
    n_terms : int
    level : float
        Where term 0 is lower all terms are 0.

    Raises
    ------
    ImageError
        No channel has a weight.
    """
    most = _MOST_OF_A_RADIAL_BAND if primary_beam.is_radial else _MOST_OF_A_BAND
    nodes, shares = _nodes(np.asarray(frequency, np.float64), weight, most, 2 * n_terms - 1)
    # The fit is linear in the beam at the nodes: its terms are sums over them.
    root = np.sqrt(shares)[:, None]
    powers = ((nodes / reference_frequency - 1.0)[:, None]) ** np.arange(n_terms)
    fit = (np.linalg.pinv(root * powers) * root.T).T
    looked_through = BeamOfBand(primary_beam, (float(pointing[0]), float(pointing[1])), nodes, fit,
                                level)
    terms = looked_through.power(grid, np.arange(grid.shape[0]), np.arange(grid.shape[1]))
    terms[:, ~(terms[0] >= level)] = 0.0
    return terms


def box_of(wanted: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold all of (m, l) bool that is true; empty where nothing is."""
    if not wanted.any():
        return slice(0, 0), slice(0, 0)
    rows, columns = (np.flatnonzero(wanted.any(axis=axis)) for axis in (1, 0))
    return (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))


def needed_parts(grid: Grid, patches: dict[Any, BeamPatch], weight: dict[Any, float],
                 floor: float) -> tuple[dict[Any, BeamPatch], dict[Any, BeamPatch]]:
    """Parts of patches for images of what the mosaic sees with a response above a floor.

    Parameters
    ----------
    grid : Grid
    patches, weight : dict
        Of the pointings: what they see, and W.
    floor : float
        Of P.

    Returns
    -------
    seen : dict
        Through which a model is looked at: all that a pointing sees of those pixels.
    imaged : dict
        That is imaged: where a pointing weighs at least `SHARE` of the one that weighs most.
    """
    most, total = np.zeros(grid.shape), np.zeros(grid.shape)
    for key, patch in patches.items():
        own = weight[key] * patch.power**2
        at = patch.rows, patch.columns
        np.maximum(most[at], own, out=most[at])
        total[at] += own
    inside = total >= floor**2 * total.max()
    box = box_of(inside)
    seen, imaged = {}, {}
    for key, patch in patches.items():
        part = patch.within(*box)
        if part is None:
            continue
        if part.kept is not None:
            # A copy, or all of the patch would be kept.
            part = replace(part, kept=part.kept.copy())
        seen[key] = part
        at = part.rows, part.columns
        rows, columns = box_of(inside[at] & (weight[key] * part.power**2 >= SHARE * most[at]))
        small = part.within(*(slice(own.start + found.start, own.start + found.stop)
                              for own, found in ((part.rows, rows), (part.columns, columns))))
        if small is not None:
            imaged[key] = small
    return seen, imaged


def psf_taper(patches: Mapping[Any, BeamPatch], weight: Mapping[Any, float], mosaic: Mosaic,
              floor: float, shape: tuple[int, int]) -> np.ndarray:
    """What the psf of all pointings is multiplied with to be that of a source in a mosaic, on average.

    A source at x is seen at x + d by the pointings that see both. With one psf h for all,

        h(d) Σ_p W_p A_p(x) A_p(x + d) / √(M(x) M(x + d)),

    in images of even noise; here the mean over x, weighted with what stands below the fraction. It
    is 1 at d = 0, and everywhere for one pointing; in a mosaic it falls off over a beam, which is
    how a mosaic sees scales that none of its baselines does (Ekers & Rots 1979).

    Parameters
    ----------
    patches, weight : mapping
        Of the pointings: what is imaged of them, and W.
    mosaic : Mosaic
    floor : float
        Response below which no pixel counts.
    shape : (int, int)
        Of the psf, its middle at (m // 2, l // 2).
    """
    inside = mosaic.response() >= max(floor, LEVEL)
    step = max(1, max(max(patch.grid.shape) for patch in patches.values()) // _LAGS)
    within = np.sqrt(np.where(inside, mosaic.weight, 0.0))[::step, ::step]
    size = [2 * n for n in within.shape]
    together = np.zeros((size[0], size[1] // 2 + 1))
    for key, patch in patches.items():
        seen = (patch.power * inside[patch.rows, patch.columns])[::step, ::step]
        together += weight[key] * np.abs(fft.rfft2(seen, size)) ** 2
    both, alone = (fft.fftshift(fft.irfft2(power, size)) for power in (
        together, np.abs(fft.rfft2(within, size)) ** 2))
    ratio = np.divide(both, alone, out=np.zeros(both.shape), where=alone > 1e-6 * alone.max())
    lags = [step * (np.arange(n) - n // 2) for n in size]
    at = [np.arange(n) - n // 2 for n in shape]
    return np.asarray(np.clip(RectBivariateSpline(*lags, ratio)(*at)
                              / ratio[size[0] // 2, size[1] // 2], 0.0, 1.0))


class Mosaic:
    """Sums over pointings, and the images they make.

    Attributes
    ----------
    grid : Grid
    weighted : ndarray (term, m, l)
        Σ A D.
    weight : ndarray (m, l), or (1, 1) where all pixels are seen alike
        M = Σ A² W.
    """

    def __init__(self, grid: Grid, n_terms: int = 1, is_even: bool = False,
                 dtype: type[np.floating] = np.float64) -> None:
        self.grid = grid
        self.weighted = np.zeros((n_terms, *grid.shape), dtype)
        self._is_even = is_even
        self.weight = np.zeros((1, 1) if is_even else grid.shape)
        self._response: np.ndarray | None = None

    def add(self, patch: BeamPatch, dirty: np.ndarray, weight: float) -> None:
        """Add dirty images of one pointing (or of a chunk or band of it) on patch.grid.

        dirty (term, m, l) or (m, l) is as from `to_image`, unnormalised; weight is its Σ w, 0 for a
        later image of the same weights (a residual).
        """
        dirty = np.asarray(dirty)
        dirty = dirty[None] if dirty.ndim == 2 else dirty
        if dirty.shape != (self.weighted.shape[0], *patch.grid.shape):
            raise ImageError(f"an image of shape {dirty.shape} for a patch of {patch.grid.shape} "
                             f"and {self.weighted.shape[0]} Taylor terms; image on patch.grid")
        self.weighted[:, patch.rows,
                      patch.columns] += dirty if patch.is_even else patch.power * dirty
        if weight:
            self.add_weight(patch, weight)

    def add_weight(self, patch: BeamPatch, weight: float) -> None:
        """Add to M what a pointing with this Σ w has in it."""
        if self._is_even:
            self.weight += weight
        else:
            self.weight[patch.rows, patch.columns] += patch.power**2 * weight
        self._response = None

    def response(self) -> np.ndarray:
        """P = √(M / max M), of the shape of M: the primary beam of the mosaic.

        Raises
        ------
        ImageError
            No pointing with a weight sees the image.
        """
        if self._response is None:
            top = self.weight.max()
            if not top > 0:
                raise ImageError("no pointing sees any pixel of the image; give another centre or "
                                 "a larger image")
            self._response = np.sqrt(self.weight / top)
        return self._response

    def flat_noise(self, weighted: np.ndarray | None = None) -> np.ndarray:
        """F, (term, m, l) Jy/beam, 0 where nothing is seen.

        Of other sums Σ A D of the same weights if they are given.
        """
        weighted = self.weighted if weighted is None else weighted
        return _ratio(weighted, self.response() * self.weight.max())

    def corrected(self, level: float = 0.2) -> np.ndarray:
        """I, (term, m, l) Jy/beam, NaN where P is below the level."""
        response = self.response()
        return np.where(response >= max(level, 1e-12), _ratio(self.flat_noise(), response), np.nan)

    def sky(self, model: np.ndarray, level: float = 0.0) -> np.ndarray:
        """The sky of a model (…, m, l) found in F: model / P, 0 where P is below the level."""
        response = self.response()
        return np.where(response >= level, _ratio(model, response), 0.0)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b > 0)


def _nodes(frequency: np.ndarray, weight, most: int = _MOST_FREQUENCIES,
           fewest: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and weights that stand for all channels: means over a few groups of them."""
    weight = np.ones(frequency.size) if weight is None else np.asarray(weight, np.float64)
    used = weight > 0
    if not used.any():
        raise ImageError("a primary beam for channels without weight; give those that hold data")
    order = np.argsort(frequency[used], kind="stable")
    frequency, weight = frequency[used][order], weight[used][order]
    n = min(most, frequency.size,
            max(fewest, 1 + int((frequency[-1] - frequency[0]) / (_GROUP * frequency[0]))))
    groups = np.array_split(np.arange(frequency.size), n)
    shares = np.array([weight[g].sum() for g in groups])
    return np.array([np.average(frequency[g], weights=weight[g]) for g in groups]), shares


class BeamOfBand(NamedTuple):
    """A primary beam that points somewhere, and sums of it over some frequencies with some shares (node, sum); below a level it is 0."""

    model: PrimaryBeam
    pointing: tuple[float, float]
    frequency: np.ndarray
    share: np.ndarray
    level: float

    def of_pixels(self, grid: Grid, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The first sum at the pixels of these rows and columns, 0 where it is below the level, (rows, columns)."""
        power = self.power(grid, rows, columns)[0]
        power[~(power >= self.level)] = 0.0
        return power

    def power(self, grid: Grid, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The sums at the pixels of these rows and columns, (sum, rows, columns)."""
        l, m = grid.l[columns], grid.m[rows]
        # A table costs two looks an interval.
        if self.model.is_radial and rows.size * columns.size > 4 * _INTERVALS:
            return self._looked_up(grid, l, m)
        out = np.empty((self.share.shape[1], rows.size, columns.size))
        step = max(1, _AT_ONCE // self.frequency.size // columns.size)
        for begin in range(0, rows.size, step):
            part = slice(begin, begin + step)
            out[:, part] = self._at(*self._seen(grid, l, m[part][:, None]))
        return out

    def _turn(self, grid: Grid) -> np.ndarray:
        """Unit vectors as seen from the middle of the image to those as seen from the pointing: as (u, v, w) turn."""
        where = grid.geometry
        return (np.eye(3) if self.pointing == (where.ra, where.dec)
                else rotation_between(where.ra, where.dec, *self.pointing))

    def _seen(self, grid: Grid, east: np.ndarray, north: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Direction cosines to the east and north of the pointing, of those of pixels."""
        up = np.sqrt(1.0 - east**2 - north**2)
        turned = [east * x + north * y + up * z for x, y, z in self._turn(grid)]
        turned[0][turned[2] <= 0] = 2.0  # beyond the horizon a beam answers 0
        return turned[0], turned[1]

    def _at(self, east: np.ndarray, north: np.ndarray) -> np.ndarray:
        """The sums in some directions, by the model, (sum, …)."""
        east, north = np.broadcast_arrays(east, north)
        return (self.model(east.ravel(), north.ravel(), self.frequency)
                @ self.share).T.reshape(-1, *east.shape)

    def _looked_up(self, grid: Grid, l: np.ndarray, m: np.ndarray) -> np.ndarray:
        """The sums at all pixels (m, l), from a table where that is good, (sum, m, l)."""
        # Nowhere in front of the antenna is the distance larger than on the edge.
        edges = (self._seen(grid, l[[0, -1]], m[:, None]), self._seen(grid, l, m[[0, -1], None]))
        farthest = min(1.0, max(float((east**2 + north**2).max()) for east, north in edges))
        cubic, good = self._table(farthest)
        out = np.empty((self.share.shape[1], m.size, l.size))
        look_up(l, m, self._turn(grid), _INTERVALS / farthest, cubic, good, out)
        rest = np.isnan(out[0])
        if rest.any():
            rows, columns = np.nonzero(rest)
            out[:, rest] = self._at(*self._seen(grid, l[columns], m[rows]))
        return out

    def _table(self, farthest: float) -> tuple[np.ndarray, np.ndarray]:
        """Cubics (sum, interval, 4) of the sums in each interval of the squared distance, and whether they are right.

        Each goes through four neighbours; one more interval is for all that is beyond.
        """
        square = np.linspace(0.0, farthest, 2 * _INTERVALS + 1)
        distance = np.sqrt(np.append(square, farthest + (square[2] - square[0])))
        step = max(1, _AT_ONCE // self.frequency.size)
        values = np.concatenate([self._at(part, np.zeros_like(part))
                                 for part in (distance[i : i + step]
                                              for i in range(0, distance.size, step))], axis=1)
        at, middle = np.append(values[:, :-1:2], values[:, -1:], axis=1), values[:, 1:-1:2]
        four = np.stack([at[:, i : i + _INTERVALS - 1] for i in range(4)], axis=-1)
        cubic = np.concatenate([four[:, :1] @ _THROUGH[0], four @ _THROUGH[1],
                                np.zeros((len(at), 1, 4))], axis=1)
        good = (np.abs(cubic[:, :-1] @ 0.5 ** np.arange(4) - middle) <= _TABLE_ERROR).all(axis=0)
        return np.ascontiguousarray(cubic), np.append(good, False)


def _net(n: int, centre: float) -> np.ndarray:
    """Pixels out of n: evenly spread, and denser towards the one where the antennas point, since a beam may be narrow."""
    steps = np.geomspace(1.0, n, _NET // 2)
    spread = np.concatenate([np.linspace(0, n - 1, min(n, _NET)), centre - steps, [centre],
                             centre + steps])
    return np.unique(np.clip(spread, 0, n - 1).round().astype(int))


def _reach(net: np.ndarray, seen: np.ndarray) -> slice:
    """From one point of the net before the first that is seen to one after the last."""
    inside = np.flatnonzero(seen)
    return slice(int(net[max(inside[0] - 1, 0)]), int(net[min(inside[-1] + 1, net.size - 1)]) + 1)
