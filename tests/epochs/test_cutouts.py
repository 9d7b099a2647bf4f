"""Cutouts: pixels as they stand where one tile has them, no seam where tiles meet, an answer that says what it is."""

import io

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from survey_archive import BEAMS, SOURCES, drawn, make_archive, write_tile
from uvstack.epochs.server.archive_files import open_archive
from uvstack.epochs.server.cutout_files import Region, cutouts
from uvstack.errors import LimitError, OutsideArchiveError

CLEAN = {"noise": 0.0}


def read(cutout):
    with fits.open(io.BytesIO(cutout.to_bytes())) as hdus:
        return hdus[0].header.copy(), np.squeeze(hdus[0].data).astype(float)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return open_archive(make_archive(tmp_path_factory.mktemp("clean"), **CLEAN))


def test_pixels_of_one_tile_are_those_of_the_file(tmp_path):
    path = write_tile(tmp_path, 1, "T11t01")
    (cut,) = cutouts(open_archive(tmp_path), Region(0.031, 11.99, 0.006), "ql")
    assert not cut.resampled
    header, data = read(cut)
    with fits.open(path) as hdus:
        whole, place = hdus[0].data[0, 0], WCS(hdus[0].header, fix=False).celestial
    x, y = (round(float(v)) for v in place.wcs_world2pix(*WCS(header, fix=False).celestial.wcs_pix2world(0, 0, 0), 0))
    np.testing.assert_array_equal(data, whole[y:y + data.shape[0], x:x + data.shape[1]])
    assert header["NAXIS"] == 4
    # The header's grid is that of the tile: the same sky at the same pixel.
    np.testing.assert_allclose(WCS(header, fix=False).celestial.wcs_pix2world(0, 0, 0),
                               place.wcs_pix2world(x, y, 0), atol=1e-12)


@pytest.mark.parametrize(("ra", "dec"), [(0.0005, 12.001), (359.9985, 12.004), (-0.0015, 12.0), (360.0, 11.995)])
def test_tiles_that_meet_across_0h_join_without_a_seam(clean, ra, dec):
    for cut in cutouts(clean, Region(ra % 360, dec, 0.024), "ql"):
        header, data = read(cut)
        assert cut.resampled
        assert np.isfinite(data).all()
        truth = drawn(header, SOURCES, BEAMS[int(cut.epoch[-1])])
        # Splines of the fifth order, 2.6 pixels a beam: 0.3 % of the brightest.
        assert np.abs(data - truth).max() < 3e-3 * SOURCES[0][2]


def test_every_epoch_has_one_grid_and_says_what_it_is(clean):
    found = cutouts(clean, Region(0.0, 12.0, 0.02), "ql")
    assert [cut.epoch for cut in found] == ["VLASS1", "VLASS2", "VLASS3"]
    heads = [read(cut)[0] for cut in found]
    for name in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "NAXIS1", "NAXIS2"):
        assert len({head[name] for head in heads}) == 1
    for epoch, head in zip((1, 2, 3), heads, strict=True):
        assert (head["BMAJ"] * 3600, head["BMIN"] * 3600, head["BPA"]) == pytest.approx(BEAMS[epoch])
        assert (head["BAND"], head["EPOCHNAM"], head["PRODUCT"], head["PRODVERS"]) == ("S", f"VLASS{epoch}", "ql", "v1")
        assert head["CAMPAIGN"] == f"VLASS{epoch}.1"
        assert head["NTILES"] == 2
    centre = SkyCoord(0.0, 12.0, unit="deg")
    middle = WCS(heads[0], fix=False).celestial.wcs_pix2world((heads[0]["NAXIS1"] - 1) / 2, (heads[0]["NAXIS2"] - 1) / 2, 0)
    assert SkyCoord(*middle, unit="deg").separation(centre).arcsec < 1.0


def test_the_newest_version_is_cut(tmp_path):
    write_tile(tmp_path, 1, "T11t01", gain=1.0, **CLEAN)
    write_tile(tmp_path, 1, "T11t01", gain=2.0, version=10, **CLEAN)
    write_tile(tmp_path, 1, "T11t01", gain=3.0, version=9, **CLEAN)
    (cut,) = cutouts(open_archive(tmp_path), Region(0.031, 11.99, 0.006), "ql")
    assert np.nanmax(cut.data) == pytest.approx(2.0 * 0.030, rel=0.1)
    assert cut.versions == ("v10",)


def test_blank_pixels_are_filled_by_the_neighbour_and_do_not_spread(tmp_path):
    def hole(data, header):
        data[60:140, 150:] = np.nan

    write_tile(tmp_path, 1, "T11t01", sources=[], edit=lambda data, _: data.__iadd__(1.0), **CLEAN)
    write_tile(tmp_path, 1, "T11t36", sources=[],
               edit=lambda data, header: (data.__iadd__(1.0), hole(data, header)), **CLEAN)
    (cut,) = cutouts(open_archive(tmp_path), Region(0.0, 12.0, 0.02), "ql")
    seen = np.isfinite(cut.data)
    assert seen.mean() > 0.9
    np.testing.assert_allclose(cut.data[seen], 1.0, atol=1e-5)


def test_what_the_archive_does_not_cover_is_blank_and_told(clean):
    found = cutouts(clean, Region(0.0236 + 100 / 3600, 12.0, 0.02), "ql")
    for cut in found:
        assert 0.3 < cut.covered < 0.7
        assert "blank" in cut.remarks[0]
        assert np.isnan(read(cut)[1][:, 0]).all()


def test_single_epochs_sizes_in_pixels_and_refusals(clean):
    (cut,) = cutouts(clean, Region(0.0236, 12.0, 41, pixels=True), "ql", epochs={"VLASS2"})
    assert cut.data.shape == (41, 41)
    assert cut.epoch == "VLASS2"
    with pytest.raises(OutsideArchiveError, match="no Quick Look image"):
        cutouts(clean, Region(100.0, -20.0, 0.01), "ql")
    for region in (Region(0.0, 12.0, 0.7), Region(0.0, 12.0, 3000, pixels=True), Region(0.0, 12.0, 90.0)):
        with pytest.raises(LimitError):
            cutouts(clean, region, "ql", most_pixels=2048)


def test_a_turned_grid_of_another_epoch_is_brought_to_the_newest(tmp_path):
    write_tile(tmp_path, 1, "T11t01", centre=(0.05, 11.98), **CLEAN)
    write_tile(tmp_path, 2, "T11t01", **CLEAN)
    old, new = cutouts(open_archive(tmp_path), Region(0.031, 11.99, 0.006), "ql")
    assert (old.resampled, new.resampled) == (True, False)
    truth = drawn(read(old)[0], SOURCES, BEAMS[1])
    assert np.abs(read(old)[1] - truth).max() < 3e-3 * 0.03


def test_tiles_of_different_beams_are_joined_with_one(tmp_path):
    """Common beam by hand: both have their axes north and east, so the larger of each is taken."""
    write_tile(tmp_path, 1, "T11t01", beam=(4.0, 2.8, 0.0), **CLEAN)
    write_tile(tmp_path, 1, "T11t36", beam=(3.2, 3.0, 90.0), **CLEAN)
    (cut,) = cutouts(open_archive(tmp_path), Region(0.0005, 12.001, 0.012), "ql")
    header, data = read(cut)
    assert (header["BMAJ"] * 3600, header["BMIN"] * 3600) == pytest.approx((4.0, 3.2), rel=1e-6)
    assert "brought to" in cut.remarks[0]
    truth = drawn(header, SOURCES, (4.0, 3.2, header["BPA"]))
    assert np.abs(data - truth).max() < 4e-3 * SOURCES[0][2]
    # Alone it keeps its own.
    (alone,) = cutouts(open_archive(tmp_path), Region(0.031, 11.99, 0.006), "ql")
    assert read(alone)[0]["BMAJ"] * 3600 == pytest.approx(4.0)
