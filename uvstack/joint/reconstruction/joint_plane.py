"""One channel of both instruments: psfs and residuals, and their feather (Rau, Naik & Braun 2019, section 5).

An interferometer's residual is that of the sky times its primary beam P, of even noise (flat noise);
a dish's that of the sky (flat sky). Here all is put on the flat sky: the interferometer's is
divided by P, and equations 3 and 4 join it with the dish's. The same weights join the psfs, so that
whatever they are the residual is the joint psf convolved with what the model lacks. Both are
multiplied with one factor that makes the psf's peak 1.

*The gain* g of the dish is a factor of its weight, g w V_sd + (1 − w) V_int, and no flux changes with
it. The sum of the weights is g where the interferometer sees nothing, and so is the dish's noise.
Weights that are divided by their sum, as in `feather`, leave there the noise of the dish whatever g:
of the paper's noisy mosaic at g = 0.2 images have 1.6 times the noise of the interferometer instead
of 1.1, and below 0.1 CLEAN does not converge.

Of the sky I in Jy/pixel, with h the response of the interferometer and b the dish's beam,

    R_int = D − h ⋆ (P I) / P       `JointPlane.interferometer_residual`, by the visibilities
    R_sd  = M − Ω b ⋆ I             `JointPlane.dish_residual`; M the map, Ω its unit: pixels of the
                                    interferometer's beam, b of sum 1

*Units.* A residual is in Jy of the joint psf, whose integral is not that of the restoring beam: what
CLEAN leaves of extended emission would count two times at one frequency and half at another. Where
the dish measures, the transform T of the psf is smooth and known, and the residual that is added to
a restored image is brought to the units of the restoring beam there, by a factor 1 + w² (C/T − 1),
T of a gain of 1 where g is smaller, or what g has taken of the noise would come back.

*Noise of the dish.* In averages over channels a channel of the interferometer has weight w_k, and
an empty scale of the sky in Jy/pixel the weight w_k Ω_k g_k, Ω_k pixels of its beam. Where the
noise of the dish is told, with a power N_k as a brightness, `gains_by_noise` makes that ∝ 1/N_k.

*Edges.* The feather continues both images beyond their edges, and into what the primary beam leaves
out, as `uvstack.joint.uv_plane` says. The model is 0 there.

Cost: five transforms of the image with margins for each channel and residual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from uvstack.joint.uv_plane import Continuation, DishBeam, UVPlane, Weights, feather_weights

#: The transform of a psf is taken for no less than this part of w times the restoring beam's.
_LEAST_PSF = 0.3


@dataclass(frozen=True, eq=False)
class InterferometerPlane:
    """What an interferometer says of a channel.

    Attributes
    ----------
    dirty : ndarray (m, l)
        Of even noise, Jy/beam; NaN where nothing is seen.
    psf : ndarray (m', l')
        Peak 1 at (m' // 2, l' // 2).
    residual_of : callable
        Model (m, l) in Jy/pixel as seen through the primary beam → residual (m, l).
    local : mapping
        Of a mosaic: pointing → middle of the psf where it counts most, of which `psf` is a mean.
    """

    dirty: NDArray[np.float64]
    psf: NDArray[np.float64]
    residual_of: Callable[[NDArray], NDArray]
    local: Mapping[tuple[float, float], NDArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DishPlane:
    """What a dish says of a channel.

    Attributes
    ----------
    map : ndarray (m, l)
        Jy in `unit_area` pixels.
    beam : DishBeam
    weight_beam : DishBeam
        The one that sets w of equation 3; `beam` itself but for a dish of another diameter.
    unit_area : float
        Pixels: those of the interferometer's beam, or of the dish's own where it is alone.
    cut : float or None
        Wavelengths beyond which the map counts nothing.
    noise_power : float or None
        Of the noise of the map as a brightness, (Jy/sr)² sr; None where it is not said.
    """

    map: NDArray[np.float64]
    beam: DishBeam
    weight_beam: DishBeam
    unit_area: float
    cut: float | None = None
    noise_power: float | None = None


@dataclass(frozen=True, eq=False)
class JointPlane:
    """A channel of one or both instruments.

    Attributes
    ----------
    frequency : float
        Hz.
    weight : float
        Of the channel in averages over frequency.
    interferometer : InterferometerPlane or None
    dish : DishPlane or None
    primary_beam : ndarray (m, l) or None
        P, power; None sees all alike.
    valid : ndarray (m, l) bool
        Where P is above the cutoff: elsewhere there is no residual and no model.
    plane : UVPlane
        Of the image.
    onward : Continuation
        Of the valid pixels on that plane.
    gain : float
        Weight of the dish.
    psf : ndarray (m', l')
        Joint psf, peak 1.
    factor : float
        What made that peak 1.
    local : mapping
        Of a mosaic: pointing → middle of the joint psf where it counts most.
    """

    frequency: float
    weight: float
    interferometer: InterferometerPlane | None
    dish: DishPlane | None
    primary_beam: NDArray[np.float64] | None
    valid: NDArray[np.bool_]
    plane: UVPlane
    onward: Continuation
    gain: float
    psf: NDArray[np.float64]
    factor: float
    local: Mapping[tuple[float, float], NDArray] = field(default_factory=dict)

    @cached_property
    def weights(self) -> Weights:
        """Of equation 3, of the image."""
        assert self.dish is not None
        return weights_of(self.plane, self.dish, self.gain)

    @cached_property
    def dish_transform(self) -> NDArray[np.float64]:
        """Of the beam of the dish's map, (v, u)."""
        assert self.dish is not None
        return self.dish.beam.transform(self.plane)

    def scaled(self, scale: float) -> JointPlane:
        """The same with the dish's map times a factor."""
        return self if self.dish is None else replace(
            self, dish=replace(self.dish, map=scale * self.dish.map))

    def residual(self, sky: NDArray) -> NDArray[np.float64]:
        """Joint residual (m, l) of a sky in Jy/pixel, on the flat sky, Jy/beam; NaN where nothing is valid."""
        high = None if self.interferometer is None else self.interferometer_residual(sky)
        low = None if self.dish is None else self.dish_residual(sky)
        if high is not None and low is not None and self.dish is not None:
            high = self.plane.image(self.weights.high * self.plane.transform(high, self.onward)
                                    + self.weights.low * self.plane.transform(low, self.onward))
        joint = low if high is None else high
        return np.where(self.valid, self.factor * np.asarray(joint), np.nan)

    def restorable(self, joint: NDArray, restoring: DishBeam) -> NDArray[np.float64]:
        """A joint residual (m, l) in Jy of the restoring beam at the scales that the dish measures, see the module."""
        if self.dish is None or self.interferometer is None:
            return joint
        return joint + self.plane.image(self.plane.transform(joint, self.onward)
                                        * self.excess(restoring))

    def excess(self, restoring: DishBeam) -> NDArray[np.float64]:
        """w² (C/T − 1), (v, u): of the transforms C of a restoring beam and T of the joint psf with a gain of 1 or more."""
        assert self.dish is not None
        w = self.dish.weight_beam.transform(self.plane)
        more = max(1.0 / self.gain - 1.0, 0.0) * self.factor * self.dish.unit_area
        wanted = restoring.area * restoring.transform(self.plane)
        shape = [min(n, size) for n, size in zip(self.psf.shape, self.plane.size, strict=True)]
        m, l = (slice(n // 2 - kept // 2, n // 2 - kept // 2 + kept)
                for n, kept in zip(self.psf.shape, shape, strict=True))
        held = np.zeros(self.plane.size)
        held[: shape[0], : shape[1]] = self.psf[m, l]
        there = fft.rfft2(np.roll(held, (-(shape[0] // 2), -(shape[1] // 2)), axis=(0, 1))).real
        there += more * self.weights.low * self.dish_transform
        return np.asarray(w**2 * (wanted / np.maximum(there, _LEAST_PSF * w * wanted + 1e-12) - 1.0))

    def interferometer_residual(self, sky: NDArray) -> NDArray[np.float64]:
        """IntCube.MakeRES and the division by IntCube.PB: (m, l), on the flat sky."""
        assert self.interferometer is not None
        seen = sky if self.primary_beam is None else sky * self.primary_beam
        rest = self.interferometer.residual_of(seen) if sky.any() else self.interferometer.dirty
        if self.primary_beam is None:
            return np.asarray(rest)
        return np.divide(rest, self.primary_beam, where=self.valid, out=np.zeros(rest.shape))

    def dish_residual(self, sky: NDArray) -> NDArray[np.float64]:
        """SDCube.MakeRES: the map less the model smoothed by the dish's beam, (m, l)."""
        assert self.dish is not None
        if not sky.any():
            return self.dish.map
        smoothed = self.plane.image(self.plane.transform_of_model(sky)
                                    * self.dish_transform)
        return np.asarray(self.dish.map - self.dish.unit_area * smoothed)


def weights_of(plane: UVPlane, dish: DishPlane, gain: float) -> Weights:
    """What psfs and residuals of both instruments are multiplied with: of equation 3, the dish's times the gain."""
    both = feather_weights(plane, dish.beam, dish.weight_beam, 1.0, dish.cut)
    return Weights(both.high, gain * both.low)


def gains_by_noise(gain: float, weights: NDArray[np.float64],
                   dishes: Sequence[DishPlane]) -> NDArray[np.float64]:
    """Gains of channels with which a dish weighs by the inverse power of its noise, (chan,); their mean by weight is `gain`.

    Parameters
    ----------
    gain : float
    weights : ndarray (chan,)
        Of the channels, their sum 1.
    dishes : sequence of DishPlane
        With the power of their noise.
    """
    power = np.array([one.noise_power for one in dishes], np.float64)
    wanted = 1.0 / (power * np.array([one.unit_area for one in dishes]))
    return np.asarray(gain * wanted / wanted.sum() / weights)


def local_psfs(steps: NDArray[np.float64], reach: float, interferometer: InterferometerPlane | None,
               dish: DishPlane | None, gain: float) -> dict[tuple[float, float], NDArray]:
    """Joint psfs of the places that a mosaic's `InterferometerPlane.local` has; arguments as in `UVPlane` and `joint_psf`."""
    if interferometer is None or not interferometer.local:
        return {}
    shape = next(iter(interferometer.local.values())).shape
    plane = UVPlane((shape[0], shape[1]), steps, reach)
    onward = plane.continuation(np.ones(shape, np.bool_))
    return {pointing: joint_psf(plane, onward, replace(interferometer, psf=psf), dish, gain)[0]
            for pointing, psf in interferometer.local.items()}


def joint_psf(plane: UVPlane, onward: Continuation, interferometer: InterferometerPlane | None,
              dish: DishPlane | None, gain: float) -> tuple[NDArray[np.float64], float]:
    """Joint psf (m', l') with peak 1 at (m' // 2, l' // 2), and the factor that made it so.

    Parameters
    ----------
    plane : UVPlane
        Of the psf.
    onward : Continuation
        Of all its pixels.
    interferometer : InterferometerPlane or None
    dish : DishPlane or None
    gain : float
        Weight of the dish.
    """
    shape = plane.shape
    if dish is None:
        assert interferometer is not None
        psf = np.asarray(interferometer.psf, np.float64)
    elif interferometer is None:
        psf = _centred(plane, dish.unit_area * dish.beam.transform(plane))
    else:
        weights = weights_of(plane, dish, gain)
        high = plane.transform(interferometer.psf, onward)
        psf = plane.image(weights.high * high) + _centred(
            plane, weights.low * dish.unit_area * dish.beam.transform(plane))
    factor = 1.0 / float(psf[shape[0] // 2, shape[1] // 2])
    return factor * psf, factor


def _centred(plane: UVPlane, transform: NDArray) -> NDArray[np.float64]:
    """Image (m, l) of a transform whose origin is to lie at (m // 2, l // 2)."""
    whole = np.roll(fft.irfft2(transform, plane.size),
                    [plane.margin + n // 2 for n in plane.shape], axis=(0, 1))
    return np.asarray(whole[plane.inside])
