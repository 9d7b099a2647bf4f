"""What stands in the column `flags` of a catalogue that was extracted.

Bits, of which several may hold.
"""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """Remarks on a row; none of them drops it from the catalogue."""

    #: The island reaches the edge of the image.
    EDGE = 1
    #: The island touches blank pixels.
    BLANK = 2
    #: A fit was tried and did not converge, or to what is no source.
    NOT_CONVERGED = 4
    #: The numbers are those of moments.
    MOMENTS = 8
    #: The shape, or the position, was fixed.
    FIXED = 16
    #: The island was split.
    DEBLENDED = 32
    #: A position that was asked for has no pixels there; there are no numbers.
    OFF_IMAGE = 64
    #: The image says no beam: there is no flux, and no size without the beam.
    NO_BEAM = 128
    #: An error could not be worked out.
    NO_ERROR = 256
    #: The island is wider than half a box of the background, which may hold part of its flux.
    LARGE = 512
