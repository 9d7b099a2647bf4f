"""One test for each fault found in the original STACKER: none of them may come back.

Sources are noise-free unless said otherwise, and the truth is their flux, or the plain sum of
`oracles.stack`. Budget FLUX_TOLERANCE of a flux: float32 phasors 5e-6, visibilities in complex64
1e-7, sums in float64.
"""

import gc
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

import oracles
import uvstack
from factories import (
    ARCMIN,
    ARCSEC,
    CENTRE,
    LL,
    LR,
    RL,
    RR,
    XX,
    XY,
    YX,
    YY,
    Spw,
    at,
    edit,
    make_ms,
    offset,
    read,
)
from uvstack.errors import ColumnError

FLUX_TOLERANCE = 1e-5
NEAR, FAR = offset(30 * ARCSEC, -50 * ARCSEC), offset(-140 * ARCSEC, 90 * ARCSEC)


def listed(points, weights=None):
    """Table of positions, with weights."""
    table = Table({"ra": np.rad2deg([p[0] for p in points]),
                   "dec": np.rad2deg([p[1] for p in points])})
    if weights is not None:
        table["weight"] = weights
    return table


def oracle_flux(path, points, weights=None, beam=None, spw=0):
    """Flux of a stack of a set with one field and spw, whose rows weigh the same, by the plain sums."""
    frequency = read(path, "CHAN_FREQ", "SPECTRAL_WINDOW")[spw]
    vis = read(path, "DATA").astype(complex).mean(axis=2)
    stacked, norm = oracles.stack(vis, read(path, "UVW"), frequency, points, *CENTRE, weights, beam)
    return oracles.weighted_mean([(stacked, norm, 1.0)])


def test_weights_are_never_rescaled_at_random(tmp_path):
    """An uninitialised flag decided whether weights were rescaled.

    The same call must give the same bits.
    """
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0), (*FAR, 2.0)], noise=0.1,
                   fields=[CENTRE, offset(0, 1e-4)])
    results = [uvstack.stack(path, listed([NEAR, FAR], [0.3, 0.6]), weights="list",
                             out=tmp_path / f"{i}.ms", threads=1 + i % 2) for i in range(4)]
    assert len({(r.flux, r.flux_error, r.flux_error_expected) for r in results}) == 1
    for result in results:
        # Equation 6, always: the weight 1 of the data times Σ W = 0.9, rounded to float32.
        np.testing.assert_allclose(read(result.ms, "WEIGHT"), 0.9, rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12, 1e-20])
def test_tiny_position_weights_are_kept(tmp_path, scale):
    """A weight below 1e-9 became 1: here that would turn the weights 1 : 3 into 1 : 1."""
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0), (*FAR, 2.0)])
    weights = np.array([1.0, 3.0]) * scale
    result = uvstack.stack(path, listed([NEAR, FAR], weights), weights="list",
                           out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(oracle_flux(path, [NEAR, FAR], [1.0, 3.0]),
                                        rel=FLUX_TOLERANCE)
    # The wrong answer is far away.
    assert abs(oracle_flux(path, [NEAR, FAR], [1.0, 1.0]) / result.flux - 1) > 0.05
    np.testing.assert_allclose(read(result.ms, "WEIGHT"), 4.0 * scale, rtol=1e-6)


def test_flagged_data_do_not_enter_the_flux(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0)])
    bad = np.random.default_rng(0).random((84, 3, 2)) < 0.3
    edit(path, "FLAG", lambda f: bad)
    edit(path, "DATA", lambda v: v.__setitem__(bad, 1e6))
    result = uvstack.stack(path, at(NEAR))
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert result.n_visibilities == np.count_nonzero(~bad.all(axis=2))  # one of two hands is enough


def test_one_flagged_nan_does_not_spoil_the_flux(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0)])
    edit(path, "FLAG", lambda f: f.__setitem__((3, 1, 0), True))
    edit(path, "DATA", lambda v: v.__setitem__((3, 1, 0), np.nan))
    # Warnings are errors here: what was flagged before is not counted as a surprise.
    result = uvstack.stack(path, at(NEAR), out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert result.n_not_finite == 0
    assert np.isfinite(read(result.ms, "DATA")).all()
    assert read(result.ms, "FLAG").sum() == 1


def test_a_set_without_corrected_data_is_stacked(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0)])
    assert uvstack.stack(path, at(NEAR)).flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    with pytest.raises(ColumnError, match="column CORRECTED_DATA does not exist; there are: DATA"):
        uvstack.stack(path, at(NEAR), column="CORRECTED_DATA")


def test_the_output_weight_does_not_hang_on_the_last_channel(tmp_path):
    """W_k = A_k² at the centre of the window.

    The last channel's beam is 30 times weaker than the first one's.
    """
    beam = oracles.gaussian_beam(6 * ARCMIN, 1.4e9)
    path = make_ms(tmp_path / "a.ms", spws=[Spw(1.0e9, 100e6, 9)], sources=[(*FAR, 1.0)], beam=beam)
    result = uvstack.stack(path, at(CENTRE, FAR), primary_beam="gaussian:6arcmin@1.4GHz",
                           weights="primary-beam", pb_cutoff=0.05, out=tmp_path / "out.ms")
    l, m, _ = oracles.cosines(*FAR, *CENTRE)
    centre, last = (float(beam(l, m, np.array([nu]))[0]) for nu in (1.4e9, 1.8e9))
    np.testing.assert_allclose(read(result.ms, "WEIGHT"), 1.0 + centre**2, rtol=1e-6)
    assert abs((1 + last**2) / (1 + centre**2) - 1) > 0.05
    expected = oracle_flux(path, [CENTRE, FAR], [1.0, centre**2], beam)
    assert result.flux == pytest.approx(expected, rel=FLUX_TOLERANCE)
    # And the order of the channels says nothing.
    turned = make_ms(tmp_path / "b.ms", spws=[Spw(1.8e9, -100e6, 9)], sources=[(*FAR, 1.0)],
                     beam=beam)
    again = uvstack.stack(turned, at(CENTRE, FAR), primary_beam="gaussian:6arcmin@1.4GHz",
                          weights="primary-beam", pb_cutoff=0.05)
    assert again.flux == pytest.approx(result.flux, rel=FLUX_TOLERANCE)
    # Budget of a pixel: the gridder's 1e-5 of the peak, twice.
    np.testing.assert_allclose(again.image(16).brightness,
                               result.image(16, again.stamp.cell).brightness, atol=3e-5)


def test_positions_and_phase_centre_keep_double_precision(tmp_path):
    """Right ascensions near 6 rad in float32 are up to 0.05″ off, on a beam of 1.2″ in the A array."""
    # Almost half way between two numbers of float32, both.
    centre_ra, source_ra = (float(np.float32(ra)) + 0.49 * float(np.spacing(np.float32(ra)))
                            for ra in (6.12345, 6.12499))
    centre, point = (centre_ra, 0.5123456789), (source_ra, 0.5103456789)
    path = make_ms(tmp_path / "a.ms", fields=[centre], sources=[(*point, 1.0)], scale=1.0, n_ant=14)
    assert uvstack.stack(path, at(point)).flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    coarse = tuple(float(np.float32(x)) for x in point)
    assert uvstack.stack(path, at(coarse)).flux < 1 - 100 * FLUX_TOLERANCE


def noise_map(path, beam, value, corrected, size=101):
    """FITS map of a noise: flat, or divided by the beam. The pixels are 10 arcsec."""
    cell = 10 * ARCSEC
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = np.rad2deg(CENTRE)
    wcs.wcs.crpix = [size // 2 + 1] * 2
    wcs.wcs.cdelt = np.rad2deg([-cell, cell])
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    offsets = (np.arange(size) - size // 2) * cell
    l, m = np.meshgrid(-offsets, offsets)
    power = beam(l, m, 1.41e9)
    fits.PrimaryHDU(value / power if corrected else np.full(power.shape, value),
                    wcs.to_header()).writeto(path)
    return path


@pytest.mark.parametrize("corrected", [True, False])
def test_the_beam_enters_local_noise_weights_once(tmp_path, corrected):
    """W_k = A_k²/σ² with flat noise σ.

    1/σ_k² if σ_k = σ/A_k is read from a corrected map, and no further A.
    """
    beam = oracles.gaussian_beam(8 * ARCMIN, 1.41e9)
    # On pixel centres, so that the map is read without interpolation.
    points = [offset(0, 0), offset(0, 150 * ARCSEC), offset(0, -200 * ARCSEC)]
    powers = np.array([float(beam(*oracles.cosines(*p, *CENTRE)[:2], 1.41e9)) for p in points])
    sigma = 1e-3
    image = noise_map(tmp_path / "rms.fits", beam, sigma, corrected)
    sources = [(*point, flux) for point, flux in zip(points, [1.0, 2.0, 4.0], strict=True)]
    path = make_ms(tmp_path / "a.ms", spws=[Spw(1.40e9)], beam=beam, sources=sources)
    result = uvstack.stack(path, at(*points), primary_beam="gaussian:8arcmin@1.41GHz",
                           weights="local-noise", noise_image=image,
                           noise_kind="rms-corrected" if corrected else "rms-flat",
                           out=tmp_path / "out.ms")
    expected = (powers / sigma) ** 2
    # Budget: FITS stores the map in float64; the pixel falls 1e-9 off the position.
    np.testing.assert_allclose(read(result.ms, "WEIGHT"), expected.sum(), rtol=1e-5)
    assert result.flux == pytest.approx(oracle_flux(path, points, expected, beam),
                                        rel=FLUX_TOLERANCE)
    for power in (0, 4, 8):
        wrong = oracle_flux(path, points, powers**power, beam)
        assert abs(wrong / result.flux - 1) > 0.02


def test_two_pointings_share_the_noise_of_a_mosaic_map(tmp_path):
    """With σ_k of a corrected mosaic, 1/σ_k² is the weight of both pointings together, in proportion to A²."""
    beam = oracles.gaussian_beam(8 * ARCMIN, 1.41e9)
    other = offset(0, 200 * ARCSEC)
    point = offset(0, 50 * ARCSEC)
    image = noise_map(tmp_path / "rms.fits", lambda l, m, nu: 0 * l + 1.0, 1e-3, True)
    path = make_ms(tmp_path / "a.ms", spws=[Spw(1.40e9)], beam=beam, fields=[CENTRE, other],
                   sources=[(*point, 1.0)])
    edit(path, "SCAN_NUMBER", lambda s: np.arange(s.size, dtype=np.int32))
    result = uvstack.stack(path, at(point), primary_beam="gaussian:8arcmin@1.41GHz",
                           weights="local-noise", noise_image=image, noise_kind="rms-corrected",
                           out=tmp_path / "out.ms")
    power = np.array([float(beam(*oracles.cosines(*point, *c)[:2], 1.41e9))
                      for c in (CENTRE, other)])
    share = power**2 / (power**2).sum()
    field = read(path, "FIELD_ID")[read(result.ms, "SCAN_NUMBER")]
    np.testing.assert_allclose(read(result.ms, "WEIGHT")[:, 0], 1e6 * share[field], rtol=1e-5)
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)


def test_pointings_are_weighed_by_the_sum_of_their_position_weights(tmp_path):
    """Equation 6: three sources of 1 Jy in one pointing and one of 5 Jy in the next have a mean of 2 Jy, not 3."""
    far_field = offset(0.02, 0.0)
    first = [offset(dx * ARCSEC, dy * ARCSEC) for dx, dy in [(300, 100), (-200, 250), (50, -400)]]
    second = offset(-30 * ARCSEC, 60 * ARCSEC, far_field)
    beam = oracles.gaussian_beam(20 * ARCMIN, 1.4e9)
    path = make_ms(tmp_path / "a.ms", fields=[CENTRE, far_field],
                   sources=[*((*p, 1.0) for p in first), (*second, 5.0)], beam=beam, scale=1.0,
                   n_ant=9, n_times=12)
    result = uvstack.stack(path, at(*first, second), primary_beam="gaussian:20arcmin@1.4GHz")
    frequency = read(path, "CHAN_FREQ", "SPECTRAL_WINDOW")[0]
    vis, uvw, field = read(path, "DATA").mean(axis=2).astype(complex), read(path, "UVW"), read(
        path, "FIELD_ID")
    stacks = [(*oracles.stack(vis[field == i], uvw[field == i], frequency, points, *centre, None,
                              beam), 1.0)
              for i, (centre, points) in enumerate([(CENTRE, first), (far_field, [second])])]
    assert result.flux == pytest.approx(oracles.weighted_mean(stacks), rel=FLUX_TOLERANCE)
    # Sidelobes of the other sources move the mean by some per cent of a Jy; without equation 6 it
    # is 3.
    assert result.flux == pytest.approx(2.0, abs=0.2)
    unscaled = oracles.weighted_mean([(s, 1.0, w) for s, _, w in stacks])
    assert unscaled == pytest.approx(3.0, abs=0.2)


def test_data_descriptions_are_not_spectral_windows(tmp_path):
    """DATA_DESC_ID 0 is window 1 here and the reverse.

    Frequencies that differ by half would smear a source 2′ away.
    """
    path = make_ms(tmp_path / "a.ms", spws=[Spw(1.0e9, 1e6, 3), Spw(1.5e9, 1e6, 3)],
                   descriptions=[(1, (RR, LL)), (0, (RR, LL))], sources=[(*FAR, 1.0)], scale=1.0)
    result = uvstack.stack(path, at(FAR), out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert uvstack.stack(path, at(FAR), spw="0").flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    # In one window for the other, the phase runs away.
    edit(path, "SPECTRAL_WINDOW_ID", lambda ids: ids[::-1], "DATA_DESCRIPTION")
    assert abs(uvstack.stack(path, at(FAR)).flux) < 0.5


def test_three_descriptions_may_share_a_window(tmp_path):
    path = make_ms(tmp_path / "a.ms",
                   descriptions=[(0, (RR, LL)), (0, (RR, RL, LR, LL)), (0, (XX, YY))],
                   sources=[(*FAR, 1.0)])
    assert uvstack.stack(path, at(FAR)).flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)


def test_flag_row_is_honoured(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0)])
    bad = np.random.default_rng(1).random(84) < 0.4
    edit(path, "FLAG_ROW", lambda f: bad)
    edit(path, "DATA", lambda v: v.__setitem__(bad, 1e6))
    result = uvstack.stack(path, at(NEAR), out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    np.testing.assert_array_equal(read(result.ms, "FLAG_ROW"), bad)


def test_weight_spectrum_is_honoured(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0)],
                   weights={"WEIGHT": 1.0, "WEIGHT_SPECTRUM": np.array([[[1.0], [0.0], [3.0]]])})
    # Channel 1 weighs nothing; channel 2 holds twice the flux: (1·1 + 3·2) / 4.
    edit(path, "DATA", lambda v: v * np.array([1.0, 1e6, 2.0])[:, None])
    assert uvstack.stack(path, at(NEAR)).flux == pytest.approx(1.75, rel=FLUX_TOLERANCE)


def test_autocorrelations_do_not_enter(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0)], autocorrelation=1e6)
    result = uvstack.stack(path, at(NEAR), out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert (read(result.ms, "ANTENNA1") != read(result.ms, "ANTENNA2")).all()


@pytest.mark.parametrize("correlations",
                         [(RR, RL, LR, LL), (XX, XY, YX, YY), (1, 2, 3, 4), (LL, RR), (RR, RL),
                          (YY,), (1,)])
def test_cross_hands_do_not_enter_stokes_i(tmp_path, correlations):
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0)], correlations=correlations,
                   cross_hand=1e6)
    result = uvstack.stack(path, at(NEAR), out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert result.n_visibilities == 84 * 3  # whatever the number of hands
    assert read(result.ms, "DATA").shape[2] == len(correlations)


def test_a_gaussian_beam_is_not_silently_constant(tmp_path):
    beam = oracles.gaussian_beam(6 * ARCMIN, 1.4e9)
    path = make_ms(tmp_path / "a.ms", sources=[(*FAR, 1.0)], beam=beam, spws=[Spw(1.2e9, 100e6, 4)])
    assert uvstack.stack(path, at(FAR),
                         primary_beam="gaussian:6arcmin@1.4GHz").flux == pytest.approx(
        1.0, rel=FLUX_TOLERANCE)
    l, m, _ = oracles.cosines(*FAR, *CENTRE)
    attenuated = float(beam(l, m, read(path, "CHAN_FREQ", "SPECTRAL_WINDOW")[0]).mean())
    assert attenuated < 0.7
    assert uvstack.stack(path, at(FAR),
                         primary_beam="constant").flux == pytest.approx(attenuated,
                                                                        rel=FLUX_TOLERANCE)


def test_a_beam_image_is_interpolated(tmp_path):
    """Pixels of an eighth of the beam.

    The nearest one is up to 12 % off, the cubic spline 0.1 % at most.
    """
    fwhm, nu = 8 * ARCMIN, 1.41e9
    beam = oracles.gaussian_beam(fwhm, nu)
    size, cell = 33, fwhm / 8
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN", "FREQ"]
    wcs.wcs.crval = [*np.rad2deg(CENTRE), nu]
    wcs.wcs.crpix = [size // 2 + 1, size // 2 + 1, 1]
    wcs.wcs.cdelt = [-np.rad2deg(cell), np.rad2deg(cell), 1e6]
    offsets = (np.arange(size) - size // 2) * cell
    l, m = np.meshgrid(-offsets, offsets)
    fits.PrimaryHDU(beam(l, m, nu)[None], wcs.to_header()).writeto(tmp_path / "beam.fits")
    point = offset(2.5 * cell, -2.5 * cell)
    path = make_ms(tmp_path / "a.ms", sources=[(*point, 1.0)], beam=beam, spws=[Spw(nu, 1e6, 1)])
    result = uvstack.stack(path, at(point), primary_beam=f"image:{tmp_path / 'beam.fits'}")
    assert result.flux == pytest.approx(1.0, rel=1e-3)
    nearest = float(beam(3 * cell, 3 * cell, nu) / beam(2.5 * cell, 2.5 * cell, nu))
    assert abs(nearest - 1) > 0.05


def test_small_chunks_give_the_same_stack(tmp_path):
    path = make_ms(tmp_path / "a.ms", shuffle=True, noise=0.1, fields=[CENTRE, offset(0, 1e-4)],
                   spws=[Spw(n=3), Spw(1.5e9, n=2)], sources=[(*NEAR, 1.0), (*FAR, 2.0)])
    edit(path, "SCAN_NUMBER", lambda s: np.arange(s.size, dtype=np.int32))
    whole = uvstack.stack(path, at(NEAR, FAR), out=tmp_path / "whole.ms", bootstrap=5, seed=1)
    calls = []
    pieces = uvstack.stack(path, at(NEAR, FAR), out=tmp_path / "pieces.ms", bootstrap=5, seed=1,
                           chunk_size=101, progress=lambda i, n: calls.append((i, n)))
    assert len(calls) > 10
    assert [i for i, _ in calls] == list(range(1, calls[0][1] + 1))
    # Budget: the factor may come from the antenna form or the direct form, 5e-6 each; the sums run
    # in another order.
    assert pieces.flux == pytest.approx(whole.flux, rel=FLUX_TOLERANCE)
    assert pieces.flux_error == pytest.approx(whole.flux_error, rel=FLUX_TOLERANCE)
    np.testing.assert_allclose(pieces.bootstrap, whole.bootstrap, rtol=FLUX_TOLERANCE)
    orders = [np.argsort(read(r.ms, "SCAN_NUMBER")) for r in (whole, pieces)]
    for name in ("UVW", "ANTENNA1", "DATA_DESC_ID", "TIME", "SCAN_NUMBER"):
        np.testing.assert_array_equal(read(whole.ms, name)[orders[0]],
                                      read(pieces.ms, name)[orders[1]])
    one, other = (_cells(r.ms, order) for r, order in zip((whole, pieces), orders, strict=True))
    np.testing.assert_allclose(one, other, atol=FLUX_TOLERANCE * np.abs(one).max())


def _cells(path, order):
    from casacore.tables import table

    with table(path, ack=False) as main:
        return np.concatenate([main.getcell("DATA", int(row)).ravel() for row in order])


def test_memory_is_that_of_a_chunk_not_of_the_set(tmp_path):
    """Buffers of 15 MB × channels × correlations: here four times the data need no more memory."""
    peaks = []
    for n_times in (300, 1200):
        path = make_ms(tmp_path / f"{n_times}.ms", sources=[(*NEAR, 1.0)], n_times=n_times,
                       spws=[Spw(n=8)])
        out = tmp_path / f"{n_times}-out.ms"
        uvstack.stack(path, at(NEAR), out=out, overwrite=True, threads=1, chunk_size=20_000)
        gc.collect()
        tracemalloc.start()
        uvstack.stack(path, at(NEAR), out=out, overwrite=True, threads=1, chunk_size=20_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 1200 times hold 3.2 MB of visibilities for each copy of the data, four times a chunk's 0.16 MB
    # twenty times over.
    assert peaks[1] < 1.2 * peaks[0]


def test_no_option_touches_corrected_data(tmp_path, fingerprint):
    path = make_ms(tmp_path / "a.ms", sources=[(*NEAR, 1.0)],
                   data_columns=("DATA", "MODEL_DATA", "CORRECTED_DATA"))
    edit(path, "CORRECTED_DATA", lambda v: v * 3)
    before = fingerprint(path)
    points = at(NEAR, FAR)
    for options in [{"column": "CORRECTED_DATA"},
                    {"column": "CORRECTED_DATA-MODEL_DATA", "bootstrap": 2},
                    {"out": tmp_path / "o.ms"}, {"out": tmp_path / "o.ms", "overwrite": True},
                    {"reproject": True}, {"uvmin": "1km"}]:
        uvstack.stack(path, points, **options)
        assert fingerprint(path) == before
    assert uvstack.stack(path, at(NEAR),
                         column="CORRECTED_DATA").flux == pytest.approx(3.0, rel=FLUX_TOLERANCE)


@pytest.mark.parametrize("jitter", [0.0, 300.0])
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_the_exponent_moves_a_source_to_the_phase_centre(tmp_path, scale, jitter):
    """The sign printed in the paper is opposite.

    It would move the source to twice its distance instead.
    """
    path = make_ms(tmp_path / "a.ms", sources=[(*FAR, 1.0)], scale=scale, jitter=jitter)
    result = uvstack.stack(path, at(FAR), out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    data = read(result.ms, "DATA")
    # Every single visibility, not only their mean: amplitude 1, phase 0.
    np.testing.assert_allclose(data, 1.0, atol=3 * FLUX_TOLERANCE)
    # A stack at the mirrored position, which is what the wrong sign does to the right one, finds
    # nothing.
    l, m, n = oracles.cosines(*FAR, *CENTRE)
    mirrored = offset(-(FAR[0] - CENTRE[0]) * np.cos(FAR[1]), -(FAR[1] - CENTRE[1]))
    assert abs(uvstack.stack(path, at(mirrored)).flux) < 0.5


@pytest.mark.parametrize("jitter", [0.0, 300.0])
def test_w_is_needed_and_used(tmp_path, jitter):
    """1° from the centre, w (n − 1) ν/c is up to ten turns in the A array."""
    point = offset(np.deg2rad(0.8), np.deg2rad(-0.6))
    path = make_ms(tmp_path / "a.ms", sources=[(*point, 1.0)], scale=1.0, jitter=jitter)
    l, m, n = oracles.cosines(*point, *CENTRE)
    turns = np.abs(read(path, "UVW")[:, 2]).max() * (1 - n) * 1.4e9 / 299792458.0
    assert turns > 2
    assert uvstack.stack(path, at(point)).flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)


def test_the_errors_of_pure_noise(tmp_path):
    """Over 40 seeds: fluxes scatter as the error from the scatter says.

    Equation 7 holds but for cross terms.
    """
    points = [NEAR, FAR, offset(100 * ARCSEC, 200 * ARCSEC)]
    pulls, errors, expected = [], [], []
    for seed in range(40):
        path = make_ms(tmp_path / f"{seed}.ms", noise=1.0, seed=seed, scale=1.0)
        result = uvstack.stack(path, at(*points))
        pulls.append(result.flux / result.flux_error)
        errors.append(result.flux_error)
        expected.append(result.flux_error_expected)
    frequency = read(path, "CHAN_FREQ", "SPECTRAL_WINDOW")[0]
    factor, _ = oracles.stack(np.ones((84, 3)), read(path, "UVW"), frequency, points, *CENTRE)
    n = 84 * 3 * 2
    # χ²(40)/40 lies within 0.47 … 1.75 with a probability of 0.998. An error from 504 visibilities
    # has itself one of 3 to 4 %, its mean over 40 seeds one of 0.6 %.
    assert 0.47 < np.mean(np.square(pulls)) < 1.75
    assert np.mean(errors) == pytest.approx(np.sqrt(np.mean(np.abs(factor) ** 2) / n), rel=0.025)
    # Equation 7: the noise of one visibility over √(number of positions), as if positions were
    # independent.
    assert np.mean(expected) == pytest.approx(np.sqrt(1 / (len(points) * n)), rel=0.02)
