"""Bright directions as pixels of an image: from regions, from catalogues, or found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from uvstack.checks import finite_number
from uvstack.errors import ImageError, PositionsError
from uvstack.imaging.mask_files import draw_region, is_excluded, read_regions, region_language
from uvstack.io.tables import read_positions
from uvstack.pixels.noise import robust_noise
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import direction_cosines, to_frame

#: Radius of a direction whose size nothing says, in FWHM of the beam, and in those of the source.
_BEAMS, _SIZES = 3.0, 1.5
#: Beams around a source in which its artefacts are, and the part (%) of an image that is quiet.
_RING, _QUIET = 15.0, 10.0

Masks = list[tuple[str, NDArray[np.bool_]]]


#: Distance of a region from the nearest pointing at most, rad.
_FARTHEST = 0.2


def places_of(regions: str | Path, pointings: Sequence[tuple[float, float]],
              ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions (RA, Dec) of all corners and centres of the regions of a file, J2000, rad.

    Raises
    ------
    ImageError, PositionsError
        The file cannot be read, a region is in pixels, or far from where the antennas look.
    """
    path = _existing(regions)
    ra, dec = (to_frame(read_positions(path).coord, "J2000") if region_language(path) is None
               else _corners(path))
    distance = np.min([separation(ra, dec, *at) for at in pointings], axis=0)
    if distance.max() > _FARTHEST:
        far = np.argmax(distance)
        there = SkyCoord(ra[far], dec[far], unit="rad").to_string("hmsdms", precision=1)
        raise ImageError(f"{path}: {there} is {np.degrees(distance[far]):.3g}° from the nearest pointing, where "
                         "nothing of it is seen; is it of another field?")
    return ra, dec


def _corners(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of drawn regions."""
    ra, dec = [], []
    for region in read_regions(path):
        at = getattr(region, "vertices", getattr(region, "center", None))
        if not isinstance(at, SkyCoord):
            raise ImageError(f"{path}: a {_shape(region)} is in pixels; give it on the sky (fk5, "
                             "icrs …)")
        lon, lat = to_frame(at.reshape(-1), "J2000")
        ra.append(lon)
        dec.append(lat)
    return np.concatenate(ra), np.concatenate(dec)


def region_masks(regions: str | Path, wcs: WCS, shape: tuple[int, int], cell: float,
                 beam: Beam) -> Masks:
    """Name and pixels of each region of a file.

    Regions that the file excludes are taken out of all. A source of a catalogue is a circle about
    its place.

    Parameters
    ----------
    regions : path
        DS9 (.reg), CASA (.crtf), or a table of positions.
    wcs : WCS
        Celestial, of the image of `shape` (m, l).
    cell : float
        Pixel, rad.
    beam : Beam
        Of the image, rad.

    Raises
    ------
    ImageError, PositionsError
        The file cannot be read; a region is not wholly in the image or has no area.
    """
    path = _existing(regions)
    if region_language(path) is None:
        return _catalogue_masks(path, wcs, shape, cell, beam)
    masks: Masks = []
    unwanted = np.zeros(shape, bool)
    for region in read_regions(path):
        if is_excluded(region):
            draw_region(region, wcs, unwanted, path)
            continue
        name = str(region.meta.get("label") or region.meta.get("text") or len(masks) + 1)
        if _shape(region) == "point":
            raise ImageError(f"{path}: region {name} is a point, which has no area; draw a circle "
                             "around the source")
        _check_inside(region, wcs, shape, f"{path}: region {name}")
        mask = np.zeros(shape, bool)
        draw_region(region, wcs, mask, path)
        masks.append((name, mask))
    if not masks:
        raise ImageError(f"{path}: excludes regions and wants none; draw one around each bright "
                         "source")
    return _named_apart([(name, mask & ~unwanted) for name, mask in masks])


@dataclass(frozen=True)
class Limits:
    """Which sources of an image are peeled.

    Attributes
    ----------
    flux : float or None
        From this on, Jy, as the image has it.
    distance : float
        From the nearest pointing, rad.
    artefacts : float or None
        Times the noise of the quietest part of the image, that artefacts around it reach.

    Raises
    ------
    SelectionError
        A limit is negative or not finite.
    """

    flux: float | None = None
    distance: float = 0.0
    artefacts: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("flux_above", self.flux), ("artefacts_above", self.artefacts)):
            if value is not None:
                finite_number(name, value, 0.0, above=True)
        finite_number("distance_above", self.distance, 0.0)

    def __str__(self) -> str:
        told = [] if self.flux is None else [f"{self.flux:g} Jy or more"]
        if self.artefacts is not None:
            told.append(f"artefacts of {self.artefacts:g} times the noise or more")
        return " and ".join([*told, f"is {np.degrees(self.distance):.3g}° or farther from the nearest "
                             "pointing"])


def source_masks(catalogue: QTable, artefacts: NDArray[np.float64],
                 pointings: Sequence[tuple[float, float]], shape: tuple[int, int], cell: float,
                 beam: Beam, limits: Limits) -> Masks:
    """Directions of the sources of an image that are bright and far off, the brightest first.

    A source is a circle of three beams or 1.5 times its size; where circles touch they are one
    direction.

    Parameters
    ----------
    catalogue : QTable
        The sources, with x, y, ra, dec, flux and fwhm_major.
    artefacts : ndarray (source,)
        As of `artefact_levels`.
    pointings : sequence of (float, float)
        Where the antennas look, J2000, rad.
    limits : Limits

    Raises
    ------
    PositionsError
        There is none.
    """
    ra, dec = (catalogue[name].to_value("rad") for name in ("ra", "dec"))
    distance = np.min([separation(ra, dec, *at) for at in pointings], axis=0)
    flux = catalogue["flux"].to_value("Jy")
    chosen = ((flux >= (limits.flux or 0.0)) & (distance >= limits.distance)
              & (artefacts >= (limits.artefacts or 0.0)))
    if not chosen.any():
        most = (f" (at most {flux.max():.3g} Jy, artefacts of {artefacts.max():.2g} times the noise)"
                if len(flux) else "")
        raise PositionsError(f"none of the {len(flux)} sources of the image{most} has {limits}; ask "
                             "for less, or give regions")
    union = np.zeros(shape, bool)
    for row in catalogue[chosen]:
        size = np.nan_to_num(row["fwhm_major"].to_value("rad"))
        radius = max(_BEAMS * beam.fwhm_major, _SIZES * size) / cell
        _draw_circle(union, row["x"].value, row["y"].value, radius)
    label, n = ndimage.label(union, np.ones((3, 3)))
    column, row = (np.rint(catalogue[name][chosen].value).astype(int) for name in ("x", "y"))
    of_source = label[row, column]
    brightest_first = sorted(range(1, n + 1), key=lambda k: -flux[chosen][of_source == k].max())
    return [(str(number + 1), label == k) for number, k in enumerate(brightest_first)]


def artefact_levels(catalogue: QTable, data: NDArray, noise: NDArray, cell: float,
                    beam: Beam) -> NDArray[np.float64]:
    """By how much the noise around each source exceeds that of the quietest part of an image.

    Around is from 3 to 15 beams. Artefacts follow the flux, so that a source has no larger part of them
    than its flux is of the brightest one's: what lies in those of another is not taken for their
    cause.

    Parameters
    ----------
    catalogue : QTable
        The sources, with x, y and flux.
    data, noise : ndarray (m, l)
        Image, and its noise around each pixel.
    cell : float
        rad.
    beam : Beam
    """
    if not len(catalogue):
        return np.zeros(0)
    radius = beam.fwhm_major / cell
    flux = catalogue["flux"].to_value("Jy")
    around = np.empty(len(flux))
    for number, (x, y) in enumerate(zip(catalogue["x"].value, catalogue["y"].value, strict=True)):
        rows, columns = (np.arange(max(int(at - _RING * radius), 0), min(int(at + _RING * radius) + 2, n))
                         for at, n in zip((y, x), data.shape, strict=True))
        distance = np.hypot(rows[:, None] - y, columns - x)
        ring = (distance > _BEAMS * radius) & (distance < _RING * radius)
        around[number] = robust_noise(np.where(ring, data[rows[:, None], columns], np.nan))
    brightest = int(np.argmax(flux))
    own = np.minimum(around, around[brightest] * flux / flux[brightest])
    return np.asarray(own / np.nanpercentile(noise, _QUIET))


def separation(ra: NDArray, dec: NDArray, ra0: float, dec0: float) -> NDArray[np.float64]:
    """Angle of directions from one, rad."""
    return 2.0 * np.arcsin(np.sqrt(np.clip(-direction_cosines(ra, dec, ra0, dec0)[2] / 2, 0, 1)))


def _existing(regions: str | Path) -> Path:
    if Path(regions).is_dir():
        raise ImageError(f"{regions}: is a folder; wanted is a file of regions of DS9 (.reg) or CASA "
                         "(.crtf), a catalogue, or auto")
    if not Path(regions).is_file():
        raise ImageError(f"{regions}: no such file of regions; wanted is one of DS9 (.reg), CASA "
                         "(.crtf), a catalogue, or auto")
    return Path(regions)


def _catalogue_masks(path: Path, wcs: WCS, shape: tuple[int, int], cell: float,
                     beam: Beam) -> Masks:
    places = read_positions(path)
    x, y = places.coord.to_pixel(wcs)
    size = np.zeros(len(x)) if places.size is None else np.nan_to_num(places.size)
    names = places.names if places.names is not None else np.arange(1, len(x) + 1).astype(str)
    masks = []
    for k, name in enumerate(names):
        radius = max(_BEAMS * beam.fwhm_major, _SIZES * size[k]) / cell
        if not all(radius <= at <= n - 1 - radius for at, n in ((x[k], shape[1]), (y[k], shape[0]))):
            raise ImageError(f"{path}: source {name} is not in the image, or at its edge; take "
                             "larger images (size=, --size), or leave it out")
        mask = np.zeros(shape, bool)
        _draw_circle(mask, x[k], y[k], radius)
        masks.append((str(name), mask))
    return _named_apart(masks)


def _named_apart(masks: Masks) -> Masks:
    """The masks by number where two have one name."""
    if len({name for name, _ in masks}) == len(masks):
        return masks
    return [(str(k + 1), mask) for k, (_, mask) in enumerate(masks)]


def _draw_circle(mask: NDArray[np.bool_], x: float, y: float, radius: float) -> None:
    rows, columns = (np.arange(max(int(at - radius), 0), min(int(at + radius) + 2, n))
                     for at, n in zip((y, x), mask.shape, strict=True))
    mask[rows[:, None], columns] |= np.hypot(rows[:, None] - y, columns - x) <= radius


def _check_inside(region: Any, wcs: WCS, shape: tuple[int, int], what: str) -> None:
    pixel = region.to_pixel(wcs) if hasattr(region, "to_pixel") else region
    # A region on the other side of the sky has no pixels, which `regions` meets with an error.
    at = getattr(pixel, "vertices", getattr(pixel, "center", None))
    box = None if at is None or not np.isfinite([at.x, at.y]).all() else pixel.bounding_box
    if (box is None or min(box.ixmin, box.iymin) < 0 or box.ixmax > shape[1]
            or box.iymax > shape[0]):
        raise ImageError(f"{what} is not wholly in the image; take larger images (size=, "
                         "--size)")


def _shape(region: Any) -> str:
    name = type(region).__name__
    return name.removesuffix("SkyRegion").removesuffix("PixelRegion").lower()
