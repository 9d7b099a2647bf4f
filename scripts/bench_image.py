"""How fast and how well a survey is imaged: uvstack, WSClean and tclean on the same set, weights, size and threshold.

Makes data set type 6 (or 5) of Lindroos et al. (2015) at each --scale (1 is full size: 24 million
visibilities), and prints

- `gridding`: dirty image and psf of 4000² pixels by our functions, and ducc0 called directly on the same arrays;
- `clean`: the whole run of each imager as a process of its own, reading and writing included: wall and CPU seconds, peak memory,
  rms of the residual, and the fluxes of the 50 brightest sources (above 0.1 mJy) against the truth.
  A flux is the brightness at the source's place in the restored image, over that of its Gaussian
  convolved with the restoring beam; the truth is seen through the primary beam, as no imager
  corrects for it here. What is not cleaned has the dirty beam: sources of type 6 that are larger
  than it are then up to a tenth too bright with any imager, the points of type 5 are not. WSClean
  runs with its own gridder and with -use-wgridder, tclean with wproject;
- `peers`: `uvstack image --imager` with each of the three on a small set of 20 points (VLA B, 9′, 2 h): residual rms and brightness of
  the sources, over ours;
- `wide`: dirty image and psf (`--iterations 0`) of a snapshot of 128 antennas within 3 km at 154–184 MHz, 2048² pixels of 1′, which is 34°:
  at transit near the zenith with natural and Briggs weights, and 47° from it, where w is large. CPU
  and memory over those of WSClean's w-gridder with psf (-make-psf) and without, on the same cells
  of weights (-padding 1), and the rms difference of the dirty images over the rms of WSClean's;
- `minor`: minor-cycle iterations a second on the dirty image and psf, against Högbom's loop in numpy (of 200 iterations).

All start with natural weights, threshold 50 µJy. --imagers and --sections choose; tclean at full
size takes most of an hour. Timings want a quiet machine; the load before each is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from markdown import head, row

ARCSEC = np.pi / 180 / 3600
SIZE, CELL, THRESHOLD, GAIN, FAINTEST = 4000, 0.5, 50e-6, 0.1, 100e-6
SITE = Path(__file__).resolve().parents[1] / "tests" / "casa_config.py"
SECTIONS = ("peers", "wide", "gridding", "minor", "clean")
IMAGERS = ("uvstack", "wsclean", "wsclean-wgridder", "tclean")


def make(folder: Path, number: int, scale: float) -> Path:
    """A data set of that type and scale; kept for the next run."""
    ms = folder / f"type{number}-{scale:g}.ms"
    if not ms.exists():
        subprocess.run([uvstack(), "simulate", "lindroos", "--type", str(number), "--seed", "1",
                        "--scale", str(scale), "--out", str(ms)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return ms


def uvstack() -> str:
    """The command beside this Python."""
    return str(Path(sys.executable).with_name("uvstack"))


def command(imager: str, ms: Path, name: Path, threads: int) -> list[str]:
    """What runs an imager; products begin with name."""
    if imager == "uvstack":
        return [uvstack(), "image", str(ms), "--size", str(SIZE), "--cell", f"{CELL}arcsec",
                "--weighting", "natural", "--threshold", f"{THRESHOLD}Jy", "--threads",
                str(threads), "--out", str(name), "--overwrite"]
    if imager.startswith("wsclean"):
        extra = ["-use-wgridder"] if imager.endswith("wgridder") else []
        return ["wsclean", "-j", str(threads), *extra, "-size", str(SIZE), str(SIZE), "-scale",
                f"{CELL}asec", "-weight", "natural", "-no-update-model-required", "-niter",
                "100000", "-mgain", "0.8", "-gain", str(GAIN), "-threshold", str(THRESHOLD),
                "-name", str(name), str(ms)]
    text = (f"from casatasks import tclean; tclean(vis={str(ms)!r}, imagename={str(name)!r}, "
            f"imsize={SIZE}, cell='{CELL}arcsec', "
            "gridder='wproject', wprojplanes=-1, deconvolver='clark', weighting='natural', "
            f"niter=100000, gain={GAIN}, "
            f"threshold='{THRESHOLD}Jy', specmode='mfs', stokes='I', pblimit=-0.1, "
            "savemodel='none')\nfrom casatasks import exportfits\n" f"name = {str(name)!r}\n"
            "for kind in ('image', 'residual'): exportfits(imagename=f'{name}.{kind}', "
            "fitsimage=f'{name}-{kind}.fits')")
    return [sys.executable, "-c", text]


def measured(argv: list[str], folder: Path) -> tuple[float, float, float, str]:
    """Wall and CPU seconds, peak GB of a process and those it starts, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    threads = {name: os.environ.get("OMP_NUM_THREADS", "2") for name in ("OMP_NUM_THREADS",)}
    done = subprocess.run(["/usr/bin/env", "time", "-f", "peak_kb %M",
                           *argv] if shutil.which("time") else argv, cwd=folder,
                          capture_output=True, text=True, check=False,
                          env=os.environ | threads | {"CASASITECONFIG": str(SITE)})
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{argv[0]}: {done.stderr[-500:]}")
    text = done.stdout + done.stderr
    peaks = [float(line.split()[1]) / 1e6 for line in text.splitlines()
             if line.startswith("peak_kb")]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, peaks[-1] if peaks else after.ru_maxrss / 1e6, text


def truth(ms: Path, n: int) -> dict[str, np.ndarray]:
    """The n sources that are the brightest through the primary beam, mean over the channels."""
    from simulate.lindroos import CENTRE
    from uvstack.sky.coordinates import direction_cosines
    from uvstack.sky.primary_beam import primary_beam

    table = QTable.read(ms.with_name(ms.stem + "-truth.ecsv"))
    ra, dec = table["ra"].to_value("rad"), table["dec"].to_value("rad")
    l, m, _ = direction_cosines(ra, dec, *CENTRE)
    frequency = 1.4e9 + 25e6 * (np.arange(10) - 4.5)
    seen = table["flux"].to_value("Jy") * primary_beam("vla")(l, m, frequency).mean(axis=1)
    order = np.argsort(seen)[::-1][: min(n, int((seen > FAINTEST).sum()))]
    fwhm = table["fwhm_major"].to_value("rad")
    return {"l": l[order], "m": m[order], "flux": seen[order], "fwhm": fwhm[order]}


def fluxes(image: np.ndarray, header: fits.Header, sources: dict[str, np.ndarray]) -> np.ndarray:
    """Flux of each source from the brightness at its place in a restored image, Jy."""
    sigma = [np.deg2rad(header[key]) / np.sqrt(8 * np.log(2)) for key in ("BMAJ", "BMIN")]
    angle = np.deg2rad(header["BPA"])
    turn = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])  # rows: major and minor axis in (l, m)
    beam = turn.T @ np.diag(np.square(sigma)) @ turn
    found = brightness(image, sources["l"], sources["m"], CELL * ARCSEC)
    shapes = beam + np.eye(2) * sources["fwhm"][:, None, None] ** 2 / (8 * np.log(2))
    return found * np.sqrt(np.linalg.det(shapes) / np.linalg.det(beam))


def brightness(image: np.ndarray, l: np.ndarray, m: np.ndarray, cell: float) -> np.ndarray:
    """Image at directions between its pixels, by splines."""
    from scipy.ndimage import map_coordinates

    half, found = 8, []
    for x, y in zip(image.shape[1] // 2 - l / cell, image.shape[0] // 2 + m / cell, strict=True):
        i, j = int(y) - half, int(x) - half
        found.append(map_coordinates(image[i : i + 2 * half, j : j + 2 * half], [[y - i], [x - j]],
                                     order=5)[0])
    return np.array(found)


def clean(folder: Path, ms: Path, imagers: list[str], threads: int) -> None:
    """Table of whole runs."""
    sources = truth(ms, 50)
    head(f"Deconvolution of {ms.stem.replace('-', ', scale ')}, {SIZE}² pixels, threshold "
         f"{THRESHOLD * 1e6:g} µJy", "imager", "load", "wall (s)", "CPU (s)", "CPU over ours",
         "peak (GB)", "rms of residual (µJy/beam)",
         f"flux / truth of {sources['flux'].size}: mean ± error", "rms about it")
    ours = None
    for imager in imagers:
        name = folder / f"{imager}-{ms.stem}"
        for left in folder.glob(f"{name.name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        load = os.getloadavg()[0]
        wall, cpu, peak, _ = measured(command(imager, ms, name, threads), folder)
        ours = ours or cpu
        residual = fits.getdata(f"{name}-residual.fits").squeeze().astype(np.float64)
        image, header = fits.getdata(f"{name}-image.fits", header=True)
        ratio = fluxes(image.squeeze().astype(np.float64), header, sources) / sources["flux"]
        row(imager, f"{load:.1f}", f"{wall:.1f}", f"{cpu:.1f}", f"{cpu / ours:.2f}", f"{peak:.2f}",
            f"{np.sqrt(np.mean(residual**2)) * 1e6:.4f}",
            f"{ratio.mean():.4f} ± {ratio.std(ddof=1) / np.sqrt(ratio.size):.4f}",
            f"{ratio.std(ddof=1):.4f}")


def peers(folder: Path) -> None:
    """Table of the three imagers behind one command, on a set that is small enough for all."""
    from astropy import units as u

    from simulate.task import observe
    from uvstack.sky.components import components

    rng, centre = np.random.default_rng(4), np.deg2rad([150.0, 34.0])
    l, m = rng.uniform(-240, 240, (2, 20)) * ARCSEC
    flux = rng.uniform(0.5e-3, 5e-3, 20)
    ms, size, cell = folder / "peers.ms", 640, 1.0
    observe(array="vla.b", sky=components(centre[0] + l / np.cos(centre[1]), centre[1] + m, flux),
            pointings=tuple(centre), frequency=(1.4 + 0.02 * np.arange(5)) * u.GHz,
            integration=60 * u.s, duration=2 * u.h, noise=20 * u.mJy, seed=1, out=ms,
            overwrite=True)
    head(f"One set of 20 points through `--imager`, {size}² pixels of {cell:g}″, to 0.15 mJy",
         "imager", "rms of residual (µJy/beam)", "over ours",
         "brightness of the 20 over ours: mean", "rms about it", "flux / truth: mean ± error")
    first: tuple[float, np.ndarray] | None = None
    for imager in ("uvstack", "wsclean", "casa"):
        argv = [uvstack(), "image", str(ms), "--size", str(size), "--cell", f"{cell}arcsec",
                "--weighting", "natural", "--threshold", "0.15mJy", "--imager", imager, "--out",
                str(folder / f"peers-{imager}"), "--overwrite"]
        measured(argv, folder)
        residual = fits.getdata(folder
                                / f"peers-{imager}-residual.fits").squeeze().astype(np.float64)
        image = fits.getdata(folder / f"peers-{imager}-image.fits").squeeze().astype(np.float64)
        found = brightness(image, l, m, cell * ARCSEC)
        rms = float(np.sqrt(np.mean(residual**2)))
        first = first or (rms, found)
        ratio, true = found / first[1], found / flux
        row(imager, f"{rms * 1e6:.3f}", f"{rms / first[0]:.4f}", f"{ratio.mean():.4f}",
            f"{ratio.std():.4f}",
            f"{true.mean():.4f} ± {true.std(ddof=1) / np.sqrt(true.size):.4f}")


def snapshot(folder: Path, name: str, dec: float) -> Path:
    """One minute of 128 antennas at latitude −26.7° on a field of 34° around a declination (deg); kept for the next run."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    from simulate.task import observe
    from uvstack.sky.components import components

    ms = folder / f"wide-{name}.ms"
    if ms.exists():
        return ms
    rng = np.random.default_rng(1)
    radius, angle = np.append(750 * rng.uniform(0.01, 1, 100) ** 2,
                              rng.uniform(750, 1500, 28)), rng.uniform(0, 2 * np.pi, 128)
    lines = [f"{r * np.cos(a):.3f} {r * np.sin(a):.3f} 0 5 T{i:03d}"
             for i, (r, a) in enumerate(zip(radius, angle, strict=True))]
    antennas = ms.with_suffix(".cfg")
    antennas.write_text("# coordsys = LOC\n# COFA = 116.67,-26.70\n" + "\n".join(lines) + "\n",
                        encoding="utf-8")
    centre = SkyCoord(60, dec, unit="deg")
    sky = centre.spherical_offsets_by(*(rng.uniform(-15, 15, (2, 200)) * u.deg))
    observe(array=antennas,
            sky=components(sky.ra.rad, sky.dec.rad, 0.1 + 0.2 * rng.pareto(1.5, 200)),
            pointings=(centre.ra.rad, centre.dec.rad),
            frequency=(154 + 0.96 * np.arange(32)) * u.MHz, integration=8 * u.s, duration=64 * u.s,
            noise=20 * u.Jy, correlations=("XX", "XY", "YX", "YY"), seed=1, out=ms)
    return ms


def wide(folder: Path, threads: int) -> None:
    """Table of dirty images of a wide field."""
    size, cell = 2048, "1arcmin"
    head(f"Dirty image of a wide field, {size}² pixels of 1′, {threads} threads", "set, weights",
         "imager", "load", "CPU (s)", "peak (GB)", "our CPU over its", "our peak over its",
         "rms difference")
    for name, dec, weights in (("zenith", -27.0, "natural"), ("zenith", -27.0, "briggs"),
                               ("off", 20.0, "briggs")):
        ms = snapshot(folder, name, dec)
        robust = [] if weights == "natural" else ["0"]
        shared = ["wsclean", "-use-wgridder", "-padding", "1", "-j", str(threads), "-size",
                  str(size), str(size), "-scale", "1amin", "-weight", weights, *robust, "-niter",
                  "0", "-no-update-model-required"]
        runs = {"uvstack": [uvstack(), "image", str(ms), "--size", str(size), "--cell", cell,
                            "--weighting", weights, "--iterations", "0", "--threads", str(threads),
                            "--overwrite", "--out", "wide-uvstack"],
                "wsclean with psf": [*shared, "-make-psf", "-name", "wide-wsclean", str(ms)],
                "wsclean": [*shared, "-name", "wide-wsclean", str(ms)]}
        ours = (0.0, 0.0)
        for imager, argv in runs.items():
            load = os.getloadavg()[0]
            _, cpu, peak, _ = measured(argv, folder)
            if imager == "uvstack":
                ours = cpu, peak
                row(f"{name}, {weights}", imager, f"{load:.1f}", f"{cpu:.1f}", f"{peak:.2f}", "",
                    "", "")
                continue
            images = [fits.getdata(folder / f"wide-{of}-dirty.fits").squeeze().astype(np.float64)
                      for of in ("uvstack", "wsclean")]
            row(f"{name}, {weights}", imager, f"{load:.1f}", f"{cpu:.1f}", f"{peak:.2f}",
                f"{ours[0] / cpu:.2f}", f"{ours[1] / peak:.2f}",
                f"{np.std(images[0] - images[1]) / np.std(images[1]):.1e}")


def visibilities(ms: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uvw, channels and the mean of both hands."""
    from casacore.tables import table

    with table(str(ms), ack=False) as data:
        uvw, vis = data.getcol("UVW"), data.getcol("DATA").mean(axis=2, dtype=np.complex64)
    with table(f"{ms}/SPECTRAL_WINDOW", ack=False) as spw:
        frequency = np.ascontiguousarray(spw.getcol("CHAN_FREQ")[0])
    return uvw, frequency, np.ascontiguousarray(vis)


def gridding(ms: Path, threads: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Table of our functions against ducc0's; the dirty image and psf."""
    from ducc0.wgridder import vis2dirty

    from simulate.lindroos import CENTRE
    from uvstack.pixels.grid import centred_grid
    from uvstack.uv.taylor import to_image, to_psf

    uvw, frequency, vis = visibilities(ms)
    weight, grid = np.ones(vis.shape, np.float32), centred_grid(*CENTRE, SIZE, CELL * ARCSEC)

    def ours():
        return (to_image(uvw, frequency, vis, weight, grid, threads=threads),
                to_psf(uvw, frequency, weight, grid, threads=threads))

    def peer():
        return tuple(vis2dirty(uvw=uvw, freq=frequency, vis=v, wgt=weight, npix_x=SIZE, npix_y=SIZE,
                               pixsize_x=CELL * ARCSEC, pixsize_y=CELL * ARCSEC, epsilon=1e-5,
                               do_wgridding=True, nthreads=threads, divide_by_n=False,
                               double_precision_accumulation=True)
                     for v in (vis, np.ones(vis.shape, np.complex64)))

    both = {"ours": ours, "ducc0": peer}
    head(f"Dirty image and psf, {vis.size} visibilities, {SIZE}² pixels, {threads} threads", "code",
         "load", "wall (s)", "CPU (s)", "CPU over ducc0")
    times: dict[str, tuple[float, float, Any]] = {}
    for name in ("ducc0", "ours"):
        runs = []
        for _ in range(repeats):
            start, cpu = time.perf_counter(), time.process_time()
            made = both[name]()
            runs.append((time.perf_counter() - start, time.process_time() - cpu))
        wall, cpu = np.median(runs, axis=0)
        times[name] = wall, cpu, made
        row(name, f"{os.getloadavg()[0]:.1f}", f"{wall:.2f}", f"{cpu:.2f}",
            f"{cpu / times['ducc0'][1]:.3f}")
    dirty, psf = times["ours"][2]
    return dirty / weight.sum(), psf / weight.sum()


def minor(dirty: np.ndarray, psf: np.ndarray, threshold: float) -> None:
    """Table of minor-cycle iterations a second."""
    from uvstack.deconvolution.clean import MinorSettings, minor_cycle

    head(f"Minor cycle, {SIZE}² pixels, down to {threshold * 1e3:.3g} mJy/beam", "code",
         "iterations", "seconds", "iterations a second", "over numpy")
    start = time.perf_counter()
    n = 200
    numpy_hogbom(dirty.astype(np.float32), psf.astype(np.float32), n)
    peer = n / (time.perf_counter() - start)
    row("numpy Högbom", n, f"{n / peer:.2f}", f"{peer:.0f}", 1)
    for algorithm in ("hogbom", "clark"):
        settings = MinorSettings(algorithm=algorithm, gain=GAIN, threshold=threshold,
                                 most_iterations=100_000, with_residual=False)
        minor_cycle(dirty[:256, :256], psf[SIZE // 2 - 128 : SIZE // 2 + 128, SIZE // 2 - 128 : SIZE // 2 + 128],
                    None, settings)  # compiles
        start = time.perf_counter()
        done = minor_cycle(dirty, psf, None, settings)
        wall = time.perf_counter() - start
        row(algorithm, done.n_iterations, f"{wall:.2f}", f"{done.n_iterations / wall:.0f}",
            f"{done.n_iterations / wall / peer:.1f}")


def numpy_hogbom(residual: np.ndarray, psf: np.ndarray, n: int) -> None:
    """The textbook's loop, in place."""
    centre = psf.shape[0] // 2
    for _ in range(n):
        i, j = np.unravel_index(np.argmax(np.abs(residual)), residual.shape)
        value = GAIN * residual[i, j]
        r0, r1, c0, c1 = max(0, i - centre), min(SIZE, i + centre), max(0, j - centre), min(
            SIZE, j + centre)
        residual[r0:r1, c0:c1] -= value * psf[r0 - i + centre : r1 - i + centre,
                                              c0 - j + centre : c1 - j + centre]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("bench"),
                        help="data sets and images are kept here")
    parser.add_argument("--type", type=int, default=6, choices=(5, 6),
                        help="5 has point sources, whose brightness is their flux")
    parser.add_argument("--scale", type=float, nargs="+", default=[0.1, 1.0])
    parser.add_argument("--imagers", nargs="+", default=None, choices=IMAGERS,
                        help="default: all that are installed, tclean up to scale 0.1")
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("numpy", "numba", "ducc0", "casatasks")}
    if shutil.which("wsclean"):
        versions["wsclean"] = subprocess.run(["wsclean", "--version"], capture_output=True,
                                             text=True, check=True).stdout.split()[2]
    print(json.dumps({"cpu": os.cpu_count(), "threads": chosen.threads, **versions}))
    if "peers" in chosen.sections:
        peers(folder)
    if "wide" in chosen.sections and "wsclean" in versions:
        wide(folder, chosen.threads)
    for scale in chosen.scale if set(chosen.sections) - {"peers", "wide"} else []:
        ms = make(folder, chosen.type, scale)
        if {"gridding", "minor"} & set(chosen.sections):
            dirty, psf = gridding(ms, chosen.threads, chosen.repeats)
            if "minor" in chosen.sections:
                minor(dirty, psf, max(0.1 * float(dirty.max()), THRESHOLD))
            del dirty, psf
        if "clean" in chosen.sections:
            installed = [i for i in IMAGERS
                         if not i.startswith("wsclean") or shutil.which("wsclean")]
            clean(folder, ms,
                  chosen.imagers or [i for i in installed if i != "tclean" or scale <= 0.1],
                  chosen.threads)


if __name__ == "__main__":
    main()
