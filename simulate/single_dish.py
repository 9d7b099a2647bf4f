"""Cubes of a sky as a single dish sees it, for joining with an interferometer.

Each channel is the sky convolved with the dish's beam of that channel, a Gaussian whose peak is 1,
in Jy/beam; a sum over pixels, divided by the pixels of a beam, is the flux. Its width is that of
the caller or

    FWHM = f λ/D,

where f hangs on how the feed lights the dish: 1.02 evenly; 1.13 for the antennas of ALMA (ALMA
Technical Handbook); 1.18 ± 0.03 measured on the Green Bank telescope at 9 GHz and 1.16 ± 0.03 at
109 GHz (Frayer 2017, arXiv:1704.00025). The default is 1.18. Rau, Naik & Braun (2019), Table 1,
have f = 1 for 100 m: 10.3′ at 1 GHz. Sidelobes, the error beam, scanning and baselines of the
receiver are not modelled.

Noise is white noise convolved with each channel's beam and brought to the stated rms, as in section
6.3 of Rau et al.: noise of the sky, which cannot be told from the sky by its scale. It is drawn for
each channel anew.

Cost: that of one image of `simulate.restored_sky` a channel; for a sky given as an image, one
convolution by FFT a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from simulate.image_model import ImageModel, read_image_model
from simulate.restored_sky import (
    checked_beam,
    correlated_noise,
    grid_summary,
    image_grid,
    require,
    restored_image,
    wcs_of,
)
from uvstack.checks import check_seed, whole_number
from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.errors import ImageError
from uvstack.io.catalogues import read_components
from uvstack.io.fits import write_image
from uvstack.io.output import check_output, together, write_json, write_table
from uvstack.io.provenance import provenance_of
from uvstack.pixels.geometry import ImageGeometry
from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.sky.beam import FOUR_LN2, Beam
from uvstack.sky.brightness import jansky_per_kelvin
from uvstack.sky.components import Components

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section

#: FWHM of a dish's beam in λ/D: Frayer (2017).
BEAM_FACTOR = 1.18
_UNITS = ("Jy/beam", "K")


@dataclass(frozen=True, eq=False, repr=False)
class SingleDishCube(Saved):
    """A cube of a single dish with its truth.

    Attributes
    ----------
    brightness : ndarray (chan, m, l)
        In `unit`; l decreases along the last axis.
    rms : ndarray (chan,)
        True standard deviation of the noise, in `unit`.
    frequency : ndarray (chan,)
        Hz.
    beams : tuple of Beam
        One a channel.
    geometry : ImageGeometry
    unit : str
        "Jy/beam" or "K".
    truth : QTable or None
        Components as `Components.to_table` has them with `x`, `y` (pixels from 0) and `on_image`;
        None for an image.
    n_outside : int
        Components that lie off the image in every channel and are left out.
    provenance : Provenance or None
    """

    REPORT = ("cube.png", "channels.ecsv", "truth.ecsv")

    brightness: NDArray[np.float64]
    rms: NDArray[np.float64]
    frequency: NDArray[np.float64]
    beams: tuple[Beam, ...]
    geometry: ImageGeometry
    unit: str
    truth: QTable | None
    n_outside: int
    provenance: Provenance | None = None

    @property
    def wcs(self) -> WCS:
        """Celestial WCS of the pixels."""
        return wcs_of(self.geometry, self.brightness.shape)

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them."""
        ending = "_jy_per_beam" if self.unit == "Jy/beam" else "_k"
        return plain({
            **grid_summary(self.geometry, self.brightness.shape), "unit": self.unit,
            "frequency_hz": self.frequency, "fwhm_rad": [b.fwhm_major for b in self.beams],
            f"rms{ending}": self.rms, f"peak{ending}": self.brightness.max(axis=(1, 2)),
            "n_components": None if self.truth is None else len(self.truth),
            "n_outside": self.n_outside,
            "provenance": None if self.provenance is None else vars(self.provenance)})

    def tables(self, *args: Any, **options: Any) -> dict[str, QTable]:
        """Frequency, beam and noise of each channel, and of components the truth."""
        unit = u.Unit(self.unit)
        channels = QTable({"frequency": self.frequency * u.Hz,
                           "fwhm": [b.fwhm_major / ARCSEC for b in self.beams] * u.arcsec,
                           "rms": self.rms * unit,
                           "peak": self.brightness.max(axis=(1, 2)) * unit})
        return {"channels": channels} | ({} if self.truth is None else {"truth": self.truth})

    def overview(self) -> Section:
        """Channels, beams, noise and sky."""
        from simulate.image_report import cube_overview

        return cube_overview(self)

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """Overview, and some channels with the tables."""
        from simulate.image_report import cube_sections

        return cube_sections(self)

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Some channels."""
        from simulate.image_report import cube_figure

        return cube_figure(self)

    @together()
    def write(self, path: str | Path, *, date: str | None = None,
              overwrite: bool = False) -> tuple[Path, ...]:
        """Paths of the cube (FITS with CASA's table of beams), its provenance (JSON) and, of components, the truth (ECSV).

        Parameters
        ----------
        path : str or Path
            Of the cube; NAME-provenance.json with rms and beam of each channel and NAME-truth.ecsv
            stand beside it.
        date : str, optional
            DATE-OBS, UTC, ISO 8601.
        overwrite : bool

        Raises
        ------
        OutputError
            One exists already or cannot be written.
        ImageError
            The channels are not evenly spaced.
        """
        cube = Path(path)
        record, truth = (cube.with_name(cube.stem + end)
                         for end in ("-provenance.json", "-truth.ecsv"))
        outputs = (cube, record) if self.truth is None else (cube, record, truth)
        for output in outputs:
            check_output(output, overwrite, 4 * self.brightness.size)
        write_image(cube, self.brightness, self.wcs, unit=self.unit, beams=self.beams,
                    frequency=self.frequency, date=date)
        write_json(record, None if self.provenance is None else vars(self.provenance))
        if self.truth is not None:
            write_table(truth, self.truth)
        return outputs


def single_dish_cube(sky: Components | ImageModel | str | Path, *, frequency: ArrayLike,
                     dish_diameter: float | None = None,
                     fwhm: ArrayLike | Callable[[NDArray[np.float64]], ArrayLike] | None = None,
                     beam_factor: float = BEAM_FACTOR, centre: tuple[float, float] | None = None,
                     size: int | tuple[int, int] | None = None, cell: float | None = None,
                     noise: ArrayLike = 0.0, rng: np.random.Generator | None = None,
                     unit: str = "Jy/beam") -> SingleDishCube:
    """Cube of a sky as a single dish sees it.

    Parameters
    ----------
    sky : Components, ImageModel or path
        Components with their spectra; or an image or cube in Jy/pixel (a path is read with
        `read_image_model`), whose pixels the result then has.
    frequency : array (chan,)
        Hz; evenly spaced if the cube is to be written.
    dish_diameter : float, optional
        m; the beam is `beam_factor` λ/D wide.
    fwhm : float, array (chan,) or function of frequency (chan,), optional
        Of the beam, rad, in place of a dish. One number holds for all channels.
    beam_factor : float
        f of the module's formula.
    centre : (float, float), optional
        ra and dec of pixel (columns // 2, rows // 2), rad, J2000; with components only, as are
        `size` and `cell`.
    size : int or (int, int), optional
        Pixels; (m, l) where two.
    cell : float, optional
        Pixel, rad; at most half of the narrowest beam.
    noise : float or array (chan,)
        rms in `unit`.
    rng : Generator, optional
        Wanted where there is noise.
    unit : str
        "Jy/beam", or "K": brightness temperature of Rayleigh and Jeans, S c²/(2 k ν² Ω).

    Raises
    ------
    ImageError
        No channel, or one that is no frequency; neither dish nor beam, or both; a beam narrower
        than two pixels; a noise that is negative or not finite; a unit that is neither; a grid for
        an image, or none for components.
    """
    nu = np.atleast_1d(np.asarray(frequency, np.float64))
    require(nu.ndim == 1 and nu.size > 0,
            f"frequencies of shape {nu.shape}; wanted are one or more channels, in Hz")
    require(bool((np.isfinite(nu) & (nu > 0)).all()),
            "a frequency is negative, zero or not finite; wanted are positive ones, in Hz")
    require(unit in _UNITS, f"the unit {unit!r} is unknown; known are {' and '.join(_UNITS)}")
    width = _widths(nu, dish_diameter, fwhm, beam_factor)
    rms = np.asarray(noise, np.float64)
    require(rms.shape in ((), nu.shape),
            f"the noise has shape {rms.shape} for {nu.size} channels; give one value, or one a "
            "channel")
    require(bool((np.isfinite(rms) & (rms >= 0)).all()),
            f"the noise is {rms.min():g} {unit}; it must be 0 or more")
    rms = np.array(np.broadcast_to(rms, nu.shape))
    model = read_image_model(sky) if isinstance(sky, str | Path) else sky
    shape, geometry = _grid(model, centre, size, cell)
    pixel = geometry.cell_m
    beams = tuple(checked_beam((w, w, 0.0), pixel, f"the beam at {f / 1e9:.6g} GHz")
                  for f, w in zip(nu, width, strict=True))
    truth, n_outside = None, 0
    if isinstance(model, Components):
        brightness, truth, n_outside = _of_components(model, nu, geometry, shape, beams)
    else:
        brightness = _of_image(model, nu, shape, beams)
    if unit == "K":
        brightness *= _kelvin(nu, beams)[:, None, None]
    if rms.any() and rng is None:
        raise ImageError("noise without a generator; give rng, such as numpy.random.default_rng(1)")
    for chan in np.flatnonzero(rms):
        assert rng is not None
        brightness[chan] += rms[chan] * correlated_noise(shape, beams[chan], pixel, rng)
    settings = {"frequency_hz": nu.tolist(), "fwhm_rad": [b.fwhm_major for b in beams],
                "rms": rms.tolist(), "unit": unit,
                "components": None if truth is None else len(truth), "left_out": n_outside}
    return SingleDishCube(brightness, rms, nu, beams, geometry, unit, truth, n_outside,
                          provenance_of(settings))


def write_single_dish(sky: Components | ImageModel | str | Path, *, out: str | Path,
                      frequency: float, bandwidth: float, channels: int = 1, seed: int = 0,
                      overwrite: bool = False, **options: Any) -> tuple[Path, ...]:
    """Paths of a cube of a sky as a single dish sees it, with its provenance and, of components, the truth.

    Parameters
    ----------
    sky : Components, ImageModel or path
        Components with their spectra; or an image or cube in Jy/pixel. A path that ends in .fits is
        such an image, any other a catalogue of components.
    out : path
        FITS cube.
    frequency, bandwidth : float
        Centre and width of the band, Hz.
    channels : int
        Equal parts of the band.
    seed : int
        Of the noise.
    overwrite : bool
        Whether outputs may exist.
    **options
        Others of `single_dish_cube`.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.
    """
    check_seed(seed)
    if isinstance(sky, str | Path):
        is_image = Path(sky).suffix.lower() in (".fits", ".fit")
        sky = read_image_model(sky) if is_image else read_components(sky)
    n = whole_number("channels", channels, 1)
    centres = frequency + bandwidth / n * (np.arange(n) - 0.5 * (n - 1))
    return single_dish_cube(sky, frequency=centres, rng=np.random.default_rng(seed),
                            **options).write(out, overwrite=overwrite)


def dish_fwhm(frequency: ArrayLike, diameter: float,
              factor: float = BEAM_FACTOR) -> NDArray[np.float64]:
    """FWHM of the beam of a dish (m) at frequencies (chan,) in Hz, rad: the module's formula."""
    return factor * SPEED_OF_LIGHT / (np.asarray(frequency, np.float64) * diameter)


def _widths(nu: NDArray, diameter: float | None, fwhm: ArrayLike | Callable | None,
            factor: float) -> NDArray[np.float64]:
    if diameter is not None and fwhm is None:
        require(bool(np.isfinite(diameter)) and diameter > 0,
                f"dish_diameter is {diameter} m; it must be positive")
        require(bool(np.isfinite(factor)) and factor > 0,
                f"beam_factor is {factor}; it must be positive")
        return dish_fwhm(nu, diameter, factor)
    if fwhm is None or diameter is not None:
        raise ImageError("the beam is given twice; give dish_diameter or fwhm" if fwhm is not None
                         else "no beam; give dish_diameter in m or fwhm in rad")
    width = np.asarray(fwhm(nu) if callable(fwhm) else fwhm, np.float64)
    require(width.shape in ((), nu.shape),
            f"fwhm has shape {width.shape} for {nu.size} channels; give one value, or one a "
            "channel")
    return np.broadcast_to(width, nu.shape)


def _grid(sky: Components | ImageModel, centre: tuple[float, float] | None,
          size: int | tuple[int, int] | None,
          cell: float | None) -> tuple[tuple[int, int], ImageGeometry]:
    if isinstance(sky, Components):
        if centre is None or size is None or cell is None:
            raise ImageError("components have no pixels; give centre, size and cell of the cube")
        return image_grid(centre, size, cell)
    require(centre is None and size is None and cell is None,
            "an image has pixels of its own; leave centre, size and cell out")
    geometry = sky.geometry
    require(geometry.cell_m > 0 and abs(geometry.cell_l
                                        + geometry.cell_m) <= 1e-6 * geometry.cell_m,
            f"{sky.name}: pixels of {np.rad2deg(geometry.cell_l) * 3600:.6g} by "
            f"{np.rad2deg(geometry.cell_m) * 3600:.6g} arcsec; wanted are"
            " square ones, east to the left: regrid it")
    return (sky.planes.shape[1], sky.planes.shape[2]), geometry


def _of_components(sky: Components, nu: NDArray, geometry: ImageGeometry, shape: tuple[int, int],
                   beams: tuple[Beam, ...]) -> tuple[NDArray[np.float64], QTable, int]:
    cube = np.empty((nu.size, *shape))
    flux = sky.flux_at(nu)
    seen = np.zeros(len(sky), np.bool_)
    table = sky.to_table()
    for chan, beam in enumerate(beams):
        cube[chan], table["x"], table["y"], reached = restored_image(sky, flux[:, chan], geometry,
                                                                     shape, beam)
        seen |= reached
    require(len(sky) == 0 or bool(seen.any()),
            f"none of the {len(sky)} components lies on the image; look at centre, size and cell")
    table["on_image"] = seen
    return cube, table, int((~seen).sum())


def _of_image(model: ImageModel, nu: NDArray, shape: tuple[int, int],
              beams: tuple[Beam, ...]) -> NDArray[np.float64]:
    """The planes convolved with the sampled beam; nothing comes round from the opposite edge."""
    from scipy.signal import fftconvolve

    require(bool(np.isfinite(model.planes).all()),
            f"{model.name}: blank pixels; fill them, with 0 where there is no emission")
    cube = np.zeros((nu.size, *shape))
    for plane, share in model.parts(nu):
        for chan in np.flatnonzero(share):
            cube[chan] += share[chan] * plane
    for k, beam in enumerate(beams):
        fwhm = beam.fwhm_major / model.geometry.cell_m
        # 2.5 FWHM out a Gaussian is 3e-8 of its peak.
        half = int(np.ceil(2.5 * fwhm))
        profile = np.exp(-FOUR_LN2 * (np.arange(-half, half + 1) / fwhm) ** 2)
        once = fftconvolve(cube[k], profile[None, :], mode="full",
                           axes=1)[:, half : half + shape[1]]
        cube[k] = fftconvolve(once, profile[:, None], mode="full", axes=0)[half : half + shape[0]]
    return cube


def _kelvin(nu: NDArray, beams: tuple[Beam, ...]) -> NDArray[np.float64]:
    """K for 1 Jy/beam, (chan,)."""
    solid = np.array([beam.solid_angle for beam in beams])
    return 1.0 / (jansky_per_kelvin(nu) * solid)
