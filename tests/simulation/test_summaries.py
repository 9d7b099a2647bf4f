"""Summaries and tables of what is simulated, against what was asked for."""

import numpy as np
import pytest
from astropy.table import QTable

from factories import ARCMIN, ARCSEC, CENTRE, simulated_results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return simulated_results(tmp_path_factory.mktemp("simulated"))


def test_an_observation_tells_its_sky_its_size_and_its_files(results):
    made = results["Simulation"]
    told = made.summary()
    # 27 antennas at two times; one target of 1 Jy and one other source.
    assert (told["n_rows"], told["n_components"], told["n_targets"]) == (2 * 27 * 26 // 2, 2, 1)
    assert told["target_flux_jy"] == 1.0
    assert told["band_hz"] == [1.35e9, 1.55e9]
    assert told["provenance"]["seed"] == 4
    assert all(path.exists() for path in made.files.values())
    np.testing.assert_array_equal(QTable.read(made.truth)["flux"].value, [1.0, 0.5])
    assert [path.name for path in made.corruptions] == ["sim-corruption-1-phase-errors.fits"]


def test_epochs_tell_what_each_of_them_has_of_its_own(results):
    made = results["Epochs"]
    first, second = made.summary()
    assert (first["flux_scale"], second["flux_scale"]) == (1.0, 1.03)
    assert second["flux_jy"] == pytest.approx(1.5 * 1.03, rel=1e-12)
    assert first["beam"]["fwhm_major_rad"] == pytest.approx(12 * ARCSEC)
    assert (first["ra_rad"], first["dec_rad"]) == CENTRE
    # A pixel of 3″ is at most 1.5″·√2 from the source: 0.05 of a beam of 9″; noise is 0.01.
    assert second["peak_jy_per_beam"] == pytest.approx(1.03, abs=0.15)
    truth = made.tables()["truth"]
    assert truth["epoch"].tolist() == ["epoch1", "epoch1", "second", "second"]
    assert truth["apparent_flux"].to_value("Jy") == pytest.approx([1.0, 0.5, 1.03, 0.515])


def test_a_cube_tells_its_channels_with_their_beams(results):
    made = results["SingleDishCube"]
    told = made.summary()
    # 1.18 λ/D of 100 m.
    assert told["fwhm_rad"] == pytest.approx(1.18 * 299792458.0 / 1e2 / np.array([1.3e9, 1.4e9]))
    assert told["rms_jy_per_beam"] == [0.01, 0.01]
    channels = made.tables()["channels"]
    assert channels["fwhm"].to_value("rad") == pytest.approx(told["fwhm_rad"])
    # The second source, 1′ off, is seen at 0.5 exp(−4 ln2 (1′/8.7′)²) to 0.5 of its peak.
    seen = 1.0 + 0.5 * np.exp(-4 * np.log(2) * (ARCMIN / np.array(told["fwhm_rad"])) ** 2)
    assert told["peak_jy_per_beam"] == pytest.approx(seen, abs=0.05)


def test_an_experiment_tells_its_table_in_jansky(results):
    told = results["ExperimentResult"].summary()
    [row] = told["types"]
    assert row["uv_jy"] == pytest.approx(0.98e-3)
    assert row["uv_scatter_jy"] is None  # of one realisation
    assert row["paper_uv_jy"] == pytest.approx(0.98e-3)
