"""Maps of the spectral index of combined Taylor terms: no bias, honest errors, bad input."""

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

import uvstack
from factories import ARCSEC
from simulate.restored_sky import correlated_noise
from uvstack.epochs.spectral_index.ratio import noise_correlation, spectral_index
from uvstack.errors import ImageError, OutputError, SelectionError
from uvstack.io.fits import sin_wcs, write_image
from uvstack.sky.beam import Beam

alpha = uvstack.epochs.alpha
CELL, SIZE, CENTRE = 0.9 * ARCSEC, 320, (1.0, 0.6)
#: VLASS epochs 1, 2 and 3 (table 1 of the memo).
BEAMS = [Beam(a * ARCSEC, b * ARCSEC, np.deg2rad(p)) for a, b, p in
         ((3.948, 2.214, 42.48), (3.231, 2.190, 29.69), (2.771, 2.224, 16.23))]
#: rms of tt0 and tt1, Jy/beam: an epoch that is good in one is not in the other.
RMS0, RMS1 = np.array([1e-4, 2e-4, 1.5e-4]), np.array([5e-4, 2e-4, 4e-4])


def lattice():
    k = np.arange(20, SIZE, 40)
    return tuple(v.ravel() for v in np.meshgrid(k, k))


def make(folder, flux, index, *, factors=(1.0, 1.0, 1.0), seed=0, rho=0.0, beams=BEAMS,
         frequency=3e9):
    """Paths of tt0 and of tt1: points at the pixels of `lattice`, times a factor for each epoch."""
    y, x = np.mgrid[:SIZE, :SIZE]
    terms = [], []
    frequency = np.broadcast_to(frequency, len(beams))
    for k, beam in enumerate(beams):
        rng = np.random.default_rng([seed, k])
        one, two = (correlated_noise((SIZE, SIZE), beam, CELL, rng) for _ in range(2))
        noise = RMS0[k] * one, RMS1[k] * (rho * one + np.sqrt(1 - rho**2) * two)
        for term, scale, paths, each in zip(noise, (1.0, index), terms, range(2), strict=True):
            for x0, y0, s, a in zip(*lattice(), flux, np.broadcast_to(scale, len(flux)),
                                    strict=True):
                box = slice(max(y0 - 15, 0), y0 + 16), slice(max(x0 - 15, 0), x0 + 16)
                term[box] += factors[k] * s * a * beam.profile(-(x[box] - x0) * CELL,
                                                               (y[box] - y0) * CELL)
            paths.append(folder / f"e{k}-{seed}.tt{each}.fits")
            write_image(paths[-1], term, sin_wcs(*CENTRE, (SIZE, SIZE), CELL), beams=beam,
                        frequency=float(frequency[k]))
    return terms


# --------------------------------------------------------------------------------- the ratio


def test_the_error_of_a_ratio_is_the_scatter_of_draws():
    rng = np.random.default_rng(1)
    for rho in (-0.5, 0.0, 0.8):
        one, two = rng.normal(size=(2, 40_000))
        tt0, tt1 = 100.0 + one, -70.0 + 2.0 * (rho * one + np.sqrt(1 - rho**2) * two)
        index, error = spectral_index(tt0, 1.0, tt1, 2.0, rho, 5.0)
        assert index.mean() == pytest.approx(-0.7, abs=5e-4)
        # 0.35 % from the count of draws.
        assert error.mean() == pytest.approx(index.std(), rel=0.015)


def test_pixels_below_the_limit_and_negative_ones_are_blank():
    tt0 = np.array([4.9, 5.0, -20.0, np.nan, 0.0])
    index, error = spectral_index(tt0, np.ones(5), 2 * tt0, np.ones(5), 0.0, 5.0)
    assert_array_equal(np.isfinite(index), [False, True, False, False, False])
    assert_array_equal(np.isfinite(error), np.isfinite(index))
    assert index[1] == 2.0


def test_the_correlation_of_noise_is_found_beside_sources():
    rng = np.random.default_rng(2)
    one, two = rng.normal(size=(2, 200, 200))
    other = 3.0 * (0.6 * one + 0.8 * two)
    one[:20], other[:20] = one[:20] + 50.0, other[:20] - 40.0
    other[30] = np.nan
    # 0.6 less what pixels beyond 3 σ take from it.
    assert noise_correlation(one, np.ones_like(one), other, np.full_like(one, 3.0)) == (
        pytest.approx(0.6, abs=0.02))
    assert noise_correlation(one[:3, :3], 1.0, other[:3, :3], 1.0) == 0.0


# ------------------------------------------------------------------------------------ epochs


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_indices_of_constant_sources_have_no_bias_and_the_errors_that_they_say(tmp_path, rho):
    x, y = lattice()
    index = np.resize([-0.8, 0.0, 0.7], x.size)
    pulls, singles = [], []
    for seed in range(2):
        tt0, tt1 = make(tmp_path, np.full(x.size, 30e-4), index, seed=seed, rho=rho)
        a = alpha(tt0, tt1)
        pulls.append((a.alpha[y, x] - index) / a.error[y, x])
        for one, error in a.epochs.values():
            singles.append((one[y, x] - index) / error[y, x])
        # First order, by hand: the mean by the weights of tt0, noise that grows with the beam.
        grown = np.sqrt(a.beam.solid_angle / np.array([b.solid_angle for b in BEAMS]))
        sigma0, sigma1, weight = RMS0 * grown, RMS1 * grown, (RMS0 * grown) ** -2.0
        noise0, noise1 = (np.sqrt(((weight * s) ** 2).sum()) / weight.sum()
                          for s in (sigma0, sigma1))
        mixed = rho * (weight**2 * sigma0 * sigma1).sum() / weight.sum() ** 2
        assert a.correlation == pytest.approx(mixed / (noise0 * noise1), abs=0.05)
        wanted = np.sqrt(noise1**2 + (index * noise0) ** 2 - 2 * index * mixed) / 30e-4
        # Each pixel of tt0 is known to 2 %, the noise to 7 %.
        assert np.median(a.error[y, x] / wanted) == pytest.approx(1.0, abs=0.06)
        assert_allclose(a.error[y, x], wanted, rtol=0.3)
    for found in (np.array(pulls), np.array(singles)):
        assert abs(found.mean()) < 3 / np.sqrt(found.size)
        assert found.std() == pytest.approx(1.0, abs=0.15)


def test_a_variable_source_has_its_index_and_not_with_the_memos_weights(tmp_path):
    x, y = lattice()
    factors = np.array([2.0, 0.5, 1.0])
    tt0, tt1 = make(tmp_path, np.full(x.size, 0.05), -0.7, factors=factors, beams=BEAMS[:1] * 3)
    a, memo = alpha(tt0, tt1), alpha(tt0, tt1, memo=True, rms_box=300, noise="masked")
    pull = (a.alpha[y, x] + 0.7) / a.error[y, x]
    assert abs(pull.mean()) < 3 / 8
    assert pull.std() == pytest.approx(1.0, abs=0.25)
    means = [(factors * s**-2).sum() / (s**-2).sum() for s in (RMS0, RMS1)]
    assert memo.alpha[y, x].mean() == pytest.approx(-0.7 * means[1] / means[0], rel=0.03)
    assert memo.alpha[y, x].mean() > -0.4  # and not −0.7
    for one, _ in a.epochs.values():
        assert np.mean(one[y, x]) == pytest.approx(-0.7, abs=0.02)


def test_terms_at_other_frequencies_are_brought_to_that_of_the_reference_alike(tmp_path):
    x, y = lattice()
    tt0, tt1 = make(tmp_path, np.full(x.size, 0.1), -0.7, frequency=[2.5e9, 3e9, 3.4e9])
    for reference in (0, 2, tt0[1], str(tt0[2])):
        a = alpha(tt0, tt1, reference=reference, spectral_index=-0.7)
        assert np.median(a.alpha[y, x]) == pytest.approx(-0.7, abs=2e-3)


def test_files_have_the_index_its_error_and_the_epochs_beside(tmp_path):
    x, y = lattice()
    tt0, tt1 = make(tmp_path, np.full(x.size, 0.05), -0.7, factors=(3.0, 1.0, 1.0))
    tt1[0].rename(tmp_path / "blank.fits")
    with fits.open(tmp_path / "blank.fits") as hdus:
        hdus[0].data[..., :50] = np.nan
        hdus.writeto(tt1[0])
    out = tmp_path / "index.fits"
    a = alpha(tt0, tt1, snr=8.0, out=out)
    names = {"alpha": out} | {f"e{k}-0.tt0": tmp_path / f"index-e{k}-0.tt0.fits" for k in range(3)}
    assert a.paths == names
    for name, (index, error) in {"alpha": (a.alpha, a.error), **a.epochs}.items():
        with fits.open(names[name]) as hdus:
            assert_array_equal(np.squeeze(hdus[0].data), index)
            assert_array_equal(np.squeeze(hdus["ERROR"].data), error)
            for hdu in (hdus[0], hdus["ERROR"]):
                assert hdu.header["BMAJ"] * 3600 * ARCSEC == pytest.approx(a.beam.fwhm_major)
                assert hdu.header["SNRMIN"] == 8.0
    # What is blank in one term counts in neither.
    assert np.isnan(a.epochs["e0-0.tt0"][0][:, :50]).all()
    assert_allclose(a.alpha[y, x], -0.7, atol=0.05)
    table = a.table()
    assert list(table["name"]) == ["combined", *list(a.epochs)]
    assert table["n_pixels"][0] == np.isfinite(a.alpha).sum()
    with pytest.raises(OutputError, match="index.fits"):
        alpha(tt0, tt1, out=out)


def test_terms_that_do_not_go_together_are_refused_in_one_line(tmp_path):
    tt0, tt1 = make(tmp_path, np.full(64, 30e-4), -0.7)
    for first, second, options, kind, text in (
            (tt0, tt1[:2], {}, SelectionError, "3 images of tt0 and 2 of tt1"),
            (tt0, tt1[::-1], {}, ImageError, "e2-0.tt1.fits: its beam is not that of .*e0-0.tt0"),
            (tt0, tt1, {"out": tmp_path / "a.png"}, ImageError, "a name that ends in .fits"),
            (tt0, tt1, {"snr": 0.0}, SelectionError, "snr"),
            (tt0, tt1, {"reference": 3}, SelectionError, "reference is 3"),
            (tt0, tt1, {"direct": True}, SelectionError, "give memo")):
        with pytest.raises(kind, match=text) as told:
            alpha(first, second, **options)
        assert "\n" not in str(told.value)
