"""What is found of faint sources and why not, what fluxes owe to their errors, and how much light curves of constant sources vary.

    python scripts/measure_extraction.py [--seeds 12] [--folder measure_extraction]
    python scripts/measure_extraction.py --sections noise fluxes missed curves

Images are those of `bench_extract.py`: a beam of 5 × 4 pixels, noise that it correlates. missed:
sources above 5 σ that are not found, by cause. noise: what is found in images of noise alone,
beside the number of maxima of a continuous random field (Adler 1981, theorem 6.3.1, leading term).
fluxes: 18 496 points of one flux between pixels, background and noise given. curves: `--seeds`
sequences of eight images with 40 constant sources and one that varies.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_extract import ANGLE, FOUR_LN2, FWHM, SIGMA, make_image, matrix, noise
from markdown import head, row
from scipy.spatial import KDTree

FORM = FOUR_LN2 * np.linalg.inv(matrix(*FWHM, ANGLE))
#: Of light curves: the images' pixels, epochs, and fluxes of the constant sources over the noise.
SIDE, EPOCHS, LEVELS = 400, 8, np.geomspace(6.0, 300.0, 40)


def point(dx, dy):
    return np.exp(-(FORM[0, 0] * dx**2 + 2 * FORM[0, 1] * dx * dy + FORM[1, 1] * dy**2))


def add_points(image, level, x, y, reach=14):
    """Points of peak `level` at places at least `reach` pixels from the edge."""
    for p, u, v in zip(level, x, y, strict=True):
        rows, columns = (np.arange(int(c) - reach, int(c) + reach + 2) for c in (v, u))
        image[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] += p * point(columns - u, rows[:, None] - v)


def missed(folder, seeds):
    """Sources above 5 σ of 4096² pixels: how many are found, and what is wrong with the others."""
    from uvstack.extraction.task import find

    head(f"Sources above 5 σ of {seeds} images of 4096² pixels", "compared with 5 σ", "found",
         "reliable", "isolated and missed", "of them fainter than 6 σ", "a neighbour within 12 pixels and missed",
         "measured noise over the true one")
    for peaks in ("pixel", "interpolated"):
        parts = []
        for seed in range(1, 1 + seeds):
            path = make_image(folder, 4096, seed)
            found = find(path, peaks=peaks)
            with np.load(path.with_suffix(".npz")) as truth:
                x, y, level = truth["x"], truth["y"], truth["peak"] / SIGMA
            here = np.stack([x, y], 1)
            there = np.stack([found.catalogue[c].value for c in "xy"], 1)
            lost, real = KDTree(there).query(here)[0] > 3, KDTree(here).query(there)[0] < 3
            close = KDTree(here).query(here, k=2)[0][:, 1] < 12
            seen = level > 5
            parts.append(((seen & ~lost).sum(), seen.sum(), real.sum(), real.size, (seen & lost & ~close).sum(),
                          (seen & lost & ~close & (level < 6)).sum(), (seen & lost & close).sum(),
                          found.rms.at(x, y).mean() / SIGMA * seen.sum()))  # fmt: skip
        kept, all_, real, rows, alone, faint, blend, rms = np.sum(parts, axis=0)
        row(peaks, f"{kept / all_:.4f} of {all_:.0f}", f"{real / rows:.4f} of {rows:.0f}",
            f"{alone:.0f}", f"{faint:.0f}", f"{blend:.0f}", f"{rms / all_:.4f}")


def of_noise(seeds):
    """Islands of images of noise alone."""
    from uvstack.extraction.islands import find_islands

    n, found = 4096, {}
    for seed in range(9000, 9000 + seeds):
        image = noise(n, np.random.default_rng(seed))
        for level in (4.5, 5.0):
            for between in (False, True):
                islands = find_islands(image, None, 1.0, level, 3.0, between=between)
                found.setdefault(level, {}).setdefault(between, []).append(len(islands))
    head(f"Islands in noise alone, of an image of 4096² pixels ({seeds} images)", "σ", "pixels",
         "maxima between pixels", "maxima of a continuous field")
    for level, counts in found.items():
        expected = (n**2 * FOUR_LN2 / (FWHM[0] * FWHM[1]) * (2 * np.pi) ** -1.5
                    * (level - 1 / level) * np.exp(-0.5 * level**2))
        row(level, *(f"{np.mean(counts[b]):.2f} ± {np.std(counts[b]) / np.sqrt(seeds):.2f}"
                     for b in (False, True)), f"{expected:.2f}")


def fluxes(folder):
    """Bias of fluxes, and the mean of their pulls, of points of one flux."""
    from uvstack.extraction.options import ExtractionOptions
    from uvstack.extraction.plane_files import read_plane
    from uvstack.extraction.task import run

    plane, n, step = read_plane(make_image(folder, 2048, 1)), 4096, 30
    head("Points of one flux, background and noise given", "σ", "flux − true, %", "mean pull",
         "(flux − true)/rms error", "−cov(flux, error)/error²", "scatter/rms error",
         "pull of the peak", "of the major axis", "of the minor")
    for k, level in enumerate((8, 9, 10, 12, 15, 25, 50)):
        rng = np.random.default_rng(500 + k)
        image = noise(n, rng)
        x, y = (v.ravel() + rng.uniform(-0.5, 0.5, v.size)
                for v in np.meshgrid(*[np.arange(20, n - 20, step)] * 2))
        add_points(image, np.full(x.size, level), x, y)
        table = run(replace(plane, data=image), ExtractionOptions(), rms=1.0,
                    background=0.0).catalogue
        apart, which = KDTree(np.stack([table[c].value for c in "xy"], 1)).query(
            np.stack([x, y], 1))
        one = table[which[apart < 3]]
        pulls = {name: (one[name].value - true) / one[f"{name}_error"].value
                 for name, true in (("flux", level), ("peak", level), ("fwhm_major", FWHM[0]), ("fwhm_minor", FWHM[1]))}  # fmt: skip
        off, error = one["flux"].value - level, one["flux_error"].value
        rms, root = np.sqrt(np.mean(error**2)), np.sqrt(off.size)
        mean = {name: f"{v[np.abs(v) < 5].mean():+.3f}" for name, v in pulls.items()}
        row(level, f"{100 * off.mean() / level:+.2f} ± {100 * off.std() / level / root:.2f}",
            mean["flux"], f"{off.mean() / rms:+.3f} ± {off.std() / rms / root:.3f}",
            f"{-np.cov(off, error)[0, 1] / error.mean() ** 2:+.3f}", f"{off.std() / rms:.3f}",
            *list(mean.values())[1:])


def curves(folder, seeds):
    """η and V of constant sources and of one that varies, beside what they should be."""
    from astropy.io import fits
    from astropy.wcs import WCS

    import uvstack
    from uvstack.sky.positions import positions_from_coord

    course = 60.0 * np.array([1, 1.1, 0.9, 1.2, 0.8, 1.0, 1.3, 0.7])
    off = np.array([1.0, 0.96, 1.05, 0.98, 1.02, 1.0, 0.94, 1.03])
    header = fits.getheader(make_image(folder, 2048, 1))
    header["CRPIX1"] = header["CRPIX2"] = SIDE / 2 + 1
    wcs, kept = WCS(header), {}
    for seed in range(seeds):
        rng, spots = np.random.default_rng(70_000 + seed), []
        while len(spots) < 41:
            one = rng.uniform(20, SIDE - 20, 2)
            if all(np.hypot(*(one - other)) > 25 for other in spots):
                spots.append(one)
        x, y = np.array(spots).T
        for scaled in (False, True):
            paths = []
            for k in range(EPOCHS):
                image = noise(SIDE, np.random.default_rng([seed, k]))
                add_points(image, np.append(LEVELS, course[k]) * (off[k] if scaled else 1.0), x, y)
                header["DATE-OBS"] = f"2020-01-{k + 1:02d}T00:00:00"
                paths.append(Path(folder) / f"curve_{k}.fits")
                fits.writeto(paths[-1], image * np.float32(SIGMA), header, overwrite=True)
            where = positions_from_coord(wcs.pixel_to_world(x, y))
            ways = (("scales alike", {}),) if not scaled else (
                ("scales differ by 4 %", {}), ("scales differ by 4 %, --flux-scale", {"flux_scale": True}))
            for name, options in ways:
                made = uvstack.light_curves(paths, catalogue=where, **options)
                error = made.sources["flux_error"].value * np.sqrt(EPOCHS)
                flux = made.sources["flux"].value
                kept.setdefault(name, []).append(
                    [made.sources["eta"], made.sources["v"], made.sources["v"] * flux / error,
                     flux / SIGMA / np.append(LEVELS, 60.0)])
            scales = (np.asarray(made.epochs["flux_scale"]), np.asarray(made.epochs["flux_scale_error"])) if scaled else None
        kept.setdefault("pulls", []).append((scales[0] * np.exp(np.log(off).mean()) - off) / scales[1])
    faint, bright = np.flatnonzero(LEVELS < 30), np.flatnonzero(LEVELS >= 30)
    right = course.std(ddof=1) / course.mean()
    head(f"Light curves of {EPOCHS} epochs, {seeds} sequences", "images", "η of 6 to 30 σ",
         "its scatter, 0.53 of χ²", "η of 30 to 300 σ", "its scatter", "V × flux/error", "η of the variable",
         f"its V, true {right:.3f}", "mean flux/true")
    pulls = np.concatenate(kept.pop("pulls"))
    for name, values in kept.items():
        eta, v, over, mean = np.moveaxis(np.array(values), 1, 0)
        row(name, f"{eta[:, faint].mean():.3f}", f"{eta[:, faint].std():.2f}",
            f"{eta[:, bright].mean():.3f}", f"{eta[:, bright].std():.2f}",
            f"{np.sqrt(np.mean(over[:, :40] ** 2)):.3f}",
            f"{eta[:, 40].mean():.0f} ± {eta[:, 40].std():.0f}",
            f"{v[:, 40].mean():.3f} ± {v[:, 40].std():.3f}", f"{mean[:, :40].mean():.4f}")
    print(f"\n(measured − true)/error of the scales: {pulls.mean():+.2f}, {pulls.std():.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="measure_extraction", help="where images are made and kept")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--sections", nargs="+", default=["missed", "noise", "fluxes", "curves"])
    told = parser.parse_args()
    Path(told.folder).mkdir(parents=True, exist_ok=True)
    folder = Path(told.folder).resolve()
    for name in told.sections:
        {"missed": lambda: missed(folder, told.seeds), "noise": lambda: of_noise(told.seeds),
         "fluxes": lambda: fluxes(folder), "curves": lambda: curves(folder, told.seeds)}[name]()


if __name__ == "__main__":
    main()
