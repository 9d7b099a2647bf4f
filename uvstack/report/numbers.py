"""Numbers as a person reads them: a flux with a unit that suits it, a value with as many digits as its error has."""

from __future__ import annotations

import numpy as np


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
