"""What a joint reconstruction gives back: images, and what is told of both instruments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uvstack.imaging.result import ImageCube, ImageResult
from uvstack.records import plain
from uvstack.report.files import Saved
from uvstack.sky.beam import Beam

if TYPE_CHECKING:
    from uvstack.report.page import Section


@dataclass(frozen=True, eq=False)
class JointNumbers:
    """What is told of both instruments.

    Attributes
    ----------
    use : {"joint", "int", "sd"}
    sd_scale : float
        What the dish's map was multiplied with.
    sd_scale_error : float or None
        Its standard deviation; None where it was given.
    sd_gain : float
    frequency, weight : ndarray (chan,)
        Of the channels, Hz, and their weights, whose sum is 1.
    gain : ndarray (chan,)
        Weight of the dish in each channel; `sd_gain` but for a dish whose noise is told.
    beams : tuple of Beam
        Of the joint psf of each channel, rad.
    interferometer_beams, dish_beams, weight_beams : tuple of Beam
        Of each channel; empty where one is not used. The dish's is that of its map, by which its
        units are, or the nearest Gaussian to it; the third sets w where both are joined.
    dish_beam_from, weight_beam_from : {"header", "sd_psf", "dish_diameter"}
        What says them.
    interferometer_beam : Beam or None
        Of the interferometer's psf as that of the result is made.
    width : float or None
        Geometric mean of both axes of the joint beam over that of the interferometer's.
    scales : tuple of float
        Sizes of components, pixels.
    annulus : (float, float) or None
        Overlap in which `sd_scale` was found, wavelengths; None where it was given.
    """

    use: str
    sd_scale: float
    sd_scale_error: float | None
    sd_gain: float
    frequency: NDArray[np.float64]
    weight: NDArray[np.float64]
    gain: NDArray[np.float64]
    beams: tuple[Beam, ...]
    interferometer_beams: tuple[Beam, ...]
    dish_beams: tuple[Beam, ...]
    weight_beams: tuple[Beam, ...]
    dish_beam_from: str
    weight_beam_from: str
    interferometer_beam: Beam | None
    width: float | None
    scales: tuple[float, ...]
    annulus: tuple[float, float] | None = None

    def summary(self) -> dict[str, Any]:
        """As JSON takes it."""
        def of(beams: tuple[Beam, ...]) -> list[list[float]]:
            return [list(beam) for beam in beams]

        return plain({
            "use": self.use, "sd_scale": self.sd_scale, "sd_scale_error": self.sd_scale_error,
            "sd_gain": self.sd_gain, "channel_frequency_hz": self.frequency,
            "channel_weight": self.weight, "channel_sd_gain": self.gain, "channel_beams_rad": of(self.beams),
            "interferometer_beams_rad": of(self.interferometer_beams),
            "dish_beams_rad": of(self.dish_beams),
            "dish_beam_from": self.dish_beam_from if self.dish_beams else None,
            "weight_beams_rad": of(self.weight_beams),
            "weight_beam_from": self.weight_beam_from if self.weight_beams else None,
            "overlap_wavelengths": self.annulus,
            "interferometer_beam_rad": None if self.interferometer_beam is None
            else list(self.interferometer_beam), "width_over_interferometer": self.width,
            "scales": list(self.scales)})


class _Joined(Saved):
    """What is told of both instruments, on top of what the images tell."""

    joint: JointNumbers | None

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them."""
        images = super().summary()
        assert isinstance(images, dict)
        return images | ({} if self.joint is None else self.joint.summary())

    def overview(self) -> Section:
        """That of the images, and how both instruments were joined."""
        from uvstack.joint.reconstruction.report import overview

        return overview(super().overview(), self.joint)

    def sections(self) -> list[Section]:
        """What its page shows."""
        return [self.overview(), *super().sections()[1:]]


@dataclass(frozen=True, eq=False, repr=False)
class JointResult(_Joined, ImageResult):
    """Images of one plane or of Taylor terms, of both instruments; as `ImageResult`, and `joint`."""

    joint: JointNumbers | None = None


@dataclass(frozen=True, eq=False, repr=False)
class JointCube(_Joined, ImageCube):
    """Planes of a cube of both instruments; as `ImageCube`, and `joint`."""

    joint: JointNumbers | None = None
