"""The numbers of `docs/measurements.md` on the simulator that are no times: what it makes, against theory and other codes.

Prints, as tables: noise of images against its theory; (u,v,w) against casatools; source counts and
draws from them; fluxes and places of sources in images by WSClean and CASA's tclean; gains and
residuals after QuartiCal; what CASA's listobs says. Each is a function of its own, `--only NAME`
runs one. Peers that are not installed are named as such.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Set before casatools is imported, which reads it once.
os.environ.setdefault("CASASITECONFIG", str(ROOT / "tests" / "casa_config.py"))
sys.path.insert(0, str(ROOT / "tests"))

from astropy.coordinates import SkyCoord  # noqa: E402
from astropy.io import fits  # noqa: E402
from astropy.wcs import WCS, FITSFixedWarning  # noqa: E402
from markdown import head, row  # noqa: E402
from scipy.optimize import curve_fit  # noqa: E402
from scipy.stats import kstest  # noqa: E402

from factories import ARCMIN, ARCSEC, offset, read  # noqa: E402
from simulate.arrays import read_array  # noqa: E402
from simulate.corruption import ComplexGains  # noqa: E402
from simulate.counts import (  # noqa: E402
    counts,
    draw_fluxes,
    lower_limit,
    mean_flux,
    source_density,
    uniform_positions,
)
from simulate.gain_tracks import read_truth  # noqa: E402
from simulate.noise import Noise, image_noise  # noqa: E402
from simulate.pointings import hexagonal_mosaic  # noqa: E402
from simulate.task import Simulation, observe  # noqa: E402
from simulate.tracks import baseline_uvw, elevation_of, uvw_of_times  # noqa: E402
from uvstack.sky.components import Components, components  # noqa: E402
from uvstack.uv.dirty import dirty_image  # noqa: E402
from uvstack.uv.stokes import mean_of_hands  # noqa: E402

CENTRE = (2.6, 0.56)
FREQUENCY = 1.4e9 + 10e6 * np.arange(4)
FIELD = (30 * ARCMIN) ** 2


@dataclass(frozen=True)
class Image:
    """A plane (m, l) in Jy/beam with its coordinates, and FWHM of its beam (major, minor) in rad, 0 for a dirty one."""

    plane: np.ndarray
    wcs: WCS
    beam: tuple[float, float]


def has_wsclean() -> bool:
    """Is WSClean there?"""
    return shutil.which("wsclean") is not None


def has_casa() -> bool:
    """Are CASA's tasks there?"""
    return find_spec("casatasks") is not None


def read_image(path: Path) -> Image:
    """Image of a FITS file."""
    with warnings.catch_warnings(), fits.open(path) as hdus:
        warnings.simplefilter("ignore", FITSFixedWarning)
        header = hdus[0].header
        return Image(np.squeeze(hdus[0].data).astype(float), WCS(header).celestial,
                     (np.deg2rad(header.get("BMAJ", 0.0)), np.deg2rad(header.get("BMIN", 0.0))))


def wsclean(ms: Path, name: str, size: int, cell: float, threshold: float | None = None) -> Image:
    """Dirty image, or one that is cleaned to a threshold in Jy, natural weights."""
    clean = [] if threshold is None else ["-niter", "100000", "-mgain", "0.7", "-gain", "0.05",
                                          "-threshold", str(threshold)]
    subprocess.run(["wsclean", "-quiet", "-size", str(size), str(size), "-scale",
                    f"{cell / ARCSEC}asec", "-weight", "natural", "-pol", "I", *clean, "-name",
                    name, str(ms)], check=True, capture_output=True)
    return read_image(Path(f"{name}-{'dirty' if threshold is None else 'image'}.fits"))


def tclean(ms: Path, name: str, size: int, cell: float, threshold: float | None = None) -> Image:
    """The same by CASA."""
    from casatasks import exportfits
    from casatasks import tclean as task

    clean = {"niter": 0} if threshold is None else {"niter": 100_000, "gain": 0.05,
                                                    "threshold": f"{threshold}Jy",
                                                    "cyclefactor": 1.0}
    task(vis=str(ms), imagename=name, imsize=size, cell=f"{cell / ARCSEC}arcsec", weighting="natural", gridder="standard",
         stokes="I", pblimit=-1.0, **clean)  # or it masks what lies beyond the primary beam
    exportfits(f"{name}.{'residual' if threshold is None else 'image'}", f"{name}.fits",
               overwrite=True)
    return read_image(Path(f"{name}.fits"))


def own_dirty(ms: Path, size: int, cell: float, frequency: np.ndarray) -> np.ndarray:
    """Naturally weighted dirty image by `uvstack`, Jy/beam."""
    vis = read(ms, "DATA")
    weight = np.broadcast_to(read(ms, "WEIGHT")[:, None, :], vis.shape)
    vis, weight = mean_of_hands(vis, weight, np.arange(2))
    return dirty_image(read(ms, "UVW"), frequency, vis, weight, size, cell) / weight.sum()


def noise(n_seeds: int) -> None:
    """Noise of dirty images against theory."""
    alma = 230e9 + 0.1e9 * np.arange(4)
    cases = {"10 mJy a visibility, VLA C": ("vla.c", FREQUENCY, 10e-3, CENTRE, 6 * ARCSEC),
             "SEFD 420 Jy, efficiency 0.92, VLA C": ("vla.c", FREQUENCY,
                                                     Noise.from_sefd(420.0, 0.92), CENTRE,
                                                     6 * ARCSEC),
             "2 mm of water, ALMA cycle 1": ("alma.cycle1", alma, Noise.from_water_vapour(2.0),
                                             (2.6, -0.8), 0.4 * ARCSEC)}
    head("Noise of naturally weighted dirty images of noise alone, inner 128 × 128 pixels, "
         f"{n_seeds} seeds (goal 2 %)", "noise", "theory (µJy)", "theory · sqrt(Σ WEIGHT)",
         "image by", "seeds", "measured / theory", "the same seeds by uvstack")
    for i, (name, (array, frequency, level, centre, cell)) in enumerate(cases.items()):
        measured: dict[str, list[float]] = {}
        for seed in range(n_seeds):
            made = observe(array=array, sky=components([], [], []), pointings=centre,
                           frequency=frequency, integration=60.0, duration=3600.0, noise=level,
                           seed=1000 * i + seed, out="noise.ms", overwrite=True)
            images = {"uvstack": own_dirty(made.ms, 256, cell, frequency)}
            if seed < 8:
                images |= {"WSClean": wsclean(made.ms, "ws", 256,
                                              cell).plane} if has_wsclean() else {}
                images |= {"CASA tclean": tclean(made.ms, f"cl{i}-{seed}", 256,
                                                 cell).plane} if has_casa() else {}
            for code, plane in images.items():
                # CASA's gridder is worst at the edges.
                measured.setdefault(code, []).append(float(np.sqrt(
                                                               np.mean(plane[
                                                                           64:192, 64:192] ** 2))))
        wanted = theory(made.ms, array, frequency, level, centre)
        by_weight = 1 / np.sqrt(read(made.ms, "WEIGHT").sum(dtype=float) * frequency.size)
        for code, values in measured.items():
            ratio, same = np.array(values) / wanted, np.array(measured["uvstack"][
                                                                  : len(values)]) / wanted
            row(name, f"{wanted * 1e6:.2f}", f"{wanted / by_weight:.5f}", code, ratio.size,
                f"{ratio.mean():.4f} ± {ratio.std(ddof=1) / np.sqrt(ratio.size):.4f}",
                f"{same.mean():.4f}")


def theory(ms: Path, array: str, frequency: np.ndarray, level: Any,
           centre: tuple[float, float]) -> float:
    """Noise of an image in Jy/beam from the noise of its visibilities, with all its elevations."""
    if not isinstance(level, Noise):
        level = Noise.noise_per_visibility(level)
    where = read_array(array)
    times = np.unique(read(ms, "TIME"))
    sigma = level.sigma(frequency, np.abs(np.gradient(frequency)), 60.0,
                        elevation_of(where, times, *centre))
    sigma = np.broadcast_to(sigma, (times.size, frequency.size))
    n_ant = len(where.antenna_names)
    return image_noise(sigma, n_ant * (n_ant - 1) / 2 * 2)


def uvw(_: int) -> None:
    """(u,v,w) against those of casatools' measures."""
    if not has_casa():
        print("\n(u,v,w): casatools is not installed")
        return
    from casatools import measures
    from test_tracks import _casa_uvw

    tool = measures()
    head("(u,v,w) of all baselines of the 8 outermost antennas against casatools: 4 dates from "
         "2000 to 2023, 3 times of day, 3 directions", "array", "longest baseline (km)",
         "largest difference (mm)")
    for name in ("vla.a", "vla.d", "vla.sparse", "alma.cycle1", "meerkat", "atca.6a", "emerlin"):
        array = read_array(name)
        far = np.argsort(np.linalg.norm(array.positions - array.positions.mean(axis=0),
                                        axis=1))[-8:]
        pairs = np.triu_indices(far.size, 1)
        worst = 0.0
        for date in (51_544.3, 54_000.1, 58_849.3, 60_000.2):
            times = date * 86_400.0 + np.array([0.0, 6, 12]) * 3600
            for ra, dec in ((2.6, 0.56), (0.3, -0.6), (5.9, 1.2)):
                found = baseline_uvw(uvw_of_times(array, times, ra, dec)[:, far], *pairs)
                theirs = np.array([_casa_uvw(tool, array, array.positions[far], when, ra, dec)
                                   for when in times])
                worst = max(worst,
                            np.abs(found - (theirs[:, pairs[0]] - theirs[:, pairs[1]])).max())
        row(name, f"{array.baseline_lengths.max() / 1e3:.1f}", f"{worst * 1e3:.2f}")


def source_numbers(n_seeds: int) -> None:
    """Moments of the counts, and what Kolmogorov and Smirnov say of draws."""
    limit = lower_limit("bondi2008", 417, FIELD)
    degree = np.deg2rad(1.0) ** 2
    head("Source counts", "quantity", "value", "wanted")
    row("Schechter, S* = 1.71 µJy: mean flux (µJy)", f"{mean_flux('schechter') * 1e6:.4f}",
        "0.988, Lindroos et al. (2015)")
    row("the same, S* = 1.7 µJy", f"{mean_flux('schechter', s_star=1.7e-6) * 1e6:.4f}", "")
    row("Bondi: sources on 30′ × 30′ above 60 µJy", f"{source_density('bondi2008') * FIELD:.1f}",
        "")
    row("Bondi: limit above which there are 417 (µJy)", f"{limit * 1e6:.2f}", "")
    for low in (10e-6, 0.1e-3, 1e-3):
        number = source_density("bethermin2012", (low, 0.05)) * degree
        row(f"Béthermin: sources a square degree above {low * 1e3:g} mJy", f"{number:.0f}", "")
    n_seeds *= 2
    head(f"Draws: Kolmogorov–Smirnov p-values of {n_seeds} seeds; these are uniform from 0 to 1 "
         "where the draws are right", "drawn", "number", "least p-value", "share below 0.05",
         "p-value of the p-values")
    limits = {"schechter": (0.25 * 1.71e-6, 17.1e-6), "bondi2008": (limit, 1.0),
              "bethermin2012": (10e-6, 10e-3), "power-law": (1e-5, 1e-2)}
    for i, (model, (low, high)) in enumerate(limits.items()):
        parameters = {"density": 1.0} if model == "schechter" else {"amplitude": 1.0} if model == "power-law" else {}
        x = np.linspace(np.log(low), np.log(high), 50_001)
        density = counts(model, np.clip(np.exp(x), low, high), (low, high),
                         **parameters) * np.exp(x)
        below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
        for n in (417, 20_000):
            draws = [draw_fluxes(model, n, flux_range=(low, high),
                                 rng=np.random.default_rng([seed, n, i]))
                     for seed in range(n_seeds)]
            print_p_values(model, n,
                           [kstest(np.interp(np.log(d), x, below / below[-1]), "uniform").pvalue
                            for d in draws])
    places = [uniform_positions(417, *CENTRE, 30 * ARCMIN, 30 * ARCMIN, np.random.default_rng(seed))
              for seed in range(n_seeds)]
    low, high = np.sin(CENTRE[1] + 15 * ARCMIN * np.array([-1, 1]))
    sines = [kstest(np.sin(dec), "uniform", (low, high - low)).pvalue for _, dec in places]
    print_p_values("sine of the declination, uniform on 30′ × 30′", 417, sines)


def print_p_values(name: str, n: int, values: list[float]) -> None:
    """A row of the table of draws."""
    row(name, n, f"{min(values):.4f}", f"{np.mean(np.array(values) < 0.05):.3f}",
        f"{kstest(values, 'uniform').pvalue:.3f}")


def fitted(image: Image, x: float, y: float, half: int = 4) -> tuple[float, float, float]:
    """Peak (Jy/beam) and place (pixels) of a Gaussian fitted around pixel (x, y)."""
    left, low = int(round(x)) - half, int(round(y)) - half
    box = image.plane[low : low + 2 * half + 1, left : left + 2 * half + 1]
    grid_y, grid_x = np.mgrid[: box.shape[0], : box.shape[1]].astype(float)

    def gaussian(_, peak, x0, y0, a, b, c):
        dx, dy = grid_x - x0, grid_y - y0
        return (peak * np.exp(-(a * dx * dx + b * dx * dy + c * dy * dy))).ravel()

    row0, col0 = np.unravel_index(box.argmax(), box.shape)
    best, _ = curve_fit(gaussian, None, box.ravel(),
                        (box.max(), float(col0), float(row0), 0.1, 0.0, 0.1))
    return float(best[0]), float(best[1]) + left, float(best[2]) + low


def isolated(spacing: float, rng: np.random.Generator) -> Components:
    """25 point sources, each anywhere within a pixel or two of a grid."""
    steps = spacing * np.arange(-2, 3)
    places = [offset(*(np.array([x, y]) + rng.uniform(-1.5 * ARCSEC, 1.5 * ARCSEC, 2)), CENTRE)
              for x in steps for y in steps]
    ra, dec = np.array(places).T
    return components(ra, dec, rng.uniform(0.5, 2.0, 25),
                      reference_frequency=float(FREQUENCY.mean()))


def fluxes(_: int) -> None:
    """Fluxes and places of sources in cleaned images."""
    sky = isolated(30 * ARCSEC, np.random.default_rng(1))
    size, cell = 256, 0.9 * ARCSEC
    head("25 point sources of 0.5 to 2 Jy, VLA B, 4 h, imaged; a Gaussian fitted to each",
         "noise of the image (mJy)", "image by", "mean of measured / true flux (goal within 1 %)",
         "its scatter", "noise / flux", "mean offset east, north (beams)", "rms offset (beams)",
         "largest offset (beams)")
    for name, sigma in (("no noise", 0.0), ("noise", 15.0)):
        made = observe(array="vla.b", sky=sky, pointings=CENTRE, frequency=FREQUENCY,
                       integration=60.0, duration=4 * 3600.0, noise=sigma, seed=1,
                       out=f"{name.replace(' ', '')}.ms", overwrite=True)
        level = theory(made.ms, "vla.b", FREQUENCY, sigma, CENTRE) if sigma else 0.0
        codes = {"WSClean": wsclean if has_wsclean() else None,
                 "CASA tclean": tclean if has_casa() else None}
        for code, image_of in codes.items():
            if image_of is None:
                row(name, code, "not installed", "", "", "", "", "")
                continue
            image = image_of(made.ms, f"{code.split()[0]}{len(name)}", size, cell,
                             max(2.0 * level, 1e-4))
            print_fluxes(f"{level * 1e3:.2f}", code, image, sky, level)


def print_fluxes(name: str, code: str, image: Image, sky: Components, level: float) -> None:
    """A row of the table of fluxes."""
    x, y = image.wcs.world_to_pixel(SkyCoord(sky.ra, sky.dec, unit="rad", frame="fk5"))
    found = np.array([fitted(image, *place) for place in zip(x, y, strict=True)])
    ratio = found[:, 0] / sky.flux
    beam = np.sqrt(image.beam[0] * image.beam[1])
    cell = np.deg2rad(image.wcs.pixel_scale_matrix[1, 1]) / beam
    east, north = -(found[:, 1] - x) * cell, (found[:, 2] - y) * cell
    away = np.hypot(east, north)
    row(name, code, f"{ratio.mean():.4f} ± {ratio.std(ddof=1) / 5:.4f}", f"{ratio.std(ddof=1):.4f}",
        f"{np.sqrt(np.mean((level / sky.flux) ** 2)):.4f}",
        f"{east.mean():.4f}, {north.mean():.4f}", f"{np.sqrt(np.mean(away**2)):.4f}",
        f"{away.max():.4f}")


def quartical(_: int) -> None:
    """Gains that QuartiCal finds against those that the simulator put in."""
    program = Path(sys.executable).with_name("goquartical")
    if not program.exists():
        print("\nQuartiCal: not installed")
        return
    sky = isolated(60 * ARCSEC, np.random.default_rng(2))
    sigma, n_times, n_chan = 0.05, 60, FREQUENCY.size
    made = observe(array="vla.b", sky=sky, pointings=CENTRE, frequency=FREQUENCY, integration=10.0,
                   duration=10.0 * n_times, noise=sigma,
                   corruptions=[ComplexGains(0.1, 1.0, timescale=120.0)], with_model=True, seed=1,
                   out="gains.ms", overwrite=True)
    begin = time.perf_counter()
    options = {"input_ms.path": made.ms, "input_ms.sigma_column": "SIGMA",
               "input_model.recipe": "MODEL_DATA", "solver.terms": "[G]",
               "solver.iter_recipe": "[100]", "G.type": "diag_complex", "G.time_interval": 1,
               "G.freq_interval": 0, "output.gain_directory": "gains.qc",
               "output.log_directory": "logs.qc", "output.products": "[residual]",
               "output.columns": "[RESIDUAL]", "output.flags": False, "dask.threads": 1}
    done = subprocess.run([str(program), *(f"{key}={value}" for key, value in options.items())],
                          capture_output=True, text=True)
    if done.returncode:
        print(f"\nQuartiCal failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return
    seconds = time.perf_counter() - begin
    residual, model = read(made.ms, "RESIDUAL"), read(made.ms, "MODEL_DATA")
    before = read(made.ms, "DATA") - model
    # Each time and hand: 2 · 27 − 1 real numbers from 2 · 351 · n_chan.
    free = np.sqrt(1 - 53 / (702 * n_chan))
    head(f"QuartiCal on {n_times} times with gains of 10 % and 1 rad that change in 120 s, noise "
         f"of {sigma} Jy; {seconds:.0f} s", "quantity", "value", "wanted")
    row("rms of DATA − MODEL_DATA, of one part (Jy)",
        f"{np.sqrt(np.mean(np.abs(before) ** 2) / 2):.4f}", "")
    row("rms of the residual after calibration (Jy)",
        f"{np.sqrt(np.mean(np.abs(residual) ** 2) / 2):.6f}",
        f"{drawn_noise(made, model) * free:.6f} with the noise as drawn, {sigma * free:.6f} on "
        "average")
    error, expected = gain_errors(made, model, sigma)
    row("rms error of a gain, one part, after turning the phase of the first antenna to 0",
        f"{error:.5f}", f"{expected:.5f} from noise")


def drawn_noise(made: Simulation, model: np.ndarray) -> float:
    """Rms of one part of what is left with the true gains, Jy."""
    when = read(made.ms, "TIME")
    times, i = np.unique(when, return_inverse=True)
    gain = read_truth(made.corruptions[0]).at(times, FREQUENCY)
    left = read(made.ms, "DATA") - gain[i, read(made.ms, "ANTENNA1")] * gain[
        i, read(made.ms, "ANTENNA2")].conj() * model
    return float(np.sqrt(np.mean(np.abs(left) ** 2) / 2))


def gain_errors(made: Simulation, model: np.ndarray, sigma: float) -> tuple[float, float]:
    """Rms error of one part of QuartiCal's gains, the first antenna's phase turned to 0, and the least that noise allows."""
    import zarr

    store = next(path for path in sorted(Path("gains.qc").rglob("gains")) if path.is_dir())
    found = np.asarray(zarr.open(str(store), mode="r"))[:, 0, :, 0, :]  # (time, chan, ant, direction, corr)
    times = np.unique(read(made.ms, "TIME"))
    true = read_truth(made.corruptions[0]).at(times, FREQUENCY)[:, :, 0, :]
    found, true = (g * np.exp(-1j * np.angle(g[:, :1])) for g in (found, true))
    first, second = np.triu_indices(true.shape[1], 1)
    power = np.abs(model.reshape(times.size, first.size, *model.shape[1:])) ** 2
    bounds = [least_error(true[i, :, hand], power[i, :, :, hand].sum(axis=1), first, second, sigma)
              for i in range(times.size) for hand in (0, 1)]
    return float(np.sqrt(np.mean(np.abs(found - true) ** 2) / 2)), float(np.sqrt(np.mean(bounds)))


def least_error(gain: np.ndarray, power: np.ndarray, first: np.ndarray, second: np.ndarray,
                sigma: float) -> float:
    """Mean variance of one part of the gains (ant,) of one time and hand, by Cramér and Rao; power is Σ |M|² of a baseline."""
    n = gain.size
    baseline = np.arange(first.size)
    # V / M = g_p g_q*, and its derivatives by real and imaginary parts, each with the weight of its
    # baseline.
    slope = np.zeros((first.size, 2 * n), complex)
    slope[baseline, first], slope[baseline,
                                  n + first] = gain[second].conj(), 1j * gain[second].conj()
    slope[baseline, second], slope[baseline, n + second] = gain[first], -1j * gain[first]
    slope *= np.sqrt(power)[:, None] / sigma
    both = np.concatenate([slope.real, slope.imag])
    free = np.arange(2 * n) != n  # the first antenna has no phase
    both = both[:, free]
    return float(np.trace(np.linalg.inv(both.T @ both)) / (2 * n))


def listobs(_: int) -> None:
    """What CASA's listobs says of a mosaic."""
    if not has_casa():
        print("\nlistobs: casatasks is not installed")
        return
    from casatasks import listobs as task

    fields = hexagonal_mosaic(*CENTRE, 20 * ARCMIN, 20 * ARCMIN, 10 * ARCMIN, dwell=2)
    head("CASA's listobs on a mosaic", "array", "fields, listed / made", "antennas, listed / made",
         "rows, listed / made", "largest difference of a field's direction (″)",
         "largest difference of an antenna's place (m)")
    for name in ("vla.a", "meerkat", "alma.cycle1"):
        array = read_array(name)
        made = observe(array=array, sky=components([], [], []), pointings=fields,
                       frequency=FREQUENCY, integration=10.0, duration=600.0, noise=1.0,
                       correlations=("XX", "YY"), elevation_limit=0.0, out=f"{name}.ms",
                       overwrite=True)
        task(str(made.ms), listfile=f"{name}.txt", overwrite=True)
        text = Path(f"{name}.txt").read_text()
        listed = re.findall(r"^\s*\d+\s+\S*\s+(\S+)\s+(\d+:\d+:[\d.]+)\s+([+-]\d+)\.(\d+)\.([\d.]+)\s+J2000", text, re.M)
        where = SkyCoord([f[1] for f in listed], [":".join(f[2:]) for f in listed],
                         unit=("hourangle", "deg"), frame="fk5")
        apart = where.separation(SkyCoord(fields.ra, fields.dec, unit="rad", frame="fk5")).arcsec
        stations = re.findall(r"^\s*\d+\s+(\S+)\s+\S+\s+[\d.]+\s+m\s.*\s(-?[\d.]+)\s+(-?[\d.]+)\s+(-?[\d.]+)\s*$", text, re.M)
        place = np.array([[float(x) for x in station[1:]] for station in stations])
        assert [f[0] for f in listed] == list(fields.names)
        assert [station[0] for station in stations] == list(array.antenna_names)
        row(name, f"{len(listed)} / {len(fields)}", f"{len(stations)} / {len(array.antenna_names)}",
            f"{re.search(r'Data records: *([0-9]+)', text).group(1)} / "
            f"{read(made.ms, 'TIME').size}", f"{apart.max():.1e}",
            f"{np.abs(place - array.positions).max():.1e}")


MEASUREMENTS: dict[str, Callable[[int], None]] = {"noise": noise, "uvw": uvw,
                                                  "counts": source_numbers, "fluxes": fluxes,
                                                  "quartical": quartical, "listobs": listobs}


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(MEASUREMENTS), help="one of the measurements")
    parser.add_argument("--seeds", type=int, default=100,
                        help="realisations of noise; twice as many of draws")
    options = parser.parse_args()
    for name, measurement in MEASUREMENTS.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
                measurement(options.seeds)


if __name__ == "__main__":
    main()
