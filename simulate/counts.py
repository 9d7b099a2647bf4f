"""How many sources of which flux density, and where: differential counts, draws from them, random positions.

A model is a differential count dN/dS in sources per sr and Jy between two flux limits. Fluxes are
drawn by inverting its integral on a grid of 20 000 steps of ln S, within each of which dN/d ln S is
constant: the distribution function is right to 1e-6. The number of sources is either given or
Poisson with the mean that the model has on an area.

``schechter``
    dN/dS = (n*/S*) (S/S*)^α e^(−S/S*), Lindroos et al. (2015), equation 2, from 0.25 to 10 S*. They
    print an exponent −α beside α = −1.6: the mean that they state, 0.988 µJy for S* = 1.71 µJy,
    holds for the exponent −1.6 (0.98813 µJy), while +1.6 would give 4.45 µJy. (S* = 1.7 µJy, as in
    their section 2.2.4, gives 0.982 µJy.) Only the shape is known, unless `density`, the number per
    sr between the limits, is given.
``bondi2008``
    Counts at 1.4 GHz in the COSMOS field: a polynomial of sixth order of log S/mJy for log of S^2.5
    dN/dS (Bondi et al. 2008, ApJ 681, 1129; coefficients as in Lindroos et al. 2015, equation 3),
    fitted from 60 µJy on. Default limits 60 µJy and 1 Jy: 503 sources on 30′ × 30′. The 417 of data
    set types 5 to 7 and 11 are those above 71.4 µJy. Below 60 µJy the polynomial falls steeply and
    is no fit to anything: it has only 829 sources on 30′ × 30′ down to nothing.
``bethermin2012``
    Galaxies at 1.1 mm of the model of Béthermin et al. (2012, ApJ 757, L23): main sequence,
    starbursts, and strong lensing, which makes 1 % of the counts at 2 mJy, 17 % at 10 mJy and 55 %
    at 50 mJy. The table is the authors' own tabulation: the "counts of all sources" in the AzTEC
    passband (1.1 mm) of their grids (Bethermin2012model_grids.save at
    irfu.cea.fr/dap/Phocea/Page/index.php?id=537), summed over redshift (0.01 … 10.2), at every
    fifth flux density. The curve meets the points left out to 0.02 % below 1 mJy and 0.4 % above.
    The tabulation begins at 10 nJy; two nodes below go on with its last slope. An integral of our
    own of the same model, both without lensing, is within 0.9 % of it below 0.1 mJy, 2.5 % at 1
    mJy, 9 % at 10 mJy (scripts/make_bethermin_counts.py). Sources per square degree: 99 400 above
    10 µJy, 37 200 above 0.1 mJy, 2 670 above 1 mJy. Default limits 10 µJy and 10 mJy. The 282
    sources that Lindroos et al. have on 100″ × 100″ take nearly all: 266 are expected above 10 nJy,
    282 above 6.7 nJy, but only 77 above 10 µJy. Against observed counts
    (scripts/picture_counts.py): 210 per mJy and square degree at 3 mJy, where AzTEC has 300 ± 90
    (Perera et al. 2008) and 160 ± 27 (Scott et al. 2010); above 0.04 to 1.3 mJy ALMA's small deep
    field (González-López et al. 2020) has 0.3 to 0.8 of the model, 0.6 in the median.
``power-law``
    dN/dS = k (S/1 Jy)^slope, k from `amplitude` per sr and Jy; slope −2.5 by default; limits must
    be given.
``fixed``
    All sources have one `flux`.
``catalogue``
    Fluxes are picked from `fluxes`, without replacement while there are enough of them; all of them
    if n is left out.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import ComponentError

MODELS = ("schechter", "bondi2008", "bethermin2012", "power-law", "fixed", "catalogue")
#: What each model may be told beyond n, area and flux_range.
_PARAMETERS: dict[str, dict[str, float | None]] = {"schechter": {"alpha": -1.6, "s_star": 1.71e-6,
                                                                 "density": None}, "bondi2008": {},
                                                   "bethermin2012": {},
                                                   "power-law": {"slope": -2.5, "amplitude": None},
                                                   "fixed": {"flux": None},
                                                   "catalogue": {"fluxes": None}}
_LIMITS = {"bondi2008": (60e-6, 1.0), "bethermin2012": (10e-6, 10e-3)}
_STEPS = 20_000
#: Lindroos et al. (2015), equation 3: a0 … a6.
_BONDI = (0.805, 0.493, 0.564, -0.129, -0.195, 0.110, -0.017)
#: log10 of S^2.5 dN/dS (Jy^1.5 per sr) at log10 S/Jy = −8.5, −8.25 … −1.25; the first two
#: extrapolated, see above.
_BETHERMIN_START, _BETHERMIN_STEP = -8.5, 0.25
_BETHERMIN = (-4.4662, -4.1217, -3.7772, -3.4327, -3.0880, -2.7430, -2.3975, -2.0514, -1.7042,
              -1.3555, -1.0046, -0.6505, -0.2917, 0.0735, 0.4465, 0.8263, 1.2065, 1.5740, 1.9127,
              2.2076, 2.4449, 2.6108, 2.6915, 2.6684, 2.5107, 2.1854, 1.7118, 1.2526, 0.9701,
              0.8000)


def counts(model: str, flux: ArrayLike, flux_range: tuple[float, float] | None = None,
           **parameters: float) -> NDArray[np.float64]:
    """dN/dS at flux densities in Jy, in sources per sr and Jy; 0 outside the limits.

    Parameters
    ----------
    model : str
        "schechter", "bondi2008", "bethermin2012" or "power-law".
    flux : array_like
        Jy, positive.
    flux_range : (float, float), optional
        Jy; default that of the model, see the module.
    **parameters
        Of the model, see the module.

    Raises
    ------
    ComponentError
        The model is unknown or has no dN/dS; a parameter is unknown, missing or not possible.
    """
    known = _known(model, parameters)
    low, high = _limits(model, flux_range, known)
    flux = np.asarray(flux, np.float64)
    inside = (flux >= low) & (flux <= high)
    value = _shape(model, np.where(inside, flux, low), known)
    return np.where(inside, value * _amplitude(model, (low, high), known), 0.0)


def source_density(model: str, flux_range: tuple[float, float] | None = None,
                   **parameters: float) -> float:
    """Sources per sr between the limits; arguments as in `counts`."""
    known = _known(model, parameters)
    limits = _limits(model, flux_range, known)
    return float(_grid(model, limits, known).cumulative[-1]) * _amplitude(model, limits, known)


def mean_flux(model: str, flux_range: tuple[float, float] | None = None,
              **parameters: float) -> float:
    """Mean flux density of the sources between the limits, Jy; arguments as in `counts`."""
    known = _known(model, parameters)
    grid = _grid(model, _limits(model, flux_range, known), known)
    return float(np.sum(np.diff(grid.cumulative) * np.diff(np.exp(grid.log_flux))
                        / np.diff(grid.log_flux)) / grid.cumulative[-1])


def lower_limit(model: str, n: float, area: float, upper: float | None = None,
                **parameters: float) -> float:
    """The flux density in Jy above which n sources are expected on an area in sr, up to the model's or another limit.

    Raises
    ------
    ComponentError
        The model does not have so many sources at any limit that it is tabulated for.
    """
    known = _known(model, parameters)
    lowest = {"bondi2008": 1e-6, "bethermin2012": 10.0**_BETHERMIN_START}.get(model)
    if lowest is None:
        raise ComponentError(f"source counts {model!r} have no lower limit to look for; give "
                             "flux_range")
    grid = _grid(model, (lowest, upper or _LIMITS[model][1]), known)
    wanted = grid.cumulative[-1] - n / area
    if wanted < 0:
        raise ComponentError(f"{n:g} sources of {model}: on {area:g} sr it has "
                             f"{grid.cumulative[-1] * area:.0f}; use a larger area")
    return float(np.exp(np.interp(wanted, grid.cumulative, grid.log_flux)))


def draw_fluxes(model: str, n: int | None = None, area: float | None = None,
                flux_range: tuple[float, float] | None = None, *, rng: np.random.Generator,
                **parameters: float | ArrayLike) -> NDArray[np.float64]:
    """Flux densities of random sources, (n,) Jy.

    Parameters
    ----------
    model : str
        See the module.
    n : int, optional
        How many. Default: Poisson with the mean that the model has on the area.
    area : float, optional
        sr; not looked at where n is given.
    flux_range : (float, float), optional
        Jy; default that of the model.
    rng : numpy.random.Generator
    **parameters
        Of the model, see the module.

    Raises
    ------
    ComponentError
        As in `counts`; or neither n nor area is given, or n is negative.
    """
    known = _known(model, parameters)
    if n is not None and n < 0:
        raise ComponentError(f"{n} sources; wanted is 0 or more")
    if model == "catalogue":
        fluxes = _positive("fluxes", known["fluxes"])
        number = fluxes.size if n is None else n
        return fluxes.copy() if n is None else rng.choice(fluxes, number,
                                                          replace=number > fluxes.size)
    if n is None and (area is None or not area > 0):
        raise ComponentError(f"source counts {model!r} without a number: give n, or a positive "
                             f"area in sr (found {area})")
    if model == "fixed":
        if n is None:
            raise ComponentError("sources of a fixed flux have no density: give n")
        return np.full(n, _positive("flux", known["flux"])[0])
    limits = _limits(model, flux_range, known)
    grid = _grid(model, limits, known)
    if n is None:
        n = int(rng.poisson(grid.cumulative[-1] * _amplitude(model, limits, known) * area))
    return np.exp(np.interp(rng.random(n) * grid.cumulative[-1], grid.cumulative, grid.log_flux))


def uniform_positions(n: int, centre_ra: float, centre_dec: float, width: float, height: float,
                      rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascensions (0 … 2π) and declinations of n positions, uniform per solid angle on a rectangle of the sky.

    The rectangle is width of right ascension and height of declination (rad) at the equator,
    carried to the centre along great circles: it is the same figure at any declination, poles
    included.
    """
    east = rng.uniform(-0.5, 0.5, n) * width
    sin_north = rng.uniform(-1.0, 1.0, n) * np.sin(0.5 * height)
    cos_north = np.sqrt(1.0 - sin_north**2)
    # Unit vectors towards the centre, east and north of it.
    return _from_tangent(cos_north * np.cos(east), cos_north * np.sin(east), sin_north,
                         np.float64(centre_ra), np.float64(centre_dec))


def positions_within(
    centres: tuple[ArrayLike, ArrayLike], radius: float, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascensions (0 … 2π) and declinations of n positions, each within a radius (rad) of a centre picked at random.

    Uniform per solid angle in the circle around each of the centres (ra, dec), rad; where circles
    overlap their densities add up. Data set type 9 has a radius of 11.2″.
    """
    ra, dec = (np.atleast_1d(np.asarray(a, np.float64)) for a in centres)
    if ra.shape != dec.shape or ra.ndim != 1 or (ra.size == 0 and n > 0):
        raise ComponentError(f"centres of shapes {ra.shape} and {dec.shape}; wanted are two "
                             "arrays (centre,), not empty")
    which = rng.integers(0, max(ra.size, 1), n)
    # 1 − cos θ is uniform; through sin²(θ/2), which loses nothing at small radii.
    half = np.sin(0.5 * radius) ** 2 * rng.random(n)
    offset, angle = 2.0 * np.sqrt(half * (1.0 - half)), rng.uniform(0.0, 2.0 * np.pi, n)
    return _from_tangent(1.0 - 2.0 * half, offset * np.sin(angle), offset * np.cos(angle),
                         ra[which], dec[which])


def _from_tangent(towards, east, north, ra, dec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions of unit vectors given by their parts towards (ra, dec), east and north of it."""
    along = towards * np.cos(dec) - north * np.sin(dec)
    up = towards * np.sin(dec) + north * np.cos(dec)
    return np.mod(ra + np.arctan2(east, along), 2.0 * np.pi), np.arctan2(up, np.hypot(along, east))


@dataclass(frozen=True)
class _Grid:
    """ln S (point,) and the number below it (point,), without the amplitude."""

    log_flux: NDArray[np.float64]
    cumulative: NDArray[np.float64]


def _grid(model: str, limits: tuple[float, float], known: dict) -> _Grid:
    log_flux = np.linspace(np.log(limits[0]), np.log(limits[1]), _STEPS + 1)
    middle = np.exp(0.5 * (log_flux[1:] + log_flux[:-1]))
    number = middle * _shape(model, middle, known) * np.diff(log_flux)
    return _Grid(log_flux, np.concatenate([[0.0], np.cumsum(number)]))


def _shape(model: str, flux: NDArray, known: dict) -> NDArray:
    """dN/dS without the amplitude."""
    if model == "schechter":
        x = flux / known["s_star"]
        return x ** known["alpha"] * np.exp(-x) / known["s_star"]
    if model == "power-law":
        return flux ** known["slope"]
    if model == "bondi2008":
        return 10.0 ** np.polynomial.polynomial.polyval(np.log10(flux * 1e3), _BONDI) * flux**-2.5
    if model == "bethermin2012":
        from scipy.interpolate import CubicSpline

        x = _BETHERMIN_START + _BETHERMIN_STEP * np.arange(len(_BETHERMIN))
        return 10.0 ** CubicSpline(x, _BETHERMIN)(np.log10(flux)) * flux**-2.5
    raise ComponentError(f"{model!r} has no dN/dS: it is a list of fluxes")


def _amplitude(model: str, limits: tuple[float, float], known: dict) -> float:
    """What `_shape` is to be multiplied with."""
    if model == "schechter":
        if known["density"] is None:
            raise ComponentError("schechter counts are a shape alone: give n, or density (sources "
                                 "per sr)")
        return float(known["density"]) / float(_grid(model, limits, known).cumulative[-1])
    if model == "power-law":
        if known["amplitude"] is None:
            raise ComponentError("power-law counts are a shape alone: give n, or amplitude "
                                 "(sources per sr and Jy at 1 Jy)")
        return float(known["amplitude"])
    return 1.0


def _known(model: str, parameters: dict) -> dict:
    """All parameters of a model, as given or by default."""
    if model not in MODELS:
        near = ", ".join(difflib.get_close_matches(model, MODELS, n=2, cutoff=0.0))
        raise ComponentError(f"source counts {model!r} are unknown: the nearest are {near}; known "
                             f"are {', '.join(MODELS)}")
    defaults = _PARAMETERS[model]
    for name in parameters:
        if name not in defaults:
            takes = ", ".join(defaults) or "none"
            raise ComponentError(f"source counts {model!r} take no parameter {name!r}; they take: "
                                 f"{takes}")
    known = {**defaults, **parameters}
    for name in ("s_star", "density", "amplitude"):
        if known.get(name) is not None:
            _positive(name, known[name])
    return known


def _limits(model: str, flux_range: tuple[float, float] | None, known: dict) -> tuple[float, float]:
    if flux_range is None:
        if model == "schechter":
            return 0.25 * known["s_star"], 10.0 * known["s_star"]
        if model not in _LIMITS:
            raise ComponentError(f"source counts {model!r} need flux_range, two limits in Jy")
        return _LIMITS[model]
    low, high = (float(limit) for limit in flux_range)
    if not 0 < low < high < np.inf:
        raise ComponentError(f"flux_range {low:g} to {high:g} Jy; wanted are two positive limits, "
                             "the lower first")
    if model == "bethermin2012":
        first, last = 10.0**_BETHERMIN_START, 10.0 ** (_BETHERMIN_START
                                                       + _BETHERMIN_STEP * (len(_BETHERMIN) - 1))
        if low < first * (1 - 1e-9) or high > last * (1 + 1e-9):
            raise ComponentError(f"flux_range {low:g} to {high:g} Jy; the table of bethermin2012 "
                                 f"holds {first:.3g} to {last:.3g} Jy")
    return low, high


def _positive(name: str, value: ArrayLike | None) -> NDArray[np.float64]:
    if value is None:
        raise ComponentError(f"the parameter {name} is missing")
    values = np.atleast_1d(np.asarray(value, np.float64)).ravel()
    if values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise ComponentError(f"the parameter {name} must be finite and positive; found {value}")
    return values
