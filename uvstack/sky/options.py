"""Options about the sky that public functions share: beams, weights of positions, noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typing_extensions import TypedDict

from uvstack.sky.primary_beam import PrimaryBeam

#: What an image is from which noise is taken.
NoiseKind = Literal["corrected", "flat", "rms-corrected", "rms-flat"]


class BeamOptions(TypedDict, total=False):
    """Through which beam a model or an image is seen.

    primary_beam : str or PrimaryBeam, optional
        Preset ("vla", "alma", "meerkat" …), text ("gaussian:30arcmin@1.4GHz"), file or object, of
        unit peak in power, through which every field sees the sky: fluxes are then those of the
        sky. Default none: they are apparent, and alike in all fields.
    """

    primary_beam: Annotated[str | PrimaryBeam | None, None]


class PositionOptions(TypedDict, total=False):
    """Through which beam positions are seen, and where their noise is known from.

    primary_beam : str or PrimaryBeam
        Preset ("vla", "alma", "meerkat" …), text ("gaussian:30arcmin@1.4GHz"), file or object.
        Power, unit peak.
    pb_cutoff : float
        Power below which a position is left out, of a pointing or of an image, 0 … 1.
    noise_image : path, optional
        FITS image for weights "local-noise"; `image_stack` and `compare` take by default the image
        that they stack.
    noise_kind : {"corrected", "flat", "rms-corrected", "rms-flat"}, optional
        Whether that image is corrected for the primary beam, and whether it is a sky from which
        the noise is measured or already a map of the noise (rms-). Default "corrected", of
        `image_stack` and `compare` as image_kind.
    """

    primary_beam: Annotated[str | PrimaryBeam, "constant"]
    pb_cutoff: Annotated[float, 0.1]
    noise_image: Annotated[str | Path | None, None]
    noise_kind: Annotated[NoiseKind | None, None]


class WeightOptions(PositionOptions, total=False):
    """What positions weigh.

    weights : str
        W_k: "equal", "list", "primary-beam" (A²), "local-noise" (1/σ²), or a product such as
        "list*primary-beam".
    """

    weights: Annotated[str, "equal"]
