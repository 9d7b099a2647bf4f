"""Skies given as FITS images in Jy/pixel: what is in them, and at which frequency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uvstack.errors import ImageError
from uvstack.io.image_file import read_model_image
from uvstack.pixels.geometry import ImageGeometry, image_geometry


@dataclass(frozen=True, eq=False)
class ImageModel:
    """Brightness of the sky in pixels that are point sources.

    Attributes
    ----------
    name : str
    planes : ndarray (band, m, l)
        Jy/pixel.
    frequency : ndarray (band,)
        Hz, increasing. Between them the brightness is linear, beyond them constant.
    geometry : ImageGeometry
    spectral_index : float
        Of an image of one plane: S ∝ (ν / frequency[0])^spectral_index.
    """

    name: str
    planes: np.ndarray
    frequency: np.ndarray
    geometry: ImageGeometry
    spectral_index: float = 0.0

    @property
    def flux(self) -> float:
        """Sum of the first plane, Jy."""
        return float(np.nansum(self.planes[0]))

    def parts(self, frequency: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Planes (m, l) and their share (chan,) of each channel: Σ share × plane is the sky at frequencies (chan,) in Hz."""
        if self.frequency.size == 1:
            return [(self.planes[0], (frequency / self.frequency[0]) ** self.spectral_index)]
        identity = np.eye(self.frequency.size)
        shares = [np.interp(frequency, self.frequency, one) for one in identity]
        return [(plane, share) for plane, share in zip(self.planes, shares, strict=True)
                if share.any()]


def read_image_model(path: str | Path, spectral_index: float = 0.0,
                     reference_frequency: float | None = None) -> ImageModel:
    """Model of a FITS image or cube in Jy/pixel.

    Parameters
    ----------
    path : str or Path
        SIN projection, J2000 or ICRS, north up.
    spectral_index : float
        For an image of one plane.
    reference_frequency : float, optional
        Hz, where the plane's brightness holds; default that of the file's frequency axis.

    Raises
    ------
    ImageError
        The file cannot be read, is not in Jy/pixel, its projection or frame is another; a cube is
        given a spectral index; a spectral index has no reference frequency.
    """
    model = read_model_image(path)
    planes, wcs, frequency = model.data, model.wcs, model.frequency
    if reference_frequency is not None:
        if planes.shape[0] > 1:
            raise ImageError(f"{path}: a cube of {planes.shape[0]} planes has frequencies of its "
                             "own; leave reference_frequency out")
        frequency = np.array([float(reference_frequency)])
    if spectral_index and planes.shape[0] > 1:
        raise ImageError(f"{path}: a cube of {planes.shape[0]} planes has its own spectrum; leave "
                         "spectral_index out")
    if frequency is None:
        if spectral_index:
            raise ImageError(f"{path}: has no frequency axis for the spectral index "
                             f"{spectral_index:g}; give reference_frequency")
        frequency = np.array([1.0])
    if not (np.isfinite(frequency).all() and (frequency > 0).all() and np.isfinite(spectral_index)):
        raise ImageError(f"{path}: frequencies {frequency} Hz and spectral index "
                         f"{spectral_index}; they must be finite, and Hz positive")
    order = np.argsort(frequency)
    return ImageModel(Path(path).name, planes[order], frequency[order],
                      image_geometry(wcs, planes.shape[1:]), float(spectral_index))
