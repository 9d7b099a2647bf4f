"""Directions in any usual notation, and lists of them of which bad lines are told one by one.

Plain numbers are degrees; sexagesimal right ascensions are hours. Read are, in ICRS unless a frame
is named, ``40.534 -1.477``, ``02:42:08.1 -01:28:35.6``, ``02 42 08.1 -01 28 35.6``,
``2h42m8.1s, -1d28m35.6s``, ``J024208.1-012835.6``, ``B1950 02h39m35s -01d41m20s``,
``GALACTIC 173.6 -52.5``.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import numpy as np

from uvstack.errors import CoordinateError
from uvstack.sky.coordinates import FRAME_NAMES, angle_from_text, in_frame

_J_NAME = re.compile(r"J?(\d{2})(\d{2})(\d{2}(?:\.\d*)?)([+-])(\d{2})(\d{2})(\d{2}(?:\.\d*)?)", re.IGNORECASE)
_LABEL = re.compile(r"\b(?:ra|dec|de|lon|lat)\s*[=:]\s*", re.IGNORECASE)
#: Signs that are typed or pasted in place of plain ones.
_SIGNS = str.maketrans({"−": "-", "–": "-", "°": "d", "º": "d", "′": "m", "’": "m", "″": "s", "”": "s",
                        "'": "m", '"': "s", "ʰ": "h", "ᵐ": "m", "ˢ": "s"})
_UNITS = re.compile(r"(?<=\d|\.)\s*(?:hours?|degrees?|deg|rad|[hdms])(?=[\s\d.:,;+-]|$)", re.IGNORECASE)
_EXAMPLE = "wanted RA and Dec, such as 40.534 -1.477 (degrees), 02:42:08.1 -01:28:35.6 or J024208.1-012835.6"
#: Turns that a plain right ascension may be off by.
_MOST_DEGREES = 720.0
#: Names of columns of a list.
_COLUMNS = {"ra": {"ra", "ra_deg", "raj2000", "_ra", "right_ascension", "lon"},
            "dec": {"dec", "dec_deg", "dej2000", "decj2000", "_dec", "_de", "de", "declination", "lat"},
            "name": {"name", "source", "id", "object", "target"}}
#: Letters of a line that are told back.
_TOLD = 80


def read_position(text: str) -> tuple[float, float]:
    """RA and Dec (ICRS, degrees) of a direction in any usual notation.

    Raises
    ------
    CoordinateError
        It is none.
    """
    plain = _LABEL.sub(" ", text.translate(_SIGNS)).strip()
    found = _J_NAME.fullmatch(plain)
    if found:
        plain = "{}:{}:{} {}{}:{}:{}".format(*found.groups())
    words = [word for word in re.split(r"[\s,;]+", plain) if word]
    frame = words.pop(0).upper() if words and words[0].upper() in FRAME_NAMES else "ICRS"
    if not words or len(words) % 2 or len(words) > 6:
        raise CoordinateError(f"{_short(text)!r} cannot be read as a position; {_EXAMPLE}")
    half = len(words) // 2
    ra = _angle(" ".join(words[:half]), text, hours=frame != "GALACTIC")
    dec = _angle(" ".join(words[half:]), text, hours=False)
    if abs(dec) > 90.0:
        raise CoordinateError(f"{_short(text)!r} has a declination of {dec:g}°; wanted is -90° to 90°")
    if abs(ra) > _MOST_DEGREES:
        raise CoordinateError(f"{_short(text)!r} has a right ascension of {ra:g}°; wanted is 0° to 360°")
    lon, lat = in_frame(np.deg2rad(ra % 360.0), np.deg2rad(dec), frame, "ICRS")
    return float(np.rad2deg(lon)) % 360.0, float(np.rad2deg(lat))


def _angle(text: str, whole: str, hours: bool) -> float:
    """Degrees."""
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None:
        try:
            value = float(np.rad2deg(angle_from_text(text, hours=hours)))
        except CoordinateError:
            raise CoordinateError(f"{_short(whole)!r} cannot be read as a position; {_EXAMPLE}") from None
    if not np.isfinite(value):
        raise CoordinateError(f"{_short(whole)!r} is not finite; {_EXAMPLE}")
    return value


def is_name(text: str) -> bool:
    """Whether a text can only be the name of an object: it has letters that are no units."""
    plain = _LABEL.sub(" ", text.translate(_SIGNS)).strip()
    words = plain.split()
    if _J_NAME.fullmatch(plain) or (words and words[0].upper() in FRAME_NAMES):
        return False
    return bool(re.search(r"[^\W\d_]", _UNITS.sub(" ", plain)))


@dataclass(frozen=True)
class Line:
    """A line of a list: number from 1, name (may be empty), RA and Dec in degrees, or what is wrong with it."""

    number: int
    text: str
    name: str = ""
    ra: float = float("nan")
    dec: float = float("nan")
    error: str = ""


def read_list(text: str) -> list[Line]:
    """Every line of a list of positions that is not empty and no comment; CSV or white space, with or without a head."""
    lines = text.lstrip("\ufeff").splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)
                if line.strip() and not line.strip().startswith("#")]
    if not numbered:
        return []
    head = _head_of(_fields(numbered[0][1]))
    return [_line(number, line, head) for number, line in numbered[1 if head else 0:]]


def _fields(line: str) -> list[str]:
    separator = next((one for one in ",;\t|" if one in line), None)
    if separator is None:
        return line.split()
    return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]


def _head_of(fields: list[str]) -> dict[str, int]:
    """Number of the column of each word, where the first line says it."""
    words = [re.sub(r"[\s(\[]+(deg|degrees|hms|dms|j2000|icrs)?[)\]]*$", "", field.strip("\"'").lower())
             for field in fields]
    found = {name: words.index(word) for name, known in _COLUMNS.items() for word in words if word in known}
    return found if {"ra", "dec"} <= set(found) else {}


def _line(number: int, line: str, head: dict[str, int]) -> Line:
    try:
        fields = _fields(line)
    except csv.Error as error:
        return Line(number, _short(line), error=f"cannot be read as CSV: {error}")
    if head:
        if len(fields) <= max(head.values()):
            return Line(number, _short(line), error=f"has {len(fields)} fields; wanted are "
                                                    f"{max(head.values()) + 1} as the first line says")
        name = fields[head["name"]] if "name" in head else ""
        choices = [(name, [fields[head["ra"]], fields[head["dec"]]])]
    else:
        choices = _choices(fields)
    found, problem = [], ""
    for name, words in choices:
        try:
            found.append(Line(number, _short(line), _short(name), *read_position(" ".join(words))))
        except CoordinateError as error:
            problem = problem or str(error)
    if len(found) > 1:
        return Line(number, _short(line), error="is ambiguous: which of its numbers are RA and Dec? Put a first "
                                                "line with the names of the columns (name, ra, dec)")
    return found[0] if found else Line(number, _short(line), error=problem)


def _choices(fields: list[str]) -> list[tuple[str, list[str]]]:
    """What may be the name and what the position in a line without a head; the place of the name is not known."""
    if len(fields) < 3 or len(fields) == 6:
        return [("", fields)]
    if len(fields) in (3, 7):
        return [(fields[0], fields[1:]), (fields[-1], fields[:-1])]
    return [("", fields[:2]), (fields[0], fields[1:3])]


def _short(text: str) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _TOLD else text[:_TOLD - 1] + "…"
