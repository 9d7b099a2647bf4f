"""Models of the sky as visibilities: what is subtracted from data or written beside them.

A model is components or an image. Both are asked for the visibilities of many rows at once, given
as parts: rows of one phase centre and one frequency axis. Components are summed part by part
(`uvstack.uv.predict`). An image costs a transform whose price hardly depends on the number of rows;
without a primary beam parts of different phase centres therefore go through one transform in the
frame of the image: (u, v, w) are turned there, and the phase centre's path is taken off afterwards.
With a primary beam every part sees an image of its own at every channel, cut to where it is not 0;
where the beam is smooth in frequency a few images between which it is a polynomial (to 1e-7) stand
for all channels. An image that is mostly empty, as CLEAN leaves it, is summed pixel by pixel where
that costs less than a transform (`uvstack.uv.point_model`).

The spectrum of an image is one of: the same at all frequencies; I0 + I1 (ν − ν0)/ν0 + …, the Taylor
terms of multi-term deconvolution; or planes of a cube with straight lines between them. Averaging
over time and channel is not modelled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from uvstack.constants import SPEED_OF_LIGHT
from uvstack.errors import ImageError
from uvstack.pixels.geometry import ImageGeometry
from uvstack.sky.components import Components
from uvstack.sky.coordinates import direction_cosines, rotation_between
from uvstack.sky.primary_beam import PrimaryBeam
from uvstack.uv.point_model import is_cheaper, visibilities_of_points
from uvstack.uv.predict import predict_image, predict_stokes

#: Pixels in which it is tried whether a beam is smooth in frequency.
_SAMPLE = 20_000
#: Channels that a cube must not miss, in steps between its planes.
_BEYOND = 1.0


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one phase centre and frequency axis.

    Attributes
    ----------
    uvw : ndarray (row, 3)
        Metres, along the axes of J2000.
    antenna1, antenna2, time : ndarray (row,)
    frequency : ndarray (chan,)
        Hz.
    ra, dec : float
        Phase centre, J2000, rad.
    pointing : (float, float), optional
        Centre of the primary beam, J2000, rad; default the phase centre.
    """

    uvw: np.ndarray
    antenna1: np.ndarray
    antenna2: np.ndarray
    time: np.ndarray
    frequency: np.ndarray
    ra: float
    dec: float
    pointing: tuple[float, float] | None = None

    @property
    def beam_centre(self) -> tuple[float, float]:
        """Centre of the primary beam, J2000, rad."""
        return self.pointing or (self.ra, self.dec)


@dataclass(frozen=True, eq=False)
class ComponentSky:
    """Components, which may be negative, as those of a deconvolution are."""

    components: Components

    @property
    def flux(self) -> float:
        """Sum of Stokes I at the reference frequency, Jy."""
        return float(self.components.flux.sum())

    @property
    def n_components(self) -> int:
        """Components that are not 0."""
        return int(self.components.shines.sum())

    def fingerprint(self) -> str:
        """The same for the same components alone."""
        one = self.components
        columns: list[np.ndarray] = [one.ra, one.dec, one.flux, one.fwhm_major, one.fwhm_minor,
                                     one.position_angle, one.spectral_index, one.curvature, one.q,
                                     one.u, one.v, np.array([one.reference_frequency])]
        if one.taylor.size or one.cell:
            columns += [one.taylor, np.array([one.cell])]
        return _hash([*columns, np.asarray(one.shape, "S8")])

    def seen_from(self, ra: float, dec: float) -> np.ndarray:
        """l, m and n of all that is not 0 from a direction (rad), (3, n)."""
        some = self.components.shines
        l, m, n_minus_1 = direction_cosines(self.components.ra[some], self.components.dec[some], ra,
                                            dec)
        return np.stack([l, m, n_minus_1 + 1.0])

    def stokes(self, parts: Sequence[Part], primary_beam: PrimaryBeam | None = None,
               threads: int = 1) -> list[np.ndarray]:
        """Stokes parameters of each part, (1 or 4, row, chan) complex64; `threads` is not used.

        Raises
        ------
        ComponentError
            A component is 90° or more from a phase centre, and there is no primary beam that ends
            before.
        """
        found = []
        for part in parts:
            seen = self.components
            if primary_beam is not None:
                seen = seen.subset(direction_cosines(seen.ra, seen.dec, part.ra, part.dec)[2]
                                   > -1.0)
            found.append(predict_stokes(part.uvw, part.antenna1, part.antenna2, part.time,
                                        part.frequency, seen, part.ra, part.dec, primary_beam,
                                        part.beam_centre))
        return found


@dataclass(frozen=True, eq=False)
class ImageSky:
    """An image in Jy/pixel with its spectrum.

    Attributes
    ----------
    planes : ndarray (plane, m, l)
        Jy/pixel: one plane, Taylor terms where `nu0` is given, or the planes of a cube.
    geometry : ImageGeometry
    frequency : ndarray (plane,) or None
        Hz of the planes of a cube, increasing.
    nu0 : float, optional
        Hz; planes are Taylor terms about it.
    """

    planes: np.ndarray
    geometry: ImageGeometry
    frequency: np.ndarray | None = None
    nu0: float | None = None

    @property
    def flux(self) -> float:
        """Sum of the first plane, Jy."""
        return float(self.planes[0].sum())

    @property
    def n_components(self) -> int:
        """Pixels that are not 0 in all planes."""
        return int(np.count_nonzero(self.planes.any(axis=0)))

    def fingerprint(self) -> str:
        """The same for the same image alone."""
        g = self.geometry
        where = np.array([g.ra, g.dec, g.cell_l, g.cell_m, g.centre_l, g.centre_m, self.nu0 or 0.0])
        return _hash([self.planes, where] + ([] if self.frequency is None else [self.frequency]))

    def shares(self, frequency: np.ndarray) -> np.ndarray:
        """Share of each plane in each channel, (plane, chan): Σ share × plane is the sky there.

        Raises
        ------
        ImageError
            A channel lies more than one step beyond the planes of a cube.
        """
        frequency = np.asarray(frequency, np.float64)
        if self.nu0 is not None:
            return ((frequency / self.nu0
                     - 1.0) ** np.arange(len(self.planes))[:, None]).astype(np.float64)
        if len(self.planes) == 1 or self.frequency is None:
            return np.ones((1, frequency.size))
        step = np.diff(self.frequency).max() * _BEYOND * (1 + 1e-9)
        if frequency.min() < self.frequency[0] - step or frequency.max() > self.frequency[-1] + step:
            raise ImageError(f"the cube holds {self.frequency[0] / 1e9:.6g} to "
                             f"{self.frequency[-1] / 1e9:.6g} GHz, the data "
                             f"{frequency.min() / 1e9:.6g} to {frequency.max() / 1e9:.6g} GHz; "
                             "select the spectral windows that it covers")
        return np.stack([np.interp(frequency, self.frequency, row)
                         for row in np.eye(len(self.planes))])

    def seen_from(self, ra: float, dec: float) -> np.ndarray:
        """l, m and n of all pixels that are not 0 from a direction (rad), (3, n)."""
        row, column = np.nonzero(np.any(self.planes != 0, axis=0))
        return self._towards(ra, dec, row, column)

    def _towards(self, ra: float, dec: float, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """l, m and n of pixels from a direction (rad), (3, n)."""
        g, shape = self.geometry, self.planes.shape[1:]
        l = g.centre_l + (column - shape[1] // 2) * g.cell_l
        m = g.centre_m + (row - shape[0] // 2) * g.cell_m
        square = 1.0 - l**2 - m**2
        if (square <= 0).any():
            raise ImageError("an image with flux beyond the horizon; cut it to the part that holds "
                             "the sky")
        return rotation_between(g.ra, g.dec, ra, dec) @ np.stack([l, m, np.sqrt(square)])

    def stokes(self, parts: Sequence[Part], primary_beam: PrimaryBeam | None = None,
               threads: int = 1) -> list[np.ndarray]:
        """Stokes I of each part, (1, row, chan) complex64."""
        if primary_beam is not None:
            return [self._through_beam(part, primary_beam, threads)[None] for part in parts]
        row, column = np.nonzero(np.any(self.planes != 0, axis=0))
        n_visibilities = sum(part.time.size * part.frequency.size for part in parts)
        if is_cheaper(row.size, n_visibilities, self.planes.shape[1:], in_double=True):
            return [self._by_points(part, row, column, threads)[None] for part in parts]
        found: list[np.ndarray] = [np.zeros((1, part.time.size, part.frequency.size), np.complex64)
                                   for part in parts]
        axes: dict[bytes, list[int]] = {}
        for i, part in enumerate(parts):
            axes.setdefault(part.frequency.tobytes(), []).append(i)
        for which in axes.values():
            self._together(parts, which, found, threads)
        return found

    def _by_points(self, part: Part, row: np.ndarray, column: np.ndarray,
                   threads: int) -> np.ndarray:
        """Visibilities (row, chan) of pixels, each a point source."""
        l, m, n = self._towards(part.ra, part.dec, row, column)
        flux = np.nan_to_num(self.planes[:, row, column], nan=0.0, posinf=0.0, neginf=0.0)
        return visibilities_of_points(part.uvw, part.antenna1, part.antenna2, part.time,
                                      part.frequency, np.stack([l, m, n - 1.0]),
                                      self.shares(part.frequency).T @ flux, threads)

    def _together(self, parts: Sequence[Part], which: list[int], found: list[np.ndarray],
                  threads: int) -> None:
        """Parts of one frequency axis by one transform a plane, in the frame of the image."""
        g, frequency = self.geometry, parts[which[0]].frequency
        turned = [parts[i].uvw @ rotation_between(parts[i].ra, parts[i].dec, g.ra, g.dec).T
                  for i in which]
        vis = self._planewise(np.concatenate(turned), frequency, threads)
        start = 0
        for i, uvw in zip(which, turned, strict=True):
            path = uvw @ np.stack(direction_cosines(parts[i].ra, parts[i].dec, g.ra, g.dec))
            turns = np.outer(np.where(np.isfinite(path), path, 0.0), frequency / SPEED_OF_LIGHT)
            found[i][0] = vis[start : start + len(uvw)] * np.exp(-2j * np.pi
                                                                 * (turns - np.round(turns)))
            start += len(uvw)

    def _planewise(self, uvw: np.ndarray, frequency: np.ndarray, threads: int) -> np.ndarray:
        """Visibilities (row, chan) as seen from the point that the image touches."""
        g, shares = self.geometry, self.shares(frequency)
        vis = np.zeros((len(uvw), frequency.size), np.complex64)
        if np.any(shares != 0, axis=1).sum() > frequency.size:  # more planes than channels: add the planes up first
            for chan in range(frequency.size):
                one = slice(chan, chan + 1)
                plane, geometry = cut(np.tensordot(shares[:, chan], self.planes, 1), g)
                vis[:, one] = predict_image(uvw, frequency[one], plane, geometry, g.ra, g.dec,
                                            threads=threads)
            return vis
        for plane, share in zip(self.planes, shares, strict=True):
            chans = np.flatnonzero(share)
            if chans.size and plane.any():
                plane, geometry = cut(plane, g)
                vis[:, chans] += (predict_image(uvw, frequency[chans], plane, geometry, g.ra, g.dec,
                                                threads=threads) * share[chans].astype(np.float32))
        return vis

    def _through_beam(self, part: Part, primary_beam: PrimaryBeam, threads: int) -> np.ndarray:
        g, frequency = self.geometry, part.frequency
        vis = np.zeros((part.time.size, frequency.size), np.complex64)
        row, column = np.nonzero(np.any(self.planes != 0, axis=0))
        if row.size == 0:
            return vis
        brightness, (l, m, n) = self.planes[:, row, column], self.seen_from(*part.beam_centre)
        l = np.where(n > 0, l, 2.0)  # beyond the horizon a beam answers 0

        def apparent(nu: np.ndarray, which: slice = slice(None)) -> np.ndarray:
            return (brightness[:, which].T @ self.shares(nu)) * primary_beam(l[which], m[which], nu)

        def predicted(values: np.ndarray, nu: np.ndarray) -> np.ndarray:
            image = np.zeros(self.planes.shape[1:])
            image[row, column] = values
            image, geometry = cut(image, g)
            return predict_image(part.uvw, nu, image, geometry, part.ra, part.dec, threads=threads)

        nodes = None if self.frequency is not None and len(self.planes) > 1 else _nodes(
            frequency, apparent, slice(None, None, -(-row.size // _SAMPLE)),
            (self.planes[0].size, part.time.size))
        if nodes is None:
            for chan in range(frequency.size):
                one = slice(chan, chan + 1)
                vis[:, one] = predicted(apparent(frequency[one])[:, 0], frequency[one])
            return vis
        for node, share in zip(nodes, _lagrange(nodes, frequency), strict=True):
            vis += predicted(apparent(np.array([node]))[:, 0], frequency) * share.astype(np.float32)
        return vis


SkyModel = ComponentSky | ImageSky


def _nodes(frequency: np.ndarray, apparent: Callable[..., np.ndarray], sample: slice,
           size: tuple[int, int]) -> np.ndarray | None:
    """Frequencies (Hz) between which what a beam leaves of an image is a polynomial, to 1e-7.

    None where channels are cheaper.

    A transform of p pixels, r rows and c channels costs about p + r c: c images of one channel cost
    c (p + r), the images at k nodes (Chebyshev's, the best for polynomials), each for all channels,
    k (p + r c). Beams that are cut off are no polynomials.
    """
    n_pixels, n_rows = size
    tried = frequency[:: -(-frequency.size // 64)]
    exact = None
    for k in (2, 3, 4, 5, 6, 8, 10):
        if k * (n_pixels + n_rows * frequency.size) >= frequency.size * (n_pixels + n_rows):
            return None
        middle, half = 0.5 * (frequency.max() + frequency.min()), 0.5 * (frequency.max()
                                                                         - frequency.min())
        nodes = middle + half * np.cos(np.pi * (np.arange(k) + 0.5) / k)
        exact = apparent(tried, sample) if exact is None else exact
        error = np.abs(apparent(nodes, sample) @ _lagrange(nodes, tried) - exact).sum(axis=0)
        if (error <= 1e-7 * np.abs(exact).sum(axis=0)).all():
            return nodes
    return None


def _lagrange(nodes: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Lagrange's polynomials of the nodes at frequencies, (node, chan)."""
    rows = []
    for i, node in enumerate(nodes):
        others = np.delete(nodes, i)
        rows.append(np.prod((frequency[None, :] - others[:, None]) / (node - others)[:, None],
                            axis=0))
    return np.stack(rows)


def cut(image: np.ndarray, geometry: ImageGeometry) -> tuple[np.ndarray, ImageGeometry]:
    """The smallest part of an image (m, l) that holds all pixels that are not 0, and its geometry."""
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if rows.size == 0:
        return image[:1, :1], geometry
    part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shift_m = rows[0] + part.shape[0] // 2 - image.shape[0] // 2
    shift_l = columns[0] + part.shape[1] // 2 - image.shape[1] // 2
    return part, replace(geometry, centre_l=geometry.centre_l + shift_l * geometry.cell_l,
                         centre_m=geometry.centre_m + shift_m * geometry.cell_m)


def _hash(arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{np.shape(array)}{np.asarray(array).dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
