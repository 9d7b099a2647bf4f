"""The stack against plain sums and known truths.

Equations 5 to 7, mosaics, errors, profiles, groups, reprojection.
"""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

import factories
import oracles
import uvstack
from factories import ARCMIN, ARCSEC, CENTRE, Spw, at, make_ms, offset, read
from uvstack.errors import DroppedPositionsWarning, FewPositionsWarning
from uvstack.stacking.by_position import PositionSums, bootstrap_fluxes, robust_fluxes

# float32 phasors and visibilities.
PRECISION = 1e-5
FWHM = 30 * ARCMIN
BEAM = "gaussian:30arcmin@1.4GHz"


def scattered(n, seed=3, radius=10 * ARCMIN, centre=CENTRE):
    """n directions (ra, dec) around a centre."""
    rng = np.random.default_rng(seed)
    return [offset(*rng.uniform(-radius, radius, 2), centre) for _ in range(n)]


def stacked_by_hand(ms, positions, weights=None, beam=None, fields=(CENTRE,), column="DATA"):
    """Flux after plain loops over the pointings of a set with one spectral window."""
    frequency = Spw().frequency
    vis, uvw, field = read(ms, column)[:, :, 0], read(ms, "UVW"), read(ms, "FIELD_ID")
    stacks = []
    for i, (ra, dec) in enumerate(fields):
        here = field == i
        w = None if weights is None else weights[i]
        stacks.append((*oracles.stack(vis[here], uvw[here], frequency, positions, ra, dec, w, beam),
                       1.0))
    return oracles.weighted_mean(stacks)


def test_equation_5_with_a_beam_of_every_channel(tmp_path):
    positions = scattered(12)
    beam = oracles.gaussian_beam(FWHM, 1.4e9)
    wide = Spw(1.2e9, 100e6, 5)
    sources = [(*p, 1e-3 * (k + 1)) for k, p in enumerate(positions)]
    ms = make_ms(tmp_path / "a.ms", sources=sources, beam=beam, spws=(wide,), noise=1e-3)
    weights = [oracles.gaussian_beam(FWHM, 1.4e9)(*oracles.cosines(*p, *CENTRE)[:2],
                                                  np.array([1.4e9]))[0] ** 2 for p in positions]
    result = uvstack.stack(ms, at(*positions), primary_beam=BEAM, weights="primary-beam",
                           out=tmp_path / "s.ms")
    vis, norm = oracles.stack(read(ms, "DATA")[:, :, 0], read(ms, "UVW"), wide.frequency, positions,
                              *CENTRE, weights, beam)
    found = read(tmp_path / "s.ms", "DATA")[:, :, 0]
    assert np.abs(found - vis).max() < PRECISION * np.abs(vis).max()
    # Equation 6: the weights of the set were 1.
    assert read(tmp_path / "s.ms", "WEIGHT") == pytest.approx(norm, rel=1e-6)
    both = [oracles.stack(read(ms, "DATA")[:, :, c], read(ms, "UVW"), wide.frequency, positions,
                          *CENTRE, weights, beam)[0] for c in (0, 1)]
    assert result.flux == pytest.approx(np.mean(both).real, rel=PRECISION)


def test_equation_6_two_pointings(tmp_path):
    """Two pointings that see one and three sources.

    The unscaled mean of pointings would be 2.5 instead of 3.
    """
    fields = (CENTRE, offset(2.0 * np.pi / 180, 0.0))
    first = [offset(60 * ARCSEC, 0)]
    second = [offset(x * ARCMIN, 1 * ARCMIN, fields[1]) for x in (-2, 1, 3)]
    fluxes = {first[0]: 1.0, second[0]: 3.0, second[1]: 4.0, second[2]: 4.0}
    # Many baselines and times wash the other sources out; what is left is compared with the plain
    # sum.
    sources = [(*p, s) for p, s in fluxes.items()]

    def cut(l, m, nu):
        return np.where(np.hypot(l, m) < 30 * ARCMIN, 1.0, 0.0) * np.ones(nu.size)

    ms = make_ms(tmp_path / "a.ms", fields=fields, sources=sources, beam=cut, n_ant=20, n_times=12,
                 scale=1.0)
    table = Table({"angle": [0.0, 10.0, 20.0, 29.0] * u.arcmin, "power": [1.0, 1.0, 1.0, 1.0]})
    table.write(tmp_path / "beam.ecsv")
    from uvstack.io.primary_beams import read_radial_table

    result = uvstack.stack(ms, at(*fluxes),
                           primary_beam=read_radial_table(tmp_path / "beam.ecsv", 1.41e9))
    weights = [[1, 0, 0, 0], [0, 1, 1, 1]]
    assert result.flux == pytest.approx(stacked_by_hand(ms, list(fluxes), weights, None, fields),
                                        abs=PRECISION * 4)
    assert result.flux == pytest.approx(3.0, abs=0.1)
    per_field = result.per_field["flux"].value
    assert per_field == pytest.approx([1.0, 11 / 3], abs=0.15)
    unscaled = per_field.mean()
    assert abs(unscaled - 3.0) > 0.5


def test_position_seen_by_two_pointings_counts_in_both(tmp_path):
    fields = (CENTRE, offset(12 * ARCMIN, 0))
    target = offset(4 * ARCMIN, 0)
    beam = oracles.gaussian_beam(FWHM, 1.4e9)
    ms = make_ms(tmp_path / "a.ms", fields=fields, sources=[(*target, 2.0)], beam=beam)
    result = uvstack.stack(ms, at(target), primary_beam=BEAM, weights="primary-beam")
    assert result.flux == pytest.approx(2.0, rel=PRECISION)
    assert list(result.per_field["n_positions"]) == [1, 1]
    # Equation 7 with A²: the pointing that sees the source at 4′ counts more than the one at 8′.
    errors = make_ms(tmp_path / "n.ms", fields=fields, noise=1.0, n_ant=15, n_times=10)
    noise = uvstack.stack(errors, at(target), primary_beam=BEAM, weights="primary-beam")
    power = [beam(*oracles.cosines(*target, *f)[:2], np.array([1.41e9]))[0] for f in fields]
    single = noise.n_visibilities  # hands of one of the two pointings
    assert noise.flux_error_expected == pytest.approx(1 / np.sqrt(single
                                                                  * np.sum(np.square(power))),
                                                      rel=0.02)


def test_errors_agree_with_each_other_and_with_the_truth_on_pure_noise(tmp_path):
    """60 lists of 25 positions on noise: scatter, equation 7 and the true spread of the fluxes."""
    beam = BEAM
    ms = make_ms(tmp_path / "a.ms", noise=1.0, n_ant=12, n_times=30, scale=1.0)
    results = [uvstack.stack(ms, at(*scattered(25, seed)), primary_beam=beam,
                             weights="primary-beam") for seed in range(60)]
    scatter = np.array([r.flux_error for r in results])
    expected = np.array([r.flux_error_expected for r in results])
    # 11 880 visibilities: each error is known to 1 / sqrt(2 · 11 880 / 25 …) ≈ 3 %, their mean far
    # better.
    assert np.mean(scatter / expected) == pytest.approx(1.0, abs=0.02)
    assert np.all(np.abs(scatter / expected - 1) < 0.15)
    # The spread of 60 fluxes is known to 1/√118 = 9 %; 3 σ.
    pulls = np.array([r.flux / r.flux_error for r in results])
    assert pulls.std() == pytest.approx(1.0, abs=0.28)
    assert abs(pulls.mean()) < 3 / np.sqrt(60)


def test_flux_is_unbiased_far_below_the_noise(tmp_path):
    """40 sets of 30 sources at 0.4 σ of the map each: mean pull 0, width 1."""
    beam = oracles.gaussian_beam(FWHM, 1.4e9)
    pulls = []
    for seed in range(40):
        positions = scattered(30, seed)
        ms = make_ms(tmp_path / f"{seed}.ms", sources=[(*p, 6e-3) for p in positions], beam=beam,
                     noise=1.0, n_ant=10, n_times=10, scale=1.0, seed=seed)
        result = uvstack.stack(ms, at(*positions), primary_beam=BEAM, weights="primary-beam")
        pulls.append((result.flux - 6e-3) / result.flux_error)
    assert abs(np.mean(pulls)) < 3 / np.sqrt(40)
    assert np.std(pulls) == pytest.approx(1.0, abs=3 / np.sqrt(80))


def test_weights_of_the_list_and_products(tmp_path):
    positions = scattered(5)
    ms = make_ms(tmp_path / "a.ms", sources=[(*p, k + 1.0) for k, p in enumerate(positions)],
                 noise=0.1)
    listed = np.array([1.0, 2.0, 0.0, 0.5, 1e-12])
    from uvstack.sky.positions import positions_from_coord

    with pytest.warns(DroppedPositionsWarning, match="1 of 5"):
        result = uvstack.stack(ms, positions_from_coord(at(*positions), listed), weights="list")
    vis = read(ms, "DATA")
    by_hand = [oracles.weighted_mean([(*oracles.stack(vis[:, :, c], read(ms, "UVW"),
                                                      Spw().frequency, positions, *CENTRE, listed),
                                       1.0)]) for c in (0, 1)]
    assert result.flux == pytest.approx(np.mean(by_hand), rel=PRECISION)
    beam = oracles.gaussian_beam(FWHM, 1.4e9)
    squares = [beam(*oracles.cosines(*p, *CENTRE)[:2], np.array([1.41e9]))[0] ** 2
               for p in positions]
    with pytest.warns(DroppedPositionsWarning):
        product = uvstack.stack(ms, positions_from_coord(at(*positions), listed),
                                weights="list*primary-beam", primary_beam=BEAM)
    by_hand = [oracles.weighted_mean([(*oracles.stack(vis[:, :, c], read(ms, "UVW"),
                                                      Spw().frequency, positions, *CENTRE,
                                                      listed * squares, beam), 1.0)])
               for c in (0, 1)]
    assert product.flux == pytest.approx(np.mean(by_hand), rel=PRECISION)


def write_image(path, values, cell=10 * ARCSEC, beam=20 * ARCSEC):
    """FITS image around the centre of the factories' field."""
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN",
                          "CRVAL1": np.rad2deg(CENTRE[0]), "CRVAL2": np.rad2deg(CENTRE[1]),
                          "CRPIX1": values.shape[1] // 2 + 1, "CRPIX2": values.shape[0] // 2 + 1,
                          "CDELT1": -np.rad2deg(cell), "CDELT2": np.rad2deg(cell),
                          "BMAJ": np.rad2deg(beam), "BMIN": np.rad2deg(beam)})
    fits.writeto(path, values, header)
    return path


def test_local_noise_from_images_corrected_and_flat(tmp_path):
    """A noise that grows as 1/A in a corrected image gives the weights A² of a flat one."""
    positions = scattered(6, radius=8 * ARCMIN)
    ms = make_ms(tmp_path / "a.ms", noise=1.0)
    offsets = (np.arange(200) - 100) * 10 * ARCSEC
    theta = np.hypot(offsets[:, None], offsets[None, :])
    power = np.exp(-4 * np.log(2) * (theta * 1.41 / 1.4 / FWHM) ** 2)
    corrected = write_image(tmp_path / "c.fits", 1e-3 / power)
    flat = write_image(tmp_path / "f.fits", np.full(power.shape, 1e-3))
    kwargs = {"primary_beam": BEAM}
    by_beam = uvstack.stack(ms, at(*positions), weights="primary-beam", **kwargs)
    for image, kind in ((corrected, "rms-corrected"), (flat, "rms-flat")):
        result = uvstack.stack(ms, at(*positions), weights="local-noise", noise_image=image,
                               noise_kind=kind, **kwargs)
        # The map of noise is interpolated linearly between pixels of 10″.
        assert result.flux == pytest.approx(by_beam.flux, rel=1e-3)
        assert result.flux_error == pytest.approx(by_beam.flux_error, rel=1e-3)
    rng = np.random.default_rng(2)
    sky = write_image(tmp_path / "s.fits", rng.normal(0, 1e-3, power.shape) / power)
    measured = uvstack.stack(ms, at(*positions), weights="local-noise", noise_image=sky,
                             noise_kind="corrected", **kwargs)
    # Stamps of 36 × 36 pixels know σ to 2 %, W_k to 4 %, six of them together move the error by
    # less.
    assert measured.flux_error == pytest.approx(by_beam.flux_error, rel=0.03)


def test_local_noise_ignores_the_source_in_the_middle(tmp_path):
    from uvstack.pixels.noise import noise_around

    rng = np.random.default_rng(1)
    image = rng.normal(0, 2.0, (100, 100))
    image[48:53, 58:63] += 1000
    assert noise_around(image, np.array([60.0]), np.array([50.0]), 40,
                        5.0) == pytest.approx(2.0, rel=3 / np.sqrt(2 * 1500))
    assert noise_around(image, np.array([60.0]), np.array([50.0]), 40, 1.0)[0] > 50
    image[:] = np.nan
    assert np.isnan(noise_around(image, np.array([60.0, np.nan, -500.0]),
                                 np.array([50.0, 1.0, 1.0]), 40, 5.0)).all()


def test_uv_limits_are_exact_and_profile_adds_up(tmp_path):
    positions = scattered(4)
    ms = make_ms(tmp_path / "a.ms", noise=1.0, n_ant=15, n_times=8, scale=1.0)
    full = uvstack.stack(ms, at(*positions), out=tmp_path / "s.ms")
    vis, uvw = read(tmp_path / "s.ms", "DATA").astype(complex), read(tmp_path / "s.ms", "UVW")
    q = np.hypot(uvw[:, 0], uvw[:, 1])
    inside = (q >= 3000) & (q <= 9000)
    cut = uvstack.stack(ms, at(*positions), uvmin="3km", uvmax=9000)
    assert cut.flux == pytest.approx(vis[inside].real.mean(), rel=PRECISION)
    assert cut.n_visibilities == vis[inside].size // 2  # hands count once
    assert cut.flux_error == pytest.approx(vis[inside].real.std() / np.sqrt(vis[inside].size),
                                           rel=1e-4)
    in_wavelengths = np.broadcast_to((q[:, None] * Spw().frequency / oracles.LIGHT)[:, :, None],
                                     vis.shape)
    wavelengths = uvstack.stack(ms, at(*positions), uvmin="20klambda")
    assert wavelengths.flux == pytest.approx(vis[in_wavelengths >= 20e3].real.mean(), rel=PRECISION)
    # The profile knows nothing of the limits of the flux.
    for result in (full, cut):
        profile = result.uv_profile(bins=7)
        assert profile["count"].sum() == full.n_visibilities == vis.size // 2
        mean = np.average(profile["re"].value, weights=profile["count"])
        assert mean == pytest.approx(full.flux, abs=1e-9)
        for row in profile:
            chosen = vis[(q > row["uv_min"].value) & (q <= row["uv_max"].value)]
            assert chosen.size == 2 * row["count"]
            assert row["re"].value == pytest.approx(chosen.real.mean(), rel=PRECISION, abs=1e-9)
            assert row["im"].value == pytest.approx(chosen.imag.mean(), rel=1e-4, abs=1e-7)
            assert row["re_error"].value == pytest.approx(chosen.real.std() / np.sqrt(chosen.size),
                                                          rel=1e-4)
    edges = full.uv_profile(bins=[0.0, 5000.0, 1e5])
    # Edges move to the nearest fine bin.
    assert edges["uv_max"][0].value == pytest.approx(5000, rel=0.003)
    assert edges["count"].sum() == vis.size // 2
    by_wavelength = full.uv_profile(bins=5, unit="lambda")
    assert by_wavelength["uv_max"][-1].value == pytest.approx(in_wavelengths.max(), rel=0.003)


def test_suggested_cut_finds_a_disturbance_on_short_baselines_and_nothing_in_noise(tmp_path):
    targets = scattered(12, radius=2 * ARCMIN)
    ms = make_ms(tmp_path / "a.ms", sources=[(*p, 0.5) for p in targets], noise=1.0, n_ant=15,
                 n_times=10, scale=1.0)
    assert uvstack.stack(ms, at(*targets), by_position=True).suggest_uvmin() is None
    uvw = read(ms, "UVW")
    short = np.hypot(uvw[:, 0], uvw[:, 1]) < 2500

    def disturb(vis):
        for target in targets:
            phase = oracles.phasor(uvw, Spw().frequency, *target, *CENTRE)
            vis[short] += 3.0 * phase[short][:, :, None]

    factories.edit(ms, "DATA", disturb)
    result = uvstack.stack(ms, at(*targets), by_position=True)
    assert 1800 < result.suggest_uvmin() < 3600
    assert "consider --uvmin" in str(result)
    assert uvstack.stack(ms, at(*targets), uvmin="4km").flux == pytest.approx(
        0.5, abs=4 * result.flux_error + 0.05)
    # By the scatter of visibilities alone nothing is judged.
    plain = uvstack.stack(ms, at(*targets))
    assert plain.suggest_uvmin() is None
    assert "not judged" in str(plain)
    assert plain.flux == result.flux


def test_bins_of_the_profile_state_their_errors_with_other_sources_in_the_field(tmp_path):
    """Twelve skies of 25 sources that were not subtracted, stacked at 40 empty places: visibilities share their sidelobes."""
    pulls, by_scatter, advised = [], [], 0
    for seed in range(12):
        sky = scattered(25, seed=100 + seed, radius=15 * ARCMIN)
        ms = make_ms(tmp_path / f"{seed}.ms", sources=[(*p, 1.0) for p in sky], noise=0.5, n_ant=12,
                     n_times=8, scale=1.0, seed=seed)
        empty = scattered(40, seed=200 + seed, radius=15 * ARCMIN)
        result = uvstack.stack(ms, at(*empty), by_position=True)
        profile = result.uv_profile(8)
        profile = profile[profile["count"] > 0]
        pulls += list((profile["re"] / profile["re_error"]).value)
        by_scatter += list((profile["re"] / profile["re_scatter"]).value)
        advised += result.suggest_uvmin(8) is not None
        in_wavelengths = result.uv_profile(8, unit="lambda")
        some = in_wavelengths["count"] > 0
        assert np.isfinite(in_wavelengths["re_error"][some].value).all()
    # Some 90 bins: known to 8 %.
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.25)
    assert np.sqrt(np.mean(np.square(by_scatter))) > 1.5
    assert advised <= 2


def short_baselines(ms):
    """Rows below 1 km."""
    uvw = read(ms, "UVW")
    return np.hypot(uvw[:, 0], uvw[:, 1]) < 1000


@pytest.mark.parametrize("with_ms", [True, False])
def test_stamp_peaks_at_the_phase_centre_with_the_flux(tmp_path, with_ms):
    target = offset(3 * ARCMIN, -2 * ARCMIN)
    ms = make_ms(tmp_path / "a.ms", sources=[(*target, 2.0)], scale=1.0, n_ant=20, n_times=10)
    factories.edit(ms, "DATA", lambda vis: vis + 5.0 * short_baselines(ms)[:, None, None])
    result = uvstack.stack(ms, at(target), out=tmp_path / "s.ms" if with_ms else None, uvmin="1km")
    # The disturbed short baselines are as absent from the stamp as from the flux.
    assert result.flux == pytest.approx(2.0, rel=PRECISION)
    stamp = result.image(size=64)
    # wgridder is asked for 1e-5.
    assert stamp.peak == pytest.approx(result.flux, rel=1e-4)
    assert np.unravel_index(stamp.brightness.argmax(), stamp.brightness.shape) == (32, 32)
    assert stamp.brightness == pytest.approx(2.0 * stamp.psf, abs=1e-3)
    assert result.image(size=16).brightness == pytest.approx(stamp.brightness[24:40, 24:40],
                                                             abs=1e-3)


def test_stamp_has_east_to_the_left_and_north_up(tmp_path):
    target, neighbour = offset(1 * ARCMIN, 0), offset(1 * ARCMIN + 6 * ARCSEC, 3 * ARCSEC)
    ms = make_ms(tmp_path / "a.ms", sources=[(*neighbour, 1.0)], scale=1.0, n_ant=20, n_times=20)
    stamp = uvstack.stack(ms, at(target), stamp_cell=0.5 * ARCSEC).image()
    row, col = np.unravel_index(stamp.brightness.argmax(), stamp.brightness.shape)
    assert (row - 32, 32 - col) == (6, 12)


def test_bootstrap_holds_the_variance_of_the_sources(tmp_path):
    """Without noise the spread of the mean of N sources is their standard deviation over √N."""
    rng = np.random.default_rng(4)
    positions = scattered(40, radius=20 * ARCMIN)
    fluxes = rng.exponential(1.0, 40)
    ms = make_ms(tmp_path / "a.ms",
                 sources=[(*p, s) for p, s in zip(positions, fluxes, strict=True)], n_ant=27,
                 n_times=30, scale=1.0)
    result = uvstack.stack(ms, at(*positions), bootstrap=2000, seed=1)
    # Sidelobes of 39 neighbours add to each flux: 10 %.
    assert result.bootstrap_error == pytest.approx(fluxes.std() / np.sqrt(40), rel=0.2)
    assert result.bootstrap.mean() == pytest.approx(result.flux,
                                                    abs=4 * result.bootstrap_error / np.sqrt(2000))
    again = uvstack.stack(ms, at(*positions), bootstrap=2000, seed=1)
    assert np.array_equal(result.bootstrap, again.bootstrap)


def test_bootstrap_sums_are_the_stack(tmp_path):
    """Each position's sums give the flux of that position stacked alone, with beams, weights, uv limits and two pointings."""
    positions = scattered(4, radius=6 * ARCMIN)
    fields = (CENTRE, offset(5 * ARCMIN, 0))
    ms = make_ms(tmp_path / "a.ms", fields=fields, noise=1.0)
    options = {"primary_beam": BEAM, "weights": "primary-beam", "uvmin": 300}
    whole = uvstack.stack(ms, at(*positions), bootstrap=2, **options)
    sums = whole.positions
    assert sums.values.sum() / sums.weights.sum() == pytest.approx(
        whole.flux, abs=PRECISION * whole.flux_error)
    for k, p in enumerate(positions):
        alone = uvstack.stack(ms, at(p), **options)
        error = PRECISION * alone.flux_error
        assert sums.fluxes[k] == pytest.approx(alone.flux, abs=error)
        others = uvstack.stack(ms, at(*(q for q in positions if q is not p)), **options)
        assert sums.flux_without[k] == pytest.approx(others.flux, abs=error)
        assert sums.influence[k] == pytest.approx(whole.flux - others.flux, abs=2 * error)


def sums_of(fluxes, weights):
    """What positions of these fluxes add."""
    fluxes, weights = np.asarray(fluxes, float), np.asarray(weights, float)
    nowhere = np.zeros(fluxes.size)
    return PositionSums(np.arange(fluxes.size), nowhere, nowhere, fluxes * weights, weights)


def test_bootstrap_fluxes_of_equal_positions_do_not_spread():
    rng = np.random.default_rng(1)
    assert bootstrap_fluxes(sums_of([2.0, 2.0], [1.0, 2.0]), 10, rng) == pytest.approx(2.0)


@pytest.mark.parametrize(("n", "spread"), [(10, 0.0), (12, 1.0), (40, 1.0)])
def test_bootstrap_states_the_error_of_unequal_weights(n, spread):
    """Gaussian fluxes, weights equal or lognormal: stated is the scatter, and pulls are those of few degrees of freedom."""
    rng, means, stated = np.random.default_rng(2), [], []
    for _ in range(600):
        weights, fluxes = np.exp(spread * rng.standard_normal(n)), rng.standard_normal(n)
        sums = sums_of(fluxes, weights)
        means.append(np.average(fluxes, weights=weights))
        stated.append(bootstrap_fluxes(sums, 100, rng).std(ddof=1))
    means, stated = np.array(means), np.array(stated)
    # The scatter is known to 3 %. A plain bootstrap states 0.92, 0.82 and 0.89.
    assert stated.mean() / means.std() == pytest.approx(1.0, abs=0.07)
    # Of Student's t with n_effective − 1 degrees: 1.13, 1.3, 1.1; a plain bootstrap has 1.20, 1.42, 1.2.
    assert (means / stated).std() < (1.17 if not spread else 1.3 if n == 12 else 1.13)


def test_bootstrap_gives_back_what_the_root_of_a_scattering_variance_lacks():
    """Lognormal fluxes and weights: the error by plain loops, to the scatter of 20 000 lists (0.5 %)."""
    rng = np.random.default_rng(7)
    fluxes, weights = rng.lognormal(-0.5, 1.2, 30), rng.lognormal(0, 0.1, 30)
    square = fourth = 0.0
    for k in range(30):
        others = [j for j in range(30) if j != k]
        mean = sum(weights[j] * fluxes[j] for j in others) / sum(weights[j] for j in others)
        moved = weights[k] / sum(weights) * (fluxes[k] - mean)
        square, fourth = square + moved**2, fourth + moved**4
    lack = (fourth / square**2 - 1 / 30) / 8
    assert lack > 0.05
    found = bootstrap_fluxes(sums_of(fluxes, weights), 20_000, rng)
    assert found.std() == pytest.approx(np.sqrt(square) * (1 + lack), rel=0.02)
    assert found.mean() == pytest.approx(np.average(fluxes, weights=weights), rel=0.02)


def test_robust_averages_and_influence():
    """One position of a hundred times the flux: the mean follows it, median and clipped mean do not, and it is named."""
    rng = np.random.default_rng(3)
    fluxes = 1.0 + 0.3 * rng.standard_normal(60)
    fluxes[17] = 100.0
    sums = sums_of(fluxes, np.ones(60))
    found = robust_fluxes(sums, 300, rng)
    good = np.delete(fluxes, 17)
    assert found["median"].flux == np.median(fluxes)
    assert found["clipped-mean"].flux == pytest.approx(good.mean(), abs=0.01)
    assert sums.order[0] == 17
    assert sums.flux_without[17] == pytest.approx(good.mean())
    assert sums.n_effective == pytest.approx(60)
    assert sums_of([1, 1], [3, 1]).n_effective == pytest.approx(16 / 10)
    # Half of the weight is reached at the second, between the second and the third.
    rng = np.random.default_rng(4)
    assert robust_fluxes(sums_of([3, 1, 2], [1, 1, 3]), 2, rng)["median"].flux == 2
    assert robust_fluxes(sums_of([3, 1, 2], [2, 1, 1]), 2, rng)["median"].flux == 2.5


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_robust_averages_state_their_errors(spread):
    rng, found = np.random.default_rng(5), []
    for _ in range(250):
        sums = sums_of(rng.standard_normal(30), np.exp(spread * rng.standard_normal(30)))
        found.append([(one.flux, one.error) for one in robust_fluxes(sums, 50, rng).values()])
    fluxes, errors = np.moveaxis(found, 2, 0)
    # The scatter is known to 4.5 %.
    assert errors.mean(axis=0) / fluxes.std(axis=0) == pytest.approx(1.0, abs=0.16)


def test_few_effective_positions_are_told(tmp_path):
    """One position has nearly all the weight: no error of resampled lists is to be believed; of a single one there is none."""
    places = scattered(30)
    ms = make_ms(tmp_path / "a.ms", noise=1.0, n_times=3)
    table = Table({"ra": [p[0] for p in places] * u.rad, "dec": [p[1] for p in places] * u.rad,
                   "weight": np.append(100.0, np.ones(29))})
    with pytest.warns(FewPositionsWarning, match=r"fewer than 20 .*stack: 1\.66 of 30"):
        result = uvstack.stack(ms, table, weights="list", bootstrap=20, seed=1)
    assert "1.66 effective positions" in str(result)
    assert "carried by   position 0" in str(result)
    summary = result.summary()
    assert summary["n_effective"] == pytest.approx(129**2 / (100**2 + 29))
    assert summary["most_influential"][0]["position"] == 0
    assert summary["median"]["flux_jy"] == result.positions.fluxes[0]
    assert result.tables()["positions"]["share"][0] == pytest.approx(100 / 129)
    with pytest.warns(FewPositionsWarning, match="1 of 1"):
        single = uvstack.stack(ms, at(places[0]), bootstrap=20)
    assert np.isnan(single.bootstrap_error)
    assert single.summary()["bootstrap"]["error_jy"] is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uvstack.stack(ms, at(*places), bootstrap=20)


def test_groups_equal_separate_stacks(tmp_path):
    positions = scattered(9)
    ms = make_ms(tmp_path / "a.ms", sources=[(*p, k + 1.0) for k, p in enumerate(positions)],
                 noise=0.3)
    kind = np.array(["red", "blue", "red", "blue", "blue", "red", "old one", "red", "blue"])
    table = Table({"ra": [p[0] for p in positions] * u.rad,
                   "dec": [p[1] for p in positions] * u.rad, "kind": kind})
    result = uvstack.stack(ms, table, group_by="kind", out=tmp_path / "s.ms", bootstrap=50, seed=1)
    assert result.flux == pytest.approx(uvstack.stack(ms, table).flux, rel=PRECISION)
    assert set(result.groups) == {"red", "blue", "old one"}
    for name, group in result.groups.items():
        alone = uvstack.stack(ms, table[kind == name], out=tmp_path / "alone.ms", overwrite=True)
        assert group.flux == pytest.approx(alone.flux, rel=PRECISION)
        assert group.flux_error == pytest.approx(alone.flux_error, rel=1e-4)
        assert group.n_positions == alone.n_positions
        assert np.abs(read(group.ms, "DATA") - read(alone.ms, "DATA")).max() < 1e-4
    assert (tmp_path / "s-old_one.ms").is_dir()


def test_several_sets_stack_as_one(tmp_path):
    positions = scattered(5)
    paths = [make_ms(tmp_path / f"part{i}.ms", sources=[(*p, 1.0) for p in positions], noise=0.5,
                     seed=i, n_times=3 + i) for i in range(2)]
    both = uvstack.stack(str(tmp_path / "part*.ms"), at(*positions))
    singles = [uvstack.stack(p, at(*positions)) for p in paths]
    n = [s.n_visibilities for s in singles]
    assert both.flux == pytest.approx(np.average([s.flux for s in singles], weights=n), rel=1e-9)
    assert len(both.per_field) == 2


def gaussian_set(path, centre_offset, fwhm, n_times=30):
    """A set of one circular Gaussian source of 1 Jy, exact in the source's own tangent plane."""
    target = offset(*centre_offset)
    ms = make_ms(path, scale=1.0, n_ant=27, n_times=n_times)
    uvw = read(ms, "UVW")
    rotation = _frame(*target) @ _frame(*CENTRE).T
    q = np.hypot(*(uvw @ rotation.T)[:, :2].T)
    size = np.exp(-((np.pi * fwhm * q[:, None] * Spw().frequency / oracles.LIGHT) ** 2)
                  / (4 * np.log(2)))
    vis = size * oracles.phasor(uvw, Spw().frequency, *target, *CENTRE)
    factories.edit(ms, "DATA",
                   lambda data: np.broadcast_to(vis[:, :, None], data.shape).astype(np.complex64))
    return ms, target


def _frame(ra, dec):
    """Unit vectors u, v, w (rows) at a direction, in equatorial axes."""
    return np.array([[-np.sin(ra), np.cos(ra), 0],
                     [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)],
                     [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]])


def fitted_fwhm(ms):
    """FWHM of a circular Gaussian fitted to a set's visibilities by its q² slope, weights of unit noise."""
    uvw, vis = read(ms, "UVW"), read(ms, "DATA")[:, :, 0].real
    q2 = (np.hypot(uvw[:, 0], uvw[:, 1])[:, None] * Spw().frequency / oracles.LIGHT) ** 2
    slope = np.polyfit(q2.ravel(), np.log(vis.ravel()), 1, w=vis.ravel())[0]
    return np.sqrt(-slope * 4 * np.log(2)) / np.pi


def test_reprojection_removes_the_size_bias_one_degree_off_axis(tmp_path):
    fwhm = 1.5 * ARCSEC
    ms, target = gaussian_set(tmp_path / "a.ms", (np.deg2rad(0.7), np.deg2rad(0.7)), fwhm)
    plain = uvstack.stack(ms, at(target), out=tmp_path / "plain.ms")
    turned = uvstack.stack(ms, at(target), out=tmp_path / "turned.ms", reproject=True)
    bias = fitted_fwhm(tmp_path / "plain.ms") / fwhm - 1
    assert abs(bias) > 0.0015
    # float32 visibilities and phases: the slope of the fit is good to 1e-5.
    assert fitted_fwhm(tmp_path / "turned.ms") == pytest.approx(fwhm, rel=1e-4)
    assert turned.flux == pytest.approx(plain.flux, rel=PRECISION)


def test_facets_are_written_side_by_side(tmp_path):
    positions = [offset(np.deg2rad(0.5), 0), offset(-np.deg2rad(0.5), 1 * ARCMIN),
                 offset(-np.deg2rad(0.5), 1.2 * ARCMIN)]
    ms = make_ms(tmp_path / "a.ms", sources=[(*p, 1.0) for p in positions], noise=0.1)
    facets = uvstack.stack(ms, at(*positions), out=tmp_path / "f.ms", reproject=True,
                           facet_size=5 * ARCMIN)
    plain = uvstack.stack(ms, at(*positions))
    assert facets.flux == pytest.approx(plain.flux, rel=PRECISION)
    n = read(ms, "TIME").size
    weight = read(tmp_path / "f.ms", "WEIGHT")
    assert weight.shape[0] == 2 * n
    assert {float(weight[:n].mean()), float(weight[n:].mean())} == {1.0, 2.0}
    without_ms = uvstack.stack(ms, at(*positions), reproject=True)
    assert without_ms.flux == pytest.approx(plain.flux, rel=PRECISION)


def test_frames_of_positions_do_not_matter(tmp_path):
    positions = scattered(3)
    ms = make_ms(tmp_path / "a.ms", sources=[(*p, 1.0) for p in positions], scale=1.0, n_ant=15)
    fk5 = at(*positions)
    wanted = uvstack.stack(ms, fk5).flux
    for other in (fk5.icrs, fk5.galactic):
        assert uvstack.stack(ms, SkyCoord(other)).flux == pytest.approx(wanted, rel=1e-4)


def test_result_can_be_saved_and_read_back(tmp_path):
    import json

    from astropy.table import QTable

    ms = make_ms(tmp_path / "a.ms", sources=[(*offset(ARCMIN, 0), 1.0)], noise=0.1)
    result = uvstack.stack(ms, at(offset(ARCMIN, 0)), bootstrap=10, seed=3)
    result.save(tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["flux_jy"] == result.flux
    assert found["provenance"]["seed"] == 3
    assert found["provenance"]["inputs"]["ms"] == [str(ms)]
    assert QTable.read(tmp_path / "r-uv_profile.ecsv")["re"].to_value(u.Jy) == pytest.approx(
        result.uv_profile()["re"].value, nan_ok=True)
    result.plot(tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
