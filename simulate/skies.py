"""Skies of random sources: fluxes from counts, places in an area, sizes and spectra."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulate.counts import draw_fluxes, positions_within, uniform_positions
from uvstack.errors import ComponentError
from uvstack.sky.components import Components, components

#: One value for all, or (low, high) between which each source draws its own.
Drawn = float | tuple[float, float]


@dataclass(frozen=True)
class Rectangle:
    """Width × height (rad) around ra, dec (J2000, rad): the figure of `simulate.counts.uniform_positions`."""

    ra: float
    dec: float
    width: float
    height: float

    @property
    def solid_angle(self) -> float:
        """sr."""
        return 2.0 * math.sin(0.5 * self.height) * self.width

    def positions(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64],
                                                                   NDArray[np.float64]]:
        """n places, uniform per solid angle: ra, dec."""
        return uniform_positions(n, self.ra, self.dec, self.width, self.height, rng)


@dataclass(frozen=True, eq=False)
class Around:
    """Circles of a radius (rad) around ra, dec (centre,), J2000, rad; where they overlap their densities add up."""

    ra: ArrayLike
    dec: ArrayLike
    radius: float

    @property
    def solid_angle(self) -> float:
        """Of all circles together, sr."""
        return np.size(self.ra) * 4.0 * math.pi * math.sin(0.5 * self.radius) ** 2

    def positions(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64],
                                                                   NDArray[np.float64]]:
        """n places, each in the circle of a centre picked at random: ra, dec."""
        return positions_within((self.ra, self.dec), self.radius, n, rng)


def source_counts(
    model: str, n: int | None = None, *, area: Rectangle | Around, rng: np.random.Generator,
    flux_range: tuple[float, float] | None = None, name: str = "source", target: bool = False, shape: str | None = None, fwhm: Drawn = 0.0,
    axis_ratio: Drawn = 1.0, position_angle: Drawn = 0.0, spectral_index: Drawn = 0.0, reference_frequency: float | None = None,
    curvature: float = 0.0, q: float = 0.0, u: float = 0.0, v: float = 0.0, **parameters: float | ArrayLike,
) -> Components:  # fmt: skip
    """Random sources with fluxes from a model of the counts, uniform in an area.

    Parameters
    ----------
    model : str
        "schechter", "bondi2008", "bethermin2012", "power-law", "fixed" or "catalogue": see
        `simulate.counts`.
    n : int, optional
        How many; default Poisson with the mean that the model has on the area.
    area : Rectangle or Around
    rng : Generator
    flux_range : (float, float), optional
        Jy; default that of the model.
    name : str
        Sources are called name1, name2, …
    target : bool
        Whether they are to be stacked.
    shape : str, optional
        Default points, or Gaussians where there is a size.
    fwhm, axis_ratio, position_angle : float or (float, float)
        rad, minor over major, rad from north through east; a pair is the range from which each
        source draws uniformly.
    spectral_index : float or (float, float)
        A pair is mean and scatter of a normal distribution.
    reference_frequency : float, optional
        Hz, where the fluxes hold; wanted with a spectrum.
    curvature, q, u, v : float
        As in `uvstack.sky.components`.
    **parameters
        Of the model.

    Raises
    ------
    ComponentError
        As from `simulate.counts.draw_fluxes` and `uvstack.sky.components.components`.
    """
    if not area.solid_angle > 0 or not math.isfinite(area.solid_angle):
        raise ComponentError(f"an area of {area.solid_angle:g} sr; width and height, or radius "
                             "and centres, must be positive")
    flux = draw_fluxes(model, n, area.solid_angle, flux_range, rng=rng, **parameters)
    ra, dec = area.positions(flux.size, rng)
    major = _drawn(fwhm, flux.size, rng)
    minor = major * _drawn(axis_ratio, flux.size, rng)
    angle = _drawn(position_angle, flux.size, rng)
    mean, scatter = spectral_index if isinstance(spectral_index, tuple) else (spectral_index, 0.0)
    index = mean + scatter * rng.standard_normal(flux.size)
    return components(ra, dec, flux, reference_frequency=reference_frequency,
                      names=[f"{name}{i + 1}" for i in range(flux.size)], shape=shape,
                      fwhm_major=major, fwhm_minor=minor, position_angle=angle,
                      spectral_index=index, curvature=curvature, q=q, u=u, v=v, target=target)


def _drawn(value: Drawn, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One value for all, or a uniform draw from a range."""
    return rng.uniform(*value, n) if isinstance(value, tuple) else np.full(n, float(value))
