"""The simulations of Rau et al. (2019): what the interferometer and the dish see is one sky, and that of the closed form."""

import dataclasses

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from scipy import special

import oracles
from factories import read
from simulate import rau
from uvstack.errors import SelectionError
from uvstack.sky.beam import Beam

ARCMIN = np.pi / 180 / 60
FOUR_LN2 = 4 * np.log(2)


def made(tmp_path, monkeypatch, name="sparse", **changes):
    """A case with fewer times and pixels."""
    monkeypatch.setitem(rau.CASES, name, dataclasses.replace(rau.CASES[name], **changes))
    return rau.observe_joint(name, out=tmp_path / "a.ms")


def test_both_see_the_same_sky(tmp_path, monkeypatch):
    both = made(tmp_path, monkeypatch, integrations=1, size=400)
    truth = QTable.read(both.interferometer.truth)
    sources = [{"ra": row["ra"].to_value(u.rad), "dec": row["dec"].to_value(u.rad),
                "flux": row["flux"].to_value(u.Jy), "at": 1.5e9, "alpha": float(row["spectral_index"]),
                "shape": row["shape"], "major": row["fwhm_major"].to_value(u.rad),
                "minor": row["fwhm_minor"].to_value(u.rad),
                "angle": row["position_angle"].to_value(u.rad)} for row in truth]
    assert [s["alpha"] for s in sources] == [0, 0, -1, -1, 0]
    assert sum(s["flux"] for s in sources) == 213.0
    vis, uvw = (read(both.interferometer.ms, name) for name in ("DATA", "UVW"))
    wanted = oracles.predict_components(uvw[::40], rau.FREQUENCY, sources, *rau.CENTRE)
    assert np.abs(vis[::40, :, 0] - wanted).max() < 1e-4
    with fits.open(both.dish) as cube:
        image, beams = np.squeeze(cube[0].data), cube["BEAMS"].data
    # 10.3′, 6.8′ and 5.1′ of the paper's Table 1
    assert beams["BMAJ"] / 60 == pytest.approx([10.3, 6.87, 5.15], abs=0.01)
    top, bottom = (s for s in sources if s["major"])
    for plane, fwhm in zip(image, np.deg2rad(beams["BMAJ"] / 3600), strict=True):
        # on the middle of the bottom, where the top adds exp(−27²/…)
        x, y = 200 - 16 * 60 / 9, 200 - 13 * 60 / 9
        found = plane[round(y), round(x)]
        want = 0.0
        for one, away in ((top, 27.0 * ARCMIN), (bottom, 0.0)):
            a, b = (one["major"]**2 + fwhm**2) ** 0.5, (one["minor"]**2 + fwhm**2) ** 0.5
            want += one["flux"] * fwhm**2 / a / b * np.exp(-FOUR_LN2 * (away / a) ** 2)
        assert found == pytest.approx(want, rel=3e-3)


def test_the_true_index_is_the_mean_by_brightness():
    beam = Beam(1.0 * ARCMIN, 1.0 * ARCMIN, 0.0)
    image, index = rau.true_images(beam, 1.5e9, 800)
    assert image.sum() / (np.pi / FOUR_LN2 * (60 / 9) ** 2) == pytest.approx(213.0, rel=1e-4)
    # points on their pixels, not on the emission: 1 Jy, −1 and 0
    assert image[427, 507] == pytest.approx(1.0, rel=0.02)
    assert index[427, 507] == pytest.approx(0.0, abs=1e-3)
    assert index[360, 387] == pytest.approx(-1.0, abs=0.05)


def test_noise_is_that_of_the_paper(tmp_path, monkeypatch):
    both = made(tmp_path, monkeypatch, "noisy", integrations=1, size=300)
    (tmp_path / "b").mkdir()
    quiet = made(tmp_path / "b", monkeypatch, "mosaic", integrations=1, size=300)
    noise = read(both.interferometer.ms, "DATA") - read(quiet.interferometer.ms, "DATA")
    # of Stokes I, the mean of both hands; 26 000 numbers
    assert noise.mean(axis=2).real.std() == pytest.approx(0.2, rel=0.02)
    with fits.open(both.dish) as noisy, fits.open(quiet.dish) as clean:
        found = np.squeeze(noisy[0].data - clean[0].data).std(axis=(1, 2))
    # a few beams of the dish alone: to 10 %
    assert found == pytest.approx([0.45, 0.3, 0.225], rel=0.25)


def test_mosaics_see_extended_emission_through_the_beam_of_each_place(tmp_path, monkeypatch):
    """Against a sum over pixels, with the beam of a dish of 25 m evenly lit."""
    both = made(tmp_path, monkeypatch, "mosaic", integrations=1, size=600)
    vis, uvw, field, flagged = (read(both.interferometer.ms, name)
                                for name in ("DATA", "UVW", "FIELD_ID", "FLAG_ROW"))
    assert not flagged.any()
    centres = read(both.interferometer.ms, "PHASE_DIR", "FIELD")[:, 0]
    # A grid of 24″ is fine enough for the shortest baselines of a sky that smooth.
    axis = np.arange(-225, 225) * 24.0 / 3600 * np.pi / 180
    l, m = axis[None, :], axis[:, None]
    brightness = 0.0
    for x, y, flux, width, height, _ in rau._SKY[:2]:
        profile = np.exp(-FOUR_LN2 * (((l - x * ARCMIN) / (width * ARCMIN)) ** 2
                                      + ((m - y * ARCMIN) / (height * ARCMIN)) ** 2))
        brightness = brightness + flux * profile / profile.sum()
    k = int(np.argmin(np.hypot(centres[:, 0] - rau.CENTRE[0], centres[:, 1] - rau.CENTRE[1])))
    rows = np.flatnonzero(field == k)
    row = rows[np.argmin(np.hypot(*uvw[rows, :2].T))]
    points = rau._SKY[2:]
    for chan, nu in enumerate(rau.FREQUENCY):
        turns = nu / 299792458.0

        def seen(l, m, flux, turns=turns):
            x = np.pi * 25.0 * turns * np.hypot(l, m)
            power = (2 * special.j1(x) / np.where(x > 0, x, 1)) ** 2
            n_minus_1 = np.sqrt(1 - l**2 - m**2) - 1
            u, v, w = uvw[row] * turns
            return np.sum(flux * np.where(x > 0, power, 1.0) * np.exp(
                2j * np.pi * (u * l + v * m + w * n_minus_1)))

        want = seen(l, m, brightness) + seen(
            points[:, 0] * ARCMIN, points[:, 1] * ARCMIN,
            points[:, 2] * (nu / 1.5e9) ** points[:, 5])
        assert vis[row, chan, 0] == pytest.approx(want, rel=2e-3)


def test_unknown_case(tmp_path):
    with pytest.raises(SelectionError, match="dense, sparse, mosaic, noisy"):
        rau.observe_joint("denser", out=tmp_path / "a.ms")
