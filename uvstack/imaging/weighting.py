"""Imaging weights: natural, uniform, Briggs, with a taper.

The weight of a visibility in the image is its own w (1/σ²), which gives the lowest noise, times a
factor that depends on the density of weights around it in the (u, v) plane. With W_k the sum of w
in cell k, Briggs (1995, section 3.3) has

    w / (1 + W_k f²),    f² = (5 · 10^(−robust))² / (Σ W_k² / Σ W_k),

the sums over cells; this is CASA's weighting="briggs" and WSClean's "-weight briggs" (rmode
"norm"), whose robust has the same meaning. Uniform weights are w / W_k. A taper multiplies with the
transform of a Gaussian of given FWHM on the sky.

A cell is one over the width of the image, as in CASA; the same robust for a larger image gives
lower densities and so more natural weights. Cells begin at whole numbers, as in WSClean, so that
none is its own image in (−u, −v) and half the plane says all, at 8 bytes a cell. For an image of
its padded size (1.2 times larger unless -padding says otherwise) the weights are then WSClean's,
but for a few in a thousand that lie on the very edge of a cell (measured,
tests/imaging/test_weighting.py). Densities of chunks add up, so that a measurement set is gone
through twice: once for the density, once for the image. All channels share one density, and so do
the fields of a mosaic (tclean's mosweight=False; its default is one each), with (u, v) that of each
field's own phase centre.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import ImageError
from uvstack.imaging import weighting_kernels
from uvstack.pixels.grid import Grid
from uvstack.sky.beam import TRANSFORM_SCALE, Beam

KINDS = ("natural", "uniform", "briggs")


@dataclass(frozen=True)
class Weighting:
    """What is asked for.

    Attributes
    ----------
    kind : {"natural", "uniform", "briggs"}
    robust : float
        From −2 (nearly uniform) to 2 (nearly natural); for Briggs alone.
    uvtaper : float or (float, float, float)
        FWHM of a circular Gaussian on the sky, rad, or (fwhm_major, fwhm_minor, position_angle); 0
        is none.

    Raises
    ------
    ImageError
        The kind is unknown, or a number cannot be.
    """

    kind: str = "natural"
    robust: float = 0.0
    uvtaper: float | tuple[float, float, float] = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            close = difflib.get_close_matches(str(self.kind).lower(), KINDS, n=1, cutoff=0.0)[0]
            raise ImageError(f"weighting {self.kind!r} is unknown: the closest is {close}; known "
                             f"are {', '.join(KINDS)}")
        if not abs(self.robust) <= 10:
            raise ImageError(f"robust is {self.robust}; give a number from −2 (nearly uniform) to "
                             "2 (nearly natural)")
        taper = np.atleast_1d(np.asarray(self.uvtaper, np.float64))
        if taper.shape not in ((1,), (3,)) or not (np.isfinite(taper).all()
                                                   and (taper[:2] >= 0).all()):
            raise ImageError(f"uvtaper is {self.uvtaper}; give a FWHM on the sky in rad, or three "
                             "numbers: fwhm_major, fwhm_minor and position_angle")

    @classmethod
    def asked(cls, kind: str, robust: float | None,
              uvtaper: float | tuple[float, float, float] = 0.0) -> Weighting:
        """What a user asks for: robust is None where it is not said, and is then 0.

        Raises
        ------
        ImageError
            As for the class; robust is beyond ±2, where it changes nothing, or is said without
            Briggs.
        """
        weighting = cls(kind, 0.0 if robust is None else robust, uvtaper)
        if robust is not None and kind != "briggs":
            raise ImageError(f"robust {robust:g} with {kind} weights, which have none; leave it "
                             "out, or take weighting='briggs' (--weighting briggs)")
        if not abs(weighting.robust) <= 2:
            raise ImageError(f"robust is {robust}; give a number from −2 (nearly uniform) to 2 "
                             "(nearly natural)")
        return weighting

    @property
    def needs_density(self) -> bool:
        """Whether the data must be gone through for `density` first."""
        return self.kind != "natural"

    def prepared(self, grid: Grid, density: np.ndarray | None = None) -> ImagingWeights:
        """The weights for images on that grid, from the density of all data (v, u).

        Raises
        ------
        ImageError
            The density is missing, that of another grid, or nowhere positive.
        """
        taper = _taper_form(self.uvtaper)
        if self.kind == "natural":
            return ImagingWeights(grid, np.zeros((1, 1)), 1.0, 0.0, taper)
        wanted = density_shape(grid)
        if density is None or density.shape != wanted:
            found = "no density" if density is None else f"a density of shape {density.shape}"
            raise ImageError(f"{found} for {self.kind} weights; wanted is that of all data, "
                             f"{wanted} for this image")
        total = density.sum()
        if not total > 0:
            raise ImageError("no visibility with a weight lies within the cells of the image; "
                             "give a smaller cell, or other data")
        if self.kind == "uniform":
            return ImagingWeights(grid, density, 0.0, 1.0, taper)
        mean = np.einsum("ij,ij", density, density) / total
        return ImagingWeights(grid, density, 1.0, float((5.0 * 10.0**-self.robust) ** 2 / mean),
                              taper)


@dataclass(frozen=True)
class ImagingWeights:
    """Function of a chunk: (uvw, frequency, weight) → imaging weights.

    Made by `Weighting.prepared`.

    Attributes
    ----------
    grid : Grid
    density : ndarray (v, u)
    constant, slope : float
        The factor is 1 / (constant + slope × density).
    taper : (float, float, float)
        Coefficients of u², u v and v² (wavelengths) in the exponent of the taper.
    """

    grid: Grid
    density: np.ndarray
    constant: float
    slope: float
    taper: tuple[float, float, float]

    def __call__(self, uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Imaging weights (row, chan) float32 from uvw (row, 3) m, frequency (chan,) Hz and weight (row, chan).

        0 where weight or uvw is not finite, weight is not positive, or (u, v) lies outside the
        cells of the density.
        """
        uvw, frequency, weight = _checked(uvw, frequency, weight)
        out = np.empty(weight.shape, np.float32)
        weighting_kernels.imaging_weights(uvw, frequency / SPEED_OF_LIGHT, *_scale(self.grid),
                                          weight, self.density, self.constant, self.slope,
                                          np.array(self.taper), out)
        return out


def density_shape(grid: Grid) -> tuple[int, int]:
    """Cells (v, u) of the half plane v ≥ 0 that belong to an image."""
    # Up to half a cell a period of the longest wave, its ends included.
    return grid.shape[0] // 2 + 1, 2 * ((grid.shape[1] + 1) // 2) + 1


def density(uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, grid: Grid) -> np.ndarray:
    """Sum of weights in the cells (v, u) of the half plane v ≥ 0, float64; those of chunks add up.

    Parameters
    ----------
    uvw : ndarray (row, 3)
        Metres.
    frequency : ndarray (chan,)
        Hz.
    weight : ndarray (row, chan)
        Natural weights; what is not positive or not finite does not count.
    grid : Grid
        Of the image: a cell is one over its width.
    """
    uvw, frequency, weight = _checked(uvw, frequency, weight)
    out = np.zeros(density_shape(grid))
    weighting_kernels.add_density(uvw, frequency / SPEED_OF_LIGHT, *_scale(grid), weight, out)
    return out


def _scale(grid: Grid) -> tuple[float, float]:
    """Cells of u and of v for each wavelength."""
    return grid.shape[1] * abs(grid.geometry.cell_l), grid.shape[0] * abs(grid.geometry.cell_m)


def _taper_form(uvtaper) -> tuple[float, float, float]:
    """Coefficients of u², u v and v² in the exponent of `Beam.taper`."""
    parts = np.atleast_1d(np.asarray(uvtaper, np.float64))
    major, minor, angle = (parts[0], parts[0], 0.0) if parts.size == 1 else parts
    (ee, en), (_, nn) = TRANSFORM_SCALE**2 * Beam(major, minor, angle).covariance()
    return float(ee), float(2 * en), float(nn)


def _checked(uvw, frequency, weight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    uvw, frequency = np.ascontiguousarray(uvw, np.float64), np.ascontiguousarray(
        frequency, np.float64)
    weight = np.ascontiguousarray(weight, np.float32)
    if uvw.ndim != 2 or uvw.shape[1] != 3 or weight.shape != (uvw.shape[0], frequency.size):
        raise ValueError(f"found uvw {uvw.shape}, frequency {frequency.shape}, weight "
                         f"{weight.shape}; wanted (row, 3), (chan,) and (row, chan)")
    return uvw, frequency, weight
