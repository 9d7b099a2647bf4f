"""The loops of Rau, Naik & Braun (2019): algorithm 1, channel by channel, and algorithm 2, of Taylor terms.

Both hand psfs and a residual function to `uvstack.deconvolution.major_cycle.deconvolve`, which has
minor cycles, masks, stopping and divergence. CLEAN works on images of even noise: the joint
residual, on the flat sky, is multiplied with the primary beam, its own in a cube and the average
over all channels with terms (Bhatnagar, Rau & Golap 2013), and a model is divided by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvstack.deconvolution.major_cycle import (
    CleanSettings,
    Cycle,
    Deconvolved,
    deconvolve,
    sidelobe_level,
    warn_of_divergence,
)
from uvstack.joint.reconstruction.joint_plane import JointPlane
from uvstack.joint.taylor_cube import cube_to_taylor, taylor_shares, taylor_to_cube
from uvstack.joint.uv_plane import DishBeam

#: Bytes of the last joint residuals that are kept for the restored image.
_MOST_KEPT = 3e8


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a loop found.

    Attributes
    ----------
    dirty : ndarray (term, m, l)
        Jy/beam, of even noise.
    psf : ndarray (2 term − 1, m', l')
    response : ndarray (m, l) or None
        The primary beam that CLEAN's images were multiplied with.
    found : Deconvolved
        Its model is the sky times `response`.
    residual_in : callable
        Restoring beam → residual (term, m, l) of that model, in Jy of the beam where the dish
        measures.
    """

    dirty: NDArray[np.float64]
    psf: NDArray[np.float64]
    response: NDArray[np.float64] | None
    found: Deconvolved
    residual_in: Callable[[DishBeam], NDArray[np.float64]]


def deconvolve_channel(plane: JointPlane, start: NDArray, settings: CleanSettings,
                       **options: Any) -> Reconstruction:
    """Algorithm 1 for one channel; channels know nothing of each other.

    Parameters
    ----------
    plane : JointPlane
    start : ndarray (1, m, l)
        Sky to begin with, Jy/pixel.
    settings : CleanSettings
    **options
        mask, threads and progress of `deconvolve`.
    """
    response = plane.primary_beam

    def joint_of(model: NDArray) -> Iterator[NDArray]:
        yield plane.residual(sky_of(model[0], response, plane.valid))

    return _deconvolved(joint_of, [plane], np.ones((1, 1)), plane.psf[None], response, start,
                        settings, options)


def worst_sidelobe(planes: Sequence[JointPlane]) -> float:
    """Highest sidelobe of the mean psf where one pointing of a mosaic counts most; 0 of a single one."""
    worst = 0.0
    for pointing in {one for plane in planes for one in plane.local}:
        worst = max(worst, sidelobe_level(np.sum(
            [plane.weight * plane.local[pointing] for plane in planes if pointing in plane.local],
            axis=0)))
    return worst


def deconvolve_terms(planes: Sequence[JointPlane], n_terms: int, reference: float, start: NDArray,
                     settings: CleanSettings, **options: Any) -> Reconstruction:
    """Algorithm 2.

    Parameters
    ----------
    planes : sequence of JointPlane
    n_terms : int
    reference : float
        Hz, of the Taylor terms.
    start : ndarray (term, m, l)
        Sky to begin with, Jy/pixel.
    settings : CleanSettings
    **options
        mask, threads and progress of `deconvolve`.
    """
    frequencies = np.array([one.frequency for one in planes])
    weights = np.array([one.weight for one in planes])
    response = average_beam(planes)
    valid = np.logical_and.reduce([one.valid for one in planes])
    shares = taylor_shares(frequencies, reference, n_terms, weights, len(planes))

    def joint_of(model: NDArray) -> Iterator[NDArray]:
        for k, plane in enumerate(planes):
            channel = taylor_to_cube(model, frequencies[k : k + 1], reference)[0]
            yield plane.residual(sky_of(channel, response, valid))

    psf = cube_to_taylor([one.psf for one in planes], frequencies, reference, 2 * n_terms - 1,
                         weights)
    return _deconvolved(joint_of, planes, shares, psf, response, start, settings, options)


def average_beam(planes: Sequence[JointPlane]) -> NDArray[np.float64] | None:
    """AvgPB: the mean primary beam by the weights of channels, (m, l); None where there is none."""
    beams = [(one.weight, one.primary_beam) for one in planes]
    total = sum(weight for weight, _ in beams)
    if any(beam is None for _, beam in beams):
        return None
    return np.asarray(sum(weight / total * beam for weight, beam in beams if beam is not None))


def sky_of(model: NDArray, response: NDArray | None, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The sky of a model (…, m, l) of even noise: model over the primary beam, 0 where nothing is valid."""
    if response is None:
        return np.where(valid, model, 0.0)
    return np.divide(model, response, where=valid, out=np.zeros(model.shape))


def times(response: NDArray | None, image: NDArray) -> NDArray[np.float64]:
    """An image (…, m, l) of the flat sky as one of even noise."""
    return image if response is None else image * response


def _deconvolved(joint_of: Callable[[NDArray], Iterable[NDArray]], planes: Sequence[JointPlane],
                 shares: NDArray, psf: NDArray, response: NDArray | None, start: NDArray,
                 settings: CleanSettings, options: dict[str, Any]) -> Reconstruction:
    """The loop, on the averages with shares (term, chan) of joint residuals of the channels."""
    #: The model last asked for and its joint residuals, where there is room for them.
    last: list[Any] = [None, ()]

    def averaged(joints: Iterable[NDArray]) -> NDArray:
        rest = np.zeros(start.shape)
        for k, joint in enumerate(joints):
            seen = times(response, joint)
            for t in range(len(rest)):
                rest[t] += shares[t, k] * seen
        return rest

    def residual_of(model: NDArray) -> NDArray:
        if len(planes) * model[0].nbytes > _MOST_KEPT:
            return averaged(joint_of(model))
        last[:] = model, list(joint_of(model))
        return averaged(last[1])

    def residual_in(beam: DishBeam) -> NDArray:
        joints = last[1] if last[0] is found.model else joint_of(found.model)
        return averaged(plane.restorable(joint, beam)
                        for plane, joint in zip(planes, joints, strict=True))

    start = times(response, start)
    dirty = residual_of(np.zeros(start.shape))
    found = deconvolve(residual_of, psf, start, settings,
                       dirty=dirty if not start.any() else None,
                       sidelobe=worst_sidelobe(planes), **options)
    ends = " to ".join(f"{nu / 1e9:.6g}" for nu in sorted({planes[0].frequency, planes[-1].frequency}))
    warn_of_divergence(found, f"the image at {ends} GHz")
    return Reconstruction(dirty, psf, response, found, residual_in)


def log_line(cycle: Cycle) -> str:
    """A major cycle in a line."""
    return (f"cycle {cycle.cycle}: {cycle.iterations} iterations, peak {cycle.peak:.4g}, rms "
            f"{cycle.rms:.4g} Jy/beam, model {cycle.flux:.5g} Jy")
