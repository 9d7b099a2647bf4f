"""Kernels, smoothing and maps of pixels of combined epochs against plain loops and Gaussians."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, FK5, ICRS, SkyCoord
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import RegularGridInterpolator

from oracles import box_deviation, epoch_average, septic_spline_sum
from uvstack.epochs.combination import kernels
from uvstack.pixels import resampling_kernels
from uvstack.pixels.pixel_map import PixelMap, local_matrix, pixel_map
from uvstack.pixels.resampling import kernel_between, smoothed_block, window_of

LN2 = np.log(2.0)


def matrix(major, minor, angle):
    """Squares of FWHM in (x, y); the major axis lies at an angle (degrees) from x to y."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = np.array([[c, -s], [s, c]])
    return turn @ np.diag([major**2, minor**2]) @ turn.T


def gaussian(shape, covariance, x0, y0):
    """Gaussian of peak 1 at the middles of pixels, (m, l)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    (a, b), (_, d) = np.linalg.inv(covariance)
    dx, dy = x - x0, y - y0
    return np.exp(-4 * LN2 * (a * dx**2 + 2 * b * dx * dy + d * dy**2))


def affine(turn, shift, shape, step=16, scale=1.0):
    """Places of a block that is turned (degrees), scaled and then shifted (x, y) in the source."""
    ny, nx = (-(-n // step) + 1 for n in shape)
    y, x = np.mgrid[:ny, :nx] * float(step)
    c, s = scale * np.cos(np.deg2rad(turn)), scale * np.sin(np.deg2rad(turn))
    return PixelMap(c * x - s * y + shift[0], s * x + c * y + shift[1], step, shape)


def places_of(places):
    """x and y of every pixel of a block whose map is affine."""
    y, x = np.mgrid[: places.shape[0], : places.shape[1]] / places.step
    return tuple(v[0, 0] + x * (v[0, 1] - v[0, 0]) + y * (v[1, 0] - v[0, 0])
                 for v in (places.x, places.y))


# ------------------------------------------------------------------------------------ kernels


@pytest.mark.parametrize(("major", "minor", "angle"), [(1.4, 0.3, 50), (20, 0, -45), (3, 3, 0)])
def test_the_spectrum_of_a_gaussian_is_the_exact_exponential(major, minor, angle):
    n_y, n_x = 90, 150
    (xx, xy), (_, yy) = np.pi**2 / (4 * LN2) * matrix(major, minor, angle)
    v, j = np.fft.fftfreq(n_y), np.arange(n_x // 2 + 1)
    rng = np.random.default_rng(1)
    rows, columns = rng.uniform(0.5, 2.0, n_y), rng.uniform(0.5, 2.0, j.size)
    spectrum = (rng.normal(size=(2, n_y, j.size)) @ np.eye(j.size)).astype(np.float32)
    spectrum = spectrum[0] + 1j * spectrum[1]
    fx = j / n_x
    wanted = spectrum * rows[:, None] * columns * np.exp(
        -(xx * fx**2 + 2 * xy * fx * v[:, None] + yy * v[:, None] ** 2))
    resampling_kernels.shape_spectrum(spectrum, xx / n_x**2, xy / n_x, yy, v, rows, columns)
    # Single precision; what underflows there is nothing.
    assert_allclose(spectrum, wanted, rtol=1e-6, atol=1e-36)


@pytest.mark.parametrize("step", [1, 4, 16])
@pytest.mark.parametrize(("turn", "scale"), [(0.0, 1.0), (1.0, 1.0), (90.0, 1.0), (-143.0, 0.7)])
def test_the_spline_is_the_sum_of_septic_b_splines(turn, scale, step):
    coefficients = np.random.default_rng(2).normal(size=(60, 71)).astype(np.float32)
    middle = affine(turn, (0.0, 0.0), (37, 45), step, scale)
    x, y = places_of(middle)
    shift = 35.3 - x[18, 22], 29.8 - y[18, 22]
    places = affine(turn, shift, (37, 45), step, scale)
    out = np.empty(places.shape, np.float32)
    resampling_kernels.spline_at(coefficients, places.x, places.y, step, out)
    wanted = septic_spline_sum(coefficients, *places_of(places))
    # Eight times eight products in single precision.
    assert_allclose(out, wanted, atol=3e-6)


def test_the_spline_is_nothing_where_it_reaches_beyond_its_coefficients():
    coefficients = np.random.default_rng(3).normal(size=(20, 24)).astype(np.float32)
    places = affine(0.0, (-2.5, -3.5), (30, 32), 8)
    out = np.empty(places.shape, np.float32)
    resampling_kernels.spline_at(coefficients, places.x, places.y, 8, out)
    x, y = places_of(places)
    inside = (x >= 3) & (x < 20) & (y >= 3) & (y < 16)
    assert inside.sum() == 17 * 13
    assert not out[~inside].any()
    assert_allclose(out[inside], septic_spline_sum(coefficients, x, y)[inside], atol=3e-6)
    places.x[:, :] = np.nan
    resampling_kernels.spline_at(coefficients, places.x, places.y, 8, out)
    assert not out.any()


@pytest.mark.parametrize("box", [3, 4, 9, 10, 50])
def test_running_rms_is_the_standard_deviation_of_a_box(box):
    rng = np.random.default_rng(4)
    image = rng.normal(5.0, 1.0, (31, 37)).astype(np.float32)
    image[4:9, 10:19] = np.nan
    image[20, 3], image[0, 0] = np.inf, 1e4
    out = np.empty(image.shape, np.float32)
    kernels.running_rms(image, box, out)
    wanted = box_deviation(image, box)
    assert np.isnan(wanted).sum() == 46
    # Sums of squares of 1e4 in double precision leave 1e-4 of a variance of 1.
    assert_allclose(out, wanted, rtol=2e-4)


@pytest.mark.parametrize("memo", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_averages_are_those_of_their_definitions(n, memo):
    rng = np.random.default_rng(10 + n)
    planes = rng.normal(size=(n, 23, 29)).astype(np.float32)
    rms = rng.uniform(0.3, 2.0, planes.shape).astype(np.float32)
    rms[:, :6] = 0.7  # ties
    planes[:, 2] = np.round(planes[:, 2])  # equal values
    bad = rng.random(planes.shape) < 0.15
    planes[bad] = np.nan
    rms[:, 9, :4], rms[:, 9, 4:8], planes[:, 9, 8:12] = 0.0, np.nan, np.inf
    found = {name: np.empty(planes.shape[1:], np.float32) for name in
             ("mean", "median", "weight", "chi2", "calibrated", "coverage")}
    for minimum in (1, 2):
        kernels.average(planes, rms, minimum, memo, 0.05, *found.values())
        for at in np.ndindex(planes.shape[1:]):
            wanted = epoch_average(planes[:, at[0], at[1]], rms[:, at[0], at[1]], minimum, memo)
            assert_allclose([one[at] for one in found.values()], wanted, rtol=2e-6, atol=2e-6,
                            err_msg=str(at))


def medians(planes, rms, memo):
    out = [np.empty(planes.shape[1:], np.float32) for _ in range(6)]
    kernels.average(planes, rms, 1, memo, 0.0, *out)
    return out[1]


def test_the_interpolated_median_is_odd_and_plain_for_equal_weights():
    rng = np.random.default_rng(5)
    for n in (2, 3, 4, 5, 8):
        planes = rng.normal(size=(n, 20, 20)).astype(np.float32)
        rms = rng.uniform(0.3, 3.0, planes.shape).astype(np.float32)
        assert_allclose(medians(-planes, rms, False), -medians(planes, rms, False), atol=1e-6)
        same = np.full_like(rms, 0.0831)
        assert_allclose(medians(planes, same, False), np.median(planes, axis=0), atol=1e-6)


def test_the_memos_median_takes_the_lower_middle_of_tied_weights_in_every_pixel():
    rng = np.random.default_rng(6)
    for n in (2, 4, 6):
        planes = rng.normal(size=(n, 20, 20)).astype(np.float32)
        # To rounding: half of the pixels would take the upper one.
        rms = rng.uniform(0.01, 1.0) * (1.0 + rng.uniform(-1e-7, 1e-7, planes.shape))
        found = medians(planes, rms.astype(np.float32), True)
        assert_array_equal(found, np.sort(planes, axis=0)[n // 2 - 1])


def test_squares_of_equal_pixels_are_dead_and_lines_are_not():
    image = np.random.default_rng(7).normal(size=(40, 50)).astype(np.float32)
    image[:, :7] = 0.0
    image[10:14, 20:24] = 3.25  # just large enough
    image[20:23, 20:40] = -1.0  # three rows only
    image[3:7, 40:44], image[3, 40] = 1.5, 1.0  # without a corner
    image[25:35, 30:33] = 2.0  # three columns only
    image[36, 40], image[37, 41] = np.nan, -np.inf
    image[30:36, 10:16] = np.indices((6, 6)).sum(axis=0)  # equal along diagonals
    wanted = np.isfinite(image)
    for y in range(37):
        for x in range(47):
            if np.ptp(image[y : y + 4, x : x + 4]) == 0:
                wanted[y : y + 4, x : x + 4] = False
    good = np.empty(image.shape, np.bool_)
    resampling_kernels.mark_dead(image, good)
    assert (~wanted).sum() == 7 * 40 + 16 + 2
    assert_array_equal(good, wanted)


def test_blank_pixels_take_the_mean_of_known_neighbours_layer_after_layer():
    rng = np.random.default_rng(8)
    image = rng.normal(size=(19, 23)).astype(np.float32)
    known = (rng.random(image.shape) < 0.05).astype(np.uint8)
    image[known == 0] = np.nan
    wanted, there = np.where(known, image, 0.0).astype(float), known.astype(bool)
    for _ in range(3):
        grown = there.copy()
        for y, x in np.argwhere(~there):
            around = [(v, w) for v in range(max(y - 1, 0), min(y + 2, 19))
                      for w in range(max(x - 1, 0), min(x + 2, 23)) if there[v, w]]
            if around:
                wanted[y, x], grown[y, x] = np.mean([wanted[at] for at in around]), True
        there = grown
    assert 0 < (~there).sum() < image.size
    resampling_kernels.fill_outward(image, known, 3, np.empty((2, image.size), np.int32))
    assert_allclose(image, wanted, atol=1e-6)


def test_sources_are_masked_in_a_disc_above_and_below_the_limit_of_their_box():
    rng = np.random.default_rng(9)
    image = rng.normal(size=(50, 60)).astype(np.float32)
    image[:25] += 10.0
    edges = np.array([0, 25, 50]), np.array([0, 30, 60])
    centre, limit = np.array([[10.0, 10.0], [0.0, 0.0]]), np.array([[3.0, 2.5], [3.2, np.inf]])
    masked = np.zeros(image.shape, np.bool_)
    masked[49, 59] = True  # stays
    wanted = masked.copy()
    for y, x in np.ndindex(image.shape):
        box = y // 25, x // 30
        if abs(image[y, x] - centre[box]) > limit[box]:
            v, w = np.indices(image.shape)
            wanted |= (v - y) ** 2 + (w - x) ** 2 <= 9
    kernels.mark_sources(image, *edges, centre, limit, 3, masked)
    assert 100 < wanted.sum() < 1500
    assert_array_equal(masked, wanted)


def test_tiles_have_the_number_and_the_sums_of_their_good_pixels():
    rng = np.random.default_rng(10)
    image = rng.normal(3.0, 1.0, (41, 33)).astype(np.float32)
    image[5, :9], image[:3, 30] = np.nan, np.inf
    masked = rng.random(image.shape) < 0.3
    edges = np.array([0, 13, 27, 41]), np.array([0, 16, 33])
    out = np.empty((3, 3, 2))
    kernels.tile_moments(image, masked, *edges, 2.9, out)
    for j, i in np.ndindex(3, 2):
        tile = (slice(edges[0][j], edges[0][j + 1]), slice(edges[1][i], edges[1][i + 1]))
        values = image[tile][~masked[tile] & np.isfinite(image[tile])].astype(float) - 2.9
        assert_allclose(out[:, j, i], [values.size, values.sum(), (values**2).sum()], rtol=1e-12)


# ---------------------------------------------------------------------------------- smoothing

#: Beam, target (pixels) and the error of the worst pixel, for kernels that are wide, a line, nearly
#: a line, nothing: what of a Gaussian of 2.3 pixels lies beyond the Nyquist frequency, where its
#: transform is 1 per cent, no spline can know.
PAIRS = {"wide": (matrix(3.0, 2.2, 20), matrix(7.0, 5.0, -60), 2e-6),
         "line": (matrix(4.0, 2.4, 35), matrix(4.0, 3.1, 35), 3e-4),
         "crossed": (matrix(4.0, 2.2, 0), matrix(4.0, 4.0, 0), 5e-5),
         "thin": (matrix(3.2, 2.3, 40), matrix(3.2, 2.3, 40) + matrix(1.4, 0.3, 75), 2e-3),
         "nothing": (matrix(3.2, 2.3, 40),) * 2 + (3e-3,)}
MAPS = {"same": (0.0, 0.0, 0.0, 1.0), "whole": (0.0, 3.0, -2.0, 1.0), "half": (0.0, 0.5, 0.5, 1.0),
        "turned": (27.0, 40.3, 2.9, 1.0), "finer": (-64.0, 5.2, 90.4, 0.8)}


def brought(image, places, beam, target):
    """A block of an image, made from the window that it needs; NaN beyond the edges."""
    kernel = kernel_between(beam, target)
    rows, columns = window_of(places, kernel, image.shape)
    (y0, y1), (x0, x1) = ((one.start, one.stop) for one in (rows, columns))
    window = np.full((y1 - y0, x1 - x0), np.nan, np.float32)
    inner = [slice(max(a, 0), min(b, n)) for a, b, n in
             ((y0, y1, image.shape[0]), (x0, x1, image.shape[1]))]
    there = image[tuple(inner)]
    at = inner[0].start - y0, inner[1].start - x0
    window[at[0] : at[0] + there.shape[0], at[1] : at[1] + there.shape[1]] = there
    before = window.copy()
    found = smoothed_block(window, places.from_corner(x0, y0), kernel)
    assert_array_equal(window, before)
    return found


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("where", MAPS)
def test_a_gaussian_becomes_the_target_beam(pair, where):
    beam, target, worst = PAIRS[pair]
    turn, x, y, scale = MAPS[where]
    places = affine(turn, (20 + x, 15 + y), (100, 110), 16, scale)
    shape, at = (190, 180), (80.27, 76.84)
    image = gaussian(shape, beam, *at).astype(np.float32)
    image += 1e-9 * np.random.default_rng(1).normal(size=shape).astype(np.float32)  # not dead
    found = brought(image, places, beam, target)
    x, y = places_of(places)
    (a, b), (_, d) = np.linalg.inv(target)
    dx, dy = x - at[0], y - at[1]
    wanted = np.exp(-4 * LN2 * (a * dx**2 + 2 * b * dx * dy + d * dy**2))
    amplitude = (found * wanted).sum() / (wanted**2).sum()
    assert amplitude == pytest.approx(1.0, abs=1e-4)
    assert found.sum(dtype=float) == pytest.approx(wanted.sum(), rel=5e-6)
    assert_allclose(found, wanted, atol=worst)


def test_a_wide_kernel_is_a_direct_sum_over_pixels():
    rng = np.random.default_rng(11)
    beam, target = matrix(3.0, 2.5, 10), matrix(6.0, 4.5, 70)
    image = rng.normal(size=(60, 64)).astype(np.float32)
    value, axes = np.linalg.eigh(target - beam)
    covariance = axes @ np.diag(value) @ axes.T
    ratio = np.sqrt(np.linalg.det(target) / np.linalg.det(beam))
    wanted = np.empty((20, 24))
    for y, x in np.ndindex(wanted.shape):
        drawn = gaussian(image.shape, covariance, x + 20, y + 20)
        wanted[y, x] = ratio * (drawn * image).sum() / drawn.sum()
    found = brought(image, affine(0.0, (20.0, 20.0), wanted.shape), beam, target)
    # 1.4 · 10⁻⁷ of a kernel is left out, and 2 · 10⁻⁵ of the transform of one drawn on pixels.
    assert_allclose(found, wanted, atol=3e-5)


@pytest.mark.parametrize("where", ["whole", "turned"])
@pytest.mark.parametrize("pair", ["wide", "line", "nothing"])
def test_smoothing_is_linear(pair, where):
    beam, target, _ = PAIRS[pair]
    turn, x, y, scale = MAPS[where]
    rng = np.random.default_rng(12)
    one, two = rng.normal(size=(2, 120, 120)).astype(np.float32)
    blank = rng.random(one.shape) < 0.01
    blank[:, :25] = True
    one[blank], two[blank] = np.nan, np.nan
    places = affine(turn, (20 + x, 15 + y), (70, 70), 16, scale)
    parts = [brought(v, places, beam, target) for v in (one, two, 2 * one - 3 * two)]
    # Single precision of values of up to 15.
    assert_allclose(2 * parts[0] - 3 * parts[1], parts[2], atol=6e-5)
    assert 0.005 < np.isnan(parts[2]).mean() < 0.5


@pytest.mark.parametrize("where", MAPS)
@pytest.mark.parametrize("pair", PAIRS)
def test_blank_pixels_stay_so_and_do_not_spread_and_a_plateau_keeps_its_level(pair, where):
    beam, target, _ = PAIRS[pair]
    turn, x, y, scale = MAPS[where]
    rng = np.random.default_rng(13)
    image = (5.0 + 1e-5 * rng.normal(size=(150, 140))).astype(np.float32)
    image[:30], image[:, 120:], image[70:73, 60:64], image[90, 40] = np.nan, np.inf, np.nan, np.nan
    image[60:64, 60:64] = 0.0  # dead
    bad = ~np.isfinite(image) | (image == 0)
    places = affine(turn, (20 + x, 15 + y), (100, 110), 16, scale)
    found = brought(image, places, beam, target)
    nearest = [np.floor(v + 0.5).astype(int) for v in reversed(places_of(places))]
    inside = (nearest[0] >= 0) & (nearest[0] < 150) & (nearest[1] >= 0) & (nearest[1] < 140)
    wanted = np.ones(found.shape, bool)
    wanted[inside] = bad[nearest[0][inside], nearest[1][inside]]
    assert_array_equal(np.isnan(found), wanted)
    # Jy/beam: what each new beam holds. A spline that is continued over 40 pixels rings by so much.
    level = 5.0 * kernel_between(beam, target).ratio
    assert_allclose(found[~wanted], level, rtol=1e-3)


@pytest.mark.parametrize("size", [1, 2, 12])
@pytest.mark.parametrize("where", MAPS)
def test_islands_of_good_pixels_keep_their_level_or_are_blank(where, size):
    beam, target = matrix(3.0, 2.5, 10), matrix(20.0, 16.0, 70)
    turn, x, y, scale = MAPS[where]
    image = np.full((150, 140), np.nan, np.float32)
    image[70 : 70 + size, 60 : 60 + size] = 5.0 + 1e-5 * np.random.default_rng(15).normal(
        size=(size, size))
    found = brought(image, affine(turn, (20 + x, 15 + y), (100, 110), 16, scale), beam, target)
    found = found[np.isfinite(found)]
    # 2 per cent of a kernel are 7 pixels.
    assert found.size == 0 if size < 3 else found.size > 130
    assert_allclose(found, 5.0 * kernel_between(beam, target).ratio, rtol=0.03)


def test_an_image_that_is_all_blank_gives_a_blank_block():
    places = affine(30.0, (20.0, 15.0), (20, 30))
    for value in (np.nan, 0.0):
        found = smoothed_block(np.full((90, 90), value, np.float32), places,
                               kernel_between(*PAIRS["wide"][:2]))
        assert found.shape == (20, 30)
        assert np.isnan(found).all()


@pytest.mark.parametrize("pair", PAIRS)
def test_places_without_sky_are_blank(pair):
    beam, target, _ = PAIRS[pair]
    image = np.random.default_rng(14).normal(size=(150, 150)).astype(np.float32)
    places = affine(3.0, (60.3, 60.7), (30, 40))
    places.x[:, 2:], places.y[:, 2:] = np.nan, np.nan
    found = smoothed_block(image, places, kernel_between(beam, target))
    assert np.isfinite(found[:, :16]).all()
    # Between a node that has a place and one that has none.
    assert np.isnan(found[:, 17:]).all()


def test_a_kernel_grows_jansky_per_beam_by_the_ratio_of_areas_and_nothing_does_nothing():
    kernel = kernel_between(matrix(3.0, 2.0, 20), matrix(6.0, 5.0, 80))
    assert kernel.ratio == pytest.approx(30 / 6)
    assert kernel_between(matrix(3.0, 2.0, 20), matrix(3.0, 2.0, 200)).covariance is None
    assert kernel_between(matrix(3.0, 2.0, 20), matrix(3.00001, 2.0, 20)).covariance is None


# --------------------------------------------------------------------------------- pixel maps


def header(projection="SIN", ra=150.0, dec=2.0, cell=1.0, crpix=(50.0, 60.0), turn=0.0, frame=None):
    """Coordinates of an image: pixels of so many arcsec, turned by degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval, wcs.wcs.crpix = (ra, dec), crpix
    wcs.wcs.cdelt = [-cell / 3600, cell / 3600]
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    wcs.wcs.pc = [[c, s], [-s, c]]
    wcs.wcs.set()
    return SimpleNamespace(wcs=wcs, frame=ICRS() if frame is None else frame,
                           cell=np.deg2rad(cell / 3600))


B1950 = FK4(equinox="B1950", obstime="B1979.9")
VIEWS = {"the same": header(), "half a pixel off": header(crpix=(50.5, 60.5)),
         "another projection": header("TAN", crpix=(80.2, 40.9), turn=33.0),
         "another tangent point": header("SIN", 150.01, 2.02, 0.7, (10.0, 20.0), -120.0),
         "B1950": header("TAN", 149.36, 2.24, 1.3, (40.0, 40.0), frame=B1950),
         "J2000": header(frame=FK5(equinox="J2000")),
         "wide pixels": header("TAN", 150.3, 2.2, 60.0),
         "very wide pixels": header("SIN", 147.0, 3.5, 600.0)}


def everywhere(places, shape):
    """x and y of every pixel, bilinear between the nodes."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    at = np.stack([y.ravel(), x.ravel()], axis=1)
    nodes = tuple(places.step * np.arange(n) for n in places.x.shape)
    return [RegularGridInterpolator(nodes, v)(at).reshape(shape) for v in (places.x, places.y)]


def by_astropy(target, source, rows, columns, offset=(0.0, 0.0)):
    y, x = np.mgrid[rows, columns]
    lon, lat = target.wcs.wcs_pix2world(x.ravel(), y.ravel(), 0)
    sky = SkyCoord(lon * u.deg, lat * u.deg, frame=target.frame)
    sky = SkyCoord(sky.transform_to(source.frame).data, frame=source.frame)
    ra, dec = sky.spherical.lon.rad, sky.spherical.lat.rad
    ra, dec = ra + offset[0] / np.cos(dec + offset[1]), dec + offset[1]
    found = source.wcs.wcs_world2pix(np.rad2deg(ra), np.rad2deg(dec), 0)
    return [v.reshape(x.shape) for v in found]


@pytest.mark.parametrize("shape", [(100, 130), (7, 16), (1, 1)])
@pytest.mark.parametrize("view", VIEWS)
def test_every_pixel_is_where_astropy_has_it(view, shape):
    source = VIEWS[view]
    cell = np.rad2deg(source.cell) * 3600
    target = header(crpix=(64.0, 55.0), cell=cell if cell > 10 else 1.0)
    rows, columns = slice(20, 20 + shape[0]), slice(-5, -5 + shape[1])
    places = pixel_map(target, source, rows, columns)
    assert places.shape == shape
    # A thousandth of a pixel.
    for found, wanted in zip(everywhere(places, shape), by_astropy(target, source, rows, columns),
                             strict=True):
        assert_allclose(found, wanted, atol=1e-3)


def test_an_epoch_that_stands_too_far_east_and_north_is_read_there():
    east, north = np.deg2rad([2.3 / 3600, -1.1 / 3600])
    for dec in (2.0, 85.0):
        target = source = header(dec=dec)
        rows, columns = slice(40, 80), slice(30, 70)
        found = everywhere(pixel_map(target, source, rows, columns, (east, north)), (40, 40))
        assert found[0][20, 20] - 50 == pytest.approx(-2.3, abs=2e-3)
        assert found[1][20, 20] - 60 == pytest.approx(-1.1, abs=2e-3)
        for one, wanted in zip(found, by_astropy(target, source, rows, columns, (east, north)),
                               strict=True):
            assert_allclose(one, wanted, atol=1e-3)


def test_whole_shifts_are_known_and_no_others():
    target, rows, columns = header(), slice(5, 40), slice(10, 90)
    assert pixel_map(target, header(), rows, columns).whole_shift == (10, 5)
    assert pixel_map(target, header(crpix=(53.0, 48.0)), rows, columns).whole_shift == (13, -7)
    for other in (header(crpix=(50.001, 60.0)), header(turn=90.0), header(cell=1.0001),
                  header(frame=FK5(equinox="J2000"))):
        assert pixel_map(target, other, rows, columns).whole_shift is None


def test_the_local_matrix_turns_and_scales_steps():
    found = local_matrix(header(), header(cell=0.5, turn=30.0), 49.0, 59.0)
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    # Axes that are turned from north to east see a step turned from x to y.
    assert_allclose(found, 2 * np.array([[c, -s], [s, c]]), atol=1e-6)


def test_a_window_has_what_the_block_needs_and_none_where_they_do_not_meet():
    kernel = kernel_between(matrix(3.0, 2.0, 0), matrix(5.0, 2.0, 0))
    assert kernel.reach == 10  # 2.4 times a FWHM of 4
    same = affine(0.0, (-3.0, 7.0), (16, 32))
    assert window_of(same, kernel, (100, 100)) == (slice(-3, 35), slice(-13, 41))
    between = affine(0.0, (-3.5, 7.0), (16, 32))
    assert window_of(between, kernel, (100, 100)) == (slice(-43, 75), slice(-50, 80))
    assert window_of(affine(0.0, (-40.0, 7.0), (16, 32)), kernel, (100, 100)) is None
