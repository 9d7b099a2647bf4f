"""The two beams of a dish: that of its map, which units are of, and the one that weighs, w of equation 3.

They are one but where a diameter is given: that sets w, and is the beam of a map that has none.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from uvstack.constants import ARCSEC
from uvstack.errors import UvstackWarning
from uvstack.joint.flux_scale import FluxScale
from uvstack.report.numbers import with_error
from uvstack.sky.beam import Beam

#: Where a beam is from, and how that is told.
_SOURCES = {"header": "of the map's header", "sd_psf": "of its image (sd_psf)",
            "dish_diameter": "of dish_diameter"}
#: Part by which widths may differ and be one.
_SAME_WIDTH = 0.02
#: Errors, and part, by which a flux scale may be off before a diameter is doubted.
_DOUBT = (3.0, 0.1)


def width(beam: Beam) -> float:
    """Geometric mean of both FWHM, rad."""
    return float(np.sqrt(beam.fwhm_major * beam.fwhm_minor))


def beam_rows(beams: Sequence[Beam], weight_beams: Sequence[Beam], source: str,
              weight_source: str) -> list[tuple[str, ...]]:
    """Rows of a page on the beams of the map and those that weigh (none for a dish alone), of rising frequency."""
    channels = "" if len(beams) == 1 else ", FWHM of the lowest and highest channel"
    rows: list[tuple[str, ...]] = [
        ("dish's beam", f"{_text(beams)}, {_SOURCES[source]}"
             + (", as the map has none" if source == "dish_diameter" else ""),
             f"that of the map, whose Jy/beam are of it{channels}")]
    if weight_beams:
        ratio = width(weight_beams[0]) / width(beams[0])
        remark = ("" if abs(ratio - 1.0) <= _SAME_WIDTH else
                  f"; wider than the map's {_text(beams)}, which is brought to it" if ratio > 1.0 else
                  f"; narrower than the map's {_text(beams)}, which is not sharpened")
        rows.append(("weighed by", f"{_text(weight_beams)}, {_SOURCES[weight_source]}{remark}",
                     f"the beam that sets w of equation 3{channels}"))
    return rows


def _text(beams: Sequence[Beam]) -> str:
    if len(beams) > 1:
        return " to ".join(f"{width(one) / ARCSEC:.4g}″" for one in (beams[0], beams[-1]))
    major, minor, angle = beams[0]
    if abs(major / minor - 1.0) < 1e-3:
        return f"{major / ARCSEC:.4g}″"
    return f"{major / ARCSEC:.4g}″ × {minor / ARCSEC:.4g}″ at {np.rad2deg(angle):.1f}°"


def warn_of_sharpening(beam: Beam, weight_beam: Beam) -> None:
    """Warn where a diameter's beam is narrower than the map's, which then holds less than w assumes."""
    if width(weight_beam) < (1.0 - _SAME_WIDTH) * width(beam):
        warnings.warn(UvstackWarning(
            f"dish_diameter gives a beam of {width(weight_beam) / ARCSEC:.4g}″ and the dish's map has one "
            f"of {width(beam) / ARCSEC:.4g}″: the map is not sharpened, and holds less of the scales "
            "between than the weights assume; take a smaller diameter or a larger beam_factor, or "
            "none (dish_diameter, --dish-diameter)"), stacklevel=3)


def warn_of_diameter(found: FluxScale, expected: float, beam: Beam) -> None:
    """Warn where a map's beam is that of a diameter and the overlap says another flux scale than is expected."""
    off = abs(found.scale - expected)
    if off > max(_DOUBT[0] * found.error, _DOUBT[1] * expected):
        warnings.warn(UvstackWarning(
            f"the dish's map has no beam, and that of dish_diameter, {width(beam) / ARCSEC:.4g}″, is taken "
            "for it and its Jy/beam; with it the overlap says a flux scale of "
            f"{with_error(found.scale, found.error, 1.0)}, not {expected:g}: is it the dish's beam "
            "(dish_diameter, beam_factor, gridding_kernel)?"), stacklevel=3)
