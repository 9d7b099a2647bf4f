"""The eight cases of UVMultiFit's test suite (Martí-Vidal et al. 2014), re-made and fitted to a truth that is known exactly.

    python scripts/uvmultifit_cases.py [--seeds 20] [--cases 1,5] [--quick]

The visibilities are predicted here from their formulas with scipy, noise is added, and
`fit_visibilities` starts where UVMultiFit's test starts, in the same variables and bounds. For each
parameter the table gives truth, start, the fit of the set at its full size with its error and pull
= (fitted − true)/error; then mean and rms of the pulls over seeds, on a thinner set of the same
information (fewer channels or times, less noise). A case passes if all pulls are below 3.5 (case 2,
which has 2900: 4.5), the means below 3.5/√seeds, and the rms within 3.5/√(4 seeds) of 1, as if two
parameters were independent.

Departures from the suite, which simulates with CASA's simobserve: noise is white and its σ (of a
real part, one channel, one integration) stands with the table; in case 1 its disc came out with
0.2435 Jy, which is the truth here; in case 2 the power-2 source has unit flux in the definition of
`uvstack.fitting.model.shapes` (there 1/2π of it, which hides a factor of its own); in case 4 the
directions are exact, not on pixels; case 6 is fitted to visibilities, not to an image; in case 8
phases, delays, rates and dispersion are solved at once, relative to the reference antenna. Arrays
are CASA's where casadata is installed, ours of like extent where not.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from markdown import head, row  # noqa: E402

from simulate.arrays import read_array  # noqa: E402
from simulate.tracks import baseline_uvw, hour_angle_times, uvw_of_times  # noqa: E402
from uvstack.fitting.model.data import Attenuation, FitData  # noqa: E402
from uvstack.fitting.model.model import make_model  # noqa: E402
from uvstack.fitting.model.normal import normal_equations  # noqa: E402
from uvstack.fitting.multifit.fringe import fringe_start  # noqa: E402
from uvstack.fitting.result import FitResult  # noqa: E402
from uvstack.fitting.solve.visibilities import fit_passes, fit_visibilities  # noqa: E402
from uvstack.sky.primary_beam import Gaussian  # noqa: E402

LIGHT = 299_792_458.0
ARCSEC = np.pi / 180 / 3600
RA, DEC_SOUTH = np.deg2rad(150.0), np.deg2rad(-30.0)
#: Limit of a pull, and of means and rms of pulls in their own standard deviations.
LARGEST_PULL = 3.5


@dataclass(frozen=True, eq=False)
class Track:
    """Rows of an observation: (u, v, w) (row, 3) m, time (row,) s since the first integration, antennas (row,)."""

    uvw: np.ndarray
    time: np.ndarray
    antenna1: np.ndarray
    antenna2: np.ndarray


@dataclass(frozen=True, eq=False)
class Case:
    """Data without noise, and the fit that is asked of them.

    Attributes
    ----------
    names : tuple of str
    truth, start : sequence of float
        Parameters.
    vis : ndarray (row, chan) complex
    sigma : float
        Noise of a real part, Jy.
    fit : callable
        Noisy visibilities, weight → FitResult.
    turns : tuple of int
        Parameters that are phases, compared modulo 2π.
    """

    title: str
    names: tuple[str, ...]
    truth: Sequence[float]
    start: Sequence[float]
    vis: np.ndarray
    sigma: float
    fit: Callable[[np.ndarray, np.ndarray], FitResult]
    turns: tuple[int, ...] = ()

    def fitted(self, seed: int) -> FitResult:
        """The fit of one realisation of the noise."""
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((*self.vis.shape, 2), np.float32).view(np.complex64)[..., 0]
        vis = (self.vis + self.sigma * noise).astype(np.complex64)
        return self.fit(vis, np.full(vis.shape, 1 / self.sigma**2, np.float32))

    def pulls(self, found: FitResult) -> np.ndarray:
        """(fitted − true)/error of each parameter."""
        difference = found.parameters - np.asarray(self.truth)
        for i in self.turns:
            difference[i] = (difference[i] + np.pi) % (2 * np.pi) - np.pi
        return difference / found.errors


def track(array: Any, dec: float, duration: float, integration: float) -> Track:
    """Rows of all baselines about transit of RA 10 h."""
    times = hour_angle_times(array, RA, duration, integration, dec=dec)
    ant1, ant2 = np.triu_indices(len(array.antenna_names), 1)
    uvw = baseline_uvw(uvw_of_times(array, times, RA, dec), ant1, ant2)
    n = times.size
    return Track(uvw.reshape(-1, 3), np.repeat(times - times[0], ant1.size), np.tile(ant1, n),
                 np.tile(ant2, n))


def casa_array(name: str, instead: str) -> Any:
    """CASA's antenna list of that name, or one of ours of like extent."""
    found = importlib.util.find_spec("casadata")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "__data__" / "alma" / "simmos" / f"{name}.cfg"
        if path.exists():
            return read_array(path)
    return read_array(instead)


def predict(rows: Track, frequency: np.ndarray, components: Sequence[dict[str, Any]]) -> np.ndarray:
    """Visibilities (row, chan) of components: shape, flux (Jy), ra, dec, major, sigma (arcsec), ratio, pa (deg); by channel or not."""
    vis = np.zeros((rows.uvw.shape[0], frequency.size), complex)
    for chan, nu in enumerate(frequency):
        u, v, w = rows.uvw.T * nu / LIGHT
        for component in components:
            one = {"ra": 0.0, "dec": 0.0, "major": 0.0, "ratio": 1.0, "pa": 0.0,
                   "sigma": 0.0} | component
            one |= {name: value[chan] for name, value in one.items()
                    if isinstance(value, np.ndarray)}
            l, m, a = one["ra"] * ARCSEC, one["dec"] * ARCSEC, np.deg2rad(one["pa"])
            q = np.hypot(u * np.sin(a) + v * np.cos(a),
                         one["ratio"] * (u * np.cos(a) - v * np.sin(a)))
            envelope = profile(one["shape"], q, one["major"] * ARCSEC, one["sigma"] * ARCSEC)
            vis[:, chan] += one["flux"] * envelope * np.exp(2j * np.pi
                                                            * (
                                                                u * l + v * m
                                                                + w
                                                                * (np.sqrt(1 - l * l - m * m) - 1)))
    return vis


def profile(shape: str, q: np.ndarray, major: float, sigma: float) -> np.ndarray:
    """Transform of a shape of unit flux at q wavelengths."""
    x = np.pi * major * q
    if shape == "GaussianRing":
        r = np.linspace(0.0, major / 2 + 9 * sigma, 801)
        brightness = r * np.exp(-0.5 * ((r - major / 2) / sigma) ** 2)
        at = np.linspace(0.0, q.max(), 2001)
        table = (brightness
                 * special.j0(2 * np.pi * at[:, None] * r)).sum(axis=1) / brightness.sum()
        from scipy.interpolate import CubicSpline

        return CubicSpline(at, table)(q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"delta": lambda: np.ones_like(x),
                "Gaussian": lambda: np.exp(-x * x / (4 * np.log(2))),
                "disc": lambda: np.where(x > 0, 2 * special.j1(x) / x, 1.0),
                "ring": lambda: special.j0(x), "sphere": lambda: 3 * special.spherical_jn(1, x) / x,
                "bubble": lambda: np.sinc(x / np.pi),
                "expo": lambda: (1 + (x / np.log(2)) ** 2) ** -1.5,
                "power-2": lambda: 2 / np.log(2) * special.k0(x)}[shape]()


def _channels(first: float, n: int, width: float = 10e6, span: float = 1e9) -> np.ndarray:
    """The band in n channels, 100 of them as in the suite."""
    return first + span / n * np.arange(n) if n != 100 else first + width * np.arange(n)


def _plain(rows: Track, frequency: np.ndarray, start: Sequence[float],
           **options: Any) -> Callable[[np.ndarray, np.ndarray], FitResult]:
    return lambda vis, weight: fit_visibilities(rows.uvw, frequency, vis, weight, p_ini=start,
                                                **options)


def case_1(n_chan: int = 100, duration: float = 300.0) -> list[Case]:
    """Elliptical disc with a spectral index."""
    rows, nu = track(casa_array("alma.out10", "alma.cycle8.5"), DEC_SOUTH, duration,
                     10.0), _channels(50e9, n_chan)
    truth, start = (0.2435, 1.0, 0.2, 0.5, 60.0), (0.8, 0.0, 0.24, 0.4, 45.0)
    vis = predict(rows, nu,
                  [{"shape": "disc", "flux": 0.2435 * nu / 50e9, "major": 0.2, "ratio": 0.5,
                    "pa": 60.0}])
    fit = _plain(rows, nu, start, model="disc",
                 var="0,0, p[0]*(nu/5.0000e+10)**p[1], p[2], p[3], p[4]",
                 bounds=[[0, None], [-2, 2], [0, None], [0.1, 0.9], [0, 180]])
    return [Case("1: elliptical disc, spectral index",
                 ("flux (Jy)", "index", "major (″)", "ratio", "PA (°)"), truth, start, vis,
                 0.05 * _thinner(n_chan, duration), fit)]


SEVEN = ("GaussianRing", "Gaussian", "ring", "sphere", "bubble", "expo", "power-2")


def case_2(n_chan: int = 100, duration: float = 300.0, shapes: Sequence[str] = SEVEN) -> list[Case]:
    """Seven profiles, a fit a channel: a list of one-channel cases for each."""
    rows, nu = track(casa_array("alma.out10", "alma.cycle8.5"), DEC_SOUTH, duration,
                     10.0), _channels(50e9, n_chan)
    cases = []
    for shape in shapes:
        is_ring = shape == "GaussianRing"
        start = (0.8, 0.8, 0.3, 0.0, 0.0) if is_ring else (0.8, 1.2, 0.0, 0.0)
        bounds = [[0, None], [0, 1.5], *([[0.2, 0.375]] if is_ring else []), [-1, 1], [-1, 1]]
        var = "p[3],p[4],p[0],p[1],1.0,0.0,p[2]" if is_ring else "p[2],p[3],p[0],p[1],1.0,0.0"
        names = ("flux (Jy)", "major (″)", *(("σ (″)",) if is_ring else ()), "RA (″)", "Dec (″)")
        for i, one in enumerate(nu):
            major = 1.0 + 0.2 * i / n_chan
            vis = predict(rows, np.array([one]),
                          [{"shape": shape, "flux": 1.0, "major": major, "sigma": 0.25}])
            fit = _plain(rows, np.array([one]), start, model=shape, var=var, bounds=bounds)
            truth = (1.0, major, *((0.25,) if is_ring else ()), 0.0, 0.0)
            cases.append(Case(shape, names, truth, start, vis, 0.27 * np.sqrt(duration / 300.0),
                              fit))
    return cases


#: Disc of flux p[0] and diameter p[1], its hole p[2] times as wide, and a Gaussian.
HOLE = ["0.,0.,p[0],p[1],1.,0.", "0.,0.,-p[0]*p[2]**2.,p[1]*p[2],1.,0.", "0.,p[3],p[4],p[5],1.,0."]


def case_3(n_chan: int = 100, duration: float = 300.0) -> list[Case]:
    """Disc with a hole and a Gaussian: flux, size and hole nearly degenerate."""
    rows, nu = track(casa_array("alma.out10", "alma.cycle8.5"), DEC_SOUTH, duration,
                     10.0), _channels(150e9, n_chan)
    truth, start = (0.2477, 0.5, 0.5, -2.0, 0.5, 0.4), (0.173, 0.65, 0.4, -1.5, 0.6, 0.52)
    vis = predict(rows, nu,
                  [{"shape": "disc", "flux": 0.2477, "major": 0.5},
                   {"shape": "disc", "flux": -0.2477 / 4, "major": 0.25},
                   {"shape": "Gaussian", "flux": 0.5, "major": 0.4, "dec": -2.0}])
    fit = _plain(rows, nu, start, model=["disc", "disc", "Gaussian"], var=HOLE,
                 bounds=[[0, None]] * 3 + [[-15, 15]] + [[0, None]] * 2)
    return [Case("3: disc with a hole, and a Gaussian",
                 ("disc (Jy)", "diameter (″)", "hole/disc", "Dec (″)", "Gaussian (Jy)", "FWHM (″)"),
                 truth, start, vis, 0.05 * _thinner(n_chan, duration), fit)]


def case_4(n_chan: int = 10, across: int = 5) -> list[Case]:
    """Wide field: 16 points over 0.6° in a mosaic of pointings with a Gaussian beam, w and all."""
    array, dec = read_array("vla.d"), np.deg2rad(30.0)
    nu = 1.5e9 + 100e6 / n_chan * np.arange(n_chan)
    beam = Gaussian(1.0 * LIGHT / 25.0 / 1.5e9, 1.5e9)
    total = track(array, dec, 20.0 * across**2, 10.0)
    sources = [(720.0 * (1.5 - i), 720.0 * (j - 1.5)) for i in range(4) for j in range(4)]
    points = np.array(sources) * ARCSEC
    directions = np.column_stack([points, np.sqrt(1 - (points**2).sum(axis=1))])
    grid = (np.arange(across) - (across - 1) / 2) * 0.92 / (across - 1)
    parts, vis = [], []
    for k, (east, north) in enumerate(np.deg2rad([(x, y) for x in grid for y in grid])):
        turn = _turn_to(east, north, dec)
        here = np.isin(np.floor(total.time / 20.0).astype(int), [k])
        rows = Track(*(values[here]
                       for values in (total.uvw, total.time, total.antenna1, total.antenna2)))
        l, m, _ = turn @ directions.T
        power = beam(l, m, nu)
        vis.append(predict(rows, nu,
                           [{"shape": "delta", "flux": power[i], "ra": r, "dec": d}
                            for i, (r, d) in enumerate(sources)]))
        parts.append((rows.uvw, here, Attenuation(beam, turn)))
    var = [f"{r:g}+p[{3 * i}], {d:g}+p[{3 * i + 1}], p[{3 * i + 2}]"
           for i, (r, d) in enumerate(sources)]
    model = make_model(["delta"] * 16, var, nu[0])
    start = (0.0, 0.0, 0.8) * 16

    def fit(noisy: np.ndarray, weight: np.ndarray) -> FitResult:
        stops = np.cumsum([p[0].shape[0] for p in parts])
        chunks = [FitData(uvw, nu, noisy[stop - uvw.shape[0] : stop],
                          weight[stop - uvw.shape[0] : stop], attenuation=attenuation)
                  for (uvw, _, attenuation), stop in zip(parts, stops, strict=True)]

        def passes(p: np.ndarray) -> Any:
            sums = [normal_equations(chunk, model, p) for chunk in chunks]
            return sum(sums[1:], sums[0])

        return fit_passes(passes, model, start, [[-5, 5], [-5, 5], [0, None]] * 16)

    names = tuple(f"{what}, source {i}" for i in range(16)
                  for what in ("ΔRA (″)", "ΔDec (″)", "flux (Jy)"))
    return [Case("4: wide field, mosaic", names, (0.0, 0.0, 1.0) * 16, start, np.concatenate(vis),
                 0.1 * np.sqrt(n_chan / 10), fit)]


def _turn_to(east: float, north: float, dec: float) -> np.ndarray:
    """Matrix from (l, m, n) of the centre (RA, dec) to that of a pointing so far from it, rad."""
    def axes(ra: float, dec: float) -> np.ndarray:
        return np.array([[-np.sin(ra), np.cos(ra), 0],
                         [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)],
                         [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]])

    return axes(RA + east / np.cos(dec + north), dec + north) @ axes(RA, dec).T


def case_5(n_chan: int = 100, integration: float = 2.0, duration: float = 3600.0) -> list[Case]:
    """Gaussian with an antenna whose gain rises in the first half of the time."""
    rows = track(casa_array("pdbi-a", "alma.cycle1.6"), np.deg2rad(10.0), duration, integration)
    few = (rows.antenna1 < 6) & (rows.antenna2 < 6)  # another array may have more than six antennas
    rows = Track(rows.uvw[few], rows.time[few], rows.antenna1[few], rows.antenna2[few])
    nu, half = _channels(150e9, n_chan), rows.time.max() / 2
    truth = (3.5, 1.5, 2 / 3, 45.0, 1.0, 1.5)
    start = tuple(a * b for a, b in zip(truth, (0.7, 1.3, 0.8, 0.75, 0.8, 0.8), strict=True))
    vis = predict(rows, nu,
                  [{"shape": "Gaussian", "flux": 3.5, "major": 1.5, "ratio": 2 / 3, "pa": 45.0}])
    gain = 1.0 + 0.5 * np.clip(rows.time / half, 0, 1)
    vis *= np.where((rows.antenna1 == 2) | (rows.antenna2 == 2), gain, 1.0)[:, None]
    fit = _plain(rows, nu, start, model="Gaussian", var="0.,0.,p[0],p[1],p[2],p[3]", time=rows.time,
                 antenna1=rows.antenna1, antenna2=rows.antenna2,
                 amp_gains={2: f"pieceWise(p[4],p[5],0,{float(half)!r})"},
                 bounds=[[0, None]] * 3 + [[0, 90], [0.75, 1.25], [1.1, 1.9]])
    sigma = 0.5 * np.sqrt(n_chan / 100 * 2.0 / integration * duration / 3600)
    names = ("flux (Jy)", "major (″)", "ratio", "PA (°)", "gain before", "gain after")
    return [Case("5: antenna gain", names, truth, start, vis, sigma, fit)]


def case_6(n_chan: int = 100, duration: float = 300.0) -> list[Case]:
    """Two Gaussians, here on visibilities."""
    rows, nu = track(casa_array("alma.out10", "alma.cycle8.5"), DEC_SOUTH, duration,
                     10.0), _channels(150e9, n_chan)
    truth, start = (1.0, 0.2, -1.5, 0.5, 0.4), (0.7, 0.26, -1.125, 0.6, 0.52)
    vis = predict(rows, nu, [{"shape": "Gaussian", "flux": 1.0, "major": 0.2},
                             {"shape": "Gaussian", "flux": 0.5, "major": 0.4, "dec": -1.5}])
    fit = _plain(rows, nu, start, model=["Gaussian"] * 2,
                 var=["0.,0.,p[0],p[1],1.,0.", "0.,p[2],p[3],p[4],1.,0."],
                 bounds=[[0, None], [0, None], [-15, 15], [0, None], [0, None]])
    return [Case("6: two Gaussians",
                 ("flux 1 (Jy)", "FWHM 1 (″)", "Dec 2 (″)", "flux 2 (Jy)", "FWHM 2 (″)"), truth,
                 start, vis, 0.27 * _thinner(n_chan, duration), fit)]


SIX = (("disc", 0.2477, 0.5, 0, 0), ("disc", 0.75 * 0.2477, 0.25, 2, 0),
       ("Gaussian", 0.25, 0.4, 0, -2), ("Gaussian", 2.5, 0.1, -4, 0), ("Gaussian", 1.5, 0.4, -2, 2),
       ("disc", 0.15 * 0.2477, 0.85, -4, -2))


def case_7(n_chan: int = 100, duration: float = 300.0) -> list[Case]:
    """Only the fluxes of six components: linear, no start matters."""
    rows, nu = track(casa_array("alma.out10", "alma.cycle8.5"), DEC_SOUTH, duration,
                     10.0), _channels(150e9, n_chan)
    truth = tuple(flux for _, flux, *_ in SIX)
    start = tuple(a * b for a, b in zip(truth, (0.6, 1.6, 1.8, 0.2, 0.8, 1.2), strict=True))
    vis = predict(rows, nu,
                  [{"shape": s, "flux": f, "major": d, "ra": float(x), "dec": float(y)}
                   for s, f, d, x, y in SIX])
    var = [f"{x}, {y}, p[{i}], {d}, 1., 0." for i, (_, _, d, x, y) in enumerate(SIX)]
    fit = _plain(rows, nu, start, model=[one[0] for one in SIX], var=var)
    names = tuple(f"{s} {i} (Jy)" for i, (s, *_) in enumerate(SIX))
    return [Case("7: only fluxes", names, truth, start, vis, 0.27 * _thinner(n_chan, duration),
                 fit)]


#: Geocentric positions of the VLBA's antennas as in the suite, m; delay (ns), rate (mHz), phase
#: (°), dispersion (TECU).
VLBA = {
    "BR": ((-2112065.169, 3705356.506, 4726813.681), (0.5, 6.0, 20.0, 1.0)),
    "FD": ((-1324009.296, 5332181.962, 3231962.394), (-0.45, -3.0, -40.0, 2.0)),
    "KP": ((-1995678.810, 5037317.705, 3357328.030), (0.65, -1.0, 170.0, 0.5)),
    "LA": ((-1449752.549, 4975298.582, 3709123.846), (-0.68, 4.0, 5.0, 1.5)),
    "MK": ((-5464075.149, 2495248.295, 2148297.250), (0.17, 2.0, -20.0, 3.0)),
    "NL": ((-130872.458, 4762317.104, 4226850.997), (0.18, -1.5, 10.0, 0.25)),
    "OV": ((-2409150.358, 4478573.143, 3838617.336), (-0.19, 1.0, -4.0, 0.75)),
    "PT": ((-1640953.909, 5014816.029, 3575411.783), (0.34, 1.2, 90.0, 5.0)),
    "SC": ((2607848.614, 5488069.570, 1932739.682), (-0.32, -3.0, -90.0, 6.0))}
#: Turns of phase for 1 TECU, times Hz.
TECU = 40.3e16 / LIGHT


def case_8(n_chan: int = 128, integration: float = 2.0) -> list[Case]:
    """Fringes of nine antennas in delay, rate, phase and dispersion, with the flux of the point source."""
    n_times, nu = round(300 / integration), np.linspace(1.44e9, 1.952e9, n_chan)
    first, second = np.triu_indices(len(VLBA), 1)
    seconds = np.repeat(np.arange(n_times) * integration, first.size)
    # A point at the phase centre: where the antennas stand is of no account, their number is.
    rows = Track(np.zeros((seconds.size, 3)), seconds, np.tile(first, n_times),
                 np.tile(second, n_times))
    delay, rate, phase, tec = np.array([values for _, values in VLBA.values()]).T
    turns = (1e-9 * delay * nu[:, None]
             + TECU * tec / nu[:, None])[None] + 1e-3 * rows.time[:, None, None] * rate
    angle = 2 * np.pi * turns + np.deg2rad(phase)
    index = np.arange(rows.time.size)
    vis = np.exp(1j * (angle[index, :, rows.antenna1] - angle[index, :, rows.antenna2]))
    refant = list(VLBA).index("LA")
    others = [a for a in range(len(VLBA)) if a != refant]
    at_first = 2 * np.pi * (1e-9 * delay * nu[0] + TECU * tec / nu[0]) + np.deg2rad(phase)
    numbers = np.column_stack([delay, rate, at_first, tec])
    relative = numbers - numbers[refant]
    relative[:, 2] = (relative[:, 2] + np.pi) % (2 * np.pi) - np.pi
    truth = [1.0, *relative[others].ravel()]
    gains = {a: f"2*pi*(p[{k}]*1e-9*(nu - nu0) + 1e-3*p[{k + 1}]*t + {TECU!r}*p[{k + 3}]*(1/nu - 1/nu0)) + p[{k + 2}]"
             for a, k in zip(others, range(1, 4 * len(others), 4), strict=True)}

    def fit(noisy: np.ndarray, weight: np.ndarray) -> FitResult:
        found = fringe_start(noisy, weight, nu, rows.time, rows.antenna1, rows.antenna2, refant)
        fringes = np.column_stack([1e9 * found.delay, 1e3 * found.rate, found.phase,
                                   np.zeros(len(VLBA))])[others]
        return fit_visibilities(rows.uvw, nu, noisy, weight, model="delta", var="0,0,p[0]",
                                p_ini=[0.5, *fringes.ravel()], time=rows.time,
                                antenna1=rows.antenna1, antenna2=rows.antenna2, phase_gains=gains)

    names = [f"{what}, {list(VLBA)[a]}" for a in others
             for what in ("delay (ns)", "rate (mHz)", "phase (rad)", "TECU")]
    sigma = 0.15 * np.sqrt(n_chan / 128 * 2.0 / integration)
    return [Case("8: global fringe fit", ("flux (Jy)", *names), truth,
                 [0.5] + [np.nan] * len(names), vis, sigma, fit,
                 tuple(range(3, 1 + len(names), 4)))]


def _thinner(n_chan: int, duration: float) -> float:
    """Factor of the noise with which a thinner set says as much as the full one of 100 channels and 300 s."""
    return float(np.sqrt(n_chan / 100 * duration / 300))


#: Case, options of the thinner set for many seeds.
CASES: dict[int, tuple[Callable[..., list[Case]], dict[str, Any]]] = {
    **{n: (make, {"n_chan": 5, "duration": 60.0})
       for n, make in ((1, case_1), (3, case_3), (6, case_6), (7, case_7))},
    2: (case_2, {"n_chan": 4, "duration": 60.0}), 4: (case_4, {"n_chan": 2}),
    5: (case_5, {"n_chan": 2, "integration": 20.0}),
    8: (case_8, {"n_chan": 32, "integration": 10.0})}


def seeded_pulls(case: Case, seeds: int) -> np.ndarray:
    """Pulls (seed, par)."""
    return np.array([case.pulls(case.fitted(1000 + seed)) for seed in range(seeds)])


def judged(pulls: np.ndarray, many: np.ndarray, largest: float = LARGEST_PULL) -> bool:
    """Whether pulls (par,) of the full set and (seed, par) of the thin ones are as they should be."""
    n = max(len(many), 1)
    rms = np.sqrt((many**2).mean()) if many.size else 1.0
    means = np.abs(many.mean(axis=0)).max() if many.size else 0.0
    return bool((np.abs(pulls) < largest).all() and means < LARGEST_PULL / np.sqrt(n)
                and abs(rms - 1) < LARGEST_PULL / np.sqrt(4 * n))


def report(number: int, seeds: int, quick: bool) -> bool:
    """Print the table of a case; whether it passes."""
    make, thin = CASES[number]
    if number == 2:
        return report_channels(make(**(thin if quick else {})))
    (full,), (thinned,) = make(**(thin if quick else {})), make(**thin)
    began = time.process_time()
    found = full.fitted(1)
    seconds = time.process_time() - began
    pulls, many = full.pulls(found), seeded_pulls(thinned, seeds)
    title = f"{full.title}; σ = {full.sigma:.3g} Jy, {full.vis.size} visibilities"
    (print_kinds if len(full.names) > 12 else print_parameters)(title, full, found, pulls, many)
    passed = judged(pulls, many) and found.converged
    print(f"\n{'pass' if passed else 'FAIL'}: largest pull {np.abs(pulls).max():.2f}, rms of all "
          f"{np.sqrt((many**2).mean()):.3f}, "
          f"reduced χ² {found.reduced_chi_squared:.5f}, {found.n_passes} passes, {seconds:.1f} "
          f"CPU s ({found.stop_reason})")
    return passed


def print_parameters(title: str, case: Case, found: FitResult, pulls: np.ndarray,
                     many: np.ndarray) -> None:
    """A line a parameter."""
    head(title, "parameter", "truth", "start", "fitted", "pull", f"mean pull of {len(many)}",
         "rms pull")
    for i, name in enumerate(case.names):
        row(name, f"{case.truth[i]:.6g}", f"{case.start[i]:.4g}",
            f"{found.parameters[i]:.6g} ± {found.errors[i]:.2g}", f"{pulls[i]:+.2f}",
            f"{many[:, i].mean():+.2f}", f"{np.sqrt((many[:, i] ** 2).mean()):.2f}")


def print_kinds(title: str, case: Case, found: FitResult, pulls: np.ndarray,
                many: np.ndarray) -> None:
    """A line for all parameters of a kind: fluxes, delays, …"""
    head(title, "parameters", "number", "truth from, to", "start", "largest deviation",
         "median error", "largest pull", f"largest mean pull of {len(many)}", "rms pull")
    kinds = [name.split(",")[0] for name in case.names]
    for kind in dict.fromkeys(kinds):
        here = np.array([one == kind for one in kinds])
        truth, start = np.asarray(case.truth)[here], np.asarray(case.start)[here]
        row(kind, here.sum(), f"{truth.min():.4g}, {truth.max():.4g}",
            "searched" if np.isnan(start).any() else f"{start[0]:.4g}",
            f"{np.abs(pulls * found.errors)[here].max():.3g}",
            f"{np.median(found.errors[here]):.2g}", f"{np.abs(pulls[here]).max():.2f}",
            f"{np.abs(many[:, here].mean(axis=0)).max():.2f}",
            f"{np.sqrt((many[:, here] ** 2).mean()):.2f}")


def report_channels(cases: list[Case]) -> bool:
    """Print the table of case 2, a line a shape: largest deviations over the channels, and their pulls."""
    head(f"2: seven shapes, a fit a channel; σ = {cases[0].sigma:.3g} Jy, {cases[0].vis.size} "
         "visibilities each", "shape", "channels", "flux, largest %", "size, largest %",
         "σ, largest %", "largest pull", "mean pull of flux, size", "rms pull", "CPU s")
    passed = True
    for group, shape in enumerate(dict.fromkeys(case.title for case in cases)):
        mine = [case for case in cases if case.title == shape]
        began = time.process_time()
        found = [case.fitted(1000 * group + seed) for seed, case in enumerate(mine)]
        seconds = time.process_time() - began
        pulls = np.array([case.pulls(one) for case, one in zip(mine, found, strict=True)])
        off = [100 * max(abs(one.parameters[k] / case.truth[k] - 1)
                         for case, one in zip(mine, found, strict=True))
               for k in range(3 if shape == "GaussianRing" else 2)]
        row(shape, len(mine), *(f"{value:.2f}" for value in off), *(["–"] * (3 - len(off))),
            f"{np.abs(pulls).max():.2f}", f"{pulls[:, 0].mean():+.2f}, {pulls[:, 1].mean():+.2f}",
            f"{np.sqrt((pulls**2).mean()):.2f}", f"{seconds:.1f}")
        passed &= bool(np.abs(pulls).max() < 4.5 and judged(np.zeros(1), pulls)
                       and all(one.converged for one in found))
    print(f"\n{'pass' if passed else 'FAIL'}")
    return passed


def main() -> None:
    """Run the cases asked for; exit status 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cases", default="1,2,3,4,5,6,7,8")
    parser.add_argument("--quick", action="store_true", help="the thin sets throughout")
    options = parser.parse_args()
    passed = {int(number): report(int(number), options.seeds, options.quick)
              for number in options.cases.split(",")}
    print(f"\npassed: {sum(passed.values())} of {len(passed)}"
          + "".join(f"; case {n} FAILED" for n, ok in passed.items() if not ok))
    sys.exit(0 if all(passed.values()) else 1)


if __name__ == "__main__":
    main()
