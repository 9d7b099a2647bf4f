"""Sources of known flux come out of a simulated set within their errors; WSClean agrees.

Bad input is one line.
"""

import json
import os
import resource
import shutil
import signal
import subprocess

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from click.testing import CliRunner
from distributed import LocalCluster
from scipy.optimize import least_squares
from scipy.signal import fftconvolve

import factories
from factories import ARCMIN, ARCSEC, CENTRE, Spw, make_ms, offset
from oracles import cosines
from simulate.task import observe
from uvstack.cli.main import group
from uvstack.errors import ImageError, NoDataError, OutputError, SelectionError, UvstackWarning
from uvstack.imaging import mosaic, passes_files, pieces_files
from uvstack.imaging import product_files as products_task
from uvstack.imaging.mosaic import LEVEL, beam_patch, beam_terms
from uvstack.imaging.report import _thinned, image_figure
from uvstack.imaging.restore import pixel_directions
from uvstack.imaging.task import image
from uvstack.io.primary_beams import read_primary_beam
from uvstack.pixels.grid import centred_grid
from uvstack.sky.components import components

CELL = 2.5 * ARCSEC
SIZE = 192
#: On pixels, since a point between them loses up to 1 % of its peak in the image.
SOURCES = [(*offset(16 * CELL, -24 * CELL), 0.1), (*offset(-32 * CELL, 12 * CELL), 0.05),
           (*CENTRE, 0.02)]


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A set with three points and noise of 20 mJy a visibility."""
    made = observe(array="vla.c", sky=components(*np.array(SOURCES).T), pointings=CENTRE,
                   frequency=np.array([1.3, 1.5]) * u.GHz, integration=120 * u.s, duration=1 * u.h,
                   noise=20 * u.mJy, out=tmp_path_factory.mktemp("image") / "a.ms")
    return made.ms


@pytest.fixture(scope="module")
def cleaned(survey):
    return image(survey, size=SIZE, cell=CELL)


def peaks(picture, grid):
    """Highest value within 3 pixels of each source, and where it is off the source's pixel."""
    found = []
    for ra, dec, _ in SOURCES:
        i, j = (round(x) for x in grid.pixel_of(ra, dec))
        near = picture[i - 3 : i + 4, j - 3 : j + 4]
        found.append((near.max(), np.unravel_index(near.argmax(), near.shape) == (3, 3)))
    return np.array([f for f, _ in found]), all(there for _, there in found)


def test_fluxes_positions_and_noise_are_those_put_in(cleaned):
    found, in_place = peaks(cleaned.image[0], cleaned.grid)
    assert in_place
    # Four standard deviations of the noise, and 2e-4 of the flux by which a pixel's corner misses
    # the source (16.001 for 16).
    assert np.abs(found - [s[2] for s in SOURCES]).max() < 4 * cleaned.noise_expected + 2e-5
    # 192² pixels hold some 1500 beams, so the noise is known to 2 %; cleaning to 4 σ takes little
    # from it.
    assert cleaned.rms == pytest.approx(cleaned.noise_expected, rel=0.06)
    assert cleaned.stop_reason == "threshold in σ reached"
    # The model lacks up to the threshold, 4 σ, on each of three sources, and has their noise.
    assert cleaned.model[0].sum() == pytest.approx(0.17,
                                                   abs=(3 * 4 + 4 * np.sqrt(3)) * cleaned.noise)


def test_sums_are_the_same_in_any_number_of_chunks_and_threads(survey, cleaned):
    one, two = (image(survey, size=SIZE, cell=CELL, threads=n, chunk_size=20_000) for n in (1, 2))
    # Two threads of ducc0 add in an order of their own: 1e-7.
    assert np.abs(one.image - two.image).max() < 1e-6 * np.abs(one.image).max()
    # ducc0's accuracy of 1e-5, over 5 chunks.
    assert np.abs(one.dirty - cleaned.dirty).max() < 1e-5 * np.abs(cleaned.dirty).max()


def test_an_image_beside_the_phase_centre_is_the_same_sky(survey, cleaned):
    ra, dec = (float(x) for x in SOURCES[0][:2])
    moved = image(survey, size=SIZE, cell=CELL, phase_centre=(ra, dec), uvmin="50m",
                  weighting="natural")
    found, _ = peaks(moved.image[0], moved.grid)
    assert np.unravel_index(moved.image[0].argmax(), (SIZE, SIZE)) == (SIZE // 2, SIZE // 2)
    # A source that is no longer on a pixel loses up to 1 %.
    assert np.abs(found / [s[2] for s in SOURCES]
                  - 1).max() < 0.012 + 4 * moved.noise_expected / 0.02


def test_two_terms_find_a_flat_spectrum(survey):
    result = image(survey, size=SIZE, cell=CELL, terms=2)
    i, j = (round(x) for x in result.grid.pixel_of(*SOURCES[0][:2]))
    assert abs(result.alpha[i, j]) < 4 * result.alpha_error[i, j] < 0.2


def test_mosaic_gives_true_fluxes(tmp_path):
    sources = [(*offset(24 * CELL, 0.0), 0.1), (*offset(-48 * CELL, 24 * CELL), 0.05)]
    fields = (offset(-2 * ARCMIN, 0.0), offset(2 * ARCMIN, 0.0))

    def beam(l, m, frequency):
        return np.exp(-4 * np.log(2) * (l**2 + m**2) * (frequency / 1.4e9) ** 2 / (8 * ARCMIN) ** 2)

    ms = make_ms(tmp_path / "m.ms", fields=fields, sources=sources, beam=beam, n_ant=16, n_times=20,
                 scale=0.1)
    with pytest.raises(ImageError, match="--primary-beam"):
        image(ms, size=SIZE, cell=CELL)
    result = image(ms, size=SIZE, cell=CELL, primary_beam="gaussian:8arcmin@1.4GHz",
                   phase_centre=CENTRE, threshold=1e-4, most_cycles=40)
    assert result.model_is == "sky"
    for ra, dec, flux in sources:
        i, j = (round(x) for x in result.grid.pixel_of(ra, dec))
        # No noise: CLEAN's threshold of 1e-4 Jy/beam over the response, and 1e-3 of the flux off
        # the pixel.
        assert result.pbcor[0][i, j] == pytest.approx(flux, abs=3e-4)


#: A Gaussian beam of 8 arcmin at 1.4 GHz, which scales with wavelength.
def beam_of_8_arcmin(l, m, frequency):
    return np.exp(-4 * np.log(2) * (l**2 + m**2) * (frequency / 1.4e9) ** 2 / (8 * ARCMIN) ** 2)


@pytest.fixture(scope="module")
def mosaic_ms(tmp_path_factory):
    """Three pointings, two spectral windows that span a quarter of their frequency, and sources of spectral index 1.

    Fluxes that go with frequency are two Taylor terms exactly, whatever the reference.
    """
    sources = [(*offset(24 * CELL, 0.0), 0.1), (*offset(-48 * CELL, 24 * CELL), 0.05),
               (*offset(0, -50 * CELL), 0.03)]
    fields = (offset(-2 * ARCMIN, 0.0), offset(2 * ARCMIN, 0.0), offset(0, -2.5 * ARCMIN))
    ms = make_ms(tmp_path_factory.mktemp("mosaic") / "m.ms", fields=fields, sources=sources,
                 n_ant=12, n_times=10, beam=lambda l, m,
                 nu: beam_of_8_arcmin(l, m, nu) * (nu / 1.4e9), scale=0.1,
                 spws=[Spw(1.24e9, 20e6, 8), Spw(1.44e9, 20e6, 8)])
    return ms, sources


def test_taylor_terms_of_a_mosaic_are_those_of_the_sky(mosaic_ms):
    ms, sources = mosaic_ms
    result = image(ms, size=144, cell=CELL, primary_beam="gaussian:8arcmin@1.4GHz",
                   phase_centre=CENTRE, threshold=1e-4, most_cycles=30, terms=2)
    for ra, dec, flux in sources:
        i, j = (round(x) for x in result.grid.pixel_of(ra, dec))
        there = flux * result.reference_frequency / 1.4e9
        # No noise. Most of the threshold of 1e-4 Jy stands in the residual that is added; 5e-4 of
        # the flux off the pixel.
        assert result.pbcor[0][i, j] == pytest.approx(there, abs=2e-5 + 5e-4 * flux)
        # That over a band with a standard deviation of 0.08 in ν/ν₀, and 1/8² of the beam's index
        # of −2 or less.
        assert result.alpha[i, j] == pytest.approx(1.0, abs=2e-5 / flux / 0.08 + 0.03)
        assert result.pbcor[1][i, j] / result.pbcor[0][i, j] == pytest.approx(
            result.alpha[i, j], rel=1e-6)


def test_pointings_side_by_side_are_those_one_by_one(mosaic_ms):
    ms, _ = mosaic_ms
    one, two = (image(ms, size=144, cell=CELL, primary_beam="gaussian:8arcmin@1.4GHz", iterations=50,
                      phase_centre=CENTRE, terms=2, threads=threads) for threads in (1, 2))
    for name in ("dirty", "psf", "model", "residual"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_beams_that_are_not_kept_give_the_same_mosaic(mosaic_ms, monkeypatch):
    ms, _ = mosaic_ms
    options = {"size": 144, "cell": CELL, "primary_beam": "gaussian:8arcmin@1.4GHz", "terms": 2,
               "phase_centre": CENTRE, "iterations": 50, "threads": 1}
    kept = image(ms, **options)
    monkeypatch.setattr(passes_files, "_MOST_KEPT", 0)
    again = image(ms, **options)
    for kind in ("image", "response", "residual"):
        one, other = getattr(kept, kind), getattr(again, kind)
        np.testing.assert_allclose(other, one, atol=1e-5 * np.nanmax(np.abs(one)), rtol=0)


def test_what_a_chunk_gives_has_the_size_of_the_image(mosaic_ms, monkeypatch):
    """However many pointings and bands it holds; images of these are added as they come."""
    sizes, given = [], passes_files.image_chunk

    def weighed(job, chunk):
        found = given(job, chunk)
        sizes.append((len(found["weights"]), found["weighted"].nbytes))
        return found

    monkeypatch.setattr(passes_files, "image_chunk", weighed)
    result = image(mosaic_ms[0], size=144, cell=CELL, primary_beam="gaussian:8arcmin@1.4GHz",
                   phase_centre=CENTRE, iterations=0, threads=1)
    assert max(n for n, _ in sizes) > 1
    assert {size for _, size in sizes} == {4 * result.dirty.size}


def test_a_source_between_pixels_of_a_mosaic(tmp_path, monkeypatch):
    """Fitted with the restoring beam it has its flux to 0.1 %, with natural weights.

    The peak's pixel alone misses 3 %.
    """
    # An hour's track: the few minutes of other sets here leave gaps in (u, v) that a model between
    # pixels fills wrongly, to 0.5 %.
    monkeypatch.setattr(factories, "INTEGRATION", 300.0)
    grid = centred_grid(*CENTRE, 144, CELL)
    ra, dec = (float(x[0]) for x in pixel_directions([80.5], [60.3], grid.geometry, grid.shape))
    ms = make_ms(tmp_path / "a.ms", fields=(offset(-2 * ARCMIN, 0.0), offset(2 * ARCMIN, 0.0)),
                 sources=[(ra, dec, 0.1)], n_ant=14, n_times=12, beam=beam_of_8_arcmin, scale=0.1)
    result = image(ms, size=144, cell=CELL, primary_beam="gaussian:8arcmin@1.4GHz",
                   phase_centre=CENTRE, threshold=1e-4, most_cycles=30, weighting="natural")
    part, beam = result.pbcor[0][78:83, 58:63], result.beam
    m, l = np.mgrid[78:83, 58:63].astype(float)

    def misfit(p):
        north, east = (m - p[1]) * CELL, -(l - p[2]) * CELL
        sin, cos = np.sin(beam.position_angle), np.cos(beam.position_angle)
        along, across = north * cos + east * sin, east * cos - north * sin
        return (p[0] * np.exp(-4 * np.log(2)
                              * ((along / beam.fwhm_major) ** 2 + (across / beam.fwhm_minor) ** 2))
                - part).ravel()

    fitted = least_squares(misfit, [0.1, 80.0, 60.0], x_scale=[0.1, 1.0, 1.0]).x
    assert fitted[0] == pytest.approx(0.1, rel=1e-3)
    assert fitted[1:] == pytest.approx([80.5, 60.3], abs=0.01)


@pytest.mark.parametrize("weighting", ["uniform", "natural"])
def test_flux_off_axis_of_a_single_pointing_with_a_wide_band(tmp_path, weighting):
    """The correction is the beam as the weights and terms of the image see it.

    Here the upper window has nine times the weight.
    """
    source = (*offset(60 * CELL, -20 * CELL), 0.1)
    ms = make_ms(tmp_path / "a.ms", sources=[source], n_ant=14, n_times=12, beam=beam_of_8_arcmin,
                 spws=[Spw(1.24e9, 20e6, 8), Spw(1.44e9, 20e6, 8)],
                 weights={"WEIGHT": lambda d: 1.0 + 8.0 * d})
    dirty = image(ms, size=SIZE, cell=CELL, primary_beam="gaussian:8arcmin@1.4GHz", iterations=0,
                  weighting=weighting)
    i, j = (round(x) for x in dirty.grid.pixel_of(*source[:2]))
    # The dirty image there is Σ w A S / Σ w to the 2e-4 of the pixel, and the beam a mean over five
    # groups of channels.
    assert dirty.pbcor[0][i, j] == pytest.approx(0.1, rel=1e-3)
    wide = image(ms, size=SIZE, cell=CELL, primary_beam="gaussian:8arcmin@1.4GHz", terms=2,
                 threshold=1e-5, weighting=weighting, most_cycles=30)
    # As near as CLEAN to 1e-5 Jy gets: 2e-4 of the flux, and the pixel. A Taylor series of the beam
    # about ν0 is off by 2e-3.
    assert wide.pbcor[0][i, j] == pytest.approx(0.1, rel=5e-4)
    # That over a rms x of 0.04 and more; the beam alone has −0.7 there.
    assert wide.alpha[i, j] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(("beam", "at"),
                         [("evla", 0.37 * ARCMIN), ("airy:25m,2.36m", None),
                          ("gaussian:20arcmin@1.4GHz", 20 * ARCMIN)])
def test_a_beam_from_a_table_is_the_beam(beam, at):
    """Of many pixels the beam is interpolated.

    By less than 1e-6 off the model, at its steps and for a turned pointing too.
    """
    model = read_primary_beam(beam)
    grid = centred_grid(*CENTRE, (960, 1000), 4.5 * ARCSEC)
    pointing = CENTRE if at is None else offset(at, 0.7 * at)
    frequency, weight = np.linspace(1.2e9, 1.6e9, 10), np.linspace(1.0, 3.0, 10)
    terms = beam_terms(grid, model, pointing, frequency, weight, 1.4e9, 2)
    rows, columns = (x.ravel() for x in np.indices(grid.shape))
    l, m, _ = cosines(*pixel_directions(rows, columns, grid.geometry, grid.shape), *pointing)
    for pixel in range(0, rows.size, 12_345):
        there = model(l[pixel : pixel + 1], m[pixel : pixel + 1], frequency)[0]
        # Ten channels are nodes of their own: the weighted least squares of the channels
        # themselves.
        slope, level = np.polyfit(frequency / 1.4e9 - 1, there, 1, w=np.sqrt(weight))
        assert terms[:, rows[pixel], columns[pixel]] == pytest.approx(
            [level, slope] if level >= LEVEL else [0, 0], abs=1e-6)
    patch = beam_patch(grid, model, pointing, frequency[:1])
    power = np.zeros(grid.shape)
    power[patch.rows, patch.columns] = patch.power
    there = model(l, m, frequency[:1])[:, 0].reshape(grid.shape)
    # All pixels, for a step of the model is in one interval of 65,536. Where it stands at the level
    # to rounding, either is right.
    clear = np.abs(there - LEVEL) > 1e-6
    assert np.abs(power - np.where(there >= LEVEL, there, 0.0))[clear].max() < 1e-6
    assert patch.power.size > 4 * mosaic._INTERVALS


def test_every_deconvolver_finds_the_same_points(survey, cleaned):
    for options in ({"deconvolver": "hogbom"}, {"scales": (0.0, 5.0)}, {"auto_mask": True}):
        other = image(survey, size=SIZE, cell=CELL, **options)
        # Each cleans to 4 σ in its own way; below that they differ by less than the noise.
        assert np.abs(peaks(other.image[0], other.grid)[0]
                      - peaks(cleaned.image[0], cleaned.grid)[0]).max() < cleaned.noise
        assert other.model[0].sum() == pytest.approx(0.17,
                                                     abs=(3 * 4 + 4 * np.sqrt(3)) * cleaned.noise)
        assert other.rms == pytest.approx(cleaned.rms, rel=0.03)


def test_an_extended_source_by_scales(tmp_path):
    sky = components(*CENTRE, 1.0, fwhm_major=30 * ARCSEC)
    ms = observe(array="vla.c", sky=sky, pointings=CENTRE, frequency=np.array([1.4]) * u.GHz,
                 width=np.array([0.1]) * u.GHz, integration=120 * u.s, duration=1 * u.h,
                 noise=20 * u.mJy, out=tmp_path / "a.ms").ms
    result = image(ms, size=SIZE, cell=CELL, scales=(0, 6, 14), threshold_sigma=3)
    # What is under the threshold over the 30 beams or so of the source: 1.5 σ in each beam at most.
    assert result.model[0].sum() == pytest.approx(1.0, abs=30 * 1.5 * result.noise)
    points = image(ms, size=SIZE, cell=CELL, threshold_sigma=3)
    assert np.count_nonzero(result.lists["components"]["flux"]) < 0.5 * np.count_nonzero(
        points.lists["components"]["flux"])


def test_a_taper_convolves_the_psf(survey):
    tapered, plain = (image(survey, size=SIZE, cell=CELL, uvtaper=fwhm, weighting="natural",
                            iterations=0) for fwhm in (20 * ARCSEC, 0.0))
    x = np.arange(-24, 25) * CELL
    gaussian = np.exp(-4 * np.log(2) * (x[:, None] ** 2 + x**2) / (20 * ARCSEC) ** 2)
    middle = slice(SIZE // 2 - 30, SIZE // 2 + 31)
    wider = fftconvolve(plain.psf, gaussian, mode="same")[middle, middle]
    # ducc0's 1e-5, over the part of the peak that the taper leaves.
    assert np.abs(tapered.psf[middle, middle] - wider / wider.max()).max() < 1e-4
    assert tapered.beam.fwhm_minor > 20 * ARCSEC


def test_several_sets_and_windows_are_one(tmp_path):
    both = dict(sources=SOURCES, n_ant=10, weights={"WEIGHT": lambda d: 1.0 + d})
    spws = [Spw(1.3e9, 20e6, 3), Spw(1.5e9, 20e6, 2)]
    one = make_ms(tmp_path / "one.ms", spws=spws, **both)
    parts = [make_ms(tmp_path / f"part{i}.ms", spws=[spw],
                     **both | {"weights": {"WEIGHT": 1.0 + i}}) for i, spw in enumerate(spws)]
    joint, apart = (image(ms, size=SIZE, cell=CELL, iterations=50, threads=1)
                    for ms in (one, parts))
    # The same sums in the same order but for the rows of a chunk: ducc0's 1e-5.
    assert np.abs(joint.dirty - apart.dirty).max() < 1e-5 * np.abs(joint.dirty).max()
    assert joint.reference_frequency == pytest.approx((3 * 1.32e9 + 2 * 2 * 1.51e9) / 7)
    assert apart.reference_frequency == pytest.approx(joint.reference_frequency, rel=1e-12)
    assert joint.noise_expected == pytest.approx(apart.noise_expected, rel=1e-5)
    assert image(str(tmp_path / "part*.ms"), size=SIZE, cell=CELL, iterations=50,
                 threads=1).n_visibilities == joint.n_visibilities


def test_two_workers_give_the_same_image(survey):
    options = {"size": 64, "cell": CELL, "iterations": 20, "threads": 1, "chunk_size": 60_000}
    local = image(survey, **options)
    # What goes over the network is pickled, as between processes, which take four seconds to start.
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, protocol="tcp",
                      dashboard_address="127.0.0.1:0") as workers:
        spread = image(survey, scheduler=workers.scheduler_address, **options)
    assert np.array_equal(local.image, spread.image)


def test_pictures_of_large_images_leave_no_source_out():
    data = np.random.default_rng(1).normal(size=(203, 305))
    data[6, 9], data[100, 200], data[:8, 40:60] = -40.0, 60.0, np.nan
    thin = _thinned(data, 50)
    assert thin.shape == (33, 50)
    assert (thin[1, 1], thin[16, 33]) == (-40.0, 60.0)
    assert np.isnan(thin[0, 7])
    assert _thinned(data, 305) is data


def test_the_picture_shows_the_middle_of_the_psf(cleaned):
    panels = image_figure(cleaned).axes[:3]
    shown = panels[2].images[0]
    assert np.ptp(panels[2].get_xlim()) == pytest.approx(20 * cleaned.beam.fwhm_major / ARCSEC,
                                                         abs=3 * CELL / ARCSEC)
    # The peak is where its axes say 0, 0.
    row, column = np.unravel_index(shown.get_array().argmax(), shown.get_array().shape)
    left, right, bottom, top = shown.get_extent()
    n_m, n_l = shown.get_array().shape
    assert (left + (column + 0.5) * (right - left) / n_l,
            bottom + (row + 0.5) * (top - bottom) / n_m) == pytest.approx((0, 0), abs=1e-9)
    assert panels[0].images[0].get_array().shape == (SIZE, SIZE)


def test_wsclean_agrees(survey, cleaned, tmp_path):
    if shutil.which("wsclean") is None:
        pytest.skip("wsclean is not installed")
    subprocess.run(["wsclean", "-quiet", "-size", str(SIZE), str(SIZE), "-scale", "2.5asec",
                    "-weight", "briggs", "0", "-pol", "I", "-niter", "100000", "-mgain", "0.8",
                    "-auto-threshold", "4", "-padding", "1.5", "-j", "1",
                    "-no-update-model-required", "-name", str(tmp_path / "ws"), str(survey)],
                   check=True, capture_output=True, timeout=60)
    theirs, rest = (fits.getdata(tmp_path / f"ws-{name}.fits")[0, 0]
                    for name in ("image", "residual"))
    # WSClean grids the weights on its padded image, a slightly different density.
    assert peaks(theirs, cleaned.grid)[0] == pytest.approx(peaks(cleaned.image[0], cleaned.grid)[0],
                                                           rel=0.01)
    assert rest.std() == pytest.approx(cleaned.rms, rel=0.05)


def test_command_line_writes_products_that_agree(survey, tmp_path):
    out = tmp_path / "s"
    arguments = ["image", str(survey), "--size", "192", "--cell", "2.5arcsec", "--threshold",
                 "500uJy", "--out", str(out), "--primary-beam", "vla"]
    answer = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert answer.exit_code == 0
    assert "threshold reached" in answer.output
    record = json.loads((tmp_path / "s.json").read_text())
    header = fits.getheader(f"{out}-image.fits")
    assert np.deg2rad(header["BMAJ"]) == pytest.approx(record["beam"]["fwhm_major_rad"], rel=1e-6)
    assert (header["BUNIT"],
            fits.getheader(f"{out}-model.fits")["BUNIT"]) == ("Jy/beam", "Jy/pixel")
    assert fits.getdata(f"{out}-model.fits").sum() == pytest.approx(record["model_flux_jy"],
                                                                    rel=1e-5)
    with pytest.raises(OutputError, match="exists"):
        CliRunner().invoke(group, arguments, catch_exceptions=False)
    mask = np.zeros((SIZE, SIZE))
    mask[96, 96] = 1
    data, head = fits.getdata(f"{out}-image.fits"), fits.getheader(f"{out}-image.fits")
    data[0, 0] = mask
    fits.writeto(tmp_path / "mask.fits", data, head)
    only = image(survey, size=SIZE, cell=CELL, mask=tmp_path / "mask.fits", iterations=50)
    assert np.count_nonzero(only.model) == np.count_nonzero(only.model[0, 96, 96]) == 1
    with pytest.raises(ImageError,
                       match=r"mask.fits: a mask of 192 × 192 pixels for an image of 128 × 128"):
        image(survey, size=128, cell=CELL, mask=tmp_path / "mask.fits")
    with pytest.raises(ImageError, match=r"mask.fits: a mask of another grid"):
        image(survey, size=SIZE, cell=1.1 * CELL, mask=tmp_path / "mask.fits")


@pytest.mark.parametrize(("options", "kind", "text"),
                         [({"cell": 30 * ARCSEC}, ImageError, "too coarse .* take"),
                          ({"uvmin": "900km"}, NoDataError, "uv range"),
                          ({"stokes": "RRR"}, SelectionError, "did you mean 'RR'"),
                          ({"weighting": "brigs"}, SelectionError, "did you mean briggs"),
                          ({"terms": 2, "deconvolver": "clark"}, ImageError, "mtmfs"),
                          ({"deconvolver": "hogbum"}, SelectionError, "did you mean hogbom"),
                          ({"stokes": "Q"}, SelectionError,
                           "Q cannot be made of the correlations there are: .* has RR, LL"),
                          ({"reference_frequency": float("nan")}, SelectionError,
                           "reference_frequency is nan; wanted a positive frequency"),
                          ({"mask": "none.reg"}, ImageError, "none.reg: no such mask"),
                          ({"pb_cutoff": 2.0}, SelectionError, "pb_cutoff is 2.0"),])
def test_bad_input_is_one_line(survey, options, kind, text):
    with pytest.raises(kind, match=text) as error:
        image(survey, **({"size": SIZE, "cell": CELL} | options))
    assert "\n" not in str(error.value)


def test_the_cell_that_is_proposed_will_do(survey):
    with pytest.raises(ImageError) as error:
        image(survey, size=SIZE, cell=30 * ARCSEC, iterations=0)
    cell = float(str(error.value).split("take ")[1].split(" arcsec")[0])
    assert image(survey, size=SIZE, cell=cell * ARCSEC,
                 iterations=0).beam.fwhm_minor > 2.5 * cell * ARCSEC


def test_sizes_with_large_prime_factors_are_told(survey):
    with pytest.warns(UvstackWarning,
                      match="94 × 94 pixels is slow to transform; it is made with 96 × 96"):
        assert image(survey, size=94, cell=CELL, iterations=0).grid.shape == (96, 96)


def test_a_full_disk_leaves_nothing(survey, tmp_path, monkeypatch):
    options = {"size": SIZE, "cell": CELL, "iterations": 0, "out": tmp_path / "a"}
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage",
                      lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
        with pytest.raises(OutputError, match=r"737 kB are needed for a-psf\.fits, 1 kB are free"):
            image(survey, **options)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Images of 150 kB; Python ignores the signal that would end it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError,
                           match="a: the products cannot be written: .*; is there space") as error:
            image(survey, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_no_product_under_its_name(survey, tmp_path, monkeypatch):
    result = image(survey, size=64, cell=CELL, iterations=0)
    assert result.stop_reason == "no iteration asked for"
    names = products_task.product_paths(tmp_path / "a", 1, False)
    names["image"].write_text("old")
    child = os.fork()
    if child == 0:
        products_task.json_text = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        products_task.write_products(result, names)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".partial"] == ["a-image.fits"]
    assert names["image"].read_text() == "old"
    # The next run takes the remains away.
    products_task.write_products(result, names)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in names.values())


def test_what_is_read_at_once_changes_nothing(survey, monkeypatch):
    once = image(survey, size=SIZE, cell=CELL, iterations=0, threads=1)
    monkeypatch.setattr(pieces_files, "_READ_AT_ONCE", 1000)
    again = image(survey, size=SIZE, cell=CELL, iterations=0, threads=1)
    for kind in ("dirty", "psf"):
        # Single precision, and threads whose order is theirs.
        np.testing.assert_allclose(getattr(again, kind), getattr(once, kind),
                                   atol=2e-7 * getattr(once, kind).max(), rtol=0)
    assert again.psf.shape == once.grid.shape
    assert again.n_visibilities == once.n_visibilities
