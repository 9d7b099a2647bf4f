"""The beam that epochs are brought to, and which of them can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from uvstack.constants import ARCSEC
from uvstack.errors import ImageError
from uvstack.sky.beam import Beam, common_beam

#: Beams that differ by less, in squares of FWHM as a part of the largest, are one.
_EQUAL = 2e-5
#: What becomes of epochs that are too coarse for a beam that was given.
TOO_COARSE = ("refuse", "leave-out", "blank")


@dataclass(frozen=True)
class Target:
    """A beam, rad, and which epochs can be convolved to it."""

    beam: Beam
    reached: tuple[bool, ...]


def target_beam(beams: Sequence[Beam], names: Sequence[str], *, given: Beam | None = None,
                padding: float = 0.0, round_beam: bool = False,
                too_coarse: str = "refuse") -> Target:
    """The beam of a combination.

    Parameters
    ----------
    beams : sequence of Beam
        Of the epochs, rad, in one frame.
    names : sequence of str
        Of the epochs, for messages.
    given : Beam, optional
        The one wanted; default the smallest to which all can be convolved.
    padding : float
        Part by which both axes are larger than that.
    round_beam : bool
        As wide along the minor axis as along the major one.
    too_coarse : {"refuse", "leave-out", "blank"}
        What becomes of an epoch that cannot be convolved to a beam that is given.

    Raises
    ------
    ImageError
        One or all are too coarse.
    """
    smallest = given or _common(beams)
    if round_beam:
        smallest = Beam(smallest.fwhm_major, smallest.fwhm_major, 0.0)
    target = Beam(smallest.fwhm_major * (1.0 + padding), smallest.fwhm_minor * (1.0 + padding),
                  smallest.position_angle)
    reached = tuple(_reaches(beam, target) for beam in beams)
    if not all(reached) and (too_coarse == "refuse" or not any(reached)):
        which = reached.index(False)
        raise ImageError(f"{names[which]} has a beam of {beam_text(beams[which])}, which cannot be "
                         f"convolved to {beam_text(target)}; the smallest for all is "
                         f"{beam_text(_common(beams))}: take that, or leave the epoch out "
                         "(too_coarse, --too-coarse leave-out or blank)")
    return Target(target, reached)


def _common(beams: Sequence[Beam]) -> Beam:
    """The smallest common beam; one that equals it to rounding is taken as it is."""
    common = common_beam(beams)
    return next((beam for beam in beams if _difference(beam, common) <= _EQUAL), common)


def _difference(beam: Beam, other: Beam) -> float:
    """Greatest entry of the difference of the squares of FWHM, as a part of that of the other."""
    return float(abs(beam.covariance() - other.covariance()).max() / other.fwhm_major**2)


def _reaches(beam: Beam, target: Beam) -> bool:
    return target.contains(beam) or _difference(beam, target) <= _EQUAL or target.contains(
        Beam(beam.fwhm_major * (1 - _EQUAL / 2), beam.fwhm_minor * (1 - _EQUAL / 2),
             beam.position_angle))


def beam_text(beam: Beam) -> str:
    """A beam (rad) as 4.002″ × 2.529″ at 38.0°."""
    return (f"{beam.fwhm_major / ARCSEC:.4g}″ × {beam.fwhm_minor / ARCSEC:.4g}″ at "
            f"{round(math.degrees(beam.position_angle), 1) % 180.0:.1f}°")
