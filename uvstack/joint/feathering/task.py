"""`uvstack.joint.feather`: an interferometer's image and a dish's in, one with all scales out."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.time import Time
from numpy.typing import NDArray
from typing_extensions import Unpack

from uvstack._version import __version__
from uvstack.checks import finite_number
from uvstack.errors import ImageError, NumericalError
from uvstack.io.fits import write_image
from uvstack.io.image_file import SkyCube, read_cube
from uvstack.io.output import check_output, together, write_json
from uvstack.io.provenance import provenance_of
from uvstack.joint.dish_beams import warn_of_diameter, warn_of_sharpening
from uvstack.joint.feathering.result import FeatherResult
from uvstack.joint.flux_scale import (
    Cells,
    FluxScale,
    Overlap,
    annulus_of,
    cells_of,
    flux_scale,
    joined,
)
from uvstack.joint.single_dish_files import (
    DishOnGrid,
    EffectiveDish,
    beam_matrix,
    beam_of,
    beam_source,
    check_cover,
    check_dish,
    frequency_of,
    matched_channels,
    parse_overlap,
    per_steradian,
    read_both,
    steps_of,
)
from uvstack.joint.uv_plane import DishBeam, UVPlane, feather_weights
from uvstack.options import OverwriteOptions, ReportOptions, takes
from uvstack.report.files import check_asked, write_asked
from uvstack.sky.beam import Beam, areas_of_covariances, beam_of_covariance

#: Part of the squares of its FWHM by which the dish's beam may be below the interferometer's.
_SAME_BEAM = 1e-3
#: Rings of the power spectra.
_RINGS = 40


class FeatherOptions(ReportOptions, OverwriteOptions, total=False):
    """Output of a feather."""


@dataclass(frozen=True)
class _Channel:
    """Both images of a channel on one grid, Jy/beam of the interferometer, and their beams in its pixels.

    `weight_beam` is the one that sets w, `cut` the wavelengths beyond which the dish counts
    nothing, `fwhm` the width of the dish's beam, rad.
    """

    high: NDArray[np.float64]
    low: NDArray[np.float64]
    plane: UVPlane
    high_matrix: NDArray[np.float64]
    beam: DishBeam
    weight_beam: DishBeam
    cut: float | None
    fwhm: float


@dataclass(frozen=True)
class _Settings:
    """What was asked for, checked."""

    sd_scale: float | None
    sd_gain: float
    overlap: Overlap | None
    dish: EffectiveDish
    low_pass: bool


@together()
@takes
def feather(high: str | Path, low: str | Path, *, out: str | Path | None = None,
            sd_scale: float | Literal["auto"] = 1.0, sd_gain: float = 1.0,
            overlap: Sequence[str | float] | None = None, sd_psf: str | Path | None = None,
            dish_diameter: float | None = None, beam_factor: float = 1.0, gridding_kernel: float = 0.0,
            low_pass: bool = False, **options: Unpack[FeatherOptions]) -> FeatherResult:
    """Image with the large scales of a single dish and the small ones of an interferometer.

    After Rau, Naik & Braun (2019), equations 3 and 4, with weights that are normalised.

    Parameters
    ----------
    high : path
        Image or cube of the interferometer, FITS or CASA, corrected for the primary beam, with a
        beam, in Jy/beam, K, MJy/sr or Jy/pixel.
    low : path
        Of the dish, likewise; on any grid that covers the interferometer's image, with channels at
        its frequencies or around them.
    out : path, optional
        FITS image, Jy/beam; its numbers stand beside it, NAME.json.
    sd_scale : float or "auto"
        Flux factor of the dish's map; "auto" finds it in the overlap.
    sd_gain : float
        Weight of the dish against the interferometer; it changes no flux.
    overlap : (str or float, str or float), optional
        Annulus of uv distances for the flux factor, such as ("60m", "100m") or ("2klambda",
        "4klambda"), numbers in metres; default 0.6 to 1 over the FWHM of the dish's beam, in
        wavelengths.
    sd_psf : path, optional
        Beam of the dish as an image or cube; before the beam of its header.
    dish_diameter : float, optional
        Effective diameter, m, that sets the weights; default those of the map's beam. It is the
        beam of a map that has none.
    beam_factor : float
        k of FWHM = k λ/D; real dishes have 1.1 to 1.2, CASA takes 1.22.
    gridding_kernel : float
        FWHM of the kernel that the map was gridded with, rad: with the diameter's beam, squares added, it is the beam.
    low_pass : bool
        Leave out scales of the dish's map beyond its diameter.

    Returns
    -------
    FeatherResult
        `image` (chan, m, l) Jy/beam, `sd_scale` with `sd_scale_error`.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> f = uvstack.feather("vla.fits", "gbt.fits", sd_scale="auto", overlap=("35m", "90m"))
    """
    asked = {**locals(), **options}
    settings = _Settings(
        None if sd_scale == "auto" else finite_number("sd_scale", sd_scale, 0.0, above=True),
        finite_number("sd_gain", sd_gain, 0.0, above=True), parse_overlap(overlap),
        EffectiveDish.asked(dish_diameter, beam_factor, gridding_kernel, bool(low_pass)), bool(low_pass))
    check_asked(FeatherResult, options)
    paths = {} if out is None else _paths_of(out)
    for path in paths.values():
        check_output(path, options["overwrite"], inputs=tuple(
            str(one) for one in (high, low, sd_psf) if one is not None))
    cubes = read_both(high, low)
    psf = None if sd_psf is None else read_cube(sd_psf, oriented=False)
    made = _feathered(*cubes, psf, settings)
    provenance = provenance_of({k: v for k, v in asked.items()
                                if k not in ("high", "low", "report")},
                               high=str(high), low=str(low))
    result = FeatherResult(**made, sd_gain=settings.sd_gain, files=paths, provenance=provenance)
    if paths:
        _write(result, cubes[0], paths)
    return write_asked(result, options)


def _paths_of(out: str | Path) -> dict[str, Path]:
    path = Path(out)
    if path.suffix.lower() not in (".fits", ".fit", ".fts"):
        raise ImageError(f"{out}: a feathered image is FITS; give a name that ends in .fits")
    return {"image": path, "summary": path.with_suffix(".json")}


def _feathered(high: SkyCube, low: SkyCube, psf: SkyCube | None,
               settings: _Settings) -> dict[str, Any]:
    """Fields of the result."""
    shares = matched_channels(high, low)
    dish = DishOnGrid(high, low, psf)
    used = [k for k in range(len(high.data)) if np.isfinite(high.data[k]).any()]
    # The brightest channel is the one that is shown.
    shown = max(used, key=lambda k: float(np.nanmax(high.data[k])))
    fluxes = np.full((3, len(high.data)), np.nan)
    parts = np.full((2, *high.data.shape), np.nan, np.float32)
    cells, annulus = [], (0.0, 0.0)
    extra: dict[str, Any] = {}
    for k in used:
        one = _channel(high, low, dish, k, shares[k], settings)
        annulus = _annulus(settings, high, low, one) if k == used[0] else annulus
        spectrum = one.plane.transform(one.high)
        cells.append(cells_of(one.plane, spectrum, (one.high, one.low), one.beam,
                              one.high_matrix, 1.3 * annulus[1]))
        weights = feather_weights(one.plane, one.beam, one.weight_beam, settings.sd_gain, one.cut)
        both = [weights.high * spectrum, weights.low * one.plane.transform(one.low)]
        blank, area = ~np.isfinite(one.high), _area_of(one.high_matrix)
        for i, values in enumerate(both):
            parts[i, k] = np.where(blank, np.nan, one.plane.image(values))
        fluxes[:2, k] = [np.nansum(values[~blank]) / area for values in (one.high, one.low)]
        if k == shown:
            extra = {"high": one.high, "low": one.low,
                     "dish_beam": _beam_on_sky(high, one.beam.matrix),
                     "weight_beam": _beam_on_sky(high, one.weight_beam.matrix),
                     "spectra": functools.partial(_spectra, one.plane, spectrum, both, area)}
    found, refusal = _scale(joined(cells), annulus, settings, f"{high.path} and {low.path}")
    source = beam_source(low, psf)
    warn_of_sharpening(extra["dish_beam"], extra["weight_beam"])
    if source == "dish_diameter" and found is not None:
        warn_of_diameter(found, settings.sd_scale or 1.0, extra["dish_beam"])
    scale, error = (found.scale, found.error) if settings.sd_scale is None and found else (
        float(settings.sd_scale or 1.0), None)
    image = parts[0] + np.float32(scale) * parts[1]
    fluxes[1] *= scale
    fluxes[2, used] = [np.nansum(image[k], dtype=float)
                       / _area_of(beam_matrix(high, beam_of(high, k))) for k in used]
    return extra | {
        "low": scale * extra["low"], "spectra": extra["spectra"](scale),
        "image": image, "wcs": high.wcs, "frequency": high.frequency, "channel": shown,
        "beams": tuple(beam_of(high, k) for k in range(len(high.data))), "sd_scale": scale,
        "dish_beam_from": source,
        "weight_beam_from": source if settings.dish.diameter is None else "dish_diameter",
        "sd_scale_error": error, "annulus": annulus, "measured": found, "refusal": refusal,
        "fluxes": QTable({name: values * u.Jy for name, values in zip(
            ("flux_high", "flux_low", "flux"), fluxes, strict=True)})}


def _channel(high: SkyCube, low: SkyCube, dish: DishOnGrid, k: int,
             shares: Sequence[tuple[int, float]], settings: _Settings) -> _Channel:
    """A channel of both, checked."""
    beam = beam_of(high, k)
    plane = high.data[k] * (per_steradian(high, k, beam.solid_angle) * beam.solid_angle)
    nu = frequency_of(high, k) or frequency_of(low, shares[0][0])
    dish_beam = None
    if settings.dish.diameter is not None:
        if nu is None:
            raise ImageError(f"{high.path} and {low.path}: neither says a frequency, at which a "
                             "dish_diameter has a beam; add an axis FREQ to a header")
        dish_beam = settings.dish.beam(nu)
    brightness, own = dish.channel(shares, dish_beam)
    found = brightness * beam.solid_angle
    steps = steps_of(high)
    inner = beam_matrix(high, beam)
    weight = own if dish_beam is None else DishBeam(beam_matrix(high, dish_beam))
    if dish_beam is not None:
        check_dish(dish_beam, beam, high.cell * max(plane.shape))
    reach = max(one.reach for one in (own, weight))
    check_cover(found, np.isfinite(plane), reach, low.path, high.path,
                "cut or blank the interferometer's image to what the dish has")
    if np.linalg.eigvalsh(own.matrix - inner)[0] < -_SAME_BEAM * np.abs(own.matrix).max():
        raise ImageError(f"{low.path}: its beam is narrower than that of {high.path}; the first "
                         "image is the interferometer's, the second the dish's: are they exchanged?")
    fwhm = _fwhm(steps, weight.matrix)
    return _Channel(plane, found, UVPlane((plane.shape[0], plane.shape[1]), steps, reach), inner,
                    own, weight, settings.dish.largest_baseline(fwhm) if settings.low_pass else None,
                    _fwhm(steps, own.matrix))


def _fwhm(steps: NDArray[np.float64], matrix: NDArray[np.float64]) -> float:
    """Geometric mean of both FWHM, rad."""
    return float(np.linalg.det(matrix) ** 0.25 * np.sqrt(abs(np.linalg.det(steps))))


def _annulus(settings: _Settings, high: SkyCube, low: SkyCube,
             one: _Channel) -> tuple[float, float]:
    """Wavelengths."""
    nu = high.frequency if high.frequency is not None else low.frequency
    try:
        return annulus_of(settings.overlap, one.fwhm, None if nu is None else float(np.mean(nu)))
    except ImageError as error:
        raise ImageError(f"{high.path} and {low.path}: {error}") from error


def _scale(cells: Cells, annulus: tuple[float, float], settings: _Settings,
           names: str) -> tuple[FluxScale | None, str]:
    """The flux scale, or why there is none, which is an error only where it is asked for."""
    try:
        return flux_scale(cells, annulus), ""
    except NumericalError as error:
        if settings.sd_scale is None:
            raise NumericalError(f"{names}: {error}") from error
        return None, str(error)


def _spectra(plane: UVPlane, spectrum: NDArray, both: Sequence[NDArray], area: float,
             scale: float) -> QTable:
    """Mean power in rings of the uv plane, of the interferometer, the dish and both."""
    columns = {"power_high": spectrum, "power_low_weighted": scale * both[1],
               "power_feathered": both[0] + scale * both[1]}
    return plane.ring_means({name: np.abs(values / area) ** 2 for name, values in columns.items()},
                            _RINGS, u.Jy**2)


def _area_of(matrix: NDArray[np.float64]) -> float:
    """Pixels of a beam with such squares of FWHM."""
    return float(areas_of_covariances(matrix))


def _beam_on_sky(cube: SkyCube, matrix: NDArray[np.float64]) -> Beam:
    """The beam, rad, with such squares of FWHM in the pixels of an image."""
    steps = steps_of(cube)
    return beam_of_covariance(steps @ matrix @ steps.T)


def _write(result: FeatherResult, high: SkyCube, paths: dict[str, Path]) -> None:
    same = len(set(result.beams)) == 1
    cards: dict[str, Any] = {
        "ORIGIN": f"uvstack {__version__}", "SDSCALE": (result.sd_scale, "the dish's map times this"),
        "SDGAIN": (result.sd_gain, "weight of the dish")}
    if result.sd_scale_error is not None:
        cards["SDSCERR"] = (result.sd_scale_error, "standard deviation of SDSCALE")
    if high.telescope:
        cards["TELESCOP"] = high.telescope
    nu = result.frequency
    write_image(paths["image"], result.image if nu is not None else result.image[0], result.wcs,
                beams=result.beams[0] if same else result.beams,
                frequency=nu, four_axes=nu is not None, cards=cards, stokes=(high.stokes or 1,),
                date=None if high.time is None else str(Time(high.time, format="mjd").isot),
                spectral_frame="")
    write_json(paths["summary"], result.summary())
