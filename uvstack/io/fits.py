"""Reading and writing FITS images of the sky."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from uvstack.errors import ImageError
from uvstack.io.output import written_whole


@dataclass(frozen=True)
class SkyImage:
    """A plane of a FITS image: data (m, l), its celestial WCS, and the beam's FWHM (rad) or None."""

    data: np.ndarray
    wcs: WCS
    beam_major: float | None
    beam_minor: float | None

    @property
    def cell(self) -> float:
        """Pixel size, rad: the geometric mean of both axes."""
        return float(np.deg2rad(np.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix)))))

    def pixels_of(self, coord: SkyCoord) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates x, y, from 0; NaN where the projection does not reach."""
        x, y = self.wcs.world_to_pixel(coord)
        return np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))


def read_image(path: str | Path) -> SkyImage:
    """First plane of the first image of a FITS file.

    Raises
    ------
    ImageError
        If there is no such file, it is no FITS file, or holds no image with celestial axes.
    """
    import warnings

    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: no such image")
    try:
        with warnings.catch_warnings(), fits.open(path) as hdus:
            warnings.simplefilter("ignore", FITSFixedWarning)
            hdu = next((h for h in hdus if h.is_image and h.data is not None and h.data.ndim >= 2), None)
            if hdu is None:
                raise ImageError(f"{path}: holds no image")
            data = np.array(hdu.data.reshape((-1, *hdu.data.shape[-2:]))[0], dtype=np.float64)
            wcs = WCS(hdu.header).celestial
            major, minor = hdu.header.get("BMAJ"), hdu.header.get("BMIN")
    except OSError as error:
        raise ImageError(f"{path}: not a FITS file: {error}") from error
    if not wcs.has_celestial:
        raise ImageError(f"{path}: the image has no celestial coordinates")
    if not np.isfinite(data).any():
        raise ImageError(f"{path}: every pixel is blank")
    return SkyImage(data, wcs, *(None if b is None else float(np.deg2rad(b)) for b in (major, minor)))


def write_stamp(path: str | Path, brightness: np.ndarray, cell: float, ra: float, dec: float, cards: dict) -> None:
    """Write a stamp (m, l) in Jy/beam around ra, dec (rad) as a FITS image.

    Parameters
    ----------
    path : str or Path
    brightness : ndarray (m, l)
    cell : float
        Pixel, rad.
    ra, dec : float
        Direction of pixel (size/2, size/2).
    cards : dict
        More header cards.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [(ra * u.rad).to_value(u.deg), (dec * u.rad).to_value(u.deg)]
    wcs.wcs.crpix = [n // 2 + 1 for n in brightness.shape[::-1]]
    wcs.wcs.cdelt = [-np.rad2deg(cell), np.rad2deg(cell)]
    header = wcs.to_header()
    header["BUNIT"] = "Jy/beam"
    for name, value in cards.items():
        header[name] = value
    with written_whole(path) as partial:
        fits.PrimaryHDU(brightness.astype(np.float32), header).writeto(partial)
