"""Primary beams from files: tables of a radial profile, and FITS images.

A beam may be given as a text everywhere in the package. This module opens the ones that name a
file:

    table:PATH@1.4GHz    columns `angle` and `power`; the frequency may stand in the table's metadata instead
    image:PATH           an image (FITS, CASA) with a frequency axis; image:PATH@1.4GHz if it has none
    PATH.fits            the same as image:PATH.fits; so is the folder of an image of CASA

and hands all others to `uvstack.sky.primary_beam.primary_beam`.
"""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from uvstack.errors import ImageError, PrimaryBeamError, UvstackWarning
from uvstack.io.image_file import is_casa_image, read_cube
from uvstack.sky.primary_beam import (
    PrimaryBeam,
    RadialTable,
    frequency_text,
    parse_quantity,
    preset_names,
    primary_beam,
    range_text,
)
from uvstack.sky.primary_beam_image import BeamImage
from uvstack.sky.projection import pixel_steps

_VLA, _ALMA = (("VLA", "EVLA", "JVLA"), 0.05e9, 50.0e9), (("ALMA", "ACA"), 30e9, 1000e9)
#: Presets and aliases → how TELESCOP or TELESCOPE_NAME may begin, the usual first, and frequencies,
#: Hz.
_PRESETS_OF: dict[str, tuple[tuple[str, ...], float, float]] = {
    **dict.fromkeys(("vla", "evla", "jvla", "casa-vla", "vla-airy"), _VLA),
    **dict.fromkeys(("alma", "alma-7m", "aca", "casa-alma", "casa-alma-7m", "casa-aca"), _ALMA),
    "atca": (("ATCA",), 1.0e9, 106e9), "meerkat": (("MEERKAT",), 0.5e9, 3.6e9)}
_FITS_NAME = re.compile(r"\.(fits|fit)(\.gz|\.fz)?(@[^/]*)?$", re.IGNORECASE)


def read_primary_beam(beam: str | PrimaryBeam) -> PrimaryBeam:
    """The primary beam of a name, a text or a file.

    Parameters
    ----------
    beam : str or PrimaryBeam
        A text as in the module docstring, or anything `primary_beam` takes.

    Returns
    -------
    PrimaryBeam

    Raises
    ------
    PrimaryBeamError
        The text cannot be read, the file is missing, or what it holds is no beam.
    """
    if not isinstance(beam, str):
        return primary_beam(beam)
    kind, colon, rest = beam.strip().partition(":")
    if colon and kind.lower() == "table":
        return read_radial_table(*_path_and_frequency(rest))
    if colon and kind.lower() == "image":
        return read_beam_image(*_path_and_frequency(rest))
    if _FITS_NAME.search(beam.strip()) or is_casa_image(beam.strip()):
        return read_beam_image(*_path_and_frequency(beam.strip()))
    return primary_beam(beam)


def read_radial_table(path: str | Path, reference_frequency: float | None = None) -> RadialTable:
    """A radial beam from a table file.

    Parameters
    ----------
    path : str or Path
        ECSV, FITS or any text table that astropy recognises, with the columns `angle` (with a unit,
        or named `angle_deg`, `angle_arcmin`, `angle_arcsec` or `angle_rad`) and `power`.
    reference_frequency : float, optional
        Hz. By default `reference_frequency` of the table's metadata, a text with a unit or a
        quantity.

    Returns
    -------
    RadialTable

    Raises
    ------
    PrimaryBeamError
        The file cannot be read, or a column, its unit or the frequency is missing.
    """
    table = _open_table(Path(path))
    names = {name.lower(): name for name in table.colnames}
    angle_name = next((names[n] for n in names if n == "angle" or n.startswith("angle_")), None)
    if angle_name is None or "power" not in names:
        raise PrimaryBeamError(f"{path} has the columns {', '.join(table.colnames)}; wanted are "
                               "angle and power")
    if reference_frequency is None:
        meta = {str(key).lower(): value for key, value in table.meta.items()}
        if "reference_frequency" not in meta:
            raise PrimaryBeamError(f"{path} does not say its frequency; write "
                                   f"table:{path}@FREQUENCY, for example @1.4GHz")
        reference_frequency = parse_quantity(str(meta["reference_frequency"]), u.Hz,
                                             "the reference frequency")
    angle = _column(table, angle_name) * _angle_unit(table, angle_name, path)
    return RadialTable(angle, _column(table, names["power"]), reference_frequency, Path(path).name)


def read_beam_image(path: str | Path, reference_frequency: float | None = None) -> BeamImage:
    """A beam from an image file, as `uvstack.io.image_file.read_cube` reads it.

    The pointing centre is the reference pixel (CRPIX).

    Parameters
    ----------
    path : str or Path
    reference_frequency : float, optional
        Hz, for an image without a frequency axis; overrides the axis of an image with one plane.

    Returns
    -------
    BeamImage

    Raises
    ------
    PrimaryBeamError
        The file cannot be read, has no sky axes of a supported projection, or no frequency.
    """
    try:
        cube = read_cube(path)
    except ImageError as error:
        raise PrimaryBeamError(str(error)) from error
    sky = cube.wcs.wcs
    if any(abs(value) > 1e-12 for axis, _, value in sky.get_pv() if axis == sky.lat + 1):
        raise PrimaryBeamError(f"{path} has a slant projection (PV); regrid it to plain SIN")
    if str(sky.lngtyp).strip() != "RA":
        raise PrimaryBeamError(f"{path} is in {cube.frame.name} coordinates, against which north "
                               "is turned; regrid it to RA and DEC")
    planes, frequency = cube.data, cube.frequency
    if reference_frequency is not None:
        if len(planes) > 1:
            raise PrimaryBeamError(f"{path} has {len(planes)} frequencies of its own; leave the "
                                   "@FREQUENCY away")
        frequency = np.array([reference_frequency])
    if frequency is None:
        raise PrimaryBeamError(f"{path} has no FREQ axis; write image:{path}@FREQUENCY, for "
                               "example @1.4GHz")
    order = np.argsort(frequency)
    try:
        return BeamImage(
            power=planes[order],
            frequency=frequency[order],
            reference_pixel=(sky.crpix[0] - 1.0, sky.crpix[1] - 1.0),
            pixel_matrix=pixel_steps(cube.wcs, planes.shape[1:]),
            projection=str(sky.ctype[0])[-3:],
            source=Path(path).name,
        )
    except PrimaryBeamError as error:
        raise PrimaryBeamError(f"{path}: {error}") from error


def warn_of_other_telescope(beam: str | PrimaryBeam | None, telescope: str,
                            frequency: Iterable[float], name: str) -> None:
    """Warn where a preset is that of another telescope, or of other frequencies (Hz), than those of a set or image of that name.

    What says no telescope is not judged, and no beam that was made from a text, a file or numbers.
    """
    known = _PRESETS_OF.get(beam.strip().lower().replace("_", "-")) if isinstance(beam, str) else None
    if known is None:
        return
    found = re.sub(r"[^A-Z0-9]", "", telescope.upper())
    telescopes, low, high = known
    if found not in ("", "SIMULATED", "UNKNOWN") and not any(found.startswith(one)
                                                             for one in telescopes):
        warnings.warn(UvstackWarning(f"the primary beam {beam!r} is that of {telescopes[0]}, "
                                     f"{name} is of {telescope.strip()}; is that "
                                     f"meant? Known are {', '.join(preset_names())}"), stacklevel=3)
    outside = [nu for nu in frequency if not low <= nu <= high]
    if outside:
        warnings.warn(UvstackWarning(f"the primary beam {beam!r} of {telescopes[0]} is known for "
                                     f"{range_text(low, high)}, {name} has "
                                     f"{frequency_text(outside[0])}; is that meant?"), stacklevel=3)


def _path_and_frequency(text: str) -> tuple[str, float | None]:
    path, at, frequency = text.rpartition("@")
    if not at or "/" in frequency or Path(text).exists():  # an @ may be part of the path
        return text.strip(), None
    return path.strip(), parse_quantity(frequency, u.Hz, "the frequency")


def _open_table(path: Path) -> Table:
    if not path.is_file():
        raise PrimaryBeamError(f"no file {path} with a table of a primary beam; check the path")
    known = {".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits"}
    try:
        return Table.read(path, format=known.get(path.suffix.lower(), "ascii"))
    except (OSError, ValueError, TypeError) as error:
        raise PrimaryBeamError(f"{path} is not a table that astropy can read; write it "
                               f"as ECSV ({error})") from error


def _column(table: Table, name: str) -> NDArray[np.float64]:
    try:
        return np.ma.filled(np.ma.asarray(table[name], dtype=np.float64), np.nan)
    except (TypeError, ValueError) as error:
        raise PrimaryBeamError(f"the column {name} holds values that are no numbers "
                               f"({error})") from error


def _angle_unit(table: Table, name: str, path: str | Path) -> float:
    """Radians in the unit of the column of angles."""
    unit = table[name].unit or name.lower().partition("_")[2]
    if unit and u.Unit(unit, parse_strict="silent").is_equivalent(u.rad):
        return u.Unit(unit).to(u.rad)
    raise PrimaryBeamError(f"the column {name} of {path} has no unit of angle; name it for "
                           "example angle_arcmin")
