"""Selections in CASA's words.

Fields by id, range or name with wildcards, spectral windows, times, uv distances.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from dataclasses import replace

import numpy as np
from astropy.time import Time

from uvstack.errors import MeasurementSetError, SelectionError
from uvstack.io.casa import open_table
from uvstack.io.ms import pairs_with_rows
from uvstack.records import Selection, Structure, UVRange

_UV_UNITS = {"": ("m", 1.0), "m": ("m", 1.0), "km": ("m", 1e3), "Mm": ("m", 1e6)}
_UV_UNITS |= {prefix + name: ("lambda", factor)
              for name in ("lambda", "λ", "wavelength", "wavelengths")
              for prefix, factor in (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9))}


def select(structure: Structure, field: str | int | None = None, spw: str | int | None = None,
           timerange: str | None = None) -> Selection:
    """Selection of a measurement set by CASA's field, spw and timerange.

    What of that has rows, and nothing else.

    Only what has rows is judged, so that fields and windows that nobody observed do not matter.

    Parameters
    ----------
    structure : Structure
    field : str or int, optional
        Ids, ranges and names, e.g. "0,3~5" or "NGC*"; default all.
    spw : str or int, optional
        Ids, ranges and names of spectral windows; default all. Channel ranges are not supported.
    timerange : str, optional
        Comma-separated "start~stop" in UTC as YYYY/MM/DD/hh:mm:ss, also ">start" or "<stop". A
        missing date is that of the first row; a missing date after ~ is that of the start.

    Raises
    ------
    SelectionError
        If a selection cannot be read or matches nothing; the message lists what there is.
    MeasurementSetError
        If a field that is selected has no fixed phase centre, or a window no frequencies.
    """
    fields = _match(structure, "field", field, {f.id: f.name for f in structure.fields})
    windows = {d.spw.id: d.spw.name for d in structure.data_descriptions if d.spw.id >= 0}
    if isinstance(spw, str) and ":" in spw:
        raise SelectionError(f"spw={spw!r}: channel ranges are not supported; split the channels "
                             "into a set of their own")
    chosen = _match(structure, "spw", spw, windows)
    descriptions = frozenset(d.id for d in structure.data_descriptions
                             if d.spw.id in chosen or (spw is None and d.spw.id < 0))
    asked = Selection(fields, descriptions, _parse_times(structure, timerange))
    pairs = pairs_with_rows(structure, asked)
    selection = replace(asked, field_ids=frozenset(f for f, _ in pairs),
                        data_description_ids=frozenset(d for _, d in pairs), pairs=pairs)
    _check_defects(structure, selection)
    return selection


def _check_defects(structure: Structure, selection: Selection) -> None:
    for field in structure.fields:
        if field.defect and field.id in selection.field_ids:
            raise MeasurementSetError(f"{structure.path}: field {field.id} ({field.name}) "
                                      f"{field.defect}")
    for d in structure.used(selection):
        frequency = d.spw.frequency
        lacks = ("no channel frequencies" if not frequency.size
                 else "channels without a positive frequency"
                 if not (frequency > 0).all() or not np.isfinite(frequency).all()
                 else "no correlations" if not d.correlations else "")
        if lacks:
            raise MeasurementSetError(f"{structure.path}: data description {d.id} has rows and "
                                      f"{lacks} (spectral window {d.spw.id}); "
                                      "leave that window out with spw, or make the set again")


def _match(structure: Structure, what: str, text: str | int | None,
           names: dict[int, str]) -> frozenset[int]:
    """Ids that a comma-separated list of ids, ranges and name patterns stands for."""
    if text is None or str(text).strip() in ("", "*"):
        return frozenset(names)
    chosen: set[int] = set()
    for part in str(text).split(","):
        part = part.strip()
        ids = _range(part)
        found = [i for i in names if i in ids] if ids is not None else []
        found = found or [i for i, name in names.items() if fnmatch.fnmatchcase(name, part)]
        if not found:
            close = difflib.get_close_matches(part, names.values(), n=3)
            hint = f"; did you mean {', '.join(close)}?" if close else "."
            listed = ", ".join(f"{i} ({name})" for i, name in list(names.items())[:8])
            raise SelectionError(f"{what}={str(text)!r}: {structure.path} has no {what} "
                                 f"{part!r}{hint} It has {len(names)}: {listed}"
                                 + (" …" if len(names) > 8 else ""))
        chosen.update(found)
    return frozenset(chosen)


def _range(text: str) -> range | None:
    match = re.fullmatch(r"(\d+)(?:\s*~\s*(\d+))?", text)
    if match is None:
        return None
    low = int(match[1])
    return range(low, int(match[2] or low) + 1)


def _parse_times(structure: Structure, text: str | None) -> tuple[tuple[float, float], ...]:
    if text is None or not text.strip():
        return ()
    with open_table(structure.main) as table:
        first = float(table.read_cell("TIME", 0)) if table.n_rows else 0.0
        in_tai = str(table.keywords("TIME").get("MEASINFO", {}).get("Ref", "UTC")).upper() == "TAI"
    # A set that counts in TAI is ahead of UTC by whole seconds, the leap seconds of its day.
    ahead = leap_seconds(first) if in_tai else 0.0
    first -= ahead
    day = np.floor(first / 86400.0) * 86400.0
    ranges = []
    for part in text.split(","):
        part = part.strip()
        if part.startswith(">"):
            ranges.append((_parse_time(part[1:], day, text), np.inf))
        elif part.startswith("<"):
            ranges.append((-np.inf, _parse_time(part[1:], day, text)))
        elif "~" in part:
            start, stop = (piece.strip() for piece in part.split("~", 1))
            low = _parse_time(start, day, text)
            ranges.append((low, _parse_time(stop, np.floor(low / 86400.0) * 86400.0, text)))
        else:
            raise SelectionError(f"timerange={text!r}: {part!r} is no range; wanted start~stop, "
                                 ">start or <stop")
    for low, high in ranges:
        if low > high:
            raise SelectionError(f"timerange={text!r}: it ends before it begins")
    return tuple((low + ahead, high + ahead) for low, high in ranges)


def leap_seconds(time: float) -> float:
    """TAI − UTC at a time (MJD s), s."""
    there = Time(time / 86400.0, format="mjd", scale="tai")
    return float(np.round((there.mjd - there.utc.mjd) * 86400.0))


def _parse_time(text: str, day: float, whole: str) -> float:
    """MJD seconds of YYYY/MM/DD/hh:mm:ss or hh:mm:ss, the latter on the given day."""
    text = text.strip()
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d*)?)?", text):
            hours = [float(x) for x in text.split(":")]
            return day + float(np.dot(hours, [3600.0, 60.0, 1.0][: len(hours)]))
        match = re.fullmatch(r"(\d{4})[/-](\d{1,2})[/-](\d{1,2})(?:[/T ](.*))?", text)
        if match is None:
            raise ValueError
        date = f"{match[1]}-{int(match[2]):02d}-{int(match[3]):02d}"
        time = Time(f"{date}T{match[4] or '00:00:00'}", format="isot", scale="utc")
        # Day and fraction apart: their sum would be 1e-6 s off and could lose the row that a limit
        # was copied from.
        return (time.jd1 - 2400000.5) * 86400.0 + time.jd2 * 86400.0
    except ValueError:
        raise SelectionError(f"timerange={whole!r}: {text!r} is no time; wanted "
                             "YYYY/MM/DD/hh:mm:ss or hh:mm:ss") from None


def parse_uv_range(uvmin: str | float | None, uvmax: str | float | None) -> UVRange:
    """Limits of uv distance from texts such as "5km", "20klambda", "300m", or numbers in metres.

    Raises
    ------
    SelectionError
        If a limit cannot be read, is negative, or the two have different units or the wrong order.
    """
    low, low_unit = parse_distance("uvmin", uvmin)
    high, high_unit = parse_distance("uvmax", uvmax)
    if uvmin is not None and uvmax is not None and low_unit != high_unit:
        raise SelectionError(f"uvmin={uvmin} and uvmax={uvmax}: one is a length, the other in "
                             "wavelengths; wanted one kind")
    high = np.inf if uvmax is None else high
    if low > high:
        raise SelectionError(f"uvmin={uvmin} is above uvmax={uvmax}")
    return UVRange(low, high, low_unit if uvmin is not None else high_unit)


def parse_distance(name: str, value: str | float | None) -> tuple[float, str]:
    """Number and unit, m or lambda, of a distance as `parse_uv_range` takes it.

    0 m where there is none.

    Raises
    ------
    SelectionError
        It cannot be read or is negative; the message calls it by its name.
    """
    if value is None:
        return 0.0, "m"
    match = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([^\W\d]*)\s*", str(value))
    if match is None or match[2] not in _UV_UNITS:
        raise SelectionError(f"{name}={value!r} cannot be read; wanted e.g. 300m, 5km, 20klambda")
    try:
        number = float(match[1])
    except ValueError:
        raise SelectionError(f"{name}={value!r} cannot be read; wanted e.g. 300m, 5km, "
                             "20klambda") from None
    if not 0 <= number < np.inf:
        raise SelectionError(f"{name}={value!r} is no distance; wanted a number of 0 or more")
    unit, factor = _UV_UNITS[match[2]]
    return number * factor, unit
