"""Errors of means over units that share visibilities, and the test whether short baselines deviate from long ones.

The scatter of visibilities in a bin of uv distance knows nothing of what is common to many of them:
sidelobes of other sources are the same over a dish's diameter of (u, v). Units that look at other
places of the sky, the positions of a list or whole random lists, see each another sum of them: the
scatter of their own means F_kb is the error of the bin, whatever its cause. With s_kb = Σ w Re V
turned to unit k and q_kb = Σ w, F_b = Σ_k s_kb / Σ_k q_kb, and the deviation of a unit is taken from
the mean of all others (jackknife), (s_kb − F_b q_kb)/(1 − q_kb/Q_b).

**The test.** For each edge of the shorter half of the bins, the mean below it is compared with that
above, T = (F_< − F_>)/σ, where σ is the scatter of the same difference over the units, so that their
own fluxes, which are in both, cancel. Sums up to an edge see a weak rise that no bin shows. The
largest |T| is compared with the largest of the same data with random signs of the units (a wild
bootstrap: Wu 1986), each over its own error: 5 % of the sets without a trend give an alarm, however many edges
were tried and however they are correlated. Where it is exceeded, the data below the edge of the
largest |T| are left out and the rest is tried again.

**Noisy baselines.** Sidelobes that scatter about 0 from unit to unit show in no mean. Where the error
of the mean is lower by a fifth without the baselines below an edge, they are better left out too.
"""

from __future__ import annotations

import numpy as np

#: Share of the sets without a trend that may give an alarm.
_ALARMS = 0.05
#: Random signs that are tried, and units that are signed at once.
_TRIALS, _AT_ONCE = 1000, 4096
#: Units below which nothing is said.
FEWEST = 6
#: An edge is not tried where one unit has more of the weight on a side of it.
_LARGEST_SHARE = 0.9
#: The error without short baselines that makes a cut worth while, over that with them.
_QUIETER = 0.8
#: An error of so many times the least is nearly as good.
_NEARLY = 1.05


def unit_errors(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Error of Σ_k s_kb / Σ_k q_kb, (bin,); NaN for a single unit.

    Parameters
    ----------
    values, weights : ndarray (bin, unit)
        s_kb and q_kb.
    """
    total = weights.sum(axis=1)
    return np.asarray(np.sqrt((_deviations(values, weights) ** 2).sum(axis=1)) / total)


def trend_edge(values: np.ndarray, weights: np.ndarray, rng: np.random.Generator,
               floor: float = 0.0) -> int | None:
    """Bins, counted from the shortest, whose mean deviates from that of all longer ones; None where none does.

    Parameters
    ----------
    values, weights : ndarray (bin, unit)
        Bins rise in uv distance, and each has data.
    rng : Generator
        Of the random signs.
    floor : float
        Least error of a mean over units, in parts of the scatter of one.
    """
    n_bins, n_units = values.shape
    if n_units < FEWEST or n_bins < 3:
        return None
    found, begin = None, 0
    while begin < n_bins // 2:
        edge = _deviant_edge(values[begin:], weights[begin:], n_bins // 2 - begin, rng, floor)
        if edge is None:
            break
        begin += edge
        found = begin
    return found


def quiet_edge(values: np.ndarray, weights: np.ndarray) -> int | None:
    """Fewest bins of the shorter half without which the error of the mean is nearly the least; None where less than a fifth is gained.

    values, weights : ndarray (bin, unit)
        As of `trend_edge`.
    """
    n_bins, n_units = values.shape
    if n_units < FEWEST or n_bins < 3:
        return None
    longer = [np.cumsum(part[::-1], axis=0)[::-1][:n_bins // 2 + 1] for part in (values, weights)]
    errors = unit_errors(*longer)
    if not errors.min() < _QUIETER * errors[0]:
        return None
    return int(np.flatnonzero(errors <= _NEARLY * errors.min())[0])


def _deviations(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(s − F q)/(1 − q/Q) of each unit, (…, unit); NaN where there is no other."""
    total = weights.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum(axis=-1, keepdims=True) / total
        return np.asarray((values - mean * weights) * total / (total - weights))


def _deviant_edge(values: np.ndarray, weights: np.ndarray, n_edges: int, rng: np.random.Generator,
                  floor: float) -> int | None:
    """The edge of the largest |T| among the first n_edges, where that is too large for chance."""
    below = [np.cumsum(part, axis=0)[:n_edges] for part in (values, weights)]
    above = [part.sum(axis=0) - under for part, under in zip((values, weights), below, strict=True)]
    means, parts, shares = [], [], []
    for s, q in (below, above):
        total = q.sum(axis=1)
        means.append(s.sum(axis=1) / total)
        parts.append(_deviations(s, q) / total[:, None])
        shares.append(q / total[:, None])
    usable = np.flatnonzero(np.maximum(*(share.max(axis=1) for share in shares)) < _LARGEST_SHARE)
    if not usable.size:
        return None
    means, parts, shares = ([side[usable] for side in both] for both in (means, parts, shares))
    n_units = values.shape[1]
    square = ((parts[0] - parts[1]) ** 2).sum(axis=1)
    error = np.sqrt(square * max(1.0, floor**2 * n_units))
    size = np.abs(means[0] - means[1]) / error
    best = int(size.argmax())
    largest = np.quantile(_signed(parts, shares, rng).max(axis=1), 1 - _ALARMS)
    return int(usable[best]) + 1 if size[best] > largest else None


def _signed(parts: list[np.ndarray], shares: list[np.ndarray],
            rng: np.random.Generator) -> np.ndarray:
    """|T| with random signs of the units, (trial, edge), from the deviations below and above each edge and the shares h there (edge, unit).

    Each trial is treated as the data are: with D = Σ ± p of either side, a unit deviates from the mean
    of all others by (± p − h D)/(1 − h), and the square of the error is the sum of the squares
    of the differences of both sides.
    """
    n_edges, n_units = parts[0].shape
    odds = [share / (1 - share) for share in shares]
    own = parts[0] * (1 + odds[0]) - parts[1] * (1 + odds[1])
    summed = np.zeros((4, _TRIALS, n_edges))
    for start in range(0, n_units, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        signs = rng.integers(0, 2, (_TRIALS, own[:, some].shape[1]), dtype=np.int8) * 2.0 - 1.0
        for total, term in zip(summed, (*parts, own * odds[0], own * odds[1]), strict=True):
            total += signs @ term[:, some].T
    low, high, low_own, high_own = summed
    square = ((own**2).sum(axis=1) + low**2 * (odds[0] ** 2).sum(axis=1)
              + high**2 * (odds[1] ** 2).sum(axis=1) - 2 * low * low_own + 2 * high * high_own
              - 2 * low * high * (odds[0] * odds[1]).sum(axis=1))
    return np.asarray(np.abs(low - high) / np.sqrt(np.maximum(square, 1e-12 * low**2)))
