"""Where the random positions of a Monte Carlo may be: files read, lists drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord

from uvstack.constants import ARCSEC
from uvstack.errors import PositionsError, SelectionError
from uvstack.io.image_file import SkyImage, read_image
from uvstack.io.tables import read_positions
from uvstack.monte_carlo.image_samples import ImageSamples
from uvstack.monte_carlo.random_positions import away_from, draw_jittered, draw_random, region_of
from uvstack.pixels.noise import interpolated, noise_around
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import to_frame
from uvstack.sky.positions import Positions
from uvstack.sky.primary_beam import Constant
from uvstack.stacking.plan import StackJob, look_at

#: Beam areas of the square that the local noise is taken from (Lindroos et al. 2015, section 3.2).
_NOISE_BEAMS = 300
Allowed = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Places:
    """What restricts random positions, and the noise at any position.

    Attributes
    ----------
    noise_image : SkyImage or None
        For weights "local-noise".
    noise_kind : str
    avoid : Positions or None
    avoid_radius : float
        Rad.
    mask : SkyImage or None
        Positions lie where it is above 0.
    """

    noise_image: SkyImage | None
    noise_kind: str
    avoid: Positions | None
    avoid_radius: float
    mask: SkyImage | None
    _words: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, local_noise: bool, noise_image: str | Path | None, noise_kind: str, avoid: Any,
             avoid_radius: float | None, mask: str | Path | None, source: str) -> Places:
        """Read all files.

        Raises
        ------
        SelectionError, ImageError, PositionsError
        """
        if local_noise and noise_image is None:
            raise SelectionError("weights with local-noise want noise_image (--noise-image): a "
                                 "FITS image of the field")
        if (avoid is None) != (avoid_radius is None):
            raise SelectionError("sources to avoid and the radius to keep away from them belong "
                                 "together: give avoid= and avoid_radius= "
                                 "(--avoid FILE --avoid-radius 10arcsec)")
        if avoid_radius is not None and not (np.isfinite(avoid_radius) and avoid_radius > 0):
            raise SelectionError(f"avoid_radius is {avoid_radius} rad; wanted a positive angle")
        allowed = None if mask is None else read_image(mask)
        if allowed is not None and not (np.nan_to_num(allowed.data) > 0).any():
            raise PositionsError(f"{mask}: the mask is above 0 nowhere; there is no room for "
                                 "random positions")
        return cls(read_image(noise_image) if local_noise and noise_image is not None else None,
                   noise_kind, None if avoid is None else read_positions(avoid),
                   avoid_radius or 0.0, allowed)

    @property
    def noise_corrected(self) -> bool:
        """Whether the noise is that of an image corrected for the primary beam."""
        return self.noise_kind.endswith("corrected")

    def noise_at(self, coord: SkyCoord) -> np.ndarray | None:
        """σ at positions, (pos,), NaN where the image does not reach; None where no noise is wanted."""
        image = self.noise_image
        if image is None:
            return None
        x, y = image.pixels_of(coord)
        if self.noise_kind.startswith("rms"):
            noise = interpolated(image.data, x, y)
        else:
            beam = image.beam or Beam(3 * image.cell, 3 * image.cell)
            size = int(round(np.sqrt(_NOISE_BEAMS * beam.solid_angle) / image.cell))
            noise = noise_around(np.ascontiguousarray(image.data), x, y, max(size, 16),
                                 beam.fwhm_major / image.cell, 2)
        return np.where(noise > 0, noise, np.nan)

    def describe(self) -> str:
        """How positions were drawn, in words; known once they are."""
        return ", ".join(self._words)

    def draw(self, n_lists: int, targets: Positions, job: StackJob, pixels: ImageSamples | None,
             how: tuple[float | None, float | None, tuple[float, float] | None],
             rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Lists as long as the targets: ra, dec (list, pos), rad, J2000.

        Parameters
        ----------
        n_lists : int
        targets : Positions
        job : StackJob
            Its pointings and primary beam say where a position is seen.
        pixels : ImageSamples or None
            Its image must reach to the positions.
        how : (jitter, radius, size)
            Rad; see `uvstack.monte_carlo.random_positions`.
        rng : Generator
        """
        jitter, radius, size = how
        if jitter is not None and (radius is not None or size is not None):
            raise SelectionError("jittered positions stay around the targets: give no radius and "
                                 "no size with jitter")
        ra, dec = to_frame(targets.coord, "J2000")
        allowed = self._allowed(job, pixels)
        if jitter is not None:
            self._words.insert(0, f"the targets moved by {jitter / ARCSEC:.4g}″")
            return draw_jittered(n_lists, ra, dec, jitter, allowed, rng)
        region = region_of(ra, dec, radius, size)
        self._words.insert(0,
                           f"random in a {'circle' if region.circle else 'rectangle'} of "
                           f"{region.width / ARCSEC / 60:.4g}′" + (
                               "" if region.circle else f" × {region.height / ARCSEC / 60:.4g}′"))
        return draw_random(n_lists, len(targets), region, allowed, rng)

    def _allowed(self, job: StackJob, pixels: ImageSamples | None) -> Allowed:
        """Function of ra, dec (pos,), J2000: where a position may be."""
        tests: list[Allowed] = []
        if self.avoid is not None:
            tests.append(away_from(*to_frame(self.avoid.coord, "J2000"), self.avoid_radius))
            self._words.append(f"{self.avoid_radius / ARCSEC:.4g}″ away from {len(self.avoid)} "
                               "sources")
        by_coord: list[Callable[[SkyCoord], np.ndarray]] = []
        if self.mask is not None:
            by_coord.append(lambda coord: _above_zero(self.mask, coord))
            self._words.append("inside the mask")
        if self.noise_image is not None:
            by_coord.append(lambda coord: np.isfinite(np.asarray(self.noise_at(coord))))
        if pixels is not None:
            by_coord.append(pixels.reaches)
        if not isinstance(job.primary_beam, Constant):
            by_coord.append(lambda coord: _seen(job, coord))
            self._words.append(f"primary beam above {job.pb_cutoff:g}")

        def allowed(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
            good = np.ones(ra.size, np.bool_)
            for test in tests:
                good[good] = test(ra[good], dec[good])
            for look in by_coord:
                if good.any():
                    good[good] = look(SkyCoord(ra[good], dec[good], unit="rad", frame="fk5"))
            return good

        return allowed


def _above_zero(image: SkyImage | None, coord: SkyCoord) -> np.ndarray:
    """Whether the nearest pixel is above 0, (pos,) bool; False off the image."""
    assert image is not None
    x, y = image.pixels_of(coord)
    n_m, n_l = image.data.shape
    inside = (x > -0.5) & (x < n_l - 0.5) & (y > -0.5) & (y < n_m - 0.5)
    good = np.zeros(x.size, np.bool_)
    good[inside] = np.nan_to_num(image.data[np.rint(y[inside]).astype(int),
                                            np.rint(x[inside]).astype(int)]) > 0
    return good


def _seen(job: StackJob, coord: SkyCoord) -> np.ndarray:
    """Whether a position is inside the beam of any pointing, (pos,) bool."""
    seen = np.zeros(len(coord), np.bool_)
    places = Positions(coord)
    for _, pointing, spw in job.views():
        seen[look_at(places, job.primary_beam, job.pb_cutoff, pointing, spw).chosen] = True
    return seen
