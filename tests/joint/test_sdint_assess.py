"""Before and after joint imaging: overlap, flux scale, noise, weights; accuracy, fidelity and power of an image."""

import dataclasses
import json
import shutil

import gaussian_sky as sky
import numpy as np
import pytest
from astropy.io import fits

import uvstack
from factories import edit
from simulate import rau
from uvstack.errors import ImageError, NumericalError, SelectionError
from uvstack.io.image_file import read_cube
from uvstack.joint.assessment.comparison import compare
from uvstack.joint.assessment.finished_files import assess_image, read_finished, write_maps
from uvstack.joint.assessment.gains import ChannelWeights, gain_table, viable
from uvstack.joint.flux_scale import Cells
from uvstack.joint.overlap import Channel, dish_noise
from uvstack.joint.single_dish_files import EffectiveDish
from uvstack.joint.uv_plane import DishBeam, UVPlane

ARCSEC = np.pi / 648000


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A short observation with noise, and a dish of a small field; the set, the cube, σ of Stokes I."""
    folder = tmp_path_factory.mktemp("both")
    patch = pytest.MonkeyPatch()
    patch.setitem(rau.CASES, "sparse", dataclasses.replace(rau.CASES["sparse"], integrations=3,
                                                           size=540, noisy=True))
    patch.setattr(rau, "DISH_NOISE", 0.0)
    patch.setattr(rau, "CELL", 15 * ARCSEC)
    made = rau.observe_joint("sparse", out=folder / "a.ms")
    patch.undo()
    return made.interferometer.ms, made.dish, rau.VISIBILITY_NOISE


GRID = {"size": 480, "cell": 15 * ARCSEC, "weighting": "natural", "threads": 1}


def test_noise_that_is_not_there_is_not_measured(both, tmp_path):
    """Hands that are alike have no noise, and 0 is no number to weigh by."""
    ms = shutil.copytree(both[0], tmp_path / "a.ms")
    edit(ms, "DATA", lambda data: data.__setitem__((..., -1), data[..., 0]))
    found = uvstack.sdint_assess(ms, both[1], report=tmp_path / "r", **GRID)
    told = json.loads((tmp_path / "r" / "result.json").read_text())
    assert told["noise_alone_jy_per_beam"] is told["noise_joint_jy_per_beam"] is None
    assert not told["noise_measured"]
    assert all(one["noise_jy_per_beam"] is None for one in told["channels"])
    assert "noise        not measurable" in str(found)
    assert "joint noise  not measurable" in str(found)
    assert "0 µJy" not in str(found)
    assert told["sd_gain"] == 1.0
    assert "not measurable" in told["sd_gain_because"]
    options = told["provenance"]["inputs"]["options"]
    assert "robust" not in options
    assert options["threads"] == 1


def test_the_dish_is_never_without_noise():
    """Where the data's noise is all that both differ by, half of the estimates fell below 0: no less than its own error is told."""
    plane = UVPlane((64, 64), np.diag([-1e-5, 1e-5]), 0.0)
    rng = np.random.default_rng(4)
    beam, dish_map = DishBeam(12.0**2 * np.eye(2)), rng.standard_normal((64, 64))
    one = Channel(plane, beam, 1e-4, dish_map, dish_map, None, None, dish_map, 1.0)
    distance = plane.uv_distance()
    inside = (distance > 2000) & (distance < 8000)
    n = int(inside.sum())
    found = []
    for _ in range(20):
        off = (rng.standard_normal(n) + 1j * rng.standard_normal(n)) / np.sqrt(2)
        low = 10.0 * np.exp(2j * np.pi * rng.random(n))
        cells = Cells(distance[inside], low + off, low, np.ones(n), np.ones(n))
        found.append(dish_noise(one, cells, (2000.0, 8000.0), 1.0))
    # Power is known to √n of n times 100.
    assert min(found) > 0
    assert sorted(found)[10] == pytest.approx(min(found), rel=0.5)
    assert np.isnan(dish_noise(one, cells.within(0.0, 1.0), (2000.0, 8000.0), 1.0))


def scaled(dish, folder, factor=1.0, fwhm=1.0):
    """The dish's cube times a factor, and with another beam in its header."""
    path = folder / "scaled.fits"
    shutil.copy(dish, path)
    with fits.open(path, mode="update") as cube:
        cube[0].data *= factor
        for name in ("BMAJ", "BMIN"):
            cube["BEAMS"].data[name] *= fwhm
    return path


def test_the_flux_scale_is_found_in_the_visibilities(both, tmp_path):
    ms, dish, sigma = both
    found = uvstack.sdint_assess(ms, scaled(dish, tmp_path, 1 / 1.25), image=dish,
                                 out=tmp_path / "m", report=tmp_path / "r", **GRID)
    assert found.scale.scale == pytest.approx(1.25, abs=4 * found.scale.error)
    assert found.scale.error < 0.02
    # of both hands, in natural weights: σ/√n of each channel
    n = 351 * 3
    assert found.channels["noise"].value == pytest.approx(sigma / np.sqrt(n), rel=0.05)
    assert found.noise_measured
    assert found.noise_alone == pytest.approx(sigma / np.sqrt(3 * n), rel=0.05)
    # λ/D at the shortest spacing
    x = found.spacings.shortest / 100.0
    assert found.channels["dish_at_shortest"] == pytest.approx(np.exp(-np.pi**2 / 4 / np.log(2) * x**2),
                                                               rel=0.02)
    told = json.loads((tmp_path / "r" / "result.json").read_text())
    assert told["sd_scale"] == found.scale.scale
    assert any("--sd-scale 1.2" in text for _, text in found.overview().text)
    assert "1.2" in str(found)
    # the map before it was scaled, as a joint image
    assert found.against_dish.numbers["flux_ratio"] == pytest.approx([1.25] * 3, rel=1e-5)
    ratio = fits.getdata(found.files["dish-ratio"])
    assert np.nanmedian(ratio) == pytest.approx(1.25, rel=1e-5)
    assert np.isfinite(ratio).mean() == pytest.approx(0.2, abs=0.15)


def test_maps_of_a_truth(tmp_path):
    def whole(at):
        return 0.9 * sky.area(sky.matrix(*sky.HIGH)) * sky.smeared(at, sky.HIGH)

    def truth(at, grid):
        return whole(at) / 0.9, grid, sky.HIGH

    made = finished(tmp_path, whole, truth)
    paths = {name: tmp_path / f"{name}.fits" for name in made.maps()}
    write_maps(made, assess_image(made), paths)
    assert np.nanmedian(fits.getdata(paths["accuracy"])) == pytest.approx(-0.1, abs=1e-5)
    assert np.nanmedian(fits.getdata(paths["fidelity"])) == pytest.approx(10.0, rel=0.3)
    assert np.nanmedian(fits.getdata(paths["dish-ratio"])) == pytest.approx(0.9, rel=1e-3)


def test_a_wrong_beam_is_no_scale(both, tmp_path):
    ms, dish, _ = both
    found = uvstack.sdint_assess(ms, scaled(dish, tmp_path, fwhm=1.15), **GRID)
    assert found.scale is None
    assert "beam is not what its header says" in found.refusal
    assert "not measured" in str(found)


def weights_of(plane, high, low, noise_high=1.0, noise_low=2.0):
    """Of Gaussian beams, squares of FWHM in pixels²: a uniform coverage whose psf is one."""
    area = np.pi / 4 / np.log(2)
    a, b = area * np.sqrt(np.linalg.det(high)), area * np.sqrt(np.linalg.det(low))
    taper = plane.taper(high)
    return ChannelWeights(a * taper.astype(complex), plane.taper(low), taper, noise_high, noise_low,
                          a, b, 1.0, 0.5)


def test_joint_noise_is_that_of_feathered_noise():
    """Against noise that is made and joined pixel by pixel."""
    rng = np.random.default_rng(5)
    n, high, low = 256, 4.0**2 * np.eye(2), 20.0**2 * np.eye(2)
    plane = UVPlane((n, n), np.diag([-1e-5, 1e-5]), 0.0)
    one = weights_of(plane, high, low)
    table = gain_table([one], plane.size, 1e-5, gains=(0.3, 1.0, 3.0))
    w = plane.taper(low)
    white = np.fft.rfft2(rng.standard_normal((2, 8, n, n)))
    # power of the interferometer's noise is its coverage, of the dish's that of its beam
    noise = [np.fft.irfft2(t, (n, n)) for t in (white[0] * np.sqrt(one.noise_power), white[1] * w)]
    noise = [sigma * image / image.std() for image, sigma in zip(noise, (1.0, 2.0), strict=True)]
    noise[1] *= one.area_high / one.area_low
    for gain, told in zip((0.3, 1.0, 3.0), table["noise"].value, strict=True):
        joint = np.fft.irfft2(np.fft.rfft2(noise[0]) * (1 - w) + gain * np.fft.rfft2(noise[1]), (n, n))
        psf = np.fft.irfft2(gain * w * one.area_high + (1 - w) * one.psf, (n, n))
        # 8 images of some 150 beams of the dish
        assert joint.std() / psf[0, 0] == pytest.approx(told, rel=0.03)
    assert table["share"] == pytest.approx([0.3 / 1.3, 0.5, 0.75])


def test_advice_follows_the_noise():
    plane = UVPlane((256, 256), np.diag([-1e-5, 1e-5]), 0.0)
    high, low = 4.0**2 * np.eye(2), 20.0**2 * np.eye(2)
    quiet = gain_table([weights_of(plane, high, low, 1.0, 0.1)], plane.size, 1e-5)
    assert viable(quiet, 1.0).advised == 1.0
    loud = gain_table([weights_of(plane, high, low, 1.0, 20.0)], plane.size, 1e-5)
    found = viable(loud, 1.0)
    assert found.lowest <= found.advised < 1.0
    at = np.interp(np.log(found.advised), np.log(loud["gain"]), loud["noise"].value)
    assert at <= 1.1 + 1e-9
    # the next gain is too loud
    above = loud["noise"].value[loud["gain"] > found.advised][0]
    assert above > 1.1
    # What a small gain takes off the large scales, a large one adds to them.
    assert loud["width_ratio"][0] < 1.0 < 1.05 < loud["width_ratio"][-1]
    assert loud["width_ratio"][loud["gain"] <= found.highest].max() <= 1.05


def test_numbers_of_a_comparison():
    y, x = np.indices((80, 90)) - 40.0
    reference = np.exp(-(x**2 + y**2) / 200.0)
    found = compare(0.9 * reference, reference, 10.0, 0.1)
    numbers = found.numbers()
    assert numbers["flux_ratio"] == pytest.approx(0.9)
    assert numbers["rms_error"] == pytest.approx(0.1)
    assert numbers["median_accuracy"] == numbers["peak_error"] == pytest.approx(-0.1)
    assert numbers["median_fidelity"] == pytest.approx(10.0, rel=0.35)
    sums = found.apertures(ARCSEC)
    # within r: 2π σ² (1 − exp(−r²/2σ²)) over 10 pixels
    want = 2 * np.pi * 10.0 * (1 - np.exp(-(sums["radius"].value[-1] ** 2) / 200.0))
    assert sums["flux_reference"][-1].value == pytest.approx(want, rel=0.01)
    assert sums["residual"][-1].value == pytest.approx(-0.1 * want, rel=0.01)
    power = found.power_spectra(UVPlane((80, 90), np.diag([-ARCSEC, ARCSEC]), 5.0))
    assert power["power"].value == pytest.approx(0.81 * power["power_reference"].value)
    assert power["power_residual"].value == pytest.approx(0.01 * power["power_reference"].value)
    with pytest.raises(NumericalError, match="no emission"):
        compare(reference, np.zeros((80, 90)), 10.0, 0.1)


def finished(tmp_path, image, truth=None):
    grid = sky.Grid()
    at = grid.offsets()
    low = sky.write(tmp_path / "low.fits", sky.low_plane(at), grid, sky.LOW, frequency=sky.FREQUENCY)
    path = sky.write(tmp_path / "high.fits", image(at), grid, sky.HIGH, frequency=sky.FREQUENCY)
    other = None if truth is None else sky.write(tmp_path / "truth.fits", *truth(at, grid),
                                                 frequency=sky.FREQUENCY)
    return read_finished(path, other, read_cube(low, oriented=False))


def test_a_right_image_is_the_dish_and_the_truth(tmp_path):
    """The sky in closed form."""
    sharp = (6.0, 5.0, 0.0)

    def whole(at):
        return sky.area(sky.matrix(*sky.HIGH)) * sky.smeared(at, sky.HIGH)

    def truth(at, grid):
        return sky.area(sky.matrix(*sharp)) * sky.smeared(at, sharp), grid, sharp

    made = assess_image(finished(tmp_path, whole, truth))
    dish, true = made["against_dish"], made["against_truth"]
    # emission at the edges is continued: to 1e-3
    assert dish.numbers["flux_ratio"][0] == pytest.approx(1.0, abs=1e-3)
    assert dish.numbers["rms_error"][0] < 2e-3
    assert true.numbers["rms_error"][0] < 1e-4
    assert np.nanmax(np.abs(dish.comparison.accuracy)) < 0.01
    # Jy
    assert dish.apertures["flux"][-1].value == pytest.approx(dish.apertures["flux_reference"][-1].value, rel=1e-3)
    missing = assess_image(finished(tmp_path, sky.high_plane, truth))["against_truth"]
    assert missing.numbers["flux_ratio"][0] < 0.7


def test_a_map_that_says_no_beam(tmp_path):
    """It is given as a diameter or an image, and the joint image is compared as by the header."""
    def whole(at):
        return sky.area(sky.matrix(*sky.HIGH)) * sky.smeared(at, sky.HIGH)

    finished(tmp_path, whole)
    grid, beam = sky.Grid(), (60.0, 60.0, 0.0)
    low = read_cube(sky.write(tmp_path / "bare.fits", sky.area(sky.matrix(*beam)) * sky.smeared(
        grid.offsets(), beam), grid, None, frequency=sky.FREQUENCY), oriented=False)
    with pytest.raises(ImageError, match="bare.fits: has no beam"):
        assess_image(read_finished(tmp_path / "high.fits", None, low))
    small = sky.Grid((201, 201), 2.0)
    psf = read_cube(sky.write(tmp_path / "psf.fits", sky.density(
        small.offsets(), 1.0, sky.matrix(*beam), 0, 0), small, None, "", sky.FREQUENCY), oriented=False)
    dish = EffectiveDish(sky.diameter(60.0), 1.0)
    for given in ({"psf": psf}, {"dish_beam": dish.beam}):
        found = assess_image(read_finished(tmp_path / "high.fits", None, low, **given))["against_dish"]
        assert found.numbers["flux_ratio"][0] == pytest.approx(1.0, abs=1e-3)
        assert found.numbers["rms_error"][0] < 3e-3


def test_a_truth_in_jansky_a_pixel(tmp_path):
    def whole(at):
        return sky.area(sky.matrix(*sky.HIGH)) * sky.smeared(at, sky.HIGH)

    def truth(at, grid):
        return sky.smeared(at) * grid.cell**2, grid, None, "Jy/pixel"

    made = finished(tmp_path, whole, truth)
    # sampled in pixels of 2″, a source of 12″
    assert assess_image(made)["against_truth"].numbers["rms_error"][0] < 3e-3


def test_what_cannot_be_assessed(both, tmp_path):
    ms, dish, _ = both
    with pytest.raises(ImageError, match="one of size and cell"):
        uvstack.sdint_assess(ms, dish, size=100)
    with pytest.raises(ImageError, match="cell is 0"):
        uvstack.sdint_assess(ms, dish, size=100, cell=0.0)
    with pytest.raises(ImageError, match="size|shape|pixels"):
        uvstack.sdint_assess(ms, dish, size=0, cell=ARCSEC)
    with pytest.raises(SelectionError, match="without an image"):
        uvstack.sdint_assess(ms, dish, truth=dish)
    with pytest.raises(SelectionError, match="the smaller first"):
        uvstack.sdint_assess(ms, dish, overlap=("90m", "60m"))
    with pytest.raises(ImageError, match="larger beam"):
        assess_image(finished(tmp_path, sky.high_plane, lambda at, grid: (
            sky.low_plane(at), grid, sky.LOW)))
    away = tmp_path / "away.fits"
    shutil.copy(dish, away)
    with fits.open(away, mode="update") as cube:
        cube[0].header["CRVAL2"] += 5.0
    with pytest.raises(ImageError, match="does not cover"):
        uvstack.sdint_assess(ms, away)
