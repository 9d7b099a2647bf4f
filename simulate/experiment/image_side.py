"""The image-stacks of a realisation: as the paper makes them, and better.

All take the weights of section 3.2: 1/σ_k² with the noise around each position for the VLA, the
square of the primary beam's response for ALMA. `nearest` is the paper's mean of stamps around the
nearest pixel; `subpixel` aligns them exactly; `median` and `filter` (the central 3 × 3 pixels of
the transform of stamps of 64″ set to 0, section 5.4) keep the nearest pixel, and `filter_uv` takes
out all baselines below 5 km instead. Where several maps see the targets their stacks are averaged
by weight.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from simulate.experiment.maps import PB_CUTOFF, Map
from simulate.experiment.settings import ALMA, CUT, UV_CUT, Imaging
from uvstack.errors import DroppedPositionsWarning, PositionsError
from uvstack.image_stacking.averaging import Averaging, average
from uvstack.image_stacking.psf_fit import fit_psf
from uvstack.image_stacking.result import ImageStackResult
from uvstack.image_stacking.task import image_stack

#: Pixels of a stamp (section 3.2).
_STAMP = 64
_ARCSEC = np.pi / 180 / 3600


def coordinates(ra: np.ndarray, dec: np.ndarray) -> SkyCoord:
    """Directions in J2000, rad, as the lists that stacking takes."""
    return SkyCoord(ra * u.rad, dec * u.rad, frame="fk5")


def image_stacks(maps: Sequence[Map], ra: np.ndarray, dec: np.ndarray, number: int, how: Imaging,
                 threads: int) -> dict[str, Any]:
    """Fluxes (Jy) of all image-stacks of the targets, their errors of equation 7, and noise and weight of each position.

    ra, dec : ndarray (pos,) J2000, rad. "noise" and "weight" (pos,) are those of the only map, or
    None; "stamps" (m, l), Jy/beam, are those of the paper's mean and of the filter, of the first map.
    """
    nearest: dict[str, Any] = {"alignment": "nearest"}
    ways = {"nearest": nearest, "subpixel": {}, "median": nearest | {"method": "median"},
            "filter": nearest | {"low_filter": "3pixels", "stamp": how.filter_stamp}}
    if number in CUT:
        ways["filter_uv"] = {"low_filter": f"{UV_CUT:g}m", "stamp": how.filter_stamp}
    found: dict[str, Any] = {}
    stamps: dict[str, np.ndarray] = {}
    for way, options in ways.items():
        pairs = [(one, each) for each in maps
                 if (one := _one(each, ra, dec, number, options, threads)) is not None]
        parts = [one for one, _ in pairs]
        if not parts:
            raise PositionsError(f"type {number}: none of {ra.size} targets lies on the maps; "
                                 "take more targets or a larger image")
        found[way] = _joined(parts, way)
        if way in ("nearest", "filter"):
            stamps[way] = parts[0].stamp
        if way == "nearest":
            expected = _expected(pairs, number)
            alone = parts[0] if len(maps) == 1 else None
        if number == 7 and way in ("nearest", "subpixel"):
            found[way] |= _sizes(parts[0])
    return {"ways": found, "stamps": stamps, "expected_error": expected,
            "noise": None if alone is None else alone.noise,
            "weight": None if alone is None else alone.weights}


def values_of(maps: Sequence[Map], ra: np.ndarray, dec: np.ndarray, number: int,
              threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Σ W x, Σ W and noise of each position over all maps, (pos,): x is the nearest pixel's brightness, Jy/beam."""
    total, weight, noise = np.zeros(ra.size), np.zeros(ra.size), np.full(ra.size, np.nan)
    for each in maps:
        one = _one(each, ra, dec, number, {"alignment": "nearest", "stamp": 8}, threads)
        if one is not None:
            used = one.weights > 0
            total[used] += one.weights[used] * one.values[used]
            weight[used] += one.weights[used]
            noise = one.noise
    return total, weight, noise


def _one(one: Map, ra: np.ndarray, dec: np.ndarray, number: int, options: dict[str, Any],
         threads: int) -> ImageStackResult | None:
    """A stack on one map; None where the map sees no position."""
    weighted: dict[str, Any] = {"weights": "local-noise"}
    if number in ALMA:
        weighted = {"weights": "primary-beam", "pb_image": one.response, "pb_cutoff": PB_CUTOFF}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedPositionsWarning)  # separate pointings see some of the positions each
        try:
            return image_stack(one.residual, coordinates(ra, dec), psf=one.psf,
                               frequency=one.frequency, threads=threads,
                               **{"stamp": _STAMP, **weighted, **options})
        except PositionsError:
            return None


def _joined(parts: Sequence[ImageStackResult], way: str) -> dict[str, Any]:
    """Flux of the stacks of all maps together, and that corrected for what alignment and filter lose."""
    share = np.array([p.weights.sum() for p in parts])
    values = np.concatenate([p.values for p in parts])
    weights = np.concatenate([p.weights for p in parts])
    response = [p.peak_response for p in parts]
    flux = float(np.average([p.flux for p in parts], weights=share))
    if way == "median" and len(parts) > 1:
        flux = average(values, weights, Averaging("median", "nearest"))
    lost = None if any(r is None for r in response) else float(
        np.average(np.array(response, float), weights=share))
    return {"flux": flux, "response": lost, "flux_corrected": None if not lost else flux / lost,
            "off_centre_rms": float(np.sqrt(np.sum((share * [p.flux_error for p in parts]) ** 2))
                                    / share.sum()),
            "n_positions": int(sum(p.n_positions for p in parts))}


def _expected(pairs: Sequence[tuple[ImageStackResult, Map]], number: int) -> float:
    """Equation 7: σ_k around each position for the VLA; rms of the residual map over the response, W = A², for ALMA."""
    if number not in ALMA:
        return float(pairs[0][0].flux_error_expected)
    variance = sum(float(stack.weights.sum()) * one.rms**2 for stack, one in pairs)
    return float(np.sqrt(variance) / sum(stack.weights.sum() for stack, _ in pairs))


def _sizes(stack: ImageStackResult) -> dict[str, Any]:
    """Flux (Jy) and FWHM (arcsec) of a circular Gaussian convolved with the dirty beam, with a level (section 3.4)."""
    assert stack.psf is not None
    fitted = fit_psf(stack.stamp, stack.psf, stack.cell)
    return {"fit": {"flux": fitted.flux, "flux_error": fitted.flux_error,
                    "fwhm": fitted.fwhm_major / _ARCSEC,
                    "fwhm_error": fitted.fwhm_major_error / _ARCSEC, "resolved": fitted.resolved}}
