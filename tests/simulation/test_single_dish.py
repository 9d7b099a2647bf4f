"""Cubes of a single dish.

Flux, beams and noise of every channel, what the file says of them, and CASA's reading of it.
"""

import json
from functools import partial

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from test_epoch_images import CENTRE, sky_at

from simulate.image_model import ImageModel
from simulate.single_dish import dish_fwhm, single_dish_cube
from uvstack.errors import ImageError, OutputError
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.image_file import read_cube
from uvstack.pixels.geometry import ImageGeometry
from uvstack.sky.components import components

ARCMIN = np.pi / 180 / 60
FREQUENCY = np.array([1.0e9, 1.5e9, 2.0e9])
CELL = 1.5 * ARCMIN
SHAPE = (60, 71)
cube_of = partial(single_dish_cube, frequency=FREQUENCY, dish_diameter=100.0, centre=CENTRE,
                  size=SHAPE, cell=CELL)
GRID = {"frequency": FREQUENCY, "dish_diameter": 100.0, "centre": CENTRE, "size": SHAPE,
        "cell": CELL}


def area(beam):
    """Pixels of a beam."""
    return np.pi / (4 * np.log(2)) * beam.fwhm_major * beam.fwhm_minor / CELL**2


def test_beam_of_a_dish():
    """Rau et al. (2019), Table 1: 10.3′, 6.8′ and 5.1′ for 100 m, where λ/D is 6.87′ and 5.15′ cut short."""
    np.testing.assert_allclose(dish_fwhm(FREQUENCY, 100.0, 1.0) / ARCMIN, [10.3, 6.8, 5.1],
                               rtol=0.011)
    # Frayer (2017): 6.55″ (6.7″ × 6.4″) at 109.4 GHz is 1.16 λ/D.
    assert dish_fwhm(109.4e9, 100.0, 1.16) / ARCMIN * 60 == pytest.approx(6.55, rel=0.01)


@pytest.mark.parametrize("kind", ["point", "gaussian", "disc"])
def test_every_channel_sums_to_its_flux(kind):
    sky = sky_at(1.2 * ARCMIN, -3.3 * ARCMIN, 2.0, shape=kind,
                 fwhm_major=0.0 if kind == "point" else 9 * ARCMIN, spectral_index=-1.0,
                 reference_frequency=1e9)
    made = cube_of(sky)
    total = [plane.sum() / area(beam)
             for plane, beam in zip(made.brightness, made.beams, strict=True)]
    np.testing.assert_allclose(total, 2.0 / (FREQUENCY / 1e9), rtol=3e-6)


def test_a_point_shows_the_beam_of_each_channel():
    made = cube_of(sky_at(-5 * CELL, 4 * CELL, 0.7))
    for plane, width in zip(made.brightness, 1.18 * 299792458.0 / FREQUENCY / 100.0, strict=True):
        assert np.unravel_index(plane.argmax(), SHAPE) == (30 + 4, 35 + 5)
        y, x = np.indices(SHAPE)
        r = np.hypot(x - 40, y - 34) * CELL
        np.testing.assert_allclose(plane, 0.7 * np.exp(-4 * np.log(2) * (r / width) ** 2),
                                   atol=1.1e-6 * 0.7)


def test_beam_given_by_the_user():
    widths = np.array([12.0, 9.0, 7.0]) * ARCMIN
    for fwhm in (widths, lambda nu: np.interp(nu, FREQUENCY, widths)):
        made = cube_of(sky_at(0, 0), dish_diameter=None, fwhm=fwhm)
        np.testing.assert_allclose([beam.fwhm_major for beam in made.beams], widths)
    assert {beam.fwhm_minor
            for beam in cube_of(sky_at(0, 0), dish_diameter=None,
                                fwhm=8 * ARCMIN).beams} == {8 * ARCMIN}


def model(planes, frequency=(1e9,), spectral_index=0.0, centre_l=0.0):
    geometry = ImageGeometry(*CENTRE, -CELL, CELL, centre_l, 0.0)
    return ImageModel("model", np.asarray(planes, float), np.array(frequency), geometry,
                      spectral_index)


def test_an_image_is_convolved_as_its_pixels_are_as_points():
    rng = np.random.default_rng(4)
    plane = np.zeros(SHAPE)
    rows, columns, flux = rng.integers(0, 60, 12), rng.integers(0, 71, 12), rng.uniform(0.1, 1, 12)
    rows[:2], columns[:2] = (0, 59), (0, 70)  # corners: nothing comes round
    plane[rows, columns] = flux
    image = single_dish_cube(model([plane], spectral_index=-0.5), frequency=FREQUENCY,
                             dish_diameter=100.0)
    points = cube_of(sky_at(-(columns - 35) * CELL, (rows - 30) * CELL, flux, spectral_index=-0.5,
                            reference_frequency=1e9))
    # The points are cut at 1e-6 of their peaks.
    np.testing.assert_allclose(image.brightness, points.brightness, atol=3e-6)


def test_an_image_against_a_sum_over_pixels():
    rng = np.random.default_rng(5)
    planes = rng.random((2, 9, 7))
    made = single_dish_cube(model(planes, (1e9, 2e9), centre_l=3 * CELL), frequency=FREQUENCY,
                            dish_diameter=100.0)
    for chan, plane in enumerate((planes[0], planes.mean(axis=0), planes[1])):
        width = made.beams[chan].fwhm_major / CELL
        for row in range(9):
            for column in range(7):
                wanted = sum(plane[j, i] * np.exp(-4 * np.log(2)
                                                  * ((i - column) ** 2 + (j - row) ** 2) / width**2)
                             for j in range(9) for i in range(7))
                assert made.brightness[chan, row, column] == pytest.approx(wanted, rel=1e-6)
    x, y = made.wcs.world_to_pixel_values(np.rad2deg(CENTRE[0]), np.rad2deg(CENTRE[1]))
    # l = 0 is where the model has it: three pixels to the west of l = 3 cells.
    np.testing.assert_allclose([x, y], [7 // 2 + 3, 9 // 2], atol=1e-6)


def test_noise_of_every_channel():
    shape, rms = (500, 480), np.array([0.1, 0.0, 0.4])
    made = cube_of(components([], [], []), size=shape, noise=rms, rng=np.random.default_rng(7))
    assert not made.brightness[1].any()
    for chan in (0, 2):
        # The mean of g² scatters by sqrt(2 × pixels of a beam / pixels), see test_epoch_images.
        error = np.sqrt(2 * area(made.beams[chan]) / np.prod(shape))
        assert made.brightness[chan].var() / rms[chan] ** 2 == pytest.approx(1, abs=4 * error)
    correlation = np.corrcoef(made.brightness[0].ravel(), made.brightness[2].ravel())[0, 1]
    assert abs(correlation) < 4 * np.sqrt(area(made.beams[0]) / np.prod(shape))


def test_kelvin():
    """Parekh, Ott & Khor (2026), VLASS memo 26, section 3.1: T = 1.222e6 S[Jy/beam] / (ν[GHz]² θ² [arcsec²])."""
    point = sky_at(0, 0, 1.0)
    jansky, kelvin = cube_of(point), cube_of(point, unit="K", noise=0.0)
    arcsec = np.array([beam.fwhm_major for beam in jansky.beams]) * 180 / np.pi * 3600
    np.testing.assert_allclose(kelvin.brightness.max(axis=(1, 2)),
                               1.222e6 / ((FREQUENCY / 1e9) ** 2 * arcsec**2), rtol=5e-4)


def test_files(tmp_path):
    sky = sky_at([0.0, 900 * CELL], 0.0, [1.0, 2.0])
    made = cube_of(sky, noise=[0.1, 0.2, 0.3], rng=np.random.default_rng(1))
    assert made.n_outside == 1
    outputs = made.write(tmp_path / "sd.fits", date="2020-01-02T03:04:05")
    assert [path.name for path in outputs] == ["sd.fits", "sd-provenance.json", "sd-truth.ecsv"]
    cube = read_cube(outputs[0])
    np.testing.assert_array_equal(cube.data, made.brightness.astype(np.float32))
    np.testing.assert_allclose(cube.frequency, FREQUENCY)
    np.testing.assert_allclose(cube.beams, made.beams, rtol=1e-7)  # CASA's table is of float32
    assert cube.unit == "Jy/beam"
    assert fits.getheader(outputs[0])["CASAMBM"] is True
    assert json.loads(outputs[1].read_text())["inputs"]["options"]["rms"] == [0.1, 0.2, 0.3]
    assert Table.read(outputs[2])["on_image"].tolist() == [True, False]
    with pytest.raises(OutputError, match="exists"):
        made.write(tmp_path / "sd.fits")
    first = outputs[0].read_bytes()
    again = cube_of(sky, noise=[0.1, 0.2, 0.3], rng=np.random.default_rng(1))
    again.write(tmp_path / "sd.fits", date="2020-01-02T03:04:05", overwrite=True)
    assert outputs[0].read_bytes() == first


def test_a_model_file_is_taken_on_its_own_pixels(tmp_path):
    plane = np.zeros(SHAPE)
    plane[10, 20] = 3.0
    write_image(tmp_path / "model.fits", plane, sin_wcs(*CENTRE, SHAPE, CELL), unit="Jy/pixel",
                frequency=1.5e9)
    made = single_dish_cube(tmp_path / "model.fits", frequency=FREQUENCY, dish_diameter=100.0)
    assert made.truth is None
    for chan in range(3):
        assert np.unravel_index(made.brightness[chan].argmax(), SHAPE) == (10, 20)
        assert made.brightness[chan].max() == pytest.approx(3.0, rel=1e-6)
    assert len(made.write(tmp_path / "sd.fits")) == 2


def test_radio_beam_reads_the_table_of_beams(tmp_path):
    radio_beam = pytest.importorskip("radio_beam", reason="radio_beam is not installed")
    made = cube_of(sky_at(0, 0))
    made.write(tmp_path / "sd.fits")
    with fits.open(tmp_path / "sd.fits") as hdus:
        beams = radio_beam.Beams.from_fits_bintable(hdus["BEAMS"])
    np.testing.assert_allclose(beams.major.to_value(u.rad),
                               [beam.fwhm_major for beam in made.beams], rtol=1e-6)


def test_casa_finds_beams_frequencies_and_pixels(tmp_path):
    casatasks = pytest.importorskip("casatasks", reason="casatasks is not installed")
    from casatools import image

    made = cube_of(sky_at(-6 * CELL, 3 * CELL, 1.0, spectral_index=-1.0, reference_frequency=1e9))
    made.write(tmp_path / "sd.fits", date="2020-01-02T03:04:05")
    name = str(tmp_path / "sd.im")
    casatasks.importfits(fitsimage=str(tmp_path / "sd.fits"), imagename=name)
    header = casatasks.imhead(name, mode="summary")
    assert header["unit"] == "Jy/beam"
    for chan, beam in enumerate(made.beams):
        theirs = header["perplanebeams"]["beams"][f"*{chan}"]["*0"]
        assert theirs["major"]["unit"] == "arcsec"
        assert theirs["major"]["value"] == pytest.approx(beam.fwhm_major / ARCMIN * 60, rel=1e-6)
        assert theirs["minor"]["value"] == pytest.approx(beam.fwhm_minor / ARCMIN * 60, rel=1e-6)
    tool = image()
    tool.open(name)
    pixels, system = tool.getchunk(), tool.coordsys()
    world = [system.toworld([0, 0, chan, 0], "n")["numeric"][2] for chan in range(3)]
    point = tool.coordsys().topixel([*(made.truth[c][0].to_value(u.rad) for c in ("ra", "dec")),
                                     1e9, 1])["numeric"]
    # The flux statistic divides by the beam of each plane, if CASA has taken them.
    tool.close()
    flux = [casatasks.imstat(name, chans=str(chan))["flux"][0] for chan in range(3)]
    np.testing.assert_allclose(world, FREQUENCY)
    np.testing.assert_allclose(point[:2], [35 + 6, 30 + 3], atol=1e-3)
    np.testing.assert_allclose(pixels[:, :, :, 0].T, made.brightness, atol=1e-7)
    np.testing.assert_allclose(flux, 1e9 / FREQUENCY, rtol=1e-5)


BAD = [({"frequency": []}, "one or more channels"), ({"frequency": [1e9, -1.0]}, "negative"),
       ({"dish_diameter": None}, "no beam"), ({"fwhm": 1e-3}, "given twice"),
       ({"dish_diameter": -1.0}, "dish_diameter"), ({"beam_factor": 0.0}, "beam_factor"),
       ({"dish_diameter": None, "fwhm": [1e-3, 1e-3]}, "for 3 channels"),
       ({"dish_diameter": 400.0}, "the beam at 1.5 GHz .* cell of"),
       ({"noise": -1.0}, "must be 0 or more"), ({"noise": np.nan}, "must be 0 or more"),
       ({"noise": [1.0, 2.0]}, "for 3 channels"), ({"noise": 1.0}, "give rng"),
       ({"unit": "mJy"}, "known are Jy/beam and K"), ({"cell": None}, "give centre, size and cell")]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_one_clear_line(change, message):
    with pytest.raises(ImageError, match=message) as caught:
        single_dish_cube(sky_at(0, 0), **GRID | change)
    assert "\n" not in str(caught.value)


def test_bad_models(tmp_path):
    with pytest.raises(ImageError, match="leave centre, size and cell out"):
        single_dish_cube(model(np.ones((1, 9, 9))), **GRID)
    with pytest.raises(ImageError, match="blank pixels"):
        single_dish_cube(model(np.full((1, 9, 9), np.nan)), frequency=FREQUENCY,
                         dish_diameter=100.0)
    oblong = ImageModel("model", np.ones((1, 9, 9)), np.array([1e9]),
                        ImageGeometry(*CENTRE, -CELL, 2 * CELL))
    with pytest.raises(ImageError, match="square"):
        single_dish_cube(oblong, frequency=FREQUENCY, dish_diameter=100.0)
    with pytest.raises(ImageError, match="no such image"):
        single_dish_cube(tmp_path / "none.fits", frequency=FREQUENCY, dish_diameter=100.0)


def test_uneven_channels_are_made_but_not_written(tmp_path):
    made = cube_of(sky_at(0, 0), frequency=[1e9, 1.2e9, 2e9])
    with pytest.raises(ImageError, match="even spacing"):
        made.write(tmp_path / "sd.fits")
    assert not list(tmp_path.iterdir())
