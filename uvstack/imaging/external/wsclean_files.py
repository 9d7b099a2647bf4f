"""Images by WSClean (Offringa et al. 2014, MNRAS 444, 606).

Our request as its command line, its FITS files as our arrays.

Its w-gridder is ducc0's, run at 1e-6, with no padding and at the full resolution of the grid, so
that an image is exact to its edges and the cells of Briggs weights are those of the image (by
default they are those of an image 1.2 times as wide). The set is reordered into the folder of
temporary files: read directly, it would get the model of each major cycle as a column, with
`-no-update-model-required` or not. WSClean is told beforehand how deep minor cycles go (mgain) and
diverges where that is below the sidelobes of the psf, so it is run twice: for the dirty image and
psf, and to go on from there with a mgain that our rule (`uvstack.deconvolution.major_cycle`) takes
from that psf. Joined channels are no Taylor terms, its automatic mask is made of components found
before, and its limits of baselines in metres count w: all three are refused. Tapers and limits of
uv distance it takes at the cells of its weights, not for each visibility, which a warning says.
"""

from __future__ import annotations

import re
import shlex
import shutil
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from uvstack.constants import ARCSEC
from uvstack.errors import ImageError, MissingDependencyError, NoDataError, UvstackWarning
from uvstack.imaging.external.request import ExternalImages, ExternalRequest, failure, run_program
from uvstack.io import fits as fits_files
from uvstack.pixels.noise import robust_noise
from uvstack.pixels.psf import fit_beam
from uvstack.sky.beam import Beam


def check_wsclean(request: ExternalRequest) -> None:
    """Refuse what WSClean has no equal for.

    Raises
    ------
    ImageError, SelectionError
        With what to use instead.
    MissingDependencyError
        There is no program `wsclean`.
    """
    settings, column = request.settings, request.data_column("WSClean")
    request.polarisation("WSClean")
    if request.terms > 1 or settings.algorithm == "mtmfs":
        raise ImageError("WSClean joins channels instead of Taylor terms; for terms > 1 or mtmfs "
                         "use --imager casa or our own, else the deconvolver 'multiscale'")
    if settings.automask is not None:
        raise ImageError("WSClean's automatic mask is made of components found before, not of the "
                         "residual; give a mask (--mask), or use --imager casa or our own")
    if not request.on_phase_centre:
        raise ImageError("WSClean makes images that touch the sky at the phase centre, in J2000; "
                         "leave out --phase-centre, or use --imager casa or our own")
    if request.uv_range.unit == "m" and str(request.uv_range) != "all":
        raise ImageError("WSClean's limits in metres count w, ours do not; give uvmin and uvmax "
                         "in wavelengths, such as 2klambda")
    if any(n % 2 for n in request.grid.shape):
        raise ImageError(f"WSClean wants even sizes; found are {request.grid.shape[1]} × "
                         f"{request.grid.shape[0]} pixels")
    if any(selection.time_ranges for selection in request.selections):
        raise ImageError("WSClean selects time steps by number, not by time; leave out timerange, "
                         "or use --imager casa or our own")
    if np.size(request.weighting.uvtaper) > 1:
        raise ImageError("WSClean's tapers are round; give one number as uvtaper, or use --imager "
                         "casa or our own")
    for what in (request.field_ids, request.window_ids):
        if any(what(i) != what(0) for i in range(len(request.structures))):
            raise ImageError("WSClean takes one selection of fields and spws for all sets; found "
                             "are different ones: image with our own imager, or split the sets")
    if shutil.which("wsclean") is None:
        raise MissingDependencyError(f"no program wsclean is found to image {column}; install it "
                                     "(Debian, Ubuntu: apt install wsclean; "
                                     "else https://wsclean.readthedocs.io), or use our own imager")


def wsclean_images(request: ExternalRequest, folder: Path) -> ExternalImages:
    """Images by WSClean; `folder` is empty and takes all that it writes.

    Raises
    ------
    ImageError
        WSClean fails; the message has what it says.
    NoDataError
        It finds no visibility.
    """
    _warn_of_cells(request)
    manual = run_program(["wsclean"], folder)[1]
    shared = _command(request, folder, manual)
    sets = [str(Path(structure.path).resolve()) for structure in request.structures]
    commands = [[*shared, "-name", str(folder / "dirty"), "-make-psf", *sets]]
    planes, header, _ = _run(commands[0], folder / "dirty", ("psf", "dirty", "image"), request)
    if not np.nan_to_num(planes["psf"]).any():
        raise NoDataError("WSClean finds no visibility to image: is everything flagged, or "
                          "outside the limits of uv distance?")
    planes |= {"residual": planes["dirty"], "model": np.zeros_like(planes["dirty"])}
    stop_reason = "no iteration asked for" if request.settings.most_iterations == 0 else "cycles used up"
    n_iterations, n_cycles = 0, 0
    if request.cleans:
        reuse = ["-reuse-psf", str(folder / "dirty"), "-reuse-dirty",
                 str(folder / "dirty")] if "-reuse-dirty" in manual else []
        words = _clean_words(request, folder, request.cycle_depth(planes["psf"][0]))
        commands.append([*shared, "-name", str(folder / "clean"), *reuse, *words, *sets])
        cleaned, header, output = _run(commands[1], folder / "clean",
                                       ("residual", "model", "image"), request)
        planes |= cleaned
        n_iterations, n_cycles = int(header.get("WSCMINOR", 0)), int(header.get("WSCMAJOR", 0))
        stop_reason = _stop_reason(request, output, planes["residual"][0], n_iterations)
    return ExternalImages(**planes, beam=_beam(header, planes["psf"][0], request),
                          reference_frequency=request.reference_frequency or float(
                              header["CRVAL3"]), n_iterations=n_iterations, n_cycles=n_cycles,
                          stop_reason=stop_reason,
                          version=f"WSClean {str(header.get('WSCVERSI', '?')).strip()}",
                          command="; ".join(shlex.join(command) for command in commands))


def _warn_of_cells(request: ExternalRequest) -> None:
    if np.any(request.weighting.uvtaper) or str(request.uv_range) != "all":
        width = request.grid.geometry.cell_m * min(request.grid.shape)
        warnings.warn(UvstackWarning("WSClean takes tapers and limits of uv distance at cells of "
                                     f"{1 / width:.3g} wavelengths, not for "
                                     "each visibility; in larger images they are finer"),
                      stacklevel=5)


def _run(command: list[str], prefix: Path, names: tuple[str, ...],
         request: ExternalRequest) -> tuple[dict[str, NDArray], fits.Header, str]:
    """Products by name, header of the image, and output of one run."""
    status, output = run_program(command, prefix.parent)
    files = {name: prefix.with_name(f"{prefix.name}-{name}.fits") for name in names}
    if status != 0 or not all(file.is_file() for file in files.values()):
        raise failure("WSClean", status, _telling(output))
    return {name: _plane(file, request)
            for name, file in files.items()}, fits.getheader(files["image"]), output


def _command(request: ExternalRequest, folder: Path, manual: str) -> list[str]:
    """The command line of both runs, in the options that this version's manual knows."""
    grid, weighting = request.grid, request.weighting
    words = ["wsclean", "-j", str(request.threads), "-temp-dir", str(folder), "-reorder",
             "-no-update-model-required", "-size", str(grid.shape[1]), str(grid.shape[0]), "-scale",
             f"{grid.geometry.cell_m / ARCSEC!r}asec", "-pol", request.polarisation("WSClean"),
             "-data-column", request.data_column("WSClean"), "-field",
             ",".join(map(str, request.field_ids(0)))]
    words += ["-gridder", "wgridder"] if "\n-gridder" in manual else ["-use-wgridder"]
    words += ["-no-min-grid-resolution" if "-no-min-grid-resolution" in manual
              else "-no-small-inversion"]
    words += ["-wgridder-accuracy", "1e-6", "-padding", "1.0", "-weight", weighting.kind]
    if weighting.kind == "briggs":
        words.append(repr(float(weighting.robust)))
    taper = float(np.ravel(weighting.uvtaper)[0])
    if taper > 0:
        words += ["-taper-gaussian", f"{taper / ARCSEC!r}asec"]
    if (windows := request.window_ids(0)) is not None:
        words += ["-spws", ",".join(map(str, windows))]
    if request.uv_range.minimum > 0:
        words += ["-minuv-l", repr(float(request.uv_range.minimum))]
    if np.isfinite(request.uv_range.maximum):
        words += ["-maxuv-l", repr(float(request.uv_range.maximum))]
    return words


def _clean_words(request: ExternalRequest, folder: Path, depth: float) -> list[str]:
    """Options of a deconvolution whose cycles go down to that part of the peak."""
    settings = request.settings
    words = ["-niter", str(settings.most_iterations), "-nmiter", str(settings.most_cycles), "-gain",
             repr(float(settings.gain)), "-mgain", f"{1.0 - depth:.6g}"]
    if settings.threshold > 0:
        words += ["-threshold", repr(float(settings.threshold))]
    if settings.threshold_sigma > 0:
        words += ["-auto-threshold", repr(float(settings.threshold_sigma))]
    if settings.algorithm == "hogbom":
        words.append("-no-fast-subminor")
    elif settings.algorithm == "multiscale":
        words += ["-multiscale", "-multiscale-gain", repr(float(settings.gain)),
                  "-multiscale-scales", ",".join(f"{scale:g}" for scale in settings.scales)]
    words += {"allow": [], "skip": ["-no-negative"], "stop": ["-stop-negative"]}[settings.negative]
    if request.mask is not None:
        where = request.grid.geometry
        wcs = fits_files.sin_wcs(where.ra, where.dec, request.grid.shape, where.cell_m)
        fits_files.write_image(folder / "mask.fits", request.mask.astype(np.float32), wcs, unit="",
                               frequency=1e9)
        words += ["-fits-mask", str(folder / "mask.fits")]
    return words


def _plane(path: Path, request: ExternalRequest) -> NDArray[np.float64]:
    """One product (1, m, l), on our grid."""
    with fits.open(path) as hdus:
        data, header = hdus[0].data[0, 0].astype(np.float64), hdus[0].header
    row, column = request.grid.pixel_of(*np.deg2rad([header["CRVAL1"], header["CRVAL2"]]))
    off = np.hypot(row - header["CRPIX2"] + 1.0, column - header["CRPIX1"] + 1.0)
    if data.shape != request.grid.shape or off > 0.05 or not header["CDELT1"] < 0 < header["CDELT2"]:
        raise ImageError(f"WSClean gave {path.name} on another grid than was asked for; please "
                         "report this, and use our own imager")
    return data[None]


def _beam(header: fits.Header, psf: NDArray, request: ExternalRequest) -> Beam:
    if not header.get("BMAJ", 0) > 0:
        return fit_beam(psf, request.grid.geometry.cell_m)
    major, minor, angle = (float(np.deg2rad(header[name])) for name in ("BMAJ", "BMIN", "BPA"))
    return Beam(major, minor, (angle + np.pi / 2) % np.pi - np.pi / 2)


def _stop_reason(request: ExternalRequest, output: str, residual: NDArray,
                 n_iterations: int) -> str:
    """Why it stopped, in our words, from its own log."""
    settings = request.settings
    if n_iterations >= settings.most_iterations:
        return "iterations used up"
    if "Maximum number of major iterations was reached" in output:
        return "cycles used up"
    if re.search(r"diverg", output, re.IGNORECASE):
        return "diverged"
    in_sigma = settings.threshold_sigma * robust_noise(residual, request.mask)
    peak = np.abs(residual).max(where=request.mask if request.mask is not None else True,
                                initial=0.0)
    # Its own noise is that of the residual before the last cycle: higher than that of the last.
    if peak > 1.5 * max(in_sigma, settings.threshold):
        return "no progress"
    return "threshold in σ reached" if in_sigma > settings.threshold else "threshold reached"


def _telling(output: str) -> str:
    """The line of the output that says what went wrong: that of an exception, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip(" +")]
    said = [line.removeprefix("+ >>>").strip() for line in lines if line.startswith("+ >>>")]
    return said[-1] if said else lines[-1] if lines else ""
