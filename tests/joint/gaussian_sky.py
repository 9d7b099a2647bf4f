"""Sums of Gaussians as an interferometer and a dish see them, and their feather in closed form.

Nothing of ours is imported.
"""

import uuid
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

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


def diameter(fwhm):
    """Of a dish, m, with λ/D of so many arcsec."""
    return 299792458.0 / FREQUENCY / (fwhm * ARCSEC)


def feather_of_casa(high, low, **options):
    """CASA's feather of FITS images with an axis of frequency: one with Stokes and RA, Dec as CASA wants them, in this folder."""
    import casatasks

    names = {}
    for kind, path in (("high", high), ("low", low)):
        names[kind] = f"{kind}-{uuid.uuid4().hex[:8]}.image"
        casatasks.importfits(str(path), names[kind], defaultaxes=True,
                             defaultaxesvalues=["", "", "", "I"])
    made = f"feathered-{uuid.uuid4().hex[:8]}"
    casatasks.feather(f"{made}.image", names["high"], names["low"], **options)
    casatasks.exportfits(f"{made}.image", f"{made}.fits")
    return np.squeeze(fits.getdata(f"{made}.fits")).astype(float)
