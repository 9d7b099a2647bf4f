"""Images of epochs against the Fourier transform of analytic visibilities, and their noise against its own statistics."""

import json
from functools import partial

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK5, SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from simulate.epoch_images import correlated_noise, epoch_image, epochs
from simulate.pointings import rectangular_mosaic
from uvstack.errors import ComponentError, ImageError, OutputError
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.image_file import read_cube, read_image
from uvstack.sky.beam import Beam
from uvstack.sky.components import components
from uvstack.sky.coordinates import direction_cosines

ARCSEC = np.pi / 180 / 3600
CENTRE = (0.7, -0.3)
CELL = 0.6 * ARCSEC
BEAM = Beam(4.1 * ARCSEC, 2.7 * ARCSEC, np.deg2rad(30.0))
#: Not square, one side odd.
SHAPE = (96, 121)
image_of = partial(epoch_image, frequency=3e9, beam=BEAM, centre=CENTRE, size=SHAPE, cell=CELL)
GRID = {"frequency": 3e9, "beam": BEAM, "centre": CENTRE, "size": SHAPE, "cell": CELL}


def sky_at(east, north, flux=1.0, **more):
    """Components whose l and m (rad) are east and north."""
    east, north = np.atleast_1d(east).astype(float), np.atleast_1d(north).astype(float)
    n = np.sqrt(1 - east**2 - north**2)
    dec = np.arcsin(north * np.cos(CENTRE[1]) + n * np.sin(CENTRE[1]))
    ra = CENTRE[0] + np.arctan2(east, n * np.cos(CENTRE[1]) - north * np.sin(CENTRE[1]))
    return components(ra, dec, flux, **more)


def transformed(shape, flux, l, m, major, minor, angle, kind):
    """Oracle: Σ S E(u,v) B(u,v) exp(−2πi(ul + vm)) over a (u,v) grid with twice the field, times the beam's solid angle."""
    from scipy.special import j1

    padded = 2 * np.array(shape)
    u_, v_ = np.meshgrid(np.fft.fftfreq(padded[1], -CELL), np.fft.fftfreq(padded[0], CELL))

    def along(size_a, size_b, pa):
        return np.hypot(size_a * (u_ * np.sin(pa) + v_ * np.cos(pa)),
                        size_b * (u_ * np.cos(pa) - v_ * np.sin(pa)))

    spectrum = flux * np.exp(-((np.pi * along(*BEAM)) ** 2)
                             / (4 * np.log(2))) * np.exp(-2j * np.pi * (u_ * l + v_ * m))
    x = np.pi * along(major, minor, angle)
    if kind == "gaussian":
        spectrum = spectrum * np.exp(-(x**2) / (4 * np.log(2)))
    if kind == "disc":
        spectrum = spectrum * np.where(x > 0, 2 * j1(x) / np.where(x > 0, x, 1), 1)
    image = np.fft.fftshift(np.fft.ifft2(spectrum)).real
    solid_angle = np.pi / (4 * np.log(2)) * BEAM[0] * BEAM[1] / CELL**2
    y0, x0 = padded // 2 - np.array(shape) // 2
    return image[y0 : y0 + shape[0], x0 : x0 + shape[1]] * solid_angle


@pytest.mark.parametrize(("kind", "major", "minor", "angle"),
                         [("point", 0, 0, 0), ("gaussian", 6, 2, 1.1), ("gaussian", 5, 0, -0.4),
                          ("disc", 3, 3, 0), ("disc", 16, 7, 0.8), ("disc", 11, 0, 2.0),
                          ("disc", 30, 25, 0.0)])
def test_every_shape_equals_the_transform_of_its_visibilities(kind, major, minor, angle):
    l, m = -3.37 * ARCSEC, 2.21 * ARCSEC
    made = image_of(sky_at(l, m, 2.0, shape=kind, fwhm_major=major * ARCSEC,
                           fwhm_minor=minor * ARCSEC, position_angle=angle))
    wanted = transformed(SHAPE, 2.0, l, m, major * ARCSEC, minor * ARCSEC, angle, kind)
    # Budget: 1e-6 of the peak where the profile is cut off, 2e-7 of a disc without width, 1e-8 of
    # the beam beyond the grid.
    np.testing.assert_allclose(made.brightness, wanted, rtol=0, atol=2e-6 * wanted.max())


@pytest.mark.parametrize("kind", ["point", "gaussian", "disc"])
def test_pixels_sum_to_the_flux(kind):
    size = 0.0 if kind == "point" else 5 * ARCSEC
    made = image_of(sky_at(1.23 * ARCSEC, -4.56 * ARCSEC, 0.3, shape=kind, fwhm_major=size))
    assert made.brightness.sum() / (BEAM.solid_angle / CELL**2) == pytest.approx(0.3, rel=3e-6)


def test_narrowest_beam_still_sums_to_the_flux():
    """Two pixels: sampling a Gaussian errs by 2 exp(−2π²σ²) = 1e-6 a direction."""
    beam = Beam(2 * CELL, 2 * CELL)
    made = image_of(sky_at(0.1 * ARCSEC, 0.2 * ARCSEC), beam=beam)
    assert made.brightness.sum() / (beam.solid_angle / CELL**2) == pytest.approx(1.0, rel=5e-6)


def test_point_on_a_pixel_has_its_flux_as_peak_at_that_pixel():
    made = image_of(sky_at(-10 * CELL, 7 * CELL, 0.25))
    assert made.brightness.max() == pytest.approx(0.25, rel=1e-9)
    assert np.unravel_index(made.brightness.argmax(), SHAPE) == (48 + 7, 60 + 10)


def test_centroid_is_where_the_header_says(tmp_path):
    """Points to 20′ from the centre, in the file's own coordinates."""
    far = 20 * 60 * ARCSEC
    for k, (east, north) in enumerate([(far, far / 2), (-far / 3, -far), (far / 7, far / 11)]):
        n = int(2 * far / CELL / 40) * 2 + 40
        coarse, beam = 20 * CELL, Beam(90 * CELL, 70 * CELL, 0.4)
        made = image_of(sky_at(east, north), beam=beam, cell=coarse, size=(n, n + 11))
        path = tmp_path / f"{k}.fits"
        made.write(path)
        header = fits.getheader(path)
        coord = SkyCoord(made.truth["ra"], made.truth["dec"], frame=FK5(equinox="J2000"))
        x, y = WCS(header).celestial.world_to_pixel(coord)
        pixel = np.indices(made.brightness.shape)[::-1]
        centroid = [(made.brightness * axis).sum() / made.brightness.sum() for axis in pixel]
        # The cut at 1e-6 of the peak falls on pixels unevenly: 1e-5 pixels.
        np.testing.assert_allclose(centroid, [x[0], y[0]], atol=1e-4)
        np.testing.assert_allclose(centroid, [made.truth["x"][0], made.truth["y"][0]], atol=1e-4)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, -50.0])
def test_beam_lies_from_north_through_east(angle):
    """Second moments: the long axis is at the position angle with east where l grows, and FWHM are those of the beam."""
    made = image_of(sky_at(0, 0), beam=(6 * ARCSEC, 3 * ARCSEC, np.deg2rad(angle)))
    y, x = np.indices(SHAPE)
    east, north = -(x - SHAPE[1] // 2) * CELL, (y - SHAPE[0] // 2) * CELL
    weight = made.brightness / made.brightness.sum()
    moments = np.array([[(weight * a * b).sum() for a in (east, north)] for b in (east, north)])
    values, vectors = np.linalg.eigh(moments)
    np.testing.assert_allclose(np.sqrt(8 * np.log(2) * values), [3 * ARCSEC, 6 * ARCSEC], rtol=1e-4)
    assert abs(vectors[:, 1]
               @ [np.sin(np.deg2rad(angle)),
                  np.cos(np.deg2rad(angle))]) == pytest.approx(1, abs=1e-6)


def test_spectrum_scale_factor_and_offset():
    sky = sky_at([0.0, 12 * ARCSEC], [0.0, 9 * ARCSEC], [1.0, 2.0], spectral_index=-0.7,
                 reference_frequency=1.5e9)
    made = image_of(sky, flux_scale=1.1, flux_factor=[1.0, 3.0], offset=(2 * CELL, -1 * CELL))
    true = np.array([1.0, 6.0]) * 2**-0.7
    np.testing.assert_allclose(made.truth["epoch_flux"].to_value(u.Jy), true)
    np.testing.assert_allclose(made.truth["apparent_flux"].to_value(u.Jy), 1.1 * true)
    # East is towards lower x.
    assert made.brightness[48 - 1, 60 - 2] == pytest.approx(1.1 * true[0], rel=1e-5)
    assert made.brightness[48 + 15 - 1, 60 - 20 - 2] == pytest.approx(1.1 * true[1], rel=1e-5)


def test_sources_off_the_image_are_counted_and_those_at_its_edge_reach_in():
    edge = (SHAPE[1] - 61 + 1) * CELL
    sky = sky_at([-edge, 40 * edge, 0.0], [0.0, 0.0, 3 * edge])
    sky = components(np.append(sky.ra, CENTRE[0] + np.pi), np.append(sky.dec, 0.3), 1.0)  # and one behind us
    made = image_of(sky)
    assert made.n_outside == 3
    assert made.truth["on_image"].tolist() == [True, False, False, False]
    full = image_of(sky.subset([0]), size=(SHAPE[0], SHAPE[1] + 20)).brightness
    np.testing.assert_allclose(made.brightness, full[:, 10:-10], atol=1e-15)


def test_an_empty_sky_gives_an_empty_image():
    made = image_of(components([], [], []))
    assert not made.brightness.any()
    assert made.n_outside == 0


def variance_error(shape, beam):
    """Standard deviation of the mean of g².

    sqrt(2 Σρ²/N), and Σρ² of the beam's autocorrelation ρ is the beam's area.
    """
    return np.sqrt(2 * beam.solid_angle / CELL**2 / np.prod(shape))


def test_noise_has_the_rms_and_the_autocorrelation_of_the_beam():
    shape, n = (400, 421), 6
    rng = np.random.default_rng(11)
    draws = [correlated_noise(shape, BEAM, CELL, rng) for _ in range(n)]
    # 4 standard deviations of n independent images.
    assert np.mean([g.var() for g in draws]) == pytest.approx(1,
                                                              abs=4 * variance_error(shape, BEAM)
                                                              / np.sqrt(n))
    for dy, dx in [(0, 3), (4, 0), (3, 3), (3, -3), (5, -4), (0, 30)]:
        east, north = -dx * CELL, dy * CELL
        p = east * np.sin(BEAM[2]) + north * np.cos(BEAM[2]), east * np.cos(BEAM[2]) - north * np.sin(BEAM[2])
        # A Gaussian convolved with itself is √2 wider.
        wanted = np.exp(-4 * np.log(2) * ((p[0] / BEAM[0]) ** 2 + (p[1] / BEAM[1]) ** 2) / 2)
        here = np.s_[: shape[0] - dy, max(-dx, 0) : shape[1] - max(dx, 0)]
        there = np.s_[dy:, max(dx, 0) : shape[1] + min(dx, 0)]
        measured = np.mean([np.mean(g[here] * g[there]) for g in draws])
        assert measured == pytest.approx(wanted,
                                         abs=4 * variance_error(shape, BEAM) / np.sqrt(n)), (dy, dx)


def test_noise_variance_is_exact_in_expectation():
    """Of many small images with the narrowest beam, where the beam's sampling matters most.

    Opposite edges are independent.
    """
    beam, rng, n = Beam(2 * CELL, 2 * CELL), np.random.default_rng(5), 4000
    draws = np.array([correlated_noise((7, 8), beam, CELL, rng) for _ in range(n)])
    # Per pixel n independent draws: sqrt(2/n); the mean over 56 pixels is better still, by the
    # pixels per beam.
    assert draws.var() == pytest.approx(1, abs=4 * variance_error((7 * n, 8), beam))
    assert np.mean(draws[:, 0] * draws[:, -1]) == pytest.approx(0, abs=5 / np.sqrt(8 * n / 2))
    assert np.mean(draws[:, :, 0] * draws[:, :, -1]) == pytest.approx(0, abs=5 / np.sqrt(7 * n / 2))


def test_noise_follows_its_map():
    nothing, shape = components([], [], []), (300, 320)
    gradient = np.linspace(1e-4, 5e-4, shape[1])[None, :] * np.ones((shape[0], 1))
    made = image_of(nothing, size=shape, noise=gradient, rng=np.random.default_rng(2))
    np.testing.assert_array_equal(made.rms, gradient)
    left, right = (made.brightness[:, part] / gradient[:, part]
                   for part in (slice(0, 160), slice(160, 320)))
    assert left.var() == pytest.approx(1, abs=4 * variance_error(left.shape, BEAM))
    assert right.var() == pytest.approx(1, abs=4 * variance_error(right.shape, BEAM))
    # As a function of l, which decreases along the axis, the same map is the same image.
    low, high = -(160 - 1) * CELL, 160 * CELL
    same = image_of(nothing, size=shape, noise=lambda l, m: 1e-4 + 4e-4 * (high - l) / (high - low),
                    rng=np.random.default_rng(2))
    np.testing.assert_allclose(same.brightness, made.brightness, rtol=1e-9)


def test_noise_of_a_mosaic_rises_as_the_beam_falls():
    beam = "gaussian:60arcsec@3GHz"
    one = image_of(components([], [], []), noise=1e-4, rng=np.random.default_rng(1),
                   primary_beam=beam, pb_limit=0.4)
    y, x = np.indices(SHAPE)
    power = np.exp(-4 * np.log(2) * (np.hypot(x - 60, y - 48) * CELL / (60 * ARCSEC)) ** 2)
    np.testing.assert_allclose(one.rms, np.where(power > 0.4, 1e-4 / power, np.nan), rtol=1e-7)
    assert np.array_equal(np.isnan(one.brightness), power <= 0.4)
    mosaic = rectangular_mosaic(*CENTRE, 30 * ARCSEC, 0.0, 30 * ARCSEC)
    several = image_of(components([], [], []), noise=1e-4, rng=np.random.default_rng(1),
                       primary_beam=beam, pointings=mosaic)
    l0, m0, _ = direction_cosines(mosaic.ra, mosaic.dec, *CENTRE)
    squares = [np.exp(-8 * np.log(2) * ((-(x - 60) * CELL - l) ** 2 + ((y - 48) * CELL - m) ** 2)
                      / (60 * ARCSEC) ** 2) for l, m in zip(l0, m0, strict=True)]
    np.testing.assert_allclose(several.rms, 1e-4 / np.sqrt(sum(squares)), rtol=1e-6)


def test_blank_pixels():
    mask = np.zeros(SHAPE, bool)
    mask[:, 100:] = True
    made = image_of(sky_at(0, 0), blank=mask)
    assert np.array_equal(np.isnan(made.brightness), mask)
    assert np.array_equal(np.isnan(made.rms), mask)
    assert np.isnan(image_of(sky_at(0, 0),
                             blank=5).brightness).sum() == SHAPE[0] * SHAPE[1] - 86 * 111


@pytest.mark.parametrize("four_axes", [True, False])
def test_files_say_what_is_in_them(tmp_path, four_axes):
    made = image_of(sky_at(0, 3 * ARCSEC, 0.1), noise=1e-4, rng=np.random.default_rng(1),
                    date="2020-07-01T12:00:00", width=2e9, blank=2)
    image, rms, truth = made.write(tmp_path / "a.fits", four_axes=four_axes)
    header = fits.getheader(image)
    assert header["NAXIS"] == (4 if four_axes else 2)
    assert (header["BUNIT"], header["RADESYS"], header["EQUINOX"]) == ("Jy/beam", "FK5", 2000.0)
    assert header["DATE-OBS"] == "2020-07-01T12:00:00.000"
    np.testing.assert_allclose([header["BMAJ"] * 3600, header["BMIN"] * 3600, header["BPA"]],
                               [4.1, 2.7, 30.0])
    if four_axes:
        assert [header[f"CTYPE{i}"]
                for i in (1, 2, 3, 4)] == ["RA---SIN", "DEC--SIN", "FREQ", "STOKES"]
        assert (header["CRVAL3"], header["CDELT3"]) == (3e9, 2e9)
    cube = read_cube(image)
    np.testing.assert_array_equal(cube.data[0], made.brightness.astype(np.float32))
    assert cube.unit == "Jy/beam"
    np.testing.assert_allclose(cube.beams[0], BEAM)
    assert cube.cell == pytest.approx(CELL)
    assert (cube.frequency is None) if not four_axes else cube.frequency.tolist() == [3e9]
    np.testing.assert_array_equal(read_image(rms).data, made.rms.astype(np.float32))
    table = Table.read(truth)
    assert table["apparent_flux"][0] == pytest.approx(0.1)
    assert table.meta["frame"] == "J2000"
    with pytest.raises(OutputError, match="exists"):
        made.write(tmp_path / "a.fits")
    made.write(tmp_path / "a.fits", overwrite=True)


SETTINGS = [{"noise": 1e-4, "name": "one"},
            {"noise": 2e-4, "beam": (3 * ARCSEC, 2 * ARCSEC, 0.2), "flux_scale": 1.05,
             "offset": (0.2 * ARCSEC, 0.0), "name": "two"}]


def test_epochs_write_a_folder_and_the_same_seed_the_same_bytes(tmp_path):
    shared = {key: value for key, value in GRID.items()}
    made = [epochs(sky_at([0, 9 * ARCSEC], 0, [1, 2]), SETTINGS, seed=3, out=tmp_path / name,
                   **shared) for name in ("a", "b")][0]
    assert sorted(f.name for f in (tmp_path / "a").iterdir()) == sorted(
        [f"{name}{end}" for name in ("one", "two") for end in (".fits", "-rms.fits", "-truth.ecsv")]
        + ["provenance.json", "epochs.png"])
    for name in ("one.fits", "one-rms.fits", "two.fits", "two-rms.fits", "two-truth.ecsv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not np.array_equal(epochs(sky_at(0, 0), SETTINGS, seed=4, **shared)[0].brightness,
                              made[0].brightness)
    # An epoch's noise hangs on its place in the list and on nothing in the others.
    alone = epochs(sky_at([0, 9 * ARCSEC], 0, [1, 2]), SETTINGS[:1], seed=3, **shared)[0]
    np.testing.assert_array_equal(alone.brightness, made[0].brightness)
    record = json.loads((tmp_path / "a" / "provenance.json").read_text())
    assert record["seed"] == 3
    assert record["inputs"]["options"]["epochs"]["two"]["flux_scale"] == 1.05
    assert (tmp_path / "a" / "epochs.png").read_bytes()[:4] == b"\x89PNG"


def test_noise_of_two_epochs_is_independent():
    first, second = epochs(components([], [], []), [{"noise": 1.0}] * 2, seed=1,
                           **GRID | {"size": 200})
    mean = np.mean(first.brightness * second.brightness)
    assert abs(mean) < 4 * variance_error((200, 200), BEAM)


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("simulate.image_report.epochs_figure", fail)
        with pytest.raises(OutputError, match="No space"):
            epochs(sky_at(0, 0), SETTINGS, out=tmp_path / "a", **GRID)
    assert not list(tmp_path.iterdir())
    (tmp_path / "b").mkdir()
    with pytest.raises(OutputError, match="never overwritten"):
        epochs(sky_at(0, 0), SETTINGS, out=tmp_path / "b", **GRID)
    assert not list((tmp_path / "b").iterdir())


BAD = [({"noise": -1e-4}, "must be 0 or more"), ({"noise": np.nan}, "must be 0 or more"),
       ({"noise": np.full(SHAPE, np.inf)}, "must be 0 or more"),
       ({"noise": np.ones((3, 4))}, r"shape \(3, 4\)"), ({"noise": 1e-4}, "give rng"),
       ({"beam": (2 * ARCSEC, 1 * ARCSEC, 0.0)}, "cell of 0.5 arcsec"),
       ({"beam": (2 * ARCSEC, 4 * ARCSEC, 0.0)}, "fwhm_major"),
       ({"beam": (np.nan, 4 * ARCSEC, 0.0)}, "fwhm_major"), ({"cell": 0.0}, "cell"),
       ({"size": (0, 10)}, "size"), ({"size": 10.5 * np.ones(2)}, "size"),
       ({"centre": (0.0, np.nan)}, "centre"), ({"frequency": -1e9}, "frequency"),
       ({"flux_scale": 0.0}, "flux_scale"), ({"offset": (np.nan, 0.0)}, "offset"),
       ({"blank": np.ones(SHAPE, bool)}, "every pixel is blank"),
       ({"blank": np.ones((2, 2), bool)}, "blank is an array"), ({"blank": 500}, "blank is 500"),
       ({"pointings": rectangular_mosaic(*CENTRE, 1e-3, 1e-3, 1e-3)}, "without a primary_beam"),
       ({"date": "last summer"}, "ISO 8601"), ({"pb_limit": 1.0}, "pb_limit")]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_one_clear_line(change, message):
    with pytest.raises(ImageError, match=message) as caught:
        epoch_image(sky_at(0, 0), **GRID | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("factor", [[-1.0, 1.0], [1.0, np.nan], [1.0, 1.0, 1.0]])
def test_bad_flux_factors(factor):
    with pytest.raises(ComponentError, match="flux_factor"):
        image_of(sky_at([0, 1e-5], 0), flux_factor=factor)


@pytest.mark.parametrize(("settings", "message"),
                         [([], "no epoch"),
                          ([{"name": "a"}, {"name": "a"}], "every name must be another"),
                          ([{"nose": 1.0}], "nearest is noise"),
                          ([{"noise": -1.0}], "epoch1: the noise")])
def test_bad_settings(settings, message):
    with pytest.raises(ImageError, match=message):
        epochs(sky_at(0, 0), settings, **GRID)


def test_a_missing_setting_is_named():
    with pytest.raises(ImageError, match="epoch1: beam, cell missing"):
        epochs(sky_at(0, 0), [{"frequency": 1e9}], centre=CENTRE, size=10)


def test_files_that_are_no_cubes(tmp_path):
    with pytest.raises(ImageError, match="no such image"):
        read_cube(tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("no image")
    with pytest.raises(ImageError, match="not a FITS file"):
        read_cube(tmp_path / "text.fits")
    stokes = fits.PrimaryHDU(np.ones((2, 1, 5, 6)), sin_wcs(0.1, 0.2, (5, 6), 1e-5).to_header())
    stokes.header.update({"CTYPE3": "FREQ", "CRVAL3": 1e9, "CTYPE4": "STOKES", "CRVAL4": -1.0,
                          "CDELT4": -1.0, "CRPIX4": 1.0, "WCSAXES": 4})
    stokes.writeto(tmp_path / "stokes.fits")
    with pytest.raises(ImageError, match=r"Stokes parameters \[-1, -2\] .* not I"):
        read_cube(tmp_path / "stokes.fits")
    fits.PrimaryHDU(np.ones((5, 6))).writeto(tmp_path / "plain.fits")
    with pytest.raises(ImageError, match="no celestial coordinates"):
        read_cube(tmp_path / "plain.fits")
    blank = fits.PrimaryHDU(np.full((5, 6), np.nan), sin_wcs(0.1, 0.2, (5, 6), 1e-5).to_header())
    blank.writeto(tmp_path / "blank.fits")
    with pytest.raises(ImageError, match="every pixel is blank"):
        read_cube(tmp_path / "blank.fits")
    with pytest.raises(ImageError, match="even spacing"):
        write_image(tmp_path / "c.fits", np.ones((3, 5, 6)), sin_wcs(0.1, 0.2, (5, 6), 1e-5),
                    frequency=np.array([1e9, 2e9, 4e9]))
    with pytest.raises(ImageError, match="2 frequencies for 3 planes"):
        write_image(tmp_path / "c.fits", np.ones((3, 5, 6)), sin_wcs(0.1, 0.2, (5, 6), 1e-5),
                    frequency=np.array([1e9, 2e9]))


def test_casa_finds_the_beam_the_date_and_the_source(tmp_path):
    casatasks = pytest.importorskip("casatasks", reason="casatasks is not installed")

    made = image_of(sky_at(-9 * CELL, 14 * CELL, 0.1), noise=1e-5, rng=np.random.default_rng(1),
                    date="2020-07-01T12:00:00", blank=3)
    made.write(tmp_path / "a.fits")
    name = str(tmp_path / "a.im")
    casatasks.importfits(fitsimage=str(tmp_path / "a.fits"), imagename=name)
    header = casatasks.imhead(name, mode="summary")
    beam = header["restoringbeam"]
    np.testing.assert_allclose([beam[key]["value"] for key in ("major", "minor", "positionangle")],
                               [4.1, 2.7, 30.0], rtol=1e-6)
    assert casatasks.imhead(name, mode="get", hdkey="date-obs").startswith("2020/07/01/12:00:00")
    fit = casatasks.imfit(name, box="49,42,89,82")["deconvolved"]["component0"]
    # 1e4 times the noise: positions to 1e-4 of a beam, fluxes to some 1e-4; CASA converges to 1e-3.
    direction = fit["shape"]["direction"]
    east = direction["m0"]["value"] - made.truth["ra"][0].to_value(u.rad)
    assert abs((east + np.pi) % (2 * np.pi) - np.pi) < 1e-2 * CELL
    assert abs(direction["m1"]["value"] - made.truth["dec"][0].to_value(u.rad)) < 1e-2 * CELL
    assert fit["flux"]["value"][0] == pytest.approx(0.1, rel=1e-3)
