"""Components of a sky: points, Gaussians, discs and scales of CLEAN with spectra and polarisation, as columns of equal length.

The spectrum of a component is

    S(ν) = S0 (ν/ν0)^(α + β ln(ν/ν0)),

a parabola of ln S in ln ν, with the *natural* logarithm in the exponent as well: the β that CASA's
setjy writes with log10 is ln 10 = 2.30 times this one. S0 is the flux density integrated over the
component, Stokes I at ν0; Q, U and V are constant fractions of I. Sizes are those of Fourier pairs
on the tangent plane of the component: a Gaussian is given by its FWHM along two axes, a disc
(uniform within an ellipse) by its diameters. A "clean-scale" is what multiscale CLEAN puts into a
model image: (1 − r²/α²)² within r < α, on pixels of a size that the list says (0: on none, but
smooth), and α stands where the others have their width. Everything is kept for J2000 as FK5 has it.

Multi-term CLEAN has a polynomial instead of the power law: S0 + S1 x + S2 x² with x = (ν − ν0)/ν0.
Its S1, S2 … are added to S(ν).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import ComponentError

SHAPES = ("point", "gaussian", "disc", "clean-scale")
#: Reference frequency where all spectra are flat and none is given: it changes nothing.
_ANY_FREQUENCY = 1.0e9
#: Columns of a table and their unit there, in order.
_COLUMNS: dict[str, u.UnitBase | None] = {"name": None, "ra": u.deg, "dec": u.deg, "flux": u.Jy,
                                          "shape": None, "fwhm_major": u.arcsec,
                                          "fwhm_minor": u.arcsec, "position_angle": u.deg,
                                          "spectral_index": None, "curvature": None, "q": None,
                                          "u": None, "v": None, "target": None}
#: What the units above are turned into.
_INSIDE = {u.deg: u.rad, u.arcsec: u.rad, u.Jy: u.Jy}


@dataclass(frozen=True)
class Components:
    """Components of a sky; `components` makes one with checks and defaults.

    Attributes
    ----------
    names : ndarray (n,) str
    ra, dec : ndarray (n,) float64
        J2000, rad.
    flux : ndarray (n,) float64
        Integrated Stokes I at `reference_frequency`, Jy.
    reference_frequency : float
        Hz.
    shape : ndarray (n,) str
        "point", "gaussian", "disc" or "clean-scale".
    fwhm_major, fwhm_minor : ndarray (n,) float64
        rad; of a disc the diameters, of a clean-scale α, of a point 0.
    position_angle : ndarray (n,) float64
        Of the major axis, from north through east, rad.
    spectral_index, curvature : ndarray (n,) float64
        α and β of the module's formula.
    q, u, v : ndarray (n,) float64
        Stokes Q, U and V over I.
    target : ndarray (n,) bool
        Whether the component is one of those to be stacked.
    taylor : ndarray (n, term) float64
        S1, S2 … of the module's polynomial, Jy; none by default.
    cell : float
        Pixels that clean-scales are put on, rad; 0 is none.
    """

    names: NDArray[np.str_]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    flux: NDArray[np.float64]
    reference_frequency: float
    shape: NDArray[np.str_]
    fwhm_major: NDArray[np.float64]
    fwhm_minor: NDArray[np.float64]
    position_angle: NDArray[np.float64]
    spectral_index: NDArray[np.float64]
    curvature: NDArray[np.float64]
    q: NDArray[np.float64]
    u: NDArray[np.float64]
    v: NDArray[np.float64]
    target: NDArray[np.bool_]
    taylor: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    cell: float = 0.0

    def __post_init__(self) -> None:
        if self.taylor.shape[1] == 0:
            object.__setattr__(self, "taylor", np.zeros((self.ra.size, 0)))

    def __len__(self) -> int:
        return self.ra.size

    def subset(self, which: ArrayLike | slice) -> Components:
        """The components that an index array, a mask or a slice takes, in its order."""
        index = which if isinstance(which, slice) else np.atleast_1d(np.asarray(which))
        if not isinstance(index, slice) and index.size == 0:
            index = np.zeros(0, np.intp)
        return replace(self, **{name: getattr(self, name)[index] for name in _array_names()})

    def at_reference(self, frequency: float) -> Components:
        """The same sky described at another reference frequency, Hz: flux and spectral index change with it.

        Raises
        ------
        ComponentError
            There are Taylor terms, which belong to theirs.
        """
        if self.taylor.any():
            raise ComponentError("components with Taylor terms (flux_1 …) stay at their reference "
                                 "frequency, "
                                 f"{self.reference_frequency / 1e9:.6g} GHz; give the others at "
                                 "that one")
        x = float(np.log(frequency / self.reference_frequency))
        return replace(self, flux=self.flux_at(np.array([frequency]))[:, 0],
                       reference_frequency=float(frequency),
                       spectral_index=self.spectral_index + 2.0 * self.curvature * x)

    def flux_at(self, frequency: ArrayLike) -> NDArray[np.float64]:
        """Stokes I in Jy at frequencies (chan,) in Hz, (n, chan)."""
        ratio = np.asarray(frequency, np.float64) / self.reference_frequency
        x = np.log(ratio)
        flux = self.flux[:, None] * np.exp(x
                                           * (self.spectral_index[:, None]
                                              + self.curvature[:, None] * x))
        powers = (ratio - 1.0) ** np.arange(1, self.taylor.shape[1] + 1)[:, None]
        return np.asarray(flux + self.taylor @ powers if powers.size else flux)

    def scaled(self, factor: ArrayLike) -> Components:
        """The same components with their fluxes times one number or one for each."""
        factors = np.broadcast_to(np.asarray(factor, np.float64), self.flux.shape)
        return replace(self, flux=self.flux * factors, taylor=self.taylor * factors[:, None])

    @property
    def shines(self) -> NDArray[np.bool_]:
        """Whether a component has any flux, (n,)."""
        return (self.flux != 0) | (self.taylor != 0).any(axis=1)

    @property
    def polarised(self) -> bool:
        """Whether any component has a Q, U or V."""
        return bool(self.q.any() or self.u.any() or self.v.any())

    def to_table(self) -> QTable:
        """Table with units: degrees, arcsec and Jy; the reference frequency in Hz and the frame are in its `meta`."""
        values = {"name" if name == "names" else name: getattr(self, name)
                  for name in _array_names() if name != "taylor"}
        table = QTable()
        for name, unit in _COLUMNS.items():
            column = values[name]
            table[name] = column if unit is None else (column * _INSIDE[unit]).to(unit)
        for t, column in enumerate(self.taylor.T, 1):
            table[f"flux_{t}"] = column * u.Jy
        table.meta.update(reference_frequency=float(self.reference_frequency), frame="J2000")
        if self.cell:
            table.meta["cell_rad"] = float(self.cell)
        return table


def components(ra: ArrayLike, dec: ArrayLike, flux: ArrayLike, *,
               reference_frequency: float | None = None,
               names: Sequence[str] | NDArray[np.str_] | None = None,
               shape: str | Sequence[str] | NDArray[np.str_] | None = None,
               fwhm_major: ArrayLike = 0.0, fwhm_minor: ArrayLike | None = None,
               position_angle: ArrayLike = 0.0, spectral_index: ArrayLike = 0.0,
               curvature: ArrayLike = 0.0, q: ArrayLike = 0.0, u: ArrayLike = 0.0,
               v: ArrayLike = 0.0, target: ArrayLike = False, taylor: ArrayLike | None = None,
               cell: float = 0.0) -> Components:
    """Components with defaults filled in; every argument is one value for all or one for each.

    Parameters
    ----------
    ra, dec : array_like
        J2000, rad.
    flux : array_like
        Integrated Stokes I at the reference frequency, Jy, not negative.
    reference_frequency : float, optional
        Hz; may be left out where all spectra are flat.
    names : sequence of str, optional
        Default S1, S2, …
    shape : str or sequence of str, optional
        "point", "gaussian", "disc" or "clean-scale"; default a Gaussian where there is a size, else
        a point.
    fwhm_major, fwhm_minor : array_like
        FWHM of a Gaussian, diameters of a disc or α of a clean-scale, rad; the minor axis is by
        default the major one.
    position_angle : array_like
        Of the major axis from north through east, rad.
    spectral_index, curvature : array_like
        α and β of the module's formula.
    q, u, v : array_like
        Stokes parameters over I.
    target : array_like of bool
    taylor : array_like (n, term), optional
        S1, S2 … of the module's polynomial, Jy.
    cell : float
        Pixels that clean-scales are put on, rad.

    Returns
    -------
    Components

    Raises
    ------
    ComponentError
        Lengths differ; a value is not finite; a flux or size is negative; a shape is unknown; a
        point has a size; the minor axis is the larger; more than all of the flux is polarised; a
        spectrum has no reference frequency.
    """
    minor = fwhm_major if fwhm_minor is None else fwhm_minor
    numbers = {"ra": ra, "dec": dec, "flux": flux, "fwhm_major": fwhm_major, "fwhm_minor": minor,
               "position_angle": position_angle, "spectral_index": spectral_index,
               "curvature": curvature, "q": q, "u": u, "v": v}
    arrays = {name: np.atleast_1d(np.asarray(value, np.float64)) for name, value in numbers.items()}
    n = max((a.size for name, a in arrays.items() if name in ("ra", "dec", "flux")), default=0)
    if any(arrays[name].size == 0 for name in ("ra", "dec", "flux")):
        n = 0
    arrays = {name: _column(name, a, n) for name, a in arrays.items()}
    if shape is None:
        kinds = np.where(arrays["fwhm_major"] > 0, "gaussian", "point")
    else:
        kinds = np.char.lower(_column("shape", np.atleast_1d(np.asarray(shape, dtype=str)), n))
    called = [f"S{i + 1}" for i in range(n)] if names is None else names
    name_column = _column("names", np.atleast_1d(np.asarray(called, dtype=str)), n)
    flags = _column("target", np.atleast_1d(np.asarray(target, dtype=bool)), n)
    if reference_frequency is None and taylor is None and not (arrays["spectral_index"].any()
                                                               or arrays["curvature"].any()):
        reference_frequency = _ANY_FREQUENCY
    terms = np.zeros((n, 0)) if taylor is None else np.array(taylor, np.float64)
    if terms.ndim != 2 or len(terms) != n:
        raise ComponentError(f"taylor has shape {terms.shape} beside {n} positions; give (n, term)")
    if not (np.isfinite(cell) and cell >= 0):
        raise ComponentError(f"cell is {cell} rad; it must be finite and not negative")
    made = Components(names=name_column, shape=kinds.astype("U11") if n else np.zeros(0, "U11"),
                      target=flags, reference_frequency=_reference(reference_frequency),
                      taylor=terms, cell=float(cell), **arrays)
    _validate(made, kinds)
    return made


def concatenate(parts: Sequence[Components]) -> Components:
    """One list of components out of several; spectra are put to the reference frequency of the first that has any."""
    if not parts:
        return components([], [], [])
    first = next((part for part in parts if len(part)), parts[0])
    same = [part if part.reference_frequency == first.reference_frequency
            else part.at_reference(first.reference_frequency) for part in parts]
    cells = {part.cell for part in same if (part.shape == "clean-scale").any()}
    if len(cells) > 1:
        raise ComponentError("scales of CLEAN on pixels of "
                             f"{sorted(np.rad2deg(list(cells)) * 3600)} arcsec; take lists of one "
                             "image")
    n_terms = max(part.taylor.shape[1] for part in same)
    same = [replace(part, taylor=np.pad(part.taylor, ((0, 0), (0, n_terms - part.taylor.shape[1]))))
            for part in same]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in same])
                               for name in _array_names()}
    return replace(first, **columns, cell=cells.pop() if cells else 0.0)


def components_from_table(table: Table) -> Components:
    """Components of a table as `Components.to_table` writes it.

    Parameters
    ----------
    table : Table or QTable
        Columns ra, dec and flux with units, any other of `to_table`;
        ``meta["reference_frequency"]`` in Hz where a spectrum is not flat.

    Raises
    ------
    ComponentError
        A column is missing or has no unit, or the values are refused by `components`.
    """
    missing = [name for name in ("ra", "dec", "flux") if name not in table.colnames]
    if missing:
        raise ComponentError(f"the table lacks {', '.join(missing)}; it has "
                             f"{', '.join(table.colnames)}")
    frame = str(table.meta.get("frame", "J2000"))
    if frame.upper() not in ("J2000", "FK5"):
        raise ComponentError(f"the table is in {frame}; components are kept in J2000: convert its "
                             "ra and dec first")
    values: dict[str, Any] = {}
    for name, unit in _COLUMNS.items():
        if name in table.colnames:
            values["names" if name == "name" else name] = _read_column(table, name, unit)
    terms = sorted(name for name in table.colnames
                   if name.startswith("flux_") and name[5:].isdigit())
    if terms:
        if terms != [f"flux_{t}" for t in range(1, len(terms) + 1)]:
            raise ComponentError(f"the table has the Taylor terms {', '.join(terms)}; wanted are "
                                 "flux_1, flux_2 … without a gap")
        values["taylor"] = np.stack([_read_column(table, name, u.Jy) for name in terms], axis=1)
        # What CLEAN writes there is flux_1 / flux, for reading; the terms say all.
        values = {name: value for name, value in values.items()
                  if name not in ("spectral_index", "curvature")}
    if "scale" in table.colnames and "shape" not in table.colnames:
        scale = _read_column(table, "scale", u.arcsec)
        values |= {"shape": np.where(scale > 0, "clean-scale", "point"), "fwhm_major": scale,
                   "fwhm_minor": scale}
    return components(reference_frequency=table.meta.get("reference_frequency"),
                      cell=float(table.meta.get("cell_rad", 0.0)), **values)


def _read_column(table: Table, name: str, unit: u.UnitBase | None) -> NDArray:
    column = table[name]
    if np.ma.is_masked(column):
        raise ComponentError(f"column {name!r} has empty cells; fill them")
    if unit is None:
        return np.asarray(column)
    if getattr(column, "unit", None) is None:
        raise ComponentError(f"column {name!r} has no unit; give it one that converts to {unit}")
    try:
        return np.asarray(u.Quantity(column).to_value(_INSIDE[unit]))
    except u.UnitConversionError as error:
        raise ComponentError(f"column {name!r} is in {column.unit}; wanted is a unit "
                             f"that converts to {unit}") from error


def _array_names() -> list[str]:
    return [f.name for f in fields(Components) if f.name not in ("reference_frequency", "cell")]


def _column(name: str, values: NDArray, n: int) -> NDArray:
    """The values as a column of n of its own."""
    if values.ndim != 1 or values.size not in (1, n):
        raise ComponentError(f"{name} has shape {values.shape} beside {n} positions; give one "
                             "value, or one for each")
    return np.array(np.broadcast_to(values, n) if values.size != n else values)


def _reference(frequency: float | None) -> float:
    if frequency is None:
        raise ComponentError("a spectral index or curvature needs reference_frequency, in Hz")
    if not (np.isfinite(frequency) and frequency > 0):
        raise ComponentError(f"reference_frequency is {frequency} Hz; it must be positive")
    return float(frequency)


def _validate(made: Components, kinds: NDArray) -> None:
    unknown = [str(kind) for kind in kinds if kind not in SHAPES]
    if unknown:
        near = difflib.get_close_matches(unknown[0], SHAPES, n=1, cutoff=0.0)[0]
        raise ComponentError(f"the shape {unknown[0]!r} is unknown: the nearest is {near}; known "
                             f"are {', '.join(SHAPES)}")
    for name in _array_names():
        if getattr(made, name).dtype.kind == "f":
            bad = ~np.isfinite(getattr(made, name))
            _refuse(made, bad.any(axis=1) if bad.ndim == 2 else bad, name, "must be finite")
    _refuse(made, made.flux < 0, "flux", "must not be negative, in Jy")
    _refuse(made, np.abs(made.dec) > np.pi / 2 + 1e-12, "dec", "must lie within ±π/2 rad")
    _refuse(made, made.fwhm_minor < 0, "fwhm_minor", "must not be negative, in rad")
    _refuse(made, made.fwhm_major < made.fwhm_minor, "fwhm_major",
            "must not be negative, nor smaller than fwhm_minor")
    _refuse(made, (made.shape == "point") & (made.fwhm_major > 0), "fwhm_major",
            'must be 0 where the shape is "point"')
    _refuse(made, (made.shape == "clean-scale") & (made.fwhm_major != made.fwhm_minor),
            "fwhm_minor", 'must be fwhm_major where the shape is "clean-scale", which is round')
    fraction = np.sqrt(made.q**2 + made.u**2 + made.v**2)
    _refuse(made, fraction > 1 + 1e-12, "q",
            "with u and v must make a polarised fraction of at most 1")


def _refuse(made: Components, bad: NDArray[np.bool_], name: str, rule: str) -> None:
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        more = f" (and {int(bad.sum()) - 1} more)" if bad.sum() > 1 else ""
        raise ComponentError(f"component {made.names[i]}{more} has {name} "
                             f"{np.max(getattr(made, name)[i]):g}; it {rule}")
