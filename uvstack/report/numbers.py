"""Numbers as a person reads them, with the digits that their errors allow, and as JSON holds them, with the units in the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from uvstack.records import plain

if TYPE_CHECKING:
    from astropy.table import QTable

#: What keys of JSON end with, and the unit: others are written in these.
_SUFFIXES = {"_jy_per_beam": u.Jy / u.beam, "_jy": u.Jy, "_rad": u.rad, "_hz": u.Hz, "_m": u.m,
             "_s": u.s}


def flux_unit(flux: float) -> tuple[str, float]:
    """Name and size in Jy of the unit that suits a flux."""
    for name, size in (("Jy", 1.0), ("mJy", 1e-3), ("µJy", 1e-6)):
        if abs(flux) >= 0.3 * size:
            return name, size
    return ("nJy", 1e-9) if abs(flux) < 3e-8 else ("µJy", 1e-6)


def with_error(value: float, error: float, size: float) -> str:
    """A value and its error in units of `size`, both to the second digit of the error: "26.7 ± 4.0"."""
    if not (np.isfinite(error) and error > 0):
        return f"{value / size:.4g} ± {error / size:.2g}"
    decimals = max(1 - int(np.floor(np.log10(error / size))), 0)
    return f"{value / size:.{decimals}f} ± {error / size:.{decimals}f}"


def distribution(values: np.ndarray, unit: str = "") -> dict[str, Any]:
    """Of resampled or random values with a unit such as "_jy", for JSON: number, standard deviation, mean, percentiles; NaN is left out."""
    values = values[np.isfinite(values)]
    percent = (2.5, 16, 50, 84, 97.5)
    return plain({
        "n": values.size, f"error{unit}": np.std(values, ddof=1) if values.size > 1 else None,
        f"mean{unit}": values.mean() if values.size else None, "percentiles": percent,
        f"at_percentiles{unit}": np.percentile(values, percent) if values.size else None})


def rows_of(table: QTable) -> list[dict[str, Any]]:
    """Rows of a table for JSON: columns with a unit are converted to that of the key, "flux" in mJy to "flux_jy"."""
    columns: dict[str, list] = {}
    for name in table.colnames:
        unit = getattr(table[name], "unit", None)
        if unit is None or unit == u.dimensionless_unscaled:
            columns[name] = plain(np.asarray(table[name]))
        else:
            suffix = next(suffix for suffix, of_key in _SUFFIXES.items()
                          if unit.is_equivalent(of_key))
            columns[name + suffix] = plain(u.Quantity(table[name]).to_value(_SUFFIXES[suffix]))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def unit_text(unit: u.UnitBase | None) -> str:
    """A unit as FITS headers have it: Jy/beam."""
    return "" if unit is None else str(unit).replace(" / ", "/")
