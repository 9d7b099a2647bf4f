"""Averages of visibilities over channels and integrations, each with the frequency and (u, v, w) that it truly has.

Averages are weighted. What is averaged must have one (u, v, w) and one frequency afterwards, which
flags would spoil:

- Over time, rows of one baseline within `timewidth` integrations are averaged if the same channels of theirs are unflagged;
  rows with other flags make an average of their own. So the mean (u, v, w) holds for all channels
  of the average.
- Over channels, the mean frequency of a group of channels depends on which of them have a weight. Rows are parted by it, to
  1/64 of the group's width, and each part has its own frequencies.

What an average loses for sources off the phase centre is not undone here: the fit predicts it where
smearing is asked for, with the widths returned. Cost: about ten passes over the arrays. Averages
end where a chunk of rows ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

#: Steps within the width of an averaged channel to which rows are parted by their mean frequency.
_CLASSES = 64


@dataclass(frozen=True, eq=False)
class Rows:
    """Visibilities of one Stokes parameter, one field and one spectral window.

    Attributes
    ----------
    uvw : ndarray (row, 3)
        Metres.
    frequency, width, nominal : ndarray (chan,)
        Hz: mean frequency, width covered, and the frequency by which a channel goes whatever is
        flagged in it.
    vis : ndarray (row, chan) complex64
        Jy.
    weight : ndarray (row, chan) float32
        1/Jy².
    time, interval : ndarray (row,)
        Seconds.
    antenna1, antenna2 : ndarray (row,) int
    fixed : ndarray (row, chan) complex64 or None
        Visibilities that belong to the model.
    """

    uvw: np.ndarray
    frequency: np.ndarray
    width: np.ndarray
    nominal: np.ndarray
    vis: np.ndarray
    weight: np.ndarray
    time: np.ndarray
    interval: np.ndarray
    antenna1: np.ndarray
    antenna2: np.ndarray
    fixed: np.ndarray | None = None

    def rows(self, which: np.ndarray | slice) -> Rows:
        """The same for some of the rows."""
        return replace(self, uvw=self.uvw[which], vis=self.vis[which], weight=self.weight[which],
                       time=self.time[which], interval=self.interval[which],
                       antenna1=self.antenna1[which], antenna2=self.antenna2[which],
                       fixed=None if self.fixed is None else self.fixed[which])

    def channels(self, which: np.ndarray | slice) -> Rows:
        """The same for some of the channels."""
        return replace(self, frequency=self.frequency[which], width=self.width[which],
                       nominal=self.nominal[which], vis=self.vis[:, which],
                       weight=self.weight[:, which],
                       fixed=None if self.fixed is None else self.fixed[:, which])


def average(rows: Rows, chanwidth: int, timewidth: int, first_time: float = 0.0) -> list[Rows]:
    """Averages of rows with a weight; in several parts where flags give them different frequencies.

    Parameters
    ----------
    rows : Rows
    chanwidth, timewidth : int
        Channels and integrations that are averaged, 1 or more; the last group of channels may be
        smaller.
    first_time : float
        s, from which groups of integrations are counted.
    """
    used = np.asarray((rows.weight > 0).any(axis=1))
    if not used.all():
        rows = rows.rows(used)
    if rows.uvw.shape[0] == 0:
        return []
    if timewidth > 1:
        rows = average_times(rows, timewidth, first_time)
    return [rows] if chanwidth == 1 else average_channels(rows, chanwidth)


def average_times(rows: Rows, timewidth: int, first_time: float = 0.0) -> Rows:
    """Averages over time bins of `timewidth` integrations, by baseline and pattern of flags."""
    step = float(np.median(rows.interval))
    step = step if step > 0 else 1.0
    integration = np.floor((rows.time - first_time) / step + 0.5).astype(np.int64)
    _, pattern = np.unique(np.packbits(rows.weight > 0, axis=1), axis=0, return_inverse=True)
    keys = (np.reshape(pattern, -1), rows.antenna2, rows.antenna1, integration // timewidth)
    order = np.lexsort(keys)
    starts = np.flatnonzero(np.concatenate([[True],
                                            np.any([np.diff(key[order]) != 0 for key in keys],
                                                   axis=0)]))
    rows = rows.rows(order)
    weight = rows.weight.astype(np.float64)
    total = np.add.reduceat(weight, starts)

    def mean(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, np.add.reduceat(weight * values, starts) / total,
                            0).astype(np.complex64)

    of_row = weight.sum(axis=1)
    sum_of_row = np.add.reduceat(of_row, starts)
    return replace(
        rows, uvw=np.add.reduceat(of_row[:, None] * rows.uvw, starts) / sum_of_row[:, None], vis=mean(rows.vis),
        weight=total.astype(np.float32),
        # Times are 5e9 s: differences keep the last digits.
        time=rows.time[starts] + np.add.reduceat(of_row * (rows.time - np.repeat(rows.time[starts], np.diff([*starts, of_row.size]))),
                                                 starts) / sum_of_row,
        interval=np.add.reduceat(rows.interval, starts), antenna1=rows.antenna1[starts], antenna2=rows.antenna2[starts],
        fixed=None if rows.fixed is None else mean(rows.fixed))


def average_channels(rows: Rows, chanwidth: int) -> list[Rows]:
    """Averages over groups of channels, in parts of rows that share the mean frequencies."""
    starts = np.arange(0, rows.frequency.size, chanwidth)
    weight = rows.weight.astype(np.float64)
    total = np.add.reduceat(weight, starts, axis=1)

    def mean(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, np.add.reduceat(weight * values, starts, axis=1) / total, 0)

    size = np.diff([*starts, rows.frequency.size])
    nominal = np.add.reduceat(rows.nominal, starts) / size
    span = np.add.reduceat(rows.width, starts)
    offset = mean(rows.frequency - np.repeat(nominal, size))
    covered = np.add.reduceat((weight > 0) * rows.width, starts, axis=1)
    averaged = replace(rows, frequency=nominal, width=span, nominal=nominal,
                       vis=mean(rows.vis).astype(np.complex64), weight=total.astype(np.float32),
                       fixed=None if rows.fixed is None else mean(rows.fixed).astype(np.complex64))
    label = np.rint(offset / np.maximum(span, 1e-300) * _CLASSES).astype(np.int8)
    return _parts(averaged, offset, covered, label)


def _parts(rows: Rows, offset: np.ndarray, covered: np.ndarray, label: np.ndarray) -> list[Rows]:
    """Rows (and, where they differ too much, single channels) with common frequencies."""
    _, pattern = np.unique(label, axis=0, return_inverse=True)
    pattern = np.reshape(pattern, -1)
    if pattern.max() + 1 > max(8, label.shape[0] // 32) and label.shape[1] > 1:
        return [part for g in range(label.shape[1]) if (rows.weight[:, g] > 0).any()
                for part in _parts(*_with_weight(rows, offset, covered, label, slice(g, g + 1)))]
    parts = []
    for i in range(pattern.max() + 1):
        here = pattern == i
        weight = rows.weight[here].astype(np.float64)
        total = np.maximum(weight.sum(axis=0), 1e-300)
        parts.append(replace(rows.rows(here),
                             frequency=rows.nominal + (weight * offset[here]).sum(axis=0) / total,
                             width=(weight * covered[here]).sum(axis=0) / total))
    return parts


def _with_weight(rows: Rows, offset: np.ndarray, covered: np.ndarray, label: np.ndarray,
                 group: slice) -> tuple:
    here = rows.weight[:, group][:, 0] > 0
    return rows.rows(here).channels(group), offset[here, group], covered[here, group], label[here, group]
