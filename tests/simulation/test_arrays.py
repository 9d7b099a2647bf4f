"""Antenna files: lengths of baselines as published, coordinates against CASA's own reader, bad files by line."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from places import ROOT
from simulate.arrays import itrf_to_local, list_arrays, local_to_itrf, read_array
from uvstack.errors import ArrayError

#: Antennas; shortest and longest baseline, m, with the observatories' published digits; diameters.
PUBLISHED = [
    ("vla.a", 27, 680, 36_400, {25.0}),  # VLA status summary: B_min 0.68, B_max 36.4 km, nominal
    ("vla.b", 27, 210, 11_100, {25.0}),
    ("vla.c", 27, None, 3_400, {25.0}),
    ("vla.d", 27, 35, 1_030, {25.0}),
    ("alma.cycle1", 32, 15, 300, {12.0}),
    ("alma.cycle8.1", 43, 15, 161, {12.0}),
    ("alma.cycle8.3", 43, 15, 500, {12.0}),
    ("alma.cycle8.5", 43, 15, 1_400, {12.0}),
    ("alma.cycle8.8", 43, None, 8_500, {12.0}),
    ("aca.cycle8", 10, 8.9, 45, {7.0}),
    ("meerkat", 64, 29, 7_700, {13.5}),
    ("atca.6a", 6, 337, 5_939, {22.0}),
    ("atca.6c", 6, 153, 6_000, {22.0}),
    ("emerlin", 7, None, 217_000, {25.0, 32.0, 76.0}),
    ("wsrt", 14, 36, 2_700, {25.0}),
]


@pytest.mark.parametrize(("name", "n", "shortest", "longest", "diameters"), PUBLISHED)
def test_baselines_are_as_published(name, n, shortest, longest, diameters):
    array = read_array(name)
    assert len(array.antenna_names) == n == array.positions.shape[0] == array.dish_diameters.size
    # Published lengths are of two digits, the VLA's shortest of the nominal station spacing.
    assert array.baseline_lengths.max() == pytest.approx(longest, rel=0.015)
    if shortest is not None:
        assert array.baseline_lengths.min() == pytest.approx(shortest, rel=0.2)
    assert set(array.dish_diameters) == diameters


@pytest.mark.parametrize("name", list_arrays())
def test_antennas_stand_on_the_ground_about_the_centre(name):
    array = read_array(name)
    radius = np.linalg.norm(array.positions, axis=1)
    assert np.all((radius > 6_356_000) & (radius < 6_384_000))
    extent = array.baseline_lengths.max()
    local = itrf_to_local(array.positions, array.longitude, array.latitude, array.height)
    # ATCA's and WSRT's entries in casacore's table lie at one end of the tracks.
    assert np.abs(local[:, :2]).max() < extent + 2_000
    # Below the horizon by d²/2R where the array is large; the height of the stations differs by
    # some 100 m besides.
    assert np.abs(local[:, 2] + np.sum(local[:, :2] ** 2, axis=1) / (2 * 6.37e6)).max() < 600
    assert len(set(array.antenna_names)) == len(array.antenna_names)
    assert np.linalg.norm(array.zenith) == pytest.approx(1)


def test_every_built_in_file_states_its_source():
    files = sorted((ROOT / "simulate" / "data" / "arrays").glob("*.cfg"))
    assert sorted(file.stem for file in files) == list_arrays()
    for file in files:
        text = file.read_text()
        assert "# Source: " in text
        stated = re.search(r"# (\d+) antennas, baselines of ([\d.]+) to ([\d.]+) m", text)
        lengths = read_array(file).baseline_lengths
        assert [float(x) for x in stated.groups()] == pytest.approx(
            [len(read_array(file).antenna_names), lengths.min(), lengths.max()], abs=0.06)


def test_the_sparse_array_is_eight_dishes_of_the_a_configuration():
    sparse, full = read_array("vla.sparse"), read_array("vla.a")
    index = [full.antenna_names.index(name) for name in sparse.antenna_names]
    assert len(index) == 8
    assert np.array_equal(sparse.positions, full.positions[index])
    assert {name[0] for name in sparse.antenna_names} == {"W", "E", "N"}


def test_local_coordinates_go_there_and_back():
    local = np.random.default_rng(3).uniform(-2e4, 2e4, (50, 3))
    itrf = local_to_itrf(local, -1.2, -0.4, 5000.0)
    np.testing.assert_allclose(itrf_to_local(itrf, -1.2, -0.4, 5000.0), local, atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(itrf - itrf[0], axis=1),
                               np.linalg.norm(local - local[0], axis=1), atol=1e-8)


def test_local_axes_are_east_north_and_up():
    east, north, up = local_to_itrf(np.eye(3), 0.0, 0.0) - local_to_itrf(np.zeros((1, 3)), 0.0, 0.0)
    # At longitude 0 on the equator, geocentric x is up, y east and z north. 1 m of 6378 km is lost
    # to 1e-9 m.
    np.testing.assert_allclose([east, north, up], [[0, 1, 0], [0, 0, 1], [1, 0, 0]], atol=2e-9)


def test_a_local_file_stands_at_its_observatory(tmp_path):
    file = tmp_path / "mine.cfg"
    file.write_text("# observatory = alma\n# coordsys = LOC (local tangent plane)\n\n1 2 3 12. P1 "
                    "DA41 # note\n-5 0 0 7.\n")
    array = read_array(file)
    assert (array.name, array.telescope, array.antenna_names) == ("mine", "alma", ("DA41", "A01"))
    np.testing.assert_allclose(itrf_to_local(array.positions, *np.deg2rad([-67.754929, -23.022886]),
                                             5056.8), [[1, 2, 3], [-5, 0, 0]], atol=1e-8)
    file.write_text("# observatory=MINE\n# COFA=-67.75,-23.02\n# coordsys=LOC\n0 0 100 12. P1\n0 "
                    "0 101 12. P2\n")
    array = read_array(str(file))
    assert np.rad2deg([array.longitude, array.latitude]) == pytest.approx([-67.75, -23.02])
    np.testing.assert_allclose(array.positions - array.centre, np.outer([100, 101], array.zenith),
                               atol=1e-8)


@pytest.mark.parametrize("latitude", [-60.0, -23.02, 1.0, 48.0])
def test_utm_on_the_central_meridian_is_the_length_of_the_meridian(tmp_path, latitude):
    a, e2 = 6378137.0, (2 - 1 / 298.257223563) / 298.257223563
    # 0.9996 ∫ a (1 − e²) (1 − e² sin²φ)^(−3/2) dφ by Simpson's rule.
    phi = np.linspace(0, np.deg2rad(latitude), 2001)
    integrand = a * (1 - e2) * (1 - e2 * np.sin(phi) ** 2) ** -1.5
    simpson = np.r_[1, np.tile([4, 2], 1000)[:-1], 1] * (phi[1] - phi[0]) / 3
    northing = 0.9996 * integrand @ simpson + (1e7 if latitude < 0 else 0)
    file = tmp_path / "utm.cfg"
    file.write_text(f"# coordsys=UTM\n# zone=19\n# hemisphere={'S' if latitude < 0 else 'N'}\n# "
                    f"datum=WGS84\n500000 {northing:.6f} 0 25 T\n")
    expected = local_to_itrf(np.zeros((1, 3)), *np.deg2rad([-69, latitude]))
    assert np.linalg.norm(read_array(file).positions - expected) < 1e-3


HEAD = "# observatory=VLA\n# coordsys=XYZ\n"
GOOD = "-1601614.0 -5042001.0 3554652.0 25. W08\n"
BAD = [(HEAD + GOOD + "1 2 x 25. W16\n", "line 4: .*'x'; wanted four numbers"),
       (HEAD + GOOD + "1 2 3\n", "line 4: 3 columns"),
       (HEAD + "1 2 nan 25. W16\n", "line 3: .* no position"),
       (HEAD + "1 2 3 0. W16\n", "line 3: .*diameter > 0"),
       (HEAD + "1 2 3 -25. W16\n", "line 3: .*diameter > 0"),
       (HEAD + GOOD + GOOD, "line 4: .*'W08' stands there twice"), (HEAD, "no antenna in it"),
       ("", "no antenna in it"), (GOOD, "coordsys is None; wanted"),
       ("# coordsys=ABC\n" + GOOD, "coordsys is 'ABC'"),
       ("# observatory=NOWHERE\n# coordsys=LOC\n1 2 3 4\n",
        "'NOWHERE' is not one of VLA, ALMA.*COFA"),
       ("# coordsys=LOC\n# COFA=east\n1 2 3 4\n", "COFA is 'east'"),
       ("# coordsys=UTM\n1 2 3 4\n", "zone"),
       ("# coordsys=UTM\n# zone=19\n# hemisphere=S\n# datum=PSAD56\n1 2 3 4\n",
        "datum 'PSAD56' is not one of WGS84"),
       ("# coordsys=UTM\n# zone=99\n# hemisphere=S\n# datum=WGS84\n1 2 3 4\n", "zone is '99'"),]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_file_is_named_with_the_line(tmp_path, text, message):
    file = tmp_path / "bad.cfg"
    file.write_text(text)
    with pytest.raises(ArrayError, match=r"bad\.cfg.*" + message) as raised:
        read_array(file)
    assert "\n" not in str(raised.value)


def test_a_binary_or_missing_file_is_an_error(tmp_path):
    file = tmp_path / "binary.cfg"
    file.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ArrayError, match="cannot be read"):
        read_array(file)
    with pytest.raises(ArrayError, match="no such antenna file"):
        read_array(tmp_path / "none.cfg")


@pytest.mark.parametrize(("name", "near"),
                         [("vlaa", "vla.a"), ("meercat", "meerkat"), ("ALMA.cycle2", "alma.cycle1"),
                          ("zzz", "wsrt")])
def test_an_unknown_name_gives_the_nearest(name, near):
    with pytest.raises(ArrayError, match="unknown array .*" + re.escape(near)):
        read_array(name)


def test_names_are_read_in_any_case():
    assert read_array("VLA.A").name == "vla.a"


PEER = ["vla.b.cfg", "alma.cycle1.2.cfg", "aca.cycle8.cfg", "alma.cycle10.10.named.cfg",
        "meerkat.cfg", "aca.cycle8.named.cfg", "atca_6a.cfg", "aca.tp.cfg", "carma.a.cfg",
        "alma.out10.cfg"]


def test_positions_are_those_of_casas_reader(tmp_path):
    simutil = pytest.importorskip("casatasks.private.simutil", reason="casatasks is not installed")
    spec = importlib.util.find_spec("casadata")
    if spec is None:
        pytest.skip("casadata is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / "__data__" / "alma" / "simmos"
    files = [folder / name for name in PEER if (folder / name).is_file()]
    utm = tmp_path / "utm.cfg"
    utm.write_text("# observatory=ALMA\n# coordsys=UTM\n# zone=19\n# hemisphere=S\n# datum=WGS84\n"
                   "627700. 7453200. 5050. 12. A1\n627900.5 7459100. 5000. 12. A2\n")
    assert len(files) >= 8
    for file in [*files, utm]:
        x, y, z, diameters, _, names, *_ = simutil.simutil().readantenna(str(file))
        array = read_array(file)
        # CASA's names slip where a file has empty lines (WSRT.cfg). Its WGS84 has b to 0.1 mm; its
        # UTM series is good to some mm far from the meridian.
        np.testing.assert_allclose(array.positions, np.stack([x, y, z], axis=1),
                                   atol=5e-3 if file == utm else 4e-4)
        np.testing.assert_array_equal(array.dish_diameters, diameters)
        assert list(array.antenna_names) == list(names)
