"""Directions: against 40-digit arithmetic, published positions, and casacore."""

import decimal
import math

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, Angle, SkyCoord

from uvstack.errors import CoordinateError, SelectionError, UvstackWarning
from uvstack.sky.coordinates import (
    FRAME_NAMES,
    angle_from_text,
    check_centre,
    direction_cosines,
    parse_direction,
    parse_frame,
    rotation_between,
    sight,
    to_frame,
)
from uvstack.sky.frequency import parse_frequency

EPS = np.finfo(np.float64).eps
MAS = np.radians(1e-3 / 3600)


def decimal_sin_cos(x):
    """Sine and cosine of a Decimal or double, by their series to 40 digits."""
    x = decimal.Decimal(x)
    sums, term, k = [decimal.Decimal(0), decimal.Decimal(0)], decimal.Decimal(1), 0
    while abs(term) > decimal.Decimal("1e-45") or k < 4:
        sums[k % 2] += -term if k % 4 in (2, 3) else term
        k += 1
        term = term * x / k
    return sums[1], sums[0]


def decimal_cosines(ra, dec, ra0, dec0):
    """(l, m, n − 1) straight from the textbook, which loses half its digits in doubles."""
    with decimal.localcontext(prec=50):
        east = decimal.Decimal(float(ra)) - decimal.Decimal(float(ra0))
        sin_e, cos_e = decimal_sin_cos(east)
        sin_d, cos_d = decimal_sin_cos(dec)
        sin_0, cos_0 = decimal_sin_cos(dec0)
        l = cos_d * sin_e
        m = sin_d * cos_0 - cos_d * sin_0 * cos_e
        n = sin_d * sin_0 + cos_d * cos_0 * cos_e
        return float(l), float(m), float(n - 1)


def random_sky(rng, n):
    return rng.uniform(0, 2 * np.pi, n), np.arcsin(rng.uniform(-1, 1, n))


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-3, 0.3])
def test_direction_cosines_are_exact_relative_to_the_offset(scale):
    # Budget: three roundings of the differences, five of products and functions: 8 eps of the
    # offset.
    rng = np.random.default_rng(5)
    for ra0, dec0 in [*zip(*random_sky(rng, 25), strict=True), (0.0, 0.0), (6.283, -1.5707963),
                      (1.0, np.pi / 2)]:
        ra = ra0 + scale * rng.uniform(-1, 1) / max(np.cos(dec0), scale)
        dec = np.clip(dec0 + scale * rng.uniform(-1, 1), -np.pi / 2, np.pi / 2)
        l, m, n_minus_1 = decimal_cosines(ra, dec, ra0, dec0)
        got = direction_cosines(ra, dec, ra0, dec0)
        offset = math.hypot(l, m)
        assert got[0] == pytest.approx(l, rel=0, abs=8 * EPS * offset)
        assert got[1] == pytest.approx(m, rel=0, abs=8 * EPS * offset)
        assert got[2] == pytest.approx(n_minus_1, rel=16 * EPS, abs=0)


def test_direction_cosines_over_the_whole_sphere():
    rng = np.random.default_rng(6)
    (ra, dec), (ra0, dec0) = random_sky(rng, 300), random_sky(rng, 300)
    l, m, n_minus_1 = direction_cosines(ra, dec, ra0, dec0)
    coord, centre = SkyCoord(ra, dec, unit="rad"), SkyCoord(ra0, dec0, unit="rad")
    # The separation, and the east and north of astropy's frame about the centre, are made without
    # any of our formulas.
    np.testing.assert_allclose(np.arctan2(np.hypot(l, m), n_minus_1 + 1),
                               coord.separation(centre).rad, atol=1e-14)
    for k in range(0, 300, 30):
        offset = coord[k].transform_to(centre[k].skyoffset_frame())
        expected = offset.cartesian.xyz.value
        np.testing.assert_allclose([n_minus_1[k] + 1, l[k], m[k]], expected, rtol=0, atol=2e-15)
    behind = n_minus_1 < -1
    assert 100 < np.count_nonzero(behind) < 200
    front = ~behind
    radius2 = l[front] ** 2 + m[front] ** 2
    np.testing.assert_allclose(n_minus_1[front], -radius2 / (1 + np.sqrt(1 - radius2)), rtol=1e-12)


def test_direction_cosines_signs_and_the_antipode():
    l, m, n_minus_1 = direction_cosines(0.01, 0.02, 0.0, 0.0)
    assert l > 0  # east is towards rising right ascension
    assert m > 0  # north
    assert n_minus_1 < 0
    l, m, n_minus_1 = direction_cosines(1.0 + np.pi, -0.3, 1.0, 0.3)
    np.testing.assert_allclose([l, m, n_minus_1], [0, 0, -2], atol=1e-15)


def test_direction_cosines_shapes_types_and_nan():
    l, m, n_minus_1 = direction_cosines(np.zeros((3, 1), np.float32), [0.0, 0.1], 0.0, 0.0)
    assert l.shape == m.shape == n_minus_1.shape == (3, 2)
    assert l.dtype == np.float64
    assert direction_cosines([], [], 0.0, 0.0)[0].shape == (0,)
    assert np.isnan(direction_cosines(np.nan, 0.1, 0.0, 0.0)[2])
    # Across right ascension 0; what remains is the rounding of 2π.
    l, _, _ = direction_cosines(1e-6, 0.0, 2 * np.pi - 1e-6, 0.0)
    assert l == pytest.approx(2e-6, abs=1e-15)


def tms_uvw(xyz, hour_angle, dec):
    """Thompson, Moran & Swenson (2017) equation 4.1, by plain loops."""
    sin_h, cos_h, sin_d, cos_d = math.sin(hour_angle), math.cos(hour_angle), math.sin(dec), math.cos(dec)
    rows = [
        (sin_h, cos_h, 0.0),
        (-sin_d * cos_h, sin_d * sin_h, cos_d),
        (cos_d * cos_h, -cos_d * sin_h, sin_d),
    ]
    return np.array([[sum(row[k] * xyz_one[k] for k in range(3)) for row in rows]
                     for xyz_one in xyz])


@pytest.mark.parametrize("offset", [1e-6, 0.01, 1.0, 3.0])
def test_rotation_turns_uvw_as_the_antennas_do(offset):
    rng = np.random.default_rng(7)
    for _ in range(20):
        xyz = rng.normal(0, 1e4, (6, 3))
        sidereal, ra0, dec0 = rng.uniform(0, 6), rng.uniform(0, 6), rng.uniform(-1.5, 1.5)
        ra, dec = ra0 + offset * rng.uniform(-1, 1), np.clip(dec0 + offset * rng.uniform(-1, 1),
                                                             -1.5, 1.5)
        old, new = tms_uvw(xyz, sidereal - ra0, dec0), tms_uvw(xyz, sidereal - ra, dec)
        rotation = rotation_between(ra0, dec0, ra, dec)
        # 1e-11 m: a few roundings of lengths of 2e4 m.
        np.testing.assert_allclose(old @ rotation.T, new, rtol=0, atol=3e-11)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)
        assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-14)
        l, m, n_minus_1 = direction_cosines(ra, dec, ra0, dec0)
        np.testing.assert_allclose(rotation[2], [l, m, n_minus_1 + 1], atol=2e-16, rtol=1e-14)
        np.testing.assert_allclose(rotation @ rotation_between(ra, dec, ra0, dec0), np.eye(3),
                                   atol=1e-15)


def test_rotation_leaves_the_delay_to_a_source_alone():
    rng = np.random.default_rng(8)
    uvw = rng.normal(0, 1e4, (10, 3))
    old, new, source = (1.0, -0.5), (1.02, -0.47), (1.01, -0.46)
    rotation = rotation_between(*old, *new)
    delays = []
    for centre, coordinates in ((old, uvw), (new, uvw @ rotation.T)):
        l, m, n_minus_1 = direction_cosines(*source, *centre)
        delays.append(coordinates @ np.array([l, m, n_minus_1 + 1]))
    np.testing.assert_allclose(delays[0], delays[1], rtol=0, atol=3e-11)
    np.testing.assert_array_equal(rotation_between(*old, *old), np.eye(3))


#: VLA Calibrator Manual, section 4.1: the same sources in B1950 and J2000.
CALIBRATORS = [
    ("00h03m22.3357s", "38d03m33.430s", "00h05m57.1755s", "38d20m15.169s"),
    ("17h30m13.5352s", "-13d02m45.837s", "17h33m02.7058s", "-13d04m49.546s"),
]


@pytest.mark.parametrize("name", ["B1950", "FK4", "b1950_vla"])
@pytest.mark.parametrize(("ra", "dec", "ra2000", "dec2000"), CALIBRATORS)
def test_b1950_as_the_vla_calibrator_manual(name, ra, dec, ra2000, dec2000):
    coord = SkyCoord(ra, dec, frame=parse_frame(name))
    expected = SkyCoord(ra2000, dec2000, frame=parse_frame("J2000"))
    lon, lat = to_frame(coord, "J2000")
    # Budget: 3.1 mas of astropy's aberration terms, 1.1 mas for the last digit printed.
    assert SkyCoord(lon, lat, unit="rad",
                    frame=parse_frame("J2000")).separation(expected) < 4.2 * u.mas
    lon, lat = to_frame(expected, name)
    assert SkyCoord(lon, lat, unit="rad",
                    frame=coord.frame.replicate_without_data()).separation(coord) < 4.2 * u.mas


def test_3c273_in_b1950_and_galactic():
    # B1950 of the AIPS++ test model; J2000 of the ICRF; galactic as NED prints it.
    b1950 = SkyCoord("12h26m33.248s", "+02d19m43.29s", frame=parse_frame("B1950"))
    icrf = SkyCoord("12h29m06.6997s", "+02d03m08.598s", frame="icrs")
    lon, lat = to_frame(b1950, "ICRS")
    assert SkyCoord(lon, lat, unit="rad").separation(icrf) < 0.05 * u.arcsec
    lon, lat = to_frame(icrf, "GALACTIC")
    np.testing.assert_allclose(np.degrees([lon, lat]), [289.9508, 64.3600], atol=1e-4)


def test_galactic_centre():
    # Reid & Brunthaler (2004): l = b = 0, and Sgr A*.
    lon, lat = to_frame(SkyCoord(0, 0, unit="deg", frame="galactic"), "J2000")
    assert lon == pytest.approx(Angle("17h45m37.1991s").rad, abs=MAS)
    assert lat == pytest.approx(Angle("-28d56m10.221s").rad, abs=MAS)
    lon, lat = to_frame(SkyCoord("17h45m40.0409s", "-29d00m28.118s", frame="fk5"), "GALACTIC")
    np.testing.assert_allclose(np.degrees([lon, lat]), [359.9442, -0.0462], atol=1e-4)


@pytest.mark.parametrize("first", FRAME_NAMES)
@pytest.mark.parametrize("second", ["J2000", "ICRS", "B1950", "GALACTIC"])
def test_frames_round_trip(first, second):
    rng = np.random.default_rng(9)
    coord = SkyCoord(*random_sky(rng, 50), unit="rad", frame=parse_frame(first))
    there = SkyCoord(*to_frame(coord, second), unit="rad", frame=parse_frame(second))
    back = SkyCoord(*to_frame(there, first), unit="rad", frame=parse_frame(first))
    # astropy's FK4 and its inverse differ by 0.03 mas; the rest is rounding.
    through_fk4 = {first, second} & {"B1950", "FK4", "B1950_VLA"}
    assert back.separation(coord).max() < (0.05 * u.mas if through_fk4 else 1e-5 * u.mas)
    lon, _ = to_frame(coord, second)
    assert np.all((lon >= 0) & (lon < 2 * np.pi))


def test_an_equinox_is_not_carried_along():
    # The trap: SkyCoord.transform_to(FK5()) keeps the equinox of B1950 and converts nothing.
    coord = SkyCoord(10, 20, unit="deg", frame="fk4")
    lon, lat = to_frame(coord, "J2000")
    assert SkyCoord(lon, lat, unit="rad").separation(SkyCoord(10, 20, unit="deg")) > 0.6 * u.deg


def test_frames_as_casacore_has_them():
    measures = pytest.importorskip("casacore.measures",
                                   reason="python-casacore is not installed").measures()
    rng = np.random.default_rng(10)
    limits = {"B1950_VLA": 3.3, "B1950": 110, "ICRS": 31, "GALACTIC": 530, "J2000": 0.001}
    for name, limit in limits.items():
        for lon, lat in zip(*random_sky(rng, 20), strict=True):
            theirs = measures.measure(measures.direction(name, f"{lon:.17g}rad", f"{lat:.17g}rad"),
                                      "J2000")
            theirs = SkyCoord(theirs["m0"]["value"], theirs["m1"]["value"], unit="rad")
            ours = SkyCoord(*to_frame(SkyCoord(lon, lat, unit="rad", frame=parse_frame(name)),
                                      "J2000"), unit="rad")
            assert ours.separation(theirs) < limit * u.mas, name


@pytest.mark.parametrize(("name", "closest"),
                         [("J200", "J2000"), ("galatic", "GALACTIC"), ("B1950VLA", "B1950_VLA")])
def test_an_unknown_frame_names_the_closest(name, closest):
    with pytest.raises(CoordinateError, match=f"{name}.*closest is {closest};"):
        to_frame(SkyCoord(1, 2, unit="deg"), name)


def test_frames_take_any_case_and_shape():
    assert parse_frame(" j2000 ") == parse_frame("FK5")
    lon, lat = to_frame(SkyCoord([[1, 2]], [[3, 4]], unit="deg"), "icrs")
    assert lon.shape == lat.shape == (1, 2)
    np.testing.assert_allclose(np.degrees(lon), [[1, 2]], rtol=1e-14)
    assert to_frame(SkyCoord([], [], unit="deg"), "GALACTIC")[0].shape == (0,)


def test_a_direction_that_cannot_be_converted():
    with pytest.raises(CoordinateError, match="altaz.*cannot be converted to J2000"):
        to_frame(SkyCoord(1, 2, unit="deg", frame=AltAz()), "J2000")


@pytest.mark.parametrize(
    ("text", "hours", "degrees"),
    [
        ("03h49m10.99s", True, 57.29579166666667),
        ("03h49m10.99s", False, 57.29579166666667),
        ("03:49:10.99", True, 57.29579166666667),
        ("03 49 10.99", True, 57.29579166666667),
        ("03:49:10.99", False, 3.8197194444444444),
        ("-00:30:00", False, -0.5),
        ("-30d00m01.8s", False, -30.0005),
        ("-30.00.01.8", False, -30.0005),
        ("-0.30.00", False, -0.5),
        ("+57.30.00.0", True, 57.5),
        ("57.3deg", True, 57.3),
        ("1.0rad", False, np.degrees(1.0)),
    ],
)
def test_angle_from_text(text, hours, degrees):
    assert np.degrees(angle_from_text(text, hours=hours)) == pytest.approx(degrees, rel=1e-15)


@pytest.mark.parametrize("text",
                         ["", "57.3", "nan", "abc", "03:75:10", "25:00:00", "12Jy", "1.2.3.4.5"])
def test_no_angle(text):
    with pytest.raises(CoordinateError, match="is no angle"):
        angle_from_text(text, hours=True)


# ------------------------------------------------------------------------------ as users write them


def test_a_direction_is_read_alike_however_it_is_written():
    ra, dec = np.deg2rad(153.054166666667), np.deg2rad(-30.000277777778)
    for given in ("J2000 10h12m13s -30d00m01s", "10:12:13, -30:00:01",
                  "fk5 153.054166666667deg -30.00.01", (ra, dec),
                  SkyCoord(ra * u.rad, dec * u.rad, frame="fk5")):
        np.testing.assert_allclose(parse_direction(given), (ra, dec), atol=1e-13)
    galactic = SkyCoord(120 * u.deg, -3 * u.deg, frame="galactic").fk5
    np.testing.assert_allclose(parse_direction("GALACTIC 120deg -3deg"),
                               (galactic.ra.rad, galactic.dec.rad), atol=1e-12)
    np.testing.assert_allclose(parse_direction("J2000 0h0m0s 89d", "GALACTIC"),
                               [x.rad
                                for x in (lambda c: (c.l, c.b))(
                                    SkyCoord("0h0m0s 89d", frame="fk5").galactic)], atol=1e-12)


@pytest.mark.parametrize("given",
                         ["10h12m13s", "J2000", "Mars 1h 2d", "10 -30", (1.0,), (1.0, 2.0),
                          (np.nan, 0.0), 3.0, ("a", "b"), "J2000 1h -95d"])
def test_what_is_no_direction_is_refused_by_its_name(given):
    with pytest.raises(CoordinateError, match=r"^centre") as caught:
        parse_direction(given, name="centre")
    assert "\n" not in str(caught.value)


def test_a_centre_that_no_field_sees_is_refused_or_doubted():
    fields = {"A": (1.0, 0.2), "B": (1.1, 0.2)}
    check_centre((1.1, 0.25), fields, np.deg2rad(3))
    with pytest.warns(UvstackWarning,
                      match=r"is 11.46° from the nearest field, B, and its antennas see some 3°"):
        check_centre((1.1, 0.4), fields, np.deg2rad(3))
    with pytest.raises(CoordinateError,
                       match=r"phase_centre is 107° from A: 90° or more.*the nearest is A"):
        check_centre((1.0, 0.2 + np.deg2rad(107)), {"A": (1.0, 0.2)}, 1.0)
    assert sight([25.0, 12.0, 0.0], 1.4e9) == pytest.approx(10 * 0.21414 / 12, rel=1e-4)
    assert sight([0.0, np.nan], 1e9) == pytest.approx(np.deg2rad(10))


def test_a_frequency_is_read_alike_however_it_is_written():
    for given in (1.4e9, "1.4e9", "1.4GHz", "1400 MHz", 1.4 * u.GHz, np.float32(1.4e9)):
        assert parse_frequency(given, "nu0") == pytest.approx(1.4e9, rel=1e-7)
    for given, wanted in ((1.4, "1.4 Hz"), ("-1GHz", "positive"), ("nan", "positive"),
                          ("5km", "no frequency"), ("x", "no frequency"),
                          (1.4 * u.m, "no frequency"), ((1, 2), "no frequency")):
        with pytest.raises(SelectionError, match=f"^nu0.*{wanted}"):
            parse_frequency(given, "nu0")
    assert parse_frequency(1.4, "nu0", lowest=0.0) == 1.4


def test_two_numbers_are_j2000_whatever_the_frame_that_is_wanted():
    # The galactic pole by its definition of 1958, B1950 12h49m +27d24m, in J2000; the E terms
    # of aberration that FK4 has besides are 0.34″.
    found = parse_direction(np.deg2rad([192.85948, 27.12825]), "B1950")
    assert np.rad2deg(found) == pytest.approx([192.25, 27.4], abs=1.5e-4)
