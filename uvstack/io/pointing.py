"""Where the antennas point: the centre of the primary beam, which need not be the phase centre.

CASA's phaseshift and fixvis, and other programs alike, move the phase centre (PHASE_DIR) and leave
what the telescope wrote of the pointing. That stands in the table POINTING (rows of antennas over
time, often empty) and in two columns of FIELD: REFERENCE_DIR, the direction of the observation, and
DELAY_DIR, which is where LOFAR's station beams point. A direction that is empty or exactly (0, 0)
was never filled. Unless told otherwise the first of POINTING, REFERENCE_DIR, DELAY_DIR and
PHASE_DIR that says something is taken, field by field. Antennas are not told apart: the mean over
antennas and times is the pointing.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from astropy.coordinates import SkyCoord

from uvstack.errors import CoordinateError, PointingWarning, SelectionError
from uvstack.io.casa import Table, open_table
from uvstack.io.ms import read_direction, selected_rows
from uvstack.records import Field, Selection, Structure
from uvstack.sky.coordinates import parse_frame, to_frame
from uvstack.sky.primary_beam import PrimaryBeam

SOURCES = ("auto", "phase", "reference", "table")
#: Directions nearer than this to the phase centre are the phase centre, rad.
_SAME = 1e-8
#: Power of a Gaussian beam a tenth of its FWHM off its middle.
_TENTH_OF_A_BEAM = 2.0 ** -0.04
_ROWS = 200_000


def with_pointings(structure: Structure, selection: Selection, source: str = "auto") -> Structure:
    """The structure whose selected fields say where the primary beam is centred.

    Parameters
    ----------
    structure : Structure
    selection : Selection
    source : {"auto", "phase", "reference", "table"}
        The phase centre; REFERENCE_DIR or DELAY_DIR; the table POINTING; or the first of these,
        from the last, that is there.

    Raises
    ------
    SelectionError
        The source is unknown, or asked for by name and says nothing of a selected field.
    """
    if source not in SOURCES:
        raise SelectionError(f"pointing is {source!r}; wanted one of {', '.join(SOURCES)}")
    if source == "phase" or not selection.field_ids:
        return structure
    wanted = [field for field in structure.fields if field.id in selection.field_ids]
    found: dict[int, Field] = {}
    if source in ("auto", "table"):
        found = _from_table(structure, selection, wanted)
    if source in ("auto", "reference"):
        found |= _from_fields(structure, [field for field in wanted if field.id not in found])
    lacking = [field for field in wanted if field.id not in found]
    if lacking and source != "auto":
        where = "no rows at its times in a fixed frame in POINTING" if source == "table" else "neither REFERENCE_DIR nor DELAY_DIR"
        raise SelectionError(f"{structure.path}: pointing={source!r}: field {lacking[0].id} "
                             f"({lacking[0].name}) has {where}; leave "
                             "pointing out (--pointing auto), or take the phase centre "
                             "(--pointing phase)")
    return replace(structure,
                   fields=tuple(found.get(field.id, field) for field in structure.fields))


def warn_of_pointings(structures: Sequence[Structure], selections: Sequence[Selection],
                      beam: PrimaryBeam | None) -> None:
    """Tell where the pointing is more than a tenth of the beam from the phase centre, or moves by as much."""
    if beam is None:
        return
    far: list[tuple[float, Field, str]] = []
    moving: list[tuple[float, Field, str]] = []
    for structure, selection in zip(structures, selections, strict=True):
        for field_id, description_id in selection.visits:
            field, spw = structure.fields[field_id], structure.data_descriptions[description_id].spw
            for distance, told in ((distance_of(field), far), (field.pointing_spread, moving)):
                power = beam(np.array([np.sin(distance)]), np.zeros(1),
                             np.array([spw.central_frequency]))
                if distance > 0 and distance < np.pi / 2 and power[0, 0] < _TENTH_OF_A_BEAM or distance >= np.pi / 2:
                    told.append((distance, field, structure.path))
    for told, what in ((far, "from the phase centre"),
                       (moving, "apart, at one time or another; their mean is taken")):
        if told:
            distance, field, path = max(told, key=lambda one: one[0])
            where = f"{path}: field {field.id} ({field.name})"
            warnings.warn(PointingWarning(f"{where}: by {field.pointing_source} the antennas point "
                                          f"{np.rad2deg(distance) * 60:.3g}′ {what}, and the "
                                          "primary beam is "
                                          "centred there; --pointing phase (pointing='phase') "
                                          "centres it on the phase centre"), stacklevel=4)


def pointings_text(structures: Sequence[Structure], selections: Sequence[Selection]) -> str:
    """What the pointings of the selected fields were taken from, and how far they are from the phase centres."""
    counts: dict[str, list[float]] = {}
    for structure, selection in zip(structures, selections, strict=True):
        for field in (structure.fields[f] for f in sorted(selection.field_ids)):
            counts.setdefault(field.pointing_source, []).append(distance_of(field))
    return "; ".join(f"{source} ({len(found)} {'field' if len(found) == 1 else 'fields'}, "
                     f"{'at the phase centre' if not max(found) else f'up to {np.rad2deg(max(found)) * 60:.3g}′ from the phase centre'})"
                     for source, found in counts.items())


def distance_of(field: Field) -> float:
    """Angle from the phase centre to the pointing, rad."""
    return 0.0 if field.pointing is None else float(_angle(_unit(field.ra, field.dec),
                                                           _unit(*field.pointing)))


def _pointed(field: Field, direction: tuple[float, float], source: str,
             spread: float = 0.0) -> Field:
    """The field with its pointing, which is None where it is the phase centre to the last place that matters."""
    away = _angle(_unit(field.ra, field.dec), _unit(*direction)) > _SAME
    return replace(field, pointing=direction if away else None, pointing_source=source,
                   pointing_spread=spread)


def _from_fields(structure: Structure, wanted: Sequence[Field]) -> dict[int, Field]:
    """Pointings by REFERENCE_DIR and DELAY_DIR; LOFAR writes its station beam to DELAY_DIR."""
    order = ["REFERENCE_DIR", "DELAY_DIR"]
    if structure.telescope.upper() == "LOFAR":
        order.reverse()
    found = {}
    with open_table(structure.subtables["FIELD"]) as table:
        for field in wanted:
            for column in (name for name in order if name in table.columns):
                direction, frame = read_direction(table, column, field.id)
                if direction is None or not _is_direction(direction[:1])[0]:
                    continue
                there = _in_frame(direction[:1], frame, field.frame)
                if there is not None:
                    found[field.id] = _pointed(field, (float(there[0][0]), float(there[1][0])),
                                               column)
                    break
    return found


def _from_table(structure: Structure, selection: Selection,
                wanted: Sequence[Field]) -> dict[int, Field]:
    """Pointings by the table POINTING.

    Of each field the mean over antennas at the times of its selected rows.
    """
    path = structure.subtables.get("POINTING")
    if path is None:
        return {}
    with open_table(path) as table:
        if not table.n_rows or "DIRECTION" not in table.columns or "VarRefCol" in table.keywords("DIRECTION").get("MEASINFO", {}):
            return {}
        frame = str(table.keywords("DIRECTION").get("MEASINFO", {}).get("Ref", "J2000"))
        try:
            parse_frame(frame)
        except CoordinateError:
            return {}  # azimuth and elevation turn with the sky
        times, of_field, length, antennas = _times_of_fields(structure, selection)
        sums = {field.id: np.zeros(3) for field in wanted}
        units: dict[int, list[np.ndarray]] = {field.id: [] for field in wanted}
        for direction, index in _rows_at(table, times, length, antennas):
            for field_id in np.unique(of_field[index]):
                some = direction[of_field[index] == field_id]
                vectors = _unit(some[:, 0], some[:, 1]).T
                sums[int(field_id)] += vectors.sum(axis=0)
                units[int(field_id)] += [vectors.min(axis=0), vectors.max(axis=0)]
    found = {}
    for field in wanted:
        total = sums[field.id]
        if not units[field.id]:
            continue
        mean = total / np.linalg.norm(total)
        # Half of the diagonal of the box that holds all unit vectors: no less than the largest
        # distance from its middle.
        box = np.ptp(np.array(units[field.id]), axis=0)
        there = _in_frame(np.array([[np.arctan2(mean[1], mean[0]),
                                     np.arcsin(np.clip(mean[2], -1, 1))]]), frame, field.frame)
        if there is not None:
            found[field.id] = _pointed(field, (float(there[0][0]), float(there[1][0])), "POINTING",
                                       0.5 * float(np.linalg.norm(box)))
    return found


def _times_of_fields(structure: Structure,
                     selection: Selection) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Times of the selected rows (rising, MJD s), the field of each, how long an integration lasts (s), and the antennas of the rows."""
    pairs: list[np.ndarray] = []
    antennas = np.zeros(0, np.int64)
    length = 0.0
    wanted = ("TIME", "FIELD_ID", "ANTENNA1", "ANTENNA2",
              *(n for n in ("INTERVAL",) if n in structure.columns))
    for rows in selected_rows(structure, selection, wanted):
        antennas = np.unique(np.concatenate([antennas, rows["ANTENNA1"], rows["ANTENNA2"]]))
        pairs.append(np.unique(np.stack([rows["TIME"], rows["FIELD_ID"].astype(np.float64)]),
                               axis=1))
        length = max(length,
                     float(rows["INTERVAL"].max(initial=0.0)) if "INTERVAL" in rows else 0.0)
    times, fields = np.unique(np.concatenate(pairs, axis=1), axis=1)
    return times, fields.astype(np.int64), length, antennas


def _rows_at(table: Table, times: np.ndarray, length: float, antennas: np.ndarray):
    """Directions (row, 2) of rows of POINTING that fall on integrations and are of these antennas, and the number of the nearest time."""
    partly = table.any_row("DIRECTION", "undefined")
    for start in range(0, table.n_rows, _ROWS):
        n = min(_ROWS, table.n_rows - start)
        time = table.read("TIME", start, n)
        interval = np.maximum(table.read("INTERVAL", start,
                                         n) if "INTERVAL" in table.columns else 0.0, 0.0)
        after = np.clip(np.searchsorted(times, time), 1, max(times.size - 1, 1))
        nearest = np.where(np.abs(times[after - 1] - time) <= np.abs(
                               times[np.minimum(after, times.size - 1)] - time), after - 1,
                           np.minimum(after, times.size - 1))
        at = np.abs(times[nearest] - time) <= 0.5 * np.maximum(interval, length) + 1e-3
        if "ANTENNA_ID" in table.columns:
            antenna = table.read("ANTENNA_ID", start, n)
            at &= (antenna < 0) | np.isin(antenna, antennas)
        here = np.flatnonzero(at)
        if partly and here.size:
            here = here[table.defined("DIRECTION", start + here)]
        order = table.read("NUM_POLY", start,
                           n)[here] if "NUM_POLY" in table.columns else np.zeros(here.size)
        for terms in np.unique(order):
            rows = here[order == terms]
            value = table.read_rows("DIRECTION", start + rows).reshape(rows.size, -1, 2)
            direction = value[:, 0].copy()
            if value.shape[1] > 1:
                since = time[rows] - table.read_rows("TIME_ORIGIN", start + rows)
                direction = (value
                             * since[:, None, None] ** np.arange(value.shape[1])[
                                 None, :, None]).sum(axis=1)
            good = _is_direction(direction)
            yield direction[good], nearest[rows[good]]


def _is_direction(direction: np.ndarray) -> np.ndarray:
    """Which (n, 2) are directions in rad that someone filled in.

    Not (0, 0), not NaN, no latitude beyond a pole.
    """
    with np.errstate(invalid="ignore"):
        return direction.any(axis=1) & (abs(direction[:, 0]) < 4 * np.pi) & (
            abs(direction[:, 1]) <= np.pi / 2)


def _in_frame(direction: np.ndarray, given: str,
              wanted: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Longitude and latitude of directions (n, 2) in another frame.

    None where one of the frames turns with the sky.
    """
    if given == wanted:
        return direction[:, 0], direction[:, 1]
    try:
        return to_frame(SkyCoord(direction[:, 0], direction[:, 1], unit="rad",
                                 frame=parse_frame(given)), wanted)
    except CoordinateError:
        return None


def _unit(ra, dec) -> np.ndarray:
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.arcsin(min(0.5 * float(np.linalg.norm(one - other)), 1.0)))
