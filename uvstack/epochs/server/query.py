"""What is asked for: fields of a form, of an address or of JSON, read into one record, and back into an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uvstack.checks import finite_number, one_of, whole_number
from uvstack.epochs.server.cutout_files import Region
from uvstack.epochs.server.position_text import is_name, read_position
from uvstack.errors import CoordinateError, SelectionError

#: Units of a size, in degrees; pixels are counted.
UNITS = {"arcmin": 1 / 60, "arcsec": 1 / 3600, "deg": 1.0, "pixel": 0.0}
#: What a form has before anything is typed.
DEFAULTS = {"position": "", "size": "2", "unit": "arcmin", "rms_box": "50", "product": "", "combine": "yes"}
_LARGEST_BOX = 1000
#: Contours of an image, and their least multiple of the rms: below it is a line round every grain of noise.
_MOST_LEVELS, _LEAST_LEVEL = 12, 1.5
_YES, _NO = {"1", "yes", "true", "on"}, {"", "0", "no", "false", "off"}


@dataclass(frozen=True)
class Settings:
    """What is asked for of every position.

    Attributes
    ----------
    size : float
        Side, in `unit`.
    unit : str
        Key of `UNITS`.
    product : str
        Key of `PRODUCTS`.
    rms_box : int
        Pixels along the box in which combination measures the noise.
    combine : bool
        Whether epochs are combined.
    """

    size: float
    unit: str
    product: str
    rms_box: int
    combine: bool

    def region(self, ra: float, dec: float) -> Region:
        """What is cut around a direction (degrees)."""
        pixels = self.unit == "pixel"
        return Region(ra, dec, self.size if pixels else self.size * UNITS[self.unit], pixels)

    def words(self) -> dict[str, str]:
        """As fields of a form."""
        return {"size": f"{self.size:g}", "unit": self.unit, "rms_box": str(self.rms_box),
                "product": self.product, "combine": "yes" if self.combine else "no"}


@dataclass(frozen=True)
class Query:
    """A direction (ICRS, degrees), what it was called, and what is asked for of it."""

    position: str
    ra: float
    dec: float
    settings: Settings

    def words(self) -> dict[str, str]:
        """As fields of a form, of which a permanent address is made."""
        return {"position": self.position, **self.settings.words()}


def read_settings(fields: Mapping[str, Any], products: Sequence[str]) -> Settings:
    """Of fields; those that are absent have `DEFAULTS`, and the product is the first that the archive has.

    Raises
    ------
    SelectionError
        One of them cannot be.
    """
    given = {name: str(fields[name]).strip() if fields.get(name) not in (None, "") else default
             for name, default in DEFAULTS.items()}
    unit = one_of("unit", given["unit"], list(UNITS))
    size = finite_number("size", _number("size", given["size"]), 0.0, 1e6, above=True, unit=unit)
    if unit == "pixel":
        size = float(whole_number("size", _number("size", given["size"], int), 2))
    product = one_of("product", given["product"] or products[0], products)
    box = whole_number("rms_box", _number("rms_box", given["rms_box"], int), 3, _LARGEST_BOX)
    combine = str(fields.get("combine", DEFAULTS["combine"])).strip().lower()
    if combine not in _YES | _NO:
        raise SelectionError(f"combine={combine!r} is unknown; wanted is yes or no")
    return Settings(size, unit, product, box, combine in _YES)


def _number(name: str, text: str, kind: type = float) -> Any:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SelectionError(f"{name}={text[:40]!r} cannot be read; wanted is {wanted}") from None


def read_query(fields: Mapping[str, Any], products: Sequence[str],
               resolve: Callable[[str], tuple[float, float]]) -> Query:
    """Of fields: `position`, or `ra` and `dec`, and those of `read_settings`.

    Raises
    ------
    SelectionError, CoordinateError, NameLookupError
    """
    settings = read_settings(fields, products)
    text = str(fields.get("position") or "").strip()
    if not text and fields.get("ra") not in (None, "") and fields.get("dec") not in (None, ""):
        text = f"{fields['ra']}, {fields['dec']}"
    if not text:
        raise CoordinateError("no position was given; wanted is RA and Dec, or the name of an object")
    ra, dec = resolve(text) if is_name(text) else read_position(text)
    return Query(text, ra, dec, settings)


def read_circle(text: str) -> Region:
    """Square around the CIRCLE of SODA: RA, Dec and radius in degrees.

    Raises
    ------
    SelectionError, CoordinateError
    """
    words = text.replace(",", " ").split()
    try:
        ra, dec, radius = (float(word) for word in words)
    except ValueError:
        raise SelectionError(f"CIRCLE={text[:60]!r} cannot be read; wanted are RA, Dec and radius in degrees: "
                             "CIRCLE=40.534 -1.477 0.01") from None
    if not np.isfinite([ra, dec, radius]).all() or not 0.0 < radius <= 180.0:
        raise SelectionError(f"CIRCLE={text[:60]!r} has a radius of {radius:g}; wanted are three finite numbers, "
                             "the radius above 0 and at most 180")
    where = read_position(f"{ra!r} {dec!r}")
    return Region(*where, 2.0 * radius)


def read_levels(text: str) -> list[float]:
    """Multiples of the noise at which contours are drawn, with commas between them.

    Raises
    ------
    SelectionError
    """
    words = [word for word in text.replace(",", " ").split() if word]
    try:
        levels = [float(word) for word in words]
    except ValueError:
        levels = []
    if not 1 <= len(levels) <= _MOST_LEVELS or not all(_LEAST_LEVEL <= abs(one) < 1e6 for one in levels):
        raise SelectionError(f"levels={text[:60]!r} cannot be; wanted are 1 to {_MOST_LEVELS} multiples of the rms, "
                             f"from {_LEAST_LEVEL:g}: levels=3,6,12")
    return sorted(levels)
