"""Epochs against their combined map: numbers of the appendix by plain loops, simulated epochs, bad input."""

from __future__ import annotations

import json
import shutil
import sys
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from click.testing import CliRunner

import uvstack
from factories import ARCSEC
from oracles import flux_statistics, nearest_pairs
from simulate.epoch_images import epoch_image
from uvstack.cli.main import group
from uvstack.epochs.comparison.agreement import median_of
from uvstack.errors import (
    CatalogueWarning,
    ComponentError,
    ImageError,
    MissingDependencyError,
    OutputError,
    SelectionError,
    UvstackError,
    UvstackWarning,
)
from uvstack.sky.components import components
from uvstack.sky.coordinates import to_frame
from uvstack.sky.pairs import one_to_one

compare = uvstack.epochs.compare
#: FWHM of the beams of catalogues, arcsec; area of a pixel, arcsec².
BEAMS = {"epoch": (3.2, 2.2), "combined": (4.0, 2.5)}
PIXEL = 0.81


def sources(n, seed):
    """ra, dec (rad) and fluxes of n sources across 0h at declination −60; two pairs are close."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(-0.2, 0.2, n) * 2, -60 + rng.uniform(-0.2, 0.2, n)
    ra[1], dec[1] = ra[0] + 1.5 / 3600, dec[0]
    return np.deg2rad(ra), np.deg2rad(dec), 10 ** rng.uniform(-3, -1, n)


def catalogue(ra, dec, flux, which, seed, **meta):
    """A measurement of sources (rad, Jy), many of them smaller than the beam, some in one island."""
    rng, n = np.random.default_rng(seed), len(ra)
    major, minor = (axis * rng.uniform(0.8, 2.5, n) for axis in BEAMS[which])
    table = QTable({
        "name": [f"{which}{i}" for i in range(n)], "island": np.arange(n) // 2,
        "ra": np.rad2deg(ra) % 360 * u.deg, "dec": np.rad2deg(dec) * u.deg,
        "ra_error": np.full(n, 0.1) * u.arcsec, "dec_error": np.full(n, 0.2) * u.arcsec,
        "flux": flux * u.Jy, "peak": flux * rng.uniform(0.5, 1.1, n) * u.Jy / u.beam,
        "rms": rng.uniform(0.8e-4, 3e-4, n) * u.Jy / u.beam, "fwhm_major": major * u.arcsec,
        "fwhm_minor": minor * u.arcsec, "island_flux": flux * rng.uniform(0.9, 1.4, n) * u.Jy,
        "n_pixels": rng.integers(1, 60, n)})
    table.meta = {"BMAJ": BEAMS[which][0] / 3600, "BMIN": BEAMS[which][1] / 3600, "BPA": 0.0,
                  "pixel_area": PIXEL / 3600**2} | meta
    return table


def both(n=60, seed=11):
    """Combined map and epoch: 0.3″ apart, some missing, some doubled, fluxes below 0 and unknown."""
    rng = np.random.default_rng(seed)
    ra, dec, flux = sources(n, seed)
    east, north = rng.normal(0, 0.3 * ARCSEC, (2, n))
    there = slice(4, None)
    e_ra, e_dec = (ra + east / np.cos(dec))[there], (dec + north)[there]
    e_flux = flux[there] * rng.normal(1.08, 0.12, n - 4)
    e_flux[5], e_flux[6] = -1e-3, np.nan
    # Another within the radius, mostly farther off.
    e_ra = np.append(e_ra, ra[10:14] + 0.7 * ARCSEC / np.cos(dec[10:14]))
    e_dec, e_flux = np.append(e_dec, dec[10:14]), np.append(e_flux, 5 * flux[10:14])
    return catalogue(ra, dec, flux, "combined", 1), catalogue(e_ra, e_dec, e_flux, "epoch", 2)


def told(table, row, which, measure):
    """(S, rms, area, beam's area) of a row by plain arithmetic, arcsec²."""
    one = table[row]
    rms, beam = one["rms"].value, BEAMS[which][0] * BEAMS[which][1]
    if measure == "peak":
        return one["peak"].value, rms, 1.0, 1.0
    if measure == "total":
        return one["flux"].value, rms, one["fwhm_major"].value * one["fwhm_minor"].value, beam
    rows = [other for other in table if other["island"] == one["island"]]
    return (sum(other["island_flux"].value for other in rows), rms,
            PIXEL * sum(int(other["n_pixels"]) for other in rows), np.pi / (4 * np.log(2)) * beam)


@pytest.mark.filterwarnings("ignore:.*has a beam of", "ignore:.*matches lie")
def test_numbers_are_those_of_plain_loops():
    combined, epoch = both()
    places = [list(zip(np.deg2rad(t["ra"].value), np.deg2rad(t["dec"].value), strict=True))
              for t in (epoch, combined)]
    pairs = nearest_pairs(*places, 1.0 * ARCSEC)
    found = compare(combined, [epoch])
    assert {(int(row["source_epoch"][5:]), int(row["source_combined"][8:]))
            for row in found.matches} == set(pairs)
    assert len(pairs) > 50
    for measure in ("total", "peak", "island"):
        right = flux_statistics([(told(epoch, i, "epoch", measure),
                                  told(combined, k, "combined", measure)) for i, k in pairs])
        row = found.row(1, measure)
        assert [row[name] for name in ("median_ratio", "mad", "mean_percent_difference",
                                       "mean_percent_uncertainty")] == pytest.approx(right[:4],
                                                                                     rel=1e-12)
        assert (row["n_not_positive"], row["n_not_finite"]) == right[4:]
        assert row["n_used"] + sum(right[4:]) == row["n_matched"] == len(pairs)
    assert found.row(1, "total")["n_not_positive"] == found.row(1, "total")["n_not_finite"] == 1
    one = found.matches[3]
    assert one["offset_north_error"].to_value(u.arcsec) == pytest.approx(0.2 * np.sqrt(2))


def test_the_closest_come_first_and_each_source_once():
    # 0–0 are 1 apart, 1–0 are 2, 1–1 are 4: the least total would be the same, mutual nearest
    # neighbours would leave 1–1 alone.
    assert list(one_to_one(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([1., 2., 4.]))) == [
        0, 2]
    # Least total distance over most pairs would part the closest, 1–0, for 0–0 and 1–1.
    assert list(one_to_one(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([4., 1., 4.]))) == [1]
    assert one_to_one(*np.zeros((2, 0), int), np.zeros(0)).size == 0
    rng = np.random.default_rng(3)
    for _ in range(20):
        places = [[(0.0, x) for x in rng.uniform(0, 1, n)] for n in (15, 12)]
        right = nearest_pairs(*places, 0.1)
        i, k = np.nonzero(np.abs(np.subtract.outer(*(np.array(p)[:, 1] for p in places))) <= 0.1)
        apart = np.abs(np.array(places[0])[i, 1] - np.array(places[1])[k, 1])
        kept = one_to_one(i, k, apart)
        assert [(a, b) for a, b in zip(i[kept], k[kept], strict=True)] == right


def test_frames_are_honoured():
    combined, epoch = both()
    epoch["flux"][np.isnan(epoch["flux"])] = 0.01 * u.Jy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = compare(combined, [epoch]).matches
        coord = SkyCoord(epoch["ra"], epoch["dec"], frame="fk5")
        for frame in ("ICRS", "B1950", "GALACTIC"):
            lon, lat = to_frame(coord, frame)
            turned = epoch.copy()
            turned["ra"], turned["dec"] = np.rad2deg(lon) * u.deg, np.rad2deg(lat) * u.deg
            turned.meta["frame"] = frame
            found = compare(combined, [turned]).matches
            assert list(found["source_epoch"]) == list(right["source_epoch"])
            # To 0.1 mas.
            for name in ("offset_east", "offset_north"):
                assert np.abs(found[name] - right[name]).max() < 1e-4 * u.arcsec
        # FK5 taken for ICRS would be 20 mas off.
        epoch.meta["frame"] = "ICRS"
        assert np.median(compare(combined, [epoch]).matches["separation"]
                         - right["separation"]) != 0


# ------------------------------------------------------------------------------------- images

CENTRE = (np.deg2rad(150.0), np.deg2rad(2.0))
BEAM = (4.0 * ARCSEC, 2.6 * ARCSEC, 0.6)
TRUTH = {"e1": (1.06, (0.31, -0.18)), "e2": (0.93, (-0.24, 0.4))}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A deep map and two epochs of 140 points and small Gaussians; the second is in mJy/beam."""
    folder = tmp_path_factory.mktemp("epochs")
    rng = np.random.default_rng(5)
    x, y = (one.ravel()[:140] * 30 * ARCSEC for one in np.meshgrid(*2 * (np.arange(12) - 5.5,)))
    x, y = (one + rng.uniform(-5, 5, one.size) * ARCSEC for one in (x, y))
    size = np.where(rng.uniform(size=140) < 0.3, 3 * ARCSEC, 0.0)
    sky = components(CENTRE[0] + x / np.cos(CENTRE[1]), CENTRE[1] + y,
                     10 ** rng.uniform(-2.9, -1.5, 140), fwhm_major=size, fwhm_minor=size,
                     shape=np.where(size > 0, "gaussian", "point"))
    made = {}
    for k, (name, scale, offset, noise) in enumerate((
            ("mean", 1.0, (0.0, 0.0), 0.4e-4),
            *((name, *truth, 1.2e-4) for name, truth in TRUTH.items()))):
        image = epoch_image(sky, frequency=3e9, beam=BEAM, centre=CENTRE, size=420, cell=ARCSEC,
                            noise=noise, rng=np.random.default_rng(70 + k), flux_scale=scale,
                            offset=tuple(one * ARCSEC for one in offset),
                            date=f"2020-01-0{k + 1}T00:00:00")
        made[name] = str(image.write(folder / f"{name}.fits")[0])
    with fits.open(made["e2"], mode="update") as hdus:
        hdus[0].data *= 1e3
        hdus[0].header["BUNIT"] = "mJy/beam"
    return made


@pytest.fixture(scope="module")
def found(images):
    return compare(images["mean"], [images["e1"], images["e2"]])


def test_flux_scale_and_offset_are_recovered_within_their_errors(found):
    pulls = []
    for k, (scale, offset) in enumerate(TRUTH.values(), 1):
        for measure in ("total", "peak", "island"):
            row = found.row(k, measure)
            assert row["n_flux_scale"] > 100
            # A median of hundred sources of 10 σ and more.
            assert row["flux_scale_error"] < 0.01
            pull = (row["flux_scale"] - 1 / scale) / row["flux_scale_error"]
            if measure == "island":
                # Islands of the deeper map reach farther out, and hold some per cent more.
                assert 1 / scale < row["flux_scale"] < 1.05 / scale
            else:
                pulls.append(pull)
            # No trend was put in.
            pulls += [float(row[name] / row[f"{name}_error"])
                      for name in ("gradient_east", "gradient_north")]
        for axis, truth in zip(("east", "north"), offset, strict=True):
            error = row[f"offset_{axis}_error"].to_value(u.arcsec)
            assert error < 0.01
            pulls.append((row[f"offset_{axis}"].to_value(u.arcsec) - truth) / error)
    assert np.abs(pulls).max() < 3.5
    assert list(found.epochs["time"]) == ["2020-01-02T00:00:00.000", "2020-01-03T00:00:00.000"]
    # 30 per cent are resolved: N_beam of these is (1 + 9/16)^½ (1 + 9/6.76)^½.
    beams = found.matches["total_beams_combined"]
    assert np.sort(beams)[-20] == pytest.approx(np.sqrt((1 + 9 / 16) * (1 + 9 / 6.76)), rel=0.1)
    assert beams.min() == 1.0
    assert found.matches["peak_epoch"].unit == u.Jy / u.beam


@pytest.mark.parametrize("ending", ["ecsv", "fits", "xml", "csv"])
def test_catalogues_stand_in_the_place_of_images(images, found, tmp_path, ending):
    files = {name: tmp_path / f"{name}.{ending}" for name in images}
    for name, file in files.items():
        uvstack.extract(images[name], out=file)
    again = compare(files["mean"], [files["e1"], files["e2"]])
    assert again.measures == ["total", "peak", "island"]
    for name in ("median_ratio", "mad", "mean_percent_difference", "mean_percent_uncertainty",
                 "flux_scale", "offset_east"):
        assert np.allclose(again.comparison[name], found.comparison[name], rtol=1e-6), name


def test_all_is_written_and_read_again(images, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["epochs", "compare", images["mean"], images["e1"], images["e2"], "--match", "1arcsec",
             "--out", "comparison/"]
    done = CliRunner().invoke(group, words)
    assert done.exit_code == 0, done.output
    assert "matched" in done.output
    folder = tmp_path / "comparison"
    assert {path.name for path in folder.iterdir()} == {"index.html", "summary.json",
                                                        *found.REPORT}
    table, matches = (QTable.read(folder / f"{name}.ecsv") for name in ("comparison", "matches"))
    assert np.array_equal(table["median_ratio"], found.comparison["median_ratio"])
    assert "S_b/S_a" in table["median_ratio"].info.description
    assert len(matches) == sum(found.epochs["n_matched"])
    summary = json.loads((folder / "summary.json").read_text())
    one = summary["epochs"][1]["measures"]["peak"]
    assert one["flux_scale"] == found.row(2, "peak")["flux_scale"]
    assert summary["epochs"][0]["offset_east_rad"] == pytest.approx(0.31 * ARCSEC, abs=0.01 * ARCSEC)
    assert isinstance(CliRunner().invoke(group, words).exception, OutputError)
    # Pictures take most of the time, and were drawn once.
    monkeypatch.setattr("uvstack.epochs.comparison.report.sections",
                        lambda result: [result.overview()])
    assert CliRunner().invoke(group, [*words, "--overwrite"]).exit_code == 0
    assert {path.name for path in folder.iterdir()} == {"index.html", "summary.json"}


def test_combined_with_its_scales_and_offsets_epochs_are_the_deep_map(images, found, tmp_path):
    # Files of one name in two folders.
    paths, table = [tmp_path / name / "image.fits" for name in TRUTH], tmp_path / "comparison.ecsv"
    for name, path in zip(TRUTH, paths, strict=True):
        path.parent.mkdir()
        shutil.copy(images[name], path)
    compare(images["mean"], paths).comparison.write(table)
    both_of = uvstack.epochs.combine(paths, out=tmp_path / "new", threads=1, flux_scale=table,
                                     align=table)
    moved = shutil.copy(paths[0], tmp_path / "image.fits")
    with pytest.raises(SelectionError, match=r"total fluxes of 2 that could be .*image\.fits"):
        uvstack.epochs.combine([moved, images["e2"]], flux_scale=table)
    again = compare(images["mean"], [both_of.paths["mean"]])
    for measure in ("total", "peak"):
        row = again.row(1, measure)
        # Of the new noise, and of the scales that were taken.
        error = np.hypot(row["flux_scale_error"], max(found.comparison["flux_scale_error"][:2]))
        assert abs(row["flux_scale"] - 1) < 3.5 * error
        for name in ("offset_east", "offset_north"):
            assert abs(row[name].value) < 0.015


def test_pybdsf_is_named_where_it_is_absent(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "bdsf", None)
    with pytest.raises(MissingDependencyError, match=r"pip install bdsf"):
        compare(images["mean"], [images["e1"]], finder="bdsf")


@pytest.mark.filterwarnings("ignore")
def test_pybdsf_finds_the_same(images, found):
    pytest.importorskip("bdsf")
    other = compare(images["mean"], [images["e1"], images["e2"]], finder="bdsf")
    for k, (scale, offset) in enumerate(TRUTH.values(), 1):
        for measure in ("total", "peak", "island"):
            row = other.row(k, measure)
            assert abs(row["flux_scale"] - 1 / scale) < 4 * row["flux_scale_error"]
        assert row["offset_east"].value == pytest.approx(offset[0], abs=0.02)
        assert row["n_matched"] == pytest.approx(found.row(k, measure)["n_matched"], abs=10)
    for name in ("total_beams_epoch", "island_beams_epoch"):
        assert np.median(other.matches[name]) == pytest.approx(np.median(found.matches[name]),
                                                               rel=0.06)


@pytest.mark.filterwarnings("ignore:.*says no area of its islands")
def test_a_list_of_pybdsf_is_a_catalogue(tmp_path):
    combined, epoch = both()
    right = compare(combined, [combined.copy()]).comparison
    table = Table({"Source_id": np.arange(len(epoch)), "Isl_id": np.arange(len(epoch)),
                   "RA": combined["ra"][:len(epoch)], "DEC": combined["dec"][:len(epoch)]})
    first = combined[:len(epoch)]
    table["Total_flux"], table["Peak_flux"] = first["flux"], first["peak"]
    table["Maj"], table["Min"] = first["fwhm_major"].to(u.deg), first["fwhm_minor"].to(u.deg)
    table["Isl_Total_flux"], table["Isl_rms"] = first["island_flux"], first["rms"]
    table.meta = {"comments": ["Generated by PyBDSF", f"BMAJ = {4.0 / 3600}", f"BMIN = {2.5 / 3600}",
                               "BPA = 0.0"], "FREQ0": 3e9, "EQUINOX": 2000.0}
    path = tmp_path / "list.fits"
    table.write(path)
    found = compare(combined, [path])
    assert found.comparison["n_matched"][0] == len(epoch)
    for measure in ("total", "peak"):
        assert found.row(1, measure)["median_ratio"] == 1.0
        assert found.row(1, measure)["mean_percent_uncertainty"] == pytest.approx(
            right["mean_percent_uncertainty"][0 if measure == "total" else 1], rel=0.1)
    # It says no area: that of the source is taken, as in the memo.
    assert np.array_equal(found.matches["island_beams_epoch"], found.matches["total_beams_epoch"])
    assert found.matches["island_epoch"][3] == first["island_flux"][3]
    # One is in degrees, the other in arcsec.
    assert np.allclose(found.matches["total_epoch_sigma"], found.matches["total_combined_sigma"],
                       rtol=1e-12)


# ------------------------------------------------------------------------------------ equations


def test_a_trend_across_the_field_is_found():
    ra, dec, flux = sources(300, 4)
    rng = np.random.default_rng(9)
    east, north = (ra - ra.mean()) * np.cos(dec), dec - dec.mean()
    combined = catalogue(ra, dec, flux, "combined", 1)
    shown = (1 + 0.3 * np.rad2deg(east) - 0.2 * np.rad2deg(north) + 0.05 * np.log10(flux / 0.01)
             + rng.normal(0, 0.02, 300))
    # Two that vary.
    shown[[20, 30]] = 4.0
    epoch = catalogue(ra, dec, flux / shown, "combined", 1)
    row = compare(combined, [epoch]).row(1, "total")
    for name, truth in (("gradient_east", 0.3), ("gradient_north", -0.2)):
        value, error = (float(row[one].value) for one in (name, f"{name}_error"))
        assert abs(value - truth) < 3.5 * error
        assert error < 0.05
    assert abs(row["flux_slope"] - 0.05) < 3.5 * row["flux_slope_error"]


def test_the_error_of_the_median_is_that_of_its_scatter():
    rng = np.random.default_rng(2)
    for draw in (rng.standard_normal, lambda n: rng.standard_normal(n) * 10 ** rng.uniform(0, 2, n)):
        found = np.array([median_of(draw(40))[:2] for _ in range(2000)])
        # 5 % from the count of values, 2 % from that of draws.
        assert found[:, 0].std() == pytest.approx(np.median(found[:, 1]), rel=0.08)
    assert np.isnan(median_of(np.array([1.0]))[1])


# ------------------------------------------------------------------------------------ bad input


def without(*names):
    def change(table):
        table.remove_columns(names)
        return table
    return change


def with_meta(**meta):
    def change(table):
        table.meta.update(meta)
        return table
    return change


def far_away(table):
    table["dec"] += 1 * u.deg
    return table


def placeless(table):
    table["ra"][3] = np.nan
    return table


def flagged(table):
    table["flags"] = np.where(np.arange(len(table)) == 3, "artefact", "")
    return table


BAD = [
    (lambda t: t[:0], {}, ImageError, "no source was found or listed"),
    (far_away, {}, ImageError, "none of its .* the nearest two are .*″ apart"),
    (None, {"match": -1 * u.arcsec}, SelectionError, "wanted is an angle above 0"),
    (None, {"match": 0 * u.arcsec}, SelectionError, "wanted is an angle above 0"),
    (None, {"match": np.nan}, SelectionError, "wanted is an angle above 0"),
    (None, {"match": 1.0}, SelectionError, "up to 1°"),
    (None, {"match": 1 * u.Jy}, SelectionError, "is no angle"),
    (None, {"f_cal": -0.1}, UvstackError, "f_cal is -0.1"),
    (None, {"snr": np.nan}, UvstackError, "snr is nan"),
    (None, {"finder": "sextractor"}, SelectionError, "wanted one of uvstack, bdsf"),
    (without("ra"), {}, ComponentError, "has no column ra"),
    (without("rms"), {}, ComponentError, "no flux can be compared: .*no column rms"),
    (without("flux", "peak", "island_flux"), {}, ComponentError, "no flux can be compared"),
    (with_meta(BMAJ=4.0), {}, ComponentError, "BMAJ in degrees"),
    (with_meta(BMAJ=-1.0), {}, ComponentError, "BMAJ ≥ BMIN > 0"),
    (with_meta(brightness_unit="K"), {}, ComponentError, "is in K; wanted are fluxes in Jy"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("change", "options", "kind", "message"), BAD)
def test_bad_input_is_one_line(change, options, kind, message):
    combined, epoch = both()
    with pytest.raises(kind, match=message) as raised:
        compare(combined, [change(epoch) if change else epoch], **options)
    assert "\n" not in str(raised.value)


def test_bad_images_are_one_line(images, tmp_path):
    cases = {"is in K": {"BUNIT": "K"}, "no beam": {"BMAJ": None, "BMIN": None},
             "holds Stokes 4": {"CRVAL4": 4.0}}
    for message, cards in cases.items():
        path = tmp_path / "bad.fits"
        with fits.open(images["e1"]) as hdus:
            for name, value in cards.items():
                if value is None:
                    del hdus[0].header[name]
                else:
                    hdus[0].header[name] = value
            hdus.writeto(path, overwrite=True)
        with pytest.raises(ImageError, match=message):
            compare(images["mean"], [path])
    with pytest.raises(ImageError, match="given more than once"):
        compare(images["mean"], [images["e1"], images["e1"]])
    with pytest.raises(ImageError, match="one or more"):
        compare(images["mean"], [])
    with pytest.raises(UvstackError, match=r"none\.fits: no such"):
        compare(images["mean"], [tmp_path / "none.fits"])
    with pytest.raises(UvstackError, match=r"none\.ecsv: "):
        compare(images["mean"], [tmp_path / "none.ecsv"])


@pytest.mark.parametrize(("change", "kind", "message"), [
    (with_meta(reference_frequency=1.4e9), UvstackWarning, "between 1.4 and 3 GHz"),
    (with_meta(BMAJ=3.0 / 3600), UvstackWarning, "has a beam of 3″ × 2.5″ at 0°, table of the combined map of 4″"),
    (without("island_flux"), UvstackWarning, "island fluxes are not compared: .*no column isl"),
    (without("fwhm_minor"), UvstackWarning, "total fluxes are not compared: .*no column fwhm_min"),
    (without("n_pixels", "island"), UvstackWarning, "no area of its islands .* that of the sources"),
    (placeless, CatalogueWarning, "left out are, of 60 rows, 1 without a place"),
    (flagged, CatalogueWarning, "left out are, of 60 rows, 1 flagged"),
])
def test_what_is_doubtful_is_told(change, kind, message):
    combined, _ = both()
    combined.meta["reference_frequency"] = 3e9
    with pytest.warns(kind, match=message):
        found = compare(combined, [change(combined.copy())])
    for measure in ("total", "peak"):
        if measure in found.measures:
            assert found.row(1, measure)["median_ratio"] == 1.0


def test_offsets_near_the_radius_are_told():
    combined, _ = both()
    epoch = combined.copy()
    epoch["dec"] += 0.9 * u.arcsec
    epoch["dec"][::2] += 0.09 * u.arcsec
    with pytest.warns(UvstackWarning, match="matches lie .* match within a larger radius"):
        compare(combined, [epoch])


@pytest.mark.drawn
@pytest.mark.filterwarnings("ignore:.*has a beam of")
@pytest.mark.parametrize("value", [np.inf, -1.0])
def test_fluxes_that_are_none_are_counted_and_drawn(value, tmp_path):
    combined, epoch = both()
    epoch["flux"][:], epoch["peak"][::2] = value * u.Jy, value * u.Jy / u.beam
    found = compare(combined, [epoch])
    total, peak = (found.row(1, one) for one in ("total", "peak"))
    column = "n_not_positive" if np.isfinite(value) else "n_not_finite"
    assert total[column] == total["n_matched"]
    assert total["n_used"] == 0
    assert np.isnan([total[name] for name in ("median_ratio", "mad", "flux_scale")]).all()
    assert peak["n_used"] + peak["n_not_positive"] + peak["n_not_finite"] == total["n_matched"]
    assert 0 < peak["n_used"] < total["n_matched"]
    assert "not " in str(found)
    found.report(tmp_path / "report")


def test_one_match_has_no_scatter():
    combined, _ = both()
    found = compare(combined, [combined[7:8]])
    row = found.row(1, "total")
    assert row["median_ratio"] == 1.0
    assert np.isnan(row["median_ratio_error"])
    assert np.isnan(row["offset_east_scatter"])
    assert found.summary()["epochs"][0]["measures"]["total"]["flux_scale_error"] is None
    assert found.trends["n"].size == 0
