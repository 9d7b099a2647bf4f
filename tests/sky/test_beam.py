"""The Gaussian ellipse: matrices, transforms, convolution and back, the smallest above several."""

import numpy as np
import pytest

import oracles
from uvstack.errors import ImageError
from uvstack.sky.beam import Beam, beam_of_covariance, common_beam, covariances, deconvolve

ARCSEC = np.deg2rad(1 / 3600)


def beam(major, minor, degrees):
    return Beam(major, minor, np.deg2rad(degrees))


def random_beams(rng, n, thinnest=0.05):
    major = rng.uniform(1, 6, n)
    return [
        Beam(*row)
        for row in zip(
            major, major * rng.uniform(thinnest, 1, n), rng.uniform(-4, 4, n), strict=True
        )
    ]


def second_moments(one, cell):
    """Matrix (east, north) of what is drawn: 8 ln 2 times its second moments."""
    n = int(4 * one.fwhm_major / cell)
    north, east = np.mgrid[-n : n + 1, -n : n + 1] * cell
    image = one.profile(east, north)
    moments = [[(image * x * y).sum() for y in (east, north)] for x in (east, north)]
    return 8 * np.log(2) * np.array(moments) / image.sum()


@pytest.mark.parametrize(
    "one", [beam(5, 3, 0), beam(5, 3, 90), beam(5, 4.9, 30), beam(6, 2, 179), beam(4, 4, 0)]
)
def test_covariance_is_the_second_moment_of_what_is_drawn(one):
    assert one.covariance() == pytest.approx(second_moments(one, 0.25), rel=1e-9, abs=1e-9)
    assert one.covariance((2.0, 0.5)) == pytest.approx(one.covariance() / [[0.25, 1.0], [1.0, 4.0]])
    assert np.sqrt(np.linalg.det(one.covariance())) == pytest.approx(
        one.fwhm_major * one.fwhm_minor
    )


@pytest.mark.parametrize("degrees", [0, 1e-9, 33, 45, 90, 135, 179.999, 180, -30, 400])
@pytest.mark.parametrize("minor", [0.0, 1e-3, 3.0, 4.999])
def test_axes_come_back_from_their_covariance(minor, degrees):
    one = beam(5, minor, degrees)
    again = beam_of_covariance(one.covariance())
    assert 0 <= again.position_angle < np.pi
    turned = (again.position_angle - one.position_angle + np.pi / 2) % np.pi - np.pi / 2
    assert turned == pytest.approx(0, abs=1e-11)
    assert again[:2] == pytest.approx(one[:2], abs=1e-9)
    assert (again.fwhm_minor == 0) == (minor == 0)


def test_round_and_vanishing_ones_have_no_angle():
    for degrees in (0, 20, 77):
        assert beam_of_covariance(beam(5, 5, degrees).covariance()) == pytest.approx(
            (5, 5, 0), abs=1e-14
        )
    assert beam_of_covariance(np.zeros((2, 2))) == (0, 0, 0)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], "its eigenvalues are"),
        ([[1.0, 0.2], [0.1, 1.0]], "symmetric"),
        ([[np.nan, 0], [0, 1]], "finite"),
        ([1.0, 2.0], "no covariance"),
    ],
)
def test_what_is_no_covariance(matrix, message):
    with pytest.raises(ImageError, match=message):
        beam_of_covariance(matrix)


def test_taper_is_the_sum_over_what_is_drawn():
    one, cell = beam(5 * ARCSEC, 2 * ARCSEC, 30), 0.25 * ARCSEC
    north, east = np.mgrid[-90:91, -90:91] * cell
    image = one.profile(east, north)
    for u, v in ((0.0, 0.0), (2e4, 0.0), (0.0, 2e4), (1.5e4, -3e4), (1.5e4, 3e4)):
        direct = (image * np.exp(2j * np.pi * (u * east + v * north))).sum() / image.sum()
        assert one.taper(u, v) == pytest.approx(direct.real, abs=1e-12)
    # Half of the transform at 4 ln 2/(2π θ) wavelengths, along the major axis.
    q = 2 * np.log(2) / np.pi / one.fwhm_major
    assert one.taper(
        q * np.sin(one.position_angle), q * np.cos(one.position_angle)
    ) == pytest.approx(0.5)
    assert one.taper(np.zeros((1, 3)), np.zeros((4, 1))).shape == (4, 3)


def test_convolution_multiplies_tapers_and_deconvolution_undoes_it():
    rng = np.random.default_rng(5)
    for one, other in zip(random_beams(rng, 50), random_beams(rng, 50), strict=True):
        both = one.convolved(other)
        u, v = rng.normal(0, 0.05, (2, 20))
        assert both.taper(u, v) == pytest.approx(one.taper(u, v) * other.taper(u, v), rel=1e-12)
        for part, rest in ((one, other), (other, one)):
            assert both.contains(part)
            assert both.deconvolved(part, exact=True).covariance() == pytest.approx(
                rest.covariance(), abs=1e-9
            )


def test_sizes_that_are_smaller_than_the_beam():
    """Wild's formula where it holds; an axis of negative square is 0."""
    blur = beam(4, 3, 20)
    assert blur.deconvolved(blur) == (0, 0, 0)
    assert beam(4 * (1 + 1e-13), 3, 20).deconvolved(blur) == (0, 0, 0)
    assert beam(3.9, 2.9, 20).deconvolved(blur) == (0, 0, 0)
    assert beam(5, 3, 20).deconvolved(blur) == pytest.approx((3, 0, np.deg2rad(20)))
    assert beam(5, 2.9, 20).deconvolved(blur) == pytest.approx((3, 0, np.deg2rad(20)))
    assert beam(5, 4, 20).deconvolved(beam(3, 3, 70)) == pytest.approx(
        (4, np.sqrt(7), np.deg2rad(20))
    )
    # Wild (1970): cot 2φ = (major² − minor²) and so on, for a source and a beam at other angles.
    a, b, c, d, t = 6.0, 4.0, 4.0, 3.0, np.deg2rad(40)
    p, q, r = a**2 + b**2 - c**2 - d**2, a**2 - b**2, c**2 - d**2
    x = np.sqrt(q**2 + r**2 - 2 * q * r * np.cos(2 * t))
    wanted = np.sqrt((p + x) / 2), np.sqrt((p - x) / 2)
    assert beam(a, b, 10).deconvolved(beam(c, d, 50))[:2] == pytest.approx(wanted)
    with pytest.raises(
        ImageError, match="no Gaussian convolves a beam of 4 by 3 at 20° to one of 5 by 2.9 at 20°"
    ):
        beam(5, 2.9, 20).deconvolved(blur, exact=True)


def test_arrays_are_deconvolved_as_one_by_one():
    rng = np.random.default_rng(2)
    some, blur = random_beams(rng, 300), Beam(3.0, 2.0, 1.0)
    found = np.transpose(deconvolve(*np.transpose(some), blur))
    assert [tuple(row) for row in found] == [one.deconvolved(blur) for one in some]
    assert {int((row[:2] > 0).sum()) for row in found} == {0, 1, 2}
    each = np.transpose(random_beams(rng, 300))
    assert (
        deconvolve(*np.transpose(some), each)[0][7]
        == some[7].deconvolved(Beam(*each[:, 7])).fwhm_major
    )
    assert all(np.isnan(axis).all() for axis in deconvolve([np.nan, 3], [1, np.nan], 0.0, blur))
    assert all(axis.shape == (0,) for axis in deconvolve([], [], [], blur))


CASES = {
    "right angles": [(4, 3, 0), (6, 1.5, 90)],
    "nearly right angles": [(4, 3, 0), (6, 1.5, 89.9)],
    "crossed": [(5, 3, 45), (5, 3, 135)],
    "inside": [(6, 4, 20), (3, 2.5, 110)],
    "two": [(3.948, 2.214, 42.48), (2.889, 1.935, -4.71)],
    "touching": [(5, 3, 10), (5, 2, 10)],
    "lines": [(4, 0, 0), (6, 0, 90)],
    "three": [(5, 2, 0), (5, 2, 60), (5, 2, 120)],
    "line and disc": [(3, 3, 0), (6, 0, 30)],
}


@pytest.mark.parametrize("name", CASES)
def test_no_smaller_ellipse_does_for_two_or_three(name):
    given = [beam(*one) for one in CASES[name]]
    found = common_beam(given)
    assert all(found.contains(one) for one in given)
    searched = oracles.least_common_area(given)
    assert searched * (1 - 1e-3) < found.fwhm_major * found.fwhm_minor < searched * (1 + 1e-9)


def test_two_beams_at_right_angles_keep_both_axes():
    assert common_beam([beam(4, 3, 0), beam(6, 1.5, 90)]) == pytest.approx(
        (6, 4, np.pi / 2), rel=1e-9
    )
    assert common_beam([beam(5, 3, 45), beam(5, 3, 135)])[:2] == pytest.approx((5, 5), rel=1e-9)
    near = common_beam([beam(4, 3, 0), beam(6, 1.5, 89.9)])
    assert near[:2] == pytest.approx((6, 4), abs=1e-3)


def test_one_that_contains_the_others_is_returned_as_it_is():
    large = beam(6, 4, 200)
    for given in (
        [large],
        [large] * 3,
        [beam(3, 2.5, 110), large, beam(1, 0, 3)],
        [large, Beam(0.0, 0.0)],
    ):
        assert common_beam(given) == large
    assert common_beam([beam(2, 0, 30), beam(5, 0, 30), beam(3, 0, 30)]) == beam(5, 0, 30)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_random_beams(n):
    """Each is contained, no smaller one does; order is nothing, linear maps map."""
    rng = np.random.default_rng(n)
    for trial in range(3):
        given = random_beams(rng, n)
        found = common_beam(given)
        area = found.fwhm_major * found.fwhm_minor
        assert all(found.deconvolved(one, exact=True) for one in given)
        assert common_beam(given[::-1]) == found
        if trial == 0:
            searched = oracles.least_common_area(given)
            assert searched * (1 - 1e-3) < area < searched * (1 + 1e-9)
        turned = common_beam(
            [one._replace(position_angle=one.position_angle + 0.7) for one in given]
        )
        assert turned.covariance() == pytest.approx(
            Beam(*found[:2], found.position_angle + 0.7).covariance(), rel=1e-9, abs=1e-9
        )
        small = common_beam([Beam(one[0] * 1e-6, one[1] * 1e-6, one[2]) for one in given])
        assert small.covariance() * 1e12 == pytest.approx(found.covariance(), rel=1e-9, abs=1e-9)
        # The smallest stays the smallest under any linear map.
        shear = np.array([[1.0, 0.8], [0.0, 0.3]])
        sheared = common_beam(
            [beam_of_covariance(shear @ one.covariance() @ shear.T) for one in given]
        )
        assert sheared.covariance() == pytest.approx(
            shear @ found.covariance() @ shear.T, rel=1e-8, abs=1e-8
        )


def test_channels_of_a_cube_and_beams_that_hardly_differ():
    scale = 1.4 / np.linspace(1.3, 1.5, 2000)
    found = common_beam(zip(6e-5 * scale, 4e-5 * scale, 0.3 + 0 * scale, strict=True))
    assert found == (6e-5 * scale[0], 4e-5 * scale[0], 0.3)
    rng = np.random.default_rng(8)
    for spread in 10.0 ** -np.arange(3, 16):
        near = [
            Beam(*row) for row in np.array([5.0, 4.0, 0.3]) + spread * rng.standard_normal((30, 3))
        ]
        found = common_beam(near)
        assert all(found.contains(one) for one in near)
        assert found == pytest.approx((5, 4, 0.3), abs=4 * spread + 1e-9)


def test_a_thousand_sets_are_held_by_what_touches():
    """Proof of a minimum: touching directions, with weights ≥ 0, sum to it (John 1948)."""
    rng = np.random.default_rng(4)
    for _ in range(300):
        given = random_beams(rng, rng.integers(2, 21), rng.choice([0.0, 0.02, 0.5]))
        found = common_beam(given)
        assert all(found.contains(one) for one in given)
        frame = np.linalg.inv(np.linalg.cholesky(found.covariance()))
        values, vectors = np.linalg.eigh(frame @ covariances(*np.transpose(given)) @ frame.T)
        touching = np.concatenate(
            [vectors[i][:, values[i] > 1 - 1e-7].T for i in range(len(given))]
        )
        doubled = np.sort(np.mod(2 * np.arctan2(touching[:, 0], touching[:, 1]), 2 * np.pi))
        # Angles doubled, the directions must lie all around: no gap of more than half a turn.
        gaps = np.diff(np.append(doubled, doubled[0] + 2 * np.pi))
        assert gaps.max() <= np.pi + 1e-4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no beams were given"),
        ([(np.nan, 1, 0)], "nan by 1"),
        ([(3, 2, 0), (3, -2, 0)], "not negative"),
        ([(np.inf, 1, 0)], "finite"),
    ],
)
def test_what_has_no_common_beam(given, message):
    with pytest.raises(ImageError, match=message):
        common_beam(given)
