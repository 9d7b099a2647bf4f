"""A small archive laid out and named as that of the VLA Sky Survey, of a sky that is drawn pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

#: FWHM (arcsec) and position angle (degrees) of each epoch's beam.
BEAMS = {1: (3.6, 2.6, 20.0), 2: (3.2, 2.8, 110.0), 3: (3.4, 3.0, 60.0)}
#: Centres of two tiles that meet across 0h, degrees; 200″ wide, 170″ apart.
TILES = {"T11t01": (0.0236, 12.0), "T11t36": (359.9764, 12.0)}
PIXELS = 200
#: RA, Dec and peak of point sources: in the overlap, at a side, in one tile alone.
SOURCES = [(0.0005, 12.001, 0.040), (359.998, 12.012, 0.025), (0.031, 11.99, 0.030)]
NOISE = 1e-4


def drawn(header, sources, beam, gain=1.0):
    """Points through a beam at the sky position of every pixel, in Jy/beam."""
    ny, nx = header["NAXIS2"], header["NAXIS1"]
    y, x = np.indices((ny, nx))
    ra, dec = WCS(header, fix=False).celestial.wcs_pix2world(x.ravel(), y.ravel(), 0)
    total, (major, minor, angle) = np.zeros(ra.size), beam
    for ra0, dec0, peak in sources:
        north = (dec - dec0) * 3600
        east = ((ra - ra0 + 180) % 360 - 180) * np.cos(np.radians(dec0)) * 3600
        turn = np.radians(angle)
        along = north * np.cos(turn) + east * np.sin(turn)
        across = east * np.cos(turn) - north * np.sin(turn)
        total += gain * peak * np.exp(-4 * np.log(2) * ((along / major)**2 + (across / minor)**2))
    return total.reshape(ny, nx)


def header_of(ra, dec, beam, epoch, shape=(PIXELS, PIXELS), cell=1.0):
    """Of a tile with four axes."""
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, 4
    for axis, n in enumerate((shape[1], shape[0], 1, 1), 1):
        header[f"NAXIS{axis}"] = n
    values = (("RA---SIN", ra, -cell / 3600, shape[1] // 2 + 1), ("DEC--SIN", dec, cell / 3600, shape[0] // 2 + 1),
              ("FREQ", 3e9, 2e9, 1.0), ("STOKES", 1.0, 1.0, 1.0))
    for axis, (kind, value, step, pixel) in enumerate(values, 1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"] = kind, value
        header[f"CDELT{axis}"], header[f"CRPIX{axis}"] = step, float(pixel)
    header["RADESYS"], header["BUNIT"] = "ICRS", "Jy/beam"
    header["BMAJ"], header["BMIN"], header["BPA"] = beam[0] / 3600, beam[1] / 3600, beam[2]
    header["DATE-OBS"] = f"20{16 + 3 * epoch}-02-03T04:05:06"
    return header


def name_of(epoch, tile, ra, dec, product="ql", version=1):
    """Of an image's folder."""
    place = SkyCoord(ra, dec, unit="deg").to_string("hmsdms", sep="", precision=0).replace(" ", "")
    return f"VLASS{epoch}.1.{product}.{tile}.J{place}.{'10' if product == 'ql' else '06'}.2048.v{version}"


def write_tile(folder, epoch, tile, *, product="ql", version=1, gain=1.0, noise=NOISE, campaign=None,
               sources=SOURCES, centre=None, beam=None, edit=None):
    """One tile where the archive has it; its path."""
    ra, dec = centre or TILES[tile]
    beam = beam or BEAMS[epoch]
    header = header_of(ra, dec, beam, epoch)
    data = drawn(header, sources, beam, gain)
    data += noise * np.random.default_rng([epoch, *tile.encode()]).standard_normal(data.shape)
    name = name_of(epoch, tile, ra, dec, product, version)
    path = Path(folder, campaign or f"VLASS{epoch}.1", tile, name, f"{name}.I.iter1.image.pbcor.tt0.subim.fits")
    path.parent.mkdir(parents=True, exist_ok=True)
    if edit is not None:
        edit(data, header)
    fits.writeto(path, data[None, None].astype("f4"), header, overwrite=True)
    return path


def make_archive(folder, epochs=(1, 2, 3), **settings):
    """Both tiles of some epochs; the folder."""
    for epoch in epochs:
        for tile in TILES:
            write_tile(folder, epoch, tile, **settings)
    return Path(folder)
