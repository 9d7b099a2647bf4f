"""Tables and keys of a survey file: which there are, how their values are read, and the error line of each slip.

A table is read against a list of keys. A reader takes the value that TOML gave and returns it in SI
and radians, or says what is wanted instead. Which keys a table may have depends on its `kind`,
where it has one. What several keys mean together is for `simulate.survey`.
"""

from __future__ import annotations

import datetime
import difflib
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from simulate.counts import MODELS
from uvstack.constants import CORRELATIONS
from uvstack.errors import CoordinateError, SurveyError, UvstackError
from uvstack.sky.components import SHAPES
from uvstack.sky.coordinates import parse_frame, to_frame

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Reader = Callable[[Any], Any]


class Unfit(Exception):
    """What is wrong with a value, for the end of an error line."""


@dataclass(frozen=True)
class Key:
    """How the value of a key is read, and what it is where it is missing."""

    read: Reader
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the file, read.

    Attributes
    ----------
    where : str
        File and table, for messages.
    kind : str
        Empty where the table has no kinds.
    values : mapping of str to value
        Of every key that it may have; those missing have their defaults.
    given : frozenset of str
        Keys that stand in the file.
    """

    where: str
    kind: str
    values: Mapping[str, Any]
    given: frozenset[str]

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def present(self, *keys: str) -> dict[str, Any]:
        """Those of the keys that stand in the file, with their values; in the order asked."""
        return {key: self.values[key] for key in keys if key in self.given}

    def fail(self, key: str, problem: str) -> SurveyError:
        """The error of one key."""
        return SurveyError(f"{self.where} {key}: {problem}")

    def lacks(self, key: str, why: str) -> SurveyError:
        """The error of a missing key."""
        return SurveyError(f"{self.where}: the key {key} is missing; {why}")

    @contextmanager
    def located(self) -> Iterator[None]:
        """Errors from below, with file and table before them."""
        try:
            yield
        except SurveyError:
            raise
        except UvstackError as error:
            raise SurveyError(f"{self.where}: {error}") from error


def load(path: Path) -> dict[str, Any]:
    """Content of a TOML file; SurveyError with the line where it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        beside = sorted(p.name for p in path.parent.glob("*.toml"))
        raise SurveyError(f"{path}: no such survey file{nearest(path.name, beside)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SurveyError(f"{path}: cannot be read as a survey file: {error}") from error
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
        where, text = (f", line {found[2]}, column {found[3]}",
                       found[1]) if found else ("", str(error))
        raise SurveyError(f'{path}{where}: not TOML: {text} (texts, and numbers with '
                          'units, stand in "quotes")') from error


def read_one(path: Path, content: Mapping[str, Any], name: str) -> Table:
    """The table [name], which need not be there."""
    raw = content.get(name, {})
    if not isinstance(raw, dict):
        raise SurveyError(f"{path}: {name}: found {_shown(raw)}; wanted one table, written "
                          f"[{name}]")
    where = f"{path}: [{name}]"
    if name == "pointing":
        return read_kind(where, raw, POINTING)
    return read_table(where, raw, {"observation": OBSERVATION, "noise": NOISE}[name])


def read_many(path: Path, content: Mapping[str, Any], name: str) -> tuple[Table, ...]:
    """The tables [[name]] in the order of the file; a single one may be written [name]."""
    raw = content.get(name, [])
    tables = [raw] if isinstance(raw, dict) else raw
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SurveyError(f"{path}: {name}: found {_shown(raw)}; wanted tables, each written "
                          f"[[{name}]]")
    kinds = {"sky": SKY, "corruption": CORRUPTION}[name]
    return tuple(read_kind(f"{path}: [[{name}]] {t.get('name', i)!r}", t, kinds)
                 for i, t in enumerate(tables, 1))


def read_kind(where: str, raw: Mapping[str, Any], kinds: Mapping[str, Mapping[str, Key]]) -> Table:
    """A table whose keys depend on its key `kind`."""
    if "kind" not in raw:
        raise SurveyError(f"{where}: the key kind is missing; wanted one of {', '.join(kinds)}")
    kind = raw["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise SurveyError(f"{where} kind = {_shown(kind)}: wanted one of "
                          f"{', '.join(kinds)}{nearest(kind, kinds)}")
    for key in raw:
        users = [other for other, keys in kinds.items() if key in keys]
        if key != "kind" and users and kind not in users:
            raise SurveyError(f"{where} {key}: a key of {' or '.join(users)}; the kind here is "
                              f"{kind}, which takes {', '.join(kinds[kind])}")
    return read_table(where, raw, {"kind": Key(text), **kinds[kind]}, kind)


def read_table(where: str, raw: Mapping[str, Any], keys: Mapping[str, Key],
               kind: str = "") -> Table:
    """A table read against a list of keys.

    Raises
    ------
    SurveyError
        A key is unknown or missing, or its value is not what its reader wants.
    """
    for name in raw:
        if name not in keys:
            raise SurveyError(f"{where} {name}: unknown{nearest(name, keys)}; known are "
                              f"{', '.join(keys)}")
    values = {name: key.default for name, key in keys.items()}
    for name, value in raw.items():
        try:
            values[name] = keys[name].read(value)
        except Unfit as error:
            raise SurveyError(f"{where} {name} = {_shown(value)}: {error}") from None
    for name, key in keys.items():
        if key.required and name not in raw:
            raise SurveyError(f"{where}: the key {name} is missing; wanted is {_wanted(key.read)}")
    return Table(where, kind, values, frozenset(raw))


def nearest(name: Any, names: Iterable[Any]) -> str:
    """The end of a message that asks for the nearest name; empty where none is near."""
    close = difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def directions(texts: str | list[str], frame: str) -> tuple[np.ndarray, np.ndarray]:
    """J2000 ra and dec (n,) in rad of texts in a frame; Unfit where one is no direction."""
    found = []
    for one in [texts] if isinstance(texts, str) else texts:
        words = one.replace(",", " ").split()
        if len(words) == 2 and all(_is_number(word) for word in words):
            raise Unfit(f'{one!r} has no units; wanted is "03h49m10.99s -30d00m00s" or "57.3d '
                        '-30d"')
        try:
            unit = (u.deg if frame.upper() == "GALACTIC" else u.hourangle, u.deg)
            found.append(SkyCoord(" ".join(words), unit=unit, frame=parse_frame(frame)))
        except (ValueError, TypeError, u.UnitsError):
            raise Unfit(f'{one!r} is no direction; wanted is "03h49m10.99s -30d00m00s" '
                        'or "57.3d -30d"') from None
    where = [to_frame(c, "J2000") for c in found]
    return np.array([float(w[0]) for w in where]), np.array([float(w[1]) for w in where])


def _wanted(read: Reader) -> str:
    """What a reader wants: the first line of its docstring."""
    return (read.__doc__ or "a value").splitlines()[0].rstrip(".")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Readers. The docstring of each says what it wants, and goes into messages.


def text(value: Any) -> str:
    """text in quotes"""
    if not isinstance(value, str) or not value.strip():
        raise Unfit("wanted is text in quotes, not empty")
    return value.strip()


def truth(value: Any) -> bool:
    """true or false"""
    if not isinstance(value, bool):
        raise Unfit("wanted is true or false, without quotes")
    return value


def utc(value: Any) -> str:
    """a time in UTC such as 2024-03-01T22:00:00"""
    if isinstance(value, datetime.datetime):
        value = value if value.tzinfo is None else value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        value = value.isoformat()
    try:
        return str(Time(text(value), scale="utc").isot)
    except (ValueError, Unfit):
        raise Unfit("wanted is a time in UTC such as 2024-03-01T22:00:00") from None


def frame_name(value: Any) -> str:
    """a frame such as J2000"""
    try:
        parse_frame(text(value))
    except CoordinateError as error:
        raise Unfit(str(error)) from None
    return value.strip().upper()


def _numbers(lowest: float = -math.inf, whole: bool = False) -> Reader:
    what = f"a {'whole ' if whole else ''}number without a unit" + (f", {lowest:g} or more"
                                                                    if math.isfinite(lowest)
                                                                    else "")

    def read(value: Any) -> float:
        good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or value < lowest:
            raise Unfit(f"wanted is {what}")
        return value if whole else float(value)

    read.__doc__ = what
    return read


def _quantity(unit: u.UnitBase, example: str, lowest: float = -math.inf,
              above: bool = False) -> Reader:
    """Reader of a text with a unit into a float of `unit`."""
    limit = "" if not math.isfinite(lowest) else ", above 0" if above else ", 0 or more"
    what = f'a text with a number and a unit, such as "{example}"'

    def read(value: Any) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise Unfit(f'a bare number has no unit; wanted is {what}')
        if not isinstance(value, str):
            raise Unfit(f"wanted is {what}")
        try:
            number = float(u.Quantity(value).to_value(unit))
        except u.UnitConversionError:
            found = str(u.Quantity(value).unit)
            raise Unfit(f"the unit {found!r} does not fit; wanted is {what}" if found
                        else f"there is no unit; wanted is {what}") from None
        except (TypeError, ValueError):
            raise Unfit(f"this cannot be read; wanted is {what}") from None
        if not math.isfinite(number) or number < lowest or (above and number == lowest):
            raise Unfit(f"wanted is {what}{limit}")
        return number

    read.__doc__ = what
    return read


def _choice(names: Iterable[str]) -> Reader:
    known = tuple(names)

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise Unfit(f"wanted is one of {', '.join(known)}{nearest(value, known)}")
        return value

    read.__doc__ = f"one of {', '.join(known)}"
    return read


def _list(read_item: Reader) -> Reader:
    what = f"a list in [brackets], each item {_wanted(read_item)}"

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise Unfit(f"wanted is {what}, one or more")
        return [read_item(item) for item in value]

    read.__doc__ = what
    return read


def _pair(read_item: Reader, ordered: bool = True) -> Reader:
    what = f"a list of two in [brackets], each {_wanted(read_item)}"

    def read(value: Any) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != 2:
            raise Unfit(f"wanted is {what}")
        first, second = map(read_item, value)
        if ordered and not first <= second:
            raise Unfit("the first is the larger; wanted is the smaller first")
        return first, second

    read.__doc__ = what
    return read


def _either(single: Reader, several: Reader) -> Reader:
    """Reader of one value, or of a list of them."""

    def read(value: Any) -> Any:
        return several(value) if isinstance(value, list) else single(value)

    read.__doc__ = f"{_wanted(single)}, or {_wanted(several)}"
    return read


def _index(value: Any) -> tuple[float, float]:
    """a number, or [mean, scatter]"""
    mean, scatter = _either(_numbers(),
                            _pair(_numbers(),
                                  ordered=False))(value) if isinstance(value, list) else (
        _numbers()(value), 0.0)
    if scatter < 0:
        raise Unfit("the scatter is negative; wanted is a number, or [mean, scatter]")
    return mean, scatter


def _antenna(value: Any) -> int | str:
    """a number counted from 0, or a name in quotes"""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Unfit("wanted are antennas by number, counted from 0, or by name in quotes")
    return value


# ---------------------------------------------------------------------------------------------------------------------
# The tables

_ANGLE = _quantity(u.rad, "20 deg")
_EXTENT = _quantity(u.rad, "30 arcmin", 0.0)
_STEP = _quantity(u.rad, "12 arcmin", 0.0, above=True)
_SIZE = _quantity(u.rad, "1.5 arcsec", 0.0)
_FLUX = _quantity(u.Jy, "10 mJy", 0.0)
_TIME = _quantity(u.s, "10 s", 0.0, above=True)
_FREQUENCY = _quantity(u.Hz, "1.4 GHz", 0.0, above=True)
_NUMBER, _FRACTION = _numbers(), _numbers(0.0)
_J2000 = Key(frame_name, "J2000")

OBSERVATION = {"array": Key(text, required=True), "frequency": Key(_FREQUENCY),
               "bandwidth": Key(_quantity(u.Hz, "250 MHz", 0.0, above=True)),
               "channels": Key(_numbers(1, whole=True), 1), "frequencies": Key(_list(_FREQUENCY)),
               "channel_width": Key(_quantity(u.Hz, "25 MHz", 0.0, above=True)),
               "integration": Key(_TIME, required=True),
               "duration": Key(_quantity(u.s, "2 h", 0.0, above=True)), "start": Key(utc),
               "correlations": Key(_list(_choice(CORRELATIONS.values())), ["RR", "LL"]),
               "primary_beam": Key(text, "constant"),
               "elevation_limit": Key(_ANGLE, math.radians(8.0))}

_MOSAIC = {"centre": Key(text, required=True), "frame": _J2000, "name": Key(text),
           "width": Key(_EXTENT, required=True), "height": Key(_EXTENT)}
_GRID = {**_MOSAIC, "spacing": Key(_STEP, required=True), "dwell": Key(_TIME)}
POINTING = {"single": {"centre": Key(text, required=True), "frame": _J2000, "name": Key(text)},
            "list": {"positions": Key(_either(text, _list(text))), "frame": _J2000,
                     "sources": Key(text), "name": Key(text), "dwell": Key(_TIME)},
            "rectangular": _GRID, "hexagonal": _GRID,
            "on-the-fly": {**_MOSAIC, "row_spacing": Key(_STEP, required=True),
                           "speed": Key(_quantity(u.rad / u.s, "3.3 arcmin/s", 0.0, above=True),
                                        required=True),
                           "phase_centre_every": Key(_numbers(1, whole=True), 1)}}

_NAME_AND_TARGET = {"name": Key(text), "target": Key(truth)}
_SPECTRUM = {"reference_frequency": Key(_FREQUENCY)}


def _each(read: Reader, default: Any = None, required: bool = False) -> Key:
    return Key(_either(read, _list(read)), default, required)


SKY = {"source-counts": {**_NAME_AND_TARGET, "model": Key(_choice(MODELS), required=True),
                         "n": Key(_numbers(0, whole=True)), "flux_range": Key(_pair(_FLUX)),
                         "flux": Key(_FLUX), "fluxes": Key(_list(_FLUX)), "s_star": Key(_FLUX),
                         "alpha": Key(_NUMBER),
                         "density": Key(_quantity(1 / u.sr, "1000 / deg2", 0.0)),
                         "slope": Key(_NUMBER),
                         "amplitude": Key(_quantity(1 / u.sr / u.Jy, "20 / (sr Jy)", 0.0)),
                         "centre": Key(text), "frame": _J2000, "width": Key(_EXTENT),
                         "height": Key(_EXTENT), "within": Key(_SIZE), "of": Key(text),
                         "shape": Key(_choice(SHAPES)),
                         "fwhm": Key(_either(_SIZE, _pair(_SIZE)), 0.0),
                         "axis_ratio": Key(_either(_FRACTION, _pair(_FRACTION)), 1.0),
                         "position_angle": Key(_either(_ANGLE, _pair(_ANGLE)), 0.0),
                         "spectral_index": Key(_index, (0.0, 0.0)), "curvature": Key(_NUMBER, 0.0),
                         **_SPECTRUM, "q": Key(_NUMBER, 0.0), "u": Key(_NUMBER, 0.0),
                         "v": Key(_NUMBER, 0.0)},
       "components": {**_NAME_AND_TARGET, "position": _each(text, required=True), "frame": _J2000,
                      "flux": _each(_FLUX, required=True), "shape": _each(_choice(SHAPES)),
                      "fwhm_major": _each(_SIZE, 0.0), "fwhm_minor": _each(_SIZE),
                      "position_angle": _each(_ANGLE, 0.0), "spectral_index": _each(_NUMBER, 0.0),
                      "curvature": _each(_NUMBER, 0.0), **_SPECTRUM, "q": _each(_NUMBER, 0.0),
                      "u": _each(_NUMBER, 0.0), "v": _each(_NUMBER, 0.0)},
       "catalogue": {**_NAME_AND_TARGET, "file": Key(text, required=True), **_SPECTRUM},
       "image": {"name": Key(text), "file": Key(text, required=True),
                 "spectral_index": Key(_NUMBER, 0.0), **_SPECTRUM}}

NOISE = {"sigma": Key(_FLUX), "sefd": Key(_quantity(u.Jy, "420 Jy", 0.0)),
         "t_sys": Key(_quantity(u.K, "50 K", 0.0)), "pwv": Key(_quantity(u.mm, "2 mm", 0.0)),
         "t_receiver": Key(_quantity(u.K, "60 K", 0.0)),
         "dish_diameter": Key(_quantity(u.m, "25 m", 0.0, above=True)),
         "aperture_efficiency": Key(_FRACTION), "efficiency": Key(_FRACTION),
         "surface_rms": Key(_quantity(u.m, "25 um", 0.0))}

_IN_TIME = {"timescale": Key(_quantity(u.s, "10 min", 0.0, above=True)),
            "power_law_index": Key(_NUMBER)}
_GAINS = {"amplitude_rms": Key(_FRACTION, required=True),
          "phase_rms": Key(_quantity(u.rad, "20 deg", 0.0), required=True)}
CORRUPTION = {"phase-errors": {"rms": _GAINS["phase_rms"],
                               "timescale": Key(_IN_TIME["timescale"].read, required=True),
                               "power_law_index": _IN_TIME["power_law_index"]},
              "delays": {"rms": Key(_quantity(u.s, "1 ns", 0.0), required=True),
                         "timescale": _IN_TIME["timescale"],
                         "reference_frequency": Key(_FREQUENCY)},
              "complex-gains": {**_GAINS, **_IN_TIME},
              "bandpass": {**_GAINS, "n_ripples": Key(_numbers(1, whole=True))},
              "direction-dependent-gains": {"sources": Key(_list(text), required=True), **_GAINS,
                                            **_IN_TIME},
              "pointing-errors": {"rms": Key(_quantity(u.rad, "20 arcsec", 0.0), required=True),
                                  **_IN_TIME},
              "random-flags": {"fraction": Key(_FRACTION, required=True)},
              "antenna-flags": {"antennas": Key(_list(_antenna), required=True), "from": Key(utc),
                                "to": Key(utc)}}

TOP = {"seed": Key(_numbers(0, whole=True), 0)} | {name: Key(lambda value: value)
                                                   for name in ("observation", "pointing", "sky",
                                                                "noise", "corruption")}
