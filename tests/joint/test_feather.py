"""Feathering against sums of Gaussians, whose feather is known in closed form."""

import json

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from gaussian_sky import (
    ARCSEC,
    FREQUENCY,
    HIGH,
    LOW,
    SKY,
    Grid,
    area,
    density,
    diameter,
    feather_of_casa,
    feathered_plane,
    high_plane,
    low_plane,
    matrix,
    smeared,
    write,
)

import uvstack
from uvstack.cli.main import group
from uvstack.errors import ImageError, NumericalError, SelectionError, UvstackWarning
from uvstack.joint.flux_scale import Cells, flux_scale


@pytest.fixture
def pair(tmp_path):
    """Both images on one grid, and the offsets of its pixels."""
    grid = Grid()
    at = grid.offsets()
    return (write(tmp_path / "high.fits", high_plane(at), grid, HIGH),
            write(tmp_path / "low.fits", low_plane(at), grid, LOW), at)


def test_the_feather_of_gaussians_is_the_closed_form(pair):
    found = uvstack.feather(*pair[:2])
    want = feathered_plane(pair[2])
    # Edges: 300 pixels reach 3.3 FWHM of the dish from the sources, where they are 1e-5.
    assert np.abs(found.image[0] - want).max() < 2e-4 * want.max()
    assert found.fluxes["flux"][0].value == pytest.approx(24.0, rel=1e-4)
    assert found.fluxes["flux_low"][0].value == pytest.approx(24.0, rel=1e-4)
    assert abs(found.fluxes["flux_high"][0].value) < 0.2
    assert found.sd_scale == 1.0
    assert found.sd_scale_error is None


def test_small_scales_are_those_of_the_interferometer(pair):
    """A source of which the dish sees next to nothing keeps its peak and shape."""
    at = pair[2]
    sky = [(0.1, (0.1, 0.1, 0.0), 3.0, 5.0)]
    write(pair[0], high_plane(at, sky=sky), Grid(), HIGH)
    write(pair[1], low_plane(at, sky=sky), Grid(), LOW)
    image = uvstack.feather(*pair[:2]).image[0]
    near = np.hypot(at[0] - 3.0, at[1] - 5.0) < 9
    truth = area(matrix(*HIGH)) * smeared(at, HIGH, sky=sky)
    # Where both instruments miss some of the middle scales: (1 − w)(1 − m) of the beam's volume.
    assert np.abs(image - truth)[near].max() < 0.03 * truth.max()


@pytest.mark.parametrize("low_grid", [
    Grid((120, 130), 8.0), Grid((140, 140), 8.0, turn=25.0), Grid((90, 110), 12.0, shift=(3.3, -2.6)),
    Grid((300, 320), 2.0, shift=(0.5, 0.0)), Grid((400, 420), 2.0)])
def test_other_pixels_of_the_dish(pair, low_grid):
    write(pair[1], low_plane(low_grid.offsets()), low_grid, LOW)
    want = feathered_plane(pair[2])
    found = uvstack.feather(*pair[:2])
    assert np.abs(found.image[0] - want).max() < 5e-4 * want.max()
    assert found.fluxes["flux"][0].value == pytest.approx(24.0, rel=5e-4)


def test_blank_edges(pair):
    """Blanks of the interferometer stay; the dish's may lie beyond them, and not within."""
    high, low, at = pair
    inside = np.hypot(*at) < 270
    write(high, np.where(inside, high_plane(at), np.nan), Grid(), HIGH)
    write(low, np.where(np.hypot(*at) < 280, low_plane(at), np.nan), Grid(), LOW)
    want = feathered_plane(at)
    image = uvstack.feather(high, low).image[0]
    assert (np.isfinite(image) == inside).all()
    assert np.abs(image - want)[np.hypot(*at) < 200].max() < 1e-3 * want.max()
    write(low, np.where(np.hypot(*at) < 240, low_plane(at), np.nan), Grid(), LOW)
    with pytest.raises(ImageError, match=r"low.fits: lacks 1[5-9]\.?\d? % of .*cut or blank"):
        uvstack.feather(high, low)


@pytest.mark.parametrize(("unit", "of_beam"), [
    ("mJy/beam", lambda beam: 1e3), ("K", lambda beam: kelvin(beam)), ("mK", lambda beam: 1e3 * kelvin(beam)),
    ("MJy/sr", lambda beam: 1e-6 / (area(matrix(*beam)) * ARCSEC**2)),
    ("Jy/pixel", lambda beam: 2.0**2 / area(matrix(*beam)))])
def test_units(pair, unit, of_beam):
    high, low, at = pair
    write(high, of_beam(HIGH) * high_plane(at), Grid(), HIGH, unit, FREQUENCY)
    write(low, of_beam(LOW) * low_plane(at), Grid(), LOW, unit, FREQUENCY)
    want = feathered_plane(at)
    assert np.abs(uvstack.feather(high, low).image[0] - want).max() < 3e-4 * want.max()


def kelvin(beam):
    """K of 1 Jy/beam: T = c² S/(2 k ν² Ω)."""
    return 1e-26 * 299792458.0**2 / (2 * 1.380649e-23 * FREQUENCY**2 * area(matrix(*beam)) * ARCSEC**2)


def test_channels_are_matched_by_frequency(tmp_path):
    """The dish's channels fall in frequency, and lie between those of the interferometer."""
    grid = Grid()
    at = grid.offsets()
    high, low = high_plane(at), low_plane(at)
    write(tmp_path / "high.fits", [k * high for k in (2.0, 3.0)], grid, HIGH, frequency=1.42e9, step=1e6)
    # Brightness 1 … 4 at 1.4190, 1.4200 … 1.4220 GHz, shifted by half a channel.
    write(tmp_path / "low.fits", [k * low for k in (4.5, 3.5, 2.5, 1.5, 0.5)], grid, LOW,
          frequency=1.4225e9, step=-1e6)
    found = uvstack.feather(tmp_path / "high.fits", tmp_path / "low.fits", out=tmp_path / "f.fits")
    want = feathered_plane(at)
    for k, factor in enumerate((2.0, 3.0)):
        assert np.abs(found.image[k] / factor - want).max() < 3e-4 * want.max()
    assert fits.getdata(tmp_path / "f.fits").shape == (1, 2, *grid.shape)
    assert fits.getheader(tmp_path / "f.fits")["CRVAL3"] == 1.42e9
    write(tmp_path / "low.fits", [low, low], grid, LOW, frequency=1.4225e9, step=-1e6)
    with pytest.raises(ImageError, match=r"low.fits: has 1.4215 to 1.4225 GHz.*at 1.42 GHz"):
        uvstack.feather(tmp_path / "high.fits", tmp_path / "low.fits")


def test_gain_is_a_weight_and_scale_a_factor(pair):
    high, low, at = pair
    plain, heavy, light = (uvstack.feather(high, low, sd_gain=g) for g in (1.0, 5.0, 0.2))
    for one in (heavy, light):
        assert one.fluxes["flux"][0].value == pytest.approx(24.0, rel=2e-3)
        assert np.abs(one.image - plain.image).max() > 0.01 * plain.image.max()
    twice = uvstack.feather(high, low, sd_scale=2.0)
    assert twice.fluxes["flux"][0].value == pytest.approx(48.0, rel=1e-3)
    # A sky that both measure whole is the same with any weight, at the scales of the wider beam.
    write(high, high_plane(at, missing=(1e5, 1e5, 0.0), sky=SKY[:1]), Grid(), HIGH)
    write(low, low_plane(at, sky=SKY[:1]), Grid(), LOW)
    images = [uvstack.feather(high, low, sd_gain=g).image[0] for g in (1e-3, 1e3)]
    assert np.abs(images[0] - images[1]).max() < 0.02 * images[0].max()


def test_what_is_nearly_nothing(pair):
    high, low, at = pair
    write(high, np.zeros(Grid().shape), Grid(), HIGH)
    found = uvstack.feather(high, low)
    assert found.fluxes["flux"][0].value == pytest.approx(24.0, rel=1e-4)
    with pytest.raises(NumericalError, match="no common signal"):
        uvstack.feather(high, low, sd_scale="auto")
    write(high, [high_plane(at), np.full(Grid().shape, np.nan)], Grid(), HIGH, frequency=FREQUENCY)
    write(low, [low_plane(at)] * 2, Grid(), LOW, frequency=FREQUENCY)
    found = uvstack.feather(high, low)
    assert np.isfinite(found.image[0]).all()
    assert np.isnan(found.image[1]).all()
    assert np.isnan(found.fluxes["flux"][1])
    for diameter_ in (1e-3, 1e30):
        with pytest.raises(SelectionError, match="dish_diameter gives a beam of"):
            uvstack.feather(high, low, dish_diameter=diameter_)


def test_a_feather_is_linear(pair, tmp_path):
    rng = np.random.default_rng(1)
    planes = rng.normal(size=(2, 2, *Grid().shape))
    found = []
    for a, b in ((1, 0), (0, 1), (2, -3)):
        write(pair[0], a * planes[0, 0] + b * planes[1, 0], Grid(), HIGH)
        write(pair[1], a * planes[0, 1] + b * planes[1, 1], Grid(), LOW)
        found.append(uvstack.feather(*pair[:2], sd_gain=0.3).image)
    assert np.abs(found[2] - 2 * found[0] + 3 * found[1]).max() < 1e-5 * np.abs(found[2]).max()


def test_a_smaller_dish_sets_the_weights_and_no_flux(pair):
    high, low, at = pair
    write(high, high_plane(at), Grid(), HIGH, frequency=FREQUENCY)
    round_low, smaller = (60.0, 60.0, 0.0), (80.0, 80.0, 0.0)
    write(low, area(matrix(*round_low)) * smeared(at, round_low), Grid(), round_low)
    diameter = 1.1 * 299792458.0 / FREQUENCY / (80.0 * ARCSEC)
    want = feathered_plane(at, weight=smaller)
    # 80″ of the dish alone, and √(64² + 48²) of a larger one and the kernel of its map.
    for given in ({"dish_diameter": diameter},
                  {"dish_diameter": diameter * 80 / 64, "gridding_kernel": 48 * ARCSEC}):
        found = uvstack.feather(high, low, beam_factor=1.1, **given)
        assert np.abs(found.image[0] - want).max() < 3e-4 * want.max()
    for given, said in (({"gridding_kernel": 48 * ARCSEC}, "gridding_kernel goes with a dish_diameter"),
                        ({"gridding_kernel": -48 * ARCSEC, "dish_diameter": diameter}, "gridding_kernel is -48″; wanted is a FWHM"),
                        ({"beam_factor": 1.1}, "beam_factor is 1.1 and no dish_diameter is given")):
        with pytest.raises(SelectionError, match=said):
            uvstack.feather(high, low, **given)
    with pytest.warns(UvstackWarning, match="gives a beam of 48.48″ and the dish's map has one of 60″"):
        larger = uvstack.feather(high, low, dish_diameter=1.5 * diameter)
    for one in (larger, uvstack.feather(high, low, dish_diameter=0.5 * diameter)):
        assert one.fluxes["flux"][0].value == pytest.approx(24.0, rel=3e-3)


def test_the_beam_that_weighs_is_told_beside_that_of_the_units(pair, tmp_path):
    high, low, at = pair
    write(high, high_plane(at), Grid(), HIGH, frequency=FREQUENCY)
    found = uvstack.feather(high, low)
    told = found.summary()
    assert told["weight_beam_from"] == told["dish_beam_from"] == "header"
    assert told["weight_beam_major_rad"] == pytest.approx(60 * ARCSEC)
    assert "dish's beam  60″ × 50″ at 70.0°, of the map's header" in str(found)
    found = uvstack.feather(high, low, dish_diameter=diameter(64.0), gridding_kernel=48 * ARCSEC, report=tmp_path / "r")
    told = json.loads((tmp_path / "r" / "result.json").read_text())
    assert (told["dish_beam_from"], told["weight_beam_from"]) == ("header", "dish_diameter")
    assert np.array([told["dish_beam_major_rad"], told["dish_beam_minor_rad"], told["weight_beam_major_rad"],
                     told["weight_beam_minor_rad"]]) / ARCSEC == pytest.approx([60, 50, 80, 80], rel=1e-6)
    line = "80″, of dish_diameter; wider than the map's 60″ × 50″ at 70.0°"
    assert line in str(found)
    assert "of dish_diameter; wider than" in (tmp_path / "r" / "index.html").read_text()


def test_a_map_without_a_beam_and_a_wrong_diameter(pair):
    """37″ for 60″: Jy/beam count 2.6 times. What the overlap says of it is told, or that it says nothing."""
    high, low, at = pair
    beam, right, wrong = (60.0, 60.0, 0.0), diameter(60.0), diameter(37.0)
    write(high, high_plane(at, missing=(250.0, 250.0, 0.0)), Grid(), HIGH, frequency=FREQUENCY)
    write(low, area(matrix(*beam)) * smeared(at, beam), Grid(), None, frequency=FREQUENCY)
    found = uvstack.feather(high, low, dish_diameter=right)
    assert found.fluxes["flux"][0].value == pytest.approx(24.0, rel=5e-3)
    assert "60″, of dish_diameter, as the map has none" in str(found)
    assert "warning" not in str(found)
    overlap = ("1klambda", "2klambda")
    for scale in (1.0, "auto"):
        with pytest.warns(UvstackWarning, match=r"dish_diameter, 37″, is taken .* flux scale of 0.52\d ± .*, not 1:"):
            uvstack.feather(high, low, dish_diameter=wrong, overlap=overlap, sd_scale=scale)
    # A scale that is known to be another.
    uvstack.feather(high, low, dish_diameter=wrong, overlap=overlap, sd_scale=0.527)
    found = uvstack.feather(high, low, dish_diameter=wrong)
    assert found.fluxes["flux"][0].value == pytest.approx(24.0 * (60 / 37) ** 2, rel=0.01)
    assert "nothing confirms the beam of dish_diameter" in str(found)


def psf_of(parts, shape=(401, 401), cell=2.5):
    """A dish's beam of Gaussians with shares, and its area in arcsec²: a main lobe and an error beam."""
    grid = Grid(shape, cell)
    east, north = grid.offsets()
    peak = sum(share / area(matrix(*beam)) for share, beam in parts)
    image = sum(share / area(matrix(*beam)) / peak * density((east, north), area(matrix(*beam)), matrix(*beam), 0, 0)
                for share, beam in parts)
    return image, grid, 1.0 / peak


def test_a_beam_that_is_no_gaussian(pair, tmp_path):
    """A quarter of the dish's response is in an error beam; the header says the main lobe alone.

    The feather is linear in w, so that of a sum of Gaussians is one, with the unit of the beam's own area.
    """
    high, low, at = pair
    lobe, error = (60.0, 60.0, 0.0), (130.0, 130.0, 0.0)
    parts = [(0.75, lobe), (0.25, error)]
    image, grid, size = psf_of(parts)
    psf = write(tmp_path / "psf.fits", 7.0 * image, grid, None, "")
    write(low, size * sum(share * smeared(at, beam) for share, beam in parts), Grid(), lobe)
    want = sum(share * feathered_plane(at, weight=beam) for share, beam in parts)
    found = uvstack.feather(high, low, sd_psf=psf)
    # The psf's tails are cut at 500″, where the error beam is 1e-9; edges as above.
    assert np.abs(found.image[0] - want).max() < 1e-3 * want.max()
    assert found.fluxes["flux"][0].value == pytest.approx(24.0, rel=1e-3)
    by_header = uvstack.feather(high, low).image[0]
    assert np.abs(by_header - want).max() > 0.05 * want.max()
    # The flux factor, too, is by that beam.
    write(high, high_plane(at, missing=(250.0, 250.0, 0.0)), Grid(), HIGH)
    found = uvstack.feather(high, low, sd_psf=psf, sd_scale="auto")
    assert found.sd_scale == pytest.approx(1.0, abs=4 * found.sd_scale_error)
    assert found.sd_scale_error < 0.02
    out = tmp_path / "f.fits"
    ended = CliRunner().invoke(group, ["feather", str(high), str(low), "--sd-psf", str(psf), "--out", str(out),
                                       "--no-report"])
    assert ended.exit_code == 0, ended.output
    assert np.array_equal(fits.getdata(out), uvstack.feather(high, low, sd_psf=psf).image[0])
    # A diameter then sets w alone: the map is brought to the smaller dish, in units of the psf's area.
    for path, plane, beam in ((high, high_plane(at), HIGH), (low, fits.getdata(low), lobe)):
        write(path, plane, Grid(), beam, frequency=FREQUENCY)
    write(tmp_path / "psf.fits", image, grid, None, "", FREQUENCY)
    found = uvstack.feather(high, low, sd_psf=psf, dish_diameter=diameter(150.0))
    want = feathered_plane(at, weight=(150.0, 150.0, 0.0))
    assert np.abs(found.image[0] - want).max() < 5e-3 * want.max()


def test_low_pass_takes_out_what_no_dish_sees(pair):
    high, low, at = pair
    # Waves of 30 arcsec in the dish's map: half of its beam.
    write(low, low_plane(at) + 0.5 * np.cos(2 * np.pi * at[0] / 30.0), Grid(), LOW)
    want = feathered_plane(at)
    off = [np.abs(uvstack.feather(high, low, low_pass=lp).image[0] - want)[100:200, 100:200].max()
           for lp in (False, True)]
    assert off[1] < 0.1 * off[0]
    assert off[1] < 0.01 * want.max()


def noise(rng, rms, beam, grid):
    """White noise smoothed to a beam."""
    v, u = np.fft.fftfreq(grid.shape[0], grid.cell), np.fft.fftfreq(grid.shape[1], grid.cell)
    m = matrix(*beam)
    u, v = -u[None, :], v[:, None]
    taper = np.exp(-np.pi**2 / (4 * np.log(2)) * (m[0, 0] * u * u + 2 * m[0, 1] * u * v + m[1, 1] * v * v))
    z = np.fft.ifft2(np.fft.fft2(rng.normal(size=grid.shape)) * taper).real
    return z * rms / z.std()


def test_the_flux_scale_is_found_within_its_error(tmp_path):
    grid = Grid()
    at = grid.offsets()
    wide = (250.0, 250.0, 0.0)
    high, low = high_plane(at, missing=wide), 0.8 * low_plane(at)
    found = []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        write(tmp_path / "high.fits", high + noise(rng, 2e-3, HIGH, grid), grid, HIGH)
        write(tmp_path / "low.fits", low + noise(rng, 0.02, LOW, grid), grid, LOW)
        one = uvstack.feather(tmp_path / "high.fits", tmp_path / "low.fits", sd_scale="auto")
        found.append((one.sd_scale, one.sd_scale_error))
    scale, error = np.array(found).T
    pulls = (scale - 1.25) / error
    # The mean of 16 is good to a quarter of an error, a standard deviation to a sixth.
    assert abs(pulls.mean()) < 1.0
    assert 0.5 < pulls.std(ddof=1) < 1.6
    assert scale.std(ddof=1) > 0.01


def test_a_flux_scale_that_means_nothing_is_refused(pair):
    high, low, at = pair
    rng = np.random.default_rng(5)
    quiet = [noise(rng, rms, beam, Grid()) for rms, beam in ((2e-3, HIGH), (0.03, LOW))]
    write(high, quiet[0], Grid(), HIGH)
    write(low, quiet[1], Grid(), LOW)
    with pytest.raises(NumericalError, match="no common signal above the noise"):
        uvstack.feather(high, low, sd_scale="auto")
    # Scales above 25 arcsec are missing: nothing is measured by both.
    write(high, high_plane(at, missing=(25.0, 25.0, 0.0)), Grid(), HIGH)
    write(low, low_plane(at), Grid(), LOW)
    with pytest.raises(NumericalError, match="do not overlap there"):
        uvstack.feather(high, low, sd_scale="auto")
    # A header whose beam is a tenth too small.
    write(high, high_plane(at, missing=(250.0, 250.0, 0.0)), Grid(), HIGH)
    write(low, low_plane(at), Grid(), (54.0, 45.0, 70.0))
    with pytest.raises(NumericalError, match="not what its header says"):
        uvstack.feather(high, low, sd_scale="auto")


def test_what_is_written(pair, tmp_path):
    out = tmp_path / "f.fits"
    ended = CliRunner().invoke(group, ["feather", *map(str, pair[:2]), "--out", str(out), "--sd-gain", "0.5",
                                       "--overlap", "2klambda,3klambda", "--no-report"])
    assert ended.exit_code == 0, ended.output
    told = json.loads((tmp_path / "f.json").read_text())
    assert told["sd_gain"] == 0.5
    assert told["overlap_wavelengths"] == [2000.0, 3000.0]
    assert told["provenance"]["inputs"]["high"] == str(pair[0])
    header = fits.getheader(out)
    assert (header["BUNIT"], header["SDGAIN"]) == ("Jy/beam", 0.5)
    assert header["BMAJ"] * 3600 == pytest.approx(9.0)
    assert np.array_equal(fits.getdata(out), uvstack.feather(*pair[:2], sd_gain=0.5).image[0])


BAD = [({"sd_scale": 0}, SelectionError, "sd_scale is 0"),
       ({"sd_scale": "much"}, SelectionError, "sd_scale"),
       ({"sd_gain": -1.0}, SelectionError, "sd_gain is -1"),
       ({"overlap": ("100m", "60m")}, SelectionError, "smaller first"),
       ({"overlap": ("60m",)}, SelectionError, "two uv distances"),
       ({"overlap": ("60m", "2klambda")}, SelectionError, "both in metres or wavelengths"),
       ({"overlap": ("60m", "100m")}, ImageError, "neither (image )?says a frequency"),
       ({"dish_diameter": "x"}, SelectionError, "dish_diameter"),
       ({"dish_diameter": 100.0}, ImageError, "neither (image )?says a frequency"),
       ({"out": "f.png"}, ImageError, "ends in .fits")]


@pytest.mark.parametrize(("options", "kind", "text"), BAD)
def test_bad_options(pair, options, kind, text):
    with pytest.raises(kind, match=text):
        uvstack.feather(*pair[:2], **options)


def test_bad_images(pair):
    high, low, at = pair
    with pytest.raises(ImageError, match="are they exchanged"):
        uvstack.feather(low, high)
    plane = low_plane(at)
    for beam, unit, nu, text in ((LOW, "", None, "its unit .* is not said"),
                                 (LOW, "counts", None, "its unit .* is counts"),
                                 (LOW, "K", None, "says no frequency"), (None, "Jy/beam", None, "has no beam")):
        write(low, plane, Grid(), beam, unit, nu)
        with pytest.raises(ImageError, match=f"low.fits: .*{text}"):
            uvstack.feather(high, low)
    write(low, plane, Grid(shift=(4000.0, 0.0)), LOW)
    with pytest.raises(ImageError, match=r"low.fits: (lacks 100 %|does not reach)"):
        uvstack.feather(high, low)
    write(high, high_plane(at), Grid(), HIGH, frequency=1.4e9)
    write(low, plane, Grid(), LOW, frequency=1.5e9)
    with pytest.raises(ImageError, match="is at 1.5 GHz"):
        uvstack.feather(high, low)
    write(high, [high_plane(at)] * 2, Grid(), HIGH, frequency=1.4e9)
    write(low, plane, Grid(), LOW)
    with pytest.raises(ImageError, match="low.fits: says no frequency"):
        uvstack.feather(high, low)


def test_casa_feathers_alike(pair, tmp_path, monkeypatch):
    """On one grid; CASA is within a tenth of a per cent of the closed form."""
    pytest.importorskip("casatasks", reason="casatasks is not installed")
    monkeypatch.chdir(tmp_path)
    at = pair[2]
    write(pair[0], high_plane(at), Grid(), HIGH, frequency=FREQUENCY)
    write(pair[1], low_plane(at), Grid(), LOW, frequency=FREQUENCY)
    ours, theirs = uvstack.feather(*pair[:2]).image[0], feather_of_casa(*pair[:2])
    assert np.abs(ours - theirs).max() < 3e-3 * ours.max()


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0])
def test_what_the_interferometer_has_alone_is_no_flux_scale(noise):
    """Artefacts that grow along the annulus raise |B|² and not Re(L* B): 1.2 would read 1.8 and more, without a word."""
    rng = np.random.default_rng(1)

    def normal(n=400):
        return rng.normal(size=n) + 1j * rng.normal(size=n)

    def cells(artefact):
        at, low = rng.uniform(0.6, 1.0, 400), normal()
        high = 1.2 * low + noise * normal() + artefact * (at - 0.6) / 0.4 * normal()
        return Cells(at, high, low, np.full(400, 2 * noise**2), np.full(400, 0.5))

    refused, scales = 0, []
    for _ in range(60):
        with pytest.raises(NumericalError, match="changes by|from ring to ring"):
            flux_scale(cells(2.0), (0.6, 1.0))
        try:
            scales.append(flux_scale(cells(0.0), (0.6, 1.0)).scale)
        except NumericalError:
            refused += 1
    assert refused <= 3
    assert abs(np.mean(scales) - 1.2) < 0.02
