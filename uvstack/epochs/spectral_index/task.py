"""`uvstack.epochs.alpha`: Taylor terms of several epochs in, a map of the spectral index out.

Both terms are combined alike, with the weights of tt0, and α is the ratio of the combined terms
(VLASS memo 26, section 6.2.3). With weights of its own, as the memo may have them, tt1 is another
average over epochs than tt0, and α of a source that varies is wrong.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from uvstack.checks import finite_number, thread_count
from uvstack.chunks import cluster, map_chunks
from uvstack.epochs.combination.chain_files import (
    DEFAULT_BOX,
    Plan,
    bring_together,
    noise_of,
    plan_of,
    planes_for,
    scales_of,
)
from uvstack.epochs.combination.noise import Noise, rows_of
from uvstack.epochs.combination.options import CombineOptions
from uvstack.epochs.combination.task import cards_of, dates_of
from uvstack.epochs.spectral_index.ratio import noise_correlation, spectral_index
from uvstack.epochs.spectral_index.result import AlphaResult
from uvstack.errors import ImageError, SelectionError
from uvstack.io.fits import write_image
from uvstack.io.output import check_output, together
from uvstack.io.provenance import provenance_of
from uvstack.options import takes
from uvstack.report.files import check_asked, write_asked

#: Of each epoch, of tt0 and of tt1.
_Noises = tuple[Sequence[Noise | None], Sequence[Noise | None]]
#: Pixels of all epochs that are worked on at once.
_STRIP = 2_000_000


@together()
@takes
def alpha(tt0: Sequence[str | Path], tt1: Sequence[str | Path], *, snr: float = 5.0,
          out: str | Path | None = None, **options: Unpack[CombineOptions]) -> AlphaResult:
    """Map of the spectral index of epochs that were combined, and those of the single epochs.

    Parameters
    ----------
    tt0, tt1 : sequence of path
        Images of both Taylor terms, in the same order.
    snr : float
        Pixels are blank where tt0 is below so many times its noise.
    out : path, optional
        FITS image of α with its error in the extension ERROR; the epochs' own, in the common beam,
        stand beside it: alpha.fits, alpha-NAME.fits.

    Returns
    -------
    AlphaResult
        `alpha` and `error` are arrays (m, l), `epochs` has those of the epochs.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> a = uvstack.epochs.alpha(["e1.tt0.fits", "e2.tt0.fits"], ["e1.tt1.fits", "e2.tt1.fits"])
    """
    asked = {**locals(), **options}
    thread_count(options["threads"])
    first, second = ([Path(one) for one in several] for several in (tt0, tt1))
    if len(first) != len(second):
        raise SelectionError(f"{len(first)} images of tt0 and {len(second)} of tt1; wanted is as "
                             "many, in the same order")
    snr = finite_number("snr", snr, 0.0, above=True)
    check_asked(AlphaResult, options)
    plan = plan_of(first, options)
    paths = {} if out is None else _paths_of(out, plan)
    for path in paths.values():
        check_output(path, options["overwrite"], inputs=tuple(map(str, (*first, *second))))
    other = _plan_of_tt1(plan, second, {**options, **scales_of(first, options),
                                        "reference": first.index(Path(plan.reference.path))})
    provenance = provenance_of({k: v for k, v in asked.items() if k not in ("tt0", "tt1", "report")},
                               tt0=[str(path) for path in first], tt1=[str(path) for path in second])
    n = len(plan.epochs)
    with planes_for(2 * n, plan.grid.shape, None if out is None else Path(out)) as planes:
        with cluster(options["workers"], options["scheduler"]) as client:
            for one, half in ((plan, planes[:n]), (other, planes[n:])):
                bring_together(one, half, client=client, threads=options["threads"],
                               progress=options["progress"])
        result = _ratios(plan, planes, snr, provenance, options["threads"])
        if out is not None:
            _write(result, plan, noise_of(plan, planes[:n]), paths)
            result = dataclasses.replace(result, paths=paths)
    return write_asked(result, options)


def _plan_of_tt1(plan: Plan, paths: Sequence[Path], options: dict) -> Plan:
    """Plan for the second terms: the target and the grid of the first."""
    other = plan_of(paths, options, target=plan.target.beam)
    if len(other.epochs) != len(plan.epochs):
        raise ImageError("the beams of tt1 differ from those of tt0; wanted are both terms of the "
                         "same imaging")
    for one, two in zip(plan.epochs, other.epochs, strict=True):
        if abs(np.subtract(one.beam[:2], two.beam[:2])).max() > 0.01 * one.beam[1]:
            raise ImageError(f"{two.path}: its beam is not that of {one.path}; wanted are both "
                             "Taylor terms of the same imaging, in the same order")
    return dataclasses.replace(other, grid=plan.grid, target=plan.target, reference=plan.reference)


def _ratios(plan: Plan, planes: NDArray[np.float32], snr: float, provenance: object,
            threads: int | None) -> AlphaResult:
    n, shape = len(plan.epochs), plan.grid.shape
    # What is blank in one term counts in neither.
    for k in range(n):
        blank = ~(np.isfinite(planes[k]) & np.isfinite(planes[n + k]))
        planes[k][blank] = planes[n + k][blank] = np.nan
    noise0, noise1 = noise_of(plan, planes[:n]), noise_of(plan, planes[n:])
    weights = (noise0, noise1) if plan.memo else (noise0, noise0)
    if plan.memo:
        # The memo's noise holds the source: good for its weights, not for errors.
        honest = dataclasses.replace(plan, noise="masked", box=DEFAULT_BOX)
        noise0, noise1 = noise_of(honest, planes[:n]), noise_of(honest, planes[n:])
    rows = max(1, _STRIP // (2 * n * shape[1]))
    strips = [slice(i, min(i + rows, shape[0])) for i in range(0, shape[0], rows)]
    terms = np.empty((4, *shape), np.float32)
    map_chunks(_combined, (plan, planes, weights, (noise0, noise1)), strips,
               lambda index, made: terms.__setitem__((slice(None), strips[index]), made), None,
               threads)
    step = max(1, int(np.sqrt(shape[0] * shape[1] / 500_000)))
    thin = (slice(None, None, step),) * 2
    rho = noise_correlation(*(term[thin] for term in terms))
    combined = spectral_index(terms[0], terms[1], terms[2], terms[3], rho, snr)
    singles = {}
    for k, epoch in enumerate(plan.epochs):
        own0, own1 = noise0[k], noise1[k]
        if own0 is None or own1 is None:
            continue
        rms = [rows_of(one, 0, shape[0]) for one in (own0, own1)]
        own = noise_correlation(planes[k][thin], rms[0][thin], planes[n + k][thin], rms[1][thin])
        singles[epoch.name] = spectral_index(planes[k], rms[0], planes[n + k], rms[1], own, snr)
    return AlphaResult(combined[0], combined[1], singles, terms[0], terms[1],
                       plan.grid.image.wcs, plan.target.beam, snr, rho,
                       plan.reference.frequency, {}, provenance)  # type: ignore[arg-type]


def _combined(job: tuple[Plan, NDArray[np.float32], _Noises, _Noises],
              strip: slice) -> NDArray[np.float32]:
    """tt0, its noise, tt1, its noise of a strip, (4, m, l); the noise by which both are weighed, then their own."""
    plan, planes, weights, noise = job
    n = len(plan.epochs)
    held = np.asarray(planes[:, strip], np.float64)
    sigmas, owns = ([np.stack([np.full(held.shape[1:], np.nan) if one is None else
                               rows_of(one, strip.start, strip.stop).astype(float)
                               for one in term]) for term in both] for both in (weights, noise))
    made = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for term, sigma, own in zip((held[:n], held[n:]), sigmas, owns, strict=True):
            weight = np.where(np.isfinite(term) & (sigma > 0) & (own > 0), sigma**-2.0, 0.0)
            total = weight.sum(axis=0)
            few = (weight > 0).sum(axis=0) < plan.minimum
            used = weight > 0
            mean = np.where(used, weight * np.where(used, term, 0.0), 0.0).sum(axis=0) / total
            spread = np.sqrt(np.where(used, (weight * np.where(used, own, 0.0)) ** 2,
                                      0.0).sum(axis=0)) / total
            made += [np.where(few, np.nan, mean), np.where(few, np.nan, spread)]
    return np.stack(made).astype(np.float32)


def _paths_of(out: str | Path, plan: Plan) -> dict[str, Path]:
    """Files of the combination, "alpha", and of the epochs by their names."""
    path = Path(out)
    if path.suffix.lower() not in (".fits", ".fit", ".fts"):
        raise ImageError(f"{out}: maps of the spectral index are FITS images; give a name that "
                         "ends in .fits")
    names = [re.sub(r"[^\w.+-]", "_", epoch.name) for epoch in plan.epochs]
    return {"alpha": path} | {epoch.name: path.with_name(f"{path.stem}-{name}{path.suffix}")
                              for epoch, name in zip(plan.epochs, names, strict=True)}


def _write(result: AlphaResult, plan: Plan, noise: Sequence[Noise | None],
           paths: dict[str, Path]) -> None:
    maps = {"alpha": (result.alpha, result.error), **result.epochs}
    alone = {epoch.name: (dataclasses.replace(plan, epochs=(epoch,), used=(used,)), [one])
             for epoch, used, one in zip(plan.epochs, plan.used, noise, strict=True)}
    for name, (index, error) in maps.items():
        made_of = alone.get(name, (plan, noise))
        cards = cards_of(*made_of) | {"SNRMIN": result.snr, "NOISECOR": result.correlation}
        write_image(paths[name], index, result.wcs, unit="", beams=result.beam,
                    date=dates_of(made_of[0])[0], frequency=result.frequency,
                    four_axes=plan.four_axes, cards=cards,
                    stokes=(plan.reference.image.stokes or 1,), spectral_frame="",
                    beside={"ERROR": (error, "")})
