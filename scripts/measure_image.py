"""The numbers of `docs/measurements.md` on imaging, subtraction and image-stacking against known truths.

Prints tables; each section can be asked for by its name:

    python scripts/measure_image.py [--sections subpixel fluxes noise subtraction sizes stacked
    methods filter] [--seeds N]

Everything but the published example is simulated with fixed seeds, smaller than the paper has it:
integrations of minutes instead of 10 s (averaging over time is not modelled, so that nothing
smears) with the noise of the paper's maps.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("CASASITECONFIG", str(ROOT / "tests" / "casa_config.py"))
sys.path.insert(0, str(ROOT / "tests"))

from astropy import units as u  # noqa: E402
from markdown import head, row  # noqa: E402

import uvstack  # noqa: E402
from factories import ARCMIN, ARCSEC, offset, read  # noqa: E402
from simulate.counts import lower_limit  # noqa: E402
from simulate.lindroos import CENTRE, recipe  # noqa: E402
from simulate.pointings import Pointings  # noqa: E402
from simulate.skies import Rectangle, source_counts  # noqa: E402
from simulate.task import Simulation, observe  # noqa: E402
from uvstack.errors import UvstackWarning  # noqa: E402
from uvstack.image_stacking.averaging import values_at  # noqa: E402
from uvstack.image_stacking.psf_fit import fit_psf  # noqa: E402
from uvstack.image_stacking.result import ImageStackResult  # noqa: E402
from uvstack.image_stacking.task import image_stack  # noqa: E402
from uvstack.imaging.restore import pixel_directions  # noqa: E402
from uvstack.imaging.result import ImageResult  # noqa: E402
from uvstack.imaging.task import image  # noqa: E402
from uvstack.pixels.grid import Grid, centred_grid  # noqa: E402
from uvstack.pixels.noise import noise_around  # noqa: E402
from uvstack.sky.components import Components, components, concatenate  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MICRO = 1e6
IMAGES = ROOT / "docs" / "images"
HOURS = 9.4
#: Noise of a visibility of 10 s in the paper, Jy.
PAPER_NOISE = 10e-3


def observe_vla(path: Path, sky: Components, *, minutes: float = 2.0, hours: float = HOURS,
                depth: float = 0.0, seed: int = 0, **options) -> Simulation:
    """The paper's VLA track with long integrations; `depth` 1 gives its noise in the map, 0 none."""
    settings = recipe(1).settings | {"sky": sky, "integration": 60 * minutes,
                                     "duration": 3600 * hours,
                                     "noise": depth * PAPER_NOISE * np.sqrt(10 / (60 * minutes)),
                                     "seed": seed}
    return observe(**(settings | options), out=path, overwrite=True)


def scattered(n: int, width: float, flux: float, seed: int, **options) -> Components:
    """Targets of one flux, anywhere in a square around the centre."""
    rng = np.random.default_rng(seed)
    return source_counts("fixed", n, area=Rectangle(*CENTRE, width, width), rng=rng, flux=flux,
                         name="target", target=True, **options)


def pixels_of(grid: Grid, sky: Components) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of all components, with fractions."""
    rows, columns = np.array([grid.pixel_of(ra, dec)
                              for ra, dec in zip(sky.ra, sky.dec, strict=True)]).T
    return columns, rows


def interpolated(plane: np.ndarray, grid: Grid, sky: Components) -> np.ndarray:
    """Brightness of an image at the components' true positions."""
    return values_at(np.ascontiguousarray(plane), *pixels_of(grid, sky), "subpixel")


def nearest(plane: np.ndarray, grid: Grid, sky: Components) -> np.ndarray:
    """Brightness of the pixels that hold the components."""
    columns, rows = (np.rint(x).astype(int) for x in pixels_of(grid, sky))
    return plane[rows, columns]


def around(plane: np.ndarray, grid: Grid, sky: Components, radius: float) -> np.ndarray:
    """Sum of the pixels within `radius` (rad) of each component."""
    found = []
    m, l = np.indices(plane.shape)
    for x, y in zip(*pixels_of(grid, sky), strict=True):
        found.append(plane[np.hypot(m - y, l - x) * grid.geometry.cell_m <= radius].sum())
    return np.array(found)


# ----------------------------------------------------------------------------------------------------- 1 sub-pixel loss


def mean_over_a_pixel(psf: np.ndarray, pixel: float) -> float:
    """Mean of a psf over offsets within a square of `pixel` pixels of its own: what nearest-pixel stamps keep."""
    x = pixel * ((np.arange(40) + 0.5) / 40 - 0.5)
    dx, dy = (a.ravel() for a in np.meshgrid(x, x))
    return float(values_at(np.ascontiguousarray(psf), psf.shape[1] // 2 + dx,
                           psf.shape[0] // 2 + dy, "subpixel").mean())


def subpixel(scratch: Path, _seeds: int) -> None:
    """What nearest-pixel stamps lose: by the real synthesised beam, and in stacks of a simulated set."""
    point = components(*CENTRE, 1.0)
    head("Mean of the synthesised beam over a pixel, VLA A at −30°", "track (h)", "weights",
         "beam (″)", "0.25″", "0.5″", "Gaussian of that beam, 0.25″", "0.5″")
    for hours in (HOURS, 5.5):
        ms = observe_vla(scratch / "track.ms", point, hours=hours)
        for weighting, robust in (("natural", 0.0), ("briggs", 1.0), ("briggs", 0.5),
                                  ("briggs", 0.4), ("briggs", 0.3), ("briggs", 0.0),
                                  ("uniform", 0.0)):
            made = image(ms, size=1440, cell=0.25 * ARCSEC, weighting=weighting,
                         robust=robust if weighting == "briggs" else None, iterations=0)
            major, minor = made.beam.fwhm_major / ARCSEC, made.beam.fwhm_minor / ARCSEC
            row(hours, weighting if weighting != "briggs" else f"robust {robust}",
                f"{major:.2f} × {minor:.2f}",
                *(f"{mean_over_a_pixel(made.psf, k):.4f}" for k in (1, 2)),
                *(f"{gaussian_loss(major, minor, c):.4f}" for c in (0.25, 0.5)))
    row("", "a Gaussian", "3.20 × 1.60", "", "",
        *(f"{gaussian_loss(3.2, 1.6, c):.4f}" for c in (0.25, 0.5)))
    stacks_of_type_1_and_2(scratch)


def gaussian_loss(major: float, minor: float, cell: float) -> float:
    """Mean of a Gaussian beam along the pixels' axes over a pixel."""
    from scipy.special import erf

    c = np.sqrt(4 * np.log(2)) * cell / 2 / np.array([major, minor])
    return float(np.prod(np.sqrt(np.pi) / (2 * c) * erf(c)))


def stacks_of_type_1_and_2(scratch: Path) -> None:
    """Types 1 and 2 with more targets and without noise: bright source deconvolved and subtracted, the rest stacked.

    Targets lie in each other's sidelobes, which raises uv- and image-stack alike; the difference of
    the alignments is free of it.
    """
    sky = concatenate([scattered(100, 5 * ARCMIN, 6e-6, 1),
                       components(*offset(1.3 * ARCMIN, -0.7 * ARCMIN, CENTRE), 10e-3)])
    made = observe_vla(scratch / "type.ms", sky)
    first = image(made, size=1440, cell=0.25 * ARCSEC, weighting="natural", threshold=20e-6,
                  out=scratch / "first", primary_beam="vla")
    uvstack.subtract(made, scratch / "first-model.fits", into="RESIDUAL", overwrite=True)
    uv = uvstack.stack(made, made.targets, column="RESIDUAL", primary_beam="vla")
    head(f"Types 1 and 2, 100 targets of 6 µJy, no noise; bright source cleaned to 20 µJy ({first.n_iterations} iterations); uv-stack "
         f"{uv.flux * MICRO:.4f} µJy", "type", "weights", "sub-pixel (µJy)", "over uv-stack − 1", "nearest (µJy)",
         "1 − (sub-pixel − nearest) / 6 µJy", "predicted from psf and offsets")
    for kind, cell, size in ((1, 0.25, 1440), (2, 0.5, 720)):
        for weighting, robust in (("natural", 0.0), ("briggs", 0.4)):
            image(made, size=size, cell=cell * ARCSEC, weighting=weighting,
                  robust=robust if weighting == "briggs" else None, iterations=0, column="RESIDUAL",
                  primary_beam="vla", out=scratch / "rest", overwrite=True)
            fine, coarse = (image_stack(scratch / "rest-pbcor.fits", made.targets, alignment=a,
                                        psf=scratch / "rest-psf.fits")
                            for a in ("subpixel", "nearest"))
            row(kind, weighting if weighting == "natural" else f"robust {robust}",
                f"{fine.flux * MICRO:.4f}",
                f"{fine.flux / uv.flux - 1:.1e}" if weighting == "natural" else "",
                f"{coarse.flux * MICRO:.4f}", f"{1 - (fine.flux - coarse.flux) / 6e-6:.4f}",
                f"{coarse.peak_response:.4f}")


# ------------------------------------------------------------------------------------------------------------- 2 fluxes


def seven(spacing: float, dwell: int = 3) -> Pointings:
    """A pointing in the middle and six around it."""
    angle = np.deg2rad(60) * np.arange(6)
    places = [CENTRE, *(offset(spacing * np.cos(a), spacing * np.sin(a), CENTRE) for a in angle)]
    ra, dec = np.array(places).T
    return Pointings(tuple(f"f{i}" for i in range(7)), ra, dec, dwell)


def on_pixels(grid: Grid, places: list[tuple[int, int]], flux: np.ndarray) -> Components:
    """Sources in the middles of pixels (row, column)."""
    rows, columns = np.array(places).T
    ra, dec = pixel_directions(rows, columns, grid.geometry, grid.shape)
    return components(ra, dec, flux)


def between_pixels(grid: Grid, places: list[tuple[int, int]], flux: np.ndarray,
                   seed: int = 3) -> Components:
    """Sources anywhere in those pixels."""
    shift = np.random.default_rng(seed).uniform(-0.5, 0.5, (len(places), 2)) * grid.geometry.cell_m
    sky = on_pixels(grid, places, flux)
    moved = [offset(*s, (ra, dec)) for s, ra, dec in zip(shift, sky.ra, sky.dec, strict=True)]
    return components(*np.array(moved).T, flux)


def flux_rows(name: str, made: ImageResult, sky: Components, reach: float) -> None:
    """Largest and rms relative errors of the fluxes of isolated sources."""
    plane = made.image[0] if made.pbcor is None else made.pbcor[0]
    model = around(made.model[0], made.grid, sky, reach)
    if made.model_is == "apparent" and made.response is not None:
        model = model / interpolated(made.response, made.grid, sky)
    errors = [values / sky.flux - 1 for values in (
        nearest(plane, made.grid, sky), interpolated(plane, made.grid, sky), model)]
    row(name, *(f"{1e3 * np.abs(e).max():.3f} ({1e3 * e.mean():+.3f})" for e in errors),
        f"{made.stop_reason}, {made.n_iterations}")


def fluxes(scratch: Path, _seeds: int) -> None:
    """Fluxes of isolated sources without noise."""
    columns = ("sources", "pixel of the restored image", "interpolated at the true position",
               "sum of the model", "stopped, iterations")
    cell = 0.2 * ARCSEC
    grid = centred_grid(*CENTRE, 432, cell)
    places = [(216, 216), (216, 300), (290, 258), (290, 170), (216, 130), (140, 172), (142, 262),
              (250, 216), (180, 240), (300, 300)]
    flux = np.linspace(30e-3, 10e-3, len(places))
    alma = recipe(8).settings | {"pointings": seven(20 * ARCSEC), "noise": 0.0, "integration": 60.0,
                                 "duration": 7 * 12 * 60.0,
                                 "frequency": 230e9 + 1e9 * (np.arange(4) - 1.5)}
    head("Mosaic of 7 ALMA pointings 20″ apart, no noise: largest (and mean) relative error of "
         "pbcor fluxes, 10⁻³", *columns)
    for name, maker in (("on pixels", on_pixels), ("between pixels", between_pixels)):
        sky = maker(grid, places, flux)
        observe(**(alma | {"sky": sky}), out=scratch / "mosaic.ms", overwrite=True)
        for weighting in ("natural", "briggs"):
            for threshold in (1e-4, 1e-5):
                made = image(scratch / "mosaic.ms", size=432, cell=cell, weighting=weighting,
                             threshold=threshold, most_cycles=60, primary_beam="alma",
                             phase_centre=CENTRE)
                flux_rows(f"{name}, {weighting}, threshold {threshold * 1e3:g} mJy", made, sky,
                          3 * made.beam.fwhm_major)
    wide(scratch, columns)


def wide(scratch: Path, columns: tuple[str, ...]) -> None:
    """One pointing of VLA B with sources to 14′, where w turns phases by half a turn."""
    cell, size = 1.0 * ARCSEC, 1800
    grid = centred_grid(*CENTRE, size, cell)
    places = [(900, 900), (900, 1700), (1700, 900), (120, 130), (1650, 1660), (400, 1200),
              (1300, 500), (600, 620)]
    flux = np.linspace(30e-3, 10e-3, len(places))
    head("One pointing, VLA B, sources to 18′ (w-term up to half a turn), no noise: relative "
         "error, 10⁻³", *columns)
    for name, maker in (("on pixels", on_pixels), ("between pixels", between_pixels)):
        sky = maker(grid, places, flux)
        for what, settings, options in (("no beam, 10 channels of 25 MHz",
                                         {"primary_beam": "constant"}, {}),
                                        ("VLA beam, 1 channel", {"frequency": 1.4e9, "width": 25e6},
                                         {"primary_beam": "vla"}),
                                        ("VLA beam, 10 channels", {}, {"primary_beam": "vla"}),
                                        ("VLA beam, 10 channels, 2 Taylor terms", {},
                                         {"primary_beam": "vla", "terms": 2})):
            ms = observe_vla(scratch / "wide.ms", sky, minutes=10, array="vla.b", **settings)
            made = image(ms, size=size, cell=cell, weighting="natural", threshold=1e-4,
                         most_cycles=60, **options)
            flux_rows(f"{name}, {what}", made, sky, 3 * made.beam.fwhm_major)


# -------------------------------------------------------------------------------------------------------------- 3 noise


def isolated(seed: int, n: int, spacing: float, flux: float) -> Components:
    """n × n sources on a loose grid, no two nearer than 0.6 spacings, with fluxes of 1 to 2 times `flux`."""
    rng = np.random.default_rng(seed)
    x, y = (a.ravel() * spacing
            for a in np.meshgrid(np.arange(n) - (n - 1) / 2, np.arange(n) - (n - 1) / 2))
    x, y = x + rng.uniform(-0.2, 0.2, x.size) * spacing, y + rng.uniform(-0.2, 0.2,
                                                                         x.size) * spacing
    places = [offset(a, b, CENTRE) for a, b in zip(x, y, strict=True)]
    return components(*np.array(places).T, flux * rng.uniform(1, 2, x.size))


def noise(scratch: Path, seeds: int) -> None:
    """Pulls of the fluxes of isolated sources in noise."""
    cell, size = 4 * ARCSEC, 720
    sigma = 20e-3 / np.sqrt(351 * 20 * 3 * 2)
    cleans = {"restored, threshold 4 σ": {"threshold_sigma": 4.0},
              "restored, 2 σ": {"threshold_sigma": 2.0},
              "restored, 2 σ, automatic mask": {"threshold_sigma": 2.0, "auto_mask": True}}
    pulls: dict[str, list[np.ndarray]] = {name: []
                                          for name in ("dirty, less the sidelobes of the others",
                                                       *cleans)}
    ratios: dict[str, list[float]] = {name: [] for name in pulls}
    for seed in range(seeds):
        sky = isolated(seed, 7, 200 * ARCSEC, 15 * sigma)
        ms = observe_vla(scratch / "noise.ms", sky, minutes=12, hours=4, array="vla.c", noise=20e-3,
                         seed=seed, primary_beam="constant",
                         frequency=np.array([1.3, 1.4, 1.5]) * u.GHz)
        for name in pulls:
            options = cleans.get(name, {"iterations": 0})
            made = image(ms, size=size, cell=cell, weighting="briggs", robust=0.5, most_cycles=30,
                         **options)
            x, y = pixels_of(made.grid, sky)
            local = noise_around(np.ascontiguousarray(made.residual[0]), x, y, 100,
                                 made.beam.fwhm_major / cell)
            if name in cleans:
                error = interpolated(made.image[0], made.grid, sky) - sky.flux
            else:
                error = interpolated(made.dirty[0], made.grid, sky) - expected_dirty(sky, made)
                local = np.full(len(sky), made.noise_expected)
            pulls[name].append(error / local)
            ratios[name].append(float(np.mean(local)) / made.noise_expected)
    head(f"Pulls of 49 sources of 15 to 30 σ in each of {seeds} sets", "flux", "mean pull", "width",
         "local noise / that of the weights")
    for name, found in pulls.items():
        one = np.concatenate(found)
        n = np.sqrt(one.size)
        row(name, f"{one.mean():+.3f} ± {one.std() / n:.3f}",
            f"{one.std():.3f} ± {one.std() / n / np.sqrt(2):.3f}", f"{np.mean(ratios[name]):.3f}")


def expected_dirty(sky: Components, made: ImageResult) -> np.ndarray:
    """What the psf makes of all sources at the places of each, Jy/beam; no two are farther apart than half the image."""
    x, y = pixels_of(made.grid, sky)
    dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
    middle = made.psf.shape[0] // 2
    found = values_at(np.ascontiguousarray(made.psf), (middle + dx).ravel(), (middle + dy).ravel(),
                      "subpixel")
    return found.reshape(dx.shape) @ sky.flux


# -------------------------------------------------------------------------------------------------------- 4 subtraction


def subtraction(scratch: Path, _seeds: int) -> None:
    """What a perfect model leaves, as a list, an image and a column."""
    cell = 1.6 * ARCSEC
    grid = centred_grid(*CENTRE, 1120, cell)
    places = [(560, 560), (560, 1060), (1060, 560), (80, 85), (1040, 1045), (250, 750), (820, 310)]
    sky = on_pixels(grid, places, np.linspace(1.0, 0.1, len(places)))
    head("What a perfect model leaves of the brightest source, 1 Jy; sources to 14′, VLA B",
         "primary beam", "model", "largest |visibility| (Jy)",
         "largest pixel of the dirty image (Jy/beam)")
    for beam in ("constant", "vla"):
        made = observe_vla(scratch / "model.ms", sky, minutes=10, array="vla.b", primary_beam=beam,
                           with_model=True)
        through = None if beam == "constant" else beam
        sky.to_table().write(scratch / "list.ecsv", overwrite=True)
        plane = np.zeros(grid.shape)
        plane[tuple(np.array(places).T)] = sky.flux
        write_model(scratch / "model.fits", plane, grid)
        for name, model in (("list of components", scratch / "list.ecsv"),
                            ("image", scratch / "model.fits"), ("column", "MODEL_DATA")):
            uvstack.subtract(made, model, into="LEFT", overwrite=True,
                             primary_beam=None if name == "column" else through)
            left = image(made, size=1120, cell=cell, column="LEFT", iterations=0,
                         weighting="natural")
            row(beam, name, f"{np.abs(read(made.ms, 'LEFT')).max():.1e}",
                f"{np.abs(left.dirty).max():.1e}")


def write_model(path: Path, plane: np.ndarray, grid: Grid) -> None:
    """A FITS image in Jy/pixel."""
    from uvstack.io.fits import sin_wcs, write_image

    where = grid.geometry
    write_image(path, plane, sin_wcs(where.ra, where.dec, grid.shape, where.cell_m),
                unit="Jy/pixel", frequency=1.4e9,)


# -------------------------------------------------------------------------------------------------------------- 5 sizes


def sizes(scratch: Path, seeds: int) -> None:
    """Flux and size of stacked sources of 1.5″ by PSF fitting."""
    width, flux, n = 5 * ARCMIN, 20e-6, 60
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for seed in range(seeds):
        sky = scattered(n, width, flux, seed, fwhm=1.5 * ARCSEC)
        made = observe_vla(scratch / "sizes.ms", sky, minutes=6, depth=1.0, seed=seed)
        for weighting, cell in (("natural", 0.5), ("natural", 0.25), ("briggs", 0.25)):
            image(made, size=round(360 / cell), cell=cell * ARCSEC, weighting=weighting,
                  robust=0.5 if weighting == "briggs" else None, iterations=0, primary_beam="vla",
                  out=scratch / "sizes", overwrite=True)
            for alignment in ("subpixel", "nearest"):
                stack = image_stack(scratch / "sizes-pbcor.fits", made.targets, alignment=alignment,
                                    psf=scratch / "sizes-psf.fits", weights="primary-beam",
                                    primary_beam="vla")
                fitted = fit_psf(stack.stamp, stack.psf, stack.cell)
                found.setdefault(f"{weighting} | {cell}″ | {alignment}", []).append(
                    (fitted.flux, fitted.flux_error, fitted.moments[0],
                     np.sqrt(fitted.moments_covariance[0, 0])))
    true = (1.5 * ARCSEC) ** 2 / (8 * np.log(2))
    head(f"PSF fits to stacks of {n} Gaussians of 20 µJy and 1.5″, {seeds} sets", "weights",
         "pixel", "alignment", "flux (µJy)", "pull: mean", "width", "FWHM of the mean moment (″)",
         "its error for one stack (″)", "pull of the moment: mean", "width")
    for name, rows in found.items():
        f, fe, v, ve = np.array(rows).T
        pull_f, pull_v = (f - flux) / fe, (v - true) / ve
        size = np.sqrt(8 * np.log(2) * v.mean()) / ARCSEC
        row(name, f"{f.mean() * MICRO:.2f} ± {f.std(ddof=1) / np.sqrt(seeds) * MICRO:.2f}",
            f"{pull_f.mean():+.2f}", f"{pull_f.std(ddof=1):.2f}", f"{size:.3f}",
            f"{4 * np.log(2) * ve.mean() / ARCSEC**2 / size:.3f}", f"{pull_v.mean():+.2f}",
            f"{pull_v.std(ddof=1):.2f}")


# ---------------------------------------------------------------------------------------------- 6 the published example


def stacked(scratch: Path, _seeds: int) -> None:
    """The stacked set of the published example seen by `uvstack.image`."""
    data = ROOT.parent / "shared" / "data"
    if not (data / "stacker_testdata.ms").is_dir():
        print(f"\nthe published example: no folder {data}; left out")
        return
    flux = uvstack.stack(data / "stacker_testdata.ms", data / "stacker_testdata_positions.csv",
                         out=scratch / "stacked.ms").flux
    head(f"The stacked published example, {flux * MICRO:.4f} µJy, imaged with natural weights",
         "pixels", "centre (µJy/beam)", "over the flux − 1")
    for size, cell in ((1024, 0.25), (256, 0.25), (360, 0.4)):
        made = image(scratch / "stacked.ms", size=size, cell=cell * ARCSEC, weighting="natural",
                     iterations=0)
        centre = made.dirty[0][size // 2, size // 2]
        row(f"{size}² of {cell}″", f"{centre * MICRO:.4f}", f"{centre / flux - 1:.1e}")


# ------------------------------------------------------------------------------------------------------------ 7 methods


def small_type(kind: int, seed: int, width: float = 10 * ARCMIN) -> Components:
    """Sky of type 5 or 6 on a smaller field, as dense as the paper's."""
    rng, area = np.random.default_rng([seed, kind]), Rectangle(*CENTRE, width, width)
    share = (width / (30 * ARCMIN)) ** 2
    bright = source_counts("bondi2008", round(417 * share), area=area, rng=rng, name="bright",
                           flux_range=(lower_limit("bondi2008", 417, (30 * ARCMIN) ** 2), 1.0),
                           fwhm=(0.5 * ARCSEC, 5 * ARCSEC) if kind == 6 else 0.0)
    targets = source_counts("schechter", round(900 * share), area=area, rng=rng, name="target",
                            target=True)
    return concatenate([bright, targets])


def methods(scratch: Path, seeds: int) -> None:
    """Ways to stack the images of small sets of type 5."""
    ways = {"mean, equal": {}, "mean, local noise": {"weights": "local-noise"},
            "mean, primary beam": {"weights": "primary-beam", "primary_beam": "vla"},
            "median": {"method": "median"}, "clipped mean, 3 σ": {"method": "clipped-mean"},
            "mean, local noise, nearest": {"weights": "local-noise", "alignment": "nearest"},
            "the same, without 3 × 3": {"weights": "local-noise", "alignment": "nearest",
                                        "low_filter": "3pixels", "stamp": 128}}
    found: dict[str, list[tuple[float, ...]]] = {name: []
                                                 for name in (*ways, "uv-stack, all",
                                                              "uv-stack, from 5 km")}
    for seed in range(seeds):
        sky = small_type(5, seed)
        truth = sky.flux[sky.target].mean()
        made = observe_vla(scratch / "five.ms", sky, minutes=6, depth=1.0, seed=seed)
        options = {"size": 1280, "cell": 0.5 * ARCSEC, "weighting": "natural",
                   "primary_beam": "vla", "overwrite": True}
        image(made, threshold=50e-6, out=scratch / "clean", **options)
        uvstack.subtract(made, scratch / "clean-model.fits", into="RESIDUAL", overwrite=True)
        image(made, column="RESIDUAL", iterations=0, out=scratch / "rest", **options)
        for name, how in ways.items():
            r = image_stack(scratch / "rest-pbcor.fits", made.targets,
                            psf=scratch / "rest-psf.fits", random=100, seed=seed, **how)
            found[name].append((r.flux - truth, r.flux_error, r.flux_error_expected, r.random_error,
                                r.peak_response))
        for name, uvmin in (("uv-stack, all", None), ("uv-stack, from 5 km", "5km")):
            r = uvstack.stack(made, made.targets, column="RESIDUAL", primary_beam="vla",
                              weights="primary-beam", uvmin=uvmin)
            found[name].append((r.flux - truth, r.flux_error, r.flux_error_expected, np.nan, 1.0))
    head(f"Small type 5 (10′, 46 bright sources, 100 targets of 1 µJy on average), {seeds} sets",
         "method", "flux − truth (µJy)", "scatter (µJy)", "stated: off-centre", "equation 7",
         "random positions", "peak response")
    for name, rows in found.items():
        off, *stated, response = np.array(rows).T
        row(name, f"{off.mean() * MICRO:+.3f} ± {off.std(ddof=1) / np.sqrt(seeds) * MICRO:.3f}",
            f"{off.std(ddof=1) * MICRO:.3f}", *(f"{e.mean() * MICRO:.3f}" for e in stated),
            f"{response.mean():.3f}")


# ------------------------------------------------------------------------------------------------------------- 8 filter


def low_filter(scratch: Path, _seeds: int) -> None:
    """What the filter of section 5.4 does to a point source and to an extended component."""
    targets = scattered(40, 4 * ARCMIN, 6e-6, 8)
    head("Stamps of 256 pixels of 0.25″, VLA A, natural weights: effect of the filter on stacks of "
         "40 points of 6 µJy", "filter", "points (µJy)",
         "points and Gaussians of 60 µJy, 20″ (µJy)", "level that the Gaussians add (µJy)",
         "predicted peak of a point of 6 µJy by the psf (µJy)")
    clouds = components(targets.ra, targets.dec, 60e-6, fwhm_major=20 * ARCSEC)
    stacks = {}
    for name, sky in (("points", targets), ("both", concatenate([targets, clouds]))):
        made = observe_vla(scratch / "filter.ms", sky, primary_beam="constant")
        image(made, size=1536, cell=0.25 * ARCSEC, weighting="natural", iterations=0,
              out=scratch / name)
        for low in (None, "1pixels", "3pixels", "4834lambda", "5pixels", "5km"):
            stacks[name, low] = image_stack(scratch / f"{name}-dirty.fits", made.targets, stamp=256,
                                            low_filter=low, psf=scratch / f"{name}-psf.fits")
    for name, low in stacks:
        if name == "points":
            one, two = stacks["points", low], stacks["both", low]
            row(low or "none", f"{one.flux * MICRO:.3f}", f"{two.flux * MICRO:.3f}",
                f"{(two.flux - one.flux) * MICRO:+.3f}", f"{6 * one.peak_response:.3f}")


# ------------------------------------------------------------------------------------------------------------- pictures


def pictures(scratch: Path, _seeds: int) -> None:
    """`imaging_example.png` and `image_stack_example.png` of `docs/images`: a small type 6 with targets of 6 µJy."""
    sky = small_type(6, 4, 6 * ARCMIN)
    sky = concatenate([sky.subset(~sky.target), scattered(50, 5 * ARCMIN, 6e-6, 4)])
    ms = observe_vla(scratch / "six.ms", sky, minutes=5, depth=1.0, seed=4)
    options = {"size": 800, "cell": 0.5 * ARCSEC, "weighting": "briggs", "robust": 0.5,
               "primary_beam": "vla"}
    made = image(ms, deconvolver="multiscale", scales=(0, 4, 10), auto_mask=True, threshold=8e-6,
                 out=scratch / "clean", **options)
    draw_imaging(made)
    uvstack.subtract(ms, scratch / "clean-model.fits", into="RESIDUAL")
    image(ms, column="RESIDUAL", iterations=0, out=scratch / "rest", **options)
    ways: dict[str, dict[str, Any]] = {"mean, sub-pixel": {},
                                       "mean, nearest pixel": {"alignment": "nearest"},
                                       "median": {"method": "median"},
                                       "without 3 × 3 pixels": {"low_filter": "3pixels"}}
    stacks = {name: image_stack(scratch / "rest-pbcor.fits", ms.targets, weights="local-noise",
                                psf=scratch / "rest-psf.fits", **how) for name, how in ways.items()}
    head("The picture of image-stacking: 50 targets of 6 µJy", "stack", "flux (µJy)",
         "peak response")
    for name, r in stacks.items():
        row(name, f"{r.flux * MICRO:.2f} ± {r.flux_error * MICRO:.2f}", f"{r.peak_response:.3f}")
    draw_stacks(stacks)


def draw_imaging(made: ImageResult) -> None:
    """Part of the restored image and of the residual, and the middle of the psf."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.4), layout="constrained")
    axes = figure.subplots(1, 3)
    cell, n = made.grid.geometry.cell_m / ARCSEC, made.grid.shape[0]
    for axis, title, plane, size, (low, high), colours in (
            (axes[0], "restored image", made.image[0] * MICRO, 440, (-10, 60), "inferno"),
            (axes[1], "residual", made.residual[0] * MICRO, 440, (-12, 12), "RdBu_r"),
            (axes[2], "psf", made.psf, 80, (-0.1, 0.6), "inferno")):
        cut, half = slice(n // 2 - size // 2, n // 2 + size // 2), size / 2 * cell
        shown = axis.imshow(plane[cut, cut], origin="lower", extent=(half, -half, -half, half),
                            vmin=low, vmax=high, cmap=colours)
        axis.set(title=title, xlabel="l (arcsec)")
        figure.colorbar(shown, ax=axis, label="" if title == "psf" else "µJy/beam", shrink=0.85)
    axes[0].set_ylabel("m (arcsec)")
    save_small(figure, "imaging_example.png")


def draw_stacks(stacks: dict[str, ImageStackResult]) -> None:
    """Stamps beside each other in one scale of colours, and the stacked psf."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 3.2), layout="constrained")
    axes = figure.subplots(1, len(stacks) + 1, sharey=True)
    first = next(iter(stacks.values()))
    half = 0.5 * first.stamp.shape[0] * first.cell / ARCSEC
    top = first.flux * MICRO
    for axis, (name, r) in zip(axes, stacks.items(), strict=False):
        shown = axis.imshow(r.stamp * MICRO, origin="lower", extent=(half, -half, -half, half),
                            vmin=-0.25 * top, vmax=top, cmap="inferno")
        axis.set(title=f"{name}\n{r.flux * MICRO:.2f} ± {r.flux_error * MICRO:.2f} µJy",
                 xlabel="l (arcsec)")
    figure.colorbar(shown, ax=axes[:-1], label="µJy/beam", shrink=0.85)
    n = first.stamp.shape[0] // 2
    middle = first.psf.shape[0] // 2
    axes[-1].imshow(first.psf[middle - n : middle + n, middle - n : middle + n], origin="lower",
                    extent=(half, -half, -half, half), vmin=-0.25, vmax=1.0, cmap="inferno")
    axes[-1].set(title="stacked psf", xlabel="l (arcsec)")
    axes[0].set_ylabel("m (arcsec)")
    save_small(figure, "image_stack_example.png")


def save_small(figure: Figure, name: str) -> None:
    """A picture in 160 colours: noise in full colour does not compress."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=70)
    Image.open(buffer).convert("RGB").quantize(160, Image.Quantize.MAXCOVERAGE,
                                               dither=Image.Dither.NONE).save(
        IMAGES / name, optimize=True)


SECTIONS: dict[str, Callable[[Path, int], None]] = {"subpixel": subpixel, "fluxes": fluxes,
                                                    "noise": noise, "subtraction": subtraction,
                                                    "sizes": sizes, "stacked": stacked,
                                                    "methods": methods, "filter": low_filter,
                                                    "pictures": pictures}


def main() -> None:
    """Run the sections that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="*",
                        default=[name for name in SECTIONS if name != "pictures"],
                        choices=list(SECTIONS))
    parser.add_argument("--seeds", type=int, default=30,
                        help="simulated sets of the sections on noise, sizes and methods")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UvstackWarning)
    for name in options.sections:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            SECTIONS[name](Path(folder), options.seeds)


if __name__ == "__main__":
    main()
