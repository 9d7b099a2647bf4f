"""How fast extraction is and how right, beside PySE, PyBDSF, Aegean with BANE, and SEP; tables in Markdown.

    python scripts/bench_extract.py --folder /tmp/extract --size 4096 --peer-python peers/bin/python
    --plot pulls.png

Images have a beam of 5 × 4 pixels, noise that it correlates (rms 10 µJy/beam), and sources of 4 to
1000 σ, N(>S) ∝ 1/S, of which 5 % are extended: 2000 at 4096², in proportion elsewhere. Each program
runs in processes of its own, one thread each, on the same file, with thresholds of 5 and 3 σ. Times
are user + sys: "cold" a whole process that extracts once, its compiled code cached where the
program can; "warm" the median of further calls in one process, from the file on. Memory is the peak
of the cold process. A source counts as found where a row lies within 3 pixels of it, a row as true
where a source of the truth does. Pulls are (measured − true)/error of sources above 8 σ with no
other within 30 pixels; mean, and the width of the middle 68 %, after that the plain standard
deviation without what is beyond 5.

Peers are those that --peer-python can import (`pip install radio-pyse bdsf AegeanTools sep`); one
that is missing is left out and said to be. --fdr N takes N images with --fdr 0.01 in place of the
table. --seed gives other images; of --seeds N images the first is timed and all are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from markdown import head, row

FWHM, ANGLE, SIGMA, CELL = (5.0, 4.0), 0.6, 1e-5, 1.0
FOUR_LN2 = 4.0 * np.log(2.0)
PARAMETERS = ("peak", "x", "y", "flux", "major", "minor")
PEERS = ("PySE fit", "PySE moments", "PyBDSF", "Aegean + BANE", "SEP")
ONE_THREAD = {name: "1"
              for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                           "NUMBA_NUM_THREADS")}


def matrix(major, minor, angle):
    """Squared FWHM in (x, y), angle from y towards x."""
    along, across = np.array([np.sin(angle), np.cos(angle)]), np.array(
        [np.cos(angle), -np.sin(angle)])
    return major**2 * np.outer(along, along) + minor**2 * np.outer(across, across)


def beam_area():
    """Pixels."""
    return np.pi / FOUR_LN2 * FWHM[0] * FWHM[1]


def noise(n, rng):
    """Noise of n × n pixels, rms 1, correlated by the beam; beyond 8192 pixels in bands of rows, to save memory."""
    white = rng.standard_normal((n, n), np.float32)
    if n <= 8192:
        spread = smooth(white)
    else:
        spread, rim = white, 32
        # Rows above a band as they were before they were smoothed.
        above = white[-rim:].copy()
        top = white[:rim].copy()
        for first in range(0, n, 2048):
            stop = min(first + 2048, n)
            below = white[stop:stop + rim] if stop < n else top
            band = smooth(np.concatenate([above, white[first:stop], below]))
            above = white[stop - rim:stop].copy()
            spread[first:stop] = band[rim:-rim]
    spread /= spread.std()
    return spread.astype(np.float32, copy=False)


def smooth(white):
    """White noise convolved with the beam, periodic."""
    lag_y, lag_x = np.fft.fftfreq(white.shape[0]), np.fft.rfftfreq(white.shape[1])
    size = matrix(*FWHM, ANGLE)
    # Transform of a Gaussian of this FWHM; its sum of squares follows from Parseval.
    power = np.pi**2 / FOUR_LN2 * (size[0, 0] * lag_x**2 + 2 * size[0, 1] * lag_x * lag_y[:, None]
                                   + size[1, 1] * lag_y[:, None] ** 2)
    return np.fft.irfft2(np.fft.rfft2(white) * np.exp(-power).astype(np.float32), s=white.shape)


def make_image(folder, n, seed, n_sources=None):
    """A FITS image and its truth beside it; kept where they exist."""
    from astropy.io import fits

    path, rng = Path(folder) / f"image_{n}_{seed}.fits", np.random.default_rng(seed)
    if path.exists():
        return path
    image = noise(n, rng)
    count = round(2000 * (n / 4096) ** 2) if n_sources is None else n_sources
    peak = 4.0 / (1.0 - rng.uniform(size=count) * (1.0 - 4.0 / 1000.0))
    x, y = rng.uniform(20, n - 20, (2, count))
    size = np.broadcast_to(matrix(*FWHM, ANGLE), (count, 2, 2)).copy()
    extended = rng.uniform(size=count) < 0.05
    for k in np.flatnonzero(extended):
        size[k] += matrix(rng.uniform(4, 10), rng.uniform(2, 4), rng.uniform(0, np.pi))
    for p, u, v, s in zip(peak, x, y, size, strict=True):
        form, r = FOUR_LN2 * np.linalg.inv(s), int(2.5 * np.sqrt(np.linalg.eigvalsh(s)[1]))
        rows = slice(max(int(v) - r, 0), int(v) + r + 2)
        columns = slice(max(int(u) - r, 0), int(u) + r + 2)
        dy, dx = np.arange(n)[rows, None] - v, np.arange(n)[columns] - u
        image[rows, columns] += p * np.exp(-(form[0, 0] * dx**2 + 2 * form[0, 1] * dx * dy
                                             + form[1, 1] * dy**2))
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": n / 2 + 1,
                          "CRPIX2": n / 2 + 1, "CDELT1": -CELL / 3600, "CDELT2": CELL / 3600, "CUNIT1": "deg", "CUNIT2": "deg",
                          "RADESYS": "ICRS", "EQUINOX": 2000.0, "BUNIT": "Jy/beam", "BMAJ": FWHM[0] * CELL / 3600,
                          "BMIN": FWHM[1] * CELL / 3600, "BPA": 180.0 - np.degrees(ANGLE), "RESTFRQ": 1.4e9})  # fmt: skip
    image *= np.float32(SIGMA)
    fits.writeto(path, image, header)
    axes = np.sqrt(np.linalg.eigvalsh(size)) if count else np.zeros((0, 2))
    flux = peak * axes.prod(1) / (FWHM[0] * FWHM[1]) if count else peak
    np.savez(path.with_suffix(".npz"), peak=peak * SIGMA, x=x, y=y, flux=flux * SIGMA, major=axes[:, 1], minor=axes[:, 0],
             extended=extended)  # fmt: skip
    return path


# Each of the following reads the file and gives columns: values and errors, in Jy and pixels from
# 0.


def with_uvstack(path, **options):
    import uvstack

    t = uvstack.extract(path, **options)
    pix = {"major": "fwhm_major", "minor": "fwhm_minor"}
    out = {}
    for name in PARAMETERS:
        column = pix.get(name, name)
        out[name], out[name + "_error"] = np.asarray(t[column].value), np.asarray(
            t[column + "_error"].value)
    return out


def with_pyse(path, vectorized):
    from sourcefinder import accessors
    from sourcefinder.accessors.fitsimage import FitsImage
    from sourcefinder.config import Conf, ExportSettings, ImgConf

    settings = ImgConf(detection_thr=5.0, analysis_thr=3.0, vectorized=vectorized,
                       remove_edge_sources=False, nr_threads=1)
    conf = Conf(image=settings, export=ExportSettings())
    found = accessors.sourcefinder_image_from_accessor(FitsImage(str(path)), conf=conf).extract()
    # Columns of fits have no names, but the order of the settings.
    get = {name: np.asarray(found.iloc[:, k], float)
           for k, name in enumerate(conf.export.source_params)}
    out = {}
    for name in PARAMETERS:
        key, scale = {"major": ("smaj", 2.0), "minor": ("smin", 2.0)}.get(name, (name, 1.0))
        out[name], out[name + "_error"] = scale * get[key], scale * get[key + "_err"]
    return out


def with_bdsf(path):
    import tempfile

    import bdsf
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS

    image = bdsf.process_image(str(path), thresh="hard", thresh_pix=5.0, thresh_isl=3.0, quiet=True,
                               ncores=1, frequency=1.4e9)
    with tempfile.TemporaryDirectory() as folder:
        image.write_catalog(outfile=folder + "/out.fits", format="fits", catalog_type="srl",
                            clobber=True)
        t = Table.read(folder + "/out.fits")
    Path(str(path) + ".pybdsf.log").unlink(missing_ok=True)
    x, y = WCS(fits.getheader(path)).all_world2pix(t["RA"], t["DEC"], 0)
    out = {"x": x, "y": y, "x_error": t["E_RA"] * 3600 / CELL, "y_error": t["E_DEC"] * 3600 / CELL}
    names = {"peak": ("Peak_flux", 1.0), "flux": ("Total_flux", 1.0), "major": ("Maj", 3600 / CELL),
    "minor": ("Min", 3600 / CELL)}  # fmt: skip
    for name, (column, scale) in names.items():
        out[name], out[name + "_error"] = scale * np.asarray(t[column]), scale * np.asarray(
            t["E_" + column])
    return out


def with_aegean(path):
    import tempfile

    from AegeanTools import BANE
    from AegeanTools.source_finder import SourceFinder
    from astropy.io import fits
    from astropy.wcs import WCS

    with tempfile.TemporaryDirectory() as folder:
        BANE.filter_image(str(path), folder + "/out", cores=1)
        finder = SourceFinder()
        found = finder.find_sources_in_image(str(path), rmsin=folder + "/out_rms.fits", bkgin=folder + "/out_bkg.fits",
                                             innerclip=5, outerclip=3, cores=1)  # fmt: skip
    wcs = WCS(fits.getheader(path))

    def column(name):
        return np.array([getattr(one, name) for one in found], float)

    x, y = wcs.all_world2pix(column("ra"), column("dec"), 0)
    arcsec = 1 / CELL
    return {"x": x, "y": y, "x_error": column("err_ra") * 3600 / CELL, "y_error": column("err_dec") * 3600 / CELL,
            "peak": column("peak_flux"), "peak_error": column("err_peak_flux"), "flux": column("int_flux"),
            "flux_error": column("err_int_flux"), "major": column("a") * arcsec, "major_error": column("err_a") * arcsec,
            "minor": column("b") * arcsec, "minor_error": column("err_b") * arcsec}  # fmt: skip


def with_sep(path):
    import sep
    from astropy.io import fits

    data = fits.getdata(path).astype(np.float32)
    base = sep.Background(data)
    data -= base.back()
    rms = base.rms()
    t = sep.extract(data, 3.0, err=rms, minarea=3, filter_kernel=None)
    t = t[t["peak"] > 5.0 * rms[t["ypeak"], t["xpeak"]]]
    flux, error, _ = sep.sum_circle(data, t["x"], t["y"], 8.0, err=rms)
    nothing = np.full(len(t), np.nan)
    return {"x": t["x"], "y": t["y"], "x_error": np.sqrt(t["errx2"]), "y_error": np.sqrt(t["erry2"]), "peak": t["peak"],
            "peak_error": rms[t["ypeak"], t["xpeak"]], "flux": flux / beam_area(), "flux_error": error / beam_area(),
            "major": nothing, "major_error": nothing, "minor": nothing, "minor_error": nothing}  # fmt: skip


PROGRAMS = {
    "uvstack": with_uvstack, "uvstack gls": lambda path: with_uvstack(path, weighting="gls"),
    "uvstack moments": lambda path: with_uvstack(path, method="moments"), "PySE fit": lambda path: with_pyse(path, False),
    "PySE moments": lambda path: with_pyse(path, True), "PyBDSF": with_bdsf, "Aegean + BANE": with_aegean, "SEP": with_sep}  # fmt: skip
DISTRIBUTIONS = {"uvstack": "uvstack", "uvstack gls": "uvstack", "uvstack moments": "uvstack", "PySE fit": "radio-pyse",
                 "PySE moments": "radio-pyse", "PyBDSF": "bdsf", "Aegean + BANE": "AegeanTools", "SEP": "sep"}  # fmt: skip


def processor_seconds():
    """User and system time of this process and of those that it waited for."""
    mine, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(
        resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + others.ru_utime + others.ru_stime


def child(program, path, calls, out):
    """One program in this process: its columns into `out`, and its times on standard output."""
    from importlib.metadata import version

    times = []
    for _ in range(calls):
        start = processor_seconds()
        columns = PROGRAMS[program](path)
        times.append(processor_seconds() - start)
    np.savez(out, **columns)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    name = DISTRIBUTIONS[program]
    print("\n"
          + json.dumps({"times": times, "memory": peak / 1e6 * 1.024,
                        "version": f"{name} {version(name)}"}))


def timed(python, program, path, calls):
    """What `child` says, with the time of the whole process; None where the program is not there."""
    out = Path(path).parent / "found.npz"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [python, __file__, "--child", program, "--image", str(path), "--calls", str(calls),
               "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD},
                         cwd=Path(path).parent)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        print(f"Left out: {program}: "
              f"{(run.stderr.strip().splitlines() or ['no message'])[-1][:150]}\n")
        return None
    told = json.loads(run.stdout.strip().splitlines()[-1])
    told["whole"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with np.load(out) as columns:
        told["columns"] = {name: columns[name] for name in columns.files}
    return told


def compare(columns, truth):
    """Completeness, reliability, pulls by parameter, and the relative error of fluxes of 10 to 20 σ."""
    from scipy.spatial import KDTree

    here, found = (np.stack([t["x"], t["y"]], 1) for t in (truth, columns))
    distance, which = KDTree(found).query(here)
    is_found, level = distance < 3.0, truth["peak"] / SIGMA
    alone = KDTree(here).query(here, k=2)[0][:, 1] > 30.0
    out = {"complete": [is_found[level > limit].mean() for limit in (5.0, 10.0)],
           "reliable": (KDTree(here).query(found)[0] < 3.0).mean()}  # fmt: skip
    good = is_found & alone & (level > 8.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        out["pulls"] = {name: (columns[name][which[good]] - truth[name][good]) / columns[name + "_error"][which[good]]
                        for name in PARAMETERS}  # fmt: skip
    faint = is_found & alone & (level > 10.0) & (level < 20.0)
    out["flux"] = columns["flux"][which[faint]] / truth["flux"][faint] - 1.0
    return out


def pulled(values):
    """Mean, half the middle 68 %, and standard deviation, of pulls within 5."""
    values = values[np.isfinite(values)]
    inside = values[np.abs(values) < 5.0]
    if inside.size < 10:
        return "–"
    low, high = np.percentile(values, [15.87, 84.13])
    return f"{inside.mean():+.2f}, {0.5 * (high - low):.2f} ({inside.std():.2f})"


def table(folder, n, seeds, programs, calls):
    """Print times and errors of all programs on images of n × n pixels; pulls of the first program over all seeds."""
    images = [make_image(folder, n, seed) for seed in seeds]
    pulls, speeds, errors = {}, [], []
    for program, python in programs:
        cold = timed(python, program, images[0], 1)
        if cold is None:
            continue
        # Once more: the first may have compiled.
        cold = timed(python, program, images[0], 1) if program.startswith("uvstack") else cold
        warm = timed(python, program, images[0], 1 + calls)
        median = statistics.median(warm["times"][1:])
        speeds.append((program, cold["version"], f"{median:.2f}", f"{cold['whole']:.1f}",
                       f"{cold['memory']:.2f}"))
        runs = []
        for image in images:
            columns = cold["columns"] if image == images[0] else timed(python, program, image,
                                                                       1)["columns"]
            with np.load(image.with_suffix(".npz")) as truth:
                runs.append(compare(columns, truth))
        pulls[program] = {name: np.concatenate([run["pulls"][name] for run in runs])
                          for name in PARAMETERS}
        bias = np.concatenate([run["flux"] for run in runs])
        complete, reliable = np.mean([run["complete"] for run in runs],
                                     axis=0), np.mean([run["reliable"] for run in runs])
        errors.append((program, f"{complete[0]:.3f}, {complete[1]:.3f}", f"{reliable:.4f}", *map(pulled, pulls[program].values()),
                       f"{bias.mean():+.1%} ± {bias.std() / np.sqrt(bias.size):.1%}"))  # fmt: skip
    head(f"{n} × {n} pixels: time and memory", "program", "version", "warm (CPU s)", "cold (CPU s)",
         "memory (GB)")
    for line in speeds:
        row(*line)
    head(f"{n} × {n} pixels, {len(images)} image(s): what is found, and pulls above 8 σ", "program", "complete > 5 σ, > 10 σ",
         "reliable", *PARAMETERS, "flux of 10 to 20 σ")  # fmt: skip
    for line in errors:
        row(*line)
    return pulls


def plot(pulls, path):
    """Histograms of pulls with a normal distribution: one row a program, one column a parameter."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(pulls), len(PARAMETERS), figsize=(11, 1.6 * len(pulls) + 0.6),
                                sharex=True, sharey=True, squeeze=False)
    grid = np.linspace(-5, 5, 101)
    for line, (program, values) in zip(axes, pulls.items(), strict=True):
        for axis, name in zip(line, PARAMETERS, strict=True):
            good = values[name][np.isfinite(values[name])]
            if good.size:
                # Those beyond stand in the outermost bars.
                axis.hist(np.clip(good, -4.99, 4.99), np.linspace(-5, 5, 31), density=True,
                          color="#7a9cc6")
            axis.plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), color="#b03a2e", lw=1)
            axis.set_yticks([])
            axis.set_ylim(0, 0.75)
        line[0].set_ylabel(program.replace(" ", "\n"), rotation=0, ha="right", va="center")
    for axis, name in zip(axes[0], PARAMETERS, strict=True):
        axis.set_title(name, fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("(measured − true) / error", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80, pil_kwargs={"optimize": True})


def false_discoveries(folder, n, count):
    """Part of the source pixels that are noise, over images of noise and sources, and how often noise alone gives any."""
    import uvstack
    from uvstack.extraction.task import find

    parts, alone = [], 0
    for seed in range(1000, 1000 + count):
        path = make_image(folder, n, seed, n_sources=0)
        alone += len(uvstack.extract(path, fdr=0.01)) > 0
        path.unlink()
        path = make_image(folder, n, seed + 10_000)
        with np.load(path.with_suffix(".npz")) as truth:
            x, y = np.rint(truth["x"]).astype(int), np.rint(truth["y"]).astype(int)
        found = find(path, fdr=0.01)
        from scipy.ndimage import distance_transform_edt

        empty = np.ones((n, n), bool)
        empty[y, x] = False
        significant = found.data / found.rms.rows(0, n) > found.threshold
        parts.append((significant & (distance_transform_edt(empty) > 15.0)).sum()
                     / max(significant.sum(), 1))
        path.unlink()
    head(f"False discoveries, --fdr 0.01, {count} images of {n} × {n} pixels", "quantity", "value")
    row("part of the pixels above the threshold that are farther than 15 pixels from any source, "
        "mean", f"{np.mean(parts):.5f}")
    row("images of noise alone in which anything is found", f"{alone} of {count}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="bench_extract", help="where images are made and kept")
    parser.add_argument("--size", type=int, nargs="+", default=[2048, 4096])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--calls", type=int, default=3, help="warm calls")
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    parser.add_argument("--peer-python")
    parser.add_argument("--plot")
    parser.add_argument("--fdr", type=int, metavar="N")
    for name in ("--child", "--image", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        child(told.child, told.image, told.calls, told.out)
        return
    Path(told.folder).mkdir(parents=True, exist_ok=True)
    folder = Path(told.folder).resolve()
    if told.fdr:
        false_discoveries(folder, told.size[0], told.fdr)
        return
    programs = [(name, told.peer_python if name in PEERS else sys.executable)
                for name in told.programs]
    for name in [name for name, python in programs if python is None]:
        print(f"Left out: {name}: give --peer-python")
    for n in told.size:
        pulls = table(folder, n, range(told.seed, told.seed + told.seeds),
                      [p for p in programs if p[1]], told.calls)
    if told.plot:
        plot(pulls, told.plot)


if __name__ == "__main__":
    main()
