"""Fields from a degree down to microarcseconds, and nothing that is not finite leaves a computation unsaid."""

import numpy as np
import pytest
from astropy.io import fits

import oracles
from factories import CENTRE, at, edit, make_ms, offset, read
from uvstack.errors import NumericalError
from uvstack.imaging.task import image
from uvstack.pixels.geometry import ImageGeometry
from uvstack.pixels.grid import Grid
from uvstack.sky.components import components
from uvstack.sky.primary_beam import Gaussian
from uvstack.stacking.task import stack
from uvstack.subtraction.task import subtract
from uvstack.uv.dirty import dirty_image
from uvstack.uv.predict import predict, predict_image
from uvstack.uv.taylor import to_image, to_visibilities

FREQUENCY = 43e9 + 1e9 * np.arange(2)
#: Half a field, rad: 0.2 microarcseconds to 2 degrees, the bound of ducc0 (a few mas) and that of
#: ours (2″) among them.
RADII = [1e-12, 1e-9, 1e-8, 3e-8, 1e-6, 0.9e-5, 1.1e-5, 1e-3, 3e-2]


def field(radius):
    """Grid of 34 × 40 pixels off centre, baselines that it resolves with w of up to three turns at its corner, random numbers."""
    rng = np.random.default_rng(2)
    cell = radius / 20
    grid = Grid(ImageGeometry(*CENTRE, -cell, cell, 3 * cell, -2 * cell), (34, 40))
    uvw = rng.uniform(-0.4, 0.4, (25, 3)) / cell
    uvw[:, 2] = rng.uniform(-3, 3, 25) / radius**2
    uvw *= oracles.LIGHT / FREQUENCY[0]
    values = rng.normal(size=(25, 2)) + 1j * rng.normal(size=(25, 2))
    return grid, uvw, values.astype(np.complex64), rng.uniform(0.1, 2, (25, 2)).astype(np.float32), rng.normal(size=grid.shape)


def turns(grid, uvw):
    """ν/c (u l + v m + w (n − 1)), (row, chan, m, l), in extended precision."""
    l, m = grid.l.astype(np.longdouble)[None, :], grid.m.astype(np.longdouble)[:, None]
    n_minus_1 = -(l * l + m * m) / (1 + np.sqrt(1 - l * l - m * m))
    u, v, w = uvw.astype(np.longdouble).T[:, :, None, None]
    path = u * l + v * m + w * n_minus_1
    all_turns = path[:, None] * (FREQUENCY / oracles.LIGHT).astype(np.longdouble)[:, None, None]
    return (all_turns - np.round(all_turns)).astype(np.float64)


@pytest.mark.parametrize("radius", RADII)
def test_image_and_visibilities_of_fields_of_any_size(radius):
    grid, uvw, vis, weight, sky = field(radius)
    phase = 2 * np.pi * turns(grid, uvw)
    wanted = (weight[..., None, None]
              * (vis[..., None, None] * np.exp(-1j * phase)).real).sum(axis=(0, 1))
    # ε of 1e-5 relative to the rms of the image as ducc0 pads it.
    assert np.abs(to_image(uvw, FREQUENCY, vis, weight, grid) - wanted).max() < 5e-5 * wanted.std()
    of_sky = (sky * np.exp(1j * phase)).sum(axis=(2, 3))
    assert np.abs(to_visibilities(uvw, FREQUENCY, sky, grid, epsilon=1e-7)
                  - of_sky).max() < 5e-6 * np.abs(of_sky).max()
    assert np.abs(predict_image(uvw, FREQUENCY, sky, grid.geometry, *CENTRE)
                  - of_sky).max() < 5e-6 * np.abs(of_sky).max()


@pytest.mark.parametrize("radius", RADII)
def test_stamps_of_any_size(radius):
    _, uvw, vis, weight, _ = field(radius)
    cell = radius / 20
    grid = Grid(ImageGeometry(*CENTRE, -cell, cell), (40, 40))
    wanted = (weight[..., None, None]
              * (vis[..., None, None]
                 * np.exp(-2j * np.pi * turns(grid, uvw))).real).sum(axis=(0, 1))
    assert np.abs(dirty_image(uvw, FREQUENCY, vis, weight, 40, cell)
                  - wanted).max() < 5e-5 * wanted.std()


def test_a_set_with_cells_of_microarcseconds(tmp_path):
    """The image's middle pixel is the mean of the visibilities.

    a model of one pixel leaves what the plain sum leaves.
    """
    path = make_ms(tmp_path / "vlbi.ms", sources=[(*CENTRE, 1.0)], noise=0.1)
    edit(path, "UVW", lambda uvw: uvw * 1e6)
    cell = 2e-12
    made = image(path, size=64, cell=cell, weighting="natural", iterations=0)
    assert made.dirty[0][32, 32] == pytest.approx(read(path, "DATA").real.mean(), abs=1e-5)
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN",
                          "CRVAL1": np.rad2deg(CENTRE[0]), "CRVAL2": np.rad2deg(CENTRE[1]),
                          "CDELT1": -np.rad2deg(cell), "CDELT2": np.rad2deg(cell), "CRPIX1": 9.0,
                          "CRPIX2": 9.0, "BUNIT": "Jy/pixel", "RADESYS": "FK5", "EQUINOX": 2000.0})
    pixels = np.zeros((16, 16))
    pixels[12, 3] = 1.0  # 4 pixels north, 5 east
    fits.writeto(tmp_path / "model.fits", pixels, header)
    subtract(path, tmp_path / "model.fits")
    uvw, frequency = read(path, "UVW"), read(path, "CHAN_FREQ", "SPECTRAL_WINDOW")[0]
    seen = np.exp(2j * np.pi / oracles.LIGHT
                  * np.outer(uvw[:, 0] * 5 * cell + uvw[:, 1] * 4 * cell, frequency))
    # CRVAL is in degrees: its last place is 5e-16 rad, which at these baselines is a phase.
    rounding = 2 * np.pi * 5e-16 * np.abs(uvw).max() * frequency.max() / oracles.LIGHT
    assert 1e-6 < rounding < 1e-4
    assert np.abs(read(path, "RESIDUAL_DATA")
                  - (read(path, "DATA") - seen[:, :, None])).max() < 1e-6 + 2 * rounding


def test_a_model_of_microarcseconds_keeps_its_place_in_a_file(tmp_path):
    """What CLEAN writes is what subtraction reads, as image and as list.

    Of a point source on a pixel nothing is left.
    """
    cell = 2e-12
    ra, dec = oracles.direction(5 * cell, -3 * cell, *CENTRE)
    path = make_ms(tmp_path / "vlbi.ms", n_ant=9)
    edit(path, "UVW", lambda uvw: uvw * 1e6)
    uvw, frequency = read(path, "UVW"), read(path, "CHAN_FREQ", "SPECTRAL_WINDOW")[0]
    edit(path, "DATA",
         lambda _: np.repeat(oracles.predict(uvw, frequency, [(ra, dec, 1.0)], *CENTRE)[:, :, None],
                             2, axis=2))
    made = image(path, size=64, cell=cell, threshold=2e-5, out=tmp_path / "x")
    for name in ("model", "components"):
        subtract(path, made.files[name], into=name.upper())
        assert np.abs(read(path, name.upper())).max() < 1e-4


def test_what_is_not_finite_is_an_error():
    grid, uvw, vis, weight, sky = field(1e-3)
    with pytest.raises(NumericalError, match=r"dirty image: \d+ of 1360 values are not finite, the first at \(0, 0\)"):
        to_image(uvw, FREQUENCY, vis * np.float32(1e30), weight * np.float32(1e30), grid)
    with pytest.raises(NumericalError, match="visibilities of an image"):
        to_visibilities(uvw, FREQUENCY, sky * 1e307, grid, epsilon=1e-8)
    none = np.arange(25)
    with pytest.raises(NumericalError, match="visibilities of components"):
        predict(uvw, none, none + 1, none * 0.0, FREQUENCY,
                components([CENTRE[0]] * 3, [CENTRE[1]] * 3, [1e38, 2e38, 3e38]), *CENTRE)


def test_a_stack_that_overflows_is_an_error(tmp_path):
    """1e38 Jy is finite in single precision, and over a primary beam of 0.2 it is not."""
    path = make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)], n_ant=4, n_times=1)
    edit(path, "DATA", lambda vis: vis * np.complex64(1e38))
    there = offset(0.0, 1e-3 * np.sqrt(np.log2(5.0)) / 2)
    beam = Gaussian(1e-3, 1.4e9)
    assert beam(np.array([0.0]), np.array([there[1] - CENTRE[1]]),
                np.array([1.4e9])) == pytest.approx(0.2, rel=1e-3)
    with pytest.raises(NumericalError, match="stacked visibilities of measurement set 0, field 0"):
        stack(path, at(there), primary_beam=beam)
