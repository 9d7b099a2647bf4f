"""What a fit sees: visibilities of one chunk with their weights, and what belongs to rows and channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model.data_kernels import look
from uvstack.sky.primary_beam import PrimaryBeam


@dataclass(frozen=True, eq=False)
class Attenuation:
    """Primary beam of a pointing, as a function of directions from the fit's reference.

    Attributes
    ----------
    primary_beam : PrimaryBeam
    turn : ndarray (3, 3)
        Takes (l, m, n) from the reference to (l, m, n) from the pointing centre.
    """

    primary_beam: PrimaryBeam
    turn: np.ndarray

    def __call__(self, l: np.ndarray, m: np.ndarray, frequency: np.ndarray) -> np.ndarray:
        """A at directions (…, chan), one for each frequency (chan,)."""
        n = np.sqrt(np.maximum(1.0 - l**2 - m**2, 0.0))
        east, north, towards = np.einsum("ij,j...->i...", self.turn, np.stack([l, m, n]))
        east = np.where(towards > 0, east, 2.0)  # beyond the horizon a beam answers 0
        out = np.empty(l.shape)
        for chan, nu in enumerate(frequency):
            power = self.primary_beam(east[..., chan].ravel(), north[..., chan].ravel(),
                                      np.array([nu]))
            out[..., chan] = power[:, 0].reshape(l.shape[:-1])
        return out


@dataclass(frozen=True, eq=False)
class FitData:
    """Visibilities of a chunk.

    (u, v, w) and phases refer to the direction that RA and Dec of a model are counted from.

    Attributes
    ----------
    uvw : ndarray (row, 3) float64
        Metres.
    frequency : ndarray (chan,)
        Hz.
    vis : ndarray (row, chan) complex
        Jy.
    weight : ndarray (row, chan) float32
        1/Jy², of the real and of the imaginary part alike; 0 where unused.
    fixed : ndarray (row, chan) complex, optional
        Visibilities of sources that are not fitted, Jy.
    time : ndarray (row,), optional
        Seconds since the reference time; for variables in t.
    antenna1, antenna2 : ndarray (row,) int, optional
        For gains.
    width : ndarray (chan,), optional
        Hz: the model is averaged over the channel.
    uvw_change : ndarray (row, 3), optional
        d(u, v, w)/dt times the integration, m: the model is averaged over it.
    attenuation : Attenuation, optional
    """

    uvw: np.ndarray
    frequency: np.ndarray
    vis: np.ndarray
    weight: np.ndarray
    fixed: np.ndarray | None = None
    time: np.ndarray | None = None
    antenna1: np.ndarray | None = None
    antenna2: np.ndarray | None = None
    width: np.ndarray | None = None
    uvw_change: np.ndarray | None = None
    attenuation: Attenuation | None = None

    def rows(self, which: slice | np.ndarray) -> FitData:
        """The same for some of the rows."""
        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[which]

        return FitData(self.uvw[which], self.frequency, self.vis[which], self.weight[which],
                       some(self.fixed), some(self.time), some(self.antenna1), some(self.antenna2),
                       self.width, some(self.uvw_change), self.attenuation)


def checked_data(uvw: np.ndarray, frequency: np.ndarray, vis: np.ndarray,
                 weight: np.ndarray | None = None, **others: Any) -> FitData:
    """Data of arrays: shapes and weights checked, invalid visibilities weighted 0.

    Raises
    ------
    FitError
        Shapes differ, a weight is negative, or nothing has a weight.
    """
    uvw, frequency, vis = np.asarray(uvw, np.float64), np.atleast_1d(
        np.asarray(frequency, np.float64)), np.asarray(vis)
    vis = vis.astype(np.result_type(vis.dtype.newbyteorder("="), np.complex64), copy=False)
    if vis.ndim == 1 and frequency.size == 1:
        vis = vis[:, None]
    weight = np.ones(vis.shape, np.float32) if weight is None else np.asarray(weight, np.float32)
    if weight.ndim == 1 and weight.shape == vis.shape[:1]:
        weight = np.broadcast_to(weight[:, None], vis.shape)
    if uvw.ndim != 2 or uvw.shape[1] != 3 or vis.shape != (uvw.shape[0], frequency.size) or weight.shape != vis.shape:
        raise FitError(f"uvw {uvw.shape}, frequency {frequency.shape}, vis {vis.shape}, weight "
                       f"{weight.shape}; wanted (row, 3), (chan,), (row, chan), (row, chan)")
    others = {name: _checked_other(name, value, *vis.shape) for name, value in others.items()}
    uvw, vis, weight = np.ascontiguousarray(uvw), np.ascontiguousarray(vis), np.ascontiguousarray(weight)
    finite, negative, positive = look(uvw.reshape(-1), vis.view(vis.real.dtype).reshape(-1),
                                      weight.reshape(-1))
    if negative:
        raise FitError(f"{int((weight < 0).sum())} weights are negative, the first "
                       f"{weight[weight < 0][0]:g}; wanted 0 or more")
    if not (np.isfinite(frequency) & (frequency > 0)).all():
        raise FitError("a frequency is not positive; wanted Hz")
    fixed = others.get("fixed")
    if fixed is not None or not finite:
        valid = np.isfinite(vis) & np.isfinite(weight) & np.isfinite(uvw).all(axis=1)[:, None]
        if fixed is not None:
            valid &= np.isfinite(fixed)
            others["fixed"] = np.where(valid, fixed, 0).astype(np.complex128)
        vis, weight, uvw = np.where(valid, vis, 0), np.where(valid, weight,
                                                             np.float32(0)), np.where(
            np.isfinite(uvw), uvw, 0.0)
        positive = (weight > 0).any()
    if not positive:
        raise FitError("no visibility has a weight: all are flagged, not finite or outside the uv "
                       "limits")
    return FitData(uvw, frequency, vis, weight, **others)


def _checked_other(name: str, value: Any, n_rows: int, n_chan: int) -> Any:
    """What else belongs to the data, as the kernels want it: they look at no shapes."""
    wanted = {"fixed": (n_rows, n_chan), "time": (n_rows,), "antenna1": (n_rows,),
              "antenna2": (n_rows,), "width": (n_chan,), "uvw_change": (n_rows, 3)}
    if value is None or name not in wanted:
        return value
    value = np.asarray(value)
    if value.shape != wanted[name]:
        raise FitError(f"{name} has shape {value.shape}; wanted {wanted[name]} for {n_rows} rows "
                       f"and {n_chan} channels")
    if name.startswith("antenna") and not (value >= 0).all():
        raise FitError(f"{name} holds {value.min()}; wanted numbers of antennas from 0")
    if name in ("time", "width", "uvw_change") and not np.isfinite(value).all():
        raise FitError(f"{int((~np.isfinite(value)).sum())} values of {name} are not finite; "
                       "wanted numbers in SI units")
    return value
