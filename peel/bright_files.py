"""Models of the bright directions, fitted to the visibilities of each field and window.

Every field sees a bright source through another part of the beam, so its flux there and its
spectral index within the window, which the flank of the beam makes as steep as −20, are what the
antennas see: no beam is put in. With the index a fitted model was as good as the true one, without
it five times the noise remained (simulated mosaic), since one gain a window cannot follow it. A
source is a point unless χ² asks for more once each antenna has a gain (`peel.shapes`). The shape is
found in the fields and windows that see the source best; place, flux and index, and the fluxes of
several components, are then fitted in each. What the model loses in the width of channels and integrations belongs to it,
unless the data fit better without: those of a simulation may not be smeared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peel.directions import Direction
from peel.gains import LEAST_SNR, Cell, Gain
from peel.passes_files import Part, Passes
from peel.shapes import Seen, Shape, best_shape, with_fluxes
from peel.visits import Visit
from uvstack.chunks import map_batches
from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.errors import FitError, NoDataError, UvstackWarning
from uvstack.fitting.data.preparation import FitJob, written
from uvstack.fitting.model.model import make_model
from uvstack.fitting.options import antenna_numbers, directions_of
from uvstack.fitting.result import FitResult
from uvstack.fitting.task import fit, interval_of
from uvstack.sky.coordinates import direction_cosines, rotation_between

#: Spectral indices within a window that are believed.
_STEEPEST = 60.0
#: Beams by which a source may lie beside its place in the image.
_REACH = 0.5
#: Visibilities from which a shape is found at most, and the part of the best signal to noise from
#: which a visit says something of it.
_MOST_SEEN, _POOLED = 400_000, 0.2


@dataclass(frozen=True)
class BrightFit:
    """A bright direction as one field sees it in one window.

    Attributes
    ----------
    field, window : int
        Ids of the field and the data description.
    direction : int
        From 0.
    shape : Shape
    parameters, errors : tuple of float
        East and north of the direction's centre (arcsec) and flux (Jy, at `frequency`) of the first
        component, index.
    frequency : float
        Hz.
    reduced_chi_squared : float
    smeared : bool
        Whether the model loses what channels and integrations take of it.
    amplitude : float
        Root mean square of what baselines see of it, averaged over a scan, without noise, Jy. In a
        flank or near a null of the beam, where antennas see it differently, it is more than the
        flux.
    gain_snr : float
        Signal to noise that this gives an antenna and receptor in a scan.
    """

    field: int
    window: int
    direction: int
    shape: Shape
    parameters: tuple[float, ...]
    errors: tuple[float, ...]
    frequency: float
    reduced_chi_squared: float
    smeared: bool = True
    amplitude: float = 0.0
    gain_snr: float = 0.0

    @property
    def flux(self) -> float:
        """Of all components, Jy."""
        return self.parameters[2] * sum(self.shape.fluxes)

    @property
    def flux_error(self) -> float:
        """Of it, Jy."""
        return self.errors[2] * abs(sum(self.shape.fluxes))

    @property
    def signal_to_noise(self) -> float:
        """Of the flux, over an error that follows from the scatter."""
        return self.parameters[2] / self.errors[2] if self.errors[2] > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return asdict(self)


def read_fit(told: dict[str, Any]) -> BrightFit:
    """A fit as its `summary` says it."""
    shape: dict[str, Any] = {
        name: tuple(tuple(one) if isinstance(one, list) else one for one in values)
        for name, values in told["shape"].items()}
    return BrightFit(**{**told, "shape": Shape(**shape), "parameters": tuple(told["parameters"]),
                        "errors": tuple(told["errors"])})


def fit_direction(passes: Passes, column: str, number: int, direction: Direction, beam: float,
                  client: Any = None, threads: int | None = None,
                  fitted: Callable[[], None] | None = None,
                  radius: float | None = None) -> list[BrightFit]:
    """Fits of one direction in all fields and windows.

    Parameters
    ----------
    passes : Passes
        Apart, where there are many visits.
    column : str
        Without what else is known to be there.
    number : int
        Of the direction, from 0.
    direction : Direction
    beam : float
        FWHM of the image that the direction is from, rad.
    client, threads
        As of `uvstack.chunks.map_chunks`.
    fitted : callable, optional
        Called after each.
    radius : float, optional
        Within which points are added where what is left shows one, arcsec: once the field is known.
    """
    visits = [visit for visit in passes.visits if visit.n_good]
    job = _Fits(passes, column, number, direction.centre,
                _REACH * beam / ARCSEC)
    found: dict[int, BrightFit] = {}

    def take(index: int, one: BrightFit | None) -> None:
        if one is not None:
            found[index] = one
        if fitted is not None:
            fitted()

    with _quiet():
        map_batches(_fit_point, job, visits, take, client, threads)
        if not found:
            return []
        best = max(found, key=lambda index: found[index].signal_to_noise)
        plain = _fit_point(replace(job, smeared=False), visits[best])
        if plain is not None and plain.reduced_chi_squared < found[best].reduced_chi_squared:
            job = replace(job, smeared=False)
            map_batches(_fit_point, job, visits, take, client, threads)
        shape = _shape(job, found, visits, direction, radius)
        if shape != Shape():
            job = replace(job, shape=shape)
            map_batches(_fit_point, job, visits, take, client, threads)
        if len(shape.models) > 1:
            several = [(index, (visits[index], one)) for index, one in sorted(found.items())]
            map_batches(_with_own_fluxes, job, [one for _, one in several],
                        lambda number, one: take(several[number][0], one), client, threads)
    return [found[index] for index in sorted(found)]


@dataclass(frozen=True, eq=False)
class _Fits:
    """What fits of a direction share."""

    passes: Passes
    column: str
    direction: int
    centre: tuple[float, float]
    reach: float
    shape: Shape = Shape()
    smeared: bool = True


class _quiet(warnings.catch_warnings):
    """Without the warnings of fits that look far beside where the antennas do: they are meant to."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore", UvstackWarning)
        return entered


def _fit(job: _Fits, visit: Visit, **model: Any) -> FitResult:
    """A fit of one visit."""
    spw = visit.window.spw
    found = fit(job.passes.of(visit).structure.path, **model, column=job.column, field=visit.field.id, spw=spw.id, stokes="I",
                phase_centre=job.centre, nu0=spw.central_frequency, threads=1,
                bandwidth_smearing=job.smeared, time_smearing=job.smeared)
    assert isinstance(found, FitResult)
    return found


def _fit_point(job: _Fits, visit: Visit) -> BrightFit | None:
    """The shape's place, flux and index; None where nothing can be fitted."""
    has_index = visit.window.shape[0] > 1
    start, reach = [0.0, 0.0, 0.1] + [0.0] * has_index, [-job.reach, job.reach]
    bounds = [reach, reach, None] + [[-_STEEPEST, _STEEPEST]] * has_index
    try:
        found = _fit(job, visit, model=list(job.shape.models),
                     var=list(job.shape.variables(has_index)), p_ini=start, bounds=bounds)
    except (FitError, NoDataError):
        return None
    parameters, errors = found.parameters.tolist(), found.errors.tolist()
    if not has_index:
        parameters, errors = [*parameters, 0.0], [*errors, 0.0]
    if not np.isfinite([*parameters, errors[2]]).all():
        return None
    errors = [one if np.isfinite(one) else 0.0 for one in errors]
    return BrightFit(visit.field.id, visit.window.id, job.direction, job.shape, tuple(parameters),
                     tuple(errors), visit.window.spw.central_frequency,
                     found.reduced_chi_squared, job.smeared)


def _shape(job: _Fits, found: Mapping[int, BrightFit], visits: Sequence[Visit],
           direction: Direction, radius: float | None) -> Shape:
    """The simplest shape that the fields and windows which see a source best do not contradict."""
    ra, dec, flux = (np.array(column) for column in zip(*direction.sources, strict=True))
    l, m, _ = direction_cosines(ra, dec, *direction.centre)
    sources = [(x / ARCSEC, y / ARCSEC, part / flux.sum())
               for x, y, part in zip(l, m, flux, strict=True)]
    return best_shape(_pooled(job, found, visits), sources, job.reach, radius)


def _pooled(job: _Fits, found: Mapping[int, BrightFit], visits: Sequence[Visit]) -> Seen:
    """The visits that see a source best, as many as have so many visibilities, or one."""
    order = sorted(found, key=lambda i: -found[i].signal_to_noise)
    least = _POOLED * found[order[0]].signal_to_noise
    total = np.cumsum([min(visits[i].n_visibilities, _MOST_SEEN) for i in order])
    chosen = order[:1] + [i for i, n in zip(order[1:], total[1:], strict=True)
                          if n <= _MOST_SEEN and found[i].signal_to_noise > least]
    return Seen.together([_seen(job, visits[i], found[i]) for i in chosen])


def _seen(job: _Fits, visit: Visit, one: BrightFit) -> Seen:
    """Visibilities of a visit about a direction's centre, over what a point with its index gives.

    Of longer visits every so many integrations.
    """
    passes = job.passes.of(visit)
    fit_job = _fit_job(passes, job.column, job.centre, job.smeared)
    spw = visit.window.spw
    model = make_model(["delta"], list(Shape().variables(True)), spw.central_frequency)
    point = np.array([0.0, 0.0, 1.0, one.parameters[3]])
    turn = rotation_between(*fit_job.directions[0, visit.field.id], *job.centre)
    step = max(-(-visit.n_visibilities // _MOST_SEEN), 1)
    wanted = np.concatenate([times[::step] for times in visit.times.values()])
    columns: list[tuple[NDArray, ...]] = []
    for part in passes.parts([job.column]):
        keep = np.isin(part.partition.time, wanted)
        unit = written(fit_job, 0, part.partition, None,
                       interval_of(fit_job, passes.structure, part.rows), model, point, "model")
        unit, data, weight = (values[keep][:, :, [0, -1]].astype(kind) for values, kind in (
            (unit, np.complex128), (part.values[job.column], np.complex128),
            (part.weight, np.float64)))
        good = np.isfinite(data) & (weight > 0) & (np.abs(unit) > 0)
        weight = np.where(good, weight * np.abs(unit) ** 2, 0.0)
        data = np.where(good, data, 0.0) / np.where(good, unit, 1.0)
        uvw = (part.partition.uvw[keep] @ turn.T)[:, None] * (
            spw.frequency / SPEED_OF_LIGHT)[:, None]
        index = np.repeat(np.arange(len(data)), len(spw.frequency))
        columns.append((uvw.reshape(-1, 3), data.reshape(-1, 2), weight.reshape(-1, 2),
                        part.partition.antenna1[keep][index], part.partition.antenna2[keep][index],
                        part.scan[keep][index]))
    where, *others, scan = (np.concatenate(every) for every in zip(*columns, strict=True))
    where[~np.isfinite(where).all(axis=1)] = 0.0
    vis, weights, first, second = others
    return Seen(where, vis, weights, first, second, np.unique(scan, return_inverse=True)[1],
                len(passes.structure.antenna_names))


def _with_own_fluxes(job: _Fits, of_visit: tuple[Visit, BrightFit]) -> BrightFit:
    """A fit with the fluxes that its components have in its field and window; the sum stays."""
    visit, one = of_visit
    x, y = one.parameters[:2]
    shape = with_fluxes(_seen(job, visit, one), one.shape, (x, y))
    flux = one.parameters[2] * sum(one.shape.fluxes) / sum(shape.fluxes)
    return replace(one, shape=shape,
                   parameters=(x, y, flux, one.parameters[3]))


#: Part of the amplitude of baselines below which a flux says nothing of what antennas see.
_LEAST_FLUX = 0.7


def with_amplitudes(passes: Passes, column: str, model: str, fits: Sequence[BrightFit],
                    replace_flux: bool) -> list[BrightFit]:
    """The fits, with what baselines see.

    Near a null of the beam antennas see a source with amplitudes of either sign, whose mean is
    next to nothing; their gains can then not be found from a model with that flux. `replace_flux`
    puts the amplitude in its place where it is larger.

    Parameters
    ----------
    passes : Passes
    column : str
        Without what else is known to be there.
    model : str
        Column of the model, of whatever flux.
    fits : sequence of BrightFit
    replace_flux : bool
    """
    sums: dict[tuple[int, int], dict[int, NDArray]] = {}
    n_ant = len(passes.structure.antenna_names)
    for part in passes.parts([column, model]):
        shift = part.values[model]
        with np.errstate(invalid="ignore", divide="ignore"):
            turned = part.values[column] * np.conj(shift) / np.abs(shift)
        good = (part.weight > 0) & np.isfinite(turned)
        weight, turned = np.where(good, part.weight, 0.0), np.where(good, turned, 0.0)
        for scan in np.unique(part.scan):
            rows = part.scan == scan
            number = (part.partition.antenna1 * n_ant + part.partition.antenna2)[rows]
            found = sums.setdefault(part.key, {}).setdefault(
                int(scan), np.zeros((n_ant * n_ant, turned.shape[2], 4), np.complex128))
            for at, term in enumerate((weight * turned, weight, weight * np.abs(turned) ** 2, good)):
                np.add.at(found[..., at], number, term[rows].sum(axis=1))
    return [_with_amplitude(one, sums.get((one.field, one.window), {}), n_ant, replace_flux)
            for one in fits]


def _with_amplitude(fit: BrightFit, scans: Mapping[int, NDArray], n_ant: int,
                    replace_flux: bool) -> BrightFit:
    """A fit with the amplitude of its baselines' sums: Σ w V, Σ w, Σ w |V|², and the number."""
    every = [sums.reshape(-1, 4) for sums in scans.values()]
    total = np.concatenate(every) if every else np.zeros((0, 4), np.complex128)
    total = total[total[:, 3].real > 1]
    if not len(total):
        return fit
    mean, weight, n = total[:, 0] / total[:, 1], total[:, 1].real, total[:, 3].real
    variance = (total[:, 2].real - weight * np.abs(mean) ** 2) / (n - 1) / weight
    amplitude = float(np.sqrt(max(np.mean(np.abs(mean) ** 2 - variance), 0.0)))
    # An antenna is on N − 1 baselines; the variance is that of both parts.
    snr = amplitude * np.sqrt((n_ant - 1) * 2 / max(float(np.median(variance)), 1e-300))
    parameters = fit.parameters
    if replace_flux and snr >= LEAST_SNR and abs(fit.flux) < _LEAST_FLUX * amplitude:
        parameters = (0.0, 0.0, amplitude / sum(np.abs(fit.shape.fluxes)), 0.0)
    return replace(fit, parameters=parameters, amplitude=amplitude, gain_snr=float(snr))


def model_of(passes: Passes, like: str, fits: Sequence[BrightFit], direction: Direction,
             through: Callable[[Cell, int], Gain] | None = None) -> Callable[[Part], NDArray]:
    """What each field and window sees of a direction, of a part: (row, chan, corr).

    Parameters
    ----------
    passes : Passes
    like : str
        Any column of visibilities.
    fits : sequence of BrightFit
        Where there is none, the model is 0.
    direction : Direction
    through : callable, optional
        Gains that it is seen through, of a cell and the number of its integrations.
    """
    job = _fit_job(passes, like, direction.centre, all(one.smeared for one in fits))
    made = {(one.field, one.window): (make_model(list(one.shape.models),
                                                 list(one.shape.variables(True)), one.frequency),
                                      np.array(one.parameters)) for one in fits}

    def model(part: Part) -> NDArray:
        if part.key not in made:
            return np.zeros_like(part.partition.vis)
        vis = written(job, 0, part.partition, None,
                      interval_of(job, passes.structure, part.rows), *made[part.key], "model")
        return vis if through is None else part.through(vis, through)[0]

    return model


def _fit_job(passes: Passes, column: str, centre: tuple[float, float], smeared: bool) -> FitJob:
    """What turns parameters of fits about a place into visibilities."""
    sets = (passes.structure,), (passes.selection,)
    directions, pointings, reference = directions_of(*sets, centre)
    return FitJob(*sets, ((column, None),), None, directions, pointings, reference,
                  antenna_numbers(sets[0])[0], bandwidth_smearing=smeared, time_smearing=smeared)
