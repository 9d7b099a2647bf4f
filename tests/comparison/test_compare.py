"""`uvstack compare`: both methods against plain sums over visibilities, against each other, and the command with bad input."""

import json
import math

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from click.testing import CliRunner

import oracles
import uvstack
from factories import ARCMIN, ARCSEC, CENTRE, Spw, at, make_ms, offset, read
from uvstack.cli.main import group
from uvstack.errors import (
    DroppedPositionsWarning,
    ImageError,
    NoDataError,
    OutputError,
    PositionsError,
    SelectionError,
    UvstackError,
)
from uvstack.io.fits import sin_wcs, write_image
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import parse_frame

#: 13 antennas within 3.6 km: a resolution of 12″ by λ/B, some 15″ with natural weights.
ARRAY = {"n_ant": 13, "n_times": 8, "scale": 0.1}
CELL = 3 * ARCSEC
#: ducc0's 1e-5 of the image, float32 of the FITS file and of visibilities, sub-pixel taps 1.2e-5:
#: times two.
AGREE = 5e-5
BEAM = "gaussian:8arcmin@1.4GHz"
FWHM = 8 * ARCMIN


def sky_at(x, y, size=256, cell=CELL, centre=CENTRE):
    """(ra, dec) of pixels x, y (with fractions) east and north of the middle."""
    sky = sin_wcs(*centre, (size, size), cell).pixel_to_world(size // 2 - np.asarray(x, float),
                                                              size // 2 + np.asarray(y, float))
    return list(zip(sky.ra.rad, sky.dec.rad, strict=True))


def spread(n, seed=1, reach=80, whole=False):
    """Pixels (x, y) of n sources; whole pixels or any."""
    x, y = np.random.default_rng(seed).uniform(-reach, reach, (2, n))
    return (np.rint(x), np.rint(y)) if whole else (x, y)


def by_hand(ms, positions, column="DATA"):
    """Mean of the visibilities moved to each position, by plain loops."""
    vis, _ = oracles.stack(read(ms, column)[:, :, 0], read(ms, "UVW"), Spw().frequency, positions,
                           *CENTRE)
    return float(vis.real.mean())


@pytest.fixture(scope="module")
def off_pixels(tmp_path_factory):
    """Noiseless sources of 1 Jy anywhere between pixels."""
    x, y = spread(12)
    positions = sky_at(x, y)
    return make_ms(tmp_path_factory.mktemp("off") / "a.ms", sources=[(*p, 1.0) for p in positions],
                   **ARRAY), positions, (x, y)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Noise alone, 1 Jy a visibility."""
    return make_ms(tmp_path_factory.mktemp("noise") / "n.ms", noise=1.0, **ARRAY)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A set with noise and its list, for the command."""
    folder = tmp_path_factory.mktemp("survey")
    positions = sky_at(*spread(8, reach=30))
    make_ms(folder / "survey.ms", sources=[(*p, 0.2) for p in positions], noise=0.5,
            data_columns=("DATA", "MODEL_DATA"), **ARRAY)
    rows = "".join(f"{np.rad2deg(a):.9f},{np.rad2deg(d):.9f},{k + 1}\n"
                   for k, (a, d) in enumerate(positions))
    (folder / "positions.csv").write_text("ra,dec,w\n" + rows)
    return folder


def test_on_the_pixels_all_methods_give_the_mean_of_the_visibilities(tmp_path):
    positions = sky_at(*spread(10, whole=True))
    ms = make_ms(tmp_path / "a.ms", sources=[(*p, 1.0 + 0.1 * k) for k, p in enumerate(positions)],
                 **ARRAY)
    result = uvstack.compare(ms, at(*positions), cell=CELL, methods=["mean"])
    truth = by_hand(ms, positions)
    assert result.uv.flux == pytest.approx(truth, rel=1e-5)
    for alignment in ("nearest", "subpixel"):
        found = result.find(alignment)
        assert found.flux == pytest.approx(truth, rel=AGREE)
        # Offsets of 1e-12 pixels by rounding: the psf is taken at its peak.
        assert found.peak_response == pytest.approx(1.0, abs=AGREE)
        # All of the stamp, not its centre alone. There a uv-stack, whose (u, v, w) are not turned,
        # differs by a phase w l δ of up to 1.7e4 · 4′ · 96″ = 0.01 (section 3.3.3), on sidelobes of
        # some 0.3.
        assert np.abs(found.stamp - result.uv.stamp).max() < 3e-3 * truth
    assert [m.name for m in result.methods] == ["uv-stack", "image-stack, nearest pixel",
                                                "image-stack, sub-pixel"]


def test_off_the_pixels_the_nearest_loses_what_the_psf_says_and_sub_pixel_nothing(off_pixels):
    ms, positions, (x, y) = off_pixels
    result = uvstack.compare(ms, at(*positions), cell=CELL, size=256, methods=["mean"])
    truth = by_hand(ms, positions)
    assert result.uv.flux == pytest.approx(truth, rel=1e-5)
    assert result.find("subpixel").flux == pytest.approx(truth, rel=AGREE)
    nearest = result.find("nearest")
    # What it must be: the plain mean at the middles of the pixels.
    assert nearest.flux == pytest.approx(by_hand(ms, sky_at(np.rint(x), np.rint(y))), rel=AGREE)
    assert nearest.flux < 0.99 * truth
    row = result.table()[1]
    assert row["method"] == nearest.name
    assert row["difference"].value == pytest.approx(nearest.flux_corrected - result.uv.flux,
                                                    rel=1e-9)


def test_the_psf_foretells_the_loss_of_a_lone_source(tmp_path):
    positions = sky_at([20.4], [-10.3])
    ms = make_ms(tmp_path / "a.ms", sources=[(*positions[0], 2.0)], **ARRAY)
    nearest = uvstack.compare(ms, at(*positions), cell=CELL, size=256).find("nearest")
    assert nearest.peak_response < 0.985
    # The psf is that at the middle of the image; 1.1′ off it the w term and bandwidth leave it
    # alone to 1e-4.
    assert nearest.flux_corrected == pytest.approx(2.0, rel=1e-4)


def test_both_methods_hold_the_same_noise_and_give_the_same_errors(noisy):
    fluxes, results = [], []
    for seed in range(8):
        result = uvstack.compare(noisy, at(*sky_at(*spread(40, seed))), cell=CELL, size=256,
                                 methods=["mean"])
        fluxes.append([result.uv.flux, result.find("subpixel").flux, result.find("nearest").flux])
        results.append(result)
    uv, exact, nearest = np.transpose(fluxes)
    sigma = results[0].uv.flux_error_expected
    # Noise off the centre is as large as at it, so that AGREE of it is the error of a pixel; 40 of
    # them average.
    assert np.abs(exact - uv).max() < 1e-3 * sigma
    assert np.corrcoef(uv, nearest)[0, 1] > 0.9
    assert np.std(uv) == pytest.approx(sigma, rel=4 / math.sqrt(2 * 8))
    # Equation 7 by the noise of the visibilities and by that around each position. The scatter of a
    # stamp of 64 pixels, some 150 beams, is known to 1/√300; eight lists share the data.
    image = np.mean([r.find("subpixel").flux_error_expected for r in results])
    assert image == pytest.approx(sigma, rel=0.06)
    for rms in (np.mean([r.find("subpixel").flux_error for r in results]),
                np.mean([r.uv.stamp_rms for r in results])):
        assert rms == pytest.approx(sigma, rel=0.12)
    assert np.mean([r.uv.flux_error for r in results]) == pytest.approx(sigma, rel=0.12)


def test_a_list_far_from_the_phase_centre_is_imaged_around_itself(tmp_path):
    away = offset(12 * ARCMIN, 6 * ARCMIN)
    positions = sky_at(*spread(5, reach=15), centre=away)
    ms = make_ms(tmp_path / "a.ms", sources=[(*p, 1.0) for p in positions], **ARRAY)
    result = uvstack.compare(ms, at(*positions), cell=CELL, methods=["mean"])
    assert max(result.image["pixels"]) < 130
    assert result.find("subpixel").flux == pytest.approx(result.uv.flux, rel=AGREE)
    galactic = SkyCoord(at(*positions).transform_to(parse_frame("GALACTIC")))
    again = uvstack.compare(ms, galactic, cell=CELL, methods=["mean"])
    assert again.uv.flux == pytest.approx(result.uv.flux, rel=1e-5)
    assert again.find("nearest").flux == pytest.approx(result.find("nearest").flux, rel=1e-4)


@pytest.mark.parametrize("n_fields", [1, 2])
def test_with_a_primary_beam_both_are_the_same_estimate(tmp_path, n_fields):
    fields = (CENTRE, offset(4 * ARCMIN, 1 * ARCMIN))[:n_fields]
    rng = np.random.default_rng(4)
    positions = [offset(*p)
                 for p in rng.uniform((-2 * ARCMIN, -2 * ARCMIN), (4 * ARCMIN, 3 * ARCMIN), (8, 2))]
    # One channel: the beam of the image is a mean over channels.
    ms = make_ms(tmp_path / "a.ms", sources=[(*p, 1.0) for p in positions],
                 beam=oracles.gaussian_beam(FWHM, 1.4e9), fields=fields,
                 spws=(Spw(1.4e9, 10e6, 1),), noise=0.2, **ARRAY)
    result = uvstack.compare(ms, at(*positions), cell=CELL, primary_beam=BEAM, methods=["mean"])
    assert result.settings["weights"] == "primary-beam"
    # Bilinear between pixels of the beam: (cell/FWHM)² 8 ln2 / 8 · ¼ = 7e-6 a position; the rest as
    # without a beam.
    assert result.find("subpixel").flux == pytest.approx(result.uv.flux, rel=1e-4)
    assert result.uv.flux == pytest.approx(1.0, abs=0.15)
    noise = uvstack.compare(ms, at(*positions), cell=CELL, primary_beam=BEAM, methods=["mean"],
                            weights="local-noise*primary-beam")
    assert noise.uv.flux == pytest.approx(noise.find("subpixel").flux, rel=0.05)


def test_positions_off_the_image_are_left_out_of_both(off_pixels):
    ms, positions, (x, _) = off_pixels
    with pytest.warns(DroppedPositionsWarning,
                      match=r"1 of 13 positions were left out of both stacks: 1 off the image"):
        result = uvstack.compare(ms, at(*positions, offset(30 * ARCMIN, 0)), cell=CELL, size=256,
                                 methods=["mean"])
    alone = uvstack.compare(ms, at(*positions), cell=CELL, size=256, methods=["mean"])
    assert result.dropped["off the image"].tolist() == [12]
    assert (result.n_positions, result.n_positions_given) == (12, 13)
    # The threads of the gridder add up single precision in any order.
    assert [m.flux for m in result.methods] == pytest.approx([m.flux for m in alone.methods],
                                                             rel=1e-7)
    with pytest.warns(DroppedPositionsWarning, match="left out of both"):
        small = uvstack.compare(ms, at(*positions), cell=CELL, size=150, methods=["mean"])
    inside = [p for k, p in enumerate(positions)
              if k not in np.concatenate(list(small.dropped.values()))]
    assert 0 < len(inside) < x.size
    assert small.uv.flux == pytest.approx(by_hand(ms, inside), rel=1e-5)


def test_a_position_that_the_uv_stack_cannot_use_is_not_image_stacked(tmp_path):
    """Between two pointings.

    A is 0.43 in each, below the cut-off, and that of the mosaic is 0.43 √2.
    """
    fields = (offset(-4.4 * ARCMIN, 0), offset(4.4 * ARCMIN, 0))
    positions = [offset(-4 * ARCMIN, 20 * ARCSEC), offset(4 * ARCMIN, 0), CENTRE]
    ms = make_ms(tmp_path / "a.ms",
                 sources=[(*p, s) for p, s in zip(positions, (1.0, 1.0, 30.0), strict=True)],
                 fields=fields, beam=oracles.gaussian_beam(FWHM, 1.4e9),
                 spws=(Spw(1.4e9, 10e6, 1),), **ARRAY)
    with pytest.warns(DroppedPositionsWarning, match="1 of 3 positions were left out of both stacks: 1 outside the primary beam of every"):
        result = uvstack.compare(ms, at(*positions), cell=CELL, primary_beam=BEAM, pb_cutoff=0.5,
                                 methods=["mean"])
    assert result.dropped["outside the primary beam of every pointing"].tolist() == [2]
    assert {m.stack.n_positions for m in result.methods} == {2}
    # Pointings in which A is below the cut-off are left out of the uv-stack alone: A² of 0.02, on a
    # sidelobe of the bright source.
    assert result.find("subpixel").flux == pytest.approx(result.uv.flux, rel=0.1)


@pytest.mark.drawn
def test_short_baselines_of_a_bright_source_are_shown_and_cut(tmp_path):
    positions = sky_at(*spread(25, seed=5, reach=60))
    # An extended source that was not subtracted is a crowd of points here, on short baselines
    # alone.
    rng = np.random.default_rng(2)
    crowd = [(*offset(*p), 0.4) for p in rng.normal(40 * ARCSEC, 40 * ARCSEC, (150, 2))]
    ms = make_ms(tmp_path / "a.ms", sources=[*((*p, 0.5) for p in positions), *crowd], noise=0.1,
                 **ARRAY)
    result = uvstack.compare(ms, at(*positions), cell=CELL, uvmin="700m", methods=["mean"])
    truth = 0.5
    assert abs(result.uv_all.flux - truth) > 4 * abs(result.uv.flux - truth)
    filtered, plain = result.find("subpixel", filtered=True), result.find("subpixel")
    assert filtered.peak_response < 1
    assert abs(filtered.flux_corrected - truth) < 0.5 * abs(plain.flux_corrected - truth)
    assert filtered.stamp_rms < plain.stamp_rms
    assert plain.flux == pytest.approx(result.uv_all.flux, rel=1e-4)
    assert result.settings["filter"] == "700m"
    # Each is held against the uv-stack of the same baselines.
    table = result.table()
    difference = dict(zip(table["method"], table["difference"].value, strict=True))
    assert difference[plain.name] == pytest.approx(0, abs=1e-4)
    assert difference[filtered.name] == pytest.approx(filtered.flux_corrected - result.uv.flux,
                                                      rel=1e-9)
    assert result.summary()["suggested_uvmin_m"] > 100
    result.plot(tmp_path / "stamps.png")
    assert (tmp_path / "stamps.png").stat().st_size > 20_000


def run(*args):
    """Exit status and output of a command in this process.

    Errors of uvstack come out as they are.
    """
    result = CliRunner().invoke(group, [str(a) for a in args], catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.drawn
def test_the_command_writes_table_numbers_pictures_and_page(survey, tmp_path):
    code, output = run("compare", survey / "survey.ms", survey / "positions.csv", "--uvmin", "300m",
                       "--uvmax", "3km", "--size", "200", "--cell", "3arcsec", "--weighting",
                       "briggs", "--robust", 1, "--method", "mean,clipped-mean", "--filter",
                       "2klambda", "--stamp", 48, "--weights", "list*local-noise", "--columns",
                       "weight=w", "--column", "MODEL_DATA", "--field", 0, "--spw", 0, "--bins", 8,
                       "--fit", "gaussian", "--out", tmp_path / "s.ms", "--report", tmp_path / "r",
                       "--threads", 2)
    assert code == 0
    report = tmp_path / "r"
    assert {f.name for f in report.iterdir()} == {"result.json", "methods.ecsv", "uv_profile.ecsv",
                                                  "stamps.png", "profiles.png", "index.html",
                                                  "fit.json", "fit.png", "psf_fit.json",
                                                  "image-dirty.fits", "image-psf.fits"}
    assert (tmp_path / "s.ms").is_dir()
    found = json.loads((report / "result.json").read_text())
    table = QTable.read(report / "methods.ecsv")
    assert [row["method"] for row in found["methods"]] == list(table["method"])
    assert len(table) == 2 + 8
    assert table["flux"].value == pytest.approx([row["flux_jy"] for row in found["methods"]])
    assert table["flux"][0].value == pytest.approx(0.2, abs=5 * table["flux_error"][0].value)
    assert np.isnan(table["flux_error_expected"][-1].value)
    assert found["settings"]["filter"] == "2klambda"
    assert found["provenance"]["inputs"]["options"]["weighting"] == "briggs"
    assert found["files"]["dirty"] == str(report / "image-dirty.fits")
    assert fits.getdata(found["files"]["dirty"]).shape[-2:] == (200, 200)
    assert len(QTable.read(report / "uv_profile.ecsv")) == 8
    page = (report / "index.html").read_text()
    assert "http" not in page
    assert page.count("<img") >= 3
    assert "clipped-mean" in output
    with pytest.raises(OutputError, match="exists"):
        run("compare", survey / "survey.ms", survey / "positions.csv", "--report", report)


def test_an_image_of_ones_own_gives_the_same_stacks(survey, tmp_path):
    given = (survey / "survey.ms", survey / "positions.csv", "--method", "mean")
    assert run("compare", *given, "--cell", "3arcsec", "--report", tmp_path / "a")[0] == 0
    assert run("compare", *given, "--image", tmp_path / "a" / "image-dirty.fits", "--psf",
               tmp_path / "a" / "image-psf.fits", "--timerange", "2019/12/31~2020/01/02", "--frame",
               "J2000", "--unit", "deg", "--beam", "15arcsec,15arcsec", "--fit", "point",
               "--report", tmp_path / "b")[0] == 0
    one, two = (QTable.read(tmp_path / name / "methods.ecsv") for name in "ab")
    assert one["flux"].value == pytest.approx(two["flux"].value, rel=1e-9)
    assert one["peak_response"] == pytest.approx(two["peak_response"], rel=1e-9)
    assert not list((tmp_path / "b").glob("*.fits"))
    # The fit wanted a stacked set that nobody asked to keep.
    assert not list(tmp_path.glob("**/*.ms"))
    fit, psf_fit = (json.loads((tmp_path / "b" / name).read_text())
                    for name in ("fit.json", "psf_fit.json"))
    assert fit
    assert psf_fit[0]["method"] == "image-stack, sub-pixel"
    assert psf_fit[0]["flux_jy"] == pytest.approx(0.2, abs=5 * psf_fit[0]["flux_error_jy"])


def test_the_primary_beam_and_a_flat_image_of_ones_own(survey, tmp_path):
    ms, positions = survey / "survey.ms", survey / "positions.csv"
    same = {"primary_beam": BEAM, "methods": ["mean"]}
    one = uvstack.compare(ms, positions, **same, cell=CELL, image_out=tmp_path / "i",
                          pb_cutoff=0.2).table()["flux"].value
    made = {"image": tmp_path / "i-dirty.fits", "psf": tmp_path / "i-psf.fits",
            "image_kind": "flat"}
    # The beam at the image's frequency, or its map: a mean over 2 % of bandwidth.
    assert uvstack.compare(ms, positions, **same,
                           **made).table()["flux"].value == pytest.approx(one, rel=1e-3)
    code, _ = run("compare", ms, positions, "--method", "mean", "--primary-beam", BEAM, "--image",
                  made["image"], "--psf", made["psf"], "--image-kind", "flat", "--pb-image",
                  tmp_path / "i-pb.fits", "--pb-cutoff", 0.2, "--weights", "primary-beam",
                  "--noise-image", made["image"], "--noise-kind", "flat", "--report",
                  tmp_path / "r", "--overwrite")
    assert code == 0
    assert QTable.read(tmp_path / "r"
                       / "methods.ecsv")["flux"].value == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize(("options", "error", "text"), [
    (["--image", "{dir}/nobeam.fits"], ImageError, "no beam"),
    (["--image", "{dir}/band.fits"], ImageError, "at 3 GHz and the data are at 1.4 to"),
    (["--image", "{dir}/elsewhere.fits"], PositionsError, "no position can be stacked: 8 off the image"),
    (["--image", "{dir}/cube.fits"], ImageError, "2 channels"),
    (["--image", "{dir}/none.fits"], ImageError, "no such image"),
    (["--image", "{dir}/good.fits", "--cell", "3arcsec"], SelectionError, "cell"),
    (["--psf", "{dir}/good.fits"], SelectionError, "psf belong to an image of your own"),
    (["--frame", "GALACTIC"], PositionsError, "from a phase centre: are frame and unit"),
    (["--cell", "0.02arcsec"], PositionsError, "8192 are made at most"),
    (["--frame", "GALACTIC", "--primary-beam", "vla"], PositionsError, "inside a primary beam"),
    (["--cell", "60arcsec"], ImageError, "too coarse"),
    (["--size", "64", "--cell", "-3arcsec"], ImageError, "positive"),
    (["--method", "medain"], SelectionError, "median"),
    (["--weights", "equl"], SelectionError, "equal"),
    (["--uvmin", "50km"], NoDataError, "uv range"),
    (["--stamp", "33"], SelectionError, "even"),
    (["--field", "7"], UvstackError, "field"),
    (["--out", "{dir}/survey.ms"], OutputError, "input"),
    (["--report", "{dir}/no/such"], OutputError, "no such folder"),
])  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(survey, tmp_path, monkeypatch, options, error,
                                                  text):
    monkeypatch.chdir(tmp_path)
    plane, where = np.ones((256, 256)), sin_wcs(*CENTRE, (256, 256), CELL)
    beam = Beam(15 * ARCSEC, 15 * ARCSEC, 0.0)
    for name, wcs, data, more in (("good", where, plane, {"beams": beam, "frequency": 1.41e9}),
                                  ("nobeam", where, plane, {"frequency": 1.41e9}),
                                  ("band", where, plane, {"beams": beam, "frequency": 3e9}),
                                  ("cube", where, np.ones((2, 256, 256)),
                                   {"beams": [beam, beam],
                                    "frequency": np.array([1.40e9, 1.41e9])}),
                                  ("elsewhere", sin_wcs(1.0, 0.2, (256, 256), CELL), plane,
                                   {"beams": beam, "frequency": 1.41e9})):
        if not (survey / f"{name}.fits").exists():
            write_image(survey / f"{name}.fits", data, wcs, **more)
    with pytest.raises(error, match=text) as caught:
        run("compare", survey / "survey.ms", survey / "positions.csv",
            *(o.format(dir=survey) for o in options))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_published_example_gives_the_published_stack_both_ways(real_data):
    result = uvstack.compare(real_data / "stacker_testdata.ms",
                             real_data / "stacker_testdata_positions.csv", uvmin="9km",
                             methods=["mean"])
    # The flux of the original code is 41.4 µJy, and without baselines below 9 km 26.7 ± 4.0 µJy.
    assert result.uv_all.flux == pytest.approx(41.4e-6, abs=0.1e-6)
    assert result.uv.flux == pytest.approx(26.7e-6, abs=0.1e-6)
    # Pixels hold the sidelobes of sources of 1 mJy: AGREE of 15 µJy rms, averaged, is nothing.
    assert result.find("subpixel").flux == pytest.approx(result.uv_all.flux, rel=AGREE)
    assert result.find("nearest").peak_response == pytest.approx(0.993, abs=0.002)
    filtered = result.find("subpixel", filtered=True)
    assert filtered.flux_corrected == pytest.approx(result.uv.flux,
                                                    abs=filtered.flux_corrected_error)
