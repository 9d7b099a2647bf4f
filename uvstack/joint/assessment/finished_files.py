"""A finished joint image beside the dish's map and the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray
from scipy import ndimage

from uvstack.errors import ImageError
from uvstack.io.fits import write_image
from uvstack.io.image_file import SkyCube, read_cube
from uvstack.joint.assessment.comparison import Comparison, compare
from uvstack.joint.assessment.result import Against
from uvstack.joint.single_dish_files import (
    DishOnGrid,
    beam_matrix,
    beam_of,
    frequency_of,
    matched_channels,
    per_steradian,
    read_both,
    same_pixels,
    steps_of,
)
from uvstack.joint.uv_plane import UVPlane
from uvstack.sky.beam import Beam, areas_of_covariances

#: Parts of the peak above which the dish's map and the truth are looked at.
LEAST_OF_DISH, LEAST_OF_TRUTH = 0.1, 0.03
#: Beams of the dish from an edge within which its map is not compared, and the part by which a
#: truth's beam may be larger than the image's.
_RIM, _SAME_BEAM = 0.5, 1e-3
#: FWHM of what stands for no beam, in pixels.
_POINT = 1e-6


@dataclass(frozen=True, eq=False)
class Finished:
    """A joint image, the dish's map and the truth, as they stand in their files.

    `psf` is the dish's beam as an image, `dish_beam` that of a map that says none at a frequency
    (Hz).
    """

    image: SkyCube
    low: SkyCube
    truth: SkyCube | None
    psf: SkyCube | None = None
    dish_beam: Callable[[float], Beam | None] | None = None

    def maps(self) -> tuple[str, ...]:
        """Names of the maps that can be made."""
        return ("dish-ratio",) if self.truth is None else ("dish-ratio", "accuracy", "fidelity")


def read_finished(image: str | Path | None, truth: str | Path | None, low: SkyCube,
                  psf: SkyCube | None = None,
                  dish_beam: Callable[[float], Beam | None] | None = None) -> Finished | None:
    """An image and its truth, or nothing; `psf` and `dish_beam` as in `Finished`.

    Raises
    ------
    ImageError
        One cannot be read, has no beam, or they are of different Stokes parameters.
    """
    if image is None:
        return None
    if truth is None:
        made = Finished(read_cube(image, oriented=False), low, None, psf, dish_beam)
    else:
        first, second = read_both(image, truth)
        made = Finished(first, low, second, psf, dish_beam)
    beam_of(made.image, 0)
    return made


def assess_image(made: Finished) -> dict[str, Against]:
    """What is said of an image by the dish and by the truth."""
    image = made.image
    used = [k for k in range(len(image.data)) if np.isfinite(image.data[k]).any()]
    if not used:
        raise ImageError(f"{image.path}: is blank; wanted is a joint image")
    shown = max(used, key=lambda k: float(np.nanmax(image.data[k])))
    found = {"against_dish": _against(made, made.low, used, shown, _beside_dish, LEAST_OF_DISH,
                                      "the dish")}
    if made.truth is not None:
        found["against_truth"] = _against(made, made.truth, used, shown, _beside_truth,
                                          LEAST_OF_TRUTH, "the truth")
    return found


#: Image, reference, whether both are, the squares of FWHM of their beam.
_Pair = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _against(made: Finished, other: SkyCube, used: list[int], shown: int,
             beside: Callable[[Finished, DishOnGrid, int, tuple], _Pair], least: float,
             name: str) -> Against:
    shares = matched_channels(made.image, other)
    grid = DishOnGrid(made.image, other, made.psf if other is made.low else None)
    rows, kept = [], None
    for k in used:
        image, reference, matrix = beside(made, grid, k, shares[k])
        one = compare(image, reference, float(areas_of_covariances(matrix)), least, name)
        nu = np.nan if made.image.frequency is None else float(made.image.frequency[k])
        rows.append({"frequency": nu * u.Hz, **one.numbers()})
        if k == shown:
            kept = one, matrix
    assert kept is not None
    one, matrix = kept
    reach = float(np.sqrt(np.linalg.eigvalsh(matrix)[-1]))
    plane = UVPlane((one.image.shape[0], one.image.shape[1]), steps_of(made.image), reach)
    return Against(name, least, one, QTable(rows), one.apertures(made.image.cell),
                   one.power_spectra(plane), made.image.wcs, made.image.cell)


def _plane(cube: SkyCube, k: int) -> tuple[NDArray[np.float64], Beam]:
    """Jy/beam."""
    beam = beam_of(cube, k)
    return cube.data[k] * (per_steradian(cube, k, beam.solid_angle) * beam.solid_angle), beam


def _beside_dish(made: Finished, grid: DishOnGrid, k: int, shares: tuple) -> _Pair:
    """The image smoothed to the dish, and its map, Jy in the interferometer's beam."""
    image, beam = _plane(made.image, k)
    nu = frequency_of(made.image, k) or frequency_of(made.low, shares[0][0])
    default = None if made.dish_beam is None or nu is None else made.dish_beam(nu)
    brightness, own = grid.channel(shares, default)
    reach = own.reach
    plane = UVPlane((image.shape[0], image.shape[1]), steps_of(made.image), reach)
    inner = beam_matrix(made.image, beam)
    smoothed = plane.image(plane.transform(image) * own.over(plane, inner))
    known = np.isfinite(image) & np.isfinite(brightness)
    depth = ndimage.distance_transform_edt(np.pad(known, 1))[1:-1, 1:-1]
    smoothed[depth < _RIM * reach] = np.nan
    # Jy in the beam of the dish, of which both are: only the ratio of the areas matters.
    scale = own.area / float(areas_of_covariances(inner))
    return smoothed * scale, brightness * (beam.solid_angle * scale), own.matrix


def _beside_truth(made: Finished, grid: DishOnGrid, k: int, shares: tuple) -> _Pair:
    """The image, and the truth smoothed to its beam, Jy/beam."""
    assert made.truth is not None
    image, beam = _plane(made.image, k)
    truth = made.truth
    point = Beam(_POINT * truth.cell, _POINT * truth.cell, 0.0)
    default = point if truth.beam(0) is None and _is_per_pixel(truth) else None
    if default is not None and not same_pixels(made.image, truth):
        raise ImageError(f"{truth.path}: is in Jy/pixel on other pixels than {made.image.path}; "
                         "wanted is a truth on its pixels, or in Jy/beam")
    brightness, own = grid.channel(shares, default)
    inner = beam_matrix(made.image, beam)
    difference = inner - own.matrix
    if np.linalg.eigvalsh(difference)[0] < -_SAME_BEAM * np.abs(inner).max():
        raise ImageError(f"{truth.path}: has a larger beam than {made.image.path}; wanted is a "
                         "truth of its resolution or better")
    known = np.isfinite(brightness)
    reach = float(np.sqrt(np.linalg.eigvalsh(inner)[-1]))
    plane = UVPlane((image.shape[0], image.shape[1]), steps_of(made.image), reach)
    smoothed = plane.image(plane.transform(brightness) * plane.taper(difference))
    return image, np.where(known, smoothed * beam.solid_angle, np.nan), inner


def _is_per_pixel(cube: SkyCube) -> bool:
    try:
        cube.scale_to("pixel")
    except ImageError:
        return False
    return True


def write_maps(made: Finished, against: Mapping[str, Against], paths: Mapping[str, Path]) -> None:
    """Write the joint image over the dish's map, and accuracy and fidelity, of the channel that is shown."""
    planes = {"dish-ratio": 1.0 + against["against_dish"].comparison.accuracy}
    if "against_truth" in against:
        one: Comparison = against["against_truth"].comparison
        planes |= {"accuracy": one.accuracy, "fidelity": one.fidelity}
    for name, path in paths.items():
        write_image(path, planes[name], made.image.wcs, unit="", four_axes=False)
