"""Models of the sky from files: images and cubes in Jy/pixel, Taylor terms, catalogues of components."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.table import QTable
from astropy.units import Quantity

from uvstack.errors import ComponentError, ImageError
from uvstack.io.catalogues import read_catalogue
from uvstack.io.image_file import holds_image, read_model_image
from uvstack.pixels.geometry import ImageGeometry, image_geometry
from uvstack.sky.catalogue import COLUMNS, MODEL_COLUMNS, components_of, is_measured
from uvstack.sky.components import Components
from uvstack.sky.frequency import parse_frequency
from uvstack.subtraction.sky_model import ComponentSky, ImageSky, SkyModel

_CATALOGUES = (".ecsv", ".csv", ".xml", ".vot", ".votable")
#: Column → names that others give it.
_OTHER_NAMES = {"fwhm_major": ("size", "fwhm", "maj", "major", "majoraxis", "major_axis",
                               "maj_axis", "bmaj", "dc_maj", "sigma", "radius", "diameter"),
                "fwhm_minor": ("min", "minor", "minoraxis", "minor_axis", "min_axis", "bmin",
                               "dc_min"),
                "spectral_index": ("alpha", "si", "spix", "spidx", "index", "specindex",
                                   "spec_index", "spindex")}
_IMAGES = (".fits", ".fit", ".fits.gz", ".fz")


def read_sky_model(path: str | Path, tt1: str | Path | None = None,
                   nu0: float | str | Quantity | None = None) -> SkyModel:
    """Model in a file: an image or cube (FITS, Jy/pixel) or a catalogue (ECSV, CSV, VOTable, FITS table).

    Parameters
    ----------
    path : str or Path
    tt1 : str or Path, optional
        Second Taylor term, Jy/pixel, beside an image of one plane.
    nu0 : float, str or Quantity, optional
        Frequency (a number is in Hz, "1.4GHz") at which Taylor terms, or the spectra of a
        catalogue, are given; default what the file says.

    Raises
    ------
    ImageError
        An image is not in Jy/pixel, in another frame or projection, its terms do not fit together,
        or nothing says ν0.
    ComponentError
        A catalogue cannot be read, or a column of it is not known.
    """
    path = Path(path)
    nu0 = None if nu0 is None else parse_frequency(nu0, "nu0")
    if not path.exists():
        raise ImageError(f"{path}: no such file; wanted an image, a catalogue or the name of a "
                         "column")
    is_fits = path.name.lower().endswith(_IMAGES) or path.is_dir()
    if path.suffix.lower() in _CATALOGUES or (is_fits and not holds_image(path)):
        if tt1 is not None:
            raise ImageError(f"{path} is a catalogue; a second Taylor term belongs to an image")
        return ComponentSky(_components(path, nu0))
    if not is_fits:
        raise ImageError(f"{path}: is of no kind that is known; wanted a FITS image, or a "
                         "catalogue as ECSV, CSV, VOTable or FITS table")
    return _image(path, tt1, nu0)


def _image(path: Path, tt1: str | Path | None, nu0: float | None) -> ImageSky:
    planes, geometry, frequency = _planes(path)
    if tt1 is None:
        if nu0 is not None:
            raise ImageError(f"{path}: nu0 belongs to Taylor terms or a catalogue; give the "
                             "second term with --model-tt1, or leave nu0 out")
        if frequency is not None and len(planes) > 1:
            order = np.argsort(frequency)
            planes, frequency = planes[order], frequency[order]
        return ImageSky(planes, geometry, frequency)
    second, second_geometry, _ = _planes(tt1)
    if len(planes) > 1 or len(second) > 1:
        raise ImageError(f"{path} and {tt1} have {len(planes)} and {len(second)} planes; Taylor "
                         "terms have one each")
    if second.shape != planes.shape or second_geometry != geometry:
        raise ImageError(f"{path} and {tt1} do not have the same pixels; make both terms on one "
                         "grid")
    if nu0 is None and frequency is None:
        raise ImageError(f"{path}: has no frequency axis to take the Taylor terms' reference "
                         "from; give --nu0")
    reference = nu0 if nu0 is not None or frequency is None else float(frequency[0])
    return ImageSky(np.concatenate([planes, second]), geometry, None, reference)


def _planes(path: str | Path) -> tuple[np.ndarray, ImageGeometry, np.ndarray | None]:
    """Planes (band, m, l) in Jy/pixel, where they lie, and frequencies (band,) in Hz where they are known."""
    model = read_model_image(path)
    try:
        return model.data, image_geometry(model.wcs, model.data.shape[1:]), model.frequency
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _components(path: Path, nu0: float | None) -> Components:
    table = read_catalogue(path)
    _check_columns(path, table)
    given = table.meta.get("reference_frequency")
    if given is not None and nu0 is not None and not np.isclose(float(given), nu0, rtol=1e-9):
        raise ComponentError(f"{path}: says that its reference frequency is "
                             f"{float(given) / 1e9:.9g} GHz, --nu0 {nu0 / 1e9:.9g} GHz; "
                             "leave --nu0 out")
    table.meta["reference_frequency"] = nu0 if given is None else float(given)
    if is_measured(table):
        return components_of(table, source=str(path))
    try:
        # Those of a deconvolution may be negative, which a sky is not: taken as a sky, and then
        # turned round.
        sign = np.where(np.asarray(table["flux"], float) < 0, -1.0, 1.0)
        table["flux"] = table["flux"] * sign
        found = components_of(table)
    except ComponentError as error:
        raise ComponentError(f"{path}: {error}") from error
    if (found.shape == "clean-scale").any() and not found.cell:
        raise ComponentError(f"{path}: has scales of CLEAN and does not say the pixels they were "
                             "put on (cell_rad in its metadata, rad); "
                             "take the model image instead, or write the size of its pixels there")
    return replace(found, flux=found.flux * sign)


def _check_columns(path: Path, table: QTable) -> None:
    """Refuse columns that nearly have a known name, or mean what one does: a spectrum or a size would be lost without a word."""
    names = list(table.colnames)
    unknown = [name for name in names if name not in COLUMNS]
    for name in unknown:
        meant = next((one for one, others in _OTHER_NAMES.items()
                      if name.lower() in others and one not in names), None)
        if meant is not None and table[name].dtype.kind in "iuf" and np.nan_to_num(
            np.ma.filled(np.ma.asarray(table[name]), 0)).any():
            raise ComponentError(f"{path}: the column {name!r} is not known; call it {meant!r} if "
                                 "it is that, or remove it")
    for name in unknown:
        close = [one
                 for one in difflib.get_close_matches(name.lower(), MODEL_COLUMNS, n=1, cutoff=0.75)
                 if one not in names]
        if close:
            raise ComponentError(f"{path}: the column {name!r} is not known; did you mean "
                                 f"{close[0]!r}? Rename or remove it")
    missing = [name for name in ("ra", "dec", "flux") if name not in names]
    if missing:
        near = difflib.get_close_matches(missing[0], names, n=1, cutoff=0.0)
        raise ComponentError(f"{path}: the column {missing[0]!r} is missing; the nearest is "
                             f"{near[0]!r} of {', '.join(names)}")
    if len(table) == 0:
        raise ComponentError(f"{path}: the catalogue is empty; nothing can be subtracted")
