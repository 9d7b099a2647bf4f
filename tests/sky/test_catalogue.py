"""Catalogues: every kind of file, the sky and the places they stand for, rows left out."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, ICRS, Galactic, SkyCoord
from astropy.table import MaskedColumn, QTable, Table

import uvstack
from factories import ARCSEC, CENTRE, Spw, edit, make_ms, offset, read
from oracles import predict_components
from uvstack.errors import CatalogueWarning, ComponentError, PositionsError
from uvstack.io.catalogues import read_catalogue, read_components, write_catalogue
from uvstack.io.tables import read_positions
from uvstack.sky.beam import Beam
from uvstack.sky.catalogue import (
    COLUMNS,
    catalogue_of,
    components_of,
    is_measured,
    normalised,
    positions_of,
)
from uvstack.sky.components import components

BLUR = Beam(6 * ARCSEC, 4 * ARCSEC, 0.5)
PLACES = [
    offset(200 * ARCSEC, -300 * ARCSEC),
    offset(-400 * ARCSEC, 100 * ARCSEC),
    offset(20 * ARCSEC, 10 * ARCSEC),
]
FLUXES = np.array([1.0, 0.4, 0.2])
#: The sources themselves; the second is a point.
SIZES = [Beam(9 * ARCSEC, 4 * ARCSEC, 0.6), Beam(0.0, 0.0), Beam(5 * ARCSEC, 5 * ARCSEC)]
FRAMES = {"ICRS": ICRS(), "GALACTIC": Galactic(), "B1950": FK4(equinox="B1950", obstime="B1979.9")}
ALPHA = np.array([-0.7, 0.0, 0.3])


def measured(**changes):
    """A catalogue of three sources with every column, seen with a beam; J2000 at 1.4 GHz."""
    n = len(PLACES)
    seen = np.rad2deg(np.array([BLUR.convolved(size) for size in SIZES]).T)
    true = np.rad2deg(np.array(SIZES).T)
    table = QTable()
    for name, column in COLUMNS.items():
        if column.kind == "number":
            values = np.linspace(0.01, 0.02, n)
            table[name] = values if column.unit is None else values * column.unit
        elif column.kind == "count":
            table[name] = np.arange(1, n + 1)
    table["name"], table["shape"] = ["A1", "B", "Cé"[:1]], ["gaussian", "point", "gaussian"]
    table["ra"], table["dec"] = np.rad2deg(np.array(PLACES).T) * u.deg
    table["flux"], table["spectral_index"] = FLUXES * u.Jy, ALPHA
    for i, name in enumerate(("major", "minor")):
        table[f"fwhm_{name}"] = (seen[i] * u.deg).to(u.arcsec)
        table[f"deconvolved_{name}"] = (true[i] * u.deg).to(u.arcsec)
    table["position_angle"], table["deconvolved_angle"] = seen[2] * u.deg, true[2] * u.deg
    for name in ("curvature", "q", "u", "v"):
        table[name] = np.zeros(n)
    table["target"] = [True, False, True]
    table["fit_status"], table["flags"] = ["converged", "two minima", ""], ["", "", ""]
    table.meta |= {"frame": "J2000", "reference_frequency": 1.4e9, "made_by": "a test"}
    for name, values in changes.items():
        table[name] = values
    return table


def same(a, b, tolerance=0.0):
    assert b.colnames == a.colnames
    for name in a.colnames:
        assert getattr(b[name], "unit", None) == getattr(a[name], "unit", None), name
        if a[name].dtype.kind in "fi":
            np.testing.assert_allclose(b[name], a[name], rtol=tolerance, err_msg=name)
        else:
            assert list(b[name]) == list(a[name]), name
        assert b[name].info.description == a[name].info.description
    for key in ("frame", "reference_frequency", "made_by"):
        assert b.meta[key] == a.meta[key]


@pytest.mark.parametrize("frame", ["J2000", "ICRS", "GALACTIC", "B1950"])
@pytest.mark.parametrize("ending", ["ecsv", "csv", "fits", "xml", "vot"])
def test_what_is_written_comes_back(tmp_path, ending, frame):
    table = measured(rms=[1e-3, np.nan, 2e-3] * u.Jy / u.beam)
    table.meta["frame"] = frame
    table["my_column"] = [1.0, 2.0, 3.0] * u.K
    write_catalogue(tmp_path / f"a.{ending}", table)
    again = read_catalogue(tmp_path / f"a.{ending}")
    wanted = normalised(table)
    same(wanted, again)
    write_catalogue(tmp_path / f"b.{ending}", again)
    same(wanted, read_catalogue(tmp_path / f"b.{ending}"))
    # An inventory of another maker can read it too.
    if ending in ("ecsv", "fits", "xml"):
        other = QTable.read(tmp_path / f"a.{ending}")
        assert other["flux_error"].unit == u.Jy
    places = read_positions(tmp_path / f"a.{ending}")
    assert places.coord.frame.name == {"J2000": "fk5", "B1950": "fk4"}.get(frame, frame.lower())
    np.testing.assert_allclose(places.coord.spherical.lat.deg, table["dec"].value, rtol=1e-14)


def test_every_column_says_its_unit_and_its_meaning():
    table = normalised(measured())
    assert set(table.colnames) == set(COLUMNS)
    for name, column in COLUMNS.items():
        assert table[name].info.description == column.meaning
        assert getattr(table[name], "unit", None) == column.unit
    assert COLUMNS["peak"].unit == u.Jy / u.beam


def test_other_units_are_converted_and_nothing_is_modified():
    given = QTable(
        {
            "ra": [10.0] * u.hourangle,
            "dec": [-1800.0] * u.arcsec,
            "flux": [3.0] * u.mJy,
            "ra_error": [50.0] * u.mas,
            "peak": [2.0] * u.uJy / u.beam,
            "flags": [0],
        }
    )
    table = normalised(given)
    assert table["ra"].value == pytest.approx([150])
    assert table["dec"].value == pytest.approx([-0.5])
    assert table["flux"].value == pytest.approx([3e-3])
    assert table["ra_error"].to_value(u.arcsec) == pytest.approx([0.05])
    assert table["peak"].value == pytest.approx([2e-6])
    assert table["flags"][0] == 0
    assert given["flux"].unit == u.mJy
    assert given["flux"].info.description is None
    assert table.meta["frame"] == "J2000"


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("ra", [1.0, 2.0, 3.0], "column 'ra' has no unit; give it one that converts to deg"),
        (
            "flux",
            [1.0, 2.0, 3.0] * u.m,
            "column 'flux' is in m; wanted is a unit that converts to Jy",
        ),
        ("peak", [1.0, 2.0, 3.0] * u.Jy, "column 'peak' is in Jy; wanted is a unit"),
        ("spectral_index", [1.0, 2.0, 3.0] * u.Jy, "is in Jy; it is a plain number"),
        ("flux_error", [1.0, -2.0, 3.0] * u.Jy, "row 2 has flux_error -2; it must not be negative"),
        ("dec", [1.0, 2.0, 93.0] * u.deg, "row 3 has a dec of 93 deg"),
        ("n_pixels", [1.0, 2.5, 3.0], "column n_pixels: wanted whole numbers"),
        ("target", ["yes", "no", "no"], "wanted are true and false"),
        ("significance", ["9", "ten", "1"], "wanted numbers"),
        ("island", MaskedColumn([1, 2, 3], mask=[False, True, False]), "has empty cells"),
        ("reference_frequency", [1.4, 1.4, 1.5] * u.GHz, "given at 2 frequencies"),
        ("reference_frequency", [1.4, 1.4, 1.4] * u.m, "cannot be read; wanted are Hz"),
    ],
)
def test_what_is_no_catalogue(column, values, message):
    with pytest.raises(ComponentError, match=message) as caught:
        normalised(measured(**{column: values}), "list.fits")
    assert str(caught.value).startswith("list.fits")
    assert "\n" not in str(caught.value)


def test_a_constant_frequency_stands_in_the_header():
    table = measured(reference_frequency=[1.4, 1.4, 1.4] * u.GHz)
    assert normalised(table).meta["reference_frequency"] == 1.4e9
    assert "reference_frequency" not in normalised(table).colnames
    table.meta["reference_frequency"] = 1.5e9
    with pytest.raises(ComponentError, match="given at 2 frequencies"):
        normalised(table)
    table.meta["frame"] = "J200"
    with pytest.raises(ComponentError, match="frame J200"):
        normalised(table)


def test_the_sky_has_the_sizes_without_the_beam():
    sky = components_of(measured())
    assert list(sky.shape) == ["gaussian", "point", "gaussian"]
    assert np.transpose([sky.fwhm_major, sky.fwhm_minor, sky.position_angle]) == pytest.approx(
        np.array(SIZES)
    )
    assert np.transpose([sky.ra, sky.dec]) == pytest.approx(np.array(PLACES), abs=1e-14)
    assert sky.flux.tolist() == FLUXES.tolist()
    assert sky.flux_at([2.8e9])[:, 0] == pytest.approx(FLUXES * 2**ALPHA)
    assert list(sky.names) == ["A1", "B", "C"]
    # Of a point no angle and no minor axis is asked; an index that is not known is flat.
    nan = measured(
        deconvolved_minor=[4, np.nan, 5] * u.arcsec,
        deconvolved_angle=[30, np.nan, np.nan] * u.deg,
        spectral_index=[np.nan, 0.0, 0.3],
    )
    assert components_of(nan).fwhm_minor == pytest.approx(np.array([4, 0, 5]) * ARCSEC)
    assert components_of(nan).spectral_index[0] == 0
    nan["deconvolved_minor"][0] = np.nan
    with pytest.raises(
        ComponentError, match="row 1 has a deconvolved_major and no deconvolved_minor"
    ):
        components_of(nan)
    # A fit of a Gaussian that the beam explains is a point.
    assert components_of(measured(shape=["gaussian"] * 3)).shape[1] == "point"


@pytest.mark.parametrize("frame", FRAMES)
def test_other_frames_are_turned_to_j2000(frame):
    table = measured()
    places = SkyCoord([3.0, 2.0, 1.0], [0.5, 0.2, -0.4], unit="rad", frame="fk5")
    there = places.transform_to(FRAMES[frame], merge_attributes=False).spherical
    table["ra"], table["dec"] = there.lon.to(u.deg), there.lat.to(u.deg)
    table.meta["frame"] = frame
    sky = components_of(table)
    # There and back through the E-terms of FK4 astropy is right to 0.1 mas.
    assert sky.ra == pytest.approx(places.ra.rad, abs=5e-10)
    assert sky.dec == pytest.approx(places.dec.rad, abs=5e-10)


def test_observed_sizes_are_not_taken_for_true_ones():
    table = measured()
    table.remove_columns([name for name in table.colnames if name.startswith("deconvolved")])
    with pytest.raises(ComponentError, match="sizes as observed, with the beam"):
        components_of(table)
    table.remove_columns([name for name in table.colnames if name.startswith("fwhm")])
    table["shape"] = "point"
    assert (components_of(table).fwhm_major == 0).all()
    table.remove_column("flux")
    with pytest.raises(ComponentError, match="has no flux, the integrated one"):
        components_of(table)


def test_rows_that_cannot_be_used_are_told():
    table = measured(flags=["", "edge", ""])
    with pytest.warns(
        CatalogueWarning, match=r"list: left out are, of 3 rows, 1 flagged \(row 2\)"
    ):
        assert list(components_of(table, source="list").names) == ["A1", "C"]
    assert len(components_of(table, flagged=True)) == 3
    table = measured(flux=[1.0, -0.4, np.nan] * u.Jy)
    with pytest.warns(
        CatalogueWarning, match=r"1 not finite \(row 3\), 1 negative in flux \(row 2\)"
    ):
        assert len(components_of(table)) == 1
    table["flux"] = -1.0 * u.Jy
    with (
        pytest.raises(ComponentError, match="none of 3 rows can be used: 3 negative in flux"),
        pytest.warns(CatalogueWarning),
    ):
        components_of(table)


@pytest.mark.parametrize(
    "flags", [[1, 64, 0], ["", "4", ""], MaskedColumn(["a", "b", "c"], mask=[True, False, True])]
)
def test_places_leave_out_what_is_flagged_and_tell_of_negative_ones(flags):
    table = measured(flags=flags, flux=[1.0, 0.4, -0.2] * u.Jy)
    with pytest.warns(CatalogueWarning) as told:
        places = positions_of(table)
    assert "1 flagged (row 2)" in str(told[0].message)
    assert "1 of 2 sources have a negative flux (row 2)" in str(told[1].message)
    assert places.coord.ra.deg == pytest.approx(table["ra"].value[[0, 2]])
    table["dec"][0], table["flux"][2] = np.nan * u.deg, 0.2 * u.Jy
    with pytest.warns(CatalogueWarning, match="1 without a place"):
        assert len(positions_of(table, flagged=True)) == 2


def test_weights_where_they_are_asked_for():
    table = measured(flux_error=[1.0, 2.0, 4.0] * u.mJy)
    table.remove_column("weight")
    assert positions_of(table).weight is None
    assert positions_of(table, inverse_variance=True).weight == pytest.approx([1, 0.25, 0.0625])
    table["weight"] = [3.0, 2.0, 1.0]
    assert positions_of(table).weight.tolist() == [3, 2, 1]
    table["flux_error"][1] = 0
    with pytest.raises(PositionsError, match="row 2 has no positive flux_error"):
        positions_of(table, inverse_variance=True)


def test_components_are_a_catalogue_and_come_back(tmp_path):
    sky = components(
        [0.1, 0.2, 0.3],
        [0.1, 0.2, 0.3],
        [1.0, 2.0, 3.0],
        reference_frequency=2e9,
        shape=["point", "disc", "gaussian"],
        fwhm_major=np.array([0, 9, 4]) * ARCSEC,
        fwhm_minor=np.array([0, 3, 4]) * ARCSEC,
        position_angle=[0.0, 2.0, 0.7],
        spectral_index=[-0.7, 0, 0.1],
        curvature=0.1,
        q=0.1,
        target=[True, False, True],
        names=["a", "b", "c"],
    )
    table = catalogue_of(sky)
    assert is_measured(table)
    assert not is_measured(sky.to_table())
    write_catalogue(tmp_path / "a.fits", table)
    for again in (
        components_of(table),
        read_components(tmp_path / "a.fits"),
        components_of(sky.to_table()),
    ):
        for name in ("names", "shape", "target"):
            assert list(getattr(again, name)) == list(getattr(sky, name))
        for name in (
            "ra",
            "dec",
            "flux",
            "fwhm_major",
            "fwhm_minor",
            "position_angle",
            "spectral_index",
            "curvature",
            "q",
        ):
            assert getattr(again, name) == pytest.approx(getattr(sky, name), rel=1e-14)


def test_a_plain_csv_is_in_the_units_of_the_columns(tmp_path):
    (tmp_path / "a.csv").write_text(
        "ra,dec,flux,flux_error,deconvolved_major,ra_error,flags\n"
        "10,20,0.5,0.01,0,0.2,\n11,20,0.5,0.01,,0.1,bad\n"
    )
    table = read_catalogue(tmp_path / "a.csv")
    assert (table["ra_error"] == [0.2, 0.1] * u.arcsec).all()
    assert np.isnan(table["deconvolved_major"][1])
    with pytest.warns(CatalogueWarning, match="1 not finite"):
        assert len(read_components(tmp_path / "a.csv")) == 1
    (tmp_path / "b.csv").write_text("10 20 0.5\n")
    with pytest.raises(ComponentError, match="names no columns"):
        read_catalogue(tmp_path / "b.csv")
    with pytest.raises(ComponentError, match="is no .ecsv"):
        write_catalogue(tmp_path / "a.txt", table)


@pytest.mark.parametrize("ending", ["ecsv", "csv", "fits", "vot"])
def test_a_catalogue_is_subtracted_and_leaves_nothing(tmp_path, ending):
    """Points and Gaussians with spectra, seen with a beam; a flagged one that is not there."""
    ms = make_ms(tmp_path / "a.ms", n_times=1, scale=0.5)
    sky = [
        {
            "ra": ra,
            "dec": dec,
            "flux": flux,
            "at": 1.4e9,
            "alpha": alpha,
            "shape": "gaussian" if size.fwhm_major else "point",
            "major": size.fwhm_major,
            "minor": size.fwhm_minor,
            "angle": size.position_angle,
        }
        for (ra, dec), flux, alpha, size in zip(PLACES, FLUXES, ALPHA, SIZES, strict=True)
    ]
    uvw = read(ms, "UVW")
    edit(
        ms,
        "DATA",
        lambda vis: vis + predict_components(uvw, Spw().frequency, sky, *CENTRE)[:, :, None],
    )
    table = Table(measured())
    table.add_row(table[0])
    table["flags"] = ["", "", "", "artefact"]
    path = tmp_path / f"found.{ending}"
    write_catalogue(path, table)
    with pytest.warns(CatalogueWarning, match="1 flagged"):
        uvstack.subtract(ms, path)
    assert np.abs(read(ms, "DATA")).max() > 0.5
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < 1e-5


def test_a_stack_at_a_catalogue_is_a_stack_at_its_places(tmp_path):
    ms = make_ms(tmp_path / "a.ms", sources=[(*place, 0.1) for place in PLACES], noise=0.01)
    table = measured()
    results = []
    write_catalogue(tmp_path / "a.csv", table)
    for given in (
        SkyCoord(*np.array(PLACES).T, unit="rad", frame="fk5"),
        tmp_path / "a.csv",
        table,
        positions_of(table),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results.append(uvstack.stack(ms, given, weights="equal"))
    for one in results[1:]:
        assert one.flux == pytest.approx(results[0].flux, rel=1e-9)
        assert one.n_positions == 3
