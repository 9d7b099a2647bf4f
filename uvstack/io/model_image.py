"""FITS images in Jy/pixel as models of the sky: planes, where their pixels lie and which frequencies they hold for."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from uvstack.errors import ImageError


def read_model_image(path: str | Path) -> tuple[np.ndarray, WCS, np.ndarray | None]:
    """Planes (band, m, l) in Jy/pixel, celestial WCS, and frequencies (band,) in Hz, or None, of a FITS image or cube.

    Blank pixels come back as 0. Of the Stokes parameters I is taken.

    Raises
    ------
    ImageError
        If there is no such file, it is no FITS image with celestial axes, is not in Jy/pixel, has no frequencies for its
        planes, or holds nothing.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: no such image")
    try:
        with warnings.catch_warnings(), fits.open(path) as hdus:
            warnings.simplefilter("ignore", FITSFixedWarning)
            hdu = next((h for h in hdus if h.is_image and h.data is not None and h.data.ndim >= 2), None)
            if hdu is None:
                raise ImageError(f"{path}: holds no image")
            data, header = np.array(hdu.data, np.float64), hdu.header
            wcs = WCS(header)
    except OSError as error:
        raise ImageError(f"{path}: not a FITS file: {error}") from error
    if not wcs.has_celestial or (wcs.wcs.lng, wcs.wcs.lat) != (0, 1):
        raise ImageError(f"{path}: the first two axes are {', '.join(map(str, wcs.wcs.ctype[:2]))}; wanted right ascension and declination")
    _require_unit(path, header.get("BUNIT"))
    planes = _stokes_i(data, [str(kind) for kind in wcs.wcs.ctype], path)
    if not np.isfinite(planes).any():
        raise ImageError(f"{path}: every pixel is blank")
    return np.where(np.isfinite(planes), planes, 0.0), wcs.celestial, _frequencies(path, wcs, planes.shape[0])


def _require_unit(path: Path, unit: str | None) -> None:
    if (unit or "").replace(" ", "").lower() in ("jy/pixel", "jy/pix", "jypixel-1", "jy.pixel-1"):
        return
    raise ImageError(f"{path}: is in {unit or 'no unit (BUNIT)'}; wanted a model in Jy/pixel, such as the components of a deconvolution")


def _stokes_i(data: np.ndarray, kinds: list[str], path: Path) -> np.ndarray:
    """Planes (band, m, l): the axes of FITS in reverse, without those that are neither sky nor frequency."""
    for axis in range(data.ndim - 1, 1, -1):
        if kinds[axis].startswith(("FREQ", "VRAD", "VELO", "VOPT")):
            continue
        along = data.ndim - 1 - axis
        if data.shape[along] > 1 and not kinds[axis].startswith("STOKES"):
            raise ImageError(f"{path}: has {data.shape[along]} planes along {kinds[axis] or 'an axis without a name'}; "
                             "wanted frequencies")
        data = np.take(data, [0], axis=along)
    return data.reshape(-1, *data.shape[-2:])


def _frequencies(path: Path, wcs: WCS, n: int) -> np.ndarray | None:
    """Hz of each plane; None for one plane that does not say."""
    spectral = wcs.spectral
    if spectral.naxis == 0:
        if n > 1:
            raise ImageError(f"{path}: {n} planes without a frequency axis; give FREQ as the third axis")
        return None
    try:
        return np.atleast_1d(u.Quantity(spectral.pixel_to_world(np.arange(n)), copy=False).to_value(u.Hz, equivalencies=u.spectral()))
    except (u.UnitConversionError, ValueError) as error:
        raise ImageError(f"{path}: its spectral axis is not in frequency ({error}); wanted FREQ in Hz") from error
