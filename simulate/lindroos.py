"""The eleven data set types of Lindroos et al. (2015), section 2 and Table 1, as skies, pointings and settings.

`scale` shrinks a type without changing what it tests: sources and integrations are scaled in
number, and the noise of a visibility with the square root of the integrations, so that the map is
as deep as at full scale and the field as large. Pointings of a mosaic stay, and are visited for
less time.

Where the paper contradicts itself: Table 1 gives the bright sources of types 1 to 4 as 5 mJy, the
text as 10 mJy; the text is followed, since its thresholds refer to them. S* of the targets of type
11 is 1.7 µJy as in the text, not 0.5 mJy. The mosaic of types 8 and 10, a triangle grid 20″ apart,
has 22 pointings there and 23 here. Noise of ALMA is that of 2 mm of water: 0.09 mJy/beam for a
pointing of 360 s, as the observatory's sensitivity calculator has it, where the paper states 0.4
and 0.5 mJy/beam of its maps. The positions and fluxes are drawn anew with every seed. Types 2 and 1
differ in imaging alone. For type 11 the 600 000 s are written as the track of one day of 9.4 h with
the noise of all days together: the uv-coverage is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulate.counts import lower_limit
from simulate.noise import Noise
from simulate.pointings import Pointings, at_positions, hexagonal_mosaic, single
from simulate.skies import Around, Rectangle, source_counts
from uvstack.checks import check_seed
from uvstack.errors import SelectionError
from uvstack.sky.components import concatenate

_ARCSEC = np.pi / 180 / 3600
_ARCMIN = 60 * _ARCSEC
#: 3h49m10.99s, −30°, J2000: the centre of every field.
CENTRE = (float(np.deg2rad(15 * (3 + 49 / 60 + 10.99 / 3600))), float(np.deg2rad(-30.0)))
_VLA_FREQUENCY = 1.4e9 + 25e6 * (np.arange(10) - 4.5)
_ALMA_FREQUENCY = 230e9 + 40e6 * (np.arange(100) - 49.5)
_VLA_HOURS, _INTEGRATION, _SPARSE_SECONDS = 9.4, 10.0, 600_000.0
_VLA_NOISE = 10e-3
#: Of the 9.4 h, the first and last quarter of an hour see the field up to 2.4° below the horizon of
#: the VLA. The paper has them all (2.1 µJy wants 3384 integrations), and so have we.
_LOWEST = float(np.deg2rad(-3.0))
#: Integrations of a pointing, how many at a visit, and their length in s.
_ALMA_TIMES, _ALMA_DWELL, _ALMA_INTEGRATION = 60, 6, 6.0
_WIDE, _NARROW, _ALMA = 30 * _ARCMIN, 5 * _ARCMIN, 100 * _ARCSEC


@dataclass(frozen=True)
class Recipe:
    """What `simulate.observe` needs for one type: its keyword arguments, without `out` and `seed`."""

    type: int
    studied: str
    settings: dict[str, Any]


def recipe(number: int, seed: int = 0, scale: float = 1.0) -> Recipe:
    """Recipe of a data set type.

    Parameters
    ----------
    number : int
        1 … 11.
    seed : int
        Of the sky.
    scale : float
        1 is the paper's size; 0.1 has a tenth of the sources and of the integrations.

    Raises
    ------
    SelectionError
        If there is no such type, or the scale is not in (0, 1].
    """
    if number not in STUDIED:
        raise SelectionError(f"type {number!r}: the paper has data set types 1 to 11")
    if not 0 < scale <= 1:
        raise SelectionError(f"scale {scale}: wanted more than 0 and at most 1")
    check_seed(seed)
    rng = np.random.default_rng([seed, number])
    return Recipe(number, STUDIED[number],
                  _alma(number, rng, scale) if 8 <= number <= 10 else _vla(number, rng, scale))


#: What each type is for.
STUDIED = {1: "basic VLA observation", 2: "lower resolution imaging", 3: "wide-field effects",
            4: "flux distribution of target sources", 5: "flux distribution of bright sources",
            6: "extended bright sources", 7: "extended target sources", 8: "contiguous ALMA mosaic",
            9: "non-contiguous ALMA mosaic", 10: "flux distribution of bright sources, ALMA",
            11: "sparse uv-coverage"}


def _number(n: int, scale: float) -> int:
    return max(int(round(n * scale)), 1)


def _square(width: float) -> Rectangle:
    """A square field around the centre."""
    return Rectangle(*CENTRE, width, width)


def _vla(number: int, rng: np.random.Generator, scale: float) -> dict[str, Any]:
    """Types 1 to 7 and 11."""
    area = _square(_NARROW if number <= 2 else _WIDE)
    if number <= 4:
        n_bright, counted = 1 if number <= 2 else _number(10, scale), dict[str, Any](
            model="fixed", flux=10e-3)
    else:
        # The limit of the 417 brightest does not move with the scale, so neither does the
        # distribution.
        n_bright = _number(417, scale)
        counted = dict(model="bondi2008", flux_range=(lower_limit("bondi2008", 417, _WIDE**2), 1.0))
    fixed = {1: 6e-6, 2: 6e-6, 3: 1e-6, 7: 2.96e-6}.get(number)
    faint = dict[str, Any](model="schechter") if fixed is None else dict[str, Any](
        model="fixed", flux=fixed)
    bright = source_counts(n=n_bright, area=area, rng=rng, name="bright", **counted,
                           fwhm=(0.5 * _ARCSEC, 5.0 * _ARCSEC) if number in (6, 7) else 0.0)
    targets = source_counts(n=_number(25 if number <= 2 else 900, scale), area=area, rng=rng,
                            name="target", target=True, **faint,
                            fwhm=1.5 * _ARCSEC if number == 7 else 0.0)
    full = int(round(_VLA_HOURS * 3600.0 / _INTEGRATION))
    n_times = _number(full, scale)
    # As many integrations fewer, as much less noise in each; the sparse array's week is written as
    # one day's track.
    noise = _VLA_NOISE * np.sqrt(n_times / full)
    if number == 11:
        noise *= np.sqrt(_VLA_HOURS * 3600.0 / _SPARSE_SECONDS)
    return {"array": "vla.sparse" if number == 11 else "vla.a",
            "sky": concatenate([bright, targets]), "pointings": single(*CENTRE),
            "frequency": _VLA_FREQUENCY, "integration": _INTEGRATION,
            "duration": _INTEGRATION * n_times, "primary_beam": "vla", "noise": float(noise),
            "elevation_limit": _LOWEST}


def _alma(number: int, rng: np.random.Generator, scale: float) -> dict[str, Any]:
    """Types 8 to 10."""
    if number == 10:
        limits = lower_limit("bethermin2012", 282, _ALMA**2, upper=10e-3), 10e-3
        bright = source_counts("bethermin2012", _number(282, scale), area=_square(_ALMA), rng=rng,
                               flux_range=limits, name="bright")
    else:
        field = _square(_ALMA if number == 8 else _NARROW)
        bright = source_counts("fixed", _number(10, scale), area=field, rng=rng, flux=30e-3,
                               name="bright")
    n_times = _number(_ALMA_TIMES, scale)
    dwell = min(_ALMA_DWELL, n_times)
    if number == 9:
        area: Rectangle | Around = Around(bright.ra, bright.dec, 11.2 * _ARCSEC)
        pointings: Pointings = at_positions(bright.ra, bright.dec, dwell=dwell)
    else:
        area, pointings = _square(_ALMA), hexagonal_mosaic(*CENTRE, 80 * _ARCSEC, 80 * _ARCSEC,
                                                           20 * _ARCSEC, dwell=dwell)
    targets = source_counts("fixed", _number(50, scale), area=area, rng=rng, name="target",
                            target=True, flux=0.2e-3 if number == 10 else 1e-3)
    noise = replace(Noise.from_water_vapour(2.0), factor=float(np.sqrt(n_times / _ALMA_TIMES)))
    return {"array": "alma.cycle1", "sky": concatenate([bright, targets]), "pointings": pointings,
            "frequency": _ALMA_FREQUENCY, "correlations": ("XX", "YY"),
            "integration": _ALMA_INTEGRATION,
            "duration": _ALMA_INTEGRATION * n_times * len(pointings), "primary_beam": "alma",
            "noise": noise}
