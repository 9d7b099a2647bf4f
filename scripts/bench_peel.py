"""How well bright sources are peeled off simulated mosaics, against the same data without them.

Four pointings of 40 s with the VLA's B or C array, two windows of four channels at 2.25 and 3.75 GHz, 30
sources of 4 to 100 mJy of which 11 lie 0.4′ to 2′ (C: 1′ to 4′) from a source of 3 Jy, 7.8′ from the nearest pointing:
on the flank of the beam in some fields and windows, near its null in others. Antennas have phases
(25° rms), delays, amplitudes and phases towards the bright source alone (5 %, 10°) and pointing
errors (6″), constant in time. Everything is made from the data. Cases:

- `one`: a point; `memo`: the same by the memo's single step; `serial`: by one thread; `workers`: by two processes;
- `none`: no errors in the data;
- `two`: another of 2 Jy on the other side; `three`: and one of 1.5 Jy; `double`: two components 5″ apart.

Of each: noise within 85 pixels (1′, C: 3′) of the bright source over the floor, which is the same data without bright
sources and errors, imaged the same way; what was not taken off of the sources, rms over the noise of
a visibility; dynamic range (peak of the self-calibrated image over that
noise) over that of the first and the self-calibrated image; peaks of the other sources over those
of the floor, median of those 11 and of the others; processor seconds with children, and
wall seconds. Other work on the machine lengthens them by up to a half; the load is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from markdown import head, row

import peel
import simulate
import uvstack
from peel.field_files import field_mask, read_plane_of
from simulate import corruption, pointings
from uvstack.io.casa import open_table
from uvstack.sky.components import components, concatenate

CASES = ("one", "memo", "serial", "workers", "none", "two", "three", "double")
ARCMIN = np.pi / 180 / 60
RA, DEC = np.deg2rad([202.8, 30.5])
BEAM = "airy:24.5m"
#: Array → pixels of the images, their size (arcsec), and how near the others come (arcmin).
ARRAYS = {"vla.b": (2304, 0.72, (0.4, 2.0)), "vla.c": (768, 2.2, (1.0, 4.0))}
FREQUENCIES = (2.25e9, 3.75e9)
#: Of a visibility, Jy.
NOISE = 0.02


def offset(east, north):
    """RA and Dec of offsets in arcmin."""
    return RA + np.asarray(east) * ARCMIN / np.cos(DEC), DEC + np.asarray(north) * ARCMIN


def skies(case: str, seed: int, array: str):
    """Bright sources with names and places, and the others with distances from the first."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-8, 8, (2, 30))
    angle, far = rng.uniform(0, 2 * np.pi, 11), rng.uniform(*ARRAYS[array][2], 11)
    x[:11], y[:11] = 9 - np.abs(far * np.cos(angle)), 9 - np.abs(far * np.sin(angle))
    flux = 10 ** rng.uniform(np.log10(4e-3), -1, 30)
    flux[:11] = rng.uniform(15e-3, 60e-3, 11)
    others = components(*offset(x, y), flux, spectral_index=rng.normal(-0.7, 0.3, 30),
                        reference_frequency=3e9, names=[f"f{i}" for i in range(30)])
    at, fluxes = [(9.0, 9.0)], [3.0]
    if case in ("two", "three"):
        at, fluxes = [*at, (-9.0, -8.5)], [3.0, 2.0]
    if case == "three":
        at, fluxes = [*at, (-9.5, 8.0)], [*fluxes, 1.5]
    if case == "double":
        at, fluxes = [*at, (9.0 + 3 / 60, 9.0 + 4 / 60)], [1.8, 1.2]
    # The components of a double are seen through the same gains, so they have one name.
    names = [f"bright{i * (case != 'double')}" for i in range(len(at))]
    bright = components(*offset(*np.array(at).T), fluxes, spectral_index=-0.5,
                        reference_frequency=3e9, names=names)
    return bright, sorted(set(names)), at[:1] if case == "double" else at, others


def observe(path: Path, array: str, sky, errors, seed: int, noise: float = NOISE) -> None:
    """A set of both windows; noise in Jy."""
    from casatasks import concat

    parts = []
    for frequency in FREQUENCIES:
        parts.append(str(path.with_name(f"{path.stem}-{frequency:.0f}.ms")))
        simulate.observe(
            array=array, sky=sky, seed=seed, out=parts[-1], overwrite=True, primary_beam=BEAM,
            pointings=pointings.at_positions(*offset([-3.5, 3.5, 3.5, -3.5], [-3.5, -3.5, 3.5, 3.5]),
                                             dwell=10),
            frequency=(frequency + 16e6 * (np.arange(4) - 1.5)) * u.Hz, integration=4 * u.s,
            duration=160 * u.s, noise=noise * u.Jy, corruptions=errors)
    shutil.rmtree(path, ignore_errors=True)
    concat(vis=parts, concatvis=str(path), copypointing=False)


def errors_of(names):
    degree = np.pi / 180
    return [corruption.PointingErrors(6 * degree / 3600, np.inf),
            corruption.DirectionDependentGains(names, 0.05, 10 * degree, np.inf),
            corruption.PhaseErrors(25 * degree, np.inf),
            corruption.Delays(0.03e-9, np.inf, reference_frequency=3e9)]


def noise_of(image: Path, place) -> float:
    """Around a place, µJy/beam."""
    with fits.open(image) as file:
        data, wcs = file[0].data.squeeze().astype(float), WCS(file[0].header).celestial
    rows, columns = np.indices(data.shape)
    x, y = wcs.wcs_world2pix(*np.rad2deg(offset(*place)), 0)
    distance = np.hypot(columns - x, rows - y)
    around = data[(distance > 18) & (distance < 85)]
    return 1.4826e6 * np.median(np.abs(around - np.median(around)))


def fluxes_of(image: Path, array: str, others):
    """Peaks of the other sources (Jy/beam) within 2 pixels of their places, between pixels: gains move sources a little."""
    found = uvstack.extract(image, forced=QTable({"ra": others.ra * u.rad, "dec": others.dec * u.rad}),
                            search_radius=2 * ARRAYS[array][1] * ARCMIN / 60)
    return found["flux"].to_value("Jy"), found["flux_error"].to_value("Jy")


def blended(others, array: str):
    """Which of the other sources are within 10 pixels (three beams) of another."""
    at = SkyCoord(others.ra, others.dec, unit="rad")
    return at.match_to_catalog_sky(at, 2)[1].arcsec < 10 * ARRAYS[array][1]


def floor(folder: Path, array: str, others, place, seed: int):
    """The data without bright sources and errors, imaged as a peeled set is."""
    observe(folder / "floor.ms", array, others, [], seed)
    size, cell, _ = ARRAYS[array]
    common = {"size": size, "cell": cell * ARCMIN / 60, "primary_beam": BEAM, "pb_cutoff": 0.0, "terms": 2,
              "weighting": "briggs", "robust": 0.5, "overwrite": True}
    uvstack.image(folder / "floor.ms", iterations=600, most_cycles=12, threshold_sigma=2,
                  out=folder / "rough", **common)
    mask = field_mask(read_plane_of(folder / "rough-image.fits"), 6.0, [])
    uvstack.image(folder / "floor.ms", iterations=3000, most_cycles=12, threshold_sigma=3, mask=mask,
                  out=folder / "floor", **common)
    image = folder / "floor-image.fits"
    return noise_of(image, place), fluxes_of(image, array, others)[0]


def left_of_the_source(peeled: Path, truth: Path) -> float:
    """What was not taken off of the bright sources, rms over the noise of a visibility."""
    with open_table(str(peeled)) as one, open_table(str(truth)) as other:
        left = one.read("PEELED_MODEL") - other.read("DATA")
    return float(np.sqrt((np.abs(left) ** 2).mean() / 2) / NOISE)


def run(case: str, array: str, folder: Path, seed: int, rounds: int | None) -> list[str]:
    """A line of the table."""
    bright, names, places, others = skies(case, seed, array)
    noise, fluxes = floor(folder, array, others, places[0], seed)
    path = folder / f"{case}.ms"
    errors = [] if case == "none" else errors_of(names)
    observe(path, array, concatenate([bright, others]), errors, seed)
    # The same errors, for they are drawn from streams of their own.
    observe(folder / "bright.ms", array, bright, errors, seed, noise=1e-6)
    size, cell, _ = ARRAYS[array]
    regions = folder / f"{case}.crtf"
    regions.write_text("#CRTFv0\n" + "".join(
        "circle [[{}deg, {}deg], {}arcsec]\n".format(*np.rad2deg(offset(*place)), 12 * cell)
        for place in places))
    shutil.rmtree(folder / case, ignore_errors=True)
    before, start = os.times(), time.perf_counter()
    result = peel.peel(path, regions=regions, out=folder / case, primary_beam=BEAM, size=size,
                       cell=cell * ARCMIN / 60, rounds=rounds, memo=case == "memo", overwrite=True, keep_model=True,
                       workers=2 if case == "workers" else None,
                       threads=1 if case == "serial" else None)
    wall, after = time.perf_counter() - start, os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    got = {name: noise_of(folder / case / f"{name}-image.fits", places[0])
           for name in ("first", "selfcal", "peeled")}
    ratio = fluxes_of(folder / case / "peeled-image.fits", array, others)[0] / fluxes
    # Sources of less than 10 times the noise are left out of the fluxes, and those that touch another.
    bright_enough = (fluxes * 1e6 > 10 * noise) & ~blended(others, array)
    near = np.arange(30) < 11
    ranges = result.table["dynamic_range"][result.table["direction"] == result.table["direction"][0]]
    return [case, str(result.rounds), *(f"{one:.0f}" for one in got.values()), f"{noise:.0f}",
            f"{got['peeled'] / noise:.2f}",
            f"{left_of_the_source(path, folder / 'bright.ms'):.2f}", f"{ranges[2] / ranges[0]:.1f}",
            f"{ranges[2] / ranges[1]:.1f}",
            *(in_percent(ratio[bright_enough & which]) for which in (near, ~near)), f"{cpu:.0f}", f"{wall:.0f}"]


def in_percent(ratio: np.ndarray) -> str:
    """How far ratios of fluxes are from 1: their median, and their mean with its error."""
    return (f"{100 * (np.median(ratio) - 1):+.1f} ({100 * (ratio.mean() - 1):+.1f} ± "
            f"{100 * ratio.std(ddof=1) / np.sqrt(ratio.size):.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, help=", ".join(CASES))
    parser.add_argument("--array", choices=ARRAYS, default="vla.c")
    parser.add_argument("--folder", type=Path, required=True, help="for sets and images")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, help="default: until the noise stays")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    print(f"seed {options.seed}, load {os.getloadavg()[0]:.1f}\n")
    head("Peeling", "case", "rounds", "first", "self-cal", "peeled", "floor", "/ floor", "source left", "DR over first",
               "over self-cal", "near %", "far %", "CPU s", "wall s")
    for case in options.cases:
        row(*run(case, options.array, options.folder, options.seed, options.rounds))


if __name__ == "__main__":
    main()
