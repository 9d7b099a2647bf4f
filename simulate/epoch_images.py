"""Images of one sky at several epochs, as the pipelines of surveys deliver them, with the truth beside each.

An image is the sky convolved with a Gaussian restoring beam whose peak is 1, in Jy/beam, plus
noise: see `simulate.restored_sky`. The noise is multiplied with the map of the rms. The sky is
clean: sidelobes and calibration errors are not in these images. Memory is that of six float64
images.
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
from astropy.table import QTable, vstack
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from simulate.pointings import Pointings, single
from simulate.restored_sky import (
    beam_text,
    checked_beam,
    correlated_noise,
    grid_summary,
    image_grid,
    require,
    restored_image,
    wcs_of,
)
from uvstack.checks import check_seed
from uvstack.constants import ARCSEC
from uvstack.errors import ComponentError, ImageError
from uvstack.io.catalogues import read_components
from uvstack.io.fits import write_image
from uvstack.io.output import check_output, together, write_json, write_table, written_whole
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.pixels.geometry import ImageGeometry
from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.sky.beam import Beam
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section

#: A rms in Jy/beam: one for all pixels, a map (m, l), or a function of l and m (both in rad, (m,
#: l)) that gives a map.
NoiseMap = float | NDArray[np.float64] | Callable[[NDArray[np.float64], NDArray[np.float64]],
                                                  NDArray[np.float64]]


@dataclass(frozen=True, eq=False, repr=False)
class EpochImage(Saved):
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
    provenance : Provenance or None
    name : str
    """

    REPORT = ("epochs.png", "truth.ecsv")

    brightness: NDArray[np.float64]
    rms: NDArray[np.float64]
    geometry: ImageGeometry
    beam: Beam
    frequency: float
    width: float
    date: str | None
    truth: QTable
    n_outside: int
    provenance: Provenance | None = None
    name: str = "epoch"

    @property
    def wcs(self) -> WCS:
        """Celestial WCS of the pixels."""
        return wcs_of(self.geometry, self.brightness.shape)

    @property
    def median_rms(self) -> float:
        """Median of the true rms, Jy/beam."""
        return float(np.nanmedian(self.rms))

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them."""
        seen, meta = np.asarray(self.truth["on_image"], bool), self.truth.meta
        return plain({
            "name": self.name, **grid_summary(self.geometry, self.brightness.shape),
            "frequency_hz": self.frequency, "width_hz": self.width, "date": self.date,
            "beam": {"fwhm_major_rad": self.beam.fwhm_major,
                     "fwhm_minor_rad": self.beam.fwhm_minor,
                     "position_angle_rad": self.beam.position_angle},
            "flux_scale": meta["flux_scale"],
            "offset_rad": [one * ARCSEC for one in meta["offset_arcsec"]],
            "n_components": len(self.truth), "n_outside": self.n_outside,
            "flux_jy": float(self.truth["apparent_flux"][seen].to_value("Jy").sum()),
            "peak_jy_per_beam": float(np.nanmax(self.brightness)),
            "median_rms_jy_per_beam": self.median_rms,
            "provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, QTable]:
        """The truth."""
        return {"truth": self.truth}

    def overview(self) -> Section:
        """Frequency, beam, noise and sky."""
        from simulate.image_report import epoch_overview

        return epoch_overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, image and noise with the truth."""
        from simulate.image_report import epoch_sections

        return epoch_sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Image and true noise."""
        from simulate.image_report import epochs_figure

        return epochs_figure([self])

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


class Epochs(Saved, list[EpochImage]):
    """Images of one sky at several epochs, a list of them."""

    REPORT = ("epochs.png", "epochs.ecsv", "truth.ecsv")

    @property
    def provenance(self) -> Provenance | None:  # type: ignore[override]
        """That of all epochs."""
        return self[0].provenance if self else None

    def summary(self) -> list[dict[str, Any]]:
        """That of each epoch."""
        return [one.summary() for one in self]

    def tables(self, *args: Any, **options: Any) -> dict[str, QTable]:
        """Settings, a row an epoch, and the truth of all, a row an epoch and component."""
        from astropy import units as u

        truths = [one.truth.copy() for one in self]
        for one, truth in zip(self, truths, strict=True):
            truth.add_column([one.name] * len(truth), name="epoch", index=0)
        beams = np.array([one.beam for one in self])
        table = QTable({
            "epoch": [one.name for one in self], "date": [one.date or "" for one in self],
            "frequency": [one.frequency for one in self] * u.Hz,
            "fwhm_major": beams[:, 0] / ARCSEC * u.arcsec,
            "fwhm_minor": beams[:, 1] / ARCSEC * u.arcsec,
            "position_angle": np.rad2deg(beams[:, 2]) * u.deg,
            "median_rms": [one.median_rms for one in self] * u.Jy / u.beam,
            "flux_scale": [one.truth.meta["flux_scale"] for one in self],
            "n_outside": [one.n_outside for one in self]})
        return {"epochs": table, "truth": vstack(truths, metadata_conflicts="silent")}

    def overview(self) -> Section:
        """A line for each epoch."""
        from simulate.image_report import epochs_overview

        return epochs_overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, and the images with the truth."""
        from simulate.image_report import epochs_sections

        return epochs_sections(self, self.tables())

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Images and true noise."""
        from simulate.image_report import epochs_figure

        return epochs_figure(self)


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
    asked = dict(locals())
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
                      offset_arcsec=[float(o / ARCSEC) for o in offset], beam=beam_text(smooth),
                      date=date or "", n_outside=int((~seen).sum()))
    return EpochImage(brightness, rms, geometry, smooth, float(frequency),
                      float(width or 1e-3 * frequency), stamp, truth, int((~seen).sum()),
                      provenance_of({"components": len(sky)} | _asked(asked)))


@together()
def epochs(sky: Components | str | Path, settings: Sequence[Mapping[str, Any]], *, seed: int = 0,
           out: str | Path | None = None, four_axes: bool = True,
           **shared: Any) -> Epochs:
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
    images = []
    for i, (name, one) in enumerate(zip(names, merged, strict=True)):
        try:
            images.append(epoch_image(sky, rng=np.random.default_rng([seed, i]), **one))
        except (ImageError, ComponentError) as error:
            raise type(error)(f"{name}: {error}") from error
    record = provenance_of({"components": len(sky), "epochs": {
        name: _asked(one) | {"left_out": image.n_outside,
                             "median_rms_jy_per_beam": image.median_rms}
        for name, one, image in zip(names, merged, images, strict=True)}}, seed=seed)
    made = Epochs(dataclasses.replace(image, name=name, provenance=record)
                  for name, image in zip(names, images, strict=True))
    if folder is not None:
        with written_whole(folder) as partial:
            partial.mkdir()
            for image in made:
                image.write(partial / f"{image.name}.fits", four_axes=four_axes)
            made.plot(partial / "epochs.png")
            write_json(partial / "provenance.json", vars(record))
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


#: At the end of the keys of settings in JSON.
_UNITS = {"cell": "_rad", "centre": "_rad", "offset": "_rad", "beam": "_rad", "frequency": "_hz",
          "width": "_hz", "noise": "_jy_per_beam"}


def _asked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an epoch as JSON has them: with units in their keys."""
    return {key + _UNITS.get(key, ""): _in_words(value) for key, value in settings.items()
            if key not in ("sky", "rng") and value is not None}


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
