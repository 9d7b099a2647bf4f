"""The dish's flux scale, from scales that both instruments measure (`uvstack.joint.flux_scale`).

The interferometer's channels are deconvolved alone, in shallow cycles; where both overlap in the uv
plane its restored images are what it measures, whatever it lacks at larger scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from uvstack.deconvolution.major_cycle import CleanSettings
from uvstack.imaging.restore import restore
from uvstack.joint.flux_scale import (
    FluxScale,
    annulus_of,
    cells_of,
    flux_scale,
    joined,
)
from uvstack.joint.reconstruction.algorithms import deconvolve_channel
from uvstack.joint.reconstruction.joint_plane import JointPlane
from uvstack.joint.uv_plane import pixel_matrix
from uvstack.pixels.psf import fit_beam

#: Components in a cycle of the interferometer alone, at most.
_SHALLOW = 20


def dish_scale(planes: Sequence[JointPlane], overlap: Any, settings: CleanSettings, cell: float,
               **options: Any) -> FluxScale:
    """Factor of the dish's maps, of planes of both instruments.

    Parameters
    ----------
    planes : sequence of JointPlane
    overlap : ((float, str), (float, str)) or None
        Two uv distances in metres or wavelengths.
    settings : CleanSettings
    cell : float
        Pixel, rad.
    **options
        Of `deconvolve_channel`.

    Raises
    ------
    NumericalError
        The overlap says no scale.
    """
    settings = replace(settings, iterations_per_cycle=min(
        settings.iterations_per_cycle or _SHALLOW, _SHALLOW))
    cells, annulus = [], (0.0, 0.0)
    for k, one in enumerate(planes):
        assert one.interferometer is not None
        assert one.dish is not None
        if k == 0:
            fwhm = float(np.linalg.det(one.dish.beam.matrix)) ** 0.25 * cell
            mean = float(np.mean([plane.frequency for plane in planes]))
            annulus = annulus_of(overlap, fwhm, mean)
        alone = replace(one, dish=None, psf=one.interferometer.psf, factor=1.0,
                        local=one.interferometer.local)
        made = deconvolve_channel(alone, np.zeros((1, *one.valid.shape)), settings, **options)
        beam = fit_beam(one.interferometer.psf, cell)
        image = restore(made.found.model, made.found.residual, beam, cell)[0]
        if one.primary_beam is not None:
            image = np.divide(image, one.primary_beam, where=one.valid,
                              out=np.full(image.shape, np.nan))
        matrix = pixel_matrix(beam, cell)
        cells.append(cells_of(one.plane, one.plane.transform(image), (image, one.dish.map),
                              one.dish.beam, matrix, 1.3 * annulus[1]))
    return flux_scale(joined(cells), annulus)
