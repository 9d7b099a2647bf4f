"""Image-stacking: stamps of an image around many positions, aligned and averaged (Lindroos et al. 2015, section 3.2).

*Alignment.* The paper centres each stamp on the nearest pixel. The offsets that remain smear the
source and lower its peak: for a Gaussian beam of FWHM b (pixels) by the mean of exp(−4 ln2 δ²/b²)
over |δ| ≤ ½, along each axis, about 1 − 0.231/b². Below the pixel a stamp is interpolated with a
sinc under a Kaiser window of 32 taps (`HALF_WIDTH`). A dirty image holds nothing beyond the longest
baseline, and the interpolation is exact but for the window: at most 1.2e-5 of the peak for a beam
of 4 pixels FWHM or more, 1.6e-4 for a round one of 3.2 and, on average over positions, 8e-5. A
Gaussian of 3.0 pixels is itself undersampled: between pixels any method that does not know its
shape is off by up to 1.3e-4 of its peak along each axis; here it is 4e-4 at worst and 2e-4 on
average over positions.

*Blanks.* A pixel off the image or not finite is blank, and so is every pixel of a stamp that would
need it. Stamps keep what is left; a position is dropped where its centre is blank.

*Averages.* Weighted mean; weighted median (plain where weights are equal); weighted mean of what
lies within `clip` standard deviations, pixel by pixel. Median and clipping are biased where fluxes
are distributed unevenly.

Cost: 60 µs a stamp of 64 × 64 pixels below the pixel, 5 µs at the nearest. A mean needs no memory,
the others hold a few rows of all stamps at once. Limits: stamps are parallel to the axes of the
image (north turns over a wide field), and A is taken as constant across a stamp.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from uvstack.checks import finite_number, stamp_size, thread_count
from uvstack.errors import NoDataError, PositionsError, SelectionError
from uvstack.image_stacking import kernels
from uvstack.sky.averages import robust_average, robust_averages
from uvstack.sky.position_weights import product_of

METHODS = ("mean", "median", "clipped-mean")
ALIGNMENTS = ("nearest", "subpixel")
#: Taps on either side of a position, and the shape of the Kaiser window over them: chosen by the
#: errors in the module docstring.
HALF_WIDTH, KAISER_BETA = 16, 9.5
#: Bytes of stamps that median and clipped mean hold at once.
_BLOCK_BYTES = 256e6
#: Positions from which a stacked psf is made of offsets on a grid, and the cells of that grid along
#: a pixel.
_MANY_OFFSETS, _OFFSET_CELLS = 2000, 32


@dataclass(frozen=True)
class Averaging:
    """How stamps are made and averaged.

    Attributes
    ----------
    method : {"mean", "median", "clipped-mean"}
    alignment : {"nearest", "subpixel"}
    stamp : int
        Pixels on a side, even; the position is pixel (stamp/2, stamp/2).
    clip : float
        For the clipped mean, standard deviations.
    threads : int or None
        None takes all processors.

    Raises
    ------
    SelectionError
        A word is unknown (the nearest is named), or a number cannot be.
    """

    method: str = "mean"
    alignment: str = "subpixel"
    stamp: int = 64
    clip: float = 3.0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, words in (("method", METHODS), ("alignment", ALIGNMENTS)):
            found = getattr(self, name)
            if found not in words:
                close = difflib.get_close_matches(str(found), words, n=1, cutoff=0.3)
                raise SelectionError(f"{name}={found!r} is unknown; wanted {', '.join(words)}"
                                     + (f"; did you mean {close[0]}?" if close else ""))
        stamp_size(self.stamp)
        finite_number("clip", self.clip, 0, above=True, unit="standard deviations")
        thread_count(self.threads)

    @property
    def n_threads(self) -> int:
        """Threads that are used."""
        return thread_count(self.threads)


@dataclass(frozen=True)
class Weighting:
    """What a position weighs, and what turns its pixels into flux.

    Attributes
    ----------
    terms : tuple of str
        Of `uvstack.sky.position_weights.WEIGHTS`; their product is taken.
    noise_of : callable or None
        Noise of the pixels around x, y (pos,); None where it is not known.
    power_of : callable
        A at x, y, (pos,); the image's response to a source of flux 1.
    flat_image : bool
        Whether the image is one of flat noise, A times the sky, so that stamps are divided by A.
    flat_noise : bool
        Whether that noise is one before the division by A.
    cutoff : float
        A below which a position is dropped.
    """

    terms: tuple[str, ...]
    noise_of: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    power_of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    flat_image: bool = False
    flat_noise: bool = False
    cutoff: float = 0.0

    def __call__(self, x: np.ndarray, y: np.ndarray,
                 listed: np.ndarray | None = None) -> PositionValues:
        """Weights at pixel coordinates x, y (pos,); listed are the weights of the list."""
        power = self.power_of(x, y)
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = np.full(x.size, np.nan) if self.noise_of is None else self.noise_of(x, y)
            noise = np.where(noise > 0, noise / power if self.flat_noise else noise, np.nan)
            weight = product_of(self.terms, x.size,
                                {"list": lambda: np.asarray(listed),
                                 "primary-beam": lambda: power**2,
                                 "local-noise": lambda: 1.0 / noise**2})
            scale = 1 / power if self.flat_image else np.ones(x.size)
        inside = self._inside(power)
        return PositionValues(np.where(inside & np.isfinite(weight), weight, 0.0),
                              np.where(inside, scale, 0.0), noise, power, inside)

    def inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether A ≥ cutoff, (pos,) bool."""
        return self._inside(self.power_of(x, y))

    def _inside(self, power: np.ndarray) -> np.ndarray:
        return (power > 0) & (power >= self.cutoff)


@dataclass(frozen=True)
class PositionValues:
    """Of each position, all (pos,).

    Weight W_k (0 where dropped), scale 1/A_k or 1, noise of its flux, A_k, whether A_k ≥ cutoff.
    """

    weight: np.ndarray
    scale: np.ndarray
    noise: np.ndarray
    power: np.ndarray
    inside: np.ndarray

    def subset(self, which: np.ndarray) -> PositionValues:
        """Those of some positions."""
        return PositionValues(*(v[which]
                                for v in (self.weight, self.scale, self.noise, self.power,
                                          self.inside)))


@dataclass(frozen=True)
class Aligned:
    """Where stamps begin to be read, for the central pixel, and the interpolation.

    First (pos,) int64, taps (pos, tap).
    """

    first_m: np.ndarray
    first_l: np.ndarray
    taps_m: np.ndarray
    taps_l: np.ndarray

    def window(self, before: int, below: int) -> tuple[np.ndarray, ...]:
        """As the kernels take it, for stamps that begin so many pixels before the position."""
        return self.first_m - below, self.first_l - before, self.taps_m, self.taps_l

    def subset(self, which: np.ndarray | slice) -> Aligned:
        """Those of some positions."""
        return Aligned(self.first_m[which], self.first_l[which], self.taps_m[which],
                       self.taps_l[which])


def align(x: np.ndarray, y: np.ndarray, alignment: str) -> Aligned:
    """First pixels and taps of positions at pixel coordinates x (along l), y (along m), from 0, (pos,); finite."""
    rows = [_taps(np.asarray(v, np.float64), alignment) for v in (y, x)]
    return Aligned(rows[0][0], rows[1][0], rows[0][1], rows[1][1])


def _taps(coordinate: np.ndarray, alignment: str) -> tuple[np.ndarray, np.ndarray]:
    if alignment == "nearest":
        return np.rint(coordinate).astype(np.int64), np.ones((coordinate.size, 1))
    whole = np.floor(coordinate)
    steps = np.arange(1 - HALF_WIDTH, HALF_WIDTH + 1)
    distance = steps[None, :] - (coordinate - whole)[:, None]
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / HALF_WIDTH) ** 2, 0, None)))
    taps = np.sinc(distance) * window
    # A constant stays what it is.
    return whole.astype(np.int64) + steps[0], taps / taps.sum(axis=1, keepdims=True)


def values_at(image: np.ndarray, x: np.ndarray, y: np.ndarray, alignment: str) -> np.ndarray:
    """Brightness at pixel coordinates, (pos,), as the centre of an aligned stamp has it.

    NaN where blank.
    """
    values = np.full(x.size, np.nan)
    near = np.isfinite(x) & np.isfinite(y) & (np.abs(x) < 1e9) & (np.abs(y) < 1e9)
    found = np.empty(int(near.sum()))
    aligned = align(x[near], y[near], alignment)
    kernels.pixel_values(image, aligned.first_m, aligned.first_l, aligned.taps_m, aligned.taps_l,
                         found)
    values[near] = found
    return values


def average_stamps(image: np.ndarray, aligned: Aligned, weight: np.ndarray, scale: np.ndarray,
                   how: Averaging) -> tuple[np.ndarray, int]:
    """Average of aligned stamps, (stamp, stamp), NaN where all are blank, and how many stamps were partly blank.

    Parameters
    ----------
    image : ndarray (m, l) float64
        NaN is blank.
    aligned : Aligned
    weight, scale : ndarray (pos,)
        W_k > 0, and what each stamp is multiplied by.
    how : Averaging

    Raises
    ------
    NoDataError
        There is no position.
    """
    if weight.size == 0:
        raise NoDataError("there is no stamp to average: no position has a weight")
    image = np.ascontiguousarray(image, np.float64)
    half = how.stamp // 2
    if how.method == "mean":
        # Neighbours after each other: their pixels are then in the cache.
        order = np.lexsort((aligned.first_l, aligned.first_m // 32))
        return _mean(image, aligned.subset(order).window(half, half), weight[order], scale[order],
                     how)
    return _by_block(image, aligned, weight, scale, how)


def _mean(image, window, weight, scale, how: Averaging) -> tuple[np.ndarray, int]:
    """Weighted mean: sums of slices of the positions, one a thread, in a fixed order."""
    edges = np.linspace(0, weight.size, min(how.n_threads, weight.size) + 1).astype(int)

    def part(i: int) -> tuple[np.ndarray, np.ndarray, int]:
        here = slice(edges[i], edges[i + 1])
        total, weights = np.zeros((how.stamp, how.stamp)), np.zeros((how.stamp, how.stamp))
        n = kernels.add_stamps(image, *(a[here] for a in window), weight[here], scale[here], total,
                               weights)
        return total, weights, n

    with ThreadPoolExecutor(how.n_threads) as pool:
        parts = list(pool.map(part, range(edges.size - 1)))
    total, weights = np.sum([p[0] for p in parts], axis=0), np.sum([p[1] for p in parts], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 0, total / weights, np.nan), sum(p[2] for p in parts)


def _by_block(image, aligned: Aligned, weight, scale, how: Averaging) -> tuple[np.ndarray, int]:
    """Median or clipped mean: a few rows of all stamps at a time."""
    rows = int(np.clip(_BLOCK_BYTES / (4 * weight.size * how.stamp * how.n_threads), 1, how.stamp))
    out = np.empty((how.stamp, how.stamp))
    half = how.stamp // 2

    def strip(start: int) -> np.ndarray:
        stop = min(start + rows, how.stamp)
        block = np.empty((stop - start, how.stamp, weight.size), np.float32)
        partial = np.zeros(weight.size, np.bool_)
        kernels.fill_block(image, *aligned.window(half, half - start), scale, block, partial)
        robust_averages(block, weight, how.method, how.clip, out[start:stop])
        return partial

    with ThreadPoolExecutor(how.n_threads) as pool:
        partial = list(pool.map(strip, range(0, how.stamp, rows)))
    return out, int(np.any(partial, axis=0).sum())


def average(values: np.ndarray, weight: np.ndarray, how: Averaging) -> float:
    """Average of the values of one pixel (pos,) as that of the stamps is taken.

    NaN values are left out.
    """
    used = np.isfinite(values) & (weight > 0)
    if not used.any():
        return float("nan")
    if how.method == "mean":
        return float(np.average(values[used], weights=weight[used]))
    return robust_average(values[used], weight[used], how.method, how.clip)


def expected_error(noise: np.ndarray, weight: np.ndarray, method: str) -> float:
    """Equation 7 of Lindroos et al. (2015) for any weights: sqrt(Σ W²σ²) / Σ W.

    a median has sqrt(π/2) of it.

    The clipped mean is taken as a mean. Positions without a noise are given the mean of the others.
    """
    known = np.isfinite(noise)
    if not known.any():
        return float("nan")
    square = np.where(known, noise, np.sqrt(np.mean(noise[known] ** 2))) ** 2
    return float(np.sqrt((weight**2 * square).sum()) / weight.sum()
                 * (np.sqrt(np.pi / 2) if method == "median" else 1.0))


def random_fluxes(image: np.ndarray, x: np.ndarray, y: np.ndarray, listed: np.ndarray | None,
                  weighting: Weighting, how: Averaging, n: int, rng: np.random.Generator,
                  keep_off: float) -> np.ndarray:
    """Fluxes of n lists of random positions as long as the list, (n,).

    Their scatter is the noise, their mean the bias.

    The Monte Carlo estimate in the spirit of Lindroos et al. (2015), section 3.5.2, on one image:
    nothing is added to the data, so it holds thermal noise, sidelobes and confusion but not the
    scatter of the targets' fluxes. Positions are drawn evenly over the rectangle that the list
    spans, widened by a stamp.

    Parameters
    ----------
    image : ndarray (m, l)
    x, y : ndarray (pos,)
        Pixel coordinates of the positions that were used.
    listed : ndarray (pos,) or None
        Weights of the list, given to the random positions in their order.
    weighting : Weighting
    how : Averaging
    n : int
    rng : Generator
    keep_off : float
        Least distance from a position of the list, pixels; dropped where the list covers more than
        half of the rectangle.

    Raises
    ------
    PositionsError
        Hardly any place in the rectangle has data and a weight.
    """
    low = np.maximum([x.min() - how.stamp, y.min() - how.stamp], -0.5)
    high = np.minimum([x.max() + how.stamp, y.max() + how.stamp], np.array(image.shape[::-1]) - 0.5)
    if x.size * np.pi * keep_off**2 > 0.5 * np.prod(high - low):
        keep_off = 0.0
    fluxes = np.empty(n)
    for i in range(n):
        value, found = _random_places(image, (x, y), weighting, how, rng, (low, high), keep_off,
                                      listed)
        fluxes[i] = average(value * found.scale, found.weight, how)
    return fluxes


def _random_places(image, taken, weighting: Weighting, how: Averaging, rng, box, keep_off: float,
                   listed):
    """Values at as many random places as the list has, all with data, and what they weigh."""
    from scipy.spatial import cKDTree

    n = taken[0].size
    tree = cKDTree(np.stack(taken, axis=1)) if keep_off > 0 else None
    places, values = np.empty((2, 0)), np.empty(0)
    for _ in range(50):
        drawn = rng.uniform(box[0], box[1], (max(2 * (n - values.size), 16), 2)).T
        if tree is not None:
            drawn = drawn[:, tree.query(drawn.T, distance_upper_bound=keep_off)[0] == np.inf]
        value = values_at(image, drawn[0], drawn[1], how.alignment)
        good = np.isfinite(value) & weighting.inside(drawn[0], drawn[1])
        places, values = np.concatenate([places, drawn[:, good]],
                                        axis=1), np.append(values, value[good])
        if values.size >= n:
            return values[:n], weighting(places[0, :n], places[1, :n], listed)
    raise PositionsError(f"of the random positions hardly any has data: {values.size} of {n} found "
                         "within the rectangle of the list; "
                         "give a list whose surroundings are on the image, or leave out the "
                         "random positions")


def bootstrap_fluxes(values: np.ndarray, weight: np.ndarray, how: Averaging, n: int,
                     rng: np.random.Generator) -> np.ndarray:
    """Fluxes of n lists drawn from the positions with replacement, (n,).

    Noise and the scatter of the sources together.
    """
    fluxes = np.empty(n)
    for i in range(n):
        drawn = rng.integers(values.size, size=values.size)
        fluxes[i] = average(values[drawn], weight[drawn], how)
    return fluxes


def stacked_psf(psf: np.ndarray, x: np.ndarray, y: np.ndarray, weight: np.ndarray, how: Averaging,
                size: int) -> np.ndarray:
    """Weighted mean of the psf as stamps hold it, (size, size).

    With the offsets that the alignment leaves.

    With subpixel alignment there are none, and this is the psf. Zero beyond the psf given. From
    2000 positions on offsets are averaged in cells of 1/32 pixel, which leaves out a thousandth of
    what they smear.

    Parameters
    ----------
    psf : ndarray (m, l)
        Peak at (m // 2, l // 2).
    x, y, weight : ndarray (pos,)
    how : Averaging
    size : int
        Even.
    """
    margin = size // 2 + HALF_WIDTH + 1
    padded = np.pad(np.nan_to_num(np.asarray(psf, np.float64)), margin)
    centre = np.array([n // 2 + margin for n in psf.shape])
    if how.alignment == "nearest":
        offset = np.stack([y - np.rint(y), x - np.rint(x)])
        if weight.size > _MANY_OFFSETS:
            _, inverse = np.unique(np.floor((offset + 0.5) * _OFFSET_CELLS), axis=1,
                                   return_inverse=True)
            cell = np.asarray(inverse).ravel()
            total = np.bincount(cell, weight)
            offset, weight = np.stack([np.bincount(cell, weight * o) / total
                                       for o in offset]), total
    else:
        offset, weight = np.zeros((2, 1)), np.ones(1)
    aligned = align(centre[1] - offset[1], centre[0] - offset[0], "subpixel")
    mean = Averaging("mean", stamp=size, threads=how.threads)
    return average_stamps(padded, aligned, weight, np.ones(weight.size), mean)[0]


@dataclass(frozen=True)
class LowFilter:
    """What is taken out of a stamp in Fourier space.

    The central `pixels` × `pixels`, or all within `wavelengths` (λ).
    """

    pixels: int | None = None
    wavelengths: float | None = None

    def mask(self, shape: tuple[int, int], cell: float) -> np.ndarray:
        """True where Fourier pixels of np.fft.fft2 are set to zero, in the shape of the stamp.

        Cell in rad.
        """
        m, l = (np.fft.fftfreq(n) * n for n in shape)
        if self.pixels is not None:
            half = self.pixels / 2
            return (np.abs(m) < half)[:, None] & (np.abs(l) < half)[None, :]
        assert self.wavelengths is not None
        return np.hypot(m[:, None] / (shape[0] * cell),
                        l[None, :] / (shape[1] * cell)) < self.wavelengths


def filtered(stamp: np.ndarray, cell: float, low: LowFilter) -> np.ndarray:
    """Stamp without its low spatial frequencies (Lindroos et al. 2015, section 5.4).

    Blanks are taken as 0 and stay blank.

    The paper sets the central 3 × 3 pixels of the transform of a stamp of 256 pixels of 0.25″ to
    zero and gives 4500 m for it. Pixels of that transform are 3223 λ wide (0.7 km at 1.4 GHz): 3 ×
    3 of them reach to 4834 λ, 1.0 km. The number printed fits wavelengths, not metres.

    Raises
    ------
    SelectionError
        Nothing or everything would be taken out.
    """
    mask = low.mask((stamp.shape[0], stamp.shape[1]), cell)
    if mask.all() or mask.sum() == 0:
        what = "everything" if mask.all() else "nothing"
        raise SelectionError(f"the filter takes {what} out of a stamp of {stamp.shape[1]} pixels, "
                             "whose Fourier pixel is "
                             f"{1 / (stamp.shape[1] * cell):.4g} wavelengths wide; choose another "
                             "length or stamp")
    blank = ~np.isfinite(stamp)
    transform = np.fft.fft2(np.where(blank, 0.0, stamp))
    transform[mask] = 0.0
    return np.where(blank, np.nan, np.fft.ifft2(transform).real)
