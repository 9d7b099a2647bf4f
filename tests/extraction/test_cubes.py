"""Cubes: sources of all channels together, their fluxes in each, and spectral indices."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from scipy import stats
from test_extract import BEAM, gaussian, header, noise

import uvstack
from uvstack.cli.main import group
from uvstack.errors import ImageError, SelectionError
from uvstack.extraction.channels import normal_deviation, spectral_indices
from uvstack.io.catalogues import read_catalogue

FREQUENCY = 1e9 * np.arange(1.0, 2.01, 0.2)
#: x, y, flux at 1.4 GHz, spectral index.
SOURCES = [(30.0, 40.0, 0.05, -0.7), (100.0, 50.0, 0.03, 0.5), (60.0, 110.0, 0.08, -1.5),
           (120.0, 120.0, 0.02, 0.0)]


def cube(path, sources=SOURCES, seed=0, sigma=1e-3, blank=None, unlike=None, **cards):
    """Channels of different noise; one may be blank, and spectra may be no power law."""
    planes = []
    for k, nu in enumerate(FREQUENCY):
        plane = noise(160, 100 * seed + k, sigma * (1 + 0.3 * (k % 3)))
        for x, y, flux, index in sources:
            plane += flux * (nu / 1.4e9) ** index * gaussian(160, x, y, *BEAM)
        if unlike:
            plane += unlike[2][k] * gaussian(160, *unlike[:2], *BEAM)
        planes.append(np.full_like(plane, np.nan) if k == blank else plane)
    made = header(CTYPE3="FREQ", CRVAL3=FREQUENCY[0], CDELT3=FREQUENCY[1] - FREQUENCY[0],
                  CRPIX3=1.0, CUNIT3="Hz", **cards)
    fits.writeto(path, np.array(planes, "f4"), made)
    return path


def at(table, x, y):
    distance = np.hypot(table["x"].value - x, table["y"].value - y)
    assert distance.min() < 2
    return int(np.argmin(distance))


@pytest.mark.parametrize("detect", ["mean", "chi-squared"])
def test_fluxes_in_channels_and_indices_come_out_within_their_errors(tmp_path, detect):
    path = cube(tmp_path / "cube.fits", blank=2)
    table = uvstack.extract(path, detect=detect, channels_out=tmp_path / "c.ecsv")
    assert len(table) == 4
    channels = read_catalogue(tmp_path / "c.ecsv")
    assert len(channels) == 4 * 5
    assert list(channels["channel"][:5]) == [0, 1, 3, 4, 5]
    for x, y, flux, index in SOURCES:
        row = table[at(table, x, y)]
        assert abs(row["spectral_index"] - index) < 4.5 * row["spectral_index_error"]
        assert row["spectral_index_error"] < 0.3
        mine = channels[channels["source"] == row["source"]]
        right = flux * (mine["frequency"].value / 1.4e9) ** index
        assert (np.abs(mine["flux"].value - right) < 4.5 * mine["flux_error"].value).all()
        assert np.allclose(mine["rms"].value / 1e-3, 1 + 0.3 * (np.asarray(mine["channel"]) % 3),
                           rtol=0.1)
    weight = 1 / (1 + 0.3 * (np.array([0, 1, 3, 4, 5]) % 3)) ** 2
    assert table.meta["reference_frequency"] == pytest.approx(np.average(
                                                                  FREQUENCY[[0, 1, 3, 4, 5]],
                                                                  weights=weight), rel=5e-3)


def test_a_source_that_changes_its_sign_is_found_by_its_squares(tmp_path):
    path = cube(tmp_path / "cube.fits", unlike=(60.0, 60.0, 0.02 * np.array([1, -1, 1, -1, 1, -1])))
    assert len(uvstack.extract(path)) == 4
    table = uvstack.extract(path, detect="chi-squared")
    assert len(table) == 5


def test_forced_places_are_measured_in_all_channels(tmp_path):
    path = cube(tmp_path / "cube.fits")
    table = uvstack.extract(path)
    again = uvstack.extract(path, forced=table, channels_out=tmp_path / "c.fits")
    assert np.allclose(again["spectral_index"], table["spectral_index"], atol=0.02)
    assert len(read_catalogue(tmp_path / "c.fits")) == 4 * 6


def test_no_source_at_all_is_an_empty_catalogue(tmp_path):
    path = cube(tmp_path / "cube.fits", sources=[])
    table = uvstack.extract(path, detection=8, channels_out=tmp_path / "c.fits",
                            report=tmp_path / "r")
    assert len(table) == 0
    assert "spectral_index" in table.colnames


def test_pulls_of_indices_are_normal_also_where_channels_are_faint():
    rng = np.random.default_rng(3)
    for flux, n in ((1.0, 400), (0.15, 400)):
        index = rng.uniform(-1.5, 1.0, n)
        error = np.full((n, 6), 0.05) * (1 + 0.5 * (np.arange(6) % 2))
        seen = flux * (FREQUENCY / 1.4e9) ** index[:, None] + error * rng.standard_normal((n, 6))
        if flux < 1:
            assert (seen < 0).any()
        found, spread = spectral_indices(FREQUENCY, seen, error, 1.4e9)
        good = np.isfinite(found)
        assert good.mean() > 0.98
        pull = (found - index)[good] / spread[good]
        # Faint ones are not normal: the median and the 68 % count.
        low, middle, high = np.percentile(pull, [16, 50, 84])
        assert abs(middle) < 0.2
        assert abs(0.5 * (high - low) - 1) < 0.15


def test_indices_of_exact_powers_and_of_nothing():
    flux = 3e-6 * (FREQUENCY / 1.2e9) ** np.array([[-0.8], [2.0]])
    error = np.full((2, 6), 1e-9)
    found, _ = spectral_indices(FREQUENCY, flux, error, 1.2e9)
    assert found == pytest.approx([-0.8, 2.0], abs=1e-6)
    flux[0, 1:], error[1, :] = np.nan, 0.0
    found, spread = spectral_indices(FREQUENCY, flux, error, 1.2e9)
    assert np.isnan(found).all()
    assert np.isnan(spread).all()


def test_noise_is_measured_once_and_the_background_is_that_of_the_channels(tmp_path, monkeypatch):
    """Each channel once, and their mean; the background column is what was taken off, weighted as the mean is."""
    from uvstack.extraction import task

    path, level = cube(tmp_path / "cube.fits"), 1e-3 * np.arange(4.0, 10.0)
    with fits.open(path, mode="update") as hdus:
        hdus[0].data += level[:, None, None].astype("f4")
    asked, measure = [], task.measure_noise
    monkeypatch.setattr(task, "measure_noise", lambda *a, **k: asked.append(a) or measure(*a, **k))
    table = uvstack.extract(path)
    assert len(asked) == len(FREQUENCY) + 1
    weight = (1 + 0.3 * (np.arange(6) % 3)) ** -2
    expected = np.average(level, weights=weight)
    # Noise of the mean 0.5 mJy/beam, boxes of some hundred beams.
    assert np.abs(table["background"].value - expected).max() < 2.5e-4


def test_deviations_are_as_rare_as_the_sums_of_squares():
    for n in (1, 2, 6, 64):
        x = stats.chi2.isf([0.3, 1e-3, 1e-7, 1e-100, 1e-250], n)
        assert normal_deviation(x, np.full(5, n)) == pytest.approx(
            stats.norm.isf([0.3, 1e-3, 1e-7, 1e-100, 1e-250]), rel=1e-6)
        # Beyond, the slope goes on without a step: at 1e-280 and just below.
        x = np.linspace(stats.chi2.isf(1e-275, n), stats.chi2.isf(1e-275, n) + 60, 200)
        z = normal_deviation(x, np.full(200, n))
        assert (np.diff(z) > 0).all()
        assert np.abs(np.diff(z, 2)).max() < 2e-3
    # Of one square it is the normal deviation of the two-sided probability.
    assert normal_deviation(np.array([100.0**2]), np.array([1]))[0] == pytest.approx(100, abs=0.02)
    assert np.isnan(normal_deviation(np.array([1.0]), np.array([0])))[0]


def test_what_is_wrong_is_told_in_one_line(tmp_path):
    path = cube(tmp_path / "cube.fits")
    for words, options in (("of which rms says nothing", {"rms": 1e-3}),
                           ("of which psf_map says nothing", {"psf_map": path})):
        with pytest.raises(ImageError, match=words):
            uvstack.extract(path, **options)
    with pytest.raises(SelectionError, match="detect is 'median'"):
        uvstack.extract(path, detect="median")
    plane = tmp_path / "plane.fits"
    fits.writeto(plane, noise(96, 1).astype("f4"), header(96))
    for options in ({"detect": "chi-squared"}, {"channels_out": tmp_path / "c.fits"}):
        with pytest.raises(ImageError, match="one channel"):
            uvstack.extract(plane, **options)
    with fits.open(path, mode="update") as hdus:
        n = len(FREQUENCY)
        hdus.append(fits.BinTableHDU.from_columns([fits.Column("BMAJ", "E", "arcsec",
                                                               array=np.linspace(5, 6, n)),
                                                   fits.Column("BMIN", "E", "arcsec",
                                                               array=[4.0] * n),
                                                   fits.Column("BPA", "E", "deg", array=[30.0] * n),
                                                   fits.Column("CHAN", "J", array=np.arange(n)),
                                                   fits.Column("POL", "J", array=[0] * n)],
                                                  name="BEAMS"))
    with pytest.raises(ImageError, match="major axes of 5″ to 6″"):
        uvstack.extract(path)


def test_the_command_takes_a_cube(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cube(tmp_path / "cube.fits")
    done = CliRunner().invoke(group,
                              ["extract", "cube.fits", "--detect", "chi-squared", "--channels-out",
                               "c.ecsv", "--report", "r"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r" / "channels.ecsv").is_file()


@pytest.mark.drawn
def test_the_page_of_a_cube_shows_the_spectra_and_what_is_left(tmp_path):
    from uvstack.extraction.report import spectra_figure
    from uvstack.extraction.task import find

    found = find(cube(tmp_path / "cube.fits"), report=tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "of the brightest sources, with the power law" in page
    for name in ("spectra", "residual_image"):
        assert (tmp_path / "page" / f"{name}.png").stat().st_size > 5000
    panels = [one for one in spectra_figure(found).axes if one.has_data()]
    assert len(panels) == 4
    order = np.argsort(-found.catalogue["flux"].value)
    for axes, i in zip(panels, order, strict=True):
        curve = axes.lines[-1].get_xydata()
        slope = np.log(curve[-1, 1] / curve[0, 1]) / np.log(curve[-1, 0] / curve[0, 0])
        assert slope == pytest.approx(found.catalogue["spectral_index"][i])
