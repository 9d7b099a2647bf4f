"""`uvstack.extract` as users call it: truths that were drawn, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

import uvstack
from uvstack.errors import (
    ComponentError,
    DuplicatePositionsWarning,
    ImageError,
    OutputError,
    SelectionError,
    UvstackError,
    UvstackWarning,
)
from uvstack.io.catalogues import read_catalogue
from uvstack.sky.source_flags import Flag

#: arcsec, arcsec, degrees from north through east; pixels of an arcsec.
BEAM = (5.0, 4.0, 30.0)
K = 4 * np.log(2)


def header(n=160, unit="Jy/beam", beam=BEAM, **cards):
    made = fits.Header()
    made["CTYPE1"], made["CTYPE2"] = "RA---SIN", "DEC--SIN"
    made["CRVAL1"], made["CRVAL2"] = 150.0, -30.0
    made["CRPIX1"] = made["CRPIX2"] = n // 2 + 1
    made["CDELT1"], made["CDELT2"] = -1 / 3600, 1 / 3600
    made["CUNIT1"] = made["CUNIT2"] = "deg"
    made["RADESYS"], made["BUNIT"], made["RESTFRQ"] = "ICRS", unit, 1.4e9
    if beam:
        made["BMAJ"], made["BMIN"], made["BPA"] = beam[0] / 3600, beam[1] / 3600, beam[2]
    made.update(cards)
    return made


def gaussian(n, x0, y0, major, minor, angle):
    """Of peak 1, FWHM and angle as on the sky: x runs to the west."""
    y, x = np.mgrid[:n, :n]
    east, north, p = -(x - x0), y - y0, np.radians(angle)
    along, across = east * np.sin(p) + north * np.cos(p), east * np.cos(p) - north * np.sin(p)
    return np.exp(-K * ((along / major) ** 2 + (across / minor) ** 2))


def noise(n, seed, sigma=1e-3):
    kernel = np.fft.rfft2(np.fft.ifftshift(gaussian(n, n // 2, n // 2, *BEAM)))
    white = np.random.default_rng(seed).standard_normal((n, n))
    smooth = np.fft.irfft2(np.fft.rfft2(white) * kernel, s=(n, n))
    return sigma * smooth / smooth.std()


@pytest.fixture
def field(tmp_path):
    """An image of four sources in noise of 1 mJy/beam, and their truth: x, y, peak, major, minor, angle."""
    truth = [(40.3, 50.8, 0.05, *BEAM), (110.2, 40.4, 0.2, *BEAM),
             (50.7, 115.1, 0.1, 12.0, 7.0, 75.0), (120.9, 118.3, 0.03, *BEAM)]
    image = noise(160, 4) + 2e-3
    for x, y, peak, *shape in truth:
        image += peak * gaussian(160, x, y, *shape)
    path = tmp_path / "field.fits"
    fits.writeto(path, image.astype("f4"), header())
    return path, truth


def row_of(table, x, y):
    distance = np.hypot(table["x"].value - x, table["y"].value - y)
    assert distance.min() < 2
    return table[int(np.argmin(distance))]


@pytest.mark.parametrize("options",
                         [{}, {"weighting": "gls"}, {"errors": "condon"}, {"method": "moments"}])
def test_sources_come_out_within_their_errors(field, options):
    path, truth = field
    table = uvstack.extract(path, **options)
    assert len(table) == 4
    for x, y, peak, major, minor, angle in truth:
        row = row_of(table, x, y)
        flux = peak * major * minor / (BEAM[0] * BEAM[1])
        # Moments' errors are a try, as their source says.
        most = 8 if options.get("method") == "moments" else 4.5
        for name, right in (("peak", peak), ("flux", flux), ("fwhm_major", major),
                            ("fwhm_minor", minor)):
            assert abs(row[name].value - right) < most * row[f"{name}_error"].value, name
        sky = SkyCoord(row["ra"], row["dec"]).separation(WCS(header()).pixel_to_world(x, y)).arcsec
        assert sky < most * np.hypot(row["ra_error"].value, row["dec_error"].value)
        if major > 10 and not options.get("method"):
            assert abs((row["position_angle"].value - angle + 90) % 180
                       - 90) < 4.5 * row["position_angle_error"].value
            assert abs(row["deconvolved_major"].value - np.sqrt(142.0)) < 1.5
            assert row["resolved_significance"] > 20
        elif not options:
            assert row["deconvolved_major"].value == 0
            assert row["deconvolved_major_limit"].value > 0
        assert abs(row["rms"].value / 1e-3 - 1) < 0.1
        assert abs(row["background"].value - 2e-3) < 3e-4
    assert table.meta["frame"] == "ICRS"


def test_maps_add_up_and_all_is_written_whole(field, tmp_path):
    path, truth = field
    names = {f"{kind}_out": tmp_path / f"{kind}.fits"
             for kind in ("rms", "background", "residual", "model", "islands")}
    table = uvstack.extract(path, out=tmp_path / "c.fits", regions_out=tmp_path / "c.reg",
                            report=tmp_path / "page", **names)
    maps = {name: np.squeeze(fits.getdata(file)).astype(float) for name, file in names.items()}
    image = fits.getdata(path).astype(float)
    assert np.allclose(image, maps["background_out"] + maps["model_out"] + maps["residual_out"],
                       atol=1e-7)
    assert abs(maps["residual_out"].std() / 1e-3 - 1) < 0.05
    assert set(np.unique(maps["islands_out"])) == {0, 1, 2, 3, 4}
    assert (maps["rms_out"] > 0).all()
    assert abs(np.median(maps["rms_out"]) / 1e-3 - 1) < 0.08
    lines = [line for line in (tmp_path / "c.reg").read_text().splitlines()
             if line.startswith("ellipse")]
    assert len(lines) == 4
    first = [float(v) for v in lines[0][8:-1].split(",")]
    assert first[2] * 3600 * 2 == pytest.approx(table["fwhm_major"][0].value, rel=1e-4)
    assert first[4] == pytest.approx(table["position_angle"][0].value + 90)
    told = json.loads((tmp_path / "page" / "result.json").read_text())
    assert told["n_sources"] == 4
    assert told["provenance"]["inputs"]["image"] == str(path)
    with pytest.raises(OutputError, match="exists"):
        uvstack.extract(path, out=tmp_path / "c.fits")
    uvstack.extract(path, out=tmp_path / "c.fits", overwrite=True)


@pytest.mark.parametrize("ending", ["fits", "ecsv", "xml", "csv"])
def test_a_catalogue_in_each_kind_of_file_reads_back(field, tmp_path, ending):
    path, _ = field
    table = uvstack.extract(path, out=tmp_path / f"c.{ending}")
    back = read_catalogue(tmp_path / f"c.{ending}")
    for name in ("ra", "flux", "flux_error", "deconvolved_major", "flags", "significance"):
        assert np.allclose(np.asarray(back[name]), np.asarray(table[name]), rtol=1e-6,
                           equal_nan=True), name
    assert back.meta["frame"] == "ICRS"


def test_what_was_found_is_what_subtract_takes(field):
    from uvstack.sky.catalogue import components_of

    path, truth = field
    sky = components_of(uvstack.extract(path))
    assert len(sky) == 4
    assert sorted(sky.shape) == ["gaussian", "point", "point", "point"]
    assert sky.flux.sum() == pytest.approx(0.05 + 0.2 + 0.1 * 84 / 20 + 0.03, rel=0.03)


def test_forced_places_keep_their_order_and_names(field):
    path, truth = field
    places = [WCS(header()).pixel_to_world(x, y)
              for x, y, *_ in (*truth, (80.0, 80.0), (900.0, 80.0))]
    table = Table({"name": list("fedcba"), "ra": [p.ra.deg for p in places] * u.deg,
                   "dec": [p.dec.deg for p in places] * u.deg})
    found = uvstack.extract(path, forced=table)
    assert list(found["name"]) == list("fedcba")
    for row, (_, _, peak, *shape) in zip(found, truth, strict=False):
        if shape[0] == BEAM[0]:
            assert abs(row["peak"].value - peak) < 4 * row["peak_error"].value
            assert row["flux"].value == pytest.approx(row["peak"].value, rel=1e-3)
    assert abs(found["peak"][4].value) < 4 * found["peak_error"][4].value
    assert found["flags"][5] & Flag.OFF_IMAGE
    assert np.isnan(found["peak"][5])
    assert found["ra"][5].value == pytest.approx(places[5].ra.deg)
    # Half a beam off the peak is too low, unless it may move.
    off = Table({"ra": [places[1].ra.deg], "dec": [places[1].dec.deg + 1.5 / 3600]})
    assert uvstack.extract(path, forced=off)["peak"][0].value < 0.19
    moved = uvstack.extract(path, forced=off, search_radius=float(np.radians(3 / 3600)))
    assert abs(moved["peak"][0].value - 0.2) < 4 * moved["peak_error"][0].value


def test_a_close_pair_of_forced_places_is_fitted_together(tmp_path):
    image = noise(120, 2, 1e-4) + 0.1 * gaussian(120, 60, 60, *BEAM) + 0.05 * gaussian(
        120, 64.5, 60, *BEAM)
    fits.writeto(tmp_path / "pair.fits", image.astype("f4"), header(120))
    places = WCS(header(120)).pixel_to_world([60.0, 64.5], [60.0, 60.0])
    found = uvstack.extract(tmp_path / "pair.fits", forced=places)
    assert np.allclose(found["peak"].value, [0.1, 0.05], atol=6e-4)
    # The same place twice cannot be told apart: both rows have what is there.
    with pytest.warns(DuplicatePositionsWarning):
        twice = uvstack.extract(tmp_path / "pair.fits", forced=places[[0, 0]])
    assert np.allclose(twice["peak"].value, twice["peak"].value[0])
    assert twice["peak"].value[0] > 0.09
    assert (twice["flags"] & Flag.NOT_CONVERGED).all()
    assert not (twice["flags"] & Flag.OFF_IMAGE).any()


def test_negative_sources_are_found_where_they_are_asked_for(tmp_path):
    image = noise(160, 3) + 0.05 * gaussian(160, 40, 40, *BEAM) - 0.08 * gaussian(
        160, 110, 100, *BEAM)
    fits.writeto(tmp_path / "v.fits", image.astype("f4"), header())
    assert len(uvstack.extract(tmp_path / "v.fits")) == 1
    found = uvstack.extract(tmp_path / "v.fits", negative=True)
    assert np.allclose(found["peak"].value, [0.05, -0.08], atol=4e-3)
    assert np.allclose(found["flux"].value, [0.05, -0.08], atol=8e-3)
    assert (found["peak_error"].value > 0).all()


def test_blends_are_split_and_their_flux_is_kept(tmp_path):
    image = noise(160, 6, 1e-4) + 0.1 * gaussian(160, 70, 70, *BEAM) + 0.07 * gaussian(
        160, 77, 73, *BEAM)
    fits.writeto(tmp_path / "blend.fits", image.astype("f4"), header())
    found = uvstack.extract(tmp_path / "blend.fits")
    assert np.allclose(np.sort(found["peak"].value), [0.07, 0.1], atol=8e-4)
    assert (found["flags"] & Flag.DEBLENDED).all()
    assert len(set(found["island"])) == 1
    assert len(uvstack.extract(tmp_path / "blend.fits", deblend=0)) == 1


def test_units_are_carried(tmp_path):
    image = noise(160, 4) + 0.05 * gaussian(160, 80, 80, *BEAM)
    fits.writeto(tmp_path / "m.fits", (image * 1e3).astype("f4"), header(unit="mJy/beam"))
    found = uvstack.extract(tmp_path / "m.fits", out=tmp_path / "m.ecsv")
    assert found["flux"].unit == u.mJy
    assert read_catalogue(tmp_path
                          / "m.ecsv")["flux"][0].to_value(u.Jy) == pytest.approx(0.05, rel=0.1)
    for unit in ("K", ""):
        fits.writeto(tmp_path / "k.fits", image.astype("f4"), header(unit=unit), overwrite=True)
        found = uvstack.extract(tmp_path / "k.fits", out=tmp_path / "k.ecsv", overwrite=True)
        assert str(found["peak"].unit or "") == unit
        assert abs(found["peak"][0].value - 0.05) < 4e-3
        with pytest.raises(ComponentError):
            uvstack.sky.catalogue.components_of(read_catalogue(tmp_path / "k.ecsv"))


def test_other_noise_background_and_detection_image(field, tmp_path):
    path, truth = field
    found = uvstack.extract(path, rms=7e-3, background="2e-3")
    assert len(found) == 3
    assert np.allclose(found["rms"].value, 7e-3)
    fits.writeto(tmp_path / "n.fits", np.full((160, 160), 7e-3, "f4"), header())
    assert len(uvstack.extract(path, rms=tmp_path / "n.fits")) == 3
    data = fits.getdata(path).copy()
    data[:, :80] = noise(160, 9)[:, :80]
    fits.writeto(tmp_path / "d.fits", data, header())
    assert len(uvstack.extract(path, detection_image=tmp_path / "d.fits")) == 2
    fits.writeto(tmp_path / "s.fits", data[:100], header())
    with pytest.raises(ImageError, match="one shape"):
        uvstack.extract(path, rms=tmp_path / "s.fits")


def test_without_a_beam_there_are_peaks_but_no_fluxes(tmp_path):
    image = noise(300, 4) + 0.05 * gaussian(300, 150, 140, *BEAM)
    fits.writeto(tmp_path / "b.fits", image.astype("f4"), header(300, beam=None))
    found = uvstack.extract(tmp_path / "b.fits")
    assert len(found) == 1
    assert abs(found["peak"][0].value - 0.05) < 4e-3
    assert np.isnan(found["flux"][0])
    assert found["flags"][0] & Flag.NO_BEAM
    # With one that is given all is there.
    beam = (np.radians(5 / 3600), np.radians(4 / 3600), np.radians(30))
    assert uvstack.extract(tmp_path / "b.fits",
                           beam=beam)["flux"][0].value == pytest.approx(0.05, rel=0.1)


def test_an_image_without_coordinates_is_measured_in_pixels(tmp_path):
    image = noise(160, 4) + 0.05 * gaussian(160, 80.3, 70.6, *BEAM)
    fits.writeto(tmp_path / "p.fits", image.astype("f4"))
    found = uvstack.extract(tmp_path / "p.fits", beam=BEAM[:2] + (np.radians(30),),
                            out=tmp_path / "p.ecsv")
    assert abs(found["x"][0].value - 80.3) < 0.3
    assert np.isnan(found["ra"][0])
    assert found["fwhm_major"].unit == u.pix


def test_a_beam_in_pixels_is_for_images_without_coordinates(tmp_path):
    from click.testing import CliRunner

    from uvstack.cli.main import group

    image = noise(160, 4) + 0.05 * gaussian(160, 80.3, 70.6, *BEAM)
    path = str(tmp_path / "p.fits")
    fits.writeto(path, image.astype("f4"), fits.Header({"BMAJ": 5 / 3600, "BMIN": 4 / 3600}))
    # Degrees say nothing of pixels whose size is not known.
    with pytest.warns(UvstackWarning, match="no coordinates .*--beam 5pix,4pix,30deg"):
        found = uvstack.extract(path)
    assert found["flags"][0] & Flag.NO_BEAM
    out = str(tmp_path / "p.ecsv")
    told = ["extract", path, "--beam", "5pix,4pix,30deg", "--out", out, "--no-report"]
    assert CliRunner().invoke(group, told, catch_exceptions=False).exit_code == 0
    found = read_catalogue(out)
    assert found["flags"][0] == 0
    assert abs(found["flux"][0].value - 0.05) < 4 * found["flux_error"][0].value
    with pytest.raises(ImageError, match="in pixels, --beam 5pix,4pix,30deg"):
        uvstack.extract(path, beam=(2.4e-5, 1.9e-5, 0.5))
    fits.writeto(tmp_path / "sky.fits", image.astype("f4"), header())
    with pytest.raises(ImageError, match="'5.0 pix', .* in rad"):
        uvstack.extract(tmp_path / "sky.fits", beam=(5 * u.pix, 4 * u.pix, 0.5))
    same = [uvstack.extract(tmp_path / "sky.fits", beam=beam)["flux"][0].value
            for beam in (None, (5 * u.arcsec, 4 * u.arcsec, 30 * u.deg))]
    assert same[0] == pytest.approx(same[1], rel=1e-5)


def test_an_image_cut_short_leaves_no_file_open(tmp_path):
    path = tmp_path / "whole.fits"
    fits.writeto(path, np.zeros((160, 160), "f4"), header())
    (tmp_path / "cut.fits").write_bytes(path.read_bytes()[:9000])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ImageError, match="cut short") as kept:
        uvstack.extract(tmp_path / "cut.fits")
    # With the exception and its frames still there.
    assert kept.value is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_catalogue_in_fits_tells_the_image_of_a_path_with_accents(tmp_path):
    image = noise(160, 4) + 0.05 * gaussian(160, 80.3, 70.6, *BEAM)
    path = tmp_path / "caf\xe9.fits"
    fits.writeto(path, image.astype("f4"), header())
    uvstack.extract(path, out=tmp_path / "o.fits")
    assert read_catalogue(tmp_path / "o.fits").meta["image"] == str(tmp_path / "caf\\xe9.fits")


def test_what_helps_where_few_pixels_are_good(tmp_path):
    image = noise(160, 4) + 0.05 * gaussian(160, 80.3, 70.6, *BEAM)
    y, x = np.mgrid[:160, :160]
    # Two boxes at a corner of nine: a larger one holds enough. A twentieth of all: none does.
    for name, good, advice in (("a", x + y < 150, None), ("b", (x // 8 + 3 * (y // 8)) % 20 == 0, "give noise and background")):
        fits.writeto(tmp_path / f"{name}.fits", np.where(good, image, np.nan).astype("f4"), header())
        if advice is None:
            uvstack.extract(tmp_path / f"{name}.fits")
            continue
        with pytest.raises(ImageError, match=advice) as refused:
            uvstack.extract(tmp_path / f"{name}.fits")
        assert "larger" not in str(refused.value)
        uvstack.extract(tmp_path / f"{name}.fits", rms=1e-3, background=0.0)


def test_blank_and_zero_pixels_do_not_count(field, tmp_path):
    path, truth = field
    data = fits.getdata(path).copy()
    data[:, :20], data[:15] = 0.0, np.nan
    data[150:, 150:] = np.inf
    data[45:60, 44:60] = np.nan
    fits.writeto(tmp_path / "z.fits", data, header())
    found = uvstack.extract(tmp_path / "z.fits")
    assert len(found) == 4
    touched = row_of(found, *truth[0][:2])
    assert touched["flags"] & Flag.BLANK
    assert abs(row_of(found, *truth[1][:2])["peak"].value - 0.2) < 5e-3
    assert abs(np.median(found["rms"].value) / 1e-3 - 1) < 0.1


@pytest.mark.parametrize("kind", [">i2", ">f4", ">f8"])
def test_numbers_of_any_kind_and_four_axes(tmp_path, kind):
    image = 1000 * (noise(160, 4) + 0.05 * gaussian(160, 80, 80, *BEAM))
    cards = header(CTYPE3="FREQ", CRVAL3=1.4e9, CDELT3=1e6, CRPIX3=1, CTYPE4="STOKES", CRVAL4=1,
                   CDELT4=1, CRPIX4=1)
    fits.writeto(tmp_path / "i.fits", image.astype(kind)[None, None], cards)
    found = uvstack.extract(tmp_path / "i.fits")
    assert len(found) == 1
    assert abs(found["peak"][0].value - 50) < 5
    assert found.meta["reference_frequency"] == 1.4e9


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: d * np.nan, {}, "blank"),
        (lambda d: d * 0 + 3, {}, "noise of the image is 0"),
        (None, {"detection": -1}, "detection is -1; .* above 0 σ"),
        (None, {"analysis": 6}, "above detection"),
        (None, {"fdr": 2}, "fdr is 2; .* above 0 and up to 1"),
        (None, {"method": "fits"}, "did you mean fit"),
        (None, {"connectivity": 6}, "one of 8, 4"),
        (None, {"peaks": "highest"}, "one of interpolated, pixel"),
        (None, {"min_pixels": 0}, "min_pixels is 0"),
        (None, {"deblend": 1.5}, "deblend is 1.5"),
        (None, {"deblend_fraction": 1}, "deblend_fraction is 1"),
        (None, {"filter_size": 4}, "odd"),
        (None, {"detect": "max"}, "one of mean, chi-squared"),
        (None, {"background": "inf"}, "background is inf"),
        (None, {"beam": (1e-9, 1e-9, 0)}, "pixels across"),
        (None, {"rms": 0}, "above 0"),
        (None, {"box": 2}, "box is 2"),
        (None, {"forced": "nowhere.csv"}, "nowhere.csv"),
        (None, {"search_radius": -1}, "search_radius"),
    ],
)
def test_what_cannot_be_is_one_clear_line(field, tmp_path, change, options, message):
    path, _ = field
    if change is not None:
        fits.writeto(tmp_path / "c.fits", change(fits.getdata(path)), header())
        path = tmp_path / "c.fits"
    with pytest.raises(UvstackError, match=message) as caught:
        uvstack.extract(path, **options)
    assert "\n" not in str(caught.value)
    # A number or word that is none is of one kind, whichever.
    if not options.keys() & {"beam", "forced"} and change is None:
        assert type(caught.value) is SelectionError


def test_an_image_smaller_than_a_box(tmp_path):
    image = noise(64, 4)[:24, :30] + 0.05 * gaussian(64, 12, 13, *BEAM)[:24, :30]
    fits.writeto(tmp_path / "t.fits", image.astype("f4"), header(24))
    found = uvstack.extract(tmp_path / "t.fits")
    assert abs(row_of(found, 12, 13)["peak"].value - 0.05) < 5e-3


def test_false_discovery_rate_and_thresholds(tmp_path):
    """In pure noise hardly anything at α = 1 %; a source is found, and more with a looser α."""
    fits.writeto(tmp_path / "n.fits", noise(200, 8).astype("f4"), header(200))
    assert len(uvstack.extract(tmp_path / "n.fits", fdr=0.01)) == 0
    image = noise(200, 8) + sum(s * 1e-3 * gaussian(200, 20 + 20 * i, 100, *BEAM)
                                for i, s in enumerate((4, 5, 6, 8, 12, 20, 40)))
    fits.writeto(tmp_path / "s.fits", image.astype("f4"), header(200))
    few, more = (len(uvstack.extract(tmp_path / "s.fits", fdr=alpha)) for alpha in (1e-4, 0.1))
    assert 3 <= few <= more <= 8


def test_weighted_fits_of_small_images_are_fits(tmp_path):
    """Of 160² pixels the measured correlation is uncertain: weighted fits of extended sources end well, within their errors."""
    pulls = []
    for seed in range(6):
        image = noise(160, seed) + 0.1 * gaussian(160, 50.7, 115.1, 12.0, 7.0, 75.0)
        fits.writeto(tmp_path / "g.fits", image.astype("f4"), header(), overwrite=True)
        row = row_of(uvstack.extract(tmp_path / "g.fits", weighting="gls"), 50.7, 115.1)
        assert row["fit_status"] == "fit: converged"
        pulls.append((row["flux"].value - 0.42) / row["flux_error"].value)
    assert abs(np.mean(pulls)) < 1.5
    assert np.max(np.abs(pulls)) < 4


def test_significance_is_that_of_the_maximum_that_was_compared(tmp_path):
    """Points of 5.2 σ at the corners of pixels: what is found has a significance above the threshold, of pixels alone fewer."""
    image = np.zeros((230, 230))
    for i in range(7):
        for j in range(7):
            image += 5.2e-3 * gaussian(230, 25.5 + 30 * i, 25.5 + 30 * j, *BEAM)
    fits.writeto(tmp_path / "c.fits", (image + noise(230, 9, 1e-4)).astype("f4"), header(230))
    given = {"rms": 1e-3, "background": 0}
    found = uvstack.extract(tmp_path / "c.fits", **given)
    assert len(found) > 45
    assert (found["significance"] > 5).all()
    assert np.mean(found["significance"]) == pytest.approx(5.2, abs=0.08)
    of_pixels = uvstack.extract(tmp_path / "c.fits", peaks="pixel", **given)
    assert len(of_pixels) < 25


def test_sizes_without_their_bias_are_ellipses(tmp_path):
    """A spike of noise whose size would be no ellipse once its bias is off: it keeps the size that was fitted."""
    fits.writeto(tmp_path / "n.fits", noise(200, 4).astype("f4"), header(200))
    found = uvstack.extract(tmp_path / "n.fits", detection=2.8, analysis=2.5)
    fitted = found["fit_status"] == "fit: converged"
    assert fitted.sum() > 10
    for name in ("fwhm_major", "fwhm_minor", "fwhm_major_error", "fwhm_minor_error"):
        assert (found[name].value[fitted] > 0).all()
    # No narrower than a tenth of the beam's area allows.
    assert (found["fwhm_minor"].value[fitted] * found["fwhm_major"].value[fitted] > 0.1 * 20).all()


def test_fluxes_of_points_are_better_with_the_shape_of_the_beam(tmp_path):
    """49 points of 10 σ: the scatter of fluxes falls to that of peaks, errors say so, sizes stay free."""
    places = [(25 + 30 * i, 25 + 30 * j) for i in range(7) for j in range(7)]
    image = noise(230, 4) + sum(0.01 * gaussian(230, x + 0.3, y - 0.2, *BEAM) for x, y in places)
    fits.writeto(tmp_path / "p.fits", image.astype("f4"), header(230))
    free = uvstack.extract(tmp_path / "p.fits", rms=1e-3, background=0)
    point = uvstack.extract(tmp_path / "p.fits", rms=1e-3, background=0, unresolved="point")
    told = point["fit_status"] == "fit: point"
    assert told.sum() > 40
    assert point["flux_error"].value[told].mean() < 0.7 * free["flux_error"].value[told].mean()
    pull = (point["flux"].value[told] - 0.01) / point["flux_error"].value[told]
    assert abs(pull.mean()) < 0.5
    assert 0.75 < pull.std() < 1.25
    assert np.allclose(point["flux"].value[told], point["peak"].value[told])
    assert np.allclose(point["fwhm_major"].value, free["fwhm_major"].value)


def test_the_flux_of_a_blend_has_the_error_of_the_sum(tmp_path):
    """Over 40 realisations: the sum of two components scatters as its error says, less than both would by themselves."""
    sums, errors, apart = [], [], []
    pair = 0.05 * gaussian(90, 42, 45, *BEAM) + 0.04 * gaussian(90, 47.5, 47, *BEAM)
    for seed in range(40):
        fits.writeto(tmp_path / "b.fits", (noise(90, seed) + pair).astype("f4"), header(90),
                     overwrite=True)
        found = uvstack.extract(tmp_path / "b.fits", rms=1e-3, background=0)
        if len(found) == 2:
            assert len(set(found["source"])) == 1
            assert found["source_flux"][0].value == pytest.approx(found["flux"].value.sum())
            sums.append(found["source_flux"][0].value)
            errors.append(found["source_flux_error"][0].value)
            apart.append(np.hypot(*found["flux_error"].value))
    assert len(sums) >= 30
    assert np.std(sums) == pytest.approx(np.mean(errors), rel=0.35)
    assert abs(np.mean(sums) - 0.09) < 4 * np.mean(errors) / np.sqrt(len(sums)) + 5e-4
    assert abs(np.mean(apart) / np.mean(errors) - 1) > 0.005


def test_expected_fluxes_and_systematic_errors_are_columns(field, tmp_path):
    path, _ = field
    plain = uvstack.extract(path)
    found = uvstack.extract(path, counts_slope=1.5, lowest_flux=1e-3,
                            position_systematic=float(np.radians(0.1 / 3600)), flux_systematic=0.03,
                            out=tmp_path / "c.ecsv")
    assert np.allclose(found["flux"].value, plain["flux"].value)
    # To first order S − (q + 1) σ²/S.
    first = found["flux"].value - 2.5 * found["flux_error"].value ** 2 / found["flux"].value
    assert np.allclose(found["expected_flux"].value, first, rtol=2e-3)
    assert np.allclose(found["flux_systematic"].value, 0.03 * found["flux"].value)
    assert np.allclose(found["position_systematic"].value, 0.1)
    with pytest.raises(SelectionError, match="lower limit"):
        uvstack.extract(path, counts_slope=1.5)


def test_a_map_of_beams_sets_fluxes_and_sizes(field, tmp_path):
    """A beam of twice the area halves the flux there."""
    path, truth = field
    beams = np.ones((3, 160, 160)) * np.array(BEAM)[:, None, None]
    beams[:2] /= 3600
    beams[0, :, 80:] *= 2
    fits.writeto(tmp_path / "beams.fits", beams)
    plain, found = uvstack.extract(path), uvstack.extract(path, psf_map=tmp_path / "beams.fits")
    right = plain["x"].value > 80
    assert np.allclose(found["flux"].value[~right], plain["flux"].value[~right], rtol=1e-3)
    assert np.allclose(found["flux"].value[right], plain["flux"].value[right] / 2, rtol=1e-3)
    with pytest.raises(ImageError, match="BMAJ, BMIN and BPA"):
        uvstack.extract(path, psf_map=path)


@pytest.mark.parametrize("cards",
                         [{"CDELT1": 1 / 3600}, {"CDELT2": -1 / 3600},
                          {"PC1_1": -1.0, "PC2_2": -1.0, "PC1_2": 0.0}])
def test_pixels_are_those_of_the_file_whatever_its_axes(tmp_path, cards):
    """Axes the other way round: x, y and the maps are the file's, position angles are mirrored or not on the sky."""
    image = noise(160, 4) + 0.2 * gaussian(160, 40.3, 60.8, 12.0, 6.0, 30.0)
    fits.writeto(tmp_path / "m.fits", image.astype("f4"), header(**cards))
    found = uvstack.extract(tmp_path / "m.fits", residual_out=tmp_path / "r.fits",
                            beam=(2.4e-5, 1.9e-5, 0.0))
    assert abs(found["x"][0].value - 40.3) < 0.2
    assert abs(found["y"][0].value - 60.8) < 0.2
    mirrored = "PC1_1" not in cards
    assert abs(found["position_angle"][0].value - (150 if mirrored else 30)) < 2
    place = WCS(header(**cards)).pixel_to_world(40.3, 60.8)
    assert SkyCoord(found["ra"][0], found["dec"][0]).separation(place).arcsec < 0.3
    left = np.squeeze(fits.getdata(tmp_path / "r.fits"))
    assert abs(left[55:67, 34:47].max()) < 0.03


@pytest.mark.parametrize("ending", ["fits", "ecsv", "xml", "csv"])
def test_nothing_found_is_an_empty_catalogue_everywhere(tmp_path, ending):
    fits.writeto(tmp_path / "n.fits", noise(160, 8).astype("f4"), header())
    found = uvstack.extract(
        tmp_path / "n.fits", detection=9, out=tmp_path / f"c.{ending}", report=tmp_path / "page",
        regions_out=tmp_path / "c.reg")
    assert len(found) == 0
    back = read_catalogue(tmp_path / f"c.{ending}")
    assert len(back) == 0
    assert set(found.colnames) <= set(back.colnames)
    assert (tmp_path / "c.reg").read_text().startswith("# Region file format: DS9")
    assert "no source was found" in (tmp_path / "page" / "index.html").read_text()


def test_a_source_as_wide_as_the_boxes_is_flagged(tmp_path):
    image = noise(300, 4) + 0.05 * gaussian(300, 150, 150, 90, 80, 20)
    fits.writeto(tmp_path / "w.fits", image.astype("f4"), header(300))
    found = uvstack.extract(tmp_path / "w.fits")
    assert found["flags"][0] & Flag.LARGE
    larger = uvstack.extract(tmp_path / "w.fits", box=300)
    flux = 0.05 * 90 * 80 / 20
    assert abs(larger["flux"][0].value - flux) < abs(found["flux"][0].value - flux)


def test_no_fit_is_called_a_source_that_cannot_be_what_was_seen(tmp_path):
    """Sources that blank pixels cut: no row of another sign, without a size or away from its island."""
    places = [(40 + 40 * i, 40 + 40 * j) for i in range(5) for j in range(5)]
    for seed in range(4):
        image = noise(240, seed) + sum(0.02 * gaussian(240, x, y, *BEAM) for x, y in places)
        rng = np.random.default_rng(seed)
        for x, y in places:
            top = y + int(rng.integers(-2, 3))
            image[top:top + 8, x - 8:x + 9] = np.nan
        image[rng.uniform(size=image.shape) < 0.3] = np.nan
        fits.writeto(tmp_path / "cut.fits", image.astype("f4"), header(240), overwrite=True)
        found = uvstack.extract(tmp_path / "cut.fits")
        assert len(found) >= 15
        for name in ("peak", "flux", "fwhm_major", "fwhm_minor", "peak_error", "flux_error"):
            assert (found[name].value > 0).all(), name
        away = [min(np.hypot(row["x"].value - x, row["y"].value - y) for x, y in places)
                for row in found]
        assert max(away) < 8
        assert found["fwhm_major"].value.max() < 40
        sure = found["flags"] & (Flag.NO_ERROR | Flag.FIXED) == 0
        for name in ("ra_error", "fwhm_major_error", "position_angle_error", "source_flux_error"):
            assert (found[name].value[sure] > 0).all(), name


def test_rows_without_a_place_on_the_sky_are_flagged(tmp_path):
    """Far off the middle of a SIN image there is no sky: fluxes hold, places are blank."""
    image = noise(160, 4) + 0.05 * gaussian(160, 80, 70, *BEAM)
    fits.writeto(tmp_path / "off.fits", image.astype("f4"), header(CRPIX1=-206300.0))
    found = uvstack.extract(tmp_path / "off.fits")
    assert abs(found["flux"][0].value - 0.05) < 0.01
    assert np.isnan(found["ra"][0])
    assert found["flags"][0] & Flag.NO_ERROR


@pytest.mark.parametrize(("unit", "flux"),
                         [("Jy/beam.km/s", u.Jy * u.km / u.s), ("mJy/beam km/s",
                                                                u.mJy * u.km / u.s),
                          ("K.km/s", u.K * u.km / u.s * u.beam)])
def test_units_of_integrated_lines(tmp_path, unit, flux):
    image = noise(160, 4) + 0.05 * gaussian(160, 80, 70, *BEAM)
    fits.writeto(tmp_path / "m.fits", image.astype("f4"), header(unit=unit))
    assert uvstack.extract(tmp_path / "m.fits")["flux"].unit == flux


@pytest.mark.parametrize(("unit", "words"),
                         [("mag", "logarithm"), ("dB(Jy)", "logarithm"), ("km/s K/m", "certain"),
                          ("counts", "certain; wanted"), ("MJY/BEAM", "mega or milli")])
def test_units_that_cannot_be_meant_are_refused(tmp_path, unit, words):
    fits.writeto(tmp_path / "u.fits", noise(160, 4).astype("f4"), header(unit=unit))
    with pytest.raises(ImageError, match=words):
        uvstack.extract(tmp_path / "u.fits")


@pytest.mark.parametrize("beam",
                         ["5arcsec", (5.0, 4.0, 30.0), (np.nan, 1e-5, 0), (1e-5, 2e-5, 0), (2e-5,)])
def test_beams_that_cannot_be_meant_are_refused(field, beam):
    with pytest.raises(ImageError, match="in rad"):
        uvstack.extract(field[0], beam=beam)


def test_forced_fluxes_scatter_less_than_pixels_and_as_their_errors_say(tmp_path):
    fits.writeto(tmp_path / "n.fits", noise(400, 3).astype("f4"), header(400))
    x, y = np.random.default_rng(1).uniform(20, 380, (2, 500))
    places = WCS(header(400)).pixel_to_world(x, y)
    found = uvstack.extract(tmp_path / "n.fits", forced=places, rms=1e-3, background=0)
    alone = found["flags"] == Flag.FIXED
    flux, error = found["flux"].value[alone], found["flux_error"].value[alone]
    assert flux.std() < 1.08e-3
    assert (flux / error).std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"search_radius": 1e-5}, "for forced positions"),
     ({"forced": "p.csv", "method": "moments"}, "method says nothing"),
     ({"forced": "p.csv", "errors": "condon"}, "errors says nothing"),
     ({"forced": "p.csv", "fdr": 0.01}, "fdr says nothing"),
     ({"forced": "p.csv", "detection_image": "d.fits"}, "detection_image says nothing"),
     ({"forced": "p.csv", "islands_out": "i.fits"}, "islands_out says nothing"),
     ({"out": "c.txt"}, "c.txt is no"), ({"channels_out": "c.txt"}, "c.txt is no"),
     ({"regions_out": "c.txt"}, "no region file"), ({"rms": "kelvin.fits"}, "is in K, .* in Jy"),
     ({"background": "plain.fits"}, "is in no unit")])
def test_what_would_be_ignored_or_fails_at_the_end_is_told_at_once(field, tmp_path, monkeypatch,
                                                                 options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text("ra,dec\n150.0,-30.0\n")
    for name, unit in (("kelvin", "K"), ("plain", "")):
        fits.writeto(f"{name}.fits", np.ones((160, 160), "f4"), header(unit=unit))
    with pytest.raises(UvstackError, match=words):
        uvstack.extract(field[0], **options)
