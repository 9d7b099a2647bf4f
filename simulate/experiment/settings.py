"""What a realisation of a data set type is: its imaging as in Lindroos et al. (2015), section 2, and how far it is shrunk.

Three ways to shrink, which may be combined. `thin` keeps every source and the whole track but only
every n-th integration (VLA; every n-th channel for ALMA), each with so much less noise that the map
is as deep: what images cost stays, what visibilities cost falls, and the stacked fluxes keep their
scatter. How far from a source the gaps show in its dirty beam goes with 1/n, so that fields a sixth
as wide bear four times the thinning of wide ones (`thin_narrow`). `field` cuts the wide fields
(types 3 to 7 and 11) and their images to a part of their width: fewer targets, so a larger scatter.
`scale` is that of `simulate.lindroos.recipe`, fewer sources and a shorter track.

Every set is imaged once for each of `weightings`, and all that follows from the image is done for
each: their differences are those of pairs. The paper does not say its weights; the noise of its
maps, 2.3 µJy where the thermal noise is 2.1, is that of robust 0.5. CLEAN goes to 20 µJy in types 1
to 3 and to 50 in type 4 (section 2.2.4); from type 5 on sources above 10 µJy are deconvolved
(section 2.2.5). The images of the single pointings of type 9 are 51″ wide, 256 pixels. Cycles are
few, and end where one changes less than 1e-3 of the model: after them components are found at a few
per cycle alone, and the residual is what matters here.

Equation 1 of the paper has a primary beam that does not change with frequency: that is `beam`
"constant". With "scaled" it does, as ours do, and wide fields are imaged with two Taylor terms.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from uvstack.errors import ImageError, SelectionError
from uvstack.imaging.weighting import Weighting
from uvstack.sky.primary_beam import PrimaryBeam, primary_beam

ARCSEC = np.pi / 180 / 3600
TYPES = tuple(range(1, 12))
#: Types whose field is 30′ wide; those with several pointings; those stacked without the shortest
#: baselines.
WIDE, ALMA, CUT = (3, 4, 5, 6, 7, 11), (8, 9, 10), (5, 6, 7, 11)
#: Shortest baseline of the flux of those (section 4.1.5), m.
UV_CUT = 5000.0
#: Type 2 is type 1 imaged with other pixels: it takes the same data.
_SAME_DATA = {2: 1}
WEIGHTINGS, BEAMS = ("natural", "robust0.5"), ("constant", "scaled")


@dataclass(frozen=True)
class Imaging:
    """Pixel (rad), pixels across, where to stop (Jy/beam) and major cycles at most; `filter_stamp` in pixels is 64″ wide."""

    cell: float
    size: int
    threshold: float
    cycles: int
    filter_stamp: int = 128


_IMAGING = {1: Imaging(0.25 * ARCSEC, 1440, 20e-6, 4, 256), 2: Imaging(0.5 * ARCSEC, 720, 20e-6, 4),
            3: Imaging(0.5 * ARCSEC, 4000, 20e-6, 3), 4: Imaging(0.5 * ARCSEC, 4000, 50e-6, 3),
            **{n: Imaging(0.5 * ARCSEC, 4000, 10e-6, 5) for n in CUT},
            8: Imaging(0.2 * ARCSEC, 800, 2e-3, 4, 64), 9: Imaging(0.2 * ARCSEC, 256, 2e-3, 4, 64),
            10: Imaging(0.2 * ARCSEC, 800, 2e-3, 4, 64)}

#: What brings the noise of 2 mm of water to that of the maps of types 8 and 9, 0.4 mJy/beam (section 2.3.1).
_NOISE_OF_MAP = {8: 4.5, 9: 4.5}


@dataclass(frozen=True, repr=False)
class BeamAt(PrimaryBeam):
    """A radial beam that is at all frequencies what `beam` is at one (Hz), as in equation 1."""

    beam: PrimaryBeam
    frequency: float
    is_radial: ClassVar[bool] = True

    def describe(self) -> str:
        """The beam and its frequency."""
        return f"{self.beam.describe()}, at {self.frequency / 1e9:.6g} GHz for all frequencies"

    def _power(self, l: NDArray, m: NDArray, frequency: NDArray) -> NDArray:
        return np.repeat(self.beam(l, m, np.array([self.frequency])), frequency.size, axis=1)


@dataclass(frozen=True)
class Settings:
    """All that a realisation depends on besides its type and number.

    Attributes
    ----------
    seed : int
    scale : float
        Of `simulate.lindroos.recipe`, above 0, at most 1.
    thin : int
        One integration (VLA) or channel (ALMA) in so many.
    thin_narrow : int or None
        The same for all but the wide fields; None is `thin`.
    field : float
        Part of the width of the wide fields that is simulated and imaged, above 0, at most 1.
    bright : bool
        Whether there are bright sources; without them noise is √2 larger (section 4.1.6, Figure 7).
    noise_factor : float
        All noise is multiplied by it: 1 is that of the paper's section 2, its maps' in types 8 and 9.
    null_lists : int
        Lists of random positions that are stacked for the noise, of as many positions as there are
        targets.
    imagings : tuple of (int, Imaging)
        Imaging of types in place of the paper's.
    weightings : tuple of str
        Of the images, each "natural" or "robust" with its number.
    beam : {"constant", "scaled"}
        Whether the primary beam is the same at all frequencies.
    """

    seed: int = 0
    scale: float = 1.0
    thin: int = 1
    thin_narrow: int | None = None
    field: float = 1.0
    bright: bool = True
    noise_factor: float = 1.0
    null_lists: int = 4
    imagings: tuple[tuple[int, Imaging], ...] = ()
    weightings: tuple[str, ...] = WEIGHTINGS
    beam: str = "constant"

    def __post_init__(self) -> None:
        if self.beam not in BEAMS:
            raise SelectionError(f"beam {self.beam!r}; wanted {' or '.join(BEAMS)}")
        if not self.weightings or len(set(self.weightings)) < len(self.weightings):
            raise SelectionError(f"weightings {', '.join(self.weightings) or 'none'}; wanted one "
                                 "or more, each once")
        for name in self.weightings:
            weighting_options(name)
        if not (0 < self.scale <= 1 and 0 < self.field <= 1):
            raise SelectionError(f"scale {self.scale}, field {self.field}; wanted more than 0 and "
                                 "at most 1 each")
        if min(self.thin, self.thin_narrow or 1) < 1 or self.seed < 0 or self.null_lists < 2:
            raise SelectionError(f"thin {self.thin}, seed {self.seed}, null lists "
                                 f"{self.null_lists}; wanted at least 1, 0 and 2")
        if not (np.isfinite(self.noise_factor) and self.noise_factor > 0):
            raise SelectionError(f"noise factor {self.noise_factor}; wanted a positive number")

    @classmethod
    def asked(cls, scale: str = "full", *, thin: int | None = None, **others: Any) -> Settings:
        """Settings of a size, "full", "small" or a number as `parse_scale` takes it, with others in place of its own."""
        thinned = {} if thin is None else {"thin": thin, "thin_narrow": None}
        return cls(**{**parse_scale(scale), **thinned, **others})

    def fingerprint(self, number: int) -> str:
        """The same for the same numbers of a type alone: what a finished realisation is recognised by."""
        noise = [_NOISE_OF_MAP[number]] if number in _NOISE_OF_MAP else []
        text = json.dumps([number, asdict(self), asdict(self.imaging(number)), *noise],
                          sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def imaging(self, number: int) -> Imaging:
        """Imaging of a type, cut to the field."""
        others = dict(self.imagings)
        if number in others:
            return others[number]
        found = _IMAGING[number]
        return replace(found,
                       size=max(int(round(found.size * self.field / 20)) * 20,
                                64)) if number in WIDE else found

    def terms(self, number: int) -> int:
        """Taylor terms of the images of a type."""
        return 2 if self.beam == "scaled" and number in WIDE else 1


#: Named sizes of the command line.
SCALES: dict[str, dict[str, Any]] = {"full": {"thin": 5, "thin_narrow": 20},
                                     "small": {"thin": 20, "field": 0.3}}


def weighting_options(name: str) -> dict[str, Any]:
    """Options of `uvstack.image` for "natural" or "robust" with its number."""
    if name == "natural":
        return {"weighting": "natural"}
    number = name.removeprefix("robust")
    try:
        if number == name:
            raise ValueError
        robust = float(number)
        Weighting.asked("briggs", robust)
    except (ValueError, ImageError):
        raise SelectionError(f"weighting {name!r}; wanted natural, or robust with a number from "
                             "−2 to 2, e.g. robust0.5") from None
    return {"weighting": "briggs", "robust": robust}


def parse_scale(text: str) -> dict[str, Any]:
    """Settings of "full", "small" or a number, the scale of `simulate.lindroos.recipe`."""
    if text in SCALES:
        return dict(SCALES[text])
    try:
        return {"scale": float(text)}
    except ValueError:
        raise SelectionError(f"scale {text!r}; wanted full, small or a number above 0 "
                             "and up to 1") from None


def parse_types(text: str) -> tuple[int, ...]:
    """Types of "1-11", "1,5,8" or "1-3,8", rising, each once."""
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if not (low.strip().isdigit() and (not high or high.strip().isdigit())):
            raise SelectionError(f"types {text!r}: {part.strip()!r} cannot be read; wanted e.g. "
                                 "1-11 or 1,5,8")
        some = range(int(low), int(high or low) + 1)
        if not some or some[0] not in TYPES or some[-1] not in TYPES:
            raise SelectionError(f"types {text!r}: there is no type {part.strip()!r}; the paper "
                                 "has 1 to 11")
        found.update(some)
    return tuple(sorted(found))


def seed_of(settings: Settings, number: int, index: int) -> int:
    """Seed of sky and noise of one realisation; type 2 has that of type 1."""
    return int(np.random.SeedSequence([settings.seed, _SAME_DATA.get(number, number),
                                       index]).generate_state(1)[0])


def simulation(settings: Settings, number: int, seed: int) -> dict[str, Any]:
    """Keyword arguments of `simulate.observe` without `out`: the recipe of the type, shrunk as the settings say."""
    from simulate.lindroos import CENTRE, recipe

    given = dict(recipe(_SAME_DATA.get(number, number), seed, settings.scale).settings, seed=seed)
    noise = (settings.noise_factor * _NOISE_OF_MAP.get(number, 1.0)
             * (1.0 if settings.bright else np.sqrt(2.0)))
    sky = given["sky"]
    thin = settings.thin if number in WIDE else settings.thin_narrow or settings.thin
    if number in ALMA:
        frequency = given["frequency"]
        thin = min(thin, frequency.size)
        given["frequency"] = frequency[: frequency.size // thin
                                       * thin].reshape(-1, thin).mean(axis=1)
        given["width"] = np.full(given["frequency"].size, thin * (frequency[1] - frequency[0]))
        given["noise"] = replace(given["noise"], factor=given["noise"].factor * noise)
    else:
        thin = max(min(thin, int(given["duration"] / given["integration"])), 1)
        given["integration"] *= thin
        given["noise"] *= noise / np.sqrt(thin)
        if number in WIDE and settings.field < 1:
            half = settings.field * np.deg2rad(0.25)
            east, north = (sky.ra - CENTRE[0]) * np.cos(sky.dec), sky.dec - CENTRE[1]
            sky = sky.subset((np.abs(east) < half) & (np.abs(north) < half))
    given["sky"] = sky if settings.bright else sky.subset(sky.target)
    if settings.beam == "constant":
        given["primary_beam"] = BeamAt(primary_beam(given["primary_beam"]),
                                       float(np.mean(given["frequency"])))
    return given
