"""The eleven types hold what the paper says, at any scale, and their targets stack to the truth."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from click.testing import CliRunner

import uvstack
from simulate.lindroos import CENTRE, recipe
from simulate.noise import image_noise
from uvstack.cli.main import group
from uvstack.errors import SelectionError

#: type → (bright sources, targets, mean flux of the targets in µJy), Table 1.
TABLE = {1: (1, 25, 6.0), 2: (1, 25, 6.0), 3: (10, 900, 1.0), 4: (10, 900, 0.988),
         5: (417, 900, 0.988), 6: (417, 900, 0.988), 7: (417, 900, 2.96), 8: (10, 50, 1000.0),
         9: (10, 50, 1000.0), 10: (282, 50, 200.0), 11: (417, 900, 0.988)}


@pytest.mark.parametrize("number", TABLE)
def test_sources_are_those_of_the_paper(number):
    sky = recipe(number, seed=1).settings["sky"]
    bright, targets, mean = TABLE[number]
    assert (int((~sky.target).sum()), int(sky.target.sum())) == (bright, targets)
    # The Schechter distribution scatters by its mean: 1 σ of the mean of 900 is 3 %; 4 σ.
    assert sky.flux[sky.target].mean() * 1e6 == pytest.approx(mean,
                                                              rel=0.14 if number in (4, 5, 6, 11)
                                                              else 1e-9)
    width = {1: 5, 2: 5, 8: 100 / 60, 10: 100 / 60, 9: 5 + 2 * 11.2 / 60}.get(number, 30)
    assert np.abs(np.rad2deg(sky.dec - CENTRE[1])).max() * 60 <= width / 2 * 1.001
    extended = sky.fwhm_major > 0
    assert extended.sum() == {6: 417, 7: 1317}.get(number, 0)
    if number in (6, 7):
        sizes = np.rad2deg(sky.fwhm_major[~sky.target]) * 3600
        assert 0.5 <= sizes.min() < 0.7
        assert 4.8 < sizes.max() <= 5.0
    if number == 7:
        assert np.rad2deg(sky.fwhm_major[sky.target]) * 3600 == pytest.approx(1.5)
    if number == 9:
        distance = np.hypot((sky.ra[sky.target][:, None]
                             - sky.ra[~sky.target]) * np.cos(sky.dec[~sky.target]),
                            sky.dec[sky.target][:, None] - sky.dec[~sky.target])
        assert np.rad2deg(distance.min(axis=1)).max() * 3600 <= 11.2 * 1.001


def test_depth_does_not_depend_on_the_scale():
    for number, baselines in ((1, 351), (11, 28)):
        depths = []
        for scale in (1.0, 0.1):
            settings = recipe(number, scale=scale).settings
            depths.append(image_noise(settings["noise"],
                                      settings["duration"] / settings["integration"] * baselines
                                      * 10 * 2))
        # The paper: 2.1 µJy for type 1, similar for type 11.
        assert depths == pytest.approx([depths[0]] * 2, rel=1e-2)
        assert depths[0] * 1e6 == pytest.approx(2.05 if number == 1 else 1.7, rel=0.03)


@pytest.mark.parametrize(("number", "scale"), [(1, 0.2), (6, 0.01), (9, 0.4), (11, 0.01)])
def test_small_sets_stack_to_their_truth(number, scale, tmp_path):
    args = ["simulate", "lindroos", "--type", str(number), "--seed", "7", "--scale", str(scale),
            "--out", str(tmp_path / "sim.ms")]
    done = CliRunner().invoke(group, args, catch_exceptions=False)
    assert done.exit_code == 0
    truth = QTable.read(tmp_path / "sim-truth.ecsv")
    targets = truth[truth["target"]]
    assert f"{len(targets)} targets" in done.output
    settings = recipe(number).settings
    result = uvstack.stack(tmp_path / "sim.ms", tmp_path / "sim-targets.csv",
                           primary_beam=settings["primary_beam"], weights="primary-beam",
                           bootstrap=200, seed=1)
    assert result.n_positions_given == len(targets)
    # Bright sources are still in the data: their sidelobes spread the positions, which the
    # bootstrap sees.
    error = max(result.flux_error, result.bootstrap_error)
    assert result.flux == pytest.approx(targets["flux"].to_value(u.Jy).mean(), abs=4 * error)


def test_full_track_has_all_its_integrations():
    from simulate.job import make_job

    settings = recipe(1).settings
    job = make_job(width=None, correlations=("RR", "LL"), seed=0, images=(), start=None,
                   corruptions=(), with_model=False, **settings)
    assert job.times.size == 3384


@pytest.mark.parametrize(("number", "scale"), [(0, 1.0), (12, 1.0), (1, 0.0), (1, 1.5)])
def test_no_such_type(number, scale):
    with pytest.raises(SelectionError, match="1 to 11|more than 0"):
        recipe(number, scale=scale)
