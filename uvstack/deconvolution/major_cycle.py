"""Major cycles: CLEAN against the exact residual, whatever that is made of.

Minor cycles subtract shifted copies of the psf and so gather errors: of the psf's cut edges, of
gridding, of a w term that changes over the field. A major cycle stops them in time and computes the
residual of the whole model afresh (Clark 1980, Cotton & Schwab in Schwab 1984). Nothing here knows
visibilities: `residual_of(model)` is any function that is linear in the model, and `minor` any
deconvolver of (residual, psf, mask).

How deep minor cycles go. In one cycle they may go down to

    max(threshold, peak × min(max(cycle_factor × sidelobe, 0.05), 0.8)),

as CASA documents it (cyclethreshold, minpsffraction, maxpsffraction): below the highest sidelobe of
what was brightest, the residual is not to be trusted. `sidelobe` is the largest |psf| outside the
main lobe; CASA takes the same of the psf less its fitted beam, which differs where the main lobe
has broad skirts.

When it stops. Each cycle is judged on its exact residual: the peak |residual| of term 0 within the
mask against the larger of `threshold` and `threshold_sigma` times the noise. Where the minor cycle
before went down to that threshold, a peak up to `tolerance` above it counts as reached: what the
exact residual shows more is what the psf alone does not know, and cycles for a handful of such
pixels cost as much as the first ones (WSClean stops at that point whatever the peak, tclean never).
Else 1 % is allowed, for rounding. The names of the other ends are in `STOP_REASONS`. Divergence:
not finite, or the rms or the peak over all usable pixels has grown past `divergence` times their
least so far, or the rms has risen in three cycles in a row; then the cycle of least rms is given
back. A clean that stops otherwise gives its last cycle.

Cost: one `residual_of` per cycle and two copies of the model and the residual in memory, for the
best cycle is kept.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray

from uvstack.deconvolution.clean import Components, MinorCycles, MinorSettings
from uvstack.deconvolution.mask import AutoMask, automatic_mask, checked_mask
from uvstack.errors import ImageError, UvstackWarning
from uvstack.pixels.noise import robust_noise
from uvstack.pixels.psf import fit_beam, half_power_lobe
from uvstack.sky.beam import Beam

_LOG = logging.getLogger(__name__)

#: Every way to end, and what it means.
STOP_REASONS = {
    "threshold reached": "the peak in the mask is at the threshold in Jy/beam or below",
    "threshold in σ reached": "the peak in the mask is at the threshold in units of the noise or below",
    "no iteration asked for": "the dirty image alone was wanted",
    "flux settled": "a cycle changed the flux of the model by less than was asked for",
    "iterations used up": "as many components as allowed were subtracted",
    "cycles used up": "as many major cycles as allowed were done",
    "diverged": "the residual grew; the best cycle is given back",
    "nothing in the mask": "no usable pixel is in the mask",
    "no progress": "minor cycles found nothing more to subtract, or two major cycles changed neither peak nor rms",
}
#: Least and largest part of the peak that one cycle goes down to.
SMALLEST_PSF_FRACTION, LARGEST_PSF_FRACTION = 0.05, 0.8
#: A peak this little above the threshold has reached it, whatever came before.
_ROUNDING = 0.01
#: Peak and rms that both fall by less than this stand still.
_STANDSTILL = 1e-3
#: So many cycles of standstill end the clean.
_CYCLES_OF_STANDSTILL = 2
#: So many rises of the rms in a row are a divergence.
_RISES = 3
#: A rise of the rms smaller than this is rounding.
_LEAST_RISE = 1e-4
#: Below this part of its first value a residual may wander: single precision and gridding end
#: there.
_FLOOR = 1e-5


@dataclass(frozen=True)
class CleanSettings:
    """How deep to clean and how.

    Attributes
    ----------
    threshold : float
        Jy/beam; 0 for none.
    threshold_sigma : float
        In units of the residual's robust noise; 0 for none.
    gain : float
        Part of the peak that one iteration takes, above 0, at most 1.
    cycle_factor : float
        How far below the psf's highest sidelobe one cycle stays, see the module; above 0.
    most_cycles : int
        Major cycles; with 0 the dirty image comes back.
    most_iterations : int
        Components in all cycles together.
    iterations_per_cycle : int or None
        Components in one cycle; None: no limit of its own.
    flux_change : float
        Part of the model's flux that a cycle must change, or the clean ends; 0 for none.
    algorithm : str
        Of the minor cycle: "hogbom", "clark", "multiscale" or "mtmfs"; several terms want the last.
    scales : tuple of float
        Pixels, for multiscale and mtmfs; 0 is a point.
    scale_bias : float
    negative : str
        "allow", "skip" or "stop"; with "skip" only positive peaks are held against the threshold.
    patch : int or None
        The three as in `uvstack.deconvolution.clean.MinorSettings`.
    automask : AutoMask or None
        An automatic mask, renewed in every cycle, within the mask given.
    tolerance : float
        How far above the threshold, as part of it, the exact residual may peak once a minor cycle
        has reached it.
    divergence : float
        Growth of rms or peak over their least so far at which to stop; above 1.
    """

    threshold: float = 0.0
    threshold_sigma: float = 0.0
    gain: float = 0.1
    cycle_factor: float = 1.0
    most_cycles: int = 20
    most_iterations: int = 100_000
    iterations_per_cycle: int | None = None
    flux_change: float = 0.0
    algorithm: str = "clark"
    scales: tuple[float, ...] = (0.0,)
    scale_bias: float = 0.0
    negative: str = "allow"
    patch: int | None = None
    automask: AutoMask | None = None
    tolerance: float = 0.2
    divergence: float = 1.5

    def __post_init__(self) -> None:
        limits = {"threshold": (0, True), "threshold_sigma": (0, True), "gain": (0, False),
                  "cycle_factor": (0, False), "most_cycles": (0, True),
                  "most_iterations": (0, True), "tolerance": (0, True), "divergence": (1, False),
                  "flux_change": (0, True)}
        for name, (least, included) in limits.items():
            value = getattr(self, name)
            if not (np.isfinite(value) and (value >= least if included else value > least)):
                raise ImageError(f"clean: {name} is {value}; wanted is a number "
                                 f"{'of at least' if included else 'above'} {least}")
        if self.gain > 1:
            raise ImageError(f"clean: gain is {self.gain}; wanted is at most 1, usually 0.1")
        if self.iterations_per_cycle is not None and self.iterations_per_cycle < 1:
            raise ImageError(f"clean: iterations_per_cycle is {self.iterations_per_cycle}; wanted "
                             "is at least 1, or None")
        # What the minor cycle would refuse is refused before the first, slow, dirty image.
        self.minor(self.threshold, self.most_iterations)

    def minor(self, threshold: float, most_iterations: int, n_terms: int = 1,
              threads: int = 1) -> MinorSettings:
        """What one minor cycle is told that may go down to a threshold with so many components."""
        return MinorSettings(algorithm=self.algorithm, gain=self.gain, threshold=threshold,
                             most_iterations=most_iterations, scales=self.scales, n_terms=n_terms,
                             scale_bias=self.scale_bias, negative=self.negative, patch=self.patch,
                             with_residual=False, threads=threads)


@dataclass(frozen=True)
class Cycle:
    """State after a number of major cycles; the first entry of a history is the dirty image.

    Attributes
    ----------
    cycle : int
        Major cycles done.
    iterations : int
        Components subtracted so far.
    peak : float
        Largest |residual| of term 0 in the mask, Jy/beam; with negative "skip" the largest
        residual.
    peak_anywhere : float
        Largest |residual| of term 0 over all usable pixels, masked or not, Jy/beam.
    rms : float
        Root mean square of all usable pixels of that residual, Jy/beam.
    noise : float
        Its robust noise, Jy/beam.
    flux : float
        Sum of the model's term 0, Jy.
    masked : int
        Pixels in the mask.
    threshold : float
        Down to which the minor cycle before this residual went, Jy/beam; NaN for the dirty image.
    minor_stop : str
        Why that minor cycle ended.
    """

    cycle: int
    iterations: int
    peak: float
    peak_anywhere: float
    rms: float
    noise: float
    flux: float
    masked: int
    threshold: float = float("nan")
    minor_stop: str = ""


@dataclass(frozen=True)
class Deconvolved:
    """What a deconvolution gives back.

    Attributes
    ----------
    model : ndarray (term, m, l)
        Jy/pixel, the start included.
    residual : ndarray (term, m, l)
        Exact residual of that model, Jy/beam.
    mask : ndarray (m, l) bool
        As last used.
    n_cycles, n_iterations : int
        Done in all, also where an earlier cycle is given back.
    stop_reason : str
        A key of `STOP_REASONS`.
    history : tuple of Cycle
    best_cycle : int
        Whose model this is; the last one but for a divergence.
    sidelobe : float
        Largest |psf| outside the main lobe, or what was given where it is larger.
    components : tuple of Components
        Those of the minor cycles up to the best one, in order; empty where `minor` gives none. What
        `start` held is not in them. `merge_components` makes one list of them.
    """

    model: NDArray
    residual: NDArray
    mask: NDArray[np.bool_]
    n_cycles: int
    n_iterations: int
    stop_reason: str
    history: tuple[Cycle, ...]
    best_cycle: int
    sidelobe: float
    components: tuple[Components, ...] = ()

    def table(self) -> QTable:
        """The history with units, a row for each cycle; the stop reason is in its `meta`."""
        jy = {"peak", "peak_anywhere", "rms", "noise", "threshold"}
        table = QTable()
        for f in fields(Cycle):
            values = [getattr(row, f.name) for row in self.history]
            unit = u.Jy / u.beam if f.name in jy else u.Jy if f.name == "flux" else None
            table[f.name] = values if unit is None else values * unit
        table.meta.update(stop_reason=self.stop_reason, best_cycle=self.best_cycle,
                          sidelobe=self.sidelobe)
        return table


def merge_components(parts: Sequence[Components]) -> Components:
    """One list of those of several cycles.

    Each pixel and scale once, with its flux summed, in order of m, l and scale.
    """
    if not parts:
        return Components(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0),
                          np.zeros((0, 1)))
    place = np.concatenate([np.stack([part.m, part.l, part.scale]).astype(np.float64)
                            for part in parts], axis=1)
    flux = np.concatenate([part.flux for part in parts])
    unique, which = np.unique(place, axis=1, return_inverse=True)
    total = np.zeros((unique.shape[1], flux.shape[1]))
    np.add.at(total, which.reshape(-1), flux)
    return Components(unique[0].astype(np.int64), unique[1].astype(np.int64), unique[2], total)


def sidelobe_level(psf: NDArray) -> float:
    """Largest |psf| outside the main lobe over the peak, 0 … 1.

    Parameters
    ----------
    psf : ndarray (m, l)
        Its peak is in the centre.

    Notes
    -----
    The main lobe is what hangs together with the centre above half power and all that is reached
    from there without climbing while the psf is positive: it ends at the first null or at the first
    valley. To start at half power keeps the bumps apart that the pixels make of a long and narrow
    ridge.
    """
    lobe, peak = half_power_lobe(psf)
    rows, columns = lobe.shape
    todo = list(zip(*(a.tolist() for a in np.nonzero(lobe)), strict=True))
    while todo:
        i, j = todo.pop()
        here = psf[i, j]
        for k in range(max(0, i - 1), min(rows, i + 2)):
            for n in range(max(0, j - 1), min(columns, j + 2)):
                if not lobe[k, n] and 0 < psf[k, n] <= here:
                    lobe[k, n] = True
                    todo.append((k, n))
    return float(np.abs(psf).max(where=~lobe, initial=0.0) / peak)


def cycle_threshold(peak: float, threshold: float, sidelobe: float, cycle_factor: float) -> float:
    """Down to which one minor cycle may go, in the unit of the peak; the formula of the module."""
    fraction = min(max(cycle_factor * sidelobe, SMALLEST_PSF_FRACTION), LARGEST_PSF_FRACTION)
    return max(threshold, fraction * peak)


def deconvolve(residual_of: Callable[[NDArray], NDArray], psf: NDArray, start: NDArray,
               settings: CleanSettings | None = None, *, dirty: NDArray | None = None,
               mask: NDArray | None = None, sidelobe: float = 0.0,
               minor: Callable[[NDArray, NDArray, NDArray, MinorSettings], Any] | None = None,
               progress: Callable[[Cycle], None] | None = None, threads: int = 1) -> Deconvolved:
    """Model, residual and history of a CLEAN of any residual function.

    Parameters
    ----------
    residual_of : callable
        Model (term, m, l) in Jy/pixel → residual (term, m, l) in Jy/beam, exact; it must not keep
        or change the model. Pixels that are not finite in the first residual are blank and stay
        out.
    psf : ndarray (2·term − 1, m', l')
        What `residual_of` answers to one pixel of −1 Jy, its peak in pixel (rows // 2, columns //
        2): 1 in term 0.
    start : ndarray (term, m, l)
        Model to begin with, mostly zeros; it is not changed.
    settings : CleanSettings, optional
    dirty : ndarray (term, m, l), optional
        `residual_of(start)`, where it is at hand: saves one call.
    mask : ndarray (m, l), optional
        Where components may be; by default everywhere. See
        `uvstack.deconvolution.mask.checked_mask`.
    sidelobe : float
        Highest sidelobe of what a source is seen as anywhere, 0 … 1, where psf is a mean of several
        and that of a place may be worse, as in a mosaic; taken where it is higher than psf's.
    minor : callable, optional
        As `uvstack.deconvolution.clean.minor_cycle`, the default: (residual, psf, mask,
        MinorSettings) → result with model, n_iterations and stop_reason.
    progress : callable, optional
        Told of each `Cycle` as it is done.
    threads : int
        For transforms in the minor cycle and the smoothing of the automatic mask.

    Returns
    -------
    Deconvolved

    Raises
    ------
    ImageError
        Shapes do not fit, the dirty image is blank everywhere, the psf is none, or the mask is of
        another grid.
    """
    settings, minor = settings or CleanSettings(), minor or MinorCycles()
    model = np.array(start)
    psf = np.asarray(psf)
    residual = np.asarray(residual_of(model) if dirty is None else dirty)
    _check_shapes(model, residual, psf)
    loop = _Loop(settings, psf, residual, mask, sidelobe, threads)
    while True:
        loop.note(model, residual)
        if progress is not None:
            progress(loop.history[-1])
        if loop.stop_reason:
            break
        minor_settings = loop.minor_settings(len(model))
        result = minor(np.where(loop.usable, residual, 0.0).astype(residual.dtype), psf, loop.mask,
                       minor_settings)
        loop.after_minor(result, minor_settings.threshold)
        if result.n_iterations == 0:
            loop.stop_reason = "no progress"
            break
        model = model + result.model
        residual = np.asarray(residual_of(model))
    last = loop.history[-1]
    _LOG.info("clean: %s after %d cycles and %d iterations, peak %.3g Jy/beam", loop.stop_reason,
              last.cycle, last.iterations, last.peak)
    if loop.stop_reason == "diverged":
        model, residual = loop.best
    best = loop.best_cycle if loop.stop_reason == "diverged" else last.cycle
    return Deconvolved(model, residual, loop.mask, last.cycle, last.iterations, loop.stop_reason,
                       tuple(loop.history), best, loop.sidelobe, tuple(loop.components[:best]))


def warn_of_divergence(found: Deconvolved, what: str) -> None:
    """Tell in a warning that a deconvolution diverged, and which of its models is given back; else nothing.

    Parameters
    ----------
    found : Deconvolved
    what : str
        Of the image, for the warning.
    """
    if found.stop_reason == "diverged":
        last, best = found.history[-1], found.history[found.best_cycle]
        warnings.warn(UvstackWarning(
            f"{what} diverged in cycle {last.cycle}: its residual has an rms of {last.rms:.3g} and "
            f"a peak of {last.peak_anywhere:.3g} Jy/beam; the model of cycle {best.cycle} is kept, "
            f"with {best.rms:.3g} and {best.peak_anywhere:.3g}: give a mask, a higher threshold, "
            "fewer iterations in a cycle or a smaller gain"), stacklevel=3)


def _check_shapes(model: NDArray, residual: NDArray, psf: NDArray) -> None:
    if model.ndim != 3 or residual.shape != model.shape:
        raise ImageError(f"a model of shape {model.shape} and a residual of {residual.shape}; "
                         "wanted are equal (term, m, l)")
    if psf.ndim != 3 or len(psf) < 2 * len(model) - 1:
        raise ImageError(f"a psf of shape {psf.shape} for {len(model)} terms; wanted is "
                         f"({2 * len(model) - 1}, m, l)")
    if not np.isfinite(residual).all(axis=0).any():
        raise ImageError("the dirty image is blank everywhere; wanted is one with finite pixels: "
                         "are all visibilities flagged?")


class _Loop:
    """What is remembered from cycle to cycle, and the judgement on each."""

    def __init__(self, settings: CleanSettings, psf: NDArray, dirty: NDArray, mask: NDArray | None,
                 sidelobe: float, threads: int) -> None:
        self.settings, self.threads = settings, threads
        self.usable = np.isfinite(dirty).all(axis=0)
        self.allowed = self.usable if mask is None else self.usable & checked_mask(
            mask, self.usable.shape)
        self.mask = self.allowed if settings.automask is None else np.zeros_like(self.usable)
        self.sidelobe = max(sidelobe, sidelobe_level(psf[0]))
        self.beam: Beam | None = None if settings.automask is None else fit_beam(psf[0], 1.0)
        self.history: list[Cycle] = []
        self.components: list[Components] = []
        self.best: tuple[NDArray, NDArray] = (dirty, dirty)
        self.best_cycle = 0
        self.n_iterations = 0
        self.stop_reason = ""
        self._still = 0
        self._minor: tuple[float, str] = (float("nan"), "")

    def note(self, model: NDArray, residual: NDArray) -> None:
        """Add a residual to the history, renew the mask, and say whether to stop."""
        flat = residual[0]
        finite = bool((np.isfinite(residual).all(axis=0) | ~self.usable).all())
        if finite and self.settings.automask is not None and self.beam is not None:
            self.mask = automatic_mask(flat, self.sidelobe, self.beam, self.settings.automask,
                                       self.mask, self.allowed, self.threads)
        magnitude = np.abs(flat)
        sought = flat if self.settings.negative == "skip" else magnitude
        rms = float(np.sqrt(np.mean(np.square(flat, dtype=np.float64), where=self.usable)))
        threshold, stop = self._minor
        self.history.append(Cycle(cycle=len(self.history), iterations=self.n_iterations,
                                  peak=float(sought.max(where=self.mask, initial=0.0)),
                                  peak_anywhere=float(magnitude.max(where=self.usable,
                                                                    initial=0.0)), rms=rms,
                                  noise=robust_noise(flat, self.mask),
                                  flux=float(model[0].sum(dtype=np.float64)),
                                  masked=int(np.count_nonzero(self.mask)), threshold=threshold,
                                  minor_stop=stop))
        if finite and (len(self.history) == 1 or rms < min(row.rms for row in self.history[:-1])):
            self.best, self.best_cycle = (model, residual), len(self.history) - 1
        self.stop_reason = self._judge(finite)

    def limit(self) -> tuple[float, str]:
        """The threshold that holds now, Jy/beam, and what reaching it is called."""
        in_sigma = self.settings.threshold_sigma * self.history[-1].noise
        if in_sigma > self.settings.threshold:
            return in_sigma, "threshold in σ reached"
        return self.settings.threshold, "threshold reached"

    def minor_settings(self, n_terms: int) -> MinorSettings:
        """What the next minor cycle is told."""
        s = self.settings
        left = s.most_iterations - self.n_iterations
        threshold = cycle_threshold(self.history[-1].peak, self.limit()[0], self.sidelobe,
                                    s.cycle_factor)
        return s.minor(threshold, min(left, s.iterations_per_cycle or left), n_terms, self.threads)

    def after_minor(self, result: Any, threshold: float) -> None:
        """Count what a minor cycle did."""
        self.n_iterations += result.n_iterations
        self._minor = (threshold, result.stop_reason)
        components = getattr(result, "components", None)
        if components is not None:
            self.components.append(components)

    def _judge(self, finite: bool) -> str:
        """Stop reason, or nothing to go on."""
        now, settings = self.history[-1], self.settings
        limit, reached = self.limit()
        if not finite:
            return "diverged"
        if settings.most_iterations == 0:
            return "no iteration asked for"
        if now.masked == 0:
            return "nothing in the mask"
        allowed = limit * (1.0 + max(settings.tolerance, _ROUNDING))
        was_reached = now.minor_stop == "threshold" and now.threshold <= allowed
        if now.peak <= (allowed if was_reached else limit * (1.0 + _ROUNDING)):
            return reached
        if self._has_diverged():
            return "diverged"
        if len(self.history) > 1 and settings.flux_change > 0 and abs(
                now.flux - self.history[-2].flux) < settings.flux_change * abs(now.flux):
            return "flux settled"
        if now.iterations >= settings.most_iterations:
            return "iterations used up"
        if now.cycle >= settings.most_cycles:
            return "cycles used up"
        return "no progress" if self._stands_still() else ""

    def _has_diverged(self) -> bool:
        for values in ([row.rms for row in self.history],
                       [row.peak_anywhere for row in self.history]):
            if values[-1] > max(self.settings.divergence * min(values), _FLOOR * values[0]):
                return True
        rms = [row.rms for row in self.history[-_RISES - 1:]]
        rises = [b > a * (1.0 + _LEAST_RISE) + _FLOOR * self.history[0].rms
                 for a, b in zip(rms[:-1], rms[1:], strict=True)]
        return len(rises) == _RISES and all(rises)

    def _stands_still(self) -> bool:
        if len(self.history) < 2:
            return False
        before, now = self.history[-2:]
        moved = any(abs(a - b) > _STANDSTILL * b
                    for a, b in ((now.peak, before.peak), (now.rms, before.rms)))
        self._still = 0 if moved or now.masked != before.masked else self._still + 1
        return self._still >= _CYCLES_OF_STANDSTILL
