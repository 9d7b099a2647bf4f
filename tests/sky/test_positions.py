"""Lists of positions: every format written here and read back, what is guessed, and every bad input by name."""

import logging
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table

from places import ROOT
from uvstack.errors import CoordinateError, DuplicatePositionsWarning, PositionsError
from uvstack.io.tables import read_positions
from uvstack.sky.coordinates import parse_frame, to_frame
from uvstack.sky.positions import (
    Positions,
    positions_from_coord,
    positions_from_table,
    validate_positions,
)

J2000 = parse_frame("J2000")
EXAMPLE = ROOT / "../shared/data/stacker_testdata_positions.csv"


def make_coord(n=7, frame=J2000, seed=3):
    """Positions over the whole sky, with a source near right ascension 0 and one near the pole."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    ra[0], dec[1] = 359.9999999, 89.99999
    return SkyCoord(ra, dec, unit="deg", frame=frame)


def make_table(coord, **columns):
    """A catalogue with a ramp in every column, so that a swapped row or column shows."""
    n = len(coord)
    table = Table({"name": [f"s{k}" for k in range(n)], "ra": coord.ra.deg, "dec": coord.dec.deg})
    table["weight"] = 1e-12 * (1 + np.arange(n))
    table["flux_mJy"] = 10.0 + np.arange(n)
    table["fwhm"] = 0.5 + np.arange(n)
    table["z_phot"] = 0.1 * (1 + np.arange(n))
    table["type"] = ["red" if k % 3 else "blue" for k in range(n)]
    for name, values in columns.items():
        table[name] = values
    return table


def assert_same_places(positions, coord, tolerance_deg=1e-9):
    """Same frame and, one by one, the same places."""
    assert positions.coord.frame.name == coord.frame.name
    np.testing.assert_allclose(positions.coord.separation(coord).deg, 0, atol=tolerance_deg)


def assert_ramp(positions):
    """What `make_table` put in, in SI units, the weights to the last bit."""
    k = np.arange(len(positions))
    np.testing.assert_array_equal(positions.weight, 1e-12 * (1 + k))
    np.testing.assert_allclose(positions.flux, 1e-3 * (10.0 + k), rtol=1e-14)
    np.testing.assert_allclose(positions.size, np.radians((0.5 + k) / 3600), rtol=1e-14)
    np.testing.assert_allclose(positions.redshift, 0.1 * (1 + k), rtol=1e-14)
    assert positions.table.colnames[0] == "name"
    assert len(positions.table) == len(positions)


# ---------------------------------------------------------------------------------------------------------------------
# Tables from files


@pytest.mark.parametrize(
    ("filename", "file_format"),
    [
        ("list.csv", "ascii.csv"),
        ("list.txt", "ascii.basic"),
        ("list.tsv", "ascii.tab"),
        ("list.dat", "ascii.commented_header"),
        ("list.ecsv", "ascii.ecsv"),
        ("list.fits", "fits"),
        ("list.FITS.gz", "fits"),
        ("list.vot", "votable"),
        ("list.xml", "votable"),
        # Told by content alone.
        ("list_ecsv", "ascii.ecsv"),
        ("list_fits", "fits"),
        ("list_votable", "votable"),
    ],
)
def test_tables_of_every_format(tmp_path, filename, file_format):
    coord = make_coord()
    path = tmp_path / filename
    make_table(coord).write(path, format=file_format)
    for source in (path, str(path)):
        positions = read_positions(source)
        assert_same_places(positions, coord)
        assert_ramp(positions)
        assert str(path) in positions.source
        assert "'ra' in deg" in positions.source


@pytest.mark.parametrize("filename", ["list.ecsv", "list.fits"])
def test_skycoord_columns_keep_their_frame(tmp_path, filename):
    coord = make_coord(frame="galactic") if filename == "list.fits" else make_coord(frame="icrs")
    QTable({"where": coord, "flux": np.arange(7.0) * u.mJy}).write(tmp_path / filename)
    positions = read_positions(tmp_path / filename)
    assert_same_places(positions, coord)
    np.testing.assert_allclose(positions.flux, 1e-3 * np.arange(7))
    with pytest.raises(PositionsError,
                       match="frame=B1950 was given, but the column 'where' says itself"):
        read_positions(tmp_path / filename, frame="B1950")
    assert len(read_positions(tmp_path / filename, columns={"coord": "where"})) == 7


def test_sexagesimal_columns(tmp_path):
    coord = make_coord()
    hms = {"sep": ":", "unit": "hourangle", "precision": 11, "pad": True}
    dms = {"sep": ":", "unit": "deg", "precision": 10, "alwayssign": True}
    table = Table({"RAJ2000": coord.ra.to_string(**hms), "DEJ2000": coord.dec.to_string(**dms)})
    for filename in ("list.csv", "list.fits", "list.xml"):
        table.write(tmp_path / filename, format="votable" if filename == "list.xml" else None)
        assert_same_places(read_positions(tmp_path / filename), coord)
        assert "in hours" in read_positions(tmp_path / filename).source
    table["RAJ2000"][4] = "12:99:00"
    table.write(tmp_path / "bad.csv")
    with pytest.raises(PositionsError,
                       match=r"bad.csv: row 5 of the column 'RAJ2000': '12:99:00' is no angle"):
        read_positions(tmp_path / "bad.csv")


def test_fits_header_gives_the_frame(tmp_path):
    coord = make_coord(frame=parse_frame("B1950"))
    table = make_table(coord)
    for filename, header, name in (
        ("a.fits", {"RADESYS": "FK4", "EQUINOX": 1950.0}, "fk4"),
        ("b.fits", {"EQUINOX": 1950.0}, "fk4"),
        ("c.fits", {"RADESYS": "ICRS"}, "icrs"),
        ("d.fits", {"EQUINOX": 2000.0}, "fk5"),
        ("e.fits", {}, "fk5"),
    ):
        table.meta = header
        table.write(tmp_path / filename)
        assert read_positions(tmp_path / filename).coord.frame.name == name
        assert read_positions(tmp_path / filename, frame="ICRS").coord.frame.name == "icrs"
    assert_same_places(read_positions(tmp_path / "a.fits"), coord)
    for header, message in (
        ({"RADESYS": "FK5", "EQUINOX": 1975.0}, "equinox 1975, but only 2000 is known"),
        ({"RADESYS": "GAPPT"}, "the header gives the frame GAPPT"),
    ):
        table.meta = header
        table.write(tmp_path / "bad.fits", overwrite=True)
        with pytest.raises(PositionsError, match=message):
            read_positions(tmp_path / "bad.fits")


def test_votable_coosys_gives_the_frame(tmp_path):
    text = """<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>
    <COOSYS ID="other" system="ICRS"/><COOSYS ID="B" system="eq_FK4" equinox="B1950"/><TABLE>
    <FIELD name="_RA" datatype="double" unit="deg" ref="B"/><FIELD name="_DE" datatype="double" unit="deg" ref="B"/>
    <FIELD name="S" datatype="double" unit="weird"/>
    <DATA><TABLEDATA><TR><TD>10</TD><TD>20</TD><TD>3</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
    (tmp_path / "list.vot").write_text(text)
    positions = read_positions(tmp_path / "list.vot")
    assert_same_places(positions, SkyCoord([10], [20], unit="deg", frame=parse_frame("B1950")))
    assert positions.flux is None  # guessed, but in a unit that nobody knows
    assert read_positions(tmp_path / "list.vot", frame="ICRS").coord.frame.name == "icrs"


def test_the_first_fits_table_with_positions_is_taken(tmp_path):
    from astropy.io import fits

    other = fits.table_to_hdu(Table({"frequency": [1.0, 2.0]}))
    wanted = fits.table_to_hdu(make_table(make_coord()))
    fits.HDUList([fits.PrimaryHDU(), other, wanted]).writeto(tmp_path / "two.fits")
    assert_ramp(read_positions(tmp_path / "two.fits"))


# ---------------------------------------------------------------------------------------------------------------------
# Columns, units and frames


@pytest.mark.parametrize(
    ("lon", "lat", "frame"),
    [
        ("RA", "Dec", "fk5"),
        ("_RAJ2000", "_DEJ2000", "fk5"),
        ("ALPHA_J2000", "DELTA_J2000", "fk5"),
        ("ra_deg", "dec_deg", "fk5"),
        ("right_ascension", "declination", "fk5"),
        ("RA_ICRS", "DE_ICRS", "icrs"),
        ("RAB1950", "DEB1950", "fk4"),
        ("GLON", "GLAT", "galactic"),
        ("l", "b", "galactic"),
        ("x", "y", "fk5"),
    ],
)
def test_names_of_columns_are_guessed(lon, lat, frame):
    # The likelier pair wins over x and y, which may be pixels.
    table = Table({lat: [-20.0, 30.0], "Y": [5000.0, 1.0], "X": [1.0, 2.0], lon: [10.0, 350.0]})
    if lon == "x":
        table = Table({"Y": [-20.0, 30.0], "X": [10.0, 350.0]})
    positions = positions_from_table(table)
    assert_same_places(positions,
                       SkyCoord([10, 350], [-20, 30], unit="deg", frame=parse_frame(frame)))
    assert positions.weight is None
    assert positions.flux is None
    assert positions_from_table(table, frame="ICRS").coord.frame.name == "icrs"


def test_a_mapping_overrides_the_guess():
    table = make_table(make_coord(), MY_RA=np.arange(7.0), other_weight=np.full(7, 2.0),
                       G=np.zeros(7))
    positions = positions_from_table(table,
                                     {"ra": "my_ra", "weight": "other_weight", "size": "z_phot"})
    np.testing.assert_allclose(positions.coord.ra.deg, np.arange(7), atol=1e-13)
    np.testing.assert_allclose(positions.coord.dec.deg, table["dec"], rtol=1e-13)
    np.testing.assert_array_equal(positions.weight, 2.0)
    np.testing.assert_allclose(positions.size, np.radians(table["z_phot"] / 3600))
    assert positions_from_table(table,
                                {"glon": "MY_RA", "glat": "G"}).coord.frame.name == "galactic"
    table.rename_columns(["ra", "dec"], ["RAB1950", "DEB1950"])
    assert positions_from_table(table,
                                {"ra": "RAB1950", "dec": "DEB1950"}).coord.frame.name == "fk4"


def test_units_of_columns():
    table = QTable(
        {
            "ra": [1.0, 2.0] * u.hourangle,
            "dec": [0.1, 0.2] * u.rad,
            "peak_flux": [3.0, 4.0] * u.mJy / u.beam,
            "maj": [1.0, 2.0] * u.arcmin,
        }
    )
    positions = positions_from_table(table)
    np.testing.assert_allclose(positions.coord.ra.deg, [15, 30])
    np.testing.assert_allclose(positions.coord.dec.rad, [0.1, 0.2])
    np.testing.assert_allclose(positions.flux, [3e-3, 4e-3])
    np.testing.assert_allclose(positions.size, np.radians([1 / 60, 2 / 60]))
    plain = Table({"ra": [1.0, 2.0], "dec": [0.1, 0.2]})
    np.testing.assert_allclose(positions_from_table(plain).coord.ra.deg, [1, 2])
    np.testing.assert_allclose(positions_from_table(plain, unit="rad").coord.ra.rad, [1, 2])
    hours = Table({"ra": [1.0, 2.0] * u.h, "dec": [1.0, 2.0] * u.deg})
    np.testing.assert_allclose(positions_from_table(hours, unit="rad").coord.ra.deg, [15, 30])


def test_guessed_columns_that_hold_something_else_are_passed_over(caplog):
    table = Table({"ra": [1.0, 2.0], "dec": [3.0, 4.0], "size": [3.0, 4.0] * u.pix,
                   "s": ["a", "b"]})
    with caplog.at_level(logging.INFO):
        positions = positions_from_table(table)
    assert positions.size is None
    assert positions.flux is None
    assert "'size' for the size is in pix, which is no rad" in caplog.text
    with pytest.raises(PositionsError, match="'s' for the flux holds texts"):
        positions_from_table(table, {"flux": "s"})
    table["weight"] = ["a", "b"]
    with pytest.raises(PositionsError, match="'weight' for the weight holds texts"):
        positions_from_table(table)


def test_masked_values():
    table = Table({"ra": [1.0, 2.0], "dec": [3.0, 4.0],
                   "flux": MaskedColumn([5.0, 6.0], mask=[False, True])})
    np.testing.assert_array_equal(positions_from_table(table).flux, [5.0, np.nan])
    table["dec"] = MaskedColumn([3.0, 4.0], mask=[False, True])
    with pytest.raises(PositionsError,
                       match="1 of 2 positions are empty, NaN or infinite, in row 2"):
        positions_from_table(table)


# ---------------------------------------------------------------------------------------------------------------------
# Plain lists


def write(tmp_path, text, name="list.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


PLAIN = SkyCoord([57.29579166666667, 57.25], [-30.0, -29.9775], unit="deg", frame=J2000)


@pytest.mark.parametrize(
    "text",
    [
        "57.29579166666667,-30\n57.25,-29.9775\n",
        "\ufeff57.29579166666667, -30.0\r\n57.25 , -29.9775\r\n",
        "# a list\n\n57.29579166666667 -30.0 # the first\n\t57.25\t-29.9775\n",
        "57.29579166666667,-30,\n57.25,-29.9775,\n",
        "03h49m10.99s,-30d00m00s\n03h49m00s,-29d58m39s\n",
        "03:49:10.99,-30:00:00\n03:49:00,-29:58:39\n",
        "03 49 10.99, -30 00 00\n03 49 00, -29 58 39\n",
        "03h49m10.99s -30.00.00.0\n03h49m00s -29.58.39.0\n",
        "J2000 03h49m10.99s -30d00m00s\nJ2000 03h49m00s -29d58m39s\n",
        "j2000, 03:49:10.99, -30.00.00\nj2000, 03:49:00, -29.58.39\n",
        "57.29579166666667deg,-30deg\n57.25deg,-29.9775deg\n",
        "J2000 57.29579166666667 -30\nJ2000 57.25 -29.9775",
        "57.29579166666667,-30\n03:49:00,-29:58:39\n",
    ],
)
def test_plain_lists_in_every_spelling(tmp_path, text):
    positions = read_positions(write(tmp_path, text))
    assert_same_places(positions, PLAIN)
    assert positions.weight is None
    assert "plain list" in positions.source


def test_plain_list_in_another_frame(tmp_path):
    path = write(tmp_path, "GALACTIC 12:30:00,-3:00:00,1\nGALACTIC 350.5,2,0\n")
    positions = read_positions(path)
    assert_same_places(positions, SkyCoord([12.5, 350.5], [-3, 2], unit="deg", frame="galactic"))
    np.testing.assert_array_equal(positions.weight, [1, 0])
    path = write(tmp_path, "12.5,-30\n")
    expected = SkyCoord([12.5], [-30], unit="deg", frame=parse_frame("B1950"))
    assert_same_places(read_positions(path, frame="b1950"), expected)


def test_plain_numbers_are_radians_only_inside_the_box(tmp_path, caplog):
    radians = write(tmp_path, "1.0,-0.5\n-6.28,1.57\n")
    with caplog.at_level(logging.INFO):
        positions = read_positions(radians)
    assert_same_places(positions, SkyCoord([1.0, -6.28], [-0.5, 1.57], unit="rad", frame=J2000))
    assert "unit told by the range of its numbers ('ra' in rad" in positions.source
    assert "taken to be in rad" in caplog.text
    assert_same_places(read_positions(radians, unit="deg"),
                       SkyCoord([1.0, -6.28], [-0.5, 1.57], unit="deg", frame=J2000))
    # One number outside the box makes all of them degrees.
    for text in ("1.0,-0.5\n6.29,0.1\n", "1.0,-0.5\n2.0,1.58\n"):
        positions = read_positions(write(tmp_path, text))
        assert positions.coord.ra.deg[0] == pytest.approx(1.0)
        assert "'ra' in deg" in positions.source
    # A list with texts in it was written by hand, in degrees.
    assert read_positions(write(tmp_path, "1.0,-0.5\n03:49:00,-29:58:39\n")).coord.ra.deg[0] == pytest.approx(1.0)
    # A header names columns, and a table is in degrees.
    assert read_positions(write(tmp_path,
                                "ra,dec\n1.0,0.5\n")).coord.ra.deg[0] == pytest.approx(1.0)


def test_weights_survive_to_the_last_bit(tmp_path):
    # The original STACKER took a weight below 1e-9 for one.
    positions = read_positions(write(tmp_path, "10,20,1e-12\n11,20,2.5e-05\n12,20,0\n13,20,3\n"))
    np.testing.assert_array_equal(positions.weight, [1e-12, 2.5e-5, 0.0, 3.0])


def test_the_published_list():
    if not EXAMPLE.exists():
        pytest.skip(f"the published example is not here: {EXAMPLE}")
    positions = read_positions(EXAMPLE)
    assert len(positions) == 90
    np.testing.assert_array_equal(positions.weight, 2.5e-5)
    expected = np.loadtxt(EXAMPLE, delimiter=",")
    assert_same_places(positions, SkyCoord(expected[:, 0], expected[:, 1], unit="deg", frame=J2000))
    centre = SkyCoord(np.mean(expected[:, 0]), np.mean(expected[:, 1]), unit="deg", frame=J2000)
    assert positions.coord.separation(centre).max() < 0.2 * u.deg


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10,20\n11,abc\n", r"line 2: 'abc' is no angle.*'11,abc'"),
        ("# remark\n\n10,20\n11\n", r"line 4: 1 fields where x,y or x,y,weight is wanted.*'11'"),
        ("10,20,1,5\n", r"line 1: 4 fields.*'10,20,1,5'"),
        ("10,20,1\n11,21\n", r"line 2: a weight must stand in every line or in none.*'11,21'"),
        ("10,20,1\n11,21,x\n", r"line 2: the weight 'x' is no number"),
        ("10,20,1\n11,21,-3\n", r"line 2: the weight is -3, it must be finite and not negative"),
        ("10,20,1\n11,21,nan\n", r"line 2: the weight is nan"),
        ("10,20\nnan,21\n", r"line 2: the position is NaN or infinite: 'nan,21'"),
        ("10,inf\n", r"line 1: the position is NaN or infinite"),
        ("10,20\n11,-90.1\n", r"line 2: the declination -90.1° lies beyond ±90°"),
        ("10,20\n361,0\n", r"line 2: the right ascension 361° lies beyond ±360°"),
        ("10,20\n03:49:00,-12:75:00\n", r"line 2: '-12:75:00' is no angle"),
        ("03:49:00,-91:00:00\n", r"line 1: the declination -91° lies beyond"),
        ("03:49:00,-30\n", r"line 1: one of x and y is a bare number and the other is not"),
        ("J2000 10 20\nICRS 11 20\n", r"line 2: the frame is ICRS where line 1 has J2000"),
        ("J2000 10 20\n11 20\n", r"line 2: the frame is None where line 1 has J2000"),
        ("J2000\n", r"line 1: 0 fields"),
        (",\n", r"line 1: 1 fields.*','"),
        ("10,20\n,,\n", r"line 2: '' is no angle.*',,'"),
        ("57.2x,-29\n", r"line 1: '57.2x' is no angle"),
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("# only\n# remarks\n", "holds only remarks"),
        ("ra,dec\n", "holds no positions"),
        ("ra,dec,name\n1,2,a\n3,4\n", r"line 3: 2 columns where the header has 3: '3,4'"),
        ("ra,dec\n1,2\n# remark\n3,4,5\n", r"line 4: 3 columns where the header has 2: '3,4,5'"),
        ("alt,az\n1,2\n", r"no columns of positions were found among alt, az; wanted are a pair"),
        ("ra,dec\n1,2\n3,\n", "1 of 2 positions are empty, NaN or infinite, in row 2"),
        ("ra,dec\n1,2\n3,x\n", "row 1 of the column 'dec': '2' is no angle"),
        ("ra,dec,weight\n1,2,0\n3,4,0\n", "all 2 weights are zero; leave the weights out"),
        ("10,20,0\n11,20,0\n", "all 2 weights are zero"),
    ],
)
def test_bad_text_files_say_what_is_wrong_and_where(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(PositionsError, match=message) as caught:
        read_positions(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_remarks_that_name_columns_and_hashes_in_names(tmp_path):
    # Read as x, y, weight, an identifier would become a right ascension.
    positions = read_positions(write(tmp_path,
                                     "# made by hand\n# id ra dec\n1 10.5 -20\n2 11.5 -21\n"))
    np.testing.assert_allclose(positions.coord.ra.deg, [10.5, 11.5])
    assert positions.table.colnames == ["id", "ra", "dec"]
    positions = read_positions(write(tmp_path, 'name,ra,dec\n"SN #3",10.5,-20\n'))
    assert positions.table["name"][0] == "SN #3"
    positions = read_positions(write(tmp_path, "alpha;delta;3FGL\n10.5;-20;x\n"))
    assert positions.coord.ra.deg[0] == pytest.approx(10.5)
    positions = read_positions(write(tmp_path, "u,q\n10.5,-20\n"), columns={"ra": "u", "dec": "q"})
    assert positions.coord.ra.deg[0] == pytest.approx(10.5)


def test_files_that_are_no_lists(tmp_path):
    with pytest.raises(PositionsError, match="there is no such file of positions"):
        read_positions(tmp_path / "missing.csv")
    with pytest.raises(PositionsError, match="this is a folder"):
        read_positions(tmp_path)
    binary = tmp_path / "list.dat"
    binary.write_bytes(b"\x93NUMPY\xff\xfe\x00")
    with pytest.raises(PositionsError, match="neither text in UTF-8 nor FITS"):
        read_positions(binary)
    for name, message in (("a.fits", "FITS file"), ("a.vot", "VOTable"), ("a.ecsv", "ECSV table")):
        with pytest.raises(PositionsError, match=f"the {message} cannot be read") as caught:
            read_positions(write(tmp_path, "some text\n", name))
        assert "\n" not in str(caught.value)
    from astropy.io import fits

    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(PositionsError, match="the FITS file holds no table"):
        read_positions(tmp_path / "image.fits")
    Table({"ra": np.zeros(0), "dec": np.zeros(0)}).write(tmp_path / "none.xml", format="votable")
    with pytest.raises(PositionsError, match="the list holds no positions"):
        read_positions(tmp_path / "none.xml")
    Table({"ra": np.zeros(0), "dec": np.zeros(0)}).write(tmp_path / "none.fits")
    with pytest.raises(PositionsError, match="the list holds no positions"):
        read_positions(tmp_path / "none.fits")


# ---------------------------------------------------------------------------------------------------------------------
# Regions


def make_regions():
    regions = pytest.importorskip("regions", reason="the package regions is not installed")
    coord = make_coord(5)
    size, angle = 3 * u.arcsec, 30 * u.deg
    shapes = [
        regions.PointSkyRegion(coord[0]),
        regions.CircleSkyRegion(coord[1], size),
        regions.EllipseSkyRegion(coord[2], size, 2 * size, angle),
        regions.RectangleSkyRegion(coord[3], size, 2 * size, angle),
        regions.CircleAnnulusSkyRegion(coord[4], size, 2 * size),
    ]
    return regions.Regions(shapes), coord


def test_ds9_regions(tmp_path):
    regions, coord = make_regions()
    regions[1].meta["text"] = "the pole"
    path = tmp_path / "list.reg"
    regions.write(path, format="ds9", precision=13)
    positions = read_positions(path)
    assert_same_places(positions, coord)
    assert list(positions.table["shape"]) == ["point", "circle", "ellipse", "rectangle",
                                              "circleannulus"]
    assert positions.table["label"][1] == "the pole"
    labels, index = positions.group_labels("shape")
    assert [labels[k] for k in index] == list(positions.table["shape"])


def test_crtf_regions(tmp_path):
    regions, coord = make_regions()
    path = tmp_path / "list.crtf"
    # The package writes a point in a way that neither it nor CASA reads; CASA's symbols are met
    # below.
    regions[1:].write(path, format="crtf", fmt=".13f", coordsys="fk5")
    assert_same_places(read_positions(path), coord[1:])


def test_regions_in_several_frames_with_texts_and_exclusions(tmp_path):
    pytest.importorskip("regions", reason="the package regions is not installed")
    path = write(
        tmp_path,
        "#CRTFv0\nglobal coord=J2000\n"
        "circle[[03h49m10.99s, -30.00.00.0], 3arcsec], label='first'\n"
        "ellipse[[42deg, 43deg], [3arcsec, 4arcsec], 30deg], coord=B1950\n"
        "symbol[[32.25deg, 12.5deg], o]\n"
        "-circle[[1deg, 2deg], 3arcsec]\nann circle[[1deg, 3deg], 3arcsec]\n",
        "list.crtf",
    )
    positions = read_positions(path)
    b1950 = SkyCoord(*to_frame(SkyCoord(42, 43, unit="deg", frame=parse_frame("B1950")), "J2000"),
                     unit="rad")
    expected = SkyCoord([57.29579166666667, b1950.ra.deg, 32.25], [-30, b1950.dec.deg, 12.5],
                        unit="deg", frame=J2000)
    assert_same_places(positions, expected)
    assert list(positions.table["label"]) == ["first", "", ""]


@pytest.mark.parametrize(("name", "text", "message"),
                         [("a.reg", "image\ncircle(10,20,3)\n",
                           "a circle is in pixels of an image"),
                          ("a.reg", 'fk5\ncircle(10,20,3")\nblob(1,2)\n',
                           r"line 3: 'blob\(1,2\)' is no region"),
                          ("a.reg", 'fk5\ncircle(10,20,3")\ncircle(a,20,3")\n',
                           r"line 3: 'circle\(a,20,3\"\)' is no region"),
                          ("a.reg", 'circle(10,20,3")\n', "line 1: .*frame"),
                          ("a.reg", "fk5\npolygon(10,20,11,20,11,21)\n", "a polygon has no centre"),
                          ("a.reg", "# Region file format: DS9\nfk5\n",
                           "the file holds no regions"),
                          ("a.reg", 'fk5\n-circle(10,20,3")\n', "the file holds no regions"),
                          ("a.crtf", "#CRTFv0\nglobal coord=J2000\ncircle[[10pix, 20pix], 3pix]\n",
                           "line 3"),
                          ("a.crtf", "#CRTFv0\ncircle[[10deg, 20deg], 3arcsec]\n",
                           "a circle is in pixels of an image or names no frame"),
                          ("a.crtf", "#CRTFv0\nglobal coord=J2000\nnonsense\n",
                           "line 3: 'nonsense' is no region"),],)
def test_bad_regions(tmp_path, name, text, message):
    pytest.importorskip("regions", reason="the package regions is not installed")
    with pytest.raises(PositionsError, match=message):
        read_positions(write(tmp_path, text, name))


def test_regions_are_told_by_content(tmp_path):
    pytest.importorskip("regions", reason="the package regions is not installed")
    path = write(tmp_path, '# Region file format: DS9\nfk5\ncircle(10,20,3")\n', "regions.txt")
    assert_same_places(read_positions(path), SkyCoord([10], [20], unit="deg", frame=J2000))


# ---------------------------------------------------------------------------------------------------------------------
# Positions in memory


def test_what_holds_positions_already():
    coord = make_coord(frame="icrs")
    positions = read_positions(coord)
    assert_same_places(positions, coord)
    assert read_positions(positions) is positions
    assert_ramp(read_positions(make_table(coord)))
    assert len(read_positions(coord[0])) == 1  # a scalar
    with pytest.raises(PositionsError,
                       match="columns and frame are for files and tables; SkyCoord has its own"):
        read_positions(coord, frame="J2000")
    with pytest.raises(PositionsError, match="positions were given as list"):
        read_positions([(1, 2)])
    with pytest.raises(CoordinateError, match="closest is J2000"):
        read_positions(make_table(coord), frame="J200")


def test_a_skycoord_loses_distance_and_motion():
    coord = SkyCoord(
        [1, 2] * u.deg,
        [3, 4] * u.deg,
        distance=[5, 6] * u.pc,
        pm_ra_cosdec=[1, 1] * u.mas / u.yr,
        pm_dec=[1, 1] * u.mas / u.yr,
    )
    positions = positions_from_coord(coord, weight=2.0)
    assert "s" not in positions.coord.data.differentials
    assert positions.coord.data.name == "unitspherical"
    np.testing.assert_array_equal(positions.weight, [2, 2])


def test_inputs_are_left_alone():
    weight = np.array([1e-12, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    table = make_table(make_coord())
    before = table.copy()
    positions = positions_from_table(table)
    positions.table["ra"][:] = 0
    positions.weight[:] = 0
    assert (table == before).all()
    positions_from_coord(make_coord(), weight).weight[:] = 0
    assert weight[0] == 1e-12


def test_subset():
    positions = positions_from_table(make_table(make_coord()))
    mask = np.array([False, True, False, True, False, False, True])
    for which, rows in (
        (mask, [1, 3, 6]),
        ([6, 0, 0], [6, 0, 0]),
        (slice(2, 4), [2, 3]),
        (-1, [6]),
        ([], []),
        (np.zeros(7, bool), []),
    ):
        part = positions.subset(which)
        assert len(part) == len(rows)
        np.testing.assert_array_equal(part.weight, positions.weight[rows])
        np.testing.assert_array_equal(part.redshift, positions.redshift[rows])
        np.testing.assert_array_equal(part.coord.ra.deg, positions.coord.ra.deg[rows])
        assert list(part.table["name"]) == [f"s{row}" for row in rows]
    for wrong in ([True, False], [7]):
        with pytest.raises(PositionsError, match="no such subset of 7 positions"):
            positions.subset(wrong)


def test_group_labels():
    table = make_table(
        make_coord(),
        bin=np.array([3, 1, 3, 2, 1, 1, 10]),
        survey=MaskedColumn(["a", "b", "a", "b", "a", "a", "b"], mask=[0, 0, 0, 0, 0, 0, 1]),
        depth=[1.5, np.nan, 1.5, 0.5, 0.5, 0.5, 0.5],
    )
    positions = positions_from_table(table)
    labels, index = positions.group_labels("type")
    assert labels == ["blue", "red"]
    np.testing.assert_array_equal(index, [0, 1, 1, 0, 1, 1, 0])
    labels, index = positions.group_labels("BIN")
    assert labels == ["1", "2", "3", "10"]
    np.testing.assert_array_equal(index, [2, 0, 2, 1, 0, 0, 3])
    labels, index = positions.group_labels("survey")
    assert labels == ["a", "b", "(none)"]
    assert index[-1] == 2
    labels, index = positions.group_labels("depth")
    assert labels == ["0.5", "1.5", "(none)"]
    assert index[1] == 2
    with pytest.raises(PositionsError,
                       match="no column 'typ'; the closest is 'type'; the columns are name, ra"):
        positions.group_labels("typ")
    with pytest.raises(PositionsError, match="'coord' does not hold one number or text a row"):
        positions_from_coord(make_coord()).group_labels("coord")


def test_duplicates_are_counted_and_warned_of_once():
    coord = make_coord(50)
    ra, dec = coord.ra.rad, coord.dec.rad
    ra[10], dec[10] = ra[20], dec[20]
    ra[11], dec[11] = ra[20], dec[20] + 3e-10  # 0.06 mas
    ra[12], dec[12] = ra[20], dec[20] + 1e-9  # 0.2 mas, its own source
    ra[0], ra[1], dec[0], dec[1] = 0.0, 2 * np.pi - 1e-16, 0.1, 0.1  # across right ascension 0
    coord = SkyCoord(ra, dec, unit="rad")
    with pytest.warns(DuplicatePositionsWarning,
                      match="3 of 50 positions repeat another") as caught:
        positions = positions_from_coord(coord)
    assert len(caught) == 1
    assert len(positions) == 50
    assert positions.n_duplicates() == 3
    assert positions.n_duplicates(1e-11) == 2
    assert positions.n_duplicates(1.5e-9) == 4
    assert positions.subset([5]).n_duplicates() == 0
    assert positions.subset(np.zeros(20000, int)).n_duplicates() == 19999


@pytest.mark.parametrize(("ra", "dec", "message"),
                         [([1, np.nan, 3], [1, 2, np.inf],
                           "2 of 3 positions are empty, NaN or infinite, in rows 2, 3"),
                          ([1, 2, 3], [1, 2, 91], "beyond ±90° in row 3, the first 91°"),
                          ([1, 400, 3], [1, 2, 3], "beyond ±360° in row 2, the first 400°"),
                          ([np.nan] * 8, [0] * 8, "in rows 1, 2, 3, 4, 5, …;"),],)
def test_bad_positions_of_a_table(ra, dec, message):
    with pytest.raises(PositionsError, match=message):
        positions_from_table(Table({"ra": ra, "dec": dec}))


def test_bad_positions_of_a_skycoord():
    with pytest.raises(PositionsError,
                       match="1 of 2 positions are empty, NaN or infinite, in row 2"):
        positions_from_coord(SkyCoord([1, np.nan], [2, 3], unit="deg"))
    with pytest.raises(PositionsError, match="holds no positions"):
        positions_from_coord(SkyCoord([], [], unit="deg"))
    with pytest.raises(PositionsError, match=r"positions of shape \(2, 2\) were given"):
        positions_from_coord(SkyCoord(np.ones((2, 2)), np.ones((2, 2)), unit="deg"))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, -1, 1], "weights must be finite and not negative, but row 2 says -1"),
        ([1, 1, np.nan], "row 3 says nan"),
        ([np.inf, 1, 1], "row 1 says inf"),
        ([0, 0, 0], "all 3 weights are zero"),
        ([1, 2], r"3 positions came with weights of shape \(2,\)"),
    ],
)
def test_bad_weights(weight, message):
    with pytest.raises(PositionsError, match=message):
        positions_from_coord(make_coord(3), weight)


def test_bad_calls():
    table = make_table(make_coord())
    with pytest.raises(PositionsError, match="there is no column 'RAx'; the closest is 'ra'"):
        positions_from_table(table, {"ra": "RAx"})
    with pytest.raises(PositionsError, match="columns names 'rah'; it may name coord, ra"):
        positions_from_table(table, {"rah": "ra"})
    with pytest.raises(PositionsError, match="unit='arcsec' is unknown"):
        positions_from_table(table, unit="arcsec")
    with pytest.raises(PositionsError, match="'ra' is in m, which is no angle"):
        positions_from_table(Table({"ra": [1.0] * u.m, "dec": [1.0]}))
    with pytest.raises(PositionsError, match="'ra' named as coord holds no SkyCoord"):
        positions_from_table(table, {"coord": "ra"})
    with pytest.raises(PositionsError, match="'ra' does not hold one number or text a row"):
        positions_from_table(Table({"ra": np.ones((2, 2)), "dec": [1, 2]}))
    with pytest.raises(PositionsError, match="3 positions came with flux of length 2"):
        Positions(make_coord(3), flux=[1, 2])
    with pytest.raises(PositionsError, match=r"positions of shape \(\) were given"):
        Positions(make_coord(3)[0])
    with pytest.raises(PositionsError, match="memory: the list holds no positions"):
        validate_positions(Positions(make_coord(3)[:0]))


# ----------------------------------------------------------- lists as archives and tools write them

BLANK = " "
VIZIER = f"""#
#   VizieR Astronomical Server
#Column\t_RAJ2000\t(F14.10)\tRight ascension
_RAJ2000\t_DEJ2000\tName\tGmag
deg\tdeg\t{BLANK}\tmag
--------------\t--------------\t------\t---------
150.1000000000\t002.2000000000\ta\t20.1
150.2000000000\t-00.3000000000\tb\t{BLANK}

"""
SEXAGESIMAL = f"""RAJ2000\tDEJ2000\tName
"h:m:s"\t"d:m:s"\t{BLANK}
-----------\t-----------\t----
10 00 24.00\t+02 12 00.0\ta
10 00 48.00\t-00 18 00.0\t{BLANK}

"""
BYTE_BY_BYTE = """Title: A test
Authors: A. Author
Table: 1
================================================================================
Byte-by-byte Description of file: table1.dat
--------------------------------------------------------------------------------
   Bytes Format Units  Label     Explanations
--------------------------------------------------------------------------------
   1-  2 I2     h      RAh       Hour of right ascension (J2000)
   4-  5 I2     min    RAm       Minute of right ascension (J2000)
   7- 10 F4.1   s      RAs       Second of right ascension (J2000)
      12 A1     ---    DE-       Sign of the declination (J2000)
  13- 14 I2     deg    DEd       Degree of declination (J2000)
  16- 17 I2     arcmin DEm       Arcminute of declination (J2000)
  19- 22 F4.1   arcsec DEs       Arcsecond of declination (J2000)
--------------------------------------------------------------------------------
10 00 24.0 +02 12 00.0
10 00 48.0 -00 18 00.0
"""
DRAWN = """+-------+------+------+
| ra    | dec  | name |
+-------+------+------+
| 150.1 | 2.2  | a b  |
| 150.2 | -0.3 | c    |
+-------+------+------+
"""
IPAC = """\\fixlen = T
| ra       | dec    |
| double   | double |
| deg      | deg    |
 150.1      2.2
 150.2      -0.3
"""
HOURS = "10.00666666666667,2.2\n10.01333333333333,-0.3\n"
DEGREES = "150.1,2.2\n150.2,-0.3\n"


@pytest.mark.parametrize(("name", "text"),
                         [("vizier.tsv", VIZIER), ("vizier.csv", VIZIER.replace("\t", ";")),
                          ("sexagesimal.tsv", SEXAGESIMAL),
                          ("sexagesimal.txt", SEXAGESIMAL.replace("\t", "|")),
                          ("mrt.txt", BYTE_BY_BYTE), ("drawn.txt", DRAWN), ("ipac.tbl", IPAC),
                          ("units.csv", "ra,dec\nhourangle,deg\n" + HOURS),
                          ("h.csv", "ra,dec\nh,deg\n" + HOURS),
                          ("ra_hours.csv", "ra_hours,dec\n" + HOURS),
                          ("bracket.csv", "RA [h],Dec [deg]\n" + HOURS),
                          ("RAh.csv", "RAh,DEd\n" + HOURS),
                          ("RAdeg.csv", "RAdeg,DEdeg\n" + DEGREES),
                          ("topcat.csv", "RA(deg),Dec(deg)\n" + DEGREES),
                          ("cont.csv", "ra_deg_cont,dec_deg_cont\n" + DEGREES),
                          ("icrs.csv", "RA_ICRS,DE_ICRS\n" + DEGREES),
                          ("underscore.csv", "_RA,_DE\n" + DEGREES),
                          ("pos.csv", "pos_ra,pos_dec\n" + DEGREES),
                          ("ned.txt",
                           "No.|Object Name|RA|DEC\n1|NGC 1|10h00m24s|+02d12m00s\n2|NGC "
                           "2|10h00m48s|-00d18m00s\n"),
                          ("ned_degrees.txt",
                           "No.|Object Name|RA(deg)|DEC(deg)\n1|NGC 1|150.1|2.2\n2|NGC "
                           "2|150.2|-0.3\n"),
                          ("parts.csv",
                           "RAh,RAm,RAs,DE-,DEd,DEm,DEs\n10,0,24.0,+,2,12,0\n10,0,48.0,-,0,18,0\n"),
                          ("and_parts.csv",
                           "RAdeg,DEdeg,RAh,RAm,DEd,DEm\n150.1,2.2,1,2,3,4\n150.2,-0.3,1,2,3,4\n"),
                          ("frame.csv",
                           "RA (J2000),Dec (J2000)\n10:00:24,+02:12:00\n10:00:48,-00:18:00\n")])
def test_lists_of_archives_and_tools(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    positions = read_positions(tmp_path / name)
    np.testing.assert_allclose(positions.coord.spherical.lon.deg, [150.1, 150.2], atol=1e-9)
    np.testing.assert_allclose(positions.coord.spherical.lat.deg, [2.2, -0.3], atol=1e-9)


@pytest.mark.parametrize("name", ["hours.fits", "hours.vot", "hours.ecsv"])
def test_a_unit_of_hours_is_taken_at_its_word(tmp_path, name):
    table = Table({"RAJ2000": [10.0 + 0.4 / 60], "DEJ2000": [-0.3]}, units=("h", "deg"))
    table.write(tmp_path / name,
                format={"fits": "fits", "vot": "votable", "ecsv": "ascii.ecsv"}[name.split(".")[1]])
    assert read_positions(tmp_path / name).coord[0].ra.deg == pytest.approx(150.1, abs=1e-9)


def test_sexagesimal_texts_of_a_votable(tmp_path):
    table = Table({"RA": ["10 00 24.0"], "DEC": ["-00 18 00"]})
    table["RA"].unit, table["DEC"].unit = u.Unit('"h:m:s"', parse_strict="silent"), u.Unit(
        '"d:m:s"', parse_strict="silent")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this is no unit of the standard
        table.write(tmp_path / "simbad.vot", format="votable")
    positions = read_positions(tmp_path / "simbad.vot")
    assert (positions.coord[0].ra.deg,
            positions.coord[0].dec.deg) == (pytest.approx(150.1), pytest.approx(-0.3))


@pytest.mark.parametrize(("text", "message"),
                         [("ra_deg,ra_hours,dec\n150.1,10,2.2\n",
                           "the columns ra_deg and ra_hours may each be the ra; name those that "
                           "are meant"),
                          ("ra_vla,dec_vla,ra_opt,dec_opt\n150.1,2.2,150.0,2.0\n",
                           "among ra_vla, dec_vla, ra_opt, dec_opt; .*--columns ra="),
                          ("ra,dec_hours\n10,2\n", "among ra, dec_hours"),
                          ("ra,dec\nhourangle,hourangle\n10,2\n", "'dec' is in hours"),
                          ('ra,dec\n"h:m:s",deg\n100024.0,2.2\n',
                           "'ra' is in h:m:s and holds plain numbers"),
                          ("RAh,RAm,RAs,DEd,DEm,DEs\n10,0,24,0,12,0\n",
                           "without a column of signs"),
                          ("RAh,RAm,RAs,DE-,DEd,DEm,DEs\n10,0,24,+,a,12,0\n", "'DEd' holds texts")])
def test_what_is_ambiguous_is_refused_with_what_was_found(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(PositionsError, match=message):
        read_positions(tmp_path / "list.csv")


def test_named_columns_settle_what_is_ambiguous(tmp_path):
    (tmp_path / "list.csv").write_text("ra_deg,ra_hours,dec\n150.1,10.00666666666667,2.2\n")
    for name in ("ra_deg", "ra_hours"):
        assert read_positions(tmp_path / "list.csv",
                              columns={"ra": name}).coord[0].ra.deg == pytest.approx(150.1)
