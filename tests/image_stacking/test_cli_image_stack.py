"""`uvstack image-stack` and `uvstack.image_stack` on FITS files.

Frames, units, mosaics, blanks, outputs, bad input.
"""

import json
import math

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner

import uvstack
from factories import ARCSEC, CENTRE, at
from uvstack.cli.main import group
from uvstack.errors import (
    DroppedPositionsWarning,
    ImageError,
    OutputError,
    PositionsError,
    SelectionError,
)
from uvstack.io.fits import sin_wcs, write_image
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import direction_cosines, parse_frame

CELL, SIZE, NOISE, FLUX, N = 0.5 * ARCSEC, 400, 2e-6, 30e-6, 30
BEAM = Beam(3.2 * ARCSEC, 1.8 * ARCSEC, math.radians(20))
FREQUENCY = 1.4e9
WCS_OF_IMAGE = sin_wcs(*CENTRE, (SIZE, SIZE), CELL)


def gaussian(l, m, beam=BEAM):
    """Beam at offsets east and north (rad), position angle from north through east."""
    cos, sin = math.cos(beam.position_angle), math.sin(beam.position_angle)
    along, across = m * cos + l * sin, l * cos - m * sin
    return np.exp(-4 * math.log(2)
                  * ((along / beam.fwhm_major) ** 2 + (across / beam.fwhm_minor) ** 2))


def directions(seed=1, n=N, reach=75 * ARCSEC):
    """(ra, dec) whose direction cosines are even over a square, and those.

    Found by inverting the projection of the sine.
    """
    l, m = np.random.default_rng(seed).uniform(-reach, reach, (2, n))
    sky = WCS_OF_IMAGE.pixel_to_world(SIZE // 2 - l / CELL, SIZE // 2 + m / CELL)
    return sky.ra.rad, sky.dec.rad, l, m


def picture(l, m, flux=FLUX, noise=NOISE, seed=2):
    """Sources at direction cosines in noise that is correlated as the beam's."""
    from scipy.ndimage import gaussian_filter

    east, north = -(np.arange(SIZE) - SIZE // 2) * CELL, (np.arange(SIZE) - SIZE // 2) * CELL
    image = sum(s * gaussian(east[None, :] - a, north[:, None] - b)
                for a, b, s in zip(l, m, np.broadcast_to(flux, l.shape), strict=True))
    rough = gaussian_filter(np.random.default_rng(seed).standard_normal((SIZE, SIZE)), 1.5)
    return image + noise * rough / rough.std()


def save(path, data, beam=BEAM, **options):
    write_image(path, data, options.pop("wcs", WCS_OF_IMAGE), beams=beam, frequency=FREQUENCY,
                **options)
    return path


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """An image, its psf and a list of positions with weights."""
    folder = tmp_path_factory.mktemp("image")
    ra, dec, l, m = directions()
    save(folder / "survey.fits", picture(l, m))
    offset = (np.arange(300) - 150) * CELL
    save(folder / "psf.fits", gaussian(-offset[None, :], offset[:, None]),
         wcs=sin_wcs(*CENTRE, (300, 300), CELL))
    rows = "".join(f"{np.rad2deg(a):.10f},{np.rad2deg(d):.10f},{k + 1}\n"
                   for k, (a, d) in enumerate(zip(ra, dec, strict=True)))
    (folder / "positions.csv").write_text("ra,dec,w\n" + rows)
    return folder


def run(*args):
    result = CliRunner().invoke(group, [str(a) for a in args], catch_exceptions=False)
    return result.exit_code, result.output


def test_the_command_writes_stamp_numbers_pictures_and_page(survey, tmp_path):
    code, output = run("image-stack", survey / "survey.fits", survey / "positions.csv", "--weights",
                       "local-noise", "--stamp", 32, "--psf", survey / "psf.fits", "--random", 20,
                       "--bootstrap", 20, "--seed", 3, "--fit", "circular", "--out",
                       tmp_path / "s.fits")
    assert code == 0
    assert "SNR" in output
    report = tmp_path / "s-report"
    found = json.loads((report / "result.json").read_text())
    assert found["n_positions"] == N
    # Noise of a pixel over sqrt(30), and the neighbours, of which 30 in 150″ squared add 0.4 % each
    # to the mean.
    assert found["flux_jy"] == pytest.approx(FLUX * 1.01,
                                             abs=4 * NOISE / math.sqrt(N) + 0.02 * FLUX)
    assert found["random_positions"]["n"] == found["bootstrap"]["n"] == 20
    assert found["provenance"]["seed"] == 3
    assert found["peak_response"] == pytest.approx(1.0, abs=1e-4)
    fit = json.loads((report / "psf_fit.json").read_text())
    assert fit["flux_jy"] == pytest.approx(FLUX, abs=5 * fit["flux_error_jy"])
    with fits.open(tmp_path / "s.fits") as hdus:
        header, data = hdus[0].header, hdus[0].data
    assert data.shape == (32, 32)
    assert data[16, 16] == pytest.approx(found["flux_jy"], rel=1e-6)
    assert header["BUNIT"] == "Jy/beam"
    assert header["NSTACK"] == N
    assert header["BMAJ"] == pytest.approx(3.2 / 3600, rel=1e-6)
    assert header["CDELT1"] < 0 < header["CDELT2"]
    x, y = WCS(header).world_to_pixel(SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg",
                                               frame="fk5"))
    assert (float(x), float(y)) == pytest.approx((16, 16), abs=1e-6)
    page = (report / "index.html").read_text()
    assert "http" not in page
    assert "local-noise" in page
    assert {"stamp.fits", "psf.fits", "stamp.png",
            "fluxes.png"} <= {file.name for file in report.iterdir()}
    with pytest.raises(OutputError, match="exists"):
        run("image-stack", survey / "survey.fits", survey / "positions.csv", "--out",
            tmp_path / "s.fits")


@pytest.mark.parametrize("frame", ["J2000", "ICRS", "B1950", "GALACTIC"])
def test_positions_of_any_frame_find_the_same_pixels(survey, frame):
    ra, dec, _, _ = directions()
    coord = SkyCoord(ra, dec, unit="rad", frame="fk5").transform_to(parse_frame(frame),
                                                                    merge_attributes=False)
    found = uvstack.image_stack(survey / "survey.fits", SkyCoord(coord), stamp=16)
    expected = uvstack.image_stack(survey / "survey.fits", survey / "positions.csv", stamp=16)
    # 0.1 mas of astropy's B1950 over a beam of 3″.
    np.testing.assert_allclose(found.values, expected.values, atol=1e-4 * FLUX)
    assert (found.ra, found.dec) == pytest.approx((expected.ra, expected.dec), abs=1e-9)


def test_nearest_loses_what_the_psf_says_and_subpixel_nothing(tmp_path):
    # Sources 20″ apart, so that neighbours do not blur what is measured to 1e-4.
    grid = np.arange(-80, 81, 20) * ARCSEC
    rng = np.random.default_rng(9)
    l, m = (a.ravel() + rng.uniform(-0.5, 0.5, 81) * CELL for a in np.meshgrid(grid, grid))
    sky = WCS_OF_IMAGE.pixel_to_world(SIZE // 2 - l / CELL, SIZE // 2 + m / CELL)
    path = save(tmp_path / "i.fits", picture(l, m, flux=1.0, noise=0.0))
    nearest = uvstack.image_stack(path, SkyCoord(sky), stamp=32, alignment="nearest")
    assert nearest.flux < 0.985
    assert nearest.peak_response == pytest.approx(nearest.flux, abs=1e-4)
    assert nearest.flux_corrected == pytest.approx(1.0, abs=1e-4)
    exact = uvstack.image_stack(path, SkyCoord(sky), stamp=32)
    assert exact.flux == pytest.approx(1.0, abs=1e-4)
    assert exact.psf_source == "Gaussian beam of the header"


def test_mosaic_of_flat_noise_corrected_image_and_response_image_agree(tmp_path):
    ra, dec, l, m = directions(seed=5)
    centres = [(-30 * ARCSEC, 0.0), (40 * ARCSEC, 10 * ARCSEC)]
    where = WCS_OF_IMAGE.pixel_to_world(*(SIZE // 2
                                          + np.array([[-c[0], c[1]] for c in centres]).T / CELL))
    pointings = SkyCoord(where)

    def power(a, d):
        square = 0.0
        for c in pointings:
            x, y, _ = direction_cosines(a, d, c.ra.rad, c.dec.rad)
            square = square + np.exp(-4 * math.log(2)
                                     * (np.arcsin(np.hypot(x, y)) / (100 * ARCSEC)) ** 2) ** 2
        return np.sqrt(square)

    rows, cols = np.mgrid[0:SIZE, 0:SIZE]
    sky = WCS_OF_IMAGE.pixel_to_world(cols, rows)
    response = power(sky.ra.rad, sky.dec.rad)
    at_sources = power(ra, dec)
    flat = picture(l, m, flux=FLUX * at_sources)
    save(tmp_path / "flat.fits", flat)
    save(tmp_path / "corrected.fits", flat / response)
    save(tmp_path / "response.fits", response)
    text = "gaussian:100arcsec@1.4GHz"
    options = {"weights": "primary-beam", "stamp": 32, "pb_cutoff": 0.05}
    coord = at(*zip(ra, dec, strict=True))
    by_beam = uvstack.image_stack(tmp_path / "flat.fits", coord, image_kind="flat",
                                  primary_beam=text, pointings=pointings, **options)
    by_image = uvstack.image_stack(tmp_path / "flat.fits", coord, image_kind="flat",
                                   pb_image=tmp_path / "response.fits", **options)
    corrected = uvstack.image_stack(tmp_path / "corrected.fits", coord, primary_beam=text,
                                    pointings=pointings, **options)
    np.testing.assert_allclose(by_beam.weights, at_sources**2, rtol=1e-6)
    # Fluxes, each with its noise and neighbours: 30 of them in 150″ squared.
    assert np.median(by_beam.values) == pytest.approx(FLUX, rel=0.1)
    np.testing.assert_allclose(np.average(by_beam.values, weights=by_beam.weights), by_beam.flux,
                               rtol=1e-9)
    # Bilinear interpolation of A between pixels of 0.5″ is off by (0.5/100)² · 8 ln2/16 ≈ 1e-5;
    # files are float32.
    assert by_image.flux == pytest.approx(by_beam.flux, rel=1e-4)
    # A slopes over a beam: dividing the image moves the peak by second order, (3.2/100)² of it.
    assert corrected.flux == pytest.approx(by_beam.flux, rel=3e-3)
    assert by_beam.flux == pytest.approx(FLUX, rel=0.1)
    # Equation 7 of flat noise σ: σ / sqrt(Σ A²).
    assert by_beam.flux_error_expected == pytest.approx(NOISE / math.sqrt((at_sources**2).sum()),
                                                        rel=0.35)
    far = uvstack.image_stack(tmp_path / "flat.fits", coord, image_kind="flat", primary_beam=text,
                              pointings=pointings, noise_image=tmp_path / "response.fits",
                              noise_kind="rms-flat", weights="local-noise", stamp=16)
    np.testing.assert_allclose(far.weights, 1.0, rtol=1e-3)  # noise A of flat noise over A


def test_edges_blanks_and_beams_are_counted(tmp_path):
    rng = np.random.default_rng(3)
    image = rng.standard_normal((SIZE, SIZE))
    image[300:, 300:] = np.nan
    path = save(tmp_path / "blank.fits", image)
    x = np.array([200.0, 100.0, 12.0, 350.0, 600.0, 5.0])
    y = np.array([200.0, 250.0, 60.0, 350.0, 10.0, 200.0])
    coord = SkyCoord(WCS_OF_IMAGE.pixel_to_world(x, y))
    with pytest.warns(DroppedPositionsWarning,
                      match="2 of 6 positions .*1 off the image, 1 at or too near blank"):
        found = uvstack.image_stack(path, coord, alignment="nearest", stamp=32)
    assert found.n_positions == 4
    assert found.n_partial == 2
    assert found.dropped["off the image"].tolist() == [4]
    assert found.dropped["at or too near blank pixels or the edge"].tolist() == [3]
    assert found.flux == pytest.approx(image[[200, 250, 60, 200], [200, 100, 12, 5]].mean(),
                                       rel=1e-6)
    with pytest.warns(DroppedPositionsWarning, match="1 outside the primary beam"):
        narrow = uvstack.image_stack(path, coord[:2], primary_beam="gaussian:50arcsec@1.4GHz",
                                     alignment="nearest", stamp=16)
    assert narrow.n_positions == 1
    with pytest.raises(PositionsError, match="no position can be stacked: 2 off the image"):
        uvstack.image_stack(path, at((1.0, 0.3), (1.1, 0.3)))


def test_units_and_channels(tmp_path):
    ra, dec, l, m = directions(n=4)
    image = picture(l, m, noise=0.0)
    plain = uvstack.image_stack(save(tmp_path / "a.fits", image), at(*zip(ra, dec, strict=True)),
                                stamp=16)
    milli = uvstack.image_stack(save(tmp_path / "b.fits", image * 1e3, unit="mJy/beam"),
                                at(*zip(ra, dec, strict=True)), stamp=16)
    assert milli.flux == pytest.approx(plain.flux, rel=1e-6)
    with pytest.raises(ImageError, match="is in Jy/pixel"):
        uvstack.image_stack(save(tmp_path / "c.fits", image, unit="Jy/pixel"), at((ra[0], dec[0])))
    write_image(tmp_path / "cube.fits", np.stack([image, 2 * image]), WCS_OF_IMAGE, beams=BEAM,
                frequency=np.array([1.4e9, 1.5e9]))
    with pytest.raises(ImageError, match="holds 2 channels"):
        uvstack.image_stack(tmp_path / "cube.fits", at((ra[0], dec[0])))
    second = uvstack.image_stack(tmp_path / "cube.fits", at(*zip(ra, dec, strict=True)), channel=1,
                                 stamp=16)
    assert second.flux == pytest.approx(2 * plain.flux, rel=1e-6)


def test_the_filter_takes_metres_pixels_and_its_loss_is_known(survey):
    options = {"stamp": 64, "psf": survey / "psf.fits"}
    plain = uvstack.image_stack(survey / "survey.fits", survey / "positions.csv", **options)
    # Pixels of the transform are 1/32″ = 6446 λ = 1380 m wide: 2 km is a circle of 9 pixels, as 3 ×
    # 3 are.
    metres = uvstack.image_stack(survey / "survey.fits", survey / "positions.csv", low_filter="2km",
                                 **options)
    pixels = uvstack.image_stack(survey / "survey.fits", survey / "positions.csv",
                                 low_filter="3pixels", **options)
    np.testing.assert_allclose(metres.stamp, pixels.stamp, atol=1e-12)
    assert abs(pixels.stamp.mean()) < 1e-12
    assert pixels.peak_response < 0.99 * plain.peak_response
    assert pixels.flux_corrected == pytest.approx(plain.flux, abs=4 * plain.flux_error)


BAD = [({"weights": "local-nois"}, SelectionError, "did you mean local-noise"),
       ({"weights": "list"}, PositionsError, "wants a column of weights"),
       ({"method": "mode"}, SelectionError,
        "method is 'mode'; wanted one of mean, median, clipped-mean"),
       ({"low_filter": "5parsec"}, SelectionError, "5parsec"),
       ({"low_filter": "0pixels"}, SelectionError, "at least 1 pixel"),
       ({"noise_kind": "rms-flat"}, SelectionError, "noise_image"),
       ({"image_kind": "raw"}, SelectionError, "image_kind is 'raw'"),
       ({"pb_cutoff": 2.0}, SelectionError, "from 0 to 1"),
       ({"random": 1}, SelectionError, "random is 1"),
       ({"channel": 3}, ImageError, "channel 3 is wanted"),
       ({"beam": (1.0,)}, ImageError, "the beam is"),
       ({"psf": "nothing.fits"}, ImageError, "no such image"),
       ({"out": "nowhere/x.fits"}, OutputError, "no such folder"),]


@pytest.mark.parametrize(("options", "error", "fragment"), BAD)
def test_bad_input_is_one_line(survey, options, error, fragment):
    with pytest.raises(error, match=fragment) as caught:
        uvstack.image_stack(survey / "survey.fits", at(CENTRE), **options)
    assert "\n" not in str(caught.value)


def test_images_that_cannot_be_stacked(survey, tmp_path):
    plain = save(tmp_path / "nobeam.fits", np.ones((64, 64)), beam=None,
                 wcs=sin_wcs(*CENTRE, (64, 64), CELL))
    with pytest.raises(ImageError, match="has no beam"):
        uvstack.image_stack(plain, at(CENTRE), weights="local-noise")
    found = uvstack.image_stack(plain, at(CENTRE), stamp=16)
    assert found.psf is None
    assert found.flux == pytest.approx(1.0)
    with pytest.raises(ImageError, match="wants the dirty beam"):
        run("image-stack", plain, _list(tmp_path), "--fit", "circular", "--stamp", 16, "--report",
            tmp_path / "r")
    with pytest.raises(SelectionError, match="did you mean circular"):
        uvstack.image_stack(plain, at(CENTRE), stamp=16, fit="circle")
    with pytest.raises(ImageError, match="every pixel is blank"):
        uvstack.image_stack(save(tmp_path / "nan.fits", np.full((64, 64), np.nan),
                                 wcs=sin_wcs(*CENTRE, (64, 64), CELL)), at(CENTRE))
    oblong = sin_wcs(*CENTRE, (64, 64), CELL)
    oblong.wcs.cdelt = [-1e-4, 2e-4]
    with pytest.raises(ImageError, match="square"):
        uvstack.image_stack(save(tmp_path / "oblong.fits", np.ones((64, 64)), wcs=oblong),
                            at(CENTRE))
    other = save(tmp_path / "psf.fits", np.ones((64, 64)), wcs=sin_wcs(*CENTRE, (64, 64), 2 * CELL))
    with pytest.raises(ImageError, match="make the psf with the pixels of the image"):
        uvstack.image_stack(survey / "survey.fits", at(CENTRE), psf=other)


def _list(folder):
    (folder / "one.csv").write_text(f"ra,dec\n{np.rad2deg(CENTRE[0])},{np.rad2deg(CENTRE[1])}\n")
    return folder / "one.csv"
