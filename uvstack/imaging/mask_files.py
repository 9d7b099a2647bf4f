"""Masks from files on the grid of an image.

FITS images, catalogues of sources, and regions of DS9 and CASA.

A source of a catalogue is an ellipse of twice the FWHM that was observed, which reaches down to 6 %
of its peak; where the catalogue says no size, that of three pixels.

Pixels whose centre lies in a region are in the mask, and for a region smaller than a pixel the one
that holds its centre. The regions of a file are united, and those that it excludes (DS9: a minus
before the shape; CRTF: likewise) are taken out of all of them, wherever they stand in the file. Sky
and pixel coordinates both do, in any frame that the package `regions` reads; a line of CRTF that
names none (``coord=``) is in J2000 unless it counts in pixels. Texts and annotations count for
nothing. The size of a region of the sky is turned into pixels at its centre.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from uvstack.constants import ARCSEC
from uvstack.deconvolution.mask import checked_mask
from uvstack.errors import ComponentError, ImageError, MissingDependencyError
from uvstack.io import fits as fits_files
from uvstack.io.catalogues import read_catalogue
from uvstack.io.image_file import holds_image, is_casa_image, read_cube
from uvstack.pixels.geometry import image_geometry
from uvstack.pixels.grid import Grid
from uvstack.sky.beam import Beam
from uvstack.sky.catalogue import coord_of
from uvstack.sky.coordinates import direction_cosines, to_frame

#: A line that can be read.
_EXAMPLES = {"crtf": "circle [[12h34m56.7s, -12d34m56s], 10arcsec], coord=J2000",
             "ds9": 'fk5; circle(12:34:56.7,-12:34:56,10")'}
#: FWHM of a source whose size a catalogue does not say, pixels.
_LEAST_PIXELS = 3.0


def read_mask(mask: str | Path | NDArray | None, grid: Grid) -> NDArray[np.bool_] | None:
    """Mask (m, l) of the image's grid, from an array, a FITS image, a catalogue or a file of regions.

    Raises
    ------
    ImageError
        It is that of another grid, cannot be read, or has no pixel in the image.
    MissingDependencyError
        Regions without the package `regions`.
    """
    if mask is None or isinstance(mask, np.ndarray):
        return None if mask is None else checked_mask(mask, grid.shape)
    if not (Path(mask).is_file() or is_casa_image(mask)):
        raise ImageError(f"{mask}: no such mask; wanted is a FITS image, an image of CASA, a "
                         "catalogue or a file of regions")
    if not Path(mask).is_dir() and _is_catalogue(Path(mask)):
        return _catalogue_mask(Path(mask), grid)
    is_regions = not Path(mask).is_dir() and region_language(Path(mask)) is not None
    return _region_mask(Path(mask), grid) if is_regions else _fits_mask(mask, grid)


def _is_catalogue(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return name.endswith((".ecsv", ".csv", ".xml", ".vot", ".votable")) or (
        name.endswith((".fits", ".fit")) and not holds_image(path))


def _catalogue_mask(path: Path, grid: Grid) -> NDArray[np.bool_]:
    """Ellipses of the sources of a catalogue; rows without a place count for nothing."""
    try:
        table = read_catalogue(path)
    except ComponentError as error:
        raise ImageError(f"a mask of a catalogue: {error}") from error
    if not {"ra", "dec"} <= set(table.colnames):
        raise ImageError(f"{path}: holds no image, but a table without ra and dec; a mask of "
                         f"sources wants these; it has {', '.join(table.colnames)}")
    if len(table) == 0:
        raise ImageError(f"{path}: the catalogue is empty; a mask wants a source at least")
    table = table[np.isfinite(table["ra"]) & np.isfinite(table["dec"])]
    ra, dec = to_frame(coord_of(table), "J2000")
    where = grid.geometry
    l, m, below = direction_cosines(ra, dec, where.ra, where.dec)
    least = _LEAST_PIXELS * abs(where.cell_m)
    size = {name: np.nan_to_num(table[name].to_value("rad")) if name in table.colnames
            else np.zeros(len(table)) for name in ("fwhm_major", "fwhm_minor", "position_angle")}
    major, minor = (np.maximum(size[name], least) for name in ("fwhm_major", "fwhm_minor"))
    mask = np.zeros(grid.shape, bool)
    for k in np.flatnonzero(below > -1.0):
        rows, columns = (np.flatnonzero(np.abs(axis - place) <= major[k])
                         for axis, place in ((grid.m, m[k]), (grid.l, l[k])))
        if rows.size == 0 or columns.size == 0:
            continue
        inside = Beam(2.0 * major[k], 2.0 * minor[k], size["position_angle"][k]).profile(
            grid.l[columns] - l[k], grid.m[rows, None] - m[k]) >= 0.5
        mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] |= inside
    if not mask.any():
        raise ImageError(f"{path}: none of its {len(table)} sources lies in the image; are they "
                         "of another field?")
    return mask


def region_language(path: Path) -> str | None:
    """"ds9" or "crtf" where the file holds regions, else None."""
    start = path.open("rb").read(200).lstrip()
    if start.startswith(b"#CRTF") or path.suffix.lower() == ".crtf":
        return "crtf"
    return "ds9" if start.startswith(b"# Region file format: DS9") or path.suffix.lower() == ".reg" else None


def _fits_mask(mask: str | Path, grid: Grid) -> NDArray[np.bool_]:
    found = read_cube(mask)
    if len(found.data) > 1:
        raise ImageError(f"{mask}: a mask of {len(found.data)} planes; wanted is one, for all "
                         "planes of the image")
    try:
        where, wanted = image_geometry(found.wcs, found.data.shape[1:]), grid.geometry
    except ImageError as error:
        raise ImageError(f"{mask}: {error}") from error
    if found.data.shape[1:] == grid.shape:
        l, m, _ = direction_cosines(where.ra, where.dec, wanted.ra, wanted.dec)
        off = np.hypot(l + where.centre_l, m + where.centre_m) / wanted.cell_m
        scale = max(abs(where.cell_l / wanted.cell_l - 1),
                    abs(where.cell_m / wanted.cell_m - 1)) * max(grid.shape)
        if off > 0.1 or scale > 0.1:
            raise ImageError(f"{mask}: a mask of another grid: its middle is {off:.3g} pixels off, "
                             "its cell "
                             f"{abs(where.cell_m) / ARCSEC:.4g} arcsec where "
                             f"{wanted.cell_m / ARCSEC:.4g} is wanted; regrid it")
    try:
        return checked_mask(found.data[0], grid.shape)
    except ImageError as error:
        raise ImageError(f"{mask}: {error}") from error


def _region_mask(path: Path, grid: Grid) -> NDArray[np.bool_]:
    where = grid.geometry
    wcs = fits_files.sin_wcs(where.ra, where.dec, grid.shape, where.cell_m)
    wanted, unwanted = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    n_wanted, regions = 0, read_regions(path)
    for region in regions:
        n_wanted += not is_excluded(region)
        draw_region(region, wcs, unwanted if is_excluded(region) else wanted, path)
    out: NDArray[np.bool_] = (wanted if n_wanted else True) & ~unwanted
    if not out.any():
        raise ImageError(f"{path}: none of its {len(regions)} regions leaves a pixel of the image "
                         "in the mask; are they of another field?")
    return out


def read_regions(path: Path) -> list[Any]:
    """Regions of a file of DS9 or CASA as the package `regions` has them; texts and annotations are left out.

    Raises
    ------
    ImageError
        It cannot be read, is of neither kind, or holds none.
    MissingDependencyError
        Without the package `regions`.
    """
    try:
        from regions import Regions
    except ImportError as error:
        raise MissingDependencyError(f"{path}: reading region files needs the package "
                                     "regions: pip install 'uvstack[regions]'") from error
    language = region_language(path)
    if language is None:
        raise ImageError(f"{path}: is no file of regions; wanted is one of DS9 (.reg) or CASA "
                         "(.crtf)")
    parse = functools.partial(_parsed, Regions, language)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ImageError(f"{path}: is no text; wanted is a file of regions of DS9 (.reg) or CASA "
                         "(.crtf)") from error
    try:
        found = parse(text)
    except Exception as error:  # regions raises its own kinds, ValueError, and those of astropy's angles
        number, line, reason = _broken_line(parse, text.splitlines(), error)
        raise ImageError(f"{path}: line {number}, {line!r}, cannot be read as a region of "
                         f"{'DS9' if language == 'ds9' else 'CASA'} "
                         f"({' '.join(str(reason).split())}); wanted is one such as "
                         f"{_EXAMPLES[language]}") from error
    found = [r for r in found
             if r.meta.get("type") != "ann" and not type(r).__name__.startswith("Text")]
    if not found:
        raise ImageError(f"{path}: the file holds no region; at least one is needed")
    return found


def _parsed(reader: Any, language: str, text: str) -> list[Any]:
    from astropy.utils.exceptions import AstropyUserWarning

    with warnings.catch_warnings():
        # The reader of DS9 drops what it cannot read with a warning: a region would be lost.
        warnings.simplefilter("error", AstropyUserWarning)
        warnings.filterwarnings("ignore", "Found duplicate metadata|DS9 .* is invalid",
                                AstropyUserWarning)
        return list(reader.parse(_with_frames(text) if language == "crtf" else text,
                                 format=language))


def _broken_line(parse: Callable[[str], list[Any]], lines: list[str],
                 error: Exception) -> tuple[int, str, Exception]:
    """Number (from 1) and text of the first line that cannot be read after those above it, and why."""
    for number in range(1, len(lines) + 1):
        try:
            parse("\n".join(lines[:number]) + "\n")
        except Exception as reason:
            if isinstance(reason, TypeError):
                reason = ValueError("a frame that is not known")
            return number, lines[number - 1].strip()[:80], reason
    return len(lines), lines[-1].strip()[:80] if lines else "", error


def is_excluded(region: Any) -> bool:
    """Whether a region is one that its file takes out of the others."""
    return region.meta.get("include") in (0, False, "-")


def _with_frames(text: str) -> str:
    """CRTF whose lines all say their frame: the reader takes angles without one for pixels."""
    lines, has_frame = text.splitlines(), False
    for number, line in enumerate(lines):
        names_one = re.search(r"\bcoord\s*=", line) is not None
        if line.lstrip().startswith("global"):
            has_frame |= names_one
        elif "[" in line and not (line.lstrip().startswith("#") or has_frame or names_one
                                  or re.search(r"\dpix\b", line)):
            lines[number] = f"{line.rstrip().rstrip(',')}, coord=J2000"
    return "\n".join(lines) + "\n"


def draw_region(region: Any, wcs: WCS, mask: NDArray[np.bool_], path: Path) -> None:
    """Set the pixels of `mask` (m, l) that lie in a region of `read_regions`; `path` is for the error.

    Raises
    ------
    ImageError
        It has no area.
    """
    region = region.to_pixel(wcs) if hasattr(region, "to_pixel") else region
    name = type(region).__name__.removesuffix("PixelRegion").lower()
    if name not in ("point", "circle", "ellipse", "rectangle", "polygon", "regularpolygon",
                    "circleannulus", "ellipseannulus", "rectangleannulus"):
        raise ImageError(f"{path}: a {name} has no area; wanted are circles, ellipses, boxes, "
                         "annuli, polygons and points")
    drawn = False
    if name != "point":
        cut = region.to_mask(mode="center")
        inside, of_cut = cut.get_overlap_slices(mask.shape)
        if inside is not None:
            mask[inside] |= cut.data[of_cut] > 0
        drawn = bool((cut.data > 0).any())
    centre = getattr(region, "center", None)
    if not drawn and centre is not None and np.isfinite([centre.x, centre.y]).all():
        row, column = round(float(centre.y)), round(float(centre.x))
        if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
            mask[row, column] = True
