"""The call of UVMultiFit (Martí-Vidal et al. 2014, A&A 563, A136), keyword for keyword, on the fit of this package.

    from uvstack.fitting.multifit import call as uvmultifit
    myfit = uvmultifit(vis="target.ms", spw="0", model=["disc"], var=["0,0,p[0],p[1],1,0"],
    p_ini=[1.0, 0.3],
                       OneFitPerChannel=False)
    myfit.result["Parameters"], myfit["Uncertainties"]

Keywords, their order and their defaults are those of its version 3.0, and so are the keys of
`result`. What differs:

- Uncertainties are smaller by √2, and right: real and imaginary part of a visibility are two measurements, so that N
  visibilities leave 2 N − n_par degrees of freedom, where UVMultiFit counts N. As there,
  uncertainties are scaled so that the reduced χ² is 1; 'Reduced Chi squared' is what it was before,
  here 1 for weights that are inverse variances of a real part, there 2.
- The fit stops by the parameters in units of their errors, not by χ²; so it does not stop short of the optimum on large data.
- `fixed` works without gains, flagged channels do not enter, each spectral window keeps its own frequencies, w is right, two
  objects share nothing, timewidth and uniform work, LorentzLine and falling pieceWise too.
- Options that mean nothing here say in a warning what is done instead; what is not supported is an error.
- Data stay on disk: `averdata`, `u`, … do not exist. Each call of `fit` reads them again.
- With OneFitPerChannel, results are in lists by spectral window as there if spw gives numbers ("0", "0,2", "0~3"); else there is one
  list with all channels in order of frequency.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.time import Time

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import FitError, OutputError, SelectionError, UvstackWarning
from uvstack.fitting.model.model import Model, make_model
from uvstack.fitting.result import FitResult
from uvstack.sky.beam import FWHM_OF_SIGMA
from uvstack.sky.primary_beam import Gaussian

_COLUMNS = {"data": "DATA", "corrected": "CORRECTED_DATA", "model": "MODEL_DATA"}
#: What `write` takes, in the words of `uvstack.fitting.task.fit`, and the column it goes to.
_WRITTEN = {"model": ("model", "MODEL_DATA"), "residuals": ("residual", "CORRECTED_DATA"),
            "calibrated": ("calibrated", "CORRECTED_DATA")}
_METHODS = ("levenberg", "simplex")
#: HWHM of a Gaussian over its standard deviation.
_HWHM = 0.5 * FWHM_OF_SIGMA
#: Weights to this power are 1 in float32, and stay 0 where they are 0.
_UNIFORM = 1e-12
#: Iterations a parameter, UVMultiFit's default.
_ITERATIONS = 200
_NOT_KEPT = ("averdata", "averweights", "averfreqs", "u", "v", "w", "t", "mymodel")


def _default(value: Any) -> Any:
    """A default that is new for each object."""
    return dataclasses.field(default_factory=lambda: copy.copy(value))


@dataclass(eq=False)
class Keywords:
    """Keywords of UVMultiFit 3.0 with its defaults.

    Attributes
    ----------
    vis : str or list of str
    spw : str or list of str
        As in CASA, without channel ranges; '' for all. Several sets: one for all of them.
    column : {"data", "corrected"}
    field : int or str
    scans : list
        Not supported: MJDrange.
    uniform : bool
        All weights equal.
    chanwidth, timewidth : int
    stokes : str
        PI, I, Q, U, V, XX, … LR.
    write : {"", "model", "residuals", "calibrated"}
        Into MODEL_DATA, or CORRECTED_DATA for the last two, which is overwritten.
    MJDrange : list of two float
        MJD in days; ≤ 0 for no limit.
    ldfac : float
        FWHM of the primary beam in λ/D.
    model, var : list of str, or str
    p_ini : list of float
    phase_center : str
        "J2000 10h00m00.0s 30d00m00.0s"; '' for that of the first field.
    fixed, fixedvar : list of str, or str
        "model_column" for MODEL_DATA.
    scalefix : str
    outfile : str
    NCPU : int
        Threads.
    pbeam : bool
    dish_diameter : float
        m.
    gridpix : int
        Nothing, as there.
    OneFitPerChannel : bool
    bounds : list, optional
    cov_return, finetune : bool
    uvtaper : float
        HWHM of the Gaussian by which weights are multiplied, m.
    method : {"levenberg", "simplex"}
    wgt_power : float
    LMtune, SMPtune : list
        Of LMtune, the iterations a parameter are heeded.
    only_flux : bool
    proper_motion : 0 or list of [RA, Dec]
        arcsec a year.
    HankelOrder : int
    phase_gains, amp_gains : dict
        Antenna → expression, or {"nuG": {…}, "tG": {…}}.
    """

    vis: str | Sequence[str] = ""
    spw: str | int | Sequence[str] = "0"
    column: str = "data"
    field: int | str | Sequence[int | str] = 0
    scans: Sequence[Any] = _default([])
    uniform: bool = False
    chanwidth: int = 1
    timewidth: int = 1
    stokes: str = "I"
    write: str = ""
    MJDrange: Sequence[float] = _default([-1.0, -1.0])
    ldfac: float = 1.22
    model: str | Sequence[str] = _default(["delta"])
    var: str | Sequence[str] = _default(["p[0], p[1], p[2]"])
    p_ini: Sequence[float] = _default([0.0, 0.0, 1.0])
    phase_center: str = ""
    fixed: str | Sequence[str] = _default([])
    fixedvar: str | Sequence[Any] = _default([])
    scalefix: str = "1.0"
    outfile: str = "modelfit.dat"
    NCPU: int = 4
    pbeam: bool = False
    dish_diameter: float | Mapping[str, float] = 0.0
    gridpix: int = 0
    OneFitPerChannel: bool = True
    bounds: Sequence[Any] | None = None
    cov_return: bool = False
    finetune: bool = False
    uvtaper: float = 0.0
    method: str = "levenberg"
    wgt_power: float = 1.0
    LMtune: Sequence[float] = _default([1e-3, 10.0, 1e-5, _ITERATIONS, 1e-3])
    SMPtune: Sequence[float] = _default([1e-4, 1e-1, 200])
    only_flux: bool = False
    proper_motion: float | Sequence[Sequence[float]] = 0.0
    HankelOrder: int = 80
    phase_gains: Mapping[Any, Any] = _default({})
    amp_gains: Mapping[Any, Any] = _default({})


class uvmultifit(Keywords, Mapping[str, Any]):
    """A fit by UVMultiFit's call; it is made at once unless `finetune`.

    It is the mapping `result` too, as its call returned at times.

    Parameters
    ----------
    Those of `Keywords`, in its order.

    Attributes
    ----------
    result : dict
        'Frequency' (Hz), 'Parameters', 'Uncertainties', 'Reduced Chi squared', 'Degrees of Freedom'
        (2 N − n_par), 'Fit' (the `FitResult`), and 'covariance' with cov_return. One fit: numbers
        and arrays (n_par,). A fit a channel: lists by spectral window of arrays (chan,) and (chan,
        n_par), and of lists for 'Fit'.

    Raises
    ------
    FitError
        An unknown keyword (the message gives the nearest), one that is not supported, or a fit that
        cannot be.

    Examples
    --------
    >>> uvstack.uvmultifit(vis="target.ms", spw="0", model=["disc"], var=["0,0,p[0],p[1],1,0"], p_ini=[1.0, 0.2])
    """

    def __init__(self, *values: Any, **keywords: Any):
        known = [one.name for one in dataclasses.fields(Keywords)]
        for name in keywords:
            if name not in known:
                near = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1,
                                                 cutoff=0.0)
                nearest = next(k for k in known if k.lower() == near[0])
                raise FitError(f"uvmultifit has no keyword {name!r}; the nearest is {nearest}")
        if len(values) > len(known):
            raise FitError(f"{len(values)} arguments; uvmultifit has {len(known)} keywords: name "
                           "them")
        super().__init__(*copy.deepcopy(values), **copy.deepcopy(keywords))
        self.result: dict[str, Any] = {}
        self.checkInputs()
        if not self.finetune:
            self.fit()

    def checkInputs(self) -> bool:
        """True if the keywords can be used; says what those that mean nothing here are replaced by.

        Raises
        ------
        UvstackError
            They cannot.
        """
        for line in _notices(self):
            warnings.warn(UvstackWarning(line), stacklevel=3)
        self.initModel()
        task_keywords(self)
        return True

    def initModel(self) -> Model:
        """The model of the keywords as they are now, read anew; the nu0 in it is not yet known."""
        phases, amplitudes = gains_of("phase_gains",
                                      self.phase_gains), gains_of("amp_gains", self.amp_gains)
        made = make_model(self.model, self.var, np.nan,
                          scale=self.scalefix if self._is_fixed else None,
                          amplitude_gains=_numbered(amplitudes), phase_gains=_numbered(phases))
        n = np.size(self.p_ini)
        if n != made.n_parameters:
            raise FitError(f"p_ini has {n} values; the variables hold p[0] … "
                           f"p[{made.n_parameters - 1}]: wanted {made.n_parameters}")
        return made

    def readData(self, del_data: bool = True) -> bool:
        """True: nothing is read ahead, each fit reads the data in chunks."""
        return True

    def initData(self, del_data: bool = True) -> bool:
        """True, as `readData`."""
        return True

    def fit(self, redo_fixed: bool = True, reinit_model: bool = False, save_file: bool = True,
            nuidx: int = -1, reset_flags: bool = False) -> bool:
        """Fit with the attributes as they are now; sets `result`.

        Parameters
        ----------
        redo_fixed, reinit_model, reset_flags : bool
            Everything is always made anew.
        save_file : bool
            Write `outfile`.
        nuidx : int
            -1: all channels; others are not supported.
        """
        if nuidx != -1:
            raise FitError(f"nuidx={nuidx}: one channel alone cannot be asked for; with "
                           "OneFitPerChannel all are fitted, take one of them")
        from uvstack.fitting.task import fit

        keywords = task_keywords(self)
        windows = windows_of(keywords["spw"]) if self.OneFitPerChannel else [keywords["spw"]]
        found = [fit(**(keywords | {"spw": spw})) for spw in windows]
        self.result = result_of(found if self.OneFitPerChannel else found[0], self.cov_return)
        if save_file:
            self.writeResult()
        return True

    def chiSquare(self, p: Sequence[float]) -> float:
        """χ² at parameters p: the sum of weight · |residual|² over all data, with the weights as they are in the set."""
        from uvstack.fitting.task import fit

        if len(p) != len(self.p_ini):
            raise FitError(f"{len(p)} parameters; wanted {len(self.p_ini)}")
        there = {"p_ini": list(p), "bounds": None, "most_passes": 1, "per_channel": False,
                 "write": None, "into": None, "overwrite_column": False, "only_flux": False,
                 "method": "exact"}
        found = fit(**(task_keywords(self) | there))
        assert isinstance(found, FitResult)
        return found.chi_squared

    def QuinnFF(self, IF: int, refant: int, doModel: int, doGlobal: int) -> None:
        """Not here.

        Raises
        ------
        FitError
            Always: `fringe_start` does this on arrays.
        """
        raise FitError("QuinnFF: data are not kept here; "
                       "uvstack.fitting.multifit.fringe.fringe_start finds delays, rates and "
                       "phases from arrays")

    def writeResult(self) -> None:
        """Write `result` to `outfile` as a table.

        Frequency, each parameter with its uncertainty, reduced χ².
        """
        path = Path(self.outfile or "modelfit.dat")
        try:
            path.write_text(_table(self), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"outfile {path} cannot be written ({error.strerror}); "
                              "give another path") from None

    def __getitem__(self, key: str) -> Any:
        if key not in self.result and not self.result:
            raise KeyError(f"{key!r}: nothing has been fitted yet; call fit()")
        if key not in self.result:
            raise KeyError(f"{key!r}; there are {', '.join(self.result)}")
        return self.result[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.result)

    def __len__(self) -> int:
        return len(self.result)

    def __bool__(self) -> bool:
        return True

    # Arrays in a mapping have no one answer to ==.
    __eq__, __hash__ = object.__eq__, object.__hash__

    def __getattr__(self, name: str) -> Any:
        if name in _NOT_KEPT:
            raise AttributeError(f"{name}: data are not kept in memory; read them with "
                                 "uvstack.io.ms, fit arrays with fit_visibilities")
        raise AttributeError(f"uvmultifit has no attribute {name!r}")

    @property
    def _is_fixed(self) -> bool:
        return len(_several(self.fixed)) > 0


uvmultifit.__signature__ = inspect.signature(Keywords)  # type: ignore[attr-defined]


def task_keywords(given: Keywords) -> dict[str, Any]:
    """Keywords of `uvstack.fitting.task.fit` that say the same.

    Raises
    ------
    FitError, SelectionError
        Something cannot be said there.
    """
    if not _several(given.vis):
        raise SelectionError("vis is empty; give a measurement set or a list of them")
    if np.size(np.asarray(given.scans, object)):
        raise SelectionError(f"scans={list(given.scans)}: scans cannot be selected here; give "
                             "their times with MJDrange")
    one_of("method", given.method, _METHODS)
    one_of("write", given.write, ("", *_WRITTEN))
    what, into = _WRITTEN.get(given.write, (None, None))
    fixed = ["MODEL_DATA" if name == "model_column" else name for name in _several(given.fixed)]
    column = _COLUMNS.get(str(given.column).lower(), given.column)
    return {"ms": _several(given.vis), "model": given.model, "var": given.var,
            "p_ini": list(given.p_ini), "bounds": given.bounds, "column": column,
            "stokes": given.stokes, "field": _same("field", given.field),
            "spw": _channels_refused(_same("spw", given.spw)),
            "timerange": timerange_of(given.MJDrange), "chanwidth": given.chanwidth,
            "timewidth": given.timewidth, "per_channel": bool(given.OneFitPerChannel),
            "phase_centre": given.phase_center or None, "primary_beam": beam_of(given),
            "fixed": fixed or None, "fixedvar": _numbers_as_text(given.fixedvar) or None,
            "scalefix": given.scalefix if fixed else None,
            "amp_gains": gains_of("amp_gains", given.amp_gains) or None,
            "phase_gains": gains_of("phase_gains", given.phase_gains) or None,
            "proper_motion": motion_of(given),
            "uvtaper": float(given.uvtaper) / _HWHM if given.uvtaper else None,
            "weight_power": _UNIFORM if given.uniform else given.wgt_power,
            "only_flux": bool(given.only_flux), "scale_errors": True,
            "estimator": "likelihood", "write": what, "into": into,
            "overwrite_column": what is not None,
            "most_passes": max(int(given.LMtune[3] if len(given.LMtune) > 3 else _ITERATIONS),
                               1) * max(len(given.p_ini), 1), "threads": max(int(given.NCPU), 1)}


def windows_of(spw: Any) -> list[Any]:
    """Selections of single spectral windows from "0,2~3", in that order; others stay together."""
    windows: list[Any] = []
    for part in str(spw).split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*~\s*(\d+))?\s*", part)
        if match is None:
            return [spw]
        windows += [str(i) for i in range(int(match[1]), int(match[2] or match[1]) + 1)]
    return windows


def timerange_of(days: Sequence[float]) -> str | None:
    """CASA's timerange of two MJD (days, UTC), each without limit where it is not positive."""
    if len(days) != 2:
        raise SelectionError(f"MJDrange={list(days)}; wanted two MJD in days, or [-1, -1] for all "
                             "times")
    low, high = (Time(day, format="mjd", scale="utc", precision=6).isot.replace("-", "/") if day > 0
                 else "" for day in map(float, days))
    if low and high:
        return f"{low}~{high}"
    return f">{low}" if low else f"<{high}" if high else None


def beam_of(given: Keywords) -> Gaussian | None:
    """Gaussian primary beam of FWHM ldfac · λ/D, or None.

    Raises
    ------
    FitError
        The diameter is not given, or antennas differ.
    """
    if not given.pbeam:
        return None
    diameters = given.dish_diameter.values() if isinstance(given.dish_diameter,
                                                           Mapping) else [given.dish_diameter]
    sizes = sorted({float(d) for d in diameters})
    if len(sizes) > 1:
        raise FitError(f"dish_diameter gives {', '.join(f'{d:g}' for d in sizes)} m; one beam is "
                       "fitted for all antennas: give one number")
    if not sizes or not sizes[0] > 0:
        raise FitError(f"pbeam with dish_diameter={given.dish_diameter}; give the diameter in m "
                       "(`uvstack info` lists those of a set)")
    return Gaussian(float(given.ldfac) * SPEED_OF_LIGHT / sizes[0] / 1e9, 1e9)


def motion_of(given: Keywords) -> list[list[float]] | None:
    """Proper motion of each component, or None.

    Raises
    ------
    FitError
        It is not 0 and no list with [RA, Dec] for each component.
    """
    if isinstance(given.proper_motion, int | float) and given.proper_motion == 0.0:
        return None
    n = len(_several(given.model))
    values = np.asarray(given.proper_motion, np.float64)
    if values.shape != (n, 2):
        raise FitError(f"proper_motion is {given.proper_motion}; wanted 0, or [RA, Dec] in arcsec "
                       f"a year for each of {n} components")
    return values.tolist()


def gains_of(what: str, gains: Mapping[Any, Any] | None) -> dict[Any, str]:
    """Expressions by antenna, of gains given so or split into {"nuG": of frequency, "tG": of time}."""
    gains = gains or {}
    split = [key for key in ("nuG", "tG") if key in gains]
    if not split:
        return {antenna: str(text) for antenna, text in gains.items()}
    others = [key for key in gains if key not in split]
    if others:
        raise FitError(f"{what} holds {' and '.join(split)} and {others[0]!r} beside them; give "
                       "antennas in nuG and tG, or antennas alone")
    sign = "+" if what == "phase_gains" else "*"
    antennas = sorted({a for key in split for a in gains[key]}, key=str)
    return {a: f" {sign} ".join(f"({gains[key][a]})" for key in split if a in gains[key])
            for a in antennas}


def result_of(found: Any, cov_return: bool) -> dict[str, Any]:
    """UVMultiFit's dictionary of a FitResult, or of lists of them by spectral window."""
    each = {"Frequency": lambda one: one.frequency, "Parameters": lambda one: one.parameters,
            "Uncertainties": lambda one: one.errors,
            "Reduced Chi squared": lambda one: one.reduced_chi_squared,
            "Degrees of Freedom": lambda one: one.degrees_of_freedom}
    if cov_return:
        each["covariance"] = lambda one: one.covariance
    if isinstance(found, FitResult):
        return {key: value(found) for key, value in each.items()} | {"Fit": found}
    return {key: [np.array([value(one) for one in channels]) for channels in found]
            for key, value in each.items()} | {"Fit": found}


def one_of(name: str, value: Any, wanted: Sequence[str]) -> None:
    """Raise FitError with the nearest name where value is none of those wanted."""
    if value not in wanted:
        near = difflib.get_close_matches(str(value), wanted, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise FitError(f"{name}={value!r}; wanted is one of "
                       f"{', '.join(repr(one) for one in wanted)}{hint}")


def _notices(given: Keywords) -> list[str]:
    """What is done instead of what options ask that mean nothing here."""
    default = Keywords()
    lines = []
    if given.method == "simplex":
        lines.append("method='simplex': fitted by least squares with derivatives "
                     "(Levenberg–Marquardt) instead, which gives errors too")
    changed = [f"{name} ({old} → {new})"
               for name, old, new in zip(("λ", "its factor", "χ² tolerance", "",
                                          "parameter tolerance"), default.LMtune, given.LMtune,
                                         strict=False) if name and old != new]
    if changed:
        lines.append(f"LMtune: {', '.join(changed)} changed without effect: the fit damps by "
                     "itself and stops where parameters are within "
                     "a thousandth of their errors; iterations are heeded")
    if list(given.SMPtune) != default.SMPtune:
        lines.append("SMPtune is of no effect: there is no simplex here")
    if given.HankelOrder != default.HankelOrder:
        lines.append(f"HankelOrder={given.HankelOrder} is of no effect: a Gaussian ring is exact "
                     "to 1e-13 on all baselines")
    if given.gridpix:
        lines.append(f"gridpix={given.gridpix} is of no effect: visibilities are fitted as they "
                     "are")
    if given.uniform and given.wgt_power != 1.0:
        lines.append(f"wgt_power={given.wgt_power} is of no effect with uniform weights")
    texts = [*_several(given.var), *gains_of("amp_gains", given.amp_gains).values(),
             *gains_of("phase_gains", given.phase_gains).values()]
    if given.OneFitPerChannel and any("nu0" in text for text in texts):
        lines.append("nu0 in a fit a channel is the frequency of that channel; write a number "
                     "where it is to be one for all channels")
    return lines


def _numbered(gains: dict[Any, str]) -> dict[int, str]:
    """Gains by some number, the antenna's where it is one; names are known to the set alone."""
    numbers = [int(a) if str(a).isdigit() else 10_000 + i for i, a in enumerate(gains)]
    return dict(zip(numbers, gains.values(), strict=True))


def _several(value: Any) -> list[Any]:
    return [] if value is None or (isinstance(value, str)
                                   and not value) else [value] if isinstance(
        value, str | Path) else list(value)


def _same(name: str, value: Any) -> Any:
    """One selection for all sets."""
    if isinstance(value, str | int) or value is None:
        return value
    if len({str(one) for one in value}) > 1:
        raise SelectionError(f"{name}={list(value)} differs from set to set; give one for all, or "
                             "fit sets apart")
    return value[0] if len(value) else None


def _channels_refused(spw: Any) -> Any:
    if isinstance(spw, str) and ":" in spw:
        raise SelectionError(f"spw={spw!r}: channel ranges are not supported; split the channels "
                             "into a set of their own")
    return spw


def _numbers_as_text(fixedvar: Any) -> list[str]:
    """Variables of fixed components as text: there they may be lists of numbers."""
    values = _several(fixedvar)
    if values and all(isinstance(one, int | float) for one in values):
        values = [values]
    return [one if isinstance(one, str) else ", ".join(repr(float(x)) for x in one)
            for one in values]


def _table(made: uvmultifit) -> str:
    """What stands in `outfile`."""
    names = _several(made.model)
    lines = [f"Fit to {', '.join(map(str, _several(made.vis)))}",
             "Uncertainties are scaled to a reduced chi squared of 1.", "Model:"]
    lines += [f"  {name}: {var}" for name, var in zip(names, _several(made.var), strict=True)]
    if made._is_fixed:
        lines.append(f"Fixed: {', '.join(_several(made.fixed))} "
                     f"({'; '.join(_numbers_as_text(made.fixedvar))}), times {made.scalefix}")
    lines.append(f"Primary beam: FWHM {made.ldfac} lambda/D, D = {made.dish_diameter} m"
                 if made.pbeam else "No primary beam")
    bounds = made.bounds or [None] * len(made.p_ini)
    lines += [f"p[{i}] started at {p:g}, bounds {b}"
              for i, (p, b) in enumerate(zip(made.p_ini, bounds, strict=True))]
    lines.append("Frequency (Hz) " + " ".join(f"p[{i}] error" for i in range(len(made.p_ini)))
                 + " reduced_chi_squared")
    fits = made.result["Fit"]
    results = [fits] if isinstance(fits, FitResult) else [one for channels in fits
                                                          for one in channels]
    rows = [" ".join(f"{value:.10e}"
                     for value in (one.frequency,
                                   *np.column_stack([one.parameters, one.errors]).ravel(),
                                   one.reduced_chi_squared)) for one in results]
    return "".join(f"# {line}\n" for line in lines) + "".join(f"{row}\n" for row in rows)
