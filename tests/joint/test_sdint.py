"""Joint deconvolution on small simulated sets: sums of Gaussians that an interferometer resolves out."""

import json
import re
import shutil

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from gaussian_sky import ARCSEC, Grid, feather_of_casa, write
from scipy import ndimage

import uvstack
from factories import edit
from simulate.single_dish import write_single_dish
from simulate.task import observe
from uvstack.cli.main import group
from uvstack.errors import ImageError, UvstackError, UvstackWarning
from uvstack.joint import cube_to_taylor, fit_taylor, taylor_to_cube
from uvstack.joint.reconstruction.joint_plane import (
    DishPlane,
    InterferometerPlane,
    JointPlane,
    joint_psf,
)
from uvstack.joint.uv_plane import DishBeam, UVPlane
from uvstack.sky.beam import Beam
from uvstack.sky.components import components

ARCMIN = np.pi / 180 / 60
CENTRE = np.deg2rad([300.0, 40.0])
NU = np.array([1.0e9, 1.5e9, 2.0e9])
#: 120 pixels of 15″ are 30′; the dish's beam is 10′ to 5′ wide.
CELL, SIZE = ARCMIN / 4, 120
#: Flux, FWHM (Jy, arcmin), offsets to the east and north (arcmin) and spectral index.
EXTENDED, POINT = (20.0, 8.0, 2.0, 1.5, 0.0), (1.0, 0.0, -7.0, -5.0, -1.0)
CLEAN = {"size": SIZE, "cell": CELL, "weighting": "natural", "scales": (0, 6, 14, 26),
         "iterations": 300, "cycle_iterations": 100, "threshold_sigma": 0.0}


def sky():
    flux, fwhm, east, north, index = np.array([EXTENDED, POINT]).T
    ra, dec = direction(east, north)
    return components(ra, dec, flux, reference_frequency=1.5e9, shape=["gaussian", "point"],
                      fwhm_major=fwhm * ARCMIN, spectral_index=index)


def direction(east, north):
    dec = CENTRE[1] + north * ARCMIN
    return CENTRE[0] + east * ARCMIN / np.cos(dec), dec


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Measurement set and dish's cube."""
    folder = tmp_path_factory.mktemp("sdint")
    observe(array="vla.d", frequency=NU, integration=300, duration=6 * 3600, sky=sky(),
            pointings=tuple(CENTRE), out=folder / "vla.ms")
    write_single_dish(sky(), out=folder / "dish.fits", frequency=1.5e9, bandwidth=1.5e9, channels=3,
                      dish_diameter=100.0, beam_factor=1.0, centre=tuple(CENTRE), size=160, cell=CELL)
    return folder / "vla.ms", folder / "dish.fits"


def truth(grid, beam):
    """The extended source in a beam, Jy/beam, and where it is bright and the point is not."""
    flux, fwhm, east, north, _ = EXTENDED
    l, m = np.meshgrid(grid.l - east * ARCMIN, grid.m - north * ARCMIN)
    wide = Beam(fwhm * ARCMIN, fwhm * ARCMIN, 0.0).convolved(beam)
    image = flux * beam.area(CELL) / wide.area(CELL) * wide.profile(l, m)
    far = np.hypot(*np.meshgrid(grid.l - POINT[2] * ARCMIN, grid.m - POINT[3] * ARCMIN)) > 2 * ARCMIN
    return image, (image > 0.2 * image.max()) & far


CHOSEN = {"size": SIZE, "cell": CELL, "weighting": "natural", "scales": "auto"}


@pytest.mark.parametrize("how", [CLEAN, CHOSEN], ids=["given", "chosen"])
def test_extended_emission_has_its_flux_and_spectrum(data, how):
    """Intensity to 0.4 % of its peak and spectral index to 0.03."""
    joint = uvstack.sdint(*data, terms=2, **how)
    want, bright = truth(joint.grid, joint.beam)
    assert np.sqrt(np.mean((joint.image[0] - want)[bright] ** 2)) < 0.004 * want.max()
    assert joint.image[0][bright].sum() == pytest.approx(want[bright].sum(), rel=0.002)
    alpha = (joint.image[1] / joint.image[0])[bright]
    assert np.sqrt(np.mean(alpha**2)) < 0.03
    assert joint.model[0].sum() == pytest.approx(21.0, rel=0.02)


def test_the_interferometer_alone_lacks_a_tenth(data):
    alone = uvstack.sdint(*data, terms=2, use="int", **CLEAN)
    want, bright = truth(alone.grid, alone.beam)
    assert alone.image[0][bright].sum() < 0.9 * want[bright].sum()
    assert np.sqrt(np.mean((alone.image[1] / alone.image[0])[bright] ** 2)) > 0.3


def test_scales_are_between_the_beam_and_the_dish(data):
    """From what is wider than a point is seen to what is wider than the dish resolves, here half of the image."""
    joint = uvstack.sdint(*data, terms=2, **CHOSEN | {"iterations": 0}).joint
    point, *sizes = joint.scales
    assert point == 0.0
    assert sizes[0] == pytest.approx(1.75 * np.mean([beam.fwhm_major for beam in joint.beams]) / CELL, abs=1.0)
    assert sizes[-1] == min(SIZE / 2, int(1.5 * 299792458.0 / 1e9 / 100.0 / CELL))
    assert max(np.diff(np.log(sizes))) < np.log(2.0)


def test_the_beam_that_weighs_is_told_and_sets_the_scales(data, tmp_path):
    """A dish of 150 m and 300 m for the map's 200 m, in the JSON, at the terminal and on the page."""
    none, fwhm = CHOSEN | {"iterations": 0}, 299792458.0 / NU
    low = tmp_path / "dish.fits"
    write_single_dish(sky(), out=low, frequency=1.5e9, bandwidth=1.5e9, channels=3, dish_diameter=200.0,
                      beam_factor=1.0, centre=tuple(CENTRE), size=160, cell=CELL)
    plain = uvstack.sdint(data[0], low, **none).summary()
    assert plain["weight_beam_from"] == plain["dish_beam_from"] == "header"
    np.testing.assert_allclose(plain["weight_beams_rad"], plain["dish_beams_rad"])
    found = uvstack.sdint(data[0], low, dish_diameter=150.0, report=tmp_path / "r", **none)
    told = json.loads((tmp_path / "r" / "result.json").read_text())
    for name, metres in (("dish", 200.0), ("weight", 150.0)):
        np.testing.assert_allclose(np.array(told[f"{name}_beams_rad"])[:, 0], fwhm / metres, rtol=1e-3)
    assert told["weight_beam_from"] == "dish_diameter"
    line = "412.2″ to 206.1″, of dish_diameter; wider than the map's 309.2″ to 154.6″"
    assert line in str(found)
    assert "of dish_diameter; wider than" in (tmp_path / "r" / "index.html").read_text()
    # The map is smoothed to it.
    for one, metres in ((plain, 200.0), (told, 150.0)):
        assert one["scales"][-1] == int(1.5 * fwhm[0] / metres / CELL)
    with pytest.warns(UvstackWarning, match="gives a beam of 206.1″ and the dish's map has one of 309.2″"):
        narrow = uvstack.sdint(data[0], low, dish_diameter=300.0, **none)
    assert narrow.joint.scales[-1] == plain["scales"][-1]
    alone = uvstack.sdint(data[0], low, dish_diameter=300.0, use="sd", **none)
    assert alone.summary()["weight_beams_rad"] == []


def test_what_was_chosen_for_options_is_in_the_json(data, tmp_path):
    few = CLEAN | {"iterations": 0, "weighting": "briggs", "uvtaper": 4 * CELL}
    del few["threshold_sigma"]
    made = uvstack.sdint(*data, auto_mask=True, out=tmp_path / "joint", **few)
    told = json.loads((tmp_path / "joint.json").read_text())
    options = told["provenance"]["inputs"]["options"]
    assert (options["threshold_sigma"], options["robust"], options["deconvolver"]) == (4.0, 0.0, "multiscale")
    assert options["auto_mask"]["sigma"] == 5.0
    assert min(options["threads"], options["chunk_size"]) >= 1
    assert options["scales"] == made.summary()["scales"]
    # No noise where a threshold is given, and nothing is robust but Briggs.
    made = uvstack.sdint(*data, threshold=0.1, terms=2, **few | {"weighting": "natural"})
    options = made.summary()["provenance"]["inputs"]["options"]
    assert (options["threshold_sigma"], options["deconvolver"], options["auto_mask"]) == (0.0, "mtmfs", False)
    assert "robust" not in options


def test_the_joint_psf_has_its_peak_at_one(data):
    for use in ("joint", "int", "sd"):
        made = uvstack.sdint(*data, use=use, **CLEAN | {"iterations": 0})
        assert len(made.planes) == 3
        for plane in made.planes:
            assert plane.psf[SIZE // 2, SIZE // 2] == pytest.approx(1.0, abs=1e-6)
    assert made.joint.dish_beams[0].fwhm_major == pytest.approx(
        299792458.0 / 1e9 / 100.0, rel=1e-3)


QUICK = CLEAN | {"iterations": 100, "cycle_iterations": 50}


def plane_of(result, channel):
    """Restored image of a plane of a cube, Jy/beam, and the truth of its extended source."""
    plane = result.planes[channel]
    return plane.image[0], *truth(plane.grid, plane.beam)


def test_a_cube_has_the_flux_of_every_channel(data):
    cube = uvstack.sdint(*data, **CLEAN)
    np.testing.assert_allclose(cube.frequency, NU, rtol=1e-12)
    for channel in range(3):
        image, want, bright = plane_of(cube, channel)
        assert np.sqrt(np.mean((image - want)[bright] ** 2)) < 0.01 * want.max()
        assert image[bright].sum() == pytest.approx(want[bright].sum(), rel=0.01)


def test_an_earlier_model_is_gone_on_from(data, tmp_path):
    """Half of the components, then the other half, are as good as all at once."""
    half = CLEAN | {"iterations": 150}
    first = uvstack.sdint(*data, terms=2, out=tmp_path / "first", **half)
    second = uvstack.sdint(*data, terms=2, start_model=tmp_path / "first", **half)
    once = uvstack.sdint(*data, terms=2, **CLEAN)
    assert second.history[0].peak == pytest.approx(first.history[-1].peak, rel=1e-2)
    assert second.rms == pytest.approx(once.rms, rel=0.1)
    assert np.abs(second.dirty - first.dirty).max() < 1e-3 * first.dirty.max()
    # The model of terms as the start of a cube, whose residual it explains too.
    cube = uvstack.sdint(*data, start_model=tmp_path / "first", **CLEAN | {"iterations": 0})
    assert all(plane.history[0].peak < 0.1 * plane.dirty.max() for plane in cube.planes)


def test_the_dish_as_a_start_of_the_interferometer_alone(data, tmp_path):
    """The startmodel approach of section 4.2: large scales are those of the dish."""
    uvstack.sdint(*data, terms=2, use="sd", out=tmp_path / "sd", **CLEAN)
    made = uvstack.sdint(*data, terms=2, use="int", start_model=tmp_path / "sd", **CLEAN)
    want, bright = truth(made.grid, made.beam)
    assert made.image[0][bright].sum() == pytest.approx(want[bright].sum(), rel=0.05)


def test_the_flux_scale_is_found(data, tmp_path):
    """A map that is 20 % low, of a dish whose beam is small beside the image, and its error bar."""
    write_single_dish(sky(), out=tmp_path / "dish.fits", frequency=1.5e9, bandwidth=1.5e9,
                      channels=3, dish_diameter=200.0, beam_factor=1.0, centre=tuple(CENTRE),
                      size=160, cell=CELL)
    low = edited(tmp_path / "dish.fits", tmp_path / "low.fits",
                 lambda pixels, header: pixels * (1 / 1.2))
    made = uvstack.sdint(data[0], low, sd_scale="auto", overlap=("80m", "160m"), **CLEAN)
    assert made.joint.sd_scale == pytest.approx(1.2, abs=0.03)
    assert 0 < made.joint.sd_scale_error < 0.03
    told = made.summary()
    np.testing.assert_allclose(told["overlap_wavelengths"], np.array([80, 160]) * 1.5e9 / 299792458.0)
    assert (told["sd_scale"], told["sd_scale_error"]) == (made.joint.sd_scale,
                                                          made.joint.sd_scale_error)
    _, want, bright = plane_of(made, 1)
    assert made.planes[1].image[0][bright].sum() == pytest.approx(want[bright].sum(), rel=0.03)


def edited(path, to, change, **cards):
    """A copy of a dish's cube with other pixels (chan, m, l) and cards; None takes a card out."""
    with fits.open(path) as hdus:
        header, pixels = hdus[0].header.copy(), np.squeeze(hdus[0].data).astype(float)
        beams = hdus["BEAMS"].copy() if "BEAMS" in hdus else None
    for name, value in cards.items():
        if value is None:
            header.pop(name, None)
        else:
            header[name] = value
    pixels = change(pixels, header)
    fits.HDUList([fits.PrimaryHDU(pixels[None], header), *([] if beams is None else [beams])]
                 ).writeto(to, overwrite=True)
    return to


def same(pixels, header):
    return pixels


def in_kelvin(pixels, header):
    header["BUNIT"] = "K"
    area = np.pi / (4 * np.log(2)) * (299792458.0 / NU / 100.0) ** 2
    return pixels * (1e-26 * 299792458.0**2 / (2 * 1.380649e-23 * NU**2 * area))[:, None, None]


def in_megajansky(pixels, header):
    header["BUNIT"] = "MJy/sr"
    area = np.pi / (4 * np.log(2)) * (299792458.0 / NU / 100.0) ** 2
    return pixels * (1e-6 / area)[:, None, None]


def falling(pixels, header):
    header["CRVAL3"], header["CDELT3"] = NU[-1], -header["CDELT3"]
    return pixels[::-1]


def blank_edges(pixels, header):
    pixels[:, :, :10] = np.nan
    return pixels


@pytest.fixture(scope="module")
def plain(data):
    return uvstack.sdint(*data, **QUICK).cube("image")


@pytest.mark.parametrize("change", [in_kelvin, in_megajansky, blank_edges])
def test_the_same_map_in_another_form(data, tmp_path, plain, change):
    other = edited(data[1], tmp_path / "other.fits", change)
    found = uvstack.sdint(data[0], other, **QUICK).cube("image")
    assert np.abs(found - plain).max() < 1e-3 * plain.max()


def test_channels_of_a_dish_that_fall_in_frequency(data, tmp_path, plain):
    other = edited(data[1], tmp_path / "other.fits", falling)
    with fits.open(other, mode="update") as hdus:
        hdus["BEAMS"].data = hdus["BEAMS"].data[::-1].copy()
        hdus["BEAMS"].data["CHAN"] = np.arange(3)
    found = uvstack.sdint(data[0], other, **QUICK).cube("image")
    assert np.abs(found - plain).max() < 1e-4 * plain.max()


def test_planes_one_by_one(data, tmp_path, plain):
    with fits.open(data[1]) as hdus:
        header, cube = hdus[0].header, np.squeeze(hdus[0].data)
        for k in range(3):
            header["CRVAL3"] = NU[k]
            header["BMAJ"] = header["BMIN"] = np.rad2deg(299792458.0 / NU[k] / 100.0)
            header["BPA"] = 0.0
            header.pop("CASAMBM", None)
            fits.writeto(tmp_path / f"{k}.fits", cube[None, k : k + 1], header)
    found = uvstack.sdint(data[0], [tmp_path / f"{k}.fits" for k in (2, 0, 1)], **QUICK)
    assert np.abs(found.cube("image") - plain).max() < 1e-3 * plain.max()


def test_the_beam_as_an_image(data, tmp_path, plain):
    """On other pixels, of another place; the header then says nothing that counts."""
    y, x = np.indices((121, 131))
    r = np.hypot(x - 60, y - 58) * 20.0 / 3600
    planes = [7.0 * np.exp(-4 * np.log(2) * (r / np.rad2deg(299792458.0 / nu / 100.0)) ** 2)
              for nu in NU]
    def psf(pixels, header):
        header["CRVAL2"] += 3.0
        header["CDELT1"], header["CDELT2"] = -20 / 3600, 20 / 3600
        return np.array(planes)
    edited(data[1], tmp_path / "psf.fits", psf)
    low = edited(data[1], tmp_path / "low.fits", same)
    found = uvstack.sdint(data[0], low, sd_psf=tmp_path / "psf.fits", **QUICK).cube("image")
    assert np.abs(found - plain).max() < 3e-3 * plain.max()


def test_a_dish_by_its_diameter(data, tmp_path, plain):
    low = edited(data[1], tmp_path / "low.fits", same)
    with fits.open(low, mode="update") as hdus:
        del hdus["BEAMS"]
        hdus[0].header.pop("CASAMBM", None)
    with pytest.raises(ImageError, match=r"low.fits: has no beam .*dish-diameter"):
        uvstack.sdint(data[0], low, **QUICK)
    found = uvstack.sdint(data[0], low, dish_diameter=100.0, **QUICK).cube("image")
    assert np.abs(found - plain).max() < 1e-4 * plain.max()


def test_gain_changes_no_flux_and_a_wide_psf_is_told(data, monkeypatch):
    image, want, bright = plane_of(uvstack.sdint(*data, sd_gain=0.3, **CLEAN), 1)
    assert image[bright].sum() == pytest.approx(want[bright].sum(), rel=0.01)
    monkeypatch.setattr("uvstack.joint.reconstruction.task._WIDER", 0.9)
    with pytest.warns(UvstackWarning, match=r"joint beam is 0\.9\d+ times as wide.*smaller sd_gain"):
        uvstack.sdint(*data, **QUICK | {"iterations": 0})


def test_the_gain_takes_the_noise_of_the_dish_with_it():
    """Of a map of the dish alone, wide noise, the joint residual is g times itself, and the restorable one too."""
    y, x = np.indices((96, 96)) - 48.0
    dish = 12.0
    noise = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((96, 96)), dish / 2.3548)
    plane = UVPlane((96, 96), np.diag([-1e-5, 1e-5]), dish)
    psf = np.exp(-4 * np.log(2) * (x**2 + y**2) / 4.0**2)
    one = InterferometerPlane(np.zeros((96, 96)), psf, lambda model: 0.0 * model)
    beam = DishBeam(dish**2 * np.eye(2))
    low = DishPlane(noise, beam, beam, 4.0**2 * np.pi / (4 * np.log(2)))
    valid, found = np.ones((96, 96), bool), {}
    inner = (slice(24, 72), slice(24, 72))
    for gain in (1.0, 0.2):
        joint, factor = joint_psf(plane, plane.continuation(valid), one, low, gain)
        made = JointPlane(1e9, 1.0, one, low, None, valid, plane, plane.continuation(valid), gain,
                          joint, factor)
        rest = made.residual(np.zeros((96, 96)))
        np.testing.assert_allclose(rest[inner], gain * factor * noise[inner],
                                   atol=1e-9 * np.abs(noise).max())
        found[gain] = made.restorable(rest, DishBeam(4.0**2 * np.eye(2)))[inner] / factor
    np.testing.assert_allclose(found[0.2], 0.2 * found[1.0], atol=0.02 * np.abs(noise).max())


def test_what_is_left_in_the_residual_has_its_flux_where_the_dish_weighs_more(data):
    """Of the dirty image, in the units of the restoring beam; 21 Jy are right."""
    plane = uvstack.sdint(*data, sd_gain=4.0, **CLEAN | {"iterations": 0}).planes[1]
    assert plane.image[0].sum() / plane.beam.area(CELL) == pytest.approx(21.0, rel=0.15)


def weights_of_noise(fwhm, noise, area, weight):
    """1/N over the interferometer's weights, N = (noise / Ω)² Ω; their mean by weight is 1."""
    wanted = fwhm**2 / noise**2 / area
    return wanted / wanted.sum() / weight


def test_a_noisy_channel_of_the_dish_weighs_less(data, tmp_path):
    """Noise of 0, 0 and 4 Jy/beam: intensity and spectral index are better by factors with its weights, and no flux changes."""
    beams = [299792458.0 / nu / 100.0 / CELL / 2.3548 for nu in NU]

    def noisy(pixels, header):
        white = np.random.default_rng(5).standard_normal(pixels.shape[-2:])
        smooth = ndimage.gaussian_filter(white, beams[2], mode="wrap")
        pixels[2] += 4.0 * smooth / smooth.std()
        return pixels

    low = edited(data[1], tmp_path / "low.fits", noisy)
    told = (0.1, 0.1, 4.0)
    errors = {}
    for name, sd_noise in (("plain", None), ("weighed", told)):
        made = uvstack.sdint(data[0], low, terms=2, sd_noise=sd_noise, sd_gain=0.5, **CLEAN)
        want, bright = truth(made.grid, made.beam)
        errors[name] = [np.sqrt(np.mean((made.image[0] - want)[bright] ** 2)) / want.max(),
                        np.sqrt(np.mean((made.image[1] / made.image[0])[bright] ** 2))]
    assert np.divide(errors["plain"], errors["weighed"]).min() > 1.5, errors
    numbers = made.joint
    area = np.array([beam.fwhm_major * beam.fwhm_minor for beam in numbers.interferometer_beams])
    fwhm = np.array([beam.fwhm_major for beam in numbers.dish_beams])
    np.testing.assert_allclose(
        numbers.gain, 0.5 * weights_of_noise(fwhm, np.array(told), area, numbers.weight), rtol=1e-3)
    assert numbers.weight @ numbers.gain == pytest.approx(0.5)
    same_sky = uvstack.sdint(*data, terms=2, sd_noise=told, **CLEAN)
    want, bright = truth(same_sky.grid, same_sky.beam)
    # Nearly without the dish's channel of 2 GHz, where the interferometer sees a third.
    assert same_sky.image[0][bright].sum() == pytest.approx(want[bright].sum(), rel=0.02)


def test_flagged_channels_leave_the_axis_even(data, tmp_path):
    """One of two channels of a plane is flagged: its data have another mean, its place is the same."""
    ms = shutil.copytree(data[0], tmp_path / "a.ms")
    edit(ms, "FLAG", lambda flag: flag.__setitem__((slice(None), 1), True))
    made = uvstack.sdint(ms, data[1], channels=2, out=tmp_path / "cube", **QUICK)
    np.testing.assert_allclose(made.frequency, [1.125e9, 1.875e9], rtol=1e-9)
    assert [plane.reference_frequency for plane in made.planes] == [1e9, 2e9]
    assert fits.getheader(tmp_path / "cube-image.fits")["CRVAL3"] == pytest.approx(1.125e9)


def at_another(pixels, header):
    header["CRVAL3"] = 30e9
    return pixels


def one_blank(pixels, header):
    pixels[1] = np.nan
    return pixels


#: What is wrong → cards and pixels of the dish's cube, options, and what the line must say; of
#: both commands but for the last, which are of sdint alone.
BAD = {
    "field": ({}, lambda pixels, header: pixels[:, :60, :60], [],
              r"low.fits: (lacks 86.6 % of the image at 1 GHz.*--size|does not cover .*field)"),
    "another field": ({"CRVAL2": -40.0}, same, [], r"low.fits: (lacks 100 %|does not cover)"),
    "a blank channel": ({}, one_blank, [], r"low.fits: (lacks 100 % of the image at 1.5 GHz|.*no pixel)"),
    "frequencies": ({}, at_another, [], "low.fits has frequencies around 29.75 .* frequencies that overlap"),
    "beam": ({"CASAMBM": None}, same, [], "low.fits: has no beam .*--sd-psf.*--dish-diameter"),
    "Stokes": ({"CRVAL4": 2.0}, same, [], "low.fits is of Stokes Q; wanted is I"),
    "unit": ({"BUNIT": "counts"}, same, [], r"low.fits: its unit \(BUNIT\) is counts; wanted is Jy/beam"),
    "no unit": ({"BUNIT": None}, same, [], r"low.fits: its unit \(BUNIT\) is not said"),
    "psf": ({}, lambda pixels, header: pixels + 1.0, ["--sd-psf", "LOW"], "low.fits: channel 0 .*peak at the edge"),
    "no planes": ({}, same, ["--channels", "0"], "channels is 0; wanted a whole number"),
    "gain": ({}, same, ["--sd-gain", "0"], "sd_gain is 0.0; wanted a finite number above 0"),
    "negative gain": ({}, same, ["--sd-gain", "-1"], "sd_gain is -1.0; wanted a finite number above 0"),
    "noise": ({}, same, ["--sd-noise", "0.1,0"], "sd_noise is 0.0; wanted a finite number above 0"),
    "noises": ({}, same, ["--sd-noise", "0.1,0.2"], "low.fits: has 3 channels, and 2 numbers for their noise"),
    "no scales": ({}, same, ["--scales", "auto", "--use", "int"], "scales is auto and use is int; .* give sizes in pixels"),
    "scales": ({}, same, ["--scales", "0,61"], "scales holds 61: .* 120 × 120; .* at most 60 pixels"),
    "scale of one": ({}, same, ["--use", "sd", "--sd-scale", "auto"], "sd_scale is auto and use is sd"),
    "scale": ({}, same, ["--sd-scale", "auto"], r"low.fits: in the overlap of .* no common signal above the noise"),
    "terms": ({}, same, ["--terms", "2", "--channels", "1"], "2 Taylor terms of 1 channels"),
    "start": ({}, same, ["--start-model", "nothing"], "no nothing-model.fits of an earlier run")}
OF_SDINT = list(BAD)[list(BAD).index("gain"):]


def called(command, ms, low, *options):
    """The command's end, of the grid of `CLEAN`."""
    grid = ["--size", str(SIZE), "--cell", "15arcsec", "--weighting", "natural", "--no-report"]
    return CliRunner().invoke(group, [command, str(ms), str(low), *grid, *map(str, options)])


@pytest.mark.parametrize(("command", "name"), [
    (command, name) for command in ("sdint", "sdint-assess") for name in BAD
    if command == "sdint" or name not in OF_SDINT])
def test_what_cannot_be_is_told_in_a_line(data, tmp_path, command, name):
    """By the command line, which prints the text of the error: one line, and nothing is written."""
    cards, change, options, text = BAD[name]
    low = edited(data[1], tmp_path / "low.fits", change, **cards)
    if name == "beam":
        with fits.open(low, mode="update") as hdus:
            del hdus["BEAMS"]
    given = [str(low) if one == "LOW" else one for one in options]
    given += ["--out", str(tmp_path / "made"), "--iterations", "10"] if command == "sdint" else []
    ended = called(command, data[0], low, *given)
    line = str(ended.exception)
    assert isinstance(ended.exception, UvstackError), ended.output
    assert re.search(text, line), line
    assert "\n" not in line
    assert not ended.output
    assert {path.name for path in tmp_path.iterdir()} == {"low.fits"}


def test_a_channel_is_there_once(data):
    with pytest.raises(ImageError, match=r"dish.fits: has two planes at 1 GHz; wanted is one"):
        uvstack.sdint(data[0], [data[1], data[1]], **QUICK)


def test_a_beam_that_is_none_is_told(data, tmp_path):
    """A map taken for the image of a beam."""
    with pytest.warns(UvstackWarning, match=r"times as wide as the beam in the header of .*low.fits"):
        uvstack.sdint(data[0], edited(data[1], tmp_path / "low.fits", same), sd_psf=data[1],
                      **QUICK | {"iterations": 0})


def test_the_flux_ends_it(data):
    made = uvstack.sdint(*data, terms=2, flux_change=0.02, **CLEAN)
    assert made.stop_reason == "flux settled"
    last, before = made.history[-1].flux, made.history[-2].flux
    assert abs(last - before) < 0.02 * last


def test_terms_and_cubes():
    """A polynomial comes back from its cube by the fit; the averages are sums with weights, as written out."""
    rng = np.random.default_rng(1)
    terms, nu, weight = rng.normal(size=(3, 4, 5)), np.array([1.0, 1.2, 1.7, 2.0]) * 1e9, np.array(
        [1.0, 3.0, 0.5, 2.0])
    cube = taylor_to_cube(terms, nu, 1.5e9)
    for k in range(4):
        x = nu[k] / 1.5e9 - 1
        np.testing.assert_allclose(cube[k], terms[0] + terms[1] * x + terms[2] * x**2, rtol=1e-12)
    back = fit_taylor(cube, nu, 1.5e9, 3, weight)
    np.testing.assert_allclose(back, terms, atol=1e-10)
    np.testing.assert_allclose(taylor_to_cube(back, nu, 1.5e9), cube, atol=1e-10)
    found = cube_to_taylor(cube, nu, 1.5e9, 2, weight)
    np.testing.assert_allclose(found[1], sum(w * (f / 1.5e9 - 1) * plane for w, f, plane in zip(
        weight, nu, cube, strict=True)) / 6.5, rtol=1e-12)
    # The averages of a flat spectrum are moments: no identity.
    flat = cube_to_taylor(np.ones((4, 1, 1)), nu, 1.5e9, 2, weight)
    assert flat[0] == pytest.approx(1.0)
    assert abs(flat[1]) > 0.01
    for bad, text in (((cube, nu[:3], 1.5e9, 2), "for 4 channels"), ((cube, nu, -1.0, 2), "positive"),
                      ((cube[0], nu, 1.5e9, 2), r"\(chan, m, l\)"),
                      ((cube[:2], nu[:2], 1.5e9, 3), "3 Taylor terms of 2 frequencies"),
                      ((cube, nu, 1.5e9, 2, [0, 0, 0, 0]), "all 0")):
        with pytest.raises(ImageError, match=text):
            fit_taylor(*bad)


def test_casa_joins_residuals_and_psfs_alike(data, tmp_path, monkeypatch):
    """CASA's feather of the interferometer's dirty image and psf with the dish's is the joint one, with the psf's peak 1."""
    pytest.importorskip("casatasks", reason="casatasks is not installed")
    monkeypatch.chdir(tmp_path)
    # The middle of the three channels.
    alone, dish, joint = (uvstack.sdint(*data, use=use, **CLEAN | {"iterations": 0}).planes[1]
                          for use in ("int", "sd", "joint"))
    beams = [[one.beam.fwhm_major / ARCSEC, one.beam.fwhm_minor / ARCSEC,
              np.rad2deg(one.beam.position_angle)] for one in (alone, dish)]
    grid = Grid((SIZE, SIZE), CELL / ARCSEC)

    def by_casa(name, high, low):
        return feather_of_casa(*(write(tmp_path / f"{name}-{kind}.fits", image, grid, beam, frequency=NU[1])
                                 for kind, image, beam in zip(("high", "low"), (high, low), beams, strict=True)))

    psf = by_casa("psf", alone.psf, dish.psf)
    factor = 1 / psf[SIZE // 2, SIZE // 2]
    dirty = factor * by_casa("dirty", alone.dirty[0], dish.dirty[0])
    # CASA repeats an image beyond its edges, where sidelobes go on: within two beams of the dish.
    inner = np.s_[40:80, 40:80]
    assert np.abs(factor * psf - joint.psf)[inner].max() < 0.01
    assert np.abs(dirty - joint.dirty[0])[inner].max() < 0.01 * joint.dirty.max()
    # It is neither of both.
    assert np.abs(alone.dirty - joint.dirty).max() > 0.05 * joint.dirty.max()
