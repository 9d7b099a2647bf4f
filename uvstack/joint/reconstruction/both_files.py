"""Both instruments on one grid: what an interferometer and a dish both measure, channel by channel.

The dish's map is taken to the visibilities (`uvstack.joint.overlap`); no image of the interferometer
alone is deconvolved, which lacks scales that the dish has. The data are gone through for their dirty images, once more for
those of their noise, and once for the prediction of the map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvstack.imaging.setup_files import Setup
from uvstack.imaging.weighting import Weighting
from uvstack.io.image_file import SkyCube
from uvstack.joint.flux_scale import FluxScale, Overlap, annulus_of, flux_scale, joined
from uvstack.joint.overlap import THROUGH_BEAM, Channel, cells_of, deconvolved
from uvstack.joint.reconstruction.channels import Channels
from uvstack.joint.reconstruction.dish_files import DishSettings, dish_planes
from uvstack.joint.reconstruction.interferometer_files import SeenChannel, Wanted, seen_channels
from uvstack.joint.reconstruction.joint_plane import DishPlane
from uvstack.joint.uv_plane import UVPlane
from uvstack.pixels.psf import fit_beam
from uvstack.sky.beam import Beam
from uvstack.uv.stokes import combination_of

#: In which parameters there is hardly any sky, the first that can be made.
_QUIET = ("V", "Q")
#: Part of the outer end of the annulus beyond it to which cells are looked at.
_BEYOND = 1.3


@dataclass(frozen=True, eq=False)
class Both:
    """Channels of both on one grid.

    Attributes
    ----------
    setup : Setup
    seen : list of SeenChannel
    dishes : list of DishPlane
        In Jy of the interferometer's beam.
    quiet : list of SeenChannel or None
        Of a parameter that has hardly any sky: the noise of the data.
    beams : list of Beam
        Of the interferometer, rad.
    cell : float
        rad.
    """

    setup: Setup
    seen: list[SeenChannel]
    dishes: list[DishPlane]
    quiet: list[SeenChannel] | None
    beams: list[Beam]
    cell: float

    @property
    def steps(self) -> NDArray[np.float64]:
        """Of a `UVPlane`."""
        return np.diag([self.setup.grid.geometry.cell_l, self.cell])

    @property
    def reach(self) -> float:
        """Largest FWHM of the dish, pixels."""
        return max(one.beam.reach for one in self.dishes)

    @property
    def frequency(self) -> NDArray[np.float64]:
        """Of the channels, Hz."""
        return np.array([one.frequency for one in self.seen])

    @property
    def shown(self) -> int:
        """Number of the channel whose wavelengths count."""
        mean = np.average(self.frequency, weights=[one.weight for one in self.seen])
        return int(np.argmin(np.abs(self.frequency - mean)))

    def fwhm(self, k: int) -> float:
        """Of the dish's beam, rad."""
        return float(np.linalg.det(self.dishes[k].beam.matrix)) ** 0.25 * self.cell

    def annulus(self, overlap: Overlap | None) -> tuple[float, float]:
        """What both measure, wavelengths of the channel that counts."""
        inner, outer = annulus_of(overlap, self.fwhm(self.shown), self.frequency[self.shown])
        return inner, outer * (THROUGH_BEAM if overlap is None and self.setup.beam is not None else 1.0)

    def channels(self) -> list[Channel]:
        """The dish's map taken to the data, of every channel."""
        return [self._channel(k) for k in range(len(self.seen))]

    def _channel(self, k: int) -> Channel:
        seen, dish = self.seen[k], self.dishes[k]
        assert seen.plane is not None
        shape = self.setup.grid.shape
        wide = UVPlane(shape, self.steps, self.reach)
        sky = deconvolved(wide, dish.map, dish.beam, self.fwhm(k),
                          self.setup.beam is not None) / dish.unit_area
        predicted = seen.plane.dirty - seen.plane.residual_of(
            sky if seen.primary_beam is None else sky * seen.primary_beam)
        noise = None
        if self.quiet is not None:
            quiet = self.quiet[k].plane
            assert quiet is not None
            noise = quiet.dirty
        return Channel(UVPlane(shape, self.steps, 0.0), dish.beam, self.fwhm(k), seen.plane.dirty,
                       predicted, noise, seen.primary_beam, dish.map,
                       seen.frequency / self.frequency[self.shown])


def both_on_grid(setup: Setup, channels: Sequence[tuple[Channels, tuple[float, float]]], low: SkyCube,
                 psf: SkyCube | None, settings: DishSettings, weighting: Weighting, pb_cutoff: float,
                 client: Any, threads: int, progress: Callable[[int, int], None] | None) -> Both:
    """Dirty images of the data and maps of the dish.

    Raises
    ------
    UvstackError
        One of its subclasses, of either instrument.
    """
    def seen_of(one: Setup) -> list[SeenChannel]:
        return seen_channels(one, channels, weighting, client, threads, progress, Wanted())

    seen = seen_of(setup)
    cell = setup.grid.geometry.cell_m
    beams = [fit_beam(one.plane.psf, cell) for one in seen if one.plane is not None]
    valid = [np.ones(setup.grid.shape, np.bool_) if one.primary_beam is None
             else one.primary_beam >= max(pb_cutoff, 1e-3) for one in seen]
    dishes = dish_planes(low, psf, settings, setup.grid, np.array([one.frequency for one in seen]),
                         beams, valid)
    quiet = _quiet(setup)
    found = None if quiet is None else seen_of(quiet)
    return Both(setup, seen, dishes, found if found and len(found) == len(seen) else None, beams, cell)


def _quiet(setup: Setup) -> Setup | None:
    """The same with a parameter in place of I that has hardly any sky; None where there is none."""
    for name in _QUIET:
        hands = {}
        for i, structure in enumerate(setup.structures):
            for d in structure.data_descriptions:
                made = combination_of(name, d.correlations)
                if (i, d.id) in setup.hands["I"] and made is not None:
                    hands[i, d.id] = made
        if len(hands) == len(setup.hands["I"]):
            return replace(setup, hands={"I": hands})
    return None


def cells_of_both(channels: Sequence[Channel], annulus: tuple[float, float]) -> list[Any]:
    """Cells of each channel, some beyond the annulus for the eye."""
    return [cells_of(one, _BEYOND * annulus[1]) for one in channels]


def dish_scale(both: Both, overlap: Overlap | None) -> FluxScale:
    """Factor of the dish's map.

    Raises
    ------
    NumericalError
        The overlap says none.
    """
    annulus = both.annulus(overlap)
    return flux_scale(joined(cells_of_both(both.channels(), annulus)), annulus)
