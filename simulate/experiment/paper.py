"""Table 2 of Lindroos et al. (2015, MNRAS 446, 3502): stacked fluxes, means and standard deviations over 100 data sets.

Fluxes in µJy, for types 8 to 10 in mJy. Types 1 and 2 share their data. Type 7 has no noise of
equation 7, since flux and size are fitted together; its sizes are of section 4.1.7, with the
standard deviations of Figure 9.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Realisations of each type.
N_REALISATIONS = 100


@dataclass(frozen=True)
class Entry:
    """A line of Table 2: value and standard deviation, NaN where it has none; `unit` in Jy."""

    unit: float
    expected: tuple[float, float]
    uv: tuple[float, float]
    image: tuple[float, float]


_NONE = float("nan")
TABLE_2 = {
    1: Entry(1e-6, (6.00, 0.47), (6.02, 0.38), (5.89, 0.49)),
    2: Entry(1e-6, (6.00, 0.47), (6.02, 0.38), (5.73, 0.49)),
    3: Entry(1e-6, (0.99, 0.12), (0.97, 0.12), (0.93, 0.13)),
    4: Entry(1e-6, (0.99, 0.13), (0.98, 0.12), (0.94, 0.12)),
    5: Entry(1e-6, (0.99, 0.12), (0.99, 0.13), (0.94, 0.14)),
    6: Entry(1e-6, (0.99, 0.15), (0.99, 0.16), (0.91, 0.18)),
    7: Entry(1e-6, (2.96, _NONE), (2.96, 0.41), (3.01, 0.54)),
    8: Entry(1e-3, (1.00, 0.10), (0.98, 0.12), (0.90, 0.11)),
    9: Entry(1e-3, (1.00, 0.09), (1.00, 0.08), (0.97, 0.09)),
    10: Entry(1e-3, (0.20, 0.02), (0.20, 0.02), (0.17, 0.03)),
    11: Entry(1e-6, (0.99, 0.32), (1.00, 0.20), (1.06, 0.32))}
#: Targets of each type (Table 1).
N_TARGETS = {1: 25, 2: 25, 3: 900, 4: 900, 5: 900, 6: 900, 7: 900, 8: 50, 9: 50, 10: 50, 11: 900}
#: Sizes of type 7, arcsec: uv and image.
SIZES = ((1.50, 0.21), (1.55, 0.43))
#: Type 6 through the filter of section 5.4, µJy.
FILTERED = (0.94, 0.15)
