"""Minor cycles of CLEAN: components found in a residual image with the psf alone.

Visibilities are not seen here.

All four ways repeat one step: find the highest peak, take `gain` of what made it, subtract that
times the psf.

* ``hogbom`` (Högbom 1974): peak of the whole image, whole psf. Done tile by tile, and only where it can matter (see
  `uvstack.deconvolution.kernels`), with the same result as the textbook loop.
* ``clark`` (Clark 1980): components from a list of the pixels above a limit; when the list is down to it, the model so far
  is convolved with the whole psf by FFT, and a new list is made. The limit is 1/20 of the highest
  peak, but never below the threshold. Clark subtracts the middle of the psf alone from the list:
  give a `patch` for that, and a list ends when what the patch leaves out may have grown to the
  peak. Without, the values on the list are exact and the lists last longer.
* ``multiscale`` (Cornwell 2008): components are points and smooth discs k_s of given sizes. Compared is the signal-to-noise
  ratio of a matched filter, |k_s ⋆ R| / √(k_s ⋆ k_s ⋆ psf)(0), in units in which a point gives |R|:
  by the inequality of Schwarz a source with the shape of a scale is highest at that scale. Cornwell
  compares k_s ⋆ R with a bias chosen by hand instead; `scale_bias` adds one. The amplitude is (k_s
  ⋆ R) / (k_s ⋆ k_s ⋆ psf)(0), so `gain` means the same at all scales.
* ``mtmfs`` (Rau & Cornwell 2011): each component is a Taylor polynomial in (ν − ν₀)/ν₀. Where and at which scale is decided
  as in ``multiscale`` on the term 0; the coefficients are the principal solution (their section
  3.2), a = H⁻¹ R with H_tq = (k_s ⋆ k_s ⋆ psf_{t+q})(0). They also choose by the principal
  solution; the residual is kept here because it has the noise, and so the threshold, of an image of
  one term.

A scale of α pixels is the tapered quadratic (1 − r²/α²)², normalised to sum 1: FWHM 1.08 α, exactly
0 from r = α on. (Cornwell tapers with a spheroidal function; like his, it is smooth and ends.) The
psf has its peak, of the order of 1, at pixel (m'//2, l'//2) and any size: with twice the image's
every pair of pixels is covered; beyond its edges it is taken as 0. With a `patch`, multiscale and
multi-term loops are exact in stages as Clark's is.

Cost: a field of 300 sources in a 4000² image, sidelobes of 3 %, cleaned to 6 σ (5000 iterations,
one thread): 670 iterations a second with ``clark`` and no residual asked for, 160 with ``hogbom``,
20–30 with the textbook loop in numpy; fewer sources or lower sidelobes make ``hogbom`` faster, as
fewer tiles are near the highest peak. float64 takes 1.5 to 3 times as long. Memory is that of the
psf, for multiscale that of one smoothed psf for each pair of scales and each of 2 n_terms − 1
terms, cut to a patch so that all stay below 1 GiB; `with_residual` takes a transform of the psf
more, 0.5 GB for 4000².
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

import numpy as np

from uvstack.deconvolution import kernels
from uvstack.deconvolution import scales as scaling
from uvstack.errors import ImageError

ALGORITHMS = ("hogbom", "clark", "multiscale", "mtmfs")
_SIGNS = {"allow": kernels.ALLOW, "skip": kernels.SKIP, "stop": kernels.STOP}
_REASONS = {
    kernels.THRESHOLD: "threshold", kernels.ITERATIONS: "iterations", kernels.NEGATIVE: "negative component",
    kernels.DIVERGING: "divergence", kernels.NOTHING: "nothing left"}  # fmt: skip
#: A peak that has grown to this many times the lowest one is divergence.
_DIVERGENCE = 2.0
#: Share of the peak below which no Clark list goes.
_LIST_FLOOR = 0.05
#: Share of the peak down to which the innermost Clark list goes: with 0.5, flux of one of two
#: blended sources went to the other (5 % at 2 beams), as pixels that are not on the list yet had
#: become the higher ones.
_NESTED = 0.8


@dataclass(frozen=True)
class MinorSettings:
    """How a minor cycle is run.

    Attributes
    ----------
    algorithm : str
        "hogbom", "clark", "multiscale" or "mtmfs".
    gain : float
        Share of a peak taken at once, in (0, 1].
    threshold : float
        Peak at which to stop, unit of the residual, ≥ 0.
    most_iterations : int
        Components at most, ≥ 0.
    scales : tuple of float
        Pixels, for "multiscale" and "mtmfs"; 0 is a point.
    n_terms : int
        Taylor terms, 1 to 3; more than 1 only with "mtmfs".
    scale_bias : float
        Scale α counts 1 − scale_bias α/α_max, in [0, 1); 0 treats all by their signal-to-noise
        ratio.
    negative : str
        What is done with negative peaks: "allow" takes them, "skip" leaves them, "stop" ends at the
        first.
    patch : int, optional
        Half-width of the middle of the psf used in the loop, pixels; see the module's text for what
        None means.
    mask_share : float
        Least share of a scale's volume that lies in the mask, in (0, 1]; 1 keeps the model inside
        the mask.
    precision : str
        "float32" or "float64" for the loop; results are float64.
    with_residual : bool
        False leaves the residual out, where the next major cycle computes it anyway.
    threads : int
        For FFTs.
    """

    algorithm: str = "hogbom"
    gain: float = 0.1
    threshold: float = 0.0
    most_iterations: int = 10_000
    scales: tuple[float, ...] = (0.0,)
    n_terms: int = 1
    scale_bias: float = 0.0
    negative: str = "allow"
    patch: int | None = None
    mask_share: float = 1.0
    precision: str = "float32"
    with_residual: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        for what, value, known in (
            ("algorithm", self.algorithm, ALGORITHMS), ("negative", self.negative, tuple(_SIGNS)),
            ("precision", self.precision, ("float32", "float64"))):  # fmt: skip
            if value not in known:
                near = difflib.get_close_matches(str(value).lower(), known, n=1, cutoff=0.0)[0]
                raise ImageError(f"{what} {value!r} of CLEAN is unknown; did you mean {near!r}? "
                                 f"Known: {', '.join(known)}")
        scales = tuple(self.scales)
        for good, text in (
            (0 < self.gain <= 1, f"gain is {self.gain}; give a number above 0, at most 1"),
            (0 <= self.threshold < np.inf, f"threshold is {self.threshold}; give a finite number, 0 or above"),
            (self.most_iterations >= 0, f"most_iterations is {self.most_iterations}; give 0 or above"),
            (self.n_terms in (1, 2, 3), f"n_terms is {self.n_terms}; give 1, 2 or 3"),
            (self.n_terms == 1 or self.algorithm == "mtmfs",
             f"n_terms is {self.n_terms} with {self.algorithm!r}; more than one term needs algorithm 'mtmfs'"),
            (len(scales) > 0 and all(s == 0 or 1 < s < np.inf for s in scales) and len(set(scales)) == len(scales),
             f"scales are {scales}; give different numbers of pixels above 1, or 0 for points"),
            (scales == (0,) or self.algorithm in ("multiscale", "mtmfs"),
             f"scales are {scales} with {self.algorithm!r}; use 'multiscale' or 'mtmfs', or leave the scales out"),
            (0 <= self.scale_bias < 1, f"scale_bias is {self.scale_bias}; give 0 or above, below 1"),
            (self.patch is None or self.patch >= 1, f"patch is {self.patch}; give 1 pixel or more, or None"),
            (0 < self.mask_share <= 1, f"mask_share is {self.mask_share}; give a number above 0, at most 1"),
        ):  # fmt: skip
            if not good:
                raise ImageError(f"CLEAN: {text}")


@dataclass(frozen=True, eq=False)
class Components:
    """What was added to the model, each place and scale once, in the order in which they were first taken.

    Attributes
    ----------
    m, l : ndarray (component,) int64
        Pixel of the centre.
    scale : ndarray (component,)
        Pixels; 0 is a point.
    flux : ndarray (component, term)
        Sum over the pixels of the component, Jy.
    """

    m: np.ndarray
    l: np.ndarray
    scale: np.ndarray
    flux: np.ndarray


@dataclass(frozen=True, eq=False)
class MinorResult:
    """What a minor cycle found.

    Attributes
    ----------
    model : ndarray (term, m, l) float64
        What was added, Jy/pixel.
    residual : ndarray (term, m, l) float64 or None
        The residual less psf ⋆ model.
    n_iterations : int
    peak : float
        Highest peak in the mask at the end, in Jy/beam of a point; that of the best scale.
    stop_reason : str
        "threshold", "iterations", "negative component", "divergence", "nothing left" (no peak above
        0) or "empty mask".
    components : Components
    """

    model: np.ndarray
    residual: np.ndarray | None
    n_iterations: int
    peak: float
    stop_reason: str
    components: Components


def minor_cycle(residual: np.ndarray, psf: np.ndarray, mask: np.ndarray | None = None,
                settings: MinorSettings | None = None) -> MinorResult:
    """Components that explain a residual image.

    Parameters
    ----------
    residual : ndarray (term, m, l) or (m, l)
        Jy/beam, finite. Not changed.
    psf : ndarray (2 term − 1, m', l') or (m', l')
        Peak of the first, about 1, at (m'//2, l'//2); any size. Not changed.
    mask : ndarray (m, l) bool, optional
        True where components may lie; everywhere by default.
    settings : MinorSettings, optional

    Returns
    -------
    MinorResult

    Raises
    ------
    ImageError
        Shapes that do not belong together, values that are not finite, a psf without peak at its
        centre, terms that the psfs cannot tell apart, or no scale that the psf passes.
    """
    return MinorCycles()(residual, psf, mask, settings)


class MinorCycles:
    """`minor_cycle` again and again with one psf: what the psf makes of the scales is kept.

    Where the residual is not asked for, a cycle looks at the part of the image that holds the mask
    alone: components lie nowhere else, and no pixel outside has a say in which they are.
    """

    def __init__(self) -> None:
        self._psf: np.ndarray | None = None
        self._key: tuple = ()
        self._kept: tuple[scaling.Basis, np.ndarray] | None = None
        self._mask: np.ndarray | None = None
        self._share, self._allowed = 1.0, np.zeros((0, 0, 0), bool)

    def __call__(self, residual: np.ndarray, psf: np.ndarray, mask: np.ndarray | None = None,
                 settings: MinorSettings | None = None) -> MinorResult:
        """As `minor_cycle`."""
        settings = settings or MinorSettings()
        residual, checked, mask = _checked(residual, psf, mask, settings)
        if not mask.any():
            return _result(residual, _Taken(residual.shape, 1, 0), (0.0,), [np.ones((1, 1))], 0.0,
                           "empty mask", residual)
        box = _box_of(mask, settings)
        part, allowed = residual[:, box[0], box[1]], mask[box]
        if settings.algorithm == "clark":
            found = _clark(part, checked, allowed, settings)
        else:
            basis, reach = self._basis(psf, checked, part.shape[1:], settings)
            found = _tiles(part, checked, self._masks(allowed, basis, settings.mask_share), settings,
                           basis, reach)
        return found if part.shape == residual.shape else _embedded(found, residual.shape, box)

    def _basis(self, psf: np.ndarray, checked: np.ndarray, shape: tuple[int, ...],
               settings: MinorSettings) -> tuple[scaling.Basis, np.ndarray]:
        """Smoothed psfs, and between which tiles they reach."""
        key = (shape, settings.scales, settings.n_terms, settings.patch, settings.precision)
        if self._kept is None or psf is not self._psf or key != self._key:
            basis = scaling.make_basis(checked, shape, settings.scales, settings.n_terms,
                                       settings.patch, np.dtype(settings.precision),
                                       settings.threads)
            tiles = tuple(-(-n // kernels.TILE) for n in shape)
            self._psf, self._key = psf, key
            self._kept = basis, scaling.reach(basis, tiles, settings.n_terms)
            self._mask = None
        return self._kept

    def _masks(self, mask: np.ndarray, basis: scaling.Basis, share: float) -> np.ndarray:
        """Where each scale may have its centre, (scale, m, l)."""
        if self._mask is None or self._share != share or not np.array_equal(mask, self._mask):
            self._mask, self._share = mask.copy(), share
            self._allowed = np.stack([scaling.mask_of_scale(mask, k, share) for k in basis.shapes])
        return self._allowed


def _box_of(mask: np.ndarray, settings: MinorSettings) -> tuple[slice, slice]:
    """Rows and columns that hold the mask and every pixel of components in it; all where the residual is wanted."""
    if settings.with_residual:
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    # With all of a scale in the mask nothing beyond it is looked at.
    more = 0 if settings.mask_share == 1 else int(np.ceil(max(settings.scales)))
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    row, column = (slice(max(int(at[0]) - more, 0), min(int(at[-1]) + 1 + more, n))
                   for at, n in zip((rows, columns), mask.shape, strict=True))
    return row, column


def _embedded(found: MinorResult, shape: tuple[int, ...],
              box: tuple[slice, slice]) -> MinorResult:
    """What was found in a part of an image of that shape, of the whole."""
    model = np.zeros(shape)
    model[:, box[0], box[1]] = found.model
    parts = found.components
    return replace(found, model=model, components=replace(
        parts, m=parts.m + box[0].start, l=parts.l + box[1].start))


def _checked(residual, psf, mask, settings):
    residual, psf = (np.asarray(a)[None] if np.ndim(a) == 2 else np.asarray(a)
                     for a in (residual, psf))
    n = settings.n_terms
    if residual.ndim != 3 or residual.shape[0] != n or 0 in residual.shape:
        raise ImageError(f"the residual has shape {residual.shape}; with n_terms = {n} CLEAN "
                         f"wants ({n}, m, l)")
    if psf.ndim != 3 or psf.shape[0] < 2 * n - 1 or 0 in psf.shape:
        raise ImageError(f"the psf has shape {psf.shape}; with n_terms = {n} CLEAN wants "
                         f"({2 * n - 1}, m', l')")
    psf = psf[: 2 * n - 1]
    mask = np.ones(residual.shape[1:], bool) if mask is None else np.asarray(mask)
    if mask.shape != residual.shape[1:]:
        raise ImageError(f"the mask has shape {mask.shape}, the residual {residual.shape[1:]}; "
                         "make the mask on the image's grid")
    for what, array in (("residual", residual), ("psf", psf)):
        bad = array.size - np.count_nonzero(np.isfinite(array))
        if bad:
            raise ImageError(f"the {what} has {bad} pixels that are not finite; CLEAN needs "
                             "numbers: set blank ones to 0 and mask them")
    centre = psf.shape[1] // 2, psf.shape[2] // 2
    peak = np.unravel_index(np.argmax(np.abs(psf[0])), psf.shape[1:])
    if not psf[0][centre] > 0 or abs(psf[0][peak]) > psf[0][centre]:
        raise ImageError(f"the psf's largest value {psf[0][peak]:g} lies at pixel ({peak[0]}, "
                         f"{peak[1]}); CLEAN wants it, positive, at the centre {centre}")
    return residual.astype(np.float64, copy=False), psf, mask.astype(bool, copy=False)


class _Taken:
    """Components in the order taken, in arrays that grow.

    The kernels' text says what each holds.
    """

    def __init__(self, shape: tuple[int, ...], n_scales: int, most: int) -> None:
        size = max(1, min(most, 4096))
        self.taken = np.zeros(size, np.int64)
        self.flux = np.zeros((size, shape[0]))
        self.place = np.zeros((3, size), np.int64)
        # Pages that are never touched take no memory.
        self.place_of = np.zeros((n_scales, *shape[1:]), np.int32)
        self.counts = np.zeros(2, np.int64)

    def grow(self) -> None:
        n = self.taken.size
        self.taken = np.concatenate([self.taken, np.zeros(n, np.int64)])
        self.flux = np.concatenate([self.flux, np.zeros_like(self.flux)])
        self.place = np.concatenate([self.place, np.zeros_like(self.place)], axis=1)

    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.taken, self.flux, self.place, self.place_of, self.counts

    @property
    def n(self) -> int:
        return int(self.counts[kernels.N_TAKEN])

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Places (3, place) and the flux of each (place, term)."""
        n = int(self.counts[kernels.N_PLACES])
        taken, flux = self.taken[: self.n], self.flux[: self.n]
        total = [np.bincount(taken, weights=flux[:, t], minlength=n) for t in range(flux.shape[1])]
        return np.ascontiguousarray(self.place[:, :n]), np.stack(total, axis=1)

    def model(self, shapes: list[np.ndarray], image_shape: tuple[int, ...]) -> np.ndarray:
        model = np.zeros(image_shape)
        place, total = self.totals()
        for s, shape in enumerate(shapes):
            kernels.stamp(shape, s, place, total, model)
        return model


def _result(dirty, found, scales, shapes, peak, reason, residual):
    place, total = found.totals()
    components = Components(place[1], place[2], np.asarray(scales, np.float64)[place[0]], total)
    return MinorResult(found.model(shapes, dirty.shape), residual, found.n, float(peak), reason,
                       components)


def _clark(dirty, psf, mask, settings):
    """Clark's CLEAN; see the module's text."""
    dtype, both, point = np.dtype(settings.precision), settings.negative != "skip", [
        np.ones((1, 1))]
    exact = scaling.Convolution(dirty, psf, dtype, settings.threads)
    half = settings.patch or max(dirty.shape)
    patch, top = np.ascontiguousarray(scaling.odd_middle(psf[0], (half, half)),
                                      dtype), float(psf[0].max())
    outside = scaling.outside(psf[0], (half, half)) / top
    found, current, floor = _Taken(dirty.shape, 1, settings.most_iterations), dirty, np.inf
    while True:
        work = current[0].astype(dtype)
        peak = _peak(work, mask, both)
        reason = _stop(peak, found.n, floor, settings)
        if reason is None:
            floor = min(floor, peak)
            limits = _limits(settings, outside, peak)
            limits[1] = max(settings.threshold, _LIST_FLOOR * peak)
            reason, peak = _clark_stage(work, mask, patch, settings.gain / top, limits, found,
                                        settings)
            if settings.with_residual or reason == kernels.STAGE:
                current = exact.residual(found.model(point, dirty.shape))
                if reason in (kernels.STAGE, kernels.THRESHOLD, kernels.NOTHING):
                    # Pixels that were not on the list may have risen.
                    continue
        return _result(dirty, found, (0.0,), point, peak, _REASONS[reason],
                       current if settings.with_residual else None)


def _limits(settings, outside, peak):
    """What the loops stop at, for a stage that begins with this peak.

    See `clean_kernels.tile_loop`.

    What a patch leaves out of N sources of flux F is of the order of F √N times the largest |psf|
    outside. With the sum of the fluxes taken, gain Σ, and the peak P that the stage began with,
    that is outside √(P gain Σ), at which the stage ends.
    """
    return np.array([settings.threshold, 0.0, _DIVERGENCE, np.inf,
                     outside**2 * settings.gain * peak, 0.0])


def _stop(peak, n, floor, settings):
    """Why not to begin with this peak, or None."""
    if not peak > 0:
        return kernels.NOTHING
    if peak <= settings.threshold:
        return kernels.THRESHOLD
    if n >= settings.most_iterations:
        return kernels.ITERATIONS
    return kernels.DIVERGING if peak > _DIVERGENCE * floor else None


def _clark_stage(image, mask, patch, amplitude, limits, found, settings):
    """Components from the pixels of image (m, l) above the limit of the stage; (reason, peak).

    Lists nest: the loop sees the pixels above a share of the peak alone, and when these are down to
    it, what was taken goes off the long list, a place at a time instead of an iteration at a time.
    """
    both, nowhere = settings.negative != "skip", np.zeros(0, np.int64)
    limit = limits[1]
    n = kernels.gather(image, mask, limit, both, nowhere, nowhere, np.zeros(0, image.dtype),
                       nowhere)
    rows, cols, values = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, image.dtype)
    kernels.gather(image, mask, limit, both, rows, cols, values,
                   np.empty(image.shape[0] + 1, np.int64))
    everywhere, floor = np.ones(n, bool), np.inf
    while True:
        peak = _peak(values, everywhere, both)
        reason = _stop(peak, found.n, floor, settings)
        if reason is None and (peak <= limit or peak * peak <= limits[4] * limits[5]):
            reason = kernels.STAGE
        if reason is not None:
            return reason, peak
        floor, before = min(floor, peak), found.n
        limits[1], limits[3] = max(limit, _NESTED * peak), np.inf
        high = np.flatnonzero((np.abs(values) if both else values) > limits[1])
        reason, peak = _short_list(values[high], rows[high], cols[high], image.shape[0], patch,
                                   amplitude, limits, found, settings)
        if reason in (kernels.NEGATIVE, kernels.ITERATIONS, kernels.DIVERGING):
            return reason, peak
        new, index = np.unique(found.taken[before : found.n], return_inverse=True)
        total = np.bincount(index, weights=found.flux[before : found.n, 0])
        kernels.list_subtract(values, rows, cols, patch, found.place[:, new], total)


def _short_list(values, rows, cols, n_rows, patch, amplitude, limits, found, settings):
    """Components from a list of pixels until none exceeds the limit; (reason, peak)."""
    row_start = np.searchsorted(rows, np.arange(n_rows + 1))
    peaks = np.empty(-(-values.size // kernels.RUN), values.dtype)
    while True:
        reason, peak = kernels.list_loop(values, rows, cols, row_start, patch, amplitude, peaks,
                                         *found.arrays(), limits, _SIGNS[settings.negative],
                                         settings.most_iterations)
        if reason != kernels.FULL:
            return reason, peak
        found.grow()


def _peak(image, mask, both_signs):
    """Largest |value|, or value, of image (m, l) in the mask."""
    values = image[mask]
    return float(max(values.max(), -values.min() if both_signs else -np.inf))


class _Tiles:
    """State of the loop over tiles: smoothed residuals, bounds, tables.

    See the text of the kernels.
    """

    def __init__(self, image_shape: tuple[int, ...], basis: scaling.Basis, reach: np.ndarray,
                 masks: np.ndarray, settings: MinorSettings) -> None:
        n_scales = len(basis.scales)
        self.basis, self.settings = basis, settings
        self.found = _Taken(image_shape, n_scales, settings.most_iterations)
        self.mask = masks
        tiles = tuple(-(-n // kernels.TILE) for n in image_shape[1:])
        self.bound, self.row_bound = np.empty((n_scales, *tiles)), np.empty((n_scales, tiles[0]))
        self.upto = np.zeros((2, *self.bound.shape), np.int64)
        self.reach = reach
        self.solve = settings.gain * np.linalg.inv(basis.hessian)
        bias = 1 - settings.scale_bias * np.array(basis.scales) / max(*basis.scales, 1.0)
        # In units in which points have the residual's own value, whatever the psf's peak.
        self.select = bias * np.sqrt(basis.top / basis.hessian[:, 0, 0])

    def load(self, residual: np.ndarray) -> float:
        """Begin with a residual (term, m, l) that holds all components taken so far; its peak."""
        self.residual = scaling.smooth(residual, self.basis.shapes,
                                       np.dtype(self.settings.precision), self.settings.threads)
        self.upto[:] = self.found.n
        both = self.settings.negative != "skip"
        kernels.tile_bounds(self.residual, self.mask, self.select, both, self.bound, self.row_bound)
        return float(self.bound.max())

    def run(self, limits: np.ndarray, most_work: float) -> tuple[int, float]:
        """Take components; (reason, peak)."""
        while True:
            reason, peak = kernels.tile_loop(self.residual, self.basis.stack, self.basis.pair,
                                             self.reach, self.solve, self.select, self.mask,
                                             self.bound, self.row_bound, self.upto,
                                             *self.found.arrays(), limits,
                                             _SIGNS[self.settings.negative],
                                             self.settings.most_iterations, most_work)
            if reason != kernels.FULL:
                return reason, peak
            self.found.grow()

    def settled(self) -> np.ndarray:
        """Residual (term, m, l) of a loop over points, all of it brought up to date."""
        taken, flux, place, _, counts = self.found.arrays()
        kernels.settle_all(self.residual, self.basis.stack, self.basis.pair, self.upto, taken, flux,
                           place, counts)
        return self.residual[0].astype(np.float64)


def _tiles(dirty, psf, masks, settings, basis, reach):
    """Högbom's, multiscale and multi-term CLEAN; see the module's text."""
    dtype, threads = np.dtype(settings.precision), settings.threads
    exact = scaling.Convolution(dirty, psf, dtype, threads)
    tiles = _Tiles(dirty.shape, basis, reach, masks, settings)
    found, outside, floor = tiles.found, basis.outside, np.inf
    most_work = max(exact.cost * (1 + len(basis.scales)) / 2 / settings.n_terms, 1000.0)
    current, have, peak = dirty, 0, tiles.load(dirty)
    limits = _limits(settings, outside, peak)
    while True:
        if outside and peak > _DIVERGENCE * floor:
            reason = kernels.DIVERGING
            break
        floor = min(floor, peak)
        if outside:
            limits = _limits(settings, outside, peak)
        reason, peak = tiles.run(limits, most_work)
        again = reason in (kernels.LAGGING, kernels.STAGE)
        if outside and settings.with_residual and reason in (kernels.THRESHOLD, kernels.NOTHING):
            # The patch has left things out: look once more with all of the psf.
            again = found.n > have
        if not again:
            break
        current, have = exact.residual(found.model(basis.shapes, dirty.shape)), found.n
        peak = tiles.load(current)
    if settings.with_residual and found.n > have:
        points = len(basis.shapes) == 1 and basis.shapes[0].size == 1
        settle_cost = float(found.counts[kernels.N_PLACES]) * tiles.bound.size * settings.n_terms**2
        cheap = points and not outside and settle_cost < exact.cost
        current = tiles.settled() if cheap else exact.residual(
            found.model(basis.shapes, dirty.shape))
    residual = current if settings.with_residual else None
    return _result(dirty, found, basis.scales, basis.shapes, max(peak, 0.0), _REASONS[reason],
                   residual)
