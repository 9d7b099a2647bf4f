"""Images of one sky at several epochs, as the pipelines of surveys deliver them, with the truth beside each.

An image is the sky convolved with a Gaussian restoring beam whose peak is 1, in Jy/beam, plus
noise. Every component is placed and convolved analytically: a point becomes the beam, a Gaussian a
wider one, a disc a one-dimensional integral of error functions by a quadrature that converges
exponentially. Each is evaluated where it exceeds 1e-6 of its peak, which leaves out 1e-6 of its
flux. As in `uvstack.uv.predict`, shapes lie on the plane of (l, m) that touches the image's centre,
where the beam is the same everywhere.

Noise is white noise convolved with the beam, so that its autocorrelation is that of the beam, a
Gaussian √2 wider than the beam itself. That is what a uniformly covered and tapered (u, v) plane
gives; under natural weights it would be the dirty beam. It is brought to unit variance in
expectation, not in the sample, and multiplied with the map of the rms. The sky is clean: sidelobes
and calibration errors are not in these images.

Cost on one core: 10 000 points and Gaussians in 3000² pixels take 0.4 s, the noise 1.3 s; a disc,
0.04 µs a pixel and σ of the beam in its radius. Memory is that of six float64 images.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from simulate.kernels import add_smoothed
from simulate.pointings import Pointings, single
from uvstack.checks import MOST_IMAGE_PIXELS, check_seed
from uvstack.errors import ComponentError, ImageError
from uvstack.io.catalogues import read_components
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.output import check_output, together, write_json, write_table, written_whole
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.pixels.geometry import ImageGeometry
from uvstack.records import Shown
from uvstack.sky.beam import FWHM_OF_SIGMA, Beam, covariances
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A component is drawn where it exceeds exp(−_LIMIT/2) = 1e-6 of its peak.
_LIMIT = 2.0 * np.log(1e6)
#: Coarser, and pixels no longer sum to the flux.
_PIXELS_PER_BEAM = 2.0
#: A disc thinner than this many standard deviations of the beam is drawn with this half width: off
#: by 1e-7.
_THINNEST = 1e-3
_ARCSEC = np.pi / 180 / 3600
#: A rms in Jy/beam: one for all pixels, a map (m, l), or a function of l and m (both in rad, (m,
#: l)) that gives a map.
NoiseMap = float | NDArray[np.float64] | Callable[[NDArray[np.float64], NDArray[np.float64]],
                                                  NDArray[np.float64]]


@dataclass(frozen=True, eq=False, repr=False)
class EpochImage(Shown):
    """One epoch: image, noise and truth.

    Attributes
    ----------
    brightness : ndarray (m, l)
        Jy/beam, NaN where blank; l decreases along the last axis.
    rms : ndarray (m, l)
        True standard deviation of the noise, Jy/beam, NaN where blank.
    geometry : ImageGeometry
    beam : Beam
    frequency : float
        Hz.
    width : float
        Of the channel, Hz.
    date : str or None
        UTC, ISO 8601.
    truth : QTable
        The sky as `Components.to_table` gives it, with `epoch_flux` (Jy, at this frequency and
        epoch), `apparent_flux` (times the flux scale), `x` and `y` (pixels from 0, with the
        astrometric offset) and `on_image` (it is drawn).
    n_outside : int
        Components that lie off the image and are left out.
    """

    brightness: NDArray[np.float64]
    rms: NDArray[np.float64]
    geometry: ImageGeometry
    beam: Beam
    frequency: float
    width: float
    date: str | None
    truth: QTable
    n_outside: int

    @property
    def wcs(self) -> WCS:
        """Celestial WCS of the pixels."""
        return wcs_of(self.geometry, self.brightness.shape)

    @together()
    def write(self, path: str | Path, *, four_axes: bool = True,
              overwrite: bool = False) -> tuple[Path, Path, Path]:
        """Paths of the image, of the rms (NAME-rms.fits) and of the truth (NAME-truth.ecsv).

        Parameters
        ----------
        path : str or Path
            Of the image.
        four_axes : bool
            RA, DEC, FREQ and STOKES; False leaves the first two alone.
        overwrite : bool

        Raises
        ------
        OutputError
            One exists already or cannot be written.
        """
        image = Path(path)
        rms, truth = (image.with_name(image.stem + end) for end in ("-rms.fits", "-truth.ecsv"))
        for output in (image, rms, truth):
            check_output(output, overwrite, 8 * self.brightness.size)
        for output, data, what in ((image, self.brightness, "simulated sky"),
                                   (rms, self.rms, "true rms of the noise")):
            write_image(output, data, self.wcs, beams=self.beam, frequency=self.frequency,
                        width=self.width, date=self.date, four_axes=four_axes,
                        cards={"OBJECT": what})
        write_table(truth, self.truth)
        return image, rms, truth


def epoch_image(sky: Components, *, frequency: float, beam: Beam | Sequence[float],
                centre: tuple[float, float], size: int | tuple[int, int], cell: float,
                noise: NoiseMap = 0.0, rng: np.random.Generator | None = None,
                flux_scale: float = 1.0, flux_factor: ArrayLike = 1.0,
                offset: tuple[float, float] = (0.0, 0.0),
                primary_beam: str | PrimaryBeam | None = None, pointings: Pointings | None = None,
                pb_limit: float = 0.2, blank: int | NDArray[np.bool_] = 0,
                width: float | None = None, date: str | None = None) -> EpochImage:
    """Image of a sky at one epoch.

    Parameters
    ----------
    sky : Components
    frequency : float
        Hz, at which the spectra are taken.
    beam : Beam or (fwhm_major, fwhm_minor, position_angle)
        rad; its minor axis at least two pixels.
    centre : (float, float)
        Right ascension and declination of pixel (columns // 2, rows // 2), rad, J2000.
    size : int or (int, int)
        Pixels; (m, l) where two.
    cell : float
        Pixel, rad.
    noise : float, ndarray (m, l) or function of (l, m)
        rms in Jy/beam; with a primary beam, that of one pointing on its axis.
    rng : Generator, optional
        Wanted where there is noise.
    flux_scale : float
        Error of the flux scale of this epoch: 1.03 shows every flux 3 per cent too high.
    flux_factor : float or array (pos,)
        Variability: true flux of each component at this epoch over that of the sky.
    offset : (float, float)
        Astrometric error: how far (l, m) of every component is moved to the east and north, rad.
    primary_beam : str or PrimaryBeam, optional
        The image is corrected for it, so that the noise rises to the edge as 1/√ΣA², A the beam
        about each pointing: the rms of a mosaic of pointings of one noise that are weighted with
        A².
    pointings : Pointings, optional
        Default one at the centre.
    pb_limit : float
        Where √ΣA² is below this share of its largest value, the image is blank.
    blank : int or bool ndarray (m, l)
        Pixels blanked along every edge, or True where blank.
    width : float, optional
        Of the channel, Hz; default a thousandth of the frequency.
    date : str, optional
        DATE-OBS, UTC, ISO 8601.

    Raises
    ------
    ImageError
        The beam is narrower than two pixels, the noise negative or not finite, or any other number
        cannot be.
    ComponentError
        `flux_factor` is negative, not finite or of another length than the sky.
    """
    shape, geometry = image_grid(centre, size, cell)
    smooth = checked_beam(beam, cell)
    for name, value in (("frequency", frequency), ("flux_scale", flux_scale),
                        ("width", 1.0 if width is None else width)):
        require(bool(np.isfinite(value)) and value > 0, f"{name} is {value}; it must be positive")
    require(len(offset) == 2 and bool(np.isfinite(offset).all()),
            f"offset is {offset}; wanted two angles in rad")
    require(0 <= pb_limit < 1, f"pb_limit is {pb_limit}; wanted from 0 to less than 1")
    stamp = _checked_date(date)
    rms = _noise_map(noise, shape, geometry)
    if primary_beam is not None:
        rms = rms / _sensitivity(read_primary_beam(primary_beam), pointings or single(*centre),
                                 frequency, shape, geometry, pb_limit)
    else:
        require(pointings is None,
                "pointings without a primary_beam; name one, or leave the pointings out")
    rms = np.where(_blank_map(blank, shape), np.nan, rms)
    require(bool(np.isfinite(rms).any()),
            "every pixel is blank; blank fewer, or move the pointings to the image")
    flux = _factors(flux_factor, len(sky)) * sky.flux_at([frequency])[:, 0]
    brightness, x, y, seen = restored_image(sky, flux * flux_scale, geometry, shape, smooth, offset)
    require(len(sky) == 0 or bool(seen.any()),
            f"none of the {len(sky)} components lies on the image; look at centre, size and cell")
    if (rms > 0).any():
        if rng is None:
            raise ImageError("noise without a generator; give rng, such as "
                             "numpy.random.default_rng(1)")
        brightness += rms * correlated_noise(shape, smooth, cell, rng)
    brightness[np.isnan(rms)] = np.nan
    truth = sky.to_table()
    for name, column in (("epoch_flux", flux), ("apparent_flux", flux * flux_scale)):
        truth[name] = column * truth["flux"].unit
    truth["x"], truth["y"], truth["on_image"] = x, y, seen
    truth.meta.update(frequency=float(frequency), flux_scale=float(flux_scale),
                      offset_arcsec=[float(o / _ARCSEC) for o in offset], beam=_beam_text(smooth),
                      date=date or "", n_outside=int((~seen).sum()))
    return EpochImage(brightness, rms, geometry, smooth, float(frequency),
                      float(width or 1e-3 * frequency), stamp, truth, int((~seen).sum()))


@together()
def epochs(sky: Components | str | Path, settings: Sequence[Mapping[str, Any]], *, seed: int = 0,
           out: str | Path | None = None, four_axes: bool = True,
           **shared: Any) -> list[EpochImage]:
    """Images of one sky at several epochs, and, if asked for, a new folder with all of them.

    Parameters
    ----------
    sky : Components or path
        Or a catalogue of them.
    settings : sequence of mappings
        For each epoch the keyword arguments of `epoch_image` that are its own, and optionally a
        `name`; default epoch1, …; see `simulate.each_epoch`.
    seed : int
        Epoch i draws its noise from a generator of (seed, i), whatever the other epochs are.
    out : path, optional
        Folder to be made, which appears whole or not at all: NAME.fits, NAME-rms.fits and
        NAME-truth.ecsv of every epoch, provenance.json and epochs.png.
    four_axes : bool
        As in `EpochImage.write`.
    **shared
        Keyword arguments of `epoch_image` for all epochs that do not give their own.

    Raises
    ------
    ImageError
        There is no epoch, two have one name, a setting is unknown, or `epoch_image` refuses one.
    OutputError
        The folder exists or cannot be written.
    """
    check_seed(seed)
    sky = read_components(sky) if isinstance(sky, str | Path) else sky
    merged = [dict(shared) | dict(one) for one in settings]
    names = [str(one.pop("name", f"epoch{i + 1}")) for i, one in enumerate(merged)]
    require(len(merged) > 0, "no epoch; give the settings of one or more")
    require(len(set(names)) == len(names),
            f"epochs named {', '.join(names)}; every name must be another")
    for name, one in zip(names, merged, strict=True):
        _check_settings(name, one)
    folder = None if out is None else check_output(out, Path(out).is_dir())
    made = []
    for i, (name, one) in enumerate(zip(names, merged, strict=True)):
        try:
            made.append(epoch_image(sky, rng=np.random.default_rng([seed, i]), **one))
        except (ImageError, ComponentError) as error:
            raise type(error)(f"{name}: {error}") from error
    if folder is not None:
        with written_whole(folder) as partial:
            _write_all(partial, sky, made, names, merged, seed, four_axes)
    return made


def _check_settings(name: str, settings: Mapping[str, Any]) -> None:
    parameters = inspect.signature(epoch_image).parameters
    known = sorted(set(parameters) - {"sky", "rng"})
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise ImageError(f"{name}: the setting {key!r} is unknown; the nearest is {near}, "
                             f"known are {', '.join(known)}")
    missing = [key for key in known
               if parameters[key].default is inspect.Parameter.empty and key not in settings]
    require(not missing, f"{name}: {', '.join(missing)} missing; give it for this epoch or for all")


def _write_all(folder: Path, sky: Components, made: Sequence[EpochImage], names: Sequence[str],
               settings: Sequence[Mapping[str, Any]], seed: int, four_axes: bool) -> None:
    folder.mkdir()
    for name, epoch in zip(names, made, strict=True):
        epoch.write(folder / f"{name}.fits", four_axes=four_axes)
    epochs_figure(made, names).savefig(folder / "epochs.png", dpi=110)
    asked = {"components": len(sky), "epochs": {
        name: {key + _UNITS.get(key, ""): _in_words(value) for key, value in one.items()}
        | {"left_out": epoch.n_outside, "median_rms_jy_per_beam": float(np.nanmedian(epoch.rms))}
        for name, one, epoch in zip(names, settings, made, strict=True)}}
    write_json(folder / "provenance.json", dataclasses.asdict(provenance_of(asked, seed=seed)))


#: At the end of the keys of settings in JSON.
_UNITS = {"cell": "_rad", "centre": "_rad", "offset": "_rad", "beam": "_rad", "frequency": "_hz",
          "width": "_hz", "noise": "_jy_per_beam"}


def _in_words(value: Any) -> Any:
    """A setting as JSON: numbers and texts as they are, long arrays by their shape and range."""
    if isinstance(value, np.ndarray) and value.size > 16:
        return f"array {value.shape} from {np.nanmin(value):g} to {np.nanmax(value):g}"
    if isinstance(value, PrimaryBeam):
        return value.describe()
    if isinstance(value, Pointings):
        return f"{len(value)} pointings"
    if isinstance(value, list | tuple | np.ndarray):
        return [_in_words(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, int | float | str | None) else getattr(
        value, "__qualname__", type(value).__name__)


def epochs_figure(made: Sequence[EpochImage], names: Sequence[str]) -> Figure:
    """Figure of images (above) and true noise (below), each with its beam."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    from uvstack.report.numbers import flux_unit

    figure = Figure(figsize=(3.6 * len(made) + 0.6, 6.6), layout="constrained")
    axes = figure.subplots(2, len(made), squeeze=False)
    typical = float(np.median([np.nanmedian(e.rms)
                               for e in made])) or max(float(np.nanmax(e.brightness))
                                                       for e in made) / 50 or 1.0
    largest = max(float(np.nanmax(e.rms)) for e in made) or typical
    unit, scale = flux_unit(typical)
    for column, (name, epoch) in enumerate(zip(names, made, strict=True)):
        half = [0.5 * n * epoch.geometry.cell_m / _ARCSEC for n in epoch.brightness.shape]
        box = (half[1], -half[1], -half[0], half[0])
        for row, (data, low, high) in enumerate(((epoch.brightness, -3 * typical, 12 * typical),
                                                 (epoch.rms, 0.0, largest))):
            shown = axes[row, column].imshow(data / scale, origin="lower", extent=box,
                                             vmin=low / scale, vmax=high / scale,
                                             cmap=("gray_r", "viridis")[row])
            axes[row, column].set_facecolor("lightsteelblue")
            if column == len(made) - 1:
                figure.colorbar(shown, ax=axes[row, :],
                                label=f"{('image', 'true rms')[row]} ({unit}/beam)", shrink=0.9)
        major, minor, angle = epoch.beam
        # Matplotlib counts angles towards the axis that points up, on which east is to the left.
        axes[0, column].add_patch(Ellipse((0.88 * half[1], -0.88 * half[0]), minor / _ARCSEC,
                                          major / _ARCSEC, angle=-np.rad2deg(angle), color="C3"))
        axes[0, column].set_title(f"{name}: {_beam_text(epoch.beam)}", fontsize="small")
        axes[1, column].set_xlabel("offset east (arcsec)")
    for row in (0, 1):
        axes[row, 0].set_ylabel("offset north (arcsec)")
    return figure


def _beam_text(beam: Beam) -> str:
    return f"{beam.fwhm_major / _ARCSEC:.4g}″ × {beam.fwhm_minor / _ARCSEC:.4g}″, {np.rad2deg(beam.position_angle):.4g}°"


def restored_image(sky: Components, flux: NDArray[np.float64], geometry: ImageGeometry,
                   shape: tuple[int, int], beam: Beam,
                   offset: tuple[float, float] = (0.0, 0.0)) -> tuple[NDArray[np.float64],
                                                                       NDArray[np.float64],
                                                                       NDArray[np.float64],
                                                                       NDArray[np.bool_]]:
    """Image (m, l) of components convolved with a beam, Jy/beam; their pixels x and y; which of them reach the image.

    Parameters
    ----------
    sky : Components
    flux : float64 array (pos,)
        Integrated, Jy; that of `sky` is not used.
    geometry : ImageGeometry
        Its cells are -cell and +cell.
    shape : (int, int)
        Pixels (m, l).
    beam : Beam
    offset : (float, float)
        Added to l and m, rad.

    Notes
    -----
    A component 90° or more from the centre has x and y NaN.
    """
    out = np.zeros(shape)
    l, m, n_minus_1 = direction_cosines(sky.ra, sky.dec, geometry.ra, geometry.dec)
    cell = geometry.cell_m
    x = shape[1] // 2 - (l + offset[0] - geometry.centre_l) / cell
    y = shape[0] // 2 + (m + offset[1] - geometry.centre_m) / cell
    behind = n_minus_1 <= -1.0
    x[behind], y[behind] = np.nan, np.nan
    amplitude, to_units, semi_axes, nodes, reach = _smoothed_shapes(sky, flux, beam, cell)
    seen = (x + reach[:, 0] >= 0) & (x - reach[:, 0] <= shape[1] - 1) & (y + reach[:, 1] >= 0) & (
        y - reach[:, 1] <= shape[0] - 1)
    add_smoothed(*(np.ascontiguousarray(a[seen])
                   for a in (x, y, amplitude, to_units, semi_axes, nodes, reach)), _LIMIT, out)
    return out, x, y, seen


def _smoothed_shapes(sky: Components, flux: NDArray, beam: Beam,
                     cell: float) -> tuple[NDArray, ...]:
    """What `add_smoothed` wants to know of each component besides its place."""
    beam_covariance = _beam_covariance(beam, cell)
    if (sky.shape == "clean-scale").any():
        raise ComponentError("scales of CLEAN have no smoothed form here; give points, Gaussians "
                             "and discs, or the model image")
    is_disc = sky.shape == "disc"
    size = np.where(is_disc, 0.0, 1.0)
    covariance = beam_covariance + _covariance(size * sky.fwhm_major, size * sky.fwhm_minor,
                                               sky.position_angle, cell)
    amplitude = np.where(is_disc, flux,
                         flux * np.sqrt(np.linalg.det(beam_covariance) / np.linalg.det(covariance)))
    to_units = np.linalg.inv(np.linalg.cholesky(covariance))
    # Vectors (pixels) along both semi-axes of a disc, then as seen in units of the beam.
    edges = 0.5 / cell * np.stack([sky.fwhm_major, sky.fwhm_minor],
                                  axis=1)[:, None, :] * _axes(sky.position_angle)
    edges = np.where(is_disc[:, None, None], edges, 0.0)
    turn, semi_axes, _ = np.linalg.svd(to_units @ edges)
    semi_axes = np.maximum(semi_axes, _THINNEST)
    # Steps of the quadrature against a 6 σ wide spectrum of the Gaussian; measured in
    # tests/simulation/test_epoch_images.py.
    nodes = np.where(is_disc, np.ceil(16.0 + 4.0 * semi_axes[:, 0]), 0.0).astype(np.int64)
    to_units = np.where(is_disc[:, None, None], np.swapaxes(turn, 1, 2) @ to_units, to_units)
    reach = np.sqrt((edges**2).sum(axis=2)) + np.sqrt(_LIMIT
                                                      * np.diagonal(covariance, axis1=1, axis2=2))
    return amplitude, to_units, semi_axes, nodes, reach


def _axes(position_angle: NDArray) -> NDArray[np.float64]:
    """Unit vectors (pixels x, y) of the major and the minor axis as columns, (pos, 2, 2); x runs to the west."""
    sin, cos = np.sin(position_angle), np.cos(position_angle)
    return np.stack([np.stack([-sin, cos], axis=-1), np.stack([cos, sin], axis=-1)], axis=-1)


def _covariance(major: NDArray, minor: NDArray, position_angle: NDArray,
                cell: float) -> NDArray[np.float64]:
    """Covariance (…, 2, 2) of Gaussians of that FWHM, in pixels x and y."""
    to_the_west = np.array([[1.0, -1.0], [-1.0, 1.0]])
    return covariances(major, minor, position_angle) * to_the_west / (FWHM_OF_SIGMA * cell) ** 2


def _beam_covariance(beam: Beam, cell: float) -> NDArray[np.float64]:
    major, minor, angle = (np.array(value) for value in beam)
    return _covariance(major, minor, angle, cell)


def correlated_noise(shape: tuple[int, int], beam: Beam, cell: float,
                     rng: np.random.Generator) -> NDArray[np.float64]:
    """White noise convolved with a beam, of variance 1 in expectation, (m, l).

    Parameters
    ----------
    shape : (int, int)
    beam : Beam
        At least two pixels wide.
    cell : float
        Pixel, rad.
    rng : Generator

    Notes
    -----
    The transform is periodic; the image is cut out of a larger one, so that opposite edges are
    independent.
    """
    import scipy.fft

    covariance = _beam_covariance(beam, cell)
    # Noise is correlated √2 times as far as the beam reaches.
    reach = np.ceil(np.sqrt(2.0 * _LIMIT * np.diagonal(covariance)))[::-1].astype(int)
    padded = [scipy.fft.next_fast_len(int(n + more), True)
              for n, more in zip(shape, reach, strict=True)]
    v, u = np.meshgrid(2 * np.pi * scipy.fft.fftfreq(padded[0]),
                       2 * np.pi * scipy.fft.rfftfreq(padded[1]), indexing="ij")
    transfer = np.exp(-0.5
                      * (covariance[0, 0] * u * u + 2 * covariance[0, 1] * u * v
                         + covariance[1, 1] * v * v))
    # Of the real transform's columns all but u = 0 and the highest stand for two.
    share = np.full(u.shape[1], 2.0)
    share[[0] if padded[1] % 2 else [0, -1]] = 1.0
    variance = float((share * (transfer**2).sum(axis=0)).sum()) / (padded[0] * padded[1])
    spectrum = scipy.fft.rfft2(rng.standard_normal(padded))
    spectrum *= transfer / np.sqrt(variance)
    return scipy.fft.irfft2(spectrum, padded)[: shape[0], : shape[1]]


def image_grid(centre: tuple[float, float], size: int | tuple[int, int],
               cell: float) -> tuple[tuple[int, int], ImageGeometry]:
    """Shape (m, l) and geometry of an image around a direction (rad); checks."""
    wanted = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    require(len(wanted) == 2 and all(int(n) == n and 1 <= n <= MOST_IMAGE_PIXELS for n in wanted),
            f"size is {size}; wanted are one or two numbers of pixels, from 1 to "
            f"{MOST_IMAGE_PIXELS}")
    require(bool(np.isfinite(cell)) and cell > 0,
            f"cell is {cell}; it must be a positive angle in rad")
    require(bool(np.isfinite(centre).all()) and abs(centre[1]) <= np.pi / 2,
            f"centre is {centre}; wanted are ra and dec in rad")
    return (int(wanted[0]), int(wanted[1])), ImageGeometry(float(centre[0]), float(centre[1]),
                                                           -float(cell), float(cell))


def wcs_of(geometry: ImageGeometry, shape: tuple[int, ...]) -> WCS:
    """Celestial WCS of a geometry with square pixels."""
    return sin_wcs(geometry.ra, geometry.dec, (shape[-2], shape[-1]), geometry.cell_m,
                   (geometry.centre_l, geometry.centre_m))


def checked_beam(beam: Beam | Sequence[float], cell: float, what: str = "the beam") -> Beam:
    """The beam, if its axes are in order and two pixels wide or more."""
    parts = tuple(float(value) for value in beam)
    require(len(parts) in (2, 3) and bool(np.isfinite(parts).all()) and parts[0] >= parts[1] > 0,
            f"{what} is {parts}; wanted are fwhm_major, fwhm_minor (positive, not the larger) and "
            "position_angle, in rad")
    minor, pixel = parts[1] / _ARCSEC, cell / _ARCSEC
    require(minor >= _PIXELS_PER_BEAM * pixel * (1 - 1e-9),
            f"{what} has a minor axis of {minor:.4g} arcsec, {minor / pixel:.2f} pixels of {pixel:.4g} arcsec; wanted are"
            f" {_PIXELS_PER_BEAM:g} pixels or more: take a cell of {minor / _PIXELS_PER_BEAM:.4g} arcsec or less")
    return Beam(*parts)


def require(holds: bool, message: str) -> None:
    """Raise ImageError with the message unless a condition holds."""
    if not holds:
        raise ImageError(message)


def _checked_date(date: str | None) -> str | None:
    if date is None:
        return None
    try:
        return str(Time(date, scale="utc").isot)
    except ValueError as error:
        raise ImageError(f"date is {date!r}; wanted is ISO 8601 in UTC, such as "
                         "2026-02-03T04:05:06") from error


def _factors(factor: ArrayLike, n: int) -> NDArray[np.float64]:
    factors = np.asarray(factor, np.float64)
    if factors.shape not in ((), (n,)):
        raise ComponentError(f"flux_factor has shape {factors.shape} for {n} components; give one "
                             "value, or one for each")
    if not (np.isfinite(factors).all() and (factors >= 0).all()):
        raise ComponentError("flux_factor holds a negative value, a NaN or an infinity; wanted is "
                             "0 or more")
    return np.broadcast_to(factors, n)


def _cosines(shape: tuple[int, int],
             geometry: ImageGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """l and m of every pixel, (m, l) each."""
    l = geometry.centre_l + geometry.cell_l * (np.arange(shape[1]) - shape[1] // 2)
    m = geometry.centre_m + geometry.cell_m * (np.arange(shape[0]) - shape[0] // 2)
    return np.broadcast_to(l, shape), np.broadcast_to(m[:, None], shape)


def _noise_map(noise: NoiseMap, shape: tuple[int, int],
               geometry: ImageGeometry) -> NDArray[np.float64]:
    values = np.asarray(noise(*_cosines(shape, geometry)) if callable(noise) else noise, np.float64)
    require(values.shape in ((), shape),
            f"the noise has shape {values.shape}; wanted is one value or a map of {shape} (m, l)")
    bad = values[~(np.isfinite(values) & (values >= 0))]
    if bad.size:
        raise ImageError(f"the noise is {bad[0]:g} Jy/beam; it must be 0 or more everywhere: to "
                         "blank pixels, use blank")
    return np.array(np.broadcast_to(values, shape))


def _blank_map(blank: int | NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(blank, int | np.integer) and not isinstance(blank, bool):
        require(0 <= blank <= min(shape),
                f"blank is {blank} pixels; wanted is from 0 to the {min(shape)} of the image")
        inside = np.zeros(shape, np.bool_)
        inside[blank : shape[0] - blank, blank : shape[1] - blank] = True
        return ~inside
    mask = np.asarray(blank)
    require(mask.dtype == np.bool_ and mask.shape == shape,
            f"blank is an array {mask.shape} of {mask.dtype}; wanted is bool {shape} (m, l)")
    return mask


def _sensitivity(beam: PrimaryBeam, pointings: Pointings, frequency: float, shape: tuple[int, int],
                 geometry: ImageGeometry, limit: float) -> NDArray[np.float64]:
    """√ΣA² of all pointings, (m, l); NaN below the limit, a share of the largest value.

    Pointings are taken at their offsets in (l, m): A depends on the difference of direction
    cosines, as close to the centre of the image as fields of a few degrees are.
    """
    l, m = (a.ravel() for a in _cosines(shape, geometry))
    total = np.zeros(l.size)
    l0, m0, n_minus_1 = direction_cosines(pointings.ra, pointings.dec, geometry.ra, geometry.dec)
    for k in np.flatnonzero(n_minus_1 > -1.0):
        total += beam(l - l0[k], m - m0[k], [frequency])[:, 0] ** 2
    result = np.sqrt(total).reshape(shape)
    peak = result.max()
    return np.where(result > limit * peak, result, np.nan) if peak > 0 else np.full(shape, np.nan)
