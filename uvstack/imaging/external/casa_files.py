"""Images by CASA's tclean: our request as its arguments, its images as our arrays.

CASA runs in a Python of its own, in the folder of temporary files: there it leaves its logs and
*.last files, and its global state does not meet ours. tclean is called twice: for the dirty image
and psf, which are then on hand, and to go on from there. Where the phase of the w term reaches a
tenth of a turn at a corner, the gridder is "wproject" with as many planes as CASA thinks right,
else "standard". The parts of a polarisation that are flagged in one hand alone are kept
("pseudoI"), as we do.

Limits of uv distance in wavelengths select whole rows in CASA, so metres are wanted; scales are
whole pixels; frequencies are converted to the local standard of rest, so positions scale by up to
1e-4 of their distance from the centre.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from astropy.time import Time

from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.errors import ImageError, MissingDependencyError, NoDataError
from uvstack.imaging.external.request import ExternalImages, ExternalRequest, failure, run_program
from uvstack.io.casa import open_table
from uvstack.io.casa_import import cannot_start, site_settings
from uvstack.pixels.psf import fit_beam
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import direction_cosines

#: Turns of phase by the w term at a corner of the image from which on it is not neglected.
_W_MATTERS = 0.1
#: tclean's stopcode → our stop reason.
_STOP = {1: "iterations used up", 2: "threshold reached", 3: "cycles used up", 4: "no progress",
         5: "diverged", 6: "diverged", 7: "nothing in the mask", 8: "threshold in σ reached",
         9: "cycles used up"}
_ROWS = 1_000_000
#: Exit status of the program where CASA cannot be imported.
CANNOT_START = 3


def check_casa(request: ExternalRequest) -> None:
    """Refuse what CASA has no equal for.

    Raises
    ------
    ImageError, SelectionError
        With what to use instead.
    MissingDependencyError
        casatasks is not installed.
    """
    settings = request.settings
    column = request.data_column("CASA")
    request.polarisation("CASA")
    if column not in ("DATA", "CORRECTED_DATA"):
        raise ImageError(f"CASA images DATA or CORRECTED_DATA, not {column}; copy it to "
                         "CORRECTED_DATA, or use --imager wsclean or our own")
    if column == "CORRECTED_DATA" and any(column not in s.columns for s in request.structures):
        raise ImageError("CASA takes DATA where CORRECTED_DATA is not in every set; use our own "
                         "imager")
    if settings.negative != "allow":
        raise ImageError("CASA cleans negative peaks too; use --imager wsclean or our own to "
                         "leave them out")
    if settings.automask is not None and request.mask is not None:
        raise ImageError("CASA takes a mask or makes one, not one within the other; leave one "
                         "out, or use our own imager")
    if request.uv_range.unit != "m" and str(request.uv_range) != "all":
        raise ImageError("CASA's limits in wavelengths select whole rows; give uvmin and uvmax in "
                         "metres, such as 300m")
    if any(float(s) != int(s) for s in settings.scales):
        raise ImageError(f"CASA takes scales of whole pixels; found are {settings.scales}")
    if importlib.util.find_spec("casatasks") is None:
        raise MissingDependencyError("casatasks is not installed; pip install 'uvstack[casa]', or "
                                     "use our own imager")


def casa_images(request: ExternalRequest, folder: Path) -> ExternalImages:
    """Images by CASA; `folder` is empty and takes all that it writes.

    Raises
    ------
    ImageError
        tclean fails; the message has what it says.
    MissingDependencyError
        It cannot start: its tables of measures are missing.
    NoDataError
        It finds no visibility.
    """
    dirty, clean = _arguments(request)
    if request.mask is not None:
        np.save(folder / "mask.npy", request.mask)
    (folder / "request.json").write_text(json.dumps({"dirty": dirty, "clean": clean,
                                                     "terms": request.terms,
                                                     "mask": request.mask is not None}),
                                         encoding="utf-8")
    # A copy, for the folder that a program lies in comes first where Python looks for modules: ours
    # have names that CASA imports too.
    program = Path(shutil.copy(Path(__file__).with_name("casa_program.py"), folder))
    status, output = run_program([sys.executable, program.name, "request.json"], folder,
                                 _environment(folder, request.threads))
    if status == CANNOT_START:
        raise cannot_start(_telling(output))
    if status != 0 or not (folder / "result.json").is_file():
        raise failure("CASA", status, _telling(output))
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    with np.load(folder / "result.npz") as stored:
        planes = {name: stored[name].astype(np.float64) for name in stored}
    if not planes["psf"].any():
        raise NoDataError("CASA finds no visibility to image: is everything flagged, or outside "
                          "the limits of uv distance?")
    if planes["dirty"].shape[1:] != request.grid.shape:
        raise ImageError(f"CASA gave images of {planes['dirty'].shape[1:]} for "
                         f"{request.grid.shape}; please report this")
    major, minor, angle = np.deg2rad(found["beam"]) if found["beam"] else fit_beam(
        planes["psf"][0], request.grid.geometry.cell_m)
    calls = "; ".join(f"tclean({', '.join(f'{k}={v!r}' for k, v in call.items())})"
                      for call in (dirty, clean) if call)
    return ExternalImages(**{name: planes[name]
                             for name in ("dirty", "psf", "residual", "model", "image")},
                          beam=Beam(float(major), float(minor),
                                    float((angle + np.pi / 2) % np.pi - np.pi / 2)),
                          reference_frequency=request.reference_frequency or found["frequency"],
                          n_iterations=found["iterations"], n_cycles=found["cycles"],
                          stop_reason=_stop_reason(request, found),
                          version=f"CASA {found['version']}", command=calls,
                          alpha=planes.get("alpha"), alpha_error=planes.get("alpha_error"))


def _stop_reason(request: ExternalRequest, found: dict[str, Any]) -> str:
    if not request.cleans:
        return "no iteration asked for" if request.settings.most_iterations == 0 else "cycles used up"
    return _STOP.get(found["stop"], "no progress")


def _arguments(request: ExternalRequest) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Arguments of both calls of tclean; the second is None for a dirty image alone."""
    grid, settings, weighting, n = request.grid, request.settings, request.weighting, len(
        request.structures)
    where, cell = grid.geometry, f"{grid.geometry.cell_m / ARCSEC!r}arcsec"
    windows = [request.window_ids(i) for i in range(n)]
    wide = _w_turns(request) > _W_MATTERS
    shared: dict[str, Any] = {"vis": [str(Path(s.path).resolve()) for s in request.structures],
                              "imagename": "out",
                              "field": [",".join(map(str, request.field_ids(i))) for i in range(n)],
                              "spw": ["" if w is None else ",".join(map(str, w)) for w in windows],
                              "timerange": [_times(s.time_ranges) for s in request.selections],
                              "uvrange": _uv_range(request),
                              "datacolumn": "data" if request.data_column("CASA") == "DATA" else "corrected",
                              "imsize": [grid.shape[1], grid.shape[0]], "cell": [cell, cell],
                              "phasecenter": f"J2000 {where.ra!r}rad {where.dec!r}rad",
                              "stokes": {"I": "pseudoI"}.get(request.polarisation("CASA"),
                                                             request.polarisation("CASA")),
                              "specmode": "mfs",
                              "reffreq": f"{request.reference_frequency!r}Hz" if request.reference_frequency else "",
                              "gridder": "wproject" if wide else "standard",
                              "wprojplanes": -1 if wide else 1, "pblimit": -0.1,
                              "deconvolver": settings.algorithm, "nterms": request.terms,
                              "scales": [int(s) for s in settings.scales],
                              "smallscalebias": float(settings.scale_bias),
                              "weighting": weighting.kind, "robust": float(weighting.robust),
                              "uvtaper": _taper(weighting.uvtaper), "savemodel": "none",
                              "interactive": False}
    dirty = shared | {"niter": 0, "restoration": not request.cleans}
    if not request.cleans:
        return dirty, None
    clean = shared | {"calcpsf": False, "calcres": False, "niter": int(settings.most_iterations),
                      "nmajor": int(settings.most_cycles), "gain": float(settings.gain),
                      "threshold": f"{float(settings.threshold)!r}Jy",
                      "nsigma": float(settings.threshold_sigma),
                      "cyclefactor": float(settings.cycle_factor),
                      "cycleniter": settings.iterations_per_cycle or -1, "usemask": "user"}
    if request.mask is not None:
        clean["mask"] = "allowed.image"
    if (auto := settings.automask) is not None:
        clean |= {"usemask": "auto-multithresh", "noisethreshold": auto.sigma,
                  "lownoisethreshold": auto.grow_sigma, "sidelobethreshold": auto.sidelobe_factor,
                  "negativethreshold": auto.negative_sigma, "smoothfactor": auto.smooth,
                  "minbeamfrac": auto.smallest, "cutthreshold": auto.cut,
                  "growiterations": auto.grow_steps}
    return dirty, clean


def _taper(uvtaper: Any) -> list[str]:
    parts = np.ravel(uvtaper)
    if not parts[0] > 0:
        return []
    angles = [f"{float(x) / ARCSEC!r}arcsec" for x in parts[:2]]
    return angles + ([f"{float(np.rad2deg(parts[2]))!r}deg"] if parts.size > 1 else [])


def _uv_range(request: ExternalRequest) -> str:
    low, high = float(request.uv_range.minimum), float(request.uv_range.maximum)
    if low <= 0 and not np.isfinite(high):
        return ""
    return f">{low!r}m" if not np.isfinite(high) else f"<{high!r}m" if low <= 0 else f"{low!r}~{high!r}m"


def _times(ranges: tuple[tuple[float, float], ...]) -> str:
    """CASA's timerange of limits in MJD seconds, UTC."""
    def text(seconds: float) -> str:
        return Time(seconds / 86400.0, format="mjd", scale="utc").strftime("%Y/%m/%d/%H:%M:%S.%f")

    return ",".join(f">{text(a)}" if np.isinf(b) else f"<{text(b)}" if np.isinf(a)
                    else f"{text(a)}~{text(b)}" for a, b in ranges)


def _w_turns(request: ExternalRequest) -> float:
    """Turns of phase that the largest |w| of the selected rows makes at a corner of the image."""
    grid, longest = request.grid, 0.0
    square = np.abs(grid.l).max() ** 2 + np.abs(grid.m).max() ** 2
    one_minus_n = square / (1.0 + np.sqrt(1.0 - square))
    for i, (structure, selection) in enumerate(zip(request.structures, request.selections,
                                                   strict=True)):
        highest = max(float(d.spw.frequency.max()) for d in structure.used(selection))
        # Moved to the middle of the image, w takes on a part of u and v.
        moved = max(float(np.hypot(*direction_cosines(*request.centres[i, f][:2], grid.geometry.ra,
                                                      grid.geometry.dec)[:2]))
                    for f in selection.field_ids)
        with open_table(structure.path) as table:
            for start in range(0, structure.n_rows, _ROWS):
                n = min(_ROWS, structure.n_rows - start)
                here = np.isin(table.read("FIELD_ID", start, n), list(selection.field_ids))
                uvw = np.abs(table.read("UVW", start, n)[here])
                reach = uvw[:, 2] + moved * np.hypot(uvw[:, 0], uvw[:, 1])
                longest = max(longest, float(reach.max(initial=0.0)) * highest / SPEED_OF_LIGHT)
    return float(longest * one_minus_n)


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """Variables for CASA: threads, and where the measures are if it has never been set up for this user."""
    # Threads that wait by spinning double the time of the processors: 17 s, 8 s without, for a
    # clean of 200 pixels with two.
    variables = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE",
                 "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return variables | site_settings(folder)


def _telling(output: str) -> str:
    """The line that says what went wrong.

    The last of the program itself, else the last of severe messages, else the last.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for mark in ("uvstack:", "SEVERE", "Error"):
        said = [line.split(mark, 1)[1] if mark != "Error" else line for line in lines
                if mark in line]
        if said:
            return said[-1]
    return lines[-1] if lines else ""
