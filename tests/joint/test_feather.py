"""Feathering against sums of Gaussians, whose feather is known in closed form."""

from dataclasses import dataclass

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import uvstack

ARCSEC = np.pi / 648000
FREQUENCY = 1.42e9
#: Beams and sources: FWHM, position angle (arcsec, degrees); Jy and offsets east and north.
HIGH, LOW, MISSING = (9.0, 7.0, 20.0), (60.0, 50.0, 70.0), (75.0, 75.0, 0.0)
SKY = [(20.0, (90.0, 60.0, 35.0), 0.0, 0.0), (1.0, (12.0, 12.0, 0.0), 50.0, -40.0),
       (3.0, (40.0, 25.0, -60.0), -50.0, 45.0)]


def matrix(major, minor, angle):
    """Squares of FWHM in (east, north), arcsec²."""
    t = np.deg2rad(angle)
    axes = np.array([[np.sin(t), np.cos(t)], [np.cos(t), -np.sin(t)]])
    return axes.T @ np.diag([major**2, minor**2]) @ axes


def area(m):
    return np.pi / (4 * np.log(2)) * np.sqrt(np.linalg.det(m))


@dataclass(frozen=True)
class Grid:
    """A grid in SIN projection; `shift` are pixels from the middle to the tangent point, `turn` degrees."""

    shape: tuple = (300, 320)
    cell: float = 2.0
    shift: tuple = (0.0, 0.0)
    turn: float = 0.0
    frame: str = "FK5"

    def wcs(self):
        w = WCS(naxis=2)
        w.wcs.ctype, w.wcs.cunit, w.wcs.crval = ["RA---SIN", "DEC--SIN"], ["deg", "deg"], [150.0, 30.0]
        w.wcs.crpix = [self.shape[1] // 2 + 1 + self.shift[0], self.shape[0] // 2 + 1 + self.shift[1]]
        c, s = np.cos(np.deg2rad(self.turn)), np.sin(np.deg2rad(self.turn))
        w.wcs.cd = np.array([[-c, s], [s, c]]) * self.cell / 3600
        w.wcs.radesys, w.wcs.equinox = self.frame, 2000.0
        return w

    def offsets(self):
        """East and north, arcsec: SIN from (150°, 30°)."""
        y, x = np.indices(self.shape)
        step = self.wcs().wcs.cd * 3600
        dx, dy = (x + 1 - self.wcs().wcs.crpix[0]), (y + 1 - self.wcs().wcs.crpix[1])
        return step[0, 0] * dx + step[0, 1] * dy, step[1, 0] * dx + step[1, 1] * dy


def density(at, flux, m, east, north):
    """Jy per square arcsec of a Gaussian."""
    inverse, dx, dy = np.linalg.inv(m), at[0] - east, at[1] - north
    r = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    return flux / area(m) * np.exp(-4 * np.log(2) * r)


def smeared(at, *beams, sky=SKY):
    """The sky convolved with Gaussians, Jy per square arcsec."""
    return sum(density(at, flux, matrix(*shape) + sum(matrix(*b) for b in beams), east, north)
               for flux, shape, east, north in sky)


def high_plane(at, missing=MISSING, **of):
    """What an interferometer sees that has not the scales of `missing`, Jy/beam."""
    return area(matrix(*HIGH)) * (smeared(at, HIGH, **of) - smeared(at, HIGH, missing, **of))


def low_plane(at, **of):
    return area(matrix(*LOW)) * smeared(at, LOW, **of)


def feathered_plane(at, scale=1.0, weight=LOW, missing=MISSING, **of):
    """Equation 3 with the beam `weight` as w: sums of Gaussians, Jy/beam."""
    return area(matrix(*HIGH)) * (
        scale * smeared(at, weight, **of) + smeared(at, HIGH, **of) - smeared(at, HIGH, missing, **of)
        - smeared(at, HIGH, weight, **of) + smeared(at, HIGH, weight, missing, **of))


def write(path, planes, grid, beam, unit="Jy/beam", frequency=None, step=1e6):
    """A FITS image, or a cube of planes from `frequency` on."""
    header = grid.wcs().to_header()
    header["BUNIT"] = unit
    if beam is not None:
        header["BMAJ"], header["BMIN"], header["BPA"] = beam[0] / 3600, beam[1] / 3600, beam[2]
    planes = np.asarray(planes, float)
    if frequency is not None:
        planes = planes.reshape(-1, *grid.shape)
        for name, value in {"CTYPE3": "FREQ", "CRVAL3": frequency, "CDELT3": step, "CRPIX3": 1.0,
                            "CUNIT3": "Hz"}.items():
            header[name] = value
    fits.writeto(path, planes, header, overwrite=True)
    return path


@pytest.fixture
def pair(tmp_path):
    """Both images on one grid, and the offsets of its pixels."""
    grid = Grid()
    at = grid.offsets()
    return (write(tmp_path / "high.fits", high_plane(at), grid, HIGH),
            write(tmp_path / "low.fits", low_plane(at), grid, LOW), at)


def test_the_feather_of_gaussians_is_the_closed_form(pair):
    found = uvstack.feather(*pair[:2])
    want = feathered_plane(pair[2])
    # Edges: 300 pixels reach 3.3 FWHM of the dish from the sources, where they are 1e-5.
    assert np.abs(found.image[0] - want).max() < 2e-4 * want.max()
    assert found.fluxes["flux"][0].value == pytest.approx(24.0, rel=1e-4)
    assert found.fluxes["flux_low"][0].value == pytest.approx(24.0, rel=1e-4)
    assert abs(found.fluxes["flux_high"][0].value) < 0.2
    assert found.sd_scale == 1.0
    assert found.sd_scale_error is None


def test_small_scales_are_those_of_the_interferometer(pair):
    """A source of which the dish sees next to nothing keeps its peak and shape."""
    at = pair[2]
    sky = [(0.1, (0.1, 0.1, 0.0), 3.0, 5.0)]
    write(pair[0], high_plane(at, sky=sky), Grid(), HIGH)
    write(pair[1], low_plane(at, sky=sky), Grid(), LOW)
    image = uvstack.feather(*pair[:2]).image[0]
    near = np.hypot(at[0] - 3.0, at[1] - 5.0) < 9
    truth = area(matrix(*HIGH)) * smeared(at, HIGH, sky=sky)
    # Where both instruments miss some of the middle scales: (1 − w)(1 − m) of the beam's volume.
    assert np.abs(image - truth)[near].max() < 0.03 * truth.max()
