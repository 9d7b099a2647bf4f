"""How fast and how well epochs are combined: uvstack and the chain of VLASS memo 26 with casatasks.

Four epochs with the beams of the memo's table 1, 1″ pixels, other tangent points and fractions of a
pixel apart, with 225 point sources of 1 Jy at any place in a pixel. Prints

- `fidelity`: of each epoch, brought to the pixels of the second and to the common beam, the
  integrated fluxes, the amplitudes of the best Gaussian and the brightest pixels over the truth, by
  uvstack, by `--memo`, and by imregrid and imsmooth, in K and directly in Jy/beam, with and without
  10 per cent of padding;
- `speed`: processor seconds and peak memory of the whole combination, from FITS to FITS, as a
  process of its own (imports apart), of CASA's chain (imregrid, imsmooth, and the memo's averages
  in scipy and numpy), and of the bound: padded transforms in float32, there and back;
- `weights`: constant and variable sources of several signal-to-noise ratios (in the first epoch) in
  noise: how far the mean and the median are from the mean of the same epochs with the true weights,
  so that the noise itself drops out, over the true flux; noise of mean and median over theory;
- `gains`: noise of the memo's tables in one beam (that of table 3) on one grid: gain over the average
  epoch of mean and median as the memo has it, beside theory, and how far the noise of the mean is
  below that of inverse variance: shrinkage, no gain.

Other work on the machine lengthens processor times by up to a half; the load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from markdown import head, row

BEAMS = ((3.948, 2.214, 42.48), (3.231, 2.190, 29.69), (2.771, 2.224, 16.23), (2.889, 1.935, -4.71))
#: mJy/beam, of the memo's tables 1 and 3.
CUTOUT_NOISE, FULL_NOISE = (0.140, 0.188, 0.165, 0.141), (0.136, 0.240, 0.175, 0.164)
REFERENCE, FREQUENCY, FOUR_LN2 = 1, 2.987741489322e9, 4 * np.log(2)
SECTIONS = ("fidelity", "speed", "weights", "gains")
#: Of table 3.
COMMON = (3.78, 2.32, 20.48)


def header(size: int, k: int, beam: tuple[float, float, float] | None = None) -> fits.Header:
    """Of epoch k: its tangent point and the fraction of a pixel differ; in one beam they do not."""
    major, minor, angle = beam or BEAMS[k]
    k = REFERENCE if beam else k
    made = fits.Header()
    made["CTYPE1"], made["CTYPE2"] = "RA---SIN", "DEC--SIN"
    made["CRVAL1"], made["CRVAL2"] = 10.5 + 0.3 * k / 3600, -9.5 + 0.2 * k / 3600
    made["CRPIX1"], made["CRPIX2"] = size / 2 + 1 + 0.37 * k, size / 2 + 1 - 0.21 * k
    made["CDELT1"], made["CDELT2"] = -1 / 3600, 1 / 3600
    made["CUNIT1"] = made["CUNIT2"] = "deg"
    made["CTYPE3"], made["CRVAL3"], made["CDELT3"], made["CRPIX3"] = "FREQ", FREQUENCY, 2e9, 1
    made["CUNIT3"] = "Hz"
    made["CTYPE4"], made["CRVAL4"], made["CDELT4"], made["CRPIX4"] = "STOKES", 1.0, 1.0, 1.0
    made["RADESYS"], made["BUNIT"], made["RESTFRQ"] = "ICRS", "Jy/beam", FREQUENCY
    made["BMAJ"], made["BMIN"], made["BPA"] = major / 3600, minor / 3600, angle
    made["DATE-OBS"] = f"{2017 + 2 * k}-09-01T00:00:00"
    return made


def inverse_of(major: float, minor: float, angle: float) -> np.ndarray:
    """Inverse matrix in (x, y) of squares of FWHM, pixels of 1″, east to the left."""
    p = np.deg2rad(angle)
    axes = np.array([[-np.sin(p), np.cos(p)], [np.cos(p), np.sin(p)]])
    return axes.T @ np.diag([major**-2.0, minor**-2.0]) @ axes


def gaussian(inverse: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-FOUR_LN2 * (inverse[0, 0] * x * x + 2 * inverse[0, 1] * x * y
                               + inverse[1, 1] * y * y))


def noise_of(shape: tuple[int, int], beam: tuple[float, float, float],
             rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance with the correlation of the beam."""
    y, x = (np.fft.fftfreq(n, 1.0 / n) for n in shape)
    drawn = gaussian(inverse_of(*beam), x[None, :], y[:, None])
    made = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * np.fft.rfft2(drawn), s=shape)
    return made / np.sqrt((drawn**2).sum())


def make(folder: Path, size: int, places: np.ndarray, flux: np.ndarray, noise: tuple[float, ...],
         seed: int, beam: tuple[float, float, float] | None = None) -> list[Path]:
    """Epochs, in their beams or all in one, of sources at pixels (x, y) of the reference, of fluxes (epoch, source), Jy."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = WCS(header(size, REFERENCE)).celestial
        sky = reference.wcs_pix2world(places, 0)
        paths = []
        for k in range(4):
            made, own = header(size, k, beam), beam or BEAMS[k]
            image = noise[k] * (noise_of((size, size), own, rng) if noise[k] > 1e-7
                                else rng.standard_normal((size, size)))
            inverse = inverse_of(*own)
            for (x, y), s in zip(WCS(made).celestial.wcs_world2pix(sky, 0), flux[k], strict=True):
                window, dx, dy = cut(x, y, 20, image.shape)
                image[window] += s * gaussian(inverse, dx, dy)
            paths.append(folder / f"e{k + 1}.fits")
            fits.writeto(paths[-1], image[None, None].astype(np.float32), made, overwrite=True)
    return paths


def cut(x: float, y: float, half: int, shape: tuple[int, ...]) -> tuple:
    """Window about a place, and offsets in it."""
    x0, y0 = round(x), round(y)
    window = (slice(max(0, y0 - half), min(shape[0], y0 + half + 1)),
              slice(max(0, x0 - half), min(shape[1], x0 + half + 1)))
    rows, columns = np.mgrid[window]
    return window, columns - x, rows - y


def ratios(image: np.ndarray, beam: tuple[float, float, float], places: np.ndarray) -> np.ndarray:
    """Flux, amplitude and brightest pixel over the truth, per cent off, (3, source)."""
    inverse = inverse_of(*beam)
    area = np.pi / FOUR_LN2 * beam[0] * beam[1]
    found = []
    for x, y in places:
        window, dx, dy = cut(x, y, 16, image.shape)
        values, model = image[window].astype(float), gaussian(inverse, dx, dy)
        core, top = model > 0.1, model.argmax()
        found.append((values.sum() / area, (values * model)[core].sum() / (model[core] ** 2).sum(),
                      values.flat[top] / model.flat[top]))
    return 100 * (np.array(found).T - 1)


def of_uvstack(paths: list[Path], **options) -> tuple[list[np.ndarray], tuple]:
    """Epochs on the grid of the reference, and the beam."""
    from uvstack.epochs.combination.chain_files import bring_together, plan_of, planes_for
    from uvstack.epochs.combination.options import CombineOptions
    from uvstack.options import options_of

    asked = {name: default for name, (_, default) in options_of(CombineOptions).items()}
    plan = plan_of(paths, asked | {"reference": REFERENCE} | options)
    with planes_for(4, plan.grid.shape, None) as planes:
        bring_together(plan, planes, client=None, threads=1, progress=None)
        beam = plan.target.beam
        return list(planes), (np.rad2deg(beam[0]) * 3600, np.rad2deg(beam[1]) * 3600,
                              np.rad2deg(beam[2]))


def of_casa(paths: list[Path], beam: tuple, *, in_kelvin: bool,
            folder: Path) -> tuple[list[np.ndarray], list[float]]:
    """The memo's chain: imregrid to the reference, K, imsmooth, Jy/beam; planes and CPU seconds."""
    from casatasks import exportfits, importfits, imregrid, imsmooth

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    here = os.getcwd()
    os.chdir(folder)
    planes, seconds = [], []
    try:
        for k, path in enumerate(paths):
            importfits(fitsimage=str(path), imagename=f"e{k}.im", overwrite=True)
        for k in range(4):
            start = time.process_time()
            name = f"e{k}.im"
            if k != REFERENCE:
                imregrid(imagename=name, template=f"e{REFERENCE}.im", output=f"r{k}.im",
                         interpolation="linear", overwrite=True)
                name = f"r{k}.im"
            if in_kelvin:
                exportfits(imagename=name, fitsimage=f"r{k}.fits", overwrite=True)
                with fits.open(f"r{k}.fits") as hdus:
                    data, cards = hdus[0].data, hdus[0].header
                    data *= 1.222e3 / 1e-3 / ((FREQUENCY / 1e9) ** 2 * BEAMS[k][0] * BEAMS[k][1])
                    cards["BUNIT"] = "K"
                    fits.writeto(f"k{k}.fits", data, cards, overwrite=True)
                importfits(fitsimage=f"k{k}.fits", imagename=f"k{k}.im", overwrite=True)
                name = f"k{k}.im"
            imsmooth(imagename=name, kernel="gauss", major=f"{beam[0]}arcsec",
                     minor=f"{beam[1]}arcsec", pa=f"{beam[2]}deg", targetres=True,
                     outfile=f"s{k}.im", overwrite=True)
            exportfits(imagename=f"s{k}.im", fitsimage=f"s{k}.fits", overwrite=True)
            plane = np.squeeze(fits.getdata(f"s{k}.fits")).astype(float)
            if in_kelvin:
                plane *= (FREQUENCY / 1e9) ** 2 * beam[0] * beam[1] / (1.222e3 / 1e-3)
            planes.append(np.nan_to_num(plane))
            seconds.append(time.process_time() - start)
    finally:
        os.chdir(here)
    return planes, seconds


def fidelity(folder: Path, size: int, with_casa: bool) -> None:
    """Each epoch in the common beam against the truth."""
    places = grid_of_places(size, 15, np.random.default_rng(1))
    paths = make(folder / "points", size, places, np.ones((4, len(places))), (1e-8,) * 4, 2)
    head("Fidelity, mean of 225 point sources over the truth", "chain", "epoch", "flux (%)",
         "amplitude (%)", "brightest pixel (%)", "worst (%)")

    def tell(name, planes, beam):
        for k, plane in enumerate(planes):
            off = ratios(plane, beam, places)
            row(name, k + 1, *(f"{one.mean():+.3f}" for one in off),
                f"{np.abs(off[2]).max():.2f}")

    beams = {}
    for name, options in (("uvstack", {}), ("uvstack, 10 % wider", {"padding": 0.1}),
                          ("--memo", {"memo": True}),
                          ("--memo, 10 % wider", {"memo": True, "padding": 0.1}),
                          ("--memo --direct, 10 % wider",
                           {"memo": True, "direct": True, "padding": 0.1})):
        planes, beam = of_uvstack(paths, **options)
        beams[bool(options.get("padding"))] = beam
        tell(name, planes, beam)
    if with_casa:
        # CASA refuses a target at the very limit: the memo's own is 0.4 % above it.
        close = (beams[False][0] * 1.003, beams[False][1] * 1.004, beams[False][2])
        for name, beam, in_kelvin in (("CASA, K", close, True), ("CASA, Jy/beam", close, False),
                                      ("CASA, K, 10 % wider", beams[True], True),
                                      ("CASA, Jy/beam, 10 % wider", beams[True], False)):
            planes, seconds = of_casa(paths, beam, in_kelvin=in_kelvin, folder=folder / "casa")
            tell(f"{name}: {np.mean(seconds):.1f} CPU s an epoch", planes, beam)


def grid_of_places(size: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """n × n places well apart, anywhere in their pixels, (source, 2)."""
    at = np.linspace(0.06 * size, 0.94 * size, n)
    x, y = np.meshgrid(at, at)
    return np.stack([x.ravel(), y.ravel()], axis=1) + rng.random((n * n, 2))


def combine_once(paths: list[str], out: str) -> None:
    """In a process of its own: the second of two combinations, for numba has by then what it compiled."""
    from uvstack.epochs.combination.task import combine

    for _ in range(3):
        start = time.process_time()
        combine(paths, reference=REFERENCE, out=out, overwrite=True, threads=1)
        seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds,
                      "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))


def averages_of_the_memo(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and median with the rms of a running square, as section 4 of the memo says them."""
    from scipy.ndimage import uniform_filter

    weight = np.array([1 / np.maximum(uniform_filter(plane**2, 10)
                                      - uniform_filter(plane, 10) ** 2, 1e-30)
                       for plane in planes])
    mean = (weight * planes).sum(axis=0) / weight.sum(axis=0)
    order = np.argsort(planes, axis=0)
    share = np.cumsum(np.take_along_axis(weight, order, 0), axis=0)
    first = (share >= 0.5 * share[-1]).argmax(axis=0)[None]
    ordered = np.take_along_axis(planes, order, 0)
    return mean, np.take_along_axis(ordered, first, 0)[0]


def speed(folder: Path, size: int, with_casa: bool) -> None:
    """The whole combination from FITS to FITS."""
    import ducc0

    places = grid_of_places(size, 15, np.random.default_rng(1))
    paths = make(folder / "noisy", size, places, np.full((4, len(places)), 0.01),
                 tuple(1e-3 * s for s in FULL_NOISE), 3)
    done = subprocess.run([sys.executable, __file__, "--once", str(folder / "combined"),
                           *map(str, paths)], check=True, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    ours = json.loads(done.stdout.splitlines()[-1])
    padded = ducc0.fft.good_size(size + 60, True)
    data = np.random.default_rng(0).standard_normal((padded, padded)).astype(np.float32)
    bound = np.inf
    for _ in range(3):
        start = time.process_time()
        ducc0.fft.c2r(ducc0.fft.r2c(data, nthreads=1), lastsize=padded, forward=False, nthreads=1)
        bound = min(bound, time.process_time() - start)
    head(f"Speed, 4 epochs of {size}²", "chain", "CPU s", "peak memory (MB)")
    row("uvstack, FITS to FITS, 7 maps", f"{ours['seconds']:.2f}", f"{ours['megabytes']:.0f}")
    row("transforms of 4 epochs, there and back", f"{4 * bound:.2f}", "")
    if with_casa:
        beam = (4.0136, 2.5393, 37.96)
        planes, seconds = of_casa(paths, beam, in_kelvin=True, folder=folder / "casa")
        start = time.process_time()
        averages_of_the_memo(np.array(planes))
        rest = time.process_time() - start
        row("imregrid and imsmooth, K", f"{sum(seconds):.2f}", "")
        row("running rms, weighted mean and median, scipy and numpy", f"{rest:.2f}", "")
        print(f"\nuvstack is {(sum(seconds) + rest) / ours['seconds']:.1f} times faster.")


def weights(folder: Path, size: int, seeds: int) -> None:
    """Bias of the mean and the median at sources, their noise, and the gain."""
    from uvstack.epochs.combination.task import combine

    snr = np.array([5.0, 10.0, 20.0, 60.0, 200.0])
    variable = np.array([0.6, 1.4, 1.0, 1.2])
    found: dict[tuple, list] = {}
    noises: dict[str, list] = {"uvstack": [], "--memo": []}
    for seed in range(seeds):
        rng = np.random.default_rng([7, seed])
        places = grid_of_places(size, 12, rng)
        kind = np.arange(len(places)) % 2
        level = snr[np.arange(len(places)) % snr.size]
        noise = np.array(FULL_NOISE) * 1e-3
        flux = np.where(kind, variable[:, None], 1.0) * level * noise[0]
        paths = make(folder / "weights", size, places, flux, tuple(noise), 100 + seed)
        for name, options in (("uvstack", {}), ("--memo", {"memo": True})):
            made = combine(paths, reference=REFERENCE, **options)
            table = made.table
            share = np.array([table["rms"][k].value ** -2.0 for k in range(4)])
            share /= share.sum()
            planes, _ = of_uvstack(paths, **options)
            ideal = np.tensordot(share, np.array(planes), 1)
            beam = np.rad2deg(made.beam) * [3600, 3600, 1]
            inverse = inverse_of(*beam)
            for i, (x, y) in enumerate(places):
                window, dx, dy = cut(x, y, 4, made.mean.shape)
                model = gaussian(inverse, dx, dy)
                for which, image in (("mean", made.mean), ("median", made.median)):
                    off = ((image[window] - ideal[window]) * model).sum() / (model**2).sum()
                    found.setdefault((name, which, int(kind[i]), level[i]), []).append(
                        off / (share @ flux[:, i]))
            rms = table["rms"].value
            noises[name].append((rms[4] / np.sqrt(1 / np.sum(rms[:4] ** -2.0)), rms[5] / rms[4]))
    head("Weights: bias of fluxes, mean ± error", "sources", "S/N",
         *(f"{name}, {which} (%)" for name in noises for which in ("mean", "median")))
    for which_kind, told in ((0, "constant"), (1, "variable")):
        for one in snr:
            cells = []
            for name in noises:
                for which in ("mean", "median"):
                    off = 100 * np.array(found[name, which, which_kind, one])
                    cells.append("" if which_kind and which == "median" else
                                 f"{off.mean():+.2f} ± {off.std() / np.sqrt(off.size):.2f}")
            row(told, f"{one:g}", *cells)
    head("Noise", "chain", "mean over inverse variance", "median over mean")
    for name, values in noises.items():
        row(name, *(f"{v:.3f}" for v in np.mean(values, axis=0)))


def gains(folder: Path, size: int, seeds: int) -> None:
    """Noise of the average epoch over that of mean and median."""
    from uvstack.epochs.combination.task import combine

    head("Gain over the average epoch, noise of the memo's tables", "noise", "chain", "mean",
         "median", "mean, inverse variance", "of which shrinkage")
    for told, noise in (("table 3", FULL_NOISE), ("table 1", CUTOUT_NOISE)):
        best = np.mean(noise) * np.sqrt(np.sum(np.array(noise) ** -2.0))
        for name, options in (("uvstack", {}), ("--memo", {"memo": True})):
            found = []
            for seed in range(seeds):
                paths = make(folder / "gains", size, np.zeros((0, 2)), np.zeros((4, 0)),
                             tuple(1e-3 * s for s in noise), 500 + seed, COMMON)
                rms = combine(paths, reference=REFERENCE, **options).table["rms"].value
                found.append((rms[:4].mean() / rms[4], rms[:4].mean() / rms[5]))
            mean, median = np.mean(found, axis=0)
            row(told, name, f"{mean:.3f}", f"{median:.3f}", f"{best:.3f}",
                f"{100 * (mean / best - 1):+.1f} %")
    print("\nThe memo: 2.18 and 1.72 (table 3), 1.78 and 1.42 (table 1).")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3722)
    parser.add_argument("--seeds", type=int, default=6, help="Of `weights`.")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--no-casa", action="store_true")
    parser.add_argument("--folder", type=Path, help="For the images; default a temporary one.")
    parser.add_argument("--once", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        combine_once(asked.once[1:], asked.once[0])
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = (asked.folder or Path(scratch)).resolve()
        names = ("uvstack", "numpy", "ducc0", *(() if asked.no_casa else ("casatasks",)))
        print(", ".join(f"{name} {version(name)}" for name in names),
              f"; load {os.getloadavg()[0]:.1f}\n")
        if "fidelity" in asked.sections:
            fidelity(folder, asked.size, not asked.no_casa)
            print()
        if "speed" in asked.sections:
            speed(folder, asked.size, not asked.no_casa)
            print()
        if "weights" in asked.sections:
            weights(folder, min(asked.size, 900), asked.seeds)
            print()
        if "gains" in asked.sections:
            gains(folder, min(asked.size, 900), max(asked.seeds // 3, 1))


if __name__ == "__main__":
    main()
