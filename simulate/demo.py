"""The set behind `uvstack demo`: a VLA-like field of equal sources far below the noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulate.task import observe
from uvstack.checks import check_seed
from uvstack.sky.components import components

_N_SOURCES = 1500
_FLUX = 2.5e-6
_NOISE = 10e-3
_N_TIMES = 360
_N_CHANNELS = 8
_FIELD = np.deg2rad(12 / 60)
_CENTRE = np.deg2rad([150.0, 2.2])


@dataclass(frozen=True)
class DemoField:
    """Paths of set and list, and the truth: flux (Jy) of each source, noise of the map (Jy/beam), number of positions."""

    ms: Path
    positions: Path
    flux: float
    image_noise: float
    n_positions: int

    def __str__(self) -> str:
        return (f"simulated    {self.ms}: {self.n_positions} sources of {self.flux * 1e6:g} µJy, "
                f"each {self.flux / self.image_noise:.2f} σ of the map "
                f"({self.image_noise * 1e6:.1f} µJy)\ntrue flux    {self.flux * 1e6:.4g} µJy")


def make_demo_field(folder: str | Path, seed: int = 1,
                    progress: Callable[[int, int], None] | None = None, *,
                    overwrite: bool = False) -> DemoField:
    """Demo set and list of positions in a folder, which is made where missing; old ones are replaced with `overwrite`.

    1500 sources of 2.5 µJy within 12′ of the centre, seen through the VLA's primary beam at 1.4 GHz
    for an hour with 27 antennas and 8 channels.
    """
    check_seed(seed)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    ra, dec = _CENTRE
    source_ra, source_dec = draw_places(_N_SOURCES, rng)
    made = observe(array="vla.a", pointings=(float(ra), float(dec)), primary_beam="vla",
                   noise=_NOISE, out=folder / "demo.ms", overwrite=overwrite,
                   sky=components(source_ra, source_dec, np.full(_N_SOURCES, _FLUX), target=True),
                   frequency=1.4e9 + 32e6 * (np.arange(_N_CHANNELS) - (_N_CHANNELS - 1) / 2),
                   integration=10.0, duration=10.0 * _N_TIMES, seed=seed, progress=progress)
    assert made.targets is not None
    n_visibilities = _N_TIMES * 351 * _N_CHANNELS * 2
    return DemoField(made.ms, made.targets, _FLUX, _NOISE / np.sqrt(n_visibilities), _N_SOURCES)


def draw_places(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Right ascensions and declinations, rad, of n places evenly over the disc in which the sources lie."""
    ra, dec = _CENTRE
    radius, angle = _FIELD * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
    place_dec = dec + radius * np.cos(angle)
    return ra + radius * np.sin(angle) / np.cos(place_dec), place_dec
