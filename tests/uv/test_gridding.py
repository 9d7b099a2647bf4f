"""Grids, and the pair image ↔ visibilities.

Against direct sums, as transposes of each other, and at known places.
"""

import numpy as np
import pytest

from oracles import LIGHT, cosines, phasor, predict_pixels
from uvstack.errors import ImageError
from uvstack.pixels.geometry import ImageGeometry
from uvstack.pixels.grid import Grid, centred_grid, check_cell, good_size, psf_grid, uv_extent
from uvstack.uv.dirty import dirty_image
from uvstack.uv.predict import predict_image
from uvstack.uv.taylor import (
    channel_groups,
    taylor_images,
    taylor_psfs,
    taylor_visibilities,
    taylor_weights,
    to_image,
    to_psf,
    to_visibilities,
)

ARCSEC = np.deg2rad(1 / 3600)
RA0, DEC0 = 1.0, -0.52
FREQUENCY = 1.4e9 + 60e6 * np.arange(3)
#: A corner of the field is 0.008 rad from the centre: there w (n − 1) reaches two turns, so that a
#: wrong w is seen.
CELL = 60 * ARCSEC
#: Odd, even, not square, smaller than ducc0's least size, offset, cells of other signs.
GRIDS = {
    "even": Grid(ImageGeometry(RA0, DEC0, -CELL, CELL), (40, 40)),
    "odd": Grid(ImageGeometry(RA0, DEC0, -CELL, CELL), (41, 37)),
    "oblong": Grid(ImageGeometry(RA0, DEC0, -CELL, 0.7 * CELL), (34, 63)),
    "tiny": Grid(ImageGeometry(RA0, DEC0, -CELL, CELL), (1, 5)),
    "offset": Grid(ImageGeometry(RA0, DEC0, -CELL, CELL, 0.004, -0.003), (36, 45)),
    "mirrored": Grid(ImageGeometry(RA0, DEC0, CELL, -CELL, 0.004, -0.003), (35, 44)),
}
CENTRES = {"own": None, "other": (RA0 - 0.006, DEC0 + 0.004)}


def data(n=80, length=1.5e3, seed=1):
    """uvw (row, 3) with w as long as u and v, visibilities and weights of the three channels."""
    rng = np.random.default_rng(seed)
    uvw = rng.normal(size=(n, 3)) * length * [1, 1, 3]
    vis = rng.normal(size=(n, 3)) + 1j * rng.normal(size=(n, 3))
    return uvw, vis.astype(np.complex64), rng.uniform(0.1, 2.0, (n, 3)).astype(np.float32)


def direct_image(uvw, frequency, vis, weight, l, m, centre=None):
    """Σ w Re(V exp(−2πi …)) pixel by pixel.

    (ra, dec) of centre relative to (RA0, DEC0) by turning vectors.
    """
    image = np.zeros((len(m), len(l)))
    for i, y in enumerate(m):
        for j, x in enumerate(l):
            if centre is None:
                path = uvw @ [x, y, np.sqrt(1 - x * x - y * y) - 1]
                turn = np.exp(-2j * np.pi * np.outer(path, frequency) / LIGHT)
            else:
                turn = phasor(uvw, frequency, *direction(x, y), *centre).conj()
            image[i, j] = (weight * (vis * turn).real).sum()
    return image


def direction(l, m):
    """(ra, dec) of direction cosines from (RA0, DEC0)."""
    n = np.sqrt(1 - l * l - m * m)
    dec = np.arcsin(m * np.cos(DEC0) + n * np.sin(DEC0))
    return RA0 + np.arctan2(l, n * np.cos(DEC0) - m * np.sin(DEC0)), dec


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("name", GRIDS)
def test_image_equals_the_direct_sum(name, centre):
    grid, phase_centre = GRIDS[name], CENTRES[centre]
    uvw, vis, weight = data()
    wanted = direct_image(uvw, FREQUENCY, vis, weight, grid.l, grid.m, phase_centre)
    found = to_image(uvw, FREQUENCY, vis, weight, grid, phase_centre=phase_centre)
    assert found.dtype == np.float32
    # ducc0's ε of 1e-5 is relative to the rms over its own image; padded images are mostly not
    # looked at.
    assert np.abs(found - wanted).max() < 5e-5 * np.sqrt((weight**2).sum())
    fine = to_image(uvw, FREQUENCY, vis, weight, grid, phase_centre=phase_centre, epsilon=1e-10)
    assert fine.dtype == np.float64
    assert np.abs(fine - wanted).max() < 1e-9 * np.sqrt((weight**2).sum())
    # In another order of channels the same.
    turned = to_image(uvw, FREQUENCY[::-1], vis[:, ::-1], weight[:, ::-1], grid,
                      phase_centre=phase_centre, epsilon=1e-10)
    assert np.allclose(turned, fine, rtol=0, atol=1e-8)


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("name", GRIDS)
def test_visibilities_are_the_transpose_of_the_image(name, centre):
    grid, phase_centre = GRIDS[name], CENTRES[centre]
    uvw, vis, _ = data(seed=2)
    image = np.random.default_rng(3).normal(size=grid.shape)
    options = {"phase_centre": phase_centre, "epsilon": 1e-12}
    seen = to_visibilities(uvw, FREQUENCY[::-1], image, grid, **options)
    assert seen.dtype == np.complex128
    forward = (seen * vis.conj()).real.sum()
    backward = (image
                * to_image(uvw, FREQUENCY[::-1], vis, np.ones(vis.shape), grid, **options)).sum()
    scale = np.abs(image).sum() * np.abs(vis).max()
    assert abs(forward - backward) < 1e-10 * scale
    assert abs(forward) > 1e-4 * scale


@pytest.mark.parametrize("name", GRIDS)
def test_visibilities_equal_the_direct_sum(name):
    grid = GRIDS[name]
    uvw, _, _ = data(40)
    image = np.random.default_rng(4).normal(size=grid.shape)
    wanted = predict_pixels(uvw, FREQUENCY, image, grid.l, grid.m)
    found = to_visibilities(uvw, FREQUENCY, image, grid)
    assert found.dtype == np.complex64
    assert np.abs(found - wanted).max() < 1e-5 * np.sqrt((image**2).sum())
    # and those of the simulator's transform, from another phase centre as well
    elsewhere = CENTRES["other"]
    theirs = predict_image(uvw, FREQUENCY, image, grid.geometry, *elsewhere)
    ours = to_visibilities(uvw, FREQUENCY, image, grid, phase_centre=elsewhere)
    assert np.abs(ours - theirs).max() < 1e-5 * np.sqrt((image**2).sum())


@pytest.mark.parametrize("name", ["even", "odd", "offset", "mirrored"])
def test_a_source_peaks_at_its_pixel_with_its_flux(name):
    grid, (row, column) = GRIDS[name], (11, 29)
    ra, dec = direction(grid.l[column], grid.m[row])
    uvw, _, weight = data(2000)
    vis = 0.7 * phasor(uvw, FREQUENCY, ra, dec, *CENTRES["other"])
    image = to_image(uvw, FREQUENCY, vis, weight, grid,
                     phase_centre=CENTRES["other"]) / weight.sum(dtype=float)
    assert np.unravel_index(image.argmax(), image.shape) == (row, column)
    assert image[row, column] == pytest.approx(0.7, rel=2e-5)
    assert grid.pixel_of(ra, dec) == pytest.approx((row, column), abs=1e-6)


def test_the_sign_is_that_of_the_oracle_and_of_dirty_image():
    uvw, vis, weight = data()
    grid = centred_grid(RA0, DEC0, 64, CELL)
    assert np.allclose(to_image(uvw, FREQUENCY, vis, weight, grid),
                       dirty_image(uvw, FREQUENCY, vis, weight, 64, CELL), atol=1e-3)
    # East is to the left: l falls along the last axis.
    l, _, _ = cosines(RA0 + 1e-3, DEC0, RA0, DEC0)
    assert l > 0
    assert grid.pixel_of(RA0 + 1e-3, DEC0)[1] < 32


def test_psf_has_its_peak_in_the_middle_and_is_the_image_of_a_source():
    uvw, _, weight = data(500)
    for phase_centre in CENTRES.values():
        image_grid = GRIDS["odd"]
        grid = psf_grid(image_grid, phase_centre)
        assert grid.shape == (82, 74)
        psf = to_psf(uvw, FREQUENCY, weight, grid,
                     phase_centre=phase_centre) / weight.sum(dtype=float)
        assert psf[41, 37] == pytest.approx(1.0, rel=1e-5)
        assert np.unravel_index(psf.argmax(), psf.shape) == (41, 37)


def test_parts_of_a_grid_are_parts_of_its_image():
    uvw, vis, weight = data()
    grid = GRIDS["offset"]
    whole = to_image(uvw, FREQUENCY, vis, weight, grid, epsilon=1e-9)
    for rows, columns in [(slice(3, 20), slice(10, 45)), (slice(0, 36), slice(0, 1)),
                          (slice(7, 8), slice(12, 30))]:
        part = to_image(uvw, FREQUENCY, vis, weight, grid.part(rows, columns), epsilon=1e-9)
        assert np.allclose(part, whole[rows, columns], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="wanted are begin and end within it"):
        grid.part(slice(0, 37), slice(0, 3))


def test_chunks_add_up_and_weights_are_linear():
    uvw, vis, weight = data()
    grid = GRIDS["even"]
    whole = to_image(uvw, FREQUENCY, vis, weight, grid, epsilon=1e-9)
    parts = sum(to_image(uvw[s], FREQUENCY, vis[s], weight[s], grid, epsilon=1e-9)
                for s in (slice(0, 33), slice(33, 80)))
    assert np.allclose(parts, whole, rtol=0, atol=1e-6)
    negative = to_image(uvw, FREQUENCY, vis, -2 * weight, grid, epsilon=1e-9)
    assert np.allclose(negative, -2 * whole, rtol=0, atol=1e-6)


def test_bad_values_count_as_nothing():
    uvw, vis, weight = data()
    grid = GRIDS["even"]
    without = weight.copy()
    without[[4, 9]], without[20, 1], without[33, 0], without[34, 2] = 0, 0, 0, 0
    clean = to_image(uvw, FREQUENCY, vis, without, grid, epsilon=1e-9)
    bad_uvw, bad_vis, bad_weight = uvw.copy(), vis.copy(), weight.copy()
    bad_uvw[4, 2], bad_uvw[9, 0], bad_vis[20, 1], bad_vis[33, 0], bad_weight[33, 0] = np.nan, np.inf, np.nan, np.inf, 0
    bad_weight[34, 2] = np.nan
    before = bad_vis.copy()
    found = to_image(bad_uvw, FREQUENCY, bad_vis, bad_weight, grid, epsilon=1e-9)
    assert np.allclose(found, clean, rtol=0, atol=1e-6)
    assert np.array_equal(bad_vis, before, equal_nan=True)
    image = np.where(np.eye(40) > 0, np.nan, 1.0)
    seen = to_visibilities(bad_uvw, FREQUENCY, image, grid)
    assert not seen[[4, 9]].any()
    assert np.allclose(seen[:4], to_visibilities(uvw, FREQUENCY, 1.0 - np.eye(40), grid)[:4],
                       atol=1e-2)


def test_nothing_gives_zeros_of_the_right_shape():
    uvw, vis, weight = data()
    grid = GRIDS["odd"]
    assert not to_image(uvw[:0], FREQUENCY, vis[:0], weight[:0], grid).any()
    assert to_image(uvw, FREQUENCY, vis, 0 * weight, grid).shape == grid.shape
    assert not to_image(uvw * np.nan, FREQUENCY, vis, weight, grid).any()
    assert to_visibilities(uvw[:0], FREQUENCY, np.ones(grid.shape), grid).shape == (0, 3)
    assert not to_visibilities(uvw, FREQUENCY, np.zeros(grid.shape), grid).any()
    assert to_image(uvw[:1], FREQUENCY[:1], vis[:1, :1], weight[:1, :1], grid).any()


def test_wrong_shapes_are_refused():
    uvw, vis, weight = data()
    grid = GRIDS["odd"]
    with pytest.raises(ValueError,
                       match=r"found weight \(80, 2\); wanted \(row, chan\) = \(80, 3\)"):
        to_image(uvw, FREQUENCY, vis, weight[:, :2], grid)
    with pytest.raises(ValueError, match=r"found uvw \(80, 2\)"):
        to_image(uvw[:, :2], FREQUENCY, vis, weight, grid)
    with pytest.raises(ImageError, match=r"shape \(37, 41\) on a grid of \(41, 37\)"):
        to_visibilities(uvw, FREQUENCY, np.ones((37, 41)), grid)


@pytest.mark.parametrize("n_chan", [1, 3])
def test_taylor_terms_are_the_direct_sums(n_chan):
    uvw, *planes = data()
    vis, weight = (plane[:, :n_chan] for plane in planes)
    frequency = FREQUENCY[:n_chan]
    grid, nu0 = GRIDS["odd"], 1.43e9
    x = (frequency - nu0) / nu0
    images = taylor_images(uvw, frequency, vis, weight, grid, nu0, 3)
    psfs = taylor_psfs(uvw, frequency, weight, grid, nu0, 2)
    assert images.shape == psfs.shape == (3, *grid.shape)
    for t in range(3):
        assert taylor_weights(frequency, nu0, t) == pytest.approx(x**t)
        for found, values in ((images[t], vis), (psfs[t], np.ones(vis.shape))):
            wanted = direct_image(uvw, frequency, values, weight * x**t, grid.l, grid.m)
            assert np.abs(found - wanted).max() < 1e-4 * np.sqrt(((weight * x**t) ** 2).sum())
    model = np.random.default_rng(6).normal(size=(2, *grid.shape))
    seen = taylor_visibilities(uvw, frequency, model, grid, nu0, epsilon=1e-12)
    backward = taylor_images(uvw, frequency, vis, np.ones(vis.shape), grid, nu0, 2, epsilon=1e-12)
    # float32 powers of x in the one, float64 in the other
    assert (seen * vis.conj()).real.sum() == pytest.approx((model * backward).sum(), rel=1e-6)


def test_channels_of_a_cube():
    groups = channel_groups(np.array([1.0, 2.0, 3.0, 4.0, 9.0]), np.array([1.0, 3.0, 4.5, 8.0]))
    assert [g.tolist() for g in groups] == [[0, 1], [2, 3], []]


@pytest.mark.parametrize(("n", "wanted"),
                         [(1, 2), (13, 14), (4000, 4000), (4001, 4032), (1021, 1024), (62, 64),
                          (509, 512)])
def test_good_sizes(n, wanted):
    assert good_size(n) == wanted
    rest = wanted
    for prime in (2, 3, 5, 7, 11):
        while rest % prime == 0:
            rest //= prime
    assert rest == 1


def test_cells_that_are_too_coarse_name_the_right_one():
    uvw = np.array([[3e4, 0.0, 5.0], [0.0, -6e4, 1.0], [np.nan, 0, 0], [9e5, 9e5, 0.0]])
    weight = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [0, 0, 0]])
    extent = uv_extent(uvw, FREQUENCY, weight)
    assert extent == pytest.approx((3e4 * FREQUENCY[2] / LIGHT, 6e4 * FREQUENCY[1] / LIGHT))
    assert uv_extent(uvw[:2], FREQUENCY)[1] == pytest.approx(6e4 * FREQUENCY[2] / LIGHT)
    right = 1 / (2 * extent[1])
    check_cell(centred_grid(RA0, DEC0, 100, right), extent)
    with pytest.raises(ImageError, match=r"baselines of 2.922e\+05 wavelengths: they need 0.3529 arcsec or less; take 0.176 "):
        check_cell(centred_grid(RA0, DEC0, 100, 1.01 * right), extent)
    check_cell(centred_grid(RA0, DEC0, 100, 1.0e-4), (0.0, 0.0))


def test_grids_that_are_refused():
    with pytest.raises(ImageError, match="beyond the horizon"):
        centred_grid(RA0, DEC0, 1000, 2e-3)
    with pytest.raises(ImageError, match="positive angle"):
        centred_grid(RA0, DEC0, 100, 0.0)
    with pytest.raises(ImageError, match="two sizes"):
        centred_grid(RA0, DEC0, (0, 5), CELL)
    with pytest.raises(ImageError, match="0 pixels"):
        good_size(0)
