"""What the first reading of all data tells.

Sums over fine bins of uv distance, a sample of rows, times, channels.

From the sums follow a starting value of flux and size and, for round centred models, the uv
profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.fitting.data.inspection import VALUES, UVProfile, profile_edges
from uvstack.fitting.data.preparation import Piece
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import Model
from uvstack.fitting.model.normal import model_visibilities
from uvstack.fitting.solve.binned import Bins, bins_of, can_bin
from uvstack.uv.profile import UVSums

#: Fine bins, 1.2 per cent wide, from 1 to 1e10 wavelengths; the first and last hold what lies
#: beyond.
_PER_DECADE, _N_FINE = 200, 2002
#: Visibilities of the sample that is fitted first.
SAMPLE = 100_000
_W, _W_Q, _W_RE, _W_IM, _COUNT = range(5)


@dataclass(eq=False)
class Survey:
    """Sums over chunks, added in their order.

    Attributes
    ----------
    sums : ndarray (fine bin, 5)
        Σ w, Σ w q, Σ w Re V, Σ w Im V and the number of visibilities, V less what is fixed.
    sample : list of Piece
        Rows drawn at random.
    times : ndarray
        Distinct times, s since the reference.
    nominal : ndarray
        Nominal frequencies of the channels, Hz, rising.
    bins : Bins or None
        Sums for round centred models, of V less what is fixed.
    binnable : bool
        Whether such models can be fitted to them: nothing is fixed, no primary beam.
    n_not_finite : int
    pieces : list of list of Piece
        All data by chunk, where they are kept.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros((_N_FINE, 5)))
    sample: list[Piece] = field(default_factory=list)
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    nominal: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bins: Bins | None = None
    binnable: bool = True
    n_not_finite: int = 0
    pieces: list[list[Piece]] = field(default_factory=list)

    def add(self, other: Survey) -> None:
        """Add a chunk."""
        self.sums += other.sums
        self.sample += other.sample
        self.times, self.nominal = np.union1d(self.times, other.times), np.union1d(
            self.nominal, other.nominal)
        if other.bins is not None:
            self.bins = other.bins if self.bins is None else self.bins + other.bins
        self.binnable &= other.binnable
        self.n_not_finite += other.n_not_finite
        self.pieces += other.pieces

    @property
    def n_visibilities(self) -> int:
        """Visibilities with a weight."""
        return int(self.sums[:, _COUNT].sum())

    @property
    def reach(self) -> tuple[float, float]:
        """Shortest and longest uv distance, wavelengths, to a fine bin."""
        filled = np.flatnonzero(self.sums[:, _COUNT])
        return 10.0 ** ((filled[0] - 1)
                        / _PER_DECADE) if filled[0] else 0.0, 10.0 ** (filled[-1] / _PER_DECADE)

    def guess(self) -> tuple[float, float]:
        """Flux (Jy) from the shortest third of the baselines, size (rad) from the middle one.

        What a fit may start from.
        """
        count = np.cumsum(self.sums[:, _COUNT]) / self.n_visibilities
        short = np.arange(_N_FINE) <= np.searchsorted(count, 1 / 3)
        middle = 10.0 ** (int(np.searchsorted(count, 0.5)) / _PER_DECADE)
        return float(self.sums[short, _W_RE].sum() / self.sums[short, _W].sum()), 0.3 / middle

    def profile(self, model: Model, p: np.ndarray) -> UVProfile:
        """Uv profile of the data with a model that depends on uv distance alone."""
        some = self.sums[:, _COUNT] > 0
        sums = self.sums[some]
        q = sums[:, _W_Q] / sums[:, _W]
        uvw = np.stack([q * SPEED_OF_LIGHT / model.nu0, np.zeros(q.size), np.zeros(q.size)], axis=1)
        places = FitData(uvw, np.array([model.nu0]), np.zeros((q.size, 1), np.complex64),
                         np.zeros((q.size, 1), np.float32))
        found = model_visibilities(places, model, p)[:, 0]
        edges = profile_edges(*self.reach)
        total = UVSums.empty(edges, VALUES)
        weight = sums[:, _W]
        products = [sums[:, _W_RE], sums[:, _W_IM], weight * found.real, weight * found.imag]
        total.add(q, sums[:, _COUNT], weight, products)
        return UVProfile(total)


def survey_pieces(pieces: list[Piece], not_finite: int, share: float, keep: bool,
                  number: int) -> Survey:
    """Survey of a chunk.

    Parameters
    ----------
    pieces : list of Piece
    not_finite : int
        Unflagged visibilities that were not finite.
    share : float
        One of so many rows is drawn for the sample; 0 for none.
    keep : bool
        Whether the data are handed on.
    number : int
        Of the chunk; it seeds the draw.
    """
    found = Survey(n_not_finite=not_finite, pieces=[pieces] if keep else [])
    rng = np.random.default_rng([0, number])
    for piece in pieces:
        found.sums += fine_sums(piece.data)
        found.binnable &= can_bin(piece.data)
        bins = bins_of(_bare(piece.data))
        found.bins = bins if found.bins is None else found.bins + bins
        if share:
            drawn = np.flatnonzero(rng.random(piece.data.uvw.shape[0]) < 1.0 / share)
            if drawn.size:
                found.sample.append(piece.rows(drawn))
    found.times = np.unique(np.concatenate([np.zeros(0),
                                            *(np.asarray(piece.data.time) for piece in pieces)]))
    found.nominal = np.unique(np.concatenate([np.zeros(0), *(piece.nominal for piece in pieces)]))
    return found


def _bare(data: FitData) -> FitData:
    """Data less what is fixed, without a beam."""
    if can_bin(data):
        return data
    vis = data.vis if data.fixed is None else (data.vis - data.fixed).astype(np.complex64)
    return replace(data, vis=vis, fixed=None, attenuation=None)


def fine_sums(data: FitData) -> np.ndarray:
    """Sums (fine bin, 5) of a piece."""
    used = data.weight > 0
    q = (np.hypot(data.uvw[:, 0], data.uvw[:, 1])[:, None]
         * (data.frequency / SPEED_OF_LIGHT))[used]
    with np.errstate(divide="ignore"):
        index = np.clip(np.floor(np.log10(q) * _PER_DECADE) + 1, 0, _N_FINE - 1).astype(np.int64)
    vis = data.vis[used] if data.fixed is None else (data.vis - data.fixed)[used]
    weight = data.weight[used].astype(np.float64)
    sums = [np.bincount(index, weight * value, _N_FINE) for value in (1.0, q, vis.real, vis.imag)]
    return np.stack([*sums, np.bincount(index, minlength=_N_FINE)], axis=1)
