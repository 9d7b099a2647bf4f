"""The simulations of Rau, Naik & Braun (2019) for the scripts that measure, time and draw joint deconvolution."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from simulate.rau import CASES, CELL, CENTRE, FREQUENCY, observe_joint, true_images
from simulate.restored_sky import image_grid, wcs_of
from uvstack.constants import ARCMIN, ARCSEC
from uvstack.io.fits import write_image
from uvstack.sky.beam import Beam

#: As section 6 has them; 1000 iterations, 200 of them in a cycle.
SCALES, ITERATIONS, CYCLE = (0, 12, 20, 40, 60, 80, 100), 1000, 200
#: The paper's one mask for all runs: where the sky in a beam of 50″ is above 1 mJy.
MASK_BEAM, MASK_LEVEL = 50.0 * ARCSEC, 1e-3
#: Parts of the extended emission's peak above which errors are told.
BRIGHT, FAINT = 0.5, 0.1
#: East and north of the centre, arcmin, and spectral indices.
POINTS = {"east": (24.0, 1.0, -1.0), "middle": (2.0, -6.0, -1.0), "west": (-16.0, 4.0, 0.0)}


def files_of(folder: Path, name: str) -> tuple[Path, Path]:
    """Measurement set and dish's cube of a case; made where they are not there."""
    ms = folder / f"{name}.ms"
    if not ms.exists():
        folder.mkdir(parents=True, exist_ok=True)
        observe_joint(name, out=ms)
    return ms, folder / f"{name}-dish.fits"


def mask_of(folder: Path, name: str) -> Path:
    """The mask of a case, FITS."""
    size = CASES[name].size
    path = folder / f"mask-{size}.fits"
    if not path.exists():
        sky, _ = true_images(Beam(MASK_BEAM, MASK_BEAM, 0.0), FREQUENCY[1], size)
        shape, geometry = image_grid(CENTRE, size, CELL)
        write_image(path, (sky > MASK_LEVEL).astype(float), wcs_of(geometry, shape), unit="",
                    frequency=FREQUENCY[1])
    return path


def options_of(name: str, mask: Path | None) -> dict[str, Any]:
    """Keyword arguments of `uvstack.sdint` for two terms."""
    case = CASES[name]
    beam = {} if case.primary_beam == "constant" else {"primary_beam": case.primary_beam}
    return {"size": case.size, "cell": CELL, "weighting": "natural", "terms": 2, "scales": SCALES,
            "iterations": ITERATIONS, "cycle_iterations": CYCLE, "most_cycles": 1000,
            "threshold": 1e-12, "mask": mask, "reference_frequency": FREQUENCY[1],
            "phase_centre": CENTRE, "threads": 1, **beam}


def errors_of(intensity: np.ndarray, slope: np.ndarray | None, beam: Beam,
              frequency: float = FREQUENCY[1]) -> dict[str, float]:
    """Errors of an image (m, l) Jy/beam and its term 1, with the beam that it has, against the sky.

    Over the extended emission without what is near a point: ratio of fluxes, rms of the relative
    error, error of the brightest pixel, rms and mean of the error of the spectral index, above half
    of the peak (and with _faint above a tenth); of the points, mean error of flux and index; noise
    off the emission, Jy/beam.
    """
    size = intensity.shape[0]
    truth, index = true_images(beam, frequency, size)
    y, x = np.indices(intensity.shape)
    near = np.zeros(intensity.shape, bool)
    at = []
    for east, north, _ in POINTS.values():
        column, row = (size // 2 + sign * one * ARCMIN / CELL
                       for sign, one in ((-1, east), (1, north)))
        near |= np.hypot(x - column, y - row) < 2.5 * beam.fwhm_major / CELL
        at.append((round(row), round(column)))
    known = np.isfinite(intensity) & ~near
    peak = truth[known].max()
    alpha = np.full(intensity.shape, np.nan) if slope is None else slope / intensity
    found: dict[str, float] = {}
    for part, end in ((BRIGHT, ""), (FAINT, "_faint")):
        seen = known & (truth > part * peak)
        rest = (intensity - truth)[seen] / truth[seen]
        found |= {f"flux{end}": intensity[seen].sum() / truth[seen].sum(),
                  f"rms{end}": np.sqrt(np.mean(rest**2)),
                  f"alpha{end}": np.sqrt(np.mean((alpha - index)[seen] ** 2)),
                  f"alpha_bias{end}": np.average((alpha - index)[seen], weights=truth[seen])}
    brightest = np.unravel_index(np.argmax(np.where(known, truth, 0.0)), truth.shape)
    top = known & (truth > BRIGHT * peak) & (y > size // 2)
    found |= {"peak": intensity[brightest] / truth[brightest] - 1.0,
              "alpha_top": float(np.median(alpha[top])),
              "points": float(np.mean([intensity[p] / truth[p] - 1.0 for p in at])),
              "alpha_points": float(np.mean([alpha[p] - index[p] for p in at]))}
    empty = np.isfinite(intensity) & (truth < 1e-4) & ~near
    found["noise"] = float(intensity[empty].std()) if empty.any() else float("nan")
    return {name: float(value) for name, value in found.items()}


def cpu_seconds() -> float:
    """Of this process and of those that it waited for."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system
