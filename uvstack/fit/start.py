"""Starting values from a straight line: ln V = ln S − (π θ q)²/(4 ln 2) is linear in ln S and θ² (Lindroos et al. 2015, section 5.7).

Taken of single visibilities or narrow bins the logarithm is no estimator: it has a bias of −σ²/2V² and negative values have to be
left out, which keeps the high ones. For 1″ on VLA A and 128 bins it misses the flux by 1.6 and the size by 6 of their errors at a
signal-to-noise ratio of 18, and with 512 bins the size by 1.7 even at 1000 (`scripts/measure_fit.py`). Here it is
asked for a starting value alone, of at most 16 groups of equal weight; those below 3 σ are left out. Where nothing is above that,
the start is a point with the mean flux in the shortest quarter of the baselines' weight. It is for sources at the phase centre; an
offset of more than a fraction of the resolution lowers real parts as a size does.
"""

from __future__ import annotations

import math
import re

import numpy as np

from uvstack.errors import FitError
from uvstack.fit.binned import Bins
from uvstack.fit.model import ARCSEC, DEC, EXTRA, FLUX, MAJOR, PA, RA, RATIO, Model

_N_GROUPS, _LEAST_SNR = 16, 3.0
#: −ln V falls as (π θ q)² times this.
_SLOPE = 1.0 / (4.0 * math.log(2.0))
#: Size of a shape over the FWHM of the Gaussian that falls alike at short baselines, from the first term of 1 − f(x).
_SIZE_OF = {"gaussian": 1.0, "disc": math.sqrt(8 * _SLOPE), "ring": math.sqrt(4 * _SLOPE), "sphere": math.sqrt(10 * _SLOPE),
            "bubble": math.sqrt(6 * _SLOPE), "expo": math.log(2.0) * math.sqrt(_SLOPE / 1.5), "power-2": 0.5, "power-3": 0.5,
            "gaussian-ring": math.sqrt(4 * _SLOPE)}  # fmt: skip


def polynomial_fit(q: np.ndarray, value: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Flux (Jy) and FWHM (rad) of a Gaussian by the linear fit of section 5.7, as it stands there.

    Parameters
    ----------
    q : ndarray (n,)
        Wavelengths.
    value : ndarray (n,)
        Real parts, Jy; those that are not positive have no logarithm and are left out.
    weight : ndarray (n,)
        1/Jy². A logarithm weighs weight · value².

    Returns
    -------
    tuple of float
        FWHM 0 where the values rise; NaN for both where fewer than two are positive.
    """
    use = (value > 0) & (weight > 0)
    if use.sum() < 2:
        return math.nan, math.nan
    w, x, y = weight[use] * value[use] ** 2, q[use] ** 2, np.log(value[use])
    x_mean, y_mean = np.average(x, weights=w), np.average(y, weights=w)
    variance = np.average((x - x_mean) ** 2, weights=w)
    slope = np.average((x - x_mean) * (y - y_mean), weights=w) / variance if variance > 0 else 0.0
    if slope >= 0:
        return float(np.exp(y_mean)), 0.0
    return float(np.exp(y_mean - slope * x_mean)), math.sqrt(-slope / _SLOPE) / math.pi


def polynomial_start(bins: Bins) -> tuple[float, float]:
    """Flux (Jy) and FWHM (rad) to start the fit of a centred source from; FWHM 0 where none can be told."""
    nodes = bins.nodes
    order = np.argsort(nodes.q[nodes.used])
    q, value, weight = (a[nodes.used][order] for a in (nodes.q, nodes.value, nodes.weight))
    share = np.cumsum(weight) / weight.sum()
    group = np.minimum((_N_GROUPS * share * (1 - 1e-12)).astype(int), _N_GROUPS - 1)
    total = np.bincount(group, weight, _N_GROUPS)
    safe = np.where(total > 0, total, 1.0)
    mean, square = np.bincount(group, weight * value, _N_GROUPS) / safe, np.bincount(group, weight * q**2, _N_GROUPS) / safe
    clear = mean * np.sqrt(total) > _LEAST_SNR
    if clear.sum() >= 2:
        flux, fwhm = polynomial_fit(np.sqrt(square[clear]), mean[clear], total[clear])
        if np.isfinite(flux):
            return flux, fwhm
    short = share <= max(0.25, share[0])
    return float(np.average(value[short], weights=weight[short])), 0.0


def starting_values(model: Model, bins: Bins) -> np.ndarray:
    """Starting values (par,) of a model of one component whose variables are parameters or constants.

    Raises
    ------
    FitError
        The model has more components, gains or expressions: p_ini is wanted.
    """
    flux, fwhm = polynomial_start(bins)
    if model.shapes[0].name == "delta":
        nodes = bins.nodes
        flux, fwhm = float(np.sum(nodes.weight * nodes.value) / np.sum(nodes.weight)), 0.0
    # A size to start from where none is seen: a few per cent of the flux is lost at the longest baselines.
    fwhm = max(fwhm, 0.1 / bins.q_max)
    size = fwhm / ARCSEC * _SIZE_OF.get(model.shapes[0].name, 1.0)
    values = {RA: 0.0, DEC: 0.0, FLUX: flux, MAJOR: size, RATIO: 0.7, PA: 0.0, EXTRA: 0.2 * size}
    out = np.full(model.n_parameters, np.nan)
    simple = len(model.shapes) == 1 and not model.has_gains and model.scale is None
    for k, part in enumerate(model.variables[0].parts if simple else ()):
        found = re.fullmatch(r"p\s*\[\s*(\d+)\s*\]", part.strip())
        if found:
            out[int(found.group(1))] = values[k]
    if not np.isfinite(out).all():
        missing = ", ".join(model.names[i] for i in np.flatnonzero(~np.isfinite(out)))
        raise FitError(f"no starting value for {missing}: only a single component with plain parameters gets them by itself; give p_ini")
    return out
