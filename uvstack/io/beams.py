"""Primary beams from files: tables of a radial profile, and FITS images.

A beam may be given as a text everywhere in the package. This module opens the ones that name a file:

    table:PATH@1.4GHz    columns `angle` and `power`; the frequency may stand in the table's metadata instead
    image:PATH           a FITS image with a frequency axis; image:PATH@1.4GHz if it has none
    PATH.fits            the same as image:PATH.fits

and hands all others to `uvstack.sky.primary_beam.primary_beam`.
"""

import re
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from uvstack.errors import PrimaryBeamError
from uvstack.sky.primary_beam import PrimaryBeam, RadialTable, parse_quantity, primary_beam
from uvstack.sky.primary_beam_image import BeamImage

_FITS_NAME = re.compile(r"\.(fits|fit)(\.gz)?(@[^/]*)?$", re.IGNORECASE)


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
    if _FITS_NAME.search(beam.strip()):
        return read_beam_image(*_path_and_frequency(beam.strip()))
    return primary_beam(beam)


def read_radial_table(path: str | Path, reference_frequency: float | None = None) -> RadialTable:
    """A radial beam from a table file.

    Parameters
    ----------
    path : str or Path
        ECSV, FITS or any text table that astropy recognises, with the columns `angle` (with a unit, or named
        `angle_deg`, `angle_arcmin`, `angle_arcsec` or `angle_rad`) and `power`.
    reference_frequency : float, optional
        Hz. By default `reference_frequency` of the table's metadata, a text with a unit or a quantity.

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
        raise PrimaryBeamError(f"{path} has the columns {', '.join(table.colnames)}; wanted are angle and power")
    if reference_frequency is None:
        meta = {str(key).lower(): value for key, value in table.meta.items()}
        if "reference_frequency" not in meta:
            raise PrimaryBeamError(
                f"{path} does not say its frequency; write table:{path}@FREQUENCY, for example @1.4GHz"
            )
        reference_frequency = parse_quantity(str(meta["reference_frequency"]), u.Hz, "the reference frequency")
    angle = _column(table, angle_name) * _angle_unit(table, angle_name, path)
    return RadialTable(angle, _column(table, names["power"]), reference_frequency, Path(path).name)


def read_beam_image(path: str | Path, reference_frequency: float | None = None) -> BeamImage:
    """A beam from the first image of a FITS file.

    The pointing centre is the reference pixel (CRPIX). Axes other than the two of the sky and FREQ must have one pixel;
    of a STOKES axis the first plane is taken.

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
    data, header = _open_image(Path(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(header)
        wcs.wcs.set()
    sky = (wcs.wcs.lng, wcs.wcs.lat)
    if min(sky) < 0:
        raise PrimaryBeamError(
            f"{path} has the axes {', '.join(wcs.wcs.ctype)}; wanted is a pair such as RA---SIN, DEC--SIN"
        )
    _require_plain_sky(wcs, path)
    planes, frequency = _planes(data, wcs, path)
    if reference_frequency is not None:
        if len(planes) > 1:
            raise PrimaryBeamError(f"{path} has {len(planes)} frequencies of its own; leave the @FREQUENCY away")
        frequency = np.array([reference_frequency])
    if frequency is None:
        raise PrimaryBeamError(f"{path} has no FREQ axis; write image:{path}@FREQUENCY, for example @1.4GHz")
    order = np.argsort(frequency)
    return BeamImage(
        power=planes[order],
        frequency=frequency[order],
        reference_pixel=(wcs.wcs.crpix[sky[0]] - 1.0, wcs.wcs.crpix[sky[1]] - 1.0),
        pixel_matrix=np.radians(wcs.pixel_scale_matrix[np.ix_(sky, sky)]),
        projection=wcs.wcs.ctype[sky[0]][-3:],
        source=Path(path).name,
    )


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
        raise PrimaryBeamError(f"{path} is not a table that astropy can read; write it as ECSV ({error})") from error


def _column(table: Table, name: str) -> NDArray[np.float64]:
    try:
        return np.ma.filled(np.ma.asarray(table[name], dtype=np.float64), np.nan)
    except (TypeError, ValueError) as error:
        raise PrimaryBeamError(f"the column {name} holds values that are no numbers ({error})") from error


def _angle_unit(table: Table, name: str, path: str | Path) -> float:
    """Radians in the unit of the column of angles."""
    unit = table[name].unit or name.lower().partition("_")[2]
    if unit and u.Unit(unit, parse_strict="silent").is_equivalent(u.rad):
        return u.Unit(unit).to(u.rad)
    raise PrimaryBeamError(f"the column {name} of {path} has no unit of angle; name it for example angle_arcmin")


def _open_image(path: Path) -> tuple[NDArray[np.float64], fits.Header]:
    if not path.is_file():
        raise PrimaryBeamError(f"no FITS file {path} with an image of a primary beam; export CASA images to FITS first")
    try:
        with fits.open(path, memmap=False) as hdus:
            for hdu in hdus:
                if hdu.is_image and hdu.data is not None and hdu.data.ndim >= 2:
                    return np.asarray(hdu.data, dtype=np.float64), hdu.header
    except OSError as error:
        raise PrimaryBeamError(f"{path} is not a FITS file ({error})") from error
    raise PrimaryBeamError(f"{path} holds no image of two dimensions or more; is it a table? then write table:{path}")


def _require_plain_sky(wcs: WCS, path: str | Path) -> None:
    """Refuse what would turn or slant the sky against the pixels in a way that `BeamImage` does not follow."""
    if abs(wcs.wcs.lonpole - 180.0) > 1e-6:
        raise PrimaryBeamError(f"{path} has LONPOLE {wcs.wcs.lonpole}; regrid it with the default of 180")
    if any(value != 0.0 for axis, _, value in wcs.wcs.get_pv() if axis == wcs.wcs.lat + 1):
        raise PrimaryBeamError(f"{path} has a slant projection (PV); regrid it to plain SIN")


def _planes(data: NDArray, wcs: WCS, path: str | Path) -> tuple[NDArray, NDArray | None]:
    """Image as (plane, y, x), and the frequencies if there is such an axis."""
    naxis, spectral = wcs.naxis, wcs.wcs.spec
    if data.ndim != naxis:
        raise PrimaryBeamError(f"{path} has {data.ndim} axes of pixels but {naxis} of coordinates")
    has_frequency = spectral >= 0 and wcs.wcs.ctype[spectral].upper().startswith("FREQ")
    keep = [wcs.wcs.lng, wcs.wcs.lat, *([spectral] if has_frequency else [])]
    data = data.transpose()  # numpy has the axes of FITS in reverse
    for axis in range(naxis):
        if axis not in keep:
            if data.shape[axis] > 1 and not wcs.wcs.ctype[axis].upper().startswith("STOKES"):
                raise PrimaryBeamError(
                    f"{path} has {data.shape[axis]} pixels along {wcs.wcs.ctype[axis] or 'an unnamed axis'}; select one"
                )
            data = data.take([0], axis=axis)
    rest = [axis for axis in range(naxis) if axis not in keep]
    planes = np.transpose(data, [*keep[::-1], *rest])
    if not has_frequency:
        return planes.reshape(1, *planes.shape[:2]), None
    planes = planes.reshape(planes.shape[:3])
    pixel = np.arange(len(planes)) + 1.0 - wcs.wcs.crpix[spectral]
    return planes, wcs.wcs.crval[spectral] + pixel * wcs.pixel_scale_matrix[spectral, spectral]
