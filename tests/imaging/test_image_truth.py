"""Imaging, subtraction and image-stacking against truths that were put in.

What `scripts/measure_image.py` measures, made small.

All sets are simulated, with integrations of minutes: averaging over time is not modelled, so that
nothing smears.
"""

import numpy as np
import pytest

import uvstack
from factories import ARCMIN, ARCSEC, offset, read
from simulate.lindroos import CENTRE, recipe
from simulate.pointings import Pointings
from simulate.skies import Rectangle, source_counts
from simulate.task import observe
from uvstack.image_stacking.averaging import values_at
from uvstack.image_stacking.psf_fit import fit_psf
from uvstack.image_stacking.task import image_stack
from uvstack.imaging.restore import pixel_directions
from uvstack.imaging.task import image
from uvstack.io.fits import sin_wcs, write_image
from uvstack.pixels.grid import centred_grid
from uvstack.pixels.noise import noise_around
from uvstack.sky.components import components


def observe_vla(path, sky, minutes=6.0, hours=9.4, **options):
    """The paper's VLA track, without noise unless it is asked for."""
    settings = recipe(1).settings | {"sky": sky, "integration": 60 * minutes,
                                     "duration": 3600 * hours, "noise": 0.0}
    return observe(**(settings | options), out=path)


def on_pixels(grid, places, flux):
    ra, dec = pixel_directions(*np.array(places).T, grid.geometry, grid.shape)
    return components(ra, dec, flux)


def pixels(grid, sky):
    rows, columns = np.array([grid.pixel_of(ra, dec)
                              for ra, dec in zip(sky.ra, sky.dec, strict=True)]).T
    return columns, rows


def at_truth(plane, grid, sky):
    """Brightness at the true positions, by sinc interpolation."""
    return values_at(np.ascontiguousarray(plane), *pixels(grid, sky), "subpixel")


# --------------------------------------------------------------------------------- fluxes, no noise

ALMA_CELL, ALMA_SIZE = 0.2 * ARCSEC, 360
PLACES = [(180, 180), (180, 260), (250, 222), (250, 130), (150, 95), (95, 140), (105, 230)]
FLUXES = np.linspace(30e-3, 12e-3, len(PLACES))


def mosaic(path, sky):
    angle = np.deg2rad(60) * np.arange(6)
    ra, dec = np.array([CENTRE,
                        *(offset(20 * ARCSEC * np.cos(a), 20 * ARCSEC * np.sin(a), CENTRE)
                          for a in angle)]).T
    pointings = Pointings(tuple(f"f{i}" for i in range(7)), ra, dec, dwell=2)
    return observe(**(recipe(8).settings
                      | {"pointings": pointings, "noise": 0.0, "integration": 90.0,
                         "duration": 7 * 6 * 90.0, "sky": sky,
                         "frequency": 230e9 + 2e9 * (np.arange(2) - 0.5)}), out=path)


def test_fluxes_on_pixels_of_a_mosaic_to_a_thousandth(tmp_path):
    sky = on_pixels(centred_grid(*CENTRE, ALMA_SIZE, ALMA_CELL), PLACES, FLUXES)
    made = image(mosaic(tmp_path / "m.ms", sky), size=ALMA_SIZE, cell=ALMA_CELL,
                 weighting="natural", threshold=10e-6, most_cycles=40, primary_beam="alma",
                 phase_centre=CENTRE)
    assert made.stop_reason == "threshold reached"
    # Cleaned to 1e-3 of the faintest; the beam of a patch is the mean over channels, 2e-4 at the
    # edge.
    assert np.abs(at_truth(made.pbcor[0], made.grid, sky) / FLUXES - 1).max() < 1e-3
    model = [made.model[0][row - 12 : row + 13, column - 12 : column + 13].sum()
             for row, column in PLACES]
    # Each component has what others left in the residual around it, below the threshold over the
    # response of 0.3 to 1.
    np.testing.assert_allclose(model, FLUXES, rtol=3e-3)


def test_fluxes_between_pixels_of_a_mosaic(tmp_path):
    rng = np.random.default_rng(3)
    grid = centred_grid(*CENTRE, ALMA_SIZE, ALMA_CELL)
    sky = on_pixels(grid, PLACES, FLUXES)
    shift = rng.uniform(-0.5, 0.5, (len(PLACES), 2)) * ALMA_CELL
    sky = components(*np.array([offset(*s, p)
                                for s, p in zip(shift, zip(sky.ra, sky.dec, strict=True),
                                                strict=True)]).T, FLUXES)
    made = image(mosaic(tmp_path / "m.ms", sky), size=ALMA_SIZE, cell=ALMA_CELL,
                 weighting="natural", threshold=100e-6, most_cycles=40, primary_beam="alma",
                 phase_centre=CENTRE)
    # Between pixels CLEAN has no single component for a point: those around it make the same
    # visibilities but not the same Gaussian.
    assert np.abs(at_truth(made.pbcor[0], made.grid, sky) / FLUXES - 1).max() < 5e-3
    columns, rows = (np.rint(x).astype(int) for x in pixels(made.grid, sky))
    assert np.mean(made.pbcor[0][rows, columns] / FLUXES) < 0.995  # which the nearest pixel does not reach


def test_w_is_no_limit_to_fluxes_far_from_the_phase_centre(tmp_path):
    cell, size = 1.75 * ARCSEC, 960
    grid = centred_grid(*CENTRE, size, cell)
    # 16′ away and 40 kλ of w: phases turn by half a turn.
    places, flux = [(480, 480), (90, 80), (870, 860),
                    (80, 800)], np.array([30e-3, 20e-3, 15e-3, 10e-3])
    sky = on_pixels(grid, places, flux)
    ms = observe_vla(tmp_path / "w.ms", sky, minutes=40, array="vla.b", primary_beam="constant",
                     frequency=1.4e9, width=1e6)
    made = image(ms, size=size, cell=cell, weighting="natural", threshold=50e-6)
    assert np.abs(at_truth(made.image[0], made.grid, sky) / flux - 1).max() < 1e-3


# ----------------------------------------------------------------------------------------- in noise


def test_pulls_of_isolated_sources_have_mean_0_and_width_1(tmp_path):
    sigma, cell, pulls, dirty = 20e-3 / np.sqrt(351 * 40 * 2 * 2), 4 * ARCSEC, [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, y = (a.ravel() * 200 * ARCSEC + rng.uniform(-40, 40, 49) * ARCSEC
                for a in np.meshgrid(np.arange(7) - 3, np.arange(7) - 3))
        places = np.array([offset(a, b, CENTRE) for a, b in zip(x, y, strict=True)]).T
        sky = components(*places, sigma * rng.uniform(15, 30, 49))
        ms = observe_vla(tmp_path / f"{seed}.ms", sky, hours=4, array="vla.c", noise=20e-3,
                         seed=seed, primary_beam="constant", frequency=np.array([1.3e9, 1.5e9]))
        made = image(ms, size=720, cell=cell, weighting="natural")
        column, row = pixels(made.grid, sky)
        local = noise_around(made.residual[0], column, row, 100, made.beam.fwhm_major / cell)
        pulls.append((at_truth(made.image[0], made.grid, sky) - sky.flux) / local)
        middle = made.psf.shape[0] // 2
        offsets = (middle + (row[:, None] - row), middle + (column[:, None] - column))
        expected = values_at(np.ascontiguousarray(made.psf), offsets[1].ravel(), offsets[0].ravel(),
                             "subpixel").reshape(49, 49) @ sky.flux
        dirty.append((at_truth(made.dirty[0], made.grid, sky) - expected) / made.noise_expected)
    for found in (np.concatenate(pulls), np.concatenate(dirty)):
        # 147 of them: the mean is known to 0.08, the width to 0.06; three times that, for seeds
        # that are fixed.
        assert abs(found.mean()) < 0.25
        assert found.std() == pytest.approx(1.0, abs=0.18)


# ---------------------------------------------------------------------------- subtraction, stacking


def test_a_perfect_image_model_through_a_beam_leaves_a_hundred_thousandth(tmp_path):
    cell = 1.6 * ARCSEC
    grid = centred_grid(*CENTRE, 1120, cell)
    places, flux = [(560, 560), (80, 85), (1040, 1045), (250, 750)], np.array([1.0, 0.5, 0.3, 0.1])
    made = observe_vla(tmp_path / "s.ms", on_pixels(grid, places, flux), minutes=60, array="vla.b")
    plane = np.zeros(grid.shape)
    plane[tuple(np.array(places).T)] = flux
    write_image(tmp_path / "model.fits", plane, sin_wcs(*CENTRE, grid.shape, cell), unit="Jy/pixel",
                frequency=1.4e9)
    uvstack.subtract(made, tmp_path / "model.fits", primary_beam="vla")
    # float32: in the file 3e-8 of a flux, in the visibilities 6e-8; in the prediction 1e-6 of the
    # sum of fluxes, rms.
    assert np.abs(read(made.ms, "RESIDUAL_DATA")).max() < 1e-5


@pytest.fixture(scope="module")
def type_1(tmp_path_factory):
    """Type 1 without noise and without its bright source: folder, simulation."""
    folder = tmp_path_factory.mktemp("type")
    targets = source_counts("fixed", 16, area=Rectangle(*CENTRE, 2 * ARCMIN, 2 * ARCMIN),
                            rng=np.random.default_rng(8), flux=6e-6, target=True)
    return folder, observe_vla(folder / "t.ms", targets, primary_beam="constant")


@pytest.mark.parametrize(("cell", "loss"), [(0.25, 0.993), (0.5, 0.972)])
def test_nearest_stamps_lose_what_the_psf_says_and_subpixel_ones_nothing(type_1, cell, loss):
    folder, made = type_1
    name = f"{folder}/{cell}"
    found = image(made, size=round(180 / cell), cell=cell * ARCSEC, weighting="natural",
                  iterations=0, out=name)
    # Natural weights, no primary beam: the uv-stack is the dirty image at the exact positions.
    flux = uvstack.stack(made, made.targets).flux
    fine, coarse = (image_stack(f"{name}-dirty.fits", made.targets, alignment=a,
                                psf=f"{name}-psf.fits") for a in ("subpixel", "nearest"))
    assert fine.flux == pytest.approx(flux, rel=1e-4)
    # Sidelobes of the others, which change little over a pixel, are in both.
    assert 1 - (fine.flux - coarse.flux) / 6e-6 == pytest.approx(coarse.peak_response, abs=2e-3)
    # Mean over all offsets for the synthesised beam of 3.0″ × 2.1″ of the full track; a Gaussian of
    # 3.2″ × 1.6″ has the same.
    k = (np.arange(20) + 0.5) / 20 - 0.5
    dx, dy = (a.ravel() for a in np.meshgrid(k, k))
    middle = found.psf.shape[0] // 2
    assert values_at(np.ascontiguousarray(found.psf), middle + dx, middle + dy,
                     "subpixel").mean() == pytest.approx(loss, abs=1e-3)


def test_the_filter_takes_from_a_point_what_the_psf_predicts_and_takes_clouds_away(tmp_path):
    cell, target = 0.25 * ARCSEC, offset(0.3 * 0.25 * ARCSEC, -7.2 * 0.25 * ARCSEC, CENTRE)
    flux = {}
    for name, sky in (("point", components(*target, 6e-6, target=True)),
                      ("cloud", components(*target, 60e-6, fwhm_major=20 * ARCSEC))):
        ms = observe_vla(tmp_path / f"{name}.ms", sky, minutes=20, primary_beam="constant")
        image(ms, size=320, cell=cell, weighting="natural", iterations=0, out=tmp_path / name)
        for low in (None, "3pixels", "4834lambda"):
            flux[name, low] = image_stack(tmp_path / f"{name}-dirty.fits",
                                          tmp_path / "point-targets.csv", stamp=256, low_filter=low,
                                          psf=tmp_path / f"{name}-psf.fits")
    assert flux["point", None].flux == pytest.approx(6e-6, rel=1e-4)
    assert flux["point", "3pixels"].flux == flux["point", "4834lambda"].flux  # 3 × 3 pixels reach to 4.8 kλ: the same pixels
    # The psf in the image's pixels, the source between them; the stamp's edges cut both alike but
    # for that.
    assert flux["point", "3pixels"].flux / 6e-6 == pytest.approx(
        flux["point", "3pixels"].peak_response, abs=2e-3)
    # Of a cloud of 20″ the visibilities fall to 0.22 at the filter's edge, 4.8 kλ; what is beyond
    # stays.
    assert flux["cloud", "3pixels"].flux < 0.3 * flux["cloud", None].flux


def test_a_stacked_set_imaged_has_the_flux_that_was_printed(type_1, tmp_path):
    made = type_1[1]
    stacked = uvstack.stack(made, made.targets, out=tmp_path / "s.ms")
    found = image(tmp_path / "s.ms", size=256, cell=0.25 * ARCSEC, weighting="natural",
                  iterations=0)
    # float32 visibilities in the set, and ducc0's accuracy.
    assert found.dirty[0][128, 128] == pytest.approx(stacked.flux, rel=1e-5)


def test_a_fit_to_a_stack_of_microjanskys_has_the_errors_of_janskys():
    """Slopes of the size go with the flux.

    Once those of 1 µJy were taken for rounding, and the size had an error of 0.
    """
    rng = np.random.default_rng(2)
    m, l = np.indices((64, 64)) - 32
    psf = np.exp(-4 * np.log(2) * (m**2 / 49 + l**2 / 25))
    stamp = np.exp(-4 * np.log(2)
                   * (m**2 / 65 + l**2 / 41))[16:48, 16:48] + 0.02 * rng.standard_normal((32, 32))
    for shape in ("circular", "elliptical"):
        one, faint = (fit_psf(s * stamp, psf, ARCSEC, shape=shape) for s in (1.0, 1e-7))
        assert faint.flux_error / 1e-7 == pytest.approx(one.flux_error, rel=1e-6)
        np.testing.assert_allclose(faint.moments_covariance, one.moments_covariance, rtol=1e-6)
