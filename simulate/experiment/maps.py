"""Images of a realisation and the model of its bright sources: CLEAN, what it found as components, what it left as maps.

A map is what image-stacking is given: the residual image divided by the primary beam, with the beam
and the dirty beam beside it. Single pointings make one map, as mosaics do; the pointings of type 9,
which do not touch, make one each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from simulate.experiment.settings import ALMA, Imaging
from uvstack.imaging.restore import component_table
from uvstack.imaging.result import ImageResult
from uvstack.imaging.task import image
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.ms import read_structure
from uvstack.sky.beam import Beam
from uvstack.sky.components import Components, components, concatenate
from uvstack.sky.coordinates import direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.subtraction.sky_model import ComponentSky, ImageSky

#: Primary beam below which maps are blank and positions are left out: the corners of the wide
#: fields are at 0.25.
PB_CUTOFF = 0.1
#: Part of the flux of the CLEAN model that a major cycle must change. What later cycles change of a
#: stack is a few hundredths of its noise.
_SETTLED = 1e-3
#: Pixels of the psf that is kept.
_PSF = 512


@dataclass(frozen=True)
class Map:
    """A residual map on disk.

    Attributes
    ----------
    residual, response, psf : Path
        Corrected for the primary beam (Jy/beam), its response, the middle of the dirty beam.
    noise, rms : float
        Robust noise and root mean square of the residual before the correction, Jy/beam.
    beam : tuple of float
        FWHM and position angle of the fitted beam, rad.
    cycles, iterations : int
    stopped : str
    frequency : float
        Hz.
    """

    residual: Path
    response: Path
    psf: Path
    noise: float
    rms: float
    beam: tuple[float, float, float]
    cycles: int
    iterations: int
    stopped: str
    frequency: float = 0.0


def deconvolve_bright(ms: str | Path, folder: Path, number: int, how: Imaging, beam: PrimaryBeam,
                      threads: int, **options: Any) -> tuple[list[Map], ImageSky | ComponentSky]:
    """Maps and the CLEAN model, for a mosaic and separate pointings that of the sky, else as it is seen.

    options: weighting, robust and terms of `uvstack.image`.
    """
    if number != 9:
        found = _image(ms, how, beam, threads, **options)
        model = ImageSky(found.model, found.grid.geometry,
                         nu0=found.reference_frequency if len(found.model) > 1 else None)
        return [_written(found, folder, "map")], model
    fields = read_structure(ms).fields
    maps, models = [], []
    for field in fields:
        found = _image(ms, how, beam, threads, field=field.id, **options)
        maps.append(_written(found, folder, f"map{field.id}"))
        # A source that two pointings see is taken from the nearer one, as the sky has it.
        part = _nearest_only(_model(found), field.id, [(f.ra, f.dec) for f in fields])
        l, m, _ = direction_cosines(part.ra, part.dec, field.ra, field.dec)
        power = beam(l, m, np.array([found.reference_frequency]))[:, 0]
        models.append(replace(part.subset(power > PB_CUTOFF),
                              flux=(part.flux / np.maximum(power, 1e-9))[power > PB_CUTOFF]))
    return maps, ComponentSky(concatenate(models))


def model_is_sky(number: int) -> bool:
    """Whether the model of a type is the sky rather than what a pointing sees."""
    return number in ALMA


def _image(ms: str | Path, how: Imaging, beam: PrimaryBeam, threads: int,
           **options: Any) -> ImageResult:
    return image(str(ms), size=how.size, cell=how.cell, threshold=how.threshold, most_cycles=how.cycles,
                 flux_change=_SETTLED, primary_beam=beam, pb_cutoff=PB_CUTOFF, threads=threads, **options)


def _model(found: ImageResult) -> Components:
    """CLEAN's model as components, one a pixel; they may be negative."""
    plane = found.model[0]
    row, column = np.nonzero(plane)
    if row.size == 0:
        return components(np.zeros(0), np.zeros(0), np.zeros(0))
    table = component_table(row, column, plane[row, column], found.grid.geometry, found.grid.shape)
    flux = np.asarray(u.Quantity(table["flux"]).to_value(u.Jy))
    ra, dec = (np.asarray(u.Quantity(table[name]).to_value(u.rad)) for name in ("ra", "dec"))
    return replace(components(ra, dec, np.abs(flux)), flux=flux)


def _nearest_only(model: Components, which: int,
                  centres: Sequence[tuple[float, float]]) -> Components:
    distance = np.stack([np.hypot(*direction_cosines(model.ra, model.dec, ra, dec)[:2])
                         for ra, dec in centres])
    return model.subset(np.argmin(distance, axis=0) == which)


def _written(found: ImageResult, folder: Path, name: str) -> Map:
    """The maps of a result as FITS."""
    assert found.response is not None
    where, shape = found.grid.geometry, found.grid.shape
    wcs, beam = sin_wcs(where.ra, where.dec, shape, where.cell_m), Beam(*found.beam)
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.where(found.response >= PB_CUTOFF, found.residual[0] / found.response, np.nan)
    rows, columns = (slice(n // 2 - min(n, _PSF) // 2, n // 2 + min(n, _PSF) // 2) for n in shape)
    psf = found.psf[rows, columns]
    paths = (folder / f"{name}-residual.fits", folder / f"{name}-response.fits",
             folder / f"{name}-psf.fits")
    planes = (residual, np.nan_to_num(found.response), psf)
    for path, data, grid in zip(paths, planes,
                                (wcs, wcs, sin_wcs(where.ra, where.dec, psf.shape, where.cell_m)),
                                strict=True):
        write_image(path, data, grid, unit="Jy/beam", beams=beam,
                    frequency=found.reference_frequency, four_axes=False)
    return Map(*paths, found.noise, found.rms, (beam[0], beam[1], beam[2]), found.n_cycles,
               found.n_iterations, found.stop_reason, found.reference_frequency)
