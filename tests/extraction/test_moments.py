"""Moments of islands: Gaussians of known truth, the equation by another solver, no shape."""

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.ndimage import label
from scipy.optimize import brentq

from uvstack.errors import ImageError
from uvstack.extraction.moment_kernels import solve_peak
from uvstack.extraction.moments import (
    UNKNOWN_ANGLE,
    MomentStatus,
    mean_factor_of_brightest,
    measure_moments,
    moment_errors,
)

FOUR_LN2 = 4 * np.log(2)
BEAM = (25.0, 2.0, 16.0)


def matrix(major, minor, degrees):
    """Squared FWHM (cxx, cxy, cyy), the angle from x towards y."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    a, b = major**2, minor**2
    return np.array([a * c * c + b * s * s, (a - b) * s * c, a * s * s + b * c * c])


def gaussian(shape, x, y, cxx, cxy, cyy):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    dx, dy = columns - x, rows - y
    return np.exp(-exponent(dx, dy, cxx, cxy, cyy))


def lists(mask):
    """CSR lists of the 8-connected islands of a mask."""
    labels, n = label(mask, np.ones((3, 3)))
    pixels = [np.flatnonzero(labels.ravel() == k + 1) for k in range(n)]
    start = np.r_[0, np.cumsum([len(p) for p in pixels])]
    return start.astype(int), np.concatenate(pixels).astype(int)


def one(values, beam=BEAM, level=1.0, **options):
    """Moments of one island that holds the positive pixels of a small image."""
    values = np.asarray(values, float)
    pixel = np.flatnonzero(values.ravel() != 0)
    return measure_moments(values, None, [0, pixel.size], pixel, level, beam, **options)


@pytest.mark.parametrize("cut", [1e-6, 0.01, 0.2, 0.6, 0.9, 0.97])
@pytest.mark.parametrize("degrees", [0.0, 17.0, 90.0, 133.0])
def test_finely_sampled_gaussians_come_back(cut, degrees):
    # The sum over N pixels differs from the integral by its ragged edge, of random √√N of N.
    shape = matrix(60.0, 40.0, degrees)
    for x, y in ((180.0, 200.0), (180.3, 199.6), (180.5, 199.5)):
        image = 7.0 * gaussian((400, 361), x, y, *shape)
        start, pixel = lists(image > 7.0 * cut)
        got = measure_moments(image, None, start, pixel, 7.0 * cut, shape / 4)
        edge = 2 * pixel.size**-0.75
        assert got.peak == pytest.approx([7.0], rel=3e-4)
        assert got.flux == pytest.approx([28.0], rel=edge)
        assert np.hypot(got.x - x, got.y - y) == pytest.approx(0, abs=10 * edge)
        assert got.fwhm_major == pytest.approx([60.0], rel=edge)
        assert got.fwhm_minor == pytest.approx([40.0], rel=edge)
        assert np.sin(got.angle - np.deg2rad(degrees)) == pytest.approx(0, abs=edge)
        assert got.status[0] == (MomentStatus.NEAR_LEVEL if cut >= 0.95 else 0)


def test_a_beam_of_five_by_four_pixels_at_ten_sigma():
    # 27 pixels each, at all places in a pixel: mean flux to 1 %, one to 4 %, one peak to 0.5 %.
    rng = np.random.default_rng(2)
    shape, image = matrix(5.0, 4.0, 30.0), np.zeros((1000, 1000))
    for row in range(25):
        for column in range(25):
            x, y = 20 + rng.uniform(-0.5, 0.5, 2)
            image[row * 40 : row * 40 + 40, column * 40 : column * 40 + 40] = 10 * gaussian(
                (40, 40), x, y, *shape
            )
    start, pixel = lists(image > 3)
    got = measure_moments(image.astype(np.float32), None, start, pixel, 3.0, shape)
    assert len(got.peak) == 625
    assert got.peak.mean() == pytest.approx(10, rel=0.002)
    assert got.flux.mean() == pytest.approx(10, rel=0.01)
    assert got.peak.std() < 0.05
    assert got.flux.std() < 0.4
    assert got.fwhm_major.mean() == pytest.approx(5, rel=0.01)
    assert got.fwhm_minor.mean() == pytest.approx(4, rel=0.01)


def by_brentq(values, level):
    """Equations 2.50 to 2.67 in plain sums and another root finder: C, matrix."""
    rows, columns = np.nonzero(values)
    w = values[rows, columns]
    x, y = np.average(columns, weights=w), np.average(rows, weights=w)
    xx, yy = np.average((columns - x) ** 2, weights=w), np.average((rows - y) ** 2, weights=w)
    xy = np.average((columns - x) * (rows - y), weights=w)
    brightest = np.argmax(w)
    d = np.array([x - columns[brightest], y - rows[brightest]])
    second = np.array([[xx, xy], [xy, yy]])
    epsilon = 0.5 * d @ np.linalg.solve(second, d)

    def kept(c):
        return 1 + np.log(level / c) / (c / level - 1)

    def wrong_by(c):
        return np.log(c / w.max()) - epsilon * kept(c)

    c = (
        brentq(wrong_by, w.max(), w.max() * np.exp(epsilon) * 1.001, xtol=1e-14, rtol=1e-14)
        if epsilon > 0
        else w.max()
    )
    return c, x, y, 2 * FOUR_LN2 * second / kept(c)


def test_islands_of_noise_agree_with_plain_sums_and_brentq():
    rng = np.random.default_rng(5)
    for _ in range(200):
        values = np.zeros((9, 8))
        ny, nx = rng.integers(2, 6, 2)
        values[2 : 2 + ny, 1 : 1 + nx] = 1.3 + rng.exponential(2, (ny, nx))
        got = one(values)
        if got.status[0]:
            continue
        c, x, y, second = by_brentq(values, 1.0)
        assert got.peak == pytest.approx([c], rel=1e-11)
        assert (got.x[0], got.y[0]) == (pytest.approx(x, rel=1e-12), pytest.approx(y, rel=1e-12))
        assert [got.cxx[0], got.cxy[0], got.cyy[0]] == pytest.approx(
            second.ravel()[[0, 1, 3]], rel=1e-9, abs=1e-9
        )
        assert got.flux[0] == pytest.approx(
            c * np.sqrt(np.linalg.det(second) / (25 * 16 - 4)), rel=1e-9
        )
        assert got.fwhm_major[0] == pytest.approx(np.sqrt(np.linalg.eigvalsh(second)[1]), rel=1e-9)
        axis = np.array([np.cos(got.angle[0]), np.sin(got.angle[0])])
        assert axis @ second @ axis == pytest.approx(got.fwhm_major[0] ** 2, rel=1e-9)


@pytest.mark.parametrize("p", [1e-14, 1e-6, 0.05, 1.0, 30.0, 900.0])
@pytest.mark.parametrize("epsilon", [0.0, 1e-12, 0.3, 1.9999999, 2.0, 2.1, 40.0])
def test_the_equation_is_solved_wherever_it_is_put(p, epsilon):
    u = solve_peak(p, epsilon)
    assert p <= u <= p + epsilon
    kept = 1.0 if u > 500 else 1 - u / np.expm1(u) if u > 1e-3 else u / 2 - u * u / 12
    assert u - p == pytest.approx(epsilon * kept, rel=1e-9, abs=4e-16 * u)
    if epsilon * kept > 1e-9:
        assert u > p


def exponent(dx, dy, cxx, cxy, cyy):
    form = cyy * dx * dx - 2 * cxy * dx * dy + cxx * dy * dy
    return FOUR_LN2 * form / (cxx * cyy - cxy**2)


def mean_of_inverse(*beam):
    """Mean over a pixel of 1/beam."""
    ends = (-0.5, 0.5, -0.5, 0.5)
    return dblquad(lambda y, x: np.exp(exponent(x, y, *beam)), *ends, epsabs=1e-13)[0]


def test_a_lone_pixel_has_the_mean_factor_and_the_beam():
    values = np.zeros((5, 6))
    values[3, 2] = 4.0
    got = one(values)
    factor = mean_of_inverse(*BEAM)
    assert got.peak == pytest.approx([4 * factor], rel=1e-12)
    assert got.flux == pytest.approx(got.peak)
    assert (got.x[0], got.y[0]) == (2.0, 3.0)
    assert [got.cxx[0], got.cxy[0], got.cyy[0]] == list(BEAM)
    assert got.status[0] == MomentStatus.SINGLE_PIXEL | MomentStatus.BEAM_SHAPE
    assert got.brightest[0] == got.total[0] == 4.0
    assert moment_errors(got, 1.0, 0.5, BEAM).peak == pytest.approx([0.5 * factor])
    assert 1.0 < factor < 1.1


def test_the_mean_factor_of_narrow_and_of_many_beams():
    beams = np.array([matrix(1.0, 1.0, 0), matrix(8.0, 2.0, 20.0)])
    for beam, got in zip(beams, mean_factor_of_brightest(beams), strict=True):
        assert got == pytest.approx(mean_of_inverse(*beam), rel=1e-12)


@pytest.mark.parametrize(
    "places",
    [
        [(1, 1), (1, 2)],
        [(1, 1), (2, 2)],
        [(1, 1), (2, 2), (3, 3)],
        [(1, 1), (1, 2), (1, 3), (1, 4)],
    ],
)
def test_pairs_and_lines_of_pixels_have_the_shape_of_the_beam(places):
    values = np.zeros((5, 6))
    for i, place in enumerate(places):
        values[place] = 2.0 + (i == 1)
    got = one(values)
    rows, columns = np.array(places).T
    w = values[rows, columns]
    x, y = np.average(columns, weights=w), np.average(rows, weights=w)
    dx, dy = x - columns[1], y - rows[1]
    assert (got.x[0], got.y[0]) == (pytest.approx(x), pytest.approx(y))
    assert got.status[0] == MomentStatus.BEAM_SHAPE
    assert [got.cxx[0], got.cxy[0], got.cyy[0]] == list(BEAM)
    assert got.peak[0] == pytest.approx(3 * np.exp(exponent(dx, dy, *BEAM)))
    assert got.flux == pytest.approx(got.peak)
    errors = moment_errors(got, 1.0, 0.3, BEAM)
    assert np.isnan([errors.fwhm_major[0], errors.fwhm_minor[0], errors.angle[0]]).all()
    assert errors.flux == pytest.approx(errors.peak)
    assert min(errors.peak[0], errors.x[0], errors.y[0]) > 0


def test_negative_islands_and_backgrounds():
    rng = np.random.default_rng(3)
    image = 5 * gaussian((30, 61), 14.2, 15.7, *matrix(7, 5, 40))
    image -= image[:, ::-1]
    background = rng.normal(size=image.shape).astype(np.float32)
    start, pixel = lists(np.abs(image) > 1)
    sign = np.sign(image.ravel()[pixel[start[:-1]]])
    plain = measure_moments(image, None, start, pixel, 1.0, BEAM, sign=sign)
    assert sorted(sign) == [-1, 1]
    order = np.argsort(sign)
    assert plain.peak[order] == pytest.approx([-5, 5], rel=0.02)
    assert np.abs(plain.flux) == pytest.approx(np.full(2, plain.flux[order[1]]))
    assert plain.x[order] == pytest.approx([60 - 14.2, 14.2], abs=0.05)
    for back in (background, 0.25):
        shifted = measure_moments(image + back, back, start, pixel, 1.0, BEAM, sign=sign)
        assert shifted.peak == pytest.approx(plain.peak, rel=1e-6)
        assert shifted.total == pytest.approx(plain.total, rel=1e-6)


def test_the_unit_scales_and_a_quarter_turn_turns():
    rng = np.random.default_rng(8)
    image = np.zeros((12, 15))
    image[3:8, 2:6] = 2 + rng.exponential(1, (5, 4))
    image[1, 10:12] = image[9, 12] = 3.0
    start, pixel = lists(image > 0)
    got = measure_moments(image, None, start, pixel, 1.0, BEAM)
    scaled = measure_moments(1e-6 * image, None, start, pixel, 1e-6, BEAM)
    for name in ("peak", "flux", "total", "brightest"):
        assert getattr(scaled, name) == pytest.approx(1e-6 * getattr(got, name), rel=1e-12)
    for name in ("x", "y", "cxx", "cxy", "cyy"):
        assert getattr(scaled, name) == pytest.approx(getattr(got, name), rel=1e-10)
    # np.rot90 takes (x, y) to (y, n_l − 1 − x).
    turned_image = np.rot90(image)
    places = np.rot90(np.arange(image.size).reshape(image.shape)).ravel()
    where = np.argsort(places)
    turned = measure_moments(
        turned_image, None, start, where[pixel], 1.0, (BEAM[2], -BEAM[1], BEAM[0])
    )
    assert turned.x == pytest.approx(got.y)
    assert turned.y == pytest.approx(14 - got.x)
    assert (turned.cxx, turned.cxy, turned.cyy) == (
        pytest.approx(got.cyy),
        pytest.approx(-got.cxy),
        pytest.approx(got.cxx),
    )
    assert turned.peak == pytest.approx(got.peak)
    assert turned.flux == pytest.approx(got.flux)
    assert np.cos(2 * turned.angle) == pytest.approx(-np.cos(2 * got.angle))


def test_what_has_no_moments_is_told():
    values = np.array(
        [[1.0, 2.0, 1.5], [1.2, np.nan, 1.1], [-1.0, -2.0, -3.0], [2.0, 2.5, 2.2], [2.1, 2.6, 2.3]]
    )
    start, pixel = [0, 2, 2, 5, 8, 14], [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    got = measure_moments(values, None, start, pixel, [0.9, 0.9, 0.9, 0.9, -1.0], BEAM)
    assert list(got.status[:4]) == [
        MomentStatus.BEAM_SHAPE,
        MomentStatus.BLANK,
        MomentStatus.BLANK,
        MomentStatus.NOT_POSITIVE | MomentStatus.BEAM_SHAPE,
    ]
    assert got.status[4] == MomentStatus.LEVEL_NOT_POSITIVE
    assert np.isnan(got.peak[1:3]).all()
    assert np.isnan(got.angle[1:3]).all()
    assert (got.peak[3], got.x[3], got.y[3]) == (-1.0, 0.0, 2.0)
    xx = np.average([1, 0, 1, 1, 0, 1], weights=[2, 2.5, 2.2, 2.1, 2.6, 2.3]) - (got.x[4] - 1) ** 2
    assert got.cxx[4] == pytest.approx(2 * FOUR_LN2 * xx)
    errors = moment_errors(got, [0.9, 0.9, 0.9, 0.9, -1.0], 0.1, BEAM)
    assert list(np.isfinite(errors.peak)) == [True, False, False, True, False]


def test_an_island_below_its_level_and_a_bar_that_is_no_gaussian():
    image = 2 * gaussian((20, 20), 10, 10, *BEAM)
    start, pixel = lists(image > 1.5)
    above = measure_moments(image, None, start, pixel, 2.5, BEAM)
    assert above.status[0] == MomentStatus.BEAM_SHAPE | MomentStatus.NEAR_LEVEL
    assert above.peak == pytest.approx([2.0])
    # A bright end of a long faint bar.
    bar = np.zeros((8, 30))
    bar[2:6, 2:28] = 1.2
    bar[3, 3] = 1.5
    off = one(bar, level=0.2)
    assert off.status[0] & MomentStatus.OFF_CENTRE
    assert off.peak[0] == 1.5


def test_images_of_other_kinds_and_no_islands():
    values = np.zeros((6, 6))
    values[2:5, 1:4] = [[2, 3, 2], [3, 6, 3], [2, 3, 2]]
    want = one(values)
    pixel = np.flatnonzero(values.ravel())
    for image in (
        values.astype(np.int16),
        values.astype(">f4"),
        np.asfortranarray(values),
        values.astype(np.float32),
    ):
        got = measure_moments(image, None, [0, 9], pixel.astype(np.int32), 1.0, BEAM)
        assert got.peak == pytest.approx(want.peak)
        assert (got.x[0], got.y[0]) == (pytest.approx(2.0), pytest.approx(3.0))
    empty = measure_moments(values, None, [0], [], 1.0, BEAM)
    assert empty.peak.shape == empty.angle.shape == (0,)
    assert moment_errors(empty, 1.0, 1.0, BEAM).flux.shape == (0,)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"image": np.zeros(5)}, "shape"),
        ({"background": np.zeros((2, 2))}, "background"),
        ({"pixel": [99]}, "flat indices"),
        ({"pixel": [0.5]}, "whole numbers"),
        ({"start": [1, 0]}, "growing"),
        ({"start": [0, 2]}, "growing"),
        ({"level": [1.0, 2.0]}, "level"),
        ({"beam": (1.0, 2.0, 1.0)}, "squared FWHM"),
        ({"beam": (5.0, 4.0)}, "beam of shape"),
        ({"sign": 0}, "sign"),
    ],
)
def test_what_does_not_fit_is_refused(changed, told):
    given = {
        "image": np.ones((4, 4)),
        "background": None,
        "start": [0, 1],
        "pixel": [3],
        "level": 0.5,
        "beam": BEAM,
        **changed,
    }
    with pytest.raises(ImageError, match=told):
        measure_moments(
            given.pop("image"),
            given.pop("background"),
            given.pop("start"),
            given.pop("pixel"),
            given.pop("level"),
            given.pop("beam"),
            **given,
        )


def test_errors_are_those_of_the_equations():
    # Equations 2.79 to 2.87 written out; at angle 0 the major axis is along x.
    shape = matrix(9.0, 5.0, 0.0)
    image = 8 * gaussian((40, 40), 20.2, 19.7, *shape)
    start, pixel = lists(image > 2)
    got = measure_moments(image, None, start, pixel, 2.0, BEAM)
    errors = moment_errors(got, 2.0, 0.4, BEAM)
    c, a, b = got.peak[0], got.fwhm_major[0], got.fwhm_minor[0]
    area, log = np.sqrt(25 * 16 - 4), np.log(c / 2)
    assert errors.x[0] ** 2 == pytest.approx(
        0.4**2 / (16 * (c - 2) ** 2) * a * area / b * log**2, rel=1e-3
    )
    assert errors.y[0] ** 2 == pytest.approx(
        0.4**2 / (16 * (c - 2) ** 2) * b * area / a * log**2, rel=1e-3
    )
    rho2 = 4 / np.log(2) * a * b / area * (c - 2) ** 2 / (0.4 * log) ** 2
    assert (errors.peak[0] / c) ** 2 == pytest.approx(2 / rho2)
    assert (errors.fwhm_minor[0] / b) ** 2 == pytest.approx(2 / rho2)
    assert errors.angle[0] ** 2 == pytest.approx(4 / rho2 * (a * b / (a * a - b * b)) ** 2)
    assert (errors.flux[0] / got.flux[0]) ** 2 == pytest.approx(2 / rho2 * (1 + 2 * area / (a * b)))
    image = 8 * gaussian((40, 40), 20.0, 20.0, *matrix(6.0, 6.0, 0.0))
    start, pixel = lists(image > 2)
    round_one = measure_moments(image, None, start, pixel, 2.0, BEAM)
    assert moment_errors(round_one, 2.0, 0.4, BEAM).angle[0] == UNKNOWN_ANGLE


@pytest.mark.parametrize("pixels", [[0], [0, 1, 4, 5]])
def test_islands_of_zeros_have_a_status_and_no_errors(pixels):
    got = measure_moments(np.zeros((4, 4)), None, [0, len(pixels)], pixels, 0.5, BEAM)
    assert got.status[0] == MomentStatus.NOT_POSITIVE | MomentStatus.BEAM_SHAPE
    assert np.isnan(moment_errors(got, 0.5, 1.0, BEAM).flux[0])
    bright = measure_moments(np.ones((4, 4)), None, [0, len(pixels)], pixels, 0.5, BEAM)
    assert np.isnan(moment_errors(bright, 0.5, 0.0, BEAM).peak[0])
