"""What a user asks of a joint reconstruction, besides what is asked of an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from typing_extensions import TypedDict

from uvstack.imaging.options import ImagingOptions


class DishOptions(TypedDict, total=False):
    """What is said of the dish, and how its channels and the interferometer's go together.

    channels : {"dish", "all"} or int
        Channels of the reconstruction: those of the dish, with the visibilities next to each;
        every frequency of the visibilities; or a number of equal steps. With one term each becomes
        a plane of a cube, with more all of them one image with a spectrum.
    sd_psf : path, optional
        Beam of the dish as an image or cube; before the beam of its header.
    dish_diameter : float, optional
        Effective diameter, m, that sets the weights; default those of the beam of the map. It is
        the beam of a map that has none.
    beam_factor : float
        k of FWHM = k λ/D; real dishes have 1.1 to 1.2, CASA takes 1.22.
    gridding_kernel : float
        FWHM of the kernel that the map was gridded with, rad: with the diameter's beam, squares added, it is the beam.
    overlap : (str or float, str or float), optional
        Annulus of uv distances for the flux factor, as of `feather`.
    """

    channels: Annotated[str | int, "dish"]
    sd_psf: Annotated[str | Path | None, None]
    dish_diameter: Annotated[float | None, None]
    beam_factor: Annotated[float, 1.0]
    gridding_kernel: Annotated[float, 0.0]
    overlap: Annotated[Sequence[str | float] | None, None]


class JointOptions(DishOptions, ImagingOptions, total=False):
    """How dish and interferometer are joined and deconvolved, and what is written.

    use : {"joint", "int", "sd"}
        Both, the interferometer alone, or the dish alone.
    sd_scale : float or "auto"
        Flux factor of the dish's map; "auto" finds it in the overlap.
    sd_gain : float
        Weight of the dish against the interferometer; it changes no flux.
    sd_noise : float or sequence of float, optional
        Noise of the dish's map, one number for all or one for each of its channels, in its unit: a
        channel of the dish weighs by its inverse square, their mean is `sd_gain`. Default: by the
        weights of the visibilities.
    low_pass : bool
        Leave out scales of the dish's map beyond its diameter.
    gain : float
        Part of a peak that one iteration takes, above 0, at most 1.
    start_model : path, optional
        Begin of the names of an earlier run, whose model is gone on from.
    """

    use: Annotated[Literal["joint", "int", "sd"], "joint"]
    sd_scale: Annotated[float | Literal["auto"], 1.0]
    sd_gain: Annotated[float, 1.0]
    sd_noise: Annotated[float | Sequence[float] | None, None]
    low_pass: Annotated[bool, False]
    gain: Annotated[float, 0.3]
    start_model: Annotated[str | Path | None, None]
