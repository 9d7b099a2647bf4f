"""Models of the bright directions, fitted to the visibilities of each field and window.

Every field sees a bright source through another part of the beam, so its flux there and its
spectral index within the window, which the flank of the beam makes as steep as −20, are what the
antennas see: no beam is put in. With the index a fitted model was as good as the true one, without
it five times the noise remained (simulated mosaic), since one gain a window cannot follow it. A
source is a point unless χ² asks for more: a Gaussian, or as many components as the image shows in
the region. χ² is that which is left after each antenna got a gain (by the alternating least squares
of Mitchell et al. 2008 and Salvini & Wijnholds 2014): without, phases that scatter look like a
Gaussian. The shape is found in the field and window that see the source best; flux, index and place
are then fitted in each. What the model loses in the width of channels and integrations belongs to it,
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
from peel.gains import LEAST_SNR
from peel.passes_files import Part, Passes
from peel.visits import Visit
from uvstack.chunks import map_chunks
from uvstack.constants import ARCSEC
from uvstack.errors import FitError, NoDataError, UvstackWarning
from uvstack.fitting.data.preparation import FitJob, written
from uvstack.fitting.model.model import make_model
from uvstack.fitting.options import antenna_numbers, directions_of
from uvstack.fitting.result import FitResult
from uvstack.fitting.task import fit, interval_of
from uvstack.sky.coordinates import direction_cosines

#: χ² that another parameter must gain, over the reduced one, for a model with more of them.
_GAIN = 30.0
#: Turns of the alternating least squares.
_STEPS = 60
#: Spectral indices within a window that are believed.
_STEEPEST = 60.0
#: Beams by which a source may lie beside its place in the image.
_REACH = 0.5


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
        East and north of the direction's centre (arcsec), flux (Jy) at `frequency`, index.
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
        """Jy."""
        return self.parameters[2]

    @property
    def signal_to_noise(self) -> float:
        """Of the flux, over an error that follows from the scatter."""
        return self.flux / self.errors[2] if self.errors[2] > 0 else 0.0

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
                  fitted: Callable[[], None] | None = None) -> list[BrightFit]:
    """Fits of one direction in all fields and windows.

    Parameters
    ----------
    passes : Passes
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
    """
    visits = [visit for visit in passes.visits if visit.n_good]
    job = _Fits(passes.structure.path, column, number, direction.centre,
                _REACH * beam / ARCSEC)
    found: dict[int, BrightFit] = {}

    def take(index: int, one: BrightFit | None) -> None:
        if one is not None:
            found[index] = one
        if fitted is not None:
            fitted()

    with _quiet():
        map_chunks(_fit_point, job, visits, take, client, threads)
        if not found:
            return []
        best = max(found, key=lambda index: found[index].signal_to_noise)
        plain = _fit_point(replace(job, smeared=False), visits[best])
        if plain is not None and plain.reduced_chi_squared < found[best].reduced_chi_squared:
            job = replace(job, smeared=False)
            map_chunks(_fit_point, job, visits, take, client, threads)
        shape = _shape(passes, job, visits[best], direction, found[best])
        if shape != Shape():
            job = replace(job, shape=shape)
            map_chunks(_fit_point, job, visits, take, client, threads)
    return [found[index] for index in sorted(found)]


@dataclass(frozen=True, eq=False)
class _Fits:
    """What fits of a direction share."""

    path: str
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
    found = fit(job.path, **model, column=job.column, field=visit.field.id, spw=spw.id, stokes="I",
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


def _shape(passes: Passes, job: _Fits, visit: Visit, direction: Direction,
           point: BrightFit) -> Shape:
    """The simplest shape that a field and window do not contradict."""
    shapes, parameters, sizes = [Shape()], [np.array(point.parameters)], [3]
    candidates = list(_candidates(direction, point))
    for models, starts in candidates:
        variables: list[str] = []
        p_ini: list[float] = []
        bounds: list[list[float | None] | None] = []
        for model, (x, y, flux) in zip(models, starts, strict=True):
            n = len(p_ini)
            size = "" if model == "delta" else f",p[{n + 3}],p[{n + 4}],p[{n + 5}]"
            variables.append(f"p[{n}],p[{n + 1}],p[{n + 2}]*(nu/nu0)**({point.parameters[3]!r})"
                             + size)
            p_ini += [x, y, flux] + ([1.0, 0.7, 0.0] if size else [])
            bounds += [[x - 2 * job.reach, x + 2 * job.reach],
                       [y - 2 * job.reach, y + 2 * job.reach], None]
            bounds += [[0.0, None], [0.0, 1.0], None] if size else []
        try:
            found = _fit(job, visit, model=list(models), var=variables, p_ini=p_ini, bounds=bounds)
        except FitError:
            continue
        if np.isfinite(found.parameters).all():
            if models == ("gaussian",):
                candidates.append(_halves(found.parameters))
            shape, first = _relative(models, found.parameters)
            shapes.append(shape)
            parameters.append(np.array([*first, point.parameters[3]]))
            sizes.append(len(p_ini))
    left, degrees = _left_after_gains(passes, job, visit, shapes, parameters)
    chosen = 0
    for number in range(1, len(shapes)):
        wanted = _GAIN * (sizes[number] - sizes[chosen]) * max(left[number] / degrees, 1e-30)
        if left[chosen] - left[number] > wanted:
            chosen = number
    return shapes[chosen]


def _left_after_gains(passes: Passes, job: _Fits, visit: Visit, shapes: Sequence[Shape],
                      parameters: Sequence[NDArray]) -> tuple[NDArray, float]:
    """χ² of each shape once antennas have gains, one a scan and hand, and its degrees of freedom."""
    fit_job = _fit_job(passes, job.column, job.centre, job.smeared)
    made = [make_model(list(shape.models), list(shape.variables(True)),
                       visit.window.spw.central_frequency) for shape in shapes]
    n_ant = len(passes.structure.antenna_names)
    n_corr = visit.window.shape[1]
    hands = [0, n_corr - 1]
    sums: dict[int, NDArray] = {}
    power, degrees = 0.0, 0.0
    for part in passes.parts([job.column]):
        if part.key != (visit.field.id, visit.window.id):
            continue
        data = part.values[job.column][:, :, hands]
        weight = np.where(np.isfinite(data), part.weight[:, :, hands], 0.0)
        data = np.where(weight > 0, data, 0.0)
        power += float((weight * np.abs(data) ** 2).sum())
        degrees += 2.0 * np.count_nonzero(weight)
        pair = part.partition.antenna1 * n_ant + part.partition.antenna2
        for number, (model, p) in enumerate(zip(made, parameters, strict=True)):
            seen = written(fit_job, 0, part.partition, None,
                           interval_of(fit_job, passes.structure, part.rows), model, p,
                           "model")[:, :, hands]
            for scan in np.unique(part.scan):
                rows = part.scan == scan
                found = sums.setdefault(int(scan), np.zeros(
                    (len(shapes), 2, n_ant * n_ant, 2), np.complex128))
                np.add.at(found[number, 0], pair[rows],
                          (weight * data * seen.conj())[rows].sum(axis=1))
                np.add.at(found[number, 1], pair[rows],
                          (weight * np.abs(seen) ** 2)[rows].sum(axis=1))
    left = np.full(len(shapes), power)
    for found in sums.values():
        for number in range(len(shapes)):
            for hand in range(2):
                cross, own = (found[number, at, :, hand].reshape(n_ant, n_ant) for at in (0, 1))
                left[number] -= _explained(cross + cross.conj().T, (own + own.T).real)
    return left, max(degrees, 1.0)


def _explained(cross: NDArray, own: NDArray) -> float:
    """By how much antennas' gains g on a model lower χ²: 2 Re Σ w V M* g_p* g_q − Σ w |M g_p g_q|².

    Parameters
    ----------
    cross, own : ndarray (ant, ant)
        Σ w V M* and Σ w |M|² of each baseline.
    """
    gain = np.ones(len(cross), np.complex128)
    for number in range(_STEPS):
        norm = own @ np.abs(gain) ** 2
        new = np.where(norm > 0, cross @ gain / np.where(norm > 0, norm, 1.0), 1.0)
        gain = new if number % 2 == 0 else (new + gain) / 2
    size = np.abs(gain) ** 2
    return float((gain.conj() @ cross @ gain).real - 0.5 * size @ own @ size)


def _candidates(direction: Direction, point: BrightFit) -> Sequence[tuple[tuple[str, ...], list]]:
    """Models beyond a point, and where their components start: east, north, flux."""
    first = (*point.parameters[:2], point.flux)
    ra, dec, flux = (np.array(column) for column in zip(*direction.sources, strict=True))
    l, m, _ = direction_cosines(ra, dec, *direction.centre)
    several = [(x / ARCSEC, y / ARCSEC, point.flux * part / flux.sum())
               for x, y, part in zip(l, m, flux, strict=True)]
    found: list[tuple[tuple[str, ...], list]] = [(("gaussian",), [first])]
    if len(several) > 1:
        found += [(("delta",) * len(several), several), (("gaussian",) * len(several), several)]
    return found


def _halves(parameters: NDArray) -> tuple[tuple[str, ...], list[tuple[float, float, float]]]:
    """Two points in place of a Gaussian: a double that the image does not resolve."""
    x, y, flux, fwhm, _, angle = parameters
    # Two points of equal flux, d apart, scatter by d/2 along their line, a Gaussian by 0.42 FWHM.
    east, north = 0.42 * fwhm * np.sin(np.deg2rad(angle)), 0.42 * fwhm * np.cos(np.deg2rad(angle))
    return ("delta", "delta"), [(x + side * east, y + side * north, flux / 2) for side in (1, -1)]


def _relative(models: tuple[str, ...],
              parameters: NDArray) -> tuple[Shape, tuple[float, float, float]]:
    """Shape of a fit's parameters, and place and flux of its first component."""
    rows, at = [], 0
    for model in models:
        n = 3 if model == "delta" else 6
        rows.append(parameters[at : at + n].tolist())
        at += n
    # The brightest is the first, so that no flux is divided by next to nothing.
    order = sorted(range(len(rows)), key=lambda i: -abs(rows[i][2]))
    x0, y0, flux0 = rows[order[0]][:3]
    return Shape(tuple(models[i] for i in order),
                 tuple((rows[i][0] - x0, rows[i][1] - y0) for i in order),
                 tuple(rows[i][2] / flux0 for i in order),
                 tuple(tuple(rows[i][3:]) if len(rows[i]) > 3 else (0.0, 1.0, 0.0)
                       for i in order)), (x0, y0, flux0)


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
        parameters = (0.0, 0.0, amplitude, 0.0)
    return replace(fit, parameters=parameters, amplitude=amplitude, gain_snr=float(snr))


def write_direction(passes: Passes, column: str, like: str, fits: Sequence[BrightFit],
                    direction: Direction) -> None:
    """Write the model of a direction: what each field and window has seen of it.

    Parameters
    ----------
    passes : Passes
    column : str
        To be written.
    like : str
        Any column of visibilities.
    fits : sequence of BrightFit
        Where there is none, the model is 0.
    direction : Direction
    """
    job = _fit_job(passes, like, direction.centre, all(one.smeared for one in fits))
    made = {(one.field, one.window): (make_model(list(one.shape.models),
                                                 list(one.shape.variables(True)), one.frequency),
                                      np.array(one.parameters)) for one in fits}

    def model(part: Part) -> np.ndarray:
        if part.key not in made:
            return np.zeros_like(part.values[like])
        return written(job, 0, part.partition, None,
                       interval_of(job, passes.structure, part.rows), *made[part.key], "model")

    passes.write(column, [like], model)


def _fit_job(passes: Passes, column: str, centre: tuple[float, float], smeared: bool) -> FitJob:
    """What turns parameters of fits about a place into visibilities."""
    sets = (passes.structure,), (passes.selection,)
    directions, pointings, reference = directions_of(*sets, centre)
    return FitJob(*sets, ((column, None),), None, directions, pointings, reference,
                  antenna_numbers(sets[0])[0], bandwidth_smearing=smeared, time_smearing=smeared)
