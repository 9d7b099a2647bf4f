"""The simulations of Rau, Naik & Braun (2019), section 6: an interferometer and a dish that see one sky.

Three channels at 1.0, 1.5 and 2.0 GHz of the VLA in D configuration, and a dish of 100 m whose beam
is λ/D wide (Table 1). The sky is two Gaussians with flat spectra, one above the other, the upper of
which the interferometer hardly sees, and three points of 1 Jy at 1.5 GHz with the spectral indices
−1, −1 and 0 from left to right.

Where the paper contradicts itself or is silent:

- *Sizes.* The text of section 6 has 15′ × 20′ below and 10′ × 12′ above, Table 1 has 20′ × 15′ and
  15′ × 12′. The upper one is said to be hardly sampled, so it is the larger: here 15′ × 20′ above,
  10′ × 12′ below.
- *Fluxes* are chosen for its peak of 0.3 Jy in the interferometer's beam: 150 and 60 Jy.
- *Coverage.* "dense" is 8 h with an integration each 30 s, "sparse" 12 integrations in that time, the
  mosaic 5 × 5 pointings 18′ apart with 6 each.
- *Noise* is 0.2 Jy in a visibility of Stokes I, so √2 more in each hand. Its 0.02 Jy in each
  pixel of the dish, before smoothing, become 0.3 Jy/beam in pixels of 20″, and 0.7 in those
  of 9″ that its images have; the former is followed: 0.3 Jy/beam at 1.5 GHz, and of the same white
  noise in every channel.

Primary beams: none of a single pointing, as in the paper; in the mosaic that of a dish of 25 m, evenly lit.
A component is seen through the beam at its centre; the two Gaussians are as wide as the beam, and the
mosaics see them pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulate.image_model import ImageModel
from simulate.pointings import Pointings, rectangular_mosaic, single
from simulate.restored_sky import image_grid, restored_image
from simulate.single_dish import single_dish_cube
from simulate.task import Simulation, observe
from uvstack.constants import ARCMIN, ARCSEC
from uvstack.errors import SelectionError
from uvstack.io.output import check_output, together
from uvstack.sky.beam import Beam
from uvstack.sky.components import Components, components
from uvstack.sky.coordinates import direction_cosines

#: Channels, Hz; the middle one is the reference.
FREQUENCY = (1.0e9, 1.5e9, 2.0e9)
#: 20h00m, +40°30′, J2000, rad.
CENTRE = (float(np.deg2rad(300.0)), float(np.deg2rad(40.5)))
CELL, DISH_DIAMETER, BEAM_FACTOR = 9.0 * ARCSEC, 100.0, 1.0
#: Jy/beam of the dish at the channels, and Jy of a visibility of Stokes I.
DISH_NOISE, VISIBILITY_NOISE = (0.45, 0.3, 0.225), 0.2
#: Names, and for each: east and north of the centre, arcmin; flux, Jy; FWHM along right ascension
#: and declination, arcmin; spectral index.
_NAMES = ("top", "bottom", "east", "middle", "west")
_SKY = np.array([(16.0, 14.0, 150.0, 15.0, 20.0, 0.0), (16.0, -13.0, 60.0, 10.0, 12.0, 0.0),
                 (24.0, 1.0, 1.0, 0.0, 0.0, -1.0), (2.0, -6.0, 1.0, 0.0, 0.0, -1.0),
                 (-16.0, 4.0, 1.0, 0.0, 0.0, 0.0)])
_HOURS = 8.0


@dataclass(frozen=True)
class Case:
    """One of the simulations.

    Attributes
    ----------
    integrations : int
        Of each pointing, evenly over 8 h.
    pointings : Pointings
    primary_beam : str
    size : int
        Pixels of the images.
    noisy : bool
    """

    integrations: int
    pointings: Pointings
    primary_beam: str
    size: int
    noisy: bool


_ONE = single(*CENTRE)
_MANY = rectangular_mosaic(*CENTRE, 72 * ARCMIN, 72 * ARCMIN, 18 * ARCMIN, dwell=1)
#: The cases by their names.
CASES = {"dense": Case(960, _ONE, "constant", 800, False),
         "sparse": Case(12, _ONE, "constant", 800, False),
         "mosaic": Case(6, _MANY, "airy:25m", 1500, False),
         "noisy": Case(6, _MANY, "airy:25m", 1500, True)}


@dataclass(frozen=True)
class JointSimulation:
    """What `observe_joint` wrote: a measurement set and the dish's cube beside it."""

    case: Case
    interferometer: Simulation
    dish: Path


@together()
def observe_joint(name: str, *, out: str | Path, seed: int = 1,
                  overwrite: bool = False) -> JointSimulation:
    """One of the paper's simulations, observed by the interferometer and the dish.

    Parameters
    ----------
    name : str
        "dense", "sparse", "mosaic" or "noisy".
    out : path
        The measurement set; NAME-dish.fits and the truth stand beside it.
    seed : int
        Of the noise.
    overwrite : bool

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.
    """
    case = case_of(name)
    path = Path(out)
    dish = path.with_name(f"{path.stem}-dish.fits")
    check_output(dish, overwrite)
    made = observe(out=path, seed=seed, overwrite=overwrite, **settings_of(case))
    single_dish_cube(joint_sky(), frequency=FREQUENCY, dish_diameter=DISH_DIAMETER,
                     beam_factor=BEAM_FACTOR, centre=CENTRE, size=case.size, cell=CELL,
                     noise=DISH_NOISE if case.noisy else 0.0,
                     rng=np.random.default_rng([seed, 1])).write(dish, overwrite=overwrite)
    return JointSimulation(case, made, dish)


def case_of(name: str) -> Case:
    """A case by its name; SelectionError where there is none."""
    if name not in CASES:
        raise SelectionError(f"{name!r}: the paper's simulations are {', '.join(CASES)}")
    return CASES[name]


def settings_of(case: Case) -> dict[str, Any]:
    """Keyword arguments of `simulate.observe`, without `out` and `seed`."""
    n_times = case.integrations * len(case.pointings)
    sky, images = joint_sky(), []
    if case.primary_beam != "constant":
        is_point = sky.shape == "point"
        sky, images = sky.subset(is_point), [_pixels_of(sky.subset(~is_point), case.size)]
    return {"array": "vla.d", "sky": sky, "images": images, "pointings": case.pointings,
            "frequency": np.array(FREQUENCY), "integration": _HOURS * 3600.0 / n_times,
            "duration": _HOURS * 3600.0, "primary_beam": case.primary_beam,
            "noise": VISIBILITY_NOISE * np.sqrt(2.0) if case.noisy else 0.0}


def _pixels_of(sky: Components, size: int) -> ImageModel:
    """Gaussians of flat spectrum in Jy/pixel."""
    shape, geometry = image_grid(CENTRE, size, CELL)
    l, m = ((np.arange(n) - n // 2) * cell for n, cell in zip(
        reversed(shape), (geometry.cell_l, geometry.cell_m), strict=True))
    plane = np.zeros(shape)
    for k in range(len(sky.ra)):
        east, north, _ = direction_cosines(sky.ra[k], sky.dec[k], *CENTRE)
        profile = Beam(sky.fwhm_major[k], sky.fwhm_minor[k], sky.position_angle[k]).profile(
            l[None, :] - east, m[:, None] - north)
        plane += sky.flux[k] * profile / profile.sum()
    return ImageModel("extended", plane[None], np.array([FREQUENCY[1]]), geometry)


def joint_sky() -> Components:
    """The sky of all cases."""
    x, y, flux, width, height, index = (_SKY * [ARCMIN, ARCMIN, 1, ARCMIN, ARCMIN, 1]).T
    ra0, dec0 = CENTRE
    down = np.cos(dec0) - y * np.sin(dec0)
    return components(ra0 + np.arctan2(x, down),
                      np.arctan2(np.sin(dec0) + y * np.cos(dec0), np.hypot(x, down)), flux,
                      reference_frequency=FREQUENCY[1], names=_NAMES,
                      fwhm_major=np.maximum(width, height), fwhm_minor=np.minimum(width, height),
                      position_angle=np.where(width > height, np.pi / 2, 0.0),
                      spectral_index=index)


def true_images(beam: Beam, frequency: float, size: int) -> tuple[NDArray[np.float64],
                                                                  NDArray[np.float64]]:
    """The sky with a beam at a frequency (Hz), Jy/beam, and its spectral index there, both (m, l).

    The index is the mean over what is in the beam, by brightness; NaN where there is nothing.
    """
    sky = joint_sky()
    shape, geometry = image_grid(CENTRE, size, CELL)
    flux = sky.flux_at(np.array([frequency]))[:, 0]
    intensity, slope = (restored_image(sky, weight, geometry, shape, beam)[0]
                        for weight in (flux, flux * sky.spectral_index))
    seen = intensity > 1e-6 * intensity.max()
    return intensity, np.where(seen, slope / np.where(seen, intensity, 1.0), np.nan)
