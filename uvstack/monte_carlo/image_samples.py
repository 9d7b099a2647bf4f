"""Image-stacks at the positions of a Monte Carlo, with the weights that the uv-stack gives them: both see the same sky."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

from uvstack.errors import ImageError
from uvstack.image_stacking.averaging import values_at
from uvstack.image_stacking.image_files import ImagePlane, read_plane, read_psf
from uvstack.image_stacking.task import gaussian_beam
from uvstack.monte_carlo.images import list_sums
from uvstack.monte_carlo.result import Sample
from uvstack.monte_carlo.sums import MonteCarloJob
from uvstack.sky.beam import Beam
from uvstack.sky.primary_beam import Constant
from uvstack.stacking.plan import look_at

#: Pixels across the Gaussian that stands for a dirty beam.
_PSF_SIZE = 128


@dataclass(frozen=True)
class ImageSamples:
    """An image and its dirty beam, peak 1 in the middle pixel; psf is None where neither a file nor the header has one."""

    plane: ImagePlane
    flat: bool
    psf: np.ndarray | None

    @classmethod
    def read(cls, path: str | Path, kind: str, psf: str | Path | None) -> ImageSamples:
        """Read both files.

        Raises
        ------
        ImageError
        """
        plane = read_plane(path, None, None, None)
        cell = plane.cube.cell
        response = read_psf(psf, cell) if psf is not None else None
        if response is None and plane.beam is not None:
            response = gaussian_beam(Beam(*plane.beam), cell, _PSF_SIZE)
        return cls(plane, kind == "flat", response)

    def reaches(self, coord: SkyCoord) -> np.ndarray:
        """Whether the image has a value at positions, (pos,) bool, below the pixel."""
        return np.isfinite(values_at(self.plane.data, *self._pixels(coord), "subpixel"))

    def _pixels(self, coord: SkyCoord) -> tuple[np.ndarray, np.ndarray]:
        return self.plane.cube.pixels_of(coord)

    def samples(self, job: MonteCarloJob, weight: np.ndarray, scale: float) -> list[Sample]:
        """Stacks of all lists at the nearest pixel and below it.

        Parameters
        ----------
        job : MonteCarloJob
        weight : ndarray (pos,)
            Of each position of each list.
        scale : float
            What the fluxes of fake sources are multiplied by.

        Raises
        ------
        ImageError
            Fake sources are wanted and the dirty beam is not known.
        """
        x, y = self._pixels(job.stack.positions.coord)
        response = np.ones(x.size) if not self.flat else 1 / self._power(job)
        n = job.n_lists
        first = np.searchsorted(job.stack.subset, np.arange(n + 1))
        found = []
        for alignment, name in (("nearest", "image, nearest pixel"),
                                ("subpixel", "image, sub-pixel")):
            values = values_at(self.plane.data, x, y, alignment) * response
            used = np.where(np.isfinite(values), weight, 0.0)
            norm = list_sums(used, first)
            fluxes = list_sums(np.where(used > 0, values, 0.0) * used, first) / norm
            blanks, truths = fluxes, np.zeros(n)
            if job.fakes is not None:
                flux = scale * job.fakes.flux * used
                truths = list_sums(flux, first) / norm
                fluxes = fluxes + list_sums(flux * self._peaks(x, y, job.fakes.fwhm, alignment),
                                            first) / norm
            found.append(Sample(name, float(fluxes[0]), fluxes[1:], truths[1:], blanks[1:]))
        return found

    def _power(self, job: MonteCarloJob) -> np.ndarray:
        """sqrt(Σ A²) over the pointings at all positions: A itself for one pointing."""
        stack = job.stack
        square = np.zeros(len(stack.positions))
        if isinstance(stack.primary_beam, Constant):
            return np.ones(square.size)
        for structure, selection in zip(stack.structures, stack.selections, strict=True):
            if not selection.data_description_ids:
                continue
            spw = structure.data_descriptions[min(selection.data_description_ids)].spw
            for pointing in (structure.fields[f] for f in sorted(selection.field_ids)):
                view = look_at(stack.positions, stack.primary_beam, stack.pb_cutoff, pointing, spw)
                square[view.chosen] += view.power**2
        return np.sqrt(np.where(square > 0, square, np.nan))

    def _peaks(self, x: np.ndarray, y: np.ndarray, fwhm: np.ndarray, alignment: str) -> np.ndarray:
        """What each fake source of 1 Jy has where its stamp is read; sidelobes of the others are left out."""
        if self.psf is None:
            raise ImageError("the response of the image to fake sources wants its dirty beam: give "
                             "psf= (--psf), or an image that says BMAJ and BMIN")
        peaks = np.empty(x.size)
        for size in np.unique(fwhm):
            psf = _smoothed(self.psf, size / self.plane.cube.cell)
            here = fwhm == size
            middle = [n // 2 for n in psf.shape]
            if alignment == "subpixel":
                peaks[here] = psf[middle[0], middle[1]]
            else:
                peaks[here] = values_at(psf, middle[1] + np.rint(x[here]) - x[here],
                                        middle[0] + np.rint(y[here]) - y[here], "subpixel")
        return peaks


def _smoothed(psf: np.ndarray, fwhm: float) -> np.ndarray:
    """The psf convolved with a circular Gaussian of integral 1, FWHM in pixels."""
    if not fwhm > 0:
        return psf
    m, l = (np.fft.fftfreq(n) for n in psf.shape)
    envelope = Beam(fwhm, fwhm).taper(l[None, :], m[:, None])
    return np.fft.ifft2(np.fft.fft2(psf) * envelope).real
