"""Combined epochs against physics: beams, noise, fluxes, weights; the biases of VLASS memo 26."""

import numpy as np
import pytest
from astropy.wcs import WCS
from numpy.testing import assert_allclose

import uvstack
from factories import ARCSEC
from oracles import box_deviation, cosines, epoch_average, least_common_area
from simulate.epoch_images import epoch_image
from simulate.restored_sky import correlated_noise
from uvstack.epochs.combination.beams import target_beam
from uvstack.epochs.combination.epoch_files import beam_on, read_epoch, read_grid
from uvstack.epochs.combination.noise import METHODS, noise_maps, rows_of
from uvstack.errors import ImageError, SelectionError, UvstackWarning
from uvstack.io.fits import write_image
from uvstack.sky.beam import Beam
from uvstack.sky.components import components

combine = uvstack.epochs.combine
CELL = 0.9 * ARCSEC
CENTRE = (1.0, 0.6)


def arcsec(major, minor, angle):
    return Beam(major * ARCSEC, minor * ARCSEC, np.deg2rad(angle))


#: Table 1 of the memo, and the rms there, Jy/beam.
BEAMS = [arcsec(3.948, 2.214, 42.48), arcsec(3.231, 2.190, 29.69), arcsec(2.771, 2.224, 16.23),
         arcsec(2.889, 1.935, -4.71)]
RMS = [0.140e-3, 0.188e-3, 0.165e-3, 0.141e-3]
#: The noise and the beam of Table 3.
SAME_BEAM, RMS_OF_TABLE_3 = arcsec(3.78, 2.32, 20.48), [0.136e-3, 0.240e-3, 0.175e-3, 0.164e-3]


def at_pixels(x, y, size, flux):
    """Point sources at pixels (from 0) of an image about `CENTRE`."""
    l, m = -(np.asarray(x) - size // 2) * CELL, (np.asarray(y) - size // 2) * CELL
    n = np.sqrt(1 - l**2 - m**2)
    ra = CENTRE[0] + np.arctan2(l, n * np.cos(CENTRE[1]) - m * np.sin(CENTRE[1]))
    return components(ra, np.arcsin(m * np.cos(CENTRE[1]) + n * np.sin(CENTRE[1])), flux)


def lattice(size, step=40):
    """Pixels x, y of sources that are `step` apart."""
    k = np.arange(step // 2, size, step)
    return tuple(v.ravel() for v in np.meshgrid(k, k))


def write(path, made, **options):
    write_image(path, made.brightness, made.wcs, beams=made.beam,
                **({"frequency": made.frequency, "date": made.date} | options))
    return path


def make(folder, sky, beams, noises, size, seed=0, factors=None, **options):
    """Paths of epochs of a sky."""
    paths = []
    for i, (beam, noise) in enumerate(zip(beams, noises, strict=True)):
        own = {"frequency": 3e9, "beam": beam, "centre": CENTRE, "size": size, "cell": CELL,
               "noise": noise, "rng": np.random.default_rng([seed, i]),
               "flux_factor": 1.0 if factors is None else factors[i]}
        made = epoch_image(sky, **(own | options))
        paths.append(write(folder / f"e{i}-{seed}.fits", made))
    return paths


NOTHING = components([CENTRE[0]], [CENTRE[1]], [1e-12])


def noise_in(beams, rms, target):
    """Noise that is correlated by the beam, brought to a target: Σ|FT|² goes as the area."""
    return np.array([s * np.sqrt(target.solid_angle / b.solid_angle)
                     for b, s in zip(beams, rms, strict=True)])


# -------------------------------------------------------------------------------------- beams


def test_the_target_is_the_smallest_that_holds_all_beams():
    names = ["a", "b", "c", "d"]
    found = target_beam(BEAMS, names)
    assert found.reached == (True,) * 4
    assert_allclose(np.array(found.beam[:2]) / ARCSEC, [4.0016, 2.5291], atol=1e-4)
    # A search on a grid of ellipses is coarser.
    least = least_common_area([(b[0] / ARCSEC, b[1] / ARCSEC, b[2]) for b in BEAMS])
    assert found.beam[0] * found.beam[1] / ARCSEC**2 == pytest.approx(least, rel=2e-3)
    crossed = target_beam([arcsec(4, 3, 0), arcsec(6, 1.5, 90)], names[:2]).beam
    assert_allclose(np.array(crossed) / [ARCSEC, ARCSEC, np.pi / 180], [6, 4, 90], rtol=1e-6)


def test_padding_makes_both_axes_larger_and_round_beams_are_round():
    plain = target_beam(BEAMS, "abcd").beam
    padded = target_beam(BEAMS, "abcd", padding=0.1).beam
    assert_allclose(padded, (1.1 * plain[0], 1.1 * plain[1], plain[2]))
    assert_allclose(target_beam(BEAMS, "abcd", round_beam=True).beam, (plain[0], plain[0], 0.0))


def test_equal_beams_and_beams_turned_by_half_a_turn_are_the_target_as_they_are():
    beams = [arcsec(4, 3, 20), arcsec(4, 3, 200), arcsec(4 + 2e-5, 3 - 1e-5, 20.0005)]
    found = target_beam(beams, "abc")
    assert found.beam in beams
    assert found.reached == (True, True, True)


def test_epochs_too_coarse_for_a_given_beam_are_refused_or_told():
    given = arcsec(3.5, 3.5, 0)
    with pytest.raises(ImageError, match="one has a beam of 3.948″ × 2.214″ at 42.5°, which"):
        target_beam(BEAMS[:2], ["one", "two"], given=given)
    for way in ("leave-out", "blank"):
        assert target_beam(BEAMS[:2], ["one", "two"], given=given,
                           too_coarse=way).reached == (False, True)
        with pytest.raises(ImageError, match="take that, or leave the epoch out"):
            target_beam(BEAMS[:1], ["one"], given=given, too_coarse=way)
    # As long, and across.
    assert target_beam([arcsec(4, 2, 0)], ["one"], given=arcsec(4, 2.5, 0)).reached == (True,)
    with pytest.raises(ImageError, match="cannot be convolved"):
        target_beam([arcsec(4, 2, 0)], ["one"], given=arcsec(4, 2.5, 20))


def turned_wcs(turn=0.0, projection="SIN", crval=None, cell=CELL, size=200, east=-1.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = np.rad2deg(CENTRE) if crval is None else crval
    wcs.wcs.crpix = size // 2 + 1, size // 2 + 1
    wcs.wcs.cdelt = [east * np.rad2deg(cell), np.rad2deg(cell)]
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    wcs.wcs.pc = [[c, -s], [s, c]]
    wcs.wcs.radesys = "ICRS"
    wcs.array_shape = (size, size)
    return wcs


def drawn(wcs, sky, beam, seed=0, noise=1e-7):
    """Points with a beam on a plane that touches the sky at each of them."""
    n = wcs.array_shape[0]
    y, x = np.mgrid[:n, :n]
    ra, dec = np.deg2rad(wcs.wcs_pix2world(x.ravel(), y.ravel(), 0))
    out = noise * np.random.default_rng(seed).normal(size=n * n)
    for ra0, dec0, flux in sky:
        east, north, _ = cosines(ra, dec, ra0, dec0)
        out += flux * beam.profile(east, north)
    return out.reshape(n, n)


def test_a_beam_is_north_through_east_on_a_turned_grid_and_turns_where_meridians_converge(tmp_path):
    beam = arcsec(4, 2, 30)
    image = np.random.default_rng(1).normal(size=(200, 200))

    def saved(name, **where):
        write_image(tmp_path / name, image, turned_wcs(**where), beams=beam, frequency=3e9)
        return tmp_path / name

    epoch = read_epoch(saved("epoch.fits", crval=(150.0, 80.0)), "epoch")
    for name, where in {"turned": {"turn": 50.0}, "mirrored": {"east": 1.0},
                        "tangent": {"projection": "TAN", "turn": -20.0}}.items():
        grid = read_grid(saved(f"{name}.fits", crval=(150.0, 80.0), **where))
        assert_allclose(beam_on(grid, epoch), beam, rtol=5e-5)
    # To the east the pole stands to the west of the plane's north.
    for east in (2.0, -2.0):
        found = beam_on(read_grid(saved(f"{east}.fits", crval=(150.0 + east, 80.0))), epoch)
        assert np.rad2deg(found[2]) == pytest.approx(30.0 + east * np.sin(np.deg2rad(80)), abs=0.01)
        assert_allclose(found[:2], beam[:2], rtol=1e-4)


# -------------------------------------------------------------------------------------- noise

AREA = BEAMS[0].area(CELL)


def field(shape, seed, level=1.0, bright=0, flux=200.0):
    """Noise of a level, correlated by a beam, with sources of 4 to `flux` σ."""
    rng = np.random.default_rng(seed)
    image = level * correlated_noise(shape, BEAMS[0], CELL, rng)
    y, x = np.mgrid[: shape[0], : shape[1]] * CELL
    for _ in range(bright):
        v, w = rng.uniform(0, shape[0]) * CELL, rng.uniform(0, shape[1]) * CELL
        image += BEAMS[0].profile(w - x, y - v) * min(4.0 / rng.random(), flux)
    return image.astype(np.float32)


def map_of(one, shape):
    return rows_of(one, 0, shape[0])


@pytest.mark.parametrize(("method", "bias"), [("masked", 0.02), ("clipped", 0.04), ("mad", 0.06)])
def test_the_noise_is_found_beside_bright_sources(method, bias):
    shape = (400, 360)
    level = 1.0 + np.linspace(0, 1, shape[1])
    found = []
    for seed in range(2):
        image = field(shape, seed, level, bright=40)
        (one,) = noise_maps([image], 50, AREA, method)
        found.append(map_of(one, shape) / level)
    # Boxes have 89 independent pixels, 7.5 %; the mean of both maps has 50 of them.
    assert np.mean(found) == pytest.approx(1.0, abs=0.012 + bias)
    assert np.std(found) < 0.12
    assert np.min(found) > 0.6
    assert np.max(found) < 1.7


def test_moments_are_the_memos_and_hold_the_source():
    image = field((60, 70), 3)
    image[30, 40] += 100.0
    image[:7], image[20, 20] = np.nan, np.inf
    (found,) = noise_maps([image], 10, AREA, "moments")
    assert_allclose(found, box_deviation(image, 10), rtol=1e-5)
    assert found[30, 40] == pytest.approx(10.0, rel=0.05)  # 100 σ over √(box²)
    (masked,) = noise_maps([image], 50, AREA, "masked")
    assert masked.at(40.0, 30.0) == pytest.approx(1.0, abs=0.25)


def test_what_is_a_source_in_one_epoch_is_masked_in_all():
    quiet = field((200, 200), 4)
    loud = quiet.copy()
    y, x = np.mgrid[:200, :200]
    faint = 3.0 * np.exp(-((y - 100) ** 2 + (x - 100) ** 2) / 2 / 8**2)  # below 4 σ of its own
    loud += 100.0 / 3.0 * faint
    alone, = noise_maps([quiet + faint.astype(np.float32)], 50, AREA)
    together = noise_maps([(quiet + faint).astype(np.float32), loud], 50, AREA)[0]
    without, = noise_maps([quiet], 50, AREA)
    here = np.array([100.0]), np.array([100.0])
    assert alone.at(*here) > 1.05 * without.at(*here)
    assert together.at(*here) == pytest.approx(without.at(*here), rel=0.04)


@pytest.mark.parametrize("method", METHODS[:3])
def test_boxes_without_pixels_have_the_noise_of_their_neighbours(method):
    image = field((300, 300), 5)
    image[:, 190:] *= 5.0
    image[:110, :110] = np.nan
    # Few pixels that say nothing of the noise.
    image[3:6, 3:6] = 1e-4 * np.arange(9).reshape(3, 3)
    image[200:, 240:] = np.nan
    (one,) = noise_maps([image], 50, AREA, method)
    found = map_of(one, image.shape)
    assert_allclose(found[:90, :90], 1.0, atol=0.35)
    assert_allclose(found[230:, 250:], 5.0, atol=1.75)
    assert noise_maps([np.full((60, 60), np.nan, np.float32), image[:60, 140:200]], 20, AREA,
                      method)[0] is None


def test_an_epoch_without_noise_is_refused():
    with pytest.raises(ImageError, match="no noise that could be measured"):
        noise_maps([np.zeros((60, 60), np.float32)], 20, AREA)


# ------------------------------------------------------------------------- the epochs together


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Noise alone in the beams of Table 1: combinations of two seeds, also by the memo."""
    folder = tmp_path_factory.mktemp("quiet")
    paths = [make(folder, NOTHING, BEAMS, RMS, 360, seed) for seed in range(2)]
    return [combine(one) for one in paths]


def test_the_noise_of_the_mean_is_what_its_map_says_and_that_of_theory(quiet):
    sigma = noise_in(BEAMS, RMS, quiet[0].beam)
    mean = (sigma**-2).sum() ** -0.5
    # An area of two beams is one independent value: 2280 in each image, 1.1 % of its noise, and
    # 0.8 % of both.
    assert np.mean([c.mean.std() for c in quiet]) == pytest.approx(mean, rel=0.02)
    assert np.mean([np.median(c.rms) for c in quiet]) == pytest.approx(mean, rel=0.02)
    assert np.mean([(c.mean / c.rms).std() for c in quiet]) == pytest.approx(1.0, abs=0.02)
    for c in quiet:
        assert_allclose(c.table["rms"].value[:4], sigma, rtol=0.05)
        assert_allclose(c.weight, c.rms**-2.0, rtol=1e-5)


def test_the_noise_of_the_median_is_that_of_theory(quiet):
    sigma = noise_in(BEAMS, RMS, quiet[0].beam)
    draws = sigma[:, None] * np.random.default_rng(1).normal(size=(4, 10_000))
    theory = np.std([epoch_average(one, sigma, 1, False)[1] for one in draws.T])
    assert np.mean([c.median.std() for c in quiet]) == pytest.approx(theory, rel=0.02)
    # No offset: of 4560 independent values.
    assert abs(np.mean([c.median.mean() for c in quiet])) < 3 * theory / np.sqrt(4560)


def test_chi_squared_is_that_of_the_degrees_of_freedom(quiet):
    # Variance of χ² of 3 degrees over independent values: 0.04 of both images.
    assert np.mean([c.chi2.mean() for c in quiet]) == pytest.approx(3.0, abs=0.1)
    for c in quiet:
        assert (c.coverage == 4).all()
        # 5 % of noise is nothing.
        assert np.mean(c.maps["chi2-calibrated"] / c.chi2) == pytest.approx(1.0, abs=0.01)


def test_point_sources_keep_their_fluxes_and_peaks_on_any_pixels(tmp_path):
    rng = np.random.default_rng(3)
    x, y = (v + rng.uniform(-0.5, 0.5, v.size) for v in lattice(320))
    sky = at_pixels(x, y, 320, 0.1)
    target = target_beam(BEAMS, "abcd").beam
    for k, (beam, shift) in enumerate(zip(BEAMS, [(0, 0), (0.5, 0.5), (-0.31, 0.27), (0.13, -0.45)],
                                          strict=True)):
        centre = (CENTRE[0] + shift[0] * CELL / np.cos(CENTRE[1]), CENTRE[1] + shift[1] * CELL)
        (own,) = make(tmp_path, sky, [beam], [1e-7], 330, seed=k, centre=centre)
        (grid,) = make(tmp_path, sky, [BEAMS[0]], [1e-7], 320, seed=9)
        with pytest.warns(UvstackWarning, match="only epoch"):
            c = combine([own], grid=grid, beam=target)
        assert_allclose(c.beam, target)
        rows, columns = np.mgrid[:320, :320]
        flux, error = [], []
        for x0, y0 in zip(x, y, strict=True):
            i, j = int(np.rint(y0)), int(np.rint(x0))
            box = slice(i - 14, i + 15), slice(j - 14, j + 15)
            flux.append(c.mean[box].sum(dtype=float) / target.area(CELL))
            # l runs against x.
            truth = 0.1 * target.profile(-(columns[i, j] - x0) * CELL, (rows[i, j] - y0) * CELL)
            error.append(c.mean[i, j] / truth - 1)
        assert_allclose(flux, 0.1, rtol=5e-5)
        assert np.abs(error).max() < 2e-3


def test_constant_sources_have_no_bias_and_the_memos_weights_one(tmp_path):
    x, y = lattice(320)
    sigma, found = np.array(RMS_OF_TABLE_3), []
    # In a single epoch; 2.1 times as much in the mean.
    snr = np.resize([4.0, 6.0, 9.0, 14.0], x.size)
    flux = snr * sigma.mean()
    sky = at_pixels(x, y, 320, flux)
    for seed in range(3):
        paths = make(tmp_path, sky, [SAME_BEAM] * 4, sigma, 320, seed)
        results = combine(paths), combine(paths, memo=True)
        found.append([[one[y, x] / flux - 1 for one in (c.mean, c.median)] for c in results])
    own, memo = np.moveaxis(np.array(found), 1, 0)
    # The noise of the mean is 0.47 of an epoch's.
    noise = 0.47 / np.sqrt(3 * (snr**2).sum())
    bias = [np.average(own[:, k], axis=1, weights=snr**2).mean() for k in (0, 1)]
    assert abs(bias[0]) < 3 * noise
    assert abs(bias[1]) < 3 * 1.15 * noise
    # The box of ten pixels holds the source: an epoch in which it is high by chance weighs less.
    assert -0.05 < (memo - own)[:, 0].mean() < -0.02
    assert -0.08 < (memo - own)[:, 1].mean() < -0.03


def test_a_variable_source_has_the_mean_of_its_fluxes_by_weight(tmp_path):
    x, y = lattice(320)
    sigma, factors = np.array(RMS_OF_TABLE_3), np.array([0.5, 1.0, 1.5, 2.0])
    flux = 30 * sigma.mean()
    paths = make(tmp_path, at_pixels(x, y, 320, flux), [SAME_BEAM] * 4, sigma, 320,
                 factors=factors)
    c, memo = combine(paths), combine(paths, memo=True)
    mean = (factors * sigma**-2).sum() / (sigma**-2).sum()
    noise = (sigma**-2).sum() ** -0.5 / flux / np.sqrt(x.size)
    # Weights are known to 3 % here, which moves the mean by less than 1 %.
    assert (c.mean[y, x] / flux).mean() == pytest.approx(mean, abs=3 * noise + 0.008)
    assert (memo.mean[y, x] / flux).mean() < 0.85 * mean
    # χ² says it is variable: Σ (f − mean)² over σ².
    wanted = ((flux * (factors - mean) / sigma) ** 2).sum()
    assert np.median(c.chi2[y, x]) == pytest.approx(wanted, rel=0.1)
    calibrated = ((flux * (factors - mean)) ** 2 / (sigma**2 + (0.05 * flux * mean) ** 2)).sum()
    assert np.median(c.maps["chi2-calibrated"][y, x]) == pytest.approx(calibrated, rel=0.1)


def test_the_memo_gains_what_it_says_of_its_table_3_and_some_of_it_is_shrinkage(tmp_path):
    paths = make(tmp_path, NOTHING, [SAME_BEAM] * 4, RMS_OF_TABLE_3, 360)
    memo, own = combine(paths, memo=True), combine(paths)
    for c in (memo, own):
        assert_allclose(c.table["rms"].value[:4], RMS_OF_TABLE_3, rtol=0.05)
        assert c.table["ratio_to_mean"][1] == c.table["rms"][1] / c.table["rms"][4]
    gains = memo.table["rms"].value[:4].mean() / memo.table["rms"].value[4:]
    # 2.18 and 1.72.
    assert 2.10 < gains[0] < 2.25
    assert 1.60 < gains[1] < 1.75
    inverse_variance = np.mean(RMS_OF_TABLE_3) * np.sqrt((np.array(RMS_OF_TABLE_3) ** -2.0).sum())
    found = own.table["rms"].value[:4].mean() / own.table["rms"].value[4]
    assert found == pytest.approx(inverse_variance, rel=0.02)
    assert gains[0] > 1.01 * found


@pytest.mark.parametrize("epoch", [2, 3])
def test_drawn_kernels_keep_fluxes_and_lose_peaks_unless_the_target_is_padded(tmp_path, epoch):
    x, y = lattice(200)
    cell, found = 0.95 * ARCSEC, {}
    sky = at_pixels(x, y, 200, 0.1)
    paths = make(tmp_path, sky, [BEAMS[epoch]], [1e-7], 200, cell=cell)
    for padding, direct in ((0.0, False), (0.1, False), (0.1, True)):
        target = target_beam(BEAMS, "abcd", padding=padding).beam
        with pytest.warns(UvstackWarning, match="only epoch"):
            c = combine(paths, beam=target, memo=True, direct=direct)
        places = c.wcs.world_to_pixel_values(np.rad2deg(sky.ra), np.rad2deg(sky.dec))
        column, row = (np.rint(v).astype(int) for v in places)
        # Where on its pixel each stands is one for all to 0.3: the mean has no less than 0.98.
        found[padding, direct] = (c.mean[row, column].mean() / 0.1,
                                  c.mean.sum(dtype=float) / target.area(cell) / 0.1 / x.size)
    assert_allclose([one[1] for one in found.values()], 1.0, rtol=1e-4)
    # Section 7: both ways agree where the target is 10 per cent wider.
    assert_allclose(found[0.1, True], found[0.1, False], rtol=1e-4)
    assert found[0.1, True][0] == pytest.approx(1.0, abs=0.02)
    assert found[0.0, False][0] == pytest.approx({2: 0.99, 3: 1.77}[epoch], abs=0.02)


# ---------------------------------------------------------------- pixels, units, scales


def test_epochs_of_other_pixels_projections_and_turns_are_brought_to_those_of_the_reference(
        tmp_path):
    beams = [arcsec(3.9, 2.6, 40), arcsec(3.3, 2.5, 30), arcsec(3.0, 2.6, 15), arcsec(3.1, 2.5, 60)]
    views = [{}, {"projection": "TAN", "turn": 25.0},
             {"cell": 0.8 * CELL, "size": 240, "east": 1.0},
             {"crval": (57.30, 34.376), "turn": -70.0, "size": 260}]
    reference = turned_wcs()
    at = np.array([(60.5, 80.5), (130.3, 120.0), (80.25, 140.75), (140.1, 70.9)])
    ra, dec = np.deg2rad(reference.wcs_pix2world(at, 0)).T
    sky = list(zip(ra, dec, [0.1] * 4, strict=True))
    paths = []
    for k, (beam, view) in enumerate(zip(beams, views, strict=True)):
        wcs = turned_wcs(**view)
        paths.append(tmp_path / f"e{k}.fits")
        write_image(paths[k], drawn(wcs, sky, beam, k), wcs, beams=beam, frequency=3e9)
    target = target_beam(beams, "abcd").beam
    y, x = np.mgrid[:200, :200]
    for k in range(4):
        c = combine([paths[0], paths[k]], beam=target)
        for x0, y0 in at:
            truth = 0.1 * target.profile(-(x - x0) * CELL, (y - y0) * CELL)
            box = slice(int(y0) - 12, int(y0) + 14), slice(int(x0) - 12, int(x0) + 14)
            mean, truth = c.mean[box], truth[box]
            assert (mean * truth).sum() / (truth**2).sum() == pytest.approx(1.0, abs=2e-3)
            assert mean.sum() == pytest.approx(truth.sum(), rel=1e-3)
            # Swapped axes, a mirrored angle, half a pixel: all would be far more.
            assert_allclose(mean, truth, atol=4e-4)


def test_kelvin_and_millijansky_are_brought_to_jansky_per_beam(tmp_path):
    made = epoch_image(at_pixels([50.0], [60.0], 128, [0.1]), frequency=3e9, beam=BEAMS[0],
                       centre=CENTRE, size=128, cell=CELL, noise=1e-5,
                       rng=np.random.default_rng(1))
    plain = write(tmp_path / "plain.fits", made)
    # Section 3.1: S = T ν² θ θ′/1.222e6, in Jy/beam, GHz and arcsec, for mJy 1.222e3.
    major, minor = BEAMS[0][0] / ARCSEC, BEAMS[0][1] / ARCSEC
    for unit, factor in (("K", 1.222e6 / (9.0 * major * minor)), ("mJy/beam", 1e3)):
        other = tmp_path / f"{unit[:1]}.fits"
        write_image(other, factor * made.brightness, made.wcs, beams=made.beam, frequency=3e9,
                    unit=unit)
        c = combine([plain, other])
        assert c.mean[60, 50] == pytest.approx(0.1, rel=1e-3)


def test_scales_offsets_and_spectra_of_epochs_are_taken_out(tmp_path):
    x, y = lattice(160)
    sky = at_pixels(x, y, 160, 0.1)
    (first,) = make(tmp_path, sky, [BEAMS[0]], [1e-6], 160)
    east, north = 0.4 * ARCSEC, -0.3 * ARCSEC
    (second,) = make(tmp_path, sky, [BEAMS[0]], [1e-6], 160, seed=1, flux_scale=1.25,
                     offset=(east, north), frequency=3.6e9)
    with pytest.raises(ImageError, match="is at 3.6 GHz and the reference"):
        combine([first, second])
    c = combine([first, second], flux_scale=[1.0, 0.8], align=[(0.0, 0.0), (east, north)],
                spectral_index=0.0)
    assert_allclose(c.mean[y, x], 0.1, rtol=1e-3)
    # Both are 0.1 within the spline's error, and the noise is as small.
    assert np.abs(c.mean[y, x] - 0.1).max() < 1e-4
    steep = combine([first, second], flux_scale=[1.0, 0.8], align=[(0.0, 0.0), (east, north)],
                    spectral_index=-0.7)
    grown = (3.0 / 3.6) ** -0.7
    weight = (0.8 * grown) ** -2.0  # its noise grows with it
    assert_allclose(steep.mean[y, x], 0.1 * (1.0 + weight * grown) / (1.0 + weight), rtol=0.01)


# -------------------------------------------------------------------------------- bad input


@pytest.fixture
def two(tmp_path):
    """Two good epochs, and a function that writes one that is bad."""
    good = make(tmp_path, NOTHING, BEAMS[:2], RMS[:2], 128)

    def bad(brightness=None, **options):
        made = epoch_image(NOTHING, frequency=3e9, beam=BEAMS[2], centre=CENTRE, size=128,
                           cell=CELL, noise=1e-4, rng=np.random.default_rng(5))
        data = made.brightness if brightness is None else brightness
        write_image(tmp_path / "bad.fits", data, options.pop("wcs", made.wcs),
                    **({"beams": made.beam, "frequency": 3e9} | options))
        return tmp_path / "bad.fits"

    return good, bad


def test_epochs_that_do_not_go_together_are_refused_in_one_line(two):
    good, bad = two
    far = turned_wcs(crval=(70.0, 34.0), size=128)
    nan = np.full((128, 128), np.nan)
    for changes, text in (
            ({"beams": None}, "bad.fits: has no beam .BMAJ, BMIN, BPA.; give beam="),
            ({"frequency": 3.1e9}, "bad is at 3.1 GHz and the reference e0-0 at 3 GHz; wanted is"),
            ({"stokes": (3,)}, "epochs of different Stokes parameters: e0-0 I, e1-0 I, bad U"),
            ({"wcs": far}, "bad.fits: (every pixel is blank, or none is on|its projection)"),
            ({"brightness": nan}, "bad.fits: every pixel is blank"),
            ({"unit": "furlong"}, "bad.fits"),
            ({"brightness": np.zeros((2, 128, 128)), "frequency": np.array([3e9, 3.01e9])},
             "bad.fits: holds 2 channels; wanted is an image of one plane")):
        with pytest.raises(ImageError, match=text) as told:
            combine([*good, bad(**changes)])
        assert "\n" not in str(told.value)


def test_options_that_cannot_be_are_refused_in_one_line(two):
    good, _ = two
    for options, kind, text in (
            ({"reference": 2}, SelectionError, "reference is 2"),
            ({"reference": -1}, SelectionError, "reference is -1"),
            ({"reference": "none.fits"}, SelectionError, "none.fits is none of the epochs"),
            ({"direct": True}, SelectionError, "direct .--direct. says how the memo's chain"),
            ({"beam": (2e-5, 1e-5, 0.0)}, ImageError, "3.948″ × 2.214″ at 42.5°, which cannot be"),
            ({"beams": [None]}, SelectionError, "beams: 1 for 2 epochs"),
            ({"minimum_epochs": 3}, SelectionError, "minimum_epochs is 3"),
            ({"rms_box": 2}, SelectionError, "rms_box is 2"),
            ({"flux_scale": [1.0]}, SelectionError, "flux_scale: 1 for 2 epochs"),
            ({"flux_scale": [1.0, 0.0]}, SelectionError, "flux_scale"),
            ({"memo": True, "direct": True}, ImageError, "too narrow to be convolved with"),
            ({"padding": -0.1}, SelectionError, "padding")):
        with pytest.raises(kind, match=text) as told:
            combine(good, **options)
        assert "\n" not in str(told.value)
    with pytest.raises(ImageError, match="no epochs"):
        combine([])


def test_epochs_too_coarse_are_left_out_or_blank(two):
    good, bad = two
    paths, beam = [*good, bad()], target_beam(BEAMS[1:3], "ab").beam
    alone = combine(paths[1:], beam=beam)
    for way, n in (("leave-out", 2), ("blank", 3)):
        with pytest.warns(UvstackWarning, match="e0-0: too coarse for the target beam"):
            c = combine(paths, beam=beam, too_coarse=way)
        assert len(c.epochs) == n
        assert list(c.table["used"][:-2]) == [True] * 2 if n == 2 else [False, True, True]
        # On the pixels of the first, which are those of all.
        assert_allclose(c.mean, alone.mean, atol=1e-8)
        assert (c.coverage == 2).all()


def test_pixels_with_too_few_epochs_are_blank_and_coverage_counts_them(tmp_path):
    made = [epoch_image(NOTHING, frequency=3e9, beam=SAME_BEAM, centre=CENTRE, size=128, cell=CELL,
                        noise=1e-4, rng=np.random.default_rng(k)) for k in range(3)]
    made[1].brightness[:, :40] = np.nan
    made[2].brightness[:40] = 0.0  # dead
    paths = [write(tmp_path / f"{k}.fits", one) for k, one in enumerate(made)]
    count = np.full((128, 128), 3)
    count[:, :40] -= 1
    count[:40] -= 1
    for minimum in (1, 2, 3):
        c = combine(paths, minimum_epochs=minimum)
        assert (c.coverage == count).all()
        for one in (c.mean, c.median):
            assert (np.isfinite(one) == (count >= minimum)).all()
        assert (np.isfinite(c.chi2) == (count >= max(minimum, 2))).all()
    alone = made[0].brightness[:38, :38]
    assert_allclose(combine(paths).mean[:38, :38], alone, atol=1e-9)
