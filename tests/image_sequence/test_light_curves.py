"""Light curves of simulated sequences, whose truth is known."""

from __future__ import annotations

import json
import warnings
from datetime import datetime

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.time import Time
from astropy.wcs import WCS
from click.testing import CliRunner

import uvstack
from uvstack.cli.main import group
from uvstack.errors import (
    ImageError,
    NoDataError,
    OutputError,
    SelectionError,
    UvstackError,
    UvstackWarning,
)
from uvstack.image_sequence.association import Places, associate
from uvstack.image_sequence.flux_scale import measure_scales, scaled
from uvstack.io.catalogues import read_catalogue
from uvstack.sky.positions import positions_from_coord
from uvstack.sky.source_flags import Flag

K = 4 * np.log(2)
ARCSEC = np.pi / 648000
#: FWHM of the round beam, pixels of an arcsec; and the noise, Jy/beam.
BEAM, SIGMA = 4.0, 1e-3


def wcs_of(n, shift):
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    made.wcs.crval, made.wcs.cdelt = [150.0 + shift / 3600, -30.0], [-1 / 3600, 1 / 3600]
    made.wcs.crpix, made.wcs.radesys = [n // 2 + 1, n // 2 + 1], "ICRS"
    return made


def write(path, sources, seed, *, day=0, n=200, shift=0.0, date=True, unit="Jy/beam", scale=1.0,
          **cards):
    """An epoch of points (SkyCoord, fluxes in Jy) in noise of the beam's shape."""
    rng, wcs = np.random.default_rng(seed), wcs_of(n, shift)
    y, x = np.mgrid[:n, :n]
    kernel = np.fft.rfft2(np.fft.ifftshift(np.exp(-K * ((x - n // 2) ** 2 + (y - n // 2) ** 2)
                                                  / BEAM**2)))
    image = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((n, n))) * kernel, s=(n, n))
    image *= SIGMA / image.std()
    for coord, flux in zip(*sources, strict=True):
        x0, y0 = wcs.world_to_pixel(coord)
        image += flux * np.exp(-K * ((x - x0) ** 2 + (y - y0) ** 2) / BEAM**2)
    header = wcs.to_header()
    header.update(BUNIT=unit, BMAJ=BEAM / 3600, BMIN=BEAM / 3600, BPA=0.0, RESTFRQ=1.4e9, **cards)
    if date:
        header["DATE-OBS"] = f"2011-05-{day + 1:02d}T03:00:00"
    fits.writeto(path, (image / scale).astype("f4"), header)
    return str(path)


def places(n, seed=0, size=200):
    """n places at least three beams apart, well within an image."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < n:
        one = rng.uniform(15, size - 15, 2)
        if all(np.hypot(*(one - other)) > 12 for other in found):
            found.append(one)
    x, y = np.array(found).T
    return wcs_of(size, 0.0).pixel_to_world(x, y)


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """Six epochs, named against their order, of 40 constant sources of 8 mJy to 30 mJy and one that is 0 but in the fourth, 20 mJy."""
    folder, coord = tmp_path_factory.mktemp("sequence"), places(41)
    fluxes = np.append(np.linspace(8, 30, 40) * 1e-3, 0.0)
    paths = []
    for k in range(6):
        fluxes[40] = 0.02 if k == 3 else 0.0
        # Sizes, centres and units differ.
        paths.append(write(folder / f"e{9 - k}.fits", (coord, fluxes), 100 + k, day=k,
                           n=200 + 10 * (k % 3), shift=3.3 * (k % 2),
                           unit="mJy/beam" if k == 2 else "Jy/beam", scale=1e-3 if k == 2 else 1.0))
    return paths[::-1], coord, fluxes


def test_constant_sources_are_constant_and_the_new_one_is_measured_before_it_was_seen(sequence):
    paths, coord, fluxes = sequence
    found = uvstack.light_curves(paths)
    assert [row["image"] for row in found.epochs] == paths[::-1]
    assert (np.diff(found.epochs["mjd"].value) == 1).all()
    index, apart, _ = SkyCoord(found.sources["ra"],
                               found.sources["dec"]).match_to_catalog_sky(coord)
    assert sorted(index) == list(range(41))
    # Mean place within its errors: both coordinates, 41 sources.
    pulls = apart.arcsec / np.sqrt(0.5
                                   * (found.sources["ra_error"].value ** 2
                                      + found.sources["dec_error"].value ** 2))
    assert 0.75 < np.sqrt(np.mean(pulls**2) / 2) < 1.25
    constant = index != 40
    eta = found.sources["eta"][constant]
    # 40 sources of 5 degrees of freedom: the mean is 1 ± √(2/5/40) = 0.1.
    assert abs(eta.mean() - 1) < 0.3
    assert eta.max() < 5
    pull = ((found.sources["flux"].value - fluxes[index])
            / found.sources["flux_error"].value)[constant]
    assert abs(pull.mean()) < 0.5
    assert 0.75 < pull.std() < 1.25
    assert (found.sources["n_epochs"] == 6).all()
    assert (found.sources["n_found"][constant] >= 5).all()
    new = int(np.flatnonzero(~constant)[0])
    assert found.most_variable(1)[0] == new
    curve = found.curve(new)
    assert list(curve["found"]) == [False, False, False, True, False, False]
    right = np.where(np.arange(6) == 3, 0.02, 0.0)
    assert (np.abs(curve["flux"].value - right) < 4.5 * curve["flux_error"].value).all()
    assert found.sources["eta"][new] > 30
    # Standard deviation over mean of (0, 0, 0, 1, 0, 0).
    assert found.sources["v"][new] == pytest.approx(np.sqrt(6), abs=0.6)
    # In the unit of the first image, also of that in mJy.
    assert found.curves["rms"].unit == u.Jy
    assert np.allclose(found.epochs["rms"].to_value(u.mJy), 1.0, rtol=0.1)


@pytest.mark.drawn
def test_all_is_written_and_reads_back(sequence, tmp_path, monkeypatch):
    paths, _, _ = sequence
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group,
                              ["light-curves", *paths[:3], "--out", "c.ecsv", "--sources-out",
                               "s.fits", "--radius", "3arcsec"])
    assert done.exit_code == 0, done.output
    assert "images        3\n" in done.output
    folder = tmp_path / "c-report"
    assert {path.name for path in folder.iterdir()} >= {"index.html", "result.json", "sources.ecsv",
                                                        "curves.ecsv", "epochs.ecsv",
                                                        "light_curves.png", "variability.png"}
    told = json.loads((folder / "result.json").read_text())
    assert told["n_images"] == 3
    assert told["radius_rad"] == pytest.approx(3 * ARCSEC)
    curves, sources = QTable.read("c.ecsv"), read_catalogue("s.fits")
    assert len(curves) == 3 * len(sources)
    assert told["most_variable"][0]["eta"] == np.nanmax(sources["eta"])
    with pytest.raises(OutputError, match="exists"):
        uvstack.light_curves(paths, out="c.ecsv")


def test_a_catalogue_is_measured_in_its_order_and_blank_where_no_two_images_see_it(tmp_path):
    coord = places(3)
    paths = [write(tmp_path / f"{k}.fits", (coord, [0.05, 0.04, 0.03]), 7 + k, day=k,
                   n=200 if k else 300) for k in range(2)]
    # The second lies on the larger image alone, the third on neither.
    middle = SkyCoord(150 * u.deg, -30 * u.deg)
    beyond = SkyCoord([coord[0],
                       *(middle.spherical_offsets_by(east * u.arcsec, 0 * u.arcsec)
                         for east in (130, 5000))])
    table = QTable({"name": ["a", "b", "c"], "ra": beyond.ra, "dec": beyond.dec},
                   meta={"frame": "ICRS"})
    found = uvstack.light_curves(paths, catalogue=table)
    assert list(found.sources["name"]) == ["a", "b", "c"]
    assert list(found.sources["n_epochs"]) == [2, 1, 0]
    assert np.isfinite(found.sources["eta"][0])
    assert np.isnan(found.sources["eta"][1:]).all()
    assert np.isnan(found.sources["v"][1:]).all()
    assert np.isfinite(found.sources["flux"][1])
    assert np.isnan(found.sources["flux"][2])
    assert (found.curve(2)["flags"] & Flag.OFF_IMAGE).all()
    assert abs(found.sources["flux"][0].value - 0.05) < 4.5 * found.sources["flux_error"][0].value


def test_images_without_overlap_and_without_sources_have_empty_indices(tmp_path):
    here, there = places(2), places(2).spherical_offsets_by(2 * u.deg, 0 * u.deg)
    far = write(tmp_path / "b.fits", (there, [0.05, 0.05]), 2, day=1,
                shift=7200 / np.cos(np.deg2rad(30)))
    found = uvstack.light_curves([write(tmp_path / "a.fits", (here, [0.05, 0.05]), 1), far])
    assert len(found.sources) == 4
    assert (found.sources["n_epochs"] == 1).all()
    assert np.isnan(found.sources["eta"]).all()
    nothing = [write(tmp_path / f"n{k}.fits", (here[:0], []), 20 + k, day=k) for k in range(2)]
    empty = uvstack.light_curves(nothing, detection=8, report=tmp_path / "r",
                                 out=tmp_path / "c.ecsv", sources_out=tmp_path / "s.fits")
    assert len(empty.sources) == len(empty.curves) == 0


def test_times_that_are_given_count_in_place_of_those_of_the_headers(tmp_path):
    """In the order of the images, as texts, days, datetimes, Times or a file; also where a header has none."""
    source, days = (places(1), [0.05]), [55712.5, 55710.25, 55711.0]
    paths = [write(tmp_path / f"t{k}.fits", source, k, day=k, date=k > 0) for k in range(3)]
    (tmp_path / "times.txt").write_text("# of the log\n2011-05-31T12:00:00\n\n55710.25\n"
                                        "2011-05-30 00:00:00\n")
    texts = ["2011-05-31T12:00:00", "2011-05-29T06:00", datetime(2011, 5, 30)]
    for times in (days, texts, Time(days, format="mjd"), tmp_path / "times.txt",
                  [Time(day, format="mjd", scale="utc").tai for day in days]):
        found = uvstack.light_curves(paths, times=times)
        assert found.epochs["mjd"].value == pytest.approx([55710.25, 55711.0, 55712.5], abs=1e-9)
        assert list(found.epochs["image"]) == [paths[1], paths[2], paths[0]]
        assert found.curves["mjd"].value == pytest.approx([55710.25, 55711.0, 55712.5], abs=1e-9)
    done = CliRunner().invoke(group, ["light-curves", *paths, "--times",
                                      str(tmp_path / "times.txt"), "--no-report", "--out",
                                      str(tmp_path / "c.ecsv")])
    assert done.exit_code == 0, done.output
    assert QTable.read(tmp_path / "c.ecsv")["time"][0] == "2011-05-29T06:00:00.000"
    for times, words in ((days[:2], "2 times for 3 images"), (["soon", *days[1:]], "'soon'"),
                         ([2455709.5, *days[1:]], "no MJD"), (tmp_path / "none.txt", "cannot be"),
                         (np.nan, "no MJD")):
        with pytest.raises(SelectionError, match=words) as error:
            uvstack.light_curves(paths, times=times)
        assert "\n" not in str(error.value)


def test_flux_scales_of_images_come_out_and_constant_sources_are_constant(tmp_path):
    """Epochs off by up to 8 %: scales within their errors, η of bright sources 1 again, the variable found."""
    coord, scales = places(31, 3), np.array([1.0, 0.93, 1.08, 1.02])
    fluxes, factor = np.append(np.geomspace(0.02, 0.3, 30), 0.1), [1.0, 1.3, 0.8, 1.1]
    paths = [write(tmp_path / f"f{k}.fits", (coord, scales[k] * np.append(fluxes[:30],
                                                                          0.1 * factor[k])),
                   40 + k, day=k) for k in range(4)]
    plain = uvstack.light_curves(paths, catalogue=positions_from_coord(coord))
    found = uvstack.light_curves(paths, catalogue=positions_from_coord(coord), flux_scale=True)
    assert "flux_scale" not in plain.epochs.colnames
    assert np.median(plain.sources["eta"][:30]) > 10
    right = scales / np.exp(np.log(scales).mean())
    told, error = (np.asarray(found.epochs[name]) for name in ("flux_scale", "flux_scale_error"))
    assert (np.abs(told - right) < 4 * error).all()
    assert (error < 0.01).all()
    assert (found.epochs["n_scale"] == 31).all()
    # 30 sources of 3 degrees of freedom: 1 ± 0.15; less for the ratios they were scaled by.
    assert found.sources["eta"][:30].mean() == pytest.approx(1.0, abs=0.4)
    assert found.sources["eta"][:30].max() < 6
    assert found.most_variable(1)[0] == 30
    assert found.sources["v"][30] == pytest.approx(np.std(factor, ddof=1) / np.mean(factor),
                                                   abs=0.03)
    assert found.sources["flux"].value == pytest.approx(fluxes, rel=0.25)
    assert found.overview().rows[2][0] == "flux scales"
    with pytest.raises(NoDataError, match="epoch 1 has 1 sources of 10 σ"):
        uvstack.light_curves(paths, catalogue=positions_from_coord(coord[:1]), flux_scale=True)


def test_scales_do_not_depend_on_units_nor_on_sources_that_are_missing():
    rng, scales = np.random.default_rng(2), np.array([[0.9], [1.0], [1.2]])
    flux = scales * np.geomspace(1, 100, 200)
    error = np.full(flux.shape, 0.02)
    flux = flux + error * rng.standard_normal(flux.shape)
    flux[0, :50], flux[2, 190:] = np.nan, np.nan
    scale, spread, n = measure_scales(flux, error)
    assert list(n) == [150, 200, 190]
    assert (np.abs(scale - scales[:, 0] / np.exp(np.log(scales).mean())) < 4 * spread).all()
    again = measure_scales(flux * 1e-30, error * 1e-30)
    assert np.allclose(again[0], scale, rtol=1e-6)
    by, noise = scaled(flux, error, scale, spread)
    assert np.nanmax(by[0, 150:] / by[1, 150:]) < 1.02
    assert noise[1, 199] == pytest.approx(np.hypot(0.02, 100 * spread[1]) / scale[1], rel=0.01)


def test_what_is_wrong_is_told_in_one_line(tmp_path):
    one = places(1)
    good = write(tmp_path / "good.fits", (one, [0.05]), 1)
    bad = {"does not say its time": write(tmp_path / "time.fits", (one, [0.05]), 2, date=False),
           "does not say its time; wanted": write(tmp_path / "word.fits", (one, [0.05]), 2,
                                                  date=False, **{"DATE-OBS": "yesterday"}),
           "wanted are images in one kind of unit": write(tmp_path / "unit.fits", (one, [0.05]), 2,
                                                          unit="K"),
           "no beam": write(tmp_path / "beam.fits", (one, [0.05]), 2)}
    with fits.open(bad["no beam"], mode="update") as hdus:
        del hdus[0].header["BMAJ"], hdus[0].header["BMIN"]
    for words, path in bad.items():
        with pytest.raises(ImageError, match=words) as error:
            uvstack.light_curves([good, path])
        assert "\n" not in str(error.value)
    for images, words in (([good], "two or more"), (good, "two or more"), ([], "two or more"),
                          ([good, good], "more than once")):
        with pytest.raises(ImageError, match=words):
            uvstack.light_curves(images)
    with pytest.raises(SelectionError, match="radius is -1"):
        uvstack.light_curves([good, "x.fits"], radius=-1)
    with pytest.raises(ImageError, match="ecsv"):
        uvstack.light_curves([good, "x.fits"], out=tmp_path / "x.csv")
    with pytest.raises(UvstackError, match="no such image"):
        uvstack.light_curves([good, "x.fits"])
    other = write(tmp_path / "other.fits", (one, [0.05]), 2, day=1)
    fits.setval(other, "RESTFRQ", value=3e9)
    with fits.open(other, mode="update") as hdus:
        hdus[0].header.update(CTYPE3="FREQ", CRVAL3=3e9, CDELT3=1e6, CRPIX3=1.0)
    with fits.open(good, mode="update") as hdus:
        hdus[0].header.update(CTYPE3="FREQ", CRVAL3=1.4e9, CDELT3=1e6, CRPIX3=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UvstackWarning)
        with pytest.raises(UvstackWarning, match=r"between 1.4 and 3 GHz"):
            uvstack.light_curves([good, other])


def made(east, north, error):
    """Places about (1, 0.5) rad, in arcsec."""
    east, north, error = (np.atleast_1d(np.asarray(v, float)) * ARCSEC
                          for v in (east, north, error))
    return Places(1 + east / np.cos(0.5), 0.5 + north, error, error, np.ones(east.size, np.int64))


def test_the_nearest_in_units_of_the_errors_is_the_counterpart():
    known = made([0, 4], [0, 0], [0.1, 3.0])
    # 1.5″ from the first, 15 of its errors; 2.5″ from the second, which is not even one.
    after, source = associate(known, made([1.5], [0], [0.1]), 5 * ARCSEC)
    assert list(source) == [1]
    assert list(after.n_found) == [1, 2]
    # Weighted mean: 3² against 0.1².
    east = (after.ra[1] - 1) * np.cos(0.5) / ARCSEC
    assert east == pytest.approx((4 / 9 + 1.5 / 0.01) / (1 / 9 + 1 / 0.01), abs=1e-4)
    assert after.ra_error[1] / ARCSEC == pytest.approx(1 / np.sqrt(1 / 9 + 1 / 0.01))


def test_each_detection_has_one_source_and_what_is_too_far_is_new():
    known = made([0], [0], [1.0])
    after, source = associate(known, made([1, -0.5, 30], [0, 0, 0], [1.0, 1.0, 1.0]), 5 * ARCSEC)
    assert list(source) == [1, 0, 2]
    assert len(after.ra) == 3
    assert list(after.n_found) == [2, 1, 1]
    empty = made([], [], [])
    assert list(associate(empty, known, 1e-5)[1]) == [0]
    assert len(associate(known, empty, 1e-5)[1]) == 0
