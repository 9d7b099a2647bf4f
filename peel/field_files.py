"""Images on the way, the mask of the field, and its model in a column.

The field's model is what CLEAN finds within a mask, never what it finds anywhere: components on
artefacts of the bright source would keep them there, since gains are then solved against them. The
mask is where an image stands above the noise around it, which artefacts raise, and leaves the
bright directions out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import UvstackWarning
from uvstack.imaging.task import image
from uvstack.io.dataset import default_cell
from uvstack.io.image_file import read_image
from uvstack.pixels.grid import good_size
from uvstack.pixels.noise import robust_noise
from uvstack.records import Selection, Structure
from uvstack.sky.coordinates import centre_of, direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.subtraction.task import subtract

#: Sides of an image at most; farther fields get coarser pixels and shorter baselines.
_MOST_PIXELS = 4096
#: Beams beyond the outermost region that an image goes on.
_MARGIN = 20
#: Sides of the boxes in which the local noise is measured, and how many are smoothed together.
_BOX, _BOXES = 72, 3
#: Pixels by which islands of the mask are made larger, and the bright regions.
_GROWN, _KEPT_OFF = 3, 6
#: Band over frequency from which images have two Taylor terms.
_WIDE = 0.1


@dataclass(frozen=True)
class Frame:
    """What all images of a run share.

    Attributes
    ----------
    size : int
        Pixels.
    cell : float
        rad.
    phase_centre : (float, float)
        J2000, rad.
    primary_beam : PrimaryBeam or None
    terms : int
    robust : float
    uvmax : float or None
        m, where pixels are too coarse for the longest baselines.
    """

    size: int
    cell: float
    phase_centre: tuple[float, float]
    primary_beam: PrimaryBeam | None
    terms: int
    robust: float
    uvmax: float | None


def pointings_of(structure: Structure, selection: Selection) -> list[tuple[float, float]]:
    """Where the antennas look, J2000, rad."""
    return [centre_of(f.frame, *f.beam_centre)[:2] for f in structure.fields
            if f.id in selection.field_ids]


def frame_of(structure: Structure, selection: Selection, places: tuple[NDArray, NDArray] | None,
             beam: PrimaryBeam | None, size: int | None = None, cell: float | None = None,
             robust: float = 0.5) -> Frame:
    """Images that hold all pointings and places, and see each pointing to 6 % of its beam.

    Parameters
    ----------
    structure, selection
    places : (ndarray, ndarray), optional
        RA and Dec, J2000, rad.
    beam : PrimaryBeam, optional
    size, cell : int, float (rad), optional
        Default: as large as it takes, and a fifth of the sharpest beam, or what `size` or 4096 pixels
        leave; longer baselines are left out then.
    robust : float
    """
    pointings = pointings_of(structure, selection)
    unit = np.mean([(np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec))
                    for ra, dec in pointings], axis=0)
    middle = float(np.arctan2(unit[1], unit[0]) % (2 * np.pi)), float(
        np.arctan2(unit[2], np.hypot(unit[0], unit[1])))
    frequency = np.concatenate([d.spw.frequency for d in structure.used(selection)])
    # The FWHM of a dish of diameter D is about 1.2 λ/D; the beam is 6 % that far out.
    reach = 1.2 * SPEED_OF_LIGHT / frequency.min() / structure.dish_diameters.min()
    finest = default_cell((structure,), (selection,))
    chosen = finest if cell is None else cell
    half = max(_farthest(*np.array(pointings).T, middle=middle) + reach, 16 * chosen)
    if places is not None:
        half = max(half, _farthest(*places, middle=middle) + _MARGIN * 5 * finest)
    most = _MOST_PIXELS if size is None else size
    if cell is None and 2 * half / chosen > most:
        chosen = 2 * half / most
    wide = np.ptp(frequency) > _WIDE * frequency.mean()
    return Frame(good_size(int(np.ceil(2 * half / chosen))) if size is None else good_size(size),
                 chosen, middle, beam, 2 if wide else 1, robust,
                 None if cell is not None or chosen <= finest
                 else SPEED_OF_LIGHT / frequency.max() / (5 * chosen))


def _farthest(ra: NDArray, dec: NDArray, *, middle: tuple[float, float]) -> float:
    """Largest |l| or |m| of directions, rad."""
    l, m, _ = direction_cosines(ra, dec, *middle)
    return float(np.maximum(np.abs(l), np.abs(m)).max())


def make_image(frame: Frame, structure: Structure, selection: Selection, column: str, out: Path, *,
               mask: NDArray[np.bool_] | None = None, iterations: int = 3000, cycles: int = 12,
               sigma: float = 3.0, threads: int | None = None,
               progress: Callable[[int, int], None] | None = None) -> Path:
    """Make OUT-image.fits and what belongs to it, unless it is there; path of the image.

    Parameters
    ----------
    frame, structure, selection
    column : str
    out : Path
    mask : ndarray (m, l) bool, optional
        Where CLEAN looks; default: wherever it finds something.
    iterations, cycles : int
    sigma : float
        Of the noise, down to which CLEAN goes.
    threads, progress
        As of `uvstack.image`.
    """
    path = out.with_name(f"{out.name}-image.fits")
    if is_made(out):
        return path
    image(structure.path, size=frame.size, cell=frame.cell, column=column,
          field=ids_text(selection.field_ids),
          spw=ids_text({d.spw.id for d in structure.used(selection)}),
          phase_centre=frame.phase_centre, primary_beam=frame.primary_beam, pb_cutoff=0.0,
          weighting="briggs", robust=frame.robust, terms=frame.terms, uvmax=frame.uvmax,
          iterations=iterations if mask is None or mask.any() else 0, most_cycles=cycles,
          threshold_sigma=sigma, mask=None if mask is None or not mask.any() else mask,
          threads=threads, progress=progress, out=out, overwrite=True)
    return path


def is_made(out: Path) -> bool:
    """Whether an image of this name is there."""
    return all(out.with_name(out.name + end).exists() for end in ("-image.fits", ".json"))


def ids_text(ids: Any) -> str:
    """Ids as a selection says them."""
    return ",".join(str(i) for i in sorted(ids))


def read_plane_of(path: Path) -> NDArray[np.float64]:
    """Pixels (m, l) of an image of ours."""
    return np.asarray(read_image(path).data, np.float64)


def field_mask(image_data: NDArray, sigma: float, regions: Sequence[NDArray[np.bool_]],
               around: int = _KEPT_OFF) -> NDArray[np.bool_]:
    """Where an image stands above the noise around it, without the bright regions.

    Parameters
    ----------
    image_data : ndarray (m, l)
    sigma : float
        Times the local noise.
    regions : sequence of ndarray (m, l) bool
        Left out, with so many pixels around.
    around : int
    """
    data = np.nan_to_num(image_data)
    mask = ndimage.binary_dilation(data > sigma * local_noise(data), iterations=_GROWN)
    for region in regions:
        mask &= ndimage.distance_transform_edt(~region) > around
    return np.asarray(mask, np.bool_)


def local_noise(data: NDArray) -> NDArray[np.float64]:
    """Noise around each pixel: median absolute deviation in boxes, smoothed over 3 × 3 of them.

    Parameters
    ----------
    data : ndarray (m, l)
    """
    rows, columns = (np.linspace(0, n, max(n // _BOX, 1) + 1).astype(int) for n in data.shape)
    noise = np.empty((len(rows) - 1, len(columns) - 1))
    for i in range(noise.shape[0]):
        for j in range(noise.shape[1]):
            noise[i, j] = robust_noise(data[rows[i] : rows[i + 1], columns[j] : columns[j + 1]])
    noise = ndimage.median_filter(noise, _BOXES, mode="nearest")
    at = np.meshgrid(*(((np.arange(n) + 0.5) * k / n - 0.5)
                       for n, k in zip(data.shape, noise.shape, strict=True)), indexing="ij")
    return np.asarray(ndimage.map_coordinates(noise, at, order=1, mode="nearest"))


def predict_field(frame: Frame, structure: Structure, selection: Selection, model: Path,
                  column: str, like: str, keep: NDArray[np.bool_] | None = None,
                  threads: int | None = None) -> None:
    """Write what the antennas see of a model image into a column.

    Parameters
    ----------
    frame, structure, selection
    model : Path
        As the image task writes it, with its second Taylor term beside it.
    column : str
        Replaced where it exists.
    like : str
        Of the data.
    keep : ndarray (m, l) bool, optional
        Where the model counts; default everywhere.
    threads : int, optional
    """
    second = model.with_name(model.name.replace("-model", "-model-tt1"))
    terms = [model, second][: frame.terms]
    if keep is not None:
        terms = [_cut(path, keep) for path in terms]
    with warnings.catch_warnings():
        # A field without sources is one.
        warnings.filterwarnings("ignore", "is 0 everywhere|.* is 0 everywhere", UvstackWarning)
        _predict(frame, structure, selection, terms, column, like, threads)


def _predict(frame: Frame, structure: Structure, selection: Selection, terms: Sequence[Path],
             column: str, like: str, threads: int | None) -> None:
    subtract(structure.path, terms[0], column=like, model_tt1=terms[1] if len(terms) > 1 else None,
             primary_beam=frame.primary_beam, predict_only=True, into=column, overwrite=True,
             field=ids_text(selection.field_ids),
             spw=ids_text({d.spw.id for d in structure.used(selection)}), threads=threads)


def _cut(path: Path, keep: NDArray[np.bool_]) -> Path:
    """A model image without what lies outside."""
    from astropy.io import fits

    with fits.open(path) as file:
        data = file[0].data.copy()
        data[..., ~keep] = 0
        to = path.with_name(path.name.replace("-model", "-masked-model"))
        fits.writeto(to, data, file[0].header, overwrite=True)
    return to
