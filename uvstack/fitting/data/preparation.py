"""From rows of a measurement set to what a fit sees.

One Stokes parameter at one phase centre, averaged and weighted.

Rows are turned to the fit's reference direction with their phases, exactly and with w: the phase of
a visibility b (a vector, m) for the centre s₀ is 2πν/c b·(s − s₀), so that for s₁ it changes by
−2πν/c b·(s₁ − s₀), and b·(s₁ − s₀) = u l + v m + w (n − 1) with the old (u, v, w) and the direction
cosines of the new centre seen from the old. Then averages are made, so that what they lose is
counted from the reference. Nothing here opens files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import FitError
from uvstack.fitting.data.averaging import Rows, average
from uvstack.fitting.model.data import Attenuation, FitData
from uvstack.fitting.model.model import Model, gains_at
from uvstack.fitting.model.normal import model_visibilities
from uvstack.records import Partition, Selection, Structure, UVRange, has_baseline
from uvstack.sky.coordinates import direction_cosines, rotation_between
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.stokes import combination_of, correlations_of
from uvstack.uv.weights import apply_flags, inside_uv_range

#: Turn of the Earth, rad/s of UTC.
_EARTH = 7.292115e-5


@dataclass(frozen=True, eq=False)
class FitJob:
    """All that chunks of rows share in being read and prepared.

    Attributes
    ----------
    structures, selections, columns
        Of each measurement set.
    fixed_columns : tuple of str or None
        Column of each set that is added to the model.
    directions : dict
        (set, field) → phase centre in the frame of the fit, rad.
    pointings : dict
        (set, field) → where the antennas point, in the frame of the fit, rad.
    reference : tuple of float
        The fit's phase centre, rad.
    antennas : tuple of ndarray
        Of each set: number of its antennas among all.
    stokes, uv_range, chanwidth, timewidth
        See `uvstack.fitting.task.fit`.
    uvtaper : float
        m; 0 for none.
    weight_power : float
    bandwidth_smearing, time_smearing : bool
    primary_beam : PrimaryBeam or None
    fixed_model : Model or None
        Components without parameters, added to the model.
    reference_time : float
        MJD s, from which t is counted.
    only : tuple of float or None
        Nominal frequencies of the (averaged) channels that are wanted, Hz; default all.
    """

    structures: tuple[Structure, ...]
    selections: tuple[Selection, ...]
    columns: tuple[tuple[str, str | None], ...]
    fixed_columns: tuple[str, ...] | None
    directions: Mapping[tuple[int, int], tuple[float, float]]
    pointings: Mapping[tuple[int, int], tuple[float, float]]
    reference: tuple[float, float]
    antennas: tuple[np.ndarray, ...]
    stokes: str = "I"
    uv_range: UVRange = UVRange()
    chanwidth: int = 1
    timewidth: int = 1
    uvtaper: float = 0.0
    weight_power: float = 1.0
    bandwidth_smearing: bool = False
    time_smearing: bool = False
    primary_beam: PrimaryBeam | None = None
    fixed_model: Model | None = None
    reference_time: float = 0.0
    only: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Piece:
    """Prepared visibilities of one field and spectral window.

    Attributes
    ----------
    data : FitData
    nominal : ndarray (chan,)
        Hz: the frequencies by which channels go.
    trust : ndarray (row, chan) float32 or None
        Weights of the fit over inverse variances, where a taper or a power makes them differ.
    """

    data: FitData
    nominal: np.ndarray
    trust: np.ndarray | None = None

    def rows(self, which: slice | np.ndarray) -> Piece:
        """The same for some of the rows."""
        return Piece(self.data.rows(which), self.nominal,
                     None if self.trust is None else self.trust[which])

    def channels(self, which: np.ndarray) -> Piece:
        """The same for some of the channels."""
        data = self.data

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else np.ascontiguousarray(values[:, which])

        cut = replace(data, frequency=data.frequency[which], vis=data.vis[:, which],
                      weight=data.weight[:, which], fixed=some(data.fixed),
                      width=None if data.width is None else data.width[which])
        cut = replace(cut, vis=np.ascontiguousarray(cut.vis),
                      weight=np.ascontiguousarray(cut.weight))
        return Piece(cut, self.nominal[which], some(self.trust))

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays."""
        arrays = [value for value in vars(self.data).values() if isinstance(value, np.ndarray)]
        return sum(a.nbytes for a in arrays) + (0 if self.trust is None else self.trust.nbytes)


def prepare(job: FitJob, set_index: int, partition: Partition, fixed: np.ndarray | None,
            interval: np.ndarray) -> tuple[list[Piece], int]:
    """Pieces of a partition, and how many unflagged visibilities were not finite.

    Parameters
    ----------
    job : FitJob
    set_index : int
        Of the set.
    partition : Partition
        Flags and weights of it are modified.
    fixed : ndarray (row, chan, corr) complex64 or None
        Column of the model.
    interval : ndarray (row,)
        s.
    """
    made = combination_of(job.stokes, partition.data_description.correlations)
    if made is None:
        return [], 0
    not_finite = _clean(partition, fixed)
    vis, weight = made(partition.vis, partition.weight)
    spw = partition.data_description.spw
    if job.uv_range != UVRange():
        weight = np.where(inside_uv_range(partition.uvw, spw.frequency, job.uv_range), weight,
                          np.float32(0))
    numbers = job.antennas[set_index]
    rows = Rows(partition.uvw, spw.frequency, spw.width, spw.frequency, vis, weight, partition.time,
                interval, numbers[partition.antenna1], numbers[partition.antenna2],
                None if fixed is None else made(fixed, partition.weight)[0])
    here = job.directions[set_index, partition.field.id]
    rows = turned(rows, here, job.reference)
    parts = average(rows, job.chanwidth, job.timewidth, job.reference_time)
    if job.only is not None:
        parts = [part.channels(np.isin(part.nominal, job.only)) for part in parts]
    return [_piece(job, part, job.pointings[set_index, partition.field.id]) for part in parts
            if part.frequency.size], not_finite


def _clean(partition: Partition, fixed: np.ndarray | None) -> int:
    """Apply flags and leave out what is not finite, in place.

    How much that was of what is not flagged.
    """
    # Rows without a (u, v, w) have visibilities that are not finite.
    uvw = np.isfinite(partition.uvw).all(axis=1)
    _, bad = apply_flags(partition.vis, partition.flag, partition.flag_row, partition.weight)
    if not uvw.all():
        partition.weight[~uvw] = 0
        partition.uvw[~uvw] = 0
    if fixed is not None:
        broken = ~np.isfinite(fixed)
        bad += int((broken & (partition.weight > 0)).sum())
        partition.weight[broken] = 0
        fixed[broken] = 0
    return bad


def turned(rows: Rows, old: tuple[float, float], new: tuple[float, float]) -> Rows:
    """Rows with (u, v, w) and phases for another phase centre.

    The arrays of the argument stay as they are.
    """
    if old == new:
        return rows
    factor = phasor(rows.uvw, rows.frequency, old, new)
    return replace(rows, uvw=rows.uvw @ rotation_between(*old, *new).T,
                   vis=(rows.vis * factor).astype(np.complex64),
                   fixed=None if rows.fixed is None else (rows.fixed * factor).astype(np.complex64))


def phasor(uvw: np.ndarray, frequency: np.ndarray, old: tuple[float, float],
           new: tuple[float, float]) -> np.ndarray:
    """exp(−2πi ν/c (u l + v m + w (n − 1))) that takes visibilities from a phase centre to a new one, (row, chan).

    uvw (row, 3) in m are those of the old centre.

    Raises
    ------
    FitError
        They are 90° or more apart.
    """
    lmn = np.stack(direction_cosines(*new, *old))
    if lmn[2] <= -1.0:
        raise FitError("a field lies 90° or more from the phase centre of the fit; select fields, "
                       "or choose another phase_centre")
    turns = np.outer(uvw @ lmn, frequency / SPEED_OF_LIGHT)
    return np.exp(-2j * np.pi * (turns - np.rint(turns)))


def _piece(job: FitJob, rows: Rows, pointing: tuple[float, float]) -> Piece:
    """What the fit sees of averaged rows."""
    data = with_fixed(job, fit_data(job, rows, pointing))
    trust = _trust(job, data)
    if trust is not None:
        data = replace(data, weight=data.weight * trust)
    return Piece(data, rows.nominal, trust)


def fit_data(job: FitJob, rows: Rows, pointing: tuple[float, float]) -> FitData:
    """Rows as `FitData`, with what the model of this job needs to know of them.

    Parameters
    ----------
    job : FitJob
    rows : Rows
        Turned to the reference.
    pointing : tuple of float
        Where the antennas point, rad.
    """
    attenuation = None
    if job.primary_beam is not None:
        attenuation = Attenuation(job.primary_beam, rotation_between(*job.reference, *pointing))
    return FitData(np.ascontiguousarray(rows.uvw, np.float64),
                   np.ascontiguousarray(rows.frequency, np.float64), np.ascontiguousarray(rows.vis),
                   np.ascontiguousarray(rows.weight),
                   fixed=None if rows.fixed is None else rows.fixed.astype(np.complex128),
                   time=rows.time - job.reference_time, antenna1=rows.antenna1,
                   antenna2=rows.antenna2,
                   width=np.ascontiguousarray(rows.width,
                                              np.float64) if job.bandwidth_smearing else None,
                   uvw_change=uvw_rate(rows.uvw,
                                       job.reference[1]) * rows.interval[:, None] if job.time_smearing else None,
                   attenuation=attenuation)


def with_fixed(job: FitJob, data: FitData) -> FitData:
    """Data with the fixed components added to what is fixed."""
    if job.fixed_model is None:
        return data
    components = model_visibilities(replace(data, fixed=None), job.fixed_model, np.zeros(0))
    return replace(data, fixed=components if data.fixed is None else data.fixed + components)


def uvw_rate(uvw: np.ndarray, dec: float) -> np.ndarray:
    """d(u, v, w)/dt (row, 3), m/s, by the turn of the Earth, for a phase centre at declination dec (rad).

    From Thompson, Moran & Swenson (2017), equation 4.1, whose hour angle grows with time.
    """
    u, v, w = uvw.T
    sin, cos = np.sin(dec), np.cos(dec)
    return _EARTH * np.stack([w * cos - v * sin, u * sin, -u * cos], axis=1)


def _trust(job: FitJob, data: FitData) -> np.ndarray | None:
    """Weight of the fit over inverse variance, (row, chan) float32, or None where they are one."""
    if job.weight_power == 1.0 and job.uvtaper == 0.0:
        return None
    trust = np.ones(data.weight.shape)
    if job.weight_power != 1.0:
        with np.errstate(divide="ignore"):
            trust = np.where(data.weight > 0,
                             data.weight.astype(np.float64) ** (job.weight_power - 1.0), 0.0)
    if job.uvtaper > 0.0:
        trust *= np.exp(-(data.uvw[:, 0] ** 2 + data.uvw[:, 1] ** 2)
                        / (2.0 * job.uvtaper**2))[:, None]
    return trust.astype(np.float32)


def written(job: FitJob, set_index: int, partition: Partition, fixed: np.ndarray | None,
            interval: np.ndarray, model: Model, p: np.ndarray, what: str) -> np.ndarray:
    """Model, residual or calibrated visibilities (row, chan, corr) complex64 of a partition, at its own phase centre.

    Parameters as in `prepare`; what is "model", "residual" or "calibrated".
    """
    made = combination_of(job.stokes, partition.data_description.correlations)
    assert made is not None
    good = has_baseline(partition.uvw)
    uvw = np.where(good[:, None], partition.uvw, 0.0)
    spw, numbers = partition.data_description.spw, job.antennas[set_index]
    ones = np.ones(partition.vis.shape, np.float32)
    vis, weight = made(partition.vis, ones)
    rows = Rows(uvw, spw.frequency, spw.width, spw.frequency, vis, weight, partition.time, interval,
                numbers[partition.antenna1], numbers[partition.antenna2],
                None if fixed is None else made(fixed, ones)[0])
    here = job.directions[set_index, partition.field.id]
    data = fit_data(job, turned(rows, here, job.reference),
                    job.pointings[set_index, partition.field.id])
    if what == "calibrated":
        return (partition.vis / gain_factor(data, model, p)[:, :, None]).astype(np.complex64)
    data = with_fixed(job, data)
    found = model_visibilities(data, model, p)
    if here != job.reference:
        found *= phasor(uvw, spw.frequency, here, job.reference).conj()
    found[~good] = 0
    values = correlations_of(job.stokes, found, partition.data_description.correlations)
    return values if what == "model" else partition.vis - values


def gain_factor(data: FitData, model: Model, p: np.ndarray) -> np.ndarray:
    """g_p g_q* of every row and channel, (row, chan) complex128."""
    if not model.has_gains:
        return np.ones(data.vis.shape, np.complex128)
    first, second, time = (np.asarray(column)
                           for column in (data.antenna1, data.antenna2, data.time))
    times, index = np.unique(time if model.depends_on_time else np.zeros(time.size),
                             return_inverse=True)
    gain = gains_at(model, p, data.frequency, times, int(max(first.max(), second.max())) + 1)[0]
    return gain[index, first] * gain[index, second].conj()
